"""The demo's process: it tells its variables, serves, and ends with its parent."""

import http.client
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress

import pytest

from hermes_router.sandbox import demo, demo_cut


@pytest.fixture
def running(tmp_path):
    """The process, the variables it printed, and its file."""
    file = tmp_path / "ports.json"
    command = [sys.executable, "-m", "hermes_router.sandbox", "--port-file", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline()
        yield process, json.loads(line), file
        process.kill()


def post(told, name, model):
    """The status of one chat."""
    made = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}
    request = urllib.request.Request(
        told[f"{name}_BASE_URL"] + "/chat/completions",
        json.dumps(made).encode(),
        {"authorization": "Bearer " + told[f"{name}_API_KEY"], "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_demo_serves_fails_and_ends_with_its_parent(running) -> None:
    """Variables on stdout and in the file; groq runs out after three, one is always 503, one key is revoked."""
    process, told, file = running
    assert json.loads(file.read_text()) == told
    assert [post(told, "GROQ", "openai/gpt-oss-120b") for _ in range(4)] == [200, 200, 200, 429]
    assert post(told, "GEMINI", "gemini-2.5-flash-lite") == 503
    assert post(told, "OPENROUTER", "openrouter/free") == 401
    process.stdin.close()
    assert process.wait(timeout=5) == 0


def test_the_demo_ends_on_sigterm(running) -> None:
    """A signal is a good end."""
    process, _, _ = running
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0


def test_a_demo_answer_quotes_the_question() -> None:
    """Long enough to watch, and about what was asked."""
    said = demo.chat("why is\nthe sky blue?")
    assert "why is the sky blue?" in said
    assert 50 < len(said.split()) < 90


def test_the_cut_cast_dies_in_what_it_begins(tmp_path) -> None:
    """Each of its five sends half of the story, without an end; and says the rest to whoever has the first half."""
    file = tmp_path / "ports.json"
    command = [sys.executable, "-m", "hermes_router.sandbox", "--cast", "cut", "--port-file", str(file)]
    whole = demo_cut.uncut(demo_cut.STORY).text
    at = demo_cut.cut_at(demo_cut.uncut(demo_cut.STORY))
    order = f"Begin with:\n<<\n{whole[at - 40 : at]}\n>>\n"
    turns = [{"role": "user", "content": demo_cut.STORY}]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        told = json.loads(process.stdout.readline())
        assert len(told) == 10
        first = spoken(told, turns)
        turns += [{"role": "assistant", "content": whole[:at]}, {"role": "user", "content": order}]
        second = spoken(told, turns)
        process.kill()
    assert first == (whole[:at], False)
    assert second == (whole[at - 40 :], True)


def spoken(told, messages):
    """What a stream of cerebras says, and whether it has an end."""
    made = {"model": "gpt-oss-120b", "messages": messages, "stream": True}
    request = urllib.request.Request(
        told["CEREBRAS_BASE_URL"] + "/chat/completions",
        json.dumps(made).encode(),
        {"authorization": "Bearer " + told["CEREBRAS_API_KEY"], "content-type": "application/json"},
    )
    text, ended = "", False
    with urllib.request.urlopen(request, timeout=20) as response, suppress(http.client.IncompleteRead):
        for line in response:
            if line.startswith(b"data: {"):
                [choice] = json.loads(line[6:])["choices"]
                text += choice["delta"].get("content") or ""
                ended = ended or choice["finish_reason"] == "stop"
    return text, ended


@pytest.mark.parametrize("asked", [demo_cut.STORY, demo_cut.ERRAND])
def test_a_cut_answer_repeats_itself_or_calls(asked) -> None:
    """The story has lines that come thrice, one of them before the cut; the errand a call with nested arguments."""
    whole = demo_cut.uncut(asked)
    if asked == demo_cut.STORY:
        line = "    One wave, and the rock held.\n"
        assert (whole.text.count(line), whole.text[: demo_cut.cut_at(whole)].count(line)) == (3, 2)
        assert 0 < demo_cut.cut_at(whole) < len(whole.text)
    else:
        assert demo_cut.cut_at(whole) == len(whole.text)
        assert json.loads(whole.calls[0].arguments)["days"] == ["Saturday"]
