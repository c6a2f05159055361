"""hermes_router/cli/completions.py: the scripts in their places, nobody else's file touched."""

import stat
from pathlib import Path

import pytest

from hermes_router.cli import completions as module
from hermes_router.cli.shipped import shipped

BASH = ".local/share/bash-completion/completions"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("shell", "places"),
    [
        ("bash", [f"{BASH}/hr", f"{BASH}/hermes-router"]),
        ("zsh", [".zfunc/_hr"]),
        ("fish", [".config/fish/completions/hr.fish", ".config/fish/completions/hermes-router.fish"]),
    ],
)
def test_installed_where_the_shell_looks_and_taken_away(hr, home: Path, shell: str, places: list[str]) -> None:
    """For both names; a second time nothing is written; uninstall leaves nothing."""
    first = hr("completions", "install", "--shell", shell)
    assert first.exit_code == 0, first.output
    for place in places:
        assert (home / place).read_text() == shipped("completions", module._SCRIPTS[shell]).read_text()
        assert stat.S_IMODE((home / place).stat().st_mode) == 0o644
        assert f"~/{place} written." in first.output
    assert "is there already." in hr("completions", "install", "--shell", shell).output
    gone = hr("completions", "uninstall")
    assert gone.exit_code == 0
    assert not [one for one in home.rglob("*") if one.is_file()]
    assert "No completion was installed." in hr("completions", "uninstall").output


def test_an_older_script_of_ours_is_renewed(hr, home: Path) -> None:
    """A file with our mark is ours, whatever else stands in it."""
    place = home / ".zfunc" / "_hr"
    place.parent.mkdir()
    place.write_text("#compdef hr\n# hermes-router: completion of hr, of long ago\n")
    assert hr("completions", "install", "--shell", "zsh").exit_code == 0
    assert "_HR_COMPLETE" in place.read_text()


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_foreign_file_is_left_as_it_is(hr, home: Path, verb: str) -> None:
    """Another program called hr may have its completion there: exit 3, nothing written beside it either."""
    foreign = home / BASH / "hermes-router"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("complete -W 'x' hr\n")
    done = hr("completions", verb, "--shell", "bash")
    assert done.exit_code == 3
    assert str(foreign) in done.output
    assert [one.name for one in foreign.parent.iterdir()] == ["hermes-router"]
    assert foreign.read_text() == "complete -W 'x' hr\n"


def test_a_link_of_the_owners_stays_one(hr, home: Path) -> None:
    """Those who keep such files elsewhere find the new one there."""
    kept = home / "dotfiles"
    kept.mkdir()
    (kept / "_hr").write_text("# hermes-router: completion of hr\n")
    (home / ".zfunc").mkdir()
    (home / ".zfunc" / "_hr").symlink_to(kept / "_hr")
    assert hr("completions", "install", "--shell", "zsh").exit_code == 0
    assert (home / ".zfunc" / "_hr").is_symlink()
    assert "_HR_COMPLETE" in (kept / "_hr").read_text()


def test_zsh_is_told_of_fpath_until_it_knows(hr, home: Path) -> None:
    """What to add is said while .zshrc lacks it."""
    assert "fpath+=(~/.zfunc)" in hr("completions", "install", "--shell", "zsh").output
    (home / ".zshrc").write_text("fpath+=(~/.zfunc)\nautoload -Uz compinit && compinit\n")
    said = hr("completions", "install", "--shell", "zsh").output
    assert "fpath+=" not in said
    assert "every new zsh" in said


@pytest.mark.parametrize("present", [True, False])
def test_bash_is_told_what_it_lacks(hr, home: Path, monkeypatch: pytest.MonkeyPatch, present: bool) -> None:
    """Without the package bash-completion nothing reads the place, so the line for .bashrc is shown."""
    reader = home / "bash_completion"
    if present:
        reader.write_text("")
    monkeypatch.setattr(module, "BASH_COMPLETION", (str(reader),))
    said = hr("completions", "install", "--shell", "bash").output
    assert ("add to ~/.bashrc" in said) is not present
    assert f"source ~/{BASH}/hr" in said


def test_the_shell_is_found(hr, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The login shell where the parent is none; one that is unknown is exit 2 with what to do."""
    monkeypatch.setattr(module.os, "getppid", lambda: 1 << 30)
    assert ".zfunc/_hr" in hr("completions", "install", env={"SHELL": "/usr/bin/zsh"}).output
    done = hr("completions", "install", env={"SHELL": "/bin/tcsh"})
    assert done.exit_code == 2
    assert "'tcsh'" in done.output
    assert "--shell bash" in done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shown_as_it_is(hr, shell: str) -> None:
    """For those who keep such things themselves."""
    assert hr("completions", "show", shell).output == shipped("completions", module._SCRIPTS[shell]).read_text()
