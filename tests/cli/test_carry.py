"""`hr export` and `hr import` against a scripted daemon: the file, its mode, what is asked and how it ends."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hermes_router.cli.main import main
from hermes_router.control import carry_types as c

from .conftest import Hr, Script

BUNDLE = c.Bundle(made_by="0.1.0", settings={"MIN_TIER": "2"}, left_out=["2 provider keys: secret, see --with-secrets"])
SECRET = c.Bundle(
    with_secrets=True, keys=[c.Given(provider="groq", key="gsk-canary")], accounts=[{"refresh_token": "canary"}]
)


def plan(*rows: tuple[str, str], applied: bool = False, said: str = "", notes: tuple[str, ...] = ()) -> c.Carried:
    return c.Carried(
        notes=list(notes),
        rows=[c.CarriedRow(kind="setting", name=name, outcome=outcome, said=said) for name, outcome in rows],
        applied=applied,
    )


@pytest.fixture
def old(serve: Any) -> Script:
    """A daemon that gives a bundle: with secrets where those are asked for."""
    return serve({"POST /v1/export": lambda asked: SECRET if asked.body["with_secrets"] else BUNDLE})


@pytest.fixture
def new(serve: Any) -> Script:
    """A daemon into which one setting would come."""
    return serve({"POST /v1/import": lambda asked: plan(("MIN_TIER", "new"), applied=asked.body["apply"])})


@pytest.fixture
def file(home: Path) -> Path:
    path = home / "set-up.json"
    path.write_bytes(msgspec.json.encode(BUNDLE))
    return path


# --- export ---------------------------------------------------------------------------------------------


def test_a_set_up_goes_to_a_private_file(hr: Hr, old: Script, home: Path) -> None:
    """0600, one readable file, nothing else beside it; what was left out is named."""
    path = home / "out.json"
    done = hr("export", str(path))
    assert done.exit_code == 0
    assert json.loads(path.read_text())["settings"] == {"MIN_TIER": "2"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "\n" in path.read_text()
    assert [one.name for one in home.iterdir() if one.name.startswith(".")] == []
    assert "Left out: 2 provider keys" in done.stderr
    assert "canary" not in done.output


def test_a_redirected_output_with_secrets_is_closed_to_others(
    old: Script, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`> file` makes it with the umask's mode: it is 0600 before the daemon is asked; without secrets it stays."""
    path, modes = home / "out.json", []
    monkeypatch.setenv("HERMES_ROUTER_SOCKET", str(old.path))

    def given(asked: Any) -> c.Bundle:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        return SECRET if asked.body["with_secrets"] else BUNDLE

    old.answers["POST /v1/export"] = given
    for option in ([], ["--with-secrets"]):
        with path.open("w") as out:
            path.chmod(0o644)
            monkeypatch.setattr(sys, "stdout", out)
            main(["export", *option], standalone_mode=False)
            monkeypatch.undo()
            monkeypatch.setenv("HERMES_ROUTER_SOCKET", str(old.path))
    assert modes == [0o644, 0o600]
    assert "gsk-canary" in path.read_text()


def test_a_file_that_is_there_is_not_overwritten(hr: Hr, old: Script, home: Path) -> None:
    """Exit 3; with --force it is, and is then closed to others whatever it was before."""
    path = home / "out.json"
    path.write_text("mine")
    path.chmod(0o644)
    done = hr("export", str(path))
    assert (done.exit_code, path.read_text()) == (3, "mine")
    assert old.asks("POST") == []
    assert hr("export", str(path), "--force").exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_file_it_goes_into_the_pipe(hr: Hr, old: Script) -> None:
    """Standard output is the file and nothing else."""
    assert json.loads(hr("export").stdout)["version"] == 1
    assert json.loads(hr("export", "-", "--with-secrets").stdout)["keys"][0]["key"] == "gsk-canary"


def test_secrets_are_said_to_be_in_clear(hr: Hr, old: Script, home: Path) -> None:
    """And a login that it cannot live on two machines."""
    done = hr("export", str(home / "out.json"), "--with-secrets")
    said = " ".join(done.stderr.split())
    assert "secrets in clear" in said
    assert "must not live on two machines" in said
    assert "canary" not in done.output


# --- import ---------------------------------------------------------------------------------------------


def test_what_the_daemon_notes_is_said_once(hr: Hr, new: Script, file: Path) -> None:
    """With the plan what is not in the file, and after it what waits for a restart; with --json in the object alone."""
    left, waits = "Not in the file: a login.", "A daemon that runs takes up PORT with `hr restart`."
    new.answers["POST /v1/import"] = lambda asked: plan(
        ("PORT", "new"), applied=asked.body["apply"], notes=(left, waits) if asked.body["apply"] else (left,)
    )
    done = hr("import", str(file), "--yes")
    assert (done.exit_code, done.stderr.count(left), done.stderr.count(waits)) == (0, 1, 1)
    done = hr("import", str(file), "--yes", "--json")
    assert (json.loads(done.stdout)["notes"], done.stderr) == ([left, waits], "")


def test_it_shows_then_asks_then_does(hr: Hr, new: Script, file: Path) -> None:
    """With --yes: first a look, then the same for good; nothing is tested unless asked."""
    done = hr("import", str(file), "--yes")
    assert done.exit_code == 0, done.output
    assert [one.body["apply"] for one in new.asks("POST")] == [False, True]
    assert all(not one.body["test"] and not one.body["accounts"] for one in new.asks("POST"))
    assert "MIN_TIER" in done.stdout
    assert "Imported: 1 thing" in done.stdout


def test_nobody_to_ask_is_no_consent(hr: Hr, new: Script, file: Path) -> None:
    """In a pipe without --yes: exit 2, and only a look was taken."""
    assert hr("import", str(file)).exit_code == 2
    assert [one.body["apply"] for one in new.asks("POST")] == [False]


def test_a_dry_run_only_looks(hr: Hr, new: Script, file: Path) -> None:
    """Exit 0, the table, and nothing applied."""
    done = hr("import", str(file), "--dry-run", "--json")
    assert (done.exit_code, json.loads(done.stdout)["applied"]) == (0, False)
    assert [one.body["apply"] for one in new.asks("POST")] == [False]


def test_conflicts_end_it(hr: Hr, new: Script, file: Path) -> None:
    """Exit 3 with their names; --keep and --force are handed on, and exclude one another."""
    new.answers["POST /v1/import"] = plan(("MIN_TIER", "conflict"), ("MODE", "new"), said="/x/.env:2 says otherwise")
    done = hr("import", str(file), "--yes")
    assert done.exit_code == 3
    assert "setting MIN_TIER differs here; nothing was changed" in " ".join(done.stderr.split()).replace(
        "Setting", "setting"
    )
    assert "--keep" in done.stderr
    assert hr("import", str(file), "--yes", "--dry-run").exit_code == 3
    new.answers["POST /v1/import"] = lambda asked: plan(("MIN_TIER", "kept"), ("M", "new"), applied=asked.body["apply"])
    assert hr("import", str(file), "--yes", "--keep").exit_code == 0
    assert new.asked[-1].body["conflicts"] == "keep"
    assert hr("import", str(file), "--yes", "--force").exit_code == 0
    assert new.asked[-1].body["conflicts"] == "replace"
    assert hr("import", str(file), "--keep", "--force").exit_code == 2


def test_nothing_new_is_said(hr: Hr, new: Script, file: Path) -> None:
    """A second import has nothing to do, and asks nobody."""
    new.answers["POST /v1/import"] = plan(("MIN_TIER", "same"))
    done = hr("import", str(file))
    assert (done.exit_code, "nothing to change" in done.stdout) == (0, True)


def test_what_failed_is_told(hr: Hr, new: Script, file: Path) -> None:
    """A key that its provider rejects is exit 3, a command that fails exit 1; the rest is in place."""
    for said, code in (("Groq rejects this key", 3), ("the program is missing", 1)):
        new.answers["POST /v1/import"] = lambda asked, said=said: plan(
            ("k", "failed" if asked.body["apply"] else "new"), applied=asked.body["apply"], said=said
        )
        assert hr("import", str(file), "--yes", "--test").exit_code == code


@pytest.mark.parametrize(
    ("content", "ends"),
    [
        (b'{"hermes_router": "set-up", "version": 2, "new": true}', (3, "later version")),
        (b'{"hermes_router": "set-up", "version": 1, "settings": 5}', (2, "damaged")),
        (b'{"version": 1}', (2, "no set-up")),
        (b"\xff\xfe", (2, "no set-up")),
        (b"[" * 100_000, (2, "no set-up")),
        (b" " * 1_100_000, (2, "larger")),
    ],
)
def test_what_is_no_set_up_is_refused(hr: Hr, new: Script, home: Path, content: bytes, ends: tuple[int, str]) -> None:
    """By its own reason, before the daemon is asked; a later version's is exit 3."""
    path = home / "x.json"
    path.write_bytes(content)
    done = hr("import", str(path), "--yes")
    assert (done.exit_code, ends[1] in done.stderr) == (ends[0], True), done.stderr
    assert new.asks("POST") == []


def test_it_comes_from_a_pipe(hr: Hr, new: Script) -> None:
    """`-`, with --yes."""
    done = hr("import", "-", "--yes", input=msgspec.json.encode(BUNDLE))
    assert done.exit_code == 0, done.output


def test_a_file_with_secrets_that_others_can_read_is_pointed_out(hr: Hr, new: Script, home: Path) -> None:
    """It was copied without its mode."""
    path = home / "x.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(SECRET), indent=1))
    path.chmod(0o644)
    assert "others can read it" in hr("import", str(path), "--yes").stderr
    path.chmod(0o600)
    assert "others can read it" not in hr("import", str(path), "--yes").stderr
