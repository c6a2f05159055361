"""What every exchange shares: the ports, the ledger, the current snapshot.

Owns the bundle that `daemon/wiring.py` builds and nothing else; two of them can live in one test.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.errors import UpstreamError
from hermes_router.core.ports import Authorizer, Clock, Ids, ImageFetcher, Log, Recorder, Renewals, Rng, Transport
from hermes_router.core.records import ExchangeRecord
from hermes_router.core.settings import Settings
from hermes_router.engine.alerts import Alerts
from hermes_router.engine.attempt import Border
from hermes_router.engine.caches import Caches
from hermes_router.engine.caller_limits import CallerLimits
from hermes_router.engine.embed_bindings import EmbedBindings
from hermes_router.engine.memory import Memory
from hermes_router.engine.outages import Outages
from hermes_router.engine.prober import Prober
from hermes_router.engine.remembered import RememberedResponses
from hermes_router.engine.runaway import RunawayGuard
from hermes_router.engine.sweep import Sweeper
from hermes_router.engine.waiting import Waiters
from hermes_router.routing.past import Past
from hermes_router.routing.roster import Roster
from hermes_router.routing.state import RoutingState


class Generation(NamedTuple):
    """One configuration in force, indexed for routing. Swapped whole.

    `awaits_local` = a local server is configured that has not answered yet, so its models are not known. `embedders`
    are the targets for embeddings, which are no part of the roster.
    """

    number: int
    settings: Settings
    roster: Roster
    policy: str
    awaits_local: bool = False
    embedders: tuple[TargetFacts, ...] = ()


class Counters(msgspec.Struct):
    """Exchanges since the start, for `/v1/status`. `failovers` counts attempts that failed unseen."""

    exchanges: int = 0
    answered: int = 0
    failed: int = 0
    caller_left: int = 0
    failovers: int = 0

    def count(self, outcome: str, failed_attempts: int) -> None:
        """One exchange is over."""
        self.exchanges += 1
        self.failovers += failed_attempts
        if outcome == "answered":
            self.answered += 1
        elif outcome == "caller_left":
            self.caller_left += 1
        else:
            self.failed += 1


class Forgetful:
    """A Recorder that keeps nothing."""

    def put(self, record: ExchangeRecord) -> None:
        """Let it go."""


@dataclass(slots=True)
class Engine:
    """The ports and the ledger. `snapshot` is the current generation: read it once per attempt.

    `waiters.wake()` is called by whoever changes something that may serve a request that waits. `secret` is the
    installation's own, the same after every start.
    """

    snapshot: Generation
    state: RoutingState
    transport: Transport
    authorizer: Authorizer
    memory: Memory
    border: Border
    in_band: Callable[[str, object, float], UpstreamError]
    sweeper: Sweeper
    clock: Clock
    rng: Rng
    ids: Ids
    log: Log
    started_mono: float
    secret: bytes = field(default=b"", repr=False)
    counters: Counters = field(default_factory=Counters)
    limits: CallerLimits = field(default_factory=CallerLimits)
    recorder: Recorder = field(default_factory=Forgetful)
    renewals: Renewals | None = None
    images: ImageFetcher | None = None
    embed_bindings: EmbedBindings = field(default_factory=EmbedBindings)
    alerts: Alerts = field(default_factory=Alerts)
    outages: Outages = field(default_factory=Outages)
    past: Past = field(default_factory=Past)
    caches: Caches = field(default_factory=Caches)
    waiters: Waiters = field(init=False)
    guard: RunawayGuard = field(init=False)
    remembered: RememberedResponses = field(init=False)
    prober: Prober = field(init=False)

    def __post_init__(self) -> None:
        self.prober = Prober(self.state, self.clock)
        self.waiters = Waiters(self.clock, self.sweeper)
        self.guard = RunawayGuard(self.log)
        self.remembered = RememberedResponses(self.clock)
