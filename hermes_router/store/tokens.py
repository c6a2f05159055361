"""The token file: every ChatGPT account of this installation, on the disk before it is used.

Owns the file `codex-accounts.json`, its lock, and one lock for each account's refresh. A change is a reading, a change
and a writing under the lock, so that the daemon and `hr` lose nothing of one another's. It must never send a token
anywhere, nor decide which of two is the better.
"""

import errno
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from hermes_router.core.accounts import CodexAccount
from hermes_router.core.errors import VaultError
from hermes_router.core.ids import CredentialId, Secret
from hermes_router.store.file_lock import FileLock, Unobtainable, take
from hermes_router.store.files import file_stamp, read_private, set_aside, write_private
from hermes_router.store.token_rows import account_of_row, row_of_account

__all__ = ["TokenFile"]

FORMAT: Final = 1
WAIT_S: Final = 10.0  # for the file: whoever holds it writes a few kilobytes


class TokenFile:
    """The accounts at `path`. Every method blocks on the disk: call them in a thread.

    `said` gathers what reading brought up, each sentence once; whoever shows them clears it.
    """

    def __init__(self, path: Path, *, now: Callable[[], float], wait_s: float = WAIT_S) -> None:
        self.path = path
        self.said: list[str] = []
        self._now = now
        self._wait_s = wait_s
        self._mine = threading.RLock()  # the file's lock is one for all threads of this object
        self._depth = 0

    # -- reading -----------------------------------------------------------------------------------

    def read(self) -> tuple[CodexAccount, ...]:
        """The accounts, in the order in which they were added; none where there is no file.

        A damaged file is kept under another name and counts as empty. Raises VaultError where it cannot be read, or is
        a later version's.
        """
        return _accounts(self._document(damaged="aside"))

    def peek(self) -> tuple[CodexAccount, ...]:
        """The same for whoever is not in charge of the file: a damaged one stays where it is. Raises VaultError."""
        return _accounts(self._document())

    def find(self, ident: CredentialId) -> CodexAccount | None:
        """One account as it is on the disk now. Raises VaultError."""
        return next((account for account in self.peek() if account.id == ident), None)

    def stamp(self) -> tuple[int, int, int] | None:
        """What changes whenever the file does; None where there is none."""
        return file_stamp(self.path)

    # -- writing -----------------------------------------------------------------------------------

    def put(self, account: CodexAccount) -> None:
        """Add an account, or replace the one of this id; durable on return. Raises VaultError: nothing was changed."""
        with self.locked():
            self._put(self._document(), account)

    def replace(self, account: CodexAccount, expected: Secret | None) -> bool:
        """Replace the account of this id if its refresh token is still the expected one. Raises VaultError.

        False, and nothing is changed, where it is another or the account is gone: read again and judge anew.
        """
        with self.locked():
            document = self._document()
            there = next((one for one in _accounts(document) if one.id == account.id), None)
            if there is None or there.refresh_token != expected:
                return False
            self._put(document, account)
            return True

    def update(self, ident: CredentialId, change: Callable[[CodexAccount], CodexAccount]) -> CodexAccount | None:
        """Change an account as it is on the disk now; what it is then, None where it is gone. Raises VaultError."""
        with self.locked():
            document = self._document()
            there = next((one for one in _accounts(document) if one.id == ident), None)
            if there is None:
                return None
            changed = change(there)
            if changed != there:
                self._put(document, changed)
            return changed

    def remove(self, ident: CredentialId) -> bool:
        """Forget an account; whether there was one. Raises VaultError."""
        with self.locked():
            document = self._document()
            rows = document.get("accounts", [])
            kept = [row for row in rows if not (isinstance(row, dict) and row.get("id") == ident)]
            if len(kept) == len(rows):
                return False
            self._write(document | {"accounts": kept})
            return True

    def installation_id(self) -> str:
        """The identity of this installation towards the plan route, made once (`urn:uuid:…`). Raises VaultError."""
        with self.locked():
            document = self._document()
            found = document.get("installation_id")
            if isinstance(found, str) and found:
                return found
            made = uuid.uuid4().urn
            self._write(document | {"installation_id": made})
            return made

    # -- locks -------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file against other processes and threads, for several changes that belong together.

        Raises VaultError where somebody holds it for too long.
        """
        with self._mine:
            held = self._take() if self._depth == 0 else None
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if held is not None:
                    held.release()

    def spending(self, ident: CredentialId) -> FileLock | None:
        """Hold an account against every other process that would spend its refresh token; any thread may release it.

        None where somebody holds it now. Raises VaultError where no lock can be had.
        """
        return self._try(self._beside(f"{ident}.lock"), 0.0)

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{ending}")

    def _take(self) -> FileLock:
        held = self._try(self._beside("lock"), self._wait_s)
        if held is None:
            raise VaultError(f"{self.path} is in use by another process", next_step="try again when that one is done")
        return held

    def _try(self, path: Path, wait_s: float) -> FileLock | None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return take(path, wait_s)
        except Unobtainable:
            return None
        except OSError as error:
            raise self._fault(error, "cannot be locked") from None

    # -- the document ------------------------------------------------------------------------------

    def _document(self, damaged: Literal["aside", "refuse"] = "refuse") -> dict[str, Any]:
        try:
            data = read_private(self.path, said=self.said)
        except OSError as error:
            raise self._fault(error, "cannot be read") from None
        if data is None:
            return {}
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("accounts", []), list):
            if damaged == "refuse":  # else a change would make it a file without the other accounts
                raise VaultError(
                    f"{self.path} is damaged", next_step="try again in ten seconds: the daemon sets it aside"
                )
            self._set_aside()
            return {}
        version = found.get("version")
        if isinstance(version, int) and version > FORMAT:
            raise VaultError(
                f"{self.path} was written by a later version",
                next_step="run that version, or move the file away and log in again",
            )
        lost = sum(1 for row in found.get("accounts", []) if account_of_row(row) is None)
        if lost:
            self._say(f"{lost} of the accounts in {self.path} cannot be read and were left as they are")
        return found

    def _set_aside(self) -> None:
        stamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y%m%dT%H%M%SZ")
        try:
            aside = set_aside(self.path, stamp)
        except FileNotFoundError:
            return  # another process has just done it
        except OSError as error:
            raise self._fault(error, "is damaged and cannot be set aside") from None
        self._say(
            f"{self.path} is damaged and was set aside as {aside}; what is in use stays, "
            "else bring the login in again with `hr auth import-codex` or `hr auth login codex`"
        )

    def _put(self, document: Mapping[str, Any], account: CodexAccount) -> None:
        rows = list(document.get("accounts", []))
        for place, row in enumerate(rows):
            if isinstance(row, dict) and row.get("id") == account.id:
                rows[place] = row_of_account(account, row)
                break
        else:
            rows.append(row_of_account(account))
        self._write(dict(document) | {"accounts": rows})

    def _write(self, document: Mapping[str, Any]) -> None:
        try:
            write_private(self.path, json.dumps({"version": FORMAT} | dict(document), indent=1).encode() + b"\n")
        except OSError as error:
            raise self._fault(error, "cannot be written") from None

    def _fault(self, error: OSError, what: str) -> VaultError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return VaultError(
            f"{self.path} {what}: {error.strerror or type(error).__name__}; nothing was changed",
            next_step=f"make room on the disk that holds {self.path.parent}"
            if full
            else f"let this user read and write {self.path.parent}",
        )

    def _say(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.append(sentence)


def _accounts(document: Mapping[str, Any]) -> tuple[CodexAccount, ...]:
    found: dict[str, CodexAccount] = {}
    for row in document.get("accounts", []):
        account = account_of_row(row)
        if account is not None:
            found.setdefault(account.id, account)
    return tuple(found.values())
