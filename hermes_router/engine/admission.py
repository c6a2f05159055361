"""Who may ask, and what for: router keys, and the caller's headers about routing.

Owns the check of router keys. Keys are compared as digests, so that no comparison leaks one. It must never know a
provider's key.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hermes_router.core.errors import Unauthorized
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.router_keys import RouterKey, digest_of, id_of
from hermes_router.core.settings import Settings

__all__ = ["Admission", "Caller", "keys_in_force"]

_VARIABLE = "PROXY_API_KEYS"
_MOST_KNOWN = 64


class Caller(NamedTuple):
    """A caller whose router key was good. `providers` None = all.

    `rpm`, `concurrency` and `budget_microusd` (micro-US-dollars a day of UTC) are the key's caller limits, None = none
    (`caller_limits.py`); `patience_s` is how long its requests may wait for quota, None = as the settings say.
    """

    key: RouterKeyId
    providers: frozenset[str] | None = None
    min_tier: int = 1
    patience_s: float | None = None
    rpm: int | None = None
    concurrency: int | None = None
    budget_microusd: int | None = None


class Admission:
    """The router keys of one generation: the stored ones, and those of PROXY_API_KEYS beside them."""

    def __init__(self, settings: Settings, keys: Sequence[RouterKey] = ()) -> None:
        self.keys = keys_in_force(settings, keys)
        self._callers = {key.digest: _caller(key, settings) for key in self.keys}
        self._known: dict[str, Caller] = {}  # by an `authorization` whose own key was found good: digested once

    def admit(self, headers: Mapping[str, str]) -> Caller:
        """The caller of these request headers. Raises Unauthorized."""
        authorization = headers.get("authorization", "")
        known = self._known.get(authorization)
        if known is not None:
            return known
        bearer, other = _keys(headers)
        if not bearer and not other:
            raise Unauthorized(
                "No router key was sent. Send one (of PROXY_API_KEYS, or made by `hr key add`) as "
                "'Authorization: Bearer …' or 'x-api-key'.",
                code="invalid_api_key",
                should_retry=False,
            )
        caller = self._callers.get(digest_of(bearer)) if bearer else None
        if caller is not None:
            if len(self._known) < _MOST_KNOWN:
                self._known[authorization] = caller
        elif other:
            caller = self._callers.get(digest_of(other))
        if caller is None:
            raise Unauthorized(
                "This router key is not known. Use one of PROXY_API_KEYS, or make one with `hr key add`.",
                code="invalid_api_key",
                should_retry=False,
            )
        return caller


def keys_in_force(settings: Settings, stored: Sequence[RouterKey]) -> tuple[RouterKey, ...]:
    """All router keys that are good now: PROXY_API_KEYS (unset: the default key; empty: none), then the stored ones.

    The default key stays good beside stored ones until the variable is set: a first key for somebody else locks nobody
    out, and the daemon refuses to bind wider than loopback with it all the same. A key in both places keeps its stored
    limits.
    """
    limited = {key.digest for key in stored}
    source = settings.sources.get(_VARIABLE, "default")
    found = []
    for number, secret in enumerate(settings.proxy_api_keys, 1):
        digest = digest_of(secret.reveal())
        if digest not in limited:
            name = f"{_VARIABLE} {number}"
            found.append(RouterKey(id_of(digest), name, digest, secret.tail, source=source))
    return (*found, *stored)


def _caller(key: RouterKey, settings: Settings) -> Caller:
    return Caller(
        key.id,
        providers=key.providers,
        min_tier=max(settings.min_tier, key.min_tier or 1),
        patience_s=key.patience_s,
        rpm=key.rpm,
        concurrency=key.concurrency,
        budget_microusd=key.budget_microusd,
    )


def _keys(headers: Mapping[str, str]) -> tuple[str, str]:
    """What was sent as a key. Some clients send a placeholder in one header and the key in the other."""
    presented = headers.get("authorization", "").strip()
    scheme, _, rest = presented.partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else presented
    return bearer, headers.get("x-api-key", "").strip()
