"""Budgets and the runaway guard over real HTTP: what was allowed holds for streams, retries and leavers, and no longer."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from hermes_router.core.router_keys import RouterKey
from hermes_router.daemon.doors import Door
from hermes_router.daemon.handover.estate import Household, load_state
from hermes_router.daemon.life import Life
from hermes_router.sandbox import faults
from hermes_router.store.router_keys import RouterKeyStore

from ..fakes import START

# Prices of the row: $0.15 a million tokens in, $0.60 out. An answer of unknown length is claimed as 1,024 tokens.
ENV = {"OPENAI_MODEL": "gpt-4o-mini", "GROQ_MODEL": "openai/gpt-oss-20b"}
CLAIM = 614
BUDGET = 1_000  # micro-US-dollars
MIDNIGHT = (START // 86_400 + 1) * 86_400
LONG = "say 3000 words"  # about 4,000 tokens: $0.0025, far more than was claimed
WIDE = "x" * 20_000 + " say 50 words"  # about 5,600 tokens in: $0.0008


class Spender:
    """A running router, and router keys of its own making."""

    def __init__(self, house: Any, path: Path) -> None:
        self.house = house
        self.store = RouterKeyStore(path, now=house.clock.now)
        house.daemon.router_keys = self.store

    def add(self, **limits: Any) -> tuple[RouterKey, dict[str, str]]:
        """A key in force, and the header that carries it."""
        made, text = self.store.add("agent", **limits)
        self.house.daemon.swap(self.house.daemon.loaded)
        return made, {"authorization": f"Bearer {text}"}

    def allow(self, budget_microusd: int | None) -> None:
        """Another budget of the pool, as `hr config set BUDGET_USD_DAY` puts it in force."""
        loaded = self.house.daemon.loaded
        settings = replace(loaded.settings, budget_microusd_day=budget_microusd)
        self.house.daemon.swap(replace(loaded, settings=settings))

    def spent(self, key: str) -> int:
        return int(self.house.engine.limits.spent(key, self.house.clock.now()))

    @property
    def default(self) -> str:
        """The key that requests without a header of their own show."""
        return str(self.house.daemon.gate.access.admission.keys[0].id)

    async def whole(self, text: str = "say 5 words", **given: Any) -> Any:
        return await self.house.whole(text, **given)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        async with asyncio.timeout(5):
            while self.house.engine.state.in_flight():  # noqa: ASYNC110 - the end of a connection has no event of ours
                await asyncio.sleep(0)


@pytest.fixture
async def spender(house: Any, tmp_path: Path) -> Any:
    async def start(*providers: Any, env: dict[str, str] | None = None) -> Spender:
        h = await house(*(providers or ("openai",)), env=ENV | {"PATIENCE_SECONDS": "0"} | (env or {}))
        return Spender(h, tmp_path / "router-keys.json")

    return start


def check_truth(refused: Any, said: str) -> None:
    """429, the seconds to midnight of UTC, no retries that sleep for hours, and what to do."""
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error"), refused.raw
    assert refused.headers["retry-after"] == str(int(MIDNIGHT - START))
    assert refused.headers["x-should-retry"] == "false"
    assert refused.headers["x-hermes-retry-at"] == str(int(MIDNIGHT))
    assert said in refused.error["message"]
    for word in ("context length", "token limit", "max_tokens", "exceeds the limit", "quota", "billing"):
        assert word not in refused.error["message"]


def check_in_flight(refused: Any) -> None:
    """429, and soon again: nobody knows when the requests under way end, or what they cost."""
    assert (refused.status, refused.headers["retry-after"]) == (429, "1"), refused.raw
    assert "x-should-retry" not in refused.headers
    assert "requests under way hold what is left" in refused.error["message"]


# --- the pool's ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_the_pools_budget_is_reached_within_an_answer_that_is_not_cut(spender: Any, stream: bool) -> None:
    """The answer comes whole, dearer than the budget; the next request is refused until midnight, with no call made."""
    s = await spender(env={"BUDGET_USD_DAY": "0.001"})
    answer = await s.whole(LONG, stream=stream)
    assert answer.good
    assert answer.text.endswith("w3000")
    for _ in range(2):
        check_truth(await s.whole(stream=stream), "BUDGET_USD_DAY")
    assert len(s.house.chats()) == 1
    s.house.clock.advance(MIDNIGHT - START)
    assert (await s.whole(stream=stream)).good


async def test_what_is_in_flight_is_not_spent_twice(spender: Any) -> None:
    """While one stream runs, there is no room for a second claim, and no telling until when; once it cost little, there is."""
    s = await spender(env={"BUDGET_USD_DAY": "0.001"})
    s.house.sandbox.behave("openai", faults.stall(after=2))
    async with s.house.post(stream=True) as held:
        await held.content.readuntil(b"\n\n")
        check_in_flight(await s.whole())
        assert len(s.house.chats()) == 1
    await s.settled()
    assert (await s.whole()).good


async def test_free_models_serve_when_the_money_is_spent(spender: Any) -> None:
    """A budget holds paid models back and nobody else; a pin of the paid one is refused with the truth."""
    s = await spender("openai", "groq", env={"BUDGET_USD_DAY": "0"})
    for _ in range(3):
        assert (await s.whole()).target == "groq/openai/gpt-oss-20b"
    refused = await s.whole(model="openai/gpt-4o-mini")
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")
    assert s.house.chats("openai") == []


async def test_a_budget_is_raised_and_lowered_at_once_and_knows_of_the_morning(spender: Any) -> None:
    """Set at noon, it counts what was spent before; raised, it lets in; lowered or emptied, it does so at once."""
    s = await spender()
    assert (await s.whole(LONG)).good
    s.allow(BUDGET)
    check_truth(await s.whole(), "BUDGET_USD_DAY")
    s.allow(1_000_000)
    assert (await s.whole()).good
    s.allow(BUDGET)
    check_truth(await s.whole(), "BUDGET_USD_DAY")
    s.allow(None)
    assert (await s.whole()).good


async def test_a_providers_budget_binds_it_alone(spender: Any) -> None:
    """`OPENAI_LIMITS=usd_day=`: reached within an answer, then the others serve."""
    s = await spender("openai", "groq", env={"OPENAI_LIMITS": "usd_day=0.001"})
    assert (await s.whole(LONG, model="openai/gpt-4o-mini")).good
    check_truth(await s.whole(model="openai/gpt-4o-mini"), "temporarily unavailable")
    assert (await s.whole()).target.startswith("groq/")
    assert len(s.house.chats("openai")) == 1


# --- a router key's -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_keys_budget_is_reached_within_an_answer_that_is_not_cut(spender: Any, stream: bool) -> None:
    """The answer comes whole; the key's next request is refused until midnight, other keys are served."""
    s = await spender()
    key, header = s.add(budget_microusd=BUDGET)
    assert (await s.whole(LONG, stream=stream, headers=header)).good
    assert 2_000 < s.spent(key.id) < 5_000
    check_truth(await s.whole(stream=stream, headers=header), "--usd-day")
    assert (await s.whole(stream=stream)).good
    s.house.clock.advance(MIDNIGHT - START)
    assert (await s.whole(stream=stream, headers=header)).good


async def test_a_keys_requests_in_flight_are_not_spent_twice(spender: Any) -> None:
    """Ten at once, room for one: nine are refused, and no call is made for them."""
    s = await spender()
    _, header = s.add(budget_microusd=BUDGET)
    answers = await asyncio.gather(*(s.whole(headers=header, stream=n % 2 == 0) for n in range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [429] * 9
    assert len(s.house.chats()) == 1
    for answer in answers:
        if answer.status == 429:
            check_in_flight(answer)


@pytest.mark.parametrize("whose", ["pool", "key"])
async def test_who_is_patient_waits_for_money_that_requests_under_way_hold(spender: Any, whose: str) -> None:
    """Room for one at a time, and each costs little: all of four are served within their patience, and none is lost."""
    env = {"PATIENCE_SECONDS": "60", **({"BUDGET_USD_DAY": "0.001"} if whose == "pool" else {})}
    s = await spender(env=env)
    _, header = s.add(budget_microusd=BUDGET if whose == "key" else None)
    asked = [asyncio.ensure_future(s.whole(headers=header, stream=n % 2 == 0)) for n in range(4)]
    async with asyncio.timeout(10):
        while not all(each.done() for each in asked):
            await asyncio.sleep(0.01)
            s.house.later(0.25)
    assert all(each.result().good for each in asked)


async def test_free_models_serve_a_key_that_may_spend_nothing(spender: Any) -> None:
    """`--usd-day 0`: never a paid model, though it is all that a pin names; waiting would be in vain, and is not asked."""
    s = await spender("openai", "groq")
    _, header = s.add(budget_microusd=0)
    for _ in range(3):
        assert (await s.whole(headers=header)).target.startswith("groq/")
    refused = await s.whole(headers=header, model="openai/gpt-4o-mini")
    assert (refused.status, refused.headers["x-should-retry"]) == (429, "false")
    assert "retry-after" not in refused.headers
    assert s.house.chats("openai") == []


async def test_a_request_dearer_than_a_whole_day_is_told_that_waiting_is_in_vain(spender: Any) -> None:
    """No instant is named, since none would be true."""
    s = await spender()
    _, header = s.add(budget_microusd=CLAIM // 2)
    refused = await s.whole(headers=header)
    assert (refused.status, refused.headers["x-should-retry"]) == (429, "false")
    assert "retry-after" not in refused.headers
    assert (await s.whole(headers=header, max_tokens=50)).good


async def test_a_caller_who_leaves_in_mid_stream_pays_for_what_came(spender: Any) -> None:
    """The prompt and the words that were shown, not the claim, and not nothing."""
    s = await spender()
    key, header = s.add(budget_microusd=100_000)
    s.house.sandbox.behave("openai", faults.stall(after=3))
    async with aiohttp.ClientSession(headers=header) as leaver:
        body = {"model": "hermes-router", "stream": True, "messages": [{"role": "user", "content": WIDE}]}
        response = await leaver.post(f"{s.house.url}/v1/chat/completions", json=body)
        await response.content.readuntil(b"\n\n")
        assert s.spent(key.id) > CLAIM
        response.close()
    await s.settled()
    assert 500 < s.spent(key.id) < 1_000


async def test_attempts_that_failed_after_the_provider_took_them_are_paid(spender: Any) -> None:
    """Cut in the middle, twice: what came is paid; refused at the door: nothing is."""
    s = await spender()
    key, header = s.add(budget_microusd=100_000)
    s.house.sandbox.behave("openai", faults.cut(after=3), times=2)
    assert not (await s.whole(WIDE, stream=True, headers=header)).good
    paid = s.spent(key.id)
    assert 1_000 < paid < 2_000
    s.house.later(60.0)
    s.house.sandbox.behave("openai", faults.rate_limited(), times=None)
    assert (await s.whole(WIDE, stream=True, headers=header)).status == 429
    assert s.spent(key.id) == paid


async def test_a_free_answer_costs_a_key_nothing(spender: Any) -> None:
    """Only what the owner pays counts: a free provider leaves the money as it was."""
    s = await spender("groq")
    key, header = s.add(budget_microusd=5)
    assert (await s.whole(headers=header)).good
    assert s.spent(key.id) == 0


async def test_a_stream_that_outlives_its_daemon_is_settled_with_the_successor(spender: Any) -> None:
    """After the handover the predecessor tells what its last streams cost: the successor's count is the truth."""
    s = await spender()
    key, header = s.add(budget_microusd=100_000)
    s.house.sandbox.behave("openai", faults.stall(after=3))
    told = Told()
    async with s.house.post(WIDE, stream=True, headers=header) as held:
        await held.content.readuntil(b"\n\n")
        household = Household(s.house.daemon, Door([]), None, open_doors=lambda: None)
        household.leave(told, shut=False)  # type: ignore[arg-type]
        heir = await spender()
        load_state(heir.house.daemon, told.sent[0])
        assert heir.spent(key.id) == s.spent(key.id) > CLAIM
    await s.settled()
    for message in told.sent[1:]:
        Life._settle(SimpleNamespace(_daemon=heir.house.daemon, _handed=None), message["told"])  # type: ignore[arg-type]
    assert 500 < s.spent(key.id) < 1_000
    assert heir.spent(key.id) == s.spent(key.id)


class Told:
    """The pair to a successor, as JSON carries it."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def post(self, kind: str, **fields: Any) -> None:
        self.sent.append(json.loads(json.dumps({"is": kind, **fields})))


# --- the runaway guard --------------------------------------------------------------------------------------


async def test_one_request_again_and_again_is_warned_about_then_slowed_down(spender: Any) -> None:
    """20 pass; the next say so in a header and once in the log; from the 41st one in 15 seconds is served."""
    s = await spender("groq", env={"RUNAWAY_GUARD": "on"})
    answers = [await s.whole("circle") for _ in range(40)]
    assert all(answer.good for answer in answers)
    warned = [answer.headers.get("x-hermes-warnings", "") for answer in answers]
    assert warned[:20] == [""] * 20
    assert warned[20] == "runaway:the same request 21 times in 5 minutes"
    assert all(warned[20:])
    lines = [fields for event, fields in s.house.log.lines if event == "caller.runaway"]
    assert [(line["router_key"], line["times"]) for line in lines] == [(s.default, 21)]
    refused = await s.whole("circle")
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (429, "runaway", "15")
    assert len(s.house.chats()) == 40
    assert (await s.whole("something else")).good
    _, header = s.add()
    assert (await s.whole("circle", headers=header)).good
    s.house.later(15.0)
    assert (await s.whole("circle")).good


async def test_the_guard_can_be_switched_off(spender: Any) -> None:
    """RUNAWAY_GUARD=off: for load tests, and for programs that mean it."""
    s = await spender("groq", env={"RUNAWAY_GUARD": "off"})
    for _ in range(45):
        answer = await s.whole("circle")
        assert answer.good
        assert "x-hermes-warnings" not in answer.headers
