"""`hr setup --service` and what follows from it, under a real systemd: the shell's keys, the port, the journal."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .box import Box
from .home import KEY, Person, settings

PORT, OTHER = 8391, 8392
GROQ = "key-groq-0123456789"


@pytest.fixture(scope="module")
def eve(box: Box) -> Iterator[Person]:
    """Somebody who has set up a router as a service, with keys in the shell's environment alone."""
    box.add_user("eve")
    eve = Person(box, "eve")
    folder = f"{eve.home}/.config/hermes-router"
    box.check("mkdir", "-p", "-m700", folder, user="eve")
    lines = [line for line in settings().splitlines() if not line.startswith(("PROXY_API_KEYS", "GROQ_API_KEY"))]
    box.put(f"{folder}/.env", "\n".join([*lines, f"PORT={PORT}"]) + "\n", mode=0o600, user="eve")
    eve.said = eve.hr("setup", "--yes", "--service", env={"PROXY_API_KEYS": KEY, "GROQ_API_KEY": GROQ})  # type: ignore[attr-defined]
    yield eve
    eve.hr("uninstall-service", "--yes")


def code(box: Box, key: str, port: int = PORT) -> str:
    """What a caller with this key is answered."""
    url = f"http://127.0.0.1:{port}/v1/models"
    return box.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"authorization: Bearer {key}", url).out


def found(eve: Person) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in json.loads(eve.hr("doctor", "--offline", "--json").out)}


def test_the_shells_keys_go_along(box: Box, eve: Any) -> None:
    """Callers' keys and the provider's are good in a service that sees neither variable; the default one is as before."""
    assert eve.said.code == 0, eve.said
    assert "does not see what only this environment says" not in eve.said.out
    assert KEY not in eve.said.all
    assert GROQ not in eve.said.all
    assert (code(box, KEY), code(box, "sk-router-1")) == ("200", "401")
    rows = json.loads(eve.hr("auth", "list", "--json").out)["rows"]
    assert {row["provider"]: row["source"] for row in rows}["groq"] == "file"
    assert found(eve)["default-key"]["state"] == "ok"
    kept = eve.hr("key", "remove", "environment", "--yes")
    assert (kept.code, "last router key" in kept.err, code(box, KEY)) == (3, True, "200")


def test_a_port_that_the_socket_does_not_hold_is_told(eve: Person, box: Box) -> None:
    """By `hr service` and `hr doctor`, with the command that ends it."""
    assert found(eve)["service"]["state"] == "ok"
    assert eve.hr("config", "set", "PORT", str(OTHER)).code == 0
    told = found(eve)["service"]
    assert (told["state"], told["cure"]) == ("warning", "`hr install-service` mends it")
    shown = eve.hr("service")
    assert f"the .socket unit holds {PORT}, and PORT is {OTHER}" in " ".join(shown.out.split())
    assert eve.hr("install-service", "--yes").code == 0
    assert found(eve)["service"]["state"] == "ok"
    assert code(box, KEY, OTHER) == "200"


def test_what_was_said_before_a_crash_is_found(eve: Person, box: Box) -> None:
    """`hr logs --since` says where it is; the command that it names shows it."""
    pid = eve.pid()
    box.check("kill", "-9", str(pid))
    box.until(lambda: eve.pid() not in {0, pid} and code(box, KEY, OTHER) == "200", what="the next daemon")
    done = eve.hr("logs", "--since", "1h")
    assert f"pid={pid}" not in done.out
    (line,) = (line for line in done.err.splitlines() if "journalctl" in line)
    command = line.split("`")[1]
    assert command.startswith("journalctl --user-unit hermes-router --since ")
    env = {"XDG_RUNTIME_DIR": f"/run/user/{eve.uid}"}
    before = box.run("sh", "-c", f"{command} -q --no-pager -o json", user="eve", env=env).out
    assert any(json.loads(row).get("_PID") == str(pid) for row in before.splitlines())
