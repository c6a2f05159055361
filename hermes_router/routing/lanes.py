"""Who may serve a kind of request, and in which order: worked out once, then shared by all requests of that kind.

Owns the static half of a plan: capability, scope, profile, privacy, tier and price. It must never look at what
changes by the minute (cooldowns, quotas, sizes): the scheduler does, target by target.
"""

from collections.abc import Sequence
from operator import attrgetter

from hermes_router.core.catalog import Capability, Known, PriceClass
from hermes_router.routing.bindings import Rotor
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.slots import Group

Order = tuple[int, ...]
Standing = tuple[int, int]
"""What comes before affinity: whether a preferred local model is passed over, and what is not known of a model."""

_IN_WORDS = {Capability.MULTIPLE: "n above 1"}  # as a caller asks for it
ARE_WISHES = frozenset({Capability.JSON_OBJECT, Capability.JSON_SCHEMA, Capability.REASONING})
"""Capabilities that the wire can approximate with a warning: a model without them ranks last, but may serve."""
_NEVER_TRIED = {Capability.COMPACTION: "does not compact conversations"}
"""Capabilities that a model has only where that is known, and what is said of the others."""
_SCOPE = "outside the router key's scope"
_NOT_PINNED = "not the pinned model"
TRUSTED, UNSAID, LACKS_A_WISH, TOOLS_UNSAID = range(4)
"""What is not known of a model, as the second part of its standing: the best first."""
_UNSAID = {Capability.TOOLS: TOOLS_UNSAID}


class Member:
    """One provider's models in a lane, the smallest fitting one first."""

    __slots__ = ("groups", "rotor")

    def __init__(self, rotor: Rotor) -> None:
        self.rotor = rotor
        self.groups: list[Group] = []


class Lane:
    """Providers whose models are equals for this kind of request, in the pool's order."""

    __slots__ = ("fits", "members", "price_class", "standing")

    def __init__(self, standing: Standing, price_class: PriceClass, *, fits: bool) -> None:
        self.standing = standing
        self.price_class = price_class
        self.fits = fits
        self.members: list[Member] = []


class Lanes:
    """The lanes of one kind of request, best first, and why the other models are in none of them.

    `standing` answers for every admitted model; `rejected` names the reason for every other.
    `lacking` are the reasons that no key and no wait would cure: capability, privacy, profile. `out_of_scope` = there
    are models, and nothing but the router key's scope keeps the request from them.
    """

    __slots__ = ("expires_at", "lacking", "lanes", "out_of_scope", "rejected", "standing", "version")

    def __init__(self, version: int, expires_at: float) -> None:
        self.version = version
        self.expires_at = expires_at
        self.lanes: list[Lane] = []
        self.standing: dict[Group, Standing] = {}
        self.rejected: dict[Group, str] = {}
        self.lacking: list[str] = []
        self.out_of_scope = False

    def lack(self, demand: Demand, constraint: Constraint) -> str:
        """Why there is no lane, and no wait brings one, in words for the caller; empty where one may."""
        if self.out_of_scope:
            which = "Every target that could serve this request" if constraint.pin is None else "This model"
            return (
                f"{which} is outside the scope of your router key, which is: "
                f"{', '.join(sorted(constraint.providers or ()))}. Name a model inside it, or use a key with another "
                "scope ('hr key add NAME --providers P,...')."
            )
        local = demand.profile == "local" or constraint.local_only
        if not (self.lacking or local):
            return ""
        return (
            f"No configured target can serve this request: {', '.join(sorted(set(self.lacking))) or 'no local model'}."
        )


def build(
    groups: Sequence[Group], demand: Demand, constraint: Constraint, now: float, *, version: int, expires_at: float
) -> Lanes:
    """Sort every model into a lane or name why it is in none."""
    made = Lanes(version, expires_at)
    admitted: list[tuple[Group, Standing]] = []
    for group in groups:
        reason = _outside(group, constraint)
        if reason is not None:
            made.rejected[group] = reason
            continue
        verdict = _standing(group, demand, constraint, now)
        if isinstance(verdict, str):
            made.rejected[group] = verdict
            made.lacking.append(verdict)
        else:
            admitted.append((group, verdict))
    if Capability.IMAGES in demand.needs:
        admitted = _known_to_see(admitted, made, now)
    if admitted:
        made.lacking.clear()
    else:
        made.out_of_scope = {reason for reason in made.rejected.values() if reason != _NOT_PINNED} == {_SCOPE}
    by_order: dict[Order, list[Group]] = {}
    for group, standing in admitted:
        made.standing[group] = standing
        by_order.setdefault(_order(group, standing, demand), []).append(group)
    for order in sorted(by_order):
        made.lanes.append(_lane(order, by_order[order]))
    return made


def _lane(order: Order, groups: list[Group]) -> Lane:
    lane = Lane((order[0], order[1]), groups[0].price_class, fits=order[2] == 0)
    members: dict[str, Member] = {}
    for group in groups:
        member = members.get(group.provider)
        if member is None:
            member = members[group.provider] = Member(group.rotor)
            lane.members.append(member)
        member.groups.append(group)
    for member in lane.members:
        member.groups.sort(key=attrgetter("tier", "position"))
    return lane


def _order(group: Group, standing: Standing, demand: Demand) -> Order:
    """Fit, then price class, and among paid ones the price; of those that do not fit, the strongest first."""
    unfit = 0 if group.tier >= demand.difficulty else 6 - group.tier
    price = group.price if group.price_class is PriceClass.PAID else 0
    return (*standing, unfit, int(group.price_class), price)


def _outside(group: Group, constraint: Constraint) -> str | None:
    """Why a model is outside what this request may use at all, None where it is inside."""
    pin = constraint.pin
    if pin is not None and (pin.model != group.model or pin.provider not in (None, group.provider)):
        return _NOT_PINNED
    if constraint.providers is not None and group.provider not in constraint.providers:
        return _SCOPE
    if group.provider in constraint.exclude_providers:
        return "provider refused this request"
    if all(slot.facts.disabled is not None for slot in group.slots):
        return f"disabled: {group.slots[0].facts.disabled}"
    return None


def _standing(group: Group, demand: Demand, constraint: Constraint, now: float) -> Standing | str:
    """A model's place before affinity, or why it cannot serve this kind of request."""
    spec = group.facts.model
    if (constraint.local_only or demand.profile == "local") and not group.private:
        return "not a private local model"
    if constraint.no_training and not group.private and group.facts.provider.trains is not False:
        return "may train on content"
    if (spec.embeds is not None) != (demand.operation == "embed"):
        return f"does not serve {demand.operation}"
    if group.tier < constraint.min_tier:
        return f"below tier {constraint.min_tier}"
    if demand.image_urls and not (group.facts.provider.image_urls or constraint.fetches):
        return "needs images inline"
    unknown = TRUSTED
    for need in demand.needs:
        known = group.memory.capability(need, spec, now)
        if known is Known.YES and (need is not Capability.COMPACTION or group.facts.speaks("openai_responses")):
            continue
        if need in _NEVER_TRIED:
            return _NEVER_TRIED[need]
        if known is Known.NO and need not in ARE_WISHES:
            return f"no {_IN_WORDS.get(need, need.value)}"
        unknown = max(unknown, LACKS_A_WISH if known is Known.NO else _UNSAID.get(need, UNSAID))
    passed_over = 0
    if demand.profile == "fast" and demand.light:
        takes_tools = not demand.tools or group.memory.capability(Capability.TOOLS, spec, now) is Known.YES
        passed_over = 0 if group.local and takes_tools else 1
    return passed_over, unknown


def _known_to_see(admitted: list[tuple[Group, Standing]], made: Lanes, now: float) -> list[tuple[Group, Standing]]:
    """Images go only where they are seen: one that is known to see them rules out all that are not."""

    def sees(group: Group) -> bool:
        return group.memory.capability(Capability.IMAGES, group.facts.model, now) is Known.YES

    if not any(sees(group) for group, _ in admitted):
        return admitted
    for group, _ in admitted:
        if not sees(group):
            made.rejected[group] = "not known to see images"
    return [(group, standing) for group, standing in admitted if sees(group)]
