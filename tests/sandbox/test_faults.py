"""Each fault arrives at a caller's socket as it is named."""

import asyncio
import gzip
import json
import zlib

import aiohttp
import pytest

from hermes_router.sandbox import bad_frames, faults

from .conftest import body

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}  # fmt: skip


def post(http, sandbox, style="generic", text="say 5 words", stream=True, **fields):
    """One chat with the first model of a style, as a context manager."""
    model = sandbox.providers[style].models[0].id
    made = body(model, {"role": "user", "content": text}, stream=stream, **fields)
    headers = {"user-agent": "agent"}
    return http.post(sandbox.base_url(style) + "/chat/completions", json=made, headers=headers, allow_redirects=False)


async def chunks(http, sandbox, **given):
    """The parsed data frames of a stream that ends as its framing says."""
    async with post(http, sandbox, **given) as response:
        raw = (await response.read()).decode()
    frames = [line.removeprefix("data: ") for line in raw.split("\n\n") if line.startswith("data: ")]
    return [json.loads(frame) for frame in frames if frame != "[DONE]"], raw


def text(frames):
    """The text of all deltas."""
    deltas = [choice["delta"] for frame in frames for choice in frame["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def test_a_good_stream_is_whole(http, sandbox) -> None:
    """Role, words, finish, usage if asked, [DONE]."""
    frames, raw = await chunks(http, sandbox, stream_options={"include_usage": True})
    assert text(frames) == "w1 w2 w3 w4 w5"
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert frames[-1]["choices"] == []
    assert frames[-1]["usage"]["completion_tokens"] == 4
    assert raw.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(("behaviour", "style", "status", "word"), [
    (faults.status(503), "groq", 503, "503"),
    (faults.status(418, b"short", {"x-a": "b"}), "groq", 418, "short"),
    (faults.rate_limited("rpd", 20, 50_000), "gemini", 429, "PerDay"),
    (faults.rate_limited(), "cerebras", 429, "request_quota_exceeded"),
    (faults.too_large(), "groq", 413, "Request too large"),
    (faults.overloaded(), "mistral", 429, "3505"),
    (faults.overloaded(), "nvidia", 400, "DEGRADED"),
    (faults.overloaded(), "openrouter", 429, "Provider returned error"),
    (faults.no_credit(), "openai", 429, "insufficient_quota"),
    (faults.no_credit(), "huggingface", 402, "monthly included credits"),
    (faults.no_credit(), "zai", 429, "1113"),
    (faults.no_credit(), "sambanova", 402, "PAYMENT_METHOD_REQUIRED"),
    (faults.bad_key(), "gemini", 400, "API_KEY_INVALID"),
    (faults.model_gone(), "nvidia", 410, "end of life"),
    (faults.model_gone(), "groq", 400, "model_decommissioned"),
    (faults.context_overflow(), "zai", 400, "1261"),
    (faults.html_200(), "generic", 200, "<!doctype html>"),
    (faults.json_200_error("boom"), "zai", 200, "boom"),
    (faults.redirect("http://127.0.0.1:9/x"), "generic", 302, ""),
])  # fmt: skip
async def test_whole_answers(http, sandbox, *, behaviour, style, status, word) -> None:
    """A scripted answer replaces the model's once, and is recorded by its name."""
    sandbox.behave(style, behaviour)
    async with post(http, sandbox, style) as response:
        assert response.status == status
        assert word in (await response.read()).decode()
    assert sandbox.requests[-1].behaviour == behaviour.name
    async with post(http, sandbox, style) as response:
        assert response.status == 200


@pytest.mark.parametrize("ending", ["abrupt", "reset"])
async def test_pk1_a_cut_breaks_the_connection(http, sandbox, ending) -> None:
    """Two words come, then the connection goes without the body's end."""
    sandbox.behave("generic", faults.cut(2, ending))
    got = bytearray()

    async def read():
        async with post(http, sandbox) as response:
            async for piece in response.content.iter_any():
                got.extend(piece)

    with pytest.raises(aiohttp.ClientError):
        await read()
    assert b"w3" not in got
    if ending == "abrupt":  # a reset may overtake what was sent
        assert b"w2" in got
    assert sandbox.requests[-1].outcome == "cut"


async def test_9r10_a_clean_cut_looks_like_an_end(http, sandbox) -> None:
    """The body ends as framed, without finish reason and [DONE]."""
    sandbox.behave("generic", faults.cut(2, "clean"))
    frames, raw = await chunks(http, sandbox)
    assert text(frames) == "w1 w2"
    assert "[DONE]" not in raw
    assert all(frame["choices"][0]["finish_reason"] is None for frame in frames)


async def test_9r5_a_stall_is_released_by_its_gate(http, sandbox) -> None:
    """Silence after two words until the test opens the gate; then the rest comes."""
    stall = sandbox.behave("generic", faults.stall(2))
    async with post(http, sandbox) as response:
        await stall.reached.wait()
        assert b"w3" not in await response.content.readany()
        assert sandbox.requests[-1].outcome == "open"
        stall.gate.set()
        assert b"[DONE]" in await response.read()


async def test_ll14_a_caller_who_leaves_is_recorded(http, sandbox) -> None:
    """Closing the connection during a stall is recorded as aborted, at once."""
    stall = sandbox.behave("generic", faults.stall(1))
    async with post(http, sandbox) as response:
        await stall.reached.wait()
        response.close()
    record = sandbox.requests[-1]
    await asyncio.wait_for(record.done.wait(), 2)
    assert record.outcome == "aborted"


async def test_bf3_silence_sends_no_header(http, sandbox) -> None:
    """Accepted, and not a byte until the gate opens."""
    silent = sandbox.behave("generic", faults.silent())

    async def ask():
        async with post(http, sandbox) as response:
            return response.status

    asking = asyncio.create_task(ask())
    await silent.reached.wait()
    assert not asking.done()
    silent.gate.set()
    assert await asking == 504


@pytest.mark.parametrize("behaviour", [faults.reset(), faults.garbage()], ids=lambda each: each.name)
async def test_no_http_answer_at_all(http, sandbox, behaviour) -> None:
    """A reset before the head, and bytes that are no HTTP."""
    sandbox.behave("generic", behaviour)
    with pytest.raises(aiohttp.ClientError):
        async with post(http, sandbox):
            pass


async def test_slow_first_token_sends_the_head(http, sandbox) -> None:
    """The status is there, the first word waits for the gate."""
    slow = sandbox.behave("generic", faults.slow_first_token())
    async with post(http, sandbox) as response:
        await slow.reached.wait()
        assert response.status == 200
        assert b"w1" not in await response.content.readany()
        slow.gate.set()
        assert b"w5" in await response.read()


async def test_gzip_comes_unasked(http, sandbox) -> None:
    """Compressed streams and completions."""
    sandbox.behave("generic", faults.gzip_body(), times=2)
    async with post(http, sandbox) as response:
        assert response.headers["content-encoding"] == "gzip"
        raw = await response.read()
    assert b"w5" in zlib.decompressobj(wbits=31).decompress(raw)
    async with post(http, sandbox, stream=False) as response:
        assert b"w5" in gzip.decompress(await response.read())


@pytest.mark.parametrize("stream", [True, False])
async def test_a_length_that_lies(http, sandbox, stream) -> None:
    """The connection ends before the promised length."""
    sandbox.behave("generic", faults.wrong_content_length())
    with pytest.raises(aiohttp.ClientPayloadError):
        async with post(http, sandbox, stream=stream) as response:
            await response.read()


async def test_unary_though_stream(http, sandbox) -> None:
    """One JSON completion where a stream was asked for."""
    sandbox.behave("generic", faults.unary_though_stream())
    async with post(http, sandbox) as response:
        assert response.content_type == "application/json"
        assert (await response.json())["choices"][0]["message"]["content"] == "w1 w2 w3 w4 w5"


async def test_comments_only(http, sandbox) -> None:
    """A comment at each opening of the gate, and never an answer."""
    alive = sandbox.behave("generic", faults.comments_only())
    async with post(http, sandbox) as response:
        for _ in range(3):
            assert await response.content.readuntil(b"\n\n") == b": keep-alive\n\n"
            alive.gate.set()


async def test_replies_can_be_changed(http, sandbox) -> None:
    """Nothing at all, only reasoning, and think tags in the content."""
    for behaviour, wanted, finish in (
        (faults.empty_answer(), "", "stop"), (faults.empty_answer("length"), "", "length"),
        (faults.think_tags("hm"), "<think>hm</think>w1", "stop"),
        (faults.think_tags("hm", opening=False), "hm</think>w1", "stop"),
    ):  # fmt: skip
        sandbox.behave("generic", behaviour)
        frames, _ = await chunks(http, sandbox, text="say 1 words")
        assert (text(frames), frames[-1]["choices"][0]["finish_reason"]) == (wanted, finish)


@pytest.mark.parametrize(("form", "word"), [
    ("finish", '"finish_reason":"error"'), ("x_groq", '"x_groq":{"id":"req_sandbox","error"'),
    ("bare", '"choices":[],"error"'), ("event", "event: error"),
])  # fmt: skip
async def test_9r11_error_chunks(http, sandbox, form, word) -> None:
    """An error in the middle of a 200, in four forms; in a unary answer an error object."""
    sandbox.behave("generic", bad_frames.error_chunk(2, form), times=2)
    async with post(http, sandbox) as response:
        raw = (await response.read()).decode()
    assert word in raw
    assert "w2" in raw
    assert "w3" not in raw
    async with post(http, sandbox, stream=False) as response:
        assert "error" in await response.json()


async def test_missing_ends(http, sandbox) -> None:
    """No finish reason, no [DONE], a finish reason of any name."""
    sandbox.behave("generic", bad_frames.no_finish())
    frames, raw = await chunks(http, sandbox)
    assert "[DONE]" in raw
    assert not any(frame["choices"][0]["finish_reason"] for frame in frames)
    sandbox.behave("generic", bad_frames.no_done())
    frames, raw = await chunks(http, sandbox)
    assert "[DONE]" not in raw
    assert frames[-1]["choices"][0]["finish_reason"] == "stop"
    sandbox.behave("generic", bad_frames.finish_reason("sensitive"))
    frames, _ = await chunks(http, sandbox)
    assert frames[-1]["choices"][0]["finish_reason"] == "sensitive"


async def test_broken_bytes(http, sandbox) -> None:
    """A frame that does not parse, half a character at the end, a byte that is no UTF-8."""
    sandbox.behave("generic", bad_frames.broken_frame())
    async with post(http, sandbox) as response:
        raw = await response.read()
    with pytest.raises(ValueError):
        [json.loads(frame[6:]) for frame in raw.split(b"\n\n")[:-2]]
    assert b"[DONE]" in raw
    sandbox.behave("generic", bad_frames.invalid_utf8())
    async with post(http, sandbox) as response:
        raw = await response.read()
    with pytest.raises(UnicodeDecodeError):
        raw.decode()
    sandbox.behave("generic", bad_frames.half_utf8())
    with pytest.raises(aiohttp.ClientPayloadError):
        async with post(http, sandbox) as response:
            await response.read()


@pytest.mark.parametrize("behaviour", [
    bad_frames.broken_frame(), bad_frames.half_utf8(), bad_frames.invalid_utf8(),
    faults.cut(1, "clean"),
], ids=lambda each: each.name)  # fmt: skip
async def test_a_unary_answer_breaks_too(http, sandbox, behaviour) -> None:
    """Truncated or broken JSON with status 200, or a broken connection."""
    sandbox.behave("generic", behaviour)
    with pytest.raises((ValueError, aiohttp.ClientPayloadError)):
        async with post(http, sandbox, stream=False) as response:
            json.loads(await response.read())


async def test_usage_and_roles_repeated(http, sandbox) -> None:
    """Usage in every chunk, growing; the role in every delta; CRLF and no space."""
    sandbox.behave("generic", bad_frames.usage_repeated())
    frames, _ = await chunks(http, sandbox)
    assert all(frame["usage"] for frame in frames)
    sandbox.behave("generic", bad_frames.no_usage())
    frames, _ = await chunks(http, sandbox, stream_options={"include_usage": True})
    assert not any("usage" in frame for frame in frames)
    sandbox.behave("generic", bad_frames.role_repeated())
    frames, _ = await chunks(http, sandbox)
    assert [frame["choices"][0]["delta"].get("role") for frame in frames[:-1]] == ["assistant"] * 6
    sandbox.behave("generic", bad_frames.odd_lines())
    async with post(http, sandbox) as response:
        raw = await response.read()
    assert b"data:{" in raw
    assert b"\r\n\r\n" in raw


@pytest.mark.parametrize(("oddity", "proof"), [
    ("no_index", lambda deltas, _: all("index" not in delta for delta in deltas)),
    ("no_id", lambda deltas, _: all("id" not in delta for delta in deltas)),
    ("empty_id", lambda deltas, _: all(delta["id"] == "" for delta in deltas)),
    ("repeated_id", lambda deltas, _: len({delta["id"] for delta in deltas}) == 1 < len(deltas)),
    ("object_arguments", lambda deltas, _: [d["function"]["arguments"] for d in deltas] == [{"city": "some city"}]),
    ("finish_stop", lambda _, finish: finish == "stop"),
])  # fmt: skip
async def test_odd_calls(http, sandbox, oddity, proof) -> None:
    """Tool-call deltas as careless hosts send them."""
    sandbox.behave("generic", bad_frames.odd_calls(oddity), times=2)
    frames, _ = await chunks(http, sandbox, text="use the tool", tools=[TOOL])
    deltas = [call for frame in frames for call in frame["choices"][0]["delta"].get("tool_calls", ())]
    assert proof(deltas, frames[-1]["choices"][0]["finish_reason"])
    async with post(http, sandbox, text="use the tool", tools=[TOOL], stream=False) as response:
        assert (await response.json())["choices"][0]["message"]["tool_calls"]


async def test_two_calls_in_one_place(http, sandbox) -> None:
    """Two calls, both with index 0: only their ids tell them apart."""
    other = {"type": "function", "function": {"name": "clock"}}
    sandbox.behave("generic", bad_frames.odd_calls("zero_index"))
    frames, _ = await chunks(http, sandbox, text="call all tools", tools=[TOOL, other])
    deltas = [call for frame in frames for call in frame["choices"][0]["delta"].get("tool_calls", ())]
    assert {delta["index"] for delta in deltas} == {0}
    assert len({delta["id"] for delta in deltas if "id" in delta}) == 2
