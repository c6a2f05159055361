"""Features of what is said: system text, turns, thoughts of earlier turns, images, files and sound.

Owns their requests, as each dialect spells them (facts: providers.md 12.2, 12.3, 12.9). It must never know who answers.
"""

from collections.abc import Mapping
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, MESSAGES, PROMPT, RESPONSES, Feature

__all__ = ["MEDIA", "PDF", "PNG", "SIGNATURE", "THOUGHTS", "TURNS"]

PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""One pixel."""
PDF: Final = "JVBERi0xLjQKJSVFT0YK"
WAV: Final = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
SIGNATURE: Final = "RW9jQ2tCRGhJ"
_IMAGE_URL: Final = "https://example.com/cat.png"
_PDF_URL: Final = "https://example.com/paper.pdf"
_LOOK: Final = "What is this?"
_DATA: Final = f"data:image/png;base64,{PNG}"
_PDF_DATA: Final = f"data:application/pdf;base64,{PDF}"


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _said(content: Any, **keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **keys}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _heard(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _answered(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def _both(*messages: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The same messages for Chat and for Messages."""
    return {CHAT: {"messages": [*messages]}, MESSAGES: {"messages": [*messages]}}


_HI: Final = _user("Hi.")
_HELLO: Final = _said("Hello!")
_PLEASE: Final = _user(PROMPT)
_R_HELLO: Final = _said([_answered("Hello!")])
_BRIEF: Final = "Be brief."
_ENGLISH: Final = "Answer in English."
_BILLING: Final = "x-anthropic-billing-header: cc_version=1; cch=00000;"

TURNS: Final = (
    Feature("turns.user", "Turns", "one turn of the user", {CHAT: {}, MESSAGES: {}, RESPONSES: {}}),
    Feature(
        "turns.parts",
        "Turns",
        "a turn in several text parts",
        {
            **_both(_user([_text("Say"), _text("hello.")])),
            RESPONSES: {"input": [_user([_heard("Say"), _heard("hello.")])]},
        },
    ),
    Feature(
        "turns.history",
        "Turns",
        "earlier turns of user and assistant",
        {**_both(_HI, _HELLO, _PLEASE), RESPONSES: {"input": [_HI, _R_HELLO, _PLEASE]}},
    ),
    Feature(
        "turns.same_role",
        "Turns",
        "two turns of the user in a row",
        {**_both(_HI, _PLEASE), RESPONSES: {"input": [_HI, _PLEASE]}},
    ),
    Feature(
        "turns.assistant_first",
        "Turns",
        "a conversation that the assistant begins",
        {**_both(_HELLO, _PLEASE), RESPONSES: {"input": [_R_HELLO, _PLEASE]}},
    ),
    Feature(
        "turns.prefill",
        "Turns",
        "the beginning of the answer, as the last turn",
        {**_both(_PLEASE, _HELLO), RESPONSES: {"input": [_PLEASE, _R_HELLO]}},
    ),
    Feature(
        "turns.empty",
        "Turns",
        "an empty turn of the assistant",
        {**_both(_HI, _said(""), _PLEASE), RESPONSES: {"input": [_HI, _said(""), _PLEASE]}},
    ),
    Feature(
        "turns.name",
        "Turns",
        "the name of who speaks",
        {CHAT: {"messages": [{**_PLEASE, "name": "ada"}]}},
    ),
    Feature(
        "turns.refusal",
        "Turns",
        "an earlier refusal of the assistant",
        {
            CHAT: {"messages": [_HI, _said(None, refusal="I must not."), _PLEASE]},
            RESPONSES: {"input": [_HI, _said([{"type": "refusal", "refusal": "I must not."}]), _PLEASE]},
        },
    ),
    Feature(
        "turns.phase",
        "Turns",
        "whether an earlier answer was commentary or final",
        {RESPONSES: {"input": [_HI, {**_R_HELLO, "phase": "final_answer"}, _PLEASE]}},
    ),
    Feature(
        "system.text",
        "Turns",
        "system text",
        {
            CHAT: {"messages": [{"role": "system", "content": _BRIEF}, _PLEASE]},
            MESSAGES: {"system": _BRIEF},
            RESPONSES: {"instructions": _BRIEF},
        },
    ),
    Feature(
        "system.several",
        "Turns",
        "several system texts",
        {
            CHAT: {
                "messages": [{"role": "system", "content": _BRIEF}, {"role": "system", "content": _ENGLISH}, _PLEASE]
            },
            MESSAGES: {"system": [_text(_BRIEF), _text(_ENGLISH)]},
            RESPONSES: {
                "instructions": _BRIEF,
                "input": [{"role": "developer", "content": _ENGLISH}, _PLEASE],
            },
        },
    ),
    Feature(
        "system.developer",
        "Turns",
        "system text in the role `developer`",
        {
            CHAT: {"messages": [{"role": "developer", "content": _BRIEF}, _PLEASE]},
            RESPONSES: {"input": [{"role": "developer", "content": _BRIEF}, _PLEASE]},
        },
    ),
    Feature(
        "system.later",
        "Turns",
        "system text in the middle of the conversation",
        {
            **_both(_HI, _HELLO, {"role": "system", "content": _BRIEF}, _PLEASE),
            RESPONSES: {"input": [_HI, _R_HELLO, {"role": "system", "content": _BRIEF}, _PLEASE]},
        },
    ),
    Feature(
        "system.billing",
        "Turns",
        "a client's billing line before the system text",
        {MESSAGES: {"system": [_text(_BILLING), _text(_BRIEF)]}},
    ),
)

THOUGHTS: Final = (
    Feature(
        "thoughts.text",
        "Thoughts of earlier turns",
        "a thought that anybody may read",
        {
            CHAT: {"messages": [_HI, _said("Hello!", reasoning_content="A greeting."), _PLEASE]},
            MESSAGES: {
                "messages": [
                    _HI,
                    _said([{"type": "thinking", "thinking": "A greeting.", "signature": ""}, _text("Hello!")]),
                    _PLEASE,
                ]
            },
            RESPONSES: {
                "input": [
                    _HI,
                    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "A greeting."}]},
                    _R_HELLO,
                    _PLEASE,
                ]
            },
        },
    ),
    Feature(
        "thoughts.sealed",
        "Thoughts of earlier turns",
        "a thought that its maker has signed or encrypted",
        {
            MESSAGES: {
                "messages": [
                    _HI,
                    _said([{"type": "thinking", "thinking": "A greeting.", "signature": SIGNATURE}, _text("Hello!")]),
                    _PLEASE,
                ]
            },
            RESPONSES: {
                "input": [
                    _HI,
                    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SIGNATURE},
                    _R_HELLO,
                    _PLEASE,
                ]
            },
        },
    ),
    Feature(
        "thoughts.redacted",
        "Thoughts of earlier turns",
        "a thought that only its maker can read",
        {
            MESSAGES: {
                "messages": [
                    _HI,
                    _said([{"type": "redacted_thinking", "data": SIGNATURE}, _text("Hello!")]),
                    _PLEASE,
                ]
            },
        },
    ),
    Feature(
        "thoughts.details",
        "Thoughts of earlier turns",
        "a thought as `reasoning_details`",
        {
            CHAT: {
                "messages": [
                    _HI,
                    _said("Hello!", reasoning_details=[{"type": "reasoning.text", "text": "A greeting."}]),
                    _PLEASE,
                ]
            },
        },
    ),
)

MEDIA: Final = (
    Feature(
        "images.inline",
        "Images, files, sound",
        "an image in the request",
        {
            CHAT: {"messages": [_user([_text(_LOOK), {"type": "image_url", "image_url": {"url": _DATA}}])]},
            MESSAGES: {
                "messages": [
                    _user(
                        [
                            _text(_LOOK),
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        ]
                    )
                ]
            },
            RESPONSES: {"input": [_user([_heard(_LOOK), {"type": "input_image", "image_url": _DATA}])]},
        },
    ),
    Feature(
        "images.url",
        "Images, files, sound",
        "an image by its address",
        {
            CHAT: {"messages": [_user([_text(_LOOK), {"type": "image_url", "image_url": {"url": _IMAGE_URL}}])]},
            MESSAGES: {
                "messages": [_user([_text(_LOOK), {"type": "image", "source": {"type": "url", "url": _IMAGE_URL}}])]
            },
            RESPONSES: {"input": [_user([_heard(_LOOK), {"type": "input_image", "image_url": _IMAGE_URL}])]},
        },
    ),
    Feature(
        "images.detail",
        "Images, files, sound",
        "how closely an image is looked at",
        {
            CHAT: {
                "messages": [
                    _user([_text(_LOOK), {"type": "image_url", "image_url": {"url": _IMAGE_URL, "detail": "low"}}])
                ]
            },
            RESPONSES: {
                "input": [_user([_heard(_LOOK), {"type": "input_image", "image_url": _IMAGE_URL, "detail": "low"}])]
            },
        },
    ),
    Feature(
        "images.format",
        "Images, files, sound",
        "an image in a format that not everybody reads (BMP)",
        {
            CHAT: {
                "messages": [
                    _user([_text(_LOOK), {"type": "image_url", "image_url": {"url": "data:image/bmp;base64,Qk0="}}])
                ]
            },
            RESPONSES: {
                "input": [_user([_heard(_LOOK), {"type": "input_image", "image_url": "data:image/bmp;base64,Qk0="}])]
            },
        },
    ),
    Feature(
        "images.file_id",
        "Images, files, sound",
        "an image that its provider keeps",
        {
            MESSAGES: {
                "messages": [_user([_text(_LOOK), {"type": "image", "source": {"type": "file", "file_id": "file_1"}}])]
            },
            RESPONSES: {"input": [_user([_heard(_LOOK), {"type": "input_image", "file_id": "file_1"}])]},
        },
    ),
    Feature(
        "files.pdf",
        "Images, files, sound",
        "a PDF in the request",
        {
            CHAT: {
                "messages": [
                    _user(
                        [
                            _text(_LOOK),
                            {"type": "file", "file": {"file_data": _PDF_DATA, "filename": "a.pdf"}},
                        ]
                    )
                ]
            },
            MESSAGES: {
                "messages": [
                    _user(
                        [
                            _text(_LOOK),
                            {
                                "type": "document",
                                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                                "title": "a.pdf",
                            },
                        ]
                    )
                ]
            },
            RESPONSES: {
                "input": [
                    _user(
                        [
                            _heard(_LOOK),
                            {"type": "input_file", "file_data": _PDF_DATA, "filename": "a.pdf"},
                        ]
                    )
                ]
            },
        },
    ),
    Feature(
        "files.url",
        "Images, files, sound",
        "a PDF by its address",
        {
            MESSAGES: {
                "messages": [_user([_text(_LOOK), {"type": "document", "source": {"type": "url", "url": _PDF_URL}}])]
            },
            RESPONSES: {"input": [_user([_heard(_LOOK), {"type": "input_file", "file_url": _PDF_URL}])]},
        },
    ),
    Feature(
        "files.text",
        "Images, files, sound",
        "a document of plain text, with a title",
        {
            MESSAGES: {
                "messages": [
                    _user(
                        [
                            _text(_LOOK),
                            {
                                "type": "document",
                                "source": {"type": "text", "media_type": "text/plain", "data": "A cat."},
                                "title": "Notes",
                            },
                        ]
                    )
                ]
            },
        },
    ),
    Feature(
        "files.context",
        "Images, files, sound",
        "a document with context and citations switched on",
        {
            MESSAGES: {
                "messages": [
                    _user(
                        [
                            {
                                "type": "document",
                                "source": {"type": "text", "media_type": "text/plain", "data": "A cat."},
                                "context": "From a book.",
                                "citations": {"enabled": True},
                            },
                            _text(_LOOK),
                        ]
                    )
                ]
            },
        },
    ),
    Feature(
        "files.file_id",
        "Images, files, sound",
        "a file that its provider keeps",
        {
            CHAT: {"messages": [_user([_text(_LOOK), {"type": "file", "file": {"file_id": "file_1"}}])]},
            MESSAGES: {
                "messages": [
                    _user([_text(_LOOK), {"type": "document", "source": {"type": "file", "file_id": "file_1"}}])
                ]
            },
            RESPONSES: {"input": [_user([_heard(_LOOK), {"type": "input_file", "file_id": "file_1"}])]},
        },
    ),
    Feature(
        "files.search_result",
        "Images, files, sound",
        "a search result",
        {
            MESSAGES: {
                "messages": [
                    _user(
                        [
                            {
                                "type": "search_result",
                                "source": "https://example.com/cats",
                                "title": "Cats",
                                "content": [_text("Cats purr.")],
                            },
                            _text(_LOOK),
                        ]
                    )
                ]
            },
        },
    ),
    Feature(
        "audio.in",
        "Images, files, sound",
        "sound in the request",
        {
            CHAT: {
                "messages": [
                    _user([_text(_LOOK), {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}])
                ]
            },
            RESPONSES: {
                "input": [
                    _user([_heard(_LOOK), {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}])
                ]
            },
        },
    ),
    Feature(
        "audio.out",
        "Images, files, sound",
        "a spoken answer",
        {CHAT: {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}},
    ),
    Feature(
        "video.url",
        "Images, files, sound",
        "a video",
        {
            CHAT: {
                "messages": [
                    _user([_text(_LOOK), {"type": "video_url", "video_url": {"url": "https://example.com/cat.mp4"}}])
                ]
            }
        },
    ),
)
