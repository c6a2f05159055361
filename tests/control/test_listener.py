"""The control socket's place on disk."""

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_router.control.listener import bind_control
from hermes_router.core.errors import ControlError

OTHER = 1500
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to own things as somebody else")


@pytest.fixture
def path() -> Iterator[Path]:
    """A socket's path in a directory of our own, short enough everywhere."""
    with tempfile.TemporaryDirectory(prefix="hr-") as home:
        yield Path(home) / "control.sock"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refusal(path: Path, **options: int) -> ControlError:
    """The error of a bind that must fail with exit code 3, saying what to do."""
    with pytest.raises(ControlError) as caught:
        bind_control(path, **options)
    assert caught.value.exit_code == 3
    assert caught.value.next_step
    return caught.value


def test_the_socket_is_for_us_alone_whatever_the_umask(path: Path) -> None:
    """0600 under a umask of 0, which is as before afterwards; it does not listen yet, does not block, is not inherited."""
    before = os.umask(0)
    try:
        sock = bind_control(path)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    with sock:
        assert mode(path) == 0o600
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_a_missing_directory_is_made_0700(path: Path) -> None:
    """Its parent too."""
    with bind_control(path.parent / "a" / "b" / "s"):
        assert mode(path.parent / "a" / "b") == 0o700


def test_a_leftover_socket_is_replaced(path: Path) -> None:
    """Where connecting is refused nobody lives: a killed daemon's socket does not keep the next one out."""
    with bind_control(path):
        first = path.lstat().st_ino, path.lstat().st_ctime_ns
    with bind_control(path) as sock:
        assert (path.lstat().st_ino, path.lstat().st_ctime_ns) != first
        sock.listen()


@pytest.mark.parametrize("backlog", [5, 0])
def test_a_living_daemon_keeps_its_socket(path: Path, backlog: int) -> None:
    """A second bind is refused and takes nothing away, also while the daemon is too busy to accept."""
    with bind_control(path) as sock, socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        sock.listen(backlog)
        for caller in (first, second):  # fills a backlog of 0
            caller.setblocking(False)
            try:
                caller.connect(str(path))
            except BlockingIOError:
                assert backlog == 0
        error = refusal(path)
        assert error.code == "running"
        assert "A daemon answers there" in error.message
        assert path.is_socket()


def test_a_file_at_the_path_is_never_removed(path: Path) -> None:
    """What is no socket is named and left as it is: a file, a directory, a link to a file."""
    path.write_text("precious")
    assert str(path) in refusal(path).message
    assert path.read_text() == "precious"
    link, folder = path.with_name("link"), path.with_name("folder")
    link.symlink_to(path)
    folder.mkdir()
    for other in (link, folder):
        assert "is not a socket" in refusal(other).message
    assert link.is_symlink()
    assert folder.is_dir()


@as_root
def test_a_socket_of_another_user_is_never_removed(path: Path) -> None:
    """Even a dead one, even by root."""
    bind_control(path).close()
    os.chown(path, OTHER, OTHER)
    error = refusal(path)
    assert f"socket of user {OTHER}" in error.message
    assert path.is_socket()


@as_root
def test_a_directory_of_another_user_is_refused(path: Path) -> None:
    """Its owner could put another socket in our place."""
    os.chown(path.parent, OTHER, OTHER)
    error = refusal(path)
    os.chown(path.parent, 0, 0)
    assert f"belongs to user {OTHER}" in error.message
    assert not path.exists()


@pytest.mark.parametrize("bits", [0o701, 0o710, 0o755, 0o777, 0o1777])
def test_a_directory_that_is_open_to_others_is_refused(path: Path, bits: int) -> None:
    """Including the group, where none was named; the command that helps is said."""
    path.parent.chmod(bits)
    error = refusal(path)
    assert f"chmod 0700 {path.parent}" in error.next_step
    assert not path.exists()


def test_the_system_service_opens_it_to_its_group(path: Path) -> None:
    """0660 and the group's, in a directory of at most 0750."""
    path.parent.chmod(0o750)
    with bind_control(path, readers_gid=os.getegid()):
        assert mode(path) == 0o660
        assert path.lstat().st_gid == os.getegid()
    path.parent.chmod(0o770)
    assert "open to others" in refusal(path, readers_gid=os.getegid()).message


def test_a_path_that_is_too_long_is_said_before_anything_is_made(path: Path) -> None:
    """With the variable that moves it."""
    long = path.parent / ("d" * 100) / "control.sock"
    error = refusal(long)
    assert "bytes" in error.message
    assert "HERMES_ROUTER_SOCKET" in error.next_step
    assert not long.parent.exists()


def test_a_directory_that_cannot_be_made_is_one_sentence(path: Path) -> None:
    """A file where a directory should be: no traceback, what the system says, what to do."""
    path.write_text("")
    with pytest.raises(ControlError, match="cannot be made: ") as caught:
        bind_control(path / "s")
    assert caught.value.next_step


@as_root
def test_the_service_managers_directory_keeps_its_mode(path: Path) -> None:
    """RuntimeDirectoryMode=0750 is no reason to refuse, whether its group is known here or not; one wider is."""
    path.parent.chmod(0o750)
    with bind_control(path, system=True):
        assert (mode(path), mode(path.parent)) == (0o600, 0o750)
    path.unlink()
    refusal(path)
    path.parent.chmod(0o755)
    refusal(path, system=True)


@as_root
def test_a_missing_directory_lets_the_readers_in(path: Path) -> None:
    """Made by root, who runs the service by hand: 0750 and the group's, whatever the umask."""
    below = path.parent / "run"
    with bind_control(below / "control.sock", readers_gid=OTHER):
        assert (mode(below), below.stat().st_gid) == (0o750, OTHER)
