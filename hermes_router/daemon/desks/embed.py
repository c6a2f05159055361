"""What `hr embed` asks for: which model makes the vectors of which router key, and the end of such a binding.

Owns nothing but the names of the keys beside their bindings, and what is said of an end. Vectors of two models do not
compare, so that nothing ends a binding but its owner.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.core.records import EmbedBinding
from hermes_router.core.router_keys import RouterKey
from hermes_router.engine.embed_bindings import EmbedBindings, Unwritten

__all__ = ["EmbedDesk"]


class EmbedDesk:
    """The bindings of one daemon. `keys` are the router keys that are good now."""

    def __init__(self, bindings: EmbedBindings, keys: Callable[[], Iterable[RouterKey]]) -> None:
        self._bindings = bindings
        self._keys = keys

    def show(self) -> t.EmbedBindings:
        """All of them, those of keys that are good no longer included."""
        known = {str(key.id): key for key in self._keys()}
        return t.EmbedBindings(rows=[_row(one, known.get(str(one.key_id))) for one in self._bindings.bindings()])

    async def unbind(self, key_id: str, profile: str | None) -> t.Done:
        """End those of a router key. Raises ControlError: there is none (2), the disk does not take it (1)."""
        rows = [row for row in self.show().rows if row.key_id == key_id and profile in {None, row.profile}]
        if not rows:
            of = "" if profile is None else f" for the profile {profile!r}"
            raise ControlError(
                f"no router key with the id {key_id[:40]!r} is bound{of}",
                code="unbound",
                next_step="`hr embed show` lists what is bound",
                exit_code=2,
            )
        try:
            ended = await self._bindings.unbind(rows[0].key_id, profile)
        except Unwritten:
            raise ControlError(
                "the state file cannot be written, so everything is bound as before",
                code="unwritten",
                next_step="`hr status` says why; mend that, then try again",
            ) from None
        called = _called(rows[0])
        said = [f"{called} is no longer bound to {one.provider}/{one.model} ({one.profile})." for one in ended]
        said.append(
            "The next request for embeddings binds it anew, perhaps to another model: embed the whole store again, "
            "since vectors made before and after do not compare."
        )
        return t.Done(said=said)

    async def forget(self, key_id: str) -> list[str]:
        """What a router key that is gone was bound to is forgotten; what to say of it."""
        rows = [row for row in self.show().rows if row.key_id == key_id]
        if not rows:
            return []
        with suppress(Unwritten):  # nobody can use it any more, written or not
            await self._bindings.unbind(rows[0].key_id)
        models = " and ".join(f"{row.provider}/{row.model}" for row in rows)
        return [f"Its vectors came from {models}: another key goes on with the same store by that model's name."]


def _called(row: t.EmbedBindingRow) -> str:
    return f"The router key {row.name!r}" if row.name else f"A router key that is gone ({row.key_id})"


def _row(binding: EmbedBinding, key: RouterKey | None) -> t.EmbedBindingRow:
    return t.EmbedBindingRow(
        key_id=str(binding.key_id),
        profile=binding.profile,
        provider=binding.provider,
        model=binding.model,
        dimensions=binding.dimensions,
        bound_at=binding.bound_at,
        name=key.name if key is not None else "",
        tail=key.tail if key is not None else "",
    )
