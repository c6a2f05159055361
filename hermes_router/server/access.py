"""Who may reach the public port at all: `Host`, `Origin`, and the router keys of this generation.

Owns the defence against a browser that is talked into calling loopback (DNS rebinding, cross-site requests). It must
never look at a body.
"""

import re
from collections.abc import Sequence

from hermes_router.core.errors import Forbidden
from hermes_router.core.router_keys import RouterKey
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Admission
from hermes_router.server.arrival import Arrival

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound
_CORS_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_CORS_HEADERS = "authorization, content-type, x-api-key"
_CORS_EXPOSED = (
    "x-hermes-target, x-hermes-attempts, x-hermes-warnings, x-hermes-retry-at, x-request-id, request-id, "
    "retry-after, x-should-retry"
)
_CORS_MAX_AGE_S = 600
_HEADER_NAMES = re.compile(r"[A-Za-z0-9, _-]{1,1000}")


class Access:
    """The checks of one generation. Hosts already found good are remembered: the check is one look-up."""

    def __init__(self, settings: Settings, keys: Sequence[RouterKey] = ()) -> None:
        self.admission = Admission(settings, keys)
        self.max_bytes = settings.max_request_bytes
        self._hosts = set(_LOOPBACK) | {host.lower() for host in settings.allowed_hosts}
        if settings.host:
            self._hosts.add(settings.host.lower())
            self._hosts.add(f"[{settings.host.lower()}]")
        self._everywhere = settings.host in _EVERYWHERE
        self._origins = settings.cors_origins
        self._good: set[str] = set()

    def check(self, arrival: Arrival) -> None:
        """Raise Forbidden for a `Host` that is not ours or an `Origin` that was not let in."""
        headers = arrival.headers
        host = headers.get("host", "")
        if host not in self._good:
            self._check_host(host, arrival)
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self._origins:
            raise Forbidden(f"Origin {origin[:100]!r} is not allowed; name it in CORS_ORIGINS.")

    def _check_host(self, host: str, arrival: Arrival) -> None:
        name = host.lower()
        bare, colon, port = name.rpartition(":")
        if colon and port.isdecimal() and (not bare.startswith("[") or bare.endswith("]")):
            name = bare
        if name not in self._hosts and not self._is_arrival(name, arrival):
            raise Forbidden(f"Host {host[:100]!r} is not allowed; name it in ALLOWED_HOSTS.")
        if len(self._good) < 64:
            self._good.add(host)

    def _is_arrival(self, name: str, arrival: Arrival) -> bool:
        """Bound to every address, the one that this connection came in by is ours; no foreign name is equal to it."""
        if not self._everywhere or arrival.transport is None:
            return False
        address = str(arrival.transport.get_extra_info("sockname")[0])
        return name in {address, f"[{address}]", address.removeprefix("::ffff:")}

    def cors(self, arrival: Arrival) -> dict[str, str]:
        """The headers of an answer to a page whose origin was checked; none where there is no page."""
        origin = arrival.headers.get("origin")
        if origin is None:
            return {}
        allowed = {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": _CORS_EXPOSED,
            "vary": "Origin",
        }
        if arrival.method == "OPTIONS":
            # SDKs in a browser send headers of their own (x-stainless-…); the origin is what was judged.
            asked = arrival.headers.get("access-control-request-headers", "")
            allowed["access-control-allow-headers"] = asked if _HEADER_NAMES.fullmatch(asked) else _CORS_HEADERS
            allowed["access-control-allow-methods"] = _CORS_METHODS
            allowed["access-control-max-age"] = str(_CORS_MAX_AGE_S)
            if arrival.headers.get("access-control-request-private-network") == "true":
                allowed["access-control-allow-private-network"] = "true"
        return allowed
