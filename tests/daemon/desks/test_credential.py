"""hermes_router/daemon/desks/credential.py: keys come and go while the daemon serves."""

import asyncio
from typing import Any

import pytest

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

ONE, TWO, BAD = "gsk_one_0123456789abcd1111", "gsk_two_0123456789abcd2222", "gsk_bad_0123456789abcd3333"


def groq(*keys: str) -> FakeProvider:
    return FakeProvider("groq", keys=set(keys or (ONE, TWO)))


def add(*lines: str, provider: str = "groq", **fields: Any) -> t.AddCredentials:
    return t.AddCredentials(provider=provider, lines=list(lines), **fields)


async def test_a_key_is_tested_stored_and_in_use(office) -> None:
    """The provider is asked, its models are shown, the key rests in the file, and the next request uses it."""
    here = await office(groq())
    assert (await here.ask())[0] == 503
    added = await here.backend.add_credentials(add(ONE))
    (row,) = added.rows
    assert (row.outcome, row.test, row.tail) == ("stored", "ok", "1111")
    assert row.models
    assert added.store == "file"
    status, _ = await here.ask()
    assert status == 200
    (shown,) = (await here.backend.credentials()).rows
    assert (shown.source, shown.state, shown.tail) == ("file", "ready", "1111")


async def test_adding_twice_is_harmless(office) -> None:
    """The same key is one credential, in one call and in two."""
    here = await office(groq())
    first = await here.backend.add_credentials(add(ONE, "", ONE, f"  {TWO}  "))
    assert [(row.line, row.outcome) for row in first.rows] == [(1, "stored"), (4, "stored")]
    again = await here.backend.add_credentials(add(ONE))
    assert [row.outcome for row in again.rows] == ["known"]
    assert len(here.store.entries) == 2


async def test_a_rejected_key_is_not_stored_unless_forced(office) -> None:
    """Of several, the good are stored; `--force` stores what the provider rejects, and it is paused by use."""
    here = await office(groq(ONE))
    added = await here.backend.add_credentials(add(BAD, ONE))
    assert [row.outcome for row in added.rows] == ["refused", "stored"]
    assert "rejects this key" in added.rows[0].said
    assert BAD.encode() not in here.everything_written()
    forced = await here.backend.add_credentials(add(BAD, force=True))
    assert [(row.outcome, row.test) for row in forced.rows] == [("stored", "rejected")]


async def test_an_inconclusive_test_stores_and_says_so(office) -> None:
    """A provider that is down proves nothing against a key."""
    here = await office(groq(), GROQ_BASE_URL="http://127.0.0.1:1/v1")
    (row,) = (await here.backend.add_credentials(add(ONE))).rows
    assert (row.outcome, row.test) == ("stored", "inconclusive")
    assert "127.0.0.1" in row.said


async def test_faulty_lines_are_refused_by_their_number(office) -> None:
    """Spaces, quotes and foreign letters are faults of that line only; no fault quotes the key."""
    here = await office(groq())
    added = await here.backend.add_credentials(add("gsk_a b", f'"{ONE}"', "gsk_\u00e9", f"GROQ_API_KEY={ONE}", TWO))
    assert [(row.line, row.outcome) for row in added.rows] == [
        (1, "faulty"), (2, "faulty"), (3, "faulty"), (4, "faulty"), (5, "stored"),
    ]  # fmt: skip
    assert added.rows[1].said == "it holds quotation marks"
    assert ONE not in str(added)


async def test_a_key_of_another_provider_is_pointed_out_not_refused(office) -> None:
    """The prefix is a fact of a row: a warning names whose key it looks like."""
    here = await office(FakeProvider("groq", keys={"sk-or-v1-0123456789abcdef"}))
    added = await here.backend.add_credentials(add("sk-or-v1-0123456789abcdef"))
    assert added.rows[0].outcome == "stored"
    assert added.notes == ["this looks like a key of OpenRouter; keys of Groq begin with gsk_"]


async def test_a_provider_whose_keys_begin_with_anything(office) -> None:
    """Only a beginning that is nobody else's tells: `gsk_` is Groq's, `sk-` is everybody's."""
    here = await office(FakeProvider("mistral", keys={ONE, "sk-0123456789abcdef"}))
    for key, notes in ((ONE, ["this looks like a key of Groq: `hr auth add groq`"]), ("sk-0123456789abcdef", [])):
        added = await here.backend.add_credentials(add(key, provider="mistral"))
        told = [note for note in added.notes if "accounts" not in note]
        assert (added.rows[0].outcome, told) == ("stored", notes)


async def test_models_are_shown_by_the_names_that_callers_use(office) -> None:
    """What a provider puts before each id in its list is no part of the name."""
    here = await office(FakeProvider("gemini", keys={"AIza-0123456789abcdef"}))
    added = await here.backend.add_credentials(add("AIza-0123456789abcdef", provider="gemini"))
    assert added.rows[0].models
    assert not [name for name in added.rows[0].models if name.startswith("models/")]


async def test_the_terms_on_pooling_come_with_the_second_account(office) -> None:
    """Once, when one account becomes two; not for a second key of the same account, nor for one that was refused."""
    here = await office(groq(ONE, TWO, BAD))
    refused = await here.backend.add_credentials(add(ONE, "gsk_no_0123456789abcd4444"))
    assert (refused.rows[1].outcome, refused.notes) == ("refused", [])
    await here.backend.remove_credentials("groq", None)
    assert not (await here.backend.add_credentials(add(ONE, account="mine"))).notes
    assert not (await here.backend.add_credentials(add(TWO, account="mine"))).notes
    notes = (await here.backend.add_credentials(add(BAD, account="other"))).notes
    assert "several accounts" in notes[0]
    accounts = {row.tail: row.account for row in (await here.backend.credentials()).rows}
    assert accounts["1111"] == accounts["2222"] != accounts["3333"]


async def test_an_account_can_be_named_later(office) -> None:
    """Adding a known key with a label gives it that account."""
    here = await office(groq())
    await here.backend.add_credentials(add(ONE))
    (row,) = (await here.backend.add_credentials(add(ONE, account="team"))).rows
    assert row.outcome == "replaced"
    assert (await here.backend.credentials()).rows[0].account == "groq:team"


@pytest.mark.parametrize(
    ("asked", "exit_code"),
    [
        (add(ONE, provider="grok"), 2),
        (add(ONE, provider="codex"), 2),
        (add(), 2),
        (add(" ", ""), 2),
        (add(ONE, account=" "), 2),
        (add(command=[]), 2),
        (add(command=["/nonexistent/program"]), 3),
    ],
)
async def test_what_cannot_be_added_says_what_to_do(office, asked: t.AddCredentials, exit_code: int) -> None:
    """Unknown providers, no key, no label, no command: one sentence what, one what to do, nothing stored."""
    here = await office(groq())
    with pytest.raises(ControlError) as caught:
        await here.backend.add_credentials(asked)
    assert caught.value.exit_code == exit_code
    assert caught.value.next_step
    assert not here.store.entries


async def test_a_key_from_a_command(office) -> None:
    """The command is kept, its output is not; the key it prints is in use."""
    here = await office(groq())
    (row,) = (await here.backend.add_credentials(add(command=["/bin/echo", ONE]))).rows
    assert (row.outcome, row.test) == ("stored", "ok")
    assert (await here.ask())[0] == 200
    (shown,) = (await here.backend.credentials()).rows
    assert shown.source == "command"


async def test_removed_keys_are_gone_from_everywhere(office) -> None:
    """One by its tail, then all: no target, no file, no memory of the secret."""
    here = await office(groq())
    await here.backend.add_credentials(add(ONE, TWO))
    removed = await here.backend.remove_credentials("groq", "1111")
    assert [(row.tail, row.outcome) for row in removed.rows] == [("1111", "removed")]
    assert ONE.encode() not in here.everything_written()
    assert {row.credential for row in here.backend.reports.targets()} == {"2222"}
    await here.backend.remove_credentials("groq", None)
    assert not here.targets()
    assert TWO.encode() not in here.everything_written()


async def test_what_is_known_of_a_removed_key_is_forgotten(office) -> None:
    """Counts, trouble, turns and bindings of it go; those of the other key stand; usage stays, for it is history."""
    here = await office(groq())
    await here.backend.add_credentials(add(ONE, TWO))
    for _ in range(4):
        assert (await here.ask())[0] == 200
    ids = {row.tail: row.id for row in (await here.backend.credentials()).rows}
    state, now = here.daemon.engine.state, here.clock.now()
    assert all(ident in str(state.dump(now)) for ident in ids.values())
    await here.backend.remove_credentials("groq", "1111")
    assert ids["1111"] not in str(state.dump(now))
    assert ids["2222"] in str(state.dump(now))
    rows = state.take_changes(now, 10_000)
    assert {row.value is None for row in rows if ids["1111"] in row.key} == {True}
    assert (await here.usage.today()).requests == 4


async def test_a_key_of_the_env_file_is_taken_out_of_it(office) -> None:
    """Forgotten everywhere means in `.env`, too; its other lines stay."""
    here = await office(groq())
    here.places.env_file.write_text(f"# mine\nGROQ_API_KEYS={ONE},{TWO}\nMIN_TIER=1\n")
    await here.backend.reload()
    assert len((await here.backend.credentials()).rows) == 2
    await here.backend.remove_credentials("groq", "1111")
    assert here.places.env_file.read_text() == f"# mine\nGROQ_API_KEYS={TWO}\nMIN_TIER=1\n"
    await here.backend.remove_credentials("groq", None)
    assert here.places.env_file.read_text() == "# mine\nMIN_TIER=1\n"


async def test_a_key_of_the_environment_cannot_be_removed(office) -> None:
    """It is not ours to take: exit 3 names the variable, and it stays in use."""
    here = await office(groq(), GROQ_API_KEY=ONE)
    with pytest.raises(ControlError) as caught:
        await here.backend.remove_credentials("groq", None)
    assert caught.value.exit_code == 3
    assert "GROQ_API_KEY" in caught.value.message
    assert (await here.ask())[0] == 200


async def test_removing_lets_what_is_under_way_end(office) -> None:
    """An answer that uses the key comes whole; the removal waits for it, and no further request gets the key."""
    provider = groq()
    here = await office(provider)
    await here.backend.add_credentials(add(ONE))
    held = provider.behave(faults.stall(1))
    asking = asyncio.create_task(here.stream("say 40 words"))
    await asyncio.wait_for(held.reached.wait(), 5)
    removing = asyncio.create_task(here.backend.remove_credentials("groq", None))
    while here.targets():  # noqa: ASYNC110 - turns of the loop, no time
        await asyncio.sleep(0)
    held.gate.set()
    assert (await asking).rstrip().endswith(b"data: [DONE]")
    assert (await removing).rows[0].outcome == "removed"
    assert (await here.ask())[0] == 503


@pytest.mark.parametrize(("provider", "which"), [("groq", "9999"), ("grok", None), ("mistral", None)])
async def test_removing_what_is_not_there(office, provider: str, which: str | None) -> None:
    """Exit 2 and what to do; nothing else changes."""
    here = await office(groq(), "mistral")
    await here.backend.add_credentials(add(ONE))
    with pytest.raises(ControlError) as caught:
        await here.backend.remove_credentials(provider, which)
    assert caught.value.exit_code == 2
    assert here.targets()


async def test_testing_brings_a_paused_key_back(office) -> None:
    """A key that was revoked and is good again serves at once after `hr auth test`."""
    provider = groq(ONE)
    here = await office(provider)
    await here.backend.add_credentials(add(ONE))
    provider.keys.clear()
    assert (await here.ask())[0] == 503
    assert here.targets("paused")
    (row,) = (await here.backend.test_credentials(t.TestCredentials(provider="groq"))).rows
    assert row.test == "rejected"
    assert here.targets("paused")
    provider.keys.add(ONE)
    (row,) = (await here.backend.test_credentials(t.TestCredentials())).rows
    assert (row.test, row.models > 0) == ("ok", True)
    assert (await here.ask())[0] == 200


async def test_migrating_to_where_there_is_no_keyring(office) -> None:
    """No keyring here: it is said, and the keys stay where they are, in use."""
    here = await office(groq())
    await here.backend.add_credentials(add(ONE))
    with pytest.raises(ControlError) as caught:
        await here.backend.migrate(t.Migrate(to="keyring"))
    assert caught.value.next_step
    with pytest.raises(ControlError):
        await here.backend.migrate(t.Migrate(to="cloud"))
    assert (await here.ask())[0] == 200


async def test_adding_during_a_load_drops_nothing(office) -> None:
    """Requests run while keys come and go: none fails, and the new key is in use by the next one."""
    here = await office(groq())
    await here.backend.add_credentials(add(ONE))
    done = False
    statuses: list[int] = []

    async def load() -> None:
        while not done:
            statuses.append((await here.ask())[0])

    callers = [asyncio.create_task(load()) for _ in range(4)]
    for _ in range(3):
        await here.backend.add_credentials(add(TWO))
        assert len(here.targets("ready")) > 1
        await here.backend.remove_credentials("groq", "2222")
    done = True
    await asyncio.gather(*callers)
    assert statuses
    assert set(statuses) == {200}
