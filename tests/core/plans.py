"""Requests as they would leave, for the tests of what goes upstream: without an exchange around them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from core.asked import understand
from core.call import Call
from core.credentials import Credential, credential_for
from core.dialects import DIALECTS, Protocol
from core.effects import Request
from core.gateway import Gateway
from core.outbound import Plan, prepare
from core.record import Record
from core.routing import Target
from core.settings import Settings
from core.settings.upstreams import Limits
from core.testing import ScriptedWorld
from tests.core.exchanges import CHAT, MESSAGES, NOW, PATH

#: Where upstreams of a dialect are, if it matters.
BASES: Final = {
    "glm": "https://api.z.ai/api/paas/v4",
    "glm-messages": "https://api.z.ai/api/anthropic",
    "anthropic": "https://api.anthropic.com",
    "anthropic-budget": "https://api.anthropic.com",
}
DEFAULT: Final = Gateway(Settings())
_SPEAK_MESSAGES: Final = ("glm-messages", "anthropic", "anthropic-budget", "anthropic-tools", "messages-relay", "deepseek-messages")


def target(dialect: str, *, limit: int | None = None, **changes: Any) -> Target:
    """A target of a dialect, whose model's longest answer is ``limit``."""
    protocol = MESSAGES if dialect in _SPEAK_MESSAGES else CHAT
    base = BASES.get(dialect, "https://relay.example/v1")
    made = Target("name", protocol, base, "there", "reason", DIALECTS[dialect], key="owners", limits=Limits(None, limit))
    return replace(made, **changes)


@dataclass(frozen=True)
class Planned:
    """What became of a request."""

    plan: Plan
    record: Record

    @property
    def raw(self) -> bytes:
        return self.plan.request.body

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def dropped(self) -> list[str]:
        return [loss.path for loss in self.record.losses]


def called(
    wire: Protocol, body: dict[str, Any] | bytes, *, at: Gateway | None = None, client: bytes | None = None, query: str = ""
) -> Call:
    """A request past the door. ``model`` and ``messages`` are filled in."""
    data = (
        body
        if isinstance(body, bytes)
        else json.dumps({"model": "here", "messages": [{"role": "user", "content": "Hello"}]} | body).encode()
    )
    request = Request("POST", f"{PATH[wire]}{query}", [], data, "req_1", NOW)
    shown = None if client is None else Credential(client)
    return Call(request, at or DEFAULT, Record("req_1", PATH[wire], NOW), wire, shown)


def planned(
    wire: Protocol,
    body: dict[str, Any] | bytes,
    to: str | Target,
    *,
    at: Gateway | None = None,
    world: ScriptedWorld | None = None,
    client: bytes | None = None,
    query: str = "",
) -> Planned:
    """A client's request for a target, or for one of a dialect."""
    there = target(to) if isinstance(to, str) else to
    call = called(wire, body, at=at, client=client, query=query)
    flow = prepare(call, understand(call), there, credential_for(call.client, there))
    return Planned((world or ScriptedWorld()).run(flow), call.record)
