"""OpenAI's Responses: its objects, its items and its errors, as the official SDK reads them.

Owns the dialect's shapes. Its stream is `responses_stream`'s. It must never know the checks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hermes_router.conformance.answer import Answer, Call, Kind, Usage, Wrong
from hermes_router.conformance.chat import Chat
from hermes_router.conformance.frames import Frame
from hermes_router.conformance.shapes import (
    anything,
    count,
    each,
    either,
    faults,
    filled,
    flag,
    json_object_text,
    maybe,
    members,
    number,
    one_of,
    shown,
    tagged,
    text,
)
from hermes_router.conformance.tongue import Body, as_object, objects, tokens, words

_SAID: Final = one_of("in_progress", "completed", "incomplete")
USAGE: Final = members(
    {
        "input_tokens": count,
        "input_tokens_details": members({"cached_tokens": count}),
        "output_tokens": count,
        "output_tokens_details": members({"reasoning_tokens": count}),
        "total_tokens": count,
    }
)
PART: Final = tagged(
    {
        "output_text": members({"text": text, "annotations": each(tagged({}))}, {"logprobs": maybe(each(anything))}),
        "refusal": members({"refusal": text}),
    }
)
ITEM: Final = tagged(
    {
        "message": members({"id": filled, "role": one_of("assistant"), "status": _SAID, "content": each(PART)}),
        "reasoning": members(
            {"id": filled, "summary": each(members({"type": one_of("summary_text"), "text": text}))},
            {
                "content": maybe(each(members({"type": one_of("reasoning_text"), "text": text}))),
                "encrypted_content": maybe(text),
                "status": maybe(_SAID),
            },
        ),
        "function_call": members(
            {"id": filled, "call_id": filled, "name": filled, "arguments": json_object_text}, {"status": maybe(_SAID)}
        ),
        "custom_tool_call": members({"id": filled, "call_id": filled, "name": filled, "input": text}),
    }
)
_ALWAYS: Final = {
    "id": filled,
    "object": one_of("response"),
    "created_at": number,
    "model": filled,
    "output": each(anything),
    "parallel_tool_calls": flag,
    "tool_choice": either(filled, members({})),
    "tools": each(members({"type": filled})),
    "error": maybe(members({"code": filled, "message": text})),
    "incomplete_details": maybe(members({"reason": filled})),
    "instructions": anything,
    "metadata": maybe(members({})),
    "temperature": maybe(number),
    "top_p": maybe(number),
}
"""What the published description of the dialect calls required; the SDK reads the first eight without asking."""
ENVELOPE: Final = members(
    {**_ALWAYS, "status": one_of("completed", "incomplete", "failed", "cancelled")},
    {"previous_response_id": maybe(text), "max_output_tokens": maybe(count), "store": maybe(flag)},
)
BEGUN: Final = members({**_ALWAYS, "status": one_of("queued", "in_progress")})


class Responses:
    """The dialect of `/v1/responses`."""

    name = "responses"
    path = "/responses"

    def headers(self, key: str) -> dict[str, str]:
        """A bearer's key."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def ask(self, text: str, cap: int) -> Body:
        """One user turn; nothing is to be kept unless a check says so."""
        return {"input": [{"role": "user", "content": text}], "max_output_tokens": cap, "store": False}

    def history(self, body: Body) -> list[Any]:
        """The items of the input."""
        said = body["input"]
        return [{"role": "user", "content": said}] if isinstance(said, str) else list(said)

    def with_history(self, body: Body, turns: Sequence[Any]) -> Body:
        """Other items."""
        return {**body, "input": list(turns)}

    def results(self, answer: Answer, texts: Sequence[str]) -> list[Any]:
        """One output item a call."""
        return [
            {"type": f"{'custom_tool' if call.custom else 'function'}_call_output", "call_id": call.id, "output": said}
            for call, said in zip(answer.calls, texts, strict=True)
        ]

    def whole(self, body: Any) -> Answer:
        """Read a response object."""
        body = as_object(body, "the answer")
        if not isinstance(body.get("output"), list):
            raise Wrong(f"an answer without a list `output`: {shown(body, 200)}")
        if body.get("status") == "failed":
            raise Wrong(f"the response failed: {shown(body.get('error'), 200)}")
        return read(body, [("envelope", why) for why in faults(ENVELOPE, body)])

    def stream(self, frames: Sequence[Frame]) -> Answer:
        """Read events up to the response's end."""
        from hermes_router.conformance.responses_stream import Reading  # noqa: PLC0415 - it reads with our shapes

        return Reading(frames).answer()

    def error(self, body: Any) -> list[str]:
        """As Chat's."""
        return Chat().error(body)


def read(body: Mapping[str, Any], found: list[tuple[Kind, str]]) -> Answer:
    """A response object as an answer, with what was found amiss before and what is amiss with its items."""
    found = [*found, *(("content", why) for why in faults(each(ITEM), body.get("output"), "output"))]
    items = objects(body.get("output"))
    usage: Any = body.get("usage")
    found += [("usage", why) for why in _usage(usage)]
    calls = tuple(_call(item) for item in items if words(item.get("type")) in {"function_call", "custom_tool_call"})
    parts = [part for item in items if item.get("type") == "message" for part in objects(item.get("content"))]
    return Answer(
        text="".join(words(part.get("text")) or words(part.get("refusal")) for part in parts),
        finish=_finish(body, refused=any(part.get("type") == "refusal" for part in parts), calls=bool(calls)),
        model=words(body.get("model")),
        calls=calls,
        thoughts="".join(
            words(part.get("text"))
            for item in items
            if item.get("type") == "reasoning"
            for part in (*objects(item.get("summary")), *objects(item.get("content")))
        ),
        usage=_counted(usage),
        turn=tuple(items),
        body=body,
        faults=tuple(found),
    )


def _usage(usage: Any) -> list[str]:
    if found := faults(USAGE, usage, "usage"):
        return found
    adds_up = usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]
    return [] if adds_up else [f"usage.total_tokens is not input and output: {shown(usage, 200)}"]


def _counted(usage: Any) -> Usage | None:
    """The two counts that matter, though the details may be amiss."""
    if faults(members({"input_tokens": count, "output_tokens": count}), usage):
        return None
    thought = tokens(usage, "output_tokens_details", "reasoning_tokens")
    return Usage(usage["input_tokens"], usage["output_tokens"], thought)


def _finish(body: Mapping[str, Any], *, refused: bool, calls: bool) -> str:
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    match body.get("status"):
        case "completed":
            return "calls" if calls else "refusal" if refused else "stop"
        case "incomplete":
            return "refusal" if reason == "content_filter" else "length"
        case _:
            return ""


def _call(item: Mapping[str, Any]) -> Call:
    custom = item.get("type") == "custom_tool_call"
    said = words(item.get("input" if custom else "arguments"))
    return Call(words(item.get("call_id")), words(item.get("name")), said, custom=custom)
