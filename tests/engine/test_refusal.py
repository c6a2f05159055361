"""What a caller is told where nobody can serve and money is a reason for it."""

import json

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import Price, PriceClass, TargetFacts
from hermes_router.core.errors import RateLimited
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller

from ..fakes import START, Run, World, completion, target, turns

MIDNIGHT = (START // 86_400 + 1) * 86_400
PRICE = Price(150_000, 600_000)  # a request of unknown length is claimed as 1,024 tokens: $0.000614 and its prompt


def paid() -> TargetFacts:
    facts = target("paid/m", price=PriceClass.PAID)
    return replace(facts, model=replace(facts.model, price=PRICE))


def world(*others: str, pool: int | None = None) -> World:
    """A paid target and others, with a budget of the pool in micro-US-dollars."""
    made = World(paid(), *others)
    made.engine.state.configure(budget_microusd_day=pool, pacing_even=False, now=made.clock.now())
    return made


async def ask(made: World, budget_microusd: int | None = None, *, spent: int = 0) -> Run:
    """One request of a key with this budget, that has spent so much of it, and no patience."""
    caller = Caller(RouterKeyId("rk"), budget_microusd=budget_microusd, patience_s=0.0)
    made.engine.limits.admit(caller, made.clock.now()).settle(spent, made.clock.now())
    run = Run(made, made.question(stream=False)._replace(caller=caller))
    await run.over()
    return run


def rest(made: World, name: str, until: float) -> None:
    """Its provider says that it is limited until then."""
    facts = next(each for each in made.facts if each.target.name == name)
    made.engine.state.failed(facts.target, RateLimited(status=429, retry_at=until, told=True), made.clock.now())


def message(run: Run) -> str:
    return str(json.loads(run.rendered.body)["error"]["message"])


async def test_where_money_is_no_reason_nothing_is_said_of_it() -> None:
    """Everybody is limited in the ordinary way: the truth about the pool stands alone."""
    made = world("free/m")
    for name in ("paid/m", "free/m"):
        rest(made, name, START + 300)
    said = message(await ask(made))
    assert said == "All providers are temporarily unavailable. The next one is expected back in 300 s."


async def test_a_keys_own_budget_is_its_own_refusal() -> None:
    """Nobody else comes back before midnight: 429 of the key's, with the wait and what is left."""
    run = await ask(world(), 1_000, spent=900)
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, str(int(MIDNIGHT - START)))
    assert "has $0.0001 left" in message(run)


async def test_a_request_dearer_than_a_whole_day_is_told_that_no_wait_helps() -> None:
    """Of the key's budget, or of the pool's: no instant is named, since none would be true."""
    for run in (await ask(world(), 100), await ask(world(pool=100)), await ask(world(pool=0))):
        assert (run.rendered.status, run.rendered.headers["x-should-retry"]) == (429, "false")
        assert "retry-after" not in run.rendered.headers
        assert "less" in message(run)


@pytest.mark.parametrize("pool", [None, 100])
async def test_whoever_returns_sooner_is_what_the_wait_is_about(pool: int | None) -> None:
    """A free target is back in minutes: its return is named, and the budget is advice behind it."""
    made = world("free/m", pool=pool)
    rest(made, "free/m", START + 300)
    run = await ask(made, None if pool else 1_000, spent=900)
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, "300")
    assert message(run).startswith("All providers are temporarily unavailable.")
    assert ("raise BUDGET_USD_DAY" if pool else "which has $0.0001 left") in message(run)


@pytest.mark.parametrize("key", [None, 100_000])
async def test_the_pools_budget_is_named_with_its_setting(key: int | None) -> None:
    """Whether or not the key has one of its own, which would allow it: 429 until midnight of UTC."""
    made = world(pool=1_000)
    long = completion() | {"usage": {"prompt_tokens": 11, "completion_tokens": 4_000, "total_tokens": 4_011}}
    made.transport.on("paid", lambda flight: flight.answer(200, long))
    await made.ask(stream=False)
    run = await ask(made, key)
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, str(int(MIDNIGHT - START)))
    assert "raise BUDGET_USD_DAY" in message(run)


@pytest.mark.parametrize(("pool", "key"), [(1_000, None), (None, 1_000)])
async def test_what_requests_under_way_hold_may_be_free_at_any_moment(pool: int | None, key: int | None) -> None:
    """They may cost less than was claimed: 429, and soon again. Where even all of it would be too little: midnight."""
    made = world(pool=pool)
    caller = Caller(RouterKeyId("rk"), budget_microusd=key)
    under_way = Run(made, made.question(stream=False)._replace(caller=caller))
    await turns()
    run = await ask(made, key)
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, "1")
    assert "requests under way hold what is left" in message(run)
    run = await ask(made, key, spent=500 if key else 0)
    if key:
        assert run.rendered.headers["retry-after"] == str(int(MIDNIGHT - START))
    await under_way.leave()
