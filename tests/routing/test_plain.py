"""Values from outside, read without trust."""

import math

import pytest

from hermes_router.core.ids import AccountId, ModelId, ProviderName
from hermes_router.core.observations import Scope
from hermes_router.routing.plain import (
    MOST_TEXT,
    YEAR_S,
    Instants,
    fields,
    listed,
    number,
    of_scope,
    of_target,
    text,
    to_scope,
    to_target,
    whole,
)

from .conftest import target

NOW = 1_790_000_000.0


@pytest.mark.parametrize("value", [None, True, "1", [], {}, math.nan, math.inf, -math.inf, 10**400, -1, 1e300])
def test_no_number_is_absent(value: object) -> None:
    """Booleans, texts, NaN, infinities and numbers beyond their bounds read as absent."""
    assert number(value) is None
    assert whole(value) is None


def test_numbers_texts_and_containers_are_taken_as_they_are() -> None:
    """Sound values come back unchanged, an integer as a float where instants are read; others as nothing."""
    assert (number(3), number(0.5), whole(3), whole(-3, -5), whole(3.0)) == (3.0, 0.5, 3, -3, None)
    assert (text("a"), text("a" * (MOST_TEXT + 1)), text(1)) == ("a", "", "")
    assert (fields({"a": 1}), fields([1]), listed([1]), listed("ab")) == ({"a": 1}, {}, [1], [])


def test_an_instant_of_the_past_never_lies_ahead() -> None:
    """What cannot have happened yet happened now; nothing at all is 0."""
    instants = Instants(NOW, NOW)
    assert [instants.past(v) for v in (NOW - 5, NOW + 5, 0, None, "x")] == [NOW - 5, NOW, 0.0, 0.0, 0.0]


def test_an_instant_ahead_is_bounded() -> None:
    """Beyond a year, or beyond what the caller takes, it is none; one that has been is kept."""
    instants = Instants(NOW, NOW)
    assert instants.ahead(NOW + 5) == NOW + 5
    assert instants.ahead(NOW - 5) == NOW - 5
    assert instants.ahead(NOW + YEAR_S + 1) is None
    assert instants.ahead(NOW + 5, 4.0) is None
    assert instants.ahead(None) is None


def test_a_clock_set_back_takes_instants_along_and_one_set_forward_does_not() -> None:
    """Backwards nothing else explains it; forwards it is how long nobody ran."""
    back, forth = Instants(NOW + 1_000, NOW), Instants(NOW - 1_000, NOW)
    assert (back.ahead(NOW + 1_060), back.past(NOW + 900)) == (NOW + 60, NOW - 100)
    assert (forth.ahead(NOW + 60), forth.past(NOW - 1_100)) == (NOW + 60, NOW - 1_100)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(ProviderName("a")),
        Scope(ProviderName("a"), ip=True),
        Scope(ProviderName("a"), account=AccountId("ours"), model=ModelId("m/n")),
    ],
)
def test_a_scope_goes_there_and_back(scope: Scope) -> None:
    """All parts, absent ones too."""
    assert to_scope(of_scope(scope)) == scope


@pytest.mark.parametrize(
    "row",
    [None, [], ["a"], ["", None, None, None, False], ["a", 1, None, None, False], ["a", None, None, None, 1], "abcde",
     ["a", "", None, None, False], ["a" * 999, None, None, None, False]],
)  # fmt: skip
def test_no_scope_is_none(row: object) -> None:
    """Wrong lengths, types and empty names."""
    assert to_scope(row) is None


def test_a_target_goes_there_and_back() -> None:
    """Its three parts, and nothing less."""
    one = target("a/m/n").target
    assert to_target(of_target(one)) == one
    assert [to_target(row) for row in (None, ["a", "b"], ["a", "b", 1], ["a", "", "c"])] == [None] * 4
