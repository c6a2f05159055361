"""Router keys and their limits over real HTTP: what was allowed holds for streams, whatever becomes of them."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from hermes_router.core.router_keys import RouterKey
from hermes_router.sandbox import faults
from hermes_router.store.router_keys import RouterKeyStore

MODEL = {"GROQ_MODEL": "openai/gpt-oss-20b"}


class Keyed:
    """A running router, and a key of its own making."""

    def __init__(self, house: Any, path: Path) -> None:
        self.house = house
        self.store = RouterKeyStore(path, now=house.clock.now)
        house.daemon.router_keys = self.store

    def add(self, name: str = "agent", **limits: Any) -> tuple[RouterKey, dict[str, str]]:
        """A key in force, and the header that carries it."""
        made, text = self.store.add(name, **limits)
        self.swap()
        return made, {"authorization": f"Bearer {text}"}

    def swap(self) -> None:
        self.house.daemon.swap(self.house.daemon.loaded)

    def in_flight(self, key: RouterKey) -> int:
        return self.house.engine.limits.in_flight(key.id)

    async def freed(self, key: RouterKey) -> None:
        """Wait until nothing of the key is under way."""
        async with asyncio.timeout(5):
            while self.in_flight(key):  # noqa: ASYNC110 - the end of a connection has no event of ours
                await asyncio.sleep(0)


@pytest.fixture
async def keyed(house: Any, tmp_path: Path) -> Any:
    async def start(*providers: Any, **more: Any) -> Keyed:
        h = await house(*(providers or ("groq",)), env=MODEL, **more)
        return Keyed(h, tmp_path / "router-keys.json")

    return start


@pytest.mark.parametrize("stream", [True, False])
async def test_a_rate_binds_streams_too_and_its_wait_is_true(keyed: Any, stream: bool) -> None:
    """Two a minute: the third is 429 with the seconds to the first one's minute, and is let in just then."""
    k = await keyed()
    _, header = k.add(rpm=2)
    assert (await k.house.whole(headers=header, stream=stream)).good
    k.house.later(20.0)
    assert (await k.house.whole(headers=header, stream=stream)).good
    refused = await k.house.whole(headers=header, stream=stream)
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")
    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("40", "true")
    assert not refused.streamed
    assert len(k.house.chats()) == 2
    k.house.later(39.0)
    assert (await k.house.whole(headers=header, stream=stream)).headers["retry-after"] == "1"
    k.house.later(1.0)
    assert (await k.house.whole(headers=header, stream=stream)).good


async def test_a_stream_counts_as_under_way_to_its_end(keyed: Any) -> None:
    """While one stream is held open a second request is refused, whole or streamed; other keys are not concerned."""
    k = await keyed()
    key, header = k.add(concurrency=1)
    k.house.sandbox.behave("groq", faults.stall(after=2))
    async with k.house.post(stream=True, headers=header) as held:
        await held.content.readuntil(b"\n\n")
        for stream in (True, False):
            refused = await k.house.whole(headers=header, stream=stream)
            assert (refused.status, refused.headers["retry-after"]) == (429, "1")
            assert refused.headers["x-should-retry"] == "true"
        assert (await k.house.whole(stream=True)).good
        assert k.in_flight(key) == 1
    await k.freed(key)
    assert (await k.house.whole(headers=header, stream=True)).good


async def test_a_caller_with_one_place_can_ask_again_as_soon_as_it_has_the_end(keyed: Any) -> None:
    """No answer is on its caller's side while its place is still taken: 20 in a row, streamed and not, on one connection."""
    k = await keyed()
    _, header = k.add(concurrency=1)
    for number in range(20):
        assert (await k.house.whole(headers=header, stream=number % 2 == 0)).good


async def test_a_caller_who_leaves_in_mid_stream_frees_its_place(keyed: Any) -> None:
    """The connection is cut after the first words: the upstream is let go, and the next request is served."""
    k = await keyed()
    key, header = k.add(concurrency=1)
    k.house.sandbox.behave("groq", faults.stall(after=2))
    async with aiohttp.ClientSession(headers=header) as leaver:
        body = {"model": "hermes-router", "stream": True, "messages": [{"role": "user", "content": "say 5 words"}]}
        response = await leaver.post(f"{k.house.url}/v1/chat/completions", json=body)
        await response.content.readuntil(b"\n\n")
        assert k.in_flight(key) == 1
        response.close()
    await k.freed(key)
    assert (await k.house.whole(headers=header)).good


async def test_a_caller_who_leaves_before_the_first_word_frees_its_place(keyed: Any) -> None:
    """Nothing has been said yet: the same."""
    k = await keyed()
    key, header = k.add(concurrency=1)
    k.house.sandbox.behave("groq", faults.silent())
    waiting = asyncio.ensure_future(k.house.whole(headers=header))
    await k.house.seen(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await k.freed(key)
    assert (await k.house.whole(headers=header)).good


@pytest.mark.parametrize("fault", [faults.reset, faults.html_200, faults.redirect, lambda: faults.cut(after=2)])
async def test_an_exchange_that_fails_frees_its_place(keyed: Any, fault: Any) -> None:
    """Whatever a provider does: nothing of the key is under way afterwards."""
    k = await keyed()
    key, header = k.add(concurrency=1)
    made = fault("http://127.0.0.1:9/") if fault is faults.redirect else fault()
    k.house.sandbox.behave("groq", made, times=None)
    for stream in (True, False):
        await k.house.whole(headers=header, stream=stream)
        assert k.in_flight(key) == 0


async def test_what_was_counted_outlives_a_reload(keyed: Any) -> None:
    """A new generation in mid-minute and in mid-stream: rate and places stand as they were."""
    k = await keyed()
    key, header = k.add(rpm=2, concurrency=1)
    k.house.sandbox.behave("groq", faults.stall(after=2))
    async with k.house.post(stream=True, headers=header) as held:
        await held.content.readuntil(b"\n\n")
        k.swap()
        assert (await k.house.whole(headers=header)).headers["retry-after"] == "1"
        assert k.in_flight(key) == 1
    await k.freed(key)
    k.swap()
    assert (await k.house.whole(headers=header)).good
    assert (await k.house.whole(headers=header)).headers["retry-after"] == "60"


async def test_a_removed_key_is_out_at_once_and_its_stream_ends_in_peace(keyed: Any) -> None:
    """401 for the next request; the answer under way is not cut."""
    k = await keyed()
    _, header = k.add()
    gate = asyncio.ensure_future(k.house.whole(headers=header, stream=True))
    await k.house.seen(1)
    k.store.remove("agent")
    k.swap()
    assert (await gate).good
    refused = await k.house.whole(headers=header)
    assert (refused.status, refused.error["type"]) == (401, "authentication_error")


async def test_a_scoped_key_is_served_by_its_providers_alone(keyed: Any) -> None:
    """Its requests, its model list and its status know no other provider."""
    k = await keyed("groq", "mistral")
    _, header = k.add(providers=["mistral"])
    for _ in range(4):
        answer = await k.house.whole(headers=header)
        assert answer.target.startswith("mistral/")
    async with k.house.http.get(f"{k.house.url}/v1/models", headers=header) as response:
        listed = [row["id"] for row in (await response.json())["data"]]
    assert not [name for name in listed if name.startswith("groq/")]
    async with k.house.http.get(f"{k.house.url}/v1/status", headers=header) as response:
        assert {row["provider"] for row in (await response.json())["targets"]} == {"mistral"}


async def test_a_limit_does_not_keep_a_caller_from_looking(keyed: Any) -> None:
    """Models and status are no exchanges: a caller that has spent its minute may still ask what there is."""
    k = await keyed()
    _, header = k.add(rpm=1)
    assert (await k.house.whole(headers=header)).good
    for path in ("/v1/models", "/v1/status"):
        async with k.house.http.get(k.house.url + path, headers=header) as response:
            assert response.status == 200


async def test_the_openai_sdk_understands_the_refusal(keyed: Any) -> None:
    """RateLimitError with our code; with retries of its own it comes back by itself."""
    k = await keyed()
    key, header = k.add(concurrency=1)
    sdk = openai.AsyncOpenAI(base_url=f"{k.house.url}/v1", api_key=header["authorization"][7:], max_retries=0)
    k.house.sandbox.behave("groq", faults.stall(after=2))
    async with k.house.post(stream=True, headers=header) as held:
        await held.content.readuntil(b"\n\n")
        with pytest.raises(openai.RateLimitError) as caught:
            await sdk.chat.completions.create(model="hermes-router", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "rate_limit_exceeded"
    await k.freed(key)
    await sdk.close()
