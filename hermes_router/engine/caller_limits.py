"""What we allow callers: requests in any minute, exchanges in flight, and money in a day, by router key.

Owns the counters. They belong to the daemon, not to a generation: a reload changes what is allowed and forgets nothing
that was counted. Money is counted for every key, so that a budget set at noon knows of the morning. It must never know
quotas of providers or what anything costs, or wait.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hermes_router.core.errors import CallerLimited
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import LedgerRow
from hermes_router.engine.admission import Caller

__all__ = ["CallerLimits", "Lease", "MoneyReport"]

WINDOW_S = 60.0
DAY_S: Final = 86_400
ROW_KIND: Final = "caller_money"
RATE_KIND: Final = "caller_rate"
_MOST_KEPT: Final = 1_000  # of the last minute's requests: a key that may send more is not held up by a kill
_BUSY_RETRY_S = 1.0  # nobody knows when an exchange ends
_MOST_MICROUSD: Final = 2**53  # what JSON carries exactly

MoneyReport = Callable[[list[Any]], None]
"""Takes a change of what a key has spent, JSON-able, for the successor's `adjust`; it must not raise."""


class _Count:
    """What one router key has under way, when its requests of the last minute came, and its money of the day.

    Times are kept only under a limit. `spent` holds what was settled on `day` (of UTC), and `claimed` what attempts
    begun on it are expected to cost, both in micro-US-dollars.
    """

    __slots__ = ("came_at", "claimed", "day", "in_flight", "spent")

    def __init__(self) -> None:
        self.in_flight = 0
        self.came_at: deque[float] = deque()
        self.day = 0
        self.spent = 0
        self.claimed = 0

    def expire(self, now: float) -> None:
        came_at = self.came_at
        while came_at and not 0.0 <= now - came_at[0] < WINDOW_S:
            came_at.popleft()

    def roll(self, now: float) -> None:
        """Begin a new day where it has come. What was claimed yesterday was yesterday's money."""
        day = int(now // DAY_S)
        if day > self.day:
            self.day = day
            self.spent = self.claimed = 0


class Lease:
    """One exchange under way, and the money that its attempt may cost. `release` ends it, and is idempotent."""

    __slots__ = ("_caller", "_claim", "_count", "_day", "_limits", "_over")

    def __init__(self, limits: "CallerLimits", caller: Caller, count: _Count) -> None:
        self._limits = limits
        self._caller = caller
        self._count = count
        self._claim = 0
        self._day = 0
        self._over = False

    def money_left(self, now: float) -> int | None:
        """What the key's budget still allows today, in micro-US-dollars; None = it has no budget."""
        budget = self._caller.budget_microusd
        if budget is None:
            return None
        count = self._count
        count.roll(now)
        return max(0, budget - count.spent - count.claimed)

    def reserve(self, microusd: int, now: float) -> None:
        """Claim what an attempt is expected to cost, before it is sent: what is in flight is never spent twice."""
        if microusd:
            self.settle(None, now)
            self._count.roll(now)
            self._claim, self._day = microusd, self._count.day
            self._count.claimed += microusd
            self._limits.tell(self._caller.key, self._count.day, microusd)

    def settle(self, cost_microusd: int | None, now: float) -> None:
        """The attempt is over, and this is what it cost; None = nobody knows, so the claim stands as spent."""
        count, claim = self._count, self._claim
        cost = claim if cost_microusd is None else cost_microusd
        if not claim and not cost:
            return
        day = self._day if claim else None
        self._claim = 0
        count.roll(now)
        if day is not None and day != count.day:
            return  # it was claimed yesterday, and counts there
        count.claimed -= claim
        count.spent = min(_MOST_MICROUSD, count.spent + cost)
        self._limits.tell(self._caller.key, count.day, cost - claim)

    def release(self) -> None:
        """The exchange is over, however it ended."""
        if not self._over:
            self._over = True
            self._count.in_flight -= 1

    @property
    def budget_microusd(self) -> int | None:
        """The key's budget for a day, None where it has none."""
        return self._caller.budget_microusd

    def settled(self, now: float) -> int:
        """What the key has spent today, without what is claimed for attempts under way, in micro-US-dollars."""
        self._count.roll(now)
        return self._count.spent

    def said_left(self, now: float) -> str:
        """What is left of the budget, in words."""
        return _dollars(self.money_left(now) or 0)

    def over_budget(self, now: float, *, in_vain: bool = False) -> CallerLimited:
        """The refusal where the key's budget is all that stands in the way, with the true wait.

        `in_vain` = the request may cost more than a whole day's budget: no wait helps, so none is named.
        """
        budget = _dollars(self._caller.budget_microusd or 0)
        more = "a key with more is made by `hr key add NAME --usd-day N`."
        if in_vain:
            return CallerLimited(
                f"This router key may spend {budget} a day, less than this request may cost, and no free model can "
                f"take it now; {more}",
                code="budget_spent",
                should_retry=False,
            )
        return CallerLimited(
            f"This router key may spend {budget} a day and has {self.said_left(now)} left, less than this request may "
            f"cost, and no free model can take it now. The next day begins at midnight UTC; {more}",
            code="budget_spent",
            retry_after_s=(self._count.day + 1) * DAY_S - now,
        )


class CallerLimits:
    """The counters of all router keys. Every method is one synchronous step; `now` is epoch seconds.

    `on_change` is called with the first change since `rows` was asked for.
    """

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._report: MoneyReport | None = None
        self._changed: set[str] = set()
        self._came: set[str] = set()
        self.on_change: Callable[[], None] = _nobody

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
            self._mark(caller.key, self._came)
        count.in_flight += 1
        return Lease(self, caller, count)

    def in_flight(self, key: str) -> int:
        """How many exchanges of this router key are under way."""
        count = self._counts.get(key)
        return count.in_flight if count is not None else 0

    def spent(self, key: str, now: float) -> int:
        """What this router key has spent today (UTC), with what is claimed for attempts under way; micro-US-dollars."""
        count = self._counts.get(key)
        if count is None:
            return 0
        count.roll(now)
        return count.spent + count.claimed

    def claimed(self, now: float) -> int:
        """What is claimed for all attempts under way, of all keys, in micro-US-dollars."""
        for count in self._counts.values():
            count.roll(now)
        return sum(count.claimed for count in self._counts.values())

    def keep(self, keys: Iterable[str]) -> None:
        """Forget the counters of all other keys, but for one with exchanges under way, or money spent today.

        Those go later: a key that a damaged file hid for a moment comes back with what it has spent.
        """
        good = set(keys)
        for key, count in list(self._counts.items()):
            if key not in good and not (count.in_flight or count.spent or count.claimed):
                del self._counts[key]

    # --- two processes, and the disk -----------------------------------------------------------------

    def dump(self, now: float) -> dict[str, Any]:
        """What a successor must know: the requests of the last minute, and the money of the day, by key.

        What is under way stays with its process; what it may cost counts as spent.
        """
        rates: dict[str, list[float]] = {}
        money: dict[str, int] = {}
        for key, count in self._counts.items():
            count.expire(now)
            count.roll(now)
            if count.came_at:
                rates[key] = list(count.came_at)
            if count.spent or count.claimed:
                money[key] = count.spent + count.claimed
        return {"rates": rates, "money": money, "day": int(now // DAY_S)}

    def load(self, dumped: Mapping[str, Any], now: float) -> None:
        """Take over what a predecessor counted, or an earlier run; what makes no sense is left out.

        Loading one dump twice counts its money once. One of a day that is yet to come was written by a clock that has
        been set back since: its money was spent today.
        """
        given = dumped if isinstance(dumped, Mapping) else {}
        self._came_before(given.get("rates"), now)
        self._spent_before(given.get("money"), given.get("day"), now)

    def report_money(self, report: MoneyReport | None) -> None:
        """From now on, tell a successor of every change: call it in the same step as `dump`."""
        self._report = report

    def tell(self, key: str, day: int, difference: int) -> None:
        """What a key has spent or claimed has changed."""
        if difference:
            self._mark(key)
            if self._report is not None:
                self._report([ROW_KIND, key, day, difference])

    def adjust(self, told: object, now: float) -> None:
        """Take over one change that a predecessor reported; what is none, or makes no sense, changes nothing."""
        match told:
            case [str(kind), str(key), int(day), int(difference)] if (
                kind == ROW_KIND and abs(difference) <= _MOST_MICROUSD
            ):
                count = self._count(key)
                count.roll(now)
                if day == count.day:
                    count.spent = min(_MOST_MICROUSD, max(0, count.spent + difference))
                    self._mark(key)

    def rows(self, now: float, *, whole: bool = False) -> list[LedgerRow]:
        """What has changed of each key's money and last minute since this was asked for, `whole` = all, for the disk.

        What attempts under way may cost counts as spent, so that a kill forgives nobody.
        """
        came = self._counts if whole else self._came & self._counts.keys()
        times = {key: list(self._counts[key].came_at)[-_MOST_KEPT:] for key in came}
        self._came.clear()
        keys = list(self._counts) if whole else [key for key in self._changed if key in self._counts]
        self._changed.clear()
        found = [LedgerRow(RATE_KIND, key, at, now, now + WINDOW_S) for key, at in times.items() if at]
        for key in keys:
            count = self._counts[key]
            count.roll(now)
            spent, until = count.spent + count.claimed, (count.day + 2) * DAY_S
            if spent or not whole:
                found.append(LedgerRow(ROW_KIND, key, {"day": count.day, "spent": spent}, now, float(until)))
        return found

    def restore(self, rows: Iterable[LedgerRow], now: float) -> None:
        """Take over what an earlier run wrote down; rows of other kinds are passed over."""
        for row in rows:
            if row.kind == RATE_KIND:
                self._came_before({row.key: row.value}, now)
            if row.kind == ROW_KIND and isinstance(row.value, Mapping):
                self._spent_before({row.key: row.value.get("spent")}, row.value.get("day"), now)

    def _came_before(self, rates: object, now: float) -> None:
        for key, times in _fields(rates):
            if not isinstance(times, list):
                continue
            sound = [float(at) for at in times if type(at) in (int, float) and 0.0 <= now - at < WINDOW_S]
            if sound:
                count = self._count(key)
                count.came_at = deque(sorted([*count.came_at, *sound]))

    def _spent_before(self, money: object, day: object, now: float) -> None:
        if type(day) is not int or day < int(now // DAY_S):
            return
        for key, spent in _fields(money):
            if type(spent) is int and 0 < spent <= _MOST_MICROUSD:
                count = self._count(key)
                count.roll(now)
                count.spent = max(count.spent, spent)

    def _mark(self, key: str, marks: set[str] | None = None) -> None:
        if not self._changed and not self._came:
            self.on_change()
        (self._changed if marks is None else marks).add(key)

    def _count(self, key: str) -> _Count:
        return self._counts.setdefault(RouterKeyId(key), _Count())


def _nobody() -> None:
    pass


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


def _fields(value: object) -> Iterable[tuple[str, Any]]:
    """The items of a mapping whose keys are texts, nothing for anything else."""
    return [(key, item) for key, item in value.items() if isinstance(key, str)] if isinstance(value, Mapping) else []


def _dollars(microusd: int) -> str:
    """`$2.00`, `$0.0042`: as many places as it takes, two at least; never more than it is."""
    text = f"{microusd // 1_000_000}.{microusd % 1_000_000:06d}"
    return "$" + text[:-4] + text[-4:].rstrip("0")
