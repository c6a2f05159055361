"""What we allow callers: requests in any minute, and exchanges in flight, by router key.

Owns the counters. They belong to the daemon, not to a generation: a reload changes what is allowed and forgets nothing
that was counted. It must never know quotas of providers, or wait.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from hermes_router.core.errors import CallerLimited
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller

__all__ = ["CallerLimits", "Lease"]

WINDOW_S = 60.0
_BUSY_RETRY_S = 1.0  # nobody knows when an exchange ends


class _Count:
    """What one router key has under way, and when its requests of the last minute came (kept only under a limit)."""

    __slots__ = ("came_at", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self.came_at: deque[float] = deque()

    def expire(self, now: float) -> None:
        came_at = self.came_at
        while came_at and not 0.0 <= now - came_at[0] < WINDOW_S:
            came_at.popleft()


class Lease:
    """One exchange under way. `release` ends it; a second call changes nothing."""

    __slots__ = ("_count",)

    def __init__(self, count: _Count) -> None:
        self._count: _Count | None = count

    def release(self) -> None:
        """The exchange is over, however it ended."""
        count, self._count = self._count, None
        if count is not None:
            count.in_flight -= 1


class CallerLimits:
    """The counters of all router keys. Every method is one synchronous step; `now` is epoch seconds."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def admit(self, caller: Caller, now: float) -> Lease:
        """Count one more exchange. Raises CallerLimited, with the true wait, where the key's limits do not admit it.

        What is refused is not counted, so a caller who insists does not lengthen its own wait.
        """
        count = self._counts.get(caller.key)
        if count is None:
            count = self._counts[caller.key] = _Count()
        if caller.rpm is not None:
            _check_rate(count, caller.rpm, now)
        if caller.concurrency is not None and count.in_flight >= caller.concurrency:
            raise CallerLimited(
                f"This router key may have {caller.concurrency} requests under way at a time, and has them.",
                code="rate_limit_exceeded",
                retry_after_s=_BUSY_RETRY_S,
                should_retry=True,
            )
        if caller.rpm is not None:
            count.came_at.append(now)
        count.in_flight += 1
        return Lease(count)

    def in_flight(self, key: str) -> int:
        """How many exchanges of this router key are under way."""
        count = self._counts.get(key)
        return count.in_flight if count is not None else 0

    def keep(self, keys: Iterable[str]) -> None:
        """Forget the counters of all other keys; one with exchanges under way goes with the next call."""
        good = set(keys)
        for key in [k for k, count in self._counts.items() if k not in good and not count.in_flight]:
            del self._counts[key]

    def dump(self, now: float) -> dict[str, list[float]]:
        """The requests of the last minute by key, for a successor. What is under way stays with its process."""
        found = {}
        for key, count in self._counts.items():
            count.expire(now)
            if count.came_at:
                found[key] = list(count.came_at)
        return found

    def load(self, dumped: Mapping[str, Any], now: float) -> None:
        """Take over what a predecessor counted; what makes no sense is left out."""
        for key, times in dumped.items() if isinstance(dumped, Mapping) else ():
            if not isinstance(times, list) or not isinstance(key, str):
                continue
            sound = [float(at) for at in times if type(at) in (int, float) and 0.0 <= now - at < WINDOW_S]
            if sound:
                count = self._counts.setdefault(RouterKeyId(key), _Count())
                count.came_at = deque(sorted([*count.came_at, *sound]))


def _check_rate(count: _Count, rpm: int, now: float) -> None:
    count.expire(now)
    over = len(count.came_at) - rpm
    if over >= 0:
        # Once this one is a minute old there are fewer than `rpm`; after a reload there may be several too many.
        wait_s = count.came_at[over] + WINDOW_S - now
        raise CallerLimited(
            f"This router key may send {rpm} requests a minute, and has sent them.",
            code="rate_limit_exceeded",
            retry_after_s=wait_s,
            should_retry=True,
        )
