"""The tasks that keep what is known of models true: live lists read again, tiny questions asked, one provider a task.

Owns when a provider is asked, the words of the log about it, and the sentences of `hr status`. What a list or an answer
proves is the engine's to say. Nothing here delays the start of serving, a request, or another provider's turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from hermes_router.core.catalog import ProviderSpec, TargetFacts
from hermes_router.core.errors import ModelGone, UpstreamError
from hermes_router.core.ids import Credential
from hermes_router.core.live_lists import LiveList
from hermes_router.core.observations import Unit
from hermes_router.daemon.model_file import read_models_file, to_bytes, write_models_file
from hermes_router.daemon.wiring import Daemon
from hermes_router.engine.live_models import News
from hermes_router.engine.snapshot import SPOKEN, base_url, is_on, picked, spoken_dialect
from hermes_router.engine.trial import ask
from hermes_router.upstream.auth import key_headers, list_headers
from hermes_router.upstream.model_lists import read_list
from hermes_router.upstream.plan_usage import read_usage
from hermes_router.upstream.quota_check import has_room

__all__ = ["Probing"]

FIRST_S: Final = 2.0  # callers are served first
SPREAD_S: Final = 3.0
EVERY_S: Final = 6 * 3600.0
SOON_S: Final = 600.0  # after a model was said to be unknown, and between two lists at least
FAILED_S: Final = 600.0  # doubled with each failure, up to `EVERY_S`
POLL_S: Final = 60.0
ROOM_S: Final = 600.0  # contract.md, Cooldowns
_ACCOUNTS: Final = 4  # asked when the first one's list lacks a model: lists differ by account
_AT_ONCE: Final = 4
_NAMED: Final = 8


class _Course(msgspec.Struct):
    """One provider's turn: when its list is due, and how its last reading went."""

    due_at: float = 0.0
    read_at: float = float("-inf")
    room_at: float = float("-inf")
    pause_s: float = FAILED_S
    trouble: str = ""
    odd: bool = False
    reading: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)


class Probing:
    """The prober of one daemon. `path` is where the lists are kept; None = nowhere."""

    def __init__(
        self, daemon: Daemon, path: Path | None, *, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    ) -> None:
        self._daemon = daemon
        self._engine = daemon.engine
        self._log = daemon.engine.log
        self._path = path
        self._sleep = sleep
        self._courses: dict[str, _Course] = {}
        self._changed = asyncio.Event()
        self._unlisted: set[tuple[str, str]] = set()
        self._unkept = False
        daemon.on_swap.append(lambda _: self._changed.set())

    # --- life ----------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Take up what was kept, before the first request: the pool is then the same as before the restart."""
        if self._path is None:
            return
        kept = read_models_file(self._path, self._engine.clock.now(), self._log)
        if kept.lists:
            self._daemon.live_models = kept
            self._daemon.renew()

    async def run(self) -> None:
        """Keep a task for each provider that has a key; ends only by being cancelled."""
        await self._sleep(FIRST_S)
        for name in self._specs():
            self._bench(name)
        while True:
            self._changed.clear()
            for name in self._specs():
                self._daemon.supervisor.keep(f"models.{name}", partial(self.follow, name))
            await self._changed.wait()

    async def follow(self, name: str) -> None:
        """One provider's turns, while it has a key."""
        await self._sleep(self._engine.rng.random() * SPREAD_S)
        while name in self._specs():
            await self._sleep(await self.step(name))

    async def step(self, name: str) -> float:
        """One turn: its list, if that is due, else one question, if there is one. Returns the seconds to the next."""
        engine, course = self._engine, self._course(name)
        now = engine.clock.now()
        await self._ask_room(name, course, now)
        if self._is_due(name, course, now):
            await self._read(name)
        else:
            question = engine.prober.next_question(engine.snapshot.roster.by_provider.get(name, ()))
            if question is not None:
                verdict = await ask(engine, question)
                engine.prober.answered(question, verdict.known)
                self._log.info(
                    "probe.done",
                    target=str(question.facts.target),
                    capability=str(question.probe.capability),
                    found=verdict.known.value if verdict.known is not None else "nothing",
                    said=verdict.said,
                )
        return POLL_S

    def _is_due(self, name: str, course: _Course, now: float) -> bool:
        moved = name not in self.listed() and not course.trouble and not course.odd  # another address, or never read
        if now >= course.due_at or moved:
            return True
        return name in self._engine.prober.unknown_models and now - course.read_at >= SOON_S

    def _course(self, name: str) -> _Course:
        course = self._courses.get(name)
        if course is None:
            course = self._courses[name] = _Course()
            kept = self._daemon.live_models.lists.get(name)
            if kept is not None and kept.base_url == self._address(self._specs()[name]):
                course.read_at = kept.read_at
                course.due_at = kept.read_at + self._interval()
        return course

    def _interval(self) -> float:
        """Six hours, give or take, so that many routers do not ask at once."""
        return EVERY_S * (0.9 + 0.2 * self._engine.rng.random())

    async def _ask_room(self, name: str, course: _Course, now: float) -> None:
        """A long wait that the provider named: ask every ten minutes whether it is over, where that costs nothing."""
        spec, state = self._specs().get(name), self._engine.state
        if spec is None or now - course.room_at < ROOM_S or not (spec.quota_url or self._usage_url(spec)):
            return
        loaded = self._daemon.loaded
        for credential in (one for one in loaded.credentials if one.provider == name):
            if not (state.told_to_wait(credential.id, now) or self._is_full(spec, credential, now)):
                continue
            course.room_at = now
            try:
                if spec.quota_url:
                    headers = key_headers(spec, loaded.vault.reveal(credential))
                    room = await has_room(self._engine.transport, self._address(spec) + spec.quota_url, headers)
                else:
                    room = await self._read_usage(spec, credential)
            except (KeyError, UpstreamError):
                continue  # it is asked again, and a real request an hour asks too
            if room:
                state.has_room_again(credential.id, self._engine.clock.now())
                self._engine.waiters.wake()
                self._log.info("quota.again", provider=name, credential=credential.tail)

    def _is_full(self, spec: ProviderSpec, credential: Credential, now: float) -> bool:
        """Whether a window of the plan is full, as far as that was told: it may have been emptied ahead of its time."""
        return bool(self._usage_url(spec)) and any(
            window.unit == Unit.PERCENT and window.remaining == 0
            for scope, window in self._engine.state.windows(now)
            if scope.account == credential.account and scope.provider == spec.name
        )

    def _usage_url(self, spec: ProviderSpec) -> str:
        """Where the account's windows are reported; at another address the row's own report is nobody's."""
        said = self._daemon.loaded.settings.provider(spec.name)
        return said.usage_url or ("" if said.base_url else spec.usage_url)

    async def _read_usage(self, spec: ProviderSpec, credential: Credential) -> bool:
        """Tell the ledger how full an account's windows are; whether it lets requests in.

        Raises KeyError where it has no target or token, UpstreamError where nothing is reported.
        """
        url = self._usage_url(spec)
        facts = self._facts_of(credential)
        if not url or credential.route:
            raise KeyError(credential.id)  # another way has no report
        engine = self._engine
        headers = engine.authorizer.headers(facts, caller_agent="")
        report = await read_usage(engine.transport, url, headers, engine.clock.now())
        engine.state.seen(facts.target, report.windows, engine.clock.now())
        return not report.reached

    async def _read_usages(self, spec: ProviderSpec) -> None:
        """The windows of every account that answers, so that they are shown before the first request."""
        for credential in self._daemon.loaded.credentials:
            if credential.provider == spec.name and self._usage_url(spec):
                with suppress(KeyError, UpstreamError):
                    await self._read_usage(spec, credential)

    # --- what is asked for ---------------------------------------------------------------------------

    def _specs(self) -> dict[str, ProviderSpec]:
        """The providers that take part and have a list: one with a key, on, spoken, and no local server."""
        loaded = self._daemon.loaded
        having = {credential.provider for credential in loaded.credentials}
        return {
            str(name): spec
            for name, spec in loaded.catalog.items()
            if name in having and not spec.keyless and self._takes_part(spec)
        }

    def _takes_part(self, spec: ProviderSpec) -> bool:
        said = self._daemon.loaded.settings.provider(spec.name)
        lives = spec.retired is None or bool(said.base_url)
        return said.enabled and lives and is_on(spec, said) and spoken_dialect(spec) in SPOKEN

    def _address(self, spec: ProviderSpec) -> str:
        return base_url(spec, self._daemon.loaded.settings.provider(spec.name), spoken_dialect(spec))

    def _wanted(self, spec: ProviderSpec) -> list[str]:
        """The models that the lists are looked through for: the pool's, and the row's own where others stand in."""
        pool = [str(facts.model.id) for facts in self._engine.snapshot.roster.by_provider.get(spec.name, ())]
        said = self._daemon.loaded.settings.provider(spec.name)
        return list(dict.fromkeys([*(picked(spec) if said.models is None else ()), *pool]))

    # --- lists ---------------------------------------------------------------------------------------

    async def refresh(self, provider: str | None = None) -> list[str]:
        """Read the lists now (`hr models --refresh`); a sentence for each that could not be read."""
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(name: str) -> str:
            async with turn:
                return await self._read(name)

        chosen = [name for name in self._specs() if provider in {None, name}]
        return [said for said in await asyncio.gather(*map(one, chosen)) if said]

    async def _read(self, name: str) -> str:
        """Read a provider's list and take it up; what went wrong, in a sentence."""
        course = self._course(name)
        async with course.reading:
            spec = self._specs().get(name)
            if spec is None:
                return ""
            found = await self._list(spec)
            course.read_at = now = self._engine.clock.now()
            self._engine.prober.unknown_models.discard(name)
            if isinstance(found, str):
                course.due_at = now + course.pause_s
                course.pause_s = min(EVERY_S, course.pause_s * 2)
                if not course.trouble:  # said once, and once more when it can be read again
                    self._log.info("models.unread", provider=name, said=found)
                course.trouble = found
                return f"{name}: {found}"
            if course.trouble:
                self._log.info("models.read_again", provider=name)
            course.trouble, course.pause_s, course.due_at = "", FAILED_S, now + self._interval()
            await self._take(spec, course, found)
            await self._read_usages(spec)
            return ""

    async def _list(self, spec: ProviderSpec) -> LiveList | str:
        """The list of one account, and of others too while a model of ours is in none; or why there is none."""
        loaded, address = self._daemon.loaded, self._address(spec)
        by_account: dict[str, Credential] = {}
        for credential in loaded.credentials:
            if credential.provider == spec.name:
                by_account.setdefault(credential.account, credential)
        wanted = self._wanted(spec)
        whole: LiveList | None = None
        said = "it has no key"
        for credential in list(by_account.values())[:_ACCOUNTS]:
            try:
                now = self._engine.clock.now()
                one = await self.list_of(spec, credential)
            except KeyError:
                said = "its secret cannot be read now"
                continue
            except UpstreamError as error:
                said = error.excerpt[:200] or type(error).__name__
                continue
            whole = LiveList((*(() if whole is None else whole.models), *one.models), now, address)
            if all(whole.find(model, id_routes=spec.id_routes) is not None for model in wanted):
                break
        return said if whole is None else whole

    async def list_of(self, spec: ProviderSpec, credential: Credential) -> LiveList:
        """What one credential is shown, asked now. Raises KeyError where its secret is gone, and UpstreamError."""
        own = bool(self._daemon.loaded.settings.provider(spec.name).base_url)
        asked, headers = self._address(spec), self._headers(spec, credential, own_address=own)
        if credential.route:
            asked = self._facts_of(credential).base_url
        now = self._engine.clock.now()
        return await read_list(self._engine.transport, spec, asked, headers, own_address=own, now=now)

    def _headers(self, spec: ProviderSpec, credential: Credential, *, own_address: bool) -> Mapping[str, str]:
        """The headers that the list is asked with. An account's are those of its requests, and may change meanwhile.

        Raises KeyError where the secret is gone.
        """
        if spec.auth == "oauth":
            return self._engine.authorizer.headers(self._facts_of(credential), caller_agent="")
        return list_headers(spec, self._daemon.loaded.vault.reveal(credential), own_address=own_address)

    def _facts_of(self, credential: Credential) -> TargetFacts:
        """Any target of an account. Raises KeyError where it has none now."""
        pool = self._engine.snapshot.roster.by_provider.get(credential.provider, ())
        found = next((facts for facts in pool if facts.credential.id == credential.id), None)
        if found is None:
            raise KeyError(credential.id)
        return found

    async def _take(self, spec: ProviderSpec, course: _Course, found: LiveList) -> None:
        engine, name, live = self._engine, str(spec.name), self._daemon.live_models
        prober, wanted = engine.prober, self._wanted(spec)
        news = live.take(
            spec,
            wanted,
            found,
            answered_at=lambda model: prober.answered_at.get((name, model), 0.0),
            refused_at=lambda model: prober.refused_at.get((name, model), 0.0),
        )
        if news.odd and not course.odd:
            self._log.info("models.odd", provider=name, models=len(found), said="it is not believed")
        course.odd = news.odd
        if news.odd:
            return
        before = self._pool(name)
        if news.fresh or news.vanished or news.returned:
            self._daemon.renew()
        self._bench(name)
        self._tell(spec, news, before)
        engine.state.forget_stale(engine.clock.now())
        await self._keep()

    def _pool(self, name: str) -> tuple[str, ...]:
        roster = self._engine.snapshot.roster
        return tuple(dict.fromkeys(str(facts.model.id) for facts in roster.by_provider.get(name, ())))

    def _bench(self, name: str) -> None:
        """Models that have vanished rest, with one look an hour; one that the owner named himself is asked on."""
        engine, now = self._engine, self._engine.clock.now()
        if self._daemon.loaded.settings.provider(name).models is not None:
            return
        gone = set(self._daemon.live_models.gone_from(name))
        for facts in engine.snapshot.roster.by_provider.get(name, ()):
            if facts.model.id in gone:
                gone.discard(facts.model.id)
                engine.state.failed(facts.target, ModelGone("no longer in the provider's list"), now)

    def _tell(self, spec: ProviderSpec, news: News, before: Sequence[str]) -> None:
        """Say what a list changed: each thing once."""
        engine, name, pool = self._engine, str(spec.name), self._pool(spec.name)
        own = self._daemon.loaded.settings.provider(name).models is not None
        for model in news.returned:
            engine.state.listed_again(name, model, engine.clock.now())
            self._log.info("model.returned", provider=name, model=model)
        for model in () if own else news.vanished:
            self._log.warning("model.vanished", provider=name, model=model, instead=self._instead(name))
        if set(pool) - set(before) and not own and not news.returned:
            taken = [model for model in pool if model not in before]
            gone = " ".join(model for model in before if model not in pool) or "none"
            self._log.warning("model.replaced", provider=name, gone=gone, by=" ".join(taken[:_NAMED]))
        if own:
            missing = self._daemon.live_models.missing_from(name)
            for model in missing:
                if (name, model) not in self._unlisted:
                    self._log.warning("model.unlisted", provider=name, model=model, next="it is asked all the same")
            self._unlisted -= {(name, model) for model in pool if model not in missing}
            self._unlisted |= {(name, model) for model in missing}

    def _instead(self, name: str) -> str:
        """What serves instead of a vanished model."""
        gone = self._daemon.live_models.gone_from(name)
        return next((f"{name}/{model}" for model in self._pool(name) if model not in gone), "other providers")

    async def _keep(self) -> None:
        if self._path is None:
            return
        data = to_bytes(self._daemon.live_models)
        try:
            await asyncio.to_thread(write_models_file, self._path, data)
        except OSError as error:
            if not self._unkept:
                self._log.warning("models.not_kept", path=str(self._path), said=error.strerror)
            self._unkept = True
        else:
            self._unkept = False

    # --- what is shown -------------------------------------------------------------------------------

    def listed(self) -> dict[str, LiveList]:
        """The lists as they were read last, of the providers that take part."""
        view = self._daemon.live_models.view()
        found = {name: view.of(name, self._address(spec)) for name, spec in self._specs().items()}
        return {name: one for name, one in found.items() if one is not None}

    def problems(self) -> list[str]:
        """A sentence for each provider of which a model has vanished."""
        return [said for spec in self._specs().values() if (said := self._problem(spec))]

    def _problem(self, spec: ProviderSpec) -> str:
        live, name, pool = self._daemon.live_models, str(spec.name), self._pool(spec.name)
        if self._daemon.loaded.settings.provider(name).models is not None:
            missing = [model for model in pool if model in live.missing_from(name)]
            if not missing:
                return ""
            said = f"{name.upper()}_MODEL names {_listing(missing)}, which {spec.title} does not list"
            return f"{said}; it is asked all the same"
        own = picked(spec)
        gone = [model for model in own if model in live.gone_from(name)]
        if not gone:
            return ""
        if len(gone) < len(own):
            return f"{spec.title} no longer lists {_listing(gone)}; {self._instead(name)} serves instead"
        choose = f"`hr models --refresh --provider {name}` shows what there is, `hr model set {name} …` chooses"
        if set(pool) & set(own):
            none = "none of its other models is known to be free, with tools and 64,000 tokens"
            return f"{spec.title} lists no model of its row any more, and {none}; {choose}"
        return f"{spec.title} lists no model of its row any more; taken up instead: {_listing(pool)}; {choose}"


def _listing(models: Sequence[str]) -> str:
    shown = ", ".join(models[:_NAMED])
    return f"{shown} and {len(models) - _NAMED} more" if len(models) > _NAMED else shown
