"""Cooldowns and pauses: what one failure proves, for which scope, until when, and what ends it.

Owns the rules with numbers of `contract.md`, Cooldowns. What the provider told stands until its instant; what we
inferred is short and ends with the first success; a refusal of ours changes nothing. It must never choose a target.
"""

from typing import Literal

from hermes_router.core.clocks import next_reset
from hermes_router.core.errors import AttemptClass, Overloaded, QuotaExhausted, RateLimited, UpstreamError
from hermes_router.core.observations import WINDOW_SECONDS, Window

Source = Literal["told", "inferred"]

NEVER = float("inf")
INFERRED_S = (5.0, 10.0, 20.0, 30.0)
OVERLOADED_S = (5.0, 10.0, 30.0, 45.0)
FORGET_S = 600.0  # an inferred cooldown that ended this long ago does not double the next one
LONG_S = 900.0  # a longer one is tried by one real request an hour
CANARY_S = 3600.0
DAY_S = 86400.0
PAUSE_TRY_S = 600.0
REVOKED_AFTER_S = DAY_S
MONTH_S = 31 * DAY_S  # nobody is told to wait longer: such an instant is a mistake
BELIED_S = 60.0  # whoever refuses this soon after its own instant, and let nobody in since, was wrong about it
SHORT_MOST_S = 3600.0  # nor for longer than this by a limit that names a second or a minute
DOUBTED_S = (0.0, 0.0, 0.0, 0.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 2_400.0, 3600.0)
BLIND_DAY_S = 3600.0  # a day's quota is spent and nobody said when it returns: ask once an hour


class Block:
    """Why a scope gets no traffic, until when, and when a single real request may ask whether that is still so."""

    __slots__ = (
        "cause", "every_s", "in_a_row", "next_try_at", "since", "source", "started_at", "step", "tried", "until",
    )  # fmt: skip

    def __init__(self, cause: AttemptClass, source: Source, now: float) -> None:
        self.cause: AttemptClass = cause
        self.source: Source = source
        self.since = now  # of the first failure of this row of failures
        self.started_at = now  # of the latest
        self.until = 0.0
        self.next_try_at = NEVER
        self.every_s = NEVER
        self.step = 0
        self.in_a_row = 0  # how many cooldowns without a success in between, however long each was
        self.tried = False

    @property
    def doubted_until(self) -> float:
        """Until when it is asked only where nobody else can serve: it refused time and again, and never said why.

        The cooldown itself stays short, so that whoever depends on this target finds it back within half a minute.
        """
        if self.source != "inferred" or self.cause != "limited":
            return 0.0
        return self.until + DOUBTED_S[min(self.in_a_row, len(DOUBTED_S) - 1)]

    @property
    def free_at(self) -> float:
        """From when a request may go there, epoch seconds."""
        return min(self.until, self.next_try_at)

    @property
    def ends_at(self) -> float:
        """When it is expected to return: its own end, or the next try where it has none. For `Retry-After`."""
        return self.until if self.until != NEVER else self.next_try_at

    def active(self, now: float) -> bool:
        """Whether it still stands; a canary may be due all the same."""
        return now < self.until

    def revoked(self, now: float) -> bool:
        """Whether a pause has become a revocation: a day of refusals."""
        return self.until == NEVER and now - self.since >= REVOKED_AFTER_S

    def canary(self, now: float) -> None:
        """A request is on its way to ask: the next one has to wait its turn."""
        self.tried = True
        self.next_try_at = now + self.every_s

    def shift(self, by: float) -> None:
        """The clock was set back by `-by` seconds: what was to last an hour still does."""
        self.until += by
        self.next_try_at += by
        self.since = max(0.0, self.since + by)
        self.started_at = max(0.0, self.started_at + by)


def cooled(
    old: Block | None, error: UpstreamError, now: float, resets: str | None, *, explained: bool = False
) -> Block:
    """The cooldown of a scope after `error`.

    A told instant is never brought forward (LL-4). Failures of requests that were under way together are one piece
    of evidence and do not double anything. `resets` is the clock of the scope's day window, None = unknown.
    `explained` = a window of the ledger is full that says the same: then nobody need be sent to ask whether it is so.
    """
    until, every_s = _deadline(error, now, resets)
    if isinstance(error, RateLimited) and error.said_at is not None and not _belied(old, now):
        until = error.said_at  # what is known of its windows is a guess beside that
    standing = old if old is not None and old.active(now) else None
    if until is not None:
        # A clock of the row's is a guess beside the provider's word: it may lengthen that, and gives way to it.
        keep = standing is not None and (standing.source == "told" or not error.told)
        block = standing if keep and standing is not None else Block(error.wire_class, _source(error), now)
        if until >= block.until:
            block.until = until
            block.cause = error.wire_class
        block.next_try_at = NEVER
        if block.until - now > LONG_S and not explained:
            block.every_s = every_s if block.every_s == NEVER else max(every_s, block.every_s)
            block.next_try_at = now + block.every_s
        block.started_at = now
        block.tried = False
        return block
    if standing is not None:
        return standing
    steps = OVERLOADED_S if isinstance(error, Overloaded) else INFERRED_S
    fresh = old is None or old.source == "told" or now - old.until > FORGET_S
    block = Block(error.wire_class, "inferred", now)
    if old is not None and not fresh:
        block.since = old.since
        block.step = min(old.step + 1, len(steps) - 1)
    if old is not None and now - old.doubted_until <= FORGET_S:
        block.in_a_row = old.in_a_row + 1
    block.until = now + steps[block.step]
    return block


def _belied(old: Block | None, now: float) -> bool:
    """Whether an instant that was told has just come, and nobody was let in."""
    return old is not None and old.source == "told" and old.until <= now <= old.until + BELIED_S


def benched(error: UpstreamError, now: float) -> Block:
    """A model that is gone: a day, with one look an hour, since gateways say so in error too."""
    block = Block(error.wire_class, "inferred", now)
    block.until = now + DAY_S
    block.every_s = CANARY_S
    block.next_try_at = now + CANARY_S
    return block


def paused(old: Block | None, error: UpstreamError, now: float) -> Block:
    """A rejected key or an account without credit: a try every ten minutes, after a day of refusals one a day."""
    block = old if old is not None else Block(error.wire_class, "inferred", now)
    block.cause = error.wire_class
    return _stopped(block, now, DAY_S if now - block.since >= REVOKED_AFTER_S else PAUSE_TRY_S)


def revoked(now: float) -> Block:
    """A login that has ended for good."""
    return _stopped(Block("rejected_key", "told", now - REVOKED_AFTER_S), now, DAY_S)


def _stopped(block: Block, now: float, every_s: float) -> Block:
    """Without an end of its own, with a try each `every_s`."""
    block.until = NEVER
    block.started_at = now
    block.every_s = every_s
    block.next_try_at = now + every_s
    block.tried = False
    return block


def _source(error: UpstreamError) -> Source:
    return "told" if error.told else "inferred"


def _deadline(error: UpstreamError, now: float, resets: str | None) -> tuple[float | None, float]:
    """When the evidence says that it ends, and the canary's interval; None = nothing was said."""
    every_s = DAY_S if error.window is Window.MONTH else CANARY_S
    if error.retry_at is not None and now < error.retry_at <= now + MONTH_S:
        short = error.window is not None and WINDOW_SECONDS[error.window] <= WINDOW_SECONDS[Window.MINUTE]
        return min(error.retry_at, now + SHORT_MOST_S) if short else error.retry_at, every_s
    if not isinstance(error, QuotaExhausted):
        return None, every_s
    if error.window is Window.MONTH:
        return next_reset(resets or "utc", Window.MONTH, now), every_s
    if error.window is Window.DAY and resets is not None and resets != "rolling":
        return next_reset(resets, Window.DAY, now), every_s
    return now + BLIND_DAY_S, every_s
