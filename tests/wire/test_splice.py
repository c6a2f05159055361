"""How attempts join what the caller has seen: the commit point, a second attempt, the cap."""

import pytest

from hermes_router.core.errors import Unjoined
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
from hermes_router.wire.seam import Seam, anchor_of

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
        assert splice.way == "anew"
    out = splice.admit(text("hi"))
    assert splice.committed
    assert splice.way == "on"
    assert said(out) == "\nhi"
    check_caller(out)


def test_a_held_attempt_leaves_no_trace() -> None:
    """What an attempt left behind that was never shown is not in the next one's answer, nor in the tally."""
    splice = new_splice()
    splice.admit([START, *text(" ")])
    splice.begin(None)
    assert splice.shown.chars == 0
    out = splice.admit([Started("up-2", "m-2", 6), Opened(BlockKind.TEXT), Delta("hi")])
    assert splice.raw_lane
    out += splice.admit([Closed(), Finished(Finish.STOP)])
    frames = check_caller(out)
    assert {(f["id"], f["model"]) for f in frames} == {("up-2", "m-2")}


def test_ca1_reasoning_is_not_shown_twice() -> None:
    """Reasoning visible, no text: the next attempt goes on without its reasoning, under the first identity."""
    splice = new_splice()
    out = splice.admit([START, Opened(BlockKind.REASONING), Delta("hm"), Delta("…")])
    assert splice.committed
    assert splice.way == "anew"
    splice.begin(None)
    second = [Started("up-2", "m-2", 6), *thought("other"), *text("answer"), *thought("late"), Finished(Finish.STOP)]
    out += splice.admit(second)
    frames = check_caller(out)
    assert {(f["id"], f["model"], f["created"]) for f in frames} == {("up-1", "m-1", 5)}
    assert (said(out, "reasoning_content"), said(out)) == ("hm…", "answer")
    assert not splice.raw_lane
    assert splice.way == "on"


def test_ca1_no_second_answer_behind_text_or_live_calls() -> None:
    """Never a second full answer behind the first half (CA-1): it is gone on with; nobody goes on behind a live call."""
    splice = new_splice()
    splice.admit([START, *text("half")])
    assert splice.way == "on"
    assert new_splice(continues=False).way == "anew"
    splice = new_splice(continues=False)
    splice.admit([START, *text("half")])
    assert splice.way == "stop"
    splice = new_splice(live_calls=True)
    splice.admit([START, Opened(BlockKind.TOOL_CALL, "a", "f")])
    assert splice.committed
    assert splice.way == "stop"


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
    out = splice.admit([START, Opened(BlockKind.TEXT), Delta("hi")]) + splice.keep_alive("ours", "hermes-router", 9)
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


CALL = Opened(BlockKind.TOOL_CALL, "a", "f")
OTHER = Opened(BlockKind.TOOL_CALL, "b", "g")


def calls_of(sse: bytes) -> dict[str, str]:
    """The arguments of each call, by name."""
    found: list[tuple[str, str]] = []
    for frame in frames_of(sse):
        for choice in frame["choices"]:
            for call in choice["delta"].get("tool_calls") or ():
                function = call["function"]
                if function.get("name"):
                    found.append((function["name"], ""))
                found[-1] = (found[-1][0], found[-1][1] + (function.get("arguments") or ""))
    return dict(found)


def test_ha3_a_call_is_shown_when_the_upstream_has_ended_well() -> None:
    """All calls come together behind the good end; before it nothing of them, whatever was said in between."""
    splice = new_splice()
    out = splice.admit([START, *text("Let me look.")])
    waits = splice.admit([CALL, Delta('{"a"'), Delta(":1}"), Closed(), *text("and"), OTHER, Delta("{}"), Closed()])
    assert waits == b""
    assert splice.waits
    out += splice.admit([Finished(Finish.TOOL_CALLS)])
    assert calls_of(out) == {"f": '{"a":1}', "g": "{}"}
    assert said(out) == "Let me look.and"
    check_caller(out)


def test_ha3_of_a_call_that_was_cut_nothing_was_shown() -> None:
    """So the answer is gone on with behind its text, which is known to be whole; and anew where there is none."""
    splice = new_splice()
    splice.admit([START, *text("Let me look."), CALL, Delta('{"a"')])
    assert splice.way == "on"
    assert splice.text_ended
    assert splice.shown.text == "Let me look."
    assert splice.said_chars == len('Let me look.{"a"')
    assert splice.shown_chars == len("Let me look.")
    splice = new_splice()
    assert splice.admit([START, CALL, Delta('{"a"')]) == b""
    assert splice.way == "anew"
    assert splice.spoke


def test_live_calls_are_shown_as_they_come() -> None:
    """STREAM_TOOL_ARGS=live."""
    splice = new_splice(live_calls=True)
    out = splice.admit([START, CALL, Delta('{"a"')])
    assert calls_of(out) == {"f": '{"a"'}


def test_9r6_a_call_that_was_cut_at_the_length_limit_is_left_out() -> None:
    """What is whole is shown, and the finish is the true one; also where nothing else is left to show."""
    splice = new_splice()
    out = splice.admit(
        [START, CALL, Delta('{"a":1}'), Closed(), OTHER, Delta('{"b'), Closed(), Finished(Finish.LENGTH)]
    )
    assert calls_of(out) == {"f": '{"a":1}'}
    assert frames_of(out)[-1]["choices"][0]["finish_reason"] == "length"
    splice = new_splice()
    out = splice.admit([START, OTHER, Delta('{"b'), Closed(), Finished(Finish.LENGTH)])
    assert splice.committed
    assert calls_of(out) == {}
    assert frames_of(out)[-1]["choices"][0]["finish_reason"] == "length"


def test_ca1_another_attempt_goes_on_in_the_same_text() -> None:
    """Behind the seam only what is new is shown, in the block that is open, under the first identity; no thought."""
    splice = new_splice()
    out = splice.admit([START, Opened(BlockKind.TEXT), Delta("one two "), Delta("three")])
    splice.begin(None, Seam("one two three", anchor=anchor_of("one two three")))
    assert splice.goes_on
    second = [Started("up-2", "m-2", 6), *thought("hm"), Opened(BlockKind.TEXT), Delta("one two th")]
    assert splice.admit(second) == b""
    assert splice.spoke
    out += splice.admit([Delta("ree four"), Delta(" five"), Closed(), CALL, Delta("{}"), Closed()])
    assert not splice.goes_on
    out += splice.admit([Finished(Finish.TOOL_CALLS)])
    frames = check_caller(out)
    assert said(out) == "one two three four five"
    assert said(out, "reasoning_content") == ""
    assert calls_of(out) == {"f": "{}"}
    assert {(f["id"], f["model"], f["created"]) for f in frames} == {("up-1", "m-1", 5)}
    assert splice.shown_chars == len(" four five{}")
    assert not splice.raw_lane


def test_a_continuation_that_is_not_joined_shows_nothing() -> None:
    """It fails, and the next one finds the text as it was."""
    splice = new_splice()
    splice.admit([START, Opened(BlockKind.TEXT), Delta("one two three four five six seven")])
    splice.begin(None, Seam(splice.shown.text, anchor=anchor_of(splice.shown.text)))
    with pytest.raises(Unjoined):
        splice.admit([Started("up-2", "m-2", 6), *text("Sure, continuing: eight"), Finished(Finish.STOP)])
    assert splice.shown_chars == 0
    assert splice.way == "on"
    assert splice.shown.text == "one two three four five six seven"


def test_a_call_behind_a_text_that_was_cut_is_no_seam() -> None:
    """By anchor: a call says nothing of the text. Where that is known to be whole, it is what comes next."""
    ends = [Delta("Let me look."), Closed()]  # of one block, which another may follow
    for cut, joined in (([Delta("Let me")], False), (ends, False), ([*ends, CALL, Delta("{")], True)):
        splice = new_splice()
        out = splice.admit([START, Opened(BlockKind.TEXT), *cut])
        splice.begin(None, Seam(splice.shown.text, anchor=anchor_of(splice.shown.text), ended=splice.text_ended))
        second = [Started("up-2", "m-2", 6), OTHER, Delta("{}"), Closed(), Finished(Finish.TOOL_CALLS)]
        if joined:
            out += splice.admit(second)
            assert (said(out), calls_of(out)) == ("Let me look.", {"g": "{}"})
            check_caller(out)
        else:
            with pytest.raises(Unjoined):
                splice.admit(second)


def test_a_thought_that_broke_off_is_closed_before_the_next_answer() -> None:
    """The caller sees one answer: the first's thought, then the second's text."""
    splice = new_splice()
    out = splice.admit([START, Opened(BlockKind.REASONING), Delta("hm")])
    splice.begin(None)
    out += splice.admit([Started("up-2", "m-2", 6), *text("hi"), Finished(Finish.STOP)])
    check_caller(out)
    assert (said(out, "reasoning_content"), said(out)) == ("hm", "hi")


def test_text_behind_a_call_of_a_continuation_is_a_block_of_its_own() -> None:
    """What goes on in the open text is what comes before the call; nothing of what stands behind it is lost."""
    splice = new_splice()
    ends = [Delta("Let me look."), Closed(), CALL, Delta("{")]
    out = splice.admit([START, Opened(BlockKind.TEXT), *ends])
    splice.begin(None, Seam(splice.shown.text, anchor=anchor_of(splice.shown.text), ended=splice.text_ended))
    second = [Started("up-2", "m-2", 6), OTHER, Delta("{}"), Closed(), *text("Then more."), Finished(Finish.TOOL_CALLS)]
    out += splice.admit(second)
    check_caller(out)
    assert (said(out), calls_of(out)) == ("Let me look.Then more.", {"g": "{}"})
    assert splice.shown.text == "Let me look.Then more."
