"""hermes_router/cli/mdoc.py: our own pages as plain text."""

import re
from pathlib import Path

import pytest

from hermes_router.cli.mdoc import plain

MAN = Path(__file__).resolve().parents[2] / "man"


def test_the_little_mdoc_that_we_use() -> None:
    """Heads, lists, literal text, options with their brackets, and punctuation without a blank before it."""
    lines = [
        ".Dt HR 1", ".Sh NAME", ".Nm hr", ".Nd x", ".Sh SYNOPSIS", ".Nm", ".Op Fl h | -help", ".Op Ar a ...",
        ".Sh DESCRIPTION", "See", ".Xr hr 1 ,", "and", ".Ql a b .", "\\&.env \\fBbold\\fP \\e", ".Pp", "Next.",
        ".Bl -tag -width Ds", ".It Fl -json , Fl j", "Said.", ".It Cm add Oo options Oc Ar P | Ar Q", "More.", ".El",
        ".Bl -enum -compact", ".It", "first", ".It", "second", ".El",
        ".Bd -literal -offset indent", "[x]", "", '  "y"', ".Ed", '.\\" no comment', ".Dl hr ask \\(dqhi\\(dq",
        ".Ev A Ns = Ns Cm b",
    ]  # fmt: skip
    assert plain("\n".join(lines)).splitlines() == [
        "HR(1)", "",
        "NAME", "    hr - x", "",
        "SYNOPSIS", "    hr [-h | --help] [a ...]", "",
        "DESCRIPTION", "    See hr(1), and 'a' 'b'. .env bold \\", "", "    Next.", "",
        "    --json, -j", "        Said.", "",
        "    add [options] P | Q", "        More.", "",
        "        1. first", "        2. second", "",
        "        [x]", "", '          "y"', "",
        '        hr ask "hi"', "    A=b",
    ]  # fmt: skip


@pytest.mark.parametrize("page", sorted(one.name for one in MAN.glob("*.[1-8]")))
def test_our_pages_come_out_whole(page: str) -> None:
    """No macro is left over, and no line of prose is wider than a terminal."""
    shown = plain((MAN / page).read_text())
    for line in shown.splitlines():
        assert not re.match(r"\s*\.[A-Z][a-z]\b", line), line
        assert "\\f" not in line
        assert "\\&" not in line
        assert len(line) <= 120, line
    assert "SEE ALSO" in shown
