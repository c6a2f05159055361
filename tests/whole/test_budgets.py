"""Budgets over a kill -9 and a restart of the real daemon: what was spent today stays spent."""

import asyncio
import os
import signal
from pathlib import Path

from hermes_router.sandbox.providers import FakeProvider

from .home import Home

OPENAI = "sk-openai-0123456789abcdef"
LONG = "say 3000 words"  # about $0.0025 at the row's price; $0.0006 are claimed before anything is known


def home(path: Path) -> Home:
    """A paid provider alone, and two tenths of a cent for the pool."""
    env = {"OPENAI_API_KEY": OPENAI, "OPENAI_MODEL": "gpt-4o-mini", "BUDGET_USD_DAY": "0.002", "PATIENCE_SECONDS": "0"}
    return Home(path, [FakeProvider("openai", keys={OPENAI})], env)


async def kill(here: Home) -> None:
    """kill -9, and wait until it is gone."""
    [pid] = here.daemons()
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while here.daemons():  # noqa: ASYNC110 - the end of another's child has no event
            await asyncio.sleep(0.02)


async def test_a_budget_reached_in_mid_stream_holds_over_kill_and_restart(tmp_path: Path) -> None:
    """The stream comes whole; the next request is 429 with the truth, after kill -9 and after `hr restart` too."""
    async with home(tmp_path) as here:
        await here.hr("start", code=0)
        status, answer = await here.ask(LONG, stream=True)
        assert status == 200
        assert b"w3000" in answer
        assert b"data: [DONE]" in answer
        status, answer = await here.ask()
        assert status == 429
        assert b"BUDGET_USD_DAY" in answer
        await asyncio.sleep(1.5)  # at most a second of events is lost by a kill
        await kill(here)
        await here.hr("start", code=0)
        status, answer = await here.ask()
        assert (status, b"BUDGET_USD_DAY" in answer) == (429, True)
        await here.hr("restart", code=0)
        assert (await here.ask())[0] == 429
        shown = (await here.hr("status", "--json", code=0)).json["budget"]
        assert shown["limit_microusd"] == 2_000
        assert shown["spent_microusd"] > 2_000
        assert len([r for r in here.sandbox.requests if r.path.endswith("/chat/completions")]) == 1
