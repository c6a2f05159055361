"""`python -m bench.restarts`: a detached daemon is restarted again and again under load, and nobody may notice.

Owns the load and its judgement. The providers are the sandbox's. Callers: some on connections that they keep, some on a
fresh one for every request, some with streams of a few seconds, and one that only measures how long a new connection
waits for its answer. Exit code 0 when nothing was refused, failed or cut, and every record was kept.
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.gateways import free_port
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Sandbox
from hermes_router.store.usage import decode_record

KEY = "sk-restarts-0123456789"
HR = Path(sys.executable).with_name("hr")
PROVIDERS = ("groq", "mistral", "cerebras")
PACE_S = 0.04


@dataclass
class Tally:
    """What callers saw. `waits_s` are from the beginning of a new connection to its whole answer."""

    answers: int = 0
    streams: int = 0
    refused: int = 0
    failed: int = 0
    cut: int = 0
    closed: int = 0
    waits_s: list[float] = field(default_factory=list)
    restarts_s: list[float] = field(default_factory=list)
    kept: int = 0
    left: int = 0
    trouble: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.refused or self.failed or self.cut) and self.kept == self.answers + self.streams

    def report(self) -> str:
        said = [
            f"restarts {len(self.restarts_s)}, each {_spread(self.restarts_s)}",
            f"answers {self.answers}, streams {self.streams}, connections closed by `connection: close` {self.closed}",
            f"refused {self.refused}, failed {self.failed}, cut {self.cut}",
            f"new connection to its answer: {_spread(self.waits_s)} over {len(self.waits_s)}",
            f"records kept {self.kept} of {self.answers + self.streams}; processes left {self.left}",
        ]
        return "\n".join([*said, *self.trouble[:5]])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "none"
    ranked = sorted(values)
    return f"median {ranked[len(ranked) // 2]:.3f} s, longest {ranked[-1]:.3f} s"


class Refused(Exception):
    """Nobody accepted the connection."""


class Caller:
    """One caller with at most one connection, which it keeps for as long as the router lets it."""

    def __init__(self, port: int, tally: Tally, *, keep: bool) -> None:
        self.port, self.tally, self.keep = port, tally, keep
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, *, stream: bool, text: str) -> None:
        """One request; what becomes of it is counted."""
        tally = self.tally
        body = {"model": "hermes-router", "stream": stream, "messages": [{"role": "user", "content": text}]}
        try:
            answer = await self.exchange("POST", "/v1/chat/completions", json.dumps(body).encode())
        except Refused as error:
            tally.refused += 1
            tally.trouble.append(f"refused: {error}")
            return
        except (OSError, EOFError, ValueError) as error:
            self.drop()
            if stream:
                tally.cut += 1
            else:
                tally.failed += 1
            tally.trouble.append(f"{'stream' if stream else 'request'}: {error!r}")
            return
        if stream and answer.rstrip().endswith(b"data: [DONE]"):
            tally.streams += 1
        elif not stream and b'"content"' in answer:
            tally.answers += 1
        else:
            tally.cut += stream
            tally.failed += not stream
            tally.trouble.append(answer[-300:].decode(errors="replace"))

    async def exchange(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Send and read one answer, whole. Raises Refused, OSError, EOFError and ValueError."""
        if self.writer is None:
            await self._connect()
        assert self.reader is not None
        assert self.writer is not None
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
        if body:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)
        raw = await self.reader.readuntil(b"\r\n\r\n")
        answer = await self._body(raw.lower())
        if not raw.startswith(b"HTTP/1.1 200"):
            raise ValueError((raw + answer)[:400].decode(errors="replace"))
        if b"\r\nconnection: close" in raw.lower():
            self.tally.closed += 1
            self.drop()
        elif not self.keep:
            self.drop()
        return answer

    async def _connect(self) -> None:
        try:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            raise Refused(str(error)) from None

    async def _body(self, head: bytes) -> bytes:
        assert self.reader is not None
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            return await self.reader.readexactly(int(head[at + 17 :].split(b"\r\n", 1)[0]))
        pieces: list[bytes] = []
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            pieces.append((await self.reader.readexactly(size + 2))[:-2])
            if not size:
                return b"".join(pieces)

    def drop(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


@dataclass
class Load:
    """How many callers of each kind, and how long an answer is."""

    keeping: int = 6
    fresh: int = 4
    streams: int = 8
    words: int = 60


class Trial:
    """One daemon, its providers, and everybody who calls."""

    def __init__(self, home: Path, load: Load) -> None:
        self.home = home
        self.load = load
        self.port = free_port()
        self.tally = Tally()
        self.over = False

    def environment(self, sandbox: Sandbox) -> dict[str, str]:
        env = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "HOME": str(self.home), "PORT": str(self.port)}
        env |= {"PROXY_API_KEYS": KEY, "HERMES_ROUTER_SOCKET": str(self.home / "hr.sock"), "RUNAWAY_GUARD": "off"}
        for name in PROVIDERS:
            upper = name.upper()
            env |= {f"{upper}_BASE_URL": sandbox.base_url(name), f"{upper}_API_KEY": f"key-{name}-0123456789"}
            env[f"{upper}_LIMITS"] = "off"
        return env

    async def run(self, restarts: int, pause_s: float) -> Tally:
        """Restart so many times under load; returns what came of it."""
        said = " ".join(f"word{n}" for n in range(self.load.words))
        fakes = [
            FakeProvider(name, keys={f"key-{name}-0123456789"}, compose=lambda _asked: said, pace_s=PACE_S)
            for name in PROVIDERS
        ]
        async with Sandbox(fakes) as sandbox:
            env = self.environment(sandbox)
            await self.hr(env, "start")
            pids = {self.pid()}
            callers = [asyncio.ensure_future(one) for one in self.callers()]
            try:
                await asyncio.sleep(pause_s)
                for _ in range(restarts):
                    began = time.perf_counter()
                    await self.hr(env, "restart")
                    self.tally.restarts_s.append(time.perf_counter() - began)
                    pids.add(self.pid())
                    await asyncio.sleep(pause_s)
            finally:
                self.over = True
                await asyncio.gather(*callers)
                await self.hr(env, "stop")
        await self.gone(pids)
        self.tally.kept = self.records()
        return self.tally

    async def hr(self, env: dict[str, str], command: str) -> None:
        process = await asyncio.create_subprocess_exec(
            HR, command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.home
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"hr {command} ended with {process.returncode}: {out.decode()}\n{self.log()}")

    def log(self) -> str:
        path = self.home / ".local/state/hermes-router/daemon.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else ""

    def pid(self) -> int:
        return int((self.home / ".local/state/hermes-router/daemon.lock").read_text())

    async def gone(self, pids: set[int], limit_s: float = 5.0) -> None:
        """Wait until no process of ours is left."""
        end = time.monotonic() + limit_s
        while (left := [pid for pid in pids if _alive(pid)]) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        self.tally.left = len(left)

    def records(self) -> int:
        base = sqlite3.connect(self.home / ".local/state/hermes-router/state.db")
        try:
            kept = [decode_record(data.encode()) for (data,) in base.execute("SELECT record FROM exchanges")]
        finally:
            base.close()
        return sum(record.outcome == "answered" for record in kept)

    def callers(self) -> Iterator[Coroutine[Any, Any, None]]:
        load = self.load
        for number in range(load.keeping):
            yield self.call(number, stream=False, keep=True)
        for number in range(load.fresh):
            yield self.call(100 + number, stream=False, keep=False)
        for number in range(load.streams):
            yield self.call(200 + number, stream=True, keep=number % 2 == 0)
        yield self.measure()

    async def call(self, number: int, *, stream: bool, keep: bool) -> None:
        caller, rng = Caller(self.port, self.tally, keep=keep), random.Random(number)
        await asyncio.sleep(rng.random())
        while not self.over:
            await caller.ask(stream=stream, text=f"question {rng.random()} of caller {number}")
            await asyncio.sleep(rng.random() * 0.1)
        caller.drop()

    async def measure(self) -> None:
        while not self.over:
            caller, began = Caller(self.port, self.tally, keep=False), time.perf_counter()
            try:
                await caller.exchange("GET", "/health")
            except Refused as error:
                self.tally.refused += 1
                self.tally.trouble.append(f"refused: {error}")
            except (OSError, EOFError, ValueError) as error:
                self.tally.failed += 1
                self.tally.trouble.append(f"health: {error!r}")
            self.tally.waits_s.append(time.perf_counter() - began)
            await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.restarts", description=__doc__)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two restarts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hr-") as scratch:
        tally = asyncio.run(Trial(Path(scratch), Load()).run(options.restarts, options.pause))
    print(tally.report())
    return 0 if tally.clean else 1


if __name__ == "__main__":
    sys.exit(main())
