"""Lanes between dialects: what is shown is whole and in order, and a bad end is never a good one."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import EmptyReply, Malformed, ServerFailed, Truncated, UpstreamError
from hermes_router.core.events import Usage
from hermes_router.wire.chat.decoder import ChatDecoder
from hermes_router.wire.chat.encoder import ChatEncoder
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.decoder import make_decoder
from hermes_router.wire.messages.encoder import make_encoder
from hermes_router.wire.responses.decoder import make_decoder as responses_decoder
from hermes_router.wire.responses.turn import Turn
from hermes_router.wire.splice import Splice
from hermes_router.wire.translated import RawLane, TranslatedLane

from . import responses_streams
from .streams import new_ids

NOW = 1_790_000_000


def in_band(error: object) -> UpstreamError:
    return ServerFailed(str(error))


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "usage": {"input_tokens": 5, "output_tokens": 1},
    },
)
THOUGHT = [
    event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
    event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
    event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "sig"}),
    event("content_block_stop", index=0),
]
TEXT = [
    event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
    event("content_block_delta", index=1, delta={"type": "text_delta", "text": "hello"}),
    event("content_block_delta", index=1, delta={"type": "text_delta", "text": " you"}),
    event("content_block_stop", index=1),
]
DELTA = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 9})
STOP = event("message_stop")
PING = event("ping")
WHOLE = [START, PING, *THOUGHT, *TEXT, DELTA, STOP]


def chat_lane(*, tap: bool = False) -> TranslatedLane:
    """A Chat caller at a Messages provider."""
    return TranslatedLane(Splice(ChatEncoder(include_usage=False)), messages_decoder(), tap=tap)


def messages_decoder() -> Any:
    return make_decoder(in_band, new_id=lambda prefix: f"{prefix}new", now=NOW, model="m", origin="p/m")


def messages_encoder() -> Any:
    inbound = Inbound(ChatRequest("m", stream=True), {}, dialect="anthropic_messages")
    return make_encoder(inbound, prompt_tokens=7, new_id=lambda prefix: f"{prefix}new", now=NOW)


def raw_lane(splice: Splice | None = None, *, tap: bool = False) -> RawLane:
    """A Messages caller at a Messages provider."""
    return RawLane(splice or Splice(messages_encoder()), messages_decoder(), tap=tap)


def text_of(out: bytes) -> str:
    """The text of Chat chunks."""
    chunks = [json.loads(line[6:]) for line in out.decode().split("\n\n") if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_a_stream_is_written_in_the_callers_dialect() -> None:
    """Thoughts, text and the finish; the end waits for the exchange, which knows the usage."""
    lane = chat_lane(tap=True)
    out = b"".join(lane.feed(frame) for frame in WHOLE)
    assert lane.over
    assert lane.error is None
    assert text_of(out) == "hello you"
    assert b'"reasoning_content":"hm"' in out
    assert out.endswith(b'"finish_reason":"stop"}]}\n\n')
    assert lane.usage is not None
    assert (lane.usage.input_tokens, lane.usage.output_tokens) == (5, 9)
    assert lane.tapped


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(b"".join(WHOLE))), max_size=12))
def test_however_it_is_cut_the_same_is_shown(cuts: list[int]) -> None:
    """By translation and raw."""
    stream = b"".join(WHOLE)
    places = sorted({0, *cuts, len(stream)})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    lane, raw = chat_lane(), raw_lane()
    assert text_of(b"".join(map(lane.feed, pieces))) == "hello you"
    shown = b"".join(map(raw.feed, pieces))
    assert shown + (raw._splice.tail or b"") == stream
    assert raw._splice.shown.text == "hello you"


def test_raw_frames_go_through_as_they_came() -> None:
    """What cannot be seen waits for what can; the last one until the exchange has said its word."""
    splice = Splice(messages_encoder())
    lane = raw_lane(splice)
    assert b"".join(map(lane.feed, [START, PING, THOUGHT[0]])) == b""
    assert not lane.committed
    assert lane.feed(THOUGHT[1]) == START + PING + THOUGHT[0] + THOUGHT[1]
    assert lane.committed
    assert b"".join(map(lane.feed, [*THOUGHT[2:], *TEXT, DELTA])) == b"".join([*THOUGHT[2:], *TEXT[:-1]])
    assert lane.feed(STOP) == TEXT[-1] + DELTA
    assert (lane.over, splice.tail) == (True, STOP)
    assert splice.shown.text == "hello you"


def test_what_is_said_among_raw_frames_never_counts_backwards() -> None:
    """A keep-alive takes the number of the frame before it, as the next one is the provider's; a failure the next."""
    frames = responses_streams.said(0, "msg_1", "Hel", "lo")[:3]
    numbered = [
        responses_streams.sse({**frame, "sequence_number": number})
        for number, frame in enumerate([responses_streams.created(), *frames])
    ]
    splice = Splice(responses_streams.encoder())
    decoder = responses_decoder(in_band, new_id=new_ids(), now=NOW, model="m", origin="o/m")
    lane = RawLane(splice, decoder)
    out = b"".join(lane.feed(frame) for frame in numbered)
    assert out == b"".join(numbered)
    assert lane.error is None
    out += splice.keep_alive("resp_x", "m", NOW) + splice.keep_alive("resp_x", "m", NOW)
    out += splice.fail(Truncated(), now=NOW)
    numbers = [frame["sequence_number"] for frame in responses_streams.frames_of(out)]
    assert numbers == [0, 1, 2, 3, 3, 3, 4]


def test_the_response_in_a_providers_frames_says_what_is_remembered_here() -> None:
    """Those frames and no others are written anew, and of them two members; without a turn nothing is."""
    told = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "m", "output": [], "store": False}
    begun = {"type": "response.created", "sequence_number": 0, "response": told}
    said = responses_streams.said(0, "msg_1", "Hel", "lo")[:3]
    numbered = [
        responses_streams.sse({**frame, "sequence_number": number}) for number, frame in enumerate([begun, *said])
    ]
    for turn in (None, Turn("resp_0", kept=True)):
        decoder = responses_decoder(in_band, new_id=new_ids(), now=NOW, model="m", origin="o/m")
        lane = RawLane(Splice(responses_streams.encoder()), decoder, turn=turn)
        out = b"".join(lane.feed(frame) for frame in numbered)
        assert lane.error is None
        first, *rest = responses_streams.frames_of(out)
        assert out.endswith(b"".join(numbered[1:]))
        assert len(rest) == len(said)
        mine = {"previous_response_id": "resp_0", "store": True} if turn is not None else {}
        assert first == {**begun, "response": {**told, **mine}}


def test_a_stream_that_lacks_but_its_last_frame_gets_one() -> None:
    """The stop reason was said: what is missing says no more (and some servers never send it)."""
    lane = raw_lane()
    shown = b"".join(map(lane.feed, WHOLE[:-1])) + lane.end(clean=True)
    assert lane.over
    assert shown == b"".join(WHOLE[:-1])
    assert lane._splice.tail is None
    assert json.loads(lane._splice.encoder.end(Usage(5, 9)).split(b"data: ")[1]) == {"type": "message_stop"}


@pytest.mark.parametrize("frames", [WHOLE[:-2], WHOLE[:5], [START], []])
def test_a_missing_end_is_never_an_end(frames: list[bytes]) -> None:
    """Whatever has been shown, by either lane, however the body ended."""
    for clean in (True, False):
        for lane in (chat_lane(), raw_lane()):
            out = b"".join(map(lane.feed, frames)) + lane.end(clean=clean)
            assert isinstance(lane.error, Truncated)
            assert not lane.over
            assert b"message_stop" not in out
            assert b'finish_reason":"' not in out.replace(b" ", b"")


def test_an_error_in_the_stream_is_the_attempts() -> None:
    """The event is not forwarded: whether the caller sees an error is for the exchange to say."""
    failed = event("error", error={"type": "overloaded_error", "message": "busy"})
    for lane in (chat_lane(), raw_lane()):
        out = b"".join(map(lane.feed, [START, *TEXT[:2], failed, STOP]))
        assert isinstance(lane.error, ServerFailed)
        assert b"busy" not in out
        assert lane.feed(STOP) == b""


def test_an_answer_of_white_space_is_none() -> None:
    """By either lane: nothing was shown, so another may answer."""
    blank = event("content_block_delta", index=1, delta={"type": "text_delta", "text": " \n"})
    for lane in (chat_lane(), raw_lane()):
        out = b"".join(map(lane.feed, [START, TEXT[0], blank, TEXT[3], DELTA, STOP]))
        assert isinstance(lane.error, EmptyReply)
        assert out == b""


def test_an_answer_of_a_providers_own_tools_goes_through_raw() -> None:
    """Nothing of it is text or a call of the caller's, and it is an answer all the same (`pause_turn`)."""
    frames = [
        START,
        event(
            "content_block_start",
            index=0,
            content_block={"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}},
        ),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "pause_turn", "stop_sequence": None}, usage={"output_tokens": 9}),
        STOP,
    ]
    splice = Splice(messages_encoder())
    lane = raw_lane(splice)
    assert b"".join(map(lane.feed, frames)) + (splice.tail or b"") == b"".join(frames)
    assert lane.over
    assert lane.committed


def test_after_another_identity_was_shown_the_lane_translates() -> None:
    """A keep-alive of ours, or an earlier attempt's thought, has fixed what the stream says of itself."""
    splice = Splice(ChatEncoder(include_usage=False))
    splice.keep_alive("chatcmpl-1", "hermes-router", NOW)
    lane = RawLane(splice, ChatDecoder(in_band, new_id=lambda p: p, now=NOW))
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "other"}
    frames = [
        b"data: "
        + json.dumps(chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]}).encode()
        + b"\n\n"
        for delta, end in (({"role": "assistant", "content": "hi"}, None), ({}, "stop"))
    ]
    out = b"".join(map(lane.feed, [*frames, b"data: [DONE]\n\n"]))
    assert lane.over
    assert splice.tail is None
    assert b'"id":"chatcmpl-1"' in out
    assert b'"id": "x"' not in out


def test_frames_without_their_names_are_written_anew() -> None:
    """The SDKs skip an event that has no `event` line: the caller would get an empty stream."""
    nameless = [b"data: " + frame.split(b"data: ", 1)[1] for frame in WHOLE]
    splice = Splice(messages_encoder())
    lane = raw_lane(splice)
    out = b"".join(map(lane.feed, nameless)) + splice.encoder.end(Usage(5, 9))
    assert lane.over
    assert out.count(b"event: message_start\n") == out.count(b"event: message_stop\n") == 1
    assert out.count(b"event: ") == out.count(b"data: ")


def test_frames_without_a_meaning_are_kept_raw_and_dropped_in_translation() -> None:
    """What we do not know survives where both sides speak the same."""
    odd = event("content_block_delta", index=1, delta={"type": "citations_delta", "citation": {"a": 1}})
    raw, lane = raw_lane(), chat_lane()
    frames = [START, *TEXT[:2], odd, *TEXT[2:], DELTA, STOP]
    assert odd in b"".join(map(raw.feed, frames))
    assert b"citation" not in b"".join(map(lane.feed, frames))


def test_the_visible_text_ends_at_the_callers_cap() -> None:
    """More was asked of the upstream than the caller allowed (REASONING_TOKEN_RESERVE)."""
    splice = Splice(ChatEncoder(include_usage=False))
    splice.begin(1)
    lane = TranslatedLane(splice, messages_decoder())
    out = b"".join(map(lane.feed, [START, *TEXT]))
    assert text_of(out) == "hell"
    assert lane.over
    assert out.endswith(b'"finish_reason":"length"}]}\n\n')


def test_an_event_beyond_every_bound_is_malformed() -> None:
    """And nothing is fed after it."""
    lane = chat_lane()
    lane.feed(START)
    assert lane.feed(b"data: " + b"x" * (17 * 1024 * 1024)) == b""
    assert isinstance(lane.error, Malformed)


@settings(max_examples=60)
@given(st.lists(st.sampled_from([*WHOLE, b"data: {\n\n", b"garbage\n\n", b": comment\n\n", STOP]), max_size=12))
def test_any_order_of_frames_is_an_answer_or_an_upstream_error(frames: list[bytes]) -> None:
    """Nothing else is raised, and a verdict comes with the end."""
    for lane in (chat_lane(), raw_lane()):
        for frame in frames:
            if not lane.over and lane.error is None:
                lane.feed(frame)
        lane.end(clean=True)
        assert lane.over != (lane.error is not None)


def test_a_cut_answer_has_its_usage() -> None:
    """What was reported until then."""
    lane = raw_lane()
    b"".join(map(lane.feed, [START, *TEXT[:2]]))
    lane.end(clean=False)
    assert lane.usage == Usage(5, 1)
