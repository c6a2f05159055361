"""hermes_router/cli/embed.py: what router keys are bound to."""

import json
from collections.abc import Callable

import click.testing
import msgspec
import pytest

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import EMBED_BINDINGS, GONE_BINDING

Serve = Callable[..., Script]
BOTH = t.EmbedBindings(rows=[*EMBED_BINDINGS.rows, GONE_BINDING])


@pytest.fixture
def daemon(serve: Serve) -> Script:
    done = t.Done(said=["agent is bound no longer.", "Embed the whole store again."])
    return serve(
        {
            "GET /v1/embed": EMBED_BINDINGS,
            "DELETE /v1/embed/k-1": done,
            "DELETE /v1/embed/k-1?profile=local": done,
            "DELETE /v1/embed/k-9": done,
        }
    )


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is a person."""
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _self: True, raising=False)


def test_show_names_key_model_and_length(hr: Hr, daemon: Script) -> None:
    """The key as `hr key list` has it, profile, model, dimensions, since when; one whose key is gone as well, and one of no proven length."""
    lines = hr("embed", "show").stdout.splitlines()
    assert lines[0].split() == ["NAME", "KEY", "PROFILE", "MODEL", "DIMENSIONS", "SINCE", "ID"]
    assert lines[1].split() == ["agent", "…9abc", "local", "local/nomic-embed-text", "768", "13:28", "k-1"]
    assert lines[2].split() == ["agent", "…9abc", "main", "mistral/mistral-embed", "1024", "Fri", "14:28", "k-1"]
    daemon.answers["GET /v1/embed"] = BOTH
    assert hr("embed", "show").stdout.splitlines()[3].split()[:4] == [
        "(gone)",
        "main",
        "gemini/gemini-embedding-001",
        "?",
    ]
    shown = json.loads(hr("embed", "show", "--json").stdout)
    assert shown == msgspec.to_builtins(BOTH)


def test_nothing_bound_says_what_binds(hr: Hr, daemon: Script) -> None:
    """An empty table helps nobody; and there is nothing to end."""
    daemon.answers["GET /v1/embed"] = t.EmbedBindings(rows=[])
    assert "first request" in hr("embed", "show").stdout
    done = hr("embed", "unbind", "--yes")
    assert (done.exit_code, "no router key is bound" in done.stderr.lower()) == (2, True)
    assert not daemon.asks("DELETE")


def test_in_a_pipe_nothing_ends_without_yes(hr: Hr, daemon: Script) -> None:
    """Exit 2, and what to do; with --yes the daemon's own words."""
    done = hr("embed", "unbind")
    assert done.exit_code == 2
    assert "local/nomic-embed-text and mistral/mistral-embed" in done.stderr
    assert "--yes" in done.stderr
    assert not daemon.asks("DELETE")
    done = hr("embed", "unbind", "--yes")
    assert done.stdout == "agent is bound no longer.\nEmbed the whole store again.\n"
    assert [one.path for one in daemon.asks("DELETE")] == ["/v1/embed/k-1"]


@pytest.mark.usefixtures("_terminal")
def test_a_person_is_told_what_it_means_and_asked(hr: Hr, daemon: Script) -> None:
    """That vectors before and after do not compare; anything but yes changes nothing."""
    done = hr("embed", "unbind", "agent", input="n\n", columns=80)
    assert (done.exit_code, "do not compare" in done.stderr) == (0, True)
    assert "agent (…9abc)" in done.stderr
    assert not daemon.asks("DELETE")
    assert hr("embed", "unbind", "agent", input="y\n", columns=80).exit_code == 0
    assert daemon.asks("DELETE")


@pytest.mark.parametrize("named", ["agent", "9abc", "k-1"])
def test_a_key_is_named_by_name_end_or_id(hr: Hr, daemon: Script, named: str) -> None:
    """All three mean the same key, among several; one profile of it may be meant alone."""
    daemon.answers["GET /v1/embed"] = BOTH
    assert hr("embed", "unbind", named, "--yes").exit_code == 0
    assert hr("embed", "unbind", named, "--yes", "--profile", "local").exit_code == 0
    assert [one.path for one in daemon.asks("DELETE")] == ["/v1/embed/k-1", "/v1/embed/k-1?profile=local"]


def test_a_key_that_is_not_clear_is_a_usage_error(hr: Hr, daemon: Script) -> None:
    """Several keys and none named, an unknown one, two with the same end, a whole key: exit 2, and the ids."""
    twin = t.EmbedBindingRow(
        key_id="k-2", profile="main", provider="m", model="m", dimensions=8, bound_at=1.0, name="ci", tail="9abc"
    )
    daemon.answers["GET /v1/embed"] = t.EmbedBindings(rows=[*BOTH.rows, twin])
    for named, said in (
        ([], "agent (…9abc) with the id k-1, a key that is gone with the id k-9 and ci (…9abc) with the id k-2"),
        (["nobody"], "no router key nobody is bound"),
        (["9abc"], "agent (…9abc) with the id k-1 and ci (…9abc) with the id k-2"),
        (["sk-router-0123456789"], "does not belong on the command line"),
    ):
        done = hr("embed", "unbind", *named, "--yes")
        assert done.exit_code == 2
        assert said.lower() in done.stderr.lower()
    assert not daemon.asks("DELETE")
    assert hr("embed", "unbind", "k-9", "--yes").exit_code == 0


def test_what_the_daemon_refuses_is_said(hr: Hr, daemon: Script) -> None:
    """A full disk is its words and its exit code."""
    daemon.answers["DELETE /v1/embed/k-1"] = t.Problem(
        code="unwritten", message="the state file cannot be written", next_step="mend that", exit_code=1
    )
    done = hr("embed", "unbind", "--yes")
    assert (done.exit_code, "cannot be written" in done.stderr) == (1, True)
