"""`hr service`: the service as its manager sees it.

Owns one table of facts and their JSON. It changes nothing; `hr start`, `stop` and `restart` go through the manager
themselves.
"""

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import click

from hermes_router.cli import render, words
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.service import init_system, managed, unit
from hermes_router.cli.service.files import environment_file
from hermes_router.cli.service.unit import Unit
from hermes_router.cli.trouble import FAILED, Trouble
from hermes_router.control import types as t

_STANDING = {
    "ours": "as `hr install-service` wrote it",
    "stale": "stale",
    "edited": "edited by hand",
    "foreign": "not ours",
}


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def service(ctx: click.Context, as_json: bool) -> None:
    """The service: status. It is installed by `hr install-service`; `hr start|stop|restart` work on it."""
    if ctx.invoked_subcommand is None:
        _show(ctx, as_json=as_json)
    elif as_json:
        raise click.UsageError(f"write --json behind {ctx.invoked_subcommand}")


@service.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the service: its unit, whether it runs, and whether it will after a reboot. Exit 1 where it will not."""
    _show(ctx, as_json=as_json)


def _show(ctx: click.Context, *, as_json: bool) -> None:
    found = unit.looks()
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], indent=2))
    elif not found:
        why = init_system.absence()
        click.echo(
            f"No service is installed; {f'{why}, so none can be' if why else '`hr install-service` installs one'}."
        )
    for one in () if as_json else found:
        _say(one)
    ctx.exit(0 if found and all(_is_well(one) for one in found) else FAILED)


def _plain(found: Unit) -> dict[str, Any]:
    return {**asdict(found), "path": str(found.path), "port": _port(found), "well": _is_well(found)}


def _is_well(found: Unit) -> bool:
    """Whether it runs, and comes back by itself."""
    return found.active == "active" and found.enabled and found.lingering is not False


def _say(found: Unit) -> None:
    rows = [
        (
            "unit",
            f"{render.tilde(str(found.path))}, {_STANDING[found.standing]}",
            "" if found.standing == "ours" else "warn",
        ),
    ]
    if found.why:
        rows.append(("", found.why, "warn"))
    rows += [("drop-in", render.tilde(path), "") for path in found.drop_ins]
    if found.manager_error:
        rows.append(("manager", found.manager_error, "bad"))
    else:
        running = f"{found.active} ({found.sub})" if found.sub else found.active or "not loaded"
        pid = f", pid {found.pid}" if found.pid else ""
        rows.append(("state", running + pid, "good" if found.active == "active" else "bad"))
        if found.status and found.active == "active":
            rows.append(("says", found.status, ""))
        if found.result not in {"", "success"}:
            rows.append(("ended by", found.result, "warn"))
        if found.restarts:
            rows.append(("restarts", f"{found.restarts} by its manager, since it was started", "warn"))
        rows.append(("at boot", *_at_boot(found)))
        if found.socket:
            rows += _socket(found)
        if found.needs_reload:
            rows.append(("files", f"changed on disk: `{managed.command(found.scope, 'daemon-reload')}`", "warn"))
    rows.append(("variables", render.tilde(str(environment_file(found.scope))), "dim"))
    rows.append(("log", init_system.journal(found.scope), "dim"))
    click.echo(render.paint(f"The {found.scope} service" if sys.platform != "darwin" else "The service", "bold"))
    table = [(name, Cell(words.clean(said), style)) for name, said, style in rows]
    render.say(
        render.table((Column("", least=8), Column("", wrap=True, least=20)), table, render.width(), titles=False)
    )


def _socket(found: Unit) -> list[tuple[str, str, str]]:
    held = words.listing([str(port) for port in dict.fromkeys(found.ports)])
    well = found.socket_active
    rows = [("socket", f"systemd holds {held}" if well else "installed, not active", "" if well else "warn")]
    port = _port(found)
    elsewhere = managed.astray(found, port) if port is not None else ""
    if elsewhere:
        rows.append(("", f"{elsewhere}; `{managed.again(found.scope)}` mends it", "warn"))
    return rows


def _port(found: Unit) -> int | None:
    """PORT, as the daemon of this service has it in force; None where none can be asked."""
    with suppress(Trouble):
        link = managed.daemon_of(found.scope)
        if link is not None and not link.works_on_files:
            value = next((row.value for row in link.get("/v1/config", t.Config).rows if row.name == "PORT"), "")
            return int(value) if value.isdecimal() else None
    return None


def _at_boot(found: Unit) -> tuple[str, str]:
    if not found.enabled:
        return "does not start: the unit is not enabled", "bad"
    if found.lingering is False:
        return f"starts at a login only: `sudo loginctl enable-linger {init_system.user_name()}`", "bad"
    return "starts" if sys.platform != "darwin" else "starts at login", "good"
