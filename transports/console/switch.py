"""``proxy-cli switch``: which GLM server requests go to."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from core import routing
from core.settings import Settings
from transports import config, selection
from transports.console.configured import configuration_of
from transports.console.session import Failure, Session, json_option, table
from transports.selection import Selection


@click.command("switch")
@click.argument("name", required=False)
@json_option
@click.pass_obj
def command(session: Session, name: str | None) -> None:
    """Select the GLM server NAME, for running servers too; without NAME, list them."""
    settings = configuration_of(session).settings
    if name is None:
        _list(session, settings)
    else:
        _select(session, settings, name)


def _select(session: Session, settings: Settings, wanted: str) -> None:
    server = routing.server_named(wanted, settings)
    if server is None:
        raise Failure(*_unknown(wanted, list(settings.servers)))
    name = server.name
    if (pinned := routing.pins(settings)) is not None:
        raise Failure(f"selecting {name} would change nothing, or not all", pinned)
    home = Path(settings.proxy_config_dir)
    try:
        config.write_setting(home / "config.yaml", "current_server", name)
        selection.write(selection.file_in(home), Selection(name, session.clock()))
    except OSError as error:
        raise Failure(
            f"cannot write {error.filename or home}: {error.strerror or error}", "choose a directory you may write to with --config-dir"
        ) from None
    session.show({"selected": name}, f"selected {name}; a running server sends new requests there within 2 s")
    after = configuration_of(session)
    stays = routing.selection(after.settings).server.name
    if stays != name:
        session.note(
            f"a server started here will select {stays} again: that is set by {after.origins.get('proxy_server', 'UPSTREAM_BASE')}"
        )


def _unknown(name: str, names: list[str]) -> tuple[str, str]:
    near = difflib.get_close_matches(name, names, 1, 0.4)
    return f"there is no server {name!a}", f"{f'did you mean {near[0]}? ' if near else ''}there are: {', '.join(names)}"


def _list(session: Session, settings: Settings) -> None:
    selected = routing.selection(settings).server.name
    servers = [
        {
            "name": server.name,
            "selected": server.name == selected,
            "region": server.region,
            "key": (server.api_key or settings.server_api_key) is not None,
            "anthropic": server.bases.anthropic,
            "openai": server.bases.openai,
        }
        for server in settings.servers.values()
    ]
    pinned = routing.pins(settings)
    rows = [
        ("*" if one["selected"] else "", str(one["name"]), str(one["region"]), str(one["anthropic"] or "-"), str(one["openai"] or "-"))
        for one in servers
    ]
    session.show(
        {"selected": selected, "pinned": pinned, "servers": servers}, *table(("", "SERVER", "REGION", "ANTHROPIC", "OPENAI"), rows)
    )
    if pinned is not None:
        session.note(f"the selection has no effect: {pinned}")
