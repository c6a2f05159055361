"""One SQLite file of ours: a single writer thread that writes once a second, and readers that never block the loop.

Owns the bounded queue before the file, the threads, and what is done when the disk is full or the file damaged. It must
never know what its rows mean, and never make a caller wait.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hermes_router.core.ports import Log
from hermes_router.store.db_file import DatabaseFile, Unavailable, is_damage, transaction
from hermes_router.store.db_migrations import MIGRATIONS, Migration

__all__ = ["MIGRATIONS", "Database", "Migration", "Source", "Tidy", "Unavailable", "Write"]

T = TypeVar("T")
Write = Callable[[sqlite3.Connection, Sequence[Any]], None]
"""Writes some items, in order, within a transaction. Keep it one object: a batch is grouped by it."""
Tidy = Callable[[sqlite3.Connection, int], None]
"""Removes a bite of what is too old, after so many items were written; within a transaction."""

QUEUE_BOUND = 10_000
PERIOD_S = 1.0
_LONGEST_PERIOD_S = 30.0  # between two tries of a disk that takes nothing
_BATCH = 500  # items in a transaction: a reader, a handover or a full disk never waits for more
_SAY_AGAIN_S = 60.0
_READ_S = 10.0
_ASIDE_AGAIN_S = 600.0  # a disk that damages whatever is written must not be filled with files set aside
# An item that cannot be written, whatever the disk says.
_FAULTY = (
    sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
    ValueError, TypeError, ArithmeticError, LookupError,
)  # fmt: skip


class Source(Protocol):
    """Rows that replace each other: what waits for a disk is the latest of each, not all that there ever were."""

    def __len__(self) -> int:
        """How many rows wait."""
        ...

    def drain(self, connection: sqlite3.Connection) -> None:
        """Write what waits, in transactions of its own. Raises sqlite3.Error, and then it still waits."""
        ...


class Database:
    """The file at `path`. Every public method may be called from the loop and returns at once, but for `close`.

    `log` and `now` (epoch seconds) are called from the writer thread. `tidy` takes functions that bound what is kept,
    `sources` those who keep rows of their own until they are asked for them (`nudge`). `thorough` as in DatabaseFile.
    """

    def __init__(
        self,
        path: Path,
        *,
        log: Log,
        now: Callable[[], float],
        migrations: Sequence[Migration] = MIGRATIONS,
        bound: int = QUEUE_BOUND,
        period_s: float = PERIOD_S,
        thorough: bool = True,
    ) -> None:
        self._file = DatabaseFile(path, log=log, now=now, migrations=migrations, thorough=thorough)
        self.path = self._file.path
        self.tidy: list[Tidy] = []
        self.sources: list[Source] = []
        self._log = log
        self._now = now
        self._bound = bound
        self._period_s = self._delay_s = period_s
        self._queue: deque[tuple[Write, Any]] = deque()
        self._flushes: deque[Future[None]] = deque()
        self._due = threading.Event()  # there is something to do
        self._hurry = threading.Event()  # and now, not in a second
        self._closing = False
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._damage = ""  # found while it was in use
        self._dropped = 0  # counted by the loop
        self._faulty = 0  # counted by the writer
        self._trouble = ""
        self._said_lost = 0
        self._said_at = float("-inf")
        self._said_trouble = False

    # -- from the loop ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the writer; it opens the file at once. Also after `close`. Idempotent."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"store-{self.path.stem}", daemon=True)
        self._thread.start()

    def put(self, write: Write, item: Any) -> None:
        """Have `item` written within a second. A full queue loses it, and counts it."""
        if len(self._queue) >= self._bound:
            self._dropped += 1
        else:
            self._queue.append((write, item))
        self.stir()

    def stir(self) -> None:
        """A source has something to write within the period."""
        if not self._due.is_set():
            self._due.set()

    def nudge(self) -> None:
        """A source has something to write: now, with what is queued; on a disk in trouble, when that is tried."""
        self._due.set()
        if not self._trouble:
            self._hurry.set()

    def note(self, said: str) -> None:
        """Something that the owner should know of the file, a sentence."""
        self._file.note(said)

    def peek(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """What `ask` finds in the file as it was left, before `start`. It blocks.

        Raises Unavailable where there is no file of ours that can be read; the writer will say what is wrong with it.
        """
        return self._file.peek(ask)

    @property
    def was_set_aside(self) -> bool:
        """Whether the file that was there is not the one that is written."""
        return self._file.set_aside_at > float("-inf")

    @property
    def lost(self) -> int:
        """Items that were not and will not be written."""
        left = len(self._queue) if self._thread is None and self._closing else 0
        return self._dropped + self._faulty + left

    @property
    def problems(self) -> list[str]:
        """What the owner should know, a sentence each."""
        found = list(self._file.notes)
        if self._trouble:
            waiting = self._waiting()
            found.append(f"{self.path} cannot be written ({self._trouble}): {waiting} records wait, {self.lost} lost.")
        elif self.lost:
            found.append(f"{self.lost} records of usage were lost since the start.")
        return found

    @property
    def trouble(self) -> str:
        """Why nothing can be written now; empty where it can, as far as is known."""
        return self._trouble

    async def flush(self, timeout_s: float = _READ_S) -> None:
        """Return when all that was put before has been written, or tried, or the time is up."""
        import asyncio  # noqa: PLC0415 - it is loaded where this can be called, and heavy elsewhere

        if self._closing or self._thread is None or not self._thread.is_alive():
            return
        done: Future[None] = Future()
        self._flushes.append(done)
        self._wake()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(done), timeout_s)

    async def read(self, ask: Callable[[sqlite3.Connection], T], default: T) -> T:
        """What `ask` finds on a read-only connection, in a thread of its own; `default` where nothing can be read."""
        import asyncio  # noqa: PLC0415 - as above

        answer: Future[T] = Future()
        threading.Thread(target=self._answer, args=(ask, answer), name="store-read", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(answer), _READ_S)
        except (sqlite3.Error, OSError, Unavailable, TimeoutError):
            return default

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and release the file. True where nothing is left; False where time or disk ran out."""
        thread = self._thread
        self._closing = True
        if thread is not None:
            self._wake()
            thread.join(timeout_s)
            if thread.is_alive():
                return False
            self._thread = None
        return not self._waiting()

    def withdraw(self, write: Write) -> list[Any]:
        """After `close`: what is still queued for `write`, oldest first, for another to keep."""
        found: list[Any] = []
        others: list[tuple[Write, Any]] = []
        with suppress(IndexError):
            while True:
                which, item = one = self._queue.popleft()
                if which is write:
                    found.append(item)
                else:
                    others.append(one)
        self._queue.extend(others)
        return found

    def _waiting(self) -> int:
        return len(self._queue) + sum(map(len, self.sources))

    def _wake(self) -> None:
        self._due.set()
        self._hurry.set()

    # -- reading, in a thread per question -------------------------------------------------------------

    def _answer(self, ask: Callable[[sqlite3.Connection], T], answer: "Future[T]") -> None:
        if not answer.set_running_or_notify_cancel():
            return
        try:
            answer.set_result(self._ask(ask))
        except (sqlite3.Error, OSError, Unavailable) as error:
            answer.set_exception(error)
        except BaseException as error:
            answer.set_exception(error)
            raise

    def _ask(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        if not self._reading.acquire(timeout=_READ_S):
            raise Unavailable
        try:
            if self._connection is None:
                raise Unavailable
            if self._reader is None:
                self._reader = self._file.open_reader()
            return ask(self._reader)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._damage = str(error)
                self._wake()
            raise
        finally:
            self._reading.release()

    # -- writing, in the writer's thread ---------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._turn()  # what is wrong with the file is known before the first record
            while not self._closing:
                if not self._waiting() and not self._flushes:
                    self._due.wait()
                self._hurry.wait(self._delay_s)
                self._due.clear()
                self._hurry.clear()
                self._turn()
            self._turn()
        except BaseException as error:
            self._trouble = f"its writer ended by {type(error).__name__}"
            self._log.warning("store.ended", file=str(self.path), error=f"{type(error).__name__}: {error}")
            raise
        finally:
            self._disconnect()
            self._resolve()

    def _turn(self) -> None:
        """Write all that is queued, then let those go on who wait for it."""
        flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
        try:
            connection = self._ready()
            for source in self.sources:
                source.drain(connection)
            written = 0
            while self._queue:
                written += self._write_batch(connection)
            if written:
                with transaction(connection):
                    for tidy in self.tidy:
                        tidy(connection, written)
        except (sqlite3.Error, OSError) as error:
            self._stumbled(error)
        else:
            self._recovered()
        finally:
            self._flushes.extendleft(reversed(flushes))
            self._resolve(len(flushes))
        if self.lost > self._said_lost:
            self._say(self._trouble or "more than can be written")

    def _resolve(self, number: int | None = None) -> None:
        for _ in range(len(self._flushes) if number is None else number):
            done = self._flushes.popleft()
            if done.set_running_or_notify_cancel():
                done.set_result(None)

    def _write_batch(self, connection: sqlite3.Connection) -> int:
        """One transaction; what the disk does not take goes back to the head of the queue."""
        batch = deque(self._queue.popleft() for _ in range(min(_BATCH, len(self._queue))))
        number = len(batch)
        try:
            self._write(connection, batch)
        finally:
            self._queue.extendleft(reversed(batch))
        return number

    def _write(self, connection: sqlite3.Connection, batch: deque[tuple[Write, Any]]) -> None:
        groups: dict[Write, list[Any]] = {}
        for write, item in batch:
            groups.setdefault(write, []).append(item)
        try:
            with transaction(connection):
                for write, items in groups.items():
                    write(connection, items)
            batch.clear()
        except _FAULTY:
            while batch:  # one of them is at fault: each for itself
                write, item = batch[0]
                try:
                    with transaction(connection):
                        write(connection, [item])
                except _FAULTY as error:
                    self._faulty += 1
                    self._log.warning("store.unwritable", file=str(self.path), error=type(error).__name__)
                batch.popleft()

    def _stumbled(self, error: sqlite3.Error | OSError) -> None:
        """The disk does not take it: what waits is kept, up to the bound, and tried again ever more rarely."""
        self._disconnect()
        if is_damage(error):
            self._damage = str(error)
            self._hurry.set()
            return
        if isinstance(error, OSError) and error.strerror:
            self._trouble = error.strerror
        else:
            self._trouble = str(error)
        self._delay_s = min(max(self._delay_s, self._period_s) * 2, _LONGEST_PERIOD_S)
        if not self._said_trouble:
            self._say(self._trouble)

    def _say(self, reason: str) -> None:
        """What is not written and why: once when it begins, then while more is lost, at most once a minute."""
        now = self._now()
        if now - self._said_at < _SAY_AGAIN_S:
            return
        self._said_at, self._said_lost = now, self.lost
        self._said_trouble = bool(self._trouble)
        self._log.warning("store.failing", file=str(self.path), reason=reason, waiting=self._waiting(), lost=self.lost)

    def _recovered(self) -> None:
        self._delay_s = self._period_s
        self._trouble = ""
        if self._said_trouble:
            self._said_trouble = False
            self._log.info("store.recovered", file=str(self.path), lost=self.lost)

    # -- the connections -------------------------------------------------------------------------------

    def _ready(self) -> sqlite3.Connection:
        """The open connection; opened anew where the file was taken away under us, or is damaged."""
        file = self._file
        if self._damage:
            self._disconnect()
            if self._now() - file.set_aside_at < _ASIDE_AGAIN_S:
                raise OSError(f"it is damaged again: {self._damage}")
            file.set_aside(f"it is damaged: {self._damage}")
            self._damage = ""
        if self._connection is None or not file.is_there():
            self._disconnect()
            self._connection = file.open()
        return self._connection

    def _disconnect(self) -> None:
        """Close both connections, the reader first: the last one to close tidies up, and that is the writer's work."""
        connection, self._connection = self._connection, None
        if not self._reading.acquire(timeout=1.0):
            reader = self._reader
            if reader is not None:
                reader.interrupt()
            self._reading.acquire()
        try:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        finally:
            self._reading.release()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
