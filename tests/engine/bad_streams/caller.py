"""What the caller has been told, read from its bytes by the strict rules of its dialect.

Every reader fails where an agent's would: an event out of order, a block that is not open, text behind the end, a call
whose arguments are no JSON, an end that is not the last word.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from hermes_router.core.catalog import DialectName

FINISHES = {
    "end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter",
    "stop_sequence": "stop",
}  # fmt: skip


@dataclass(slots=True)
class Heard:
    """An answer as the caller has it: `good` = it ended as a good one does, `error` = it was told that it did not."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    finish: str = ""
    usage: tuple[int, int] | None = None
    error: dict[str, Any] | None = None
    good: bool = False
    models: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    comments: list[str] = field(default_factory=list)


def listen(dialect: DialectName, raw: bytes) -> Heard:
    """Read a stream."""
    heard = Heard()
    events: list[tuple[str, Any]] = []
    *blocks, rest = raw.decode().split("\n\n")
    assert rest == "", "the last event has no end"
    for block in blocks:
        if block.startswith(":"):
            heard.comments.append(block)
            continue
        name, data = "", ""
        for line in block.split("\n"):
            key, _, value = line.partition(": ")
            assert key in {"event", "data"}, line
            name, data = (value, data) if key == "event" else (name, data + value)
        events.append((name, data if data == "[DONE]" else json.loads(data)))
    {"openai_chat": _chat, "anthropic_messages": _messages, "openai_responses": _responses}[dialect](events, heard)
    assert not (heard.good and heard.error), "an end that is good and bad"
    return heard


def read(dialect: DialectName, body: dict[str, Any]) -> Heard:
    """Read a whole answer or an error."""
    heard = Heard(error=body.get("error"))
    if heard.error is not None:
        return heard
    heard.good = True
    if dialect == "openai_chat":
        (choice,) = body["choices"]
        message = choice["message"]
        heard.text, heard.finish = message["content"] or "", choice["finish_reason"]
        heard.calls = [
            _call(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls") or ()
        ]
        heard.usage = (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"])
    elif dialect == "anthropic_messages":
        heard.text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
        heard.calls = [(b["id"], b["name"], b["input"]) for b in body["content"] if b["type"] == "tool_use"]
        heard.finish = FINISHES[body["stop_reason"]]
        heard.usage = (body["usage"]["input_tokens"], body["usage"]["output_tokens"])
    else:
        for item in body["output"]:
            _take_item(item, heard)
        _take_end(body, heard)
    return heard


def _call(call_id: str, name: str, arguments: str) -> tuple[str, str, Any]:
    """A call, whose arguments must be an object."""
    assert call_id, name
    assert name
    value = json.loads(arguments)
    assert isinstance(value, dict), arguments
    return call_id, name, value


def _chat(events: list[tuple[str, Any]], heard: Heard) -> None:
    calls: dict[int, list[str]] = {}
    for position, (name, event) in enumerate(events):
        assert not name, name
        if event == "[DONE]":
            assert position == len(events) - 1, "something behind [DONE]"
            assert heard.finish, "[DONE] without a finish reason"
            assert heard.error is None, "[DONE] behind an error"
            heard.good = True
            continue
        if "error" in event:
            assert position == len(events) - 1, "something behind the error"
            heard.error = event["error"]
            continue
        heard.models.add(event["model"])
        heard.ids.add(event["id"])
        if event.get("usage"):
            heard.usage = (event["usage"]["prompt_tokens"], event["usage"]["completion_tokens"])
        for choice in event["choices"]:
            _choice(choice, heard, calls)
    if heard.good:
        heard.calls = [_call(*calls[number]) for number in sorted(calls)]


def _choice(choice: dict[str, Any], heard: Heard, calls: dict[int, list[str]]) -> None:
    delta = choice["delta"]
    said = any(delta.get(key) for key in ("content", "reasoning_content", "tool_calls"))
    assert not (heard.finish and said), "said behind the finish reason"
    heard.text += delta.get("content") or ""
    heard.reasoning += delta.get("reasoning_content") or ""
    for call in delta.get("tool_calls") or ():
        assert call["index"] <= len(calls), "a call is missing"
        known = calls.setdefault(call["index"], ["", "", ""])
        known[0] = known[0] or call.get("id") or ""
        known[1] = known[1] or call["function"].get("name") or ""
        known[2] += call["function"].get("arguments") or ""
    heard.finish = heard.finish or choice["finish_reason"] or ""


def _messages(events: list[tuple[str, Any]], heard: Heard) -> None:  # noqa: PLR0912 - an event, a branch
    begun, block, index, arguments = False, None, 0, ""
    for position, (name, event) in enumerate(events):
        kind = event["type"]
        assert name == kind, (name, kind)
        assert not heard.good, "something behind message_stop"
        assert heard.error is None, "something behind the error"
        if kind == "ping":
            continue
        if kind == "error":
            heard.error = event["error"]
            continue
        assert begun == (kind != "message_start"), f"{kind} at {position}"
        assert not heard.finish or kind == "message_stop", kind
        match kind:
            case "message_start":
                begun = True
                heard.models.add(event["message"]["model"])
                heard.ids.add(event["message"]["id"])
                assert event["message"]["content"] == []
                heard.usage = (event["message"]["usage"]["input_tokens"], 0)
            case "content_block_start":
                assert block is None, "a block inside another"
                assert event["index"] == index, "a block is missing"
                block, arguments = event["content_block"], ""
            case "content_block_delta":
                assert block is not None, "a delta outside a block"
                assert event["index"] == index
                delta = event["delta"]
                match block["type"], delta["type"]:
                    case "text", "text_delta":
                        heard.text += delta["text"]
                    case "thinking", "thinking_delta":
                        heard.reasoning += delta["thinking"]
                    case "thinking", "signature_delta":
                        pass
                    case "tool_use", "input_json_delta":
                        arguments += delta["partial_json"]
                    case pair:
                        raise AssertionError(pair)
            case "content_block_stop":
                assert block is not None, "closed twice"
                assert event["index"] == index
                if block["type"] == "tool_use":
                    heard.calls.append(_call(block["id"], block["name"], arguments or "{}"))
                block = None
                index += 1
            case "message_delta":
                assert block is None, "the end inside a block"
                heard.finish = FINISHES[event["delta"]["stop_reason"]]
                assert heard.usage is not None
                heard.usage = (event["usage"].get("input_tokens") or heard.usage[0], event["usage"]["output_tokens"])
            case "message_stop":
                assert heard.finish, "message_stop without a stop reason"
                heard.good = True
            case _:
                raise AssertionError(kind)


def _responses(events: list[tuple[str, Any]], heard: Heard) -> None:  # noqa: PLR0912 - an event, a branch
    item: dict[str, Any] | None = None
    said, done, before = "", [], -1
    for name, event in events:
        kind = event["type"]
        assert name == kind, (name, kind)
        assert not heard.good, "something behind the end"
        assert heard.error is None, "something behind the error"
        if kind == "error":
            heard.error = event["error"]
            continue
        number = event["sequence_number"]
        # A keep-alive among a provider's own frames, which are numbered, has no number to itself.
        assert number == before + 1 or (number == before and kind == "response.in_progress"), (kind, number, before)
        before = number
        if "response" in event:
            heard.ids.add(event["response"]["id"])
            heard.models.add(event["response"]["model"])
        match kind:
            case "response.created":
                assert before == 0
            case "response.in_progress":
                pass
            case "response.output_item.added":
                assert item is None, "an item inside another"
                assert event["output_index"] == len(done)
                item, said = event["item"], ""
            case "response.output_item.done":
                assert item is not None
                assert (event["item"]["id"], event["item"]["type"]) == (item["id"], item["type"])
                assert _said(event["item"]) == said
                done.append(event["item"])
                if item["type"] == "function_call":
                    _take_item(event["item"], heard)
                item = None
            case "response.completed" | "response.incomplete":
                assert item is None, "the end inside an item"
                assert event["response"]["output"] == done, "the end tells of another answer"
                _take_end(event["response"], heard)
                heard.good = True
            case "response.failed":
                heard.error = event["response"]["error"]
                assert heard.error
            case _:
                assert item is not None, kind
                assert (event["item_id"], event["output_index"]) == (item["id"], len(done))
                if kind.endswith(".delta"):
                    said += event["delta"]
                    if kind == "response.output_text.delta":
                        heard.text += event["delta"]
                    elif "reasoning" in kind:
                        heard.reasoning += event["delta"]


def _said(item: dict[str, Any]) -> str:
    if item["type"] == "function_call":
        return str(item["arguments"])
    return "".join(part["text"] for part in (*item.get("content", ()), *item.get("summary", ())))


def _take_item(item: dict[str, Any], heard: Heard) -> None:
    if item["type"] == "function_call":
        heard.calls.append(_call(item["call_id"], item["name"], item["arguments"]))
    elif item["type"] == "message":
        heard.text += _said(item)


def _take_end(response: dict[str, Any], heard: Heard) -> None:
    details = response.get("incomplete_details") or {}
    reason = details.get("reason", "")
    cut = reason if reason in {"", "content_filter"} else "length"  # for whatever reason: it is not all of it
    assert response["status"] == ("incomplete" if cut else "completed"), response["status"]
    heard.finish = cut or ("tool_calls" if heard.calls else "stop")
    heard.usage = (response["usage"]["input_tokens"], response["usage"]["output_tokens"])
