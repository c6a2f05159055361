"""What the caller has been shown, kept by every lane.

Owns the tally that a later attempt is measured against. It must never know whence the content came.
"""

import msgspec

from hermes_router.core.events import BlockKind


class Shown(msgspec.Struct):
    """All that is visible to the caller so far. Text is kept in pieces; `chars` counts its characters.

    `inside` is the kind of the block that the caller sees open, None between blocks. `calls` counts tool calls begun,
    `beside` the characters that were shown of thoughts and calls. `blank` = there is no text yet, or nothing but white
    space.
    """

    reasoning: bool = False
    calls: int = 0
    pieces: list[str] = msgspec.field(default_factory=list)
    chars: int = 0
    beside: int = 0
    blank: bool = True
    inside: BlockKind | None = None
    _from: int = 0  # where the open text begins among the pieces
    _thought: list[str] = msgspec.field(default_factory=list)  # of the open thought

    @property
    def anything(self) -> bool:
        """Whether anything of the answer itself is visible: failover would be seen."""
        return self.reasoning or self.calls > 0 or not self.blank

    @property
    def text(self) -> str:
        """The text shown."""
        return "".join(self.pieces)

    @property
    def block(self) -> str:
        """What the open block, a text or a thought, has shown so far; "" where none is open."""
        match self.inside:
            case BlockKind.TEXT:
                return "".join(self.pieces[self._from :])
            case BlockKind.REASONING:
                return "".join(self._thought)
            case _:
                return ""

    def open(self, kind: BlockKind) -> None:
        """A block became visible."""
        self.inside = kind
        self._from = len(self.pieces)
        self._thought.clear()
        if kind is BlockKind.TOOL_CALL:
            self.calls += 1

    def add(self, text: str) -> None:
        """More text became visible."""
        self.pieces.append(text)
        self.chars += len(text)
        if self.blank:
            self.blank = not text.strip()

    def think(self, text: str) -> None:
        """More of a thought became visible."""
        self._thought.append(text)
        self.beside += len(text)
        self.reasoning = self.reasoning or bool(text.strip())
