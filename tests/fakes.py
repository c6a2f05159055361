"""The ports, faked: time turned by hand, a transport that the test plays, a caller that only listens.

Nothing here waits: `World.later` moves the clock and runs the sweeps that fall due, `turns` lets tasks go on.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from hermes_router.core.catalog import Capability, Claim, Known, ModelSpec, PriceClass, ProviderSpec, Quirk, TargetFacts
from hermes_router.core.errors import UpstreamError
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, RouterKeyId, Target
from hermes_router.core.ports import Outbound, Sink
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Caller
from hermes_router.engine.attempt import Border
from hermes_router.engine.context import Engine, Generation
from hermes_router.engine.exchange import Exchange, Question
from hermes_router.engine.memory import Memory
from hermes_router.engine.sweep import Sweeper
from hermes_router.routing.demand import Constraint, assess
from hermes_router.routing.names import Pin
from hermes_router.routing.roster import Roster
from hermes_router.routing.state import RoutingState
from hermes_router.wire import ratelimit
from hermes_router.wire.chat.request import parse_request
from hermes_router.wire.openai_errors import Rendered
from hermes_router.wire.rejection import judge

START = 1_790_000_000.0
STEP_S = 0.25
TURNS = 6

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream; charset=utf-8"}


async def turns(number: int = TURNS) -> None:
    """Let every task go on as far as it can."""
    for _ in range(number):
        await asyncio.sleep(0)


class Clock:
    """Both times, moved by hand."""

    def __init__(self, now: float = START, mono: float = 1_000.0) -> None:
        self._now, self._mono = now, mono

    def now(self) -> float:
        return self._now

    def mono(self) -> float:
        return self._mono

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._mono += seconds


class Rng:
    """Randomness that is none."""

    def random(self) -> float:
        return 0.5


class Ids:
    """Identifiers by number."""

    def __init__(self) -> None:
        self.count = 0

    def new(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count:024d}"


class SilentLog:
    """Keeps what would be logged, as (event, fields)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    warning = error = debug = info

    def fields(self, event: str) -> dict[str, object]:
        """The fields of the latest line of this event."""
        return next(fields for name, fields in reversed(self.lines) if name == event)


class Authorizer:
    """Puts the credential's id where the secret would be; `gone` holds ids whose secret is no more."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.agents: list[str] = []

    def headers(self, facts: TargetFacts, *, caller_agent: str) -> Mapping[str, str]:
        if facts.credential.id in self.gone:
            raise KeyError(facts.credential.id)
        self.agents.append(caller_agent)
        return {"authorization": f"Bearer {facts.credential.id}"}


class Flight:
    """One request under way, and the levers to answer it as the transport would."""

    def __init__(self, request: Outbound, sink: Sink) -> None:
        self.request = request
        self.sink = sink
        self.aborted = self.paused = False
        self.pauses = self.resumes = 0

    # -- the port

    def abort(self) -> None:
        self.aborted = True

    def pause(self) -> None:
        self.paused = True
        self.pauses += 1

    def resume(self) -> None:
        self.paused = False
        self.resumes += 1

    # -- the levers; an aborted flight is silent

    def head(self, status: int = 200, headers: Mapping[str, str] = SSE) -> "Flight":
        if not self.aborted:
            self.sink.head(status, headers)
        return self

    def data(self, *chunks: bytes) -> "Flight":
        for chunk in chunks:
            if not self.aborted:
                self.sink.data(chunk)
        return self

    def end(self) -> "Flight":
        if not self.aborted:
            self.sink.end()
        return self

    def fail(self, error: UpstreamError) -> "Flight":
        if not self.aborted:
            self.sink.failed(error)
        return self

    def answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> "Flight":
        """A whole answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.head(status, {**JSON, **(headers or {})}).data(raw).end()

    def stream(self, *frames: bytes) -> "Flight":
        """A whole stream."""
        return self.head().data(*frames).end()

    @property
    def body(self) -> dict[str, Any]:
        """What was asked, parsed."""
        return json.loads(self.request.body)

    @property
    def provider(self) -> str:
        """Whom it went to."""
        return self.request.url.split("//")[1].split(".")[0]


Turn = Callable[[Flight], Any]


class Transport:
    """Keeps every flight. A provider with turns left in its script is answered by the next one, in the loop's next round."""

    def __init__(self) -> None:
        self.flights: list[Flight] = []
        self.script: dict[str, list[Turn]] = {}
        self.refuse: ValueError | None = None

    def on(self, provider: str, *played: Turn) -> None:
        """The next answers of a provider; the last one for ever."""
        self.script[provider] = list(played)

    def send(self, request: Outbound, sink: Sink) -> Flight:
        if self.refuse is not None:
            raise self.refuse
        flight = Flight(request, sink)
        self.flights.append(flight)
        left = self.script.get(flight.provider)
        if left:
            asyncio.get_running_loop().call_soon(left[0] if len(left) == 1 else left.pop(0), flight)
        return flight

    @property
    def last(self) -> Flight:
        return self.flights[-1]


class Reply:
    """The caller's side of a stream. `waiting` is what it has not taken; `slow_end` holds the end back."""

    def __init__(self) -> None:
        self.head: dict[str, str] | None = None
        self.raw = b""
        self.ended = False
        self.waiting = 0
        self.slow_end: asyncio.Event | None = None

    async def start(self, headers: Mapping[str, str]) -> None:
        assert self.head is None, "a head twice"
        self.head = dict(headers)

    def write(self, data: bytes) -> None:
        assert self.head is not None, "bytes before the head"
        assert not self.ended, "bytes after the end"
        self.raw += data

    def waiting_bytes(self) -> int:
        return self.waiting

    async def end(self) -> None:
        self.ended = True
        if self.slow_end is not None:
            await self.slow_end.wait()

    # -- what was heard

    @property
    def events(self) -> list[Any]:
        """Parsed `data` payloads, `[DONE]` as a string."""
        found = [block[6:] for block in self.raw.decode().split("\n\n") if block.startswith("data: ")]
        return [text if text == "[DONE]" else json.loads(text) for text in found]

    @property
    def comments(self) -> list[str]:
        return [block for block in self.raw.decode().split("\n\n") if block.startswith(":")]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [c["delta"] for e in self.events if isinstance(e, dict) for c in e.get("choices", ())]

    @property
    def text(self) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas)

    @property
    def reasoning(self) -> str:
        return "".join(delta.get("reasoning_content") or "" for delta in self.deltas)

    @property
    def finishes(self) -> list[str]:
        found = [c["finish_reason"] for e in self.events if isinstance(e, dict) for c in e.get("choices", ())]
        return [finish for finish in found if finish]

    @property
    def error(self) -> dict[str, Any] | None:
        return next((e["error"] for e in self.events if isinstance(e, dict) and "error" in e), None)

    @property
    def good(self) -> bool:
        """Whether it ended as a good answer does, in every respect."""
        return self.ended and self.events[-1:] == ["[DONE]"] and len(self.finishes) == 1 and self.error is None


# --- frames of a well-behaved upstream ----------------------------------------------------------------------


def chunk(delta: dict[str, Any], finish: str | None = None, *, model: str = "up-model", **more: Any) -> bytes:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    made = {"id": "up-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": model}
    return b"data: " + json.dumps({**made, "choices": [choice], **more}).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
DONE = b"data: [DONE]\n\n"
COMMENT = b": OPENROUTER PROCESSING\n\n"
STOP = chunk({}, "stop")
USAGE = (
    b'data: {"id":"up-1","object":"chat.completion.chunk","created":1790000000,"model":"up-model","choices":[],'
    b'"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}}\n\n'
)


def say(text: str, **more: Any) -> bytes:
    """A chunk of text."""
    return chunk({"content": text}, **more)


def muse(text: str) -> bytes:
    """A chunk of reasoning."""
    return chunk({"reasoning_content": text})


def completion(
    text: str | None = "hello", finish: str = "stop", *, model: str = "up-model", **more: Any
) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": "up-1", "object": "chat.completion", "created": 1_790_000_000, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
    }  # fmt: skip


def streams(text: str = "hello", *, model: str = "up-model") -> Turn:
    """A turn: a good stream."""
    parts = (
        chunk({"role": "assistant", "content": ""}, model=model),
        say(text, model=model),
        chunk({}, "stop", model=model),
    )
    return lambda flight: flight.stream(*parts, USAGE, DONE)


def answers(text: str | None = "hello", **more: Any) -> Turn:
    """A turn: a good whole answer."""
    return lambda flight: flight.answer(200, completion(text, **more))


def refuses(status: int, error: Any = None, headers: Mapping[str, str] | None = None) -> Turn:
    """A turn: an error."""
    body = error if isinstance(error, bytes) else {"error": error or {"message": f"status {status}"}}
    return lambda flight: flight.answer(status, body, headers)


def fails(error: Callable[[], UpstreamError]) -> Turn:
    """A turn: the connection fails."""
    return lambda flight: flight.fail(error())


# --- a pool -------------------------------------------------------------------------------------------------


def target(
    name: str,
    *,
    key: str = "k1",
    context: int | None = 131_072,
    tools: bool = True,
    reasoning: bool = False,
    price: PriceClass = PriceClass.FREE,
    allow: frozenset[str] | None = None,
    quirks: frozenset[Quirk] = frozenset(),
    **row: Any,
) -> TargetFacts:
    """A target from `provider/model`; further fields are the row's."""
    provider, _, model = name.partition("/")
    claims = {
        Capability.TOOLS: Claim(Known.YES if tools else Known.NO),
        Capability.REASONING: Claim(Known.YES if reasoning else Known.NO),
        Capability.MULTIPLE: Claim(Known.YES),
    }
    spec = ModelSpec(ModelId(model), context=context, max_output=8_192, price_class=price, capabilities=claims)
    url = f"http://{provider}.invalid/v1"
    made = ProviderSpec(
        ProviderName(provider), provider.title(), {"openai_chat": url}, "bearer", (spec,), allow=allow, **row
    )
    ident = CredentialId(f"{key}-{provider}")
    credential = Credential(ident, made.name, AccountId(ident), "api_key", f"env:{key}", "abcd", "env")
    return TargetFacts(Target(made.name, spec.id, ident), made, spec, credential, url, quirks=quirks)


class World:
    """An engine over a pool, with everything else faked. Nobody waits for quota unless `settings` say so."""

    def __init__(self, *facts: TargetFacts | str, settings: Settings | None = None) -> None:
        made = [target(each) if isinstance(each, str) else each for each in facts]
        self.facts = made
        self.clock = Clock()
        self.log = SilentLog()
        self.transport = Transport()
        self.authorizer = Authorizer()
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self.engine = Engine(
            snapshot=Generation(1, settings or Settings(patience_s=0.0), Roster(made), "round-robin"),
            state=RoutingState(),
            transport=self.transport,
            authorizer=self.authorizer,
            memory=Memory(self.clock),
            border=Border(ratelimit.seen, judge.classify),
            in_band=judge.in_band,
            sweeper=Sweeper(self.clock, self._call_later),
            clock=self.clock,
            rng=Rng(),
            ids=Ids(),
            log=self.log,
            started_mono=self.clock.mono(),
        )
        self.engine.state.adopt(self.engine.snapshot.roster)

    def _call_later(self, delay_s: float, call: Callable[[], None]) -> Any:
        self._timers.append((self.clock.mono() + delay_s, call))
        return object()

    async def later(self, seconds: float, step_s: float = STEP_S) -> None:
        """Let time pass, sweep by sweep."""
        until = self.clock.mono() + seconds
        while self.clock.mono() < until:
            self.clock.advance(min(step_s, until - self.clock.mono()))
            due = [timer for timer in self._timers if timer[0] <= self.clock.mono()]
            self._timers = [timer for timer in self._timers if timer not in due]
            for _, call in due:
                call()
            await turns(3)
        await turns()

    def question(
        self, text: str = "hi", *, stream: bool = True, pin: Pin | None = None, fallback_any: bool = False,
        messages: list[dict[str, Any]] | None = None, agent: str = "test", **fields: Any,
    ) -> Question:  # fmt: skip
        """A request as the route hands it over."""
        said = messages if messages is not None else [{"role": "user", "content": text}]
        body = {"model": "hermes-router", "messages": said, "stream": stream, **fields}
        inbound = parse_request(json.dumps(body).encode(), {})
        demand = assess(inbound.request, caller="rk")
        return Question(
            inbound, demand, Constraint(pin=pin), Caller(RouterKeyId("rk")),
            caller_agent=agent, request_id="req_1", fallback_any=fallback_any,
        )  # fmt: skip

    def start(self, text: str = "hi", **given: Any) -> "Run":
        """Begin an exchange; `stream=False` for a whole answer."""
        return Run(self, self.question(text, **given))

    async def ask(self, text: str = "hi", **given: Any) -> "Run":
        """One exchange that scripts answer, to its end."""
        run = self.start(text, **given)
        await run.over()
        return run

    def status(self, index: int = 0) -> str:
        """How a target stands."""
        return self.engine.state.status(self.facts[index], self.clock.now()).state

    @property
    def inflight(self) -> int:
        """Reservations that are not settled."""
        slots = (self.engine.state.slot(facts.target) for facts in self.facts)
        return sum(slot.inflight for slot in slots if slot is not None)


class Run:
    """One exchange under way."""

    def __init__(self, world: World, question: Question) -> None:
        self.reply = Reply() if question.inbound.request.stream else None
        self.task: asyncio.Task[Rendered | None] = asyncio.ensure_future(
            Exchange(world.engine, question, self.reply).run()
        )

    async def over(self) -> Rendered | None:
        """Its end; fails where it needs more than scripts and turns to come to it."""
        for _ in range(200):
            if self.task.done():
                return self.task.result()
            await asyncio.sleep(0)
        raise AssertionError("the exchange waits for something that nobody sends")

    async def leave(self) -> None:
        """The caller goes away."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def rendered(self) -> Rendered:
        found = self.task.result()
        assert found is not None
        return found

    @property
    def said(self) -> dict[str, Any]:
        """The body of a whole answer or an error."""
        return json.loads(self.rendered.body)

    @property
    def out(self) -> Reply:
        assert self.reply is not None
        return self.reply
