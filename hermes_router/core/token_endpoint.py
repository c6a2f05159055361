"""Where an issuer gives out tokens, and what those of the plan route are for (facts/codex.md 3 and 10).

Owns these two words of the wire, which logging in and refreshing share. It must never know a token.
"""

from typing import Final

from hermes_router.core.accounts import Route

__all__ = ["RESOURCE", "token_url"]

RESOURCE: Final = "https://api.openai.com/v1"

_PATHS: Final[dict[Route, str]] = {"plan": "/api/accounts/oauth/token", "backend": "/oauth/token"}


def token_url(root: str, route: Route) -> str:
    """The whole address, under the issuer's root."""
    return root.rstrip("/") + _PATHS[route]
