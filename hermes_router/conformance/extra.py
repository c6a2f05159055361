"""A check that is no row of the table: what only a whole endpoint can show, such as lists, paths and kept answers.

Owns the value, and what such a check is given.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from hermes_router.conformance.endpoint import Asker
from hermes_router.conformance.reply import Reply, ask
from hermes_router.conformance.tongue import Body, Tongue

EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True)
class Visit:
    """One check at work: whom it asks, in which dialect, for which model."""

    asker: Asker
    tongue: Tongue
    model: str

    async def ask(self, body: Body) -> Reply:
        """Ask for an answer of the model. Raises as `reply.ask`."""
        return await ask(self.asker, self.tongue, {**body, "model": self.model})

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request of this dialect."""
        return self.tongue.headers(self.asker.key)


class Extra(NamedTuple):
    """One such check, for these dialects. `run` raises Wrong, Skipped, Unsure or Refused where it does not pass."""

    id: str
    area: str
    title: str
    dialects: tuple[str, ...]
    run: Callable[[Visit], Awaitable[None]]
    terms: tuple[str, ...] = ()
    """By which words a refusal is known to be about this."""
