"""The callers' own readers: strict, of one dialect each, built without anything of the router's.

Owns what Chat and Messages callers make of their bytes: text, thoughts, calls, how it ended. An event out of order, an
identity that changes, anything behind the end is a complaint.
"""

import json
from typing import Any, Final

from . import reading_responses
from .told import Told, check_calls, finish_of, frames

# --- Chat -------------------------------------------------------------------------------------------------


def _chat(raw: bytes, told: Told) -> None:
    identity: tuple[Any, ...] | None = None
    begun = done = False
    finish = ""
    calls: list[list[str]] = []
    for _, chunk in frames(raw, told, named=False):
        told.demand(not done and not told.error, "something behind the end")
        if chunk == "[DONE]":
            done = True
        elif "error" in chunk:
            told.error = str(chunk["error"].get("code") or chunk["error"].get("type"))
        else:
            found = (chunk["id"], chunk["object"], chunk["created"], chunk["model"])
            # Before anyone has answered, keep-alives carry the caller's own name for the model.
            same = identity is None or (found if begun else found[:-1]) == (identity if begun else identity[:-1])
            told.demand(same, f"the identity changes: {identity} {found}")
            identity = found
            for choice in chunk["choices"]:
                delta = choice["delta"]
                told.demand(choice["index"] == 0 and "finish_reason" in choice, "a choice that lacks something")
                told.demand(not finish, "something behind the finish")
                told.demand(begun or not delta or "role" in delta, "content before the role")
                begun = begun or "role" in delta
                told.text += delta.get("content") or ""
                told.reasoning += delta.get("reasoning_content") or ""
                _chat_calls(delta, calls, told)
                finish = choice["finish_reason"] or finish
    told.calls = [(one[0], one[1], one[2]) for one in calls]
    told.demand(done == bool(finish), f"[DONE] {done}, finish {finish!r}")
    told.demand(not (finish and told.error), "a finish and an error")
    told.finish = finish_of(finish if done else None)


def _chat_calls(delta: dict[str, Any], calls: list[list[str]], told: Told) -> None:
    for piece in delta.get("tool_calls") or ():
        if "id" in piece:
            told.demand(piece["index"] == len(calls), "calls are not numbered one after another")
            calls.append([piece["id"], piece["function"]["name"], piece["function"].get("arguments") or ""])
        else:
            calls[piece["index"]][2] += piece["function"]["arguments"]


def _chat_whole(value: dict[str, Any], told: Told) -> None:
    (choice,) = value["choices"]
    message = choice["message"]
    told.text = message.get("content") or ""
    told.reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    for call in message.get("tool_calls") or ():
        told.calls.append((call["id"], call["function"]["name"], call["function"]["arguments"]))
    told.finish = finish_of(choice["finish_reason"])
    told.demand(value["usage"]["completion_tokens"] >= 0, "no usage")


# --- Messages ---------------------------------------------------------------------------------------------

_KINDS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}


def _messages(raw: bytes, told: Told) -> None:
    begun = over = False
    kind, index, signed = "", -1, False
    reason = None
    for name, event in frames(raw, told, named=True):
        told.demand(event["type"] == name, "the event's name is not its type")
        told.demand(not over and not told.error, "something behind the end")
        if name == "ping":
            continue
        if name == "error":
            told.error = event["error"]["type"]
            continue
        told.demand(begun != (name == "message_start"), f"{name} out of order")
        told.demand(reason is None or name == "message_stop", "something behind the stop reason")
        match name:
            case "message_start":
                begun = True
                told.demand(event["message"]["content"] == [], "a message that begins with content")
                told.demand(event["message"]["usage"]["input_tokens"] >= 0, "no usage")
            case "content_block_start":
                told.demand(not kind and event["index"] == index + 1, "blocks out of order")
                index, block, signed = event["index"], event["content_block"], False
                kind = block["type"]
                if kind == "tool_use":
                    told.calls.append((block["id"], block["name"], ""))
            case "content_block_delta":
                delta = event["delta"]
                told.demand(event["index"] == index and _KINDS[delta["type"]] == kind, "a delta of another block")
                told.demand(not signed, "something behind the signature")
                signed = _messages_delta(delta, told) or signed
            case "content_block_stop":
                told.demand(event["index"] == index and bool(kind), "a block stops twice")
                told.demand(kind != "thinking" or signed, "a thought without a signature")
                kind = ""
            case "message_delta":
                told.demand(not kind, "the message ends in an open block")
                reason = event["delta"]["stop_reason"]
                told.demand(event["usage"]["output_tokens"] >= 0, "no usage")
            case "message_stop":
                over = True
            case other:
                told.complaints.append(f"an unknown event {other}")
    told.calls = [(call_id, name, arguments or "{}") for call_id, name, arguments in told.calls]
    told.demand(over == (reason is not None), "a stop reason without a stop, or the other way round")
    told.finish = finish_of(reason if over else None)


def _messages_delta(delta: dict[str, Any], told: Told) -> bool:
    """Take a delta; whether it was a signature."""
    match delta["type"]:
        case "text_delta":
            told.text += delta["text"]
        case "thinking_delta":
            told.reasoning += delta["thinking"]
        case "input_json_delta":
            call_id, name, arguments = told.calls[-1]
            told.calls[-1] = (call_id, name, arguments + delta["partial_json"])
        case "signature_delta":
            return True
    return False


def _messages_whole(value: dict[str, Any], told: Told) -> None:
    for block in value["content"]:
        told.text += block.get("text", "")
        told.reasoning += block.get("thinking", "")
        if block["type"] == "tool_use":
            told.calls.append((block["id"], block["name"], json.dumps(block["input"])))
    told.finish = finish_of(value["stop_reason"])
    told.demand(value["usage"]["output_tokens"] >= 0, "no usage")


# --- all of them ------------------------------------------------------------------------------------------

_STREAMS: Final = {"openai_chat": _chat, "anthropic_messages": _messages, "openai_responses": reading_responses.read}
_WHOLES: Final = {
    "openai_chat": _chat_whole, "anthropic_messages": _messages_whole, "openai_responses": reading_responses.read_whole,
}  # fmt: skip


def read_stream(dialect: str, raw: bytes) -> Told:
    """A stream, from its first byte to its last."""
    told = Told()
    try:
        _STREAMS[dialect](raw, told)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        told.complaints.append(f"unreadable: {error!r}")
    check_calls(told)
    return told


def read_whole(dialect: str, status: int, raw: bytes) -> Told:
    """An answer that came whole."""
    told = Told()
    try:
        value = json.loads(raw)
        if status == 200:
            _WHOLES[dialect](value, told)
        else:
            told.error = str(value["error"].get("code") or value["error"].get("type") or status)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        told.complaints.append(f"unreadable: {error!r}")
    check_calls(told)
    return told
