"""The rules of design.md that no type checker and no linter knows, each held against the source itself.

Every rule reads what is there, so it grows with the tree. An exception is a line here, with its because.
"""

import ast
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

from hermes_router.core.variables import DERIVED, GLOBALS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hermes_router"
TESTS = ROOT / "tests"
BENCH = ROOT / "bench"
MODULES = sorted(PACKAGE.rglob("*.py"))
MIRRORED = ("core", "routing", "wire", "engine", "upstream", "store", "server", "control", "daemon")
BANNED_NAMES = {"utils", "util", "helpers", "common", "manager", "base", "misc"}
MOST_LINES = 600

# Modules without a test file of their own, and where they are proved instead (relative to tests/).
PARENTS = {
    # because a row of the table is proved by the table's test
    "wire/chat/dialect.py": "wire/test_dialects.py",
    # because a claim is proved on the windows that it claims, and the units are nothing but numbers
    "routing/claims.py": "routing/test_quota.py",
    "routing/units.py": "routing/test_quota.py",
    # because each of its methods is one line to a desk, and all desks are proved through it
    "daemon/backend.py": "daemon/desks/test_credential.py",
    # because what it builds is what every desk's test runs on
    "daemon/furnish.py": "daemon/desks/test_report.py",
    # because the order at the start is proved by a start
    # because these are the two ways in, and each test of the front takes both
    "server/arrival.py": "server/test_front.py",
    "server/hot.py": "server/test_front.py",
    "server/through.py": "server/test_front.py",
    # because a flight is proved by whoever begins it, a row by the file it stands in, the joint by a whole router
    "engine/refresh_flight.py": "engine/test_refreshing.py",
    "store/token_rows.py": "store/test_tokens.py",
    "daemon/accounts.py": "codex/test_tokens_alive.py",
    # because it is what the lanes share, and all of them go through it
    "wire/lane.py": "wire/chat/test_passthrough.py",
    # because an outline of a request is proved by the parser that fills it
    "core/chat.py": "wire/chat/test_request.py",
    # because a scope is proved where evidence is turned into one
    "core/observations.py": "routing/test_slots.py",
}
# Where .reveal() may be called: where a secret leaves, rests, or is compared with what a caller sent; and where a token's
# claims are read, because they say whose it is, and for how long.
REVEALS = (
    "upstream/auth.py",
    "upstream/oauth.py",
    "store/",
    "engine/admission.py",
    "core/accounts.py",
    "core/id_token.py",
    "daemon/notify_ways.py",
)
# Where everything may be caught: a task's supervisor, the two borders at which a bug becomes a 500 (the public API's and
# the control socket's, because whoever asked must get an answer in the one envelope), and the thread of the keyring, because its backends raise whatever D-Bus, GLib or ctypes come up with (facts/os.md 1.2).
# And the answer to a press of TAB, because a shell in mid-line has no place for an error.
CATCHES_ALL = (
    "engine/tasks.py", "server/boundary.py", "control/api.py", "store/keyring_store.py", "cli/completing.py",
)  # fmt: skip

# Modules of the standard library that our oldest Python does not have yet; imported under a version check.
NEWER = {"compression"}


def _path(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


@cache
def _tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(), filename=str(module))


def _nodes(kind: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    for module in MODULES:
        for node in ast.walk(_tree(module)):
            if isinstance(node, kind):
                yield module, node


def _where(module: Path, node: ast.AST) -> str:
    return f"{module.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def _has_behaviour(module: Path) -> bool:
    """Whether there is any function with something to prove: Protocols and bare values have none."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            if body and not all(isinstance(s, ast.Pass | ast.Raise) for s in body):
                return True
    return False


def test_no_module_passes_the_hard_stop() -> None:
    """No module is longer than 600 lines."""
    long = {str(m.relative_to(ROOT)): n for m in [*MODULES, *BENCH.glob("*.py")] if (n := _lines(m)) > MOST_LINES}
    assert not long, f"split what has grown a second reason to exist: {long}"


def _lines(module: Path) -> int:
    return len(module.read_text().splitlines())


def _mirrored() -> Iterator[str]:
    for module in MODULES:
        path = _path(module)
        if path.split("/")[0] in MIRRORED and not module.stem.startswith("__") and _has_behaviour(module):
            yield path


def _homes(path: str) -> list[str]:
    """Where a module's own test may be: its mirror, that of the module it was split from, or that of its folder."""
    folder, _, name = path.removesuffix(".py").rpartition("/")
    stems = [name]
    while "_" in stems[-1]:
        stems.append(stems[-1].rpartition("_")[0])  # quirks_tools.py is a part of quirks.py
    folders = [folder, "http"] if folder == "server" else [folder]  # http/ drives the real application
    homes = [f"{f}/test_{stem}.py" for f in folders for stem in stems]
    outer, _, inner = folder.rpartition("/")
    return [*homes, f"{outer}/test_{inner}.py"] if outer else homes


@pytest.mark.parametrize("path", list(_mirrored()))
def test_each_module_has_its_mirrored_test(path: str) -> None:
    """Each module with behaviour is proved by tests/<same>/test_<name>.py, or by a parent named in PARENTS."""
    wanted = [*_homes(path), PARENTS.get(path, _homes(path)[0])]
    assert any((TESTS / w).is_file() for w in wanted), f"hermes_router/{path} has no test: one of {wanted}"


def test_the_exceptions_of_the_mirror_are_still_needed() -> None:
    """Each exception names a module that exists and has no test file of its own by now."""
    stale = [p for p in PARENTS if not (PACKAGE / p).is_file() or any((TESTS / h).is_file() for h in _homes(p))]
    assert not stale, f"no such module, or it has its own test: {stale}"


def test_every_module_says_what_it_owns() -> None:
    """Each module has a docstring."""
    bare = [_path(m) for m in MODULES if not ast.get_docstring(_tree(m))]
    assert not bare, bare


def _tests() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield file, node


def test_every_test_states_the_fact_it_proves() -> None:
    """Each test function has a docstring."""
    bare = [f"{_where(f, n)} {n.name}" for f, n in _tests() if not ast.get_docstring(n)]
    assert not bare, "\n".join(bare)


def test_no_module_is_named_after_nothing() -> None:
    """No module or folder has a name that says nothing of what it owns."""
    found = [_path(m) for m in MODULES if BANNED_NAMES & {*m.parts[len(PACKAGE.parts) : -1], m.stem}]
    assert not found, found


def test_secrets_are_revealed_in_three_places_only() -> None:
    """`.reveal()` is called where a secret leaves, rests or is compared, nowhere else."""
    found = [
        _where(m, n)
        for m, n in _nodes(ast.Call)
        if isinstance(n, ast.Call)
        and isinstance(n.func, ast.Attribute)
        and n.func.attr == "reveal"
        and not n.args  # Vault.reveal(credential) hands over a Secret that is still closed
        and not _path(m).startswith(REVEALS)
    ]
    assert not found, found


def test_broad_handlers_live_in_four_places_only() -> None:
    """Only supervisor, both borders and the keyring thread catch everything; to clean up, BaseException is raised again."""
    found = []
    for module, node in _nodes(ast.ExceptHandler):
        assert isinstance(node, ast.ExceptHandler)
        caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"Exception"}
        again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        broad = "Exception" in caught or ("BaseException" in caught and not again)
        if broad and _path(module) not in CATCHES_ALL:
            found.append(_where(module, node))
    assert not found, found


def _provider_names() -> set[str]:
    table = PACKAGE / "data" / "providers.toml"
    if not table.is_file():
        return {"gemini", "openrouter", "groq", "mistral", "cohere", "zai", "kimi"}
    rows = tomllib.loads(table.read_text())
    rows = rows.get("providers", rows.get("provider", rows))
    names = set(rows) if isinstance(rows, dict) else {r["name"] for r in rows}
    return {str(n) for n in names} - {"local"}  # `local` is a profile's name, too


def test_no_condition_names_a_provider() -> None:
    """No comparison and no match case holds a provider's name: a row, a quirk or a family says what is special."""
    names = _provider_names()
    assert "groq" in names
    found = []
    for kind in (ast.Compare, ast.MatchValue):
        for module, node in _nodes(kind):
            literals = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            # The sandbox plays the providers: there a name is the role.
            if literals & names and not _path(module).startswith("sandbox/"):
                found.append(f"{_where(module, node)} {sorted(literals & names)}")
    assert not found, found


def test_nothing_is_left_for_later() -> None:
    """The tree holds no note that something is still to be done."""
    note = re.compile(r"\b(TODO|FIX" + r"ME|XX" + r"X|HACK)\b")
    files = [*MODULES, *BENCH.glob("*.py"), *(f for f in TESTS.rglob("*.py") if f != Path(__file__).resolve())]
    found = [
        f"{f.relative_to(ROOT)}:{i}"
        for f in files
        for i, s in enumerate(f.read_text().splitlines(), 1)
        if note.search(s)
    ]
    assert not found, found


def test_every_setting_is_documented() -> None:
    """The man page has every variable, the endings of the derived ones included."""
    pages = [*(ROOT / "man").glob("*.[1-8]"), *(ROOT / "man").glob("*.md")]
    if not pages:
        pytest.skip("no man page yet: it comes with hr")
    text = "\n".join(p.read_text() for p in pages).replace("\\_", "_").replace("\\-", "-")
    wanted = {v.name for v in (*GLOBALS, *DERIVED)} | {"_API_KEY", "_API_KEYS", "_LIMITS"}
    missing = sorted(w for w in wanted if not re.search(rf"{'' if w[0] == '_' else '(?<![A-Z_])'}{w}(?![A-Z_])", text))
    assert not missing, missing


@pytest.mark.skipif(find_spec("hermes_router.cli.main") is None, reason="no command line yet")
def test_the_command_line_starts_without_the_heavy_imports() -> None:
    """Importing the entry point of `hr` loads neither aiohttp nor structlog nor keyring (0.1 to 0.2 s each)."""
    program = (
        "import sys, hermes_router.cli.main; "
        "print(*sorted({'aiohttp', 'structlog', 'keyring', 'uvloop', 'hermes_router.daemon'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.split(), done.stdout


def test_import_contracts_hold() -> None:
    """The layers, the pure layers' bans and the isolation of cli and sandbox, as import-linter sees them."""
    tool = Path(sys.executable).with_name("lint-imports")
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def _distribution(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_each_dependency_has_its_reason() -> None:
    """Whatever pyproject.toml asks for is named, with why, in the ADR on dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    wanted += [d for extra in project["project"]["optional-dependencies"].values() for d in extra]
    reasons = (ROOT / "docs" / "adr" / "0004-dependencies.md").read_text().lower()
    names = [_distribution(w) for w in wanted]
    missing = [n for n in names if not re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", reasons)]
    assert not missing, missing


def test_each_foreign_import_is_a_declared_dependency() -> None:
    """What the package imports from elsewhere is asked for in pyproject.toml, so a fresh clone has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {_distribution(d) for d in project["dependencies"]}
    by_top_level = packages_distributions()
    found = set()
    for kind in (ast.Import, ast.ImportFrom):
        for module, node in _nodes(kind):
            names = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "") or ""]
            )
            for top in {n.partition(".")[0] for n in names} - {"", "hermes_router", *sys.stdlib_module_names, *NEWER}:
                if not declared & {_distribution(d) for d in by_top_level.get(top, ())}:
                    found.add(f"{_where(module, node)} {top}")
    assert not found, sorted(found)


def test_the_tripwire_refuses_what_is_not_loopback() -> None:
    """A connect or a name look-up that would leave the machine fails loudly, before a packet is sent."""
    with socket.socket() as sock, pytest.raises(RuntimeError, match="only loopback"):
        sock.connect(("192.0.2.1", 80))
    with socket.socket() as sock, pytest.raises(RuntimeError, match="only loopback"):
        sock.connect_ex(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="only loopback"):
        socket.getaddrinfo("api.groq.com", 443)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 443)


def test_the_tripwire_lets_loopback_through() -> None:
    """Loopback connects work as if there were no tripwire."""
    with socket.socket() as server, socket.socket() as caller:
        server.bind(("127.0.0.1", 0))
        server.listen()
        caller.connect(server.getsockname())
    assert socket.getaddrinfo("127.0.0.1", 80)
