"""hermes_router/cli/stray.py: a `.env` of ours in the current directory is pointed out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_router.control import types as t

from . import samples
from .conftest import Hr, Script

Serve = Callable[..., Script]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory."""
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def credentials(**more: Any) -> dict[str, Any]:
    """What `hr auth add` asks for."""
    row = t.AddedRow(line=1, outcome="stored", tail="2f9a", id="i", test="ok")
    added = t.Added(provider="groq", rows=[row], store="keyring")
    return {"GET /v1/credentials": samples.CREDENTIALS, "POST /v1/credentials": added, **more}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("GROQ_API_KEY=gsk_1\n", "GROQ_API_KEY"),
        ("export PORT=1\nX=2\nGROQ_API_KEY_2=a\nGROQ_MODEL=b\nMIN_TIER=3\n",
         "PORT, GROQ_API_KEY_2, GROQ_MODEL and more"),
        ("ACME_API_KEY=a\n", "ACME_API_KEY"),
    ],
)  # fmt: skip
def test_whoever_adds_a_key_is_told_of_it(  # noqa: PLR0917 - fixtures
    hr: Hr, serve: Serve, home: Path, here: Path, text: str, names: str
) -> None:
    """Names of settings and of keys, of the owner's own rows, too; on standard error, and no value."""
    serve(credentials())
    rows = home / ".config/hermes-router/providers.toml"
    rows.parent.mkdir(parents=True, exist_ok=True)
    rows.write_text('[acme]\nendpoints = { openai_chat = "https://a.test/v1" }\n')
    (here / ".env").write_text(text)
    done = hr("auth", "add", "groq", "--json", input="gsk_other")
    assert done.exit_code == 0, done.output
    assert f"{here / '.env'}: holds {names}, but is not read: settings lie in " in done.stderr
    assert done.stderr.count("\n") == 1
    assert "gsk_1" not in done.stderr


def test_a_foreign_env_and_the_one_in_force_are_not_pointed_out(hr: Hr, serve: Serve, here: Path) -> None:
    """No word of a .env without names of ours, nor of the one that the daemon was told to read."""
    ours = t.Config(rows=[], files=["/c/config.toml", str(here / ".env"), "/c/providers.toml"])
    serve(credentials(**{"GET /v1/config": ours}))
    for text in ("DATABASE_URL=x\n", "GROQ_API_KEY=gsk_1\n"):
        (here / ".env").write_text(text)
        assert "is not read" not in hr("auth", "add", "groq", input="gsk_other").stderr
