"""The wizard's second half: a router key, the router running, how long its pool lasts, and a real answer.

Owns the order and the words of these steps. A router key is shown once, here.
"""

import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import Link, find
from hermes_router.cli.original.install import runs
from hermes_router.cli.pool_advice import best_free, points
from hermes_router.cli.service.init_system import absence
from hermes_router.cli.setup.first_answer import Answered, Flow, stream
from hermes_router.cli.setup.talk import Talk
from hermes_router.cli.snippets import snippets
from hermes_router.cli.trouble import Trouble
from hermes_router.control import setup_types as s
from hermes_router.control import types as t
from hermes_router.core.ids import Secret
from hermes_router.core.router_keys import digest_of, id_of
from hermes_router.core.setting_values import listed
from hermes_router.core.settings import DEFAULT_KEY

__all__ = ["Ending"]

_NAME = "setup"
_VARIABLE = "PROXY_API_KEYS"
_ENVIRONMENT = "environment"
_SERVICE = "install-service"
_LOCAL_S = 8.0  # for a local server's models to be seen
_LOOK_S = 0.1
_ANSWER_S = 700.0
QUESTION = "In one short sentence: what are you, and are you ready to work?"
_PLACEHOLDER = "YOUR-ROUTER-KEY"


@dataclass(slots=True)
class Ending:
    """A router from its key to its first answer. `service`: True and False as the person said, None = to be asked.

    `refused` is why the service that was asked for is not there.
    """

    talk: Talk
    link: Link
    service: bool | None = None
    key: str = ""
    answered: Answered | None = None
    refused: Trouble | None = None
    _default_is_good: bool = field(default=False)

    # --- the router key -------------------------------------------------------------------------------

    def router_key(self) -> None:
        """Step 4: a key of the person's own, where the default one stands."""
        self.talk.head("Router key")
        self._default_is_good = self._source_of_keys() == "default"
        rows = self.link.get("/v1/keys", t.Keys).rows
        mine = [row for row in rows if row.source == "stored"]
        if mine or not self._default_is_good:
            names = [f"{row.name} (…{row.tail})" for row in rows if row.source != "default"]
            self.talk.say(f"Programs show one of: {words.listing(names, 6)}.", "good")
            lost = next((row for row in mine if row.name.startswith(_NAME)), None)
            if lost is None or self.talk.yes or not self.talk.sure("Make another one?", usual=False):
                self.talk.say("`hr key add NAME` makes another; none is ever shown a second time.", "dim")
                return
        self._mint({row.name for row in rows})

    def _source_of_keys(self) -> str:
        return next((row.source for row in self.link.get("/v1/config", t.Config).rows if row.name == _VARIABLE), "")

    def _mint(self, taken: set[str]) -> None:
        name, number = _NAME, 1
        while name in taken:
            number += 1
            name = f"{_NAME} {number}"
        made = self.link.call("POST", "/v1/keys", t.AddKey(name=name), t.AddedKey)
        self.key = made.key
        self.talk.say("Programs show this key; it is not shown again:", "good")
        click.echo()
        self.talk.lines([render.paint(made.key, "bold")])
        click.echo()

    # --- running --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Step 5: the router runs, by itself or as a service."""
        self.talk.head("Running")
        ping = self.link.ping
        runs_already = not self.link.works_on_files
        if runs_already and (ping.run in {"systemd", "launchd"} or self.service is not True):
            self.talk.say(f"The router runs at {ping.url}.", "good")
            if self.service is not None or ping.run != "detached" or not self._offer_service():
                return
            self._install()
        elif self.service or (self.service is None and not self.talk.yes and self._offer_service()):
            self._install()
        else:
            self._start()
        self._find_again()

    def _offer_service(self) -> bool:
        if self.talk.yes:
            return False
        why = absence("system")  # a user's own manager is started where it is missing
        if why:
            self.talk.say(f"It cannot be a service here: {why}.", "dim")
            return False
        return self.talk.sure("Keep it running as a service, also after a reboot?")

    def _install(self) -> None:
        """A service; where that cannot be, the router is started all the same."""
        kept = False
        try:
            kept = self._keep_router_keys()
            self._install_service(kept)
        except Trouble as trouble:
            self.talk.trouble(trouble)
            self.refused = trouble if self.service else None
            link = find()
            if link is None or link.works_on_files:
                self._start()
        if kept:
            self._end_default_key()

    def _keep_router_keys(self) -> bool:
        """A service does not see this shell's PROXY_API_KEYS: what callers send stays good. Whether all of it does."""
        if self._source_of_keys() != _ENVIRONMENT:
            return False
        rows = [row for row in self.link.get("/v1/keys", t.Keys).rows if row.source == _ENVIRONMENT]
        mine = {digest_of(one): Secret(one).tail for one in listed(os.environ.get(_VARIABLE, ""))}
        digests: dict[str, str] = {id_of(digest): digest for digest in mine}
        if not all(row.id in digests for row in rows):  # of another shell, which started the router
            return False
        for row in rows:
            digest = digests[row.id]
            if digest != digest_of(DEFAULT_KEY):
                asked = s.AdoptKey(name=_ENVIRONMENT, digest=digest, tail=mine[digest])
                self.link.call("POST", "/v1/keys/adopt", asked, s.AdoptedKey)
        self.talk.say(
            f"A service does not see your shell's {_VARIABLE}: the router keys in it are kept for it.", "good"
        )
        return True

    def _end_default_key(self) -> None:
        """The service's own PROXY_API_KEYS is unset: the key that everybody knows is as good as it was before."""
        self._find_again()
        if self._source_of_keys() == "default" and DEFAULT_KEY not in listed(os.environ.get(_VARIABLE, "")):
            self.link.call("PATCH", "/v1/config", t.ChangeConfig(changes={_VARIABLE: ""}), t.Changed)

    def _install_service(self, kept: bool) -> None:
        """By the command that does it alone; `kept`: what callers send is good there, too."""
        from hermes_router.cli.main import main  # noqa: PLC0415 - it loads us

        context = click.get_current_context()
        command = main.get_command(context, _SERVICE)
        if command is None:
            raise Trouble("this hr cannot install a service", "`hr start` runs the router in the background")
        options = ["--yes"] if any("--yes" in one.opts for one in command.params) else []
        options += ["--kept", _VARIABLE] if kept else []
        with command.make_context(_SERVICE, options, parent=context.parent) as inner:
            command.invoke(inner)

    def _start(self) -> None:
        from hermes_router.cli.main import main  # noqa: PLC0415 - as above

        context = click.get_current_context()
        command = main.get_command(context, "start")
        assert command is not None  # it is ours
        try:
            context.invoke(command)
        except Trouble as trouble:
            why = runs(())
            if why:
                said = f"stop the original hermes-router ({why}), or set another PORT; then run `hr setup` again"
                raise Trouble(trouble.message, said, code=trouble.exit_code) from None
            raise

    def _find_again(self) -> None:
        link = find()
        if link is None or link.works_on_files:
            raise Trouble("the router does not run", "`hr start` says why")
        self.link = link
        self._default_is_good = self._source_of_keys() == "default"

    # --- the pool and the answer ----------------------------------------------------------------------

    def pool_and_answer(self, doubted: Collection[tuple[str, str]]) -> None:
        """Step 6: whether it lasts, what would help most, and the proof. Raises Trouble where nothing answers."""
        self.talk.head("A real answer")
        status = self._status()
        rows = self.link.get("/v1/catalog", s.Catalog).rows
        targets = [one for one in status.targets if (one.provider, one.credential) not in doubted]
        have = {one.provider for one in targets}
        free = best_free(rows, have)
        if not targets:
            first = f"`hr auth add {free[0].name}`" if free else "`hr auth add PROVIDER`"
            said = f"{first} adds a key (sign up: {free[0].signup}); then `hr setup` goes on" if free else first
            raise Trouble("no provider has a key yet, so nothing can answer", said)
        judged = points(targets)
        for point in judged:
            self.talk.say(f"{point.said}.", point.style)
        if free and any(point.style != "good" for point in judged):
            best = free[0]
            said = f"What would help most: a key of {best.title}, {best.signup} ({best.free.rstrip('.')})."
            self.talk.say(said)
        self._ask(status.ping.url)

    def _status(self) -> t.Status:
        """How it stands; a local server that was just named is given a moment to be seen."""
        deadline = time.monotonic() + _LOCAL_S
        while True:
            status = self.link.get("/v1/status", t.Status)
            seen = {one.provider for one in status.targets}
            awaited = [row for row in status.providers if row.state == "on" and not row.keys and row.name not in seen]
            if not awaited or time.monotonic() >= deadline:
                return status
            time.sleep(_LOOK_S)

    def _ask(self, url: str) -> None:
        self.talk.say(QUESTION, "dim")
        flow = Flow(render.width())
        key = self.key or (DEFAULT_KEY if self._default_is_good else self._known_key())
        if key:
            try:
                self.answered = stream(url, key, QUESTION, flow.write)
            finally:
                flow.end()
        else:  # only digests are here: the question goes over the control socket
            found = self.link.call("POST", "/v1/ask", t.Ask(text=QUESTION), t.Answer, wait_s=_ANSWER_S)
            flow.write(found.text)
            flow.end()
            self.answered = Answered(found.target, found.attempts, found.duration_s, found.duration_s, found.text)
        took = words.lapse(self.answered.duration_s)
        attempts = f", {words.some(self.answered.attempts, 'attempt')}" if self.answered.attempts > 1 else ""
        self.talk.say(f"{self.answered.target} answered in {took}{attempts}.", "good")

    def _known_key(self) -> str:
        """A router key of our own environment that the router takes, too; empty where there is none."""
        good = {row.id for row in self.link.get("/v1/keys", t.Keys).rows}
        mine = listed(os.environ.get(_VARIABLE, ""))
        return next((one for one in mine if id_of(digest_of(one)) in good), "")

    def clients(self) -> None:
        """Where programs need what."""
        url = self.link.ping.url.removesuffix("/v1")
        click.echo(f"\n{render.paint('Point your programs at it', 'bold')}")
        for name, lines in snippets(url, self.key or _PLACEHOLDER):
            self.talk.say(name)
            self.talk.lines(lines)
        if self._default_is_good:
            self.talk.say(
                f"{DEFAULT_KEY}, which everybody knows, goes on working on this machine; once your programs show a key "
                "of their own, `hr config set PROXY_API_KEYS ''` ends that."
            )
