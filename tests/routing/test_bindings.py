"""Affinity bindings."""

from hermes_router.core.ids import CredentialId, ModelId, ProviderName, Target
from hermes_router.routing.bindings import IDLE_S, Bindings, Rotor
from hermes_router.routing.names import Pin


def target(name: str) -> Target:
    """A target of this provider."""
    return Target(ProviderName(name), ModelId("m"), CredentialId("k"))


A, B = target("a"), target("b")


def test_whoever_answers_gets_the_conversation() -> None:
    """The latest answer of a turn binds."""
    one = Bindings()
    one.served("c", A, 0.0, binds=False, difficulty=1)
    one.served("c", B, 1.0, binds=True, difficulty=1)
    found = one.get("c")
    assert found is not None
    assert found.target == B


def test_cp4_a_namesake_does_not_take_a_conversation_over() -> None:
    """Another first turn with the same words leaves a conversation under way where it is, until it idles."""
    one = Bindings()
    one.served("c", A, 0.0, binds=True, difficulty=3)
    one.served("c", B, 1.0, binds=False, difficulty=1)
    found = one.get("c")
    assert found is not None
    assert found.target == A
    assert one.floor("c") == 3
    one.served("c", B, IDLE_S + 1, binds=False, difficulty=1)
    assert found.target == B
    assert one.floor("c") == 1


def test_the_floor_only_rises_within_a_conversation() -> None:
    """An easy turn after a hard one keeps the hard one's floor; nobody's floor is 1."""
    one = Bindings()
    one.served("c", A, 0.0, binds=True, difficulty=4)
    one.served("c", A, 1.0, binds=True, difficulty=2)
    assert one.floor("c") == 4
    assert one.floor(None) == one.floor("x") == 1


def test_a_changed_pin_ends_it() -> None:
    """Pinned elsewhere, or no longer pinned: the binding is gone."""
    one = Bindings()
    one.served("c", A, 0.0, binds=True, difficulty=1)
    one.planned("c", None)
    found = one.get("c")
    assert found is not None
    assert found.target == A
    one.planned("c", Pin("b", "m"))
    assert found.target is None
    one.served("c", B, 1.0, binds=True, difficulty=1)
    one.planned("c", Pin("b", "m"))
    assert found.target == B
    one.planned("c", None)
    assert found.target is None


def test_a_pin_is_remembered_from_the_first_turn() -> None:
    """A conversation that begins pinned is bound under that pin; an unpinned one is noted by its answer."""
    one = Bindings()
    one.planned("p", Pin("a", "m"))
    one.planned("u", None)
    found = one.get("p")
    assert found is not None
    assert found.pin == Pin("a", "m")
    assert one.get("u") is None


def test_the_oldest_is_forgotten_first() -> None:
    """The number of conversations is bounded, and use keeps one alive."""
    one = Bindings(most=2)
    for key in ("a", "b", "a", "c"):
        one.served(key, A, 0.0, binds=True, difficulty=1)
    assert one.get("b") is None
    assert len(one) == 2


def test_a_rotor_begins_at_the_front() -> None:
    """Whoever never had a turn is asked first."""
    assert Rotor("p").stamp == 0
