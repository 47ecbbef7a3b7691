"""Every scenario, on both wires, streaming and plain: correct where it should be, and wrong where it says so."""

from __future__ import annotations

import pytest

from tests.simulator.grammar import Wrong, accept
from tests.simulator.plain_http import WIRES, ask, request_body
from transports.simulation.scenarios import SCENARIOS
from transports.simulator import Simulator

#: Wrong on either wire, streaming or not.
ALWAYS = {name for name in SCENARIOS if name.startswith("demo-error-")} | {
    "demo-context",
    "demo-cut",
    "demo-cut-before-head",
    "demo-flaky",
    "demo-garbage",
    "demo-lying-length",
    "demo-no-finish",
    "demo-zero-usage",
}
STREAM = ALWAYS | {"demo-double-start", "demo-interleave", "demo-json", "demo-midstream", "demo-no-done", "demo-ping-only"}
FAULTY = {
    ("messages", True): STREAM,
    ("messages", False): ALWAYS | {"demo-sse"},
    ("chat", True): STREAM | {"demo-reasoning", "demo-repeat-ids", "demo-zero-index-missing"},
    ("chat", False): ALWAYS | {"demo-sse", "demo-reasoning"},
}
#: The model that answers at all: the silent one is tested by itself, the slow one has to be told not to be.
NAMES = ["glm-4.7", *(name for name in SCENARIOS if name != "demo-silent")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("wire", WIRES)
def test_a_scenario_is_correct_unless_it_is_a_fault(simulator: Simulator, wire: str, stream: bool, name: str) -> None:
    model = "demo-slow-0" if name == "demo-slow" else name
    # The text differs from run to run, or demo-flaky would have seen its request before.
    body = request_body(wire, model, f"hello {simulator.port}", stream=stream, stream_options={"include_usage": True})
    reply = ask(simulator.port, WIRES[wire], body)
    if name in FAULTY[wire, stream]:
        with pytest.raises(Wrong):
            accept(wire, reply, stream=stream, wants_usage=True)
    else:
        accept(wire, reply, stream=stream, wants_usage=True)


@pytest.mark.parametrize("name", ["demo-text", "demo-tool", "demo-thinking"])
def test_a_chat_stream_has_a_usage_chunk_only_when_asked_for(simulator: Simulator, name: str) -> None:
    reply = ask(simulator.port, WIRES["chat"], request_body("chat", name, stream=True))
    accept("chat", reply, stream=True, wants_usage=False)


@pytest.mark.parametrize("name", ["demo-tool", "demo-parallel", "demo-unicode", "demo-split", "demo-no-args", "glm-4.7"])
@pytest.mark.parametrize("wire", WIRES)
def test_a_request_without_tools_gets_no_call(simulator: Simulator, wire: str, name: str) -> None:
    body = request_body(wire, name, "use a tool", tools=False)
    reply = ask(simulator.port, WIRES[wire], body)
    accept(wire, reply, stream=False)
    assert reply is not None
    assert b"tool_use" not in reply.body
    assert b"tool_calls" not in reply.body
