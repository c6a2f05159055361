"""How a request is said to one target: in which dialect, and with which body.

Owns the step from a caller's request to what leaves: the same dialect on both sides passes the caller's own fields on,
another is composed from neutral content, which is read once per exchange. It must never know who is planned, or what
became of it.
"""

import hashlib
from typing import NamedTuple

from hermes_router.core.catalog import DialectName, Known, Quirk, TargetFacts
from hermes_router.core.content import Conversation
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.routing.demand import Demand
from hermes_router.wire.chat.outgoing import Options, Recall, Rendered
from hermes_router.wire.continuation import Continuation, go_on, takes_prefill
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.inbound import Inbound

__all__ = ["Asked", "Asking"]


class Asked(NamedTuple):
    """A request for one target. `translated` = its answer is not one for the caller as it comes.

    `asked_tokens` is the cap that is left of the caller's own, None where it gave none: what goes out may be more.
    """

    dialect: DialectName
    url: str
    rendered: Rendered
    translated: bool
    asked_tokens: int | None = None


class Asking:
    """One caller's request, to be said to as many targets as it takes.

    `pictured` is the same request with its images in it, for targets that do not fetch them; None = as it came for all.
    `secret` is the installation's own, at most 64 bytes of it: what goes out instead of a conversation's name is made
    with it.
    """

    __slots__ = ("_conversation", "_demand", "_inbound", "_secret", "pictured")

    def __init__(self, inbound: Inbound, demand: Demand, secret: bytes = b"") -> None:
        self._inbound = inbound
        self._demand = demand
        self._secret = secret
        self._conversation: Conversation | None = None
        self.pictured: Asking | None = None

    def of(self, facts: TargetFacts, options: Options, recall: Recall) -> Asked:
        """The request for this target.

        Raises Inexpressible where this target cannot be told: others are passed what we cannot read ourselves.
        """
        if self.pictured is not None and not facts.provider.image_urls:
            return _altered(self.pictured.of(facts, options, recall))
        inbound = self._inbound
        name, options = self._name(facts), self._with_session(facts, options)
        dialect = DIALECTS[name]
        same = name == inbound.dialect
        if same:
            rendered = dialect.pass_on(inbound, facts, options, recall)
        else:
            rendered = dialect.compose(self._readable(), facts, options, recall)
        translated = not (same and rendered.straight)
        wanted = inbound.request.max_output_tokens
        return Asked(name, facts.url_of(name) + dialect.path + rendered.path, rendered, translated, wanted)

    def _readable(self) -> Conversation:
        try:
            return self._read()
        except BadRequest as error:
            raise Inexpressible(error.message, param=error.param) from None

    @property
    def readable(self) -> bool:
        """Whether the caller's own fields can be read at all: what is only passed on need not be known to us."""
        try:
            self._read()
        except (BadRequest, Inexpressible):
            return False
        return True

    def going_on(
        self, facts: TargetFacts, options: Options, recall: Recall, shown: str, *, prefill: Known, ended: bool
    ) -> tuple[Asked, Continuation]:
        """The request to go on behind the text `shown`, for this target, and where its answer joins.

        `prefill` is what has been learnt of the target's taking one, `ended` = the text is known to be whole.
        Raises BadRequest, Inexpressible.
        """
        if self.pictured is not None and not facts.provider.image_urls:
            asked, went_on = self.pictured.going_on(facts, options, recall, shown, prefill=prefill, ended=ended)
            return _altered(asked), went_on
        name, conversation, options = self._name(facts), self._read(), self._with_session(facts, options)
        dialect = DIALECTS[name]
        by_prefill = takes_prefill(facts, name, conversation, learned=prefill)
        echoed = Quirk.PREFILL_ECHOED in facts.quirks
        went_on = go_on(conversation, shown, prefill=by_prefill, echoed=echoed, ended=ended)
        rendered = dialect.compose(went_on.conversation, facts, options, recall)
        left = went_on.conversation.max_output_tokens
        return Asked(name, facts.url_of(name) + dialect.path, rendered, translated=True, asked_tokens=left), went_on

    def _with_session(self, facts: TargetFacts, options: Options) -> Options:
        """The same for all turns of a conversation, from where affinity binds it: a broker then keeps to one host.

        The affinity key holds the caller's, so two callers are never joined; with a secret of ours, nobody can guess
        at either of them.
        """
        key = self._demand.affinity_key
        if Quirk.SESSION_ID not in facts.quirks or key is None:
            return options
        if not (self._demand.binds or self._inbound.request.session):
            return options
        said = key.encode(errors="surrogatepass")
        return options._replace(session=hashlib.blake2b(said, digest_size=16, key=self._secret[:64]).hexdigest())

    def _name(self, facts: TargetFacts) -> DialectName:
        return facts.asked_in(self._inbound.dialect, tools=self._inbound.request.tools > 0)

    def _read(self) -> Conversation:
        if self._conversation is None:
            self._conversation = DIALECTS[self._inbound.dialect].read(self._inbound)
        return self._conversation


def _altered(asked: Asked) -> Asked:
    """The same, known not to be what the caller has sent."""
    return asked._replace(rendered=asked.rendered._replace(altered=True))
