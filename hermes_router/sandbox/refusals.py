"""How each provider says no, but for quotas: bad keys, broken rules, missing models, overlong prompts.

Literal templates after facts/providers.md sections 3 and 8, one set of functions a provider, collected in
`SAYINGS`. Owns wording and shape only; what is refused is decided in `rules` and `quotas`, and the 429s are
in `limits`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hermes_router.sandbox import limits
from hermes_router.sandbox.values import Breach, Hit, Refusal

JSON_PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Sayings:
    """One provider's refusals. `too_long` takes the window and the tokens asked for."""

    breach: Callable[[Breach], Refusal]
    bad_key: Refusal
    no_model: Callable[[str], Refusal]
    gone: Callable[[str], Refusal]
    too_long: Callable[[int, int], Refusal]
    limited: Callable[[Hit], Refusal]
    overloaded: Callable[[str], Refusal]
    no_credit: Refusal
    other: Callable[[int, str], Refusal] = lambda status, message: nested(status, message, "server_error")


def nested(
    status: int,
    message: str,
    kind: str | None = None,
    code: str | int | None = None,
    param: str | None = None,
) -> Refusal:
    """OpenAI's envelope: type, param and code are always there, null where unset."""
    return Refusal(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def overloaded_503(_model: str) -> Refusal:
    """The ordinary overload."""
    return nested(503, "The server is currently overloaded with other requests. Sorry about that!",
                  "server_error", "overloaded")  # fmt: skip


# --- OpenAI, and those that speak like it -----------------------------------------------------------


def _openai_breach(breach: Breach) -> Refusal:
    return nested(breach.status, breach.message, "invalid_request_error", breach.code, breach.param)


def _openai_no_model(model: str) -> Refusal:
    return nested(404, f"The model `{model}` does not exist or you do not have access to it.",
                  "invalid_request_error", "model_not_found")  # fmt: skip


def _openai_too_long(window: int, asked: int) -> Refusal:
    return nested(
        400,
        f"This model's maximum context length is {window} tokens. However, your messages resulted in {asked} "
        "tokens. Please reduce the length of the messages.",
        "invalid_request_error", "context_length_exceeded", "messages",
    )  # fmt: skip


def _retired(model: str) -> Refusal:
    return nested(404, f"The model `{model}` has been deprecated", "invalid_request_error", "model_not_found")


OPENAI = Sayings(
    breach=_openai_breach,
    bad_key=nested(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    no_model=_openai_no_model,
    gone=_retired,
    too_long=_openai_too_long,
    limited=limits.openai,
    overloaded=lambda _: nested(503, "Slow down", "server_error", "slow_down"),
    no_credit=nested(
        429, "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota", "insufficient_quota",
    ),
)  # fmt: skip


# --- Anthropic, and whoever speaks Messages ----------------------------------------------------------

_ANTHROPIC_TYPES: Mapping[int, str] = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error",
    529: "overloaded_error",
}  # fmt: skip


def anthropic(status: int, message: str) -> Refusal:
    """Anthropic's envelope (12.11), with the id of the request inside and out."""
    error = {"type": _ANTHROPIC_TYPES.get(status, "api_error"), "message": message}
    return Refusal(status, {"type": "error", "error": error, "request_id": limits.REQUEST_ID},
                   {"request-id": limits.REQUEST_ID})  # fmt: skip


ANTHROPIC = Sayings(
    breach=lambda breach: anthropic(breach.status, breach.message),
    bad_key=anthropic(401, "invalid x-api-key"),
    no_model=lambda model: anthropic(404, f"model: {model}"),
    gone=lambda model: anthropic(404, f"model: {model}"),
    too_long=lambda window, asked: anthropic(400, f"prompt is too long: {asked} tokens > {window} maximum"),
    limited=limits.anthropic,
    overloaded=lambda _: anthropic(529, "Overloaded"),
    no_credit=anthropic(
        400, "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits."),
    other=anthropic,
)  # fmt: skip


# --- Gemini: errors of the compatible endpoint come in a list of one ---------------------------------


def google(status: int, word: str, message: str, details: list[dict[str, Any]] | None = None) -> Refusal:
    """Google's envelope in the compatible endpoint's one-element list."""
    error: dict[str, Any] = {"code": status, "message": message, "status": word}
    if details:
        error["details"] = details
    return Refusal(status, [{"error": error}])


GEMINI = Sayings(
    breach=lambda breach: google(breach.status, "INVALID_ARGUMENT", breach.message),
    bad_key=google(
        400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.",
        [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
          "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}],
    ),
    no_model=lambda model: google(404, "NOT_FOUND", f"models/{model} is not found for API version v1main."),
    gone=lambda model: google(404, "NOT_FOUND", f"models/{model} is no longer available."),
    too_long=lambda window, asked: google(
        400, "INVALID_ARGUMENT",
        f"The input token count ({asked}) exceeds the maximum number of tokens allowed ({window}).",
    ),
    limited=limits.gemini,
    overloaded=lambda _: google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    no_credit=google(403, "PERMISSION_DENIED", "Your prepayment credits are depleted."),
)  # fmt: skip


# --- OpenRouter -------------------------------------------------------------------------------------


def _router_error(status: int, message: str, metadata: dict[str, Any] | None = None) -> Refusal:
    error: dict[str, Any] = {"message": message, "code": status}
    if metadata:
        error["metadata"] = metadata
    return Refusal(status, {"error": error, "user_id": "user_sandbox"})


OPENROUTER = Sayings(
    breach=lambda breach: _router_error(breach.status, breach.message),
    bad_key=_router_error(401, "User not found."),
    no_model=lambda model: _router_error(400, f"{model} is not a valid model ID"),
    gone=lambda model: _router_error(404, f"No endpoints found for {model}."),
    too_long=lambda window, asked: _router_error(
        400,
        f"This endpoint's maximum context length is {window} tokens. However, you requested about {asked} tokens.",
    ),
    limited=limits.openrouter,
    overloaded=lambda model: _router_error(
        429, "Provider returned error",
        {"provider_name": "SomeHost", "raw": json.dumps(
            {"error": {"message": f"{model} is temporarily rate-limited upstream", "code": 429}})},
    ),
    no_credit=_router_error(
        402, "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can "
        "only afford 1200."),
)  # fmt: skip


# --- Groq -------------------------------------------------------------------------------------------

GROQ = Sayings(
    breach=lambda breach: Refusal(
        breach.status,
        {"error": {"message": breach.message, "type": "invalid_request_error",
                   **({"code": breach.code} if breach.code else {})}},
    ),
    bad_key=Refusal(401, {"error": {
        "message": "Invalid API Key", "type": "invalid_request_error", "code": "invalid_api_key"}}),
    no_model=_openai_no_model,
    gone=lambda model: nested(
        400, f"The model `{model}` has been decommissioned and is no longer supported.",
        "invalid_request_error", "model_decommissioned"),
    too_long=lambda _window, _asked: nested(
        400, "Please reduce the length of the messages or completion.", "invalid_request_error",
        "context_length_exceeded", "messages"),
    limited=limits.groq,
    overloaded=lambda model: nested(503, f"{model} is currently over capacity.", "internal_server_error"),
    no_credit=nested(400, "Organization has been restricted.", "invalid_request_error", "organization_restricted"),
)  # fmt: skip


# --- Cerebras: flat ---------------------------------------------------------------------------------


def flat(status: int, message: str, kind: str, param: str | None, code: str) -> Refusal:
    """Cerebras' envelope: no `error` around it."""
    return Refusal(status, {"message": message, "type": kind, "param": param, "code": code})


CEREBRAS = Sayings(
    breach=lambda breach: flat(
        breach.status, breach.message, "invalid_request_error", breach.param, breach.code or "wrong_api_format"),
    bad_key=flat(401, "Wrong API Key", "invalid_request_error", "api_key", "wrong_api_key"),
    no_model=lambda model: flat(
        404, f"Model {model} does not exist or you do not have access to it.", "not_found_error", "model",
        "model_not_found"),
    gone=lambda model: flat(404, f"Model {model} is archived.", "not_found_error", "model", "model_not_found"),
    too_long=lambda _window, _asked: Refusal(400, b""),
    limited=limits.cerebras,
    overloaded=lambda _: flat(
        429, "We're experiencing high traffic right now! Please try again soon.", "too_many_requests_error",
        "queue", "queue_exceeded"),
    no_credit=flat(402, "Payment required.", "payment_required_error", "quota", "payment_required"),
)  # fmt: skip


# --- Mistral: a validator's 422 for unknown keys, numbered 400s for the rest --------------------------


def _mistral_breach(breach: Breach) -> Refusal:
    if breach.loc is not None:
        detail = {"type": breach.kind, "loc": ["body", *breach.loc], "msg": breach.message, "input": None}
        return Refusal(422, {"object": "error", "message": {"detail": [detail]},
                             "type": "invalid_request_error", "param": None, "code": None})  # fmt: skip
    return _mistral(breach.status, breach.message, "invalid_request_message_order", breach.code or "3230")


def _mistral(status: int, message: str, kind: str, code: str) -> Refusal:
    return Refusal(status, {"object": "error", "message": message, "type": kind, "param": None, "code": code})


MISTRAL = Sayings(
    breach=_mistral_breach,
    bad_key=Refusal(401, {"detail": "Unauthorized"}),
    no_model=lambda model: _mistral(400, f"Invalid model: {model}", "invalid_model", "1500"),
    gone=lambda model: _mistral(404, f"Model {model} was retired.", "invalid_model", "1500"),
    too_long=lambda window, asked: _mistral(
        400, f"Prompt contains {asked} tokens, too large for model with {window} maximum context length",
        "invalid_request_prompt", "3051"),
    limited=limits.mistral,
    overloaded=lambda _: _mistral(
        429, "Service tier capacity exceeded for this model.", "service_tier_capacity_exceeded", "3505"),
    no_credit=_mistral(402, "You have no active subscription.", "payment_required", "1910"),
)  # fmt: skip


# --- Cohere: flat, with an id -------------------------------------------------------------------------


def _cohere(status: int, message: str) -> Refusal:
    return Refusal(status, {"id": "b5e0a1c2-0000-4000-8000-000000000000", "message": message})


COHERE = Sayings(
    breach=lambda breach: _cohere(breach.status, f"invalid request: {breach.message}"),
    bad_key=_cohere(401, "invalid api token"),
    no_model=lambda model: _cohere(404, f"model '{model}' not found, make sure the correct model ID was used"),
    gone=lambda model: _cohere(404, f"model '{model}' was removed"),
    too_long=lambda window, asked: _cohere(
        400, f"too many tokens: size limit exceeded by {asked - window} tokens."),
    limited=limits.cohere,
    overloaded=lambda _: _cohere(503, "service unavailable"),
    no_credit=_cohere(402, "please add a payment method"),
)  # fmt: skip


# --- Z.ai: a numbered code as a string -----------------------------------------------------------------


def zai(status: int, code: str, message: str) -> Refusal:
    """Z.ai's envelope."""
    return Refusal(status, {"error": {"code": code, "message": message}})


ZAI = Sayings(
    breach=lambda breach: zai(breach.status, breach.code or "1210", breach.message),
    bad_key=zai(401, "1000", "Authentication Failed"),
    no_model=lambda _: zai(400, "1211", "Unknown Model, please check the model code."),
    gone=lambda _: zai(400, "1211", "Unknown Model, please check the model code."),
    too_long=lambda _window, _asked: zai(400, "1261", "Prompt exceeds max length"),
    limited=limits.zai,
    overloaded=lambda _: zai(429, "1305", "The service may be temporarily overloaded, please try again later"),
    no_credit=zai(429, "1113", "Insufficient balance or no resource package. Please recharge."),
)  # fmt: skip


# --- NVIDIA: problem details ----------------------------------------------------------------------------


def _problem(status: int, title: str, detail: str | None = None) -> Refusal:
    body: dict[str, Any] = {"status": status, "title": title}
    if detail:
        body["detail"] = detail
    return Refusal(status, body, content_type=JSON_PROBLEM)


NVIDIA = Sayings(
    breach=lambda breach: _problem(breach.status, "Bad Request", breach.message),
    bad_key=_problem(401, "Unauthorized", "Authentication failed"),
    no_model=lambda model: _problem(
        404, "Not Found", f"Function '{model}': Not found for account 'sandbox'"),
    gone=lambda model: _problem(
        410, "Gone", f"The model '{model}' has reached its end of life on 2026-08-01 and is no longer available."),
    too_long=lambda window, asked: Refusal(400, {
        "object": "error", "type": "BadRequestError", "code": 400, "param": None,
        "message": f"This model's maximum context length is {window} tokens. However, you requested {asked} tokens."}),
    limited=limits.nvidia,
    overloaded=lambda _: Refusal(
        400, {"detail": "Function id 'f-0': DEGRADED function cannot be invoked"}, content_type=JSON_PROBLEM),
    no_credit=_problem(402, "Payment Required", "Account has no credits."),
)  # fmt: skip


# --- the rest --------------------------------------------------------------------------------------------

KIMI = Sayings(
    breach=lambda breach: Refusal(
        breach.status, {"error": {"message": breach.message, "type": breach.code or "invalid_request_error"}}),
    bad_key=Refusal(401, {"error": {
        "message": "The API Key appears to be invalid or may have expired.", "type": "invalid_authentication_error"}}),
    no_model=lambda model: Refusal(404, {"error": {
        "message": f"Not found the model {model} or Permission denied", "type": "resource_not_found_error"}}),
    gone=lambda model: Refusal(404, {"error": {
        "message": f"Not found the model {model} or Permission denied", "type": "resource_not_found_error"}}),
    too_long=lambda window, asked: Refusal(400, {"error": {
        "message": f"Invalid request: Your request exceeded model token limit: {window} (requested: {asked})",
        "type": "invalid_request_error"}}),
    limited=limits.kimi,
    overloaded=lambda _: Refusal(429, {"error": {
        "message": "The engine is currently overloaded, please try again later", "type": "engine_overloaded_error"}}),
    no_credit=Refusal(402, {"error": {
        "message": "We could not verify your membership.", "type": "exceeded_current_quota_error"}}),
)  # fmt: skip

HUGGINGFACE = Sayings(
    breach=_openai_breach,
    bad_key=Refusal(401, {"error": "Invalid username or password."}),
    no_model=lambda model: nested(
        400, f"The requested model '{model}' does not exist", "invalid_request_error", "model_not_found", "model"),
    gone=lambda model: nested(
        410, f"The requested model '{model}' is deprecated and no longer supported", "invalid_request_error"),
    too_long=_openai_too_long,
    limited=limits.bare,
    overloaded=overloaded_503,
    no_credit=Refusal(402, {"error": "You have exceeded your monthly included credits for Inference Providers. "
                            "Subscribe to PRO to get 20x more monthly included credits."}),
)  # fmt: skip

SAMBANOVA = Sayings(
    breach=_openai_breach,
    bad_key=nested(401, "Invalid API key", "authentication_error", "invalid_api_key"),
    no_model=_openai_no_model,
    gone=_retired,
    too_long=_openai_too_long,
    limited=limits.openai,
    overloaded=overloaded_503,
    no_credit=Refusal(402, {"error": {"message": "A payment method is required.", "type": "payment_error",
                                      "code": "PAYMENT_METHOD_REQUIRED", "balance_units": 0}}),
)  # fmt: skip

NAGA = Sayings(
    breach=_openai_breach,
    bad_key=nested(401, "Invalid API key", "authentication_error"),
    no_model=lambda model: nested(404, f"Model {model} not found", "not_found_error"),
    gone=_retired,
    too_long=_openai_too_long,
    limited=limits.bare,
    overloaded=overloaded_503,
    no_credit=nested(402, "Insufficient credits", "insufficient_credits"),
)

GENERIC = Sayings(
    breach=_openai_breach,
    bad_key=nested(401, "Unauthorized", "authentication_error"),
    no_model=_openai_no_model,
    gone=_retired,
    too_long=lambda window, asked: Refusal(400, {"error": {
        "code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": asked, "n_ctx": window,
        "message": "the request exceeds the available context size. try increasing the context size or enable "
        "context shift"}}),
    limited=limits.bare,
    overloaded=lambda _: Refusal(503, {"error": {
        "code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    no_credit=nested(402, "Payment required", "billing_error"),
)  # fmt: skip

SAYINGS: Mapping[str, Sayings] = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "openrouter": OPENROUTER,
    "groq": GROQ,
    "cerebras": CEREBRAS,
    "mistral": MISTRAL,
    "cohere": COHERE,
    "zai": ZAI,
    "nvidia": NVIDIA,
    "kimi": KIMI,
    "huggingface": HUGGINGFACE,
    "sambanova": SAMBANOVA,
    "naga": NAGA,
    "generic": GENERIC,
    "local": GENERIC,
}
