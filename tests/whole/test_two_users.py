"""Two users on one machine: neither can use the other's daemon."""

import asyncio
import os
import shutil
import socket
from pathlib import Path

import pytest

from .home import Home

OTHER = 1500
AS_OTHER = ("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can be two users, with setpriv"
)


def open_to_all(here: Home) -> Path:
    """Take away what the directories protect, so that only the daemon's own check is left."""
    path = here.path / ".local/state/hermes-router/control.sock"
    for each in [path, *path.parents]:
        if str(each).startswith(str(here.path)):
            each.chmod(0o777)
    return path


async def test_another_user_is_refused_by_the_directory_and_by_the_daemon(home) -> None:
    """First the 0700 directory, then, with that wide open, the peer's uid: 403, and nothing was changed."""
    mine = await home("groq")
    theirs = await home("groq", prefix=AS_OTHER)
    os.chown(theirs.path, OTHER, OTHER)
    mine.path.chmod(0o755)
    await mine.hr("start", code=0)
    path = mine.path / ".local/state/hermes-router/control.sock"
    theirs.environ["HERMES_ROUTER_SOCKET"] = str(path)
    for wide in (False, True):
        if wide:
            open_to_all(mine)
        for command in (("status",), ("stop",), ("config", "set", "MIN_TIER", "5")):
            ran = await theirs.hr(*command)
            assert ran.code in {3, 4}, (wide, command, ran)
            assert ran.err
    reader_refused = await _raw(path)
    assert reader_refused
    assert (await mine.hr("status")).code == 0
    assert "MIN_TIER  5" not in (await mine.hr("config", "list")).out


async def _raw(path: Path) -> bool:
    """Whether the daemon itself answers 403 to the other uid, whatever a client thinks of the socket."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(5)
                sock.connect(str(path))
                sock.sendall(b"POST /v1/shutdown HTTP/1.1\r\nhost: hermes-router\r\ncontent-length: 2\r\n\r\n{}")
                os._exit(0 if b" 403 " in sock.recv(200) else 1)
        finally:
            os._exit(2)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    return os.waitstatus_to_exitcode(status) == 0
