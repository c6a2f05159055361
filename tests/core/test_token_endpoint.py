"""hermes_router/core/token_endpoint.py: where an issuer gives out tokens."""

import pytest

from hermes_router.core.accounts import Route
from hermes_router.core.token_endpoint import token_url


@pytest.mark.parametrize(("route", "path"), [("plan", "/api/accounts/oauth/token"), ("backend", "/oauth/token")])
@pytest.mark.parametrize("root", ["https://auth.test", "https://auth.test/"])
def test_each_route_has_an_address_of_its_own(root: str, route: Route, path: str) -> None:
    """Under the issuer's root, with or without a slash at its end (facts/codex.md 3 and 10)."""
    assert token_url(root, route) == f"https://auth.test{path}"
