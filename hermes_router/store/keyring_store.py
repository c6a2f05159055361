"""The operating system's keyring, from a thread of its own, since any of its calls may block for ever.

Owns the thread, its time limits and the choice of a backend that keeps what it is given (facts/os.md 1.2, 1.3, 1.8).
It must never be waited for without a limit, hold up the exit of the process, or know what a secret is for. Nothing
of `keyring` is imported before the first call, and then in the thread.
"""

import asyncio
import queue
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import msgspec

from hermes_router.core.errors import VaultError
from hermes_router.core.ports import Log

__all__ = ["SERVICE", "KeyringFault", "KeyringThread", "Ring", "pick"]

SERVICE: Final = "hermes-router"
LIMIT_S: Final = 3.0
PERSON_LIMIT_S: Final = 30.0
"""For where someone may be typing the password that unlocks it."""

_ACCEPTED: Final = frozenset(
    {
        "keyring.backends.SecretService.Keyring",
        "keyring.backends.libsecret.Keyring",
        "keyring.backends.kwallet.DBusKeyring",
        "keyring.backends.kwallet.DBusKeyringKWallet4",
        "keyring.backends.macOS.Keyring",
    }
)
_FIRST_WAIT_S: Final = 5.0
_LONGEST_WAIT_S: Final = 300.0
_MOST_LEFT_BEHIND: Final = 3

_T = TypeVar("_T")
Kind = Literal["absent", "locked", "hung", "failed"]


class Ring(Protocol):
    """What we use of a `keyring` backend."""

    def get_password(self, service: str, username: str) -> str | None: ...  # noqa: D102
    def set_password(self, service: str, username: str, password: str) -> None: ...  # noqa: D102
    def delete_password(self, service: str, username: str) -> None: ...  # noqa: D102


class KeyringFault(VaultError):
    """The keyring did not do it. `hung` = it did not answer in time, and may be doing it still."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message, next_step=_NEXT_STEPS[kind])
        self.kind = kind


_NEXT_STEPS: Final[Mapping[Kind, str]] = {
    "absent": "run where a session with a keyring is, or set SECRET_STORE=file",
    "locked": "unlock the keyring (log in at the desktop) and try again, or set SECRET_STORE=file",
    "hung": "look for a password prompt, restart the keyring's service, or set SECRET_STORE=file",
    "failed": "look into the keyring with its own program, or set SECRET_STORE=file",
}


@dataclass(slots=True, eq=False)
class _Job(Generic[_T]):
    """One piece of work, and who waits for it. `abandoned` is set by the loop, the rest belongs to the thread."""

    work: Callable[[Ring], _T]
    strict: bool
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[_T]"
    abandoned: bool = False


class _Worker(msgspec.Struct, eq=False):
    """One thread with its queue; `current` is the job in hand. A `retired` one ends when it comes back."""

    pick: Callable[[bool], Ring]
    jobs: "queue.SimpleQueue[_Job[Any] | None]" = msgspec.field(default_factory=queue.SimpleQueue)
    current: _Job[Any] | None = None
    retired: bool = False

    def start(self) -> None:
        # A daemon thread: the interpreter does not join it at exit, as it does those of an executor.
        threading.Thread(target=self._run, name="keyring", daemon=True).start()

    @property
    def stuck(self) -> bool:
        """Whether it is busy with something that nobody waits for any longer."""
        job = self.current
        return job is not None and job.abandoned

    def _run(self) -> None:
        while not self.retired and (job := self.jobs.get()) is not None:
            if job.abandoned:
                continue
            self.current = job
            result, error = self._do(job)
            self.current = None
            try:
                job.loop.call_soon_threadsafe(_settle, job.future, result, error)
            except RuntimeError:  # the loop is closed: nobody is there any longer
                return

    def _do(self, job: _Job[Any]) -> tuple[Any, KeyringFault | None]:
        try:
            return job.work(self.pick(job.strict)), None
        except KeyringFault as fault:
            return None, fault
        except Exception as error:  # noqa: BLE001 - backends raise what they like: D-Bus, GLib and ctypes errors, any
            return None, _fault_of(error)


def _get(service: str, name: str, ring: Ring) -> str | None:
    return ring.get_password(service, name)


def _settle(future: "asyncio.Future[Any]", result: Any, error: KeyringFault | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class KeyringThread:
    """The keyring, one call after the other, each within `limit_s`, or `unlock_s` where a person may have to unlock it.

    A call that takes longer is given up and the thread counts as hung: further calls fail at once. It is asked again
    once it has come back, and where it does not come back a new thread takes its place, at growing intervals and with
    at most three left behind.
    """

    def __init__(
        self,
        *,
        log: Log,
        service: str = SERVICE,
        limit_s: float = LIMIT_S,
        unlock_s: float | None = None,
        pick: Callable[[bool], Ring] | None = None,
    ) -> None:
        self._log = log
        self._service = service
        self._pick = pick or _pick
        self._worker: _Worker | None = None
        self._left_behind: list[_Worker] = []
        self._wait_s = _FIRST_WAIT_S
        self._replace_at = 0.0
        self._ill = False
        self._limit_s = limit_s
        self._unlock_s = unlock_s

    @property
    def hung(self) -> bool:
        """Whether the last call has not come back, though its time is up."""
        return self._worker is not None and self._worker.stuck

    @property
    def waits_for_a_person(self) -> bool:
        """Whether there is time to type a password."""
        return self._unlock_s is not None

    async def read(
        self, names: Sequence[str], *, insist: bool = False
    ) -> tuple[dict[str, str | None], KeyringFault | None]:
        """The secrets under these names, None for what is not there, as far as it went, and what ended it.

        `insist` = somebody asked for it: a call that hangs is not stood in line behind, nor an interval waited for.
        """
        found: dict[str, str | None] = {}
        for name in names:
            try:
                found[name] = await self._call(partial(_get, self._service, name), insist=insist)
            except KeyringFault as fault:
                return found, fault
        return found, None

    async def write(self, name: str, secret: str) -> None:
        """Keep a secret, read back and compared. Raises KeyringFault; it may be there or come to be there then."""

        def work(ring: Ring) -> None:
            ring.set_password(self._service, name, secret)
            if ring.get_password(self._service, name) != secret:
                raise KeyringFault("failed", "the keyring took a key and gave back another")

        await self._call(work)

    async def delete(self, name: str) -> None:
        """Forget what stands under this name; nothing there is no fault. Raises KeyringFault."""

        def work(ring: Ring) -> None:
            if ring.get_password(self._service, name) is not None:
                ring.delete_password(self._service, name)

        await self._call(work)

    async def probe(self, *, strict: bool = True) -> None:
        """Write, read, compare and delete a secret of no meaning. Raises KeyringFault where that does not work.

        Only this tells a backend that keeps from one that merely answers. `strict` = no stranger beside it, either.
        """
        service, secret = f"{self._service}-probe-{secrets.token_hex(8)}", secrets.token_hex(16)

        def work(ring: Ring) -> None:
            ring.set_password(service, "probe", secret)
            if ring.get_password(service, "probe") != secret:
                raise KeyringFault("failed", "the keyring does not keep what it is given")
            ring.delete_password(service, "probe")

        await self._call(work, strict=strict)

    def close(self) -> None:
        """Let an idle thread end; one that hangs is left to the exit of the process."""
        if self._worker is not None:
            self._worker.jobs.put(None)

    async def _call(self, work: Callable[[Ring], _T], *, strict: bool = False, insist: bool = False) -> _T:
        loop = asyncio.get_running_loop()
        if insist:
            self._replace_at = 0.0
        worker = self._free_worker(loop.time())
        future: asyncio.Future[_T] = loop.create_future()
        job = _Job(work, strict, loop, future)
        worker.jobs.put(job)
        try:
            await asyncio.wait({job.future}, timeout=self._limit_s)
            if self._unlock_s is not None and not job.future.done():
                self._log.info("keyring.waiting", next="unlock the keyring", limit_s=self._unlock_s)
                await asyncio.wait({job.future}, timeout=self._unlock_s - self._limit_s)
        finally:
            job.abandoned = not job.future.done()
        if job.abandoned and insist and worker.current is not job:
            return await self._call(work, strict=strict, insist=True)  # another's call hung before ours had begun
        if job.abandoned:
            self._replace_at = loop.time() + self._wait_s
            self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)
            self._ill = True
            self._log.warning("keyring.hung", limit_s=self._unlock_s or self._limit_s)
            raise self._no_answer()
        if self._ill:
            self._log.info("keyring.back")
        self._ill, self._wait_s = False, _FIRST_WAIT_S
        return future.result()

    def _free_worker(self, now: float) -> _Worker:
        worker = self._worker
        if worker is not None and worker.stuck:
            self._left_behind = [one for one in self._left_behind if one.stuck]
            if now < self._replace_at or len(self._left_behind) >= _MOST_LEFT_BEHIND:
                raise self._no_answer()
            worker.retired = True
            self._left_behind.append(worker)
            worker = None
        if worker is None:
            worker = self._worker = _Worker(self._pick)
            worker.start()
        return worker

    def _no_answer(self) -> KeyringFault:
        return KeyringFault("hung", f"the keyring did not answer within {self._unlock_s or self._limit_s:g} s")


_KINDS: Final[Mapping[str, tuple[Kind, str]]] = {
    "KeyringLocked": ("locked", "the keyring is locked"),
    "InitError": ("locked", "the keyring is locked or was never set up"),
    "NoKeyringError": ("absent", "there is no keyring here"),
    "TimeoutError": ("absent", "the session bus of the keyring does not answer"),
}


def _fault_of(error: Exception) -> KeyringFault:
    """What went wrong, by the class alone: a backend's text may quote what it was given."""
    name = type(error).__name__
    kind, said = _KINDS.get(name, ("failed", f"the keyring failed ({name})"))
    return KeyringFault(kind, said)


def _pick(strict: bool) -> Ring:
    """The backend that `keyring` selects, or of a chain the first that we accept. Raises KeyringFault.

    `strict` also refuses a chain with a stranger in it: `keyrings.alt` asks for a password on standard input.
    """
    from keyring import backend, core  # noqa: PLC0415 - 0.1 s, and of no use to most
    from keyring.backends.chainer import ChainerBackend  # noqa: PLC0415

    return pick(core, backend.get_all_keyring, ChainerBackend, strict=strict)


def pick(core: Any, all_backends: Any, chain: type[Any], *, strict: bool) -> Ring:
    """`_pick` with the parts of `keyring` as arguments."""
    chosen = core.get_keyring()
    if _name(chosen) == "keyring.backends.fail.Keyring":
        # Found when there was no bus yet, and remembered by the library: look again.
        with suppress(AttributeError, KeyError):
            all_backends.reset()
        core.init_backend()
        chosen = core.get_keyring()
    members = list(chosen.backends) if isinstance(chosen, chain) else [chosen]
    accepted: list[Ring] = [one for one in members if _name(one) in _ACCEPTED]
    strangers = [_name(one) for one in members if _name(one) not in _ACCEPTED]
    if strangers == ["keyring.backends.fail.Keyring"]:
        raise KeyringFault("absent", "there is no keyring here")
    if not accepted:
        raise KeyringFault("absent", f"the keyring backend {strangers[0] if strangers else 'none'} is not one to trust")
    if strict and strangers:
        raise KeyringFault("absent", f"{strangers[0]} is installed and would be asked as well")
    return accepted[0]


def _name(ring: object) -> str:
    return f"{type(ring).__module__}.{type(ring).__qualname__}"
