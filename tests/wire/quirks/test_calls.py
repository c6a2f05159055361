"""Call ids of a fixed shape, single calls, and who may follow whom."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import encode

from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.quirks import calls as quirks_calls
from hermes_router.wire.quirks.draft import Draft, open_messages

USER = {"role": "user", "content": "hi"}
NINE = re.compile(r"[a-zA-Z0-9]{9}")


def calls(*ids, **more):
    made = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": "x", "tool_calls": made, **more}


def result(id_):
    return {"role": "tool", "tool_call_id": id_, "content": "r"}


def after(step, *messages, **draft):
    params = draft.pop("params", {})
    made = Draft(params, NO_RECALL, frozenset(), messages=open_messages(Raw(json.dumps(messages).encode())), **draft)
    step(made)
    return json.loads(encode(made.messages)), made


def ids_of(out):
    return [call["id"] for message in out for call in message.get("tool_calls", ())]


def test_ll11_ids_are_rewritten_the_same_for_call_and_result_and_in_the_next_request():
    """`call_…` ids become nine characters, by hash: going back and forth keeps the conversation whole (LL-11)."""
    first, _ = after(quirks_calls.call_ids_9, calls("call_abc"), result("call_abc"))
    longer, _ = after(
        quirks_calls.call_ids_9, calls("call_abc"), result("call_abc"), calls("toolu_1"), result("toolu_1")
    )
    assert ids_of(first) == [first[1]["tool_call_id"]] == ids_of(longer)[:1]
    assert NINE.fullmatch(ids_of(first)[0])


def test_ids_of_the_right_shape_stay():
    """Mistral's own ids come back as Mistral made them; nothing is edited then."""
    out, draft = after(quirks_calls.call_ids_9, calls("abcDEF123"), result("abcDEF123"))
    assert ids_of(out) == ["abcDEF123"]
    assert not draft.messages_changed


def test_a_collision_takes_the_next_hash():
    """Two ids of one request never become one, even if an id of the caller's is the hash of another."""
    taken = ids_of(after(quirks_calls.call_ids_9, calls("call_abc"), result("call_abc"))[0])[0]
    out, _ = after(quirks_calls.call_ids_9, calls("call_abc", taken), result("call_abc"), result(taken))
    assert len(set(ids_of(out))) == 2
    assert ids_of(out)[1] == taken


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=12, unique=True))
def test_rewriting_is_one_to_one(ids):
    """Whatever the ids were, they stay distinct, have the shape, and results follow their calls."""
    out, _ = after(quirks_calls.call_ids_9, calls(*ids), *(result(each) for each in ids))
    assert len(set(ids_of(out))) == len(ids)
    assert all(NINE.fullmatch(each) for each in ids_of(out))
    assert [message["tool_call_id"] for message in out[1:]] == ids_of(out)


def test_several_calls_become_several_turns():
    """Each call with its own result, text and reasoning with the first (3.11); single calls stay as they are."""
    out, _ = after(
        quirks_calls.single_calls,
        calls("a", "b", reasoning_content="r"),
        result("b"),
        result("a"),
        calls("c"),
        result("c"),
    )
    first, second = calls("a", reasoning_content="r"), calls("b", reasoning_content="r") | {"content": ""}
    assert out == [first, result("a"), second, result("b"), calls("c"), result("c")]


def test_parallel_calls_are_switched_off_only_with_tools():
    """The parameter means something only beside tools, and only where the row takes it."""
    assert "parallel_tool_calls" not in after(quirks_calls.single_calls_parameter)[1].params
    assert after(quirks_calls.single_calls_parameter, has_tools=True)[1].params == {"parallel_tool_calls": False}
    assert after(quirks_calls.single_calls_parameter, has_tools=True, allow=frozenset())[1].params == {}


def test_a_user_turn_after_a_result_gets_a_bridge():
    """Results may follow results, and an assistant turn needs no bridge."""
    out, _ = after(
        quirks_calls.user_after_tool_bridge,
        calls("a", "b"),
        result("a"),
        result("b"),
        USER,
        calls("c"),
        result("c"),
        calls("d"),
    )
    assert [message["role"] for message in out] == [
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_trailing_assistant_turn_is_asked_to_go_on():
    """And the caller is told, since a prefill means something else elsewhere."""
    out, draft = after(quirks_calls.last_not_assistant, USER, {"role": "assistant", "content": "x"})
    assert out[-1]["role"] == "user"
    assert [str(note) for note in draft.notes] == ["approx:messages.last"]
    assert not after(quirks_calls.last_not_assistant, USER)[1].messages_changed
    assert not after(quirks_calls.last_not_assistant, USER, {"role": "assistant", "content": "x", "prefix": True})[
        1
    ].messages_changed


@pytest.mark.parametrize(
    "last",
    [USER, result("c"), calls("c"), {"role": "assistant", "content": " "}, {"role": "assistant", "content": None}],
)
def test_only_a_last_turn_of_text_is_a_prefill(last):
    """Told to go on with nothing, Mistral's models make something up (pipecat-ai/pipecat#4625)."""
    for step, mark in ((quirks_calls.prefill_prefix, "prefix"), (quirks_calls.prefill_partial, "partial")):
        out, draft = after(step, {"role": "assistant", "content": "y"}, last)
        assert not any(mark in message for message in out)
        assert not draft.messages_changed
        out, draft = after(step, {"role": "assistant", "content": "y", mark: True}, last | {mark: True})
        assert not any(mark in message for message in out)
        assert draft.messages_changed


def test_a_list_of_text_is_a_prefill_too():
    """Content parts say what a string says."""
    parts = [{"type": "text", "text": "x"}]
    out, _ = after(quirks_calls.prefill_prefix, USER, {"role": "assistant", "content": parts})
    assert out[-1]["prefix"] is True


def test_kimi_is_asked_for_a_part_in_no_demanded_format():
    """Partial mode and JSON mode do not go together (platform.kimi.ai/docs/api/partial)."""
    turns = (USER, {"role": "assistant", "content": "x"})
    out, _ = after(quirks_calls.prefill_partial, *turns)
    assert out[-1]["partial"] is True
    out, draft = after(quirks_calls.prefill_partial, *turns, params={"response_format": {"type": "json_object"}})
    assert "partial" not in out[-1]
    assert not draft.messages_changed
