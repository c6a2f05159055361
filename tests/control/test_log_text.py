"""hermes_router/control/log_text.py: what a tired person reads."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.control.log_text import SENTENCES, body, line, told

ROOT = Path(__file__).resolve().parents[2]
CALL = re.compile(r"\b(?:log|_log|method|say|told|getLogger\([^)]*\))(?:\.\w+)?\(\s*\"([a-z]+\.[a-z_]+)\"")
DONE = {
    "request_id": "req_1", "outcome": "answered", "stream": True, "attempts": "groq/a#1:limited groq/b#1:ok",
    "input_tokens": 12, "output_tokens": 3, "estimated": False, "duration_s": 1.44,
}  # fmt: skip


def events_in_the_code() -> set[str]:
    found = {name for file in (ROOT / "hermes_router").rglob("*.py") for name in CALL.findall(file.read_text())}
    return found - {"server.py"}


def test_each_event_has_a_sentence_and_stands_on_the_page() -> None:
    """Nobody has to guess at three in the morning what a dotted name means, nor which there are to filter by."""
    page = (ROOT / "docs" / "logs.md").read_text()
    found = events_in_the_code() | {"log.lost", "events.lost"}
    assert len(found) > 60
    assert sorted(found - set(SENTENCES)) == []
    assert sorted(name for name in found if f"`{name}`" not in page) == []
    assert sorted(name for name in SENTENCES if f"`{name}`" not in page) == []


def test_the_fields_of_the_journal_stand_on_the_page() -> None:
    """What `journalctl` is asked by."""
    page = (ROOT / "docs" / "logs.md").read_text()
    for name in ("HR_EVENT", "HR_PROVIDER", "HR_MODEL", "HR_TARGET", "HR_REQUEST_ID", "HR_CLASS", "SYSLOG_IDENTIFIER"):
        assert f"`{name}`" in page


@pytest.mark.parametrize(
    ("event", "fields", "said"),
    [
        ("exchange.done", DONE, "answered by groq/b#1 in 1.4 s, 12+3 tokens; after groq/a#1 (limited)"),
        ("exchange.done", DONE | {"outcome": "caller_left", "attempts": ""}, "the caller left after 1.4 s"),
        ("exchange.done", DONE | {"outcome": "NoTarget", "attempts": "groq/a#1:rejected_key", "again_in_s": 600, "waited_s": 1.0},
         "nobody could answer, after 1.4 s, 1 s of it waiting, next chance in 10 min; tried groq/a#1 (key rejected)"),
        ("exchange.done", DONE | {"outcome": "Truncated", "attempts": ""}, "failed with Truncated, after 1.4 s"),
        ("attempt.failed", {"target": "groq/a#1", "class": "limited", "error": "RateLimited", "status": 429, "state": "cooling",
                            "rests_s": 12.0, "said": "slow down"}, "groq/a#1 is limited (429), rests for 12 s: slow down"),
        ("attempt.failed", {"target": "groq/a#1", "class": "rejected_key", "status": 401, "state": "paused", "rests_s": 600.0},
         "groq/a#1 rejects the key (401), next try in 10 min"),
        ("attempt.failed", {"target": "groq/a#1", "class": "cut", "status": None, "shown_chars": 80},
         "groq/a#1 broke off in the middle after 80 characters"),
        ("attempt.failed", {"target": "a/b#1", "class": "of tomorrow", "error": "New"}, "a/b#1 failed (New)"),
        ("local.absent", {"provider": "local", "url": "http://x", "said": ""}, "local does not answer at http://x"),
        ("codex.refreshed", {"account": "me", "expires_in_s": 864_000}, "account me: token renewed, good for 10 d"),
        ("models.unread", {"provider": "p", "said": "a [b] {c}"}, "p: its list of models cannot be read: a [b] {c}"),
    ],
)  # fmt: skip
def test_a_sentence_says_who_what_and_what_comes_next(event: str, fields: dict[str, Any], said: str) -> None:
    """Message first, times readable."""
    assert told(event, fields).said == said


def test_what_the_sentence_does_not_hold_follows() -> None:
    """No field is lost, none is said twice; one that says nothing is left out."""
    assert body("exchange.done", DONE).endswith("(limited)  request_id=req_1")
    text = body("local.back", {"provider": "p", "url": "u", "request_id": "r", "n": 3, "none": None, "odd": 'a "b"'})
    assert text == "p answers again at u  request_id=r n=3 odd=\"a 'b'\""


def test_an_unknown_event_is_its_name_and_its_fields() -> None:
    """One of a later version, or one whose fields are others."""
    assert body("new.thing", {"a": 1}) == "new.thing  a=1"
    assert body("local.back", {"url": "u"}) == "local.back  url=u"


def test_the_line_begins_with_time_and_level() -> None:
    """What is ordinary has no word, so that what is not stands out; colour only where it is wanted."""
    assert line("daemon.stopped", "info", {}, at="14:02:03") == "14:02:03       stopped"
    assert line("daemon.stopped", "warning", {}, at="14:02:03") == "14:02:03 warn  stopped"
    coloured = line("daemon.crashed", "critical", {"n": 1}, at="14:02:03", coloured=True)
    assert "\x1b[1;31mfatal\x1b[0m the" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == "14:02:03 fatal the daemon crashed  n=1"


def test_a_traceback_stands_below_in_its_own_lines() -> None:
    """As the interpreter would print it."""
    trace = 'Traceback (most recent call last):\n  File "x"\nValueError: \x1b[31mno'
    text = body("server.fault", {"path": "/v1", "exception": trace})
    assert text.split("\n") == ["a fault of ours in /v1", *trace.replace("\x1b", "\\x1b").split("\n")]


@given(st.sampled_from(sorted(SENTENCES)), st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text()))  # fmt: skip
def test_whatever_is_in_it_it_is_one_line_that_steers_no_terminal(event: str, fields: dict[str, Any]) -> None:
    """Callers and providers write some of it."""
    fields.pop("exception", None)
    assert line(event, "info", fields, at="").isprintable()
    text = line(
        event,
        "info",
        dict.fromkeys(("provider", "url", "said", "target", "model"), "\x1b]0;x\x07\n\u202e") | fields,
        at="",
    )
    assert text.isprintable()
