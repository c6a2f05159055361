"""Reasoning that travels inside the content between tags, told apart from text.

Owns the splitter for `<think>…</think>` at the very start of an answer (providers.md 7). It must never look for tags
in the middle of one: there they are the model's own words.
"""

from collections.abc import Iterator

from hermes_router.core.events import BlockKind


class TagSplitter:
    """Text in, (kind, text) out. A tag counts only as the first thing after white space."""

    __slots__ = ("_buffer", "_close", "_inside", "_open", "settled")

    def __init__(self, open_tag: str, close_tag: str) -> None:
        self._open = open_tag
        self._close = close_tag
        self._buffer = ""
        self._inside = False
        self.settled = False  # from here on, everything is text

    def feed(self, text: str) -> Iterator[tuple[BlockKind, str]]:
        """Split what has come so far; what may be half a tag waits."""
        self._buffer += text
        if not self._inside and not self.settled:
            head = self._buffer.lstrip()
            if self._open.startswith(head[: len(self._open)]) and len(head) < len(self._open):
                return  # nothing but white space and perhaps half a tag
            if head.startswith(self._open):
                self._inside = True
                self._buffer = head[len(self._open) :]
            else:
                self.settled = True
        if self._inside:
            yield from self._reasoning()
        if self.settled and self._buffer:
            text, self._buffer = self._buffer, ""
            yield BlockKind.TEXT, text

    def _reasoning(self) -> Iterator[tuple[BlockKind, str]]:
        at = self._buffer.find(self._close)
        if at >= 0:
            reasoning, rest = self._buffer[:at], self._buffer[at + len(self._close) :]
            self._inside, self.settled = False, True
            self._buffer = rest.lstrip("\n")
        else:
            keep = _half_tag(self._buffer, self._close)
            reasoning, self._buffer = (
                self._buffer[: len(self._buffer) - keep],
                self._buffer[len(self._buffer) - keep :],
            )
        if reasoning:
            yield BlockKind.REASONING, reasoning

    def finish(self) -> Iterator[tuple[BlockKind, str]]:
        """The answer is over: an open tag means that all was reasoning."""
        rest, self._buffer = self._buffer, ""
        if rest:
            yield (BlockKind.REASONING if self._inside else BlockKind.TEXT), rest
        self.settled = True


def _half_tag(text: str, tag: str) -> int:
    """How many characters at the end of `text` may begin `tag`."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-size:]):
            return size
    return 0
