"""What must become of turns, images, files and thoughts on their way to an upstream."""

from typing import Any, Final

from hermes_router.conformance.feature import PROMPT

from .expectation import Refused, Says, Table, like

__all__ = ["TURNS"]

_HI: Final = {"role": "user", "content": "Hi."}
_HELLO: Final = {"role": "assistant", "content": "Hello!"}
_PLEASE: Final = {"role": "user", "content": PROMPT}
_LOOK: Final = "What is this?"
_KEPT_FILE: Final = Refused("files kept by a provider cannot be read here", "input[0].content[1].file_id")
_SOMEONES_FILE: Final = Refused("a file that its provider keeps", "file_id")
_THOUGHTLESS: Final = "the thought: another model's is never shown to one as its own"
_NOTE: Final = "[Note of the system]\nBe brief."


def _history(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [*turns]}


def _input(*items: dict[str, Any]) -> dict[str, Any]:
    return {"input": [*items]}


def _asked(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [*parts]}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _heard(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _no_thought(upstream: str) -> Says:
    fields = _input(_HI, _HELLO, _PLEASE) if upstream == "responses" else _history(_HI, _HELLO, _PLEASE)
    return Says(fields, left=_THOUGHTLESS)


_SKIPPED: Final = "the empty turn, which says nothing and is refused by some"
_SEARCHED: Final = "https://example.com/cats\nCats\nCats purr."

TURNS: Final[Table] = {
    "turns.assistant_first": {
        "messages": Says(
            _history({"role": "user", "content": "."}, _HELLO, _PLEASE),
            note="a turn of the user goes first, since one must",
        ),
    },
    "turns.prefill": {
        "chat-messages": Says(
            _history(_PLEASE, _HELLO, {"role": "user", "content": "Continue."}), ("approx:messages.last",)
        ),
        "responses-messages": Says(
            _history(_PLEASE, _HELLO, {"role": "user", "content": "Continue."}), ("approx:messages.last",)
        ),
        "messages@maker": Says(
            _history(_PLEASE, _HELLO, {"role": "user", "content": "Continue."}), ("approx:messages.last",)
        ),
    },
    "turns.empty": {
        "messages-chat": Says(_history(_HI, _PLEASE), left=_SKIPPED),
        "responses-chat": Says(_history(_HI, _PLEASE), left=_SKIPPED),
        "messages": Says(_history(_HI, _PLEASE), left=_SKIPPED),
        "chat-responses": Says(_input(_HI, _PLEASE), left=_SKIPPED),
        "messages-responses": Says(_input(_HI, _PLEASE), left=_SKIPPED),
    },
    "turns.name": {
        "messages": Says(warns=("dropped:messages.name",)),
        "responses": Says(warns=("dropped:messages.name",)),
    },
    "turns.refusal": {
        "responses-chat": Says(
            _history(_HI, {"role": "assistant", "content": "I must not."}, _PLEASE), note="the same words, as text"
        ),
        "messages": Says(
            _history(_HI, {"role": "assistant", "content": "I must not."}, _PLEASE), note="the same words, as text"
        ),
        "chat-responses": Says(
            _input(_HI, {"role": "assistant", "content": "I must not."}, _PLEASE), note="the same words, as text"
        ),
    },
    "turns.phase": {
        "chat": Says(_history(_HI, _HELLO, _PLEASE), left="the phase, which no other dialect has"),
        "messages": Says(_history(_HI, _HELLO, _PLEASE), left="the phase, which no other dialect has"),
    },
    "system.several": {
        "messages-chat": Says(
            _history({"role": "system", "content": "Be brief.\n\nAnswer in English."}, _PLEASE),
            note="one text, a blank line between",
        ),
        "responses-chat": Says(
            _history({"role": "system", "content": "Be brief.\n\nAnswer in English."}, _PLEASE),
            note="one text, a blank line between",
        ),
        "chat-responses": Says(
            {"instructions": "Be brief.\n\nAnswer in English."}, note="one text, a blank line between"
        ),
        "messages-responses": Says(
            {"instructions": "Be brief.\n\nAnswer in English."}, note="one text, a blank line between"
        ),
        "responses@maker": Says(like("system.several", "responses")),
    },
    "system.developer": {
        "responses-chat": Says(
            _history({"role": "system", "content": "Be brief."}, _PLEASE), note="in the role system"
        ),
        "messages": Says({"system": "Be brief."}, note="as the system text"),
        "chat-responses": Says({"instructions": "Be brief."}, note="as the instructions"),
    },
    "system.later": {
        "messages": Says(_history(_HI, _HELLO, _asked(_text(_NOTE), _text(PROMPT))), ("approx:messages.system",)),
        "messages@maker": Says(like("system.later", "messages")),
    },
    "system.billing": {
        "chat": Says(
            _history({"role": "system", "content": "Be brief."}, _PLEASE),
            left="the line, which is for the dialect's maker and changes with each request",
        ),
        "messages": Says(
            {"system": "Be brief."}, left="the line, which is for the dialect's maker and changes with each request"
        ),
        "responses": Says(
            {"instructions": "Be brief."},
            left="the line, which is for the dialect's maker and changes with each request",
        ),
        "messages@maker": Says(like("system.billing", "messages")),
    },
    "images.detail": {
        "messages": Says(like("images.url", "messages"), left="the detail: the image goes whole"),
    },
    "images.format": {
        "messages": Refused("an image that is none of jpeg, png, gif, webp", "messages"),
    },
    "images.file_id": {
        "messages-chat": _SOMEONES_FILE,
        "messages-responses": _SOMEONES_FILE,
        "responses-chat": _KEPT_FILE,
        "responses-messages": _KEPT_FILE,
    },
    "files.url": {"chat": Refused("a document by its address", "document")},
    "files.text": {
        "chat": Says(_history(_asked(_text(_LOOK), _text("Notes\n\nA cat."))), note="as text, under its title"),
        "responses": Says(_input(_asked(_heard(_LOOK), _heard("Notes\n\nA cat."))), note="as text, under its title"),
    },
    "files.context": {
        "chat": Says(
            _history(_asked(_text("A cat."), _text(_LOOK))), ("dropped:document.context", "dropped:document.citations")
        ),
        "responses": Says(
            _input(_asked(_heard("A cat."), _heard(_LOOK))), ("dropped:document.context", "dropped:document.citations")
        ),
    },
    "files.file_id": {
        "chat-messages": Refused("a file that its provider keeps", "messages[0].content[1].file"),
        "chat-responses": Refused("a file that its provider keeps", "messages[0].content[1].file"),
        "messages-chat": _SOMEONES_FILE,
        "messages-responses": _SOMEONES_FILE,
        "responses-chat": _KEPT_FILE,
        "responses-messages": _KEPT_FILE,
    },
    "files.search_result": {
        "chat": Says(_history(_asked(_text(_SEARCHED), _text(_LOOK))), note="as text: address, title, content"),
        "messages": Says(_history(_asked(_text(_SEARCHED), _text(_LOOK))), ("approx:messages.search_result",)),
        "messages@maker": Says(like("files.search_result", "messages")),
        "responses": Says(_input(_asked(_heard(_SEARCHED), _heard(_LOOK))), note="as text: address, title, content"),
    },
    "audio.in": {
        "messages": Refused("no sound in this dialect", "messages"),
        "chat-responses": Refused("audio cannot be sent in Responses", "input_audio"),
    },
    "audio.out": {
        "messages": Refused("no sound in answers", "modalities"),
        "responses": Refused("modalities cannot be asked for in Responses", "modalities"),
    },
    "video.url": {
        "messages": Refused("no video in this dialect", "messages"),
        "responses": Refused("video cannot be sent in Responses", "video_url"),
    },
    "thoughts.text": {
        "chat-messages": _no_thought("messages"),
        "responses-messages": _no_thought("messages"),
        "responses": _no_thought("responses"),
        "messages@maker": _no_thought("messages"),
    },
    "thoughts.sealed": {
        "chat": _no_thought("chat"),
        "responses-messages": _no_thought("messages"),
        "messages-responses": _no_thought("responses"),
    },
    "thoughts.redacted": {"chat": _no_thought("chat"), "responses": _no_thought("responses")},
    "thoughts.details": {"messages": _no_thought("messages"), "responses": _no_thought("responses")},
}
