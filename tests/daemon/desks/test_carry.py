"""hermes_router/daemon/desks/carry_out.py and carry_in.py: a set-up goes from one daemon to another."""

import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hermes_router.control import carry_types as c
from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import EmbedBinding
from hermes_router.core.router_keys import digest_of, id_of
from hermes_router.core.settings import DEFAULT_KEY
from hermes_router.sandbox.providers import FakeProvider

from ...store.test_carried import ACCOUNT
from ..office import Office

KEYS = {"groq": "gsk_canary_0123456789_1111", "mistral": "m-canary-0123456789-2222"}
OWN = '# mine\n[acme]\ntitle = "Acme"\nsignup = "https://acme.example"\nfree = "no"\nterms = "https://acme.example"\n'


def pool() -> list[FakeProvider]:
    return [FakeProvider("groq", keys={KEYS["groq"]}), FakeProvider("mistral", keys={KEYS["mistral"]})]


class Two:
    """Two machines: an old one with a set-up, a new one with nothing."""

    def __init__(self, old: Office, new: Office) -> None:
        self.old = old
        self.new = new

    async def furnish(self) -> None:
        """The old one's: settings in both files, keys in the vault and in a file, router keys, a binding, a login."""
        here = self.old
        here.places.config_file.write_text('# a comment\nrotation_mode = "sequential"\n[mistral]\nenabled = 0\n')
        here.places.env_file.write_text(
            f'BUDGET_USD_DAY=2.5\nGROQ_MODEL="openai/gpt-oss-120b"\nMISTRAL_API_KEY={KEYS["mistral"]}\n'
            "PROXY_API_KEYS=sk-canary-router-0001\nSECRET_STORE=file\nOTHERS_SECRET=canary-of-another\n"
        )
        del here.env["PROXY_API_KEYS"]
        await here.backend.reload()
        asked = t.AddCredentials(provider="groq", lines=[KEYS["groq"]], account="work", test=False)
        await here.backend.add_credentials(asked)
        self.made = await here.backend.add_key(t.AddKey(name="ci", rpm=5, budget_microusd=10))
        await here.daemon.engine.embed_bindings.bind(
            EmbedBinding(RouterKeyId(self.made.row.id), "main", "mistral", "mistral-embed", 1_024, 5.0)
        )

    async def out(self, **asked: Any) -> c.Bundle:
        """As it travels: JSON and back."""
        bundle = await self.old.backend.export_setup(c.CarryOut(**asked))
        return msgspec.json.decode(msgspec.json.encode(bundle), type=c.Bundle)

    async def into(self, bundle: c.Bundle, **asked: Any) -> dict[str, str]:
        """What became of each thing, by kind and name; and whether it was done, by `applied`."""
        done = await self.new.backend.import_setup(c.CarryIn(bundle=bundle, **{"apply": True, **asked}))
        self.done = done
        assert "canary" not in repr(done.rows).replace("refresh-canary", "")
        return {f"{row.kind} {row.name}": row.outcome for row in done.rows}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    async with Office(tmp_path / "old", pool(), {}) as old, Office(tmp_path / "new", pool(), {}) as new:
        both = Two(old, new)
        await both.furnish()
        yield both


async def test_without_secrets_none_leaves(two: Two) -> None:
    """Settings, router keys as digests and bindings go; what is left out is named."""
    bundle = await two.out()
    text = msgspec.json.encode(bundle).decode()
    assert "canary" not in text
    assert bundle.settings == {
        "BUDGET_USD_DAY": "2.5",
        "GROQ_MODEL": "openai/gpt-oss-120b",
        "MISTRAL_ENABLED": "0",
        "ROTATION_MODE": "sequential",
    }
    assert two.made.key not in text
    assert [row["name"] for row in bundle.router_keys] == ["ci"]
    said = "; ".join(bundle.left_out)
    assert "PROXY_API_KEYS: secret" in said
    assert "SECRET_STORE: of this machine" in said
    assert "2 provider keys: secret" in said


async def test_a_set_up_arrives_whole(two: Two) -> None:
    """With secrets: the new daemon serves, under the same router keys, with the same choices; twice is once."""
    bundle = await two.out(with_secrets=True)
    said = await two.into(bundle)
    assert two.done.applied
    assert set(said.values()) <= {"new", "kept"}, said
    assert said["setting PROXY_API_KEYS"] == "kept"  # the environment of the new one has it, and is stronger
    assert said["key groq …1111"] == "new"
    status, body = await two.new.ask(key=two.made.key)
    assert status == 200, body
    assert (status, two.new.headers["x-hermes-target"].split("/")[0]) == (200, "groq")
    config = {row.name: row.value for row in (await two.new.backend.config()).rows}
    assert (config["ROTATION_MODE"], config["BUDGET_USD_DAY"]) == ("sequential", "2.5")
    (key,) = [row for row in (await two.new.backend.keys()).rows if row.name == "ci"]
    assert (key.rpm, key.budget_microusd, key.id) == (5, 10, two.made.row.id)
    bound = (await two.new.backend.embed_bindings()).rows
    assert [(row.key_id, row.model) for row in bound] == [(two.made.row.id, "mistral-embed")]
    credentials = {row.tail: row for row in (await two.new.backend.credentials()).rows}
    assert (credentials["1111"].account, credentials["1111"].source) == ("groq:work", "file")
    again = await two.into(bundle)
    assert set(again.values()) <= {"same", "kept"}, again


async def test_an_ended_default_key_ends_there_too(two: Two) -> None:
    """An empty PROXY_API_KEYS is no secret: it travels beside the router keys, which come in first."""
    two.old.places.env_file.write_text("PROXY_API_KEYS=\n")
    await two.old.backend.reload()
    del two.new.env["PROXY_API_KEYS"]
    await two.new.backend.reload()
    bundle = await two.out()
    assert bundle.settings["PROXY_API_KEYS"] == ""
    assert "PROXY_API_KEYS" not in "; ".join(bundle.left_out)
    assert (await two.into(bundle))["setting PROXY_API_KEYS"] == "new"
    assert not two.new.daemon.loaded.settings.default_key
    assert [(await two.new.ask(key=key))[0] for key in ("sk-router-1", two.made.key)] == [401, 503]


async def test_a_bundle_does_not_bring_the_default_key_in(two: Two) -> None:
    """A hand that writes it into one, as a stored key, opens nothing: it is left out, and the rest comes in."""
    bundle = await two.out()
    digest = digest_of(DEFAULT_KEY)
    (row,) = bundle.router_keys
    bundle.router_keys.append({**row, "id": id_of(digest), "name": "team", "digest": digest, "tail": ""})
    said = await two.into(bundle)
    assert (said["router key ci"], said["router key team"]) == ("new", "left out")
    assert "team" not in [row.name for row in (await two.new.backend.keys()).rows]


async def test_a_look_changes_nothing(two: Two) -> None:
    """A dry run tells the same, and no file is other than before."""
    before = two.new.everything_written()
    said = await two.into(await two.out(with_secrets=True), apply=False)
    assert said["setting ROTATION_MODE"] == "new"
    assert not two.done.applied
    assert two.new.everything_written() == before


async def test_what_differs_is_not_trampled(two: Two) -> None:
    """A conflict is named and nothing at all is changed; `keep` takes the rest, `replace` takes the file's."""
    await two.new.backend.change_config(t.ChangeConfig(changes={"ROTATION_MODE": "round-robin"}))
    await two.new.backend.add_key(t.AddKey(name="ci"))
    binding = EmbedBinding(RouterKeyId(two.made.row.id), "main", "gemini", "gemini-embedding-001", 3_072, 6.0)
    await two.new.daemon.engine.embed_bindings.bind(binding)
    before = two.new.everything_written()
    bundle = await two.out(with_secrets=True)
    said = await two.into(bundle)
    conflicts = {name for name, outcome in said.items() if outcome == "conflict"}
    assert conflicts == {
        "setting ROTATION_MODE",
        "router key ci",
        f"embedding {two.made.row.id} (main): mistral/mistral-embed",
    }
    assert not two.done.applied
    assert two.new.everything_written() == before
    kept = await two.into(bundle, conflicts="keep")
    assert {kept[name] for name in conflicts} == {"kept"}
    assert two.new.daemon.loaded.settings.mode == "round-robin"
    assert two.new.daemon.loaded.settings.budget_microusd_day == 2_500_000
    replaced = await two.into(bundle, conflicts="replace")
    assert {replaced[name] for name in conflicts} == {"replaced"}
    assert two.new.daemon.loaded.settings.mode == "sequential"
    assert (await two.new.ask(key=two.made.key))[0] == 200
    assert [row.provider for row in (await two.new.backend.embed_bindings()).rows] == ["mistral"]


async def test_rows_of_ones_own_are_merged(two: Two) -> None:
    """Where there is no file the other's is taken as it was written; else rows are added, and another row conflicts."""
    base = two.old.sandbox.base_url("groq")
    row = OWN + f'endpoints = {{ openai_chat = "{base}" }}\nchecked = "2026-11-01"\nsource = "https://acme.example"\n'
    two.old.places.providers_file.write_text(row)
    await two.old.backend.reload()
    bundle = await two.out()
    assert (await two.into(bundle))["provider row acme"] == "new"
    assert two.new.places.providers_file.read_text() == row
    assert (await two.into(bundle))["provider row acme"] == "same"
    two.new.places.providers_file.write_text(row.replace("acme", "other").replace("Acme", "Other"))
    await two.into(bundle)
    merged = two.new.places.providers_file.read_text()
    assert "[acme]" in merged
    assert "[other]" in merged
    two.new.places.providers_file.write_text(row.replace('"Acme"', '"Another"'))
    assert (await two.into(bundle))["provider row acme"] == "conflict"


async def test_a_login_lives_on_one_machine(two: Two) -> None:
    """It is left out with the reason, unless it is moved on purpose; without secrets it does not even leave."""
    await two.old.backend.account_desk.take_in(ACCOUNT, "test")
    assert (await two.out()).accounts == []
    bundle = await two.out(with_secrets=True)
    assert (await two.into(bundle))["login work"] == "left out"
    (said,) = [row.said for row in two.done.rows if row.kind == "login"]
    assert "one machine" in said
    assert "hr auth login codex" in said
    assert not two.new.places.codex_accounts.exists()
    assert (await two.into(bundle, accounts=True))["login work"] == "new"
    assert b"refresh-canary" in two.new.places.codex_accounts.read_bytes()
    assert (await two.into(bundle, accounts=True))["login work"] == "same"


async def test_an_import_that_was_cut_is_run_again(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step it was cut at, the next run finds what is there and does the rest."""
    bundle = await two.out(with_secrets=True)

    class Killed(BaseException):
        pass

    async def killed(*_args: object, **_more: object) -> None:
        raise Killed

    for place, name in (
        (two.new.backend.configuration.__class__, "change"),
        (two.new.daemon.engine.embed_bindings.__class__, "bind"),
        (two.new.backend.credential_desk.__class__, "add"),
    ):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(place, name, killed)
            await two.into(bundle)
    said = await two.into(bundle)
    assert (said["setting BUDGET_USD_DAY"], said["router key ci"], said["key groq …1111"]) == ("same", "same", "new")
    assert set((await two.into(bundle)).values()) <= {"same", "kept"}


async def test_a_later_versions_set_up_is_refused(two: Two) -> None:
    """Its meaning is not known here: exit 3, and nothing is changed."""
    with pytest.raises(ControlError, match="later version") as caught:
        await two.into(c.Bundle(version=2))
    assert caught.value.exit_code == 3


async def test_what_cannot_be_used_is_left_out_and_named(two: Two) -> None:
    """A setting, a key, a router key and a binding that this version cannot read do not stop the rest."""
    bundle = c.Bundle(
        settings={"NO_SUCH_THING": "1", "LOG_LEVEL": "debug"},
        keys=[c.Given(provider="nobody", key="k-0123456789"), c.Given(provider="groq", key="a b")],
        router_keys=[{"name": "odd"}],
        embed_bindings=[{"key_id": "k"}],
        accounts=[{"id": "a"}],
    )
    said = await two.into(bundle)
    assert said.pop("setting LOG_LEVEL") == "new"
    assert set(said.values()) == {"left out"}
    assert len(said) == 6


async def test_keys_are_only_tested_when_asked(two: Two) -> None:
    """A key that the provider would reject is stored without a question; asked for, it is refused and named."""
    bundle = c.Bundle(keys=[c.Given(provider="groq", key="gsk_rejected_0123456789")])
    said = await two.into(bundle, test=True)
    assert said == {"key groq …6789": "failed"}
    assert (await two.into(bundle))["key groq …6789"] == "new"


async def test_a_value_that_cannot_be_is_refused_by_name(two: Two) -> None:
    """Settings are all or none."""
    with pytest.raises(ControlError, match="LOG_LEVEL"):
        await two.into(c.Bundle(settings={"LOG_LEVEL": "loud", "MIN_TIER": "2"}))
    assert two.new.daemon.loaded.settings.min_tier == 1


async def test_commands_go_along_with_secrets(two: Two, tmp_path: Path) -> None:
    """A key command is carried as its words, and run there; one whose program is missing there is named."""
    program = tmp_path / "print-a-key"
    program.write_text(f"#!/bin/sh\necho {KEYS['groq']}9\n")
    program.chmod(0o700)
    await two.old.backend.add_credentials(t.AddCredentials(provider="groq", command=[str(program)], test=False))
    bundle = await two.out(with_secrets=True)
    assert [given.command for given in bundle.keys if given.command] == [[str(program)]]
    program.unlink()
    assert (await two.into(bundle))["key groq (a command)"] == "failed"
    assert (await two.into(bundle))["key groq …1111"] == "same"


async def test_a_set_up_twice_is_once_however_it_is_written(two: Two) -> None:
    """Addresses and command lines are compared as they are read; the machine's own set-up differs in nothing from it."""
    written = two.old.places.env_file.read_text()
    two.old.places.env_file.write_text(
        f"{written}NOTIFY_URL=https://me:pass-canary@ntfy.example/topic\nHTTPS_PROXY=me:pass-canary@127.0.0.1:9\n"
        "NOTIFY_COMMAND=/usr/bin/tell 'token canary'\nHTTP_PROXY=127.0.0.1:9\nLOG_LEVEL=warn\n"
    )
    await two.old.backend.reload()
    bundle = await two.out(with_secrets=True)
    names = {"NOTIFY_URL", "NOTIFY_COMMAND", "HTTPS_PROXY", "HTTP_PROXY", "LOG_LEVEL"}
    assert names <= {*bundle.settings, *bundle.secret_settings}
    own = await two.old.backend.import_setup(c.CarryIn(bundle=bundle, apply=True))
    assert {row.outcome for row in own.rows} == {"same"}
    said = await two.into(bundle)
    assert {said[f"setting {name}"] for name in names} == {"new"}
    again = await two.into(bundle)
    assert {again[f"setting {name}"] for name in names} == {"same"}
    loud = msgspec.structs.replace(bundle, secret_settings={"NOTIFY_URL": "https://ntfy.example/another"})
    assert (await two.into(loud))["setting NOTIFY_URL"] == "conflict"


async def test_what_will_be_run_is_shown_before_it_is(two: Two, tmp_path: Path) -> None:
    """A key command in full, quoted as for a shell; of NOTIFY_COMMAND the program, since its arguments may be a token."""
    ran = tmp_path / "ran"
    command = ["/bin/sh", "-c", f"touch '{ran}'; echo gsk_printed_0123456789"]
    bundle = c.Bundle(
        keys=[c.Given(provider="groq", command=command)],
        secret_settings={"NOTIFY_COMMAND": "/opt/x/tell --token canary"},
    )
    assert await two.into(bundle, apply=False) == {"setting NOTIFY_COMMAND": "new", "key groq (a command)": "new"}
    setting, key = two.done.rows
    assert key.said == f"runs here: {shlex.join(command)}"
    assert setting.said == "runs here: /opt/x/tell, with arguments that are not shown"
    assert not ran.exists()
    await two.into(bundle)
    assert ran.exists()
    assert await two.into(bundle) == {"setting NOTIFY_COMMAND": "same", "key groq (a command)": "same"}
    other = c.Bundle(secret_settings={"NOTIFY_COMMAND": "/opt/y/tell"})
    await two.into(other)
    assert two.done.rows[0].outcome == "conflict"
    assert two.done.rows[0].said.endswith(" says otherwise; runs here: /opt/y/tell")


async def test_a_key_that_failed_is_named_and_no_other(two: Two, tmp_path: Path) -> None:
    """Of two commands of one provider, and of two keys that end alike, each has an outcome of its own."""
    program = tmp_path / "print-a-key"
    program.write_text(f"#!/bin/sh\necho {KEYS['groq']}\n")
    program.chmod(0o700)
    bundle = c.Bundle(
        keys=[
            c.Given(provider="groq", command=["/no/such/program"]),
            c.Given(provider="groq", command=[str(program)]),
            c.Given(provider="mistral", key="m-rejected-0123456789-2222"),
            c.Given(provider="mistral", key=KEYS["mistral"]),
        ]
    )
    await two.into(bundle, test=True)
    assert [row.outcome for row in two.done.rows] == ["failed", "new", "failed", "new"]
