"""Callers inside the box: `python load.py [NUMBER...]` asks until its standard input closes, then says what came of it.

The callers are those of `bench/restarts.py`: some keep their connections, some take a fresh one for every request, some
read streams of two seconds, and one measures how long a new connection waits for its answer.
"""

import asyncio
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # after the wheel's own

from bench import restarts
from bench.restarts import KEY, Load, Trial

PORT = 8319


class Caller(restarts.Caller):
    """As every HTTP library: a connection that the other side has closed meanwhile is not used again."""

    async def exchange(self, method: str, path: str, body: bytes = b"") -> bytes:
        if self.reader is not None and self.reader.at_eof():
            self.drop()
        return await super().exchange(method, path, body)


async def main() -> None:
    numbers = [int(word) for word in sys.argv[1:4]] or [3, 2, 4]
    restarts.Caller = Caller
    trial = Trial(Path("/nowhere"), Load(*numbers))
    trial.port = PORT
    callers = [asyncio.ensure_future(one) for one in trial.callers()]
    print("running", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    trial.over = True
    await asyncio.gather(*callers)
    tally = trial.tally
    waits = sorted(tally.waits_s)
    print(
        json.dumps(
            {
                "answers": tally.answers,
                "streams": tally.streams,
                "refused": tally.refused,
                "failed": tally.failed,
                "cut": tally.cut,
                "connections": len(waits),
                "longest_wait_s": round(waits[-1], 3) if waits else None,
                "median_wait_s": round(waits[len(waits) // 2], 4) if waits else None,
                "trouble": tally.trouble[:5],
            }
        )
    )


if __name__ == "__main__":
    assert KEY
    asyncio.run(main())
