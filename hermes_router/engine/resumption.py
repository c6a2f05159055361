"""How one exchange takes up an answer that broke off: anew, or behind the text that its caller has seen.

Owns the choice between prefill and anchor, what their failures teach, and the number of continuations (contract.md,
Waiting). It must never know what is planned next, nor how a seam is found.
"""

from collections.abc import Set as AbstractSet

from hermes_router.core.catalog import Capability, Known, TargetFacts
from hermes_router.core.errors import (
    ContextTooLong,
    EmptyReply,
    Inexpressible,
    NextStep,
    RequestRejected,
    TooLargeHere,
    Unjoined,
    UpstreamError,
)
from hermes_router.core.events import CHARS_PER_TOKEN
from hermes_router.core.records import By
from hermes_router.engine.asking import Asked, Asking
from hermes_router.engine.context import Engine
from hermes_router.wire.chat.outgoing import Options, Recall
from hermes_router.wire.foldable import is_foldable
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.seam import Seam
from hermes_router.wire.splice import Splice

__all__ = ["MOST_CONTINUATIONS", "Resumption", "may_fold", "may_go_on", "tokens_of"]

MOST_CONTINUATIONS = 3
_OF_THE_REQUEST = (ContextTooLong, TooLargeHere, Inexpressible)
_OF_A_TURN = frozenset({"prefix", "partial", "role", "content"})  # no field of the request: of the turns that we add


def may_go_on(inbound: Inbound) -> bool:
    """Whether another model may go on with the answer: not where its shape may not be left (design.md 2.14)."""
    modalities = inbound.fields.get("modalities")
    spoken = modalities is not None and b'"audio"' in bytes(modalities)
    return inbound.request.json_format == "text" and _is_one(inbound) and not spoken


def may_fold(inbound: Inbound) -> bool:
    """Whether the answer is one of text, thoughts and calls, and nothing beside them."""
    return _is_one(inbound) and is_foldable(inbound)


def _is_one(inbound: Inbound) -> bool:
    """Whether one answer is asked for, with nothing that is counted along with it."""
    return inbound.request.choices == 1 and not inbound.request.logprobs


def tokens_of(chars: int) -> int:
    """What text of so many characters adds to a request, as estimated."""
    return chars // CHARS_PER_TOKEN


class Resumption:
    """The attempts of one exchange, as parts of one answer.

    `by` is how the attempt under way takes up what the ones before it have shown.
    """

    __slots__ = ("_anchor_only", "_engine", "_refused", "_spent", "by", "resent_tokens")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._anchor_only = False
        self._refused: set[tuple[str, str]] = set()  # provider and model: no prefill for them
        self._spent = 0
        self.by: By = ""
        self.resent_tokens = 0  # what the request under way holds beside the caller's own, as estimated

    def ask(
        self,
        asking: Asking,
        facts: TargetFacts,
        options: Options,
        recall: Recall,
        splice: Splice | None,
        *,
        first: bool,
    ) -> tuple[Asked, Seam | None]:
        """The request of the next attempt, and the seam at which its answer goes on; None = it answers anew.

        Raises BadRequest, Inexpressible.
        """
        self.resent_tokens = 0
        if splice is None or splice.way != "on":
            self.by = "" if first else "anew"
            return asking.of(facts, options, recall), None
        shown = splice.shown.text
        prefill = self._prefill(facts)
        asked, went_on = asking.going_on(facts, options, recall, shown, prefill=prefill, ended=splice.text_ended)
        self.by = went_on.by
        self.resent_tokens = tokens_of(len(shown))
        return asked, went_on.seam

    def _prefill(self, facts: TargetFacts) -> Known:
        """What has been learnt of this target's taking a prefill."""
        engine, name = self._engine, (facts.target.provider, facts.target.model)
        if self._anchor_only or name in self._refused:
            return Known.NO
        learnt = engine.state.learned.of(*name).learnt(Capability.PREFILL, engine.clock.now())
        return Known.UNKNOWN if learnt is None else learnt.known

    def failed(self, facts: TargetFacts, error: UpstreamError, splice: Splice, *, dropped: AbstractSet[str]) -> bool:
        """The attempt failed. Returns whether the same target should be asked in the other way.

        An attempt that showed nothing is no continuation, so it counts for nothing (contract.md, Waiting). `dropped`
        are the fields that the exchange has left out already.
        """
        if self.went_on and splice.shown_chars:
            self._spent += 1
        if self.by != "prefill":
            return False
        if isinstance(error, EmptyReply):
            self._anchor_only = True  # whether that was the end of the answer, only an anchor can prove
            return False
        refused = self.is_refusal(error, dropped)
        if refused or isinstance(error, Unjoined):
            target = facts.target
            self._refused.add((target.provider, target.model))
            self._engine.state.learn_capability(target.provider, target.model, Capability.PREFILL, Known.NO)
        return refused

    def is_refusal(self, error: UpstreamError, dropped: AbstractSet[str]) -> bool:
        """Whether this refuses what we made of the request to go on, of which its caller knows nothing.

        A field that is named, and not yet dropped, is the caller's own: it is left out, as of any request.
        """
        if not self.went_on or not isinstance(error, RequestRejected) or isinstance(error, _OF_THE_REQUEST):
            return False
        named = error.param if error.next_step is NextStep.SAME_WITHOUT_FIELD else None
        return named is None or named in dropped or named in _OF_A_TURN

    @property
    def spent(self) -> bool:
        """Whether there were continuations enough."""
        return self._spent >= MOST_CONTINUATIONS

    @property
    def went_on(self) -> bool:
        """Whether the attempt under way goes on behind what is shown."""
        return self.by in ("prefill", "anchor")
