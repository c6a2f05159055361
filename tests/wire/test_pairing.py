"""Histories whose calls and results do not pair, repaired in neutral turns; a sound one is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.content import Image, Text, ToolCall, ToolResult, Turn
from hermes_router.wire.pairing import pair


def call(call_id="a", name="f", arguments="{}", **more):
    return ToolCall(call_id, name, arguments, **more)


def result(call_id="a", text="done"):
    return ToolResult(call_id, (Text(text),))


def said(*parts):
    return Turn("assistant", parts)


def heard(*parts):
    return Turn("user", parts)


def repaired(*turns):
    found, notices = pair(turns)
    return list(found), [str(notice) for notice in notices]


def test_a_sound_history_is_the_same_object() -> None:
    """Nothing is built where nothing is wrong; results may stand with other parts, in any order."""
    turns = (
        heard(Text("hi")),
        said(call("a"), call("b")),
        heard(result("b"), result("a"), Text("and")),
        said(Text("ok")),
    )
    found, notices = pair(turns)
    assert found is turns
    assert notices == ()


def test_a_call_without_result_gets_one() -> None:
    """At the end, and where another turn follows."""
    turns, notices = repaired(said(call("a")), heard(Text("go on")), said(call("b")))
    assert [part for turn in turns for part in turn.parts] == [
        call("a"), ToolResult("a", (Text("No result provided."),)), Text("go on"),
        call("b"), ToolResult("b", (Text("No result provided."),)),
    ]  # fmt: skip
    assert notices == ["repaired:missing_results"]


def test_a_result_without_call_is_told_by_the_user() -> None:
    """With what it shows."""
    image = Image("data:x")
    turns, notices = repaired(heard(result("x", "42")), heard(ToolResult("y", (image,))), heard(ToolResult("z", ())))
    assert turns[0].parts == (Text("Result of an earlier tool call: 42"),)
    assert turns[1].parts == (Text("Result of an earlier tool call:"), image)
    assert turns[2].parts == (Text("Result of an earlier tool call: "),)
    assert notices == ["repaired:orphan_results"]


def test_a_result_moves_behind_its_call() -> None:
    """What stood between stays, and nothing has to be said of it."""
    turns, notices = repaired(said(call("a")), heard(Text("wait")), heard(result("a")))
    assert turns == [said(call("a")), heard(result("a")), heard(Text("wait"))]
    assert notices == []


def test_ids_that_come_twice_are_told_apart() -> None:
    """Each result goes to the call nearest before it."""
    turns, notices = repaired(said(call("a")), heard(result("a", "1")), said(call("a")), heard(result("a", "2")))
    assert [part.call_id for turn in turns for part in turn.parts] == ["a", "a", "a_2", "a_2"]
    assert [turn.parts[0].parts[0].text for turn in turns[1::2]] == ["1", "2"]
    assert notices == ["repaired:duplicate_call_ids"]


@pytest.mark.parametrize(
    ("broken", "whole", "notices"),
    [
        (call(arguments=""), call(), []),
        (call(arguments="{"), call(arguments='{"input":"{"}'), ["repaired:tool_arguments"]),
        (call(arguments="[1]"), call(arguments='{"input":"[1]"}'), ["repaired:tool_arguments"]),
        (call(name=""), call(name="unnamed_tool"), ["repaired:tool_names"]),
        (call(arguments="{", custom=True), call(arguments="{", custom=True), []),
    ],
)
def test_calls_are_made_whole(broken, whole, notices) -> None:
    """Names, and arguments that are an object; a custom tool takes whatever it is given (vector 2)."""
    turns, found = repaired(said(broken), heard(result()))
    assert turns[0].parts == (whole,)
    assert found == notices


_parts = st.lists(
    st.builds(
        lambda call_id, name, arguments: ToolCall(call_id, name, arguments, custom=False),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["", "f"]),
        st.sampled_from(["", "{}", "x"]),
    )
    | st.builds(result, st.sampled_from(["", "a", "b"]))
    | st.just(Text("t")),
    max_size=4,
).map(tuple)


@given(
    st.lists(
        st.builds(
            lambda role, parts: Turn(role, parts, ""), st.sampled_from(["user", "assistant", "developer"]), _parts
        ),
        max_size=6,
    )
)
def test_whatever_comes_is_sound_when_it_leaves(turns) -> None:
    """Repairing is done at once: a second look finds nothing."""
    plain = [
        t._replace(parts=tuple(p for p in t.parts if (t.role == "assistant") is isinstance(p, ToolCall))) for t in turns
    ]
    found, _ = pair(plain)
    assert pair(found) == (found, ())


def test_ten_thousand_calls_of_one_id_do_not_hang() -> None:
    """The cost grows with the history, not with its square."""
    turns = [turn for _ in range(5_000) for turn in (said(call("x")), heard(result("x")))]
    found, _ = pair(turns)
    assert len({part.call_id for turn in found for part in turn.parts}) == 5_000
