"""One record of the ledger as a row of plain values, and back.

Owns the shape of every row that `persist.py` gathers. A row may come from another version, or from a damaged file: what
is not sound is left out, and nothing is ever raised. It must never know what a record means for a plan.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final, get_args

from hermes_router.core.catalog import Capability, Known
from hermes_router.core.clocks import next_reset
from hermes_router.core.errors import AttemptClass
from hermes_router.core.ids import Target
from hermes_router.core.observations import WINDOW_SECONDS, Scope, Unit, Window
from hermes_router.routing.bindings import Binding
from hermes_router.routing.cooldown import CANARY_S, DAY_S, FORGET_S, LONG_S, NEVER, PAUSE_TRY_S, Block, Source
from hermes_router.routing.health import HIGH, OPEN_S, RAMP_FULL, WINDOW_S, Breaker, Tempo
from hermes_router.routing.learned import CAPABILITY_S, FACTOR_HIGH, FACTOR_LOW, Learnt, Lesson, ModelMemory
from hermes_router.routing.mooring import FIRST_USE, ROLLING, ROLLS
from hermes_router.routing.names import Pin
from hermes_router.routing.plain import Instants, fields, listed, number, of_scope, text, to_scope, whole
from hermes_router.routing.quota import TRIAL_LAST_S, Meter, compact
from hermes_router.routing.units import TAUGHT, Origin

Row = dict[str, Any]

TOLD_KEPT_S: Final = 31 * 86_400.0  # what a provider told of a window that ended longer ago is forgotten
MOST_REFUSED: Final = 64
MOST_SLICES: Final = 256  # of a window's log
_FOUND_OUT: Final = (
    "published", "guess", "proved", "suspect", "suspect_at", "learned_at", "touched_at", "trial_at", "trial_s", "kept",
    "anew_mark", "anew_until",
)  # fmt: skip

_LONGEST_S: Final = {
    **WINDOW_SECONDS,
    Window.DAY: 25 * 3_600.0,  # the one on which clocks are set back
    Window.MONTH: TOLD_KEPT_S,
    Window.PLAN: TOLD_KEPT_S,
}

_CAUSES: Final = {str(cause): cause for cause in get_args(AttemptClass)}
_SOURCES: Final[dict[str, Source]] = {"told": "told", "inferred": "inferred"}
_ORIGINS: Final[dict[str, Origin]] = {o: o for o in get_args(Origin)}
_UNITS: Final = {unit.value: unit for unit in Unit}
_WINDOWS: Final = {window.value: window for window in Window}
_CAPABILITIES: Final = {capability.value: capability for capability in Capability}
_KNOWN: Final = {known.value: known for known in Known}


# --- windows ---------------------------------------------------------------------------------------


def of_meter(meter: Meter, now: float) -> Row | None:
    """A window of which something is to be remembered: it holds something (claims count as used), or was taught."""
    used = meter.count(now)
    taught = meter.origin in TAUGHT and now - max(meter.learned_at, meter.touched_at) < TOLD_KEPT_S
    if not (used or taught or lasts(meter)):
        return None
    log = [[*entry] for entry in meter.log if entry[1]] if meter.sliding else []
    if meter.sliding and used > meter.closed:
        log.append([meter.touched_at + meter.span_s + meter.grace_s, used - meter.closed, meter.total])
    while len(log) > MOST_SLICES:
        log = compact(log)
    ends_at = meter.reset_at if meter.once else meter.whole_at(now) if used and not meter.level else None
    return {
        "scope": of_scope(meter.scope),
        "unit": meter.unit.value,
        "window": meter.window.value,
        "limit": meter.limit,
        "origin": meter.origin,
        "resets": meter.resets,
        "used": used,
        "reset_at": ends_at,
        "total": meter.total,
        "void": meter.void,
        "log": log,
        "once": meter.once,
        **{name: getattr(meter, name) for name in _FOUND_OUT},
    }


def lasts(meter: Meter) -> bool:
    """Whether something was found out of it that outlives the window."""
    return bool(meter.kept or meter.proved or meter.suspect)


def meter_key(row: object) -> tuple[Scope, Unit, Window] | None:
    """Which window a row is of."""
    given = fields(row)
    scope = to_scope(given.get("scope"))
    unit, window = _UNITS.get(text(given.get("unit"))), _WINDOWS.get(text(given.get("window")))
    if scope is None or unit is None or window is None:
        return None
    return scope, unit, window


def into_meter(meter: Meter, row: object, instants: Instants, *, new: bool, beside: bool) -> bool:
    """Put what is remembered into its meter; True where its limit counts for the whole scope, whatever the rows say.

    `new` = no rule of this configuration names the window. A level (concurrency) is taken over only where the one
    who counted it lives on `beside` us: it alone knows when its requests end.
    """
    given = fields(row)
    origin = _ORIGINS.get(text(given.get("origin")))
    limit, used = whole(given.get("limit")), whole(given.get("used"))
    if origin is None or (limit is None and given.get("limit") is not None):
        return False
    told = origin in TAUGHT and limit is not None
    if (told and meter.origin != "owner") or new:
        meter.rule(limit, origin, _clock(given, new=new, learned=origin == "learned"))
        meter.once = told and given.get("once") is True
    elif limit and meter.limit and origin == meter.origin == "published" and given.get("published") == meter.published:
        meter.rule(max(limit, meter.limit), meter.origin)  # the row's number, as far as it was found out
    if new:
        meter.published = whole(given.get("published"), 1)
    _into_found_out(meter, given, instants)
    meter.total = whole(given.get("total")) or 0
    meter.void = whole(given.get("void"), 0, meter.total) or 0
    meter.anew_mark = whole(given.get("anew_mark"), ROLLS, meter.total) or 0
    meter.anew_until = instants.ahead(given.get("anew_until"), _LONGEST_S[meter.window]) or 0.0
    if meter.level:
        meter.restore([], (used or 0) if beside else 0, 0.0, instants.now)
    else:
        end = _window_end(meter, given.get("reset_at"), instants)
        log = _log(meter, given.get("log"), instants) if meter.sliding else []
        if meter.sliding and used and not log and end > instants.now:
            log = [[end, used, meter.total]]
        meter.restore(log, used or 0, end, instants.now)
    return told or meter.kept


def _clock(given: Mapping[str, Any], *, new: bool, learned: bool) -> str | None:
    """By which clock the window ends; None = by the row's, unless a refusal has belied that."""
    named = text(given.get("resets"), 64) or ROLLING
    return named if new or (learned and named in {ROLLING, FIRST_USE}) else None


def _into_found_out(meter: Meter, given: Mapping[str, Any], instants: Instants) -> None:
    """What refusals and successes have taught of a window."""
    meter.proved = whole(given.get("proved")) or 0
    meter.suspect = whole(given.get("suspect")) or 0
    meter.guess = whole(given.get("guess"), 1) or meter.guess
    for name in ("suspect_at", "learned_at", "touched_at"):
        setattr(meter, name, instants.past(given.get(name)))
    if meter.origin in TAUGHT and not meter.learned_at:
        meter.learned_at = instants.now
    meter.kept = meter.kept or given.get("kept") is True
    meter.trial_s = number(given.get("trial_s"), 0.0, TRIAL_LAST_S) or 0.0
    meter.trial_at = instants.ahead(given.get("trial_at"), TRIAL_LAST_S) or 0.0


def _log(meter: Meter, row: object, instants: Instants) -> list[list[Any]]:
    """The slices of a rolling window; those that have left it void what was charged to them."""
    found: list[list[Any]] = []
    for slice_ in listed(row)[:MOST_SLICES]:
        match slice_:
            case [leaves_at, int(amount), int(mark)] if whole(amount) and 0 <= mark <= meter.total:
                end = _window_end(meter, leaves_at, instants)
                if end > instants.now:
                    found.append([end, amount, mark])
                else:
                    meter.void = max(meter.void, mark)
    return sorted(found, key=itemgetter(0))


def _window_end(meter: Meter, row: object, instants: Instants) -> float:
    """When a window ends by the clock of now: never later than such a window can, so that none is stuck."""
    now, anchored = instants.now, meter.resets != "rolling"
    told = meter.origin in TAUGHT
    end = instants.told(row) if told or anchored else instants.ahead(row)
    if end is None:
        return 0.0
    if told:
        return min(end, now + TOLD_KEPT_S)
    return end if end <= now + _LONGEST_S[meter.window] + meter.grace_s else next_reset(meter.resets, meter.window, now)


# --- cooldowns and breakers ------------------------------------------------------------------------


def of_block(block: Block | None, now: float) -> Row | None:
    """A block that stands, or ended so lately that the next one would build on it."""
    if block is None or not (block.active(now) or (block.source == "inferred" and now - block.until <= FORGET_S)):
        return None
    return {
        "cause": block.cause,
        "source": block.source,
        "since": block.since,
        "started_at": block.started_at,
        "until": _or_none(block.until),
        "next_try_at": _or_none(block.next_try_at),
        "every_s": _or_none(block.every_s),
        "step": block.step,
        "in_a_row": block.in_a_row,
        "tried": block.tried,
        "explained": block.every_s == NEVER,  # a full window says the same: nobody need be sent to ask
    }


def to_block(row: object, instants: Instants, *, pause: bool) -> Block | None:
    """A block from its row. One that lasts is sure to be asked again, whatever the row says."""
    given, now = fields(row), instants.now
    cause, source = _CAUSES.get(text(given.get("cause"))), _SOURCES.get(text(given.get("source")))
    when = instants.told if source == "told" else instants.ahead
    until = NEVER if pause else when(given.get("until"))
    if cause is None or source is None or until is None:
        return None
    block = Block(cause, source, now)
    block.since = instants.past(given.get("since"))
    block.started_at = instants.past(given.get("started_at"))
    block.until = until
    lasts = pause or until - now > LONG_S
    every_s = number(given.get("every_s"), 1.0, DAY_S)
    explained = given.get("explained") is True and not pause and until - now <= DAY_S + CANARY_S
    if every_s is None and lasts and not explained:
        every_s = PAUSE_TRY_S if pause else CANARY_S
    if every_s is not None:
        block.every_s = every_s
        next_try_at = instants.ahead(given.get("next_try_at"), every_s)
        block.next_try_at = next_try_at if next_try_at is not None else now + every_s if lasts else NEVER
    block.step = whole(given.get("step"), 0, 3) or 0
    block.in_a_row = whole(given.get("in_a_row"), 0, 1_000_000) or 0
    block.tried = given.get("tried") is True
    return block if of_block(block, now) is not None else None


def of_breaker(breaker: Breaker, now: float) -> Row | None:
    """A breaker in trouble. Its probes under way are not told: they are of the process that sent them."""
    events = [[at, ok] for at, ok in breaker.events if now - at <= WINDOW_S]
    while events and events[0][1]:
        events.pop(0)
    recent = now - breaker.failed_at <= WINDOW_S
    consecutive = breaker.consecutive if recent else 0
    if not (events or breaker.open_until or consecutive):
        return None
    return {
        "events": events,
        "consecutive": consecutive,
        "models": sorted(breaker.models)[:MOST_REFUSED] if recent else [],
        "failed_at": breaker.failed_at,
        "open_until": breaker.open_until,
        "opened_at": breaker.opened_at,
        "opens": breaker.opens,
        "allow": breaker.allow,
    }


def into_breaker(breaker: Breaker, row: object, instants: Instants) -> None:
    """Put what is remembered into its breaker, so that nothing is ever stuck."""
    given = fields(row)
    breaker.close()
    for event in listed(given.get("events"))[-200:]:
        match event:
            case [at, bool(ok)] if number(at) is not None:
                breaker.events.append((instants.past(at), ok))
    breaker.consecutive = whole(given.get("consecutive"), 0, 1_000_000) or 0
    breaker.models.update(m for m in listed(given.get("models"))[:MOST_REFUSED] if text(m))
    breaker.failed_at = instants.past(given.get("failed_at"))
    open_until = instants.ahead(given.get("open_until"), OPEN_S[-1])
    if open_until:
        breaker.open_until = open_until
        breaker.opened_at = instants.past(given.get("opened_at"))
        breaker.opens = whole(given.get("opens"), 1, 1_000_000) or 1
        breaker.allow = whole(given.get("allow"), 1, RAMP_FULL) or 1


def _or_none(value: float) -> float | None:
    return None if value == NEVER else value


# --- what was learned ------------------------------------------------------------------------------


def of_memory(provider: str, model: str, memory: ModelMemory, now: float) -> Row | None:
    """What was learned of a model, None where that is nothing."""
    fresh = ModelMemory()
    cut = memory.cut_until > now and memory.cuts > 0
    row = {
        "context": memory.context,
        "context_at": memory.context_at if memory.context is not None else 0.0,
        "capabilities": {
            what.value: [found.known.value, found.at or now, found.source]
            for what, found in memory.capabilities.items()
            if now - (found.at or now) < CAPABILITY_S
        },
        "refused": sorted(memory.refused)[:MOST_REFUSED],
        "factor": memory.factor,
        "sized": memory.sized,
        "cuts": memory.cuts if cut else 0,
        "cut_tokens": memory.cut_tokens if cut else 0,
        "cut_until": memory.cut_until if cut else 0.0,
        **_of_tempo(memory.tempo, now),
    }
    nothing = {
        "context": None, "context_at": 0.0, "capabilities": {}, "refused": [], "factor": 1.0, "sized": 1.0, "cuts": 0,
        "cut_tokens": 0, "cut_until": 0.0, **_of_tempo(fresh.tempo, now),
    }  # fmt: skip
    return None if row == nothing else {"provider": provider, "model": model, **row}


def _of_tempo(tempo: Tempo, now: float) -> Row:
    return {
        "usual_s": tempo.usual_s,
        "per_token_s": tempo.per_token_s,
        "samples": tempo.samples,
        "stretch": tempo.stretch,
        "slow_until": tempo.slow_until if tempo.slow_until > now else 0.0,
    }


def into_memory(memory: ModelMemory, row: object, instants: Instants) -> None:
    """Put what was learned into its memory."""
    given, now = fields(row), instants.now
    memory.context = whole(given.get("context"), 1)
    if memory.context is not None:
        memory.context_at = instants.past(given.get("context_at")) or now
    for name, claim in fields(given.get("capabilities")).items():
        match claim:
            case [str(known), at, *how] if known in _KNOWN and text(name) in _CAPABILITIES and number(at) is not None:
                if now - (learned_at := instants.past(at)) < CAPABILITY_S:
                    source: Lesson = "probed" if how == ["probed"] else "seen"
                    memory.capabilities[_CAPABILITIES[name]] = Learnt(_KNOWN[known], learned_at, source)
    memory.refused = frozenset(param for param in listed(given.get("refused"))[:MOST_REFUSED] if text(param))
    memory.factor = number(given.get("factor"), FACTOR_LOW, FACTOR_HIGH) or 1.0
    memory.sized = number(given.get("sized"), FACTOR_LOW, FACTOR_HIGH) or memory.factor
    cut_until = instants.ahead(given.get("cut_until"))
    if cut_until is not None and cut_until > now:
        memory.cuts = whole(given.get("cuts")) or 0
        memory.cut_tokens = whole(given.get("cut_tokens")) or 0
        memory.cut_until = cut_until
    tempo = memory.tempo
    tempo.usual_s = number(given.get("usual_s"), 0.0, DAY_S) or 0.0
    tempo.per_token_s = number(given.get("per_token_s"), 0.0, 60.0) or 0.0
    tempo.samples = whole(given.get("samples")) or 0
    tempo.stretch = number(given.get("stretch"), 1.0, HIGH) or 1.0
    slow_until = instants.ahead(given.get("slow_until"))
    tempo.slow_until = slow_until if slow_until is not None and slow_until > now else 0.0


# --- bindings --------------------------------------------------------------------------------------


def of_binding(key: str, binding: Binding, named: object) -> list[Any]:
    """Key, what names the target, pin, last use, floor, settled: a list, since there are thousands."""
    pin = None if binding.pin is None else [binding.pin.provider, binding.pin.model]
    return [key, named, pin, binding.used_at, binding.floor, binding.settled]


def to_binding(
    row: object, target_of: Callable[[object], Target | None], instants: Instants
) -> tuple[str, Binding] | None:
    """A binding from its row; one whose target cannot be read keeps its difficulty."""
    match row:
        case [str(key), named, pin, used_at, int(floor), bool(settled)] if text(key) and 1 <= floor <= 5:
            binding = Binding(_to_pin(pin))
            binding.target = target_of(named)
            binding.used_at = instants.past(used_at)
            binding.floor = int(floor)
            binding.settled = settled and binding.target is not None
            return key, binding
    return None


def _to_pin(row: object) -> Pin | None:
    match row:
        case [str(provider) | (None as provider), str(model)] if text(model) and (provider is None or text(provider)):
            return Pin(provider, model)
    return None
