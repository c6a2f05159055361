"""Providers that die in mid-answer, seen through both SDKs in each dialect: a real daemon, and a provider of each dialect.

Whoever begins an answer dies in the middle of it; whoever is asked to go on ends it. What is whole is known from the fake
model: the text with its repeated lines, the call with its arguments.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import anthropic
import openai
import pytest
import pytest_asyncio

from hermes_router.control.client import Client
from hermes_router.control.types import Trail
from hermes_router.sandbox import faults
from hermes_router.sandbox.demo_cut import STORY, cut_at, tale, uncut
from hermes_router.sandbox.providers import FakeProvider

from .home import Home
from .talk import AGENTS, Said

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = {f"{name}_API_KEY": "sandbox-key" for name in ("GROQ", "MISTRAL", "ANTHROPIC", "OPENAI")}
UPSTREAMS = {
    "chat": "groq/openai/gpt-oss-120b",
    "prefilled": "mistral/mistral-large-4",
    "messages": "anthropic/claude-haiku-4-5",
    "responses": "openai/gpt-4o-mini",
}
CALLER = pytest.mark.parametrize("caller", list(AGENTS))
UPSTREAM = pytest.mark.parametrize("upstream", list(UPSTREAMS))
TEXT, AT = STORY, cut_at(uncut(STORY))
CALL = "First say what you are about to do. Then ask for the weather."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here() -> AsyncIterator[Home]:
    """A router on four providers; OpenAI has both of its dialects, as an own row says, at the fake's address."""
    with TemporaryDirectory(prefix="hr") as folder:
        fakes = [
            FakeProvider(name, compose=tale, fresh=faults.cut_halfway())
            for name in ("groq", "mistral", "anthropic", "openai")
        ]
        async with Home(Path(folder), fakes, KEYS) as opened:
            address = opened.environ.pop("OPENAI_BASE_URL")
            rows = Path(folder) / ".config/hermes-router/providers.toml"
            rows.parent.mkdir(parents=True)
            rows.write_text(f'[openai]\nendpoints = {{ openai_chat = "{address}", openai_responses = "{address}" }}\n')
            await opened.hr("start", code=0)
            yield opened


async def asked(home: Home, caller: str, model: str, text: str, *, tools: bool = False, name: str = "") -> Said:
    """One question to a target; another may answer if that fails. `name` is the request's id."""
    headers = {"x-hermes-fallback": "any"} | ({"x-request-id": name} if name else {})
    fields = {"extra_headers": headers}
    async with AGENTS[caller](home.port, model, stream=True, tools=tools, fields=fields) as agent:
        return await agent.say(text)


async def attempts(home: Home, name: str) -> list[tuple[str, str, str, int]]:
    """What is told of each attempt: provider, outcome, how it took up the answer, how much of it was seen."""
    client = Client(home.path / ".local/state/hermes-router/control.sock")
    trail = await asyncio.to_thread(client.call, "GET", f"/v1/requests/{name}", None, Trail)
    return [(one.target.partition("/")[0], one.outcome, one.by, one.shown_chars) for one in trail.attempts]


@CALLER
@UPSTREAM
async def test_a_text_goes_on_behind_a_cut(here: Home, caller: str, upstream: str) -> None:
    """Not a character is missing, none comes twice, and the stream ends well, whoever dies and whoever listens."""
    said = await asked(here, caller, UPSTREAMS[upstream], TEXT)
    assert said.text == tale(TEXT)
    assert said.calls == []
    assert said.stop in {"stop", "end_turn", "completed"}


async def test_the_trail_tells_who_died_and_who_went_on(here: Home) -> None:
    """Attempt by attempt: how much of each was seen, which together is all of it, and how the next took it up."""
    for number, model in enumerate(UPSTREAMS.values()):
        await asked(here, "chat", model, TEXT, name=f"trail-{number}")
        first, second = await attempts(here, f"trail-{number}")
        assert first == (model.partition("/")[0], "cut", "", AT)
        assert second[1:] in {("ok", by, len(tale(TEXT)) - AT) for by in ("anchor", "prefill")}


@CALLER
@UPSTREAM
async def test_a_call_that_was_cut_comes_whole_and_once(here: Home, caller: str, upstream: str) -> None:
    """The text before it was seen, nothing of the call: it comes from the one that goes on, with all its arguments."""
    said = await asked(here, caller, UPSTREAMS[upstream], CALL, tools=True)
    assert said.text == tale(CALL)
    assert [call[1:] for call in said.calls] == [("weather", {"city": "some city"})]
    assert said.stop in {"tool_calls", "tool_use", "completed"}


# --- how another goes on, with two targets that die in what they begin -------------------------------------

CUT, REST = ("cut", "", AT), len(tale(TEXT)) - AT
MODELS = {"groq": "openai/gpt-oss-120b", "mistral": "mistral-large-4", "cerebras": "gpt-oss-120b"}
ERRORS = (openai.OpenAIError, anthropic.AnthropicError, RuntimeError)  # the last, of a Responses stream without an end
ALONE = pytest.mark.asyncio(loop_scope="function")


async def pair(home, *names: str) -> Home:
    """A router on two, with a model each; it waits for nobody."""
    env = {"PATIENCE_SECONDS": "0"}
    for name in names:
        env |= {f"{name.upper()}_API_KEY": "sandbox-key", f"{name.upper()}_MODEL": MODELS[name]}
    made = await home(*(FakeProvider(name, compose=tale, fresh=faults.cut_halfway()) for name in names), **env)
    await made.hr("start", code=0)
    return made


async def until_first(home: Home, name: str) -> tuple[Said, str]:
    """The answer of an exchange that this provider begins, and the exchange's name."""
    for number in range(12):
        said = await asked(home, "chat", "hermes-router", TEXT, name=f"{name}-{number}")
        if (await attempts(home, f"{name}-{number}"))[0] == (name, *CUT):
            return said, f"{name}-{number}"
    raise AssertionError(f"{name} was never first")


@ALONE
async def test_an_order_is_followed_in_many_ways(home) -> None:
    """With a preamble, from further back, or all over again: what was seen is not shown twice. Or nobody follows it.

    Then the answer has no end, and the SDK raises: half of it never looks like the whole.
    """
    made = await pair(home, "groq", "cerebras")
    providers = made.sandbox.providers.values()
    for order in ("exact", "chatty", "more", "anew"):
        for provider in providers:
            provider.order = order
        assert (await asked(made, "messages", "hermes-router", TEXT, name=order)).text == tale(TEXT)
        first, second = await attempts(made, order)
        assert (first[1:], second[1:]) == (CUT, ("ok", "anchor", REST)), order
    assert f"went on after {AT} characters by anchor" in (await made.hr("request", "anew", code=0)).out
    for provider in providers:
        provider.order = "summary"
    for caller in AGENTS:
        with pytest.raises(ERRORS):
            await asked(made, caller, "hermes-router", TEXT, name=caller)
        seen = await attempts(made, caller)
        assert not [one for one in seen if one[1] == "ok"]
        assert sum(shown for *_, shown in seen) == AT


@ALONE
async def test_who_does_not_go_on_is_passed_over(home) -> None:
    """A second answer is never pasted behind the first half (CA-1): the one that died is asked again, and ends it."""
    made = await pair(home, "groq", "cerebras")
    made.sandbox.providers["cerebras"].order = "summary"
    said, name = await until_first(made, "groq")
    assert said.text == tale(TEXT)
    assert await attempts(made, name) == [
        ("groq", *CUT), ("cerebras", "broken", "anchor", 0), ("groq", "ok", "anchor", REST)]  # fmt: skip


@ALONE
async def test_a_prefill_is_gone_on_from_and_where_it_is_refused_the_order_is_followed(home) -> None:
    """By prefill where it is known to take one, though it says it again; the same target by order, where it does not."""
    made = await pair(home, "groq", "mistral")
    said, name = await until_first(made, "groq")
    assert said.text == tale(TEXT)
    assert await attempts(made, name) == [("groq", *CUT), ("mistral", "ok", "prefill", REST)]
    made.sandbox.providers["mistral"].prefill = "refuses"
    said, name = await until_first(made, "groq")
    assert said.text == tale(TEXT)
    first, second, third = await attempts(made, name)
    assert first == ("groq", *CUT)
    assert (second[0], second[2:]) == ("mistral", ("prefill", 0))
    assert third == ("mistral", "ok", "anchor", REST)
