"""What has been served here: every provider that has had a key, with the model ids that could be named there.

Owns that memory: it is what keeps a name's meaning when the key behind it is taken out (contract.md, Pins). Pure, and
bounded; it must never know where it is kept, nor decide what a name means.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import asdict, replace

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.records import LedgerRow
from hermes_router.routing.roster import Roster

__all__ = ["Past", "Served"]

ROW_KIND: Final = "served"
MOST_PROVIDERS: Final = 200  # those that had a key last; the catalogue has a fraction of them
MOST_CHARS: Final = 48_000  # of one provider's ids, in bytes of JSON: a row of the ledger may have 64 KB
MOST_ID: Final = 200
_AGAIN_S: Final = 86_400.0  # a memory that says the same is dated anew once a day
_COMMA: Final = 1


class Served(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one provider served, as long as it last had a key. Model ids, each once.

    `pool` were targets, which could be named without their provider, too; `known` are the others of its row, `listed`
    those of its live list; `embeds` made vectors. `at` is when it was so, in epoch seconds.
    """

    pool: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    embeds: tuple[str, ...] = ()
    open_catalogue: bool = False
    at: float = 0.0


class Past:
    """The memory of one installation. `on_change` is called with the first change since `rows` was asked for.

    `news` = an earlier life told of names that the generation in force has not heard of.
    """

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}
        self._changed: set[str] = set()
        self.on_change: Callable[[], None] = _nobody
        self.news = False

    @property
    def served(self) -> Mapping[str, Served]:
        """All that is remembered, by provider."""
        return self._served

    def note(self, roster: Roster, embedders: Sequence[TargetFacts], now: float) -> None:
        """Remember what the providers of a generation serve; those without a key stay as they are remembered.

        Providers that need no key cannot lose one. A list that is not read yet takes nothing away.
        """
        self.news = False
        vectors: dict[str, list[TargetFacts]] = {}
        for one in embedders:
            vectors.setdefault(one.provider.name, []).append(one)
        for name in dict.fromkeys((*roster.by_provider, *vectors)):
            chats, embeds = roster.by_provider.get(name, ()), vectors.get(name, ())
            row = (*chats, *embeds)[0].provider
            if row.keyless:
                continue
            before = self._served.get(name)
            listed = roster.live_models.get(name)
            found = _bounded(
                [one.model.id for one in chats],
                [model.id for model in row.models],
                (before.listed if before is not None else ()) if listed is None else listed,
                [one.model.id for one in embeds],
            )
            found = replace(found, open_catalogue=row.open_catalogue, at=now)
            same = before is not None and replace(found, at=before.at) == before
            if before is None or not same or not 0.0 <= now - before.at < _AGAIN_S:
                self._served[name] = found
                self._mark(name)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        if len(self._served) > MOST_PROVIDERS:
            for name in sorted(self._served, key=lambda name: self._served[name].at)[:-MOST_PROVIDERS]:
                del self._served[name]
                self._mark(name)

    def _mark(self, name: str) -> None:
        if not self._changed:
            self.on_change()
        self._changed.add(name)

    # -- two processes, and the disk -------------------------------------------------------------------

    def rows(self, now: float, *, whole: bool = False) -> list[LedgerRow]:
        """What has changed since this was asked for, `whole` = all, for the disk."""
        names = self._changed | self._served.keys() if whole else self._changed
        found = [LedgerRow(ROW_KIND, name, self._plain(name), now, math.inf) for name in sorted(names)]
        self._changed.clear()
        return found

    def restore(self, rows: Iterable[LedgerRow]) -> None:
        """Take over what an earlier run wrote down; rows of other kinds, and what makes no sense, are passed over."""
        self.load({row.key: row.value for row in rows if row.kind == ROW_KIND})

    def dump(self) -> dict[str, Any]:
        """What a successor must know, JSON-able."""
        return {name: self._plain(name) for name in self._served}

    def load(self, dumped: object) -> None:
        """Take over what was known before. Never raises: what makes no sense is left out.

        Of a provider that serves now, only the list is taken, until it is read anew.
        """
        given = dumped if isinstance(dumped, Mapping) else {}
        for name, value in given.items():
            try:
                found = msgspec.convert(value, Served)
            except (msgspec.ValidationError, RecursionError):
                continue
            if not isinstance(name, str) or not math.isfinite(found.at):
                continue
            found = replace(
                _bounded(found.pool, found.known, found.listed, found.embeds),
                open_catalogue=found.open_catalogue,
                at=found.at,
            )
            mine = self._served.get(name)
            if mine is None:
                self._served[name] = found
                self.news = True
            elif found.listed and not mine.listed:
                self._served[name] = replace(
                    _bounded(mine.pool, mine.known, found.listed, mine.embeds),
                    open_catalogue=mine.open_catalogue,
                    at=mine.at,
                )
                self.news = True
        self._forget_oldest()

    def _plain(self, name: str) -> Any:
        found = self._served.get(name)
        return None if found is None else {what: value for what, value in asdict(found).items() if value}


def _bounded(pool: Iterable[str], known: Iterable[str], listed: Iterable[str], embeds: Iterable[str]) -> Served:
    """Each id once, where it says most, and no more than can be kept: what was asked most is kept first."""
    left = MOST_CHARS
    seen: set[str] = set()

    def fit(ids: Iterable[str]) -> tuple[str, ...]:
        nonlocal left
        kept: list[str] = []
        for one in map(str, ids):
            if not one or one in seen or len(one) > MOST_ID or not one.isprintable():
                continue
            size = len(msgspec.json.encode(one)) + _COMMA
            if size <= left:
                seen.add(one)
                kept.append(one)
                left -= size
        return tuple(kept)

    first = fit(pool)
    vectors = fit(embeds)
    return Served(first, fit(known), fit(listed), vectors)


def _nobody() -> None:
    pass
