"""Records as rows: what is worth one, and what one may not do to a record; the way there and back is test_persist's."""

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import Capability, Known
from hermes_router.core.observations import QuotaSeen, Scope, Unit, Window
from hermes_router.routing import rows
from hermes_router.routing.bindings import Binding
from hermes_router.routing.cooldown import CANARY_S, FORGET_S, NEVER, PAUSE_TRY_S, cooled, paused
from hermes_router.routing.health import Breaker
from hermes_router.routing.learned import Learnt, ModelMemory
from hermes_router.routing.names import Pin
from hermes_router.routing.plain import Instants
from hermes_router.routing.quota import Meter

from .conftest import target

NOW = 1_790_000_000.0
HERE = Instants(NOW, NOW)
SCOPE = Scope(target("a/m").target.provider)


def test_what_holds_nothing_has_no_row() -> None:
    """A quiet breaker, an unused window, a model of which nothing was learned, no block: not a byte."""
    assert rows.of_breaker(Breaker(), NOW) is None
    assert rows.of_meter(Meter(SCOPE, Unit.TOKENS, Window.DAY), NOW) is None
    assert rows.of_memory("a", "m", ModelMemory(), NOW) is None
    assert rows.of_block(None, NOW) is None


def test_a_told_window_is_remembered_a_month_beyond_its_end() -> None:
    """The limit is worth more than the window; after a month it is no longer worth a row."""
    meter = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    meter.told(QuotaSeen("provider", Unit.TOKENS, Window.DAY, 100, 30, NOW + 60), NOW)
    assert rows.of_meter(meter, NOW)["used"] == 70
    ended = rows.of_meter(meter, NOW + 61)
    assert (ended["used"], ended["limit"]) == (0, 100)
    assert rows.of_meter(meter, NOW + 61 + rows.TOLD_KEPT_S) is None


def test_a_window_that_ended_is_empty_whatever_its_row_says() -> None:
    """`used` counts only while the window runs; an instant beyond all reason is no running window."""
    meter = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    row = {"origin": "told", "limit": 10, "used": 10, "reset_at": NOW - 1, "epoch": 3}
    for reset_at in (NOW - 1, NOW + 1e9, None, "soon"):
        assert rows.into_meter(meter, {**row, "reset_at": reset_at}, HERE, new=True, beside=False)
        assert (meter.used, meter.limit, meter.fits(10, NOW)) == (0, 10, True)


@pytest.mark.parametrize("row", [None, {}, {"origin": "rumour", "limit": 1}, {"origin": "told", "limit": -1}])
def test_a_row_that_is_no_window_leaves_the_meter_alone(row: object) -> None:
    """Nothing half-read."""
    meter = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    meter.rule(100, "published")
    assert not rows.into_meter(meter, row, HERE, new=False, beside=False)
    assert (meter.limit, meter.origin, meter.used) == (100, "published", 0)


def test_a_block_has_a_row_while_it_stands_or_would_be_built_on() -> None:
    """An inferred one is doubled by the next within ten minutes; a told one that is over says nothing."""
    inferred = cooled(None, err.RateLimited(), NOW, None)
    told = cooled(None, err.RateLimited(retry_at=NOW + 5, told=True), NOW, None)
    assert rows.of_block(inferred, NOW + 5 + FORGET_S) is not None
    assert rows.of_block(inferred, NOW + 6 + FORGET_S) is None
    assert rows.of_block(told, NOW + 4) is not None
    assert rows.of_block(told, NOW + 5) is None


def test_a_pause_is_always_tried_again() -> None:
    """Whatever its row says of the next try, it is at most one interval away."""
    good = rows.of_block(paused(None, err.CredentialRejected(), NOW), NOW)
    for wrong in (None, "never", NOW + 1e7, float("nan")):
        for every_s in (None, 0.0, 1e9, "x"):
            block = rows.to_block({**good, "next_try_at": wrong, "every_s": every_s}, HERE, pause=True)
            assert block.until == NEVER
            assert block.free_at == NOW + PAUSE_TRY_S


def test_a_long_cooldown_is_always_asked_about_again() -> None:
    """A day's cooldown without its canary gets one."""
    good = rows.of_block(cooled(None, err.QuotaExhausted(retry_at=NOW + 80_000, told=True), NOW, None), NOW)
    block = rows.to_block({**good, "next_try_at": None, "every_s": None}, HERE, pause=False)
    assert (block.until, block.free_at) == (NOW + 80_000, NOW + CANARY_S)


@pytest.mark.parametrize(
    "wrong", [{"cause": "mood"}, {"source": None}, {"until": None}, {"until": NOW + 1e9}, {"until": "x"}, {"cause": []}]
)
def test_an_unsound_block_is_none(wrong: dict[str, object]) -> None:
    """A cause or a source that we do not know, an end that is none."""
    good = rows.of_block(cooled(None, err.RateLimited(), NOW, None), NOW)
    assert rows.to_block(good, HERE, pause=False) is not None
    assert rows.to_block({**good, **wrong}, HERE, pause=False) is None


def test_a_breaker_lets_a_probe_through_whatever_its_row_says() -> None:
    """Open for five minutes at most, and half-open with room for one."""
    breaker = Breaker()
    rows.into_breaker(breaker, {"open_until": NOW - 1, "allow": 0, "opens": -3, "opened_at": NOW + 99}, HERE)
    assert not breaker.busy(NOW)
    assert (breaker.allow, breaker.opens, breaker.opened_at) == (1, 1, NOW)
    rows.into_breaker(breaker, {"open_until": NOW + 1e6}, HERE)
    assert breaker.quiet(NOW)


def test_learned_capabilities_age() -> None:
    """How a capability was learned is written with it; what is a week old is not written, and not read either."""
    memory, other = ModelMemory(), ModelMemory()
    memory.capabilities[Capability.TOOLS] = Learnt(Known.NO, NOW)
    memory.capabilities[Capability.IMAGES] = Learnt(Known.YES, NOW, "probed")
    row = rows.of_memory("a", "m", memory, NOW)
    rows.into_memory(other, row, HERE)
    assert other.capabilities == memory.capabilities
    rows.into_memory(late := ModelMemory(), row, Instants(NOW, NOW + 8 * 86_400.0))
    assert late.capabilities == {}
    assert rows.of_memory("a", "m", memory, NOW + 8 * 86_400.0) is None


def test_a_row_of_an_earlier_version_has_no_provenance() -> None:
    """A capability without a word on how it was learned was seen; a window without a time was learned just now."""
    rows.into_memory(memory := ModelMemory(), {"capabilities": {"tools": ["yes", NOW]}, "context": 9_000}, HERE)
    assert memory.capabilities == {Capability.TOOLS: Learnt(Known.YES, NOW, "seen")}
    assert (memory.context, memory.context_at) == (9_000, NOW)


def test_what_was_learned_stays_within_the_bounds_of_learning() -> None:
    """A factor of zero would divide, a stretch of a thousand would wait for ever."""
    memory = ModelMemory()
    wrong = {"factor": 0, "sized": 0, "stretch": 1e3, "usual_s": -1, "samples": "9", "context": 0, "refused": [1, "n"]}
    rows.into_memory(memory, wrong, HERE)
    assert (memory.factor, memory.sized, memory.tempo.stretch, memory.tempo.usual_s) == (1.0, 1.0, 1.0, 0.0)
    assert (memory.tempo.samples, memory.context, memory.refused) == (0, None, frozenset({"n"}))


def test_a_binding_whose_target_cannot_be_read_keeps_its_difficulty() -> None:
    """The conversation is free to go anywhere, and no easier than it was."""
    bound = Binding(Pin(None, "m"))
    bound.target, bound.floor, bound.settled, bound.used_at = target("a/m").target, 4, True, NOW
    row = rows.of_binding("k", bound, 0)
    key, same = rows.to_binding(row, [bound.target].__getitem__, HERE)
    assert (key, same.target, same.pin, same.floor, same.settled) == ("k", bound.target, Pin(None, "m"), 4, True)
    _, lost = rows.to_binding(row, [None].__getitem__, HERE)
    assert (lost.target, lost.floor, lost.settled) == (None, 4, False)
    assert rows.to_binding([*row[:4], 9, True], [].__getitem__, HERE) is None


# --- there and back, where chance seldom gets to ------------------------------------------------------------------


def test_a_doubled_cooldown_is_doubled_again_in_another_life() -> None:
    """5, 10, then 20 s: the step is remembered."""
    block = cooled(None, err.RateLimited(), NOW, None)
    block = cooled(block, err.RateLimited(), NOW + 6, None)
    again = rows.to_block(rows.of_block(block, NOW + 17), Instants(NOW + 17, NOW + 17), pause=False)
    assert cooled(again, err.RateLimited(), NOW + 17, None).until == NOW + 37
    assert rows.of_block(again, NOW + 17) == rows.of_block(block, NOW + 17)


def test_a_breaker_that_opened_twice_opens_longer_the_third_time() -> None:
    """15, 30, then 45 s, with the success of its ramp remembered."""
    breaker, again = Breaker(), Breaker()
    for at in (0, 1, 2, 33):  # three in a row, then a failed probe
        breaker.fail(NOW + at, "m")
    breaker.succeed(NOW + 94, fresh=True)
    here = Instants(NOW + 95, NOW + 95)
    rows.into_breaker(again, rows.of_breaker(breaker, here.now), here)
    assert (again.opens, again.allow, again.opened_at) == (2, 2, NOW + 33)
    again.fail(NOW + 96, "m")
    assert again.open_until == NOW + 96 + 45


def test_the_factor_and_the_one_that_sizes_go_by_are_told_apart() -> None:
    """Sizes follow only from 2 % on: until then a plan goes by the older one, in the next life too."""
    memory, other = ModelMemory(), ModelMemory()
    memory.factor, memory.sized = 1.21, 1.2
    rows.into_memory(other, rows.of_memory("a", "m", memory, NOW), HERE)
    assert (other.factor, other.sized) == (1.21, 1.2)
