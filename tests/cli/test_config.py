"""hermes_router/cli/config.py, mode.py, reload.py and changes.py: settings."""

import json
from collections.abc import Callable

import pytest

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import CHANGED, CONFIG, CREDENTIALS, ping

Serve = Callable[..., Script]


@pytest.fixture
def daemon(serve: Serve) -> Script:
    return serve({"GET /v1/config": CONFIG, "PATCH /v1/config": CHANGED})


def test_list_names_the_source_of_each(hr: Hr, daemon: Script) -> None:
    """Name, value and place; problems go to standard error; --changed leaves the defaults out."""
    done = hr("config", "list", env={"HOME": "/home/ada"})
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["NAME", "VALUE", "SOURCE"],
        ["LOG_LEVEL", "debug", "~/.config/hermes-router/.env:3"],
        ["PORT", "8319", "default"],
        ["ROTATION_MODE", "round-robin", "default"],
    ]
    assert done.stderr == "hr: GROQ_MODLE is not a setting\n"
    rows = json.loads(hr("config", "list", "--changed", "--json").stdout)["rows"]
    assert [row["name"] for row in rows] == ["LOG_LEVEL"]


@pytest.mark.parametrize("name", ["LOG_LEVEL", "log_level", "log-level"])
def test_get_prints_the_bare_value(hr: Hr, daemon: Script, name: str) -> None:
    """Any case; the value alone on standard output, its source on standard error."""
    done = hr("config", "get", name)
    assert done.stdout == "debug\n"
    assert done.stderr.startswith("from /home/ada/.config/hermes-router/.env:3")
    assert json.loads(hr("config", "get", name, "--json").stdout)["value"] == "debug"
    assert "hr restart" in hr("config", "get", "port").stderr


def test_get_of_an_unknown_name_suggests(hr: Hr, daemon: Script) -> None:
    """Exit 2 with what may have been meant, of the global settings and of each provider's."""
    daemon.answers["GET /v1/credentials"] = CREDENTIALS
    assert "Did you mean GROQ_MODEL?" in hr("config", "get", "groq_modle").stderr
    assert "`hr auth list groq`" in hr("config", "get", "GROQ_API_KEY").stderr
    done = hr("config", "get", "log_levle")
    assert done.exit_code == 2
    assert "Did you mean LOG_LEVEL?" in done.stderr
    assert "hr config list" in hr("config", "get", "qqq").stderr


def test_get_of_what_is_set_nowhere(hr: Hr, daemon: Script) -> None:
    """A provider's setting exists though nobody set it: empty, from the default, and what it means."""
    daemon.answers["GET /v1/credentials"] = CREDENTIALS
    done = hr("config", "get", "groq_model")
    assert (done.exit_code, done.stdout) == (0, "\n")
    assert done.stderr.startswith("from default. Models in order")
    assert json.loads(hr("config", "get", "groq_model", "--json").stdout)["source"] == "default"


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (["log_level", "debug"], {"LOG_LEVEL": "debug"}),
        (["LOG_LEVEL=debug", "port=8320"], {"LOG_LEVEL": "debug", "PORT": "8320"}),
        (["HERMES_X", "-1"], {"HERMES_X": "-1"}),
        (["GROQ_LIMITS", "rpm=30,rpd=1000"], {"GROQ_LIMITS": "rpm=30,rpd=1000"}),
        (["LOG_LEVEL="], {"LOG_LEVEL": ""}),
    ],
)
def test_set_takes_one_or_several(hr: Hr, daemon: Script, arguments: list[str], changes: dict[str, str]) -> None:
    """NAME VALUE, or NAME=VALUE several times, in one change."""
    done = hr("config", "set", *arguments)
    assert done.exit_code == 0, done.output
    assert daemon.asks("PATCH")[0].body == {"changes": changes}
    assert done.stdout == "LOG_LEVEL: info → debug (/home/ada/.env)\n"


@pytest.mark.parametrize("arguments", [["A", "b", "c"], ["A=1", "b"], ["=x"], []])
def test_set_refuses_what_it_cannot_read(hr: Hr, daemon: Script, arguments: list[str]) -> None:
    """Wrong usage is exit 2."""
    assert hr("config", "set", *arguments).exit_code == 2
    assert not daemon.asks("PATCH")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["GROQ_API_KEY", "gsk_0123456789abcdef"], "hr auth add groq"),
        (["GROQ_API_KEYS=-"], "hr auth add groq"),
        (["PROXY_API_KEYS", "sk-mine-0123456789"], "hr config set PROXY_API_KEYS -"),
        (["HTTPS_PROXY", "http://ada:secret@proxy:3128"], "hr config set HTTPS_PROXY -"),
    ],
)
def test_secrets_are_not_taken_from_the_command_line(hr: Hr, daemon: Script, arguments: list[str], hint: str) -> None:
    """Keys and passwords: exit 2, the way that is safe, and the secret is not repeated."""
    done = hr("config", "set", *arguments)
    assert done.exit_code == 2
    assert hint in done.stderr
    assert arguments[-1] not in done.output
    assert not daemon.asks("PATCH")


def test_a_secret_comes_from_a_pipe(hr: Hr, daemon: Script) -> None:
    """`-`, or no value at all, reads one line of standard input."""
    for arguments in (["PROXY_API_KEYS", "-"], ["PROXY_API_KEYS"]):
        assert hr("config", "set", *arguments, input="sk-mine-0123456789\n").exit_code == 0
        assert daemon.asks("PATCH")[-1].body == {"changes": {"PROXY_API_KEYS": "sk-mine-0123456789"}}
    assert hr("config", "set", "PROXY_API_KEYS", "-", input="a\nb\n").exit_code == 2
    assert len(daemon.asks("PATCH")) == 2


@pytest.mark.parametrize("given", ["", "\n", " \n"])
def test_an_empty_pipe_sets_nothing(hr: Hr, daemon: Script, given: str) -> None:
    """A script whose secret did not arrive must not empty the setting."""
    done = hr("config", "set", "ALLOWED_HOSTS", input=given)
    assert (done.exit_code, daemon.asks("PATCH")) == (2, [])
    assert "`hr config set ALLOWED_HOSTS ''`" in done.stderr


def test_a_setting_that_is_set_to_nothing_is_empty_not_unset(hr: Hr, daemon: Script) -> None:
    """An empty value may mean something (`GROQ_EMBED_MODEL=` turns it off), and is told from none."""
    row = t.ChangedRow(name="GROQ_EMBED_MODEL", before="m", after="", file="/x")
    daemon.answers["PATCH /v1/config"] = t.Changed(rows=[row])
    assert hr("config", "set", "GROQ_EMBED_MODEL", "").stdout == "GROQ_EMBED_MODEL: m → empty (/x)\n"
    assert hr("config", "unset", "GROQ_EMBED_MODEL").stdout == "GROQ_EMBED_MODEL: m → unset (/x)\n"


def test_unset_takes_it_out(hr: Hr, daemon: Script) -> None:
    """None is what the daemon is sent."""
    assert hr("config", "unset", "log_level").exit_code == 0
    assert daemon.asks("PATCH")[0].body == {"changes": {"LOG_LEVEL": None}}
    row = t.ChangedRow(name="LOG_LEVEL", before="info", after="info", file="/c.toml")
    daemon.answers["PATCH /v1/config"] = t.Changed(rows=[row])
    assert hr("config", "unset", "log_level").stdout == "LOG_LEVEL is set in no file; it is info.\n"


def test_a_shadowed_setting_is_exit_3(hr: Hr, daemon: Script) -> None:
    """What the process environment shadows is refused by name."""
    daemon.answers["PATCH /v1/config"] = t.Problem(
        code="shadowed", message="PORT is set in the daemon's environment", next_step="unset it", exit_code=3
    )
    done = hr("config", "set", "PORT", "1")
    assert done.exit_code == 3
    assert done.stderr == "hr: PORT is set in the daemon's environment.\n    Unset it.\n"


def test_what_needs_a_restart_is_said(hr: Hr, daemon: Script) -> None:
    """A port cannot be taken up by a running daemon; without one, there is nothing to restart."""
    row = t.ChangedRow(name="PORT", before="8319", after="8319", file="/f")
    daemon.answers["PATCH /v1/config"] = t.Changed(rows=[row], needs_restart=["PORT"])
    done = hr("config", "set", "PORT", "8319")
    assert "PORT is 8319 already (/f)." in done.stdout
    assert "cannot take up PORT: run `hr restart`" in done.stdout
    daemon.answers["GET /v1/ping"] = ping(run="control-only")
    assert "restart" not in hr("config", "set", "PORT", "8319").stdout
    assert json.loads(hr("config", "set", "PORT", "1", "--json").stdout)["needs_restart"] == ["PORT"]


# --- hr mode ------------------------------------------------------------------------------------------


def test_mode_shows_what_is_in_force(hr: Hr, daemon: Script) -> None:
    """The word on standard output, its source on standard error."""
    done = hr("mode")
    assert (done.stdout, done.stderr) == ("round-robin\n", "from default\n")
    assert json.loads(hr("mode", "--json").stdout)["source"] == "default"


@pytest.mark.parametrize(
    ("word", "value"),
    [("rr", "round-robin"), ("Round_Robin", "round-robin"), ("seq", "sequential"), ("drain", "sequential")],
)
def test_mode_sets_by_any_of_its_words(hr: Hr, daemon: Script, word: str, value: str) -> None:
    """Short words are written out."""
    assert hr("mode", word).exit_code == 0
    assert daemon.asks("PATCH")[0].body == {"changes": {"ROTATION_MODE": value}}


def test_an_unknown_mode_is_exit_2(hr: Hr, daemon: Script) -> None:
    """The words that there are stand in the message."""
    done = hr("mode", "random")
    assert done.exit_code == 2
    assert "sequential" in done.stderr
    assert not daemon.asks("PATCH")


# --- hr reload ----------------------------------------------------------------------------------------


def test_reload_says_what_changed(hr: Hr, daemon: Script) -> None:
    """The new generation, the settings that differ, what a restart is needed for, and what was skipped."""
    daemon.answers["POST /v1/reload"] = t.Reloaded(
        generation=5, changed=["LOG_LEVEL", "PORT"], needs_restart=["PORT"], problems=["X is not a setting"], targets=7
    )
    done = hr("reload")
    assert done.stdout.startswith("Generation 5: changed: LOG_LEVEL, PORT; 7 targets.\n")
    assert "cannot take up PORT" in done.stdout
    assert done.stderr == "hr: X is not a setting\n"
    assert json.loads(hr("reload", "--json").stdout)["generation"] == 5


def test_reload_without_a_daemon_checks_the_files(hr: Hr, daemon: Script) -> None:
    """Nothing is reloaded, and that is said."""
    daemon.answers["GET /v1/ping"] = ping(run="control-only")
    daemon.answers["POST /v1/reload"] = t.Reloaded(generation=1, targets=1)
    assert hr("reload").stdout == "No daemon is running, so nothing was reloaded; the files give 1 target.\n"


def test_a_bad_configuration_is_refused_whole(hr: Hr, daemon: Script) -> None:
    """The daemon's sentence and its exit code."""
    daemon.answers["POST /v1/reload"] = t.Problem(code="bad", message="HOST is no address", exit_code=3)
    done = hr("reload")
    assert (done.exit_code, done.stderr) == (3, "hr: HOST is no address.\n")
