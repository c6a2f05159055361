"""The ledger's rows: the latest of each, whole after a kill, and none that was altered."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_router.core.records import LedgerRow
from hermes_router.store.db import Database
from hermes_router.store.state import TIDY_S, LedgerStore

from ..fakes import SilentLog

NOW = 1_790_000_000.0
NEVER_S = 3_600.0


def row(key: str, value: object = 1, kind: str = "meter", until: float = NOW + 1e6) -> LedgerRow:
    return LedgerRow(kind, key, value, NOW, until)


class Bench:
    """Stores on one file, each a life of its own; time stands still until a test moves it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = SilentLog()
        self.at = NOW
        self.anew = 0
        self.made: list[Database] = []

    def store(self) -> LedgerStore:
        """One that may be read from, and is not begun."""
        self.made.append(Database(self.path, log=self.log, now=lambda: self.at, period_s=NEVER_S))
        return LedgerStore(self.made[-1], log=self.log, now=lambda: self.at, anew=self.begun_anew)

    def begun_anew(self) -> None:
        self.anew += 1

    def open(self) -> LedgerStore:
        store = self.store()
        self.db = self.made[-1]
        self.db.start()
        return store

    def read(self) -> dict[str, object] | None:
        """What another life finds."""
        rows = self.store().load()
        return None if rows is None else {each.key: each.value for each in rows}

    def said(self, event: str) -> list[dict]:
        return [fields for name, fields in self.log.lines if name == event]

    def end(self) -> None:
        for each in self.made:
            each.close(10)


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state" / "state.db")
    yield made
    made.end()


# --- writing and reading ------------------------------------------------------------------------------------------


async def test_the_latest_of_each_row_is_read_back(bench) -> None:
    """What came later replaces what came before, in the queue as in the file; what is forgotten is gone."""
    store = bench.open()
    store.put([row("a", {"used": 1}), row("b", [1, None, "ü"]), row("c")])
    store.put([row("a", {"used": 2})])
    assert len(store) == 3
    await bench.db.flush()
    assert len(store) == 0
    store.put([row("c", None), row("d", None)])
    await bench.db.flush()
    assert bench.read() == {"a": {"used": 2}, "b": [1, None, "ü"]}


async def test_a_row_comes_back_with_its_instants(bench) -> None:
    """When it was so, and until when it means anything."""
    store = bench.open()
    put = [LedgerRow("cell", "k", {"x": 0.5}, 1_790_000_000.123456, 1_790_000_777.7)]
    store.put(put)
    await bench.db.flush()
    assert bench.store().load() == put


async def test_all_that_there_is_replaces_all_that_there_was(bench) -> None:
    """Rows that a life no longer knows do not outlive it."""
    store = bench.open()
    store.put([row("a"), row("b")])
    await bench.db.flush()
    bench.at += 60
    since = bench.at
    store.put([row("b", 2)._replace(at=bench.at)])
    await bench.db.flush()
    assert bench.read() == {"a": 1, "b": 2}  # cut off here, nothing is lost
    bench.at += 1
    store.put([row("c", 3)._replace(at=bench.at), row("later")._replace(at=bench.at + 7_000)], since=since)
    await bench.db.flush()
    assert bench.read() == {"b": 2, "c": 3}
    bench.at += 1
    store.put([], since=bench.at)
    await bench.db.flush()
    assert bench.read() == {}


async def test_what_is_put_is_written_at_once(bench) -> None:
    """The writer does not wait for its own second: whoever put it has waited already."""
    store = bench.open()
    await bench.db.flush()
    store.put([row("a")])
    found = None
    for _ in range(2_000):
        found = await bench.db.read(lambda c: c.execute("SELECT key FROM ledger WHERE kind = 'meter'").fetchone(), None)
        if found:
            break
    assert found == ("a",)


async def test_nothing_put_writes_nothing(bench) -> None:
    """An idle ledger wakes no disk."""
    store = bench.open()
    store.put([row("a")])
    await bench.db.flush()
    log = bench.path.with_name("state.db-wal")
    before = log.stat().st_mtime_ns, log.stat().st_size
    store.put([])
    await bench.db.flush()
    assert (log.stat().st_mtime_ns, log.stat().st_size) == before


async def test_what_cannot_be_written_costs_only_itself(bench) -> None:
    """Half a character in a name, a value that is no JSON: the other rows are written, the writer lives."""
    store = bench.open()
    store.put([row("a"), row("\ud800"), row("b", "\ud800"), row("c", object()), row("\udfff", None), row("d")])
    await bench.db.flush()
    assert bench.read() == {"a": 1, "d": 1}
    assert len(bench.said("store.unwritable")) == 3


async def test_what_means_nothing_any_more_is_removed(bench) -> None:
    """Once an hour, with whatever is written then."""
    store = bench.open()
    store.put([row("a"), row("b", until=NOW + 10)])
    await bench.db.flush()
    for later in (11.0, TIDY_S + 1):
        bench.at = NOW + later
        store.put([row("c", later)])
        await bench.db.flush()
        assert ("b" in (bench.read() or {})) is (later == 11.0)


# --- a file that is not the one it was ----------------------------------------------------------------------------


def test_there_is_nothing_before_the_first_life(bench) -> None:
    """No file: nothing is read, and nothing is said."""
    assert bench.read() is None
    assert bench.log.lines == []


async def test_a_new_file_is_asked_to_be_filled(bench) -> None:
    """Begun, or begun anew because it was taken away: whoever knows all of it hears of that once."""
    store = bench.open()
    store.put([row("a")])
    await bench.db.flush()
    assert bench.anew == 1
    store.put([row("b")])
    await bench.db.flush()
    assert bench.anew == 1
    bench.path.unlink()
    store.put([row("c")])
    await bench.db.flush()
    assert bench.anew == 2
    store.put([row("a"), row("b"), row("c")], since=NOW)
    await bench.db.flush()
    assert (bench.read(), bench.anew) == ({"a": 1, "b": 1, "c": 1}, 2)


@pytest.mark.parametrize("pragma", ["application_id = 7", "user_version = 999"])
async def test_a_file_that_is_not_ours_to_read_is_left_to_the_writer(bench, pragma) -> None:
    """Another program's, or a newer version's: nothing is taken out of it, and it is set aside once, with a warning."""
    store = bench.open()
    store.put([row("a")])
    await bench.db.flush()
    bench.end()
    with closing(sqlite3.connect(bench.path)) as connection:
        connection.execute(f"PRAGMA {pragma}")
    assert bench.read() is None
    assert bench.said("ledger.skipped") == []
    store = bench.open()
    store.put([row("b")])
    await bench.db.flush()
    assert bench.read() == {"b": 1}
    assert len(bench.said("store.set_aside")) == 1


def test_a_file_of_an_older_version_has_no_rows(bench) -> None:
    """The table comes with the first write."""
    bench.path.parent.mkdir()
    with closing(sqlite3.connect(bench.path)) as connection:
        connection.executescript(f"PRAGMA application_id = {0x48525354}; PRAGMA user_version = 1; CREATE TABLE x (y)")
    assert bench.read() is None


def filled(path: Path) -> Path:
    """A closed file with sixty rows."""
    bench = Bench(path)
    store = bench.open()
    store.put([row(f"key {n:03d}", {"used": n, "limit": 1_000 + n}) for n in range(60)])
    assert bench.db.close(10)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return filled(tmp_path_factory.mktemp("sound") / "state.db")


@settings(max_examples=150)
@given(st.integers(0, 65_535), st.integers(0, 255))
def test_any_byte_may_be_another_and_any_end_be_missing(tmp_path_factory, sound: Path, at: int, flip: int) -> None:
    """Whatever is read was written so, the rest is left out with one warning that names the file, and it serves on."""
    written = sound.read_bytes()
    at %= len(written)
    harmed = written[:at] + (bytes([written[at] ^ flip]) + written[at + 1 :] if flip else b"")
    bench = Bench(tmp_path_factory.mktemp("harmed") / "state.db")
    bench.path.write_bytes(harmed)
    store = bench.store()
    for each in store.load() or ():
        number = int(each.key.removeprefix("key "))
        assert each == row(f"key {number:03d}", {"used": number, "limit": 1_000 + number})
    bench.at += 1
    store.put([row("new")._replace(at=bench.at)], since=bench.at)
    bench.made[-1].start()
    assert bench.made[-1].close(10)
    assert bench.read() == {"new": 1}
    assert len(bench.log.lines) <= 1
    assert all(fields["file"] == str(bench.path) for _, fields in bench.log.lines)
    shutil.rmtree(bench.path.parent)


@pytest.mark.parametrize("at", [18, 19, 47, 63, "usage_daily", "ledger ("])
def test_an_altered_header_or_table_is_damage(bench, at: int | str) -> None:
    """SQLite would say read-only, no such table or a table too many for ever: the file is set aside, and a new one begun."""
    written = bytearray(filled(bench.path).read_bytes())
    place = written.index(at.encode()) if isinstance(at, str) else at
    written[place] ^= 1 if place == 63 else 0x84
    bench.path.write_bytes(written)
    store = bench.open()
    store.put([row("new")])
    assert bench.db.close(10)
    assert bench.read() == {"new": 1}
    assert [name for name, _ in bench.log.lines] == ["store.set_aside"]


@pytest.mark.parametrize(
    "change",
    [
        "value = replace(value, '\"used\":7', '\"used\":8')",
        "key = 'key x' || key",
        "at = at + 1",
        "until = until + 0.5",
        "mark = mark + 1",
        "value = x'00ff'",
        "value = '{'",
        "mark = 'x'",
        "at = 'soon'",
    ],
)
def test_an_altered_row_is_left_out_and_said(bench, change: str) -> None:
    """Each column is proved by the mark; the warning says how many, the problem is seen in the status."""
    filled(bench.path)
    with closing(sqlite3.connect(bench.path)) as connection:
        connection.execute(f"UPDATE ledger SET {change} WHERE key = 'key 007'")
        connection.commit()
    store = bench.store()
    found = store.load()
    assert found is not None
    assert {each.key for each in found} == {f"key {n:03d}" for n in range(60) if n != 7}
    for _ in range(2):
        store.put([row("new")])
        bench.made[-1].start()
        assert bench.made[-1].close(10)
    assert [(fields["file"], fields["rows"]) for fields in bench.said("ledger.skipped")] == [(str(bench.path), 1)]
    assert "1 altered rows" in bench.made[-1].problems[0]


# --- a disk that takes nothing ------------------------------------------------------------------------------------


@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of 2 MB."""
    place = Path(f"/tmp/hr-disk-{os.getpid()}")
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        place.rmdir()
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


async def test_a_full_disk_is_said_once_and_made_up_for(small) -> None:
    """A real one: rows wait, no more than one for each record, and are written when there is room; so it is said."""
    bench = Bench(small / "state.db")
    store = bench.open()
    store.put([row("a", 0)])
    await bench.db.flush()
    filler = small / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4_096)
    big = "x" * 3_000
    for number in range(40):
        store.put([row("a", number), *[row(f"b{n}", [big, number]) for n in range(30)]])
        await bench.db.flush()
        bench.at += 40
    assert len(store) == 31
    assert len(bench.said("store.failing")) == 1
    assert "cannot be written" in bench.db.problems[0]
    assert "31 records wait, 0 lost" in bench.db.problems[0]
    assert bench.read() == {"a": 0}  # another life could read it meanwhile
    filler.unlink()
    await bench.db.flush()
    assert len(store) == 0
    assert len(bench.said("store.recovered")) == 1
    assert bench.db.problems == []
    assert (bench.read() or {})["b7"] == [big, 39]
    bench.end()


async def test_what_could_not_be_written_is_overtaken_by_what_came_later(bench, monkeypatch) -> None:
    """A write that fails gives its rows back, but none that is newer by now; what was to be removed still is."""
    store = bench.open()
    store.put([row("old")])
    await bench.db.flush()
    bench.at += 60
    real = LedgerStore._write
    full = [True]

    def write(self, connection, rows, since) -> None:
        real(self, connection, rows, since)
        if full[0]:
            store.put([row("a", "newer")._replace(at=bench.at)])
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(LedgerStore, "_write", write)
    store.put([row("a", "older"), row("b")._replace(at=bench.at)], since=bench.at)
    await bench.db.flush()
    assert bench.read() == {"old": 1}
    full[0] = False
    await bench.db.flush()
    assert bench.read() == {"a": "newer", "b": 1}


# --- kill -9 ------------------------------------------------------------------------------------------------------

_WRITER = """
import asyncio, sys
from pathlib import Path
from hermes_router.core.records import LedgerRow
from hermes_router.store.db import Database
from hermes_router.store.state import LedgerStore
class Log:
    def info(self, *a, **k): pass
    warning = info
async def main():
    db = Database(Path(sys.argv[1]), log=Log(), now=lambda: 1790000000.0)
    store = LedgerStore(db, log=Log(), now=lambda: 1790000000.0, anew=lambda: None)
    db.start()
    number = 0
    while True:
        number += 1
        store.put([LedgerRow("meter", f"k{n}", number, 1790000000.0, 1800000000.0) for n in range(50)])
        await db.flush()
        print(number, flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 14, 40])
def test_kill_9_leaves_rows_of_one_moment(bench, lines) -> None:
    """What was flushed is there, whole, and what was written together is there together."""
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(bench.path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        told = max(int(writer.stdout.readline()) for _ in range(lines))
        writer.kill()
    found = bench.read()
    assert found is not None
    assert len(found) == 50
    (number,) = set(found.values())
    assert number >= told
