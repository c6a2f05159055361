"""Requests that wait for quota while the owner works: a key rescues them at once, a restart drops none of them."""

import asyncio
import time

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

ONE, TWO = "gsk_one_0123456789abcd1111", "gsk_two_0123456789abcd2222"


async def asked(home, number: int = 1) -> None:
    """Until the provider has got so many chats."""
    async with asyncio.timeout(20):
        while sum(r.path.endswith("/chat/completions") for r in home.sandbox.requests) < number:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_restart_drops_no_request_that_waits(home) -> None:
    """One place, and it is taken: those who wait for it wait on in the predecessor, and it serves them one by one."""
    one = {"GROQ_LIMITS": "concurrency=1", "GROQ_MODEL": "openai/gpt-oss-20b", "DRAIN_SECONDS": "30"}
    here = await home(FakeProvider("groq", keys={ONE}), **one)
    await here.hr("start", code=0)
    await here.hr("auth", "add", "groq", stdin=f"{ONE}\n", code=0)
    here.sandbox.behave("groq", faults.stall(after=2))
    first = asyncio.ensure_future(here.ask("say 9 words", stream=True))
    await asked(here)
    waiting = [asyncio.ensure_future(here.ask(f"say {number} words", stream=number == 3)) for number in (3, 4)]
    await here.hr("restart", code=0)
    assert not any(task.done() for task in (first, *waiting))
    first.cancel()
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 20)
    assert [status for status, _ in answers] == [200, 200]
    assert b"[DONE]" in answers[0][1]
    assert b"w1 w2 w3 w4" in answers[1][1]


async def test_a_key_added_at_two_in_the_morning_serves_who_waits(home) -> None:
    """The only key is out for a minute and a request waits for it: another key has it answered within a second."""
    here = await home(FakeProvider("groq", keys={ONE, TWO}), GROQ_MODEL="openai/gpt-oss-20b")
    await here.hr("start", code=0)
    await here.hr("auth", "add", "groq", stdin=f"{ONE}\n", code=0)
    here.sandbox.behave("groq", faults.rate_limited("rpm", 30, 50.0), key=ONE)
    run = asyncio.ensure_future(here.ask())
    await asked(here)
    await here.hr("auth", "add", "groq", stdin=f"{TWO}\n", code=0)
    began = time.monotonic()
    status, _ = await asyncio.wait_for(run, 20)
    took_s = time.monotonic() - began
    print(f"answered {took_s * 1000:.0f} ms after hr ended, 50 s before the first key's return")
    assert status == 200
    assert took_s < 1.0
    assert here.sandbox.requests[-1].key_tail == TWO[-4:]
