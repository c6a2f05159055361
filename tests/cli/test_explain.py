"""hermes_router/cli/explain.py and ask.py: dry runs, trails, and one question."""

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import msgspec
import pytest

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import PLAN, TRAIL, ping

Serve = Callable[..., Script]

ANSWER = t.Answer(
    text="Hello.\nHow are you?",
    target="groq/m-1",
    attempts=2,
    request_id="r-1",
    input_tokens=12,
    output_tokens=34,
    duration_s=0.8,
)


@pytest.fixture
def daemon(serve: Serve) -> Script:
    key = t.KeyRow(id="agent", name="the agent", tail="9abc", source="stored")
    return serve(
        {
            "POST /v1/plan": PLAN,
            "GET /v1/requests/req-1": TRAIL,
            "POST /v1/ask": ANSWER,
            "GET /v1/keys": t.Keys(rows=[key]),
        }
    )


def test_explain_by_properties(hr: Hr, daemon: Script) -> None:
    """Numbers instead of a request; targets in their order, then those that are out of it."""
    done = hr("explain", "--tools", "--tokens", "12000", "--image", "--model", "groq/m-1")
    assert done.exit_code == 0
    assert daemon.asks("POST")[0].body == {
        "body": None, "model": "groq/m-1", "tokens": 12000, "tools": True, "image": True,
    }  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0] == "groq/m-1 would answer"
    assert lines[1] == "difficulty 3 · 12.3k tokens · profile main · needs tools"
    assert [line.split()[0] for line in lines[4:6]] == ["1", "2"]
    assert lines[6].split()[:2] == ["mistral/large#b00c", "rejected_key"]
    assert "in 8 min (14:36)" in lines[6]
    assert json.loads(hr("explain", "--json").stdout)["difficulty"] == 3
    assert max(map(len, hr("explain", columns=40).stdout.splitlines())) <= 40


def test_explain_a_file_or_standard_input(hr: Hr, daemon: Script, tmp_path: Path) -> None:
    """A whole request as it is; --model replaces its model, and one without gets the router's name."""
    body = '{"model": "x", "messages": [{"role": "user", "content": "héllo"}]}'
    (tmp_path / "r.json").write_text(body)
    assert hr("explain", str(tmp_path / "r.json")).exit_code == 0
    assert daemon.asks("POST")[-1].body["body"] == body
    assert hr("explain", "-", "--model", "groq/m", input=body).exit_code == 0
    sent = json.loads(daemon.asks("POST")[-1].body["body"])
    assert (sent["model"], sent["messages"][0]["content"]) == ("groq/m", "héllo")
    assert hr("explain", "-", input='{"messages": []}').exit_code == 0
    assert json.loads(daemon.asks("POST")[-1].body["body"])["model"] == "hermes-router"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["-"], "{"), (["-"], "[]"), (["-"], b"\xff"), (["-", "--tools"], "{}"), (["-", "--tokens", "3"], "{}"),
     (["/nowhere/x.json"], ""), (["--tokens", "-1"], "")],
)  # fmt: skip
def test_explain_refuses_what_is_no_request(hr: Hr, daemon: Script, arguments: list[str], text: str | bytes) -> None:
    """Exit 2 and no traceback."""
    done = hr("explain", *arguments, input=text)
    assert done.exit_code == 2
    assert not daemon.asks("POST")


def test_request_tells_the_trail(hr: Hr, daemon: Script) -> None:
    """What came in, how it ended, and each attempt with its outcome, times, tokens and reason."""
    done = hr("request", "req-1")
    assert done.exit_code == 0
    text = done.stdout
    assert "req-1: answered after 3.2 s, 2 attempts" in text
    assert "key the agent · openai_chat" in " ".join(text.split())
    assert "Warning  dropped:logit_bias" in text
    assert "slow down: back in 60 s (14:29)" in text
    assert "~950" in text
    assert "$0.0012" in text
    assert json.loads(hr("request", "req-1", "--json").stdout)["outcome"] == "answered"
    assert max(map(len, hr("request", "req-1", columns=60).stdout.splitlines())) <= 60


def test_request_tells_how_an_answer_was_continued(hr: Hr, daemon: Script) -> None:
    """How much of each attempt was seen, how the next took it up and why it was chosen, and what all of it cost."""
    cut = t.AttemptRow(target="groq/m#1a2b", outcome="cut", why="fits", said="the body ended early", shown_chars=212,
                       input_tokens=40, output_tokens=53, estimated=True, cost_microusd=1000)  # fmt: skip
    missed = t.AttemptRow(target="nvidia/n#3c4d", outcome="broken", why="fits", by="anchor")
    last = t.AttemptRow(
        target="kimi/k#5e6f", outcome="ok", why="scarce", by="prefill", shown_chars=1, cost_microusd=2000
    )
    late = t.AttemptRow(target="zai/z#7a8b", outcome="ok", by="anew")
    daemon.answers["GET /v1/requests/req-1"] = msgspec.structs.replace(TRAIL, attempts=[cut, missed, last, late])
    head, *_, first, second, third, fourth = hr("request", "req-1").stdout.splitlines()
    assert head == "req-1: answered after 3.2 s, 4 attempts, $0.003 in all"
    assert "212 chars" in first
    assert first.endswith("  fits: the body ended early")
    assert second.endswith("  was to go on after 212 characters by anchor: fits")
    assert " 1 char " in third
    assert third.endswith("  went on after 212 characters by prefill: scarce")
    assert fourth.endswith("  began anew")
    assert max(map(len, hr("request", "req-1", columns=60).stdout.splitlines())) <= 60


def test_what_an_answer_ignored_is_told(hr: Hr, daemon: Script) -> None:
    """A model that nobody knows was answered by another: the proof must not look like one of that model."""
    daemon.answers["POST /v1/ask"] = msgspec.structs.replace(ANSWER, warnings=["ignored:model", "dropped:seed"])
    done = hr("ask", "--model", "groq/nope", "hi")
    assert done.stdout == "Hello.\nHow are you?\n"
    assert "hr: no model 'groq/nope' is known, so the router picked one\nhr: dropped:seed\n" in done.stderr


def test_an_unknown_request_is_said(hr: Hr, daemon: Script) -> None:
    """The daemon's sentence; an id with odd signs travels quoted."""
    daemon.answers["GET /v1/requests/a%2F%3Fb"] = t.Problem(
        code="unknown", message="no such request is kept", exit_code=1
    )
    done = hr("request", "a/?b")
    assert (done.exit_code, done.stderr) == (1, "hr: No such request is kept.\n")
    assert hr("request", " ").exit_code == 2


# --- hr ask -------------------------------------------------------------------------------------------


def test_ask_prints_the_answer_alone(hr: Hr, daemon: Script) -> None:
    """Standard output is the answer; who gave it goes to standard error."""
    done = hr("ask", "say", "hello", "--model", "groq/m-1")
    assert done.stdout == "Hello.\nHow are you?\n"
    assert done.stderr == "groq/m-1 · 2 attempts · 12 tokens in, 34 out · 800 ms · r-1\n"
    assert daemon.asks("POST")[0].body == {"text": "say hello", "model": "groq/m-1"}
    assert json.loads(hr("ask", "hi", "--json").stdout)["target"] == "groq/m-1"


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_ask_reads_a_pipe(hr: Hr, daemon: Script, arguments: list[str]) -> None:
    """Without a question, or with `-`, standard input is it."""
    assert hr("ask", *arguments, input="what is this?\n").exit_code == 0
    assert daemon.asks("POST")[0].body["text"] == "what is this?\n"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_question_is_exit_2(hr: Hr, daemon: Script, text: str) -> None:
    """Nothing is asked of anybody."""
    assert hr("ask", input=text).exit_code == 2
    assert not daemon.asks("POST")


def test_an_answer_cannot_steer_the_terminal(hr: Hr, daemon: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the model's control characters go, its lines and tabs stay; a pipe gets every byte."""
    daemon.answers["POST /v1/ask"] = t.Answer(text="a\x1b[2J\tb\n  cé", target="x/y", attempts=1, request_id="r")
    assert hr("ask", "hi").stdout == "a\x1b[2J\tb\n  cé\n"
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _self: True, raising=False)
    assert hr("ask", "hi", color=True).stdout == "a\tb\n  cé\n"


@pytest.mark.parametrize("command", [["explain"], ["request", "r"], ["ask", "hi"], ["status"]])
def test_what_needs_a_daemon_says_so(hr: Hr, serve: Serve, command: list[str]) -> None:
    """Exit 4 without a daemon, and with one that is there for another command only."""
    assert hr(*command).exit_code == 4
    serve({"GET /v1/ping": ping(run="control-only")})
    assert hr(*command).exit_code == 4


def test_a_refusal_of_the_pool_is_told(hr: Hr, daemon: Script) -> None:
    """When nothing can answer, the sentence says so and the exit code is the daemon's."""
    daemon.answers["POST /v1/ask"] = t.Problem(code="limited", message="every target is limited", next_step="wait 40 s")
    done = hr("ask", "hi")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "hr: Every target is limited.\n    Wait 40 s.\n"
