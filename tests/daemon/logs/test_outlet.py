"""hermes_router/daemon/logs/outlet.py, outlet_rotating.py: a log that nobody reads does not stop anything."""

import contextlib
import os
import pty
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermes_router.daemon.logs.outlet import Outlet
from hermes_router.daemon.logs.outlet_rotating import RotatingOutlet


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for number in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(number)


def _fill(outlet: Outlet) -> int:
    lines = 0
    while not outlet.lost:
        outlet.write("x" * 999 + "\n")
        lines += 1
    return lines - 1


def test_a_full_pipe_loses_lines_and_counts_them(pipe: tuple[int, int]) -> None:
    """Who stopped reading does not block the writer; once there is room the count is said, and every line is whole."""
    reader, writer = pipe
    outlet = Outlet(writer)
    kept = _fill(outlet)
    outlet.write("lost, too\n")
    assert outlet.lost == 2
    taken = os.read(reader, 1_000_000)
    outlet.write("after\n")
    taken += os.read(reader, 1_000_000)
    lines = taken.decode().splitlines()
    assert lines.count("x" * 999) == kept
    assert lines[-2:] == ["2 log lines were lost", "after"]
    assert outlet.lost == 0


def test_a_long_line_that_does_not_fit_does_not_run_into_the_next(pipe: tuple[int, int]) -> None:
    """Half a line may be out; the next one begins on a line of its own."""
    reader, writer = pipe
    outlet = Outlet(writer)
    outlet.write("y" * 1_000_000 + "\n")
    assert outlet.lost == 1
    os.read(reader, 2_000_000)
    outlet.write("after\n")
    assert os.read(reader, 100).decode().splitlines() == ["", "1 log lines were lost", "after"]


class Later:
    """What was put off."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def __call__(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


def test_lines_go_into_a_file_together(tmp_path: Path) -> None:
    """A moment later, whole and in order; a flush, a full buffer or another thread's line brings them out at once."""
    path, later = tmp_path / "log", Later()
    outlet = Outlet(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND))
    outlet.write("before\n")
    outlet.gather(later)
    outlet.write("one\n")
    outlet.write("two\n")
    assert path.read_text() == "before\n"
    assert len(later.calls) == 1
    later.calls.pop()()
    assert path.read_text() == "before\none\ntwo\n"
    outlet.write("three\n")
    thread = threading.Thread(target=outlet.write, args=("four\n",))
    thread.start()
    thread.join()
    assert path.read_text().endswith("two\nthree\nfour\n")
    later.calls.pop()()  # nothing is left
    outlet.write("x" * 40_000 + "\n")
    assert path.read_text().endswith("four\n" + "x" * 40_000 + "\n")


def test_where_anybody_may_read_along_nothing_is_held(pipe: tuple[int, int]) -> None:
    """A pipe, a terminal, the journal."""
    reader, writer = pipe
    outlet, later = Outlet(writer), Later()
    outlet.gather(later)
    outlet.write("at once\n")
    assert os.read(reader, 100) == b"at once\n"
    assert not later.calls


def test_lines_that_are_lost_together_are_counted(tmp_path: Path) -> None:
    """A file that takes nothing."""
    path = tmp_path / "log"
    path.touch()
    outlet = Outlet(os.open(path, os.O_RDONLY))
    outlet.gather(Later())
    outlet.write("one\n")
    outlet.write("two\n")
    outlet.flush()
    assert outlet.lost == 2


def test_a_closed_reader_is_no_fault(pipe: tuple[int, int]) -> None:
    """EPIPE is a lost line, as often as it comes."""
    os.close(pipe[0])
    outlet = Outlet(pipe[1])
    for _ in range(3):
        outlet.write("x\n")
    assert outlet.lost == 3


def test_a_closed_descriptor_is_no_fault(pipe: tuple[int, int]) -> None:
    """So is a descriptor that is no more."""
    outlet = Outlet(pipe[1])
    os.close(pipe[1])
    outlet.write("x\n")
    outlet.flush()
    assert outlet.lost == 1
    assert not outlet.isatty()


def test_a_file_takes_everything_at_once(tmp_path: Path) -> None:
    """A file never blocks; what is not UTF-8 is escaped rather than refused."""
    path = tmp_path / "log"
    with path.open("w") as file:
        outlet = Outlet(file.fileno())
        outlet.write("ä" * 100_000 + "\n")
        outlet.write("lone \ud800\n")
        assert outlet.fileno() == file.fileno()
    assert path.read_text().splitlines() == ["ä" * 100_000, "lone \\ud800"]


def test_a_full_disk_is_no_fault() -> None:
    """ENOSPC is a lost line."""
    with Path("/dev/full").open("w") as full:
        outlet = Outlet(full.fileno())
        outlet.write("x\n")
        assert outlet.lost == 1


def test_a_socket_that_nobody_reads_is_not_waited_for() -> None:
    """The journal is a socket: when it is stuck, lines are lost and the writer goes on."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert _fill(Outlet(ours.fileno())) > 0


def test_a_terminal_that_nobody_reads_is_not_waited_for() -> None:
    """Nor is a terminal whose other end sleeps."""
    theirs, ours = pty.openpty()
    outlet = Outlet(ours)
    assert outlet.isatty()
    assert _fill(outlet) >= 0
    os.close(ours)
    os.close(theirs)


# --- the log file of a detached daemon ----------------------------------------------------------------


def _contents(path: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in sorted(path.parent.iterdir())}


def test_a_full_log_file_is_turned_and_three_are_kept(tmp_path: Path) -> None:
    """The line that fills a file is its last; no line is lost or torn, the fourth file is gone, all are 0600."""
    path = tmp_path / "daemon.log"
    outlet = RotatingOutlet(path, limit_bytes=30)
    number = outlet.fileno()
    for n in range(11):
        outlet.write(f"line {n:04}\n")
    assert _contents(path) == {
        "daemon.log": "line 0009\nline 0010\n",
        "daemon.log.1": "line 0006\nline 0007\nline 0008\n",
        "daemon.log.2": "line 0003\nline 0004\nline 0005\n",
    }
    assert outlet.fileno() == number  # what looked at it once, looks at the right one still
    assert not os.get_inheritable(number)
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}
    os.close(number)


def test_other_descriptors_of_the_file_turn_with_it(tmp_path: Path) -> None:
    """What the interpreter prints by itself goes where the log goes, and stays open in programs that are started."""
    path = tmp_path / "service.log"
    others = [os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for _ in range(2)]
    outlet = RotatingOutlet(path, followers=others, limit_bytes=30)
    for n in range(4):
        outlet.write(f"line {n:04}\n")
    for number in others:
        os.write(number, b"a word\n")
    assert _contents(path) == {
        "service.log": "line 0003\na word\na word\n",
        "service.log.1": "line 0000\nline 0001\nline 0002\n",
    }
    assert all(map(os.get_inheritable, others))
    for number in (*others, outlet.fileno()):
        os.close(number)


def test_a_log_file_that_is_there_already_is_written_on(tmp_path: Path) -> None:
    """A start does not empty it, and what is in it counts."""
    path = tmp_path / "daemon.log"
    path.write_text("before, thirty bytes or so ...\n")
    outlet = RotatingOutlet(path, limit_bytes=40)
    outlet.write("line 0001\n")
    outlet.write("line 0002\n")
    assert _contents(path) == {
        "daemon.log": "line 0002\n",
        "daemon.log.1": "before, thirty bytes or so ...\nline 0001\n",
    }
    os.close(outlet.fileno())


def test_two_daemons_on_one_log_turn_it_once(tmp_path: Path) -> None:
    """In a handover both write. Whoever finds the file turned by the other only follows."""
    path = tmp_path / "daemon.log"
    first, second = RotatingOutlet(path, limit_bytes=30), RotatingOutlet(path, limit_bytes=30)
    for n in range(3):
        first.write(f"first {n:03}\n")
        second.write(f"next {n:04}\n")
    assert set(_contents(path)) == {"daemon.log", "daemon.log.1"}
    second.write("after all\n")
    assert _contents(path)["daemon.log"].endswith("after all\n")
    for outlet in (first, second):
        os.close(outlet.fileno())


def test_a_log_that_cannot_be_turned_is_written_on(tmp_path: Path) -> None:
    """Somebody removed its directory: the lines still go where they went."""
    home = tmp_path / "state"
    home.mkdir()
    outlet = RotatingOutlet(home / "daemon.log", limit_bytes=30)
    (home / "daemon.log").unlink()
    home.rmdir()
    for n in range(9):
        outlet.write(f"line {n:04}\n")
    assert outlet.lost == 0
    os.close(outlet.fileno())


def test_a_line_that_another_daemon_left_half_written_is_ended(tmp_path: Path) -> None:
    """A full disk or a kill cut it: what a successor says begins on a line of its own, and the file is its owner's."""
    path = tmp_path / "daemon.log"
    path.write_text("whole\nha")
    path.chmod(0o644)
    outlet = RotatingOutlet(path)
    outlet.write("next\n")
    os.close(outlet.fileno())
    again = RotatingOutlet(path)
    again.write("after\n")
    os.close(again.fileno())
    assert path.read_text() == "whole\nha\nnext\nafter\n"
    assert path.stat().st_mode & 0o777 == 0o600
