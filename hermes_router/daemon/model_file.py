"""The file that keeps live lists over a restart: what was read last, and what had vanished.

Owns `models.json` in the state directory: its shape, and the distrust with which it is read. It holds no secret. A
damaged one is ignored with one warning, and the lists are read anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from hermes_router.core.catalog import Capability, Known, Price
from hermes_router.core.ids import ModelId
from hermes_router.core.live_lists import Listed, LiveList
from hermes_router.core.ports import Log
from hermes_router.engine.live_models import Absence, LiveModels
from hermes_router.store.files import read_private, write_private

__all__ = ["from_bytes", "read_models_file", "to_bytes", "write_models_file"]

_VERSION: Final = 1


class _Model(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    id: str
    context: int | None = None
    max_output: int | None = None
    price: tuple[int, int] | None = None
    can: list[Capability] = []
    cannot: list[Capability] = []
    chats: bool = True
    aliases: list[str] = []
    lite: bool | None = None
    efforts: list[str] = []


class _Provider(msgspec.Struct, forbid_unknown_fields=True):
    base_url: str
    read_at: float
    models: list[_Model]
    absences: dict[str, tuple[float, bool]] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    providers: dict[str, _Provider]


def to_bytes(live: LiveModels) -> bytes:
    """The whole of it, as JSON."""
    providers = {
        name: _Provider(
            found.base_url,
            found.read_at,
            [_of(model) for model in found.models],
            {one: (absence.since, absence.vanished) for one, absence in live.absences.get(name, {}).items()},
        )
        for name, found in live.lists.items()
    }
    return msgspec.json.encode(_File(_VERSION, providers))


def from_bytes(data: bytes, now: float) -> LiveModels:
    """What was written, instants that lie ahead brought back to `now`. Raises ValueError for anything else."""
    found = msgspec.json.decode(data, type=_File)
    if found.version != _VERSION:
        raise ValueError("another version wrote it")
    live = LiveModels()
    for name, one in found.providers.items():
        live.lists[name] = LiveList(map(_to, one.models), min(one.read_at, now), one.base_url)
        live.absences[name] = {
            model: Absence(min(since, now), vanished) for model, (since, vanished) in one.absences.items()
        }
    return live


def read_models_file(path: Path, now: float, log: Log) -> LiveModels:
    """What was kept; nothing, with one warning, where that cannot be read."""
    try:
        data = read_private(path)
        return from_bytes(data, now) if data is not None else LiveModels()
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
        log.warning("models.not_read", path=str(path), said=said, next="the lists are read from the providers again")
        return LiveModels()


def write_models_file(path: Path, data: bytes) -> None:
    """Keep it, whole or not at all. Raises OSError."""
    write_private(path, data)


def _of(model: Listed) -> _Model:
    by_value: Mapping[Known, list[Capability]] = {known: [] for known in Known}
    for what, known in model.capabilities.items():
        by_value[known].append(what)
    price = None if model.price is None else (model.price.input_microusd, model.price.output_microusd)
    return _Model(
        str(model.id), model.context, model.max_output, price, by_value[Known.YES], by_value[Known.NO], model.chats,
        list(model.aliases), model.lite, list(model.efforts),
    )  # fmt: skip


def _to(model: _Model) -> Listed:
    capabilities: dict[Capability, Any] = dict.fromkeys(model.can, Known.YES) | dict.fromkeys(model.cannot, Known.NO)
    return Listed(
        ModelId(model.id),
        model.context,
        model.max_output,
        None if model.price is None else Price(*model.price),
        capabilities,
        model.chats,
        tuple(model.aliases),
        model.lite,
        tuple(model.efforts),
    )
