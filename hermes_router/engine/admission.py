"""Who may ask, and what for: router keys, and the caller's headers about routing.

Owns the check of router keys. Keys are compared as digests, so that no comparison leaks one. It must never know a
provider's key.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from hermes_router.core.errors import Unauthorized
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whose router key was good. `providers` None = all."""

    key: RouterKeyId
    providers: frozenset[str] | None = None
    min_tier: int = 1


class Admission:
    """The router keys of one generation."""

    def __init__(self, settings: Settings) -> None:
        self._callers: dict[bytes, Caller] = {}
        for secret in settings.proxy_api_keys:
            digest = _digest(secret.reveal())
            self._callers[digest] = Caller(RouterKeyId(digest.hex()[:12]), min_tier=settings.min_tier)

    def admit(self, headers: Mapping[str, str]) -> Caller:
        """The caller of these request headers. Raises Unauthorized."""
        sent = _keys(headers)
        if not sent:
            raise Unauthorized(
                "No router key was sent. Send one of PROXY_API_KEYS as 'Authorization: Bearer …' or 'x-api-key'.",
                code="invalid_api_key",
                should_retry=False,
            )
        caller = next((found for key in sent if (found := self._callers.get(_digest(key))) is not None), None)
        if caller is None:
            raise Unauthorized(
                "This router key is not known. Use one of PROXY_API_KEYS.",
                code="invalid_api_key",
                should_retry=False,
            )
        return caller


def _keys(headers: Mapping[str, str]) -> list[str]:
    """What was sent as a key. Some clients send a placeholder in one header and the key in the other."""
    presented = headers.get("authorization", "").strip()
    scheme, _, rest = presented.partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else presented
    return [key for key in (bearer, headers.get("x-api-key", "").strip()) if key]


def _digest(key: str) -> bytes:
    # Header bytes that are not UTF-8 arrive as surrogates; they are no key of ours, and no crash either.
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
