"""One row a provider style: its path, words, rules, handwriting, headers, quotas and usual models.

Owns the table only. To add a style: its sayings in `refusals`, its rules in `strictness`, its hand in
`frames`, and a row here.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hermes_router.sandbox import limits
from hermes_router.sandbox.frames import HANDS, Hand
from hermes_router.sandbox.quotas import Headers, Quotas
from hermes_router.sandbox.refusals import KIMI, SAYINGS, Sayings, anthropic
from hermes_router.sandbox.rules import Rule
from hermes_router.sandbox.strictness import STRICTNESS
from hermes_router.sandbox.values import FakeModel, Prefill, Refusal, SpeechName

NewId = Callable[[int, str], str]
Gate = Callable[[Mapping[str, str]], Refusal | None]
Rows = Callable[[FakeModel], dict[str, Any]]


def _digest(number: int, name: str) -> str:
    return hashlib.sha256(f"{number} {name}".encode()).hexdigest()


def _call_id(number: int, name: str) -> str:
    return f"call_{_digest(number, name)[:24]}"


def _agents_only(headers: Mapping[str, str]) -> Refusal | None:
    """Kimi's gate: Anthropic's SDK hears a fake overload, bare HTTP libraries that they are no agent (3.13)."""
    agent = headers.get("user-agent", "")
    if agent.startswith("Anthropic"):
        return KIMI.overloaded("")
    if not agent or agent.lower().startswith(("python", "aiohttp", "curl", "node")):
        message = "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI."
        return Refusal(403, {"error": {"message": message, "type": "access_terminated_error"}})
    return None


def _named_key(headers: Mapping[str, str]) -> Refusal | None:
    """Anthropic's headers: a key, by name or a bearer's (its SDK's way since 2.11), and a version."""
    if not (headers.get("x-api-key") or headers.get("authorization")):
        return anthropic(401, "x-api-key header is required")
    return None if headers.get("anthropic-version") else anthropic(400, "anthropic-version: header is required")


def _row(model: FakeModel) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": 1_760_000_000, "owned_by": "sandbox"}


def _groq_row(model: FakeModel) -> dict[str, Any]:
    return _row(model) | {
        "active": True, "context_window": model.context, "max_completion_tokens": model.max_output,
    }  # fmt: skip


def _openrouter_row(model: FakeModel) -> dict[str, Any]:
    return {
        "id": model.id, "canonical_slug": model.id, "name": model.id, "created": 1_760_000_000,
        "context_length": model.context, "pricing": {"prompt": "0", "completion": "0"},
        "architecture": {"input_modalities": ["text", "image"] if model.sees else ["text"],
                         "output_modalities": ["text"]},
        "top_provider": {"context_length": model.context, "max_completion_tokens": model.max_output,
                         "is_moderated": False},
        "supported_parameters": ["tools", "tool_choice", "max_tokens", "temperature"],
    }  # fmt: skip


def _mistral_row(model: FakeModel) -> dict[str, Any]:
    return _row(model) | {
        "max_context_length": model.context, "aliases": [], "type": "base",
        "capabilities": {"completion_chat": True, "function_calling": True, "vision": model.sees},
    }  # fmt: skip


def _context_row(model: FakeModel) -> dict[str, Any]:
    return _row(model) | {"context_length": model.context, "max_completion_tokens": model.max_output}


def _gemini_row(model: FakeModel) -> dict[str, Any]:
    return _row(model) | {"id": f"models/{model.id}"}


def _anthropic_row(model: FakeModel) -> dict[str, Any]:
    return {"type": "model", "id": model.id, "display_name": model.id, "created_at": "2026-09-01T00:00:00Z",
            "max_input_tokens": model.context, "max_tokens": model.max_output}  # fmt: skip


def _list(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": rows}


def _anthropic_list(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ends = [rows[at]["id"] if rows else None for at in (0, -1)]
    return {"data": rows, "has_more": False, "first_id": ends[0], "last_id": ends[1]}


def _local_row(model: FakeModel) -> dict[str, Any]:
    return _row(model) | {"meta": {"n_ctx_train": model.context, "n_vocab": 32_000}}


@dataclass(frozen=True, slots=True)
class Style:
    """How one provider behaves.

    Attributes:
        path: what stands before `/chat/completions`, `/messages`, `/responses` and `/models`.
        speaks: the dialects that it serves.
        more_paths: further places where the same is served (Z.ai has a path for Messages).
        gate: looks at the request's headers before the key.
        public_models: `/models` needs no key, so it proves none.
        keyless: no key is asked for.
        new_call_id: ids of tool calls, from a number and the function's name.
        quotas: published limits of the free tier (facts section 3), unless the test gives others.
        model_prefix: also taken before a model id.
        compacts: it puts conversations into items, where it serves Responses.
        prefill, prefill_flag: what a last turn of the assistant's is to it, in Chat only where the turn bears the flag.
    """

    name: str
    path: str
    models: tuple[FakeModel, ...]
    headers: Headers = limits.silent_headers
    gate: Gate | None = None
    public_models: bool = False
    keyless: bool = False
    new_call_id: NewId = _call_id
    quotas: Quotas = field(default_factory=Quotas)
    model_row: Rows = _row
    model_list: Callable[[list[dict[str, Any]]], dict[str, Any]] = _list
    model_prefix: str = ""
    speaks: tuple[SpeechName, ...] = ("chat",)
    more_paths: tuple[str, ...] = ()
    prefill: Prefill = "anew"
    prefill_flag: str = ""
    compacts: bool = False

    @property
    def sayings(self) -> Sayings:
        """Its words."""
        return SAYINGS[self.name]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Its rules."""
        return STRICTNESS[self.name]

    @property
    def hand(self) -> Hand:
        """Its handwriting."""
        return HANDS[self.name]


_LMH = ("low", "medium", "high")
_GEMINI_EFFORTS = ("minimal", "low", "medium", "high")
_CLAUDE_EFFORTS = (*_LMH, "xhigh", "max")
_ALL: tuple[SpeechName, ...] = ("chat", "messages", "responses")

_ROWS = (
    Style(
        "openai", "/v1", headers=limits.openai_headers, speaks=("chat", "responses"),
        quotas=Quotas(rpm=500, tpm=200_000), compacts=True,
        models=(
            FakeModel("gpt-4o-mini", 128_000, 16_384, sees=True),
            FakeModel("gpt-6-luna", 272_000, 128_000, thinks=40, hidden=True, reasoner=True, sees=True),
        ),
    ),
    Style(
        "anthropic", "/v1", headers=limits.anthropic_headers, gate=_named_key, speaks=("messages",),
        model_row=_anthropic_row, model_list=_anthropic_list, quotas=Quotas(rpm=50, tpm=450_000), prefill="continues",
        new_call_id=lambda number, name: f"toolu_01{_digest(number, name)[:22]}",
        models=(
            FakeModel("claude-haiku-5-5", 1_000_000, 128_000, sees=True, current=True, efforts=_CLAUDE_EFFORTS,
                      thinking=("adaptive", "between_tools", "disabled")),
            FakeModel("claude-haiku-4-5", 200_000, 64_000, sees=True, thinking=("enabled", "disabled")),
            FakeModel("claude-sonnet-5-5", 1_000_000, 128_000, sees=True, current=True, efforts=_CLAUDE_EFFORTS,
                      thinking=("adaptive", "between_tools")),
            FakeModel("claude-opus-5-5", 1_000_000, 128_000, sees=True, current=True, efforts=_CLAUDE_EFFORTS,
                      thinking=("adaptive", "between_tools")),
        ),
    ),
    Style(
        "gemini", "/v1beta/openai", model_row=_gemini_row, model_prefix="models/",
        new_call_id=lambda number, _name: f"function-call-{1_000_000_000 + number}",
        quotas=Quotas(rpm=15, rpd=500, tpm=250_000, kinds={"rpd": "pacific_day"}),
        models=(
            FakeModel("gemini-2.5-flash-lite", 1_048_576, 65_536, sees=True),
            FakeModel("gemini-3.5-flash-lite", 1_048_576, 65_536, signs=True, sees=True, efforts=_GEMINI_EFFORTS),
            FakeModel("gemini-3.1-flash-lite", 1_048_576, 65_536, signs=True, sees=True, efforts=_GEMINI_EFFORTS),
            FakeModel("gemini-3.8-flash", 1_048_576, 65_536, signs=True, sees=True, efforts=_GEMINI_EFFORTS),
            FakeModel("gemma-4-31b-it", 262_144, 32_768, sees=True),
        ),
    ),
    Style(
        "openrouter", "/api/v1", public_models=True, speaks=_ALL, model_row=_openrouter_row,
        quotas=Quotas(rpm=20, rpd=50, shared=True, kinds={"rpd": "utc_day"}),
        models=(
            FakeModel("nvidia/nemotron-3-ultra-550b-a55b:free", 1_000_000, 65_536),
            FakeModel("nvidia/nemotron-3.5-super-vl:free", 1_000_000, 131_072, sees=True),
            FakeModel("thinkingmachines/inkling-2-small:free", 1_000_000, 131_072, sees=True),
            FakeModel("google/gemma-4-31b-it:free", 262_144, 32_768, sees=True),
            FakeModel("openrouter/free", 200_000, 32_768),
        ),
    ),
    Style(
        "groq", "/openai/v1", headers=limits.groq_headers, model_row=_groq_row, speaks=("chat", "responses"),
        quotas=Quotas(rpm=30, rpd=1_000, tpm=8_000, tpd=200_000, reserve="prompt_cap"),
        models=(
            FakeModel("openai/gpt-oss-120b", 131_072, 65_536, efforts=_LMH),
            FakeModel("qwen/qwen3.8-27b", 131_072, 16_384, sees=True, efforts=("none", "default")),
            FakeModel("openai/gpt-oss-20b", 131_072, 65_536, efforts=_LMH),
        ),
    ),
    Style(
        "cerebras", "/v1", headers=limits.cerebras_headers,
        quotas=Quotas(rpm=5, tpm=30_000, tph=1_000_000, tpd=1_000_000, reserve="cerebras",
                      kinds={"tpm": "bucket", "tph": "bucket", "tpd": "bucket"}),
        models=(
            FakeModel("gpt-oss-120b", 65_536, 32_768, efforts=_LMH),
            FakeModel("qwen-3.8-27b", 64_000, 32_768, sees=True, efforts=("none", *_LMH)),
        ),
    ),
    Style(
        "mistral", "/v1", headers=limits.mistral_headers, model_row=_mistral_row,
        prefill="echoes", prefill_flag="prefix",
        new_call_id=lambda number, name: _digest(number, name)[:9], quotas=Quotas(rpm=60, tpm=500_000),
        models=(
            FakeModel("mistral-medium-latest", 262_144, 262_144, sees=True, efforts=("none", "high")),
            FakeModel("mistral-small-latest", 262_144, 256_000, sees=True, efforts=("none", "high")),
            FakeModel("mistral-large-4", 1_000_000, 262_144, sees=True),
        ),
    ),
    Style(
        "cohere", "/compatibility/v1", headers=limits.cohere_headers,
        quotas=Quotas(rpm=20, month=1_000, shared=True, kinds={"month": "utc_month"}),
        models=(
            FakeModel("command-a-03-2025", 256_000, 8_192),
            FakeModel("command-a-plus-05-2026", 128_000, 64_000, sees=True, efforts=("none", "high")),
            FakeModel("command-r7b-12-2024", 128_000, 4_096),
        ),
    ),
    Style(
        "zai", "/api/paas/v4", speaks=("chat", "messages"), more_paths=("/api/anthropic/v1",),
        quotas=Quotas(concurrency=1),
        models=(
            FakeModel("glm-4.5-flash", 131_072, 98_304, no_zero_temperature=True),
            FakeModel("glm-4.7-flash", 200_000, 131_072),
            FakeModel("glm-5.3-flash", 1_000_000, 131_072, thinks=20, efforts=("low", "high", "max")),
        ),
    ),
    Style(
        "nvidia", "/v1", public_models=True, quotas=Quotas(rpm=40),
        models=(
            FakeModel("nvidia/nemotron-3-ultra-550b-a55b", 1_000_000, 65_536, single_calls=True),
            FakeModel("z-ai/glm-5.3-flash", 1_000_000, 131_072),
            FakeModel("deepseek-ai/deepseek-v4.1-flash", 1_000_000, 393_216, thinks=10, replays=True),
            FakeModel("openai/gpt-oss-20b", 131_072, 32_768, single_calls=True),
        ),
    ),
    Style(
        "kimi", "/coding/v1", gate=_agents_only, speaks=("chat", "messages"), model_row=_context_row,
        prefill="continues", prefill_flag="partial",
        models=(
            FakeModel("kimi-for-coding", 1_000_000, 32_768, thinks=10, replays=True, sees=True,
                      efforts=("low", "high", "max")),
            FakeModel("k3-256k", 262_144, 131_072, thinks=10, replays=True, sees=True, efforts=("low", "high", "max")),
        ),
    ),
    Style(
        "huggingface", "/v1", public_models=True,
        models=(
            FakeModel("openai/gpt-oss-120b:cheapest", 131_072, 32_768),
            FakeModel("zai-org/GLM-4.7-Flash", 200_000, 128_000),
        ),
    ),
    Style(
        "sambanova", "/v1", headers=limits.sambanova_headers, speaks=_ALL, model_row=_context_row,
        quotas=Quotas(rpm=20, rpd=20, tpd=200_000, kinds={"rpd": "utc_day", "tpd": "utc_day"}),
        models=(
            FakeModel("DeepSeek-V3.2", 32_768, 8_192),
            FakeModel("gpt-oss-120b", 131_072, 131_072, efforts=_LMH),
            FakeModel("Meta-Llama-3.3-70B-Instruct", 131_072, 131_072),
        ),
    ),
    Style(
        "naga", "/v1", public_models=True, speaks=_ALL,
        quotas=Quotas(rpm=10, rpd=100, shared=True, kinds={"rpd": "utc_day"}),
        models=(FakeModel("nemotron-3-super-120b-a12b:free"),),
    ),
    Style("generic", "/v1", models=(FakeModel("generic-model"),)),
    Style(
        "local", "/v1", keyless=True, speaks=_ALL, model_row=_local_row, prefill="continues",
        models=(FakeModel("llama3.1", 8_192, 8_192),),
    ),
)  # fmt: skip

STYLES: Mapping[str, Style] = {style.name: style for style in _ROWS}
