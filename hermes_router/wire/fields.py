"""Typed access to the top-level fields of a request, each fault named by its path.

Owns what the dialects' requests have in common: a body that is no JSON object, a field of a wrong type, and how many
bytes of a text are escapes. It must never know a dialect.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from hermes_router.core.errors import BadRequest

__all__ = ["boolean", "decode", "escaped_bytes", "given", "integer", "misfit", "number", "read_body", "string", "typed"]

_T = TypeVar("_T")
_ANY: Final = msgspec.json.Decoder()
_ESCAPE: Final = b"\\u"
_SAMPLES, _SAMPLE = 9, 512  # bytes
_EXPECTED: Final = re.compile(r"Expected `(\w+)")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_MISSES: Final = "Expected `str`"  # nothing else is required anywhere
_IN_WORDS: Final = {"str": "a string", "bool": "true or false", "array": "a list", "object": "an object"}


def read_body(body: bytes, decode: Callable[[bytes], _T]) -> _T:
    """The fields of a body, as `decode` takes it apart. Raises BadRequest where it is no JSON object in UTF-8."""
    if not body or body.isspace():
        raise BadRequest("the request body is empty; send a JSON object")
    try:
        if not body.isascii():
            body.decode()  # what stays raw is not decoded, yet it goes to providers: all of it must be UTF-8
        return decode(body)
    except msgspec.ValidationError:
        raise BadRequest("the request body must be a JSON object") from None
    except UnicodeError:
        raise BadRequest("the request body is not valid UTF-8") from None
    except RecursionError:
        raise BadRequest("the request body is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"the request body is not valid JSON: {error}") from None


def decode(raw: Raw, param: str) -> Any:
    """A raw value, whole. Raises BadRequest naming `param`."""
    try:
        return _ANY.decode(raw)
    except RecursionError:
        raise BadRequest(f"{param} is nested too deeply", param=param) from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadRequest(f"{param} cannot be read: {error}", param=param) from None


def misfit(error: msgspec.ValidationError, name: str) -> BadRequest:
    """What is wrong within a field `name` that was decoded as what it must be: the path, and what belongs there.

    msgspec does not name the keys of objects that it was not told of; the path ends before one.
    """
    said, _, place = str(error).partition(" - at `$")
    path = name + place.rstrip("`").partition("[...]")[0]
    if (missing := _MISSING.match(said)) is not None:
        path, said = f"{path}.{missing[1]}", _MISSES
    expected = _EXPECTED.match(said)
    what = _IN_WORDS.get(expected[1], "of another type") if expected is not None else "of another type"
    return BadRequest(f"{path} must be {what}", param=path)


def given(fields: Mapping[str, Raw], name: str) -> Any:
    """The decoded value of a field; None where it is absent or null."""
    raw = fields.get(name)
    return None if raw is None else decode(raw, name)


def typed(fields: Mapping[str, Raw], name: str, wanted: type[_T], what: str) -> _T | None:
    """A value of one type, None where it is absent or null; `what` says in words which type that is."""
    value = given(fields, name)
    if value is not None and not isinstance(value, wanted):
        raise BadRequest(f"{name} must be {what}", param=name)
    return value


def string(fields: Mapping[str, Raw], name: str) -> str | None:
    """A text."""
    return typed(fields, name, str, "a string")


def boolean(fields: Mapping[str, Raw], name: str) -> bool | None:
    """True, false, or not said."""
    return typed(fields, name, bool, "true or false")


def integer(fields: Mapping[str, Raw], name: str, low: int, high: int) -> int | None:
    """A whole number, at least `low`; one above `high` counts as `high`. 3.0 is one, too."""
    value = given(fields, name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"{name} must be an integer", param=name)
    if value < low:
        raise BadRequest(f"{name} must be at least {low}", param=name)
    return min(value, high)


def number(fields: Mapping[str, Raw], name: str) -> float | None:
    """Any number."""
    value = given(fields, name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadRequest(f"{name} must be a number", param=name)
    return value


def escaped_bytes(raw: Raw) -> int:
    """The bytes that escapes add (backslash, u, four digits): six bytes for one that says no more.

    Of a long text nine places are looked at: a look at all of it would cost more than the rest of an outline.
    """
    size = len(raw)
    if size <= _SAMPLES * _SAMPLE:
        return bytes(raw).count(_ESCAPE) * 7 // 2
    text = memoryview(raw)
    step = (size - _SAMPLE) // (_SAMPLES - 1)
    found = sum(bytes(text[at * step : at * step + _SAMPLE]).count(_ESCAPE) for at in range(_SAMPLES))
    return found * size // (_SAMPLES * _SAMPLE) * 7 // 2
