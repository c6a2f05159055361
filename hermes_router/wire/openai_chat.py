"""The Chat Completions dialect, inward: what a caller's body asks for, and our errors in its envelope.

Owns parsing a request into a `ChatRequest` beside its raw top-level fields, and rendering errors and model lists. The
body's tree is never built: `messages` and `tools` stay raw, only what routing needs is decoded
(facts: providers.md 12, clients.md 5-7). It must never know a target.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from hermes_router.core.chat import ChatRequest, JsonFormat
from hermes_router.core.errors import BadRequest

_LAST_USER_MAX = 8_000
_SEED_MAX = 16_384


class _Message(msgspec.Struct):
    # Strings are built, not skipped: it costs a copy, and proves that they are UTF-8.
    role: Any = None
    content: str | list[Any] | None = None


_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_MESSAGES = msgspec.json.Decoder(list[_Message])
_RAWS = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder()

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_NULLABLE_CONTENT = frozenset({"assistant", "function"})


@dataclass(frozen=True, slots=True)
class Inbound:
    """A parsed request: the neutral outline, and the caller's own fields, undecoded."""

    request: ChatRequest
    fields: Mapping[str, Raw]


def parse_request(body: bytes, headers: Mapping[str, str]) -> Inbound:
    """Parse a Chat Completions body. Raises BadRequest with the path of the field that is wrong."""
    fields = _top_level(body)
    messages = _outline(fields)
    if "tools" in fields:
        tools, tools_bytes = _tools(fields["tools"])
    else:
        tools, tools_bytes = _legacy_functions(fields)
    request = ChatRequest(
        model=_string(fields, "model") or "",
        stream=_boolean(fields, "stream"),
        include_usage=_include_usage(fields),
        max_output_tokens=_cap(fields),
        effort=_effort(fields),
        choices=_integer(fields, "n", 1, 128) or 1,
        tools=tools,
        tool_forced=tools > 0 and _forced(fields),
        images=messages.images,
        image_urls=messages.image_urls,
        audio=messages.audio or b'"audio"' in bytes(fields.get("modalities", b"")),
        files=messages.files,
        json_format=_json_format(fields),
        logprobs=_boolean(fields, "logprobs"),
        messages=messages.count,
        assistant_turns=messages.assistant_turns,
        tool_results=messages.tool_results,
        text_bytes=messages.text_bytes + tools_bytes,
        last_user=messages.last_user[:_LAST_USER_MAX],
        last_user_chars=len(messages.last_user),
        conversation=messages.conversation,
        session=_session(fields, headers),
    )
    _check_sampling(fields)
    return Inbound(request, fields)


def _top_level(body: bytes) -> dict[str, Raw]:
    if not body.strip():
        raise BadRequest("the request body is empty; send a JSON object")
    try:
        return _FIELDS.decode(body)
    except msgspec.ValidationError:
        raise BadRequest("the request body must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the request body is not valid JSON: {error}") from None


def _decode(raw: Raw, param: str) -> Any:
    try:
        return _ANY.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{param} is not valid JSON: {error}", param=param) from None


def _given(fields: Mapping[str, Raw], name: str) -> Any:
    """The decoded value of a field; None where it is absent or null."""
    raw = fields.get(name)
    return None if raw is None else _decode(raw, name)


def _string(fields: Mapping[str, Raw], name: str) -> str | None:
    value = _given(fields, name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name} must be a string", param=name)
    return value


def _boolean(fields: Mapping[str, Raw], name: str) -> bool:
    value = _given(fields, name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false", param=name)
    return bool(value)


def _integer(fields: Mapping[str, Raw], name: str, low: int, high: int) -> int | None:
    value = _given(fields, name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"{name} must be an integer", param=name)
    if value < low:
        raise BadRequest(f"{name} must be at least {low}", param=name)
    return min(value, high)


def _cap(fields: Mapping[str, Raw]) -> int | None:
    """The caller's output cap: `max_completion_tokens` wins over `max_tokens` (providers.md 12.8)."""
    newer = _integer(fields, "max_completion_tokens", 1, 2**31)
    return newer if newer is not None else _integer(fields, "max_tokens", 1, 2**31)


def _check_sampling(fields: Mapping[str, Raw]) -> None:
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
        value = _given(fields, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise BadRequest(f"{name} must be a number", param=name)


def _include_usage(fields: Mapping[str, Raw]) -> bool:
    options = _given(fields, "stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise BadRequest("stream_options must be an object", param="stream_options")
    return bool(options.get("include_usage"))


def _effort(fields: Mapping[str, Raw]) -> str | None:
    effort = _string(fields, "reasoning_effort")
    if effort is None and "reasoning" in fields:
        nested = _given(fields, "reasoning")
        found = nested.get("effort") if isinstance(nested, dict) else None
        effort = found if isinstance(found, str) else None
    return effort


def _json_format(fields: Mapping[str, Raw]) -> JsonFormat:
    wanted = _given(fields, "response_format")
    if wanted is None:
        return "text"
    if not isinstance(wanted, dict):
        raise BadRequest("response_format must be an object", param="response_format")
    match wanted.get("type"):
        case "json_schema":
            return "json_schema"
        case "json_object":
            return "json_object"
        case "text":
            return "text"
    raise BadRequest("response_format.type must be text, json_object or json_schema", param="response_format.type")


def _tools(raw: Raw) -> tuple[int, int]:
    """How many tools, and their size in bytes; wrong types are named."""
    if bytes(raw) == b"null":
        return 0, 0
    try:
        tools = _RAWS.decode(raw)
    except msgspec.DecodeError:
        raise BadRequest("tools must be a list", param="tools") from None
    for index, tool in enumerate(tools):
        if bytes(memoryview(tool)[:1]) != b"{":
            raise BadRequest(f"tools[{index}] must be an object", param=f"tools[{index}]")
    return len(tools), memoryview(raw).nbytes if tools else 0


def _legacy_functions(fields: Mapping[str, Raw]) -> tuple[int, int]:
    raw = fields.get("functions")
    if raw is None:
        return 0, 0
    functions = _decode(raw, "functions")
    if functions is not None and not isinstance(functions, list):
        raise BadRequest("functions must be a list", param="functions")
    return len(functions or ()), len(bytes(raw))


def _forced(fields: Mapping[str, Raw]) -> bool:
    choice = _given(fields, "tool_choice")
    return isinstance(choice, dict) or choice == "required"


def _session(fields: Mapping[str, Raw], headers: Mapping[str, str]) -> str | None:
    """An explicit id of the conversation (clients.md 7.18), None where the caller sends none."""
    key = _given(fields, "prompt_cache_key")
    if isinstance(key, str) and key:
        return key[:200]
    for name in ("x-session-affinity", "x-session-id", "session-id"):
        value = headers.get(name)
        if value:
            return value[:200]
    return None


@dataclass(slots=True)
class _Seen:
    """What one pass over the messages collects."""

    count: int = 0
    assistant_turns: int = 0
    tool_results: int = 0
    text_bytes: int = 0
    images: int = 0
    image_urls: int = 0
    audio: bool = False
    files: bool = False
    last_user: str = ""
    conversation: str = ""


def _outline(fields: Mapping[str, Raw]) -> _Seen:
    raw = fields.get("messages")
    if raw is None or bytes(raw) == b"null":
        raise BadRequest("messages is required: a list of message objects", param="messages")
    messages = _decode_messages(raw)
    seen = _Seen(count=len(messages), text_bytes=memoryview(raw).nbytes)
    last_user: str | list[Any] | None = None
    first_system = first_user = ""
    for index, message in enumerate(messages):
        role, content = message.role, message.content
        if not isinstance(role, str) or role not in _ROLES:
            raise BadRequest(
                f"messages[{index}].role must be one of system, developer, user, assistant, tool",
                param=f"messages[{index}].role",
            )
        if content is None and role not in _NULLABLE_CONTENT:
            raise BadRequest(
                f"messages[{index}].content is required: a string or a list of parts",
                param=f"messages[{index}].content",
            )
        if isinstance(content, list):
            _check_parts(content, index, seen)
        if role == "user":
            last_user = content
            first_user = first_user or _text_of(content)[:_SEED_MAX]
        elif role == "assistant":
            seen.assistant_turns += 1
        elif role in ("tool", "function"):
            seen.tool_results += 1
        elif not first_user:
            first_system += _text_of(content)[:_SEED_MAX]
    seen.conversation = _digest(first_system, first_user)
    seen.last_user = _text_of(last_user)
    return seen


def _decode_messages(raw: Raw) -> list[_Message]:
    try:
        messages = _MESSAGES.decode(raw)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("`$")[2].rstrip("`") if "`$" in str(error) else ""
        wanted = {"": "a list of message objects", "content": "a string or a list of parts"}
        what = wanted.get(where.rpartition(".")[2], "a message object")
        raise BadRequest(f"messages{where} must be {what}", param=f"messages{where}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"messages is not valid JSON: {error}", param="messages") from None
    if not messages:
        raise BadRequest("messages must hold at least one message", param="messages")
    return messages


def _check_parts(parts: list[Any], index: int, seen: _Seen) -> None:
    """Name wrong parts; count images without their payload."""
    for position, part in enumerate(parts):
        path = f"messages[{index}].content[{position}]"
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
        elif kind == "input_audio":
            seen.audio = True
        elif kind == "file":
            seen.files = True


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


def _text_of(content: str | list[Any] | None) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part.get("type") == "text")


def _digest(system: str, user: str) -> str:
    seed = f"{system}\0{user}".encode(errors="surrogatepass")
    return hashlib.blake2b(seed, digest_size=12).hexdigest()
