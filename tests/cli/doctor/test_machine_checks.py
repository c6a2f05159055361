"""hermes_router/cli/doctor/machine_checks.py: disks, limits, programs, the shell, each in order and out of it."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hermes_router.cli import completions
from hermes_router.cli.doctor import machine_checks as checks
from hermes_router.cli.doctor.scene import Scene

from .scenes import absent, looked, scene, states

MB = 1024 * 1024


@pytest.mark.parametrize(
    ("left", "files", "state"),
    [
        (10_000 * MB, 1_000_000, "ok"),
        (10_000 * MB, None, "ok"),
        (100 * MB, 1_000_000, "warning"),
        (5 * MB, 1_000_000, "fault"),
        (10_000 * MB, 500, "warning"),
        (10_000 * MB, 5, "fault"),
    ],
)
def test_room_in_bytes_and_in_files(left: int, files: int | None, state: str) -> None:
    """Either may be short; a filesystem that does not count files has none too few."""
    assert checks.judge_room("/var", left, files).state == state


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_found_where_it_is(tmp_path: Path, mounted: Path) -> None:
    """A real one, that holds the state only; the other places are on another."""
    at = scene(tmp_path)
    assert "fault" not in states(checks.disk, at)
    found = checks.disk(scene(tmp_path, places=at.places._replace(state_dir=mounted)))
    assert [one.state for one in found if one.subject == str(mounted)] == ["fault"]  # type: ignore[union-attr]


def test_a_read_only_state_is_found(tmp_path: Path, mounted: Path) -> None:
    """A real read-only filesystem; nothing is left in the places that can be written."""
    at = scene(tmp_path)
    assert looked(checks.writable, at).state == "ok"
    assert list(at.places.state_dir.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    found = looked(checks.writable, scene(tmp_path, places=at.places._replace(state_dir=mounted)))
    assert (found.state, "Read-only" in found.said) == ("fault", True)


def test_descriptors(tmp_path: Path) -> None:
    """A small limit is advice, one that is nearly used up a warning."""
    assert looked(checks.descriptors, scene(tmp_path)).state == "ok"
    assert looked(checks.descriptors, scene(tmp_path, said={"descriptors": 256})).state == "advice"
    used = {"descriptors": 1024, "descriptors_open": 1000}
    assert looked(checks.descriptors, scene(tmp_path, said=used)).state == "warning"
    assert looked(checks.descriptors, absent(tmp_path)).state == "skipped"


def test_memory(tmp_path: Path) -> None:
    """Of the daemon, and what is left on the machine."""
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "meminfo").write_text("MemTotal: 999 kB\nMemAvailable:   4000000 kB\n")
    assert looked(checks.memory, scene(tmp_path, proc=proc)).state == "ok"
    assert looked(checks.memory, scene(tmp_path, proc=proc, said={"memory_bytes": 2000 * MB})).state == "warning"
    (proc / "meminfo").write_text("MemAvailable:   20000 kB\n")
    assert looked(checks.memory, scene(tmp_path, proc=proc)).state == "warning"


def test_the_log(tmp_path: Path) -> None:
    """There, to be made, and in no place."""

    def at(path: Path) -> Scene:
        return scene(tmp_path, said={"log_file": str(path)})

    log = tmp_path / "state" / "daemon.log"
    assert looked(checks.log_file, at(log)).state == "ok"
    log.write_text("")
    assert looked(checks.log_file, at(log)).state == "ok"
    assert looked(checks.log_file, at(tmp_path / "nowhere" / "x.log")).state == "warning"
    assert looked(checks.log_file, scene(tmp_path)).state == "skipped"


def test_a_log_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this user."""
    log = tmp_path / "daemon.log"
    log.write_text("")
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert looked(checks.log_file, scene(tmp_path, said={"log_file": str(log)})).state == "warning"


def test_a_damaged_database_is_found(tmp_path: Path) -> None:
    """A page in its midst, or a file that is none; a sound one is well, and stays as it is."""
    at = scene(tmp_path)
    assert looked(checks.databases, at).state == "skipped"
    with closing(sqlite3.connect(at.places.database)) as database:
        database.execute("CREATE TABLE a (b TEXT)")
        database.executemany("INSERT INTO a VALUES (?)", [("x" * 1000,)] * 100)
        database.commit()
    before = at.places.database.read_bytes()
    assert looked(checks.databases, at).state == "ok"
    assert at.places.database.read_bytes() == before
    at.places.database.write_bytes(before[:8192] + b"\xff" * 8192 + before[16384:])
    assert looked(checks.databases, at).state == "fault"
    at.places.database.write_bytes(b"no database" * 1000)
    found = looked(checks.databases, at)
    assert (found.state, "state.db" in found.said) == ("fault", True)


def test_pythons() -> None:
    """Too old is a fault, newer than what was tried advice."""
    assert checks.judge_python((3, 11), "/usr/bin/python3").state == "ok"
    assert checks.judge_python((3, 10), "/usr/bin/python3").state == "fault"
    assert checks.judge_python((3, 99), "/usr/bin/python3").state == "advice"


def test_hr_is_found_once(tmp_path: Path) -> None:
    """Twice is a warning, a link to the same is none; nowhere is advice."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    path = os.pathsep.join(map(str, folders))

    def at() -> Scene:
        return scene(tmp_path, environ={"PATH": path})

    assert looked(checks.two_hr, at()).state == "advice"
    (folders[0] / "hr").write_text("#!/bin/sh\n")
    (folders[0] / "hr").chmod(0o755)
    (folders[1] / "hr").symlink_to(folders[0] / "hr")
    assert looked(checks.two_hr, at()).state == "ok"
    (folders[2] / "hr").write_text("#!/bin/sh\n")
    (folders[2] / "hr").chmod(0o755)
    found = looked(checks.two_hr, at())
    assert (found.state, "2 times" in found.said) == ("warning", True)


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("/bin/bash", ".local/share/bash-completion/completions/hr"),
        ("/usr/bin/zsh", ".zfunc/_hr"),
        ("/usr/bin/fish", ".config/fish/completions/hr.fish"),
    ],
)
def test_completion_of_each_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, place: str) -> None:
    """Where the shell looks; another shell is not looked at."""
    monkeypatch.setattr(completions, "BASH_COMPLETION", (str(tmp_path),))
    at = scene(tmp_path, environ={"SHELL": shell, "HOME": str(tmp_path)})
    assert looked(checks.completion, at).state == "advice"
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("")
    assert looked(checks.completion, at).state == "ok"
    assert looked(checks.completion, scene(tmp_path, environ={"SHELL": "/bin/dash"})).state == "skipped"


def test_bash_reads_completions_by_its_package_or_a_line_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file alone completes nothing: without bash-completion a line of ~/.bashrc must name it, or the command."""
    monkeypatch.setattr(completions, "BASH_COMPLETION", (str(tmp_path / "package"),))
    place = tmp_path / ".local/share/bash-completion/completions/hr"
    place.parent.mkdir(parents=True)
    place.write_text("")
    at = scene(tmp_path, environ={"SHELL": "/bin/bash", "HOME": str(tmp_path)})
    found = looked(checks.completion, at)
    assert (found.state, "bash-completion" in found.said, "~/.bashrc" in found.cure) == ("advice", True, True)
    for line in (f"source {place}", "source ~/.local/share/bash-completion/completions/hr"):
        (tmp_path / ".bashrc").write_text(f"{line}\n")
        assert looked(checks.completion, at).state == "ok"
    place.unlink()
    assert looked(checks.completion, at).state == "advice"
    (tmp_path / ".bashrc").write_text('eval "$(hr completions show bash)"\n')
    assert looked(checks.completion, at).state == "ok"
