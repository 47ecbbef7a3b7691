"""What only Anthropic itself understands: the changing billing header in Claude Code's system prompt, and message threads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import BadRequest
from core.gateway import Gateway
from core.settings import Settings
from tests.core.exchanges import CHAT, MESSAGES, PAIRS
from tests.core.plans import Planned, planned, target

BILLING = "x-anthropic-billing-header: cc_version=2.1.329.a1b; cc_entrypoint=cli; cch={};"
TO = {MESSAGES: "messages-relay", CHAT: "generic"}


def body(wire: Any, nonce: str, *, listed: bool = False) -> dict[str, Any]:
    """A request whose system prompt has the header, as a text or as the first of two blocks."""
    text = BILLING.format(nonce)
    prompt: Any = [{"type": "text", "text": text}, {"type": "text", "text": "Be brief."}] if listed else f"{text}\nBe brief."
    hello = {"role": "user", "content": "Hello"}
    if wire is MESSAGES:
        return {"system": prompt, "messages": [hello]}
    return {"messages": [{"role": "system", "content": prompt}, hello]}


def sent(wire: Any, to: Any, nonce: str, setting: Any = "auto", *, listed: bool = False) -> Planned:
    return planned(wire, body(wire, nonce, listed=listed), to, at=Gateway(Settings(neutralize_volatile_system=setting)))


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("setting", ["auto", True])
@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_the_nonce_is_constant_towards_all_others_in_all_pairs_and_the_change_is_noted(
    wire: Any, upstream: Any, setting: Any, listed: bool
) -> None:
    made, other = (sent(wire, TO[upstream], nonce, setting, listed=listed) for nonce in ("7f3a9", "0dd1e"))
    assert made.raw == other.raw
    assert b"7f3a9" not in made.raw
    assert b"Be brief." in made.raw
    assert any("cch=" in note for note in made.record.notes)
    assert made.dropped == []


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_it_is_left_alone_where_that_is_switched_off(wire: Any, upstream: Any, listed: bool) -> None:
    made = sent(wire, TO[upstream], "7f3a9", False, listed=listed)
    assert b"cch=7f3a9" in made.raw
    assert not any("cch=" in note for note in made.record.notes)


@pytest.mark.parametrize(("setting", "nonce"), [("auto", b"cch=7f3a9"), (False, b"cch=7f3a9"), (True, b"cch=00000")])
@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_towards_anthropic_it_is_untouched_unless_the_setting_says_otherwise(wire: Any, setting: Any, nonce: bytes) -> None:
    assert nonce in sent(wire, "anthropic", "7f3a9", setting).raw


def test_anthropic_is_known_by_its_address_and_not_by_its_dialect() -> None:
    for base in ("https://relay.example", "https://api.anthropic.com.evil.example", "https://evil.example/api.anthropic.com"):
        assert b"cch=00000" in sent(MESSAGES, target("anthropic", base=base), "7f3a9").raw
    for base in ("https://api.anthropic.com/v1", "https://API.anthropic.com:443"):
        assert b"cch=7f3a9" in sent(MESSAGES, target("messages-relay", base=base), "7f3a9").raw


@pytest.mark.parametrize("upstream", [MESSAGES, CHAT])
@pytest.mark.parametrize(
    "turns",
    [
        pytest.param([{"role": "user", "content": BILLING.format("7f3a9")}], id="said by the user"),
        pytest.param([{"role": "user", "content": "a"}, {"role": "system", "content": BILLING.format("7f3a9")}], id="not at the beginning"),
        pytest.param(
            [{"role": "system", "content": "x" * 3000 + BILLING.format("7f3a9")}, {"role": "user", "content": "a"}], id="not first"
        ),
    ],
)
def test_only_the_system_prompt_of_a_chat_client_is_looked_into(upstream: Any, turns: list[dict[str, Any]]) -> None:
    assert b"cch=7f3a9" in planned(CHAT, {"messages": turns}, TO[upstream]).raw


def test_a_chat_request_keeps_every_other_byte() -> None:
    raw = b'{"messages":[ {"role":"developer","content":"\\u0041"} ,{ "content" : "%b", "role":"system", "x":1.0}, {"role":"user","content":"b"} ] , "model":"there"}'
    given, expected = raw % BILLING.format("7f3a9").encode(), raw % BILLING.format("00000").encode()
    assert planned(CHAT, given, "generic").raw == expected


def test_a_header_without_a_nonce_is_no_change() -> None:
    text = "x-anthropic-billing-header: cc_version=2.1.329.778; cc_entrypoint=sdk-cli;"
    made = planned(MESSAGES, {"system": text, "max_tokens": 9}, "messages-relay")
    assert (made.body["system"], made.record.notes) == (text, [])
    made = planned(CHAT, {"messages": [{"role": "system", "content": text}]}, "generic")
    assert (made.body["messages"][0]["content"], made.record.notes) == (text, [])


# ---------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("to", ["messages-relay", "glm-messages", "generic", "glm", "openai", target("anthropic", base="https://relay.example/anthropic", glm=False)])  # fmt: skip
def test_a_thread_is_refused_by_all_others_in_the_way_the_sdks_act_upon(to: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        planned(MESSAGES, {"max_tokens": 9, "thread": {"type": "continue", "previous_message_id": "msg_1"}}, to)
    assert json.loads(caught.value.details or b"") == {"error_code": "thread_unsupported_request", "unsupported": []}
    assert caught.value.param == "thread"


def test_a_thread_passes_to_anthropic_and_one_that_is_null_to_everyone() -> None:
    thread = {"type": "create"}
    assert planned(MESSAGES, {"max_tokens": 9, "thread": thread}, "anthropic").body["thread"] == thread
    assert planned(MESSAGES, {"max_tokens": 9, "thread": None}, "messages-relay").body["thread"] is None


# ---------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_the_query_goes_on_to_a_messages_upstream_of_a_messages_client_and_nowhere_else(wire: Any, upstream: Any) -> None:
    made = planned(wire, {"max_tokens": 9}, TO[upstream], query="?beta=true&x=%20")
    assert made.plan.request.url.endswith("?beta=true&x=%20") is (wire is upstream is MESSAGES)
    assert ("?" in made.plan.request.url) is (wire is upstream is MESSAGES)


# ---------------------------------------------------------------------------------------------------- a beta that is forced


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_whether_a_beta_is_forced_depends_on_the_request_as_it_goes_up(wire: Any) -> None:
    marked = {"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]}
    plain = {"role": "user", "content": "Hello"}
    at = Gateway(Settings(force_anthropic_beta=True))
    for to, turn, betas in (("messages-relay", marked, 1), ("messages-relay", plain, 0), ("deepseek-messages", marked, wire is MESSAGES)):
        headers = planned(wire, {"max_tokens": 9, "messages": [turn]}, to, at=at).plan.request.headers
        assert [name for name, _ in headers].count(b"anthropic-beta") == betas
