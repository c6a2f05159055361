"""A router's public port, opened on a socket of the kernel's choice and shut again, whoever built its daemon."""

import aiohttp
from aiohttp import web

from hermes_router.daemon.wiring import Daemon
from hermes_router.server.app import listen

KEY = "sk-test-key-1"


class Opened:
    """`url` is where `daemon` answers, `http` a session with a key that it knows."""

    daemon: Daemon

    async def open(self) -> None:
        await self.daemon.runner.setup()
        self.sockets = listen(None, 0)
        self.url = f"http://127.0.0.1:{self.sockets[0].getsockname()[1]}"
        for sock in self.sockets:
            await web.SockSite(self.daemon.runner, sock).start()
        self.http = aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"})

    async def shut(self) -> None:
        await self.http.close()
        await self.daemon.runner.shutdown_within(1.0)
        await self.daemon.supervisor.stop()
        if self.daemon.accounts is not None:
            await self.daemon.accounts.close()
        await self.daemon.transport.close()
