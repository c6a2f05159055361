"""hermes_router/daemon/ledger.py: what changes is on the disk within a second, and all of it is back after a start."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import QuotaRule, TargetFacts
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.observations import Unit, Window
from hermes_router.daemon import ledger
from hermes_router.daemon.ledger import LedgerKeeper
from hermes_router.engine.admission import Caller
from hermes_router.engine.alerts import Alerts, Fault
from hermes_router.engine.caller_limits import CallerLimits
from hermes_router.routing.past import Past
from hermes_router.routing.roster import Roster
from hermes_router.store.db import Database

from ..fakes import Clock, SilentLog
from ..routing.conftest import World, target

RULE = [QuotaRule(Unit.REQUESTS, 3, Window.DAY, origin="owner")]
PATIENCE_S = 5.0


class Life:
    """One life of a daemon's ledger: the brain, the file, and the keeper between them."""

    def __init__(self, path: Path, pool: list[TargetFacts], log: SilentLog) -> None:
        self.world = World(*pool)
        self.clock = Clock()
        self.db = Database(path, log=log, now=self.clock.now, period_s=3_600.0)
        self.limits = CallerLimits()
        self.alerts = Alerts()
        self.past = Past()
        engine: Any = SimpleNamespace(
            state=self.world.state,
            limits=self.limits,
            alerts=self.alerts,
            past=self.past,
            clock=self.clock,
            snapshot=SimpleNamespace(roster=self.world.roster),
        )
        self.slept: list[float] = []
        self.keeper = LedgerKeeper(engine, self.db, asyncio.get_running_loop(), log, sleep=self.sleep)
        self.task: asyncio.Task[None] | None = None

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def begin(self) -> "Life":
        await self.keeper.load()
        self.db.start()
        self.task = asyncio.create_task(self.keeper.run())
        await self.written()
        return self

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.world.later(seconds)

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])

    async def kill(self) -> None:
        """As `kill -9` would: nothing is written at the end."""
        await self.stop()
        self.db.sources.clear()
        await asyncio.to_thread(self.db.close, 5.0)

    async def written(self) -> None:
        """Until all that has changed was written, or tried, and nothing more comes of it."""
        quiet = 0
        for _ in range(1_000):
            quiet = 0 if self.world.state.changes or self.keeper._stirred.is_set() else quiet + 1
            await self.db.flush()
            if quiet == 3:
                return
        raise AssertionError("it is never quiet")


class House:
    """Lives on one file, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = SilentLog()
        self.lives: list[Life] = []

    async def life(self, *pool: TargetFacts) -> Life:
        self.lives.append(Life(self.path, list(pool), self.log))
        return await self.lives[-1].begin()

    def rows(self) -> dict[str, list[str]]:
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
            found: dict[str, list[str]] = {}
            for kind, key in connection.execute("SELECT kind, key FROM ledger ORDER BY kind, key"):
                found.setdefault(kind, []).append(key)
        return found

    def said(self, event: str) -> list[dict]:
        return [fields for name, fields in self.log.lines if name == event]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path / "state" / "state.db")
    yield made
    for each in made.lives:
        await each.kill()


A, B = target("a/m", quotas=RULE), target("b/m", quotas=RULE)


async def test_a_kill_loses_nothing_that_is_a_second_old(house: House) -> None:
    """Counts, claims under way, a told cooldown, whose turn it is, a caller's money, what the owner was told: all stay.

    So does what was served.
    """
    one = await house.life(A, B)
    assert one.world.who() == "a/m#k1"
    one.world.take()  # under way when it is killed
    one.world.blame(B, err.RateLimited(retry_at=one.world.now + 600, told=True))
    caller = Caller(RouterKeyId("rk"), budget_microusd=900)
    one.limits.admit(caller, one.world.now).reserve(700, one.world.now)
    for at in (one.world.now - 60, one.world.now):
        one.alerts.look([Fault("disk_full", "f", "The file f", "The file f is full.")], ("url",), at)
    one.past.note(Roster([A]), [], one.world.now)
    await one.written()
    assert set(one.slept) == {ledger.GATHER_S}
    await one.kill()
    two = await house.life(A, B)
    assert list(two.alerts.told()) == [("disk_full", "The file f")]
    assert two.alerts.unsent("url") == 1
    assert two.past.served == one.past.served
    assert list(two.past.served) == ["a"]
    assert [(q.limit, q.remaining) for f in (A, B) for q in two.world.status(f).quota] == [(3, 2), (3, 2)]
    assert two.world.status(B) == one.world.status(B)
    assert two.world.who() == "a/m#k1"
    assert two.limits.spent("rk", two.world.now) == 700
    assert house.log.lines == []


async def test_where_nothing_changes_nothing_is_woken(house: House) -> None:
    """Neither the disk, nor the loop."""
    life = await house.life(A)
    life.world.who()
    await life.written()
    slept = len(life.slept)
    log = house.path.with_name("state.db-wal")
    before = log.stat().st_mtime_ns
    for _ in range(50):
        await asyncio.sleep(0)
    await life.db.flush()
    assert (len(life.slept), log.stat().st_mtime_ns) == (slept, before)


async def test_what_changes_while_it_is_written_is_written_next(house: House, monkeypatch) -> None:
    """However many bites it takes."""
    monkeypatch.setattr(ledger, "CHUNK", 1)
    pool = [target(f"p{n}/m", quotas=RULE) for n in range(5)]
    life = await house.life(*pool)
    for _ in range(12):
        life.world.who()
        await asyncio.sleep(0)
    await life.written()
    await life.kill()
    again = await house.life(*pool)
    assert [again.world.status(f).quota for f in pool] == [life.world.status(f).quota for f in pool]


async def test_requests_without_a_pause_are_gathered_all_the_same(house: House) -> None:
    """One mark in every turn of the loop: they go to the writer together, not each as it comes."""
    life = await house.life(A)
    slept, turns = len(life.slept), 0
    puts: list[int] = []
    put = life.keeper._store.put
    life.keeper._store.put = lambda rows, **words: (puts.append(len(rows)), put(rows, **words))
    while len(life.slept) < slept + 5:
        life.world.state.changes.talked("one that goes on")
        turns += 1
        assert turns < 1_000, "it writes for ever"
        await asyncio.sleep(0)
    assert sum(map(bool, puts)) <= 5


async def test_a_last_write_is_one_step(house: House) -> None:
    """The task is stopped, requests settle, and the store is closed: what came last is there."""
    life = await house.life(A)
    await life.stop()
    life.world.who()
    life.keeper.flush()
    assert await asyncio.to_thread(life.db.close, 5.0)
    assert [q.remaining for q in (await house.life(A)).world.status(A).quota] == [2]


async def test_rows_that_are_over_leave_the_file_with_the_next_life(house: House) -> None:
    """What was loaded is all that there is: windows that ended, targets that mean nothing any more."""
    one = await house.life(A, B)
    one.world.who()
    await one.written()
    assert house.rows()["meter"] == ["a\tk1-a\t\t\t\trequests\tday"]
    await one.kill()
    house.lives.append(Life(house.path, [A, B], house.log))
    house.lives[-1].later(91 * 86_400)
    await house.lives[-1].begin()
    await house.lives[-1].written()
    assert house.rows() == {"life": [""]}


async def test_what_a_predecessor_handed_over_is_what_the_file_holds(house: House) -> None:
    """The successor's ledger came over the pair: the file follows it, also where that knew more or less."""
    one = await house.life(A, B)
    one.world.who()
    await one.written()
    one.world.state.seen(A.target, [], one.world.now)
    one.world.state.learn_refused("a", "m", "top_k")
    dumped = one.world.state.dump(one.world.now)
    await one.kill()
    two = Life(house.path, [A, B], house.log)
    house.lives.append(two)
    two.world.state.load(dumped, two.world.roster, two.world.now)
    two.keeper.inherited()
    two.db.start()
    two.later(1)
    two.task = asyncio.create_task(two.keeper.run())
    await two.written()
    await two.kill()
    three = await house.life(A, B)
    assert three.world.state.refused_params("a", "m") == {"top_k"}
    assert [q.remaining for q in three.world.status(A).quota] == [2]


async def test_a_file_that_was_taken_away_is_filled_again(house: House) -> None:
    """All that is known goes into the new one, not only what changes from then on."""
    life = await house.life(A, B)
    assert {life.world.who(), life.world.who()} == {"a/m#k1", "b/m#k1"}
    await life.written()
    before = house.rows()
    house.path.unlink()
    life.world.state.learn_refused("a", "m", "top_k")
    await life.written()
    async with asyncio.timeout(PATIENCE_S):
        while house.rows() != before:
            await asyncio.sleep(0)
            await life.db.flush()


async def test_what_cannot_be_read_now_is_not_wiped(house: House, monkeypatch) -> None:
    """A disk that fails at the start may be well at the next one: rows that nobody has read stay."""
    one = await house.life(A, B)
    assert one.world.who() == "a/m#k1"
    await one.written()
    await one.kill()
    house.lives.append(Life(house.path, [A, B], house.log))
    two = house.lives[-1]
    monkeypatch.setattr(two.keeper._store, "load", lambda: None)
    await two.begin()
    two.world.blame(B, err.CredentialRejected())
    await two.written()
    await two.kill()
    three = await house.life(A, B)
    assert [q.remaining for q in three.world.status(A).quota] == [2]
    assert three.world.status(B).state == "paused"


async def test_a_damaged_file_costs_the_damaged_rows(house: House) -> None:
    """One warning that names it, and the target is not stuck."""
    one = await house.life(A, B)
    for facts in (A, B):
        one.world.blame(facts, err.CredentialRejected())
    await one.written()
    await one.kill()
    with closing(sqlite3.connect(house.path)) as connection:
        connection.execute("UPDATE ledger SET value = replace(value, 'a', 'z') WHERE kind = 'cell' AND key LIKE 'a%'")
        connection.commit()
    two = await house.life(A, B)
    assert [two.world.status(f).state for f in (A, B)] == ["ready", "paused"]
    assert [fields["file"] for fields in house.said("ledger.skipped")] == [str(house.path)]
    assert [name for name, _ in house.log.lines] == ["ledger.skipped"]
    assert "altered rows" in two.db.problems[0]


async def test_a_full_disk_keeps_nobody_waiting(house: House) -> None:
    """Said once, seen in the status, made up for: with the latest of each row, however long it took."""
    life = await house.life(A, B)
    real, life.db._ready = life.db._ready, _full  # type: ignore[method-assign]
    for _ in range(40):
        life.world.who()
        life.later(2 * 86_400)
        await life.written()
    assert len(life.keeper._store) < 12
    assert [name for name, _ in house.log.lines] == ["store.failing"]
    assert "disk is full" in life.db.problems[0]
    life.db._ready = real  # type: ignore[method-assign]
    await life.db.flush()
    assert [name for name, _ in house.log.lines] == ["store.failing", "store.recovered"]
    assert life.db.problems == []
    await life.kill()
    house.lives.append(Life(house.path, [A, B], house.log))
    two = house.lives[-1]
    two.later(life.clock.now() - two.clock.now())
    await two.begin()
    assert [two.world.status(f) for f in (A, B)] == [life.world.status(f) for f in (A, B)]


def _full() -> sqlite3.Connection:
    raise sqlite3.OperationalError("database or disk is full")
