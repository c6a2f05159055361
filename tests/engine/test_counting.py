"""Counts of tokens are estimates, calibrated by what providers have reported, and cost no attempt."""

import json

import pytest

from hermes_router.core.errors import UnknownModel
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller
from hermes_router.engine.counting import count_tokens
from hermes_router.routing.demand import affinity_key, estimate_tokens
from hermes_router.wire.chat.request import parse_request
from hermes_router.wire.inbound import Inbound

from ..fakes import World

CALLER = Caller(RouterKeyId("k"))
TURNS = [{"role": "user", "content": "x" * 4_000}, {"role": "assistant", "content": "y"}]


def inbound(model: str = "hermes-router") -> Inbound:
    return parse_request(json.dumps({"model": model, "messages": TURNS}).encode(), {})


def test_without_reports_it_is_the_estimate() -> None:
    """And nothing is sent anywhere."""
    world = World("groq/a", "local/b")
    assert count_tokens(world.engine, inbound(), CALLER) == estimate_tokens(inbound().request)
    assert not world.transport.flights


def test_it_is_calibrated_for_the_pinned_model_and_errs_high_without_one() -> None:
    """The largest factor of the pool, where nobody knows who will serve (design.md 2.17)."""
    world = World("groq/a", "local/b")
    plain = estimate_tokens(inbound().request)
    world.engine.state.calibrate("groq", "a", 1_000_000, 2_000_000)
    world.engine.state.calibrate("local", "b", 1_000_000, 500_000)
    assert count_tokens(world.engine, inbound(), CALLER) == pytest.approx(plain * 2, rel=0.01)
    assert count_tokens(world.engine, inbound("local/b"), CALLER) == pytest.approx(plain / 2, rel=0.01)
    assert count_tokens(world.engine, inbound("groq/a"), CALLER) == pytest.approx(plain * 2, rel=0.01)


def test_a_bound_conversation_is_counted_for_its_target() -> None:
    """It will be served there."""
    world = World("groq/a", "local/b")
    world.engine.state.calibrate("groq", "a", 1_000_000, 2_000_000)
    world.engine.state.calibrate("local", "b", 1_000_000, 500_000)
    key = affinity_key(inbound().request, CALLER.key)
    assert key is not None
    target = next(f.target for f in world.engine.snapshot.roster.facts if f.target.provider == "local")
    world.engine.state.bindings.served(key, target, 0.0, binds=True, difficulty=1)
    assert count_tokens(world.engine, inbound(), CALLER) == pytest.approx(
        estimate_tokens(inbound().request) / 2, rel=0.01
    )


def test_a_name_that_does_not_exist_is_refused() -> None:
    """As a request for it would be."""
    with pytest.raises(UnknownModel):
        count_tokens(World("groq/a").engine, inbound("hermes-router:nonsense"), CALLER)
