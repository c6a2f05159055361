"""Reading the whole configuration from real files."""

import shutil
from pathlib import Path

import pytest

from hermes_router.control.places import Places
from hermes_router.core.ids import CredentialId, ProviderName, Secret
from hermes_router.daemon.config import Loaded, load, shipped_tables
from hermes_router.store.vault import CredentialStore, Entry

from ..fakes import SilentLog


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Places below a directory of the test's own."""
    config = tmp_path / "config"
    config.mkdir()
    return Places(config, tmp_path / "data", tmp_path / "state", config / ".env", tmp_path / "state" / "control.sock")


def _secrets(loaded: Loaded) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in loaded.credentials:
        if one.kind != "none":
            found.setdefault(one.provider, []).append(loaded.vault.reveal(one).reveal())
    return found


def test_an_empty_home_is_a_working_configuration(places: Places) -> None:
    """No file at all: our rows, our defaults, a credential for `local` only, and nothing to complain about."""
    loaded = load(places, {})
    assert loaded.problems == ()
    assert len(loaded.catalog) == len(shipped_tables()) == 17
    assert shipped_tables() is shipped_tables()  # rows and code of a running daemon are of one version
    assert loaded.settings.port == 8319
    assert [c.provider for c in loaded.credentials] == ["local"]
    assert places.credential_key.is_file()


def test_all_three_layers_and_where_values_come_from(places: Places) -> None:
    """config.toml < .env < environment, each value with its place; tables and lists of TOML are names, too."""
    places.config_file.write_text(
        'port = 1\nlog_level = "debug"\nstrict_models = true\npatience_seconds = 2.5\n[groq]\nmodel = ["a", "b"]\n'
    )
    places.env_file.write_text("PORT=2  # mine\nexport GROQ_API_KEY='gsk_1'\nGEMINI_API_KEY=g1\n")
    loaded = load(places, {"PORT": "3", "GEMINI_API_KEY": "g2"})
    assert loaded.problems == ()
    settings = loaded.settings
    assert (settings.port, settings.log_level, settings.strict_models, settings.patience_s) == (3, "debug", True, 2.5)
    assert settings.provider("groq").models == ("a", "b")
    assert settings.sources["PORT"] == "environment"
    assert settings.sources["LOG_LEVEL"] == str(places.config_file)
    assert settings.sources["GROQ_API_KEY"] == f"{places.env_file}:2"
    assert _secrets(loaded) == {"groq": ["gsk_1"], "gemini": ["g2"]}


def test_identities_survive_a_second_reading(places: Places) -> None:
    """The same key is the same credential after every start."""
    first = load(places, {"GROQ_API_KEY": "gsk_1"}).credentials
    assert load(places, {"GROQ_API_KEYS": "gsk_0,gsk_1"}).credentials[1].id == first[0].id


def test_rows_of_ones_own(places: Places) -> None:
    """A row in the owner's providers.toml has its variables like any of ours, and may change one of ours."""
    places.providers_file.write_text(
        '[acme]\nendpoints = { openai_chat = "https://a.test/v1" }\n[groq]\nconcurrency = 1\n', encoding="utf-8"
    )
    loaded = load(places, {"ACME_API_KEY": "k", "ACME_MODEL": "m"})
    assert loaded.problems == ()
    by_name = {str(name): spec for name, spec in loaded.catalog.items()}
    assert by_name["acme"].own
    assert by_name["groq"].concurrency == 1
    assert by_name["groq"].models
    assert _secrets(loaded) == {"acme": ["k"]}
    assert loaded.settings.provider("acme").models == ("m",)


@pytest.mark.parametrize("data", [b"[broken", b"\xff\xfe", b"a = 1\na = 2", b"x = " + b"[" * 50_000])
@pytest.mark.parametrize("name", ["config.toml", "providers.toml"])
def test_a_damaged_file_is_a_problem_and_no_crash(places: Places, name: str, data: bytes) -> None:
    """A file that is no TOML is named and left out; everything else is in force."""
    (places.config_dir / name).write_bytes(data)
    loaded = load(places, {"GROQ_API_KEY": "gsk_1"})
    [problem] = loaded.problems
    assert problem.where == str(places.config_dir / name)
    assert loaded.fatal == ()
    assert len(loaded.catalog) == 17
    assert _secrets(loaded) == {"groq": ["gsk_1"]}


@pytest.mark.parametrize("name", ["config.toml", "providers.toml", ".env"])
def test_a_file_that_cannot_be_read_is_a_problem_and_no_crash(places: Places, name: str) -> None:
    """A directory in the file's place is named with its path."""
    (places.config_dir / name).mkdir()
    [problem] = load(places, {}).problems
    assert str(places.config_dir / name) in str(problem)


def test_a_broken_line_and_a_broken_row_are_named_and_skipped(places: Places) -> None:
    """Of a .env line and of a row with a fault the place is told, and their neighbours count."""
    places.env_file.write_text("GROQ_API_KEY=gsk_1\nthis is not a line\nPATIENCE_SECONDS=soon\nMIN_TIER=2\n")
    places.providers_file.write_text('[groq]\ncolour = "red"\n')
    loaded = load(places, {})
    assert {p.where for p in loaded.problems} == {
        f"{places.env_file}:2",
        f"{places.env_file}:3",
        str(places.providers_file),
    }
    assert (loaded.settings.min_tier, loaded.settings.patience_s) == (2, 60)
    assert loaded.fatal == ()
    assert _secrets(loaded) == {"groq": ["gsk_1"]}


def test_what_must_not_start_is_marked(places: Places) -> None:
    """A port that is none is fatal, with its line."""
    places.env_file.write_text("\nPORT=http\n")
    [problem] = load(places, {}).fatal
    assert problem.where == f"{places.env_file}:2"


def test_a_table_where_a_value_should_stand(places: Places) -> None:
    """What TOML can say and a variable cannot hold is named."""
    places.config_file.write_text("[groq]\nmodel = { a = 1 }\n")
    [problem] = load(places, {}).problems
    assert "groq_model" in str(problem)


def test_a_stray_env_file_is_pointed_out_and_not_read(places: Places, tmp_path: Path) -> None:
    """A .env with our names in the current directory is named; its values count for nothing."""
    here = tmp_path / "project"
    here.mkdir()
    (here / ".env").write_text("GROQ_API_KEY=gsk_1\nDATABASE_URL=x\n")
    loaded = load(places, {}, cwd=here)
    [problem] = loaded.problems
    assert problem.where == str(here / ".env")
    assert "GROQ_API_KEY" in str(problem)
    assert "DATABASE_URL" not in str(problem)
    assert "gsk_1" not in str(problem)
    assert _secrets(loaded) == {}


def test_a_foreign_env_file_and_our_own_are_not_pointed_out(places: Places, tmp_path: Path) -> None:
    """No word about a .env without names of ours, nor about the one in force when we stand beside it."""
    (tmp_path / ".env").write_text("DATABASE_URL=x\n")
    assert load(places, {}, cwd=tmp_path).problems == ()
    places.env_file.write_text("GROQ_API_KEY=gsk_1\n")
    assert load(places, {}, cwd=places.config_dir).problems == ()
    assert load(places, {}, cwd=tmp_path / "gone").problems == ()


def test_a_named_env_file_that_is_missing_is_said(places: Places, tmp_path: Path) -> None:
    """--env-file with a typo does not pass in silence."""
    named = Places(places.config_dir, places.data_dir, places.state_dir, tmp_path / "typo.env", places.socket)
    [problem] = load(named, {}).problems
    assert problem.where == str(tmp_path / "typo.env")


def test_proxies_are_also_known_in_lower_case(places: Places) -> None:
    """Where the capitals are absent, what curl and everyone reads counts."""
    loaded = load(places, {"https_proxy": "http://p:1", "HTTP_PROXY": "http://p:2", "http_proxy": "http://p:3"})
    assert (loaded.settings.https_proxy, loaded.settings.http_proxy) == ("http://p:1", "http://p:2")


def test_a_log_file_in_the_home(places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tilde is the owner's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(places, {"LOG_FILE": "~/x.log"}).settings.log_file == str(tmp_path / "x.log")


# --- systemd's credentials, the store, and contents to be tried --------------------------------------


@pytest.fixture
def handed_over(tmp_path: Path) -> Path:
    """What the service manager puts before the daemon."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    return directory


def test_a_units_credentials_are_keys(places: Places, handed_over: Path) -> None:
    """Named as the variable in any case, one key a line; the source says where they are from."""
    (handed_over / "groq_api_key").write_text("gsk_1\n\n  gsk_2  \r\n")
    (handed_over / "GROQ_API_KEY").write_text("gsk_3")
    (handed_over / "Gemini_Api_Keys").write_text("g1")
    (handed_over / "proxy_api_keys").write_text("sk-mine-1\nsk-mine-2\n")
    (handed_over / "tls.pem").write_bytes(b"\xff not ours")
    loaded = load(places, {"CREDENTIALS_DIRECTORY": str(handed_over)})
    assert loaded.problems == ()
    assert {name: sorted(keys) for name, keys in _secrets(loaded).items()} == {
        "groq": ["gsk_1", "gsk_2", "gsk_3"],
        "gemini": ["g1"],
    }
    assert {c.source for c in loaded.credentials if c.kind != "none"} == {"systemd credential"}
    assert len(loaded.settings.proxy_api_keys) == 2


def test_a_units_credential_is_weaker_than_the_environment_and_stronger_than_files(
    places: Places, handed_over: Path
) -> None:
    """Of one name the environment's counts, then the credential's, then what .env says."""
    (handed_over / "groq_api_key").write_text("gsk_1")
    (handed_over / "gemini_api_key").write_text("g1")
    places.env_file.write_text("GEMINI_API_KEY=g2\nGROQ_API_KEY=gsk_3\n")
    loaded = load(places, {"CREDENTIALS_DIRECTORY": str(handed_over), "GROQ_API_KEY": "gsk_2"})
    assert _secrets(loaded) == {"groq": ["gsk_2"], "gemini": ["g1"]}


def test_credentials_that_vanish_are_a_fault_that_no_reload_follows(places: Places, handed_over: Path) -> None:
    """The keys in force stay: what was read before knew no such fault."""
    environ = {"CREDENTIALS_DIRECTORY": str(handed_over)}
    (handed_over / "groq_api_key").write_text("gsk_1")
    before = load(places, environ)
    shutil.rmtree(handed_over)
    after = load(places, environ)
    assert [str(fault) for fault in after.faults_since(before)] == [str(after.problems[0])]
    assert "cannot be read" in str(after.problems[0])


def test_faults_in_a_units_credentials_are_named_without_their_content(places: Places, handed_over: Path) -> None:
    """A key with a blank inside, bytes that are no text, a name with a slip of the pen, a directory that is gone."""
    (handed_over / "groq_api_key").write_text("gsk_1\ngsk hunter2\n")
    (handed_over / "gemini_api_key").write_bytes(b"\xffhunter2")
    (handed_over / "mistral_api_kye").write_text("hunter2")
    loaded = load(places, {"CREDENTIALS_DIRECTORY": str(handed_over)})
    said = " ".join(map(str, loaded.problems))
    assert len(loaded.problems) == 3
    assert "holds spaces" in said
    assert "not UTF-8" in said
    assert "MISTRAL_API_KEY" in said
    assert "hunter2" not in said
    assert _secrets(loaded) == {"groq": ["gsk_1"]}
    [problem] = load(places, {"CREDENTIALS_DIRECTORY": str(handed_over / "gone")}).problems
    assert "cannot be read" in str(problem)


async def test_a_stored_key_that_cannot_be_read_is_not_gone(places: Places) -> None:
    """Its provider is named, also where only the store is read anew: a keyring may be open in a moment."""
    first, again = (
        CredentialStore(
            places.data_dir, choice="file", keyring=None, headless=False, log=SilentLog(), now=lambda: 1_790_000_000.0
        )
        for _ in range(2)
    )
    first.load()
    ident = CredentialId(Secret("gsk_stored").digest(load(places, {}).digest_key, ProviderName("groq")))
    await first.put(Entry(ident, ProviderName("groq"), "api_key", "****", ""), Secret("gsk_stored"))
    before = load(places, {}, stored=first)
    (places.data_dir / "secrets.json").unlink()
    again.load()
    for lost in (load(places, {}, stored=again), before.with_stored(again)):
        assert (lost.unread, _secrets(lost)) == ({"groq"}, {})
    assert before.unread == load(places, {}).unread == frozenset()


async def test_stored_keys_take_part(places: Places) -> None:
    """What was added is a credential like any other; what the store has to say is a problem of the reading."""
    store = CredentialStore(
        places.data_dir, choice="file", keyring=None, headless=False, log=SilentLog(), now=lambda: 1_790_000_000.0
    )
    store.load()
    key = load(places, {}).digest_key
    for provider, text in ((ProviderName("groq"), "gsk_stored"), (ProviderName("gone"), "x")):
        ident = CredentialId(Secret(text).digest(key, provider))
        await store.put(Entry(ident, provider, "api_key", "****", "mine"), Secret(text))
    loaded = load(places, {"GEMINI_API_KEY": "g1"}, stored=store)
    assert _secrets(loaded) == {"gemini": ["g1"], "groq": ["gsk_stored"]}
    [stored] = [c for c in loaded.credentials if c.provider == "groq"]
    assert (stored.source, stored.account) == ("file", "groq:mine")
    assert ["gone" in str(problem) for problem in loaded.problems] == [True]
    assert loaded.unread == frozenset()
    (places.data_dir / "credentials.json").write_bytes(b"{")
    store.load()
    assert "set aside" in " ".join(map(str, load(places, {}, stored=store).problems))


def test_contents_are_tried_before_they_are_written(places: Places) -> None:
    """What would stand in a file counts instead of what does, and nothing is written."""
    places.env_file.write_text("PORT=1\n")
    tried = {places.env_file: b"PORT=2\n", places.config_file: b"[broken", places.providers_file: b""}
    loaded = load(places, {}, replaced=tried)
    assert loaded.settings.port == 2
    assert [problem.where for problem in loaded.problems] == [str(places.config_file)]
    assert places.env_file.read_text() == "PORT=1\n"
    assert not places.config_file.exists()


def test_a_configuration_without_some_credentials(places: Places) -> None:
    """They are gone from the pool; what is under way can still read its secret."""
    loaded = load(places, {"GROQ_API_KEYS": "gsk_1,gsk_2"})
    first = loaded.credentials[0]
    less = loaded.without({first.id})
    assert _secrets(less) == {"groq": ["gsk_2"]}
    assert less.vault.reveal(first).reveal() == "gsk_1"
    assert loaded.digest_key not in repr(loaded).encode()
