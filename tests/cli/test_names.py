"""hermes_router/cli/names.py: names from the daemon, from what it said last, from the tables, in this order."""

import socket
import stat
import sys
import threading
import time
import tomllib
from pathlib import Path

import platformdirs
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from hermes_router.cli import names as module
from hermes_router.cli.names import cache, names, own_rows, sockets
from hermes_router.control import types as t
from hermes_router.control.embed_types import EmbedBindingRow, EmbedBindings
from hermes_router.control.places import socket_candidates, user_places

from . import samples

ANSWERS = {
    "GET /v1/credentials": t.Credentials(
        rows=samples.CREDENTIALS.rows, providers=samples.CREDENTIALS.providers, accounts=[samples.account()]
    ),
    "GET /v1/models": t.Models(rows=[t.ModelRow(provider="groq", model="llama-3", picked=True)]),
    "GET /v1/models?provider=groq": t.Models(rows=[t.ModelRow(provider="groq", model="llama-3", picked=True)]),
    "GET /v1/keys": t.Keys(rows=[t.KeyRow(id="k1", name="laptop", tail="9z9z", source="file")]),
    "GET /v1/embed": EmbedBindings(
        rows=[EmbedBindingRow(key_id="k1", profile="main", provider="gemini", model="e", dimensions=3, bound_at=0.0)]
    ),
    "GET /v1/status": t.Status(
        ping=samples.ping(), uptime_s=1.0, ready=True, mode="round-robin",
        last_errors=[t.ErrorRow(at=1.0, target="groq/m#1", outcome="limited", request_id="req-1")],
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _mine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HERMES_ROUTER_SOCKET", str(home / "s"))


@pytest.mark.parametrize(
    ("kind", "provider", "wanted"),
    [
        ("provider", "", ["groq", "mistral", "github_models", "cerebras"]),
        ("model", "groq", ["llama-3"]),
        ("name", "", ["hermes-router", "hermes-router:fast", "hermes-router:local", "groq/llama-3"]),
        ("credential", "groq", ["2f9a", "77c1"]),
        ("credential", "", ["2f9a", "77c1", "b00c"]),
        ("label", "groq", ["work"]),
        ("account", "codex", ["ada@example.test"]),
        ("router-key", "", ["laptop"]),
        ("embed-key", "", ["k1"]),
        ("request", "", ["req-1"]),
        ("nonsense", "", []),
    ],
)
def test_the_daemon_is_asked(serve, kind: str, provider: str, wanted: list[str]) -> None:
    """Each kind is read from one answer, narrowed to the provider on the line."""
    serve(ANSWERS)
    assert [name for name, _ in names(kind, provider)] == wanted


def test_what_it_said_is_kept_for_later(serve, home: Path) -> None:
    """Names outlive the daemon, in a file for their owner alone; what is no name is not kept."""
    script = serve(ANSWERS)
    assert names("credential", "groq")
    assert names("request", "")
    script.path.unlink()
    assert [name for name, _ in names("credential", "groq")] == ["2f9a", "77c1"]
    assert names("request", "") == []
    kept = home / ".cache" / "hermes-router" / "names"
    assert [one.name for one in kept.iterdir()] == ["credential.groq"]
    assert stat.S_IMODE((kept / "credential.groq").stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700


def test_a_name_cannot_leave_the_directory(home: Path, serve) -> None:
    """What stands on the line is no path."""
    serve({"GET /v1/credentials": ANSWERS["GET /v1/credentials"]})
    names("credential", "../../../x/.y")
    assert not [one for one in home.rglob("*") if one.is_file() and ".cache" not in str(one)]


def test_without_any_daemon_the_tables_say(home: Path) -> None:
    """Providers and their models by the tables that travel with the program, and by the owner's own."""
    own = home / ".config" / "hermes-router" / "providers.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[acme] # mine\ntitle = "x"\n[[acme.models]]\nid = "acme-large" # big\n')
    providers = [name for name, _ in names("provider", "")]
    assert {"groq", "local", "acme"} <= set(providers)
    assert all("." not in name for name in providers)
    assert [name for name, _ in names("model", "acme")] == ["acme-large"]
    assert names("model", "groq")
    assert names("router-key", "") == []


def test_the_tables_are_read_as_toml_has_them() -> None:
    """The quick reading of the heads and ids finds what a TOML parser finds."""
    table = Path(module._TABLE)
    rows = tomllib.loads(table.read_text())
    found = list(module._rows(str(table)))
    assert [name for name, model in found if not model] == list(rows)
    wanted = [(name, model["id"]) for name, row in rows.items() for model in row.get("models", [])]
    assert [pair for pair in found if pair[1]] == wanted


def test_a_daemon_that_hangs_costs_a_moment(home: Path) -> None:
    """It accepts and says nothing, or drips: after 0.15 s what is known counts."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(home / "s"))
        server.listen()

        def drip() -> None:
            peer, _ = server.accept()
            with peer:
                for _ in range(50):
                    try:
                        peer.sendall(b"x")
                    except OSError:
                        return
                    gone.wait(0.02)

        gone = threading.Event()
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.monotonic()
        assert "groq" in [name for name, _ in names("provider", "")]
        assert time.monotonic() - began < 10 * module.LIMIT_S
        gone.set()
        thread.join(5)


@pytest.mark.parametrize("answer", [{"rows": [{}]}, {"rows": 3}, {"providers": [None]}])
def test_a_daemon_of_another_version_is_no_error(serve, answer: dict[str, object]) -> None:
    """An answer that cannot be read names nothing."""
    serve({"GET /v1/credentials": answer, "GET /v1/keys": answer})
    assert names("router-key", "") == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"XDG_STATE_HOME": "/x/state", "XDG_CONFIG_HOME": "/x/config", "XDG_CACHE_HOME": "/x/cache"},
        {"XDG_STATE_HOME": "relative", "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": "also/relative"},
    ],
)
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_places_are_those_of_the_daemon(
    monkeypatch: pytest.MonkeyPatch, home: Path, environ: dict[str, str], platform: str
) -> None:
    """What is worked out by hand is what platformdirs says, here and on a Mac."""
    monkeypatch.delenv("HERMES_ROUTER_SOCKET")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    dirs = (MacOS if platform == "darwin" else Unix)("hermes-router", appauthor=False)
    own = {"HOME": str(home), **environ}
    assert sockets(own)[0] == f"{dirs.user_state_dir}/control.sock"
    assert own_rows(own) == f"{dirs.user_config_dir}/providers.toml"
    assert cache(own) == f"{dirs.user_cache_dir}/names"


@pytest.mark.parametrize("chosen", ["", "other.sock", "/run/x.sock", "~/x.sock"])
def test_sockets_are_those_that_commands_look_for(monkeypatch: pytest.MonkeyPatch, home: Path, chosen: str) -> None:
    """In the same order, with the owner's choice alone where there is one."""
    environ = {"HOME": str(home), "HERMES_ROUTER_SOCKET": chosen}
    wanted = socket_candidates(user_places(environ), environ)
    assert sockets(environ) == [str(one) for one in wanted]
    assert platformdirs.user_state_dir("hermes-router", appauthor=False) in sockets({"HOME": str(home)})[0]
