"""The system service: members of its group may look, root and its own user may change, everybody else nothing."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .home import Home

USER, GROUP = 1500, 1700
# A mount namespace of our own: a /run with the service's directory, and an /etc/group that knows its group.
STAGE = f"""
set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -m 0750 /run/hermes-router
chgrp {GROUP} /run/hermes-router
(cat /etc/group; echo hermes-router:x:{GROUP}:) > /run/group
mount --bind /run/group /etc/group
echo ready
exec cat
"""
TOOLS = ("setpriv", "unshare", "nsenter")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS),
    reason="only root can be two users and set a stage, with setpriv and unshare",
)


def acting_as(stage: int, *groups: int) -> tuple[str, ...]:
    """What an `hr` of the other user is run under."""
    told = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return (*on(stage), "setpriv", f"--reuid={USER}", f"--regid={USER}", told)


def on(stage: int) -> tuple[str, ...]:
    return ("nsenter", f"--mount=/proc/{stage}/ns/mnt", "--")


@pytest.fixture
async def stage() -> AsyncIterator[int]:
    """The process that holds the namespace."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("unshare", "--mount", "sh", "-c", STAGE, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    if await process.stdout.readline() != b"ready\n":
        pytest.skip("no mount namespace can be made here")
    yield process.pid
    process.stdin.close()
    await process.wait()


async def test_members_look_and_others_do_nothing(home, stage: int) -> None:
    """0660 in 0750, group `hermes-router`. A member sees the status, and is told who may change; also after a restart."""
    service = await home("groq", prefix=on(stage), HERMES_ROUTER_SOCKET="/run/hermes-router/control.sock")
    await service.hr("start", code=0)
    member: Home = await home(prefix=acting_as(stage, GROUP))
    stranger: Home = await home(prefix=acting_as(stage))
    for one in (member, stranger):
        os.chown(one.path, USER, USER)
    socket = Path(f"/proc/{stage}/root/run/hermes-router/control.sock")
    for moment in ("at first", "after a restart"):
        found = socket.stat()  # noqa: ASYNC240 - nobody else runs in this loop
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, GROUP), moment
        seen = await member.hr("status", "--json", code=0)
        assert seen.json["ping"]["port"] == service.port
        await member.hr("usage", code=0)
        for change in (("config", "set", "MIN_TIER", "5"), ("stop",), ("reload",), ("key", "add", "mine")):
            ran = await member.hr(*change, code=3)
            assert "You may look" in ran.err
        refused = await stranger.hr("status")
        assert (refused.code, "belongs to another user" in refused.err) == (3, True)
        await service.hr("restart", code=0)
    assert (await service.hr("config", "get", "MIN_TIER", code=0)).out == "1\n"
