"""Content blocks that come in any order, and go on one after another."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.content import Seal
from hermes_router.core.errors import Malformed
from hermes_router.core.events import BlockKind, ChatEvent, Closed, Delta, Opened
from hermes_router.wire.messages.order import BlockQueue

from ..messages_streams import ORIGIN, joined
from ..streams import new_ids

TEXT, REASONING, CALL = BlockKind.TEXT, BlockKind.REASONING, BlockKind.TOOL_CALL


def play(*steps: Callable[[BlockQueue, list[ChatEvent]], object], fill: bool = True) -> list[ChatEvent]:
    """Each step, then what can be said after it; in the end all the rest."""
    queue, out = BlockQueue(new_ids(), ORIGIN), list[ChatEvent]()
    for step in steps:
        step(queue, out)
        queue.drain(out)
    queue.finish(out, fill=fill)
    return joined(out)


def begin(index: int | None, name: str = "f", call_id: str = "", given_: str = "") -> Callable[..., object]:
    return lambda queue, _out: queue.start_call(index, call_id or f"c{index}", name, given_)


def argue(index: int | None, piece: str) -> Callable[..., object]:
    return lambda queue, _out: queue.argue(index, piece)


def stop(index: int | None) -> Callable[..., object]:
    return lambda queue, _out: queue.stop(index)


def start(kind: BlockKind, index: int | None) -> Callable[..., object]:
    return lambda queue, _out: queue.start(kind, index)


def say(kind: BlockKind, index: int | None, text: str) -> Callable[..., object]:
    def step(queue: BlockQueue, out: list[ChatEvent]) -> None:
        if queue.say(kind, index, text):
            out.append(Delta(text))

    return step


def call(call_id: str, arguments: str, name: str = "f") -> list[ChatEvent]:
    return [Opened(CALL, call_id, name), Delta(arguments), Closed()]


@given(st.permutations([0, 0, 1, 1, 2]))
def test_calls_that_interleave_come_out_one_after_another(order: list[int]) -> None:
    """In the order of their beginnings, each with its own arguments (providers.md 12.14 (1))."""
    pieces = [iter(['{"a"', ":1}"]), iter(['{"b"', ":2}"]), iter(['{"c":3}'])]
    events = play(*(begin(index) for index in range(3)), *(argue(index, next(pieces[index])) for index in order))
    assert events == [*call("c0", '{"a":1}'), *call("c1", '{"b":2}'), *call("c2", '{"c":3}')]


def test_a_call_without_arguments_waits_for_the_reason() -> None:
    """`{}` where it was whole, nothing where the answer was cut, and `{}` where another block shows that it was."""
    assert play(begin(0), stop(0)) == call("c0", "{}")
    assert play(begin(0), stop(0), fill=False) == [Opened(CALL, "c0", "f"), Closed()]
    assert play(begin(0), stop(0), begin(1), stop(1), fill=False) == [
        *call("c0", "{}"), Opened(CALL, "c1", "f"), Closed(),
    ]  # fmt: skip


def test_arguments_of_the_beginning_count_where_no_others_come() -> None:
    """Else they would be said twice."""
    assert play(begin(0, given_='{"a":1}'), stop(0)) == call("c0", '{"a":1}')
    assert play(begin(0, given_='{"a":1}'), argue(0, '{"a":2}'), stop(0)) == call("c0", '{"a":2}')


def test_a_beginning_that_is_said_twice_is_one() -> None:
    """The same number and the same id, or the same kind."""
    assert play(begin(0), begin(0), argue(0, "{}")) == call("c0", "{}")
    assert play(start(TEXT, 0), say(TEXT, 0, "a"), start(TEXT, 0), say(TEXT, 0, "b")) == [
        Opened(TEXT), Delta("ab"), Closed(),
    ]  # fmt: skip


def test_text_in_the_middle_of_a_call_waits_for_its_end() -> None:
    """Nothing is lost, and nothing stands inside a call."""
    steps = [begin(0), argue(0, '{"a"'), start(TEXT, 1), say(TEXT, 1, "x"), argue(0, ":1}"), stop(0), say(TEXT, 1, "y")]
    assert play(*steps) == [*call("c0", '{"a":1}'), Opened(TEXT), Delta("xy"), Closed()]


def test_what_comes_behind_an_end_begins_anew() -> None:
    """Text of a block that is over is a block of its own; so is text of another kind."""
    assert play(start(TEXT, 0), stop(0), say(TEXT, 0, "late")) == [
        Opened(TEXT), Closed(), Opened(TEXT), Delta("late"), Closed(),
    ]  # fmt: skip
    assert play(say(TEXT, 0, "a"), say(REASONING, 0, "b")) == [
        Opened(TEXT), Delta("a"), Closed(), Opened(REASONING), Delta("b"), Closed(),
    ]  # fmt: skip


def test_an_end_without_a_number_is_that_of_the_open_block() -> None:
    """And one of a number that nobody knows is nothing."""
    assert play(start(TEXT, 0), say(TEXT, 0, "a"), stop(9), say(TEXT, 0, "b"), stop(None), say(TEXT, 0, "c")) == [
        Opened(TEXT), Delta("ab"), Closed(), Opened(TEXT), Delta("c"), Closed(),
    ]  # fmt: skip


def test_thoughts_carry_who_made_them() -> None:
    """A signature, the later one if there are two; or what nobody can read. Without data there is nothing of it."""
    signed = play(
        start(REASONING, 0),
        lambda queue, _: queue.sign(0, "s1"),
        lambda queue, _: queue.sign(0, "s2"),
        lambda queue, _: queue.start_redacted(1, "secret"),
        lambda queue, _: queue.sign(1, "never"),
        lambda queue, _: queue.start_redacted(2, ""),
        start(REASONING, 3),
    )
    seals = [event.seal for event in signed if isinstance(event, Closed)]
    assert seals == [
        Seal("anthropic_messages", "signature", "s2", ORIGIN),
        Seal("anthropic_messages", "redacted", "secret", ORIGIN),
        None,
    ]


def test_blocks_of_servers_are_passed_over() -> None:
    """With all that belongs to them, and the block before them is over."""
    foreign = lambda queue, _: queue.start_foreign(1)  # noqa: E731
    assert play(say(TEXT, 0, "a"), foreign, argue(1, '{"q":1}'), say(TEXT, 1, "x"), stop(1), say(TEXT, 2, "b")) == [
        Opened(TEXT), Delta("a"), Closed(), Opened(TEXT), Delta("b"), Closed(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "steps",
    [
        [begin(0, name="")],
        [argue(0, "{}")],
        [say(TEXT, 0, "a"), argue(0, "{}")],
        [begin(0), argue(0, '{"a'), stop(0), argue(0, "more")],
    ],
    ids=["no_name", "no_call", "in_text", "behind_the_end"],
)
def test_arguments_that_belong_to_no_call_are_no_answer(steps: list[Callable[..., object]]) -> None:
    """A call must not be shown with what may be another's."""
    with pytest.raises(Malformed):
        play(*steps)


def test_what_is_plain_is_said() -> None:
    """The open block's number while it is text and alone: what the fast lane asks."""
    queue, out = BlockQueue(new_ids(), ORIGIN), list[ChatEvent]()
    assert queue.plain_index is None
    queue.start(TEXT, 4)
    assert queue.plain_index is None
    queue.drain(out)
    assert queue.plain_index == 4
    queue.stop(4)
    assert queue.plain_index is None
    queue.start(REASONING, 5)
    queue.drain(out)
    assert queue.plain_index is None


STEPS = [
    *(begin(i) for i in (0, 1)), *(argue(i, p) for i, p in itertools.product((0, 1), ('{"a":', "1}", "}", "x"))),
    *(start(k, i) for k, i in itertools.product((TEXT, REASONING), (0, 1, None))),
    *(say(k, i, "t") for k, i in itertools.product((TEXT, REASONING), (0, 1, None))),
    *(stop(i) for i in (0, 1, None)), lambda queue, _: queue.start_foreign(1),
    lambda queue, _: queue.start_redacted(0, "d"),
]  # fmt: skip


@given(st.lists(st.sampled_from(STEPS), max_size=14), st.booleans())
def test_any_order_of_steps_keeps_the_grammar(steps: list[Callable[..., object]], fill: bool) -> None:
    """Opened Delta* Closed, one block after another, or Malformed (design.md 2.4)."""
    try:
        events = play(*steps, fill=fill)
    except Malformed:
        return
    is_open = False
    for event in events:
        assert isinstance(event, Opened) != is_open
        is_open = not isinstance(event, Closed)
        assert not isinstance(event, Delta) or event.text
    assert not is_open
