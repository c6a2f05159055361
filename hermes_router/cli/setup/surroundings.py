"""What a first run finds on this machine: local servers that answer, and keys in the environment.

Owns the looking, short and all at once; which addresses and which names is said by the providers' rows. It must never
send a key anywhere, nor change anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from hermes_router.cli.original.files import KeyHeld, Left, is_example, keys_of
from hermes_router.control.setup_types import CatalogRow
from hermes_router.core.setting_values import key_fault, listed

__all__ = ["Environment", "Server", "environment_keys", "local_servers", "models_at"]

_ASK_S: Final = 1.0
_MOST_BYTES: Final = 1 << 20
_MOST_MODELS: Final = 500
_SIDELINED: Final = frozenset({"retired", "disabled"})


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers at a usual address: of which program, for which provider, with which models."""

    provider: str
    program: str
    url: str
    models: tuple[str, ...]


def local_servers(rows: Sequence[CatalogRow]) -> list[Server]:
    """Those that answer now, of providers that have no address yet; all are asked at the same time."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only where somebody sets a router up

    places = [
        (row.name, program, url)
        for row in rows
        if row.state == "off" and not row.base_url
        for program, url in row.usual.items()
    ]
    if not places:
        return []
    with ThreadPoolExecutor(len(places)) as pool:
        found = list(pool.map(models_at, [url for _, _, url in places]))
    return [
        Server(provider, program, url, models)
        for (provider, program, url), models in zip(places, found, strict=True)
        if models is not None
    ]


def models_at(url: str) -> tuple[str, ...] | None:
    """The models that a server at this base URL lists; None where none listens, or it is something else."""
    import http.client  # noqa: PLC0415 - as above

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ASK_S)
    try:
        connection.request("GET", f"{parts.path}/models", headers={"accept": "application/json"})
        with connection.getresponse() as answer:
            found = json.loads(answer.read(_MOST_BYTES)) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    rows = found.get("data") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        return None
    names = [row["id"] for row in rows[:_MOST_MODELS] if isinstance(row, dict) and isinstance(row.get("id"), str)]
    if len(names) != len(rows[:_MOST_MODELS]) or any(name.startswith("hermes-router") for name in names):
        return None  # another router, perhaps this one
    return tuple(names)


class Environment(NamedTuple):
    """Keys of a shell; `examples` stand where keys should, and `left` is what cannot be one."""

    keys: list[KeyHeld]
    examples: list[KeyHeld]
    left: list[Left]


def environment_keys(rows: Sequence[CatalogRow], environ: Mapping[str, str]) -> Environment:
    """Keys under names that a row lists, and what stands there and is none."""
    keys: list[KeyHeld] = []
    examples: list[KeyHeld] = []
    left: list[Left] = []
    for row in rows:
        if row.auth != "key" or row.state in _SIDELINED:
            continue
        for name in keys_of(row.variables, sorted(environ)):
            for value in listed(environ[name]):
                if any(one.provider == row.name and one.value == value for one in keys):
                    continue
                if is_example(value, row.name):
                    examples.append(KeyHeld(row.name, value, name))
                elif key_fault(value) is not None:
                    left.append(Left(name, f"it {key_fault(value)}"))
                else:
                    keys.append(KeyHeld(row.name, value, name))
    left += [Left(one.where, "an example stands there, not a key") for one in examples]
    return Environment(keys, examples, left)
