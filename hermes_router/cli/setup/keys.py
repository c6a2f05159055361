"""The wizard's first half: what is here, what is found on the machine, and keys, each taken and tested.

Owns the order and the words of these steps. Whatever was taken stays, also when the next question is not answered.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from hermes_router.cli import render, words
from hermes_router.cli.auth import ask_keys
from hermes_router.cli.link import Link
from hermes_router.cli.login import import_codex, official_file
from hermes_router.cli.original.files import Holdings, KeyHeld, Left
from hermes_router.cli.original.importing import originals, passed_over, read_holdings, say_left, say_outcome
from hermes_router.cli.original.install import Original
from hermes_router.cli.original.takeover import Outcome, Takeover
from hermes_router.cli.pool_advice import best_free, what_it_brings
from hermes_router.cli.provider_names import find_provider, may_be_key
from hermes_router.cli.screen import resting_place
from hermes_router.cli.setup.surroundings import Server, environment_keys, local_servers
from hermes_router.cli.setup.talk import Talk
from hermes_router.cli.trouble import Trouble
from hermes_router.control import setup_types as s
from hermes_router.control import types as t
from hermes_router.core.router_keys import id_of

__all__ = ["Gathering"]

_SHOWN_FREE = 4
_NO_TAIL = "****"  # of a key too short to show an end, by which it cannot be told from another
_ENOUGH = 2
_TAKEN = frozenset({"stored", "replaced", "known"})


@dataclass(slots=True)
class Gathering:
    """The providers of a pool, brought together. `outcomes` is all that became of what was found.

    `doubted` are keys, by provider and end, that are in use from the environment, and were rejected or are none.
    """

    talk: Talk
    link: Link
    outcomes: list[Outcome] = field(default_factory=list)
    doubted: set[tuple[str, str]] = field(default_factory=set)
    _rows: list[s.CatalogRow] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def look_here(self) -> None:
        """Step 1: the router, and what it holds."""
        self.talk.head("What is here")
        ping = self.link.ping
        if self.link.works_on_files:
            self.talk.say("No router runs yet; it is started below.")
        else:
            managed = f", looked after by {ping.run}" if ping.run in {"systemd", "launchd"} else f", {ping.run}"
            self.talk.say(f"The router runs at {ping.url} (version {ping.version}{managed}).", "good")
        held = self.link.get("/v1/credentials", t.Credentials)
        names = [f"{row.name} ({words.some(row.keys, 'key')})" for row in held.providers if row.keys]
        self.talk.say(f"Keys: {words.listing(names, 8)}." if names else "No key yet.", "good" if names else "")

    def look_around(self) -> None:
        """Steps 2 and 3: what can be taken, and the taking of it."""
        self.talk.head("Looking around")
        self._rows = self.link.get("/v1/catalog", s.Catalog).rows
        stored = self._stored()
        servers = local_servers(self._rows)
        keys, examples, left = environment_keys(self._rows, os.environ)
        self.doubted |= {(one.provider, one.tail) for one in examples}
        new = [one for one in keys if (one.provider, one.tail) not in stored]
        found = self._originals()
        for one in servers:
            self.talk.say(f"{one.program} answers at {one.url}: {_models(one)}.", "good")
        for row in self._rows:
            if row.usual and row.base_url:
                self.talk.say(f"{row.name}: {row.base_url}, as you have set it.", "good")
        for held in keys:
            here = "" if held in new else ", kept here already"
            self.talk.say(f"{held.where} in the environment (…{held.tail}){here}.", "good")
        for original, holds in found:
            self.talk.say(f"The original hermes-router in {_place(original)}: {_holds(holds)}.", "good")
        if official_file().is_file():
            self.talk.say(f"A login of the Codex CLI: {render.tilde(str(official_file()))}.", "good")
        if not (servers or keys or found):
            self.talk.say("Nothing that could be taken over.")
        self.talk.head("Keys")
        self._take(servers, new, left, found)

    def _take(
        self,
        servers: Sequence[Server],
        keys: Sequence[KeyHeld],
        left: Sequence[Left],
        found: Sequence[tuple[Original, Holdings]],
    ) -> None:
        self._take_servers(servers)
        for row in self._rows:
            mine = [one for one in keys if one.provider == row.name]
            if mine and self._wants(row, mine):
                self._store(mine)
        for original, holds in found:
            fresh = self._fresh(holds)
            if not (fresh.keys or fresh.router_keys or fresh.settings):
                self.talk.say(f"Nothing in {_place(original)} is new.", "dim")
            elif self.talk.sure(f"Take over {_holds(fresh)} from {_place(original)}?"):
                self._take_over(fresh)
        say_left(left, indent=2)
        if keys:
            self.talk.say("A service does not see your shell's environment; what was taken is kept for it.", "dim")
        self._codex(found)
        if not self.talk.yes:
            self._ask_for_keys()
            return
        have = self._have(self.link.get("/v1/credentials", t.Credentials).providers)
        if len(have) < _ENOUGH:
            self._show_free(have)
            self.talk.say("`hr auth add PROVIDER` adds a key.")

    def _stored(self) -> set[tuple[str, str]]:
        """The keys that rest with us, whatever the environment has."""
        rows = self.link.get("/v1/credentials", t.Credentials).rows
        return {(row.provider, row.tail) for row in rows if row.added_at is not None and row.tail != _NO_TAIL}

    def _originals(self) -> list[tuple[Original, Holdings]]:
        try:
            places = originals(())
        except Trouble:  # there is none
            places = []
        for said in passed_over(places):
            self.talk.say(f"{said[0].upper()}{said[1:]}.", "warn")
        found = []
        for one in places:
            try:
                found.append((one, read_holdings(one, self._rows)))
            except Trouble as trouble:
                self.talk.say(trouble.message, "warn")
        return found

    # --- taking ---------------------------------------------------------------------------------------

    def _take_servers(self, servers: Sequence[Server]) -> None:
        done: set[str] = set()
        for one in servers:
            if one.provider in done:
                said = (
                    f"{one.program} can be a provider of its own: a row in providers.toml (docs/adding-a-provider.md)."
                )
                self.talk.say(said)
            elif self.talk.sure(f"Use {one.program} at {one.url}?"):
                self._takeover().settings({f"{one.provider.upper()}_BASE_URL": one.url}, agreed=True)
                done.add(one.provider)

    def _wants(self, row: s.CatalogRow, keys: Sequence[KeyHeld]) -> bool:
        """Whether these keys are to be taken; what is paid by the token says so."""
        names = words.listing([f"{one.where} (…{one.tail})" for one in keys], 3)
        paid = row.price_class == "paid"
        if paid:
            self.talk.say(f"{row.title} is paid by the token; BUDGET_USD_DAY limits what a day may cost.", "warn")
        return self.talk.sure(f"Take {names} for {row.title}?", usual=self.talk.yes or not paid)

    def _store(self, keys: Sequence[KeyHeld]) -> None:
        takeover = self._takeover()
        try:
            takeover.keys(keys)
        except Trouble as trouble:
            self.talk.trouble(trouble)
        self._say_notes(takeover)

    def _fresh(self, holds: Holdings) -> Holdings:
        """What of it is not here yet."""
        stored = self._stored()
        known = {row.id for row in self.link.get("/v1/keys", t.Keys).rows}
        here = {row.name: row for row in self.link.get("/v1/config", t.Config).rows}

        def stands(name: str, value: str) -> bool:
            row = here.get(name)
            return row is not None and (row.source != "default" or row.value.lower() == value.lower())

        return Holdings(
            keys=[one for one in holds.keys if (one.provider, one.tail) not in stored],
            router_keys=[one for one in holds.router_keys if id_of(one.digest) not in known],
            settings={name: value for name, value in holds.settings.items() if not stands(name, value)},
            left=holds.left,
        )

    def _take_over(self, holds: Holdings) -> None:
        takeover = self._takeover()
        try:
            takeover.everything(holds)
        except Trouble as trouble:
            self.talk.trouble(trouble)
        say_left(holds.left, indent=2)
        self._say_notes(takeover)

    def _takeover(self) -> Takeover:
        titles = {row.name: row.title for row in self._rows}
        return Takeover(self.link, titles, self._begun, self._done, self._agrees)

    def _agrees(self, question: str) -> bool:
        return self.talk.sure(question, usual=False)

    def _begun(self, said: str) -> None:
        click.echo(f"  {words.clean(said)} {render.glyphs().more}", err=True)

    def _done(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.kind == "key" and outcome.outcome == "refused":
            self.doubted.add((outcome.name, outcome.tail))
        say_outcome(outcome, indent=4)
        row = next((one for one in self._rows if one.name == outcome.name), None)
        if outcome.kind == "key" and outcome.outcome in _TAKEN and row is not None and row.name not in self._told:
            self._told.add(row.name)
            lines = render.paragraph(words.clean(what_it_brings(row)), render.width(), indent=6)
            render.say(render.paint(line, "dim") for line in lines)

    def _say_notes(self, takeover: Takeover) -> None:
        for note in takeover.notes:
            self.talk.say(note, "warn")
        if takeover.store and takeover.changed:
            self.talk.say(f"Kept in {resting_place(takeover.store)}.", "dim")

    # --- logins ---------------------------------------------------------------------------------------

    def _codex(self, found: Sequence[tuple[Original, Holdings]]) -> None:
        """Logins are never taken without being asked for: they have terms of their own."""
        if any(holds.logins for _, holds in found):
            self.talk.say("Its ChatGPT accounts stay there: stop it for good, then `hr auth import --codex`.")
        if not official_file().is_file() or self.link.get("/v1/credentials", t.Credentials).accounts:
            return
        if self.talk.yes:
            self.talk.say("The login of the Codex CLI stays there: `hr auth import-codex` shares it.")
            return
        self.talk.say("Routing a ChatGPT plan through a proxy is a grey area of OpenAI's terms.", "warn")
        if self.talk.sure("Share the login of the Codex CLI, at your own risk?", usual=False):
            try:
                click.get_current_context().invoke(import_codex)
            except Trouble as trouble:
                self.talk.trouble(trouble)

    # --- asking for keys ------------------------------------------------------------------------------

    def _ask_for_keys(self) -> None:
        """As many as the person has; an empty answer goes on."""
        shown: set[str] | None = None
        while True:
            held = self.link.get("/v1/credentials", t.Credentials)
            have = self._have(held.providers)
            if len(have) < _ENOUGH and have != shown:
                self._show_free(have)
                shown = have
            name = self.talk.ask("Add a key of which provider? (its name; Enter goes on)")
            if not name:
                return
            try:
                self._ask_for(name, held.providers)
            except Trouble as trouble:
                self.talk.say(trouble.message, "warn")
                if trouble.next_step:
                    self.talk.say(trouble.next_step)

    def _have(self, providers: Sequence[t.ProviderRow]) -> set[str]:
        """Whoever could answer: with a key that is not known to be bad, or without needing one."""
        bad = {name for name, _ in self.doubted}
        good = {one.name for one in self.outcomes if one.kind == "key" and one.outcome in _TAKEN}
        return {
            row.name
            for row in providers
            if row.state == "on" and (not row.keys or row.keys > 1 or row.name in good or row.name not in bad)
        }

    def _ask_for(self, name: str, providers: Sequence[t.ProviderRow]) -> None:
        if may_be_key(name):
            raise Trouble(
                "this looks like a key", "name its provider first: then the key is asked for, and stays hidden"
            )
        row = find_provider(name, providers)
        if not row.variables:
            raise Trouble(f"{row.title} takes a login, not a key", f"`hr auth login {row.name}` does that, after this")
        values = [text.strip() for text in ask_keys(row) if text.strip()]
        self._store([KeyHeld(row.name, value, "typed") for value in dict.fromkeys(values)])

    def _show_free(self, have: set[str]) -> None:
        why = "One provider is not enough: if it fails, nothing is left." if have else "An agent needs two providers."
        self.talk.say(f"{why} These cost nothing:")
        for row in best_free(self._rows, have)[:_SHOWN_FREE]:
            self.talk.lines([f"{render.paint(row.name, 'bold')}  {words.clean(row.signup)}"])
            lines = render.paragraph(words.clean(row.free), render.width(), indent=6)
            render.say(render.paint(line, "dim") for line in lines)


def _place(original: Original) -> str:
    return render.tilde(str(original.directory))


def _holds(holds: Holdings) -> str:
    parts = [
        words.some(len(holds.keys), "key") if holds.keys else "",
        words.some(len(holds.router_keys), "router key") if holds.router_keys else "",
        words.some(len(holds.settings), "setting") if holds.settings else "",
    ]
    return words.listing([part for part in parts if part]) or "nothing that can be taken over"


def _models(server: Server) -> str:
    many = words.some(len(server.models), "model")
    return f"{many} ({words.listing(list(server.models), 4)})" if server.models else "no model is loaded"
