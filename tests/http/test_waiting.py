"""Waiting for quota over real HTTP: real windows at the sandbox, callers that hold on, leave, or are told the truth."""

import asyncio
from typing import Any

import openai
import pytest

from hermes_router.core.router_keys import RouterKey
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.quotas import Quotas
from hermes_router.store.router_keys import RouterKeyStore

from .conftest import WAIT_S, key_for

GROQ = {"GROQ_MODEL": "openai/gpt-oss-20b"}
PATIENT = {"PATIENCE_SECONDS": "60", **GROQ}
WORDS = "w1 w2 w3 w4 w5"


async def waiting(h: Any, number: int) -> None:
    """Until so many requests wait."""
    async with asyncio.timeout(WAIT_S):
        while h.engine.waiters.waiting != number:  # noqa: ASYNC110 - a queue has no event of ours
            await asyncio.sleep(0)


async def over(load: list, h: Any, *, within_s: float, step_s: float = 1.0) -> list:
    """Let time pass by the step until all are answered."""
    for _ in range(round(within_s / step_s)):
        for _ in range(400):  # real sockets: what is on its way arrives
            await asyncio.sleep(0)
            if all(task.done() for task in load):
                return [task.result() for task in load]
        h.later(step_s)
    return list(await asyncio.wait_for(asyncio.gather(*load), WAIT_S))


def refused(h: Any) -> int:
    """How many 429s the sandbox has given."""
    return sum(record.status == 429 for record in h.chats())


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_ll6_a_limited_pool_is_waited_for_and_nobody_fails(house, stream) -> None:
    """429 with 20 s: the request is held, sends nothing meanwhile, and is answered with the second attempt."""
    h = await house("groq", env=PATIENT)
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 20.0))
    held = asyncio.ensure_future(h.whole(stream=stream))
    await waiting(h, 1)
    h.later(19.0)
    assert len(h.chats()) == 1
    h.later(1.25)
    got = await asyncio.wait_for(held, WAIT_S)
    assert (got.good, got.text) == (True, WORDS)
    assert len(h.chats()) == 2
    if not stream:
        assert got.attempts == 2


async def test_cr7_four_times_as_many_as_fit_into_a_minute_are_all_served(house) -> None:
    """Real windows: 5 a minute, 20 at once, four minutes' patience. Nobody fails, and hardly a 429 is drawn."""
    h = await house(
        FakeProvider("groq", quotas=Quotas(rpm=5)), env={**GROQ, "PATIENCE_SECONDS": "300", "GROQ_LIMITS": "rpm=5"}
    )
    load = [asyncio.ensure_future(h.whole(f"say 5 words, {number}")) for number in range(20)]
    answers = await over(load, h, within_s=300.0)
    assert [answer.good for answer in answers] == [True] * 20
    assert refused(h) == 0
    assert len(h.chats()) == 20


async def test_a_window_that_nobody_knows_of_draws_few_refusals(house) -> None:
    """No limit is known and 20 wait for one cooldown: whoever finds out goes alone."""
    h = await house(
        FakeProvider("groq", quotas=Quotas(rpm=5)), env={**GROQ, "PATIENCE_SECONDS": "590", "GROQ_LIMITS": "off"}
    )
    for number in range(5):
        assert (await h.whole(str(number))).good
    load = []
    for number in range(15):
        load.append(asyncio.ensure_future(h.whole(f"say 5 words, {number}")))
        await waiting(h, number + 1)
    answers = await over(load, h, within_s=590.0)
    assert [answer.good for answer in answers] == [True] * 15
    assert refused(h) <= 3


async def test_the_order_of_those_who_wait_is_that_of_their_coming(house) -> None:
    """One place, six who wait for it: they reach the provider as they came."""
    h = await house("groq", env={**PATIENT, "GROQ_LIMITS": "concurrency=1"})
    h.sandbox.behave("groq", faults.slow_first_token())
    first = asyncio.ensure_future(h.whole("0", stream=True))
    await h.seen(1)
    load = []
    for number in range(1, 7):
        load.append(asyncio.ensure_future(h.whole(str(number), stream=number % 2 == 0)))
        await waiting(h, number)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    answers = await asyncio.wait_for(asyncio.gather(*load), WAIT_S)
    assert all(answer.good for answer in answers)
    asked = [record.body["messages"][0]["content"] for record in h.chats()]
    assert asked == [str(number) for number in range(7)]


async def test_a_pinned_request_that_waits_is_nobodys_obstacle(house) -> None:
    """Its model rests for 50 s; everybody else goes on with the other, and it has its turn in the end."""
    h = await house("groq", "mistral", env={**PATIENT, "MISTRAL_MODEL": "mistral-small-latest"})
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 50.0))
    pinned = asyncio.ensure_future(h.whole(model="groq/openai/gpt-oss-20b"))
    await waiting(h, 1)
    for _ in range(5):
        assert (await h.whole()).target == "mistral/mistral-small-latest"
    h.later(50.25)
    got = await asyncio.wait_for(pinned, WAIT_S)
    assert got.target == "groq/openai/gpt-oss-20b"


async def test_a_stream_is_kept_alive_while_nobody_has_answered(house) -> None:
    """The head after 15 s, then an empty chunk every 10, with the caller's name for the model; one good answer after all."""
    h = await house("groq", env=PATIENT)
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 40.0))
    held = asyncio.ensure_future(h.whole(stream=True, model="any-name-at-all"))
    await waiting(h, 1)
    got = (await over([held], h, within_s=45.0))[0]
    assert (got.good, got.text) == (True, WORDS)
    silent = [e for e in got.events if isinstance(e, dict) and e["choices"] and e["model"] == "any-name-at-all"]
    assert len(silent) == 3
    assert b": hermes target=groq/openai/gpt-oss-20b attempts=2" in got.raw


async def test_max_wait_0_is_never_and_nonsense_is_pointed_out(house) -> None:
    """The header lowers the patience; what is no number of seconds is ignored, and the answer says so."""
    h = await house("groq", env=PATIENT)
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 20.0))
    got = await h.whole(headers={"x-hermes-max-wait": "0"})
    assert (got.status, got.headers["retry-after"]) == (429, "20")
    h.later(20.5)
    for nonsense in ("soon", "-1", "nan", "1e9", "", "9" * 40):
        got = await h.whole(headers={"x-hermes-max-wait": nonsense})
        assert got.good
        assert got.headers["x-hermes-warnings"] == "ignored:x-hermes-max-wait"
    assert "x-hermes-warnings" not in (await h.whole(headers={"x-hermes-max-wait": " 2.5 "})).headers


async def test_beyond_the_patience_the_sdk_hears_the_truth(house) -> None:
    """429 with the seconds, `x-should-retry: false` and the epoch above a minute, and the attempts by class."""
    h = await house("groq", env=PATIENT)
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 90.0))
    with pytest.raises(openai.RateLimitError) as caught:
        await h.sdk.chat.completions.create(model="hermes-router", messages=[{"role": "user", "content": "hi"}])
    headers = caught.value.response.headers
    assert (headers["retry-after"], headers["x-should-retry"]) == ("90", "false")
    assert int(headers["x-hermes-retry-at"]) == pytest.approx(h.clock.now() + 90.0, abs=1)
    assert [a["class"] for a in caught.value.body["attempts"]] == ["limited"]


async def test_the_router_keys_patience_and_its_concurrency(house, tmp_path) -> None:
    """`hr key add --patience 0` never waits; what waits is under way, so a second one is that key's own 429."""
    h = await house("groq", env=PATIENT)
    store = RouterKeyStore(tmp_path / "router-keys.json", now=h.clock.now)
    h.daemon.router_keys = store

    def add(name: str, **limits: Any) -> tuple[RouterKey, dict[str, str]]:
        made, text = store.add(name, **limits)
        h.daemon.swap(h.daemon.loaded)
        return made, {"authorization": f"Bearer {text}"}

    _, hurried = add("hurried", patience_s=0)
    key, single = add("single", concurrency=1)
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 20.0))
    assert (await h.whole(headers=hurried)).status == 429
    held = asyncio.ensure_future(h.whole(headers=single))
    await waiting(h, 1)
    assert h.engine.limits.in_flight(key.id) == 1
    assert (await h.whole(headers=single)).status == 429
    h.later(20.25)
    assert (await asyncio.wait_for(held, WAIT_S)).good


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_caller_who_leaves_while_it_waits_is_forgotten(house, stream) -> None:
    """The connection is gone: nothing of it waits, and nothing is sent for it when quota returns."""
    h = await house("groq", env=PATIENT)
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 20.0))
    held = asyncio.ensure_future(h.whole(stream=stream))
    await waiting(h, 1)
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    await waiting(h, 0)
    h.later(30.0)
    assert len(h.chats()) == 1
    assert (await h.whole()).good


async def test_a_key_added_in_the_night_serves_who_waits_at_once(house) -> None:
    """A swap of generations wakes them: no second passes between the key and the answer."""
    h = await house("groq", env=PATIENT, keys={"groq": 2})
    second = key_for("groq", 2)
    hidden = frozenset(c.id for c in h.daemon.loaded.credentials if c.tail == second[-4:])
    whole = h.daemon.loaded
    h.daemon.swap(whole.without(hidden))
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 50.0))
    load = [asyncio.ensure_future(h.whole(stream=number % 2 == 0)) for number in range(1)]
    await waiting(h, 1)
    h.daemon.swap(whole)
    answers = await asyncio.wait_for(asyncio.gather(*load), WAIT_S)
    assert all(answer.good for answer in answers)
    assert h.chats()[-1].key_tail == second[-4:]
