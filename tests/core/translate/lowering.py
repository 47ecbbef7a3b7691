"""Shorthands of the tests of the way from Messages to chat."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.dialects import DIALECTS, Dialect
from core.errors import BadRequest
from core.translate.context import Translated
from core.translate.to_chat import to_chat
from tests.core.translate import chat_rules

Json = dict[str, Any]

HELLO: list[Json] = [{"role": "user", "content": "Hello"}]
PNG = "iVBORw0KGgo="
IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
IMAGE_PART: Json = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def dialect(name: str, **changes: Any) -> Dialect:
    return replace(DIALECTS[name], **changes)


def translate(request: Json | bytes, target: str | Dialect = "glm-relay", *, strict: bool = False) -> Translated:
    """What becomes of ``request``, whose body must keep the rules of chat. ``messages`` and ``max_tokens`` are filled in.

    A dialect by name comes without its default of thinking, which would stand in every table otherwise.
    """
    known = replace(DIALECTS[target], thinking_default=None) if isinstance(target, str) else target
    body = request if isinstance(request, bytes) else json.dumps({"max_tokens": 9, "messages": HELLO, **request}).encode()
    made = to_chat(body, known, model="there", answer_model="here", seed="seed", now=1.5, strict=strict)
    chat_rules.check(json.loads(made.body), known)
    return made


def lowered(request: Json, target: str | Dialect = "glm-relay") -> Json:
    """The chat request, which must have been made without a loss."""
    made = translate(request, target)
    assert made.losses == ()
    found: Json = json.loads(made.body)
    return found


def lossy(request: Json, target: str | Dialect = "glm-relay") -> tuple[Json, list[tuple[str, str]]]:
    """The chat request, and path and name of what was lost; strict mode refuses the same request for the first of them."""
    made = translate(request, target)
    losses = [(loss.path, loss.what) for loss in made.losses]
    assert losses
    assert all(loss.why for loss in made.losses)
    with pytest.raises(BadRequest) as caught:
        translate(request, target, strict=True)
    assert (caught.value.param, caught.value.code) == (losses[0][0], "unsupported_parameter")
    return json.loads(made.body), losses


def turns(messages: list[Json], target: str | Dialect = "glm-relay") -> list[Json]:
    """The chat messages of a conversation that is carried without a loss."""
    found: list[Json] = lowered({"messages": messages}, target)["messages"]
    return found


def refused(request: Json, target: str | Dialect = "glm-relay") -> BadRequest:
    """The 400 that answers ``request``. Its message begins with the place."""
    with pytest.raises(BadRequest) as caught:
        translate(request, target)
    assert caught.value.param is not None
    assert caught.value.message.startswith(caught.value.param)
    return caught.value


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def call(call_id: str = "c1", name: str = "look", **arguments: Any) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def result(call_id: str = "c1", content: Any = "found", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def called(*ids: str, name: str = "look") -> Json:
    """The chat message of an assistant that called ``name`` without arguments."""
    calls = [{"id": one, "type": "function", "function": {"name": name, "arguments": "{}"}} for one in ids or ("c1",)]
    return {"role": "assistant", "tool_calls": calls}


def told(content: Any, call_id: str = "c1") -> Json:
    return {"role": "tool", "content": content, "tool_call_id": call_id}
