"""Messages streams, inward: what each oddity becomes. The streams by name are in test_fixtures_anthropic_messages.py."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.content import Seal
from hermes_router.core.errors import (
    ContentFiltered,
    EmptyReply,
    Malformed,
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
from hermes_router.wire.dialect import MakeDecoder
from hermes_router.wire.messages.decoder import make_decoder
from hermes_router.wire.sse import Frame

from ..grammar import check_events
from ..messages_streams import (
    ORIGIN,
    START,
    STOP,
    block,
    called,
    closed,
    decode,
    decoder,
    delta,
    ended,
    error_of,
    joined,
    line_of,
    opened,
    run,
    said,
    sse,
    tool,
)
from ..streams import NOW, cuts

MAKE: MakeDecoder = make_decoder
USAGE = {"input_tokens": 10, "output_tokens": 5}


def frame_of(value: Any, name: str = "") -> Frame:
    return Frame(value if isinstance(value, bytes) else json.dumps(value).encode(), name.encode())


def message(*content: Any, reason: str | None = "end_turn", **more: Any) -> bytes:
    """A whole answer as Anthropic sends it."""
    head = {"id": "msg_01Up", "type": "message", "role": "assistant", "model": "up-1"}
    return json.dumps({**head, "content": content, "stop_reason": reason, "usage": USAGE, **more}).encode()


TEXT = {"type": "text", "text": "hello"}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", Finish.STOP), ("stop_sequence", Finish.STOP), ("max_tokens", Finish.LENGTH),
        ("tool_use", Finish.STOP), ("refusal", Finish.CONTENT_FILTER), ("pause_turn", Finish.STOP),
        ("model_context_window_exceeded", Finish.LENGTH), ("compaction", Finish.STOP), ("length", Finish.LENGTH),
        ("sensitive", Finish.CONTENT_FILTER), ("novel", Finish.STOP),
    ],
)  # fmt: skip
def test_each_stop_reason_has_its_meaning(word: str, reason: Finish) -> None:
    """The table of providers.md 12.6, vendors' words included; the word itself is kept."""
    last = decode(START, *said(0, "a"), ended(word), STOP)[-1]
    assert last == Finished(reason, word)


def test_calls_make_the_reason() -> None:
    """Calls under `end_turn` are calls; one that was cut at its length stays cut (12.6)."""
    assert decode(START, *called(0, "a", "f", "{}"), ended(), STOP)[-1] == Finished(Finish.TOOL_CALLS, "end_turn")
    cut = decode(START, *called(0, "a", "f", '{"x'), ended("max_tokens"), STOP)
    assert cut[-1] == Finished(Finish.LENGTH, "max_tokens")


def test_the_hot_path_gives_the_text_of_plain_frames_only() -> None:
    """More text of the open text block; everything else is for `feed`, and counts as unread."""
    one = decoder()
    plain = json.dumps(delta(0, "text_delta", "hé")).encode()
    assert one.plain_text(plain) is None  # nothing is open
    one.feed(frame_of(START))
    one.feed(frame_of(opened(0, "text")))
    assert not one.has_text
    assert one.plain_text(plain) == "hé"
    assert one.has_text
    odd: list[Any] = [
        delta(1, "text_delta", "x"), delta(0, "thinking_delta", "x"), delta(0, "text_delta", ""), closed(0), ended(),
        {**delta(0, "text_delta", "x"), "index": False}, {**delta(0, "text_delta", "x"), "type": "other"},
        {"type": "content_block_delta", "index": 0}, {**delta(0, "text_delta", "x"), "error": {"message": "boom"}},
        {**delta(0, "text_delta", "x"), "delta": {"type": "text_delta", "text": 3}}, b"{", b"[DONE]",
        plain.replace(b'"index"', b'"\xff":1,"index"'),
    ]  # fmt: skip
    assert [one.plain_text(frame_of(each).data or b"") for each in odd] == [None] * len(odd)
    one.feed(frame_of(closed(0)))
    assert one.plain_text(plain) is None


def test_the_hot_path_changes_nothing() -> None:
    """The same events whether the lanes ask for plain text first or not, padding and unknown keys included."""
    padded = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"},"x":1}      \n\n'
    body = sse(START, opened(0, "text"), delta(0, "text_delta", "a"), padded, closed(0), ended(), STOP)
    assert run([body], plain=True) == run([body])


def test_an_identity_that_is_missing_is_made_up() -> None:
    """Ours where the upstream says none; it stands before any block."""
    events = decode(opened(0, "text"), delta(0, "text_delta", "a"), closed(0), ended(), STOP)
    assert events[0] == Started("msg_000000000000000000000001", "asked", NOW)
    bare = {"type": "message_start", "message": {"id": None, "model": 7}}
    assert decode(bare, *said(0, "a"), ended(), STOP)[0] == events[0]
    assert decode({"type": "message_start"}, *said(0, "a"), ended(), STOP)[0] == events[0]


def test_errors_inside_a_200_are_errors() -> None:
    """By event, by type, by an object without either, or in somebody's own words (providers.md 6, 12.10)."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    for body in (
        sse({"type": "error", "error": error}),
        sse(b"data: " + json.dumps({"type": "error", "error": error}).encode() + b"\n\n"),
        sse(b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"),
        sse(b"data: " + json.dumps({"error": error}).encode() + b"\n\n"),
        sse(b"data: " + json.dumps(error).encode() + b"\n\n"),
    ):
        for start in (b"", sse(START, opened(0, "text"), delta(0, "text_delta", "a"))):
            found = error_of(run([start + body]))
            assert isinstance(found, ServerFailed)
            assert json.loads(found.excerpt)["message"] == "Overloaded"


@pytest.mark.parametrize(
    "frame",
    [
        b"<html>", b"{", b"[]", b"3", b'{"x":1}', b'{"type":3}', b'{"type":"content_block_delta","delta":"x"}',
        b'{"type":"message_start","message":{"content":[3]}}', b'{"a":' * 2_000, b'{"type":"ping","x":"\xff"}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}',
    ],
)  # fmt: skip
def test_garbage_is_malformed(frame: bytes) -> None:
    """Never another exception, and never skipped."""
    with pytest.raises(Malformed):
        decoder().feed(Frame(frame))


@pytest.mark.parametrize(
    "frame",
    [
        Frame(None), Frame(b""), Frame(b'{"type":"ping"}', b"ping"), Frame(b"keep", b"ping"), Frame(b'{"type":"ping"}'),
        Frame(b'{"type":"novel","delta":"odd","message":3}'), Frame(b'{"type":"content_block_delta","index":0}'),
        Frame(b'{"type":"content_block_delta","index":0,"delta":{"type":"novel_delta","text":"x"}}'),
        Frame(b'{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}'),
        Frame(b'{"type":"content_block_stop","index":0}'),
    ],
)  # fmt: skip
def test_what_says_nothing_is_nothing(frame: Frame) -> None:
    """Comments, pings, events and deltas that nobody has invented yet."""
    one = decoder()
    assert one.feed(frame) == []
    assert not one.started


def test_a_signature_in_the_beginning_of_a_block_counts() -> None:
    """Some send the whole block at once, and no delta."""
    whole = {"type": "thinking", "thinking": "hm", "signature": "s"}
    events = decode(START, *block(0, whole), *said(1, "a"), ended(), STOP)
    assert events[2:5] == [
        Opened(BlockKind.REASONING), Delta("hm"), Closed(Seal("anthropic_messages", "signature", "s", ORIGIN)),
    ]  # fmt: skip


def test_arguments_that_are_an_object_are_its_json() -> None:
    """Where a provider forgot to encode them; a number that cannot be written again is no answer."""
    odd = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": {"x": 1}}}
    events = decode(START, opened(0, tool()), odd, closed(0), ended("tool_use"), STOP)
    assert Delta('{"x":1}') in events
    huge = json.dumps(odd).replace("1}", "9" * 5_000 + "}").encode()
    with pytest.raises(UpstreamError):
        one = decoder()
        one.feed(frame_of(START))
        one.feed(frame_of(opened(0, tool())))
        one.feed(Frame(huge))


def test_an_error_behind_a_stop_reason_is_an_error() -> None:
    """Otherwise the first stop reason stands, and a caller of this dialect would read the second."""
    told = [START, *said(0, "a"), ended(), ended("error"), STOP]
    assert isinstance(error_of(decode(*told)), ServerFailed)
    told[-2] = ended("max_tokens")
    assert decode(*told)[-1] == Finished(Finish.STOP, "end_turn")


def test_a_bad_end_is_no_end_however_often_it_is_asked() -> None:
    """The stop event raises; the end of the body then says the same once, and nothing after it."""
    one = decoder()
    for each in (START, *called(0, "a", "f", '{"x')[:-1], ended("tool_use")):
        one.feed(frame_of(each))
    with pytest.raises(Truncated):
        one.feed(frame_of(STOP))
    assert not one.over
    events = one.finish_stream(clean=True)
    assert events[0] == Closed()
    assert isinstance(events[-1], Failed)
    assert one.over
    assert one.finish_stream(clean=True) == []
    assert one.feed(frame_of(START)) == []


def test_a_good_end_is_said_once() -> None:
    """By message_stop, or by the body's end behind a stop reason, reset or not; `[DONE]` says nothing."""
    for last in (frame_of(STOP), None):
        one = decoder()
        for each in (START, *said(0, "a"), ended(), b"[DONE]"):
            one.feed(frame_of(each))
        events = one.feed(last) if last is not None else one.finish_stream(clean=False)
        assert events == [Finished(Finish.STOP, "end_turn")]
        assert one.over
        assert one.finish_stream(clean=True) == []


def test_another_message_is_none_of_this_answer() -> None:
    """Behind the end it says nothing; before it the stream is broken, since SDKs would begin anew."""
    other = frame_of({"type": "message_start", "message": {"id": "other"}})
    one = decoder()
    for each in (START, *said(0, "a"), ended()):
        one.feed(frame_of(each))
    with pytest.raises(Malformed):
        one.feed(other)
    one.feed(frame_of(STOP))
    assert one.feed(other) == []


def test_the_model_is_seen_at_work() -> None:
    """Thoughts and server tools count as life, though no text is there yet: the first-token limit is for silence."""
    for kind in ("thinking", "redacted_thinking", "server_tool_use"):
        one = decoder()
        one.feed(frame_of(START))
        assert not one.has_reasoning
        one.feed(frame_of(opened(0, {"type": kind, "data": "x"})))
        assert one.has_reasoning
        assert not one.has_text


# --- whole answers ----------------------------------------------------------------------------------


def test_a_whole_answer_is_a_stream_of_events() -> None:
    """Thoughts with their seals, text, calls with their input as it was spelled, usage, the end."""
    body = message(
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "server_tool_use", "id": "x", "name": "web_search", "input": {"q": "x"}},
        {**TEXT, "citations": [{"type": "char_location"}]},
        tool("toolu_a", "f", input={"z": 1.0, "a": 2}),
        tool("toolu_b", "g"),
        reason="tool_use",
    )
    events = decoder().whole(body)
    check_events(events)
    answer = fold(events)
    assert [(b.kind.value, b.text, b.seal.data if b.seal else "", b.call_id) for b in answer.blocks] == [
        ("reasoning", "hm", "s", ""),
        ("reasoning", "", "d", ""),
        ("text", "hello", "", ""),
        ("tool_call", '{"z": 1.0, "a": 2}', "", "toolu_a"),
        ("tool_call", "{}", "", "toolu_b"),
    ]
    assert (answer.id, answer.model, answer.usage) == ("msg_01Up", "up-1", Usage(10, 5))
    assert (answer.finish, answer.raw_finish) == (Finish.TOOL_CALLS, "tool_use")


def test_a_whole_answer_needs_no_stop_reason() -> None:
    """It is whole as it is; a content that is a string is text."""
    assert decoder().whole(message(TEXT, reason=None))[-1] == Finished(Finish.STOP)
    assert fold(decoder().whole(b'{"content":"hi"}')).text() == "hi"
    sequence = decoder().whole(message(TEXT, reason="stop_sequence", stop_sequence="x"))[-1]
    assert sequence == Finished(Finish.STOP, "stop_sequence", "x")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (message(), EmptyReply),
        (message({"type": "text", "text": " \n"}), EmptyReply),
        (message({"type": "thinking", "thinking": "hm"}), EmptyReply),
        (message(reason="refusal"), ContentFiltered),
        (message(tool(input={}), reason="tool_use").replace(b"{}", b'"x"'), None),
        (message(TEXT, reason="error"), ServerFailed),
        (b'{"type":"error","error":{"type":"api_error","message":"boom"}}', ServerFailed),
        (b'{"error":"boom"}', ServerFailed),
        (b'{"detail":"Not Found"}', ServerFailed),
        (b'{"type":"error","message":"boom"}', ServerFailed),
        (b"{}", Malformed), (b"<html>", Malformed), (b"[]", Malformed), (b"", Malformed), (b'{"content":[3]}', Malformed),
        (b'{"content":"\xff"}', Malformed), (b'{"content":' * 3_000, Malformed),
        (message({"type": "tool_use", "id": "a", "input": {}}), Malformed),
    ],
    ids=lambda value: value.decode(errors="replace")[-40:] if isinstance(value, bytes) else "",
)  # fmt: skip
def test_a_whole_answer_is_believed_only_where_it_is_one(body: bytes, error: type[UpstreamError] | None) -> None:
    """An error object, nothing said, or no message at all in a 200 is the failure that it is."""
    if error is None:
        assert fold(decoder().whole(body)).blocks[0].text == "{}"  # an input that is no object counts as none
        return
    with pytest.raises(error):
        decoder().whole(body)


# --- properties -------------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    """A stream in good order, and the blocks that it holds."""
    frames: list[dict[str, Any]] = [START]
    answer: list[tuple[str, str]] = []
    calls = 0
    for index in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["text", "thinking", "tool"])) if index else "text"
        pieces = draw(st.lists(WORDS, min_size=1, max_size=4))
        if kind == "text":
            pieces = ["x", *pieces] if not index else pieces
            frames += said(index, *pieces)
        elif kind == "thinking":
            frames += block(
                index, "thinking", *(("thinking_delta", piece) for piece in pieces), ("signature_delta", "s")
            )
        else:
            calls += 1
            text = json.dumps({"k": pieces}, ensure_ascii=draw(st.booleans()))
            at = draw(st.integers(0, len(text)))
            frames += called(index, f"toolu_{index}", "f", text[:at], text[at:])
            pieces = [text]
        answer.append((kind, "".join(pieces)))
    frames += [ended("tool_use" if calls else "end_turn"), STOP]
    if draw(st.booleans()):
        frames = [each for each in frames if each["type"] != "content_block_stop"]  # as Kimi does
    return sse(*frames), answer


@given(bodies(), st.integers(0, 2**32), st.booleans())
def test_the_same_events_however_it_is_cut(case: tuple[bytes, list[tuple[str, str]]], seed: int, plain: bool) -> None:
    """Split-invariance, in the hot path and out of it; and the answer is what was said (design.md 2.4)."""
    body, answer = case
    whole = run([body])
    check_events(whole)
    assert run(cuts(body, random.Random(seed)), plain=plain) == whole
    kinds = {"text": BlockKind.TEXT, "thinking": BlockKind.REASONING, "tool": BlockKind.TOOL_CALL}
    assert [(block.kind, block.text) for block in fold(whole).blocks] == [(kinds[kind], text) for kind, text in answer]


FRAMES: list[Any] = [
    START, STOP, *said(0, "a"), *said(1, "b"), *called(0, "a", "f", '{"x":', "1}"), *called(1, "b", "g"), ended(),
    ended("tool_use"), ended(None, input_tokens=3), ended("max_tokens"), {"type": "ping"}, b"data: [DONE]\n\n",
    *block(2, "thinking", ("thinking_delta", "hm"), ("signature_delta", "s")),
    opened(3, {"type": "redacted_thinking", "data": "d"}), opened(4, {"type": "server_tool_use"}),
    {"type": "error", "error": {"message": "boom"}}, b"data: {\n\n", b": comment\n\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAMES), max_size=25), st.booleans())
def test_any_order_of_frames_keeps_the_grammar(frames: list[Any], clean: bool) -> None:
    """Frames lost, repeated and shuffled: the grammar holds, and only UpstreamErrors are raised."""
    events = decode(*frames, clean=clean)
    check_events(events)
    assert [*map(line_of, run([sse(*frames)], clean=clean, plain=True))] == [*map(line_of, events)]
    usages = [event.usage for event in events if isinstance(event, UsageSeen)]
    assert all(usage.cached_tokens <= usage.input_tokens for usage in usages)


WORDS_OF_FRAMES = [
    "text",
    "thinking",
    "tool_use",
    "text_delta",
    "input_json_delta",
    "message_start",
    "content_block_start",
]
KEYS = [
    "type", "index", "delta", "content_block", "message", "usage", "text", "id", "name", "input", "partial_json",
    "content", "stop_reason", "error", "input_tokens",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(WORDS_OF_FRAMES),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), max_size=6))
def test_garbage_raises_our_errors_only(payloads: list[bytes]) -> None:
    """Values of any type at any place, in a stream and in a whole answer."""
    one = decoder()
    events: list[ChatEvent] = []
    try:
        for payload in payloads:
            events += one.feed(Frame(payload))
    except UpstreamError:
        pass
    if not one.over:
        events += one.finish_stream(clean=True)
    check_events(events)
    for payload in payloads:
        try:
            check_events(decoder().whole(payload))
        except UpstreamError:
            continue


def test_five_megabytes_in_one_event_are_read() -> None:
    """As text, and as the arguments of a call in many pieces, each looked at once."""
    big = "x" * 5_000_000
    assert fold(decode(START, *said(0, big), ended(), STOP)).text() == big
    piece = '"}{' * 20
    text = json.dumps({"a": piece * 5_000})
    pieces = [text[at : at + 60] for at in range(0, len(text), 60)]
    events = decode(START, *called(0, "a", "f", *pieces), ended("tool_use"), STOP)
    assert joined(events)[3] == Delta(text)


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        (b'{"type":"message_delta","delta":{"stop_reason":"end_turn"}}', {"output_tokens": 0}),
        (b'{"type":"message_delta","delta":{},"usage":null}', {"output_tokens": 0}),
    ],
)
def test_a_frame_that_no_sdk_could_read_is_mended(data: bytes, usage: dict[str, int]) -> None:
    """Anthropic's fails on a `message_delta` without usage; all other frames are left as they came."""
    decoder = make_decoder(ServerFailed, new_id=lambda prefix: prefix, now=1, model="m", origin="p/m")  # type: ignore[arg-type]
    assert json.loads(decoder.mend(data))["usage"] == usage
    start = json.loads(decoder.mend(b'{"type":"message_start","message":{"id":"msg_1"}}'))
    assert start["message"] == {"id": "msg_1", "usage": {"input_tokens": 0, "output_tokens": 0}}
    for other in (
        b'{"type":"message_start"}',
        b'{"type":"ping"}',
        b'{"type":"message_delta","usage":{"output_tokens":3}}',
    ):
        assert decoder.mend(other) == other
