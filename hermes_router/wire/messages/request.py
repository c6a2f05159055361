"""The Messages dialect, inward: what a caller's body asks for.

Owns parsing a request into a `ChatRequest` beside its raw top-level fields, and the check of every shape that somebody
reads later (facts: providers.md 12, clients.md 4, 5, 7). Fields, block types, tools and betas that nobody knows are
accepted: callers are ahead of us. It must never know a target.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.chat import ChatRequest
from hermes_router.wire.chat.fields import effort_of_budget
from hermes_router.wire.fields import boolean, escaped_bytes, given, number, read_body, typed
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.blocks import (
    Block,
    Message,
    MessagesFields,
    decode_blocks,
    decode_messages,
    expect,
    fault,
    is_null,
    kind_of,
    string,
)
from hermes_router.wire.messages.check import check_messages

__all__ = ["BILLING_LINE", "parse_count", "parse_request", "session_of"]

BILLING_LINE: Final = "x-anthropic-billing-header:"
"""How Claude Code begins a system block that changes with every request (12.2)."""

_LAST_USER_MAX: Final = 8_000
_SEED_MAX: Final = 4_096  # characters: enough to tell conversations apart, and cheap to digest
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ANY: Final = msgspec.json.Decoder()
_STRING, _OBJECT, _LIST = b'"', b"{", b"["
_NUMBERS: Final = ("temperature", "top_p", "top_k")
_HEADERS: Final = ("x-claude-code-session-id", "x-session-affinity", "x-session-id", "session-id")
_SESSION_KEYS: Final = ("session_id", "sessionId", "session")


def parse_request(body: bytes, headers: Mapping[str, str]) -> Inbound:
    """Parse a Messages body. Raises BadRequest with the path of the field that is wrong."""
    fields = _read(body)
    messages = fields.messages
    seen = check_messages(messages)
    system = _system(fields)
    tools = _tools(fields)
    thinking = _thinking(fields)
    config = _config(fields)
    last_user = _last_user(messages)
    size = len(fields["messages"]) - escaped_bytes(fields["messages"]) - seen.payload
    for key in ("system", "tools"):
        size += len(fields[key]) if key in fields and not is_null(fields[key]) else 0
    request = ChatRequest(
        model=_top_string(fields, "model"),
        stream=_flag(fields, "stream"),
        include_usage=True,
        max_output_tokens=_cap(fields),
        effort=config[0] or thinking,
        tools=tools,
        tool_forced=_forced(fields) and tools > 0,
        images=seen.images,
        image_urls=seen.image_urls,
        files=seen.files,
        json_format="json_schema" if config[1] else "text",
        messages=len(messages),
        assistant_turns=sum(message.role == "assistant" for message in messages),
        tool_results=seen.tool_results,
        text_bytes=max(0, size),
        last_user=last_user[:_LAST_USER_MAX],
        last_user_chars=len(last_user),
        conversation=_digest(system, messages),
        session=session_of(fields, headers),
    )
    _check_rest(fields)
    said = headers.get("anthropic-beta", "")
    betas = tuple(beta for each in said.split(",") if (beta := each.strip())) if said else ()
    return Inbound(request, fields, dialect="anthropic_messages", betas=betas)


def parse_count(body: bytes, headers: Mapping[str, str]) -> Inbound:
    """Parse the body of `count_tokens`: that of a request, which need not say `max_tokens`. Raises BadRequest."""
    return parse_request(body, headers)


def _read(body: bytes) -> MessagesFields:
    fields = MessagesFields(read_body(body, _FIELDS.decode))
    fields.messages = decode_messages(fields.get("messages", Raw(b"")))
    return fields


# --- messages ---------------------------------------------------------------------------------------


def _texts(content: str | list[Block], at: str) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [string(block, "text", at) for block in content if bytes(block["type"]) == b'"text"']


def _last_user(messages: list[Message]) -> str:
    """The text of the last user turn that has any: results of tools are no words of the user's."""
    for message in reversed(messages):
        if message.role == "user" and (text := "\n".join(_texts(message.content, "messages"))):
            return text
    return ""


def _digest(system: Iterable[str], messages: list[Message]) -> str:
    """Of system text and first user turn; cache marks, which wander from turn to turn, are no part of it."""
    digest = hashlib.blake2b(digest_size=12)
    first = next((message.content for message in messages if message.role == "user"), "")
    for text in (*system, "\0", *_texts(first, "messages")):
        digest.update(text[:_SEED_MAX].encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    if not isinstance(first, str):
        for block in first:
            if (source := block.get("source")) is not None:
                digest.update(bytes(memoryview(source)[:_SEED_MAX]))
    return digest.hexdigest()


# --- the other fields -------------------------------------------------------------------------------


def _given_object(fields: Mapping[str, Raw], key: str) -> dict[str, Any]:
    return typed(fields, key, dict, "an object") or {}


def _top_string(fields: Mapping[str, Raw], key: str) -> str:
    return typed(fields, key, str, "a string") or ""


def _flag(fields: Mapping[str, Raw], key: str) -> bool:
    return bool(boolean(fields, key))


def _cap(fields: Mapping[str, Raw]) -> int | None:
    value = given(fields, "max_tokens")
    return None if value is None else min(_whole(value, "max_tokens", 1), 2**31)


def _whole(value: Any, path: str, low: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        fault(path, "must be an integer")
    if value < low:
        fault(path, f"must be at least {low}")
    return value


def _system(fields: Mapping[str, Raw]) -> list[str]:
    """The system texts but for the billing line. Raises BadRequest."""
    raw = fields.get("system")
    if raw is None or is_null(raw):
        return []
    if memoryview(raw)[0] == _STRING[0]:
        return [_top_string(fields, "system")]
    if memoryview(raw)[0] != _LIST[0]:
        fault("system", "must be a string or a list of text blocks")
    texts = []
    for index, block in enumerate(decode_blocks(raw, "system")):
        if kind_of(block, f"system[{index}]") != "text":
            fault(f"system[{index}].type", "must be text")
        texts.append(string(block, "text", f"system[{index}]"))
    return [text for text in texts if not text.startswith(BILLING_LINE)]


def _tools(fields: Mapping[str, Raw]) -> int:
    raw = fields.get("tools")
    if raw is None or is_null(raw):
        return 0
    if memoryview(raw)[0] != _LIST[0]:
        fault("tools", "must be a list of tool objects")
    tools = decode_blocks(raw, "tools")
    for index, tool in enumerate(tools):
        at = f"tools[{index}]"
        kind = "custom" if is_null(tool.get("type")) else string(tool, "type", at)
        expect(tool, "name", _STRING, at, needed=kind == "custom")
        expect(tool, "description", _STRING, at, needed=False)
        expect(tool, "input_schema", _OBJECT, at, needed=kind == "custom")
    return len(tools)


def _forced(fields: Mapping[str, Raw]) -> bool:
    choice = _given_object(fields, "tool_choice")
    if not choice:
        return False
    kind = choice.get("type")
    if kind not in ("auto", "any", "none", "tool"):
        fault("tool_choice.type", "must be auto, any, none or tool")
    if kind == "tool" and not isinstance(choice.get("name"), str):
        fault("tool_choice.name", "must be a string")
    if not isinstance(choice.get("disable_parallel_tool_use"), bool | None):
        fault("tool_choice.disable_parallel_tool_use", "must be true or false")
    return kind in ("any", "tool")


def _thinking(fields: Mapping[str, Raw]) -> str | None:
    """The effort that a budget stands for (12.8); None where the model decides."""
    thinking = _given_object(fields, "thinking")
    kind = thinking.get("type")
    if thinking and not isinstance(kind, str):
        fault("thinking.type", "must be a string")
    if kind == "disabled":
        return "none"
    if kind != "enabled":
        return None
    return effort_of_budget(_whole(thinking.get("budget_tokens"), "thinking.budget_tokens", 1))


def _config(fields: Mapping[str, Raw]) -> tuple[str | None, bool]:
    """The effort that was asked for, and whether the answer must fit a schema."""
    config = _given_object(fields, "output_config")
    effort, wanted = config.get("effort"), config.get("format")
    if not isinstance(effort, str | None):
        fault("output_config.effort", "must be a string")
    at = "output_config.format"
    if wanted is None and "output_format" in fields:  # its name while it was a beta
        wanted, at = given(fields, "output_format"), "output_format"
    if wanted is None:
        return effort, False
    if not isinstance(wanted, dict):
        fault(at, "must be an object")
    if wanted.get("type") != "json_schema":
        fault(f"{at}.type", "must be json_schema")
    if not isinstance(wanted.get("schema"), dict):
        fault(f"{at}.schema", "must be an object")
    return effort, True


def _check_rest(fields: Mapping[str, Raw]) -> None:
    for key in _NUMBERS:
        number(fields, key)
    stops = given(fields, "stop_sequences")
    if stops is None:
        return
    if not isinstance(stops, list):
        fault("stop_sequences", "must be a list of strings")
    for index, stop in enumerate(stops):
        if not isinstance(stop, str):
            fault(f"stop_sequences[{index}]", "must be a string")


def session_of(fields: Mapping[str, Raw], headers: Mapping[str, str]) -> str | None:
    """An explicit id of the conversation (clients.md 7.18), None where the caller sends none. Raises BadRequest."""
    user = _given_object(fields, "metadata").get("user_id")
    if not isinstance(user, str | None):
        fault("metadata.user_id", "must be a string")
    for name in _HEADERS:
        if value := headers.get(name):
            return value[:200]
    if not user:
        return None
    if user.startswith("{"):
        return _told_session(user)
    return (user.partition("_session_")[2] or user)[:200]


def _told_session(user: str) -> str | None:
    """The session in a user id that is a JSON object (Claude Code: device and session)."""
    try:
        told = _ANY.decode(user)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return user[:200]
    found = (told.get(key) for key in _SESSION_KEYS) if isinstance(told, dict) else ()
    return next((value[:200] for value in found if isinstance(value, str) and value), None)
