"""hermes_router/cli/man.py: the manual is shown with whatever is there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_router.cli.man import PAGES

mandoc = pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed here")


@pytest.mark.parametrize(
    ("page", "file"), [(None, "hr.1"), ("hermes-router", "hermes-router.8"), ("config", PAGES["hermes-router-config"])]
)
def test_where_a_page_lies(hr, page: str | None, file: str) -> None:
    """A path and nothing else, for `man -l`."""
    done = hr("man", *([page] if page else []), "--path")
    assert done.exit_code == 0
    assert Path(done.output.strip()).is_file()
    assert done.output.strip().endswith(f"man/{file}")


@mandoc
def test_a_pipe_gets_plain_text(hr) -> None:
    """Formatted by mandoc, and no letter struck over another."""
    done = hr("man")
    assert done.exit_code == 0
    assert "SYNOPSIS" in done.output
    assert "\b" not in done.output


def test_without_any_formatter_it_is_shown_all_the_same(hr) -> None:
    """Our own reading of the page."""
    done = hr("man", "daemon", env={"PATH": "/nonexistent"})
    assert done.exit_code == 0
    assert "SYNOPSIS\n" in done.output
    assert "hr serve [--env-file file]" in done.output


def test_a_formatter_that_fails_is_passed_over(hr, home: Path) -> None:
    """A stub that cannot do it is no reason to show nothing."""
    for name in ("man", "mandoc"):
        (home / name).write_text("#!/bin/sh\necho no >&2\nexit 1\n")
        (home / name).chmod(0o755)
    done = hr("man", env={"PATH": str(home)})
    assert done.exit_code == 0
    assert "DESCRIPTION" in done.output


def test_a_page_that_is_none_is_wrong_usage(hr) -> None:
    """Exit 2, with those that there are."""
    done = hr("man", "nonsense")
    assert done.exit_code == 2
    assert "hermes-router-config" in done.output


@pytest.mark.skipif(shutil.which("man") is None or shutil.which("script") is None, reason="man or script is missing")
def test_at_a_terminal_man_shows_it(home: Path) -> None:
    """By the file's own path: no MANPATH leads there."""
    command = f"{sys.executable} -P -c 'from hermes_router.cli.entry import main; main()' man"
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PAGER": "cat", "MANPAGER": "cat", "TERM": "dumb"}
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], env=env, capture_output=True, timeout=60, check=True
    )
    assert b"HR(1)" in done.stdout
