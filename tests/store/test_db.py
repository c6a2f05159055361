"""The file: one writer, readers beside it, and every way in which a disk or a file can be bad."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_router.store.db import MIGRATIONS, Database

from ..fakes import SilentLog

NEVER_S = 3_600.0


def notes(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY, text TEXT NOT NULL)")


def write(connection, items) -> None:
    connection.executemany("INSERT INTO notes (text) VALUES (?)", [(item,) for item in items])


def texts(connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY n")]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def asides(path: Path) -> list[Path]:
    return sorted(each for each in path.parent.glob(f"{path.name}.aside-*") if not each.name.endswith(("-wal", "-shm")))


class Bench:
    """Databases on one file, closed at the end; time stands still until a test moves it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = SilentLog()
        self.at = 1_790_000_000.0
        self.made: list[Database] = []

    def open(self, migrations=(notes,), **options) -> Database:
        options = {"period_s": NEVER_S, **options}
        made = Database(self.path, log=self.log, now=lambda: self.at, migrations=migrations, **options)
        self.made.append(made)
        made.start()
        return made

    def said(self, event: str) -> list[dict]:
        return [fields for name, fields in self.log.lines if name == event]


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state" / "state.db")
    yield made
    for each in made.made:
        each.close(10)


async def found(db: Database) -> list[str]:
    await db.flush()
    return await db.read(texts, ["nothing could be read"])


# --- writing and reading --------------------------------------------------------------------------------------


async def test_what_is_put_is_there_after_a_flush_in_order(bench) -> None:
    """Batches of one transaction each, and the order of the queue."""
    db = bench.open()
    for number in range(1_234):
        db.put(write, str(number))
    assert await found(db) == [str(number) for number in range(1_234)]
    assert db.problems == []
    assert db.lost == 0


async def test_writes_wait_for_each_other_not_for_the_caller(bench) -> None:
    """Nothing is written before the period is over, unless somebody asks for it: one transaction for all."""
    db = bench.open()
    assert await found(db) == []
    db.put(write, "later")
    assert await db.read(texts, []) == []
    assert await found(db) == ["later"]


async def test_a_period_later_it_is_written_by_itself(bench) -> None:
    """Without a flush the writer wakes up by itself when something was put."""
    written = threading.Event()

    def tell(connection, items) -> None:
        write(connection, items)
        written.set()

    db = bench.open(period_s=0.01)
    db.put(tell, "one")
    assert written.wait(10)
    assert await found(db) == ["one"]


async def test_what_a_source_has_is_asked_for_within_the_period(bench) -> None:
    """Stirred, the writer comes by itself; again as long as the source has something left, and then no more."""
    asked = threading.Semaphore(0)

    class Source:
        left = 0

        def __len__(self) -> int:
            return self.left

        def drain(self, connection: sqlite3.Connection) -> None:
            self.left = max(0, self.left - 1)
            asked.release()

    db, source = bench.open(period_s=0.01), Source()
    await db.flush()
    db.sources.append(source)
    source.left = 3
    db.stir()
    for _ in range(3):
        assert asked.acquire(timeout=10)
    assert not asked.acquire(timeout=0.1)


async def test_reads_run_beside_the_loop_and_cannot_write(bench) -> None:
    """A question has a thread of its own, and a connection that takes no changes."""
    db = bench.open()
    db.put(write, "kept")
    await db.flush()
    here = threading.get_ident()
    assert await db.read(lambda _: threading.get_ident(), here) != here
    assert await db.read(lambda connection: connection.execute("DELETE FROM notes"), "refused") == "refused"
    assert await found(db) == ["kept"]


async def test_what_was_not_started_answers_with_the_default(bench) -> None:
    """A store without a file is no error for whoever asks, and flushing it does not hang."""
    db = Database(bench.path, log=bench.log, now=lambda: 0.0)
    await db.flush()
    assert await db.read(texts, ["default"]) == ["default"]
    assert not bench.path.exists()


async def test_an_item_that_cannot_be_written_costs_only_itself(bench) -> None:
    """What no disk would take (half a character) is counted and said; its batch is written."""
    db = bench.open()
    for item in ("a", "\ud800", "b"):
        db.put(write, item)
    assert await found(db) == ["a", "b"]
    assert db.lost == 1
    assert [line["error"] for line in bench.said("store.unwritable")] == ["UnicodeEncodeError"]


async def test_tidying_follows_a_write_and_knows_how_much_came_in(bench) -> None:
    """The bound of a table is kept in the writer's thread, a bite each time."""
    bites = []
    db = bench.open()
    db.tidy.append(lambda _, written: bites.append((written, threading.current_thread().name)))
    for number in range(7):
        db.put(write, str(number))
    await db.flush()
    await db.flush()
    assert bites == [(7, "store-state")]


# --- the file -------------------------------------------------------------------------------------------------


async def test_the_file_and_what_belongs_to_it_are_for_the_owner_alone(bench) -> None:
    """0600 for -wal and -shm as well, in a directory of 0700, whatever the umask is."""
    before = os.umask(0)
    try:
        db = bench.open()
        db.put(write, "x")
        await db.flush()
    finally:
        os.umask(before)
    files = {each.name: mode(each) for each in bench.path.parent.iterdir()}
    assert files == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert mode(bench.path.parent) == 0o700


async def test_a_file_that_was_open_to_others_is_closed_to_them(bench) -> None:
    """A database of an older version, or copied with a wide umask, is narrowed before it is used."""
    bench.open().close(10)
    bench.path.chmod(0o644)
    db = bench.open()
    await db.flush()
    assert mode(bench.path) == 0o600


async def test_close_writes_all_and_releases_the_file(bench) -> None:
    """A successor finds one whole file, without a log beside it, and may lock it."""
    db = bench.open()
    for number in range(1_000):
        db.put(write, str(number))
    assert await db.read(texts, []) is not None  # a reader's connection is open, too
    assert db.close(10)
    assert [each.name for each in bench.path.parent.iterdir()] == ["state.db"]
    successor = bench.open()
    successor.put(write, "next")
    assert (await found(successor))[-2:] == ["999", "next"]


async def test_a_store_that_was_given_up_can_be_taken_back(bench) -> None:
    """Where a handover fails, the predecessor starts again; what was put meanwhile is written then."""
    db = bench.open()
    assert db.close(10)
    db.put(write, "between")
    assert db.lost == 1
    db.start()
    assert await found(db) == ["between"]
    assert db.lost == 0
    assert db.close(10)
    assert db.close(10)


def test_close_ends_in_time_where_the_disk_hangs(bench) -> None:
    """A writer that hangs is left behind: it is a daemon thread, and the exit does not wait for it."""
    entered, go_on = threading.Event(), threading.Event()

    def hang(connection, items) -> None:
        entered.set()
        go_on.wait(30)

    db = bench.open(period_s=0.0)
    db.put(hang, "x")
    assert entered.wait(10)
    assert db.close(0.01) is False
    go_on.set()
    assert db.close(10)


async def test_a_file_that_is_taken_away_is_begun_anew(bench) -> None:
    """An owner who removes the state directory's content under the daemon loses history, not the future."""
    db = bench.open()
    db.put(write, "old")
    await db.flush()
    for each in list(bench.path.parent.iterdir()):
        each.unlink()
    db.put(write, "new")
    assert await found(db) == ["new"]


async def test_a_link_stays_a_link(bench, tmp_path) -> None:
    """Where the file is a link, the file it leads to is used, and set aside where it is damaged."""
    real = tmp_path / "real.db"
    real.write_bytes(b"garbage, far longer than any header of a database " * 9)
    bench.path.parent.mkdir()
    bench.path.symlink_to(real)
    db = bench.open()
    db.put(write, "x")
    assert await found(db) == ["x"]
    assert bench.path.is_symlink()
    assert len(asides(real)) == 1


def test_the_module_loads_nothing_heavy() -> None:
    """asyncio, aiohttp, keyring and structlog are not needed to import it."""
    program = (
        "import sys, hermes_router.store.db; "
        "print(*sorted({'asyncio', 'aiohttp', 'keyring', 'structlog', 'platformdirs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# --- migrations -----------------------------------------------------------------------------------------------


def second(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE notes ADD COLUMN more TEXT NOT NULL DEFAULT 'none'")


def version(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        number = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return number


async def test_an_empty_file_is_version_0_and_gets_all_migrations(bench) -> None:
    """An empty file is nobody's: it is ours from now on, and not set aside."""
    bench.path.parent.mkdir()
    bench.path.touch()
    db = bench.open((notes, second))
    db.put(write, "x")
    assert await found(db) == ["x"]
    assert db.close(10)
    assert version(bench.path) == 2
    assert asides(bench.path) == []


async def test_an_older_file_gets_the_missing_migrations_and_keeps_its_rows(bench) -> None:
    """From version 1 to 2, with what was written under 1."""
    old = bench.open((notes,))
    old.put(write, "old")
    assert old.close(10)
    db = bench.open((notes, second))
    assert await found(db) == ["old"]
    assert await db.read(lambda c: c.execute("SELECT more FROM notes").fetchall(), []) == [("none",)]


async def test_a_migration_that_is_cut_leaves_the_version_before_it(bench) -> None:
    """Each is whole or not at all, its number included, and it is tried again."""
    bench.open((notes,)).close(10)
    full = [True]

    def cut(connection) -> None:
        second(connection)
        if full[0]:
            raise sqlite3.OperationalError("database or disk is full")

    db = bench.open((notes, cut))
    await db.flush()
    assert "database or disk is full" in db.problems[0]
    assert db.trouble == "database or disk is full"
    assert version(bench.path) == 1
    full[0] = False
    db.put(write, "x")
    assert await found(db) == ["x"]
    assert version(bench.path) == 2


async def test_our_own_migrations_run(bench) -> None:
    """The tables of this version exist once the file is open."""
    db = bench.open(MIGRATIONS)
    await db.flush()
    names = await db.read(lambda c: c.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall(), [])
    assert {"exchanges", "usage_daily"} <= {name for (name,) in names}


# --- files that are not fit ------------------------------------------------------------------------------------


def whole_file(bench: Bench) -> bytes:
    """A file of some 30 pages."""
    db = bench.open()
    for number in range(400):
        db.put(write, f"{number} " * 60)
    assert db.close(10)
    return bench.path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.0001, 0.001, 0.005, 0.03, 0.2, 0.5, 0.77, 0.9, 0.9999])
async def test_a_file_that_was_cut_is_set_aside_and_a_new_one_begun(bench, share) -> None:
    """At whatever byte: never a crash, what is left of it is kept beside, and the owner is told in a sentence."""
    whole = whole_file(bench)
    cut = whole[: int(len(whole) * share)]
    bench.path.write_bytes(cut)
    db = bench.open()
    db.put(write, "new")
    assert (await found(db))[-1] == "new"
    if cut:
        (aside,) = asides(bench.path)
        assert aside.read_bytes() == cut
        assert mode(aside) == 0o600
        assert db.problems[0].startswith(f"{bench.path} was set aside as {aside.name}, and a new one begun: it ")
        assert bench.said("store.set_aside")[0]["aside"] == str(aside)


@pytest.mark.parametrize("at", [0, 18, 100, 4_100, 9_000, 40_000])
async def test_a_file_with_bad_bytes_never_stops_the_store(bench, at) -> None:
    """Flipped bytes in the header, in an inner page or in a row: it goes on, with this file or a new one."""
    bad = bytearray(whole_file(bench))
    bad[at : at + 64] = bytes(byte ^ 0xFF for byte in bad[at : at + 64])
    bench.path.write_bytes(bad)
    db = bench.open()
    db.put(write, "new")
    assert (await found(db))[-1] == "new"


async def test_damage_where_nobody_writes_is_found_at_the_start(bench) -> None:
    """An old page that is gone is told at once, not weeks later in the middle of a question."""
    bad = bytearray(whole_file(bench))
    bad[5 * 4_096 : 6 * 4_096] = bytes(4_096)
    bench.path.write_bytes(bad)
    db = bench.open()
    assert await found(db) == []
    assert len(asides(bench.path)) == 1


async def test_who_does_not_look_at_each_page_finds_damage_in_use(bench) -> None:
    """A file that only has to be quick: opened as it is, set aside at the first bad page, and begun anew."""
    first = bench.open()
    for number in range(2_000):
        first.put(write, f"{number} {'x' * 200}")
    assert first.close(10)
    data = bytearray(bench.path.read_bytes())
    data[8 * 4096 :] = b"\xff" * (len(data) - 8 * 4096)
    bench.path.write_bytes(bytes(data))
    second = bench.open(thorough=False)
    await second.flush()
    assert not bench.said("store.set_aside")
    assert await second.read(texts, ["nothing could be read"]) == ["nothing could be read"]
    second.put(write, "new")
    for _ in range(3):
        await second.flush()
    assert await found(second) == ["new"]
    assert asides(bench.path)


async def test_a_file_that_turns_out_damaged_in_use_is_set_aside_and_nothing_queued_is_lost(bench) -> None:
    """What waits goes into the new file."""
    db = bench.open()
    db.put(write, "old")
    await db.flush()

    def broken(connection, items) -> None:
        if not asides(bench.path):
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        write(connection, items)

    db.put(broken, "x")
    await db.flush()
    assert await found(db) == ["x"]
    assert len(asides(bench.path)) == 1


async def test_damage_that_a_reader_meets_is_seen_to_by_the_writer(bench) -> None:
    """Whoever asks gets the default, and the next answer comes from a new file."""
    db = bench.open()
    db.put(write, "old")
    await db.flush()

    def ask(connection) -> list[str]:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    assert await db.read(ask, ["default"]) == ["default"]
    assert await found(db) == []
    assert len(asides(bench.path)) == 1


async def test_a_disk_that_damages_whatever_is_written_is_not_filled_with_files(bench) -> None:
    """One file set aside in ten minutes; until then it is a disk that takes nothing."""

    def broken(connection, items) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    db = bench.open()
    db.put(broken, "x")
    for _ in range(6):
        await db.flush()
    assert len(asides(bench.path)) == 1
    assert "damaged again" in db.problems[-1]
    bench.at += 601.0
    for _ in range(3):
        await db.flush()
    assert len(asides(bench.path)) == 2


async def test_a_database_of_another_program_is_set_aside_untouched(bench) -> None:
    """It is not ours to change: its rows are in the file beside."""
    bench.path.parent.mkdir()
    with sqlite3.connect(bench.path) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.execute("INSERT INTO theirs VALUES (1)")
    other.close()
    db = bench.open()
    db.put(write, "ours")
    assert await found(db) == ["ours"]
    (aside,) = asides(bench.path)
    theirs = sqlite3.connect(aside)
    assert theirs.execute("SELECT a FROM theirs").fetchall() == [(1,)]
    theirs.close()
    assert "another program" in db.problems[0]


async def test_a_newer_file_is_set_aside_twice_in_a_second_under_two_names(bench) -> None:
    """An older version does not touch what a newer one wrote, and nothing is overwritten by setting aside."""
    for text in ("one", "two"):
        newer = bench.open((notes, second))
        newer.put(write, text)
        assert newer.close(10)
        db = bench.open((notes,))
        assert await found(db) == []
        assert "newer" in db.problems[0]
        assert db.close(10)
    assert len(asides(bench.path)) == 2


async def test_something_else_in_its_place_is_said_not_fought(bench) -> None:
    """A directory where the file should be: everything goes on without it, and starts when it is gone."""
    bench.path.mkdir(parents=True)
    db = bench.open()
    db.put(write, "x")
    await db.flush()
    assert db.problems == [f"{bench.path} cannot be written ({bench.path} is no file): 1 records wait, 0 lost."]
    bench.path.rmdir()
    assert await found(db) == ["x"]
    assert db.problems == []
    assert not db.trouble


# --- a full disk ----------------------------------------------------------------------------------------------


class Disk:
    """A disk with room or without: SQLite itself refuses to grow the file."""

    full = True

    def write(self, connection, items) -> None:
        connection.execute(f"PRAGMA max_page_count={1 if self.full else 1_000_000}").fetchone()
        connection.executemany("INSERT INTO notes (text) VALUES (?)", [(item + "x" * 40_000,) for item in items])


async def test_a_full_disk_costs_nothing_until_the_queue_is_full(bench) -> None:
    """What waits is written when there is room again, in order; the rest is counted; it is said once, and more is not."""
    disk = Disk()
    play = disk.write
    db = bench.open(bound=5)
    for number in range(7):
        db.put(play, str(number))
    await db.flush()
    for _ in range(5):
        bench.at += 10.0
        await db.flush()
    assert db.lost == 2
    assert len(bench.said("store.failing")) == 1
    assert "disk is full" in bench.said("store.failing")[0]["reason"]
    assert "5 records wait, 2 lost" in db.problems[0]
    bench.at += 10.0
    await db.flush()
    assert len(bench.said("store.failing")) == 1
    db.put(play, "7")
    await db.flush()
    assert [each["lost"] for each in bench.said("store.failing")] == [2, 3]
    disk.full = False
    assert [text[0] for text in await found(db)] == ["0", "1", "2", "3", "4"]
    assert bench.said("store.recovered") == [{"file": str(bench.path), "lost": 3}]
    assert db.problems == ["3 records of usage were lost since the start."]


async def test_a_disk_that_stays_full_is_tried_ever_more_rarely(bench) -> None:
    """Ten thousand rows that cannot be written must not cost a core."""
    disk = Disk()
    play = disk.write
    db = bench.open(period_s=1.0)
    db.put(play, "x")
    for _ in range(8):
        await db.flush()
    assert db._delay_s == 30.0
    disk.full = False
    await db.flush()
    assert db._delay_s == 1.0


async def test_close_on_a_full_disk_says_what_was_not_written(bench) -> None:
    """It ends, and owns up to it."""
    disk = Disk()
    db = bench.open()
    play = disk.write
    db.put(play, "x")
    assert db.close(10) is False
    assert db.lost == 1


async def test_what_a_full_disk_did_not_take_can_be_given_to_another(bench) -> None:
    """After a close that did not write all, the items of one kind in order; those of others wait on."""
    disk = Disk()
    play, others = disk.write, Disk().write
    db = bench.open()
    for number in range(3):
        db.put(play, str(number))
        db.put(others, "x")
    assert db.close(10) is False
    assert db.withdraw(play) == ["0", "1", "2"]
    assert db.withdraw(play) == []
    assert db.lost == 3


async def test_a_half_written_batch_is_not_written_twice(bench) -> None:
    """A transaction that the disk cut is taken back whole before it is tried again."""
    failures = [2]

    def cut(connection, items) -> None:
        write(connection, items)
        if failures[0]:
            failures[0] -= 1
            raise sqlite3.OperationalError("disk I/O error")

    db = bench.open()
    for item in ("a", "b", "c"):
        db.put(cut, item)
    for _ in range(3):
        await db.flush()
    assert await found(db) == ["a", "b", "c"]


# --- kill -9 --------------------------------------------------------------------------------------------------

_WRITER = """
import asyncio, sys
from pathlib import Path
from hermes_router.store.db import Database
def notes(c): c.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY, text TEXT NOT NULL)")
def write(c, items): c.executemany("INSERT INTO notes (text) VALUES (?)", [(i,) for i in items])
class Log:
    def info(self, *a, **k): pass
    warning = info
async def main():
    db = Database(Path(sys.argv[1]), log=Log(), now=lambda: 0.0, migrations=[notes])
    db.start()
    number = 0
    while True:
        for _ in range(97):
            db.put(write, str(number))
            number += 1
        await db.flush()
        print(number, flush=True)
asyncio.run(main())
"""


def kill_a_writer_of(path: Path, lines: int) -> int:
    """Kill -9 a process that writes, once it has told `lines` times how many were flushed; the last number told."""
    told = 0
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            told = int(writer.stdout.readline())
        writer.kill()
    return told


@pytest.mark.parametrize("lines", [0, 1, 7, 40])
async def test_kill_9_of_a_writing_process_loses_nothing_that_was_flushed(bench, lines) -> None:
    """Killed at any point, the file is whole, and holds a gapless beginning with all that was told to be written."""
    told = kill_a_writer_of(bench.path, lines)
    db = bench.open()
    there = await found(db)
    assert there == [str(number) for number in range(len(there))]
    assert len(there) >= told
    assert asides(bench.path) == []
    db.put(write, "after")
    assert (await found(db))[-1] == "after"
