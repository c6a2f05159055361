"""The keyring's thread: limits, one thread, nothing of a secret in what is said; and which backends are trusted."""

import asyncio
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from hermes_router.store import keyring_store
from hermes_router.store.keyring_store import KeyringFault

from .rings import ROOT, KeyringLocked, Log, NoKeyringError, Ring, returned, thread_of


async def test_a_secret_goes_there_and_back() -> None:
    """Under our service and its name; deleting what is not there is no fault."""
    ring = Ring()
    thread = thread_of(ring)
    await thread.write("provider/groq/a", "gsk_1")
    assert ring.held == {("hermes-router-test", "provider/groq/a"): "gsk_1"}
    assert await thread.read(["provider/groq/a", "provider/groq/b"]) == (
        {"provider/groq/a": "gsk_1", "provider/groq/b": None},
        None,
    )
    await thread.delete("provider/groq/a")
    await thread.delete("provider/groq/a")
    assert ring.held == {}
    thread.close()


async def test_what_is_given_back_changed_is_a_fault() -> None:
    """A set that succeeds says nothing: the secret is read back."""
    ring = Ring()
    ring.forgets = True
    with pytest.raises(KeyringFault) as caught:
        await thread_of(ring).write("a", "gsk_1")
    assert caught.value.kind == "failed"


async def test_the_probe_leaves_nothing_and_sees_a_backend_that_forgets() -> None:
    """Written, read, compared, deleted, under a service name that nobody uses; `null` is found out by it."""
    ring = Ring()
    thread = thread_of(ring)
    await thread.probe()
    assert [call.split()[0] for call in ring.calls] == ["set", "get", "delete"]
    assert ring.held == {}
    ring.forgets = True
    with pytest.raises(KeyringFault, match="does not keep"):
        await thread.probe()


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (KeyringLocked("Failed to unlock!"), "locked", "locked"),
        (NoKeyringError("No recommended backend"), "absent", "no keyring"),
        (TimeoutError("Did not authenticate"), "absent", "does not answer"),
        (ZeroDivisionError("hunter2"), "failed", "ZeroDivisionError"),
        (OSError("hunter2"), "failed", "OSError"),
    ],
)
async def test_whatever_a_backend_raises_is_one_sentence(error: Exception, kind: str, said: str) -> None:
    """What and what to do, by the class of the error: its text may quote a secret."""
    ring = Ring()
    ring.fails = error
    with pytest.raises(KeyringFault, match=said) as caught:
        await thread_of(ring).write("a", "hunter2")
    assert caught.value.kind == kind
    assert "SECRET_STORE=file" in caught.value.next_step
    assert "hunter2" not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)
    assert caught.value.__context__ is None


async def test_reading_stops_at_the_first_fault() -> None:
    """A locked keyring is not asked again for each of fifty keys; what was read before counts."""
    ring = Ring()
    thread = thread_of(ring)
    await thread.write("a", "1")
    ring.fails, ring.calls = KeyringLocked(), []
    found, fault = await thread.read(["a", "b", "c"])
    assert (found, ring.calls) == ({}, ["get a"])
    assert fault is not None
    assert fault.kind == "locked"


async def test_a_call_that_hangs_is_given_up_and_no_other_is_made() -> None:
    """After the limit the thread counts as hung: further calls fail at once, without one more thread; the loop is free.

    When it comes back, the next call is made as if nothing had been.
    """
    ring, log = Ring(), Log()
    thread = thread_of(ring, log)
    ring.gate.clear()
    threads = threading.active_count()
    began = time.perf_counter()
    _, fault = await thread.read(["a"])
    assert 0.04 < time.perf_counter() - began < 1
    assert fault is not None
    assert fault.kind == "hung"
    assert thread.hung
    for _ in range(20):
        with pytest.raises(KeyringFault, match="did not answer"):
            await thread.write("b", "2")
    assert ring.calls == ["get a"]
    assert threading.active_count() == threads + 1
    ring.gate.set()
    await returned(thread)
    await thread.write("b", "2")
    assert log.names == ["keyring.hung", "keyring.back"]


async def test_work_that_was_given_up_before_it_began_is_not_done_later() -> None:
    """A write that nobody waits for any longer, queued behind one that hangs, does not happen."""
    ring = Ring()
    thread = thread_of(ring)
    ring.gate.clear()
    results = await asyncio.gather(thread.write("a", "1"), thread.write("b", "2"), return_exceptions=True)
    assert all(isinstance(one, KeyringFault) for one in results)
    ring.gate.set()
    await returned(thread)
    assert await thread.read(["b"]) == ({"b": None}, None)


async def test_a_thread_that_never_comes_back_is_replaced_at_growing_intervals() -> None:
    """At most three are left behind; the intervals double."""
    ring = Ring()
    thread = thread_of(ring, limit_s=0.01)
    ring.gate.clear()
    waits: list[float] = []
    for _ in range(6):
        before = len(ring.calls)
        await thread.read(["a"])
        if len(ring.calls) > before:
            waits.append(thread._replace_at - asyncio.get_running_loop().time())
        thread._replace_at = 0.0  # time passes
    assert [round(wait) for wait in waits] == [5, 10, 20, 40]
    ring.gate.set()
    await returned(thread)
    assert await thread.read(["a"]) == ({"a": None}, None)


async def test_who_insists_stands_in_line_behind_no_call_that_hangs() -> None:
    """A reload while the daemon's own reading hangs, or has hung: another thread asks at once."""
    dead = Ring()
    dead.gate.clear()
    asked = [dead, Ring(), dead, Ring()]
    thread = thread_of(dead, pick=lambda _strict: asked.pop(0))
    own = asyncio.create_task(thread.read(["a"]))
    await asyncio.sleep(0)
    assert await thread.read(["a"], insist=True) == ({"a": None}, None)
    assert (await own)[1] is not None
    for said in ("call", "interval"):
        assert (await thread.read(["a"]))[1] is not None, said
    assert await thread.read(["a"], insist=True) == ({"a": None}, None)
    dead.gate.set()


async def test_a_person_has_time_to_type_a_password() -> None:
    """Where there is a display the limit is the longer one, and that we wait is said."""
    ring, log = Ring(), Log()
    thread = thread_of(ring, log, limit_s=0.01, unlock_s=5.0)
    assert thread.waits_for_a_person
    ring.gate.clear()
    asyncio.get_running_loop().call_later(0.05, ring.gate.set)
    assert await thread.read(["a"]) == ({"a": None}, None)
    assert log.names == ["keyring.waiting"]


async def test_a_caller_that_leaves_leaves_nothing() -> None:
    """Cancelled while it waits, the call is given up, and a late answer disturbs nobody."""
    ring = Ring()
    thread = thread_of(ring, limit_s=10.0)
    ring.gate.clear()
    reading = asyncio.ensure_future(thread.read(["a"]))
    assert await asyncio.to_thread(ring.entered.wait, 10)  # the keyring is being asked
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert thread.hung
    ring.gate.set()
    await returned(thread)
    assert await thread.read(["a"]) == ({"a": None}, None)


def test_an_answer_after_the_loop_is_over_is_dropped() -> None:
    """The thread ends in silence."""
    ring = Ring()
    ring.gate.clear()
    before = threading.enumerate()
    asyncio.run(thread_of(ring, limit_s=0.01).read(["a"]))
    [ours] = [one for one in threading.enumerate() if one not in before and one.name == "keyring"]
    ring.gate.set()
    ours.join(10)
    assert not ours.is_alive()


def test_the_exit_of_the_process_is_not_held_up() -> None:
    """With a call that hangs for ever, the interpreter is gone at once."""
    program = (
        "import asyncio, threading\n"
        "from tests.store.rings import Ring, returned, thread_of\n"
        "ring = Ring(); ring.gate.clear(); ring.gate.wait = lambda _=None: threading.Event().wait()\n"
        "print(asyncio.run(thread_of(ring).read(['a']))[1].kind)\n"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True, cwd=ROOT
    )
    assert done.stdout == "hung\n"
    assert time.perf_counter() - began < 10


def test_nothing_of_keyring_is_imported_before_the_first_call() -> None:
    """The import costs 0.1 s, and most processes never ask a keyring."""
    program = (
        "import sys, hermes_router.store.vault, hermes_router.store.keyring_store as k\n"
        "k.KeyringThread(log=None); print('keyring' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


# --- which backends are trusted ---------------------------------------------------------------------


def _backend(name: str) -> Any:
    module, _, cls = name.rpartition(".")
    return type(cls, (), {"__module__": module})()


SECRET_SERVICE = _backend("keyring.backends.SecretService.Keyring")
LIBSECRET = _backend("keyring.backends.libsecret.Keyring")
FAIL = _backend("keyring.backends.fail.Keyring")
ALT = _backend("keyrings.alt.file.EncryptedKeyring")


class _Chain:
    def __init__(self, *backends: Any) -> None:
        self.backends = backends


class _Core:
    """`keyring.core`: what it selects now, and once it looks again."""

    def __init__(self, *chosen: Any) -> None:
        self.chosen = list(chosen)
        self.looked_again = 0

    def get_keyring(self) -> Any:
        return self.chosen[0]

    def init_backend(self) -> None:
        self.looked_again += 1
        self.chosen = self.chosen[1:] or self.chosen


def _pick(*chosen: Any, strict: bool = True) -> Any:
    return keyring_store.pick(_Core(*chosen), object(), _Chain, strict=strict)


@pytest.mark.parametrize("name", sorted(keyring_store._ACCEPTED))
def test_the_systems_own_keyrings_are_accepted(name: str) -> None:
    """Secret Service, libsecret, KWallet, macOS."""
    one = _backend(name)
    assert _pick(one) is one


def test_a_chain_of_accepted_ones_is_its_first() -> None:
    """Two ways to the same Secret Service."""
    assert _pick(_Chain(SECRET_SERVICE, LIBSECRET)) is SECRET_SERVICE


def test_a_chain_with_a_stranger_decides_for_the_file_and_is_never_asked() -> None:
    """`keyrings.alt` beside it: no keyring where that is still open; where it was chosen, its accepted part alone."""
    with pytest.raises(KeyringFault, match=r"keyrings\.alt\.file"):
        _pick(_Chain(SECRET_SERVICE, ALT))
    assert _pick(_Chain(ALT, SECRET_SERVICE), strict=False) is SECRET_SERVICE


@pytest.mark.parametrize(
    "chosen",
    [_backend("keyring.backends.null.Keyring"), ALT, _Chain(ALT, ALT), _Chain(), _backend("mine.Keyring")],
    ids=["null", "alt", "chain of alt", "empty chain", "own"],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_may_lose_a_key_or_ask_on_standard_input_is_refused(chosen: Any, strict: bool) -> None:
    """Whatever the owner's keyringrc says."""
    with pytest.raises(KeyringFault, match="not one to trust") as caught:
        _pick(chosen, strict=strict)
    assert caught.value.kind == "absent"


def test_a_bus_that_came_up_later_is_found() -> None:
    """The library remembers that there was none; we look again."""
    assert _pick(FAIL, SECRET_SERVICE) is SECRET_SERVICE
    with pytest.raises(KeyringFault, match="no keyring here"):
        _pick(FAIL, FAIL)
