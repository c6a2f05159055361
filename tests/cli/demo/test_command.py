"""hermes_router/cli/demo/command.py: the show, and that nothing of it remains."""

import http.client
import json
import os
import pty
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..running_demo import Demo


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    running: list[Demo] = []

    def started(*arguments: str, **popen: Any) -> Demo:
        running.append(Demo(tmp_path, *arguments, **popen))
        return running[-1]

    yield started
    for demo in running:
        demo.process.kill()
        demo.process.wait()
        if demo.process.stdout is not None:
            demo.process.stdout.close()


def test_once_shows_an_answer_and_leaves_nothing(show: Callable[..., Demo]) -> None:
    """In a pipe, on a taken port: plain text, an answer, who gave it, who failed before; exit code 0, nothing remains."""
    with socket.socket(socket.AF_INET) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        demo = show("--once", "--port", str(port))
        assert demo.end() == 0
    assert f"Port {port} is taken" in demo.seen
    assert "\x1b" not in demo.seen
    assert re.search(r"Answer: Good question: .*word by word, as I am doing now\.", demo.seen)
    failed, answered = demo.seen.count("  failed "), demo.seen.count("  answered ")
    assert failed >= 1
    assert answered == 1
    assert f"  {failed} failover" in demo.seen
    assert "curl -s http://localhost:" in demo.seen
    assert demo.remains() == []


def test_ctrl_c_ends_it_cleanly(show: Callable[..., Demo]) -> None:
    """It serves what the caller asks, shows it, and ends on SIGINT to its group with 0 and nothing left, pressed twice or not."""
    demo = show("--port", "0")
    text = demo.until("Serving; Ctrl-C ends it.")
    base, key = re.search(r"Base URL  http://localhost:(\d+)/v1\nKey +(\S+)", text).groups()
    connection = http.client.HTTPConnection("127.0.0.1", int(base), timeout=60)
    body = json.dumps({"model": "hermes-router", "messages": [{"role": "user", "content": "hi"}]})
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
    assert connection.getresponse().status == 200
    connection.close()
    demo.until("  answered     ")
    os.killpg(demo.process.pid, signal.SIGINT)
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.end() == 0
    assert demo.seen.endswith("The demo is over; nothing of it remains.\n")
    assert "Traceback" not in demo.seen
    assert demo.remains() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_early_end_leaves_nothing(show: Callable[..., Demo], number: int) -> None:
    """Ended while it starts, by a key, a service manager or a closed terminal: no process and no file remains."""
    demo = show("--port", "0")
    demo.until("Starting the router")
    os.killpg(demo.process.pid, number)
    assert demo.end() == 0
    assert "Traceback" not in demo.seen
    assert demo.remains() == []


def test_an_output_that_is_gone_ends_it(show: Callable[..., Demo]) -> None:
    """`hr demo | head -1` ends, and leaves nothing."""
    demo = show("--port", "0", "--once")
    demo.until("Starting fake providers")
    assert demo.process.stdout is not None
    demo.process.stdout.close()
    assert demo.process.wait(20) == 1
    assert demo.remains() == []


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(
    show: Callable[..., Demo], environ: dict[str, str], coloured: bool
) -> None:
    """A terminal gets colours, one with NO_COLOR none."""
    theirs, ours = pty.openpty()
    try:
        demo = show("--port", "0", stdout=ours, stderr=ours, environ=environ)
        text = demo.until("Answer: ", theirs)
        assert ("\x1b[" in text) is coloured
        os.killpg(demo.process.pid, signal.SIGINT)
        assert demo.process.wait(20) == 0
        assert demo.remains() == []
    finally:
        os.close(ours)
        os.close(theirs)
