"""How this hermes-router came onto the machine, read from what each installer leaves behind.

Owns the recognition and the commands that upgrade it. It runs nothing; what it cannot tell it says, and guesses not.
"""

import importlib.metadata
import json
import os
import shutil
import site
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["DISTRIBUTION", "Installation", "recognise"]

DISTRIBUTION: Final = "hermes-router"
_INDEX: Final = (DISTRIBUTION,)


@dataclass(frozen=True, slots=True)
class Installation:
    """`how`: what installed it, in words. `upgrade`: the command that upgrades it from where it came from.

    `from_file`: the beginning of the command that upgrades it to a wheel, whose path is its last word. Where we must
    not run the command, `hands_off` says why, as a clause.
    """

    how: str
    place: Path
    upgrade: tuple[str, ...] = ()
    from_file: tuple[str, ...] = ()
    hands_off: str = ""


def recognise(
    prefix: Path = Path(sys.prefix), base: Path = Path(sys.base_prefix), python: str = sys.executable
) -> Installation:
    """This installation."""
    try:
        dist = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return Installation("files without an installation", prefix, hands_off="no installer knows of it")
    source = _editable(dist)
    if source is not None:
        return Installation(
            "a checkout, installed editable", source,
            ("git", "-C", str(source), "pull", "--ff-only"), hands_off="a checkout is its developer's to move",
        )  # fmt: skip
    if (prefix / "pipx_metadata.json").is_file():
        return _pipx(prefix)
    if (prefix / "uv-receipt.toml").is_file():
        return Installation(
            "uv tool", prefix, ("uv", "tool", "upgrade", DISTRIBUTION), ("uv", "pip", "install", "--python", python)
        )
    place = Path(str(dist.locate_file("")))
    if "Cellar" in prefix.parts:
        return Installation("Homebrew", prefix, ("brew", "upgrade", DISTRIBUTION), hands_off="Homebrew looks after it")
    if prefix != base:
        return _venv(prefix, python)
    owner = _package_manager(place)
    if owner:
        return Installation(owner[0], place, owner[1:], hands_off="the system's package manager looks after it")
    pip = (python, "-m", "pip", "install", "--upgrade")
    if place == Path(site.getusersitepackages()):
        return Installation("pip, for this user", place, (*pip, "--user", *_INDEX), (*pip, "--user"))
    if (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").exists():
        return Installation(
            "pip, in a Python that belongs to the system", place, (*pip, "--break-system-packages", *_INDEX),
            hands_off="this Python is the system's, and pip may break it",
        )  # fmt: skip
    return Installation("pip, for the whole machine", place, (*pip, *_INDEX), pip)


def _editable(dist: importlib.metadata.Distribution) -> Path | None:
    """Where the sources lie, if it was installed so that they are what runs."""
    try:
        told = json.loads(dist.read_text("direct_url.json") or "{}")
    except ValueError:
        return None
    if not told.get("dir_info", {}).get("editable"):
        return None
    return Path(str(told.get("url", "")).removeprefix("file://"))


def _pipx(prefix: Path) -> Installation:
    """Below a directory of pipx's (`venvs/NAME`): everybody's, this user's, or one that pipx must be told of."""
    home = prefix.parent.parent
    if _is(home, os.environ.get("PIPX_GLOBAL_HOME") or "/opt/pipx"):
        return _of_pipx("pipx, for everybody", prefix, "--global")
    told = os.environ.get("PIPX_HOME")
    if any(_is(home, place) for place in ([told] if told else _pipx_homes())):
        return _of_pipx("pipx", prefix)
    return Installation(
        f"pipx, in {home}",
        prefix,
        ("env", f"PIPX_HOME={home}", "pipx", "upgrade", prefix.name),
        hands_off="pipx looks elsewhere by itself; where it puts programs (PIPX_BIN_DIR) must be as it was, too",
    )


def _of_pipx(how: str, prefix: Path, *flags: str) -> Installation:
    return Installation(
        how,
        prefix,
        ("pipx", "upgrade", *flags, prefix.name),
        ("pipx", "runpip", *flags, prefix.name, "install", "--upgrade"),
    )


def _pipx_homes() -> list[Path]:
    """Where pipx keeps a user's venvs, by its versions and by system."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return [data / "pipx", home / ".local" / "pipx", home / "Library" / "Application Support" / "pipx"]


def _is(place: Path, other: str | Path) -> bool:
    return place.resolve() == Path(other).expanduser().resolve()


def _venv(prefix: Path, python: str) -> Installation:
    how = f"pip in a {'conda' if (prefix / 'conda-meta').is_dir() else 'virtual'} environment"
    if _has_pip(prefix):
        pip = (python, "-m", "pip", "install", "--upgrade")
        return Installation(how, prefix, (*pip, *_INDEX), pip)
    uv = ("uv", "pip", "install", "--python", python, "--upgrade")
    if shutil.which("uv") is None:
        return Installation(
            "a virtual environment without pip",
            prefix,
            (*uv, *_INDEX),
            hands_off="it has no pip, and uv is not on PATH",
        )
    return Installation("uv in a virtual environment", prefix, (*uv, *_INDEX), uv)


def _has_pip(prefix: Path) -> bool:
    return any(prefix.glob("lib/python3.*/site-packages/pip/__main__.py"))


def _package_manager(place: Path) -> tuple[str, ...]:
    """Its name and the command that upgrades, where a distribution's package holds the files."""
    if "dist-packages" in place.parts and place.is_relative_to("/usr/lib") and shutil.which("apt-get"):
        return ("a Debian package", "sudo", "apt-get", "install", "--only-upgrade", DISTRIBUTION)
    if place.is_relative_to("/usr/lib") or place.is_relative_to("/usr/lib64"):
        for program, *words in (("dnf", "upgrade"), ("zypper", "update"), ("pacman", "-S"), ("apk", "upgrade")):
            if shutil.which(program):
                return (f"a package of {program}'s", "sudo", program, *words, DISTRIBUTION)
    return ()
