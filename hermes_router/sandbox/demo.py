"""The pool that `hr demo` runs: five providers with tight quotas, one that always fails, one bad key.

Owns its cast and what a demo answer says. The sandbox proper knows nothing of it.
"""

from collections.abc import Mapping

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.quotas import Quotas
from hermes_router.sandbox.server import Sandbox

PACE_S = 0.03
# The first two that a router with these keys asks: the demo is about failures.
FAILING = "gemini"
REVOKED = "openrouter"
REVOKED_KEY = "demo-openrouter-revoked"

_QUOTAS: Mapping[str, Quotas] = {
    "groq": Quotas(rpm=3, rpd=200, tpm=8_000, reserve="prompt_cap"),
    "cerebras": Quotas(rpm=3, tpm=30_000, reserve="cerebras", kinds={"tpm": "bucket"}),
    "mistral": Quotas(rpm=4, tpm=50_000),
    "sambanova": Quotas(rpm=3, rpd=20),
    "nvidia": Quotas(rpm=4),
}


def chat(asked: str) -> str:
    """A plausible answer, about 60 words, that quotes the question so that one sees it arrived."""
    question = " ".join(asked.split())[:80]
    return (
        f"Good question: “{question}”. I am one of several pretend models behind a single address, and each of "
        "us has a very small allowance. When one has used it up, or falls over, the router asks the next and you "
        "never notice. Ask me again a few times in a row and watch another of us take over, word by word, as I "
        "am doing now."
    )


def cast() -> list[FakeProvider]:
    """The demo's providers."""
    good = [
        FakeProvider(name, keys={f"demo-{name}"}, quotas=quotas, compose=chat, pace_s=PACE_S)
        for name, quotas in _QUOTAS.items()
    ]
    failing = FakeProvider(FAILING, keys={f"demo-{FAILING}"})
    failing.behave(faults.status(503, {"error": {"message": "upstream connect error", "type": "server_error"}}), None)
    return [*good, failing, FakeProvider(REVOKED, keys=set())]


def environment(sandbox: Sandbox) -> dict[str, str]:
    """The variables that point a router at the demo: a base URL and a key for each provider."""
    told: dict[str, str] = {}
    for name, provider in sandbox.providers.items():
        told[f"{name.upper()}_BASE_URL"] = sandbox.base_url(name)
        told[f"{name.upper()}_API_KEY"] = next(iter(provider.keys), REVOKED_KEY)
    return told
