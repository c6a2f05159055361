"""What the caller has been shown, kept by every lane.

Owns the tally that a later attempt is measured against. It must never know whence the content came.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Shown:
    """All that is visible to the caller so far; `calls` counts tool calls begun. Text is kept in pieces.

    `blank` = there is no text yet, or nothing but white space.
    """

    started: bool = False
    reasoning: bool = False
    calls: int = 0
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    blank: bool = True

    @property
    def anything(self) -> bool:
        """Whether anything of the answer itself is visible: failover would be seen."""
        return self.reasoning or self.calls > 0 or not self.blank

    @property
    def only_reasoning(self) -> bool:
        """Whether another attempt may start anew, if it does not show its reasoning."""
        return self.calls == 0 and self.blank

    @property
    def text(self) -> str:
        """The text shown."""
        return "".join(self.pieces)

    def add(self, text: str) -> None:
        """More text became visible."""
        self.pieces.append(text)
        self.chars += len(text)
        if self.blank:
            self.blank = not text.strip()
