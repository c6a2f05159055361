"""`hr status --watch`: the screen, redrawn when the daemon says that something happened.

Owns when to draw: at most twice a second, after events of the control socket, and now and again because times are shown
relative to now. It outlives a restart of the daemon. What is drawn is `screen.py`'s.
"""

import asyncio
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

import click
import msgspec

from hermes_router.cli import render
from hermes_router.cli.link import Link
from hermes_router.cli.screen import screen
from hermes_router.cli.trouble import Trouble
from hermes_router.control import types as t
from hermes_router.core.errors import ControlError

BETWEEN_S: Final = 0.5
IDLE_S: Final = 5.0
_AGAIN_S: Final = 1.0
_BUCKET_S: Final = 5.0
_BUCKETS: Final = 24

_HOME, _CLEAR, _LINE_END, _BELOW = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


class Watch:
    """One watching terminal, or pipe."""

    def __init__(self, link: Link, *, as_json: bool) -> None:
        self._link = link
        self._as_json = as_json
        self._terminal = render.is_terminal() and not as_json
        self._stirred = threading.Event()
        self._pace = Pace()
        self._last: list[str] = []
        self._began = False
        self._drawn = False

    def run(self) -> None:
        """Draw until Ctrl-C."""
        ear = Ear(self._link.path, self._stirred.set)
        ear.start()
        try:
            while True:
                self._stirred.clear()
                reached = self._look()
                time.sleep(BETWEEN_S)
                self._stirred.wait(IDLE_S if reached else _AGAIN_S)
        except KeyboardInterrupt:
            if self._terminal:
                click.echo()
        finally:
            ear.stop()

    def _look(self) -> bool:
        try:
            found = self._link.get("/v1/status", t.Status)
        except Trouble as error:
            if self._began and self._terminal:
                self._draw([*self._last, "", render.paint("reconnecting" + render.glyphs().more, "warn")])
            elif not self._began:
                raise
            elif not self._as_json:
                click.echo(f"reconnecting: {error.message}", err=True)
            return False
        self._began = True
        if self._as_json:
            click.echo(msgspec.json.encode(found).decode())
            return True
        now = time.time()
        self._pace.add(now, found.counters.get("exchanges", found.today.requests))
        self._last = screen(found, now, render.width(), pace=self._pace.values)
        self._draw(self._last)
        return True

    def _draw(self, lines: list[str]) -> None:
        if not self._terminal:
            render.say([*lines, ""])
            return
        shown = lines[: max(4, shutil.get_terminal_size().lines) - 1]
        start = _HOME if self._drawn else _CLEAR + _HOME
        self._drawn = True
        click.echo(start + "\n".join(line + _LINE_END for line in shown) + "\n" + _BELOW, nl=False)


class Pace:
    """Requests in each of the last intervals, from a number that grows (and begins anew when the daemon does)."""

    def __init__(self) -> None:
        self.values: deque[float] = deque(maxlen=_BUCKETS)
        self._seen: int | None = None
        self._due = 0.0

    def add(self, now: float, total: int) -> None:
        """Note the total at one moment."""
        if self._seen is None:
            self._seen, self._due = total, now + _BUCKET_S
        elif now >= self._due:
            self.values.append(max(0, total - self._seen) if total >= self._seen else total)
            self._seen, self._due = total, now + _BUCKET_S


class Ear(threading.Thread):
    """Listens to the daemon's events in a thread of its own, so that Ctrl-C finds the drawing one at once."""

    def __init__(self, path: Path, stir: Callable[[], object]) -> None:
        super().__init__(name="events", daemon=True)
        self._path = path
        self._stir = stir
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Follow until told to stop; a stream that ends is followed again from its last event."""
        self._task = self._loop.create_task(self._follow())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _follow(self) -> None:
        from hermes_router.control.follow import follow  # noqa: PLC0415 - 0.3 s, while the first screen is up already

        last: int | None = None
        while True:
            with suppress(ControlError):  # refused: looked at now and again all the same
                async with aclosing(follow(self._path, last, lost=self._lost)) as events:
                    async for event in events:
                        last = event.id
                        self._stir()
            await asyncio.sleep(_AGAIN_S)

    def _lost(self, _why: str) -> None:
        self._stir()

    def stop(self) -> None:
        """End it, and wait a moment for its connection to close."""
        with suppress(RuntimeError):  # it ended by itself
            self._loop.call_soon_threadsafe(self._cancel)
        self.join(1)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
