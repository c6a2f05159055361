"""One exchange's search: who is taken, who is left for others, and the truth where nobody is there."""

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import QuotaRule
from hermes_router.core.errors import NoTarget, RateLimited, TooLargeHere
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.core.settings import Settings
from hermes_router.engine import search as module
from hermes_router.engine.search import Search
from hermes_router.routing.names import Pin
from hermes_router.routing.scheduler import plan

from ..fakes import Run, World, answers, refuses, target, turns


def a_search(world: World, text: str = "hi", *, pin: Pin | None = None, fallback_any: bool = False) -> Search:
    question = world.question(text, pin=pin)
    return Search(world.engine, question.demand, question.constraint, fallback_any=fallback_any)


def cool(world: World, index: int, seconds: float) -> None:
    now = world.clock.now()
    error = RateLimited("slow down", status=429, retry_at=now + seconds, told=True)
    world.engine.state.failed(world.facts[index].target, error, now)


def test_what_is_given_back_was_never_taken() -> None:
    """A place of one is free again at once, and nothing is in flight."""
    rules = (QuotaRule(Unit.CONCURRENCY, 1, Window.NONE, "account", origin="owner"),)
    world = World(replace(target("a/m"), quotas=rules))
    search = a_search(world)
    candidate = search.take(left_s=60.0)
    assert candidate is not None
    assert a_search(world).take(left_s=60.0) is None
    search.give_back(candidate)
    assert world.inflight == 0
    assert a_search(world).take(left_s=60.0) is not None


def test_a_pin_with_fallback_goes_on_without_its_pin() -> None:
    """`X-Hermes-Fallback: any`: the pinned target is limited, so another is taken, without a wait."""
    world = World("a/m", "b/m")
    cool(world, 0, 30.0)
    assert a_search(world, pin=Pin("a", "m")).take(left_s=60.0) is None
    found = a_search(world, pin=Pin("a", "m"), fallback_any=True).take(left_s=60.0)
    assert found is not None
    assert found.facts.target.provider == "b"


def test_a_silent_pin_with_fallback_is_not_alone() -> None:
    """It is given up in time where somebody else may answer, not waited for until the deadline."""
    world = World("a/m", "b/m")
    for fallback in (False, True):
        search = a_search(world, pin=Pin("a", "m"), fallback_any=fallback)
        assert search.take(left_s=60.0) is not None
        assert search.alone(world.facts[0]) is not fallback


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("x" * 100, "y" * 100, True), ("x" * 100, "x" * 20_000, False), ("hi", "ho", True)],
)
def test_a_kind_is_what_the_same_targets_could_serve(one: str, other: str, same: bool) -> None:
    """Requests alike in all that rules targets in or out, sizes to a factor of two; what they say is no matter."""
    world = World("a/m")
    assert (a_search(world, one).kind == a_search(world, other).kind) is same
    hash(a_search(world, one).kind)
    assert a_search(world, one).kind != a_search(world, one, pin=Pin("a", "m")).kind


def test_the_earliest_return_counts_whoever_it_is_but_not_who_cannot_take_it() -> None:
    """Who is too small for this request is no return, and makes no 503 of a pool that is otherwise limited."""
    world = World("a/m", "b/m", "c/m")
    search = a_search(world)
    cool(world, 1, 30.0)
    cool(world, 2, 20.0)
    small = world.facts[0]
    error = TooLargeHere("limit 6000", status=413)
    search.failed(small, error, search.constraint._replace(tried=frozenset({small.target})))
    assert search.take(left_s=60.0) is None
    now = world.clock.now()
    assert search.returns_at(now + 1.0, now + 60.0) == now + 20.0
    told = search.nobody([])
    assert isinstance(told, NoTarget)
    assert (told.limited, told.retry_at) == (True, now + 20.0)


def test_who_was_limited_is_asked_again_by_the_ledgers_word_alone() -> None:
    """Two refusals of its quota put a target out for the exchange; a wait takes that back, the cooldown stands."""
    world = World("a/m")
    search, facts = a_search(world), world.facts[0]
    cool(world, 0, 20.0)
    search.failed(facts, RateLimited("no"), search.constraint._replace(tried=frozenset({facts.target})))
    search.relent(paused=False, reach_at=world.clock.now() + 60.0)
    assert search.take(left_s=60.0) is None
    world.clock.advance(20.5)
    assert search.take(left_s=60.0) is not None


class Paced:
    """A plan of a target that is only beyond a published number, as `routing/scheduler.Plan` says it."""

    def __init__(self, *given, until: float) -> None:
        self._plan = plan(*given)
        self.paced_until = until

    def take(self, *, patient: bool = False, reach_at: float = 0.0):
        return None if patient else self._plan.take(reach_at=reach_at)

    def __getattr__(self, name: str):
        return getattr(self._plan, name)


@pytest.mark.parametrize(("in_s", "waits"), [(20.0, True), (90.0, False)])
async def test_a_published_number_is_waited_for_within_the_patience_and_never_refuses(monkeypatch, in_s, waits) -> None:
    """Pacing: the request waits for the prior's window where its patience reaches so far, else it is sent at once."""
    world = World("a/m", settings=Settings(patience_s=60.0))
    world.transport.on("a", answers())
    until = world.clock.now() + in_s

    def paced(*given):
        spent = world.clock.now() < until
        return Paced(*given, until=until) if spent else plan(*given)

    monkeypatch.setattr(module, "plan", paced)
    run = world.start(stream=False)
    await turns()
    assert len(world.transport.flights) == (0 if waits else 1)
    if waits:
        assert world.log.fields("exchange.waiting")["why"] == "paced"
        await world.later(20.25)
    await run.over()
    assert run.rendered.status == 200


async def test_at_the_end_of_its_patience_a_published_number_holds_nobody(monkeypatch) -> None:
    """The window was to return and did not: when the patience is over, the target is asked all the same."""
    world = World("a/m", settings=Settings(patience_s=30.0))
    world.transport.on("a", answers())

    def paced(*given):
        return Paced(*given, until=world.clock.now() + 5.0)

    monkeypatch.setattr(module, "plan", paced)
    run = world.start(stream=False)
    await world.later(29.0)
    assert not world.transport.flights
    await world.later(1.5)
    await run.over()
    assert run.rendered.status == 200


async def test_without_patience_nobody_is_paced(monkeypatch) -> None:
    """X-Hermes-Max-Wait: 0 is sent at once, beyond the number or not."""
    world = World("a/m", settings=Settings(patience_s=0.0))
    world.transport.on("a", answers())
    monkeypatch.setattr(module, "plan", lambda *given: Paced(*given, until=world.clock.now() + 5.0))
    assert (await world.ask(stream=False)).rendered.status == 200


async def test_the_body_of_an_error_does_not_grow_with_the_pool() -> None:
    """A dead pool of thirty is sixty attempts: the header has the number, the body the latest fifty."""
    names = [f"p{number}" for number in range(30)]
    world = World(*(f"{name}/m" for name in names), settings=Settings(patience_s=60.0))
    for name in names:
        world.transport.on(name, refuses(500))
    run = world.start(stream=False)
    await turns(200)
    await world.later(10.0)
    assert run.rendered.status == 503
    assert len(run.said["error"]["attempts"]) == 50
    assert int(run.rendered.headers["x-hermes-attempts"]) == len(world.transport.flights) == 60


def overflows(words: str = "Please reduce the length of the messages."):
    return refuses(400, {"message": words, "code": "context_length_exceeded", "type": "invalid_request_error"})


async def test_ha6_whoever_could_take_it_says_that_it_is_too_long() -> None:
    """Their rows say 131,072: the agent hears that it must compress, and a window below what it has sent."""
    world = World("a/m", "b/m", settings=Settings(patience_s=60.0))
    for name in "ab":
        world.transport.on(name, overflows())
    run = world.start("word " * 12_000, stream=False)
    await run.over()
    needed = world.question("word " * 12_000).demand.input_tokens
    error = run.said["error"]
    assert (run.rendered.status, error["code"]) == (400, "context_length_exceeded")
    assert f"maximum context length is {needed - 1} tokens" in error["message"]
    assert f"resulted in {needed} tokens" in error["message"]
    assert len(world.transport.flights) == 2


async def test_one_that_is_near_the_window_may_be_beyond_it() -> None:
    """An estimate of nine tenths of the window: the window is named as it is advertised, and one token more."""
    world = World("a/m", settings=Settings(patience_s=60.0))
    world.transport.on("a", overflows())
    run = world.start("x" * 425_000, stream=False)
    await run.over()
    assert run.rendered.status == 400
    assert "length is 130048 tokens. However, your messages resulted in 130049 tokens" in run.said["error"]["message"]


async def test_too_long_for_one_and_another_cools_is_no_400() -> None:
    """Whoever is limited for a while could take it yet: 429 with its return."""
    world = World("a/m", "b/m", settings=Settings(patience_s=0.0))
    cool(world, 1, 30.0)
    world.transport.on("a", overflows())
    run = await world.ask("word " * 12_000, stream=False)
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, "30")


async def test_a_pin_outside_the_keys_scope_is_the_callers_to_change() -> None:
    """400 in words that name the scope, and no wait: no retry could cure it."""
    world = World("a/m", "b/m", settings=Settings(patience_s=60.0))
    question = world.question(stream=False, pin=Pin("b", "m"))
    asked = question._replace(constraint=question.constraint._replace(providers=frozenset({"a"})))
    run = Run(world, asked)
    await run.over()
    assert (run.rendered.status, run.said["error"]["code"]) == (400, "no_capable_target")
    assert "outside the scope of your router key, which is: a." in run.said["error"]["message"]
    assert run.rendered.headers["x-should-retry"] == "false"
    assert not world.transport.flights


async def test_tools_wait_for_a_known_target_and_go_elsewhere_where_it_stays_away() -> None:
    """It returned when it had said, or refuses again for longer than the patience: then the unknown one is asked."""
    for again, asked in ((answers(), ["a"]), (refuses(429, None, {"retry-after": "90"}), ["a", "b"])):
        world = World("a/m", replace(target("b/m"), model=replace(target("b/m").model, capabilities={})))
        world.engine.snapshot = world.engine.snapshot._replace(settings=Settings(patience_s=60.0))
        cool(world, 0, 4.0)
        world.transport.on("a", again)
        world.transport.on("b", answers())
        question = world.question(stream=False, tools=[{"type": "function", "function": {"name": "f"}}])
        run = Run(world, question)
        await world.later(3.5)
        assert not world.transport.flights
        await world.later(1.0)
        await run.over()
        assert run.rendered.status == 200
        assert [flight.provider for flight in world.transport.flights] == asked


def test_one_that_would_be_sent_away_dares_once() -> None:
    """It may ask where the day's tokens are short by less than its own size may be wrong; refused, it asks no more."""
    world = World("a/m")
    now = world.clock.now()
    facts = world.facts[0]
    search = a_search(world)
    first = search.take(left_s=60.0)
    assert first is not None
    search.give_back(first)
    amount = 1_024 + world.question("hi").demand.input_tokens
    left = QuotaSeen("account_model", Unit.TOKENS, Window.DAY, 200_000, amount - 5, now + 9_000.0)
    world.engine.state.seen(facts.target, [left], now)
    assert search.take(left_s=60.0) is None
    assert search.dares_at() == now
    dared = search.dare()
    assert dared is not None
    search.give_back(dared)
    assert (search.dare(), search.dares_at()) == (None, None)
