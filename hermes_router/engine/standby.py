"""One exchange's waits: whether a wait is worth it, for how long, and what it ended with.

Owns the patience of one exchange, in all its waits together, and the pause before a target that failed is asked again.
Whoever is limited is waited for, to the instant that the ledger names, as often as that takes. Whoever failed in
another way is asked once more, and then no more: when its cooldown or its breaker ends, where that is within the
patience, else after a second. So an outage of some seconds is survived, and a longer one is a 503 that says when to ask
again. Where our own network is down, nobody was asked and nothing is counted: the pauses double, from 1 s to 10 s. What
returns too late is said at once. It must never send, or know the caller's connection.
"""

from collections.abc import Callable, Hashable

from hermes_router.core.errors import DeadlinePassed, HermesError
from hermes_router.engine.context import Engine
from hermes_router.engine.search import Search
from hermes_router.engine.settlement import Settlement
from hermes_router.routing.scheduler import Candidate

_FIRST_PAUSE_S = 1.0
_MINUTE_S = 60.0
_STRETCH_S = 3.0  # who has waited a minute and could be served within this is not sent away
_LONGEST_PAUSE_S = 10.0


class Standby:
    """A Waiter on behalf of one exchange. `on` while it waits; `waited_s` counts all its waits, in seconds.

    `stretches` = the patience is nobody's own number for this request, and may be exceeded where that saves it.
    """

    __slots__ = (
        "_began_mono", "_changed", "_engine", "_error", "_found", "_last_mono", "_limit_mono", "_patience_s",
        "_pause_s", "_relents_mono", "_request_id", "_search", "_settlement", "_stretch_s", "arrived",
        "gives_up_at", "kind", "on", "size", "waited_s",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        search: Search,
        settlement: Settlement,
        *,
        patience_s: float,
        stretches: bool,
        arrived_mono: float,
        request_id: str,
        changed: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._search = search
        self._settlement = settlement
        self._patience_s = patience_s
        self._stretch_s = _STRETCH_S if stretches and patience_s >= _MINUTE_S else 0.0
        self._request_id = request_id
        self._changed = changed
        self._pause_s = _FIRST_PAUSE_S
        self._began_mono = self._limit_mono = self._relents_mono = 0.0
        self._found: Candidate | None = None
        self._error: HermesError | None = None
        self.arrived = arrived_mono
        self.kind: Hashable = None
        self.size = search.size
        self.gives_up_at = 0.0
        self.waited_s = 0.0
        self.on = False

    def begin(self, deadline_mono: float) -> None:
        """The search has found nobody: wait, where that is worth it. Else `result` has what there is, at once."""
        clock, search = self._engine.clock, self._search
        mono = clock.mono()
        left_s = max(0.0, min(self._patience_s - self.waited_s, deadline_mono - mono))
        self._began_mono = mono
        self._limit_mono = mono + left_s
        self._last_mono = min(mono + max(0.0, self._patience_s + self._stretch_s - self.waited_s), deadline_mono)
        self._relents_mono = mono + min(self._pause_s, left_s)
        self.gives_up_at = clock.now() + left_s
        if not search.planned:  # its kind waits already
            expected_at = self._engine.waiters.expects(search.kind, self.size)
            if expected_at is not None and expected_at - clock.now() <= left_s:
                self._join(expected_at, "queue")
                return
            self._found = search.take(left_s=left_s)
            if self._found is not None:
                return
        search.relent(paused=False, reach_at=self.gives_up_at)
        again_at = self._weigh(left_s)
        if again_at is not None:
            why = search.why
            if why == "broken":
                self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
            self._join(again_at, why)

    def _join(self, again_at: float, why: str) -> None:
        self.on = True
        self.kind = self._search.kind
        waiters = self._engine.waiters
        self._engine.log.info(
            "exchange.waiting",
            request_id=self._request_id,
            why=why,
            until=round(again_at, 3),
            wait_s=round(again_at - self._engine.clock.now(), 3),
            ahead=waiters.waiting,
        )
        waiters.join(self, again_at)

    def look(self) -> float | None:
        """One step on behalf of the queue (`waiting.Waiter`)."""
        mono = self._engine.clock.mono()
        left_s = self._limit_mono - mono
        try:
            again_at = self._looked(mono, left_s)
        except HermesError as error:
            self._error = error
            again_at = None
        if again_at is None:
            self._stop()
            self._changed()
        return again_at

    def _looked(self, mono: float, left_s: float) -> float | None:
        search = self._search
        search.relent(paused=mono >= self._relents_mono, reach_at=self.gives_up_at)
        self._found = search.take(left_s=left_s)
        return self._weigh(left_s) if self._found is None else None

    def _weigh(self, left_s: float) -> float | None:
        """When to look again, epoch seconds; None where it is over, with `_found` or `_error` set."""
        clock, search, settlement = self._engine.clock, self._search, self._settlement
        self._error = search.fault(settlement.reports, settlement.refusal)
        if self._error is not None:
            return None
        reach_s = left_s if search.why == "broken" else self._last_mono - clock.mono()
        if left_s > 0.0 or reach_s > 0.0:
            now = clock.now()
            again_at = search.returns_at(now + max(0.0, self._relents_mono - clock.mono()), self.gives_up_at)
            if again_at is not None and again_at - now <= reach_s:
                return again_at
            if left_s > 0.0 and search.paced:
                self._found = search.take(left_s=0.0)  # a published number never refuses anybody
                if self._found is not None:
                    return None
        dares_at = search.dares_at()
        if dares_at is not None and dares_at > clock.now() and dares_at - clock.now() <= reach_s:
            return dares_at
        self._found = search.dare()
        if self._found is None:
            self._error = search.nobody(settlement.reports)
        return None

    def tick(self, mono: float, *, deadline_mono: float) -> None:
        """Its time may be up."""
        if self.on and mono >= self._limit_mono:
            self._engine.waiters.expire(self)
            if self._found is None and mono >= deadline_mono:
                self._error = DeadlinePassed(self._settlement.reports)

    def _stop(self) -> None:
        if self.on:
            self.on = False
            self.waited_s += self._engine.clock.mono() - self._began_mono

    def end(self) -> None:
        """The exchange is over, or goes on: it waits no more, and what it did not take is free again."""
        if self.on:
            self._stop()
            self._engine.waiters.leave(self)
        found, self._found = self._found, None
        if found is not None:
            self._search.give_back(found)
            self._engine.waiters.wake()

    def result(self) -> Candidate:
        """Whom the wait has brought. Raises what the caller gets where it has brought nobody."""
        found, self._found = self._found, None
        if found is not None:
            return found
        assert self._error is not None
        raise self._error
