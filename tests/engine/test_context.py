"""What exchanges share: counters, and engines that know nothing of each other."""

import pytest

from hermes_router.engine.context import Counters

from ..fakes import World, answers, refuses, turns


@pytest.mark.parametrize(("outcome", "field"), [
    ("answered", "answered"), ("caller_left", "caller_left"), ("NoTarget", "failed"), ("refused_400", "failed"),
])  # fmt: skip
def test_an_exchange_counts_once(outcome, field) -> None:
    """Answered, left or failed: one of them, and the failed attempts beside it."""
    counters = Counters()
    counters.count(outcome, 2)
    assert counters.exchanges == 1
    assert getattr(counters, field) == 1
    assert counters.answered + counters.caller_left + counters.failed == 1
    assert counters.failovers == 2


async def test_two_engines_live_in_one_test() -> None:
    """Nothing is shared: what one learns of a target the other does not know."""
    one, two = World("a/m"), World("a/m")
    one.transport.on("a", refuses(401, {"message": "Incorrect API key provided"}))
    two.transport.on("a", answers())
    await one.ask(stream=False)
    await two.ask(stream=False)
    assert (one.status(), two.status()) == ("paused", "ready")
    assert (one.engine.counters.failed, two.engine.counters.failed) == (1, 0)


async def test_a_new_generation_serves_the_exchange_that_waits() -> None:
    """The snapshot is read for each attempt: a key added in the middle of an exchange rescues it."""
    world = World("a/m")
    run = world.start(stream=False)
    other = World("b/m")
    other.transport.on("b", answers("from b"))
    world.transport.script = other.transport.script
    await turns()
    world.engine.snapshot = other.engine.snapshot
    world.transport.last.answer(500, {"error": {"message": "boom"}})
    await run.over()
    assert run.said["choices"][0]["message"]["content"] == "from b"
