"""Puts what the original router holds, or a shell's environment, into this one: each thing told as it is done.

Owns the order (keys, router keys, settings, logins) and the outcome of each. Every step may be repeated: what is here
already is left as it is. Keys go to the daemon over its socket; it must never print one, nor write a file.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from hermes_router.cli import words
from hermes_router.cli.link import Link
from hermes_router.cli.original.files import Holdings, KeyHeld, RouterKeyHeld
from hermes_router.cli.trouble import USAGE, Trouble
from hermes_router.control import setup_types as s
from hermes_router.control import types as t
from hermes_router.core.variables import CONFIDENTIAL

__all__ = ["Outcome", "Takeover"]

ASKING_S: Final = 180.0
_MOST_LINES: Final = 50  # keys in one request
_STEERING: Final = re.compile(r"(?:\w+_BASE_URL|(?:HTTPS?|NO|ALL)_PROXY)", re.IGNORECASE)  # where keys are sent
CHANGED: Final = frozenset({"stored", "replaced", "set"})
REFUSED: Final = frozenset({"refused"})


class Outcome(t.Type, frozen=True):
    """What became of one thing. `kind`: `key`, `router_key`, `setting` or `login`; `name` its provider, or its own.

    `outcome`: `stored`, `replaced`, `known`, `refused`, `faulty`, `set`, `same`, `kept` (another value stands here),
    `left` (nobody agreed to it), or `found` (nothing was done).
    """

    kind: str
    name: str
    outcome: str
    tail: str = ""
    test: str = ""
    said: str = ""
    models: int = 0


@dataclass(slots=True)
class Takeover:
    """One taking-over. `force` stores rejected keys and sets what is set otherwise here; `dry` = only look.

    `begun` is told what is about to take its time, `done` each outcome; `agree` answers a question about one setting
    that says where requests, and with them keys, go: an original's is never taken without. `notes` gathers what
    providers say of several accounts.
    """

    link: Link
    titles: Mapping[str, str]
    begun: Callable[[str], None]
    done: Callable[[Outcome], None]
    agree: Callable[[str], bool]
    force: bool = False
    dry: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    store: str = ""

    @property
    def changed(self) -> bool:
        """Whether anything is otherwise than before."""
        return any(one.outcome in CHANGED for one in self.outcomes)

    @property
    def refused(self) -> bool:
        """Whether something was not taken over because somebody said no."""
        return any(one.outcome in REFUSED for one in self.outcomes)

    def everything(self, held: Holdings) -> None:
        """All but the logins."""
        self.keys(held.keys)
        for one in held.router_keys:
            self.router_key(one)
        self.settings(held.settings, agreed=False)

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.done(outcome)

    # --- keys -----------------------------------------------------------------------------------------

    def keys(self, keys: Sequence[KeyHeld]) -> None:
        """Each provider's keys, tested and stored."""
        for provider in dict.fromkeys(one.provider for one in keys):
            mine = [one for one in keys if one.provider == provider]
            if self.dry:
                for one in mine:
                    self._note(Outcome(kind="key", name=provider, outcome="found", tail=one.tail))
                continue
            rest = iter(mine)
            while part := list(islice(rest, _MOST_LINES)):
                self.begun(f"Testing {words.some(len(part), 'key')} at {self.titles.get(provider, provider)}")
                self._add(provider, [one.value for one in part])

    def _add(self, provider: str, values: list[str]) -> None:
        asked = s.KeepCredentials(provider=provider, lines=values, force=self.force)
        try:
            added = self.link.call("POST", "/v1/credentials/keep", asked, t.Added, wait_s=ASKING_S)
        except Trouble as trouble:
            if trouble.exit_code != USAGE:
                raise
            self._note(Outcome(kind="key", name=provider, outcome="faulty", said=trouble.message))
            return
        self.store = added.store or self.store
        self.notes += [one for one in added.notes if one not in self.notes]
        for row in added.rows:
            self._note(
                Outcome(
                    kind="key",
                    name=provider,
                    outcome=row.outcome,
                    tail=row.tail,
                    test=row.test,
                    said=row.said,
                    models=len(row.models),
                )
            )

    # --- router keys ----------------------------------------------------------------------------------

    def router_key(self, held: RouterKeyHeld) -> None:
        """One that callers have already: they go on with it."""
        said = _limits(held)
        if self.dry:
            self._note(Outcome(kind="router_key", name=held.name, outcome="found", tail=held.tail, said=said))
            return
        asked = s.AdoptKey(
            name=held.name,
            digest=held.digest,
            tail=held.tail,
            providers=None if held.providers is None else list(held.providers),
            rpm=held.rpm,
            budget_microusd=held.budget_microusd,
        )
        try:
            done = self.link.call("POST", "/v1/keys/adopt", asked, s.AdoptedKey)
        except Trouble as trouble:
            if trouble.exit_code != USAGE:
                raise
            self._note(
                Outcome(kind="router_key", name=held.name, outcome="faulty", tail=held.tail, said=trouble.message)
            )
            return
        if done.outcome == "known":
            said = ""
        self._note(Outcome(kind="router_key", name=done.row.name, outcome=done.outcome, tail=done.row.tail, said=said))

    # --- settings -------------------------------------------------------------------------------------

    def settings(self, wanted: Mapping[str, str], *, agreed: bool) -> None:
        """Each by itself: one that cannot be costs no other. `agreed` = the person named these values already."""
        if not wanted:
            return
        here = {row.name: row for row in self.link.get("/v1/config", t.Config).rows}
        for name, value in wanted.items():
            row = here.get(name)
            shown = "***" if name in CONFIDENTIAL else value  # an address may hold a password
            if row is not None and row.value.strip().lower() == value.strip().lower():
                self._note(Outcome(kind="setting", name=name, outcome="same"))
            elif row is not None and row.source != "default" and not self.force:
                said = f"it is {row.value or 'set'} here; --force sets it to {shown}" if value else "it is set here"
                self._note(Outcome(kind="setting", name=name, outcome="kept", said=said))
            elif self.dry:
                self._note(Outcome(kind="setting", name=name, outcome="found", said=shown))
            elif agreed or _STEERING.fullmatch(name) is None or self.agree(_question(name, value)):
                self._set(name, value)
            else:
                said = f"it says where your keys are sent; if it is yours: `hr config set {name} VALUE`"
                self._note(Outcome(kind="setting", name=name, outcome="left", said=said))

    def _set(self, name: str, value: str) -> None:
        try:
            changed = self.link.call("PATCH", "/v1/config", t.ChangeConfig(changes={name: value}), t.Changed)
        except Trouble as trouble:
            self._note(Outcome(kind="setting", name=name, outcome="faulty", said=trouble.message))
            return
        row = changed.rows[0]
        cold = "; a running daemon needs `hr restart`" if name in changed.needs_restart else ""
        self._note(Outcome(kind="setting", name=name, outcome="set", said=f"{row.after or 'nothing'}{cold}"))

    # --- logins ---------------------------------------------------------------------------------------

    def logins(self, file: Path, official: Path) -> None:
        """The ChatGPT accounts of the original's `auth.json`; `official` is where the official CLI keeps its own."""
        self.begun("Taking over the ChatGPT accounts")
        asked = s.AdoptLogins(path=str(file.absolute()), cli_path=str(official))
        found = self.link.call("POST", "/v1/accounts/adopt", asked, s.AdoptedLogins, wait_s=ASKING_S)
        self.notes += [one for one in found.notes if one not in self.notes]
        for row in found.rows:
            name = (row.row.account or row.row.email) if row.row is not None else ""
            shared = ", shared with the Codex CLI" if row.row is not None and row.row.origin else ""
            self._note(
                Outcome(
                    kind="login",
                    name=name or "ChatGPT account",
                    outcome=row.outcome,
                    tail=row.tail,
                    said=f"{row.said}{shared}".removeprefix(", "),
                )
            )


def _question(name: str, value: str) -> str:
    """About a setting by its name; a user and a password before the host are not shown."""
    return f"Take {name} ({value.rpartition('@')[2]})? Requests with your keys go there."


def _limits(held: RouterKeyHeld) -> str:
    """What it may, and what of that is lost on the way."""
    kept = [
        f"{held.rpm} requests a minute" if held.rpm else "",
        f"{words.money(held.budget_microusd)} a day" if held.budget_microusd else "",
        f"only {words.listing(list(held.providers))}" if held.providers else "",
    ]
    said = ", ".join(part for part in kept if part)
    lost = f"without {words.listing(list(held.lost))}, which has no counterpart here" if held.lost else ""
    return "; ".join(part for part in (said, lost) if part)
