"""hermes_router/daemon/desks/embed.py: bindings with the names of their keys, and their end."""

from collections.abc import Sequence

import pytest

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import EmbedBinding
from hermes_router.core.router_keys import RouterKey
from hermes_router.daemon.desks.embed import EmbedDesk
from hermes_router.engine.embed_bindings import EmbedBindings

KEY = RouterKey(RouterKeyId("k1"), "agent", "digest", "9abc")
ROWS = [
    EmbedBinding(RouterKeyId("k1"), "main", "mistral", "mistral-embed", 1_024, 5.0),
    EmbedBinding(RouterKeyId("k1"), "local", "local", "nomic-embed-text", 768, 6.0),
    EmbedBinding(RouterKeyId("k2"), "main", "gemini", "gemini-embedding-001", 3_072, 7.0),
]


class FullDisk:
    """A store that takes nothing."""

    async def keep(self, binding: EmbedBinding) -> bool:
        return False

    async def drop(self, gone: Sequence[EmbedBinding]) -> bool:
        return False


def desk(bindings: EmbedBindings | None = None) -> tuple[EmbedDesk, EmbedBindings]:
    bindings = bindings or EmbedBindings()
    bindings.restore(ROWS)
    return EmbedDesk(bindings, lambda: [KEY]), bindings


async def test_each_binding_has_the_name_of_its_key() -> None:
    """As `hr key list` shows it; that of a key which is gone has none."""
    rows = {(row.key_id, row.profile): row for row in desk()[0].show().rows}
    assert len(rows) == 3
    row = rows["k1", "main"]
    assert (row.name, row.tail, row.provider, row.model) == ("agent", "9abc", "mistral", "mistral-embed")
    assert (row.dimensions, row.bound_at) == (1_024, 5.0)
    assert (rows["k2", "main"].name, rows["k2", "main"].tail) == ("", "")


async def test_an_end_says_what_it_means() -> None:
    """Both profiles of a key, or the one that is named; and that the store has to be embedded again."""
    here, bindings = desk()
    done = await here.unbind("k1", "local")
    assert "'agent' is no longer bound to local/nomic-embed-text (local)" in done.said[0]
    assert "do not compare" in done.said[-1]
    assert [one.profile for one in bindings.bindings() if one.key_id == "k1"] == ["main"]
    here, bindings = desk()
    assert len((await here.unbind("k1", None)).said) == 3
    assert [one.key_id for one in bindings.bindings()] == ["k2"]
    assert "k2" in (await here.unbind("k2", None)).said[0]


@pytest.mark.parametrize(("key", "profile"), [("k3", None), ("k2", "local")])
async def test_what_is_not_bound_cannot_end(key: str, profile: str | None) -> None:
    """Exit 2, and where to look."""
    with pytest.raises(ControlError, match="is bound") as caught:
        await desk()[0].unbind(key, profile)
    assert (caught.value.exit_code, "hr embed show" in caught.value.next_step) == (2, True)


async def test_a_full_disk_leaves_everything_bound() -> None:
    """It would be bound again after a restart, so it is not told as done."""
    here, bindings = desk(EmbedBindings(FullDisk()))
    with pytest.raises(ControlError, match="bound as before") as caught:
        await here.unbind("k1", None)
    assert caught.value.exit_code == 1
    assert len(bindings.bindings()) == 3


async def test_a_removed_router_key_takes_its_bindings_along(office) -> None:
    """What it was bound to is told, so that another key can go on with the same store; a full disk holds up nothing."""
    here = await office("groq", GROQ_API_KEY="k-groq-0123456789")
    added = await here.backend.add_key(t.AddKey(name="ci"))
    bound = here.daemon.engine.embed_bindings
    await bound.bind(ROWS[0]._replace(key_id=RouterKeyId(added.row.id)))
    await bound.bind(ROWS[2])
    assert {row.name for row in (await here.backend.embed_bindings()).rows} == {"ci", ""}
    said = (await here.backend.remove_key("ci")).said
    assert "mistral/mistral-embed" in said[-1]
    assert [one.key_id for one in bound.bindings()] == ["k2"]
    assert await desk(EmbedBindings(FullDisk()))[0].forget("k1")
    assert await desk()[0].forget("nobody") == []
