"""How a request is said to one target: in which dialect, and with which body.

Owns the step from a caller's request to what leaves: the same dialect on both sides passes the caller's own fields on,
another is composed from neutral content, which is read once per exchange. It must never know who is planned, or what
became of it.
"""

from typing import NamedTuple

from hermes_router.core.catalog import DialectName, TargetFacts
from hermes_router.core.content import Conversation
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.outgoing import Options, Recall, Rendered

__all__ = ["Asked", "Asking"]


class Asked(NamedTuple):
    """A request for one target. `translated` = its answer is not one for the caller as it comes."""

    dialect: DialectName
    url: str
    rendered: Rendered
    translated: bool


class Asking:
    """One caller's request, to be said to as many targets as it takes."""

    __slots__ = ("_conversation", "_inbound")

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._conversation: Conversation | None = None

    def of(self, facts: TargetFacts, options: Options, recall: Recall) -> Asked:
        """The request for this target.

        Raises BadRequest where the caller's own fields cannot be read, Inexpressible where the target cannot be told.
        """
        inbound = self._inbound
        name = facts.asked_in(inbound.dialect, tools=inbound.request.tools > 0)
        dialect = DIALECTS[name]
        same = name == inbound.dialect
        if same:
            rendered = dialect.pass_on(inbound, facts, options, recall)
        else:
            if self._conversation is None:
                self._conversation = DIALECTS[inbound.dialect].read(inbound)
            rendered = dialect.compose(self._conversation, facts, options, recall)
        return Asked(name, facts.url_of(name) + dialect.path, rendered, not (same and rendered.straight))
