"""The ledger: all that changes about targets between one request and the next.

Owns what an attempt claims, what its outcome proves, and what is learned from it, keyed by scope so that it outlives a
reload. It is the only mutable routing state, touched synchronously from one thread; it never asks for the time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hermes_router.core.catalog import Capability, Known, Quirk, TargetFacts
from hermes_router.core.errors import Blames, Overloaded, TimedOut, Truncated, Unreachable, UpstreamError
from hermes_router.core.ids import CredentialId, Target
from hermes_router.core.observations import QuotaSeen, Window
from hermes_router.routing import persist, plain, quota, standing
from hermes_router.routing.bindings import Bindings
from hermes_router.routing.book import Book
from hermes_router.routing.cooldown import benched, cooled, paused
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.lanes import Lanes
from hermes_router.routing.learned import Learned
from hermes_router.routing.plain import Instants
from hermes_router.routing.quota import Meter, Reservation
from hermes_router.routing.roster import Roster
from hermes_router.routing.slots import Cell, Slot
from hermes_router.routing.standing import TargetStatus, amounts, cost

HIGH_EFFORT = frozenset({"high", "xhigh", "max"})
NO_EFFORT = frozenset({"none", "minimal"})
SHOWS_REASONING = frozenset(
    {
        Quirk.THINK_TAGS,
        Quirk.THOUGHT_TAGS,
        Quirk.REPLAY_REASONING,
        Quirk.REPLAY_REASONING_IF_KNOWN,
        Quirk.REPLAY_DETAILS,
    }
)
"""Rows whose models stream their reasoning: with these, silence is not thinking."""

Report = Callable[[list[list[Any]]], None]
"""Takes a correction, JSON-able, for the successor's `adjust`: called at each settlement, and must not raise."""


class RoutingState:
    """The ledger. Every method is one synchronous step; `now` is epoch seconds."""

    def __init__(self) -> None:
        self.learned = Learned()
        self.bindings = Bindings()
        self._book = Book(self.learned)
        self._turn = 0
        self._latest = 0.0
        self._levels: dict[Meter, int] = {}  # of what is in flight, how much a predecessor sent
        self._report: Report | None = None

    def adopt(self, roster: Roster) -> None:
        """Tie a snapshot's targets to what is remembered of them. Plans do it by themselves; a reload may."""
        self._book.view(roster)

    def lanes(self, roster: Roster, demand: Demand, constraint: Constraint, now: float) -> Lanes:
        """The lanes for this kind of request."""
        self._latest = now
        return self._book.lanes(roster, demand, constraint, now)

    def slot(self, target: Target) -> Slot | None:
        """The slot of a target, None where it was never in a roster."""
        return self._book.slots.get(target)

    def status(self, facts: TargetFacts, now: float) -> TargetStatus:
        """What `GET /v1/status` says of a target."""
        return standing.status(self._book.slot(facts), now)

    # --- one attempt -------------------------------------------------------------------------------

    def reserve(self, slot: Slot, demand: Demand, now: float) -> Reservation:
        """Claim one request's share of every window, and the turn. Called by `Plan.take` in the planning step."""
        group = slot.group
        assert group is not None
        entries: list[tuple[Meter, int, int]] = []
        if slot.meters:
            wanted = amounts(group, demand)
            for meter in slot.meters:
                if now >= meter.reset_at:
                    meter.roll(now)
                amount = wanted[meter.code]
                meter.used += amount
                entries.append((meter, amount, meter.epoch))
                if meter.used >= meter.scarce_at and not meter.crossed:
                    meter.crossed = not meter.level  # a level falls again, and is looked at each time it is full
                    for sibling in meter.slots:
                        sibling.flagged = True
        reservation = Reservation(slot, entries)
        reservation.late = self._report is not None
        if slot.marked:
            self._claim(slot, reservation, now)
        self._turn += 1
        slot.stamp = group.rotor.stamp = self._turn
        slot.taken_at = now
        slot.inflight += 1
        return reservation

    def settle(
        self,
        reservation: Reservation,
        now: float,
        *,
        input_tokens: int | None,
        output_tokens: int | None,
        sent: bool,
    ) -> None:
        """Replace the claim by what was used, exactly once; a second call changes nothing.

        None = not reported, the claim stands. `sent` False = no byte left for the provider, so all comes back.
        """
        if reservation.settled:
            return
        reservation.settled = True
        self._latest = now
        slot = reservation.slot
        slot.inflight -= 1
        for probe, opened_at in reservation.probes:
            if probe.opened_at == opened_at:
                probe.inflight = max(0, probe.inflight - 1)
        if not reservation.entries:
            return
        actual: quota.Amounts | None = None
        if sent:
            inputs = -1 if input_tokens is None else input_tokens
            outputs = -1 if output_tokens is None else output_tokens
            both = inputs + outputs if inputs >= 0 and outputs >= 0 else -1
            group = slot.group
            money = cost(group, inputs, outputs) if group is not None and both >= 0 else -1
            actual = (1, both, inputs, outputs, money, 1)
        quota.settle(reservation.entries, actual)
        if self._report is not None:
            told = persist.correction(reservation, actual, late=reservation.late)
            if told:
                self._report(told)

    def _claim(self, slot: Slot, reservation: Reservation, now: float) -> None:
        """A request to a target in trouble: it is the probe of its breakers and the canary of its blocks."""
        probes = []
        for breaker in (slot.provider_breaker, slot.model_breaker):
            if breaker.open_until > 0:
                breaker.inflight += 1
                probes.append((breaker, breaker.opened_at))
        reservation.probes = tuple(probes)
        for cell in slot.cells.values():
            for block in (cell.pause, cell.cooldown):
                if block is not None and block.active(now):
                    block.canary(now)
                    _refresh(cell, now)

    # --- what an attempt taught us -----------------------------------------------------------------

    def succeeded(self, target: Target, now: float, *, ttft_s: float | None, demand: Demand) -> None:
        """A good answer: ends cooldowns and pauses, closes breakers, binds the conversation, learns the tempo.

        Call it before `settle`: a success of a request that began before the trouble proves nothing.
        """
        self._latest = now
        slot = self._book.slots.get(target)
        if slot is None:
            return
        if slot.marked:
            _clear(slot, now)
        if ttft_s is not None and slot.group is not None:
            tempo = slot.group.memory.tempo
            was_slow = tempo.slow_until
            tempo.note(ttft_s, demand.input_tokens, now)
            if tempo.slow_until != was_slow:
                for sibling in slot.group.slots:
                    sibling.flagged = True
        key = demand.affinity_key
        if key is not None:
            self.bindings.served(key, target, now, binds=demand.binds, difficulty=demand.difficulty)

    def failed(self, target: Target, error: UpstreamError, now: float, *, demand: Demand | None = None) -> None:
        """A failed attempt: whoever the evidence names rests for as long as it says, nobody else."""
        self._latest = now
        slot = self._book.slots.get(target)
        if slot is None:
            return
        self.seen(target, error.quotas, now)
        cell = slot.cells[error.scope]
        match error.blames:
            case Blames.CREDENTIAL:
                cell.pause = paused(cell.pause, error, now)
                _refresh(cell, now)
            case Blames.MODEL:
                cell.cooldown = benched(error, now)
                _refresh(cell, now)
            case Blames.QUOTA:
                _cool(slot, cell, error, now)
            case Blames.PROVIDER:
                if isinstance(error, Overloaded) or (error.retry_at is not None and error.retry_at > now):
                    _cool(slot, cell, error, now)
                if error.breaker:
                    _unwell(slot, error, now, demand)
            case Blames.CALLER | Blames.REQUEST | Blames.NETWORK | Blames.NOBODY:
                pass

    def abandoned(self, target: Target, now: float) -> None:
        """The caller left: nobody is blamed, and a canary that was under way may be sent again."""
        slot = self._book.slots.get(target)
        if slot is None or not slot.marked:
            return
        for cell in slot.cells.values():
            for block in (cell.pause, cell.cooldown):
                if block is not None and block.tried and block.active(now):
                    block.tried = False
                    block.next_try_at = now
                    _refresh(cell, now)

    def proved(self, credential: CredentialId, now: float) -> None:
        """A check of ours (`hr auth test`) found the key good: what says that it was rejected ends at once.

        Credit is not proved by it (providers.md 9), but one real request may ask now. Told cooldowns and breakers
        stand: they are about other things.
        """
        for slot in self._of(credential):
            for cell in slot.cells.values():
                pause = cell.pause
                if pause is None:
                    continue
                if pause.cause == "rejected_key":
                    cell.pause = None
                else:
                    pause.tried = False
                    pause.next_try_at = now
                _refresh(cell, now)

    def in_flight(self) -> int:
        """How many attempts are under way."""
        return sum(slot.inflight for slot in self._book.slots.values())

    def uses(self, credential: CredentialId) -> Callable[[], int]:
        """A count of the attempts under way with this credential, good also after its targets left the snapshot."""
        slots = self._of(credential)
        return lambda: sum(slot.inflight for slot in slots)

    def _of(self, credential: CredentialId) -> list[Slot]:
        return [slot for target, slot in self._book.slots.items() if target.credential == credential]

    def seen(self, target: Target, quotas: Sequence[QuotaSeen], now: float) -> None:
        """Windows as the provider described them in a header or a body: told ones bind from now on."""
        slot = self._book.slots.get(target) if quotas else None
        if slot is None:
            return
        for one in quotas:
            if one.limit is not None or one.remaining is not None:
                self._book.told(slot, one, now)

    # --- learned facts -----------------------------------------------------------------------------

    def difficulty_floor(self, key: str | None) -> int:
        """The difficulty below which a conversation does not fall; 1 for an unknown one."""
        return self.bindings.floor(key)

    def refused_params(self, provider: str, model: str) -> frozenset[str]:
        """Parameters that this model refused before: they are dropped before sending."""
        memory = self.learned.models.get((provider, model))
        return memory.refused if memory is not None else frozenset()

    def learn_refused(self, provider: str, model: str, param: str) -> None:
        """Remember that a model refuses a parameter."""
        self.learned.of(provider, model).refused |= {param}

    def learn_capability(self, provider: str, model: str, capability: Capability, known: Known) -> None:
        """Remember for a week what a live answer or a probe showed; the owner's override stands above it."""
        memory = self.learned.of(provider, model)
        before = memory.capabilities.get(capability)
        memory.capabilities[capability] = (known, self._latest)
        if before is None or before[0] is not known:
            self.learned.version += 1

    def learn_context(self, provider: str, model: str, tokens: int) -> None:
        """Remember a model's real window, in tokens."""
        self.learned.of(provider, model).context = tokens
        self._book.resize(provider, model)

    def calibrate(self, provider: str, model: str, estimated: int, reported: int) -> None:
        """Learn how many tokens the provider counts where we estimated `estimated`."""
        if self.learned.calibrate(provider, model, estimated, reported):
            self._book.resize(provider, model)

    def first_token_limit_s(self, facts: TargetFacts, demand: Demand, settings_first_token_s: float) -> float:
        """How long to wait for the first token, in seconds (contract.md, Silence)."""
        model = facts.model
        configured = model.first_token_s or facts.provider.first_token_s or settings_first_token_s
        memory = self.learned.of(facts.target.provider, facts.target.model)
        reasons = model.capability(Capability.REASONING).value is Known.YES
        hidden = reasons and demand.effort not in NO_EFFORT and not facts.quirks & SHOWS_REASONING
        high = demand.effort in HIGH_EFFORT
        return memory.tempo.limit_s(configured, demand.input_tokens, high_effort=high, hidden=hidden)

    # --- two processes, and the disk -----------------------------------------------------------------

    def dump(self, now: float) -> dict[str, Any]:
        """All that outlives a process, as values that JSON carries; requests under way count as used."""
        return persist.dump(self._book, self.learned, self.bindings, self._turn, now)

    def load(self, dumped: Mapping[str, Any], roster: Roster, now: float, *, beside: bool = False) -> None:
        """Take over a dump, before the first plan. Never raises: what is unsound or has expired is left out.

        `beside` = the process that made it still has requests under way, and tells of each settlement (`adjust`)
        until it ends (`alone`). Without one, what it had in flight counts as used, but as in flight no more.
        """
        self._latest = now
        self.adopt(roster)
        made_at = plain.number(plain.fields(dumped).get("at"))
        instants = Instants(now if made_at is None else made_at, now)
        turn, self._levels = persist.load(self._book, self.learned, self.bindings, dumped, instants, beside=beside)
        self._turn = max(self._turn, turn)

    def report_settlements(self, report: Report | None) -> None:
        """From now on, tell each settlement's correction to a successor: call it in the same step as `dump`."""
        self._report = report

    def adjust(self, told: object, now: float) -> None:
        """Take over one correction of a predecessor, as it reported it; what makes no sense changes nothing."""
        persist.correct(self._book, self._levels, told, now)

    def alone(self, now: float) -> None:
        """The predecessor has ended: nothing of it is in flight any more."""
        for meter, left in self._levels.items():
            meter.used = max(0, meter.used - left)
            for slot in meter.slots:
                slot.refresh(now)
        self._levels.clear()


def _refresh(cell: Cell, now: float) -> None:
    for slot in cell.slots:
        slot.refresh(now)


def _cool(slot: Slot, cell: Cell, error: UpstreamError, now: float) -> None:
    window = error.window or Window.DAY
    clock = next((rule.resets for rule in slot.facts.quotas if rule.window is window), None)
    cell.cooldown = cooled(cell.cooldown, error, now, clock)
    _refresh(cell, now)


def _unwell(slot: Slot, error: UpstreamError, now: float, demand: Demand | None) -> None:
    """Count ill health: against the model always, against its provider where the evidence is wider than that.

    A provider of several models opens when failures come from more than one of them, or where it could not be
    reached at all; an aggregator with one dead model keeps serving the others.
    """
    if isinstance(error, TimedOut) and error.phase == "deadline":
        return  # the caller's time was up, which says nothing about the provider
    model = str(slot.target.model)
    slot.model_breaker.fail(now, model)
    wide = error.scope in ("provider", "ip")
    if wide:
        models = {s.target.model for s in slot.cells["provider"].slots}
        slot.provider_breaker.fail(now, model, wide=isinstance(error, Unreachable) or len(models) == 1)
    group = slot.group
    if group is not None and isinstance(error, TimedOut) and error.phase == "first_token":
        group.memory.tempo.timed_out(now)
    cut = group is not None and demand is not None and isinstance(error, Truncated)
    if cut and group is not None and demand is not None and group.memory.truncated(demand.input_tokens, now):
        group.resize(now)
    _refresh(slot.cells["provider" if wide else "model"], now)


def _clear(slot: Slot, now: float) -> None:
    """End what a success disproves: all that began before the request that succeeded."""
    touched: list[Cell] = []
    idle = slot.inflight == 0  # then it was no request of a plan, so a probe of ours: it is fresh
    for cell in slot.cells.values():
        if cell.cooldown is not None and (idle or slot.taken_at >= cell.cooldown.started_at):
            cell.cooldown = None
            touched.append(cell)
        if cell.pause is not None and (idle or slot.taken_at >= cell.pause.started_at):
            cell.pause = None
            touched.append(cell)
    provider, model = slot.provider_breaker, slot.model_breaker
    if not provider.quiet(now):
        provider.succeed(now, fresh=idle or slot.taken_at >= provider.opened_at)
        touched.append(slot.cells["provider"])
    if not model.quiet(now):
        model.succeed(now, fresh=idle or slot.taken_at >= model.opened_at)
        touched.append(slot.cells["model"])
    for cell in touched:
        _refresh(cell, now)
    slot.refresh(now)
