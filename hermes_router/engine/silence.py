"""How long a target may be silent before it is taken for hung: before its first token, and between two.

Owns the two limits of one attempt, from what is learned, what the row says and what was asked (contract.md, Silence).
It must never look at a clock: attempts are held to the limits by the sweep.
"""

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.chat import ChatRequest

__all__ = ["before_the_first_token", "between_tokens"]

_UNARY_TOKENS_PER_S = 20.0  # the slowest generation that is not taken for a hang
_UNARY_TOKENS = 2_048  # where the caller gives no cap


def before_the_first_token(limit_s: float, facts: TargetFacts, request: ChatRequest, *, whole: bool) -> float:
    """Seconds; the deadline is looked at apart, since what it cuts is nobody's fault.

    `limit_s` is that of a stream. `whole` = all of the answer comes at once, so that the time of writing it is part of
    the silence.
    """
    if not whole:
        return limit_s
    tokens = request.max_output_tokens or _UNARY_TOKENS
    return limit_s + min(tokens, facts.output_cap or tokens) / _UNARY_TOKENS_PER_S


def between_tokens(stall_s: float, facts: TargetFacts, request: ChatRequest, *, first_token_limit_s: float) -> float:
    """Seconds: more where a whole tool call may be written in them."""
    writes_calls = facts.provider.whole_calls and request.tools > 0
    return max(stall_s, first_token_limit_s) if writes_calls else stall_s
