"""The public interface: what is in it, and that it stands alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import FunctionType

import core

PUBLIC = [
    "AnswerContext",
    "Await",
    "BadRequest",
    "ChatRelay",
    "ChatToMessages",
    "ClientGone",
    "Compute",
    "Counter",
    "Counts",
    "DIALECTS",
    "Deadlines",
    "Decoder",
    "Dialect",
    "EFFECTS",
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


def test_the_public_names_are_these_and_no_others() -> None:
    assert sorted(core.__all__) == sorted(PUBLIC)


def test_every_public_name_is_there() -> None:
    assert [name for name in core.__all__ if name not in vars(core)] == []


def test_every_public_function_and_class_says_what_it_is_for() -> None:
    named = {name: vars(core)[name] for name in core.__all__}
    silent = [name for name, one in named.items() if isinstance(one, FunctionType) and not one.__doc__]
    assert silent == []


def test_the_core_brings_no_event_loop_and_no_network() -> None:
    code = "import sys, core; print([name for name in ('asyncio', 'anyio', 'trio', 'h11', 'httpcore', 'socket', 'transports') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_the_one_of_the_package() -> None:
    assert f'version = "{core.__version__}"' in (Path(__file__).parents[2] / "pyproject.toml").read_text()
