"""What a daemon keeps of its owner's and what follows from it: stored keys, router keys, and a log that hides them.

Owns the order at the start (keys first, then the log that must know them) and what a new generation changes of both. It
must never decide what is in force.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from hermes_router.control.events import EventRing
from hermes_router.control.places import Places
from hermes_router.core.ids import Secret
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.desks.config import differences
from hermes_router.daemon.logs.form import Form
from hermes_router.daemon.logs.logging import LateLog, Level, Redactor, Tee, set_up
from hermes_router.daemon.logs.outlet import Outlet
from hermes_router.daemon.scrub import secrets_of
from hermes_router.daemon.secret_store import open_store
from hermes_router.store.router_keys import RouterKeyStore

__all__ = ["Keeping"]

_MOST_LEFT: Final = 200  # each line of the log is searched for each; commands and logins mint secrets by the hour


class Keeping:
    """The stores of one installation, read, and the parts of its log that change with the configuration.

    `handed` are secrets of a predecessor, which serve until they can be read.
    """

    def __init__(self, places: Places, environ: Mapping[str, str], handed: Mapping[str, str] | None = None) -> None:
        self._late = LateLog()
        self._known: dict[Secret, None] = {}
        self._redactor = Redactor()
        self._level = Level("info")
        self._tee = Tee()
        self._form: Form | None = None
        self._loaded: Loaded | None = None
        self.ring: EventRing | None = None
        self.store = open_store(places, environ, uid=os.geteuid(), log=self._late, now=time.time)
        self.store.load()
        self.store.adopt(handed or {})
        self.router_keys = RouterKeyStore(places.router_keys, now=time.time)
        self.router_keys.load()

    def open_log(self, loaded: Loaded, out: Outlet, environ: Mapping[str, str]) -> Any:
        """The log, which shows none of the secrets of this or of any later generation."""
        self._form = Form(out, environ, self.clean)
        self.follow(loaded)
        log = set_up(self._level, self._redactor, out=out, environ=environ, tee=self._tee, form=self._form)
        self._late.open(log)
        return log

    def clean(self, text: str) -> str:
        """The text without secrets."""
        return self._redactor.clean(text)

    def follow(self, loaded: Loaded) -> None:
        """A generation is in force. The last secrets that left are still hidden: what is under way may name them."""
        before, self._loaded = self._loaded, loaded
        in_force = dict.fromkeys(secrets_of(loaded))
        left = [secret for secret in self._known if secret not in in_force]
        self._known = {**dict.fromkeys(left[-_MOST_LEFT:]), **in_force}  # in the order in which they leave
        self._redactor.know(self._known)
        self._level.set(loaded.settings.log_level)
        if self._form is not None:
            self._form.set(loaded.settings.log_format)
        self.store.choice = loaded.settings.secret_store
        if before is not None and (changed := differences(before, loaded)):
            self._late.info("config.changed", changed=", ".join(dict.fromkeys(map(_shown, changed))))

    def open_ring(self, now: Callable[[], float], loop: asyncio.AbstractEventLoop) -> EventRing:
        """Events for whoever follows the daemon live: from now on each log line is one."""
        self.ring = EventRing(now, scrub=self.clean)
        self._tee.open(self.ring.publish, loop)
        return self.ring


def _shown(name: str) -> str:
    """What changed, in words: a setting by its name, a key that was stored by its provider's."""
    kind, _, rest = name.partition("/")
    return f"keys of {rest.partition('/')[0]}" if kind == "provider" else name
