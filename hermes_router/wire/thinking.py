"""Reasoning that travels inside the content between tags, told apart from text.

Owns the splitter for `<think>…</think>` at the very start of an answer (providers.md 7). It must never look for tags
in the middle of one: there they are the model's own words.
"""

from collections.abc import Iterator
from typing import Literal

from hermes_router.core.events import BlockKind

_Place = Literal["before", "inside", "behind", "text"]


class TagSplitter:
    """Text in, (kind, text) out. An opening tag counts only as the first thing after white space.

    Templates that send the closing tag alone (DeepSeek-R1) are understood in whole answers, by `whole`. In a stream
    they cannot be: what came before the tag has been shown as text by then, and holding every answer back for a tag
    that may come is no stream.
    """

    __slots__ = ("_buffer", "_close", "_open", "_place")

    def __init__(self, open_tag: str, close_tag: str) -> None:
        self._open = open_tag
        self._close = close_tag
        self._buffer = ""
        self._place: _Place = "before"

    @property
    def settled(self) -> bool:
        """Whether everything from here on is text."""
        return self._place == "text"

    def feed(self, text: str) -> Iterator[tuple[BlockKind, str]]:
        """Split what has come so far; what may be half a tag waits."""
        self._buffer += text
        if self._place == "before" and not self._look_for_opening():
            return
        if self._place == "inside":
            yield from self._reasoning()
        if self._place == "behind":
            # Line feeds behind the closing tag belong to the template.
            self._buffer = self._buffer.lstrip("\n")
            if self._buffer:
                self._place = "text"
        if self._place == "text" and self._buffer:
            text, self._buffer = self._buffer, ""
            yield BlockKind.TEXT, text

    def whole(self, text: str) -> Iterator[tuple[BlockKind, str]]:
        """Split a whole answer: here a bare closing tag means that all before it was reasoning."""
        if not text.lstrip().startswith(self._open) and self._close in text:
            self._place = "inside"
        yield from self.feed(text)

    def finish(self) -> Iterator[tuple[BlockKind, str]]:
        """The answer is over: an open tag means that all was reasoning."""
        rest, self._buffer = self._buffer, ""
        if rest:
            yield (BlockKind.REASONING if self._place == "inside" else BlockKind.TEXT), rest
        self._place = "text"

    def _look_for_opening(self) -> bool:
        """Whether it is known how the answer begins."""
        head = self._buffer.lstrip()
        if len(head) < len(self._open) and self._open.startswith(head):
            return False  # nothing but white space and perhaps half a tag
        if head.startswith(self._open):
            self._place = "inside"
            self._buffer = head[len(self._open) :]
        else:
            self._place = "text"
        return True

    def _reasoning(self) -> Iterator[tuple[BlockKind, str]]:
        reasoning, tag, rest = self._buffer.partition(self._close)
        if tag:
            self._place, self._buffer = "behind", rest
        else:
            keep = _half_tag(self._buffer, self._close)
            at = len(self._buffer) - keep
            reasoning, self._buffer = self._buffer[:at], self._buffer[at:]
        if reasoning:
            yield BlockKind.REASONING, reasoning


def _half_tag(text: str, tag: str) -> int:
    """How many characters at the end of `text` may begin `tag`."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-size:]):
            return size
    return 0
