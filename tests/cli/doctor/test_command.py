"""`hr doctor` against a scripted daemon and without one: what is asked, what is printed, how it ends."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_router.cli.doctor import scene as scenes
from hermes_router.cli.doctor.finding import ORDER, Check, Result, advice, fault, ok, skipped
from hermes_router.cli.doctor.screen import is_wrong, lines
from hermes_router.cli.doctor.table import CHECKS
from hermes_router.control import types as t

from ..conftest import Hr, Script
from .scenes import report, status

PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"
KEYS = {"id", "title", "state", "said", "cure", "took_ms", "group", "subject"}


@pytest.fixture
def well(home: Path, serve: Callable[..., Script]) -> Script:
    """A daemon that is asked, and has nothing to complain of."""
    return serve(
        {
            "GET /v1/status": status(),
            "GET /v1/health-report": report(home),
            "GET /v1/quota": t.QuotaReport(at=0.0),
            "GET /v1/keys": t.Keys(rows=[]),
        }
    )


def ran(hr: Hr, *more: str) -> dict[str, dict[str, object]]:
    """The findings by id."""
    done = hr("doctor", "--json", "--offline", *more)
    rows = json.loads(done.stdout)
    assert all(set(row) == KEYS and row["state"] in ORDER for row in rows)
    assert done.exit_code == int(any(row["state"] in {"fault", "warning"} for row in rows))
    return {row["id"]: row for row in rows}


def test_json_has_every_check_in_the_order_of_the_table(hr: Hr, well: Script) -> None:
    """Each once at least, whatever it found; the daemon is asked four questions and nothing is changed."""
    found = ran(hr)
    assert list(found) == [check.ident for check in CHECKS]
    assert {one.path for one in well.asked} == {
        "/v1/ping", "/v1/status", "/v1/health-report", "/v1/quota", "/v1/keys", "/v1/notify",
    }  # fmt: skip
    assert {one.method for one in well.asked} == {"GET"}
    assert found["daemon"]["state"] == "ok"
    assert found["network"]["state"] == "skipped"


def test_a_daemon_that_knows_no_report_is_helped_out(
    hr: Hr, well: Script, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one: then its files are read."""
    del well.answers["GET /v1/health-report"]
    monkeypatch.setattr("hermes_router.cli.doctor.scene.read_files", lambda *_a, **_k: (report(home, port=1), ""))
    assert ran(hr)["daemon"]["state"] == "ok"


def test_without_a_daemon_the_files_are_read(hr: Hr, home: Path) -> None:
    """In a HOME with nothing: two faults, and nothing is there afterwards."""
    done = hr("doctor", "--json", "--offline", env={"PORT": "0"})
    found = {row["id"]: row for row in json.loads(done.stdout)}
    assert (found["daemon"]["state"], found["keys"]["state"], done.exit_code) == ("fault", "fault", 1)
    assert found["settings"]["state"] == "ok"
    assert list(home.iterdir()) == []


def test_a_person_sees_what_is_wrong_first(hr: Hr, well: Script) -> None:
    """Groups with the worst first, a cure below each, what is well in one line; `--all` shows everything."""
    well.answers["GET /v1/status"] = status(targets=[], credentials=[])
    done = hr("doctor", "--offline", columns=100)
    assert done.exit_code == 1
    text = done.stdout
    assert text.index("no provider has a key") < text.index("The daemon")
    assert "→ `hr auth add PROVIDER` adds a key" in text.replace("\n", " ")
    assert "well: " in text
    assert text.rstrip().splitlines()[-1].startswith("Something is wrong: 1 fault")
    whole = hr("doctor", "--offline", "--all", columns=100).stdout
    assert "well: " not in whole
    assert "pid 4711" in whole
    assert all(len(line) <= 100 for line in whole.splitlines())


def test_help_says_how_it_ends(hr: Hr) -> None:
    """The exit codes."""
    said = " ".join(hr("doctor", "--help").stdout.split())
    assert "It ends with 0 where all is well or could only be better, and with 1" in said


def test_advice_is_not_wrong() -> None:
    """Nor is what was not looked at; the summary counts each."""
    check = Check("a", "Title", "Group", "", lambda _: ok(""))
    fine = [Result(check, one, 1) for one in (ok("x"), advice("y", "z"), skipped("w"))]
    assert not is_wrong(fine)
    assert lines(fine, 80, whole=False, took_s=0.2)[-1] == (
        "All is well: 1 to consider, 1 well, 1 not looked at, in 200 ms."
    )
    assert is_wrong([*fine, Result(check, fault("v", "u"), 1)])


def test_a_check_in_trouble_is_not_well_besides() -> None:
    """Where one of its findings is told, its title is not among those that are well."""
    check = Check("a", "Title", "Group", "", lambda _: ok(""))
    shown = lines([Result(check, ok("x"), 1), Result(check, fault("y", "z"), 1)], 80, whole=False, took_s=0.2)
    assert sum("Title" in line for line in shown) == 1


def test_a_reading_that_fails_is_told() -> None:
    """A program that cannot be run, one that hangs, one that says something else."""

    def hangs(*_args: object, **_more: object) -> "subprocess.CompletedProcess[bytes]":
        raise subprocess.TimeoutExpired("x", 1)

    def gone(*_args: object, **_more: object) -> "subprocess.CompletedProcess[bytes]":
        raise FileNotFoundError(2, "No such file")

    def says(code: int, out: bytes, err: bytes) -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
        return lambda *_args, **_more: subprocess.CompletedProcess([], code, out, err)

    for run, word in (
        (hangs, "within"),
        (gone, "No such file"),
        (says(1, b"", b"Traceback\nImportError: torn\n"), "torn"),
        (says(0, b"{", b""), "own report"),
    ):
        found, why = scenes.read_files({}, run=run)
        assert (found, word in why) == (None, True), why


def test_help_needs_none_of_it() -> None:
    """`hr --help` imports no check: it stays quick."""
    code = """
import sys
from hermes_router.cli.main import main
main(['--help'], standalone_mode=False)
sys.exit(any('doctor' in name for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0


def test_every_check_stands_on_its_page() -> None:
    """docs/doctor.md has a line for each id, with what it looks at; and none for what there is no longer."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows == [f"| `{one.ident}` | {one.group} | {one.what} |" for one in CHECKS]


def test_ids_are_unique_and_stable_words() -> None:
    """Scripts look for them."""
    idents = [one.ident for one in CHECKS]
    assert len(set(idents)) == len(idents)
    assert all(ident == ident.lower() and " " not in ident for ident in idents)
