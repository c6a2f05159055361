"""hermes_router/daemon/desks/key.py: router keys are good, limited and gone at once."""

import json

import pytest

from hermes_router.control import setup_types as of_setup
from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.core.router_keys import digest_of
from hermes_router.core.settings import DEFAULT_KEY
from hermes_router.sandbox.providers import FakeProvider

ENV = {"GROQ_API_KEY": "k-groq-0123456789", "MISTRAL_API_KEY": "k-mistral-0123456789"}


def pool() -> list[FakeProvider]:
    return [FakeProvider("groq", keys={ENV["GROQ_API_KEY"]}), FakeProvider("mistral", keys={ENV["MISTRAL_API_KEY"]})]


async def test_a_key_is_shown_once_and_works_at_once(office) -> None:
    """What is listed and what is on the disk is no key; the old keys go on working."""
    here = await office(*pool(), **ENV)
    added = await here.backend.add_key(t.AddKey(name="ci"))
    assert (await here.ask(key=added.key))[0] == 200
    assert (await here.ask())[0] == 200
    rows = (await here.backend.keys()).rows
    assert [row.name for row in rows] == ["PROXY_API_KEYS 1", "ci"]
    assert added.key not in str(rows)
    assert added.key.encode() not in here.everything_written()


async def test_a_removed_key_is_unknown_at_once(office) -> None:
    """401 from the next request on; one of PROXY_API_KEYS is not ours to take."""
    here = await office(*pool(), **ENV)
    added = await here.backend.add_key(t.AddKey(name="ci"))
    assert "'ci'" in (await here.backend.remove_key("ci")).said[0]
    assert (await here.ask(key=added.key))[0] == 401
    with pytest.raises(ControlError) as caught:
        await here.backend.remove_key("PROXY_API_KEYS 1")
    assert caught.value.exit_code == 3
    with pytest.raises(ControlError) as caught:
        await here.backend.remove_key("nobody")
    assert caught.value.exit_code == 2


async def test_the_default_key_is_shown_by_its_name(office) -> None:
    """Everybody knows it, so its end tells nothing; what ends it is a key of the owner's, not a removal."""
    here = await office(*pool(), PROXY_API_KEYS="sk-router-1")
    del here.env["PROXY_API_KEYS"]
    here.daemon.swap(await here.backend.generations.read())
    config = {row.name: row.value for row in (await here.backend.config()).rows}
    assert config["PROXY_API_KEYS"] == "the default key"
    with pytest.raises(ControlError, match="default key") as caught:
        await here.backend.remove_key("PROXY_API_KEYS 1")
    assert (caught.value.exit_code, "hr config set PROXY_API_KEYS ''" in caught.value.next_step) == (3, True)
    added = await here.backend.add_key(t.AddKey(name="ci"))
    assert "`hr config set PROXY_API_KEYS ''`" in added.said[0]


async def test_the_default_key_ends_with_one_command(office) -> None:
    """An empty PROXY_API_KEYS in `.env` is in force at once: stored keys are good, the default one no longer.

    It is refused while there is no stored key, and the last stored key then stays.
    """
    here = await office(*pool(), PROXY_API_KEYS="sk-router-1", **ENV)
    del here.env["PROXY_API_KEYS"]
    here.daemon.swap(await here.backend.generations.read())
    empty = t.ChangeConfig(changes={"PROXY_API_KEYS": ""})
    with pytest.raises(ControlError, match="hr key add NAME") as caught:
        await here.backend.change_config(empty)
    assert (caught.value.exit_code, here.places.env_file.exists()) == (3, False)
    assert (await here.ask(key="sk-router-1"))[0] == 200
    added = await here.backend.add_key(t.AddKey(name="ci"))
    assert added.said
    (row,) = (await here.backend.change_config(empty)).rows
    assert (row.before, row.after) == ("the default key", "none but stored keys")
    assert here.places.env_file.read_text() == "PROXY_API_KEYS=\n"
    assert [(await here.ask(key=key))[0] for key in ("sk-router-1", added.key)] == [401, 200]
    for which in ("ci", added.row.id, added.row.tail):
        with pytest.raises(ControlError, match="last router key") as caught:
            await here.backend.remove_key(which)
        assert (caught.value.exit_code, "hr key add NAME" in caught.value.next_step) == (3, True)
    other = await here.backend.add_key(t.AddKey(name="other"))
    assert other.said == []
    await here.backend.remove_key("ci")
    assert [(await here.ask(key=key))[0] for key in (added.key, other.key)] == [401, 200]
    await here.backend.change_config(t.ChangeConfig(changes={"PROXY_API_KEYS": None}))
    assert (await here.ask(key="sk-router-1"))[0] == 200
    await here.backend.remove_key("other")


async def test_the_last_key_that_can_be_read_stays(office) -> None:
    """A row was damaged on the disk since it was read: without the sound one nobody could be let in after a start."""
    here = await office(*pool(), **ENV)
    for name in ("one", "two"):
        await here.backend.add_key(t.AddKey(name=name))
    here.env["PROXY_API_KEYS"] = ""
    await here.backend.reload()
    held = json.loads(here.places.router_keys.read_text())
    held["keys"][0]["rpm"] = "many"
    here.places.router_keys.write_text(damaged := json.dumps(held))
    with pytest.raises(ControlError, match="last router key") as caught:
        await here.backend.remove_key("two")
    assert (caught.value.exit_code, here.places.router_keys.read_text()) == (3, damaged)


async def test_the_default_key_cannot_be_adopted(office) -> None:
    """By no client of the control socket: it would be good where PROXY_API_KEYS does not let it in."""
    here = await office(*pool(), **ENV)
    with pytest.raises(ControlError, match="everybody knows") as caught:
        await here.backend.adopt_key(of_setup.AdoptKey(name="team", digest=digest_of(DEFAULT_KEY), tail="er-1"))
    assert caught.value.exit_code == 2
    assert (await here.ask(key=DEFAULT_KEY))[0] == 401


async def test_limits_and_scope_of_a_key_bind(office) -> None:
    """Requests a minute, and providers; an unknown provider is refused with its near name."""
    here = await office(*pool(), **ENV)
    added = await here.backend.add_key(t.AddKey(name="ci", providers=["Groq"], rpm=2))
    for _ in range(2):
        status, _ = await here.ask(key=added.key)
        assert (status, here.headers["x-hermes-target"].split("/")[0]) == (200, "groq")
    status, body = await here.ask(key=added.key)
    assert (status, int(here.headers["retry-after"]) > 0) == (429, True)
    assert "error" in body
    with pytest.raises(ControlError) as caught:
        await here.backend.add_key(t.AddKey(name="x", providers=["groqq"]))
    assert "groq" in caught.value.next_step


async def test_a_budget_is_listed_with_what_is_spent_of_it(office) -> None:
    """What `hr key add --usd-day` gave, and today's money; free models serve a key that may spend nothing."""
    here = await office(*pool(), **ENV)
    added = await here.backend.add_key(t.AddKey(name="ci", budget_microusd=0))
    assert added.row.budget_microusd == 0
    assert (await here.ask(key=added.key))[0] == 200
    rows = {row.name: row for row in (await here.backend.keys()).rows}
    assert (rows["ci"].budget_microusd, rows["ci"].spent_microusd) == (0, 0)
    assert rows["PROXY_API_KEYS 1"].budget_microusd is None
