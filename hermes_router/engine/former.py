"""Names of models whose provider has lost its last key: what they go on meaning, and what their callers are told.

Owns the joining of what was served before with the catalogue of today, and the refusal of a pin that only a new key
would serve. It must never read a file, nor let another model answer for one that was named.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from hermes_router.core.catalog import ModelSpec, ProviderSpec
from hermes_router.core.errors import AttemptReport, NoTarget
from hermes_router.core.ids import ModelId, ProviderName
from hermes_router.engine.snapshot import Snapshot
from hermes_router.routing.names import Pin
from hermes_router.routing.past import Served
from hermes_router.routing.roster import Former, Roster

__all__ = ["former", "no_key"]

# Nobody knows when the owner adds a key, and with it the pin is served at once. An hour: an agent that has given up
# for so long costs nothing, and one that comes back sooner would only hear the same.
RETRY_S: Final = 3_600.0
UNREAD_S: Final = 10.0  # a keyring is looked into again and again, and most are open soon after a start
_MOST_NAMED: Final = 3
_MOST_NAME: Final = 100


def former(
    snapshot: Snapshot,
    live_models: Mapping[str, Mapping[str, ModelSpec]],
    served: Mapping[str, Served],
    unread: Collection[str] = (),
) -> dict[str, Former]:
    """What of `served` still has a meaning: all of a provider without a key; of others the list that is not read yet.

    `live_models` are the lists that are; `unread` are providers whose key rests where it cannot be read now.
    """
    chat = {facts.provider.name for facts in snapshot.facts}
    vectors = {facts.provider.name for facts in snapshot.embedders}
    found: dict[str, Former] = {}
    for name, before in served.items():
        row = snapshot.catalog.get(ProviderName(name))
        if name not in chat and name not in vectors:
            ids = (*before.pool, *before.embeds, *before.known, *before.listed)
            found[name] = Former(
                _specs(row, ids),
                frozenset(before.pool),
                frozenset(before.embeds),
                before.open_catalogue,
                _how(row),
                name in unread,
            )
        elif name in chat and name not in live_models and before.listed:
            found[name] = Former(_specs(row, before.listed))
    return found


def _specs(row: ProviderSpec | None, ids: Sequence[str]) -> dict[str, ModelSpec]:
    known = {model.id: model for model in row.models} if row is not None else {}
    return {one: known.get(ModelId(one)) or ModelSpec(ModelId(one)) for one in ids}


def _how(row: ProviderSpec | None) -> str:
    """The command that gives a provider a key; empty where it has no row."""
    if row is None:
        return ""
    return f"hr auth {'login' if row.auth == 'oauth' else 'add'} {row.name}"


def no_key(roster: Roster, pin: Pin | None, now: float, attempts: Sequence[AttemptReport] = ()) -> NoTarget | None:
    """The refusal of a pin that nobody has a key for any more, with what to do; None for any other pin."""
    gone = roster.without_key(*pin) if pin is not None else []
    if pin is None or not gone:
        return None
    name = (pin.model if pin.provider is None else f"{pin.provider}/{pin.model}")[:_MOST_NAME]
    unread = next((one for one in gone if roster.former[one].unread), None)
    if unread is not None:
        said = f"The key of {unread} cannot be read now, so {name} cannot be served: `hr auth list` says why."
    else:
        how = next((roster.former[one].how for one in gone if roster.former[one].how), "")
        cure = f"`{how}` adds one" if how else "its row in providers.toml and a key would bring it back"
        said = f"No key of {' or '.join(gone[:_MOST_NAMED])} is left here, so {name} cannot be served: {cure}."
    return NoTarget(
        limited=False,
        retry_at=now + (RETRY_S if unread is None else UNREAD_S),
        attempts=attempts,
        reasons=tuple(f"{one}: no key" for one in gone[:_MOST_NAMED]),
        said=said,
        lasting=True,
    )
