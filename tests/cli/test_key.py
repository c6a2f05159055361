"""hermes_router/cli/key.py: router keys."""

import json
from collections.abc import Callable

import click.testing
import pytest

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import KEYS

Serve = Callable[..., Script]


@pytest.fixture
def daemon(serve: Serve) -> Script:
    added = t.AddedKey(row=KEYS.rows[0], key="sk-router-new", said=["PROXY_API_KEYS keep working."])
    return serve(
        {"GET /v1/keys": KEYS, "POST /v1/keys": added, "DELETE /v1/keys/agent": t.Done(said=["agent is gone."])}
    )


def test_the_new_key_alone_goes_to_standard_output(hr: Hr, daemon: Script) -> None:
    """`KEY=$(hr key add x)` works; what is said goes to standard error; limits travel."""
    done = hr("key", "add", "agent", "--providers", "groq, local", "--rpm", "30", "--concurrency", "2", "--patience",
              "1.5", "--min-tier", "3", "--usd-day", "0.50")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout == "sk-router-new\n"
    assert "it is not shown again" in done.stderr
    assert "PROXY_API_KEYS keep working." in done.stderr
    assert daemon.asks("POST")[0].body == {
        "name": "agent", "providers": ["groq", "local"], "rpm": 30, "concurrency": 2, "patience_s": 1.5, "min_tier": 3,
        "budget_microusd": 500_000,
    }  # fmt: skip
    assert json.loads(hr("key", "add", "b", "--json").stdout)["key"] == "sk-router-new"
    assert daemon.asks("POST")[1].body["providers"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a", "--rpm", "0"],
        ["a", "--min-tier", "6"],
        ["a", "--patience", "-1"],
        ["a", "--providers", " ,"],
        ["a", "--usd-day", "-1"],
        ["a", "--usd-day", "nan"],
        ["a", "--usd-day", "two"],
        ["a", "--usd-day", "0.0000001"],
    ],
)
def test_limits_that_are_none_are_refused(hr: Hr, daemon: Script, arguments: list[str]) -> None:
    """Exit 2, nothing is asked of the daemon."""
    assert hr("key", "add", *arguments).exit_code == 2
    assert not daemon.asks("POST")


def test_list_shows_the_limits(hr: Hr, daemon: Script) -> None:
    """Names, last four characters and limits, never a key."""
    done = hr("key", "list")
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "NAME",
        "KEY",
        "PROVIDERS",
        "RPM",
        "AT",
        "ONCE",
        "PATIENCE",
        "MIN",
        "TIER",
        "TODAY",
        "NOW",
        "MADE",
        "SOURCE",
    ]
    assert lines[1].split() == [
        "agent",
        "…9abc",
        "all",
        "30",
        "2",
        "90",
        "s",
        "$0.42",
        "of",
        "$2.00",
        "1",
        "Fri",
        "14:28",
        "stored",
    ]
    assert "groq, local" in lines[2]
    assert len(json.loads(hr("key", "list", "--json").stdout)["rows"]) == 2


def test_remove_by_name_or_id(hr: Hr, daemon: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe nobody is asked; a whole key on the command line is refused; an unknown one is the daemon's to name."""
    assert hr("key", "remove", "agent").stdout == "agent is gone.\n"
    assert hr("key", "remove", "sk-router-0123456789").exit_code == 2
    daemon.answers["DELETE /v1/keys/n%20o"] = t.Problem(code="unknown_key", message="no such key", exit_code=2)
    assert hr("key", "remove", "n o", "--yes").exit_code == 2


def test_a_person_is_asked_before(hr: Hr, daemon: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal anything but yes keeps the key."""
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _self: True, raising=False)
    assert hr("key", "remove", "agent", input="n\n", columns=80).exit_code == 0
    assert not daemon.asks("DELETE")
    assert hr("key", "remove", "agent", input="y\n", columns=80).exit_code == 0
    assert daemon.asks("DELETE")
