"""Traits: what messages are like, found once, so that most targets never look at them again."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog import Quirk
from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.body_split import Fields
from hermes_router.wire.chat.outgoing import NO_RECALL, Options, render
from hermes_router.wire.chat.traits import EVERYTHING, NOTHING, Trait, decode_messages, traits_of

from .test_outgoing import facts

USER = {"role": "user", "content": "hi"}
SYSTEM = {"role": "system", "content": "be nice"}
LONG = "call_0123456789"
NINE = "abcdef012"


def call(call_id: str = LONG, arguments: str = "{}", **more: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "look", "arguments": arguments}, **more}


def turn(*calls: dict[str, Any], content: str | None = "so") -> list[dict[str, Any]]:
    results = [{"role": "tool", "tool_call_id": each["id"], "content": "seen"} for each in calls]
    return [{"role": "assistant", "content": content, "tool_calls": list(calls)}, *results]


def traits(messages: list[Any]) -> int:
    return traits_of(decode_messages(msgspec.Raw(json.dumps(messages).encode())))


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER], NOTHING),
        ([SYSTEM, USER], Trait.SYSTEM),
        ([SYSTEM, SYSTEM, USER], Trait.SYSTEM | Trait.SYSTEMS),
        ([{**SYSTEM, "role": "developer"}, USER], Trait.SYSTEM | Trait.DEVELOPER),
        ([{**USER, "name": "ann"}], Trait.NAMES),
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], Trait.LISTS),
        ([USER, {"role": "assistant", "content": "yes"}], Trait.OPEN_END),
        ([USER, {"role": "assistant", "content": ""}, USER], Trait.EMPTY_TURN),
        ([USER, *turn(call())], Trait.CALLS | Trait.ODD_IDS),
        ([USER, *turn(call(NINE))], Trait.CALLS),
        ([USER, *turn(call(NINE)), USER], Trait.CALLS | Trait.USER_AFTER_TOOL),
        ([USER, *turn(call(NINE), content=None)], Trait.CALLS | Trait.NULL_CONTENT),
        ([USER, *turn(call(NINE), call("abcdef013"))], Trait.CALLS | Trait.PARALLEL),
    ],
)
def test_a_trait_is_found_exactly_where_it_is(messages: list[Any], expected: int) -> None:
    """Nothing more and nothing less than what is there."""
    assert traits(messages) == expected


@pytest.mark.parametrize(
    "messages",
    [
        [USER, turn(call())[0]],  # no result
        [USER, turn(call())[1]],  # no call
        [USER, *turn(call()), *turn(call())],  # the same id twice
        [USER, *turn(call(arguments="{"))],
        [USER, *turn(call(arguments="[]"))],
        [USER, *turn(call(arguments='{"a":1'))],  # cut
        [USER, *turn(call(""))],
        [USER, turn(call())[0], {**turn(call())[1], "tool_calls": [call(NINE)]}],  # a result that calls
        [USER, turn(call())[0], USER, turn(call())[1]],  # the result comes late
        [USER, {"role": "assistant", "content": "x", "tool_calls": []}, USER],
        [USER, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, USER],
        [USER, {"role": "function", "name": "f", "content": "x"}],
    ],
)
def test_a_history_that_needs_repair_is_broken(messages: list[Any]) -> None:
    """Whatever does not pair, or is of the legacy shape, is opened for every target."""
    assert traits(messages) & Trait.BROKEN


@pytest.mark.parametrize("extra", [{"refusal": None}, {"reasoning_content": "hm"}, {"cache_control": {}}])
def test_foreign_keys_are_seen(extra: dict[str, Any]) -> None:
    """A key that not every provider knows is a trait of its own, in messages and in calls."""
    assert traits([{**USER, **extra}]) & Trait.FOREIGN
    assert traits([USER, *turn(call(**extra))]) & Trait.FOREIGN


_TEXT = st.sampled_from(["", "hi", "so\n  it is"])
_ID = st.sampled_from(["", NINE, LONG, "abcdef013"])
_CALL = st.fixed_dictionaries(
    {
        "id": _ID,
        "type": st.just("function"),
        "function": st.fixed_dictionaries(
            {"name": st.sampled_from(["look", ""]), "arguments": st.sampled_from(["{}", '{"a":1}', "", "[1]", "{"])}
        ),
    },
    optional={"extra_content": st.just({"google": {"thought_signature": "s"}})},
)
_PARTS = st.lists(st.sampled_from([{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": {}}]))
_OPTIONAL = {
    "name": st.sampled_from(["ann", None]),
    "refusal": st.none(),
    "reasoning_content": st.just("hm"),
}
_MESSAGE = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user"]), "content": _TEXT | _PARTS}, optional=_OPTIONAL
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={**_OPTIONAL, "content": _TEXT | st.none(), "tool_calls": st.lists(_CALL, max_size=2)},
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": _TEXT, "tool_call_id": _ID}),
)
_ROWS = [frozenset({quirk}) for quirk in Quirk] + [frozenset(Quirk) - {Quirk.SYSTEM_TO_USER}]


@given(messages=st.lists(_MESSAGE, min_size=1, max_size=6), quirks=st.sampled_from(_ROWS))
def test_what_no_trait_shows_no_quirk_would_change(messages: list[Any], quirks: frozenset[Quirk]) -> None:
    """Rendering by traits gives what rendering with every quirk looking gives: no trait is ever missing.

    It is the same with messages that were decoded before.
    """
    fields = {"messages": msgspec.Raw(json.dumps(messages).encode())}
    target = facts(*sorted(quirks))

    def sent(found: int | None) -> Any:
        try:
            rendered = render(fields, target, Options(stream=True, traits=found), NO_RECALL)
        except BadRequest as error:
            return str(error)
        return json.loads(rendered.body)["messages"]

    assert sent(None) == sent(EVERYTHING)
    plain, fields = fields, Fields(fields)
    fields.messages = decode_messages(plain["messages"])
    known = sent(EVERYTHING)
    assert sent(None) == known
    fields = plain
    assert sent(EVERYTHING) == known
