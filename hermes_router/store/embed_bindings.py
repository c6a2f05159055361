"""The bindings of router keys to embedding models, in the state file: a row each.

Owns the rows of `embed_bindings` and those that wait to be written. It must never decide what is bound, and never make
the loop wait.
"""

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, Final

from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import EmbedBinding
from hermes_router.store.db import Database, Unavailable
from hermes_router.store.db_file import transaction

__all__ = ["EmbedBindingStore"]

_WAIT_S: Final = 5.0  # for the disk; a caller waits for its first vector as long
_PUT: Final = (
    "INSERT OR REPLACE INTO embed_bindings (router_key, profile, provider, model, dimensions, bound_at) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_DROP: Final = "DELETE FROM embed_bindings WHERE router_key = ? AND profile = ?"
_READ: Final = "SELECT router_key, profile, provider, model, dimensions, bound_at FROM embed_bindings"
_Place = tuple[str, str]


class EmbedBindingStore:
    """A BindingStore, and a Source of `db`. What the disk does not take waits, and is tried again."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._rows: dict[_Place, EmbedBinding] = {}
        self._waiting: dict[_Place, EmbedBinding | None] = {}  # None = to be removed
        self._written_to: sqlite3.Connection | None = None
        db.sources.append(self)

    def __len__(self) -> int:
        return len(self._waiting)

    # -- before the writer begins, in any thread -------------------------------------------------------

    def load(self) -> list[EmbedBinding]:
        """All rows; none where nothing can be read, of which the writer will say why. It blocks, and never raises."""
        try:
            found = self._db.peek(_read)
        except Unavailable:
            found = []
        with self._lock:
            self._rows = {(row.key_id, row.profile): row for row in found}
        return found

    # -- from the loop ---------------------------------------------------------------------------------

    async def keep(self, binding: EmbedBinding) -> bool:
        """Write it; whether it is on the disk. What is not waits for a disk that takes it."""
        place = (binding.key_id, binding.profile)
        with self._lock:
            self._rows[place] = self._waiting[place] = binding
        await self._write()
        return self._waiting.get(place) is not binding

    async def drop(self, gone: Sequence[EmbedBinding]) -> bool:
        """Remove these; whether the disk has. If not, they stand as they stood."""
        places: dict[_Place, EmbedBinding] = {(one.key_id, one.profile): one for one in gone}
        with self._lock:
            for place in places:
                self._rows.pop(place, None)
                self._waiting[place] = None
        await self._write()
        with self._lock:
            failed = any(self._waiting.get(place, gone) is None for place in places)
            if failed:
                self._rows |= places
                self._waiting.update(places)
        return not failed

    async def _write(self) -> None:
        self._db.nudge()
        await self._db.flush(_WAIT_S)

    # -- in the writer's thread ------------------------------------------------------------------------

    def drain(self, connection: sqlite3.Connection) -> None:
        """Write what waits, and into a file that is begun anew all that there is. Raises sqlite3.Error."""
        with self._lock:
            rows: dict[_Place, EmbedBinding | None] = dict(self._waiting)
            if connection is not self._written_to:
                rows = {**self._rows, **rows}
        if rows:
            # NORMAL does not outlive a power cut: a vector that left must not come from a model that is forgotten.
            connection.execute("PRAGMA synchronous=FULL")
            try:
                with transaction(connection):
                    connection.executemany(_DROP, [place for place, row in rows.items() if row is None])
                    connection.executemany(_PUT, [row for row in rows.values() if row is not None])
            finally:
                connection.execute("PRAGMA synchronous=NORMAL")
        self._written_to = connection
        with self._lock:
            for place, row in rows.items():
                if place in self._waiting and self._waiting[place] is row:
                    del self._waiting[place]


def _read(connection: sqlite3.Connection) -> list[EmbedBinding]:
    try:
        rows = connection.execute(_READ).fetchall()
    except sqlite3.OperationalError:  # a file of before this table
        return []
    return [binding for row in rows if (binding := _sound(row)) is not None]


def _sound(row: tuple[Any, ...]) -> EmbedBinding | None:
    match row:
        case (str(key), str(profile), str(provider), str(model), int(dimensions), float(at)) if dimensions >= 0:
            return EmbedBinding(RouterKeyId(key), profile, provider, model, dimensions, at)
    return None
