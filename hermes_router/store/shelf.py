"""The two files of stored credentials, the index and the secrets, as they are on the disk.

Owns their reading, their repair and the rule that a file which cannot be read whole is set aside, never overwritten.
It must never decide where a secret goes, and knows no keyring.
"""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from hermes_router.core.errors import VaultError
from hermes_router.store.file_store import Kept, entry_of, parse_secrets, write_secrets
from hermes_router.store.files import read_private, set_aside, write_private
from hermes_router.store.index import Entry, Index, NewerFormat, parse, render, username

__all__ = ["Shelf"]

_State = Literal["whole", "absent", "damaged", "barred"]
_T = TypeVar("_T")


class Shelf:
    """`index` and `kept` (secrets by name) are what stands on the disk; `said` is what its reading brought up.

    `indexed` = there is an index file. Where there is none, secrets in the file are taken for keys that lost it.

    What cannot be read and is not ours to replace (another user's, a later version's, an unreadable disk) is barred:
    it is left alone, and every write to it is refused with the reason.
    """

    def __init__(self, index_path: Path, secrets_path: Path, now: Callable[[], float]) -> None:
        self._index_path = index_path
        self._secrets_path = secrets_path
        self._now = now
        self._barred: dict[Path, VaultError] = {}
        self.index = Index()
        self.indexed = False
        self.kept: dict[str, Kept] = {}
        self.said: list[str] = []

    @property
    def why_no_secrets(self) -> str:
        """Why a secret that should be in the file is not here."""
        barred = self._barred.get(self._secrets_path)
        return barred.message if barred is not None else f"{self._secrets_path} does not hold it"

    def load(self) -> None:
        """Read both files; never raises. What was in memory and is gone from the disk, or damaged, is written again."""
        self.said = []
        self._barred = {}
        self._close_directory()
        index, index_state = self._read(self._index_path, parse, Index())
        nothing: dict[str, Kept] = {}
        kept, kept_state = self._read(self._secrets_path, parse_secrets, nothing)
        if kept_state != "whole":
            kept = {**kept, **self.kept}
        match index_state:
            case "absent" | "damaged":
                index = self._joined(index, self.index, kept)
            case "barred":
                index = self.index
            case "whole":
                pass
        before, self.index = self.index, index
        self.indexed = index_state == "whole"
        self.kept = kept
        self._repair(index_state, kept_state, had=bool(before.entries))

    def write_index(self, index: Index) -> None:
        """Put an index in force. Raises VaultError; the old one stays then, on the disk and here."""
        self._write(self._index_path, lambda path: write_private(path, render(index)))
        self.index = index
        self.indexed = True

    def write_secrets(self, kept: Mapping[str, Kept], *, anyway: bool = False) -> None:
        """Put these secrets in force, and no others; `anyway` = though they are. Raises VaultError: the old stay."""
        if kept == self.kept and not anyway:
            return
        self._write(self._secrets_path, lambda path: write_secrets(path, kept))
        self.kept = dict(kept)

    def secrets_on_disk(self) -> dict[str, Kept]:
        """The file of secrets, read back. Raises VaultError where that fails."""
        try:
            data = read_private(self._secrets_path)
            return {} if data is None else parse_secrets(data)[0]
        except (OSError, NewerFormat) as error:
            raise VaultError(f"{self._secrets_path} cannot be read back", next_step="look at the disk") from error

    def belonging(self) -> dict[str, Kept]:
        """The secrets that an entry says are in the file."""
        wanted = {username(entry) for entry in self.index.entries if entry.store == "file"}
        return {name: kept for name, kept in self.kept.items() if name in wanted}

    # -- reading ---------------------------------------------------------------------------------------

    def _read(self, path: Path, parse_file: Callable[[bytes], tuple[_T, bool]], nothing: _T) -> tuple[_T, _State]:
        try:
            data = read_private(path, said=self.said)
        except OSError as error:
            self._bar(path, f"{path} cannot be read: {_why(error)}", "give it back to this user, or move it away")
            return nothing, "barred"
        if data is None:
            return nothing, "absent"
        try:
            found, whole = parse_file(data)
        except NewerFormat:
            self._bar(path, f"{path} was written by a later version", "run that version, or move the file away")
            return nothing, "barred"
        if whole:
            return found, "whole"
        stamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y%m%dT%H%M%SZ")
        try:
            aside = set_aside(path, stamp, keep=True)  # the old name is written anew at once
        except OSError as error:
            said = f"{path} is damaged, and cannot be set aside: {_why(error)}"
            self._bar(path, said, "make the directory writable, then start again")
        else:
            self.said.append(
                f"{path} is damaged and was set aside as {aside}; add what is missing now with `hr auth add`, "
                "or repair that file and move it back"
            )
        return found, "damaged"

    def _bar(self, path: Path, said: str, next_step: str) -> None:
        self._barred[path] = VaultError(said, next_step=next_step)
        self.said.append(f"{said}; {next_step}")

    def _joined(self, found: Index, memory: Index, kept: Mapping[str, Kept]) -> Index:
        """The best index that can be made: what the file still says, what we remember, and whose secrets there are."""
        entries: dict[str, Entry] = {entry.id: entry for entry in (*found.entries, *memory.entries)}
        for name, one in kept.items():
            entry = entry_of(name, one)
            if entry is not None:
                entries.setdefault(entry.id, entry)
        return Index(tuple(entries.values()), memory.decision or found.decision, found.sweep | memory.sweep)

    # -- repair ----------------------------------------------------------------------------------------

    def _close_directory(self) -> None:
        """0700, where it is ours: a directory that others may write to is no place for a file of ours."""
        directory = self._index_path.parent
        with suppress(FileNotFoundError):
            try:
                found = directory.stat()
                mode = stat.S_IMODE(found.st_mode)
                if found.st_uid == os.geteuid() and mode & 0o077:
                    directory.chmod(0o700)
                    self.said.append(f"{directory} was open to others (mode {mode:04o}); it is now yours alone (0700)")
            except PermissionError as error:
                self.said.append(f"{directory} is open to others, which cannot be changed here: {_why(error)}")

    def _repair(self, index_state: _State, kept_state: _State, *, had: bool) -> None:
        """Write what reading put right, the index first: after it, what belongs to no entry is an orphan."""
        try:
            if index_state == "damaged" or (index_state == "absent" and self.index.entries):
                if index_state == "absent":
                    where = "memory" if had else str(self._secrets_path)
                    self.said.append(f"{self._index_path} was gone; it was made again from {where}")
                self.write_index(self.index)
            if index_state != "barred" and kept_state != "barred":
                wanted = self.belonging()
                self.write_secrets(wanted, anyway=kept_state == "damaged" or (kept_state == "absent" and bool(wanted)))
        except VaultError as error:
            if error not in self._barred.values():
                self.said.append(f"{error.message}; {error.next_step}")

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        barred = self._barred.get(path)
        if barred is not None:
            raise barred
        try:
            write(path)
        except OSError as error:
            directory = path.parent
            next_step = (
                f"make room on the disk that holds {directory}, then try again"
                if error.errno in (errno.ENOSPC, errno.EDQUOT)
                else f"let this user write in {directory}, then try again"
            )
            raise VaultError(
                f"{path} cannot be written: {_why(error)}; nothing was changed", next_step=next_step
            ) from None


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
