"""A page of the manual as plain text, for a machine that has neither man nor mandoc.

Owns the little of mdoc(7) that our own pages use. It must never be taken for a formatter of other people's pages.
"""

import re
import textwrap
from typing import Final

__all__ = ["plain"]

_WIDTH: Final = 78
_STEP: Final = 4
_PUNCTUATION: Final = frozenset(".,;:?!)")
_TOKEN: Final = re.compile(r'"([^"]*)"|(\S+)')
_ESCAPES: Final = (
    (re.compile(r"\\f[A-Z]"), ""),
    (re.compile(r"\\&"), ""),
    (re.compile(r"\\\(dq"), '"'),
    (re.compile(r"\\e"), "\\\\"),
)
# Macros whose words are shown as they are, but for a sign.
_WORDS: Final = frozenset({"Ar", "Cm", "Dv", "Em", "Ev", "Fl", "Ic", "Lk", "Nm", "Pa", "Ql", "Sy", "Xr"})


class _Page:
    """The text so far, a paragraph under way, and how deep in lists it is."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.words: list[str] = []
        self.name = ""
        self.depth = 0
        self.number: list[int] = []
        self.literal = False
        self.compact: list[bool] = []

    def flush(self, *, gap: bool = False) -> None:
        """End the paragraph; `gap` = with an empty line behind it."""
        if self.words:
            indent = " " * (_STEP * (1 + self.depth))
            self.lines += textwrap.wrap(
                " ".join(self.words), _WIDTH, initial_indent=indent, subsequent_indent=indent,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
            self.words = []
        if gap and self.lines and self.lines[-1]:
            self.lines.append("")

    def head(self, text: str, depth: int) -> None:
        """A line of its own, at `depth` steps."""
        self.lines.append((" " * (_STEP * depth) + text).rstrip())

    def macro(self, name: str, rest: str) -> None:
        """One line that begins with a dot."""
        match name:
            case "Dt":
                self.name = rest.partition(" ")[0].lower()
                self.lines.append(rest.replace(" ", "(", 1) + ")")
            case "Sh" | "Ss":
                self.flush(gap=True)
                self.head(rest, 0 if name == "Sh" else 1)
                self.depth = 0
            case "Pp":
                self.flush(gap=True)
            case "Bl":
                self.flush()
                self.number.append(1 if "-enum" in rest else 0)
                self.compact.append("-compact" in rest)
                self.depth += 1
            case "El":
                self.flush(gap=self.depth == 1)
                self.depth -= 1
                self.number.pop()
                self.compact.pop()
            case "It":
                self._item(rest)
            case "Bd" | "Ed":
                self.flush(gap=True)
                self.literal = name == "Bd"
            case "Dl":
                self.flush()
                self.head(_bare(rest), self.depth + 2)
            case "Nd":
                self.words += ["-", _bare(rest)]
            case "Dd" | "Os":
                pass
            case _:
                self.words.append(_inline([name, *_tokens(rest)], self.name))

    def _item(self, rest: str) -> None:
        self.flush(gap=not self.compact[-1])
        if self.number[-1]:
            self.words.append(f"{self.number[-1]}.")
            self.number[-1] += 1
            return
        self.head(_inline(_tokens(rest), self.name), self.depth)

    def text(self, line: str) -> None:
        """One line that does not."""
        if self.literal:
            self.head(_bare(line), self.depth + 2)
        else:
            self.words.append(_bare(line))


def _bare(text: str) -> str:
    for pattern, plainly in _ESCAPES:
        text = pattern.sub(plainly, text)
    return text


def _tokens(text: str) -> list[str]:
    return [quoted or word for quoted, word in _TOKEN.findall(text)]


def _inline(tokens: list[str], name: str) -> str:
    """Words with their macros: the signs that a formatter would put, and no blank before punctuation."""
    said, macro, glued, closing = "", "", True, ""
    for one, following in zip(tokens, [*tokens[1:], "."], strict=True):
        word = ""
        match one:
            case "Ns":
                glued = True
            case "Op" | "Oo" | "Pq":
                said += ("" if glued else " ") + ("(" if one == "Pq" else "[")
                closing = {"Op": "]", "Oo": "", "Pq": ")"}[one] + closing
                glued = True
            case "Oc":
                said, glued = said + "]", False
            case "Nm" if following in _PUNCTUATION:
                word = name
            case _ if one in _WORDS:
                macro = one
            case _:
                word = f"-{one}" if macro == "Fl" and one != "|" else f"'{one}'" if macro == "Ql" else one
        if one in _PUNCTUATION:
            said, glued = said + one, False
        elif macro == "Xr" and one.isdigit():
            said += f"({one})"
        elif word:
            said += ("" if glued else " ") + _bare(word)
            glued = False
    return said + closing


def plain(text: str) -> str:
    """The page as text of at most 78 columns, its literal parts aside."""
    page = _Page()
    for line in text.splitlines():
        if line.startswith('.\\"'):
            continue
        if line.startswith("."):
            name, _, rest = line[1:].partition(" ")
            page.macro(name, rest)
        elif line or page.literal:
            page.text(line)
    page.flush()
    return "\n".join(page.lines) + "\n"
