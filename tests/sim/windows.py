"""Hidden windows: what a provider really counts, as logs, buckets and calendars. The ledger under test never sees them.

Owns arithmetic only. Times are the provider's own (true) epoch seconds; amounts are in whatever unit the limit counts.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hermes_router.core.clocks import next_reset
from hermes_router.core.observations import Window

Unit = Literal["requests", "tokens", "input", "level", "microusd"]
WindowName = Literal["rpm", "rpd", "tpm", "tph", "tpd", "month", "concurrency"]
Ends = Callable[[float], float]

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0


def day_of(zone: str) -> Ends:
    """Days that end at this zone's midnight."""
    return lambda now: next_reset(zone, Window.DAY, now)


def full_minutes(now: float) -> float:
    """Minutes as the clock has them."""
    return (now // MINUTE + 1) * MINUTE


def ends_at(*instants: float) -> Ends:
    """A window that ends at these instants only, in order; after the last one never."""
    return lambda now: next((at for at in instants if at > now), math.inf)


@dataclass(frozen=True, slots=True)
class Limit:
    """One true limit.

    `kind`: `log` (what was used in the last `span_s` seconds), `bucket` (refills evenly), `first` (begins with its
    first use), `ends` (ends where `ends` says), `level` (in flight). `owner`: whose it is. `models`: only of these.
    `spent` = used by somebody else before the week began.
    """

    name: WindowName
    unit: Unit
    amount: int
    span_s: float
    kind: Literal["log", "bucket", "first", "ends", "level"] = "log"
    owner: Literal["account", "account_model", "model", "provider"] = "account_model"
    ends: Ends | None = None
    models: frozenset[str] | None = None
    except_models: frozenset[str] = frozenset()
    spent: int = 0


class Count:
    """One hidden counter."""

    __slots__ = ("_at", "_entries", "_until", "limit", "used")

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.used = float(limit.spent)
        self._entries: deque[list[float]] = deque()
        self._at = now
        self._until = limit.ends(now) if limit.ends is not None else 0.0

    def _roll(self, now: float) -> None:
        limit = self.limit
        if limit.kind == "log":
            entries, gone = self._entries, now - limit.span_s
            while entries and entries[0][0] <= gone:
                self.used -= entries.popleft()[1]
        elif limit.kind == "bucket":
            self.used = max(0.0, self.used - (now - self._at) * limit.amount / limit.span_s)
            self._at = now
        elif limit.kind == "ends":
            if now >= self._until and limit.ends is not None:
                self.used = 0.0
                self._until = limit.ends(now)
        elif limit.kind == "first" and now >= self._until:
            self.used = 0.0
            self._until = math.inf

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` more fits: 0 if it does, infinite if it never will."""
        self._roll(now)
        limit = self.limit
        over = self.used + amount - limit.amount
        if over <= 1e-6:
            return 0.0
        if amount > limit.amount:
            return math.inf
        if limit.kind == "bucket":
            return over * limit.span_s / limit.amount
        if limit.kind == "level":
            return 1.0  # nobody knows when one ends
        if limit.kind in {"ends", "first"}:
            return self._until - now
        for at, freed, _ in self._entries:
            over -= freed
            if over <= 1e-6:
                return at + limit.span_s - now
        return limit.span_s

    def charge(self, now: float, amount: float) -> list[float]:
        """Use some; the entry may be settled."""
        self._roll(now)
        if self.limit.kind == "first" and self._until == math.inf:
            self._until = now + self.limit.span_s
        self.used += amount
        entry = [now, amount, self._until]
        if self.limit.kind == "log":
            self._entries.append(entry)
        return entry

    def settle(self, entry: list[float], amount: float, now: float) -> None:
        """Replace what was charged, if its window still counts it."""
        self._roll(now)
        kind = self.limit.kind
        if kind == "log":
            if self._entries and entry[0] >= self._entries[0][0]:
                self.used += amount - entry[1]
        elif kind in {"bucket", "level"} or entry[2] == self._until:
            self.used = max(0.0, self.used + amount - entry[1])
        entry[1] = amount

    def reset_s(self, now: float) -> float:
        """Seconds until it is whole again, as headers give it; 0 if it is."""
        self._roll(now)
        if self.used <= 0:
            return 0.0
        limit = self.limit
        if limit.kind == "bucket":
            return self.used * limit.span_s / limit.amount
        if limit.kind == "log":
            return self._entries[-1][0] + limit.span_s - now if self._entries else 0.0
        return self._until - now

    def left(self, now: float) -> int:
        """What is left, whole, never below 0."""
        self._roll(now)
        return max(0, int(self.limit.amount - self.used))
