"""Standing: what status says and what holds a target."""

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import Capability, Known, PriceClass, QuotaRule
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.routing.standing import amounts, dares_at, holds, readiness, too_small

DAY = 86_400.0


def test_ready_with_nothing_to_say(world, make) -> None:
    """A target that nothing stands against is ready, with its capabilities."""
    a = make("a/m", caps="tools=yes images=unknown")
    found = world(a).status(a)
    assert (found.state, found.reason, found.until) == ("ready", None, None)
    assert found.capabilities == {"tools": "yes", "images": "unknown"}


def test_learned_capabilities_are_shown(world, make) -> None:
    """Status shows what is believed now, not what the row says."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    w.state.learn_capability("a", "m", Capability.TOOLS, Known.NO)
    w.state.learn_capability("a", "m", Capability.IMAGES, Known.YES)
    assert w.status(a).capabilities == {"tools": "no", "images": "yes"}


@pytest.mark.parametrize(
    ("error", "state", "reason", "seconds"),
    [
        (err.RateLimited(), "cooling", "limited (inferred)", 5),
        (err.QuotaExhausted(window=Window.DAY), "cooling", "limited_day (inferred)", 3_600),
        (err.Overloaded(), "cooling", "overloaded (inferred)", 5),
        (err.ModelGone(), "cooling", "gone (inferred)", DAY),
        (err.CredentialRejected(), "paused", "rejected_key", 600),
        (err.NoCredit(), "paused", "no_credit", 600),
        (err.Invalid(), "ready", None, None),
        (err.NetworkDown(), "ready", None, None),
    ],
)
def test_each_failure_shows_what_is_wrong_and_until_when(  # noqa: PLR0917 - one column a parameter
    world, make, error, state, reason, seconds
) -> None:
    """State, reason and instant of `GET /v1/status` after one failure."""
    a = make("a/m")
    w = world(a)
    w.blame(a, error)
    found = w.status(a)
    assert (found.state, found.reason) == (state, reason)
    assert found.until == (None if seconds is None else w.now + seconds)


def test_a_disabled_target_says_why(world, make) -> None:
    """Disabled stands above all else."""
    a = make("a/m", disabled="GitHub retired the service")
    w = world(a)
    w.blame(a, err.CredentialRejected())
    assert (w.status(a).state, w.status(a).reason) == ("disabled", "GitHub retired the service")


def test_open_and_half_open(world, make) -> None:
    """An open breaker shows its end; past it, the target waits for its probe."""
    a = make("a/m")
    w = world(a)
    for _ in range(3):
        w.blame(a, err.ServerFailed())
    assert (w.status(a).state, w.status(a).until) == ("open", w.now + 15)
    assert w.later(31).status(a).reason == "broken (half-open)"


def test_a_day_of_refusals_is_revoked(world, make) -> None:
    """Paused becomes revoked after a day."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.CredentialRejected())
    w.later(DAY + 1)
    w.blame(a, err.CredentialRejected())
    assert (w.status(a).state, w.status(a).until) == ("revoked", w.now + DAY)


def test_a_spent_told_window_is_cooling(world, make) -> None:
    """Remaining 0 shows as cooling until the reset that was told, with the window in the list."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    w.state.seen(a.target, [QuotaSeen("account_model", Unit.REQUESTS, Window.MINUTE, 30, 0, w.now + 12)], w.now)
    found = w.status(a)
    assert (found.state, found.reason, found.until) == ("cooling", "limited (told)", w.now + 12)
    assert (found.quota[0].limit, found.quota[0].remaining, found.quota[0].reset_at) == (30, 0, w.now + 12)


def test_a_status_before_any_plan(world, make) -> None:
    """Status answers for targets that were never planned."""
    a = make("a/m", quotas=[QuotaRule(Unit.REQUESTS, 5, Window.DAY)])
    w = world(a)
    found = w.state.status(a, w.now)
    assert found.state == "ready"
    assert (found.quota[0].remaining, found.quota[0].reset_at) == (5, None)


def test_what_a_request_is_expected_to_take(world, make, want) -> None:
    """Input by the model's factor, output by the caller's cap or the model's, money by its price."""
    a = make("a/m", price=PriceClass.PAID, usd=2_000_000, output_cap=500)
    w = world(a)
    w.state.adopt(w.roster)
    group = w.state.slot(a.target).group
    demand = want(text_bytes=3_600, max_output_tokens=9_000)
    inputs = demand.input_tokens
    assert amounts(group, demand) == (1, inputs + 500, inputs, 500, (inputs + 500) * 2, 1, 0)


def test_holds_tell_quota_from_the_rest(world, make, want) -> None:
    """Only quota holds are `limited`; a level returns within a second."""
    a = make("a/m", quotas=[QuotaRule(Unit.CONCURRENCY, 1, Window.NONE, origin="owner")])
    w = world(a)
    held = w.take()
    slot = w.state.slot(a.target)
    assert [(h.reason, h.limited, h.until) for h in holds(slot, want(), w.now)] == [("limited", True, w.now + 1)]
    w.settle(held)
    w.blame(a, err.CredentialRejected())
    assert [h.limited for h in holds(slot, want(), w.now)] == [False]
    assert list(holds(slot, want(), w.now + 601)) == []  # a try is due


def test_too_small_is_about_the_input(world, make, want) -> None:
    """The output can be made smaller, so only the input decides whether a window could ever take a request."""
    a = make("a/m", quotas=[QuotaRule(Unit.TOKENS, 2_000, Window.MINUTE, origin="owner")])
    w = world(a)
    w.state.adopt(w.roster)
    slot = w.state.slot(a.target)
    assert not too_small(slot, want(text_bytes=3_600, max_output_tokens=100_000))
    assert too_small(slot, want(text_bytes=9_000))


def spent(w, a, used: int) -> None:
    """A day of 10,000 tokens, told, of which so many are used."""
    w.state.adopt(w.roster)
    told = QuotaSeen("account_model", Unit.TOKENS, Window.DAY, 10_000, 10_000 - used, w.now + 9_000.0)
    w.state.seen(a.target, (told,), w.now)


def test_who_would_be_sent_away_may_ask_where_we_may_have_misjudged(world, make, want) -> None:
    """A request short by a hundredth of itself may dare; one short by half of itself has to wait for the reset."""
    a = make("a/m")
    w = world(a)
    spent(w, a, 7_950)
    demand = want(max_output_tokens=2_060)
    slot = w.state.slot(a.target)
    assert w.take(demand) is None
    assert dares_at(slot, demand, w.now) == w.now
    assert dares_at(slot, want(max_output_tokens=4_000), w.now) > w.now + 100.0
    assert w.plan(demand).dares_at == w.now
    assert w.plan(demand).dare().why == "last resort"
    assert w.plan(want(max_output_tokens=4_000)).dare() is None


def test_the_input_may_be_misread_by_a_tenth(world, make, want) -> None:
    """8,000 estimated tokens short by 700 may dare, short by 900 not: bytes tell the size within a tenth."""
    a = make("a/m")
    demand = want(text_bytes=28_800, max_output_tokens=1)
    for left_over, dares in ((700, True), (900, False)):
        w = world(a)
        w.state.adopt(w.roster)
        slot = w.state.slot(a.target)
        spent(w, a, 10_000 - amounts(slot.group, demand)[1] + left_over)
        assert w.take(demand) is None
        assert (dares_at(slot, demand, w.now) == w.now) is dares


def test_after_a_refusal_the_like_of_it_dares_a_minute_later(world, make, want) -> None:
    """One short by a hundredth was refused: another of its size asks after 60 s, one that is a tenth smaller at once."""
    a = make("a/m")
    w = world(a)
    spent(w, a, 7_950)
    demand, began = want(max_output_tokens=2_060), w.now
    first = w.plan(demand).dare()
    told = QuotaSeen("account_model", Unit.TOKENS, Window.DAY, 10_000, 2_050, w.now + 9_000.0)
    error = err.QuotaExhausted(status=429, window=Window.DAY, retry_at=w.now + 1.0, told=True, quotas=(told,))
    w.state.failed(a.target, error, w.now, demand=demand, reservation=first.reservation)
    w.state.settle(first.reservation, w.now, input_tokens=None, output_tokens=None, sent=False)
    w.later(5.0)
    slot = w.state.slot(a.target)
    assert dares_at(slot, demand, w.now) == began + 60.0
    assert dares_at(slot, want(max_output_tokens=1_800), w.now) == w.now
    w.later(55.0)
    assert w.plan(demand).dare() is not None


def test_what_nobody_answered_binds_a_day_for_a_while_only(world, make, want) -> None:
    """A silent request fills the day by our count: for 45 s it binds, then its target ranks behind its equals."""
    a, b = make("a/m"), make("b/m")
    w = world(a, b)
    spent(w, a, 7_000)
    silent = w.take(want(max_output_tokens=2_500), tried=frozenset({b.target}))
    w.state.settle(silent.reservation, w.now, input_tokens=2_900, output_tokens=100, sent=True, unheard=True)
    slot, demand = w.state.slot(a.target), want(max_output_tokens=1_000)
    assert slot.blocked_until == w.now + 45.0
    assert w.take(demand, tried=frozenset({b.target})) is None
    assert [hold.until for hold in holds(slot, demand, w.now)] == [w.now + 45.0]
    w.later(46.0)
    assert list(holds(slot, demand, w.now)) == []
    assert readiness(slot, demand, w.now) == 2
    assert [one.provider.name for one in w.plan(demand).candidates] == ["b", "a"]


def test_what_nobody_answered_binds_a_minute_until_it_leaves(world, make, want) -> None:
    """A minute forgets it soon enough: nobody has to be refused to find that out."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    w.state.seen(a.target, (QuotaSeen("account_model", Unit.TOKENS, Window.MINUTE, 8_000, 7_000, w.now + 40.0),), w.now)
    silent = w.take(want(max_output_tokens=2_500))
    w.state.settle(silent.reservation, w.now, input_tokens=6_900, output_tokens=100, sent=True, unheard=True)
    w.later(50.0)
    assert w.take(want(max_output_tokens=4_000)) is None


def test_a_refusal_makes_certain_what_nobody_had_answered(world, make, want) -> None:
    """After one more request was refused beside them, silent claims bind like all others."""
    a = make("a/m")
    w = world(a)
    spent(w, a, 7_000)
    silent = w.take(want(max_output_tokens=2_500))
    w.state.settle(silent.reservation, w.now, input_tokens=2_900, output_tokens=100, sent=True, unheard=True)
    w.later(46.0)
    demand = want(max_output_tokens=1_000)
    again = w.take(demand)
    told = QuotaSeen("account_model", Unit.TOKENS, Window.DAY, 10_000, 0, w.now + 600.0)
    error = err.QuotaExhausted(status=429, window=Window.DAY, retry_at=w.now + 600.0, told=True, quotas=(told,))
    w.state.failed(a.target, error, w.now, demand=demand, reservation=again.reservation)
    w.state.settle(again.reservation, w.now, input_tokens=None, output_tokens=None, sent=False)
    w.later(300.0)
    assert w.take(want(max_output_tokens=10)) is None


def test_what_nobody_answered_may_never_have_been_counted(world, make, want) -> None:
    """A request was silent: the day is full by our count only, so one that would be sent away may ask."""
    a = make("a/m")
    w = world(a)
    spent(w, a, 7_000)
    silent = w.take(want(max_output_tokens=2_500))
    w.state.settle(silent.reservation, w.now, input_tokens=2_400, output_tokens=0, sent=True, unheard=True)
    again = w.take(want(max_output_tokens=500))
    w.state.settle(again.reservation, w.now, input_tokens=601, output_tokens=0, sent=True, unheard=True)
    demand = want(max_output_tokens=2_000)
    assert w.take(demand) is None  # there are more than all by our count
    assert dares_at(w.state.slot(a.target), demand, w.now) == w.now


def test_nobody_dares_where_a_budget_or_a_cooldown_stands(world, make, want) -> None:
    """The owner's word is exact, and so is what was told; only a first overload may be over already."""
    a = make("a/m", quotas=(QuotaRule(Unit.TOKENS, 2_000, Window.DAY, origin="owner"),))
    w = world(a)
    w.state.adopt(w.roster)
    assert w.plan(want(max_output_tokens=2_010)).dare() is None
    used = w.take(want(max_output_tokens=1_000))
    assert used is not None
    demand = want(max_output_tokens=1_000)
    assert w.take(demand) is None
    assert dares_at(w.state.slot(a.target), demand, w.now) > w.now
    assert w.plan(demand).dare() is None
    b = make("b/m")
    w = world(b)
    w.blame(b, err.RateLimited(status=429))
    assert w.plan(want()).dare() is None
    w = world(b)
    w.blame(b, err.Overloaded(status=503))
    assert w.plan(want()).dare() is not None


def test_a_minute_of_tokens_keeps_a_little_room_for_what_a_size_is_off(world, make, want) -> None:
    """2,000 are left of a told minute: what is taken for 1,990 waits, for 1,900 goes; all of a whole one may be asked."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    w.state.seen(a.target, (QuotaSeen("account_model", Unit.TOKENS, Window.MINUTE, 8_000, 2_000, w.now + 40.0),), w.now)
    sized = amounts(w.state.slot(a.target).group, want(max_output_tokens=1))[1] - 1
    assert w.take(want(max_output_tokens=1_990 - sized)) is None
    assert w.take(want(max_output_tokens=1_900 - sized)) is not None
    w.later(120.0)
    assert w.take(want(max_output_tokens=8_000 - sized)) is not None


def test_a_full_share_of_a_plan_holds_its_account(world, make, want) -> None:
    """All models of the account rest until the reset that was told; the other account does not."""
    one, two, other = make("a/m", account="x"), make("a/n", account="x"), make("a/m", key="k2", account="y")
    w = world(one, two, other)
    w.state.adopt(w.roster)
    told = [QuotaSeen("account", Unit.PERCENT, Window.PLAN, 100, 0, w.now + 600)]
    w.state.seen(one.target, told, w.now)
    for facts in (one, two):
        assert (w.status(facts).state, w.status(facts).until) == ("cooling", w.now + 600)
        [hold] = holds(w.state.slot(facts.target), want(), w.now)
        assert (hold.limited, hold.until) == (True, w.now + 600)
    assert w.status(other).state == "ready"
    for _ in range(3):
        assert w.take().facts is other
    w.now += 601
    assert w.status(one).state == "ready"
