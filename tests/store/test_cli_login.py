"""hermes_router/store/cli_login.py: the CLI's login in every mode, and its file never harmed (facts/codex.md 1, 4)."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hermes_router.core.accounts import fingerprint
from hermes_router.core.errors import VaultError
from hermes_router.core.ids import Secret
from hermes_router.store.cli_login import CliHome, read_login, write_back

from ..codex.auth_server import Issuer, auth_json, jwt

NOW = 1_790_000_000.0


@pytest.fixture
def tokens() -> dict[str, Any]:
    return Issuer(lambda: NOW).login()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / ".codex" / "auth.json"
    found.parent.mkdir()
    return found


def refused(path: Path) -> VaultError:
    with pytest.raises(VaultError) as caught:
        read_login(path)
    return caught.value


def test_a_chatgpt_login_becomes_an_account(path: Path, tokens: dict[str, Any]) -> None:
    """Tokens, account, address and plan; the file is its origin; borrowed, it comes without a refresh token."""
    path.write_text(auth_json(tokens, last_refresh="2026-09-20T10:00:00.123456789Z"))
    account = read_login(path).account(now=NOW, label="work")
    assert account.refresh_token == Secret(tokens["refresh_token"])
    assert (account.account_id, account.email, account.plan) == ("acc-1", "owner@example.com", "plus")
    assert account.origin == str(path)
    assert account.expires_at == NOW + 864_000
    assert account.last_refresh_at == pytest.approx(1_789_898_400.123456)
    assert read_login(path).account(now=NOW, read_only=True).refresh_token is None


def test_old_files_without_a_mode_are_resolved_as_the_cli_does(path: Path, tokens: dict[str, Any]) -> None:
    """No `auth_mode`: an API key or a personal token makes it a login of that kind though tokens stand there, too."""
    document = json.loads(auth_json(tokens))
    del document["auth_mode"]
    path.write_text(json.dumps(document))
    assert read_login(path).tokens.refresh_token == Secret(tokens["refresh_token"])
    path.write_text(json.dumps(document | {"OPENAI_API_KEY": "sk-1"}))
    assert "API-key login" in refused(path).message
    path.write_text(json.dumps(document | {"personal_access_token": "at-123"}))
    assert "personal access token" in refused(path).message


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("apikey", "API-key login"),
        ("agentIdentity", "signed assertion"),
        ("headers", "another program"),
        ("bedrockApiKey", "Bedrock"),
        ("personalAccessToken", "names no account"),
        ("somethingNew", "not known here (somethingNew)"),
    ],
)
def test_a_login_of_another_kind_is_said_plainly(path: Path, tokens: dict[str, Any], mode: str, said: str) -> None:
    """What cannot be used is named, with what to do instead; nothing of it is shown."""
    path.write_text(auth_json(tokens, auth_mode=mode))
    error = refused(path)
    assert said in error.message
    assert "hr auth" in error.next_step
    assert "rt_" not in error.message


def test_a_hosts_tokens_are_never_refreshed(path: Path, tokens: dict[str, Any]) -> None:
    """`chatgptAuthTokens`: its refresh token is an empty string."""
    path.write_text(auth_json(tokens | {"refresh_token": ""}, auth_mode="chatgptAuthTokens"))
    assert read_login(path).account(now=NOW).refresh_token is None


def test_what_is_no_login_is_said_plainly(path: Path, tokens: dict[str, Any]) -> None:
    """Absent (which may be the keyring), a directory, unreadable, a pipe, damaged, logged out, nobody's."""
    assert "keyring" in refused(path).message
    path.mkdir()
    assert "is a directory" in refused(path).message
    path.rmdir()
    os.mkfifo(path)
    assert "not a regular file" in refused(path).message
    path.unlink()
    path.write_text(json.dumps({"auth_mode": "chatgpt", "tokens": None}))
    assert "logged out" in refused(path).message
    path.write_text(json.dumps({"tokens": {"access_token": jwt(exp=1), "account_id": None}}))
    assert "names no account" in refused(path).message
    path.write_bytes(b"x" * 2_000_000)
    assert "larger than" in refused(path).message


def test_a_file_cut_at_any_byte_is_no_login_and_stays(path: Path, tokens: dict[str, Any]) -> None:
    """At every length: a plain sentence or nothing, never another exception, and no write."""
    text = auth_json(tokens).encode()
    for length in range(0, len(text) - 1, 11):
        path.write_bytes(text[:length])
        assert "damaged" in refused(path).message
        assert CliHome().account(str(path), NOW) is None
        with pytest.raises(VaultError):
            write_back(path, fingerprint(Secret(tokens["refresh_token"])), read_of(text, path.parent).account(now=NOW))
        assert path.read_bytes() == text[:length]


def read_of(text: bytes, directory: Path) -> Any:
    whole = directory / "whole.json"
    whole.write_bytes(text)
    return read_login(whole)


def test_a_write_back_is_a_compare_and_swap(path: Path, tokens: dict[str, Any]) -> None:
    """Written where the spent token still stands, with everything else kept; else not at all."""
    path.write_text(auth_json(tokens))
    account = replace(read_login(path).account(now=NOW), refresh_token=Secret("rt_new"), last_refresh_at=NOW)
    before = json.loads(path.read_text())
    assert write_back(path, fingerprint(Secret(tokens["refresh_token"])), account)
    after = json.loads(path.read_text())
    assert after["tokens"].pop("refresh_token") == "rt_new"
    assert before["tokens"].pop("refresh_token") == tokens["refresh_token"]
    assert after.pop("last_refresh") == "2026-09-21T14:13:20.000000Z"
    before.pop("last_refresh")
    assert after == before
    text = path.read_bytes()
    assert not write_back(path, fingerprint(Secret(tokens["refresh_token"])), account)
    assert path.read_bytes() == text
    path.unlink()
    assert not write_back(path, fingerprint(Secret("rt_new")), account)
    assert not path.exists()


def test_what_changes_at_the_last_moment_stays(
    path: Path, tokens: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CLI writes while we do: its file is looked at once more before it is replaced."""
    path.write_text(auth_json(tokens))
    account = replace(read_login(path).account(now=NOW), refresh_token=Secret("rt_new"))
    fsync = os.fsync
    other = auth_json(Issuer(lambda: NOW).login("acc-2"))
    monkeypatch.setattr(os, "fsync", lambda handle: (path.write_text(other), fsync(handle))[1])
    assert not write_back(path, fingerprint(Secret(tokens["refresh_token"])), account)
    assert path.read_text() == other


def test_the_file_is_locked_beside_it(path: Path) -> None:
    """One holder at a time; where no lock can be had, that is said."""
    held = CliHome().hold(str(path))
    assert held is not None
    assert CliHome().hold(str(path)) is None
    held.release()
    with pytest.raises(VaultError):
        CliHome().hold(str(path.parent / "missing" / "auth.json"))
