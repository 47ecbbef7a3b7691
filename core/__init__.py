"""anthropic-proxy's core: both wires, their translation, and the flow of an exchange, without I/O.

Three ways in, each usable alone:

* **Translate**: ``to_chat`` / ``to_messages`` for requests, ``answer_to_messages`` / ``answer_to_chat`` for whole answers,
  ``ChatToMessages`` / ``MessagesToChat`` for streams, ``understand`` / ``body_of`` / ``event_of`` for errors.
* **Exchange**: ``exchange(request, Gateway(settings))`` is a generator of effects (``EFFECTS``); perform them with your own I/O.
* **Test**: ``core.testing`` has grammar acceptors for both streams and a scripted world.

What is listed in ``__all__`` is the public interface; everything else may change. ``docs/embedding.md`` has an example of each.
"""

from __future__ import annotations

from core.dialects import DIALECTS, Dialect, Protocol, dialect_for
from core.effects import (
    EFFECTS,
    Await,
    Compute,
    Deadlines,
    Effect,
    Enter,
    Fetch,
    Flow,
    Head,
    Headers,
    Inspect,
    Leave,
    Load,
    Now,
    Open,
    Pause,
    Read,
    Request,
    Send,
    Spawn,
    Start,
    Store,
    UpstreamRequest,
    Vitals,
)
from core.errors import (
    BadRequest,
    ClientGone,
    Forbidden,
    HeadersTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ProxyError,
    Refused,
    RequestTimeout,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamSaid,
    UpstreamTimeout,
)
from core.exchange import adopt_request_id, exchange, refusal
from core.gateway import VERSION, Gateway
from core.record import Record
from core.settings import Settings, SettingsError, UnsafeSettings
from core.tokens import Counter, estimate_payload
from core.translate.answers import answer_to_chat, answer_to_messages, chat_as_stream, messages_as_stream
from core.translate.context import AnswerContext, Translated
from core.translate.faults import body_of, event_of, understand
from core.translate.folding import fold
from core.translate.loss import Loss
from core.translate.relay import MessagesRelay
from core.translate.relay_chat import ChatRelay
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.to_chat import to_chat
from core.translate.to_messages import to_messages
from core.translate.usage import Counts
from core.wire.sse import Decoder, Frame

__version__ = VERSION

__all__ = [
    "DIALECTS",
    "EFFECTS",
    "AnswerContext",
    "Await",
    "BadRequest",
    "ChatRelay",
    "ChatToMessages",
    "ClientGone",
    "Compute",
    "Counter",
    "Counts",
    "Deadlines",
    "Decoder",
    "Dialect",
    "Effect",
    "Enter",
    "Fetch",
    "Flow",
    "Forbidden",
    "Frame",
    "Gateway",
    "Head",
    "Headers",
    "HeadersTooLarge",
    "Inspect",
    "InternalError",
    "Leave",
    "Load",
    "Loss",
    "MessagesRelay",
    "MessagesToChat",
    "MethodNotAllowed",
    "NotFound",
    "Now",
    "Open",
    "Pause",
    "Protocol",
    "ProxyError",
    "Read",
    "Record",
    "Refused",
    "Request",
    "RequestTimeout",
    "Send",
    "Settings",
    "SettingsError",
    "Spawn",
    "Start",
    "Store",
    "TooLarge",
    "TooManyRequests",
    "Translated",
    "Unauthorized",
    "Unavailable",
    "UnsafeSettings",
    "UnsupportedMedia",
    "UpstreamError",
    "UpstreamFailed",
    "UpstreamGarbled",
    "UpstreamRequest",
    "UpstreamSaid",
    "UpstreamTimeout",
    "Vitals",
    "__version__",
    "adopt_request_id",
    "answer_to_chat",
    "answer_to_messages",
    "body_of",
    "chat_as_stream",
    "dialect_for",
    "estimate_payload",
    "event_of",
    "exchange",
    "fold",
    "messages_as_stream",
    "refusal",
    "to_chat",
    "to_messages",
    "understand",
]
