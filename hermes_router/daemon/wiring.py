"""The composition: edges to ports, a configuration to a generation.

Owns the construction of everything, and the swap of generations. Nothing is built at import, so several daemons can
live in one test.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from hermes_router import __version__
from hermes_router.core.catalog import ModelSpec
from hermes_router.core.errors import ConfigError, UpstreamError
from hermes_router.core.ids import CredentialId, ProviderName
from hermes_router.core.ports import Clock, Transport
from hermes_router.core.router_keys import RouterKey
from hermes_router.core.settings import Settings
from hermes_router.daemon import deferred
from hermes_router.daemon.accounts import Accounts
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.images import LateImages
from hermes_router.daemon.ledger import LedgerKeeper
from hermes_router.daemon.scrub import InBand, Scrub, secrets_of
from hermes_router.daemon.sources import RandomIds, SystemClock
from hermes_router.engine.accounting import Recent
from hermes_router.engine.attempt import Border
from hermes_router.engine.context import Engine, Generation
from hermes_router.engine.embed_bindings import EmbedBindings
from hermes_router.engine.former import former
from hermes_router.engine.live_models import LiveModels, LiveView
from hermes_router.engine.memory import Memory
from hermes_router.engine.refresh_flight import TokenHome
from hermes_router.engine.remembered import RememberedResponses
from hermes_router.engine.snapshot import base_url, is_on, pinned_facts, take_snapshot
from hermes_router.engine.sweep import Sweeper
from hermes_router.engine.tasks import Supervisor
from hermes_router.routing.past import Served
from hermes_router.routing.roster import Roster
from hermes_router.routing.state import RoutingState
from hermes_router.server.access import Access
from hermes_router.server.app import Runner, make_app
from hermes_router.store.embed_bindings import EmbedBindingStore
from hermes_router.store.responses import ResponseStore
from hermes_router.store.router_keys import RouterKeyStore
from hermes_router.store.usage import UsageStore
from hermes_router.upstream.auth import HeaderAuthorizer, bearer
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.local import discover
from hermes_router.upstream.proxy import is_loopback
from hermes_router.wire import ratelimit

_LOOK_AGAIN_S = 5.0  # a local server that is not up yet: one refused connection on loopback
_LOOK_AGAIN_FOUND_S = 300.0
_TIDY_S = 600.0
_NO_LISTS = LiveView()
_NEVER_SERVED: Mapping[str, Served] = {}
_WARM = 3  # more would be closed, idle, before they are asked


class Gate(msgspec.Struct):
    """The access checks of the current generation."""

    access: Access


class Daemon(msgspec.Struct):
    """A running router: the engine, its public application, and the tasks beside it."""

    loaded: Loaded
    engine: Engine
    runner: Runner
    supervisor: Supervisor
    transport: HttpTransport
    gate: Gate
    live: dict[str, Sequence[ModelSpec]]
    live_models: LiveModels = msgspec.field(default_factory=LiveModels)
    absent: set[str] = msgspec.field(default_factory=set)
    usage: UsageStore | None = None
    ledger: LedgerKeeper | None = None
    responses: ResponseStore | None = None
    recent: Recent = msgspec.field(default_factory=Recent)
    router_keys: RouterKeyStore | None = None
    embed_store: EmbedBindingStore | None = None
    accounts: Accounts | None = None
    on_tokens: list[Callable[[Loaded], None]] = msgspec.field(default_factory=list)
    on_swap: list[Callable[[Loaded], None]] = msgspec.field(default_factory=list)
    beside: dict[str, Callable[[], Awaitable[None]]] = msgspec.field(default_factory=dict)
    before_ready: list[Callable[[], Awaitable[object]]] = msgspec.field(default_factory=list)
    _look_now: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    _tasks_run: bool = False

    def start_tasks(self) -> None:
        """What runs beside the requests; a task that runs is left alone."""
        self._tasks_run = True
        for name, work in self.beside.items():
            self.supervisor.keep(name, work)
        self.supervisor.keep("warm", self.warm)
        if self.has_local:
            self.supervisor.keep("local", self.look_for_local)
        if self.loaded.settings.fetch_images:
            self.supervisor.keep("images", deferred.bring_in_images)

    async def make_ready(self) -> None:
        """What a successor does while its predecessor still serves: windows of local servers, connections."""
        await deferred.bring_in_now()
        if self.loaded.settings.fetch_images:
            await deferred.bring_in_images()
        for step in self.before_ready:
            await step()
        if self.has_local:
            await self.discover_local()
        await self.warm()

    async def load_bindings(self) -> None:
        """Take over what router keys are bound to, before the first request."""
        if self.embed_store is not None:
            self.engine.embed_bindings.restore(await asyncio.to_thread(self.embed_store.load))

    def swap(self, loaded: Loaded) -> None:
        """Put a new generation in force; runtime state stays. A local server that it names is looked for at once."""
        self._install(loaded)
        self._look_now.set()
        if self._tasks_run and self.has_local:
            self.supervisor.keep("local", self.look_for_local)
        if self._tasks_run and loaded.settings.fetch_images:
            self.supervisor.keep("images", deferred.bring_in_images)

    def renew(self) -> None:
        """The same configuration with what was learned of its models: a new generation."""
        self._install(self.loaded)

    def recall(self) -> None:
        """What an earlier life served was just taken over: names that meant something then mean it now."""
        if self.engine.past.news:
            self.renew()

    def _install(self, loaded: Loaded) -> None:
        accounts = self.accounts
        if accounts is not None:
            loaded = loaded.with_accounts(accounts.refresher.accounts())
        self.loaded = loaded
        self.gate.access = access = Access(loaded.settings, self.stored_keys)
        self.engine.limits.keep(key.id for key in access.admission.keys)
        self.engine.snapshot = generation(
            loaded, self.engine.snapshot.number + 1, self.live, self.live_models.view(), self.engine.past.served
        )
        self._note_served()
        self.engine.authorizer = HeaderAuthorizer(loaded.vault, self.engine.renewals)
        self.engine.border, self.engine.in_band = border(loaded)
        self.engine.state.adopt(self.engine.snapshot.roster)
        self.engine.waiters.wake()
        configure(self.engine)
        self.tidy_responses()
        for told in self.on_swap:
            told(loaded)

    def _note_served(self) -> None:
        snapshot = self.engine.snapshot
        self.engine.past.note(snapshot.roster, snapshot.embedders, self.engine.clock.now())

    def tidy_responses(self) -> None:
        """Forget remembered answers that are too old; all of them, where none are to be kept."""
        self.engine.remembered.tidy(everything=not self.engine.snapshot.settings.responses_store)

    async def keep_responses_tidy(self) -> None:
        """The same now and again, also where nothing comes that would have the old ones give way."""
        while True:
            self.tidy_responses()
            await asyncio.sleep(_TIDY_S)

    def accounts_changed(self, idents: frozenset[CredentialId], roster: bool) -> None:
        """Accounts have other tokens, or an end; `roster`: or have come and gone, which makes a new generation."""
        accounts, engine = self.accounts, self.engine
        if accounts is None:
            return
        if roster:
            self._install(self.loaded)
        else:
            self.loaded = self.loaded.with_accounts(accounts.refresher.accounts())
            engine.border, engine.in_band = border(self.loaded)
            for told in self.on_tokens:
                told(self.loaded)
        accounts.judge(engine.state, idents, engine.clock.now())
        engine.waiters.wake()

    @property
    def stored_keys(self) -> tuple[RouterKey, ...]:
        """The router keys that `hr key` made."""
        return self.router_keys.keys if self.router_keys is not None else ()

    @property
    def number(self) -> int:
        """The number of the generation in force."""
        return self.engine.snapshot.number

    @property
    def targets(self) -> int:
        """How many targets it makes."""
        return len(self.engine.snapshot.roster)

    async def warm(self) -> None:
        """Open a connection to each of the first few providers: the first request then need not wait for TLS."""
        addresses = dict.fromkeys(f.base_url for f in self.engine.snapshot.roster.facts if f.disabled is None)
        for address in list(addresses)[:_WARM]:
            await self.transport.warm(address)

    async def look_for_local(self) -> None:
        """Read the real windows of keyless local servers, now and again: they come and go."""
        while True:
            self._look_now.clear()
            found = await self.discover_local()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_FOUND_S if found else _LOOK_AGAIN_S):
                    await self._look_now.wait()

    async def discover_local(self) -> bool:
        """Ask each keyless local server once; whether all of them answered."""
        found = True
        for name, spec in self.loaded.catalog.items():
            said = self.loaded.settings.provider(name)
            if not spec.keyless or not is_on(spec, said):
                continue
            wanted = (*said.models, *filter(None, (said.embed_model,))) if said.models else ()
            here = await self._discover(name, base_url(spec, said, "openai_chat"), wanted)
            found = found and here
        return found

    async def _discover(self, name: ProviderName, base: str, wanted: Sequence[str]) -> bool:
        key = next((c for c in self.loaded.credentials if c.provider == name and c.kind == "api_key"), None)
        headers = bearer(self.loaded.vault, key) if key is not None else {}
        try:
            models = await discover(self.transport, base, wanted=wanted, headers=headers)
        except UpstreamError as error:
            if name not in self.absent:  # said once, and once more when it is back
                self.absent.add(name)
                self.engine.log.warning("local.absent", provider=name, url=base, said=error.excerpt[:100])
            return False
        if name in self.absent:
            self.absent.discard(name)
            self.engine.log.info("local.back", provider=name, url=base)
        if models != self.live.get(name):
            self.live[name] = models
            self.engine.log.info(
                "local.found", provider=name, models=" ".join(f"{m.id}({m.context or '?'})" for m in models)
            )
            self._install(self.loaded)
        return True

    @property
    def has_local(self) -> bool:
        """Whether a keyless provider takes part."""
        settings = self.loaded.settings
        return any(spec.keyless and is_on(spec, settings.provider(name)) for name, spec in self.loaded.catalog.items())


def generation(
    loaded: Loaded,
    number: int,
    live: Mapping[str, Sequence[ModelSpec]],
    lists: LiveView = _NO_LISTS,
    served: Mapping[str, Served] = _NEVER_SERVED,
) -> Generation:
    """One configuration, indexed for routing, with what local servers hold, providers list, and others `served`."""
    snapshot = take_snapshot(number, loaded.settings, loaded.catalog, loaded.credentials, live, lists=lists)
    live_models = snapshot.live_models()
    roster = Roster(
        snapshot.facts,
        live_models=live_models,
        pinned=partial(pinned_facts, snapshot),
        former=former(snapshot, live_models, served, loaded.unread),
    )
    present = {facts.provider.name for facts in snapshot.facts}
    awaits = any(
        spec.keyless and is_on(spec, loaded.settings.provider(name)) and name not in present and not live.get(name)
        for name, spec in loaded.catalog.items()
    )
    return Generation(
        number, loaded.settings, roster, loaded.settings.mode, awaits_local=awaits, embedders=snapshot.embedders
    )


def configure(engine: Engine) -> None:
    """Put a generation's budget and pacing into the ledger; what was counted stays counted."""
    settings = engine.snapshot.settings
    engine.state.configure(
        budget_microusd_day=settings.budget_microusd_day,
        pacing_even=settings.quota_pacing == "even",
        now=engine.clock.now(),
    )


def border(loaded: Loaded) -> tuple[Border, InBand]:
    """The functions that read what providers say, with this configuration's secrets taken out of errors."""
    scrub = Scrub(secrets_of(loaded))
    return Border(ratelimit.seen, scrub.classify(deferred.classify)), scrub.in_band(deferred.in_band)


def check_binding(settings: Settings, keys: Sequence[RouterKey]) -> None:
    """Refuse to be open to strangers, or to nobody; `keys` are the stored ones. Raises ConfigError."""
    if not settings.proxy_api_keys and not keys:
        raise ConfigError(
            "PROXY_API_KEYS is empty and no router key is stored, so nobody could be let in: "
            "`hr key add NAME` makes one",
            where=settings.sources.get("PROXY_API_KEYS", ""),
            fatal=True,
        )
    if settings.host and settings.default_key and not is_loopback(settings.host):
        raise ConfigError(
            f"HOST={settings.host} would open the router to the network with the default key: "
            "set PROXY_API_KEYS to a key of your own, or leave HOST unset",
            where=settings.sources.get("HOST", ""),
            fatal=True,
        )


def build(
    loaded: Loaded,
    loop: asyncio.AbstractEventLoop,
    log: Any,
    *,
    clock: Clock | None = None,
    transport: Transport | None = None,
    rng: random.Random | None = None,
    usage: UsageStore | None = None,
    router_keys: RouterKeyStore | None = None,
    tokens: TokenHome | None = None,
    responses: ResponseStore | None = None,
    opens: bool = True,
) -> Daemon:
    """Wire a daemon. Raises ConfigError where it would be open to strangers, or to nobody.

    `opens` False = it has no public socket, and is there to mend just that.
    """
    settings = loaded.settings
    stored_keys = router_keys.keys if router_keys is not None else ()
    if opens:
        check_binding(settings, stored_keys)
    clock = clock or SystemClock()
    http = HttpTransport(
        loop, https_proxy=settings.https_proxy, http_proxy=settings.http_proxy, no_proxy=settings.no_proxy
    )
    first = generation(loaded, 1, {})
    reads_heads, reads_frames = border(loaded)
    recent = Recent(usage)
    engine = Engine(
        snapshot=first,
        state=RoutingState(),
        transport=transport or http,
        authorizer=HeaderAuthorizer(loaded.vault),
        memory=Memory(clock),
        border=reads_heads,
        in_band=reads_frames,
        sweeper=Sweeper(clock, loop.call_later),
        clock=clock,
        rng=rng or random.Random(),  # noqa: S311 - spreads load, guards nothing
        ids=RandomIds(),
        log=log,
        started_mono=clock.mono(),
        secret=loaded.digest_key,
        recorder=recent,
    )
    engine.remembered = RememberedResponses(clock, responses)
    engine.images = LateImages(loop, clock, settings)
    engine.state.adopt(first.roster)
    configure(engine)
    ledger = LedgerKeeper(engine, usage.db, loop, log) if usage is not None else None
    embed_store = EmbedBindingStore(usage.db) if usage is not None else None
    if embed_store is not None:
        engine.embed_bindings = EmbedBindings(embed_store, log)
    gate = Gate(Access(settings, stored_keys))
    app = make_app(engine, lambda: gate.access, __version__)
    daemon = Daemon(
        loaded,
        engine,
        Runner(app, engine.ids),
        Supervisor(log),
        http,
        gate,
        {},
        usage=usage,
        ledger=ledger,
        recent=recent,
        responses=responses,
        router_keys=router_keys,
        embed_store=embed_store,
        beside={"ledger": ledger.run} if ledger is not None else {},
    )
    engine.past.note(first.roster, first.embedders, clock.now())
    daemon.beside["responses"] = daemon.keep_responses_tidy
    if tokens is not None:
        _with_accounts(daemon, tokens, loop, log, rng)
    return daemon


def _with_accounts(
    daemon: Daemon, tokens: TokenHome, loop: asyncio.AbstractEventLoop, log: Any, rng: random.Random | None
) -> None:
    """Have logins kept alive, and served with."""
    engine = daemon.engine
    accounts = daemon.accounts = Accounts(
        tokens,
        loop,
        log,
        clock=engine.clock,
        rng=rng or random.Random(),  # noqa: S311 - spreads load, guards nothing
        settings=lambda: (daemon.loaded.settings, daemon.loaded.catalog),
        proxies=daemon.loaded.settings,
    )
    accounts.refresher.load(daemon.loaded.accounts)
    accounts.refresher.changed = daemon.accounts_changed
    engine.renewals = accounts.refresher
    engine.authorizer = HeaderAuthorizer(daemon.loaded.vault, accounts.refresher)
    daemon.beside["accounts"] = accounts.refresher.run
