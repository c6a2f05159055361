"""Row, owner's words and credentials joined into targets."""

import tomllib
from pathlib import Path

import pytest

from hermes_router.core.catalog import (
    UNKNOWN_PRICE,
    Capability,
    Claim,
    Known,
    ModelSpec,
    Price,
    PriceClass,
    Quirk,
    TargetFacts,
)
from hermes_router.core.catalog_rows import overlay
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName
from hermes_router.core.live_lists import Listed, LiveList
from hermes_router.core.observations import Unit, Window
from hermes_router.core.settings_parse import parse_settings
from hermes_router.daemon.credentials import credentials_of
from hermes_router.engine.live_models import LiveView
from hermes_router.engine.snapshot import Snapshot, base_url, pinned_facts, take_snapshot

_TABLE = Path(__file__).parents[2] / "hermes_router" / "data" / "providers.toml"
_SHIPPED = tomllib.loads(_TABLE.read_text())


def _snapshot(
    variables: dict[str, str],
    *,
    own: dict[str, object] | None = None,
    live: dict[str, list[ModelSpec]] | None = None,
    lists: LiveView | None = None,
) -> Snapshot:
    """What a daemon with these variables, rows and live lists sees."""
    catalog, errors = overlay(_SHIPPED, own or {}, shipped_where="ours", own_where="own")
    settings, keys, faults = parse_settings([("environment", {k: (v, "e") for k, v in variables.items()})], catalog)
    assert errors == faults == []
    credentials, _ = credentials_of(keys, catalog, b"k" * 32)
    return take_snapshot(1, settings, catalog, credentials, live, lists=lists or LiveView())


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


def test_a_target_is_asked_in_the_callers_dialect_where_that_serves() -> None:
    """Its own where the row offers it and does not call it worse, else the row's first (design.md 2.3)."""
    [one, *_] = _facts({"ZAI_API_KEY": "k"})
    assert one.asked_in("anthropic_messages", tools=True) == "anthropic_messages"
    assert one.url_of("anthropic_messages") == "https://api.z.ai/api/anthropic/v1"
    assert one.asked_in("openai_responses", tools=True) == "openai_chat"
    [one, *_] = _facts({"GROQ_API_KEY": "k"})
    assert one.asked_in("openai_responses", tools=True) == "openai_chat"
    [one, *_] = _facts({"ANTHROPIC_API_KEY": "k"})
    assert one.asked_in("openai_chat", tools=False) == "anthropic_messages"


def test_openai_is_asked_in_responses_where_chat_serves_worse() -> None:
    """Function tools with reasoning work fully only there (providers.md 3.14)."""
    older, one = _facts({"OPENAI_API_KEY": "k", "OPENAI_MODEL": "gpt-4o-mini,gpt-6-luna"})
    assert one.model.capability(Capability.REASONING).value is Known.YES
    assert older.asked_in("openai_chat", tools=True) == "openai_chat"
    assert [one.asked_in("openai_chat", tools=tools) for tools in (False, True)] == ["openai_chat", "openai_responses"]


def test_another_address_is_asked_in_the_rows_first_dialect_alone() -> None:
    """Nobody knows what else is spoken there."""
    [one, *_] = _facts({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://x.test/v1"})
    assert one.asked_in("openai_responses", tools=True) == "openai_chat"
    assert one.url_of("openai_chat") == "https://x.test/v1"


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


NAGAS = "nemotron-3-super-120b-a12b:free"


def _lists(name: str, *models: Listed, gone: frozenset[str] = frozenset(), at: str = "") -> LiveView:
    """What one provider lists, read at its row's address."""
    url = at or _SHIPPED[name]["endpoints"]["openai_chat"]
    return LiveView({name: LiveList(models, 5.0, url)}, {name: gone})


def test_free_models_are_taken_up_where_the_rows_have_vanished() -> None:
    """Naga's default gives way to ids that end in :free once it has vanished; until that is believed, it stays."""
    listed = [Listed(ModelId(one)) for one in ("paid-1", "x:free", "y:free")]
    facts = _facts({"NAGA_API_KEY": "n"}, lists=_lists("naga", *listed, gone=frozenset({NAGAS})))
    assert _names(facts) == ["naga/x:free", "naga/y:free"]
    assert {one.model.price_class for one in facts} == {PriceClass.FREE}
    assert _names(_facts({"NAGA_API_KEY": "n"}, lists=_lists("naga", *listed))) == [f"naga/{NAGAS}"]


def test_the_owners_own_list_is_never_replaced() -> None:
    """What he named is asked, listed or not."""
    lists = _lists("naga", Listed(ModelId("x:free")), gone=frozenset({"mine:free", NAGAS}))
    assert _names(_facts({"NAGA_API_KEY": "n", "NAGA_MODEL": "mine:free"}, lists=lists)) == ["naga/mine:free"]


def test_a_row_without_a_replacement_keeps_its_models() -> None:
    """They are benched elsewhere; a pool of none would forget what to wait for."""
    lists = _lists("groq", Listed(ModelId("whisper")), gone=frozenset(m["id"] for m in _SHIPPED["groq"]["models"]))
    assert len(_facts({"GROQ_API_KEY": "g"}, lists=lists)) == 3


def test_of_two_windows_the_smaller_counts_unless_the_owner_wrote_the_row() -> None:
    """A live list narrows a window that a row has too large, fills one that it lacks, and never widens one."""
    model = "openai/gpt-oss-20b"
    variables = {"GROQ_API_KEY": "g", "GROQ_MODEL": model}
    for context, expected in ((32_768, 32_768), (900_000, 131_072), (None, 131_072)):
        [one] = _facts(variables, lists=_lists("groq", Listed(ModelId(model), context)))
        assert one.model.context == expected
    own = {"groq": {"models": [{"id": model, "context": 100_000}]}}
    [one] = _facts(variables, own=own, lists=_lists("groq", Listed(ModelId(model), 32_768)))
    assert one.model.context == 100_000


def test_what_a_list_says_fills_in_what_the_row_does_not() -> None:
    """The row's word on a capability stands; the list's is marked as such; a model of the list alone has its windows."""
    said = {Capability.AUDIO: Known.YES, Capability.TOOLS: Known.NO}
    listed = (Listed(ModelId("openai/gpt-oss-20b"), capabilities=said), Listed(ModelId("new"), 9_000, 500))
    variables = {"GROQ_API_KEY": "g", "GROQ_MODEL": "openai/gpt-oss-20b,new"}
    one, new = _facts(variables, lists=_lists("groq", *listed))
    assert one.model.capability(Capability.TOOLS).source == "declared"
    assert (new.model.context, new.model.max_output, new.model.price_class) == (9_000, 500, PriceClass.FREE)
    assert new.model.capability(Capability.TOOLS) == Claim(Known.YES)  # what holds for all models of the row
    [own] = _facts({"ACME_API_KEY": "k"}, own={"acme": {
        "endpoints": {"openai_chat": "https://a.test"}, "models": [{"id": "m"}],
    }}, lists=_lists("acme", Listed(ModelId("m"), capabilities=said), at="https://a.test"))  # fmt: skip
    assert own.model.capability(Capability.TOOLS) == Claim(Known.NO, "listed")


def test_a_route_behind_an_id_is_looked_up_without_it() -> None:
    """Hugging Face lists the model; which partner serves it stands behind the colon."""
    lists = _lists("huggingface", Listed(ModelId("openai/gpt-oss-120b"), 65_536))
    one, *_ = _facts({"HF_TOKEN": "h"}, lists=lists)
    assert (one.model.id, one.model.context) == ("openai/gpt-oss-120b:cheapest", 65_536)


def test_a_list_of_another_address_is_not_this_providers() -> None:
    """A base URL of the owner's leads elsewhere: what was read before says nothing of it."""
    lists = _lists("groq", Listed(ModelId("openai/gpt-oss-20b"), 1_000))
    [one] = _facts(
        {"GROQ_API_KEY": "g", "GROQ_MODEL": "openai/gpt-oss-20b", "GROQ_BASE_URL": "https://x.test"}, lists=lists
    )
    assert one.model.context == 131_072


def test_what_a_provider_lists_can_be_pinned_with_its_windows() -> None:
    """A model of the live list is known, with what was read of it; models that do not chat cannot be pinned."""
    listed = (Listed(ModelId("new"), 9_000), Listed(ModelId("whisper"), chats=False))
    snapshot = _snapshot({"GROQ_API_KEY": "g"}, lists=_lists("groq", *listed))
    assert {name: model.context for name, model in snapshot.live_models()["groq"].items()} == {
        "new": 9_000,
        "whisper": None,
    }
    [pinned] = pinned_facts(snapshot, "groq", "new")
    assert pinned.model.context == 9_000
    assert snapshot.live_models()["groq"]["whisper"].embeds is not None


def test_an_open_catalogue_is_not_shown() -> None:
    """Hundreds of ids would bury the pool's own; they can be pinned all the same, with what is read of them."""
    snapshot = _snapshot({"OPENROUTER_API_KEY": "k"}, lists=_lists("openrouter", Listed(ModelId("a/b"), 9_000)))
    assert "openrouter" not in snapshot.live_models()
    assert [one.model.context for one in pinned_facts(snapshot, "openrouter", "a/b")] == [9_000]


def test_a_listed_price_is_what_a_paid_model_costs() -> None:
    """Where no row gives a price, the list's does; a row's own stands."""
    lists = _lists("openrouter", Listed(ModelId("a/b"), price=Price(3, 4)))
    [one] = _facts({"OPENROUTER_API_KEY": "k", "OPENROUTER_MODEL": "a/b"}, lists=lists)
    assert (one.model.price_class, one.model.price) == (PriceClass.PAID, Price(3, 4))
    own = {"acme": {"endpoints": {"openai_chat": "https://a.test"}, "models": [{"id": "m"}]}}
    lists = _lists("acme", Listed(ModelId("m"), price=Price(3, 4)), at="https://a.test")
    [one] = _facts({"ACME_API_KEY": "k"}, own=own, lists=lists)
    assert one.model.price == Price(3, 4)


def test_a_pinned_model_has_the_same_facts_as_any_other() -> None:
    """A model outside the pool gets the owner's words, its row's facts and all credentials of its provider."""
    snapshot = _snapshot({
        "OPENAI_API_KEYS": "sk-a,sk-b", "OPENAI_MODEL": "gpt-6-luna", "OPENAI_LIMITS": "off",
        "OPENAI_MAX_OUTPUT_TOKENS": "50",
    })  # fmt: skip
    facts = pinned_facts(snapshot, "openai", "gpt-4o-mini")
    assert [one.target.name for one in facts] == ["openai/gpt-4o-mini"] * 2
    assert {(one.output_cap, one.quotas, one.model.context) for one in facts} == {(50, (), 128_000)}


def test_a_pinned_model_has_the_quirks_of_ids_that_begin_like_its_own() -> None:
    """A broker's Claude is cached up to marks, its other models without (BF-10); all have a session (OR-1)."""
    snapshot = _snapshot({"OPENROUTER_API_KEY": "k"})
    for model, marks in (("anthropic/claude-any", True), ("openai/gpt-any", False)):
        [facts] = pinned_facts(snapshot, "openrouter", model)
        assert (Quirk.CACHE_MARKS in facts.quirks) is marks
        assert Quirk.SESSION_ID in facts.quirks


def test_no_pin_without_a_credential() -> None:
    """An unknown provider, one without a key, and `local` turned off have nothing to pin."""
    snapshot = _snapshot({"GROQ_API_KEY": "g"})
    assert pinned_facts(snapshot, "nobody", "m") == ()
    assert pinned_facts(snapshot, "openai", "gpt-4o-mini") == ()
    assert pinned_facts(snapshot, "local", "m") == ()


def test_a_paid_model_without_a_price_is_taken_for_the_dearest() -> None:
    """So that budgets hold; a known price, a free model, a subscription and free credit are as they were."""
    variables = {"ANTHROPIC_API_KEY": "sk-ant-a", "ANTHROPIC_MODEL": "claude-haiku-4-5,claude-opus-5-5,unheard-of"}
    known, unpriced, unheard = (one.model.price for one in _facts(variables))
    assert (known.input_microusd, known.output_microusd) == (1_000_000, 5_000_000)
    assert unpriced == unheard == UNKNOWN_PRICE
    others = {"GROQ_API_KEY": "gsk_a", "CEREBRAS_API_KEY": "csk-a", "KIMI_API_KEY": "sk-kimi-a"}
    assert {one.model.price for one in _facts(others)} == {Price()}


def test_a_budget_of_a_provider_is_a_window_of_all_its_models() -> None:
    """`_LIMITS=usd_day=`: one day of UTC for the provider, by the owner's word, beside his other limits."""
    limits = {"OPENAI_LIMITS": "usd_day=2,rpm=5"}
    facts = _facts({"OPENAI_API_KEYS": "sk-a,sk-b", "OPENAI_MODEL": "gpt-4o-mini,x", **limits})
    assert len(facts) == 4
    for one in facts:
        money = [rule for rule in one.quotas if rule.unit is Unit.MICROUSD]
        assert [(r.amount, r.window, r.scope, r.resets, r.origin) for r in money] == [
            (2_000_000, Window.DAY, "provider", "utc", "owner")
        ]


def _codex(*routes: str, lists: LiveView | None = None, **variables: str) -> tuple[TargetFacts, ...]:
    """The codex targets of accounts that go these ways."""
    catalog, _ = overlay(_SHIPPED, {}, shipped_where="ours", own_where="own")
    said = {name: (value, "e") for name, value in variables.items()}
    settings, _, _ = parse_settings([("environment", said)], catalog)
    accounts = [
        Credential(
            CredentialId(f"{n}" * 16), ProviderName("codex"), AccountId(f"a{n}"), "oauth", "r", "a", "login", way
        )
        for n, way in enumerate(routes)
    ]
    return take_snapshot(1, settings, catalog, accounts, lists=lists or LiveView()).facts


def test_accounts_of_one_provider_may_go_different_ways() -> None:
    """The plan route has the address of another row, as its owner has it, and asks for grouped tools; an unknown way rests."""
    facts = _codex("", "plan", "tunnel", CODEX_MODEL="gpt-5.5", OPENAI_BASE_URL="http://o.test/v1")
    ways = [(one.base_url, one.url_of("openai_responses"), Quirk.GROUPED_TOOLS in one.quirks) for one in facts]
    backend = "https://chatgpt.com/backend-api/codex"
    assert ways[:2] == [(backend, backend, False), ("http://o.test/v1", "http://o.test/v1", True)]
    assert [one.disabled is None for one in facts] == [True, True, False]
    assert facts[0].maker != facts[1].maker  # what one account seals, the other cannot read


def test_the_list_says_which_shape_a_model_wants() -> None:
    """What is listed now overrules the row, for models of the row, for others, and for efforts; silence changes nothing."""
    models = (
        Listed(ModelId("gpt-5.5"), lite=True, efforts=("low",)),
        Listed(ModelId("gpt-6.1-sol"), lite=False),
        Listed(ModelId("new"), lite=True),
        Listed(ModelId("gpt-6-luna")),
    )
    view = LiveView({"codex": LiveList(models, 1.0, "https://chatgpt.com/backend-api/codex")})
    facts = _codex("", lists=view, CODEX_MODEL="gpt-5.5,gpt-6.1-sol,new,gpt-6-luna")
    assert [Quirk.RESPONSES_LITE in one.quirks for one in facts] == [True, False, True, True]
    assert facts[0].effort_levels == ("low",)
    assert facts[3].effort_levels == ("low", "medium", "high", "max")
    assert Quirk.RESPONSES_LITE not in _codex("", CODEX_MODEL="gpt-5.5")[0].quirks


# --- embeddings -----------------------------------------------------------------------------------------------


def _embedders(variables: dict[str, str], **more: object) -> list[str]:
    return _names(_snapshot(variables, **more).embedders)  # type: ignore[arg-type]


_OF_ALL = {f"{name}_API_KEY": "sk-0123456789ab" for name in ("OPENAI", "COHERE", "MISTRAL", "GEMINI", "GROQ")}


def test_one_model_of_each_provider_embeds() -> None:
    """The row's first, for each key, in the catalogue's order; and none of them is part of the pool that chats."""
    variables = _OF_ALL | {"COHERE_API_KEY_2": "co-0123456789ab"}
    assert _embedders(variables) == [
        "gemini/gemini-embedding-001", "mistral/mistral-embed", "cohere/embed-v4.0", "cohere/embed-v4.0",
        "openai/text-embedding-3-small",
    ]  # fmt: skip
    assert not any(one.model.embeds for one in _facts(variables))


def test_the_owner_names_another_model_or_none() -> None:
    """Known or not; a list is no name."""
    assert _embedders(_OF_ALL | {"GEMINI_EMBED_MODEL": "", "MISTRAL_EMBED_MODEL": "codestral-embed",
                                 "GROQ_EMBED_MODEL": "bge-m3"}) == [
        "groq/bge-m3", "mistral/codestral-embed", "cohere/embed-v4.0", "openai/text-embedding-3-small",
    ]  # fmt: skip
    [unknown] = [
        one for one in _snapshot(_OF_ALL | {"GROQ_EMBED_MODEL": "bge-m3"}).embedders if one.model.id == "bge-m3"
    ]
    assert unknown.model.embeds == 0
    [pinned] = pinned_facts(_snapshot(_OF_ALL | {"GROQ_EMBED_MODEL": "bge-m3"}), "groq", "bge-m3")
    assert pinned.model.embeds == 0


def test_a_target_for_vectors_is_bound_by_no_window_of_one_prompt() -> None:
    """A call holds many inputs, each with the window for itself, and nothing is written."""
    snapshot = _snapshot(_OF_ALL | {"GEMINI_SKIP_TOKENS_OVER": "100", "GEMINI_MAX_OUTPUT_TOKENS": "9"})
    for one in (snapshot.embedders[0], *pinned_facts(snapshot, "gemini", "gemini-embedding-2")):
        assert one.model.embeds == 3072
        assert (one.model.context, one.model.max_output, one.output_cap, one.skip_tokens_over) == (None,) * 4


def test_a_local_model_embeds_where_it_is_named_or_the_server_says_so() -> None:
    """The first that the server calls one; a name of the owner's comes before, and chats no more."""
    there = {"LOCAL_BASE_URL": "http://127.0.0.1:8080"}
    live = _live("a", "b", context=4096)
    assert _embedders(there, live=live) == []
    live["local"].append(ModelSpec(ModelId("nomic"), embeds=768))
    assert _embedders(there, live=live) == ["local/nomic"]
    snapshot = _snapshot(there | {"LOCAL_EMBED_MODEL": "b"}, live=live)
    assert _names(snapshot.embedders) == ["local/b"]
    assert _names(snapshot.facts) == ["local/a"]
    assert snapshot.embedders[0].private
    assert _embedders(there | {"LOCAL_EMBED_MODEL": ""}, live=live) == []
    assert _embedders({"LOCAL_EMBED_MODEL": "b"}) == []  # no server was named


def test_who_has_no_address_for_embeddings_has_no_model_for_them() -> None:
    """Their place is beside that of Chat."""
    assert _embedders({"ANTHROPIC_API_KEY": "sk-ant-0123456789ab", "ANTHROPIC_EMBED_MODEL": "x"}) == []


def test_a_model_named_for_embeddings_with_the_providers_prefix_does_not_chat() -> None:
    """`models/X`, as Gemini lists it, is X: it takes no part among the models of the list."""
    variables = {
        "GEMINI_API_KEY": "AIza0123456789", "GEMINI_MODEL": "gemini-2.5-flash,my-vec", "GEMINI_EMBED_MODEL": "models/my-vec",
    }  # fmt: skip
    assert _embedders(variables) == ["gemini/my-vec"]
    assert _names(_facts(variables)) == ["gemini/gemini-2.5-flash"]
