"""The syntax of `.env`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.daemon.dotenv import parse


def _value(line: str) -> str:
    found, errors = parse(line.encode(), where=".env")
    assert errors == []
    return found["A"][0]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("export A=b", "b"),
        ("A=b # why", "b"),
        ("A=b#c", "b#c"),
        ("A=#b", "#b"),
        ("A= # only a note", ""),
        ("A=", ""),
        ('A=""', ""),
        ("A='b # c' # d", "b # c"),
        ('A="b # c" # d', "b # c"),
        ("A='it\"s'", 'it"s'),
        (r"A='\n'", r"\n"),
        (r'A="a\nb\t\"\\"', 'a\nb\t"\\'),
        (r'A="C:\dir"', r"C:\dir"),
        ("A=$HOME", "$HOME"),
        ("A=b=c==", "b=c=="),
        ("A=a,b, c", "a,b, c"),
        ("A=ünï", "ünï"),
    ],
)
def test_values(line: str, value: str) -> None:
    """Comments after values, quotes, `export`; a `#` inside a word is no comment, and nothing is expanded."""
    assert _value(line) == value


def test_line_ends_and_byte_order_mark() -> None:
    """CRLF and a byte order mark, as Windows editors write them, leave no trace in names and values."""
    found, errors = parse(b"\xef\xbb\xbfA=1\r\n\r\n# note\r\nB='2'\r\n", where="/x/.env")
    assert errors == []
    assert found == {"A": ("1", "/x/.env:1"), "B": ("2", "/x/.env:4")}


def test_the_later_of_two_lines_counts() -> None:
    """As in a shell."""
    found, _ = parse(b"A=1\nA=2", where="f")
    assert found == {"A": ("2", "f:2")}


@pytest.mark.parametrize(
    "line",
    [
        "sk-secret",
        "A sk-secret",
        "1A=sk-secret",
        "A-B=sk-secret",
        "A='sk-secret",
        'A="sk-secret',
        "A='sk-secret' x",
        "=sk-secret",
    ],
)
def test_a_broken_line_is_named_and_skipped(line: str) -> None:
    """The number of the line is told, its content is not, and the lines around it count."""
    found, [error] = parse(f"X=1\n{line}\nY=2\n".encode(), where=".env")
    assert list(found) == ["X", "Y"]
    assert error.where == ".env:2"
    assert "sk-secret" not in str(error)


def test_a_line_of_foreign_bytes_costs_only_itself() -> None:
    """A line that is not UTF-8 is named, the others count."""
    found, [error] = parse(b"X=1\nA=\xff\xfe\nY=2", where=".env")
    assert list(found) == ["X", "Y"]
    assert error.where == ".env:2"


@given(st.binary(max_size=80))
def test_no_file_breaks_the_parser(data: bytes) -> None:
    """Any bytes give variables and errors, never an exception."""
    found, errors = parse(data, where="f")
    assert len(found) + len(errors) <= data.count(b"\n") + 1


@given(st.text(st.characters(exclude_characters="'\r\n\x00", exclude_categories=["Cs"]), max_size=20))
def test_single_quotes_keep_everything(text: str) -> None:
    """What stands between single quotes comes out as it went in."""
    found, errors = parse(f"A='{text}'".encode(), where="f")
    assert errors == []
    assert found["A"][0] == text
