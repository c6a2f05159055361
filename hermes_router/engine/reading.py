"""How the answer of one target is read: with which decoder, in which lane, and what of it is remembered.

Owns the step from a target's quirks to the pure readers of `wire`. It must never know the caller's connection.
"""

from hermes_router.core.catalog import DialectName, Quirk, TargetFacts
from hermes_router.core.errors import Malformed, UpstreamError
from hermes_router.core.events import CHARS_PER_TOKEN, Answer, Usage, fold
from hermes_router.core.observations import QuotaSeen
from hermes_router.engine.context import Engine
from hermes_router.wire.broken_calls import drop_broken_calls
from hermes_router.wire.chat.decoder import ChatDecoder
from hermes_router.wire.chat.passthrough import ManyLane, StreamLane
from hermes_router.wire.chat.unary import Whole, cap, read_answer, usage_of
from hermes_router.wire.dialect import Decoder, InBand
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.lane import Lane
from hermes_router.wire.responses.compact import compacted, compactions_in, not_compacted, not_its_own
from hermes_router.wire.responses.decoder import ResponsesDecoder
from hermes_router.wire.responses.mend import with_output
from hermes_router.wire.responses.turn import mend_body
from hermes_router.wire.splice import Splice
from hermes_router.wire.translated import FoldLane, RawLane, TranslatedLane

_REPLAY = frozenset(
    {Quirk.REPLAY_SIGNATURE, Quirk.REPLAY_REASONING, Quirk.REPLAY_REASONING_IF_KNOWN, Quirk.REPLAY_DETAILS}
)
_TAGS = {Quirk.THINK_TAGS: ("<think>", "</think>"), Quirk.THOUGHT_TAGS: ("<thought>", "</thought>")}


def _in_band_of(engine: Engine, facts: TargetFacts) -> InBand:
    """What says what an error object is. It must not hold the reading, which holds the caller's body, in a circle."""
    return lambda error: engine.in_band(facts.provider.rejection, error, engine.clock.now())


class Reading:
    """The readers for one attempt at one target, on behalf of one router key (`scope` of what is remembered).

    `dialect` is the one that the target was asked in; `translated` = its answer has to be written anew.
    """

    def __init__(
        self,
        engine: Engine,
        facts: TargetFacts,
        inbound: Inbound,
        scope: str,
        dialect: DialectName = "openai_chat",
        *,
        translated: bool = False,
    ) -> None:
        self._engine = engine
        self._facts = facts
        self._inbound = inbound
        self._scope = scope
        self._dialect = dialect
        self._translated = translated
        self._decoder: Decoder | None = None

    @property
    def usage(self) -> Usage | None:
        """What the provider has reported, also where the answer turned out to be none."""
        return self._decoder.usage if self._decoder is not None else None

    @property
    def limits(self) -> tuple[QuotaSeen, ...]:
        """The windows that the stream told of beside its head."""
        return self._decoder.limits if isinstance(self._decoder, ResponsesDecoder) else ()

    @property
    def _is_chat(self) -> bool:
        """Whether both sides speak Chat, which has lanes of its own (ADR 6)."""
        return self._dialect == "openai_chat" and self._inbound.dialect == "openai_chat"

    @property
    def _replays(self) -> bool:
        """Whether a later turn may have to bring back what this answer holds."""
        return self._dialect != "openai_chat" or not _REPLAY.isdisjoint(self._facts.quirks)

    def chat_decoder(self) -> ChatDecoder:
        """A decoder that classifies errors as the row's family does, and knows how its models think aloud."""
        engine, facts = self._engine, self._facts
        self._decoder = decoder = ChatDecoder(
            _in_band_of(engine, facts),
            new_id=engine.ids.new,
            now=int(engine.clock.now()),
            think_tags=next((tags for quirk, tags in _TAGS.items() if quirk in facts.quirks), None),
            model=facts.model.id,
            bare_end=Quirk.BARE_END in facts.quirks,
        )
        return decoder

    def decoder(self) -> Decoder:
        """The decoder of the dialect that the target was asked in."""
        if self._dialect == "openai_chat":
            return self.chat_decoder()
        engine, target = self._engine, self._facts.target
        make = DIALECTS[self._dialect].decoder
        now = int(engine.clock.now())
        self._decoder = make(
            _in_band_of(self._engine, self._facts),
            new_id=engine.ids.new,
            now=now,
            model=target.model,
            origin=self._facts.maker,
        )
        return self._decoder

    def lane(self, splice: Splice) -> Lane:
        """The lane of a stream. Log probabilities survive only where whole frames go through."""
        request = self._inbound.request
        if splice.goes_on:
            return TranslatedLane(splice, self.decoder(), tap=self._replays)
        if not self._is_chat:
            if self._translated:
                return TranslatedLane(splice, self.decoder(), tap=self._replays)
            return RawLane(splice, self.decoder(), tap=self._replays, turn=self._inbound.turn)
        if request.choices > 1 or request.logprobs:
            return ManyLane(splice, self.chat_decoder(), request.choices)
        return StreamLane(splice, self.chat_decoder(), tap=self._replays)

    def whole(self, body: bytes, *, prompt_tokens: int, cap_tokens: int | None) -> Whole:
        """A unary answer, checked. Raises the UpstreamError that a 200 turns out to be."""
        facts = self._facts
        cap_chars = cap_tokens * CHARS_PER_TOKEN if cap_tokens is not None else None
        tagged = any(quirk in facts.quirks and tags[0].encode() in body for quirk, tags in _TAGS.items())
        plain = None if tagged or self._translated else self._plain(body, cap_chars)
        if plain is not None:
            return plain
        estimate = self.estimate(prompt_tokens, 0)
        if not self._is_chat:
            return self._other(body, estimate, cap_chars)
        replayed = self._replays and b'"tool_calls"' in body
        whole = read_answer(
            body,
            self.chat_decoder(),
            estimate=estimate,
            cap_chars=cap_chars,
            choices=self._inbound.request.choices,
            plain=not tagged,
        )
        if replayed and whole.answer is not None:
            self._engine.memory.keep_answer(facts, whole.answer, self._scope)
        return whole

    def _other(self, body: bytes, estimate: Usage, cap_chars: int | None) -> Whole:
        """An answer that is written anew for the caller, or of its own dialect as it came."""
        decoder = self.decoder()
        answer = fold(decoder.whole(body))
        return self._written(answer, decoder.usage, estimate, cap_chars, None if self._translated else body)

    def _plain(self, body: bytes, cap_chars: int | None) -> Whole | None:
        """An answer as it came, None where it has to be taken apart."""
        request = self._inbound.request
        if request.choices > 1 or request.compaction or self._inbound.operation == "compact":
            return None
        found = DIALECTS[self._dialect].plain(body)
        if found is None or (cap_chars is not None and len(found.text) > cap_chars):
            return None
        turn = self._inbound.turn
        return Whole(body if turn is None else mend_body(body, turn), found.usage, found.model, None)

    def _written(
        self, answer: Answer, reported: Usage | None, estimate: Usage, cap_chars: int | None, body: bytes | None
    ) -> Whole:
        """The answer for the caller: `body` as it came, or written anew. Raises EmptyReply."""
        engine, name = self._engine, self._facts.target.name
        now = int(engine.clock.now())
        self._keep_seals()
        cut = drop_broken_calls(answer)
        cut = cap(answer, cap_chars) or cut
        usage = usage_of(reported, estimate, "".join(block.text for block in answer.blocks))
        if self._replays:
            engine.memory.keep_answer(self._facts, answer, self._scope)
        if body is None or cut:
            write = DIALECTS[self._inbound.dialect].render_answer
            body = write(answer, usage, self._inbound, origin=name, new_id=engine.ids.new, now=now)
        elif self._inbound.operation == "compact":
            body = compacted(body, usage, new_id=engine.ids.new, now=now)
        elif self._inbound.turn is not None:
            body = mend_body(body, self._inbound.turn)
        return Whole(body, usage, answer.model, answer)

    def folded(self, lane: FoldLane, *, prompt_tokens: int, cap_tokens: int | None) -> Whole:
        """A stream that ended well, as a whole answer. Raises the UpstreamError that it turns out to be."""
        cap_chars = cap_tokens * CHARS_PER_TOKEN if cap_tokens is not None else None
        whole = self._written(fold(lane.tapped), lane.usage, self.estimate(prompt_tokens, 0), cap_chars, None)
        decoder = self._decoder
        if not self._translated and isinstance(decoder, ResponsesDecoder) and decoder.says_more:
            whole = whole._replace(body=with_output(whole.body, lane.last))
        return whole

    def streamed(self, body: bytes, splice: Splice) -> tuple[bytes, Usage | None]:
        """The stream of an answer that came whole although a stream was asked for, and its usage."""
        decoder = self.decoder()
        out = splice.admit(decoder.whole(body))
        if not splice.committed:
            raise Malformed("an answer that shows nothing")
        return out, decoder.usage

    def remember(self, lane: Lane) -> None:
        """Keep what a later turn of this conversation has to replay."""
        self._keep_seals()
        if isinstance(lane, StreamLane | TranslatedLane) and lane.tapped:
            self._engine.memory.keep_answer(self._facts, fold(lane.tapped), self._scope)

    def _keep_seals(self) -> None:
        """Who has made what stands for a conversation, and who has proved that it reads it."""
        if isinstance(self._decoder, ResponsesDecoder):
            seals = self._decoder.compactions
            if self._inbound.request.compaction:
                seals = [*seals, *compactions_in(self._inbound.fields)]
            self._engine.memory.keep_seals(self._facts, seals)

    def judged(self, error: UpstreamError) -> UpstreamError:
        """What a failed attempt means for what was asked for."""
        inbound, facts = self._inbound, self._facts
        if not inbound.request.compaction:
            return error
        if inbound.operation == "compact":
            error = not_compacted(error)
        made_by = (self._engine.memory.made_by(seal.data) for seal in compactions_in(inbound.fields))
        its_own = (facts.provider.name, facts.maker_model) in made_by
        return error if its_own else not_its_own(error)

    @staticmethod
    def estimate(prompt_tokens: int, chars: int) -> Usage:
        """Usage where the provider reports none."""
        return Usage(prompt_tokens, max(1, chars // CHARS_PER_TOKEN), estimated=True)
