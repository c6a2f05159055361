"""What a request demands of a target: size, capabilities, difficulty, and the conversation it belongs to.

Owns the pure step from a request's outline to a `Demand`, and the `Constraint` that router key, profile and earlier
attempts put on it. It must never know a provider, a target or the time: the same request always demands the same.
"""

import re
from typing import Literal, NamedTuple

from hermes_router.core.catalog import Capability
from hermes_router.core.chat import ChatRequest
from hermes_router.core.ids import Target
from hermes_router.routing.names import Pin

Profile = Literal["main", "fast", "local"]

LIGHT_TOKENS = 2_000
LIGHT_DIFFICULTY = 2
IMAGE_TOKENS = 1_200  # between Gemini's 258 a tile and Anthropic's 1,600: calibration does the rest
HARD_EFFORT = {"high": 4, "xhigh": 5, "max": 5}
EASY_EFFORT = frozenset({"none", "minimal", "low"})

_CODE_SIGNS = "{};=<>"
_A_SIGN = re.compile(f"[{_CODE_SIGNS}]").search  # most questions hold none, and a look for each costs
_ITEMS = ("\n- ", "\n* ", "\n1", "\n2", "\n3")
_NEED_BITS = tuple(Capability)
_needs_seen: dict[int, frozenset[Capability]] = {}


class Demand(NamedTuple):
    """What one request needs. Pure function of the request; holds no provider's name.

    `input_tokens` is the uncalibrated estimate; `max_output` the caller's cap in tokens, 0 = not said.
    `affinity_key` names the conversation, None where nothing identifies it; `binds` = the history holds an
    assistant turn, so affinity counts. `light` = small and easy enough for `hermes-router:fast` to prefer local.
    `image_urls` counts images that are links.
    """

    operation: str
    needs: frozenset[Capability]
    input_tokens: int
    max_output: int
    difficulty: int
    profile: Profile = "main"
    tools: bool = False
    inline_images: bool = False
    effort: str | None = None
    affinity_key: str | None = None
    binds: bool = False
    light: bool = False
    image_urls: int = 0


class Constraint(NamedTuple):
    """What router key, profile and the attempts so far allow.

    `tried` are out for this exchange; `last` failed once and come after all others; `prefer` is a provider and
    those of its models to avoid: its other models come first. `min_input` admits only targets that take more than
    that many tokens. `exclude_providers` is set by `failover.after` alone. `providers` None = all. `again` is a
    target that is asked once more at once, since the last failure was about a field that is now dropped.
    `money_left` is what the caller's own budget still allows, in micro-US-dollars; None = it has none. `fetches` =
    images by their address may be put into the request for a target that does not fetch them itself.
    """

    pin: Pin | None = None
    providers: frozenset[str] | None = None
    local_only: bool = False
    tried: frozenset[Target] = frozenset()
    last: frozenset[Target] = frozenset()
    prefer: tuple[str, frozenset[str]] | None = None
    min_input: int = 0
    exclude_providers: frozenset[str] = frozenset()
    min_tier: int = 1
    no_training: bool = False
    again: Target | None = None
    money_left: int | None = None
    fetches: bool = False


def affinity_key(request: ChatRequest, caller: str) -> str | None:
    """The conversation's name: an explicit id, else system text and first user turn, each within its router key."""
    if request.session:
        return f"{caller}\x1fs{request.session[:200]}"
    return f"{caller}\x1fc{request.conversation}" if request.conversation else None


def estimate_tokens(request: ChatRequest) -> int:
    """Estimated input tokens, tools and images counted.

    3.6 bytes of JSON a token lies between English prose (4.2) and code or CJK (3.0); the calibration per model
    (`learned.py`) takes over from there.
    """
    return request.text_bytes * 5 // 18 + request.images * IMAGE_TOKENS + 3


def difficulty(request: ChatRequest) -> int:
    """Score the last user turn from 1 (trivial) to 5 (hard), without looking at words of any language.

    Length (wide scripts weigh more, since they say more per character), code, structure, tools, depth and the
    requested effort count; the system prompt and the history's size do not, since agents always carry both.
    """
    text = request.last_user
    chars = request.last_user_chars or len(text)
    if not text.isascii():
        # UTF-8 length over character count: 1 for Latin, 3 for CJK, where a character is about half a word.
        chars = int(chars * (1.0 + 0.7 * (len(text.encode("utf-8", "replace")) / len(text) - 1.0)))
    score = 1 + (chars >= 200) + (chars >= 900) + (chars >= 3_000)
    score += _has_code(text) + (_asks(text) >= 4)
    score += request.tools > 0
    score += request.tool_results >= 1 and request.assistant_turns >= 6
    score += request.json_format == "json_schema"
    if request.effort in EASY_EFFORT:
        score -= 1
    floor = HARD_EFFORT.get(request.effort or "", 1)
    return max(floor, min(5, score))


def assess(
    request: ChatRequest,
    *,
    caller: str,
    profile: Profile = "main",
    floor_difficulty: int = 1,
    operation: str = "chat",
) -> Demand:
    """Score a request. `floor_difficulty` comes from `RoutingState.difficulty_floor(affinity_key(...))`."""
    binds = request.assistant_turns > 0
    hard = difficulty(request)
    if binds and floor_difficulty > hard:
        hard = min(5, floor_difficulty)
    tokens = estimate_tokens(request)
    return Demand(  # by position: it is made for every request, and names cost
        operation,
        _needs(request),
        tokens,
        request.max_output_tokens or 0,
        hard,
        profile,
        request.tools > 0,
        request.images > request.image_urls,
        request.effort,
        affinity_key(request, caller),
        binds,
        tokens <= LIGHT_TOKENS and hard <= LIGHT_DIFFICULTY,
        request.image_urls,
    )


def _needs(request: ChatRequest) -> frozenset[Capability]:
    """The needed capabilities, as one of few shared sets: plans are cached by them, and a shared set hashes once."""
    bits = (  # places as in Capability; reasoning, the third, is a wish and never a need
        (request.tools > 0)
        | (request.images > 0) << 1
        | (request.json_format == "json_object") << 3
        | (request.json_format == "json_schema") << 4
        | request.logprobs << 5
        | (request.choices > 1) << 6
        | request.audio << 7
        | request.files << 8
        | request.compaction << 11
    )
    known = _needs_seen.get(bits)
    if known is None:
        known = frozenset(cap for place, cap in enumerate(_NEED_BITS) if bits >> place & 1)
        _needs_seen[bits] = known
    return known


def _has_code(text: str) -> bool:
    """Whether the text holds code: a fence, or more of code's signs than prose ever has."""
    if "```" in text:
        return True
    if _A_SIGN(text) is None:
        return False
    signs = sum(map(text.count, _CODE_SIGNS))
    return signs >= 6 and signs * 40 >= len(text)


def _asks(text: str) -> int:
    """How many separate things are asked: question marks of several scripts, and lines of a list."""
    asks = text.count("?")
    if not text.isascii():
        asks += text.count("\uff1f") + text.count("\u061f")
    if "\n" in text:
        asks += sum(map(text.count, _ITEMS))
    return asks
