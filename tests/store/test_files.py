"""Private files: whole, durable, for the owner alone, and never over what is damaged."""

import errno
import os
import stat
from pathlib import Path

import pytest

from hermes_router.store.files import file_stamp, read_private, set_aside, write_private

from .rings import names_in


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read_and_nobody_elses(tmp_path: Path) -> None:
    """0600 in a directory made 0700, and nothing else lies there afterwards."""
    path = tmp_path / "data" / "secrets.json"
    assert read_private(path) is None
    write_private(path, b"one")
    write_private(path, b"two")
    assert read_private(path) == b"two"
    assert (_mode(path), _mode(path.parent)) == (0o600, 0o700)
    assert names_in(path.parent) == ["secrets.json"]


def test_file_and_directory_reach_the_disk_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new content is synced before it takes the name, the directory after."""
    did: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        did.append("sync directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        sync(handle)

    def moved(self: Path, target: Path) -> Path:
        did.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", moved)
    write_private(tmp_path / "f", b"x")
    assert did == ["sync file", "replace", "sync directory"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A full disk: OSError, the old content, no temporary file."""
    path = tmp_path / "f"
    write_private(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["f"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Dotfile managers keep the file elsewhere: that one is replaced."""
    real = tmp_path / "dotfiles" / "secrets.json"
    real.parent.mkdir()
    link = tmp_path / "secrets.json"
    link.symlink_to(real)
    write_private(link, b"x")
    assert link.is_symlink()
    assert real.read_bytes() == b"x"


def test_a_file_that_others_can_read_is_closed_to_them_and_that_is_said(tmp_path: Path) -> None:
    """The mode is repaired at the reading, once."""
    path = tmp_path / "f"
    path.write_bytes(b"x")
    path.chmod(0o644)
    said: list[str] = []
    assert read_private(path, said=said) == b"x"
    assert _mode(path) == 0o600
    [sentence] = said
    assert str(path) in sentence
    assert "0644" in sentence
    assert read_private(path, said=said) == b"x"
    assert len(said) == 1


def test_a_mode_that_cannot_be_changed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a filesystem without modes the file is used, and the owner knows."""

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "f"
    path.write_bytes(b"x")
    path.chmod(0o644)
    monkeypatch.setattr(os, "fchmod", refused)
    said: list[str] = []
    assert read_private(path, said=said) == b"x"
    assert "cannot be changed" in said[0]


def test_another_users_file_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither read nor replaced, even by root."""
    path = tmp_path / "f"
    path.write_bytes(b"theirs")
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(PermissionError, match=rf"another user \(uid {owner}\).*{path}"):
        read_private(path)
    with pytest.raises(PermissionError, match="another user"):
        write_private(path, b"ours")
    assert path.read_bytes() == b"theirs"
    assert names_in(tmp_path) == ["f"]


@pytest.mark.parametrize("what", ["directory", "pipe"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, what: str) -> None:
    """A pipe in its place holds nobody up."""
    path = tmp_path / "f"
    path.mkdir() if what == "directory" else os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        read_private(path)


def test_an_endless_file_is_refused(tmp_path: Path) -> None:
    """Above 64 MB it is none of ours."""
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(OSError, match="larger than 64 MB"):
        read_private(path)


def test_leavings_of_killed_writers_are_swept_after_an_hour(tmp_path: Path) -> None:
    """Old temporary files of this very file go; young ones and others' stay."""
    names = [".f.old.tmp", ".f.new.tmp", ".g.old.tmp", "f.old.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
        if "old" in name:
            os.utime(tmp_path / name, (0, 0))
    write_private(tmp_path / "f", b"x")
    assert names_in(tmp_path) == sorted([*names[1:], "f"])


@pytest.mark.parametrize("links", [True, False])
def test_set_aside_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Each damaged file keeps its bytes under a name of its own, also where there are no hard links."""
    if not links:

        def refused(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "f"
    path.write_bytes(b"first")
    one = set_aside(path, "stamp")
    assert not path.exists()
    path.write_bytes(b"second")
    two = set_aside(path, "stamp", keep=True)
    assert path.read_bytes() == b"second"
    assert (one.name, two.name) == ("f.damaged-stamp", "f.damaged-stamp-2")
    assert (one.read_bytes(), two.read_bytes()) == (b"first", b"second")


def test_set_aside_twice_after_a_kill_is_once(tmp_path: Path) -> None:
    """Killed between the link and the new file, the next start makes no second copy."""
    path = tmp_path / "f"
    path.write_bytes(b"x")
    assert set_aside(path, "s", keep=True) == set_aside(path, "s", keep=True)
    assert names_in(tmp_path) == ["f", "f.damaged-s"]


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    """A replacement of the same size, and a byte more in the same file; none where there is no file."""
    path = tmp_path / "f"
    assert file_stamp(path) is None
    write_private(path, b"one")
    first = file_stamp(path)
    assert first is not None
    assert file_stamp(path) == first
    kept = tmp_path / "old"
    os.link(path, kept)  # so that its inode is not given out again
    write_private(path, b"two")
    second = file_stamp(path)
    assert second not in {None, first}
    with path.open("ab") as file:
        file.write(b"!")
    assert file_stamp(path) not in {None, second}
