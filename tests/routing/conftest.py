"""What the brain's tests share: targets built in a line, and a world whose clock is turned by hand."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hermes_router.core.catalog import (
    Capability,
    Claim,
    Known,
    ModelSpec,
    Price,
    PriceClass,
    ProviderSpec,
    QuotaRule,
    TargetFacts,
)
from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import UpstreamError
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.core.settings import Settings
from hermes_router.routing.demand import Constraint, Demand, assess
from hermes_router.routing.roster import Roster
from hermes_router.routing.scheduler import Candidate, Plan, plan
from hermes_router.routing.standing import TargetStatus
from hermes_router.routing.state import RoutingState

START = 1_790_000_000.0

CAPS = {
    "compaction": Capability.COMPACTION,
    "tools": Capability.TOOLS,
    "images": Capability.IMAGES,
    "reasoning": Capability.REASONING,
    "json_schema": Capability.JSON_SCHEMA,
    "multiple": Capability.MULTIPLE,
}


def target(
    name: str,
    *,
    key: str = "k1",
    account: str | None = None,
    tier: int = 3,
    price: PriceClass = PriceClass.FREE,
    usd: int = 0,
    context: int | None = 131_072,
    caps: str = "tools=yes",
    quotas: Sequence[QuotaRule] = (),
    models: Sequence[ModelSpec] = (),
    position: int = 0,
    **more: Any,
) -> TargetFacts:
    """A target from `provider/model`; `caps` reads `tools=yes images=no`; further fields go where they belong."""
    provider, _, model = name.partition("/")
    row_fields = {
        k: more.pop(k)
        for k in ("trains", "open_catalogue", "image_urls", "concurrency", "first_token_s", "price_class")
        if k in more
    }
    capabilities = {
        CAPS[cap]: Claim(Known(value.removesuffix("!")), "override" if value.endswith("!") else "declared")
        for cap, value in (pair.split("=") for pair in caps.split())
    }
    spec = ModelSpec(
        ModelId(model),
        context=context,
        max_output=more.pop("max_output", 8_192),
        tier=tier,
        price_class=price,
        price=Price(usd, usd),
        capabilities=capabilities,
        embeds=more.pop("embeds", None),
    )
    row = ProviderSpec(
        ProviderName(provider),
        provider.title(),
        {"openai_chat": f"http://{provider}.invalid/v1"},
        "bearer",
        (spec, *models),
        **row_fields,
    )
    kind = more.pop("kind", "api_key")
    credential = Credential(
        CredentialId(f"{key}-{provider}"),
        row.name,
        AccountId(account or f"{key}-{provider}"),
        kind,
        f"env:{key}",
        "abcd",
        "env",
    )
    return TargetFacts(
        Target(row.name, spec.id, credential.id),
        row,
        spec,
        credential,
        f"http://{provider}.invalid/v1",
        quotas=tuple(quotas),
        position=position,
        **more,
    )


def ask(text: str = "hi", *, profile: Any = "main", **fields: Any) -> Demand:
    """A demand for a request with this last user turn; the floor of its difficulty is not looked up."""
    fields.setdefault("text_bytes", max(100, len(text)))
    fields.setdefault("messages", 1)
    request = ChatRequest(model="hermes-router", last_user=text, last_user_chars=len(text), **fields)
    return assess(request, caller="rk", profile=profile)


class World:
    """One pool, its ledger, and a clock."""

    def __init__(self, *facts: TargetFacts, policy: str = "round-robin") -> None:
        self.roster = Roster(facts)
        self.state = RoutingState()
        self.policy = policy
        self.now = START
        self.settings = Settings()

    def plan(self, demand: Demand | None = None, constraint: Constraint | None = None, **limits: Any) -> Plan:
        return plan(
            demand or ask(), constraint or Constraint(**limits), self.roster, self.state, self.policy, self.now,
            random.Random(7),
        )  # fmt: skip

    def take(
        self, demand: Demand | None = None, constraint: Constraint | None = None, **limits: Any
    ) -> Candidate | None:
        return self.plan(demand, constraint, **limits).take()

    def who(self, demand: Demand | None = None, constraint: Constraint | None = None, **limits: Any) -> str | None:
        """Take, answer well, settle; says who it was, as `provider/model#k1`."""
        demand = demand or ask()
        candidate = self.take(demand, constraint, **limits)
        if candidate is None:
            return None
        self.state.succeeded(candidate.facts.target, self.now, ttft_s=0.5, demand=demand)
        self.settle(candidate)
        return label(candidate.facts)

    def settle(self, candidate: Candidate, *, sent: bool = True) -> None:
        self.state.settle(candidate.reservation, self.now, input_tokens=100, output_tokens=50, sent=sent)

    def fail(
        self, error: UpstreamError, demand: Demand | None = None, constraint: Constraint | None = None
    ) -> str | None:
        """Take, fail with `error`, settle; says who it was."""
        demand = demand or ask()
        candidate = self.take(demand, constraint)
        if candidate is None:
            return None
        self.state.failed(candidate.facts.target, error, self.now, demand=demand)
        self.settle(candidate)
        return label(candidate.facts)

    def blame(self, facts: TargetFacts, error: UpstreamError, demand: Demand | None = None) -> None:
        """An attempt at this target fails, planned before anything was known."""
        self.state.adopt(self.roster)
        self.state.failed(facts.target, error, self.now, demand=demand)

    def good(self, facts: TargetFacts, demand: Demand | None = None) -> None:
        self.state.adopt(self.roster)
        self.state.succeeded(facts.target, self.now, ttft_s=0.5, demand=demand or ask())

    def status(self, facts: TargetFacts) -> TargetStatus:
        self.state.adopt(self.roster)
        return self.state.status(facts, self.now)

    def later(self, seconds: float) -> "World":
        self.now += seconds
        return self


def label(facts: TargetFacts) -> str:
    """A target as `provider/model#key`."""
    return f"{facts.target.name}#{facts.credential.id.partition('-')[0]}"


@pytest.fixture(scope="session")
def make() -> Callable[..., TargetFacts]:
    """`make("groq/oss", key="k2", tier=4, ...)`: a target."""
    return target


@pytest.fixture(scope="session")
def want() -> Callable[..., Demand]:
    """`want("text", tools=1, ...)`: a demand."""
    return ask


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    """`world(facts, ..., policy=...)`: a pool with its ledger and clock."""
    return World
