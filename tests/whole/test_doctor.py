"""`hr doctor` on a real installation: well, hung, without a daemon, with a taken port, with a locked keyring."""

import os
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from hermes_router.sandbox.providers import FakeProvider

from .home import Home

try:
    from tests.store.sessions import MISSING, Session
except ImportError:  # no D-Bus in Python: not Linux
    MISSING = ["jeepney"]

KEY, OTHER = "gsk_canary_0123456789_1111", "m_canary_0123456789_2222"


def pool() -> list[FakeProvider]:
    return [FakeProvider("groq", keys={KEY}), FakeProvider("mistral", keys={OTHER})]


async def doctor(here: Home, *more: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Its exit code, and its findings by id; none of them shows a key."""
    ran = await here.hr("doctor", "--json", *more)
    assert "canary" not in ran.out + ran.err
    found: dict[str, list[dict[str, Any]]] = {}
    for row in ran.json:
        found.setdefault(row["id"], []).append(row)
    return ran.code, found


def wrong(found: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """What is a fault or a warning."""
    return {name: row["said"] for name, rows in found.items() for row in rows if row["state"] in {"fault", "warning"}}


async def test_a_sound_installation_is_well(home) -> None:
    """Two providers, a real daemon: nothing is wrong, every way is walked, no key is sent and no model is asked."""
    providers = pool()
    here = await home(*providers, MISTRAL_API_KEY=OTHER, PATH="/usr/bin:/bin")
    await here.hr("start", code=0)
    await here.hr("auth", "add", "groq", "--no-test", stdin=KEY, code=0)
    code, found = await doctor(here)
    of_the_machine = {"disk", "memory"} & wrong(found).keys()  # whoever runs this may have little of either
    assert wrong(found).keys() == of_the_machine
    assert code == int(bool(of_the_machine))
    assert {row["subject"] for row in found["network"]} == {"groq", "mistral"}
    assert {row["state"] for row in found["network"]} == {"ok"}
    assert found["port"][0]["state"] == "ok"
    assert found["lock"][0]["state"] == "ok"
    assert found["database"][0]["state"] == "ok"
    assert found["permissions"][0]["state"] == "ok"
    assert found["descriptors"][0]["state"] != "skipped"
    sent = [one for one in here.sandbox.requests if one.headers.get("user-agent") == "hermes-router"]
    assert len(sent) == 2
    assert not [one for one in sent if "authorization" in one.headers or one.raw]
    assert not [one for one in here.sandbox.requests if one.path.endswith("/chat/completions")]
    shown = await here.hr("doctor", code=code)
    assert shown.out.rstrip().splitlines()[-1].startswith("Something" if code else "All is well")


async def test_a_daemon_that_hangs_is_told(home) -> None:
    """Stopped by SIGSTOP: said with its pid, while the files are still read and the rest is looked at."""
    here = await home(*pool(), GROQ_API_KEY=KEY, MISTRAL_API_KEY=OTHER)
    await here.hr("start", code=0)
    (pid,) = here.daemons()
    os.kill(pid, signal.SIGSTOP)
    try:
        code, found = await doctor(here)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert code == 1
    assert found["daemon"][0]["state"] == "fault"
    assert f"pid {pid}" in found["daemon"][0]["said"]
    assert {row["state"] for row in found["network"]} == {"ok"}
    assert found["single-provider"][0]["state"] == "ok"


async def test_without_a_daemon_nothing_is_started_and_nothing_is_changed(home) -> None:
    """A port that somebody has, a `.env` that others read, a key whose secret is lost: told from the files alone."""
    here = await home(*pool())
    await here.hr("auth", "add", "groq", "--no-test", stdin=KEY, code=0)
    data = here.path / ".local/share/hermes-router"
    (data / "secrets.json").unlink()
    env = here.path / ".config/hermes-router/.env"
    env.write_text("MIN_TIER=9\n")
    env.chmod(0o644)
    before = {path: path.stat().st_mtime_ns for path in here.path.rglob("*")}
    with socket.create_server(("127.0.0.1", here.port)):
        code, found = await doctor(here)
    said = wrong(found)
    assert code == 1
    assert set(said) == {"daemon", "keys", "port", "permissions", "secrets", "settings"}
    assert f"pid {os.getpid()}" in said["port"]
    assert "MIN_TIER" in said["settings"]
    assert here.daemons() == []
    assert {path: path.stat().st_mtime_ns for path in here.path.rglob("*")} == before


async def test_a_rejected_key_and_a_server_that_is_gone(home) -> None:
    """As a running daemon knows them: revoked or paused by the provider's answer, unreachable by the way there."""
    here = await home(FakeProvider("groq", keys=set()), FakeProvider("mistral", keys={OTHER}), MISTRAL_API_KEY=OTHER)
    here.environ["LOCAL_BASE_URL"] = "http://127.0.0.1:9/v1"
    here.environ["LOCAL_MODEL"] = "llama"
    await here.hr("start", code=0)
    await here.hr("auth", "add", "groq", "--force", stdin=KEY)
    assert (await here.ask())[0] == 200
    code, found = await doctor(here)
    said = wrong(found)
    assert code == 1
    assert "groq …1111" in said["keys"]
    assert "does not answer" in said["local"]


@pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")
@pytest.mark.parametrize("shut", ["locked", "hung"])
async def test_a_keyring_that_is_shut_is_told(home, shut: str) -> None:
    """A real Secret Service: a fault with its cure where the files alone are read, a warning where memory has the key."""
    with TemporaryDirectory() as folder, Session(Path(folder)) as session:
        session.start_keyring("test")
        bus = session.env["DBUS_SESSION_BUS_ADDRESS"]
        here = await home(*pool(), SECRET_STORE="keyring", DBUS_SESSION_BUS_ADDRESS=bus)
        await here.hr("auth", "add", "groq", "--no-test", stdin=KEY, code=0)
        _, found = await doctor(here, "--offline")
        assert [found[name][0]["state"] for name in ("vault", "secrets", "keys")] == ["ok", "ok", "ok"]
        await here.hr("start", code=0)
        for _ in range(50):  # it reads the keyring beside the loop
            rows = (await here.hr("auth", "list", "--json", code=0)).json["rows"]
            if rows and rows[0]["state"] == "ready":
                break
        if shut == "hung":
            os.kill(session.keyring_pid, signal.SIGSTOP)
        else:
            session.stop_keyring()
            session.start_keyring(None)
        _, found = await doctor(here, "--offline")
        assert found["vault"][0]["state"] == "warning"
        await here.hr("stop", "--now", code=0)
        code, found = await doctor(here, "--offline")
        assert (code, found["vault"][0]["state"]) == (1, "fault")
        assert ("locked" if shut == "locked" else "did not answer") in found["vault"][0]["said"]
        assert found["vault"][0]["cure"]
        if shut == "hung":
            session.go_on()
