"""The corpus of bad endings (`bad_streams/`), each case through the real exchange: seen, blamed, billed, counted."""

import itertools
import json
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from hermes_router.core.catalog import Capability, Claim, DialectName, Known, Quirk, TargetFacts
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import ExchangeRecord
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Caller
from hermes_router.engine.context import Engine
from hermes_router.engine.exchange import Question
from hermes_router.engine.question import make_question
from hermes_router.wire.chat import request as openai_chat
from hermes_router.wire.messages import request as messages_request
from hermes_router.wire.responses import request as responses_request

from ..fakes import Reply, Run, World, target, turns
from .bad_streams.caller import Heard, listen, read
from .bad_streams.corpus import CHAPTERS, DIALECTS, Case, load
from .bad_streams.upstream import ANSWER, CALL, HALF, THOUGHT, USAGE, Actor

CASES = load()
NAMES = ("first", "second", "third")
PARSE = {
    "chat": openai_chat.parse_request,
    "messages": messages_request.parse_request,
    "responses": responses_request.parse_request,
}
MESSAGES_STATUS = {503: 529}
HEAD_S, KEEP_ALIVE_S = 15.0, 10.0  # contract.md, Answers and Keep-alives
STEP_S = 1.0  # of the clock in these tests, which pass hours
TICK_S = 1.0 + STEP_S  # with that of the sweeps
BITE = 61  # bytes of a read: no frame's length
PATIENCE_S = 700.0  # of the test: longer than any limit
ASKED = "Tell me about the mill."
TOOL = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
}
SCHEMA = {
    "type": "object",
    "properties": {"mill": {"type": "string"}},
    "required": ["mill"],
    "additionalProperties": False,
}
TEXTS = {"ANSWER": ANSWER, "HALF": HALF, "HALF + 36": ANSWER[: len(HALF) + 36]}


class Kept:
    """A Recorder."""

    def __init__(self) -> None:
        self.records: list[ExchangeRecord] = []

    def put(self, record: ExchangeRecord) -> None:
        self.records.append(record)


def asked_model(case: Case) -> str:
    """The name that the caller asks for."""
    return "first/m" if case.asked == "pin" else "hermes-router"


def body(caller: str, case: Case) -> dict[str, Any]:
    """What the caller asks, in its dialect."""
    asked: dict[str, Any] = {"model": asked_model(case), "stream": not case.whole}
    turn = [{"role": "user", "content": ASKED}]
    if caller == "chat":
        asked |= {"messages": turn} | ({} if case.whole else {"stream_options": {"include_usage": True}})
        tool = {"type": "function", "function": {"name": CALL[0], "parameters": TOOL}}
        json_format = {"response_format": {"type": "json_schema", "json_schema": {"name": "mill", "schema": SCHEMA}}}
        thinking = {"reasoning_effort": "medium"}
    elif caller == "messages":
        asked |= {"messages": turn, "max_tokens": 2_000}
        tool = {"name": CALL[0], "input_schema": TOOL}
        json_format = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1_024}}
    else:
        asked |= {"input": turn}
        tool = {"type": "function", "name": CALL[0], "parameters": TOOL}
        json_format = {"text": {"format": {"type": "json_schema", "name": "mill", "schema": SCHEMA}}}
        thinking = {"reasoning": {"effort": "medium", "summary": "auto"}}
    extra: dict[str, dict[str, Any]] = {
        "tools": {"tools": [tool]}, "live": {"tools": [tool]}, "json": json_format, "thoughts": thinking,
        "thoughts and tools": {**thinking, "tools": [tool]}, "audio": {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "mp3"}}, "many": {"n": 2}, "logprobs": {"logprobs": True},
    }  # fmt: skip
    return asked | extra.get(case.asked, {})


def settings(case: Case) -> Settings:
    """What the owner has set."""
    live = {"stream_tool_args": "live"} if case.asked == "live" else {}
    return Settings(patience_s=0.0, **live)  # type: ignore[arg-type]


def speaks(name: str, dialect: DialectName, case: Case) -> TargetFacts:
    """A target that speaks one dialect, and can do whatever the cases ask for."""
    facts = target(f"{name}/m", rejection="anthropic" if dialect == "anthropic_messages" else "openai")
    can = dict.fromkeys(
        (
            Capability.TOOLS,
            Capability.PARALLEL_TOOLS,
            Capability.MULTIPLE,
            Capability.LOGPROBS,
            Capability.AUDIO,
            Capability.JSON_SCHEMA,
            Capability.JSON_OBJECT,
            Capability.REASONING,
        ),
        Claim(Known.YES),
    )
    if name in case.prefill:
        can[Capability.PREFILL] = Claim(Known.YES)
    model = replace(facts.model, capabilities={**facts.model.capabilities, **can})
    url = f"http://{name}.invalid/v1"
    provider = replace(facts.provider, endpoints={dialect: url}, models=(model,))
    quirks = frozenset({Quirk.PREFILL_PREFIX, Quirk.PREFILL_ECHOED} if name in case.echoes else ())
    return replace(
        facts, quirks=quirks, provider=provider, model=model, dialect=dialect, base_url=url, endpoints={dialect: url}
    )


def question(engine: Engine, caller: str, case: Case) -> Question:
    """The request as the route hands it over."""
    inbound = PARSE[caller](json.dumps(body(caller, case)).encode(), {})
    return make_question(engine, inbound, Caller(RouterKeyId("rk")), {}, "req_1")


class Stage:
    """One case, played for one caller; `shift` chooses the dialects of those who are to help."""

    def __init__(self, case: Case, caller: str, shift: int, bite: int = 0) -> None:
        self.case = case
        self.caller = caller
        scripts = [case.first, case.second, *([case.third] if case.third is not None else [])]
        # In Responses an assistant's item is history: no prefill; and none but Chat's are echoed.
        helpers = list(DIALECTS)[: 1 if case.echoes else 2 if case.prefill else 3]
        spoken = [case.upstream, *(helpers[(shift + number) % len(helpers)] for number in range(len(scripts) - 1))]
        self.actors = {
            name: Actor(DIALECTS[each], f"{name}-model", script, bite=bite)
            for name, each, script in zip(NAMES, spoken, scripts, strict=False)
        }
        self.world = World(
            *(speaks(name, actor.dialect, case) for name, actor in self.actors.items()), settings=settings(case)
        )
        self.kept = Kept()
        self.world.engine.recorder = self.kept
        self.played = 0
        self.heard_at = [self.world.clock.mono()]

    async def elapse(self, seconds: float) -> None:
        """Time goes by; what is due happens."""
        if seconds:
            await self.world.later(seconds, STEP_S)
        else:
            await turns(4)

    def _listen(self, reply: Reply) -> None:
        """Note when the caller hears something."""
        write = reply.write

        def heard(data: bytes) -> None:
            self.heard_at.append(self.world.clock.mono())
            write(data)

        reply.write = heard  # type: ignore[method-assign]

    async def run(self) -> Heard:
        """Ask, to the end."""
        world, flights = self.world, self.world.transport.flights
        run = Run(world, question(world.engine, self.caller, self.case))
        if run.reply is not None:
            self._listen(run.reply)
        until = world.clock.mono() + PATIENCE_S
        while not run.task.done():
            await self.elapse(0.0)
            if len(flights) > self.played:
                flight = flights[self.played]
                self.played += 1
                await self.actors[flight.provider].play(flight, self.elapse)
            elif not run.task.done():
                await self.elapse(1.0)
                assert world.clock.mono() < until, "the exchange hangs"
        self.rendered = run.task.result()
        self.told = dict(run.out.head or {}) if self.rendered is None else self.rendered.headers
        self.status = 200 if self.rendered is None else self.rendered.status
        assert len(flights) == self.played
        dialect = DIALECTS[self.caller]
        self.raw = run.out.raw if self.rendered is None else self.rendered.body
        return listen(dialect, self.raw) if self.rendered is None else read(dialect, json.loads(self.rendered.body))

    def blamed(self) -> tuple[str, ...]:
        """Who rests, or is counted against."""
        found = []
        for facts in self.world.facts:
            slot = self.world.engine.state.slot(facts.target)
            assert slot is not None
            kinds = {kind for kind, cell in slot.cells.items() if cell.pause or cell.cooldown}
            if not kinds and slot.provider_breaker.consecutive:
                kinds = {"provider"}
            if not kinds and slot.model_breaker.consecutive:
                kinds = {"model"}
            found += [f"{facts.target.provider}: {kind.replace('_', ' and ')}" for kind in sorted(kinds)]
        return tuple(found)

    def billed(self) -> tuple[str, ...]:
        """What is accounted, attempt by attempt."""
        (record,) = self.kept.records
        return tuple(
            "nothing" if not one.billed else "estimated" if one.estimated else "reported" for one in record.attempts
        )

    def bills(self, want: Case) -> tuple[str, ...]:
        """The same as it is promised, to targets of these dialects."""
        begun = {
            name: "reported" if actor.dialect == "anthropic_messages" else "estimated"
            for name, actor in self.actors.items()
        }
        return tuple(
            begun[name] if bill == "begun" else bill for name, bill in zip(want.turns, want.billed, strict=True)
        )


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
async def test_a_bad_ending(number: int) -> None:
    """Whoever calls: what it sees, who is asked and how, who is blamed, billed and counted, is as promised."""
    case = CASES[number]
    for position, caller in enumerate(case.callers):
        try:
            await _prove(case, caller, number + position)
        except AssertionError as error:
            error.add_note(f"{case.name}: a caller of {caller}")
            raise


@pytest.mark.parametrize("chapter", CHAPTERS)
async def test_where_reads_are_cut_changes_nothing(chapter: str) -> None:
    """The same cases, a few bytes at a time, each for one caller: what is promised does not hang on a frame's border."""
    cases = [(number, case) for number, case in enumerate(CASES) if case.chapter == chapter]
    for number, case in cases:
        caller = case.callers[number // len(DIALECTS) % len(case.callers)]
        try:
            await _prove(case, caller, number, BITE)
        except AssertionError as error:
            error.add_note(f"{case.name}: a caller of {caller}")
            raise


async def _prove(case: Case, caller: str, shift: int, bite: int = 0) -> None:
    stage = Stage(case, caller, shift, bite)
    want = case.passed() if caller == case.upstream else case
    heard = await stage.run()
    (record,) = stage.kept.records
    assert [each.provider for each in record.attempts] == list(want.turns)
    assert [flight.provider for flight in stage.world.transport.flights] == list(want.turns)
    seen(want, caller, stage, heard)
    told(want, stage, heard)
    assert tuple(one.outcome for one in record.attempts if one.outcome != "ok") == want.failed
    orders = {name: iter(actor.orders) for name, actor in stage.actors.items()}
    assert tuple(next(orders[name]) for name in want.turns) == want.by
    assert tuple("" if one.by == "anew" else one.by for one in record.attempts) == want.by
    if heard.good and not case.whole and not want.calls:
        assert sum(one.shown_chars for one in record.attempts) == len(heard.text) + len(heard.reasoning)
    assert stage.blamed() == want.blamed
    assert stage.billed() == stage.bills(want)
    moved = {name: number for name, number in asdict(stage.world.engine.counters).items() if number}
    assert moved == {"exchanges": 1, **want.counters}
    assert stage.world.inflight == 0
    pauses = [after - before for before, after in itertools.pairwise(stage.heard_at)]
    assert max(pauses[:1], default=0.0) <= HEAD_S + TICK_S, "the head is late"
    assert max(pauses[1:], default=0.0) <= KEEP_ALIVE_S + TICK_S, "the caller is not kept alive"
    assert all(answer.over or answer.aborted for actor in stage.actors.values() for answer in actor.answers)


def seen(want: Case, caller: str, stage: Stage, heard: Heard) -> None:
    """What the caller has in the end."""
    assert "boom" not in stage.raw.decode(), "a provider's own words"
    assert len(heard.models - {asked_model(want)}) <= 1, "the model changes within a stream"  # its own: keep-alives
    assert len(heard.ids) <= 1, "the id changes within a stream"
    assert heard.reasoning == (THOUGHT if want.thoughts else "")
    if want.gets == "status":
        assert stage.status == (MESSAGES_STATUS.get(want.status, want.status) if caller == "messages" else want.status)
        assert heard.error
        if want.status != 400:
            listed = [one["class"] for one in heard.error["attempts"]]
            assert listed == list(want.failed)
            assert want.status == 504 or int(stage.told["retry-after"]) >= 1
        return
    assert stage.status == 200
    assert heard.text == TEXTS.get(str(want.text), want.text)
    assert (heard.good, heard.error is None) == (want.gets != "error", want.gets != "error")
    if heard.good:
        assert heard.finish == want.finish
        assert [(name, value) for _, name, value in heard.calls] == [(CALL[0], json.loads(CALL[1]))] * want.calls
        assert len({call_id for call_id, _, _ in heard.calls}) == want.calls
        assert heard.usage is not None
        prompt, completion = heard.usage
        assert prompt in {USAGE[0], stage.kept.records[0].estimated_tokens}, "the prompt counts once"
        if want.gets == "goes on":
            said = len(heard.text) + len(heard.reasoning) + len(CALL[1]) * want.calls
            assert abs(completion - said / 4) <= 1, "the completion is what was shown, of all attempts"
        else:
            assert completion in {USAGE[1], len(heard.text) // 4}


def told(want: Case, stage: Stage, heard: Heard) -> None:
    """Who answered, and after how many attempts: in the head, or behind it where the head could not know."""
    attempts = str(len(want.turns))
    late = [comment for comment in heard.comments if comment.startswith(": hermes ")]
    if heard.good and late:
        (comment,) = late
        assert comment.startswith(f": hermes target={want.turns[-1]}/m attempts={attempts}")
    elif heard.good:
        assert stage.told["x-hermes-target"] == f"{want.turns[-1]}/m"
        assert stage.told["x-hermes-attempts"] == attempts
    elif want.gets == "status":
        assert stage.told["x-hermes-attempts"] == attempts
    else:
        assert not late
