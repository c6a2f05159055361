"""A disk that is full, or turns read-only under the daemon: it serves on, says what it cannot do, and loses nothing."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_router.sandbox.providers import FakeProvider

from .home import Home

TOOLS = ("unshare", "nsenter", "mount")
KEY, OTHER_KEY = "gsk_key_0001_0123456789ab", "gsk_key_0002_0123456789ab"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS),
    reason="only root can make a small disk, with unshare and mount",
)


class Disk:
    """A tmpfs of three megabytes, mounted for the daemon and `hr` alone."""

    def __init__(self, stage: int, home: Home) -> None:
        self.prefix = ("nsenter", f"--mount=/proc/{stage}/ns/mnt", "--")
        self.path = Path(f"/proc/{stage}/root{home.path}")
        self.home = home

    async def mount(self, *options: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *self.prefix, "mount", "-t", "tmpfs", "-o", ",".join(("size=3m", *options)), "none", str(self.home.path)
        )
        assert await process.wait() == 0

    def fill(self) -> None:
        with (self.path / "filler").open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                return

    def empty(self) -> None:
        (self.path / "filler").unlink()


@pytest.fixture
async def disk(home: Callable[..., Any]) -> AsyncIterator[Disk]:
    """An installation whose home is that disk, with one key in its environment."""
    pipe = asyncio.subprocess.PIPE
    stage = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "sh", "-c", "mount --make-rprivate / && echo ready && exec cat", stdin=pipe, stdout=pipe
    )
    assert stage.stdin is not None
    assert stage.stdout is not None
    if await stage.stdout.readline() != b"ready\n":
        pytest.skip("no mount namespace can be made here")
    here = await home(FakeProvider("groq", keys={KEY, OTHER_KEY}), GROQ_API_KEY=KEY)
    made = Disk(stage.pid, here)
    here.prefix = made.prefix
    await made.mount()
    yield made
    await here.hr("stop", "--now")
    stage.stdin.close()
    await stage.wait()


async def _refused(here: Home, said: str) -> None:
    """Each change is refused with what is in its way, and has changed nothing."""
    for command, stdin in (
        (("auth", "add", "groq", "--no-test"), OTHER_KEY),
        (("config", "set", "MIN_TIER", "2"), ""),
        (("key", "add", "mine"), ""),
    ):
        ran = await here.hr(*command, stdin=stdin, code=1)
        assert said in ran.err, ran
        assert "nothing was changed" in ran.err or "nothing changed" in ran.err, ran


async def _until(here: Home, found: Callable[[Any], bool]) -> None:
    """Return once `hr status` says so."""
    async with asyncio.timeout(20):
        while True:
            if found((await here.hr("status", "--json", code=0)).json):
                return


async def test_a_disk_that_runs_full_costs_no_answer(disk: Disk) -> None:
    """Answers, a restart and a reload go on; what is to be written waits, is named, and is there once there is room."""
    here = disk.home
    await here.hr("start", code=0)
    assert (await here.ask())[0] == 200
    disk.fill()
    for number in range(30):
        assert (await here.ask(f"say {number % 5 + 1} words"))[0] == 200
    await _refused(here, "No space left")
    await _until(here, lambda status: "full" in " ".join(status["problems"]))
    await here.hr("reload", code=0)
    await here.hr("restart", code=0)
    assert (await here.ask(stream=True))[0] == 200
    disk.empty()
    await here.hr("config", "set", "MIN_TIER", "2", code=0)
    await here.hr("auth", "add", "groq", "--no-test", stdin=OTHER_KEY, code=0)
    await _until(here, lambda status: status["today"]["requests"] == 32)


async def test_on_a_full_disk_it_starts_and_serves(disk: Disk) -> None:
    """Without room for a single byte: it says what it cannot keep, and answers."""
    here = disk.home
    disk.fill()
    ran = await here.hr("start", code=0)
    assert "credential.key" in ran.err
    assert "No space left" in ran.err
    assert (await here.ask())[0] == 200
    await _refused(here, "No space left")


async def test_a_disk_that_is_read_only_serves_without_hr(disk: Disk) -> None:
    """In the foreground, as a unit runs it: no lock and no control socket can be had, and callers are answered."""
    here = disk.home
    process = await asyncio.create_subprocess_exec(*disk.prefix, "mount", "-o", "remount,ro", "none", str(here.path))
    assert await process.wait() == 0
    refused = await here.hr("start", code=1)
    assert "cannot be locked (No such file or directory)" in refused.err or "Read-only file system" in refused.err
    serving = await here.spawn("serve")
    assert serving.stderr is not None
    seen = b""
    async with asyncio.timeout(20):
        while b"daemon.ready" not in seen:
            line = await serving.stderr.readline()
            assert line, seen
            seen += line
    assert b"Read-only file system" in seen
    assert b"runs without control socket" in seen
    assert (await here.ask())[0] == 200
    serving.terminate()
    await serving.communicate()
    assert serving.returncode == 0
