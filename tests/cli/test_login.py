"""hermes_router/cli/login.py: logins brought in, made and renewed, told to the person at the terminal."""

import fcntl
import importlib
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_router.control import types as t

from .conftest import Asked, Hr, Script
from .samples import CREDENTIALS, NOW, account

Serve = Callable[..., Script]

WHO = account("acc1", account="work")
WAITING = t.Login(
    id="l 1", state="waiting", route="plan", way="browser", url="https://auth.test/a?state=s", listening=True
)
DONE = t.Login(id="l 1", state="done", route="plan", way="browser", row=WHO)
FAILED = t.Login(id="l 1", state="failed", route="plan", way="browser", code="not_eligible",
                 said="this account cannot lend its plan to apps", next_step="take the other way in")  # fmt: skip
SCREEN = {"DISPLAY": ":0", "SSH_CONNECTION": "", "SSH_TTY": "", "BROWSER": "/bin/true"}
AWAY = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "SSH_CONNECTION": "1"}
PATH = "/v1/accounts/login"


@pytest.fixture
def daemon(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Script:
    """A daemon that takes logins, asked without a pause."""
    monkeypatch.setattr(importlib.import_module("hermes_router.cli.login"), "_LOOK_S", 0.0)
    monkeypatch.setattr(sys, "platform", "linux")
    held = t.Credentials(
        rows=CREDENTIALS.rows,
        providers=[*CREDENTIALS.providers, t.ProviderRow(name="codex", title="Codex", state="no key")],
    )
    return serve({"GET /v1/credentials": held, f"POST {PATH}": WAITING, f"GET {PATH}/l%201": DONE})


# --- import -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("env", "part"), [({}, ".codex/auth.json"), ({"CODEX_HOME": "/srv/c"}, "/srv/c/auth.json")])
def test_a_login_is_brought_in(hr: Hr, serve: Serve, home: Path, env: dict[str, str], part: str) -> None:
    """The file's whole path goes to the daemon; what was shared is said, and the terms stand below."""
    row = account("acc1", origin=str(home / ".codex/auth.json"))
    note = "Routing plan quota through a proxy is a grey area."
    daemon = serve({"POST /v1/accounts/import": t.Imported(row=row, outcome="stored", notes=[note])})
    done = hr("auth", "import-codex", "--account", "work", env={"CODEX_HOME": "", **env})
    assert done.exit_code == 0, done.output
    body = daemon.asks("POST")[0].body
    assert body["path"].startswith("/")
    assert body["path"].endswith(part)
    assert (body["account"], body["read_only"], body["provider"]) == ("work", False, "codex")
    assert "ada@example.test (plus)  stored" in done.stdout
    assert "Shared with the Codex CLI: ~/.codex/auth.json" in done.stdout
    assert f"Note  {note}" in done.stdout
    assert "in use now" in done.stdout


def test_a_login_is_borrowed(hr: Hr, serve: Serve) -> None:
    """--read-only says who renews it; --json prints the answer alone."""
    row = account("acc1", origin="/srv/auth.json", read_only=True)
    daemon = serve({"POST /v1/accounts/import": t.Imported(row=row, outcome="known", said="its label is now x")})
    done = hr("auth", "import-codex", "--read-only")
    assert daemon.asks("POST")[0].body["read_only"] is True
    assert "Borrowed from /srv/auth.json" in done.stdout
    assert "Its label is now x." in done.stdout
    assert json.loads(hr("auth", "import-codex", "--json").stdout)["outcome"] == "known"


def test_a_login_of_no_use_ends_with_three(hr: Hr, serve: Serve) -> None:
    """The daemon's sentence and its next step."""
    problem = t.Problem(code="no_login", message="it is an API-key login", next_step="hr auth add openai", exit_code=3)
    serve({"POST /v1/accounts/import": problem})
    done = hr("auth", "import-codex")
    assert done.exit_code == 3
    assert "API-key login" in done.stderr


# --- login --------------------------------------------------------------------------------------------


def routes(daemon: Script) -> list[tuple[str, str]]:
    """Route and way of each login that was begun."""
    return [(one.body["route"], one.body["way"]) for one in daemon.asks("POST") if one.path == PATH]


def test_a_login_by_browser_takes_the_plan_route_first(hr: Hr, daemon: Script) -> None:
    """The address is shown, and who is logged in; nothing else is on standard output."""
    done = hr("auth", "login", "codex", "--account", "work", env=SCREEN)
    assert done.exit_code == 0, done.output
    assert routes(daemon) == [("plan", "browser")]
    assert daemon.asks("POST")[0].body["account"] == "work"
    assert "Continue with ChatGPT" in done.stderr
    assert WAITING.url in done.stderr
    assert done.stdout.startswith("Logged in as work (plus), backend route\n")


def test_an_account_that_cannot_lend_its_plan_goes_on_over_the_backend(hr: Hr, daemon: Script) -> None:
    """Said, and only where no route was asked for."""
    daemon.answers[f"POST {PATH}"] = lambda asked: FAILED if asked.body["route"] == "plan" else DONE
    done = hr("auth", "login", "codex", env=SCREEN)
    assert (done.exit_code, routes(daemon)) == (0, [("plan", "browser"), ("backend", "browser")])
    assert "cannot lend its plan to apps: going on over the backend route" in done.stderr
    done = hr("auth", "login", "codex", "--route", "plan", env=SCREEN)
    assert done.exit_code == 3
    assert "Take the other way in." in done.stderr


def test_without_a_screen_it_goes_by_device_code(hr: Hr, daemon: Script) -> None:
    """A code to type anywhere, with the word about phishing; the official way is pointed out."""
    daemon.answers[f"POST {PATH}"] = t.Login(
        id="l 1",
        state="waiting",
        route="backend",
        way="device",
        url="https://auth.test/codex/device",
        user_code="AB-12",
    )
    done = hr("auth", "login", "codex", env=AWAY)
    assert (done.exit_code, routes(daemon)) == (0, [("backend", "device")])
    for part in ("AB-12", "https://auth.test/codex/device", "Never type a code", "--route plan"):
        assert part in done.stderr
    hr("auth", "login", "codex", "--route", "plan", env=AWAY)
    hr("auth", "login", "codex", "--browser", env=AWAY)
    assert routes(daemon)[1:] == [("plan", "browser"), ("plan", "browser")]
    done = hr("auth", "login", "codex", "--device", "--route", "plan")
    assert (done.exit_code, len(routes(daemon))) == (2, 3)


def test_a_port_in_use_is_said(hr: Hr, daemon: Script) -> None:
    """The address can be copied all the same."""
    daemon.answers[f"POST {PATH}"] = t.Login(
        id="l 1", state="waiting", route="plan", way="browser", url="https://a.test"
    )
    assert "in use by another program" in hr("auth", "login", "codex", env=SCREEN).stderr


def test_a_login_as_json(hr: Hr, daemon: Script) -> None:
    """The account, and nothing beside it."""
    assert json.loads(hr("auth", "login", "codex", "--json", env=SCREEN).stdout)["tail"] == "acc1"
    assert routes(daemon)


@pytest.mark.parametrize(("code", "exit_code"), [("refused", 3), ("disabled", 3), ("expired", 1), ("failed", 1)])
def test_a_login_that_fails(hr: Hr, daemon: Script, code: str, exit_code: int) -> None:
    """3 where something refused, 1 else; with what happened and what to do."""
    daemon.answers[f"GET {PATH}/l%201"] = t.Login(
        id="l 1", state="failed", route="plan", way="browser", code=code, said="no \x1b[31mway", next_step="try again"
    )
    done = hr("auth", "login", "codex", env=SCREEN)
    assert done.exit_code == exit_code
    assert done.stderr.endswith("hr: No way.\n    Try again.\n")


@pytest.mark.parametrize(("provider", "said"), [("groq", "takes a key"), ("nobody", "no provider")])
def test_only_providers_of_accounts_take_logins(hr: Hr, daemon: Script, provider: str, said: str) -> None:
    """A provider of keys is told how its keys are added."""
    done = hr("auth", "login", provider)
    assert (done.exit_code, daemon.asks("POST")) == (2, [])
    assert said in done.stderr.lower()


def test_a_login_that_is_left_is_given_up(hr: Hr, daemon: Script) -> None:
    """Ctrl-C ends the daemon's part, too."""

    def interrupt(_asked: Asked) -> Any:
        daemon.answers[f"DELETE {PATH}/l%201"] = t.Done(said=["gone"])
        raise KeyboardInterrupt

    module = importlib.import_module("hermes_router.cli.login")
    before = module._pasted
    module._pasted = lambda: interrupt(daemon.asked[-1])
    try:
        done = hr("auth", "login", "codex", env=SCREEN)
    finally:
        module._pasted = before
    assert done.exit_code == 130
    assert [one.path for one in daemon.asks("DELETE")] == [f"{PATH}/l%201"]


def test_an_address_is_pasted_at_a_terminal(daemon: Script, home: Path) -> None:
    """What is no address is said to be none, and the login goes on; the right one ends it."""
    pasted: list[str] = []

    def take(asked: Asked) -> Any:
        pasted.append(asked.body["text"])
        if "code=" in asked.body["text"]:
            return DONE
        return t.Problem(code="unreadable", message="this is not the address", next_step="copy all", exit_code=2)

    daemon.answers[f"POST {PATH}/l%201"] = take
    daemon.answers[f"GET {PATH}/l%201"] = WAITING
    outer, inner = pty.openpty()

    def become() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    environ = {"HOME": str(home), "HERMES_ROUTER_SOCKET": str(home / "s"), "PATH": os.environ["PATH"],
               "PYTHONPATH": os.pathsep.join(sys.path), "SSH_CONNECTION": "1"}  # fmt: skip
    command = [sys.executable, "-m", "hermes_router.cli", "auth", "login", "codex", "--browser"]
    if not (Path(importlib.import_module("hermes_router.cli").__file__ or "").parent / "__main__.py").exists():
        command[1:3] = ["-c", "from hermes_router.cli.main import main; main()"]
    with subprocess.Popen(
        command,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        preexec_fn=become,  # noqa: PLW1509 - no thread of ours holds a lock
        env=environ,
    ) as process:
        os.close(inner)
        os.write(outer, b"hello\nhttp://127.0.0.1/auth/callback?code=c&state=s\n")
        seen = b""
        while True:
            try:
                chunk = os.read(outer, 65_536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        assert process.wait(20) == 0, seen
    os.close(outer)
    assert pasted == ["hello", "http://127.0.0.1/auth/callback?code=c&state=s"]
    assert b"this is not the address" in seen.lower()
    assert b"Logged in as work" in seen


# --- refresh ------------------------------------------------------------------------------------------


def test_accounts_are_renewed_on_demand(hr: Hr, daemon: Script) -> None:
    """Each with what became of it; an ended login is a 3, a failure for now a 1."""
    row = account("acc1", expires_at=NOW + 864_000)
    daemon.answers["POST /v1/accounts/refresh"] = t.Refreshed(
        rows=[t.RefreshedRow(row=row, outcome="refreshed"), t.RefreshedRow(row=WHO, outcome="kept", said="borrowed")]
    )
    done = hr("auth", "refresh", "codex", "work")
    assert done.exit_code == 0, done.output
    assert daemon.asks("POST")[0].body == {"provider": "codex", "which": "work"}
    assert "ada@example.test  refreshed, its token lasts until 1 Dec" in done.stdout
    assert "work  kept: borrowed" in done.stdout
    for outcome, code in (("ended", 3), ("failed", 1)):
        daemon.answers["POST /v1/accounts/refresh"] = t.Refreshed(
            rows=[t.RefreshedRow(row=row, outcome=outcome, said="no")]
        )
        assert hr("auth", "refresh", "codex").exit_code == code
    assert json.loads(hr("auth", "refresh", "codex", "--json").stdout)["rows"][0]["outcome"] == "failed"
