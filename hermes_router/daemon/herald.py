"""What the service manager is told: that this daemon is ready, reloads, stops, lives, and who serves after it.

Owns the words of that protocol and their order (sd_notify(3), design.md 2.19). The watchdog is fed from the loop
itself, so that a loop that hangs starves it. It must never decide what the daemon does.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from hermes_router.core.errors import ControlError
from hermes_router.daemon.notify import Notifier

__all__ = ["Herald"]

_LOOK_S: Final = 5.0
_FEEDS: Final = 3  # in the time that the watchdog waits
_SPARE_S: Final = 15.0  # to write down what is left, once the last answer has ended


class Herald:
    """Speaks for one daemon. `describe` says how the pool fares, in one line; `clean` takes secrets out of a text."""

    def __init__(
        self,
        notifier: Notifier,
        *,
        watchdog_s: float | None = None,
        describe: Callable[[], str] = str,
        clean: Callable[[str], str] = str,
    ) -> None:
        self._notifier = notifier
        self._describe = describe
        self._clean = clean
        self._refused = ""
        self._said = ""
        self._ends = False
        self.feeds_every_s = watchdog_s / _FEEDS if watchdog_s is not None and notifier.is_heard else None
        """How often `feed` has to run; None where no watchdog waits for it."""

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return self._notifier.is_heard

    async def ready(self) -> None:
        """Callers are let in."""
        await self._notifier.insist("READY=1", self._status(self._line()), "WATCHDOG=1")

    async def feed(self) -> None:
        """Keep the watchdog quiet for as long as this loop turns."""
        while self.feeds_every_s is not None and self.is_heard:
            self._notifier.say("WATCHDOG=1")
            await asyncio.sleep(self.feeds_every_s)

    async def follow(self) -> None:
        """Keep the status line true."""
        while self.is_heard:
            await asyncio.sleep(_LOOK_S)
            if not self._ends and (line := self._line()) != self._said and not self._notifier.say(self._status(line)):
                self._said = ""  # next time

    def _line(self) -> str:
        return self._describe() + (f"; files not taken up: {self._refused}" if self._refused else "")

    def _status(self, line: str) -> str:
        self._said = line
        return f"STATUS={self._clean(line)}"

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around a reload; what was refused stands in the status line until one succeeds."""
        self._notifier.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}", "STATUS=reading its files")
        try:
            yield
        except ControlError as error:
            if error.code != "moved":
                self._refused = error.message
            raise
        else:
            self._refused = ""
        finally:
            self._notifier.say("READY=1", self._status(self._line()))

    async def hand_over(self, pid: int) -> None:
        """This process is the main one from now on; it speaks, and we are silent. Returns once the manager knows.

        Until it does, our end would be the service's.
        """
        while self.is_heard and not await self._notifier.insist(f"MAINPID={pid}", "READY=1", "WATCHDOG=1"):
            pass
        await self._notifier.part()

    def stopping(self, answers: int, limit_s: float) -> None:
        """The end has begun; what is under way may take so long, whatever the unit's own limit is."""
        self._ends = True
        extend = f"EXTEND_TIMEOUT_USEC={round((limit_s + _SPARE_S) * 1e6)}"
        self._notifier.say("STOPPING=1", self._status(_draining(answers)), extend)

    def draining(self, answers: int, *, inherited: bool) -> None:
        """So many answers are still under way here; `inherited`: the predecessor has some, too."""
        if (line := _draining(answers, inherited=inherited)) != self._said:
            self._notifier.say(self._status(line))

    def refused(self, sentences: str) -> None:
        """There will be no daemon, and why."""
        self._notifier.say(self._status(sentences))


def _draining(answers: int, *, inherited: bool = False) -> str:
    said = [f"{answers} answer{'' if answers == 1 else 's'}"] if answers else []
    if inherited:
        said.append("those of its predecessor")
    return f"draining {' and '.join(said)}" if said else "stopping"
