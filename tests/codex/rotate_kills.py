"""The router and a fake official CLI refresh one login at random, and either is killed at random: who is logged out?

    PYTHONPATH=. python tests/codex/rotate_kills.py [ROUNDS] [SEED]

Every process is a real one, killed with SIGKILL; files, locks and fsync are real; the authorisation server is a process
of its own that rotates and detects reuse. A login may only be lost in the window of whoever spends a refresh token: from
the server's answer until what it answered is on the disk. That window is measured and printed.
"""

import asyncio
import fcntl
import http.client
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from aiohttp import web

from hermes_router.core.accounts import CodexAccount, RefreshFailed, Tokens
from hermes_router.engine.refreshing import Refresher
from hermes_router.engine.tasks import Supervisor
from hermes_router.store.cli_login import CliHome, read_login
from hermes_router.store.tokens import TokenFile
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.oauth import refresh

_SPEC = spec_from_file_location("auth_server", Path(__file__).with_name("auth_server.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
fake = sys.modules.setdefault("auth_server", module_from_spec(_SPEC))
_SPEC.loader.exec_module(fake)


class Quiet:
    """A log for nobody."""

    def info(self, *_: object, **__: object) -> None: ...

    warning = error = debug = info


class Wall:
    now = staticmethod(time.time)
    mono = staticmethod(time.monotonic)


# --- the server ---------------------------------------------------------------------------------------


def serve(pipe: int, seed: int) -> None:
    rng = random.Random(seed)
    issuer = fake.Issuer(time.time)
    answered: dict[str, float] = {}  # when what replaced a token was made

    async def token(request: web.Request) -> web.Response:
        try:
            asked = await request.json()
        except ConnectionError:
            return web.Response(status=400)  # whoever asked was killed in mid-sentence
        await asyncio.sleep(rng.random() * 0.004)
        spent = asked["refresh_token"]
        status, body = issuer.spend(spent)
        if status == 200:
            answered[body["refresh_token"]] = time.time()
        await asyncio.sleep(rng.random() * 0.004)
        return web.json_response(body, status=status)

    async def login(_: web.Request) -> web.Response:
        issuer.families.clear()
        return web.json_response(issuer.login())

    async def state(_: web.Request) -> web.Response:
        current = issuer.families[0].current
        return web.json_response(
            {
                "current": current,
                "made_at": answered.get(current, 0.0),
                "spends": issuer.spends,
                "refused": issuer.refusals,
            }
        )

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/oauth/token", token)
        app.router.add_post("/login", login)
        app.router.add_get("/state", state)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        os.write(pipe, b"%d\n" % runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    data = json.dumps(body).encode() if body is not None else None
    connection.request(method, path, data, {"content-type": "application/json"})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


# --- who refreshes ------------------------------------------------------------------------------------


class Yard:
    """Where the two homes are, and how the router's process is made."""

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port = root, port
        self.cli = root / ".codex" / "auth.json"
        self.cli.parent.mkdir()
        self.notes = root / "notes"

    def file(self) -> TokenFile:
        return TokenFile(self.root / "data" / "codex-accounts.json", now=time.time)

    def begin(self) -> None:
        """Log in with the CLI, and bring that in."""
        _, tokens = ask(self.port, "POST", "/login")
        self.cli.write_text(fake.auth_json(tokens))
        self.file().put(read_login(self.cli).account(now=time.time()))

    def note(self, **said: object) -> None:
        with self.notes.open("a") as notes:
            notes.write(json.dumps(said) + "\n")

    async def router(self, *, renews: bool) -> None:
        loop = asyncio.get_running_loop()
        file, transport = self.file(), HttpTransport(loop, max_idle_per_host=0)
        times: dict[str, float] = {}
        replace = file.replace

        async def send(account: CodexAccount) -> Tokens:
            tokens = await refresh(transport, f"http://127.0.0.1:{self.port}/oauth/token", account)
            times["answer"] = time.time()
            return tokens

        def timed(account: CodexAccount, expected: Any) -> bool:
            done = replace(account, expected)
            times["kept"] = time.time()
            return done

        file.replace = timed  # type: ignore[method-assign]
        made = Refresher(
            file, CliHome(), send, clock=Wall(), rng=random.Random(), log=Quiet(), flights=Supervisor(Quiet())
        )
        made.load(file.read())
        await made.look()
        for account in made.accounts():
            if renews:
                try:
                    await made.refresh(account.id)
                except RefreshFailed as failure:
                    self.note(router=failure.code)
        if "answer" in times and "kept" in times:
            self.note(window_s=times["kept"] - times["answer"])

    def official(self, *, locks: bool) -> None:
        """As the CLI does it: read, POST, write over. It reads again where it hears that it was too late."""
        lock = os.open(self.cli.with_name("auth.json.lock"), os.O_RDWR | os.O_CREAT, 0o600) if locks else -1
        if locks:
            fcntl.flock(lock, fcntl.LOCK_EX)
        held = json.loads(self.cli.read_text())
        spent = held["tokens"]["refresh_token"]
        status, body = ask(
            self.port,
            "POST",
            "/oauth/token",
            {"grant_type": "refresh_token", "client_id": "app", "refresh_token": spent},
        )
        began = time.time()
        if status == 200:
            for name in ("id_token", "access_token", "refresh_token"):
                held["tokens"][name] = body[name]
            held["last_refresh"] = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
            handle = os.open(self.cli, os.O_WRONLY | os.O_TRUNC)
            os.write(handle, json.dumps(held, indent=2).encode())
            os.fsync(handle)
            self.note(cli_window_s=time.time() - began)
        else:
            self.note(cli=body["error"]["code"])


def fork(work: Any) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001 - a child has nobody to tell
        sys.stderr.write(f"child: {error!r}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


# --- the rounds ---------------------------------------------------------------------------------------


OUTSIDE = "logouts outside the window"


def main(rounds: int, seed: int) -> dict[str, Any]:  # noqa: PLR0912 - a round is one story
    """Play; returns what is printed."""
    rng = random.Random(seed)
    root = Path(tempfile.mkdtemp(prefix="rotate-"))
    reads, writes = os.pipe()
    server = fork(lambda: serve(writes, seed))
    counts: Counter[str] = Counter()
    widths: list[float] = []
    lost_after: list[float] = []
    try:
        yard = Yard(root, int(os.read(reads, 16)))
        yard.begin()
        for _ in range(rounds):
            yard.notes.unlink(missing_ok=True)
            with_cli, locks = rng.random() < 0.6, rng.random() < 0.5
            children = {fork(lambda: asyncio.run(yard.router(renews=True))): "router"}
            if with_cli:
                time.sleep(rng.random() * 0.02)
                children[fork(partial(yard.official, locks=locks))] = "cli"
            killed = {}
            for pid, who in children.items():
                if rng.random() < (0.5 if who == "router" else 0.25):
                    time.sleep(rng.random() * 0.03)
                    os.kill(pid, signal.SIGKILL)
                    killed[who] = time.time()
            for pid, who in children.items():
                _, status = os.waitpid(pid, 0)
                if os.WIFSIGNALED(status):
                    counts[f"killed {who}"] += 1
                elif status:
                    counts[f"failed {who}"] += 1
                    killed.pop(who, None)
                else:
                    killed.pop(who, None)
            counts["rounds"] += 1
            os.waitpid(fork(lambda: asyncio.run(yard.router(renews=False))), 0)  # the next start looks at both homes
            for line in yard.notes.read_text().splitlines() if yard.notes.exists() else ():
                said = json.loads(line)
                widths += [said["window_s"]] if "window_s" in said else []
                counts.update(f"{who}: {said[who]}" for who in ("router", "cli") if who in said)
            _, state = ask(yard.port, "GET", "/state")
            current = state["current"]
            ours = yard.file().read()[0]
            try:
                theirs = json.loads(yard.cli.read_text())["tokens"]["refresh_token"]
            except ValueError:
                theirs = "cut"
            router_in = ours.refresh_token is not None and ours.refresh_token.reveal() == current and ours.dead is None
            cli_in = theirs == current
            if router_in and cli_in:
                counts["both logged in"] += 1
                continue
            # Somebody is out. Was it a kill between the server's answer and the disk?
            after_s = [at - state["made_at"] for at in killed.values()]
            if killed and not router_in and not cli_in:
                counts["lost by a kill inside the window"] += 1
                counts["- of these, killed before the server had rotated what was sent"] += min(after_s) < 0
                lost_after += after_s
            else:
                counts[OUTSIDE] += 1
                print(
                    f"logout: router {router_in}, cli {cli_in}, killed {killed}, state {state['made_at']}",
                    file=sys.stderr,
                )
            yard.begin()
        counts["refreshes"] = ask(yard.port, "GET", "/state")[1]["spends"]
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        os.close(reads)
        os.close(writes)
        shutil.rmtree(root, ignore_errors=True)
    widths.sort()
    found: dict[str, Any] = {OUTSIDE: 0, **counts}
    if widths:
        found["window_ms"] = {
            "median": round(widths[len(widths) // 2] * 1e3, 2),
            "p99": round(widths[int(len(widths) * 0.99)] * 1e3, 2),
            "most": round(widths[-1] * 1e3, 2),
        }
    if lost_after:
        found["lost_kills_ms_after_the_server_rotated"] = [
            round(min(lost_after) * 1e3, 2),
            round(max(lost_after) * 1e3, 2),
        ]
    return found


if __name__ == "__main__":
    arguments = [int(one) for one in sys.argv[1:]]
    began = time.monotonic()
    result = main(*(arguments + [1_000, 7][len(arguments) :]))
    print(json.dumps(result | {"took_s": round(time.monotonic() - began, 1)}, indent=1))
    sys.exit(result[OUTSIDE] > 0)
