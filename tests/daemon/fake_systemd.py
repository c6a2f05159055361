"""A service manager of a hundred lines, as a process: what systemd does for a unit of Type=notify, told in JSON lines.

It starts the program, adopts its orphans, listens to what it says, follows MAINPID, feeds on the watchdog, and starts it
anew when the main process ends. On standard input: `stop` (SIGTERM for the main process, as KillMode=mixed), `hup`.
`fake_systemd.py NOTIFY WATCHDOG_S LISTEN_PORTS -- PROGRAM…`; an empty watchdog or no ports are none of these.
"""

import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SUBREAPER = 36


def say(kind: str, **fields: Any) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


class Manager:
    def __init__(self, address: str, watchdog: str, ports: str, program: list[str]) -> None:
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        self.address, self.watchdog_s, self.program = address, float(watchdog or 0), program
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.listening = [self.listen(int(port)) for port in ports.split(",") if port]
        self.stopping = False
        self.start()

    @staticmethod
    def listen(port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(1024)
        return sock

    def start(self) -> None:
        self.fed_at = 0.0
        self.main = os.fork()
        if self.main:
            say("started", pid=self.main)
            return
        me = str(os.getpid())
        environ = {**os.environ, "NOTIFY_SOCKET": self.address, "SYSTEMD_EXEC_PID": me, "INVOCATION_ID": "0" * 32}
        if self.watchdog_s:
            environ |= {"WATCHDOG_USEC": str(int(self.watchdog_s * 1e6)), "WATCHDOG_PID": me}
        if self.listening:
            environ |= {"LISTEN_PID": me, "LISTEN_FDS": str(len(self.listening)), "LISTEN_FDNAMES": "http"}
            for number, copy in enumerate([os.dup(sock.fileno()) for sock in self.listening], 60):
                os.dup2(copy, number, inheritable=False)
            for number in range(len(self.listening)):
                os.dup2(60 + number, 3 + number, inheritable=True)
        os.execve(self.program[0], self.program, environ)

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self.socket, sys.stdin], [], [], 0.02)
            if self.socket in ready:
                self.hear()
            if sys.stdin in ready and not self.obey(os.read(0, 64).decode().split()):
                return
            self.reap()
            if self.watchdog_s and self.fed_at and time.monotonic() > self.fed_at + self.watchdog_s:
                say("watchdog", pid=self.main)
                self.fed_at = 0.0
                os.kill(self.main, signal.SIGABRT)
                os.kill(self.main, signal.SIGKILL)  # SIGABRT does not reach one that is stopped

    def obey(self, words: list[str]) -> bool:
        for word in words:
            if word == "stop":
                self.stopping = True
            os.kill(self.main, signal.SIGTERM if word == "stop" else signal.SIGHUP)
        return bool(words)

    def hear(self) -> None:
        data, ancillary, _, _ = self.socket.recvmsg(4096, 4096)
        sender = 0
        for _, kind, content in ancillary:
            if kind == socket.SCM_CREDENTIALS:
                sender = struct.unpack("iII", content)[0]
            elif kind == socket.SCM_RIGHTS:
                for (number,) in struct.iter_unpack("i", content):
                    os.close(number)
        lines = data.decode().split("\n")
        say("told", pid=sender, lines=lines)
        for line in lines:
            name, _, value = line.partition("=")
            if name == "MAINPID":
                parent = int(Path(f"/proc/{value}/stat").read_text().rpartition(")")[2].split()[1])
                self.main = int(value)
                say("main", pid=self.main, is_child=parent == os.getpid())
            elif name == "WATCHDOG":
                self.fed_at = time.monotonic()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            say("ended", pid=pid, code=code, is_main=pid == self.main)
            if pid == self.main and not self.stopping:
                self.start()
            elif pid == self.main:
                say("stopped", code=code)
                os._exit(0)


def main() -> None:
    split = sys.argv.index("--")
    manager = Manager(*sys.argv[1:split], sys.argv[split + 1 :])
    try:
        manager.run()
    finally:
        with suppress(ProcessLookupError):
            os.kill(manager.main, signal.SIGKILL)


main()
