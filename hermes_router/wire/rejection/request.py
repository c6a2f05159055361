"""Refusals that are about the request or the model: too long, unknown model, refused field, content policy.

Owns the wordings of facts/providers.md section 8 and of refused parameters, for providers of every kind. It must
never know a single provider, nor what will be done about a refusal.
"""

import re
from typing import Final

from hermes_router.core.errors import (
    ContentFiltered,
    ContextTooLong,
    ForeignThought,
    ModelGone,
    RequestRejected,
    Unsupported,
    UpstreamError,
)
from hermes_router.wire.rejection.body import Said

OVERFLOW_NAMES: Final = frozenset({
    "context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded",
    "context_window_exceeded", "prompt_too_long",
})  # fmt: skip
GONE_NAMES: Final = frozenset({
    "model_not_found", "model_decommissioned", "model_not_supported", "model_not_available", "invalid_model",
    "unknown_model", "deployment_not_found", "model_deprecated", "modelnotfound",
})  # fmt: skip
OTHER_ACCOUNT_NAMES: Final = frozenset({"model_terms_required", "usage_not_included", "model_not_allowed"})
FILTER_NAMES: Final = frozenset({
    "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked",
    "data_inspection_failed", "content_filtered", "prohibited_content",
})  # fmt: skip
FIELD_NAMES: Final = frozenset({
    "unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden", "unknown_field",
})  # fmt: skip
KEEP: Final = frozenset({"model", "messages", "input", "contents", "stream", "prompt", "tools"})
"""Fields without which a request means something else: naming one of them is not an offer to drop it."""

_OVERFLOW: Final = re.compile(
    r"maximum context length"
    r"|exceeds? (?:the )?(?:model'?s? )?(?:available |maximum )?context[ _](?:window|length|size|limit)"
    r"|prompt is too long|prompt too long|input token count.{0,60}exceeds the maximum"
    r"|exceeds the maximum allowed input length|reduce the length of (?:the|your) (?:messages|prompt|input)"
    r"|prompt exceeds max(?:imum)? length|exceeded model token limit"
    r"|longer than the model'?s context length|range of input length should be|context window exceeds limit"
    r"|greater than the context length|exceeded max context length|too many tokens: total number of tokens"
)
_QUOTA_WORDS: Final = re.compile(r"rate limit|too many requests|throttl|tokens per (?:min|day|hour)")
_LIMITS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"maximum context length (?:is|of):? ([\d,]+)",
        r"([\d,]+) maximum context length",
        r"> ([\d,]+) (?:maximum|tokens)",
        r"exceed context limit: [\d, +]{1,60}> ([\d,]+)",
        r"maximum number of tokens allowed \(?([\d,]+)",
        r"maximum allowed input length (?:is |of )?\(?([\d,]+)",
        r"model token limit: ([\d,]+)",
        r"context size \(([\d,]+)",
        r"n_ctx(?:_slot)?: ?([\d,]+)",
        r"context length (?:of|is|\() ?([\d,]+)",
        r"cannot exceed ([\d,]+)",
        r"range of input length should be \[\d+, ?([\d,]+)\]",
    )
)
_MODEL_ID: Final = r"[`'\"]?[\w./:@\-]{0,160}[`'\"]?"
_GONE: Final = re.compile(
    rf"\bmodel:? ?{_MODEL_ID},? (?:does not exist|doesn't exist|not found|not exist|(?:is|was) not found"
    r"|has been (?:decommissioned|deprecated|removed|retired|shut down)|is (?:deprecated|retired|decommissioned)"
    r"|is no longer (?:available|supported)|is not (?:available|supported|served|a valid model))"
    r"|no such model|unknown model|invalid model\b|is not a valid model|not found the model|no endpoints found"
    r"|models/[\w.\-]{1,120} is not found|reached its end of life|not supported by any provider"
)
_TIER: Final = re.compile(
    r"(?:not have|no|without|denied) (?:access|permission).{0,60}\bmodel"
    r"|\bmodel.{0,120}(?:access|permission|tier|plan\b)"
    r"|requires? a (?:paid )?subscription|not allowed to access|must be verified to (?:use|access)"
    r"|accept the (?:terms|licen[cs]e)|terms acceptance"
)
_ABLE: Final = (
    ("tools", re.compile(
        r"not support (?:tool|function)|support tool use|tool choice requires|tools? (?:is|are) not supported"
        r"|function calling is not (?:supported|enabled)"
    )),
    ("images", re.compile(
        r"not support (?:image|vision|multimodal)|support image input|not a multimodal model"
        r"|unknown variant `image_url`|image(?: input|_url|s)? (?:is|are) not supported"
    )),
    ("audio", re.compile(r"not support audio|support audio input")),
    ("response_format", re.compile(
        r"not support (?:response[ _]format|json_schema|json mode|structured output)"
        r"|function calling with a response mime type"
    )),
)  # fmt: skip
_FILTERED: Final = re.compile(
    r"content (?:management )?policy|content[_ ]filter|flagged (?:as|for|by|input|in)\b|requires moderation"
    r"|violat\w{1,5} .{0,60}polic|(?:safety|moderation) (?:system|filter|reasons)|unsafe or sensitive content"
    r"|blocked (?:by|due to) .{0,40}(?:safety|policy|filter|moderation)|usage guidelines"
)
_THOUGHT: Final = re.compile(
    r"invalid .{0,3}signature.{0,3} in .{0,3}thinking|expected .{0,3}thinking.{0,3} or .{0,3}redacted_thinking"
    r"|thinking.{0,60}blocks? .{0,80}(?:cannot be modified|must remain)"
    r"|encrypted content .{0,200}(?:could not be|cannot be|failed to be) (?:verified|decrypted|parsed)"
)
THOUGHT_NAMES: Final = frozenset({"invalid_encrypted_content"})
_NAME: Final = r"[`'\"]?([a-z_][\w.\[\]\-]{0,118})[`'\"]?"
_REFUSED: Final = r"(?:not supported|unsupported|not permitted|not allowed|deprecated)"
_FIELD_WORD: Final = r"(?:parameter|argument|field|key|property)"
_FIELDS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        (
            rf"(?:unsupported|unknown|unrecognized|unexpected) (?:request )?{_FIELD_WORD}s?(?:\(s\))?"
            r"(?: supplied)?(?: in object)?(?:: ?\[?[`'\"]?| \[?[`'\"])([a-z_][\w.\[\]\-]{0,118})"
        ),
        rf"unsupported value: {_NAME}",
        rf"property {_NAME} is unsupported",
        rf"unknown name {_NAME}",
        rf"unexpected keyword argument {_NAME}",
        rf"(?<![\w.\[]){_NAME}: extra inputs are not permitted",
        rf"[`'\"]([a-z_][\w.\[\]\-]{{0,118}})[`'\"] (?:is|are) {_REFUSED}",
        rf"{_FIELD_WORD} {_NAME} (?:is|are) {_REFUSED}",
        (
            r"[`'\"]?(max_(?:completion_|output_)?tokens)[`'\"]?"
            r".{0,60}(?:is too large|must be less than|must be at most|exceeds the max)"
        ),
    )
)
_DENIAL: Final = re.compile(
    r"not (?:supported|permitted|allowed|available|recognized)|unsupported|unknown|unrecognized|unexpected|forbidden"
)


def limit_tokens(said: Said) -> int | None:
    """The model's real window in tokens where the refusal names it, None otherwise."""
    candidates = [said.word("n_ctx")]
    candidates += [m.group(1) for pattern in _LIMITS if (m := pattern.search(said.text)) is not None]
    for text in candidates:
        digits = text.replace(",", "")
        if digits.isascii() and digits.isdigit() and 256 <= int(digits[:12]) <= 100_000_000:
            return int(digits)
    return None


def too_long(said: Said) -> ContextTooLong:
    """The request exceeds the model's window; `limit_tokens` is set where it was named."""
    error = ContextTooLong(said.excerpt, status=said.status or None, scope="model")
    error.limit_tokens = limit_tokens(said)
    return error


def overflow(said: Said) -> ContextTooLong | None:
    """ContextTooLong where a code or wording of facts/providers.md section 8 says so, never on quota words."""
    if said.names & OVERFLOW_NAMES:
        return too_long(said)
    if _OVERFLOW.search(said.text) is not None and _QUOTA_WORDS.search(said.text) is None:
        return too_long(said)
    return None


def gone(said: Said) -> ModelGone | None:
    """ModelGone where the model is unknown, retired, or (`account_model`) not for this account."""
    status = said.status or None
    if said.names & OTHER_ACCOUNT_NAMES or _access(said):
        return ModelGone(said.excerpt, status=status, scope="account_model", param=said.param)
    if said.names & GONE_NAMES or _GONE.search(said.text) is not None:
        return ModelGone(said.excerpt, status=status, param=said.param)
    return None


def _access(said: Said) -> bool:
    """Whether the model is there, but not for us; "does not exist or you do not have access" is not that."""
    if said.status != 403 and "must be verified" not in said.text and "data policy" not in said.text:
        return False
    return _TIER.search(said.text) is not None or "data policy" in said.text


def incapable(said: Said) -> RequestRejected | None:
    """The target lacks what the request needs: nobody is to blame and nothing may be dropped, others may do it."""
    for need, pattern in _ABLE:
        if pattern.search(said.text) is not None:
            return RequestRejected(said.excerpt, status=said.status or None, scope="model", param=need)
    return None


def filtered(said: Said) -> ContentFiltered | None:
    """ContentFiltered where a code or wording names the provider's content policy."""
    if said.names & FILTER_NAMES or "flagged_input" in said.fields or _FILTERED.search(said.text) is not None:
        return ContentFiltered(said.excerpt, status=said.status or None, scope="model")
    return None


def _short(path: str, sent: frozenset[str]) -> str:
    """What to drop for a path: the leaf inside messages and tools, else the top-level field that we sent."""
    steps = [step for step in re.split(r"[.\[\]]+", path) if step and not step.isdigit()]
    if not steps:
        return path
    return steps[0] if steps[0] in sent and steps[0] not in KEEP else steps[-1]


def refused_field(said: Said) -> str | None:
    """The name of a request field that the provider does not take, None where it names none that may go.

    Looks at codes with `param`, validation lists (`extra_forbidden`, last of `loc`), wordings, and at last for a
    field of ours that is quoted in a denial.
    """
    forbidden = [c.loc for c in said.complaints if c.kind == "extra_forbidden" and c.loc]
    if forbidden:
        loc = min(forbidden, key=len)
        return _kept_out(_short(".".join(step for step in loc if step != "body"), said.sent))
    if said.names & FIELD_NAMES and said.param:
        return _kept_out(_short(said.param, said.sent))
    for pattern in _FIELDS:
        match = pattern.search(said.text)
        if match is not None:
            return _kept_out(_short(match.group(1).rstrip("."), said.sent))
    if _DENIAL.search(said.text) is not None:
        quoted = set(re.findall(r"[`'\"]([a-z_]\w{0,60})[`'\"]", said.text))
        return next(iter(sorted((quoted & said.sent) - KEEP)), None)
    return None


def _kept_out(name: str) -> str | None:
    return None if name in KEEP else name


def foreign_thought(said: Said) -> ForeignThought | None:
    """ForeignThought where a signature or an encrypted thought in the history is refused (providers.md 12.9)."""
    if said.names & THOUGHT_NAMES or _THOUGHT.search(said.text) is not None:
        return ForeignThought(said.excerpt, status=said.status or None, param="thoughts")
    return None


def unsupported(said: Said) -> Unsupported | None:
    """Unsupported with `param` where a field is named that may be dropped."""
    name = refused_field(said)
    return None if name is None else Unsupported(said.excerpt, status=said.status or None, param=name)


def about_request(said: Said) -> UpstreamError | None:
    """What a 400, 404 or 422 says of model and request, the most certain first; None where it says nothing."""
    rules = (foreign_thought, overflow, incapable, gone, filtered, unsupported)
    return next((found for rule in rules if (found := rule(said)) is not None), None)
