"""What `hr notify` shows and tests: the ways to the owner, and what was told.

Owns how a way is shown: by its host, or its program's name. It only reads.
"""

from typing import Final

from hermes_router.control import notify_types as n
from hermes_router.core.notify_ways import NotifyAddress, NotifyCommand
from hermes_router.daemon.alerting import Alerting
from hermes_router.daemon.generations import Generations
from hermes_router.engine.alerts import KINDS, Alerts, Way

__all__ = ["NotifyDesk"]

_VARIABLES: Final[dict[Way, str]] = {"url": "NOTIFY_URL", "command": "NOTIFY_COMMAND"}


class NotifyDesk:
    """Being told, of one daemon."""

    def __init__(self, alerting: Alerting, alerts: Alerts, generations: Generations) -> None:
        self._alerting = alerting
        self._alerts = alerts
        self._generations = generations

    def show(self) -> n.Notify:
        """Ways, and every kind with what of it was told and is not over."""
        sources = self._generations.loaded.settings.sources
        told = list(self._alerts.told())
        kinds = []
        for name, kind in KINDS.items():
            told_at, over_at = self._alerts.last_at(name)
            about = [label for of, label in told if of == name]
            kinds.append(n.NotifyKindRow(kind=name, title=kind.title, about=about, told_at=told_at, over_at=over_at))
        ways = [
            n.NotifyWayRow(
                way=way,
                shown=_shown(value),
                source=sources.get(_VARIABLES[way], ""),
                failing=self._alerting.failing.get(way, ""),
                unsent=self._alerts.unsent(way),
            )
            for way, value in self._alerting.ways.set().items()
        ]
        return n.Notify(ways=ways, kinds=kinds)

    async def test(self) -> n.NotifyTested:
        """Tell a test by each way, and wait for what becomes of it."""
        shown = {way: _shown(value) for way, value in self._alerting.ways.set().items()}
        rows = [
            n.NotifyTestedRow(way=way, shown=shown.get(way, ""), ok=not why, said=why, took_s=round(took_s, 3))
            for way, why, took_s in await self._alerting.test()
        ]
        return n.NotifyTested(rows=rows)


def _shown(value: NotifyAddress | NotifyCommand) -> str:
    return value.shown if isinstance(value, NotifyAddress) else value.program
