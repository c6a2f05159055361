"""Histories that do not pair are repaired and said; sound ones are left alone (contract.md, Errors)."""

import json

import pytest
from msgspec import Raw
from msgspec.json import encode

from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.quirks.draft import Draft, open_messages
from hermes_router.wire.quirks.history import NO_NAME, NO_RESULT, legacy_functions, repair

USER = {"role": "user", "content": "hi"}


def call(id_, name="f", arguments="{}"):
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*given):
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [call(one) if isinstance(one, str) else one for one in given],
    }


def result(id_, content="r"):
    return {"role": "tool", "tool_call_id": id_, "content": content}


def repaired(*messages, step=repair):
    draft = Draft({}, NO_RECALL, frozenset(), messages=open_messages(Raw(json.dumps(messages).encode())))
    step(draft)
    return draft, json.loads(encode(draft.messages))


def said(draft):
    return {str(note) for note in draft.notes}


def test_a_sound_history_is_not_touched():
    """Parallel calls, results in another order, several steps: nothing to do, nothing to say."""
    messages = [USER, calls("a", "b"), result("b"), result("a"), calls("c"), result("c"), USER]
    draft, out = repaired(*messages)
    assert out == messages
    assert not draft.messages_changed
    assert not draft.notes


def test_a_result_without_a_call_becomes_user_text():
    """A compressed history begins with results whose calls are gone: their text is kept."""
    draft, out = repaired(result("gone", "12 C"), USER)
    assert out == [{"role": "user", "content": "Result of an earlier tool call: 12 C"}, USER]
    assert said(draft) == {"repaired:orphan_results"}


def test_a_call_without_a_result_gets_one_that_says_so():
    """Every call must be answered, also in the middle and at the end."""
    draft, out = repaired(calls("a", "b"), result("a"), USER, calls("c"))
    assert out[2] == result("b", NO_RESULT)
    assert out[-1] == result("c", NO_RESULT)
    assert said(draft) == {"repaired:missing_results"}


def test_a_late_result_moves_behind_its_call():
    """A user turn in between does not part a result from its call."""
    _, out = repaired(calls("a"), USER, result("a"))
    assert out == [calls("a"), result("a"), USER]


def test_duplicate_ids_are_renamed_with_their_results():
    """Servers that number `call_0` anew in each turn: each result stays with its own call."""
    draft, out = repaired(calls("x"), result("x", "1"), calls("x"), result("x", "2"))
    assert out == [calls("x"), result("x", "1"), calls("x_2"), result("x_2", "2")]
    assert said(draft) == {"repaired:duplicate_call_ids"}
    _, out = repaired(calls("x", "x"), result("x", "1"), result("x", "2"))
    assert [message.get("tool_call_id") for message in out[1:]] == ["x", "x_2"]


def test_a_second_result_for_one_call_is_user_text():
    """Each call has exactly one result."""
    _, out = repaired(calls("a"), result("a", "1"), result("a", "2"))
    assert [message["role"] for message in out] == ["assistant", "tool", "user"]


def test_missing_ids_are_made_up_the_same_each_time():
    """Ids that we make depend on the position only, so the prefix of the next turn is the same (BF-9)."""
    messages = [USER, calls(call("")), result("")]
    _, first = repaired(*messages)
    _, second = repaired(*messages, USER)
    assert first[1]["tool_calls"][0]["id"] == first[2]["tool_call_id"] == "call_1_0"
    assert second[:3] == first


def test_9r8_an_empty_tool_name_gets_one():
    """No provider takes a call without a name (9R-8)."""
    draft, out = repaired(calls(call("a", name="")), result("a"))
    assert out[0]["tool_calls"][0]["function"]["name"] == NO_NAME
    assert said(draft) == {"repaired:tool_names"}


@pytest.mark.parametrize(
    ("arguments", "expected", "warned"),
    [
        ("", {}, False),
        (None, {}, False),
        ({"a": 1}, {"a": 1}, True),
        ("[1]", {"input": "[1]"}, True),
        ('{"a": "cut', {"input": '{"a": "cut'}, True),
        (5, {"input": 5}, True),
    ],
)
def test_arguments_are_always_a_json_object(arguments, expected, warned):
    """Templates load them; a cut or foreign value is kept under one key (12.4)."""
    draft, out = repaired(calls(call("a", arguments=arguments)), result("a"))
    assert json.loads(out[0]["tool_calls"][0]["function"]["arguments"]) == expected
    assert ("repaired:tool_arguments" in said(draft)) == warned


def test_an_empty_list_of_calls_is_no_list():
    """`tool_calls: []` is refused by most."""
    assert repaired({"role": "assistant", "content": "x", "tool_calls": []})[1] == [
        {"role": "assistant", "content": "x"}
    ]


def test_legacy_functions_are_calls_and_results():
    """`function_call` and role `function` pair by name; null, which SDKs echo, means none (12.2)."""
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    answer = {"role": "function", "name": "f", "content": "r"}
    draft, out = repaired(USER, legacy, answer, step=legacy_functions)
    assert out == [USER, calls("call_1"), result("call_1")]
    assert said(draft) == {"renamed:function_call"}
    echoed = {"role": "assistant", "content": "x", "function_call": None}
    assert repaired(echoed, step=legacy_functions)[1] == [echoed]
    assert (
        repaired({"role": "function", "name": "zzz", "content": "r"}, step=legacy_functions)[1][0]["tool_call_id"] == ""
    )
