"""What a caller is told where nobody can serve, and money is a reason for it: whose budget, until when, and what to do.

Owns the truth about budgets in a refusal. It looks at plans and changes nothing; it must never decide who serves.
"""

from collections.abc import Callable
from typing import Final

from hermes_router.core.clocks import next_reset
from hermes_router.core.errors import CallerLimited, HermesError, NoTarget
from hermes_router.core.ids import Target
from hermes_router.core.observations import Unit, Window
from hermes_router.engine.caller_limits import Lease
from hermes_router.engine.context import Engine
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.scheduler import RETRY_S, Plan, Rejection
from hermes_router.routing.standing import BUDGET, spends

__all__ = ["claims_hold", "refusal"]

_OF_KEY: Final = (
    "Paid models wait for the budget of this router key, which has {left} left; `hr key add NAME --usd-day N` makes a "
    "key with more."
)
_OF_POOL: Final = (
    "Paid models wait for the budget of the day, till midnight UTC: raise BUDGET_USD_DAY, or the provider's usd_day."
)
_IN_FLIGHT: Final = "Paid models wait for a budget of which requests under way hold what is left."
_TOO_DEAR: Final = (
    "BUDGET_USD_DAY allows less in a whole day than this request may cost at any paid model, and no free model can "
    "take it now: raise it, or ask for less."
)
_SLACK_S: Final = 2.0  # of a return that a plan names


def refusal(
    found: NoTarget,
    engine: Engine,
    demand: Demand,
    constraint: Constraint,
    *,
    plan: Callable[[Constraint], Plan],
    lease: Lease | None,
) -> HermesError:
    """`found`, or a better truth: with advice where paid models are held back, or the refusal of a budget.

    `plan` makes a plan for a constraint; it is asked a second time only where a router key's budget is in question.
    """
    if not _any_budget(engine, lease):
        return found
    now = engine.clock.now()
    planned = plan(constraint)
    held = _held(planned)
    if not held:
        return found
    if claims_hold(engine, demand, planned, lease):
        sooner = min(now + RETRY_S, now + RETRY_S if found.retry_at is None else found.retry_at)
        return _advised(found, _IN_FLIGHT, retry_at=sooner)
    final = found.limited and not _returns_sooner(found, now)
    least = min(_cost(engine, target, demand) for target in held)
    budget = lease.budget_microusd if lease is not None else None
    if lease is not None and budget is not None and held - _held(plan(constraint._replace(money_left=None))):
        if not final:
            return _advised(found, _OF_KEY.format(left=lease.said_left(now)))
        return lease.over_budget(now, in_vain=least > budget)
    limit = engine.state.budget(now)[0]
    if final and limit is not None and least > limit:
        return CallerLimited(_TOO_DEAR, code="budget_spent", should_retry=False)
    return _advised(found, _OF_POOL)


def claims_hold(engine: Engine, demand: Demand, plan: Plan, lease: Lease | None) -> bool:
    """Whether a paid target could serve if what is claimed for requests under way cost nothing.

    Then nobody knows when there is money again, for they end as they end; and it is worth a wait.
    """
    now = engine.clock.now()
    claimed = engine.limits.claimed(now) if _any_budget(engine, lease) else 0
    if not claimed:
        return False
    budget = None if lease is None or lease.budget_microusd is None else lease.budget_microusd - lease.settled(now)
    for target in _held(plan):
        cost = _cost(engine, target, demand)
        slot = engine.state.slot(target)
        meters = () if slot is None else [meter for meter in slot.meters if meter.unit is Unit.MICROUSD]
        if (budget is None or cost <= budget) and all(meter.fits(cost - claimed, now) for meter in meters):
            return True
    return False


def _any_budget(engine: Engine, lease: Lease | None) -> bool:
    """Whether there is one at all; without, nobody looks through the pool for it."""
    if lease is not None and lease.budget_microusd is not None:
        return True
    said = engine.snapshot.settings.providers.values()
    of_provider = any(rule.unit is Unit.MICROUSD for one in said for rule in one.limits or ())
    return of_provider or engine.state.budget(engine.clock.now())[0] is not None


def _held(plan: Plan) -> frozenset[Target]:
    """Whom nothing but money holds back for as long."""
    rejected = (one for one in plan.explain() if isinstance(one, Rejection))
    return frozenset(one.facts.target for one in rejected if one.reason == BUDGET)


def _cost(engine: Engine, target: Target, demand: Demand) -> int:
    """What the request is expected to cost there, in micro-US-dollars."""
    slot = engine.state.slot(target)
    return spends(slot.group, demand) if slot is not None and slot.group is not None else 0


def _returns_sooner(found: NoTarget, now: float) -> bool:
    """Whether somebody comes back before there is money again."""
    return found.retry_at is not None and found.retry_at < next_reset("utc", Window.DAY, now) - _SLACK_S


def _advised(found: NoTarget, advice: str, *, retry_at: float | None = None) -> NoTarget:
    return NoTarget(
        limited=found.limited,
        retry_at=found.retry_at if retry_at is None else retry_at,
        attempts=found.attempts,
        reasons=found.reasons,
        advice=advice,
    )
