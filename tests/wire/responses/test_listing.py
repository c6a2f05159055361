"""hermes_router/wire/responses/listing.py: pages of items, in the shape that the SDK reads."""

import json
from typing import Any

import pytest
from openai.types.responses.response_item_list import ResponseItemList

from hermes_router.core.errors import BadRequest
from hermes_router.wire.responses.listing import list_items

ITEMS: list[Any] = [
    {"role": "user", "content": "one"},
    {"type": "message", "role": "assistant", "content": "two"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "three"}]},
    {"type": "function_call", "id": "fc_mine", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
    {"type": "function_call_output", "call_id": "c", "output": "four", "status": "completed"},
]


def page(items: list[Any] = ITEMS, **query: str) -> Any:
    told = json.loads(list_items(json.dumps(items)[1:-1].encode(), "resp_1", query))
    assert (told["first_id"], told["last_id"]) == (
        (told["data"][0]["id"], told["data"][-1]["id"]) if told["data"] else ("", "")
    )
    return told


def test_items_have_the_shape_of_the_sdk() -> None:
    """Messages in parts with a status, ids for all, the latest first."""
    told = page()
    items = [item for item in told["data"] if item.get("role") != "assistant"]
    ResponseItemList.model_validate({**told, "data": items})
    assert [item["type"] for item in told["data"]] == [
        "function_call_output", "function_call", "message", "message", "message",
    ]  # fmt: skip
    assert told["data"][1]["id"] == "fc_mine"
    assert told["data"][-1]["content"] == [{"type": "input_text", "text": "one"}]
    assert told["data"][-2]["content"] == [{"type": "output_text", "text": "two", "annotations": []}]
    assert page() == told


def test_pages_follow_each_other() -> None:
    """Behind the last id of one comes the next, in either order, until there is no more."""
    for order in ("asc", "desc"):
        whole, seen, after = page(order=order)["data"], [], ""
        while True:
            told = page(order=order, limit="2", after=after)
            seen += told["data"]
            after = told["last_id"]
            if not told["has_more"]:
                break
        assert seen == whole
    assert page(order="asc")["data"] == page()["data"][::-1]


def test_nothing_is_an_empty_page() -> None:
    """A turn that brought nothing of its own."""
    assert page([])["data"] == []


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "up"}, {"after": "msg_of_another"}]
)
def test_what_makes_no_sense_is_named(query: dict[str, str]) -> None:
    """400 with the parameter."""
    with pytest.raises(BadRequest) as caught:
        page(**query)
    assert caught.value.param == next(iter(query))
