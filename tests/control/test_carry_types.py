"""hermes_router/control/carry_types.py: what holds secrets does not show them."""

from hermes_router.control import carry_types as c


def test_no_repr_shows_a_secret() -> None:
    """A bundle, a key in it, and a request that carries it: a traceback or a log line may show any of them."""
    given = c.Given(provider="groq", key="gsk-canary", command=["print", "canary"])
    bundle = c.Bundle(
        settings={"MODE": "rr"}, secret_settings={"A": "canary"}, keys=[given], accounts=[{"refresh_token": "canary"}]
    )
    for shown in (given, bundle, c.CarryIn(bundle=bundle)):
        assert "canary" not in repr(shown)
        assert "canary" not in str(shown)
