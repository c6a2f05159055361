"""Parallel tool calls, put in order whatever their upstream does with index, id and name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import Malformed
from hermes_router.core.events import BlockKind, ChatEvent, Closed, Delta, Opened, Started, fold
from hermes_router.wire.chat.calls import CallAssembler

from ..streams import call, new_ids

A, B = '{"city":"Rome"}', '{"city":"Oslo"}'


def assemble(*deltas: dict[str, Any], extra: Any = None) -> tuple[CallAssembler, list[tuple[str, str, str]]]:
    """The assembler, and (id, name, arguments) of the calls that came out, one whole block after another."""
    calls = CallAssembler(new_ids())
    events: list[ChatEvent] = []
    for delta in deltas:
        calls.add(delta["tool_calls"], extra)
        events.extend(calls.drain())
    events.extend(calls.finish(fill=True))
    answer = fold([Started("", "", 0), *events])
    assert sum(isinstance(e, Opened) for e in events) == sum(isinstance(e, Closed) for e in events)
    return calls, [(b.call_id, b.name, b.text) for b in answer.blocks if b.kind is BlockKind.TOOL_CALL]


def parallel(*deltas: dict[str, Any]) -> dict[str, Any]:
    """Several calls in one delta."""
    return {"tool_calls": [one for delta in deltas for one in delta["tool_calls"]]}


ODDITIES = {
    "as_openai_sends_them": (
        call(0, "a", "f", ""), call(0, None, None, A[:5]), call(0, None, None, A[5:]),
        call(1, "b", "g", ""), call(1, None, None, B[:5]), call(1, None, None, B[5:]),
    ),
    "interleaved": (
        call(0, "a", "f", ""), call(1, "b", "g", ""), call(0, None, None, A[:5]), call(1, None, None, B[:5]),
        call(0, None, None, A[5:]), call(1, None, None, B[5:]),
    ),
    "interleaved_backwards": (
        call(1, "b", "g", B[:3]), call(0, "a", "f", A[:5]), call(0, None, None, A[5:]), call(1, None, None, B[3:]),
    ),
    "index_missing": (
        call(None, "a", "f", ""), call(None, "a", None, A), call(None, "b", "g", ""), call(None, "b", None, B),
    ),
    "index_missing_and_interleaved_by_id": (
        call(None, "a", "f", ""), call(None, "b", "g", ""), call(None, "a", None, A), call(None, "b", None, B),
    ),
    "index_always_0": (
        call(0, "a", "f", ""), call(0, None, None, A), call(0, "b", "g", ""), call(0, None, None, B),
    ),
    "index_always_0_whole": (call(0, "a", "f", A), call(0, "b", "g", B)),
    "index_always_0_interleaved_by_id": (
        call(0, "a", "f", ""), call(0, "b", "g", ""), call(0, "a", None, A), call(0, "b", None, B),
    ),
    "index_null": (
        {"tool_calls": [{"index": None, "id": "a", "function": {"name": "f", "arguments": A}}]},
        {"tool_calls": [{"index": None, "id": "b", "function": {"name": "g", "arguments": B}}]},
    ),
    "ids_repeated_in_every_delta": (
        call(0, "a", "f", ""), call(0, "a", "f", A[:4]), call(0, "a", "f", A[4:]),
        call(1, "b", "g", ""), call(1, "b", "g", B[:4]), call(1, "b", "g", B[4:]),
    ),
    "whole_in_one_delta": (parallel(call(0, "a", "f", A), call(1, "b", "g", B)),),
    "whole_without_index_in_one_delta": (parallel(call(None, "a", "f", A), call(None, "b", "g", B)),),
    "arguments_as_object": (call(0, "a", "f", json.loads(A)), call(1, "b", "g", json.loads(B))),
    "arguments_repeated_at_the_end": (
        call(0, "a", "f", A[:4]), call(0, None, None, A[4:]), call(0, None, None, A),
        call(1, "b", "g", B[:4]), call(1, None, None, B[4:]), call(1, "b", "g", B),
    ),
    "index_from_5": (call(5, "a", "f", A), call(9, "b", "g", B)),
    "the_id_comes_late": (
        parallel({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}),
        call(0, "a", "f", A), call(1, "b", "g", B),
    ),
    "another_id_in_every_delta": (
        call(0, "a", "f", ""), call(0, "x1", None, A[:4]), call(0, "x2", None, A[4:]),
        call(1, "b", "g", ""), call(1, "x3", None, B[:4]), call(1, "x4", None, B[4:]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("oddity", ODDITIES)
def test_every_oddity_gives_two_whole_calls_one_after_another(oddity: str) -> None:
    """Whatever the upstream does with its deltas, the caller gets f(Rome) and g(Oslo), each once (providers.md 6)."""
    calls, found = assemble(*ODDITIES[oddity])
    assert sorted((name, json.loads(args)) for _, name, args in found) == [("f", json.loads(A)), ("g", json.loads(B))]
    assert {call_id for call_id, _, _ in found} == {"a", "b"}
    assert calls.whole
    assert calls.complete


NAMELESS_IDS = {
    "missing": (call(0, None, "f", A), call(1, None, "g", B)),
    "empty": (call(0, "", "f", A), call(1, "", "g", B)),
    "missing_index_too": (call(None, None, "f", A), call(None, None, "g", B)),
    "missing_in_pieces": (
        call(None, None, "f", A[:4]), call(None, None, None, A[4:]),
        call(None, None, "g", B[:4]), call(None, None, None, B[4:]),
    ),
    "index_always_0": (call(0, None, "f", A), call(0, "", "g", B)),
    "name_repeated_in_every_delta": (
        call(0, None, "f", A[:4]), call(0, None, "f", A[4:]), call(1, None, "g", B[:4]), call(1, None, "g", B[4:]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("oddity", NAMELESS_IDS)
def test_calls_without_ids_get_ids_of_ours(oddity: str) -> None:
    """Missing and empty ids become `call_` and 24 characters, one each (providers.md 6)."""
    _, found = assemble(*NAMELESS_IDS[oddity])
    assert [(name, args) for _, name, args in found] == [("f", A), ("g", B)]
    ids = {call_id for call_id, _, _ in found}
    assert len(ids) == 2
    assert all(call_id.startswith("call_") and len(call_id) == 29 for call_id in ids)


def test_equal_ids_of_two_calls_are_told_apart() -> None:
    """A client that answers by id must not answer two calls with one."""
    for deltas in (
        (call(0, "x", "f", A), call(1, "x", "g", B)),
        (call(0, "x", "f", A), call(0, "x", "g", B)),
        (call(0, "x", "f", A), call(1, "x", "f", B)),
        (call(None, "x", "f", A), call(None, "x", "f", B)),
    ):
        _, found = assemble(*deltas)
        assert [args for _, _, args in found] == [A, B]
        assert found[0][0] == "x"
        assert found[1][0].startswith("call_")


def test_the_same_call_twice_stays_two() -> None:
    """Two equal calls, each whole in one delta, are not taken for a repetition."""
    _, found = assemble(call(0, "a", "f", A), call(1, "b", "f", A))
    assert len(found) == 2
    _, found = assemble(call(None, None, "f", A), call(None, None, "f", A))
    assert len(found) == 2


@pytest.mark.parametrize("arguments", [None, "", " ", {}, "{}"])
def test_a_call_without_arguments_is_a_call_with_none(arguments: Any) -> None:
    """`""` is treated as `{}`: callers parse the string as JSON (providers.md 6, 12.14 no. 2)."""
    calls, found = assemble(call(0, "a", "f", arguments), call(1, "b", "g", B))
    assert [(name, json.loads(args)) for _, name, args in found] == [("f", {}), ("g", json.loads(B))]
    assert calls.whole


def test_9r6_cut_arguments_are_not_whole() -> None:
    """A call cut in the middle is known to be one; without arguments it is whole but may not be complete."""
    calls, _ = assemble(call(0, "a", "f", A[:9]))
    assert not calls.whole
    calls, _ = assemble(call(0, "a", "f", "[1]"))
    assert not calls.whole
    calls, _ = assemble(call(0, "a", "f", A), call(0, None, None, "more"))
    assert not calls.whole
    calls, _ = assemble(call(0, "a", "f", ""))
    assert calls.whole
    assert not calls.complete


def test_where_the_answer_was_cut_at_its_length_nothing_is_filled_in() -> None:
    """An empty object would make a whole call of half a one; a call that has no name yet is left out."""
    calls = CallAssembler(new_ids())
    calls.add(call(0, "a", "f", "")["tool_calls"], None)
    calls.add([{"index": 1, "id": "b"}], None)
    answer = fold(calls.finish(fill=False))
    assert [(b.name, b.text) for b in answer.blocks] == [("f", "")]


def test_a_call_is_shown_live_while_it_is_the_open_one() -> None:
    """Deltas of the open call come out at once, those of another wait for it (STREAM_TOOL_ARGS is issue 5)."""
    calls = CallAssembler(new_ids())
    calls.add(call(0, "a", "f", A[:4])["tool_calls"], None)
    assert list(calls.drain()) == [Opened(BlockKind.TOOL_CALL, "a", "f"), Delta(A[:4])]
    calls.add(call(1, "b", "g", B)["tool_calls"], None)
    assert list(calls.drain()) == []
    calls.add(call(0, None, None, A[4:])["tool_calls"], None)
    assert list(calls.drain()) == [Delta(A[4:]), Closed(), Opened(BlockKind.TOOL_CALL, "b", "g"), Delta(B)]


def test_signatures_travel_with_their_call() -> None:
    """Gemini's `extra_content` is kept, from the call or from the delta around it (providers.md 3.1)."""
    signed = {"google": {"thought_signature": "sig"}}
    for deltas, extra in (((call(0, "a", "f", A, extra_content=signed),), None), ((call(0, "a", "f", A),), signed)):
        calls = CallAssembler(new_ids())
        for delta in deltas:
            calls.add(delta["tool_calls"], extra)
        opened = next(calls.drain())
        assert isinstance(opened, Opened)
        assert opened.extras == {"extra_content": signed}


def _nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"n": value}
    return value


@pytest.mark.parametrize("garbage", [["x"], [None], [[]], [{"function": {"arguments": _nested(5_000)}}]], ids=range(4))
def test_garbage_is_malformed(garbage: list[Any]) -> None:
    """A tool call that is no object, or that could not be written again, is an error of the provider's."""
    with pytest.raises(Malformed):
        CallAssembler(new_ids()).add(garbage, None)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["a", "b", "f", A, A[:4], A[4:]]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["index", "id", "function", "name", "arguments"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.lists(_json, max_size=8))
def test_anything_in_tool_calls_is_taken_or_malformed(deltas: list[Any]) -> None:
    """No value makes it raise anything else, and blocks never nest; ids stay unique."""
    calls = CallAssembler(new_ids())
    events: list[ChatEvent] = []
    try:
        for delta in deltas:
            calls.add([delta], None)
            events.extend(calls.drain())
    except Malformed:
        return
    events.extend(calls.finish(fill=True))
    blocks = fold(events).blocks
    assert len({b.call_id for b in blocks}) == len(blocks) == calls.named


def test_calls_of_free_text_are_such() -> None:
    """A tool that takes free text is called as one, in a piece or in several; what it is given need be no JSON."""
    calls = CallAssembler(new_ids())
    events: list[ChatEvent] = []
    for delta in (
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "note", "input": "Os"}},
        {"index": 0, "custom": {"input": "lo"}},
        {"index": 1, "id": "b", "type": "custom", "custom": {"name": "note", "input": ""}},
    ):
        calls.add([delta], None)
        events.extend(calls.drain())
    assert calls.whole
    assert not calls.complete, "of free text nobody can tell whether more comes"
    events.extend(calls.finish(fill=True))
    assert [(b.call_id, b.custom, b.text) for b in fold(events).blocks] == [("a", True, "Oslo"), ("b", True, "")]
