"""The router keys that `hr key` makes: kept as digests, shown once.

Owns `router-keys.json` in the data directory. The daemon is its only writer. It must never hold a key itself, and a
file that cannot be read makes keys unknown, never the router open.
"""

import difflib
import json
import re
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from hermes_router.core.errors import ControlError, VaultError
from hermes_router.core.ids import RouterKeyId, Secret
from hermes_router.core.router_keys import RouterKey, digest_of, id_of
from hermes_router.core.settings import DEFAULT_KEY
from hermes_router.store.files import read_private, set_aside, write_private

__all__ = ["RouterKeyStore", "key_of_row", "row_of_key"]

PREFIX: Final = "sk-hr-"
_TOKEN_BYTES: Final = 30  # 240 bits, 40 characters of the URL's alphabet
_VERSION: Final = 1
_MOST_NAME: Final = 64
_MOST_TAIL: Final = 8
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_EVERYBODYS: Final = digest_of(DEFAULT_KEY)
# `rpm` is kept as one instant a request, so it has a bound; nobody's caller comes near it.
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "rpm": (1, 100_000),
    "concurrency": (1, 100_000),
    "min_tier": (1, 5),
    "patience_s": (0, 86_400),
    "budget_microusd": (0, 10**15),
}
_LATEST: Final = 253_402_300_799.0  # the end of the year 9999
_WHOLE: Final = frozenset({"rpm", "concurrency", "min_tier", "budget_microusd"})


class _File(NamedTuple):
    """What the file holds; `whole` = every row of it is in `keys`."""

    keys: tuple[RouterKey, ...] = ()
    whole: bool = True


class RouterKeyStore:
    """Router keys on disk and in memory. `problems` says in one sentence each what of the file could not be used.

    `now` gives epoch seconds; `token` turns a number of random bytes into text of the URL's alphabet.
    """

    def __init__(
        self, path: Path, *, now: Callable[[], float], token: Callable[[int], str] = secrets.token_urlsafe
    ) -> None:
        self._path = path
        self._now = now
        self._token = token
        self.keys: tuple[RouterKey, ...] = ()
        self.problems: list[str] = []

    def load(self) -> tuple[RouterKey, ...]:
        """Read the file. Nothing is raised: what cannot be used is a problem, and the keys in it are unknown."""
        self.problems = []
        try:
            self.keys = self._read().keys
        except ControlError as error:
            self.keys = ()
            self.problems.append(f"{error.message}; its router keys are not known")
        return self.keys

    def add(
        self,
        name: str,
        *,
        providers: Collection[str] | None = None,
        rpm: int | None = None,
        concurrency: int | None = None,
        patience_s: float | None = None,
        min_tier: int | None = None,
        budget_microusd: int | None = None,
    ) -> tuple[RouterKey, str]:
        """Make a key, and return it with its text, which is nowhere to be had again.

        Raises ControlError: exit 2 for what cannot be a key of this name or these limits, 1 where it cannot be kept.
        """
        file = self._read()
        name = name.strip()
        limits = {
            "rpm": rpm,
            "concurrency": concurrency,
            "patience_s": patience_s,
            "min_tier": min_tier,
            "budget_microusd": budget_microusd,
        }
        fault = _name_fault(name) or _providers_fault(providers) or _limits_fault(limits)
        if fault is not None:
            raise ControlError(fault, code="usage", next_step="see `hr key add --help`", exit_code=2)
        if any(key.name == name for key in file.keys):
            raise ControlError(
                f"there is a router key named {name!r} already",
                code="usage",
                next_step="choose another name, or remove that key first",
                exit_code=2,
            )
        text = PREFIX + self._token(_TOKEN_BYTES)
        # SHA-256, without salt and without stretching: those make the guessing of words dear, and a key of 240 random
        # bits cannot be guessed at any price. A request pays for the digest each time, so it has to be cheap.
        digest = digest_of(text)
        made = RouterKey(
            id_of(digest),
            name,
            digest,
            Secret(text).tail,
            providers=None if providers is None else frozenset(providers),
            rpm=rpm,
            concurrency=concurrency,
            patience_s=patience_s,
            min_tier=min_tier,
            created_at=self._now(),
            budget_microusd=budget_microusd,
        )
        self._write(file, (*file.keys, made))
        return made, text

    def remove(self, which: str, *, keep_one: bool = False) -> RouterKey:
        """Forget a key by its id, its name, or its last four characters.

        `keep_one`: no other key is good but those of the file. Raises ControlError: exit 2 where that is none of them
        or several, 3 where none would be left that has to be, 1 where the file cannot be written.
        """
        file = self._read()
        which = which.strip()
        found = [key for key in file.keys if key.id == which] or [
            key for key in file.keys if which in (key.name, key.tail)
        ]
        if not found:
            names = [key.name for key in file.keys]
            near = difflib.get_close_matches(which, names, n=1)
            raise ControlError(
                f"no stored router key is named {which[:_MOST_NAME]!r}, has this id or ends so",
                code="usage",
                next_step=f"did you mean {near[0]!r}?" if near else "see `hr key list`",
                exit_code=2,
            )
        if len(found) > 1:
            listed = ", ".join(f"{key.name!r} (id {key.id})" for key in found)
            raise ControlError(
                f"{which!r} is more than one router key: {listed}",
                code="usage",
                next_step="give the id of the one to remove",
                exit_code=2,
            )
        left = tuple(key for key in file.keys if key is not found[0])
        if keep_one and not left:
            raise ControlError(
                "this is the last router key, and PROXY_API_KEYS is empty: nobody could be let in without it",
                code="refused",
                next_step="`hr key add NAME` makes another one first; `hr config unset PROXY_API_KEYS` lets the "
                "default key in again",
                exit_code=3,
            )
        self._write(file, left)
        return found[0]

    def bring_in(self, keys: Collection[RouterKey], *, replace: bool = False) -> list[tuple[RouterKey, bool]]:
        """Keep keys that were made elsewhere, by their digests: each as it is kept now, and whether that is new.

        One that is known stays as it is, and where a name is taken, a number is put behind it. With `replace`, what is
        here under that id or name gives way instead. Raises ControlError as `add` does; nothing is changed then.
        """
        file = self._read()
        kept = {key.id: key for key in file.keys}
        told: list[tuple[RouterKey, bool]] = []
        for one in keys:
            known = kept.get(one.id)
            if known is not None and not replace:
                told.append((known, False))
                continue
            taken = {key.name for key in kept.values()}
            name = one.name.strip()
            key = one._replace(
                name=name if replace else _free_name(name, taken), created_at=one.created_at or self._now()
            )
            _check(key)
            kept = {ident: other for ident, other in kept.items() if key.id != ident and key.name != other.name}
            kept[key.id] = key
            told.append((key, True))
        if any(is_new for _, is_new in told):
            self._write(file, tuple(kept.values()))
        return told

    # -- the file --------------------------------------------------------------------------------------

    def _read(self) -> _File:
        """The file as it is now; one that is no file of ours is set aside. Raises ControlError where that fails too."""
        try:
            data = read_private(self._path, said=self.problems)
        except (OSError, VaultError) as error:
            raise self._failed("cannot be read", error) from None
        if data is None:
            return _File()
        try:
            whole = json.loads(data)
            version = whole["version"]
            rows = whole["keys"] if version == _VERSION else []
            if type(version) is not int or not isinstance(rows, list):
                raise TypeError  # noqa: TRY301 - one way out for all that is not ours
        except (ValueError, KeyError, TypeError, RecursionError):
            self._set_aside()
            return _File()
        if version != _VERSION:
            raise ControlError(
                f"{self._path} was written by another version of hermes-router (format {version})",
                code="refused",
                next_step="run that version, or move the file away",
                exit_code=3,
            )
        return self._rows(rows)

    def _rows(self, rows: list[Any]) -> _File:
        keys: dict[str, RouterKey] = {}
        for number, row in enumerate(rows, 1):
            key = key_of_row(row)
            if key is None or key.id in keys or any(other.name == key.name for other in keys.values()):
                # A limit that cannot be read must not become no limit.
                self._note(f"entry {number} of {self._path} is damaged, and that router key is not known")
            else:
                keys[key.id] = key
        return _File(tuple(keys.values()), whole=len(keys) == len(rows))

    def _set_aside(self) -> None:
        try:
            aside = set_aside(self._path, self._stamp())
        except (OSError, VaultError) as error:
            raise self._failed("is damaged and cannot be set aside", error) from None
        self._note(f"{self._path} is damaged and was kept as {aside}; its router keys are not known")

    def _write(self, before: _File, keys: tuple[RouterKey, ...]) -> None:
        rows = [row_of_key(key) for key in keys]
        data = json.dumps({"version": _VERSION, "keys": rows}, indent=1, ensure_ascii=False).encode() + b"\n"
        try:
            if not before.whole:  # the damaged rows stay readable, and at no instant are the sound ones gone
                set_aside(self._path, self._stamp(), keep=True)
            write_private(self._path, data)
        except (OSError, VaultError) as error:
            raise self._failed("cannot be written", error) from None
        self.keys = keys

    def _failed(self, what: str, error: OSError | VaultError) -> ControlError:
        why = error.message if isinstance(error, VaultError) else error.strerror or type(error).__name__
        step = error.next_step if isinstance(error, VaultError) else ""
        return ControlError(
            f"{self._path} {what}: {why}", next_step=step or "mend that, then try again; nothing changed"
        )

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).strftime("%Y%m%dT%H%M%SZ")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _free_name(name: str, taken: Collection[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name[: _MOST_NAME - 6]} {number}"
    return found


def _check(key: RouterKey) -> None:
    """Raises ControlError (2) for what cannot be a key of this name, scope, limits or digest."""
    fault = _name_fault(key.name) or _providers_fault(key.providers) or _limits_fault(_limits(key))
    if not _is_mark(key.digest, key.tail) or key.id != id_of(key.digest):
        fault = "a router key is taken over by its SHA-256 in hexadecimal digits, and a few characters of its end"
    elif key.digest == _EVERYBODYS:
        fault = "this is the default key, which everybody knows: no stored key can be that"
    if fault is not None:
        raise ControlError(fault, code="usage", next_step="see `hr key add --help`", exit_code=2)


def _limits(key: RouterKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in _BOUNDS}


def _is_mark(digest: str, tail: str) -> bool:
    """Whether these are what is kept of a key: its digest, and too little of its end to guess it by."""
    return _DIGEST.fullmatch(digest) is not None and len(tail) <= _MOST_TAIL and tail.isprintable()


def _name_fault(name: str) -> str | None:
    if not 1 <= len(name) <= _MOST_NAME or not name.isprintable():
        return f"the name of a router key has 1 to {_MOST_NAME} printable characters"
    return None


def _providers_fault(providers: Collection[str] | None) -> str | None:
    if providers is not None and (not providers or not all(isinstance(p, str) and p for p in providers)):
        return "the providers of a router key are named one by one; leave them out for all"
    return None


def _limits_fault(limits: dict[str, Any]) -> str | None:
    for field, value in limits.items():
        low, high = _BOUNDS[field]
        kinds = (int,) if field in _WHOLE else (int, float)
        if value is not None and (type(value) not in kinds or not low <= value <= high):
            return (
                f"{field} of a router key is {'a whole number' if field in _WHOLE else 'a number'} from {low} to {high}"
            )
    return None


def row_of_key(key: RouterKey) -> dict[str, Any]:
    """How a key stands in the file."""
    providers = None if key.providers is None else sorted(key.providers)
    return {
        "id": key.id, "name": key.name, "digest": key.digest, "tail": key.tail, "providers": providers,
        "rpm": key.rpm, "concurrency": key.concurrency, "patience_s": key.patience_s, "min_tier": key.min_tier,
        "created_at": key.created_at, "budget_microusd": key.budget_microusd,
    }  # fmt: skip


def key_of_row(row: Any) -> RouterKey | None:
    """A key as written, None for what we did not write."""
    if not isinstance(row, dict):
        return None
    texts = [row.get(field) for field in ("id", "name", "digest", "tail")]
    providers = row.get("providers")
    limits = {field: row.get(field) for field in _BOUNDS}
    created_at = row.get("created_at")
    sound = (
        all(isinstance(text, str) for text in texts)
        and _is_mark(row["digest"], row["tail"])
        and row["id"] == id_of(row["digest"])
        and row["digest"] != _EVERYBODYS  # only PROXY_API_KEYS lets that in, and never from the network
        and _name_fault(row["name"]) is None
        and (providers is None or isinstance(providers, list))
        and _providers_fault(providers) is None
        and _limits_fault(limits) is None
        and isinstance(created_at, int | float)
        and 0 <= created_at <= _LATEST
    )
    if not sound or created_at is None:
        return None
    return RouterKey(
        RouterKeyId(row["id"]),
        row["name"],
        row["digest"],
        row["tail"],
        providers=None if providers is None else frozenset(providers),
        rpm=row.get("rpm"),
        concurrency=row.get("concurrency"),
        patience_s=row.get("patience_s"),
        min_tier=row.get("min_tier"),
        created_at=float(created_at),
        budget_microusd=row.get("budget_microusd"),
    )
