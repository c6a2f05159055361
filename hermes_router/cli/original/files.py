"""What the original hermes-router's `.env` and `auth.json` mean here. Pure: bytes in, values out.

Owns the format of both files (`.env` without quotes and `export`, comments at its end part of a value), which of its
settings mean the same here, and what is no key but an example of one. It must never open a file, and never put a key
into anything that is shown.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hermes_router.control.setup_types import CatalogRow
from hermes_router.core.ids import Secret
from hermes_router.core.router_keys import digest_of
from hermes_router.core.setting_values import key_fault, listed
from hermes_router.core.settings import DEFAULT_KEY
from hermes_router.core.variables import PER_MODEL

__all__ = ["Holdings", "KeyHeld", "Left", "RouterKeyHeld", "Unreadable", "holdings", "is_example", "keys_of", "tail_of"]

_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
_EXAMPLE: Final = re.compile(
    r"(?:^|[-_])your(?:[-_]|key|api|token|$)|(?:^|[-_])(?:key|token)[-_]?\d*$|[<>…]|\.\.\.|x{4,}$|x{6,}"
    r"|change[-_]?me|replace[-_]?(?:me|with)|placeholder|^(?:none|null|todo|test|dummy|fake|example)$|[-_]here$"
)
# What its own `.env.example` and documents give as router keys: everybody knows them.
_KNOWN: Final = frozenset({DEFAULT_KEY, "sk-my-router-key-1"})
_ROUTER_KEYS: Final = "PROXY_API_KEYS"
_SAME: Final = frozenset({
    "PORT", "LOG_LEVEL", "ROTATION_MODE", "REASONING_TOKEN_RESERVE", "MAX_REQUEST_BYTES", "HTTPS_PROXY", "HTTP_PROXY",
    "NO_PROXY",
})  # fmt: skip
_ENDINGS: Final = (
    "_EMBED_MODEL", "_MODEL", "_BASE_URL", "_SUPPORTS_TOOLS", "_REASONING", "_MAX_OUTPUT_TOKENS", "_SKIP_TOKENS_OVER",
)  # fmt: skip
_COUNTS: Final = ("_MAX_OUTPUT_TOKENS", "_SKIP_TOKENS_OVER")  # 0 switched them off there
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
_LIMIT: Final = "PROXY_LIMIT_"
_CACHE: Final = "answers are not kept to be given twice"
_ROWS: Final = "prices stand in the providers' rows"
_LEARNED: Final = "what models can do is learned in service, and the lists are read by themselves"
# Why a setting has no counterpart, by how its name begins or ends.
_WHY: Final = (
    ("CACHE_", "", _CACHE),
    ("SEMANTIC_CACHE", "", _CACHE),
    ("ROUTER_MODEL_ID", "", "callers may go on using that name: one that is not known means that the router picks"),
    ("ROUTER_AUTH_FILE", "", "that file was read from there"),
    ("HR_ENV_FILE", "", "that file was read from there"),
    ("ROUTER_STATE_", "", _LEARNED),
    ("", "AUTO_DISCOVER_MODELS", _LEARNED),
    ("AUTO_DISCOVER_", "", _LEARNED),
    ("WORKER_THREADS", "", "nothing here waits for a thread"),
    ("UPSTREAM_TIMEOUT", "", "REQUEST_DEADLINE_SECONDS, FIRST_TOKEN_SECONDS and STALL_SECONDS say it more closely"),
    ("FAST_ROUTE_THRESHOLD", "", "a caller asks for it by the model name hermes-router:fast"),
    ("BREAKER_", "", "it is not to be set here"),
    ("REQUEST_LOG_SIZE", "", "`hr request` knows the last 30 days"),
    (_LIMIT, "", "a router key has `--rpm` and `--usd-day` here, and no other limit by the day"),
    ("COST_", "", _ROWS),
    ("MODEL_PRICES_FILE", "", _ROWS),
    ("", "_SITE_URL", "the router says who it is by itself"),
    ("", "_APP_NAME", "the router says who it is by itself"),
    ("", "_EXCLUDE_MODELS", "`hr model set` names the models that take part"),
)


class Unreadable(ValueError):
    """A file that is not what it should be; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class KeyHeld:
    """A provider's key; `where` is the file and line, or the file."""

    provider: str
    value: str = field(repr=False)
    where: str

    @property
    def tail(self) -> str:
        """Its last four characters."""
        return tail_of(self.value)


@dataclass(frozen=True, slots=True)
class RouterKeyHeld:
    """A router key as it is kept here: its digest. `lost` names its limits that have no counterpart."""

    name: str
    digest: str
    tail: str
    providers: tuple[str, ...] | None = None
    rpm: int | None = None
    budget_microusd: int | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is not taken over: its name, and why."""

    name: str
    why: str


@dataclass(slots=True)
class Holdings:
    """All that the two files hold, in our words. `logins` is the number of ChatGPT accounts in `auth.json`."""

    keys: list[KeyHeld] = field(default_factory=list)
    router_keys: list[RouterKeyHeld] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict, repr=False)
    logins: int = 0
    left: list[Left] = field(default_factory=list)


def tail_of(value: str) -> str:
    """The last four characters of a key, as everywhere."""
    return Secret(value).tail


def is_example(value: str, provider: str = "") -> bool:
    """Whether a text stands where a key should, and is none: `gsk_your-key`, `AIzaSy_key1`, `<key>`."""
    low = value.strip().lower()
    return low == provider or _EXAMPLE.search(low) is not None


def keys_of(variables: Iterable[str], names: Iterable[str]) -> list[str]:
    """Those of `names` that hold keys of a provider with these variables: each, its plural, and with a number."""
    known = re.compile("|".join(f"{re.escape(one)}(?:S|_\\d+)?" for one in variables) or "(?!)")
    return [name for name in names if known.fullmatch(name)]


def holdings(
    env: bytes | None,
    auth: bytes | None,
    rows: Sequence[CatalogRow],
    *,
    env_name: str = ".env",
    auth_name: str = "auth.json",
) -> Holdings:
    """What both files hold. Raises Unreadable for an `auth.json` that is damaged: nothing of it is guessed."""
    variables = _variables(env or b"")
    found = Holdings()
    document = _document(auth, auth_name) if auth is not None else {}
    _auth_keys(found, document, {row.name for row in rows}, auth_name)
    _env_keys(found, variables, rows, env_name)
    _router_keys(found, document, variables, {row.name for row in rows})
    _settings(found, variables, rows)
    accounts = document.get("codex_accounts")
    found.logins = len(accounts) if isinstance(accounts, list) else 0
    return found


# --- the files ------------------------------------------------------------------------------------------


def _variables(data: bytes) -> dict[str, tuple[str, int]]:
    """Name to value and line. The first line of a name counts there; quotes and comments, which it kept, go."""
    found: dict[str, tuple[str, int]] = {}
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        match = _LINE.fullmatch(line.strip())
        if match is not None and match.group(1) not in found:
            found[match.group(1)] = (_bare(match.group(2).strip()), number)
    return found


def _bare(value: str) -> str:
    for quote in "'\"":
        if value.startswith(quote) and value.find(quote, 1) > 0:
            return value[1 : value.find(quote, 1)]
    return re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()


def _document(data: bytes, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        raise Unreadable(f"{name} is damaged: it is no JSON") from None
    if not isinstance(found, dict):
        raise Unreadable(f"{name} is damaged: it holds no table")
    return found


# --- keys -----------------------------------------------------------------------------------------------


def _hold(found: Holdings, provider: str, value: object, where: str) -> None:
    if not isinstance(value, str):
        found.left.append(Left(where, "it is no text"))
        return
    value = value.strip()
    if not value or any(one.provider == provider and one.value == value for one in found.keys):
        return
    fault = key_fault(value)
    if is_example(value, provider):
        found.left.append(Left(where, f"{provider} …{tail_of(value)} is an example, not a key"))
    elif fault is not None:
        found.left.append(Left(where, f"it {fault}"))
    else:
        found.keys.append(KeyHeld(provider, value, where))


def _auth_keys(found: Holdings, document: Mapping[str, Any], known: set[str], name: str) -> None:
    providers = document.get("providers")
    for provider, values in providers.items() if isinstance(providers, dict) else ():
        if provider not in known:
            count = len(values) if isinstance(values, list) else 0
            said = f"{count} {'key' if count == 1 else 'keys'} of a provider that no row here describes"
            found.left.append(Left(provider, f"{said}; a row of your own can (docs/adding-a-provider.md)"))
            continue
        for value in values if isinstance(values, list) else [values]:
            _hold(found, provider, value, name)


def _env_keys(found: Holdings, variables: Mapping[str, tuple[str, int]], rows: Sequence[CatalogRow], name: str) -> None:
    for row in rows:
        for variable in keys_of(row.variables, variables):
            text, line = variables[variable]
            for value in listed(text):
                _hold(found, row.name, value, f"{name}:{line}")


# --- router keys ----------------------------------------------------------------------------------------


def _router_keys(
    found: Holdings, document: Mapping[str, Any], variables: Mapping[str, tuple[str, int]], known: set[str]
) -> None:
    """Keys of PROXY_API_KEYS with the general limits, those of `auth.json` with their own."""
    general = {
        field: variables.get(f"{_LIMIT}{name}", ("", 0))[0]
        for field, name in (("rpm", "RPM"), ("cost_per_day", "COST_DAY"))
    }
    table = document.get("proxy_keys")
    own: dict[str, Any] = dict(table) if isinstance(table, dict) else {}
    names = [*own, *(one for one in listed(variables.get(_ROUTER_KEYS, ("", 0))[0]) if one not in own)]
    for number, key in enumerate(names, 1):
        said = own.get(key)
        row: Mapping[str, Any] = (
            {**general, **{k: v for k, v in said.items() if v}} if isinstance(said, dict) else general
        )
        name = str(row.get("name") or f"original {number}")[:60]
        if key in _KNOWN:
            why = "everybody knows it" if key != DEFAULT_KEY else "it is the default here, good on this machine alone"
            found.left.append(Left(f"router key …{tail_of(key)}", f"{why}; it is not stored"))
            continue
        fault = key_fault(key)
        if fault is not None or not key:
            found.left.append(Left(f"router key {name!r}", f"it {fault or 'is empty'}"))
            continue
        held = _router_key(key, name, row, known)
        if isinstance(held, Left):
            found.left.append(held)
        else:
            found.router_keys.append(held)


def _router_key(key: str, name: str, row: Mapping[str, Any], known: set[str]) -> RouterKeyHeld | Left:
    scope = row.get("allowed_providers")
    providers: tuple[str, ...] | None = None
    lost: list[str] = []
    if scope:
        named = [str(one) for one in scope] if isinstance(scope, list) else listed(str(scope))
        providers = tuple(one for one in named if one in known)
        if not providers:  # an empty scope must not become every provider
            return Left(f"router key {name!r}", f"none of its providers is known here: {', '.join(named)}")
        lost += [f"provider {one}" for one in named if one not in known]
    for field_name, words in (("req_per_day", "requests a day"), ("tokens_per_day", "tokens a day")):
        amount = _number(row.get(field_name))
        if amount:
            lost.append(f"{amount:g} {words}")
    rpm, dollars = _number(row.get("rpm")), _number(row.get("cost_per_day"))
    return RouterKeyHeld(
        name=name if name.isprintable() else "original",
        digest=digest_of(key),
        tail=tail_of(key),
        providers=providers,
        rpm=int(rpm) if rpm >= 1 else None,
        budget_microusd=round(dollars * 1_000_000) if dollars > 0 else None,
        lost=tuple(lost),
    )


def _number(value: object) -> float:
    """A limit there; 0 = none, as is what cannot be read."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except ValueError:
        return 0.0
    return number if 0 < number < 1e9 else 0.0


# --- settings -------------------------------------------------------------------------------------------


def _settings(found: Holdings, variables: Mapping[str, tuple[str, int]], rows: Sequence[CatalogRow]) -> None:
    keys = {name for row in rows for name in keys_of(row.variables, variables)} | {_ROUTER_KEYS}
    stems = _stems(rows)
    taken = {f"{_LIMIT}RPM", f"{_LIMIT}COST_DAY"} if found.router_keys else set()
    for name, (value, _) in variables.items():
        if name in keys or name in taken:
            continue
        ours = name if name in _SAME else _derived(name, stems)
        if name == "HOST":
            found.left.append(Left(name, _host(value)))
        elif ours is None:
            found.left.append(Left(name, _why(name)))
        elif not value and not name.endswith("_EMBED_MODEL"):
            continue  # it says nothing there
        elif ours.endswith(_COUNTS) and value == "0":
            found.left.append(Left(name, "0 switched a limit of the original's off, which does not exist here"))
        else:
            found.settings[ours] = value


def _host(value: str) -> str:
    if value in _LOOPBACK:
        return "this router listens on loopback without being told"
    return f"this router listens on loopback; to open it, set PROXY_API_KEYS, then `hr config set HOST {value}`"


def _stems(rows: Sequence[CatalogRow]) -> dict[str, str]:
    """How names of a provider's variables may begin, and how they do here: `GLM_` for `ZAI_`."""
    found = {row.name.upper(): row.name.upper() for row in rows}
    for row in rows:
        for variable in row.variables:
            found.setdefault(re.sub(r"_(API_)?(KEY|TOKEN)$", "", variable), row.name.upper())
    return found


def _derived(name: str, stems: Mapping[str, str]) -> str | None:
    """Our name of a provider's setting; None for what is none."""
    for stem in sorted(stems, key=len, reverse=True):
        rest = name.removeprefix(f"{stem}_")
        if rest == name:
            continue
        if f"_{rest}" in _ENDINGS or rest.endswith(tuple(ending for ending, _ in PER_MODEL)):
            return f"{stems[stem]}_{rest}"
    return None


def _why(name: str) -> str:
    for beginning, ending, why in _WHY:
        if name.startswith(beginning) and name.endswith(ending):
            return why
    return "it has no counterpart here"
