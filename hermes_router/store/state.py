"""What the ledger remembers, in the state file: the latest of each row, and a mark that proves it unaltered.

Owns the rows of `ledger` and those that wait to be written. It must never know what a row means, and never make the
loop wait.
"""

import math
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Final
from zlib import crc32

import msgspec

from hermes_router.core.ports import Log
from hermes_router.core.records import LedgerRow
from hermes_router.store.db import Database, Unavailable
from hermes_router.store.db_file import transaction

__all__ = ["LedgerStore"]

MOST_ROWS: Final = 100_000  # far above what a ledger has: it keeps its own bounds
MOST_BYTES: Final = 64 * 1024  # of a value
TIDY_S: Final = 3600.0

_LIFE: Final = "life"  # the kind of the one row by which a file is known to hold all that there is
_PUT: Final = (
    "INSERT INTO ledger (kind, key, value, at, until, mark) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) "
    "DO UPDATE SET value = excluded.value, at = excluded.at, until = excluded.until, mark = excluded.mark"
)
_Key = tuple[str, str]


class LedgerStore:
    """A Source of `db`. `anew` is called, in the writer's thread, where the file turned out to hold nothing yet.

    However long a disk takes nothing, no more waits than one row for each record.
    """

    def __init__(self, db: Database, *, log: Log, now: Callable[[], float], anew: Callable[[], None]) -> None:
        self._db = db
        self._log = log
        self._now = now
        self._anew = anew
        self._lock = threading.Lock()
        self._waiting: dict[_Key, LedgerRow] = {}
        self._since = -math.inf
        self._tidy_at = 0.0
        self._altered = 0  # rows found so, and not yet said
        db.sources.append(self)

    def __len__(self) -> int:
        return len(self._waiting)

    # -- from the loop ---------------------------------------------------------------------------------

    def put(self, rows: Iterable[LedgerRow], *, since: float = -math.inf) -> None:
        """Have these rows written now, beside the loop.

        `since` = with them, all that there is was put since then (epoch seconds): what was written before is removed.
        """
        with self._lock:
            self._since = max(self._since, since)
            for row in rows:
                self._waiting[row.kind, row.key] = row
            if not self._waiting and self._since == -math.inf:
                return
        self._db.nudge()

    # -- before the writer begins, in any thread ---------------------------------------------------------

    def load(self) -> list[LedgerRow] | None:
        """All sound rows, in no order; None where nothing can be read now. It blocks, and never raises.

        What was cut or altered is left out, with one warning for all of it: the writer's, where the whole file is bad.
        Whoever loaded rows puts all of them again.
        """
        try:
            found, self._altered = self._db.peek(_read)
        except Unavailable:
            return None
        return found

    # -- in the writer's thread --------------------------------------------------------------------------

    def drain(self, connection: sqlite3.Connection) -> None:
        """Write what waits. Raises sqlite3.Error, and then it still waits, but for what has changed since."""
        with self._lock:
            rows, self._waiting = self._waiting, {}
            since, self._since = self._since, -math.inf
        if not rows and since == -math.inf:
            return
        altered = 0 if self._db.was_set_aside else self._altered
        try:
            with transaction(connection):
                anew = not _has_life(connection)
                if altered:  # keys out of their order hide others: all that is good of it is in memory, and comes again
                    connection.execute("DELETE FROM ledger")
                self._write(connection, rows, since)
        except BaseException:
            with self._lock:
                self._waiting = {**rows, **self._waiting}
                self._since = max(self._since, since)
            raise
        self._altered = 0
        if altered:
            self._log.warning("ledger.skipped", file=str(self._db.path), rows=altered, reason="altered or cut")
            self._db.note(f"{self._db.path} held {altered} altered rows of the ledger at the start: they are left out.")
        if anew:
            self._anew()

    def _write(self, connection: sqlite3.Connection, rows: dict[_Key, LedgerRow], since: float) -> None:
        now = self._now()
        gone = (key for key, row in rows.items() if row.value is None and _can_rest(key))
        connection.executemany("DELETE FROM ledger WHERE kind = ? AND key = ?", gone)
        life = LedgerRow(_LIFE, "", 1, now, math.inf)
        connection.executemany(_PUT, self._encoded([life, *rows.values()]))
        if not self._tidy_at <= now < self._tidy_at + TIDY_S:
            self._tidy_at = now
            connection.execute("DELETE FROM ledger WHERE until < ?", (now,))
        if since > -math.inf:  # rows from the future are of a clock that was set back
            connection.execute("DELETE FROM ledger WHERE at < ? OR at > ?", (since, now))

    def _encoded(self, rows: Iterable[LedgerRow]) -> Iterator[tuple[Any, ...]]:
        """Rows one by one: the interpreter is given up between them, so that the loop never waits for all."""
        for row in rows:
            if row.value is None:
                continue
            at, until = float(row.at), float(row.until)
            try:
                value = msgspec.json.encode(row.value).decode()
                mark = _mark(row.kind, row.key, value, at, until)
            except (ValueError, TypeError, OverflowError) as error:  # half a character in a name
                self._log.warning("store.unwritable", file=str(self._db.path), error=type(error).__name__)
            else:
                yield row.kind, row.key, value, at, until, mark


def _can_rest(key: _Key) -> bool:
    """Whether there can be such a row: half a character in a name is no UTF-8."""
    try:
        return bool("".join(key).encode())
    except UnicodeEncodeError:
        return False


def _mark(kind: str, key: str, value: str, at: float, until: float) -> int:
    return crc32("\0".join((kind, key, repr(at), repr(until), value)).encode())


def _has_life(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM ledger WHERE kind = ?", (_LIFE,)).fetchone() is not None


def _read(connection: sqlite3.Connection) -> tuple[list[LedgerRow], int]:
    """The sound rows, and how many are not; what comes before a damaged page is still good."""
    found: list[LedgerRow] = []
    damaged = 0
    query = "SELECT kind, key, value, at, until, mark FROM ledger LIMIT ?"
    with closing(connection.execute(query, (MOST_ROWS,))) as rows:
        try:
            for columns in rows:
                row = _decoded(columns)
                if row is None:
                    damaged += 1
                elif row.kind != _LIFE:
                    found.append(row)
        except sqlite3.DatabaseError:
            pass  # the writer will find the same, and set the file aside
    return found, damaged


def _decoded(columns: tuple[Any, ...]) -> LedgerRow | None:
    """A row as it was written, None for an altered one: any column may hold anything."""
    match columns:
        case str(kind), str(key), str(value), float(at), float(until), mark if len(value) <= MOST_BYTES:
            try:
                if _mark(kind, key, value, at, until) == mark:
                    return LedgerRow(kind, key, msgspec.json.decode(value), at, until)
            except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
                return None
    return None
