"""The values that the sandbox's parts hand to each other.

Owns plain data only: what a fake model is, what it was asked, what it answers, and what a refusal is. It
knows no provider, no HTTP server and, like the whole package, nothing of hermes_router.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

WindowName = Literal["rpm", "rpd", "tpm", "tph", "tpd", "month", "concurrency"]
FrameKind = Literal["comment", "role", "reasoning", "text", "call", "mark", "finish", "usage", "done", "error"]
"""`mark` frames say where blocks and items begin and end, in the dialects that do."""
SpeechName = Literal["chat", "messages", "responses"]
Prefill = Literal["anew", "continues", "echoes", "refuses"]
"""What a last turn of the assistant's is to a provider: nothing; what it goes on from, said again or not; a mistake."""
Obedience = Literal["exact", "chatty", "more", "anew", "summary"]
"""How an order to go on is followed: to the letter, behind a preamble, from further back; or not: anew, in short."""
Thinking = Literal["enabled", "adaptive", "between_tools", "disabled"]


@dataclass(frozen=True, slots=True)
class FakeModel:
    """One model and the rules that go with the model rather than with its provider.

    Attributes:
        id: the id as callers write it.
        context: window in tokens, counted as characters / 4.
        max_output: largest answer in tokens.
        thinks: tokens of reasoning that come before any text and count against the caller's cap.
        hidden: the reasoning is billed and never shown (OpenAI's Chat endpoint).
        reasoner: OpenAI's parameter rules for reasoning models hold.
        signs: its tool calls carry thought signatures that must come back (Gemini 3 and later).
        replays: assistant tool calls must come back with their `reasoning_content` (Kimi, DeepSeek V3.2+).
        single_calls: a history with parallel calls is refused (several models on NVIDIA).
        no_zero_temperature: `temperature: 0` is refused (older GLM).
        sees: takes images.
        efforts: accepted values of `reasoning_effort`; empty takes any.
        thinking: the forms of Messages' `thinking` that it takes; without `disabled` it always thinks.
        current: Anthropic's rules for its newer models hold: no sampling parameters, no last turn of the
            assistant's, system turns between the others.
        gone: it is listed, and answers as a retired model does.
    """

    id: str
    context: int = 131_072
    max_output: int = 32_768
    thinks: int = 0
    hidden: bool = False
    reasoner: bool = False
    signs: bool = False
    replays: bool = False
    single_calls: bool = False
    no_zero_temperature: bool = False
    sees: bool = False
    efforts: tuple[str, ...] = ()
    thinking: tuple[Thinking, ...] = ("enabled", "adaptive", "between_tools", "disabled")
    current: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole HTTP answer other than the model's. `body` is sent as it is if bytes, else as JSON."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule, before its provider puts it into words: what is wrong and where.

    `loc` is set where a schema validator speaks (unknown keys, wrong types); providers with such a
    validator answer in its shape.
    """

    message: str
    param: str | None = None
    code: str | None = None
    loc: tuple[str | int, ...] | None = None
    kind: str = "extra_forbidden"
    status: int = 400


@dataclass(frozen=True, slots=True)
class Hit:
    """A quota that is used up. `wait_s` is until this request would pass, infinite if it never can."""

    window: WindowName
    limit: int
    used: int
    requested: int
    wait_s: float
    now: float
    model: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One request after authentication.

    Attributes:
        body: what was said; the model hears it in Chat's words, whatever the dialect, once the rules have passed.
        issued: the thought signatures given out (Gemini's), with their function names.
        opens: whether a thought or an encrypted item is one that this provider sealed for the model; what it holds,
            else None. Also knows nothing where a dialect has no such thing.
        owns: what the provider keeps of a finished answer, by id (Responses): its items, or None.
        thinking: whether to think; None is as the model does by itself.
        open: the dialect has a place for thoughts, so hidden ones are handed on.
    """

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    model: FakeModel
    prompt_tokens: int
    issued: Mapping[str, str]
    opens: Callable[[str], str | None] = lambda _sealed: None
    owns: Callable[[str], Any] = lambda _id: None
    thinking: bool | None = None
    open: bool = False

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages; the well-formedness rule has run before anybody reads this."""
        found = self.body.get("messages")
        return found if isinstance(found, list) else []

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools, empty if there are none."""
        found = self.body.get("tools")
        return found if isinstance(found, list) else []

    @property
    def cap(self) -> int | None:
        """The caller's output cap in tokens."""
        for name in ("max_completion_tokens", "max_tokens"):
            if isinstance(value := self.body.get(name), int):
                return value
        return None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of the fake model; `arguments` is JSON text, of a `custom` tool any text."""

    id: str
    name: str
    arguments: str
    signature: str | None = None
    custom: bool = False
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the fake model answers.

    `finish` is Chat's word, or `refusal`. `secret`: the reasoning is redacted. `stopped_by`: the stop string hit.
    """

    text: str
    reasoning: str = ""
    calls: Sequence[Call] = ()
    finish: str | None = "stop"
    hidden_tokens: int = 0
    secret: bool = False
    stopped_by: str | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One SSE frame: a chunk as `data`, named by `event` where its dialect does, or bytes that go out as they are."""

    kind: FrameKind
    data: Mapping[str, Any] | None = None
    raw: bytes = b""
    event: str = ""


CONTENT_KINDS: frozenset[FrameKind] = frozenset({"reasoning", "text", "call"})
"""Frames that a fault counts as chunks: a role chunk or a comment is not yet an answer."""
