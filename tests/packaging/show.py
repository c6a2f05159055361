"""Shows that the wheel works as people install it: by pip, pipx and uv, for each Python that is named.

`python -m tests.packaging.show [PYTHON...]`: builds the wheel, fetches pipx and uv and what the program depends on from
the package index into a place that is thrown away, and in each installation asks for the version, the manual, the
completions and TAB, starts a daemon, asks it, and takes the times. It ends with 1 where a promise does not hold.
"""

import http.client
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermes_router import __version__

from ..wheel import built
from ..whole.home import free_port

TAB_S, STATUS_S = 0.1, 0.2
KEY = "sk-a-key-of-the-show"
TIMES = 20


@dataclass
class Installed:
    """One way in: its name, the directory with `hr`, and where its man pages may be looked for."""

    name: str
    bin: Path
    man: str


@dataclass
class Took:
    """Seconds of so many runs. What is promised is held against the processor's: others may be at work on the machine."""

    cpu: float
    wall: float
    worst: float
    times: int

    def __str__(self) -> str:
        return f"{self.cpu * 1e3:.0f} ms of CPU, {self.wall * 1e3:.0f} on the clock, at worst {self.worst * 1e3:.0f} of {self.times}"


class Show:
    """A throw-away place, and what was seen there."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.broken: list[str] = []
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HR_", "XDG_"))
        } | {
            "HOME": str(place / "home"), "PIPX_HOME": str(place / "pipx"), "PIPX_BIN_DIR": str(place / "pipx-bin"),
            "PIPX_MAN_DIR": str(place / "pipx-man"), "UV_TOOL_DIR": str(place / "uv"),
            "UV_TOOL_BIN_DIR": str(place / "uv-bin"), "UV_CACHE_DIR": str(place / "uv-cache"),
        }  # fmt: skip
        (place / "home").mkdir()

    def run(self, *command: str | Path, **environ: str) -> str:
        """A program's standard output; the show ends where it fails."""
        done = subprocess.run(
            [str(word) for word in command], env={**self.environ, **environ}, cwd=self.place, text=True, check=False,
            capture_output=True,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def promise(self, kept: bool, text: str) -> None:
        """One line, and a note where it does not hold."""
        print(f"  {'ok ' if kept else 'NOT'} {text}", flush=True)
        if not kept:
            self.broken.append(text)

    def installations(self, pythons: list[str]) -> Iterator[Installed]:
        """Each way, as soon as it is there."""
        wheel = built()
        tools = self.place / "tools"
        self.run(sys.executable, "-m", "venv", tools)
        self.run(tools / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "pipx", "uv")
        for python in pythons:
            version = self.run(python, "-V").split()[1]
            venv = self.place / f"pip-{version}"
            self.run(python, "-m", "venv", venv)
            self.run(venv / "bin" / "pip", "install", "-q", "--disable-pip-version-check", wheel)
            yield Installed(f"pip install, Python {version}", venv / "bin", "")
        self.run(tools / "bin" / "pipx", "install", "--quiet", wheel)
        yield Installed("pipx install", self.place / "pipx-bin", str(self.place / "pipx-man"))
        self.run(tools / "bin" / "uv", "tool", "install", "--quiet", "--python", sys.executable, wheel)
        yield Installed("uv tool install", self.place / "uv-bin", "")

    def look(self, one: Installed) -> None:
        """All that an installation promises."""
        print(f"\n{one.name}: {one.bin}", flush=True)
        home = Path(tempfile.mkdtemp(dir=self.place))
        with self._person(one, home):
            first = self._took(_HR_COMPLETE="bash", _HR_LINE="hr auth add g", times=1).wall
            said = self.run("hr", "version").strip()
            self.promise(said == f"hermes-router {__version__}", f"hr version: {said}")
            path = self.run("hr", "man", "--path").strip()
            self.promise(Path(path).is_file(), f"hr man --path: {path}")
            if shutil.which("man"):
                found = subprocess.run(
                    ["man", "-w", "hr"], env=self._man(one), capture_output=True, text=True, check=False
                )
                print(f"      man -w hr: {found.stdout.strip() or 'nothing; hr man shows it'}")
            script = self.run("hr", "completions", "show", "bash").splitlines()
            self.promise("complete -F" in script[-1], f"hr completions show bash | head -1: {script[0]}")
            self.run("hr", "completions", "install", "--shell", "fish")
            self.promise((home / ".config/fish/completions/hr.fish").is_file(), "hr completions install --shell fish")
            self._daemon(first)

    def _daemon(self, first: float) -> None:
        alone = self._took(_HR_COMPLETE="bash", _HR_LINE="hr auth add g")
        print("      " + self.run("hr", "start").splitlines()[0])
        try:
            served = http.client.HTTPConnection("127.0.0.1", int(self.environ["PORT"]), timeout=10)
            served.request("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"})
            models = json.loads(served.getresponse().read())["data"]
            self.promise(models[0]["id"] == "hermes-router", f"GET /v1/models: {models[0]['id']}")
            names = self.run("hr", _HR_COMPLETE="bash", _HR_LINE="hr auth add gro")
            self.promise(names == "groq\n", f"hr auth add gro<TAB>: {names.strip()}")
            asked = self._took(_HR_COMPLETE="bash", _HR_LINE="hr auth add g")
            self.promise(asked.cpu <= TAB_S, f"TAB, daemon running: {asked} (limit {TAB_S * 1e3:.0f})")
            self.promise(alone.cpu <= TAB_S, f"TAB, no daemon: {alone}; the very first took {first * 1e3:.0f} ms")
            status = self._took("status")
            self.promise(status.cpu <= STATUS_S, f"hr status: {status} (limit {STATUS_S * 1e3:.0f})")
            print(f"      hr --help: {self._took('--help')}")
        finally:
            print("      " + self.run("hr", "stop").strip())

    def _took(self, *words: str, times: int = TIMES, **environ: str) -> "Took":
        """How long `hr` takes, a fresh process each time."""
        cpu, wall = [], []
        for _ in range(times):
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            self.run("hr", *words, **environ)
            wall.append(time.perf_counter() - began)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return Took(statistics.median(cpu), statistics.median(wall), max(wall), times)

    def _man(self, one: Installed) -> dict[str, str]:
        return {**self.environ, **({"MANPATH": one.man} if one.man else {})}

    @contextmanager
    def _person(self, one: Installed, home: Path) -> Iterator[None]:
        before = self.environ
        self.environ = {
            **before, "HOME": str(home), "PATH": f"{one.bin}:{before['PATH']}", "PORT": str(free_port()),
            "PROXY_API_KEYS": KEY, "SECRET_STORE": "file",
        }  # fmt: skip
        path, os.environ["PATH"] = os.environ["PATH"], self.environ["PATH"]
        try:
            yield
        finally:
            self.environ, os.environ["PATH"] = before, path


def main(pythons: list[str]) -> int:
    """The show; the exit code."""
    place = Path(tempfile.mkdtemp(prefix="hr-show-"))
    try:
        show = Show(place)
        for one in show.installations([str(Path(one).absolute()) for one in pythons or [sys.executable]]):
            show.look(one)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"\n{'All promises hold.' if not show.broken else f'{len(show.broken)} do not hold.'}")
    return 1 if show.broken else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
