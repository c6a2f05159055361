"""What a chat request asks for, in words that no dialect owns.

Owns the neutral outline of a request: what routing needs to know, never its bytes. Dialects produce it, and
`routing/demand.py` scores it. (The neutral *content* of turns joins it when a second dialect needs it.)
"""

from typing import Literal, NamedTuple

JsonFormat = Literal["text", "json_object", "json_schema"]


class ChatRequest(NamedTuple):
    """The outline of one chat request: a tuple, since a frozen dataclass of so many fields takes 4 µs to make.

    `text_bytes` counts the JSON bytes of messages and tools without image payloads; `last_user` is the text of the
    last user turn, at most 8,000 characters of it, `last_user_chars` its whole length. `conversation` is a digest
    of the system text and the first user turn; `session` an explicit id that the caller sent, if any. `compaction` =
    the conversation is to be compacted, or holds what was.
    """

    model: str
    stream: bool = False
    include_usage: bool = False
    max_output_tokens: int | None = None
    effort: str | None = None
    choices: int = 1
    tools: int = 0
    tool_forced: bool = False
    images: int = 0
    image_urls: int = 0
    audio: bool = False
    files: bool = False
    json_format: JsonFormat = "text"
    logprobs: bool = False
    messages: int = 0
    assistant_turns: int = 0
    tool_results: int = 0
    text_bytes: int = 0
    last_user: str = ""
    last_user_chars: int = 0
    conversation: str = ""
    session: str | None = None
    compaction: bool = False


class Warning(NamedTuple):  # noqa: A001 - the design's word: something was not honoured, and is said
    """A setting that was not honoured: `code` (`dropped`, `approx`, `renamed`) and what it concerns."""

    code: str
    what: str

    def __str__(self) -> str:
        return f"{self.code}:{self.what}"
