"""`kill -9` in the middle of writing: nothing that was acknowledged is lost, no file is torn."""

import itertools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from .rings import ROOT, entry, names_in, secret, store_in, texts

_ROUNDS = 10
_LIMIT_S = 4.0

_WRITER = """
import asyncio, sys
from pathlib import Path
from tests.store.rings import ROOT, entry, names_in, secret, store_in

async def main():
    store = store_in(Path(sys.argv[1]), choice="file")
    number = int(sys.argv[2])
    print("up", flush=True)
    while True:
        number += 1
        await store.put(entry(number), secret(number))
        print("put", number, flush=True)
        if number % 3 == 0:
            await store.remove([entry(number - 1).id])
            print("removed", number - 1, flush=True)

asyncio.run(main())
"""


def test_kill_9_at_random_moments_loses_no_key(tmp_path: Path) -> None:
    """Writers killed in mid-write: every acknowledged key is there and readable, every removed one is gone, no damage.

    Only the one change that was under way may be found done or not done.
    """
    data, rng = tmp_path / "data", random.Random(20)
    there: set[int] = set()
    last = changes = 0
    began = time.monotonic()
    for _ in itertools.takewhile(lambda _: time.monotonic() - began < _LIMIT_S, range(_ROUNDS)):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(data), str(last)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "up\n"
            said = [writer.stdout.readline() for _ in range(rng.randrange(8))]
            time.sleep(rng.uniform(0.0, 0.01))
            writer.send_signal(signal.SIGKILL)
            lines = [line.split() for line in (*said, *writer.stdout)]
        for what, number in lines:
            last = max(last, int(number))
            (there.add if what == "put" else there.discard)(int(number))
        changes += len(lines)
        store = store_in(data, choice="file")
        assert store.problems == []
        found = {int(e.id, 16) for e in store.entries}
        assert found - there <= {last + 1}, "more than the change under way was done"
        assert there - found <= {last - 1}, "an acknowledged key is lost"
        assert texts(store) == {entry(n).id: secret(n).reveal() for n in found}
        there = found
        last = max(last, *found, 0)
    assert changes > 0
    assert {name for name in names_in(data) if not name.startswith(".")} == {"credentials.json", "secrets.json"}
