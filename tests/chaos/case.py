"""One case: a caller, a question, a pool of providers of different tempers, and faults, all drawn from one seed.

Owns the pool, the playing of the real exchange against it, and what is kept of each attempt. What the outcome is worth
is judged elsewhere.
"""

import asyncio
import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import structs

from hermes_router.core.catalog import Capability, Claim, Known, Quirk, TargetFacts
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.ports import Outbound
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Caller
from hermes_router.engine.exchange import Exchange
from hermes_router.engine.question import make_question

from ..fakes import World, target
from . import faults, scripts, writing
from .answers import answer_to
from .callers import DIALECTS, question
from .hand import Hand, hand_of
from .hearing import Refused, hear
from .model import CHARS_PER_TOKEN, Reply, Temper, reply
from .reading import read_stream, read_whole
from .stage import Listener, Stage, Stuck
from .told import Told

RATE = 0.75
CAP = 3
_PATHS = {"/chat/completions": "openai_chat", "/messages": "anthropic_messages", "/responses": "openai_responses"}
_STEADY = (
    Temper(), Temper(), Temper("takes"), Temper("takes", flag="partial"), Temper("echoes", flag="prefix"),
    Temper("refuses"),
)  # fmt: skip
_STRANGE = (
    Temper(anchor="newline"), Temper(anchor="preamble"), Temper(anchor="overlap"), Temper(anchor="anew"),
    Temper(anchor="summary"), Temper("anew"), Temper("anew"),
)  # fmt: skip
_QUIRKS = {
    "prefix": frozenset({Quirk.LAST_NOT_ASSISTANT, Quirk.PREFILL_PREFIX, Quirk.PREFILL_ECHOED}),
    "partial": frozenset({Quirk.PREFILL_PARTIAL}),
}
KINDS = {"plain": 78, "capped": 8, "bound": 4, "live": 4, "few": 3, "doomed": 3}
"""What sort of case, and how often: see Outcome."""
_FORMATS: dict[str, dict[str, Any]] = {
    "openai_chat": {"response_format": {"type": "json_object"}},
    "anthropic_messages": {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    "openai_responses": {"text": {"format": {"type": "json_object"}}},
}
_CAPS = {"openai_chat": "max_tokens", "anthropic_messages": "max_tokens", "openai_responses": "max_output_tokens"}
_MOST_EMPTY = 2  # a third provider that has nothing to say proves that it is the request


@dataclass(frozen=True)
class Provider:
    """One fake provider, and the target that it is to the router."""

    name: str
    facts: TargetFacts
    temper: Temper
    hand: Hand
    reasons: bool


@dataclass(frozen=True)
class Attempt:
    """What became of one request to a provider. `how` it was asked: anew, prefill or anchor."""

    provider: str
    dialect: str
    how: str
    fault: str
    whole: bool
    disobeyed: bool

    def __str__(self) -> str:
        odd = [
            self.fault or "good",
            *(["whole"] if self.fault and self.whole else []),
            *["disobeyed"][: self.disobeyed],
        ]
        return f"{self.provider}/{self.dialect.partition('_')[2]} {self.how}: {', '.join(odd)}"


@dataclass
class Outcome:
    """What came of a case.

    `kind`: `plain`; `capped` by the caller, at `cap_tokens`; `bound` to a shape that nobody else may go on with; `live`
    = calls are shown as they come; `few` = as many faults as targets; `doomed` = every attempt meets a fault.
    """

    number: int
    ask: int
    dialect: str
    streamed: bool
    kind: str
    cap_tokens: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    stuck: bool = False
    unsettled: int = 0
    heard: list[tuple[float, bytes]] = field(default_factory=list)
    arrived_mono: float = 0.0
    caller_faults: list[str] = field(default_factory=list)
    reasons: bool = False
    logged: list[Any] = field(default_factory=list)


async def play(seed: int, number: int, *, rate: float = RATE, cap: int = CAP) -> Outcome:
    """Play one case to its end."""
    return await _Case(seed, number, rate, cap).play()


class _Case:
    """A case while it is played."""

    def __init__(self, seed: int, number: int, rate: float, cap: int) -> None:
        self._rng = rng = random.Random(f"{seed}/{number}")
        self._rate, self._cap = rate, cap
        ask = rng.randrange(1, 10**6)
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        self.out = out = Outcome(number, ask, rng.choice(DIALECTS), rng.random() < 0.85, kind)
        if kind == "capped":
            text = answer_to(ask).text
            blank = len(text) - len(text.lstrip())  # an answer that is cut within it is none
            out.cap_tokens = blank // CHARS_PER_TOKEN + rng.randint(2, 3 + len(text) // 3)
        tempers = [rng.choice(_STEADY) for _ in range(2 if kind == "few" else cap + 1)]
        tempers += [rng.choice(_STRANGE) for _ in range(0 if kind == "few" else rng.randint(0, 2))]
        rng.shuffle(tempers)
        self._pool = {name: _provider(name, temper, rng) for name, temper in zip("abcdefghij", tempers, strict=False)}
        self._left = 10**9 if kind == "doomed" else cap
        self._empty = 0

    async def play(self) -> Outcome:
        out, pool = self.out, self._pool
        settings = Settings(patience_s=0.0, stream_tool_args="live" if out.kind == "live" else "whole")
        world = World(*(one.facts for one in pool.values()), settings=settings)
        stage = Stage(world, self._answer)
        more = _FORMATS[out.dialect] if out.kind == "bound" else {}
        if out.cap_tokens is not None:
            more = {_CAPS[out.dialect]: out.cap_tokens}
        inbound = question(out.dialect, out.ask, self._rng, stream=out.streamed, **more)
        asked = make_question(world.engine, inbound, Caller(RouterKeyId("rk")), {}, "req_1")
        listener = Listener(world.clock) if out.streamed else None
        out.arrived_mono = world.clock.mono()
        task = asyncio.ensure_future(Exchange(world.engine, asked, listener).run())
        try:
            await stage.run(task)
        except Stuck:
            out.stuck = True
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return out
        rendered = task.result()
        if rendered is not None:
            out.told = read_whole(out.dialect, rendered.status, rendered.body)
        elif listener is not None:
            out.told = read_stream(out.dialect, listener.raw)
            out.heard, out.caller_faults = listener.heard, listener.faults
        out.unsettled = world.inflight
        out.logged = world.log.lines
        out.reasons = any(pool[one.provider].reasons for one in out.attempts)
        return out

    # -- the providers' side

    def _answer(self, request: Outbound) -> scripts.Script:
        """What comes of a request to one of the providers."""
        host, _, path = request.url.partition("//")[2].partition("/")
        provider = self._pool[host.partition(".")[0]]
        dialect = _PATHS["/" + path.partition("/")[2]]
        rng = self._rng
        try:
            asked = hear(dialect, request.body)
        except Refused as refused:
            self.out.wrong.append(f"a body that {dialect} refuses: {refused}")
            return self._refuse(provider, dialect, "?", str(refused))
        how = "anew" if asked.partial is None else "prefill" if asked.anchor is None else "anchor"
        said = reply(provider.temper, asked, rng, reasons=provider.reasons)
        if said.wrong:
            self.out.wrong.append(said.wrong)
        if said.refused:
            return self._refuse(provider, dialect, how, said.refused)
        hand = provider.hand
        if asked.partial is not None and said.text != said.text.rstrip():
            hand = replace(hand, parts=1)  # what is new of the last one might be nothing but white space
        script = self._script(replace(provider, hand=hand), dialect, said, stream=asked.stream)
        self.out.attempts.append(Attempt(provider.name, dialect, how, script.fault, script.whole, said.disobeyed))
        return script

    def _refuse(self, provider: Provider, dialect: str, how: str, why: str) -> scripts.Script:
        self.out.attempts.append(Attempt(provider.name, dialect, how, "400", whole=False, disobeyed=False))
        body = json.dumps({"error": {"message": why, "type": "invalid_request_error"}}).encode()
        head = scripts.Step(head=(400, scripts.JSON))
        return scripts.Script([head, scripts.Step(data=body), scripts.Step(end=True)], whole=False, fault="400")

    def _script(self, provider: Provider, dialect: str, said: Reply, *, stream: bool) -> scripts.Script:
        rng, ident = self._rng, f"{provider.name}{len(self.out.attempts)}"
        name = ""
        if self._left > 0 and (self.out.kind == "doomed" or rng.random() < self._rate):
            name = faults.draw(rng, stream=stream)
            if name == "empty":
                name = name if self._empty < _MOST_EMPTY else "cut"
                self._empty += 1
            self._left -= 1
        if stream:
            pieces = writing.stream(dialect, said, provider.hand, rng, ident)
            return faults.bad(name, dialect, pieces, rng) if name else scripts.good(pieces, rng)
        body = writing.whole(dialect, said, provider.hand, ident)
        return faults.bad_whole(name, body, rng) if name else scripts.good_whole(body, rng)


def _provider(name: str, temper: Temper, rng: random.Random) -> Provider:
    dialects = rng.sample(DIALECTS, rng.choices((1, 2, 3), (70, 20, 10))[0])
    if temper.flag:  # Chat alone knows them
        dialects = ["openai_chat"]
    facts = target(f"{name}/m", quirks=_QUIRKS.get(temper.flag, frozenset()), aggregate=rng.random() < 0.5)
    url = f"http://{name}.invalid/v1"
    capabilities = dict(facts.model.capabilities)
    capabilities[Capability.PREFILL] = Claim(Known.NO if temper.prefill == "none" else Known.YES)
    capabilities[Capability.PARALLEL_TOOLS] = Claim(Known.YES)
    facts = structs.replace(
        facts,
        dialect=dialects[0],
        base_url=url,
        endpoints=dict.fromkeys(dialects, url),
        model=structs.replace(facts.model, capabilities=capabilities),
    )
    return Provider(name, facts, temper, hand_of(rng), rng.random() < 0.8)
