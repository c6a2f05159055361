"""The neutral stream of an answer: started, blocks one after another, finished or failed.

Owns the event alphabet and `fold()`. What is made for every request or chunk is a named tuple: a frozen dataclass takes
three times as long to make. Grammar, checked by one test helper for every decoder:
`stream := Started Block* (Finished | Failed)`, `Block := Opened Delta* Closed`, `UsageSeen` anywhere, never
decreasing. It must never know a wire format.
"""

import enum
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from hermes_router.core.content import Seal
from hermes_router.core.errors import UpstreamError

CHARS_PER_TOKEN: Final = 4
"""What a token is taken for where nobody has counted: a cap that is kept here, and usage that nobody reported."""


class BlockKind(enum.StrEnum):
    """What a block holds."""

    TEXT = "text"
    REASONING = "reasoning"
    TOOL_CALL = "tool_call"


class Finish(enum.StrEnum):
    """Why an answer ended well, unified over dialects; the provider's own word is kept beside it."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Usage(NamedTuple):
    """Tokens of one answer.

    `input_tokens` counts the whole prompt, read from and written to a cache included; `output_tokens` includes
    reasoning. `estimated` = counted by us, not reported.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    written_tokens: int = 0


class Started(NamedTuple):
    """The upstream has begun an answer; `id`, `model` and `created` (epoch seconds) are its own."""

    id: str
    model: str
    created: int


class Citation(NamedTuple):
    """A page that a text rests on: from character `start` of its block up to `end`."""

    url: str
    title: str
    start: int
    end: int


class Opened(msgspec.Struct, frozen=True):
    """A block begins. Tool calls carry their id and name, whole; `extras` what only the Chat dialect understands.

    The call of a `custom` tool takes free text: its deltas are that text, not JSON. A text that is a `refusal` is told
    apart where a dialect can.
    """

    kind: BlockKind
    call_id: str = ""
    name: str = ""
    extras: dict[str, object] = msgspec.field(default_factory=dict)
    custom: bool = False
    refusal: bool = False


class Delta(NamedTuple):
    """More of the open block: text, reasoning text, or JSON text of arguments."""

    text: str


class Closed(NamedTuple):
    """The open block ends; a thought with the `seal` that its maker put on it, a text with its `citations`, if any."""

    seal: Seal | None = None
    citations: tuple[Citation, ...] = ()


class UsageSeen(NamedTuple):
    """Usage so far."""

    usage: Usage


class Finished(NamedTuple):
    """The answer ended well; `raw` is the provider's own word, `stop_sequence` the one that was met, if it was told."""

    reason: Finish
    raw: str = ""
    stop_sequence: str | None = None


class Failed(NamedTuple):
    """The answer did not end well."""

    error: UpstreamError


ChatEvent = Started | Opened | Delta | Closed | UsageSeen | Finished | Failed


class Block(msgspec.Struct):
    """One folded block."""

    kind: BlockKind
    text: str = ""
    call_id: str = ""
    name: str = ""
    extras: dict[str, object] = msgspec.field(default_factory=dict)
    seal: Seal | None = None
    custom: bool = False
    refusal: bool = False
    citations: tuple[Citation, ...] = ()


class Answer(msgspec.Struct):
    """A whole answer, folded from its events. Exactly one of `finish` and `error` is set at the end."""

    id: str = ""
    model: str = ""
    created: int = 0
    blocks: list[Block] = msgspec.field(default_factory=list)
    usage: Usage | None = None
    finish: Finish | None = None
    error: UpstreamError | None = None
    raw_finish: str = ""
    stop_sequence: str | None = None

    def text(self, kind: BlockKind = BlockKind.TEXT) -> str:
        """All text of the blocks of one kind, joined."""
        return "".join(b.text for b in self.blocks if b.kind is kind)


def fold(events: Iterable[ChatEvent]) -> Answer:
    """Collect a stream into one answer; raises ValueError where the stream breaks the grammar."""
    answer = Answer()
    open_block: Block | None = None
    parts: list[str] = []
    for event in events:
        match event:
            case Started(id=new_id, model=model, created=created):
                answer.id, answer.model, answer.created = new_id, model, created
            case Opened(kind=kind, call_id=call_id, name=name, extras=extras, custom=custom, refusal=refusal):
                if open_block is not None:
                    raise ValueError("a block opened inside another")
                open_block = Block(kind, "", call_id, name, extras, custom=custom, refusal=refusal)
                parts = []
            case Delta(text=text):
                if open_block is None:
                    raise ValueError("a delta outside a block")
                parts.append(text)
            case Closed(seal=seal, citations=citations):
                if open_block is None:
                    raise ValueError("closed without a block")
                open_block.text = "".join(parts)
                open_block.seal = seal
                open_block.citations = citations
                answer.blocks.append(open_block)
                open_block = None
            case UsageSeen(usage=usage):
                answer.usage = usage
            case Finished(reason=reason, raw=raw, stop_sequence=stop_sequence):
                answer.finish, answer.raw_finish, answer.stop_sequence = reason, raw, stop_sequence
            case Failed(error=error):
                answer.error = error
    if open_block is not None:
        open_block.text = "".join(parts)
        answer.blocks.append(open_block)
    return answer
