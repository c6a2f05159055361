"""Values of the control API as a daemon would send them; NOW is the moment they speak of."""

import time

from hermes_router import __version__
from hermes_router.control import types as t

NOW = time.mktime((2026, 11, 21, 14, 28, 0, 0, 0, -1))


def ping(**changes: object) -> t.Ping:
    values: dict[str, object] = {
        "version": __version__, "pid": 4711, "instance": "i-1", "run": "detached", "started_at": NOW - 7200,
        "port": 8319, "url": "http://localhost:8319", "log": "/home/ada/.local/state/hermes-router/daemon.log",
    }  # fmt: skip
    return t.Ping(**{**values, **changes})  # type: ignore[arg-type]


def target(provider: str, model: str = "m-1", credential: str = "2f9a", **changes: object) -> t.TargetRow:
    values: dict[str, object] = {
        "target": f"{provider}/{model}#{credential}", "provider": provider, "model": model, "credential": credential,
        "account": "work", "state": "ready", "capabilities": {"tools": "yes"}, "context": 131072,
    }  # fmt: skip
    return t.TargetRow(**{**values, **changes})  # type: ignore[arg-type]


def window(
    scope: str, *, left: int | None, limit: int, unit: str = "requests", origin: str = "told"
) -> dict[str, object]:
    return {"scope": scope, "unit": unit, "window": "day", "limit": limit, "remaining": left,
            "reset_at": NOW + 34200, "origin": origin}  # fmt: skip


def provider(name: str, title: str = "", **changes: object) -> t.ProviderRow:
    values: dict[str, object] = {
        "name": name, "title": title or name.title(), "state": "on", "signup": f"https://{name}.example/keys",
        "free": "30 requests a minute, no card.", "variables": [f"{name.upper()}_API_KEY"], "models": ["m-1", "m-2"],
    }  # fmt: skip
    return t.ProviderRow(**{**values, **changes})  # type: ignore[arg-type]


def credential(provider_name: str, tail: str = "2f9a", **changes: object) -> t.CredentialRow:
    values: dict[str, object] = {
        "provider": provider_name, "id": f"id-{provider_name}-{tail}", "tail": tail, "account": f"{provider_name}:work",
        "source": "keyring", "models": 2,
    }  # fmt: skip
    return t.CredentialRow(**{**values, **changes})  # type: ignore[arg-type]


def account(tail: str = "acc1", **changes: object) -> t.AccountRow:
    values: dict[str, object] = {
        "provider": "codex", "id": f"id-codex-{tail}", "tail": tail, "email": "ada@example.test", "plan": "plus",
        "expires_at": NOW + 9 * 86_400,
    }  # fmt: skip
    return t.AccountRow(**{**values, **changes})  # type: ignore[arg-type]


PROVIDERS = [
    provider("groq", "Groq", keys=2, targets=4, ready=4),
    provider("mistral", "Mistral AI", keys=1, targets=1, ready=0),
    provider("github_models", "GitHub Models", state="no key", models=[]),
    provider("cerebras", "Cerebras", state="disabled", reason="by CEREBRAS_ENABLED=0", keys=1),
]
CREDENTIALS = t.Credentials(
    rows=[
        credential("groq"),
        credential("groq", "77c1", account="id-groq-77c1", source="/home/ada/.config/hermes-router/.env:12"),
        credential("mistral", "b00c", state="paused", reason="rejected_key", until=NOW + 240),
    ],
    providers=PROVIDERS,
    store="keyring",
    store_note="keys rest in the keyring (Secret Service, unlocked)",
)
STATUS = t.Status(
    ping=ping(),
    uptime_s=7200.0,
    ready=True,
    mode="round-robin",
    generation=3,
    targets=[
        target("groq", "m-1", "2f9a", quota=[window("groq a", left=412, limit=1000)]),
        target("groq", "m-2", "2f9a", state="cooling", reason="limited (told)", until=NOW + 240, context=None),
        target("groq", "m-1", "77c1", capabilities={"tools": "no", "images": "yes"}),
        target("mistral", "large", "b00c", state="paused", reason="rejected_key", until=NOW + 480),
        target("openrouter", "free", "1d1d", quota=[window("or", left=45, limit=50, origin="published")]),
    ],
    providers=[*PROVIDERS, provider("openrouter", "OpenRouter", keys=1)],
    credentials=[*CREDENTIALS.rows, credential("openrouter", "1d1d", source="file")],
    last_errors=[
        t.ErrorRow(at=NOW - 120, target="groq/m-2", outcome="limited", said="429 \x1b[31mslow down\x1b[0m", request_id="r-9"),
        t.ErrorRow(at=NOW - 7300, target="mistral/large", outcome="rejected_key"),
    ],
    today=t.Spent(requests=1204, failed=3, attempts=1300, failovers=41, input_tokens=2_140_000, cached_tokens=300_000,
                  output_tokens=120_400, cost_microusd=420_000, estimated_input_tokens=12_000,
                  estimated_output_tokens=900, estimated_cost_microusd=10_000, unpriced=2),
    today_since=NOW - 52080,
    counters={"exchanges": 1204},
    store="keyring",
    problems=["PORTT in /home/ada/.env:3 is not a setting; did you mean PORT?"],
    in_flight=3,
)  # fmt: skip
USAGE = t.UsageReport(
    by="provider",
    since=NOW - 6 * 86400,
    until=NOW,
    rows=[
        t.UsageRow(key="groq", spent=t.Spent(requests=900, failovers=12, input_tokens=2_000_000, cached_tokens=5000,
                                             output_tokens=100_000, estimated_input_tokens=12_000)),
        t.UsageRow(key="openai", spent=t.Spent(requests=4, failed=1, input_tokens=20_000, output_tokens=3000,
                                               cost_microusd=1_230_000, estimated_cost_microusd=4200, unpriced=1)),
    ],
    total=t.Spent(requests=904, failed=1, failovers=12, input_tokens=2_020_000, output_tokens=103_000,
                  cost_microusd=1_230_000, unpriced=1),
)  # fmt: skip
PLAN = t.PlanReport(
    difficulty=3,
    input_tokens=12_345,
    profile="main",
    needs=["tools"],
    rows=[
        t.PlanRow(target="mistral/large#b00c", place=0, why="rejected_key", until=NOW + 480),
        t.PlanRow(target="groq/m-2#2f9a", place=2, why="free, fits, scarce"),
        t.PlanRow(target="groq/m-1#2f9a", place=1, why="free, fits"),
    ],
    verdict="groq/m-1 would answer",
)
TRAIL = t.Trail(
    request_id="req-1",
    at=NOW - 60,
    router_key="agent",
    dialect="openai_chat",
    model="hermes-router",
    profile="main",
    stream=True,
    outcome="answered",
    duration_s=3.21,
    difficulty=3,
    estimated_tokens=900,
    attempts=[
        t.AttemptRow(target="groq/m-2", outcome="limited", status=429, said="slow down", retry_at=NOW + 60, duration_s=0.12),
        t.AttemptRow(target="mistral/large", outcome="ok", status=200, duration_s=3.0, ttft_s=0.42, input_tokens=950,
                     output_tokens=210, estimated=True, cost_microusd=1200),
    ],
    warnings=["dropped:logit_bias"],
)  # fmt: skip
CONFIG = t.Config(
    rows=[
        t.ConfigRow(name="LOG_LEVEL", value="debug", source="/home/ada/.config/hermes-router/.env:3", doc="How much."),
        t.ConfigRow(name="PORT", value="8319", source="default", doc="Port to listen on.", hot=False),
        t.ConfigRow(name="ROTATION_MODE", value="round-robin", source="default"),
    ],
    problems=["GROQ_MODLE is not a setting"],
    files=["/home/ada/.config/hermes-router/config.toml"],
)
CHANGED = t.Changed(
    rows=[t.ChangedRow(name="LOG_LEVEL", before="info", after="debug", file="/home/ada/.env")], generation=4
)
MODELS = t.Models(
    rows=[
        t.ModelRow(provider="groq", model="m-1", picked=True, tier=4, price_class="free", context=131072, max_output=8192,
                   capabilities={"tools": "yes", "images": "no"}, state="ready"),
        t.ModelRow(provider="groq", model="old", picked=False, live=False),
    ],
    problems=["mistral: its list could not be read"],
)  # fmt: skip
KEYS = t.Keys(
    rows=[
        t.KeyRow(id="k-1", name="agent", tail="9abc", source="stored", rpm=30, concurrency=2, patience_s=90.0,
                 created_at=NOW - 86400, in_flight=1, budget_microusd=2_000_000, spent_microusd=420_000),
        t.KeyRow(id="k-2", name="ci", tail="12ef", source="environment", providers=["groq", "local"], min_tier=3),
    ]
)  # fmt: skip
EMBED_BINDINGS = t.EmbedBindings(
    rows=[
        t.EmbedBindingRow(key_id="k-1", profile="local", provider="local", model="nomic-embed-text", dimensions=768,
                          bound_at=NOW - 3600, name="agent", tail="9abc"),
        t.EmbedBindingRow(key_id="k-1", profile="main", provider="mistral", model="mistral-embed", dimensions=1024,
                          bound_at=NOW - 86400, name="agent", tail="9abc"),
    ]
)  # fmt: skip
GONE_BINDING = t.EmbedBindingRow(
    key_id="k-9", profile="main", provider="gemini", model="gemini-embedding-001", dimensions=0, bound_at=NOW - 60
)
