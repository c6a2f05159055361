"""`python -m bench.quotas`: a real daemon against fake providers that enforce real quotas by the minute.

Owns the load and the comparison: what the daemon's `hr quota` believes stands beside what the providers counted, above
all the 429s that they had to give. Then the daemon is killed with SIGKILL and started again: the ledger must still be
there; and a paid provider's budget is reached in the middle of a stream. Exit code 0 when every promise held.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from bench.gateways import free_port
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.quotas import Quotas
from hermes_router.sandbox.server import Sandbox

KEY = "sk-quotas-0123456789"
HR = Path(sys.executable).with_name("hr")
PAID = "openai"
BUDGET_USD = 0.002
CALLERS, THINK_S = 12, 2.0
# What each allows an account; who tells of it on success and who never says a word is as in facts/providers.md 4.1.
POOL = {
    "groq": Quotas(rpm=30, tpm=8_000, reserve="prompt_cap"),
    "cerebras": Quotas(rpm=30, tpm=60_000, kinds={"tpm": "bucket"}, reserve="cerebras"),
    "gemini": Quotas(rpm=10),
    "mistral": Quotas(rpm=20),
    "openrouter": Quotas(rpm=20, shared=True),
    "zai": Quotas(concurrency=1),
}
KEYS = {"groq": 2, "gemini": 2}


@dataclass
class Seen:
    """What callers saw, by status; and the longest wait for an answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    longest_s: float = 0.0
    cut: int = 0


def _keys(name: str) -> list[str]:
    return [f"key-{name}-0123456789-{n:04}" for n in range(KEYS.get(name, 1))]


class Run:
    """One daemon and its pool."""

    def __init__(self, home: Path, *, paid: bool) -> None:
        self.home, self.port, self.paid = home, free_port(), paid
        self.seen = Seen()
        fakes = [FakeProvider(name, keys=set(_keys(name)), quotas=quotas) for name, quotas in POOL.items()]
        if paid:
            long = " ".join(f"word{n}" for n in range(400))
            fakes = [FakeProvider(PAID, keys=set(_keys(PAID)), compose=lambda _: long, pace_s=0.002)]
        self.sandbox = Sandbox(fakes, clock=time.time)
        self.env: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self.sandbox.start()
        self.env = {
            "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "HOME": str(self.home), "PORT": str(self.port),
            "PROXY_API_KEYS": KEY, "HERMES_ROUTER_SOCKET": str(self.home / "hr.sock"), "COLUMNS": "120",
            "BUDGET_USD_DAY": str(BUDGET_USD) if self.paid else "",
        }  # fmt: skip
        for name in self.sandbox.providers:
            self.env |= {
                f"{name.upper()}_BASE_URL": self.sandbox.base_url(name), f"{name.upper()}_API_KEY": ",".join(_keys(name)),
            }  # fmt: skip
        self.env = {name: value for name, value in self.env.items() if value}
        await self.hr("start")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.hr("stop", "--now", check=False)
        await self.sandbox.stop()

    async def hr(self, *args: str, check: bool = True) -> str:
        done = await asyncio.create_subprocess_exec(
            HR, *args, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.home
        )
        out, _ = await done.communicate()
        if done.returncode and check:
            raise RuntimeError(f"hr {' '.join(args)} ended with {done.returncode}: {out.decode()}")
        return out.decode()

    async def windows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(await self.hr("quota", "--json"))["rows"]
        return found

    def pid(self) -> int:
        return int((self.home / ".local/state/hermes-router/daemon.lock").read_text())

    async def ask(self, session: aiohttp.ClientSession, text: str, **more: object) -> tuple[int, bytes, Any]:
        body = {"model": "hermes-router", "messages": [{"role": "user", "content": text}], **more}
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        async with session.post(url, json=body, headers={"authorization": f"Bearer {KEY}"}) as answer:
            return answer.status, await answer.read(), answer.headers

    async def caller(self, session: aiohttp.ClientSession, number: int, until: float) -> None:
        rng, turn = random.Random(number), 0
        while time.monotonic() < until:
            turn += 1
            began = time.monotonic()
            status, _, _ = await self.ask(session, f"turn {turn} of caller {number}: {rng.random()}", max_tokens=64)
            self.seen.statuses[status] += 1
            self.seen.longest_s = max(self.seen.longest_s, time.monotonic() - began)
            await asyncio.sleep(rng.expovariate(1 / THINK_S))


def _drawn(sandbox: Sandbox, began: float) -> list[str]:
    """The providers' own count: requests and refusals by provider, and by minute."""
    lines, by_minute = [], Counter[int]()
    for name in sandbox.providers:
        mine = [one for one in sandbox.requests if one.provider == name and one.path.endswith("completions")]
        refused = [one for one in mine if one.status == 429]
        by_minute.update(int((one.at - began) // 60) for one in refused)
        lines.append(f"{name:12} {len(mine):5} requests {len(refused):4} of them refused with 429")
    spread = ", ".join(f"minute {at + 1}: {by_minute[at]}" for at in range(max(by_minute, default=0) + 1))
    return [*lines, f"429s by minute: {spread or 'none'}"]


async def quotas(home: Path, seconds: float) -> bool:
    """Load against real quotas, then SIGKILL and a new start."""
    async with Run(home, paid=False) as run:
        began = time.time()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
            end = time.monotonic() + seconds
            await asyncio.gather(*(run.caller(session, number, end) for number in range(CALLERS)))
        asked = sum(run.seen.statuses.values())
        drawn = sum(one.status == 429 for one in run.sandbox.requests)
        print(f"\n== {seconds:.0f} s, {CALLERS} callers: {asked} requests, answers {dict(run.seen.statuses)}, ", end="")
        print(f"longest {run.seen.longest_s:.1f} s")
        print(*_drawn(run.sandbox, began), sep="\n")
        print(f"429s drawn per 1,000 requests: {1000 * drawn / asked:.1f}\n\n$ hr quota\n{await run.hr('quota')}")
        before = await run.windows()
        await asyncio.sleep(1.2)  # the ledger is at most a second behind
        os.kill(run.pid(), signal.SIGKILL)
        await run.hr("start")
        after = await run.windows()

        def known(rows: list[dict[str, Any]]) -> set[tuple[object, ...]]:
            names = ("provider", "whose", "model", "unit", "window", "limit", "source")
            return {tuple(row.get(n) for n in names) for row in rows if row.get("source") in {"told", "learned"}}

        kept = known(before) & known(after)
        print(
            f"== kill -9 and a new start: {len(kept)} of {len(known(before))} told and learned limits are still there"
        )
        return set(run.seen.statuses) == {200} and kept == known(before)


async def budget(home: Path) -> bool:
    """A budget is reached in the middle of a stream: that one ends whole, the next is refused with the truth."""
    async with Run(home, paid=True) as run:
        async with aiohttp.ClientSession() as session:
            told: list[tuple[int, bool]] = []
            for number in range(40):
                status, body, headers = await run.ask(session, f"question {number}", stream=True, max_tokens=600)
                told.append((status, b"[DONE]" in body))
                if status != 200:
                    break
            wait_s = int(headers.get("retry-after", "0"))
            print(f"\n== BUDGET_USD_DAY={BUDGET_USD}: {sum(whole for _, whole in told)} streams ended whole, ", end="")
            print(
                f"then {told[-1][0]}, Retry-After {wait_s} s\n{body.decode()[:400]}\n\n$ hr quota\n{await run.hr('quota')}"
            )
            os.kill(run.pid(), signal.SIGKILL)
            await run.hr("start")
            again, _, _ = await run.ask(session, "after the restart", stream=True, max_tokens=600)
            print(f"== kill -9 and a new start: {again}")
        whole = all(done for status, done in told[:-1] if status == 200)
        return len(told) > 1 and whole and told[-1][0] == again == 429 and 0 < wait_s <= 86_400


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.quotas", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hr-") as one, tempfile.TemporaryDirectory(prefix="hr-") as two:
        held = asyncio.run(quotas(Path(one), options.seconds))
        held = asyncio.run(budget(Path(two))) and held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
