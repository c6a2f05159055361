"""hermes_router/cli/service/install.py and what it stands on, with fake managers on PATH; tests/box has the real systemd."""

import errno
import os
import plistlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_router.cli import life
from hermes_router.cli.link import Link
from hermes_router.cli.service import files as service_files
from hermes_router.cli.service import init_system, install, reach, unit
from hermes_router.cli.service import writing as install_files
from hermes_router.cli.service.checks import would_lose
from hermes_router.cli.service.files import Wanted, compose
from hermes_router.cli.trouble import Trouble
from hermes_router.control import types as t
from hermes_router.control.client import Client

from .. import samples
from ..conftest import Hr, Script

LABEL = "dev.hermes-router"
IMPORTED = (install, life)  # before a test calls this machine a Mac: some modules look at that once
# What launchd.plist(5) says of the keys that we use; there is no linter for them.
PLIST: dict[str, type | tuple[type, ...]] = {
    "Label": str, "ProgramArguments": list, "EnvironmentVariables": dict, "RunAtLoad": bool, "KeepAlive": bool,
    "ThrottleInterval": int, "ExitTimeOut": int, "ProcessType": str, "Umask": int, "SoftResourceLimits": dict,
    "LimitLoadToSessionType": list, "StandardOutPath": str, "StandardErrorPath": str,
}  # fmt: skip
LAUNCHCTL = """#!/bin/sh
echo "$*" >> "{log}"
case "$1 $2" in
  "print gui/"*"/"*) [ -e "{log}.loaded" ] || exit 113; printf '\\tstate = running\\n\\tpid = 42\\n' ;;
  "bootstrap "*) touch "{log}.loaded" ;;
  "bootout "*) rm -f "{log}.loaded" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "{log}"
case "$*" in
  *" show "*) printf 'FragmentPath=\\nDropInPaths=\\nUnitFileState=\\nActiveState=inactive\\nNRestarts=0\\nMainPID=0\\n' ;;
  *is-active*) echo inactive; exit 3 ;;
esac
"""


def _config(**more: Any) -> t.Config:
    rows = [
        t.ConfigRow(name="HOST", value="127.0.0.1 and ::1", source="default"),
        t.ConfigRow(name="PORT", value="8319", source="default"),
    ]
    return t.Config(rows=[*rows, *more.get("rows", [])])


ANSWERS: dict[str, Any] = {
    "GET /v1/config": _config(),
    "GET /v1/credentials": t.Credentials(rows=[], providers=[]),
    "GET /v1/keys": t.Keys(rows=[t.KeyRow(id="i", name="PROXY_API_KEYS 1", tail="er-1", source="default")]),
    "GET /v1/status": samples.STATUS,
    "POST /v1/keys": t.AddedKey(row=t.KeyRow(id="a", name="agents", tail="wxyz", source="file"), key="sk-hr-minted"),
    "POST /v1/shutdown": t.Done(),
}


def _fake(home: Path, name: str, text: str) -> Path:
    """A program on PATH that writes down what it was told."""
    place, log = home / "bin" / name, home / f"{name}.log"
    place.parent.mkdir(exist_ok=True)
    place.write_text(text.format(log=log))
    place.chmod(0o755)
    return log


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever these tests run, the interpreter is in its place for good."""
    monkeypatch.setattr(reach, "fleeting", lambda _path: False)


@pytest.fixture
def mac(home: Path, hr: Hr, monkeypatch: pytest.MonkeyPatch, lasting: None) -> tuple[Hr, Path]:
    """`hr` on a Mac whose launchctl is ours."""
    log = _fake(home, "launchctl", LAUNCHCTL)
    monkeypatch.setattr(sys, "platform", "darwin")
    return lambda *words, **more: hr(*words, env={"PATH": f"{home}/bin:{os.environ['PATH']}"}, **more), log


@pytest.fixture
def linux(home: Path, hr: Hr, monkeypatch: pytest.MonkeyPatch, lasting: None) -> tuple[Hr, Path]:
    """`hr` beside a systemd that says yes to everything and does nothing."""
    log = _fake(home, "systemctl", SYSTEMCTL)
    _fake(home, "loginctl", SYSTEMCTL)
    _fake(home, "journalctl", "#!/bin/sh\necho a last line\n")
    monkeypatch.setattr(init_system, "_BOOTED", home)
    (home / "run").mkdir()
    (home / "run/bus").touch()
    env = {"PATH": f"{home}/bin:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(home / "run")}
    return lambda *words, **more: hr(*words, env=env, **more), log


def _ping(**more: Any) -> t.Ping:
    return t.Ping(
        version=samples.ping().version, pid=42, instance="run_a", port=8319, url="http://localhost:8319/v1", **more
    )


# --- macOS ----------------------------------------------------------------------------------------------


def test_a_mac_gets_a_launch_agent(mac: Any, home: Path, serve: Callable[..., Script]) -> None:
    """Written for launchd's eyes: known keys of the right types, absolute paths, not writable by others; then loaded."""
    hr, log = mac
    serve(
        ANSWERS
        | {
            "GET /v1/ping": lambda _asked: _ping(
                run="launchd" if log.exists() and "bootstrap" in log.read_text() else "control-only"
            )
        }
    )
    done = hr("install-service")
    assert done.exit_code == 0, done.output
    path = home / "Library/LaunchAgents" / f"{LABEL}.plist"
    assert path.stat().st_mode & 0o777 == 0o644
    made = plistlib.loads(path.read_bytes())
    assert {key: type(value) for key, value in made.items()} == PLIST
    assert made["Label"] == LABEL
    assert made["ProgramArguments"] == [sys.executable, "-P", "-m", "hermes_router.daemon"]
    assert made["EnvironmentVariables"]["HERMES_ROUTER_SOCKET"] == str(home / "s")
    assert made["Umask"] == 0o077
    assert made["ExitTimeOut"] > 60
    assert (home / "Library/Logs/hermes-router").is_dir()
    told = log.read_text().splitlines()
    uid = os.geteuid()
    assert told.index(f"enable gui/{uid}/{LABEL}") < told.index(f"bootstrap gui/{uid} {path}")
    assert "OPENAI_API_KEY=sk-hr-minted" in done.output
    assert "at each login" in done.output


def test_a_mac_stops_and_restarts_by_launchctl(mac: Any, home: Path, serve: Callable[..., Script]) -> None:
    """A stop must unload the agent, or launchd starts it again at once; a restart is kickstart -k."""
    hr, log = mac
    instances = iter(["run_a", *["run_b"] * 99])
    script = serve(ANSWERS | {"GET /v1/ping": _ping(run="launchd")})
    assert hr("install-service").exit_code == 0
    script.answers["GET /v1/ping"] = lambda _asked: t.Ping(version="1", pid=43, instance=next(instances), run="launchd")
    renewed = hr("restart")
    assert renewed.exit_code == 0, renewed.output
    assert f"kickstart -k gui/{os.geteuid()}/{LABEL}" in log.read_text().splitlines()
    assert hr("stop").exit_code == 0
    assert f"bootout gui/{os.geteuid()}/{LABEL}" in log.read_text().splitlines()
    assert hr("uninstall-service").exit_code == 0
    assert not (home / "Library/LaunchAgents" / f"{LABEL}.plist").exists()


def test_a_mac_has_no_system_service(mac: Any) -> None:
    """Said, with what to do instead."""
    hr, _ = mac
    done = hr("install-service", "--system")
    assert done.exit_code == 3
    assert "keychain" in done.output


# --- where there is no systemd, or it is not to be asked ------------------------------------------------


def test_without_systemd_it_says_what_to_do(hr: Hr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container, or a machine of another init: exit 3, one sentence each, and nothing is written."""
    monkeypatch.setattr(init_system, "_BOOTED", tmp_path / "absent")
    done = hr("install-service")
    assert done.exit_code == 3
    assert "systemd" in done.output
    assert "`hr start`" in done.output


def test_a_dry_run_writes_nothing(linux: Any, home: Path, serve: Callable[..., Script]) -> None:
    """Whole files on screen, none on the disk; the manager is asked, not told."""
    hr, log = linux
    serve(ANSWERS | {"GET /v1/ping": _ping(run="control-only")})
    done = hr("install-service", "--dry-run")
    assert done.exit_code == 0, done.output
    assert f"ExecStart={sys.executable} -P -m hermes_router.daemon" in done.output
    assert f"Environment=HERMES_ROUTER_SOCKET={home}/s" in done.output
    assert "ListenStream=127.0.0.1:8319" in done.output
    assert not (home / ".config").exists()
    assert all({"show", "--version"} & {*line.split()} for line in log.read_text().splitlines())


def test_a_dry_run_says_that_no_service_can_be(linux: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What would be written is shown where there is no systemd, too, beside why it would be of no use."""
    hr, _ = linux
    assert "no service could be installed" not in hr("install-service", "--dry-run").stderr
    monkeypatch.setattr(init_system, "_BOOTED", tmp_path / "absent")
    done = hr("install-service", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "no service could be installed: systemd does not run" in done.stderr
    assert "ExecStart=" in done.stdout
    monkeypatch.setattr(init_system, "absence", lambda scope="user": "" if scope == "system" else "ada has none")
    assert "ada has none: lingering would be switched on first" in hr("install-service", "--dry-run").stderr


def test_without_lingering_it_does_not_promise_the_boot(
    linux: Any, home: Path, serve: Callable[..., Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where lingering could not be switched on: exit 3 with the one command, and no word that it comes up by itself."""
    hr, _ = linux
    monkeypatch.setattr(unit, "_LINGER", home)
    monkeypatch.setattr(install, "_install", lambda *_all, **_more: _ping(run="systemd"))
    serve(ANSWERS | {"GET /v1/ping": _ping(run="systemd")})
    done = hr("install-service", "--yes")
    assert done.exit_code == 3
    assert "It comes up at each login, and after a crash." in done.stdout
    assert "when the machine boots" not in done.output
    assert "`sudo loginctl enable-linger" in done.stderr
    (home / init_system.user_name()).touch()
    done = hr("install-service", "--yes")
    assert (done.exit_code, "when the machine boots" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("version", "grows"), [("252 (252.39-1~deb12u2)", False), ("257 (257.9-1)", True), ("", False)]
)
def test_older_systemds_are_told_nothing_of_growing_pauses(linux: Any, home: Path, version: str, grows: bool) -> None:
    """They would warn at each start; from 254 on a unit has them."""
    hr, _ = linux
    systemctl = home / "bin/systemctl"
    told = systemctl.read_text().removeprefix("#!/bin/sh\n")
    systemctl.write_text(f"#!/bin/sh\n[ \"$1\" != --version ] || {{ echo 'systemd {version}'; exit; }}\n{told}")
    done = hr("install-service", "--dry-run")
    assert done.exit_code == 0, done.output
    assert ("RestartSteps=5" in done.stdout) is grows


def test_a_dry_run_starts_no_daemon(linux: Any, home: Path) -> None:
    """Nobody can be asked where the router listens: the usual port is shown, it says so, and nothing is made."""
    hr, _ = linux
    before = sorted(home.rglob("*"))
    done = hr("install-service", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "No router runs" in done.output
    assert "the default, 8319" in done.output
    assert "ListenStream=127.0.0.1:8319" in done.output
    assert [one for one in sorted(home.rglob("*")) if one.name != "systemctl.log"] == before


def test_a_dry_run_without_a_daemon_keeps_what_is_installed(
    linux: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses of the installed .socket unit, and the variables that go with them."""
    hr, _ = linux
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HERMES_ROUTER_SOCKET", str(home / "s"))
    told = {**service_files.moved_places(), "PORT": "9000"}
    made = compose(Wanted("user", service_files.program("user"), ("127.0.0.1:9000",), told))
    install_files.put({service_files.unit_paths("user")[name]: text for name, text in made.items()}, keep_old=False)
    done = hr("install-service", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "as in the installed unit" in done.output
    assert done.output.count("stays as it is.") == 2


def test_a_forced_unit_leaves_each_old_one(tmp_path: Path) -> None:
    """Nothing that was kept before is written over, and a link stays a link."""
    path = tmp_path / "hermes-router.service"
    for text in ("first", "second"):
        path.write_text(text)
        install_files.put({path: "ours"}, keep_old=True)
    path.unlink()
    path.symlink_to("elsewhere")
    install_files.put({path: "ours"}, keep_old=True)
    assert path.read_text() == "ours"
    assert (tmp_path / "hermes-router.service.old").read_text() == "first"
    assert (tmp_path / "hermes-router.service.old.1").read_text() == "second"
    assert (tmp_path / "hermes-router.service.old.2").readlink() == Path("elsewhere")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_full_disk_leaves_the_old_unit_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is on the disk before the old one is touched."""

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "hermes-router.service"
    path.write_text("mine")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Trouble, match="No space left"):
        install_files.put({path: "ours"}, keep_old=True)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(path.name, "mine")]


def test_an_old_unit_that_may_not_be_linked_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's file, or no hard links: its bytes are kept all the same."""

    def refuse(*_words: object, **_more: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "hermes-router.service"
    path.write_bytes(b"mine \xff\r\n")
    path.chmod(0o600)
    monkeypatch.setattr(os, "link", refuse)
    install_files.put({path: "ours"}, keep_old=True)
    assert path.read_text() == "ours"
    old = path.with_name(f"{path.name}.old")
    assert old.read_bytes() == b"mine \xff\r\n"
    assert old.stat().st_mode & 0o777 == 0o600


def test_who_may_not_list_the_credentials_reads_them_from_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run by anybody must not show them as removed."""

    class Closed:
        def iterdir(self) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        def __truediv__(self, name: str) -> Path:
            return Path("/etc/credstore.encrypted") / name

    monkeypatch.setattr(service_files, "CREDENTIALS", Closed())
    monkeypatch.setattr(service_files, "unit_paths", lambda _scope: {service_files.SERVICE: tmp_path / "unit"})
    assert service_files.stored_credentials() == ()
    names = ("GROQ_API_KEY", "PROXY_API_KEYS")
    made = compose(Wanted("system", ("/bin/true",), credentials=names))
    (tmp_path / "unit").write_text(made[service_files.SERVICE])
    assert service_files.stored_credentials() == names


@pytest.mark.parametrize("words", [(), ("--force",)])
def test_a_packaged_unit_is_not_said_to_be_removed(linux: Any, home: Path, words: tuple[str, ...]) -> None:
    """Refused with where it lies and how it is disabled; systemd is told nothing."""
    hr, log = linux
    packaged = home / "usr/hermes-router.service"
    packaged.parent.mkdir()
    packaged.write_text("[Service]\nExecStart=/bin/true\n")
    systemctl = home / "bin/systemctl"
    systemctl.write_text(systemctl.read_text().replace("FragmentPath=", f"FragmentPath={packaged}"))
    done = hr("uninstall-service", *words)
    assert done.exit_code == 3, done.output
    assert "Removed" not in done.output
    assert str(packaged) in done.output
    assert "systemctl --user disable --now hermes-router.service" in done.output
    assert packaged.exists()
    assert all("show" in line.split() for line in log.read_text().splitlines())


def test_what_only_the_shell_knows_stops_it(linux: Any, home: Path, serve: Callable[..., Script]) -> None:
    """A key that is exported in this shell would be lost to the service: nobody to ask, so exit 3 before any change."""
    hr, _ = linux
    key = t.CredentialRow(provider="groq", id="i", tail="3456", account="", source="environment")
    serve(
        ANSWERS
        | {
            "GET /v1/ping": _ping(run="detached"),
            "GET /v1/config": _config(rows=[t.ConfigRow(name="LOG_LEVEL", value="debug", source="environment")]),
            "GET /v1/credentials": t.Credentials(rows=[key], providers=[]),
        }
    )
    done = hr("install-service")
    assert done.exit_code == 3
    assert "LOG_LEVEL and the key …3456 of groq" in done.output
    assert "hr auth add" in done.output
    assert not (home / ".config").exists()


def test_what_is_kept_elsewhere_is_not_lost(serve: Callable[..., Script]) -> None:
    """A key that is in the vault, too, and a variable for which whoever calls us has cared."""
    key = t.CredentialRow(provider="groq", id="i", tail="3456", account="", source="environment", added_at=5.0)
    names = ("PROXY_API_KEYS", "GROQ_API_KEY", "GROQ_API_KEYS_2")
    config = _config(rows=[t.ConfigRow(name=name, value="…", source="environment") for name in names])
    row = t.ProviderRow(name="groq", title="Groq", state="on", variables=["GROQ_API_KEY"])
    found = t.Credentials(rows=[key], providers=[row])
    script = serve({"GET /v1/ping": _ping(run="detached"), "GET /v1/config": config, "GET /v1/credentials": found})
    link = Link(script.path, Client(script.path), _ping(run="detached"))
    assert would_lose(link) == ["PROXY_API_KEYS"]
    assert would_lose(link, ["PROXY_API_KEYS"]) == []


def test_a_service_that_does_not_come_up_shows_its_last_words(
    linux: Any, serve: Callable[..., Script], home: Path
) -> None:
    """The journal's end is on screen, and where there is more."""
    hr, _ = linux
    serve(ANSWERS | {"GET /v1/ping": _ping(run="control-only")})
    systemctl = home / "bin/systemctl"
    systemctl.write_text(systemctl.read_text().replace("ActiveState=inactive", "ActiveState=failed"))
    done = hr("install-service")
    assert done.exit_code == 1
    assert "a last line" in done.output
    assert "journalctl --user-unit" in done.output


def test_hr_stop_leaves_what_it_cannot_ask(
    hr: Hr, serve: Callable[..., Script], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """systemd would start the daemon again at once: without it nothing is done."""
    monkeypatch.setattr(init_system, "_BOOTED", tmp_path / "absent")
    script = serve({"GET /v1/ping": _ping(run="systemd")})
    done = hr("stop")
    assert done.exit_code == 3
    assert script.asks("POST") == []
