"""The running sandbox: the official SDK talks to it, and its levers do what they say."""

import asyncio
import io
import json

import aiohttp
import openai
import pytest

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Sandbox

from .conftest import CHATS, body

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip
# Where the plain SDK is refused by right: Kimi wants reasoning back; Gemini numbers no tool-call deltas.
SDK_STYLES = [name for name in CHATS if name not in {"kimi", "gemini"}]


def sdk(sandbox, style):
    """The official client, pointed at a provider."""
    return openai.AsyncOpenAI(
        base_url=sandbox.base_url(style), api_key="sandbox-key", max_retries=0, default_headers={"user-agent": "agent"}
    )


@pytest.mark.parametrize("style", CHATS)
async def test_the_sdk_gets_plain_and_streamed_answers(sandbox, style) -> None:
    """The official client parses what every style writes."""
    model = sandbox.providers[style].models[0].id
    messages = [{"role": "user", "content": "say 3 words"}]
    async with sdk(sandbox, style) as client:
        plain = await client.chat.completions.create(model=model, messages=messages)
        streamed = await client.chat.completions.create(model=model, messages=messages, stream=True)
        got = [chunk async for chunk in streamed]
        listed = [row.id async for row in client.models.list()]
    assert "w3" in str(plain.choices[0].message.content)
    assert plain.usage.completion_tokens >= 2
    assert any("w3" in str(chunk.choices[0].delta.content) for chunk in got if chunk.choices)
    assert any(name.endswith(model) for name in listed)


@pytest.mark.parametrize("style", SDK_STYLES)
async def test_the_sdk_takes_two_turns_with_a_tool(sandbox, style) -> None:
    """Stream a call with the SDK's own accumulator, give the result back, read the answer."""
    model = sandbox.providers[style].models[0].id
    messages = [{"role": "user", "content": "use the weather tool"}]
    async with sdk(sandbox, style) as client:
        async with client.chat.completions.stream(model=model, messages=messages, tools=[TOOL]) as stream:
            first = await stream.get_final_completion()
        call = first.choices[0].message.tool_calls[0]
        made = {"name": call.function.name, "arguments": call.function.arguments}
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [{"id": call.id, "type": "function", "function": made}]},
            {"role": "tool", "tool_call_id": call.id, "content": "12 C"},
        ]
        second = await client.chat.completions.create(model=model, messages=messages, tools=[TOOL])
    assert made == {"name": "weather", "arguments": '{"city": "some city"}'}
    assert second.choices[0].message.content == "The tool said: 12 C"


async def test_ll7_quotas_follow_the_injected_clock(sandbox, clock, http) -> None:
    """A real counter says 429 with Retry-After, and the clock brings it back."""
    groq = sandbox.providers["groq"] = FakeProvider("groq", published=True)
    async with Sandbox([groq], clock) as own:
        url = own.base_url("groq") + "/chat/completions"
        statuses = []
        for _ in range(31):
            async with http.post(url, json=body("openai/gpt-oss-120b")) as response:
                statuses.append(response.status)
                told = response.headers
        assert statuses == [200] * 30 + [429]
        assert told["retry-after"] == "60"
        clock.now += 60
        async with http.post(url, json=body("openai/gpt-oss-120b")) as response:
            assert response.status == 200
            assert response.headers["x-ratelimit-remaining-requests"] == "969"


async def test_requests_are_recorded(sandbox, http) -> None:
    """Who asked what with which key, and how it ended."""
    async with http.post(sandbox.base_url("groq") + "/chat/completions", json=body("openai/gpt-oss-120b")) as response:
        await response.read()
    (record,) = await sandbox.seen(1, "groq")
    assert (record.provider, record.model, record.key_tail) == ("groq", "openai/gpt-oss-120b", "-key")
    assert record.body["messages"][0]["content"] == "hello"
    assert (record.outcome, record.status) == ("finished", 200)
    assert record.headers["content-type"] == "application/json"


async def test_fl2_a_revoked_key_is_refused_its_sibling_is_not() -> None:
    """Revoking one of two keys touches that one only, at once."""
    async with Sandbox([FakeProvider("groq", keys={"a", "b"})]) as sandbox, aiohttp.ClientSession() as http:
        sandbox.revoke("groq", "a")
        for key, status in (("a", 401), ("b", 200), ("", 401)):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            url = sandbox.base_url("groq") + "/chat/completions"
            async with http.post(url, json=body("openai/gpt-oss-120b"), headers=headers) as response:
                assert response.status == status


async def test_kill_cuts_and_refuses_revive_serves(sandbox, http) -> None:
    """A killed provider breaks its streams and refuses connections; the others serve; it comes back on its port."""
    url = sandbox.base_url("generic") + "/chat/completions"
    stall = sandbox.behave("generic", faults.stall(1))
    async with http.post(url, json=body("generic-model", stream=True)) as response:
        await stall.reached.wait()
        await sandbox.kill("generic")
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert sandbox.requests[-1].outcome == "killed"
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.post(url, json=body("generic-model"))
    async with http.get(sandbox.base_url("groq") + "/models") as response:
        assert response.status == 200
    await sandbox.revive("generic")
    assert sandbox.base_url("generic") in url
    async with http.post(url, json=body("generic-model")) as response:
        assert response.status == 200


async def test_a_script_runs_in_order_and_by_model_and_key(sandbox, http) -> None:
    """Once, then twice, then the good answer; a behaviour for another model waits for that model."""
    sandbox.behave("groq", faults.status(500))
    sandbox.behave("groq", faults.status(502), times=2)
    sandbox.behave("groq", faults.status(418), times=None, model="openai/gpt-oss-20b")

    async def ask(model):
        async with http.post(sandbox.base_url("groq") + "/chat/completions", json=body(model)) as response:
            return response.status

    assert [await ask("openai/gpt-oss-120b") for _ in range(4)] == [500, 502, 502, 200]
    assert [await ask("openai/gpt-oss-20b") for _ in range(2)] == [418, 418]


async def test_side_paths(sandbox, http) -> None:
    """Model lists as each provider lists, key and usage endpoints, the local server's props, and 404 for the rest."""

    async def get(style, path):
        async with http.get(sandbox.base_url(style) + path, headers={"user-agent": "agent"}) as response:
            return response.status, await response.json()

    assert (await get("gemini", "/models"))[1]["data"][0]["id"].startswith("models/")
    assert (await get("groq", "/models/openai/gpt-oss-20b"))[1]["context_window"] == 131_072
    assert (await get("openrouter", "/key"))[1]["data"]["is_free_tier"]
    assert (await get("kimi", "/usages"))[1]["usage"]["remaining"] == "74"
    assert (await get("local", "/../props"))[1]["default_generation_settings"]["n_ctx"] == 8_192
    assert (await get("groq", "/v1/nothing"))[0] == 404
    async with aiohttp.ClientSession() as bare:
        async with bare.get(sandbox.base_url("openrouter") + "/models") as response:
            assert response.status == 200
        async with bare.get(sandbox.base_url("groq") + "/models") as response:
            assert response.status == 401


async def test_a_list_can_fail_by_itself(sandbox, http) -> None:
    """A behaviour for `/models` leaves chats alone."""
    sandbox.behave("groq", faults.status(500), route="models")
    async with http.post(sandbox.base_url("groq") + "/chat/completions", json=body("openai/gpt-oss-120b")) as response:
        assert response.status == 200
    async with http.get(sandbox.base_url("groq") + "/models") as response:
        assert response.status == 500


async def test_bad_json_and_big_bodies(sandbox, http) -> None:
    """What is no JSON is a 400; two megabytes are read."""
    url = sandbox.base_url("openrouter") + "/chat/completions"
    async with http.post(url, data=b"{") as response:
        assert response.status == 400
    big = {"role": "user", "content": "x" * 2_000_000}
    whole = io.BytesIO(json.dumps(body("nvidia/nemotron-3-ultra-550b-a55b:free", big, max_tokens=5)).encode())
    async with http.post(url, data=whole) as response:
        assert response.status == 200


async def test_stop_ends_what_stalls(clock) -> None:
    """Stopping does not wait for a gate that nobody opens."""
    sandbox = Sandbox(["generic"], clock)
    await sandbox.start()
    stall = sandbox.behave("generic", faults.silent())
    headers = {"authorization": "Bearer sandbox-key"}
    async with aiohttp.ClientSession() as http:
        url = sandbox.base_url("generic") + "/chat/completions"
        asking = asyncio.create_task(http.post(url, json=body("generic-model"), headers=headers))
        await stall.reached.wait()
        await sandbox.stop()
        with pytest.raises(aiohttp.ClientError):
            await asking
