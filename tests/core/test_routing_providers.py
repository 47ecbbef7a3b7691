"""Providers as targets: what a request finds there, who sees, who speaks how, and who of a group answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.dialects import Protocol, dialect_for
from core.errors import BadRequest
from core.routing import Router, Target, route
from core.settings import Settings
from core.settings.upstreams import NO_TIMEOUTS, Bases, Limits, Model, Provider, Timeouts

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI


def provider(*models: Model, name: str = "p", **more: Any) -> Provider:
    return Provider(name, more.pop("bases", Bases(openai=f"https://{name}.example/v1")), models, "provider-key", **more)


def model(name: str, **more: Any) -> Model:
    return Model(name, more.pop("remote_id", name), name, **more)


def first(name: str, *providers: Provider, images: bool = False, **settings: Any) -> Target:
    return route(name, images=images, wire=MESSAGES, settings=Settings(providers=providers, **settings))[0]


def test_a_target_has_what_its_provider_says() -> None:
    own = provider(
        model("m", limits=Limits(1000, 100)),
        auth="x-api-key",
        forward_client_key=True,
        headers={"x-team": "a", "user-agent": "b"},
        timeouts=Timeouts(connect=3),
        key_concurrency=4,
        default_max_tokens=55,
    )
    found = first("m", own, default_max_tokens=77, forward_client_key=False, server_api_key="s")
    assert (found.glm, found.vision, found.key, found.forward_client_key, found.auth) == (False, False, "provider-key", True, "x-api-key")
    assert found.headers == ((b"x-team", b"a"), (b"user-agent", b"b"))
    assert (found.timeouts, found.concurrency, found.default_max_tokens) == (Timeouts(connect=3), 4, 55)
    assert found.limits == Limits(1000, 100)
    assert "provider-key" not in repr(found)


def test_a_provider_that_says_nothing_is_like_everyone() -> None:
    found = first("m", provider(model("m")), upstream_key_concurrency=9)
    assert (found.auth, found.headers, found.timeouts, found.concurrency) == (None, (), NO_TIMEOUTS, 9)
    assert (found.forward_client_key, found.default_max_tokens, found.limits) == (False, 1024, Limits())


# ---------------------------------------------------------------------------------------------------- pictures


def test_pictures_go_to_a_model_that_sees() -> None:
    found = first("m", provider(model("m")), images=True)
    assert (found.model, found.vision) == ("m", True)


BLIND = model("blind", vision=False)
HELPED = model("helped", vision=False, vision_model="eyes")


@pytest.mark.parametrize(
    ("providers", "upstream"),
    [
        pytest.param([provider(HELPED)], ("p", "eyes"), id="a further model of the provider"),
        pytest.param([provider(HELPED, model("eyes", remote_id="eyes-1"))], ("p", "eyes-1"), id="one of its models"),
        pytest.param([provider(HELPED), provider(model("eyes", remote_id="eyes-2"), name="q")], ("q", "eyes-2"), id="another provider's"),
    ],
)
def test_pictures_for_a_model_that_does_not_see_go_to_the_one_it_names(providers: list[Provider], upstream: tuple[str, str]) -> None:
    found = first("helped", *providers, images=True)
    assert (found.name, found.model) == upstream
    assert first("helped", *providers).model == "helped"


@pytest.mark.parametrize(
    ("asked", "shown", "models"),
    [
        ("blind", "blind", [BLIND]),
        ("blind-openai", "blind", [BLIND]),
        ("alias", "blind", [BLIND]),
        ("helped", "helped", [HELPED, model("eyes", vision=False)]),
        ("all", "all", [replace(BLIND, group="all"), replace(HELPED, vision_model=None, group="all")]),
        ("blind", "blind", [replace(BLIND, fallbacks=("m",)), model("m")]),
    ],
)
def test_pictures_that_nobody_can_see_are_400(asked: str, shown: str, models: list[Model]) -> None:
    with pytest.raises(BadRequest) as caught:
        first(asked, provider(*models), images=True, model_map_json={"alias": "blind"})
    assert caught.value.message == f"model: {shown} takes no pictures, and the request has some"
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "model")
    assert first(asked, provider(*models), model_map_json={"alias": "blind"}).model in ("blind", "helped")


# ---------------------------------------------------------------------------------------------------- dialects


@pytest.mark.parametrize(
    ("preset", "name", "chat", "messages"),
    [
        ("generic", "m", "generic", "messages-relay"),
        ("openai", "gpt-4o", "openai", "messages-relay"),
        ("openai", "gpt-5", "openai-gpt5", "messages-relay"),
        ("anthropic", "claude-opus-4-8", "generic", "anthropic"),
        ("anthropic", "claude-3-haiku", "generic", "anthropic-tools"),
        ("zai", "glm-4.6", "glm", "glm-messages"),
        ("zai", "glm-5.2", "glm-effort", "glm-messages"),
        ("deepseek", "m", "deepseek", "deepseek-messages"),
        ("moonshot", "m", "moonshot", "messages-relay"),
        ("openrouter", "m", "openrouter", "messages-relay"),
        ("ollama", "m", "ollama", "messages-relay"),
        ("vllm", "m", "vllm", "messages-relay"),
    ],
)
def test_a_preset_names_the_dialect(preset: str, name: str, chat: str, messages: str) -> None:
    both = provider(model(name), preset=preset, bases=Bases("https://p.example", "https://p.example"))
    assert first(f"{name}-openai", both).dialect.name == chat
    assert first(f"{name}-anthropic", both).dialect.name == messages


@pytest.mark.parametrize(
    ("base", "name", "dialect"),
    [
        ("https://api.deepseek.com", "m", "deepseek"),
        ("https://openrouter.ai/api/v1", "m", "openrouter"),
        ("http://localhost:11434/v1", "m", "ollama"),
        ("https://api.openai.com/v1", "gpt-5", "openai-gpt5"),
        ("https://api.z.ai/api/paas/v4", "glm-4.6", "glm"),
        ("https://else.example", "m", "generic"),
    ],
)
def test_a_generic_provider_is_known_by_its_host(base: str, name: str, dialect: str) -> None:
    assert first(name, provider(model(name), bases=Bases(openai=base))).dialect.name == dialect


@pytest.mark.parametrize("preset", ["generic", "openai", "anthropic", "deepseek", "moonshot", "openrouter", "ollama", "vllm"])
@pytest.mark.parametrize("base", ["https://api.z.ai/api/paas/v4", "https://else.example"])
def test_no_preset_but_zais_makes_a_model_think_unasked(preset: str, base: str) -> None:
    assert first("glm-4.6", provider(model("glm-4.6"), preset=preset, bases=Bases(openai=base))).dialect.thinking_default is None
    zai = first("glm-4.6", provider(model("glm-4.6"), preset="zai", bases=Bases(openai=base)))
    assert (zai.dialect, zai.glm) == (dialect_for(CHAT, "https://api.z.ai", "glm-4.6"), False)


# ---------------------------------------------------------------------------------------------------- groups

GROUP = [provider(model(f"m{number}", group="team"), name=f"p{number}") for number in range(4)]


def order(session: str, *providers: Provider, name: str = "team", images: bool = False) -> list[str]:
    settings = Settings(providers=providers)
    return [target.model for target in route(name, images=images, wire=CHAT, settings=settings, session=session)]


def test_a_group_answers_with_every_member_once_and_always_alike() -> None:
    for session in ("", "a", "b", "x" * 1000, "\ud83d"):
        found = order(session, *GROUP)
        assert sorted(found) == ["m0", "m1", "m2", "m3"]
        assert order(session, *GROUP) == found
        assert order(session, *reversed(GROUP)) == found, "the order in the file does not matter"
    assert len({order(str(number), *GROUP)[0] for number in range(40)}) == 4


def test_a_router_remembers_sessions_without_mixing_them_up() -> None:
    router = Router(Settings(providers=tuple(GROUP)))
    sessions = [*(str(number) for number in range(1200)), "x" * 200]
    for _ in range(2):
        for session in sessions:
            found = router.route("team", images=False, wire=CHAT, session=session)
            assert [target.model for target in found] == order(session, *GROUP)


def test_a_group_can_be_asked_for_with_a_suffix_and_by_an_alias() -> None:
    assert order("s", *GROUP, name="team-openai") == order("s", *GROUP)
    settings = Settings(providers=tuple(GROUP), model_map_json={"best-*": "team"})
    found = route("best-one", images=False, wire=CHAT, settings=settings, session="s")
    assert [target.model for target in found] == order("s", *GROUP)


def test_members_that_do_not_see_are_left_out_for_pictures_alone() -> None:
    half = [provider(model(f"m{number}", group="team", vision=number > 1), name=f"p{number}") for number in range(4)]
    for session in ("a", "b", "c"):
        assert order(session, *half, images=True) == [one for one in order(session, *half) if one in ("m2", "m3")]


def test_members_that_leave_pictures_to_the_same_model_are_one() -> None:
    helped = [provider(model(f"m{number}", group="team", vision=False, vision_model="eyes"), name=f"p{number}") for number in range(2)]
    eyes = provider(model("eyes"), name="q")
    assert [order(session, *helped, eyes, images=True) for session in "abcd"] == [["eyes"]] * 4


def test_a_member_of_weight_0_is_the_last() -> None:
    weighed = [GROUP[0], replace(GROUP[1], weight=0), GROUP[2]]
    assert {order(str(number), *weighed)[-1] for number in range(30)} == {"m1"}


def test_behind_a_group_come_the_fallbacks_of_the_member_that_was_first() -> None:
    spare, other = provider(model("s0"), name="spare"), provider(model("s1"), name="other")
    members = [
        provider(model("m0", group="team", fallbacks=("s0", "m1")), name="p0"),
        provider(model("m1", group="team", fallbacks=("s1", "m0")), name="p1"),
    ]
    found = {tuple(order(str(number), *members, spare, other)) for number in range(20)}
    assert found == {("m0", "m1", "s0"), ("m1", "m0", "s1")}
