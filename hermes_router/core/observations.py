"""Facts learnt about limits: whose, of what, over which window, and what was said.

Owns the vocabulary of quotas (the words of the IETF RateLimit draft). Decoders in `wire` produce these
values, `routing` applies them; neither knows the other.
"""

import enum
from typing import Literal, NamedTuple

from hermes_router.core.ids import AccountId, CredentialId, ModelId, ProviderName


class Unit(enum.StrEnum):
    """What a quota counts. Money is one more unit, in micro-US-dollars."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    MICROUSD = "microusd"
    CONCURRENCY = "concurrency"
    PERCENT = "percent"  # of a plan's window: the provider counts, and no request knows its share


class Window(enum.StrEnum):
    """Over what span a quota counts; `NONE` is for concurrency, which is a level, not a sum."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    PLAN = "plan"  # a subscription's own span, given by its API
    NONE = "none"


WINDOW_SECONDS: dict[Window, float] = {
    Window.SECOND: 1.0,
    Window.MINUTE: 60.0,
    Window.HOUR: 3600.0,
    Window.DAY: 86400.0,
    Window.WEEK: 7 * 86400.0,
    Window.MONTH: 30 * 86400.0,
    Window.PLAN: 5 * 3600.0,
    Window.NONE: 0.0,
}


class Scope(NamedTuple):
    """Whose limit it is; an absent part means "any". All absent but the provider: the provider itself.

    `ip` marks a limit on our own address: then the provider is all that is named.
    """

    provider: ProviderName
    account: AccountId | None = None
    credential: CredentialId | None = None
    model: ModelId | None = None
    ip: bool = False

    def __str__(self) -> str:
        parts = [str(self.provider)]
        if self.ip:
            parts.append("ip")
        if self.account is not None:
            parts.append(f"account={self.account[:12]}")
        if self.credential is not None:
            parts.append(f"credential={self.credential[:4]}")
        if self.model is not None:
            parts.append(f"model={self.model}")
        return " ".join(parts)


ScopeKind = Literal["ip", "provider", "account", "account_model", "credential", "credential_model", "model"]
"""Which parts of the failing target a piece of evidence names; `routing` turns it into a `Scope`."""


class QuotaSeen(NamedTuple):
    """One window as a provider described it, in a header or an error body.

    `limit` and `remaining` are in units of `unit`; `reset_at` is epoch seconds. Absent = not said. `odd` quotes what
    made no sense and was left out, for one line in the log.
    """

    scope: ScopeKind
    unit: Unit
    window: Window
    limit: int | None = None
    remaining: int | None = None
    reset_at: float | None = None
    odd: str = ""
