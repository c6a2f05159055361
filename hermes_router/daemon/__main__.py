"""`python -m hermes_router.daemon`: the process that a service manager, `hr serve` and `hr start` run.

Owns the way from the flags to the loop, and the exit code. It must never decide anything about requests.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

if __name__ == "__main__":
    from hermes_router.daemon.haste import calm, hurry

    calm()
    hurry()

import uvloop

from hermes_router import __version__
from hermes_router.control.api import make_control_app
from hermes_router.daemon import deferred
from hermes_router.daemon.alerting import Alerting
from hermes_router.daemon.furnish import Reading, furnish
from hermes_router.daemon.handover.heir import inherit
from hermes_router.daemon.life import Life
from hermes_router.daemon.managed import take
from hermes_router.daemon.notify import Notifier
from hermes_router.daemon.probing import Probing
from hermes_router.daemon.sources import SystemClock
from hermes_router.daemon.start import Prepared, Refused, Teller, parse, prepare, settle_process
from hermes_router.daemon.wiring import build
from hermes_router.store.responses import ResponseStore
from hermes_router.store.tokens import TokenFile
from hermes_router.store.usage import UsageStore

GATHER_S: Final = 0.05  # how long a line may wait on its way into a file


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; returns the exit code."""
    options = parse(argv)
    settle_process(options)
    inherited = None
    if options.handover is not None:
        inherited = inherit(options.handover)
        if inherited is None:
            return 1  # the predecessor is gone, and nothing of it is left to serve with
    on_its_own = options.detached or options.control_only
    managed = take(os.environ, heir=inherited is not None, on_its_own=on_its_own)
    teller = Teller(options, inherited, Notifier(managed.address))
    try:
        prepared = prepare(options, os.environ, teller, inherited, managed)
    except Refused as refused:
        teller.refused(refused)
        return refused.code
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(prepared))


async def _live(prepared: Prepared) -> int:
    loop = asyncio.get_running_loop()
    prepared.out.gather(partial(loop.call_later, GATHER_S))
    try:
        return await _serve(prepared, loop)
    finally:
        prepared.out.flush()


async def _serve(prepared: Prepared, loop: asyncio.AbstractEventLoop) -> int:
    clock = SystemClock()
    keeping, log = prepared.keeping, prepared.log
    usage = responses = None
    if prepared.claim is not None:
        responses = ResponseStore(prepared.places.responses_file, log=log, now=clock.now)
        usage = UsageStore(prepared.places.database, log=log, now=clock.now)
    tokens = TokenFile(prepared.places.codex_accounts, now=time.time)
    daemon = build(
        prepared.loaded,
        loop,
        log,
        clock=clock,
        usage=usage,
        router_keys=keeping.router_keys,
        tokens=tokens,
        responses=responses,
        opens=prepared.run != "control-only",
    )
    daemon.on_swap.append(keeping.follow)
    daemon.on_tokens.append(keeping.follow)
    probing = Probing(daemon, prepared.places.models_file if prepared.claim is not None else None)
    probing.restore()
    daemon.beside["models"] = probing.run
    daemon.beside["imports"] = deferred.bring_in
    alerting = Alerting(daemon, prepared.environ)
    life = Life(prepared, daemon)
    if usage is not None:
        ring = keeping.open_ring(clock.now, loop)
        backend = furnish(
            daemon,
            life,
            ring=ring,
            store=keeping.store,
            router_keys=keeping.router_keys,
            usage=usage,
            places=prepared.places,
            environ=prepared.environ,
            cwd=prepared.cwd,
            probing=probing,
            alerting=alerting,
            clean=keeping.clean,
        )
        reading = Reading(backend.generations)
        daemon.beside["secrets"] = reading.keep_on
        daemon.before_ready.append(reading.first)
        if prepared.run == "control-only":
            await reading.once()
        life.reload = backend.reload
        backend.configuration.reloading = life.herald.reloading
        life.changes = backend.generations.lock
        life.serve_control(
            make_control_app(backend, version=__version__, uid=os.geteuid(), log=log, readers_gid=prepared.readers_gid)
        )
    return await life.run()


if __name__ == "__main__":
    sys.exit(main())
