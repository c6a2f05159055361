"""How large a request a target can take, and which window the router advertises for its own names.

Owns the arithmetic of windows: the least of context minus output reserve, the largest request that token windows
admit, and the owner's size limit. It must never look at what is used up: a window means the same all day.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.observations import Unit
from hermes_router.core.settings import Settings

if TYPE_CHECKING:
    from hermes_router.routing.learned import Learned
    from hermes_router.routing.roster import Roster

UNKNOWN_CONTEXT = 64_000
UNKNOWN_LOCAL_CONTEXT = 8_192
UNKNOWN_OUTPUT = 4_096
NEARLY = 0.8  # an estimate of at least this share of a window may be of a request that exceeds it
OUTPUT_RESERVE = 1_024  # what is kept free for an answer; a 65,536 window still shows the 64,000 that Hermes demands


class Capacity(NamedTuple):
    """The largest input in tokens: `hard` is known to bind, `soft` is a prior or a guess that only ranks."""

    hard: int
    soft: int


def is_local(facts: TargetFacts) -> bool:
    """Whether this is the local target of `hermes-router:fast`: on this machine, or without any key."""
    return facts.private or facts.credential.kind == "none"


def reserve(context: int) -> int:
    """What of a context, in tokens, is kept for the answer."""
    return min(OUTPUT_RESERVE, context // 8)


def capacity(facts: TargetFacts, context: int | None) -> Capacity:
    """What a target can take in one request. `context` is the learned window in tokens, None = the row's counts."""
    known = context if context is not None else facts.model.context
    if known is not None:
        hard = known - reserve(known)
    else:  # it binds as if it were known: a larger one is learned from lists and from what providers say, not by trial
        hard = UNKNOWN_LOCAL_CONTEXT if is_local(facts) else UNKNOWN_CONTEXT
    soft = hard
    if facts.skip_tokens_over is not None:
        hard = min(hard, facts.skip_tokens_over)
    for rule in facts.quotas:
        if rule.unit is Unit.TOKENS:
            most = rule.amount - reserve(rule.amount)
        elif rule.unit is Unit.INPUT_TOKENS:
            most = rule.amount
        else:
            continue
        if rule.origin == "owner":
            hard = min(hard, most)
        else:
            soft = min(soft, most)
    return Capacity(max(0, hard), max(0, min(hard, soft)))


def can_take(facts: TargetFacts, learned: "Learned") -> int:
    """The largest input in tokens that may be promised of this target."""
    return capacity(facts, learned.context(facts.target.provider, facts.target.model)).soft


def output_limit(facts: TargetFacts) -> int:
    """The largest output in tokens that may be promised of this target."""
    known = [n for n in (facts.output_cap, facts.model.max_output) if n is not None]
    return min(known) if known else UNKNOWN_OUTPUT


def pin_window(roster: "Roster", learned: "Learned", provider: str | None, model: str) -> int:
    """The window of one model under its own name, in tokens, as lists and refusals tell it: the largest of its keys'.

    It is all of the context, of which an answer takes its part, or what the owner lets through where that is less.
    """
    return max((_whole(facts, learned) for facts in roster.of_model(provider, model)), default=UNKNOWN_CONTEXT)


def _whole(facts: TargetFacts, learned: "Learned") -> int:
    context = learned.context(facts.target.provider, facts.target.model)
    known = context if context is not None else facts.model.context
    if known is None:
        known = UNKNOWN_LOCAL_CONTEXT if is_local(facts) else UNKNOWN_CONTEXT
    hard = capacity(facts, context).hard
    return known if hard >= known - reserve(known) else hard


def pin_output(roster: "Roster", provider: str, model: str) -> int:
    """The output limit of one model under its own name, in tokens: the largest of its keys'."""
    return max((output_limit(facts) for facts in roster.of_model(provider, model)), default=UNKNOWN_OUTPUT)


def advertised_context(roster: "Roster", settings: Settings, learned: "Learned", *, profile: str = "main") -> int:
    """The window of the router's own names: what targets of two providers can take, or of one if there is but one."""
    if settings.advertised_context is not None:
        return settings.advertised_context
    return pool_window(roster, learned, profile=profile)


def pool_window(roster: "Roster", learned: "Learned", *, profile: str = "main") -> int:
    """The pool's own window in tokens, whatever the owner advertises. An empty pool counts as unknown."""
    best: dict[str, int] = {}
    for facts in _serving(roster, profile):
        best[facts.provider.name] = max(best.get(facts.provider.name, 0), can_take(facts, learned))
    return _second(best.values(), UNKNOWN_CONTEXT)


def overflow(window: int, needed: int) -> tuple[int, int]:
    """The window and the size to name, both in tokens, where a request was found too long: the second is the larger.

    Agents store the first, so it is the advertised one wherever the request may have been as large as that, its size
    being an estimate. A smaller one shows that whoever refused it takes less than is known: then no more is known of
    the window than that the request did not fit.
    """
    if needed > window:
        return window, needed
    return (window, window + 1) if needed >= window * NEARLY else (max(1, needed - 1), needed)


def advertised_output(roster: "Roster", settings: Settings, learned: "Learned", *, profile: str = "main") -> int:
    """The output limit of the router's own names, by the same rule, and never above the window."""
    best: dict[str, int] = {}
    for facts in _serving(roster, profile):
        best[facts.provider.name] = max(best.get(facts.provider.name, 0), output_limit(facts))
    window = advertised_context(roster, settings, learned, profile=profile)
    return min(_second(best.values(), UNKNOWN_OUTPUT), window)


def _serving(roster: "Roster", profile: str) -> Iterable[TargetFacts]:
    for facts in roster.facts:
        if facts.disabled is None and facts.model.embeds is None and (profile != "local" or facts.private):
            yield facts


def _second(values: Iterable[int], otherwise: int) -> int:
    ordered = sorted(values, reverse=True)
    return ordered[min(1, len(ordered) - 1)] if ordered else otherwise
