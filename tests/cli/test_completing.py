"""hermes_router/cli/completing.py and entry.py: what may stand at the end of a line, at the price of nothing heavy."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hermes_router.cli import completing, names
from hermes_router.cli.completing import FILES, candidates, load, split
from hermes_router.cli.main import COMMANDS, main
from hermes_router.core.variables import GLOBALS

ENTRY = [sys.executable, "-P", "-c", "from hermes_router.cli.entry import main; main()"]
HEAVY = (
    "aiohttp", "asyncio", "click", "http", "importlib.metadata", "keyring", "msgspec", "pathlib", "platformdirs",
    "structlog", "tomllib", "typing",
)  # fmt: skip


def found(line: str) -> list[str]:
    return [name for name, _ in candidates(load(), split(line))]


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        ("provider", ""): ["groq", "gemini", "github_models"],
        ("provider", "groq"): ["groq", "gemini"],
        ("model", "groq"): ["llama-3", "qwen-3"],
        ("credential", "groq"): ["2f9a", "77c1"],
        ("credential", "github_models"): ["aaaa"],
        ("name", ""): ["hermes-router", "hermes-router:fast", "groq/llama-3"],
        ("router-key", ""): ["laptop"],
    }
    monkeypatch.setattr(names, "names", lambda kind, whose: [(one, "") for one in known.get((kind, whose), [])])


def test_every_command_of_the_first_level_is_offered() -> None:
    """The table has the commands that there are."""
    assert sorted(found("hr ")) == sorted(COMMANDS)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("hr sta", ["start", "status"]),
        ("hr auth li", ["list"]),
        ("hr auth add g", ["groq", "gemini", "github_models"]),
        ("hr auth add GR", ["groq"]),
        ("hr auth remove groq ", ["2f9a", "77c1"]),
        ("hr auth remove github-models ", ["aaaa"]),
        ("hr auth remove --json groq 2", ["2f9a"]),
        ("hr auth add groq --command pass sh", [FILES]),
        ("hr model set groq ", ["llama-3", "qwen-3"]),
        ("hr model set groq llama-3 ", ["qwen-3"]),
        ("hr model set groq llama-3,", ["llama-3,qwen-3"]),
        ("hr models --provider=g", ["--provider=groq", "--provider=gemini", "--provider=github_models"]),
        ("hr key add x --providers groq,ge", ["groq,gemini"]),
        ("hr key remove ", ["laptop"]),
        ("hr ask --model hermes-router:", ["hermes-router:fast"]),
        ("hr usage --by d", ["day"]),
        ("hr usage --by=d", ["--by=day"]),
        ("hr usage --days ", []),
        ("hr mode ", ["round-robin", "sequential"]),
        ("hr config get LOG_L", ["LOG_LEVEL"]),
        ("hr config get log_l", ["log_level"]),
        ("hr config set LOG_LEVEL w", ["warning"]),
        ("hr config set log_level=w", ["log_level=warning"]),
        ("hr config set LOG_LEVEL=info RUNAWAY_G", ["RUNAWAY_GUARD"]),
        ("hr config set LOG_LEVEL info x", []),
        ("hr config set GROQ_ENABLED ", ["1", "0"]),
        ("hr config set GROQ_MODEL l", ["llama-3"]),
        ("hr config set GITHUB_MODELS_ENA", ["GITHUB_MODELS_ENABLED"]),
        ("hr serve --env-file ", [FILES]),
        ("hr serve --env-file=x", [FILES]),
        ("hr restart ", ["--help"]),
        ("hr nonsense ", []),
        ("hr auth nonsense ", []),
        ("hr status x", []),
        ("hr completions show z", ["zsh"]),
        ("hr man c", ["config"]),
    ],
)
def test_what_may_follow(line: str, wanted: list[str]) -> None:
    """Commands, options, their words, and names that belong to the provider on the line."""
    assert found(line) == wanted


def test_options_are_offered_once_and_only_where_one_begins() -> None:
    """A word begins an option with its dash; what is there already is not offered again, nor behind `--`."""
    assert "--json" in found("hr status --")
    assert "--json" not in found("hr status --json --")
    assert "--dialect" in found("hr conformance http://x --dialect chat --")
    assert found("hr auth list -- --") == []


def test_each_option_of_each_command_is_known() -> None:
    """What click takes is what is offered, in every command."""
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        for path, one in _all(name, command):
            for option in one.params:
                if isinstance(option, click.Option) and not option.hidden:
                    assert set(option.opts) <= set(found(f"hr {path} -")), path


def _all(path: str, command: click.Command | None):
    assert command is not None
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _all(f"{path} {name}", child)


def test_every_setting_is_offered() -> None:
    """The table has the settings that there are."""
    assert {one.name for one in GLOBALS} <= set(found("hr config set "))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hr auth add", ["auth", "add"]),
        ("hr auth ", ["auth", ""]),
        ("hr 'a b' c\\ d \"e'f", ["a b", "c d", "e'f"]),
        ("A=1 B=x hr st", ["st"]),
        ("/opt/x/hr --a=b", ["--a=b"]),
        ("hr", []),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str]) -> None:
    """Quotes, escapes and assignments before the program."""
    assert split(line) == words


def ask(home: Path, *, python: tuple[str, ...] = (), **environ: str) -> subprocess.CompletedProcess[bytes]:
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environ}
    return subprocess.run([ENTRY[0], *python, *ENTRY[1:]], env=env, capture_output=True, timeout=20, check=False)


def test_no_heavy_import_stands_in_the_way(home: Path) -> None:
    """A press of TAB loads none of the libraries, not even where it asks the socket for names."""
    program = (
        "import sys\nfrom hermes_router.cli.entry import main\nmain()\n"
        f"print(*[one for one in {HEAVY!r} if one in sys.modules], sep=',')"
    )
    env = {"HOME": str(home), "_HR_COMPLETE": "bash", "_HR_LINE": "hr auth add gro"}
    bare = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; print(*[one for one in {HEAVY!r} if one in sys.modules], sep=',')"],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-P", "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].strip() == "groq"
    loaded = set(done.stdout.splitlines()[-1].split(",")) - set(bare.stdout.strip().split(","))
    assert not loaded - {""}, loaded


def test_bash_gets_words_to_put_in_as_they_are(home: Path) -> None:
    """What bash takes for an earlier word is left out, and what would mean something to it is escaped."""
    done = ask(home, _HR_COMPLETE="bash", _HR_LINE="hr ask --model hermes-router:f", _HR_BREAKS=" =:")
    assert done.stdout == b"fast\n"
    done = ask(home, _HR_COMPLETE="bash", _HR_LINE="hr ask --model hermes-router:f", _HR_BREAKS=" =")
    assert done.stdout == b"hermes-router:fast\n"
    assert completing._for_bash([("a $(x);b", "")], "a", "=:") == ["a\\ \\$\\(x\\)\\;b"]


def test_others_get_a_word_about_each(home: Path) -> None:
    """zsh and fish show it beside the name."""
    done = ask(home, _HR_COMPLETE="fish", _HR_WORDS="auth", _HR_WORD="mig")
    name, _, said = done.stdout.decode().partition("\t")
    assert name == "migrate"
    assert said.startswith("Move all stored keys")


@pytest.mark.parametrize(
    "environ",
    [
        {"_HR_COMPLETE": "bash"},
        {"_HR_COMPLETE": "nonsense", "_HR_WORDS": "\n\n", "_HR_WORD": "\x1b"},
        {"_HR_COMPLETE": "bash", "_HR_LINE": "hr '"},
        {"_HR_COMPLETE": "zsh", "_HR_WORDS": "model\nset\n../../x\n", "_HR_WORD": ""},
        {"_HR_COMPLETE": "bash", "_HR_LINE": "hr auth add ", "HOME": "/nonexistent", "HERMES_ROUTER_SOCKET": "a" * 300},
    ],
)
def test_nothing_is_ever_said_on_standard_error(home: Path, environ: dict[str, str]) -> None:
    """Whatever the shell hands over, the exit code is 0 and no daemon is started."""
    done = ask(home, **{"HOME": str(home), **environ})
    assert (done.returncode, done.stderr) == (0, b"")
    assert not (home / ".local" / "state").exists()


def test_a_torn_installation_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its table there is nothing to say, and no error."""
    monkeypatch.setattr(completing, "_TABLE", "/nonexistent/commands.tsv")
    assert found("hr ") == []


def test_without_a_shell_asking_it_is_the_command(home: Path) -> None:
    """The entry runs `hr` otherwise."""
    done = subprocess.run([*ENTRY, "version"], env={"HOME": str(home)}, capture_output=True, check=True)
    assert done.stdout.startswith(b"hermes-router ")
