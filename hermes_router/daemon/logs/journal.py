"""The journal's native protocol: an event as one datagram with fields that `journalctl` filters by.

Owns the datagram, the socket, and what becomes of a line that the journal does not take (facts/os.md 6): one that comes
too fast is lost and counted, as the outlet does; where the socket is not to be had, whoever asks writes the line
elsewhere. It must never block, nor take secrets out: what comes in holds none.
"""

import errno
import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from hermes_router.control.log_filter import subject

__all__ = ["IDENTIFIER", "PRIORITIES", "SOCKET", "Journal"]

SOCKET: Final = "/run/systemd/journal/socket"
IDENTIFIER: Final = "hermes-router"
PRIORITIES: Final[Mapping[str, int]] = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_AGAIN_S: Final = 5.0
_LARGEST: Final = 4_000_000  # bytes; the journal keeps no more of an entry
_SOURCE: Final = frozenset({"level", "timestamp", "exception", "provider", "model", "target"})  # told in another way
_LINE_END: Final = re.compile(r"\n")
_ODD: Final = re.compile(r"[^A-Z0-9_]")
_LONGEST_NAME: Final = 64
_FULL: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
_MOST_KNOWN: Final = 1_024


class Journal:
    """The way to the journal. From any thread."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._try_at = 0.0
        self._names: dict[str, str] = {}
        self._subjects: dict[tuple[Any, ...], str] = {}
        self.lost = 0

    @property
    def ready(self) -> bool:
        """Whether there is a way to it; one that was not to be had is looked for again now and then."""
        return self._socket is not None or self._connect()

    def send(self, level: str, event: str, message: str, fields: Mapping[str, Any]) -> bool:
        """Hand one event over, or lose it; False where nobody is there, and the line must go elsewhere."""
        if not self.ready:
            return False
        if self.lost:
            told = f"{self.lost} lines were lost: whoever takes the log was too slow"
            if self._put(self._entry("warning", "log.lost", told, {"lines": self.lost})):
                self.lost = 0
        sent = self._put(self._entry(level, event, message, fields))
        if sent is False:
            self.lost += 1
        return sent is not None

    def close(self) -> None:
        """Let the socket go. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> bool:
        now = time.monotonic()
        if now < self._try_at:
            return False
        self._try_at = now + _AGAIN_S
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            return False
        self._socket = made
        return True

    def _put(self, entry: bytes) -> bool | None:
        """True = taken, False = there was no room for it, None = nobody is there."""
        sock = self._socket
        if sock is None:
            return None
        try:
            sock.send(entry)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return self._put_large(sock, entry)
            if error.errno in _FULL:
                return False
            self.close()
            return None
        return True

    def _put_large(self, sock: socket.socket, entry: bytes) -> bool:
        """What no datagram holds goes into a sealed file in memory, whose descriptor is sent."""
        try:
            fd = os.memfd_create("hermes-router", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except (AttributeError, OSError):
            return False
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(entry[:_LARGEST])
            with suppress(OSError, AttributeError):
                _seal(fd)
            socket.send_fds(sock, [b""], [fd])
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def _entry(self, level: str, event: str, message: str, fields: Mapping[str, Any]) -> bytes:
        names, parts, long = self._names, [], []
        parts.append(f"PRIORITY={PRIORITIES.get(level, 6)}\nSYSLOG_IDENTIFIER={IDENTIFIER}\n")
        parts.append(self._about(fields))
        for name, value in (("event", event), *fields.items()):
            head = names.get(name)
            if head is None:
                head = self._name(name)
            if not head or value is None:
                continue
            text = value if type(value) is str else _text(value)
            if "\n" in text:
                long.append(_long(head[:-1], text))
            else:
                parts.append(f"{head}{text}\n")
        if "\n" in message:
            long.append(_long("MESSAGE", message))
        else:
            parts.append(f"MESSAGE={message}\n")
        return _bytes("".join(parts)) + b"".join(long)

    def _about(self, fields: Mapping[str, Any]) -> str:
        """Providers, models and targets; most lines are about what others were about."""
        get = fields.get
        key = (get("provider"), get("model"), get("target"), get("attempts"))
        try:
            known = self._subjects.get(key)
        except TypeError:  # a field that is no text
            key, known = (None,) * 4, None
        if known is None:
            about = subject(fields)
            named = (("HR_PROVIDER", about.providers), ("HR_MODEL", about.models), ("HR_TARGET", about.targets))
            known = "".join(f"{name}={_LINE_END.sub(' ', one)}\n" for name, found in named for one in found)
            if len(self._subjects) >= _MOST_KNOWN:
                self._subjects.clear()
            if any(key):
                self._subjects[key] = known
        return known

    def _name(self, name: str) -> str:
        """What stands in front of a field's value; empty where it is told in another way."""
        if len(self._names) >= _MOST_KNOWN:
            self._names.clear()
        made = f"HR_{_ODD.sub('_', name.upper())}"[:_LONGEST_NAME]
        known = "" if name in _SOURCE else f"{made}="
        self._names[name] = known
        return known


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _long(name: str, text: str) -> bytes:
    """A field of more than a line: its length goes before it."""
    data = _bytes(text)
    return b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data)


def _seal(fd: int) -> None:
    import fcntl  # noqa: PLC0415 - of Linux alone, like the seals

    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
