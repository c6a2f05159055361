"""A desktop session in miniature: a D-Bus of its own, and on it a real gnome-keyring, unlocked, locked or stopped.

Nothing of it touches the person who runs the tests: home, run-time directory and bus are the test's own, and there is
no display, so no prompt can appear.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection

from .rings import ROOT

MISSING = [tool for tool in ("dbus-daemon", "gnome-keyring-daemon") if shutil.which(tool) is None]

_BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
_SERVICE = "org.freedesktop.secrets"
_UP_S = 20.0


class Session:
    """A session whose files lie in `home`; the same home again has the same keyring in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._running: list[subprocess.Popen[bytes]] = []
        self._keyring: subprocess.Popen[bytes] | None = None
        run = home / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        self.env = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "share"),
            "XDG_RUNTIME_DIR": str(run),
        }

    def __enter__(self) -> Self:
        bus = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.env,
        )
        self._running.append(bus)
        assert bus.stdout is not None
        self.env["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().decode().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._running):
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    @property
    def keyring_pid(self) -> int:
        """The process to stop and to let go on."""
        assert self._keyring is not None
        return self._keyring.pid

    def start_keyring(self, password: str | None) -> None:
        """A keyring that this password opens, made where it is the first; None = whatever there is stays locked."""
        control = self.home / "run" / "keyring"
        command = ["gnome-keyring-daemon", "--foreground", "--components=secrets", f"--control-directory={control}"]
        if password is not None:
            command.append("--unlock")
        keyring = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.env
        )
        self._running.append(keyring)
        self._keyring = keyring
        assert keyring.stdin is not None
        keyring.stdin.write((password or "").encode())  # to its end: a line break would be part of it
        keyring.stdin.close()
        self._wait_for_it()

    def stop_keyring(self) -> None:
        """End it, as a logout does."""
        assert self._keyring is not None
        self._keyring.kill()
        self._keyring.wait()

    def _wait_for_it(self) -> None:
        began = time.monotonic()
        with open_dbus_connection(self.env["DBUS_SESSION_BUS_ADDRESS"]) as connection:
            call = new_method_call(_BUS, "NameHasOwner", "s", (_SERVICE,))
            while not connection.send_and_get_reply(call, timeout=_UP_S).body[0]:
                assert time.monotonic() - began < _UP_S, "gnome-keyring did not come up"
                time.sleep(0.02)

    def run(self, program: str, *arguments: object, **env: str) -> list[str]:
        """Run a Python program in the session, without a terminal; the lines that it prints."""
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.splitlines()

    def go_on(self) -> None:
        """Let a stopped keyring go on, so that it can end."""
        os.kill(self.keyring_pid, signal.SIGCONT)
