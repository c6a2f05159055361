"""Roles, keys and content as single providers want them."""

import json

import pytest
from msgspec import Raw
from msgspec.json import encode

from hermes_router.core.catalog import Quirk
from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.quirks import messages as quirks
from hermes_router.wire.quirks.draft import Draft, open_messages

USER = {"role": "user", "content": "hi"}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def after(step, *messages, rows=()):
    draft = Draft({}, NO_RECALL, frozenset(rows), messages=open_messages(Raw(json.dumps(messages).encode())))
    step(draft)
    return json.loads(encode(draft.messages)), draft


def system(content="s", role="system"):
    return {"role": role, "content": content}


def test_only_leading_system_messages_merge():
    """A system note in the middle stays where the caller put it."""
    out, _ = after(quirks.merge_system, system("a"), system("b", "developer"), USER, system("c"))
    assert out == [system("a\n\nb"), USER, system("c")]
    out, draft = after(quirks.merge_system, system(), USER, system())
    assert not draft.messages_changed


def test_merging_keeps_parts_that_are_no_text():
    """An image among system text makes the merged content a list."""
    out, _ = after(quirks.merge_system, system([IMAGE]), system("b"), USER)
    assert out[0]["content"] == [IMAGE, {"type": "text", "text": "b"}]


def test_system_text_opens_the_first_user_turn():
    """Gemma 3 knows no system role (3.1): nothing of it is lost."""
    assert after(quirks.system_to_user, system("a"), USER, system("b"))[0] == [
        {"role": "user", "content": "a\n\nhi"},
        {"role": "user", "content": "b"},
    ]
    out, draft = after(quirks.system_to_user, system("a"), {"role": "user", "content": [IMAGE]})
    assert out == [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}]
    assert [str(note) for note in draft.notes] == ["approx:messages.system"]
    assert after(quirks.system_to_user, system("a"))[0] == [{"role": "user", "content": "a"}]


def test_an_instruction_joins_the_system_text():
    """What a parameter could not say is said behind the system text, or before everything."""
    assert after(lambda draft: quirks.instruct(draft, "json"), system("a"), USER)[0][0] == system("a\n\njson")
    assert after(lambda draft: quirks.instruct(draft, "json"), USER)[0] == [system("json"), USER]


def test_flattening_needs_text_only():
    """A list with an image stays a list; one of text becomes a string, an empty one an empty string."""
    assert after(quirks.flatten_text, {"role": "user", "content": [IMAGE]})[0][0]["content"] == [IMAGE]
    assert after(quirks.flatten_text, {"role": "user", "content": []})[0][0]["content"] == ""


def test_null_content_becomes_empty_only_beside_calls():
    """Present or missing, null beside tool calls is an empty string."""
    assert after(quirks.content_never_null, {"role": "assistant", "tool_calls": [CALL]})[0][0]["content"] == ""
    assert after(quirks.content_never_null, {"role": "assistant", "content": None})[0][0]["content"] is None


def test_names_of_tool_messages_go_silently():
    """A tool message's name says nothing new; a user's name is a loss, and said."""
    out, draft = after(quirks.drop_message_names, USER | {"name": "me"}, {"role": "tool", "name": "f", "content": "x"})
    assert all("name" not in message for message in out)
    assert [str(note) for note in draft.notes] == ["dropped:messages.name"]


def test_strict_keys_drop_what_sdks_echo():
    """Null fields, reasoning of others, cache marks and stream remains do not reach a strict provider (clients.md 7.17)."""
    sent = {
        "role": "assistant", "content": None, "refusal": None, "parsed": None, "annotations": [], "audio": None,
        "reasoning_content": "r", "reasoning_details": [], "function_call": None, "name": None, "odd": 1,
        "tool_calls": [CALL | {"index": 0, "extra_content": {}, "function": CALL["function"] | {"x": 1}}],
    }  # fmt: skip
    out, draft = after(quirks.strict_message_keys, sent)
    assert out == [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    assert [str(note) for note in draft.notes] == ["dropped:messages.odd"]


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (Quirk.REPLAY_REASONING, "reasoning_content"),
        (Quirk.REPLAY_REASONING_IF_KNOWN, "reasoning_content"),
        (Quirk.REPLAY_DETAILS, "reasoning_details"),
    ],
)
def test_strict_keys_spare_what_the_row_replays(row, key):
    """What a replay quirk has just written stays, on turns with calls."""
    out, _ = after(
        quirks.strict_message_keys, {"role": "assistant", "content": "", "tool_calls": [CALL], key: "x"}, rows=[row]
    )
    assert out[0][key] == "x"
    out, _ = after(quirks.strict_message_keys, {"role": "assistant", "content": "y", key: "x"}, rows=[row])
    assert key not in out[0]


def test_strict_keys_spare_signatures():
    """A signature on a call stays for the row that wants it."""
    sent = {"role": "assistant", "content": "", "tool_calls": [CALL | {"extra_content": {"google": {}}}]}
    assert after(quirks.strict_message_keys, sent, rows=[Quirk.REPLAY_SIGNATURE])[0] == [sent]


def test_strict_keys_reach_into_parts():
    """Cache marks leave parts, foreign thoughts leave altogether, a refusal is text; images stay."""
    parts = [
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "refusal", "refusal": "no"},
        IMAGE,
        {"type": "other", "other": 1, "cache_control": {}},
    ]
    out, _ = after(quirks.strict_message_keys, {"role": "assistant", "content": parts})
    assert out[0]["content"] == [
        {"type": "text", "text": "x"},
        {"type": "text", "text": "no"},
        IMAGE,
        {"type": "other", "other": 1},
    ]


@pytest.mark.parametrize("content", ["", None, []])
def test_empty_assistant_turns_are_left_out(content):
    """Neither content nor calls: most providers refuse such a turn (5)."""
    out, draft = after(
        quirks.strict_message_keys, USER, {"role": "assistant", "content": content, "reasoning_content": "r"}, USER
    )
    assert out == [USER, USER]
    assert "dropped:messages.empty" in {str(note) for note in draft.notes}


def test_a_refusal_is_what_the_assistant_said():
    """A refusal in the history becomes its text instead of an empty turn."""
    out, _ = after(quirks.strict_message_keys, {"role": "assistant", "content": None, "refusal": "I can't"})
    assert out == [{"role": "assistant", "content": "I can't"}]


def test_a_custom_call_becomes_a_function_call():
    """Free-text tools are known to one provider only: the text goes under one key (12.4)."""
    custom = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    (out,), _ = after(quirks.strict_message_keys, {"role": "assistant", "content": "", "tool_calls": [custom]})
    assert out["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "patch", "arguments": '{"input":"*** Begin"}'}}
    ]
