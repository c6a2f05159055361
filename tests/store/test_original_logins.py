"""hermes_router/store/original_logins.py: the original's ChatGPT accounts, read in every state, never written."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hermes_router.core.errors import VaultError
from hermes_router.store.original_logins import read_original

from ..codex.auth_server import jwt

NOW = 1_790_000_000.0
ACCESS = jwt(
    exp=NOW + 86_400,
    iat=NOW - 60,
    **{"https://api.openai.com/auth": {"chatgpt_account_id": "acc-1", "chatgpt_user_id": "u-1"}},
)
ROW = {"account_id": "acc-1", "access_token": ACCESS, "refresh_token": "rt-1", "last_refresh": "2026-09-21T08:00:00Z"}


def write(path: Path, *rows: Any) -> Path:
    path.write_text(json.dumps({"providers": {}, "codex_accounts": list(rows)}))
    return path


def test_an_account_is_read_whole(tmp_path: Path) -> None:
    """Its tokens, whose it is, when it ends; it is nobody's file's from then on."""
    (one,) = read_original(write(tmp_path / "auth.json", ROW), now=NOW)
    account = one.account
    assert account is not None
    assert (account.account_id, account.user_id, account.route, account.origin) == ("acc-1", "u-1", "backend", None)
    assert (account.expires_at, account.added_at) == (NOW + 86_400, NOW)
    assert account.refresh_token is not None
    assert account.refresh_token.reveal() == "rt-1"
    assert account.last_refresh_at == 1_789_977_600.0
    assert "rt-1" not in repr(one)


@pytest.mark.parametrize(("said", "seconds"), [(1_789_000_000, 1_789_000_000.0), (None, 0.0), (True, 0.0), ("x", 0.0)])
def test_the_last_refresh_is_a_number_or_a_date(tmp_path: Path, said: Any, seconds: float) -> None:
    """The original writes both; what cannot be read is unknown."""
    (one,) = read_original(write(tmp_path / "auth.json", ROW | {"last_refresh": said}), now=NOW)
    assert one.account is not None
    assert one.account.last_refresh_at == seconds


@pytest.mark.parametrize(
    ("changes", "fault"), [({"access_token": ""}, "no access token"), ({"account_id": 7}, "names no account")]
)
def test_an_entry_of_no_use_says_why(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    """And costs the others nothing."""
    bad, good = read_original(write(tmp_path / "auth.json", ROW | changes, ROW), now=NOW)
    assert bad.account is None
    assert fault in bad.fault
    assert good.account is not None


@pytest.mark.parametrize("text", ["{", "[]", '"x"', ""])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    """And it stays as it is."""
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(VaultError, match="damaged"):
        read_original(path, now=NOW)
    assert path.read_text() == text


def test_what_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    """None there, a directory, a pipe that nobody writes to, one that is far too large."""
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("none", "No such file"), (".", "cannot be read"), ("pipe", "not a regular file")):
        with pytest.raises(VaultError, match=said):
            read_original(tmp_path / name, now=NOW)
    large = tmp_path / "large"
    large.write_bytes(b" " * (1 << 20) + b" ")
    with pytest.raises(VaultError, match="larger"):
        read_original(large, now=NOW)


@pytest.mark.parametrize("rows", [None, {}, "x"])
def test_no_accounts_are_none(tmp_path: Path, rows: Any) -> None:
    """A file without them, or with something else in their place, has none."""
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"codex_accounts": rows}))
    assert read_original(path, now=NOW) == []
