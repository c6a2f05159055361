"""`hr export`: a set-up as one value, to be carried to another machine.

Owns the choice of what goes along: what the owner said and made, never what was learned or spent, and secrets only
where they are asked for. It only reads.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from hermes_router import __version__
from hermes_router.control import carry_types as c
from hermes_router.control.places import Places
from hermes_router.core.accounts import CodexAccount
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.errors import ControlError
from hermes_router.core.ids import Credential
from hermes_router.core.records import EmbedBinding
from hermes_router.core.router_keys import RouterKey
from hermes_router.core.variables import CONFIDENTIAL, DERIVED, GLOBALS, PER_MODEL
from hermes_router.daemon import dotenv
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.desks.edit import toml_variables
from hermes_router.daemon.generations import Generations
from hermes_router.store.carried import account_to_carry, text_to_carry
from hermes_router.store.router_keys import row_of_key

__all__ = ["CarryOut", "is_setting"]

_WITH_PASSWORD: Final = re.compile(r"://[^/@\s\"']*@")
_OF_THE_MACHINE: Final = frozenset({"SECRET_STORE", "LOG_FILE"})  # where keys and the log can rest differs
_ELSEWHERE: Final = ("environment", "systemd credential")


def is_setting(name: str, catalog: Mapping[Any, ProviderSpec]) -> bool:
    """Whether a variable is a setting, and no key of a provider's."""
    if any(one.name == name for one in GLOBALS):
        return True
    endings = (*(one.name for one in DERIVED), "_LIMITS")
    parts = tuple(ending for ending, _ in PER_MODEL)
    return any(
        name in {f"{stem}{ending}" for ending in endings} or (name.startswith(f"{stem}_") and name.endswith(parts))
        for stem in (spec.name.upper() for spec in catalog.values())
    )


class CarryOut:
    """The way out. `router_keys`, `bindings` and `accounts` give what there is now."""

    def __init__(
        self,
        generations: Generations,
        *,
        router_keys: Callable[[], Iterable[RouterKey]],
        bindings: Callable[[], Iterable[EmbedBinding]],
        accounts: Callable[[], Iterable[CodexAccount]],
        now: Callable[[], float],
    ) -> None:
        self._generations = generations
        self._router_keys = router_keys
        self._bindings = bindings
        self._accounts = accounts
        self._now = now

    async def bundle(self, asked: c.CarryOut) -> c.Bundle:
        """The set-up as it is. Raises ControlError where a file of it cannot be read."""
        loaded, left_out = self._generations.loaded, list[str]()
        texts, providers = await asyncio.to_thread(_files, self._generations.places)
        settings = {name: text for name, text in texts.items() if is_setting(name, loaded.catalog)}
        stays = sorted(_OF_THE_MACHINE.intersection(settings))
        if stays:
            left_out.append(f"{', '.join(stays)}: of this machine, set there what fits")
        settings = {name: text for name, text in settings.items() if name not in _OF_THE_MACHINE}
        secret = {name: text for name, text in settings.items() if _is_secret(name, text)}
        if secret and not asked.with_secrets:
            left_out.append(f"{', '.join(sorted(secret))}: secret, see --with-secrets")
        if not asked.with_secrets and any(_WITH_PASSWORD.search(line) for line in providers):
            providers = []
            left_out.append("providers.toml: an address in it holds a password, see --with-secrets")
        keys = self._keys(loaded, left_out, with_secrets=asked.with_secrets)
        accounts = self._logins(left_out, with_secrets=asked.with_secrets)
        return c.Bundle(
            made_by=__version__,
            made_at=datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds"),
            with_secrets=asked.with_secrets,
            settings={name: text for name, text in sorted(settings.items()) if name not in secret},
            providers=providers,
            router_keys=[row_of_key(key) for key in self._router_keys()],
            embed_bindings=[one._asdict() for one in self._bindings()],
            secret_settings=dict(sorted(secret.items())) if asked.with_secrets else {},
            keys=keys,
            accounts=accounts,
            left_out=left_out,
        )

    def _keys(self, loaded: Loaded, left_out: list[str], *, with_secrets: bool) -> list[c.Given]:
        entries = {entry.id: entry for entry in self._generations.store.entries}
        unread = [e for e in entries.values() if e.id in self._generations.store.unavailable]
        mine = [one for one in loaded.credentials if one.kind == "api_key"]
        fixed = [one for one in mine if one.source in _ELSEWHERE]
        mine = [one for one in mine if one not in fixed]
        if fixed:
            names = sorted({one.secret_ref or one.source for one in fixed})
            left_out.append(f"{', '.join(names)}: from the daemon's environment, set it there, too")
        if not with_secrets:
            if mine or unread:
                number = len(mine) + len(unread)
                left_out.append(f"{number} provider key{'s' if number > 1 else ''}: secret, see --with-secrets")
            return []
        left_out += [f"a key of {e.provider} (…{e.tail}): it cannot be read now" for e in unread if e.kind != "command"]
        argvs = {entry.id: list(entry.argv) for entry in entries.values() if entry.kind == "command"}
        given = [
            c.Given(provider=e.provider, command=argvs[e.id], account=e.account or "")
            for e in unread
            if e.kind == "command"
        ]
        return [*(_given(loaded, one, argvs.get(one.id)) for one in mine), *given]

    def _logins(self, left_out: list[str], *, with_secrets: bool) -> list[dict[str, Any]]:
        found = list(self._accounts())
        borrowed = [one for one in found if one.read_only]
        if borrowed:
            left_out.append(
                f"{len(borrowed)} borrowed login: bring it in again there, `hr auth import-codex --read-only`"
            )
        found = [one for one in found if not one.read_only]
        if found and not with_secrets:
            left_out.append(f"{len(found)} login{'s' if len(found) > 1 else ''}: log in there, `hr auth login`")
            return []
        return [account_to_carry(one) for one in found]


def _given(loaded: Loaded, one: Credential, argv: list[str] | None) -> c.Given:
    account = "" if str(one.account) == str(one.id) else one.account.removeprefix(f"{one.provider}:")
    if argv is not None:
        return c.Given(provider=one.provider, command=argv, account=account)
    return c.Given(provider=one.provider, key=text_to_carry(loaded.vault.reveal(one)), account=account)


def _is_secret(name: str, text: str) -> bool:
    return (name in CONFIDENTIAL and bool(text.strip())) or _WITH_PASSWORD.search(text) is not None


def _files(places: Places) -> tuple[dict[str, str], list[str]]:
    """The variables of both files, the stronger one's text, and the lines of the owner's rows. Blocks."""
    texts: dict[str, str] = {}
    lines: list[str] = []
    try:
        with suppress(FileNotFoundError):
            texts |= toml_variables(places.config_file.read_text("utf-8-sig"))
        with suppress(FileNotFoundError):
            found, _ = dotenv.parse(places.env_file.read_bytes(), where="")
            texts |= {name: text for name, (text, _) in found.items()}
        with suppress(FileNotFoundError):
            lines = places.providers_file.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ControlError(
            f"{error.filename} cannot be read: {error.strerror}", next_step="let this user read it, then try again"
        ) from None
    except UnicodeDecodeError:
        raise ControlError(
            "a file of the configuration is not UTF-8", next_step="`hr doctor` says which; mend it, then try again"
        ) from None
    return texts, lines
