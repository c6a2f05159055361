"""Responses streams to neutral events: everything that was said, once, and an end only where it was said."""

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.content import Seal
from hermes_router.core.errors import (
    ContentFiltered,
    ContextTooLong,
    EmptyReply,
    Malformed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    Truncated,
    UpstreamError,
)
from hermes_router.core.events import (
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Failed,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
    fold,
)
from hermes_router.wire.rejection import judge
from hermes_router.wire.responses.decoder import make_decoder
from hermes_router.wire.responses.encoder import render_answer
from hermes_router.wire.sse import Frame

from ..grammar import check_events
from ..responses_streams import (
    INCLUDE,
    ORIGIN,
    USAGE,
    added,
    called,
    created,
    decode,
    decoder,
    delta,
    done,
    encode,
    ended,
    error_of,
    function,
    inbound,
    message,
    run,
    said,
    sse,
)
from ..streams import NOW, cuts, new_ids

FULL = Usage(1_000, 30, 800, 20, written_tokens=50)


def shape(events: list[ChatEvent]) -> list[tuple[str, str]]:
    """(kind, text) of the blocks."""
    return [(block.kind.value, block.text) for block in fold(events).blocks]


def frame(value: dict[str, Any], name: bytes = b"") -> Frame:
    return Frame(json.dumps(value).encode(), name)


# --- one frame after another --------------------------------------------------------------------------


def test_a_stream_says_who_answers_and_how_it_ended() -> None:
    """Identity of the first event, usage and finish of the last; the attributes follow."""
    one = decoder()
    assert one.feed(frame(created())) == [Started("resp_up", "up-1", NOW - 5)]
    assert (one.id, one.model, one.created, one.started) == ("resp_up", "up-1", NOW - 5, True)
    events = [event for value in said(0, "msg_1", "Hel", "lo") for event in one.feed(frame(value))]
    assert events == [Opened(BlockKind.TEXT), Delta("Hel"), Delta("lo"), Closed()]
    assert (one.has_text, one.has_reasoning, one.over, one.usage) == (True, False, False, None)
    assert one.feed(frame(ended())) == [UsageSeen(FULL), Finished(Finish.STOP, "completed")]
    assert (one.over, one.usage) == (True, FULL)
    assert one.feed(frame(created())) == one.finish_stream(clean=True) == []


def test_what_says_nothing_is_nothing() -> None:
    """Comments, empty data, `[DONE]`, types of hosted tools and of versions to come."""
    one = decoder()
    for data in (None, b"", b"[DONE]", b"{}", b'{"type":"keepalive"}', b'{"type":"response.new","item":3,"delta":{}}'):
        assert one.feed(Frame(data)) == []
    assert one.feed(frame({"type": "response.mcp_call.failed", "error": "x"})) == []
    assert not one.started


def test_a_thought_is_known_as_soon_as_it_begins() -> None:
    """A model that thinks unseen has begun all the same."""
    one = decoder()
    one.feed(frame(created()))
    one.feed(frame(added(0, {"type": "reasoning", "id": "rs_1", "summary": []})))
    assert one.has_reasoning
    events = one.feed(frame(done(0, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"})))
    seal = Seal("openai_responses", "encrypted", "x", ORIGIN, "rs_1")
    assert events == [Opened(BlockKind.REASONING), Closed(seal)]


def test_names_that_are_missing_are_made_up() -> None:
    """Id, model and time are there whatever the upstream leaves out."""
    events = decode({"type": "response.created", "response": {"id": 3, "created_at": "x"}}, *said(0, "m", "a"), ended())
    assert events[0] == Started("resp_000000000000000000000001", "asked", NOW)


def test_usage_never_takes_anything_back() -> None:
    """It may be told in any event; what is nonsense counts nothing (12.7)."""
    smaller = {**USAGE, "input_tokens": 5, "output_tokens": 99}
    events = decode(created(usage=USAGE), *said(0, "m", "a"), ended(usage=smaller))
    usages = [event.usage for event in events if isinstance(event, UsageSeen)]
    assert usages == [FULL, Usage(1_000, 99, 800, 20, written_tokens=50)]
    assert not any(isinstance(event, UsageSeen) for event in decode(created(), *said(0, "m", "a"), ended(usage=None)))


def test_an_event_of_five_megabytes_is_read_whole() -> None:
    """Text in one delta, and once more in the item and in the output: it is said once."""
    text = "ab é\n" * 1_000_000
    events = decode(created(), *said(0, "m", text), ended(output=[message("m", text)]))
    assert [event.text for event in events if isinstance(event, Delta)] == [text]


# --- the hot path -------------------------------------------------------------------------------------


def test_plain_text_is_more_of_the_open_message_and_nothing_else() -> None:
    """Not before something can be read, not for another item, another type, or bytes that are no UTF-8."""
    one = decoder()
    more = delta("output_text", 0, "msg_1", "lo", content_index=0, logprobs=[], obfuscation="x")
    data = json.dumps(more).encode()
    assert one.plain_text(data) is None
    for value in (created(), *said(0, "msg_1", "\n")[:2]):
        one.feed(frame(value))
    assert one.plain_text(data) is None
    one.feed(frame(delta("output_text", 0, "msg_1", "Hel")))
    assert one.plain_text(data) == "lo"
    for other in (
        {**more, "output_index": 1},
        {**more, "item_id": "msg_2"},
        {**more, "type": "response.refusal.delta"},
        {**more, "delta": ""},
        {**more, "delta": None},
    ):
        assert one.plain_text(json.dumps(other).encode()) is None
    assert one.plain_text(data.replace(b'"obfuscation": "x"', b'"obfuscation": "\xff"')) is None
    assert one.plain_text(b"[DONE]") is None
    one.feed(frame(done(0, message("msg_1", "\nHello"))))
    assert one.plain_text(data) is None
    assert one.feed(frame(ended()))[-1] == Finished(Finish.STOP, "completed")


def test_text_that_was_read_plain_is_not_said_again() -> None:
    """What the whole item repeats is known, whichever way it was read."""
    body = sse(created(), *said(0, "m", "a", "b", "c"), ended(output=[message("m", "abc")]))
    assert run([body], plain=True) == run([body])


# --- failures -----------------------------------------------------------------------------------------


def judged(*frames: dict[str, Any] | bytes) -> UpstreamError:
    """What the true classifier makes of a stream of the codex backend."""
    one = make_decoder(
        lambda error: judge.in_band("codex", error, NOW), new_id=new_ids(), now=NOW, model="m", origin=ORIGIN
    )
    with pytest.raises(UpstreamError) as caught:
        for value in frames:
            one.feed(Frame(value, b"error") if isinstance(value, bytes) else frame(value))
    return caught.value


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        ({"code": "rate_limit_exceeded", "message": "Please try again in 11.054s."}, RateLimited),
        ({"code": "server_is_overloaded", "message": "x"}, Overloaded),
        ({"code": "context_length_exceeded", "message": "x"}, ContextTooLong),
        ({"type": "usage_limit_reached", "message": "x", "resets_at": NOW + 900}, QuotaExhausted),
        ({"code": "server_error", "message": "x"}, ServerFailed),
    ],
)
def test_a_failure_is_what_its_code_says(error: dict[str, Any], cls: type[UpstreamError]) -> None:
    """In `response.failed`, in an `error` event of either shape, and in a frame of nothing else (codex.md 8)."""
    assert isinstance(judged(created(), ended("failed", error=error)), cls)
    assert isinstance(judged(created(), {"type": "error", "error": error}), cls)
    assert isinstance(judged({"error": error}), cls)
    flat = {**error, "type": "error"} if "code" in error else None
    if flat is not None:
        assert isinstance(judged(created(), flat), cls)


def test_whatever_an_error_event_holds_it_is_one() -> None:
    """Words without JSON, JSON that is no object, an error without a name or a type."""
    assert isinstance(judged(b"upstream connect error"), UpstreamError)
    assert isinstance(judged(b'["boom"]'), UpstreamError)
    assert isinstance(judged({"type": "response.failed"}), ServerFailed)
    assert isinstance(judged({"detail": "Unauthorized"}), UpstreamError)
    assert isinstance(judged({"type": "ping", "error": {"message": "x"}}), UpstreamError)
    assert isinstance(judged({"type": "response.created", "response": {"error": {"message": "x"}}}), UpstreamError)
    assert isinstance(judged({"type": "response.completed", "response": {"status": "failed"}}), ServerFailed)


@pytest.mark.parametrize(
    "data", [b"<html>", b"3", b"null", b'"x"', b"[]", b'{"type":"response.created","response":3}', b"\xff"]
)
def test_garbage_is_malformed(data: bytes) -> None:
    """It is nobody's error object."""
    with pytest.raises(Malformed):
        decoder().feed(Frame(data))


def test_a_bad_end_keeps_the_usage_and_is_raised() -> None:
    """What was spent is told even where nothing was said."""
    one = decoder()
    one.feed(frame(created()))
    with pytest.raises(EmptyReply):
        one.feed(frame(ended()))
    assert one.usage == FULL
    events = one.finish_stream(clean=True)
    assert isinstance(error_of(events), Truncated)


@pytest.mark.parametrize("clean", [True, False])
def test_a_missing_end_is_never_an_end(clean: bool) -> None:
    """However clean the framing: at no frame before the last is it good (design.md 2.4)."""
    frames = [created(), *said(0, "m", "a"), *called(1, "fc", "c", "f", "{}"), ended()]
    for count in range(len(frames)):
        events = run([sse(*frames[:count])], clean=clean)
        check_events(events)
        assert isinstance(error_of(events), Truncated)
    assert isinstance(run([sse(*frames)], clean=clean)[-1], Finished)


# --- whole answers ------------------------------------------------------------------------------------


def whole(**fields: Any) -> list[ChatEvent]:
    """The events of a unary answer."""
    body = {"id": "resp_up", "object": "response", "created_at": 7.0, "model": "up-1", "status": "completed", **fields}
    return decoder().whole(json.dumps(body).encode())


def test_a_unary_answer_is_the_same_events() -> None:
    """Thought with its seal, text, calls of both kinds, usage, end."""
    thought = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    custom = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "raw"}
    events = whole(
        output=[
            {**thought, "encrypted_content": "x"},
            message("m", "a"),
            {"type": "web_search_call", "id": "ws"},
            function("fc", "c1", "f"),
            custom,
        ],
        usage=USAGE,
    )
    check_events(events)
    assert events[0] == Started("resp_up", "up-1", 7)
    assert shape(events) == [("reasoning", "hm"), ("text", "a"), ("tool_call", "{}"), ("tool_call", "raw")]
    answer = fold(events)
    assert answer.blocks[0].seal == Seal("openai_responses", "encrypted", "x", ORIGIN, "rs_1")
    assert [block.custom for block in answer.blocks[2:]] == [False, True]
    assert (answer.usage, answer.finish) == (FULL, Finish.TOOL_CALLS)


def test_a_unary_answer_may_be_cut() -> None:
    """At its cap, or by a filter with something said."""
    for why, finish in (("max_output_tokens", Finish.LENGTH), ("content_filter", Finish.CONTENT_FILTER)):
        events = whole(status="incomplete", incomplete_details={"reason": why}, output=[message("m", "a")])
        assert events[-1] == Finished(finish, why)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"output": []}, EmptyReply),
        ({"output": [{"type": "reasoning", "summary": [{"text": "hm"}]}]}, EmptyReply),
        ({"output": [message("m", " \n")]}, EmptyReply),
        ({"output": [function("fc", "c", "f", '{"x"')]}, Truncated),
        ({"output": [function("fc", "c", "", "{}")]}, Malformed),
        ({"output": [], "status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, ContentFiltered),
        ({"output": [], "status": "in_progress"}, Truncated),
        ({"output": [message("m", "a")], "status": "failed", "error": {"code": "server_error"}}, ServerFailed),
        ({"output": [message("m", "a")], "status": "cancelled"}, ServerFailed),
        ({"error": {"message": "x"}}, ServerFailed),
        ({"detail": "x"}, ServerFailed),
        ({}, Malformed),
        ({"output": "x"}, Malformed),
        ({"output": [3]}, Malformed),
    ],
)
def test_a_unary_answer_that_is_none(fields: dict[str, Any], error: type[UpstreamError]) -> None:
    """A 200 proves nothing (design.md 2.14)."""
    with pytest.raises(error):
        whole(**fields)


def test_an_answer_of_a_hosted_tool_alone_is_good() -> None:
    """An image or a compaction says something to whoever asked for it in this dialect."""
    events = whole(output=[{"type": "compaction", "encrypted_content": "x"}])
    assert events[-1] == Finished(Finish.STOP, "completed")
    check_events(events)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b"[" * 100_000])
def test_a_unary_body_that_is_none(body: bytes) -> None:
    """Garbage is Malformed."""
    with pytest.raises(Malformed):
        decoder().whole(body)


# --- properties ---------------------------------------------------------------------------------------

_WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
_PIECES = st.lists(_WORDS, min_size=1, max_size=4)
_ARGUMENTS = st.dictionaries(_WORDS, _WORDS, max_size=2).map(json.dumps)


@st.composite
def _blocks(draw: st.DrawFn) -> list[ChatEvent]:
    """Blocks as any upstream may give them; the ids of calls differ."""
    events: list[ChatEvent] = []
    for index in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["text", "thought", "hidden", "call", "custom"]))
        seal = Seal("openai_responses", "encrypted", draw(_WORDS), "p/m", "rs_x") if draw(st.booleans()) else None
        pieces = [Delta(text) for text in draw(_PIECES)]
        if kind == "text":
            events += [Opened(BlockKind.TEXT), *pieces, Closed()]
        elif kind == "thought":
            events += [Opened(BlockKind.REASONING), *pieces, Closed(seal)]
        elif kind == "hidden":
            events += [Opened(BlockKind.REASONING), Closed(seal)]
        elif kind == "custom":
            events += [Opened(BlockKind.TOOL_CALL, f"c{index}", "patch", custom=True), *pieces, Closed()]
        else:
            events += [Opened(BlockKind.TOOL_CALL, f"c{index}", "f"), Delta(draw(_ARGUMENTS)), Closed()]
    return events


def expected(events: list[ChatEvent]) -> list[tuple[str, str, str, str, bool]]:
    """What must come back: hidden thoughts without a seal say nothing; messages are parted by a blank line.

    Texts behind one another are parts of one message, and one text.
    """
    out: list[tuple[str, str, str, str, bool]] = []
    texts, before = 0, None
    for block in fold(events).blocks:
        behind, before = before, block.kind
        if block.kind is behind is BlockKind.TEXT:
            out[-1] = (out[-1][0], out[-1][1] + block.text, *out[-1][2:])
            continue
        if block.kind is BlockKind.REASONING and not block.text and block.seal is None:
            continue
        parted = "\n\n" if block.kind is BlockKind.TEXT and texts else ""
        texts += block.kind is BlockKind.TEXT
        out.append((block.kind.value, parted + block.text, block.call_id, block.name, block.custom))
    return out


@given(
    blocks=_blocks(), reason=st.sampled_from([Finish.STOP, Finish.LENGTH, Finish.CONTENT_FILTER]), seed=st.integers()
)
def test_what_our_encoder_writes_our_decoder_reads(blocks: list[ChatEvent], reason: Finish, seed: int) -> None:
    """Events, to bytes, cut anywhere, to events: the same answer; and the same from a whole one (round trip)."""
    answer = fold(blocks)
    has_calls = any(block.kind is BlockKind.TOOL_CALL for block in answer.blocks)
    if not has_calls and not answer.text().strip():
        return
    reason = Finish.TOOL_CALLS if has_calls and reason is Finish.STOP else reason
    start = Started("resp_1", "m", 5)
    body = encode([start, *blocks, Finished(reason)], FULL, include=INCLUDE)
    first = run([body])
    check_events(first)
    assert run(cuts(body, random.Random(seed)), plain=True) == first
    got = fold(first)
    assert [(b.kind.value, b.text, b.call_id, b.name, b.custom) for b in got.blocks] == expected(blocks)
    assert (got.usage, got.finish, got.id, got.model, got.created) == (FULL, reason, "resp_1", "m", 5)
    answer.id, answer.model, answer.created, answer.finish = "resp_1", "m", 5, reason
    unary = render_answer(answer, FULL, inbound(include=INCLUDE), origin=ORIGIN, new_id=new_ids(), now=NOW)
    again = decoder().whole(unary)
    assert told(again) == told(first)


def told(events: list[ChatEvent]) -> list[Any]:
    """An answer but for the ids of its items, which are new in each."""
    answer = fold(events)
    blocks = [(b.kind, b.text, b.call_id, b.name, b.custom, b.seal and b.seal.data) for b in answer.blocks]
    return [answer.id, answer.model, answer.created, answer.usage, answer.finish, answer.raw_finish, *blocks]


_TYPES = st.sampled_from(
    [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
        "x",
    ]
)
_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_ITEM = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "shell_call", "z"])
        | _JUNK,
        "id": st.sampled_from(["a", "b"]) | _JUNK,
        "call_id": st.sampled_from(["c", "d"]) | _JUNK,
        "name": st.just("f") | _JUNK,
        "arguments": st.just("{}") | _JUNK,
        "input": _JUNK,
        "content": st.lists(st.fixed_dictionaries({"text": st.text(max_size=4)}), max_size=2) | _JUNK,
        "summary": st.lists(st.fixed_dictionaries({"text": st.text(max_size=4)}), max_size=2) | _JUNK,
        "encrypted_content": st.just("x") | _JUNK,
        "status": st.just("incomplete") | _JUNK,
    },
)
_USAGE = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": st.integers() | _JUNK,
        "output_tokens": st.integers() | _JUNK,
        "input_tokens_details": _JUNK,
    },
)
_FRAMES = st.lists(
    st.fixed_dictionaries(
        {"type": _TYPES},
        optional={
            "delta": st.text(max_size=4) | _JUNK,
            "item_id": st.sampled_from(["a", "b"]) | _JUNK,
            "output_index": st.integers(0, 2) | _JUNK,
            "summary_index": st.integers(0, 1) | _JUNK,
            "item": _ITEM | _JUNK,
            "error": _JUNK,
            "response": st.fixed_dictionaries(
                {},
                optional={"output": st.lists(_ITEM, max_size=3) | _JUNK, "usage": _USAGE, "status": _JUNK, "id": _JUNK},
            )
            | _JUNK,
        },
    ),
    max_size=8,
)


@given(frames=_FRAMES, clean=st.booleans())
def test_nothing_but_upstream_errors_comes_of_garbage(frames: list[dict[str, Any]], clean: bool) -> None:
    """The grammar holds, usage never decreases, both lanes agree, whatever the types are at whatever depth."""
    body = sse(*frames)
    events = run([body], clean=clean)
    check_events(events)
    for before, after in itertools.pairwise(e.usage for e in events if isinstance(e, UsageSeen)):
        assert after.cached_tokens >= before.cached_tokens
        assert after.reasoning_tokens >= before.reasoning_tokens
    again = run([body], clean=clean, plain=True)
    assert [e for e in again if not isinstance(e, Failed)] == [e for e in events if not isinstance(e, Failed)]


@given(
    body=st.binary(max_size=60)
    | _JUNK.map(lambda value: json.dumps(value).encode())
    | _ITEM.map(lambda item: json.dumps({"output": [item]}).encode())
)
def test_a_unary_body_of_garbage_raises_only_upstream_errors(body: bytes) -> None:
    """Or is an answer, and then one in the grammar."""
    try:
        events = decoder().whole(body)
    except UpstreamError:
        return
    check_events(events)
    assert isinstance(events[-1], Finished)


def test_a_call_within_a_namespace_has_a_flat_name() -> None:
    """codex.md 6.3: calls may name the namespace of their tool; that of plain tools says nothing."""
    for group, name in (("functions", "find"), ("mcp__notes", "mcp__notes__find"), (None, "find"), (7, "find")):
        item = {**function("fc_1", "call_1", "find"), "namespace": group}
        events = decode(created(), added(0, item), done(0, {**item, "arguments": "{}"}), ended())
        [opened] = [event for event in events if isinstance(event, Opened)]
        assert opened.name == name


def test_what_a_plan_has_left_is_told_beside_the_answer() -> None:
    """codex.md 8: `codex.rate_limits` is no part of the answer, and is read; other words of the backend are nothing."""
    one = decoder()
    for event in (
        created(),
        {"type": "keepalive"},
        {"type": "codex.response.metadata", "headers": {"openai-model": "x"}},
        {"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 20, "window_minutes": 300}}},
    ):
        one.feed(Frame(json.dumps(event).encode(), event["type"].encode()))
    [window] = one.limits
    assert (window.unit, window.remaining) == ("percent", 80)
