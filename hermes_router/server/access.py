"""Who may reach the public port at all: `Host`, `Origin`, and the router keys of this generation.

Owns the defence against a browser that is talked into calling loopback (DNS rebinding, cross-site requests). It must never
look at a body.
"""

from aiohttp import web

from hermes_router.core.errors import Forbidden
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Admission

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
_CORS_METHODS = "GET, POST, OPTIONS"
_CORS_HEADERS = "authorization, content-type, x-api-key"


class Access:
    """The checks of one generation. Hosts already found good are remembered: the check is one look-up."""

    def __init__(self, settings: Settings) -> None:
        self.admission = Admission(settings)
        self.max_bytes = settings.max_request_bytes
        self._hosts = set(_LOOPBACK) | {host.lower() for host in settings.allowed_hosts}
        if settings.host:
            self._hosts.add(settings.host.lower())
            self._hosts.add(f"[{settings.host.lower()}]")
        self._origins = settings.cors_origins
        self._good: set[str] = set()

    def check(self, request: web.Request) -> str | None:
        """Return the caller's allowed `Origin`, None where it sent none. Raises Forbidden."""
        headers = request.headers
        host = headers.get("host", "")
        if host not in self._good:
            self._check_host(host)
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and "*" not in self._origins:
            raise Forbidden(f"Origin {origin[:100]!r} is not allowed; name it in CORS_ORIGINS.", should_retry=False)
        return origin

    def _check_host(self, host: str) -> None:
        name = host.lower()
        if not name.endswith("]"):
            name = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() and ":" in name else name
        if name not in self._hosts:
            raise Forbidden(f"Host {host[:100]!r} is not allowed; name it in ALLOWED_HOSTS.", should_retry=False)
        if len(self._good) < 64:
            self._good.add(host)

    def cors(self, origin: str) -> dict[str, str]:
        """Headers of a CORS answer."""
        return {
            "access-control-allow-origin": origin,
            "access-control-allow-methods": _CORS_METHODS,
            "access-control-allow-headers": _CORS_HEADERS,
            "access-control-expose-headers": "x-hermes-target, x-hermes-attempts, x-hermes-warnings, x-request-id",
            "vary": "Origin",
        }
