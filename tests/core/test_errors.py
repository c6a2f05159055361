"""The taxonomy: whom an error blames, what may be tried next, how it reads on the wire. One test prints the matrix."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from hermes_router.core import errors
from hermes_router.core.errors import (
    AttemptClass,
    CallerError,
    ConfigError,
    ContextTooLarge,
    DeadlinePassed,
    NoTarget,
    RateLimited,
    TimedOut,
    Truncated,
    UpstreamError,
)

# class: blames, next step, wire class, counted by the breaker, default scope
UPSTREAM = {
    "RateLimited": ("quota", "other_target", "limited", False, "account_model"),
    "QuotaExhausted": ("quota", "other_target", "limited_day", False, "account_model"),
    "NoCredit": ("credential", "other_credential", "no_credit", False, "account"),
    "CredentialRejected": ("credential", "other_credential", "rejected_key", False, "credential"),
    "Overloaded": ("provider", "other_target", "overloaded", True, "model"),
    "ServerFailed": ("provider", "other_target", "broken", True, "provider"),
    "Unreachable": ("provider", "other_target", "unreachable", True, "provider"),
    "NetworkDown": ("network", "other_target", "unreachable", False, "provider"),
    "TimedOut": ("provider", "other_target", "slow", True, "provider"),
    "Truncated": ("provider", "other_target", "cut", True, "provider"),
    "Malformed": ("provider", "other_target", "broken", True, "provider"),
    "EmptyReply": ("provider", "other_target", "empty", True, "provider"),
    "Unjoined": ("nobody", "other_target", "broken", False, "provider"),
    "ModelGone": ("model", "other_model", "gone", False, "model"),
    "RequestRejected": ("request", "other_target", "refused", False, "provider"),
    "ContextTooLong": ("request", "bigger_target", "too_small", False, "provider"),
    "TooLargeHere": ("request", "bigger_target", "too_small", False, "provider"),
    "Unsupported": ("request", "same_without_field", "refused", False, "provider"),
    "Inexpressible": ("request", "other_model", "refused", False, "provider"),
    "Unfetched": ("request", "own_fetcher", "refused", False, "provider"),
    "ForeignThought": ("request", "same_without_field", "refused", False, "provider"),
    "ContentFiltered": ("request", "other_provider_once", "refused", False, "provider"),
    "Invalid": ("request", "other_provider_once", "refused", False, "provider"),
}
# class: status, type of the OpenAI envelope
CALLER = {
    "BadRequest": (400, "invalid_request_error"),
    "ContextTooLarge": (400, "invalid_request_error"),
    "NoCapableTarget": (400, "invalid_request_error"),
    "Unbindable": (503, "server_error"),
    "Unauthorized": (401, "authentication_error"),
    "Forbidden": (403, "permission_error"),
    "NotFound": (404, "invalid_request_error"),
    "UnknownModel": (404, "invalid_request_error"),
    "MethodNotAllowed": (405, "invalid_request_error"),
    "Unreadable": (400, "invalid_request_error"),
    "Stalled": (408, "invalid_request_error"),
    "TooLarge": (413, "invalid_request_error"),
    "UpgradeRefused": (426, "invalid_request_error"),
    "CallerLimited": (429, "rate_limit_error"),
}


def below(root: type[Any]) -> Iterator[type[Any]]:
    for child in root.__subclasses__():
        yield child
        yield from below(child)


@pytest.mark.parametrize("name", UPSTREAM)
def test_the_matrix_of_upstream_errors(name: str) -> None:
    """Every class declares whom it blames and what comes next: failover is this table (design 2.6)."""
    cls = getattr(errors, name)
    row = (cls.blames.value, cls.next_step.value, cls.wire_class, cls.breaker, cls.default_scope)
    print(f"{name:20} {' '.join(map(str, row))}")
    assert row == UPSTREAM[name]
    assert cls.wire_class in get_args(AttemptClass)


@pytest.mark.parametrize("name", CALLER)
def test_the_matrix_of_caller_errors(name: str) -> None:
    """Status and type of each (contract: Errors)."""
    cls = getattr(errors, name)
    print(f"{name:20} {cls.status} {cls.kind}")
    assert (cls.status, cls.kind) == CALLER[name]


def test_the_matrix_is_whole() -> None:
    """A new class has its line in it."""
    assert {cls.__name__ for cls in below(UpstreamError)} == set(UPSTREAM)
    assert {cls.__name__ for cls in below(CallerError)} == set(CALLER)


def test_only_faults_of_the_provider_count_for_its_breaker() -> None:
    """A limit, a key, a request or our own network says nothing of a provider's health."""
    for cls in below(UpstreamError):
        if cls.breaker:
            assert cls.blames is errors.Blames.PROVIDER


def test_an_upstream_error_carries_what_is_known() -> None:
    """The excerpt is bounded, the scope falls back to the class's own, the text names class and status."""
    error = RateLimited("x" * 1_000, status=429, retry_at=5.0, told=True)
    assert (len(error.excerpt), error.scope, error.target) == (300, "account_model", None)
    assert str(error).startswith("RateLimited 429: xxx")
    assert RateLimited(scope="ip").scope == "ip"
    assert str(Truncated("y")) == "Truncated: y"
    assert "first_token" in str(TimedOut("first_token"))
    assert TimedOut("stall").phase == "stall"


def test_too_long_is_said_in_the_one_text() -> None:
    """The words of clients.md 7.14, with both numbers."""
    error = ContextTooLarge(advertised=64_000, needed=70_000)
    assert re.search(r"maximum context length is 64000 tokens.*resulted in 70000 tokens", error.message)
    assert (error.code, error.param) == ("context_length_exceeded", "messages")


def test_errors_of_our_own() -> None:
    """The pool's end keeps its reasons, a setting's error its place."""
    assert str(NoTarget(limited=True, retry_at=None, reasons=["a", "b"])) == "no target: a; b"
    assert DeadlinePassed().attempts == ()
    assert str(ConfigError("bad", where=".env:3")) == ".env:3: bad"
    assert str(ConfigError("bad")) == "bad"
