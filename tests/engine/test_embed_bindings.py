"""What router keys are bound to: in memory, on the disk first, and one first use at a time."""

import asyncio
from collections.abc import Sequence

import pytest

from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import EmbedBinding
from hermes_router.engine.embed_bindings import EmbedBindings, Unwritten

from ..fakes import SilentLog, turns
from .vectors import Store


def binding(key: str = "k", profile: str = "main", provider: str = "a") -> EmbedBinding:
    return EmbedBinding(RouterKeyId(key), profile, provider, "vec", 3, 5.0)


async def test_bound_is_found_by_key_and_profile() -> None:
    """And by nothing else; all of them are listed in order."""
    bindings = EmbedBindings()
    for one in (binding("k2"), binding("k"), binding("k", "local", "local")):
        await bindings.bind(one)
    assert bindings.get("k", "main") == binding("k")
    assert bindings.get("k", "local") == binding("k", "local", "local")
    assert bindings.get("k3", "main") is None
    assert bindings.bindings() == [binding("k", "local", "local"), binding("k"), binding("k2")]


async def test_what_was_written_down_is_taken_over() -> None:
    """In place of what was known."""
    bindings = EmbedBindings()
    await bindings.bind(binding("old"))
    bindings.restore([binding("k")])
    assert bindings.bindings() == [binding("k")]


async def test_unbinding_ends_one_profile_or_all() -> None:
    """And says which there were."""
    bindings = EmbedBindings(Store(), log := SilentLog())
    for one in (binding("k"), binding("k", "local"), binding("k2")):
        await bindings.bind(one)
    assert await bindings.unbind("k", "local") == [binding("k", "local")]
    assert await bindings.unbind("k", "local") == []
    assert await bindings.unbind("k") == [binding("k")]
    assert bindings.bindings() == [binding("k2")]
    assert log.fields("embed.unbound") == {"router_key": "k", "profiles": "main"}


async def test_what_is_learned_while_the_disk_forgets_ends_too() -> None:
    """An answer under way may bind the same key anew, with the length that it has just learned."""

    class Slow(Store):
        async def drop(self, gone: Sequence[EmbedBinding]) -> bool:
            if gone[0].dimensions != 9:
                await bindings.bind(gone[0]._replace(dimensions=9))
            return await super().drop(gone)

    bindings = EmbedBindings(Slow())
    await bindings.bind(binding("k"))
    assert [one.dimensions for one in await bindings.unbind("k")] == [9]
    assert bindings.bindings() == []


async def test_a_disk_that_does_not_forget_ends_nothing() -> None:
    """Else it would come back with the next start."""
    store = Store()
    bindings = EmbedBindings(store)
    await bindings.bind(binding())
    store.works = False
    with pytest.raises(Unwritten):
        await bindings.unbind("k")
    assert bindings.bindings() == [binding()]


async def test_one_first_use_at_a_time_of_each_key() -> None:
    """Another key does not wait; who waits too long hears of it; nothing stays behind."""
    bindings = EmbedBindings()
    seen: list[str] = []
    go_on = asyncio.Event()

    async def use(key: str, name: str) -> None:
        async with bindings.first_use(key, "main", 5.0):
            seen.append(name)
            await go_on.wait()

    tasks = [asyncio.ensure_future(use(key, name)) for key, name in (("k", "first"), ("k", "second"), ("k2", "other"))]
    await turns()
    assert seen == ["first", "other"]
    with pytest.raises(TimeoutError):
        async with bindings.first_use("k", "main", 0.0):
            pass
    go_on.set()
    await asyncio.gather(*tasks)
    assert seen == ["first", "other", "second"]
    assert bindings._locks == {}
