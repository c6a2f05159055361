"""Faults mean in Messages and Responses what they mean in Chat."""

import json

import aiohttp
import pytest

from hermes_router.sandbox import bad_frames, faults

HEADERS = {"x-api-key": "sandbox-key", "anthropic-version": "2023-06-01"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PLACES = {"messages": ("anthropic", "claude-haiku-5-5"), "responses": ("openai", "gpt-4o-mini")}


def post(http, sandbox, speech, text="say 5 words", *, stream=True, tools=False):
    """One question in a dialect, as a context manager."""
    style, model = PLACES[speech]
    body = {"model": model, "stream": stream}
    if speech == "messages":
        body |= {"max_tokens": 500, "messages": [{"role": "user", "content": text}]}
        tool = {"name": "weather", "input_schema": SCHEMA}
    else:
        body |= {"input": text}
        tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    if tools:
        body["tools"] = [tool, tool | {"name": "clock"}]
    return http.post(f"{sandbox.base_url(style)}/{speech}", json=body, headers=HEADERS)


def events(raw):
    """The data of all events; each has its type as its name."""
    found = []
    for block in raw.decode().strip().split("\n\n"):
        name, _, data = block.partition("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@pytest.fixture(params=list(PLACES))
def speech(request):
    """Each of the two dialects."""
    return request.param


async def read(http, sandbox, speech, behaviour, **asked):
    """The whole body under a behaviour."""
    sandbox.behave(PLACES[speech][0], behaviour)
    async with post(http, sandbox, speech, **asked) as response:
        assert response.status == 200
        return await response.read()


@pytest.mark.parametrize("ending", ["abrupt", "reset"])
async def test_pk1_a_cut_breaks_the_connection(http, sandbox, speech, ending) -> None:
    """The body ends in the middle."""
    with pytest.raises(aiohttp.ClientError):
        await read(http, sandbox, speech, faults.cut(2, ending))
    assert sandbox.requests[-1].outcome == "cut"


async def test_9r10_a_clean_cut_has_no_end(http, sandbox, speech) -> None:
    """Two words, and nothing that says that it is over."""
    found = events(await read(http, sandbox, speech, faults.cut(2, "clean")))
    text = "".join(str(each.get("delta")) for each in found)
    assert ("w2" in text, "w3" in text) == (True, False)
    assert found[-1]["type"] not in {"message_delta", "message_stop", "response.completed"}


async def test_9r5_a_stall_is_released_by_its_gate(http, sandbox, speech) -> None:
    """Silence after two words until the gate opens."""
    stall = sandbox.behave(PLACES[speech][0], faults.stall(2))
    async with post(http, sandbox, speech) as response:
        await stall.reached.wait()
        assert b"w3" not in await response.content.readany()
        stall.gate.set()
        assert b"w5" in await response.read()


@pytest.mark.parametrize("behaviour", [faults.reset(), faults.garbage()], ids=lambda each: each.name)
async def test_no_http_answer_at_all(http, sandbox, speech, behaviour) -> None:
    """A reset before the head, and bytes that are no HTTP."""
    with pytest.raises(aiohttp.ClientError):
        await read(http, sandbox, speech, behaviour)


async def test_bytes_that_break(http, sandbox, speech) -> None:
    """Half a frame in the middle, a byte that is no UTF-8, half a character at the end."""
    with pytest.raises(ValueError):
        events(await read(http, sandbox, speech, bad_frames.broken_frame()))
    with pytest.raises(UnicodeDecodeError):
        events(await read(http, sandbox, speech, bad_frames.invalid_utf8()))
    with pytest.raises(aiohttp.ClientPayloadError):
        await read(http, sandbox, speech, bad_frames.half_utf8())


async def test_bodies_that_are_no_answers(http, sandbox, speech) -> None:
    """A login page, one whole answer where a stream was asked for, comments only, an empty answer."""
    assert (await read(http, sandbox, speech, faults.html_200())).startswith(b"<!doctype")
    whole = json.loads(await read(http, sandbox, speech, faults.unary_though_stream()))
    assert "w5" in json.dumps(whole.get("content", whole.get("output")))
    alive = sandbox.behave(PLACES[speech][0], faults.comments_only())
    async with post(http, sandbox, speech) as response:
        for _ in range(3):
            assert await response.content.readuntil(b"\n\n") == b": keep-alive\n\n"
            alive.gate.set()
    raw = await read(http, sandbox, speech, faults.empty_answer())
    assert b"_delta" not in raw.replace(b"message_delta", b"")
    assert b".delta" not in raw


@pytest.mark.parametrize("form", ["event", "bare"])
async def test_9r11_errors_in_a_stream(http, sandbox, speech, form) -> None:
    """An error after two words, and no end; Messages may leave out its name."""
    raw = (await read(http, sandbox, speech, bad_frames.error_chunk(2, form))).decode()
    last = raw.strip().split("\n\n")[-1]
    assert last.startswith("event: error\n") is (speech == "responses" or form == "event")
    assert '"type":"error"' in last
    assert "w3" not in raw
    async with post(http, sandbox, speech) as response:
        assert b"w5" in await response.read()


async def test_a_whole_answer_fails_too(http, sandbox, speech) -> None:
    """An error with status 200."""
    said = json.loads(await read(http, sandbox, speech, bad_frames.error_chunk(), stream=False))
    assert said["error"]


async def test_usage_repeated_and_none(http, sandbox, speech) -> None:
    """Usage that grows with each word, and no usage at all."""
    found = events(await read(http, sandbox, speech, bad_frames.usage_repeated()))
    usages = [each.get("usage") or (each.get("response") or {}).get("usage") for each in found]
    tokens = [usage["output_tokens"] for usage in usages if usage]
    assert tokens[:5] == [1, 2, 3, 4, 5]
    assert b'"usage"' not in await read(http, sandbox, speech, bad_frames.no_usage())


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    "oddity", ["no_id", "empty_id", "repeated_id", "object_arguments", "finish_stop", "zero_index"]
)
async def test_odd_calls(http, sandbox, speech, oddity, stream) -> None:
    """Calls without or with wrong ids, with objects for arguments, under one index, with another reason to stop."""
    asked = {"text": "call all tools", "tools": True, "stream": stream}
    raw = await read(http, sandbox, speech, bad_frames.odd_calls(oddity), **asked)
    found = events(raw) if stream else [json.loads(raw)]
    kinds = {"tool_use", "function_call"}
    places = [each.get("content_block") or each.get("item") or {} for each in found]
    places += [] if stream else found[0].get("content", found[0].get("output"))
    calls = [each for each in places if each.get("type") in kinds]
    assert calls
    name = "id" if speech == "messages" else "call_id"
    match oddity:
        case "no_id":
            assert not any(name in call for call in calls)
        case "empty_id" | "repeated_id":
            assert {call[name] for call in calls} == {"" if oddity == "empty_id" else "call_1"}
        case "object_arguments":
            assert {"city": "some city"} in [call.get("input", call.get("arguments")) for call in calls]
            assert b"_json_delta" not in raw
        case "finish_stop":
            assert (b"end_turn" in raw) is (speech == "messages")
        case _:
            indexes = {each[key] for each in found for key in ("index", "output_index") if key in each}
            assert indexes == ({0} if stream else set())
