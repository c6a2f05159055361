"""The life of a daemon in its loop: it begins, serves, and ends by a stop or by a handover.

Owns signals, the order in which things are opened and closed, and how long what is under way may take. It must never
decide anything about requests.
"""

import asyncio
import gc
import os
import signal
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from hermes_router import __version__
from hermes_router.control import types as t
from hermes_router.control.listener import bind_control
from hermes_router.core.errors import ControlError
from hermes_router.core.records import ExchangeRecord
from hermes_router.daemon import allocator
from hermes_router.daemon.doors import Door
from hermes_router.daemon.doors_control import ControlDoor
from hermes_router.daemon.generations import Changes, moved
from hermes_router.daemon.handover.estate import Household, load_state
from hermes_router.daemon.handover.heir import Forebear
from hermes_router.daemon.handover.link import Link, Message
from hermes_router.daemon.handover.predecessor import Given, HandedOver, Successor, hand_over, start_successor
from hermes_router.daemon.herald import Herald
from hermes_router.daemon.notify import Notifier
from hermes_router.daemon.sources import RandomIds
from hermes_router.daemon.start import Prepared, has_terminal
from hermes_router.daemon.status_line import Standing, describe, local_time
from hermes_router.daemon.wiring import Daemon
from hermes_router.engine.tasks import Supervisor
from hermes_router.upstream.proxy import is_loopback

__all__ = ["DRAIN_HANDOVER_S", "Life"]

DRAIN_HANDOVER_S: Final = 900.0
IDLE_S: Final = 20.0  # an idle connection of a daemon that has handed over
_LOOK_S: Final = 0.1
_READY_S: Final = 20.0  # a successor reads the keyring, looks at local servers and opens first connections
_CONTROL_S: Final = 2.0
_ASKED_S: Final = 60.0  # for what was asked there, where nothing is gained by cutting it
_WRITE_S: Final = 5.0
_SAME_SIGNAL_S: Final = 0.2
_SILENT_S: Final = 60.0  # for the head of a connection's first request
_SHED_S: Final = 10.0
_MIND_S: Final = 2.0  # one look at a directory
_LAST_WORDS_S: Final = 1.0  # for what the predecessor has to tell of what it had to cut
_GC_THRESHOLD: Final = 10_000  # new objects between two looks: most wait a second for the disk, and are no garbage
_NO_RESTART: Final = {
    "foreground": "end it with Ctrl-C there, and run `hr serve` again",
    "launchd": "run `launchctl kickstart -k` on its service",
    "control-only": "run `hr start`",
}


class Life:
    """A daemon from its first to its last step. `run` returns the exit code."""

    def __init__(self, prepared: Prepared, daemon: Daemon) -> None:
        self._prepared = prepared
        self._daemon = daemon
        self._log = prepared.log
        self._public = Door(prepared.public)
        self._control: ControlDoor | None = None
        self._own = Supervisor(prepared.log)  # lives through a handover, as the daemon's own tasks do not
        self.herald = Herald(
            Notifier(prepared.managed.address),
            watchdog_s=prepared.managed.watchdog_s,
            describe=self._describe,
            clean=prepared.keeping.clean,
        )
        self._household: Household | None = None
        self._forebear: Forebear | None = None
        self._handing: asyncio.Task[HandedOver] | None = None
        self._successor: Successor | None = None
        self._handed: HandedOver | None = None
        self._idle_s = IDLE_S
        self._over = asyncio.Event()
        self._drain_s = 0.0
        self._deadline = float("inf")
        self._signals = 0
        self._signalled_at = float("-inf")
        self._started_at = daemon.engine.clock.now()
        self._instance = RandomIds().new("run_")
        self._port = prepared.public[0].getsockname()[1] if prepared.public else 0
        self.reload: Callable[[], Awaitable[object]] | None = None
        self.changes = Changes()  # held by whoever changes a file: not while a successor reads them

    # --- what the control socket asks -----------------------------------------------------------------

    def serve_control(self, app: web.Application) -> None:
        """Say what is behind the control socket, before `run`."""
        if self._prepared.control is not None:
            self._control = ControlDoor(self._prepared.control, app)

    def ping(self) -> t.Ping:
        """Who this is."""
        prepared = self._prepared
        return t.Ping(
            version=__version__,
            pid=os.getpid(),
            instance=self._instance,
            run=prepared.run,
            started_at=self._started_at,
            port=self._port,
            url=self._url(),
            log=prepared.log_path,
            unit=prepared.unit[0],
            manager=prepared.unit[1],
        )

    def _url(self) -> str:
        if not self._port:
            return ""
        host = self._daemon.loaded.settings.host
        name = "localhost" if host is None or is_loopback(host) or host in {"0.0.0.0", "::"} else host  # noqa: S104
        return f"http://{f'[{name}]' if ':' in name else name}:{self._port}/v1"

    async def shutdown(self, drain_s: float | None) -> t.Done:
        """End, once what is under way has ended; None = DRAIN_SECONDS. A second one may only make it shorter."""
        if self._handed is not None:
            raise moved()
        limit = self._daemon.loaded.settings.drain_s if drain_s is None else max(0.0, drain_s)
        self._end(limit)
        within = f"within {limit:g} s" if limit else "at once"
        return t.Done(said=[f"stopping: what is under way ends {within}"])

    async def restart(self, drain_s: float | None) -> t.Done:
        """Hand over to a successor; returns when that one serves. Raises ControlError, and nothing has changed."""
        run = self._prepared.run
        if run in _NO_RESTART:
            where = "in a terminal" if run == "foreground" else f"by {run}"
            raise ControlError(
                f"the daemon runs {where}, pid {os.getpid()}", code=run, next_step=_NO_RESTART[run], exit_code=3
            )
        if self._handed is not None:
            raise moved()
        if run == "systemd" and not self.herald.is_heard:
            raise ControlError(
                "the service manager cannot be told of a successor, and would end it",
                code="unmanaged",
                next_step="use `systemctl restart`; with Type=notify in the unit `hr restart` can do it",
                exit_code=3,
            )
        if self._over.is_set():
            raise ControlError("the daemon is stopping", code="stopping", next_step="run `hr start`", exit_code=3)
        if self._handing is not None:
            raise ControlError(
                "a restart is under way", code="restarting", next_step="see `hr status` in a moment", exit_code=3
            )
        loop = asyncio.get_running_loop()
        self._handing = loop.create_task(self._hand_over(drain_s), name="handover")
        handing = self._handing
        try:
            handed = await asyncio.shield(handing)
        except asyncio.CancelledError:
            if not handing.cancelled():
                raise
            raise ControlError(
                "the daemon was told to stop meanwhile", code="stopping", next_step="run `hr start`", exit_code=3
            ) from None
        return t.Done(said=[f"pid {handed.pid}, version {handed.version}, took over in {handed.took_s:.1f} s"])

    # --- the run --------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to stop, or until a successor serves and nothing is left here."""
        self._heed_signals()
        await self._daemon.runner.setup()
        await self._begin(await self._inherited_state())
        _settle_memory()
        self._own.keep("silent callers", self._shed)
        if self._control is not None:
            self._own.keep("control socket", self._mind_control)
        await self._over.wait()
        if self._handing is not None:  # a stop in the middle of it: the successor is ended, if it does not serve yet
            self._handing.cancel()
            await asyncio.wait((self._handing,))
        if self._handed is not None:
            await self._retire(self._handed)
        else:
            await self._stop()
        return 0

    async def _inherited_state(self) -> Message:
        """What the predecessor knew; empty for a first start, and where it died on the way."""
        inheritance = self._prepared.inheritance
        if inheritance is None:
            return {}
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                await self._daemon.make_ready()
        self._forebear = Forebear(await Link.over(inheritance.pair))
        return await self._forebear.state(kept_public=self._public.sockets == inheritance.public)

    async def _begin(self, state: Message) -> None:
        """Open the doors, the callers' first: they may be waiting."""
        daemon, prepared = self._daemon, self._prepared
        if not load_state(daemon, state) and daemon.ledger is not None:
            await daemon.ledger.load()
        daemon.recall()
        if prepared.keeping.ring is not None:
            prepared.keeping.ring.inherit(state.get("events"))
        await daemon.load_bindings()
        if daemon.responses is not None and prepared.run != "control-only":
            daemon.responses.start()  # the first caller may refer to one
        daemon.engine.remembered.has_predecessor = self._forebear is not None
        await self._open_public()
        if prepared.claim is not None:
            prepared.claim.sign()
            if daemon.usage is not None:
                daemon.usage.start()
        if self._control is not None:
            await self._control.serve()
        if prepared.run == "control-only":
            self._watch_parent()
        else:
            daemon.start_tasks()
        if self._forebear is not None:
            self._own.keep("predecessor", self._follow)
            self._forebear.serving()
        await self.herald.ready()
        self._own.keep("watchdog", self.herald.feed)
        self._own.keep("status line", self.herald.follow)
        self._announce()
        problems = [str(problem) for problem in (*prepared.notes, *prepared.loaded.problems)]
        facts = {"pid": os.getpid(), "port": self._port, "url": self._url(), "log": prepared.log_path}
        prepared.teller.ready({**facts, "problems": problems})

    async def _open_public(self) -> None:
        server = self._daemon.runner.server
        assert server is not None
        await self._public.open(server)

    async def _shed(self) -> None:
        """Whoever connects and never comes to ask holds a descriptor for nothing, and needs no key to do so."""
        server = self._daemon.runner.server
        while True:
            await asyncio.sleep(_SHED_S)
            server.shed(_SILENT_S)  # type: ignore[union-attr] # Runner makes a FrontServer

    async def _mind_control(self) -> None:
        """A file that somebody removed is made again: else this daemon could be ended only by its pid."""
        prepared, control, said = self._prepared, self._control, ""
        assert control is not None
        while not self._over.is_set():
            await asyncio.sleep(_MIND_S)
            if self._handing is not None or self._over.is_set() or not control.lost:
                continue
            try:
                places = prepared.places
                sock = bind_control(places.socket, readers_gid=prepared.readers_gid, system=places.system)
            except ControlError as error:
                if error.message != said:
                    self._log.warning("control.lost", problem=error.message, next=error.next_step)
                said = error.message
                continue
            prepared.control = sock
            await control.move(sock)
            self._log.warning("control.made_again", path=str(prepared.places.socket))

    def _describe(self) -> str:
        engine = self._daemon.engine
        now = engine.clock.now()
        facts = engine.snapshot.roster.facts
        return describe((Standing(f.provider.name, *engine.state.stance(f, now)) for f in facts), now, local_time)

    def _announce(self) -> None:
        roster = self._daemon.engine.snapshot.roster
        serving = {f.provider.name for f in roster.facts if f.disabled is None}
        if self._prepared.run == "control-only":
            self._log.debug("daemon.control_only", version=__version__)
            return
        self._log.info(
            "daemon.ready",
            version=__version__,
            pid=os.getpid(),
            port=self._port,
            hosts=" ".join(str(sock.getsockname()[0]) for sock in self._public.sockets),
            targets=len(roster),
            providers=" ".join(sorted(serving)) or "none",
        )
        if not serving:
            self._log.warning("pool.empty", next="add a key: `hr auth add groq`, or GROQ_API_KEY in the environment")
        for facts in {f.provider.name: f for f in roster.facts if f.disabled}.values():
            self._log.warning("provider.disabled", provider=facts.provider.name, reason=facts.disabled)

    # --- signals and other ends -----------------------------------------------------------------------

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hang_up)
        loop.add_signal_handler(signal.SIGUSR2, self._on_restart)

    def _on_stop(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._signalled_at + _SAME_SIGNAL_S:
            return  # a terminal signals the whole group, and a wrapper (`timeout`, `uv run`) passes it on once more
        self._signalled_at, self._signals = now, self._signals + 1
        if self._signals > 1:
            if self._successor is not None and self._handed is None:
                self._successor.process.kill()
            self._prepared.out.flush()
            os._exit(128 + number)  # the second signal: at once
        self._end(self._daemon.loaded.settings.drain_s)

    def _on_hang_up(self) -> None:
        if self._prepared.hangs_up and not has_terminal():
            self._on_stop(signal.SIGHUP)  # the terminal is gone, and nobody is left to press Ctrl-C
        elif self.reload is None:
            self._log.warning(
                "config.not_reloaded", next="restart: without its state directory it reads its files once"
            )
        elif not self._over.is_set():
            self._own.keep("reload", self._reload)

    async def _reload(self) -> None:
        assert self.reload is not None
        try:
            await self.reload()
        except ControlError as error:
            if self._handed is not None and error.code == "moved":
                self._handed.process.send_signal(signal.SIGHUP)
            else:
                self._log.warning("config.refused", problem=error.message, next=error.next_step)

    def _on_restart(self) -> None:
        self._own.keep("restart", self._restart)

    async def _restart(self) -> None:
        try:
            await self.restart(None)
        except ControlError as error:
            self._log.warning("daemon.not_restarted", problem=error.message, next=error.next_step)

    def _watch_parent(self) -> None:
        """A control-only daemon ends with whoever started it: when its standard input, a pipe, closes."""
        loop = asyncio.get_running_loop()
        mode = os.fstat(0).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return

        def readable() -> None:
            try:
                more = os.read(0, 4096)
            except BlockingIOError:
                return
            except OSError:
                more = b""
            if not more:
                loop.remove_reader(0)
                self._end(0.0)

        loop.add_reader(0, readable)

    def _end(self, drain_s: float) -> None:
        """Begin the end, or bring it nearer."""
        deadline = asyncio.get_running_loop().time() + drain_s
        if deadline < self._deadline:
            self._deadline = deadline
            self._drain_s = drain_s
            if self._forebear is not None and self._handed is None:
                self._forebear.stop(drain_s)
        self._over.set()

    # --- handing over ---------------------------------------------------------------------------------

    async def _hand_over(self, drain_s: float | None) -> HandedOver:
        prepared = self._prepared
        self._household = household = Household(
            self._daemon,
            self._public,
            self._control,
            open_doors=self._open_again,
            ring=prepared.keeping.ring,
        )
        self._log.info("daemon.handing_over")

        async def start() -> Successor:
            given = Given(
                prepared.claim.fd if prepared.claim is not None else None,
                prepared.control,
                self._public.sockets,
                prepared.run,
                prepared.keeping.store.export(),
                prepared.managers,
            )
            environ = prepared.managed.environ(prepared.environ)
            self._successor = await start_successor(prepared.options.for_successor(), given, environ=environ)
            return self._successor

        await self.changes.acquire()
        try:
            self._handed = handed = await hand_over(start, household)
        except BaseException as error:
            self.changes.release()
            if isinstance(error, ControlError):
                self._log.warning("daemon.not_handed_over", problem=error.message)
            self._handing = None
            raise
        finally:
            self._successor = None
        self.changes.move()
        try:
            await self.herald.hand_over(handed.pid)
        except asyncio.CancelledError:  # the service manager told us to stop, and meant whoever serves
            handed.process.send_signal(signal.SIGTERM)
            raise
        finally:
            self._handing = None
        settings = self._daemon.loaded.settings
        said = settings.drain_s if settings.sources.get("DRAIN_SECONDS", "default") != "default" else DRAIN_HANDOVER_S
        self._end(said if drain_s is None else max(0.0, drain_s))
        return handed

    async def _open_again(self) -> None:
        await self._open_public()
        if self._control is not None:
            await self._control.serve()

    async def _follow(self) -> None:
        """Keep what the predecessor tells, and pass it on where we have a successor ourselves."""
        assert self._forebear is not None
        await self._forebear.follow(self._keep, self._settle, self._hear)
        engine = self._daemon.engine
        engine.state.alone(engine.clock.now())
        engine.waiters.wake()
        engine.remembered.has_predecessor = False
        self._forebear = None

    def _keep(self, record: ExchangeRecord) -> None:
        self._daemon.recent.put(record)

    def _hear(self, event: Any) -> None:
        if self._prepared.keeping.ring is not None:
            self._prepared.keeping.ring.hear(event)

    def _settle(self, told: Any) -> None:
        engine = self._daemon.engine
        now = engine.clock.now()
        engine.state.adjust(told, now)
        engine.limits.adjust(told, now)  # each takes what is its own
        engine.waiters.wake()
        if self._handed is not None:
            self._handed.link.post("settled", told=told)

    async def _retire(self, handed: HandedOver) -> None:
        """Only what has begun is left: it runs to its end, and what is told of it goes to the successor."""
        assert self._household is not None
        self._log.info("daemon.handed_over", pid=handed.pid, version=handed.version, took_s=round(handed.took_s, 2))
        self._household.outpost.open(handed.link)
        self._public.discard()
        if self._prepared.claim is not None:
            self._prepared.claim.close()
        server = self._daemon.runner.server
        assert server is not None
        server.retiring = True  # type: ignore[attr-defined] # Runner makes a FrontServer
        self._own.keep("successor", lambda: self._heed(handed))
        if self._control is not None:
            await self._control.close(min(max(_CONTROL_S, self._drain_s), _ASKED_S), remove=False)
        await self._drained()
        await self._wind_up()
        self._log.info("daemon.retired")  # the successor tells whoever follows
        handed.link.close()
        await handed.link.closed()

    async def _heed(self, handed: HandedOver) -> None:
        """The successor is told to stop: so are we."""
        while (message := await handed.link.expect("stop")) is not None:
            drain_s = message.get("drain_s")
            if isinstance(drain_s, int | float):
                self._idle_s = 0.0  # no request is on its way to a router that stops
                self._end(max(0.0, drain_s))
                if self._forebear is not None:
                    self._forebear.stop(drain_s)

    # --- the end --------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Nobody new is let in; what is under way has its time."""
        self._log.info("daemon.stopping", drain_s=self._drain_s)
        self.herald.stopping(self._daemon.engine.state.in_flight(), self._drain_s)
        self._public.discard()
        server = self._daemon.runner.server
        assert server is not None
        await asyncio.sleep(0)  # whoever was let in a moment ago begins
        server.pre_shutdown()
        self._idle_s = 0.0
        await self._drained()
        if self._control is not None:
            only = self._prepared.run == "control-only"
            await self._control.close(_ASKED_S if only else _CONTROL_S, remove=True)
        await self._wind_up()
        usage = self._daemon.usage
        if self._daemon.ledger is not None:
            self._daemon.ledger.flush()
        if usage is not None and not await asyncio.to_thread(usage.close, _WRITE_S):
            self._log.warning("usage.lost", records=len(usage.withdraw()), next="make room on the disk")
        if self._prepared.claim is not None:
            self._prepared.claim.close()
        self._log.info("daemon.stopped")

    async def _drained(self) -> None:
        """Until no connection is left and the predecessor has none left, or the deadline is there."""
        server = self._daemon.runner.server
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < self._deadline + _LAST_WORDS_S:
            left = server.sweep(self._idle_s)  # type: ignore[union-attr] # Runner makes a FrontServer
            if self._forebear is None and (not left or now >= self._deadline):
                return
            self.herald.draining(self._daemon.engine.state.in_flight(), inherited=self._forebear is not None)
            if self._handed is not None:
                self._handed.process.poll()  # a successor that has ended is not left as a zombie
            await asyncio.sleep(_LOOK_S if self._idle_s else _LOOK_S / 4)

    async def _wind_up(self) -> None:
        await self._daemon.runner.shutdown_within(0.0)
        await self._daemon.supervisor.stop()
        if self._daemon.accounts is not None:
            await self._daemon.accounts.close()
        await self._own.stop()
        await self._daemon.transport.close()
        if self._daemon.engine.images is not None:
            self._daemon.engine.images.close()
        responses = self._daemon.responses
        if responses is not None and not await asyncio.to_thread(responses.close, _WRITE_S):
            self._log.warning("responses.lost", next="make room on the disk")


def _settle_memory() -> None:
    gc.freeze()  # what lives for ever is not looked at again: it is most of what there is, and next to none is garbage
    gc.set_threshold(_GC_THRESHOLD)
    gc.enable()  # off while the program was imported (haste.py)
    allocator.trim()
