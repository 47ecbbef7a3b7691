"""Laws of routing, over invented settings and names."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.credentials import Credential, credential_for
from core.dialects import Protocol
from core.errors import BadRequest, Unauthorized
from core.routing import Router, Target, origin, problems, route, selection, settled
from core.settings import Settings
from core.settings.upstreams import SERVERS, Bases, GlmModel, Model, Provider, Server

SUFFIXES = ("-openai", "-anthropic")
CN = SERVERS["cn"]

#: Few, so that they meet: ids, aliases, what aliases stand for, groups.
NAMES = st.sampled_from(["a", "b", "c", "glm-4.6", "glm-4.5v", "glm-4.6v", "gpt", "gpt-5", "", " "])
BASES = st.sampled_from(["https://a.example", "https://b.example/v1", "https://a.example/v1", "http://localhost:11434"])


@st.composite
def models(draw: st.DrawFn, ids: list[str]) -> tuple[Model, ...]:
    some = st.lists(st.sampled_from(["a", "b", "c", "p", "q", "cn", "team", "glm-5"]), max_size=2).map(tuple)
    return tuple(
        Model(
            one,
            draw(st.sampled_from([one, f"{one}-remote"])),
            one,
            vision=draw(st.booleans()),
            vision_model=draw(st.sampled_from([None, "a", "eyes"])),
            fallbacks=draw(some),
            group=draw(st.sampled_from([None, "team"])),
        )
        for one in ids
    )


@st.composite
def providers(draw: st.DrawFn) -> tuple[Provider, ...]:
    found = []
    for name, ids in (("p", ["a", "b"]), ("q", ["c", "gpt"])):
        openai, anthropic = draw(st.one_of(st.none(), BASES)), draw(st.one_of(st.none(), BASES))
        bases = Bases(anthropic, openai or (None if anthropic else "https://p.example"))
        key = draw(st.sampled_from([None, f"{name}-key"]))
        offered = draw(models(ids[: draw(st.integers(1, 2))]))
        weight = draw(st.integers(0, 3))
        found.append(Provider(name, bases, offered, key, forward_client_key=key is None or draw(st.booleans()), weight=weight))
    return tuple(found[: draw(st.integers(0, 2))])


@st.composite
def settings(draw: st.DrawFn) -> Settings:
    address = st.one_of(st.none(), BASES, st.sampled_from([CN.bases.anthropic, CN.bases.openai, SERVERS["international"].bases.openai]))
    one_sided = Server("one-sided", Bases(openai="https://one.example"), fallbacks=("cn",), api_key="one-key")
    values = NAMES.flatmap(lambda name: st.sampled_from([name, f"{name}-openai", f"{name}-anthropic"]))
    return Settings(
        providers=draw(providers()),
        servers={**SERVERS, "one-sided": one_sided},
        models=(GlmModel("b", "b", "glm-b"),) if draw(st.booleans()) else (),
        model_map_json=draw(st.dictionaries(st.sampled_from(["a", "x", "x-openai", "gpt-*", "*", "team"]), values, max_size=3)),
        autotext_model=draw(st.sampled_from(["glm-4.6", "a"])),
        autovision_model=draw(st.sampled_from(["glm-4.5v", "glm-4.6", "c"])),
        text_endpoint_preference=draw(st.sampled_from(["auto", "openai", "anthropic", "endpoint"])),
        failover_targets=draw(st.lists(st.sampled_from(["cn", "p", "q", "a", "team", "one-sided", "glm-5"]), max_size=3).map(tuple)),
        proxy_server=draw(st.sampled_from(["international", "inter", "cn", "one-sided"])),
        explicit=draw(st.sampled_from([frozenset(), frozenset({"proxy_server"})])),
        upstream_base=draw(address),
        openai_upstream_base=draw(address),
        server_api_key=draw(st.sampled_from([None, "server-key"])),
        forward_client_key=draw(st.booleans()),
        provider_only=draw(st.booleans()),
    )


ASKED = st.one_of(
    st.none(), NAMES, NAMES.map(lambda name: f"{name}-openai"), NAMES.map(lambda name: f"{name}-anthropic"), st.text(max_size=120)
)
WIRES = st.sampled_from(list(Protocol))


def routed(model: str | None, images: bool, wire: Protocol, given_: Settings, session: str = "") -> tuple[Target, ...] | str:
    try:
        return route(model, images=images, wire=wire, settings=given_, session=session)
    except BadRequest as error:
        return error.code


@given(model=ASKED, images=st.booleans(), wire=WIRES, given_=settings(), session=st.text(max_size=8))
def test_a_route_depends_on_nothing_but_what_it_is_asked(
    model: str | None, images: bool, wire: Protocol, given_: Settings, session: str
) -> None:
    first = routed(model, images, wire, given_, session)
    assert routed(model, images, wire, given_, session) == first
    router = Router(given_)
    for _ in range(2):
        if isinstance(first, tuple):
            assert router.route(model, images=images, wire=wire, session=session) == first
        else:
            with pytest.raises(BadRequest):
                router.route(model, images=images, wire=wire, session=session)


@given(model=ASKED, images=st.booleans(), wire=WIRES, given_=settings())
def test_every_target_can_be_asked_and_none_comes_twice(model: str | None, images: bool, wire: Protocol, given_: Settings) -> None:
    found = routed(model, images, wire, given_)
    if isinstance(found, str):
        assert found in ("missing_model", "unknown_model", "unsupported_parameter")
        assert given_.provider_only or (found == "unsupported_parameter" and images)
        return
    assert found
    assert len({(one.name, one.protocol, one.base, one.model) for one in found}) == len(found)
    addresses = [server.bases for server in given_.servers.values()] + [one.bases for one in given_.providers]
    addresses.append(Bases(given_.upstream_base, given_.openai_upstream_base))
    for one in found:
        assert one.base in {bases.of(one.protocol) for bases in addresses}, "no origin but the configured ones"
        assert one.vision is images
        assert one.model.strip()
        assert one.line == f"[ROUTING] → {'OpenAI' if one.protocol is Protocol.OPENAI else 'Anthropic'} ({one.reason})"
    if given_.provider_only:
        assert not found[0].glm


@given(name=st.text(max_size=20), suffix=st.sampled_from(SUFFIXES), images=st.booleans(), wire=WIRES, given_=settings())
def test_the_upstream_never_sees_the_suffix_a_client_added(name: str, suffix: str, images: bool, wire: Protocol, given_: Settings) -> None:
    assume(not name.endswith(SUFFIXES))
    found = routed(f"{name}{suffix}", images, wire, given_)
    if isinstance(found, tuple):
        assert not found[0].model.endswith(SUFFIXES)
        assert found[0].glm is False or found[0].model != f"{name}{suffix}"


@given(model=ASKED, images=st.booleans(), wire=WIRES, given_=settings(), client=st.sampled_from([None, Credential(b"client")]))
def test_a_clients_key_goes_to_the_first_origin_or_to_none(
    model: str | None, images: bool, wire: Protocol, given_: Settings, client: Credential | None
) -> None:
    found = routed(model, images, wire, given_)
    if isinstance(found, str):
        return
    owners = {b"server-key", b"one-key", b"p-key", b"q-key"}
    try:
        first = credential_for(client, found[0])
    except Unauthorized:
        assert found[0].key is None
        assert client is None or not found[0].forward_client_key
        return
    assert first.value in owners or first is client
    for one in found[1:]:
        credential = credential_for(client, one, first=found[0])
        if credential is None:
            assert one.key is None
        elif credential is client:
            assert origin(one.base) == origin(found[0].base)
            assert one.forward_client_key
        else:
            assert credential.value.decode() == one.key


@given(given_=settings(), name=st.sampled_from(["international", "cn", "one-sided"]))
def test_a_settled_selection_is_the_same_and_can_be_replaced(given_: Settings, name: str) -> None:
    known = settled(given_)
    assert selection(known) == selection(given_)
    assert known.proxy_server == selection(given_).server.name
    assert settled(known) == known
    assert selection(dataclasses.replace(known, proxy_server=name)).server.name == name


@given(given_=settings())
def test_settings_are_checked_without_fail(given_: Settings) -> None:
    assert all(f"{one.path}{one.text}".isprintable() for one in problems(given_))


# ---------------------------------------------------------------------------------------------------- groups


def team(weights: dict[str, int]) -> Settings:
    return Settings(
        providers=tuple(
            Provider(name, Bases(openai=f"https://{name}.example"), (Model(name, name, name, group="team"),), "k", weight=weight)
            for name, weight in weights.items()
        )
    )


def chosen(weights: dict[str, int], sessions: int) -> dict[str, tuple[str, ...]]:
    router = Router(team(weights))
    return {
        str(one): tuple(target.model for target in router.route("team", images=False, wire=Protocol.OPENAI, session=str(one)))
        for one in range(sessions)
    }


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 1, "b": 3}, {"a": 1, "b": 2, "c": 5}, {"a": 0, "b": 1, "c": 1}])
def test_members_get_sessions_by_their_weight(weights: dict[str, int]) -> None:
    sessions, total = 6000, sum(weights.values())
    firsts = Counter(order[0] for order in chosen(weights, sessions).values())
    for name, weight in weights.items():
        assert abs(firsts[name] / sessions - weight / total) < 0.03  # more than four standard deviations


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e"]), st.integers(1, 5), min_size=2), st.data())
def test_a_member_that_goes_takes_along_its_own_sessions_alone(weights: dict[str, int], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(weights)))
    before, after = chosen(weights, 60), chosen({name: weight for name, weight in weights.items() if name != gone}, 60)
    for session, order in before.items():
        assert after[session] == tuple(name for name in order if name != gone)


@given(st.integers(1, 5))
def test_more_weight_takes_sessions_and_gives_none_away(weight: int) -> None:
    before, after = chosen({"a": weight, "b": 2}, 100), chosen({"a": weight + 1, "b": 2}, 100)
    assert all(after[session][0] == "a" for session, order in before.items() if order[0] == "a")
