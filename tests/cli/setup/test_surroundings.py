"""hermes_router/cli/setup/surroundings.py: local servers that answer, and keys in the environment."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from hermes_router.cli.setup.surroundings import Server, environment_keys, local_servers, models_at
from hermes_router.control.setup_types import CatalogRow

KEY = "gsk_0123456789abcdef2f9a"


@pytest.fixture
def server() -> Iterator[Callable[..., str]]:
    """Start one that answers /v1/models so; its base URL."""
    running: list[http.server.ThreadingHTTPServer] = []
    over = threading.Event()

    def start(body: bytes, status: int = 200, wait_s: float = 0.0) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                over.wait(wait_s)
                with suppress(ConnectionError):  # whoever asked has left
                    self.send_response(status if self.path == "/v1/models" else 404)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        running.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        running[-1].daemon_threads = False  # each ends with its server, and says nothing in another test
        threading.Thread(target=running[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}/v1"

    yield start
    over.set()
    for one in running:
        one.shutdown()
        one.server_close()


def listing(*ids: str) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": one} for one in ids]}).encode()


def local(**usual: str) -> CatalogRow:
    return CatalogRow(name="local", title="Local", auth="none", state="off", usual=usual)


def test_servers_that_answer_are_found_with_their_models(server: Callable[..., str]) -> None:
    """All usual addresses at once; where nobody listens there is none."""
    one, two = server(listing("a", "b")), server(listing())
    rows = [local(Ollama=one, vLLM="http://127.0.0.1:1/v1", Other=two)]
    assert local_servers(rows) == [Server("local", "Ollama", one, ("a", "b")), Server("local", "Other", two, ())]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>", 200), (b"{}", 200), (b'{"data": [1]}', 200), (b'{"data": {"id": "x"}}', 200), (listing("a"), 401),
     (listing("hermes-router", "groq/m"), 200), (b"[" * 100_000, 200)],
)  # fmt: skip
def test_what_is_no_model_server_is_none(server: Callable[..., str], body: bytes, status: int) -> None:
    """A web page, a refusal, and a router such as this one: pointing at itself it would go round in circles."""
    assert models_at(server(body, status)) is None


def test_a_server_that_hangs_costs_a_moment(server: Callable[..., str]) -> None:
    """Its silence is an answer, too."""
    began = time.monotonic()
    assert models_at(server(listing("a"), wait_s=30)) is None
    assert time.monotonic() - began < 10


def test_nothing_is_asked_where_an_address_is_set() -> None:
    """The owner has said where it is, or that it is to be left out."""
    usual = {"Ollama": "http://127.0.0.1:1/v1"}
    rows = [CatalogRow(name="local", title="", state="on", base_url="http://x/v1", usual=usual),
            CatalogRow(name="other", title="", state="disabled", usual=usual)]  # fmt: skip
    assert local_servers(rows) == []


def test_keys_of_the_environment_are_found_by_the_rows_names() -> None:
    """Each name that a row lists, its plural and numbers; a key once; nothing of other names."""
    rows = [CatalogRow(name="groq", title="", variables=["GROQ_API_KEY"]),
            CatalogRow(name="hf", title="", variables=["HF_API_KEY", "HF_TOKEN"]),
            CatalogRow(name="old", title="", state="retired", variables=["OLD_API_KEY"]),
            CatalogRow(name="codex", title="", auth="login", variables=["CODEX_API_KEY"])]  # fmt: skip
    environ = {"GROQ_API_KEYS": f"{KEY},{KEY}", "GROQ_API_KEY_2": KEY, "HF_TOKEN": "hf_0123456789abcdef", "OLD_API_KEY": KEY,
               "CODEX_API_KEY": KEY, "MY_GROQ_API_KEY": KEY, "HOME": "/"}  # fmt: skip
    found = environment_keys(rows, environ)
    assert [(one.provider, one.where) for one in found.keys] == [("groq", "GROQ_API_KEYS"), ("hf", "HF_TOKEN")]
    assert (found.examples, found.left) == ([], [])
    assert KEY not in repr(found)


def test_examples_and_what_is_no_key_are_told() -> None:
    """By the variable's name; the rest of a list counts."""
    rows = [CatalogRow(name="groq", title="", variables=["GROQ_API_KEY"])]
    found = environment_keys(rows, {"GROQ_API_KEYS": f"gsk_your-key,a b,{KEY}"})
    assert [one.value for one in found.keys] == [KEY]
    assert [one.where for one in found.examples] == ["GROQ_API_KEYS"]
    assert [one.why for one in found.left] == ["it holds spaces", "an example stands there, not a key"]
