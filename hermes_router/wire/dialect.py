"""What a dialect is: the callables that read it and write it, on the caller's side and on the provider's.

Owns the Protocols that every dialect's modules satisfy (design.md 2.4); the table of them is in `dialects.py`. It must
never know a wire format.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from hermes_router.core.catalog import DialectName, TargetFacts
from hermes_router.core.content import Conversation
from hermes_router.core.errors import HermesError, UpstreamError
from hermes_router.core.events import Answer, ChatEvent, Usage
from hermes_router.wire.chat.outgoing import Options, Recall
from hermes_router.wire.chat.outgoing import Rendered as Outgoing
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.openai_errors import Rendered
from hermes_router.wire.plain_answers import ReadPlain
from hermes_router.wire.sse import Frame

__all__ = ["Decoder", "Dialect", "Encoder", "InBand", "NewId"]

InBand = Callable[[object], UpstreamError]
"""Classifies an error object that was found inside a 200."""
NewId = Callable[[str], str]
"""A new id that begins with the prefix given."""


class Decoder(Protocol):
    """One upstream answer to neutral events, in the grammar of core/events.py.

    `id`, `model` and `created` are the upstream's own once `started`; `usage` is what it has reported so far, never
    decreasing; `over` once the end was said.
    """

    id: str
    model: str
    created: int
    started: bool
    over: bool
    usage: Usage | None
    has_text: bool
    has_reasoning: bool

    def feed(self, frame: Frame) -> list[ChatEvent]:
        """The events of one frame, the last of them Finished once the end has come. Raises the UpstreamError it is.

        A frame without data, and one of an unknown type, is nothing.
        """
        ...

    def plain_text(self, data: bytes) -> str | None:
        """The text of a payload that is nothing but more text of the open text block, else None: then `feed` it.

        Counts as read; only for a payload without line ends.
        """
        ...

    def mend(self, data: bytes) -> bytes:
        """The payload of a frame that was fed, as SDKs can read it: mostly as it came."""
        ...

    def finish_stream(self, *, clean: bool) -> list[ChatEvent]:
        """The body is over, by its framing (`clean`) or not: Finished, or Failed. Nothing once `over`."""
        ...

    def whole(self, body: bytes) -> list[ChatEvent]:
        """A unary answer as events, Finished included. Raises the UpstreamError that it is."""
        ...


class Encoder(Protocol):
    """The caller's stream: neutral events to the bytes of its dialect.

    `origin` (`provider/model`) is who answers now; it goes into the marks on thoughts (seals.py).
    """

    id: str
    model: str
    created: int
    origin: str
    id_prefix: str

    def identify(self, new_id: str, model: str, created: int) -> None:
        """Fix what the stream says of itself. The id and time of the first call stand; the model may change once."""
        ...

    def keep_alive(self) -> bytes:
        """An event that says nothing (contract.md, Keep-alives); `identify` was called before."""
        ...

    def encode(self, events: list[ChatEvent]) -> bytes:
        """Render events. What ends the stream waits for `end`, which knows the usage."""
        ...

    def join(self, frame: bytes) -> None:
        """The provider's own frames are being shown, `frame` last: the stream has begun, `encode` is called no more.

        Called before whatever is written among them. `end` writes what their last one would have been, and is called
        only where that did not come.
        """
        ...

    def follow(self, frame: bytes) -> None:
        """Keep step with a whole event of the provider's own that is shown: any but plain text of the open block.

        In the order in which they are shown, each once. Never raises.
        """
        ...

    def resume(self, text: str) -> None:
        """The provider's own frames end here, in mid-block, and `encode` goes on; `join` was called before.

        `text` is what the events of the open block (text or a thought) have said. What is encoded next belongs to that
        block until Closed or another Opened comes; `end` writes a whole end; a later `join` is nothing. Where no block
        is open, the next Delta begins one of text.
        """
        ...

    def end(self, usage: Usage) -> bytes:
        """The good end, after Finished was encoded."""
        ...

    def fail(self, error: HermesError, *, now: float, request_id: str = "") -> bytes:
        """The bad end: the dialect's error event, never anything that looks like a good one. `now`: epoch seconds.

        `request_id` is shown by the dialect that has it in the body.
        """
        ...


class MakeEncoder(Protocol):
    """Makes the encoder of one exchange."""

    def __call__(self, inbound: Inbound, *, prompt_tokens: int, new_id: NewId, now: int) -> Encoder:
        """`prompt_tokens` as estimated, for dialects that tell it at the start; `now` in epoch seconds."""
        ...


class RenderAnswer(Protocol):
    """A whole answer in the caller's dialect."""

    def __call__(
        self, answer: Answer, usage: Usage, inbound: Inbound, *, origin: str, new_id: NewId, now: int
    ) -> bytes:
        """`origin` as in Encoder."""
        ...


class MakeDecoder(Protocol):
    """Makes the decoder of one attempt."""

    def __call__(self, in_band: InBand, *, new_id: NewId, now: int, model: str, origin: str) -> Decoder:
        """`model` is shown where the upstream names none; `origin` goes into seals."""
        ...


class RenderError(Protocol):
    """One of our errors as an HTTP answer of the dialect."""

    def __call__(self, error: HermesError, *, now: float, request_id: str = "") -> Rendered:
        """`now` in epoch seconds, for the waits."""
        ...


class ErrorEvent(Protocol):
    """One of our errors as an event of a stream that nothing else is known of."""

    def __call__(self, error: HermesError, *, now: float, request_id: str = "") -> bytes:
        """`now` in epoch seconds; `request_id` for the dialect that shows it in the body."""
        ...


class Dialect(NamedTuple):
    """One dialect, both sides of it.

    Attributes:
        path: what is appended to a provider's base URL.
        read: the caller's fields as neutral content. Raises BadRequest with the path of what is wrong.
        encoder, render_answer: the answer to the caller.
        compose: neutral content as this dialect's body for one target. Raises Inexpressible (a RequestRejected) where
            the target cannot express what was asked for and the meaning would change.
        pass_on: the caller's own fields of this same dialect, fitted to one target: what we do not know survives.
        decoder: the answer of a provider.
        plain: a provider's whole answer that is text alone, read in one step; None for any other.
        render_error, error_event: a failure of ours, told to the caller.
    """

    name: DialectName
    path: str
    read: Callable[[Inbound], Conversation]
    encoder: MakeEncoder
    render_answer: RenderAnswer
    compose: Callable[[Conversation, TargetFacts, Options, Recall], Outgoing]
    pass_on: Callable[[Inbound, TargetFacts, Options, Recall], Outgoing]
    decoder: MakeDecoder
    plain: ReadPlain
    render_error: RenderError
    error_event: ErrorEvent
