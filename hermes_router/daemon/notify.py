"""The way to the service manager: datagrams to the socket that it named (sd_notify(3)).

Owns that socket. What is said never blocks and never raises: a manager that does not listen is no reason to stop. It
must never know what is said.
"""

import asyncio
import os
import socket
import sys
from contextlib import suppress
from typing import Final

__all__ = ["Notifier"]

_INT_BYTES: Final = 4
_AGAIN_S: Final = 0.02
_LIMIT_S: Final = 2.0
_LONGEST: Final = 1_200  # bytes of a line; the manager drops a message of more than 4 KiB, and there are three at most


class Notifier:
    """Says things to the manager at `address`; to nobody where that is empty, or once it has parted."""

    def __init__(self, address: str = "") -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address if address.startswith("/") else ""
        self._socket: socket.socket | None = None
        if self._address:
            with suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return self._socket is not None

    def say(self, *lines: str) -> bool:
        """One message, each line `NAME=value`; False where it did not go out: its queue is full, or it is gone."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto(b"\n".join(map(_packed, lines)), self._address)
        except OSError:
            return False
        return True

    async def insist(self, *lines: str) -> bool:
        """The same, tried again for two seconds; for what must not be lost."""
        for _ in range(round(_LIMIT_S / _AGAIN_S)):
            if self._socket is None or self.say(*lines):
                break
            await asyncio.sleep(_AGAIN_S)
        else:
            return False
        return self._socket is not None

    async def part(self) -> bool:
        """Say nothing any more, and return once the manager has read all that was said; whether it has, in two seconds.

        It closes the descriptor that comes with the word BARRIER once it is there (sd_notify_barrier(3)); so do those
        that do not know the word.
        """
        sock, self._socket = self._socket, None
        if sock is None:
            return False
        with sock:
            reader, writer = os.pipe()
            try:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, writer.to_bytes(_INT_BYTES, sys.byteorder))
                sock.sendmsg([b"BARRIER=1"], [rights], 0, self._address)  # send_fds drops the address
            except OSError:
                os.close(reader)
                return False
            finally:
                os.close(writer)
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()
        loop.add_reader(reader, closed.set)
        try:
            await asyncio.wait_for(closed.wait(), _LIMIT_S)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(reader)
            os.close(reader)
        return True


def _packed(line: str) -> bytes:
    """One line of UTF-8, whatever a path or a provider had in it."""
    return " ".join(line.split("\n")).encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore").encode()
