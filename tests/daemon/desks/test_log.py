"""hermes_router/daemon/desks/log.py: what is remembered and what the file has are one log."""

from pathlib import Path
from typing import Any

import pytest

from hermes_router.control.events import EventRing
from hermes_router.control.log_types import LogWish
from hermes_router.daemon.desks.log import LogDesk

from ..logs.test_file import START, Written, same


@pytest.fixture
def file(tmp_path: Path) -> Written:
    return Written(tmp_path / "daemon.log")


def remembered(file: Written, ring: EventRing, event: str, **fields: Any) -> None:
    """A line, as the daemon logs it: into the ring, and a moment later into the file."""
    ring.publish(event, "info", fields)
    file.at += 0.0004
    with file.path.open("a") as out:
        out.write(f"{file.logfmt(None, 'info', {'event': event, 'level': 'info', **fields})}\n")


async def test_the_file_goes_on_where_memory_ends_without_a_line_twice(file: Written) -> None:
    """Also lines of the same millisecond as the oldest one that is remembered."""
    file.add("old", n=1)
    file.add("old", n=2)
    file.at = START + 100.9996
    ring = EventRing(lambda: file.at)
    with file.path.open("a") as out:
        out.write(f"{file.logfmt(None, 'info', {'event': 'old', 'level': 'info', 'n': 3})}\n")
    for number in range(4, 8):
        remembered(file, ring, "new", n=number)
    desk = LogDesk(ring, path=lambda: str(file.path), clean=same, level=lambda: "info")
    tail = await desk.tail(LogWish())
    assert [event.fields["n"] for event in tail.events] == [1, 2, 3, 4, 5, 6, 7]
    assert [event.id == 0 for event in tail.events] == [True] * 3 + [False] * 4
    assert tail.last_id == ring.last_id
    assert tail.level == "info"
    assert [event.fields["n"] for event in (await desk.tail(LogWish(lines=5))).events] == [3, 4, 5, 6, 7]


async def test_where_memory_begins_is_told_if_nothing_else_has_more(file: Written) -> None:
    """Of a daemon that has no file of its own: the instant of the oldest line; with a file, or no line yet, none."""
    ring, path = EventRing(lambda: file.at), ""
    desk = LogDesk(ring, path=lambda: path, clean=same, level=lambda: "info")
    assert (await desk.tail(LogWish())).begins_at == 0
    file.at = START
    ring.publish("a.b", "info", {})
    file.at = START + 5
    ring.publish("a.b", "info", {})
    assert (await desk.tail(LogWish(lines=1))).begins_at == START
    path = str(file.path)
    assert (await desk.tail(LogWish())).begins_at == 0


async def test_the_beginning_of_an_id_is_looked_for_in_both(file: Written) -> None:
    """One request is found, several are named, an exact id is only itself."""
    for name in ("req_1", "req_12", "req_2"):
        file.add("a.b", request_id=name)
    file.at += 100
    ring = EventRing(lambda: file.at)
    ring.publish("a.b", "info", {"request_id": "req_3"})
    desk = LogDesk(ring, path=lambda: str(file.path), clean=same, level=lambda: "info")
    assert [e.fields["request_id"] for e in (await desk.tail(LogWish(request="req_3"))).events] == ["req_3"]
    assert [e.fields["request_id"] for e in (await desk.tail(LogWish(request="req_2"))).events] == ["req_2"]
    several = await desk.tail(LogWish(request="req_1"))
    assert [e.fields["request_id"] for e in several.events] == ["req_1"]
    latest = await desk.tail(LogWish(request="req_"))  # what is remembered goes before what has to be looked for
    assert [e.fields["request_id"] for e in latest.events] == ["req_3"]
    empty = LogDesk(EventRing(lambda: file.at), path=lambda: str(file.path), clean=same, level=lambda: "info")
    unclear = await empty.tail(LogWish(request="req_"))
    assert (unclear.events, unclear.requests) == ([], ["req_1", "req_12", "req_2"])


@pytest.mark.parametrize("path", ["", "/nonexistent/daemon.log", "/proc/self/mem"])
async def test_without_a_file_memory_is_all_there_is(path: str) -> None:
    """A daemon that logs elsewhere, a file that is gone or cannot be read."""
    ring = EventRing(lambda: START)
    ring.publish("a.b", "info", {"n": 1})
    desk = LogDesk(ring, path=lambda: path, clean=same, level=lambda: "info")
    assert [event.fields["n"] for event in (await desk.tail(LogWish())).events] == [1]
