"""What is expected of a row: what the upstream must hear, what is warned of, or that the request is refused.

An expectation is found by the most exact key that the tables have: `chat-messages@maker`, `messages@maker`,
`chat-messages`, `messages`, in this order; where there is none, the upstream must hear what its own callers would say
(`Feature.asks` of its dialect), and nothing is warned of. `@maker` is the dialect's maker, who takes more than others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hermes_router.conformance.feature import DIALECTS, PLAIN, Feature
from hermes_router.conformance.features import FEATURES

__all__ = ["Expected", "OutRow", "Refused", "Says", "Table", "expected_whole", "like", "out_rows"]


@dataclass(frozen=True)
class Says:
    """The upstream hears the plain request of its dialect with these fields laid over it, and nothing else.

    Attributes:
        fields: as in `Feature.asks`; None takes a field away.
        warns: the warnings, all of them, in order.
        left: what is left out without a word, and why nobody misses it.
        note: what becomes of it, in a few words.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    warns: tuple[str, ...] = ()
    left: str = ""
    note: str = ""


@dataclass(frozen=True)
class Refused:
    """The request is not sent: the caller is told this, and which field it is about."""

    words: str
    param: str


Expected = Says | Refused
Table = Mapping[str, Mapping[str, Expected]]
"""By feature id, then by key."""


@dataclass(frozen=True)
class OutRow:
    """A row of the way out: one feature, one pair."""

    caller: str
    upstream: str
    feature: Feature
    maker: bool = False

    @property
    def id(self) -> str:
        """The test's name of it."""
        return f"{self.caller}-{self.upstream}-{self.feature.id}{'@maker' if self.maker else ''}"

    def places(self) -> tuple[str, ...]:
        """Where its expectation may stand."""
        pair = f"{self.caller}-{self.upstream}"
        plain = (pair, self.upstream)
        return (f"{pair}@maker", f"{self.upstream}@maker", *plain) if self.maker else plain


def like(feature: str, dialect: str, **changes: Any) -> Mapping[str, Any]:
    """The words that this dialect's callers have for a feature, with changes."""
    return {**FEATURES[feature].asks[dialect], **changes}


_ENVELOPE: Mapping[str, Mapping[str, Any]] = {
    "chat": {"model": "m-1", "stream": False},
    "messages": {"model": "m-1", "stream": False},
    "responses": {"model": "m-1", "stream": False, "store": False},
}
"""What we say ourselves: the model that was chosen, whole answers, and that nothing is kept."""


def expected_whole(upstream: str, says: Says) -> dict[str, Any]:
    """The whole body."""
    whole = {**_ENVELOPE[upstream], **PLAIN[upstream], **says.fields}
    return {key: value for key, value in whole.items() if value is not None}


MAKERS = ("messages", "responses")
"""Dialects whose maker takes more than others do."""


def out_rows() -> Iterator[OutRow]:
    """All rows of the way out, the makers' behind the others."""
    for maker in (False, True):
        for feature in FEATURES.values():
            for caller in (each for each in DIALECTS if each in feature.asks):
                for upstream in MAKERS if maker else DIALECTS:
                    yield OutRow(caller, upstream, feature, maker)
