"""hermes_router/store/tokens.py: the token file loses nothing, shows nothing, and is never half written."""

import json
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from hermes_router.core.accounts import BACKEND_CLIENT_ID, CodexAccount, Tokens, account_of_tokens
from hermes_router.core.errors import VaultError
from hermes_router.core.ids import Secret
from hermes_router.store.tokens import TokenFile

NOW = 1_790_000_000.0


def account(name: str = "a", token: str = "r1") -> CodexAccount:
    tokens = Tokens(Secret(f"access-{name}"), Secret(token), Secret("id"))
    return account_of_tokens(tokens, now=NOW, route="backend", client_id=BACKEND_CLIENT_ID, account_id=name, label=name)


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "data" / "codex-accounts.json", now=lambda: NOW, wait_s=0.1)


def test_what_is_put_is_read(file: TokenFile) -> None:
    """Every field comes back, in the order in which accounts came; the file is the owner's alone."""
    first = replace(
        account("a"),
        origin="/x/auth.json",
        read_only=True,
        spending_since=5.0,
        dead="gone",
        owed="f",
        fedramp=True,
        earliest_refresh_at=7.0,
        installation_id="urn:uuid:1",
    )
    assert file.read() == ()
    file.put(first)
    file.put(account("b"))
    assert file.read() == (first, account("b"))
    assert file.find(first.id) == first
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert file.remove(first.id)
    assert not file.remove(first.id)
    assert file.read() == (account("b"),)


def test_a_replacement_is_a_compare_and_swap(file: TokenFile) -> None:
    """Tokens are replaced only where the refresh token is still the one that was spent for them."""
    file.put(account("a", "r1"))
    assert file.replace(account("a", "r2"), Secret("r1"))
    assert not file.replace(account("a", "r3"), Secret("r1"))
    assert not file.replace(account("gone"), None)
    assert file.read()[0].refresh_token == Secret("r2")


def test_keys_of_a_later_version_stay(file: TokenFile) -> None:
    """What is not known here is kept, in the document as in an account, and a row that cannot be read is left alone."""
    file.put(account("a"))
    document = json.loads(file.path.read_text())
    document["later"] = {"x": 1}
    document["accounts"][0]["novel"] = [1]
    document["accounts"].append({"id": "strange", "route": "teleport"})
    file.path.write_text(json.dumps(document))
    file.put(account("a", "r2"))
    file.update(account("a").id, lambda one: replace(one, dead="x"))
    after = json.loads(file.path.read_text())
    assert after["later"] == {"x": 1}
    assert after["accounts"][0]["novel"] == [1]
    assert after["accounts"][0]["dead"] == "x"
    assert after["accounts"][1] == {"id": "strange", "route": "teleport"}
    assert len(file.said) == 1


def test_a_file_cut_at_any_byte_is_kept_aside(file: TokenFile) -> None:
    """Whatever is left of it is kept under another name, said, and nothing is raised."""
    file.put(account("a"))
    whole = file.path.read_bytes()
    for length in range(0, len(whole) - 2, 37):
        file.path.write_bytes(whole[:length])
        file.said.clear()
        for act in (file.peek, lambda: file.put(account("b")), lambda: file.find(account("a").id)):
            with pytest.raises(VaultError, match="damaged"):
                act()
        assert file.path.read_bytes() == whole[:length]
        assert file.read() == ()
        assert "set aside" in file.said[0]
        kept = list(file.path.parent.glob("*.damaged-*"))
        assert [one.read_bytes() for one in kept] == [whole[:length]]
        kept[0].unlink()
        file.put(account("a"))
        assert len(file.read()) == 1


@pytest.mark.parametrize("data", [b"[]", b"null", b'{"accounts": 5}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_token_file_is_kept_aside(file: TokenFile, data: bytes) -> None:
    """Another document in its place is none of ours to lose."""
    file.put(account("a"))
    file.path.write_bytes(data)
    assert file.read() == ()
    assert [one.read_bytes() for one in file.path.parent.glob("*.damaged-*")] == [data]


def test_a_later_format_is_left_alone(file: TokenFile) -> None:
    """Neither read nor written: a later version's file is refused in words."""
    file.put(account("a"))
    text = file.path.read_text().replace('"version": 1', '"version": 2')
    file.path.write_text(text)
    for act in (file.read, lambda: file.put(account("b")), lambda: file.remove(account("a").id)):
        with pytest.raises(VaultError, match="later version"):
            act()
    assert file.path.read_text() == text


def test_a_directory_in_its_place_is_said(file: TokenFile) -> None:
    """It is neither removed nor written into."""
    file.path.mkdir(parents=True)
    with pytest.raises(VaultError, match="cannot be read"):
        file.read()
    with pytest.raises(VaultError, match="cannot be read"):
        file.put(account("a"))


def test_changes_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    """Eight writers with objects of their own, as processes have: each change is there at the end."""
    path = tmp_path / "codex-accounts.json"

    def write(name: str) -> None:
        mine = TokenFile(path, now=lambda: NOW)
        mine.put(account(name))
        for number in range(3):
            mine.update(account(name).id, lambda one, n=number: replace(one, last_refresh_at=float(n)))

    threads = [threading.Thread(target=write, args=(f"a{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = TokenFile(path, now=lambda: NOW).read()
    assert {one.account_id for one in found} == {f"a{number}" for number in range(8)}
    assert {one.last_refresh_at for one in found} == {2.0}


def test_the_locks_are_bounded(file: TokenFile) -> None:
    """The file's lock is waited for and then refused in words; an account's is had or not, and any thread lets go."""
    other = TokenFile(file.path, now=lambda: NOW, wait_s=0.05)
    with file.locked(), file.locked():
        file.put(account("a"))
        with pytest.raises(VaultError, match="in use"):
            other.put(account("b"))
    other.put(account("b"))
    held = file.spending(account("a").id)
    assert held is not None
    assert other.spending(account("a").id) is None
    assert other.spending(account("b").id) is not None
    releasing = threading.Thread(target=held.release)
    releasing.start()
    releasing.join()
    assert other.spending(account("a").id) is not None


def test_the_installation_is_named_once(file: TokenFile) -> None:
    """One identity towards the plan route, whatever else changes."""
    first = file.installation_id()
    assert first.startswith("urn:uuid:")
    file.put(account("a"))
    assert file.installation_id() == first


def test_no_write_leaves_an_open_or_stray_file(file: TokenFile) -> None:
    """After many changes: one file and its locks."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        file.put(account("a", f"r{number}"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert sorted(one.name for one in file.path.parent.iterdir()) == [
        ".codex-accounts.json.lock",
        "codex-accounts.json",
    ]
