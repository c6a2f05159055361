"""hermes_router/cli/service/system.py: root's work in a directory that belongs to somebody else."""

import os
import pwd
from pathlib import Path

import pytest

from hermes_router.cli.service import system as install_system
from hermes_router.control.places import system_places

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")

UID = 1500


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/etc/hermes-router below a directory of the test's, for a user of a number that nobody has."""
    owner = pwd.struct_passwd((install_system.USER, "x", UID, UID, "", "/", "/usr/sbin/nologin"))
    monkeypatch.setattr(install_system.pwd, "getpwnam", lambda _name: owner)
    monkeypatch.setattr(install_system, "system_places", lambda environ: system_places(environ, root=tmp_path))
    monkeypatch.setattr(install_system, "environment_file", lambda _scope: tmp_path / "etc/default/hermes-router")
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc/hermes-router"


def _owned(path: Path) -> tuple[int, int]:
    found = path.stat(follow_symlinks=False)
    return found.st_uid, found.st_mode & 0o7777


def test_what_root_wrote_becomes_the_services_and_closed(place: Path) -> None:
    """An administrator's 0644 held keys, perhaps: neither the group nor others read on."""
    place.mkdir(mode=0o755)
    (place / ".env").write_text("GROQ_API_KEY=x")
    (place / ".env").chmod(0o644)
    (place / "README").write_text("theirs")
    (place / "README").chmod(0o644)
    install_system.make_places()
    assert _owned(place) == (UID, 0o700)
    assert _owned(place / ".env") == (UID, 0o600)
    assert _owned(place / "README") == (0, 0o644)
    install_system.make_places()
    assert _owned(place / ".env") == (UID, 0o600)


def test_links_are_not_followed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a symbolic link nor a second name gives a file of the system's away; it is said which is left."""
    place.mkdir()
    shadow = place.parent / "shadow"
    shadow.write_text("root only")
    shadow.chmod(0o640)
    (place / ".env").symlink_to(shadow)
    os.link(shadow, place / "config.toml")
    os.mkfifo(place / "providers.toml")
    install_system.make_places()
    assert _owned(shadow) == (0, 0o640)
    assert capsys.readouterr().err.count("is left as it is") == 3


def test_a_link_in_the_place_of_the_directory_is_refused(place: Path) -> None:
    """What it leads to stays root's."""
    other = place.parent / "other"
    other.mkdir(mode=0o755)
    place.symlink_to(other)
    with pytest.raises(install_system.Trouble):
        install_system.make_places()
    assert _owned(other) == (0, 0o755)


def test_a_file_that_is_swapped_between_look_and_change(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user whose directory it is puts a link in its place after the look: what was looked at is what changes."""
    place.mkdir()
    shadow = place.parent / "shadow"
    shadow.write_text("root only")
    shadow.chmod(0o640)
    (place / ".env").write_text("PORT=1")
    fstat = os.fstat

    def swap() -> None:
        if (place / ".env").is_file() and not (place / ".env").is_symlink():
            (place / ".env").rename(place / "was")
            (place / ".env").symlink_to(shadow)

    def looked(fd: int) -> os.stat_result:
        found = fstat(fd)
        swap()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", looked)
        install_system.make_places()
    assert (place / ".env").is_symlink()
    assert _owned(shadow) == (0, 0o640)
    assert _owned(place / "was") == (UID, 0o600)


def test_variables_of_an_earlier_unit_move_to_where_ours_reads_them(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said first in a dry run; then root's file lies in root's directory, for root alone, and the old one is gone."""
    install_system.take_over_variables(dry_run=False)
    assert capsys.readouterr() == ("", "")
    place.mkdir()
    old, new = place / "service.env", place.parent / "default/hermes-router"
    old.write_text("HTTPS_PROXY=http://proxy:3128\n")
    old.chmod(0o644)
    install_system.take_over_variables(dry_run=True)
    assert (old.exists(), new.exists()) == (True, False)
    install_system.take_over_variables(dry_run=False)
    assert (old.exists(), new.read_text(), _owned(new)) == (False, "HTTPS_PROXY=http://proxy:3128\n", (0, 0o600))
    said = capsys.readouterr()
    assert (f"{old} moves to {new}" in said.out, f"{old} was moved to {new}" in said.out, said.err) == (True, True, "")
    old.write_text("HTTPS_PROXY=http://other:3128\n")
    install_system.take_over_variables(dry_run=False)
    assert (old.exists(), "other" in new.read_text()) == (True, False)
    assert f"{old} is read no longer: move what is meant for the service to {new}" in capsys.readouterr().err


@pytest.mark.parametrize(("over", "moved"), [(0, True), (1, False)])
def test_variables_move_whole_or_not_at_all(
    place: Path, capsys: pytest.CaptureFixture[str], over: int, *, moved: bool
) -> None:
    """A file longer than we read is left as it is, and named: no end of it is lost."""
    place.mkdir()
    old, new = place / "service.env", place.parent / "default/hermes-router"
    text = "#" * (install_system._MOST_BYTES + over - 6) + "\nA=end"
    old.write_text(text)
    old.chmod(0o600)
    install_system.take_over_variables(dry_run=False)
    assert (old.exists(), new.exists()) == (not moved, moved)
    assert (new if moved else old).read_text() == text
    assert (f"{old} is read no longer" in capsys.readouterr().err) is not moved


@pytest.mark.parametrize("kind", ["link", "second name", "another's", "open to others", "directory"])
def test_variables_that_somebody_else_could_have_put_there_are_only_named(
    place: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """The directory is the service's user's: nothing of root's is read through it, nor is a word of that user taken."""
    place.mkdir()
    shadow, old = place.parent / "shadow", place / "service.env"
    shadow.write_text("ROOT=only")
    shadow.chmod(0o600)
    if kind == "link":
        old.symlink_to(shadow)
    elif kind == "second name":
        os.link(shadow, old)
    elif kind == "directory":
        old.mkdir()
    else:
        old.write_text("LD_PRELOAD=x")
        old.chmod(0o602 if kind == "open to others" else 0o600)
        os.chown(old, UID if kind == "another's" else 0, -1)
    install_system.take_over_variables(dry_run=False)
    assert not (place.parent / "default").exists()
    assert os.path.lexists(old)
    assert "is read no longer" in capsys.readouterr().err
