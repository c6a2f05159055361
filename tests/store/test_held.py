"""What is in memory: handed from a daemon to its successor, and corrected by the places themselves."""

import sys
from pathlib import Path

import pytest

from hermes_router.core.ids import Secret
from hermes_router.store import held
from hermes_router.store.keyring_store import KeyringFault

from .rings import KeyringLocked, Log, Ring, entry, secret, store_in, texts

PRINTS = (sys.executable, "-c", f"print({secret(3).reveal()!r})")
COMMAND = entry(3, kind="command", argv=PRINTS)


async def _filled(data: Path, ring: Ring) -> None:
    """A file key, a keyring key, and a command, in one installation."""
    await store_in(data, choice="file").put(entry(1), secret(1))
    store = store_in(data, ring, choice="keyring")
    await store.put(entry(2), secret(2))
    await store.put(COMMAND, None)


async def test_handed_secrets_serve_while_the_keyring_is_locked(tmp_path: Path) -> None:
    """What cannot be read is served by the predecessor's word, and is asked for until the keyring opens."""
    ring, log = Ring(), Log()
    await _filled(tmp_path, ring)
    old = store_in(tmp_path, ring)
    await old.read_keyring()
    ring.fails = KeyringLocked()
    new = store_in(tmp_path, ring, log=log)
    new.adopt(old.export())
    everything = {entry(n).id: secret(n).reveal() for n in (1, 2, 3)}
    assert texts(new) == everything
    assert (dict(new.unavailable), new.unsettled) == ({}, True)
    assert not await new.read_keyring()
    assert texts(new) == everything
    [(name, said)] = log.events
    assert (name, said["keys"], said["from_predecessor"]) == ("keyring.unread", 0, 1)
    assert new.export() == old.export()  # a third daemon would get them, too
    assert new.unsettled
    ring.fails = None
    assert not await new.read_keyring()  # the same secrets: nothing to swap for
    assert not new.unsettled


async def test_what_the_keyring_says_later_wins(tmp_path: Path) -> None:
    """A key that was replaced or taken away in the keyring meanwhile is that, whatever was handed over."""
    ring = Ring()
    store = store_in(tmp_path, ring, choice="keyring")
    await store.put(entry(1), secret(1))
    await store.put(entry(2), secret(2))
    handed = store.export()
    place, gone = (next(key for key in ring.held if entry(n).id in key[1]) for n in (1, 2))
    ring.held[place] = "gsk_another_0123456789"
    del ring.held[gone]
    new = store_in(tmp_path, ring)
    new.adopt(handed)
    assert await new.read_keyring()
    assert texts(new) == {entry(1).id: "gsk_another_0123456789", entry(2).id: None}
    assert "does not hold it any longer" in new.unavailable[entry(2).id]


async def test_only_what_a_successor_cannot_read_for_itself_is_handed(tmp_path: Path) -> None:
    """Not what the file holds, and nothing that is in no index (any longer)."""
    ring = Ring()
    await _filled(tmp_path, ring)
    old = store_in(tmp_path, ring)
    await old.read_keyring()
    handed = old.export()
    assert set(handed) == {entry(2).id, entry(3).id}
    await old.remove([entry(2).id])
    new = store_in(tmp_path)
    new.adopt({**handed, entry(1).id: "gsk_not_from_the_file", "feedfeedfeedfeed": "gsk_unknown", entry(3).id: ""})
    assert texts(new) == {entry(1).id: secret(1).reveal(), entry(3).id: None}


async def test_what_is_handed_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes beyond is left to the keyring."""
    ring = Ring()
    store = store_in(tmp_path, ring, choice="keyring")
    for number in range(1, 5):
        await store.put(entry(number), secret(number))
    size = len(entry().id) + len(secret().reveal())
    monkeypatch.setattr(held, "HANDED_BYTES", 2 * size)
    assert list(store.export()) == [entry(1).id, entry(2).id]


async def test_one_removed_while_it_is_only_handed_stays_removed(tmp_path: Path) -> None:
    """Removal forgets it at once, keyring or not."""
    ring = Ring()
    store = store_in(tmp_path, ring, choice="keyring")
    await store.put(entry(1), secret(1))
    new = store_in(tmp_path, ring)
    new.adopt(store.export())
    ring.fails = KeyringLocked()
    await new.remove([entry(1).id])
    assert (new.secret(entry(1).id), new.export()) == (None, {})
    assert new.unsettled  # it is still to be deleted from the keyring
    ring.fails = None
    await new.read_keyring()
    assert (ring.held, new.unsettled) == ({}, False)


async def test_a_move_needs_the_keyring_only_for_what_is_missing(tmp_path: Path) -> None:
    """`read_some` asks for what is not here, and says why where it cannot."""
    ring = Ring()
    one, two = entry(1, store="keyring"), entry(2, store="keyring")
    memory = held.Held(lambda: (one, two), None, Log())
    memory.remember(one.id, Secret("gsk_here"))
    await memory.read_some([one])
    with pytest.raises(KeyringFault, match="no keyring"):
        await memory.read_some([one, two])
    assert ring.calls == []
