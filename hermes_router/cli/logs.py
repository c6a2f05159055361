"""`hr logs`: what the daemon says, its last lines and those to come, whatever looks after it.

Owns the command: what is asked, how a line is shown, and what is said where the daemon goes away. Which lines fit, and
their text, is the control API's (`log_filter`, `log_text`).
"""

import os
import time
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from hermes_router.cli.link import Link, connect
from hermes_router.cli.provider_names import find_provider
from hermes_router.cli.service.init_system import Scope, journal
from hermes_router.cli.trouble import FAILED, NO_DAEMON, USAGE, Trouble, warn
from hermes_router.control import log_text
from hermes_router.control import types as t
from hermes_router.control.client import Client
from hermes_router.control.log_filter import LEVELS, fits, request_of
from hermes_router.control.log_types import LogTail, LogWish
from hermes_router.control.places import SYSTEM_SOCKET, user_places
from hermes_router.core.errors import ControlError

LINES: Final = 50
_MOST: Final = 100_000
_UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_LONGEST_S: Final = 1e10
_AWAY_AFTER: Final = 2  # connections that failed one after the other: a restart costs one
_LOST: Final = "events.lost"
_BLURRED_S: Final = 1.0  # a moment is said to the second
_SCOPES: Final[tuple[Scope, ...]] = ("user", "system")


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    """A moment of the past in epoch seconds, 0 = none: a length of time before now, a time of day, a date."""
    text = (value or "").strip()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip()
    try:
        if not text:
            return 0.0
        if unit in _UNITS:
            return max(1.0, time.time() - min(float(number) * _UNITS[unit], _LONGEST_S))
        if ":" in text and "-" not in text:
            now = datetime.fromtimestamp(time.time()).astimezone()
            today = datetime.fromisoformat(f"{now:%Y-%m-%d}T{text:0>5}").astimezone()
            return today.timestamp() - (_UNITS["d"] if today > now else 0)
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        said = f"{text[:40]!r} is no time: say 10m, 2h, 1d, 14:05 or 2026-11-22T14:05"
        raise click.BadParameter(said, ctx, param) from None


@click.command()
@click.option("-f", "--follow", "on", is_flag=True, help="Go on with what comes, over restarts; Ctrl-C ends it.")
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(0, _MOST),
    help=f"The last so many; {LINES} unless --since is said.",
)
@click.option("--request", metavar="ID", default="", help="Only of this request: its id, or a unique beginning of it.")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), help="Only what is at least so bad.")
@click.option("--provider", metavar="P", default="", help="Only what names this provider.")
@click.option(
    "--since", metavar="TIME", callback=_moment, help="Only what came later: 10m, 2h, 14:05, 2026-11-22T14:05."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def logs(  # noqa: PLR0917 - click passes them by name
    on: bool, lines: int | None, request: str, level: str | None, provider: str, since: float, as_json: bool
) -> None:
    """Show what the daemon has logged, and with -f what it logs from now on."""
    link = _connected()
    if provider:
        provider = find_provider(provider, link.get("/v1/credentials", t.Credentials).providers).name
    if lines is None:
        lines = _MOST if since else LINES
    wish = LogWish(lines=lines, level=level or "", provider=provider, request=request, since=since)
    query = {name: str(value) for name, value in msgspec.to_builtins(wish).items() if value or name == "lines"}
    tail = link.get("/v1/logs", LogTail, query=query)
    if len(tail.requests) > 1:
        shown = ", ".join(tail.requests)
        raise Trouble(f"several requests begin with {request!r}: {shown}", "say more of the id", code=USAGE)
    if tail.requests:
        wish = msgspec.structs.replace(wish, request=tail.requests[0], whole=True)
    if level and tail.level in LEVELS and LEVELS.index(level) < LEVELS.index(tail.level):
        warn(f"the daemon logs {tail.level} and what is worse: `hr config set LOG_LEVEL {level}` changes that")
    screen = Screen(as_json=as_json)
    screen.show(tail.events)
    if not as_json:
        _say_what_is_older(link, since, tail.begins_at)
    if on:
        _follow(link, wish, tail.last_id, screen)
    elif request and not tail.events:
        raise Trouble(
            f"the log has nothing of a request {request!r}",
            "`hr request` may know more of it; a quiet LOG_LEVEL leaves requests out",
            code=FAILED,
        )


def _say_what_is_older(link: Link, since: float, begins_at: float) -> None:
    """Where the rest of it lies: a daemon that its manager started anew remembers nothing from before."""
    if link.ping.run != "systemd" or not since or begins_at - since < _BLURRED_S:
        return
    scope: Scope = "system" if link.path == SYSTEM_SOCKET else "user"
    here, before = (f'"{time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))}"' for at in (since, begins_at))
    command = journal(scope, f"--since {here} --until {before}")
    warn(f"the daemon remembers nothing from before {before[1:-1]}; the journal does: `{command}`")


def _connected() -> Link:
    try:
        return connect(needs_daemon=True)
    except Trouble as error:
        if error.exit_code != NO_DAEMON:
            raise
        raise Trouble(error.message, error.next_step.rstrip(".") + _where_it_lies(), code=NO_DAEMON) from None


def _where_it_lies() -> str:
    """What else shows the log of a daemon that is gone."""
    from hermes_router.cli.service.unit import installed  # noqa: PLC0415 - only where no daemon runs

    for scope in _SCOPES:
        if installed(scope):
            return f"; `{journal(scope, f'-n {LINES}')}` shows what it said last"
    file = user_places(os.environ).log_file
    return f"; what it said last is in {file}" if file.is_file() else ""


class Screen:
    """Prints events, as text or as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._today = time.localtime(time.time())[:3]

    def show(self, events: list[t.Event]) -> None:
        """All of them at once."""
        if events:
            click.echo("\n".join(map(self._line, events)))

    def _line(self, event: t.Event) -> str:
        if self._as_json:
            return _as_json(event)
        there = time.localtime(event.at)
        at = time.strftime("%H:%M:%S" if there[:3] == self._today else "%b %d %H:%M:%S", there)
        # Colours go away where the output is no terminal or wants none.
        return log_text.line(event.event, event.level, event.fields, at=at, coloured=True)


def _as_json(event: t.Event) -> str:
    """One event for a program: `id` 0 = it was read from the log's file; `at` in epoch seconds."""
    told = {
        "id": event.id,
        "at": round(event.at, 6),
        "level": event.level,
        "event": event.event,
        "message": log_text.told(event.event, event.fields).said,
        "fields": event.fields,
    }
    return msgspec.json.encode(told).decode()


# --- following ------------------------------------------------------------------------------------------


def _follow(link: Link, wish: LogWish, last_id: int, screen: Screen) -> None:
    """Show what comes until Ctrl-C, which is how this ends well."""
    import asyncio  # noqa: PLC0415 - 40 ms, and the first lines stand by now

    watch = _Watch(link)
    try:
        asyncio.run(_go_on(link.path, wish, last_id, screen, watch))
    except KeyboardInterrupt:
        return


async def _go_on(path: Path, wish: LogWish, last_id: int, screen: Screen, watch: "_Watch") -> None:
    from hermes_router.control.follow import follow  # noqa: PLC0415 - 0.3 s

    async with aclosing(follow(path, last_id, lost=watch.lost, found=watch.found)) as events:
        async for event in events:
            if event.event == _LOST or fits(wish, event.at, event.level, event.fields):
                if wish.request and event.event != _LOST:  # the first that the beginning fits is the one
                    wish = msgspec.structs.replace(wish, request=request_of(event.fields), whole=True)
                screen.show([event])


class _Watch:
    """Says on standard error that the daemon is away, and that it is back."""

    def __init__(self, link: Link) -> None:
        self._path = link.path
        self._instance = link.ping.instance
        self._failed = 0

    def lost(self, _why: str) -> None:
        """A connection has ended, or could not be made."""
        self._failed += 1
        if self._failed == _AWAY_AFTER:
            warn("the daemon went away; this waits for it, Ctrl-C ends it")

    def found(self) -> None:
        """There is a connection again."""
        if self._failed >= _AWAY_AFTER:
            warn(self._back())
        self._failed = 0

    def _back(self) -> str:
        try:
            ping = Client(self._path, timeout_s=1.0).ping()
        except ControlError:
            ping = None
        if ping is None:
            return "the daemon is back"
        if ping.instance == self._instance:
            return f"the daemon answers again (pid {ping.pid})"
        self._instance = ping.instance
        return f"the daemon is back (pid {ping.pid}); what the one before said at its end may be missing here"
