"""The state file itself: begun, migrated, opened for its owner alone, and set aside where it is damaged or not ours.

Owns everything between a path and a connection that can be written. It must never know who writes what.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import gmtime, strftime
from typing import Final, TypeVar

from hermes_router.core.ports import Log
from hermes_router.store.db_migrations import Migration

__all__ = ["DatabaseFile", "Unavailable", "is_damage", "transaction"]

T = TypeVar("T")

_BUSY_S = 5.0
_APPLICATION: Final = 0x48525354  # "HRST", in the file's header: the file is ours
_WAL_BYTES = 4 * 1024 * 1024
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NOTES = 5


class Unavailable(Exception):
    """There is nothing to read from now."""


class DatabaseFile:
    """The file at `path`; a link stays one, since SQLite writes beside what it leads to.

    `notes` holds what the owner should know of it, such as what became of files that were set aside, a sentence each.
    For one thread, but for `open_reader` and `peek`. `thorough` = each page is looked at before the first use, which
    takes the longer the larger the file is; else damage within the pages is found where it is met.
    """

    def __init__(
        self,
        path: Path,
        *,
        log: Log,
        now: Callable[[], float],
        migrations: Sequence[Migration],
        thorough: bool = True,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self.notes: list[str] = []
        self.set_aside_at = float("-inf")
        self._log = log
        self._now = now
        self._migrations = migrations
        self._thorough = thorough
        self._open: tuple[int, int] | None = None  # which file it is that was opened

    def is_there(self) -> bool:
        """Whether the path still leads to the file that was opened."""
        return self._open is not None and _identity(self.path) == self._open

    def open(self) -> sqlite3.Connection:
        """A connection to write with. A file that is damaged or not ours is set aside, once.

        Raises sqlite3.Error or OSError where the disk does not allow it.
        """
        unfit, connection = self._try(check=not self.is_there())
        if connection is None:
            self.set_aside(unfit)
            unfit, connection = self._try(check=False)
        if connection is None:
            raise OSError(unfit)
        self._open = _identity(self.path)
        return connection

    def open_reader(self) -> sqlite3.Connection:
        """A connection that cannot write, for any thread, one at a time."""
        uri = f"{self.path.as_uri()}?mode=ro"
        reader = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        reader.text_factory = _lenient
        return reader

    def peek(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """What `ask` finds in the file, which nobody has open and this does not change.

        A full or a read-only disk may not let its log be read: then what was last folded into the file counts. Raises
        Unavailable where it is absent, not ours, of a newer version, or cannot be read.
        """
        if not self.path.is_file():
            raise Unavailable
        for how in ("mode=ro", "immutable=1"):
            try:
                with closing(sqlite3.connect(f"{self.path.as_uri()}?{how}", uri=True, timeout=_BUSY_S)) as connection:
                    connection.text_factory = _lenient
                    if self._unfit(connection, check=False):
                        break
                    return ask(connection)
            except sqlite3.OperationalError:
                continue
            except (sqlite3.DatabaseError, UnicodeDecodeError):
                break
        raise Unavailable

    def _try(self, *, check: bool) -> tuple[str, sqlite3.Connection | None]:
        """A connection, or why the file is unfit for one."""
        self._make_private()
        if _has_odd_header(self.path):
            return "it is damaged: its header makes no sense", None
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            unfit = self._unfit(connection, check=check)
            if not unfit:
                self._prepare(connection)
        except sqlite3.DatabaseError as error:
            connection.close()
            if not is_damage(error):
                raise
            return f"it is damaged: {error}", None
        except UnicodeDecodeError:  # it wanted to name a table
            connection.close()
            return "it is damaged: the names of its tables are no text", None
        except BaseException:
            connection.close()
            raise
        if unfit:
            connection.close()
            return unfit, None
        return "", connection

    def _make_private(self) -> None:
        """The file, 0600 before SQLite sees it: it gives its -wal and -shm the same mode.

        One that exists is never opened here: closing it again would end the locks that SQLite has on it.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        for path in (self.path, *_companions(self.path)):
            try:
                mode = path.stat().st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(mode):
                raise OSError(f"{path} is no file")
            if mode & 0o077:
                path.chmod(0o600)

    def _unfit(self, connection: sqlite3.Connection, *, check: bool) -> str:
        """Why we cannot go on with the file, "" where we can. Raises sqlite3.DatabaseError on damage, too.

        `check` = page by page: it is not the file that was open before.
        """
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != _APPLICATION and (application or version or tables):
            return "it belongs to another program"
        if version > len(self._migrations):
            return f"a newer hermes-router wrote it (version {version}, this one knows {len(self._migrations)})"
        if check and self._ends_within_a_page(connection):
            return "it is damaged: its end is missing"
        if check and tables:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if self._thorough else "ok"
            if found != "ok":
                return f"it is damaged: {' '.join(found.split())[:200]}"
            if not self._is_of(version, _tables(connection)):
                return "it is damaged: its tables are not those of its version"
        return ""

    def _is_of(self, version: int, found: dict[bytes, bytes]) -> bool:
        """Whether it holds what a file of this version does, and nothing of a later one."""
        own, later = self._made_by(version), self._made_by(len(self._migrations))
        return own.items() <= found.items() and not (later.keys() - own.keys()) & found.keys()

    def _made_by(self, version: int) -> dict[bytes, bytes]:
        """What a file of this version holds: an altered letter in it is no damage to SQLite, and still no table."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            for migrate in self._migrations[:version]:
                migrate(connection)
            return _tables(connection)

    def _ends_within_a_page(self, connection: sqlite3.Connection) -> bool:
        """Whether the last page is not whole, and no log can restore it. SQLite would take the rest for zeros."""
        log = _companions(self.path)[0]
        if log.exists() and log.stat().st_size:
            return False
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        return bool(self.path.stat().st_size % size)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Pragmas, then the missing migrations, each whole or not at all."""
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}").fetchone()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for number, migrate in enumerate(self._migrations[version:], version + 1):
            with transaction(connection):
                connection.execute(f"PRAGMA application_id={_APPLICATION}")
                migrate(connection)
                connection.execute(f"PRAGMA user_version={number}")

    def note(self, said: str) -> None:
        """Keep a sentence for the owner; the latest few are kept."""
        self.notes = [*self.notes[1 - _NOTES :], said]

    def set_aside(self, reason: str) -> None:
        """Rename it with what belongs to it, and say so; it is never deleted. No connection is open. Raises OSError."""
        now = self._now()
        stamp = strftime("%Y%m%dT%H%M%SZ", gmtime(now))
        aside = self.path.with_name(f"{self.path.name}.aside-{stamp}")
        number = 1
        while aside.exists():
            number += 1
            aside = self.path.with_name(f"{self.path.name}.aside-{stamp}-{number}")
        # What is left in place if this is cut off here, SQLite throws away: a log without a database.
        with suppress(FileNotFoundError):
            self.path.rename(aside)
        for mine, other in zip(_companions(self.path), _companions(aside), strict=True):
            with suppress(FileNotFoundError):
                mine.rename(other)
        self.set_aside_at = now
        said = f"{self.path} was set aside as {aside.name}, and a new one begun: {reason}."
        self.note(said)
        self._log.warning("store.set_aside", file=str(self.path), aside=str(aside), reason=reason)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. Raises sqlite3.OperationalError where another process holds the file for too long."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _tables(connection: sqlite3.Connection) -> dict[bytes, bytes]:
    """How each table and index was made; as bytes, since nothing says that it is text."""
    return dict(connection.execute("SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_master WHERE sql NOTNULL"))


def _has_odd_header(path: Path) -> bool:
    """Whether the header names formats that are none: SQLite would take such a file for another's, and wait for ever.

    For when no connection is open: to close the file ends the locks that SQLite has on it.
    """
    with path.open("rb") as file:
        head = file.read(100)
    formats = (head[18:19], head[19:20])  # of a rollback journal, and of a WAL
    odd = not all(b"\1" <= each <= b"\2" for each in formats) or not 0 <= int.from_bytes(head[44:48], "big") <= 4
    return head.startswith(b"SQLite format 3\0") and len(head) == 100 and odd


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file itself is bad, not the disk and not the question."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGE


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _lenient(text: bytes) -> str:
    """A flipped bit in one word must not hide all the others."""
    return text.decode(errors="replace")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
