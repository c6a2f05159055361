"""The index as bytes: what is written is read, what is not ours is not taken for it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.ids import CredentialId, ProviderName
from hermes_router.store.index import Decision, Entry, Index, NewerFormat, parse, render, username

from .rings import entry

_words = st.text(min_size=1, max_size=8)
_keys = st.builds(
    Entry,
    id=_words.map(CredentialId),
    provider=_words.map(ProviderName),
    kind=st.just("api_key"),
    tail=_words,
    account=st.none() | st.text(max_size=8),
    store=st.sampled_from(["keyring", "file"]),
    added_at=st.floats(0, 1e10),
)
_commands = st.builds(
    Entry,
    id=_words.map(CredentialId),
    provider=_words.map(ProviderName),
    kind=st.just("command"),
    tail=_words,
    argv=st.lists(st.text(max_size=8), min_size=1, max_size=3).map(tuple),
)
_decisions = st.builds(Decision, st.sampled_from(["keyring", "file"]), st.text(), st.text())

FULL = Index(
    (entry(1, account="mine", store="keyring"), entry(2, kind="command", argv=("pass", "show", "groq"))),
    Decision("keyring", "a test of it succeeded", "2026-10-01T00:00:00+00:00"),
    frozenset({"provider/groq/x"}),
)


@given(st.builds(Index, st.lists(_keys | _commands, unique_by=lambda e: e.id).map(tuple), st.none() | _decisions))
def test_what_is_written_is_read(index: Index) -> None:
    """Every index survives the file."""
    assert parse(render(index)) == (index, True)


def test_a_secret_rests_under_provider_and_identity() -> None:
    """The name that keyring and file share."""
    assert username(entry(1)) == "provider/groq/0000000000000001"


def test_cut_anywhere_it_is_not_whole() -> None:
    """No prefix is taken for the file, except that without the last line break."""
    data = render(FULL)
    for end in range(len(data) - 1):
        assert not parse(data[:end])[1], end


@given(st.binary())
def test_garbage_is_not_whole_and_never_raises(data: bytes) -> None:
    """Whatever stands there."""
    assert parse(data) == (Index(), False)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"[]", b"null", b"7", b"{}", b"[" * 50_000, b'{"version": 1}', b'{"version": "1"}']
)
def test_json_of_another_shape_is_not_whole(data: bytes) -> None:
    """Not UTF-8, not an object, no version: damaged."""
    assert not parse(data)[1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 7), ("id", ""), ("provider", None), ("kind", "oauth"), ("tail", []), ("account", 1), ("store", "vault"),
        ("store", ""), ("argv", "pass"), ("argv", [1]), ("argv", ["pass"]), ("added_at", "now"), ("added_at", True),
    ],
)  # fmt: skip
def test_one_bad_entry_leaves_the_others(field: str, value: Any) -> None:
    """Of a file with an entry of wrong types the rest is read, and it counts as damaged."""
    document = json.loads(render(Index((entry(1, store="file"), entry(2, store="file")))))
    document["credentials"][0][field] = value
    index, whole = parse(json.dumps(document).encode())
    assert not whole
    assert index.entries == (entry(2, store="file"),)


@pytest.mark.parametrize(
    ("field", "value"),
    [("credentials", {}), ("credentials", [1]), ("secret_store", 1), ("secret_store", {"store": "x"}), ("sweep", 1)],
)
def test_a_part_of_the_wrong_type_is_damage(field: str, value: Any) -> None:
    """Also outside of the entries."""
    document = json.loads(render(FULL)) | {field: value}
    assert not parse(json.dumps(document).encode())[1]


def test_a_later_format_is_not_damage() -> None:
    """A file of a later version is told apart, so that it is left alone."""
    with pytest.raises(NewerFormat):
        parse(b'{"version": 2, "credentials": {}}')
