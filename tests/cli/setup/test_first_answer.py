"""hermes_router/cli/setup/first_answer.py: one streamed question through the public port, shown as it comes."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hermes_router.cli.setup.first_answer import Flow, stream
from hermes_router.cli.trouble import Trouble

Serve = Callable[..., str]


@pytest.fixture
def router() -> Iterator[Serve]:
    """A public port that answers so; `asked` of its address is what came in."""
    running: list[http.server.HTTPServer] = []

    def start(body: str, status: int = 200, **headers: str) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
                asked.append((self.path, self.headers["authorization"], sent))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        running.append(http.server.HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}/v1"

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


asked: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    asked.clear()


def chunk(text: str | None = None, **fields: Any) -> str:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}}]
    return f"data: {json.dumps({'choices': choices, **fields})}\n\n"


def test_the_text_is_shown_as_it_comes(router: Serve) -> None:
    """By whom and after how many attempts is said in the head; events without text add none."""
    url = router(chunk("Hel") + ": ping\n\n" + chunk("lo.") + chunk(usage={}) + "data: [DONE]\n\n",
                 x_hermes_target="groq/m", x_hermes_attempts="2")  # fmt: skip
    shown: list[str] = []
    found = stream(url, "sk-hr-x", "hi?", shown.append)
    assert (shown, found.text, found.target, found.attempts) == (["Hel", "lo."], "Hello.", "groq/m", 2)
    assert found.duration_s >= found.first_s > 0
    ((path, key, body),) = asked
    assert (path, key, body["stream"], body["model"]) == (
        "/v1/chat/completions",
        "Bearer sk-hr-x",
        True,
        "hermes-router",
    )


def test_what_the_head_could_not_say_stands_before_the_end(router: Serve) -> None:
    """A comment, as the contract has it."""
    found = stream(
        router(chunk("x") + ": hermes target=mistral/m attempts=3 warnings=\n\ndata: [DONE]\n\n"), "k", "hi", str
    )
    assert (found.target, found.attempts) == ("mistral/m", 3)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [('{"error": {"message": "Every target is limited."}}', 429, "Every target is limited."),
     ("<html>", 502, "The router answered 502."), ('{"error": "x"}', 503, "The router answered 503."),
     ('data: {"error": {"message": "It broke off."}}\n\n', 200, "It broke off."), ("data: [DONE]\n\n", 200, "was empty"),
     ("data: {\n\n", 200, "was empty")],
)  # fmt: skip
def test_no_answer_is_a_sentence(router: Serve, body: str, status: int, said: str) -> None:
    """The router's own words where it has some, and what to do."""
    with pytest.raises(Trouble) as caught:
        stream(router(body, status), "k", "hi", str)
    assert said in caught.value.message
    assert caught.value.next_step


def test_nobody_there_is_a_sentence() -> None:
    """Not a traceback."""
    with pytest.raises(Trouble, match="did not answer"):
        stream("http://127.0.0.1:1/v1", "k", "hi", str)


def test_pieces_flow_over_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Words stay whole wherever the pieces are cut, lines keep to the width, line ends of the text stay."""
    flow = Flow(22)
    for piece in ("one tw", "o three ", "four five\nsix", " seven"):
        flow.write(piece)
    flow.end()
    assert capsys.readouterr().out == "  one two three four\n  five\n  six seven\n"


def test_an_answer_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A model may write anything."""
    flow = Flow(None)
    flow.write("a\x1b[31mb \x07c")
    flow.end()
    assert capsys.readouterr().out == "  ab ?c\n"
