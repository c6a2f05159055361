"""The wheel: what is in it, what it says of itself, and that it works where it is installed."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from hermes_router import __version__

from ..wheel import ROOT, built

SHARED = {
    "bash-completion/completions/hr": "completions/hr.bash",
    "fish/vendor_completions.d/hr.fish": "completions/hr.fish",
    "man/man1/hr.1": "man/hr.1",
    "man/man5/hermes-router-config.5": "man/hermes-router-config.5",
    "man/man8/hermes-router.8": "man/hermes-router.8",
    "zsh/site-functions/_hr": "completions/_hr",
}


def _members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_what_the_program_needs_and_nothing_else() -> None:
    """All modules and data, templates, completions and man pages twice: in the package, and where systems look."""
    members = _members(built())
    info = f"hermes_router-{__version__}"
    for shared, source in SHARED.items():
        data = (ROOT / source).read_bytes()
        assert members[f"{info}.data/data/share/{shared}"] == data
        assert members[f"hermes_router/data/{source}"] == data
    for source in (ROOT / "hermes_router").rglob("*"):
        if source.suffix in {".py", ".toml", ".tsv"}:
            assert source.relative_to(ROOT).as_posix() in members
    tops = {name.split("/")[0] for name in members}
    assert tops == {"hermes_router", f"{info}.data", f"{info}.dist-info"}
    assert not [name for name in members if name.endswith(".pyc") or "tests/" in name]


def test_it_says_what_it_is() -> None:
    """One version, one licence with its text, the commands, and the Pythons that it is for."""
    members = _members(built())
    info = f"hermes_router-{__version__}.dist-info"
    said = Parser().parsestr(members[f"{info}/METADATA"].decode())
    assert said["Version"] == __version__
    assert said["License-Expression"] == "MIT"
    assert members[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert said["Requires-Python"] == ">=3.11"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    entries = members[f"{info}/entry_points.txt"].decode()
    for name in ("hr", "hermes-router"):
        assert f"{name} = hermes_router.cli.entry:main" in entries


def test_it_is_built_alike_each_time(tmp_path: Path) -> None:
    """From a copy of the tree at another time, and from the source distribution, comes the same, byte for byte."""
    python = [sys.executable, "-m"]
    subprocess.run([*python, "hatchling", "build", "-t", "sdist", "-d", tmp_path], cwd=ROOT, check=True, timeout=120)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (tree,) = (one for one in tmp_path.iterdir() if one.is_dir())
    assert (tree / "tests" / "packaging" / "test_wheel.py").is_file()
    for one in tree.rglob("*.py"):
        os.utime(one, (1_000_000_000, 1_000_000_000))
    subprocess.run(
        [*python, "hatchling", "build", "-t", "wheel", "-d", tmp_path / "w"], cwd=tree, check=True, timeout=120
    )
    (wheel,) = (tmp_path / "w").glob("*.whl")
    assert hashlib.sha256(wheel.read_bytes()).digest() == hashlib.sha256(built().read_bytes()).digest()


def _run(environ: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, env=environ, cwd=environ["HOME"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_installed_it_works(installed: Path, environ: dict[str, str]) -> None:
    """Both commands, the manual, the completions and TAB, from the installed files and not from this tree."""
    assert (
        _run(environ, "hr", "version") == _run(environ, "hermes-router", "version") == f"hermes-router {__version__}\n"
    )
    assert "What goes on" in _run(environ, "hr", "--help")
    page = Path(_run(environ, "hr", "man", "--path").strip())
    assert page.is_relative_to(installed.parent)
    assert page.read_bytes() == (ROOT / "man" / "hr.1").read_bytes()
    assert _run(environ, "hr", "completions", "show", "zsh").startswith("#compdef hr hermes-router\n")
    assert _run({**environ, "_HR_COMPLETE": "bash", "_HR_LINE": "hr auth add gro"}, "hr") == "groq\n"
    for shared in SHARED:
        assert (installed.parent / "share" / shared).is_file()


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed here")
def test_man_finds_its_pages(installed: Path, environ: dict[str, str]) -> None:
    """By its place beside `bin`, without a MANPATH."""
    for page, section in (("hr", "1"), ("hermes-router", "8"), ("hermes-router-config", "5")):
        found = _run(environ, "man", "-w", section, page).strip()
        assert Path(found).is_relative_to(installed.parent)
