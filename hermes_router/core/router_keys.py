"""Router keys: who may call us, and what we allow each.

Owns the value. The key itself is shown once, when it is made; what is kept is its digest.
"""

import hashlib
from typing import NamedTuple

from hermes_router.core.ids import RouterKeyId

__all__ = ["RouterKey", "digest_of", "id_of"]

_ID_LENGTH = 12  # of the digest: an identity that tells nothing of the key


class RouterKey(NamedTuple):
    """One router key and its caller limits; None = no limit of its own.

    `digest` is SHA-256 of the key, hex. `providers` None = all. `rpm` counts requests in any 60 seconds, `concurrency`
    exchanges in flight, streams to their end; `budget_microusd` is what paid models may cost it in a day of UTC, in
    micro-US-dollars. `source` is `stored`, or the place where PROXY_API_KEYS stands.
    """

    id: RouterKeyId
    name: str
    digest: str
    tail: str = ""
    providers: frozenset[str] | None = None
    rpm: int | None = None
    concurrency: int | None = None
    patience_s: float | None = None
    min_tier: int | None = None
    created_at: float = 0.0
    source: str = "stored"
    budget_microusd: int | None = None


def digest_of(key: str) -> str:
    """The digest that a key is kept and compared as; bytes that are not UTF-8 arrive as surrogates."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def id_of(digest: str) -> RouterKeyId:
    """The identity of the key with this digest."""
    return RouterKeyId(digest[:_ID_LENGTH])
