"""The caller's side of a stream: when the head goes out, who keeps it alive, how it ends."""

import pytest

from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import DeadlinePassed
from hermes_router.core.events import BlockKind, Closed, Delta, Finish, Finished, Opened, Started, Usage
from hermes_router.engine.delivery import HEAD_S, KEEP_ALIVE_S, PRESSURE_BYTES, RELIEF_BYTES, Delivery
from hermes_router.wire.inbound import Inbound

from ..fakes import Clock, Ids, Reply

HEADERS = {"x-hermes-target": "p/m", "x-hermes-attempts": "1"}


class Caller:
    def __init__(self) -> None:
        self.clock, self.reply = Clock(), Reply()
        request = ChatRequest("hermes-router", stream=True, include_usage=True)
        self.delivery = Delivery(Inbound(request, {}), 7, self.reply, self.clock, Ids())

    def text(self, text: str = "hello") -> bytes:
        events = [Started("up-1", "up-model", 1), Opened(BlockKind.TEXT), Delta(text)]
        return self.delivery.splice.admit(events)

    def end(self) -> bytes:
        return self.delivery.splice.admit([Closed(), Finished(Finish.STOP)])


@pytest.fixture
def caller() -> Caller:
    return Caller()


async def test_nothing_leaves_before_the_head(caller: Caller) -> None:
    """Content waits for the head, and goes out with it in one piece."""
    assert caller.delivery.push(caller.text()) is False
    assert caller.reply.head is None
    assert caller.delivery.opens
    await caller.delivery.open(HEADERS)
    assert caller.reply.head == HEADERS
    assert caller.reply.text == "hello"


async def test_a_failed_attempt_leaves_no_trace_before_the_head(caller: Caller) -> None:
    """What was held is dropped, and the next attempt starts a stream of its own."""
    caller.delivery.push(caller.text("half"))
    caller.delivery.start_over()
    caller.delivery.push(caller.text("whole"))
    await caller.delivery.open(HEADERS)
    assert caller.reply.text == "whole"


async def test_after_the_head_a_failed_attempt_keeps_its_stream(caller: Caller) -> None:
    """What the caller has seen is not taken back."""
    caller.delivery.push(caller.text("half"))
    await caller.delivery.open(HEADERS)
    splice = caller.delivery.splice
    caller.delivery.start_over()
    assert caller.delivery.splice is splice


async def test_ll15_the_head_is_due_after_fifteen_seconds_once(caller: Caller) -> None:
    """Then it goes out bare, with a keep-alive that carries the caller's model name; and again every ten seconds."""
    assert not caller.delivery.tick(caller.clock.mono() + HEAD_S - 0.1)
    assert caller.delivery.tick(caller.clock.mono() + HEAD_S)
    assert not caller.delivery.tick(caller.clock.mono() + HEAD_S + 1)
    await caller.delivery.open(HEADERS)
    assert caller.reply.head == {}
    assert [event["model"] for event in caller.reply.events] == ["hermes-router"]
    caller.clock.advance(KEEP_ALIVE_S)
    caller.delivery.tick(caller.clock.mono())
    assert len(caller.reply.events) == 2


async def test_what_the_head_did_not_tell_follows_as_a_comment(caller: Caller) -> None:
    """A bare head is made up for before the end; a true one needs no comment."""
    await caller.delivery.open(HEADERS)
    caller.delivery.push(caller.text())
    caller.delivery.push(caller.end())
    await caller.delivery.finish({**HEADERS, "x-hermes-warnings": "dropped:seed"}, Usage(3, 2))
    assert caller.reply.comments == [": hermes target=p/m attempts=1 warnings=dropped:seed"]
    assert caller.reply.events[-1] == "[DONE]"
    assert caller.reply.events[-2]["usage"]["total_tokens"] == 5


async def test_a_true_head_needs_no_comment(caller: Caller) -> None:
    """Nothing is said twice."""
    caller.delivery.push(caller.text())
    await caller.delivery.open(HEADERS)
    caller.delivery.push(caller.end())
    await caller.delivery.finish(HEADERS, Usage(3, 2))
    assert caller.reply.comments == []


async def test_a_slow_caller_is_noticed_and_relieved(caller: Caller) -> None:
    """Above the bound the upstream is to pause, and to go on when most of it is taken."""
    caller.delivery.push(caller.text())
    await caller.delivery.open(HEADERS)
    caller.reply.waiting = PRESSURE_BYTES + 1
    assert caller.delivery.push(b"data: {}\n\n")
    assert not caller.delivery.relieved
    caller.reply.waiting = RELIEF_BYTES
    assert caller.delivery.relieved


async def test_a_failure_after_the_head_is_an_error_event_and_the_end(caller: Caller) -> None:
    """No clean stop, no [DONE], and nothing after it."""
    caller.delivery.push(caller.text())
    await caller.delivery.open(HEADERS)
    await caller.delivery.fail(DeadlinePassed())
    assert caller.reply.error
    assert "[DONE]" not in caller.reply.events
    caller.clock.advance(10 * KEEP_ALIVE_S)
    assert not caller.delivery.tick(caller.clock.mono())
    assert caller.reply.error == caller.reply.events[-1]["error"]
