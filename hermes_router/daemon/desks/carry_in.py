"""`hr import`: a set-up of another machine, laid beside what is here.

Owns the comparison and the order of the steps. Each step is one that another `hr` command takes, and each can be taken
twice: an import that was cut is run again. Nothing here is replaced unless the owner said so, nobody is asked about a
key unless the owner wants that, and secrets go where this installation keeps its own.
"""

import asyncio
import shlex
import tomllib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from hermes_router.control import carry_types as c
from hermes_router.control import types as t
from hermes_router.core import setting_values
from hermes_router.core.accounts import CodexAccount
from hermes_router.core.errors import ControlError, VaultError
from hermes_router.core.ids import RouterKeyId, Secret
from hermes_router.core.notify_ways import NotifyCommand
from hermes_router.core.records import EmbedBinding
from hermes_router.core.router_keys import RouterKey
from hermes_router.core.variables import COLD, CONFIDENTIAL, GLOBALS
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.desks.carry_out import is_setting
from hermes_router.daemon.desks.config import ConfigDesk
from hermes_router.daemon.desks.credential import CredentialDesk
from hermes_router.daemon.generations import Generations
from hermes_router.engine.embed_bindings import EmbedBindings
from hermes_router.store.carried import account_from
from hermes_router.store.router_keys import RouterKeyStore, key_of_row

__all__ = ["CarryIn"]

_FIXED: Final = ("environment", "systemd credential")
_PROFILES: Final = ("main", "local")
_MOST_LINES: Final = 100  # of keys in one call of the credential desk
_ONE_HOME: Final = (
    "a login lives on one machine: its refresh token changes at every renewal, and two machines would log each other "
    "out; `hr auth login codex` gives this one a login of its own, --move-logins takes it over from a router that has "
    "been stopped for good"
)


class _Plan(msgspec.Struct):
    """What is to be done, and what is said of each thing. A key is told by the number of its row."""

    rows: list[c.CarriedRow] = msgspec.field(default_factory=list)
    providers: dict[str, Any] = msgspec.field(default_factory=dict)
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    router_keys: list[RouterKey] = msgspec.field(default_factory=list)
    bindings: list[EmbedBinding] = msgspec.field(default_factory=list)
    keys: dict[int, c.Given] = msgspec.field(default_factory=dict)
    accounts: list[CodexAccount] = msgspec.field(default_factory=list)

    def say(self, kind: str, name: str, outcome: str, said: str = "") -> bool:
        """Note what becomes of something; whether it is to be done."""
        self.rows.append(c.CarriedRow(kind=kind, name=name, outcome=outcome, said=said))
        return outcome in {"new", "replaced"}


class CarryIn:
    """The way in. `take_in` keeps a login, as the desk of accounts does it."""

    def __init__(
        self,
        generations: Generations,
        configuration: ConfigDesk,
        credentials: CredentialDesk,
        router_keys: RouterKeyStore,
        bindings: EmbedBindings,
        *,
        accounts: Callable[[], Iterable[CodexAccount]],
        take_in: Callable[[CodexAccount, str], Awaitable[None]],
    ) -> None:
        self._generations = generations
        self._configuration = configuration
        self._credentials = credentials
        self._router_keys = router_keys
        self._bindings = bindings
        self._accounts = accounts
        self._take_in = take_in
        self._one = asyncio.Lock()

    async def carry(self, asked: c.CarryIn) -> c.Carried:
        """Say what differs, and where `apply` says so, do it. Raises ControlError (3) for a later version's bundle."""
        if asked.bundle.version > c.FORMAT or asked.bundle.hermes_router != "set-up":
            raise ControlError(
                f"this set-up was written by a later version of hermes-router (format {asked.bundle.version})",
                code="newer",
                next_step="upgrade hermes-router here first; nothing was changed",
                exit_code=3,
            )
        if asked.conflicts not in {"refuse", "keep", "replace"}:
            raise ControlError("conflicts are refused, kept or replaced", code="usage", exit_code=2)
        async with self._one:
            plan = await self._plan(asked)
            if not asked.apply or any(row.outcome == "conflict" for row in plan.rows):
                return c.Carried(rows=plan.rows, notes=_notes(asked))
            rows = await self._apply(plan, asked)
        notes = _notes(asked)
        cold = sorted(COLD.intersection(plan.settings))
        if cold:
            notes.append(f"A daemon that runs takes up {', '.join(cold)} with `hr restart`.")
        return c.Carried(rows=rows, applied=True, notes=notes)

    # -- what differs ----------------------------------------------------------------------------------

    async def _plan(self, asked: c.CarryIn) -> _Plan:
        plan, bundle = _Plan(), asked.bundle
        text = await asyncio.to_thread(self._own_rows)
        self._compare_rows(plan, asked, text)
        loaded = self._generations.loaded
        if plan.providers:  # settings and keys may be of a row that comes with them
            path = self._generations.places.providers_file
            loaded = await self._generations.read({path: _with_rows(text, plan.providers, bundle.providers).encode()})
            refusal = self._generations.refusal(loaded)
            if refusal is not None:
                raise ControlError(
                    f"the providers.toml of the set-up cannot be used here: {refusal.message}",
                    code="bad_rows",
                    next_step="mend it in the file, then try again; nothing was changed",
                    exit_code=3,
                )
        for name, value in {**bundle.settings, **bundle.secret_settings}.items():
            self._compare_setting(plan, asked, loaded, name, value)
        self._compare_router_keys(plan, asked)
        for row in bundle.embed_bindings:
            self._compare_binding(plan, asked, row)
        for given in bundle.keys:
            self._compare_key(plan, loaded, given)
        for row in bundle.accounts:
            self._compare_account(plan, asked, account_from(row))
        return plan

    def _own_rows(self) -> str:
        try:
            return self._generations.places.providers_file.read_text("utf-8-sig")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError):
            path = self._generations.places.providers_file
            raise ControlError(f"{path} cannot be read", next_step="mend it, then try again") from None

    def _compare_rows(self, plan: _Plan, asked: c.CarryIn, text: str) -> None:
        theirs, ours = _tables("\n".join(asked.bundle.providers)), _tables(text)
        for name, row in theirs.items():
            outcome = _outcome(asked, differs=ours[name] != row) if name in ours else "new"
            if plan.say("provider row", name, outcome, "" if outcome != "conflict" else "another row is here"):
                plan.providers[name] = row

    def _compare_setting(self, plan: _Plan, asked: c.CarryIn, loaded: Loaded, name: str, value: str) -> None:
        if not is_setting(name, loaded.catalog):
            plan.say("setting", name[:80], "left out", "this version has no such setting")
            return
        source = loaded.settings.sources.get(name, "default")
        if source == "default":
            outcome, said = "new", ""
        elif _is_in_force(loaded, name, value):
            outcome, said = "same", ""
        elif source in _FIXED:
            outcome, said = "kept", f"the daemon's {source} says otherwise, and is stronger than any file"
        else:
            outcome, said = _outcome(asked, differs=True), f"{source} says otherwise"
        if outcome in {"new", "replaced", "conflict"}:
            said = "; ".join(one for one in (said, _runs(name, value)) if one)
        if plan.say("setting", name, outcome, said):
            plan.settings[name] = value

    def _compare_router_keys(self, plan: _Plan, asked: c.CarryIn) -> None:
        by_id = {str(key.id): key for key in self._router_keys.keys}
        by_name = {key.name: key for key in self._router_keys.keys}
        for row in asked.bundle.router_keys:
            key = key_of_row(row)
            if key is None:
                plan.say("router key", str(row.get("name", "?"))[:64], "left out", "it cannot be read")
                continue
            there = by_id.get(key.id) or by_name.get(key.name)
            if there is None:
                outcome, said = "new", ""
            elif there._replace(source=key.source) == key:
                outcome, said = "same", ""
            else:
                what = "has other limits here" if there.id == key.id else "is the name of another key here"
                outcome, said = _outcome(asked, differs=True), what
            if plan.say("router key", key.name, outcome, said):
                plan.router_keys.append(key)

    def _compare_binding(self, plan: _Plan, asked: c.CarryIn, row: Mapping[str, Any]) -> None:
        binding = _binding(row)
        if binding is None:
            plan.say("embedding", str(row.get("key_id", "?"))[:40], "left out", "it cannot be read")
            return
        there = self._bindings.get(binding.key_id, binding.profile)
        said = ""
        if there is None:
            outcome = "new"
        elif (there.provider, there.model) == (binding.provider, binding.model):
            outcome = "same"
        else:
            outcome = _outcome(asked, differs=True)
            said = (
                f"its vectors come from {there.provider}/{there.model} here, and vectors of two models do not compare"
            )
        name = f"{binding.key_id} ({binding.profile}): {binding.provider}/{binding.model}"
        if plan.say("embedding", name, outcome, said):
            plan.bindings.append(binding)

    def _compare_key(self, plan: _Plan, loaded: Loaded, given: c.Given) -> None:
        spec = loaded.catalog.get(given.provider)  # type: ignore[call-overload]  # any text may be asked for
        secret = Secret("\0".join(given.command) if given.command else given.key)
        name = f"{given.provider[:40]} " + ("(a command)" if given.command else f"…{secret.tail}")
        if spec is None:
            plan.say("key", name, "left out", "no row describes this provider here")
            return
        fault = None if given.command else setting_values.key_fault(given.key)
        if fault is not None:
            plan.say("key", name, "left out", f"it {fault}")
            return
        ident = secret.digest(loaded.digest_key, spec.name)
        known = ident in {*(one.id for one in loaded.credentials), *(one.id for one in self._generations.store.entries)}
        # Whoever says yes has seen what will be run.
        said = f"runs here: {shlex.join(given.command)}" if given.command and not known else ""
        if plan.say("key", name, "same" if known else "new", said):
            plan.keys[len(plan.rows) - 1] = given

    def _compare_account(self, plan: _Plan, asked: c.CarryIn, account: CodexAccount | None) -> None:
        if account is None:
            plan.say("login", "?", "left out", "it cannot be read")
            return
        there = next((one for one in self._accounts() if one.id == account.id), None)
        if there is not None:
            plan.say("login", account.shown, "same", "this machine has a login of this account")
        elif plan.say("login", account.shown, "new" if asked.accounts else "left out", _ONE_HOME):
            plan.accounts.append(account)

    # -- doing it --------------------------------------------------------------------------------------

    async def _apply(self, plan: _Plan, asked: c.CarryIn) -> list[c.CarriedRow]:
        generations = self._generations
        if plan.providers:
            async with generations.lock:
                path = generations.places.providers_file
                text = _with_rows(await asyncio.to_thread(self._own_rows), plan.providers, asked.bundle.providers)
                await generations.write(path, text.encode())
                await generations.renew()
        if plan.router_keys:  # before the settings: an empty PROXY_API_KEYS needs one
            async with generations.lock:
                await asyncio.to_thread(self._router_keys.bring_in, plan.router_keys, replace=True)
                generations.put(generations.loaded)
        if plan.settings:
            await self._configuration.change(plan.settings)
        for binding in plan.bindings:
            await self._bindings.bind(binding)
        failed = await self._add_keys(plan.keys, test=asked.test)
        for account in plan.accounts:
            try:
                await self._take_in(account, "carried")
            except VaultError as error:
                raise ControlError(error.message, code="vault", next_step=error.next_step) from None
        return [
            msgspec.structs.replace(row, outcome="failed", said=failed[number]) if number in failed else row
            for number, row in enumerate(plan.rows)
        ]

    async def _add_keys(self, keys: Mapping[int, c.Given], *, test: bool) -> dict[int, str]:
        """Hand the keys to the vault; of those that it did not take, by the number of the row, why."""
        groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
        failed: dict[int, str] = {}
        for number, given in keys.items():
            if not given.command:
                groups.setdefault((given.provider, given.account), []).append((number, given.key))
                continue
            try:
                await self._credentials.add(
                    t.AddCredentials(
                        provider=given.provider, command=given.command, account=given.account or None, test=test
                    )
                )
            except ControlError as error:  # the program may not be here yet
                failed[number] = error.message
        for (provider, account), lines in groups.items():
            for start in range(0, len(lines), _MOST_LINES):
                part = lines[start : start + _MOST_LINES]
                added = await self._credentials.add(
                    t.AddCredentials(
                        provider=provider, lines=[key for _, key in part], account=account or None, test=test
                    )
                )
                for row in added.rows:
                    if row.outcome in {"refused", "faulty"}:
                        failed[part[row.line - 1][0]] = row.said
        return failed


def _outcome(asked: c.CarryIn, *, differs: bool) -> str:
    if not differs:
        return "same"
    return {"keep": "kept", "replace": "replaced"}.get(asked.conflicts, "conflict")


def _notes(asked: c.CarryIn) -> list[str]:
    return [f"Not in the file: {said}." for said in asked.bundle.left_out]


def _is_in_force(loaded: Loaded, name: str, value: str) -> bool:
    """Whether the value says what is in force, however it is written; the text of a confidential one is not kept."""
    if name not in CONFIDENTIAL and loaded.settings.texts.get(name) == value:
        return True
    found = _read(name, value)
    return found is not None and bool(getattr(loaded.settings, found[0]) == found[1])


def _runs(name: str, value: str) -> str:
    """What a setting lets this machine run; its arguments may hold a token."""
    match _read(name, value):
        case (_, NotifyCommand() as command):
            more = ", with arguments that are not shown" if len(command.argv) > 1 else ""
            return f"runs here: {shlex.quote(command.argv[0])}{more}"
        case _:
            return ""


def _read(name: str, value: str) -> tuple[str, object] | None:
    """The field that a global setting fills, and what it would hold; None for a provider's, or what cannot be read."""
    variable = next((one for one in GLOBALS if one.name == name), None)
    if variable is None:
        return None
    try:
        return variable.field, variable.read(value)
    except ValueError:
        return None


def _tables(text: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(text)
    except ValueError:
        raise ControlError(
            "a providers.toml is not TOML", code="bad_rows", next_step="mend it, then try again; nothing was changed"
        ) from None
    return found


def _with_rows(text: str, rows: Mapping[str, Any], lines: Iterable[str]) -> str:
    """The owner's rows with these; where there was nothing, the other machine's file as it was written."""
    whole = "\n".join(lines) + "\n"
    if not text.strip() and _tables(whole) == rows:
        return whole
    import tomlkit  # noqa: PLC0415 - only when something is edited

    document, theirs = tomlkit.parse(text), tomlkit.parse(whole)
    for name in rows:
        document[name] = theirs[name]
    return tomlkit.dumps(document)


def _binding(row: Mapping[str, Any]) -> EmbedBinding | None:
    match row:
        case {
            "key_id": str(key),
            "profile": str(profile),
            "provider": str(provider),
            "model": str(model),
            "dimensions": int(dimensions),
            "bound_at": int() | float() as at,
        } if key and profile in _PROFILES and dimensions >= 0:
            return EmbedBinding(RouterKeyId(key), profile, provider, model, dimensions, float(at))
        case _:
            return None
