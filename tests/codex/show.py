"""Shows ChatGPT accounts from the import to the failover, with the real `hr` and daemon, all against the fakes.

`python -m tests.codex.show`: the official CLI's login is brought in, two people log in (by browser over the plan route, by
device code over the backend), the accounts are drained one after another, a full window is failed over. It ends with 1
where one of the promises does not hold. `browse URL` is the browser.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
FULL_AFTER = 3  # requests, until an account's five hours are full


def browse(url: str) -> None:
    """A person who agrees to everything."""
    with urllib.request.urlopen(url, timeout=30) as page:
        page.read()


class Show:
    """The fakes, and `hr` with a home of its own. `said` is all that `hr` printed; `lines` the daemon's log."""

    def __init__(self, home: Path, *, quiet: bool = False) -> None:
        from .auth_server import auth_json  # noqa: PLC0415 - the browser needs none of it
        from .backend import Account, FakeBackend  # noqa: PLC0415
        from .sign_in_server import Person, SignInServer  # noqa: PLC0415

        self.home = home
        self.quiet = quiet
        self.said = ""
        self.person, self.auth_json = Person, auth_json
        self.fake = SignInServer(time.time, any_port=True, polls_before_typed=1)
        self.accounts = {
            name: Account(name, cost=100 / FULL_AFTER, resets_at=int(time.time()) + 4 * 3600)
            for name in ("acc-cli", "acc-plan", "acc-device")
        }

        def accept(token: str) -> Any:
            family = self.fake.issuer.accepts(token)
            return self.accounts[family.account_id] if family is not None else None

        self.backend = FakeBackend(accept, time.time)
        self.env: dict[str, str] = {}
        self.port = _free_port()

    async def start(self) -> None:
        """The fakes on loopback, the official CLI logged in."""
        from aiohttp import web  # noqa: PLC0415

        roots = []
        self.runners = []
        for app in (self.fake.app(), self.backend.app()):
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            self.runners.append(runner)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            roots.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        self.fake.root = roots[0]
        tokens = self.fake.issuer.login("acc-cli", user_id="u-cli", email="cli@example.test", plan="pro")
        (self.home / ".codex").mkdir(parents=True)
        (self.home / ".codex" / "auth.json").write_text(self.auth_json({**tokens, "account_id": "acc-cli"}))
        self.env = {
            "HOME": str(self.home), "PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "TERM": "dumb",
            "COLUMNS": "118", "PYTHONUTF8": "1", "SECRET_STORE": "file", "PORT": str(self.port),
            "CODEX_AUTH_URL": roots[0], "CODEX_BASE_URL": f"{roots[1]}/backend-api/codex",
            "CODEX_USAGE_URL": f"{roots[1]}/backend-api/wham/usage", "OPENAI_BASE_URL": f"{roots[1]}/v1",
            "CODEX_MODEL": "gpt-5.5", "DISPLAY": ":0", "BROWSER": f"{sys.executable} {Path(__file__)} browse %s",
        }  # fmt: skip

    async def stop(self) -> None:
        """Nothing is left behind."""
        await self.hr("stop", check=False)
        for runner in self.runners:
            await runner.cleanup()

    def tell(self, text: str) -> None:
        """A line of the show."""
        self.said += text + "\n"
        if not self.quiet:
            print(text, flush=True)

    async def hr(self, *words: str, check: bool = True, env: Mapping[str, str] | None = None) -> str:
        """Run `hr`, and show it."""
        self.tell(f"\n$ hr {' '.join(words)}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from hermes_router.cli.main import main; main()", *words,
            env={**self.env, **(env or {})}, cwd=self.home, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        self.tell(out.decode().rstrip())
        if check and process.returncode:
            raise SystemExit(f"hr {' '.join(words)} ended with {process.returncode}")
        return out.decode()

    async def ask(self) -> tuple[int, str]:
        """One chat through the public port: the status, and who answered."""

        def post() -> tuple[int, str]:
            body = json.dumps({"model": "hermes-router", "messages": [{"role": "user", "content": "hi"}]}).encode()
            headers = {"authorization": "Bearer sk-router-1", "content-type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/chat/completions", body, headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers["x-hermes-attempts"]

        return await asyncio.to_thread(post)

    @property
    def served(self) -> dict[str, int]:
        """How many requests each account has served."""
        return {name: account.served for name, account in self.accounts.items()}

    @property
    def lines(self) -> list[str]:
        """The daemon's log."""
        return (self.home / ".local/state/hermes-router/daemon.log").read_text().splitlines()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def play(show: Show) -> None:
    """The whole story. Raises AssertionError where a promise does not hold."""
    await show.hr("auth", "import-codex", "--account", "cli")
    await show.hr("start")
    show.fake.person = show.person("acc-plan", "u-plan", "ada@example.test", "plus")
    await show.hr("auth", "login", "codex", "--account", "ada")
    show.fake.person = show.person("acc-device", "u-device", "grace@example.test", "plus")
    await show.hr("auth", "login", "codex", "--device", "--account", "grace")
    await show.hr("mode", "sequential")
    show.tell(f"\n{2 * FULL_AFTER} requests, one after another:")
    order: list[str] = []
    for number in range(2 * FULL_AFTER):
        if number == FULL_AFTER + 1:
            full = show.accounts[order[-1]]
            full.used = 100.0  # its owner uses it elsewhere
            show.tell(f"  {full.id} is used up by somebody else meanwhile: nobody has told the router")
        before = show.served
        status, attempts = await show.ask()
        who = next(name for name, count in show.served.items() if count > before[name])
        order.append(who)
        used = f"five hours used {show.accounts[who].used:.0f} %"
        show.tell(f"  {number + 1}: {status}, {who}, {used}" + (", after a refusal" if attempts == "2" else ""))
        assert status == 200, status
    blocks = [who for at, who in enumerate(order) if at == 0 or order[at - 1] != who]
    assert len(blocks) == len(set(blocks)), f"an account was left before it was full: {order}"
    assert all(show.accounts[who].used >= 100 for who in blocks[:-1]), show.served
    await show.hr("auth", "list", "codex")
    await show.hr("status")
    await show.hr("auth", "refresh", "codex", "cli")
    held = json.loads((show.home / ".codex/auth.json").read_text())["tokens"]["refresh_token"]
    assert show.fake.issuer.works(held), "the official CLI was logged out"
    assert not show.fake.issuer.refusals, show.fake.issuer.refusals
    show.tell("\nThe log of that refresh:")
    refreshed: list[str] = []
    for _ in range(100):  # a line is written by a thread of its own
        refreshed = [line for line in show.lines if "event=codex.refreshed" in line]
        if refreshed:
            break
        await asyncio.sleep(0.05)
    for line in refreshed:
        show.tell(f"  {line}")
    assert refreshed
    secrets = [family.current for family in show.fake.issuer.families]
    assert not any(secret in show.said or secret in "\n".join(show.lines) for secret in secrets), "a token was shown"


async def main() -> None:
    """Once, in a home of its own."""
    with tempfile.TemporaryDirectory(prefix="hr-codex-") as home:
        show = Show(Path(home))
        await show.start()
        try:
            await play(show)
        finally:
            await show.stop()
    show.tell("\nEvery promise held.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["browse"]:
        browse(sys.argv[2])
    else:
        asyncio.run(main())
