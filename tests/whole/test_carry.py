"""A set-up carried between two real installations, by way of a file, and through a kill."""

import asyncio
import json
import os
import pty
import signal
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hermes_router.sandbox.providers import FakeProvider

from .home import HR

try:
    from tests.store.sessions import MISSING, Session
except ImportError:  # no D-Bus in Python: not Linux
    MISSING = ["jeepney"]

KEYS = [f"gsk_canary_0123456789_{number:04}" for number in range(30)]


async def test_a_set_up_goes_from_home_to_home(home, tmp_path: Path) -> None:
    """Exported with a daemon, imported without one: the new router serves under the old router key at once.

    No secret is shown on the way, and the file is the owner's alone. Imported where it came from, or twice, it changes
    nothing.
    """
    old = await home(FakeProvider("groq", keys=set(KEYS)))
    await old.hr("start", code=0)
    await old.hr("auth", "add", "groq", "--no-test", stdin="\n".join(KEYS[:3]), code=0)
    await old.hr("config", "set", "MIN_TIER", "2", code=0)
    await old.hr("mode", "sequential", code=0)
    await old.hr("config", "set", "HTTPS_PROXY", "me:pass-canary@127.0.0.1:9", code=0)
    await old.hr("config", "set", "NOTIFY_COMMAND", "/bin/true 'token canary'", code=0)
    made = (await old.hr("key", "add", "agent", "--rpm", "9", code=0)).out.strip()
    path = tmp_path / "set-up.json"
    said = await old.hr("export", str(path), "--with-secrets", code=0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "canary" not in said.out + said.err
    assert "nothing to change" in (await old.hr("import", str(path), code=0)).out
    new = await home(FakeProvider("groq", keys=set(KEYS)))
    looked = await new.hr("import", str(path), "--dry-run", code=0)
    assert "runs here: /bin/true" in " ".join(looked.out.split())
    done = await new.hr("import", str(path), "--yes", code=0)
    assert "canary" not in looked.out + looked.err + done.out + done.err
    await new.hr("start", code=0)
    status, answer = await new.ask(headers=f"x-api-key: {made}\r\n")
    assert status == 200, answer
    rows = (await new.hr("auth", "list", "--json", code=0)).json["rows"]
    assert {row["tail"] for row in rows} == {key[-4:] for key in KEYS[:3]}
    settings = {row["name"]: row["value"] for row in (await new.hr("config", "list", "--json", code=0)).json["rows"]}
    assert (settings["MIN_TIER"], settings["ROTATION_MODE"]) == ("2", "sequential")
    assert "nothing to change" in (await new.hr("import", str(path), code=0)).out


async def test_a_kill_in_the_midst_is_mended_by_another_run(home, tmp_path: Path) -> None:
    """The daemon is killed -9 at several moments of the import; each time the next run does the rest, and nothing is lost."""
    old = await home(FakeProvider("groq", keys=set(KEYS)))
    await old.hr("auth", "add", "groq", "--no-test", stdin="\n".join(KEYS), code=0)
    await old.hr("config", "set", "PATIENCE_SECONDS", "7", code=0)
    await old.hr("key", "add", "agent", code=0)
    path = tmp_path / "set-up.json"
    await old.hr("export", str(path), "--with-secrets", code=0)
    new = await home(FakeProvider("groq", keys=set(KEYS)))
    store = new.path / ".local/share/hermes-router/secrets.json"
    for least in (0, 3, 12):
        running = await new.spawn("import", str(path), "--yes")
        while running.returncode is None and _kept(store) <= least:
            with suppress(TimeoutError):
                await asyncio.wait_for(running.wait(), 0.005)
        for pid in new.daemons():
            os.kill(pid, signal.SIGKILL)
        await running.communicate()
    await new.hr("import", str(path), "--yes")
    assert "nothing to change" in (await new.hr("import", str(path), code=0)).out
    assert _kept(store) == len(KEYS)
    rows = (await new.hr("auth", "list", "--json", code=0)).json["rows"]
    assert {row["tail"] for row in rows} == {key[-4:] for key in KEYS}


def _kept(store: Path) -> int:
    try:
        return len(json.loads(store.read_bytes())["secrets"])
    except (OSError, ValueError):
        return 0


async def test_secrets_do_not_go_to_a_real_terminal(home) -> None:
    """Standard output is a terminal: exit 2; a pipe takes them."""
    here = await home("groq")
    await here.hr("auth", "add", "groq", "--no-test", stdin=KEYS[0], code=0)
    master, slave = pty.openpty()
    try:
        running = await asyncio.create_subprocess_exec(
            *HR, "export", "--with-secrets", env=here.environ, stdout=slave, stderr=asyncio.subprocess.PIPE
        )
        _, said = await running.communicate()
    finally:
        os.close(slave)
        os.close(master)
    assert running.returncode == 2
    assert b"not shown on a terminal" in said
    assert json.loads((await here.hr("export", "--with-secrets", "-", code=0)).out)["keys"][0]["key"] == KEYS[0]


@pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")
async def test_keys_go_into_the_keyring_of_the_new_place(home, tmp_path: Path) -> None:
    """Out of a file here, into a real Secret Service there: that installation keeps its keys in it, and in no file."""
    old = await home("groq", SECRET_STORE="file")
    await old.hr("auth", "add", "groq", "--no-test", stdin=KEYS[0], code=0)
    path = tmp_path / "set-up.json"
    await old.hr("export", str(path), "--with-secrets", code=0)
    with TemporaryDirectory() as folder, Session(Path(folder)) as session:
        session.start_keyring("test")
        bus = session.env["DBUS_SESSION_BUS_ADDRESS"]
        new = await home("groq", SECRET_STORE="keyring", DBUS_SESSION_BUS_ADDRESS=bus)
        await new.hr("import", str(path), "--yes", code=0)
        (row,) = (await new.hr("auth", "list", "--json", code=0)).json["rows"]
        assert row["source"] == "keyring"
        assert not [each for each in new.files() if KEYS[0].encode() in each.read_bytes()]
