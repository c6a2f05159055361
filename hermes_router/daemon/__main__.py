"""`python -m hermes_router.daemon`: the process that a service manager runs.

Owns start, signals and the drained stop. It must never decide anything about requests.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from hermes_router import __version__
from hermes_router.control.places import make_directories, user_places
from hermes_router.core.errors import ConfigError
from hermes_router.daemon.config import Loaded, load
from hermes_router.daemon.logging import Redactor, set_up
from hermes_router.daemon.wiring import Daemon, build
from hermes_router.server.app import listen


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hr serve", description="Run the router in the foreground.")
    parser.add_argument("--env-file", type=Path, help="the .env to read instead of the one in the config directory")
    options = parser.parse_args(argv)
    os.umask(0o077)
    places = user_places(os.environ, env_file=options.env_file)
    try:
        make_directories(places)
    except OSError as error:
        print(f"hr: cannot make {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201 - no log yet
    loaded = load(places, os.environ, cwd=Path.cwd())
    stream = _log_stream(loaded)
    redactor = Redactor([*loaded.vault.secrets(), *loaded.settings.proxy_api_keys])
    log = set_up(loaded.settings.log_level, redactor, stream=stream, environ=os.environ)
    for problem in loaded.problems:
        log.warning("config.skipped", where=problem.where, problem=problem.message)
    if loaded.fatal:
        for problem in loaded.fatal:
            print(f"hr: {problem}", file=sys.stderr)  # noqa: T201 - the person at the terminal
        return 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(loaded, log))


def _log_stream(loaded: Loaded) -> Any:
    if loaded.settings.log_file is None:
        return None
    return Path(loaded.settings.log_file).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - as long as we live


async def _serve(loaded: Loaded, log: Any) -> int:
    loop = asyncio.get_running_loop()
    settings = loaded.settings
    try:
        daemon = build(loaded, loop, log)
        sockets = listen(settings.host, settings.port)
    except ConfigError as error:
        log.error("daemon.refused", problem=error.message, where=error.where)
        return 1
    except OSError as error:
        log.error("daemon.refused", problem=f"port {settings.port}: {error.strerror}", next="set PORT, or stop what holds it")
        return 1
    stop: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, number)
    await daemon.runner.setup()
    for sock in sockets:
        await web.SockSite(daemon.runner, sock).start()
    _announce(daemon, log, [str(sock.getsockname()[0]) for sock in sockets])
    if daemon.has_local:
        daemon.supervisor.keep("local", daemon.look_for_local)
    await stop
    log.info("daemon.stopping", drain_s=settings.drain_s)
    await daemon.runner.shutdown_within(settings.drain_s)
    await daemon.supervisor.stop()
    await daemon.transport.close()
    log.info("daemon.stopped")
    return 0


def _stop(stop: "asyncio.Future[int]", number: int) -> None:
    if stop.done():
        os._exit(128 + number)  # the second signal: at once
    stop.set_result(number)


def _announce(daemon: Daemon, log: Any, hosts: Sequence[str]) -> None:
    settings = daemon.loaded.settings
    roster = daemon.engine.snapshot.roster
    serving = {f.provider.name for f in roster.facts if f.disabled is None}
    log.info(
        "daemon.ready",
        version=__version__,
        port=settings.port,
        hosts=" ".join(hosts),
        targets=len(roster),
        providers=" ".join(sorted(serving)) or "none",
    )
    if not serving:
        log.warning("pool.empty", next="set a key such as GROQ_API_KEY in the environment or in .env, then start again")
    for facts in {f.provider.name: f for f in roster.facts if f.disabled}.values():
        log.warning("provider.disabled", provider=facts.provider.name, reason=facts.disabled)


if __name__ == "__main__":
    sys.exit(main())
