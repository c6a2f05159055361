"""`hr`'s side of the control socket: one request, one answer, and advice where that fails.

Owns HTTP/1.1 over a Unix socket as far as it is needed, on `socket` and msgspec alone: `hr status` has 200 ms, of which
an HTTP library would take half. It must never import what the daemon is made of.
"""

import errno
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import msgspec

from hermes_router import __version__
from hermes_router.control import types as t
from hermes_router.control.answer import Cut, Garbled, Reading
from hermes_router.control.peer import peer_of
from hermes_router.core.errors import ControlError

__all__ = ["SYSTEM_DIRECTORY", "Client", "drift", "quote"]

T = TypeVar("T")

SYSTEM_DIRECTORY: Final = Path("/run/hermes-router")
"""Only root can put it there, so whoever runs the daemon in it is trusted; elsewhere only our own user and root."""

_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_REFUSED: Final = 3
_NO_DAEMON: Final = 4
_NOBODY: Final = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})


def quote(text: str) -> str:
    """A name as one segment of a path, or as a value of a query."""
    return "".join(chr(b) if b in _SAFE else f"%{b:02X}" for b in text.encode("utf-8", "surrogateescape"))


def drift(ping: t.Ping, version: str = __version__) -> str | None:
    """One line where the daemon and this `hr` are of different versions."""
    if ping.version == version:
        return None
    return f"daemon {ping.version}, hr {version}: run `hr restart`"


class Client:
    """Talks to the daemon at `path`. `timeout_s` is how long the daemon may be silent.

    Everything raises ControlError: no daemon (exit code 4), a socket or a daemon that is not ours, or of another API
    (3), silence, a cut or garbled answer (1), and whatever the daemon itself says.
    """

    def __init__(self, path: Path, *, timeout_s: float = 10.0, version: str = __version__) -> None:
        self.path = path
        self.daemon_version = ""
        self._timeout_s = timeout_s
        self._version = version

    def ping(self) -> t.Ping | None:
        """Who answers; None where nobody does."""
        try:
            return self.call("GET", "/v1/ping", None, t.Ping)
        except ControlError as error:
            if error.exit_code == _NO_DAEMON:
                return None
            raise

    def call(
        self,
        method: str,
        path: str,
        body: t.Type | None,
        answer: type[T],
        *,
        query: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> T:
        """One request. Names in `path` are quoted by the caller (`quote`), values in `query` are not."""
        target = path + ("?" + "&".join(f"{name}={quote(value)}" for name, value in query.items()) if query else "")
        request = self._request(method, target, body)
        status, headers, raw = self._exchange(request, changes=method != "GET", timeout_s=timeout_s or self._timeout_s)
        self._check_api(headers, frozen=(method, path) in t.FROZEN)
        if 200 <= status < 300:
            return self._decoded(raw, answer)
        problem = self._problem(status, raw)
        code = problem.exit_code if 1 <= problem.exit_code <= 4 else 1
        raise ControlError(problem.message, code=problem.code, next_step=problem.next_step, exit_code=code)

    # --- what is sent -------------------------------------------------------------------------------

    def _request(self, method: str, target: str, body: t.Type | None) -> bytes:
        if not target.isascii() or any(sign <= " " or sign == "\x7f" for sign in target):
            raise ControlError("This is no name that the daemon could know.", code="bad_request", exit_code=2)
        try:
            content = b"" if body is None else msgspec.json.encode(body)
        except UnicodeEncodeError:
            raise ControlError(
                "What was typed holds bytes that are no UTF-8 text.",
                code="bad_request",
                next_step="Type it anew, or check the terminal's locale.",
                exit_code=2,
            ) from None
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: {t.HOST}\r\nConnection: close\r\n"
            f"{t.VERSION_HEADER}: {self._version}\r\n{t.API_HEADER}: {t.API}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode("ascii") + content

    def _exchange(self, request: bytes, *, changes: bool, timeout_s: float) -> tuple[int, dict[str, str], bytes]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            self._connect(sock)
            pid = self._check_peer(sock)
            try:
                with suppress(BrokenPipeError, ConnectionResetError):  # refused unread: the answer says why
                    sock.sendall(request)
                return Reading(sock.recv).answer()
            except TimeoutError:
                self._hung(pid, timeout_s)
            except (Cut, OSError):
                unsure = " Whether it did what was asked is not known." if changes else ""
                raise ControlError(
                    f"The daemon at {self.path} ended before its answer was whole.{unsure}",
                    code="cut",
                    next_step="See with `hr status` whether it runs, then try again.",
                ) from None
            except Garbled as error:
                self._garbled(str(error))

    def _connect(self, sock: socket.socket) -> None:
        try:
            sock.connect(str(self.path))
        except (TimeoutError, BlockingIOError):  # its queue is full: it does not even accept
            self._hung(None, sock.gettimeout() or 0.0)
        except PermissionError:
            raise ControlError(
                f"The control socket {self.path} belongs to another user{_owner(self.path)}.",
                code="foreign",
                next_step="Run `hr` as that user, or with sudo.",
                exit_code=_REFUSED,
            ) from None
        except OSError as error:
            self._no_daemon(error)

    def _no_daemon(self, error: OSError) -> NoReturn:
        if error.errno in _NOBODY and not _is_something_else(self.path):
            raise ControlError(
                "No daemon is running.",
                code="no_daemon",
                next_step="Start it with `hr start`.",
                exit_code=_NO_DAEMON,
            ) from None
        said = "it is not a socket" if error.errno in _NOBODY else (error.strerror or str(error))
        raise ControlError(
            f"The control socket {self.path} cannot be used: {said}.",
            code="foreign",
            next_step="Set HERMES_ROUTER_SOCKET to the path of the daemon's socket.",
            exit_code=_REFUSED,
        ) from None

    def _check_peer(self, sock: socket.socket) -> int | None:
        """The daemon's pid. A key must not be handed to whoever happens to listen."""
        try:
            daemon = peer_of(sock)
        except OSError:
            self._garbled("the system does not say whose it is")
        if os.geteuid() not in {0, daemon.uid} and daemon.uid != 0 and self.path.parent != SYSTEM_DIRECTORY:
            raise ControlError(
                f"The daemon at {self.path} belongs to user {daemon.uid}, not to you.",
                code="foreign",
                next_step="Run `hr` as that user, or start your own daemon with `hr start`.",
                exit_code=_REFUSED,
            )
        return daemon.pid

    # --- what comes back ----------------------------------------------------------------------------

    def _check_api(self, headers: Mapping[str, str], *, frozen: bool) -> None:
        api = headers.get(t.API_HEADER)
        if api is None:
            self._garbled("its answer names no version")
        self.daemon_version = headers.get(t.VERSION_HEADER, "")
        if api != str(t.API) and not frozen:
            raise ControlError(
                f"hr {self._version} and the daemon {self.daemon_version[:30]} do not understand each other.",
                code="api",
                next_step="Run `hr restart`.",
                exit_code=_REFUSED,
            )

    def _decoded(self, raw: bytes, answer: type[T]) -> T:
        try:
            return msgspec.json.decode(raw, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ControlError(
                "The daemon's answer cannot be read.", code="garbled", next_step="Run `hr restart`."
            ) from None

    def _problem(self, status: int, raw: bytes) -> t.Problem:
        try:
            return msgspec.json.decode(raw, type=t.Problem)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return t.Problem(code="garbled", message=f"The daemon answered {status}.", next_step="Run `hr restart`.")

    def _hung(self, pid: int | None, timeout_s: float) -> NoReturn:
        who, end = (f" (pid {pid})", f"`kill {pid}`") if pid else ("", "kill it")
        raise ControlError(
            f"The daemon{who} did not answer within {timeout_s:g} s.",
            code="hung",
            next_step=f"Try again; if it stays so, {end}, then `hr start`.",
        ) from None

    def _garbled(self, why: str) -> NoReturn:
        raise ControlError(
            f"What answers at {self.path} is not hermes-router: {why}.",
            code="foreign",
            next_step="See who listens there, or set HERMES_ROUTER_SOCKET to the daemon's socket.",
            exit_code=_REFUSED,
        ) from None


def _owner(path: Path) -> str:
    try:
        return f" (uid {path.lstat().st_uid})"
    except OSError:
        return ""


def _is_something_else(path: Path) -> bool:
    """Whether there is a file, but no socket: connecting to it is refused, too."""
    try:
        return not stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
