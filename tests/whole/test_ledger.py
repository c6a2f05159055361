"""Nothing is forgotten: kill -9, a stop, a restart, a damaged file and a full disk, with the real daemon."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

from .home import KEY, Home

KEYS = {
    "GROQ_API_KEY": "sandbox-key",
    "MISTRAL_API_KEY": "sandbox-key",
    "GROQ_LIMITS": "rpd=50",
    "MISTRAL_LIMITS": "rpd=50",
}
SOON_S = 10.0


def file_of(home: Home) -> Path:
    return home.path / ".local/state/hermes-router/state.db"


def rows(home: Home) -> dict[str, Any]:
    """What the file holds, by `kind key` with blanks between the parts."""
    try:
        with closing(sqlite3.connect(f"{file_of(home).as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT kind, key, value FROM ledger").fetchall()
    except sqlite3.OperationalError:
        return {}
    return {" ".join([kind, *key.split()]): json.loads(value) for kind, key, value in found}


def used(home: Home) -> int:
    """Requests of the day that the file knows of, over both providers."""
    return sum(row["used"] for name, row in rows(home).items() if name.endswith("requests day"))


async def counted(home: Home) -> int:
    """The same as the daemon says it."""
    windows = [q for row in (await home.hr("status", "--json", code=0)).json["targets"] for q in row["quota"]]
    days = {q["scope"]: q["limit"] - q["remaining"] for q in windows if (q["unit"], q["window"]) == ("requests", "day")}
    return sum(days.values())


async def until_written(home: Home, number: int) -> float:
    """Until the file counts so many requests; how long that took, in seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while used(home) != number:
        assert loop.time() - began < SOON_S, rows(home)
        await asyncio.sleep(0.01)
    return loop.time() - began


async def kill(home: Home) -> None:
    for pid in home.daemons():
        os.kill(pid, signal.SIGKILL)
    while home.daemons():  # noqa: ASYNC110 - another process is awaited
        await asyncio.sleep(0.01)


async def stands(home: Home) -> dict[str, Any]:
    """Each target as `hr status --json` has it: state, reason, until, and its windows of a day with what is left."""
    status = (await home.hr("status", "--json", code=0)).json
    found = {}
    for row in status["targets"]:
        days = [(q["origin"], q["limit"], q["remaining"]) for q in row["quota"] if q["window"] == "day"]
        found[row["target"]] = (row["state"], row["reason"], row["until"], sorted(days))
    return found


async def test_kill_9_and_the_ledger_is_still_there(home) -> None:
    """Cooling targets cool as long as they were told to, and what was used of a window is used."""
    groq, mistral = FakeProvider("groq"), FakeProvider("mistral")
    here = await home(groq, mistral, **KEYS)
    groq.behave(faults.rate_limited(wait_s=600.0))
    await here.hr("start", code=0)
    for _ in range(4):
        assert (await here.ask())[0] == 200
    took = await until_written(here, 4)
    assert await counted(here) == 4
    before = await stands(here)
    assert "cooling" in {state for state, *_ in before.values()}
    await kill(here)
    await here.hr("start", code=0)
    assert await stands(here) == before
    assert (await here.ask())[0] == 200
    await until_written(here, 5)
    print(f"on the disk {took * 1000:.0f} ms after the last answer")


async def test_a_stop_writes_all_and_a_restart_hands_all_over(home) -> None:
    """No wait in between: what the last request changed is there, in the successor and in its file."""
    here = await home("groq", "mistral", **KEYS)
    await here.hr("start", code=0)
    assert (await here.ask())[0] == 200
    await here.hr("stop", code=0)
    assert used(here) == 1
    await here.hr("start", code=0)
    assert (await here.ask())[0] == 200
    await here.hr("restart", code=0)
    await until_written(here, 2)
    await kill(here)
    await here.hr("start", code=0)
    assert await counted(here) == 2


@pytest.mark.parametrize("harm", ["row", "cut"])
async def test_a_damaged_file_is_said_and_served_with(home, harm: str) -> None:
    """One warning that names the file, in the log and in the status; callers notice nothing."""
    here = await home("groq", "mistral", **KEYS)
    await here.hr("start", code=0)
    assert (await here.ask())[0] == 200
    await here.hr("stop", code=0)
    path = file_of(here)
    if harm == "cut":
        os.truncate(path, path.stat().st_size - 700)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE ledger SET value = replace(value, '50', '10') WHERE kind = 'meter'")
            connection.commit()
    await here.hr("start", code=0)
    assert (await here.ask())[0] == 200
    assert await counted(here) in {1, 2}  # whatever could still be read of the file counts
    await until_written(here, await counted(here))
    log = (here.path / ".local/state/hermes-router/daemon.log").read_text()
    assert len([line for line in log.splitlines() if "warning" in line and "state.db" in line]) == 1
    assert "state.db" in str((await here.hr("status", "--json", code=0)).json["problems"])


async def test_a_removed_key_leaves_no_row(home) -> None:
    """`hr auth remove` forgets it everywhere: with the daemon running, and without one."""
    here = await home(FakeProvider("groq", keys={"gsk_one_0123456789abcd1111", "gsk_two_0123456789abcd2222"}))
    await here.hr("start", code=0)
    keys = "gsk_one_0123456789abcd1111\ngsk_two_0123456789abcd2222\n"
    await here.hr("auth", "add", "groq", stdin=keys, code=0)
    ids = {row["tail"]: row["id"] for row in (await here.hr("auth", "list", "--json", code=0)).json["rows"]}
    for _ in range(4):
        assert (await here.ask())[0] == 200
    await here.hr("auth", "remove", "groq", "1111", "--yes", code=0)
    await here.hr("stop", code=0)
    assert ids["1111"] not in str(rows(here))
    assert ids["2222"] in str(rows(here))
    await here.hr("auth", "remove", "groq", "2222", "--yes", code=0)
    assert ids["2222"] not in str(rows(here))


async def looked_up(home: Home, name: str) -> tuple[int, int, str, bool]:
    """A pin asked for, then looked up, then looked for in the list: both statuses, what was said, whether it is there."""
    root = f"http://127.0.0.1:{home.port}/v1"
    body = {"model": name, "messages": [{"role": "user", "content": "say 5 words"}]}
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as http:
        async with http.post(f"{root}/chat/completions", json=body) as answer:
            status, said = answer.status, await answer.text()
        async with http.get(f"{root}/models/{name}") as one:
            known = one.status
        async with http.get(f"{root}/models") as every:
            return status, known, said, name in {model["id"] for model in (await every.json())["data"]}


async def test_a_key_that_is_taken_out_takes_no_name_with_it(home) -> None:
    """Over kill -9 and a handover: a 503 that says what to do, nobody else's answer; the next key serves it again."""
    here = await home("groq", "mistral", MISTRAL_API_KEY="sandbox-key", STRICT_MODELS="1")
    name = "groq/openai/gpt-oss-20b"
    await here.hr("start", code=0)
    assert (await looked_up(here, name))[0] == 404
    await here.hr("auth", "add", "groq", stdin="sandbox-key\n", code=0)
    assert (await looked_up(here, name))[::3] == (200, True)
    async with asyncio.timeout(SOON_S):
        while "served groq" not in rows(here):  # noqa: ASYNC110 - another process is awaited
            await asyncio.sleep(0.01)
    await here.hr("auth", "remove", "groq", "--yes", code=0)

    async def gone() -> None:
        for one in (name, "openai/gpt-oss-20b"):
            status, known, said, listed = await looked_up(here, one)
            assert (status, listed) == (503, False), said
            assert "`hr auth add groq` adds one" in said
            assert known == (200 if one == name else 404)  # the list has whole ids of no provider either

    await gone()
    await kill(here)
    await here.hr("start", code=0)
    await gone()
    await here.hr("restart", code=0)
    await gone()
    await here.hr("auth", "add", "groq", stdin="sandbox-key\n", code=0)
    assert (await looked_up(here, name))[::3] == (200, True)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    place = Path(f"/tmp/hr-small-{os.getpid()}")
    place.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        place.rmdir()
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


async def test_a_full_disk_is_served_through(home, small_disk: Path) -> None:
    """Callers are served, the status says why nothing is kept, and once there is room all of it is."""
    here = await home("groq", "mistral", **KEYS)
    file_of(here).parent.parent.mkdir(parents=True)
    file_of(here).parent.symlink_to(small_disk)
    await here.hr("start", code=0)
    assert (await here.ask())[0] == 200
    await until_written(here, 1)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4_096)
    for number in range(1, 7):
        assert (await here.ask(f"say {number} words " + "x" * 2_000))[0] == 200
    async with asyncio.timeout(SOON_S):
        while "cannot be written" not in str((await here.hr("status", "--json", code=0)).json["problems"]):
            assert (await here.ask("say 3 words"))[0] == 200
    filler.unlink()
    number = await counted(here)
    async with asyncio.timeout(40.0):
        while used(here) != number:  # noqa: ASYNC110 - another process is awaited
            await asyncio.sleep(0.05)
    assert "cannot be written" not in str((await here.hr("status", "--json", code=0)).json["problems"])
