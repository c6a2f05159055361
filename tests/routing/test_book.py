"""The book of records: what outlives a snapshot, and whom a scope ties together."""

from hermes_router.core import errors as err
from hermes_router.core.catalog import QuotaRule
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.routing.roster import Roster

RPD = QuotaRule(Unit.REQUESTS, 50, Window.DAY)


def windows(w, facts):
    """Limit, rest and origin of every window of a target."""
    return {(q.scope, q.unit, q.window): (q.limit, q.remaining, q.origin) for q in w.status(facts).quota}


def test_a_reload_forgets_no_trouble(world, make) -> None:
    """Cooldowns, breakers and counts are keyed by scope: a new snapshot finds them as they were."""
    a = make("a/m", quotas=[RPD])
    w = world(a)
    w.who()
    w.blame(a, err.RateLimited(retry_at=w.now + 60, told=True))
    again = make("a/m", quotas=[RPD._replace(amount=80)])
    w.roster = Roster([again])
    assert w.status(again).state == "cooling"
    assert list(windows(w, again).values()) == [(80, 79, "published")]


def test_a_model_added_later_shares_its_providers_trouble(world, make) -> None:
    """A provider's breaker and an account's pause hold for targets that join later."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.CredentialRejected())
    later = make("a/n")
    w.roster = Roster([a, later])
    assert w.status(later).state == "paused"


def test_keys_of_one_account_share_its_windows(world, make) -> None:
    """CP-3: two keys with one account label spend one window; without a label each has its own."""
    shared = [make("a/m", key=k, account="acc", quotas=[RPD]) for k in ("k1", "k2")]
    w = world(*shared)
    w.who()
    w.who()
    assert {v[1] for f in shared for v in windows(w, f).values()} == {48}
    apart = [make("a/m", key=k, quotas=[RPD]) for k in ("k1", "k2")]
    v = world(*apart)
    v.who()
    v.who()
    assert {x[1] for f in apart for x in windows(v, f).values()} == {49}


def test_a_window_told_at_one_target_counts_for_its_scope(world, make) -> None:
    """OR-3: an account's remaining requests bind all its models, and a key that joins the account later."""
    x, y, other = make("a/x", account="acc"), make("a/y", account="acc"), make("a/x", key="k9")
    w = world(x, y, other)
    w.state.adopt(w.roster)
    w.state.seen(x.target, [QuotaSeen("account", Unit.REQUESTS, Window.DAY, 50, 0, w.now + 900)], w.now)
    assert w.status(y).state == "cooling"
    assert w.status(other).state == "ready"
    joined = make("a/y", key="k2", account="acc")
    w.roster = Roster([x, y, joined])
    assert w.status(joined).state == "cooling"
    assert w.later(900).status(joined).state == "ready"


def test_the_owners_word_replaces_what_was_published_at_once(world, make) -> None:
    """A reload with P_LIMITS turns a prior into a limit that binds, and `off` takes it away."""
    w = world(make("a/m", quotas=[RPD]))
    w.who()
    owner = make("a/m", quotas=[RPD._replace(amount=1, origin="owner")])
    w.roster = Roster([owner])
    assert w.who() is None
    off = make("a/m")
    w.roster = Roster([off])
    assert w.who() == "a/m#k1"
    assert windows(w, off) == {}


def test_told_windows_survive_a_reload(world, make) -> None:
    """What the provider said stands above the new snapshot's prior."""
    a = make("a/m", quotas=[RPD])
    w = world(a)
    w.state.adopt(w.roster)
    w.state.seen(a.target, [QuotaSeen("account", Unit.REQUESTS, Window.DAY, 1_000, 900, w.now + 900)], w.now)
    again = make("a/m", quotas=[RPD])
    w.roster = Roster([again])
    assert list(windows(w, again).values()) == [(1_000, 900, "told")]


def test_an_older_snapshot_still_plans(world, make) -> None:
    """An exchange that holds the snapshot of before is served by it."""
    a, b = make("a/m"), make("b/m")
    w = world(a)
    old = w.roster
    w.roster = Roster([b])
    assert w.who() == "b/m#k1"
    w.roster = old
    assert w.who() == "a/m#k1"


def test_a_told_day_ends_by_the_clock_that_the_row_gives_another_model(world, make) -> None:
    """A model without a published day is told one: it ends with the provider's days, and does not roll."""
    pacific = "America/Los_Angeles"
    known = make("a/m", quotas=[QuotaRule(Unit.REQUESTS, 50, Window.DAY, "account_model", resets=pacific)])
    other = make("a/n")
    w = world(known, other)
    w.state.adopt(w.roster)
    w.state.seen(other.target, (QuotaSeen("account_model", Unit.REQUESTS, Window.DAY, 20, 5, None),), w.now)
    assert [m.resets for m in w.state.slot(other.target).meters if m.window is Window.DAY] == [pacific]
