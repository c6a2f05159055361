"""The control API's one table: which request asks the daemon for what, and who may ask.

Owns paths, permissions and the reading of names and queries. It must never know HTTP's library, nor check who asks:
that is the border's part (`api.py`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from hermes_router.control import carry_types as c
from hermes_router.control import setup_types as of_setup
from hermes_router.control import types as t
from hermes_router.control.backend import Backend
from hermes_router.control.log_filter import LEVELS
from hermes_router.control.log_types import LogWish
from hermes_router.control.peer import Permission
from hermes_router.core.errors import ControlError

__all__ = ["ROUTES", "Asked", "Refusal", "Route", "without_duplicates"]

GROUPINGS: Final = ("provider", "model", "key", "day", "router_key")
_DEFAULT_DAYS: Final = 30
_MOST_DAYS: Final = 3_660
_USAGE: Final = 2
_MOST_LINES: Final = 100_000
_LOGS_HELP: Final = f"Ask for 0 to {_MOST_LINES} lines, at one of the levels {', '.join(LEVELS)}."


class Refusal(ControlError):
    """A ControlError of the API itself, with its HTTP status."""

    def __init__(self, status: int, message: str, *, code: str, next_step: str = "", exit_code: int = 3) -> None:
        super().__init__(message, code=code, next_step=next_step, exit_code=exit_code)
        self.status = status


class Asked(NamedTuple):
    """One request, read: names in its path, query, body (of the route's type), and what the peer may do."""

    names: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    granted: frozenset[Permission]
    last_id: int | None = None


class Route(NamedTuple):
    """A line of the table. `body` None = whatever is sent is not read."""

    method: str
    path: str
    permission: Permission
    call: Callable[[Backend, Asked], Awaitable[object] | AsyncIterator[t.Event]]
    body: type[t.Type] | None = None


def without_duplicates(*routes: Route) -> tuple[Route, ...]:
    """The routes as they are; raises ValueError where two answer the same request."""
    known: set[tuple[str, str]] = set()
    for route in routes:
        if (route.method, route.path) in known:
            raise ValueError(f"two routes for {route.method} {route.path}")
        known.add((route.method, route.path))
    return routes


async def _targets(backend: Backend) -> list[t.TargetRow]:
    return (await backend.status()).targets


def _usage(backend: Backend, asked: Asked) -> Awaitable[t.UsageReport]:
    by = asked.query.get("by", GROUPINGS[0])
    if by not in GROUPINGS:
        raise ControlError(
            f"Usage cannot be grouped by {by[:50]!r}.",
            code="bad_request",
            next_step=f"Use one of: {', '.join(GROUPINGS)}.",
            exit_code=_USAGE,
        )
    text = asked.query.get("days", str(_DEFAULT_DAYS))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= _MOST_DAYS):
        raise ControlError(
            f"{text[:50]!r} is no number of days from 1 to {_MOST_DAYS}.",
            code="bad_request",
            next_step="Name a whole number of days, or none.",
            exit_code=_USAGE,
        )
    return backend.usage(by, int(text))


def _log_wish(query: Mapping[str, str]) -> LogWish:
    try:
        wish = msgspec.convert(query, LogWish, strict=False)
    except msgspec.ValidationError as error:
        raise ControlError(
            f"This is no wish for a log: {error}.", code="bad_request", next_step=_LOGS_HELP, exit_code=_USAGE
        ) from None
    if not 0 <= wish.lines <= _MOST_LINES or wish.level not in {"", *LEVELS}:
        raise ControlError(
            f"There is no log of {wish.lines} lines at the level {wish.level[:20]!r}.",
            code="bad_request",
            next_step=_LOGS_HELP,
            exit_code=_USAGE,
        )
    return wish


def _models(backend: Backend, asked: Asked) -> Awaitable[t.Models]:
    refresh = asked.query.get("refresh", "0") not in {"", "0", "false"}
    if refresh and "write" not in asked.granted:  # it asks the providers, with the owner's keys
        raise Refusal(
            403,
            "Fresh lists of models are for the daemon's own user and root.",
            code="forbidden",
            next_step="Leave `--refresh` out, or run it with sudo.",
        )
    return backend.models(asked.query.get("provider") or None, refresh)


# Sorted by path, then method; a test holds it so.
ROUTES: Final = without_duplicates(
    Route("POST", "/v1/accounts/adopt", "write", lambda b, asked: b.adopt_logins(asked.body), of_setup.AdoptLogins),
    Route("POST", "/v1/accounts/import", "write", lambda b, asked: b.import_login(asked.body), t.ImportLogin),
    Route("POST", "/v1/accounts/login", "write", lambda b, asked: b.begin_login(asked.body), t.BeginLogin),
    Route("DELETE", "/v1/accounts/login/{id}", "write", lambda b, asked: b.end_login(asked.names["id"])),
    Route("GET", "/v1/accounts/login/{id}", "write", lambda b, asked: b.login(asked.names["id"])),
    Route(
        "POST",
        "/v1/accounts/login/{id}",
        "write",
        lambda b, asked: b.paste_login(asked.names["id"], asked.body),
        t.PasteLogin,
    ),
    Route("POST", "/v1/accounts/refresh", "write", lambda b, a: b.refresh_accounts(a.body), t.RefreshAccounts),
    Route("POST", "/v1/ask", "write", lambda b, asked: b.ask(asked.body), t.Ask),
    Route("GET", "/v1/catalog", "read", lambda b, _: b.catalog()),
    Route("GET", "/v1/config", "read", lambda b, _: b.config()),
    Route("PATCH", "/v1/config", "write", lambda b, asked: b.change_config(asked.body), t.ChangeConfig),
    Route("GET", "/v1/credentials", "read", lambda b, _: b.credentials()),
    Route("POST", "/v1/credentials", "write", lambda b, asked: b.add_credentials(asked.body), t.AddCredentials),
    Route("POST", "/v1/credentials/keep", "write", lambda b, a: b.keep_credentials(a.body), of_setup.KeepCredentials),
    Route("POST", "/v1/credentials/migrate", "write", lambda b, asked: b.migrate(asked.body), t.Migrate),
    Route("POST", "/v1/credentials/test", "write", lambda b, a: b.test_credentials(a.body), t.TestCredentials),
    Route(
        "DELETE", "/v1/credentials/{provider}", "write", lambda b, a: b.remove_credentials(a.names["provider"], None)
    ),
    Route(
        "DELETE",
        "/v1/credentials/{provider}/{which}",
        "write",
        lambda b, asked: b.remove_credentials(asked.names["provider"], asked.names["which"]),
    ),
    Route("GET", "/v1/embed", "read", lambda b, _: b.embed_bindings()),
    Route("DELETE", "/v1/embed/{key}", "write", lambda b, a: b.unbind(a.names["key"], a.query.get("profile") or None)),
    Route("GET", "/v1/events", "read", lambda b, asked: b.events(asked.last_id)),
    Route("POST", "/v1/export", "write", lambda b, asked: b.export_setup(asked.body), c.CarryOut),
    Route("GET", "/v1/health-report", "read", lambda b, _: b.health_report()),
    Route("POST", "/v1/import", "write", lambda b, asked: b.import_setup(asked.body), c.CarryIn),
    Route("GET", "/v1/keys", "read", lambda b, _: b.keys()),
    Route("POST", "/v1/keys", "write", lambda b, asked: b.add_key(asked.body), t.AddKey),
    Route("POST", "/v1/keys/adopt", "write", lambda b, asked: b.adopt_key(asked.body), of_setup.AdoptKey),
    Route("DELETE", "/v1/keys/{which}", "write", lambda b, asked: b.remove_key(asked.names["which"])),
    Route("GET", "/v1/logs", "read", lambda b, asked: b.logs(_log_wish(asked.query))),
    Route("GET", "/v1/models", "read", _models),
    Route("POST", "/v1/models", "write", lambda b, asked: b.set_models(asked.body), t.SetModels),
    Route("GET", "/v1/notify", "read", lambda b, _: b.notify()),
    Route("POST", "/v1/notify/test", "write", lambda b, _: b.test_notify()),
    Route("GET", "/v1/ping", "read", lambda b, _: b.ping()),
    Route("POST", "/v1/plan", "read", lambda b, asked: b.plan(asked.body), t.PlanQuery),
    Route("POST", "/v1/probe", "write", lambda b, _: b.test_credentials(t.TestCredentials())),
    Route("POST", "/v1/providers", "write", lambda b, asked: b.enable_provider(asked.body), t.EnableProvider),
    Route("GET", "/v1/quota", "read", lambda b, asked: b.quota(asked.query.get("provider") or None)),
    Route("POST", "/v1/reload", "write", lambda b, _: b.reload()),
    Route("GET", "/v1/requests/{id}", "read", lambda b, asked: b.request(asked.names["id"])),
    Route("POST", "/v1/restart", "write", lambda b, asked: b.restart(asked.body), t.Shutdown),
    Route("POST", "/v1/shutdown", "write", lambda b, asked: b.shutdown(asked.body), t.Shutdown),
    Route("GET", "/v1/status", "read", lambda b, _: b.status()),
    Route("GET", "/v1/targets", "read", lambda b, _: _targets(b)),
    Route("GET", "/v1/usage", "read", _usage),
)
