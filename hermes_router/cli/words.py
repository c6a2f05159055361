"""Numbers as people say them: times, spans, money, tokens; and text made safe for a terminal.

Owns the wording. Pure: the time is an argument, the zone is the process's.
"""

import re
import time
import unicodedata
from typing import Final

from hermes_router.core.spans import DAY, lapse, span

__all__ = [
    "clean", "clock", "count", "day", "lapse", "listing", "money", "sentence", "some", "span", "when",
]  # fmt: skip

_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def clean(text: object) -> str:
    """Text without what could steer a terminal: control and format characters go, line ends become blanks."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(_safe(c) for c in _SEQUENCE.sub("", plain))


def _safe(character: str) -> str:
    if character in "\n\r\t\v\f\x85\u2028\u2029":
        return " "
    category = unicodedata.category(character)
    if category == "Cf" and character != "\u200d":  # bidirectional overrides; the joiner makes one sign of several
        return ""
    return "?" if category in {"Cc", "Cs"} else character


def sentence(text: str) -> str:
    """A text as one sentence, safe for a terminal: a capital where it begins with a plain word, a stop at its end."""
    said = clean(text).strip()
    first = said.partition(" ")[0]
    if first.isalpha() and first.islower() and first != "hr":
        said = said[0].upper() + said[1:]
    return said if not said or said[-1] in ".?!:" else f"{said}."


def clock(at: float, now: float) -> str:
    """A wall time as short as it is clear: `14:32`, `Sun 14:32`, `3 Dec`."""
    there, here = time.localtime(at), time.localtime(now)
    if there[:3] == here[:3]:
        return time.strftime("%H:%M", there)
    if abs(at - now) < 6 * DAY:
        return time.strftime("%a %H:%M", there)
    return f"{there.tm_mday} {time.strftime('%b' if there.tm_year == here.tm_year else '%b %Y', there)}"


def when(at: float | None, now: float) -> str:
    """A moment, relative and absolute: `in 4 min (14:32)`, `2 h ago (Sat 22:10)`, `now`; empty where unknown."""
    if at is None:
        return ""
    distance = at - now
    if abs(distance) < 1:
        return "now"
    return f"in {span(distance)} ({clock(at, now)})" if distance > 0 else f"{span(-distance)} ago ({clock(at, now)})"


def day(at: float) -> str:
    """`2026-11-21`, of UTC: the days that usage is kept by."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def money(microusd: int) -> str:
    """`$0`, `$0.0042`, `$1.23`, `$1,234`."""
    if microusd == 0:
        return "$0"
    dollars = microusd / 1e6
    if abs(dollars) < 0.0001:
        return "<$0.0001"
    if abs(dollars) < 0.1:
        text = f"{dollars:.4f}".rstrip("0")
        return f"${text}".ljust(5, "0")
    return f"${dollars:,.2f}" if abs(dollars) < 1000 else f"${dollars:,.0f}"


def count(number: int) -> str:
    """A large number in three digits: `950`, `12.3k`, `1.25M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            value = number / size
            digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
            text = f"{value:.{digits}f}"
            return (text.rstrip("0").rstrip(".") if "." in text else text) + letter
    return str(number)


def some(number: int, one: str, more: str = "") -> str:
    """`1 key`, `3 keys`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def listing(names: list[str], most: int = 6) -> str:
    """`a, b and c`; a long list is cut: `a, b, c and 9 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
