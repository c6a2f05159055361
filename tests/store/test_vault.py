"""The store of credentials: one decision, no second place, nothing lost, memory serves on."""

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from hermes_router.core.errors import VaultError
from hermes_router.core.ids import AccountId, CredentialId, ProviderName
from hermes_router.store import vault as module
from hermes_router.store.index import parse, username
from hermes_router.store.keyring_store import KeyringFault
from hermes_router.store.vault import account_of, credential_of

from .rings import (
    KeyringLocked,
    Log,
    NoKeyringError,
    Ring,
    entry,
    names_in,
    returned,
    secret,
    store_in,
    texts,
    thread_of,
)

SERVICE = "hermes-router-test"
NAME = username(entry(1))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that does not exist yet."""
    return tmp_path / "data"


def _on_disk(data: Path) -> dict[str, str]:
    """Every entry in the index, with its place."""
    index, whole = parse((data / "credentials.json").read_bytes())
    assert whole
    return {one.id: one.store for one in index.entries}


def _everything(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in data.iterdir())


def _modes(data: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (data, *data.iterdir())}


def _times(data: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in data.iterdir()}


# --- the decision -----------------------------------------------------------------------------------


async def test_a_keyring_that_keeps_is_chosen_once_and_remembered(data: Path) -> None:
    """Probed at the first write, with reason and date in the index; no secret is in any file."""
    ring, log = Ring(), Log()
    store = store_in(data, ring, log=log)
    assert (store.store, store.entries) == ("", ())
    assert await store.put(entry(1), secret(1)) == "keyring"
    assert await store.put(entry(2), secret(2)) == "keyring"
    assert sum(call == "set probe" for call in ring.calls) == 1
    assert ring.held == {(SERVICE, username(entry(n))): secret(n).reveal() for n in (1, 2)}
    assert b"gsk_secret" not in _everything(data)
    assert names_in(data) == ["credentials.json"]
    assert ("store.decided", {"store": "keyring", "reason": "a test of it succeeded"}) in log.events
    again = store_in(data, Ring())
    assert again.store == "keyring"
    assert "since 2026-" in again.note


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [(KeyringLocked(), "locked"), (NoKeyringError(), "no keyring"), (None, "does not keep"), (ValueError(), "failed")],
)
async def test_without_a_keyring_that_keeps_it_is_the_file(data: Path, trouble: Any, reason: str) -> None:
    """Also where a backend only pretends; a keyring that works later changes nothing of that by itself."""
    ring = Ring()
    ring.fails, ring.forgets = trouble, True
    store = store_in(data, ring)
    assert await store.put(entry(1), secret(1)) == "file"
    assert reason in store.note
    assert f"{data}/secrets.json, readable by your user only" in store.note
    assert _modes(data) == {0o700, 0o600}
    later = store_in(data, Ring())
    assert await later.put(entry(2), secret(2)) == "file"
    assert texts(later) == {entry(n).id: secret(n).reveal() for n in (1, 2)}


async def test_headless_the_keyring_is_not_even_asked(data: Path) -> None:
    """Root, a system service, no session: the file, and nothing waits for a bus."""
    ring = Ring()
    store = store_in(data, ring, headless=True)
    assert await store.put(entry(1), secret(1)) == "file"
    assert ring.calls == []
    assert await store_in(data / "other").put(entry(1), secret(1)) == "file"


async def test_a_hung_keyring_is_the_file_where_nobody_can_be_typing(data: Path) -> None:
    """A server whose Secret Service never answers (facts/os.md 1.7) gets its key stored within the limit."""
    ring = Ring()
    ring.gate.clear()
    store = store_in(data, thread_of(ring))
    assert await store.put(entry(1), secret(1)) == "file"
    ring.gate.set()


async def test_a_hung_keyring_decides_nothing_where_a_person_may_be_typing(data: Path) -> None:
    """At a desktop the time-out stores nothing, decides nothing, and says what to do."""
    ring = Ring()
    ring.gate.clear()
    store = store_in(data, thread_of(ring, limit_s=0.01, unlock_s=0.02))
    with pytest.raises(VaultError, match="did not answer") as caught:
        await store.put(entry(1), secret(1))
    assert "SECRET_STORE=file" in caught.value.next_step
    assert (store.store, store.entries, names_in(data.parent)) == ("", (), [])
    ring.gate.set()


async def test_the_owners_word_goes_before_the_probe(data: Path) -> None:
    """SECRET_STORE=file asks no keyring; =keyring writes to it without a probe, even headless, and nowhere else."""
    ring = Ring()
    store = store_in(data, ring, choice="file")
    assert await store.put(entry(1), secret(1)) == "file"
    assert ring.calls == []
    store.choice = "keyring"
    assert await store.put(entry(2), secret(2)) == "keyring"
    assert "1 are still elsewhere: `hr auth migrate --to keyring`" in store.note
    headless = store_in(data / "b", ring, choice="keyring", headless=True)
    assert await headless.put(entry(3), secret(3)) == "keyring"


@pytest.mark.parametrize("trouble", [KeyringLocked(), NoKeyringError(), ZeroDivisionError()])
@pytest.mark.parametrize("remembered", [True, False])
async def test_with_the_keyring_chosen_nothing_is_ever_written_elsewhere(
    data: Path, trouble: Exception, remembered: bool
) -> None:
    """An error at run time: VaultError with what to do; no file, no entry, and what is in memory serves on."""
    ring = Ring()
    store = store_in(data, ring, choice="auto" if remembered else "keyring")
    await store.put(entry(1), secret(1))
    ring.fails = trouble
    with pytest.raises(KeyringFault) as caught:
        await store.put(entry(2), secret(2))
    assert caught.value.next_step
    assert _on_disk(data) == {entry(1).id: "keyring"}
    assert texts(store) == {entry(1).id: secret(1).reveal()}
    assert not (data / "secrets.json").exists()
    nowhere = store_in(data / "b", choice="keyring")
    with pytest.raises(VaultError, match="no keyring"):
        await nowhere.put(entry(1), secret(1))


# --- reading ----------------------------------------------------------------------------------------


async def test_a_keyring_that_is_locked_at_start_is_read_when_it_opens(data: Path) -> None:
    """Started without those keys, each unavailable with the reason, said once; the next reading has them."""
    ring = Ring()
    await store_in(data, ring).put(entry(1), secret(1))
    log = Log()
    store = store_in(data, ring, log=log)
    assert store.secret(entry(1).id) is None
    assert store.unavailable == {entry(1).id: "its secret has not been read yet"}
    ring.fails = KeyringLocked()
    assert await store.read_keyring()
    assert not await store.read_keyring()
    assert store.unavailable == {entry(1).id: "the keyring is locked"}
    assert store.unsettled
    assert log.names == ["keyring.unread"]
    ring.fails = None
    assert await store.read_keyring()
    assert texts(store) == {entry(1).id: secret(1).reveal()}
    assert (store.unavailable, store.unsettled) == ({}, False)
    assert not await store.read_keyring()


async def test_what_is_in_memory_serves_on_through_a_reload(data: Path) -> None:
    """Locked or hung meanwhile: no key is lost by reading anew; one that the keyring no longer has is."""
    ring = Ring()
    store = store_in(data, ring)
    await store.put(entry(1), secret(1))
    ring.fails = KeyringLocked()
    store.load()
    assert not await store.read_keyring(anew=True)
    assert texts(store) == {entry(1).id: secret(1).reveal()}
    ring.fails = None
    ring.held[SERVICE, NAME] = "gsk_changed_by_hand"
    assert await store.read_keyring(anew=True)
    assert texts(store) == {entry(1).id: "gsk_changed_by_hand"}
    ring.held.clear()
    assert await store.read_keyring(anew=True)
    assert "not hold it any longer" in store.unavailable[entry(1).id]


async def test_without_a_keyring_at_all_its_keys_are_unavailable(data: Path) -> None:
    """The same home, run as a service: those of the file serve, the others say why not."""
    store = store_in(data, Ring())
    await store.put(entry(1), secret(1))
    store.choice = "file"
    await store.put(entry(2), secret(2))
    service = store_in(data)
    await service.read_keyring()
    assert texts(service) == {entry(1).id: None, entry(2).id: secret(2).reveal()}
    assert service.unavailable == {entry(1).id: "there is no keyring here"}


async def test_a_key_removed_while_it_is_read_stays_removed(data: Path) -> None:
    """A late answer brings nothing back."""
    ring = Ring()
    await store_in(data, ring).put(entry(1), secret(1))
    store = store_in(data, ring)
    ring.gate.clear()
    reading = asyncio.gather(store.read_keyring(), store.remove([entry(1).id]))
    await asyncio.sleep(0.05)
    ring.gate.set()
    await reading
    assert (store.entries, store.unavailable, store.secret(entry(1).id)) == ((), {}, None)
    assert ring.held == {}


async def test_a_file_that_lost_its_secrets_leaves_the_entries_that_say_so(data: Path) -> None:
    """Unavailable with the file's name; adding the key again makes it whole."""
    await store_in(data, choice="file").put(entry(1), secret(1))
    (data / "secrets.json").write_bytes(b"{")
    store = store_in(data, choice="file")
    assert store.unavailable == {entry(1).id: f"{data}/secrets.json does not hold it"}
    assert "set aside" in " ".join(store.problems)
    assert await store.put(entry(1), secret(1)) == "file"
    assert texts(store_in(data)) == {entry(1).id: secret(1).reveal()}


# --- changing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["keyring", "file"])
async def test_adding_twice_is_once(data: Path, choice: str) -> None:
    """The second time nothing is written, but for a new account, which keeps place, order and date."""
    ring = Ring()
    store = store_in(data, ring, choice=choice)
    for number in (1, 2):
        await store.put(entry(number), secret(number))
    before = _times(data)
    calls = len(ring.calls)
    assert await store.put(entry(1, added_at=9.0), secret(1)) == choice
    assert (_times(data), len(ring.calls)) == (before, calls)
    assert await store.put(entry(1, added_at=9.0, account="mine"), secret(1)) == choice
    assert [(e.id, e.account, e.added_at) for e in store.entries] == [
        (entry(1).id, "mine", entry(1).added_at),
        (entry(2).id, None, entry(2).added_at),
    ]
    assert store_in(data, ring, choice=choice).entries == store.entries
    assert len(ring.calls) == calls
    if choice == "file":
        assert b'"mine"' in (data / "secrets.json").read_bytes()


@pytest.mark.parametrize("choice", ["keyring", "file"])
async def test_a_removed_key_is_forgotten_everywhere(data: Path, choice: str) -> None:
    """Index, secrets and keyring hold nothing of it; the others stay; unknown ids are none."""
    ring = Ring()
    store = store_in(data, ring, choice=choice)
    for number in (1, 2, 3):
        await store.put(entry(number), secret(number))
    await store.remove([entry(1).id, entry(3).id, "unknown"])
    assert list(_on_disk(data)) == [entry(2).id]
    assert texts(store) == {entry(2).id: secret(2).reveal()}
    everything = _everything(data) + repr(ring.held).encode()
    for trace in (secret(1).reveal(), secret(3).reveal(), entry(1).id, entry(3).id):
        assert trace.encode() not in everything
    await store.remove(["unknown"])


async def test_what_the_keyring_does_not_let_go_of_is_deleted_later(data: Path) -> None:
    """Removed is removed at once; the secret left behind is remembered by name, also over a restart."""
    ring = Ring()
    store = store_in(data, ring)
    await store.put(entry(1), secret(1))
    ring.fails = KeyringLocked()
    await store.remove([entry(1).id])
    assert (store.entries, store.secret(entry(1).id)) == ((), None)
    assert "1 removed keys" in " ".join(store.problems)
    assert store.unsettled
    ring.fails = None
    again = store_in(data, ring)
    await again.read_keyring()
    assert (ring.held, again.problems, again.unsettled) == ({}, [], False)


async def test_a_key_added_again_is_not_swept(data: Path) -> None:
    """A name that waits for its deletion and comes back as an entry is not deleted."""
    ring = Ring()
    store = store_in(data, ring)
    await store.put(entry(1), secret(1))
    ring.fails = KeyringLocked()
    await store.remove([entry(1).id])
    ring.fails = None
    await store.put(entry(1), secret(1))
    await store.read_keyring()
    assert texts(store_in(data, ring)) == {entry(1).id: None}
    assert ring.held == {(SERVICE, NAME): secret(1).reveal()}


async def test_a_write_that_hangs_and_succeeds_late_is_swept(data: Path) -> None:
    """The owner was told that nothing was stored: what the keyring took all the same goes away again."""
    ring = Ring()
    keyring = thread_of(ring, limit_s=0.05)
    store = store_in(data, keyring, choice="keyring")
    ring.gate.clear()
    with pytest.raises(VaultError, match="did not answer"):
        await store.put(entry(1), secret(1))
    assert store.entries == ()
    ring.gate.set()
    await returned(keyring)
    assert ring.names == {NAME}
    assert store.unsettled
    await store.read_keyring()
    assert ring.held == {}


async def test_a_locked_keyring_leaves_no_traces_of_an_attempt(data: Path) -> None:
    """What it refused it did not take: nothing is left to sweep."""
    ring = Ring()
    ring.fails = KeyringLocked()
    store = store_in(data, ring, choice="keyring")
    with pytest.raises(VaultError, match="locked"):
        await store.put(entry(1), secret(1))
    assert (store.problems, store.unsettled) == ([], False)


async def test_a_key_whose_keyring_is_shut_can_be_rescued_into_the_file(data: Path) -> None:
    """Added again under SECRET_STORE=file it serves; its old copy is deleted once the keyring opens."""
    ring = Ring()
    await store_in(data, ring).put(entry(1), secret(1))
    ring.fails = KeyringLocked()
    store = store_in(data, ring, choice="file")
    assert await store.put(entry(1), secret(1)) == "file"
    assert texts(store) == {entry(1).id: secret(1).reveal()}
    ring.fails = None
    await store.read_keyring()
    assert ring.held == {}
    assert texts(store_in(data)) == {entry(1).id: secret(1).reveal()}


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("choice", ["keyring", "file"])
@pytest.mark.parametrize("what", ["put", "remove", "account"])
async def test_a_disk_that_fails_at_any_write_changes_nothing_or_all(
    data: Path, monkeypatch: pytest.MonkeyPatch, at: int, choice: str, what: str
) -> None:
    """Full at the first, second … write: the change is done or not, in memory as after a restart, and no key is lost."""
    ring = Ring()
    store = store_in(data, ring, choice=choice)
    await store.put(entry(1), secret(1))
    before = store.entries
    real, count = os.fsync, 0

    def fsync(handle: int) -> None:
        nonlocal count
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            count += 1
            if count == at:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    done = True
    try:
        match what:
            case "put":
                await store.put(entry(2), secret(2))
            case "account":
                await store.put(entry(1, account="mine"), secret(1))
            case "remove":
                await store.remove([entry(1).id])
    except VaultError as error:
        done = False
        assert "No space left" in error.message  # noqa: PT017 - it need not be raised
        assert store.entries == before
    monkeypatch.undo()
    again = store_in(data, ring, choice=choice)
    await again.read_keyring()
    assert again.entries == store.entries
    assert texts(again) == texts(store)
    assert done == (again.entries != before)
    assert None not in texts(again).values()
    assert {name for _, name in ring.held} == {username(e) for e in again.entries if e.store == "keyring"}


async def test_changes_at_once_are_all_made(data: Path) -> None:
    """Many askers, one file: each key is there, in memory and on the disk."""
    store = store_in(data, choice="file")
    await asyncio.gather(*(store.put(entry(n), secret(n)) for n in range(20)))
    await asyncio.gather(*(store.remove([entry(n).id]) for n in range(0, 20, 2)), store.put(entry(30), secret(30)))
    expected = {entry(n).id: secret(n).reveal() for n in (*range(1, 20, 2), 30)}
    assert texts(store) == expected
    assert texts(store_in(data)) == expected


async def test_an_asker_who_leaves_does_not_tear_a_change(data: Path) -> None:
    """Cancelled at any turn: memory and disk agree afterwards, and the next change is made."""
    for turns in range(12):
        store = store_in(data / str(turns), choice="file")
        task = asyncio.ensure_future(store.put(entry(1), secret(1)))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert texts(store) == texts(store_in(data / str(turns)))
        await store.put(entry(2), secret(2))
        assert texts(store) == texts(store_in(data / str(turns)))


async def test_a_reload_in_the_middle_of_a_change_reads_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that was just written and has no entry yet is not taken for an orphan."""
    store = store_in(data, choice="file")
    await store.put(entry(1), secret(1))
    real = store._shelf.write_secrets

    def then_reload(kept: Any, **more: Any) -> None:
        real(kept, **more)
        store.load()

    monkeypatch.setattr(store._shelf, "write_secrets", then_reload)
    await store.put(entry(2), secret(2))
    assert texts(store_in(data)) == {entry(n).id: secret(n).reveal() for n in (1, 2)}


async def test_a_reload_reads_everything_anew_and_waits_its_turn(data: Path) -> None:
    """What another hand changed in the file is in force; beside changes that are made it loses none of them."""
    ring = Ring()
    store = store_in(data, ring, choice="file")
    await store.put(entry(1), secret(1))
    other = store_in(data, choice="file")
    await other.put(entry(2), secret(2))
    assert await store.reload()
    assert texts(store) == {entry(n).id: secret(n).reveal() for n in (1, 2)}
    assert not await store.reload()
    await asyncio.gather(*(store.put(entry(n), secret(n)) for n in range(3, 9)), *(store.reload() for _ in range(6)))
    assert texts(store) == {entry(n).id: secret(n).reveal() for n in range(1, 9)} == texts(store_in(data))


async def test_a_key_without_a_secret_is_refused(data: Path) -> None:
    """There is nothing to keep."""
    with pytest.raises(VaultError, match="without a secret"):
        await store_in(data).put(entry(1), None)


# --- commands ---------------------------------------------------------------------------------------


async def test_a_command_is_kept_and_its_key_is_not(data: Path, tmp_path: Path) -> None:
    """Run when it is added and at every start; the key is in memory only, and a reload takes up a new one."""
    key = tmp_path / "key"
    key.write_text("gsk_from_command_1\n")
    one = entry(1, kind="command", argv=("/bin/cat", str(key)))
    store = store_in(data)
    assert await store.put(one, None) == ""
    assert texts(store) == {one.id: "gsk_from_command_1"}
    assert b"gsk_from" not in _everything(data)
    assert store.store == ""  # nothing had to be decided
    again = store_in(data)
    assert again.unavailable
    assert await again.read_keyring()
    assert again.credential(one).source == "command"
    assert again.credential(one).tail == "nd_1"
    key.write_text("gsk_from_command_2\n")
    assert await again.read_keyring(anew=True)
    assert texts(again) == {one.id: "gsk_from_command_2"}
    key.unlink()
    assert not await again.read_keyring(anew=True)
    assert texts(again) == {one.id: "gsk_from_command_2"}
    await again.remove([one.id])
    assert store_in(data).entries == ()


async def test_a_command_that_fails_is_unavailable_and_said_once(data: Path) -> None:
    """With the reason; it is tried again by every reading."""
    one = entry(1, kind="command", argv=("/bin/false",))
    store = store_in(data)
    await store.put(one, secret(1))  # tested by whoever added it
    log = Log()
    again = store_in(data, log=log)
    await again.read_keyring()
    await again.read_keyring()
    assert again.unavailable == {one.id: "the key command /bin/false ended with status 1"}
    assert log.names == ["command.failed"]
    with pytest.raises(VaultError, match="status 1"):
        await again.put(entry(2, kind="command", argv=("/bin/false",)), None)


# --- migration --------------------------------------------------------------------------------------


async def test_migration_moves_all_and_changes_the_decision(data: Path) -> None:
    """There and back: nothing stays behind, new keys follow, the note says why."""
    ring = Ring()
    store = store_in(data, ring, headless=True)
    for number in (1, 2):
        await store.put(entry(number), secret(number))
    await store.put(entry(3, kind="command", argv=("x",)), secret(3))
    assert await store.migrate("keyring") == 2
    assert store.store == "keyring"
    assert ring.names == {username(entry(n)) for n in (1, 2)}
    assert names_in(data) == ["credentials.json"]
    assert b"gsk_secret" not in _everything(data)
    assert "hr auth migrate" in store.note
    assert await store.put(entry(4), secret(4)) == "keyring"
    expected = {entry(n).id: secret(n).reveal() for n in (1, 2, 3, 4)}
    assert texts(store) == expected
    again = store_in(data, ring)
    assert await again.migrate("file") == 3
    assert (again.store, ring.held) == ("file", {})
    assert texts(store_in(data)) == expected | {entry(3).id: None}
    assert await again.migrate("file") == 0


async def test_a_migration_against_the_owners_word_is_refused(data: Path) -> None:
    """SECRET_STORE=file and --to keyring contradict each other."""
    store = store_in(data, Ring(), choice="file")
    with pytest.raises(VaultError, match="SECRET_STORE=file") as caught:
        await store.migrate("keyring")
    assert "auto or keyring" in caught.value.next_step


async def test_a_migration_to_a_keyring_that_does_not_keep_moves_nothing(data: Path) -> None:
    """All keys stay where they were."""
    for trouble in (KeyringLocked(), None):
        ring = Ring()
        store = store_in(data, ring, headless=True)
        await store.put(entry(1), secret(1))
        ring.fails, ring.forgets = trouble, True
        with pytest.raises(VaultError):
            await store.migrate("keyring")
        assert store.store == "file"
        assert texts(store_in(data)) == {entry(1).id: secret(1).reveal()}


async def test_a_migration_away_from_a_shut_keyring(data: Path) -> None:
    """What memory holds is rescued, though the keyring hangs; what it does not hold stops the migration."""
    ring = Ring()
    store = store_in(data, thread_of(ring), choice="auto")
    await store.put(entry(1), secret(1))
    ring.gate.clear()
    assert await store.migrate("file") == 1
    assert texts(store_in(data)) == {entry(1).id: secret(1).reveal()}
    assert "still hold 1" in " ".join(store.problems)
    ring.gate.set()
    ring = Ring()
    await store_in(data / "b", ring).put(entry(1), secret(1))
    ring.fails = KeyringLocked()
    store = store_in(data / "b", ring)
    with pytest.raises(VaultError, match="locked"):
        await store.migrate("file")
    assert _on_disk(data / "b") == {entry(1).id: "keyring"}


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("to", ["keyring", "file"])
async def test_a_kill_at_any_step_of_a_migration_loses_no_key(
    data: Path, monkeypatch: pytest.MonkeyPatch, to: Any
) -> None:
    """Before each write to a file or the keyring: after a restart every key is readable, and nothing is left to sweep."""
    expected = {entry(n).id: secret(n).reveal() for n in (1, 2)}
    for step in range(30):
        home, ring = data / str(step), Ring()
        store = store_in(home, ring, choice="auto", headless=to == "keyring")
        for number in (1, 2):
            await store.put(entry(number), secret(number))
        left = step

        def strike() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        def struck(call: Any) -> Any:
            def before(*args: Any, **more: Any) -> Any:
                strike()
                return call(*args, **more)

            return before

        with monkeypatch.context() as patch:
            patch.setattr(Ring, "set_password", struck(Ring.set_password))
            patch.setattr(Ring, "delete_password", struck(Ring.delete_password))
            patch.setattr(store, "_keyring", _Direct(ring))
            patch.setattr(store._shelf, "write_index", struck(store._shelf.write_index))
            patch.setattr(store._shelf, "write_secrets", struck(store._shelf.write_secrets))
            patch.setattr(module, "_to_the_end", _directly)
            try:
                await store.migrate(to)
                ended = True
            except Killed:
                ended = False
        again = store_in(home, ring)
        await again.read_keyring()
        assert texts(again) == expected, step
        assert again.problems == []
        inside = {username(e) for e in again.entries if e.store == "keyring"}
        assert {name for service, name in ring.held if service == SERVICE} == inside, step
        assert ((home / "secrets.json").exists()) == any(e.store == "file" for e in again.entries)
        if ended:
            assert step >= 5
            assert {e.store for e in again.entries} == {to}
            return
    pytest.fail("it never came to its end")


class _Direct:
    """The keyring without its thread, so that a kill goes through."""

    waits_for_a_person = False

    def __init__(self, ring: Ring) -> None:
        self.ring = ring

    async def read(self, names: Any) -> Any:
        return {name: self.ring.get_password(SERVICE, name) for name in names}, None

    async def write(self, name: str, text: str) -> None:
        self.ring.set_password(SERVICE, name, text)

    async def delete(self, name: str) -> None:
        if self.ring.get_password(SERVICE, name) is not None:
            self.ring.delete_password(SERVICE, name)

    async def probe(self, *, strict: bool = True) -> None:
        pass


async def _directly(work: Any) -> None:
    work()


# --- how it is shown --------------------------------------------------------------------------------


def test_the_same_label_is_the_same_account_of_that_provider() -> None:
    """Two keys of one label share it; another provider's same label does not; without one a key is its own."""
    groq, zai = ProviderName("groq"), ProviderName("zai")
    one, two = CredentialId("1"), CredentialId("2")
    assert account_of(groq, "mine", one) == account_of(groq, "mine", two)
    assert account_of(groq, "mine", one) != account_of(zai, "mine", one)
    assert account_of(groq, None, one) == AccountId("1")


def test_an_entry_as_it_is_scheduled() -> None:
    """Identity, account, place and tail."""
    made = credential_of(entry(1, account="mine", store="keyring"))
    assert (made.id, made.provider, made.kind, made.source) == (entry(1).id, "groq", "api_key", "keyring")
    assert (made.tail, made.secret_ref, made.account) == ("0001", NAME, "groq:mine")


async def test_nothing_of_a_secret_is_said(data: Path) -> None:
    """Neither in log nor note nor problems nor repr, whatever happens."""
    ring, log = Ring(), Log()
    store = store_in(data, ring, log=log)
    await store.put(entry(1), secret(1))
    ring.fails = ValueError(secret(1).reveal())
    with pytest.raises(VaultError) as caught:
        await store.put(entry(2), secret(2))
    await store.read_keyring(anew=True)
    await store.remove([entry(1).id])
    said = repr((log.events, store.note, store.problems, store.entries, caught.value, vars(store)))
    assert "gsk_secret" not in said


async def test_a_keyring_is_asked_how_it_is_and_nothing_comes_of_it(data: Path) -> None:
    """Well, locked, hung, absent: told within the limit asked for, while what it holds serves on."""
    ring = Ring()
    store = store_in(data, thread_of(ring, limit_s=5.0), choice="keyring")
    await store.put(entry(1), secret(1))
    held = dict(ring.held)
    assert await store.ask_keyring(5.0) is None
    ring.fails = KeyringLocked("secret stuff")
    fault = await store.ask_keyring(5.0)
    assert fault is not None
    assert (fault.kind, "secret stuff" in str(fault)) == ("locked", False)
    ring.fails = None
    ring.gate.clear()
    fault = await store.ask_keyring(0.02)
    assert fault is not None
    assert fault.kind == "hung"
    ring.gate.set()
    assert (ring.held, texts(store)) == (held, {entry(1).id: secret(1).reveal()})
    absent = await store_in(data.parent / "none").ask_keyring(1.0)
    assert absent is not None
    assert absent.kind == "absent"
