"""Windows of quota: what was used, what is reserved, what is left, and when it comes back.

Owns window arithmetic, and which number of a window is believed. What the owner or the provider said, or a refusal
taught, binds; a published number is a prior that only paces and ranks. It must never choose a target, and never wait.
"""

from bisect import insort
from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from hermes_router.core.clocks import next_reset
from hermes_router.core.observations import WINDOW_SECONDS, QuotaSeen, Scope, Unit, Window
from hermes_router.routing import mooring, telling
from hermes_router.routing.units import BINDING, CODES, REQUESTS, Origin

if TYPE_CHECKING:
    from hermes_router.routing.slots import Slot

SCARCE = 0.9  # the share of a prior from which a target ranks after equals that have more left
BEYOND = 3  # the rank of a target of which a prior is spent
SLICES = 64  # a rolling window forgets in so many steps: what is used in one of them leaves with its last
SLICE_MOST_S = 30.0  # and in more of them where they would be longer than this, or,
SLICE_FINE_S = 5.0  # as long as it holds fewer than `FINE_SLICES`, than this
FINE_SLICES = 1_024
MOST_SLICES = 2_048
GRACE_S = 0.5  # it leaves so much later than by our count: the provider's clock began when the request reached it

DAY_S = 86_400.0
TRIAL_FIRST_S = DAY_S  # a learned number is doubted by one request after this, then after twice as long each time
TRIAL_LAST_S = 8 * DAY_S
TOLD_STALE_S = DAY_S  # what was told longer ago than this, and than its window, is no more than learned
DOUBT_S = 45.0  # for so long what nobody has answered binds as if it had been counted; then it only ranks, but
DOUBTED_FROM_S = 60.0  # in a window no longer than this it binds until it leaves

_NEVER = float("inf")
_expiry = itemgetter(0)


class Meter:
    """One window of one scope, in units of `unit`. `used` holds what was settled and what is reserved.

    A window that rolls keeps a log of slices, `[leaves at, amount, last mark]`; one on a clock keeps a sum. `total`
    counts all that was ever charged and never falls, so it numbers the claims: those up to `void` belong to a window
    that is over, or are in a count that the provider has told since. `published` is the row's number; `proved` the
    largest count seen to succeed beyond what was believed; `guess` a number that does not pace, but would explain a
    refusal. `reserves` = the provider charges a request, while it is under way, what it may take, and `extra` is how
    much more that is than we expect of it (`extra_seen` was said last). `denied` = the claim that was refused last, at
    `denied_at`; `doubted` = claims that nobody has answered: mark, amount, and until when they bind. `drains` = it
    refills evenly, as a bucket does (its resets say so). `fixed` = it begins and ends when the provider says. If one
    that rolls by our count began with its first use, it would hold what was charged after `anew_mark` (0 = nobody
    asks), until `anew_until` (0 = it would not have begun).
    `alarm_at` and `calm_at` are the counts at which plans have to look again.
    """

    __slots__ = (
        "alarm_at", "anew_mark", "anew_until", "base", "binds", "calm_at", "closed", "closed_mark", "code", "denied",
        "denied_at", "doubted", "drained_at", "drains", "due_at", "extra", "extra_seen", "fixed", "former", "gone",
        "guess", "kept", "learned_at", "level", "limit", "log", "once", "origin", "proved", "published", "reserves",
        "reset_at", "resets", "rolled_at", "scope", "slice_until", "sliding", "slots", "span_s", "suspect",
        "suspect_at", "tight", "told_mark", "total", "touched_at", "trial_at", "trial_s", "unit", "void", "window",
    )  # fmt: skip

    def __init__(self, scope: Scope, unit: Unit, window: Window) -> None:
        self.scope = scope
        self.unit = unit
        self.window = window
        self.code = CODES[unit]
        self.level = unit is Unit.CONCURRENCY
        self.span_s = WINDOW_SECONDS[window]
        self.resets = "rolling"
        self.fixed = window is Window.PLAN or unit is Unit.PERCENT
        self.sliding = not self.level and not self.fixed
        self.limit: int | None = None
        self.origin: Origin = "published"
        self.binds = False
        self.kept = False  # it stays, whatever the rows name
        self.once = False  # the limit holds for this window only
        self.published: int | None = None
        self.guess: int | None = None
        self.proved = 0
        self.suspect = 0
        self.suspect_at = 0.0
        self.learned_at = 0.0
        self.trial_at = 0.0
        self.trial_s = 0.0
        self.anew_mark = 0
        self.anew_until = 0.0
        self.total = self.base = self.void = self.gone = 0
        self.extra = self.extra_seen = 0
        self.reserves = False
        self.drains = False
        self.drained_at = 0.0
        self.told_mark = -1
        self.denied_at = -_NEVER
        self.denied = 0
        self.doubted: list[tuple[int, int, float]] = []
        self.log: deque[list[Any]] = deque()
        self.closed = self.closed_mark = 0
        self.slice_until = self.touched_at = 0.0
        self.reset_at = 0.0
        self.rolled_at = 0.0
        self.former: deque[list[Any]] = deque()  # of the window before, where that ended by a clock
        self.due_at = _NEVER if self.level else 0.0
        self.alarm_at = _NEVER
        self.calm_at = -1.0
        self.tight = False  # some plan relies on there being no room in it
        self.slots: list[Slot] = []

    # --- what is believed --------------------------------------------------------------------------

    def rule(self, limit: int | None, origin: Origin, resets: str | None = None) -> None:
        """Set the limit, in units, and who says so. `resets` is `rolling`, `utc` or a time zone's name."""
        self.limit = limit
        self.origin = origin
        self.binds = limit is not None and origin in BINDING
        if resets is not None and resets != self.resets:
            self.resets = resets
            self.sliding = not self.level and resets == "rolling" and not self.fixed
            self.due_at = _NEVER if self.level else 0.0
            if self.reset_at == _NEVER:
                self.reset_at = 0.0
        self.arm()

    def prior(self, limit: int, resets: str) -> None:
        """The row's number. What was found out of the same number stays: it paces by what has succeeded."""
        found = self.limit if self.published == limit and self.origin == "published" else None
        self.published = limit
        self.rule(limit if found is None else max(limit, found), "published", resets)

    def arm(self) -> None:
        """Say at which counts a plan has to look again."""
        limit = self.limit
        if limit is None:
            self.alarm_at, self.calm_at = _NEVER, -1.0
            return
        used = self.total - self.base
        scarce = float(limit) if self.binds else max(1.0, limit * SCARCE)
        if used < scarce:
            self.alarm_at, self.calm_at = scarce, -1.0
        elif used < limit:
            self.alarm_at, self.calm_at = limit, scarce
        else:  # from there on each claim is one beyond: a trial, where the number was learned
            self.alarm_at = used + 1 if self.origin == "learned" else _NEVER
            self.calm_at = used if self.anew_until else limit  # one that came to nothing may be followed by another

    # --- what is used ------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """What the window holds, as of the last time that it was looked at."""
        return self.total - self.base

    def count(self, now: float) -> int:
        """What the window holds now."""
        if now >= self.due_at:
            self.advance(now)
        return self.total - self.base

    def charge(self, amount: int, now: float) -> int:
        """Claim `amount`; the claim's mark. `RoutingState.reserve` has this in its loop."""
        if now >= self.due_at:
            self.advance(now)
        self.touched_at = now
        self.total += amount
        return self.total

    def advance(self, now: float) -> None:
        """Let time pass: what has left the window is forgotten, and what comes now goes into a new slice."""
        if self.level:
            return
        if self.resets == mooring.FIRST_USE:
            mooring.begin(self)
        if not self.sliding and now >= self.reset_at:
            self._roll(now)
        elif self.once and now >= self.reset_at:
            self._forget_limit()
        if now >= self.slice_until:
            self.close()
            most_s = SLICE_FINE_S if len(self.log) < FINE_SLICES else SLICE_MOST_S
            self.slice_until = now + min(self.span_s / SLICES, most_s)
        if self.sliding:
            self.expire(now)
            if self.anew_until and now >= self.anew_until:
                mooring.turn(self)
            if self.drains:
                self._drain(now)
        if self.origin == "told":
            self._age(now)
        self.set_due()

    def roll(self, now: float) -> None:
        """Begin a new window at once, whatever the clock says."""
        self.log.clear()
        self.closed = 0
        self._roll(now)
        self.set_due()

    def _roll(self, now: float) -> None:
        self.close()
        self.former, self.log = self.log, deque()
        self.closed = 0
        self.base = self.void = self.gone = self.total
        self.rolled_at = now
        self.reset_at = _NEVER if self.resets == mooring.FIRST_USE else next_reset(self.resets, self.window, now)
        if self.once:
            self._forget_limit()
        self.arm()

    def _forget_limit(self) -> None:
        self.once = False
        self.rule(self.published, "published")

    def _age(self, now: float) -> None:
        """What was told of a window long past binds as what is learned does, until it is told again."""
        if now >= self._stale_at:
            self.origin = "learned"
            self.trial_s = self.trial_s or TRIAL_FIRST_S
            self.trial_at = now
            self.arm()

    @property
    def _stale_at(self) -> float:
        return self.learned_at + max(TOLD_STALE_S, 2 * self.span_s)

    def close(self) -> None:
        """End the current slice."""
        amount = self.total - self.base - self.closed
        if amount:
            self.enter(self.touched_at + self.span_s + self.grace_s, amount, self.total)
            self.closed += amount
        self.closed_mark = self.total

    def enter(self, leaves_at: float, amount: int, mark: int) -> None:
        """Put a slice where it belongs; mark 0 = it is not ours."""
        log = self.log
        entry = [leaves_at, amount, mark]
        if not log or leaves_at >= log[-1][0]:
            log.append(entry)
        else:
            insort(log, entry, key=_expiry)
        if len(log) > MOST_SLICES:
            self.log = deque(compact(list(log)))

    @property
    def grace_s(self) -> float:
        """How much later than by our count it leaves the window, in seconds."""
        return min(GRACE_S, self.span_s / 20)

    def expire(self, now: float) -> None:
        """Forget what has left a window that rolls."""
        log = self.log
        if not log or log[0][0] > now:
            return
        while log and log[0][0] <= now:
            _, amount, mark = log.popleft()
            self.base += amount
            self.closed -= amount
            self.gone = max(self.gone, mark)
        self.void = max(self.void, self.gone)
        self.arm()

    def _drain(self, now: float) -> None:
        """Let a bucket refill: the oldest goes first."""
        per_s = (self.limit or 0) / self.span_s
        gone = int((now - self.drained_at) * per_s)
        if gone <= 0:
            return
        self.close()
        taken = min(gone, self.closed)
        self.take_oldest(taken)
        self.closed -= taken
        self.base += taken
        self.drained_at = self.drained_at + gone / per_s if self.closed else now
        self.arm()

    def set_due(self) -> None:
        """Work out when time has to be let pass next."""
        due = self.slice_until
        if self.drains and self.total > self.base:
            due = min(due, self.drained_at + self.span_s / (4 * SLICES))
        if self.log and self.sliding and self.log[0][0] < due:
            due = self.log[0][0]
        if (self.once or not self.sliding) and self.reset_at < due:
            due = self.reset_at
        elif self.reset_at == _NEVER:
            due = 0.0  # it has not begun: the next look may find that it has
        self.due_at = min(due, self._stale_at) if self.origin == "told" else due

    def give_back(self, mark: int, change: int) -> None:
        """Correct a claim by `change`, wherever in the window it stands; one that is void changes nothing."""
        if self.level:
            self.base -= change
        elif mark > self.void:
            self.base -= change
            if mark <= self.closed_mark:
                self.amend(mark, change)

    def doubt(self, amount: int, mark: int, now: float) -> None:
        """So much of what it holds may never have been counted: nothing was heard of the request."""
        self.doubted = [one for one in self.doubted if one[0] > self.gone]
        # A minute's window forgets it soon enough.
        self.doubted.append((mark, amount, now + DOUBT_S if self.span_s > DOUBTED_FROM_S else _NEVER))

    @property
    def doubts(self) -> int:
        """How much of what it holds nobody has answered."""
        return sum(amount for mark, amount, _ in self.doubted if mark > self.gone)

    def lapsed(self, now: float) -> int:
        """How much of that binds no more: it is a guess of ours, and the provider has had its time to say otherwise."""
        return sum(amount for mark, amount, until in self.doubted if mark > self.gone and until <= now)

    def _lapses_at(self, amount: int, now: float) -> float:
        """When there is room for `amount` because what nobody has answered binds no more; it may be never."""
        if self.doubted and self.limit is not None:
            over = self.total - self.base + amount - self.limit
            for mark, doubted, until in self.doubted:
                over -= doubted if mark > self.gone else 0
                if over <= 0:
                    return max(until, now)
        return _NEVER

    def take_doubted(self, amount: int) -> int:
        """Take up to so much from what nobody has answered; how much that was. All that is left is certain."""
        taken = 0
        for mark, doubted, _ in self.doubted:
            one = min(doubted, amount - taken) if mark > self.gone else 0
            if one:
                self.amend(mark, -one)
                taken += one
        self.doubted.clear()
        self.base += taken
        return taken

    def withhold(self, amount: int, until: float, now: float) -> None:
        """So much is not ours to use until then, epoch seconds."""
        if now >= self.due_at:
            self.advance(now)
        self.close()
        self.enter(until, amount, 0)
        self.closed += amount
        self.base -= amount
        self.set_due()
        self.arm()

    def hand_back(self, amount: int) -> None:
        """A request has ended of which the provider had told its claim: what it did not take is free again."""
        self.close()
        amount = min(amount, self.closed)
        self.take_newest(amount)
        self.base += amount

    def amend(self, mark: int, change: int) -> None:
        """The same in the slice that it was charged to."""
        found = self._slice(mark)
        if found is not None:
            found[1] += change
            self.closed += change

    def leaves_at(self, mark: int) -> float:
        """When what was charged with this mark leaves a window that rolls, epoch seconds."""
        found = self._slice(mark)
        return float(found[0]) if found is not None else self.touched_at + self.span_s + self.grace_s

    def _slice(self, mark: int) -> list[Any] | None:
        """The first slice that ended after it, seen from the newest; None where its slice has not ended."""
        found = None
        for entry in reversed(self.log):
            if 0 < entry[2] < mark:
                break
            found = entry if entry[2] else found
        return found

    def own(self, now: float) -> int:
        """What the window holds of ours, as far as that is known: not what others were told to have used."""
        return self.count(now) - sum(int(entry[1]) for entry in self.log if not entry[2])

    # --- what is left ------------------------------------------------------------------------------

    def fits(self, amount: int, now: float) -> bool:
        """Whether `amount` more fits into the window. What was only learned lets a request pass that is alone in it."""
        if now >= self.due_at:
            self.advance(now)
        limit = self.limit
        if limit is None:
            return True
        used = self.total - self.base
        if used + amount <= limit or (not used and self.origin == "learned"):
            return True
        return bool(self.doubted) and used - self.lapsed(now) + amount <= limit

    def short(self, amount: int, now: float) -> int:
        """How much of `amount` does not fit, in units; 0 where it all does."""
        return 0 if self.limit is None else max(0, self.count(now) + amount - self.limit)

    def rank(self, now: float) -> int:
        """How a prior ranks its targets: 0 ample, 1 scarce, 3 spent."""
        if now >= self.due_at:
            self.advance(now)
        limit = self.limit
        if limit is None:
            return 0
        used = self.total - self.base
        if used < limit:
            return 1 if used >= max(1.0, limit * SCARCE) else 0
        return BEYOND

    def left(self, now: float) -> int | None:
        """What is left, never below 0; None where no limit is known."""
        used = self.count(now)
        return None if self.limit is None else max(0, self.limit - used)

    def room_at(self, amount: int, now: float) -> float:
        """When `amount` more fits, epoch seconds; for more than the whole limit, when the window is whole."""
        if self.fits(amount, now) or self.limit is None:
            return now
        if self.level:
            return now + 1.0  # nobody knows when one ends
        if not self.sliding:
            return max(self.reset_at, now)
        until = min(self._leaves_at(amount, now), self._lapses_at(amount, now))
        return min(until, max(self.reset_at, now)) if self.once else until  # the limit itself ends then

    def _leaves_at(self, amount: int, now: float) -> float:
        """When enough has left a window that rolls."""
        over = self.total - self.base + amount - (self.limit or 0)
        if self.drains and self.limit and amount <= self.limit:
            return max(now, self.drained_at + over * self.span_s / self.limit)
        for leaves_at, freed, _ in self.log:
            over -= freed
            if over <= 0:
                return float(leaves_at)
        return self.whole_at(now)

    def whole_at(self, now: float) -> float:
        """When nothing is used any more, epoch seconds."""
        if self.level or not self.count(now):
            return now
        if not self.sliding:
            return self.reset_at
        last = self.log[-1][0] if self.log else 0.0
        if self.total - self.base > self.closed:
            last = max(last, self.touched_at + self.span_s + self.grace_s)
        return float(last)

    def full_until(self, now: float) -> float:
        """When there is room for one more unit; 0 where there is, and where one beyond may be tried."""
        used = self.count(now)
        if self.level or self.limit is None or used < self.limit:
            return 0.0
        if self.may_try(now):
            return 0.0
        until = self.room_at(1, now)  # now, where only what nobody has answered fills it
        if self.origin == "learned" and self.trial_at < until:
            until = self.trial_at
        return until if until > now else 0.0

    def may_try(self, now: float) -> bool:
        """Whether a learned number, or by which clock it counts, may be doubted by one request beyond it."""
        if self.origin != "learned":
            return False
        return now >= self.trial_at or (self.total - self.base == self.limit and mooring.astray(self))

    def tried(self, now: float) -> None:
        """A request goes beyond what was learned: the next one has to wait twice as long."""
        self.trial_s = min(TRIAL_LAST_S, 2 * (self.trial_s or TRIAL_FIRST_S / 2))
        self.trial_at = now + self.trial_s

    # --- what is told ------------------------------------------------------------------------------

    def told(
        self, seen: QuotaSeen, now: float, claim: tuple[int, int] | None = None, *, refused: bool = False
    ) -> int | None:
        """Take over what the provider said. `claim` is of the request that it answered, amount and mark.

        What was charged up to that is in its count already; without one, all is. `refused` = it was said in a refusal,
        whose instant is when there is room for that request, not when all of a rolling window is gone.
        Returns how much of the claim that count holds, None where that is not known.

        Where its count differs from ours, the log keeps its shape: what is too much is taken from the oldest slices,
        and what others have used leaves at the reset.
        """
        return telling.take(self, seen, now, claim, refused=refused)

    def take_newest(self, amount: int) -> None:
        """Take so much from the slices that leave last. The sums are the caller's."""
        for entry in reversed(self.log):
            taken = min(amount, entry[1])
            entry[1] -= taken
            self.closed -= taken
            amount -= taken
            if not amount:
                break

    def take_oldest(self, amount: int) -> None:
        """Take so much from the slices that leave first. The sums are the caller's."""
        while amount > 0 and self.log:
            oldest = self.log[0]
            taken = min(amount, oldest[1])
            oldest[1] -= taken
            amount -= taken
            if not oldest[1]:
                self.log.popleft()

    # --- what is learned ---------------------------------------------------------------------------

    def learn(self, limit: int, now: float) -> None:
        """A refusal has taught the limit: it binds in later windows, until a larger count succeeds."""
        if self.origin != "learned":
            self.trial_s = 0.0
        self.doubted.clear()  # it was refused beside them
        self.learned_at = now
        self.suspect = 0
        self.trial_s = self.trial_s or TRIAL_FIRST_S
        self.trial_at = max(self.trial_at, now + self.trial_s)
        mooring.refused(self)
        self.rule(max(1, limit), "learned")

    def outdone(self, mark: int) -> bool:
        """A request was let in; whether it stood beyond what was believed, which is believed no more.

        That is the clock of its window (`mooring.py`), or else the number.
        A quarter is added, so that a number that is far too low does not pace for long. A published level is what is
        sane, not what is allowed: it stays.
        """
        limit = self.limit
        if limit is None or self.origin in ("told", "owner"):
            return False
        if self.level:
            count = self.total - self.base + 1 if self.origin == "learned" else 0  # this one has been given back
        else:
            count = mark - self.base if mark > self.void else 0
        if count <= limit or (self.origin == "learned" and self.code != REQUESTS and count <= limit * 1.1):
            return False
        if self.origin == "learned" and mooring.begun_anew(self):
            return True
        self.proved = max(self.proved, count)
        raised = count + max(1, count // 4)
        if self.origin == "learned":
            self.trial_s = 0.0
            self.trial_at = 0.0
            self.anew_mark, self.anew_until = 0, 0.0
            raised = max(raised, self.published or 0)
        self.rule(raised, "published")
        return True

    def restore(self, log: list[list[Any]], used: int, reset_at: float, now: float) -> None:
        """Take over what was written down: the slices of a window that rolls, else a sum until `reset_at`."""
        self.log = deque(log)
        self.closed = sum(entry[1] for entry in log)
        if self.sliding:
            used = self.closed
            self.reset_at = reset_at if self.once else 0.0
        elif not self.level:
            self.reset_at = reset_at
            if used and now >= reset_at:
                used, self.void = 0, self.total
        self.closed_mark = self.total
        self.base = self.total - used
        if not self.level:
            self.set_due()
        self.arm()

    def shift(self, by: float, now: float) -> None:
        """The clock was set back by `-by` seconds: what was to last an hour still does."""
        for entry in (*self.log, *self.former):
            entry[0] += by
        self.doubted = [(mark, amount, until + by) for mark, amount, until in self.doubted]
        instants = ("slice_until", "touched_at", "drained_at", "rolled_at", "suspect_at", "learned_at", "trial_at")
        for name in (*instants, "anew_until", "reset_at"):
            at = getattr(self, name)
            if at:
                setattr(self, name, max(0.0, at + by))
        if not self.sliding and not self.level and self.resets not in {mooring.ROLLING, mooring.FIRST_USE}:
            self.reset_at = min(self.reset_at, next_reset(self.resets, self.window, now))
        if not self.level:
            self.set_due()


def compact(entries: list[list[Any]]) -> list[list[Any]]:
    """Make one of two slices: what is used in either leaves with the later."""
    pairs = zip(entries[::2], entries[1::2], strict=False)
    merged = [[later[0], first[1] + later[1], max(first[2], later[2])] for first, later in pairs]
    return merged + entries[len(merged) * 2 :]
