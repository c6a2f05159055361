"""How well a provider and its models answer: a sliding-window breaker, and the time to the first token.

Owns the circuit breaker (closed, open, half-open with a single probe, then a ramp) and the tempo from which silence
limits follow. It must never judge quotas or keys: a 429 is no ill health, and a caller's mistake is none either.
"""

from collections import deque

WINDOW_S = 60.0
CONSECUTIVE = 3
RATE_EVENTS = 10
RATE = 0.5
DEGRADED_RATE = 0.25
OPEN_S = (15.0, 30.0, 45.0)  # never a minute: who is well again is to be asked again soon
RAMP_FULL = 8  # requests in flight at which a recovering breaker counts as closed

SLOW_S = 10.0
SLOW_FOR_S = 600.0
LEARNED_FROM = 5
HEADROOM = 8.0  # the limit is this many times the usual time to the first token
LOW, HIGH = 1 / 3, 4.0  # bounds of what is learned, in terms of the configured limit
PREFILL_FROM = 2_000
PREFILL_MARGIN = 2.0
FRAME_S = 5.0  # of a first long prompt, what is put down to all but its length


class Breaker:
    """The breaker of one scope. Successes are only counted while there is trouble, so health costs nothing.

    `open_until` is epoch seconds, 0 = closed. While it is set and past, the breaker is half-open: `allow` requests
    may be in flight, one at first, doubled by every success.
    """

    __slots__ = (
        "allow",
        "consecutive",
        "events",
        "failed_at",
        "inflight",
        "models",
        "open_until",
        "opened_at",
        "opens",
    )

    def __init__(self) -> None:
        self.events: deque[tuple[float, bool]] = deque(maxlen=200)
        self.consecutive = 0
        self.failed_at = 0.0
        self.open_until = 0.0
        self.opened_at = 0.0
        self.opens = 0
        self.allow = 0
        self.inflight = 0
        self.models: set[str] = set()

    def fail(self, now: float, model: str, *, wide: bool = True) -> None:
        """Count a failure; open after three in a row inside the window, or at half of ten, or on a failed probe.

        `wide` False = the failures so far are of one model of several: they do not open a provider's breaker.
        """
        if now - self.failed_at > WINDOW_S:
            self.consecutive = 0
            self.models.clear()
        self.consecutive += 1
        self.failed_at = now
        self.models.add(model)
        self.events.append((now, False))
        self._forget(now)
        if self.open_until > now:
            return  # a straggler: what opened it has been counted
        half_open = self.open_until > 0
        wide = wide or len(self.models) > 1
        if half_open or (wide and (self.consecutive >= CONSECUTIVE or self._rate(RATE_EVENTS) >= RATE)):
            self.open_until = now + OPEN_S[min(self.opens, len(OPEN_S) - 1)]
            self.opened_at = now
            self.opens += 1
            self.allow = 1
            self.inflight = 0

    def succeed(self, now: float, *, fresh: bool) -> None:
        """Count a success. `fresh` = the request began after the breaker opened, so it proves something."""
        self.consecutive = 0
        self.models.clear()
        if self.open_until > 0:
            if not fresh:
                return
            self.open_until = min(self.open_until, now)
            self.allow *= 2
            if self.allow >= RAMP_FULL:
                self.close()
            return
        self.events.append((now, True))
        self._forget(now)

    def close(self) -> None:
        """Forget all trouble."""
        self.events.clear()
        self.models.clear()
        self.open_until = self.opened_at = 0.0
        self.consecutive = self.opens = self.allow = self.inflight = 0

    def shift(self, by: float) -> None:
        """The clock was set back by `-by` seconds: what was to last a minute still does."""
        self.events = deque(((at + by, ok) for at, ok in self.events), maxlen=self.events.maxlen)
        self.failed_at = max(0.0, self.failed_at + by)
        if self.open_until:
            self.open_until = max(1.0, self.open_until + by)
            self.opened_at += by

    def busy(self, now: float) -> bool:
        """Whether it is half-open and its probes are under way."""
        return 0 < self.open_until <= now and self.inflight >= self.allow

    def degraded(self, now: float) -> bool:
        """Whether a quarter or more of the recent answers failed, and more than one did."""
        if not self.events:
            return False
        self._forget(now)
        return self._rate(2) >= DEGRADED_RATE and sum(not ok for _, ok in self.events) > 1

    def quiet(self, now: float) -> bool:
        """Whether nothing is left to remember."""
        if self.open_until > 0:
            return False
        self._forget(now)
        return not self.events

    def _forget(self, now: float) -> None:
        events = self.events
        while events and now - events[0][0] > WINDOW_S:
            events.popleft()
        while events and events[0][1]:
            events.popleft()  # the window begins with its first failure

    def _rate(self, least: int) -> float:
        if len(self.events) < least:
            return 0.0
        return sum(not ok for _, ok in self.events) / len(self.events)


class Tempo:
    """Time to the first token of one model: the usual, the share of the prompt's length, and patience learned."""

    __slots__ = ("per_token_s", "samples", "slow_until", "stretch", "usual_s")

    def __init__(self) -> None:
        self.usual_s = 0.0
        self.per_token_s = 0.0
        self.samples = 0
        self.stretch = 1.0
        self.slow_until = 0.0

    def note(self, ttft_s: float, input_tokens: int, now: float) -> None:
        """Learn from one first token, `ttft_s` seconds after dispatch of `input_tokens`."""
        self.stretch = max(1.0, self.stretch * 0.8)
        if input_tokens >= PREFILL_FROM:
            # A long prompt speaks of its length, a short one of the rest: either would blur the other.
            if not self.samples:
                self.usual_s = min(ttft_s, FRAME_S)
            share = max(0.0, ttft_s - self.usual_s) / input_tokens
            self.per_token_s = share if not self.samples else self.per_token_s + (share - self.per_token_s) * 0.2
            ttft_s = min(ttft_s, self.usual_s)
        self.usual_s = ttft_s if not self.samples else self.usual_s + (ttft_s - self.usual_s) * 0.2
        self.samples += 1
        if self.usual_s > SLOW_S:
            self.slow_until = now + SLOW_FOR_S

    def timed_out(self, now: float) -> None:
        """Learn that the limit was too short, or the model is: wait longer next time, and rank it lower."""
        self.stretch = min(HIGH, self.stretch * 1.5)
        self.slow_until = now + SLOW_FOR_S

    def limit_s(self, configured_s: float, input_tokens: int, *, high_effort: bool, hidden: bool) -> float:
        """How long to wait for the first token, in seconds (contract.md, Silence)."""
        limit = configured_s * (4.0 if high_effort or hidden else 1.0)
        if self.samples >= LEARNED_FROM:
            limit = self.usual_s * HEADROOM * (4.0 if high_effort else 1.0)
        limit = min(max(limit * self.stretch, configured_s * LOW), configured_s * HIGH)
        return limit + self.per_token_s * input_tokens * PREFILL_MARGIN
