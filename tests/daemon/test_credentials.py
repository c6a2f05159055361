"""Credentials: identities that last and tell nothing, and secrets that stay where they are."""

import os
import stat
from pathlib import Path
from typing import Any, cast

import pytest

from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.ids import Credential, CredentialId, ProviderName, Secret
from hermes_router.core.settings_parse import KeyFound
from hermes_router.daemon.credentials import KEY_BYTES, credentials_of, digest_key
from hermes_router.store.vault import CredentialStore, Entry

KEY = b"k" * KEY_BYTES
GROQ, ZAI, LOCAL = ProviderName("groq"), ProviderName("zai"), ProviderName("local")


def _row(name: ProviderName, *, keyless: bool = False) -> ProviderSpec:
    return ProviderSpec(name, name, {"openai_chat": "https://x.test"}, "bearer", (), keyless=keyless)


CATALOG = {GROQ: _row(GROQ), ZAI: _row(ZAI), LOCAL: _row(LOCAL, keyless=True)}


def _key(text: str, provider: ProviderName = GROQ, source: str = ".env:1") -> KeyFound:
    return KeyFound(provider, Secret(text), "GROQ_API_KEY", source)


def test_the_same_key_twice_is_one_credential() -> None:
    """Adding a key again changes nothing, wherever it stands the second time; the first place is remembered."""
    made, vault = credentials_of(
        [_key("gsk_aaaaaaaaa1234"), _key("gsk_aaaaaaaaa1234", source="environment")], CATALOG, KEY
    )
    [groq] = [c for c in made if c.provider == GROQ]
    assert (groq.tail, groq.source, groq.kind, groq.account) == ("1234", ".env:1", "api_key", groq.id)
    assert len(vault) == 1
    assert vault.reveal(groq).reveal() == "gsk_aaaaaaaaa1234"


def test_an_identity_is_a_keyed_digest() -> None:
    """16 hex characters that depend on key, provider and the installation's own key, and hold nothing of the secret."""
    one, _ = credentials_of([_key("abcdefabcdefabcd")], CATALOG, KEY)
    again, _ = credentials_of([_key("abcdefabcdefabcd")], CATALOG, KEY)
    elsewhere, _ = credentials_of([_key("abcdefabcdefabcd")], CATALOG, b"other" * 8)
    other, _ = credentials_of([_key("abcdefabcdefabcd", ZAI)], CATALOG, KEY)
    assert one[0].id == again[0].id
    assert len({one[0].id, elsewhere[0].id, other[0].id}) == 3
    assert len(one[0].id) == 16
    int(one[0].id, 16)


def test_a_keyless_row_has_one_credential_of_its_own() -> None:
    """Without a key it is of kind `none` and its secret empty; with LOCAL_API_KEY that key is its only one."""
    made, vault = credentials_of([], CATALOG, KEY)
    [local] = made
    assert (local.provider, local.kind, local.tail) == (LOCAL, "none", "none")
    assert vault.reveal(local).reveal() == ""
    made, _ = credentials_of([_key("my-local-token", LOCAL)], CATALOG, KEY)
    assert [c.kind for c in made] == ["api_key"]


class _Stored:
    """Entries with their secrets, as a store that has read everything; None = the keyring is locked."""

    def __init__(self, *held: tuple[Entry, str | None]) -> None:
        self.entries = tuple(entry for entry, _ in held)
        self._secrets = {entry.id: Secret(text) for entry, text in held if text is not None}

    def secret(self, ident: str) -> Secret | None:
        return self._secrets.get(CredentialId(ident))


def _made(keys: list[KeyFound], *held: tuple[Entry, str | None]) -> list[Credential]:
    found, vault = credentials_of(keys, CATALOG, KEY, cast("CredentialStore", _Stored(*held)))
    made = [one for one in found if one.kind != "none"]
    for one in made:
        assert vault.reveal(one).tail == one.tail
    return made


def _entry(text: str, provider: ProviderName = GROQ, **more: Any) -> Entry:
    fields = {"kind": "api_key", "store": "keyring", "tail": text[-4:]} | more
    return Entry(id=CredentialId(Secret(text).digest(KEY, provider)), provider=provider, **fields)


ONE, TWO, THREE = "gsk_aaaaaaaaa0001", "gsk_aaaaaaaaa0002", "gsk_aaaaaaaaa0003"


def test_written_keys_come_before_commands_before_the_store() -> None:
    """The order in which `sequential` uses them, each with its source; a command shows the tail of what it printed."""
    command = Entry(CredentialId("c" * 16), GROQ, "command", "old1", argv=("pass",))
    made = _made([_key(ONE)], (_entry(TWO, store="file"), TWO), (_entry(THREE), THREE), (command, "gsk_aaaaaaaaa0004"))
    assert [(one.tail, one.source) for one in made] == [
        ("0001", ".env:1"),
        ("0004", "command"),
        ("0002", "file"),
        ("0003", "keyring"),
    ]
    assert made[1].id == command.id


def test_a_key_in_several_places_is_one_credential() -> None:
    """The first place counts; a label counts wherever it stands."""
    command = Entry(CredentialId("c" * 16), GROQ, "command", "0001", argv=("pass",))
    [one] = _made([_key(ONE)], (_entry(ONE, account="mine"), ONE), (command, ONE))
    assert (one.source, one.account) == (".env:1", "groq:mine")
    [one] = _made([], (_entry(ONE, account="mine"), ONE), (command, ONE))
    assert (one.source, one.id, one.account) == ("command", command.id, "groq:mine")


def test_the_same_label_is_the_same_account() -> None:
    """Of one provider; another provider's, and keys without a label, are accounts of their own."""
    made = _made(
        [],
        (_entry(ONE, account="mine"), ONE),
        (_entry(TWO, account="mine"), TWO),
        (_entry(ONE, ZAI, account="mine"), ONE),
        (_entry(THREE), THREE),
    )
    assert [str(one.account) for one in made] == ["groq:mine", "groq:mine", "zai:mine", made[3].id]


def test_what_cannot_be_read_or_served_is_no_credential() -> None:
    """A locked keyring's key, and one of a provider that no row describes."""
    assert _made([], (_entry(ONE), None), (_entry(TWO, ProviderName("gone")), TWO)) == []


def test_a_short_secret_shows_no_tail() -> None:
    """Four of eight characters would be half of it."""
    made, _ = credentials_of([_key("12345678")], CATALOG, KEY)
    assert made[0].tail == "****"


def test_nothing_prints_a_secret() -> None:
    """Credentials and vault can be logged."""
    made, vault = credentials_of([_key("gsk_hunter2hunter2")], CATALOG, KEY)
    assert "hunter2hunter2" not in repr(made) + repr(vault) + str(made)


def test_a_secret_that_is_gone_raises() -> None:
    """The vault says so instead of sending a request without a key."""
    made, _ = credentials_of([_key("gsk_aaaaaaaaa1234")], CATALOG, KEY)
    _, empty = credentials_of([], CATALOG, KEY)
    with pytest.raises(KeyError):
        empty.reveal(made[0])


def test_the_installations_key_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    """32 random bytes, 0600, the same ever after; no temporary file stays."""
    path = tmp_path / "data" / "credential.key"
    first, problem = digest_key(path)
    assert problem is None
    assert len(first) == KEY_BYTES
    assert digest_key(path) == (first, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["credential.key"]
    assert digest_key(tmp_path / "other.key")[0] != first


def test_two_starts_at_once_agree_on_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that is there first stays; the other start reads it."""
    path = tmp_path / "credential.key"
    real = os.link

    def slower(source: Path, target: Path) -> None:
        path.write_bytes(b"x" * KEY_BYTES)
        real(source, target)

    monkeypatch.setattr(os, "link", slower)
    assert digest_key(path) == (b"x" * KEY_BYTES, None)


def test_a_filesystem_without_links_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hard links are refused the file is moved into place."""

    def refused(_source: Path, _target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    key, problem = digest_key(tmp_path / "credential.key")
    assert problem is None
    assert (tmp_path / "credential.key").read_bytes() == key


@pytest.mark.parametrize("broken", ["no directory", "short"])
def test_without_a_disk_identities_still_work(tmp_path: Path, broken: str) -> None:
    """Where no key can be kept, or the file is damaged, a fixed one is used, and that is said with the place."""
    path = tmp_path / "file" / "credential.key"
    if broken == "short":
        path.parent.mkdir()
        path.write_bytes(b"short")
    else:
        path.parent.write_text("a file, not a directory")
    key, problem = digest_key(path)
    assert problem is not None
    assert problem.where == str(path)
    assert "fixed one" in str(problem)
    assert digest_key(path)[0] == key
