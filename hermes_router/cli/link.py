"""The way to the daemon: finds the one that runs, or starts one for the length of a command.

Owns the search (contract.md, "Names and places"), the control-only daemon of design.md 2.2 and the word about
versions. It must never touch a file of the daemon's itself.
"""

import atexit
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final, TypeVar

import click

from hermes_router import __version__
from hermes_router.cli.trouble import FAILED, NO_DAEMON, REFUSED, Trouble, unstartable, warn
from hermes_router.control import types as t
from hermes_router.control.client import Client, drift
from hermes_router.control.places import check_socket, socket_candidates, user_places
from hermes_router.core.errors import ConfigError, ControlError

T = TypeVar("T")

START_S: Final = 15.0  # the daemon waits 10 for a lock, and then says who holds it
_WAIT_S: Final = 20.0
_END_S: Final = 3.0
_LOOK_S: Final = 0.03
_MOVED: Final = "moved"  # what a daemon says that has handed over
_COME_AGAIN: Final = frozenset({
    75,  # what a control-only daemon ends with that finds the lock taken
    0,  # or that another daemon asked to leave, before its own `hr` had a word with it
})  # fmt: skip


class Link:
    """A connection to a daemon, its words about itself, and one call after the other."""

    def __init__(self, path: Path, client: Client, ping: t.Ping) -> None:
        self.path = path
        self.ping = ping
        self._client = client

    @property
    def works_on_files(self) -> bool:
        """Whether no router runs: this daemon is here for the length of a command."""
        return self.ping.run == "control-only"

    def get(self, path: str, answer: type[T], *, query: Mapping[str, str] | None = None, wait_s: float = _WAIT_S) -> T:
        """Ask for something."""
        return self._call(lambda client: client.call("GET", path, None, answer, query=query, timeout_s=wait_s))

    def call(self, method: str, path: str, body: t.Type | None, answer: type[T], *, wait_s: float = _WAIT_S) -> T:
        """One change, or question with a body. Raises Trouble. `wait_s`: how long the daemon may be silent over it."""
        return self._call(lambda client: client.call(method, path, body, answer, timeout_s=wait_s))

    def _call(self, ask: Callable[[Client], T]) -> T:
        """Ask; again where a control-only daemon went away between two calls, since another `hr` came to its end.

        And where a restart came between: the daemon says that it has not begun, and its successor listens by then.
        """
        deadline = time.monotonic() + START_S
        while True:
            try:
                return ask(self._client)
            except ControlError as error:
                gone = error.exit_code == NO_DAEMON and self.works_on_files
                if not (gone or error.code == _MOVED) or time.monotonic() >= deadline:
                    raise trouble(error) from None
            if gone:
                again = _visit()
                self.path, self.ping, self._client = again.path, again.ping, again._client  # noqa: SLF001 - one of us


def trouble(error: ControlError) -> Trouble:
    """The daemon's word as ours."""
    return Trouble(error.message, error.next_step, code=error.exit_code, kind=error.code)


def candidates() -> tuple[Path, ...]:
    """Where the daemon may be asked, in order. Raises Trouble where no socket can be."""
    places = socket_candidates(user_places(os.environ), os.environ)
    try:
        check_socket(places[0])
    except ConfigError as error:
        said, _, step = error.message.partition("; ")
        raise Trouble(f"{said}: {places[0]}", step, code=REFUSED) from None
    return places


def find(*, own_only: bool = True, only: Path | None = None) -> Link | None:
    """The daemon that runs, if one does; `only`: at this socket. Raises Trouble where it refuses us.

    `own_only`: the system service's socket may be closed to us, which is no reason not to work on our own files.
    """
    refusal: ControlError | None = None
    for place, path in enumerate(candidates() if only is None else (only,)):
        client = Client(path)
        try:
            ping = client.ping()
        except ControlError as error:
            if place == 0:
                raise trouble(error) from None
            refusal = error
            continue
        if ping is not None:
            return Link(path, client, ping)
    if refusal is not None and not own_only:
        raise trouble(refusal)
    return None


def connect(*, needs_daemon: bool, any_version: bool = False) -> Link:
    """A link to the daemon that runs; where none does, to one that serves this command only, or Trouble (exit 4).

    `any_version`: the caller can do with a daemon that knows nothing but `Ping`.
    """
    link = find(own_only=not needs_daemon)
    if link is None:
        if needs_daemon:
            raise _no_daemon()
        link = _visit()
    elif needs_daemon and link.works_on_files:
        raise _no_daemon()
    if not (any_version and link.ping.api != t.API):
        _mind_version(link.ping)
    return link


def _no_daemon() -> Trouble:
    return Trouble(
        "no daemon is running",
        "start it with `hr start`, or run `hr serve` in a terminal of its own",
        code=NO_DAEMON,
    )


def _mind_version(ping: t.Ping) -> None:
    if ping.api != t.API:
        raise Trouble(
            f"the daemon is version {ping.version} and does not speak the language of this hr, {__version__}",
            "run `hr restart`, so that both are of one version",
            code=REFUSED,
        )
    said = drift(ping)
    if said is not None:
        warn(said)


# --- a daemon for one command ---------------------------------------------------------------------------


class Visit:
    """A control-only daemon of ours: it ends when we close its standard input, and nobody speaks with it any more."""

    def __init__(self) -> None:
        import subprocess  # noqa: PLC0415 - 7 ms, and most commands find a daemon
        import tempfile  # noqa: PLC0415

        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hermes_router.daemon", "--control-only"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C is for us: it must not end in the middle of a change
            )
        except OSError as error:
            self._said.close()
            raise unstartable(error) from None

    @property
    def pid(self) -> int:
        """Which process it is."""
        return self._process.pid

    def give_up(self) -> None:
        """It is not needed: another one answers. It has the lock not, or not yet, and has done nothing."""
        self._process.terminate()
        self.end()

    def result(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def last_words(self) -> tuple[str, str]:
        """The last thing that it said: what, and what to do where it says that."""
        self._said.seek(0)
        lines = self._said.read()[-4000:].decode(errors="replace").split("\n")
        said = [line for line in lines if line.strip()] or [f"it ended with {self._process.returncode}"]
        step = said.pop().strip() if said[-1].startswith("    ") and len(said) > 1 else ""
        return said[-1].removeprefix("hr: "), step

    def end(self) -> None:
        """Let it go, and wait until its lock is free: the next command of a script may be `hr start`."""
        import subprocess  # noqa: PLC0415 - loaded by now

        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            pass  # another hr speaks with it; it ends after that
        finally:
            self._said.close()


def _visit() -> Link:
    """Start a control-only daemon, or find the one that another `hr` started in the same moment. Raises Trouble."""
    deadline = time.monotonic() + START_S
    visit, words, step = Visit(), "", ""
    while True:
        try:
            link = find()
        except Trouble:  # cut off by one that is just going
            if time.monotonic() >= deadline:
                visit.give_up()
                raise
            link = None
        if link is not None:
            if link.ping.pid == visit.pid:
                _end_with_command(visit)
            else:
                visit.give_up()
            return link
        result = visit.result()
        if result is not None:
            words, step = visit.last_words()
            visit.end()
            if result not in _COME_AGAIN:
                code = REFUSED if result == REFUSED else FAILED
                said = words if step else f"the files could not be worked on: {words}"
                raise Trouble(said, step or "`hr serve` shows more", code=code)
        if words and time.monotonic() >= deadline:  # the lock stayed held, by one that does not answer
            visit.end()
            step = step or "try again; if it stays so, end the process that is in the way"
            raise Trouble(words, step, code=REFUSED)
        if time.monotonic() >= deadline + START_S:  # a busy machine: it runs, and has not said no
            visit.end()
            raise Trouble(f"the daemon did not come up in {2 * START_S:.0f} s", "try again; `hr serve` shows more")
        if result is not None:
            visit = Visit()  # whoever held the lock may be gone by now
        time.sleep(_LOOK_S)


def _end_with_command(visit: Visit) -> None:
    context = click.get_current_context(silent=True)
    if context is None:
        atexit.register(visit.end)
        return
    context.find_root().call_on_close(visit.end)
