"""`python -m hermes_router.daemon`: the process that a service manager runs.

Owns start, signals and the drained stop. It must never decide anything about requests.
"""

import argparse
import asyncio
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import uvloop
from aiohttp import web

from hermes_router import __version__
from hermes_router.control.places import Places, make_directories, user_places
from hermes_router.core.errors import ConfigError
from hermes_router.core.settings import Settings
from hermes_router.daemon import allocator
from hermes_router.daemon.config import Loaded, load
from hermes_router.daemon.logging import Redactor, adopt_standard_logging, lost_line, set_up
from hermes_router.daemon.outlet import Outlet
from hermes_router.daemon.scrub import secrets_of
from hermes_router.daemon.wiring import Daemon, build, check_binding
from hermes_router.server.app import listen

_GC_THRESHOLD = 2_000  # new objects between two looks; a request makes a few hundred


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hr serve", description="Run the router in the foreground.")
    parser.add_argument("--env-file", type=Path, help="the .env to read instead of the one in the config directory")
    options = parser.parse_args(argv)
    _fill_descriptors()
    os.umask(0o077)
    allocator.settle()
    places = user_places(os.environ, env_file=options.env_file)
    problems = _make_places(places)
    loaded = load(places, os.environ, cwd=_cwd())
    out, unopened = _outlet(loaded.settings)
    log = set_up(loaded.settings.log_level, Redactor(secrets_of(loaded)), out=out, environ=os.environ)
    _adopt(log)
    for problem in (*problems, *loaded.problems, *unopened):
        if not problem.fatal:
            log.warning("config.skipped", where=problem.where, problem=problem.message)
    if loaded.fatal:
        return _refuse(loaded.fatal, log, out)
    try:
        check_binding(loaded.settings)
        sockets = _listen(loaded.settings)
    except ConfigError as error:
        return _refuse([error], log, out)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(loaded, sockets, log))


# --- before the loop ---------------------------------------------------------------------------------


def _fill_descriptors() -> None:
    """Whoever starts us with 0, 1 or 2 closed would find a socket of ours there, and log lines in it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one


def _cwd() -> Path | None:
    try:
        return Path.cwd()
    except OSError:
        return None  # it was removed under us


def _make_places(places: Places) -> list[ConfigError]:
    try:
        make_directories(places)
    except OSError as error:
        return [ConfigError(f"cannot be made: {error.strerror}", where=str(error.filename))]
    return []


def _outlet(settings: Settings) -> tuple[Outlet, list[ConfigError]]:
    """The file that LOG_FILE names, else standard error."""
    problems: list[ConfigError] = []
    number = 2
    if settings.log_file is not None:
        try:
            number = os.open(settings.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            said = f"LOG_FILE={settings.log_file} cannot be opened ({error.strerror}); the log goes to standard error"
            problems.append(ConfigError(said, where=settings.sources.get("LOG_FILE", "")))
    out = Outlet(number)
    out.lost_line = lost_line(out, os.environ).format
    return out, problems


def _adopt(log: Any) -> None:
    adopt_standard_logging(log)

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("daemon.crashed", exc_info=(kind, error, trace))

    sys.excepthook = crashed  # the interpreter's own would print a traceback of many lines, secrets and all


def _listen(settings: Settings) -> list[socket.socket]:
    """Bound sockets. Raises ConfigError that says what to do."""
    try:
        return listen(settings.host, settings.port)
    except socket.gaierror as error:
        said = f"HOST={settings.host} cannot be resolved: {error.strerror}"
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                said = f"port {settings.port} is taken: stop what holds it, or set PORT to another number"
            case errno.EACCES:
                said = f"port {settings.port} needs rights that this user does not have: set PORT above 1023"
            case errno.EADDRNOTAVAIL:
                said = f"HOST={settings.host} is no address of this machine"
            case _:
                said = f"cannot listen on port {settings.port}: {error.strerror}"
    raise ConfigError(said, fatal=True)


def _refuse(errors: Sequence[ConfigError], log: Any, out: Outlet) -> int:
    """A sentence each for the person at the terminal; where the log is a file, it has them, too."""
    terminal = Outlet(2)
    for error in errors:
        if out.fileno() != terminal.fileno():
            log.error("daemon.refused", problem=str(error))
        terminal.write(f"hr: {error}\n")
    return 1


# --- in the loop -------------------------------------------------------------------------------------


async def _serve(loaded: Loaded, sockets: Sequence[socket.socket], log: Any) -> int:
    loop = asyncio.get_running_loop()
    daemon = build(loaded, loop, log)
    stop: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, number)
    await daemon.runner.setup()
    for sock in sockets:
        await web.SockSite(daemon.runner, sock).start()
    _announce(daemon, log, [sock.getsockname() for sock in sockets])
    daemon.supervisor.keep("warm", daemon.warm)
    if daemon.has_local:
        daemon.supervisor.keep("local", daemon.look_for_local)
    gc.collect()
    gc.freeze()  # what lives for ever is not looked at again: it is most of what there is
    gc.set_threshold(_GC_THRESHOLD)
    await stop
    drain_s = loaded.settings.drain_s
    log.info("daemon.stopping", drain_s=drain_s)
    await daemon.runner.shutdown_within(drain_s)
    await daemon.supervisor.stop()
    await daemon.transport.close()
    log.info("daemon.stopped")
    return 0


def _stop(stop: "asyncio.Future[int]", number: int) -> None:
    if stop.done():
        os._exit(128 + number)  # the second signal: at once
    stop.set_result(number)


def _announce(daemon: Daemon, log: Any, addresses: Sequence[Sequence[Any]]) -> None:
    roster = daemon.engine.snapshot.roster
    serving = {f.provider.name for f in roster.facts if f.disabled is None}
    log.info(
        "daemon.ready",
        version=__version__,
        port=addresses[0][1],
        hosts=" ".join(str(address[0]) for address in addresses),
        targets=len(roster),
        providers=" ".join(sorted(serving)) or "none",
    )
    if not serving:
        log.warning("pool.empty", next="set a key such as GROQ_API_KEY in the environment or in .env, then start again")
    for facts in {f.provider.name: f for f in roster.facts if f.disabled}.values():
        log.warning("provider.disabled", provider=facts.provider.name, reason=facts.disabled)


if __name__ == "__main__":
    sys.exit(main())
