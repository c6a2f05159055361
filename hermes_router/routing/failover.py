"""What may be tried after a failure: a table over the error classes, as a new constraint or the order to stop.

Owns the step from one attempt to the next. It must never look at quotas, health or time: what a failure did to the
ledger, the next plan sees by itself.
"""

from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, assert_never

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.errors import Blames, NextStep, TooLargeHere, UpstreamError
from hermes_router.core.observations import Unit
from hermes_router.routing.demand import Constraint
from hermes_router.routing.window import capacity

Action = Literal["plan", "same", "stop"]
CREDIBLE = 0.5  # an estimate of at least this share of the window makes "too long" believable for that window


class Next(NamedTuple):
    """What follows a failed attempt.

    `plan`: plan anew under `constraint`. `same`: the same, whose `constraint` asks the same target once more if it
    can, without the field `drop`. `stop`: the error itself is the answer; it is passed back to the caller.
    """

    action: Action
    constraint: Constraint
    drop: str | None = None


def after(
    error: UpstreamError,
    facts: TargetFacts,
    constraint: Constraint,
    *,
    altered: bool = False,
    input_tokens: int = 0,
    dropped: AbstractSet[str] = frozenset(),
    context: int | None = None,
) -> Next:
    """What to try after `error` at the target of `facts`, which was planned under `constraint`.

    Args:
        error: what the attempt ended with.
        facts: the target that it was made at.
        constraint: what the attempt was planned under.
        altered: whether the body was translated or changed in meaning on its way out.
        input_tokens: the request's estimated size.
        dropped: fields that this exchange has dropped already.
        context: the target's learned window in tokens, None where the row's counts.
    """
    constraint = constraint if constraint.again is None else constraint._replace(again=None)
    step = error.next_step
    if step is NextStep.SAME_WITHOUT_FIELD and (error.param is None or error.param in dropped):
        step = NextStep.OTHER_PROVIDER_ONCE  # it refuses for another reason than it names, or names none
    match step:
        case NextStep.STOP:
            return Next("stop", constraint)
        case NextStep.SAME_WITHOUT_FIELD:
            return Next("same", constraint._replace(again=facts.target), drop=error.param)
        case NextStep.OTHER_PROVIDER_ONCE:
            if not altered or constraint.exclude_providers:
                return Next("stop", constraint)
            excluded = constraint.exclude_providers | {facts.provider.name}
            return Next("plan", _out(constraint, facts)._replace(exclude_providers=excluded))
        case NextStep.OTHER_CREDENTIAL:
            return Next("plan", _out(constraint, facts))
        case NextStep.BIGGER_TARGET:
            floor = max(constraint.min_input, _too_small(error, facts, input_tokens, context))
            return Next("plan", _out(constraint, facts)._replace(min_input=floor))
        case NextStep.OWN_FETCHER:
            return Next("plan", _out(constraint, facts)._replace(fetches=False))
        case NextStep.OTHER_MODEL:
            return Next("plan", _away(_out(constraint, facts), facts))
        case NextStep.OTHER_TARGET:
            later = _later(constraint, facts)
            blames_model = error.blames is Blames.PROVIDER and error.scope == "model"
            # One sibling is asked; two busy models of a provider say that it is the provider which is busy.
            sibling_busy = constraint.prefer is not None and constraint.prefer[0] == facts.provider.name
            if blames_model and sibling_busy:
                return Next("plan", later._replace(prefer=None))
            return Next("plan", _away(later, facts) if blames_model else later)
        case _:
            assert_never(step)


def _out(constraint: Constraint, facts: TargetFacts) -> Constraint:
    """Never again in this exchange."""
    return constraint._replace(tried=constraint.tried | {facts.target}, last=constraint.last - {facts.target})


def _later(constraint: Constraint, facts: TargetFacts) -> Constraint:
    """Again once, after all others; after the second failure never."""
    if facts.target in constraint.last:
        return _out(constraint, facts)
    return constraint._replace(last=constraint.last | {facts.target})


def _away(constraint: Constraint, facts: TargetFacts) -> Constraint:
    """The same provider's other models first."""
    avoid = {str(facts.model.id)}
    if constraint.prefer is not None and constraint.prefer[0] == facts.provider.name:
        avoid |= constraint.prefer[1]
    return constraint._replace(prefer=(facts.provider.name, frozenset(avoid)))


def _too_small(error: UpstreamError, facts: TargetFacts, input_tokens: int, context: int | None) -> int:
    """The size, in tokens, that the next target has to exceed.

    Where the estimate comes near the window, the window is believed, and its equals are not asked. Where it does
    not, the row is wrong about this target (a free tier's smaller window), and only the request's size counts.
    """
    if isinstance(error, TooLargeHere):
        told = [q.limit for q in error.quotas if q.limit and q.unit in (Unit.TOKENS, Unit.INPUT_TOKENS)]
        return min(*told, input_tokens) if told else input_tokens
    known = capacity(facts, context).soft
    return known if input_tokens >= known * CREDIBLE else input_tokens
