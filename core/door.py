"""The door as the settings have it: worked out once, asked by every request."""

from __future__ import annotations

from typing import Final

from core.auth import Keys
from core.origins import Origins
from core.peers import Peers
from core.settings import Settings

_MIB: Final = 1024 * 1024


class Door:
    """What depends on settings alone of the question who may come in with what."""

    __slots__ = ("body_max", "forwards", "gzip", "health_path", "keys", "lends", "origins", "peers")

    def __init__(self, settings: Settings) -> None:
        self.origins = Origins(settings)
        self.keys = Keys(settings)
        self.peers = Peers(settings)
        #: Whether a client's own credential may go to any upstream.
        self.forwards = any(provider.forward_client_key for provider in settings.providers) or (
            settings.forward_client_key and not settings.provider_only
        )
        self.lends = _lends(settings)
        self.gzip = settings.allow_request_compression
        self.body_max = int(settings.max_request_size_mb * _MIB)  # bytes, unpacked
        self.health_path = settings.health_check_path.rstrip("/") if settings.enable_health_check else ""


def _lends(settings: Settings) -> bool:
    """Whether a request whose client shows a credential of its own may go out with one of the owner's.

    So it is at a target that takes none of a client's, and at one of another origin that takes over.
    """
    models = [model for provider in settings.providers for model in provider.models]
    takers = [provider.forward_client_key for provider in settings.providers]
    keys = [provider.api_key for provider in settings.providers]
    heirs: list[object] = [settings.failover_targets, *(model.fallbacks or model.group for model in models)]
    if not settings.provider_only:
        takers.append(settings.forward_client_key)
        keys += [settings.server_api_key, *(server.api_key for server in settings.servers.values())]
        heirs += [server.fallbacks for server in settings.servers.values()]
    return not all(takers) or (any(keys) and any(heirs))
