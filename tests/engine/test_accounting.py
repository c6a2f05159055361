"""What is told of an exchange once it is over: every attempt with what it used, what it cost, and why."""

import asyncio

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import UNKNOWN_PRICE, ModelSpec, Price, PriceClass, TargetFacts
from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import Truncated, Unreachable
from hermes_router.core.events import Usage
from hermes_router.core.ids import ModelId
from hermes_router.core.records import AttemptRecord, ExchangeRecord
from hermes_router.engine.accounting import Recent, consumed, cost_microusd, owners_money
from hermes_router.engine.exchange import Exchange
from hermes_router.routing.names import Pin

from ..fakes import (
    DONE,
    ROLE,
    START,
    STOP,
    USAGE,
    Flight,
    World,
    answers,
    chunk,
    completion,
    fails,
    refuses,
    say,
    streams,
    target,
    turns,
)

PRICE = Price(input_microusd=3_000_000, output_microusd=15_000_000, cached_microusd=300_000)
EARLY_USAGE = (
    b'data: {"id":"up-1","object":"chat.completion.chunk","created":1790000000,"model":"up-model","choices":[],'
    b'"usage":{"prompt_tokens":50,"completion_tokens":0,"total_tokens":50}}\n\n'
)


def world(*names: str | TargetFacts, kept: int = 500) -> World:
    made = World(*names)
    made.engine.recorder = Recent(kept=kept)
    return made


def record(made: World) -> ExchangeRecord:
    """The record of the last exchange."""
    assert isinstance(made.engine.recorder, Recent)
    found = made.engine.recorder.request("req_1")
    assert found is not None
    return found


def priced(name: str, price: Price = PRICE, price_class: PriceClass = PriceClass.PAID) -> TargetFacts:
    facts = target(name, price=price_class)
    return replace(facts, model=replace(facts.model, price=price))


def prompt_tokens(made: World) -> int:
    return made.question().demand.input_tokens


def told_costs(made: World) -> list[int | None]:
    """What the ledger is told that attempts cost, as they are settled."""
    found: list[int | None] = []
    settle = made.engine.state.settle

    def spy(*args: object, cost_microusd: int | None = None, **given: object) -> None:
        found.append(cost_microusd)
        settle(*args, cost_microusd=cost_microusd, **given)  # type: ignore[arg-type]

    made.engine.state.settle = spy  # type: ignore[method-assign, assignment]
    return found


# --- money ----------------------------------------------------------------------------------------------------


def spec(price: Price, price_class: PriceClass = PriceClass.PAID) -> ModelSpec:
    return ModelSpec(ModelId("m"), price=price, price_class=price_class)


@pytest.mark.parametrize(("usage", "cost"), [
    (Usage(1_000_000, 0), 3_000_000),
    (Usage(0, 1_000_000), 15_000_000),
    (Usage(1_000, 100), 4_500),
    (Usage(1_000, 0, cached_tokens=1_000), 300),
    (Usage(1_000, 0, cached_tokens=400), 1_920),
    (Usage(1_000, 0, cached_tokens=9_999), 300),
    (Usage(), 0),
])  # fmt: skip
def test_a_prompt_is_paid_once_its_cached_part_at_its_own_price(usage, cost) -> None:
    """`input_tokens` holds the cached ones; no more of them are cached than there are."""
    assert cost_microusd(spec(PRICE), usage) == cost


def test_without_a_price_of_their_own_cached_tokens_cost_as_others_do() -> None:
    """None is not nothing."""
    assert cost_microusd(spec(Price(3_000_000, 0)), Usage(1_000, 0, cached_tokens=1_000)) == 3_000


def test_parts_of_a_microdollar_are_rounded() -> None:
    """Money is an integer, and many small requests must add up to about the truth."""
    assert cost_microusd(spec(Price(50_000, 0)), Usage(9, 0)) == 0
    assert cost_microusd(spec(Price(50_000, 0)), Usage(10, 0)) == 1


@pytest.mark.parametrize(("price_class", "cost"), [
    (PriceClass.FREE, 0), (PriceClass.SUBSCRIPTION, 0), (PriceClass.FREE_CREDIT, 3_000), (PriceClass.PAID, 3_000),
])  # fmt: skip
def test_what_is_free_or_flat_costs_nothing_by_the_token(price_class, cost) -> None:
    """Free credit is spent at the price, although nobody pays yet."""
    assert cost_microusd(spec(PRICE, price_class), Usage(1_000, 0)) == cost


@pytest.mark.parametrize(("price_class", "paid"), [
    (PriceClass.FREE, 0), (PriceClass.SUBSCRIPTION, 0), (PriceClass.FREE_CREDIT, 0), (PriceClass.PAID, 3_000),
])  # fmt: skip
def test_only_what_is_paid_is_the_owners_money(price_class, paid) -> None:
    """Free credit is spent, and is not his."""
    assert owners_money(spec(PRICE, price_class), 3_000) == paid


# --- what a failed attempt used -------------------------------------------------------------------------------


@pytest.mark.parametrize(("reported", "chars", "used"), [
    (None, 0, Usage(70, 0, estimated=True)),
    (None, 9, Usage(70, 3, estimated=True)),
    (Usage(11, 2), 9, Usage(11, 2)),
    (Usage(11, 0), 0, Usage(11, 0)),
    (Usage(11, 0), 9, Usage(11, 3, estimated=True)),
    (Usage(0, 0), 9, Usage(70, 3, estimated=True)),
])  # fmt: skip
def test_what_was_reported_counts_unless_it_leaves_the_answer_out(reported, chars, used) -> None:
    """A usage sent ahead of the text says nothing of the text."""
    assert consumed(reported, 70, chars) == used


# --- records --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_recorded_with_its_usage_and_cost(stream) -> None:
    """One attempt, as reported; what routing thought of the request stands beside it."""
    made = world(priced("a/m"))
    made.transport.on("a", streams() if stream else answers())
    await made.ask(stream=stream)
    told = record(made)
    (attempt,) = told.attempts
    assert (told.outcome, told.stream, told.router_key, told.dialect) == ("answered", stream, "rk", "openai_chat")
    assert (told.model, told.at, told.difficulty) == ("hermes-router", START, made.question().demand.difficulty)
    assert told.estimated_tokens == prompt_tokens(made)
    assert (attempt.target, attempt.tail, attempt.outcome, attempt.status) == ("a/m#k1-a", "abcd", "ok", 200)
    assert (attempt.input_tokens, attempt.output_tokens, attempt.estimated) == (11, 2, False)
    assert (attempt.billed, attempt.cost_microusd, attempt.unpriced) == (True, 63, False)
    assert attempt.why


async def test_the_attempts_that_failed_are_recorded_and_the_caller_is_told_of_its_answer_alone() -> None:
    """A refusal used nothing; its status, words and return are kept. The caller's usage stays that of the answer."""
    made = world("a/m", "b/m")
    made.transport.on("a", refuses(429, {"message": "slow down"}, {"retry-after": "7"}))
    made.transport.on("b", streams())
    run = await made.ask(stream_options={"include_usage": True})
    first, second = record(made).attempts
    assert (first.outcome, first.status, first.said, first.retry_at) == ("limited", 429, "slow down", START + 7)
    assert (first.billed, first.input_tokens, first.output_tokens) == (False, 0, 0)
    assert (second.outcome, second.input_tokens) == ("ok", 11)
    assert run.out.events[-2]["usage"]["total_tokens"] == 13


async def test_times_are_of_each_attempt() -> None:
    """When it was sent, how long it took, and to its first token; the exchange has its own from the arrival."""
    made = world("a/m", "b/m")
    run = made.start()
    await turns()
    await made.later(2.0)
    made.transport.last.answer(500, {"error": {"message": "boom"}})
    await turns()
    await made.later(1.0)
    flight = made.transport.last.head()
    flight.data(ROLE, say("hel"))
    await made.later(3.0)
    flight.data(say("lo"), STOP, USAGE, DONE).end()
    await run.over()
    told = record(made)
    first, second = told.attempts
    assert (told.at, told.duration_s) == (START, 6.0)
    assert (first.sent_at, first.duration_s, first.ttft_s) == (START, 2.0, None)
    assert (second.sent_at, second.duration_s, second.ttft_s) == (START + 2.0, 4.0, 1.0)


async def test_a_caller_who_is_slow_to_take_the_end_is_not_the_providers_time() -> None:
    """The attempt is over with the last byte that came; the exchange with the last that went."""
    made = world("a/m")
    made.transport.on("a", streams())
    run = made.start()
    run.out.slow_end = asyncio.Event()
    await turns(20)
    await made.later(5.0)
    run.out.slow_end.set()
    await run.over()
    told = record(made)
    assert (told.duration_s, told.attempts[0].duration_s) == (5.0, 0.0)


async def test_a_stream_cut_unseen_is_billed_by_estimate_beside_the_answer() -> None:
    """The provider took the request: its prompt is counted, although the caller never saw it fail."""
    made = world(priced("a/m"), priced("b/m"))
    made.transport.on("a", lambda flight: flight.head().data(ROLE).fail(Truncated("cut")))
    made.transport.on("b", lambda flight: flight.head().data(ROLE).fail(Truncated("cut")))
    await made.ask()
    for attempt in record(made).attempts:
        assert (attempt.outcome, attempt.billed, attempt.estimated) == ("cut", True, True)
        assert (attempt.input_tokens, attempt.output_tokens) == (prompt_tokens(made), 0)
        assert attempt.cost_microusd == 3 * prompt_tokens(made)


async def test_a_stream_cut_in_sight_is_billed_by_what_was_shown() -> None:
    """Four characters a token, as everywhere."""
    made = world(priced("a/m"))
    run = made.start()
    await turns()
    flight = made.transport.last.head()
    flight.data(ROLE, say("twelve chars"))
    await turns()
    flight.fail(Truncated("cut"))
    await turns()
    made.transport.last.fail(Unreachable("gone"))  # it is asked once more, to go on
    await run.over()
    told = record(made)
    assert (told.attempts[0].shown_chars, told.attempts[1].by) == (12, "anchor")
    assert (told.outcome, told.attempts[0].output_tokens, told.attempts[0].estimated) == ("NoTarget", 3, True)


async def test_a_prompt_that_was_reported_ahead_counts_for_the_stream_that_was_cut() -> None:
    """What is known is not estimated."""
    made = world("a/m")
    made.transport.on("a", lambda flight: flight.head().data(ROLE, EARLY_USAGE).fail(Truncated("cut")))
    await made.ask()
    attempt = record(made).attempts[0]
    assert (attempt.input_tokens, attempt.output_tokens, attempt.estimated) == (50, 0, False)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_empty_answer_with_a_usage_was_paid_for(stream) -> None:
    """A model that thought its whole allowance away shows nothing, and the provider bills it."""

    def play(flight: Flight) -> Flight:
        if stream:
            return flight.stream(ROLE, chunk({}, "length"), USAGE, DONE)
        return flight.answer(200, completion("", finish="length"))

    made = world(priced("a/m"))
    made.transport.on("a", play)
    await made.ask(stream=stream)
    attempt = record(made).attempts[0]
    assert (attempt.outcome, attempt.input_tokens, attempt.output_tokens) == ("empty", 11, 2)
    assert (attempt.estimated, attempt.billed, attempt.cost_microusd) == (False, True, 63)


async def test_a_refusal_inside_a_200_is_a_refusal() -> None:
    """An error object that blames a quota, in place of an answer, is not billed."""
    made = world(priced("a/m"))
    error = {"error": {"message": "Rate limit exceeded", "code": 429}}
    made.transport.on("a", lambda flight: flight.answer(200, error))
    await made.ask(stream=False)
    (attempt,) = record(made).attempts
    assert (attempt.outcome, attempt.billed, attempt.input_tokens, attempt.cost_microusd) == ("limited", False, 0, 0)


async def test_what_never_got_there_is_not_billed() -> None:
    """No connection, and no secret any more: attempts all the same, and `hr request` shows them."""
    made = world("a/m", "b/m")
    made.transport.on("a", fails(lambda: Unreachable("refused")))
    made.authorizer.gone.add("k1-b")
    await made.ask(stream=False)
    told = record(made)
    assert told.outcome == "NoTarget"
    assert [(each.outcome, each.status, each.billed) for each in told.attempts[:2]] == [
        ("unreachable", None, False),
        ("rejected_key", None, False),
    ]
    logged = str(made.log.fields("exchange.done")["attempts"]).split()
    assert logged == [f"{each.target}:{each.outcome}" for each in told.attempts]


@pytest.mark.parametrize(("heard", "billed", "tokens"), [(False, False, 0), (True, True, 3)])
async def test_a_caller_who_leaves_is_recorded_too(heard, billed, tokens) -> None:
    """The cancelled exchange has its record: what was shown until then was spent."""
    made = world("a/m")
    run = made.start()
    await turns()
    if heard:
        made.transport.last.head().data(ROLE, say("twelve chars"))
        await turns()
    await run.leave()
    told = record(made)
    (attempt,) = told.attempts
    assert (told.outcome, attempt.outcome) == ("caller_left", "abandoned")
    assert (attempt.billed, attempt.output_tokens) == (billed, tokens)


async def test_an_exchange_without_any_attempt_has_a_record() -> None:
    """A refused request counts as one."""
    made = world("a/m")
    await made.ask(stream=False, pin=Pin("nowhere", "m"))
    assert record(made).attempts == ()
    assert record(made).outcome != "answered"


async def test_a_paid_target_without_a_price_is_marked() -> None:
    """Its cost is unknown, not zero; a refusal of it cost nothing and is not marked."""
    made = world(priced("a/m", Price()), priced("b/m", Price()))
    made.transport.on("a", refuses(500))
    made.transport.on("b", answers())
    await made.ask(stream=False)
    assert [(each.unpriced, each.cost_microusd) for each in record(made).attempts] == [(False, 0), (True, 0)]


async def test_a_model_of_unknown_price_costs_budgets_as_much_as_the_dearest() -> None:
    """$15 a million in and $75 out are claimed and settled; usage still says that nobody knows."""
    made = world(priced("a/m", UNKNOWN_PRICE))
    made.transport.on("a", answers())
    costs = told_costs(made)
    await made.ask(stream=False)
    assert [(each.unpriced, each.cost_microusd) for each in record(made).attempts] == [(True, 0)]
    assert costs == [11 * 15 + 2 * 75]


async def test_free_targets_need_no_price() -> None:
    """Nothing is missing from the sum."""
    made = world("a/m")
    made.transport.on("a", answers())
    await made.ask(stream=False)
    assert record(made).attempts[0].unpriced is False


async def test_an_absurd_usage_does_not_burst_the_sums() -> None:
    """Sums of what providers say must fit 64 bits: more than a thousand million tokens is no count."""
    made = world(priced("a/m"))
    said = completion()
    said["usage"] = {"prompt_tokens": 2**62, "completion_tokens": 2**62, "total_tokens": 2**62}
    made.transport.on("a", lambda flight: flight.answer(200, said))
    await made.ask(stream=False)
    assert record(made).attempts[0].input_tokens == record(made).attempts[0].output_tokens == 1_000_000_000


async def test_what_a_caller_or_a_provider_says_at_length_is_cut() -> None:
    """A record stays small whatever is sent: names, excerpts and warnings have an end."""
    made = world("a/m")
    made.transport.on("a", refuses(500, {"message": "x" * 5_000}))
    question = made.question(stream=False, model="m" * 5_000)
    notices = tuple(Notice("dropped", str(number)) for number in range(500))
    await Exchange(made.engine, question._replace(notices=notices), None).run()
    told = record(made)
    assert (len(told.model), len(told.attempts[0].said), len(told.warnings)) == (200, 200, 20)


# --- the last records -----------------------------------------------------------------------------------------


def a_record(request_id: str, *outcomes: str) -> ExchangeRecord:
    attempts = tuple(AttemptRecord("a", "m", "k1-a", "abcd", outcome) for outcome in outcomes)
    return ExchangeRecord(request_id, START, "rk", "openai_chat", "m", "", False, "answered", 1.0, 1, 1, attempts)


def test_the_last_records_are_bounded_and_the_latest_of_an_id_is_found() -> None:
    """Memory does not grow with requests."""
    recent = Recent(kept=3)
    again = a_record("b", "ok")
    for made in (a_record("a"), a_record("b"), a_record("c"), again):
        recent.put(made)
    assert recent.request("a") is None
    assert recent.request("b") is again
    assert recent.request("c") is not None


def test_the_last_errors_come_latest_first_across_exchanges() -> None:
    """The failures of one exchange, then those of the one before."""
    recent = Recent()
    recent.put(a_record("a", "limited", "ok"))
    recent.put(a_record("b", "broken", "cut", "abandoned"))
    assert [(each.request_id, each.outcome) for each in recent.last_errors(9)] == [
        ("b", "cut"), ("b", "broken"), ("a", "limited"),
    ]  # fmt: skip
    assert len(recent.last_errors(2)) == 2


def test_each_record_is_handed_on() -> None:
    """Memory first, the disk behind it."""
    behind = Recent()
    recent = Recent(behind)
    recent.put(a_record("a"))
    assert behind.request("a") is recent.request("a")


async def test_without_a_recorder_everything_goes_on() -> None:
    """The default keeps nothing."""
    made = World("a/m")
    made.transport.on("a", answers())
    assert (await made.ask(stream=False)).rendered.status == 200


# --- what the ledger is told that it cost -----------------------------------------------------------------------


@pytest.mark.parametrize(("turn", "cost"), [
    (answers(), 63),
    (refuses(429), 0),
    (refuses(500), 0),
    (fails(Unreachable), 0),
])  # fmt: skip
async def test_the_ledger_is_told_the_cost_of_every_attempt(turn, cost) -> None:
    """What was answered costs its price; what was refused at the door costs nothing, and is said to."""
    made = world(priced("a/m"))
    made.transport.on("a", turn)
    costs = told_costs(made)
    await made.ask(stream=False)
    assert costs[0] == cost


async def test_a_request_that_nobody_heard_of_again_may_be_billed() -> None:
    """The caller leaves before a head came, or our patience ends: what was claimed stands, since nobody knows."""
    made = world(priced("a/m"))
    costs = told_costs(made)
    left = made.start(stream=False)
    await turns()
    await left.leave()
    assert costs == [None]
    slow = made.start(stream=False, max_tokens=20)
    await made.later(700.0)
    await slow.over()
    assert None in costs[1:]
    assert [attempt.billed for attempt in record(made).attempts] == [False] * len(record(made).attempts)
