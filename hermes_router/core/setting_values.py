"""The text of a variable to its value: one reader for each kind of setting.

Owns what a value may look like. A reader raises ValueError with what was wanted, and never quotes what it was given:
any value may be a secret that was put under the wrong name.
"""

import ipaddress
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar
from urllib.parse import urlsplit

from hermes_router.core.catalog import ProviderSpec, QuotaRule
from hermes_router.core.ids import Secret
from hermes_router.core.observations import ScopeKind, Unit, Window
from hermes_router.core.row_values import base_url_fault

__all__ = [
    "Word",
    "base_url",
    "boolean",
    "dollars",
    "host",
    "hosts",
    "integer",
    "key_fault",
    "limits",
    "listed",
    "model",
    "models",
    "optional",
    "origins",
    "proxy_url",
    "router_keys",
    "seconds",
    "word",
]

_T = TypeVar("_T")

_BOOLEANS: Final = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_HOST_HEADER: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]{0,252}[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*]+")
_MOST_MICROUSD: Final = 10**15
_LIMITS: Final = {
    "rpm": (Unit.REQUESTS, Window.MINUTE),
    "rpd": (Unit.REQUESTS, Window.DAY),
    "tpm": (Unit.TOKENS, Window.MINUTE),
    "tpd": (Unit.TOKENS, Window.DAY),
    "concurrency": (Unit.CONCURRENCY, Window.NONE),
    "usd_day": (Unit.MICROUSD, Window.DAY),
}
_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?[A-Z][A-Z0-9_]*_(?:KEYS?|TOKEN)(?:_\d+)?\s*=")


def optional(read: Callable[[str], _T]) -> Callable[[str], _T | None]:
    """A reader for which an empty value says "none", whatever the layers below say."""
    return lambda text: read(text) if text.strip() else None


def listed(text: str) -> tuple[str, ...]:
    """A comma list: blanks around items and empty items do not count, the first of equal ones stays."""
    return tuple(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))


def boolean(text: str) -> bool:
    """1, true, yes, on; 0, false, no, off."""
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise ValueError("must be 1 or 0 (true, yes, on; false, no, off)")
    return value


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """A reader of whole numbers from `low` up to `high`."""
    want = f"must be a whole number of at least {low}" if high is None else f"must be from {low} to {high}"

    def read(text: str) -> int:
        digits = text.strip().replace("_", "")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise ValueError(want)
        value = int(digits)
        if value < low or (high is not None and value > high):
            raise ValueError(want)
        return value

    return read


def seconds(*, zero: bool) -> Callable[[str], float]:
    """A reader of seconds, fractions allowed; `zero` says whether 0 is a value."""
    want = "must be a number of seconds" + ("" if zero else " above 0")

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(want) from None
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            raise ValueError(want)
        return value

    return read


def dollars(text: str) -> int:
    """An amount of US dollars, `2` or `0.50`, in micro-US-dollars; 0 = nothing that is paid for."""
    try:
        value = Decimal(text.strip().removeprefix("$").replace("_", "")) * 1_000_000
    except InvalidOperation:
        value = Decimal(-1)
    if not (value.is_finite() and 0 <= value <= _MOST_MICROUSD and value == value.to_integral_value()):
        raise ValueError("must be an amount of US dollars such as 2 or 0.50")
    return int(value)


class Word:
    """A reader of one of some words, any case; `choices` maps what may be written to what it means."""

    def __init__(self, choices: dict[str, str]) -> None:
        self.choices = choices

    def __call__(self, text: str) -> str:
        """What is meant. Raises ValueError."""
        value = self.choices.get(text.strip().lower())
        if value is None:
            raise ValueError("must be one of " + ", ".join(self.choices))
        return value


def word(choices: dict[str, str]) -> Word:
    """A reader of one of some words."""
    return Word(choices)


def host(text: str) -> str:
    """An address or a host name to listen on, brackets around IPv6 allowed."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if not _HOST.fullmatch(bare) or bare.replace(".", "").isdigit():
            raise ValueError("must be an IP address or a host name") from None
    return bare


def hosts(text: str) -> frozenset[str]:
    """Host names as they stand in a `Host` header, lower case."""
    found = frozenset(item.lower() for item in listed(text))
    if not all(map(_HOST_HEADER.fullmatch, found)):
        raise ValueError("must be a comma list of host names")
    return found


def origins(text: str) -> frozenset[str]:
    """Origins as browsers send them: scheme, host and port, no path, no wildcard."""
    found = frozenset(item.lower().rstrip("/") for item in listed(text))
    if not all(map(_ORIGIN.fullmatch, found)):
        raise ValueError("must be a comma list of origins such as https://app.example:3000, each one named")
    return found


def models(text: str) -> tuple[str, ...]:
    """A comma list of model ids; empty = no model at all."""
    found = listed(text)
    if not all(item.isprintable() and not item.startswith("-") for item in found):
        raise ValueError("must be a comma list of model ids")
    return found


def model(text: str) -> str:
    """One model id; empty = none."""
    found = models(text)
    if len(found) > 1:
        raise ValueError("must be one model id, or empty for none")
    return found[0] if found else ""


def base_url(text: str) -> str | None:
    """A base URL without a closing slash; a pasted `/chat/completions` is taken off. Empty = the row's own."""
    url = text.strip().rstrip("/").removesuffix("/chat/completions").rstrip("/")
    if not url:
        return None
    fault = base_url_fault(url)
    if fault is not None:
        raise ValueError(fault)
    return url


def proxy_url(text: str) -> str:
    """The URL of an HTTP proxy; it may carry a user name and password."""
    url = text.strip()
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        good = False
    if not good or " " in url:
        raise ValueError("must be the URL of an http proxy")
    return url if "://" in url else f"http://{url}"


def key_fault(text: str) -> str | None:
    """What is wrong with a key, None where nothing is; the key is not shown."""
    if _ASSIGNMENT.match(text):
        return "is a whole NAME=value; only what stands behind the = is a key"
    if not text.isascii():
        return "holds characters that are not ASCII; was it copied from a formatted page?"
    if any(c < " " or c == "\x7f" for c in text):
        return "holds control characters"
    if " " in text:
        return "holds spaces"
    if text[:1] in "'\"" or text[-1:] in "'\"":
        return "holds quotation marks"
    return None


def router_keys(text: str) -> tuple[Secret, ...]:
    """The comma list of keys that callers show us; empty = none, so that only stored ones are good."""
    found = listed(text)
    for item in found:
        fault = key_fault(item)
        if fault is not None:
            raise ValueError(f"a key {fault}")
    return tuple(map(Secret, found))


def _amount(name: str, text: str) -> int:
    try:
        value = Decimal(text.strip().replace("_", ""))
    except InvalidOperation:
        value = Decimal(0)
    if name == "usd_day":
        value *= 1_000_000
    if not value.is_finite() or value < 1 or value != value.to_integral_value() or value > 10**15:
        raise ValueError(f"{name} must be a number above 0")
    return int(value)


def _like(spec: ProviderSpec, unit: Unit, window: Window) -> tuple[ScopeKind, str]:
    """Scope and clock of the published rule that the owner's replaces, so that only the amount is his."""
    if unit is Unit.MICROUSD:
        return "provider", "utc"  # a budget is for all that this provider may cost in a day
    rules = [*spec.quotas, *(rule for model in spec.models for rule in model.quotas)]
    same = next((r for r in rules if r.unit is unit and r.window is window), None)
    if same is not None:
        return same.scope, same.resets
    near = next((r for r in rules if r.window is window), None)
    scope: ScopeKind = rules[0].scope if rules else "account"
    return scope, near.resets if near is not None else "rolling"


def limits(text: str, spec: ProviderSpec) -> tuple[QuotaRule, ...]:
    """`off` (no limit is known), or `rpm=30,rpd=1000,tpm=6000,tpd=200000,concurrency=2,usd_day=2`, any of them."""
    if text.strip().lower() == "off":
        return ()
    items = listed(text)
    if not items:
        raise ValueError("must be off or a list such as rpm=30,rpd=1000")
    rules: dict[str, QuotaRule] = {}
    for item in items:
        name, _, number = (part.strip().lower() for part in item.partition("="))
        if name not in _LIMITS:
            raise ValueError("must be off or a list of " + ", ".join(f"{one}=" for one in _LIMITS))
        if name in rules:
            raise ValueError(f"{name} stands twice")
        unit, window = _LIMITS[name]
        scope, resets = _like(spec, unit, window)
        rules[name] = QuotaRule(unit, _amount(name, number), window, scope, resets, origin="owner")
    return tuple(rules.values())
