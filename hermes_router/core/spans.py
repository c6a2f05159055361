"""Lengths of time as people say them, alike on every screen and in the log.

Owns the wording of seconds. Pure.
"""

from typing import Final

__all__ = ["DAY", "HOUR", "MINUTE", "lapse", "span"]

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400


def span(seconds: float) -> str:
    """A length of time in at most two units: `40 s`, `4 min`, `2 h 10 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / MINUTE)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(whole / HOUR), 24)
    return f"{days} d {hours} h" if hours and days < 10 else f"{days} d"


def lapse(seconds: float) -> str:
    """How long something took: `320 ms`, `1.4 s`, `2 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 99.95 else span(seconds)
