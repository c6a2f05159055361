"""What a feature is: one thing that a caller can ask for or be told, in the words of each dialect that has any for it.

Owns the value, and the plain request around which every feature is asked for. It must never know who answers, nor
anything of the router's: a proof that is built on our own encoders would prove our own errors right.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["CHAT", "DIALECTS", "MESSAGES", "PLAIN", "PROMPT", "RESPONSES", "Feature", "body"]

CHAT: Final = "chat"
MESSAGES: Final = "messages"
RESPONSES: Final = "responses"
DIALECTS: Final = (CHAT, MESSAGES, RESPONSES)

PROMPT: Final = "Say hello."
_CAP: Final = 64  # tokens: enough for what is asked here

PLAIN: Final[Mapping[str, Mapping[str, Any]]] = {
    CHAT: {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": _CAP},
    MESSAGES: {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": _CAP},
    RESPONSES: {"input": PROMPT, "max_output_tokens": _CAP},
}
"""The plain request of each dialect, but for the model's name."""


class Feature(NamedTuple):
    """One row of the table.

    Attributes:
        id: dotted, unique: `tools.parallel_off`.
        area: the heading under which it stands.
        title: what it is, in a few words.
        asks: by dialect, the top-level fields that say it, to be laid over `PLAIN`; None takes a field of the plain
            request away. A dialect that is absent has no words for it. Where no dialect is there, it cannot be asked
            for: it befalls a caller.
    """

    id: str
    area: str
    title: str
    asks: Mapping[str, Mapping[str, Any]]


def body(feature: Feature, dialect: str) -> dict[str, Any]:
    """The whole request of this dialect but for `model`. Raises KeyError where the dialect has no words for it."""
    whole = {**PLAIN[dialect], **feature.asks[dialect]}
    return {key: value for key, value in whole.items() if value is not None}
