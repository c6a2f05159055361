"""Both files together: whatever is wrong with one, nothing is lost and nothing is overwritten."""

import errno
import os
from pathlib import Path

import pytest

from hermes_router.core.errors import VaultError
from hermes_router.store import shelf as module
from hermes_router.store.file_store import Kept, write_secrets
from hermes_router.store.files import write_private
from hermes_router.store.index import Index, render, username
from hermes_router.store.shelf import Shelf

from .rings import START, entry, names_in, secret

ENTRIES = (entry(1, store="file"), entry(2, store="file", account="mine"), entry(3, store="keyring"))
KEPT = {username(e): Kept(secret(int(e.id, 16)), e.account, START) for e in ENTRIES if e.store == "file"}


def _shelf(directory: Path) -> Shelf:
    shelf = Shelf(directory / "credentials.json", directory / "secrets.json", lambda: START)
    shelf.load()
    return shelf


def _filled(directory: Path) -> Shelf:
    directory.chmod(0o700)
    write_private(directory / "credentials.json", render(Index(ENTRIES)))
    write_secrets(directory / "secrets.json", KEPT)
    return _shelf(directory)


def _spoil(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def _aside(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.glob("*.damaged-*")]


def test_an_empty_directory_is_an_empty_shelf(tmp_path: Path) -> None:
    """Nothing is said, nothing is written; a missing directory is none, either."""
    for directory in (tmp_path / "data", tmp_path):
        tmp_path.chmod(0o700)
        shelf = _shelf(directory)
        assert (shelf.index, shelf.kept, shelf.said) == (Index(), {}, [])
    assert names_in(tmp_path) == []


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Both files whole: no word, and the same again."""
    shelf = _filled(tmp_path)
    assert (shelf.index.entries, shelf.kept, shelf.said) == (ENTRIES, KEPT, [])


@pytest.mark.parametrize("name", ["credentials.json", "secrets.json"])
def test_a_file_cut_at_any_byte_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """For every cut: the bytes are set aside and named, what the other file holds serves on, the next start is clean."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a thousand starts
    _filled(tmp_path)
    path = tmp_path / name
    data, other = path.read_bytes(), tmp_path / ({"credentials.json", "secrets.json"} - {name}).pop()
    whole = other.read_bytes()
    for end in range(len(data) - 1):
        for old in tmp_path.glob("*.damaged-*"):
            old.unlink()
        _spoil(path, data[:end])
        _spoil(other, whole)
        shelf = _shelf(tmp_path)
        assert _aside(tmp_path) == [data[:end]], end
        assert str(path) in shelf.said[0]
        assert ".damaged-" in shelf.said[0]
        if name == "credentials.json":  # the secrets bring their entries back
            assert shelf.index.entries == ENTRIES[:2], end
            assert shelf.kept == KEPT
        else:  # the entries stay, and say what is missing
            assert (shelf.index.entries, shelf.kept) == (ENTRIES, {}), end
        again = _shelf(tmp_path)
        assert (again.index, again.kept, again.said) == (shelf.index, shelf.kept, [])


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"[]", b'{"version": 1, "credentials": [1], "secrets": {"a": 1}}'])
@pytest.mark.parametrize("name", ["credentials.json", "secrets.json"])
def test_damage_in_a_running_daemon_is_made_good_from_memory(tmp_path: Path, name: str, data: bytes) -> None:
    """A file that is spoilt or deleted under us is set aside and written again, whole."""
    shelf = _filled(tmp_path)
    before = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data)
    shelf.load()
    assert (shelf.index.entries, shelf.kept) == (ENTRIES, KEPT)
    assert _aside(tmp_path) == [data]
    (tmp_path / name).unlink()
    shelf.load()
    assert (tmp_path / name).read_bytes() == before
    assert (shelf.index.entries, shelf.kept) == (ENTRIES, KEPT)


def test_the_good_entries_of_a_spoilt_index_stay(tmp_path: Path) -> None:
    """One entry of a wrong type: the others are kept, also those whose secret only the keyring has."""
    _filled(tmp_path)
    path = tmp_path / "credentials.json"
    path.write_bytes(path.read_bytes().replace(b'"tail": "0001"', b'"tail": 1'))
    shelf = _shelf(tmp_path)
    assert {e.id for e in shelf.index.entries} == {e.id for e in ENTRIES}
    assert len(_aside(tmp_path)) == 1


def test_a_kill_between_setting_aside_and_writing_anew_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The damaged file keeps its name until it is replaced, so the next start recovers the same."""
    _filled(tmp_path)
    (tmp_path / "credentials.json").write_bytes(b"{")

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(module, "write_private", killed)
    with pytest.raises(Killed):
        _shelf(tmp_path)
    monkeypatch.undo()
    assert _shelf(tmp_path).index.entries == ENTRIES[:2]
    assert _aside(tmp_path) == [b"{"]


def test_an_index_that_is_gone_is_made_again(tmp_path: Path) -> None:
    """From the secrets in the file; it is said."""
    _filled(tmp_path)
    (tmp_path / "credentials.json").unlink()
    shelf = _shelf(tmp_path)
    assert shelf.index.entries == ENTRIES[:2]
    assert "made again" in shelf.said[0]
    assert _shelf(tmp_path).said == []


def test_secrets_without_an_entry_are_swept(tmp_path: Path) -> None:
    """What a kill left in the file goes at the next start, no sooner than the index is known to be whole."""
    _filled(tmp_path)
    write_private(tmp_path / "credentials.json", render(Index(ENTRIES[1:])))
    shelf = _shelf(tmp_path)
    assert list(shelf.kept) == [username(ENTRIES[1])]
    assert b"gsk_secret_of_0001" not in (tmp_path / "secrets.json").read_bytes()
    assert shelf.said == []


@pytest.mark.parametrize("name", ["credentials.json", "secrets.json"])
def test_a_later_versions_file_is_left_alone(tmp_path: Path, name: str) -> None:
    """Neither read, nor set aside, nor swept, nor overwritten; whoever tries to write is told why not."""
    _filled(tmp_path)
    other = tmp_path / ({"credentials.json", "secrets.json"} - {name}).pop()
    before = other.read_bytes()
    (tmp_path / name).write_bytes(b'{"version": 2, "new": 1}')
    shelf = _shelf(tmp_path)
    assert "later version" in shelf.said[0]
    with pytest.raises(VaultError, match="later version"):
        shelf.write_index(Index()) if name == "credentials.json" else shelf.write_secrets(
            {"provider/x/y": Kept(secret())}
        )
    assert (tmp_path / name).read_bytes() == b'{"version": 2, "new": 1}'
    assert other.read_bytes() == before
    assert _aside(tmp_path) == []


@pytest.mark.parametrize("name", ["credentials.json", "secrets.json"])
def test_another_users_file_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Its content counts for nothing and stays."""
    _filled(tmp_path)
    before = (tmp_path / name).read_bytes()
    real = os.fstat

    def fstat(handle: int) -> os.stat_result:
        found = real(handle)
        if found.st_ino != (tmp_path / name).stat().st_ino:
            return found
        return os.stat_result([*found[:4], found.st_uid + 1, *found[5:]])

    monkeypatch.setattr(os, "fstat", fstat)
    shelf = _shelf(tmp_path)
    monkeypatch.undo()
    assert f"{tmp_path / name} cannot be read: it belongs to another user" in shelf.said[0]
    with pytest.raises(VaultError, match="another user"):
        shelf.write_index(Index()) if name == "credentials.json" else shelf.write_secrets(
            {"provider/x/y": Kept(secret())}
        )
    assert (tmp_path / name).read_bytes() == before


def test_modes_are_repaired_and_said(tmp_path: Path) -> None:
    """Both files and their directory, each once."""
    _filled(tmp_path)
    tmp_path.chmod(0o755)
    for name in ("credentials.json", "secrets.json"):
        (tmp_path / name).chmod(0o640)
    shelf = _shelf(tmp_path)
    assert len(shelf.said) == 3
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert {(tmp_path / n).stat().st_mode & 0o777 for n in ("credentials.json", "secrets.json")} == {0o600}
    assert _shelf(tmp_path).said == []


@pytest.mark.parametrize(("number", "step"), [(errno.ENOSPC, "make room"), (errno.EROFS, "let this user write")])
def test_a_full_or_read_only_disk_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: str
) -> None:
    """VaultError says what and what to do; files and memory are as they were."""
    shelf = _filled(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(VaultError, match="cannot be written") as caught:
        shelf.write_index(Index())
    assert step in caught.value.next_step
    with pytest.raises(VaultError, match=os.strerror(number)):
        shelf.write_secrets({**KEPT, "provider/groq/x": Kept(secret(9))})
    assert (shelf.index.entries, shelf.kept) == (ENTRIES, KEPT)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_damage_on_a_read_only_disk_is_said_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be set aside is not overwritten, either; what can be recovered serves."""
    _filled(tmp_path)
    (tmp_path / "credentials.json").write_bytes(b"{")

    def refused(*_: object, **__: object) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module, "set_aside", refused)
    shelf = _shelf(tmp_path)
    assert "cannot be set aside: Read-only file system" in shelf.said[0]
    assert shelf.index.entries == ENTRIES[:2]
    with pytest.raises(VaultError, match="damaged"):
        shelf.write_index(Index())
    assert (tmp_path / "credentials.json").read_bytes() == b"{"
