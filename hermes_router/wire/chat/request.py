"""The Chat Completions dialect, inward: what a caller's body asks for.

Owns parsing a request into a `ChatRequest` beside its raw top-level fields. The body's tree is never built: `messages`
and `tools` stay raw, only what routing needs is decoded (facts: providers.md 12, clients.md 5-7). It must never know a
target.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from hermes_router.core.chat import ChatRequest, JsonFormat
from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.body_split import Fields, split_body
from hermes_router.wire.chat.checks import check_fields, check_functions, check_tools, chosen, wanted_format
from hermes_router.wire.chat.seen_tools import see_tools, seen_tools
from hermes_router.wire.chat.traits import (
    NOTHING,
    LooseMessage,
    Message,
    Messages,
    are_strict,
    decode_messages,
    heads_of,
    traits_of,
)
from hermes_router.wire.fields import boolean, decode, escaped_bytes, given, integer, misfit, read_body, string
from hermes_router.wire.inbound import Inbound

_LAST_USER_MAX = 8_000
_MOST_ANSWERS = 128  # OpenAI's own bound
_SEED_MAX = 4_096  # bytes: enough to tell conversations apart, and cheap to digest


_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_RAWS = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder()
_NULL = Raw(b"null")
_NOTHING = Raw(b"")
_BRACKET, _QUOTE = b'["'
_ALL_TEXT = {(_QUOTE,)}

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_SYSTEM = ("system", "developer")
_ATTACHED = ("input_audio", "file")
_NULLABLE_CONTENT = frozenset({"assistant", "function"})


def parse_request(body: bytes, headers: Mapping[str, str]) -> Inbound:
    """Parse a Chat Completions body. Raises BadRequest with the path of the field that is wrong."""
    fields = _read(body)
    seen = _outline(fields)
    tools, tools_bytes = _tools(fields)
    last_user = seen.last_user
    request = ChatRequest(  # by position: it is made for every request, and names cost
        string(fields, "model") or "",
        "stream" in fields and bool(boolean(fields, "stream")),
        "stream_options" in fields and _include_usage(fields),
        _cap(fields),
        _effort(fields),
        _answers(fields) if "n" in fields else 1,
        tools,
        "tool_choice" in fields and _forced(fields) and tools > 0,
        seen.images,
        seen.image_urls,
        seen.audio or ("modalities" in fields and b'"audio"' in bytes(fields["modalities"])),
        seen.files,
        _json_format(fields) if "response_format" in fields else "text",
        "logprobs" in fields and bool(boolean(fields, "logprobs")),
        seen.count,
        seen.assistant_turns,
        seen.tool_results,
        max(0, seen.text_bytes) + tools_bytes,
        last_user[:_LAST_USER_MAX],
        len(last_user),
        seen.conversation,
        _session(fields, headers),
    )
    check_fields(fields)
    return Inbound(request, fields, seen.traits)


def _read(body: bytes) -> Fields:
    fields = read_body(body, _taken_apart)
    raw = fields.get("messages")
    if raw is None or raw == _NULL:
        raise BadRequest("messages is required: a list of message objects", param="messages")
    if not hasattr(fields, "messages"):
        fields.messages, fields.history = _decode_messages(raw), None
    return fields


def _taken_apart(body: bytes) -> Fields:
    return split_body(body) or Fields(_FIELDS.decode(body))


def _cap(fields: Mapping[str, Raw]) -> int | None:
    """The caller's output cap: `max_completion_tokens` wins over `max_tokens` (providers.md 12.8)."""
    older = integer(fields, "max_tokens", 1, 2**31) if "max_tokens" in fields else None
    newer = integer(fields, "max_completion_tokens", 1, 2**31) if "max_completion_tokens" in fields else None
    return newer if newer is not None else older


def _answers(fields: Mapping[str, Raw]) -> int:
    """How many answers are asked for. Where it is beyond every provider's bound, it is the caller's mistake."""
    several = integer(fields, "n", 1, _MOST_ANSWERS + 1) or 1
    if several > _MOST_ANSWERS:
        raise BadRequest(f"n must be at most {_MOST_ANSWERS}", param="n")
    return several


def _include_usage(fields: Mapping[str, Raw]) -> bool:
    options = given(fields, "stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise BadRequest("stream_options must be an object", param="stream_options")
    wanted = options.get("include_usage")
    if wanted is not None and not isinstance(wanted, bool):
        path = "stream_options.include_usage"
        raise BadRequest(f"{path} must be true or false", param=path)
    return bool(wanted)


def _effort(fields: Mapping[str, Raw]) -> str | None:
    effort = string(fields, "reasoning_effort") if "reasoning_effort" in fields else None
    if effort is None and "reasoning" in fields:
        nested = given(fields, "reasoning")
        found = nested.get("effort") if isinstance(nested, dict) else None
        effort = found if isinstance(found, str) else None
    return effort


def _json_format(fields: Mapping[str, Raw]) -> JsonFormat:
    wanted = wanted_format(fields)
    if wanted is None:
        return "text"
    match wanted.get("type"):
        case "json_schema":
            return "json_schema"
        case "json_object":
            return "json_object"
        case "text":
            return "text"
    raise BadRequest("response_format.type must be text, json_object or json_schema", param="response_format.type")


def _tools(fields: Mapping[str, Raw]) -> tuple[int, int]:
    """How many tools, and their size in bytes; wrong types are named. The older `functions` count the same."""
    raw = fields.get("tools")
    count, size = (0, 0) if raw is None or raw == _NULL else _listed(raw)
    older = fields.get("functions")
    if older is not None and older != _NULL:
        functions = check_functions(older)
        if raw is None or raw == _NULL:
            return functions, len(older) if functions else 0
    return count, size


def _listed(raw: Raw) -> tuple[int, int]:
    if (known := seen_tools(raw)) is not None:
        return known.count, len(raw)
    count = check_tools(raw)
    if not count:
        return 0, 0
    see_tools(raw, count)
    return count, len(raw)


def _forced(fields: Mapping[str, Raw]) -> bool:
    choice = chosen(fields)
    return isinstance(choice, dict) or choice == "required"


def _session(fields: Mapping[str, Raw], headers: Mapping[str, str]) -> str | None:
    """An explicit id of the conversation (clients.md 7.18), None where the caller sends none."""
    key = given(fields, "prompt_cache_key") if "prompt_cache_key" in fields else None
    if isinstance(key, str) and key:
        return key[:200]
    for name in ("x-session-affinity", "x-session-id", "session-id"):
        value = headers.get(name)
        if value:
            return value[:200]
    return None


class _Seen:
    """What one pass over the messages collects."""

    __slots__ = (
        "assistant_turns", "audio", "conversation", "count", "files", "image_urls", "images", "last_user", "text_bytes",
        "tool_results", "traits",
    )  # fmt: skip

    def __init__(self, text_bytes: int) -> None:
        self.text_bytes = text_bytes
        self.count = self.assistant_turns = self.tool_results = self.images = self.image_urls = 0
        self.audio = self.files = False
        self.last_user = self.conversation = ""
        self.traits = NOTHING


def _outline(fields: Fields) -> _Seen:
    messages, history = fields.messages, fields.history
    heads = heads_of(messages) if history is None else history.heads
    raw = fields["messages"]
    seen = _Seen(len(raw) - escaped_bytes(raw))
    _check_shapes(messages, heads, seen)
    seen.traits = traits_of(messages, heads) if history is None else history.traits
    roles = [message.role for message in messages]
    seen.count = len(roles)
    seen.assistant_turns = roles.count("assistant")
    seen.tool_results = roles.count("tool") + roles.count("function")
    if "user" in roles:
        first_user = roles.index("user")
        last_user = len(roles) - 1 - roles[::-1].index("user")
        seen.last_user = _text_of(messages[last_user].content)
        first = messages[first_user].content
    else:
        first_user, first = len(roles), _NOTHING
    seed = [messages[at].content for at in range(first_user) if roles[at] in _SYSTEM]
    seen.conversation = _digest((*seed, first))
    return seen


def _check_shapes(messages: Messages, heads: set[tuple[int, ...]], seen: _Seen) -> None:
    """Name the first wrong role or content. Mostly all is known to be right: strict roles, and contents are strings."""
    if heads == _ALL_TEXT and are_strict(messages):
        return
    for index in range(len(messages)):
        message: Message | LooseMessage = messages[index]
        _check_shape(message.role, message.content, index, seen)


def _check_shape(role: Any, content: Raw, index: int, seen: _Seen) -> None:
    """Name a wrong role or content; look into lists of parts."""
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRequest(
            f"messages[{index}].role must be one of system, developer, user, assistant, tool",
            param=f"messages[{index}].role",
        )
    first = memoryview(content)[0] if len(content) else 0
    if first == _QUOTE:
        return
    at = f"messages[{index}].content"
    if first == _BRACKET:
        _check_parts(content, index, seen)
    elif len(content) == 0 or content == _NULL:
        if role not in _NULLABLE_CONTENT:
            raise BadRequest(f"{at} is required: a string or a list of parts", param=at)
    else:
        raise BadRequest(f"{at} must be a string or a list of parts", param=at)


def _decode_messages(raw: Raw) -> Messages:
    try:
        messages = decode_messages(raw)
    except msgspec.ValidationError as error:
        raise misfit(error, "messages") from None
    except RecursionError:
        raise BadRequest("messages is nested too deeply", param="messages") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(f"messages cannot be read: {error}", param="messages") from None
    if not messages:
        raise BadRequest("messages must hold at least one message", param="messages")
    return messages


def _check_parts(content: Raw, index: int, seen: _Seen) -> None:
    """Name wrong parts; count images without their payload."""
    for position, raw in enumerate(_RAWS.decode(content)):
        path = f"messages[{index}].content[{position}]"
        part = decode(raw, path)
        if not isinstance(part, dict):
            raise BadRequest(f"{path} must be an object with a type", param=path)
        kind = part.get("type")
        if not isinstance(kind, str):
            raise BadRequest(f"{path}.type must be a string", param=f"{path}.type")
        if kind == "text":
            if not isinstance(part.get("text"), str):
                raise BadRequest(f"{path}.text must be a string", param=f"{path}.text")
        elif kind == "image_url":
            _count_image(part, path, seen)
        elif kind in _ATTACHED:
            if not isinstance(part.get(kind), dict):
                raise BadRequest(f"{path}.{kind} must be an object", param=f"{path}.{kind}")
            seen.audio = seen.audio or kind == "input_audio"
            seen.files = seen.files or kind == "file"


def _count_image(part: dict[str, Any], path: str, seen: _Seen) -> None:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise BadRequest(f"{path}.image_url.url must be a string", param=f"{path}.image_url.url")
    seen.images += 1
    if url.startswith("data:"):
        seen.text_bytes -= len(url)  # an image costs tokens by its size in pixels, not by its bytes
    else:
        seen.image_urls += 1


def _text_of(content: Raw) -> str:
    value = _ANY.decode(content)
    if isinstance(value, str):
        return value
    return "\n".join(part["text"] for part in value or () if part.get("type") == "text")


def _digest(parts: Sequence[Raw]) -> str:
    seed = b"\0".join([*[memoryview(part)[:_SEED_MAX] for part in parts], b""])
    return hashlib.blake2b(seed, digest_size=12).hexdigest()
