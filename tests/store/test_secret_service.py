"""The vault against a real Secret Service: present, locked, absent, hung, with a null backend, with keyrings.alt."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .rings import ROOT, entry, secret

try:
    from .sessions import MISSING, Session
except ImportError:  # no D-Bus in Python: not Linux
    MISSING = ["jeepney"]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")

SERVICE = f"hermes-router-test-{os.getpid()}"
_LIMIT_S = 3.0

# Each program is a process of its own, as a daemon would be: `store` as the daemon opens it, for a plain user.
_PRELUDE = f"""
import asyncio, json, os, signal, sys, time
from pathlib import Path
from hermes_router.control.places import Places
from hermes_router.core.errors import VaultError
from hermes_router.daemon.secret_store import open_store
from hermes_router.store.keyring_store import KeyringThread
from hermes_router.store.vault import CredentialStore
from tests.store.rings import Log, entry, secret, texts

data, log = Path(sys.argv[1]), Log()
places = Places(data, data, data, data / ".env", data / "control.sock")

def opened(uid=1000):
    store = open_store(places, os.environ, uid=uid, log=log, now=time.time, service={SERVICE!r})
    store.load()
    return store

def say(**what):
    print(json.dumps(what), flush=True)

def state(store):
    say(store=store.store, note=store.note, texts=texts(store), unavailable=dict(store.unavailable),
        problems=store.problems, places={{e.id: e.store for e in store.entries}}, log=log.names)

async def tried(work):
    began = time.monotonic()
    try:
        said = await work
    except VaultError as error:
        said = f"{{error.message}} -> {{error.next_step}}"
    return [said, time.monotonic() - began]
"""


def _program(body: str) -> str:
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    return f"{_PRELUDE}\nasync def main():\n{lines}\n\nasyncio.run(main())\n"


_ADD = _program("""
store = opened()
await store.read_keyring()
for number in map(int, sys.argv[2:]):
    say(tried=await tried(store.put(entry(number), secret(number))))
state(store)
""")

_READ = _program("""
store = opened()
say(tried=await tried(store.read_keyring()))
state(store)
""")

# What the service itself says that it holds.
_LIST = f"""
import json, secretstorage
connection = secretstorage.dbus_init()
found = secretstorage.get_default_collection(connection).search_items({{"service": {SERVICE!r}}})
print(json.dumps({{item.get_attributes()["username"]: item.get_secret().decode() for item in found}}))
connection.close()
"""


def _said(lines: list[str]) -> dict[str, Any]:
    """All that a program said, later values over earlier ones, and every `tried` in order."""
    rows = [json.loads(line) for line in lines]
    merged: dict[str, Any] = {}
    for row in rows:
        merged |= row
    return merged | {"tried": [row["tried"] for row in rows if "tried" in row]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a person of our own."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def session(home: Path) -> Iterator["Session"]:
    """A session whose keyring is open."""
    with Session(home) as session:
        session.start_keyring("test")
        yield session


def _texts(*numbers: int) -> dict[str, str]:
    return {entry(n).id: secret(n).reveal() for n in numbers}


def _name(number: int) -> str:
    return f"provider/groq/{entry(number).id}"


def test_present_keys_go_to_the_keyring_and_come_back(session: "Session", home: Path) -> None:
    """Decided by the probe; another process reads them; removed they are gone; there and back by migration."""
    added = _said(session.run(_ADD, home / "data", 1, 2))
    assert [said for said, _ in added["tried"]] == ["keyring", "keyring"]
    assert json.loads(session.run(_LIST)[0]) == {_name(n): secret(n).reveal() for n in (1, 2)}
    assert [path.name for path in (home / "data").iterdir()] == ["credentials.json"]
    read = _said(session.run(_READ, home / "data"))
    assert (read["texts"], read["unavailable"], read["problems"]) == (_texts(1, 2), {}, [])
    assert "a test of it succeeded" in read["note"]
    moved = _said(
        session.run(
            _program("""
store = opened()
await store.read_keyring()
await store.remove([entry(1).id])
state(store)
say(tried=await tried(store.migrate("file")))
say(tried=await tried(store.put(entry(3), secret(3))))
say(in_file=(data / "secrets.json").read_text())
say(tried=await tried(store.migrate("keyring")))
state(store)
"""),
            home / "data",
        )
    )
    assert [said for said, _ in moved["tried"]] == [1, "file", 2]
    assert secret(2).reveal() in moved["in_file"]
    assert secret(1).reveal() not in moved["in_file"]
    assert (moved["texts"], moved["problems"]) == (_texts(2, 3), [])
    assert json.loads(session.run(_LIST)[0]) == {_name(n): secret(n).reveal() for n in (2, 3)}
    assert not (home / "data" / "secrets.json").exists()


def test_root_leaves_the_keyring_of_the_session_alone(session: "Session", home: Path) -> None:
    """By policy: uid 0 takes the file, though a keyring would answer."""
    program = _program("""
store = opened(uid=0)
say(tried=await tried(store.put(entry(1), secret(1))))
""")
    assert _said(session.run(program, home / "data"))["tried"][0][0] == "file"
    assert json.loads(session.run(_LIST)[0]) == {}


def test_locked_at_start_the_daemon_runs_without_those_keys(home: Path) -> None:
    """After a restart of the session nobody unlocked it: unavailable with the reason, nothing written anywhere else."""
    with Session(home) as session:
        session.start_keyring("test")
        session.run(_ADD, home / "data", 1)
    with Session(home) as session:
        session.start_keyring(None)
        read = _said(session.run(_ADD, home / "data", 2))
        assert (read["texts"], read["unavailable"]) == ({entry(1).id: None}, {entry(1).id: "the keyring is locked"})
        [[said, took_s]] = read["tried"]
        assert "the keyring is locked -> unlock" in said
        assert took_s < _LIMIT_S + 5
        assert [path.name for path in (home / "data").iterdir()] == ["credentials.json"]
    with Session(home) as session:
        session.start_keyring("test")
        assert _said(session.run(_READ, home / "data"))["texts"] == _texts(1)


def test_a_keyring_that_nobody_ever_set_up_is_the_file(home: Path) -> None:
    """A server with gnome-keyring installed: selected as healthy by the library, and found out by the probe."""
    with Session(home) as session:
        session.start_keyring(None)
        added = _said(session.run(_ADD, home / "data", 1))
    [[said, took_s]] = added["tried"]
    assert said == "file"
    assert took_s < _LIMIT_S + 5
    assert "never set up" in added["note"]


def test_absent_it_is_the_file_and_a_remembered_keyring_is_waited_for(home: Path) -> None:
    """No bus at all: new installations take the file; one that chose the keyring says why its keys are missing."""
    with Session(home) as session:
        session.start_keyring("test")
        session.run(_ADD, home / "remembered", 1)
        there = session.env["DBUS_SESSION_BUS_ADDRESS"]
        for address in ("", f"unix:path={home}/no-such-socket"):
            session.env["DBUS_SESSION_BUS_ADDRESS"] = address
            if not address:
                del session.env["DBUS_SESSION_BUS_ADDRESS"]
            fresh = _said(session.run(_ADD, home / f"fresh{len(address)}", 1))
            assert fresh["tried"][0][0] == "file"
            read = _said(session.run(_READ, home / "remembered"))
            assert read["unavailable"] == {entry(1).id: "there is no keyring here"}
        program = _program("""
store = opened()
await store.read_keyring()
state(store)
os.environ["DBUS_SESSION_BUS_ADDRESS"] = sys.argv[2]  # someone logged in meanwhile
await store.read_keyring()
state(store)
""")
        assert _said(session.run(program, home / "remembered", there))["texts"] == _texts(1)


_HUNG = _program("""
pid = int(sys.argv[2])
keyring = KeyringThread(log=log, service=sys.argv[3], limit_s=30.0)  # it is well, on a machine that may be busy
store = CredentialStore(data, choice="auto", keyring=keyring, headless=False, log=log, now=time.time)
store.load()
say(first=await tried(store.put(entry(1), secret(1))))

beats = 0
async def beat():
    nonlocal beats
    while True:
        await asyncio.sleep(0.01)
        beats += 1
beating = asyncio.ensure_future(beat())

keyring._limit_s = 1.0
os.kill(pid, signal.SIGSTOP)
say(anew=await tried(store.read_keyring(anew=True)), serving=texts(store))
say(put=await tried(store.put(entry(2), secret(2))), again=await tried(store.put(entry(2), secret(2))))
say(beats=beats, files=sorted(path.name for path in data.iterdir()))
os.kill(pid, signal.SIGCONT)
while keyring.hung:
    await asyncio.sleep(0.01)
keyring._limit_s = 30.0
say(later=await tried(store.put(entry(2), secret(2))))
keyring._limit_s = 1.0
os.kill(pid, signal.SIGSTOP)
say(last=await tried(store.read_keyring(anew=True)), serving=texts(store))
beating.cancel()
say(ends_at=time.time())
""")


def test_hung_it_holds_up_neither_the_loop_nor_the_exit(session: "Session", home: Path) -> None:
    """Stopped with SIGSTOP: calls end at their limit, later ones at once, keys serve on, the process exits at once.

    It goes on as before when the keyring does; nothing is written to a second place meanwhile.
    """
    try:
        said = _said(session.run(_HUNG, home / "data", session.keyring_pid, SERVICE))
        took_to_exit_s = time.time() - said["ends_at"]
    finally:
        session.go_on()
    assert said["first"][0] == "keyring"
    assert said["anew"][1] > 0.9
    assert said["serving"] == _texts(1, 2)
    assert "did not answer within 1 s" in said["put"][0]
    assert said["put"][1] + said["again"][1] < 1.9  # each would have waited for a second
    assert said["files"] == ["credentials.json"]
    assert said["beats"] >= 5  # the loop went on while it was waited for
    assert said["later"][0] == "keyring"
    assert took_to_exit_s < 20  # it is stopped still: an exit that waits for it never comes
    assert json.loads(session.run(_LIST)[0]) == {_name(n): secret(n).reveal() for n in (1, 2)}


def test_a_null_backend_does_not_swallow_keys(session: "Session", home: Path) -> None:
    """`keyring --disable` and a pinned null backend take everything and keep nothing: it is the file."""
    added = _said(session.run(_ADD, home / "data", 1, PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring"))
    assert added["tried"][0][0] == "file"
    assert "null" in added["note"]
    assert _said(session.run(_READ, home / "data"))["texts"] == _texts(1)


# As keyrings.alt 5: two more backends, one of which asks for a password on standard input. Here each leaves a mark.
_ALT = """
import os
from pathlib import Path
from keyring.backend import KeyringBackend

class _Stranger(KeyringBackend):
    def _mark(self, *_):
        Path(os.environ["MARK"]).touch()
        input("Please enter password for encrypted keyring: ")
    get_password = set_password = delete_password = _mark

class PlaintextKeyring(_Stranger):
    priority = 0.5

class EncryptedKeyring(_Stranger):
    priority = 0.6
"""


@pytest.fixture
def alt(tmp_path: Path) -> dict[str, str]:
    """An environment in which `keyrings.alt` is installed, and the mark that its use would leave."""
    site = tmp_path / "site"
    (site / "keyrings" / "alt").mkdir(parents=True)
    (site / "keyrings" / "alt" / "__init__.py").touch()
    (site / "keyrings" / "alt" / "file.py").write_text(_ALT)
    about = site / "keyrings.alt-5.0.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: keyrings.alt\nVersion: 5.0.2\n")
    (about / "entry_points.txt").write_text("[keyring.backends]\nfile = keyrings.alt.file\n")
    return {"PYTHONPATH": f"{ROOT}:{site}", "MARK": str(tmp_path / "mark")}


def test_with_keyrings_alt_installed_it_is_the_file(session: "Session", home: Path, alt: dict[str, str]) -> None:
    """A chain with a stranger in it decides for the file, and nobody is asked for a password."""
    added = _said(session.run(_ADD, home / "data", 1, **alt))
    assert added["tried"][0][0] == "file"
    assert "keyrings.alt.file" in added["note"]
    assert not Path(alt["MARK"]).exists()


def test_keyrings_alt_beside_a_chosen_keyring_is_never_asked(
    session: "Session", home: Path, alt: dict[str, str]
) -> None:
    """Installed later, beside the keyring that holds the keys: these are read, missing ones are missing."""
    session.run(_ADD, home / "data", 1)
    program = _program("""
store = opened()
await store.read_keyring()
say(tried=await tried(store.put(entry(2), secret(2))))
await store.remove([entry(1).id])
state(store)
""")
    said = _said(session.run(program, home / "data", **alt))
    assert (said["tried"][0][0], said["texts"]) == ("keyring", _texts(2))
    assert json.loads(session.run(_LIST)[0]) == {_name(2): secret(2).reveal()}
    assert not Path(alt["MARK"]).exists()


def test_with_keyrings_alt_alone_it_is_the_file(home: Path, alt: dict[str, str]) -> None:
    """Without a Secret Service it would be the library's choice: not ours."""
    session = Session(home)  # not entered: there is no bus
    added = _said(session.run(_ADD, home / "data", 1, **alt))
    assert added["tried"][0][0] == "file"
    assert not Path(alt["MARK"]).exists()
