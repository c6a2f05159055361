"""The contract of every row of `data/providers.toml`: complete, consistent, and true to the facts that matter most."""

import re
import tomllib
from pathlib import Path

import pytest

from hermes_router.core.catalog import (
    UNKNOWN,
    Capability,
    Known,
    ModelSpec,
    PriceClass,
    ProviderSpec,
    Quirk,
    QuotaRule,
)
from hermes_router.core.catalog_rows import parse_rows
from hermes_router.core.ids import ModelId
from hermes_router.core.observations import Unit, Window
from hermes_router.wire.ratelimit import HEADER_FAMILIES
from hermes_router.wire.rejection.families import FAMILIES

TABLE = Path(__file__).parents[2] / "hermes_router" / "data" / "providers.toml"
ROWS, ERRORS = parse_rows(tomllib.loads(TABLE.read_text()), where="providers.toml")
SPECS = list(ROWS.values())
MODELS = [(spec, model) for spec in SPECS for model in spec.models]
NAMES = [
    "gemini",
    "openrouter",
    "sambanova",
    "github_models",
    "cerebras",
    "groq",
    "mistral",
    "cohere",
    "zai",
    "naga",
    "nvidia",
    "huggingface",
    "kimi",
    "openai",
    "anthropic",
    "codex",
    "local",
]


def _by_name(spec: ProviderSpec) -> str:
    return spec.name


def test_all_documented_names_are_rows_and_every_row_is_sound() -> None:
    """The 17 names of the seed documents are there, in their order, and nothing in the file is wrong."""
    assert ERRORS == []
    assert list(ROWS) == NAMES


@pytest.mark.parametrize("spec", SPECS, ids=_by_name)
def test_a_row_is_complete(spec: ProviderSpec) -> None:
    """Each row says where to sign up, what is free, terms, pooling, and when and where its facts were read."""
    assert spec.signup.startswith("https://")
    assert spec.title
    assert spec.free
    assert spec.terms
    assert spec.pooling
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", spec.checked)
    assert spec.source.startswith("https://")
    assert spec.ratelimit in HEADER_FAMILIES
    assert spec.rejection in FAMILIES


@pytest.mark.parametrize("spec", SPECS, ids=_by_name)
def test_endpoints_are_https_or_this_machine(spec: ProviderSpec) -> None:
    """Keys only travel encrypted: an endpoint is https, or a keyless one on this machine."""
    for url in spec.endpoints.values():
        assert url.startswith("https://") or (spec.keyless and url.startswith("http://localhost"))
        assert not url.endswith("/")


@pytest.mark.parametrize("spec", SPECS, ids=_by_name)
def test_an_allow_list_holds_the_core(spec: ProviderSpec) -> None:
    """What every request needs passes every allow-list, by the provider's own names."""
    if spec.allow is None:
        return
    assert {"model", "messages", "stream", "tools", "tool_choice"} <= spec.allow
    caps = {"max_tokens", "max_completion_tokens"} & spec.allow
    assert caps, "no way to bound the output"
    for old, new in spec.rename.items():
        assert new in spec.allow, f"{old} is renamed to {new}, which does not pass"
        assert old not in spec.allow, f"{old} is renamed, so its own name says nothing"
    if "openai_chat" in spec.endpoints:
        assert ("stream_options" in spec.allow) == spec.usage_option


@pytest.mark.parametrize(("spec", "model"), MODELS, ids=lambda value: getattr(value, "name", None) or value.id)
def test_a_model_is_consistent(spec: ProviderSpec, model: ModelSpec) -> None:
    """Tiers are 1 to 5, windows positive, and an output cap is not above its window."""
    assert 1 <= model.tier <= 5
    assert model.context is None or model.context >= (8192 if model.embeds is None else 512)
    assert model.max_output is None or model.max_output >= 1024
    if model.context and model.max_output:
        assert model.max_output <= model.context
    if model.refuse:
        assert spec.allow is not None
        assert model.refuse <= spec.allow, "it refuses what does not pass anyway"
    if model.capability(Capability.LOGPROBS).value is Known.YES:
        assert spec.allow is None or "logprobs" in spec.allow - model.refuse
    if model.price.input_microusd:
        assert model.price_class is PriceClass.PAID
    # An oddity of efforts goes with the words that it leads to.
    expected = {
        Quirk.EFFORT_LOW_MEDIUM_HIGH: {"low", "medium", "high"},
        Quirk.EFFORT_LOW_HIGH_MAX: {"low", "high", "max"},
        Quirk.EFFORT_NONE_HIGH: {"none", "high"},
        Quirk.EFFORT_NONE_DEFAULT: {"none", "default"},
    }
    for quirk in model.quirks & expected.keys():
        assert set(model.efforts) == expected[quirk]


@pytest.mark.parametrize("spec", [s for s in SPECS if not s.keyless], ids=_by_name)
def test_a_default_list_starts_with_a_picked_model(spec: ProviderSpec) -> None:
    """Every row that needs a key has a default list."""
    assert any(model.picked for model in spec.models)
    assert spec.models[0].picked


def test_a_default_stays_while_it_is_served() -> None:
    """What users of the original have comes first wherever it is still served (issue 2)."""
    first = {spec.name: spec.models[0].id for spec in SPECS if spec.models}
    assert first["gemini"] == "gemini-2.5-flash-lite"
    assert first["sambanova"] == "DeepSeek-V3.2"
    assert first["cerebras"] == "gpt-oss-120b"
    assert first["mistral"] == "mistral-medium-latest"
    assert first["cohere"] == "command-a-03-2025"
    assert first["zai"] == "glm-4.5-flash"
    assert first["huggingface"] == "openai/gpt-oss-120b:cheapest"
    assert first["kimi"] == "kimi-for-coding"
    assert first["openai"] == "gpt-4o-mini"
    assert first["anthropic"] == "claude-haiku-4-5"
    assert first["codex"] == "gpt-5.5"


def test_no_default_is_a_model_that_is_gone() -> None:
    """Ids that 2026 took away are nowhere (facts/providers.md 1.1)."""
    gone = {
        "llama-3.3-70b-versatile",
        "nvidia/nemotron-3-super-120b-a12b:free",
        "deepseek-ai/deepseek-v4-flash",
    }
    assert not gone & {model.id for _, model in MODELS}


def test_a_retired_service_gets_no_traffic_of_itself() -> None:
    """Only GitHub Models is retired, and its row says what revives it."""
    retired = {spec.name: spec.retired for spec in SPECS if spec.retired}
    assert list(retired) == ["github_models"]
    assert "GITHUB_MODELS_BASE_URL" in str(retired["github_models"])


def _rules(spec: ProviderSpec, model: ModelSpec | None = None) -> set[tuple[Unit, int, Window, str, str]]:
    found: tuple[QuotaRule, ...] = spec.quotas if model is None else model.quotas
    return {(r.unit, r.amount, r.window, r.scope, r.resets) for r in found}


def test_limits_belong_to_whom_the_facts_say() -> None:
    """Groq counts by organisation and model, OpenRouter by account in UTC days, Gemini by model in Pacific days."""
    assert (Unit.TOKENS, 8000, Window.MINUTE, "account_model", "rolling") in _rules(ROWS["groq"])
    assert (Unit.REQUESTS, 50, Window.DAY, "account", "utc") in _rules(ROWS["openrouter"])
    gemini = ROWS["gemini"]
    lite = gemini.model("gemini-2.5-flash-lite")
    assert lite is not None
    assert (Unit.REQUESTS, 20, Window.DAY, "account_model", "America/Los_Angeles") in _rules(gemini, lite)
    assert (Unit.REQUESTS, 1000, Window.MONTH, "account", "utc") in _rules(ROWS["cohere"])


def test_strict_providers_do_not_get_what_they_reject() -> None:
    """Mistral's 422 and Groq's 400 keys pass no allow-list (facts/providers.md 3.6, 3.7)."""
    mistral = ROWS["mistral"].allow or frozenset()
    assert not {"stream_options", "max_completion_tokens", "store", "user", "logit_bias", "seed", "metadata"} & mistral
    groq = ROWS["groq"].allow or frozenset()
    assert not {"logprobs", "top_logprobs", "logit_bias", "n", "top_k", "store", "metadata"} & groq


def test_lookups_are_by_the_whole_id() -> None:
    """A model is found by its exact id only, and what is not said of it is unknown."""
    spec = ROWS["groq"]
    assert spec.model("openai/gpt-oss-120b") is spec.models[0]
    assert spec.model("gpt-oss-120b") is None
    assert spec.models[0].capability(Capability.MULTIPLE).value is Known.NO
    assert ModelSpec(ModelId("x")).capability(Capability.TOOLS) is UNKNOWN


def test_every_key_of_the_schema_is_explained() -> None:
    """docs/adding-a-provider.md names every key that a row or a model may have."""
    page = (TABLE.parents[2] / "docs" / "adding-a-provider.md").read_text()
    source = (TABLE.parents[1] / "core" / "catalog_rows.py").read_text()
    keys = set(re.findall(r'(?:take|raw)\("([a-z_]+)"', source))
    assert len(keys) > 30
    assert not {key for key in keys if f"`{key}`" not in page and f"{key} =" not in page}
