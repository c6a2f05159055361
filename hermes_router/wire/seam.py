"""The seam of a continued answer: how much of another attempt's text is new to the caller.

Owns the search for the place where a continuation joins what was shown (design.md 2.14), by prefill or by anchor, and
the white space at that place. A seam is proved or it is none: a reply that may as well have begun somewhere else is
`Unjoined`, never pasted. It must never know a target, a dialect, or how the order to go on was worded.
"""

import re
import unicodedata
from typing import Final, NamedTuple

from hermes_router.core.errors import Unjoined

__all__ = ["ANCHOR_CHARS", "WITHIN_CHARS", "Anchor", "Seam", "anchor_of"]

ANCHOR_CHARS: Final = 48
"""How much of the end of what was shown is asked for again, at least."""
WITHIN_CHARS: Final = 400
"""How far into the reply the anchor may begin, and how long repetitive text may make it."""
_FEW: Final = 12  # characters: fewer may stand anywhere by chance
_LINE: Final = 24  # characters: what a line that comes twice has at least, to be taken for more than chance
_WORD: Final = 24  # characters by which an anchor grows to begin with a whole word
_LIKE: Final = 16  # characters: a prefilled reply that begins so as the answer began has started anew
_SAME: Final = 64  # characters: the same of one that begins behind white space, as repeated lines do
_HINT: Final = 4  # characters: a whole text of as many is not said again by chance
_LONG_LINE: Final = 200
_FENCE: Final = re.compile(r"(?:^|\n)[ \t]*(```[^\n`]*)\n\s*$")
_QUOTED: Final = re.compile(r"[.,:;!?\u2026]?[\"'`\u201d\u2019\u00bb\u300d\u300f]|\n\s*(?:```|>>>)")
"""What follows an anchor that was quoted and nothing more, and in how many characters that is seen."""
_CLOSING: Final = 8
_QUOTES: Final = frozenset("\"'`<\u201c\u201d\u201e\u2018\u00ab\u00bb\u300c\u300e")
_LEADS: Final = frozenset(".:!?\u2026\u2014\u3002\uff1a\uff01")
"""What a preamble may end with on the anchor's own line; behind a quote or a mark, the anchor is only quoted."""


class Anchor(NamedTuple):
    """The end of what was shown. `unique` = it stands there once: a reply that holds it is at that place."""

    text: str
    unique: bool


def anchor_of(shown: str) -> Anchor:
    """The anchor of a text that was shown: its last characters, as many as it takes to be the only such place.

    Answers repeat lines, rows and indentation, so it grows by whole lines. White space at the end is no part of it.
    """
    core = shown.rstrip()
    first = _first(core)
    if len(core) - first < _FEW:
        return Anchor(core[first:], unique=False)
    start = at = _word_start(core, len(core) - ANCHOR_CHARS, first)
    while core.find(core[at:]) != at:  # the earliest such place is another
        at = _further(core, at, first)
        if len(core) - at > WITHIN_CHARS:
            return Anchor(core[start:], unique=False)
    return Anchor(core[at:], unique=True)


def _first(text: str) -> int:
    """How much white space a text begins with."""
    return len(text) - len(text.lstrip())


def _word_start(core: str, at: int, first: int) -> int:
    """The start of a word, not far from `at`; else of a character that can stand alone."""
    at = max(at, first)
    behind = at + _first(core[at:])
    if behind > at and len(core) - behind >= ANCHOR_CHARS - _WORD:
        return behind
    for place in range(at, max(first, at - _WORD) - 1, -1):
        if place > first and core[place - 1].isspace() and not core[place].isspace():
            return place
    while at > first and (core[at].isspace() or _hangs_on(core, at)):
        at -= 1
    return at


def _hangs_on(core: str, at: int) -> bool:
    """Whether a character is shown as one with the one before it."""
    return unicodedata.category(core[at])[0] == "M" or "\u200d" in core[at - 1 : at + 1]


def _further(core: str, at: int, first: int) -> int:
    """The start of this line, or of the one before it; in a line that is too long, a step back."""
    line = core.rfind("\n", 0, at) + 1
    line += _first(core[line:at])
    if line == at:  # nothing but white space before it: the line above
        above = len(core[:at].rstrip())
        line = core.rfind("\n", 0, above) + 1
        line += _first(core[line:above])
    if at - line <= _LONG_LINE:
        return line
    back = _word_start(core, at - ANCHOR_CHARS, first)
    return back if back < at else len(core[:at].rstrip()) - 1  # over a long gap, to what stands before it


class Seam:
    """Where a continuation joins what the caller has seen. Nothing comes out before that place is found.

    What becomes of a reply depends on all of its text, never on the pieces in which it came.
    """

    __slots__ = (
        "_anchor", "_at", "_core", "_ended", "_found", "_heard", "_held", "_missed", "_repeated", "_spaces", "_spare",
    )  # fmt: skip

    def __init__(
        self,
        shown: str,
        *,
        anchor: Anchor | None,
        echoed: bool = False,
        ended: bool = False,
        spare: int | None = None,
    ) -> None:
        """A seam behind `shown`.

        Args:
            shown: what the caller has seen of the text.
            anchor: what the reply was told to begin with; None = the text was handed over as a prefill.
            echoed: the target is known to repeat a prefill before it goes on.
            ended: the attempt that failed had closed its text, so that nothing may be left but tool calls.
            spare: how many characters the reply's cap leaves it for what was shown already; None = it has no cap.
        """
        self._core = shown.rstrip()
        self._spaces = shown[len(self._core) :]  # behind it, and shown: the reply may bring them again
        self._anchor = anchor
        self._ended = ended
        self._spare = spare
        self._heard = self._repeated = 0
        self._held = ""
        self._missed = False  # it joined nowhere, and only a call can mend that
        # The place in `core` that a reply has reached which repeats it; None = it does not, as far as is known.
        self._at = _first(self._core) if echoed and anchor is None else None
        self._found = not self._core

    @property
    def joined(self) -> bool:
        """Whether the place is found, and all that follows is new, as it comes."""
        return self._found and not self._spaces

    @property
    def wasted(self) -> bool:
        """Whether the reply's cap went for what was shown already: where it ends at that cap, the answer does not."""
        return self._spare is not None and self._repeated > self._spare

    def feed(self, text: str) -> str:
        """More of the reply's text: what of it is new to the caller. Raises Unjoined as soon as it is certain."""
        if self._found:
            return self._new(text)
        self._heard += len(text)
        if self._missed:
            return ""
        self._held += text
        try:
            self._look()
        except Unjoined:
            if not self._ended:
                raise
            self._missed = True  # the caller has the whole text: what else is said beside a call is not needed
        return self._released()

    def called(self) -> str:
        """A tool call opens: what was still held of the text. Raises Unjoined where the text cannot end here."""
        if not self._found:
            try:
                self._conclude(spoken=True)
            except Unjoined:
                if not self._ended:
                    raise
                self._held = ""
        return self._last()

    def finish(self) -> str:
        """The reply ended well, without a call: what was still held. Raises Unjoined where it joined nowhere."""
        if not self._found:
            self._conclude(spoken=bool(self._held.strip()))
        return self._last()

    def _last(self) -> str:
        self._found = True
        text = self._released()
        self._spaces = ""
        return text

    def _released(self) -> str:
        if not self._found:
            return ""
        held, self._held = self._held, ""
        self._repeated, self._heard = self._repeated + self._heard - len(held), 0
        return self._new(held)

    def _new(self, text: str) -> str:
        """The text without the white space that was shown already."""
        if not self._spaces or not text:
            return text
        same = _alike(text, self._spaces)
        self._spaces = self._spaces[same:] if same == len(text) else ""
        return text[same:]

    def _look(self) -> None:
        """Look for the place in what is held. Raises Unjoined."""
        if self._at is None:
            if self._anchor is None:
                self._begin()
            elif self._anchor.unique:
                self._search(self._anchor.text)
            else:
                self._open_with(self._anchor.text)
        if self._at is not None:
            self._follow(self._at)

    def _conclude(self, *, spoken: bool) -> None:
        """No more text comes. Raises Unjoined; `spoken` = something was said, or done."""
        if self._missed:
            raise Unjoined("the text was whole, and no call followed")
        if self._at is not None:
            if self._at > _first(self._core) or self._held.strip() or not spoken:
                raise Unjoined("it ended within what was shown")
        elif self._anchor is None:
            if not spoken:
                raise Unjoined("nothing was said")
            if self._starts_anew(self._held):
                raise Unjoined("it began as the answer had begun, and ended")
        else:
            found = self._place(self._anchor.text) if self._anchor.unique else None
            if found is None:
                raise Unjoined("the place to go on was not in it")
            self._held = self._held[found.end :]

    # -- a reply that repeats what was shown -----------------------------------------------------------

    def _follow(self, at: int) -> None:
        """Compare what is held with what was shown from `at` on, up to its end. Raises Unjoined."""
        core = self._core
        if at == _first(core):
            self._held = self._held.lstrip()
        said = self._held[: len(core) - at]
        if not core.startswith(said, at):
            raise Unjoined("it repeated what was shown, and departed from it")
        self._held = self._held[len(said) :]
        self._at = at + len(said)
        self._found = self._at == len(core)

    # -- by prefill ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Tell a reply that goes on from one that starts the answer anew. Raises Unjoined.

        A reply that starts anew begins so as the answer began. One that goes on may do that too, since answers repeat
        lines: then white space stands before it, or the text is known to repeat itself without.
        """
        core, held = self._core, self._held
        first = _first(core)
        reply = held[_first(held) :]
        head = core[first : first + _SAME]
        same = _alike(reply, head)
        if same == len(reply) < len(head):
            return  # all of it, so far
        spaces = held[: len(held) - len(reply)]
        anew = not spaces or spaces == core[:first]
        if same < len(head):
            if anew and self._starts_anew(reply[:same]):
                raise Unjoined("it began as the answer had begun, and departed from it")
        elif not anew:
            if len(head) >= _LINE and (len(head) < _SAME or core.find(head, first + 1) < 0):
                raise Unjoined("it may have started anew")
        elif not self._repeats(head):
            if len(head) < _HINT:
                raise Unjoined("it may have started anew")
            self._at = first
            return
        self._found = True

    def _starts_anew(self, said: str) -> bool:
        """Whether a reply that has `said` no more than this, as the answer began, has started anew."""
        return len(said) >= _LIKE and self._core.startswith(said, _first(self._core)) and not self._repeats(said)

    def _repeats(self, said: str) -> bool:
        """Whether the answer, which begins with this, goes on to say it again without white space between."""
        core = self._core
        at = core.find(said, _first(core) + 1)
        while at >= 0:
            if not core[at - 1].isspace():
                return True
            at = core.find(said, at + 1)
        return any(
            said.startswith(said[period:]) and not said[period - 1].isspace() for period in range(1, len(said) // 2 + 1)
        )

    # -- by anchor -------------------------------------------------------------------------------------

    def _open_with(self, anchor: str) -> None:
        """The anchor counts at the very beginning only. Raises Unjoined."""
        core = self._core
        if len(anchor) < len(core) - _first(core) and core.startswith(anchor, _first(core)):
            raise Unjoined("the text repeats itself: a reply that starts anew could not be told")
        reply = self._held.lstrip()
        if not anchor.startswith(reply[: len(anchor)]):
            raise Unjoined("it did not begin with the anchor")
        if len(reply) >= len(anchor):
            self._held = reply[len(anchor) :]
            self._found = True

    def _search(self, anchor: str) -> None:
        """The anchor counts wherever it is found. Raises Unjoined."""
        held, reach = self._held, WITHIN_CHARS + len(anchor)
        found = self._place(anchor)
        if found is None:
            if len(held) >= reach and anchor not in held[:reach]:
                self._overlap(held[:reach])
            elif len(held) >= reach + _CLOSING:
                raise Unjoined("the anchor was only quoted")
            return
        if not found.proved:  # it may have quoted the anchor, and will begin with it later
            behind = held[found.end : found.end + reach]
            again = behind.find(anchor)
            if again >= 0 and not self._is_line_again(behind[:again], anchor):
                raise Unjoined("the anchor came twice")
            if again < 0 and len(behind) < reach:
                return
        self._held = held[found.end :]
        self._found = True

    def _place(self, anchor: str) -> "_Found | None":
        """The place in what is held at which the text can be taken to go on, None where that has not come.

        Raises Unjoined where the anchor came, and what stands around it says that it is no such place.
        """
        held = self._held
        window = held[: WITHIN_CHARS + len(anchor)]
        at = window.find(anchor)
        while at >= 0:
            end = at + len(anchor)
            proved = self._judged(window[:at], len(self._core) - len(anchor))
            if proved is not None:
                return _Found(end, proved)
            behind = held[end : end + _CLOSING]
            if len(behind) < _CLOSING:
                return None
            if not _QUOTED.match(behind):
                raise Unjoined("the anchor was not at the beginning")
            at = window.find(anchor, at + 1)
        return None

    def _judged(self, before: str, end: int) -> bool | None:
        """What stands before the anchor: nothing, or what was shown before it (True), a preamble (False), or else."""
        own = self._core[max(0, end - len(before)) : end]
        overlap = _alike(before[::-1], own[::-1])
        told: bool | None = None
        for rest in (before[: len(before) - overlap], before):
            fence = _FENCE.search(rest)
            if fence is not None:
                if self._opened() != fence[1].strip():
                    continue  # a wrapping, whose end would stay
                rest = rest[: fence.start()] + "\n"  # noqa: PLW2901 - the block that is open, opened again
            said = rest.rstrip()
            if not said:
                return True
            if said[-1] not in _QUOTES and (said[-1] in _LEADS or "\n" in rest[len(said) :]):
                told = False
        return told

    def _opened(self) -> str | None:
        """The line that opened the code block in which what was shown ends, where it names a language."""
        fences = [line.strip() for line in self._core.split("\n") if line.lstrip().startswith("```")]
        return fences[-1] if len(fences) % 2 and fences[-1] != "```" else None

    def _is_line_again(self, between: str, anchor: str) -> bool:
        """Whether an anchor that comes twice is the answer's: it goes on, and then repeats a line.

        A reply that quoted it first would end its line there.
        """
        if between.removeprefix(" ")[:1].isalnum():
            return True
        line = between.strip()
        return bool(line) and self._core[: len(self._core) - len(anchor)].rstrip().endswith(line)

    def _overlap(self, window: str) -> None:
        """The reply may have begun long before the anchor: then follow it to the end. Raises Unjoined."""
        said = window.lstrip()
        at = self._core.find(said)
        if at < 0:
            raise Unjoined("the anchor was not in it")
        self._held = self._held[_first(self._held) :]
        self._at = at


class _Found(NamedTuple):
    """Where new text begins; `proved` = nothing speaks against it."""

    end: int
    proved: bool


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
