"""Key commands: their first line is the key, and nothing else of them is ever told."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import uvloop

from hermes_router.core.errors import VaultError
from hermes_router.store.command import MOST_GIVEN, NotRun, run_command, run_program


def _sh(program: str) -> list[str]:
    return ["/bin/sh", "-c", program]


@pytest.mark.parametrize(
    ("printed", "key"),
    [
        ("gsk_1\\n", "gsk_1"),
        ("gsk_1", "gsk_1"),
        ("\\n  gsk_1 \\r\\nlogin: me\\n", "gsk_1"),  # pass(1): the password first, notes below
    ],
)
async def test_the_first_line_is_the_key(printed: str, key: str) -> None:
    """Blanks around it do not count, nor do lines below it."""
    assert (await run_command(_sh(f"printf '{printed}'"))).reveal() == key


async def test_there_is_no_shell(tmp_path: Path) -> None:
    """Arguments arrive as they are."""
    text = f"$(touch${{IFS}}{tmp_path}/x);`id`"
    assert (await run_command(["/bin/echo", text])).reveal() == text
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["no-such-program-here", "hunter2"], "cannot be started: No such file"),
        (["/", "hunter2"], "cannot be started: Permission denied"),
        (["/bin/echo", "hunter2\0"], "cannot be passed on"),
        ([], "cannot be"),
        (_sh("echo hunter2; echo hunter2 >&2; exit 3"), "ended with status 3"),
        (_sh("kill -9 $$"), "ended with signal 9"),
        (_sh(":"), "printed nothing"),
        (_sh("printf '\\n \\n'"), "printed nothing"),
        (_sh("echo hunter2 is my password"), "no key: it holds spaces"),
        (_sh("printf 'hunter2\\377'"), "not text"),
        (_sh("head -c 100000 /dev/zero"), "more than 64 KB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_command_that_fails_is_named_without_what_it_says(argv: Sequence[str], said: str) -> None:
    """Program and reason, and what to do; neither output nor arguments, which may be a secret."""
    with pytest.raises(VaultError, match=said) as caught:
        await run_command(argv)
    assert "hunter2" not in str(caught.value) + caught.value.next_step
    assert "by hand" in caught.value.next_step


async def test_standard_error_and_input_are_not_ours(capfd: pytest.CaptureFixture[str]) -> None:
    """What it says there does not reach our log, and it waits for no input."""
    assert (await run_command(_sh("echo hunter2 >&2; cat; echo gsk_1"))).reveal() == "gsk_1"
    assert capfd.readouterr() == ("", "")


async def test_after_the_limit_nothing_of_it_is_left(tmp_path: Path) -> None:
    """Also its children, which hold its output open, are killed."""
    pids = tmp_path / "pids"
    began = time.perf_counter()
    with pytest.raises(VaultError, match=r"did not end within 0\.3 s"):
        await run_command(_sh(f"echo $$ > {pids}; sleep 60 & echo $! >> {pids}; wait"), limit_s=0.3)
    assert time.perf_counter() - began < 5
    for pid in map(int, pids.read_text().split()):
        assert await _gone(pid)


async def test_a_reader_that_leaves_takes_the_command_with_it(tmp_path: Path) -> None:
    """Cancelled, the process is killed and waited for."""
    pid = tmp_path / "pid"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run_command(_sh(f"echo $$ > {pid}; exec sleep 60")), 0.3)
    assert await _gone(int(pid.read_text()))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"  # killed; whoever adopted it has not looked yet


async def _gone(pid: int) -> bool:
    for _ in range(500):
        if not _runs(pid):
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_program_that_does_not_read_its_input_is_none_that_fails(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """It may end before anything was written, on either loop, time and again."""

    async def many() -> set[int]:
        return {(await run_program(["true"], given=b"x" * MOST_GIVEN))[0] for _ in range(50)}

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(many()) == {0}


async def test_a_program_reads_all_that_it_is_given_and_then_the_end() -> None:
    """Whole, and nothing of ours keeps it waiting for more."""
    given = os.urandom(MOST_GIVEN)
    assert await run_program(["cat"], given=given, listens=True) == (0, given)


async def test_its_environment_is_what_it_is_given() -> None:
    """Nothing else of ours; without one, all of ours."""
    status, printed = await run_program(["/usr/bin/env"], environ={"A": "b"}, listens=True)
    assert (status, printed) == (0, b"A=b\n")
    assert b"PATH=" in (await run_program(["/usr/bin/env"], listens=True))[1]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_no_pipe_is_left_open() -> None:
    """Neither end, also where the program cannot be started."""
    before = descriptors()
    for _ in range(5):
        with pytest.raises(NotRun):
            await run_program(["/no/such/program"], given=b"x")
        await run_program(["true"], given=b"x")
    assert descriptors() <= before + 1
