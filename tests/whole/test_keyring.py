"""A restart while the keyring is shut: the successor serves with what its predecessor had in memory."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hermes_router.sandbox.providers import FakeProvider

from .home import Home
from .test_hot import Load

try:
    from tests.store.sessions import MISSING, Session
except ImportError:  # no D-Bus in Python: not Linux
    MISSING = ["jeepney"]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")

ONE, TWO, PRINTED = (f"gsk_canary_0123456789_{name}" for name in ("1111", "2222", "3333"))
FORGET = """
import secretstorage, sys
connection = secretstorage.dbus_init()
for item in secretstorage.get_default_collection(connection).search_items({"service": "hermes-router"}):
    if item.get_secret().decode().endswith(sys.argv[1]):
        item.delete()
connection.close()
"""


async def tails(here: Home) -> set[str]:
    """The keys with which the daemon can serve now."""
    rows = (await here.hr("auth", "list", "--json", code=0)).json["rows"]
    return {row["tail"] for row in rows if row["state"] == "ready"}


def scan(here: Home) -> bytes:
    """All that is written anywhere, and all that `ps` shows, but the command's own file."""
    seen = b"".join(each.read_bytes() for each in here.files() if each.name != "print-a-key")
    for pid in here.daemons():
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                seen += Path(f"/proc/{pid}/{name}").read_bytes()
    return seen


@pytest.mark.parametrize("shut", ["locked", "hung"])
async def test_a_restart_keeps_all_keys_of_a_shut_keyring(home, shut: str) -> None:
    """Locked or hung, and the command fails, too: no request fails, no key is missing, none is written anywhere.

    Once the keyring answers, what it says wins.
    """
    with TemporaryDirectory() as folder, Session(Path(folder)) as session:
        session.start_keyring("test")
        keys = {ONE, TWO, PRINTED}
        bus = session.env["DBUS_SESSION_BUS_ADDRESS"]
        here = await home(
            FakeProvider("groq", keys=keys), SECRET_STORE="keyring", DBUS_SESSION_BUS_ADDRESS=bus, LOG_LEVEL="debug"
        )
        command = here.path / "print-a-key"
        command.write_text(f"#!{sys.executable}\nprint({PRINTED!r})\n")
        command.chmod(0o700)
        await here.hr("start", code=0)
        await here.hr("auth", "add", "groq", stdin=f"{ONE}\n{TWO}\n", code=0)
        await here.hr("auth", "add", "groq", "--command", str(command), code=0)
        everything = {key[-4:] for key in keys}
        assert await tails(here) == everything
        command.write_text("not a program")
        if shut == "hung":
            os.kill(session.keyring_pid, signal.SIGSTOP)
        else:
            session.stop_keyring()
            session.start_keyring(None)
        load = Load(here, 2)
        began = time.monotonic()
        for _ in range(2 if shut == "locked" else 1):  # what was handed over is handed on
            await here.hr("restart", code=0)
            assert await tails(here) == everything
        print(f"keyring {shut}: restarted in {time.monotonic() - began:.1f} s")
        await load.more(10)
        await load.end()
        assert not load.failures
        seen = scan(here)
        assert not [key for key in keys if key.encode() in seen]
        if shut == "hung":
            session.go_on()
        else:
            session.stop_keyring()
            session.start_keyring("test")
        await asyncio.to_thread(session.run, FORGET, ONE[-4:])
        await here.hr("reload", code=0)
        assert await tails(here) == {TWO[-4:], PRINTED[-4:]}
