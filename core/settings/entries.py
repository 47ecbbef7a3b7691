"""Entries of configuration files: providers, GLM servers, further GLM models, what the commands go by."""

from __future__ import annotations

import difflib
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from core.dialects import Protocol
from core.settings.addresses import bases_at, is_loopback
from core.settings.kinds import (
    COUNT,
    SECONDS,
    SWITCH,
    TEXT,
    TOKEN,
    TOKENS,
    URL,
    Kind,
    Place,
    Shapeless,
    Unusable,
    Wrong,
    from_value,
    is_comment,
    items,
    mapping_of,
    number,
    one_of,
    or_word,
)  # fmt: skip
from core.settings.structures import LIMIT, Member, read_object, record
from core.settings.upstreams import (
    AUTHS,
    PRESETS,
    SERVER_ALIASES,
    SERVERS,
    Bases,
    Commands,
    GlmModel,
    Limits,
    Model,
    Provider,
    Server,
    Timeouts,
)

#: Headers a provider's fixed ones may not be: credentials, and what says how the two ends understand each other's bytes.
_REFUSED: Final = frozenset({
    "authorization", "x-api-key", "api-key", "proxy-authorization", "cookie", "set-cookie",
    "content-type", "content-length", "content-encoding", "accept", "accept-encoding", "expect",
    "host", "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
#: What may stand in a header's name (RFC 9110).
_NAME: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


_SEPARATORS: Final = re.compile(r"[-_. /:]+")
#: Letters of a word in which a slip can be told from another word, and how much two spellings of it have in common at least.
_WORD_MIN: Final = 5
_ALIKE: Final = 0.75


def list_of(kind: Kind, word: str) -> Kind:
    """A list in a file, or one item alone where that is text."""

    def of_value(value: object, place: Place) -> tuple[Any, ...]:
        return tuple(items(kind, [value] if isinstance(value, str) else value, place, f"expected a list of {word}"))

    return Kind(f"a list of {word}", of_value, of_value)


_IDS: Final = list_of(TEXT, "ids")
_CONCURRENCY: Final = or_word("auto", COUNT)


# ---------------------------------------------------------------------------------------------------------- providers


def _header_value(value: object, _place: Place) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or value != value.strip():
        raise Wrong("expected visible ASCII characters and spaces between them")
    return value


_HEADER_VALUE: Final = Kind("text", _header_value, _header_value)


def _headers(value: object, place: Place) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise Shapeless("expected an object of names and values")
    before = len(place.problems)
    found: dict[str, str] = {}
    for name, text in value.items():
        if is_comment(name):
            continue
        lowered, where = str(name).lower(), replace(place.member(str(name)), secret=True)
        if not lowered or not _NAME.issuperset(lowered):
            where.note("expected the name of a header")
        elif lowered in _REFUSED:
            where.note("expected no credential and nothing that belongs to the connection; for keys there are api_key and auth")
        elif lowered in found:
            where.note("found twice, expected each name once, in whatever case")
        else:
            try:
                found[lowered] = from_value(_HEADER_VALUE, text, where)
            except Unusable:
                continue
    if len(place.problems) > before:
        raise Unusable
    return found


def _model(
    id: str,
    remote_id: str | None = None,
    display_name: str | None = None,
    max_input_tokens: int | None = None,
    max_tokens: int | None = None,
    **more: Any,
) -> Model:
    return Model(id, remote_id or id, display_name or id, Limits(max_input_tokens, max_tokens), **more)


_MODEL: Final = record(
    "a model",
    {
        "id": Member(TEXT, required=True),
        "display_name": Member(TEXT),
        "remote_id": Member(TEXT),
        "max_input_tokens": LIMIT,
        "max_tokens": LIMIT,
        "vision": Member(SWITCH),
        "vision_model": Member(TEXT),
        "fallbacks": Member(_IDS),
        "group": Member(TEXT),
        "created": Member(number(0, 253_402_300_799, int)),  # the last second of the year 9999
    },
    _model,
)
_BASES: Final = record("addresses", {"openai": Member(URL), "anthropic": Member(URL)}, Bases)
_TIMEOUTS: Final = record(
    "timeouts", dict.fromkeys(("connect", "request", "first_byte", "stream", "stream_total"), Member(SECONDS)), Timeouts
)
_PROVIDER: Final = {
    "name": Member(TEXT),
    "base_url": Member(URL),
    "base_urls": Member(_BASES),
    "protocol": Member(one_of(*(protocol.value for protocol in Protocol))),
    "preset": Member(one_of(*PRESETS)),
    "api_key": Member(TOKEN, secret=True),
    "forward_client_key": Member(SWITCH),
    "auth": Member(one_of(*AUTHS)),
    "models": Member(list_of(_MODEL, "models"), required=True),
    "timeouts": Member(_TIMEOUTS),
    "key_concurrency": Member(_CONCURRENCY),
    "weight": Member(COUNT),
    "default_max_tokens": Member(TOKENS),
    "headers": Member(Kind("an object", _headers, _headers)),
}


def _provider(value: object, place: Place) -> Provider:
    before = len(place.problems)
    found = read_object(_PROVIDER, value, place)
    base, protocol, both = found.pop("base_url", None), found.pop("protocol", None), found.pop("base_urls", None)
    if len(place.problems) == before:
        if base is not None and both is not None:
            place.member("base_urls").note("found base_urls and base_url, expected one of the two")
        elif base is None and both in (None, Bases()):
            place.member("base_url").note("expected base_url, or base_urls with openai or anthropic or both")
        if both is not None and protocol is not None:
            place.member("protocol").note("expected only beside base_url: base_urls name their protocols")
        if found.get("api_key") is None and not found.get("forward_client_key"):
            place.member("api_key").note("found nothing, expected a key, or forward_client_key: true")
        if not found["models"]:
            place.member("models").note("expected at least one model")
    if len(place.problems) > before:
        raise Unusable
    bases = both or Bases(**{protocol or Protocol.OPENAI.value: base})
    return Provider(**{"name": "", **found}, bases=bases)


def _providers(value: object, place: Place) -> tuple[Provider, ...]:
    before = len(place.problems)
    _note_repeated_models(value, place)
    _note_misspelt_vision_models(value, place)
    found = items(Kind("a provider", _provider, _provider), value, place, "expected a list of providers")
    named = _named(found, place)
    if len(place.problems) > before:
        raise Unusable
    return named


def _note_repeated_models(providers: object, place: Place) -> None:
    """Looks at what was written, so that it is said beside other problems."""
    models = _models(providers, place)
    seen: dict[object, Place] = {}
    for model, where in models:
        name = model.get("id")
        if isinstance(name, str) and (first := seen.setdefault(name, where)) is not where:
            where.member("id").wrong(name, f"which {first.path} has already; expected ids that differ")
    for model, where in models:
        name = model.get("group")
        if isinstance(name, str) and name in seen:
            where.member("group").wrong(name, f"which is the id of {seen[name].path}; expected a name of its own")


def _note_misspelt_vision_models(providers: object, place: Place) -> None:
    """Any name may be one the provider knows. One that is nearly an id here is meant to be that id."""
    models = _models(providers, place)
    ids = [name for model, _ in models if isinstance(name := model.get("id"), str)]
    for model, where in models:
        name = model.get("vision_model")
        if isinstance(name, str) and name not in ids and (meant := next((one for one in ids if _misspells(name, one)), None)):
            where.member("vision_model").wrong(name, f"expected the id of a model, or its name at the provider; did you mean {meant}?")


def _misspells(name: str, known: str) -> bool:
    """Whether two names are one but for case, separators, or a slip in one long word: ``glm-4.6`` and ``glm-4.6v`` are two."""
    mine, others = (_SEPARATORS.split(one.lower()) for one in (name, known))
    if "".join(mine) == "".join(others):
        return True
    different = [(one, other) for one, other in zip(mine, others, strict=False) if one != other]
    if len(mine) != len(others) or len(different) != 1:
        return False
    ((one, other),) = different
    words = one.isalpha() and other.isalpha() and min(len(one), len(other)) >= _WORD_MIN
    grows = one.startswith(other) or other.startswith(one)  # flash and flashx are two
    return words and not grows and difflib.SequenceMatcher(None, one, other).ratio() >= _ALIKE


def _models(providers: object, place: Place) -> list[tuple[Mapping[str, object], Place]]:
    """Every model that was written, with its place."""
    return [
        (model, there)
        for provider, where in _objects(providers, place)
        for model, there in _objects(provider.get("models"), where.member("models"))
    ]


def _objects(value: object, place: Place) -> Iterator[tuple[Mapping[str, object], Place]]:
    """The items of a list that are objects, each with its place."""
    for index, one in enumerate(value if isinstance(value, list) else []):
        if isinstance(one, Mapping):
            yield one, place.item(index)


def _named(providers: list[Provider], place: Place) -> tuple[Provider, ...]:
    """With a name each: its own, or the host's, with a number behind it from the second on."""
    taken: dict[str, int] = {}
    for index, provider in enumerate(providers):
        if provider.name and taken.setdefault(provider.name, index) != index:
            place.item(index).member("name").wrong(provider.name, f"which providers[{taken[provider.name]}] has already; expected another")
    return tuple(provider if provider.name else replace(provider, name=_free(provider, taken)) for provider in providers)


def _free(provider: Provider, taken: dict[str, int]) -> str:
    host = urllib.parse.urlsplit(provider.bases.openai or provider.bases.anthropic or "").netloc
    count, name = 1, host
    while name in taken:
        count += 1
        name = f"{host}#{count}"
    taken[name] = -1
    return name


PROVIDERS: Final = Kind("a list of providers", _providers, _providers)


# -------------------------------------------------------------------------------------------------------- GLM servers


def _endpoint(value: str, place: Place) -> Bases:
    host = value.partition("/")[0].rpartition(":")[0] or value
    url = value if "://" in value else f"{'http' if is_loopback(host) else 'https'}://{value}"
    return bases_at(URL.of_text(url, place))


def _native_endpoint(value: object, place: Place) -> Bases:
    return _endpoint(TEXT.of_value(value, place), place)


_SERVER: Final = {
    "name": Member(TEXT),
    "endpoint": Member(Kind("a host or a URL", _endpoint, _native_endpoint)),
    "endpoints": Member(_BASES),
    "region": Member(TEXT),
    "api_key": Member(TOKEN, secret=True),
    "latency_ms": Member(number(0, 3_600_000, float)),
    "fallbacks": Member(list_of(TEXT, "servers")),
    "key_concurrency": Member(_CONCURRENCY),
}


def read_servers(values: Mapping[str, object], place: Place) -> dict[str, Server]:
    """The servers of ``servers.yaml``, beside or in place of the built-in ones; wrong ones are noted and left out."""
    found = dict(SERVERS)
    given: dict[str, str] = {}
    for key, value in values.items():
        if is_comment(key):
            continue
        name, where = SERVER_ALIASES.get(key, key), place.member(key)
        if given.setdefault(name, key) != key:
            where.note(f"expected one entry for this server, and {given[name]} is one")
            continue
        try:
            found[name] = from_value(_server_named(name), value, where)
        except Unusable:
            continue
    return found


def _server_named(name: str) -> Kind:
    def of_value(value: object, place: Place) -> Server:
        before = len(place.problems)
        found = read_object(_SERVER, value, place)
        display, endpoint, endpoints = found.pop("name", None), found.pop("endpoint", None), found.pop("endpoints", None)
        known = SERVERS.get(name)
        if len(place.problems) == before and (endpoint is not None and endpoints is not None):
            place.member("endpoints").note("expected endpoint or endpoints, not both")
        if len(place.problems) == before and endpoint is None and endpoints in (None, Bases()) and known is None:
            place.member("endpoint").note("found nothing, expected a host or a URL, or endpoints with openai or anthropic or both")
        if len(place.problems) > before:
            raise Unusable
        fallbacks = tuple(SERVER_ALIASES.get(one, one) for one in found.pop("fallbacks", ()))
        built_in = Server(name, Bases(), name) if known is None else known
        bases = endpoint or endpoints or built_in.bases
        return replace(built_in, **found, bases=bases, display_name=display or built_in.display_name, fallbacks=fallbacks)

    return Kind("a server", of_value, of_value)


# ------------------------------------------------------------------------------------------------------- config.yaml

_GLM_MODEL: Final = record(
    "a model",
    {
        "display_name": Member(TEXT),
        "text_model_name": Member(TEXT),
        "openai_expected_tokens": Member(TOKENS),
        "real_text_model_tokens": Member(TOKENS),
        "description": Member(TEXT),
    },
    dict,
)


def _glm_models(value: object, place: Place) -> tuple[GlmModel, ...]:
    found = mapping_of(_GLM_MODEL, value, place, "expected an object of ids and models")
    return tuple(GlmModel(name, **{"display_name": name, "text_model_name": name, **members}) for name, members in found.items())


GLM_MODELS: Final = Kind("an object of ids and models", _glm_models, _glm_models)
COMMANDS: Final = record(
    "what proxy-cli goes by",
    {
        "refresh_interval": Member(number(0.1, 3600, float)),
        "auto_switch_enabled": Member(SWITCH),
        "auto_switch_interval": Member(number(1, 86_400, float)),
    },
    Commands,
)
