"""How attempts join what the caller has seen: the commit point, a second attempt, the cap."""

from hermes_router.core.events import (
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
)

from .grammar import check_caller, frames_of
from .streams import new_splice

START = Started("up-1", "m-1", 5)


def block(kind: BlockKind, *texts: str) -> list[ChatEvent]:
    return [Opened(kind), *map(Delta, texts), Closed()]


def text(*texts: str) -> list[ChatEvent]:
    return block(BlockKind.TEXT, *texts)


def thought(*texts: str) -> list[ChatEvent]:
    return block(BlockKind.REASONING, *texts)


def said(sse: bytes, field: str = "content") -> str:
    return "".join(f["choices"][0]["delta"].get(field) or "" for f in frames_of(sse) if f["choices"])


def test_everything_is_held_until_the_first_content() -> None:
    """Role, usage, empty blocks and white space are no content: failover behind them is invisible (design 2.14)."""
    splice = new_splice()
    for events in ([START], [UsageSeen(Usage(1, 0))], [Opened(BlockKind.TEXT), Delta("\n")], [Closed()], thought(" ")):
        assert splice.admit(events) == b""
        assert not splice.committed
        assert splice.may_restart
    out = splice.admit(text("hi"))
    assert splice.committed
    assert not splice.may_restart
    assert said(out) == "\nhi"
    check_caller(out)


def test_a_held_attempt_leaves_no_trace() -> None:
    """What an attempt left behind that was never shown is not in the next one's answer, nor in the tally."""
    splice = new_splice()
    splice.admit([START, *text(" ")])
    splice.begin(None)
    assert splice.shown.chars == 0
    out = splice.admit([Started("up-2", "m-2", 6), *text("hi"), Finished(Finish.STOP)])
    frames = check_caller(out)
    assert {(f["id"], f["model"]) for f in frames} == {("up-2", "m-2")}
    assert splice.raw_lane


def test_ca1_reasoning_is_not_shown_twice() -> None:
    """Reasoning visible, no text: the next attempt goes on without its reasoning, under the first identity."""
    splice = new_splice()
    out = splice.admit([START, Opened(BlockKind.REASONING), Delta("hm"), Delta("…")])
    assert splice.committed
    assert splice.may_restart
    splice.begin(None)
    second = [Started("up-2", "m-2", 6), *thought("other"), *text("answer"), *thought("late"), Finished(Finish.STOP)]
    out += splice.admit(second)
    frames = check_caller(out)
    assert {(f["id"], f["model"], f["created"]) for f in frames} == {("up-1", "m-1", 5)}
    assert (said(out, "reasoning_content"), said(out)) == ("hm…", "answer")
    assert not splice.raw_lane
    assert not splice.may_restart


def test_ca1_no_second_attempt_behind_text_or_calls() -> None:
    """Never a second full answer behind the first half (CA-1); nor behind a call that has begun."""
    splice = new_splice()
    splice.admit([START, *text("half")])
    assert not splice.may_restart
    splice = new_splice()
    splice.admit([START, Opened(BlockKind.TOOL_CALL, "a", "f")])
    assert splice.committed
    assert not splice.may_restart


def test_keep_alives_carry_the_callers_name_and_then_the_id_stays() -> None:
    """Before anyone has answered: the caller's model name and our id; afterwards that id, and the true model."""
    splice = new_splice()
    splice.admit([START])
    first = splice.keep_alive("ours", "hermes-router", 9)
    again = splice.keep_alive("another", "hermes-router", 10)
    assert first == again
    assert frames_of(first)[0]["model"] == "hermes-router"
    assert frames_of(first)[0]["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}]
    out = splice.admit(text("hi"))
    assert {(f["id"], f["model"], f["created"]) for f in frames_of(out)} == {("ours", "m-1", 9)}
    assert not splice.raw_lane  # the upstream's frames have another id
    late = splice.keep_alive("third", "hermes-router", 11)
    assert frames_of(late)[0] | {"choices": []} == frames_of(out)[0] | {"choices": []}


def test_keep_alives_behind_the_commit_are_the_streams_own() -> None:
    """They carry the identity that the caller has seen, and frames may still be forwarded raw."""
    splice = new_splice()
    out = splice.admit([START, *text("hi")]) + splice.keep_alive("ours", "hermes-router", 9)
    check_caller(out)
    assert splice.raw_lane


def test_visible_text_ends_at_the_callers_cap() -> None:
    """Four characters a token; the finish is length, nothing follows the cut, and frames are not forwarded raw."""
    splice = new_splice(cap_tokens=2)
    out = splice.admit([START, *thought("long reasoning is not counted"), Opened(BlockKind.TEXT), Delta("12345")])
    assert not splice.raw_lane
    assert not splice.capped
    out += splice.admit([Delta("67890"), Delta("x"), Closed(), Opened(BlockKind.TOOL_CALL, "a", "f"), Delta("{}")])
    assert splice.capped
    out += splice.admit([Closed(), Finished(Finish.STOP, "stop")])
    frames = check_caller(out)
    assert said(out) == "12345678"
    assert frames[-1]["choices"][0]["finish_reason"] == "length"
    assert not any("tool_calls" in f["choices"][0]["delta"] for f in frames)


def test_text_that_just_fits_keeps_its_own_finish() -> None:
    """The cap is no cut where nothing was cut."""
    splice = new_splice(cap_tokens=2)
    out = splice.admit([START, *text("12345678"), Finished(Finish.STOP, "stop")])
    assert frames_of(out)[-1]["choices"][0]["finish_reason"] == "stop"
    splice.begin(None)
    assert splice.cap_chars is None
