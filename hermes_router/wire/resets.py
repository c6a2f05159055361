"""When a limit ends: the one parser of reset times.

Owns every form in which providers write an instant or a wait. It must never know who wrote it, keep anything
between calls, or add jitter: randomness is the engine's.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

_ANY_CASE: Final = re.IGNORECASE | re.ASCII  # else the long s of old print counts as a second's s
MAX_WAIT_S: Final = 31 * 86400.0
MIN_WAIT_S: Final = 1.0

_NUMBER: Final = re.compile(r"-?\d{1,20}(?:\.\d+)?")
# What nearly every header holds; the general form below costs three times as much.
_GO: Final = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d+)?)s)?")
_UNITS: Final = r"(?:milliseconds?|ms|us|µs|μs|ns|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)"
_PART: Final = re.compile(rf"(\d{{1,15}}(?:\.\d+)?)\s?({_UNITS})(?![a-z])", _ANY_CASE)
# Go writes 2m59.56s, so a unit may touch the next number; words are set apart by spaces, commas and "and".
_SPAN: Final = rf"(?:\d{{1,15}}(?:\.\d+)?\s?{_UNITS}(?![a-z])(?:[\s,]{{0,3}}(?:and\s)?(?=\d))?){{1,6}}"
_WHOLE: Final = re.compile(_SPAN, _ANY_CASE)
_STAMP: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)(?!\d))?"
_HTTP_DATE: Final = re.compile(r"[A-Za-z]{3,9},? (\d\d?)[ -]([A-Za-z]{3})[ -](\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_SECONDS_PER: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "milliseconds": 1e-3, "s": 1.0, "se": 1.0,
    "m": 60.0, "mi": 60.0, "h": 3600.0, "ho": 3600.0, "hr": 3600.0, "d": 86400.0, "da": 86400.0,
}  # fmt: skip
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_TEXT_SPAN: Final = re.compile(
    rf"(?:again|retry(?:ing)?|wait|resets?|available|back)\b[^.\d\n]{{0,40}}?\b(?:in|after|for|wait)\s+"
    rf"(?:about |approximately |another )?({_SPAN}|\d{{1,9}}(?:\.\d+)?(?= ?\(?s))",
    _ANY_CASE,
)
_TEXT_WAIT: Final = re.compile(rf"\bwait\s+({_SPAN})", _ANY_CASE)
_TEXT_STAMP: Final = re.compile(
    rf"(?:resets?|again|retry|refresh(?:es)?|until|available|expires?)\b[^\d\n]{{0,40}}({_STAMP})",
    _ANY_CASE,
)


def bounded(at: float, now: float) -> float | None:
    """Epoch seconds at least a second ahead; None beyond 31 days, where the number means something else."""
    if not at - now <= MAX_WAIT_S:  # also refuses NaN
        return None
    return max(at, now + MIN_WAIT_S)


def _duration_s(text: str) -> float:
    total = 0.0
    for number, unit in _PART.findall(text):
        name = unit.lower()
        scale = _SECONDS_PER.get(name) or (1e-3 if name.startswith("milli") else _SECONDS_PER[name[:2]])
        total += float(number) * scale
    return total


def _stamp_at(text: str, naive_offset_s: float) -> float | None:
    """An ISO or HTTP date as epoch seconds; one without a zone is read at `naive_offset_s` east of UTC."""
    http = _HTTP_DATE.fullmatch(text)
    try:
        if http is not None:
            day, month, year, hour, minute, second = http.groups()
            number = _MONTHS.index(month.lower()) + 1
            clock = (int(hour), int(minute), min(int(second), 59))
            moment = datetime(int(year), number, int(day), *clock, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(re.sub(r"\s?(?:UTC|GMT)$", "Z", text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone(timedelta(seconds=naive_offset_s)))
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None


def parse_reset(text: str, now: float, *, naive_offset_s: float = 0.0) -> float | None:
    """The instant that a reset or wait names, in epoch seconds; None where it cannot be read.

    Reads epoch milliseconds, epoch seconds, seconds from now, Go durations (`2m59.56s`), RFC 3339 and HTTP
    dates. Never earlier than a second from `now`; more than 31 days is None (facts/providers.md 4.2).
    `naive_offset_s` is the offset east of UTC of a date that names no zone.
    """
    text = text.strip()[:64]
    if _NUMBER.fullmatch(text):
        value = float(text)
        if value > 1e12:
            return bounded(value / 1000.0, now)
        return bounded(value if value > 1e9 else now + value, now)
    go = _GO.fullmatch(text)
    if go is not None and text:
        hours, minutes, seconds = go.groups()
        wait_s = float(seconds or 0) + 60.0 * int(minutes or 0) + 3600.0 * int(hours or 0)
        return bounded(now + wait_s, now)
    if _WHOLE.fullmatch(text):
        return bounded(now + _duration_s(text), now)
    if "-" in text or "," in text:
        at = _stamp_at(text, naive_offset_s)
        return None if at is None else bounded(at, now)
    return None


def told_in_text(text: str, now: float, *, naive_offset_s: float = 0.0) -> float | None:
    """The latest end of a wait that a message names, in epoch seconds; None if it names none.

    Knows "try again in 4m50.1s", "(reset after 4s)", "Please wait 30 seconds" and "will reset at 2026-11-22
    18:30:00", the last at `naive_offset_s` east of UTC.
    """
    found: list[float] = []
    for pattern in (_TEXT_SPAN, _TEXT_WAIT, _TEXT_STAMP):
        for match in pattern.finditer(text):
            at = parse_reset(match.group(1), now, naive_offset_s=naive_offset_s)
            if at is not None:
                found.append(at)
    return max(found, default=None)
