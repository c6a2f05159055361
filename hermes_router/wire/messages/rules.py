"""What one target takes in the Messages dialect, worked out once of its row, its model and its quirks.

Owns the facts that composing and passing on share, and the warnings of one request. It must never know a provider: rows
say what they take (facts: providers.md 3.15, 12.8).
"""

import re
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from hermes_router.core.catalog import Capability, Known, Quirk, TargetFacts
from hermes_router.core.chat import Warning as Notice
from hermes_router.wire.messages.parts import DIALECT

__all__ = [
    "NEED_BETAS", "NEED_BETAS_IN_TOOLS", "VERSION", "Notes", "Rules", "refused_fields", "rules_of",
    "without",
]  # fmt: skip

VERSION: Final = ("anthropic-version", "2023-06-01")

NEED_BETAS: Final = frozenset({
    "context_management", "container", "mcp_servers", "speed", "diagnostics", "inference_geo", "user_profile_id",
    "workspace_id", "service_tier",
})  # fmt: skip
"""Top-level fields that only the maker of the dialect takes (12.8, 12.12)."""
NEED_BETAS_IN_TOOLS: Final = frozenset({"defer_loading", "eager_input_streaming", "input_examples", "allowed_callers"})

_UNPRINTABLE: Final = re.compile(r"[^\w.\[\]$-]", re.ASCII)
_MOST_NOTES: Final = 32
_NAMES: Final = {
    "stop": "stop_sequences", "reasoning_effort": "output_config.effort", "response_format": "output_config.format",
    "user": "metadata", "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}  # fmt: skip
"""What a field is called here that a row or a refusal names as Chat does."""
_NEEDED: Final = frozenset({"model", "messages", "max_tokens", "stream"})


class Notes(msgspec.Struct):
    """What was not honoured in one request; `altered` = the caller's content changed its shape or meaning."""

    said: dict[Notice, None] = msgspec.field(default_factory=dict)
    altered: bool = False

    def warn(self, code: str, what: str, *, altered: bool = True) -> None:
        """Say it once. `what` may come from the caller and ends in a header: it is cleaned."""
        if len(self.said) < _MOST_NOTES:
            self.said[Notice(code, _UNPRINTABLE.sub("?", what[:64]))] = None
        self.altered = self.altered or altered


class Rules(NamedTuple):
    """What one target takes.

    Attributes:
        name: `provider/model`, whose thoughts are its own.
        model: the model as it is called in the body.
        claude: known to keep the dialect's own rules for thoughts: none without its signature.
        allow: top-level fields, None = all but those of NEED_BETAS.
        limits: of the output, in tokens; those that are known.
        context: the window in tokens, None = unknown.
        prefill: whether it goes on where a last assistant turn breaks off; None = unknown.
        reasons: whether it thinks at all.
        levels: words of effort that it takes, weakest first; empty = unknown.
    """

    name: str
    model: str
    quirks: frozenset[Quirk]
    betas: bool
    hosted: bool
    marks: bool
    system_turns: bool
    adaptive: bool
    budget: bool
    always: bool
    claude: bool
    files: bool
    schemas: bool
    allow: frozenset[str] | None
    refused: frozenset[str]
    limits: tuple[int, ...]
    context: int | None
    prefill: bool | None
    reasons: bool | None
    levels: tuple[str, ...]
    versioned: bool

    def takes(self, key: str) -> bool:
        """Whether a top-level field may be sent."""
        if self.allow is None:
            return self.betas or key not in NEED_BETAS
        return key in self.allow

    def headers(self, betas: tuple[str, ...], session: str = "") -> tuple[tuple[str, str], ...]:
        """What goes beside the row's own headers: the version, betas to whoever knows them (12.12), the session.

        The dialect has no field for a session, and a header that is not known is refused by nobody.
        """
        out = [] if self.versioned else [VERSION]
        if betas and self.betas:
            out.append(("anthropic-beta", ",".join(betas)))
        if session and Quirk.SESSION_ID in self.quirks:
            out.append(("x-session-id", session))
        return tuple(out)


_RULES: WeakKeyDictionary[TargetFacts, Rules] = WeakKeyDictionary()


def rules_of(facts: TargetFacts) -> Rules:
    """The rules of a target, made at the first call; they live as long as the facts do."""
    rules = _RULES.get(facts)
    if rules is None:
        rules = _RULES[facts] = _made(facts)
    return rules


def _made(facts: TargetFacts) -> Rules:
    provider, model, quirks = facts.provider, facts.model, facts.quirks
    adaptive, budget = Quirk.ADAPTIVE_THINKING in quirks, Quirk.BUDGET_THINKING in quirks
    # A row's list of fields is in the words of its first dialect.
    own_words = next(iter(provider.endpoints), DIALECT) == DIALECT
    return Rules(
        name=facts.target.name,
        model=f"{provider.model_prefix}{model.id}",
        quirks=quirks,
        betas=Quirk.BETAS in quirks,
        hosted=Quirk.HOSTED_TOOLS in quirks,
        marks=Quirk.CACHE_MARKS in quirks,
        system_turns=Quirk.SYSTEM_TURNS in quirks,
        adaptive=adaptive,
        budget=budget,
        always=Quirk.ALWAYS_THINKS in quirks,
        claude=adaptive or budget or Quirk.BETAS in quirks,
        files=_can(facts, Capability.FILES) is True,
        schemas=_can(facts, Capability.JSON_SCHEMA) is True,
        allow=provider.allow if own_words else None,
        refused=model.refuse,
        limits=tuple(each for each in (facts.output_cap, model.max_output) if each is not None and each > 0),
        context=model.context,
        prefill=_can(facts, Capability.PREFILL),
        reasons=_can(facts, Capability.REASONING),
        levels=facts.effort_levels or model.efforts,
        versioned=any(key.lower() == VERSION[0] for key in provider.headers),
    )


def _can(facts: TargetFacts, what: Capability) -> bool | None:
    claim = facts.model.capability(what)
    if claim.value is Known.UNKNOWN:
        claim = facts.provider.capabilities.get(what, claim)
    return {Known.YES: True, Known.NO: False}.get(claim.value)


def refused_fields(refused: frozenset[str]) -> frozenset[str]:
    """The top-level fields that these names concern."""
    return frozenset(_NAMES.get(name, name).partition(".")[0] for name in refused if name not in _NEEDED)


def without(body: dict[str, Any], refused: frozenset[str], notes: Notes) -> None:
    """Take out what this provider and model have refused before; a dotted name takes out what lies within."""
    for said in sorted(refused):
        outer, _, inner = _NAMES.get(said, said).partition(".")
        if outer not in body or outer in _NEEDED:
            continue
        if not inner:
            del body[outer]
        elif isinstance(body[outer], dict) and inner in body[outer]:
            body[outer] = {key: value for key, value in body[outer].items() if key != inner}
            if not body[outer]:
                del body[outer]
        else:
            continue
        notes.warn("dropped", said)
