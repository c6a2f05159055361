"""Single values of a row: each reader gives the typed value, or None for what is not one.

Owns what a value of the schema may look like. It must never know which key it stands under, and never quote a value:
the caller of a reader says what was wanted.
"""

import re
from collections.abc import Callable
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from hermes_router.core.catalog import Capability, PriceClass, Quirk

Sizes = tuple[int, ...] | Literal["any"] | None
"""`Embedding.sizes`."""

PRICE_CLASSES: Final = {one.name.lower(): one for one in PriceClass}

_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRET_HEADERS: Final = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})
_QUIRKS: Final = frozenset(one.value for one in Quirk)
_CAPABILITIES: Final = frozenset(one.value for one in Capability)


def base_url_fault(text: str) -> str | None:
    """What is wrong with a base URL, None where nothing is. Never quotes it: it may hold a password."""
    if not text.isascii() or any(c <= " " or c == "\x7f" for c in text):
        return "holds spaces, control or non-ASCII characters"
    try:
        parts = urlsplit(text)
        port_fault = parts.port == 0
    except ValueError:
        return "is not a URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port_fault:
        return "is not an http or https URL"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password"
    if parts.query or parts.fragment:
        return "holds a query or fragment; paths are appended to it"
    return None


def text(value: object) -> str | None:
    """Any text."""
    return value if isinstance(value, str) else None


def yes_no(value: object) -> bool | None:
    """True or false."""
    return value if isinstance(value, bool) else None


def count(value: object) -> int | None:
    """A whole number above 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def sizes(value: object) -> Sizes:
    """Lengths of vectors: `any`, or a list of them, the smallest first."""
    if value == "any":
        return "any"
    if not isinstance(value, list) or any(count(one) is None for one in value):
        return None
    return tuple(sorted(cast("list[int]", value)))


def positive(value: object) -> float | None:
    """A finite number above 0."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    number = float(cast("float", value)) if ok else 0.0
    return number if 0 < number < float("inf") else None


def dollars(value: object) -> float | None:
    """A finite amount of money, 0 included."""
    return 0.0 if value == 0 and not isinstance(value, bool) else positive(value)


def tier(value: object) -> int | None:
    """A whole number from 1 to 5."""
    number = count(value)
    return number if number is not None and number <= 5 else None


def texts(value: object) -> tuple[str, ...] | None:
    """A list of texts, none of them empty."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        return None
    return tuple(value)


def key_check(value: object) -> str | None:
    """A path after the base URL, a whole https URL, or nothing."""
    fits = isinstance(value, str) and (not value or re.fullmatch(r"(?:https://[\w.-]+)?/[\w./-]*", value, re.ASCII))
    return str(value) if fits else None


def list_url(value: object) -> str | None:
    """A path after the base URL, or a whole https URL, with a query where one is needed."""
    pattern = r"(?:https://[\w.-]+)?/[\w./-]*(?:\?[\w=&.-]*)?"
    return value if isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) else None


def url(value: object) -> str | None:
    """A whole URL without a closing slash."""
    return value.rstrip("/") if isinstance(value, str) and base_url_fault(value) is None else None


def path(value: object) -> str | None:
    """A path after the base URL, or nothing."""
    return value if isinstance(value, str) and re.fullmatch(r"(?:/[\w./-]*)?", value, re.ASCII) else None


def names(value: object) -> frozenset[str] | None:
    """A list of texts whose order means nothing."""
    found = texts(value)
    return None if found is None else frozenset(found)


def pairs(value: object) -> dict[str, str] | None:
    """A table of texts."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        return None
    return dict(value)


def headers(value: object) -> dict[str, str] | None:
    """A table of HTTP headers, none of which carries a secret: those have their own place."""
    found = pairs(value)
    if found is None or any(name.lower() in _SECRET_HEADERS for name in found):
        return None
    clean = all(_HEADER.fullmatch(name) and v.isascii() and v.isprintable() for name, v in found.items())
    return found if clean else None


def variables(value: object) -> tuple[str, ...] | None:
    """A list of names of environment variables."""
    found = texts(value)
    return found if found is not None and all(map(_VARIABLE.fullmatch, found)) else None


def quirks(value: object) -> frozenset[Quirk] | None:
    """A list of quirks by their names."""
    found = texts(value)
    return frozenset(map(Quirk, found)) if found is not None and _QUIRKS.issuperset(found) else None


def capabilities(value: object) -> frozenset[Capability] | None:
    """A list of capabilities by their names."""
    found = texts(value)
    return frozenset(map(Capability, found)) if found is not None and _CAPABILITIES.issuperset(found) else None


def one_of(*choices: str) -> Callable[[object], str | None]:
    """A reader of one of these words."""
    return lambda value: value if isinstance(value, str) and value in choices else None


def price_class(value: object) -> PriceClass | None:
    """A price class by its name in lower case."""
    return PRICE_CLASSES.get(value) if isinstance(value, str) else None
