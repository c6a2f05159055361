"""hermes_router/daemon/logs/journal.py: the journal's native protocol, spoken to a datagram socket as journald has one."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_router.daemon.logs.journal import SOCKET, Journal


def entry(data: bytes) -> list[tuple[str, str]]:
    """Read an entry as journald does: `NAME=value`, or a name, a length of eight bytes and so many bytes."""
    found = []
    while data:
        head, _, rest = data.partition(b"\n")
        if b"=" in head:
            name, _, value = head.partition(b"=")
            data = rest
        else:
            name, size = head, int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + size], rest[8 + size + 1 :]
        found.append((name.decode(), value.decode()))
    return found


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hr") as folder:
        yield Path(folder) / "socket"


@pytest.fixture
def journald(socket_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(socket_path))
        sock.setblocking(False)
        yield sock


def test_an_event_is_an_entry_with_fields_to_filter_by(journald: socket.socket, socket_path: Path) -> None:
    """Every provider, model and target that it names is a field of its own, as often as there are such."""
    journal = Journal(str(socket_path))
    fields = {"request_id": "req_1", "attempts": "groq/a/b#1:limited mistral/c#2:ok", "stream": True, "none": None,
              "x-odd name": 1.5, "said": "two\nlines"}  # fmt: skip
    assert journal.send("warning", "exchange.done", "answered\nby c", fields)
    assert sorted(entry(journald.recv(100_000))) == sorted([
        ("MESSAGE", "answered\nby c"), ("PRIORITY", "4"), ("SYSLOG_IDENTIFIER", "hermes-router"), ("HR_EVENT", "exchange.done"),
        ("HR_PROVIDER", "groq"), ("HR_PROVIDER", "mistral"), ("HR_MODEL", "a/b"), ("HR_MODEL", "c"),
        ("HR_TARGET", "groq/a/b#1"), ("HR_TARGET", "mistral/c#2"), ("HR_REQUEST_ID", "req_1"),
        ("HR_ATTEMPTS", "groq/a/b#1:limited mistral/c#2:ok"), ("HR_STREAM", "true"), ("HR_X_ODD_NAME", "1.5"),
        ("HR_SAID", "two\nlines"),
    ])  # fmt: skip
    journal.close()


def test_a_field_cannot_forge_another(journald: socket.socket, socket_path: Path) -> None:
    """What callers and providers say keeps to its own field, half a surrogate does not stop the line."""
    journal = Journal(str(socket_path))
    assert journal.send("info", "a.b", "x", {"said": "a\nPRIORITY=0\n", "half": "\ud800", "n\nPRIORITY": 0})
    found = entry(journald.recv(100_000))
    assert [value for name, value in found if name == "PRIORITY"] == ["6"]
    assert ("HR_N_PRIORITY", "0") in found
    journal.close()


def test_what_no_datagram_holds_goes_as_a_file_in_memory(journald: socket.socket, socket_path: Path) -> None:
    """Sealed, as journald demands it."""
    journal = Journal(str(socket_path))
    assert journal.send("error", "server.fault", "x" * 1_000_000, {})
    _, fds, _, _ = socket.recv_fds(journald, 10, 1)
    with os.fdopen(fds[0], "rb") as file:
        file.seek(0)
        assert dict(entry(file.read()))["MESSAGE"] == "x" * 1_000_000
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(file.fileno(), 0)
    assert journal.lost == 0
    journal.close()


def test_a_journal_that_is_full_loses_lines_and_is_told_how_many(journald: socket.socket, socket_path: Path) -> None:
    """Nothing blocks; once there is room the number comes first."""
    journal = Journal(str(socket_path))
    sent = 0
    while not journal.lost:
        assert journal.send("info", "a.b", str(sent), {"n": sent})
        sent += 1
    assert journal.send("info", "a.b", "lost, too", {})
    kept = [dict(entry(journald.recv(100_000)))["MESSAGE"] for _ in range(sent - 1)]
    assert kept == [str(n) for n in range(sent - 1)]
    assert journal.send("info", "a.b", "after", {})
    told = dict(entry(journald.recv(100_000)))
    assert (told["HR_EVENT"], told["HR_LINES"], told["PRIORITY"]) == ("log.lost", "2", "4")
    assert dict(entry(journald.recv(100_000)))["MESSAGE"] == "after"
    assert journal.lost == 0
    journal.close()


def test_where_nobody_is_the_line_goes_elsewhere(socket_path: Path) -> None:
    """No socket at all, or one that nobody holds any more."""
    journal = Journal(str(socket_path))
    assert not journal.send("info", "a.b", "x", {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(socket_path))
        assert not journal.send("info", "a.b", "x", {})  # not asked for again at once
        other = Journal(str(socket_path))
        assert other.send("info", "a.b", "x", {})
    assert not other.send("info", "a.b", "x", {})
    assert other.lost == 0


@pytest.mark.skipif(not Path(SOCKET).exists(), reason="no journald runs here")
def test_the_journal_of_this_machine_takes_an_entry() -> None:
    """The real socket is where it is looked for."""
    assert Journal().send("debug", "a.b", "a test of hermes-router", {"request_id": f"test-{os.getpid()}"})


# --- a real journald, in a mount namespace of its own ------------------------------------------------------

JOURNALD = Path("/lib/systemd/systemd-journald")
SCRIPT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
{journald} 2>/dev/null &
journald=$!
trap 'kill $journald' EXIT
for _ in $(seq 100); do [ -S /run/systemd/journal/socket ] && break; sleep 0.1; done
{python} -
"""
PROGRAM = """
import os, socket, subprocess, time
from hermes_router.core.ids import Secret
from hermes_router.daemon.logs.form import Form
from hermes_router.daemon.logs.logging import Redactor, set_up
from hermes_router.daemon.logs.outlet import Outlet
from tests.daemon.journald import check_exchange, entries

stream = socket.socket(socket.AF_UNIX)
stream.connect("/run/systemd/journal/stdout")  # as a unit's standard error is
stream.sendall(b"hermes-router\\n\\n6\\n1\\n0\\n0\\n0\\n")
found = os.fstat(stream.fileno())
environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
redactor, out = Redactor([Secret("canary-0123456789")]), Outlet(stream.fileno())
log = set_up("info", redactor, out=out, environ=environ, form=Form(out, environ, redactor.clean))
log.warning("attempt.failed", request_id="req_1", target="groq/a/b#1", status=429, said="canary-0123456789", **{"class": "limited"})
log.info("exchange.done", request_id="req_1", outcome="answered", attempts="groq/a/b#1:limited mistral/c#2:ok", duration_s=0.1)
log.error("a.large", said="x" * 300_000)
try:
    raise ValueError("no")
except ValueError as error:
    log.error("server.fault", path="/v1", exc_info=error)

def journalctl(*arguments):
    command = ["journalctl", "-D", "/run/log/journal", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout

deadline = time.monotonic() + 20
while not entries(journalctl, "HR_EVENT=server.fault") and time.monotonic() < deadline:
    time.sleep(0.05)
check_exchange(journalctl, "req_1", "mistral")
[limited] = entries(journalctl, "HR_PROVIDER=groq", "-p", "warning")
assert limited["MESSAGE"] == "groq/a/b#1 is limited (429): ***  request_id=req_1", limited
[large] = entries(journalctl, "HR_EVENT=a.large")
assert len(large["HR_SAID"]) == 300_000
[fault] = entries(journalctl, "HR_EVENT=server.fault")
assert fault["MESSAGE"].endswith("\\nValueError: no"), fault
assert "canary" not in journalctl("-o", "verbose", "--all")
print("the journal has it all")
"""


def _namespaces() -> bool:
    tried = ["unshare", "-m", "--propagation", "private", "true"]
    return (
        shutil.which("unshare") is not None and subprocess.run(tried, check=False, capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not JOURNALD.exists(), reason="there is no systemd-journald here")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a /run of its own")
def test_a_real_journal_is_asked_by_fields() -> None:
    """`journalctl HR_PROVIDER=groq -p warning` finds it, however large it is, a traceback is one entry, no secret is there."""
    if not _namespaces():
        pytest.skip("this system gives no mount namespace")
    root = Path(__file__).resolve().parents[3]
    script = SCRIPT.format(journald=JOURNALD, python=sys.executable)
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script], env={**os.environ, "PYTHONPATH": str(root)}, cwd=root,
        input=PROGRAM, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == "the journal has it all\n", done.stderr
