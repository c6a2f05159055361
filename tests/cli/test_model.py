"""hermes_router/cli/model.py and provider.py: providers, their models, and which take part."""

import json
from collections.abc import Callable

import pytest

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import CHANGED, CREDENTIALS, MODELS

Serve = Callable[..., Script]


@pytest.fixture
def daemon(serve: Serve) -> Script:
    return serve(
        {
            "GET /v1/credentials": CREDENTIALS,
            "GET /v1/models": MODELS,
            "GET /v1/models?provider=groq": MODELS,
            "POST /v1/models": CHANGED,
            "POST /v1/providers": CHANGED,
        }
    )


def test_provider_list(hr: Hr, daemon: Script) -> None:
    """All providers with state, keys, targets, models and what is free."""
    done = hr("provider", "list")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["PROVIDER", "STATE", "KEYS", "READY", "MODELS", "FREE"]
    assert lines[1].split()[:4] == ["groq", "on", "2", "4/4"]
    assert "disabled: by CEREBRAS_ENABLED=0" in done.stdout
    assert json.loads(hr("provider", "list", "--json").stdout)[0]["name"] == "groq"
    assert max(map(len, hr("provider", "list", columns=44).stdout.splitlines())) <= 44


@pytest.mark.parametrize(("word", "enabled"), [("enable", True), ("disable", False)])
def test_a_provider_is_switched(hr: Hr, daemon: Script, word: str, enabled: bool) -> None:
    """On or off, said in words, with the file that was written."""
    done = hr("provider", word, "Groq")
    assert done.exit_code == 0
    assert daemon.asks("POST")[0].body == {"provider": "groq", "enabled": enabled}
    assert done.stdout.startswith("Groq takes part." if enabled else "Groq is left out; its keys stay.")
    assert json.loads(hr("provider", word, "groq", "--json").stdout)["generation"] == 4


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("no key", "hr auth add groq", "Groq is enabled, and takes part once it has a key: `hr auth add groq`."),
        ("retired", "retired by its maker", "Groq is enabled, and does not take part: retired by its maker."),
    ],
)
def test_enabled_is_not_yet_taking_part(hr: Hr, daemon: Script, state: str, reason: str, said: str) -> None:
    """What else is missing is told: a provider without a key, or without a service, answers nobody."""
    daemon.answers["GET /v1/credentials"] = t.Credentials(
        rows=[], providers=[t.ProviderRow(name="groq", title="Groq", state=state, reason=reason, models=["m-1"])]
    )
    assert hr("provider", "enable", "groq").stdout.startswith(said)
    assert reason not in hr("provider", "list").stdout or state == "retired"
    assert "m-1" not in hr("model", "list").stdout


@pytest.mark.parametrize(("name", "variables"), [("google", ["GEMINI_API_KEY"]), ("moonshot", ["MOONSHOT_API_KEY"])])
def test_a_provider_is_found_by_what_others_call_it(hr: Hr, daemon: Script, name: str, variables: list[str]) -> None:
    """By a word of its title, or by a variable that its users already have: the name is suggested."""
    row = t.ProviderRow(name="xyz", title="Google Gemini", state="on", variables=variables)
    daemon.answers["GET /v1/credentials"] = t.Credentials(rows=[], providers=[row])
    done = hr("model", "list", name)
    assert (done.exit_code, "Did you mean xyz?" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [["provider", "enable", "grok"], ["model", "set", "grok", "m"], ["model", "reset", "grok"],
     ["model", "list", "grok"], ["models", "--provider", "grok"], ["auth", "test", "grok"], ["auth", "remove", "grok"]],
)  # fmt: skip
def test_unknown_providers_get_a_suggestion(hr: Hr, daemon: Script, arguments: list[str]) -> None:
    """Every command that takes a provider: exit 2, did you mean groq?"""
    done = hr(*arguments)
    assert done.exit_code == 2
    assert "Did you mean groq?" in done.stderr
    assert not daemon.asks("POST")


def test_model_list_shows_what_takes_part(hr: Hr, daemon: Script) -> None:
    """The models of the providers that have a key, in order."""
    done = hr("model", "list")
    assert "groq          m-1, m-2" in done.stdout or "groq      m-1, m-2" in done.stdout
    assert "github_models" not in done.stdout
    assert json.loads(hr("model", "list", "groq", "--json").stdout) == {"groq": ["m-1", "m-2"]}
    daemon.answers["GET /v1/credentials"] = t.Credentials(rows=[], providers=[])
    assert "hr auth add" in hr("model", "list").stdout


@pytest.mark.parametrize("models", [["a", "b"], ["a,b"], ["a,", "b", "a"]])
def test_model_set_takes_blanks_and_commas(hr: Hr, daemon: Script, models: list[str]) -> None:
    """Several models in order, each once."""
    assert hr("model", "set", "groq", *models).exit_code == 0
    assert daemon.asks("POST")[0].body == {"provider": "groq", "models": ["a", "b"]}


def test_a_model_that_nobody_knows_is_pointed_out(hr: Hr, daemon: Script) -> None:
    """It is set, since lists are never whole; what may have been meant is named beside it."""
    daemon.answers["GET /v1/models?provider=groq"] = t.Models(
        rows=[t.ModelRow(provider="groq", model="openai/gpt-oss-120b", picked=True)]
    )
    done = hr("model", "set", "groq", "openai/gpt-oss-120b", "openai/gpt-os-120b", "zzz")
    assert (done.exit_code, len(daemon.asks("POST"))) == (0, 1)
    first, second = done.stderr.splitlines()
    assert "'openai/gpt-os-120b' is known of Groq" in first
    assert first.endswith("did you mean openai/gpt-oss-120b?")
    assert second.endswith("`hr models --refresh --provider groq` shows what it offers")


def test_model_set_needs_one_and_reset_none(hr: Hr, daemon: Script) -> None:
    """No model is wrong usage; reset sends none."""
    assert hr("model", "set", "groq", ",").exit_code == 2
    assert hr("model", "set", "groq").exit_code == 2
    assert hr("model", "reset", "groq").exit_code == 0
    assert daemon.asks("POST")[0].body == {"provider": "groq", "models": None}


def test_models_are_a_table(hr: Hr, daemon: Script) -> None:
    """Tier, price, window, abilities (unknown ones marked), what is gone; problems on standard error."""
    done = hr("models")
    assert "groq/m-1  yes     ready" in done.stdout
    assert "131k" in done.stdout
    assert "tools reasoning?" in done.stdout
    assert "not listed by the provider" in done.stdout
    assert done.stderr == "hr: mistral: its list could not be read\n"
    assert len(json.loads(hr("models", "--json").stdout)["rows"]) == 2
    assert max(map(len, hr("models", columns=40).stdout.splitlines())) <= 40


def test_models_may_be_asked_for_anew(hr: Hr, daemon: Script) -> None:
    """--refresh and --provider travel as the query."""
    daemon.answers["GET /v1/models?refresh=1&provider=groq"] = t.Models(rows=[])
    assert "hr auth add" in hr("models", "--refresh", "--provider", "groq").stdout
