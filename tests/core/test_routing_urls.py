"""Addresses: completed by what they lack, and compared by who answers there."""

from __future__ import annotations

import pytest

from core.dialects import Protocol
from core.routing import origin, upstream_url

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://x", "https://x/v1/chat/completions"),
        ("https://x/", "https://x/v1/chat/completions"),
        ("https://x//", "https://x/v1/chat/completions"),
        ("https://x/v1", "https://x/v1/chat/completions"),
        ("https://x/v1/", "https://x/v1/chat/completions"),
        ("https://x/api/paas/v4", "https://x/api/paas/v4/chat/completions"),
        ("https://x/v1beta/openai", "https://x/v1beta/openai/chat/completions"),
        ("https://x/v1/chat/completions", "https://x/v1/chat/completions"),
        ("https://x/any/chat/completions/", "https://x/any/chat/completions"),
        ("https://x/vienna", "https://x/vienna/v1/chat/completions"),
        ("https://v1.example", "https://v1.example/v1/chat/completions"),
    ],
)
def test_a_chat_base_is_completed_by_what_it_lacks(base: str, url: str) -> None:
    assert upstream_url(CHAT, base) == url


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://x", "https://x/v1/messages"),
        ("https://x/", "https://x/v1/messages"),
        ("https://x/v1", "https://x/v1/messages"),
        ("https://x/v2/", "https://x/v2/messages"),
        ("https://x/api/anthropic", "https://x/api/anthropic/v1/messages"),
        ("https://x/v1/anthropic", "https://x/v1/anthropic/v1/messages"),
        ("https://x/v1/messages", "https://x/v1/messages"),
        ("https://x/a/v1/messages/", "https://x/a/v1/messages"),
    ],
)
def test_a_messages_base_is_completed_by_what_it_lacks(base: str, url: str) -> None:
    assert upstream_url(MESSAGES, base) == url
    assert upstream_url(MESSAGES, base, count=True) == f"{url}/count_tokens"


@pytest.mark.parametrize(
    ("base", "other", "same"),
    [
        ("https://x/a", "https://x/b", True),
        ("https://x", "https://x:443/b", True),
        ("http://x", "http://x:80", True),
        ("https://X", "https://x", True),
        ("https://x", "http://x", False),
        ("https://x", "https://x:444", False),
        ("https://x", "https://y.x", False),
        ("http://x:443", "https://x:443", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(base: str, other: str, same: bool) -> None:
    assert (origin(base) == origin(other)) is same
