"""What was used: sums that agree, reported and estimated apart, bounded, and there after a restart."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hermes_router.control.types import Spent
from hermes_router.core.errors import ControlError
from hermes_router.core.records import AttemptRecord, ExchangeRecord
from hermes_router.store import usage
from hermes_router.store.usage import DAY_S, Totals, UsageStore, day_start, decode_record, encode_record

from ..fakes import SilentLog

NOW = 1_790_000_000.0
REPORTED = AttemptRecord(
    "groq", "llama", "2f9a00000000", "wxyz", "ok", "ready", 200, "", None, 1.5, 0.2, 100, 40, 20, False, True, 7
)
ESTIMATED = REPORTED._replace(input_tokens=50, cached_tokens=0, output_tokens=9, estimated=True, cost_microusd=3)
REFUSED = AttemptRecord("gemini", "flash", "77aa00000000", "abcd", "limited", "ready", 429, "slow down", NOW + 60)


def exchange(*attempts: AttemptRecord, **changes) -> ExchangeRecord:
    made = ExchangeRecord(
        "req_1",
        NOW,
        "rk",
        "openai_chat",
        "hermes-router",
        "fast",
        True,
        "answered",
        2.5,
        3,
        120,
        attempts,
        ("dropped:seed",),
    )
    return made._replace(**changes)


class Stores:
    """Stores on one file; `now` is moved by the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW
        self.log = SilentLog()
        self.made: list[UsageStore] = []

    def open(self) -> UsageStore:
        made = UsageStore(self.path, log=self.log, now=lambda: self.now)
        self.made.append(made)
        made.start()
        return made


@pytest.fixture
def stores(tmp_path) -> Iterator[Stores]:
    made = Stores(tmp_path / "state.db")
    yield made
    for each in made.made:
        each.close(10)


def test_totals_have_the_fields_of_what_hr_shows() -> None:
    """The store may not import the control types, and says the same."""
    assert Totals.__struct_fields__ == Spent.__struct_fields__


def test_totals_add_up() -> None:
    """Field by field."""
    assert Totals(1, input_tokens=2) + Totals(3, unpriced=4) == Totals(4, input_tokens=2, unpriced=4)


def test_a_day_begins_at_midnight_utc() -> None:
    """What `today` counts from, whatever the machine's time zone is."""
    assert day_start(NOW) == NOW - NOW % DAY_S
    assert day_start(day_start(NOW)) == day_start(NOW)


# --- sums -----------------------------------------------------------------------------------------------------


async def test_reported_and_estimated_are_kept_apart(stores) -> None:
    """Two exchanges at one target: neither tokens nor money of the two kinds are added up."""
    store = stores.open()
    store.put(exchange(REPORTED))
    store.put(exchange(ESTIMATED))
    assert await store.today() == Totals(
        requests=2, attempts=2, input_tokens=100, cached_tokens=40, output_tokens=20, cost_microusd=7,
        estimated_input_tokens=50, estimated_output_tokens=9, estimated_cost_microusd=3,
    )  # fmt: skip


async def test_all_attempts_count_and_each_exchange_counts_once(stores) -> None:
    """A failover is the failed target's, the request the answering one's: any grouping adds up to the same."""
    store = stores.open()
    store.put(exchange(REFUSED, REPORTED))
    store.put(exchange(REFUSED, outcome="NoTarget"))
    store.put(exchange(REFUSED._replace(outcome="abandoned"), outcome="caller_left"))
    store.put(exchange(outcome="NoTarget"))
    rows = dict(await store.totals("provider", NOW, NOW))
    assert rows["groq"] == Totals(
        requests=1, attempts=1, input_tokens=100, cached_tokens=40, output_tokens=20, cost_microusd=7
    )
    assert rows["gemini"] == Totals(requests=2, failed=1, attempts=3, failovers=1)
    assert rows[""] == Totals(requests=1, failed=1)
    for by in ("provider", "model", "key", "day", "router_key"):
        total = sum((spent for _, spent in await store.totals(by, NOW, NOW)), Totals())
        assert total == await store.today()


async def test_each_grouping_names_its_rows(stores) -> None:
    """Dearest first; a key by its tail, told apart by its id where two look the same."""
    store = stores.open()
    store.put(exchange(REPORTED))
    store.put(exchange(REPORTED._replace(credential="3c4d", cost_microusd=1)))
    store.put(exchange(REFUSED, router_key="other"))

    async def names(by) -> list[str]:
        return [name for name, _ in await store.totals(by, NOW, NOW)]

    assert await names("provider") == ["groq", "gemini"]
    assert await names("model") == ["groq/llama", "gemini/flash"]
    assert await names("key") == ["groq/wxyz#2f9a", "groq/wxyz#3c4d", "gemini/abcd"]
    assert await names("router_key") == ["rk", "other"]
    assert await names("day") == ["2026-09-21"]


async def test_a_grouping_that_does_not_exist_is_refused_in_words(stores) -> None:
    """`hr usage --by colour` says what there is, and is a usage error."""
    with pytest.raises(ControlError, match="colour") as caught:
        await stores.open().totals("colour", NOW, NOW)
    assert "router_key" in caught.value.next_step
    assert caught.value.exit_code == 2


async def test_days_are_chosen_whole_and_come_in_order(stores) -> None:
    """From the day of `since` to the day of `until`, both included."""
    store = stores.open()
    for days in (0, -3, -1, -2):
        store.put(exchange(REPORTED, at=NOW + days * DAY_S))
    rows = await store.totals("day", NOW - 2 * DAY_S, NOW - DAY_S)
    assert [day for day, _ in rows] == ["2026-09-19", "2026-09-20"]
    assert (await store.today()).requests == 1


async def test_unpriced_attempts_are_counted(stores) -> None:
    """A sum of money that leaves something out says so."""
    store = stores.open()
    store.put(exchange(REPORTED._replace(unpriced=True, cost_microusd=0)))
    assert (await store.today()).unpriced == 1


# --- trails ---------------------------------------------------------------------------------------------------


async def test_an_exchange_comes_back_as_it_was(stores) -> None:
    """Every field of it and of its attempts; of two with one id the later."""
    store = stores.open()
    store.put(exchange(REPORTED))
    wanted = exchange(
        REFUSED._replace(ttft_s=None, sent_at=NOW), ESTIMATED._replace(shown_chars=7, by="anchor"), stream=False
    )
    store.put(wanted)
    assert await store.request("req_1") == wanted
    assert await store.request("req_2") is None


async def test_the_last_errors_are_the_latest_failures_first(stores) -> None:
    """Whether the exchange was saved or not; good ends and leaving callers are none."""
    store = stores.open()
    for number in range(5):
        store.put(exchange(REFUSED, REPORTED, request_id=f"req_{number}"))
        store.put(exchange(REPORTED, request_id="fine"))
    found = await store.last_errors(3)
    assert [each.request_id for each in found] == ["req_4", "req_3", "req_2"]
    assert (found[0].target, found[0].outcome, found[0].said) == ("gemini/flash#77aa", "limited", "slow down")


async def test_rows_of_an_older_version_are_read(stores) -> None:
    """What attempts did not yet tell reads as nothing told; the rest is as it was."""
    store = stores.open()
    store.put(exchange(REPORTED, request_id="old"))
    await store.flush()
    assert store.close(5)
    with closing(sqlite3.connect(stores.path)) as file:
        [(text,)] = file.execute("SELECT record FROM exchanges").fetchall()
        record = json.loads(text)
        record[11] = [attempt[:19] for attempt in record[11]]
        file.execute("UPDATE exchanges SET record = ?", (json.dumps(record),))
        file.commit()
    found = await stores.open().request("old")
    assert found is not None
    assert found.attempts == (REPORTED,)
    assert (found.attempts[0].shown_chars, found.attempts[0].by) == (0, "")


async def test_half_a_character_in_a_model_name_costs_only_that_character(stores) -> None:
    """A caller's JSON may hold a lone surrogate: it is replaced, and the exchange is kept."""
    store = stores.open()
    store.put(exchange(REFUSED._replace(said="\udc80"), model="m\ud800", warnings=("dropped:\ud800",)))
    kept = await store.request("req_1")
    assert kept is not None
    assert (kept.model, kept.attempts[0].said, kept.warnings) == ("m?", "?", ("dropped:?",))
    assert store.lost == 0


async def test_a_row_that_cannot_be_read_hides_no_other(stores) -> None:
    """A flipped bit in one row's JSON."""
    store = stores.open()
    store.put(exchange(REFUSED, request_id="bad"))
    store.put(exchange(REFUSED, request_id="good"))
    await store.flush()
    with sqlite3.connect(stores.path) as other:
        other.execute("UPDATE exchanges SET record = '[{' WHERE request_id = 'bad'")
    other.close()
    assert [each.request_id for each in await store.last_errors(9)] == ["good"]
    assert await store.request("bad") is None


def test_a_record_travels_between_processes() -> None:
    """What a predecessor reports after it gave the store up is kept by its successor."""
    record = exchange(REFUSED, REPORTED)
    assert decode_record(encode_record(record)) == record


# --- life -----------------------------------------------------------------------------------------------------


async def test_history_outlives_the_store(stores) -> None:
    """Closed by one process, opened by the next: at a handover nothing is missing."""
    first = stores.open()
    for _ in range(700):
        first.put(exchange(REPORTED))
    assert first.close(10)
    second = stores.open()
    second.put(exchange(REPORTED))
    assert (await second.today()).requests == 701
    assert (second.lost, second.problems) == (0, [])


async def test_answers_are_empty_where_there_is_no_store(stores) -> None:
    """Before the start and after the end, `hr usage` gets nothing and no error."""
    store = UsageStore(stores.path, log=stores.log, now=lambda: NOW)
    assert await store.today() == Totals()
    assert await store.request("req_1") is None
    assert await store.last_errors(3) == []


_WRITER = """
import asyncio, sys
from pathlib import Path
from hermes_router.core.records import AttemptRecord, ExchangeRecord
from hermes_router.store.usage import UsageStore
class Log:
    def info(self, *a, **k): pass
    warning = info
a = AttemptRecord("groq", "llama", "2f9a", "wxyz", "ok", input_tokens=3, billed=True)
async def main():
    store = UsageStore(Path(sys.argv[1]), log=Log(), now=lambda: 1790000000.0)
    store.start()
    number = 0
    while True:
        for _ in range(150):
            store.put(ExchangeRecord(f"req_{number}", 1790000000.0, "rk", "c", "m", "", True, "answered", 1.0, 1, 1, (a,)))
            number += 1
        await store.flush()
        print(number, flush=True)
asyncio.run(main())
"""


def kill_a_writer_of(path: Path, lines: int) -> int:
    """Kill -9 a process that records, once it has told `lines` times how many are safe; the last number told."""
    told = 0
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            told = int(writer.stdout.readline())
        writer.kill()
    return told


@pytest.mark.parametrize("lines", [1, 9])
async def test_kill_9_leaves_rows_and_sums_that_agree(stores, lines) -> None:
    """An exchange and its part of the day's sums are written together or not at all."""
    told = kill_a_writer_of(stores.path, lines)
    store = stores.open()
    today = await store.today()
    rows = await store.db.read(lambda c: c.execute("SELECT count(*) FROM exchanges").fetchone()[0], -1)
    assert rows == today.requests == today.attempts
    assert today.input_tokens == 3 * rows
    assert rows >= told
    assert (await store.request(f"req_{told - 1}")) is not None


async def test_a_full_disk_is_survived_and_caught_up(stores, monkeypatch) -> None:
    """Records wait in memory while nothing can be written, and are there when there is room again."""
    real = usage._write_exchanges
    full = [True]

    def write(connection, records) -> None:
        real(connection, records)
        if full[0]:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(usage, "_write_exchanges", write)
    store = stores.open()
    store.put(exchange(REPORTED))
    assert await store.today() == Totals()
    assert "1 records wait" in store.problems[0]
    full[0] = False
    store.put(exchange(REPORTED))
    assert (await store.today()).requests == 2
    assert store.lost == 0


@pytest.mark.parametrize("cut", [0, 60, 2_000, 4_096, 20_000, 30_001])
async def test_a_damaged_history_stops_nothing(stores, cut) -> None:
    """Whatever is left of the file, today's usage is counted."""
    first = stores.open()
    for number in range(60):
        first.put(exchange(REFUSED, REPORTED, request_id=f"req_{number}"))
    assert first.close(10)
    assert stores.path.stat().st_size > cut
    os.truncate(stores.path, cut)
    store = stores.open()
    store.put(exchange(REPORTED))
    assert (await store.today()).requests == 1
    assert bool(store.problems) is (cut > 0)


# --- bounds ---------------------------------------------------------------------------------------------------


async def kept(store: UsageStore) -> list[str]:
    await store.flush()
    return await store.db.read(
        lambda c: [row[0] for row in c.execute("SELECT request_id FROM exchanges ORDER BY n").fetchall()], []
    )


async def test_exchanges_are_bounded_by_number(stores, monkeypatch) -> None:
    """The oldest go first; what they added to their day stays."""
    monkeypatch.setattr(usage, "KEEP_EXCHANGES", 10)
    store = stores.open()
    for number in range(25):
        store.put(exchange(REPORTED, request_id=str(number)))
    assert await kept(store) == [str(number) for number in range(15, 25)]
    assert (await store.today()).requests == 25


async def test_exchanges_are_bounded_by_age(stores) -> None:
    """After 30 days only the sums are left."""
    store = stores.open()
    store.put(exchange(REPORTED, request_id="old"))
    assert await kept(store) == ["old"]
    stores.now += 31 * DAY_S
    store.put(exchange(REPORTED, request_id="new", at=stores.now))
    assert await kept(store) == ["new"]
    assert len(await store.totals("day", NOW, stores.now)) == 2


async def test_sums_are_bounded_by_age(stores) -> None:
    """After 400 days a day is forgotten, one at a time."""
    store = stores.open()
    for day in range(3):
        store.put(exchange(REPORTED, at=NOW + day * DAY_S))
    await store.flush()
    stores.now += 402 * DAY_S
    for left in (["2026-09-22", "2026-09-23"], ["2026-09-23"], ["2026-09-23"]):
        store.put(exchange(REPORTED, at=stores.now))
        assert [day for day, _ in await store.totals("day", NOW, NOW + 9 * DAY_S)] == left


async def test_what_is_removed_at_once_is_a_bite(stores, monkeypatch) -> None:
    """A bound that was lowered, or a long pause, is caught up in steps: always more than came in."""
    monkeypatch.setattr(usage, "_BITE", 4)
    store = stores.open()
    for number in range(20):
        store.put(exchange(REPORTED, request_id=str(number)))
    await store.flush()
    monkeypatch.setattr(usage, "KEEP_EXCHANGES", 5)
    sizes = []
    for number in range(6):
        store.put(exchange(REPORTED, request_id=f"more {number}"))
        sizes.append(len(await kept(store)))
    assert sizes == [17, 14, 11, 8, 5, 5]
