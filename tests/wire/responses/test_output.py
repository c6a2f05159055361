"""Output items: one id and one place from the first event to the last."""

import json
from typing import Any

import pytest

from hermes_router.wire.responses.output import (
    CustomItem,
    Event,
    FunctionItem,
    Item,
    MessageItem,
    ThoughtItem,
    frame,
    free_text,
)
from hermes_router.wire.responses.tools import CallShape

SHAPE = CallShape("ask", "team")
ITEMS: list[Item] = [
    MessageItem("msg_%d", 3),
    ThoughtItem("rs_%d", 3),
    FunctionItem("fc_%d", 3, "call_1", SHAPE),
    CustomItem("ctc_%d", 3, "call_1", SHAPE, wrapped=False),
]


def data_of(sse: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(sse.split(b"\ndata: ")[1])
    return value


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_an_item_keeps_its_id_and_place(item: Item) -> None:
    """In what opens it, in each delta and in what ends it; an id may hold any character."""
    opening = item.take()
    assert not item.take()
    item.pieces.append('"x" %d')
    shown = data_of(item.delta % (7, b'"\\"x\\" %d"'))
    assert (shown["item_id"], shown["output_index"], shown["sequence_number"]) == (item.id, 3, 7)
    assert shown["delta"] == '"x" %d'
    closing, whole = item.closing("completed", None)
    for event in (*opening, *closing):
        assert event.members["output_index"] == 3
        assert event.members.get("item_id", item.id) == item.id
        assert event.members.get("item", {}).get("id", item.id) == item.id
    assert closing[-1] == Event("response.output_item.done", {"output_index": 3, "item": json.loads(whole)})


def test_a_call_keeps_the_callers_own_name_and_namespace() -> None:
    """Both kinds of calls; a plain tool has no namespace at all (clients.md 3)."""
    for item in ITEMS[2:]:
        whole = json.loads(item.closing("completed", None)[1])
        assert (whole["name"], whole["namespace"], whole["call_id"]) == ("ask", "team", "call_1")
    plain = json.loads(FunctionItem("fc_1", 0, "c", CallShape("f")).closing("incomplete", None)[1])
    assert "namespace" not in plain
    assert plain["status"] == "incomplete"


def test_a_frame_names_its_event_twice() -> None:
    """`event:` and `type`, the number, then the rest."""
    assert frame(Event("a.b", {"x": "\n"}), 4) == (
        b'event: a.b\ndata: {"type":"a.b","sequence_number":4,"x":"\\n"}\n\n'
    )


def test_a_wrapped_input_is_said_at_the_end() -> None:
    """A function's arguments are no free text before they are whole."""
    item = CustomItem("ctc_1", 0, "c", CallShape("p"), wrapped=True)
    assert item.whole_only
    item.pieces += ['{"inp', 'ut":"x"}']
    kinds = [event.kind.removeprefix("response.") for event in item.closing("completed", None)[0]]
    assert kinds == ["custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done"]


@pytest.mark.parametrize("text", ["[1]", "[" * 100_000, '{"input":"a","b":"c"', '{"a":"b","c":"d"}', "\ud800"])
def test_what_is_no_wrapped_input_is_passed_on(text: str) -> None:
    """Nothing that a model says makes it fail."""
    assert free_text(text) == text


def test_an_abstract_item_has_no_end() -> None:
    """Each kind writes its own."""
    with pytest.raises(NotImplementedError):
        Item("x", 0).closing("completed", None)
