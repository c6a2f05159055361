"""What `hr key` asks for: router keys made, listed and taken back, in force at once.

Owns nothing but the way from the store of router keys into the generation in force. A key is shown once, in the answer
to its making.
"""

import asyncio
from collections.abc import Awaitable, Callable

from hermes_router.control import setup_types as of_setup
from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.core.ids import Secret
from hermes_router.core.router_keys import RouterKey, id_of
from hermes_router.daemon.desks.config import find_provider
from hermes_router.daemon.generations import Generations
from hermes_router.engine.admission import keys_in_force
from hermes_router.store.router_keys import RouterKeyStore

__all__ = ["KeyDesk"]


class KeyDesk:
    """The router keys of one daemon.

    `in_flight` counts the exchanges of a key, by its id; `spent` is its money of today, in micro-US-dollars; `forget`
    drops what a removed key was bound to, and says it.
    """

    def __init__(
        self,
        generations: Generations,
        store: RouterKeyStore,
        in_flight: Callable[[str], int],
        spent: Callable[[str], int],
        forget: Callable[[str], Awaitable[list[str]]],
    ) -> None:
        self._generations = generations
        self._store = store
        self._in_flight = in_flight
        self._spent = spent
        self._forget = forget

    async def keys(self) -> t.Keys:
        """All that are good now."""
        loaded = self._generations.loaded
        return t.Keys(rows=[self._row(key) for key in keys_in_force(loaded.settings, self._store.keys)])

    async def add(self, asked: t.AddKey) -> t.AddedKey:
        """Make one. Raises ControlError (2) for a name or limit that cannot be."""
        catalog = self._generations.loaded.catalog
        providers = None if asked.providers is None else [find_provider(catalog, one).name for one in asked.providers]
        async with self._generations.lock:
            made, text = await asyncio.to_thread(
                self._store.add,
                asked.name,
                providers=providers,
                rpm=asked.rpm,
                concurrency=asked.concurrency,
                patience_s=asked.patience_s,
                min_tier=asked.min_tier,
                budget_microusd=asked.budget_microusd,
            )
            self._generations.put(self._generations.loaded)
        said = []
        if self._generations.loaded.settings.default_key:
            said.append(
                "The default key, which everybody knows, goes on working on this machine: "
                "`hr config set PROXY_API_KEYS ''` ends that, once your programs show a key of their own."
            )
        return t.AddedKey(row=self._row(made), key=text, said=said)

    async def adopt(self, asked: of_setup.AdoptKey) -> of_setup.AdoptedKey:
        """Take in one that callers have already. Raises ControlError (2) for a name, scope or limit that cannot be."""
        catalog = self._generations.loaded.catalog
        providers = None if asked.providers is None else [find_provider(catalog, one).name for one in asked.providers]
        made = RouterKey(
            id_of(asked.digest),
            asked.name,
            asked.digest,
            asked.tail,
            providers=None if providers is None else frozenset(providers),
            rpm=asked.rpm,
            budget_microusd=asked.budget_microusd,
        )
        async with self._generations.lock:
            ((key, is_new),) = await asyncio.to_thread(self._store.bring_in, [made])
            self._generations.put(self._generations.loaded)
        return of_setup.AdoptedKey(row=self._row(key), outcome="stored" if is_new else "known")

    async def remove(self, which: str) -> t.Done:
        """Take one back. Raises ControlError: unknown or several (2), not ours to take, or the last one (3)."""
        loaded = self._generations.loaded
        fixed = next(
            (k for k in keys_in_force(loaded.settings, ()) if which in {k.id, k.name, k.tail}),
            None,
        )
        if fixed is not None and not any(which in {k.id, k.name, k.tail} for k in self._store.keys):
            if loaded.settings.sources.get("PROXY_API_KEYS", "default") == "default":
                raise ControlError(
                    "this is the default key, which is good while PROXY_API_KEYS is unset",
                    code="shadowed",
                    next_step="`hr key add NAME` makes one of your own; then `hr config set PROXY_API_KEYS ''` ends it",
                    exit_code=3,
                )
            raise ControlError(
                f"this key stands in PROXY_API_KEYS ({fixed.source})",
                code="shadowed",
                next_step="take it out there; `hr config set PROXY_API_KEYS -` does where a file holds it",
                exit_code=3,
            )
        async with self._generations.lock:
            keep_one = not self._generations.loaded.settings.proxy_api_keys
            gone = await asyncio.to_thread(self._store.remove, which, keep_one=keep_one)
            self._generations.put(self._generations.loaded)
        left = self._in_flight(gone.id)
        said = [f"The key {gone.name!r} is good no longer."]
        if left:
            said.append(f"{left} of its requests are under way and run to their end.")
        said += await self._forget(gone.id)
        return t.Done(said=said)

    def _row(self, key: RouterKey) -> t.KeyRow:
        return t.KeyRow(
            id=key.id,
            name=key.name,
            tail=key.tail or Secret("").tail,
            source=key.source,
            providers=None if key.providers is None else sorted(key.providers),
            rpm=key.rpm,
            concurrency=key.concurrency,
            patience_s=key.patience_s,
            min_tier=key.min_tier,
            created_at=key.created_at or None,
            in_flight=self._in_flight(key.id),
            budget_microusd=key.budget_microusd,
            spent_microusd=self._spent(key.id),
        )
