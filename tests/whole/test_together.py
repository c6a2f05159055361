"""Several `hr` at once: without a daemon, and while one hands over to its successor. None is cut, and nothing is lost."""

import asyncio
import os
from collections.abc import Sequence

from hermes_router.sandbox.providers import FakeProvider

from .home import Home, Ran

ROUNDS = int(os.environ.get("HR_ROUNDS", "1"))
KEYS = [f"gsk_together_{number}_0123456789{number:04d}" for number in range(3)]


def good(ran: Sequence[Ran]) -> None:
    assert all(one.code == 0 for one in ran), [one for one in ran if one.code]


async def stored(here: Home) -> set[str]:
    return {row["tail"] for row in (await here.hr("auth", "list", "--json", code=0)).json["rows"]}


async def round_of_changes(here: Home, number: int, *more: str) -> None:
    """Each key added by an `hr` of its own, and a setting beside them; then each removed."""
    beside = [more] if more else []
    adding = [here.hr("auth", "add", "groq", stdin=f"{key}\n") for key in KEYS]
    setting = here.hr("config", "set", "STALL_SECONDS", str(20 + number))
    good(await asyncio.gather(*adding, setting, *(here.hr(*each) for each in beside)))
    assert await stored(here) == {key[-4:] for key in KEYS}
    assert (await here.hr("config", "get", "STALL_SECONDS", code=0)).out.split()[0] == str(20 + number)
    removing = [here.hr("auth", "remove", "groq", key[-4:], "--yes") for key in KEYS]
    good(await asyncio.gather(*removing, *(here.hr(*each) for each in beside)))
    assert await stored(here) == set()


async def test_many_hr_without_a_daemon(home) -> None:
    """They share the daemons that they start for themselves, each of which ends with its own `hr`."""
    here = await home(FakeProvider("groq", keys=set(KEYS)))
    for number in range(ROUNDS):
        await round_of_changes(here, number)
    while here.daemons():  # noqa: ASYNC110 - another process is awaited
        await asyncio.sleep(0.01)


async def test_changes_during_restarts(home) -> None:
    """A change that comes while a daemon hands over is made by its successor: it waits, and is told nothing of it."""
    here = await home(FakeProvider("groq", keys=set(KEYS)))
    await here.hr("start", code=0)
    for number in range(ROUNDS):
        await round_of_changes(here, number, "restart")
