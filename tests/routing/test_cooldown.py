"""Cooldowns and pauses: rules with numbers."""

from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import CredentialRejected, ModelGone, Overloaded, QuotaExhausted, RateLimited
from hermes_router.core.observations import Window
from hermes_router.routing.cooldown import NEVER, Block, benched, cooled, paused

HOUR, DAY = 3600.0, 86400.0
NOON = 1_790_000_000.0 // DAY * DAY + DAY / 2


def limited(retry_at: float | None = None) -> RateLimited:
    """A 429 that tells this instant, or none."""
    return RateLimited(retry_at=retry_at, told=retry_at is not None)


def test_fl1_inferred_doubles_to_thirty_seconds_and_no_further() -> None:
    """A 429 without any hint rests 5 s, then 10, 20, 30, 30: never a day."""
    block, now, spans = None, 0.0, []
    for _ in range(6):
        block = cooled(block, limited(), now, None)
        spans.append(block.until - now)
        now = block.until + 1
    assert spans == [5.0, 10.0, 20.0, 30.0, 30.0, 30.0]


def test_overload_grows_to_three_quarters_of_a_minute() -> None:
    """No capacity rests 5, 10, 30, 45 s: nobody who is well again is left alone for a minute."""
    block, now, spans = None, 0.0, []
    for _ in range(5):
        block = cooled(block, Overloaded(), now, None)
        spans.append(block.until - now)
        now = block.until
    assert spans == [5.0, 10.0, 30.0, 45.0, 45.0]


def test_requests_under_way_together_are_one_piece_of_evidence() -> None:
    """Ten 429s at once do not double ten times, nor do they push the end out."""
    first = cooled(None, limited(), 0.0, None)
    assert cooled(first, limited(), 0.1, None) is first
    assert first.until == 5.0


def test_an_old_inferred_cooldown_is_forgotten() -> None:
    """Ten quiet minutes later the next one begins at five seconds."""
    first = cooled(cooled(None, limited(), 0.0, None), limited(), 6.0, None)
    assert cooled(first, limited(), first.until + 601, None).until - (first.until + 601) == 5.0


def test_a_delay_that_was_named_goes_before_the_rest_of_the_minute() -> None:
    """It said 3 s where its minute may have 40: after 3 s one may ask; who is refused then waits for the minute."""
    error = limited(40.0)
    error.said_at = 3.0
    block = cooled(None, error, 0.0, None)
    assert (block.until, block.source) == (3.0, "told")
    again = limited(40.0)
    again.said_at = 6.5
    assert cooled(block, again, 3.5, None).until == 40.0
    assert cooled(None, again, 3.5, None).until == 6.5  # somebody was let in since
    assert cooled(Block("limited", "inferred", 0.0), again, 3.5, None).until == 6.5


def test_ll4_a_told_instant_is_never_shortened() -> None:
    """An earlier instant, or none, told later leaves the deadline; a later one moves it."""
    block = cooled(None, limited(500.0), 0.0, None)
    assert cooled(block, limited(300.0), 10.0, None).until == 500.0
    assert cooled(block, limited(), 10.0, None).until == 500.0
    assert cooled(block, limited(700.0), 10.0, None).until == 700.0
    assert block.source == "told"


def test_told_outranks_inferred() -> None:
    """What is told replaces a guess, longer or shorter."""
    guess = cooled(None, limited(), 0.0, None)
    assert cooled(guess, limited(2.0), 0.0, None).until == 2.0


def test_a_published_clock_gives_way_to_what_is_told() -> None:
    """Midnight by the row's clock is a guess: the provider's own instant replaces it, earlier or later."""
    clock = cooled(None, QuotaExhausted(retry_at=9_000.0), 0.0, None)
    assert (clock.until, clock.source) == (9_000.0, "inferred")
    assert cooled(clock, limited(300.0), 1.0, None).until == 300.0
    told = cooled(None, limited(300.0), 0.0, None)
    assert cooled(told, QuotaExhausted(retry_at=9_000.0), 1.0, None).until == 9_000.0


def test_an_instant_that_has_passed_is_no_hint() -> None:
    """Retry-After: 0 counts as a 429 without a hint."""
    assert cooled(None, limited(0.0), 0.0, None).source == "inferred"


def test_cp2_a_long_told_cooldown_is_tried_once_an_hour() -> None:
    """Above 15 minutes one real request an hour may ask; below, nobody asks."""
    short = cooled(None, limited(900.0), 0.0, None)
    assert short.free_at == 900.0
    long = cooled(None, limited(18 * DAY), 0.0, None)
    assert (long.free_at, long.ends_at) == (HOUR, 18 * DAY)
    long.canary(HOUR)
    assert long.free_at == 2 * HOUR
    assert long.active(2 * HOUR)


def test_a_told_cooldown_near_its_end_is_waited_for() -> None:
    """A canary that is refused with a quarter of an hour left is not sent again."""
    block = cooled(None, limited(HOUR + 60), 0.0, None)
    assert cooled(block, limited(HOUR + 60), HOUR, None).free_at == HOUR + 60


def test_a_month_is_tried_once_a_day() -> None:
    """A limit that names a month stands until the month's end, with one try a day."""
    block = cooled(None, QuotaExhausted(window=Window.MONTH), NOON, None)
    assert block.every_s == DAY
    assert DAY < block.until - NOON < 31 * DAY


def test_lw1_a_spent_day_sleeps_until_its_reset() -> None:
    """With the row's clock the end is midnight there; with none the limit is asked again in an hour."""
    spent = QuotaExhausted(window=Window.DAY)
    assert cooled(None, spent, NOON, "utc").until == NOON + DAY / 2
    assert cooled(None, spent, NOON, None).until == NOON + HOUR
    assert cooled(None, spent, NOON, "rolling").until == NOON + HOUR


def test_a_gone_model_rests_for_a_day() -> None:
    """Benched a day, with one look an hour."""
    block = benched(ModelGone(), 0.0)
    assert (block.until, block.free_at) == (DAY, HOUR)


def test_fl2_a_rejected_key_is_tried_every_ten_minutes_then_daily() -> None:
    """Paused with no end of its own; after a day of refusals revoked."""
    block = paused(None, CredentialRejected(), 0.0)
    assert (block.until, block.free_at, block.ends_at) == (NEVER, 600.0, 600.0)
    now = 0.0
    while now < DAY:
        assert not block.revoked(now)
        now = block.free_at
        block = paused(block, CredentialRejected(), now)
    assert block.revoked(now)
    assert block.free_at == now + DAY


@given(st.lists(st.tuples(st.floats(0, 2_000), st.one_of(st.none(), st.floats(0, 5_000))), min_size=1, max_size=30))
def test_ll4_no_sequence_of_failures_brings_a_told_deadline_forward(steps: list[tuple[float, float | None]]) -> None:
    """Whatever is told or not told in whatever order, a standing told deadline never moves back."""
    block: Block | None = None
    now = 0.0
    for gap, told_in in steps:
        now += gap
        before = block.until if block is not None and block.source == "told" and block.active(now) else None
        block = cooled(block, limited(None if told_in is None else now + told_in), now, None)
        if before is not None:
            assert block.until >= before
        assert block.until > now or told_in == 0
