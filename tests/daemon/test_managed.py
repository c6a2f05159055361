"""hermes_router/daemon/managed.py: what a service manager hands over is taken once, and only if it is meant for us."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_router.daemon.managed import take, unit_of

ME, PARENT = str(os.getpid()), str(os.getppid())
NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def test_the_variables_are_taken_out_of_the_environment() -> None:
    """All of them, used or not; the rest stays."""
    environ = dict.fromkeys(NAMES, "0") | {"PATH": "/bin", "INVOCATION_ID": "x"}
    take(environ, heir=False, on_its_own=True)
    assert environ == {"PATH": "/bin", "INVOCATION_ID": "x"}


@pytest.mark.parametrize(
    ("exec_pid", "watchdog_pid", "address", "watchdog_s"),
    [
        (ME, ME, "/n", 30.0),
        (PARENT, PARENT, "/n", 30.0),  # a wrapper such as `uv run` stands between
        (ME, "1", "/n", None),
        ("1", "1", "", None),  # somebody else's service, in which a terminal runs
        (None, None, "/n", 30.0),  # before systemd 248, and in containers
    ],
)
def test_a_manager_is_ours_where_its_pids_say_so(
    exec_pid: str | None, watchdog_pid: str | None, address: str, watchdog_s: float | None
) -> None:
    """Else STOPPING=1 would end somebody else's service."""
    environ = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000"}
    environ |= {n: v for n, v in (("SYSTEMD_EXEC_PID", exec_pid), ("WATCHDOG_PID", watchdog_pid)) if v is not None}
    found = take(environ, heir=False, on_its_own=False)
    assert (found.address, found.watchdog_s) == (address, watchdog_s)


def test_a_successor_is_given_them_again_without_the_pids() -> None:
    """They name the first main process, and mean the service: an heir's watchdog must be fed as well."""
    first = take(
        {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": ME, "SYSTEMD_EXEC_PID": ME},
        heir=False,
        on_its_own=False,
    )
    environ = first.environ({"SYSTEMD_EXEC_PID": "1"})
    assert environ == {"SYSTEMD_EXEC_PID": "1", "NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1500000"}
    heir = take(environ, heir=True, on_its_own=False)
    assert (heir.address, heir.watchdog_s, heir.is_main) == ("@n", 1.5, False)


def test_whoever_is_started_beside_a_service_is_nobodys() -> None:
    """`hr start` in an agent's own service: its daemon does not speak in that service's name."""
    found = take({"NOTIFY_SOCKET": "/n", "SYSTEMD_EXEC_PID": PARENT}, heir=False, on_its_own=True)
    assert (found.address, found.sockets, found.is_main) == ("", (), False)


TAKES = """
import os, sys, socket
from hermes_router.daemon.managed import take
for number, fd in enumerate(map(int, sys.argv[2:]), 3):
    os.dup2(fd, number)
if sys.argv[1] == "mine":
    os.environ["LISTEN_PID"] = str(os.getpid())
found = take(os.environ, heir=False, on_its_own=False)
print([sock.getsockname()[0] for sock in found.sockets], [sock.getblocking() for sock in found.sockets],
      [os.get_inheritable(n) for n in range(3, 6)], os.fstat(5).st_mode > 0, "LISTEN_FDS" in os.environ)
"""


def _taken(whose: str) -> str:
    """What a process finds that gets three descriptors from 3 on: a TCP socket, a datagram one, a file."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, Path("/dev/null").open() as file:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        fds = [one.fileno() for one in (tcp, udp, file)]
        assert min(fds) > 5
        done = subprocess.run(
            [sys.executable, "-c", TAKES, whose, *map(str, fds)],
            pass_fds=fds,
            env={**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "3"},
            capture_output=True,
            text=True,
            check=True,
        )
    return done.stdout.strip()


def test_sockets_are_adopted_without_blocking_and_not_passed_on() -> None:
    """TCP sockets that listen; what else there is stays open, and reaches no child either."""
    assert _taken("mine") == "['127.0.0.1'] [False] [False, False, False] True False"


def test_sockets_that_are_meant_for_another_process_are_not_touched() -> None:
    """A parent's LISTEN_PID."""
    assert _taken("theirs").startswith("[] [] [True, True, True]")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/hermes-router.service\n", ("hermes-router.service", "system")),
        (
            "12:memory:/x\n1:name=systemd:/user.slice/user-1000.slice/user@1000.service/app.slice/hermes-router.service\n",
            ("hermes-router.service", "user"),
        ),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", ("", "")),
        ("nonsense\n", ("", "")),
    ],
)
def test_the_unit_is_read_from_the_control_group(tmp_path: Path, text: str, unit: tuple[str, str]) -> None:
    """Its name, and whose manager that is."""
    (tmp_path / "cgroup").write_text(text)
    assert unit_of(tmp_path / "cgroup") == unit
    assert unit_of(tmp_path / "absent") == ("", "")
