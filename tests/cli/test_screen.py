"""hermes_router/cli/screen.py: the one screen of `hr status`."""

import io
import sys

import click
import msgspec
import pytest

from hermes_router.cli.render import cells
from hermes_router.cli.screen import screen, state_cell, why
from hermes_router.control import types as t

from .samples import NOW, STATUS, credential, ping, target


@pytest.fixture(autouse=True)
def _unicode_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    monkeypatch.setenv("HOME", "/home/ada")


def _text(status: t.Status, width: int | None = 110) -> str:
    return click.unstyle("\n".join(screen(status, NOW, width)))


def test_it_says_all_that_the_issue_promises() -> None:
    """Verdict, targets by provider, keys, what is limited and until when, what is known, errors, today, where."""
    text = " ".join(_text(STATUS, 130).split())
    for said in (
        "▲ Mostly: ",
        "2/3",
        "1 limited, back in 4 min (14:32)",
        "paused (key rejected), next try in 8 min (14:36)",
        "412/1k req till",
        "~45/50 req",  # a published number is marked
        "no key: github_models",
        "by CEREBRAS_ENABLED=0",
        "…2f9a",
        "~/.config/hermes-router/.env:12",
        "of 4 models: tools 3 yes, 1 no · images 1 yes, 3 ?",
        "windows 3 of 4",
        "limits 1 told, 1 published, 3 unknown",
        "2 min ago",
        "429 slow down",
        "1,204 requests · 3 failed · 41 failovers · 3 under way",
        "2.14M tokens in (300k cached), 120k out; estimated 12k in, 900 out",
        "$0.42 and about $0.01 estimated (2 attempts without a known price)",
        "http://localhost:8319 · hr mode round-robin · up 2 h · detached · pid 4711",
        "log ~/.local/state/hermes-router/daemon.log",
        "keys rest in the keyring",
        "PORTT in /home/ada/.env:3 is not a setting",
    ):
        assert said in text, said


def test_it_is_one_screen() -> None:
    """A pool of five targets takes no more than a terminal of 40 lines."""
    assert len(screen(STATUS, NOW, 100)) <= 40


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 160])
def test_it_fits_the_terminal(width: int) -> None:
    """No line is wider than the terminal, as long as it is no toy."""
    wide = [line for line in _text(STATUS, width).split("\n") if cells(line) > max(width, 31)]
    assert not wide


def test_an_empty_daemon_says_what_to_do() -> None:
    """Without a key the screen is short and names the command that helps."""
    empty = t.Status(ping=ping(url="", log="", run="foreground"), uptime_s=3, ready=False, mode="sequential")
    text = _text(empty)
    assert text.startswith("■ No: no provider has a key.")
    assert "hr auth add PROVIDER" in text
    assert "0 requests" in text
    assert "no public port · hr mode sequential · up 3 s · foreground" in text
    assert "Keys" not in text
    assert "Known" not in text


def test_many_keys_are_counted_and_the_bad_ones_shown() -> None:
    """Beyond eight keys only those that are not ready have a line; the others are counted by their place."""
    keys = [credential("groq", f"k{n:03}") for n in range(12)] + [credential("groq", "dead", state="revoked")]
    text = _text(msgspec.structs.replace(STATUS, credentials=keys))
    assert "…dead" in text
    assert "…k003" not in text
    assert "12 keys ready: 12 keyring" in text


def test_a_long_list_of_errors_is_cut() -> None:
    """Three errors are enough to see what is wrong."""
    errors = [t.ErrorRow(at=NOW - n, target=f"t{n}/m", outcome="slow") for n in range(9)]
    assert sum(f"t{n}/m" in _text(msgspec.structs.replace(STATUS, last_errors=errors)) for n in range(9)) == 3


def test_a_watcher_sees_the_pace() -> None:
    """While somebody watches, the requests of the last intervals stand as a sparkline."""
    assert "▁▅█" in "\n".join(screen(STATUS, NOW, 100, pace=[0, 2, 4]))


@pytest.mark.parametrize(("budget", "said"), [
    (None, ""),
    (t.Budget(spent_microusd=5), ""),
    (t.Budget(limit_microusd=2_000_000, spent_microusd=420_000, reset_at=NOW + 3600), "budget $2.00: $1.58 left till 15:28"),
    (t.Budget(limit_microusd=2_000_000, spent_microusd=2_100_000, reset_at=NOW + 3600),
     "budget $2.00 is spent, paid models are back in 60 min (15:28)"),
    (t.Budget(limit_microusd=0, reset_at=NOW + 3600), "budget $0: no paid model"),
])  # fmt: skip
def test_a_budget_is_shown_with_what_is_left_of_it(budget: t.Budget | None, said: str) -> None:
    """Beside today's cost; a daemon without one, or of before there were any, says nothing of it."""
    text = " ".join(_text(msgspec.structs.replace(STATUS, budget=budget), 130).split())
    assert said in text
    assert ("budget" in text) is bool(said)


def test_failing_tasks_and_a_handover_are_said() -> None:
    """What is amiss inside the daemon, and that a successor takes over."""
    status = msgspec.structs.replace(
        STATUS, tasks=[{"name": "warm"}, {"name": "local", "failures": 3}], ping=ping(successor="pid 99")
    )
    assert "failing tasks: local" in _text(status)
    assert "handing over to pid 99" in _text(status)


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("ready", None, "ready"),
        ("cooling", "limited (told)", "limited"),
        ("cooling", "limited_day (learned)", "day quota used up"),
        ("open", "broken", "failing"),
        ("open", "broken (half-open)", "trying again"),
        ("paused", "no_credit", "paused (no credit)"),
        ("disabled", "no models", "disabled (no models)"),
        ("disabled", "disabled by the owner: `hr provider enable groq`", "disabled (`hr provider enable groq`)"),
        ("unavailable", "the keyring is locked", "unavailable (the keyring is locked)"),
        ("something new", None, "something new"),
    ],
)
def test_states_are_said_in_words(state: str, reason: str | None, said: str) -> None:
    """A state of the control API as a person says it; one that is not known yet as it is."""
    assert why(state, reason) == said
    assert state_cell(state, reason, None, NOW).text == said


def test_a_single_target_needs_no_number() -> None:
    """`1 limited` is said as `limited` where there is one target only."""
    lone = msgspec.structs.replace(
        STATUS, targets=[target("groq", state="cooling", reason="limited (told)", until=NOW + 60)]
    )
    assert "  limited, back in 60 s (14:29)" in _text(lone)
