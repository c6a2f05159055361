"""hermes_router/daemon/desks/health_report.py, desks/health.py and desks/health_look.py: what `hr doctor` is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from hermes_router.control import health_types as h
from hermes_router.control import types as t
from hermes_router.control.places import Places
from hermes_router.core.ids import CredentialId, ProviderName, Secret
from hermes_router.daemon.desks.health_look import look
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.store.carried import account_to_carry
from hermes_router.store.file_store import Kept, write_secrets
from hermes_router.store.index import Entry, Index, render, username
from hermes_router.store.keyring_store import KeyringFault, KeyringThread

from ...fakes import SilentLog
from ...store.test_carried import ACCOUNT

ENV = {"GROQ_API_KEY": "gsk_canary_0123456789"}
AT = 1_790_000_000.0


def pool() -> list[FakeProvider]:
    return [FakeProvider("groq", keys={ENV["GROQ_API_KEY"]})]


def places_at(home: Path) -> Places:
    made = Places(home / "config", home / "data", home / "state", home / "config" / ".env", home / "s")
    for each in (made.config_dir, made.data_dir, made.state_dir):
        each.mkdir()
    return made


def entry(ident: str, store: str, provider: str = "groq") -> Entry:
    return Entry(CredentialId(ident), ProviderName(provider), "api_key", ident[-4:], None, store)  # type: ignore[arg-type]


def everything(home: Path) -> dict[Path, tuple[int, bytes]]:
    """All files with their modes."""
    return {path: (path.stat().st_mode, path.read_bytes()) for path in home.rglob("*") if path.is_file()}


# --- of a daemon ----------------------------------------------------------------------------------------


async def test_a_daemon_tells_where_its_requests_go(office) -> None:
    """Base addresses of the providers in use, without a password, the models, and no secret anywhere."""
    here = await office(*pool(), HTTPS_PROXY="http://ada:canary@proxy.example:3128", **ENV)
    found = await here.backend.health_report()
    assert [(row.provider, row.url, row.proxy) for row in found.endpoints] == [
        ("groq", here.sandbox.base_url("groq"), "")  # loopback: never through a proxy
    ]
    assert found.proxies == {"HTTPS_PROXY": "proxy.example:3128"}
    assert {row.provider for row in found.pool} == {"groq"}
    assert found.keys == {"groq": 1}
    assert found.descriptors > 0
    assert found.descriptors_open > 3
    assert found.memory_bytes > 1024 * 1024
    assert b"canary" not in msgspec.json.encode(found)


async def test_a_proxy_stands_on_the_way_where_it_does(office) -> None:
    """For what is not on this machine and not in NO_PROXY."""
    proxies = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "api.mistral.ai"}
    here = await office(*pool(), MISTRAL_API_KEY="m-0123456789", COHERE_API_KEY="c-0123456789", **proxies, **ENV)
    ways = {row.provider: row.proxy for row in (await here.backend.health_report()).endpoints}
    assert ways == {"groq": "", "mistral": "", "cohere": "proxy.example:3128"}


async def test_an_address_loses_its_password(office) -> None:
    """One that the owner wrote into a base URL."""
    here = await office(*pool(), MISTRAL_API_KEY="m-0123456789", **ENV)
    here.places.config_file.write_text('local_base_url = "http://ada:canary@127.0.0.1:9/v1"\n')
    here.daemon.swap(await here.backend.generations.read())
    assert b"canary" not in msgspec.json.encode(await here.backend.health_report())


async def test_hidden_settings_are_found(office) -> None:
    """In either file, with the place that hides them; what counts is not among them, and no value is told."""
    here = await office(*pool(), MIN_TIER="2", **ENV)
    here.places.config_file.write_text('log_level = "debug"\nmin_tier = 3\n')
    here.places.env_file.write_text("LOG_LEVEL=info\nGROQ_API_KEY=gsk_other_0123456789\nPATIENCE_SECONDS=5\n")
    here.daemon.swap(await here.backend.generations.read())
    rows = (await here.backend.health_report()).shadowed
    assert {(row.name, row.stronger.rpartition("/")[2]) for row in rows} == {
        ("LOG_LEVEL", ".env:1"),
        ("MIN_TIER", "environment"),
        ("GROQ_API_KEY", "environment"),
    }


async def test_what_the_files_say_by_now_is_told(office) -> None:
    """Changed since the daemon read them, faults included: what counts for the next reload."""
    here = await office(*pool(), **ENV)
    assert (await here.backend.health_report()).changed == []
    here.places.env_file.write_text("MIN_TIER=2\nLOG_LEVEL=loud\n")
    found = await here.backend.health_report()
    assert found.changed == ["MIN_TIER"]
    assert any("LOG_LEVEL" in row.said for row in found.faults)
    assert here.daemon.loaded.settings.min_tier == 1  # nothing was put in force


async def test_stored_keys_are_told_with_their_reasons(office) -> None:
    """One whose secret is gone says so; one that is there says nothing."""
    here = await office(*pool(), **ENV)
    await here.backend.add_credentials(t.AddCredentials(provider="groq", lines=["gsk_stored_0123456789"], test=False))
    (row,) = (await here.backend.health_report()).stored
    assert (row.provider, row.store, row.reason) == ("groq", "file", "")
    here.store._held.forget(here.store.entries[0].id)
    here.store._held.unavailable[here.store.entries[0].id] = "it is gone"
    (row,) = (await here.backend.health_report()).stored
    assert row.reason == "it is gone"


async def test_the_door_and_the_key_are_told(office) -> None:
    """Whether others reach it, and whether the key that everybody knows is good."""
    here = await office(*pool(), **ENV)
    found = await here.backend.health_report()
    assert (found.is_open, found.default_key, found.addresses) == (False, False, [])


# --- of files alone --------------------------------------------------------------------------------------


async def test_files_are_read_and_left_as_they_are(tmp_path: Path) -> None:
    """Keys and logins of an installation whose daemon is down: counted, judged, and nothing made, mended or moved."""
    places = places_at(tmp_path)
    places.env_file.write_text("GROQ_API_KEY=gsk_canary_0123456789\nLOG_LEVEL=loud\n")
    places.env_file.chmod(0o644)
    filed, lost = entry("aaaa1111", "file"), entry("bbbb2222", "file", "mistral")
    (places.data_dir / "credentials.json").write_bytes(render(Index((filed, lost))))
    write_secrets(places.secrets_file, {username(filed): Kept(Secret("gsk_canary_stored"))})
    places.secrets_file.chmod(0o644)
    places.codex_accounts.write_text(json.dumps({"version": 1, "accounts": [account_to_carry(ACCOUNT), {}]}))
    before = everything(tmp_path)
    found = await look(places, {}, at=AT)
    assert everything(tmp_path) == before
    assert found.keys == {"groq": 2, "codex": 1}
    assert {row.tail: bool(row.reason) for row in found.stored} == {"1111": False, "2222": True}
    assert {row.provider for row in found.pool} >= {"groq", "codex"}
    said = [(row.said, row.where.rpartition("/")[2]) for row in found.faults]
    assert any("LOG_LEVEL" in text and where == ".env:2" for text, where in said)
    assert any("1 of its logins" in text for text, _ in said)
    assert b"canary" not in msgspec.json.encode(found)


async def test_damaged_files_are_told_and_stay(tmp_path: Path) -> None:
    """The index, the secrets, the logins: each said by its name, none set aside."""
    places = places_at(tmp_path)
    for name in ("credentials.json", "codex-accounts.json"):
        (places.data_dir / name).write_text("{")
    found = await look(places, {}, at=AT)
    assert sum("damaged" in row.said for row in found.faults) == 2
    assert sorted(each.name for each in places.data_dir.iterdir()) == ["codex-accounts.json", "credentials.json"]


class Hanging(KeyringThread):
    """A keyring that does not answer."""

    def __init__(self) -> None:
        super().__init__(log=SilentLog())

    async def read(self, names, *, insist=False):
        return {}, KeyringFault("hung", "the keyring did not answer within 3 s")


async def test_a_keyring_is_asked_only_where_it_is_used(tmp_path: Path) -> None:
    """Keys that rest there, and their loss when it hangs; without any, nobody asks."""
    places = places_at(tmp_path)
    assert (await look(places, {}, at=AT, keyring=Hanging())).keyring == ""
    (places.data_dir / "credentials.json").write_bytes(render(Index((entry("aaaa1111", "keyring"),))))
    found = await look(places, {}, at=AT, keyring=Hanging())
    assert "did not answer" in found.keyring
    assert found.keyring_cure
    assert "did not answer" in found.stored[0].reason


def test_the_program_prints_its_report(tmp_path: Path) -> None:
    """As `hr doctor` runs it, in a HOME that has nothing: nothing is there afterwards, either."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PORT": "1234"}
    command = [sys.executable, "-P", "-m", "hermes_router.daemon.desks.health_look"]
    done = subprocess.run(command, env=environ, capture_output=True, check=True)
    found = msgspec.json.decode(done.stdout, type=h.HealthReport)
    assert (found.port, found.default_key, found.pool) == (1234, True, [])
    assert found.state_dir == str(tmp_path / ".local/state/hermes-router")
    assert list(tmp_path.rglob("*")) == []
