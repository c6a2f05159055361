"""hermes_router/cli/conformance.py: the page, its JSON and its exit codes, against a peer of the tests' own."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hermes_router.cli.main import main

from ..conformance.good import CHAT, CHAT_STREAM, raw, without
from ..conformance.peer import KEY, Peer, Said, Twist, error

Conform = Callable[..., Result]


@pytest.fixture
def conform() -> Iterator[Conform]:
    """`hr conformance` against a peer in a thread of its own; `{url}` among the arguments is the peer's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(*options: str, twist: Twist | None = None, url: str = "{url}", key: str = KEY, **given: Any) -> Result:
        async def opened() -> Peer:
            return await Peer(twist).__aenter__()

        peer = asyncio.run_coroutine_threadsafe(opened(), loop).result(10)
        try:
            env = {"HERMES_ROUTER_KEY": key, "NO_COLOR": "1", "COLUMNS": "", **given.pop("env", {})}
            return CliRunner().invoke(main, ["conformance", url.format(url=peer.url), *options], env=env, **given)
        finally:
            asyncio.run_coroutine_threadsafe(peer.__aexit__(), loop).result(10)

    yield run
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def _no_end(path: str, body: dict[str, Any], said: Said) -> Said | None:
    return Said(stream=raw(CHAT_STREAM[:-1], named=False)) if path == "/chat/completions" and said.stream else None


def test_a_good_endpoint_is_one_page_and_zero(conform: Conform) -> None:
    """Areas with passed of asked, what did not pass below them, a sum for each dialect; without colours in a pipe."""
    done = conform("--only", "sampling")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["CHAT", "MESSAGES", "RESPONSES"] in lines
    assert ["Sampling", "11/11", "3/3", "3/4"] in lines
    assert any(line[:2] == ["-", "how"] and line[-1] == "skip" for line in lines)
    assert ["chat", "11", "pass,", "0", "fail,", "0", "skip,", "0", "unsure"] in lines
    assert KEY not in done.output


def test_a_failure_says_why_and_how_to_see_it(conform: Conform) -> None:
    """Exit 1, the reason in a line, and a command that shows it, with the key's variable in its place."""
    done = conform("--dialect", "chat", "--only", "streams.plain", twist=_no_end)
    assert done.exit_code == 1
    assert "FAIL chat streams.plain: the answer as it comes" in done.stdout
    assert "the stream ends without data: [DONE]" in done.stdout
    (curl,) = [line for line in done.stdout.splitlines() if line.startswith("  curl -sS")]
    assert "$HERMES_ROUTER_KEY" in curl
    assert '"stream": true' in curl
    assert KEY not in done.output


def test_reasons_are_shown_with_all(conform: Conform) -> None:
    """`--all` lists every check, and why one was skipped."""
    done = conform("--dialect", "responses", "--only", "sampling", "--all")
    assert "- temperature" in done.stdout
    assert 'HTTP 400: "top_logprobs is not supported"' in done.stdout


def test_json_holds_everything(conform: Conform) -> None:
    """Each check with its outcome, reason and request; the exit code is the same."""
    done = conform("--json", "--only", "answers.identity", twist=lambda path, body, said: Said(without(CHAT, "id"))
                   if path == "/chat/completions" and said.status == 200 else None)  # fmt: skip
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["model"], found["dialects"]["chat"]["fail"], found["dialects"]["messages"]["fail"]) == ("m", 1, 0)
    (failed,) = [one for one in found["checks"] if one["outcome"] == "fail"]
    assert (failed["id"], failed["dialect"], failed["why"]) == ("answers.identity", "chat", "id is missing")
    assert failed["curl"].startswith("curl -sS ")


def test_a_dialect_that_is_not_spoken_is_one_line(conform: Conform) -> None:
    """No table of it, and no failure."""
    done = conform("--only", "turns.user", twist=lambda path, body, said: error("nothing here", 404)
                   if path == "/messages" else None)  # fmt: skip
    assert done.exit_code == 0
    assert 'not spoken: HTTP 404 on /messages: "nothing here"' in done.stdout


@pytest.mark.parametrize(
    ("options", "given", "code", "said"),
    [
        ((), {"key": "wrong"}, 3, "refuses this key"),
        ((), {"key": ""}, 3, "without a key"),
        (("--key", "-"), {"input": "wrong\n"}, 3, "refuses this key"),
        ((), {"url": "http://127.0.0.1:1"}, 4, "Nobody answers"),
        ((), {"url": "http://u:p@host"}, 2, "a key stands in no URL"),
        (("--only", "nothing.of.it"), {}, 2, "no check has"),
        (("--dialect", "klingon"), {}, 2, "klingon"),
    ],
)
def test_what_keeps_it_from_running_has_its_own_code(
    conform: Conform, options: tuple[str, ...], given: dict[str, Any], code: int, said: str
) -> None:
    """A refused key 3, nobody there 4, a wrong command line 2: a sentence and no traceback."""
    done = conform(*options, **given)
    assert done.exit_code == code, done.output
    assert said.lower() in done.stderr.lower()
    assert "Traceback" not in done.output
    assert "wrong" not in done.output


def test_no_model_is_a_question(conform: Conform) -> None:
    """Where nothing is listed, one has to be named."""
    done = conform(twist=lambda path, body, said: error("no", 404) if path == "/models" else None)
    assert done.exit_code == 2
    assert "--model" in done.stderr


def test_a_key_may_come_from_standard_input(conform: Conform) -> None:
    """`--key -` reads one line."""
    assert conform("--key", "-", "--only", "turns.user", key="", input=f"{KEY}\n").exit_code == 0
