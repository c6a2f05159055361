"""Health: the sliding-window breaker and the tempo."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.routing.health import OPEN_S, Breaker, Tempo


def broken(now: float = 0.0) -> Breaker:
    """A breaker that has just opened."""
    made = Breaker()
    for _ in range(3):
        made.fail(now, "m")
    return made


def test_ll5_the_third_failure_in_a_row_opens() -> None:
    """Two failures do not open it, the third does."""
    one = Breaker()
    one.fail(0.0, "m")
    one.fail(1.0, "m")
    assert one.open_until == 0
    one.fail(2.0, "m")
    assert one.open_until == 2.0 + OPEN_S[0]


def test_gl2_failures_spread_over_a_week_do_not_open() -> None:
    """Failures that lie further apart than the window are not a row."""
    one = Breaker()
    for day in range(30):
        one.fail(day * 20_000.0, "m")
    assert one.open_until == 0


def test_a_success_between_breaks_the_row() -> None:
    """Consecutive means without a success between."""
    one = Breaker()
    for second in range(4):
        one.fail(float(second), "m")
        one.succeed(second + 0.5, fresh=True)
    assert one.open_until == 0


def test_w3_half_of_ten_opens_though_never_three_in_a_row() -> None:
    """A provider that fails every second request opens: a success does not wipe the window."""
    one = Breaker()
    for second in range(5):
        one.fail(second * 2.0, "m")
        one.succeed(second * 2.0 + 1, fresh=True)
    one.fail(10.0, "m")
    assert one.open_until > 0


def test_one_model_of_several_does_not_open_the_provider() -> None:
    """Narrow evidence needs a second model; then it opens."""
    one = Breaker()
    for _ in range(5):
        one.fail(0.0, "a", wide=False)
    assert one.open_until == 0
    one.fail(0.0, "b", wide=False)
    assert one.open_until > 0


def test_half_open_admits_one_probe_then_ramps() -> None:
    """BF-12: after the open time one request goes; each success doubles what may be in flight, until closed."""
    one = broken()
    assert not one.busy(10.0)  # open, not half-open: nothing is asked of probes
    assert not one.busy(31.0)
    one.inflight += 1
    assert one.busy(31.0)
    one.succeed(32.0, fresh=True)
    assert not one.busy(32.0)
    assert one.allow == 2
    one.succeed(33.0, fresh=True)
    one.succeed(34.0, fresh=True)
    assert one.open_until == 0
    assert one.quiet(34.0)


def test_a_failed_probe_opens_for_longer() -> None:
    """Each failed probe makes it longer, up to three quarters of a minute."""
    one = broken()
    spans = []
    now = 0.0
    for _ in range(5):
        now = one.open_until + 1
        one.fail(now, "m")
        spans.append(one.open_until - now)
    assert spans == [30.0, 45.0, 45.0, 45.0, 45.0]


def test_a_straggler_neither_extends_nor_closes() -> None:
    """Requests that began before it opened change nothing when they end."""
    one = broken()
    until = one.open_until
    one.fail(5.0, "m")
    one.succeed(6.0, fresh=False)
    assert one.open_until == until


def test_degraded_is_a_share_and_more_than_one_failure() -> None:
    """One failure is no trend; two of three are; a minute later nothing is left of it."""
    one = Breaker()
    one.fail(0.0, "m")
    assert not one.degraded(0.0)
    one.succeed(1.0, fresh=True)
    one.fail(2.0, "m")
    assert one.degraded(2.0)
    assert not one.degraded(100.0)
    assert one.quiet(100.0)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.booleans()), max_size=60))
def test_a_breaker_always_recovers(steps: list[tuple[float, bool]]) -> None:
    """After any history, waiting and three good probes close it."""
    one = Breaker()
    now = 0.0
    for gap, ok in steps:
        now += gap
        one.succeed(now, fresh=True) if ok else one.fail(now, "m")
    now += 301
    for _ in range(3):
        assert not one.busy(now)
        one.succeed(now, fresh=True)
    assert one.quiet(now + 61)


def test_the_limit_is_the_configured_one_until_learned() -> None:
    """Without samples the configured limit stands, four-fold at high effort or hidden reasoning."""
    one = Tempo()
    assert one.limit_s(45.0, 100, high_effort=False, hidden=False) == 45.0
    assert one.limit_s(45.0, 100, high_effort=True, hidden=False) == 180.0
    assert one.limit_s(45.0, 100, high_effort=False, hidden=True) == 180.0


@pytest.mark.parametrize(("usual", "limit"), [(0.2, 15.0), (4.0, 32.0), (60.0, 180.0)])
def test_the_limit_is_learned_both_ways_within_bounds(usual: float, limit: float) -> None:
    """A fast model is waited for less, a slow one more, from a third of the configured limit to four times it."""
    one = Tempo()
    for _ in range(6):
        one.note(usual, 100, 0.0)
    assert one.limit_s(45.0, 100, high_effort=False, hidden=True) == pytest.approx(limit)


def test_go1_prefill_is_learned_per_token() -> None:
    """A local model that reads 100 tokens a second gets its minutes for a long prompt."""
    one = Tempo()
    for _ in range(5):
        one.note(1.0, 100, 0.0)
    for _ in range(40):
        one.note(1.0 + 200.0, 20_000, 0.0)
    assert one.per_token_s == pytest.approx(0.01, rel=0.2)
    assert one.limit_s(45.0, 20_000, high_effort=False, hidden=False) > 300


def test_go1_an_agent_that_only_sends_long_prompts_teaches_prefill_too() -> None:
    """Without any short prompt the length is still seen as the reason."""
    one = Tempo()
    for _ in range(6):
        one.note(200.0, 20_000, 0.0)
    assert one.limit_s(45.0, 20_000, high_effort=False, hidden=False) > 300
    assert one.limit_s(45.0, 100, high_effort=False, hidden=False) < 60


def test_a_timeout_makes_patience_and_a_worse_rank() -> None:
    """After a first-token timeout the next wait is longer, up to the bound, and the model ranks lower for a while."""
    one = Tempo()
    one.timed_out(100.0)
    assert one.limit_s(45.0, 0, high_effort=False, hidden=False) == 67.5
    assert one.slow_until > 100.0
    for _ in range(9):
        one.timed_out(100.0)
    assert one.limit_s(45.0, 0, high_effort=False, hidden=False) == 180.0


def test_w14_a_slow_model_is_noted() -> None:
    """A usual first token above ten seconds ranks the model lower, for ten minutes."""
    one = Tempo()
    one.note(12.0, 100, 50.0)
    assert one.slow_until == 650.0
