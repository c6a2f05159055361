"""The error taxonomy: every error says whom it blames and what may be tried next.

Failover is a table over these classes (`routing/failover.py`), not a `try` pyramid. Dialects render them
(`wire/`); transports and vendors' exceptions are mapped to them at the border and are seen nowhere else.
"""

import enum
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

from hermes_router.core.ids import Target
from hermes_router.core.observations import QuotaSeen, ScopeKind, Window


class Blames(enum.StrEnum):
    """Who is at fault."""

    CALLER = "caller"
    QUOTA = "quota"
    CREDENTIAL = "credential"
    MODEL = "model"
    PROVIDER = "provider"
    REQUEST = "request"
    NETWORK = "network"
    NOBODY = "nobody"


class NextStep(enum.StrEnum):
    """What may be tried after it."""

    STOP = "stop"
    OTHER_TARGET = "other_target"
    OTHER_CREDENTIAL = "other_credential"
    OTHER_MODEL = "other_model"
    BIGGER_TARGET = "bigger_target"
    OTHER_PROVIDER_ONCE = "other_provider_once"  # then the caller gets it back
    SAME_WITHOUT_FIELD = "same_without_field"  # the parameter that was refused, dropped, once
    OWN_FETCHER = "own_fetcher"  # one that fetches images itself


AttemptClass = Literal[
    "limited", "limited_day", "no_credit", "rejected_key", "overloaded", "broken", "unreachable",
    "slow", "cut", "empty", "too_small", "gone", "refused",
]  # fmt: skip
"""An attempt's outcome as the caller may read it (contract.md, Errors). No upstream text goes with it."""


class HermesError(Exception):
    """Everything that this program raises on purpose."""


# --- the caller ------------------------------------------------------------------------------------


class CallerError(HermesError):
    """The caller's own doing: nothing was tried upstream, nobody is blamed.

    `param` is the path of the field in the caller's JSON (`messages[2].content`), `code` the standard code
    of the OpenAI dialect, `retry_after_s` only where waiting helps.
    """

    status: ClassVar[int] = 400
    kind: ClassVar[str] = "invalid_request_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry


class BadRequest(CallerError):
    """Malformed or of the wrong type."""


class ContextTooLarge(CallerError):
    """Too long for every configured target: the one text that makes agents compress their history.

    A window is named whole, though a part of it is kept for the answer: a prompt within that part is named as larger.
    """

    def __init__(self, *, advertised: int, needed: int, param: str = "messages") -> None:
        needed = max(needed, advertised + 1)
        super().__init__(
            f"This model's maximum context length is {advertised} tokens. However, your messages resulted in "
            f"{needed} tokens. Please reduce the length of the messages.",
            param=param,
            code="context_length_exceeded",
        )
        self.advertised = advertised
        self.needed = needed


class NoCapableTarget(CallerError):
    """No configured target has what the request needs (tools, images, a local model)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="no_capable_target", should_retry=False)


class Unbindable(CallerError):
    """What a router key is bound to cannot serve it any more, until its owner changes something."""

    status = 503
    kind = "server_error"

    def __init__(self, message: str) -> None:
        super().__init__(message, code="unavailable", should_retry=False)


class Unauthorized(CallerError):
    """No router key, or not one of ours."""

    status = 401
    kind = "authentication_error"


class Forbidden(CallerError):
    """A `Host` or `Origin` that is not allowed."""

    status = 403
    kind = "permission_error"


class NotFound(CallerError):
    """A path that does not exist."""

    status = 404


class UnknownModel(CallerError):
    """A profile that does not exist, or with STRICT_MODELS a name that is no pin."""

    status = 404


class MethodNotAllowed(CallerError):
    """A known path with another method."""

    status = 405


class TooLarge(CallerError):
    """The body is above MAX_REQUEST_BYTES."""

    status = 413


class Unreadable(BadRequest):
    """What follows on the connection cannot be told from the rest of this body: it is closed after the answer."""

    def __init__(self) -> None:
        super().__init__("the request body cannot be read: its framing is broken")


class Stalled(CallerError):
    """Nothing of the body came for too long: the connection is closed after the answer."""

    status = 408

    def __init__(self) -> None:
        super().__init__("the request body did not come in time", should_retry=True)


class UpgradeRefused(CallerError):
    """A websocket was asked for; agents that get this status turn to plain requests at once (clients.md 3)."""

    status = 426


class CallerLimited(CallerError):
    """The router key's own limit or budget."""

    status = 429
    kind = "rate_limit_error"


# --- upstream --------------------------------------------------------------------------------------


class UpstreamError(HermesError):
    """One attempt failed, and this is what is known of it.

    Attributes:
        status: HTTP status, None where there was none.
        excerpt: at most 300 characters of what the provider said; for our log only, never for the caller.
        retry_at: epoch seconds at which the provider, or a published clock, says that it may be tried
            again; None where nothing was said.
        told: whether `retry_at` was told by the provider (True) or follows from a published clock.
        scope: which parts of the target the evidence names.
        window: for quotas, the window that is used up, None where unknown.
        quotas: windows described along with the error.
        param: the request field that the provider named, None otherwise.
        target: filled in by the attempt.
    """

    blames: ClassVar[Blames] = Blames.PROVIDER
    next_step: ClassVar[NextStep] = NextStep.OTHER_TARGET
    wire_class: ClassVar[AttemptClass] = "broken"
    breaker: ClassVar[bool] = False
    default_scope: ClassVar[ScopeKind] = "provider"

    def __init__(
        self,
        excerpt: str = "",
        *,
        status: int | None = None,
        retry_at: float | None = None,
        told: bool = False,
        scope: ScopeKind | None = None,
        window: Window | None = None,
        quotas: Sequence[QuotaSeen] = (),
        param: str | None = None,
    ) -> None:
        super().__init__(excerpt)
        self.excerpt = excerpt[:300]
        self.status = status
        self.retry_at = retry_at
        self.told = told
        self.scope: ScopeKind = scope or self.default_scope
        self.window = window
        self.quotas = tuple(quotas)
        self.param = param
        self.target: Target | None = None

    def __str__(self) -> str:
        said = f" {self.status}" if self.status is not None else ""
        return f"{type(self).__name__}{said}: {self.excerpt}"


class RateLimited(UpstreamError):
    """A short window (second, minute, concurrency) is used up.

    `said_at` is the instant that the provider itself named, in epoch seconds, where `retry_at` is later by what is
    known of its windows; None otherwise; set after construction.
    """

    blames = Blames.QUOTA
    wire_class = "limited"
    default_scope = "account_model"
    said_at: float | None = None


class QuotaExhausted(UpstreamError):
    """A long window (day, month, plan) is used up."""

    blames = Blames.QUOTA
    wire_class = "limited_day"
    default_scope = "account_model"


class NoCredit(UpstreamError):
    """The account has no money or credit left: it is paused and tried cheaply now and then."""

    blames = Blames.CREDENTIAL
    wire_class = "no_credit"
    next_step = NextStep.OTHER_CREDENTIAL
    default_scope = "account"


class CredentialRejected(UpstreamError):
    """The key is wrong, revoked or lacks a permission."""

    blames = Blames.CREDENTIAL
    next_step = NextStep.OTHER_CREDENTIAL
    wire_class = "rejected_key"
    default_scope = "credential"


class Overloaded(UpstreamError):
    """The provider has no capacity for this model right now."""

    wire_class = "overloaded"
    breaker = True
    default_scope = "model"


class ServerFailed(UpstreamError):
    """A 5xx, or an error object inside a 200."""

    breaker = True


class Unreachable(UpstreamError):
    """No connection: refused, reset before the head, TLS, DNS. `sent` = the request may have reached the provider."""

    wire_class = "unreachable"
    breaker = True
    sent = False


class NetworkDown(UpstreamError):
    """Our own network is down: nobody is blamed."""

    blames = Blames.NETWORK
    wire_class = "unreachable"


class TimedOut(UpstreamError):
    """Silence beyond its limit; `phase` says which one."""

    wire_class = "slow"
    breaker = True

    def __init__(self, phase: Literal["connect", "first_token", "stall", "deadline"], excerpt: str = "") -> None:
        super().__init__(excerpt or f"no progress in phase {phase}")
        self.phase = phase


class Truncated(UpstreamError):
    """The body or stream ended before its own end: never a good ending."""

    wire_class = "cut"
    breaker = True


class Malformed(UpstreamError):
    """What came is not what the dialect says: HTML, half a frame, a redirect."""

    breaker = True


class EmptyReply(UpstreamError):
    """A whole answer without text and without a tool call."""

    wire_class = "empty"
    breaker = True


class Unjoined(UpstreamError):
    """A continuation that did not begin where the answer broke off: none of it was shown.

    It says nothing of the provider's health, and the provider bills it as any answer.
    """

    blames = Blames.NOBODY


class ModelGone(UpstreamError):
    """The model is retired or not offered to this account: it is benched, its key is not."""

    blames = Blames.MODEL
    next_step = NextStep.OTHER_MODEL
    wire_class = "gone"
    default_scope = "model"


class RequestRejected(UpstreamError):
    """The provider will not take this request; its health is not in question."""

    blames = Blames.REQUEST
    wire_class: ClassVar[AttemptClass] = "refused"


class ContextTooLong(RequestRejected):
    """The request exceeds this model's window.

    `limit_tokens` is the model's real window where the provider names it, None otherwise; set after construction.
    """

    next_step = NextStep.BIGGER_TARGET
    wire_class = "too_small"
    limit_tokens: int | None = None


class TooLargeHere(RequestRejected):
    """It fits the window but not this account's token window (Groq's 413): only this target is too small."""

    next_step = NextStep.BIGGER_TARGET
    wire_class = "too_small"


class Unsupported(RequestRejected):
    """A parameter that the provider names and that may be dropped (`param`)."""

    next_step = NextStep.SAME_WITHOUT_FIELD


class Inexpressible(RequestRejected):
    """What was asked for (`param`) cannot be said to this target in its dialect, and leaving it out would change it.

    Nothing was sent, unless it was the provider that said so (`status`).
    """

    next_step = NextStep.OTHER_MODEL


class Unfetched(Inexpressible):
    """An image by its address (`param` is its path) could not be had, so nobody can be told who needs it inline."""

    next_step = NextStep.OWN_FETCHER


class ForeignThought(RequestRejected):
    """A signature or an encrypted thought in the history is not the provider's own, or was altered (providers.md 12.9).

    The request is sent once more without thoughts; of the model it says nothing. `param` is `thoughts`.
    """

    next_step = NextStep.SAME_WITHOUT_FIELD


class ContentFiltered(RequestRejected):
    """The provider's content policy."""

    next_step = NextStep.OTHER_PROVIDER_ONCE


class Invalid(RequestRejected):
    """Any other 400 or 422; its excerpt may be passed back to the caller."""

    next_step = NextStep.OTHER_PROVIDER_ONCE


# --- ourselves -------------------------------------------------------------------------------------


class AttemptReport(NamedTuple):
    """One line of the attempts list in our own 429 and 5xx bodies."""

    target: str
    wire_class: AttemptClass
    retry_at: float | None


class NoTarget(HermesError):
    """The pool is out for this request.

    `limited` tells the 429 (every fitting target is limited) from the 503. `retry_at` is the earliest
    return in epoch seconds. `advice` is a sentence or two for the caller's owner: what holds paid models back. `said`
    is who cannot serve and why, a sentence, where that is not the whole pool. `lasting` = no clock changes that, only
    the owner: `retry_at` is when asking anew is worth it, and no return is foretold.
    """

    def __init__(
        self,
        *,
        limited: bool,
        retry_at: float | None,
        attempts: Sequence[AttemptReport] = (),
        reasons: Sequence[str] = (),
        advice: str = "",
        said: str = "",
        lasting: bool = False,
    ) -> None:
        super().__init__("no target: " + "; ".join(reasons))
        self.limited = limited
        self.retry_at = retry_at
        self.attempts = tuple(attempts)
        self.reasons = tuple(reasons)
        self.advice = advice
        self.said = said
        self.lasting = lasting


class DeadlinePassed(HermesError):
    """The exchange's deadline is over (504)."""

    def __init__(self, attempts: Sequence[AttemptReport] = ()) -> None:
        super().__init__("deadline")
        self.attempts = tuple(attempts)


class ConfigError(HermesError):
    """A setting or a row that cannot be used; `where` names file and line.

    `fatal` = the daemon could not listen, or would be open to strangers: it must not start with it. `hint` = nothing
    was left out because of it; it is only pointed out.
    """

    def __init__(self, message: str, *, where: str = "", fatal: bool = False, hint: bool = False) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.where = where
        self.fatal = fatal
        self.hint = hint


class VaultError(HermesError):
    """A secret could not be read, written or removed. `next_step` says what the owner can do."""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class ControlError(HermesError):
    """What `hr` asked for could not be done: one sentence what, one what to do, and the exit code (contract.md, `hr`).

    Exit codes: 1 failed, 2 usage, 3 refused by what it met, 4 no daemon.
    """

    def __init__(self, message: str, *, code: str = "failed", next_step: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.next_step = next_step
        self.exit_code = exit_code
