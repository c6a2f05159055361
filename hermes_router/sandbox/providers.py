"""A fake provider: a style with its keys, models, counters and script.

Owns what one provider remembers (counters, signatures given out, queued behaviours) and the decision what a
request gets: a refusal, or the model's reply with a behaviour on top. It must never touch a socket.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hermes_router.sandbox import continuing, embeddings, faults, responses_compact
from hermes_router.sandbox.continuing import Manner
from hermes_router.sandbox.embeddings import EMBEDDERS, Embedder
from hermes_router.sandbox.faults import Behaviour
from hermes_router.sandbox.frames import Written
from hermes_router.sandbox.memory import Memory
from hermes_router.sandbox.model import prompt_tokens
from hermes_router.sandbox.quotas import Charge, Meter, Quotas, gauges
from hermes_router.sandbox.rules import Rule
from hermes_router.sandbox.speeches import SPEECHES, Speech
from hermes_router.sandbox.styles import STYLES, Style
from hermes_router.sandbox.values import Asked, Breach, FakeModel, Obedience, Prefill, Refusal, Reply, SpeechName

Route = Literal["chat", "models", "embeddings", "compact"]


@dataclass(slots=True)
class Scripted:
    """A behaviour in a provider's script. `left` is how often it is yet to be used, None for ever."""

    behaviour: Behaviour
    left: int | None = 1
    model: str | None = None
    key: str | None = None
    route: Route = "chat"


@dataclass(frozen=True, slots=True)
class Granted:
    """A request that the model answers. `charge` is to be settled and released by whoever delivers.

    `cached` are the tokens of the prompt read from the cache and written to it; `holder` is whom thoughts are sealed
    for.
    """

    reply: Reply
    behaviour: Behaviour
    model: FakeModel
    prompt_tokens: int
    charge: Charge
    headers: Mapping[str, str]
    cached: tuple[int, int] = (0, 0)
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors, ready. `charge` as of `Granted`, to be settled with `tokens`."""

    answer: dict[str, Any]
    tokens: int
    behaviour: Behaviour
    charge: Charge
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Muted:
    """A request that gets no HTTP answer: silence, a reset, garbage."""

    behaviour: Behaviour


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is answered by `refusal`, with the behaviour that did it, if one did."""

    refusal: Refusal
    behaviour: Behaviour | None = None


@dataclass(slots=True)
class FakeProvider:
    """One provider of the sandbox.

    Attributes:
        name: what the sandbox calls it; also the default style.
        style: a name of `STYLES`; `generic` where `name` is none.
        keys: what it accepts. A revoked key leaves the set.
        models: the style's usual ones where not given.
        quotas: unlimited where not given (`published=True` takes the free tier's).
        accounts: key to account where keys share one; a key not named is an account of its own.
        compose: text of an ordinary answer instead of the echo.
        pace_s: seconds before each chunk of content, 0 as fast as it goes.
        offline_models: ids that `/models` lists though they answer as unknown.
        embedders: its models for embeddings, the style's usual ones where not given.
        speaks: the dialects that it serves, the style's where not given.
        prefill: what a last turn of the assistant's is to it, as the style has it where not given.
        order: how it follows an order to go on with what another has begun.
        fresh: how it behaves, nothing else being queued, where the answer is its own from the beginning.
    """

    name: str
    style: str = ""
    keys: set[str] = field(default_factory=lambda: {"sandbox-key"})
    models: tuple[FakeModel, ...] = ()
    quotas: Quotas | None = None
    published: bool = False
    accounts: Mapping[str, str] = field(default_factory=dict)
    compose: Callable[[str], str] | None = None
    pace_s: float = 0.0
    offline_models: tuple[str, ...] = ()
    embedders: tuple[Embedder, ...] | None = None
    script: list[Scripted] = field(default_factory=list)
    issued: dict[str, str] = field(default_factory=dict)
    speaks: tuple[SpeechName, ...] = ()
    prefill: Prefill | None = None
    order: Obedience = "exact"
    fresh: Behaviour | None = None
    memory: Memory = field(init=False)
    row: Style = field(init=False)
    _meters: dict[tuple[str, str], Meter] = field(init=False, default_factory=dict)
    _numbers: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.style = self.style or (self.name if self.name in STYLES else "generic")
        self.row = STYLES[self.style]
        self.models = self.models or self.row.models
        self.embedders = EMBEDDERS.get(self.style, ()) if self.embedders is None else self.embedders
        self.speaks = self.speaks or self.row.speaks
        self.memory = Memory(self.name)
        if self.quotas is None:
            self.quotas = self.row.quotas if self.published else Quotas()

    def behave(
        self,
        behaviour: Behaviour,
        times: int | None = 1,
        *,
        model: str | None = None,
        key: str | None = None,
        route: Route = "chat",
    ) -> Behaviour:
        """Queue a behaviour for the next `times` fitting requests (None: all); later ones wait their turn.

        The route `chat` is an answer in any dialect; a behaviour is what it says in whichever comes.
        """
        self.script.append(Scripted(behaviour, times, model, key, route))
        return behaviour

    def model(self, name: Any) -> FakeModel | None:
        """The model of that id, with or without the style's prefix."""
        bare = str(name).removeprefix(self.row.model_prefix)
        return next((model for model in self.models if model.id == bare), None)

    def embedder(self, name: Any) -> Embedder | None:
        """The model for embeddings of that id, with or without the style's prefix."""
        bare = str(name).removeprefix(self.row.model_prefix)
        return next((model for model in self.embedders or () if model.id == bare), None)

    def accepts(self, key: str) -> bool:
        """Whether the key is one of its own."""
        return self.row.keyless or key in self.keys

    def meter(self, key: str, model: str) -> Meter:
        """The counters that a key and model draw on."""
        assert self.quotas is not None
        owner = (self.accounts.get(key, key), "" if self.quotas.shared else model)
        return self._meters.setdefault(owner, Meter(self.quotas))

    def number(self) -> int:
        """The next number of this provider, for ids."""
        return next(self._numbers)

    def decide(
        self, key: str, headers: Mapping[str, str], body: Any, now: float, speech: Speech = SPEECHES["chat"]
    ) -> Granted | Refused | Muted:
        """What a request gets. The order is that of a gateway: gate, key, script, model, rules, quota."""
        words = speech.sayings(self.row)
        if refusal := self.admitted(key, headers, speech):
            return Refused(refusal)
        if early := self.interrupted(key, body, now, speech=speech):
            return early
        asked = self._heard(key, headers, body, speech, speech.rules(self.row))
        if isinstance(asked, Refused):
            return asked
        model, holder = asked.model, self._holder(key, asked.model, speech)
        meter = self.meter(key, model.id)
        charge = meter.admit(now, model.id, asked.prompt_tokens, asked.cap)
        if not isinstance(charge, Charge):
            return Refused(words.limited(charge))
        scripted = self._next("chat", body, key)
        behaviour = self._use(scripted) if scripted else self._usual(asked)
        reply = self._reply(asked)
        if behaviour.reply:
            reply = behaviour.reply(reply)
        told = self.row.headers(gauges(meter, now), now)
        cached = self.memory.cached(holder, speech.segments(replace(asked, body=body)))
        return Granted(reply, behaviour, model, asked.prompt_tokens, charge, told, cached, holder)

    def count(self, key: str, headers: Mapping[str, str], body: Any, speech: Speech) -> Refusal:
        """The tokens of a prompt; costs nothing, and breaks no stricter rules than the answer would."""
        if refusal := self.admitted(key, headers, speech):
            return refusal
        asked = self._heard(key, headers, body, speech, speech.counting)
        if isinstance(asked, Refused):
            return asked.refusal
        return Refusal(200, speech.counted(asked.prompt_tokens))

    def embed(self, key: str, headers: Mapping[str, str], body: Any, now: float) -> Embedded | Refused | Muted:
        """What a request for embeddings gets, decided in the order of `decide`."""
        words = self.row.sayings
        if refusal := self.admitted(key, headers):
            return Refused(refusal)
        if early := self.interrupted(key, body, now, "embeddings"):
            return early
        if not isinstance(body, dict):
            return Refused(self._no_object(SPEECHES["chat"]))
        embedder = self.embedder(body.get("model"))
        if embedder is None:
            return Refused(words.no_model(str(body.get("model"))))
        if breach := embeddings.breach(embedder, embeddings.wording(self.style), body):
            return Refused(words.breach(breach))
        if (longest := embeddings.longest_input(body)) > embedder.context:
            return Refused(words.too_long(embedder.context, longest))
        answer, tokens = embeddings.answer(self.style, embedder, self.number(), body)
        meter = self.meter(key, embedder.id)
        charge = meter.admit(now, embedder.id, tokens, None)
        if not isinstance(charge, Charge):
            return Refused(words.limited(charge))
        scripted = self._next("embeddings", body, key)
        behaviour = self._use(scripted) if scripted else faults.ok()
        return Embedded(answer, tokens, behaviour, charge, self.row.headers(gauges(meter, now), now))

    def compact(self, key: str, headers: Mapping[str, str], body: Any, now: float, speech: Speech) -> Refusal:
        """A conversation put into an item that only this provider reads."""
        asked = self._heard(key, headers, body, speech, (*speech.compacting, *speech.rules(self.row)))
        if isinstance(asked, Refused):
            return asked.refusal
        holder, tail = self._holder(key, asked.model, speech), f"{self.number():012d}"
        whole = responses_compact.answer(
            body, tail, lambda text: self.memory.seal(holder, text), asked.prompt_tokens, now
        )
        return Refusal(200, whole)

    def keep(self, speech: Speech, written: Written) -> None:
        """Keep an answer under its id, where its dialect may go on from it."""
        kept = speech.keeps(self.row.hand, written, self.memory.kept.get)
        if kept is not None:
            self.memory.kept[written.id] = kept

    def _heard(
        self, key: str, headers: Mapping[str, str], body: Any, speech: Speech, rules: tuple[Rule, ...]
    ) -> Asked | Refused:
        """A request that may be answered, in the model's words."""
        words = speech.sayings(self.row)
        if not isinstance(body, dict):
            return Refused(self._no_object(speech))
        model = self.model(body.get("model"))
        if model is None:
            return Refused(words.no_model(str(body.get("model"))))
        if model.gone:
            return Refused(words.gone(model.id))
        holder = self._holder(key, model, speech)
        said = Asked(body, headers, model, 0, self.issued, lambda sealed: self.memory.opened(holder, sealed),
                     self.memory.kept.get)  # fmt: skip
        if speech.name == "chat":
            said = replace(said, prompt_tokens=prompt_tokens(body))
        for rule in rules:
            if breach := rule(said):
                return Refused(words.breach(breach))
        asked = speech.hear(said)
        if continuing.refuses(asked, self.manner):
            return Refused(words.breach(Breach("The last message must be the user's.", "messages")))
        in_parts = sum(tokens for _, tokens, _ in speech.segments(said))
        asked = replace(asked, prompt_tokens=max(prompt_tokens(asked.body), in_parts))
        if asked.prompt_tokens > model.context:
            return Refused(words.too_long(model.context, asked.prompt_tokens))
        return asked

    def _no_object(self, speech: Speech) -> Refusal:
        if speech.name == "chat":
            return Refusal(400, {"error": {"message": "body is no JSON object", "code": "invalid_json"}})
        return speech.sayings(self.row).other(400, "We could not parse the JSON body of your request.")

    def _holder(self, key: str, model: FakeModel, speech: Speech) -> str:
        """Whom a thought is sealed for: the model, and the account (12.9)."""
        return f"{speech.name} {self.accounts.get(key, key)} {model.id}"

    def admitted(self, key: str, headers: Mapping[str, str], speech: Speech = SPEECHES["chat"]) -> Refusal | None:
        """The refusal of the gate or for the key, None if both are passed."""
        if self.row.gate and (refusal := self.row.gate(headers)):
            return refusal
        return None if self.accepts(key) else speech.sayings(self.row).bad_key

    def interrupted(
        self, key: str, body: Any, now: float, route: Route = "chat", speech: Speech = SPEECHES["chat"]
    ) -> Refused | Muted | None:
        """What the script answers before any rule is looked at, if its next behaviour is one of that kind."""
        scripted = self._next(route, body, key)
        if scripted is None:
            return None
        behaviour = scripted.behaviour
        if behaviour.delivery.mute:
            return Muted(self._use(scripted))
        if behaviour.early is None:
            return None
        model = self.model(body.get("model")) if isinstance(body, dict) else None
        refusal = behaviour.early(speech.sayings(self.row), model or FakeModel("unknown"), now)
        return Refused(refusal, self._use(scripted))

    @property
    def manner(self) -> Manner:
        """How it goes on with what another has begun."""
        return Manner(self.prefill or self.row.prefill, "" if self.prefill else self.row.prefill_flag, self.order)

    def _usual(self, asked: Asked) -> Behaviour:
        if self.fresh is not None and continuing.begun(asked) is None:
            return self.fresh
        return faults.ok()

    def _reply(self, asked: Asked) -> Reply:
        reply = continuing.reply(
            asked, self.manner, lambda name: self.row.new_call_id(self.number(), name), self.compose
        )
        if not (asked.model.signs and reply.calls):
            return reply
        first, *rest = reply.calls
        signature = f"sig-{self.name}-{self.number():06d}"
        self.issued[signature] = first.name
        return replace(reply, calls=(replace(first, signature=signature), *rest))

    def _next(self, route: Route, body: Any, key: str) -> Scripted | None:
        wanted = body.get("model") if isinstance(body, dict) else None
        for scripted in self.script:
            if (scripted.route, scripted.model, scripted.key) == (
                route, scripted.model and wanted, scripted.key and key
            ):  # fmt: skip
                return scripted
        return None

    def _use(self, scripted: Scripted) -> Behaviour:
        if scripted.left is not None:
            scripted.left -= 1
            if scripted.left == 0:
                self.script.remove(scripted)
        return scripted.behaviour
