"""`hr setup` and `hr auth import`, whole: a real daemon, providers that judge keys, a terminal that somebody types on."""

import asyncio
import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_router.cli.service.init_system import absence
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

from .home import Home
from .terminal import Terminal

Open = Callable[..., Any]

GROQ, MISTRAL, GEMINI = "gsk_canary_groq_0001", "canarymistralkey0002", "AIzaCanaryGemini0003"
NO_SERVICE = () if absence("system") else ("--no-service",)  # no test leaves a service behind on this machine
REJECTED = "gsk_canary_rejected_0004"
ROUTER_KEY = "sk-canary-team-key-0005"
ENV = f"""PROXY_API_KEYS=sk-my-router-key-1,{ROUTER_KEY}
ROTATION_MODE=sequential
GROQ_API_KEY=gsk_your-key
MISTRAL_API_KEY={MISTRAL} # mine
CACHE_TTL_SECONDS=300
"""
AUTH: dict[str, Any] = {
    "providers": {"groq": [GROQ, REJECTED]},
    "proxy_keys": {ROUTER_KEY: {"name": "team", "rpm": 30}},
}


def pool() -> list[FakeProvider]:
    return [
        FakeProvider("groq", keys={GROQ}),
        FakeProvider("mistral", keys={MISTRAL}),
        FakeProvider("gemini", keys={GEMINI}),
    ]


@pytest.fixture
def begin(home: Open) -> Open:
    """An installation with nothing in it, and no local server to be found whatever runs on this machine."""

    async def opened(*, original: bool = True, auth: Any = AUTH, **env: str) -> Home:
        here: Home = await home(*pool(), LOCAL_ENABLED="0", **env)
        del here.environ["PROXY_API_KEYS"]
        here.environ["COLUMNS"] = "80"
        if original:
            place = here.path / "hermes-router"
            place.mkdir()
            (place / ".env").write_text(ENV)
            (place / "auth.json").write_text(auth if isinstance(auth, str) else json.dumps(auth))
        return here

    return opened


def original_files(here: Home) -> dict[str, tuple[bytes, int]]:
    return {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in (here.path / "hermes-router").iterdir()}


def settled_files(here: Home) -> dict[str, str]:
    """Digests of all that holds keys and settings."""
    places = (here.path / ".config/hermes-router", here.path / ".local/share/hermes-router")
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for place in places for one in place.rglob("*")}


# --- the wizard -----------------------------------------------------------------------------------------


async def test_the_wizard_from_nothing_to_an_answer(begin: Open) -> None:
    """Found keys are offered, typed ones tested and never shown; it ends with an answer, and a key that works."""
    here = await begin(GROQ_API_KEY=GROQ)
    before = original_files(here)
    async with Terminal(here, "setup", *NO_SERVICE) as screen:
        await screen.answer("Take GROQ_API_KEY (…0001) for Groq? [Y/n]")
        await screen.until("groq …0001  stored, ok")
        await screen.answer("Take over 2 keys, 1 router key and 1 setting from ~/hermes-router? [Y/n]", "y")
        passed = await screen.until("Add a key of which provider?")
        assert "groq …0004  not stored: Groq rejects this key" in passed
        assert "mistral …0002  stored, ok" in passed
        assert "ROTATION_MODE  set to sequential" in passed
        screen.type(REJECTED)
        assert "This looks like a key." in await screen.until("asked for, and stays hidden")
        await screen.answer("Add a key of which provider?", "gemini")
        await screen.answer("Key 1:", "AIza_not_a_good_one_00")
        await screen.answer("Key 2:")
        await screen.until("Google Gemini rejects this key")
        await screen.answer("Add a key of which provider?", "Gemini")
        await screen.answer("Key 1:", GEMINI)
        await screen.answer("Key 2:")
        await screen.answer("Add a key of which provider?")
        assert await screen.end() == 0
    shown = screen.shown
    assert "answered in" in shown
    assert "Can answer: gemini, groq and mistral." in shown
    assert "It works." in shown
    for secret in (GROQ, MISTRAL, GEMINI, ROUTER_KEY, "AIza_not_a_good_one_00"):
        assert secret not in screen.raw
    listed = (await here.hr("auth", "list", "--json", code=0)).json["rows"]
    assert {(row["provider"], row["tail"]) for row in listed} == {
        ("groq", "0001"),
        ("mistral", "0002"),
        ("gemini", "0003"),
    }
    status, _ = await here.ask(headers=f"x-api-key: {ROUTER_KEY}\r\n")
    assert status == 200
    assert original_files(here) == before


async def test_the_key_that_is_shown_works_and_is_shown_once(begin: Open) -> None:
    """Where the default key stands one is made, and stands in every snippet; the next run makes no other."""
    here = await begin(original=False, GROQ_API_KEY=GROQ)
    first = await here.hr("setup", "--yes", code=0)
    key = next(line.strip() for line in first.out.splitlines() if line.strip().startswith("sk-hr-"))
    assert f"api_key: {key}" in first.out
    assert f"ANTHROPIC_AUTH_TOKEN={key}" in first.out
    assert f'base_url: "http://localhost:{here.port}/v1"' in first.out
    status, _ = await here.ask(headers=f"x-api-key: {key}\r\n")
    assert status == 200
    second = await here.hr("setup", "--yes", code=0)
    assert "sk-hr-" not in second.out
    assert f"Programs show one of: setup (…{key[-4:]})" in second.out


async def test_every_line_fits_and_no_colour_is_forced(begin: Open) -> None:
    """On 80 columns nothing of ours is wider; with NO_COLOR nothing is coloured."""
    here = await begin(original=False, GROQ_API_KEY=GROQ)
    async with Terminal(here, "setup", "--yes", NO_COLOR="1") as screen:
        assert await screen.end() == 0
    assert "\x1b[" not in screen.raw
    ours = [
        line for line in screen.shown.splitlines() if "authorization: Bearer" not in line and "hr start" not in line
    ]
    wide = [line for line in ours if len(line) > 80 and "`hr status` shows it" not in line]
    assert wide == []


async def test_ctrl_c_keeps_what_was_done(begin: Open) -> None:
    """Exit 130 and a word of comfort; the next run does not ask for what is there."""
    here = await begin(GROQ_API_KEY=GROQ)
    async with Terminal(here, "setup", *NO_SERVICE) as screen:
        await screen.answer("Take GROQ_API_KEY")
        await screen.until("Take over 2 keys")
        assert await screen.interrupt() == 130
    assert "What was done is kept; `hr setup` goes on from here." in screen.shown
    assert "Traceback" not in screen.shown
    async with Terminal(here, "setup", *NO_SERVICE) as again:
        passed = await again.until("Take over 2 keys")
        assert "Take GROQ_API_KEY" not in passed
        assert "GROQ_API_KEY in the environment (…0001), kept here already." in passed
        again.type("n")
        await again.answer("Add a key of which provider?")
        assert await again.end() == 0


async def test_without_a_terminal_yes_is_needed(begin: Open) -> None:
    """Exit 2, one sentence on each; nothing was started."""
    here = await begin(original=False)
    done = await here.hr("setup", code=2)
    assert "standard input is no terminal" in done.err
    assert "`hr setup --yes`" in done.err
    assert "--json goes with --yes" in " ".join((await here.hr("setup", "--json", code=2)).err.split())
    assert here.daemons() == []


async def test_yes_takes_what_is_there_and_twice_is_once(begin: Open) -> None:
    """Keys of the environment and of the original, never a login; the second run changes no file."""
    login = here_login()
    here = await begin(auth=AUTH | {"codex_accounts": [login]}, GEMINI_API_KEY=GEMINI, OPENAI_API_KEY="sk-your-key")
    cli = here.path / ".codex"
    cli.mkdir()
    (cli / "auth.json").write_text(json.dumps({"tokens": {**login, "id_token": ""}}))
    first = (await here.hr("setup", "--yes", "--json", code=0)).json
    assert first["answered"]
    assert first["run"] == "detached"
    assert first["target"].partition("/")[0] in {"gemini", "groq", "mistral"}
    outcomes = {(one["kind"], one["name"], one["tail"]): one["outcome"] for one in first["outcomes"]}
    assert outcomes["key", "groq", "0004"] == "refused"
    assert outcomes["key", "gemini", "0003"] == "stored"
    assert outcomes["router_key", "team", "0005"] == "stored"
    assert (await here.hr("auth", "list", "--json", code=0)).json["accounts"] == []
    before = settled_files(here)
    second = await here.hr("setup", "--yes", code=0)
    assert settled_files(here) == before
    assert "OPENAI_API_KEY: an example stands there, not a key." in second.out
    assert "openai" not in second.out.partition("Can answer:")[2].partition(".")[0]
    for secret in (GROQ, MISTRAL, GEMINI, REJECTED, ROUTER_KEY):
        assert secret not in second.out + second.err


def here_login() -> dict[str, Any]:
    return {
        "account_id": "acc-77",
        "access_token": "a.b.c",
        "refresh_token": "rt",
        "last_refresh": "2026-11-01T00:00:00Z",
    }


async def test_with_nothing_to_take_it_says_where_to_sign_up(begin: Open) -> None:
    """The router runs all the same; exit 1, and the next step names a free provider."""
    here = await begin(original=False)
    done = await here.hr("setup", "--yes", code=1)
    assert "No provider has a key yet, so nothing can answer." in done.out
    assert "https://" in done.out.partition("hr auth add")[2]
    assert len(here.daemons()) == 1


async def test_a_kill_in_the_midst_costs_nothing(begin: Open) -> None:
    """kill -9 while a provider is asked: what was stored before stays whole, and the next run comes to its end."""
    here = await begin(GROQ_API_KEY=GROQ)
    mistral = here.sandbox.providers["mistral"]
    mistral.behave(faults.silent(), None, route="models")
    async with Terminal(here, "setup", "--yes") as screen:
        await screen.until("Testing 1 key at Mistral")
        os.killpg(screen.process.pid, signal.SIGKILL)
        await screen.end()
    mistral.script.clear()
    await asyncio.to_thread(_until, lambda: here.daemons() == [])
    held = (await here.hr("auth", "list", "--json", code=0)).json["rows"]
    assert ("groq", "0001") in {(row["provider"], row["tail"]) for row in held}
    done = (await here.hr("setup", "--yes", "--json", code=0)).json
    assert done["answered"]
    assert {("groq", "0001"), ("mistral", "0002")} <= {
        (row["provider"], row["tail"]) for row in (await here.hr("auth", "list", "--json", code=0)).json["rows"]
    }


def _until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


async def test_a_local_server_at_a_usual_address_is_used(home: Open) -> None:
    """It is found by its list of models, taken, and answers."""
    server, port = _toy_server()
    if server is None:
        pytest.skip("all usual ports of local servers are in use here")
    with server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            here = await home("groq")
            del here.environ["PROXY_API_KEYS"]
            done = (await here.hr("setup", "--yes", "--json", code=0)).json
        finally:
            server.shutdown()
    assert done["target"] == "local/toy-1"
    assert done["answer"] == "I am ready."
    config = (await here.hr("config", "get", "LOCAL_BASE_URL", code=0)).out.strip()
    assert config == f"http://localhost:{port}/v1"


class _Toy(http.server.BaseHTTPRequestHandler):
    """A server with one model, as llama.cpp has it."""

    def do_GET(self) -> None:
        self._send("application/json", json.dumps({"object": "list", "data": [{"id": "toy-1", "object": "model"}]}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        chunk = {"id": "c", "object": "chat.completion.chunk", "model": "toy-1", "created": 1}
        parts = [{"delta": {"role": "assistant", "content": "I am ready."}, "index": 0, "finish_reason": None},
                 {"delta": {}, "index": 0, "finish_reason": "stop"}]  # fmt: skip
        events = [f"data: {json.dumps(chunk | {'choices': [one]})}\n\n" for one in parts]
        self._send("text/event-stream", "".join([*events, "data: [DONE]\n\n"]))

    def _send(self, kind: str, text: str) -> None:
        self.send_response(200 if "/v1/" in self.path else 404)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


def _toy_server() -> tuple[Any, int]:
    for port in (1234, 8000, 8080, 11434):
        try:
            return http.server.ThreadingHTTPServer(("127.0.0.1", port), _Toy), port
        except OSError:
            continue
    return None, 0


# --- the original router --------------------------------------------------------------------------------


async def test_everything_is_taken_over_and_callers_go_on(begin: Open) -> None:
    """Keys, router keys with their limits, settings; what is left out is named; exit 3 for the rejected key."""
    here = await begin()
    before = original_files(here)
    looked = await here.hr("auth", "import", "--dry-run", code=0)
    assert "Nothing was asked, and nothing changed." in looked.out
    assert (await here.hr("auth", "list", "--json", code=0)).json["rows"] == []
    done = await here.hr("auth", "import", code=3)
    assert "groq …0004  not stored: Groq rejects this key" in done.out
    assert "CACHE_TTL_SECONDS: answers are not kept to be given twice." in done.out
    assert "is an example, not a key" in done.out
    (team,) = [
        row for row in (await here.hr("key", "list", "--json", code=0)).json["rows"] if row["source"] == "stored"
    ]
    assert (team["name"], team["tail"], team["rpm"]) == ("team", "0005", 30)
    assert (await here.hr("config", "get", "ROTATION_MODE", code=0)).out.strip() == "sequential"
    files = settled_files(here)
    again = await here.hr("auth", "import", code=3)
    assert "Nothing is new" in again.out
    assert settled_files(here) == files
    assert original_files(here) == before
    await here.hr("start", code=0)
    status, _ = await here.ask(headers=f"x-api-key: {ROUTER_KEY}\r\n")
    assert status == 200
    written = b"".join(one.read_bytes() for one in (here.path / ".local").rglob("*") if one.is_file())
    assert ROUTER_KEY.encode() not in written


async def test_a_damaged_file_is_a_sentence(begin: Open) -> None:
    """Exit 1, the file's name, what to do; nothing was taken from there, and it stays as it is."""
    here = await begin(auth='{"providers": {"groq": ["gsk_ca')
    before = original_files(here)
    done = await here.hr("auth", "import", code=1)
    assert "auth.json is damaged" in " ".join(done.err.split())
    assert "`hr auth import ~/hermes-router/.env`" in done.err
    assert (await here.hr("auth", "list", "--json", code=0)).json["rows"] == []
    assert original_files(here) == before
    alone = await here.hr("auth", "import", str(here.path / "hermes-router/.env"), code=0)
    assert "mistral …0002  stored, ok" in alone.out
    wizard = await here.hr("setup", "--yes", code=0)
    assert "auth.json is damaged" in " ".join(wizard.out.split())


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Run something that looks like the original's process from outside."""
    running = []

    def started(directory: Path, script: str = "import time\ntime.sleep(600)\n") -> subprocess.Popen[bytes]:
        (directory / "router.py").write_text(script)
        running.append(subprocess.Popen([sys.executable, "router.py"], cwd=directory))
        return running[-1]

    yield started
    for process in running:
        process.kill()
        process.wait()


async def test_logins_are_refused_while_the_original_runs(begin: Open, stand_in: Any) -> None:
    """Exit 3 before anything is taken, for its process, and for the pid that it noted; then it is stopped, and goes."""
    here = await begin(auth=AUTH | {"codex_accounts": [here_login()]})
    place = here.path / "hermes-router"
    process = stand_in(place)
    _until(lambda: b"router.py" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
    refused = await here.hr("auth", "import", "--codex", code=3)
    assert f"process {process.pid} runs it" in " ".join(refused.err.split())
    assert "log each other out" in " ".join(refused.err.split())
    assert (await here.hr("auth", "list", "--json", code=0)).json["rows"] == []
    assert "1 ChatGPT account left where they are" in (await here.hr("auth", "import", code=3)).out
    process.kill()
    process.wait()
    (place / "router.pid").write_text(f"{process.pid}\n")  # left behind by a crash
    done = await here.hr("auth", "import", "--codex", code=3)  # for the rejected key
    assert "…c-77  stored" in done.out
    assert "do not start the original again" in done.err
    (row,) = (await here.hr("auth", "list", "--json", code=0)).json["accounts"]
    assert (row["tail"], row["origin"]) == ("c-77", "")


async def test_a_port_held_by_the_original_is_said(begin: Open, stand_in: Any) -> None:
    """Everything is taken over; the start says who holds the port and what to do, and the run ends with its code."""
    here = await begin()
    script = f"""
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{{"status": "ok", "providers": ["groq"]}}'
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", {here.port}), H).serve_forever()
"""
    stand_in(here.path / "hermes-router", script)
    await asyncio.to_thread(_until, lambda: _listens(here.port))
    done = await here.hr("setup", "--yes")
    assert done.code not in {0, 2}
    said = " ".join(done.out.split())
    assert "Stop the original hermes-router" in said
    assert "Traceback" not in done.out + done.err
    assert "Not yet: what was done is kept" in said


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
