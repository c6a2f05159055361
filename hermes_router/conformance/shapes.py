"""Shapes that a JSON value must have, and what is wrong with one that has another.

Owns the small language in which the dialects' bodies and events are written down. A shape is a function of a value and
of the place where it stands; it tells every fault in words. Members that a shape does not name are allowed: dialects
grow. It must never know a dialect.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Shape = Callable[[Any, str], Iterator[str]]

_MOST_SHOWN: Final = 80


def shown(value: object, most: int = _MOST_SHOWN) -> str:
    """A value as it stands in a complaint: JSON on one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else f"{text[:most]}…"


def faults(shape: Shape, value: object, place: str = "") -> list[str]:
    """All that is wrong with a value; empty = nothing."""
    return list(shape(value, place))


def _said(place: str, wanted: str, value: object) -> str:
    return f"{place or 'the body'} should be {wanted}, and is {shown(value)}"


def anything(value: Any, place: str) -> Iterator[str]:
    """Whatever it is."""
    del value, place
    yield from ()


def text(value: Any, place: str) -> Iterator[str]:
    """A string."""
    if not isinstance(value, str):
        yield _said(place, "a string", value)


def filled(value: Any, place: str) -> Iterator[str]:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        yield _said(place, "a string that is not empty", value)


def count(value: Any, place: str) -> Iterator[str]:
    """A whole number, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        yield _said(place, "a whole number, 0 or more", value)


def number(value: Any, place: str) -> Iterator[str]:
    """A number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        yield _said(place, "a number", value)


def flag(value: Any, place: str) -> Iterator[str]:
    """True or false."""
    if not isinstance(value, bool):
        yield _said(place, "true or false", value)


def null(value: Any, place: str) -> Iterator[str]:
    """Nothing else."""
    if value is not None:
        yield _said(place, "null", value)


def json_object_text(value: Any, place: str) -> Iterator[str]:
    """A string that holds a JSON object, as the arguments of a call do; an empty one stands for `{}`."""
    if not isinstance(value, str):
        yield _said(place, "a string of JSON", value)
        return
    try:
        found = json.loads(value or "{}")
    except ValueError:
        yield _said(place, "valid JSON", value)
        return
    if not isinstance(found, dict):
        yield _said(place, "a JSON object", value)


def one_of(*allowed: object) -> Shape:
    """One of these values."""

    def shape(value: Any, place: str) -> Iterator[str]:
        if not any(value == one and type(value) is type(one) for one in allowed):
            yield _said(place, " or ".join(map(shown, allowed)), value)

    return shape


def maybe(inner: Shape) -> Shape:
    """Null, or that."""

    def shape(value: Any, place: str) -> Iterator[str]:
        if value is not None:
            yield from inner(value, place)

    return shape


def either(*inner: Shape) -> Shape:
    """What fits one of several shapes; the faults told are those of the nearest."""

    def shape(value: Any, place: str) -> Iterator[str]:
        found = [faults(one, value, place) for one in inner]
        yield from min(found, key=len)

    return shape


def each(inner: Shape, *, least: int = 0) -> Shape:
    """A list of those, of at least so many."""

    def shape(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield _said(place, "a list", value)
            return
        if len(value) < least:
            yield _said(place, f"a list of at least {least}", value)
        for at, one in enumerate(value):
            yield from inner(one, f"{place}[{at}]")

    return shape


def members(needed: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """An object that has all of `needed`; what it has of `optional` must fit, and others are its own affair."""

    def shape(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield _said(place, "an object", value)
            return
        dot = f"{place}." if place else ""
        for name, inner in needed.items():
            if name not in value:
                yield f"{dot}{name} is missing"
            else:
                yield from inner(value[name], f"{dot}{name}")
        for name, inner in (optional or {}).items():
            if name in value:
                yield from inner(value[name], f"{dot}{name}")

    return shape


def tagged(kinds: Mapping[str, Shape], *, by: str = "type", others: bool = True) -> Shape:
    """An object whose member `by` names its shape. `others`: a kind that is not listed is let through."""

    def shape(value: Any, place: str) -> Iterator[str]:
        kind = value.get(by) if isinstance(value, dict) else None
        if not isinstance(kind, str):
            yield _said(place, f"an object with a {by}", value)
        elif kind in kinds:
            yield from kinds[kind](value, place)
        elif not others:
            yield _said(f"{place}.{by}" if place else by, " or ".join(map(shown, kinds)), kind)

    return shape
