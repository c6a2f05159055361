"""`hr demo` as a process, for the tests of its shows."""

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

HR = Path(sys.executable).with_name("hr")


class Demo:
    """`hr demo` in a session of its own, with what it leaves behind."""

    def __init__(self, home: Path, *arguments: str, **popen: Any) -> None:
        self._home = home
        environ = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **popen.pop("environ", {})}
        self.process = subprocess.Popen(
            [HR, "demo", *arguments],
            env=environ, cwd=home, start_new_session=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **popen},
        )  # fmt: skip
        self.seen = ""

    def until(self, text: str, number: int | None = None) -> str:
        """Read until `text` was shown."""
        if number is None:
            assert self.process.stdout is not None
            number = self.process.stdout.fileno()
        while text not in self.seen:
            ready, _, _ = select.select([number], [], [], 20)
            data = os.read(number, 65536).decode(errors="replace") if ready else ""
            assert data, self.seen
            self.seen += data
        return self.seen

    def end(self) -> int:
        """Read the rest; the exit code."""
        out, _ = self.process.communicate(timeout=60)
        self.seen += (out or b"").decode()
        return self.process.returncode

    def remains(self) -> list[str]:
        """Processes and files of the demo that are still there."""
        mark = str(self._home).encode()
        processes = []
        for entry in Path("/proc").iterdir():
            try:
                found = entry.name.isdecimal() and mark in (entry / "environ").read_bytes()
            except OSError:
                continue
            if found:
                processes.append((entry / "cmdline").read_bytes().decode())
        return processes + [str(path) for path in self._home.iterdir()]
