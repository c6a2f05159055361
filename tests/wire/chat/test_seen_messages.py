"""Histories that were decoded lately: whatever comes of them is what decoding them anew gives."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from hermes_router.wire.chat import seen_messages
from hermes_router.wire.chat.seen_messages import History, history_at
from hermes_router.wire.chat.traits import Messages, are_strict, decode_messages, heads_of, traits_of

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "s"},
    {"role": "developer", "content": "d"},
    {"role": "user", "content": "hi"},
    {"role": "user", "content": [{"type": "text", "text": "} ]"}], "name": "n"},
    {"role": "assistant", "content": "a"},
    {"role": "assistant", "content": ""},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "content": "b", "tool_calls": [CALL, CALL | {"id": "call_2"}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "r"},
    {"role": "tool", "tool_call_id": "call_2", "content": "]}"},
    {"role": "assistant", "content": "x", "refusal": None},
    {"role": "function", "name": "f", "content": "r"},
]


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    """Every test begins with nothing."""
    seen_messages._lately.clear()
    yield
    seen_messages._lately.clear()


def asked(messages: list[dict[str, Any]], **style: Any) -> History:
    """The history of these messages, as it stands somewhere in a body."""
    text = json.dumps(messages, **style).encode()
    body = b'{"messages": ' + text + b', "model": "m"}'
    return history_at(body, 13, 13 + len(text))


def outcome(made: Callable[[], Messages]) -> Any:
    """What comes of it, or why nothing does."""
    try:
        return made()
    except (msgspec.MsgspecError, UnicodeError) as error:
        return type(error), str(error)


def as_anew(history: History, messages: list[dict[str, Any]], **style: Any) -> None:
    """Everything about it is what a first look gives."""
    expected = decode_messages(Raw(json.dumps(messages, **style).encode()))
    assert history.messages == expected
    assert are_strict(history.messages) == are_strict(expected)
    assert history.heads == heads_of(expected)
    assert history.traits == traits_of(expected)


@given(
    st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=8),
    st.lists(st.integers(1, 8), max_size=4),
    st.sampled_from([{}, {"separators": (",", ":")}, {"indent": 2}]),
)
def test_a_conversation_that_grows_is_what_it_is_anew(
    messages: list[dict[str, Any]], lengths: list[int], style: dict[str, Any]
) -> None:
    """Whatever was seen before: a part of it, all of it, more than it."""
    for length in [*lengths, len(messages)]:
        part = messages[:length]
        as_anew(asked(part, **style), part, **style)


@given(st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=5), st.lists(st.sampled_from(MESSAGES), max_size=5))
def test_what_was_seen_of_others_changes_nothing(messages: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """Two conversations that begin alike."""
    asked([*messages, *others])
    as_anew(asked([*messages, {"role": "user", "content": "b"}]), [*messages, {"role": "user", "content": "b"}])
    as_anew(asked([*messages, *others]), [*messages, *others])


def test_only_what_is_new_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same again costs a comparison, a turn more costs that turn."""
    turns = [{"role": "user", "content": "x" * 5_000}, {"role": "assistant", "content": "a"}]
    first = asked(turns)
    decoded: list[bytes] = []

    def decode(raw: Raw) -> Any:
        decoded.append(bytes(raw))
        return decode_messages(raw)

    monkeypatch.setattr(seen_messages, "decode_messages", decode)
    assert asked(turns) is first
    assert decoded == []
    longer = asked([*turns, {"role": "user", "content": "b"}])
    assert decoded == [b'[ {"role": "user", "content": "b"}]']
    assert longer.messages[:2] == first.messages
    assert len(first.messages) == 2


@pytest.mark.parametrize(
    "end",
    [b",]", b",", b"", b"]]", b"} ]", b',{"role":1}]', b',{"role":"user"},]', b",[]]", b',{"role":"user","role":{}}'],
)
def test_what_is_no_list_of_messages_is_refused_as_if_nothing_were_known(end: bytes) -> None:
    """A broken end behind a good beginning, at the place where decoding the whole would find it."""
    known = b'[{"role":"user","content":"hi"}]'
    history_at(known, 0, len(known))
    body = known[:-1] + end
    assert outcome(lambda: history_at(body, 0, len(body)).messages) == outcome(lambda: decode_messages(Raw(body)))


def test_a_body_goes_though_its_history_is_remembered() -> None:
    """What is kept are copies: nothing of it leans on the body, nor on those of the turns before."""
    text = b'[{"role":"user","content":"hi"}'
    for behind in (b"]", b',{"role":"user","content":"b"}]'):
        body = text + behind + b" " * 10_000
        history = history_at(body, 0, len(text + behind))
    assert max(len(memoryview(message.content).obj) for message in history.messages) < 100


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many bytes in all, the latest used; what is longer than a bound of its own is never kept."""
    monkeypatch.setattr(seen_messages, "MOST_BYTES", 1_000)
    monkeypatch.setattr(seen_messages, "LONGEST", 400)
    made = [asked([{"role": "user", "content": f"{number}" * 200}]) for number in range(4)]
    assert asked([{"role": "user", "content": "1" * 200}]) is made[1]
    asked([{"role": "user", "content": "9" * 200}])
    assert asked([{"role": "user", "content": "1" * 200}]) is made[1]
    assert asked([{"role": "user", "content": "0" * 200}]) is not made[0]
    long = [{"role": "user", "content": "x" * 500}]
    assert asked(long) is not asked(long)
    assert asked([]).messages == []


def test_few_are_compared() -> None:
    """However short they are: a thousand that begin with the same long instructions would cost more than decoding."""
    for number in range(50):
        asked([{"role": "user", "content": f"{number}"}])
    assert len(seen_messages._lately) == seen_messages.MOST
