"""What has changed is told once, and the first change is said at once."""

from hermes_router.core import errors as err
from hermes_router.core.catalog import Capability, Known, QuotaRule
from hermes_router.core.observations import Unit, Window
from hermes_router.routing.changes import Changes, taken
from hermes_router.routing.quota import GRACE_S
from hermes_router.routing.slots import Slot

from .conftest import START, World, ask, target

RULES = [
    QuotaRule(Unit.REQUESTS, 100, Window.DAY, origin="owner"),
    QuotaRule(Unit.CONCURRENCY, 3, Window.NONE, origin="owner"),
]


def told(w: World, most: int = 1_000) -> dict[str, list[str]]:
    """The keys of what has changed, by kind, with blanks between their parts; what is to be forgotten with a minus."""
    found: dict[str, list[str]] = {}
    for row in w.state.take_changes(w.now, most):
        found.setdefault(row.kind, []).append(f"{'-' if row.value is None else ''}{' '.join(row.key.split())}")
    return {kind: sorted(keys) for kind, keys in found.items()}


def test_a_request_changes_its_windows_its_turn_and_its_model() -> None:
    """Nothing of any other target is written down again, and no level, which ends with the process."""
    w = World(target("a/m", quotas=RULES), target("b/m", quotas=RULES))
    assert w.who(ask(session="s", assistant_turns=1)) == "a/m#k1"
    assert told(w) == {
        "meter": ["a k1-a requests day"],
        "model": ["a m"],
        "turn": ["a m k1-a"],
        "rotor": ["a"],
        "talk": ["rk ss"],
    }
    assert told(w) == {}


def test_a_claim_under_way_counts_as_used() -> None:
    """A kill between sending and settling gives nothing back."""
    w = World(target("a/m", quotas=RULES))
    w.take()
    (row,) = [row for row in w.state.take_changes(w.now, 100) if row.kind == "meter"]
    assert row.value["used"] == 1
    assert (row.at, row.until) == (START, START + 86_400 + GRACE_S)


def test_a_failure_changes_the_scopes_that_it_names_and_a_success_empties_them() -> None:
    """The row of a cooldown comes, and goes again."""
    a = target("a/m")
    w = World(a)
    w.blame(a, err.RateLimited(retry_at=w.now + 20, told=True))
    assert "a k1-a m" in told(w)["cell"]
    w.later(21).good(a)
    assert "-a k1-a m" in told(w)["cell"]


def test_the_first_change_is_said_and_the_next_ones_are_not() -> None:
    """Whoever writes is woken once, and once more after all was taken."""
    w = World(target("a/m"))
    said: list[int] = []
    w.state.changes.on_first = lambda: said.append(1)
    w.who()
    w.who()
    assert (len(said), bool(w.state.changes)) == (1, True)
    told(w)
    assert not w.state.changes
    w.state.learn_capability("a", "m", Capability.TOOLS, Known.YES)
    assert (len(said), told(w)) == (2, {"model": ["a m"]})


def test_what_has_changed_comes_in_bites() -> None:
    """Each row once, however small the bite; until all are taken there is something to take."""
    pool = [target(f"p{n}/m", quotas=RULES) for n in range(7)]
    w = World(*pool)
    for _ in pool:
        w.who()
    found: list[str] = []
    while w.state.changes:
        bite = told(w, 3)
        assert sum(map(len, bite.values())) <= 3
        found += [f"{kind} {key}" for kind, keys in bite.items() for key in keys]
    assert len(found) == len(set(found)) == 7 * 4


def test_what_is_marked_while_it_is_taken_is_taken_next() -> None:
    """No change is lost between two bites."""
    w = World(*[target(f"p{n}/m", quotas=RULES) for n in range(3)])
    w.who()
    told(w, 1)
    w.who()
    while w.state.changes:
        told(w, 1)
    w.who()
    assert told(w)["turn"]


def test_marks_can_be_taken_in_part() -> None:
    """What is left over stays marked."""
    marks = set(range(10))
    assert len(taken(marks, 4)) == 4
    assert len(marks) == 6
    assert taken(marks, 0) == []
    assert len(taken(marks, 100)) == 6
    assert not marks


def test_a_slot_stands_for_all_its_records() -> None:
    """One mark a request: what it leads to is looked up when it is written."""
    w = World(target("a/m", quotas=RULES))
    w.state.adopt(w.roster)
    slot = w.state.slot(w.roster.facts[0].target)
    assert isinstance(slot, Slot)
    changes = Changes()
    changes.used(slot)
    assert changes.spread() == {slot}
    assert (len(changes.meters), len(changes.cells)) == (2, 0)
    changes.judged(slot)
    changes.spread()
    assert len(changes.cells) == 7
