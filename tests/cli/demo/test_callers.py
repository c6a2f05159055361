"""hermes_router/cli/demo/callers.py: what each caller makes of answers, good and bad, in each dialect."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from hermes_router.cli.demo import callers as demo_callers
from hermes_router.cli.demo.callers import DIALECTS, BadEnd, Call, Question, Told, caller
from hermes_router.sandbox import bad_frames, faults
from hermes_router.sandbox.demo_cut import ERRAND, TOOL, cut_at, tale, uncut
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Sandbox
from hermes_router.sandbox.values import FakeModel

EACH = pytest.mark.parametrize("dialect", DIALECTS)
BY = pytest.mark.parametrize("plain", [True, False], ids=["plain", "sdk"])


@pytest.fixture
async def provider() -> AsyncIterator[Sandbox]:
    """One that speaks all dialects, and has the model that callers of a router ask for."""
    fake = FakeProvider("naga", models=(FakeModel("hermes-router"),), compose=tale)
    async with Sandbox([fake]) as sandbox:
        yield sandbox


async def ask(sandbox: Sandbox, dialect: str, *, plain: bool, key: str = "sandbox-key") -> tuple[str, Told]:
    """The errand, asked from a thread of its own."""

    def run() -> tuple[str, Told]:
        with pytest.MonkeyPatch.context() as patch:
            if plain:
                patch.setattr(demo_callers, "find_spec", lambda _name: None)
            who = caller(dialect, sandbox.base_url("naga").removesuffix("/v1"), key)
        assert who.name.startswith("a plain reader" if plain else "the ")
        told = Told()
        return "".join(who.ask(Question(ERRAND, "my-id", TOOL), told)), told

    return await asyncio.to_thread(run)


@EACH
@BY
async def test_an_answer_is_read_whole(provider: Sandbox, dialect: str, plain: bool) -> None:
    """Text, calls with their arguments, and the end; the request bears the id that it was given."""
    text, told = await ask(provider, dialect, plain=plain)
    wanted = uncut(ERRAND)
    assert text == wanted.text
    assert told.calls == [Call(call.name, json.loads(call.arguments)) for call in wanted.calls]
    assert told.end in {"tool_calls", "tool_use", "completed"}
    assert provider.requests[-1].headers["x-request-id"] == "my-id"


@EACH
@BY
@pytest.mark.parametrize("ending", ["abrupt", "clean"])
async def test_a_cut_answer_is_no_answer(provider: Sandbox, dialect: str, plain: bool, ending: faults.Ending) -> None:
    """Without an end of its dialect, an answer is bad, however its connection ended."""
    provider.behave("naga", faults.cut_halfway(ending))
    try:
        text, told = await ask(provider, dialect, plain=plain)
    except BadEnd:
        return
    # Of a clean cut some SDKs make an answer: then it has no end.
    assert not plain
    assert text == uncut(ERRAND).text[: cut_at(uncut(ERRAND))]
    assert told.end in {"", "in_progress"}


@EACH
@BY
async def test_an_error_is_no_answer(provider: Sandbox, dialect: str, plain: bool) -> None:
    """Neither before the answer nor within it."""
    with pytest.raises(BadEnd):
        await ask(provider, dialect, plain=plain, key="wrong")
    provider.behave("naga", bad_frames.error_chunk(2))
    with pytest.raises(BadEnd):
        await ask(provider, dialect, plain=plain)
