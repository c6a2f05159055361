"""hermes_router/engine/faults.py: what is wrong now, and the sentence that says so."""

import pytest
from msgspec.structs import replace

from hermes_router.core import errors as err
from hermes_router.core.accounts import CodexAccount
from hermes_router.core.catalog import Price, PriceClass, QuotaRule
from hermes_router.core.ids import CredentialId, RouterKeyId, Secret
from hermes_router.core.observations import Unit, Window
from hermes_router.core.router_keys import RouterKey
from hermes_router.engine.admission import Caller
from hermes_router.engine.alerts import Fault
from hermes_router.engine.context import Generation
from hermes_router.engine.faults import faults
from hermes_router.engine.report import is_ready
from hermes_router.routing.roster import Roster

from ..fakes import World, answers, refuses, target

REVOKED = {"message": "Incorrect API key provided", "code": "invalid_api_key"}
DAY = 86_400.0
SECRET = "at-very-secret-0123456789"


def wrong(world: World, **more) -> dict[str, Fault]:
    return {fault.kind: fault for fault in faults(world.engine, world.clock.now(), **more)}


def account(**changes) -> CodexAccount:
    known = CodexAccount(
        id=CredentialId("c0ffee"), label="", account_id="acc-1234", email="ada@x.example", plan="plus", route="plan",
        client_id="c", access_token=Secret(SECRET), refresh_token=Secret("rt-" + SECRET), expires_at=2e9,
    )  # fmt: skip
    return replace(known, **changes)


async def test_a_pool_that_answers_has_no_fault() -> None:
    """One ready target is enough."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(401, REVOKED))
    world.transport.on("b", answers())
    await world.ask(stream=False)
    assert not wrong(world)


async def test_nothing_can_answer_as_ready_says() -> None:
    """Limited, rejected or broken: whoever asks /ready hears the same, and the first to return is named with its time."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(429, None, {"retry-after": "5400"}))
    world.transport.on("b", refuses(429, None, {"retry-after": "9000"}))
    assert is_ready(world.engine)
    await world.ask(stream=False)
    assert not is_ready(world.engine)
    down = wrong(world)["pool_down"]
    assert "a returns first, in 90 min (15:43 UTC, 21 Sep)" in down.text
    assert (down.sure, down.hold_s) == (True, None)
    world.clock.advance(5_401)
    assert is_ready(world.engine)
    assert not wrong(world)


async def test_a_pool_that_is_back_in_a_minute_is_waited_for() -> None:
    """A passing limit is told only where it never passes."""
    world = World("a/m")
    world.transport.on("a", refuses(429, None, {"retry-after": "40"}))
    await world.ask(stream=False)
    assert (wrong(world)["pool_down"].hold_s or 0) >= 120


async def test_a_breaker_that_may_be_tried_is_neither_up_nor_down() -> None:
    """A dead provider opens, half-opens, opens: the fault goes on in between, and ends with real answers."""
    world = World("a/m")
    world.transport.on("a", refuses(500))
    for _ in range(3):
        await world.ask(stream=False)
    down = wrong(world)["pool_down"]
    assert down.sure
    assert "a is asked again first, in 15 s" in down.text
    world.clock.advance(20)
    assert is_ready(world.engine)
    doubt = wrong(world)["pool_down"]
    assert not doubt.sure
    assert "The next request asks a again" in doubt.text
    world.transport.on("a", answers())
    for _ in range(4):
        await world.ask(stream=False)
    assert not wrong(world)


def test_an_empty_pool_says_how_to_fill_it() -> None:
    """No key at all: nothing can answer, and the command that mends it is named."""
    assert "hr auth add" in wrong(World())["pool_down"].text


async def test_a_key_is_revoked_after_a_day_of_refusals() -> None:
    """Paused it is no news yet; then it is named by provider and last four characters, with the reason."""
    world = World("a/m", "a/n", "b/m")
    world.transport.on("a", refuses(401, REVOKED))
    world.transport.on("b", answers())
    await world.ask(stream=False)
    assert not wrong(world)
    for _ in range(150):
        world.clock.advance(601)
        await world.ask(stream=False)
    told = wrong(world)
    assert set(told) == {"key_revoked"}
    assert told["key_revoked"].text.startswith("The a key …abcd is out of use: the provider rejects it")
    world.engine.state.proved(world.facts[0].credential.id, world.clock.now())
    assert not wrong(world)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"dead": "refresh_token_expired"}, "It serves until 03:33 UTC, 18 May."),
        ({"dead": "refresh_token_reused", "expires_at": 1.0}, "hr auth login codex"),
        ({"refresh_token": None, "expires_at": 1.0}, "cannot be renewed"),
        ({"read_only": True, "expires_at": 1.0}, "use `codex` once"),
        ({"expires_at": 1.0}, None),  # it is renewed with the next request
    ],
)
def test_an_account_that_needs_its_owner(changes: dict[str, object], said: str | None) -> None:
    """A login that has ended for good, while it still serves, too; the account's last four characters, no token."""
    found = wrong(World("a/m"), accounts=[account(**changes)])
    if said is None:
        assert not found
    else:
        text = found["login_needed"].text
        assert said in text
        assert text.startswith("The codex account …1234: ")
        assert SECRET not in text
    assert (
        "The codex account work: "
        in wrong(World("a/m"), accounts=[account(label="work", dead="x")])["login_needed"].text
    )


def paid(name: str, usd_day: int | None = None):
    """A target that costs a dollar a million tokens; `usd_day` is its provider's budget in micro-US-dollars."""
    facts = target(name, price=PriceClass.PAID)
    model = replace(facts.model, price=Price(1_000_000, 1_000_000))
    rules = () if usd_day is None else (QuotaRule(Unit.MICROUSD, usd_day, Window.DAY, "provider", "utc", "owner"),)
    return replace(facts, model=model, quotas=rules)


async def spend(world: World, microusd: int) -> None:
    """Requests that cost so much, at about 13 micro-US-dollars each."""
    while world.engine.state.budget(world.clock.now())[1] < microusd:
        world.transport.on("a", answers())
        await world.ask(stream=False, max_tokens=2)


@pytest.mark.parametrize("whose", ["pool", "provider"])
async def test_a_budget_at_eighty_percent_and_spent(whose: str) -> None:
    """With the sums, and when the next day begins; yesterday's is over at midnight of UTC."""
    limit = 400
    world = World(paid("a/m", limit if whose == "provider" else None))
    world.engine.state.configure(
        budget_microusd_day=limit if whose == "pool" else None, pacing_even=False, now=world.clock.now()
    )
    await spend(world, 300)
    assert not wrong(world)
    await spend(world, 321)
    [(kind, nearly)] = wrong(world).items()
    assert kind == "budget"
    label = "The budget for all paid models" if whose == "pool" else "The budget of a"
    assert nearly.text.startswith(f"{label} is at 8")
    assert "of $0.0004 today." in nearly.text
    world.engine.state.configure(
        budget_microusd_day=300 if whose == "pool" else None, pacing_even=False, now=world.clock.now()
    )
    if whose == "pool":
        spent = wrong(world)
        assert set(spent) == {"budget", "budget_spent", "pool_down"}
        assert "is spent: " in spent["budget_spent"].text
        assert "again at 00:00 UTC" in spent["budget_spent"].text
    world.clock.advance(DAY)
    assert not wrong(world)


def test_no_paid_model_at_all_is_no_fault() -> None:
    """BUDGET_USD_DAY=0 is what the owner wants, not what he must be told of."""
    world = World(paid("a/m"))
    world.engine.state.configure(budget_microusd_day=0, pacing_even=False, now=world.clock.now())
    assert "budget" not in wrong(world)


def test_a_router_keys_budget_counts_by_its_name() -> None:
    """Whoever made the key knows it by that."""
    world = World("a/m")
    key = RouterKey(RouterKeyId("k1"), "agent", "digest", "9abc", budget_microusd=1_000_000)
    lease = world.engine.limits.admit(Caller(key.id, budget_microusd=1_000_000), world.clock.now())
    lease.settle(900_000, world.clock.now())
    text = wrong(world, router_keys=[key])["budget"].text
    assert text == "The budget of the router key agent is at 90 %: $0.90 of $1.00 today."


def test_a_file_that_cannot_be_written() -> None:
    """Which, why, and what is at stake."""
    text = wrong(World("a/m"), troubles={"/s/state.db": "No space left on device"})["disk_full"].text
    assert "/s/state.db cannot be written (No space left on device)" in text
    assert "Make room." in text


def test_a_big_pool_is_looked_at_in_little_time() -> None:
    """A look is one pass over the targets, none of which is asked for more than its state."""
    pool = [target(f"p{n % 10}/m{n // 10}", key=f"k{n % 3}") for n in range(200)]
    world = World(*pool)
    world.engine.snapshot = Generation(2, world.engine.snapshot.settings, Roster(pool), "round-robin")
    asked: list[object] = []
    real = world.engine.state.stance
    world.engine.state.stance = lambda facts, now: (asked.append(facts), real(facts, now))[1]  # type: ignore[method-assign]
    assert not wrong(world)
    assert len(asked) == len(pool)


def test_what_nothing_can_be_said_of_is_disabled() -> None:
    """A pool of nothing but targets that are switched off comes back by nobody but its owner."""
    world = World(replace(target("a/m"), disabled="it speaks no dialect of ours"))
    assert "none comes back by itself" in wrong(world)["pool_down"].text


async def test_no_credit_for_a_day_is_said_as_that() -> None:
    """The reason is the provider's."""
    world = World("a/m", "b/m")
    slot = world.engine.state.slot(world.facts[0].target)
    assert slot is not None
    for _ in range(200):
        world.engine.state.failed(world.facts[0].target, err.NoCredit(), world.clock.now())
        world.clock.advance(601)
    assert "it has no credit" in wrong(world)["key_revoked"].text
