"""Remembered answers in a file of their own: bounded in size and time, found by index, erased for good.

Owns the rows, the order in which they give way, and what waits to be written. All turns of a conversation are kept as
long as its latest. Where there is no more room, whoever holds most gives way, its least recently used conversation
first, and the latest conversation of a router key only where nobody has another: one key's flood costs no other its
last turn. It must never know what an answer says.
"""

import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from hermes_router.core.kept import KeptResponse
from hermes_router.core.ports import Log
from hermes_router.store.db import Database, Migration
from hermes_router.store.db_file import transaction

__all__ = ["MIGRATIONS", "ResponseStore"]

FILE_BYTES: Final = 48 * 1024 * 1024  # in use; the log and what is torn down beside it have the rest of 64
PERIOD_S: Final = 0.02  # from an answer's end to the disk
_BATCH_BYTES: Final = 8 * 1024 * 1024  # of rows in one transaction
_WAITING_BYTES: Final = 32 * 1024 * 1024  # in memory, where the disk takes nothing
_MOST_ERASED: Final = 1_000
_BITE: Final = 200  # rows erased at once
_ROW_BYTES: Final = 300  # of a row beside its contents, roughly
_LEVEL: Final = 1  # of compression: the quickest
_Waiting = dict[bytes, KeptResponse | None]

_INSERT: Final = (
    "INSERT INTO responses (name, parent, conversation, bytes, input, output, response) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_BEGUN: Final = (
    "INSERT INTO conversations (root, holder, digest, until, bytes) VALUES (?, ?, ?, ?, ?) ON CONFLICT (root) "
    "DO UPDATE SET until = max(until, excluded.until), bytes = bytes + excluded.bytes"
)
_HELD: Final = (
    "INSERT INTO holders (holder, bytes) VALUES (?, ?) ON CONFLICT (holder) "
    "DO UPDATE SET bytes = bytes + excluded.bytes"
)
_CHAIN: Final = (
    "WITH RECURSIVE chain (depth, n, parent) AS (SELECT 1, n, parent FROM responses WHERE name = ? UNION ALL "
    "SELECT depth + 1, r.n, r.parent FROM chain JOIN responses r ON r.name = chain.parent WHERE depth < ?) "
    "SELECT r.name, r.parent, c.root, c.holder, c.digest, r.input, r.output, NULL, c.until FROM chain "
    "JOIN responses r ON r.n = chain.n JOIN conversations c ON c.n = r.conversation ORDER BY depth"
)
_ONE: Final = (
    "SELECT r.name, r.parent, c.root, c.holder, c.digest, r.input, r.output, r.response, c.until FROM responses r "
    "JOIN conversations c ON c.n = r.conversation WHERE r.name = ?"
)
_OVER: Final = "SELECT n FROM conversations WHERE until <= ? ORDER BY until LIMIT ?"
_SHARES: Final = (
    "SELECT holder, bytes - coalesce((SELECT c.bytes FROM conversations c WHERE c.holder = holders.holder "
    "ORDER BY c.until DESC LIMIT 1), 0) AS spare FROM holders ORDER BY spare DESC, bytes DESC LIMIT 1"
)
_OLDEST: Final = "SELECT n FROM conversations WHERE holder = ? ORDER BY until LIMIT 1"


def _tables(connection: sqlite3.Connection) -> None:
    """1: turns, the conversations that they are of, and how much each router key holds."""
    connection.execute(
        "CREATE TABLE responses (n INTEGER PRIMARY KEY, name BLOB NOT NULL, parent BLOB NOT NULL, "
        "conversation INTEGER NOT NULL, bytes INTEGER NOT NULL, input BLOB NOT NULL, output BLOB NOT NULL, "
        "response BLOB NOT NULL)"
    )
    connection.execute("CREATE UNIQUE INDEX responses_name ON responses (name)")
    connection.execute("CREATE INDEX responses_conversation ON responses (conversation)")
    connection.execute(
        "CREATE TABLE conversations (n INTEGER PRIMARY KEY, root BLOB NOT NULL, holder TEXT NOT NULL, "
        "digest TEXT NOT NULL, until REAL NOT NULL, bytes INTEGER NOT NULL)"
    )
    connection.execute("CREATE UNIQUE INDEX conversations_root ON conversations (root)")
    connection.execute("CREATE INDEX conversations_holder ON conversations (holder, until, bytes)")
    connection.execute("CREATE INDEX conversations_until ON conversations (until)")
    connection.execute("CREATE TABLE holders (holder TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID")


MIGRATIONS: Final[list[Migration]] = [_tables]


class ResponseStore:
    """A ResponseShelf on a disk. Two daemons may write one file while one of them hands over to the other.

    What was put is written within PERIOD_S, beside the loop. `now` gives epoch seconds, in the writer's thread, too.
    """

    def __init__(self, path: Path, *, log: Log, now: Callable[[], float], file_bytes: int = FILE_BYTES) -> None:
        self._db = Database(path, log=log, now=now, migrations=MIGRATIONS, period_s=PERIOD_S, thorough=False)
        self._db.sources.append(self)
        self._now = now
        self._file_bytes = file_bytes
        self._lock = threading.Lock()
        self._waiting: _Waiting = {}  # None = to be erased
        self._writing: _Waiting = {}
        self._erased: dict[bytes, None] = {}  # lately: a look-up may have begun before
        self._bytes = 0
        self._over_at = float("-inf")  # conversations that end before it are to be erased
        self._more = 0  # bites that are left

    # -- from the loop ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the file, in its own thread."""
        self._db.start()

    async def flush(self, timeout_s: float = 10.0) -> None:
        """Return when all that was put before is on the disk, or could not be written, or the time is up."""
        await self._db.flush(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Write what waits and release the file; False where not all could be written. It blocks."""
        return self._db.close(timeout_s) or not (self._waiting or self._writing)

    @property
    def db(self) -> Database:
        """The file."""
        return self._db

    @property
    def problems(self) -> list[str]:
        """What the owner should know of the file, a sentence each."""
        return self._db.problems

    def put(self, kept: KeptResponse) -> None:
        """Have it written soon. Where the disk takes nothing, what has waited longest is given up."""
        with self._lock:
            old = self._waiting.pop(kept.name, None)
            self._erased.pop(kept.name, None)
            self._bytes += _size(kept) - (_size(old) if old is not None else 0)
            self._waiting[kept.name] = kept
            while self._bytes > _WAITING_BYTES:
                self._give_up()
        self._db.stir()

    def _give_up(self) -> None:
        name, kept = next((name, kept) for name, kept in self._waiting.items() if kept is not None)
        del self._waiting[name]
        self._bytes -= _size(kept)

    async def load(self, name: bytes, *, turns: int) -> Sequence[KeptResponse]:
        """What is kept of a turn and those before it, whether it has reached the disk or not."""
        return await self._read(name, _CHAIN, (name, turns))

    async def find(self, name: bytes) -> KeptResponse | None:
        """A turn with its whole answer, whether it has reached the disk or not."""
        found = await self._read(name, _ONE, (name,))
        return found[0] if found else None

    async def _read(self, name: bytes, query: str, values: tuple[Any, ...]) -> list[KeptResponse]:
        known, waits = self._pending(name)
        if known:
            return [waits] if waits is not None else []
        now = self._now()
        found = await self._db.read(lambda connection: _rows(connection, query, values, now), None)
        if found is None:  # the file is being opened
            await self._db.flush()
            found = await self._db.read(lambda connection: _rows(connection, query, values, now), [])
        kept: list[KeptResponse] = []
        for one in found or ():
            known, waits = self._pending(one.name)
            if known and waits is None:
                break
            kept.append(waits or one)
        return kept

    def _pending(self, name: bytes) -> tuple[bool, KeptResponse | None]:
        """Whether something is about to be written of this name, or was erased, and what."""
        with self._lock:
            for pending in (self._waiting, self._writing):
                if name in pending:
                    return True, pending[name]
            return name in self._erased, None

    async def erase(self, name: bytes) -> None:
        """Erase a turn; return when it is gone from the disk. Where that takes nothing, it is gone for whoever asks."""
        with self._lock:
            old = self._waiting.pop(name, None)
            self._bytes -= _size(old) if old is not None else 0
            self._waiting[name] = self._erased[name] = None
            if len(self._erased) > _MOST_ERASED:
                del self._erased[next(iter(self._erased))]
        self._db.nudge()
        await self._db.flush()

    def tidy(self, *, everything: bool) -> None:
        """Erase what is over, bite by bite; or everything."""
        with self._lock:
            self._over_at = float("inf") if everything else self._now()
            self._more = 1
            if everything:
                self._waiting = {name: None for name, kept in self._waiting.items() if kept is None}
                self._bytes = 0
        self._db.stir()

    # -- in the writer's thread ------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many rows wait, and whether more is to be erased: the writer comes again for it."""
        return len(self._waiting) + self._more

    def drain(self, connection: sqlite3.Connection) -> None:
        """Write what waits, then erase a bite. Raises sqlite3.Error, and then it still waits."""
        connection.execute("PRAGMA secure_delete=ON").fetchone()  # what is erased is not left lying in the file
        with self._lock:
            self._writing, self._waiting = self._waiting, {}
            self._bytes = 0
        left, taken = deque(self._writing.items()), list(self._writing.values())
        try:
            while left:
                batch = _batch(left)
                with transaction(connection):
                    self._write(connection, batch)
                for _ in batch:
                    left.popleft()
        finally:
            with self._lock:
                self._waiting = {**dict(left), **self._waiting}
                self._bytes = sum(_size(kept) for kept in self._waiting.values() if kept is not None)
                self._writing = {}
        erased = None in taken
        if self._more:
            with self._lock:
                over_at, self._more = self._over_at, 0
            more = True  # also where the disk does not take it
            try:
                with transaction(connection):
                    more = _bite(connection, over_at)
            finally:
                self._more = self._more or int(more)
            erased = erased or (over_at == float("inf") and not more)
        if erased:  # nor in the log beside it
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _write(self, connection: sqlite3.Connection, batch: Iterable[tuple[bytes, KeptResponse | None]]) -> None:
        """One transaction: an older turn of the same name gives way, then whoever has to for the room."""
        rows = [(name, kept and _packed(kept)) for name, kept in batch]
        for name, _ in rows:
            _erase(connection, name)
        kept = [row for _, row in rows if row is not None]
        for _, _, root, *_, until, _ in kept:  # what is gone on with is not the oldest any more
            connection.execute("UPDATE conversations SET until = max(until, ?) WHERE root = ?", (until, root))
        self._make_room(connection, sum(row[-1] for row in kept))
        for name, parent, root, holder, digest, said, output, response, until, size in kept:
            connection.execute(_BEGUN, (root, holder, digest, until, size))
            conversation = connection.execute("SELECT n FROM conversations WHERE root = ?", (root,)).fetchone()[0]
            connection.execute(_INSERT, (name, parent, conversation, size, said, output, response))
            connection.execute(_HELD, (holder, size))

    def _make_room(self, connection: sqlite3.Connection, needed: int) -> None:
        """Erase whole conversations until there is room; of a file that is far too large, a bite at a time."""
        erased = 0
        while _used_bytes(connection) + needed > self._file_bytes:
            share = connection.execute(_SHARES).fetchone()
            oldest = connection.execute(_OLDEST, (share[0],)).fetchone() if share is not None else None
            if oldest is None or erased >= _BITE * 10:
                return
            erased += max(1, _erase_some(connection, oldest[0], _BITE))


def _size(kept: KeptResponse) -> int:
    return len(kept.input) + len(kept.output) + len(kept.response) + _ROW_BYTES


def _batch(left: deque[tuple[bytes, KeptResponse | None]]) -> list[tuple[bytes, KeptResponse | None]]:
    """As many of the first as one transaction takes, one at least."""
    batch: list[tuple[bytes, KeptResponse | None]] = []
    size = 0
    for name, kept in left:
        size += _size(kept) if kept is not None else 0
        if batch and (size > _BATCH_BYTES or len(batch) >= _BITE):
            break
        batch.append((name, kept))
    return batch


def _packed(kept: KeptResponse) -> tuple[Any, ...]:
    """The row, its contents compressed, and what it weighs."""
    packed = [zlib.compress(each, _LEVEL) for each in (kept.input, kept.output, kept.response)]
    return (*kept[:5], *packed, kept.until, sum(map(len, packed)) + _ROW_BYTES)


def _rows(connection: sqlite3.Connection, query: str, values: tuple[Any, ...], now: float) -> list[KeptResponse]:
    """Turns in the order of the query; what cannot be read, or is over, ends them."""
    found: list[KeptResponse] = []
    for *head, said, output, response, until in connection.execute(query, values):
        try:
            contents = (zlib.decompress(each) if each is not None else b"" for each in (said, output, response))
            whole = (*head, *contents, until)
        except (zlib.error, TypeError):
            break
        if until <= now:
            break
        found.append(KeptResponse._make(whole))
    return found


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Of the file, pages that hold something."""
    count, free, size = (
        connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count", "page_size")
    )
    return int((count - free) * size)


def _bite(connection: sqlite3.Connection, over_at: float) -> bool:
    """Erase some of what is over; whether there is more of it."""
    left = _BITE
    for (conversation,) in connection.execute(_OVER, (over_at, _BITE)).fetchall():
        left -= max(1, _erase_some(connection, conversation, left))
        if left <= 0:
            return True
    return False


def _erase_some(connection: sqlite3.Connection, conversation: int, most: int) -> int:
    """Erase turns of a conversation, and itself with the last of them. Returns how many."""
    query = "SELECT n FROM responses WHERE conversation = ? LIMIT ?"
    rows = connection.execute(query, (conversation, most)).fetchall()
    for (number,) in rows:
        _erase_row(connection, number, conversation)
    if len(rows) < most:
        connection.execute("DELETE FROM conversations WHERE n = ?", (conversation,))
    return len(rows)


def _erase(connection: sqlite3.Connection, name: bytes) -> None:
    """Erase one turn, and its conversation with the last."""
    row = connection.execute("SELECT n, conversation FROM responses WHERE name = ?", (name,)).fetchone()
    if row is None:
        return
    _erase_row(connection, *row)
    if connection.execute("SELECT 1 FROM responses WHERE conversation = ?", (row[1],)).fetchone() is None:
        connection.execute("DELETE FROM conversations WHERE n = ?", (row[1],))


def _erase_row(connection: sqlite3.Connection, number: int, conversation: int) -> None:
    size = connection.execute("SELECT bytes FROM responses WHERE n = ?", (number,)).fetchone()[0]
    holder = connection.execute("SELECT holder FROM conversations WHERE n = ?", (conversation,)).fetchone()[0]
    connection.execute("DELETE FROM responses WHERE n = ?", (number,))
    connection.execute("UPDATE conversations SET bytes = bytes - ? WHERE n = ?", (size, conversation))
    connection.execute("UPDATE holders SET bytes = bytes - ? WHERE holder = ?", (size, holder))
    connection.execute("DELETE FROM holders WHERE holder = ? AND bytes <= 0", (holder,))
