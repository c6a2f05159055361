"""What a caller must be told where there is no answer.

Three ways to get none: the caller's own request is wrong; an upstream refuses, and so does everybody else; an upstream
fails in mid-stream, and nobody can go on. What happens in between is no matter of dialects, and stands in
`docs/failures.md`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, DIALECTS, MESSAGES, RESPONSES, Feature
from hermes_router.conformance.features import FEATURES
from hermes_router.core.errors import ContextTooLarge, HermesError, NoTarget

__all__ = ["BREAKS", "REFUSALS", "WRONG", "ErrorRow", "Refusal", "Told", "error_rows"]


@dataclass(frozen=True)
class Told:
    """An HTTP answer: its status, `type` and `code` of its error; `param` is the field that is at fault.

    Messages has no place for a code, and names the field in the text.
    """

    status: int
    kind: str
    code: str | None = None
    param: str | None = None


@dataclass(frozen=True)
class Refusal:
    """An upstream's refusal.

    Attributes:
        status: of its answer; `errors` are the bodies, by its dialect.
        taken_for: the class that it is taken for.
        final: what the caller is told where nobody else can serve, as an error of ours.
        told: that, by the caller's dialect.
    """

    status: int
    errors: Mapping[str, Mapping[str, Any]]
    taken_for: str
    final: HermesError
    told: Mapping[str, Told]


@dataclass(frozen=True)
class ErrorRow:
    """A row of what goes wrong: one feature, one pair."""

    caller: str
    upstream: str
    feature: Feature

    @property
    def id(self) -> str:
        """The test's name of it."""
        return f"{self.caller}-{self.upstream}-{self.feature.id}"


def error_rows() -> Iterator[ErrorRow]:
    """All rows."""
    for name in (*WRONG, *REFUSALS, *BREAKS):
        for caller in DIALECTS:
            for upstream in DIALECTS:
                yield ErrorRow(caller, upstream, FEATURES[name])


_BAD: Final = "invalid_request_error"

WRONG: Final[Mapping[str, Mapping[str, Told]]] = {
    "errors.missing": {
        CHAT: Told(400, _BAD, param="messages"),
        MESSAGES: Told(400, _BAD, param="messages"),
        RESPONSES: Told(400, _BAD, param="input"),
    },
    "errors.wrong_type": dict.fromkeys(DIALECTS, Told(400, _BAD, param="temperature")),
    "errors.wrong_role": {
        CHAT: Told(400, _BAD, param="messages[0].role"),
        MESSAGES: Told(400, _BAD, param="messages[0].role"),
        RESPONSES: Told(400, _BAD, param="input[0].role"),
    },
}
"""The caller's own fault: told at the door, whoever would be asked."""


def _openai(kind: str, code: str | None, message: str = "No.") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _anthropic(kind: str, message: str = "No.") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _errors(openai: Mapping[str, Any], anthropic: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {CHAT: openai, MESSAGES: anthropic, RESPONSES: openai}


_DOWN: Final = {
    CHAT: Told(503, "server_error", "unavailable"),
    MESSAGES: Told(529, "overloaded_error"),
    RESPONSES: Told(503, "server_error", "unavailable"),
}
_NOBODY: Final = NoTarget(limited=False, retry_at=None)

REFUSALS: Final[Mapping[str, Refusal]] = {
    "errors.overflow": Refusal(
        400,
        _errors(
            _openai(_BAD, "context_length_exceeded", "This model's maximum context length is 8192 tokens."),
            _anthropic(_BAD, "prompt is too long: 9000 tokens > 8192 maximum"),
        ),
        "ContextTooLong",
        ContextTooLarge(needed=9_000, advertised=8_192),
        {
            CHAT: Told(400, _BAD, "context_length_exceeded", "messages"),
            MESSAGES: Told(400, _BAD),
            RESPONSES: Told(400, _BAD, "context_length_exceeded", "input"),
        },
    ),
    "errors.limited": Refusal(
        429,
        _errors(_openai("requests", "rate_limit_exceeded"), _anthropic("rate_limit_error")),
        "RateLimited",
        NoTarget(limited=True, retry_at=None),
        {
            CHAT: Told(429, "rate_limit_error", "rate_limit_exceeded"),
            MESSAGES: Told(429, "rate_limit_error"),
            RESPONSES: Told(429, "rate_limit_error", "rate_limit_exceeded"),
        },
    ),
    "errors.overloaded": Refusal(
        503,
        _errors(_openai("server_error", "overloaded"), _anthropic("overloaded_error")),
        "Overloaded",
        _NOBODY,
        _DOWN,
    ),
    "errors.key": Refusal(
        401,
        _errors(_openai(_BAD, "invalid_api_key"), _anthropic("authentication_error")),
        "CredentialRejected",
        _NOBODY,
        _DOWN,
    ),
}
"""An upstream's own refusal is never passed on as it is: its 401 would tell the caller that the router's key is bad."""

BREAKS: Final[Mapping[str, str]] = {"errors.late": "Overloaded", "errors.cut": "Truncated"}
"""What breaks off in mid-stream, and the class that it is taken for."""
