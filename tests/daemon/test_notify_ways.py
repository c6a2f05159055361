"""hermes_router/daemon/notify_ways.py: one POST and one program, for real, against everything that can go wrong there."""

import asyncio
import base64
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.ids import ProviderName, Secret
from hermes_router.core.notify_ways import read_address, read_command
from hermes_router.core.settings import Settings
from hermes_router.daemon import notify_ways
from hermes_router.daemon.notify_ways import NotTold, Ways
from hermes_router.engine.alerts import Message
from hermes_router.upstream.http import HttpTransport

from ..upstream.conftest import CLOSE, HANG, RESET, Upstream

KEY = "gsk_0123456789abcdef"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
MESSAGE = Message(
    "pool_down", "alarm", "nothing can answer", "No target.\nSee `hr status`: Ä €.", 1.0, 5, "rotating_light"
)


class Post:
    """A way by address, to an upstream that plays these turns."""

    def __init__(self, *turns: Any) -> None:
        self.upstream = Upstream(*turns)

    async def __aenter__(self) -> Self:
        await self.upstream.start()
        self.transport = HttpTransport(asyncio.get_running_loop(), max_idle_per_host=0)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.transport.close()
        await self.upstream.stop()

    def ways(self, path: str = "/Topic123456", user: str = "") -> Ways:
        url = f"http://{user}127.0.0.1:{self.upstream.port}{path}"
        return made(self.transport, notify_url=read_address(url))

    @property
    def request(self) -> tuple[list[str], str]:
        """The last request's head, a line each, and its body."""
        head, _, body = self.upstream.requests[-1].partition(b"\r\n\r\n")
        return head.decode().split("\r\n"), body.decode()


def made(transport: Any = None, environ: dict[str, str] | None = None, host: str = "box", **settings: Any) -> Ways:
    spec = SimpleNamespace(name=ProviderName("groq"), auth="bearer", env=())
    loaded: Any = SimpleNamespace(
        settings=Settings(**settings),
        vault=SimpleNamespace(secrets=lambda: (Secret(KEY),)),
        accounts=(),
        catalog={ProviderName("groq"): spec},
    )
    return Ways(lambda: loaded, transport, environ or {"PATH": os.environ["PATH"]}, host=host)


async def test_a_post_is_as_ntfy_takes_it() -> None:
    """The sentence as plain text, title, priority and tag in the head, user info as authorization and not in the URL."""
    async with Post(OK) as here:
        await here.ways("/Topic123456?up=1", "me:pass%20word@").tell("url", MESSAGE)
        head, body = here.request
    assert head[0] == "POST /Topic123456?up=1 HTTP/1.1"
    assert body == MESSAGE.text
    login = base64.b64encode(b"me:pass word").decode()
    assert {
        "content-type: text/plain; charset=utf-8", "title: hermes-router on box: nothing can answer", "priority: 5",
        "tags: rotating_light", f"authorization: Basic {login}", f"host: 127.0.0.1:{here.upstream.port}",
    } <= set(head)  # fmt: skip


@pytest.mark.parametrize(
    ("turn", "said", "final"),
    [
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "it answers 500", False),
        (b"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n", "it answers 429", False),
        (b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", "it answers 403", True),
        (b"HTTP/1.1 302 Go\r\nlocation: http://127.0.0.1:1/x\r\ncontent-length: 0\r\n\r\n", "302, a redirect", True),
        (CLOSE, "it cannot be reached", False),
        (RESET, "it cannot be reached", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it cannot be reached", False),
    ],
)
async def test_what_is_no_success_is_said(turn: Any, said: str, final: bool) -> None:
    """By its status or as unreachable; a redirect is not followed, and nothing of the address is shown."""
    async with Post((turn, CLOSE) if isinstance(turn, bytes) else turn) as here:
        with pytest.raises(NotTold, match=said) as caught:
            await here.ways(user="me:hunter22@").tell("url", MESSAGE)
    assert caught.value.final is final
    assert "Topic123456" not in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert len(here.upstream.requests) == 1


async def test_silence_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the message and never answers is a failure after the limit."""
    monkeypatch.setattr(notify_ways, "TRY_S", 0.2)
    async with Post(HANG) as here:
        with pytest.raises(NotTold, match=r"no answer within 0\.2 s"):
            await here.ways().tell("url", MESSAGE)


async def test_a_body_that_never_ends_is_not_waited_for() -> None:
    """The status says that the message was taken: to send it again would tell it twice."""
    async with Post((b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nx", HANG)) as here:
        async with asyncio.timeout(5):
            await here.ways().tell("url", MESSAGE)


async def test_nobody_listens() -> None:
    """A port without a server is said in a sentence."""
    transport = HttpTransport(asyncio.get_running_loop(), max_idle_per_host=0)
    ways = made(transport, notify_url=read_address("http://127.0.0.1:9/x"))
    with pytest.raises(NotTold, match="it cannot be reached"):
        await ways.tell("url", MESSAGE)
    await transport.close()


async def test_no_secret_and_no_control_character_goes_out() -> None:
    """Whatever a fault's sentence quotes: keys are stars, escapes are blanks, and the length has a bound."""
    evil = MESSAGE._replace(text=f"the key {KEY}\x1b[2J\r\n" + "€" * 5_000)
    async with Post(OK) as here:
        await here.ways().tell("url", evil)
        _, body = here.request
    assert body.startswith("the key *** [2J \n€")
    assert len(body.encode()) <= 3_500


async def test_a_title_holds_to_its_line() -> None:
    """A strange host name cannot add a header."""
    async with Post(OK) as here:
        ways = here.ways()
        ways._host = made(host="bö\r\nx: y")._host
        await ways.tell("url", MESSAGE)
        head, _ = here.request
    assert "title: hermes-router on bx: y: nothing can answer" in head


# --- a program ----------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """Write a program; what runs it."""

    def write(body: str) -> str:
        path = tmp_path / "tell me.sh"
        path.write_text(f"#!/bin/sh\ncd '{tmp_path}'\n{body}\n")
        path.chmod(stat.S_IRWXU)
        return f"'{path}' 'two words' $HOME"

    return write


async def test_a_program_gets_message_arguments_and_words(script: Any, tmp_path: Path) -> None:
    """On standard input and in its environment; quotes hold, no shell replaces anything."""
    command = read_command(script('cat >in; printf "%s|" "$@" >args; env >env'))
    await made(notify_command=command).tell("command", MESSAGE)
    assert (tmp_path / "in").read_text() == MESSAGE.text + "\n"
    assert (tmp_path / "args").read_text() == "two words|$HOME|"
    said = (tmp_path / "env").read_text()
    assert "HR_NOTIFY_KIND=pool_down\n" in said
    assert "HR_NOTIFY_STATE=alarm\n" in said
    assert "HR_NOTIFY_TITLE=hermes-router on box: nothing can answer\n" in said
    assert f"HR_NOTIFY_MESSAGE={MESSAGE.text}\n" in said
    assert "HR_NOTIFY_PRIORITY=5\n" in said


async def test_a_program_sees_no_secret_of_ours(script: Any, tmp_path: Path) -> None:
    """Neither our variables, nor whatever holds a key, nor where the service manager put our credentials."""
    environ = {
        "PATH": os.environ["PATH"], "HOME": "/home/ada", "NO_PROXY": "x.example", "GROQ_API_KEY_2": "gsk_other_9876543210",
        "PROXY_API_KEYS": "sk-x", "NOTIFY_URL": "https://ntfy.sh/t", "MY_COPY": f"x{KEY}",
        "CREDENTIALS_DIRECTORY": "/run/c", "PORT": "1",
    }  # fmt: skip
    await made(environ=environ, notify_command=read_command(script("env >env"))).tell("command", MESSAGE)
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert {"PATH", "HOME", "NO_PROXY"} <= names
    assert names.isdisjoint({*environ} - {"PATH", "HOME", "NO_PROXY"})


@pytest.mark.parametrize(
    ("body", "said"),
    [("exit 3", "it ended with status 3"), ("echo hunter2 >&2; kill -9 $$", "it ended with signal 9")],
)
async def test_a_program_that_fails_is_said_by_its_end(script: Any, body: str, said: str) -> None:
    """Its exit code, and nothing that it prints."""
    with pytest.raises(NotTold, match=said) as caught:
        await made(notify_command=read_command(script(body))).tell("command", MESSAGE)
    assert "hunter2" not in str(caught.value)


async def test_a_program_that_reads_nothing_is_none_that_fails(script: Any) -> None:
    """It may take what it needs from its environment."""
    await made(notify_command=read_command(script("exec 0<&-; exit 0"))).tell("command", MESSAGE)


async def test_a_program_that_is_not_there() -> None:
    """It is said that it cannot be started."""
    with pytest.raises(NotTold, match="it cannot be started: No such file"):
        await made(notify_command=read_command("/no/such/program x")).tell("command", MESSAGE)


async def test_a_program_that_hangs_ends_with_all_its_children(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the limit the whole group is gone."""
    monkeypatch.setattr(notify_ways, "TRY_S", 0.5)
    body = f"{sys.executable} -c 'import time; time.sleep(60)' & echo $! >child; wait"
    with pytest.raises(NotTold, match=r"did not end within 0\.5 s"):
        await made(notify_command=read_command(script(body))).tell("command", MESSAGE)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(child):  # noqa: ASYNC110 - another's child has no event
        await asyncio.sleep(0.02)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False


async def test_a_way_that_is_not_set_has_nothing_to_tell() -> None:
    """It was unset while a letter waited: no failure."""
    ways = made()
    assert not ways.set()
    await ways.tell("url", MESSAGE)
    await ways.tell("command", MESSAGE)


def test_the_spec_of_a_row_is_all_that_names_need() -> None:
    """The stand-in above has what `is_ours` reads of a row, under the same names."""
    assert {"name", "auth", "env"} <= set(ProviderSpec.__struct_fields__)
