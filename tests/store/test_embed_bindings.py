"""Bindings on the disk: there when the answer goes out, after a kill too, and read without the rest of the file."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import EmbedBinding
from hermes_router.store.db import MIGRATIONS, Database
from hermes_router.store.embed_bindings import EmbedBindingStore

from ..fakes import SilentLog

NOW = 1_790_000_000.0


def binding(key: str = "k", profile: str = "main", provider: str = "a", size: int = 3) -> EmbedBinding:
    return EmbedBinding(RouterKeyId(key), profile, provider, "vec", size, NOW)


class Bench:
    """Stores on one file, each a life of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = SilentLog()
        self.made: list[Database] = []

    def store(self, *, starts: bool = True) -> EmbedBindingStore:
        self.made.append(Database(self.path, log=self.log, now=lambda: NOW))
        store = EmbedBindingStore(self.made[-1])
        if starts:
            self.made[-1].start()
        return store

    def read(self) -> list[EmbedBinding]:
        """What another life finds."""
        return sorted(self.store(starts=False).load())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path / "state.db")
    yield found
    for db in found.made:
        db.close(5.0)


async def test_what_is_kept_is_on_the_disk(bench) -> None:
    """At once, whatever else is still under way; another row of the same place takes its place."""
    store = bench.store()
    assert await store.keep(binding())
    assert bench.read() == [binding()]
    assert await store.keep(binding("k", "local"))
    assert await store.keep(binding(provider="b"))
    assert bench.read() == [binding("k", "local"), binding(provider="b")]
    assert len(store) == 0


async def test_what_is_dropped_is_gone(bench) -> None:
    """And nothing else."""
    store = bench.store()
    await store.keep(binding())
    await store.keep(binding("k2"))
    assert await store.drop([binding()])
    assert bench.read() == [binding("k2")]


def test_a_kill_costs_nothing_that_was_kept(bench) -> None:
    """`kill -9` in the step after it."""
    script = f"""
import asyncio, os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.store.test_embed_bindings import Bench, binding
from pathlib import Path
async def main():
    assert await Bench(Path({str(bench.path)!r})).store().keep(binding())
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), check=False, timeout=60)
    assert done.returncode == -9
    assert bench.read() == [binding()]


async def test_a_disk_that_takes_nothing_is_said_and_tried_again(bench) -> None:
    """It is kept for later, and a change that must be on the disk does not happen."""
    store = bench.store()
    await store.keep(binding())
    db = bench.made[-1]
    db._file.open, opens = _full, db._file.open
    db._stumbled(OSError(28, "No space left on device"))
    assert not await store.keep(binding("k2"))
    assert not await store.drop([binding()])
    assert len(store) == 2
    db._file.open = opens
    await db.flush()
    assert len(store) == 0
    assert bench.read() == [binding(), binding("k2")]


def _full() -> sqlite3.Connection:
    raise OSError(28, "No space left on device")


async def test_a_file_that_is_begun_anew_gets_all_of_them(bench) -> None:
    """Also those that an earlier life wrote, whoever took the file away."""
    first = bench.store()
    await first.keep(binding())
    bench.made[-1].close(5.0)
    store = bench.store(starts=False)
    assert store.load() == [binding()]
    for path in bench.path.parent.glob("state.db*"):
        path.unlink()
    bench.made[-1].start()
    await bench.made[-1].flush()
    assert bench.read() == [binding()]


def test_nothing_to_read_is_nothing(bench) -> None:
    """No file, one of before this table, one that is none: none of them is raised."""
    assert bench.read() == []
    db = Database(bench.path, log=bench.log, now=lambda: NOW, migrations=MIGRATIONS[:2])
    db.start()
    db.close(5.0)
    assert bench.read() == []
    bench.path.write_bytes(b"not a database" * 100)
    assert bench.read() == []


async def test_a_row_that_makes_no_sense_is_left_out(bench) -> None:
    """The others count."""
    store = bench.store()
    await store.keep(binding())
    bench.made[-1].close(5.0)
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as raw:
        raw.execute("INSERT INTO embed_bindings VALUES ('x', 'main', 'a', 'vec', -3, 1.0)")
        raw.execute("INSERT INTO embed_bindings VALUES ('y', 'main', 'a', x'ff', 3, 1.0)")
    assert bench.read() == [binding()]


async def test_a_length_that_is_not_known_yet_is_kept(bench) -> None:
    """Of a key whose first request asked for shorter vectors."""
    await bench.store().keep(binding(size=0))
    assert bench.read() == [binding(size=0)]
