"""A draft decodes only what is asked for, and says which field is of the wrong type."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.chat.traits import are_strict, decode_messages
from hermes_router.wire.quirks.draft import (
    Draft,
    is_null,
    is_plain_text,
    open_messages,
    open_strict,
    parts_of,
    text_of,
    thaw,
)


def opened(*messages):
    return open_messages(Raw(json.dumps(messages).encode()))


def test_content_stays_raw_until_somebody_needs_it():
    """Opening messages decodes roles and calls; a megabyte of content stays a slice."""
    (message,) = opened({"role": "user", "content": "x" * 100})
    assert message["role"] == "user"
    assert isinstance(message["content"], Raw)
    assert text_of(message, 0) == "x" * 100


def test_parts_keep_their_payload_raw():
    """An image is not decoded to read a part's type."""
    (message,) = opened({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]})
    (part,) = parts_of(message, 0)
    assert isinstance(part["image_url"], Raw)
    assert text_of(message, 0) is None


def test_text_of_joins_text_and_refusals():
    """A list of text parts reads as one text; a refusal is what the assistant said (12.3)."""
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]
    assert text_of(opened({"role": "assistant", "content": parts})[0], 0) == "a\n\nno"
    assert text_of({"role": "user", "content": None}, 0) is None


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([1], "messages"),
        ({}, "messages"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": 5}], "messages[0].role"),
        ([{"role": "a"}, {"role": "assistant", "tool_calls": {}}], "messages[1].tool_calls"),
        ([{"role": "assistant", "tool_calls": [5]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [{"function": "f"}]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [{"id": 5}]}], "messages[0].tool_calls[0].id"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": 5}}]}], "messages[0].tool_calls[0].function.name"),
        ([{"role": "tool", "tool_call_id": 5}], "messages[0].tool_call_id"),
        ([{"role": "user", "name": {}}], "messages[0].name"),
    ],
)
def test_wrong_types_are_named(messages, param):
    """Wrong types are 400 with the path of the field."""
    with pytest.raises(BadRequest) as caught:
        open_messages(Raw(json.dumps(messages).encode()))
    assert caught.value.param == param


def test_what_is_no_text_is_a_bad_request_not_a_crash():
    """Bytes that are no UTF-8, surrogates and endless nesting are the caller's errors, where they are met."""
    for raw in (b'"\xff"', b'"\\ud800"', b"[" * 5_000):
        with pytest.raises(BadRequest):
            thaw({"x": Raw(raw)}, "x", "messages")
    with pytest.raises(BadRequest):
        parts_of({"role": "user", "content": Raw(b"[1]")}, 0)


def test_null_and_plain_text_are_told_without_decoding():
    """The cheap looks that spare most messages a closer one."""
    assert is_null(None)
    assert is_null(Raw(b"null"))
    assert not is_null(Raw(b'""'))
    assert is_plain_text(opened({"role": "user", "content": "x"})[0])
    assert not is_plain_text(opened({"role": "assistant", "content": ""})[0])
    assert not is_plain_text(opened({"role": "user", "content": "x", "name": "y"})[0])


def test_thaw_keeps_what_it_decoded():
    """A value is decoded once."""
    holder = {"x": Raw(b'{"a":1}')}
    assert thaw(holder, "x", "x") is thaw(holder, "x", "x")
    assert msgspec.json.encode(holder) == b'{"x":{"a":1}}'


def test_warnings_are_clean_and_not_repeated():
    """They end in a header and may carry words of the caller."""
    draft = Draft({}, NO_RECALL, frozenset())
    draft.warn("dropped", "a\r\nb" + "x" * 99)
    draft.warn("dropped", "a\r\nb" + "x" * 99)
    (note,) = draft.notes
    assert str(note).startswith("dropped:a??bx")
    assert len(note.what) == 64
    assert draft.altered


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "é"},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"a":"\\n"}'}}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "a", "type": "", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "tool_call_id": "", "content": ""},
    ],
)
def test_messages_that_were_decoded_before_open_as_raw_ones_do(message: dict[str, Any]) -> None:
    """Nothing is lost, added or read in another way."""
    raw = Raw(json.dumps([message]).encode())
    decoded = decode_messages(raw)
    assert are_strict(decoded)
    assert open_strict(decoded) == open_messages(raw)


def test_decoded_calls_that_cannot_be_opened_are_named() -> None:
    """Arguments are looked into only here: a number beyond all bounds is the caller's mistake."""
    raw = Raw(b'[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":1e999}}]}]')
    decoded = decode_messages(raw)
    assert are_strict(decoded)
    with pytest.raises(BadRequest) as caught:
        open_strict(decoded)
    assert caught.value.param == "messages[0].tool_calls"
