"""Slots, cells and groups."""

from hermes_router.core.errors import CredentialRejected, RateLimited
from hermes_router.core.observations import Scope
from hermes_router.routing.slots import KINDS, scope_of


def test_each_kind_of_evidence_names_its_scope(make) -> None:
    """The seven kinds name seven different scopes of one target."""
    facts = make("p/m", key="k", account="acc")
    scopes = {kind: scope_of(kind, facts) for kind in KINDS}
    assert len(set(scopes.values())) == 7
    assert scopes["ip"] == Scope("p", ip=True)
    assert scopes["account_model"] == Scope("p", account="acc", model="m")
    assert scopes["credential"] == Scope("p", credential="k-p")


def test_a_slot_rests_until_the_latest_of_its_blocks(world, make) -> None:
    """The one number a plan reads is the maximum over all scopes, and status names the longest."""
    facts = make("p/m")
    w = world(facts)
    w.blame(facts, RateLimited(retry_at=w.now + 50, told=True))
    w.blame(facts, RateLimited(retry_at=w.now + 20, told=True, scope="provider"))
    slot = w.state.slot(facts.target)
    assert slot.blocked_until == w.now + 50
    assert len(slot.blocks(w.now)) == 2
    assert len(slot.blocks(w.now + 30)) == 1


def test_a_disabled_target_never_serves_and_a_paused_one_rests(world, make) -> None:
    """A disabled target is blocked for ever, though nothing stands against it."""
    off, on = make("p/m", disabled="retired"), make("q/m")
    w = world(off, on)
    assert [w.who() for _ in range(2)] == ["q/m#k1"] * 2
    assert w.state.slot(off.target).blocked_until == float("inf")
    w.blame(on, CredentialRejected())
    assert w.who() is None


def test_group_sizes_follow_the_token_factor(world, make) -> None:
    """A model that counts twice our estimate takes half of it."""
    facts = make("p/m", context=10_000)
    w = world(facts)
    w.state.adopt(w.roster)
    group = w.state.slot(facts.target).group
    before = group.hard_max
    for _ in range(40):
        w.state.calibrate("p", "m", 1_000, 2_000)
    assert abs(group.hard_max - before / 2) < before * 0.03
