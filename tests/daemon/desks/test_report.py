"""hermes_router/daemon/desks/report.py: what the owner sees is what there is."""

import pytest

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

ENV = {"GROQ_API_KEY": "k-groq-0123456789", "MISTRAL_API_KEY": "k-mistral-0123456789"}


def pool() -> list[FakeProvider]:
    return [FakeProvider("groq", keys={ENV["GROQ_API_KEY"]}), FakeProvider("mistral", keys={ENV["MISTRAL_API_KEY"]})]


async def test_status_is_the_one_screen(office) -> None:
    """Targets by state, providers with what they lack, keys, today's spending, the last errors."""
    here = await office(*pool(), **ENV)
    here.sandbox.behave("groq", faults.status(503), times=None)
    for _ in range(3):
        assert (await here.ask())[0] == 200
    status = await here.backend.status()
    assert status.ready
    assert status.today.requests == 3
    assert status.today.failovers >= 1
    assert status.today.input_tokens > 0
    assert status.last_errors[0].target.startswith("groq/")
    states = {row.name: row.state for row in status.providers}
    assert (states["groq"], states["gemini"], states["github_models"]) == ("on", "no key", "retired")
    assert {row.tail for row in status.credentials} == {"6789"}
    assert all(row.capabilities["tools"] in {"yes", "no", "unknown"} for row in status.targets)


async def test_usage_adds_up_by_any_grouping(office) -> None:
    """By provider, model, key and day the totals are the same; an unknown grouping is refused."""
    here = await office(*pool(), **ENV)
    for _ in range(4):
        await here.ask()
    totals = [(await here.backend.usage(by, 1)).total for by in ("provider", "model", "key", "day", "router_key")]
    assert totals[0].requests == 4
    assert len(set(map(str, totals))) == 1
    rows = (await here.backend.usage("provider", 7)).rows
    assert {row.key for row in rows} == {"groq", "mistral"}
    with pytest.raises(ControlError) as caught:
        await here.backend.usage("colour", 1)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("trouble", ["lost", "damaged"])
async def test_usage_that_is_not_whole_says_so(office, trouble: str) -> None:
    """Records that were lost, and a file that was set aside or takes none: the sum is then no sum of all."""
    here = await office(*pool(), **ENV)
    assert (await here.backend.usage("day", 1)).complete
    if trouble == "lost":
        here.usage.db._dropped = 1
    else:
        here.usage.db._file.notes.append("state.db is damaged and was set aside")
    assert not (await here.backend.usage("day", 1)).complete


async def test_a_trail_tells_attempt_by_attempt(office) -> None:
    """Who was asked, who failed and why, who answered; also from the disk, and none for an unknown id."""
    here = await office(*pool(), **ENV)
    here.sandbox.behave("groq", faults.status(503), times=None)
    here.sandbox.behave("mistral", faults.status(503), times=1)
    while (await here.ask())[0] != 503 and int(here.headers["x-hermes-attempts"]) < 2:
        pass
    request_id = here.headers["x-request-id"]
    trail = await here.backend.request(request_id)
    assert trail.attempts[0].outcome in {"overloaded", "broken"}
    assert trail.attempts[0].status == 503
    here.daemon.recent.__init__(here.usage)
    assert (await here.backend.request(request_id)).attempts == trail.attempts
    record = await here.usage.request(request_id)
    went_on = record.attempts[-1]._replace(shown_chars=7, by="anchor")
    here.daemon.recent.put(record._replace(attempts=(went_on,)))
    [told] = (await here.backend.request(request_id)).attempts
    assert (told.shown_chars, told.by) == (7, "anchor")
    with pytest.raises(ControlError):
        await here.backend.request("req_nobody")


async def test_a_locked_store_shows_its_keys(office) -> None:
    """A key whose secret cannot be read is listed with the reason, and its provider serves on with the others."""
    here = await office(*pool(), **ENV)
    await here.backend.add_credentials(t.AddCredentials(provider="groq", command=["/bin/echo", "k-other-0123456789"],
                                                        test=False))  # fmt: skip
    here.store._held.secrets.clear()
    here.store._held.unavailable.update({entry.id: "the keyring is locked" for entry in here.store.entries})
    await here.backend.generations.renew()
    rows = (await here.backend.credentials()).rows
    assert [(row.source, row.state, row.reason) for row in rows if row.source == "command"] == [
        ("command", "unavailable", "the keyring is locked")
    ]
    assert (await here.ask())[0] == 200
