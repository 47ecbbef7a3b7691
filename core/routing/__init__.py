"""Which upstreams answer a request, in order and with the reason: pure functions of the request and the settings."""

from __future__ import annotations

from core.routing.checks import problems
from core.routing.images import has_attached_image, has_images
from core.routing.route import Router, route
from core.routing.servers import Selection, pins, selection, server_named, settled
from core.routing.targets import Target
from core.routing.upstreams import sees
from core.routing.urls import origin, upstream_url

__all__ = [
    "Router",
    "Selection",
    "Target",
    "has_attached_image",
    "has_images",
    "origin",
    "pins",
    "problems",
    "route",
    "sees",
    "selection",
    "server_named",
    "settled",
    "upstream_url",
]
