"""Keeps the ledger on the disk: what has changed goes there within a second, and all of it is back after a start.

Owns when the ledger is read and written, and that neither a request nor the loop waits for it. It must never know what
a row means.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from hermes_router.core.ports import Log
from hermes_router.engine.context import Engine
from hermes_router.store.db import Database
from hermes_router.store.state import LedgerStore

__all__ = ["LedgerKeeper"]

GATHER_S: Final = 0.5  # from the first change to the writer, which then has the other half of the second
CHUNK: Final = 100  # rows in one step of the loop: half a millisecond


class LedgerKeeper:
    """The ledger of one engine and its file. Where the file was given up to a successor, it is not written."""

    def __init__(
        self,
        engine: Engine,
        db: Database,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._sleep = sleep
        self._store = LedgerStore(db, log=log, now=engine.clock.now, anew=self._begun_anew)
        self._stirred = asyncio.Event()
        self._whole = False  # what is known replaces what is there
        engine.state.changes.on_first = engine.limits.on_change = self._stirred.set
        engine.alerts.on_change = engine.past.on_change = self._stirred.set

    async def load(self) -> None:
        """Take over what an earlier life wrote down, before the first plan. Never raises."""
        engine = self._engine
        rows = await asyncio.to_thread(self._store.load)
        if rows is None:
            return  # the writer will say why; and it must not lose rows that may be readable another time
        self._whole = True
        now = engine.clock.now()
        engine.state.restore(rows, engine.snapshot.roster, now)
        engine.limits.restore(rows, now)
        engine.alerts.restore(rows)
        engine.past.restore(rows)

    def inherited(self) -> None:
        """What is in force came from a predecessor: the file follows it."""
        self._whole = True

    async def run(self) -> None:
        """Write what changes, for ever. Where nothing does, nothing is woken, neither the loop nor the disk."""
        await self._write()
        while True:
            await self._stirred.wait()
            await self._sleep(GATHER_S)
            await self._write()

    async def _write(self) -> None:
        """Till nothing is marked after a step of ours: what requests mark in the next one is for the next gathering."""
        self._stirred.clear()
        since = self._begin()
        self._put_some()
        while self._engine.state.changes:
            await asyncio.sleep(0)  # requests go first
            self._put_some()
        self._end(since)

    def flush(self) -> None:
        """Write what has changed, in one step: the store is about to be closed, and nothing runs any more."""
        since = self._begin()
        while self._engine.state.changes:
            self._put_some()
        self._end(since)

    def _begin(self) -> float:
        """What is marked so far is to be written; from when on all that there is was written, or never."""
        engine, now = self._engine, self._engine.clock.now()
        self._store.put(engine.limits.rows(now, whole=self._whole))
        self._store.put(engine.alerts.rows(now, whole=self._whole))
        self._store.put(engine.past.rows(now, whole=self._whole))
        if not self._whole:
            return -math.inf
        engine.state.mark_all()
        return now

    def _put_some(self) -> None:
        self._store.put(self._engine.state.take_changes(self._engine.clock.now(), CHUNK))

    def _end(self, since: float) -> None:
        if since > -math.inf:
            self._whole = False
            self._store.put((), since=since)

    def _begun_anew(self) -> None:
        """In the writer's thread: the file was lost or set aside, and all that is known belongs into the new one."""

        def again() -> None:
            self._whole = True
            self._stirred.set()

        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(again)
