"""What `hr config`, `hr mode`, `hr model`, `hr provider` and `hr reload` ask for.

Owns the change of a setting: tried as a whole on a reading of the files as they would be, refused with its reason or
written where the value in force lives, and in force at once. It must never edit what is not a file of the owner's, and
never show a secret.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from hermes_router.control import types as t
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.errors import ControlError
from hermes_router.core.ids import Credential, ProviderName, Secret
from hermes_router.core.setting_values import listed
from hermes_router.core.settings_parse import SHARED_LAYER, is_ours
from hermes_router.core.variables import COLD, CONFIDENTIAL, DERIVED, GLOBALS
from hermes_router.daemon import dotenv
from hermes_router.daemon.config import SYSTEMD_CREDENTIAL, Loaded
from hermes_router.daemon.desks.edit import edit_env, edit_toml, toml_variables
from hermes_router.daemon.generations import Generations

__all__ = ["ConfigDesk", "differences", "find_provider"]

_DOCS: Final = {one.name: one.doc for one in GLOBALS}
_ENDINGS: Final = {one.name: one.doc for one in DERIVED}
_LEFT_OUT: Final = re.compile(r"; (?:it|the (?:file|row)) is (?:skipped|left out)$")


def find_provider(catalog: Mapping[ProviderName, ProviderSpec], name: str) -> ProviderSpec:
    """The row of this name, in any case and with dashes. Raises ControlError (exit 2) with near names."""
    wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
    spec = catalog.get(ProviderName(wanted))
    if spec is None:
        near = difflib.get_close_matches(wanted, catalog, n=2, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "`hr auth list` shows all of them"
        raise ControlError(f"no provider is called {name[:60]!r}", code="unknown_provider", next_step=hint, exit_code=2)
    return spec


class ConfigDesk:
    """The settings of one daemon, as `hr` sees and changes them."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._began = generations.loaded
        self.reloading: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered for the time of a reload: the service manager is told."""

    async def reload(self) -> t.Reloaded:
        """Read everything again. Raises ControlError (3) where not all can be in force: the old generation stays."""
        with self.reloading():
            return await self._reload()

    async def _reload(self) -> t.Reloaded:
        async with self._generations.lock:
            before = self._generations.loaded
            await self._generations.read_store()
            loaded = await self._generations.read()
            refusal = self._generations.refusal(loaded)
            if refusal is not None:
                raise ControlError(
                    _LEFT_OUT.sub("", str(refusal)),
                    code="bad_config",
                    next_step="mend it, then `hr reload` again; until then the configuration in force stays as it is",
                    exit_code=3,
                )
            self._generations.put(loaded)
        changed = differences(before, loaded)
        return t.Reloaded(
            generation=self._generations.number,
            changed=changed,
            needs_restart=[name for name in differences(self._began, loaded) if name in COLD],
            problems=[str(problem) for problem in loaded.problems],
            targets=self._generations.targets,
        )

    async def config(self) -> t.Config:
        """Every setting with its value and its source; what is not set shows its default."""
        loaded = self._generations.loaded
        names = [one.name for one in GLOBALS]
        names += sorted(name for name in loaded.settings.sources if name not in _DOCS)
        places = self._generations.places
        return t.Config(
            rows=[self._row(loaded, name) for name in names],
            problems=[str(problem) for problem in loaded.problems],
            files=[str(path) for path in (places.config_file, places.env_file, places.providers_file)],
        )

    def _row(self, loaded: Loaded, name: str) -> t.ConfigRow:
        return t.ConfigRow(
            name=name,
            value=_shown(loaded, name),
            source=loaded.settings.sources.get(name, "default"),
            doc=_doc(name),
            hot=name not in COLD,
        )

    async def change(self, changes: Mapping[str, str | None]) -> t.Changed:
        """Change settings, all or none. Raises ControlError: unknown or malformed (2), shadowed (3)."""
        generations = self._generations
        async with generations.lock:
            before = generations.loaded
            wanted = {self._named(before, name): value for name, value in changes.items()}
            files: dict[Path, bytes] = {}
            where: dict[str, Path] = {}
            for name, value in wanted.items():
                where[name] = path = self._home(before, name)
                files[path] = _edited(path, files[path] if path in files else _content(path), name, value)
            loaded = await generations.read(files)
            self._check(loaded, wanted)
            for name, value in wanted.items():
                self._check_in_force(loaded, name, value)
            for path, data in files.items():
                await generations.write(path, data)
            generations.put(loaded)
        return t.Changed(
            rows=[
                t.ChangedRow(name=name, before=_shown(before, name), after=_shown(loaded, name), file=str(where[name]))
                for name in wanted
            ],
            needs_restart=[name for name in wanted if name in COLD],
            generation=generations.number,
        )

    async def set_models(self, asked: t.SetModels) -> t.Changed:
        """The models of a provider, in order; None = back to the row's own."""
        spec = find_provider(self._generations.loaded.catalog, asked.provider)
        if asked.models is not None and not [one for one in asked.models if one.strip()]:
            raise ControlError("no model was named", code="usage", next_step="name one or more", exit_code=2)
        value = None if asked.models is None else ",".join(one.strip() for one in asked.models)
        return await self.change({f"{spec.name.upper()}_MODEL": value})

    async def enable(self, asked: t.EnableProvider) -> t.Changed:
        """Let a provider take part, or not."""
        spec = find_provider(self._generations.loaded.catalog, asked.provider)
        return await self.change({f"{spec.name.upper()}_ENABLED": None if asked.enabled else "0"})

    async def take_out(self, credential: Credential) -> None:
        """Take one key out of the file where it stands; the caller holds the lock. Raises ControlError."""
        path = self._file(credential.source)
        data, key = _content(path), self._generations.loaded.digest_key
        name = credential.secret_ref
        raw = text_of(path, data, name)
        kept = [one for one in listed(raw) if Secret(one).digest(key, credential.provider) != credential.id]
        await self._generations.write(path, _edited(path, data, name, ",".join(kept) or None))

    # -- checks ----------------------------------------------------------------------------------------

    def _named(self, loaded: Loaded, name: str) -> str:
        variable = name.strip().upper().replace("-", "_").replace(".", "_")
        known = is_ours(loaded.catalog)
        if known(variable) and ("_API_KEY" in variable and variable not in CONFIDENTIAL):
            provider = variable.partition("_API_KEY")[0].lower()
            raise ControlError(
                f"{variable} is a key, not a setting", next_step=f"use `hr auth add {provider}`", exit_code=2
            )
        if not known(variable):
            names = [*_DOCS, *(f"{spec.upper()}{ending}" for spec in loaded.catalog for ending in _ENDINGS)]
            near = difflib.get_close_matches(variable, names, n=2, cutoff=0.7)
            hint = f"did you mean {' or '.join(near)}?" if near else "`hr config list` shows all of them"
            raise ControlError(f"{name[:80]!r} is not a setting", code="unknown_setting", next_step=hint, exit_code=2)
        return variable

    def _home(self, loaded: Loaded, name: str) -> Path:
        """The file where the value in force lives; without one, `.env` for what is confidential, else config.toml."""
        places = self._generations.places
        source = loaded.settings.sources.get(name, "default")
        if source == SHARED_LAYER:
            raise ControlError(
                f"{name} is set in the daemon's environment, which is stronger than any file",
                code="shadowed",
                next_step=f"take {name} out of the environment (or the service's unit) and restart",
                exit_code=3,
            )
        if source == SYSTEMD_CREDENTIAL:
            raise ControlError(
                f"{name} is a credential of the service's unit, which only its manager can change",
                code="shadowed",
                next_step=f"take LoadCredential={name} (or LoadCredentialEncrypted=) out of the unit and restart",
                exit_code=3,
            )
        if source == "default":
            return places.env_file if name in CONFIDENTIAL else places.config_file
        return self._file(source)

    def _file(self, source: str) -> Path:
        """The file of a source such as `/path/.env:12`."""
        places = self._generations.places
        return places.env_file if source.startswith(f"{places.env_file}:") else places.config_file

    def _check(self, loaded: Loaded, wanted: Collection[str]) -> None:
        """Refuse what could not be in force, and what these changes would break."""
        refusal = self._generations.refusal(loaded)
        if refusal is None:
            return
        is_value = refusal.message.partition(" ")[0] in wanted  # of the change itself: no need to say where
        raise ControlError(
            _LEFT_OUT.sub("", refusal.message if is_value else str(refusal)),
            code="bad_value",
            next_step="nothing was changed; the configuration in force stays",
            exit_code=2 if is_value and refusal in loaded.problems else 3,
        )

    @staticmethod
    def _check_in_force(loaded: Loaded, name: str, value: str | None) -> None:
        if value is None or name in CONFIDENTIAL or loaded.settings.texts.get(name) == value:
            return
        raise ControlError(
            f"{name} would not be in force: {loaded.settings.sources.get(name, 'another value')} is stronger",
            code="shadowed",
            next_step="nothing was changed",
            exit_code=3,
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        step = "let this user read it, then try again; nothing was changed"
        raise ControlError(f"{path} cannot be read: {error.strerror}", next_step=step) from None


def text_of(path: Path, data: bytes, name: str) -> str:
    """The raw text of a variable as this file has it; empty where it has none."""
    if path.suffix != ".toml":
        return dotenv.parse(data, where="")[0].get(name, ("", ""))[0]
    return toml_variables(data.decode("utf-8-sig")).get(name, "")


def _edited(path: Path, data: bytes, name: str, value: str | None) -> bytes:
    try:
        if path.suffix != ".toml":
            return edit_env(data, name, value)
        return edit_toml(data.decode("utf-8-sig"), name, value).encode()
    except ValueError as error:  # UnicodeDecodeError is one
        raise ControlError(
            f"{path} cannot be edited: {error}", next_step="mend it by hand, then try again; nothing was changed"
        ) from None


def differences(before: Loaded, after: Loaded) -> list[str]:
    """Names whose value or presence differs; keys count by their variable."""
    old, new = before.settings, after.settings
    names = {n for n in old.texts.keys() | new.texts.keys() if old.texts.get(n) != new.texts.get(n)}
    names |= {name for name in CONFIDENTIAL if getattr(old, name.lower()) != getattr(new, name.lower())}
    held = {c.id for c in before.credentials} ^ {c.id for c in after.credentials}
    names |= {c.secret_ref for c in (*before.credentials, *after.credentials) if c.id in held and c.secret_ref}
    return sorted(names)


def _doc(name: str) -> str:
    found = _DOCS.get(name)
    if found is None:
        found = next((doc for ending, doc in _ENDINGS.items() if name.endswith(ending)), "")
    return found


def _shown(loaded: Loaded, name: str) -> str:
    """A value as it may be shown: never a key, never an address that may hold a password."""
    settings = loaded.settings
    if name == "PROXY_API_KEYS":
        if settings.sources.get(name, "default") == "default":
            return "the default key"
        return ", ".join(f"…{secret.tail}" for secret in settings.proxy_api_keys) or "none but stored keys"
    if name in settings.texts:
        return settings.texts[name]
    if name in CONFIDENTIAL:
        return "***" if getattr(settings, name.lower(), None) else ""
    if "_API_KEY" in name:
        return ", ".join(f"…{c.tail}" for c in loaded.credentials if c.secret_ref == name)
    field = next((one.field for one in GLOBALS if one.name == name), None)
    return "" if field is None else _plain(getattr(settings, field))


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (tuple, frozenset)):
        return ",".join(sorted(map(str, value)))
    return f"{value:g}" if isinstance(value, float) else str(value)
