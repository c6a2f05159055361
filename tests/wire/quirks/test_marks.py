"""Cache marks in Chat: where they stand, and when none are set."""

import json

import pytest
from msgspec import Raw
from msgspec.json import Decoder, encode

from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.quirks.draft import Draft, open_messages
from hermes_router.wire.quirks.marks import may_mark, set_marks

FIELDS = Decoder(dict[str, Raw])
MARK = {"type": "ephemeral"}
SYSTEM = {"role": "system", "content": "be brief"}
ANSWER = {"role": "assistant", "content": "x"}
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in "ab"
]}  # fmt: skip


def user(content="hi"):
    return {"role": "user", "content": content}


def result(call_id):
    return {"role": "tool", "tool_call_id": call_id, "content": "done"}


def text(said="hi", **more):
    return {"type": "text", "text": said, **more}


def marked(*messages, **draft):
    made = Draft({}, NO_RECALL, frozenset(), messages=open_messages(Raw(json.dumps(messages).encode())), **draft)
    set_marks(made)
    return json.loads(encode(made.messages)), made


def places(messages):
    return [n for n, message in enumerate(messages) if b'"cache_control"' in encode(message)]


def test_they_stand_behind_the_system_text_and_the_callers_last_two_turns():
    """Results in a row are one turn; never more than four in all (BF-10)."""
    out, draft = marked(SYSTEM, user(), CALL, result("a"), result("b"), ANSWER, user(), ANSWER, user("go"))
    assert places(out) == [0, 6, 8]
    assert out[0]["content"] == [text("be brief", cache_control=MARK)]
    assert draft.messages_changed
    out, _ = marked(SYSTEM, user(), CALL, result("a"), result("b"))
    assert places(out) == [0, 1, 4]
    assert out[4] == {**result("b"), "content": [text("done", cache_control=MARK)]}


def test_each_request_finds_what_the_one_before_has_written():
    """The last mark of a request is on the same message of the next one."""
    first = [SYSTEM, user(), ANSWER, user("go")]
    earlier, later = marked(*first)[0], marked(*first, CALL, result("a"), result("b"))[0]
    assert places(earlier)[-1] in places(later)
    assert earlier[3] == later[3]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([text("a"), text("b")], [text("a"), text("b", cache_control=MARK)]),
        ([text("a"), {"type": "image_url", "image_url": {"url": "x"}}], [text("a", cache_control=MARK), {"type": "image_url", "image_url": {"url": "x"}}]),
        ([text("a"), text("  ")], [text("a", cache_control=MARK), text("  ")]),
        ([{"type": "image_url", "image_url": {"url": "x"}}], [{"type": "image_url", "image_url": {"url": "x"}}]),
        ("  ", "  "),
        ("", ""),
        (None, None),
        ([], []),
    ],
)  # fmt: skip
def test_a_mark_stands_on_a_text_that_says_something(content, expected):
    """On nothing else is it taken."""
    assert marked(ANSWER, user(content))[0][1]["content"] == expected


def test_a_question_asked_once_is_not_cached():
    """To write a cache costs more than one use brings; with tools there will be a second turn."""
    assert not marked(SYSTEM, user())[1].messages_changed
    assert places(marked(SYSTEM, user(), has_tools=True)[0]) == [0, 1]


@pytest.mark.parametrize(
    ("body", "may"),
    [
        ({}, True),
        ({"messages": [user([text(cache_control=MARK)])]}, False),
        ({"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": MARK}]}, False),
        ({"cache_control": MARK}, False),
        ({"messages": [user('what is "cache_control"?')]}, True),
    ],
)
def test_a_caller_that_sets_marks_knows_best(body, may):
    """One mark anywhere, and none of ours is set; text that speaks of marks is none."""
    fields = FIELDS.decode(json.dumps({"messages": [user()], **body}).encode())
    assert may_mark(Draft({}, NO_RECALL, frozenset()), fields) is may
    assert not may_mark(Draft({}, NO_RECALL, frozenset(), refused=frozenset({"cache_control"})), fields)
