"""Which provider and model a router key's vectors come from: bound by the first use, and nothing else from then on.

Owns the bindings in memory and the single flight of a first use. Vectors of two models do not compare, so a binding is
on the disk before the first vector leaves, and only its owner ends it. It must never know how a vector is got.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from hermes_router.core.ports import BindingStore, Log
from hermes_router.core.records import EmbedBinding

__all__ = ["EmbedBindings", "Unwritten"]

_Place = tuple[str, str]  # a router key and a profile: `main` or `local`


class Unwritten(Exception):
    """The disk does not take the change, so nothing was changed."""


class _InMemory:
    """A BindingStore that forgets with the process."""

    async def keep(self, binding: EmbedBinding) -> bool:  # noqa: ARG002 - nothing is written
        return True

    async def drop(self, gone: Sequence[EmbedBinding]) -> bool:  # noqa: ARG002 - nothing is written
        return True


_FORGETFUL: Final = _InMemory()


class EmbedBindings:
    """The bindings of one daemon, one for each router key and profile.

    `resting` = a successor has the state file: what is bound here now, it would not know of.
    """

    def __init__(self, store: BindingStore = _FORGETFUL, log: Log | None = None) -> None:
        self._store = store
        self._log = log
        self._bound: dict[_Place, EmbedBinding] = {}
        self._locks: dict[_Place, tuple[asyncio.Lock, list[None]]] = {}
        self.resting = False

    def restore(self, rows: Iterable[EmbedBinding]) -> None:
        """Take over what an earlier life wrote down, in place of all that is known."""
        self._bound = {(row.key_id, row.profile): row for row in rows}

    def get(self, key_id: str, profile: str) -> EmbedBinding | None:
        """What this router key is bound to, None where it has not been used yet."""
        return self._bound.get((key_id, profile))

    def bindings(self) -> list[EmbedBinding]:
        """All of them, by router key and profile."""
        return [self._bound[place] for place in sorted(self._bound)]

    @asynccontextmanager
    async def first_use(self, key_id: str, profile: str, wait_s: float) -> AsyncIterator[None]:
        """One at a time for each key and profile: whoever waited looks again for a binding.

        Raises TimeoutError after `wait_s` seconds.
        """
        place = (key_id, profile)
        lock, users = self._locks.setdefault(place, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with asyncio.timeout(wait_s):
                await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            users.pop()
            if not users:
                self._locks.pop(place, None)

    async def bind(self, binding: EmbedBinding) -> None:
        """Bind; returns when it is on the disk. A disk that does not take it is said in the log, and tried again."""
        place = (binding.key_id, binding.profile)
        self._bound[place] = binding
        kept = await self._store.keep(binding)
        if self._log is not None:
            told = self._log.info if kept else self._log.warning
            told(
                "embed.bound" if kept else "embed.bound_in_memory",
                router_key=binding.key_id,
                profile=binding.profile,
                target=f"{binding.provider}/{binding.model}",
                dimensions=binding.dimensions,
            )

    async def unbind(self, key_id: str, profile: str | None = None) -> list[EmbedBinding]:
        """End the bindings of a router key, of one `profile` or of all; those that there were, by profile.

        Returns when the disk has forgotten them. Raises Unwritten where it does not.
        """
        ended: dict[str, EmbedBinding] = {}
        # An answer that was under way may have learned the binding's length meanwhile: that one ends, too.
        while gone := [one for one in self.bindings() if one.key_id == key_id and profile in (None, one.profile)]:
            if not await self._store.drop(gone):
                raise Unwritten
            for one in gone:
                ended[one.profile] = one
                if self._bound.get((one.key_id, one.profile)) is one:
                    del self._bound[one.key_id, one.profile]
        if ended and self._log is not None:
            self._log.info("embed.unbound", router_key=key_id, profiles=" ".join(sorted(ended)))
        return [ended[place] for place in sorted(ended)]
