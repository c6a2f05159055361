"""The dialects that a fake provider may speak: how each is heard, what it refuses, and how it is written.

Owns the table only. Chat's rules are its provider's own (`strictness`); the others' hold wherever they are spoken.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hermes_router.sandbox import (
    frames,
    messages_frames,
    messages_hear,
    messages_rules,
    responses_compact,
    responses_frames,
    responses_hear,
    responses_rules,
)
from hermes_router.sandbox.frames import Hand, Written
from hermes_router.sandbox.refusals import ANTHROPIC, Sayings
from hermes_router.sandbox.rules import Rule
from hermes_router.sandbox.styles import Style
from hermes_router.sandbox.values import Asked, Frame, SpeechName

Segments = Iterable[tuple[Any, int, bool]]
Owns = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Speech:
    """One dialect.

    Attributes:
        path: what is asked, behind the provider's own path; `count_path` asks for a count of tokens only.
        keeps: what the provider keeps of an answer for one that goes on from it, if anything.
        counted: a count as it is told.
        compact_path: what is asked to put a conversation into an item, if anything; `compacting` refuses of it what
            `rules` do not.
        rules, counting: what is refused, of an answer and of a count.
        hear: the request in Chat's words, once no rule is broken.
        segments: the prompt in parts, for the provider's cache.
        prefix: what ids of answers begin with, instead of the provider's own prefix.
    """

    name: SpeechName
    path: str
    rules: Callable[[Style], tuple[Rule, ...]]
    sayings: Callable[[Style], Sayings]
    stream: Callable[[Hand, Written], list[Frame]]
    whole: Callable[[Hand, Written], dict[str, Any]]
    hear: Callable[[Asked], Asked] = lambda asked: asked
    segments: Callable[[Asked], Segments] = lambda _asked: ()
    keeps: Callable[[Hand, Written, Owns], list[Any] | None] = lambda _hand, _written, _owns: None
    prefix: str = ""
    count_path: str = ""
    compact_path: str = ""
    compacting: tuple[Rule, ...] = ()
    counting: tuple[Rule, ...] = ()
    counted: Callable[[int], dict[str, Any]] = lambda _tokens: {}


def _chat_stream(hand: Hand, written: Written) -> list[Frame]:
    wanted = bool((written.said.get("stream_options") or {}).get("include_usage"))
    return frames.stream(hand, written, include_usage=wanted)


def _kept(hand: Hand, written: Written, owns: Owns) -> list[Any] | None:
    if written.said.get("store") is False:
        return None
    return [*responses_hear.conversation(written.said, owns), *responses_frames.items(hand, written)]


_ROWS = (
    Speech(
        "chat", "/chat/completions", rules=lambda style: style.rules, sayings=lambda style: style.sayings,
        stream=_chat_stream, whole=frames.completion,
    ),
    Speech(
        "messages", "/messages", rules=lambda _style: messages_rules.RULES, sayings=lambda _style: ANTHROPIC,
        stream=messages_frames.stream, whole=messages_frames.whole, hear=messages_hear.hear,
        segments=messages_hear.segments, prefix="msg_", count_path="/messages/count_tokens",
        counting=messages_rules.COUNTING, counted=lambda tokens: {"input_tokens": tokens},
    ),
    Speech(
        "responses", "/responses", rules=lambda _style: responses_rules.RULES, sayings=lambda style: style.sayings,
        stream=responses_frames.stream, whole=responses_frames.whole, hear=responses_hear.hear,
        segments=responses_hear.segments, keeps=_kept, prefix="resp_", count_path="/responses/input_tokens",
        counting=responses_rules.RULES, compact_path="/responses/compact", compacting=responses_compact.COMPACTING,
        counted=lambda tokens: {"object": "response.input_tokens", "input_tokens": tokens},
    ),
)  # fmt: skip

SPEECHES: Mapping[SpeechName, Speech] = {speech.name: speech for speech in _ROWS}
