"""completions/: the scripts, run by the shells themselves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_router.control import types as t

from . import samples

SCRIPTS = Path(__file__).resolve().parents[2] / "completions"
PATIENCE_S = 30.0

needs = {
    name: pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed here")
    for name in ("bash", "zsh", "fish")
}


@pytest.fixture
def shell(home: Path) -> Callable[..., str]:
    """Run a shell with both names of the program on its path, and nothing of ours but that."""
    programs = home / "bin"
    programs.mkdir()
    for name in ("hr", "hermes-router"):
        program = programs / name
        program.write_text(f"#!{sys.executable} -P\nfrom hermes_router.cli.entry import main\nmain()\n")
        program.chmod(0o755)
    (home / "notes.env").write_text("")

    def run(*command: str, typed: list[tuple[str, str]] | None = None) -> str:
        env = {
            "HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}", "TERM": "dumb", "LANG": "C.UTF-8",
            "COLUMNS": "200", "HERMES_ROUTER_SOCKET": str(home / "s"),
        }  # fmt: skip
        if typed is not None:
            return _typed(command, env, home, typed)
        done = subprocess.run(
            command, env=env, cwd=home, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        assert done.stderr == ""
        return done.stdout

    return run


def _typed(command: tuple[str, ...], env: dict[str, str], cwd: Path, typed: list[tuple[str, str]]) -> str:
    """Type each text at a terminal once the one before has had its effect; what was last on the screen."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(command[0], command, env)
    said = ""
    try:
        for text, wanted in typed:
            os.write(fd, text.encode())
            said, deadline = "", time.monotonic() + PATIENCE_S
            while wanted not in said:
                assert time.monotonic() < deadline, (text, wanted, said)
                if select.select([fd], [], [], 0.1)[0]:
                    said += os.read(fd, 65536).decode(errors="replace")
    finally:
        os.close(fd)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return said


def bash(shell: Callable[..., str], line: str, program: str = "hr") -> list[str]:
    script = (
        f"set -u; source {SCRIPTS / 'hr.bash'}; COMP_LINE=$1; COMP_POINT=${{#1}}; "
        'COMP_WORDBREAKS=$\' \\t\\n"\\\'@><=;|&(:\'; _hermes_router "$2" "${1##* }" x; '
        '((${#COMPREPLY[@]})) && printf "%s\\n" "${COMPREPLY[@]}"; true'
    )
    return shell("bash", "--norc", "-c", script, "bash", line, program).splitlines()


def fish(shell: Callable[..., str], line: str) -> list[str]:
    return shell("fish", "--no-config", "-c", f"source {SCRIPTS / 'hr.fish'}; complete -C '{line}'").splitlines()


@needs["bash"]
def test_bash_completes(shell, serve) -> None:
    """Commands, names from the daemon, words behind a colon or an equals sign, files, and both names of the program."""
    serve({"GET /v1/credentials": samples.CREDENTIALS})
    assert bash(shell, "hr sta") == ["start", "status"]
    assert bash(shell, "hr auth remove groq ") == ["2f9a", "77c1"]
    assert bash(shell, "hermes-router provider enable c", "hermes-router") == ["cerebras"]
    assert bash(shell, "hr config set LOG_LEVEL=w") == ["warning"]
    assert bash(shell, "hr ask --model hermes-router:f") == ["fast"]
    assert bash(shell, "hr serve --env-file no") == ["notes.env"]
    assert bash(shell, "hr nonsense ") == []


@needs["bash"]
def test_bash_says_nothing_where_the_program_is_gone(shell) -> None:
    """A TAB after the program was removed is silent."""
    assert bash(shell, "gone sta", "gone") == []


@needs["bash"]
def test_bash_at_a_terminal(shell) -> None:
    """A press of TAB puts the rest of the word and a blank into the line."""
    shown = shell(
        "bash", "--norc", "-i",
        typed=[
            (f"PS1='> '; source {SCRIPTS / 'hr.bash'}; echo rea''dy\n", "ready"),
            ("FOO=1 hr auth mig\t", "FOO=1 hr auth migrate "),
        ],
    )  # fmt: skip
    assert "migrate" in shown


@needs["fish"]
def test_fish_completes(shell, serve) -> None:
    """With a word about each, also for the long name; silent where the program is gone."""
    serve({"GET /v1/credentials": samples.CREDENTIALS})
    assert fish(shell, "hr mig") == []
    assert fish(shell, "hr auth mig")[0].startswith("migrate\tMove all stored keys")
    assert [line.split("\t")[0] for line in fish(shell, "hermes-router auth remove groq ")] == ["2f9a", "77c1"]
    assert sorted(fish(shell, "hr config set LOG_LEVEL=w")) == ["LOG_LEVEL=warning"]
    assert fish(shell, "hr serve --env-file no") == ["notes.env"]
    assert (
        shell("fish", "--no-config", "-c", f"source {SCRIPTS / 'hr.fish'}; set PATH /nowhere; complete -C 'hr '") == ""
    )


@needs["zsh"]
def test_zsh_completes(shell, serve) -> None:
    """Found by compinit in a directory of fpath, with a word about each; a colon is part of a name."""
    serve({
        "GET /v1/credentials": samples.CREDENTIALS,
        "GET /v1/models": t.Models(rows=[t.ModelRow(provider="groq", model="llama-3", picked=True)]),
    })  # fmt: skip
    setup = (f"PS1='> '; fpath=({SCRIPTS} $fpath); autoload -U compinit; compinit -u -D; echo rea''dy\n", "ready")

    def typed(text: str, wanted: str) -> str:
        return shell("zsh", "-f", "-i", typed=[setup, (text, wanted)])

    assert "Show on one screen" in typed("hr sta\t", "status")
    assert typed("hr auth mig\t", "hr auth migrate ")
    assert typed("hermes-router auth remove groq 7\t", "groq 77c1 ")
    assert typed("hr config set LOG_LEVEL=w\t", "LOG_LEVEL=warning ")
    assert typed("hr ask --model hermes-router:f\t", "hermes-router:fast ")
    assert typed("hr ask --model gr\t", "groq/llama-3 ")
    assert typed("hr serve --env-file no\t", "notes.env ")
