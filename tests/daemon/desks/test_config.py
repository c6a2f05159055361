"""hermes_router/daemon/desks/config.py: settings change while the daemon serves, all or nothing."""

import re
from pathlib import Path

import pytest

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.sandbox.providers import FakeProvider

ONE, TWO = "gsk_one_0123456789abcd1111", "gsk_two_0123456789abcd2222"


def groq() -> FakeProvider:
    return FakeProvider("groq", keys={ONE})


async def change(here, **changes: str | None) -> t.Changed:
    return await here.backend.change_config(t.ChangeConfig(changes=changes))


def value_of(config: t.Config, name: str) -> tuple[str, str]:
    row = next(row for row in config.rows if row.name == name)
    return row.value, row.source


async def test_a_setting_is_in_force_at_once_and_in_its_file(office) -> None:
    """A new one goes to config.toml; each value is listed with its source."""
    here = await office(groq(), GROQ_API_KEY=ONE)
    changed = await change(here, rotation_mode="sequential", **{"min-tier": "2"})
    assert {row.name: row.after for row in changed.rows} == {"ROTATION_MODE": "sequential", "MIN_TIER": "2"}
    assert not changed.needs_restart
    assert here.daemon.loaded.settings.mode == "sequential"
    assert here.daemon.engine.snapshot.policy == "sequential"
    config = await here.backend.config()
    assert value_of(config, "MIN_TIER") == ("2", str(here.places.config_file))
    assert value_of(config, "STALL_SECONDS") == ("30", "default")


async def test_it_is_changed_where_the_value_in_force_lives(office) -> None:
    """What stands in `.env` is changed there, its comment kept; None takes it out again."""
    here = await office(groq())
    here.places.env_file.write_text("STALL_SECONDS=20  # patient\n")
    await here.backend.reload()
    changed = await change(here, STALL_SECONDS="40")
    assert here.places.env_file.read_text() == "STALL_SECONDS=40  # patient\n"
    assert changed.rows[0].before == "20"
    await change(here, STALL_SECONDS=None)
    assert here.places.env_file.read_text() == ""
    assert here.daemon.loaded.settings.stall_s == 30


async def test_what_the_environment_holds_is_refused_by_name(office) -> None:
    """Exit 3: no file is stronger than the environment."""
    here = await office(groq(), MIN_TIER="1")
    with pytest.raises(ControlError) as caught:
        await change(here, MIN_TIER="2")
    assert (caught.value.exit_code, "MIN_TIER" in caught.value.message) == (3, True)
    assert not here.places.config_file.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"STALL_SECONDS": "soon"},
        {"PORT": "99999"},
        {"GROQ_LIMITS": "rpm=x"},
        {"HOST": "0.0.0.0"},
        {"PROXY_API_KEYS": ""},
    ],
)
async def test_a_bad_change_is_refused_whole(office, changes: dict[str, str]) -> None:
    """Neither the bad value nor the good one beside it is written or in force."""
    here = await office(groq(), **({"HOST": "", "PROXY_API_KEYS": "sk-router-1"} if "HOST" in changes else {}))
    number = here.daemon.number
    with pytest.raises(ControlError) as caught:
        await change(here, MIN_TIER="3", **changes)
    assert caught.value.exit_code in {2, 3}
    assert not here.places.config_file.exists()
    assert (here.daemon.number, here.daemon.loaded.settings.min_tier) == (number, 1)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("STAL_SECONDS", "STALL_SECONDS"), ("nonsense", "config list"), ("GROQ_API_KEY", "hr auth add groq")],
)
async def test_names_that_are_no_settings(office, name: str, hint: str) -> None:
    """A near name is suggested; a key is sent to `hr auth add`."""
    here = await office(groq())
    with pytest.raises(ControlError) as caught:
        await change(here, **{name: "1"})
    assert caught.value.exit_code == 2
    assert hint in caught.value.next_step


async def test_what_the_units_credentials_say_is_not_ours_to_change(office, tmp_path: Path) -> None:
    """It is shown with its source; a change is refused with where it stands, and no file is written."""
    (tmp_path / "STALL_SECONDS").write_text("17\n")
    here = await office(groq(), CREDENTIALS_DIRECTORY=str(tmp_path))
    [row] = [row for row in (await here.backend.config()).rows if row.name == "STALL_SECONDS"]
    assert (row.value, row.source) == ("17", "systemd credential")
    with pytest.raises(ControlError, match="credential of the service's unit") as caught:
        await change(here, STALL_SECONDS="20")
    assert caught.value.exit_code == 3
    assert "LoadCredential=STALL_SECONDS" in caught.value.next_step
    assert not here.places.config_file.exists()


async def test_what_a_running_daemon_cannot_take_up_says_so(office) -> None:
    """The port is written, and a restart is asked for."""
    here = await office(groq())
    changed = await change(here, PORT="9001")
    assert changed.needs_restart == ["PORT"]
    assert b"9001" in here.places.config_file.read_bytes()
    assert (await here.backend.reload()).needs_restart == ["PORT"]  # until the daemon is another one
    await here.backend.change_config(t.ChangeConfig({"PORT": None}))
    assert (await here.backend.reload()).needs_restart == []


async def test_models_of_a_provider(office) -> None:
    """A list in order, in force at once; None is the row's own list again; nobody is no list."""
    here = await office(groq(), GROQ_API_KEY=ONE)
    rows = (await here.backend.models("groq", False)).rows
    before = [row.model for row in rows if row.picked]
    await here.backend.set_models(t.SetModels(provider="groq", models=["openai/gpt-oss-20b", " qwen/qwen3.8-27b "]))
    assert {row.model for row in here.backend.reports.targets()} == {"openai/gpt-oss-20b", "qwen/qwen3.8-27b"}
    await here.backend.set_models(t.SetModels(provider="groq"))
    rows = (await here.backend.models("Groq", False)).rows
    assert [row.model for row in rows if row.picked] == before
    with pytest.raises(ControlError):
        await here.backend.set_models(t.SetModels(provider="groq", models=[" "]))


async def test_live_lists_of_models(office) -> None:
    """`--refresh` asks the provider: what it lists is marked, what it does not answer is a problem."""
    here = await office(groq(), "mistral", GROQ_API_KEY=ONE, MISTRAL_API_KEY="wrong")
    found = await here.backend.models(None, True)
    assert any(row.live for row in found.rows if row.provider == "groq")
    assert "mistral" in found.problems[0]


async def test_a_provider_is_disabled_and_enabled(office) -> None:
    """Disabled, it gets nothing, and status says why; enabled, the line is gone from the file."""
    here = await office(groq(), GROQ_API_KEY=ONE)
    await here.backend.enable_provider(t.EnableProvider(provider="groq", enabled=False))
    assert (await here.ask())[0] == 503
    state = next(row for row in (await here.backend.status()).providers if row.name == "groq")
    assert (state.state, state.reason) == ("disabled", "`hr provider enable groq`")
    await here.backend.enable_provider(t.EnableProvider(provider="groq", enabled=True))
    assert (await here.ask())[0] == 200
    assert here.places.config_file.read_text() == ""


async def test_a_reload_takes_up_what_was_edited_by_hand(office) -> None:
    """It says what changed; a file that would close the door is refused, and the old generation serves on."""
    here = await office(groq(), GROQ_API_KEY=ONE)
    here.places.config_file.write_text("min_tier = 2\n[groq]\nmodel = 'openai/gpt-oss-20b'\n")
    reloaded = await here.backend.reload()
    assert reloaded.changed == ["GROQ_MODEL", "MIN_TIER"]
    assert reloaded.targets == 1
    here.places.config_file.write_text("port = 'abc'\n")
    with pytest.raises(ControlError) as caught:
        await here.backend.reload()
    assert caught.value.exit_code == 3
    assert here.daemon.loaded.settings.min_tier == 2


@pytest.mark.parametrize("cut", range(0, 60, 7))
async def test_a_config_file_cut_anywhere_changes_nothing(office, cut: int) -> None:
    """What is in force stays: the reload of a cut file is refused, its edit, too, and a key can be added all the same."""
    here = await office(groq(), GROQ_API_KEY=ONE)
    whole = b'stall_seconds = 20\n[groq]\nmodel = ["openai/gpt-oss-20b"]\n'
    here.places.config_file.write_bytes(whole)
    await here.backend.reload()
    here.places.config_file.write_bytes(whole[:cut])
    if cut in {0, 56}:  # empty, or whole but for its last line end
        await here.backend.reload()
        await change(here, MIN_TIER="2")
    else:
        with pytest.raises(ControlError, match=re.escape(str(here.places.config_file))) as caught:
            await here.backend.reload()
        assert caught.value.exit_code == 3
        with pytest.raises(ControlError, match="cannot be edited"):
            await change(here, MIN_TIER="2")
        await here.backend.add_credentials(t.AddCredentials(provider="groq", lines=[TWO], test=False))
        assert here.daemon.loaded.settings.stall_s == 20
        assert {c.tail for c in here.daemon.loaded.credentials if c.provider == "groq"} == {"1111", "2222"}
        assert here.places.config_file.read_bytes() == whole[:cut]
    assert (await here.ask())[0] == 200


async def test_a_key_that_leaves_a_file_beside_a_broken_one_is_gone(office) -> None:
    """While config.toml cannot be read, `hr auth remove` takes a key out of `.env` and out of use."""
    here = await office(FakeProvider("groq", keys={ONE, TWO}))
    here.places.env_file.write_text(f"GROQ_API_KEY={ONE},{TWO}\nMIN_TIER=2\n")
    await here.backend.reload()
    here.places.config_file.write_text("min_tier = ")
    await here.backend.remove_credentials("groq", "2222")
    assert [c.tail for c in here.daemon.loaded.credentials if c.provider == "groq"] == ["1111"]
    assert here.places.env_file.read_text() == f"GROQ_API_KEY={ONE}\nMIN_TIER=2\n"
    assert here.daemon.loaded.settings.min_tier == 2


async def test_the_default_key_never_comes_in_by_the_back_door(office) -> None:
    """A door open to the network stays shut to `sk-router-1`: by no reload, and by no key that is added meanwhile."""
    here = await office(groq(), HOST="0.0.0.0", PROXY_API_KEYS="sk-mine-0123456789")
    del here.env["PROXY_API_KEYS"]
    with pytest.raises(ControlError) as caught:
        await here.backend.reload()
    assert caught.value.exit_code == 3
    await here.backend.add_credentials(t.AddCredentials(provider="groq", lines=[ONE], test=False))
    assert not here.daemon.loaded.settings.default_key
    assert (await here.ask(key="sk-router-1"))[0] == 401
    assert (await here.ask(key="sk-mine-0123456789"))[0] == 200


async def test_a_malformed_value_is_refused_and_a_slip_of_the_pen_is_told(office) -> None:
    """A value that cannot be read refuses the whole reload, by its line; a name that is none is only pointed out."""
    here = await office(groq(), GROQ_API_KEY=ONE)
    here.places.env_file.write_text("MIN_TIER=2\nSTALL_SECONDS=soon\n")
    with pytest.raises(ControlError, match=r"\.env:2: STALL_SECONDS must be") as caught:
        await here.backend.reload()
    assert (caught.value.exit_code, here.daemon.loaded.settings.min_tier) == (3, 1)
    assert not caught.value.message.endswith("skipped")
    here.places.env_file.write_text("MIN_TIER=2\nGROQ_MODLE=x\n")
    reloaded = await here.backend.reload()
    assert ("GROQ_MODEL" in reloaded.problems[0], reloaded.changed) == (True, ["MIN_TIER"])


async def test_a_directory_that_cannot_be_written(office) -> None:
    """One sentence what, one what to do; the old configuration stays in force."""
    here = await office(groq(), GROQ_API_KEY=ONE)
    here.places.config_file.mkdir()
    with pytest.raises(ControlError) as caught:
        await change(here, MIN_TIER="2")
    assert caught.value.next_step
    assert here.daemon.loaded.settings.min_tier == 1


async def test_no_value_shows_a_secret(office) -> None:
    """Keys show their tails, proxies nothing."""
    here = await office(groq(), GROQ_API_KEY=ONE, HTTPS_PROXY="http://u:sekret@127.0.0.1:1")
    text = str(await here.backend.config())
    assert "sekret" not in text
    assert ONE not in text
    assert "…1111" in text
