"""hermes_router/cli/serve.py: the daemon takes this process over."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HR = Path(sys.executable).with_name("hr")


def _until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    assert process.stderr is not None
    seen = b""
    while text not in seen:
        ready, _, _ = select.select([process.stderr], [], [], 20)
        data = os.read(process.stderr.fileno(), 65536) if ready else b""
        assert data, seen
        seen += data
    return seen


def test_serve_becomes_the_daemon(tmp_path: Path) -> None:
    """The pid stays, so that a service manager's signals reach the daemon; --env-file is read; Ctrl-C ends it with 0."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    # A module of this name in the current directory must not be imported instead of the real one.
    (tmp_path / "random.py").write_text("raise SystemExit('shadowed')\n")
    (tmp_path / "own.env").write_text(f"PORT={port}\nGROQ_API_KEY=gsk_0123456789abcdef\n")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with subprocess.Popen(
        [HR, "serve", "--env-file", "own.env"], env=environ, cwd=tmp_path, stderr=subprocess.PIPE
    ) as hr:
        try:
            log = _until(hr, b"daemon.ready").decode()
            assert f"port={port}" in log
            assert "providers=groq" in log
            assert b"hermes_router.daemon" in Path(f"/proc/{hr.pid}/cmdline").read_bytes()
            hr.send_signal(signal.SIGINT)
            assert hr.wait(20) == 0
        finally:
            hr.kill()


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3])
def test_ctrl_c_at_once_is_no_traceback(tmp_path: Path, delay_s: float) -> None:
    """From the moment in which the daemon takes over it ends without a word, by the signal, or with 0 once it serves."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PORT": "0"}
    with subprocess.Popen([HR, "serve"], env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as hr:
        deadline = time.monotonic() + 20
        while b"hermes_router.daemon" not in Path(f"/proc/{hr.pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
        try:
            hr.wait(delay_s)
        except subprocess.TimeoutExpired:
            hr.send_signal(signal.SIGINT)
        _, said = hr.communicate(timeout=20)
    assert "Traceback" not in said
    assert hr.returncode in {0, -signal.SIGINT}, said


@pytest.mark.parametrize("host", ["0.0.0.0"])
def test_serve_passes_the_daemons_exit_code_on(tmp_path: Path, host: str) -> None:
    """What the daemon refuses is the exit code and the sentence of `hr serve`."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HOST": host}
    done = subprocess.run(
        [HR, "serve"], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 1
    assert done.stderr.startswith("hr: ")
    assert done.stderr.count("\n") == 1
