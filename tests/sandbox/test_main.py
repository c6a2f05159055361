"""The demo's process: it tells its variables, serves, and ends with its parent."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from hermes_router.sandbox import demo


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
