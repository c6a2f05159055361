"""`hr`'s side of the control socket: against the real API, and against whatever else may answer."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hermes_router import __version__
from hermes_router.control import client as module
from hermes_router.control import places
from hermes_router.control import types as t
from hermes_router.control.client import Client, drift, quote
from hermes_router.core.errors import ControlError

from .desk import STRANGER, Desk, acting_as, as_root, refused, serve, served

API = b"hermes-version: 9.9.9\r\nhermes-api: 1\r\n"
PONG = b'{"version":"9.9.9","pid":7,"later":"unknown"}'


def answer(body: bytes = PONG, status: bytes = b"200 OK", headers: bytes = API) -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


class Stub:
    """Somebody who listens. `got` is all that was received."""

    def __init__(self) -> None:
        self.got = b""


@contextmanager
def stub(path: Path, reply: bytes | None, *, listener: socket.socket | None = None) -> Iterator[Stub]:
    """Answers one request with some bytes and closes; None = accepts, reads, and says nothing until we are gone."""
    made, sock = Stub(), listener or listening(path)

    def run() -> None:
        try:
            connection, _ = sock.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(5)
            if reply is not None:
                made.got += connection.recv(65_536)
                connection.sendall(reply)
                return
            while data := connection.recv(65_536):
                made.got += data

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield made
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        sock.close()


def listening(path: Path, backlog: int = 5) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(backlog)
    return sock


def failure(ask: Callable[[], object], exit_code: int, code: str) -> ControlError:
    """The error of a call that must fail: a sentence of what happened, one of what to do, one exit code."""
    with pytest.raises(ControlError) as caught:
        ask()
    error = caught.value
    assert (error.exit_code, error.code) == (exit_code, code), error.message
    assert error.message.endswith(".")
    assert error.next_step.endswith(".")
    assert "\n" not in error.message + error.next_step
    return error


def ping(path: Path, timeout_s: float = 5.0) -> t.Ping | None:
    return Client(path, timeout_s=timeout_s).ping()


def reload(path: Path, timeout_s: float = 5.0) -> t.Reloaded:
    return Client(path, timeout_s=timeout_s).call("POST", "/v1/reload", None, t.Reloaded)


# --- against the API --------------------------------------------------------------------------------


async def test_it_speaks_to_the_real_api(path: Path) -> None:
    """Typed both ways: a body, a query, quoted names; the daemon's version is known afterwards."""
    desk = Desk()
    client = Client(path)

    def talk() -> None:
        assert client.ping() == t.Ping(version="9.9.9", pid=os.getpid(), instance="i1")
        added = client.call("POST", "/v1/credentials", t.AddCredentials(provider="groq", lines=["é"]), t.Added)
        assert added.provider == "groq"
        client.call("GET", "/v1/models", None, t.Models, query={"provider": "a b&c=d/é", "refresh": "1"})
        client.call("DELETE", f"/v1/credentials/groq/{quote('a/b ?#%é')}", None, t.Removed)
        assert client.call("GET", "/v1/targets", None, list[t.TargetRow])[0].target == "groq/m#abcd"

    async with served(path, desk):
        await asyncio.to_thread(talk)
    assert desk.asked[1:] == [
        ("add_credentials", t.AddCredentials(provider="groq", lines=["é"])),
        ("models", "a b&c=d/é", True),
        ("remove_credentials", "groq", "a/b ?#%é"),
        ("status",),
    ]
    assert client.daemon_version == "9.9.9"


async def test_a_problem_is_the_same_error_here(path: Path) -> None:
    """Message, next step, code and exit code travel whole."""
    desk = Desk()
    desk.failure = refused("That key is not ours.", 2)
    async with served(path, desk):
        error = await asyncio.to_thread(failure, lambda: reload(path), 2, "no")
    assert (error.message, error.next_step) == ("That key is not ours.", "Do something else.")


async def test_a_body_above_the_cap_is_answered_not_cut(path: Path) -> None:
    """The refusal arrives although the daemon does not read the rest."""
    huge = t.Ask(text="x" * (8 << 20))
    async with served(path, Desk()):
        ask = Client(path).call
        await asyncio.to_thread(failure, lambda: ask("POST", "/v1/ask", huge, t.Answer), 2, "too_large")


async def test_nobody_is_found_after_the_daemons_end(path: Path) -> None:
    """None for a ping; exit code 4 and how to start it for all else; the same beside a killed daemon's socket."""
    server = await serve(path, Desk())
    await server.close()
    for _ in range(2):
        assert ping(path) is None
        assert "hr start" in failure(lambda: reload(path), 4, "no_daemon").next_step
        socket.socket(socket.AF_UNIX).close()
        with socket.socket(socket.AF_UNIX) as left:  # bound and never served: what kill -9 leaves
            if not os.path.lexists(path):  # noqa: ASYNC240 - nothing waits here
                left.bind(str(path))
    assert ping(path.with_name("missing") / "s") is None
    assert ping(path / "s") is None


# --- against others ---------------------------------------------------------------------------------


def test_it_says_who_it_is(path: Path) -> None:
    """Host, version and API on every request, and that it asks once."""
    with stub(path, answer(b'{"generation":3}')) as other:
        assert Client(path, version="1.2.3").call("POST", "/v1/reload", None, t.Reloaded).generation == 3
    head = other.got.decode().splitlines()
    assert head[0] == "POST /v1/reload HTTP/1.1"
    assert {"Host: hermes-router", "Connection: close", "hermes-version: 1.2.3", f"hermes-api: {t.API}"} < set(head)


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n", b"\x00\x01\x02" * 50, b"{}", b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n", answer(headers=b""), b"HTTP/1.1 404 Not Found\r\n\r\n<html>",
    ],
)  # fmt: skip
def test_somebody_else_at_the_path_is_said(path: Path, reply: bytes) -> None:
    """Another protocol, or HTTP of another program: exit code 3, also for a ping, never a traceback."""
    with stub(path, reply):
        error = failure(lambda: ping(path), 3, "foreign")
    assert "is not hermes-router" in error.message
    assert str(path) in error.message


@pytest.mark.parametrize("reply", [b"", b"HTT", answer()[:40], answer()[:-1]])
def test_half_an_answer_is_no_answer(path: Path, reply: bytes) -> None:
    """The daemon was killed meanwhile: of a change nobody can say whether it was made, and that is said."""
    with stub(path, reply):
        error = failure(lambda: reload(path), 1, "cut")
    assert "not known" in error.message
    path.unlink()
    with stub(path, reply):
        assert "not known" not in failure(lambda: ping(path), 1, "cut").message


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"generation":"x"}', b"\xff", b'{"x":' + b"[" * 100_000])
def test_an_answer_of_another_shape_is_one_sentence(path: Path, body: bytes) -> None:
    """A daemon of another version: restart it."""
    with stub(path, answer(body)):
        assert "hr restart" in failure(lambda: reload(path), 1, "garbled").next_step
    path.unlink()
    with stub(path, answer(body, b"500 X")):
        assert "answered 500" in failure(lambda: reload(path), 1, "garbled").message


def test_an_exit_code_that_we_do_not_know_is_failed(path: Path) -> None:
    """A daemon cannot make `hr` end well, or with a signal's number."""
    for code in (0, 77, -1):
        problem = msgspec.json.encode(t.Problem(code="x", message="No.", next_step="Stop.", exit_code=code))
        with stub(path, answer(problem, b"409 X")):
            failure(lambda: reload(path), 1, "x")
        path.unlink()


def test_a_hung_daemon_is_named_by_its_pid(path: Path) -> None:
    """The kernel knows who listens, also where that process says nothing."""
    with stub(path, None):
        error = failure(lambda: ping(path, 0.05), 1, "hung")
    assert f"(pid {os.getpid()})" in error.message
    assert "0.05 s" in error.message
    assert f"kill {os.getpid()}" in error.next_step


def test_a_daemon_that_hangs_within_its_answer_is_hung(path: Path) -> None:
    """Silence is judged all the way to the end."""
    sock = listening(path)

    def run() -> None:
        connection, _ = sock.accept()
        with connection:
            connection.sendall(answer()[:-1])
            while connection.recv(65_536):
                pass

    thread = threading.Thread(target=run)
    thread.start()
    failure(lambda: ping(path, 0.05), 1, "hung")
    thread.join(5)
    sock.close()


def test_a_daemon_that_does_not_accept_is_hung(path: Path) -> None:
    """A full queue of connections is not `no daemon`."""
    with listening(path, 0), socket.socket(socket.AF_UNIX) as first:
        first.connect(str(path))
        error = failure(lambda: ping(path, 0.05), 1, "hung")
    assert "hr start" in error.next_step


@pytest.mark.parametrize(("version", "api"), [("9.9.9", "2"), ("8.0", "0"), ("", "x")])
def test_a_daemon_of_another_api_can_be_pinged_stopped_and_restarted(path: Path, version: str, api: str) -> None:
    """All else is exit code 3 with what to do, whatever it answered."""
    headers = f"hermes-version: {version}\r\nhermes-api: {api}\r\n".encode()
    for method, target in sorted(t.FROZEN):
        with stub(path, answer(headers=headers)):
            got = Client(path).call(method, target, None, t.Ping)
        path.unlink()
        assert got.pid == 7
    for status in (b"200 OK", b"404 X"):
        with stub(path, answer(status=status, headers=headers)):
            error = failure(lambda: reload(path), 3, "api")
        path.unlink()
        assert error.next_step == "Run `hr restart`."
        assert version in error.message
        assert __version__ in error.message


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_foreign_file_at_the_path_is_not_no_daemon(path: Path, kind: str) -> None:
    """What is no socket is said to be none, with exit code 3, and left alone."""
    target = path.with_name("target")
    target.write_text("precious")
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(target)
    assert "not a socket" in failure(lambda: ping(path), 3, "foreign").message
    assert target.read_text() == "precious"


def test_a_path_that_is_too_long_is_said(path: Path) -> None:
    """Exit code 3 and the variable that moves it."""
    error = failure(lambda: ping(path.parent / ("x" * 120)), 3, "foreign")
    assert "too long" in error.message
    assert "HERMES_ROUTER_SOCKET" in error.next_step


@pytest.mark.parametrize("target", ["/v1/keys/a b", "/v1/keys/a\r\nHost: x", "/v1/keys/\x7f", "/v1/keys/é", "/v1/\x00"])
def test_a_name_cannot_become_a_header(path: Path, target: str) -> None:
    """What was not quoted is refused before anything is sent."""
    with pytest.raises(ControlError) as caught:
        Client(path).call("DELETE", target, None, t.Done)
    assert caught.value.exit_code == 2


def test_bytes_that_are_no_text_are_refused_as_usage(path: Path) -> None:
    """An argument in another encoding than the terminal's: exit code 2, and it is not quoted."""
    error = failure(lambda: Client(path).call("POST", "/v1/ask", t.Ask(text="caf\udce9"), t.Answer), 2, "bad_request")
    assert "caf" not in error.message


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("groq", "groq"), ("a-b_c.d~", "a-b_c.d~"), ("a/b", "a%2Fb"), ("é ", "%C3%A9%20"), ("\udcff", "%FF")],
)
def test_names_are_quoted(name: str, quoted: str) -> None:
    """Everything beyond RFC 3986's unreserved characters."""
    assert quote(name) == quoted


def test_drift_is_one_line() -> None:
    """Only where the versions differ."""
    assert drift(t.Ping(version=__version__)) is None
    assert drift(t.Ping(version="0.3.1"), "0.4.0") == "daemon 0.3.1, hr 0.4.0: run `hr restart`"


# --- two users --------------------------------------------------------------------------------------


@as_root
def test_a_socket_of_another_user_is_exit_3(path: Path) -> None:
    """Whether the directory keeps us out or the socket does; the owner is named where it can be seen."""
    with listening(path):
        path.chmod(0o600)
        with acting_as(STRANGER, []):
            assert "another user" in failure(lambda: ping(path), 3, "foreign").message
        path.parent.chmod(0o755)
        with acting_as(STRANGER, []):
            assert "(uid 0)" in failure(lambda: ping(path), 3, "foreign").message


def opened_by(uid: int, path: Path) -> socket.socket:
    """A socket that another user listens on, open to all."""
    os.chown(path.parent, uid, uid)
    with acting_as(uid, []):
        sock = listening(path)
    path.parent.chmod(0o755)
    path.chmod(0o666)
    return sock


@as_root
def test_no_key_is_handed_to_another_users_daemon(path: Path) -> None:
    """Whoever put a socket where ours would be gets not one byte."""
    body = t.AddCredentials(provider="groq", lines=["sk-canary-0123456789"])
    with stub(path, None, listener=opened_by(STRANGER, path)) as other, acting_as(STRANGER + 1, []):
        error = failure(lambda: Client(path).call("POST", "/v1/credentials", body, t.Added), 3, "foreign")
    assert other.got == b""
    assert f"belongs to user {STRANGER}" in error.message


@as_root
@pytest.mark.parametrize(("daemon", "caller"), [(STRANGER, STRANGER), (0, STRANGER), (STRANGER, 0)])
def test_ones_own_daemon_and_roots_are_trusted(path: Path, daemon: int, caller: int) -> None:
    """And root may use anybody's."""
    with stub(path, answer(), listener=opened_by(daemon, path)), acting_as(caller, []):
        assert ping(path) is not None


@as_root
def test_the_system_services_daemon_is_trusted_by_its_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as a user of its own, in a directory that only root can have put there."""
    monkeypatch.setattr(module, "SYSTEM_DIRECTORY", path.parent)
    with stub(path, answer(), listener=opened_by(STRANGER, path)), acting_as(STRANGER + 1, []):
        assert ping(path) is not None


def test_both_ends_mean_the_same_place() -> None:
    """The client does not import platformdirs, so it has its own word for the system service's directory."""
    assert places.system_places({}).socket.parent == module.SYSTEM_DIRECTORY


# --- cost -------------------------------------------------------------------------------------------


def test_importing_it_loads_nothing_heavy() -> None:
    """`hr status` has 200 ms: no HTTP library, no event loop, no look at the places on disk."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import hermes_router.control.client"],
        capture_output=True, text=True, check=True, cwd=Path(module.__file__).parents[2],
    )  # fmt: skip
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hermes_router.control.client" in loaded
    heavy = ("aiohttp", "asyncio", "http", "platformdirs", "email", "ssl", "ctypes", "keyring", "structlog")
    found = {name for name in loaded if name.partition(".")[0] in heavy}
    assert not found, found


def test_an_error_holds_nothing_of_what_was_sent(path: Path) -> None:
    """Neither its text nor its chain, which a traceback would print."""
    secret = "sk-canary-0123456789"
    body: Any = t.AddCredentials(provider="groq", lines=[secret])
    for reply in (b"", b"x", answer(b"{"), answer(b"{}", b"500 X")):
        with stub(path, reply), pytest.raises(ControlError) as caught:
            Client(path).call("POST", "/v1/credentials", body, t.Added)
        path.unlink()
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert secret not in repr(vars(caught.value)) + str(caught.value)
