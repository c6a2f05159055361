"""hermes_router/cli/auth.py: keys, none of them ever shown or on the command line."""

import fcntl
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import CREDENTIALS

Serve = Callable[..., Script]

KEY, OTHER = "gsk_0123456789abcdef2f9a", "gsk_0123456789abcdef77c1"
ADDED = t.Added(
    provider="groq",
    rows=[t.AddedRow(line=1, outcome="stored", tail="2f9a", id="i", test="ok", models=["m-1", "m-2"])],
    store="keyring",
)


@pytest.fixture
def daemon(serve: Serve) -> Script:
    return serve({"GET /v1/credentials": CREDENTIALS, "POST /v1/credentials": ADDED})


def test_keys_come_from_a_pipe_one_a_line(hr: Hr, daemon: Script) -> None:
    """Lines go to the daemon as they are, so that it can judge each by its number; the answer shows no key."""
    done = hr("auth", "add", "groq", input=f"\ufeff{KEY}\r\n\n  two words \n{OTHER}\n\n\n")
    assert done.exit_code == 0, done.output
    body = daemon.asks("POST")[0].body
    assert body["lines"] == [KEY, "", "  two words ", OTHER]
    assert (body["provider"], body["test"], body["force"], body["account"]) == ("groq", True, False, None)
    assert KEY not in done.output
    assert "Testing 3 keys at Groq" in done.stderr
    assert "…2f9a  stored, ok" in done.stdout
    assert "2 models: m-1 and m-2" in done.stdout
    assert "Groq: kept in the keyring, in use now." in done.stdout


def test_options_travel(hr: Hr, daemon: Script) -> None:
    """--account, --no-test and --force are the daemon's to obey; a dash or capitals in the name do not matter."""
    done = hr("auth", "add", "GitHub-Models", "--account", "work", "--no-test", "--force", input=KEY)
    assert done.exit_code == 0
    body = daemon.asks("POST")[0].body
    assert (body["provider"], body["account"], body["test"], body["force"]) == ("github_models", "work", False, True)
    assert "Testing" not in done.stderr


def test_the_rest_of_the_line_is_the_command(hr: Hr, daemon: Script) -> None:
    """What follows --command is the other program's, its options included; standard input is not read."""
    done = hr("auth", "add", "groq", "--account", "a", "--command", "pass", "show", "-n", "--force", "groq")
    assert done.exit_code == 0, done.output
    body = daemon.asks("POST")[0].body
    assert body["command"] == ["pass", "show", "-n", "--force", "groq"]
    assert (body["force"], body["lines"], body["account"]) == (False, [], "a")
    assert "the command is kept, what it prints is not" in done.stdout


@pytest.mark.parametrize("arguments", [["--command"], ["--command=op read"]])
def test_a_command_needs_its_words_apart(hr: Hr, daemon: Script, arguments: list[str]) -> None:
    """No command, or one glued to the option, is wrong usage."""
    done = hr("auth", "add", "groq", *arguments)
    assert done.exit_code == 2
    assert "--command PROGRAM" in done.stderr
    assert not daemon.asks("POST")


@pytest.mark.parametrize(
    "arguments",
    [["groq", KEY], [KEY], ["groq", "--account", KEY], ["groq", "--command", "echo", KEY], ["groq", "x"],
     ["0123456789abcdef0123456789abcdef"]],
)  # fmt: skip
def test_a_key_on_the_command_line_is_refused(hr: Hr, daemon: Script, arguments: list[str]) -> None:
    """Exit 2, the reason (ps and history), and the key itself is not repeated anywhere."""
    done = hr("auth", "add", *arguments, input=OTHER)
    assert done.exit_code == 2
    assert "`ps`" in done.stderr
    assert "history" in done.stderr
    assert arguments[-1] not in done.output or arguments[-1] == "x"
    assert not daemon.asks("POST")


def test_an_unknown_provider_gets_a_suggestion(hr: Hr, daemon: Script) -> None:
    """Exit 2, before anybody is asked for a key."""
    done = hr("auth", "add", "grok", input=KEY)
    assert done.exit_code == 2
    assert done.stderr == "hr: No provider is called 'grok'.\n    Did you mean groq?\n"
    assert not daemon.asks("POST")
    assert "hr provider list" in hr("auth", "add", "zzz", input=KEY).stderr


@pytest.mark.parametrize("text", ["", "\n \r\n\n"])
def test_no_key_at_all_is_exit_2(hr: Hr, daemon: Script, text: str) -> None:
    """An empty pipe changes nothing and says so."""
    done = hr("auth", "add", "groq", input=text)
    assert done.exit_code == 2
    assert "No key was given" in done.stderr
    assert not daemon.asks("POST")


def test_a_file_that_is_no_list_of_keys_is_not_sent(hr: Hr, daemon: Script) -> None:
    """More than a megabyte is not read to its end."""
    done = hr("auth", "add", "groq", input=b"x" * (1 << 20) + b"yz")
    assert done.exit_code == 2
    assert not daemon.asks("POST")


def test_bytes_that_are_no_text_are_judged_by_the_daemon(hr: Hr, daemon: Script) -> None:
    """What is no UTF-8 arrives as a line that cannot be a key."""
    hr("auth", "add", "groq", input=b"gsk_\xff\xfe\n" + KEY.encode())
    lines = daemon.asks("POST")[0].body["lines"]
    assert lines[0].startswith("gsk_")
    assert not lines[0].isascii()
    assert lines[1] == KEY


def test_refused_and_faulty_keys_are_exit_3(hr: Hr, daemon: Script) -> None:
    """The good are stored; each bad one is named by its line; notes are shown; the exit code says that not all went in."""
    daemon.answers["POST /v1/credentials"] = t.Added(
        provider="groq",
        rows=[
            t.AddedRow(line=1, outcome="known", tail="2f9a", test="inconclusive", said="the provider did not answer"),
            t.AddedRow(line=2, outcome="faulty", said="it holds spaces"),
            t.AddedRow(line=3, outcome="refused", tail="dead", test="rejected", said="Groq rejects this key"),
        ],
        store="file",
        notes=["Groq, on keys of several accounts: limits belong to the organisation."],
    )
    done = hr("auth", "add", "groq", input=f"{KEY}\na b\n{OTHER}")
    assert done.exit_code == 3
    assert "…2f9a  known, not tested: the provider did not answer" in done.stdout
    assert "line 2  left out: it holds spaces" in done.stdout
    assert "…dead  refused: line 3: Groq rejects this key" in done.stdout
    assert "Note  Groq, on keys of several accounts" in done.stdout
    assert "Groq: in use now." in done.stdout  # nothing new was kept anywhere


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("disabled", "", "Groq: kept in a private file, not in use, since it is disabled: `hr provider enable groq`."),
        ("retired", "retired by its maker", "Groq: kept in a private file, not in use: retired by its maker."),
        ("no key", "", "Groq: kept in a private file, in use now."),
    ],
)
def test_a_key_that_cannot_be_used_is_not_said_to_be(
    hr: Hr, daemon: Script, state: str, reason: str, said: str
) -> None:
    """A provider that the owner disabled, or that is no more, uses no key."""
    row = t.ProviderRow(name="groq", title="Groq", state=state, reason=reason, variables=["GROQ_API_KEY"])
    daemon.answers["GET /v1/credentials"] = t.Credentials(rows=[], providers=[row])
    stored = t.AddedRow(line=1, outcome="stored", tail="2f9a", test="ok")
    daemon.answers["POST /v1/credentials"] = t.Added(provider="groq", rows=[stored], store="file")
    assert said in hr("auth", "add", "groq", input=KEY).stdout


def test_a_provider_without_keys_is_told_before_the_prompt(hr: Hr, daemon: Script) -> None:
    """Nobody is asked for a key that cannot be."""
    row = t.ProviderRow(name="codex", title="Codex", state="no key")
    daemon.answers["GET /v1/credentials"] = t.Credentials(rows=[], providers=[row])
    done = hr("auth", "add", "codex", input=KEY)
    assert (done.exit_code, daemon.asks("POST")) == (2, [])
    assert done.stderr.startswith("hr: Codex takes a login, not a key.\n")


def test_add_as_json(hr: Hr, daemon: Script) -> None:
    """--json prints the answer and nothing beside it."""
    done = hr("auth", "add", "groq", "--json", input=KEY)
    assert json.loads(done.stdout)["rows"][0]["outcome"] == "stored"
    assert done.stderr == ""


def test_a_person_is_told_where_to_sign_up_and_types_hidden(home: Path, daemon: Script) -> None:
    """On a terminal: sign-up and what is free first, several keys until an empty line, and none of them echoed."""
    theirs, ours = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "HERMES_ROUTER_SOCKET": str(daemon.path), "TERM": "xterm"}
    with subprocess.Popen(
        [Path(sys.executable).with_name("hr"), "auth", "add", "groq"],
        stdin=ours, stdout=ours, stderr=ours, env=environ, start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - one ioctl
    ) as process:  # fmt: skip
        os.close(ours)
        seen = _until(theirs, "Key 1")
        assert "https://groq.example/keys" in seen
        assert "30 requests a minute, no card." in seen
        os.write(theirs, f"{KEY}\n".encode())
        seen += _until(theirs, "Key 2")
        os.write(theirs, f"{OTHER}\n".encode())
        seen += _until(theirs, "Key 3")
        os.write(theirs, b"\n")
        seen += _until(theirs, "in use now")
        assert process.wait(10) == 0
    os.close(theirs)
    assert daemon.asks("POST")[0].body["lines"] == [KEY, OTHER]
    assert KEY not in seen
    assert OTHER not in seen


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _until(number: int, text: str) -> str:
    seen = ""
    while text not in seen:
        data = os.read(number, 65536).decode()
        assert data, seen
        seen += data
    return seen


@pytest.mark.parametrize(("end", "code", "sent"), [(b"\x03", 130, False), (b"\x04", 0, True)])
def test_ctrl_c_gives_up_and_ctrl_d_ends_the_list(
    home: Path, daemon: Script, end: bytes, code: int, sent: bool
) -> None:
    """Ctrl-C at the prompt is 130 and nothing is stored; Ctrl-D is an end like the empty line."""
    theirs, ours = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "HERMES_ROUTER_SOCKET": str(daemon.path), "TERM": "xterm"}
    with subprocess.Popen(
        [Path(sys.executable).with_name("hr"), "auth", "add", "groq"],
        stdin=ours, stdout=ours, stderr=ours, env=environ, start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - one ioctl
    ) as process:  # fmt: skip
        os.close(ours)
        _until(theirs, "Key 1")
        os.write(theirs, f"{KEY}\n".encode())
        _until(theirs, "Key 2")
        os.write(theirs, end)
        assert process.wait(10) == code
    os.close(theirs)
    assert bool(daemon.asks("POST")) is sent


# --- list, test, remove, migrate ----------------------------------------------------------------------


def test_list_shows_all_providers(hr: Hr, daemon: Script) -> None:
    """Keys by their last four characters with account, place and state; then the providers without one."""
    done = hr("auth", "list")
    assert done.exit_code == 0
    lines = done.stdout.split("\n")
    assert lines[0].split() == ["PROVIDER", "KEY", "ACCOUNT", "SOURCE", "STATE", "MODELS", "ID"]
    assert lines[1].split() == ["groq", "…2f9a", "work", "keyring", "ready", "2", "id-groq-2f9a"]
    assert "paused (key rejected), next try in 4 min (14:32)" in done.stdout
    assert "github_models" in done.stdout
    assert "https://github_models.example/keys" in done.stdout
    assert "Keys rest in the keyring (Secret Service, unlocked)." in done.stdout
    assert "mistral" not in hr("auth", "list", "groq").stdout
    assert [row["tail"] for row in json.loads(hr("auth", "list", "groq", "--json").stdout)["rows"]] == ["2f9a", "77c1"]
    assert max(map(len, hr("auth", "list", columns=50).stdout.split("\n"))) <= 50


@pytest.mark.parametrize(("verdict", "code"), [("ok", 0), ("inconclusive", 0), ("rejected", 3)])
def test_test_asks_the_providers(hr: Hr, daemon: Script, verdict: str, code: int) -> None:
    """A rejected key is exit 3; all, those of one provider, or one key may be tested."""
    row = t.TestedRow(provider="groq", id="i", tail="2f9a", test=verdict, said="why", models=4, duration_s=0.31)
    daemon.answers["POST /v1/credentials/test"] = t.Tested(rows=[row])
    done = hr("auth", "test")
    assert done.exit_code == code
    assert verdict in done.stdout
    assert "310 ms" in done.stdout
    assert daemon.asks("POST")[-1].body == {"provider": None, "which": None}
    assert json.loads(hr("auth", "test", "GROQ", "2f9a", "--json").stdout)["rows"][0]["test"] == verdict
    assert daemon.asks("POST")[-1].body == {"provider": "groq", "which": "2f9a"}
    daemon.answers["POST /v1/credentials/test"] = t.Tested(rows=[])
    assert "hr auth add" in hr("auth", "test").stdout


def _removed(outcome: str = "removed") -> t.Removed:
    return t.Removed(
        rows=[t.RemovedRow(provider="groq", id="i", tail="2f9a", source="keyring", outcome=outcome, said="s")]
    )


def test_remove_one_key_asks_nothing(hr: Hr, daemon: Script) -> None:
    """A key named by its last four characters or its id is removed; its name travels quoted."""
    daemon.answers["DELETE /v1/credentials/groq/2f9a"] = _removed()
    done = hr("auth", "remove", "groq", "2f9a")
    assert (done.exit_code, done.stdout) == (0, "groq …2f9a (keyring)  removed: s\n")
    daemon.answers["DELETE /v1/credentials/groq/a%2Fb"] = _removed()
    assert hr("auth", "remove", "groq", "a/b").exit_code == 0
    assert hr("auth", "remove", "groq", KEY).exit_code == 2


def test_remove_all_in_a_pipe_needs_yes(hr: Hr, daemon: Script) -> None:
    """Nobody can be asked: exit 2 and nothing happens; --yes does it; a provider without keys has none to remove."""
    daemon.answers["DELETE /v1/credentials/groq"] = _removed()
    done = hr("auth", "remove", "groq", input="y\n")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert not daemon.asks("DELETE")
    assert hr("auth", "remove", "groq", "--yes").exit_code == 0
    assert hr("auth", "remove", "github_models").exit_code == 2


@pytest.mark.parametrize(("typed", "done"), [("y\n", True), ("\n", False), ("", False)])
def test_remove_all_asks_a_person(
    hr: Hr, daemon: Script, monkeypatch: pytest.MonkeyPatch, typed: str, done: bool
) -> None:
    """The question names the keys; anything but yes keeps them."""
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _self: True, raising=False)
    daemon.answers["DELETE /v1/credentials/groq"] = _removed()
    found = hr("auth", "remove", "groq", input=typed, columns=100)
    assert "…2f9a (keyring)" in found.output
    assert "…77c1" in found.output
    assert bool(daemon.asks("DELETE")) is done
    assert found.exit_code == 0


def test_what_is_not_ours_to_edit_is_kept_with_exit_3(hr: Hr, daemon: Script) -> None:
    """A key that stands in the environment stays, and the command says so."""
    daemon.answers["DELETE /v1/credentials/groq/2f9a"] = _removed("kept")
    done = hr("auth", "remove", "groq", "2f9a")
    assert done.exit_code == 3
    assert "kept: s" in done.stdout
    assert json.loads(hr("auth", "remove", "groq", "2f9a", "--json").stdout)["rows"][0]["outcome"] == "kept"


@pytest.mark.parametrize("to", ["keyring", "file"])
def test_migrate(hr: Hr, daemon: Script, to: str) -> None:
    """Keys move to the keyring or the file, nowhere else."""
    daemon.answers["POST /v1/credentials/migrate"] = t.Done(said=["3 keys moved."])
    assert hr("auth", "migrate", to).stdout == hr("auth", "migrate", "--to", to).stdout == "3 keys moved.\n"
    assert daemon.asks("POST")[0].body == daemon.asks("POST")[1].body
    for arguments in ([], [to, "--to", to]):
        done = hr("auth", "migrate", *arguments)
        assert (done.exit_code, "keyring or file" in done.stderr) == (2, True)
    assert daemon.asks("POST")[-1].body == {"to": to}
    assert hr("auth", "migrate", "cloud").exit_code == 2


def test_a_vault_that_fails_is_told_as_it_is(hr: Hr, daemon: Script) -> None:
    """A ControlError's two sentences and exit code reach the person."""
    problem = t.Problem(code="vault", message="the keyring is locked", next_step="unlock it, then try again")
    answers: dict[str, Any] = {"POST /v1/credentials": problem}
    daemon.answers.update(answers)
    done = hr("auth", "add", "groq", input=KEY)
    assert done.exit_code == 1
    assert done.stderr.endswith("hr: The keyring is locked.\n    Unlock it, then try again.\n")
