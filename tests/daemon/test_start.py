"""hermes_router/daemon/start.py: flags, who is told, and who looks after this process. What it opens: test_main.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hermes_router.control.places import SYSTEM_SOCKET, user_places
from hermes_router.daemon import start
from hermes_router.daemon.managed import take
from hermes_router.daemon.start import Options, Refused, Teller, parse, run_of


def test_a_successor_gets_the_same_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file by its absolute path, since the successor stands elsewhere; neither pipe nor pair of its predecessor."""
    monkeypatch.chdir(tmp_path)
    options = parse(["--env-file", "own.env", "--detached", "--tell", "7"])
    assert options == Options(tmp_path / "own.env", detached=True, tell=7)
    assert parse(options.for_successor()) == Options(tmp_path / "own.env", detached=True)
    service = parse(["--system", "--root", str(tmp_path)])
    assert parse(service.for_successor()) == service


def test_detached_and_control_only_exclude_each_other() -> None:
    """A usage error is exit code 2."""
    with pytest.raises(SystemExit) as caught:
        parse(["--detached", "--control-only"])
    assert caught.value.code == 2


def test_help_names_what_a_person_may_say(capsys: pytest.CaptureFixture[str]) -> None:
    """The flags between processes are not for people."""
    with pytest.raises(SystemExit):
        parse(["--help"])
    shown = capsys.readouterr().out
    assert "--env-file" in shown
    assert "--handover" not in shown
    assert "--tell" not in shown


def _through_a_pipe(tell: Any) -> dict[str, Any]:
    reader, writer = os.pipe()
    tell(Teller(Options(tell=writer), None))
    with os.fdopen(reader) as pipe:
        found: dict[str, Any] = json.loads(pipe.read())  # to its end: the pipe is closed after one line
        return found


def test_whoever_waits_at_the_pipe_is_told_once() -> None:
    """Ready with where it is, or each sentence with the exit code; a second word is not said."""
    assert _through_a_pipe(lambda t: (t.ready({"pid": 5}), t.ready({"pid": 6}))) == {"ready": True, "pid": 5}
    told = _through_a_pipe(lambda t: t.refused(Refused(["a", "b"], 3, next_step="c")))
    assert told == {"ready": False, "said": ["a", "b"], "next": "c", "code": 3}


def test_whoever_has_gone_from_the_pipe_is_no_fault() -> None:
    """`hr start` was ended by Ctrl-C: the daemon goes on."""
    reader, writer = os.pipe()
    os.close(reader)
    Teller(Options(tell=writer), None).ready({})


def test_a_person_reads_sentences(capfd: pytest.CaptureFixture[str]) -> None:
    """Without pipe and pair they go to standard error, a line each, and below them what to do."""
    Teller(Options(), None).refused(Refused(["port 1 is taken", "HOST is odd"]))
    assert capfd.readouterr().err == "hr: port 1 is taken\nhr: HOST is odd\n"
    Teller(Options(), None).refused(Refused(["already running"], next_step="`hr stop` ends it"))
    assert capfd.readouterr().err == "hr: already running\n    `hr stop` ends it\n"


@pytest.mark.parametrize(
    ("options", "environ", "predecessor", "run"),
    [
        (Options(), {}, None, "foreground"),
        (Options(detached=True), {}, None, "detached"),
        (Options(control_only=True), {"SYSTEMD_EXEC_PID": "me", "INVOCATION_ID": "x"}, None, "control-only"),
        (Options(), {"SYSTEMD_EXEC_PID": "me", "INVOCATION_ID": "x"}, None, "systemd"),
        (Options(), {"WATCHDOG_PID": "me", "INVOCATION_ID": "x"}, None, "systemd"),
        (Options(), {"LISTEN_PID": "me", "INVOCATION_ID": "x"}, None, "systemd"),
        (Options(), {"SYSTEMD_EXEC_PID": "1", "INVOCATION_ID": "x"}, None, "foreground"),
        (Options(detached=True), {}, "detached", "detached"),
        (Options(), {"SYSTEMD_EXEC_PID": "1", "INVOCATION_ID": "x"}, "systemd", "systemd"),
    ],
)
def test_a_managers_variables_count_for_its_own_child_only(
    options: Options, environ: dict[str, str], predecessor: str | None, run: str
) -> None:
    """A terminal inherits INVOCATION_ID of its session's unit; a successor is looked after as its predecessor was."""
    environ = {name: str(os.getpid()) if value == "me" else value for name, value in environ.items()}
    inheritance: Any = None if predecessor is None else SimpleNamespace(run=predecessor)
    managed = take(environ, heir=inheritance is not None, on_its_own=options.detached or options.control_only)
    assert run_of(options, environ, inheritance, managed) == run


def test_the_readers_are_a_group_of_the_system_service_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, where there is one; a person's own daemon has no readers."""
    known = {"hermes-router": SimpleNamespace(gr_gid=77)}
    monkeypatch.setattr(start.grp, "getgrnam", known.__getitem__)
    own = user_places({})
    service = own._replace(socket=SYSTEM_SOCKET)
    assert [start._readers_gid(places) for places in (own, service)] == [None, 77]
    known.clear()
    assert start._readers_gid(service) is None


LAUNCHED = """
import os
from hermes_router.core.settings import Settings
from hermes_router.control.places import user_places
from hermes_router.daemon.start import _outlet
out, path = _outlet(Settings(log_file=os.environ.get("WANTED")), user_places(os.environ), "launchd", [])
print(path, getattr(out, "_limit", 0))
out.write("a line\\n")
"""


@pytest.mark.parametrize("where", ["Library/Logs/hermes-router/service.log", "elsewhere.log"])
def test_launchds_file_is_turned_where_it_is_ours(tmp_path: Path, where: str) -> None:
    """By the path that our LaunchAgent names; where standard error goes elsewhere, it is written there as it was."""
    log = tmp_path / where
    log.parent.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "HOME": str(tmp_path)}
    with log.open("a") as err:
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHED], env=environ, stdout=subprocess.PIPE, stderr=err, check=True
        )
    ours = where.startswith("Library")
    assert done.stdout.decode().strip() == (f"{log} 10000000" if ours else "0")
    assert log.read_text() == "a line\n"
    owned = tmp_path / "own.log"
    with log.open("a") as err:
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHED], env={**environ, "WANTED": str(owned)}, stdout=subprocess.PIPE,
            stderr=err, check=True,
        )  # fmt: skip
    assert (done.stdout.decode().strip(), owned.read_text()) == (f"{owned} 0", "a line\n")
