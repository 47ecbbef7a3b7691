"""Settings made ready for exchanges: everything that is the same for every request, worked out once."""

from __future__ import annotations

from typing import Final

from core import routing
from core.dialects import Protocol
from core.effects import Deadlines
from core.errors import BadRequest
from core.settings import Settings
from core.tokens import Counter
from core.wire.codec import encode

VERSION: Final = "0.1.0"
#: ``created`` of every model, so that replicas agree (2009-02-13T23:31:30Z).
CREATED: Final = 1_234_567_890
CREATED_AT: Final = "2009-02-13T23:31:30Z"
#: Windows and longest answers of the models known by name (docs.z.ai, read 2026-11-20).
LIMITS: Final = {"glm-4.6": (200_000, 131_072), "glm-4.5": (128_000, 98_304), "glm-4.5v": (65_536, 16_384)}


class Gateway:
    """What an exchange needs of the configuration. Immutable but for the counter's cache."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counter = Counter(settings.token_counting_model, settings.tiktoken_cache_size)
        self.ping_interval = settings.sse_ping_interval or None
        self.stream_deadlines = Deadlines(
            connect=settings.connect_timeout,
            first_byte=settings.first_byte_timeout,
            gap=settings.stream_timeout,
            total=settings.stream_total_timeout,
        )
        self.plain_deadlines = Deadlines(connect=settings.connect_timeout, first_byte=0, gap=0, total=settings.request_timeout)
        self._models = self._listed()

    def route(self, model: str | None, *, images: bool, wire: Protocol) -> routing.Target:
        """The target of a request."""
        return routing.route(model, images=images, wire=wire, settings=self.settings)

    def targets(self) -> list[str]:
        """The upstream addresses, for the line that is printed at start."""
        there = routing.bases(self.settings)
        return [f"{name} {base}" for name, base in (("anthropic", there.anthropic), ("openai", there.openai)) if base is not None]

    # ------------------------------------------------------------------ models

    def _listed(self) -> dict[str, bytes]:
        text = self.settings.autotext_model
        names = self.settings.openai_models_list_json or (text, f"{text}-openai", f"{text}-anthropic")
        return {name: encode(model_item(name)) for name in names}

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


def model_item(name: str) -> dict[str, object]:
    """One entry of the model list, with the limits where they are known."""
    base = name.removesuffix("-openai").removesuffix("-anthropic")
    window, answer = LIMITS.get(base, (None, None))
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "created": CREATED,
        "created_at": CREATED_AT,
        "display_name": name,
        "owned_by": "proxy",
        "lifecycle": "active",
        "max_input_tokens": window,
        "max_tokens": answer,
    }
