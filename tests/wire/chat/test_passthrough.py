"""The lanes of a stream: bytes in, the caller's bytes out, one verdict."""

import json
import random
from typing import Any

import aiohttp.web
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from pytest_aiohttp import AiohttpServer

from hermes_router.core.errors import EmptyReply, Malformed, ServerFailed, Truncated
from hermes_router.core.events import BlockKind, Opened, Usage, fold
from hermes_router.wire import sse as sse_module
from hermes_router.wire.chat.passthrough import ManyLane, StreamLane
from hermes_router.wire.openai_errors import error_event

from ..grammar import check_caller, frames_of
from ..streams import DONE, call, chunk, cuts, decoder, drive, events, new_splice, play, say, sse, tr
from .test_calls import NAMELESS_IDS, ODDITIES
from .test_decoder import chunks

STOP = chunk({}, "stop")
USAGE = {"id": "chatcmpl-up", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


def text_of(out: bytes) -> str:
    return "".join(f["choices"][0]["delta"].get("content") or "" for f in frames_of(out) if f.get("choices"))


# --- the raw lane ----------------------------------------------------------------------------------


def test_text_frames_are_forwarded_byte_for_byte() -> None:
    """A frame that is nothing but text of the open block goes through as it came, unknown members included."""
    plain = (
        b'data: {"id":"chatcmpl-up","object":"chat.completion.chunk","created":1789999995,  "model":"up-1",'
        b'"system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"\\u00e9 \xc3\xa9"},"logprobs":null,'
        b'"finish_reason":null}],"usage":null}\n\n'
    )
    played = tr(sse(*say("first"), plain, plain, STOP))
    assert played.sse.count(plain) == 2
    assert text_of(played.sse) == "firsté éé é"
    check_caller(played.sse)
    assert played.splice.shown.text == "firsté éé é"


ODD_FRAMES: dict[str, Any] = {
    "another_model": chunk({"content": "x"}, model="up-2"),
    "another_id": chunk({"content": "x"}, id="chatcmpl-other"),
    "another_time": chunk({"content": "x"}, created=7),
    "no_model": {"id": "chatcmpl-up", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]},
    "another_object": chunk({"content": "x"}, object="text_completion"),
    "role_again": chunk({"role": "assistant", "content": "x"}),
    "usage_again": chunk({"content": "x"}, usage={"prompt_tokens": 1, "completion_tokens": 1}),
    "no_index": chunk({"content": "x"}, choices=[{"delta": {"content": "x"}, "finish_reason": None}]),
    "no_finish_key": chunk({"content": "x"}, choices=[{"index": 0, "delta": {"content": "x"}}]),
    "index_1": chunk({"content": "x"}, choices=[{"index": 1, "delta": {"content": "x"}, "finish_reason": None}]),
    "list_content": chunk({"content": [{"type": "text", "text": "x"}]}),
    "with_nothing_in_a_second_choice": chunk(
        choices=[{"index": 0, "delta": {"content": "x"}, "finish_reason": None}, {"index": 1, "delta": {}}]
    ),
    "several_lines": b'data: {"id":"chatcmpl-up","object":"chat.completion.chunk","created":1789999995,\n'
    b'data: "model":"up-1","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n',
}


@pytest.mark.parametrize("name", ODD_FRAMES)
def test_frames_that_are_odd_in_any_way_are_written_anew(name: str) -> None:
    """One id, model, time and role in a stream, every member that SDKs need, usage only where asked (contract)."""
    played = tr(sse(*say("a"), ODD_FRAMES[name], chunk({"content": "b"}), STOP))
    assert played.error is None
    assert text_of(played.sse) == "axb"
    frames = check_caller(played.sse)
    assert not any(frame.get("usage") for frame in frames)
    assert {frame["model"] for frame in frames} == {"up-1"}


def test_other_line_ends_are_forwarded_as_ours() -> None:
    """CRLF streams, `data:` without a space and comments come out as plain frames."""
    body = sse(*say("a", "b"), STOP).replace(b"\n", b"\r\n").replace(b"data: ", b"data:")
    played = tr(b": OPENROUTER PROCESSING\r\n\r\n" + body)
    assert text_of(played.sse) == "ab"
    assert b"\r" not in played.sse


def test_invalid_utf8_is_never_forwarded() -> None:
    """Not even in a member that nobody reads: the caller's SDK would break on it."""
    bad = b'data: {"id":"chatcmpl-up","x":"\xff","choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}\n\n'
    played = tr(sse(*say("a"), bad, STOP))
    assert isinstance(played.error, Malformed)
    assert text_of(played.sse) == "a"


def test_white_space_behind_reasoning_does_not_make_an_empty_answer_of_a_good_one() -> None:
    """Text that goes raw counts as text, though its block began with a line feed."""
    think = chunk({"reasoning_content": "hm"})
    played = tr(sse(think, chunk({"content": "\n"}), chunk({"content": "yes"}), STOP))
    assert played.error is None
    assert text_of(played.sse) == "\nyes"


def test_a_text_event_that_comes_alone_is_forwarded_as_the_same_bytes() -> None:
    """The hot path copies nothing; what is no plain text, an error or the end, is told apart all the same."""
    lane = StreamLane(new_splice(), decoder())
    for frame in say("a"):
        lane.feed(sse(frame, done=False))
    plain = sse(chunk({"content": "b"}), done=False)
    assert lane.feed(plain) is plain
    assert frames_of(lane.feed(sse(chunk({"role": "assistant", "content": "c"}), done=False)))
    assert lane.feed(sse(chunk({"tool_calls": "x"}), done=False)) == b""
    assert isinstance(lane.error, Malformed)


# --- endings ---------------------------------------------------------------------------------------


def test_nothing_leaves_before_the_first_content() -> None:
    """Role, comments, usage and white space are held; an early failure shows nothing (contract: commit point)."""
    body = sse(b": hi\n\n", chunk({"role": "assistant", "content": ""}), chunk({"content": "\n"}), USAGE, done=False)
    for rest in (b'data: {"error":{"message":"m"}}\n\n', b"data: <html>\n\n", DONE, b""):
        played = tr(body + rest)
        assert played.sse == b""
        assert played.error is not None
        assert not played.lane.committed


def test_ha2_9r10_pk1_a_stream_without_a_finish_reason_is_never_a_good_end() -> None:
    """Not with `[DONE]`, not at a clean end, not at a reset: no finish chunk and no `[DONE]` for the caller."""
    for done in (True, False):
        for clean in (True, False):
            played = tr(sse(*say("half an answer"), done=done), clean=clean)
            assert isinstance(played.error, Truncated)
            assert not played.lane.over
            assert DONE not in played.sse
            assert all(f["choices"][0]["finish_reason"] is None for f in frames_of(played.sse))


@pytest.mark.parametrize(
    "tail", [b"", b"data: [DONE]", b"data: [DONE]\n", b'data: {"id":"x","choices":[],"usa', b"data"]
)
@pytest.mark.parametrize("clean", [True, False])
def test_a_finish_reason_is_an_end_whatever_follows(tail: bytes, clean: bool) -> None:
    """No `[DONE]`, half a frame, a reset: what was said before stands (providers.md 6)."""
    played = tr(sse(*say("a"), STOP, done=False) + tail, clean=clean)
    assert played.error is None
    assert played.sse.endswith(DONE)
    assert check_caller(played.sse)[-1]["choices"][0]["finish_reason"] == "stop"


def test_half_a_frame_behind_text_is_a_cut() -> None:
    """A body that ends inside a frame was cut, and is not called malformed: it blames the same, and says it better."""
    played = tr(sse(*say("a"), done=False) + b'data: {"id":"chatcmpl-up","cho')
    assert isinstance(played.error, Truncated)


def test_9r11_errors_inside_the_stream_are_errors() -> None:
    """Before the first content nothing is shown; behind it, no good end follows (9R-11)."""
    wrong = {"id": "x", "choices": [], "error": {"code": 502}}
    for frames, shown in (([wrong], ""), ([*say("a"), wrong, STOP], "a"), ([*say("a"), STOP, wrong], "a")):
        played = tr(sse(*frames))
        assert isinstance(played.error, ServerFailed)
        assert text_of(played.sse) == shown
        assert DONE not in played.sse


def test_error_events_count_whatever_they_hold() -> None:
    """`event: error` is an error even where its payload looks like a chunk (providers.md 6)."""
    for payload in (b'{"message":"m"}', b"busy", json.dumps(chunk({"content": "x"})).encode()):
        played = tr(sse(*say("a"), b"event: error\ndata: " + payload + b"\n\n", STOP))
        assert isinstance(played.error, ServerFailed)


def test_an_endless_event_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lanes turn it into the provider's fault."""
    monkeypatch.setattr(sse_module, "MAX_EVENT_BYTES", 100)
    for lane in (StreamLane(new_splice(), decoder()), ManyLane(new_splice(), decoder(), 2)):
        assert lane.feed(b"data: " + b"x" * 200) == b""
        assert isinstance(lane.error, Malformed)
        assert lane.end(clean=True) == b""


# --- usage, caps, taps -----------------------------------------------------------------------------


def test_usage_is_forwarded_only_where_asked_and_the_last_counts() -> None:
    """Usage in every chunk and in a last one (CP-8): one chunk of ours with the last, or none."""
    counted = [chunk({"content": t}, usage={"prompt_tokens": 3, "completion_tokens": n}) for n, t in enumerate("abc")]
    body = sse(
        *say("x"), *counted, STOP, {"id": "x", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}
    )
    assert not any(f.get("usage") for f in frames_of(tr(body).sse))
    played = tr(body, include_usage=True)
    usages = [f["usage"] for f in frames_of(played.sse) if f.get("usage")]
    assert [u["completion_tokens"] for u in usages] == [9]
    assert played.lane.usage == Usage(3, 9)


def test_visible_text_ends_at_the_cap() -> None:
    """REASONING_TOKEN_RESERVE asks for more than the caller did: it sees its own cap, and `length`, once."""
    body = sse(chunk({"reasoning_content": "hm"}), *say("abcdef", "ghijkl", "mnopqr"), STOP, USAGE)
    played = tr(body, cap_tokens=2)
    assert played.lane.over
    assert text_of(played.sse) == "abcdefgh"
    reasons = [f["choices"][0]["finish_reason"] for f in check_caller(played.sse)]
    assert [r for r in reasons if r] == ["length"]


def test_the_tap_keeps_what_a_second_turn_needs() -> None:
    """Calls with their signatures and the reasoning before them, but not the text (providers.md 12.9)."""
    signed = call(0, "a", "f", "{}", extra_content={"google": {"thought_signature": "s"}})
    lane = StreamLane(new_splice(), decoder(), tap=True)
    drive(lane, [sse(chunk({"reasoning_content": "hm"}), *say("a", "b"), chunk(signed), STOP)])
    answer = fold(lane.tapped)
    assert answer.text(BlockKind.REASONING) == "hm"
    tapped = [e for e in lane.tapped if isinstance(e, Opened) and e.kind is BlockKind.TOOL_CALL]
    assert tapped[0].extras == {"extra_content": {"google": {"thought_signature": "s"}}}
    assert "b" not in answer.text()


def test_a_second_attempt_behind_reasoning_goes_on_under_the_first_identity() -> None:
    """The first attempt is cut in its reasoning; the second one's text follows, its reasoning does not (2.14)."""
    splice = new_splice()
    first = play(sse(chunk({"role": "assistant", "reasoning_content": "first"}), done=False), splice=splice)
    assert isinstance(first.error, Truncated)
    assert splice.way == "anew"
    splice.begin(None)
    other = {"id": "chatcmpl-2", "model": "up-2", "created": 9}
    frames = [
        chunk({"role": "assistant", "reasoning_content": "second"}, **other),
        *(chunk({"content": t}, **other) for t in ("a", "b")),
        chunk({}, "stop", **other),
    ]
    second = play(sse(*frames), splice=splice)
    whole = first.sse + second.sse
    frames_seen = check_caller(whole)
    assert text_of(whole) == "ab"
    assert "".join(f["choices"][0]["delta"].get("reasoning_content", "") for f in frames_seen) == "first"


# --- the OpenAI SDK --------------------------------------------------------------------------------


def accumulate(out: bytes) -> Any:
    """What the SDK's own accumulator makes of the caller's frames; it crashes on what it cannot take."""
    state: Any = ChatCompletionStreamState()
    for frame in frames_of(out):
        state.handle_chunk(ChatCompletionChunk.construct(**frame))
    return state.current_completion_snapshot  # the final one is the same, but raises where it was cut or filtered


@pytest.mark.parametrize("oddity", [*ODDITIES, *NAMELESS_IDS])
def test_the_sdk_reads_both_calls_whatever_the_upstream_did(oddity: str) -> None:
    """Two parallel calls with every oddity of providers.md 6, behind text, however they are cut."""
    deltas = {**ODDITIES, **NAMELESS_IDS}[oddity]
    played = tr(sse(*say("let me see"), *(chunk(delta) for delta in deltas), chunk({}, "tool_calls")))
    assert played.error is None
    check_caller(played.sse)
    message = accumulate(played.sse).choices[0].message
    assert message.content == "let me see"
    found = sorted((c.function.name, json.loads(c.function.arguments)["city"]) for c in message.tool_calls)
    assert found == [("f", "Rome"), ("g", "Oslo")]
    assert len({c.id for c in message.tool_calls}) == 2


async def test_the_sdk_streams_from_us_over_http(aiohttp_server: AiohttpServer) -> None:
    """AsyncOpenAI reads our bytes: text, reasoning, a call, usage; a late failure raises APIError (12.10)."""
    usage = chunk({}, "tool_calls", usage={"prompt_tokens": 3, "completion_tokens": 2})
    body = sse(chunk({"reasoning": "hm"}), *say("he", "llo"), chunk(call(None, "", "f", {"a": 1})), usage)
    good = play(body, include_usage=True).sse
    cut = play(sse(*say("he", "llo"), done=False))
    assert cut.error is not None
    bad = cut.sse + error_event(cut.error, now=0)

    async def answer(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        model = (await request.json())["model"]
        response = aiohttp.web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in cuts(good if model == "good" else bad, random.Random(3)):
            await response.write(piece)
        return response

    app = aiohttp.web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    server = await aiohttp_server(app)
    async with openai.AsyncOpenAI(base_url=str(server.make_url("/v1")), api_key="x", max_retries=0) as client:
        async with client.chat.completions.stream(
            model="good", messages=[{"role": "user", "content": "hi"}], stream_options={"include_usage": True}
        ) as stream:
            final = await stream.get_final_completion()
        message = final.choices[0].message
        assert (message.content, message.tool_calls[0].function.arguments) == ("hello", '{"a":1}')
        assert final.usage is not None
        assert final.usage.total_tokens == 5
        got = []
        with pytest.raises(openai.APIError):
            async for event in await client.chat.completions.create(
                model="bad", messages=[{"role": "user", "content": "hi"}], stream=True
            ):
                got.append(event.choices[0].delta.content or "")
        assert "".join(got) == "hello"


# --- properties ------------------------------------------------------------------------------------


@given(chunks, st.booleans(), st.integers(0, 2**32), st.sampled_from([None, 0, 1]))
def test_any_stream_cut_anyhow_is_a_stream_the_caller_can_read(
    frames: list[Any], clean: bool, seed: int, cap: int | None
) -> None:
    """The output never depends on the cuts, keeps the caller's grammar, and ends well only if the upstream did."""
    body = sse(*frames, done=clean)
    tags = ("<think>", "</think>") if seed % 2 else None
    whole, *others = [
        play(body, pieces, clean=clean, cap_tokens=cap, think_tags=tags, include_usage=True)
        for pieces in ([body], events(body), cuts(body, random.Random(seed)))
    ]
    for again in others:
        assert again.sse == whole.sse
        assert type(again.error) is type(whole.error)
    check_caller(whole.sse)
    assert (whole.error is None) == whole.sse.endswith(DONE)
    if whole.error is None:
        assert any(f["choices"] and f["choices"][0]["finish_reason"] for f in frames_of(whole.sse))
        accumulate(whole.sse)


@given(st.binary(max_size=200), st.booleans())
def test_garbage_bytes_only_ever_set_the_error(body: bytes, clean: bool) -> None:
    """Whatever comes, before or behind good frames: an error of ours, and nothing raised."""
    for lane in (StreamLane(new_splice(), decoder()), ManyLane(new_splice(), decoder(), 1)):
        out = drive(lane, [sse(*say("a"), done=False) + body], clean=clean)
        assert lane.over or lane.error is not None
        check_caller(out)


# --- n > 1 -----------------------------------------------------------------------------------------


def many(index: int, delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of one of several choices."""
    return chunk(
        choices=[{"index": index, "delta": delta, "finish_reason": finish, "logprobs": {"content": []}}], **more
    )


def many_lane(body: bytes, choices: int = 2) -> tuple[ManyLane, bytes]:
    lane = ManyLane(new_splice(), decoder(), choices)
    return lane, drive(lane, [body])


def test_choices_go_through_under_one_identity_and_without_usage() -> None:
    """Held until the first content; logprobs and every choice are kept, id and model constant, usage is ours."""
    body = sse(
        many(0, {"role": "assistant", "content": ""}),
        many(1, {"role": "assistant", "content": ""}),
        many(0, {"content": "a"}),
        many(1, {"content": "b"}, id="other", model="up-2", usage={"prompt_tokens": 1, "completion_tokens": 2}),
        many(0, {}, "stop"),
        many(1, {}, "length"),
        USAGE,
    )
    lane, out = many_lane(body)
    assert (lane.over, lane.error) == (True, None)
    frames = frames_of(out)
    assert len(frames) == 6
    assert {(f["id"], f["model"], "usage" in f) for f in frames} == {("chatcmpl-up", "up-1", False)}
    assert frames[2]["choices"][0]["logprobs"] == {"content": []}
    assert lane.usage == Usage(3, 2)


def test_a_choice_that_never_finishes_is_a_cut() -> None:
    """Every choice must end, and something must be said; an error chunk is an error."""
    half = [many(0, {"content": "a"}), many(0, {}, "stop"), many(1, {"content": "b"})]
    lane, out = many_lane(sse(*half))
    assert isinstance(lane.error, Truncated)
    assert out
    lane, out = many_lane(sse(many(0, {}, "stop"), many(1, {}, "stop")))
    assert isinstance(lane.error, EmptyReply)
    assert out == b""
    lane, out = many_lane(sse({"choices": [], "error": {"code": 500}}))
    assert isinstance(lane.error, ServerFailed)


def test_choices_behind_keep_alives_have_their_id() -> None:
    """The id that keep-alives showed stays, here too; and no second attempt can join."""
    splice = new_splice()
    splice.keep_alive("ours", "hermes-router", 9)
    lane = ManyLane(splice, decoder(), 1)
    out = drive(lane, [sse(many(0, {"content": "a"}), many(0, {}, "stop"))])
    assert {(f["id"], f["created"], f["model"]) for f in frames_of(out)} == {("ours", 9, "up-1")}
    assert splice.committed
    assert splice.way == "stop"
