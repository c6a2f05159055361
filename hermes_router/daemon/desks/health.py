"""What `hr doctor` asks a running daemon: what it knows of itself beside its status.

Owns nothing but the way there. It only reads; what blocks happens in a thread.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from hermes_router.control import health_types as h
from hermes_router.control import types as t
from hermes_router.daemon.desks.health_report import health_report, process, shadowed_in
from hermes_router.daemon.generations import Generations
from hermes_router.engine.context import Engine
from hermes_router.store.vault import CredentialStore

__all__ = ["HealthDesk"]

_KEYRING_S: Final = 4.0


class HealthDesk:
    """The health of one daemon, as it sees it.

    `router_keys`: how many are stored; `gone` are models that a provider's list has no longer.
    """

    def __init__(
        self,
        engine: Engine,
        generations: Generations,
        *,
        ping: Callable[[], t.Ping],
        router_keys: Callable[[], int],
        gone: Callable[[], Mapping[str, Iterable[str]]] = dict,
    ) -> None:
        self._engine = engine
        self._generations = generations
        self._ping = ping
        self._router_keys = router_keys
        self._gone = gone

    async def report(self) -> h.HealthReport:
        """All of it, now. A keyring that hangs costs four seconds."""
        generations = self._generations
        loaded, places, store = generations.loaded, generations.places, generations.store
        fresh = await generations.read()
        shadowed, own, keyring = await asyncio.gather(
            asyncio.to_thread(shadowed_in, fresh, places),
            asyncio.to_thread(process),
            _keyring(store),
        )
        return health_report(
            loaded,
            self._engine.snapshot.roster.facts,
            places,
            at=self._engine.clock.now(),
            shadowed=shadowed,
            stored=stored_rows(store),
            router_keys=self._router_keys(),
            store=store.store,
            keyring=keyring,
            log_file=self._ping().log,
            gone=self._gone(),
            own=own,
            fresh=fresh,
        )


def stored_rows(store: CredentialStore) -> list[h.StoredRow]:
    """The stored keys, each with the reason where its secret cannot be had."""
    return [
        h.StoredRow(
            provider=entry.provider,
            tail=entry.tail,
            store=entry.store or "command",
            reason=store.unavailable.get(entry.id, ""),
        )
        for entry in store.entries
    ]


async def _keyring(store: CredentialStore) -> tuple[str, str]:
    """What is wrong with the keyring, and the cure; empty where it answers or is not used."""
    if store.store != "keyring" and all(entry.store != "keyring" for entry in store.entries):
        return "", ""
    fault = await store.ask_keyring(_KEYRING_S)
    return ("", "") if fault is None else (fault.message, fault.next_step)
