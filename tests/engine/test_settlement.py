"""What an attempt's end does: it is learnt from, accounted and settled once, and whoever waits hears of it."""

import pytest

from hermes_router.core.catalog import Capability, Known
from hermes_router.core.errors import (
    CredentialRejected,
    Inexpressible,
    Invalid,
    NetworkDown,
    RateLimited,
    RequestRejected,
    TimedOut,
    Truncated,
    Unreachable,
)
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.engine.ramp import Passage, Ramps
from hermes_router.engine.search import Search
from hermes_router.engine.settlement import Settlement, Spoken
from hermes_router.routing.scheduler import Candidate

from ..fakes import World, answers, completion, turns


class Under:
    """An attempt that has been planned."""

    def __init__(self, *names: str) -> None:
        self.world = World(*(names or ("a/m",)))
        question = self.world.question()
        self.search = Search(self.world.engine, question.demand, question.constraint, fallback_any=False)
        self.settlement = Settlement(self.world.engine, question.demand, "req_1")
        self.candidate = self.plan()

    def plan(self) -> Candidate:
        found = self.search.take(left_s=0.0)
        assert found is not None
        self.settlement.begin(found, None)
        return found

    @property
    def used(self) -> int:
        return sum(meter.used for meter in self.candidate.reservation.slot.meters)


def test_a_failure_is_reported_and_settled_once() -> None:
    """The caller's report has its class, the ledger its cooldown, and a second end changes nothing."""
    made = Under()
    facts = made.candidate.facts
    made.settlement.failed(facts, RateLimited("slow down", status=429), None, Spoken())
    made.settlement.left(None, Spoken())
    assert [report.wire_class for report in made.settlement.reports] == ["limited"]
    assert made.world.status() == "cooling"
    assert made.world.inflight == 0
    assert made.world.log.fields("attempt.failed")["target"] == str(facts.target)


def test_what_was_not_sent_is_not_told_twice() -> None:
    """A secret that is gone: one record, one report, all quota back."""
    made = Under()
    error = CredentialRejected("the credential is gone")
    made.settlement.not_sent(made.candidate.facts, error)
    assert made.world.inflight == 0
    made.settlement.failed(made.candidate.facts, error, None, Spoken())
    assert len(made.settlement.reports) == 1
    assert made.world.status() == "paused"


@pytest.mark.parametrize(
    "error",
    [
        Inexpressible("the tool name is too long", param="tools"),
        Invalid(
            "Invalid 'tools': array too long. Expected an array with maximum length 128", status=400, param="tools"
        ),
    ],
    ids=str,
)
def test_what_is_wrong_in_one_request_teaches_nothing_of_the_model(error: RequestRejected) -> None:
    """Its caller's own tools cannot be sent or taken: the model goes on getting everybody else's."""
    made = Under()
    target = made.candidate.facts.target
    made.settlement.failed(made.candidate.facts, error, None, Spoken())
    assert made.settlement.refusal is error
    learnt = made.world.engine.state.learned.of(target.provider, target.model).capabilities
    assert Capability.TOOLS not in learnt


def test_a_refusal_is_kept_for_the_caller_and_teaches() -> None:
    """The provider named what the model lacks: the caller may get that back, and the next request goes elsewhere."""
    made = Under()
    facts = made.candidate.facts
    error = RequestRejected("image input is not supported", status=400, param="images")
    made.settlement.failed(facts, error, None, Spoken())
    assert made.settlement.refusal is error
    memory = made.world.engine.state.learned.of(facts.target.provider, facts.target.model)
    assert memory.capability(Capability.IMAGES, facts.model, made.world.clock.now()) is Known.NO


def test_a_caller_who_leaves_blames_nobody() -> None:
    """The reservation comes back, the target stays ready, and there is no report of a failure."""
    made = Under()
    made.settlement.left(None, Spoken())
    assert made.world.inflight == 0
    assert made.world.status() == "ready"
    assert made.settlement.reports == []


def test_a_refused_one_that_went_ahead_is_followed_by_one_and_by_more_after_a_good_one() -> None:
    """The ramp hears of it before the queue does; a fault of the request itself says nothing about the target."""
    for error, allowed in ((RateLimited("no", status=429), 1), (Invalid("no", status=400), 4)):
        made = Under()
        now = made.world.clock.now()
        slot = made.candidate.reservation.slot
        made.world.engine.state.failed(slot.target, RateLimited("no", status=429), now)
        ramps = Ramps()
        first = ramps.go(slot, now + 6.0)
        second = ramps.go(slot, now + 6.0)
        assert isinstance(first, Passage)
        assert second is not None
        first.proved()
        second.proved()
        ahead = ramps.go(slot, now + 6.0)
        made.settlement.begin(made.candidate, ahead)
        made.settlement.failed(made.candidate.facts, error, None, Spoken())
        went = 0
        while not ramps.behind(slot):
            ramps.go(slot, now + 6.0)
            went += 1
        assert went == allowed


async def test_an_end_wakes_who_waits_and_costs_nothing_where_nobody_does() -> None:
    """A success that ends trouble, or a window's room given back: the queue is asked once."""
    made = Under()
    woken: list[int] = []
    waiters = made.world.engine.waiters
    waiters.wake = lambda: woken.append(1)
    made.settlement.left(None, Spoken())
    assert woken == []
    waiters.waiting = 1
    candidate = made.plan()
    candidate.reservation.slot.strict = True
    made.settlement.left(None, Spoken())
    assert woken == [1]


async def test_what_the_ledger_finds_odd_is_said_once_with_its_name() -> None:
    """A provider's limit that makes no sense: one warning each, none of them twice."""
    world = World("a/m")
    world.transport.on("a", answers())
    for said in ("a limit of -5", "a reset in 2106"):
        world.engine.state.oddities.note(world.facts[0].target, said)
    await world.ask(stream=False)
    await world.ask(stream=False)
    said = [fields for name, fields in world.log.lines if name == "quota.odd"]
    assert said == [
        {"target": "a/m#k1-a", "said": "a limit of -5"},
        {"target": "a/m#k1-a", "said": "a reset in 2106"},
    ]


async def test_the_usage_of_the_answer_is_settled() -> None:
    """What the provider reported replaces what was reserved."""
    world = World("a/m")
    run = world.start(stream=False)
    await turns()
    world.transport.last.answer(200, completion())
    await run.over()
    done = world.log.fields("exchange.done")
    assert (done["input_tokens"], done["output_tokens"]) == (11, 2)


def test_what_never_reached_the_provider_costs_no_quota() -> None:
    """No line, or no connection: all of the claim comes back. A request that was sent and not answered counts."""
    lost = Unreachable("reset")
    lost.sent = True
    used = []
    for error in (NetworkDown("no line"), Unreachable("refused"), lost):
        made = Under()
        world, facts = made.world, made.candidate.facts
        told = QuotaSeen("account", Unit.REQUESTS, Window.MINUTE, 10, 10, world.clock.now() + 60)
        world.engine.state.seen(facts.target, [told], world.clock.now())
        made.plan()
        made.settlement.failed(facts, error, None, Spoken())
        used.append(made.used)
    assert used[:2] == [0, 0]
    assert used[2] > 0


class Sent:
    """An attempt as far as the settlement asks."""

    def __init__(self, status: int | None) -> None:
        self.status = status
        self.ttft_s = None
        self.sent_mono = self.last_data_mono = 0.0


def test_a_cut_answer_has_used_what_it_showed_and_a_silent_one_its_prompt() -> None:
    """Neither keeps the whole claim; of the silent one it is doubted that it was counted at all."""
    kept: list[tuple[int, int]] = []
    for error, status, chars in ((Truncated(), 200, 400), (TimedOut("first_token"), None, 0)):
        made = Under()
        world, facts = made.world, made.candidate.facts
        told = QuotaSeen("account", Unit.TOKENS, Window.DAY, 100_000, 100_000, world.clock.now() + 60)
        world.engine.state.seen(facts.target, [told], world.clock.now())
        made.plan()
        meter = next(one for one in made.candidate.reservation.slot.meters if one.unit is Unit.TOKENS)
        assert meter.used > 1_000
        made.settlement.failed(facts, error, Sent(status), Spoken(said_chars=chars))  # type: ignore[arg-type]
        kept.append((meter.used, meter.doubts))
    prompt = kept[1][0]
    assert 0 < prompt < 100
    assert kept == [(prompt + 100, 0), (prompt, prompt)]
