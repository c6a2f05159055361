"""A tiny question on its way: counted like any request, judged by its answer, and silent about trouble on the way."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import Capability, Known, Quirk, QuotaRule, TargetFacts
from hermes_router.core.errors import NetworkDown, Truncated, Unreachable
from hermes_router.core.observations import Unit, Window
from hermes_router.engine.prober import Question
from hermes_router.engine.probes import PROBES
from hermes_router.engine.trial import LONGEST_S, Verdict, ask
from hermes_router.routing.scheduler import plan
from hermes_router.routing.standing import status

from ..fakes import Turn, World, completion, fails, refuses, turns
from .test_prober import bare

CALL = {"id": "c1", "type": "function", "function": {"name": "colour", "arguments": '{"word": "violet"}'}}


def calls(*made: dict[str, Any]) -> Turn:
    return lambda flight: flight.answer(200, completion(None, "tool_calls", tool_calls=list(made)))


def says(text: str) -> Turn:
    return lambda flight: flight.answer(200, completion(text))


async def tried(
    world: World, what: Capability = Capability.TOOLS, *played: Turn, facts: TargetFacts | None = None
) -> Verdict:
    if played:
        world.transport.on("a", *played)
    task = asyncio.ensure_future(ask(world.engine, Question(facts or world.facts[0], PROBES[what])))
    await turns(12)
    assert task.done(), "it waits"
    return task.result()


def used(world: World, unit: Unit) -> int | None:
    """What a window has left of what it had."""
    slot = world.engine.state.slot(world.facts[0].target)
    assert slot is not None
    [window] = [w for w in status(slot, world.clock.now()).quota if w.unit == unit.value]
    return None if window.limit is None or window.remaining is None else window.limit - window.remaining


async def test_a_call_proves_tools_and_the_question_is_counted() -> None:
    """It goes out unary, small and clean, reserves its request, and settles by what was reported."""
    rules = (QuotaRule(Unit.REQUESTS, 30, Window.MINUTE), QuotaRule(Unit.TOKENS, 9_000, Window.MINUTE))
    world = World(replace(bare(), quotas=rules))
    assert await tried(world, Capability.TOOLS, calls(CALL)) == Verdict(Known.YES)
    [flight] = world.transport.flights
    assert flight.request.url == "http://a.invalid/v1/chat/completions"
    assert not [name for name in flight.request.headers if "hermes" in name]
    assert set(flight.body) == {"model", "messages", "stream", "max_tokens", "tools", "tool_choice"}
    assert (flight.body["stream"], flight.body["model"], flight.body["max_tokens"]) == (False, "m", 256)
    assert len(flight.request.body) < 700
    assert (used(world, Unit.REQUESTS), used(world, Unit.TOKENS)) == (1, 13)
    assert world.inflight == 0


@pytest.mark.parametrize(
    ("what", "text", "known"),
    [
        (Capability.TOOLS, "I cannot call tools.", Known.NO),
        (Capability.JSON_SCHEMA, '{"word": "violet", "count": 1}', Known.YES),
        (Capability.JSON_SCHEMA, "violet, 1", Known.NO),
        (Capability.IMAGES, "yellow and blue", Known.YES),
        (Capability.REASONING, "ready", Known.NO),
        (Capability.PREFILL, "E F G H", Known.YES),
    ],
)
async def test_answers_are_judged(what: Capability, text: str, known: Known) -> None:
    """Each capability by its own answer."""
    assert (await tried(World(bare()), what, says(text))).known is known


async def test_two_calls_prove_parallel_tools() -> None:
    """Both tools, in one answer."""
    other = {"id": "c2", "type": "function", "function": {"name": "shape", "arguments": '{"word": "circle"}'}}
    assert (await tried(World(bare()), Capability.PARALLEL_TOOLS, calls(CALL, other))).known is Known.YES


@pytest.mark.parametrize(
    "turn",
    [
        fails(lambda: NetworkDown("no network")),
        fails(lambda: Unreachable("refused")),
        fails(lambda: Truncated("cut")),
        refuses(500),
        refuses(503),
        refuses(429),
        refuses(400, {"message": "something else is wrong"}),
        lambda flight: flight.answer(200, b"<html></html>"),
        lambda flight: flight.answer(200, {"choices": []}),
        lambda flight: flight.answer(200, {"error": {"message": "upstream down", "code": 502}}),
    ],
)
async def test_w40_trouble_teaches_nothing_of_the_model(turn: Turn) -> None:
    """Network, 5xx, limits, HTML, an empty answer, an error inside a 200: unknown is not no."""
    world = World(bare())
    verdict = await tried(world, Capability.TOOLS, turn)
    assert verdict.known is None
    assert verdict.said
    assert world.engine.state.learned.of("a", "m").capabilities == {}
    assert world.inflight == 0


async def test_a_refusal_that_names_it_is_a_no() -> None:
    """The provider said that this model has no tools."""
    turn = refuses(400, {"message": "this model does not support tools"})
    assert (await tried(World(bare()), Capability.TOOLS, turn)).known is Known.NO


async def test_a_limit_is_heeded() -> None:
    """A 429 on a question is one: the target cools, and the next question is not sent there."""
    world = World(bare())
    await tried(world, Capability.TOOLS, refuses(429, headers={"retry-after": "30"}))
    assert world.status() == "cooling"


async def test_slowness_and_trouble_on_the_way_do_not_blame_the_provider() -> None:
    """A question is nobody's request: a breaker opens for what callers meet."""
    world = World(bare())
    for _ in range(6):
        await tried(world, Capability.TOOLS, fails(lambda: Unreachable("refused")))
    assert world.status() == "ready"


async def test_silence_ends_a_question() -> None:
    """After a minute it is given up, and nothing stays reserved or open."""
    world = World(bare())
    task = asyncio.ensure_future(ask(world.engine, Question(world.facts[0], PROBES[Capability.TOOLS])))
    await turns()
    assert world.inflight == 1
    await world.later(LONGEST_S + 1)
    assert (await task).known is None
    assert world.transport.last.aborted
    assert world.inflight == 0


async def test_a_question_that_is_cancelled_leaves_nothing_behind() -> None:
    """The daemon stops: the connection is closed, the claim settled, the sweeper idle."""
    world = World(bare())
    task = asyncio.ensure_future(ask(world.engine, Question(world.facts[0], PROBES[Capability.TOOLS])))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.transport.last.aborted
    assert world.inflight == 0


async def test_what_its_row_leaves_out_is_not_asked() -> None:
    """A question without its point would prove nothing: it is not sent, and nothing is reserved."""
    allow = frozenset({"model", "messages", "max_tokens", "stream"})
    world = World(bare(allow=allow))
    assert await tried(world) == Verdict(None, "its row does not let the question through", sent=False)
    bridged = World(bare(quirks=frozenset({Quirk.LAST_NOT_ASSISTANT})))
    assert not (await tried(bridged, Capability.PREFILL)).sent
    assert world.transport.flights == bridged.transport.flights == []


async def test_words_are_no_refusal_where_no_call_can_be_demanded() -> None:
    """A target that takes `auto` alone was free to answer in words."""
    world = World(bare(quirks=frozenset({Quirk.TOOL_CHOICE_AUTO_ONLY})))
    assert (await tried(world, Capability.TOOLS, says("no"))).known is None
    assert (await tried(world, Capability.TOOLS, calls(CALL))).known is Known.YES


async def test_a_key_that_is_gone_sends_nothing() -> None:
    """Its secret was removed meanwhile."""
    world = World(bare())
    world.authorizer.gone.add(world.facts[0].credential.id)
    assert not (await tried(world)).sent
    elsewhere = bare("b/other")
    assert not (await tried(World(bare()), facts=elsewhere)).sent


async def test_callers_come_first_while_a_question_is_under_way() -> None:
    """It holds one request's share, and the target serves on beside it."""
    world = World(bare())
    task = asyncio.ensure_future(ask(world.engine, Question(world.facts[0], PROBES[Capability.TOOLS])))
    await turns()
    question = world.question()
    engine = world.engine
    planned = plan(
        question.demand, question.constraint, engine.snapshot.roster, engine.state, "round-robin", world.clock.now(),
        engine.rng,
    )  # fmt: skip
    assert planned.take() is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
