"""For tests of this proxy and of programs that embed it: what an answer stream must look like, and a world without I/O."""

from core.testing.streams import Accepted, GrammarViolation, accept_chat_stream, accept_messages_stream
from core.testing.world import Answer, ProtocolViolation, ScriptedWorld

__all__ = [
    "Accepted",
    "Answer",
    "GrammarViolation",
    "ProtocolViolation",
    "ScriptedWorld",
    "accept_chat_stream",
    "accept_messages_stream",
]
