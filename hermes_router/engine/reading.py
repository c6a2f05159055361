"""How the answer of one target is read: with which decoder, in which lane, and what of it is remembered.

Owns the step from a target's quirks to the pure readers of `wire`. It must never know the caller's connection.
"""

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import Malformed
from hermes_router.core.events import Failed, Usage, fold
from hermes_router.engine.context import Engine
from hermes_router.wire.chat_decoder import ChatDecoder
from hermes_router.wire.passthrough import Lane, ManyLane, StreamLane
from hermes_router.wire.splice import Splice
from hermes_router.wire.unary import Whole, events_of, read_answer

_CHARS_PER_TOKEN = 4
_REPLAY = frozenset(
    {Quirk.REPLAY_SIGNATURE, Quirk.REPLAY_REASONING, Quirk.REPLAY_REASONING_IF_KNOWN, Quirk.REPLAY_DETAILS}
)
_TAGS = {Quirk.THINK_TAGS: ("<think>", "</think>"), Quirk.THOUGHT_TAGS: ("<thought>", "</thought>")}


class Reading:
    """The readers for one attempt at one target, on behalf of one router key (`scope` of what is remembered)."""

    def __init__(self, engine: Engine, facts: TargetFacts, request: ChatRequest, scope: str) -> None:
        self._engine = engine
        self._facts = facts
        self._request = request
        self._scope = scope
        self._decoder: ChatDecoder | None = None

    @property
    def usage(self) -> Usage | None:
        """What the provider has reported, also where the answer turned out to be none."""
        return self._decoder.usage if self._decoder is not None else None

    def decoder(self) -> ChatDecoder:
        """A decoder that classifies errors as the row's family does."""
        engine, facts = self._engine, self._facts
        now = engine.clock.now()
        self._decoder = ChatDecoder(
            lambda error: engine.in_band(facts.provider.rejection, error, now),
            new_id=engine.ids.new,
            now=int(now),
            think_tags=next((tags for quirk, tags in _TAGS.items() if quirk in facts.quirks), None),
            model=facts.model.id,
        )
        return self._decoder

    def lane(self, splice: Splice) -> Lane:
        """The lane of a stream. Log probabilities survive only where whole frames go through."""
        request = self._request
        if request.choices > 1 or request.logprobs:
            return ManyLane(splice, self.decoder(), request.choices)
        return StreamLane(splice, self.decoder(), tap=not _REPLAY.isdisjoint(self._facts.quirks))

    def whole(self, body: bytes, *, prompt_tokens: int, cap_tokens: int | None) -> Whole:
        """A unary answer, checked. Raises the UpstreamError that a 200 turns out to be."""
        facts = self._facts
        replayed = not _REPLAY.isdisjoint(facts.quirks) and b'"tool_calls"' in body
        tagged = any(quirk in facts.quirks and tags[0].encode() in body for quirk, tags in _TAGS.items())
        whole = read_answer(
            body,
            self.decoder(),
            estimate=self.estimate(prompt_tokens, 0),
            cap_chars=cap_tokens * _CHARS_PER_TOKEN if cap_tokens is not None else None,
            choices=self._request.choices,
            tap=replayed,
            plain=not tagged,
        )
        if replayed and whole.answer is not None:
            self._engine.memory.keep_answer(facts, whole.answer, self._scope)
        return whole

    def streamed(self, body: bytes, splice: Splice) -> tuple[bytes, Usage | None]:
        """The stream of an answer that came whole although a stream was asked for, and its usage."""
        decoder = self.decoder()
        events = events_of(body, decoder)
        if isinstance(events[-1], Failed):
            raise events[-1].error
        out = splice.admit(events)
        if not splice.committed:
            raise Malformed("an answer that shows nothing")
        return out, decoder.usage

    def remember(self, lane: Lane) -> None:
        """Keep what a later turn of this conversation has to replay."""
        if isinstance(lane, StreamLane) and lane.tapped:
            self._engine.memory.keep_answer(self._facts, fold(lane.tapped), self._scope)

    @staticmethod
    def estimate(prompt_tokens: int, chars: int) -> Usage:
        """Usage where the provider reports none."""
        return Usage(prompt_tokens, max(1, chars // _CHARS_PER_TOKEN), estimated=True)
