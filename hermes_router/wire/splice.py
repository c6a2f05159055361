"""How attempts join what the caller has seen: held back, shown, hidden, or joined at a seam.

Owns the commit point of a stream and the rule for another attempt (design.md 2.14). One per exchange. It must never
know a target.

What cannot be seen by itself (an identity, the ends of blocks) waits for what can, and tool calls wait for a good end.
What waits when an attempt fails was never said; so whatever fails, the caller stands within a text or a thought.
"""

from typing import Literal

from hermes_router.core.errors import HermesError, Unjoined
from hermes_router.core.events import (
    CHARS_PER_TOKEN,
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Finish,
    Finished,
    Opened,
    Started,
    UsageSeen,
)
from hermes_router.wire.broken_calls import without_broken_calls
from hermes_router.wire.dialect import Encoder
from hermes_router.wire.seam import Seam
from hermes_router.wire.shown import Shown

__all__ = ["Splice", "Way"]


Way = Literal["anew", "on", "stop"]
"""What another attempt has to do: answer anew, go on behind the text shown, or not be made."""


class Splice:
    """Decides what of the attempts' events is seen, and cuts the visible text at the caller's own cap.

    `cap_tokens` is that cap where more was asked of the upstream than the caller allowed
    (REASONING_TOKEN_RESERVE); the visible text is measured at four characters a token, as the estimate is.
    White space is no content: an answer that holds nothing else is a failure, and must not have been shown.
    `live_calls` = tool calls are shown as they come (STREAM_TOOL_ARGS=live). `continues` = a text may be gone on with
    by another attempt.
    """

    def __init__(
        self, encoder: Encoder, *, cap_tokens: int | None = None, live_calls: bool = False, continues: bool = True
    ) -> None:
        self.encoder = encoder
        self.shown = Shown()
        self.cap_chars: int | None = cap_tokens * CHARS_PER_TOKEN if cap_tokens is not None else None
        self.live_calls = live_calls
        self._continues = continues
        self._held: list[ChatEvent] = []
        self._held_chars = 0
        self._kind: BlockKind | None = None  # the block that the attempt has open
        self._waits = False  # the attempt has called a tool: the rest of it waits for its end
        self._flows = False  # more text of the open block is shown as it comes
        self._seam: Seam | None = None  # not found yet
        self._joint: Seam | None = None  # found or not
        self._carried = False  # the caller's open text is an earlier attempt's
        self._hides = False  # the attempt's thoughts are not shown
        self._own_identity = False
        self._raw = False  # what is shown was written by the provider
        self._shown_before = 0
        self._unshown = 0
        self.spoke = False  # the attempt has said something, shown or not
        self.text_ended = False  # the text shown is known to be all of it: a call has followed
        self.committed = False
        self.capped = False
        self.passed = b""  # the last frame that was forwarded as it came
        self.tail: bytes | None = None  # the end of the stream as it came, where its frames are forwarded raw

    # -- from one attempt to the next ------------------------------------------------------------------

    def begin(self, cap_tokens: int | None, seam: Seam | None = None) -> None:
        """A new attempt starts; with a `seam`, it goes on behind the text that is shown."""
        self.cap_chars = cap_tokens * CHARS_PER_TOKEN if cap_tokens is not None else None
        if not self.committed:  # an earlier attempt was held: nothing of it was ever seen
            self.shown = Shown()
        self.take_over()
        self._held.clear()
        self._held_chars = 0
        self._kind = None
        self._waits = self._flows = self.capped = self.spoke = False
        self._seam = self._joint = seam
        self._carried = seam is not None and self.shown.inside is BlockKind.TEXT
        self._hides = self.shown.reasoning or seam is not None
        self._shown_before = self.shown.chars + self.shown.beside
        self._unshown = 0

    @property
    def way(self) -> Way:
        """What an attempt after a failed one has to do."""
        if not self.committed:
            return "anew"
        if self.shown.calls:
            return "stop"
        if self.shown.blank:
            return "anew"  # but its thoughts are hidden
        return "on" if self._continues else "stop"

    @property
    def goes_on(self) -> bool:
        """Whether the attempt under way goes on behind an earlier one's text."""
        return self._seam is not None

    @property
    def shown_chars(self) -> int:
        """How many characters of the attempt the caller sees."""
        return self.shown.chars + self.shown.beside - self._shown_before

    @property
    def said_chars(self) -> int:
        """How many characters the attempt has said, as far as they were decoded, seen or not."""
        return self.shown_chars + self._unshown + self._held_chars

    # -- frames that are forwarded raw -----------------------------------------------------------------

    @property
    def raw_lane(self) -> bool:
        """Whether a Chat frame of text may be forwarded as it came: its identity is what the caller has been shown."""
        return self._flows and not self._own_identity and not self._hides

    @property
    def takes_raw(self) -> bool:
        """Whether another answer's frames may be forwarded raw: nothing that they contradict has been shown."""
        return not (self.committed or self.encoder.id or self._hides or self.cap_chars is not None)

    def would_show(self, events: list[ChatEvent], *, behind: bool) -> bool:
        """Whether these events of a raw frame make something visible at once; `behind` = others wait before it."""
        inside = not behind and self.shown.inside is not None
        for event in events:
            match event:
                case Delta(text=text):
                    if inside or text.strip():
                        return True
                case Opened(kind=BlockKind.TOOL_CALL):
                    return self.live_calls
                case Opened() | Closed():
                    inside = False
                case _:
                    pass
        return False

    def hear(self, events: list[ChatEvent]) -> None:
        """A raw frame that waits."""
        for event in events:
            match event:
                case Opened(kind=BlockKind.TOOL_CALL):
                    self.spoke = True
                    self._waits = True
                    self.text_ended = not self.shown.blank
                case Delta(text=text) if self._waits:
                    self._unshown += len(text)
                case _:
                    pass

    @property
    def waits(self) -> bool:
        """Whether a tool call has begun, so that the rest of the answer waits for its end."""
        return self._waits

    def pass_raw(self, frame: bytes, events: list[ChatEvent]) -> None:
        """A provider's own frame is shown, which is more than text of the open block."""
        self.passed = frame
        unseen: list[ChatEvent] = []
        for event in events:
            if isinstance(event, Started):
                self.encoder.identify(event.id, event.model, event.created)
            elif isinstance(event, Delta) and self._waits:
                self._unshown -= len(event.text)
            self._show(event, unseen)
        self.encoder.follow(frame)
        self._kind = self.shown.inside
        if self.shown.inside is BlockKind.TEXT:
            self.text_ended = False
        if self.shown.anything:
            self.committed = self._raw = self.spoke = True

    def take_over(self) -> None:
        """No more raw frames come: the encoder goes on from where they stopped."""
        if self._raw:
            self.encoder.join(self.passed)
            self.encoder.resume(self.shown.block)
            self._raw = False
            self._own_identity = True

    def commit(self, started: Started) -> None:
        """From here on frames are shown that were not taken apart: the identity stands, and no other attempt joins."""
        self.encoder.identify(started.id, started.model, started.created)
        self.committed = True
        self.shown.calls += 1

    # -- what is written beside the attempts -----------------------------------------------------------

    def keep_alive(self, new_id: str, model: str, now: int) -> bytes:
        """A chunk for the silence. Before anyone has answered it carries the caller's model name and our id."""
        if not self.encoder.id:
            self.encoder.identify(new_id, model, now)
            self._own_identity = True
        if self._raw:
            self.encoder.join(self.passed)
        return self.encoder.keep_alive()

    def fail(self, error: HermesError, *, now: float, request_id: str = "") -> bytes:
        """The bad end, behind whatever has been shown. `now` in epoch seconds."""
        if self._raw:
            self.encoder.join(self.passed)
        return self.encoder.fail(error, now=now, request_id=request_id)

    # -- events ----------------------------------------------------------------------------------------

    def admit(self, events: list[ChatEvent]) -> bytes:
        """Render what may be seen of these events; the rest waits or is dropped. Raises Unjoined."""
        if self._flows and len(events) == 1:
            event = events[0]
            if type(event) is Delta:  # the hot path
                self.shown.add(event.text)
                return self.encoder.encode(events)
        out: list[ChatEvent] = []
        for each in events:
            if not self.capped or isinstance(each, Finished):
                self._take(each, out)
        self._flows = (
            self._kind is BlockKind.TEXT is self.shown.inside
            and self._seam is None
            and self.cap_chars is None
            and not self._held
        )
        return self.encoder.encode(out) if out else b""

    def _take(self, event: ChatEvent, out: list[ChatEvent]) -> None:
        match event:
            case Started():
                if self.committed:
                    self._own_identity = True
                else:
                    self._held.append(event)
            case Opened(kind=kind):
                self._open(event, kind, out)
            case Delta():
                self._delta(event, out)
            case Closed():
                self._close(event)
            case Finished():
                self._finish(event, out)
            case UsageSeen():
                if not self.committed:
                    self._held.append(event)
            case _:
                out.append(event)

    def _open(self, event: Opened, kind: BlockKind, out: list[ChatEvent]) -> None:
        self._kind = kind
        if kind is BlockKind.TOOL_CALL:
            self.spoke = True
            if self._seam is not None:
                self._join(self._seam.called())
            self._carried = False  # text behind a call is a block of its own
            self.text_ended = not self.shown.blank
            self._waits = not self.live_calls
        elif kind is BlockKind.REASONING:
            if self._hides:
                return
        elif self._carried:
            self._carried = False
            return
        self._held.append(event)
        if kind is BlockKind.TOOL_CALL and self.live_calls:
            self._release(out)

    def _delta(self, event: Delta, out: list[ChatEvent]) -> None:
        text, kind = event.text, self._kind
        self.spoke = self.spoke or bool(text.strip())
        if kind is BlockKind.REASONING and self._hides:
            self._unshown += len(text)
            return
        if kind is BlockKind.TEXT and self._seam is not None:
            text = self._joined(text)
            if not text:
                return
            event = Delta(text)
        goes_on = kind is self.shown.inside and not self._held
        if self._waits or not (goes_on or text.strip()):
            self._held.append(event)
            self._held_chars += len(text)
            return
        if kind is BlockKind.TEXT:
            self.text_ended = False
        self._held.append(event)
        self._release(out)

    def _joined(self, text: str) -> str:
        """What of a continuation's text is new. Raises Unjoined."""
        seam = self._seam
        if seam is None:
            return text
        self._unshown += len(text)
        new = seam.feed(text)
        self._unshown -= len(new)
        if seam.joined:
            self._seam = None
        return new

    def _join(self, text: str) -> None:
        """The seam is found behind the text: what it had kept back goes before whatever waits."""
        self._seam = None
        if not text:
            return
        self._unshown -= len(text)
        place = next((n for n, event in enumerate(self._held) if isinstance(event, Closed)), len(self._held))
        self._held.insert(place, Delta(text))
        self._held_chars += len(text)
        if self.shown.inside is not BlockKind.TEXT and not any(isinstance(each, Opened) for each in self._held[:place]):
            self._held.insert(place, Opened(BlockKind.TEXT))

    def _close(self, event: Closed) -> None:
        kind, self._kind = self._kind, None
        if kind is BlockKind.REASONING and self._hides:
            return
        if event.citations and self._joint is not None:
            event = Closed(event.seal)  # they count from where this attempt began
        self._held.append(event)

    def _finish(self, event: Finished, out: list[ChatEvent]) -> None:
        """A good end: all that waits is said. Where there is nothing at all to see, nothing is."""
        if self._seam is not None:
            self._join(self._seam.finish())
        if event.reason is Finish.LENGTH and self._joint is not None and self._joint.wasted:
            raise Unjoined("its cap went for what had been shown")
        cut = False
        if self._waits and event.reason is Finish.LENGTH:
            self._held, cut = without_broken_calls(self._held)
        if not (self.committed or cut or any(map(_is_seen, self._held))):
            return
        self._release(out)
        if self.capped:
            event = Finished(Finish.LENGTH, "length")
        self._show(event, out)

    def _release(self, out: list[ChatEvent]) -> None:
        held, self._held, self._held_chars = self._held, [], 0
        self.committed = True
        for event in held:
            if self.capped:
                break
            self._show(event, out)

    def _show(self, event: ChatEvent, out: list[ChatEvent]) -> None:
        """The caller sees this; blocks stand one behind another, whoever's they are."""
        shown = self.shown
        match event:
            case Opened(kind=kind):
                if shown.inside is not None:
                    out.append(Closed())
                shown.open(kind)
            case Delta(text=text):
                self._tell(text, event, out)
                return
            case Closed():
                if shown.inside is None:
                    return
                shown.inside = None
            case Finished():
                if shown.inside is not None:
                    shown.inside = None
                    out.append(Closed())
            case _:
                pass
        out.append(event)

    def _tell(self, text: str, event: Delta, out: list[ChatEvent]) -> None:
        shown = self.shown
        match shown.inside:
            case BlockKind.TEXT:
                if self.cap_chars is None or shown.chars + len(text) <= self.cap_chars:
                    shown.add(text)
                    out.append(event)
                    return
                text = text[: max(0, self.cap_chars - shown.chars)]
                self.capped = True
                if text:
                    shown.add(text)
                    out.append(Delta(text))
                shown.inside = None
                out.append(Closed())
            case BlockKind.REASONING:
                shown.think(text)
                out.append(event)
            case _:
                shown.beside += len(text)
                out.append(event)


def _is_seen(event: ChatEvent) -> bool:
    if isinstance(event, Delta):
        return bool(event.text.strip())
    return isinstance(event, Opened) and event.kind is BlockKind.TOOL_CALL
