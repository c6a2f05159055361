"""Each of the three dialects against providers of each of the three, with the real SDKs, a real daemon and strict fakes.

All of it goes through one daemon, since nothing here fails; what fails is in tests/http/test_dialects.py.
"""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from hermes_router.sandbox.providers import FakeProvider

from .home import KEY, Home
from .talk import AGENTS, Agent

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = {f"{name}_API_KEY": "sandbox-key" for name in ("GROQ", "ANTHROPIC", "OPENAI")}
UPSTREAMS = {
    "chat": "groq/openai/gpt-oss-120b",
    "messages": "anthropic/claude-haiku-5-5",
    "responses": "openai/gpt-6-luna",
}
PATHS = {"chat/completions": "chat", "messages": "messages", "responses": "responses"}
SEEING = {"chat": "groq/qwen/qwen3.8-27b", "messages": "anthropic/claude-haiku-5-5", "responses": "openai/gpt-6-luna"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
CALLS = [("weather", {"city": "some city"}), ("clock", {})]
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
CALLER = pytest.mark.parametrize("caller", list(AGENTS))


def asked(home: Home, since: int = 0) -> list[Any]:
    """What the providers were asked for answers, in order."""
    found = [each for each in home.sandbox.requests if each.path.rpartition("/v1/")[2] in PATHS]
    return found[since:]


def spoken(records: list[Any]) -> set[str]:
    """The dialects that the providers were asked in."""
    return {PATHS[record.path.rpartition("/v1/")[2]] for record in records}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here() -> AsyncIterator[Home]:
    """A router with one provider of each dialect. OpenAI has both of its own, as an own row says, at the fake's address."""
    with TemporaryDirectory(prefix="hr") as folder:
        fakes = [FakeProvider(name) for name in ("groq", "anthropic", "openai")]
        async with Home(Path(folder), fakes, KEYS) as opened:
            address = opened.environ.pop("OPENAI_BASE_URL")
            rows = Path(folder) / ".config/hermes-router/providers.toml"
            rows.parent.mkdir(parents=True)
            rows.write_text(f'[openai]\nendpoints = {{ openai_chat = "{address}", openai_responses = "{address}" }}\n')
            await opened.hr("start", code=0)
            yield opened


async def talk_through(agent: Agent) -> None:
    """Two calls at once, their results, an answer that quotes the last, and a further turn."""
    first = await agent.say("call all tools")
    assert [(name, arguments) for _, name, arguments in first.calls] == CALLS
    second = await agent.answer(first, "12 C", "noon")
    assert (second.text, second.calls) == ("The tool said: noon", [])
    assert (await agent.say("say 3 words")).text == "w1 w2 w3"


@STREAM
@CALLER
async def test_every_pair_makes_a_round_trip_with_two_tools(here, caller: str, stream: bool) -> None:
    """No fake has cause to refuse anything, each is asked in its own dialect, ids come back as they were given."""
    for upstream, model in UPSTREAMS.items():
        before = len(asked(here))
        async with AGENTS[caller](here.port, model, stream) as agent:
            await talk_through(agent)
            usage = agent.raw.usage
        records = asked(here, before)
        assert [record.status for record in records] == [200] * 3
        assert spoken(records) == {upstream}
        given = usage.prompt_tokens if caller == "chat" else usage.input_tokens
        assert given > 10
        how = "streamed" if stream else "whole"
        print(
            f"{caller:>9} -> {upstream:9} {how:8}: 2 parallel calls, 2 results, 3 answers; {given} tokens in at the last"
        )


@STREAM
@CALLER
async def test_thoughts_are_kept_over_the_turn(here, caller: str, stream: bool) -> None:
    """Claude's thoughts come back to it signed before its calls, whether the caller could hold them or not."""
    wishes: dict[str, dict[str, Any]] = {
        "chat": {"reasoning_effort": "high"},
        "messages": {"thinking": {"type": "adaptive"}},
        "responses": {"reasoning": {"effort": "high", "summary": "auto"}},
    }
    before = len(asked(here))
    async with AGENTS[caller](here.port, UPSTREAMS["messages"], stream, fields=wishes[caller]) as agent:
        first = await agent.say("call all tools")
        assert first.thought.startswith("Let me think")
        second = await agent.answer(first, "12 C", "noon")
    assert second.text == "The tool said: noon"
    records = asked(here, before)
    assert [record.status for record in records] == [200, 200]
    turn = next(turn for turn in records[1].body["messages"] if turn["role"] == "assistant")
    assert [block["type"] for block in turn["content"]] == ["thinking", "tool_use", "tool_use"]
    assert turn["content"][0]["thinking"] == first.thought
    print(f"{caller:>9} -> messages: thoughts kept, signature of {len(turn['content'][0]['signature'])} characters")


@STREAM
@CALLER
async def test_encrypted_reasoning_is_kept_over_the_turn(here, caller: str, stream: bool) -> None:
    """A reasoning item of a Responses provider comes back to it before its calls."""
    before = len(asked(here))
    async with AGENTS[caller](here.port, UPSTREAMS["responses"], stream) as agent:
        first = await agent.say("call all tools")
        assert (await agent.answer(first, "12 C", "noon")).text == "The tool said: noon"
    records = asked(here, before)
    assert [record.status for record in records] == [200, 200]
    kinds = [item.get("type", "message") for item in records[1].body["input"]]
    assert kinds.index("reasoning") < kinds.index("function_call")
    print(f"{caller:>9} -> responses: the encrypted item kept")


@STREAM
@CALLER
async def test_a_conversation_moves_from_one_provider_to_the_next(here, caller: str, stream: bool) -> None:
    """With calls and thoughts of each in its history: whatever is not a provider's own does not reach it."""
    wishes: dict[str, dict[str, Any]] = {
        "chat": {"reasoning_effort": "high"},
        "messages": {"thinking": {"type": "adaptive"}},
        "responses": {"reasoning": {"effort": "high", "summary": "auto"}},
    }
    order = ["messages", "chat", "responses", "messages", "responses", "chat"]
    before = len(asked(here))
    async with AGENTS[caller](here.port, "", stream, fields=wishes[caller]) as agent:
        for number, upstream in enumerate(order):
            agent.model = UPSTREAMS[upstream]
            said = await agent.say("call all tools")
            assert [call[1:] for call in said.calls] == CALLS
            agent.model = UPSTREAMS[order[number - 1]]  # the results go to another provider than the calls came from
            assert (await agent.answer(said, "12 C", "noon")).text == "The tool said: noon"
    records = asked(here, before)
    assert [record.status for record in records] == [200] * 2 * len(order)
    print(f"{caller:>9}: moved {2 * len(order) - 1} times over {', '.join(UPSTREAMS)}")


@STREAM
@CALLER
async def test_images_arrive(here, caller: str, stream: bool) -> None:
    """The same bytes, in the words of each provider's dialect."""
    for model in SEEING.values():
        async with AGENTS[caller](here.port, model, stream, tools=False) as agent:
            assert (await agent.say("say 2 words", PNG)).text == "w1 w2"
        record = asked(here)[-1]
        assert record.status == 200
        assert PNG in record.raw.decode()


@CALLER
async def test_long_prompts_arrive_whole(here, caller: str) -> None:
    """200 KB of text with everything in it that JSON escapes."""
    text = ('"quoted" \\ back\nslash \u00e9\u4e2d\U0001f600 \t' * 6000)[:200_000] + " say 2 words"
    for model in UPSTREAMS.values():
        async with AGENTS[caller](here.port, model, stream=True, tools=False) as agent:
            assert (await agent.say(text)).text == "w1 w2"
        assert text in texts(asked(here)[-1].body)


def texts(body: Any) -> list[str]:
    """Every string in a JSON value."""
    if isinstance(body, str):
        return [body]
    inner = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    return [text for each in inner for text in texts(each)]


# --- raw HTTP -------------------------------------------------------------------------------------------

URLS = {"chat": "/v1/chat/completions", "messages": "/v1/messages?beta=true", "responses": "/v1/responses"}


def question(caller: str, model: str, text: str = "say 5 words", **fields: Any) -> dict[str, Any]:
    """One question in a dialect."""
    if caller == "responses":
        return {"model": model, "input": text, **fields}
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return asked | ({"max_tokens": 500} if caller == "messages" else {})


async def raw(home: Home, caller: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any, bytes]:
    """Status, headers and body of a raw request."""
    sent = {"x-api-key": KEY} if headers is None else headers
    async with aiohttp.ClientSession() as http, http.post(
        f"http://localhost:{home.port}{URLS[caller]}", data=body if isinstance(body, bytes) else json.dumps(body),
        headers=sent,
    ) as response:  # fmt: skip
        return response.status, response.headers, await response.read()


@CALLER
async def test_raw_http_gets_each_dialect_streamed_and_not(here, caller: str) -> None:
    """As `curl` sees it: events named by their types, the good end last, ids of the request in both headers."""
    for upstream, model in UPSTREAMS.items():
        status, headers, whole = await raw(here, caller, question(caller, model))
        assert (status, b"w5" in whole) == (200, True)
        assert headers["x-hermes-target"] == model
        assert headers["x-request-id"] == headers["request-id"] or caller != "messages"
        status, headers, body = await raw(here, caller, question(caller, model, stream=True))
        assert (status, headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        frames = [frame for frame in body.decode().split("\n\n") if frame and not frame.startswith(":")]
        if caller == "chat":
            assert frames[-1] == "data: [DONE]"
        else:
            for frame in frames:
                name, data = frame.split("\n", 1)
                assert name == "event: " + json.loads(data.removeprefix("data: "))["type"]
            assert frames[-1].startswith(("event: message_stop", "event: response.completed"))
        if caller == "responses":
            numbers = [json.loads(frame.split("data: ", 1)[1])["sequence_number"] for frame in frames]
            assert numbers == list(range(len(frames)))
        print(f"{caller:>9} -> {upstream:9} raw: {len(whole)} bytes whole, {len(frames)} frames streamed")


async def test_tokens_are_counted_without_an_upstream(here) -> None:
    """count_tokens and input_tokens answer at once, and cost nothing."""
    before = len(asked(here))
    async with AGENTS["messages"](here.port, "hermes-router") as agent:
        counted = await agent.sdk.messages.count_tokens(
            model="hermes-router", messages=[{"role": "user", "content": "word " * 1000}]
        )
    async with AGENTS["responses"](here.port, "hermes-router") as agent:
        other = await agent.sdk.responses.input_tokens.count(model="hermes-router", input="word " * 1000)
    assert 800 < counted.input_tokens < 2000
    assert 800 < other.input_tokens < 2000
    assert len(asked(here)) == before
