"""Input items: opened once, and what comes out may be relied on."""

import msgspec
import pytest

from hermes_router.core.errors import BadRequest
from hermes_router.wire.responses.items import is_assistants, open_items, payload_of, texts_of


def opened(value):
    return open_items(msgspec.Raw(msgspec.json.encode(value)))


def test_a_string_is_what_a_user_says() -> None:
    """And an item without a type is a message, as Hermes, OpenCode and Vercel send it."""
    assert opened("hi") == [{"type": "message", "role": "user", "content": "hi"}]
    assert opened([{"role": "developer", "content": "x"}])[0]["type"] == "message"


def test_what_we_do_not_know_is_let_through() -> None:
    """Callers are ahead of us: items and parts of other types keep whatever they have."""
    strange = [
        {"type": "telepathy_call", "content": 5, "role": 7},
        {"role": "user", "content": [{"type": "input_smell", "smell": [1]}]},
    ]
    assert [item["type"] for item in opened(strange)] == ["telepathy_call", "message"]


def test_arguments_that_came_decoded_are_text_again() -> None:
    """Some callers keep them as objects."""
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": {"x": [1]}}
    assert opened([call])[0]["arguments"] == '{"x":[1]}'


def test_items_kept_by_a_provider_are_refused() -> None:
    """Whether the reference says what it is or not."""
    for item in ({"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}):
        with pytest.raises(BadRequest, match="cannot be referred to"):
            opened([item])


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"type": "message", "role": "assistant"}, True), ({"type": "message", "role": "user"}, False),
        ({"type": "reasoning"}, True), ({"type": "function_call"}, True), ({"type": "web_search_call"}, True),
        ({"type": "function_call_output"}, False), ({"type": "local_shell_call_output"}, False),
        ({"type": "additional_tools"}, False), ({"type": "mcp_approval_response"}, False),
    ],
)  # fmt: skip
def test_whose_item_it_is(item, said) -> None:
    """The model's neighbours are one turn; results and wishes are the caller's."""
    assert is_assistants(item) is said


def test_payload_is_what_is_encoded() -> None:
    """An address is text, an encoded image or file is none."""
    assert payload_of({"image_url": "https://e.org/i.png"}) == 0
    assert payload_of({"image_url": "data:image/png;base64,AAAA"}) == 26
    assert payload_of({"file_data": "AAAA"}) == 4
    assert payload_of({"input_audio": {"data": "AAAAA"}}) == 5


def test_texts_are_found_in_order() -> None:
    """In strings and lists of parts, of either side's spelling."""
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_image"}, {"type": "output_text", "text": "b"}]
    assert list(texts_of(parts)) == ["a", "b"]
    assert list(texts_of("x")) == ["x"]
    assert list(texts_of(None)) == []
