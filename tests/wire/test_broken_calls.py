"""Calls in an answer that was cut at its length limit."""

import pytest

from hermes_router.core.events import Answer, Block, BlockKind, ChatEvent, Closed, Delta, Finish, Opened
from hermes_router.wire.broken_calls import drop_broken_calls, without_broken_calls


def call(name: str, *pieces: str, custom: bool = False, closed: bool = True) -> list[ChatEvent]:
    opened = Opened(BlockKind.TOOL_CALL, f"id-{name}", name, custom=custom)
    return [opened, *map(Delta, pieces), *([Closed()] if closed else [])]


TEXT: list[ChatEvent] = [Opened(BlockKind.TEXT), Delta("hm"), Closed()]
WHOLE = call("f", '{"a":', " 1}")


@pytest.mark.parametrize(
    "broken",
    [call("g", '{"a"'), call("g"), call("g", "[1]"), call("g", '{"a":"\ud800"}'), call("g", "{}", closed=False)],
    ids=["cut", "not begun", "no object", "no text", "not closed"],
)
def test_9r6_what_is_no_whole_object_is_no_call(broken: list[ChatEvent]) -> None:
    """The rest stands as it was said."""
    assert without_broken_calls([*TEXT, *WHOLE, *broken]) == ([*TEXT, *WHOLE], True)


def test_whole_calls_stay() -> None:
    """Also one without a member, and behind text."""
    events = [*WHOLE, *TEXT, *call("g", "{}")]
    assert without_broken_calls(events) == (events, False)


def test_of_free_text_the_last_is_left_out() -> None:
    """Nobody can tell whether it is whole; one that another block followed is."""
    one, two = call("p", "half a pat", custom=True), call("q", "more", custom=True)
    assert without_broken_calls([*one, *two]) == (one, True)


def test_9r6_a_whole_answer_loses_them_too() -> None:
    """But only where it ended at its length limit: elsewhere a broken call is a broken answer."""
    blocks = [Block(BlockKind.TEXT, "hm"), Block(BlockKind.TOOL_CALL, "{}"), Block(BlockKind.TOOL_CALL, '{"a')]
    answer = Answer(blocks=[*blocks], finish=Finish.LENGTH)
    assert drop_broken_calls(answer)
    assert answer.blocks == blocks[:2]
    assert not drop_broken_calls(answer)
    assert not drop_broken_calls(Answer(blocks=[*blocks], finish=Finish.TOOL_CALLS))
