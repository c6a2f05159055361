"""Names that change, for completion: providers, models, credentials, accounts, router keys, requests.

Owns where they come from: the daemon that runs, asked over its socket with 0.15 s; else what it said last, kept in the
user's cache; else the tables of providers. Standard library only, since a press of TAB pays for every import. It must
never start a daemon, nor hold anything that is confidential.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping

Row = tuple[str, str]

LIMIT_S = 0.15
"""How long the daemon may take, connection and answer together."""

_MOST_BYTES = 4_000_000
_MOST_NAMES = 2_000
_APP = "hermes-router"
_SYSTEM_SOCKET = "/run/hermes-router/control.sock"
_TABLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "providers.toml")  # noqa: PTH100, PTH118, PTH120
_PROFILES = (
    ("hermes-router", "the router picks"),
    ("hermes-router:fast", "the router picks a quick model for what is light"),
    ("hermes-router:local", "never leaves this machine"),
)
_KEPT = frozenset({"provider", "model", "name", "credential", "account", "label", "router-key"})


def names(kind: str, provider: str) -> list[Row]:
    """The names of this kind, each with a word about it; `provider` narrows them where it is one's name."""
    asked = ask(_path(kind, provider), sockets(os.environ))
    if asked is None:
        return remembered(kind, provider) or _from_tables(kind, provider)
    try:
        found = _read(kind, provider, asked)[:_MOST_NAMES]
    except (AttributeError, KeyError, TypeError):  # a daemon of another version
        return []
    if kind in _KEPT:
        _keep(kind, provider, found)
    return found


# --- the daemon ---------------------------------------------------------------------------------------


def _path(kind: str, provider: str) -> str:
    match kind:
        case "model" | "name":
            plain = provider if provider.replace("_", "").isalnum() and provider.isascii() else ""
            return f"/v1/models?provider={plain}" if plain else "/v1/models"
        case "router-key":
            return "/v1/keys"
        case "embed-key":
            return "/v1/embed"
        case "request":
            return "/v1/status"
        case _:
            return "/v1/credentials"


def _read(kind: str, provider: str, said: dict[str, list[dict[str, str]]]) -> list[Row]:
    """The rows of an answer as names. What is not there was left out, or is not of this daemon."""
    rows = [row for row in said.get("rows", []) if not provider or row.get("provider", provider) == provider]
    match kind:
        case "provider":
            return [(row["name"], _state(row)) for row in said.get("providers", [])]
        case "model":
            return _once((row["model"], row["provider"]) for row in rows)
        case "name":
            return [*_PROFILES, *((f"{row['provider']}/{row['model']}", "") for row in rows)]
        case "credential":
            return _once(
                (row["tail"], f"{row['provider']} {_label(row)[0]}, {row['state']}".replace(" ,", ",")) for row in rows
            )
        case "account" | "label":
            mine = [row for row in said.get("accounts", []) if not provider or row["provider"] == provider]
            known = [(row.get("account") or row.get("email", ""), row["provider"]) for row in mine]
            return _once([*(_label(row) for row in rows if kind == "label"), *known])
        case "router-key":
            return _once((row["name"], f"…{row['tail']}") for row in rows)
        case "embed-key":
            return _once((row.get("name") or row["key_id"], f"{row['provider']}/{row['model']}") for row in rows)
        case "request":
            errors = said.get("last_errors", [])
            return _once((row.get("request_id", ""), f"{row['target']} {row['outcome']}") for row in reversed(errors))
        case _:
            return []


def _label(row: dict[str, str]) -> Row:
    """The owner's label of a key's account, where the key has one."""
    label = row.get("account", "").removeprefix(f"{row['provider']}:")
    return ("" if label == row.get("account") else label, row["provider"])


def _state(row: dict[str, str]) -> str:
    keys = row.get("keys", 0)
    return f"{row['title']}, {row['state']}" + (f", {keys} keys" if keys not in {0, 1} else "")


def _once(rows: Iterable[Row]) -> list[Row]:
    """The first of each name that is one."""
    found: dict[str, str] = {}
    for name, said in rows:
        if name:
            found.setdefault(name, said)
    return list(found.items())


def ask(path: str, places: list[str]) -> dict[str, list[dict[str, str]]] | None:
    """The daemon's answer to a GET; None where none answers well in time."""
    end = time.monotonic() + LIMIT_S
    for place in places:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                raw = _exchange(sock, place, path, end)
            head, _, body = raw.partition(b"\r\n\r\n")
            if head.split(b" ", 2)[1:2] != [b"200"]:
                return None
            said = json.loads(body)
        except (OSError, ValueError):
            continue
        return said if isinstance(said, dict) else None
    return None


def _exchange(sock: socket.socket, place: str, path: str, end: float) -> bytes:
    sock.settimeout(LIMIT_S)
    sock.connect(place)
    sock.sendall(f"GET {path} HTTP/1.0\r\nHost: {_APP}\r\n\r\n".encode())
    raw = b""
    while len(raw) < _MOST_BYTES:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(262_144)
        if not piece:
            return raw
        raw += piece
    raise ValueError


# --- places, as control/places.py has them --------------------------------------------------------------


def _under(environ: Mapping[str, str], variable: str, linux: str, mac: str) -> str:
    """A directory of ours as platformdirs finds it, without its import."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111
    chosen = environ.get(variable, "").strip()
    base = os.path.join(home, mac if sys.platform == "darwin" else linux)  # noqa: PTH118
    if os.path.isabs(chosen):  # noqa: PTH117
        base = chosen
    return os.path.join(base, _APP)  # noqa: PTH118


def sockets(environ: Mapping[str, str]) -> list[str]:
    """Where the daemon may be asked, in order."""
    state = _under(environ, "XDG_STATE_HOME", ".local/state", "Library/Application Support")
    chosen = environ.get("HERMES_ROUTER_SOCKET", "")
    if chosen:
        return [os.path.join(state, os.path.expanduser(chosen))]  # noqa: PTH111, PTH118
    return [os.path.join(state, "control.sock"), _SYSTEM_SOCKET]  # noqa: PTH118


def cache(environ: Mapping[str, str]) -> str:
    """The directory of what the daemon said last: a file a kind and provider, a name a line."""
    return os.path.join(_under(environ, "XDG_CACHE_HOME", ".cache", "Library/Caches"), "names")  # noqa: PTH118


def own_rows(environ: Mapping[str, str]) -> str:
    """The owner's own table of providers."""
    return os.path.join(_under(environ, "XDG_CONFIG_HOME", ".config", "Library/Application Support"), "providers.toml")  # noqa: PTH118


# --- without a daemon -----------------------------------------------------------------------------------


def _file(kind: str, provider: str) -> str:
    plain = "".join(sign for sign in provider if sign.isalnum() or sign == "_")
    return os.path.join(cache(os.environ), f"{kind}.{plain}" if plain else kind)  # noqa: PTH118


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes 5 ms
            return file.read().split("\n")
    except (OSError, ValueError):
        return []


def remembered(kind: str, provider: str) -> list[Row]:
    """What the daemon said last."""
    found = [line.partition("\t") for line in _lines(_file(kind, provider)) if line]
    return [(name, said) for name, _, said in found]


def _keep(kind: str, provider: str, rows: list[Row]) -> None:
    """Remember them, for their owner alone. A disk that is full or closed is no reason to say nothing."""
    path = _file(kind, provider)
    lines = [f"{name}\t{said}".replace("\n", " ") for name, said in rows]
    if _lines(path) == [*lines, ""]:
        return
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write("".join(f"{line}\n" for line in lines))
        os.replace(temporary, path)  # noqa: PTH105
    except (OSError, ValueError):
        return


def _from_tables(kind: str, provider: str) -> list[Row]:
    """Providers and models by the heads and ids of the tables: reading TOML takes 18 to 47 ms."""
    tables = (_TABLE, own_rows(os.environ))
    if kind == "provider":
        return _once((name, "") for table in tables for name, model in _rows(table) if not model)
    if kind == "model":
        return _once((m, name) for table in tables for name, m in _rows(table) if m and provider in {"", name})
    if kind == "name":
        return [*_PROFILES, *((f"{name}/{model}", "") for name, model in _rows(_TABLE) if model)]
    return []


def _rows(table: str) -> Iterator[Row]:
    """A provider's name with "", then with each of its models."""
    provider, in_models = "", False
    for line in _lines(table):
        head = line.strip("[").partition("]")[0]
        if line.startswith("[["):
            provider, _, rest = head.partition(".")
            in_models = rest == "models"
        elif line.startswith("["):
            in_models = False
            if head.replace("_", "").isalnum():
                yield head, ""
        elif in_models and line.partition("=")[0].strip() == "id":
            model = line.partition('"')[2].partition('"')[0]
            if model:
                yield provider, model
