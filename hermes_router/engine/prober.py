"""What models can do: seen in live traffic first, and asked by a tiny request where nothing is known.

Owns what an answer or a refusal proves, and which question comes next, if any: it must be wanted, unknown, free, and
spend next to nothing of a quota that has plenty left. Results rest in the ledger, with how and when they were learned.
It must never send (`trial.py` does), and never learn from a failure of the network.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from hermes_router.core.catalog import Capability, Known, ModelSpec, Price, PriceClass, TargetFacts
from hermes_router.core.errors import Inexpressible, Invalid, ModelGone, RequestRejected, UpstreamError
from hermes_router.core.events import Usage
from hermes_router.core.observations import Unit, Window
from hermes_router.core.ports import Clock
from hermes_router.engine.probes import PROBES, Probe, has_object
from hermes_router.routing.demand import Demand, assess
from hermes_router.routing.quota import Meter
from hermes_router.routing.slots import Slot
from hermes_router.routing.standing import readiness
from hermes_router.routing.state import RoutingState
from hermes_router.wire.shown import Shown

__all__ = ["LIST_VERSION", "Prober", "Question"]

LIST_VERSION: Final = "x-models-etag"
"""In the head of an answer: the version of the provider's list of models, as this account sees it (codex.md 7)."""

EVERY_S: Final = 60.0  # between two questions to one provider
TRAFFIC_S: Final = 3_600.0  # a daemon that nobody asks has nothing to find out
WANTED_S: Final = 86_400.0
SHARE: Final = 50  # a fiftieth, 2 %, of a day's requests may be questions of ours
MOST_A_DAY: Final = 20  # where nobody says how many a day there are
AMPLE: Final = 2  # at least half of a window must be left
FIRST_PAUSE_S: Final = 3_600.0  # after a question without an answer
LONGEST_PAUSE_S: Final = 7 * 86_400.0
GAPS_S: Final = 600.0
_DAY_S: Final = 86_400.0
_MONTH_DAYS: Final = 30
_MOST_KEPT: Final = 4_096
_VERSION_MAX: Final = 200  # characters

_ON_REQUEST: Final = frozenset({Capability.TOOLS, Capability.IMAGES, Capability.JSON_SCHEMA})
"""Asked for only where callers have wanted them of late."""
_TAKEN: Final = frozenset({Capability.IMAGES, Capability.AUDIO, Capability.FILES})
"""Proved by being taken: who lacks them says so."""
_BESIDE: Final = frozenset({Capability.MULTIPLE, Capability.LOGPROBS})
"""With these, what was shown is not counted piece by piece."""
_LEARNT: Final = (
    Capability.TOOLS, Capability.IMAGES, Capability.AUDIO, Capability.FILES, Capability.REASONING,
    Capability.JSON_OBJECT, Capability.JSON_SCHEMA, Capability.PARALLEL_TOOLS,
)  # fmt: skip
_UNTOLD: Final = Usage()

Key = tuple[str, str]
"""Provider and model."""


class _Gaps(NamedTuple):
    """What was unknown of a model when somebody looked; good for one version of what is learned, and until then.

    `thoughts` and `several`: whether reasoning and several calls are, which are shown without being asked for.
    """

    version: int
    until: float
    unknown: frozenset[Capability]
    thoughts: bool
    several: bool


class _Answer(NamedTuple):
    """One answer: `shown` of a stream, or the `body` of a whole one."""

    usage: Usage
    shown: Shown | None
    body: bytes


class Question(NamedTuple):
    """One capability of one model, to be asked of one target."""

    facts: TargetFacts
    probe: Probe

    @property
    def demand(self) -> Demand:
        """What it takes of the target's windows."""
        return assess(self.probe.inbound.request, caller="")

    @property
    def name(self) -> str:
        """For the log."""
        return f"{self.facts.target.name} {self.probe.capability}"


class Prober:
    """Evidence in, questions out. Everything is one synchronous step; `now` comes from the clock that it is given."""

    def __init__(self, state: RoutingState, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._needed: dict[frozenset[Capability], float] = {}
        self._gaps: dict[Key, _Gaps] = {}
        self._latest = float("-inf")
        self.answered_at: dict[Key, float] = {}
        self.refused_at: dict[Key, float] = {}
        self.unknown_models: set[str] = set()  # providers that were asked for a model that they do not know
        self._versions: dict[tuple[str, str], str] = {}  # of the list of models, by provider and credential
        self._asked_at: dict[str, float] = {}
        self._today: dict[str, tuple[int, int]] = {}  # by provider: the day, and questions in it
        self._pauses: dict[tuple[str, str, Capability], tuple[float, float]] = {}  # until, and how long it was

    # --- live traffic --------------------------------------------------------------------------------

    def saw(
        self,
        facts: TargetFacts,
        demand: Demand,
        fields: Mapping[str, Raw],
        *,
        usage: Usage = _UNTOLD,
        shown: Shown | None = None,
        body: bytes = b"",
    ) -> None:
        """A good answer: `shown` of a stream, or the `body` of a whole one. Looks only where something is unknown."""
        now = self._latest = self._clock.now()
        target, needs = facts.target, demand.needs
        key = (target.provider, target.model)
        if len(self.answered_at) > _MOST_KEPT:
            self.answered_at.clear()
        self.answered_at[key] = now
        if needs:
            self._needed[needs] = now
        gaps = self._gaps.get(key)
        if gaps is None or gaps.version != self._state.learned.version or now >= gaps.until:
            gaps = self._look(key, facts.model, now)
        unknown = gaps.unknown
        several = gaps.several and demand.tools and (shown is None or shown.calls > 1)
        if several or gaps.thoughts or not unknown.isdisjoint(needs):
            answer = _Answer(usage, shown, body)
            for what in tuple(unknown & _shown_by(answer, unknown, needs, fields)):
                self._state.learn_capability(*key, what, Known.YES)

    def listed_as(self, facts: TargetFacts, version: str) -> None:
        """An answer named the version of its list of models: another one than before is worth reading."""
        key = str(facts.target.provider), str(facts.credential.id)
        if len(self._versions) > _MOST_KEPT:
            self._versions.clear()
        if self._versions.setdefault(key, version[:_VERSION_MAX]) != version[:_VERSION_MAX]:
            self._versions[key] = version[:_VERSION_MAX]
            self.unknown_models.add(facts.target.provider)

    def _look(self, key: Key, spec: ModelSpec, now: float) -> "_Gaps":
        """What is not known of a model, for a while: what was learned runs out, too."""
        if len(self._gaps) > _MOST_KEPT:
            self._gaps.clear()
        memory = self._state.learned.of(*key)
        unknown = frozenset(what for what in _LEARNT if memory.capability(what, spec, now) is Known.UNKNOWN)
        gaps = self._gaps[key] = _Gaps(
            self._state.learned.version,
            now + GAPS_S,
            unknown,
            thoughts=Capability.REASONING in unknown,
            several=Capability.PARALLEL_TOOLS in unknown,
        )
        return gaps

    def _wanted_at(self, what: Capability) -> float:
        """When a caller last wanted it, epoch seconds."""
        return max((at for needs, at in self._needed.items() if what in needs), default=float("-inf"))

    def failed(self, facts: TargetFacts, error: UpstreamError, demand: Demand) -> None:
        """A failure: what a structured refusal says of the model. Nothing else that fails says anything."""
        provider, model = str(facts.target.provider), str(facts.target.model)
        if isinstance(error, ModelGone):
            if error.scope == "model":
                if len(self.refused_at) > _MOST_KEPT:
                    self.refused_at.clear()
                self.refused_at[provider, model] = self._clock.now()
                self.unknown_models.add(provider)
        elif isinstance(error, Invalid | Inexpressible):
            pass  # a field that is wrong in this request (a schema of the caller's) says nothing of the model
        elif isinstance(error, RequestRejected) and (error.param or "").startswith("response_format"):
            for what in demand.needs & {Capability.JSON_SCHEMA, Capability.JSON_OBJECT}:
                self._state.learn_capability(provider, model, what, Known.NO)

    # --- what to ask next ----------------------------------------------------------------------------

    def next_question(self, pool: Iterable[TargetFacts]) -> Question | None:
        """The next question to one provider, whose targets are `pool`; None where there is none now.

        It counts as asked from here on.
        """
        now = self._clock.now()
        if now - self._latest > TRAFFIC_S:
            return None
        targets = [facts for facts in pool if _costs_nothing(facts)]
        if not targets:
            return None
        provider = str(targets[0].target.provider)
        if now - self._asked_at.get(provider, float("-inf")) < EVERY_S:
            return None
        found = next(self._questions(targets, now), None)
        if found is not None:
            self._asked_at[provider] = now
            day, asked = self._today.get(provider, (0, 0))
            today = int(now // _DAY_S)
            self._today[provider] = (today, asked + 1 if day == today else 1)
        return found

    def _questions(self, targets: list[TargetFacts], now: float) -> Iterator[Question]:
        for what, probe in PROBES.items():
            if what in _ON_REQUEST and now - self._wanted_at(what) > WANTED_S:
                continue
            if what is Capability.PARALLEL_TOOLS and now - self._wanted_at(Capability.TOOLS) > WANTED_S:
                continue
            passed: set[str] = set()
            for facts in targets:
                model = str(facts.target.model)
                if model in passed:
                    continue
                if not self._is_unknown(facts, what, now):
                    passed.add(model)
                elif self._has_room(facts, probe, now):
                    yield Question(facts, probe)

    def _is_unknown(self, facts: TargetFacts, what: Capability, now: float) -> bool:
        """Whether nobody knows, and it is time to ask (again)."""
        provider, model = str(facts.target.provider), str(facts.target.model)
        memory = self._state.learned.of(provider, model)
        if memory.capability(what, facts.model, now) is not Known.UNKNOWN:
            return False
        if facts.credential.kind == "none" and now - self.answered_at.get((provider, model), 0.0) > TRAFFIC_S:
            return False  # a local server would first have to load it
        tools = memory.capability(Capability.TOOLS, facts.model, now)
        if what is Capability.PARALLEL_TOOLS and tools is not Known.YES:
            return False
        return now >= self._pauses.get((provider, model, what), (0.0, 0.0))[0]

    def _has_room(self, facts: TargetFacts, probe: Probe, now: float) -> bool:
        """Whether the target is well, at rest, and has so much left that one request more is not felt."""
        slot = self._state.slot(facts.target)
        if slot is None or slot.group is None or slot.marked or slot.blocked_until > now:
            return False
        if readiness(slot, Question(facts, probe).demand, now) != 0:
            return False
        if not all(_is_ample(meter, now) for meter in slot.meters):
            return False
        provider = str(facts.target.provider)
        day, asked = self._today.get(provider, (0, 0))
        return (asked if day == int(now // _DAY_S) else 0) < _allowed(slot)

    def answered(self, question: Question, known: Known | None) -> None:
        """What a question brought; None = nothing sure: it is asked again, later each time."""
        target, what = question.facts.target, question.probe.capability
        key = (str(target.provider), str(target.model), what)
        if known is not None:
            self._pauses.pop(key, None)
            self._state.learn_capability(target.provider, target.model, what, known, "probed")
            return
        if len(self._pauses) > _MOST_KEPT:
            self._pauses.clear()
        _, length = self._pauses.get(key, (0.0, 0.0))
        length = min(LONGEST_PAUSE_S, length * 2 or FIRST_PAUSE_S)
        self._pauses[key] = (self._clock.now() + length, length)


# --- quota --------------------------------------------------------------------------------------------


def _costs_nothing(facts: TargetFacts) -> bool:
    """Only what is free is asked: no credit, no subscription, no money."""
    model = facts.model
    free = model.price_class is PriceClass.FREE and model.price == Price()
    return free and facts.disabled is None and model.embeds is None


def _is_ample(meter: Meter, now: float) -> bool:
    """Whether a window has at least half of itself left; a level, whether nothing at all is under way."""
    if meter.limit is None:
        return True
    if meter.level:
        return meter.used == 0
    left = meter.left(now)
    return left is not None and left * AMPLE >= meter.limit


def _allowed(slot: Slot) -> int:
    """How many questions a day the target's longest windows of requests allow."""
    told = [
        meter.limit // (SHARE * (_MONTH_DAYS if meter.window is Window.MONTH else 1))
        for meter in slot.meters
        if meter.limit is not None and meter.unit is Unit.REQUESTS and meter.window in (Window.DAY, Window.MONTH)
    ]
    return min(told, default=MOST_A_DAY)


# --- what an answer shows -----------------------------------------------------------------------------


def _shown_by(
    answer: _Answer, unknown: frozenset[Capability], needs: frozenset[Capability], fields: Mapping[str, Raw]
) -> set[Capability]:
    """What of the unknown this answer proves; whatever is dear to look at is looked at only if it is unknown."""
    usage, shown, body = answer
    found = set(needs & _TAKEN)
    if Capability.REASONING in unknown:
        visible = shown.reasoning if shown is not None else _shows_reasoning(body)
        if visible or usage.reasoning_tokens > 0:
            found.add(Capability.REASONING)
    if not needs.isdisjoint(_BESIDE):
        return found
    if Capability.TOOLS in needs and not unknown.isdisjoint(_CALLS):
        calls = shown.calls if shown is not None else _calls_in(body, 1 if Capability.TOOLS in unknown else 2)
        found |= _CALLS if calls > 1 else _CALL if calls else _NOTHING
    if Capability.JSON_OBJECT in needs & unknown and has_object(_text(shown, body), ()):
        found.add(Capability.JSON_OBJECT)
    if Capability.JSON_SCHEMA in needs & unknown:
        wanted = _required(fields)
        if wanted and has_object(_text(shown, body), wanted):
            found.add(Capability.JSON_SCHEMA)
    return found


_CALL: Final = frozenset({Capability.TOOLS})
_CALLS: Final = frozenset({Capability.TOOLS, Capability.PARALLEL_TOOLS})
_NOTHING: Final[frozenset[Capability]] = frozenset()


# --- whole answers ------------------------------------------------------------------------------------


def _message(body: bytes) -> Mapping[str, object]:
    """The first message of a whole answer; empty where there is none."""
    try:
        found = msgspec.json.decode(body)
        message = found["choices"][0]["message"]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, LookupError, TypeError):
        return {}
    return message if isinstance(message, dict) else {}


def _calls_in(body: bytes, least: int) -> int:
    """How many calls a body holds; not counted where there cannot be so many as would be news."""
    calls = _message(body).get("tool_calls") if body.count(b'"arguments"') >= least else None
    return len(calls) if isinstance(calls, list) else 0


def _shows_reasoning(body: bytes) -> bool:
    if b'"reasoning' not in body:
        return False
    message = _message(body)
    return bool(message.get("reasoning_content") or message.get("reasoning"))


def _text(shown: Shown | None, body: bytes) -> str:
    if shown is not None:
        return shown.text
    content = _message(body).get("content")
    return content if isinstance(content, str) else ""


def _required(fields: Mapping[str, Raw]) -> tuple[str, ...]:
    """The keys that the caller's schema demands; none where it demands none."""
    raw = fields.get("response_format")
    try:
        told = msgspec.json.decode(raw)["json_schema"]["schema"]["required"] if raw is not None else ()
    except (msgspec.MsgspecError, UnicodeError, RecursionError, LookupError, TypeError):
        return ()
    return tuple(key for key in told if isinstance(key, str)) if isinstance(told, list) else ()
