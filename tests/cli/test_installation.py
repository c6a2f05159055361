"""hermes_router/cli/installation.py: each way of installing is known by what it leaves, and upgraded its own way."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from hermes_router.cli import installation


class _Dist:
    def __init__(self, place: Path, direct: dict[str, Any] | None) -> None:
        self.place, self.direct = place, direct

    def read_text(self, _name: str) -> str | None:
        return None if self.direct is None else json.dumps(self.direct)

    def locate_file(self, name: str) -> Path:
        return self.place / name


@pytest.fixture
def recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def look(*, base: Path | None = None, place: Path | None = None, direct: dict[str, Any] | None = None) -> Any:
        monkeypatch.setattr(
            installation.importlib.metadata, "distribution", lambda _name: _Dist(place or tmp_path / "site", direct)
        )
        return installation.recognise(tmp_path, base or Path("/usr"), f"{tmp_path}/bin/python")

    return look


@pytest.mark.parametrize(
    ("place", "environ", "flags"),
    [
        (".local/share/pipx", {}, []), (".local/pipx", {}, []), ("data/pipx", {"XDG_DATA_HOME": "{}/data"}, []),
        ("tools", {"PIPX_HOME": "{}/tools"}, []), ("all", {"PIPX_GLOBAL_HOME": "{}/all"}, ["--global"]),
        ("tools", {}, None), (".local/pipx", {"PIPX_HOME": "{}/tools"}, None),
    ],
)  # fmt: skip
def test_pipx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, environ: dict[str, str], flags: list[str] | None
) -> None:
    """By its metadata, below the directory that is pipx's for this user or for everybody; elsewhere it is not guessed."""
    prefix = tmp_path / place / "venvs" / "hermes-router-x"
    prefix.mkdir(parents=True)
    (prefix / "pipx_metadata.json").touch()
    monkeypatch.setattr(installation, "_editable", lambda _dist: None)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("PIPX_HOME", "PIPX_GLOBAL_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    found = installation.recognise(prefix)
    if flags is None:
        assert found.upgrade == ("env", f"PIPX_HOME={tmp_path / place}", "pipx", "upgrade", prefix.name)
        assert "PIPX_BIN_DIR" in found.hands_off
        return
    assert found.upgrade == ("pipx", "upgrade", *flags, prefix.name)
    assert found.from_file == ("pipx", "runpip", *flags, prefix.name, "install", "--upgrade")
    assert not found.hands_off


def test_uv_tool(recognised: Any, tmp_path: Path) -> None:
    """By its receipt."""
    (tmp_path / "uv-receipt.toml").touch()
    assert shlex.join(recognised().upgrade) == "uv tool upgrade hermes-router"


def test_a_venv_with_pip_and_one_without(recognised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own pip; where there is none, uv made it, and must be there."""
    monkeypatch.setattr(installation.shutil, "which", lambda _name: None)
    assert "uv is not on PATH" in recognised().hands_off
    monkeypatch.setattr(installation.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert recognised().upgrade[:3] == ("uv", "pip", "install")
    pip = tmp_path / "lib/python3.12/site-packages/pip"
    pip.mkdir(parents=True)
    (pip / "__main__.py").touch()
    assert recognised().upgrade[1:] == ("-m", "pip", "install", "--upgrade", "hermes-router")


def test_a_checkout_is_its_developers(recognised: Any) -> None:
    """Named, with what to run; never run by us."""
    found = recognised(direct={"url": "file:///src/hr", "dir_info": {"editable": True}})
    assert found.place == Path("/src/hr")
    assert found.hands_off
    assert recognised(direct={"url": "file:///x.whl", "archive_info": {}}).how != found.how


def test_a_systems_package_is_the_systems(recognised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip must not write where dpkg does."""
    monkeypatch.setattr(installation.shutil, "which", lambda name: f"/usr/bin/{name}")
    found = recognised(base=tmp_path, place=Path("/usr/lib/python3/dist-packages"))
    assert "apt-get" in found.upgrade
    assert found.hands_off


def test_a_keg_is_homebrews(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its place."""
    monkeypatch.setattr(installation.importlib.metadata, "distribution", lambda _name: _Dist(Path("/x"), None))
    found = installation.recognise(Path("/opt/homebrew/Cellar/hermes-router/1/libexec"), Path("/usr"), "python")
    assert found.upgrade == ("brew", "upgrade", "hermes-router")
