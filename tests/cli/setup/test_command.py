"""hermes_router/cli/setup/command.py and its steps: the order, the failures told, the service by its own command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from hermes_router.cli import main as main_module
from hermes_router.cli.original import install as original
from hermes_router.cli.setup import end as setup_end
from hermes_router.cli.setup import keys as setup_keys
from hermes_router.cli.setup.first_answer import Answered
from hermes_router.control import setup_types as s
from hermes_router.control import types as t
from hermes_router.core.router_keys import digest_of

from .. import samples
from ..conftest import Hr, Script

Serve = Callable[..., Script]

ROUTER_KEY = "sk-hr-0123456789abcdefghij"
CATALOG = s.Catalog(rows=[
    s.CatalogRow(name="groq", title="Groq", state="on", price_class="free", variables=["GROQ_API_KEY"]),
    s.CatalogRow(name="mistral", title="Mistral", state="no key", price_class="free", context=131_072, tools=True,
                 signup="https://mistral.example/keys", free="Free.", variables=["MISTRAL_API_KEY"]),
    s.CatalogRow(name="openai", title="OpenAI", state="no key", variables=["OPENAI_API_KEY"]),
])  # fmt: skip
CONFIG = t.Config(rows=[t.ConfigRow(name="PROXY_API_KEYS", value="the default key", source="default")])
DEFAULT = t.Keys(rows=[t.KeyRow(id="0", name="PROXY_API_KEYS 1", tail="****", source="default")])


@pytest.fixture
def daemon(serve: Serve, monkeypatch: pytest.MonkeyPatch, home: Path) -> Script:
    """A router that runs, with one key; its public port answers by script."""
    monkeypatch.setattr(original, "processes", lambda: iter(()))
    monkeypatch.setattr(original, "_UNITS", ())
    monkeypatch.setattr(setup_keys, "local_servers", lambda _rows: [])
    monkeypatch.setattr(setup_end, "_LOCAL_S", 0.0)
    monkeypatch.chdir(home)

    def stream(_url: str, key: str, _question: str, show: Callable[[str], None]) -> Answered:
        daemon.answers["asked with"] = key
        show("Ready.")
        return Answered("groq/m-1", 1, 0.1, 0.2, "Ready.")

    monkeypatch.setattr(setup_end, "stream", stream)
    made = t.AddedKey(row=t.KeyRow(id="k", name="setup", tail="ghij", source="stored"), key=ROUTER_KEY)
    status = t.Status(ping=samples.ping(), uptime_s=1, ready=True, mode="round-robin", targets=[samples.target("groq")])
    daemon = serve({
        "GET /v1/catalog": CATALOG, "GET /v1/config": CONFIG, "GET /v1/keys": DEFAULT, "POST /v1/keys": made,
        "GET /v1/credentials": samples.CREDENTIALS, "GET /v1/status": status,
        "POST /v1/credentials/keep": lambda asked: t.Added(provider=asked.body["provider"], rows=[
            t.AddedRow(line=1, outcome="stored", tail=asked.body["lines"][0][-4:], test="ok")], store="file"),
    })  # fmt: skip
    return daemon


def run(hr: Hr, *args: str, **env: str) -> Any:
    return hr("setup", "--yes", *args, columns=80, env={"CODEX_HOME": "", **env})


def test_it_ends_with_an_answer_by_the_key_that_it_made(hr: Hr, daemon: Script) -> None:
    """The router key is made where the default stands, asked with, and shown; the verdict names what would help."""
    done = run(hr)
    assert done.exit_code == 0, done.output
    assert daemon.answers["asked with"] == ROUTER_KEY
    assert "groq/m-1 answered in 200 ms." in done.stdout
    assert "Only groq can answer: if it fails, nothing is left." in done.stdout
    assert "What would help most: a key of Mistral, https://mistral.example/keys (Free)." in " ".join(
        done.stdout.split()
    )
    assert done.stdout.index("4 of 6") < done.stdout.index(ROUTER_KEY)
    assert done.stdout.index("`hr config set PROXY_API_KEYS ''`") > done.stdout.index("Point your programs at it")


@pytest.mark.parametrize("own", ["stored", "/c/.env:1"])
def test_a_key_of_the_owners_is_left_alone(hr: Hr, daemon: Script, own: str) -> None:
    """None is made beside it; without a key that we know, the question goes over the control socket."""
    rows = [t.KeyRow(id="1", name="agent", tail="abcd", source=own)]
    daemon.answers["GET /v1/keys"] = t.Keys(rows=rows)
    daemon.answers["GET /v1/config"] = t.Config(
        rows=[t.ConfigRow(name="PROXY_API_KEYS", value="…abcd", source="/c/.env:1")]
    )
    daemon.answers["POST /v1/ask"] = t.Answer(
        text="Over the socket.", target="groq/m-1", attempts=2, request_id="r", duration_s=3.0
    )
    done = run(hr)
    assert done.exit_code == 0, done.output
    assert "Programs show one of: agent (…abcd)." in done.stdout
    assert "Over the socket." in done.stdout
    assert "answered in 3.0 s, 2 attempts." in done.stdout
    assert ("POST", "/v1/keys") not in {(one.method, one.path) for one in daemon.asked}
    assert "sk-router-1" not in done.stdout  # it is good no longer


def test_a_key_of_the_own_environment_asks_too(hr: Hr, daemon: Script) -> None:
    """As in a container: the key that is set there is good, so the question goes the way that callers go."""
    rows = [
        t.KeyRow(id=digest_of("sk-mine-0123456789")[:12], name="PROXY_API_KEYS 1", tail="6789", source="environment")
    ]
    daemon.answers["GET /v1/keys"] = t.Keys(rows=rows)
    daemon.answers["GET /v1/config"] = t.Config(
        rows=[t.ConfigRow(name="PROXY_API_KEYS", value="…", source="environment")]
    )
    done = run(hr, PROXY_API_KEYS="sk-other-01234567,sk-mine-0123456789")
    assert done.exit_code == 0, done.output
    assert daemon.answers["asked with"] == "sk-mine-0123456789"
    assert "sk-mine-0123456789" not in done.output


def test_a_failed_step_is_told_and_the_rest_goes_on(hr: Hr, daemon: Script) -> None:
    """A vault that takes nothing does not keep the router from being asked; the end says that something went wrong."""
    daemon.answers["POST /v1/credentials/keep"] = t.Problem(
        code="vault", message="the disk is full", next_step="make room"
    )
    done = run(hr, MISTRAL_API_KEY="mk_0123456789abcdef")
    assert done.exit_code == 0
    assert "The disk is full." in done.stdout
    assert "Make room." in done.stdout
    assert "It works; what went wrong is said above" in done.stdout


def test_paid_keys_are_taken_with_a_warning(hr: Hr, daemon: Script) -> None:
    """They would be used anyway by a daemon that sees the environment; what a day may cost is the owner's to say."""
    done = run(hr, OPENAI_API_KEY="sk-0123456789abcdef0123")
    assert "BUDGET_USD_DAY" in done.stdout
    assert "openai …0123  stored, ok" in done.stdout


def test_no_answer_is_an_exit_code(hr: Hr, daemon: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the router said, and that everything else is kept."""

    def stream(*_args: Any) -> Answered:
        raise setup_end.Trouble("every target is limited", "wait")

    monkeypatch.setattr(setup_end, "stream", stream)
    done = run(hr, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["answered"], found["troubles"]) == (False, ["Every target is limited."])
    assert found["router_key"] == ROUTER_KEY
    assert "Not yet: what was done is kept" in done.stderr


def test_yes_takes_nothing_that_says_where_keys_go(
    hr: Hr, daemon: Script, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An original's base URL is left out and named, its other settings are taken; the current directory is pointed out."""
    for name, mode in (("hermes-router", "sequential"), ("cloned", "fast")):
        (home / name).mkdir()
        (home / name / ".env").write_text(
            f"CACHE_TTL_SECONDS=1\nGROQ_BASE_URL=http://evil.test\nROTATION_MODE={mode}\n"
        )
    monkeypatch.chdir(home / "cloned")
    daemon.answers["PATCH /v1/config"] = t.Changed(
        rows=[t.ChangedRow(name="ROTATION_MODE", before="", after="sequential", file="/c")]
    )
    said = " ".join(run(hr).stdout.split())
    assert [one.body["changes"] for one in daemon.asks("PATCH")] == [{"ROTATION_MODE": "sequential"}]
    assert "GROQ_BASE_URL left out: it says where your keys are sent" in said
    assert "The original's files in this directory were not read: `hr auth import .` does." in said


@pytest.mark.parametrize("why", ["", "systemd does not run in this container"])
def test_a_service_is_offered_only_where_one_can_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], why: str
) -> None:
    """Without a service manager nobody is asked, and one sentence says why."""
    asked: list[str] = []
    monkeypatch.setattr(setup_end, "absence", lambda _scope: why)
    monkeypatch.setattr(setup_keys.Talk, "sure", lambda _self, question: bool(asked.append(question)))
    ending = setup_end.Ending(setup_keys.Talk(yes=False), _Link())  # type: ignore[arg-type]
    ending.run()
    assert len(asked) == (0 if why else 1)
    assert ("It cannot be a service here: systemd does not run in this container." in capsys.readouterr().out) is bool(
        why
    )


def test_the_service_is_installed_by_its_own_command(hr: Hr, daemon: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by --service, with --yes handed on."""
    called: list[bool] = []

    @click.command("install-service")
    @click.option("--yes", is_flag=True)
    @click.option("--system", is_flag=True)
    def install(*, yes: bool, system: bool) -> None:
        called.append(yes and not system)

    monkeypatch.setattr(main_module.LazyGroup, "get_command", lambda *_args: install)
    monkeypatch.setitem(main_module.COMMANDS, "install-service", ("x", "y"))
    with click.Context(install, info_name="setup", parent=click.Context(main_module.main)):
        ending = setup_end.Ending(setup_keys.Talk(yes=True), _Link(), service=True)  # type: ignore[arg-type]
        monkeypatch.setattr(setup_end, "find", _Link)
        ending.run()
    assert called == [True]


def test_a_service_that_cannot_be_costs_no_answer(hr: Hr, daemon: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lingering refused, no systemd: it is said, the router answers all the same, and the exit code is that refusal's."""

    @click.command("install-service")
    def install() -> None:
        raise setup_end.Trouble("there is no systemd here", "use Docker", code=3)

    real = main_module.LazyGroup.get_command
    monkeypatch.setattr(
        main_module.LazyGroup,
        "get_command",
        lambda group, ctx, name: install if name == "install-service" else real(group, ctx, name),
    )
    done = run(hr, "--service")
    assert done.exit_code == 3, done.output
    assert "There is no systemd here." in done.stdout
    assert "groq/m-1 answered in" in done.stdout


@pytest.mark.parametrize("refuses", [False, True])
def test_a_service_takes_the_shells_router_keys(
    hr: Hr, daemon: Script, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    """It does not see PROXY_API_KEYS: the digests go before it, and its default key ends as it had ended here.

    Also where it runs, and would not outlive the login.
    """
    told: list[tuple[str, ...]] = []

    @click.command("install-service")
    @click.option("--yes", is_flag=True)
    @click.option("--kept", multiple=True)
    def install(*, yes: bool, kept: tuple[str, ...]) -> None:
        told.append(kept)
        daemon.answers["GET /v1/config"] = CONFIG  # its own: nothing is set there
        if refuses:
            raise setup_end.Trouble("lingering could not be switched on", "ask root", code=3)

    real = main_module.LazyGroup.get_command
    monkeypatch.setattr(
        main_module.LazyGroup,
        "get_command",
        lambda group, ctx, name: install if name == "install-service" else real(group, ctx, name),
    )
    mine, other = "sk-mine-0123456789", "sk-other-01234567"
    rows = [t.KeyRow(id=digest_of(one)[:12], name="x", tail=one[-4:], source="environment") for one in (mine, other)]
    set_here = t.Config(rows=[t.ConfigRow(name="PROXY_API_KEYS", value="…", source="environment")])
    stored = s.AdoptedKey(row=rows[0], outcome="stored")

    def ended(_asked: object) -> t.Changed:
        daemon.answers["GET /v1/config"] = t.Config(rows=[t.ConfigRow(name="PROXY_API_KEYS", value="", source="/e:1")])
        return t.Changed(rows=[])

    daemon.answers |= {
        "GET /v1/keys": t.Keys(rows=rows), "GET /v1/config": set_here, "POST /v1/keys/adopt": stored,
        "PATCH /v1/config": ended,
    }  # fmt: skip
    done = run(hr, "--service", PROXY_API_KEYS=f"{mine},{other}")
    assert done.exit_code == (3 if refuses else 0), done.output
    assert "the router keys in it are kept for it" in " ".join(done.stdout.split())
    assert "sk-router-1" not in done.stdout
    given = [one.body for one in daemon.asked if one.path == "/v1/keys/adopt"]
    assert [(one["digest"], one["tail"]) for one in given] == [(digest_of(one), one[-4:]) for one in (mine, other)]
    assert [one.body for one in daemon.asked if one.method == "PATCH"] == [{"changes": {"PROXY_API_KEYS": ""}}]
    assert told == [("PROXY_API_KEYS",)]
    assert daemon.answers["asked with"] == mine
    daemon.asked.clear()
    daemon.answers["GET /v1/config"] = set_here
    done = run(hr, "--service", PROXY_API_KEYS=mine)  # another shell has started the router, with a key more
    assert told[1:] == [()]
    assert not [one for one in daemon.asked if one.path == "/v1/keys/adopt" or one.method == "PATCH"]


class _Link:
    """A router that runs."""

    works_on_files = False
    ping = samples.ping()

    def get(self, _path: str, _answer: object) -> t.Config:
        return CONFIG


def test_without_a_terminal_it_says_what_to_do(hr: Hr, daemon: Script) -> None:
    """Exit 2 before anything is looked at."""
    done = hr("setup")
    assert done.exit_code == 2
    assert "There is nobody to ask" in done.stderr
    assert daemon.asked == []
