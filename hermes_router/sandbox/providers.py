"""A fake provider: a style with its keys, models, counters and script.

Owns what one provider remembers (counters, signatures given out, queued behaviours) and the decision what a
request gets: a refusal, or the model's reply with a behaviour on top. It must never touch a socket.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hermes_router.sandbox import faults
from hermes_router.sandbox.faults import Behaviour
from hermes_router.sandbox.model import answer, prompt_tokens
from hermes_router.sandbox.quotas import Charge, Meter, Quotas, gauges
from hermes_router.sandbox.styles import STYLES, Style
from hermes_router.sandbox.values import Asked, FakeModel, Refusal, Reply

Route = Literal["chat", "models", "embeddings"]


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
    """A request that the model answers. `charge` is to be settled and released by whoever delivers."""

    reply: Reply
    behaviour: Behaviour
    model: FakeModel
    prompt_tokens: int
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
        embeds: ids that `/embeddings` knows.
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
    embeds: tuple[str, ...] = ("sandbox-embed",)
    script: list[Scripted] = field(default_factory=list)
    issued: dict[str, str] = field(default_factory=dict)
    row: Style = field(init=False)
    _meters: dict[tuple[str, str], Meter] = field(init=False, default_factory=dict)
    _numbers: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.style = self.style or (self.name if self.name in STYLES else "generic")
        self.row = STYLES[self.style]
        self.models = self.models or self.row.models
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
        """Queue a behaviour for the next `times` fitting requests (None: all); later ones wait their turn."""
        self.script.append(Scripted(behaviour, times, model, key, route))
        return behaviour

    def model(self, name: Any) -> FakeModel | None:
        """The model of that id, with or without the style's prefix."""
        bare = str(name).removeprefix(self.row.model_prefix)
        return next((model for model in self.models if model.id == bare), None)

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

    def decide(self, key: str, headers: Mapping[str, str], body: Any, now: float) -> Granted | Refused | Muted:
        """What a chat request gets. The order is that of a gateway: gate, key, script, model, rules, quota."""
        words = self.row.sayings
        if refusal := self.admitted(key, headers):
            return Refused(refusal)
        model = self.model(body.get("model")) if isinstance(body, dict) else None
        if early := self.interrupted(key, body, now):
            return early
        if not isinstance(body, dict):
            return Refused(Refusal(400, {"error": {"message": "body is no JSON object", "code": "invalid_json"}}))
        if model is None:
            return Refused(words.no_model(str(body.get("model"))))
        if model.gone:
            return Refused(words.gone(model.id))
        asked = Asked(body, headers, model, prompt_tokens(body), self.issued)
        for rule in self.row.rules:
            if breach := rule(asked):
                return Refused(words.breach(breach))
        if asked.prompt_tokens > model.context:
            return Refused(words.too_long(model.context, asked.prompt_tokens))
        meter = self.meter(key, model.id)
        charge = meter.admit(now, model.id, asked.prompt_tokens, asked.cap)
        if not isinstance(charge, Charge):
            return Refused(words.limited(charge))
        scripted = self._next("chat", body, key)
        behaviour = self._use(scripted) if scripted else faults.ok()
        reply = self._reply(asked)
        if behaviour.reply:
            reply = behaviour.reply(reply)
        told = self.row.headers(gauges(meter, now), now)
        return Granted(reply, behaviour, model, asked.prompt_tokens, charge, told)

    def admitted(self, key: str, headers: Mapping[str, str]) -> Refusal | None:
        """The refusal of the gate or for the key, None if both are passed."""
        if self.row.gate and (refusal := self.row.gate(headers)):
            return refusal
        return None if self.accepts(key) else self.row.sayings.bad_key

    def interrupted(self, key: str, body: Any, now: float, route: Route = "chat") -> Refused | Muted | None:
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
        return Refused(behaviour.early(self.row.sayings, model or FakeModel("unknown"), now), self._use(scripted))

    def _reply(self, asked: Asked) -> Reply:
        reply = answer(asked, lambda name: self.row.new_call_id(self.number(), name), self.compose)
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
