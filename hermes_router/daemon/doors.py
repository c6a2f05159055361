"""Listening sockets that can be opened, shut and opened again, and given to a successor.

Owns the sockets themselves; the loop only ever gets a duplicate, so that shutting a door closes nothing: callers then
wait in the kernel's queue until somebody opens it again, here or in another process. It must never know who serves.
"""

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hermes_router.core.errors import ConfigError
from hermes_router.core.settings import Settings
from hermes_router.server.app import listen

__all__ = ["Door", "public_sockets", "unused_sentence"]

_BACKLOG: Final = 1024
# From 3.13 on a server takes its socket's file away when it closes: ours is shut, not gone.
_KEEP_FILE: Final[Mapping[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


class Door:
    """Some listening sockets behind which one server serves."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = list(sockets)
        self._servers: list[asyncio.AbstractServer] = []

    async def open(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Accept; `factory` makes a connection's protocol. A door that is open stays so."""
        if self._servers:
            return
        loop = asyncio.get_running_loop()
        for sock in self.sockets:
            twin = sock.dup()
            if sock.family == socket.AF_UNIX:
                server: asyncio.AbstractServer = await loop.create_unix_server(
                    factory, sock=twin, backlog=_BACKLOG, **_KEEP_FILE
                )
            else:
                server = await loop.create_server(factory, sock=twin, backlog=_BACKLOG)
            self._servers.append(server)

    def shut(self) -> None:
        """Accept no more: who comes now waits. Idempotent."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def discard(self) -> None:
        """Give the sockets up for good; who waits there is refused unless another process holds them, too."""
        self.shut()
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()


def public_sockets(
    settings: Settings, inherited: Sequence[socket.socket] = (), managers: Sequence[socket.socket] = ()
) -> list[socket.socket]:
    """Where HOST and PORT say, bound; of what a predecessor handed over, what fits is kept. Raises ConfigError.

    `managers` are the service manager's, which are used where they fit, and never closed: it holds them all the same,
    and whoever connected would wait there for nobody.
    """
    for offered in (inherited, managers):
        if offered and _fits(settings, offered):
            sockets = list(offered)
            break
    else:
        try:
            sockets = _listen(settings)
        except ConfigError as error:
            unused = unused_sentence(settings, managers) if managers else str(error)
            raise ConfigError(unused, fatal=True) from None
    for sock in inherited:
        if sock not in sockets and sock not in managers:
            sock.close()
    return sockets


def unused_sentence(settings: Settings, managers: Sequence[socket.socket]) -> str:
    """That the service manager listens elsewhere than HOST and PORT say, and what to do."""
    held = " and ".join(_shown(*sock.getsockname()[:2]) for sock in managers)
    wanted = f"PORT={settings.port}" + (f", HOST={settings.host}" if settings.host else ", HOST unset")
    return (
        f"the .socket unit holds {held}, which does not fit {wanted}: "
        "set its ListenStream= lines to what HOST and PORT say, or these to what it holds"
    )


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _fits(settings: Settings, inherited: Sequence[socket.socket]) -> bool:
    """Whether these are the sockets that `listen` would make."""
    hosts = {sock.getsockname()[0] for sock in inherited}
    ports = {sock.getsockname()[1] for sock in inherited}
    if settings.port and ports != {settings.port}:
        return False
    if settings.host is None:
        return hosts <= {"127.0.0.1", "::1"} and "127.0.0.1" in hosts
    return hosts == {settings.host} or (settings.host == "localhost" and hosts <= {"127.0.0.1", "::1"})


def _listen(settings: Settings) -> list[socket.socket]:
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
