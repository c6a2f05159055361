"""A provider's own list of models, as values: what it names, and what it says of each.

Owns the shape that readers of lists (`upstream/model_lists.py`) produce and the engine uses. It must never know how a
list is written, nor what follows from a model that is missing.
"""

from collections.abc import Iterable, Mapping

import msgspec

from hermes_router.core.catalog import Capability, Known, Price
from hermes_router.core.ids import ModelId

__all__ = ["Listed", "LiveList"]


class Listed(msgspec.Struct, frozen=True):
    """One model as its provider lists it. Windows in tokens; None and absent = the list does not say.

    `chats` False = the list says that it is for something else (embeddings, speech). `aliases` are further ids of it.
    `lite` = whether it is asked in the lite shape (Quirk.RESPONSES_LITE); `efforts` = the words that it takes.
    """

    id: ModelId
    context: int | None = None
    max_output: int | None = None
    price: Price | None = None
    capabilities: Mapping[Capability, Known] = msgspec.field(default_factory=dict)
    chats: bool = True
    aliases: tuple[str, ...] = ()
    lite: bool | None = None
    efforts: tuple[str, ...] = ()


class LiveList:
    """A list as it was read at `read_at` (epoch seconds) from `base_url`; ids carry no prefix of the list's."""

    __slots__ = ("_by_name", "base_url", "models", "read_at")

    def __init__(self, models: Iterable[Listed], read_at: float, base_url: str) -> None:
        self.models = tuple({model.id: model for model in models}.values())
        self.read_at = read_at
        self.base_url = base_url
        self._by_name: dict[str, Listed] = {alias: model for model in self.models for alias in model.aliases}
        self._by_name.update({str(model.id): model for model in self.models})

    def __len__(self) -> int:
        return len(self.models)

    def find(self, model_id: str, *, id_routes: bool = False) -> Listed | None:
        """The model of this id or alias. `id_routes` = a `:word` behind an id is no part of it (`ProviderSpec`)."""
        found = self._by_name.get(model_id)
        if found is None and id_routes:
            found = self._by_name.get(model_id.partition(":")[0])
        return found

    @property
    def tells_tools(self) -> bool:
        """Whether it says of any model that it takes tools, or does not: else its silence on one means nothing."""
        return any(Capability.TOOLS in model.capabilities for model in self.models)
