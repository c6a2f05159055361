"""Quirks of top-level parameters: effort, sampling, stop strings, the answer's format, the output cap.

Owns the value of each parameter on its way out (facts: providers.md 3, 5, 12.8). Whether a key is taken at all is the
row's allow-list. What is weakened is said by a warning; a neutral value that is dropped changes nothing and is not.
It must never know a provider.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from hermes_router.core.catalog import MODEST_TOKENS
from hermes_router.core.errors import BadRequest
from hermes_router.wire.quirks.draft import Draft, decode

# --- effort -----------------------------------------------------------------------------------------

SCALE = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Words of `reasoning_effort`, weakest first."""

_NONE_HIGH = {"none": "none", "minimal": "none", "low": "none", "medium": "high", "high": "high", "xhigh": "high",
              "max": "high"}  # fmt: skip
_LOW_HIGH_MAX = {"none": "low", "minimal": "low", "low": "low", "medium": "high", "high": "high", "xhigh": "max",
                 "max": "max"}  # fmt: skip
_LOW_MEDIUM_HIGH = {"none": "low", "minimal": "low", "low": "low", "medium": "medium", "high": "high",
                    "xhigh": "high", "max": "high"}  # fmt: skip
_NONE_DEFAULT = {"none": "none", "minimal": "default", "low": "default", "medium": "default", "high": "default",
                 "xhigh": "default", "max": "default"}  # fmt: skip


def effort_none_high(draft: Draft) -> None:
    """Only `none` and `high` (Mistral, Cohere)."""
    _map_effort(draft, _NONE_HIGH)


def effort_low_high_max(draft: Draft) -> None:
    """Only `low`, `high` and `max` (Kimi, GLM 5)."""
    _map_effort(draft, _LOW_HIGH_MAX)


def effort_low_medium_high(draft: Draft) -> None:
    """Only `low`, `medium` and `high` (gpt-oss)."""
    _map_effort(draft, _LOW_MEDIUM_HIGH)


def effort_none_default(draft: Draft) -> None:
    """Only `none` and `default` (qwen on Groq)."""
    _map_effort(draft, _NONE_DEFAULT)


def _map_effort(draft: Draft, table: Mapping[str, str]) -> None:
    effort = draft.value("reasoning_effort")
    if effort in table.values():
        return
    if not isinstance(effort, str) or effort not in table:
        del draft.params["reasoning_effort"]
        draft.warn("dropped", "reasoning_effort")
        return
    draft.params["reasoning_effort"] = table[effort]
    draft.warn("approx", "reasoning_effort")


def unify_effort(draft: Draft) -> None:
    """The nested form (`reasoning.effort`) becomes `reasoning_effort` where only that is taken."""
    if draft.takes("reasoning"):
        return
    nested = draft.value("reasoning")
    del draft.params["reasoning"]
    if "reasoning_effort" in draft.params or not isinstance(nested, dict):
        return
    effort = nested.get("effort")
    if effort is None and nested.get("enabled") is False:
        effort = "none"
    if effort is not None:
        draft.params["reasoning_effort"] = effort
    elif nested:
        draft.warn("dropped", "reasoning")


def fit_effort(draft: Draft, levels: tuple[str, ...]) -> None:
    """An effort that the model does not know becomes the nearest weaker one that it knows, else its weakest."""
    effort = draft.value("reasoning_effort")
    if not levels or effort in levels or effort not in SCALE:
        return
    known = sorted(SCALE.index(level) for level in levels if level in SCALE)
    if not known:
        return
    wanted = SCALE.index(effort)
    weaker = [level for level in known if level <= wanted]
    draft.params["reasoning_effort"] = SCALE[weaker[-1] if weaker else known[0]]
    draft.warn("approx", "reasoning_effort")


def settle_effort(draft: Draft) -> bool:
    """Drop what is not taken; tell whether hidden reasoning is switched off by what will be sent."""
    if "reasoning_effort" not in draft.params:
        return False
    effort = draft.value("reasoning_effort")
    if draft.takes("reasoning_effort"):
        return bool(effort == "none")
    del draft.params["reasoning_effort"]
    if effort == "none" and draft.allow is not None and draft.takes("thinking"):
        draft.params.setdefault("thinking", {"type": "disabled"})
        return True
    draft.warn("dropped", "reasoning_effort")
    return False


# --- sampling ---------------------------------------------------------------------------------------


def fixed_sampling(draft: Draft) -> None:
    """`temperature` and `top_p` are refused unless they are 1."""
    for key in ("temperature", "top_p"):
        if key in draft.params:
            if draft.value(key) != 1:
                draft.warn("dropped", key)
            del draft.params[key]


def no_zero_temperature(draft: Draft) -> None:
    """`temperature: 0` is refused by old GLM models: 0.01 is as near as it gets (3.9)."""
    value = draft.value("temperature")
    if isinstance(value, int | float) and value == 0:
        draft.params["temperature"] = 0.01
        draft.warn("approx", "temperature")


def one_stop(draft: Draft) -> None:
    """One stop string, the first."""
    stop = draft.value("stop")
    if isinstance(stop, list) and len(stop) > 1:
        draft.params["stop"] = stop[:1]
        draft.warn("approx", "stop")


def json_object_only(draft: Draft) -> None:
    """No JSON schema: a JSON object is asked for, and the schema is put into the prompt."""
    wanted = draft.value("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    draft.params["response_format"] = {"type": "json_object"}
    draft.instruction = "Answer with one JSON object and nothing else."
    if schema is not None:
        draft.instruction += f" It must match this JSON schema: {msgspec.json.encode(schema).decode()}"
    draft.warn("approx", "response_format")


# --- the conversation -------------------------------------------------------------------------------


def session_id(draft: Draft) -> None:
    """Who is asked through a broker stays the same for one conversation (cases.md OR-1); the caller's word wins."""
    if draft.session and not any(key in draft.params for key in ("session_id", "prompt_cache_key")):
        draft.params["session_id"] = draft.session


# --- the output cap ---------------------------------------------------------------------------------

_MODEST_CHAT, _MODEST_CODE = MODEST_TOKENS


def modest_output(draft: Draft) -> None:
    """Admission charges the cap, or 16,384 where none is sent: a modest one goes with every request (3.5)."""
    draft.cap_default = _MODEST_CODE if draft.has_tools else _MODEST_CHAT
    draft.cap_limit = _MODEST_CODE


class CapKeys:
    """Which of the two keys of the output cap a row takes, worked out once."""

    __slots__ = ("both", "by_caller", "own")

    def __init__(self, allow: frozenset[str] | None, rename: Mapping[str, str], *, newer_first: bool) -> None:
        def taken(key: str) -> str | None:
            new = rename.get(key, key)
            return new if allow is None or new in allow else None

        older, newer = taken("max_tokens"), taken("max_completion_tokens")
        self.by_caller = {"max_tokens": older or newer, "max_completion_tokens": newer or older}
        self.own = (newer or older) if newer_first else (older or newer)
        # Unknown servers know max_tokens; a row that lists both means the newer one.
        self.both = older if allow is None and older else newer or older
        if newer_first:
            self.by_caller = dict.fromkeys(self.by_caller, self.own)
            self.both = self.own


def asked_cap(draft: Draft) -> tuple[int | None, str | None]:
    """The caller's cap in tokens and the key it came under; both keys leave the draft. Raises BadRequest."""
    asked: int | None = None
    came: str | None = None
    for key in ("max_completion_tokens", "max_tokens"):
        if key not in draft.params:
            continue
        value = decode(raw, key) if isinstance(raw := draft.params.pop(key), msgspec.Raw) else raw
        if value is None:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadRequest(f"{key} must be an integer of at least 1", param=key)
        if asked is None:
            asked, came = value, key
        else:
            came = "both"
    return asked, came


def fitted_cap(
    draft: Draft, asked: int | None, reserve: int, limits: tuple[int | None, ...], default: int | None
) -> int | None:
    """The cap to send in tokens, None for none. `reserve` comes on top of what the caller asked."""
    wanted = asked + reserve if asked is not None else default if default is not None else draft.cap_default
    if wanted is None:
        return None
    for limit in (draft.cap_limit, *limits):
        if limit is None or limit < 1:
            continue
        if asked is not None and asked > limit:
            draft.warn("approx", "max_tokens", altered=False)
        wanted = min(wanted, limit)
    return wanted


NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,), "logprobs": (False,), "top_logprobs": (0,), "parallel_tool_calls": (True,), "frequency_penalty": (0,),
    "presence_penalty": (0,), "logit_bias": ({}, []), "temperature": (1,), "top_p": (1,), "stop": ([],),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "tool_choice": ("auto",), "think": (False, True),
    "stream": (True, False), "top_k": (0, -1), "min_p": (0,), "repetition_penalty": (1,),
}  # fmt: skip
"""Values whose absence means the same."""

SILENT = frozenset({
    "store", "metadata", "user", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "service_tier", "stream_options", "client_metadata", "session_id", "think",
})  # fmt: skip
"""Keys without meaning for the answer: dropped without a word."""


def is_silent(draft: Draft, key: str) -> bool:
    """Whether dropping this key, with the value it has, takes nothing from the caller."""
    if key in SILENT:
        return True
    neutral = NEUTRAL.get(key)
    return neutral is not None and draft.value(key) in neutral
