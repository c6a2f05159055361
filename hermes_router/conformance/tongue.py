"""What the checks need to know of a dialect: how it is asked, and how its answers and its errors are read.

Owns the protocol that the three dialects' modules keep. It must never know which checks there are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hermes_router.conformance.answer import Answer, Wrong
from hermes_router.conformance.frames import Frame
from hermes_router.conformance.shapes import shown

Body = dict[str, Any]


class Tongue(Protocol):
    """One dialect. `name` is what the table of features calls it, `path` what follows the base URL."""

    name: str
    path: str

    def headers(self, key: str) -> dict[str, str]:
        """What a caller sends beside the body; without the key where that is empty."""
        ...

    def ask(self, text: str, cap: int) -> Body:
        """The least request that asks this: no model in it, `cap` tokens at most."""
        ...

    def history(self, body: Body) -> list[Any]:
        """The turns of a request, as a list that the next ones can be added to."""
        ...

    def with_history(self, body: Body, turns: Sequence[Any]) -> Body:
        """The request with other turns."""
        ...

    def results(self, answer: Answer, texts: Sequence[str]) -> list[Any]:
        """The turns that bring back what the calls of an answer came to, one text a call."""
        ...

    def whole(self, body: Any) -> Answer:
        """Read an answer that was not streamed. Raises Wrong where it cannot be read at all."""
        ...

    def stream(self, frames: Sequence[Frame]) -> Answer:
        """Read a stream's events. Raises Wrong where they cannot be read at all, or end in an error."""
        ...

    def error(self, body: Any) -> list[str]:
        """What is wrong with the body of an error."""
        ...


def as_object(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object, or Wrong."""
    if not isinstance(value, dict):
        raise Wrong(f"{what} should be a JSON object, and is {shown(value)}")
    return value


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of what should be a list of them; what is not is left to the shapes to complain of."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def words(value: Any) -> str:
    """A text; empty where it is none."""
    return value if isinstance(value, str) else ""


def tokens(usage: Any, *names: str) -> int:
    """A count somewhere within usage; 0 where it is not told."""
    for name in names:
        usage = usage.get(name) if isinstance(usage, Mapping) else None
    return usage if isinstance(usage, int) else 0
