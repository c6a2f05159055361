"""Windows of quota: what was used, what is reserved, what is left, and when it comes back.

Owns window arithmetic and the claims of requests under way. A limit of the owner's or of the provider's binds; a
published one is a prior that only ranks. It must never choose a target, and never wait.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from hermes_router.core.clocks import next_reset
from hermes_router.core.observations import WINDOW_SECONDS, QuotaSeen, Scope, Unit, Window

if TYPE_CHECKING:
    from hermes_router.routing.health import Breaker
    from hermes_router.routing.slots import Slot

Origin = Literal["published", "learned", "owner", "told"]
BINDING: frozenset[str] = frozenset({"learned", "owner", "told"})

SCARCE = 0.9  # the share of a prior from which a target ranks after equals that have more left
BLIND_RESET_S = 60.0  # nothing left and no reset told: look again after this, or after the window if that is less

REQUESTS, TOKENS, INPUT, OUTPUT, MONEY, LEVEL = range(6)
_CODES = {
    Unit.REQUESTS: REQUESTS,
    Unit.TOKENS: TOKENS,
    Unit.INPUT_TOKENS: INPUT,
    Unit.OUTPUT_TOKENS: OUTPUT,
    Unit.MICROUSD: MONEY,
    Unit.CONCURRENCY: LEVEL,
}
Amounts = tuple[int, int, int, int, int, int]
"""What one request takes of each unit, by the unit's code."""


class Meter:
    """One window of one scope. `used` holds what was settled and what is reserved, in units of `unit`.

    The window begins with its first charge (rolling) or lies on a clock. `epoch` tells reservations of this window
    from those before it, and those that the provider has counted already from those that it has not.
    """

    __slots__ = (
        "binds", "code", "crossed", "epoch", "level", "limit", "once", "origin", "reset_at", "resets", "scarce_at",
        "scope", "slots", "unit", "used", "window",
    )  # fmt: skip

    def __init__(self, scope: Scope, unit: Unit, window: Window) -> None:
        self.scope = scope
        self.unit = unit
        self.window = window
        self.code = _CODES[unit]
        self.level = unit is Unit.CONCURRENCY
        self.resets = "rolling"
        self.limit: int | None = None
        self.origin: Origin = "published"
        self.binds = False
        self.used = 0
        self.epoch = 0
        self.reset_at = float("inf") if self.level else 0.0
        self.scarce_at: float = float("inf")
        self.crossed = False
        self.once = False
        self.slots: list[Slot] = []

    def rule(self, limit: int | None, origin: Origin, resets: str | None = None) -> None:
        """Set the limit, in units, and who says so. `resets` is `rolling`, `utc` or a time zone's name."""
        self.limit = limit
        self.origin = origin
        self.binds = origin in BINDING
        self.scarce_at = float("inf") if limit is None else max(1.0, limit * SCARCE)
        if resets is not None:
            self.resets = resets

    def roll(self, now: float) -> None:
        """Begin a new window."""
        self.used = 0
        self.epoch += 1
        self.crossed = False
        if self.once:
            self.once = False
            self.rule(None, "published")
        self.reset_at = next_reset(self.resets, self.window, now)

    def fits(self, amount: int, now: float) -> bool:
        """Whether `amount` more fits into the window."""
        if self.limit is None:
            return True
        used = 0 if now >= self.reset_at else self.used
        return used + amount <= self.limit

    def rank(self, now: float) -> int:
        """How a prior ranks its targets: 0 ample, 1 scarce, 3 spent."""
        if self.limit is None or now >= self.reset_at or self.used < self.scarce_at:
            return 0
        return 3 if self.used >= self.limit else 1

    def left(self, now: float) -> int | None:
        """What is left, never below 0; None where no limit is known."""
        if self.limit is None:
            return None
        return self.limit if now >= self.reset_at else max(0, self.limit - self.used)

    def told(self, seen: QuotaSeen, now: float) -> None:
        """Take over what the provider said. What was sent before is in its count already, so the epoch changes."""
        if self.origin == "owner":
            self._tightened(seen)
            return
        limit = seen.limit if seen.limit is not None else self.limit
        if seen.remaining is None:
            if seen.limit is not None:
                self.rule(limit, "told")
            return
        self.once = limit is None
        limit = seen.remaining if limit is None else max(limit, seen.remaining)
        self.rule(limit, "told")
        if self.level:
            return
        self.used = limit - seen.remaining
        self.epoch += 1
        self.crossed = False
        if seen.reset_at is not None:
            self.reset_at = seen.reset_at
        elif now >= self.reset_at:
            self.reset_at = now + min(WINDOW_SECONDS[self.window], BLIND_RESET_S)

    def _tightened(self, seen: QuotaSeen) -> None:
        """The owner's limit stands; what the provider has left can only make it less."""
        if seen.remaining is None or self.limit is None or self.level or seen.remaining >= self.limit - self.used:
            return
        self.used = self.limit - seen.remaining
        self.epoch += 1
        if seen.reset_at is not None:
            self.reset_at = seen.reset_at


class Reservation:
    """An in-flight claim on quota, and on a half-open breaker. It settles exactly once.

    `late` = made after the ledger was handed over, so the successor does not know of it.
    """

    __slots__ = ("entries", "late", "probes", "settled", "slot")

    def __init__(self, slot: "Slot", entries: Sequence[tuple[Meter, int, int]]) -> None:
        self.slot = slot
        self.entries = entries
        self.probes: tuple[tuple[Breaker, float], ...] = ()  # each with the opening that it belongs to
        self.settled = False
        self.late = False


def settle(entries: Sequence[tuple[Meter, int, int]], actual: Amounts | None) -> None:
    """Replace what was reserved by what was used; None = nothing was sent, so all of it comes back.

    An amount below zero in `actual` means "not reported": the reservation stands as it is.
    """
    for meter, reserved, epoch in entries:
        if meter.epoch != epoch:
            continue  # another window by now, or the provider has told its own count since
        if meter.level or actual is None:
            meter.used = max(0, meter.used - reserved)
        elif actual[meter.code] >= 0:
            meter.used = max(0, meter.used + actual[meter.code] - reserved)
        if meter.crossed and meter.used < meter.scarce_at:
            meter.crossed = False  # the next one to cross it says so again
