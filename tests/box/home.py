"""A person's own router in the box: settings that point at the fake providers, callers, and what the service does."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hermes_router.sandbox.providers import FakeProvider

from .box import HR, Box
from .upstreams import FIRST_PORT, NAMES

TREE = "/opt/tree"
KEY = "sk-restarts-0123456789"  # of bench/restarts.py
UNIT = "hermes-router.service"
ASK = json.dumps({"model": "hermes-router", "messages": [{"role": "user", "content": "say something"}]})


def settings() -> str:
    """A .env for the fake providers."""
    lines = [f"PROXY_API_KEYS={KEY}", "RUNAWAY_GUARD=off"]
    for number, name in enumerate(NAMES):
        url = f"http://127.0.0.1:{FIRST_PORT + number}{FakeProvider(name).row.path}"
        lines += [
            f"{name.upper()}_BASE_URL={url}",
            f"{name.upper()}_API_KEY=key-{name}-0123456789",
            f"{name.upper()}_LIMITS=off",
        ]
    return "\n".join(lines) + "\n"


def add_upstreams(box: Box) -> None:
    """The fake providers, now and after every boot."""
    box.put(
        "/etc/systemd/system/upstreams.service",
        f"[Service]\nExecStart={HR}/bin/python -P -B {TREE}/tests/box/upstreams.py\n[Install]\nWantedBy=multi-user.target\n",
    )
    box.check("systemctl", "enable", "--now", "upstreams")
    box.until(lambda: box.run("ss", "-ltn").out.count(":1800") == len(NAMES), what="the fake providers")


@dataclass
class Tally:
    """What callers saw."""

    told: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return self.told[name]


@contextmanager
def load(box: Box, *numbers: int) -> Iterator[Tally]:
    """Callers for as long as the block runs; afterwards the tally says how they fared."""
    process = box.spawn(f"{HR}/bin/python", "-P", "-B", f"{TREE}/tests/box/load.py", *map(str, numbers))
    tally = Tally()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        yield tally
        out, _ = process.communicate(timeout=60)
        tally.told = json.loads(out.splitlines()[-1])
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@dataclass
class Person:
    """Somebody with an account in the box."""

    box: Box
    name: str
    venv: str = HR

    @property
    def uid(self) -> int:
        return self.box.who(self.name)[0]

    @property
    def home(self) -> str:
        return self.box.who(self.name)[1]

    def hr(self, *words: str, **more: Any) -> Any:
        return self.box.run(f"{self.venv}/bin/hr", *words, user=self.name, **more)

    def systemctl(self, *words: str) -> Any:
        """As somebody who has logged in."""
        env = {"XDG_RUNTIME_DIR": f"/run/user/{self.uid}"}
        return self.box.run("systemctl", "--user", *words, user=self.name, env=env)

    def show(self, *names: str) -> dict[str, str]:
        """Properties of the service."""
        out = self.systemctl("show", UNIT, "-p", ",".join(names)).out
        return dict(line.partition("=")[::2] for line in out.splitlines())

    def pid(self) -> int:
        return int(self.show("MainPID")["MainPID"])

    def configure(self) -> None:
        folder = f"{self.home}/.config/hermes-router"
        self.box.check("mkdir", "-p", "-m700", folder, user=self.name)
        self.box.put(f"{folder}/.env", settings(), mode=0o600, user=self.name)

    def journal(self, *words: str) -> str:
        return self.box.run("journalctl", "--user-unit", UNIT, "-q", "--no-pager", *words, user=self.name).out


def answers(box: Box) -> bool:
    """Whether a question is answered, over a connection of its own."""
    return asks(box).returncode == 0


def asks(box: Box) -> "subprocess.CompletedProcess[str]":
    words = ["curl", "-sf", "-m", "10", "-H", f"authorization: Bearer {KEY}", "-H", "content-type: application/json",
             "-d", ASK, "http://127.0.0.1:8319/v1/chat/completions"]  # fmt: skip
    return subprocess.run(box.argv(words), capture_output=True, text=True, check=False)
