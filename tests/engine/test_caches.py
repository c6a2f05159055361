"""A conversation that leaves its target: what of the cache is lost is told, and nothing where nobody knows."""

import pytest
from msgspec.structs import replace

from hermes_router.core.events import Usage
from hermes_router.core.ids import AccountId
from hermes_router.engine.accounting import Recent
from hermes_router.engine.caches import Caches
from hermes_router.engine.exchange import Exchange
from hermes_router.routing.bindings import IDLE_S

from ..fakes import World, answers, completion, refuses, target

HERE, THERE = target("a/m"), target("b/n")
CACHED = Usage(1_200, 5, cached_tokens=900, written_tokens=100)
LOST = "moved from a/m: about 1,000 cached tokens are paid again"


def test_cp7_a_move_says_what_it_loses_once() -> None:
    """What the last turn read from and wrote to the cache; from then on the new target's counts (CP-7)."""
    caches = Caches()
    assert caches.answered("k", HERE, CACHED, 1.0) == ""
    assert caches.answered("k", HERE, CACHED, 2.0) == ""
    assert caches.answered("other", THERE, CACHED, 2.0) == ""
    assert caches.answered("k", THERE, Usage(1_300, 5), 3.0) == LOST
    assert caches.answered("k", HERE, CACHED, 4.0) == ""


@pytest.mark.parametrize("usage", [Usage(1_200, 5), CACHED._replace(estimated=True)])
def test_where_no_cache_was_reported_none_is_lost(usage: Usage) -> None:
    """An estimate knows of no cache."""
    caches = Caches()
    caches.answered("k", HERE, usage, 1.0)
    assert caches.answered("k", THERE, CACHED, 2.0) == ""


def test_a_cache_belongs_to_an_account_and_for_a_time() -> None:
    """Another key of the same account finds it; after the idle time nobody does."""
    caches = Caches()
    sibling = replace(HERE, credential=HERE.credential._replace(tail="othr"))
    stranger = replace(HERE, credential=HERE.credential._replace(account=AccountId("another")))
    caches.answered("k", HERE, CACHED, 1.0)
    assert caches.answered("k", sibling, CACHED, 2.0) == ""
    assert caches.answered("k", stranger, CACHED, 3.0) == LOST
    assert caches.answered("k", HERE, CACHED, 3.0 + IDLE_S) == ""
    assert caches.answered(None, HERE, CACHED, 1.0) == ""


def test_conversations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was longest silent is forgotten first."""
    monkeypatch.setattr("hermes_router.engine.caches.MOST", 2)
    caches = Caches()
    for number in range(3):
        caches.answered(f"k{number}", HERE, CACHED, 1.0)
    assert [bool(caches.answered(f"k{number}", THERE, Usage(), 2.0)) for number in range(3)] == [False, True, True]


FIRST = [{"role": "user", "content": "hi"}]
SECOND = [*FIRST, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "go on"}]


@pytest.mark.parametrize(("then", "told"), [(SECOND, LOST), (FIRST, "")])
async def test_cp7_the_record_of_the_request_tells_it(then: list[dict[str, str]], told: str) -> None:
    """Beside why the target was taken (CP-7); a first turn with the same words is another conversation."""
    usage = {"prompt_tokens": 1_200, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1_000}}
    world = World("a/m", "b/n")
    world.engine.recorder = recent = Recent()
    world.transport.on("a", lambda flight: flight.answer(200, completion() | {"usage": usage}), refuses(503))
    world.transport.on("b", answers())
    for number, messages in enumerate((SECOND, then)):
        question = world.question(messages=messages, stream=False)._replace(request_id=f"req_{number}")
        await Exchange(world.engine, question, None).run()
    found = recent.request("req_1")
    assert found is not None
    tried = [(one.target.partition("#")[0], one.outcome) for one in found.attempts]
    assert tried[-1] == ("b/n", "ok")
    assert [one.why.partition("; ")[2] for one in found.attempts] == ["", told][-len(tried) :]
