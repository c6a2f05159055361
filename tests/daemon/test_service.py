"""A daemon under a service manager: a real process, and a small manager that does what systemd does for a unit."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.restarts import Load, Trial
from hermes_router.control import types as t
from hermes_router.control.client import Client
from hermes_router.core.errors import ControlError

from .test_life import DAEMON, Home, Provider, _free_port, _gone, _until

MANAGER = Path(__file__).with_name("fake_systemd.py")
LIMIT_S = 30.0


class Service:
    """A unit of the fake manager; what that says is kept in `told`."""

    def __init__(self, home: Home, *flags: str, watchdog: str = "", ports: str = "", address: str = "") -> None:
        self.home = home
        self.told: list[dict[str, Any]] = []
        with (home.path / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, MANAGER, address or str(home.path / "notify"), watchdog, ports, "--", *DAEMON, *flags],
                env=home.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.told if one["kind"] == kind]

    def lines(self, pid: int | None = None) -> list[str]:
        """All that was said, by one process or any."""
        return [line for one in self.of("told") if pid in {None, one["pid"]} for line in one["lines"]]

    def statuses(self) -> list[str]:
        return [line.removeprefix("STATUS=") for line in self.lines() if line.startswith("STATUS=")]

    def until(self, found: Callable[[], Any]) -> Any:
        try:
            return _until(found)
        except AssertionError:
            raise AssertionError(f"it never came: {self.told[-20:]}\n{self.log()[-3000:]}") from None

    def ready(self) -> t.Ping:
        self.until(lambda: "READY=1" in self.lines())
        return self.home.ping()

    def command(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def log(self) -> str:
        return (self.home.path / "log").read_text()

    @property
    def main(self) -> int:
        return int([one for one in self.told if one["kind"] in {"started", "main"}][-1]["pid"])

    def stop(self) -> int:
        """As `systemctl stop`; the main process's exit code."""
        self.command("stop")
        self.process.wait(LIMIT_S)
        self._thread.join()
        return int(self.of("stopped")[0]["code"])

    def clean_up(self) -> None:
        for one in self.told:
            if one["kind"] in {"started", "main"}:
                self.home.pids.add(one["pid"])
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="hr-") as scratch:
        made = Home(Path(scratch))
        yield made
        made.clean_up()


@pytest.fixture
def service(home: Home) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def started(*flags: str, **options: str) -> Service:
        made.append(Service(home, *flags, **options))
        return made[-1]

    yield started
    for one in made:
        one.clean_up()


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.stop()


def test_it_says_when_callers_are_let_in(service: Callable[..., Service], home: Home) -> None:
    """READY=1 with a line for a person; run by systemd; STOPPING=1 and exit code 0 at the end."""
    unit = service()
    ping = unit.ready()
    assert home.health() == 200
    assert (ping.run, ping.pid) == ("systemd", unit.main)
    assert unit.statuses()[0] == "no targets: add a key with `hr auth add groq`"
    assert unit.stop() == 0
    assert "STOPPING=1" in unit.lines()
    assert unit.statuses()[-1] == "stopping"


def test_an_abstract_address_is_understood(service: Callable[..., Service], home: Home) -> None:
    """`@` stands for a NUL."""
    unit = service(address=f"@{home.path.name}")
    assert unit.ready().run == "systemd"


def test_the_main_process_follows_ten_restarts(service: Callable[..., Service], home: Home) -> None:
    """Each successor is the manager's own child and announced by its predecessor, which never speaks again."""
    unit = service(watchdog="2")
    pids = [unit.ready().pid]
    for _ in range(10):
        before = home.ping()
        after = home.restart()
        assert after.run == "systemd"
        assert after.instance != before.instance
        assert unit.main == after.pid  # the manager knows when the restart is done
        pids.append(after.pid)
    assert len(set(pids)) == 11
    assert all(one["is_child"] for one in unit.of("main"))
    for pid in pids[:-1]:
        _until(lambda pid=pid: _gone(pid))
        told = [one["lines"] for one in unit.of("told") if one["pid"] == pid]
        last = max(number for number, lines in enumerate(told) if any(line.startswith("MAINPID=") for line in lines))
        assert all(lines == ["BARRIER=1"] for lines in told[last + 1 :])
    assert "STOPPING=1" not in unit.lines()
    assert not unit.of("watchdog")
    assert len(unit.of("started")) == 1
    assert unit.stop() == 0
    assert _gone(pids[-1])


def test_restarts_under_load_lose_nothing(tmp_path: Path) -> None:
    """Kept and fresh connections and slow streams over three restarts of a service: refused, failed and cut 0."""

    class Managed(Trial):
        async def hr(self, env: dict[str, str], command: str) -> None:
            if command == "start":
                here: Any = SimpleNamespace(path=self.home, env=env, pids=set())
                self.unit = Service(here, watchdog="5")
                await asyncio.to_thread(self.unit.until, lambda: "READY=1" in self.unit.lines())
            elif command == "stop":
                await asyncio.to_thread(self.unit.stop)
                self.unit.clean_up()
            else:
                client = Client(self.home / "hr.sock")
                await asyncio.to_thread(client.call, "POST", "/v1/restart", t.Shutdown(), t.Done, timeout_s=60)

        def pid(self) -> int:
            return self.unit.main

    with tempfile.TemporaryDirectory(prefix="hr-") as scratch:
        tally = asyncio.run(Managed(Path(scratch), Load(keeping=3, fresh=2, streams=4, words=25)).run(3, 0.1))
    assert tally.clean, tally.report()
    assert tally.streams >= 4


def test_a_crash_of_a_successor_is_noticed(service: Callable[..., Service], home: Home) -> None:
    """Also once its predecessor has gone: the manager starts the service anew."""
    unit = service()
    first = unit.ready()
    second = home.restart()
    _until(lambda: _gone(first.pid))
    os.kill(second.pid, signal.SIGKILL)
    unit.until(lambda: len(unit.of("started")) == 2)
    unit.until(lambda: "READY=1" in unit.lines(unit.main))
    assert home.ping().pid == unit.main
    assert home.health() == 200


def test_a_crash_of_a_successor_beside_its_predecessor_is_noticed_at_once(
    service: Callable[..., Service], home: Home, provider: Provider
) -> None:
    """The predecessor still serves a stream; nobody waits for that to end."""
    home.env |= {"GROQ_BASE_URL": provider.base, "GROQ_API_KEY": "gsk_0123456789abcdefghij"}
    unit = service()
    first = unit.ready()
    response = home.stream()
    second = home.restart()
    os.kill(second.pid, signal.SIGKILL)
    unit.until(lambda: [one for one in unit.of("ended") if one["pid"] == second.pid and one["is_main"]])
    assert not _gone(first.pid)
    response.close()
    home.hang_up()


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_loop_that_hangs_is_ended_and_started_anew(
    service: Callable[..., Service], home: Home, restarts: int
) -> None:
    """The watchdog is fed by the main process, the first or a successor; stopped, it starves, and the next one serves."""
    unit = service(watchdog="1.5")
    unit.ready()
    for _ in range(restarts):
        home.restart()
    hung = unit.main
    fed = unit.lines(hung).count("WATCHDOG=1")
    unit.until(lambda: unit.lines(hung).count("WATCHDOG=1") > fed + 3)
    assert not unit.of("watchdog")
    os.kill(hung, signal.SIGSTOP)
    unit.until(lambda: unit.of("watchdog"))
    unit.until(lambda: len(unit.of("started")) == 2 and "READY=1" in unit.lines(unit.main))
    assert unit.of("watchdog")[0]["pid"] == hung
    assert home.health() == 200


def test_a_stop_ends_both_and_drains_what_the_predecessor_serves(
    service: Callable[..., Service], home: Home, provider: Provider
) -> None:
    """The signal reaches the main process alone: the stream of the process before it ends whole."""
    home.env |= {"GROQ_BASE_URL": provider.base, "GROQ_API_KEY": "gsk_0123456789abcdefghij", "DRAIN_SECONDS": "100"}
    unit = service()
    first = unit.ready()
    response = home.stream()
    home.restart()
    unit.command("stop")
    unit.until(lambda: "STOPPING=1" in unit.lines())
    assert "EXTEND_TIMEOUT_USEC=115000000" in unit.lines()  # longer than the unit's own limit
    unit.until(lambda: any("predecessor" in line for line in unit.statuses()))
    provider.go.set()
    assert response.read().decode().rstrip().endswith("[DONE]")
    response.close()
    home.hang_up()
    unit.process.wait(LIMIT_S)
    assert unit.of("stopped")[0]["code"] == 0
    _until(lambda: _gone(first.pid))


def test_a_stop_says_what_it_waits_for(service: Callable[..., Service], home: Home, provider: Provider) -> None:
    """`systemctl status` shows how many answers are under way."""
    home.env |= {"GROQ_BASE_URL": provider.base, "GROQ_API_KEY": "gsk_0123456789abcdefghij"}
    unit = service()
    unit.ready()
    response = home.stream()
    unit.command("stop")
    unit.until(lambda: "draining 1 answer" in unit.statuses())
    provider.go.set()
    response.read()
    response.close()
    home.hang_up()
    unit.process.wait(LIMIT_S)


def test_a_reload_is_told_and_a_refused_one_with_its_reason(service: Callable[..., Service], home: Home) -> None:
    """RELOADING=1 with the time, then READY=1, for SIGHUP and for `hr reload`; what was wrong stays until it is mended."""
    unit = service()
    unit.ready()
    home.settings(PORT="abc")
    unit.command("hup")
    unit.until(lambda: any("files not taken up" in line and "PORT" in line for line in unit.statuses()))
    (reloading,) = [one["lines"] for one in unit.of("told") if "RELOADING=1" in one["lines"]]
    (stamp,) = [line for line in reloading if line.startswith("MONOTONIC_USEC=")]
    assert abs(int(stamp.partition("=")[2]) / 1e6 - time.monotonic()) < LIMIT_S
    home.settings(PORT=str(home.port))
    home.client().call("POST", "/v1/reload", None, t.Reloaded)
    unit.until(lambda: unit.lines().count("RELOADING=1") == 2)
    unit.until(lambda: unit.lines().count("READY=1") == 3)
    assert "not taken up" not in unit.statuses()[-1]


def test_a_bad_configuration_leaves_the_main_process_as_it_is(service: Callable[..., Service], home: Home) -> None:
    """No successor, no word of one, and the watchdog is fed on."""
    unit = service(watchdog="2")
    before = unit.ready()
    home.settings(PORT="abc")
    with pytest.raises(ControlError, match="PORT"):
        home.restart()
    assert home.ping() == before
    assert not unit.of("main")
    fed = unit.lines(before.pid).count("WATCHDOG=1")
    unit.until(lambda: unit.lines(before.pid).count("WATCHDOG=1") > fed + 1)


def test_a_refused_start_is_told_to_the_manager(service: Callable[..., Service], home: Home) -> None:
    """`systemctl status` of a failed unit shows the sentence."""
    home.settings(PORT="abc")
    unit = service()
    unit.until(lambda: any("PORT" in line for line in unit.statuses()))
    unit.command("stop")


def test_sockets_of_the_manager_are_used_and_outlive_the_daemon(service: Callable[..., Service], home: Home) -> None:
    """Who connects while nobody serves is answered by the next one, after a crash as after restarts by `hr`."""
    unit = service(ports=str(home.port))
    unit.ready()
    assert home.health() == 200
    assert "hosts=127.0.0.1" in unit.log()
    home.restart()
    home.restart()
    asking = [threading.Thread(target=lambda: codes.append(home.health())) for _ in range(3)]
    codes: list[int] = []
    os.kill(unit.main, signal.SIGKILL)
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert codes == [200, 200, 200]
    assert "sockets.unused" not in unit.log()


def test_sockets_that_do_not_fit_are_left_alone_and_named(service: Callable[..., Service], home: Home) -> None:
    """The daemon listens where PORT says; mended, a restart takes the manager's sockets up, which no process has lost."""
    held = home.port
    home.port = _other_port(held)
    home.settings(PORT=str(home.port))
    unit = service(ports=str(held))
    assert unit.ready().port == home.port
    assert home.health() == 200
    assert f"the .socket unit holds 127.0.0.1:{held}" in unit.log()
    assert "ListenStream=" in unit.log()
    home.restart()
    home.settings(PORT=str(held))
    home.port = held
    assert home.restart().port == held
    assert home.health() == 200


def _other_port(port: int) -> int:
    while (found := _free_port()) == port:
        pass
    return found


def test_the_managers_variables_reach_no_command_of_ours(service: Callable[..., Service], home: Home) -> None:
    """A key command sees none of them, before and after a restart."""
    seen = home.path / "seen"
    home.env["GROQ_BASE_URL"] = "http://127.0.0.1:1/v1"
    unit = service(watchdog="20", ports=str(home.port))
    unit.ready()
    script = home.path / "key"
    script.write_text(f"#!/bin/sh\nenv >> {seen}\necho gsk_0123456789abcdefghij\n")
    script.chmod(0o755)
    asked = t.AddCredentials(provider="groq", command=[str(script)], test=False)
    home.client().call("POST", "/v1/credentials", asked, t.Added, timeout_s=20)
    first = seen.read_text()
    home.restart()
    home.client().call("POST", "/v1/reload", None, t.Reloaded, timeout_s=20)
    assert len(seen.read_text()) > len(first)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        assert name not in seen.read_text()


def test_a_unit_that_cannot_be_told_of_a_successor_is_not_handed_over(home: Home) -> None:
    """Without NOTIFY_SOCKET the manager would take the end of the predecessor for the service's: exit code 3."""
    code = (
        "import os, sys; me = str(os.getpid());"
        "os.execve(sys.executable, sys.argv[1:], {**os.environ, 'SYSTEMD_EXEC_PID': me, 'INVOCATION_ID': 'x'})"
    )
    with subprocess.Popen([sys.executable, "-c", code, *DAEMON], env=home.env, stderr=subprocess.DEVNULL) as daemon:
        _until(lambda: home.socket.exists() and home.client().ping())
        before = home.ping()
        assert before.run == "systemd"
        with pytest.raises(ControlError, match="cannot be told") as caught:
            home.restart()
        assert (caught.value.code, caught.value.exit_code) == ("unmanaged", 3)
        assert home.ping() == before
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(LIMIT_S) == 0


SERVICE_USER = 1500


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can be another user")
def test_the_system_service_lives_in_the_places_that_its_manager_made(home: Home) -> None:
    """As a user of its own, with directories of the modes that the unit asks for: kept, used, and root may change."""
    root = home.path / "root"
    home.path.chmod(0o755)
    modes = {"etc/hermes-router": 0o750, "var/lib/hermes-router": 0o700, "run/hermes-router": 0o750}
    for name, mode in modes.items():
        (root / name).mkdir(parents=True)
        (root / name).chmod(mode)
        os.chown(root / name, SERVICE_USER, SERVICE_USER)
    (root / "etc/hermes-router/.env").write_text(f"PORT={home.port}\n")
    (root / "etc/hermes-router/.env").chmod(0o644)
    environ = {**home.env, "HOME": "/nonexistent"}
    del environ["HERMES_ROUTER_SOCKET"]
    daemon = subprocess.Popen(
        ["setpriv", f"--reuid={SERVICE_USER}", f"--regid={SERVICE_USER}", "--clear-groups", *DAEMON, "--system", "--root", root],
        env=environ,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    home.processes.append(daemon)
    home.pids.add(daemon.pid)
    home.socket = root / "run/hermes-router/control.sock"
    _until(lambda: home.socket.exists() and home.client().ping())
    assert home.health() == 200
    assert {name: (root / name).stat().st_mode & 0o777 for name in modes} == modes
    asked = t.AddCredentials(provider="groq", lines=["gsk_0123456789abcdefghij"], test=False)
    assert home.client().call("POST", "/v1/credentials", asked, t.Added).rows[0].outcome == "stored"
    home.client().call("PATCH", "/v1/config", t.ChangeConfig(changes={"MIN_TIER": "2"}), t.Changed)
    assert "2" in (root / "etc/hermes-router/config.toml").read_text()
    made = {path.name: path.stat() for path in (root / "var/lib/hermes-router").iterdir()}
    assert {"secrets.json", "state.db", "daemon.lock", "credential.key"} <= made.keys()
    assert all((found.st_uid, found.st_mode & 0o777) == (SERVICE_USER, 0o600) for found in made.values())
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(LIMIT_S) == 0
    assert not home.socket.exists()
