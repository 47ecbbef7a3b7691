"""Settings made ready for exchanges: everything that is the same for every request, worked out once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Final

from core.calibration import Estimator, counter_for
from core.dialects import Protocol
from core.door import Door
from core.effects import Deadlines
from core.errors import BadRequest
from core.reporting import Reports
from core.routing import Router, Target
from core.settings import Settings
from core.settings.upstreams import NO_TIMEOUTS, Timeouts
from core.tokens import Encoder
from core.traffic import Traffic
from core.wire.codec import encode

VERSION: Final = "0.1.0"
#: ``created`` of every model whose entry has none, so that replicas agree (2009-02-13T23:31:30Z).
CREATED: Final = 1_234_567_890


class Gateway:
    """What an exchange needs of the configuration. Immutable but for the counter's cache and what the router remembers."""

    def __init__(self, settings: Settings, encoder: Encoder | None = None) -> None:
        """Raises ``SettingsError`` for a selected GLM server that there is not."""
        self.settings = settings
        self.door = Door(settings)
        self.traffic = Traffic(settings)
        self.counter, self.estimator = counter_for(settings, encoder), Estimator(settings)
        self.reports = Reports(settings)
        self.ping_interval = settings.sse_ping_interval or None
        self.router = Router(settings)
        known = {NO_TIMEOUTS, *(provider.timeouts for provider in settings.providers)}
        self._deadlines = {
            (timeouts, stream): _deadlines(timeouts, settings, stream=stream) for timeouts in known for stream in (False, True)
        }
        self._models = {name: encode(item) for name, item in self._items()}

    def route(self, model: str | None, *, images: bool, wire: Protocol, session: str = "") -> tuple[Target, ...]:
        """The targets of a request, the one to try first; see ``Router.route``."""
        return self.router.route(model, images=images, wire=wire, session=session)

    def deadlines(self, target: Target, *, stream: bool) -> Deadlines:
        """How long one attempt at ``target`` may take."""
        return self._deadlines[target.timeouts, stream]

    def targets(self) -> list[str]:
        """The upstreams with their addresses, for the line that is printed at start."""
        upstreams = self.router.upstreams
        chosen = upstreams.selection
        glm = [] if self.settings.provider_only else [(chosen.server.name, chosen.bases)]
        return [
            f"{name}/{protocol.value} {base}"
            for name, bases in (*glm, *((one.name, one.bases) for one in upstreams.providers.values()))
            for protocol in Protocol
            if (base := bases.of(protocol)) is not None
        ]

    # ------------------------------------------------------------------ models

    def _items(self) -> Iterator[tuple[str, dict[str, object]]]:
        """Every model that is listed, in the order of the list."""
        items = {}
        for name, (_, model) in self.router.upstreams.models.items():
            items[name] = self.item(name, shown=model.display_name, created=model.created)
        if not self.settings.provider_only:
            text = self.settings.autotext_model
            aliases = [name for name in self.settings.model_map_json if not name.endswith("*")]
            for name in (*(self.settings.openai_models_list_json or (text, f"{text}-openai", f"{text}-anthropic")), *aliases):
                items.setdefault(name, self.item(name))
            for entry in self.settings.models:
                items.setdefault(entry.id, self.item(entry.id, shown=entry.display_name))
        for name in self.router.upstreams.groups:
            items.setdefault(name, self.item(name))
        yield from items.items()

    def model(self, name: str) -> bytes | None:
        """One model as JSON; None when there is none of that name."""
        return self._models.get(name)

    def models(self, *, limit: int | None = None, after: str | None = None, before: str | None = None) -> bytes:
        """The list of models in a shape both kinds of client read, or a page of it: ``limit`` models behind ``after`` or before ``before``.

        Raises ``BadRequest`` for a cursor that is no model: beginning anew would send a paging client in circles.
        """
        names = list(self._models)
        begin = 0 if after is None else self._place(names, after, "after_id") + 1
        end = len(names) if before is None else self._place(names, before, "before_id")
        names = names[begin : max(begin, end)]
        shown = names[:limit] if before is None else names[-(limit or len(names)) :]
        first, last = (encode(shown[0]), encode(shown[-1])) if shown else (b"null", b"null")
        more = b"true" if len(shown) < len(names) else b"false"
        data = b",".join(self._models[name] for name in shown)
        return b'{"object":"list","data":[%b],"has_more":%b,"first_id":%b,"last_id":%b}' % (data, more, first, last)

    @staticmethod
    def _place(names: list[str], name: str, cursor: str) -> int:
        if name not in names:
            raise BadRequest(f"{cursor}: there is no model {name[:100]!a} here", param=cursor, code="invalid_request")
        return names.index(name)

    def item(self, name: str, *, shown: str | None = None, created: int | None = None) -> dict[str, object]:
        """One entry of the model list, with the limits where they are known."""
        limits = self.router.limits(name)
        moment = dt.datetime.fromtimestamp(CREATED if created is None else created, dt.UTC)
        return {
            "id": name,
            "object": "model",
            "type": "model",
            "created": int(moment.timestamp()),
            "created_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "display_name": shown or name,
            "owned_by": "proxy",
            "lifecycle": "active",
            "max_input_tokens": limits.max_input_tokens,
            "max_tokens": limits.max_tokens,
        }


def _deadlines(own: Timeouts, settings: Settings, *, stream: bool) -> Deadlines:
    """``own`` where they are given, else everyone's."""
    connect = settings.connect_timeout if own.connect is None else own.connect
    if not stream:
        return Deadlines(connect=connect, first_byte=0, gap=0, total=settings.request_timeout if own.request is None else own.request)
    return Deadlines(
        connect=connect,
        first_byte=settings.first_byte_timeout if own.first_byte is None else own.first_byte,
        gap=settings.stream_timeout if own.stream is None else own.stream,
        total=settings.stream_total_timeout if own.stream_total is None else own.stream_total,
    )
