"""The ring of events."""

import asyncio
import json
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.control.events import LOST, EventRing, frame, plain
from hermes_router.control.log_types import LogWish
from hermes_router.control.types import Event
from hermes_router.core.ids import Secret

START = 1_790_000_000.0
FIRST = int(START * 1e6)


def ring(kept: int = 1_000, at: float = START) -> EventRing:
    return EventRing(lambda: at, kept=kept)


def publish(to: EventRing, number: int) -> None:
    for n in range(number):
        to.publish("a.b", "info", {"n": n})


async def take(events: AsyncIterator[Event], number: int) -> list[int]:
    return [(await asyncio.wait_for(anext(events), 5)).id - FIRST for _ in range(number)]


async def waits(events: AsyncIterator[Event]) -> asyncio.Task[Event]:
    """A subscriber that waits for its next event."""
    task = asyncio.get_running_loop().create_task(anext(events))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_ids_begin_at_the_time_and_have_no_gaps() -> None:
    """Microseconds since the epoch, then plus one: a process that starts later begins higher."""
    first = ring()
    publish(first, 3)
    assert await take(first.subscribe(0), 3) == [0, 1, 2]
    later = ring(at=START + 1)
    publish(later, 1)
    assert (await anext(later.subscribe(0))).id == FIRST + 1_000_000


async def test_a_subscriber_resumes_after_the_id_it_names() -> None:
    """Nothing twice, nothing missed; the last id means: only what comes."""
    events = ring()
    publish(events, 5)
    assert await take(events.subscribe(FIRST + 2), 2) == [3, 4]
    newest = events.subscribe(FIRST + 4)
    task = await waits(newest)
    publish(events, 1)
    assert (await task).id == FIRST + 5


async def test_none_is_from_the_call_on() -> None:
    """What is published between the call and the first wait is not lost; what was before is not told."""
    events = ring()
    publish(events, 5)
    new = events.subscribe(None)
    publish(events, 2)
    assert await take(new, 2) == [5, 6]


@pytest.mark.parametrize("last_id", [0, FIRST - 1, FIRST + 10**12])
async def test_an_id_of_another_process_brings_all_that_is_kept(last_id: int) -> None:
    """Of an earlier daemon, and of one whose clock ran ahead."""
    events = ring()
    publish(events, 3)
    assert await take(events.subscribe(last_id), 3) == [0, 1, 2]


async def test_a_gap_at_the_start_is_told_and_the_rest_follows() -> None:
    """Who comes back too late hears how many are gone, in an event whose id keeps the order."""
    events = ring(kept=10)
    publish(events, 25)
    late = events.subscribe(FIRST + 4)
    gap = await anext(late)
    assert (gap.event, gap.level, gap.fields, gap.id) == (LOST, "warning", {"lost": 10}, FIRST + 14)
    assert await take(late, 10) == list(range(15, 25))
    assert len(events._kept) == 10


async def test_a_slow_subscriber_is_dropped_and_told_what_it_lost() -> None:
    """The publisher never waits; the subscriber gets what it had begun to read, then the number, then the end."""
    events = ring(kept=10)
    slow = events.subscribe(None)
    task = await waits(slow)
    publish(events, 1)
    assert (await task).id == FIRST
    publish(events, 1_000)
    got = [event async for event in slow]
    assert [(e.event, e.fields) for e in got] == [(LOST, {"lost": 990})]
    assert got[0].id == FIRST + 990
    again = events.subscribe(got[0].id)
    assert await take(again, 10) == list(range(991, 1_001))


async def test_many_subscribers_hear_the_same() -> None:
    """Each at its own pace; one that left leaves nothing behind."""
    events = ring()
    tasks = [await waits(events.subscribe(None)) for _ in range(5)]
    gone = await waits(events.subscribe(None))
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert len(events._waiting) == 5
    publish(events, 3)
    assert {(await task).id for task in tasks} == {FIRST}
    assert not events._waiting


async def test_nothing_is_done_for_an_event_that_nobody_hears() -> None:
    """No scrubbing, no text is made: what is published is only kept."""
    seen: list[str] = []

    def scrub(text: str) -> str:
        seen.append(text)
        return text.replace("hidden", "***")

    events = EventRing(lambda: START, scrub=scrub)
    events.publish("a.b", "info", {"said": "hidden"})
    assert not seen
    told = await anext(events.subscribe(0))
    assert told.fields == {"said": "***"}


async def test_fields_are_made_plain() -> None:
    """The log's renderer may empty its mapping; what JSON does not know is shown as str shows it, a Secret as ***."""
    events = EventRing(lambda: START, scrub=lambda text: text.replace("x", "y"))
    fields = {
        "secret": Secret("sk-canary-000000001"),
        "list": ["x", {"x": ("x", 1)}],
        "n": 1.5,
        "none": None,
        "no": False,
    }
    deep: list[object] = []
    deep.append(deep)
    events.publish("a.b", "info", {**fields, "deep": deep, "error": ValueError("x")})
    told = events.subscribe(0)
    first = await anext(told)
    assert first.fields["secret"] == "***"
    assert first.fields["list"] == ["y", {"y": ["y", 1]}]
    assert (first.fields["n"], first.fields["none"], first.fields["no"]) == (1.5, None, False)
    assert first.fields["error"] == "y"
    assert b"canary" not in frame(first)


def parsed(raw: bytes) -> dict[str, object]:
    """A frame's data, with the frame's own form checked."""
    assert raw.endswith(b"\n\n")
    first, second = raw[:-2].split(b"\n")
    assert first.startswith(b"id: ")
    assert second.startswith(b"data: ")
    data: dict[str, object] = json.loads(second[6:])
    assert data["id"] == int(first[4:])
    assert len(raw) < 64 << 10
    return data


def test_a_frame_is_one_line_of_json_with_its_id() -> None:
    """Line breaks of all kinds inside a text cannot end it."""
    event = Event(id=7, at=START, event="a.b", fields={"said": "a\nb\r\n\u2028\x85c"})
    assert parsed(frame(event)) == {"id": 7, "at": START, "event": "a.b", "level": "info", "fields": event.fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"said": "é" * 40_000},
        {f"name-{n}-{'x' * 500}": "\x00" * 5_000 for n in range(100)},
        {"list": list(range(20_000)), "map": {str(n): n for n in range(9_000)}},
        {"said": "\ud800"},
        {"\ud800": 1, "big": 10**30, "big2": "x" * 70_000, "o": object()},
    ],
)
def test_what_is_too_large_or_nothing_for_json_is_shortened_and_says_so(fields: dict[str, object]) -> None:
    """Every frame is below 64 KiB, which every reader of ours takes (facts/os.md 4.5)."""
    data = parsed(frame(Event(id=1, at=START, event="a.b", fields=fields)))
    assert isinstance(data["fields"], dict)
    assert data["fields"]["shortened"] is True


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
       lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5), max_size=5))  # fmt: skip
def test_any_fields_make_a_frame(fields: dict[str, object]) -> None:
    """Whatever a log line holds, the stream goes on."""
    assert parsed(frame(Event(id=1, at=START, event="a.b", fields=fields)))["event"] == "a.b"


# --- the end of the log, and a successor ----------------------------------------------------------------


def test_the_tail_is_the_last_that_fits() -> None:
    """So many lines of what is wished for, in order, however much else there is."""
    events = ring()
    for n in range(100):
        events.publish("a.b", "warning" if n % 10 == 0 else "info", {"n": n, "request_id": f"req_{n % 2}"})
    assert [each.fields["n"] for each in events.tail(LogWish(lines=3)).events] == [97, 98, 99]
    assert [each.fields["n"] for each in events.tail(LogWish(lines=2, level="warning")).events] == [80, 90]
    assert events.tail(LogWish(lines=0)).events == []
    assert events.last_id == FIRST + 99


def test_a_request_is_found_by_its_beginning_if_that_is_clear() -> None:
    """An id that is the beginning of another is itself; a beginning of two is neither."""
    events = ring()
    for name in ("req_1", "req_12", "req_3", "req_12"):
        events.publish("a.b", "info", {"request_id": name})
    assert [each.fields["request_id"] for each in events.tail(LogWish(request="req_12")).events] == ["req_12"] * 2
    assert [each.fields["request_id"] for each in events.tail(LogWish(request="req_1")).events] == ["req_1"]
    assert events.tail(LogWish(request="req_3")).requests == ["req_3"]
    assert events.tail(LogWish(request="req")) == ([], ["req_1", "req_12", "req_3"])
    assert events.tail(LogWish(request="x")) == ([], [])


def test_a_field_that_names_a_secret_is_hidden_at_any_depth_and_in_any_spelling() -> None:
    """9R-14: also where a secret stands as a field's name."""
    shown = plain(
        {"X-Api-Key": "plainword", "deep": {"refresh_token": "plainword", "ok": 1}, "sk-canary": 1},
        lambda text: text.replace("sk-canary", "***"),
    )
    assert shown == {"X-Api-Key": "***", "deep": {"refresh_token": "***", "ok": 1}, "***": 1}


async def test_a_successors_ring_goes_on_where_its_predecessors_rests() -> None:
    """Who follows both hears everything once, whoever published it, with ids that grow by one."""
    old, new = ring(), ring(at=START + 60)
    publish(old, 3)
    follower = old.subscribe(FIRST - 1)
    assert await take(follower, 3) == [0, 1, 2]
    waiting = await waits(follower)
    dumped = msgspec.json.decode(msgspec.json.encode(old.rest()))
    old.publish("a.held", "info", {})  # between the dump and the successor's service
    new.publish("b.own", "info", {})  # before it had the state
    new.inherit(dumped)
    old.hand_on(lambda event: new.hear(msgspec.json.decode(event)))
    old.publish("a.late", "warning", {"n": 10**30})
    assert not waiting.done()  # the old daemon tells its followers nothing that the new one will tell
    waiting.cancel()
    again = new.subscribe(FIRST + 2)
    told = [await asyncio.wait_for(anext(again), 5) for _ in range(3)]
    assert [(each.id - FIRST, each.event, each.at) for each in told] == [
        (3, "b.own", START + 60), (4, "a.held", START), (5, "a.late", START),
    ]  # fmt: skip
    assert [each.id - FIRST for each in new.tail(LogWish()).events] == list(range(6))


async def test_a_handover_that_fails_loses_no_event() -> None:
    """The daemon that serves on tells its followers what was held meanwhile."""
    events = ring()
    publish(events, 1)
    follower = await waits(events.subscribe(None))
    events.rest()
    publish(events, 2)
    assert not follower.done()
    events.go_on()
    assert (await follower).id == FIRST + 1
    publish(events, 1)
    assert [each.id - FIRST for each in events.tail(LogWish()).events] == [0, 1, 2, 3]


def test_the_dump_is_bounded_and_keeps_the_latest() -> None:
    """A thousand long lines go along as far as a megabyte holds them, without a gap."""
    old, new = ring(), ring()
    for n in range(1_000):
        old.publish("a.b", "info", {"n": n, "text": "x" * 20_000})
    dumped = old.rest()
    assert len(msgspec.json.encode(dumped)) < 1_010_000
    new.inherit(msgspec.json.decode(msgspec.json.encode(dumped)))
    kept = [each.fields["n"] for each in new.tail(LogWish(lines=1_000)).events]
    assert kept == list(range(1_000 - len(kept), 1_000))
    assert len(kept) > 40


@pytest.mark.parametrize("dumped", [
    None, [], {}, {"first": 1}, {"first": "x", "events": []}, {"first": 1, "events": [{"id": 1, "at": 0, "event": "e"}, {"id": 3, "at": 0, "event": "e"}]},
    {"first": None, "events": [{"id": 1, "at": 0, "event": "e"}]}, {"first": 1, "events": ["no", 3]},
])  # fmt: skip
def test_a_dump_of_another_version_is_left_out(dumped: object) -> None:
    """The successor begins its own ring then, as after a crash."""
    events = ring()
    publish(events, 2)
    events.inherit(dumped)
    events.hear({"id": "no"})
    events.hear(None)
    assert [each.id - FIRST for each in events.tail(LogWish()).events] == [0, 1]
