"""In which order equals are asked: the rows behind `hr mode`.

Owns ordering only. What may be asked at all was filtered before; whose turn it is stands in stamps that the state
keeps, so a policy is a pair of pure functions.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

from hermes_router.core.errors import ConfigError
from hermes_router.routing.lanes import Member
from hermes_router.routing.slots import Slot

_member_turn = attrgetter("rotor.stamp")
_slot_turn = attrgetter("stamp")


class Policy(NamedTuple):
    """How providers and keys of a provider take turns. `drains` = scarcity does not move on to the next."""

    name: str
    members: Callable[[Sequence[Member]], Sequence[Member]]
    slots: Callable[[Sequence[Slot]], Sequence[Slot]]
    drains: bool


def _members_by_turn(members: Sequence[Member]) -> Sequence[Member]:
    return sorted(members, key=_member_turn) if len(members) > 1 else members


def _slots_by_turn(slots: Sequence[Slot]) -> Sequence[Slot]:
    return sorted(slots, key=_slot_turn) if len(slots) > 1 else slots


def _members_in_order(members: Sequence[Member]) -> Sequence[Member]:
    return members


def _slots_in_order(slots: Sequence[Slot]) -> Sequence[Slot]:
    return slots


ROUND_ROBIN = Policy("round-robin", _members_by_turn, _slots_by_turn, drains=False)
SEQUENTIAL = Policy("sequential", _members_in_order, _slots_in_order, drains=True)

POLICIES: dict[str, Policy] = {policy.name: policy for policy in (ROUND_ROBIN, SEQUENTIAL)}


def policy_named(name: str) -> Policy:
    """The policy of this name (`-` and `_` alike); raises ConfigError for a name that is in no row."""
    found = POLICIES.get(name) or POLICIES.get(name.replace("_", "-"))
    if found is None:
        raise ConfigError(f"no such mode: {name[:40]!r}; there are {', '.join(POLICIES)}")
    return found
