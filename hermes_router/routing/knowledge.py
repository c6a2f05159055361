"""What is known of a target's model, with where it is known from and how old that is: for people, never for plans.

Owns the joining of row, live list and what was learned into one table. It only reads.
"""

from typing import NamedTuple

from hermes_router.core.catalog import Capability, Known, TargetFacts
from hermes_router.core.live_lists import LiveList
from hermes_router.routing.learned import Learned

__all__ = ["Fact", "knowledge"]


class Fact(NamedTuple):
    """One thing known. `value` is `yes`, `no` or a number of tokens; `source` as in `Claim`; `age_s` None = undated."""

    value: str | int
    source: str
    age_s: float | None = None


def knowledge(facts: TargetFacts, learned: Learned, listed: LiveList | None, now: float) -> dict[str, Fact]:
    """All that is known of a target's model at `now` (epoch seconds), by capability, and `context`."""
    spec = facts.model
    memory = learned.models.get((facts.target.provider, facts.target.model))
    list_age_s = max(0.0, now - listed.read_at) if listed is not None else None
    found: dict[str, Fact] = {}
    for what in Capability:
        lesson = memory.learnt(what, now) if memory is not None else None
        claim = memory.claim(what, spec, now) if memory is not None else spec.capability(what)
        if claim.value is Known.UNKNOWN:
            continue
        age_s = None
        if claim.source == "listed":
            age_s = list_age_s
        elif lesson is not None and claim.source == lesson.source:
            age_s = max(0.0, now - lesson.at)
        found[what.value] = Fact(claim.value.value, claim.source, age_s)
    if memory is not None and memory.context is not None:
        found["context"] = Fact(memory.context, "seen", max(0.0, now - memory.context_at))
    elif spec.context is not None:
        row = facts.provider.model(spec.id)
        if row is not None and row.context == spec.context:
            found["context"] = Fact(spec.context, "declared")
        else:
            found["context"] = Fact(spec.context, "listed" if listed is not None else "probed", list_age_s)
    return found
