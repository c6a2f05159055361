"""One variable is changed, and nothing else of the owner's file."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.daemon import dotenv
from hermes_router.daemon.desks.edit import edit_env, edit_toml

ENV = b"""# my keys
export GROQ_MODEL=a,b   # two of them
PORT=8319
PORT = 9000
NAME="with \\"quotes\\" # no comment"   # a comment
"""


def test_env_the_last_line_of_a_name_is_replaced_and_its_comment_kept() -> None:
    """`export`, comments and other lines stay; an earlier line of the same name goes, since it never counted."""
    made = edit_env(ENV, "GROQ_MODEL", "c")
    assert b"export GROQ_MODEL=c   # two of them\n" in made
    made = edit_env(made, "PORT", "1")
    assert made.count(b"PORT") == 1
    assert b"\nPORT=1\n" in made
    assert made.startswith(b"# my keys\n")
    assert b"# a comment" in edit_env(made, "NAME", "x")


def test_env_a_new_name_is_added_at_the_end_and_none_removes() -> None:
    """A new variable is a new last line; None takes every line of the name out."""
    made = edit_env(b"A=1", "B", "two words")
    assert made == b'A=1\nB="two words"\n'
    assert edit_env(made, "A", None) == b'B="two words"\n'
    assert edit_env(ENV, "PORT", None).count(b"PORT") == 0
    assert edit_env(b"", "A", "1") == b"A=1\n"


def test_env_windows_line_ends_stay() -> None:
    """A file with CRLF keeps it, on the changed line, too."""
    assert edit_env(b"A=1\r\nB=2\r\n", "A", "3") == b"A=3\r\nB=2\r\n"
    assert edit_env(b"A=1\r\n", "B", "3") == b"A=1\r\nB=3\r\n"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda s: "\x00" not in s))
def test_env_whatever_is_written_is_read_back(value: str) -> None:
    """A value either reads back exactly, or is refused; another variable is never touched."""
    try:
        made = edit_env(ENV, "NAME", value)
    except ValueError:
        return
    found = dotenv.parse(made, where="")[0]
    assert found["NAME"][0] == value
    assert found["GROQ_MODEL"][0] == "a,b"


TOML = """# mine
port = 8319  # the port
mode_x = "y"

[groq]
model = ["a", "b"]  # both
supports_tools = true
"""


def test_toml_a_value_is_changed_where_it_stands() -> None:
    """Comments, order and the kind of the value stay; a table's key is found by its variable's name."""
    made = edit_toml(TOML, "PORT", "9000")
    assert "port = 9000  # the port" in made
    made = edit_toml(made, "GROQ_MODEL", "c,d")
    assert tomllib.loads(made)["groq"]["model"] == ["c", "d"]
    assert "# both" in made
    made = edit_toml(made, "GROQ_SUPPORTS_TOOLS", "0")
    assert tomllib.loads(made)["groq"]["supports_tools"] is False
    assert made.startswith("# mine\n")


def test_toml_a_new_value_stands_before_the_tables() -> None:
    """A new variable is one of the top level, though the file ends in a table; None takes it out again."""
    made = edit_toml(TOML, "ROTATION_MODE", "sequential")
    assert tomllib.loads(made)["rotation_mode"] == "sequential"
    assert tomllib.loads(edit_toml(made, "ROTATION_MODE", None)) == tomllib.loads(TOML)
    for value, kept in (("2", 2), ("12.5", 12.5), ("0.0001", 0.0001), ("1.50", "1.50"), ("1e-05", "1e-05")):
        assert tomllib.loads(edit_toml("", "PATIENCE_SECONDS", value)) == {"patience_seconds": kept}


def test_toml_a_broken_file_is_refused() -> None:
    """What is no TOML is not edited."""
    with pytest.raises(ValueError, match="is not TOML"):
        edit_toml("a = = 1", "PORT", "1")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_toml_whatever_is_written_is_read_back(value: str) -> None:
    """A value either reads back exactly, or is refused."""
    try:
        made = edit_toml(TOML, "NEW_ONE", value)
    except ValueError:
        return
    assert str(tomllib.loads(made)["new_one"]) == value
