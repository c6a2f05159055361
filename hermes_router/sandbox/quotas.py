"""Real quota counters: what a fake provider admits, and what it then says about it in its headers.

Owns windows (rolling, token bucket, and fixed ones that end at a clock's hour), their charging and their
settlement. Time is an argument everywhere. It must never know how a provider words a refusal.
"""

import datetime as dt
import math
import zoneinfo
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hermes_router.sandbox.values import Hit, WindowName

WindowKind = Literal["rolling", "bucket", "pacific_day", "utc_day", "utc_month"]

SECONDS: Mapping[WindowName, float] = {
    "rpm": 60.0,
    "rpd": 86_400.0,
    "tpm": 60.0,
    "tph": 3_600.0,
    "tpd": 86_400.0,
    "month": 30 * 86_400.0,
}
TOKEN_WINDOWS: frozenset[WindowName] = frozenset({"tpm", "tph", "tpd"})
ORDER: tuple[WindowName, ...] = ("concurrency", "month", "rpd", "tpd", "tph", "rpm", "tpm")
"""The longest window that is used up is the one a provider names."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """What an account may use, in requests or tokens; None is unlimited.

    Attributes:
        month: requests per calendar month, UTC (Cohere's trial).
        concurrency: requests in flight.
        shared: one count for all models of the account (OpenRouter's `:free` bucket, Naga), not one each.
        reserve: tokens charged at admission: `prompt`, `prompt_cap` (prompt and the caller's cap), or
            `cerebras` (prompt and cap, the cap taken as at most 16,384 and as 16,384 when absent, never
            given back).
        kinds: how each window runs; `rolling` where not named.
    """

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    tph: int | None = None
    tpd: int | None = None
    month: int | None = None
    concurrency: int | None = None
    shared: bool = False
    reserve: Literal["prompt", "prompt_cap", "cerebras"] = "prompt"
    kinds: Mapping[WindowName, WindowKind] = field(default_factory=dict)

    def limit(self, window: WindowName) -> int | None:
        """The limit of one window, None where there is none."""
        found: int | None = getattr(self, window)
        return found


CEREBRAS_ASSUMED_TOKENS = 16_384


def reserved(quotas: Quotas, prompt: int, cap: int | None) -> int:
    """Tokens that admission charges for a request (facts 3.5 for Cerebras, 3.6 for Groq)."""
    if quotas.reserve == "cerebras":
        return prompt + min(CEREBRAS_ASSUMED_TOKENS if cap is None else cap, CEREBRAS_ASSUMED_TOKENS)
    return prompt + (cap or 0) if quotas.reserve == "prompt_cap" else prompt


def next_reset(kind: WindowKind, now: float) -> float:
    """When a fixed window that holds `now` ends, in epoch seconds."""
    zone: dt.tzinfo = dt.UTC
    if kind == "pacific_day":
        try:
            zone = zoneinfo.ZoneInfo("America/Los_Angeles")
        except zoneinfo.ZoneInfoNotFoundError:  # a machine without tzdata: winter time will do for a fake
            zone = dt.timezone(dt.timedelta(hours=-8))
    here = dt.datetime.fromtimestamp(now, zone)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "utc_month":
        return (midnight.replace(day=1) + dt.timedelta(days=32)).replace(day=1).timestamp()
    return (midnight + dt.timedelta(days=1)).timestamp()


class Window:
    """One counter. `entries` are mutable pairs of time and amount, so that a charge can be settled later."""

    def __init__(self, name: WindowName, limit: int, kind: WindowKind) -> None:
        self.name = name
        self.limit = limit
        self.kind = kind
        self._entries: deque[list[float]] = deque()
        self._level = 0.0
        self._at = 0.0
        self._resets_at = 0.0

    def used(self, now: float) -> float:
        """What is used up at `now`."""
        if self.kind == "bucket":
            self._level = max(0.0, self._level - (now - self._at) * self.limit / SECONDS[self.name])
            self._at = now
            return self._level
        if self.kind == "rolling":
            while self._entries and self._entries[0][0] <= now - SECONDS[self.name]:
                self._entries.popleft()
        elif now >= self._resets_at:
            self._entries.clear()
            self._resets_at = next_reset(self.kind, now)
        return sum(amount for _, amount in self._entries)

    def charge(self, now: float, amount: float) -> list[float]:
        """Use some of it; the entry that comes back may be settled by assigning its amount."""
        self.used(now)
        entry = [now, amount]
        if self.kind == "bucket":
            self._level += amount
        else:
            self._entries.append(entry)
        return entry

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` more fits: 0 if it does, infinite if it never will."""
        over = self.used(now) + amount - self.limit
        if over <= 0:
            return 0.0
        if amount > self.limit:
            return math.inf
        if self.kind == "bucket":
            return over * SECONDS[self.name] / self.limit
        if self.kind != "rolling":
            return self._resets_at - now
        for at, freed in self._entries:
            over -= freed
            if over <= 0:
                return at + SECONDS[self.name] - now
        return SECONDS[self.name]

    def reset_s(self, now: float) -> float:
        """Seconds until the window is whole again, as `x-ratelimit-reset-*` gives it; 0 if it is."""
        used = self.used(now)
        if not used:
            return 0.0
        if self.kind == "bucket":
            return used * SECONDS[self.name] / self.limit
        if self.kind == "rolling":
            return self._entries[-1][0] + SECONDS[self.name] - now
        return self._resets_at - now


@dataclass(slots=True)
class Charge:
    """What one admitted request holds, until it is settled and released."""

    meter: "Meter"
    tokens: list[list[float]]
    settles: bool
    open: bool = True

    def settle(self, tokens: int) -> None:
        """Replace the reservation by the tokens really used."""
        if self.settles:
            for entry in self.tokens:
                entry[1] = tokens

    def release(self) -> None:
        """Give back the place in flight; safe to repeat."""
        if self.open:
            self.open = False
            self.meter.in_flight -= 1


class Meter:
    """The windows of one account (and model)."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self.in_flight = 0
        self.windows: dict[WindowName, Window] = {
            name: Window(name, limit, quotas.kinds.get(name, "rolling"))
            for name in ORDER
            if name != "concurrency" and (limit := quotas.limit(name)) is not None
        }

    def admit(self, now: float, model: str, prompt: int, cap: int | None) -> Charge | Hit:
        """Charge a request against every window, or name the one that has no room. A refusal costs nothing."""
        asked = reserved(self.quotas, prompt, cap)
        for name in ORDER:
            if hit := self._hit(name, now, model, asked):
                return hit
        self.in_flight += 1
        tokens = []
        for name, window in self.windows.items():
            entry = window.charge(now, asked if name in TOKEN_WINDOWS else 1)
            if name in TOKEN_WINDOWS:
                tokens.append(entry)
        return Charge(self, tokens, settles=self.quotas.reserve != "cerebras")

    def _hit(self, name: WindowName, now: float, model: str, asked: int) -> Hit | None:
        limit = self.quotas.limit(name)
        if limit is None:
            return None
        if name == "concurrency":
            if self.in_flight < limit:
                return None
            return Hit(name, limit, self.in_flight, 1, 1.0, now, model)
        window = self.windows[name]
        amount = asked if name in TOKEN_WINDOWS else 1
        wait_s = window.wait_s(now, amount)
        return Hit(name, limit, int(window.used(now)), amount, wait_s, now, model) if wait_s > 0 else None


@dataclass(frozen=True, slots=True)
class Gauge:
    """One window as the success headers tell it."""

    limit: int
    remaining: int
    reset_s: float


def gauges(meter: Meter, now: float) -> dict[WindowName, Gauge]:
    """All windows of a meter at `now`."""
    return {
        name: Gauge(window.limit, max(0, int(window.limit - window.used(now))), window.reset_s(now))
        for name, window in meter.windows.items()
    }


Headers = Callable[[Mapping[WindowName, Gauge], float], dict[str, str]]
