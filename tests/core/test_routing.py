"""Which upstream answers: every step from a model string to a target, and every row of the table of protocols."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialects import Protocol
from core.errors import BadRequest
from core.routing import Router, Target, sees
from core.routing import route as routes
from core.settings import Settings
from core.settings.upstreams import INTERNATIONAL, Bases, GlmModel, Model, Provider

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI


def route(model: str | None, *, images: bool = False, wire: Protocol = CHAT, settings: Settings) -> Target:
    """The only target."""
    (target,) = routes(model, images=images, wire=wire, settings=settings)
    return target


def provider(*models: Model, name: str = "p", **more: Any) -> Provider:
    return Provider(name, more.pop("bases", Bases(openai=f"https://{name}.example/v1")), models, "provider-key", **more)


def model(name: str, **more: Any) -> Model:
    return Model(name, more.pop("remote_id", name), name, **more)


# ---------------------------------------------------------------------------------------------------- the protocol


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@pytest.mark.parametrize(
    ("model", "images", "preference", "protocol", "reason"),
    [
        pytest.param("glm-4.6", True, "anthropic", CHAT, "has_images=True", id="1: images"),
        pytest.param("glm-4.6-anthropic", True, "auto", CHAT, "has_images=True", id="1: images, whatever the suffix"),
        pytest.param("glm-4.6-openai", False, "anthropic", CHAT, "suffix: -openai", id="2: suffix before preference"),
        pytest.param("glm-4.6-anthropic", False, "openai", MESSAGES, "suffix: -anthropic", id="2: the other suffix"),
        pytest.param("glm-4.6", False, "openai", CHAT, "preference: openai", id="3: preference openai"),
        pytest.param("glm-4.6", False, "anthropic", MESSAGES, "preference: anthropic", id="3: preference anthropic"),
    ],
)
def test_the_protocol_is_the_first_that_applies(
    wire: Protocol, model: str, images: bool, preference: str, protocol: Protocol, reason: str
) -> None:
    target = route(model, images=images, wire=wire, settings=Settings(text_endpoint_preference=preference))
    assert (target.protocol, target.reason) == (protocol, reason)
    word = "OpenAI" if protocol is CHAT else "Anthropic"
    assert target.line == f"[ROUTING] → {word} ({reason})"
    assert target.base == INTERNATIONAL.bases.of(protocol)
    assert target.dialect.name == ("glm" if protocol is CHAT else "glm-messages")
    assert target.name == "international"


@pytest.mark.parametrize(
    ("preference", "wire", "protocol", "reason"),
    [
        ("endpoint", MESSAGES, MESSAGES, "endpoint: /v1/messages"),
        ("endpoint", CHAT, CHAT, "endpoint: /v1/chat/completions"),
        ("auto", MESSAGES, MESSAGES, "auto: /v1/messages"),
        ("auto", CHAT, MESSAGES, "auto: /v1/chat/completions"),
    ],
)
def test_the_endpoint_counts_when_nothing_else_does(preference: str, wire: Protocol, protocol: Protocol, reason: str) -> None:
    target = route("glm-4.6", images=False, wire=wire, settings=Settings(text_endpoint_preference=preference))
    assert (target.protocol, target.reason) == (protocol, reason)


# ---------------------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize(
    ("model", "images", "upstream"),
    [
        pytest.param(None, False, "glm-4.6", id="none: the text default"),
        pytest.param("", True, "glm-4.5v", id="none, with images: the vision default"),
        pytest.param("  ", False, "glm-4.6", id="a blank one"),
        pytest.param("-openai", False, "glm-4.6", id="a suffix alone"),
        pytest.param("glm-4.6", False, "glm-4.6", id="the text default"),
        pytest.param("glm-4.6", True, "glm-4.5v", id="the text default with images"),
        pytest.param("glm-4.5v", False, "glm-4.6", id="the vision default without images"),
        pytest.param("glm-4.5v", True, "glm-4.5v", id="the vision default with images"),
        pytest.param("glm-4.6v-flash", True, "glm-4.6v-flash", id="another that sees, with images"),
        pytest.param("glm-4.6v-flash", False, "glm-4.6v-flash", id="another that sees, without"),
        pytest.param("claude-sonnet-4-5", True, "glm-4.5v", id="one not known to see, with images"),
        pytest.param("claude-sonnet-4-5", False, "claude-sonnet-4-5", id="any other passes"),
        pytest.param("glm-4.6-openai", False, "glm-4.6", id="a suffix"),
        pytest.param("glm-4.5v-anthropic", False, "glm-4.6", id="a suffix on the vision default"),
        pytest.param("glm-4.6-openai-anthropic", False, "glm-4.6-openai", id="one suffix only"),
        pytest.param("glm-4.6-openai-x", False, "glm-4.6-openai-x", id="no suffix but at the end"),
    ],
)
def test_the_upstream_gets_a_model_that_can_do_it(model: str | None, images: bool, upstream: str) -> None:
    assert route(model, images=images, wire=CHAT, settings=Settings()).model == upstream


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize(("model", "upstream"), [("m", "m"), ("other", "other"), ("", "m")])
def test_equal_defaults_never_switch(images: bool, model: str, upstream: str) -> None:
    settings = Settings(autotext_model="m", autovision_model="m")
    assert route(model, images=images, wire=CHAT, settings=settings).model == upstream


def test_a_text_default_that_happens_to_see_still_makes_room_for_the_vision_default() -> None:
    settings = Settings(autotext_model="glm-4.6v", autovision_model="glm-5v")
    assert route("glm-4.6v", images=True, wire=CHAT, settings=settings).model == "glm-5v"


@pytest.mark.parametrize(
    ("model", "known"), [("glm-4.5v", True), ("GLM-4.6V-Flash", True), ("glm-4.6", False), ("glm-4.6-dev", False), ("gpt-5v", False)]
)
def test_a_model_is_known_to_see_by_its_name(model: str, known: bool) -> None:
    assert sees(model) is known


# ---------------------------------------------------------------------------------------------------- what a name stands for


def names(**more: Any) -> Settings:
    """Two providers' models and a few aliases."""
    return Settings(
        providers=(
            provider(model("gpt"), model("gpt-openai", remote_id="odd"), name="one"),
            provider(model("sonnet", remote_id="claude-4"), name="two", bases=Bases("https://two.example", "https://two.example/v1")),
        ),
        **more,
    )


ALIASES = {
    "fast": "glm-4.5-air",
    "fast-anthropic": "glm-4.5-flash",
    "chat": "glm-4.6-openai",
    "mine": "gpt",
    "mine-too": "sonnet-anthropic",
    "odd": "gpt-openai",
    "again": "fast",
    "void": " ",
    "claude-*": "glm-4.6",
    "claude-opus-*": "glm-5",
    "claude-opus-4": "sonnet",
    "claude-opus-4-o*": "glm-exact",
    "gpt": "never",
    "sonnet-anthropic": "glm-5",
    "tie": "glm-4.6",
    "tie*": "never",
}


@pytest.mark.parametrize(
    ("asked", "name", "upstream", "reason"),
    [
        pytest.param("gpt", "one", "gpt", "provider: one", id="1: a provider's id, before an alias"),
        pytest.param("gpt-openai", "one", "odd", "provider: one", id="1: an id that ends like a suffix"),
        pytest.param("sonnet", "two", "claude-4", "provider: two", id="1: its remote id goes upstream"),
        pytest.param("sonnet-openai", "two", "claude-4", "provider: two", id="2: a provider's id with a suffix"),
        pytest.param("gpt-anthropic", "one", "gpt", "provider: one", id="2: with a suffix it has no base for"),
        pytest.param("GPT", "international", "GPT", "auto: /v1/chat/completions", id="ids are exact"),
        pytest.param("fast", "international", "glm-4.5-air", "auto: /v1/chat/completions", id="3: an alias"),
        pytest.param("fast-openai", "international", "glm-4.5-air", "suffix: -openai", id="3: an alias by its base name"),
        pytest.param("fast-anthropic", "international", "glm-4.5-flash", "suffix: -anthropic", id="3: the full name first"),
        pytest.param("chat", "international", "glm-4.6", "suffix: -openai", id="3: an alias's own suffix"),
        pytest.param("chat-anthropic", "international", "glm-4.6", "suffix: -anthropic", id="3: the client's suffix before the alias's"),
        pytest.param("again", "international", "fast", "auto: /v1/chat/completions", id="3: one step"),
        pytest.param("mine", "one", "gpt", "provider: one", id="3: an alias for a provider's id"),
        pytest.param("mine-too", "two", "claude-4", "provider: two", id="3: an alias for a provider's id with a suffix"),
        pytest.param("odd", "one", "odd", "provider: one", id="3: an alias for an id that ends like a suffix"),
        pytest.param("void", "international", "glm-4.6", "auto: /v1/chat/completions", id="3: an alias for nothing"),
        pytest.param("claude-3", "international", "glm-4.6", "auto: /v1/chat/completions", id="3: a wildcard"),
        pytest.param("claude-", "international", "glm-4.6", "auto: /v1/chat/completions", id="3: a wildcard for nothing more"),
        pytest.param("claude-opus-3", "international", "glm-5", "auto: /v1/chat/completions", id="3: the longest wildcard"),
        pytest.param("claude-opus-4", "two", "claude-4", "provider: two", id="3: no wildcard before the name itself"),
        pytest.param("claude-opus-4-anthropic", "two", "claude-4", "provider: two", id="3: nor before the base name"),
        pytest.param("claude-opus-4-openai", "international", "glm-exact", "suffix: -openai", id="3: but one that fits more of the name"),
        pytest.param("claude-3-openai", "international", "glm-4.6", "suffix: -openai", id="3: a wildcard beside a suffix"),
        pytest.param("claude", "international", "claude", "auto: /v1/chat/completions", id="3: a stem is not its beginning"),
        pytest.param("sonnet-anthropic", "international", "glm-5", "suffix: -anthropic", id="3: a full name before a provider's base name"),
        pytest.param("tie-openai", "international", "glm-4.6", "suffix: -openai", id="3: a name before a wildcard of its length"),
        pytest.param("tied", "international", "never", "auto: /v1/chat/completions", id="3: which takes the rest"),
        pytest.param("", "international", "glm-4.6", "auto: /v1/chat/completions", id="4: none"),
    ],
)
def test_a_name_stands_for_what_is_found_first(asked: str, name: str, upstream: str, reason: str) -> None:
    target = route(asked, settings=names(model_map_json=ALIASES))
    assert (target.name, target.model, target.reason) == (name, upstream, reason)
    assert target.glm is (name == "international")


def test_a_wildcard_for_everything_leaves_the_blank_name_to_the_default() -> None:
    settings = Settings(model_map_json={"*": "glm-5"})
    assert [route(name, settings=settings).model for name in ("anything", "", None)] == ["glm-5", "glm-4.6", "glm-4.6"]


@pytest.mark.parametrize(("suffix", "wire", "protocol"), [("-openai", MESSAGES, CHAT), ("-anthropic", CHAT, MESSAGES), ("", CHAT, CHAT), ("", MESSAGES, MESSAGES)])  # fmt: skip
@pytest.mark.parametrize("images", [True, False])
def test_a_provider_with_two_bases_is_spoken_to_as_the_suffix_says_or_the_caller_speaks(
    suffix: str, wire: Protocol, protocol: Protocol, images: bool
) -> None:
    target = route(f"sonnet{suffix}", images=images, wire=wire, settings=names(text_endpoint_preference="anthropic"))
    word, base = ("OpenAI", "https://two.example/v1") if protocol is CHAT else ("Anthropic", "https://two.example")
    assert (target.protocol, target.base, target.line) == (protocol, base, f"[ROUTING] → {word} (provider: two)")
    assert target.label == f"two/{protocol.value}"


@pytest.mark.parametrize(("asked", "code"), [("", "missing_model"), (None, "missing_model"), ("  ", "missing_model"), ("-openai", "missing_model"), ("glm-4.6", "unknown_model"), ("fast", "unknown_model"), ("x" * 500, "unknown_model")])  # fmt: skip
@pytest.mark.parametrize("images", [True, False])
def test_with_providers_only_a_name_that_none_has_is_400(asked: str | None, code: str, images: bool) -> None:
    with pytest.raises(BadRequest) as caught:
        routes(asked, images=images, wire=CHAT, settings=names(provider_only=True, model_map_json=ALIASES))
    assert (caught.value.code, caught.value.param) == (code, "model")
    assert len(caught.value.message) < 200


def test_with_providers_only_aliases_lead_to_their_models() -> None:
    settings = names(provider_only=True, model_map_json=ALIASES)
    assert [route(name, settings=settings).model for name in ("mine", "mine-too", "sonnet-openai")] == ["gpt", "claude-4", "claude-4"]


def test_a_refusal_shows_a_name_on_one_line() -> None:
    with pytest.raises(BadRequest, match=r"there is no 'a\\nb' here") as caught:
        routes("a\nb", images=False, wire=CHAT, settings=names(provider_only=True))
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(("text", "vision"), [("gpt", "glm-4.5v"), ("glm-4.6", "gpt"), ("gpt", "gpt")])
def test_a_default_may_be_a_providers_model(text: str, vision: str) -> None:
    settings = names(autotext_model=text, autovision_model=vision)
    assert route("", settings=settings).model == text
    assert route("", images=True, settings=settings).model == vision
    if text != vision == "gpt":
        assert route("glm-5", images=True, settings=settings).name == "one"


FURTHER = (GlmModel("quick", "Quick", "glm-4.5-air"), GlmModel("eyes", "Eyes", "glm-4.6v"), GlmModel("glm-4.6", "x", "glm-4.6-x"))


@pytest.mark.parametrize(
    ("asked", "images", "upstream"),
    [
        ("quick", False, "glm-4.5-air"),
        ("quick-openai", False, "glm-4.5-air"),
        ("quick", True, "glm-4.5v"),
        ("eyes", True, "glm-4.6v"),
        ("eyes", False, "glm-4.6v"),
        ("", False, "glm-4.6-x"),
        ("glm-4.5v", False, "glm-4.6-x"),
    ],
)
def test_a_further_model_is_called_by_its_own_name_upstream(asked: str, images: bool, upstream: str) -> None:
    assert route(asked, images=images, settings=Settings(models=FURTHER)).model == upstream


# ---------------------------------------------------------------------------------------------------- what is remembered


def test_a_router_remembers_and_forgets_without_changing_its_mind() -> None:
    settings = names(model_map_json=ALIASES)
    router = Router(settings)
    asked = [*ALIASES, "gpt", "sonnet", "x" * 99, "x" * 101, *(f"invented-{number}" for number in range(1500))]
    for _ in range(2):
        for one in asked:
            assert router.route(one, images=False, wire=CHAT) == routes(one, images=False, wire=CHAT, settings=settings)
    assert router.route("gpt", images=False, wire=CHAT)[0] is router.route("gpt", images=False, wire=CHAT)[0]
    assert router.route("x" * 101, images=False, wire=CHAT)[0] is not router.route("x" * 101, images=False, wire=CHAT)[0]
