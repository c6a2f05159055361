"""kill -9 of the daemon and of `hr` at random while keys and settings change: nothing is lost, nothing is torn."""

import asyncio
import json
import os
import random
import signal
import tomllib
from contextlib import suppress

from hermes_router.daemon import dotenv
from hermes_router.sandbox.providers import FakeProvider

from .home import Home

CHANGES = int(os.environ.get("HR_CHANGES", "14"))  # `make show` makes 200
SEED = int(os.environ.get("HR_SEED", "7"))


def key(number: int) -> str:
    return f"gsk_key_{number:04d}_0123456789ab{number:04d}"


class Book:
    """What must be there, what must not, and what may be either since its `hr` was killed."""

    def __init__(self) -> None:
        self.present: set[int] = set()
        self.unsure: set[int] = set()

    def acknowledged(self, number: int, *, added: bool) -> None:
        self.unsure.discard(number)
        (self.present.add if added else self.present.discard)(number)

    def interrupted(self, number: int) -> None:
        self.present.discard(number)
        self.unsure.add(number)


async def change(home: Home, book: Book, number: int, rng: random.Random) -> str:
    """One change, perhaps shot at; says what was shot."""
    adding = not book.present or rng.random() < 0.7
    if not adding:
        number = rng.choice(sorted(book.present))
    args = ["auth", "add", "groq", "--no-test"] if adding else ["auth", "remove", "groq", f"{number:04d}", "--yes"]
    process = await home.spawn(*args)
    shot = rng.choice(["nobody", "nobody", "hr", "daemon", "both"])
    talk = asyncio.create_task(process.communicate(f"{key(number)}\n".encode() if adding else b""))
    if shot != "nobody":
        await asyncio.wait({talk}, timeout=rng.uniform(0.05, 0.45))
    if shot in {"daemon", "both"}:
        for pid in home.daemons():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if shot in {"hr", "both"}:
        with suppress(ProcessLookupError):
            process.kill()
    await talk
    if process.returncode == 0:
        book.acknowledged(number, added=adding)
    else:
        book.interrupted(number)
    return shot


def whole(home: Home) -> None:
    """Every file parses, none is wider than 0600, and no temporary file is older than the run."""
    for path in home.files():
        assert path.stat().st_mode & 0o077 == 0, f"{path} is wider than 0600"
        if path.suffix == ".json" and not path.name.startswith("."):
            json.loads(path.read_text())
        if path.suffix == ".toml":
            tomllib.loads(path.read_text())
        if path.name == ".env":
            assert not dotenv.parse(path.read_bytes(), where="")[1]
        assert "aside" not in path.name, f"{path} was taken for damaged"


async def test_no_key_is_lost_and_no_file_torn(home) -> None:
    """After each kill the files are whole; at the end every key that `hr` confirmed is there, and in use."""
    rng = random.Random(SEED)
    provider = FakeProvider("groq", keys={key(n) for n in range(CHANGES)})
    here = await home(provider)
    book, shots = Book(), {"nobody": 0, "hr": 0, "daemon": 0, "both": 0}
    await here.hr("start", code=0)
    for number in range(CHANGES):
        shots[await change(here, book, number, rng)] += 1
        whole(here)
        if rng.random() < 0.3:
            value = str(10 + number)
            await here.hr("config", "set", "STALL_SECONDS", value, code=0)
            assert (await here.hr("config", "get", "STALL_SECONDS", code=0)).out.split()[0] == value
        if not here.daemons() and rng.random() < 0.7:  # else the next change works on the files
            await here.hr("start", code=0)
    if not here.daemons():
        await here.hr("start", code=0)
    listed = (await here.hr("auth", "list", "--json", code=0)).json
    tails = {int(row["tail"]) for row in listed["rows"] if row["provider"] == "groq"}
    print(f"{CHANGES} changes, shot: {shots}; {len(book.present)} keys confirmed, {len(book.present - tails)} lost")
    assert book.present <= tails <= book.present | book.unsure
    assert (await here.ask())[0] == 200 if tails else True
    whole(here)
