"""From what stands in flags, environment and files to the values of fields: who wins, and everything that is wrong.

Sources come highest first. A field has the value of the first source that sets it; every other value is checked all the same, because a
mistake that sleeps in a file wakes when a variable goes.
"""

from __future__ import annotations

import difflib
import enum
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeAlias

from core.settings.entries import COMMANDS, GLM_MODELS, PROVIDERS, read_servers
from core.settings.fields import Fact
from core.settings.kinds import IN_FILE, IN_VARIABLE, Kind, Lookup, Place, Unusable, from_text, from_value, is_comment
from core.settings.observing import Observing
from core.settings.showing import without_secrets
from core.settings.structures import nearest, note_unknown
from core.settings.upstreams import SERVER_ALIASES

#: Behind the name of a secret: the value is the path of a file that holds it.
_IN_A_FILE: Final = "_FILE"
#: What no part of this proxy needs, and configurations written for earlier ones hold.
IGNORED: Final = (
    "CONTAINER_NAME", "CONTAINER_RESTART_POLICY", "CONTAINER_ENV", "VOLUME_MOUNTS", "HTTP_POOL_CONNECTIONS",
    "TEXT_WINDOW", "VISION_WINDOW", "VISION_COUNT_SCALE", "TAVILY_KEY", "TAVILY_URL", "IP_OVERRIDES", "CURRENT_MODEL",
    "ENABLE_CHUNK_BASED_CONDENSATION", "ENABLE_CHUNK_PERSISTENCE", "CHUNK_SIZE_MESSAGES", "CHUNK_MAX_TOKENS", "CHUNK_OVERLAP_MESSAGES",
    "CHUNK_CACHE_SIZE", "CHUNK_CACHE_TTL", "CHUNK_CONDENSATION_STRATEGY", "SKIP_CONDENSED_CHUNKS", "CHUNK_AGE_THRESHOLD",
)  # fmt: skip
#: Read by the transport that calls upstream.
_OF_TRANSPORTS: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
#: What stands in files only.
ENTRIES: Final[Mapping[str, Kind]] = {"providers": PROVIDERS, "models": GLM_MODELS, "cli": COMMANDS}
#: Set, they say that a GLM server is to be used beside the providers.
_OF_GLM: Final = frozenset({"server_api_key", "upstream_base", "openai_upstream_base", "autotext_model", "servers"})
#: Where the proxy listens that had providers only.
_PROVIDER_ONLY_PORT: Final = 8888
#: Unknown names of an .env file that are listed.
_UNKNOWN_MAX: Final = 10
#: The same of a file that is not ours, and characters of a name.
_STRANGE_MAX: Final = 3
_NAME_MAX: Final = 100
#: How much a key has in common with ``providers`` to be meant for it: ``profiles`` is another word.
_ALIKE: Final = 0.8


#: What a setting may be called, its proper name first, and whether that is for the path of a file.
Spellings: TypeAlias = tuple[tuple[str, bool], ...]


class Form(enum.Enum):
    """How a source writes names and values."""

    VARIABLES = "variables"  # NAME=text, among names of others
    DOTENV = "dotenv"  # the same, but names of others are rare enough to be mentioned
    FILE = "file"  # name: value
    SERVERS = "servers"  # name of a server: its entry


@dataclass(frozen=True, slots=True)
class Source:
    """Something that sets settings. ``lookup`` reads what its values refer to; without one they cannot."""

    name: str  # as messages call it
    form: Form
    values: Mapping[str, object] = field(repr=False)
    lookup: Lookup | None = None
    broken: bool = False  # it says more than ``values``, which cannot be read

    @property
    def textual(self) -> bool:
        return self.form in (Form.VARIABLES, Form.DOTENV)

    def place(self, path: str, problems: list[str], *, secret: bool = False) -> Place:
        return Place(self.name, path, problems, secret, None if self.textual else self.lookup)


@dataclass(slots=True)
class Gathered:
    """The values of fields by name, where each comes from, and what there is to say."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # "environment: PORT"
    origins: dict[str, str] = field(default_factory=dict)  # "environment"
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    said: dict[str, list[str]] = field(default_factory=dict)  # name of a source -> all that it sets
    cleared: set[str] = field(default_factory=set)  # set to nothing in a file
    unknown: set[str] = field(default_factory=set)  # meant to have another value than they have
    referred: frozenset[str] = frozenset()  # variables that files refer to

    def say(self, name: str, source: Source) -> None:
        """``source`` has something for it, be it right or wrong."""
        self.said.setdefault(source.name, []).append(name)

    def miss(self, name: str) -> None:
        """What was said of it cannot be used; that matters where nothing above it is said."""
        if name not in self.values:
            self.unknown.add(name)

    def take(self, name: str, value: Any, source: Source, path: str) -> None:
        """The first one counts."""
        if name not in self.values:
            self.values[name] = value
            self.places[name] = f"{source.name}: {path}"
            self.origins[name] = source.name


def facts() -> Iterator[tuple[str, Fact]]:
    """Every setting by the name of its field."""
    for one in fields(Observing):
        yield one.name, one.metadata["fact"]


def gather(sources: Sequence[Source], problems: Sequence[str] = ()) -> Gathered:
    """Everything ``sources`` say. ``problems``: found before, when they were read."""
    found = Gathered(problems=list(problems), referred=frozenset(_referred(sources)))
    ignored: list[str] = []
    for source in sources:
        _read_source(source, found, ignored)
        if source.broken:
            for name in _fields(source):
                found.miss(name)
    if ignored:
        found.warnings.append(f"not needed any more, and ignored: {', '.join(ignored)}")
    _resolve(sources, found)
    return found


# ----------------------------------------------------------------------------------------------------------- reading


def _read_source(source: Source, found: Gathered, ignored: list[str]) -> None:
    if source.form is Form.SERVERS:
        _read_servers(source, found)
        return
    for name, fact, spellings in _spelled(textual=source.textual):
        if any(spelling in source.values for spelling, _ in spellings):
            _read_setting(name, fact, spellings, source, found)
    if source.form is Form.FILE:
        for name, kind in ENTRIES.items():
            _read_entry(name, kind, source, found)
    ignored += [name for name in source.values if name.upper() in IGNORED and name not in ignored]
    _note_unknown(source, found)


def _fields(source: Source) -> list[str]:
    """Everything a source may set."""
    if source.form is Form.SERVERS:
        return ["servers"]
    settings = [name for name, _, _ in _spelled(textual=source.textual)]
    return settings if source.textual else [*settings, *ENTRIES]


@functools.cache
def _spelled(*, textual: bool) -> tuple[tuple[str, Fact, Spellings], ...]:
    """Every setting that may stand in a source: its field, and what it may be called there."""
    return tuple((name, fact, _spellings(name, fact, textual=textual)) for name, fact in facts() if fact.file or textual)


def _spellings(name: str, fact: Fact, *, textual: bool) -> Spellings:
    names = [name.upper(), *fact.aliases] if textual else [name, *(alias.lower() for alias in fact.aliases)]
    names = list(dict.fromkeys(one for one in names if not textual or one.isupper()))  # the other aliases are keys of files
    suffix = _IN_A_FILE if textual else _IN_A_FILE.lower()
    return tuple([(one, False) for one in names] + [(one + suffix, True) for one in names if fact.secret])


def _names(*, textual: bool) -> list[str]:
    """Everything that may stand in a source."""
    names = [spelling for _, _, spellings in _spelled(textual=textual) for spelling, _ in spellings]
    return names if textual else [*names, *ENTRIES]


def _read_setting(name: str, fact: Fact, spellings: Spellings, source: Source, found: Gathered) -> None:
    """Takes the value of one setting, under whichever of its names."""
    filled = [(spelling, in_a_file) for spelling, in_a_file in spellings if not _is_nothing(source.values.get(spelling))]
    if not filled:
        if source.form is not Form.VARIABLES:
            found.cleared.add(name)
        return
    found.say(name, source)
    read: list[tuple[str, Any]] = []
    for spelling, in_a_file in filled:
        place = source.place(spelling, found.problems, secret=fact.secret)
        try:
            read.append((spelling, _value(fact.kind, source.values[spelling], place, source, in_a_file=in_a_file)))
        except Unusable:
            found.miss(name)
    if read:
        (spelling, value), others = read[0], read[1:]
        found.take(name, value, source, spelling)
        if different := [other for other, its in others if its != value]:
            found.warnings.append(f"{source.name}: {spelling} and {' and '.join(different)} differ, and {spelling} counts")


def _is_nothing(raw: object) -> bool:
    return raw is None or (isinstance(raw, str) and not raw.strip())


def _read_servers(source: Source, found: Gathered) -> None:
    if all(is_comment(name) for name in source.values):
        return
    found.say("servers", source)
    before = len(found.problems)
    servers = read_servers(source.values, source.place("", found.problems))
    if len(found.problems) > before:
        found.miss("servers")
    found.take("servers", servers, source, "servers")


def _value(kind: Kind, raw: object, place: Place, source: Source, *, in_a_file: bool) -> Any:
    if in_a_file:
        raw = _content(raw, place, source)
    elif not source.textual:
        return from_value(kind, raw, place)
    return from_text(kind, str(raw).strip(), place)


def _content(path: object, place: Place, source: Source) -> str:
    """What is in the file a variable names. Raises ``Unusable``."""
    reason = "files cannot be read here"
    try:
        if source.lookup is not None:
            return source.lookup(f"{IN_FILE}{str(path).strip()}")
    except LookupError as error:
        reason = str(error.args[0])
    place.note(reason)
    raise Unusable


def _read_entry(name: str, kind: Kind, source: Source, found: Gathered) -> None:
    raw = source.values.get(name)
    if raw is not None:
        found.say(name, source)
        try:
            found.take(name, from_value(kind, raw, source.place(name, found.problems)), source, name)
        except Unusable:
            found.miss(name)


def _referred(sources: Sequence[Source]) -> Iterator[str]:
    """The names of variables that values of files stand for."""
    waiting: list[object] = [source.values for source in sources if not source.textual]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and value.startswith(IN_VARIABLE):
            yield value.removeprefix(IN_VARIABLE).strip()
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)


def _note_unknown(source: Source, found: Gathered) -> None:
    """Names nobody has: left alone in the environment, mentioned in .env, a mistake in a file."""
    if source.form is Form.VARIABLES:
        return
    names = _names(textual=source.textual)
    known = set(names)
    unknown = [one for one in source.values if one not in known and not is_comment(one) and one.upper() not in (*IGNORED, *_OF_TRANSPORTS)]
    if source.form is Form.FILE:
        elsewhere = {name for name, fact in facts() if not fact.file}
        for name in unknown:
            if name in elsewhere:
                source.place(name, found.problems).note("expected in the environment or as a flag: it says where files are")
            else:
                note_unknown(name, names, source.place("", found.problems))
    elif unknown := [name for name in unknown if name not in found.referred]:
        hints = {name: nearest(name, names) for name in unknown[:_UNKNOWN_MAX]}
        listed = [f"{_shown(name)} ({hint})" if hint else _shown(name) for name, hint in hints.items()]
        more = f" and {len(unknown) - _UNKNOWN_MAX} more" if len(unknown) > _UNKNOWN_MAX else ""
        found.warnings.append(f"{source.name}: unknown names, left alone: {', '.join(listed)}{more}")


def _shown(name: str) -> str:
    """A name nobody knows, which may be the beginning of something else."""
    return without_secrets(name)[:_NAME_MAX]


# --------------------------------------------------------------------------------------------------- whose file it is


def stranger(values: Mapping[str, object]) -> str | None:
    """Why a file of a usual name is somebody else's: none of its keys is known here. None for one of ours."""
    known = {name for name in _names(textual=False) if name not in ENTRIES} | {"providers"}
    if any(name.lower() in known or difflib.get_close_matches(name.lower(), ["providers"], 1, _ALIKE) for name in values):
        return None
    names = [name for name in values if not is_comment(name)]
    hints = {name: nearest(name, known) for name in names[:_STRANGE_MAX]}
    found = ", ".join(f"{_shown(name)!a} ({hint})" if hint else f"{_shown(name)!a}" for name, hint in hints.items()) or "nothing"
    return f"found {found}{', ...' if len(names) > _STRANGE_MAX else ''}, and neither providers nor any setting"


def spellings_in_files(name: str) -> tuple[str, ...]:
    """Every key a file may have for the setting that ``name`` is a key for."""
    for _, _, spellings in _spelled(textual=False):
        keys = tuple(spelling for spelling, _ in spellings)
        if name in keys:
            return keys
    return (name,)


# --------------------------------------------------------------------------------------------------------- resolving


def _resolve(sources: Sequence[Source], found: Gathered) -> None:
    """Values that follow from others."""
    values = found.values
    if isinstance(server := values.get("proxy_server"), str) and server not in values.get("servers", ()):
        values["proxy_server"] = SERVER_ALIASES.get(server, server)
    if values.get("provider_only", "auto") == "auto":
        values["provider_only"] = bool(values.get("providers")) and not _OF_GLM & values.keys()
    if values["provider_only"] and "port" not in values:
        values["port"] = _PROVIDER_ONLY_PORT
    if values.get("debug"):
        _debug([source.name for source in sources], found)


def _debug(order: list[str], found: Gathered) -> None:
    """DEBUG=true is LOG_LEVEL=DEBUG, said where it is said: a source above it that has a level counts more."""
    level, asked = found.origins.get("log_level"), found.origins["debug"]
    if level is not None and order.index(level) < order.index(asked):
        return
    if level == asked and found.values["log_level"] != "DEBUG":
        found.warnings.append(f"{asked}: LOG_LEVEL and DEBUG differ, and DEBUG counts")
    found.values["log_level"] = "DEBUG"
