"""Parameters of a Responses request, fitted to what one target takes.

Owns the use of the Chat rows' knowledge here (allow-lists, refusals, effort levels, caps: facts providers.md 5, 12.8):
parameters come in under their neutral names, which are Chat's, and `spelled` writes them as Responses does. It must
never know a provider.
"""

from collections.abc import Mapping
from typing import Any, Final

from hermes_router.core.catalog import Capability, Known, Quirk, TargetFacts
from hermes_router.wire.chat.outgoing import NO_RECALL, Options, Recipe
from hermes_router.wire.quirks.draft import Draft
from hermes_router.wire.quirks.parameters import fit_effort, fitted_cap, is_silent, settle_effort

__all__ = ["ENCRYPTED", "fit", "reasons", "spelled", "taken"]

ENCRYPTED: Final = "reasoning.encrypted_content"
_CAPS: Final = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
_LEAST_CAP: Final = 16  # tokens: less is refused (12.8)
_RESPONSES_NAMES: Final[Mapping[str, str]] = {
    "reasoning_effort": "reasoning", "verbosity": "text", "response_format": "text",
}  # fmt: skip
"""The field that carries a parameter, where it is called otherwise."""


def fit(
    params: dict[str, Any], recipe: Recipe, options: Options, asked: int | None, *, has_tools: bool
) -> tuple[Draft, int | None]:
    """The parameters that go out, with what has to be said of those that do not, and the output cap in tokens.

    `params` are decoded, by their neutral names, and edited in place; `asked` is the caller's cap.
    """
    draft = Draft(params, NO_RECALL, recipe.quirks, recipe.allow, recipe.refuse | options.without)
    draft.has_tools = has_tools
    for keys, step in recipe.parameters:
        if not keys or not keys.isdisjoint(params):
            step(draft)
    if recipe.levels and "reasoning_effort" in params:
        fit_effort(draft, recipe.levels)
    reasoning_off = settle_effort(draft)
    params.pop("thinking", None)
    if not has_tools:
        params.pop("parallel_tool_calls", None)
    for key in list(params):
        if not taken(key, recipe, draft.refused):
            if not is_silent(draft, key):
                draft.warn("dropped", key)
            del params[key]
    return draft, _cap(draft, recipe, options, asked, reasoning_off=reasoning_off)


def taken(key: str, recipe: Recipe, refused: frozenset[str]) -> bool:
    """Whether the target takes a parameter, by its neutral name."""
    if key in refused or _RESPONSES_NAMES.get(key) in refused:
        return False
    return recipe.allow is None or key in recipe.allow or recipe.rename.get(key) in recipe.allow


def _cap(draft: Draft, recipe: Recipe, options: Options, asked: int | None, *, reasoning_off: bool) -> int | None:
    if not _CAPS.isdisjoint(draft.refused - recipe.refuse) or "max_output_tokens" in recipe.refuse:
        if asked is not None:
            draft.warn("dropped", "max_output_tokens")
        return None
    reserve = options.reserve_tokens if options.reasoning and not reasoning_off else 0
    left = recipe.context - options.input_tokens if recipe.context and options.input_tokens is not None else None
    cap = fitted_cap(draft, asked, reserve, (*recipe.limits, left), options.default_output_tokens)
    if cap is None or cap >= _LEAST_CAP:
        return cap
    if asked is not None:
        draft.warn("approx", "max_output_tokens", altered=False)
    return _LEAST_CAP


def spelled(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters by their neutral names as Responses fields."""
    out = {key: value for key, value in params.items() if key not in _RESPONSES_NAMES}
    if (effort := params.get("reasoning_effort")) is not None:
        out["reasoning"] = {"effort": effort}
    text: dict[str, Any] = {}
    if (wanted := params.get("response_format")) is not None:
        inner = wanted.get("json_schema")
        text["format"] = {"type": "json_schema", **inner} if isinstance(inner, dict) else wanted
    if (verbosity := params.get("verbosity")) is not None:
        text["verbosity"] = verbosity
    if text:
        out["text"] = text
    return out


def reasons(facts: TargetFacts) -> bool:
    """Whether the target's model is known to reason, and its thoughts can be asked for in sealed form."""
    if Quirk.NATIVE_RESPONSES not in facts.quirks:
        return False
    claim = facts.model.capabilities.get(Capability.REASONING) or facts.provider.capabilities.get(Capability.REASONING)
    return claim is not None and claim.value is Known.YES
