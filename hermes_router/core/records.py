"""What is kept of an exchange once it is over, for usage and for telling afterwards what happened; and of the ledger.

Owns the values only. They hold no text of callers or providers beyond a short excerpt of an error, and no secret. Those
made for every request are named tuples: a frozen dataclass takes three times as long to make.
"""

from typing import Any, Literal, NamedTuple

from hermes_router.core.ids import RouterKeyId

__all__ = ["AttemptRecord", "By", "EmbedBinding", "ExchangeRecord", "FailedAttempt", "LedgerRow", "failed_attempts"]

By = Literal["", "anew", "prefill", "anchor"]

GOOD_ENDS = frozenset({"ok", "abandoned"})
"""Outcomes of an attempt that blame nobody."""


class AttemptRecord(NamedTuple):
    """One try at a target.

    `outcome` is `ok`, `abandoned` (the caller left) or the class of the failure as on the wire (contract.md, Errors).
    `billed` = the provider may bill it: the body went out and a good head came back. Tokens are as reported, or
    estimated where `estimated`; `cost_microusd` follows the row's price, and `unpriced` = it is paid for, and no row
    says how much. `sent_at` in epoch seconds, other times in seconds.

    `shown_chars` is how much of its own the caller has been shown: text, thoughts and calls. `by` is how it took up
    what the ones before it had shown: "" = it is the first, `anew` = nothing of them is part of the answer, `prefill`
    or `anchor` = it goes on behind their text (design.md 2.14).
    """

    provider: str
    model: str
    credential: str
    tail: str
    outcome: str
    why: str = ""
    status: int | None = None
    said: str = ""
    retry_at: float | None = None
    duration_s: float = 0.0
    ttft_s: float | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    billed: bool = False
    cost_microusd: int = 0
    unpriced: bool = False
    sent_at: float = 0.0
    shown_chars: int = 0
    by: By = ""

    @property
    def target(self) -> str:
        """As a `Target` prints."""
        return f"{self.provider}/{self.model}#{self.credential[:4]}"


class ExchangeRecord(NamedTuple):
    """One inbound request with all it caused. `at` is its arrival in epoch seconds.

    `outcome` is `answered`, `caller_left`, or the name of the error that the caller got.
    """

    request_id: str
    at: float
    router_key: str
    dialect: str
    model: str
    profile: str
    stream: bool
    outcome: str
    duration_s: float
    difficulty: int
    estimated_tokens: int
    attempts: tuple[AttemptRecord, ...] = ()
    warnings: tuple[str, ...] = ()


class FailedAttempt(NamedTuple):
    """A failed attempt, as a list of the last errors shows it; `at` in epoch seconds."""

    at: float
    target: str
    outcome: str
    said: str
    request_id: str


class LedgerRow(NamedTuple):
    """One record of the ledger as it rests on a disk: what it is of, and its value as JSON carries it.

    `value` None = it is to be forgotten. `at` is when it was so, `until` when it means nothing any more, both in epoch
    seconds.
    """

    kind: str
    key: str
    value: Any
    at: float
    until: float


class EmbedBinding(NamedTuple):
    """Where the vectors of a router key come from, under one profile (`main`, `local`).

    `dimensions` is the length of a vector where the caller asks for none, 0 = not seen yet; `bound_at` in epoch
    seconds.
    """

    key_id: RouterKeyId
    profile: str
    provider: str
    model: str
    dimensions: int
    bound_at: float


def failed_attempts(record: ExchangeRecord) -> list[FailedAttempt]:
    """What failed in an exchange, the latest first."""
    return [
        FailedAttempt(each.sent_at or record.at, each.target, each.outcome, each.said, record.request_id)
        for each in reversed(record.attempts)
        if each.outcome not in GOOD_ENDS
    ]
