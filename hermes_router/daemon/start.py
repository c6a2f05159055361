"""From the command line to everything that a daemon needs before it has a loop.

Owns flags, the process's own settings, the order of lock, configuration, log and sockets, and who is told of a failure:
the person at the terminal, the `hr start` that waits at a pipe, or the predecessor whose successor this was to be. It
must never decide anything about requests.
"""

import argparse
import grp
import json
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple

import msgspec

from hermes_router.control.listener import bind_control
from hermes_router.control.places import (
    Places,
    make_directories,
    readers_group,
    service_log,
    system_places,
    user_places,
)
from hermes_router.core.errors import ConfigError, ControlError
from hermes_router.core.settings import Settings
from hermes_router.daemon import allocator
from hermes_router.daemon.claim import Claim, Holder, claim
from hermes_router.daemon.config import Loaded, load
from hermes_router.daemon.doors import public_sockets, unused_sentence
from hermes_router.daemon.handover.heir import Inheritance
from hermes_router.daemon.herald import Herald
from hermes_router.daemon.keeping import Keeping
from hermes_router.daemon.logs.form import lost_line
from hermes_router.daemon.logs.logging import adopt_standard_logging
from hermes_router.daemon.logs.outlet import Outlet
from hermes_router.daemon.logs.outlet_rotating import RotatingOutlet
from hermes_router.daemon.managed import Managed, unit_of
from hermes_router.daemon.notify import Notifier
from hermes_router.daemon.shield import raise_shield
from hermes_router.daemon.wiring import check_binding
from hermes_router.store.router_keys import RouterKeyStore

__all__ = ["Options", "Prepared", "Refused", "Teller", "has_terminal", "parse", "prepare", "settle_process"]

HELD: Final = 75
"""The exit code of a control-only daemon that finds the lock taken: `hr` tries again (EX_TEMPFAIL of sysexits.h)."""

_UNMANAGED: Final = Managed()
_MOST_DESCRIPTORS: Final = 10_240  # macOS takes no more
Run = Literal["foreground", "detached", "systemd", "launchd", "control-only"]


class Options(NamedTuple):
    """The flags. `tell` and `handover` are descriptors that the parent has opened for us."""

    env_file: Path | None = None
    detached: bool = False
    control_only: bool = False
    tell: int | None = None
    handover: int | None = None
    system: bool = False
    root: Path = Path("/")

    def for_successor(self) -> list[str]:
        """The flags that a successor is started with, besides its own."""
        flags = ["--env-file", str(self.env_file)] if self.env_file else []
        if self.system:
            flags.append("--system")
        if self.root != Path("/"):
            flags += ["--root", str(self.root)]
        return [*flags, "--detached"] if self.detached else flags

    def places(self, environ: Mapping[str, str]) -> Places:
        """Where this daemon's things lie."""
        if self.system:
            return system_places(environ, env_file=self.env_file, root=self.root)
        return user_places(environ, env_file=self.env_file)


def parse(argv: Sequence[str] | None) -> Options:
    """Read the flags; exits with 2 where they are none of ours."""
    parser = argparse.ArgumentParser(prog="hr serve", description="Run the router in the foreground.")
    parser.add_argument("--env-file", type=Path, help="the .env to read instead of the one in the config directory")
    parser.add_argument(
        "--system", action="store_true", help="use the places of the system service: /etc/hermes-router"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)  # below which these places lie
    hidden = parser.add_mutually_exclusive_group()
    hidden.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    hidden.add_argument("--control-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tell", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--handover", type=int, help=argparse.SUPPRESS)
    found = parser.parse_args(argv)
    env_file = None if found.env_file is None else found.env_file.expanduser().absolute()
    root = found.root.absolute()
    return Options(env_file, found.detached, found.control_only, found.tell, found.handover, found.system, root)


# --- who is told --------------------------------------------------------------------------------------


class Refused(Exception):
    """The daemon does not start: a sentence for each thing that is wrong; `next_step` where none says what to do."""

    def __init__(self, sentences: Sequence[str], code: int = 1, *, next_step: str = "") -> None:
        super().__init__(*sentences)
        self.sentences = list(sentences)
        self.code = code
        self.next_step = next_step


class Teller:
    """Tells whoever started us how that went, once."""

    def __init__(self, options: Options, inheritance: Inheritance | None, notifier: Notifier | None = None) -> None:
        self._pipe = options.tell
        self._inheritance = inheritance
        self._notifier = notifier
        if self._pipe is not None:
            os.set_inheritable(self._pipe, False)

    def refused(self, refused: Refused) -> None:
        """It did not work."""
        sentences, step = refused.sentences, refused.next_step
        if self._inheritance is not None:
            self._inheritance.refuse([*sentences, *([step] if step else [])], refused.code)
        elif not self._say({"ready": False, "said": sentences, "next": step, "code": refused.code}):
            terminal = Outlet(2)
            for sentence in sentences:
                terminal.write(f"hr: {sentence}\n")
            if step:
                terminal.write(f"    {step}\n")
            if self._notifier is not None:
                Herald(self._notifier).refused("; ".join(sentences))

    def ready(self, facts: Mapping[str, Any]) -> None:
        """It works."""
        self._say({"ready": True, **facts})

    def _say(self, said: Mapping[str, Any]) -> bool:
        """One line of JSON into the pipe; False where there is none."""
        if self._pipe is None:
            return False
        pipe, self._pipe = self._pipe, None
        try:
            os.write(pipe, json.dumps(said).encode() + b"\n")
        except OSError:
            pass  # whoever waited is gone
        finally:
            os.close(pipe)
        return True


# --- the process --------------------------------------------------------------------------------------


def settle_process(options: Options) -> None:
    """What holds for the whole process, before it opens anything of its own."""
    _fill_descriptors()
    os.umask(0o077)
    raise_shield()
    _raise_descriptors()
    allocator.settle()
    if options.detached:
        _detach()


def _fill_descriptors() -> None:
    """Whoever starts us with 0, 1 or 2 closed would find a socket of ours there, and log lines in it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one


def _raise_descriptors() -> None:
    """As many connections as the system allows: the usual 1024 are 500 requests, a caller's side and an upstream's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _detach() -> None:
    """A session of our own: no terminal can end us, and we hold none open, nor any directory."""
    with suppress(PermissionError):  # we lead one already
        os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    os.close(nowhere)
    os.chdir("/")


def run_of(
    options: Options, environ: Mapping[str, str], inheritance: Inheritance | None, managed: Managed = _UNMANAGED
) -> Run:
    """Who looks after this process. A terminal inherits the variables of managers, so they must mean this very pid."""
    if inheritance is not None and inheritance.run == "systemd":
        return "systemd"
    if options.control_only:
        return "control-only"
    if options.detached:
        return "detached"
    if managed.is_main and environ.get("INVOCATION_ID"):
        return "systemd"
    if sys.platform == "darwin" and os.getppid() == 1 and environ.get("XPC_SERVICE_NAME", "0") != "0":
        return "launchd"
    return "foreground"


# --- what it needs ------------------------------------------------------------------------------------


class Prepared(msgspec.Struct, kw_only=True):
    """All that the loop is given. Without a `claim` there is no control socket, and nothing of ours is written.

    `hangs_up`: losing the terminal means to end, as it does for every program that a person runs in it. `readers_gid`:
    the group whose members may look at the system service. `managers` are the service manager's sockets, in use or not.
    """

    options: Options
    places: Places
    environ: Mapping[str, str]
    loaded: Loaded
    keeping: Keeping
    log: Any
    out: Outlet
    run: Run
    teller: Teller
    claim: Claim | None
    public: list[socket.socket]
    control: socket.socket | None
    cwd: Path | None = None
    log_path: str = ""
    inheritance: Inheritance | None = None
    hangs_up: bool = False
    readers_gid: int | None = None
    notes: list[ConfigError] = msgspec.field(default_factory=list)
    managed: Managed = msgspec.field(default_factory=Managed)
    managers: Sequence[socket.socket] = ()
    unit: tuple[str, str] = ("", "")


def prepare(
    options: Options,
    environ: Mapping[str, str],
    teller: Teller,
    inherited: Inheritance | None,
    managed: Managed = _UNMANAGED,
) -> Prepared:
    """Lock, configuration, log, sockets, in this order. Raises Refused; nothing is held then."""
    cwd = _cwd()
    run = run_of(options, environ, inherited, managed)
    managers = managed.sockets if inherited is None else inherited.managers
    places = options.places(environ)
    notes = _make_places(places)
    held = _claim(places, run, inherited, notes)
    try:
        keeping = Keeping(places, environ, inherited.take_secrets() if inherited is not None else None)
        loaded = load(places, environ, cwd=cwd, stored=keeping.store)
        out, path = _outlet(loaded.settings, places, run, notes)
        log = keeping.open_log(loaded, out, environ)
        out.lost_line = lost_line(out, environ).format
        _adopt(log)
        for problem in (*notes, *loaded.problems):
            if not problem.fatal:
                log.warning("config.skipped", where=problem.where, problem=problem.message)
        public = _open_public(loaded, keeping.router_keys, run, inherited, managers, out=out, log=log)
        if managers and public and public[0] not in managers:
            unused = unused_sentence(loaded.settings, managers)
            log.warning("sockets.unused", problem=unused)
            notes.append(ConfigError(unused))
        readers_gid = _readers_gid(places)
        control = None if held is None else _open_control(places, run, inherited, log, readers_gid)
    except BaseException:
        if held is not None:
            held.close()
        raise
    hangs_up = run == "foreground" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()
    return Prepared(
        options=options,
        places=places,
        environ=environ,
        loaded=loaded,
        keeping=keeping,
        log=log,
        out=out,
        run=run,
        teller=teller,
        claim=held,
        public=public,
        control=control,
        cwd=cwd,
        log_path=path,
        inheritance=inherited,
        hangs_up=hangs_up,
        readers_gid=readers_gid,
        notes=notes,
        managed=managed,
        managers=managers,
        unit=unit_of() if run == "systemd" else ("", ""),
    )


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
    return _close_to_others(places.state_dir)


def _close_to_others(directory: Path) -> list[ConfigError]:
    """0700, as the directory of secrets: the control socket stands here, and others could put theirs in its place."""
    with suppress(OSError):  # not ours, or not to be changed: whoever binds the socket says so
        found = directory.stat()
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid == os.geteuid() and mode & 0o077:
            directory.chmod(0o700)
            return [ConfigError(f"was open to others (mode {mode:04o}); it is now 0700", where=str(directory))]
    return []


def _claim(places: Places, run: Run, inherited: Inheritance | None, notes: list[ConfigError]) -> Claim | None:
    """The lock; None, with a note, where this disk has none to give and the daemon can do without `hr`."""
    if inherited is not None:
        return None if inherited.lock is None else Claim(inherited.lock, places.lock)
    try:
        return claim(places.lock, Holder(places.socket))
    except ControlError as error:
        code = HELD if run == "control-only" else error.exit_code
        raise Refused([error.message], code, next_step=error.next_step) from None
    except OSError as error:
        said = f"cannot be locked ({error.strerror})"
        if run in {"detached", "control-only"}:
            raise Refused([f"{places.lock} {said}"], next_step="make its directory writable") from None
        notes.append(ConfigError(f"{said}; the daemon runs without control socket", where=str(places.lock)))
        return None


def _outlet(settings: Settings, places: Places, run: Run, notes: list[ConfigError]) -> tuple[Outlet, str]:
    """The file that LOG_FILE names, the own one of a daemon in the background, else standard error; and its path.

    To launchd's file belongs what the interpreter may say on standard output and error, too.
    """
    if settings.log_file is not None and run != "control-only":
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            return Outlet(os.open(settings.log_file, flags, 0o600)), settings.log_file
        except OSError as error:
            other = str(places.log_file) if run == "detached" else "standard error"
            said = f"LOG_FILE={settings.log_file} cannot be opened ({error.strerror}); the log goes to {other}"
            notes.append(ConfigError(said, where=settings.sources.get("LOG_FILE", "")))
    if run == "launchd":
        path = service_log()
        followers = [fd for fd in (1, 2) if _is_open_at(fd, path)]
        with suppress(OSError):  # it goes where launchd was told to send it
            if 2 in followers:
                return RotatingOutlet(path, followers=followers), str(path)
    if run != "detached":
        return Outlet(2), ""
    try:
        return RotatingOutlet(places.log_file), str(places.log_file)
    except OSError as error:
        raise Refused([f"{places.log_file}: the log cannot be opened ({error.strerror})"]) from None


def _is_open_at(fd: int, path: Path) -> bool:
    """Whether this descriptor is of the file that has this path."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(fd), path.stat())
    return False


def _adopt(log: Any) -> None:
    adopt_standard_logging(log)

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("daemon.crashed", exc_info=(kind, error, trace))

    sys.excepthook = crashed  # the interpreter's own would print a traceback of many lines, secrets and all


def _open_public(
    loaded: Loaded,
    router_keys: RouterKeyStore,
    run: Run,
    inherited: Inheritance | None,
    managers: Sequence[socket.socket],
    *,
    out: Outlet,
    log: Any,
) -> list[socket.socket]:
    """The public sockets, none for a control-only daemon."""
    if run == "control-only":
        return []  # it is there to repair what is fatal, too
    sentences = [str(error) for error in loaded.fatal]
    if not sentences:
        try:
            check_binding(loaded.settings, router_keys.keys)
            return public_sockets(loaded.settings, inherited.public if inherited is not None else (), managers)
        except ConfigError as error:
            lost = () if loaded.settings.proxy_api_keys else router_keys.problems  # why there is no key
            sentences = [*lost, str(error)]
    if out.fileno() != 2:
        for sentence in sentences:
            log.error("daemon.refused", problem=sentence)
    raise Refused(sentences)


def _readers_gid(places: Places) -> int | None:
    """Who may look besides root and this user; nobody where there is no such group."""
    group = readers_group(places)
    try:
        return None if group is None else grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def _open_control(
    places: Places, run: Run, inherited: Inheritance | None, log: Any, readers_gid: int | None
) -> socket.socket | None:
    if inherited is not None and inherited.control is not None:
        return inherited.control
    try:
        return bind_control(places.socket, readers_gid=readers_gid, system=places.system)
    except ControlError as error:
        if run in {"detached", "control-only"}:
            raise Refused([error.message], error.exit_code, next_step=error.next_step) from None
        log.warning("control.absent", path=str(places.socket), problem=error.message)  # Ctrl-C can still stop it
    return None


def has_terminal() -> bool:
    """Whether this process still has a terminal of its own: once that has gone away, it has none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
