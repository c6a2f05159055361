"""The ledger: all that changes about targets between one request and the next.

Owns what an attempt claims, what its outcome proves, and what is learned from it, keyed by scope so that it outlives a
reload. It is the only mutable routing state, touched synchronously from one thread; it never asks for the time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hermes_router.core.catalog import Capability, Known, Quirk, TargetFacts
from hermes_router.core.errors import Blames, Overloaded, TimedOut, Truncated, Unreachable, UpstreamError
from hermes_router.core.ids import CredentialId, Target
from hermes_router.core.observations import QuotaSeen, Scope, Window
from hermes_router.core.records import LedgerRow
from hermes_router.routing import claims, persist, persist_rows, plain, refusals, standing
from hermes_router.routing.bindings import Bindings
from hermes_router.routing.book import Book
from hermes_router.routing.claims import Entry, Reservation
from hermes_router.routing.cooldown import LONG_S, Block, benched, cooled, paused, revoked
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.lanes import Lanes
from hermes_router.routing.learned import Learned, Learnt, Lesson
from hermes_router.routing.oddities import Oddities, sensible
from hermes_router.routing.plain import Instants
from hermes_router.routing.quota import Meter
from hermes_router.routing.roster import Roster
from hermes_router.routing.slots import Cell, Slot
from hermes_router.routing.standing import QuotaStatus, TargetStatus, amounts, cost
from hermes_router.routing.units import MONEY, Amounts

SET_BACK_S = 60.0  # less is a clock that was corrected: it will have caught up in no time
FIRST_EXPLORED = 300  # turns; from then on one request in so many goes beyond a prior though it could wait
EXPLORE_EARLY, EARLY, EXPLORE_EVERY = 600, 3_000, 2_500

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
        self._book = Book(self.learned)
        self.changes = self._book.changes
        self.bindings = Bindings(changes=self.changes)
        self._turn = 0
        self._latest = 0.0
        self._explored_at = FIRST_EXPLORED  # the turn from which a prior may be doubted by a request that could wait
        self.oddities = Oddities()
        self._levels: dict[Meter, int] = {}  # of what is in flight, how much a predecessor sent
        self._report: Report | None = None

    def adopt(self, roster: Roster) -> None:
        """Tie a snapshot's targets to what is remembered of them. Plans do it by themselves; a reload may."""
        self._book.view(roster)

    def lanes(self, roster: Roster, demand: Demand, constraint: Constraint, now: float) -> Lanes:
        """The lanes for this kind of request."""
        if now < self._latest - SET_BACK_S:
            self._set_back(now)
        self._latest = now
        return self._book.lanes(roster, demand, constraint, now)

    def slot(self, target: Target) -> Slot | None:
        """The slot of a target, None where it was never in a roster."""
        return self._book.slots.get(target)

    def configure(self, *, budget_microusd_day: int | None, pacing_even: bool, now: float) -> None:
        """Take over what the owner set for all targets: a budget in micro-US-dollars a day of UTC, and the pacing.

        What was spent before counts. `pacing_even` spreads the day's and month's windows of free targets over their
        time (`pacing.py`).
        """
        self._book.configure(budget_microusd_day, now, spread=pacing_even)

    def budget(self, now: float) -> tuple[int | None, int, float]:
        """The budget for all paid targets (None = none), what is spent and claimed of it today, and the day's end."""
        return self._book.budget(now)

    def budgets(self, now: float) -> list[tuple[Scope, int, int, float]]:
        """Every budget of the owner's for a day, of providers and of all paid targets (see `Book.budgets`)."""
        return self._book.budgets(now)

    def windows(self, now: float) -> list[tuple[Scope, QuotaStatus]]:
        """Every window that counts something or of which a limit is known, each once, by scope, longest first."""
        meters = [m for m in self._book.meters.values() if m.limit is not None or m.count(now)]
        meters.sort(key=lambda m: (str(m.scope), -m.span_s, m.code))
        return [(meter.scope, standing.window(meter, now)) for meter in meters]

    def _set_back(self, now: float) -> None:
        """The clock was set back: windows and cooldowns follow it, so that none stands until it has caught up."""
        self._book.shift(now - self._latest, now)

    def explores(self) -> bool:
        """Whether a request that could wait may go beyond a prior, so that one which is too low is found out.

        So rarely that it may well be refused each time; from then on it has to wait its turn again.
        """
        if self._turn < self._explored_at:
            return False
        self._explored_at = self._turn + (EXPLORE_EARLY if self._turn < EARLY else EXPLORE_EVERY)
        return True

    def status(self, facts: TargetFacts, now: float) -> TargetStatus:
        """What `GET /v1/status` says of a target."""
        return standing.status(self._book.slot(facts), now)

    def stance(self, facts: TargetFacts, now: float) -> tuple[standing.StateName, str | None, float | None]:
        """The same without windows and capabilities: a target's state, its reason, until when."""
        return standing.stance(self._book.slot(facts), now)

    # --- one attempt -------------------------------------------------------------------------------

    def reserve(self, slot: Slot, demand: Demand, now: float) -> Reservation:
        """Claim one request's share of every window, and the turn. Called by `Plan.take` in the planning step."""
        group = slot.group
        assert group is not None
        entries: list[Entry] = []
        money = 0
        if slot.meters:
            wanted = amounts(group, demand)
            if group.spends:
                money = wanted[MONEY]
            for meter in slot.meters:
                if now >= meter.due_at:
                    meter.advance(now)
                amount = wanted[meter.code] + meter.extra
                mark = meter.total = meter.total + amount
                meter.touched_at = now
                entries.append((meter, amount, mark))
                if mark - meter.base >= meter.alarm_at:
                    self._book.alarm(meter, now)
        reservation = Reservation(slot, entries, money)
        reservation.late = self._report is not None
        if slot.marked:
            self._claim(slot, reservation, now)
        self._turn += 1
        slot.stamp = group.rotor.stamp = self._turn
        slot.taken_at = now
        slot.inflight += 1
        self.changes.used(slot)
        return reservation

    def settle(
        self,
        reservation: Reservation,
        now: float,
        *,
        input_tokens: int | None,
        output_tokens: int | None,
        sent: bool,
        cost_microusd: int | None = None,
        unheard: bool = False,
    ) -> None:
        """Replace the claim by what was used, exactly once; a second call changes nothing.

        None = not reported, the claim stands. `sent` False = no byte left for the provider, so all comes back.
        `unheard` = nobody has answered, so it may not have been counted at all.
        `cost_microusd` is the exact cost where it is known; else it follows from the tokens.
        """
        if reservation.settled:
            return
        reservation.settled = True
        self._latest = now
        slot = reservation.slot
        slot.inflight -= 1
        self.changes.used(slot)
        for probe, opened_at in reservation.probes:
            if probe.opened_at == opened_at:
                probe.inflight = max(0, probe.inflight - 1)
        if not reservation.entries:
            return
        actual: Amounts | None = None
        if sent:
            inputs = -1 if input_tokens is None else input_tokens
            outputs = -1 if output_tokens is None else output_tokens
            both = inputs + outputs if inputs >= 0 and outputs >= 0 else -1
            group = slot.group
            money = -1 if cost_microusd is None else cost_microusd
            if money < 0 and group is not None and both >= 0:
                money = cost(group, inputs, outputs)
            actual = (1, both, inputs, outputs, money, 1, 0)
            if unheard:
                claims.doubt(reservation.entries, actual, now)
        turned = claims.settle(
            reservation.entries,
            actual,
            admitted=sent and input_tokens is not None and not unheard,
            held=reservation.held,
        )
        if turned:
            self._book.turned(turned, now)
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
        self.changes.judged(slot)
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
            self.changes.judged(slot)
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

    def failed(
        self,
        target: Target,
        error: UpstreamError,
        now: float,
        *,
        demand: Demand | None = None,
        reservation: Reservation | None = None,
    ) -> None:
        """A failed attempt: whoever the evidence names rests for as long as it says, nobody else.

        Call it before `settle`. `reservation` is the claim of the attempt: by it a refusal is held against what had
        been counted when the attempt began.
        """
        self._latest = now
        slot = self._book.slots.get(target)
        if slot is None:
            return
        self.changes.judged(slot)
        self._told(slot, error.quotas, now, reservation, refused=True)
        cell = slot.cells[error.scope]
        match error.blames:
            case Blames.CREDENTIAL:
                cell.pause = paused(cell.pause, error, now)
                _refresh(cell, now)
            case Blames.MODEL:
                cell.cooldown = benched(error, now)
                _refresh(cell, now)
            case Blames.QUOTA:
                explained = refusals.learn(self._book, slot, error, reservation, now)
                if not refusals.by_size(slot, error, reservation, now):
                    _cool(slot, refusals.whose(slot, error, now), error, now, explained=explained)
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
        self.changes.judged(slot)
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
            self.changes.judged(slot)
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

    def revoke(self, credential: CredentialId, now: float) -> None:
        """Nothing is left to be sent for it until its owner logs in again (contract.md: `revoked`, a try a day)."""
        for slot in self._of(credential):
            self.changes.judged(slot)
            cell = slot.cells["credential"]
            cell.pause = revoked(now)
            _refresh(cell, now)

    def told_to_wait(self, credential: CredentialId, now: float) -> bool:
        """Whether the provider told one of a credential's targets to wait long: worth asking, where that is free."""
        cells = (cell for slot in self._of(credential) for cell in slot.cells.values())
        return any(_waits_long(cell.cooldown, now) for cell in cells)

    def has_room_again(self, credential: CredentialId, now: float) -> None:
        """The provider says that there is quota again: one real request may ask now, and its success ends the wait."""
        for slot in self._of(credential):
            for cell in slot.cells.values():
                block = cell.cooldown
                if block is not None and _waits_long(block, now):
                    block.tried = False
                    block.next_try_at = now
                    self.changes.judged(slot)
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

    def seen(
        self, target: Target, quotas: Sequence[QuotaSeen], now: float, *, reservation: Reservation | None = None
    ) -> None:
        """Windows as the provider described them in a header or a body: told ones bind from now on.

        `reservation` is the claim of the request that was answered: what was sent after it is not in the provider's
        count yet (None = all is). What makes no sense changes nothing and is noted in `oddities`, once.
        """
        slot = self._book.slots.get(target) if quotas else None
        if slot is None:
            return
        self._told(slot, quotas, now, reservation)

    def _told(
        self,
        slot: Slot,
        quotas: Sequence[QuotaSeen],
        now: float,
        reservation: Reservation | None,
        *,
        refused: bool = False,
    ) -> None:
        if quotas:
            self.changes.used(slot)
        for one in quotas:
            if one.odd:
                self.oddities.note(slot.target, one.odd)
            sound, odd = sensible(one, now)
            if odd:
                self.oddities.note(slot.target, odd)
            if sound is not None and (sound.limit is not None or sound.remaining is not None):
                self._book.told(slot, sound, now, reservation, refused=refused)

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
        self.changes.learned(provider, model)

    def learn_capability(
        self, provider: str, model: str, capability: Capability, known: Known, source: Lesson = "seen"
    ) -> None:
        """Remember for a week what a live answer or a probe showed; the owner's override stands above it."""
        memory = self.learned.of(provider, model)
        before = memory.learnt(capability, self._latest)
        memory.capabilities[capability] = Learnt(known, self._latest, source)
        self.changes.learned(provider, model)
        if before is None or before.known is not known:
            self.learned.version += 1

    def learn_context(self, provider: str, model: str, tokens: int) -> None:
        """Remember a model's real window, in tokens, for a week: providers widen them, too."""
        memory = self.learned.of(provider, model)
        memory.context, memory.context_at = tokens, self._latest
        self.changes.learned(provider, model)
        self._book.resize(provider, model)

    def forget_stale(self, now: float) -> None:
        """Let go of windows that were learned too long ago. Called now and again, never by a request."""
        for provider, model in self.learned.stale(now):
            self._book.resize(provider, model)
            self.changes.learned(provider, model)

    def listed_again(self, provider: str, model: str, now: float) -> None:
        """The provider lists a model that it had left out: what said that it is gone ends at once."""
        for slot in self._book.slots.values():
            if slot.target.model == model and slot.target.provider == provider:
                cell = slot.cells["model"]
                if cell.cooldown is not None and cell.cooldown.cause == "gone":
                    cell.cooldown = None
                    _refresh(cell, now)
                    self.changes.judged(slot)

    def calibrate(self, provider: str, model: str, estimated: int, reported: int) -> None:
        """Learn how many tokens the provider counts where we estimated `estimated`."""
        self.changes.learned(provider, model)
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

    def take_changes(self, now: float, most: int) -> list[LedgerRow]:
        """What has changed since it was last taken, about `most` rows at a time, none where there is nothing more.

        Requests under way count as used. Whoever takes them writes them down: they are told once.
        """
        return persist_rows.changed(self._book, self.learned, self.bindings, now, most)

    def mark_all(self) -> None:
        """From here on, all of it has changed: it goes into a file that holds nothing yet."""
        persist_rows.mark_all(self._book, self.learned, self.bindings)

    def restore(self, stored: Sequence[LedgerRow], roster: Roster, now: float) -> None:
        """Take over what was written down, before the first plan. Never raises: what is unsound or over is left out.

        Nobody has requests under way any more; what they claimed counts as used.
        """
        self._latest = now
        self.adopt(roster)
        turn = persist_rows.restore(self._book, self.learned, self.bindings, stored, now)
        self._turn = max(self._turn, turn)

    def forget(self, credential: CredentialId) -> None:
        """A credential was removed: nothing that names it stays. What it used remains in its account's windows."""
        self._book.forget(credential)
        self.bindings.forget(credential)

    def report_settlements(self, report: Report | None) -> None:
        """From now on, tell each settlement's correction to a successor: call it in the same step as `dump`."""
        self._report = report

    def adjust(self, told: object, now: float) -> None:
        """Take over one correction of a predecessor, as it reported it; what makes no sense changes nothing."""
        persist.correct(self._book, self._levels, told, now)

    def alone(self, now: float) -> None:
        """The predecessor has ended: nothing of it is in flight any more."""
        for meter, left in self._levels.items():
            meter.give_back(0, -min(left, meter.used))
            self.changes.metered(meter)
            for slot in meter.slots:
                slot.refresh(now)
        self._levels.clear()


def _waits_long(block: Block | None, now: float) -> bool:
    return block is not None and block.source == "told" and block.until - now > LONG_S


def _refresh(cell: Cell, now: float) -> None:
    for slot in cell.slots:
        slot.refresh(now)


def _cool(slot: Slot, cell: Cell, error: UpstreamError, now: float, *, explained: bool = False) -> None:
    window = error.window or Window.DAY
    clock = next((rule.resets for rule in slot.facts.quotas if rule.window is window), None)
    cell.cooldown = cooled(cell.cooldown, error, now, clock, explained=explained)
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
