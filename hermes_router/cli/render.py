"""Tables, bars and JSON on a terminal of any width, or in a pipe.

Owns layout: widths in terminal cells, what shrinks and what goes where there is no room, colours. It must never know
what it shows. In a pipe nothing is cut, so that `grep` finds it; `COLUMNS` sets a width there, too.
"""

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from hermes_router.cli.words import clean

GAP: Final = 2
_LEAST: Final = 20  # nothing can be laid out in less
_PROSE: Final = 100  # how wide a paragraph gets where nothing limits it

STYLES: Final[dict[str, dict[str, Any]]] = {
    "good": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red"},
    "dim": {"dim": True},
    "bold": {"bold": True},
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One text of a table with its style (a key of STYLES, or none)."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """How a column behaves. `least` 0 = it never shrinks; `wrap` = it breaks into lines where others are cut.

    `drop`: where there is no room, the column with the highest number goes first; 0 = it stays.
    """

    title: str
    right: bool = False
    least: int = 0
    wrap: bool = False
    drop: int = 0


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Signs that this output can show."""

    full: str
    empty: str
    eighths: str
    more: str
    dash: str
    dot: str
    good: str
    warn: str
    bad: str
    arrow: str


UNICODE: Final = Glyphs("█", "░", "▁▂▃▄▅▆▇█", "…", "—", "·", "●", "▲", "■", "→")
ASCII: Final = Glyphs("#", ".", "_.-=+*#@", "~", "-", "|", "*", "!", "x", "->")


def glyphs() -> Glyphs:
    """The signs of this output's encoding."""
    try:
        "█░▁…—·●▲■→".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return ASCII
    return UNICODE


def is_terminal() -> bool:
    """Whether standard output is one."""
    return sys.stdout.isatty()


def width() -> int | None:
    """Cells in a line; None = nothing limits them (a pipe)."""
    if not is_terminal() and not os.environ.get("COLUMNS", "").isdigit():
        return None
    return max(_LEAST, shutil.get_terminal_size().columns)


def paint(text: str, style: str) -> str:
    """Text in a style; `click.echo` takes it away where the output is no terminal or wants none."""
    return click.style(text, **STYLES[style]) if style and text else text


def tilde(path: str) -> str:
    """A place as a person writes it: `~` for the home directory."""
    home = os.path.expanduser("~")  # noqa: PTH111 - a place may be no path: `environment`
    return "~" + path[len(home) :] if len(home) > 1 and path.startswith(home + os.sep) else path


# --- text in cells ------------------------------------------------------------------------------------


def cells(text: str) -> int:
    """How many cells a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_cell(c) for c in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, most: int) -> str:
    """The text in at most so many cells, an ellipsis where something went."""
    if cells(text) <= most:
        return text
    more = glyphs().more
    room, kept = most - cells(more), 0
    for at, character in enumerate(text):
        kept += _cell(character)
        if kept > room:
            return text[:at].rstrip() + more if room > 0 else more[:most]
    return text


def fold(text: str, most: int) -> list[str]:
    """The text in lines of at most so many cells, broken at blanks where there are any."""
    lines, line = [], ""
    for word in text.split():
        while cells(word) > most:  # an id or an address longer than the line
            room = most - cells(line) - 1 if line else most
            if room < max(2, most // 2):
                lines.append(line)
                line = ""
                continue
            head = _head(word, room)
            lines.append(f"{line} {head}" if line else head)
            line, word = "", word[len(head) :]  # noqa: PLW2901 - the rest of it
        if not line:
            line = word
        elif cells(line) + 1 + cells(word) <= most:
            line += f" {word}"
        else:
            lines.append(line)
            line = word
    return [*lines, line] if line or not lines else lines


def _head(word: str, room: int) -> str:
    taken = 0
    for at, character in enumerate(word):
        taken += _cell(character)
        if taken > room:
            return word[: max(1, at)]
    return word


def paragraph(text: str, most: int | None, *, indent: int = 0, first: str = "") -> list[str]:
    """Prose in lines; `first` stands in the indent of the first one."""
    lines = fold(text, max(_LEAST, (most or _PROSE) - indent))
    return [(first if at == 0 else "").ljust(indent) + line for at, line in enumerate(lines)]


# --- tables -------------------------------------------------------------------------------------------


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell | str]],
    most: int | None,
    *,
    indent: int = 0,
    titles: bool = True,
) -> list[str]:
    """Lines of at most `most` cells. Columns that are empty in every row are left out."""
    body = [[_cell_of(one) for one in row] for row in rows]
    shown = [at for at in range(len(columns)) if any(row[at].text for row in body)]
    if not shown:
        return []
    heads = {at: columns[at].title if titles else "" for at in shown}
    widths = {at: max([cells(heads[at]), *(cells(row[at].text) for row in body)]) for at in shown}
    if most is not None:
        shown = _fit(columns, shown, widths, most - indent)
    lines = [_line([Cell(heads[at], "dim") for at in shown], columns, shown, widths)] if titles else []
    for row in body:
        lines += _row([row[at] for at in shown], columns, shown, widths)
    return [" " * indent + line for line in lines]


def _cell_of(value: Cell | str) -> Cell:
    if isinstance(value, Cell):
        return Cell(clean(value.text).strip(), value.style)
    return Cell(clean(value).strip())


def _fit(columns: Sequence[Column], shown: list[int], widths: dict[int, int], room: int) -> list[int]:
    """Shrink what may shrink, then leave out what may go; what is left is cut. Changes `widths`."""
    natural = dict(widths)
    while shown:
        spare = room - sum(widths[at] for at in shown) - GAP * (len(shown) - 1)
        while spare < 0:
            soft = [at for at in shown if columns[at].least and widths[at] > columns[at].least]
            if not soft:
                break
            widest = max(soft, key=widths.__getitem__)
            widths[widest] -= 1
            spare += 1
        if spare >= 0:
            return shown
        loose = [at for at in shown if columns[at].drop]
        if not loose:
            break
        shown = [at for at in shown if at != max(loose, key=lambda one: columns[one].drop)]
        widths.update(natural)
    while shown and sum(widths[at] for at in shown) + GAP * (len(shown) - 1) > room:
        widest = max(shown, key=widths.__getitem__)
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
    return shown


def _row(row: Sequence[Cell], columns: Sequence[Column], shown: list[int], widths: dict[int, int]) -> list[str]:
    parts = [
        fold(cell.text, widths[at]) if columns[at].wrap else [cut(cell.text, widths[at])]
        for cell, at in zip(row, shown, strict=True)
    ]
    height = max(map(len, parts))
    return [
        _line(
            [Cell(p[n] if n < len(p) else "", c.style) for p, c in zip(parts, row, strict=True)], columns, shown, widths
        )
        for n in range(height)
    ]


def _line(row: Sequence[Cell], columns: Sequence[Column], shown: list[int], widths: dict[int, int]) -> str:
    parts = []
    for place, (cell, at) in enumerate(zip(row, shown, strict=True)):
        text = cut(cell.text, widths[at])
        pad = " " * (widths[at] - cells(text))
        if columns[at].right:
            parts.append(pad + paint(text, cell.style))
        else:
            parts.append(paint(text, cell.style) + (pad if place < len(shown) - 1 else ""))
    return (" " * GAP).join(parts).rstrip()


# --- what people would rather look at ------------------------------------------------------------------


def bar(share: float, size: int) -> str:
    """A share of 1 as a bar; anything above nothing shows, and only the whole is full."""
    signs = glyphs()
    share = min(1.0, max(0.0, share))
    filled = round(share * size)
    if 0 < share < 1:
        filled = min(size - 1, max(1, filled))
    return signs.full * filled + signs.empty * (size - filled)


def sparkline(values: Sequence[float]) -> str:
    """Numbers as a row of columns, the largest as high as the line."""
    steps = glyphs().eighths
    top = max(values, default=0)
    if top <= 0:
        return steps[0] * len(values)
    return "".join(steps[min(len(steps) - 1, int(v / top * (len(steps) - 1) + 0.5))] for v in values)


# --- saying it ----------------------------------------------------------------------------------------


def say(lines: Iterable[str]) -> None:
    """Print lines."""
    text = "\n".join(lines)
    if text:
        click.echo(text)


def say_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]], *, indent: int = 0) -> None:
    """Print a table as wide as the terminal."""
    say(table(columns, rows, width(), indent=indent))


def say_json(value: object) -> None:
    """Print a type of the control API as JSON, as a person would want to read it."""
    import msgspec  # noqa: PLC0415 - `hr --help` needs none of it

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
