"""The router as the system's service, under a real systemd: a user of its own, keys encrypted at rest, little else allowed."""

import json
from collections.abc import Iterator

import pytest

from .box import HR, Box
from .home import KEY, UNIT, answers, settings

GROQ = "key-groq-0123456789"


@pytest.fixture(scope="module")
def installed(box: Box) -> Iterator[str]:
    """`hr install-service --system` by root, with two keys on standard input; what it said."""
    box.check("mkdir", "-p", "/etc/hermes-router")
    lines = [line for line in settings().splitlines() if not line.startswith(("PROXY_API_KEYS", "GROQ_API_KEY"))]
    box.put("/etc/hermes-router/.env", "\n".join(lines) + "\n", mode=0o644)
    box.put("/etc/default/hermes-router", "HTTPS_PROXY=http://proxy.invalid:1\n", mode=0o600)
    words = ["install-service", "--system", "--credential", "GROQ_API_KEY", "--credential", "PROXY_API_KEYS"]
    done = box.hr(*words, user="root", given=f"{GROQ}\n{KEY}\n")
    assert done.code == 0, (done, box.journal("-u", UNIT))
    yield done.out
    box.hr("uninstall-service", "--system", "--force", user="root")


def test_it_runs_as_its_own_user_and_answers(box: Box, installed: str) -> None:
    """The key that callers show, and the provider's, come from encrypted credentials."""
    assert "active" in box.check("systemctl", "is-active", UNIT)
    assert box.check("systemctl", "show", UNIT, "-p", "User", "--value") == "hermes-router\n"
    assert answers(box)
    rows = json.loads(box.hr("auth", "list", "--json", user="root").out)["rows"]
    assert {row["provider"]: row["source"] for row in rows}["groq"] == "systemd credential"
    assert GROQ not in installed


def test_no_key_lies_about_in_clear(box: Box, installed: str) -> None:
    """Neither key is in a unit, nor in /etc, nor in the state, nor in a command line or the journal."""
    places = ["/etc/systemd/system", "/etc/hermes-router", "/etc/credstore.encrypted", "/var/lib/hermes-router"]
    for secret in (GROQ, KEY):
        assert box.run("grep", "-rlF", secret, *places).out == ""
        assert secret not in box.journal("-u", UNIT, lines=1000)
    assert box.path("/etc/credstore.encrypted/hermes-router.GROQ_API_KEY").stat().st_mode & 0o777 == 0o600


def test_places_have_the_modes_that_are_promised(box: Box, installed: str) -> None:
    """The group may reach the socket and nothing else; the daemon's state is its own."""
    shown = box.check("stat", "-c", "%n %a %U %G", "/run/hermes-router", "/run/hermes-router/control.sock", "/var/lib/hermes-router", "/etc/hermes-router", "/etc/hermes-router/.env")  # fmt: skip
    assert shown.splitlines() == [
        "/run/hermes-router 750 hermes-router hermes-router",
        "/run/hermes-router/control.sock 660 hermes-router hermes-router",
        "/var/lib/hermes-router 700 hermes-router hermes-router",
        "/etc/hermes-router 700 hermes-router hermes-router",
        "/etc/hermes-router/.env 600 hermes-router hermes-router",
    ]


def test_its_variables_come_from_a_file_of_roots(box: Box, installed: str) -> None:
    """systemd reads them as root, so none lies where the service's user could put a link."""
    pid = box.check("systemctl", "show", UNIT, "-p", "MainPID", "--value").strip()
    assert b"HTTPS_PROXY=http://proxy.invalid:1" in box.path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    shown = box.check("systemctl", "show", UNIT, "-p", "EnvironmentFiles", "--value")
    assert shown.split()[0] == "/etc/default/hermes-router"


def test_strangers_are_kept_out_the_group_looks_and_root_changes(box: Box, installed: str) -> None:
    """Exit 3 with what to do for whoever may not; root's changes are written where the service reads them."""
    box.add_user("reader")
    assert box.hr("status", user="reader").code == 3
    box.check("usermod", "-aG", "hermes-router", "reader")
    assert "groq" in box.hr("status", user="reader").out
    for words in (("restart",), ("stop",), ("config", "set", "LOG_LEVEL", "debug")):
        refused = box.hr(*words, user="reader")
        assert refused.code == 3, (words, refused)
        assert "sudo" in refused.err
    assert box.hr("config", "set", "LOG_LEVEL", "debug", user="root").code == 0
    assert "debug" in box.path("/etc/hermes-router/config.toml").read_text()
    before = box.check("systemctl", "show", UNIT, "-p", "MainPID")
    restarted = box.hr("restart", user="root")
    assert restarted.code == 0, restarted
    assert box.check("systemctl", "show", UNIT, "-p", "MainPID") != before
    assert answers(box)


def test_systemd_finds_it_sound_and_well_closed(box: Box, installed: str) -> None:
    """No complaint about the units, and an exposure of 2.0 at most."""
    for name in (UNIT, "hermes-router.socket"):
        done = box.run("systemd-analyze", "verify", f"/etc/systemd/system/{name}")
        assert (done.code, done.all) == (0, "")
    last = box.run("systemd-analyze", "security", UNIT, "--no-pager").out.strip().splitlines()[-1]
    exposure = float(last.split(":")[1].split()[0])
    print(f"\nexposure {exposure}")
    assert exposure <= 2.0, last


def test_a_dry_run_by_a_reader_shows_the_credentials_as_they_are(box: Box, installed: str) -> None:
    """Only root can list them: they are read from the unit, and it is said that nothing changes."""
    done = box.hr("install-service", "--system", "--dry-run", user="reader")
    assert done.code == 0, done
    assert "/etc/systemd/system/hermes-router.service stays as it is." in done.out
    assert "LoadCredentialEncrypted" not in done.out


def test_a_second_service_beside_it_is_refused(box: Box, installed: str) -> None:
    """Both would want the port: a person is told, and nothing is written."""
    done = box.hr("install-service", user="reader")
    assert done.code == 3
    assert "system service already" in done.err
    assert not box.path("/home/reader/.config/systemd/user").exists()


def test_an_interpreter_that_the_service_cannot_reach_is_named(box: Box, installed: str) -> None:
    """systemd would say 203/EXEC; here the part of the path is named, and how to install instead."""
    venv = "/home/reader/venv"
    box.check("mkdir", "-p", f"{venv}/bin")
    box.check("ln", "-s", box.python, f"{venv}/bin/python")
    box.check("ln", "-s", f"{HR}/lib", f"{venv}/lib")
    box.check("cp", f"{HR}/pyvenv.cfg", venv)
    main = "import sys; from hermes_router.cli.main import main; sys.exit(main())"
    done = box.run(f"{venv}/bin/python", "-P", "-c", main, "install-service", "--system", "--dry-run")
    assert done.code == 3
    assert f"{venv}/bin/python lies below /home" in done.err
    assert "pipx install --global" in done.err


def test_uninstalling_leaves_the_places_and_says_so(box: Box, installed: str) -> None:
    """No unit, no link and no open port; the keys stay where they are, and are named."""
    done = box.hr("uninstall-service", "--system", user="root")
    assert done.code == 0, done
    assert "/etc/credstore.encrypted/hermes-router.GROQ_API_KEY" in done.out
    assert box.run("find", "/etc/systemd/system", "-name", "hermes-router*").out == ""
    assert ":8319" not in box.run("ss", "-ltn").out
    assert box.hr("uninstall-service", "--system", user="root").out.startswith("No service is installed")


def test_a_unit_of_a_package_is_left_to_it(box: Box) -> None:
    """Also with --force: exit 3, where it lies and how to disable it; it stays enabled."""
    packaged = f"/usr/lib/systemd/system/{UNIT}"
    box.put(packaged, "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n")
    try:
        box.check("systemctl", "daemon-reload")
        box.check("systemctl", "enable", UNIT)
        done = box.hr("uninstall-service", "--system", "--force", user="root")
        assert (done.code, done.out) == (3, "")
        assert packaged.removeprefix("/usr") in done.err
        assert f"sudo systemctl disable --now {UNIT}" in done.err
        assert box.check("systemctl", "is-enabled", UNIT) == "enabled\n"
    finally:
        box.check("systemctl", "disable", UNIT)
        box.path(packaged).unlink()
        box.check("systemctl", "daemon-reload")
