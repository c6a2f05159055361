"""Keeps an eye on what can go wrong, and tells the owner: the tasks beside the requests.

Owns when one looks, how often a letter is tried, and the log's words about it. What is wrong is `engine/faults.py`'s to
say, what is told `engine/alerts.py`'s, and how `notify_ways.py`'s. Nothing here is on the path of a request, and where
no way is set, nothing is woken.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from hermes_router.daemon.config import Loaded
from hermes_router.daemon.notify_ways import NotTold, Ways
from hermes_router.daemon.wiring import Daemon
from hermes_router.engine.admission import keys_in_force
from hermes_router.engine.alerts import Letter, Message, Way
from hermes_router.engine.faults import faults
from hermes_router.store.db import Database
from hermes_router.upstream.http import HttpTransport

__all__ = ["Alerting", "Result"]

LOOK_S: Final = 5.0
PAUSES_S: Final = (2.0, 8.0)  # between the tries of a round
LAST_S: Final = 3.0  # for a message that is on its way when the daemon ends or hands over
_WAYS: Final[tuple[Way, ...]] = ("url", "command")
_TEST: Final = "This is a test: it works. You will be told here when something needs you, and when it is over."

Result = tuple[Way, str, float]
"""A way, why it failed (empty where it did not), and how long that took in seconds."""


class Alerting:
    """What tells the owner of one daemon. `failing` maps a way that does not work to the reason."""

    def __init__(
        self,
        daemon: Daemon,
        environ: Mapping[str, str],
        *,
        host: str | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._daemon = daemon
        self._alerts = daemon.engine.alerts
        self._clock = daemon.engine.clock
        self._log = daemon.engine.log
        self._sleep = sleep
        self._swapped = asyncio.Event()
        self._news = {way: asyncio.Event() for way in _WAYS}
        self.failing: dict[Way, str] = {}
        self._said: set[Way] = set()
        proxies = daemon.loaded.settings
        # It keeps no connection: one that died might have a message sent twice.
        self._transport = HttpTransport(
            asyncio.get_running_loop(),
            https_proxy=proxies.https_proxy,
            http_proxy=proxies.http_proxy,
            no_proxy=proxies.no_proxy,
            max_idle_per_host=0,
        )
        name = socket.gethostname() if host is None else host
        self.ways = Ways(lambda: daemon.loaded, self._transport, environ, host=name)
        self._known = self.ways.set()
        daemon.on_swap.append(self._on_swap)
        daemon.beside["alerts"] = self.watch
        for way in _WAYS:
            daemon.beside[f"notify by {way}"] = partial(self.deliver, way)

    def _on_swap(self, _loaded: Loaded) -> None:
        """Where a way was set or mended, what waits for another round is tried at once."""
        ways = self.ways.set()
        if ways != self._known:
            self._known = ways
            self.failing.clear()
            self._alerts.hurry(self._clock.now())
            self._swapped.set()
            self._wake()

    def _wake(self) -> None:
        for news in self._news.values():
            news.set()

    # -- looking ---------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look now and again, for as long as there is a way to tell."""
        while True:
            self._swapped.clear()
            if not self.ways.set():
                await self._swapped.wait()
                continue
            self.look()
            await self._sleep(LOOK_S)

    def look(self) -> None:
        """Look once, and have written what is to be told."""
        daemon, now = self._daemon, self._clock.now()
        stored = daemon.stored_keys
        found = faults(
            daemon.engine,
            now,
            accounts=daemon.accounts.refresher.accounts() if daemon.accounts is not None else (),
            router_keys=keys_in_force(daemon.loaded.settings, stored),
            troubles=self._troubles(),
        )
        self._alerts.look(found, self.ways.set(), now)
        self._wake()

    def _troubles(self) -> dict[str, str]:
        """Files that cannot be written, by path. Each is tried again, so that its end is seen though nobody writes."""
        daemon = self._daemon
        files: list[Database] = [store.db for store in (daemon.usage, daemon.responses) if store is not None]
        found = {str(db.path): db.trouble for db in files if db.trouble}
        for db in files:
            if db.trouble:
                db.stir()
        return found

    # -- telling ---------------------------------------------------------------------------------------

    async def deliver(self, way: Way) -> None:
        """Send what is due by one way, for ever."""
        news = self._news[way]
        while True:
            news.clear()
            await self.send_due(way)
            next_at = self._alerts.next_at(way)
            wait_s = None if next_at is None else max(LOOK_S, next_at - self._clock.now())
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await news.wait()

    async def send_due(self, way: Way) -> None:
        """Send the letters that are due by one way, in their order, until one cannot be sent."""
        while (letter := self._alerts.due(way, self._clock.now())) is not None:
            if not await self._round(way, letter):
                return

    async def _round(self, way: Way, letter: Letter) -> bool:
        """A few tries. Where all fail, it is told once, and the letter waits for another round."""
        for pause_s in (*PAUSES_S, None):
            try:
                await self._to_its_end(self._try(way, letter))
            except NotTold as error:
                if pause_s is not None and not error.final:
                    await self._sleep(pause_s)
                    continue
                self._in_vain(way, letter, str(error))
                return False
            return True
        return False

    async def _try(self, way: Way, letter: Letter) -> None:
        parts = letter.parts
        await self.ways.tell(way, letter.message(self._clock.now()))
        self._alerts.delivered(way, letter, parts, self._clock.now())
        self._works(way)
        self._log.info("notify.sent", way=way, kind=letter.kind, state=letter.state)

    def _works(self, way: Way) -> None:
        self.failing.pop(way, None)
        if way in self._said:
            self._said.discard(way)
            self._log.info("notify.recovered", way=way)

    def _in_vain(self, way: Way, letter: Letter, why: str) -> None:
        if way not in self._said:
            self._said.add(way)
            self._log.warning("notify.failed", way=way, reason=why, next="see `hr notify`; it is tried again later")
        self.failing[way] = why
        if not self._alerts.failed(way, letter, self._clock.now()):
            self._log.warning("notify.lost", way=way, kind=letter.kind, state=letter.state)

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """What is on its way arrives, and is known to have, though this task is being ended."""
        trying = asyncio.create_task(work, name="notify")
        try:
            await asyncio.shield(trying)
        except asyncio.CancelledError:
            await asyncio.wait((trying,), timeout=LAST_S)
            trying.cancel()
            await asyncio.wait((trying,))
            if not trying.cancelled():
                trying.exception()  # it is tried by whoever comes after us
            raise

    async def test(self) -> list[Result]:
        """Tell a test by each way that is set, once; what fails is no news for the log."""
        message = Message("test", "test", "a test", _TEST, self._clock.now(), 3, "white_check_mark")
        results = await asyncio.gather(*(self._test(way, message) for way in self.ways.set()))
        for way, why, _ in results:
            if why:
                self.failing[way] = why
            else:
                self._works(way)
        self._alerts.hurry(self._clock.now())
        self._wake()
        return results

    async def _test(self, way: Way, message: Message) -> Result:
        began = self._clock.mono()
        try:
            await self.ways.tell(way, message)
        except NotTold as error:
            return way, str(error), self._clock.mono() - began
        return way, "", self._clock.mono() - began
