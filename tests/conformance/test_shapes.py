"""hermes_router/conformance/shapes.py: what a shape takes, and how it says what is wrong."""

from typing import Any

import pytest

from hermes_router.conformance import shapes as s

SHAPE = s.members(
    {"id": s.filled, "kind": s.one_of("a", 1), "parts": s.each(s.tagged({"t": s.members({"text": s.text})}), least=1)},
    {"usage": s.maybe(s.members({"n": s.count})), "score": s.number, "on": s.flag},
)
GOOD: dict[str, Any] = {"id": "x", "kind": "a", "parts": [{"type": "t", "text": ""}], "usage": None, "more": object()}


def test_what_fits_has_no_fault() -> None:
    """Optional members may be absent or null where that is allowed, unknown ones are nobody's affair."""
    assert s.faults(SHAPE, GOOD) == []
    assert s.faults(SHAPE, {**GOOD, "usage": {"n": 0}, "score": 0.5, "on": False}) == []
    assert s.faults(SHAPE, {**GOOD, "parts": [{"type": "of tomorrow"}]}) == []


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "the body should be an object, and is []"),
        ({k: v for k, v in GOOD.items() if k != "id"}, "id is missing"),
        ({**GOOD, "id": ""}, 'id should be a string that is not empty, and is ""'),
        ({**GOOD, "kind": True}, 'kind should be "a" or 1, and is true'),
        ({**GOOD, "parts": []}, "parts should be a list of at least 1, and is []"),
        ({**GOOD, "parts": [{}]}, "parts[0] should be an object with a type, and is {}"),
        ({**GOOD, "parts": [{"type": "t", "text": None}]}, "parts[0].text should be a string, and is null"),
        ({**GOOD, "usage": {"n": -1}}, "usage.n should be a whole number, 0 or more, and is -1"),
        ({**GOOD, "usage": {"n": True}}, "usage.n should be a whole number, 0 or more, and is true"),
        ({**GOOD, "score": "1"}, 'score should be a number, and is "1"'),
        ({**GOOD, "on": 1}, "on should be true or false, and is 1"),
    ],
)
def test_each_fault_names_its_place(value: Any, why: str) -> None:
    """A member that is missing or of another type is told with its path, what was meant and what came."""
    assert s.faults(SHAPE, value) == [why]


def test_arguments_of_a_call_are_an_object_in_a_string() -> None:
    """Empty stands for no arguments; a list, or half an object, is a fault."""
    assert s.faults(s.json_object_text, "") == s.faults(s.json_object_text, '{"a": 1}') == []
    for broken in ('{"a": ', "[1]", {"a": 1}):
        assert len(s.faults(s.json_object_text, broken, "arguments")) == 1


def test_the_nearest_of_several_shapes_is_complained_of() -> None:
    """Where one of several is meant, the faults told are those of the one that it nearly is."""
    shape = s.either(s.text, s.members({"a": s.text, "b": s.text}))
    assert s.faults(shape, {"a": "x", "b": "y"}) == s.faults(shape, "x") == []
    assert len(s.faults(shape, {"a": "x"}, "v")) == 1


def test_a_long_value_is_cut() -> None:
    """A complaint stays a line, whatever came."""
    (why,) = s.faults(s.count, "x" * 500, "n")
    assert len(why) < 200
    assert why.endswith("…")


def test_closed_kinds_and_null() -> None:
    """Where a list of kinds is closed, another one is a fault; null means null."""
    assert s.faults(s.tagged({"a": s.anything}, others=False), {"type": "b"}) == ['type should be "a", and is "b"']
    assert s.faults(s.null, 0, "x") == ["x should be null, and is 0"]
