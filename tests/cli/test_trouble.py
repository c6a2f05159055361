"""hermes_router/cli/trouble.py: what went wrong and what to do, in one form wherever it is said."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import hermes_router
from hermes_router.cli.main import COMMANDS
from hermes_router.cli.trouble import Trouble

ROOT = Path(hermes_router.__file__).parent
SAID_BY = {"Trouble", "ControlError", "VaultError", "Refused", "advice", "warning", "fault", "skipped"}
SYSTEMS = ("sudo", "systemctl", "loginctl", "journalctl", "launchctl", "chmod", "chown")
BARE = re.compile(rf"\bhr (?:{'|'.join(COMMANDS)})\b|\b(?:{'|'.join(SYSTEMS)}) [a-z0-7-]")


def _texts(call: ast.Call) -> Iterator[str]:
    """The texts that a call is given, whole: what is worked out stands as a sign of its own."""
    for given in (*call.args, *(word.value for word in call.keywords)):
        seen: set[int] = set()
        for node in ast.walk(given):
            if isinstance(node, ast.JoinedStr):
                seen |= {id(part) for part in node.values}
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen:
                yield node.value


def test_commands_in_errors_and_cures_stand_in_backticks() -> None:
    """Wherever one is said that somebody is to type; `'hr …'` and bare ones are none of our forms."""
    found = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in SAID_BY:
                texts = (re.sub("`[^`]*`", "", text) for text in _texts(node))
                found += [f"{path.relative_to(ROOT)}:{node.lineno}: {text}" for text in texts if BARE.search(text)]
    assert found == []


def test_both_sentences_are_sentences() -> None:
    """What happened, and what to do below it; a command at its beginning stays as it is typed."""
    said = Trouble("the port is taken", "`hr doctor` says by whom", code=3)
    assert said.format_message() == "The port is taken.\n    `hr doctor` says by whom."
    assert (said.exit_code, Trouble("it is so").format_message()) == (3, "It is so.")
