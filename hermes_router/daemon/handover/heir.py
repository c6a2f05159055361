"""The successor's side of a handover: what it was given, and the predecessor that still serves its last streams.

Owns the order on this side: take the descriptors, say `ready` or why not, wait for the state, say `serving`, then keep
the records that the predecessor sends. Where the predecessor dies on the way, this daemon serves without its state. It
must never know how the state is made up.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from hermes_router import __version__
from hermes_router.core.records import ExchangeRecord
from hermes_router.daemon.handover.link import Link, Message, numbers, post_blocking, receive_blocking

__all__ = ["Forebear", "Inheritance", "inherit"]

_GIVEN_S: Final = 10.0  # the predecessor writes it as soon as we are started


@dataclass(slots=True)
class Inheritance:
    """What a predecessor handed over: its lock, its sockets, its secrets, and the pair on which it waits."""

    pair: socket.socket
    lock: int | None
    control: socket.socket | None
    public: list[socket.socket]
    run: str
    version: str
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    managers: list[socket.socket] = field(default_factory=list)

    def take_secrets(self) -> dict[str, str]:
        """Those that were handed over, by credential; they are kept here no longer."""
        taken, self.secrets = self.secrets, {}
        return taken

    def refuse(self, sentences: Sequence[str], code: int) -> None:
        """Tell the predecessor why there will be no successor; it serves on."""
        post_blocking(self.pair, "failed", said=list(sentences), code=code)


def inherit(number: int) -> Inheritance | None:
    """Take what was handed over; None where nothing was, and this process has nothing to do."""
    pair = _adopted(number)
    if pair is None:
        return None
    given = receive_blocking(pair, timeout_s=_GIVEN_S)
    if given is None or given.get("is") != "inherit":
        pair.close()
        return None
    lock, control = numbers([given.get("lock")]), numbers([given.get("control")])
    held: dict[int, socket.socket | None] = {}
    for each in (*numbers(given.get("public")), *numbers(given.get("managers"))):
        if each not in held:  # a manager's may be the public one: it is one socket then, closed once
            held[each] = _adopted(each)
    public, managers = (
        [sock for n in numbers(given.get(name)) if (sock := held[n])] for name in ("public", "managers")
    )
    if lock:
        os.set_inheritable(lock[0], False)
    return Inheritance(
        pair,
        lock[0] if lock else None,
        _adopted(control[0]) if control else None,
        public,
        str(given.get("run", "")),
        str(given.get("version", "")),
        _texts(given.get("secrets")),
        managers,
    )


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)}


def _adopted(number: int) -> socket.socket | None:
    try:
        os.set_inheritable(number, False)
        return socket.socket(fileno=number)
    except OSError:
        return None


class Forebear:
    """The predecessor, seen from its successor, in the loop."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def state(self, *, kept_public: bool) -> Message:
        """Say that all is ready, and wait for what the predecessor knows; empty where it died meanwhile."""
        self._link.post("ready", version=__version__, pid=os.getpid(), kept_public=kept_public)
        return await self._link.expect("state") or {}

    def serving(self) -> None:
        """Callers are accepted here now."""
        self._link.post("serving")

    async def follow(
        self, keep: Callable[[ExchangeRecord], None], settle: Callable[[Any], None], hear: Callable[[Any], None]
    ) -> None:
        """Take its records, settlements and log until it has none left and is gone."""
        while (message := await self._link.expect("record", "settled", "event")) is not None:
            if message["is"] == "settled":
                settle(message.get("told"))
            elif message["is"] == "event":
                hear(message.get("event"))
            elif (record := _record(message.get("record"))) is not None:
                keep(record)
        self._link.close()

    def stop(self, drain_s: float) -> None:
        """What it still serves may take so long, no longer."""
        self._link.post("stop", drain_s=drain_s)


def _record(value: Any) -> ExchangeRecord | None:
    try:
        return msgspec.convert(value, ExchangeRecord)
    except msgspec.ValidationError:
        return None  # of a version whose records we cannot read
