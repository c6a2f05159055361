"""`python -m tests.box.show`: the router as a service, from nothing to always on, in a real systemd, with its numbers.

A box is booted, the wheel installed, the service installed by a fresh user; it is restarted twenty times and upgraded
under a steady load, killed, hung and rebooted; then it is removed. Exit code 0 where nothing was refused, failed, cut or
lost in restarts, the upgrade and the kills.
"""

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from .box import Box, absent
from .home import UNIT, Person, Tally, add_upstreams, answers, load
from .second import built_as
from .test_upgrade import OFFLINE

VENV = "/home/agent/hermes-router"
NEXT = "0.1.1"


class Show:
    """The steps, and what they gave."""

    def __init__(self, box: Box, restarts: int, kills: int) -> None:
        self.box, self.restarts, self.kills = box, restarts, kills
        self.person = Person(box, "agent", VENV)
        self.numbers: dict[str, Any] = {}
        self.bad: list[str] = []

    def run(self) -> None:
        self.say("a fresh user, a venv of their own, the wheel")
        self.box.add_user("agent")
        self.box.install(VENV, user="agent")
        self.person.configure()
        if " setup " in self.hr("--help", quiet=True):
            self.hr("setup", "--yes", may_fail=True)
        self.hr("install-service")
        self.hr("service", "status")
        self.seamless()
        self.crashes()
        self.hangs()
        self.reboots()
        self.screens()
        self.times()
        self.hr("uninstall-service")

    def say(self, text: str) -> None:
        print(f"\n== {text}", flush=True)

    def hr(self, *words: str, quiet: bool = False, may_fail: bool = False, **more: Any) -> str:
        if not quiet:
            self.say(f"hr {' '.join(words)}")
        done = self.person.hr(*words, **more)
        if not quiet:
            print((done.out + done.err).rstrip())
        if done.code and not may_fail:
            self.bad.append(f"hr {' '.join(words)} ended with {done.code}")
        return str(done.out)

    def judge(self, what: str, tally: Tally) -> None:
        told = tally.told
        print(json.dumps(told))
        self.numbers[what] = {k: told[k] for k in ("answers", "streams", "refused", "failed", "cut", "longest_wait_s")}
        if told["refused"] or told["failed"] or told["cut"]:
            self.bad.append(f"{what}: {told['trouble']}")

    def seamless(self) -> None:
        """Restarts and an upgrade, all under one load."""
        self.say(f"{self.restarts} x hr restart, and an upgrade to {NEXT}, under load")
        took = []
        second = self.box.wheel(built_as(NEXT))
        with load(self.box) as tally:
            for _ in range(self.restarts):
                began = time.monotonic()
                self.hr("restart", quiet=True)
                took.append(time.monotonic() - began)
            self.hr("upgrade", "--yes", "--wheel", second, env=OFFLINE)
        self.judge("restarts and upgrade", tally)
        self.numbers["hr restart, median s"] = round(statistics.median(took), 2)
        self.say("systemctl --user restart, under load: systemd holds the port")
        with load(self.box, 0, 2, 3) as tally:
            time.sleep(1)
            self.person.systemctl("restart", UNIT)
        self.judge("systemctl restart", tally)

    def crashes(self) -> None:
        """kill -9 again and again: what was said to be kept is kept, and nobody is refused a connection."""
        self.say(f"{self.kills} x kill -9 under load")
        kept: set[str] = set()
        lost: list[str] = []
        back = []
        with load(self.box, 0, 2, 2) as tally:
            for number in range(self.kills):
                name = f"kept-{number}"
                if self.person.hr("key", "add", name).code == 0:
                    kept.add(name)
                self.box.run("kill", "-9", str(self.person.pid()))
                began = time.monotonic()
                self.until(lambda: answers(self.box))
                back.append(time.monotonic() - began)
                rows = json.loads(self.person.hr("key", "list", "--json").out)["rows"]
                lost += sorted(kept - {row["name"] for row in rows})
        told = tally.told
        print(json.dumps(told))
        self.numbers["kill -9"] = {
            "kills": self.kills, "acknowledged": len(kept), "lost": len(lost), "refused": told["refused"],
            "to an answer, median s": round(statistics.median(back), 2), "longest s": round(max(back), 2),
        }  # fmt: skip
        if lost or told["refused"]:
            self.bad.append(f"kill -9: lost {lost}, refused {told['refused']}")
        print(self.person.show("NRestarts", "ActiveState"))

    def hangs(self) -> None:
        self.say("a daemon that stands still, with WatchdogSec=2s")
        place = f"{self.person.home}/.config/systemd/user/{UNIT}.d/quick.conf"
        self.box.put(place, "[Service]\nWatchdogSec=2s\n", user="agent")
        self.person.systemctl("daemon-reload")
        self.person.systemctl("restart", UNIT)
        pid = self.person.pid()
        began = time.monotonic()
        self.box.run("kill", f"-{int(signal.SIGSTOP)}", str(pid))
        self.until(lambda: answers(self.box) and self.person.pid() != pid)
        self.numbers["hung to answering, s (WatchdogSec=2s)"] = round(time.monotonic() - began, 2)
        self.box.path(place).unlink()
        self.person.systemctl("daemon-reload")

    def reboots(self) -> None:
        self.say("reboot, nobody logged in")
        began = time.time()
        self.box.stop()
        down = time.time() - began
        self.box.power_on()
        self.until(lambda: answers(self.box))
        now = time.time()
        self.numbers["reboot, s"] = {"down": round(down, 2), "power-on to first answer": round(now - self.box.booted_at, 2),
                                     "reboot to first answer": round(now - began, 2)}  # fmt: skip
        print(self.numbers["reboot, s"])
        self.box.until(lambda: self.box.run("systemctl", "is-system-running").out.strip() in {"running", "degraded"})

    def screens(self) -> None:
        self.hr("status")
        if " doctor " in self.hr("--help", quiet=True):
            self.hr("doctor", may_fail=True, wait_s=120)
        self.say("systemctl --user status hermes-router")
        print(self.person.systemctl("status", UNIT, "--no-pager").out)
        self.say("journalctl --user-unit hermes-router")
        print(self.person.journal("-o", "short", "-n", "25"))
        if " man " in self.hr("--help", quiet=True):
            self.say("hr man | head -40")
            print("\n".join(self.person.hr("man").out.splitlines()[:40]))

    def times(self) -> None:
        """Median of seven."""
        shell = {"_HR_COMPLETE": "bash_complete", "COMP_WORDS": "hr auth add g", "COMP_CWORD": "3"}
        bare = self.median(lambda: self.box.run("true", user="agent"))
        for name, words, env in (("hr status, ms", ("status",), {}), ("hr TAB, ms", (), shell)):
            took = self.median(lambda: self.person.hr(*words, env=env))  # noqa: B023 - called at once
            self.numbers[name] = round((took - bare) * 1000)

    def median(self, work: Callable[[], object]) -> float:
        took = []
        for _ in range(7):
            began = time.monotonic()
            work()
            took.append(time.monotonic() - began)
        return statistics.median(took)

    def until(self, true: Callable[[], bool], limit_s: float = 30.0) -> None:
        deadline = time.monotonic() + limit_s
        while not true():
            if time.monotonic() > deadline:
                raise RuntimeError(self.box.journal())
            time.sleep(0.01)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.box.show", description=__doc__)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    why = absent()
    if why:
        print(f"no box can be made here: {why}")
        return 0
    began = time.monotonic()
    with Box() as box:
        print(
            f"a real systemd: {box.run('systemctl', '--version').out.splitlines()[0]}, up in {time.monotonic() - began:.1f} s"
        )
        box.install()
        add_upstreams(box)
        show = Show(box, options.restarts, options.kills)
        show.run()
    print("\n== numbers")
    for name, value in show.numbers.items():
        print(f"{name}: {value}")
    for one in show.bad:
        print(f"NOT as promised: {one}")
    return 1 if show.bad else 0


if __name__ == "__main__":
    sys.exit(main())
