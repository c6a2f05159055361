"""What a daemon holds alone and gives up to its successor: tasks, the control door, the store's writer, the state.

Owns that each of these is given up once and can be taken back, and where records go between: they are held until it is
known who keeps them. It must never know why a daemon hands over.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from hermes_router.control.events import EventRing
from hermes_router.core.records import ExchangeRecord
from hermes_router.daemon.doors import Door
from hermes_router.daemon.handover.link import Link, Message
from hermes_router.daemon.wiring import Daemon
from hermes_router.store.usage import encode_record

__all__ = ["Household", "Outpost", "load_state"]

_FLUSH_S: Final = 5.0


class Outpost:
    """A Recorder for a daemon whose store is another's: it holds records, then sends them."""

    def __init__(self) -> None:
        self._held: list[ExchangeRecord] = []
        self._link: Link | None = None

    def put(self, record: ExchangeRecord) -> None:
        """Send it, or hold it while nobody is known to take it."""
        if self._link is None:
            self._held.append(record)
        else:
            self._link.post("record", record=msgspec.Raw(encode_record(record)))

    def open(self, link: Link) -> None:
        """From now on they go there."""
        self._link = link
        for record in self.withdrawn():
            self.put(record)

    def withdrawn(self) -> list[ExchangeRecord]:
        """What was held; nothing is held any more."""
        held, self._held = self._held, []
        return held


class Household:
    """The Estate of a running daemon. `serve_control` opens the control door again."""

    def __init__(
        self,
        daemon: Daemon,
        public: Door,
        control: Door | None,
        *,
        open_doors: Callable[[], Any],
        ring: EventRing | None = None,
    ) -> None:
        self._daemon = daemon
        self._ring = ring
        self._events: dict[str, Any] = {}
        self._public = public
        self._control = control
        self._open_doors = open_doors
        self.outpost = Outpost()

    async def give_up(self) -> None:
        """Tasks first: one that is about to write must not meet the successor's."""
        daemon = self._daemon
        if daemon.accounts is not None:
            await daemon.accounts.rest()  # exactly one process spends refresh tokens
        await daemon.supervisor.stop()
        if self._control is not None:
            self._control.shut()
        if self._ring is not None:  # before the doors are shut: it takes some milliseconds
            self._events = self._ring.rest()
        daemon.recent.behind = self.outpost
        daemon.engine.embed_bindings.resting = True
        if daemon.ledger is not None:
            daemon.ledger.flush()
        if daemon.responses is not None:  # its file stays open: what our last streams bring, the successor finds there
            await daemon.responses.flush(_FLUSH_S)
        if daemon.usage is not None and not await asyncio.to_thread(daemon.usage.close, _FLUSH_S):
            for record in daemon.usage.withdraw():  # the disk does not take them: perhaps later, from the successor
                self.outpost.put(record)

    def leave(self, link: Link, *, shut: bool) -> None:
        """One step, so that no request is planned between the dump and the shut door."""
        engine = self._daemon.engine
        now = engine.clock.now()
        if shut:
            self._public.shut()
        link.post(
            "state",
            routing=engine.state.dump(now),
            limits=engine.limits.dump(now),
            alerts=engine.alerts.dump(),
            past=engine.past.dump(),
            events=self._events,
        )
        if self._ring is not None:
            self._ring.hand_on(lambda event: link.post("event", event=msgspec.Raw(event)))
        engine.state.report_settlements(lambda told: _tell(link, told))
        engine.limits.report_money(lambda told: _tell(link, told))

    async def take_back(self) -> None:
        """Everything again, and what was held into our own store."""
        daemon = self._daemon
        daemon.engine.state.report_settlements(None)
        daemon.engine.limits.report_money(None)
        if self._ring is not None:
            self._ring.go_on()
        if daemon.usage is not None:
            daemon.usage.start()
        daemon.recent.behind = daemon.usage
        await daemon.load_bindings()  # the successor may have let callers in before it failed
        daemon.engine.embed_bindings.resting = False
        for record in self.outpost.withdrawn():
            if daemon.usage is not None:
                daemon.usage.put(record)
        daemon.start_tasks()
        await self._open_doors()


def _tell(link: Link, told: Any) -> None:
    link.post("settled", told=told)


def load_state(daemon: Daemon, state: Message) -> bool:
    """Put what a predecessor knew into force; whether it told. Never raises: what makes no sense is left out."""
    engine = daemon.engine
    now = engine.clock.now()
    routing, limits = state.get("routing"), state.get("limits")
    engine.alerts.load(state.get("alerts"))
    engine.past.load(state.get("past"))
    if isinstance(limits, dict):
        engine.limits.load(limits, now)
    if not isinstance(routing, dict):
        return False
    engine.state.load(routing, engine.snapshot.roster, now, beside=True)
    if daemon.ledger is not None:
        daemon.ledger.inherited()
    return True
