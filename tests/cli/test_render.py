"""hermes_router/cli/render.py: tables of any width, in cells."""

import io
import os
import sys

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.cli import render
from hermes_router.cli.render import Cell, Column, bar, cells, cut, fold, paragraph, sparkline, table

COLUMNS = (Column("NAME", least=6), Column("N", right=True), Column("WHY", least=8, wrap=True), Column("NOTE", drop=1))
ROWS = [("groq", "12", "it is limited for a while", "n1"), (Cell("漢字漢字漢字", "good"), "3", "ready", "n2")]


@pytest.fixture(autouse=True)
def _unicode_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


def _plain(lines: list[str]) -> list[str]:
    return [click.unstyle(line) for line in lines]


def test_a_table_without_a_limit_cuts_nothing() -> None:
    """In a pipe every text is whole, columns are aligned in cells, nothing trails."""
    assert _plain(table(COLUMNS, ROWS, None)) == [
        "NAME           N  WHY                        NOTE",
        "groq          12  it is limited for a while  n1",
        "漢字漢字漢字   3  ready                      n2",
    ]


def test_a_narrow_table_shrinks_wraps_and_drops() -> None:
    """What may shrink does, long texts wrap, and at last the droppable column goes."""
    lines = _plain(table(COLUMNS, ROWS, 30))
    assert all(cells(line) <= 30 for line in lines)
    assert "n1" in lines[1]
    assert len(lines) > 3
    lines = _plain(table(COLUMNS, ROWS, 22))
    assert all(cells(line) <= 22 for line in lines)
    assert "NOTE" not in lines[0]
    assert "漢字漢…" in "\n".join(lines)


def test_empty_columns_and_titles_may_be_left_out() -> None:
    """A column that says nothing is not shown; without titles only rows are."""
    assert _plain(table((Column("A"), Column("B")), [("x", ""), ("y", "")], 80)) == ["A", "x", "y"]
    assert table((Column("A"),), [("x",)], 80, titles=False, indent=2) == ["  x"]
    assert table((Column("A"),), [], 80) == []


def test_styles_are_for_cells_and_never_count() -> None:
    """A coloured cell is as wide as a plain one."""
    lines = table((Column("A"), Column("B")), [(Cell("x", "good"), "1"), ("long", "2")], 80)
    assert "\x1b[32mx\x1b[0m" in lines[1]
    assert _plain(lines)[1].index("1") == _plain(lines)[2].index("2")


def test_foreign_text_in_a_cell_is_made_safe() -> None:
    """A line end or an escape sequence cannot break the table."""
    assert _plain(table((Column("A"),), [("a\nb\x1b[2J",)], 80)) == ["A", "a b"]


@given(
    st.lists(st.tuples(*[st.text(max_size=40)] * 4), min_size=1, max_size=5),
    st.integers(min_value=20, max_value=120),
)
def test_any_table_fits(rows: list[tuple[str, ...]], width: int) -> None:
    """Whatever the texts are, no line is wider than the terminal."""
    assert all(cells(line) <= width for line in _plain(table(COLUMNS, rows, width)))


@given(st.text(alphabet="ab 漢é\u0301", max_size=60), st.integers(min_value=2, max_value=20))
def test_folding_loses_nothing(text: str, width: int) -> None:
    """Lines fit, and hold all letters in their order."""
    lines = fold(text, width)
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(text.split())


def test_cutting_respects_wide_signs() -> None:
    """A sign of two cells is never halved; the ellipsis is counted."""
    assert cut("漢字漢字", 5) == "漢字…"
    assert cut("漢字漢字", 4) == "漢…"
    assert cut("abc", 3) == "abc"
    assert cut("abc", 1) == "…"
    assert cells("e\u0301x") == 2


def test_paragraphs_hang() -> None:
    """The first line carries its title, the others its indent; without a limit a line has 100 cells."""
    assert paragraph("one two three four five six seven", 30, indent=6, first="Note") == [
        "Note  one two three four five",
        "      six seven",
    ]
    lines = paragraph("word " * 40, None, indent=4, first="N")
    assert lines[0].startswith("N   word")
    assert all(line.startswith("    ") for line in lines[1:])
    assert max(map(len, lines)) <= 100


def test_bars_tell_some_from_none_and_all() -> None:
    """Anything above nothing shows, and only the whole is full."""
    assert [bar(share, 4) for share in (0, 0.001, 0.5, 0.999, 1, 7)] == ["░░░░", "█░░░", "██░░", "███░", "████", "████"]
    assert sparkline([0, 1, 4, 8]) == "▁▂▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""


def test_an_output_without_the_signs_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of another encoding sees bars of `#`."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert bar(0.5, 4) == "##.."
    assert cut("abcdef", 3) == "ab~"


def test_the_width_is_the_terminals_or_columns_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe has no width unless COLUMNS names one; a terminal that says nonsense has at least 20."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert render.width() is None
    monkeypatch.setenv("COLUMNS", "70")
    assert render.width() == 70
    monkeypatch.setenv("COLUMNS", "3")
    assert render.width() == 20


def test_the_home_directory_is_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are shown as people write them; what is no path stays."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert render.tilde("/home/ada/.env:3") == "~/.env:3"
    assert render.tilde("/home/adam/.env") == "/home/adam/.env"
    assert render.tilde("environment") == "environment"
    monkeypatch.setenv("HOME", os.sep)
    assert render.tilde("/etc/x") == "/etc/x"
