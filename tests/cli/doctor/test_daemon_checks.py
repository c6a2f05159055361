"""hermes_router/cli/doctor/daemon_checks.py: the daemon, its socket, lock and port, each in order and out of it."""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_router.cli.doctor import daemon_checks as checks
from hermes_router.cli.doctor.run import run
from hermes_router.cli.doctor.table import CHECKS
from hermes_router.cli.service import unit
from hermes_router.cli.service.unit import Unit
from hermes_router.control import health_types as h
from hermes_router.control import notify_types as n
from hermes_router.core.errors import ControlError

from ..samples import ping
from .scenes import absent, looked, places_in, scene
from .test_processes import OldRouter


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this very process listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_daemon_that_answers_is_well(tmp_path: Path) -> None:
    """With its pid; one that is gone, one that hangs and one that is another's are faults, each with its own cure."""
    assert "4711" in looked(checks.daemon, scene(tmp_path)).said
    gone = looked(checks.daemon, absent(tmp_path))
    assert (gone.state, "hr start" in gone.cure) == ("fault", True)
    hung = ControlError("The daemon (pid 7) did not answer within 4 s.", code="hung", next_step="`kill 7`")
    found = looked(checks.daemon, absent(tmp_path, daemon="silent", refused=hung))
    assert (found.state, found.cure) == ("fault", "`kill 7`")
    foreign = ControlError("What answers is not hermes-router.", code="foreign")
    assert looked(checks.daemon, absent(tmp_path, daemon="foreign", refused=foreign)).state == "fault"


def test_versions_apart_are_told(tmp_path: Path) -> None:
    """Both numbers."""
    assert looked(checks.version, scene(tmp_path)).state == "ok"
    found = looked(checks.version, scene(tmp_path, ping=ping(version="0.0.9")))
    assert (found.state, "0.0.9" in found.said) == ("warning", True)
    assert looked(checks.version, absent(tmp_path)).state == "skipped"


def test_a_socket_is_judged_by_what_lies_there(tmp_path: Path) -> None:
    """None, one left behind, one that is open to others, a file, and a path that no socket can have."""
    path = places_in(tmp_path).state_dir / "s"
    assert looked(checks.socket, absent(tmp_path)).state == "skipped"
    assert looked(checks.socket, scene(tmp_path)).state == "warning"  # it answered, and is gone
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        assert looked(checks.socket, scene(tmp_path)).state == "ok"
        path.chmod(0o777)
        assert looked(checks.socket, scene(tmp_path)).state == "ok"  # its directory is closed
        path.parent.chmod(0o755)
        found = looked(checks.socket, scene(tmp_path))
        assert (found.state, found.cure) == ("warning", f"`chmod 700 {path.parent}`")
        path.parent.chmod(0o700)
    assert "left behind" in looked(checks.socket, absent(tmp_path)).said
    path.unlink()
    path.write_text("")
    assert looked(checks.socket, absent(tmp_path)).state == "fault"
    long = tmp_path / ("x" * 120)
    assert "HERMES_ROUTER_SOCKET" in looked(checks.socket, absent(tmp_path, socket=long)).cure


def test_a_lock_without_a_daemon_is_a_fault(tmp_path: Path) -> None:
    """With the pid that signed it; free, it is none."""
    lock = places_in(tmp_path).lock
    assert looked(checks.lock, absent(tmp_path)).state == "skipped"
    lock.write_text("4242\n")
    assert looked(checks.lock, absent(tmp_path)).state == "ok"
    assert looked(checks.lock, scene(tmp_path)).state == "warning"
    fd = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        found = looked(checks.lock, absent(tmp_path))
        assert (found.state, "4242" in found.said) == ("fault", True)
        assert looked(checks.lock, scene(tmp_path)).state == "ok"
    finally:
        os.close(fd)


def test_a_taken_port_names_its_holder(tmp_path: Path, taken: int) -> None:
    """By pid and program, without arguments; a free one is well."""
    found = looked(checks.port, absent(tmp_path, said={"port": taken}))
    assert (found.state, f"pid {os.getpid()}" in found.said, "python" in found.said) == ("fault", True, True)
    assert "hr config set PORT" in found.cure
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert looked(checks.port, absent(tmp_path, said={"port": free})).state == "ok"


def test_the_daemons_own_port_is_well(tmp_path: Path, taken: int) -> None:
    """And a stranger beside it is not."""
    assert looked(checks.port, scene(tmp_path, ping=ping(pid=os.getpid(), port=taken))).state == "ok"
    assert looked(checks.port, scene(tmp_path, ping=ping(pid=1_000_000, port=taken))).state == "warning"


def test_a_port_that_the_services_socket_holds_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers wait there until the daemon is up; another program of the same user's manager is none."""
    proc = tmp_path / "proc"
    (proc / "net").mkdir(parents=True)
    line = "   0: 0100007F:207F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1"
    (proc / "net" / "tcp").write_text(f"  sl  local_address ...\n{line}\n")
    units: list[Unit] = []
    monkeypatch.setattr(unit, "looks", lambda: units)
    at = absent(tmp_path, said={"port": 8319}, proc=proc)
    assert looked(checks.port, at).state == "fault"
    units.append(Unit(scope="user", path=tmp_path, standing="ours", ports=(8319,)))
    assert looked(checks.port, at).state == "ok"


def test_a_system_service_that_is_closed_to_us_is_one_finding(tmp_path: Path) -> None:
    """Who may not look gets no advice on files and ports that are another's: only that it is so."""
    said = ControlError("The control socket belongs to another user.", next_step="Run `hr` with sudo.", exit_code=3)
    closed = absent(
        tmp_path, daemon="closed", refused=said, report=None, unread="the system's service is closed to this user"
    )
    results = run([one for one in CHECKS if one.group not in {"Service", "This machine"}], closed)
    loud = [one for one in results if one.finding.state not in {"skipped", "ok"}]
    assert [(one.check.ident, one.finding.state) for one in loud] == [("daemon", "fault")]


def test_the_original_router_is_recognised(tmp_path: Path) -> None:
    """On the port, with what to do about it; and on another port, as a word of advice."""
    with OldRouter(tmp_path / "Hermes-router") as old:
        found = looked(checks.port, absent(tmp_path, said={"port": old.port}))
        assert found.state == "fault"
        assert "the original hermes-router" in found.said
        assert "hr auth import" in found.cure
        found = looked(checks.other_routers, scene(tmp_path))
        assert (found.state, str(old.pid) in found.said) == ("advice", True)


def test_another_installations_daemon_is_told(tmp_path: Path) -> None:
    """With its home; our own is no other."""
    proc = tmp_path / "proc"
    for pid, home in ((11, "/home/ada"), (12, str(tmp_path))):
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "cmdline").write_bytes(b"/usr/bin/python3\0-P\0-m\0hermes_router.daemon\0--detached\0")
        (proc / str(pid) / "environ").write_bytes(f"A=1\0HOME={home}\0".encode())
    found = looked(checks.other_routers, scene(tmp_path, proc=proc, ping=ping(pid=12)))
    assert (found.state, "/home/ada" in found.said) == ("advice", True)
    (proc / "11" / "cmdline").write_bytes(b"/usr/bin/python3\0-m\0hermes_router.daemon\0--control-only\0")
    assert looked(checks.other_routers, scene(tmp_path, proc=proc)).state == "ok"


def test_who_may_call_is_told(tmp_path: Path) -> None:
    """The key that everybody knows: advice on this machine, a fault where others reach it."""
    assert looked(checks.default_key, scene(tmp_path)).state == "ok"
    assert looked(checks.default_key, scene(tmp_path, said={"default_key": True})).state == "advice"
    stored = [scene(tmp_path, said={"default_key": True, "router_keys": number}) for number in (0, 1)]
    first = [looked(checks.default_key, each).cure.split("`")[1] for each in stored]
    assert first == ["hr key add NAME", "hr config set PROXY_API_KEYS ''"]
    shut = looked(checks.default_key, absent(tmp_path, said={"admits_nobody": True}))
    assert (shut.state, "hr key add" in shut.cure) == ("fault", True)
    wide = {"default_key": True, "is_open": True, "addresses": ["0.0.0.0"]}
    assert looked(checks.default_key, scene(tmp_path, said=wide)).state == "fault"
    assert looked(checks.open_host, scene(tmp_path, said=wide)).state == "advice"
    assert looked(checks.open_host, scene(tmp_path)).state == "ok"
    assert looked(checks.open_host, scene(tmp_path, report=None)).state == "skipped"


def test_a_way_to_the_owner_that_fails_is_told(tmp_path: Path) -> None:
    """Each way by its variable with the reason and `hr notify test`; one that works, or none that is set, is no news."""
    works, fails = (
        n.NotifyWayRow(way="url", shown="ntfy.sh/…"),
        n.NotifyWayRow(way="command", shown="tell", failing="it ended with 3"),
    )
    found = looked(checks.notify, scene(tmp_path, notify=n.Notify(ways=[works, fails], kinds=[])))
    assert (found.state, found.subject) == ("warning", "command")
    assert "NOTIFY_COMMAND (tell): it ended with 3" in found.said
    assert found.cure.startswith("`hr notify test`")
    assert looked(checks.notify, scene(tmp_path, notify=n.Notify(ways=[works], kinds=[]))).state == "ok"
    assert looked(checks.notify, scene(tmp_path, notify=n.Notify(ways=[], kinds=[]))).state == "skipped"
    assert looked(checks.notify, absent(tmp_path)).state == "skipped"


def test_a_setting_that_forbids_the_start_has_one_cure(tmp_path: Path) -> None:
    """`hr start` is no cure then, nor is anything judged by a setting that could not be read."""
    fault = h.FaultRow(said="PROXY_API_KEYS a key holds spaces", where="/c/.env:1", fatal=True)
    for said in (
        {"faults": [fault], "default_key": True},
        {"admits_nobody": True},
        {"default_key": True, "is_open": True, "addresses": ["0.0.0.0"]},
    ):
        found = looked(checks.daemon, absent(tmp_path, said=said))
        assert (found.state, "`" in found.cure) == ("fault", False)
        key = looked(checks.default_key, absent(tmp_path, said=said))
        assert key.state == ("skipped" if "faults" in said else "fault")
    assert "`hr start`" in looked(checks.daemon, absent(tmp_path)).cure
