"""hermes_router/store/responses.py: found by index, bounded and fair, erased for good, whatever its file has been through."""

import asyncio
import os
import sqlite3
import stat
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest

from hermes_router.core.kept import KeptResponse
from hermes_router.store import responses
from hermes_router.store.responses import MIGRATIONS, ResponseStore

from ..fakes import Clock, SilentLog

DAY_S = 86_400.0
MB = 1024 * 1024
EMPTY = zlib.compress(b"")


def name(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


class House:
    """Stores on one file, one after the other or beside each other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.log = SilentLog()
        self.stores: list[ResponseStore] = []

    def open(self, *, file_bytes: int = responses.FILE_BYTES) -> ResponseStore:
        self.stores.append(ResponseStore(self.path, log=self.log, now=self.clock.now, file_bytes=file_bytes))
        self.stores[-1].start()
        return self.stores[-1]

    def turn(
        self, ident: str, before: str = "", root: str = "", *, holder: str = "rk", said: bytes = b"{}"
    ) -> KeptResponse:
        """A turn of today; `said` is its input."""
        until = self.clock.now() + DAY_S
        parent = name(before) if before else b""
        return KeptResponse(
            name(ident), parent, name(root or before or ident), holder, "digest", said, b'{"o":1}', b'{"id":1}', until
        )

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)

    def count(self, table: str = "responses") -> int:
        with closing(self.connect()) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def size(self) -> int:
        """Of all files."""
        return sum(each.stat().st_size for each in self.path.parent.iterdir())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path / "state" / "responses.db")
    yield made
    for each in made.stores:
        await asyncio.to_thread(each.close, 5.0)


async def test_a_conversation_comes_back_whole_after_another_start(house: House) -> None:
    """All that was put is found by its name, with the turns before it, the latest first; at most as many as asked for."""
    store = house.open()
    turns = [house.turn("a", said=b'"\xc3\xa4"'), house.turn("b", "a"), house.turn("c", "b", "a")]
    for each in turns:
        store.put(each)
    assert list(await store.load(name("c"), turns=9)) == [turns[2]]  # it waits: its parent is asked for next
    await store.flush()
    bare = [each._replace(response=b"") for each in turns]
    assert list(await store.load(name("c"), turns=9)) == bare[::-1]
    assert await asyncio.to_thread(store.close, 5.0)
    again = house.open()
    assert list(await again.load(name("c"), turns=9)) == bare[::-1]
    assert list(await again.load(name("c"), turns=2)) == bare[:0:-1]
    assert await again.find(name("b")) == turns[1]
    assert await again.find(name("nothing")) is None
    assert list(await again.load(name("nothing"), turns=9)) == []
    assert stat.S_IMODE(house.path.stat().st_mode) == 0o600


async def test_a_look_up_waits_for_a_file_that_is_being_opened(house: House) -> None:
    """The first question after a start is not answered by `unknown` because the writer has not come to it yet."""
    store = house.open()
    store.put(house.turn("a"))
    await asyncio.to_thread(store.close, 5.0)
    for _ in range(5):
        again = house.open()
        assert await again.load(name("a"), turns=1)
        await asyncio.to_thread(again.close, 5.0)


async def test_nothing_is_found_before_the_start(house: House) -> None:
    """A store that nobody started has nothing, and says so at once."""
    store = ResponseStore(house.path, log=house.log, now=house.clock.now)
    assert list(await store.load(name("a"), turns=1)) == []
    assert store.close(1.0)


async def test_a_conversation_is_kept_as_long_as_its_latest_turn(house: House) -> None:
    """The first turn of one that goes on outlives its own day; then all of it is over, and erased."""
    store = house.open()
    store.put(house.turn("a"))
    house.clock.advance(DAY_S - 1)
    store.put(house.turn("b", "a"))
    await store.flush()
    house.clock.advance(DAY_S - 1)
    assert len(await store.load(name("b"), turns=9)) == 2
    house.clock.advance(2)
    assert not await store.load(name("b"), turns=9)
    store.tidy(everything=False)
    await store.flush()
    assert [house.count(table) for table in ("responses", "conversations", "holders")] == [0, 0, 0]


async def test_what_is_over_goes_in_bites(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction erases more than a bite, and the writer comes again for the rest."""
    monkeypatch.setattr(responses, "_BITE", 10)
    store = house.open()
    for number in range(35):
        store.put(house.turn(f"t{number}", "t0" if number % 7 else "", f"t{number - number % 7}"))
    await store.flush()
    house.clock.advance(DAY_S + 1)
    store.tidy(everything=False)
    for left in (25, 15, 5, 0):
        await store.flush()
        assert house.count() == left
        assert len(store) == (left > 0)


async def test_all_is_erased_where_nothing_is_to_be_kept(house: House) -> None:
    """Also what waits to be written."""
    store = house.open()
    store.put(house.turn("a"))
    await store.flush()
    store.put(house.turn("b", "a"))
    store.tidy(everything=True)
    assert not await store.load(name("b"), turns=1)
    await store.flush()
    assert house.count() == 0


async def test_an_erased_turn_is_gone_from_the_disk(house: House) -> None:
    """Its words are not in the file any more, nor is it found; what builds on it ends there."""
    store = house.open()
    secret = os.urandom(40_000)
    store.put(house.turn("a", said=secret))
    store.put(house.turn("b", "a"))
    await store.flush()
    await store.erase(name("a"))
    assert not await store.load(name("a"), turns=1)
    assert [each.name for each in await store.load(name("b"), turns=9)] == [name("b")]
    await asyncio.to_thread(store.close, 5.0)
    left = b"".join(each.read_bytes() for each in house.path.parent.iterdir())
    assert secret[100:200] not in left
    assert secret[30_000:30_100] not in left


async def test_what_waits_can_be_erased(house: House) -> None:
    """A turn that was put a moment ago, and one that is erased while its child is loaded."""
    store = house.open()
    store.put(house.turn("a"))
    await store.erase(name("a"))
    store.put(house.turn("b"))
    store.put(house.turn("c", "b"))
    await store.flush()
    erasing = asyncio.ensure_future(store.erase(name("b")))
    await asyncio.sleep(0)
    assert [each.name for each in await store.load(name("c"), turns=9)] == [name("c")]
    await erasing
    assert house.count() == 1


async def test_the_same_name_again_takes_the_place_of_the_old(house: House) -> None:
    """A provider that gives an id twice: the later answer counts."""
    store = house.open()
    store.put(house.turn("a", said=b"old"))
    await store.flush()
    store.put(house.turn("a", said=b"new"))
    await store.flush()
    assert [each.input for each in await store.load(name("a"), turns=9)] == [b"new"]
    assert [house.count(table) for table in ("responses", "conversations", "holders")] == [1, 1, 1]


@pytest.mark.parametrize("compressible", [True, False])
async def test_the_files_never_pass_their_bound(house: House, compressible: bool) -> None:
    """Whatever is put, the file with its log stays within the bound, and what was put last is there."""
    store = house.open(file_bytes=4 * MB)
    for number in range(300):
        said = b"x" * 100_000 if compressible else os.urandom(100_000)
        store.put(house.turn(f"t{number}", said=said))
        if number % 20 == 19:
            await store.flush()
            assert house.size() <= 4 * MB + 6 * MB  # the log: 4 MB, and a transaction's
        house.clock.advance(1)
    assert await store.load(name("t299"), turns=1)
    kept = [number for number in range(300) if await store.load(name(f"t{number}"), turns=1)]
    assert kept == list(range(kept[0], 300))
    assert (len(kept) < 60) == (not compressible)


async def test_the_whole_stays_below_64_mb(house: House) -> None:
    """At its real bounds: more than fits, in turns of the largest size."""
    store = house.open()
    blob = os.urandom(8 * MB - 1_000)
    for number in range(9):
        store.put(house.turn(f"t{number}", said=blob[number:]))
        await store.flush()
        assert house.size() <= 64 * MB
        house.clock.advance(1)
    assert await store.load(name("t8"), turns=1)


async def test_one_keys_flood_costs_nobody_else_the_last_turn(house: House) -> None:
    """Whoever holds most gives way: the flood's own older conversations, and never another key's only one."""
    store = house.open(file_bytes=2 * MB)
    quiet = [f"quiet{number}" for number in range(5)]
    for holder in quiet:
        store.put(house.turn(holder, holder=holder, said=os.urandom(50_000)))
        house.clock.advance(1)
    store.put(house.turn("big", holder="big", said=os.urandom(900_000)))
    for number in range(200):
        house.clock.advance(1)
        store.put(house.turn(f"flood{number}", holder="flood", said=os.urandom(40_000)))
        await store.flush()
    for holder in (*quiet, "big", "flood199"):
        assert await store.load(name(holder), turns=1), holder
    assert not await store.load(name("flood0"), turns=1)


async def test_a_conversation_that_is_gone_on_with_does_not_give_way_to_its_own_turn(house: House) -> None:
    """The oldest one gets a new turn where the file is full: another gives way, and it is whole."""
    store = house.open(file_bytes=1_000_000)
    store.put(house.turn("a"))
    for number in range(12):
        house.clock.advance(1)
        store.put(house.turn(f"b{number}", said=os.urandom(100_000)))
        await store.flush()
        if await store.load(name("b0"), turns=1) == []:
            break
    house.clock.advance(1)
    store.put(house.turn("b-old", said=os.urandom(1_000)))
    store.put(house.turn("c", said=os.urandom(100_000)))
    await store.flush()
    left = [f"b{number}" for number in range(12) if await store.load(name(f"b{number}"), turns=1)]
    oldest = left[0]
    house.clock.advance(1)
    store.put(house.turn("next", oldest, oldest, said=os.urandom(150_000)))
    await store.flush()
    assert [each.name for each in await store.load(name("next"), turns=9)] == [name("next"), name(oldest)]


async def test_what_was_erased_is_in_no_file_while_the_store_is_open(house: House) -> None:
    """Neither in the database nor in the log beside it, as it was packed."""
    store = house.open()
    secret = os.urandom(40_000)
    store.put(house.turn("a", said=secret))
    await store.flush()
    packed = zlib.compress(secret, 1)[1_000:1_100]
    files = lambda: b"".join(each.read_bytes() for each in house.path.parent.iterdir())  # noqa: E731
    assert packed in files()
    await store.erase(name("a"))
    assert packed not in files()


async def test_where_everybody_has_but_one_the_largest_gives_way(house: House) -> None:
    """A conversation that alone is larger than the room cannot stay, and the store goes on."""
    store = house.open(file_bytes=1 * MB)
    store.put(house.turn("small", holder="small", said=os.urandom(10_000)))
    store.put(house.turn("large", holder="large", said=os.urandom(900_000)))
    await store.flush()
    house.clock.advance(1)
    store.put(house.turn("next", holder="next", said=os.urandom(600_000)))
    await store.flush()
    assert [bool(await store.load(name(each), turns=1)) for each in ("small", "large", "next")] == [True, False, True]


async def test_two_processes_may_write_one_file(house: House) -> None:
    """What a predecessor writes on its way out, its successor finds; both shares are counted."""
    old, new = house.open(), house.open()
    old.put(house.turn("a"))
    await old.flush()
    new.put(house.turn("b", "a"))
    await new.flush()
    old.put(house.turn("c", "b", "a"))
    await old.flush()
    assert [each.name for each in await new.load(name("c"), turns=9)] == [name("c"), name("b"), name("a")]
    with closing(house.connect()) as connection:
        assert connection.execute("SELECT count(*) FROM conversations").fetchone() == (1,)
        told = connection.execute("SELECT bytes FROM holders").fetchone()[0]
        assert (told,) == connection.execute("SELECT sum(bytes) FROM responses").fetchone()


async def test_a_disk_that_takes_nothing_holds_a_bounded_part_of_memory(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is served from memory, up to its bound; what has waited longest is given up first."""
    monkeypatch.setattr(responses, "_WAITING_BYTES", 100_000)
    store = ResponseStore(house.path, log=house.log, now=house.clock.now)
    for number in range(50):
        store.put(house.turn(f"t{number}", said=bytes(10_000)))
    assert len(store) == 9
    assert await store.load(name("t49"), turns=1)
    assert not await store.load(name("t0"), turns=1)


async def test_a_damaged_file_is_set_aside_and_begun_anew(house: House) -> None:
    """Nobody is refused because of it: what was kept is unknown, and what comes is kept."""
    store = house.open()
    for number in range(50):
        store.put(house.turn(f"t{number}", said=os.urandom(2_000)))
    assert await asyncio.to_thread(store.close, 5.0)
    data = bytearray(house.path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    house.path.write_bytes(bytes(data))
    store = house.open()
    assert not await store.load(name("t3"), turns=1)
    store.put(house.turn("new"))
    for _ in range(3):
        await store.flush()
    assert await asyncio.to_thread(store.close, 5.0)
    assert list(house.path.parent.glob("responses.db.aside-*"))
    assert await house.open().load(name("new"), turns=1)
    assert "set aside" in store.problems[0]


async def test_an_altered_row_is_not_there(house: House) -> None:
    """Contents that cannot be read are unknown; those of others are read."""
    store = house.open()
    store.put(house.turn("a"))
    store.put(house.turn("b", "a"))
    await store.flush()
    with closing(sqlite3.connect(house.path)) as connection:
        connection.execute("UPDATE responses SET input = 'no' WHERE name = ?", (name("a"),))
        connection.commit()
    assert [each.name for each in await store.load(name("b"), turns=9)] == [name("b")]


# --- a million rows --------------------------------------------------------------------------------------


def fill(path: Path, rows: int) -> None:
    """A file of so many conversations of one turn each, as the store would have left it, of 50 router keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA application_id=0x48525354")
        connection.execute("BEGIN")
        MIGRATIONS[0](connection)
        drop = [
            row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql NOTNULL")
        ]
        for sql in drop:
            connection.execute(f"DROP INDEX {sql.split()[3 if 'UNIQUE' in sql else 2]}")
        numbers = "WITH RECURSIVE x (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < ?) "
        connection.execute(
            f"{numbers} INSERT INTO responses SELECT n, CAST(printf('%016d', n) AS BLOB), x'', n, 330, ?, ?, ? FROM x",
            (rows, EMPTY, EMPTY, EMPTY),
        )
        connection.execute(
            f"{numbers} INSERT INTO conversations SELECT n, CAST(printf('%016d', n) AS BLOB), 'k' || (n % 50), '', 1e10 + n, 330 FROM x",
            (rows,),
        )
        connection.execute("INSERT INTO holders SELECT holder, sum(bytes) FROM conversations GROUP BY holder")
        for sql in drop:
            connection.execute(sql)
        connection.execute("PRAGMA user_version=1")
        connection.execute("COMMIT")


def steps(path: Path, ask: Callable[[sqlite3.Connection], object]) -> int:
    """How many instructions SQLite takes for it: each row that is touched costs some."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_progress_handler(tick, 1)
        connection.execute("BEGIN")
        ask(connection)
        connection.execute("ROLLBACK")
    return count


async def test_a_million_rows_cost_what_a_hundred_do(tmp_path: Path) -> None:
    """Opening, a look-up, a miss, a turn kept with room made for it, a bite: as many steps in the one as in the other."""
    small, large = tmp_path / "small" / "responses.db", tmp_path / "large" / "responses.db"
    fill(small, 5_000)
    fill(large, 1_000_000)
    known, now = b"%016d" % 77, 1_790_000_000.0

    def kept(connection: sqlite3.Connection) -> None:
        store = ResponseStore(tmp_path / "none", log=SilentLog(), now=lambda: now, file_bytes=0)
        row = KeptResponse(b"new", known, known, "k1", "", b"{}", b"{}", b"{}", now)
        store._write(connection, [(b"new", row)])

    asks: dict[str, Callable[[sqlite3.Connection], object]] = {
        "look-up": lambda c: responses._rows(c, responses._CHAIN, (known, 10_000), now),
        "miss": lambda c: responses._rows(c, responses._CHAIN, (b"nothing", 10_000), now),
        "whole": lambda c: responses._rows(c, responses._ONE, (known,), now),
        "erase": lambda c: responses._erase(c, known),
        "keep": kept,
        "bite": lambda c: responses._bite(c, float("inf")),
        "nothing over": lambda c: responses._bite(c, now),
    }
    for what, ask in asks.items():
        few, many = steps(small, ask), steps(large, ask)
        print(f"{what:13} {few:7} steps of 5,000 rows, {many:7} of 1,000,000")
        assert many <= few * 1.05 + 20, what
    house = House(large)
    store = house.open()
    assert [each.name for each in await store.load(known, turns=1)] == [known]
    assert await asyncio.to_thread(store.close, 5.0)
