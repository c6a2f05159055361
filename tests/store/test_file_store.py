"""The file of secrets as bytes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.store.file_store import Kept, entry_of, kept_of, parse_secrets, write_secrets
from hermes_router.store.index import NewerFormat, username

from .rings import entry, secret

KEPT = {username(entry(n)): Kept(secret(n), "mine" if n == 2 else None, 5.0) for n in (1, 2)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every secret with its account and date; without any there is no file."""
    path = tmp_path / "secrets.json"
    write_secrets(path, KEPT)
    assert parse_secrets(path.read_bytes()) == (KEPT, True)
    write_secrets(path, {})
    assert not path.exists()
    write_secrets(path, {})


def test_a_linked_file_is_emptied_and_the_link_stays(tmp_path: Path) -> None:
    """The last secret goes, the link to someone's dotfiles does not."""
    path = tmp_path / "secrets.json"
    path.symlink_to(tmp_path / "real")
    write_secrets(path, KEPT)
    write_secrets(path, {})
    assert path.is_symlink()
    assert parse_secrets((tmp_path / "real").read_bytes()) == ({}, True)


def test_cut_anywhere_it_is_not_whole(tmp_path: Path) -> None:
    """No prefix is taken for the file, except that without the last line break."""
    path = tmp_path / "secrets.json"
    write_secrets(path, KEPT)
    data = path.read_bytes()
    for end in range(len(data) - 1):
        assert parse_secrets(data[:end]) == ({}, False), end


@given(st.binary())
def test_garbage_is_not_whole_and_never_raises(data: bytes) -> None:
    """Whatever stands there."""
    assert parse_secrets(data) == ({}, False)


@pytest.mark.parametrize(
    "row", [None, "gsk", {"secret": 1}, {"secret": ""}, {"secret": "x", "account": 1}, {"secret": "x", "added_at": "y"}]
)
def test_one_bad_secret_leaves_the_others(row: Any) -> None:
    """What can be read is read, and the file counts as damaged."""
    rows = {"provider/groq/a": {"secret": "good"}, "provider/groq/b": row}
    kept, whole = parse_secrets(json.dumps({"version": 1, "secrets": rows}).encode())
    assert not whole
    assert list(kept) == ["provider/groq/a"]


def test_a_later_format_is_not_damage() -> None:
    """It is told apart, so that it is left alone."""
    with pytest.raises(NewerFormat):
        parse_secrets(b'{"version": 2}')
    assert parse_secrets(b'{"version": 1, "secrets": []}') == ({}, False)


def test_an_entry_can_be_made_anew_from_its_secret() -> None:
    """All but the place in the order is kept beside the secret; foreign names make none."""
    one = entry(3, account="mine", store="file", tail="0003")
    assert entry_of(username(one), kept_of(one, secret(3))) == one
    for name in ("groq/x", "router/groq/x", "provider//x", "provider/groq/x/y"):
        assert entry_of(name, kept_of(one, secret(3))) is None


def test_nothing_prints_a_secret() -> None:
    """What is kept can be logged."""
    assert "gsk_secret" not in repr(KEPT)
