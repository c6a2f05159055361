"""Layers to settings: precedence, provenance, derived names, keys, and what happens to nonsense."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog_rows import parse_rows
from hermes_router.core.errors import ConfigError
from hermes_router.core.ids import ProviderName, Secret
from hermes_router.core.settings import Settings
from hermes_router.core.settings_parse import KeyFound, Layer, is_ours, parse_settings

_TABLE = Path(__file__).parents[2] / "hermes_router" / "data" / "providers.toml"
CATALOG, _ = parse_rows(tomllib.loads(_TABLE.read_text()), where="providers.toml")


def _layer(name: str, **variables: str) -> Layer:
    return name, {key: (value, f"{name}:{n}") for n, (key, value) in enumerate(variables.items(), 1)}


def _env(**variables: str) -> tuple[Settings, tuple[KeyFound, ...], list[ConfigError]]:
    return parse_settings([_layer("environment", **variables)], CATALOG)


def _secrets(keys: tuple[KeyFound, ...]) -> list[str]:
    return [key.secret.reveal() for key in keys]


def test_nothing_said_is_the_package_defaults() -> None:
    """No layer at all gives the defaults, each with `default` as its source."""
    settings, keys, errors = parse_settings([], CATALOG)
    assert (keys, errors) == ((), [])
    default = Settings()
    for name in Settings.__struct_fields__:
        if name != "sources":
            assert getattr(settings, name) == getattr(default, name), name
    assert settings.sources["PORT"] == "default"
    assert settings.default_key


def test_the_strongest_layer_counts_and_is_remembered() -> None:
    """Defaults < config.toml < .env < environment, one variable at a time, each with its place."""
    layers = [
        _layer("config.toml", PORT="1", LOG_LEVEL="debug", MIN_TIER="2"),
        _layer(".env", PORT="2", LOG_LEVEL="error"),
        _layer("environment", PORT="3"),
    ]
    settings, _, errors = parse_settings(layers, CATALOG)
    assert errors == []
    assert (settings.port, settings.log_level, settings.min_tier) == (3, "error", 2)
    assert [settings.sources[n] for n in ("PORT", "LOG_LEVEL", "MIN_TIER")] == [
        "environment:1",
        ".env:2",
        "config.toml:3",
    ]


def test_a_malformed_value_is_named_once_and_the_next_layer_counts() -> None:
    """Nonsense is skipped with its place; it is not shown, since it may be a key in the wrong line."""
    layers = [_layer(".env", PATIENCE_SECONDS="30"), _layer("environment", PATIENCE_SECONDS="sk-oops", MIN_TIER="9")]
    settings, _, errors = parse_settings(layers, CATALOG)
    assert (settings.patience_s, settings.min_tier) == (30, 1)
    assert [(error.where, error.fatal) for error in errors] == [("environment:2", False), ("environment:1", False)]
    assert "sk-oops" not in "".join(map(str, errors))


def test_a_malformed_budget_is_named_once_and_the_one_below_counts() -> None:
    """A typo is not "no budget" where another layer has one; an empty value takes the budget away."""
    layers = [_layer(".env", BUDGET_USD_DAY="3"), _layer("environment", BUDGET_USD_DAY="two", QUOTA_PACING="evenly")]
    settings, _, errors = parse_settings(layers, CATALOG)
    assert (settings.budget_microusd_day, settings.quota_pacing) == (3_000_000, "off")
    assert sorted(error.message.partition(" ")[0] for error in errors) == ["BUDGET_USD_DAY", "QUOTA_PACING"]
    assert not any(error.fatal for error in errors)
    layers[1] = _layer("environment", BUDGET_USD_DAY="")
    assert parse_settings(layers, CATALOG)[0].budget_microusd_day is None


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "http"), ("HOST", "1.2.3"), ("PROXY_API_KEYS", "a b"), ("PORT", "")]
)
def test_only_what_opens_or_closes_the_door_is_fatal(name: str, value: str) -> None:
    """A daemon that could not listen, or would let in nobody or anybody, must not start."""
    _, _, [error] = _env(**{name: value})
    assert error.fatal
    assert name in str(error)


def test_every_global_variable_is_read() -> None:
    """Each documented variable reaches its field."""
    settings, _, errors = _env(
        PORT="9000", HOST="0.0.0.0", PROXY_API_KEYS="a,b", ALLOWED_HOSTS="Box.lan", CORS_ORIGINS="https://a.test",
        ROTATION_MODE="drain", REASONING_TOKEN_RESERVE="0", LOG_LEVEL="WARN", LOG_FILE="/tmp/x.log",
        MAX_REQUEST_BYTES="1000", MIN_TIER="3", PRIVACY="no-training", STRICT_MODELS="1", ADVERTISED_CONTEXT="64000",
        REQUEST_DEADLINE_SECONDS="10", PATIENCE_SECONDS="0", FIRST_TOKEN_SECONDS="5", STALL_SECONDS="6",
        DRAIN_SECONDS="0", FETCH_IMAGES="yes", LOCAL_IS_PRIVATE="1", HTTPS_PROXY="http://p:1", HTTP_PROXY="http://p:2",
        NO_PROXY="localhost,.lan", QUOTA_PACING="even", BUDGET_USD_DAY="2.50", RUNAWAY_GUARD="off",
    )  # fmt: skip
    assert errors == []
    assert settings.proxy_api_keys == (Secret("a"), Secret("b"))
    assert not settings.default_key
    assert (settings.port, settings.host, settings.mode, settings.log_level) == (
        9000,
        "0.0.0.0",
        "sequential",
        "warning",
    )
    assert (settings.min_tier, settings.privacy, settings.strict_models) == (3, "no-training", True)
    assert (settings.advertised_context, settings.patience_s, settings.drain_s) == (64000, 0, 0)
    assert (settings.allowed_hosts, settings.cors_origins) == ({"box.lan"}, {"https://a.test"})
    assert (settings.fetch_images, settings.local_is_private) == (True, True)
    assert (settings.quota_pacing, settings.budget_microusd_day, settings.runaway_guard) == ("even", 2_500_000, False)
    assert (settings.https_proxy, settings.http_proxy) == ("http://p:1", "http://p:2")
    assert settings.no_proxy == ("localhost", ".lan")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("rr", "round-robin"),
        ("round-robin", "round-robin"),
        ("sequential", "sequential"),
        ("seq", "sequential"),
        ("Drain", "sequential"),
    ],
)
def test_modes_have_short_names(text: str, mode: str) -> None:
    """What users of the original wrote for the rotation still works."""
    assert _env(ROTATION_MODE=text)[0].mode == mode


def test_the_well_known_key_among_others_is_still_well_known() -> None:
    """A list that holds sk-router-1 is as open as that key alone."""
    assert _env(PROXY_API_KEYS="mine,sk-router-1")[0].default_key


def test_an_empty_list_of_router_keys_ends_the_well_known_one() -> None:
    """Empty is not unset, also over a file's list: no key of the variable is good, and nothing is wrong with it."""
    settings, _, errors = _env(PROXY_API_KEYS=" ")
    assert (settings.proxy_api_keys, settings.default_key, errors) == ((), False, [])
    layers = [_layer(".env", PROXY_API_KEYS="mine"), _layer("environment", PROXY_API_KEYS="")]
    assert parse_settings(layers, CATALOG)[0].proxy_api_keys == ()


def test_every_derived_variable_is_read_for_any_row() -> None:
    """Names follow from the row's name; nothing is listed by hand."""
    settings, _, errors = _env(
        GITHUB_MODELS_MODEL="gpt-4o, gpt-4o-mini", GITHUB_MODELS_BASE_URL="https://x.test/v1/",
        GITHUB_MODELS_LIMITS="rpm=3", GITHUB_MODELS_SUPPORTS_TOOLS="0", GITHUB_MODELS_REASONING="1",
        GITHUB_MODELS_MAX_OUTPUT_TOKENS="100", GITHUB_MODELS_SKIP_TOKENS_OVER="6000",
        GITHUB_MODELS_GPT_4O_SUPPORTS_TOOLS="1", GITHUB_MODELS_GPT_4O_REASONING="off",
    )  # fmt: skip
    assert errors == []
    said = settings.provider("github_models")
    assert (said.models, said.base_url) == (("gpt-4o", "gpt-4o-mini"), "https://x.test/v1")
    assert (said.tools, said.reasoning, said.max_output_tokens, said.skip_tokens_over) == (False, True, 100, 6000)
    assert (said.model_tools, said.model_reasoning) == ({"GPT_4O": True}, {"GPT_4O": False})
    assert said.limits is not None
    assert said.limits[0].amount == 3
    assert set(settings.providers) == {"github_models"}


def test_an_empty_value_is_not_an_unset_one() -> None:
    """Empty hides the layers below: no models, the row's own address, no key, no log file."""
    below = _layer(".env", GROQ_MODEL="a", KIMI_BASE_URL="https://x.test", GROQ_API_KEY="gsk", LOG_FILE="/tmp/x")
    above = _layer("environment", GROQ_MODEL="", KIMI_BASE_URL="", GROQ_API_KEY="", LOG_FILE="")
    settings, keys, errors = parse_settings([below, above], CATALOG)
    assert (keys, errors) == ((), [])
    assert settings.provider("groq").models == ()
    assert settings.provider("kimi").base_url is None
    assert settings.log_file is None


def test_keys_are_found_under_all_their_names() -> None:
    """One, a comma list, numbered ones by number, and the names that users already have, in this order."""
    settings, keys, errors = _env(
        ZAI_API_KEY="a", ZAI_API_KEYS="b, c", ZAI_API_KEY_10="e", ZAI_API_KEY_2="d", GLM_API_KEY="f", GLM_API_KEYS="g",
        GLM_API_KEY_2="h", ZAI_API_KEY_X="no",
    )  # fmt: skip
    assert errors == []
    assert _secrets(keys) == list("abcdefgh")
    assert {key.provider for key in keys} == {"zai"}
    assert keys[3].variable == "ZAI_API_KEY_2"
    assert keys[3].source == settings.sources["ZAI_API_KEY_2"] == "environment:4"


@pytest.mark.parametrize(
    ("variable", "provider"),
    [
        ("GOOGLE_API_KEY", "gemini"), ("GLM_API_KEY", "zai"), ("GITHUB_MODELS_TOKEN", "github_models"),
        ("GITHUB_MODELS_TOKENS", "github_models"), ("HF_TOKEN", "huggingface"), ("MOONSHOT_API_KEY", "kimi"),
        ("GITHUB_MODELS_API_KEY", "github_models"), ("LOCAL_API_KEY", "local"),
    ],
)  # fmt: skip
def test_names_that_users_already_have(variable: str, provider: str) -> None:
    """The rows' further names work."""
    _, [key], _ = _env(**{variable: "k"})
    assert key.provider == provider


def test_an_oauth_row_has_no_key_variable() -> None:
    """CODEX_API_KEY is nobody's: that account is no key."""
    assert _env(CODEX_API_KEY="k")[1] == ()


def test_where_accounts_log_in_is_a_word_for_rows_of_accounts_only() -> None:
    """CODEX_AUTH_URL and CODEX_USAGE_URL move them; elsewhere the names mean nothing, and a wrong one is named."""
    settings, _, errors = _env(
        CODEX_AUTH_URL="http://127.0.0.1:9/", CODEX_USAGE_URL="http://127.0.0.1:9/usage", GROQ_AUTH_URL="http://x.test"
    )
    assert errors == []
    assert settings.provider("codex").auth_url == "http://127.0.0.1:9"
    assert settings.provider("codex").usage_url == "http://127.0.0.1:9/usage"
    assert settings.provider("groq").auth_url is None
    [error] = _env(CODEX_AUTH_URL="auth.openai.com")[2]
    assert "CODEX_AUTH_URL" in str(error)


def test_a_row_of_ones_own_takes_its_name_back() -> None:
    """A name derived from one row is never another row's alias: [moonshot] gets MOONSHOT_API_KEY."""
    own, errors = parse_rows({"moonshot": {"endpoints": {"openai_chat": "https://m.test"}}}, where="own")
    assert errors == []
    _, [key], _ = parse_settings([_layer("environment", MOONSHOT_API_KEY="k")], {**CATALOG, **own})
    assert key.provider == "moonshot"


def test_longer_names_win_between_rows() -> None:
    """GITHUB_MODELS_X_REASONING belongs to github_models, also beside a row named github."""
    own, _ = parse_rows({"github": {"endpoints": {"openai_chat": "https://m.test"}}}, where="own")
    settings, _, _ = parse_settings([_layer("environment", GITHUB_MODELS_X_REASONING="1")], {**CATALOG, **own})
    assert settings.provider("github_models").model_reasoning == {"X": True}
    assert settings.provider("github") == settings.provider("nobody")


def test_bad_keys_are_refused_by_name_only() -> None:
    """A key with foreign characters is skipped, its variable and place named, the key never shown; others stay."""
    _, keys, errors = _env(GROQ_API_KEYS="gsk_good,gsk_bäd,gsk bad,gsk_\x07")
    assert _secrets(keys) == ["gsk_good"]
    assert len(errors) == 3
    text = "".join(map(str, errors))
    assert "GROQ_API_KEYS" in text
    assert "environment:1" in text
    assert "gsk" not in text


def test_private_is_a_word_for_keyless_rows_only() -> None:
    """A provider in the cloud is never private, whatever a variable says."""
    settings, _, _ = _env(LOCAL_IS_PRIVATE="1", GROQ_IS_PRIVATE="1")
    assert settings.provider("local").is_private
    assert not settings.provider("groq").is_private
    assert settings.local_is_private


def test_a_near_miss_in_our_own_file_is_pointed_out() -> None:
    """A typo in .env is named with what was meant; in the environment foreign names mean nothing."""
    layers = [
        _layer(".env", GROK_API_KEY="k", DATABASE_URL="x", BUDGET_USD_DAY="1"),
        _layer("environment", LOG_LEVL="x"),
    ]
    _, _, errors = parse_settings(layers, CATALOG)
    assert [str(error) for error in errors] == [".env:1: GROK_API_KEY is not a setting; is it GROQ_API_KEY?"]


def test_which_names_are_ours() -> None:
    """Globals, derived names, keys in all forms, the socket's, and those of later versions."""
    ours = is_ours(CATALOG)
    for name in (
        "PORT",
        "STREAM_TOOL_ARGS",
        "HERMES_ROUTER_SOCKET",
        "GROQ_MODEL",
        "GROQ_LIMITS",
        "HF_TOKEN",
        "ZAI_API_KEY_3",
        "COHERE_EMBED_MODEL",
        "GROQ_X_REASONING",
    ):
        assert ours(name), name
    for name in ("PATH", "GROQ", "XAI_API_KEY", "PORTS", "GROQ_NAME"):
        assert not ours(name), name


_NAMES = st.sampled_from(
    [
        "PORT",
        "HOST",
        "PROXY_API_KEYS",
        "GROQ_API_KEY",
        "GROQ_LIMITS",
        "GROQ_MODEL",
        "GROQ_X_REASONING",
        "LOCAL_BASE_URL",
    ]
)


@given(st.lists(st.dictionaries(_NAMES, st.text(max_size=12) | st.sampled_from(["1", "off", "rpm=2"])), max_size=3))
def test_no_layer_breaks_the_parser(layers: list[dict[str, str]]) -> None:
    """Whatever text the variables hold, settings come out, and each value was read or named."""
    given_layers = [_layer(f"layer{n}", **variables) for n, variables in enumerate(layers)]
    settings, keys, _ = parse_settings(given_layers, CATALOG)
    assert 0 <= settings.port <= 65535
    assert all(key.provider == ProviderName("groq") for key in keys)


def test_a_model_for_embeddings_is_one_or_none() -> None:
    """Empty is a word of the owner's, and a list is a mistake that is named."""
    said = {"GEMINI_EMBED_MODEL": ("", "e"), "COHERE_EMBED_MODEL": (" embed-v5.0-fast ", "e"),
            "MISTRAL_EMBED_MODEL": ("a,b", "e")}  # fmt: skip
    settings, _, errors = parse_settings([("environment", said)], CATALOG)
    models = [settings.provider(name).embed_model for name in ("gemini", "cohere", "mistral", "openai")]
    assert models == ["", "embed-v5.0-fast", None, None]
    assert [error.message for error in errors] == [
        "MISTRAL_EMBED_MODEL must be one model id, or empty for none; it is skipped"
    ]
