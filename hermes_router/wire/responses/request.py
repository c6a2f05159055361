"""The Responses dialect, inward: what a caller's body asks for.

Owns parsing a request into a `ChatRequest` beside its raw top-level fields, for `/v1/responses` and its `input_tokens`
alike (facts: providers.md 12, clients.md 2.3, 3, 5). It must never know a target.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.chat import ChatRequest, JsonFormat
from hermes_router.core.errors import BadRequest
from hermes_router.wire.fields import boolean, decode, escaped_bytes, given, integer, number, read_body, string, typed
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.responses.items import (
    COMPACTIONS,
    OUTPUTS,
    Item,
    is_assistants,
    open_items,
    payload_of,
    texts_of,
)
from hermes_router.wire.responses.tools import Fields, Toolset, carried, flatten
from hermes_router.wire.responses.turn import Past, Turn, items_of, length, own_place, with_past

__all__ = ["open_request", "parse_fields", "parse_request", "previous_of"]

_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_LAST_USER_MAX: Final = 8_000
_SEED_MAX: Final = 4_096  # characters: enough to tell conversations apart, and cheap to digest
_SESSIONS: Final = ("x-session-affinity", "x-session-id", "session-id")


def parse_request(body: bytes, headers: Mapping[str, str]) -> Inbound:
    """Parse a Responses body that refers to nothing. Raises BadRequest with the path of the field that is wrong."""
    return parse_fields(open_request(body), headers)


def open_request(body: bytes) -> dict[str, Raw]:
    """The top-level fields of a body. Raises BadRequest where it is no JSON object."""
    return read_body(body, _FIELDS.decode)


def previous_of(fields: dict[str, Raw]) -> str:
    """The id of the response that a request goes on behind, "" where it names none. Raises BadRequest."""
    if _PREVIOUS not in fields:
        return ""
    return string(fields, _PREVIOUS) or ""


def parse_fields(fields: dict[str, Raw], headers: Mapping[str, str], past: Past | None = None) -> Inbound:
    """The request that these fields are, behind what it refers to. Raises BadRequest, in the caller's own counting."""
    refuse_state(fields, knows=past is not None)
    own = items_of(fields.get("input")) if past is not None else None
    if past is None or own is None:
        return _parsed(fields, headers)
    whole = {**fields, "input": with_past(past, own)}
    whole.pop(_PREVIOUS, None)
    try:
        inbound = _parsed(whole, headers)
    except BadRequest as error:
        raise own_place(error, past) from None
    request = inbound.request._replace(conversation=past.conversation)
    before = length(past) if request.image_urls else 0  # who says which image is wrong counts as the caller does
    return inbound._replace(request=request, turn=Turn(past.previous, before=before))


def _parsed(came: Mapping[str, Raw], headers: Mapping[str, str]) -> Inbound:
    fields = Fields(came)
    _check(fields)
    items = open_items(fields.get("input"))
    seen = _outline(items, string(fields, "instructions") or "")
    fields.tools, tools_bytes = _tools(fields, items)
    tools = len(fields.tools.declared)
    last_user = "\n".join(seen.last_user)
    request = ChatRequest(
        model=string(fields, "model") or "",
        stream=bool(boolean(fields, "stream")),
        include_usage=True,
        max_output_tokens=integer(fields, "max_output_tokens", 1, 2**31),
        effort=_effort(fields),
        tools=tools,
        tool_forced="tool_choice" in fields and _forced(fields) and tools > 0,
        images=seen.images,
        image_urls=seen.image_urls,
        audio=seen.audio,
        files=seen.files,
        json_format=_json_format(fields),
        messages=seen.count,
        assistant_turns=seen.assistant_turns,
        tool_results=seen.tool_results,
        text_bytes=max(0, _text_bytes(fields) - seen.payload) + tools_bytes,
        last_user=last_user[:_LAST_USER_MAX],
        last_user_chars=len(last_user),
        conversation=_digest(seen.seed),
        session=_session(fields, headers),
        compaction=seen.compaction,
    )
    return Inbound(request, fields, dialect="openai_responses")


def refuse_state(fields: dict[str, Raw], *, knows: bool) -> None:
    """Refuse what lives in a provider's own memory of earlier answers. Raises BadRequest, `unsupported_parameter`.

    `knows` = the response that it refers to is known here. A word that says nothing is taken out.
    """
    for name, why in _STATE.items():
        raw = fields.get(name)
        if raw is None or (knows and name == _PREVIOUS):
            continue
        if decode(raw, name) in (None, False, ""):
            if name == _PREVIOUS:
                del fields[name]
            continue
        raise BadRequest(f"{name} is not supported here: {why}", param=name, code="unsupported_parameter")


_PREVIOUS: Final = "previous_response_id"
_STATE: Final[Mapping[str, str]] = {
    "previous_response_id": "send the whole conversation as input",
    "conversation": "send the whole conversation as input",
    "prompt": "send the text of the prompt as instructions or input",
    "background": "send the request without it, and stream the answer",
}


# --- top-level fields -------------------------------------------------------------------------------


def _object(fields: Mapping[str, Raw], name: str) -> dict[str, Any]:
    return typed(fields, name, dict, "an object") or {}


def _check(fields: Mapping[str, Raw]) -> None:
    """Name wrong types of what is read later, or goes on to providers that would answer less plainly."""
    for name in fields:
        if (check := _CHECKS.get(name)) is not None:
            check(fields, name)


def _words(fields: Mapping[str, Raw], name: str) -> None:
    for index, word in enumerate(typed(fields, name, list, "a list of strings") or ()):
        if not isinstance(word, str):
            raise BadRequest(f"{name}[{index}] must be a string", param=f"{name}[{index}]")


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Raw], str], object]]] = {
    **dict.fromkeys(("temperature", "top_p"), number),
    **dict.fromkeys(("parallel_tool_calls", "store"), boolean),
    **dict.fromkeys(("user", "prompt_cache_key", "safety_identifier", "service_tier", "truncation"), string),
    "metadata": _object,
    "top_logprobs": partial(integer, low=0, high=20),
    "include": _words,
}


def _effort(fields: Mapping[str, Raw]) -> str | None:
    effort = _object(fields, "reasoning").get("effort") if "reasoning" in fields else None
    if not isinstance(effort, str | None):
        raise BadRequest("reasoning.effort must be a string", param="reasoning.effort")
    return effort


def _json_format(fields: Mapping[str, Raw]) -> JsonFormat:
    text = _object(fields, "text") if "text" in fields else {}
    if not isinstance(text.get("verbosity"), str | None):
        raise BadRequest("text.verbosity must be a string", param="text.verbosity")
    wanted = text.get("format")
    if wanted is None:
        return "text"
    if not isinstance(wanted, dict):
        raise BadRequest("text.format must be an object", param="text.format")
    match wanted.get("type"):
        case "json_schema":
            _check_schema(wanted)
            return "json_schema"
        case "json_object":
            return "json_object"
        case "text":
            return "text"
    raise BadRequest("text.format.type must be text, json_object or json_schema", param="text.format.type")


def _check_schema(wanted: Mapping[str, Any]) -> None:
    if not isinstance(wanted.get("schema"), dict):
        raise BadRequest("text.format.schema must be an object", param="text.format.schema")
    for key in ("name", "description"):
        if not isinstance(wanted.get(key), str | None):
            raise BadRequest(f"text.format.{key} must be a string", param=f"text.format.{key}")
    if not isinstance(wanted.get("strict"), bool | None):
        raise BadRequest("text.format.strict must be true or false", param="text.format.strict")


def _tools(fields: Mapping[str, Raw], items: list[Item]) -> tuple[Toolset, int]:
    """The tools, and the size in bytes of those that are not within the input."""
    listed = [*carried(items)]
    raw = fields.get("tools")
    if raw is not None:
        listed.insert(0, ("tools", decode(raw, "tools")))
    return flatten(listed), len(raw) if raw is not None else 0


def _forced(fields: Mapping[str, Raw]) -> bool:
    choice = given(fields, "tool_choice")
    if choice is None or isinstance(choice, str):
        return choice == "required"
    if not isinstance(choice, dict):
        raise BadRequest("tool_choice must be a string or an object", param="tool_choice")
    kind = choice.get("type")
    if not isinstance(kind, str):
        raise BadRequest("tool_choice.type must be a string", param="tool_choice.type")
    if kind == "allowed_tools":
        _check_allowed(choice.get("tools"))
        return choice.get("mode") == "required"
    if kind in ("function", "custom") and not isinstance(choice.get("name"), str):
        raise BadRequest("tool_choice.name must be a string", param="tool_choice.name")
    return True


def _check_allowed(tools: Any) -> None:
    if not isinstance(tools, list):
        raise BadRequest("tool_choice.tools must be a list", param="tool_choice.tools")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            path = f"tool_choice.tools[{index}]"
            raise BadRequest(f"{path} must be an object", param=path)


def _session(fields: Mapping[str, Raw], headers: Mapping[str, str]) -> str | None:
    """An explicit id of the conversation (clients.md 7.18), None where the caller sends none."""
    key = string(fields, "prompt_cache_key")
    if key:
        return key[:200]
    return next((value[:200] for name in _SESSIONS if (value := headers.get(name))), None)


# --- the outline ------------------------------------------------------------------------------------


class _Seen(msgspec.Struct):
    """What one pass over the items collects. `payload` are bytes of the input that are no text."""

    count: int = 0
    assistant_turns: int = 0
    tool_results: int = 0
    images: int = 0
    image_urls: int = 0
    audio: bool = False
    files: bool = False
    payload: int = 0
    compaction: bool = False
    last_user: list[str] = msgspec.field(default_factory=list)
    seed: list[str] = msgspec.field(default_factory=list)


def _outline(items: list[Item], instructions: str) -> _Seen:
    """Count as Chat would: neighbours of the model's are one turn, `instructions` are a message."""
    seen = _Seen(count=bool(instructions), seed=[instructions])
    inside = begun = False
    for item in items:
        kind = item["type"]
        if is_assistants(item):
            seen.assistant_turns += not inside
            seen.count += not inside
            inside = True
            seen.payload += len(item.get("encrypted_content") or "") if kind == "reasoning" else 0
            continue
        inside = False
        if kind in COMPACTIONS:
            seen.compaction = True
            seen.assistant_turns += kind == "compaction"  # it stands for them, and only its maker reads it
            seen.payload += len(item.get("encrypted_content") or "")
            continue
        if kind in OUTPUTS:
            seen.tool_results += 1
            content = item.get("output")
        elif kind == "message":
            content, user = item["content"], item["role"] == "user"
            if user:
                seen.last_user = list(texts_of(content))
            if not begun:
                seen.seed += texts_of(content)
                begun = user
        else:
            continue
        seen.count += 1
        if isinstance(content, list):
            _look(content, seen)
    return seen


def _look(parts: list[dict[str, Any]], seen: _Seen) -> None:
    for part in parts:
        kind = part["type"]
        if kind == "input_image":
            seen.images += 1
            seen.image_urls += not (part.get("image_url") or "data:").startswith("data:")
        elif kind == "input_file":
            seen.files = True
        elif kind == "input_audio":
            seen.audio = True
        else:
            continue
        seen.payload += payload_of(part)


def _text_bytes(fields: Mapping[str, Raw]) -> int:
    raws = [raw for name in ("instructions", "input") if (raw := fields.get(name)) is not None]
    return sum(len(raw) - escaped_bytes(raw) for raw in raws)


def _digest(texts: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        digest.update(text[:_SEED_MAX].encode(errors="surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()
