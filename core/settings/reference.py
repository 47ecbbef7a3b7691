"""The reference page of the settings and the example files, written from the fields themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from core.settings.fields import Fact
from core.settings.sources import IGNORED, facts
from core.settings.whole import Whole

#: Columns of text in example files.
_WIDTH: Final = 100

_INTRODUCTION: Final = """\
# Configuration

Written by `python -m transports.config.reference` from the code; do not edit.

## Where settings come from

The first of these that sets a setting wins:

1. a command-line flag;
2. the environment;
3. `.env` in the working directory;
4. the file that `--config` or `CONFIG_PATH` names, JSON or YAML; without one `./config.json`, if it is for this proxy;
5. `config.yaml`, and `servers.yaml` for GLM servers, in `PROXY_CONFIG_DIR` (`~/.anthropic-proxy`);
6. the default.

`./config.json` is for this proxy when one of its keys is `providers` (or nearly so) or a setting. An object of other keys is another
program's: it is left alone, and a warning says so. What is no JSON at all is a mistake.

Everything is checked as a whole, also what another source overrides. If anything is wrong the proxy does not start (exit code 3, or 4 where
anyone could spend your keys), and says all of it at once: the file or `environment`, the place in it, what was found and what is expected.

In files a setting has its name in lower case (`log_level: DEBUG`), and values are JSON's and YAML's own. An unknown key is a mistake; a
key that begins with `_` or `$` is a remark; nothing and empty text mean "not set". In the environment and in `.env` an empty value means
"not set", names of others are left alone (in `.env` they are mentioned), and structures are JSON. `.env` knows `export`, quotes and `#`;
a value is one line, and `$NAME` in it stays as it is, which draws a warning.

* true or false: also 1/0, yes/no, on/off, in any case.
* Secrets: `NAME_FILE=/path` reads the value of `NAME` from a file, which is what container platforms give.
* In files a value may be `env:NAME` (a variable of the environment) or `file:PATH` (the content of a file; from the folder of the file it
  stands in).
* Aliases in lower case are keys of files only. Where a name and its alias are both set in one place and differ, the name counts, and a
  warning says so.

A running server reads `.env`, `config.json`, `config.yaml` and `servers.yaml` again when they change, and at SIGHUP. If anything is wrong
nothing changes, and the log says what. A file that has set something stays a part of the configuration until the next start: when it has
gone, is empty, or is `config.json` without `providers`, that is a mistake too, because editors delete, empty and rewrite files, and half a
file must not open the door. To go on without such a file, restart. For the same reason a reload does not take `PROXY_API_KEY` away while
there is a key to spend, unless a file sets it to nothing (`PROXY_API_KEY=`, `ak: ""`). Files that never set anything may come and go.

No message shows a key: values of secrets are masked, and so is whatever looks like a key, and the credentials and query of an address.

A file that holds keys should be readable by you alone (`chmod 600`); a warning says when it is not.

## Settings

What says *not yet* is read and checked, and has no effect in this version.
"""

_FILES: Final = """\
## Providers

A list `providers` in a configuration file. Providers alone, without any of `SERVER_API_KEY`, `UPSTREAM_BASE`, `OPENAI_UPSTREAM_BASE`,
`AUTOTEXT_MODEL` and `servers.yaml`, mean that no GLM server is used (`PROVIDER_ONLY`), and that the port is 8888 unless it is set.

| key | default | meaning |
|---|---|---|
| `base_url` | required | the address; or `base_urls: {openai, anthropic}` for a provider that speaks both |
| `protocol` | openai | what is spoken at `base_url`: `openai` or `anthropic` |
| `api_key` | required | the key; not needed with `forward_client_key: true` |
| `forward_client_key` | false | use the client's own key where it sent one |
| `models[].id` | required | as clients call it; no two models have the same |
| `models[].display_name`, `.remote_id` | the id | as it is shown; as the provider calls it |
| `models[].max_input_tokens`, `.max_tokens` | not known | its window; its longest answer |
| `models[].vision`, `.vision_model` | true, none | whether it takes pictures; the model that takes over where it does not |
| `models[].fallbacks`, `.group` | none, none | ids tried when it fails, in order; a further id shared with other models |
| `models[].created` | none | seconds since the epoch, for the list of models |
| `name` | the host | in logs, metrics and headers; no two providers have the same |
| `preset` | generic | what it is: `generic`, `openai`, `anthropic`, `zai`, `deepseek`, `moonshot`, `openrouter`, `ollama`, `vllm` |
| `auth` | by protocol | how the key is sent: `bearer`, `x-api-key`, `as-sent` |
| `timeouts` | as for all | `connect`, `request`, `first_byte`, `stream`, `stream_total`, in seconds |
| `key_concurrency`, `weight` | as for all, 1 | requests in flight per key; its share of a group |
| `default_max_tokens` | 1024 | the longest answer where a client sets none and one is needed |
| `headers` | none | fixed headers; no credentials, nothing that belongs to the connection |

## GLM servers

`servers.yaml` holds servers by name, beside `international` (`inter`) and `cn`, or in place of them: `name` (as it is shown), `endpoint`
(a host, or a URL; a host alone gets the known paths) or `endpoints: {anthropic, openai}`, `region`, `api_key`, `latency_ms` (for people
only), `fallbacks` (names), `key_concurrency`. A built-in server keeps its addresses where none are given.

## Only in config.yaml

| key | meaning |
|---|---|
| `models` | further GLM models by id: `display_name`, `description`, `text_model_name` (as the server calls it) |
| | and in tokens `openai_expected_tokens`, `real_text_model_tokens` |
| `cli` | `refresh_interval` (2 s), `auto_switch_enabled` (false), `auto_switch_interval` (60 s) |

## Accepted and ignored
"""

_EXAMPLE: Final[Mapping[str, Any]] = {
    "_": "Copy to config.json. Keys that begin with _ are remarks. Every setting of docs/configuration.md may stand here in lower case.",
    "_ak": "The key that clients need for this proxy. Without one the proxy listens on this machine only.",
    "ak": "choose-a-key-for-your-clients",
    "port": 8888,
    "upstream_timeout_seconds": 300,
    "_log": "Bounds of logged bodies, in characters. They switch nothing on.",
    "log_body_max_chars": 4096,
    "log_stream_text_preview_chars": 256,
    "providers": [
        {
            "_api_key": "Or env:NAME for a variable of the environment, file:PATH for a file.",
            "name": "example",
            "base_url": "https://api.example.com",
            "api_key": "your-key-for-this-provider",
            "models": [
                {"id": "m1", "display_name": "M1", "remote_id": "real-1", "max_input_tokens": 128000, "max_tokens": 8192},
                {"id": "m2", "vision": False, "vision_model": "m1", "fallbacks": ["m1"]},
            ],
        },
        {
            "_": "One that speaks both protocols, with its own limits.",
            "name": "both",
            "base_urls": {"openai": "https://api.example.org/v1", "anthropic": "https://api.example.org/anthropic"},
            "api_key": "your-key-for-that-provider",
            "preset": "deepseek",
            "timeouts": {"request": 600, "first_byte": 120},
            "key_concurrency": 8,
            "headers": {"x-title": "anthropic-proxy"},
            "models": [{"id": "m3", "group": "fast"}],
        },
    ],
}


def page() -> str:
    """``docs/configuration.md``."""
    parts = [_INTRODUCTION]
    for group, members in _groups().items():
        rows = [_row(name, fact) for name, fact in members]
        parts.append("\n".join((f"### {group}\n", "| name | value | default | meaning |", "|---|---|---|---|", *rows)) + "\n")
    ignored = ", ".join(f"`{name}`" for name in IGNORED)
    parts.append(f"{_FILES}\nOf earlier proxies; one warning names those that are set: {ignored}.\n")
    return "\n".join(parts)


def dotenv_example() -> str:
    """``.env.example``: every setting with its default, as a remark."""
    lines = ["# Copy to .env, and take the # away from what you change. All settings: docs/configuration.md."]
    for group, members in _groups().items():
        lines += ["", f"# {f' {group} '.center(_WIDTH, '-')}"]
        for name, fact in members:
            remark = (
                fact.meaning + (f" (default: {fact.why})" if fact.why else "") + (f" [not yet: {fact.feature}]" if fact.feature else "")
            )
            lines += ["", f"# {remark}", f"#{name.upper()}={_in_dotenv(_default(name))}"]
    return "\n".join(lines) + "\n"


def json_example() -> str:
    """``docs/config.example.json``."""
    return json.dumps(_EXAMPLE, indent=2) + "\n"


def _groups() -> dict[str, list[tuple[str, Fact]]]:
    found: dict[str, list[tuple[str, Fact]]] = {}
    for name, fact in facts():
        found.setdefault(fact.group, []).append((name, fact))
    return found


def _default(name: str) -> object:
    return _RESOLVED.get(name, getattr(_DEFAULTS, name))


_DEFAULTS: Final = Whole()
#: What settings are before they are resolved.
_RESOLVED: Final[Mapping[str, object]] = {"provider_only": "auto"}


def _row(name: str, fact: Fact) -> str:
    aliases = "".join(f", `{alias}`" for alias in fact.aliases)
    word = fact.kind.word + (f" ({fact.unit})" if fact.unit else "")
    default = _words(_default(name))
    default = (f"`{default}`" if default else "not set") + (f": {fact.why}" if fact.why else "")
    meaning = fact.meaning + (f"; *not yet*: {fact.feature}" if fact.feature else "")
    cells = (f"`{name.upper()}`{aliases}", word, default, meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _words(value: object) -> str:
    """A default, as a person would write it into the environment; empty for none."""
    if value in (None, ()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ",".join(value)
    return "{}" if isinstance(value, dict) else str(value)


def _in_dotenv(value: object) -> str:
    text = _words(value)
    return f"'{text}'" if " " in text else text
