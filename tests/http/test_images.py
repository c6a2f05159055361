"""FETCH_IMAGES through the whole router: real SDKs, real HTTP, fakes that refuse an image by its address.

The image server is on loopback, so the fetcher's judge of addresses lets loopback pass; where the real one is meant,
the router has its own.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from aiohttp import web

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.upstream.images import StrangersImages

from .conftest import KEY

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
DATA = base64.b64encode(PNG).decode()
CALLERS = pytest.mark.parametrize("caller", ["chat", "messages", "responses"])
FAKES = {"chat": ("inchat", "gemini"), "messages": ("inmessages", "anthropic"), "responses": ("inresponses", "openai")}
MODELS = {"chat": "gemini-2.5-flash-lite", "messages": "claude-haiku-5-5", "responses": "gpt-6-luna"}
ROWS = """
[inchat]
endpoints = { openai_chat = "https://x.example/v1" }
image_urls = false
can = ["tools", "images"]
models = [{ id = "gemini-2.5-flash-lite", context = 100000, max_output = 8000, tier = 3, price_class = "free" }]

[inmessages]
endpoints = { anthropic_messages = "https://x.example/v1" }
auth = "x-api-key"
rejection = "anthropic"
headers = { anthropic-version = "2023-06-01" }
image_urls = false
can = ["tools", "images"]
models = [{ id = "claude-haiku-5-5", context = 100000, max_output = 8000, tier = 3, price_class = "free" }]

[inresponses]
endpoints = { openai_responses = "https://x.example/v1" }
rejection = "openai"
image_urls = false
can = ["tools", "images"]
models = [{ id = "gpt-6-luna", context = 100000, max_output = 8000, tier = 3, price_class = "free" }]
"""
NOT_HAD = "the image cannot be used: "
PATHS = {
    "chat": "messages[0].content[1].image_url.url",
    "messages": "messages[0].content[1].source.url",
    "responses": "input[0].content[1].image_url",
}


class Gallery:
    """An image server. `asked` are the paths that were asked for; `held` lets no answer out until it is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left = asyncio.Event()
        self.arrived = asyncio.Event()

    async def start(self) -> None:
        server = web.Server(self._answer, handler_cancellation=True)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def url(self, path: str = "/cat.png") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        self.arrived.set()
        if request.path == "/slow.png":
            try:
                await asyncio.sleep(30)
            finally:
                self.left.set()
        if request.path == "/page.png":
            return web.Response(text="<html>Please log in</html>", content_type="image/png")
        return web.Response(body=PNG, content_type="application/octet-stream")


@pytest.fixture
async def gallery() -> AsyncIterator[Gallery]:
    here = Gallery()
    await here.start()
    yield here
    await here.stop()


@pytest.fixture
def pool(house, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a router over fakes that need images inline, in these dialects, and over `others` of the usual kind."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    rows = tmp_path / "config/hermes-router/providers.toml"
    rows.parent.mkdir(parents=True)
    rows.write_text(ROWS)

    async def start(
        *upstreams: str, others: tuple[str, ...] = (), real: bool = False, on: str = "1", **env: str
    ) -> Any:
        fakes = [FakeProvider(name, style=style) for name, style in (FAKES[each] for each in upstreams)]
        h = await house(*fakes, *others, env={"FETCH_IMAGES": on, **env})
        if not real:
            h.engine.images = StrangersImages(asyncio.get_running_loop(), h.clock, allows=lambda _: True)
        return h

    return start


def question(caller: str, *urls: str, text: str = "say 3 words") -> dict[str, Any]:
    """A question about images by their addresses, as an SDK takes it."""
    if caller == "chat":
        parts: list[Any] = [{"type": "text", "text": text}]
        parts += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {"messages": [{"role": "user", "content": parts}]}
    if caller == "messages":
        parts = [{"type": "text", "text": text}]
        parts += [{"type": "image", "source": {"type": "url", "url": url}} for url in urls]
        return {"messages": [{"role": "user", "content": parts}], "max_tokens": 100}
    parts = [{"type": "input_text", "text": text}]
    parts += [{"type": "input_image", "image_url": url, "detail": "auto"} for url in urls]
    return {"input": [{"role": "user", "content": parts}]}


async def ask(h: Any, caller: str, *urls: str, model: str = "hermes-router", **given: Any) -> Any:
    """One request by the SDK of the dialect: text, and the head of the answer."""
    port = int(h.url.rpartition(":")[2])
    asked = {"model": model, **question(caller, *urls, **given)}
    if caller == "messages":
        async with anthropic.AsyncAnthropic(base_url=f"http://localhost:{port}", api_key=KEY, max_retries=0) as sdk:
            raw = await sdk.messages.with_raw_response.create(**asked)
            return (await raw.parse()).content[0].text, raw.headers
    async with openai.AsyncOpenAI(base_url=f"http://localhost:{port}/v1", api_key=KEY, max_retries=0) as sdk:
        if caller == "chat":
            raw = await sdk.chat.completions.with_raw_response.create(**asked)
            return raw.parse().choices[0].message.content, raw.headers
        raw = await sdk.responses.with_raw_response.create(**asked)
        return raw.parse().output_text, raw.headers


async def refused(h: Any, caller: str, *urls: str, **given: Any) -> tuple[str, Any]:
    """The message of a 400, and its `param`, where the dialect has one."""
    kind = anthropic.BadRequestError if caller == "messages" else openai.BadRequestError
    with pytest.raises(kind) as caught:
        await ask(h, caller, *urls, **given)
    error = caught.value.response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error["message"], error.get("param")


def sent(h: Any, provider: str) -> list[str]:
    """The bodies of the questions that a provider got."""
    return [each.raw.decode() for each in h.sandbox.requests if each.provider == provider and each.body]


@pytest.mark.parametrize("upstream", list(FAKES))
@CALLERS
async def test_who_needs_images_inline_gets_them_inline(pool, gallery, caller: str, upstream: str) -> None:
    """Each dialect to each: the image stands in the request, the URL does not, and it was fetched once."""
    h = await pool(upstream)
    text, headers = await ask(h, caller, gallery.url(), gallery.url())
    assert text == "w1 w2 w3"
    assert headers["x-hermes-target"] == f"{FAKES[upstream][0]}/{MODELS[upstream]}"
    (body,) = sent(h, FAKES[upstream][0])
    assert body.count(DATA) == 2
    assert gallery.url() not in body
    assert gallery.asked == ["/cat.png"]


@CALLERS
async def test_who_fetches_images_itself_gets_the_address(pool, gallery, caller: str) -> None:
    """And nothing is fetched, as long as nobody is about to be asked who needs it."""
    h = await pool("chat", others=("openai",))
    await ask(h, caller, gallery.url(), model="openai/gpt-4o-mini")
    (body,) = sent(h, "openai")
    assert gallery.url() in body
    assert DATA not in body
    assert gallery.asked == []


async def test_a_request_goes_out_as_it_came_to_who_fetches_itself_after_one_who_does_not(pool, gallery) -> None:
    """The first fails after the fetch: the other is sent the caller's own bytes."""
    h = await pool("chat", others=("openai",))
    h.sandbox.behave("inchat", faults.status(500), None)
    body = {"model": "hermes-router", **question("chat", gallery.url())}
    said = json.dumps(body["messages"], separators=(",", ":"))
    raw = json.dumps(body, separators=(",", ":"))
    async with h.http.post(f"{h.url}/v1/chat/completions", data=raw) as response:
        assert response.status == 200
        assert response.headers["x-hermes-target"].startswith("openai/")
    assert DATA in sent(h, "inchat")[0]
    assert said in sent(h, "openai")[0]
    assert gallery.asked == ["/cat.png"]


async def test_an_agents_next_turn_fetches_nothing_again(pool, gallery) -> None:
    """Nor does a second attempt of one request. The same bytes go out, so the provider's cache holds."""
    h = await pool("chat", "responses")
    h.sandbox.behave("inchat", faults.status(500), 1)
    for _ in range(3):
        await ask(h, "chat", gallery.url())
    assert gallery.asked == ["/cat.png"]


@CALLERS
async def test_without_the_setting_nothing_is_fetched(pool, gallery, caller: str) -> None:
    """Whoever needs images inline is left out, as ever; with nobody else it is a 400."""
    h = await pool("chat", on="0")
    message, _ = await refused(h, caller, gallery.url())
    assert "needs images inline" in message
    assert gallery.asked == []
    assert sent(h, "inchat") == []


async def test_a_request_that_stays_here_fetches_nothing(pool, gallery) -> None:
    """`hermes-router:local` never leaves the machine, so no image is fetched for it; without the scope it is."""
    sees = FakeProvider("local", models=(replace(FakeProvider("local").models[0], sees=True),))
    h = await pool(others=(sees,))
    await h.daemon.discover_local()
    message, _ = await refused(h, "chat", gallery.url(), model="hermes-router:local")
    assert "needs images inline" in message
    assert (gallery.asked, sent(h, "local")) == ([], [])
    text, _ = await ask(h, "chat", gallery.url())
    assert text == "w1 w2 w3"
    assert DATA in sent(h, "local")[0]


# --- an image that cannot be had --------------------------------------------------------------------


@CALLERS
async def test_an_image_that_cannot_be_had_is_named_by_its_path(pool, gallery, caller: str) -> None:
    """Where nobody else can be asked: 400 in the caller's dialect, which field, and why."""
    h = await pool("chat")
    message, param = await refused(h, caller, gallery.url("/page.png"))
    path = PATHS[caller]
    assert message == f"{path}: {NOT_HAD}it is no PNG, JPEG, GIF or WebP"
    assert param == (None if caller == "messages" else path)
    assert sent(h, "inchat") == []
    (row,) = await h.status("inchat")
    assert row["state"] == "ready"  # nobody is blamed


@CALLERS
async def test_the_real_router_looks_at_nothing_within(pool, gallery, caller: str) -> None:
    """The judge that is in force: an address of this machine is refused, no connection is made, no address is told."""
    h = await pool("chat", real=True)
    for url in (gallery.url(), "http://localhost:1/", "http://169.254.169.254/latest/meta-data/"):
        message, _ = await refused(h, caller, url)
        assert message == f"{PATHS[caller]}: {NOT_HAD}it cannot be reached at a public address"
    assert gallery.asked == []
    said = h.log.fields("image.unfetched")
    assert (said["fault"], said["said"]) == ("unreachable", "an address that is not allowed")
    assert "169.254" not in str(h.log.lines)


async def test_others_are_asked_where_an_image_cannot_be_had(pool, gallery) -> None:
    """They fetch it themselves, and may know better; the answer says what happened. None of the first kind is asked."""
    h = await pool("chat", "responses", others=("openai",))
    text, headers = await ask(h, "chat", gallery.url("/page.png"))
    assert text == "w1 w2 w3"
    assert headers["x-hermes-target"].startswith("openai/")
    assert headers["x-hermes-warnings"] == f"unfetched:{PATHS['chat']}"
    assert gallery.url("/page.png") in sent(h, "openai")[0]
    assert gallery.asked == ["/page.png"]
    assert sent(h, "inchat") == sent(h, "inresponses") == []


async def test_an_image_of_an_earlier_turn_is_not_the_callers_to_count(pool, gallery) -> None:
    """Behind `previous_response_id` the paths are those of what was sent now."""
    h = await pool("responses", others=("openai",))

    async def respond(model: str, previous: str | None, asked: dict[str, Any]) -> dict[str, Any]:
        body = {"model": model, "previous_response_id": previous, **asked}
        async with h.http.post(f"{h.url}/v1/responses", json=body) as response:
            return await response.json()

    good, bad = gallery.url(), gallery.url("/page.png")
    itself, inline = "openai/gpt-4o-mini", "inresponses/gpt-6-luna"
    before = await respond(itself, None, question("responses", bad))
    error = (await respond(inline, before["id"], {"input": "say 2 words"}))["error"]
    assert error["param"] == "previous_response_id"
    assert error["message"].startswith("an image of an earlier turn: ")
    before = await respond(itself, None, question("responses", good))
    error = (await respond(inline, before["id"], question("responses", good, bad)))["error"]
    assert error["param"] == "input[0].content[2].image_url"
    after = await respond(inline, before["id"], question("responses", good))
    assert (after["status"], sent(h, "inresponses")[0].count(DATA)) == ("completed", 2)


# --- while it is fetched ----------------------------------------------------------------------------


async def test_a_caller_who_leaves_ends_the_fetch(pool, gallery) -> None:
    """The image server sees the connection close; nothing was sent to anybody, and nothing is held."""
    h = await pool("chat")
    task = asyncio.get_running_loop().create_task(ask(h, "chat", gallery.url("/slow.png")))
    await asyncio.wait_for(gallery.arrived.wait(), 5)
    task.cancel()
    await asyncio.wait_for(gallery.left.wait(), 5)
    await asyncio.gather(task, return_exceptions=True)
    assert sent(h, "inchat") == []


async def open_stream(h: Any, talk: list[Any]) -> Any:
    """The answer, once it has a head."""
    return await h.post(messages=talk, stream=True)


async def test_a_stream_is_kept_alive_and_the_deadline_holds(pool, gallery) -> None:
    """A fetch is part of the exchange: its deadline ends it."""
    h = await pool("chat", REQUEST_DEADLINE_SECONDS="45")
    talk = question("chat", gallery.url("/slow.png"))["messages"]
    task = asyncio.get_running_loop().create_task(open_stream(h, talk))
    await asyncio.wait_for(gallery.arrived.wait(), 5)
    h.later(16.0)
    response = await asyncio.wait_for(task, 5)
    assert (response.status, response.content_type) == (200, "text/event-stream")
    h.later(11.0)
    first = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 5)
    assert json.loads(first[6:])["choices"][0]["delta"] == {}
    h.later(19.0)
    assert b'"deadline"' in await asyncio.wait_for(response.content.read(), 5)
    response.close()
    await asyncio.wait_for(gallery.left.wait(), 5)
