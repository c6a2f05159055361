"""The control API over a real Unix socket: every route, every refusal, two users."""

import asyncio
import io
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from hermes_router.control import carry_types as c
from hermes_router.control import health_types as h
from hermes_router.control import notify_types as n
from hermes_router.control import setup_types as of_setup
from hermes_router.control import types as t
from hermes_router.control.client import Client
from hermes_router.control.log_types import LogTail, LogWish
from hermes_router.control.routes import ROUTES
from hermes_router.core.errors import BadRequest, ConfigError, VaultError

from ..fakes import turns
from .desk import (
    HEADERS,
    STRANGER,
    Desk,
    acting_as,
    as_root,
    open_to_all,
    refused,
    serve,
    served,
    session,
    until,
)

READERS = 1777
CANARY = "sk-canary-0123456789"

# Method, path, JSON body, the call that the backend gets, and the answer's type.
KEEP = of_setup.KeepCredentials(provider="groq", lines=["k"])
ADOPT_KEY = of_setup.AdoptKey(name="n", digest="0" * 64, tail="abcd", rpm=3)
ADOPT_LOGINS = of_setup.AdoptLogins(path="/x", cli_path="/y")
CALLS: list[tuple[str, str, t.Type | None, tuple[Any, ...], Any]] = [
    ("POST", "/v1/accounts/adopt", ADOPT_LOGINS, ("adopt_logins", ADOPT_LOGINS), of_setup.AdoptedLogins),
    ("GET", "/v1/catalog", None, ("catalog",), of_setup.Catalog),
    ("POST", "/v1/credentials/keep", KEEP, ("keep_credentials", KEEP), t.Added),
    ("POST", "/v1/keys/adopt", ADOPT_KEY, ("adopt_key", ADOPT_KEY), of_setup.AdoptedKey),
    ("POST", "/v1/accounts/import", t.ImportLogin(provider="codex", path="/x"),
     ("import_login", t.ImportLogin(provider="codex", path="/x")), t.Imported),
    ("POST", "/v1/accounts/login", t.BeginLogin(provider="codex", way="device"),
     ("begin_login", t.BeginLogin(provider="codex", way="device")), t.Login),
    ("DELETE", "/v1/accounts/login/l%201", None, ("end_login", "l 1"), t.Done),
    ("GET", "/v1/accounts/login/l1", None, ("login", "l1"), t.Login),
    ("POST", "/v1/accounts/login/l1", t.PasteLogin(text="x"), ("paste_login", "l1", t.PasteLogin(text="x")), t.Login),
    ("POST", "/v1/accounts/refresh", t.RefreshAccounts(provider="codex"),
     ("refresh_accounts", t.RefreshAccounts(provider="codex")), t.Refreshed),
    ("POST", "/v1/ask", t.Ask(text="hi"), ("ask", t.Ask(text="hi")), t.Answer),
    ("GET", "/v1/config", None, ("config",), t.Config),
    ("PATCH", "/v1/config", t.ChangeConfig(changes={"A": None, "B": "1"}),
     ("change_config", t.ChangeConfig(changes={"A": None, "B": "1"})), t.Changed),
    ("GET", "/v1/credentials", None, ("credentials",), t.Credentials),
    ("POST", "/v1/credentials", t.AddCredentials(provider="groq", lines=["k"]),
     ("add_credentials", t.AddCredentials(provider="groq", lines=["k"])), t.Added),
    ("POST", "/v1/credentials/migrate", t.Migrate(to="file"), ("migrate", t.Migrate(to="file")), t.Done),
    ("POST", "/v1/credentials/test", t.TestCredentials(provider="groq"),
     ("test_credentials", t.TestCredentials(provider="groq")), t.Tested),
    ("DELETE", "/v1/credentials/groq", None, ("remove_credentials", "groq", None), t.Removed),
    ("DELETE", "/v1/credentials/groq/a%2Fb%20%C3%A9%3F", None, ("remove_credentials", "groq", "a/b é?"), t.Removed),
    ("DELETE", "/v1/credentials/test", None, ("remove_credentials", "test", None), t.Removed),
    ("GET", "/v1/keys", None, ("keys",), t.Keys),
    ("POST", "/v1/keys", t.AddKey(name="n", rpm=3), ("add_key", t.AddKey(name="n", rpm=3)), t.AddedKey),
    ("DELETE", "/v1/keys/n", None, ("remove_key", "n"), t.Done),
    ("GET", "/v1/embed", None, ("embed_bindings",), t.EmbedBindings),
    ("POST", "/v1/export", {"with_secrets": True}, ("export_setup", c.CarryOut(with_secrets=True)), c.Bundle),
    ("GET", "/v1/health-report", None, ("health_report",), h.HealthReport),
    ("POST", "/v1/import", {"bundle": {}}, ("import_setup", c.CarryIn(bundle=c.Bundle())), c.Carried),
    ("DELETE", "/v1/embed/k1", None, ("unbind", "k1", None), t.Done),
    ("DELETE", "/v1/embed/k1?profile=local", None, ("unbind", "k1", "local"), t.Done),
    ("GET", "/v1/logs", None, ("logs", LogWish()), LogTail),
    ("GET", "/v1/logs?lines=3&level=warning&provider=groq&request=r&since=1.5", None,
     ("logs", LogWish(lines=3, level="warning", provider="groq", request="r", since=1.5)), LogTail),
    ("GET", "/v1/models", None, ("models", None, False), t.Models),
    ("GET", "/v1/models?provider=groq&refresh=1", None, ("models", "groq", True), t.Models),
    ("GET", "/v1/models?refresh=0", None, ("models", None, False), t.Models),
    ("POST", "/v1/models", t.SetModels(provider="groq", models=["m"]),
     ("set_models", t.SetModels(provider="groq", models=["m"])), t.Changed),
    ("GET", "/v1/notify", None, ("notify",), n.Notify),
    ("POST", "/v1/notify/test", None, ("test_notify",), n.NotifyTested),
    ("GET", "/v1/ping", None, ("ping",), t.Ping),
    ("POST", "/v1/plan", t.PlanQuery(tokens=5), ("plan", t.PlanQuery(tokens=5)), t.PlanReport),
    ("POST", "/v1/probe", None, ("test_credentials", t.TestCredentials()), t.Tested),
    ("POST", "/v1/providers", t.EnableProvider(provider="groq", enabled=False),
     ("enable_provider", t.EnableProvider(provider="groq", enabled=False)), t.Changed),
    ("POST", "/v1/reload", None, ("reload",), t.Reloaded),
    ("GET", "/v1/requests/req_1", None, ("request", "req_1"), t.Trail),
    ("POST", "/v1/restart", t.Shutdown(drain_s=1.5), ("restart", t.Shutdown(drain_s=1.5)), t.Done),
    ("POST", "/v1/shutdown", None, ("shutdown", t.Shutdown()), t.Done),
    ("GET", "/v1/status", None, ("status",), t.Status),
    ("GET", "/v1/targets", None, ("status",), list[t.TargetRow]),
    ("GET", "/v1/quota", None, ("quota", None), t.QuotaReport),
    ("GET", "/v1/quota?provider=groq", None, ("quota", "groq"), t.QuotaReport),
    ("GET", "/v1/usage", None, ("usage", "provider", 30), t.UsageReport),
    ("GET", "/v1/usage?by=day&days=7", None, ("usage", "day", 7), t.UsageReport),
]  # fmt: skip


async def problem(response: aiohttp.ClientResponse, status: int) -> t.Problem:
    """The one envelope, with the daemon's version on it."""
    raw = await response.read()
    assert response.status == status, raw
    assert response.content_type == "application/json"
    assert {k: response.headers[k] for k in HEADERS} == HEADERS
    told = msgspec.json.decode(raw, type=t.Problem)
    assert told.message
    assert told.next_step
    return told


@pytest.fixture
async def desk(path: Path) -> AsyncIterator[Desk]:
    """A daemon at `path`."""
    made = Desk()
    async with served(path, made):
        yield made


@pytest.mark.parametrize("asking", CALLS, ids=lambda asking: f"{asking[0]} {asking[1]}")
async def test_each_route_reaches_the_backend(path: Path, desk: Desk, asking: tuple[Any, ...]) -> None:
    """Names, query and body arrive as the backend's types; the answer is of its type and carries the versions."""
    method, target, body, call, answer = asking
    async with session(path) as http:
        response = await http.request(method, target, data=msgspec.json.encode(body) if body else None)
        raw = await response.read()
    assert response.status == 200, raw
    msgspec.json.decode(raw, type=answer)
    assert {k: response.headers[k] for k in HEADERS} == HEADERS
    assert desk.asked == [call]


def test_no_route_is_left_out() -> None:
    """Every line of the table is driven here, events in test_streaming.py."""
    left = {
        (route.method, route.path)
        for route in ROUTES
        if not any(
            method == route.method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", route.path), target.partition("?")[0])
            for method, target, *_ in CALLS
        )
    }
    assert left == {("GET", "/v1/events")}


@pytest.mark.parametrize(("code", "status"), [(1, 422), (2, 400), (3, 409), (4, 422)])
async def test_a_refusal_of_the_daemon_is_told_whole(path: Path, desk: Desk, code: int, status: int) -> None:
    """What happened, what to do, and the exit code; the status follows from the exit code."""
    desk.failure = refused("No such provider: grok\udcff.", code)
    async with session(path) as http:
        told = await problem(await http.get("/v1/config"), status)
    assert told == t.Problem(
        code="no", message="No such provider: grok?.", next_step="Do something else.", exit_code=code
    )


@pytest.mark.parametrize(
    ("raised", "status", "told"),
    [
        (VaultError("it is locked", next_step="unlock it"), 422, ("vault", 1, "it is locked", "unlock it")),
        (VaultError("no room"), 422, ("vault", 1, "no room", "Try again.")),
        (ConfigError("is bad", where="/c.toml"), 409, ("config", 3, "/c.toml: is bad", "Mend that, then try again.")),
    ],
)
async def test_what_is_raised_on_purpose_is_told(
    path: Path, desk: Desk, raised: Exception, status: int, told: tuple[object, ...]
) -> None:
    """A vault or a setting of which no desk has made a refusal is a sentence all the same, and no bug."""
    desk.failure = raised
    async with session(path) as http:
        found = await problem(await http.get("/v1/config"), status)
    assert (found.code, found.exit_code, found.message, found.next_step) == told


async def test_a_request_that_cannot_be_is_a_usage_error(path: Path, desk: Desk) -> None:
    """What is wrong with a caller's request is said as it would be to a caller, and ends `hr` with 2."""
    desk.failure = BadRequest("messages is missing")
    async with session(path) as http:
        found = await problem(await http.get("/v1/config"), 400)
    assert (found.code, found.exit_code, found.message) == ("bad_request", 2, "messages is missing")


async def test_a_bug_is_a_500_and_one_line_that_quotes_nothing(path: Path) -> None:
    """Neither the answer nor the log shows the exception's text, which may hold what was sent."""
    desk = Desk()
    desk.failure = ValueError(f"no such key {CANARY}")
    async with served(path, desk) as log, session(path) as http:
        body = msgspec.json.encode(t.AddCredentials(provider="groq", lines=[CANARY]))
        told = await problem(await http.post("/v1/credentials", data=body), 500)
        assert (await problem(await http.delete(f"/v1/keys/{CANARY}"), 500)).code == "internal"
    assert (told.code, "inside the daemon" in told.message) == ("internal", True)
    assert CANARY not in str(told) + str(log.lines)
    (event, fields), (_, second) = log.lines
    assert event == "control.fault"
    assert (fields["method"], fields["path"], fields["error"]) == ("POST", "/v1/credentials", "ValueError")
    assert "desk.py:" in str(fields["where"])
    assert second["path"] == "/v1/keys/{which}"


@pytest.mark.parametrize(
    ("target", "body", "said"),
    [
        ("/v1/ask", b'{"text": 5}', "`$.text`"),
        ("/v1/credentials", b'{"provider": "g", "lines": ["a", 1]}', "`$.lines[1]`"),
        ("/v1/ask", b"{}", "`text`"),
        ("/v1/ask", b"", "`text`"),
        ("/v1/ask", b"[]", "array"),
        ("/v1/ask", b'{"text": "a', "truncated"),
        ("/v1/ask", b'{"text": "\xff"}', "no JSON text"),
        ("/v1/ask", b'{"x": ' + b"[" * 100_000, "no JSON text"),
        ("/v1/shutdown", b"\x00", "malformed"),
    ],
)
async def test_a_body_that_does_not_fit_is_told_with_its_path(
    path: Path, desk: Desk, target: str, body: bytes, said: str
) -> None:
    """400, the place in the JSON, exit code 2; the backend is not asked."""
    async with session(path) as http:
        told = await problem(await http.post(target, data=body), 400)
    assert said in told.message
    assert told.exit_code == 2
    assert not desk.asked


async def test_unknown_fields_are_ignored(path: Path, desk: Desk) -> None:
    """A newer `hr` may say more than this daemon knows."""
    async with session(path) as http:
        assert (await http.post("/v1/ask", data=b'{"text":"x","later":[1]}')).status == 200
    assert desk.asked == [("ask", t.Ask(text="x"))]


@pytest.mark.parametrize(
    "query", ["by=colour", "days=0", "days=-1", "days=x", "days=99999", "days=9999999999", "days=\u0663"]
)
async def test_a_query_out_of_range_is_refused(path: Path, desk: Desk, query: str) -> None:
    """400 with exit code 2, before the backend is asked."""
    async with session(path) as http:
        assert (await problem(await http.get(f"/v1/usage?{query}"), 400)).exit_code == 2
    assert not desk.asked


async def test_a_body_above_the_cap_is_413(path: Path, desk: Desk) -> None:
    """1 MB passes, more does not, with or without a declared length; a packed body is not unpacked."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(64 << 10)

    async with session(path) as http:
        fits = b'{"text":"%s"}' % (b"x" * ((1 << 20) - 11))
        assert len(fits) == 1 << 20
        assert (await http.post("/v1/ask", data=io.BytesIO(fits))).status == 200
        assert (await problem(await http.post("/v1/ask", data=io.BytesIO(fits + b" ")), 413)).exit_code == 2
    async with session(path) as http:
        await problem(await http.post("/v1/ask", data=pieces()), 413)
        packed = await http.post("/v1/ask", data=b"\x1f\x8b\x08\x00", headers={"content-encoding": "gzip"})
        await problem(packed, 400)


async def test_unknown_paths_and_methods_are_problems(path: Path, desk: Desk) -> None:
    """404 and 405 in the envelope, with what to do; HEAD and OPTIONS are methods like others; no redirects."""
    async with session(path) as http:
        for target in ("/", "/v1", "/v1/ping/", "/v1/nope", "/status", "/v1/credentials/a/b/c", "/v1//ping", "/v1/%ff"):
            told = await problem(await http.get(target, allow_redirects=False), 404)
            assert "hr restart" in told.next_step
        wrong = await http.put("/v1/config")
        assert "GET, PATCH" in (await problem(wrong, 405)).message
        assert wrong.headers["allow"] == "GET, PATCH"
        assert (await http.head("/v1/ping")).status == 405
        assert (await http.options("/v1/ping")).status == 405
    assert not desk.asked


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost"}, {"Host": "127.0.0.1:8319"}, {"Host": "hermes-router.evil.example"}, {"Host": ""},
        {"Origin": "http://hermes-router"}, {"Origin": "null"}, {"Referer": "http://hermes-router/"},
    ],
)  # fmt: skip
async def test_a_web_page_is_refused(path: Path, desk: Desk, headers: dict[str, str]) -> None:
    """Another Host, any Origin, any Referer: 403 before anything is read, also on paths that do not exist."""
    async with session(path) as http:
        for target in ("/v1/ping", "/v1/nope"):
            assert (await problem(await http.get(target, headers=headers), 403)).code == "forbidden"
    assert not desk.asked


async def test_an_hr_of_another_api_can_only_ping_stop_and_restart(path: Path, desk: Desk) -> None:
    """What it means might be something else by now: refused before it is done, with exit code 3 and what to do."""
    async with session(path, {"hermes-api": "2", "hermes-version": "10.0.0"}) as http:
        for method, target in sorted(t.FROZEN):
            assert (await http.request(method, target)).status == 200
        told = await problem(await http.post("/v1/ask", json={"text": "x"}), 409)
    assert [call[0] for call in desk.asked] == ["ping", "restart", "shutdown"]
    assert (told.code, told.exit_code) == ("api", 3)
    assert "10.0.0" in told.message
    assert "hr restart" in told.next_step


async def test_a_request_that_is_cut_in_its_body_reaches_nobody(path: Path) -> None:
    """Half a change is no change, and no fault of the daemon either."""
    desk = Desk()
    async with served(path, desk) as log:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"POST /v1/ask HTTP/1.1\r\nHost: hermes-router\r\nContent-Length: 50\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with session(path) as http:
            assert (await http.get("/v1/ping")).status == 200
        del reader
    assert desk.asked == [("ping",)]
    assert log.lines == []


async def test_an_hr_that_leaves_does_not_stop_what_it_asked_for(path: Path) -> None:
    """A killed `hr auth add` leaves no half of a change behind."""
    desk = Desk()
    desk.hold = asyncio.Event()
    done: list[str] = []
    add = desk.add_key

    async def add_key(asked: t.AddKey) -> t.AddedKey:
        row = await add(asked)
        done.append(asked.name)
        return row

    desk.add_key = add_key  # type: ignore[method-assign]
    async with served(path, desk) as log:
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b'POST /v1/keys HTTP/1.1\r\nHost: hermes-router\r\nContent-Length: 12\r\n\r\n{"name":"n"}')
        await until(lambda: desk.asked)
        writer.close()
        await writer.wait_closed()
        await turns(20)
        assert done == []
        desk.hold.set()
        await until(lambda: done)
    assert log.lines == []


# --- two users --------------------------------------------------------------------------------------


async def asked_by(uid: int, gids: list[int], path: Path, method: str, target: str) -> tuple[int, t.Problem | None]:
    """Status and problem of a request by another user."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        with acting_as(uid, gids):
            sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: hermes-router\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    status = int(head.split()[1])
    return status, msgspec.json.decode(body, type=t.Problem) if status >= 400 else None


@as_root
async def test_another_user_is_refused_by_the_directory(path: Path, desk: Desk) -> None:
    """0700 and 0600: connecting fails, and `hr` says whose socket it is, with exit code 3."""
    with pytest.raises(PermissionError):
        await asked_by(STRANGER, [], path, "GET", "/v1/ping")
    path.parent.chmod(0o755)
    with pytest.raises(PermissionError):  # the socket's own mode
        await asked_by(STRANGER, [], path, "GET", "/v1/ping")
    assert not desk.asked


@as_root
async def test_another_user_who_gets_through_is_refused_by_name(path: Path, desk: Desk) -> None:
    """Even where directory and socket stand open, the kernel's word for who connects decides; unknown paths too."""
    open_to_all(path)
    for target in ("/v1/ping", "/v1/nope"):
        status, told = await asked_by(STRANGER, [READERS, 0], path, "GET", target)
        assert status == 403
        assert told is not None
        assert (told.code, told.exit_code) == ("forbidden", 3)
        assert "belongs to user 0" in told.message
    assert not desk.asked


@as_root
async def test_root_may_use_everybodys_daemon(path: Path) -> None:
    """A person's daemon answers its person and root."""
    desk = Desk()
    async with served(path, desk, uid=STRANGER):
        open_to_all(path)
        assert (await asked_by(0, [], path, "POST", "/v1/reload"))[0] == 200
        assert (await asked_by(STRANGER, [], path, "POST", "/v1/reload"))[0] == 200
        assert (await asked_by(STRANGER + 1, [], path, "GET", "/v1/ping"))[0] == 403


@as_root
async def test_members_of_the_services_group_may_look_and_no_more(path: Path) -> None:
    """Contract, "Names and places": reads 200, changes 403 with what to do, fresh model lists included."""
    desk = Desk()
    async with served(path, desk, readers_gid=READERS):
        open_to_all(path)
        for target in ("/v1/ping", "/v1/status", "/v1/models"):
            assert (await asked_by(STRANGER, [5, READERS], path, "GET", target))[0] == 200
        looked = len(desk.asked)
        for method, target in (
            ("POST", "/v1/reload"),
            ("DELETE", "/v1/keys/x"),
            ("POST", "/v1/shutdown"),
            ("GET", "/v1/models?refresh=1"),
        ):
            status, told = await asked_by(STRANGER, [READERS], path, method, target)
            assert status == 403
            assert told is not None
            assert "sudo" in told.next_step
        assert (await asked_by(STRANGER, [5], path, "GET", "/v1/status"))[0] == 403
    assert len(desk.asked) == looked


async def test_a_peer_that_the_kernel_does_not_name_is_refused(
    path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is no permission."""

    def silent(_descriptor: int) -> None:
        raise OSError("not supported")

    monkeypatch.setattr("hermes_router.control.api.peer_of_descriptor", silent)
    async with session(path) as http:
        await problem(await http.get("/v1/ping"), 403)


def there(path: Path) -> bool:
    return path.exists()


def remove(path: Path) -> None:
    path.unlink()


# --- its end ----------------------------------------------------------------------------------------


async def test_closing_lets_an_answer_out_and_takes_the_socket_away(path: Path) -> None:
    """`POST /v1/shutdown` is answered although the answer's handler is what the daemon closes under."""
    desk = Desk()
    server = await serve(path, desk)
    desk.hold = asyncio.Event()
    async with session(path) as http, asyncio.TaskGroup() as group:
        asked = group.create_task(http.post("/v1/shutdown"))
        await until(lambda: desk.asked)
        closed = group.create_task(server.close())
        await asyncio.sleep(0)
        assert not there(path)
        desk.hold.set()
        assert (await asked).status == 200
        await closed
    assert await asyncio.to_thread(Client(path).ping) is None


async def test_closing_does_not_wait_for_ever(path: Path) -> None:
    """A request that does not end is cut when its time is over."""
    desk = Desk()
    server = await serve(path, desk)
    desk.hold = asyncio.Event()
    async with session(path) as http, asyncio.TaskGroup() as group:

        async def ask() -> None:
            with pytest.raises(aiohttp.ClientError):
                await http.get("/v1/status")

        group.create_task(ask())
        await until(lambda: desk.asked)
        async with asyncio.timeout(5):
            await server.close()


async def test_closing_leaves_a_successors_socket_alone(path: Path) -> None:
    """Only the socket that was bound here is removed."""
    first = await serve(path, Desk())
    remove(path)
    successor = Desk()
    second = await serve(path, successor)
    await first.close()
    assert (await asyncio.to_thread(Client(path).ping)) is not None
    await second.close()
    assert not there(path)
