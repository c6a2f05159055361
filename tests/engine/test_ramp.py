"""Who goes first to a target that is coming back: one, then two, four, and then everybody."""

from hermes_router.core.errors import RateLimited, ServerFailed
from hermes_router.core.settings import Settings
from hermes_router.engine.ramp import Ramps

from ..fakes import World, completion, refuses, target, turns

COOL_S = 5.0


def cooled(*names: str):
    """A world whose first target has just come out of a cooldown that nobody has disproved."""
    made = World(*(names or ("a/m",)))
    state, now = made.engine.state, made.clock.now()
    state.failed(made.facts[0].target, RateLimited("slow down", status=429), now)
    made.clock.advance(COOL_S + 1.0)
    return made, state.slot(made.facts[0].target)


def test_a_target_without_trouble_needs_no_ramp() -> None:
    """Its windows say how many fit; nothing is to be found out."""
    made = World("a/m")
    slot = made.engine.state.slot(made.facts[0].target)
    ramps = Ramps()
    assert [ramps.go(slot, made.clock.now()) for _ in range(3)] == [None] * 3
    assert not ramps.behind(slot)


def test_one_goes_then_twice_as_many_with_each_that_is_let_in() -> None:
    """One, two, four under way at a time; after the third proof nobody is held any more."""
    made, slot = cooled()
    ramps, now = Ramps(), made.clock.now()
    went = []
    for allowed in (1, 2, 4):
        while not ramps.behind(slot):
            went.append(ramps.go(slot, now))
        assert len(went) == allowed
        went.pop().proved()
    for _ in range(20):
        assert not ramps.behind(slot)
        ramps.go(slot, now)


def test_one_who_is_refused_is_followed_by_one() -> None:
    """No herd after a failure either: the next is alone again."""
    made, slot = cooled()
    ramps, now = Ramps(), made.clock.now()
    first = ramps.go(slot, now)
    first.proved()
    second, third = ramps.go(slot, now), ramps.go(slot, now)
    assert ramps.behind(slot)
    second.over(refused=True)
    assert ramps.behind(slot)
    third.over(refused=True)
    assert not ramps.behind(slot)
    assert ramps.go(slot, now) is not None
    assert ramps.behind(slot)


def test_a_caller_who_leaves_proves_nothing_either_way() -> None:
    """Its place is free for the next, and what was proved before stands."""
    made, slot = cooled()
    ramps, now = Ramps(), made.clock.now()
    ramps.go(slot, now).proved()
    left = ramps.go(slot, now)
    left.over()
    ramps.go(slot, now)
    assert not ramps.behind(slot)


def test_what_is_held_is_all_that_the_cooldown_was_about() -> None:
    """A cooldown of one model of an account holds this target and no other; a provider's breaker holds all of it."""
    made, slot = cooled("a/m", "b/m")
    ramps, now = Ramps(), made.clock.now()
    ramps.go(slot, now)
    assert ramps.behind(slot) == {made.facts[0].target}
    assert not ramps.behind(made.engine.state.slot(made.facts[1].target))
    two = World(target("a/m", key="k1"), target("a/m", key="k2"))
    state, now = two.engine.state, two.clock.now()
    for _ in range(3):
        state.failed(two.facts[0].target, ServerFailed("boom", status=500), now)
    ramps.clear()
    ramps.go(state.slot(two.facts[0].target), now)
    assert ramps.behind(state.slot(two.facts[1].target)) == {facts.target for facts in two.facts}


def test_a_passage_ends_once() -> None:
    """A proof and then an end, or two ends: it is counted once."""
    made, slot = cooled()
    ramps, now = Ramps(), made.clock.now()
    first = ramps.go(slot, now)
    first.proved()
    first.over()
    first.proved()
    ramps.go(slot, now)
    assert not ramps.behind(slot)
    ramps.go(slot, now)
    assert ramps.behind(slot)


async def test_fifty_who_waited_for_one_cooldown_do_not_find_out_together() -> None:
    """It is over and nobody knows how much fits: one asks, is refused again, and 49 refusals were not drawn."""
    made = World("a/m", settings=Settings(patience_s=60.0))
    made.transport.on("a", refuses(429, None, {"retry-after": "10"}))
    first = made.start(stream=False)
    await turns()
    runs = [first, *(made.start(str(number), stream=False) for number in range(49))]
    await turns()
    assert made.engine.waiters.waiting == 50
    await made.later(10.5)
    assert len(made.transport.flights) == 2  # one went ahead and drew the only further 429
    assert made.engine.waiters.waiting == 50
    made.transport.script.clear()
    await made.later(10.5)
    assert len(made.transport.flights) == 3
    counts = []
    for _ in range(4):
        for flight in [flight for flight in made.transport.flights if not flight.sink.over]:
            flight.answer(200, completion())
        await turns(12)
        counts.append(len(made.transport.flights))
    assert counts == [5, 52, 52, 52]  # two more; and when those were let in, all
    assert all(run.task.done() for run in runs)
    assert {run.rendered.status for run in runs} == {200}
