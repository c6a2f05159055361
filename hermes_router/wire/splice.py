"""How an attempt joins what the caller has seen: held back, shown, or suppressed.

Owns the commit point of a stream and the rule for another attempt (design.md 2.14): nothing visible, and one clean
stream starts; reasoning visible, and the next attempt goes on without showing reasoning again; text or calls visible,
and this version ends with an error event (continuation is a later issue, and belongs here). One per exchange. It must
never know a target.
"""

from hermes_router.core.errors import HermesError
from hermes_router.core.events import BlockKind, ChatEvent, Closed, Delta, Finish, Finished, Opened, Started
from hermes_router.wire.dialect import Encoder
from hermes_router.wire.shown import Shown

_CHARS_PER_TOKEN = 4


class Splice:
    """Holds events back until the first content, and cuts the visible text at the caller's own cap.

    `cap_tokens` is that cap where more was asked of the upstream than the caller allowed
    (REASONING_TOKEN_RESERVE); the visible text is measured at four characters a token, as the estimate is.
    White space is no content: an answer that holds nothing else is a failure, and must not have been shown.
    """

    def __init__(self, encoder: Encoder, *, cap_tokens: int | None = None) -> None:
        self.encoder = encoder
        self.shown = Shown()
        self.cap_chars: int | None = cap_tokens * _CHARS_PER_TOKEN if cap_tokens is not None else None
        self._held: list[ChatEvent] = []
        self._kind: BlockKind | None = None
        self._suppress = False
        self._own_identity = False
        self._raw = False  # what is shown was written by no encoder: none can go on with it
        self.committed = False
        self.capped = False
        self.passed = b""  # the last frame that was forwarded as it came
        self.tail: bytes | None = None  # the end of the stream as it came, where its frames are forwarded raw

    def begin(self, cap_tokens: int | None) -> None:
        """A new attempt starts."""
        self.cap_chars = cap_tokens * _CHARS_PER_TOKEN if cap_tokens is not None else None
        self._held.clear()
        self._kind = None
        if not self.committed:  # an earlier attempt was held: nothing of it was ever seen
            self.shown = Shown()
        self._suppress = self.shown.reasoning
        self.capped = False

    @property
    def may_restart(self) -> bool:
        """Whether another attempt may begin its answer anew."""
        return not self.committed or (self.shown.only_reasoning and not self._raw)

    @property
    def raw_lane(self) -> bool:
        """Whether an upstream frame may be forwarded as it came: its identity is what the caller has been shown."""
        return self.committed and not self._own_identity and not self._suppress and self.cap_chars is None

    # -- frames that are forwarded raw --------------------------------------------------------------------

    @property
    def takes_raw(self) -> bool:
        """Whether another answer's frames may be forwarded raw: nothing that they contradict has been shown."""
        return not (self.committed or self.encoder.id or self._suppress or self.cap_chars is not None)

    @staticmethod
    def would_show(events: list[ChatEvent]) -> bool:
        """Whether these events make something visible."""
        return any(
            (isinstance(event, Delta) and bool(event.text.strip()))
            or (isinstance(event, Opened) and event.kind is BlockKind.TOOL_CALL)
            for event in events
        )

    def note(self, events: list[ChatEvent]) -> None:
        """Tally what raw frames show."""
        for event in events:
            if isinstance(event, Started):
                self.encoder.identify(event.id, event.model, event.created)
            self._one(event)
        if not self._raw and self.shown.anything:
            self.committed = self._raw = True
            self.encoder.join(self.passed)

    def keep_alive(self, new_id: str, model: str, now: int) -> bytes:
        """A chunk for the silence. Before anyone has answered it carries the caller's model name and our id."""
        if not self.encoder.id:
            self.encoder.identify(new_id, model, now)
            self._own_identity = True
        if self._raw:
            self.encoder.join(self.passed)
        return self.encoder.keep_alive()

    def fail(self, error: HermesError, *, now: float) -> bytes:
        """The bad end, behind whatever has been shown. `now` in epoch seconds."""
        if self._raw:
            self.encoder.join(self.passed)
        return self.encoder.fail(error, now=now)

    def admit(self, events: list[ChatEvent]) -> bytes:
        """Render what may be seen of these events; the rest is held or dropped."""
        shown: list[ChatEvent] = []
        for event in events:
            if self.capped and not isinstance(event, Finished):
                continue
            visible = self._one(event)
            if visible is not None:
                shown.append(visible)
            if self.capped and self._kind is not None:
                self._kind = None
                shown.append(Closed())
        if not shown:
            return b""
        if not self.committed:
            self._held.extend(shown)
            if not self.shown.anything:
                return b""
            self.committed = True
            shown = [*self._held]
            self._held.clear()
        return self.encoder.encode(shown)

    def commit(self, started: Started) -> None:
        """From here on frames are shown that were not taken apart: the identity stands, and no other attempt joins."""
        self.encoder.identify(started.id, started.model, started.created)
        self.shown.started = self.committed = True
        self.shown.calls += 1

    def _one(self, event: ChatEvent) -> ChatEvent | None:
        match event:
            case Started():
                if self.shown.started:
                    self._own_identity = True
                    return None
                self.shown.started = True
                return event
            case Opened(kind=kind):
                self._kind = kind
                if kind is BlockKind.REASONING and self._suppress:
                    return None
                if kind is BlockKind.TOOL_CALL:
                    self.shown.calls += 1
                return event
            case Delta(text=text):
                return self._delta(event, text)
            case Closed():
                hidden = self._kind is BlockKind.REASONING and self._suppress
                self._kind = None
                return None if hidden else event
            case Finished():
                return Finished(Finish.LENGTH, "length") if self.capped else event
            case _:
                return event

    def _delta(self, event: Delta, text: str) -> ChatEvent | None:
        if self._kind is BlockKind.REASONING:
            if self._suppress:
                return None
            self.shown.reasoning = self.shown.reasoning or bool(text.strip())
            return event
        if self._kind is BlockKind.TEXT:
            if self.cap_chars is not None and self.shown.chars + len(text) > self.cap_chars:
                text = text[: max(0, self.cap_chars - self.shown.chars)]
                self.capped = True
                if not text:
                    return None
                event = Delta(text)
            self.shown.add(text)
        return event
