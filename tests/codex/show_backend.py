"""What two accounts look like in use: `python -m tests.codex.show_backend`. All of it against the fakes, nothing kept.

Two accounts in sequential mode, the first one's window filling up, the change to the second, the windows in the ledger.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from .backend import Account
from .house import TOOL, CodexHouse

MODEL = "codex/gpt-6.1-sol"


async def main() -> None:
    """Print the course of ten requests."""
    first, second = Account("account-a", cost=20.0), Account("account-b", cost=5.0)
    with tempfile.TemporaryDirectory() as place:
        async with CodexHouse(Path(place), first, second, ROTATION_MODE="sequential") as house:
            write = sys.stdout.write
            await house.probing.refresh()
            write(f"models listed: {', '.join(str(m.id) for m in house.probing.listed()['codex'].models)}\n\n")
            for number in range(1, 9):
                answer = await house.chat(f"question {number}", model=MODEL, stream=bool(number % 2))
                write(f"{number}  {answer.status}  {answer.text!r:32} a: {first.served} served, {first.used:g} %   "
                      f"b: {second.served} served, {second.used:g} %\n")  # fmt: skip
            call = await house.chat("use a tool", model=MODEL, tools=[TOOL])
            write(f"\na call: {call.json['choices'][0]['message']['tool_calls'][0]['function']}\n")
            write(f"refused by the backend: {len(house.backend.refused)}\n\nwindows:\n")
            for scope, window in house.engine.state.windows(house.clock.now()):
                wait_s = (window.reset_at or house.clock.now()) - house.clock.now()
                write(f"  {scope}: {window.remaining} % of the {window.window} left, resets in {wait_s / 3600:.1f} h\n")


if __name__ == "__main__":
    asyncio.run(main())
