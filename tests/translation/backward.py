"""What must become of an answer on its way to its caller: what the caller sees, or that the answer is none.

An expectation is found by the most exact key that the table has: `chat-messages` (caller, upstream), then the caller
alone; where there is none, the caller must see what its own dialect's upstreams say (`ANSWERS`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, DIALECTS, MESSAGES, PLAIN, RESPONSES, Feature, body
from hermes_router.conformance.features import FEATURES

from .answers import ANSWERS, SEALED

__all__ = ["BACK", "BackRow", "Fails", "Sees", "back_rows", "expected_back", "request_of"]


@dataclass(frozen=True)
class Sees:
    """The caller sees this, whole and streamed alike.

    Attributes:
        core: in the caller's dialect, as in `ANSWERS`; None = what its own upstreams say.
        left: what is left out without a word, and why.
        note: what becomes of it, in a few words.
        stream: what it sees of a stream, where that is not the same.
    """

    core: Mapping[str, Any] | None = None
    left: str = ""
    note: str = ""
    stream: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Fails:
    """Nothing is shown: the answer is taken for this error, and another upstream is asked."""

    error: str


@dataclass(frozen=True)
class BackRow:
    """A row of the way back."""

    caller: str
    upstream: str
    feature: Feature

    @property
    def id(self) -> str:
        """The test's name of it."""
        return f"{self.caller}-{self.upstream}-{self.feature.id}"


def back_rows() -> Iterator[BackRow]:
    """All rows: each answer that an upstream has words for, for each caller."""
    for name, told in ANSWERS.items():
        for caller in DIALECTS:
            for upstream in (each for each in DIALECTS if each in told):
                yield BackRow(caller, upstream, FEATURES[name])


def expected_back(row: BackRow) -> Sees | Fails | None:
    """What is expected of a row, None where nobody has said it."""
    table = BACK.get(row.feature.id, {})
    for key in (f"{row.caller}-{row.upstream}", row.caller):
        if key in table:
            return table[key]
    return Sees(ANSWERS[row.feature.id][row.caller]) if row.caller in ANSWERS[row.feature.id] else None


_ASKED_BY: Final[Mapping[str, str]] = {
    "answers.sealed": "thinking.encrypted",
    "answers.redacted": "thinking.encrypted",
    "answers.custom_function": "tools.custom",
    "answers.logprobs": "sampling.logprobs",
}


def request_of(row: BackRow) -> Mapping[str, Any]:
    """The request that the answer is one to."""
    feature = FEATURES[_ASKED_BY.get(row.feature.id, row.feature.id)]
    return body(feature, row.caller) if row.caller in feature.asks else PLAIN[row.caller]


def _chat(content: str | None = "Hello!", finish: str = "stop", **message: Any) -> Mapping[str, Any]:
    said = {"role": "assistant", **({"content": content} if content else {}), **message}
    return {"message": said, "finish_reason": finish}


def _messages(*content: dict[str, Any], stop: str = "end_turn") -> Mapping[str, Any]:
    return {"content": [*content], "stop_reason": stop}


def _responses(*output: dict[str, Any], reason: str | None = None) -> Mapping[str, Any]:
    if reason is None:
        return {"output": [*output], "status": "completed"}
    return {"output": [*output], "status": "incomplete", "incomplete_details": {"reason": reason}}


def _text(text: str = "Hello!") -> dict[str, Any]:
    return {"type": "text", "text": text}


def _message(*texts: str) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "role": "assistant", "content": parts}


_HI: Final = {CHAT: _chat(), MESSAGES: _messages(_text()), RESPONSES: _responses(_message("Hello!"))}
_SEEN: Final = "under a seal of ours, which holds its maker's to the byte"
_NO_SLOT: Final = "what its maker sealed, for which Chat has no place"
_CUT: Final = "the call: half of one must not be run"
_CITED: Final = "the citations: what is told in Chat or Messages has none but its own"
_RAN: Final = "the search itself: a call that the caller did not ask for, and cannot answer"
_WORD: Final = "which word it was, for which the dialect has no place"
_UNASKED: Final = "the probabilities, which this caller's dialect has no request for at such an upstream"
_PAUSED: Final = "that the provider paused, for which the dialect has no word"
_CALL: Final = {"id": "call_1", "type": "custom", "custom": {"name": "note", "input": "Oslo"}}
_R_CALL: Final = {"type": "custom_tool_call", "call_id": "call_1", "name": "note", "input": "Oslo"}
_M_CALL: Final = {"type": "tool_use", "id": "call_1", "name": "note", "input": {"input": "Oslo"}}
_NO: Final = "I must not."


def _left(why: str, *pairs: str) -> dict[str, Sees | Fails]:
    """The plain answer for these pairs."""
    return {pair: Sees(_HI[pair.partition("-")[0]], left=why) for pair in pairs}


def _estimated(key: str, *counts: int) -> Mapping[str, Any]:
    names = {
        CHAT: ("prompt_tokens", "completion_tokens", "total_tokens"),
        MESSAGES: ("input_tokens", "output_tokens"),
        RESPONSES: ("input_tokens", "output_tokens", "total_tokens"),
    }[key]
    return {**_HI[key], "usage": dict(zip(names, counts, strict=False))}


BACK: Final[Mapping[str, Mapping[str, Sees | Fails]]] = {
    "answers.texts": {
        "chat-messages": Sees(_chat("Hello!Goodbye."), note="one text"),
        "chat-responses": Sees(_chat("Hello!\n\nGoodbye."), note="one text, a blank line between"),
        "messages-responses": Sees(
            _messages(_text(), _text("\n\nGoodbye.")), note="two blocks, a blank line before the second"
        ),
        "responses-messages": Sees(_responses(_message("Hello!", "Goodbye.")), note="one message of two parts"),
    },
    "answers.sealed": {
        "chat": Sees(_chat(reasoning_content="A greeting."), left=_NO_SLOT),
        "messages-responses": Sees(
            _messages({"type": "thinking", "thinking": "A greeting.", "signature": SEALED}, _text()), note=_SEEN
        ),
        "responses-messages": Sees(
            _responses(
                {
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "A greeting."}],
                    "encrypted_content": SEALED,
                },
                _message("Hello!"),
            ),
            note=_SEEN,
        ),
    },
    "answers.redacted": {
        "chat": Sees(_HI[CHAT], left=_NO_SLOT),
        "responses": Sees(
            _responses({"type": "reasoning", "summary": [], "encrypted_content": SEALED}, _message("Hello!")), note=_SEEN
        ),
    },
    "answers.thought_only": dict.fromkeys(DIALECTS, Fails("EmptyReply")),
    "answers.custom": {"messages": Sees(_messages(_M_CALL, stop="tool_use"), note="an object of one string")},
    "answers.custom_function": {
        "chat": Sees(_chat(None, "tool_calls", tool_calls=[_CALL]), note="as a call of free text"),
        "chat-chat": Sees(
            _chat(
                None,
                "tool_calls",
                tool_calls=[
                    {"id": "call_1", "type": "function", "function": {"name": "note", "arguments": '{"input":"Oslo"}'}}
                ],
            ),
            note="whole: as it came; streamed: as a call of free text",
            stream=_chat(None, "tool_calls", tool_calls=[_CALL]),
        ),
        "responses": Sees(_responses(_R_CALL), note="as a call of free text"),
    },
    "answers.cut_call": {
        "chat": Sees(_chat("Let me see.", "length"), left=_CUT),
        "messages": Sees(_messages(_text("Let me see."), stop="max_tokens"), left=_CUT),
        "responses": Sees(_responses(_message("Let me see."), reason="max_output_tokens"), left=_CUT),
    },
    "answers.stop_word": _left(_WORD, "chat", "responses"),
    "answers.refusal": {
        "chat-chat": Sees(
            _chat(None, refusal=_NO), note="streamed: the same words, as content", stream=_chat(_NO)
        ),
        "chat-messages": Sees(_chat(_NO, "content_filter"), note="the words as content, `content_filter`"),
        "chat-responses": Sees(_chat(_NO, "content_filter"), note="the words as content, `content_filter`"),
        "messages-chat": Sees(
            _messages(_text(_NO)), left="that it is a refusal: Chat ends one like any other answer"
        ),
        "responses-messages": Sees(
            _responses(_message(_NO), reason="content_filter"), note="the words as text, `content_filter`"
        ),
    },
    "answers.filter": {"messages": Sees(_messages(_text(), stop="refusal"), note="`refusal`")},
    "answers.pause": _left(_PAUSED, "chat", "responses"),
    "answers.window": {
        "chat": Sees(_chat(finish="length"), note="`length`"),
        "responses": Sees(_responses(_message("Hello!"), reason="max_output_tokens"), note="`max_output_tokens`"),
    },
    "answers.cited": {
        **_left(
            _CITED, "chat-messages", "chat-responses", "messages-chat", "messages-responses",
        ),
        "chat-chat": Sees(left="of a stream the citations; they stay in a whole answer", stream=_chat()),
    },
    "answers.hosted": _left(_RAN, "chat", "messages-responses", "responses-messages"),
    "answers.logprobs": _left(_UNASKED, "messages", "chat-responses", "responses-chat"),
    "usage.unsaid": {
        "chat": Sees(_estimated(CHAT, 9, 1, 10), note="an estimate"),
        "messages": Sees(_estimated(MESSAGES, 9, 1), note="an estimate"),
        "responses": Sees(_estimated(RESPONSES, 9, 1, 10), note="an estimate"),
    },
}  # fmt: skip
