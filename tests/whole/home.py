"""An installation of its own: a HOME, the real `hr`, a real detached daemon, and the sandbox as its providers."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Sandbox

HR = [sys.executable, "-P", "-c", "import sys; from hermes_router.cli.main import main; sys.exit(main())"]
KEY = "sk-test-router-key"
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Ran:
    """One `hr` that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Home:
    """A HOME with nothing in it but what `hr` puts there."""

    path: Path
    providers: Sequence[FakeProvider]
    env: dict[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()  # what hr is run under, such as setpriv

    async def __aenter__(self) -> Self:
        self.sandbox = Sandbox(list(self.providers), clock=time.time)
        await self.sandbox.start()
        self.port = free_port()
        self.environ = {
            "HOME": str(self.path),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PORT": str(self.port),
            "PROXY_API_KEYS": KEY,
            "DRAIN_SECONDS": "5",
            "RUNAWAY_GUARD": "off",  # load is one request again and again
            **{f"{name.upper()}_BASE_URL": self.sandbox.base_url(name) for name in self.sandbox.providers},
            **self.env,
        }
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with suppress(TimeoutError):
            await self.hr("stop", "--now")
        for pid in self.daemons():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.sandbox.stop()

    async def spawn(self, *args: str, **kwargs: Any) -> asyncio.subprocess.Process:
        """Start an `hr`."""
        return await asyncio.create_subprocess_exec(
            *self.prefix,
            *HR,
            *args,
            env=self.environ,
            cwd=self.path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            **kwargs,
        )

    async def hr(self, *args: str, stdin: str = "", code: int | None = None) -> Ran:
        """Run an `hr` to its end; `code` is the exit code that it must have."""
        process = await self.spawn(*args)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE_S)
        assert process.returncode is not None
        ran = Ran(process.returncode, out.decode(), err.decode())
        assert code is None or ran.code == code, (args, ran)
        return ran

    def daemons(self) -> list[int]:
        """The processes of this installation's daemons."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    if (
                        b"hermes_router.daemon" in (entry / "cmdline").read_bytes()
                        and f"HOME={self.path}\0".encode() in (entry / "environ").read_bytes() + b"\0"
                    ):
                        found.append(int(entry.name))
        return found

    def files(self) -> list[Path]:
        """Everything that was written."""
        return [each for each in self.path.rglob("*") if each.is_file() and not each.is_symlink()]

    async def ask(self, text: str = "say 5 words", *, stream: bool = False, headers: str = "") -> tuple[int, bytes]:
        """One chat over a connection of its own: status, and the whole answer. Raises OSError as a caller would see it."""
        body = json.dumps(
            {"model": "hermes-router", "stream": stream, "messages": [{"role": "user", "content": text}]}
        ).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost:{self.port}\r\nauthorization: Bearer {KEY}\r\n"
                f"content-type: application/json\r\nconnection: close\r\n{headers}content-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.read()
        finally:
            writer.close()
        if not answer:
            raise ConnectionResetError("nothing came back")
        return int(answer.split(b" ", 2)[1]), answer
