"""The pool of the simulated week: the shipped catalogue, with the keys that somebody who took it seriously would have.

Owns which keys there are, and whose. Targets are made by the code that the daemon uses; no file but the catalogue is
read, and no secret exists.
"""

from collections.abc import Mapping

from hermes_router.core.catalog import Capability, Known, Quirk, TargetFacts
from hermes_router.core.catalog_rows import Catalog, parse_rows
from hermes_router.core.ids import AccountId, Credential, CredentialId, ProviderName
from hermes_router.core.settings import Settings
from hermes_router.daemon.config import shipped_tables
from hermes_router.engine.snapshot import take_snapshot

from .load import Job

REASONING_RESERVE = 4_096  # REASONING_TOKEN_RESERVE, ours and the original's
MODEST = (4_096, 8_192)  # what goes with a request to a row that charges the cap, without tools and with

# Keys by provider: the account's label, None = the owner said nothing of it.
KEYS: Mapping[str, tuple[str | None, ...]] = {
    "gemini": ("project-a", "project-a", "project-b"),
    "openrouter": (None, None, None),
    "sambanova": (None, None),
    "github_models": (None,),
    "cerebras": (None,),
    "groq": ("org", "org"),
    "mistral": (None, None),
    "cohere": (None,),
    "zai": (None, None),
    "naga": (None,),
    "nvidia": (None,),
    "huggingface": (None,),
    "kimi": (None,),
    "openai": (None,),
}


def catalog() -> Catalog:
    """The shipped rows."""
    rows, errors = parse_rows(shipped_tables(), where="providers.toml")
    assert not errors, errors
    return rows


def key(provider: str, number: int, account: str | None) -> Credential:
    """A credential as the daemon would make it; without a label it is an account of its own."""
    own = f"{provider}-{number}"
    owner = AccountId(account or own)
    return Credential(CredentialId(own), ProviderName(provider), owner, "api_key", own, "abcd", "sim")


def targets(keys: Mapping[str, tuple[str | None, ...]] = KEYS) -> tuple[TargetFacts, ...]:
    """Every target of these keys."""
    credentials = [key(name, n, account) for name, of in keys.items() for n, account in enumerate(of, 1)]
    return take_snapshot(1, Settings(), catalog(), credentials).facts


def sent_cap(facts: TargetFacts, job: Job, *, modest: bool) -> int | None:
    """The output cap that goes out: the caller's, with the reserve for reasoning, clamped to the model's."""
    cap = job.request.max_output_tokens
    if modest and Quirk.MODEST_OUTPUT in facts.quirks:
        cap = min(cap or MODEST[bool(job.request.tools)], MODEST[1])
    elif cap is not None and facts.model.capability(Capability.REASONING).value is Known.YES:
        cap += REASONING_RESERVE
    if cap is None:
        return None
    return min(cap, facts.output_cap or cap)
