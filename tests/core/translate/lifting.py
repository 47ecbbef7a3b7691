"""Shorthands of the tests of the way from chat to Messages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.dialects import DIALECTS, Dialect
from core.errors import BadRequest
from core.translate.context import Translated
from core.translate.to_messages import to_messages

Json = dict[str, Any]

HELLO: list[Json] = [{"role": "user", "content": "Hello"}]
PNG = "iVBORw0KGgo="


def dialect(name: str, **changes: Any) -> Dialect:
    return replace(DIALECTS[name], **changes)


def translate(request: Json, target: str | Dialect = "messages-relay", *, strict: bool = False) -> Translated:
    known = DIALECTS[target] if isinstance(target, str) else target
    return to_messages(
        json.dumps({"messages": HELLO, **request}).encode(),
        known,
        model="there",
        answer_model="here",
        seed="seed",
        now=1.5,
        default_max_tokens=9000,
        strict=strict,
    )


def lifted(request: Json, target: str | Dialect = "messages-relay") -> Json:
    """The Messages request, which must have been made without a loss."""
    made = translate(request, target)
    assert made.losses == ()
    return shown(made.body)


def lossy(request: Json, target: str | Dialect = "messages-relay") -> tuple[Json, list[tuple[str, str]]]:
    """The Messages request, and path and name of what was lost; strict mode refuses the same request for the first of them."""
    made = translate(request, target)
    losses = [(loss.path, loss.what) for loss in made.losses]
    assert losses
    assert all(loss.why for loss in made.losses)
    with pytest.raises(BadRequest) as caught:
        translate(request, target, strict=True)
    assert (caught.value.param, caught.value.code) == (losses[0][0], "unsupported_parameter")
    return shown(made.body), losses


def shown(body: bytes) -> Json:
    """A Messages request for reading: a turn of one plain text, which is always sent as a list of one block, as that text."""
    request: Json = json.loads(body)
    for turn in request["messages"]:
        assert isinstance(turn["content"], list)
        match turn["content"]:
            case [{"type": "text", "text": str(only), **rest}] if not rest:
                turn["content"] = only
    return request


def turns(messages: list[Json], target: str | Dialect = "messages-relay") -> list[Json]:
    found: list[Json] = lifted({"messages": messages}, target)["messages"]
    return found


def refused(request: Json, target: str | Dialect = "messages-relay") -> tuple[str | None, str]:
    """The place and the words of the ``BadRequest``."""
    with pytest.raises(BadRequest) as caught:
        translate(request, target)
    assert caught.value.status == 400
    return caught.value.param, caught.value.message


def user(content: object, **members: Any) -> Json:
    return {"role": "user", "content": content, **members}


def assistant(content: object = None, **members: Any) -> Json:
    return {"role": "assistant", "content": content, **members}


def system(content: object, **members: Any) -> Json:
    return {"role": "system", "content": content, **members}


def tool(call_id: str | None, content: object, **members: Any) -> Json:
    return {"role": "tool", "content": content, **({} if call_id is None else {"tool_call_id": call_id}), **members}


def call(call_id: str | None, arguments: str | None = "{}", name: str = "f") -> Json:
    made: Json = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return made if call_id is None else {"id": call_id, **made}


def use(call_id: str, given: Json | None = None, name: str = "f") -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given or {}}


def result(call_id: str, content: object, **members: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **members}


def text(said: str, **members: Any) -> Json:
    return {"type": "text", "text": said, **members}


def image(url: str, **members: Any) -> Json:
    return {"type": "image_url", "image_url": {"url": url}, **members}


def picture(data: str = PNG, media: str = "image/png", **members: Any) -> Json:
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}, **members}
