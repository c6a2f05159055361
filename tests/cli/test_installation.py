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


def test_pipx(recognised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its metadata; the venv's name is pipx's name for it, and one outside the home is everybody's."""
    (tmp_path / "pipx_metadata.json").touch()
    monkeypatch.setattr(Path, "home", lambda: tmp_path.parent)
    assert recognised().upgrade == ("pipx", "upgrade", tmp_path.name)
    assert recognised().from_file == ("pipx", "runpip", tmp_path.name, "install", "--upgrade")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert recognised().upgrade == ("pipx", "upgrade", "--global", tmp_path.name)


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
