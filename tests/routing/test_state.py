"""The ledger: what outcomes prove, for whom, and what ends it."""

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import PriceClass, Quirk, QuotaRule
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.routing.roster import Roster

DAY = 86_400.0


def states(w):
    """State by target, as `provider/model#key`."""
    return {f"{f.target.name}#{f.credential.id.partition('-')[0]}": w.status(f).state for f in w.roster.facts}


@pytest.fixture
def grid(world, make):
    """Two models on two keys of one provider, and a second provider."""
    return world(*(make(f"a/{m}", key=k) for m in "xy" for k in ("k1", "k2")), make("b/m"))


@pytest.mark.parametrize(
    ("error", "hit"),
    [
        (err.RateLimited(), {"a/x#k1"}),  # account and model
        (err.RateLimited(scope="account"), {"a/x#k1", "a/y#k1"}),  # CP-3
        (err.RateLimited(scope="ip"), {"a/x#k1", "a/x#k2", "a/y#k1", "a/y#k2"}),  # GL-1: not key after key
        (err.CredentialRejected(), {"a/x#k1", "a/y#k1"}),
        (err.CredentialRejected(scope="credential_model"), {"a/x#k1"}),
        (err.NoCredit(), {"a/x#k1", "a/y#k1"}),
        (err.Overloaded(), {"a/x#k1", "a/x#k2"}),
        (err.ModelGone(), {"a/x#k1", "a/x#k2"}),
        (err.ServerFailed(retry_at=2e9, told=True), {"a/x#k1", "a/x#k2", "a/y#k1", "a/y#k2"}),
        (err.ServerFailed(), set()),
        (err.NetworkDown(), set()),
        (err.Invalid(), set()),
        (err.ContextTooLong(), set()),
        (err.ContentFiltered(), set()),
        (err.TimedOut("deadline"), set()),
    ],
)
def test_w6_a_failure_hits_whom_the_evidence_names_and_nobody_else(grid, error, hit) -> None:
    """The scope of each class, over two models and two keys."""
    grid.blame(grid.roster.facts[0], error)
    assert {name for name, state in states(grid).items() if state != "ready"} == hit


def test_w4_callers_errors_and_our_own_network_never_count_as_ill_health(grid) -> None:
    """A hundred 400s, refusals, network failures and deadlines of ours leave everybody ready."""
    for error in (
        err.Invalid(),
        err.ContentFiltered(),
        err.Unsupported(param="x"),
        err.NetworkDown(),
        err.TimedOut("deadline"),
    ) * 25:
        grid.blame(grid.roster.facts[0], error)
    assert set(states(grid).values()) == {"ready"}


def test_ll5_a_failing_provider_is_out_by_the_third(world, make) -> None:
    """25 failures within 10 s: the third closes the door."""
    a, b = make("a/m"), make("b/m")
    w = world(a, b)
    asked = [w.later(0.2).fail(err.ServerFailed()) for _ in range(40) if w.status(a).state != "open"]
    assert asked.count("a/m#k1") == 3


def test_one_dead_model_of_several_leaves_its_provider_open(grid) -> None:
    """An aggregator's dead model rests alone; a second one failing, or no connection, is the provider's matter."""
    x, y = grid.roster.facts[0], grid.roster.facts[2]
    for _ in range(4):
        grid.blame(x, err.EmptyReply())
    assert states(grid) == {"a/x#k1": "open", "a/x#k2": "open", "a/y#k1": "ready", "a/y#k2": "ready", "b/m#k1": "ready"}
    grid.blame(y, err.EmptyReply())
    assert states(grid)["a/y#k2"] == "open"


def test_an_unreachable_provider_is_out_whatever_the_model(grid) -> None:
    """Three refused connections at one model prove it for all."""
    for _ in range(3):
        grid.blame(grid.roster.facts[0], err.Unreachable())
    assert states(grid)["a/y#k2"] == "open"
    assert states(grid)["b/m#k1"] == "ready"


def test_w6_one_revoked_key_of_three_fails_no_later_request(world, make) -> None:
    """The bad key is parked after its first refusal, its siblings carry on, in either mode."""
    for policy in ("round-robin", "sequential"):
        facts = [make("a/m", key=f"k{i}") for i in range(3)]
        w = world(*facts, policy=policy)
        w.blame(facts[0], err.CredentialRejected())
        assert "a/m#k0" not in {w.who() for _ in range(20)}


def test_fl2_a_paused_key_gets_one_real_request_in_ten_minutes(world, make) -> None:
    """Ten minutes later one request asks; refused again, ten more; its success ends the pause."""
    a, b = make("a/m"), make("b/m")
    w = world(a, b)
    w.blame(a, err.CredentialRejected())
    w.later(601)
    assert w.fail(err.CredentialRejected()) == "a/m#k1"
    assert {w.who() for _ in range(10)} == {"b/m#k1"}
    w.later(601)
    assert [w.who() for _ in range(2)] == ["a/m#k1", "b/m#k1"]
    assert w.status(a).state == "ready"


def test_only_one_request_asks_at_a_time(world, make) -> None:
    """While the canary is under way nobody else is sent there."""
    a, b = make("a/m"), make("b/m")
    w = world(a, b)
    w.blame(a, err.QuotaExhausted(retry_at=w.now + DAY, told=True))
    w.later(3_601)
    canary = w.take()
    assert canary is not None
    assert canary.facts is a
    assert {w.who() for _ in range(5)} == {"b/m#k1"}


def test_an_abandoned_canary_may_be_sent_again(world, make) -> None:
    """The caller left before it could tell: the next request asks."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.QuotaExhausted(retry_at=w.now + DAY, told=True))
    w.later(3_601)
    canary = w.take()
    assert canary is not None
    assert w.take() is None
    w.state.abandoned(a.target, w.now)
    w.settle(canary)
    assert w.who() == "a/m#k1"
    assert w.status(a).state == "ready"


def test_cp2_a_success_ends_a_told_cooldown(world, make) -> None:
    """An early reset is noticed by the hourly request, and its success clears the day."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.QuotaExhausted(retry_at=w.now + 18 * DAY, told=True))
    assert w.later(3_601).who() == "a/m#k1"
    assert states(w) == {"a/m#k1": "ready"}


def test_a_success_that_began_before_the_trouble_proves_nothing(world, make) -> None:
    """A stream that ends well after a 429 was told elsewhere does not end that cooldown."""
    a = make("a/m")
    w = world(a)
    stream = w.take()
    assert stream is not None
    w.later(1)
    w.blame(a, err.RateLimited(retry_at=w.now + 60, told=True))
    w.later(1)
    w.good(a)
    w.settle(stream)
    assert w.status(a).state == "cooling"


def test_oc1_a_refusal_of_ours_extends_nothing(world, make) -> None:
    """Planning a hundred times against a cooling pool leaves its end where it was."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.RateLimited())
    until = w.status(a).until
    for _ in range(100):
        assert w.later(0.01).who() is None
    assert w.status(a).until == until
    assert w.later(5).who() == "a/m#k1"


def test_fl1_a_success_resets_the_doubling(world, make) -> None:
    """5 s, then 10 s, then a success, then 5 s again."""
    a = make("a/m")
    w = world(a)
    spans = []
    for good in (False, True, False):
        w.fail(err.RateLimited())
        spans.append(w.status(a).until - w.now)
        w.later(spans[-1])
        if good:
            assert w.who() == "a/m#k1"
    assert spans == [5.0, 10.0, 5.0]


def test_a_model_without_capacity_rests_alone_and_longer_each_time(world, make) -> None:
    """Overloaded: the model's scope, 5, 10, 30, 45 s; its provider's breaker stays closed."""
    x, y = make("a/x"), make("a/y")
    w = world(x, y)
    for span in (5.0, 10.0, 30.0, 45.0):
        w.blame(x, err.Overloaded())
        assert w.status(x).until == w.now + span
        w.later(span)
    assert w.status(y).state == "ready"


def test_a_key_that_proved_good_is_in_use_again(world, make) -> None:
    """`hr auth test` that succeeds ends the pause of a rejected key at once, and no cooldown that was told."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.CredentialRejected())
    assert w.status(a).state == "paused"
    w.state.proved(a.target.credential, w.now)
    assert w.status(a).state == "ready"
    assert w.who() == "a/m#k1"
    w.blame(a, err.RateLimited(retry_at=w.now + 99, told=True))
    w.state.proved(a.target.credential, w.now)
    assert w.status(a).state == "cooling"


def test_a_login_that_has_ended_is_revoked_until_there_is_another(world, make) -> None:
    """Revoked at once, a try a day at most; new tokens end that."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    w.state.revoke(a.target.credential, w.now)
    assert w.status(a).state == "revoked"
    assert w.who() is None
    w.now += 86_000.0
    assert w.who() is None
    w.state.proved(a.target.credential, w.now)
    assert w.status(a).state == "ready"
    assert w.who() == "a/m#k1"


def test_credit_is_asked_for_again_when_the_key_proved_good(world, make) -> None:
    """A good key says nothing of its account's credit: one real request may ask, at once."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.NoCredit())
    assert w.who() is None
    w.state.proved(a.target.credential, w.now)
    assert w.who() == "a/m#k1"


def test_attempts_under_way_are_counted_by_credential(world, make) -> None:
    """A removal can wait for those that use the key, also once its targets left the snapshot."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    uses = w.state.uses(a.target.credential)
    assert (uses(), w.state.in_flight()) == (0, 0)
    w.take()
    w.take()
    assert uses() == w.state.in_flight() == 2


def test_quotas_in_an_error_are_seen(world, make) -> None:
    """A 429 that describes its window teaches it."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.RateLimited(quotas=[QuotaSeen("account", Unit.TOKENS, Window.MINUTE, 6_000, 10, w.now + 20)]))
    assert [(q.unit, q.limit, q.remaining) for q in w.status(a).quota] == [("tokens", 6_000, 10)]


def test_a_quota_that_says_nothing_is_no_window(world, make) -> None:
    """Neither limit nor remaining: nothing is remembered."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    w.state.seen(a.target, [QuotaSeen("account", Unit.TOKENS, Window.MINUTE)], w.now)
    assert w.status(a).quota == ()


def test_a_reservation_settles_once(world, make) -> None:
    """The second settlement is a no-op, in windows as in flight."""
    a = make("a/m", quotas=[QuotaRule(Unit.REQUESTS, 100, Window.DAY)])
    w = world(a)
    one, two = w.take(), w.take()
    for _ in range(3):
        w.settle(one, sent=False)
    assert w.status(a).quota[0].remaining == 99
    assert w.state.slot(a.target).inflight == 1
    w.settle(two)
    assert w.status(a).quota[0].remaining == 99


def test_every_unit_is_settled_by_what_was_used(world, make, want) -> None:
    """Tokens and money are corrected by the report, requests stand; an unreported amount stands as reserved."""
    units = (Unit.REQUESTS, Unit.TOKENS, Unit.INPUT_TOKENS, Unit.OUTPUT_TOKENS, Unit.MICROUSD)
    a = make("a/m", price=PriceClass.PAID, usd=1_000_000, quotas=[QuotaRule(u, 10**6, Window.DAY) for u in units])
    w = world(a)
    candidate = w.take(want(max_output_tokens=400))
    w.state.settle(candidate.reservation, w.now, input_tokens=100, output_tokens=50, sent=True)
    assert [10**6 - q.remaining for q in w.status(a).quota] == [1, 150, 100, 50, 150]
    candidate = w.take(want(max_output_tokens=400))
    w.state.settle(candidate.reservation, w.now, input_tokens=None, output_tokens=None, sent=True)
    assert [10**6 - q.remaining for q in w.status(a).quota][3] == 450


def test_pacing_by_what_binds_draws_no_429(world, make) -> None:
    """The owner's concurrency of one sends one request at a time."""
    a = make("a/m", quotas=[QuotaRule(Unit.CONCURRENCY, 1, Window.NONE, origin="owner")])
    w = world(a)
    one = w.take()
    assert w.take() is None
    assert w.plan().limited
    w.settle(one)
    assert w.take() is not None


def test_published_concurrency_ranks(world, make) -> None:
    """A sane level moves the next request to an equal, and refuses nobody."""
    level = QuotaRule(Unit.CONCURRENCY, 1, Window.NONE)
    w = world(make("a/m", quotas=[level]), make("b/m", quotas=[level._replace(amount=2)]), policy="sequential")
    assert [w.take().facts.provider.name for _ in range(5)] == ["a", "b", "b", "a", "a"]


def test_the_first_token_limit(world, make, want) -> None:
    """The model's own limit, else the row's, else the setting; four-fold at high effort or hidden reasoning."""
    w = world()
    plain = make("a/m")
    assert w.state.first_token_limit_s(plain, want(), 45.0) == 45.0
    assert w.state.first_token_limit_s(plain, want(effort="high"), 45.0) == 180.0
    assert w.state.first_token_limit_s(make("b/m", first_token_s=90.0), want(), 45.0) == 90.0
    thinks = make("c/m", caps="reasoning=yes")
    assert w.state.first_token_limit_s(thinks, want(), 45.0) == 180.0
    assert w.state.first_token_limit_s(thinks, want(effort="none"), 45.0) == 45.0
    shows = make("d/m", caps="reasoning=yes", quirks=frozenset({Quirk.THINK_TAGS}))
    assert w.state.first_token_limit_s(shows, want(), 45.0) == 45.0


def test_a_first_token_timeout_lengthens_the_next_wait(world, make, want) -> None:
    """A slow local model is not asked with the same short patience for ever."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.TimedOut("first_token"))
    assert w.state.first_token_limit_s(a, want(), 45.0) == 67.5


def test_refused_parameters_are_remembered(world) -> None:
    """Per provider and model."""
    w = world()
    assert w.state.refused_params("a", "m") == frozenset()
    w.state.learn_refused("a", "m", "seed")
    w.state.learn_refused("a", "m", "logprobs")
    assert w.state.refused_params("a", "m") == {"seed", "logprobs"}
    assert w.state.refused_params("a", "n") == frozenset()


def test_a_learned_window_changes_the_next_plan(world, make, want) -> None:
    """A window read from the server at start filters and admits at once."""
    local = make("local/m", context=None, kind="none")
    w = world(local)
    fits, big = want(text_bytes=40_000), want(text_bytes=300_000)
    assert w.take(fits) is None  # unknown: 8,192 tokens
    w.state.learn_context("local", "m", 16_384)
    assert w.take(fits) is not None
    assert w.take(big) is None
    assert w.plan(big).too_long is not None


def test_a_learned_window_runs_out(world, make, want) -> None:
    """After a week the row's window counts again, and what was too large fits."""
    w = world(make("a/m"))
    w.state.succeeded(w.roster.facts[0].target, w.now, ttft_s=None, demand=want())
    w.state.learn_context("a", "m", 16_384)
    big = want(text_bytes=200_000)
    assert w.take(big) is None
    w.now += 8 * 86_400.0
    w.state.forget_stale(w.now)
    assert w.take(big) is not None


def test_a_model_that_is_listed_again_is_in_use_at_once(world, make) -> None:
    """What said that it is gone ends; a cooldown for another reason stands."""
    a, b = make("a/m"), make("b/m")
    w = world(a, b)
    w.state.adopt(w.roster)
    w.state.failed(a.target, err.ModelGone(), w.now)
    w.state.failed(b.target, err.ModelGone(), w.now)
    w.state.listed_again("a", "m", w.now)
    assert [w.state.status(one, w.now).state for one in (a, b)] == ["ready", "cooling"]
    w.state.failed(a.target, err.RateLimited(scope="model", retry_at=w.now + 50, told=True), w.now)
    w.state.listed_again("a", "m", w.now)
    assert w.state.status(a, w.now).state == "cooling"


def test_told_room_lets_one_request_ask(world, make) -> None:
    """Of a long told wait only: one request goes there at once, and its success ends the wait."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    w.state.failed(a.target, err.RateLimited(retry_at=w.now + 600, told=True), w.now)
    assert not w.state.told_to_wait(a.credential.id, w.now)
    w.state.failed(a.target, err.RateLimited(retry_at=w.now + 9_000, told=True), w.now)
    assert w.state.told_to_wait(a.credential.id, w.now)
    assert w.take() is None
    w.state.has_room_again(a.credential.id, w.now)
    assert w.take() is not None
    assert w.take() is None


def test_the_floor_of_a_conversation(world, make, want) -> None:
    """The hardest answered turn is the floor of the later ones."""
    w = world(make("a/m", tier=5))
    hard = want("hi", conversation="c", assistant_turns=1, effort="high")
    w.who(hard)
    assert w.state.difficulty_floor(hard.affinity_key) == 4
    assert w.state.difficulty_floor(None) == 1


def test_a_target_that_nobody_knows_changes_nothing(world, make, want) -> None:
    """Outcomes of a target that was forgotten meanwhile are ignored."""
    w = world(make("a/m"))
    stranger = make("z/m").target
    w.state.succeeded(stranger, w.now, ttft_s=1.0, demand=want(conversation="c"))
    w.state.failed(stranger, err.ServerFailed(), w.now)
    w.state.seen(stranger, [QuotaSeen("account", Unit.TOKENS, Window.MINUTE, 1, 1)], w.now)
    w.state.abandoned(stranger, w.now)
    w.state.proved(stranger.credential, w.now)
    assert w.state.slot(stranger) is None


# --- the whole ledger ----------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [-9.0, 9.0])
def test_a_clock_that_jumps_by_days_leaves_nobody_standing(world, make, days) -> None:
    """Windows, cooldowns and breakers last as long as they were to last, whatever day the clock says it is."""
    own = QuotaRule(Unit.REQUESTS, 1, Window.MINUTE, origin="owner")
    day = QuotaRule(Unit.REQUESTS, 1, Window.DAY, origin="owner", resets="utc")
    a, b, c, d = make("a/m", quotas=[own]), make("b/m", quotas=[day]), make("c/m"), make("d/m")
    w = world(a, b, c, d)
    for facts in (a, b):
        candidate = w.take(providers=frozenset({facts.provider.name}))
        w.settle(candidate)
    w.blame(c, err.RateLimited(retry_at=w.now + 40, told=True))
    for _ in range(3):
        w.blame(d, err.Unreachable())
    w.later(days * DAY)
    w.plan()
    for limit_s, facts in ((61, a), (DAY + 1, b), (41, c), (61, d)):
        until = w.status(facts).until
        assert until is None or until <= w.now + limit_s, facts.target
    w.later(DAY + 1)
    assert {w.who() for _ in range(4)} == {"a/m#k1", "b/m#k1", "c/m#k1", "d/m#k1"}


def test_the_whole_ledger_names_each_window_once(world, make) -> None:
    """Whose it is, what is used, when it returns and who says so; the owner's budget counts without a limit, too."""
    shared = QuotaRule(Unit.REQUESTS, 10, Window.DAY, "account", resets="utc")
    x, y = (make(f"a/{m}", account="acc", quotas=[shared]) for m in "xy")
    w = world(x, y, make("b/m", price=PriceClass.PAID, usd=1_000_000))
    held = w.take(providers=frozenset({"b"}))
    w.state.settle(held.reservation, w.now, input_tokens=None, output_tokens=None, sent=True, cost_microusd=700)
    for _ in range(3):
        w.who(providers=frozenset({"a"}))
    rows = [one for _, one in w.state.windows(w.now)]
    assert [(r.scope, r.unit, r.window, r.limit, r.used, r.remaining, r.origin) for r in rows] == [
        ("all paid models", "microusd", "day", None, 700, None, "owner"),
        ("a account=acc", "requests", "day", 10, 3, 7, "published"),
    ]
    assert all(w.now < r.reset_at <= w.now + DAY for r in rows)


def test_budgets_are_those_that_count_for_somebody(world, make) -> None:
    """The pool's and a provider's, with what is spent and claimed and the day's end; neither one without a limit."""
    rule = QuotaRule(Unit.MICROUSD, 2_000, Window.DAY, "provider", resets="utc", origin="owner")
    paid = {"price": PriceClass.PAID, "usd": 1_000_000}
    w = world(make("a/m", **paid, quotas=[rule]), make("b/m", **paid))
    w.state.adopt(w.roster)
    assert [(str(scope), limit, spent) for scope, limit, spent, _ in w.state.budgets(w.now)] == [("a", 2_000, 0)]
    w.state.configure(budget_microusd_day=9_000, pacing_even=False, now=w.now)
    held = w.take(providers=frozenset({"a"}))
    w.state.settle(held.reservation, w.now, input_tokens=None, output_tokens=None, sent=True, cost_microusd=700)
    found = {str(scope): (limit, spent) for scope, limit, spent, _ in w.state.budgets(w.now)}
    assert found == {"*": (9_000, 700), "a": (2_000, 700)}
    assert {ends_at % DAY for *_, ends_at in w.state.budgets(w.now)} == {0.0}
    w.state.adopt(Roster([make("a/m", **paid), make("b/m", **paid)]))  # its owner takes that one back
    assert [str(scope) for scope, *_ in w.state.budgets(w.now)] == ["*"]


def test_a_target_stands_as_its_status_says(grid) -> None:
    """State, reason and until when, without the rest."""
    grid.blame(grid.roster.facts[0], err.CredentialRejected())
    grid.blame(grid.roster.facts[-1], err.RateLimited(retry_at=grid.now + 60, told=True))
    for facts in grid.roster.facts:
        assert grid.state.stance(facts, grid.now) == grid.status(facts)[:3]


def test_what_makes_no_sense_is_noted_once_and_binds_nobody(world, make) -> None:
    """More left than the limit, a minute that ends tomorrow: nothing is stuck, and the log hears of it once."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    for _ in range(3):
        w.state.seen(a.target, [QuotaSeen("account", Unit.REQUESTS, Window.MINUTE, 5, 9)], w.now)
        w.state.seen(a.target, [QuotaSeen("account", Unit.TOKENS, Window.MINUTE, 9_000, 0, w.now + DAY)], w.now)
    assert [target for target, _ in w.state.oddities.take()] == [a.target] * 2
    assert w.state.oddities.take() == []
    assert w.later(61.0).who() == "a/m#k1"
