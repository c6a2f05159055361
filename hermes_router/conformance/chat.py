"""Chat Completions: its bodies, its chunks and its errors, as the official SDKs read them.

Owns the dialect's shapes and the grammar of its stream. It must never know the checks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hermes_router.conformance.answer import Answer, Call, Kind, Usage, Wrong
from hermes_router.conformance.frames import DONE, Frame
from hermes_router.conformance.shapes import (
    anything,
    count,
    each,
    faults,
    filled,
    json_object_text,
    maybe,
    members,
    one_of,
    shown,
    tagged,
    text,
)
from hermes_router.conformance.tongue import Body, as_object, objects, tokens, words

FINISHES: Final = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "calls",
    "function_call": "calls",
    "content_filter": "refusal",
}
THOUGHTS: Final = ("reasoning_content", "reasoning")
"""Where vendors put what a model thought; the dialect itself has no place for it."""

USAGE: Final = members({"prompt_tokens": count, "completion_tokens": count, "total_tokens": count})
CALL: Final = tagged(
    {
        "function": members({"id": filled, "function": members({"name": filled, "arguments": json_object_text})}),
        "custom": members({"id": filled, "custom": members({"name": filled, "input": text})}),
    },
    others=False,
)
MESSAGE: Final = members(
    {"role": one_of("assistant"), "content": maybe(text)},
    {"tool_calls": maybe(each(CALL)), "refusal": maybe(text), **dict.fromkeys(THOUGHTS, maybe(text))},
)
ENVELOPE: Final = members(
    {
        "id": filled,
        "object": one_of("chat.completion"),
        "created": count,
        "model": filled,
        "choices": each(members({"index": count, "finish_reason": one_of(*FINISHES), "message": anything}), least=1),
    }
)
CHUNK: Final = members(
    {
        "id": filled,
        "object": one_of("chat.completion.chunk"),
        "created": count,
        "model": text,
        "choices": each(members({"index": count, "delta": anything}, {"finish_reason": maybe(one_of(*FINISHES))})),
    },
)
DELTA: Final = members(
    {},
    {
        "role": maybe(one_of("assistant")),
        "content": maybe(text),
        "refusal": maybe(text),
        "tool_calls": maybe(each(members({"index": count}))),
        **dict.fromkeys(THOUGHTS, maybe(text)),
    },
)
ERROR: Final = members(
    {"error": members({"message": filled, "type": filled}, {"param": maybe(text), "code": anything})}
)


class Chat:
    """The dialect of `/v1/chat/completions`."""

    name = "chat"
    path = "/chat/completions"

    def headers(self, key: str) -> dict[str, str]:
        """A bearer's key."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def ask(self, text: str, cap: int) -> Body:
        """One user turn. `max_tokens` is what every server of this dialect knows."""
        return {"messages": [{"role": "user", "content": text}], "max_tokens": cap}

    def history(self, body: Body) -> list[Any]:
        """The messages."""
        return list(body["messages"])

    def with_history(self, body: Body, turns: Sequence[Any]) -> Body:
        """Other messages."""
        return {**body, "messages": list(turns)}

    def results(self, answer: Answer, texts: Sequence[str]) -> list[Any]:
        """One message of the role `tool` a call."""
        return [
            {"role": "tool", "tool_call_id": call.id, "content": said}
            for call, said in zip(answer.calls, texts, strict=True)
        ]

    def whole(self, body: Any) -> Answer:
        """Read a completion; its first choice is the answer."""
        body = as_object(body, "the answer")
        choices = objects(body.get("choices"))
        if not choices or not isinstance(choices[0].get("message"), dict):
            raise Wrong(f"an answer without choices[0].message: {shown(body, 200)}")
        found: list[tuple[Kind, str]] = [("envelope", why) for why in faults(ENVELOPE, body)]
        for at, choice in enumerate(choices):
            found += [("content", why) for why in faults(MESSAGE, choice.get("message"), f"choices[{at}].message")]
        found += [("usage", why) for why in _usage(body.get("usage"))]
        return _answer(body, choices[0]["message"], words(choices[0].get("finish_reason")), found)

    def stream(self, frames: Sequence[Frame]) -> Answer:
        """Read chunks up to `[DONE]`."""
        return _Reading(frames).answer()

    def error(self, body: Any) -> list[str]:
        """`{"error": {message, type, param, code}}`."""
        return faults(ERROR, body)


def _usage(usage: Any) -> list[str]:
    if found := faults(USAGE, usage, "usage"):
        return found
    adds_up = usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    return [] if adds_up else [f"usage.total_tokens is not prompt and completion: {shown(usage)}"]


def _answer(body: Mapping[str, Any], message: Mapping[str, Any], finish: str, found: list[tuple[Kind, str]]) -> Answer:
    usage = body.get("usage")
    return Answer(
        text=words(message.get("content")) or words(message.get("refusal")),
        finish=FINISHES.get(finish, ""),
        model=words(body.get("model")),
        calls=tuple(_call(one) for one in objects(message.get("tool_calls"))),
        thoughts=next((said for name in THOUGHTS if (said := words(message.get(name)))), ""),
        usage=None if faults(USAGE, usage) else _counted(usage),
        turn=({k: v for k, v in message.items() if k in {"role", "content", "tool_calls"}},),
        body=body,
        faults=tuple(found),
    )


def _counted(usage: Any) -> Usage:
    thought = tokens(usage, "completion_tokens_details", "reasoning_tokens")
    return Usage(usage["prompt_tokens"], usage["completion_tokens"], thought)


def _call(call: Mapping[str, Any]) -> Call:
    custom = call.get("type") == "custom"
    inner = call.get("custom" if custom else "function")
    inner = inner if isinstance(inner, dict) else {}
    said = words(inner.get("input" if custom else "arguments"))
    return Call(words(call.get("id")), words(inner.get("name")), said, custom=custom)


class _Reading:
    """One stream, added up as the SDK does it: strings grow, so what is said twice is a fault."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.faults: list[tuple[Kind, str]] = []
        self.message: dict[str, Any] = {"role": "assistant", "content": None}
        self.calls: list[dict[str, Any]] = []
        self.finish = ""
        self.spoken = False
        self.models: dict[str, None] = {}
        self.ids: dict[str, None] = {}
        self.usage: Any = None
        self.usage_at = -1
        chunks = self._chunks(frames)
        for at, chunk in enumerate(chunks):
            self._chunk(at, chunk)
        if not chunks:
            raise Wrong("a stream without a single chunk")
        self._ended(chunks)

    def answer(self) -> Answer:
        """What it came to."""
        if self.calls:
            self.message["tool_calls"] = self.calls
            for why in faults(each(CALL), self.calls, "tool_calls"):
                self._amiss("content", why)
        body = {"model": next(iter(self.models), ""), "usage": self.usage, "choices": [{"message": self.message}]}
        return _answer(body, self.message, self.finish, self.faults)

    def _amiss(self, kind: Kind, why: str) -> None:
        self.faults.append((kind, why))

    def _chunks(self, frames: Sequence[Frame]) -> list[Mapping[str, Any]]:
        ends = [at for at, frame in enumerate(frames) if frame.data == DONE]
        if not ends:
            self._amiss("grammar", "the stream ends without data: [DONE]")
        elif ends != [len(frames) - 1]:
            self._amiss("grammar", "something follows data: [DONE]")
        chunks = [as_object(frame.data, "a chunk") for frame in frames if frame.data != DONE]
        for chunk in chunks:
            if chunk.get("error"):
                raise Wrong(f"the stream ended in an error: {shown(chunk['error'], 200)}")
        return chunks

    def _chunk(self, at: int, chunk: Mapping[str, Any]) -> None:
        for why in faults(CHUNK, chunk, f"chunk {at}"):
            self._amiss("envelope", why)
        self.ids[words(chunk.get("id"))] = None
        if chunk.get("usage") is not None:
            self.usage, self.usage_at = chunk["usage"], at
        for choice in objects(chunk.get("choices")):
            delta = choice.get("delta")
            for why in faults(DELTA, delta, f"chunk {at}: choices[0].delta"):
                self._amiss("content", why)
            if choice.get("index") == 0 and isinstance(delta, dict):
                said = self._delta(at, delta)
                if said or choice.get("finish_reason"):
                    self.models[words(chunk.get("model"))] = None
            if choice.get("finish_reason"):
                if self.finish:
                    self._amiss("grammar", f"chunk {at} gives a second finish_reason")
                self.finish = words(choice["finish_reason"])

    def _delta(self, at: int, delta: Mapping[str, Any]) -> bool:
        """Add a delta; whether it said anything."""
        if delta.get("role"):
            if self.spoken:
                self._amiss("grammar", f"chunk {at} says the role again, which SDKs add up to 'assistantassistant'")
            self.spoken = True
        said = False
        for name in ("content", "refusal", *THOUGHTS):
            if piece := words(delta.get(name)):
                said = True
                self.message[name] = words(self.message.get(name)) + piece
        for call in objects(delta.get("tool_calls")):
            said = True
            self._call(at, call)
        if said and self.finish:
            self._amiss("grammar", f"chunk {at} brings content behind the finish_reason")
        return said

    def _call(self, at: int, delta: Mapping[str, Any]) -> None:
        index = delta.get("index")
        if not isinstance(index, int) or index < 0 or index > len(self.calls):
            if isinstance(index, int):
                self._amiss("grammar", f"chunk {at}: tool_calls index {index} where {len(self.calls)} is next")
            return  # one that is no number is told by the shape
        kind = "custom" if "custom" in delta else "function"
        inner = delta.get(kind)
        inner = inner if isinstance(inner, dict) else {}
        grows = "input" if kind == "custom" else "arguments"
        if index == len(self.calls):
            if missing := [name for name in ("id", "type") if not delta.get(name)]:
                self._amiss("content", f"chunk {at}: a call begins without its {' and '.join(missing)}")
            begun = {**delta, kind: {"name": inner.get("name"), grows: words(inner.get(grows))}}
            self.calls.append({name: value for name, value in begun.items() if name != "index"})
            return
        call = self.calls[index]
        if delta.get("id") or inner.get("name"):
            self._amiss("grammar", f"chunk {at} says the id or name of call {index} again, which SDKs add up")
        if index != len(self.calls) - 1:
            self._amiss("grammar", f"chunk {at} goes back to call {index} while call {len(self.calls) - 1} is open")
        if isinstance(call.get(kind), dict):
            call[kind][grows] = words(call[kind].get(grows)) + words(inner.get(grows))

    def _ended(self, chunks: Sequence[Mapping[str, Any]]) -> None:
        if len(self.ids) > 1:
            self._amiss("grammar", f"the id changes within the stream: {shown(list(self.ids))}")
        if len(self.models) > 1:
            self._amiss("grammar", f"the model changes within the stream: {shown(list(self.models))}")
        if not self.finish:
            self._amiss("grammar", "no chunk gives a finish_reason")
        if not self.spoken:
            self._amiss("grammar", "no chunk gives the role")
        if self.usage_at not in {-1, len(chunks) - 1}:
            self._amiss("grammar", "usage is not in the last chunk before [DONE]")
        for why in [] if self.usage is None else _usage(self.usage):
            self._amiss("usage", why)
