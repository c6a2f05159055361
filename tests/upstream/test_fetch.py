"""One request, one whole answer, and nothing left behind."""

import asyncio

import pytest

from hermes_router.core.errors import Malformed, TimedOut, Unreachable
from hermes_router.core.ports import Outbound
from hermes_router.upstream.fetch import Reply, fetch

REQUEST = Outbound("GET", "http://x.test/", {})


class Scripted:
    """A transport that tells its sink a script, and its own flight."""

    def __init__(self, script) -> None:
        self.script = script
        self.aborts = 0

    def send(self, request, sink):
        asyncio.get_running_loop().call_soon(self.script, sink)
        return self

    def abort(self) -> None:
        self.aborts += 1


def answer(sink) -> None:
    sink.head(404, {"x": "1"})
    sink.data(b"a")
    sink.data(b"b")
    sink.end()


async def test_an_answer_comes_whole_whatever_its_status() -> None:
    """Status, headers and the joined body; the body is in no repr."""
    reply = await fetch(Scripted(answer), REQUEST, timeout_s=5)
    assert reply == Reply(404, {"x": "1"}, b"ab")
    assert "ab" not in repr(reply)


async def test_a_failure_is_raised_as_it_is() -> None:
    """What the transport reports is what the caller of fetch gets."""
    error = Unreachable("x")
    with pytest.raises(Unreachable) as caught:
        await fetch(Scripted(lambda sink: sink.failed(error)), REQUEST, timeout_s=5)
    assert caught.value is error


async def test_silence_ends_at_the_deadline() -> None:
    """No whole answer in time: TimedOut, and the flight is aborted."""
    transport = Scripted(lambda sink: sink.head(200, {}))
    with pytest.raises(TimedOut) as caught:
        await fetch(transport, REQUEST, timeout_s=0.01)
    assert caught.value.phase == "deadline"
    assert transport.aborts == 1


async def test_too_much_is_malformed() -> None:
    """Above max_bytes the answer is refused and the flight aborted, whatever comes after."""
    transport = Scripted(answer)
    with pytest.raises(Malformed) as caught:
        await fetch(transport, REQUEST, timeout_s=5, max_bytes=1)
    assert caught.value.status == 404
    assert transport.aborts == 1


async def test_who_is_cancelled_leaves_nothing_under_way() -> None:
    """Cancelling the caller of fetch aborts the flight."""
    began = asyncio.Event()
    transport = Scripted(lambda _sink: began.set())
    task = asyncio.get_running_loop().create_task(fetch(transport, REQUEST, timeout_s=5))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert transport.aborts == 1
