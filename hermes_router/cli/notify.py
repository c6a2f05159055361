"""`hr notify`: by which ways the owner is told when something needs him, what was told, and a test of it.

Owns the command's words. It must never show more of a way than a host or a program's name.
"""

import time
from collections.abc import Sequence
from typing import Final

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import connect
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.trouble import FAILED, REFUSED, Trouble
from hermes_router.control import notify_types as n

__all__ = ["notify"]

_TEST_S: Final = 30.0
_NAMES: Final = {"url": "NOTIFY_URL", "command": "NOTIFY_COMMAND"}
_HOW: Final = (
    "`hr config set NOTIFY_URL -` asks for an address such as https://ntfy.sh/your-topic, `hr config set "
    "NOTIFY_COMMAND -` for a program"
)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def notify(ctx: click.Context, as_json: bool) -> None:
    """Be told when something needs you, by NOTIFY_URL or NOTIFY_COMMAND: show, test.

    Of: nothing can answer, a key is revoked, a login is needed, a budget is at 80 % or spent, the disk is full; and
    when each is over. At most one message of a kind an hour.
    """
    if ctx.invoked_subcommand is None:
        _show(as_json=as_json)
    elif as_json:
        raise click.UsageError(f"write --json behind {ctx.invoked_subcommand}")


@notify.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show the ways that are set, what was told last, and what of it is not over."""
    _show(as_json=as_json)


@notify.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(as_json: bool) -> None:
    """Tell a test by each way that is set, and say which of them works."""
    done = connect(needs_daemon=False).call("POST", "/v1/notify/test", None, n.NotifyTested, wait_s=_TEST_S)
    if as_json:
        render.say_json(done)
    else:
        for row in done.rows:
            said = f"told in {words.lapse(row.took_s)}" if row.ok else f"failed: {row.said}"
            sign = Cell(render.glyphs().good, "good") if row.ok else Cell(render.glyphs().bad, "bad")
            line = words.clean(f"{_NAMES.get(row.way, row.way)} ({row.shown}): {said}")
            click.echo(f"{render.paint(sign.text, sign.style)} {line}")
    if not done.rows:
        raise Trouble("nobody is told: neither NOTIFY_URL nor NOTIFY_COMMAND is set", _HOW, code=REFUSED)
    failed = [row.way for row in done.rows if not row.ok]
    if failed:
        names = words.listing([_NAMES.get(way, way) for way in failed])
        raise Trouble(f"{names} did not work", "mend it, then `hr notify test` again", code=FAILED)


def _show(*, as_json: bool) -> None:
    found = connect(needs_daemon=False).get("/v1/notify", n.Notify)
    if as_json:
        render.say_json(found)
    else:
        render.say(screen(found, time.time(), render.width()))


def screen(found: n.Notify, now: float, width: int | None) -> list[str]:
    """Ways, then kinds."""
    lines = _ways(found.ways, width) if found.ways else [f"Nobody is told: {_HOW}."]
    columns = (
        Column("WHAT", least=16, wrap=True),
        Column("NOW", least=12, wrap=True),
        Column("TOLD", drop=1),
        Column("OVER", drop=2),
    )
    rows = [
        (
            kind.title or kind.kind,
            Cell("; ".join(kind.about), "bad") if kind.about else Cell("nothing told", "dim"),
            words.when(kind.told_at, now) or "never",
            words.when(kind.over_at, now),
        )
        for kind in found.kinds
    ]
    return [*lines, "", *render.table(columns, rows, width)]


def _ways(ways: Sequence[n.NotifyWayRow], width: int | None) -> list[str]:
    columns = (Column("WAY"), Column("TO", least=16), Column("STATE", least=16, wrap=True), Column("FROM", drop=1))
    return render.table(
        columns,
        [(_NAMES.get(row.way, row.way), row.shown, _state(row), render.tilde(row.source)) for row in ways],
        width,
    )


def _state(row: n.NotifyWayRow) -> Cell:
    waiting = f"{words.some(row.unsent, 'message')} {'waits' if row.unsent == 1 else 'wait'}" if row.unsent else ""
    if row.failing:
        return Cell("; ".join(filter(None, (f"failing: {row.failing}", waiting))), "bad")
    return Cell(waiting or "ready", "warn" if waiting else "good")
