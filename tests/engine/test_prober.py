"""What live traffic proves of a model, and which question is asked where it proves nothing."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import Capability, Claim, Known, Price, PriceClass, QuotaRule, TargetFacts
from hermes_router.core.errors import (
    Inexpressible,
    Invalid,
    ModelGone,
    NetworkDown,
    RateLimited,
    ServerFailed,
    TimedOut,
    Truncated,
    Unreachable,
    Unsupported,
)
from hermes_router.core.ids import ModelId, Target
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.engine import prober
from hermes_router.engine.prober import EVERY_S, FIRST_PAUSE_S, MOST_A_DAY, TRAFFIC_S, Question
from hermes_router.routing.learned import CAPABILITY_S, Learnt

from ..fakes import DONE, ROLE, STOP, USAGE, World, chunk, completion, muse, say, target

TOOL = {"type": "function", "function": {"name": "t", "parameters": {"type": "object", "properties": {}}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}, "required": ["k"]}},
}
ALL = (Capability.TOOLS, Capability.IMAGES, Capability.JSON_SCHEMA, Capability.REASONING, Capability.PARALLEL_TOOLS,
       Capability.PREFILL)  # fmt: skip


def bare(
    name: str = "a/m", *, knows: tuple[Capability, ...] = (), source: str = "declared", **given: Any
) -> TargetFacts:
    """A target of which nothing is known but `knows`."""
    made = target(name, **given)
    claims = {what: Claim(Known.YES, source) for what in knows}  # type: ignore[arg-type]
    return replace(made, model=replace(made.model, capabilities=claims))


def calls(number: int) -> list[dict[str, Any]]:
    return [
        {"id": f"c{n}", "index": n, "type": "function", "function": {"name": "t", "arguments": "{}"}}
        for n in range(number)
    ]


def learnt(world: World, what: Capability, index: int = 0) -> Learnt | None:
    facts = world.facts[index]
    memory = world.engine.state.learned.of(facts.target.provider, facts.target.model)
    return memory.learnt(what, world.clock.now())


# --- seen in live traffic ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("number", [1, 2])
async def test_an_answer_with_calls_proves_tools_and_two_prove_parallel_ones(stream: bool, number: int) -> None:
    """One call in a live answer is enough for tools, two for parallel tools; both say that they were seen."""
    world = World(bare())
    if stream:
        frames = (ROLE, chunk({"tool_calls": calls(number)}), chunk({}, "tool_calls"), USAGE, DONE)
        world.transport.on("a", lambda flight: flight.stream(*frames))
    else:
        world.transport.on(
            "a", lambda flight: flight.answer(200, completion(None, "tool_calls", tool_calls=calls(number)))
        )
    await world.ask(stream=stream, tools=[TOOL])
    now = world.clock.now()
    assert learnt(world, Capability.TOOLS) == Learnt(Known.YES, now, "seen")
    assert learnt(world, Capability.PARALLEL_TOOLS) == (Learnt(Known.YES, now, "seen") if number > 1 else None)


async def test_an_answer_in_words_proves_nothing_of_tools() -> None:
    """A model that did not need its tools may well have them."""
    world = World(bare())
    world.transport.on("a", lambda flight: flight.answer(200, completion("words")))
    await world.ask(stream=False, tools=[TOOL])
    assert learnt(world, Capability.TOOLS) is None


@pytest.mark.parametrize("stream", [True, False])
async def test_shown_reasoning_proves_reasoning(stream: bool) -> None:
    """Deltas of a stream, or the field of a whole answer."""
    world = World(bare())
    if stream:
        world.transport.on("a", lambda flight: flight.stream(ROLE, muse("hm"), say("hello"), STOP, USAGE, DONE))
    else:
        world.transport.on("a", lambda flight: flight.answer(200, completion("hello", reasoning_content="hm")))
    await world.ask(stream=stream)
    assert learnt(world, Capability.REASONING) == Learnt(Known.YES, world.clock.now(), "seen")


async def test_hidden_reasoning_is_seen_in_the_bill() -> None:
    """Reasoning tokens that are reported are reasoning."""
    world = World(bare())
    body = completion("hello")
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 40}
    body["usage"]["completion_tokens"] = 42
    world.transport.on("a", lambda flight: flight.answer(200, body))
    await world.ask(stream=False)
    assert learnt(world, Capability.REASONING) is not None


async def test_a_picture_that_is_taken_proves_images() -> None:
    """Who cannot see says so (and is believed at once)."""
    world = World(bare())
    world.transport.on("a", lambda flight: flight.answer(200, completion("a cat")))
    await world.ask(stream=False, messages=[{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}])
    assert learnt(world, Capability.IMAGES) == Learnt(Known.YES, world.clock.now(), "seen")
    error = {"message": "this model does not support image input"}
    world = World(bare())
    world.transport.on("a", lambda flight: flight.answer(400, {"error": error}))
    await world.ask(stream=False, messages=[{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}])
    found = learnt(world, Capability.IMAGES)
    assert found is not None
    assert found.known is Known.NO


@pytest.mark.parametrize(("text", "known"), [('{"k": 1}', True), ('{"other": 1}', False), ("no json", False)])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_keeps_to_the_schema_proves_schemas(text: str, known: bool, stream: bool) -> None:
    """The keys that the caller's schema demands are there; an answer without them proves nothing."""
    world = World(bare())
    if stream:
        world.transport.on("a", lambda flight: flight.stream(ROLE, say(text), STOP, USAGE, DONE))
    else:
        world.transport.on("a", lambda flight: flight.answer(200, completion(text)))
    await world.ask(stream=stream, response_format=SCHEMA)
    assert (learnt(world, Capability.JSON_SCHEMA) is not None) is known


async def test_json_mode_is_proved_by_an_object() -> None:
    """An answer that is one JSON object."""
    world = World(bare())
    world.transport.on("a", lambda flight: flight.answer(200, completion("{}")))
    await world.ask(stream=False, response_format={"type": "json_object"})
    assert learnt(world, Capability.JSON_OBJECT) is not None


async def test_what_is_known_is_not_learned_again() -> None:
    """Row, list and the owner have spoken: an answer adds nothing, and the owner is never contradicted."""
    world = World(bare(knows=(Capability.TOOLS,), source="override"))
    world.transport.on("a", lambda flight: flight.answer(200, completion(None, "tool_calls", tool_calls=calls(1))))
    await world.ask(stream=False, tools=[TOOL])
    assert learnt(world, Capability.TOOLS) is None


async def test_what_an_earlier_attempt_showed_proves_nothing_of_the_next() -> None:
    """Reasoning that the caller saw was the first model's, not the one's that answered."""
    world = World(bare("a/m"), bare("b/m"))

    def cut(flight: Any) -> None:
        flight.head().data(ROLE, muse("hm")).fail(Truncated("cut"))

    world.transport.on("a", cut)
    world.transport.on("b", lambda flight: flight.stream(ROLE, say("hello"), STOP, USAGE, DONE))
    run = await world.ask()
    assert run.reply.good
    assert learnt(world, Capability.REASONING, 1) is None


def test_a_refused_format_is_a_no() -> None:
    """`response_format` refused by name, with a schema asked for."""
    world = World(bare())
    demand = world.question(response_format=SCHEMA).demand
    world.engine.prober.failed(world.facts[0], Unsupported("x", param="response_format"), demand)
    found = learnt(world, Capability.JSON_SCHEMA)
    assert found is not None
    assert found.known is Known.NO


@pytest.mark.parametrize(
    "error",
    [NetworkDown(), Unreachable(), TimedOut("first_token"), Truncated(), ServerFailed(), RateLimited(), Invalid("bad")],
)
def test_w40_no_other_failure_teaches_anything(error: Any) -> None:
    """A boot without network marks nobody tool-less."""
    world = World(bare())
    demand = world.question(tools=[TOOL], response_format=SCHEMA).demand
    world.engine.prober.failed(world.facts[0], error, demand)
    assert not any(learnt(world, what) for what in Capability)


def test_an_unknown_model_is_noted_for_its_list() -> None:
    """A 404 on a model asks for the list sooner; one that is only closed to this account does not."""
    world = World(bare())
    demand = world.question().demand
    world.engine.prober.failed(world.facts[0], ModelGone(scope="account_model"), demand)
    assert world.engine.prober.unknown_models == set()
    world.engine.prober.failed(world.facts[0], ModelGone(), demand)
    assert world.engine.prober.unknown_models == {"a"}
    assert world.engine.prober.refused_at == {("a", "m"): world.clock.now()}


# --- what is asked ------------------------------------------------------------------------------------------


def used(world: World, **fields: Any) -> None:
    """A caller was answered by the first target."""
    question = world.question(**fields)
    world.engine.prober.saw(world.facts[0], question.demand, question.inbound.fields)


def asked(world: World) -> Question | None:
    return world.engine.prober.next_question(world.facts)


def what(world: World) -> Capability | None:
    found = asked(world)
    return None if found is None else found.probe.capability


def test_nobody_asks_without_traffic() -> None:
    """A daemon that nobody uses spends nothing, and one that nobody uses any more stops."""
    world = World(bare())
    assert asked(world) is None
    used(world, tools=[TOOL])
    assert asked(world) is not None
    world.clock.advance(TRAFFIC_S + 1)
    assert asked(world) is None


def test_tools_come_first_and_only_what_callers_want_is_asked() -> None:
    """Tools, images and schemas where somebody asked with them; the rest once there is traffic at all."""
    world = World(bare())
    used(world)
    assert what(world) is Capability.REASONING
    world.clock.advance(EVERY_S)
    used(world, tools=[TOOL])
    assert what(world) is Capability.TOOLS
    world.clock.advance(EVERY_S)
    used(world, response_format=SCHEMA)
    world.engine.state.learn_capability("a", "m", Capability.TOOLS, Known.NO)
    assert what(world) is Capability.JSON_SCHEMA


def test_parallel_tools_are_asked_of_those_that_take_tools() -> None:
    """Whether a model without tools calls two at once is no question."""
    world = World(bare(knows=tuple(c for c in ALL if c is not Capability.PARALLEL_TOOLS)))
    used(world)
    assert asked(world) is None
    used(world, tools=[TOOL])
    assert what(world) is Capability.PARALLEL_TOOLS
    world.clock.advance(EVERY_S)
    world.engine.state.learn_capability("a", "m", Capability.TOOLS, Known.NO)
    assert asked(world) is None


def test_nothing_is_asked_that_is_known() -> None:
    """Declared, listed, seen, probed or said by the owner: no question. What was learned is asked again in a week."""
    world = World(bare(knows=ALL))
    used(world, tools=[TOOL])
    assert asked(world) is None
    world = World(bare(knows=tuple(c for c in ALL if c is not Capability.TOOLS)))
    world.engine.state.adopt(world.engine.snapshot.roster)
    used(world, tools=[TOOL])
    found = asked(world)
    assert found is not None
    world.engine.state.succeeded(world.facts[0].target, world.clock.now(), ttft_s=None, demand=found.demand)
    world.engine.prober.answered(found, Known.NO)
    assert learnt(world, Capability.TOOLS) == Learnt(Known.NO, world.clock.now(), "probed")
    world.clock.advance(EVERY_S)
    assert asked(world) is None
    world.clock.advance(CAPABILITY_S)
    used(world, tools=[TOOL])
    assert what(world) is Capability.TOOLS


@pytest.mark.parametrize("price", [PriceClass.FREE_CREDIT, PriceClass.SUBSCRIPTION, PriceClass.PAID])
def test_paid_quota_is_never_spent(price: PriceClass) -> None:
    """Nor credit, nor a subscription, nor a model that is free by class and has a price all the same."""
    world = World(bare(price=price))
    used(world, tools=[TOOL])
    assert asked(world) is None
    priced = bare()
    world = World(replace(priced, model=replace(priced.model, price=Price(1, 1))))
    used(world, tools=[TOOL])
    assert asked(world) is None


def test_one_question_a_minute_to_one_provider() -> None:
    """Whatever there is to find out."""
    world = World(bare())
    used(world, tools=[TOOL])
    assert asked(world) is not None
    world.clock.advance(EVERY_S - 1)
    assert asked(world) is None
    world.clock.advance(1)
    assert asked(world) is not None


@pytest.mark.parametrize(
    ("limit", "window", "expected"),
    [
        (500, Window.DAY, 10),
        (50, Window.DAY, 1),
        (20, Window.DAY, 0),
        (3_000, Window.MONTH, 2),
        (None, None, MOST_A_DAY),
    ],
)
def test_two_percent_of_a_days_requests_at_most(limit: int | None, window: Window | None, expected: int) -> None:
    """Of 50 a day one, of 20 none; a month counts for thirty days; where nobody knows, twenty."""
    rules = () if limit is None else (QuotaRule(Unit.REQUESTS, limit, window or Window.DAY),)
    world = World(replace(bare(), quotas=rules))
    used(world, tools=[TOOL])
    count = 0
    for _ in range(30):
        found = asked(world)
        count += found is not None
        world.clock.advance(EVERY_S)
        used(world, tools=[TOOL])
    assert count == expected


def test_the_next_day_has_its_own_share() -> None:
    """The count begins anew at midnight, UTC."""
    world = World(replace(bare(), quotas=(QuotaRule(Unit.REQUESTS, 50, Window.DAY, resets="utc"),)))
    used(world, tools=[TOOL])
    assert asked(world) is not None
    world.clock.advance(EVERY_S)
    assert asked(world) is None
    world.clock.advance(86_400)
    used(world, tools=[TOOL])
    assert asked(world) is not None


def test_a_window_that_is_half_spent_is_left_to_callers() -> None:
    """Told or published: with less than half left nothing is asked."""
    world = World(bare())
    now = world.clock.now()
    seen = QuotaSeen("account", Unit.REQUESTS, Window.MINUTE, 10, 4, now + 50)
    world.engine.state.seen(world.facts[0].target, [seen], now)
    used(world, tools=[TOOL])
    assert asked(world) is None
    world.engine.state.seen(world.facts[0].target, [seen._replace(remaining=9)], now)
    assert asked(world) is not None


def test_a_target_in_trouble_or_at_work_is_left_alone() -> None:
    """One that cools is not asked, and where one request at a time is sane, not beside another."""
    world = World(bare())
    used(world, tools=[TOOL])
    world.engine.state.failed(world.facts[0].target, RateLimited(), world.clock.now())
    assert asked(world) is None
    busy = World(replace(bare(), quotas=(QuotaRule(Unit.CONCURRENCY, 1, Window.NONE, "account"),)))
    used(busy, tools=[TOOL])
    slot = busy.engine.state.slot(busy.facts[0].target)
    assert slot is not None
    held = busy.engine.state.reserve(slot, busy.question().demand, busy.clock.now())
    assert asked(busy) is None
    busy.engine.state.settle(held, busy.clock.now(), input_tokens=None, output_tokens=None, sent=True)
    assert asked(busy) is not None


def test_another_key_of_the_same_model_may_be_asked_instead() -> None:
    """What a model can do does not depend on the key."""
    world = World(bare(key="k1"), bare(key="k2"))
    used(world, tools=[TOOL])
    error = RateLimited(scope="credential")
    world.engine.state.failed(world.facts[0].target, error, world.clock.now())
    found = asked(world)
    assert found is not None
    assert found.facts is world.facts[1]


def test_a_disabled_target_is_not_asked() -> None:
    """The owner switched it off."""
    world = World(replace(bare(), disabled="by the owner"))
    used(world, tools=[TOOL])
    assert asked(world) is None


def test_a_local_model_is_asked_while_it_is_in_use() -> None:
    """A question would have its server load a model that nobody has asked for."""
    made = bare()
    world = World(replace(made, credential=made.credential._replace(kind="none")), bare("b/m"))
    question = world.question(tools=[TOOL])
    world.engine.prober.saw(world.facts[1], question.demand, question.inbound.fields)
    assert world.engine.prober.next_question(world.facts[:1]) is None
    used(world, tools=[TOOL])
    assert world.engine.prober.next_question(world.facts[:1]) is not None


def test_a_question_without_an_answer_is_asked_again_later_each_time() -> None:
    """An hour, two, four, … a week at most."""
    world = World(bare(knows=tuple(c for c in ALL if c is not Capability.TOOLS)))
    pause = FIRST_PAUSE_S
    for _ in range(12):
        used(world, tools=[TOOL])
        found = asked(world)
        assert found is not None
        world.engine.prober.answered(found, None)
        world.clock.advance(pause - 1)
        used(world, tools=[TOOL])
        assert asked(world) is None
        world.clock.advance(1)
        pause = min(pause * 2, prober.LONGEST_PAUSE_S)


def test_a_models_turn_comes_when_the_one_before_it_is_known() -> None:
    """Tools of the second model before anything else of the first."""
    world = World(bare("a/one"), bare("a/two"))
    used(world, tools=[TOOL])
    first = asked(world)
    assert first is not None
    world.engine.prober.answered(first, Known.YES)
    world.clock.advance(EVERY_S)
    second = asked(world)
    assert second is not None
    assert (first.name, second.name) == ("a/one tools", "a/two tools")


def test_what_is_kept_is_bounded() -> None:
    """Whatever callers pin, the tables do not grow for ever."""
    world = World(bare())
    question = world.question(tools=[TOOL])
    for number in range(5_000):
        known = world.facts[0].target
        facts = replace(world.facts[0], target=Target(known.provider, ModelId(f"m{number}"), known.credential))
        world.engine.prober.saw(facts, question.demand, question.inbound.fields)
        world.engine.prober.failed(facts, ModelGone(), question.demand)
    assert len(world.engine.prober.answered_at) <= 4_097
    assert len(world.engine.prober.refused_at) <= 4_097


def test_an_odd_schema_of_the_callers_is_nobodys_fault() -> None:
    """A response format that names no keys, or is no schema at all, proves nothing and breaks nothing."""
    world = World(bare())
    for schema in ({}, {"required": "k"}, {"required": [1]}, None):
        question = world.question(response_format={"type": "json_schema", "json_schema": {"schema": schema}})
        world.engine.prober.saw(
            world.facts[0], question.demand, question.inbound.fields, body=json.dumps(completion("{}")).encode()
        )
    assert learnt(world, Capability.JSON_SCHEMA) is None


def test_a_wrong_schema_of_a_callers_says_nothing_of_the_model() -> None:
    """It names `response_format`, too: the next caller's may be a right one."""
    world = World("a/m")
    demand = world.question(response_format=SCHEMA).demand
    for error in (Invalid("x", param="response_format.json_schema"), Inexpressible("x", param="response_format")):
        world.engine.prober.failed(world.facts[0], error, demand)
    learned = world.engine.state.learned.of("a", "m")
    assert learned.capability(Capability.JSON_SCHEMA, world.facts[0].model, world.clock.now()) is not Known.NO


def test_another_version_of_the_list_is_worth_reading() -> None:
    """The version that answers name is the account's: two accounts with lists of their own are no change."""
    world = World(target("a/m", key="k1"), target("a/m", key="k2"))
    one, two = world.facts
    asks = world.engine.prober
    for facts, version in ((one, "1"), (two, "2"), (one, "1"), (two, "2")):
        asks.listed_as(facts, version)
    assert asks.unknown_models == set()
    asks.listed_as(one, "3")
    assert asks.unknown_models == {"a"}
