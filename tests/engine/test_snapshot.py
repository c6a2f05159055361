"""Row, owner's words and credentials joined into targets."""

import tomllib
from pathlib import Path

import pytest

from hermes_router.core.catalog import (
    Capability,
    Claim,
    Known,
    ModelSpec,
    PriceClass,
    Quirk,
    TargetFacts,
)
from hermes_router.core.catalog_rows import overlay
from hermes_router.core.ids import ModelId
from hermes_router.core.observations import Unit, Window
from hermes_router.core.settings_parse import parse_settings
from hermes_router.daemon.credentials import credentials_of
from hermes_router.engine.snapshot import Snapshot, base_url, pinned_facts, take_snapshot

_TABLE = Path(__file__).parents[2] / "hermes_router" / "data" / "providers.toml"
_SHIPPED = tomllib.loads(_TABLE.read_text())


def _snapshot(
    variables: dict[str, str],
    *,
    own: dict[str, object] | None = None,
    live: dict[str, list[ModelSpec]] | None = None,
) -> Snapshot:
    """What a daemon with these variables, rows and live lists sees."""
    catalog, errors = overlay(_SHIPPED, own or {}, shipped_where="ours", own_where="own")
    settings, keys, faults = parse_settings([("environment", {k: (v, "e") for k, v in variables.items()})], catalog)
    assert errors == faults == []
    credentials, _ = credentials_of(keys, catalog, b"k" * 32)
    return take_snapshot(1, settings, catalog, credentials, live)


def _facts(variables: dict[str, str], **more: object) -> tuple[TargetFacts, ...]:
    return _snapshot(variables, **more).facts  # type: ignore[arg-type]


def _names(facts: tuple[TargetFacts, ...]) -> list[str]:
    return [one.target.name for one in facts]


def test_without_keys_there_are_no_targets() -> None:
    """No credential, no target; `local` waits to be turned on."""
    assert _facts({}) == ()


def test_models_times_keys() -> None:
    """Each model of the list with each key is a target, in list order, then in the order of the keys."""
    facts = _facts({"GROQ_API_KEYS": "gsk_a,gsk_b", "GROQ_MODEL": "x, openai/gpt-oss-20b"})
    assert _names(facts) == ["groq/x", "groq/x", "groq/openai/gpt-oss-20b", "groq/openai/gpt-oss-20b"]
    assert [one.position for one in facts] == [0, 0, 1, 1]
    assert len({one.target for one in facts}) == 4
    assert facts[0].credential.id != facts[1].credential.id


def test_a_model_that_no_row_knows() -> None:
    """It is a target with unknown windows, tier 3, the row's price class and what holds for all models of the row."""
    [one] = _facts({"GROQ_API_KEY": "gsk_a", "GROQ_MODEL": "brand-new"})
    assert (one.model.context, one.model.max_output, one.model.tier) == (None, None, 3)
    assert one.model.price_class is PriceClass.FREE
    assert one.model.capability(Capability.TOOLS).value is Known.YES
    assert one.model.capability(Capability.IMAGES).value is Known.UNKNOWN
    assert one.output_cap is None


def test_an_empty_list_is_no_model() -> None:
    """GROQ_MODEL= (empty) takes the provider out."""
    assert _facts({"GROQ_API_KEY": "gsk_a", "GROQ_MODEL": ""}) == ()


def test_a_prefix_of_the_model_list_is_taken_off() -> None:
    """Gemini lists `models/…`; pasted into GEMINI_MODEL it is the same model."""
    [one] = _facts({"GEMINI_API_KEY": "g", "GEMINI_MODEL": "models/gemini-2.5-flash-lite"})
    assert one.model.context == 1_048_576


def test_a_model_that_costs_an_account_its_credit_is_not_picked_unasked() -> None:
    """Z.ai's paid model is known, and a target only when the owner names it."""
    assert _names(_facts({"ZAI_API_KEY": "z"})) == ["zai/glm-4.5-flash", "zai/glm-4.7-flash"]
    [one] = _facts({"ZAI_API_KEY": "z", "ZAI_MODEL": "glm-5.3-flash"})
    assert one.model.price_class is PriceClass.PAID


# --- the owner's words ------------------------------------------------------------------------------


def test_overrides_of_capabilities() -> None:
    """The word on a model beats the word on the provider, both beat the row, and both are marked as overrides."""
    facts = _facts({
        "GROQ_API_KEY": "g", "GROQ_SUPPORTS_TOOLS": "0", "GROQ_OPENAI_GPT_OSS_20B_SUPPORTS_TOOLS": "1",
        "GROQ_REASONING": "0",
    })  # fmt: skip
    tools = {one.model.id: one.model.capability(Capability.TOOLS) for one in facts}
    assert tools[ModelId("openai/gpt-oss-120b")] == Claim(Known.NO, "override")
    assert tools[ModelId("openai/gpt-oss-20b")] == Claim(Known.YES, "override")
    assert {one.model.capability(Capability.REASONING).value for one in facts} == {Known.NO}


def test_caps_of_the_owner() -> None:
    """_MAX_OUTPUT_TOKENS replaces the row's clamp, _SKIP_TOKENS_OVER goes along."""
    facts = _facts({"COHERE_API_KEY": "c", "COHERE_MAX_OUTPUT_TOKENS": "100", "COHERE_SKIP_TOKENS_OVER": "6000"})
    assert {(one.output_cap, one.skip_tokens_over) for one in facts} == {(100, 6000)}
    assert _facts({"COHERE_API_KEY": "c"})[0].output_cap == 8192


def test_published_limits_are_priors_and_the_owners_replace_them() -> None:
    """A row's limits are published; _LIMITS replaces all of them, `off` by none at all."""
    published = _facts({"GROQ_API_KEY": "g"})[0].quotas
    assert {rule.origin for rule in published} == {"published"}
    assert (Unit.TOKENS, 8000) in {(rule.unit, rule.amount) for rule in published}
    assert _facts({"GROQ_API_KEY": "g", "GROQ_LIMITS": "off"})[0].quotas == ()
    [rule] = _facts({"GROQ_API_KEY": "g", "GROQ_LIMITS": "rpd=5"})[0].quotas
    assert (rule.amount, rule.origin) == (5, "owner")


def test_published_limits_do_not_hold_at_another_address() -> None:
    """With _BASE_URL priors are gone, the owner's own limits stay (contract.md, What binds)."""
    there = {"GROQ_API_KEY": "g", "GROQ_BASE_URL": "https://x.test/v1"}
    [first, *_] = _facts(there)
    assert (first.base_url, first.own_base_url, first.quotas) == ("https://x.test/v1", True, ())
    assert len(_facts({**there, "GROQ_LIMITS": "rpm=1"})[0].quotas) == 1


def test_a_models_limit_comes_before_its_rows() -> None:
    """Of the same unit and window the model's counts alone; the others of the row stay."""
    own = {"acme": {
        "endpoints": {"openai_chat": "https://a.test"}, "concurrency": 2,
        "quotas": [
            {"unit": "requests", "amount": 10, "window": "minute"}, {"unit": "requests", "amount": 100, "window": "day"},
        ],
        "models": [{"id": "m", "quotas": [{"unit": "requests", "amount": 3, "window": "minute"}]}],
    }}  # fmt: skip
    [one] = _facts({"ACME_API_KEY": "k"}, own=own)
    assert {(r.unit, r.amount, r.window) for r in one.quotas} == {
        (Unit.REQUESTS, 3, Window.MINUTE),
        (Unit.REQUESTS, 100, Window.DAY),
        (Unit.CONCURRENCY, 2, Window.NONE),
    }


def test_limits_of_free_models_are_not_those_of_paid_ones() -> None:
    """At OpenRouter the published bucket is that of ids ending in :free; a paid id is paid and unlimited."""
    free, paid = _facts({"OPENROUTER_API_KEY": "k", "OPENROUTER_MODEL": "new/thing:free,openai/gpt-6-luna"})
    assert free.model.price_class is PriceClass.FREE
    assert {rule.amount for rule in free.quotas} == {20, 50}
    assert paid.model.price_class is PriceClass.PAID
    assert paid.quotas == ()


# --- what a target says of itself -------------------------------------------------------------------


def test_what_a_model_refuses_is_not_allowed_for_it() -> None:
    """GLM 4 takes no reasoning_effort though its row does; the row itself stays as it is."""
    snapshot = _snapshot({"ZAI_API_KEY": "z", "ZAI_MODEL": "glm-4.7-flash,glm-5.3-flash"})
    older, newer = snapshot.facts
    assert "reasoning_effort" not in (older.provider.allow or ())
    assert "reasoning_effort" in (newer.provider.allow or ())
    assert newer.effort_levels == ("low", "high", "max")
    assert newer.quirks == newer.provider.quirks | {Quirk.EFFORT_LOW_HIGH_MAX}


@pytest.mark.parametrize(("variable", "dialect"), [("ANTHROPIC_API_KEY", "Messages")])
def test_rows_without_chat_completions_are_shown_and_get_no_traffic(variable: str, dialect: str) -> None:
    """They are targets that say from when they work."""
    facts = _facts({variable: "k"})
    assert facts
    assert {one.disabled for one in facts} == {f"spoken from a later version: {dialect}"}


def test_a_retired_service_is_disabled_until_it_is_pointed_elsewhere() -> None:
    """GitHub Models says that GitHub retired it; with a base URL it works like any other."""
    [one] = _facts({"GITHUB_MODELS_TOKEN": "k"})
    assert "retired by GitHub" in str(one.disabled)
    [one] = _facts({"GITHUB_MODELS_TOKEN": "k", "GITHUB_MODELS_BASE_URL": "https://x.test/v1"})
    assert (one.disabled, one.base_url) == (None, "https://x.test/v1")


# --- local ------------------------------------------------------------------------------------------


def _live(*ids: str, **facts: int) -> dict[str, list[ModelSpec]]:
    return {"local": [ModelSpec(ModelId(one), **facts) for one in ids]}


def test_local_with_a_model_alone_is_ollama() -> None:
    """LOCAL_MODEL turns it on at Ollama's port, without a key, free and private."""
    one, two = _facts({"LOCAL_MODEL": "llama3.1,qwen3"})
    assert (one.base_url, one.credential.kind, one.private) == ("http://localhost:11434/v1", "none", True)
    assert one.model.price_class is PriceClass.FREE
    assert [one.position, two.position] == [0, 1]


def test_local_with_an_address_alone_is_every_model_that_it_lists() -> None:
    """LOCAL_BASE_URL turns it on; models come from the server, with their real windows, embedding models left out."""
    there = {"LOCAL_BASE_URL": "http://127.0.0.1:8080"}
    assert _facts(there) == ()
    live = _live("a", "b", context=4096)
    live["local"].append(ModelSpec(ModelId("nomic-embed-text"), embeds=768))
    facts = _facts(there, live=live)
    assert _names(facts) == ["local/a", "local/b"]
    assert {one.model.context for one in facts} == {4096}
    assert {one.base_url for one in facts} == {"http://127.0.0.1:8080/v1"}
    assert {one.model.price_class for one in facts} == {PriceClass.FREE}
    assert facts[0].model.capability(Capability.JSON_OBJECT).value is Known.YES


def test_what_the_server_tells_fills_in_what_nobody_said() -> None:
    """A model of LOCAL_MODEL has the window that the server reads out."""
    [one] = _facts({"LOCAL_MODEL": "b"}, live=_live("a", "b", context=2048))
    assert (one.target.name, one.model.context) == ("local/b", 2048)


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://localhost:1234/v1", True),
        ("http://127.0.0.2:1/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://192.168.1.5:1/v1", False),
        ("http://localhost.evil.test/v1", False),
        ("http://127.0.0.1.evil.test/v1", False),
    ],
)
def test_only_loopback_is_this_machine(url: str, private: bool) -> None:
    """`hermes-router:local` never leaves the machine; another address counts only with LOCAL_IS_PRIVATE=1."""
    there = {"LOCAL_BASE_URL": url, "LOCAL_MODEL": "m"}
    assert [one.private for one in _facts(there)] == [private]
    assert [one.private for one in _facts({**there, "LOCAL_IS_PRIVATE": "1"})] == [True]


def test_a_provider_with_a_key_is_never_private() -> None:
    """An own address on loopback does not make a cloud provider's row a local one."""
    facts = _facts({"GROQ_API_KEY": "g", "GROQ_BASE_URL": "http://127.0.0.1:9/v1"})
    assert {one.private for one in facts} == {False}


def test_a_keyless_row_of_ones_own_is_on() -> None:
    """Who writes a row wants it; ours waits for an address or a model."""
    own = {"nas": {"endpoints": {"openai_chat": "http://nas:8000/v1"}, "keyless": True, "models": [{"id": "m"}]}}
    [one] = _facts({}, own=own)
    assert (one.target.name, one.private) == ("nas/m", False)


def test_an_address_keeps_the_path_that_it_has() -> None:
    """/v1 is put only where there is no path at all, and only at local servers."""
    snapshot = _snapshot({"LOCAL_BASE_URL": "http://h:1/api/v3", "KIMI_BASE_URL": "https://k.test"})
    urls = {
        name: base_url(spec, snapshot.settings.provider(name), "openai_chat")
        for name, spec in snapshot.catalog.items()
        if snapshot.settings.provider(name).base_url
    }
    assert {str(name): url for name, url in urls.items()} == {"local": "http://h:1/api/v3", "kimi": "https://k.test"}


# --- discovery and pins -----------------------------------------------------------------------------


def test_free_models_are_discovered_where_the_rows_are_gone() -> None:
    """Naga's default that is not listed gives way to ids that end in :free; while it is listed, it stays."""
    gone = {"naga": [ModelSpec(ModelId(one)) for one in ("paid-1", "x:free", "y:free")]}
    facts = _facts({"NAGA_API_KEY": "n"}, live=gone)
    assert _names(facts) == ["naga/x:free", "naga/y:free"]
    assert {one.model.price_class for one in facts} == {PriceClass.FREE}
    there = {"naga": [ModelSpec(ModelId(one)) for one in ("nemotron-3-super-120b-a12b:free", "x:free")]}
    assert _names(_facts({"NAGA_API_KEY": "n"}, live=there)) == ["naga/nemotron-3-super-120b-a12b:free"]


def test_a_pinned_model_has_the_same_facts_as_any_other() -> None:
    """A model outside the pool gets the owner's words, its row's facts and all credentials of its provider."""
    snapshot = _snapshot({
        "OPENAI_API_KEYS": "sk-a,sk-b", "OPENAI_MODEL": "gpt-6-luna", "OPENAI_LIMITS": "off",
        "OPENAI_MAX_OUTPUT_TOKENS": "50",
    })  # fmt: skip
    facts = pinned_facts(snapshot, "openai", "gpt-4o-mini")
    assert [one.target.name for one in facts] == ["openai/gpt-4o-mini"] * 2
    assert {(one.output_cap, one.quotas, one.model.context) for one in facts} == {(50, (), 128_000)}


def test_no_pin_without_a_credential() -> None:
    """An unknown provider, one without a key, and `local` turned off have nothing to pin."""
    snapshot = _snapshot({"GROQ_API_KEY": "g"})
    assert pinned_facts(snapshot, "nobody", "m") == ()
    assert pinned_facts(snapshot, "openai", "gpt-4o-mini") == ()
    assert pinned_facts(snapshot, "local", "m") == ()
