"""hermes_router/cli/original/importing.py, takeover.py and command.py: what the original holds, handed to a daemon that answers by script."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from hermes_router.cli.original import importing, takeover
from hermes_router.cli.original import install as original
from hermes_router.control import setup_types as s
from hermes_router.control import types as t

from ..conftest import Asked, Hr, Script

Serve = Callable[..., Script]

KEY, OTHER = "gsk_0123456789abcdef2f9a", "gsk_0123456789abcdef77c1"
CATALOG = s.Catalog(rows=[s.CatalogRow(name="groq", title="Groq", variables=["GROQ_API_KEY"])])
CONFIG = t.Config(rows=[t.ConfigRow(name="ROTATION_MODE", value="round-robin", source="default"),
                        t.ConfigRow(name="LOG_LEVEL", value="debug", source="/c/config.toml")])  # fmt: skip


def added(asked: Asked) -> t.Added:
    rows = [
        t.AddedRow(line=n, outcome="stored", tail=one[-4:], test="ok", models=["a", "b"])
        for n, one in enumerate(asked.body["lines"], 1)
    ]
    return t.Added(provider=asked.body["provider"], rows=rows, store="file")


def adopted(asked: Asked) -> s.AdoptedKey:
    row = t.KeyRow(id="k", name=asked.body["name"], tail=asked.body["tail"], source="stored")
    return s.AdoptedKey(row=row, outcome="stored")


def changed(asked: Asked) -> t.Changed:
    ((name, value),) = asked.body["changes"].items()
    return t.Changed(rows=[t.ChangedRow(name=name, before="", after=value, file="/c")], needs_restart=["PORT"])


@pytest.fixture
def daemon(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Script:
    """It takes everything; nothing else on this machine is an original."""
    monkeypatch.setattr(original, "processes", lambda: iter(()))
    monkeypatch.setattr(original, "_PORT", 1)
    monkeypatch.setattr(original, "_UNITS", ())
    return serve({
        "GET /v1/catalog": CATALOG, "GET /v1/config": CONFIG, "POST /v1/credentials/keep": added,
        "POST /v1/keys/adopt": adopted, "PATCH /v1/config": changed,
    })  # fmt: skip


def put(home: Path, env: str = "", auth: Any = None, name: str = "hermes-router") -> Path:
    directory = home / name
    directory.mkdir()
    (directory / ".env").write_text(env or "CACHE_TTL_SECONDS=1\n")
    if auth is not None:
        (directory / "auth.json").write_text(json.dumps(auth))
    return directory


def test_keys_settings_and_router_keys_go_to_the_daemon(hr: Hr, daemon: Script, home: Path) -> None:
    """Each in its place: keys whole, router keys as digests, settings one by one; nothing secret is shown."""
    put(home, f"ROTATION_MODE=sequential\nPORT=9000\nGROQ_API_KEYS={KEY},{OTHER}\nPROXY_API_KEYS=sk-team-key-0001\n")
    done = hr("auth", "import", columns=80)
    assert done.exit_code == 0, done.output
    sent = {one.path: one.body for one in daemon.asks("POST")}
    assert sent["/v1/credentials/keep"]["lines"] == [KEY, OTHER]
    assert len(sent["/v1/keys/adopt"]["digest"]) == 64
    assert "sk-team-key-0001" not in str(daemon.asked)
    assert [one.body["changes"] for one in daemon.asks("PATCH")] == [{"ROTATION_MODE": "sequential"}, {"PORT": "9000"}]
    assert "PORT  set to 9000; a running daemon needs `hr restart`" in done.stdout
    assert "groq …2f9a  stored, ok, 2 models" in done.stdout
    for secret in (KEY, OTHER, "sk-team-key-0001"):
        assert secret not in done.output
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_dry_run_asks_nobody(hr: Hr, daemon: Script, home: Path) -> None:
    """Only what is there is read: no key is tested, nothing is changed."""
    put(home, f"GROQ_API_KEY={KEY}\nROTATION_MODE=sequential\n")
    done = hr("auth", "import", "--dry-run")
    assert done.exit_code == 0
    assert {one.method for one in daemon.asked} == {"GET"}
    assert "groq …2f9a  found" in done.stdout


def test_what_is_set_here_stays_unless_forced(hr: Hr, daemon: Script, home: Path) -> None:
    """An equal value is no change; another one is the owner's word, and --force overrules it."""
    put(home, "LOG_LEVEL=warning\nROTATION_MODE=Round-Robin\n")
    done = hr("auth", "import")
    assert daemon.asks("PATCH") == []
    assert "LOG_LEVEL  kept: it is debug here; --force sets it to warning" in done.stdout
    assert "ROTATION_MODE  same" in done.stdout
    hr("auth", "import", "--force")
    assert [one.body["changes"] for one in daemon.asks("PATCH")] == [{"LOG_LEVEL": "warning"}]


def test_the_password_of_a_proxy_is_not_shown(
    hr: Hr, daemon: Script, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where it is only found or asked about, nor where another one stands here; agreed to, it is handed on."""
    questions: list[str] = []
    monkeypatch.setattr(importing, "_can_ask", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda question, **_: questions.append(question) or True)
    put(home, "ROTATION_MODE=round-robin\nHTTPS_PROXY=http://ada:canary-word@proxy.test:3128\n")
    assert "canary-word" not in hr("auth", "import", "--dry-run").output
    assert "canary-word" not in hr("auth", "import", "--dry-run", "--json").output
    daemon.answers["PATCH /v1/config"] = t.Changed(
        rows=[t.ChangedRow(name="HTTPS_PROXY", before="", after="***", file="/c")]
    )
    assert "canary-word" not in hr("auth", "import").output
    assert daemon.asks("PATCH")[0].body["changes"]["HTTPS_PROXY"].endswith("proxy.test:3128")
    assert questions == ["Take HTTPS_PROXY (proxy.test:3128)? Requests with your keys go there."]
    daemon.answers["GET /v1/config"] = t.Config(rows=[t.ConfigRow(name="HTTPS_PROXY", value="***", source="/c/.env:1")])
    assert "HTTPS_PROXY  kept: it is *** here; --force sets it to ***" in hr("auth", "import").stdout


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_where_keys_go_is_never_taken_unasked(
    hr: Hr, daemon: Script, home: Path, monkeypatch: pytest.MonkeyPatch, *, asked: bool, force: tuple[str, ...]
) -> None:
    """Base URLs and proxies, each by its name: a no, or nobody to ask, leaves them out and says so; the rest is taken."""
    questions: list[str] = []
    monkeypatch.setattr(importing, "_can_ask", lambda: asked)
    monkeypatch.setattr(click, "confirm", lambda question, **_: bool(questions.append(question)))
    put(
        home, "GROQ_BASE_URL=https://evil.test/v1\nHTTPS_PROXY=evil.test:1\nNO_PROXY=a.test\nROTATION_MODE=sequential\n"
    )
    done = hr("auth", "import", *force)
    assert [one.body["changes"] for one in daemon.asks("PATCH")] == [{"ROTATION_MODE": "sequential"}]
    for name in ("GROQ_BASE_URL", "HTTPS_PROXY", "NO_PROXY"):
        assert f"{name}  left out: it says where your keys are sent" in done.stdout
        assert any(name in one for one in questions) is asked
    found = json.loads(hr("auth", "import", "--json", *force).stdout)
    assert [one["name"] for one in found["outcomes"] if one["outcome"] == "left"] == [
        "GROQ_BASE_URL",
        "HTTPS_PROXY",
        "NO_PROXY",
    ]


def test_the_current_directory_must_be_named(
    hr: Hr, daemon: Script, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cloned repository's `.env` is pointed out, and nothing of it is asked or stored; `.` reads it."""
    here = put(home, f"PROXY_API_KEYS=sk-known-to-all-0001\nGROQ_API_KEY={KEY}\n", name="cloned")
    monkeypatch.chdir(here)
    done = hr("auth", "import")
    assert done.exit_code == 1
    assert "`hr auth import .`" in " ".join(done.stderr.split())
    put(home, "ROTATION_MODE=sequential\n")
    done = hr("auth", "import")
    assert "`hr auth import .`" in " ".join(done.stderr.split())
    assert daemon.asks("POST") == []
    done = hr("auth", "import", ".")
    assert "`hr auth import .`" not in done.stderr
    assert len(daemon.asks("POST")) == 2


def test_one_thing_that_cannot_be_costs_no_other(hr: Hr, daemon: Script, home: Path) -> None:
    """A setting or a key that the daemon refuses is told, and the rest goes on; exit 3 only for what a provider rejects."""
    put(home, f"ROTATION_MODE=sideways\nGROQ_API_KEY={KEY}\nPROXY_API_KEYS=sk-team-key-0001\n")
    bad = t.Problem(code="bad_value", message="ROTATION_MODE must be one of …", exit_code=2)
    daemon.answers["PATCH /v1/config"] = bad
    daemon.answers["POST /v1/keys/adopt"] = t.Problem(code="usage", message="the name is no name", exit_code=2)
    done = hr("auth", "import")
    assert done.exit_code == 0
    assert "ROTATION_MODE  left out: ROTATION_MODE must be one of" in done.stdout
    assert "left out: The name is no name." in done.stdout
    refused = t.AddedRow(
        line=1, outcome="refused", tail="2f9a", test="rejected", said="Groq rejects it; it was not stored"
    )
    daemon.answers["POST /v1/credentials/keep"] = t.Added(provider="groq", rows=[refused])
    done = hr("auth", "import")
    assert done.exit_code == 3
    assert "groq …2f9a  not stored: Groq rejects it\n" in done.stdout


def test_many_keys_go_in_parts(hr: Hr, daemon: Script, home: Path) -> None:
    """The daemon takes so many lines at once."""
    keys = [f"gsk_0123456789abcdef{n:04}" for n in range(takeover._MOST_LINES + 1)]
    put(home, f"GROQ_API_KEYS={','.join(keys)}\n")
    hr("auth", "import", "--json")
    assert [len(one.body["lines"]) for one in daemon.asks("POST")] == [takeover._MOST_LINES, 1]


def test_json_says_it_all(hr: Hr, daemon: Script, home: Path) -> None:
    """Files, outcomes, what was left and why, accounts that wait; nothing else on standard output."""
    directory = put(home, f"GROQ_API_KEY={KEY}\nCACHE_TTL_SECONDS=1\n", {"codex_accounts": [{}]})
    found = json.loads(hr("auth", "import", "--json").stdout)
    assert found["files"] == [str(directory / ".env"), str(directory / "auth.json")]
    assert [(one["kind"], one["outcome"]) for one in found["outcomes"]] == [("key", "stored")]
    assert [one["name"] for one in found["left"]] == ["CACHE_TTL_SECONDS"]
    assert (found["logins_left"], found["changed"]) == (1, True)
    assert KEY not in json.dumps(found)


def test_logins_go_by_the_files_path(hr: Hr, daemon: Script, home: Path) -> None:
    """The daemon reads the tokens itself; both homes of the login are named; the CLI sees none of it."""
    directory = put(home, auth={"codex_accounts": [{"account_id": "a", "access_token": "secret-token"}]})
    row = t.AccountRow(
        provider="codex", id="i", tail="cc-1", email="ada@example.test", origin="/home/ada/.codex/auth.json"
    )
    daemon.answers["POST /v1/accounts/adopt"] = s.AdoptedLogins(
        rows=[s.AdoptedLogin(outcome="stored", tail="cc-1", row=row)], notes=["A grey area."]
    )
    done = hr("auth", "import", "--codex", env={"CODEX_HOME": "/srv/c"})
    assert done.exit_code == 0, done.output
    (asked,) = daemon.asks("POST")
    assert asked.body == {"path": str(directory / "auth.json"), "cli_path": "/srv/c/auth.json"}
    assert "ada@example.test …cc-1  stored: shared with the Codex CLI" in done.stdout
    assert "Note  A grey area." in done.stdout
    assert "do not start the original again" in done.stderr
    assert "secret-token" not in str(daemon.asked)


def test_while_it_runs_no_login_moves(hr: Hr, daemon: Script, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 before anything is asked."""
    put(home, auth={"codex_accounts": [{}]})
    monkeypatch.setattr(importing, "runs", lambda _found: "process 77 runs it")
    done = hr("auth", "import", "--codex")
    assert done.exit_code == 3
    assert "process 77 runs it" in done.stderr
    assert daemon.asked == []


def test_nothing_found_says_where_was_looked(
    hr: Hr, daemon: Script, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 and how to name it."""
    monkeypatch.chdir(home)
    done = hr("auth", "import")
    assert done.exit_code == 1
    assert "`hr auth import DIRECTORY`" in done.stderr


@pytest.mark.parametrize("what", ["nowhere", "empty"])
def test_a_wrong_name_is_a_sentence(hr: Hr, daemon: Script, home: Path, what: str) -> None:
    """A path that is not there, and a directory with neither file."""
    (home / "empty").mkdir()
    done = hr("auth", "import", str(home / what))
    assert done.exit_code in {1, 2}
    assert what in done.stderr
    assert daemon.asked == []


def test_a_file_that_is_none_or_far_too_large_is_refused(
    hr: Hr, daemon: Script, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe would hold us up for ever; nothing was taken."""
    monkeypatch.setattr(importing, "MOST_BYTES", 10)
    large = put(home, "CACHE_TTL_SECONDS=100000\n")
    done = hr("auth", "import", str(large))
    assert done.exit_code == 1
    assert "larger than 4 MB" in done.stderr
    os.mkfifo(home / "pipe")
    done = hr("auth", "import", str(home / "pipe"))
    assert done.exit_code == 1
    assert "is no file" in done.stderr
    assert daemon.asks("POST") == []
