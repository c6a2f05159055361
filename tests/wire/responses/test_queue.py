"""Items put in order: one block at a time, nothing lost, nothing said twice."""

import itertools
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import Malformed, Truncated
from hermes_router.core.events import BlockKind, ChatEvent, Closed, Delta, Opened
from hermes_router.wire.responses.frames import ItemFrame
from hermes_router.wire.responses.queue import Queue

from ..streams import new_ids

CALL = BlockKind.TOOL_CALL


def queue() -> Queue:
    return Queue(new_ids(), "p/m")


def drained(one: Queue) -> list[ChatEvent]:
    out: list[ChatEvent] = []
    one.drain(out)
    return out


def call(item_id: str, arguments: Any = None, **more: Any) -> ItemFrame:
    fields = {"type": "function_call", "id": item_id, "call_id": f"call_{item_id}", "name": "f", "arguments": arguments}
    return ItemFrame(**{**fields, **more})


def test_a_call_behind_another_waits() -> None:
    """Its deltas come out once the first is over, in one piece."""
    one = queue()
    one.begin(0, call("a"))
    one.begin(1, call("b"))
    one.say(CALL, 1, "b", ("call", None), '{"y"')
    one.say(CALL, 0, "a", ("call", None), "{")
    assert drained(one) == [Opened(CALL, "call_a", "f"), Delta("{")]
    one.say(CALL, 1, "b", ("call", None), ":2}")
    assert drained(one) == []
    one.end(0, call("a", "{}"))
    assert drained(one) == [Delta("}"), Closed(), Opened(CALL, "call_b", "f"), Delta('{"y":2}')]
    out: list[ChatEvent] = []
    one.finish(out, fill=True)
    assert out == [Closed()]
    assert one.named == 2


def test_a_call_without_a_name_waits_for_it() -> None:
    """Deltas may come before anybody said whose they are; the whole item tells."""
    one = queue()
    one.say(CALL, 0, "a", ("call", None), "{}")
    assert drained(one) == []
    assert isinstance(one.fault(), Malformed)
    one.end(0, call("a", "{}"))
    assert drained(one) == [Opened(CALL, "call_a", "f"), Delta("{}"), Closed()]
    assert one.fault() is None


def test_the_whole_item_only_adds_what_is_missing() -> None:
    """What was shown stands; what waits may still be put right."""
    one = queue()
    one.begin(0, call("a"))
    one.say(CALL, 0, "a", ("call", None), '{"x":1}')
    assert drained(one)[1:] == [Delta('{"x":1}')]
    one.end(0, call("a", '{"y":2}'))
    assert drained(one) == [Closed()]
    one.say(CALL, 1, "b", ("call", None), "garbage")
    one.end(1, call("b", {"y": 2}))
    assert drained(one) == [Opened(CALL, "call_b", "f"), Delta('{"y":2}'), Closed()]


def test_an_item_that_begins_twice_is_one() -> None:
    """The same id at the same place; another id there is another item, and ends the first."""
    one = queue()
    one.begin(0, call("a", name=None))
    one.begin(0, call("a"))
    one.begin(0, call("b"))
    out = drained(one)
    assert [event.call_id for event in out if isinstance(event, Opened)] == ["call_a", "call_b"]


def test_ids_that_are_missing_or_repeated_are_made_up() -> None:
    """Every call can be answered by itself."""
    one = queue()
    for index, call_id in enumerate(["x", "x", None, 3, ""]):
        one.end(index, call(f"i{index}", "{}", call_id=call_id))
    ids = [event.call_id for event in drained(one) if isinstance(event, Opened)]
    assert ids[0] == "x"
    assert len(set(ids)) == 5
    assert all(call_id.startswith("call_") for call_id in ids[1:])


def test_events_without_place_and_id_go_to_the_last_item() -> None:
    """Some servers leave both out."""
    one = queue()
    one.begin(None, ItemFrame(type="message"))
    one.say(BlockKind.TEXT, None, None, ("text", 0), "a")
    one.say(BlockKind.TEXT, None, None, ("text", 0), "b")
    assert drained(one) == [Opened(BlockKind.TEXT), Delta("ab")]
    assert one.live is not None


def test_text_behind_its_own_end_is_not_lost() -> None:
    """It is another message."""
    one = queue()
    one.say(BlockKind.TEXT, 0, "m", ("text", 0), "a")
    one.end(0, ItemFrame(type="message", id="m", content="a"))
    one.say(BlockKind.TEXT, 0, "m", ("text", 0), "b")
    assert [event.text for event in drained(one) if isinstance(event, Delta)] == ["a", "\n\nb"]


def test_only_visible_text_of_the_open_message_is_live() -> None:
    """White space shows nothing, and a message that waits is not open."""
    one = queue()
    one.say(BlockKind.TEXT, 0, "m", ("text", 0), " ")
    drained(one)
    assert one.live is None
    one.say(BlockKind.TEXT, 0, "m", ("text", 0), "a")
    drained(one)
    assert one.live is not None
    assert one.live.item_id == "m"
    one.end(0, ItemFrame(type="message", id="m", content=" a"))
    drained(one)
    assert one.live is None


def test_a_cut_call_is_not_filled() -> None:
    """`{}` stands for no arguments at a good end only."""
    one = queue()
    one.end(0, call("a", "", status="incomplete"))
    one.end(1, call("b", ""))
    assert [event for event in drained(one) if isinstance(event, Delta)] == [Delta("{}")]
    one.end(2, call("c", '{"x'))
    assert isinstance(one.fault(), Truncated)


def test_the_end_does_not_say_again_what_was_said() -> None:
    """By id, by place, or by both; what it alone knows is taken from it."""
    one = queue()
    one.end(0, call("a", "{}"))
    one.end(1, call("b", "{}"))
    drained(one)
    one.reconcile([call("a", "{}"), call("other", "{}"), ItemFrame(type="message", id="m", content="new")])
    out: list[ChatEvent] = []
    one.finish(out, fill=True)
    assert out == [Opened(BlockKind.TEXT), Delta("new"), Closed()]


@given(
    texts=st.lists(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4), min_size=1, max_size=5),
    seed=st.integers(),
)
def test_items_in_any_interleaving_come_out_whole_and_in_order(texts: list[list[str]], seed: int) -> None:
    """Order within an item is kept, order of items is that of their beginnings."""
    one = queue()
    rng = random.Random(seed)
    out: list[ChatEvent] = []
    for index in range(len(texts)):
        one.begin(index, ItemFrame(type="custom_tool_call", id=f"i{index}", call_id=f"c{index}", name="f"))
    todo = [[("say", text) for text in pieces] + [("end", "".join(pieces))] for pieces in texts]
    while any(todo):
        index = rng.choice([n for n, steps in enumerate(todo) if steps])
        what, text = todo[index].pop(0)
        if what == "say":
            one.say(CALL, index, f"i{index}", ("custom", None), text)
        else:
            one.end(index, ItemFrame(type="custom_tool_call", id=f"i{index}", name="f", input=text))
        one.drain(out)
    one.finish(out, fill=True)
    blocks = ["".join(e.text for e in group if isinstance(e, Delta)) for group in _blocks(out)]
    assert blocks == ["".join(pieces) for pieces in texts]


def _blocks(events: list[ChatEvent]) -> list[list[ChatEvent]]:
    numbers = itertools.accumulate(isinstance(event, Opened) for event in events)
    return [
        [e for _, e in group] for _, group in itertools.groupby(zip(numbers, events, strict=True), lambda pair: pair[0])
    ]
