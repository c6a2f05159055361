"""The neutral stream, folded into a whole answer."""

import pytest

from hermes_router.core.errors import Truncated
from hermes_router.core.events import (
    Answer,
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Failed,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
    fold,
)

START = Started("id", "m", 5)


def test_a_stream_folds_into_its_blocks() -> None:
    """Deltas of a block are joined, blocks keep their order, the last usage counts."""
    answer = fold(
        [
            START,
            Opened(BlockKind.REASONING),
            Delta("h"),
            UsageSeen(Usage(1, 1)),
            Delta("m"),
            Closed(),
            Opened(BlockKind.TEXT),
            Delta("a"),
            Closed(),
            Opened(BlockKind.TOOL_CALL, "c", "f", {"x": 1}),
            Delta("{}"),
            Closed(),
            Opened(BlockKind.TEXT),
            Delta("b"),
            Closed(),
            UsageSeen(Usage(1, 2)),
            Finished(Finish.TOOL_CALLS),
        ]
    )
    assert (answer.id, answer.model, answer.created) == ("id", "m", 5)
    assert [(b.kind.value, b.text) for b in answer.blocks] == [
        ("reasoning", "hm"),
        ("text", "a"),
        ("tool_call", "{}"),
        ("text", "b"),
    ]
    assert (answer.text(), answer.text(BlockKind.REASONING)) == ("ab", "hm")
    call = answer.blocks[2]
    assert (call.call_id, call.name, call.extras) == ("c", "f", {"x": 1})
    assert (answer.usage, answer.finish, answer.error) == (Usage(1, 2), Finish.TOOL_CALLS, None)


def test_a_failure_keeps_what_came_before() -> None:
    """A cut stream folds too: its open block is there as far as it came."""
    error = Truncated()
    answer = fold([START, Opened(BlockKind.TEXT), Delta("a"), Failed(error)])
    assert (answer.text(), answer.finish, answer.error) == ("a", None, error)
    assert fold([]) == Answer()


@pytest.mark.parametrize(
    "events",
    [
        [START, Delta("x")],
        [START, Closed()],
        [START, Opened(BlockKind.TEXT), Opened(BlockKind.TEXT)],
        [START, Opened(BlockKind.TEXT), Closed(), Delta("x")],
        [START, Opened(BlockKind.TEXT), Closed(), Closed()],
    ],
)
def test_what_breaks_the_grammar_is_refused(events: list[ChatEvent]) -> None:
    """A decoder's mistake does not become a caller's answer."""
    with pytest.raises(ValueError, match="block"):
        fold(events)
