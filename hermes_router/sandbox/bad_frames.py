"""Faults inside a stream (facts/providers.md section 6): frames that are wrong, missing or doubled.

Owns edits of a good list of frames, and of a unary completion where the same fault exists there. Each function
makes one `Behaviour`, for whichever dialect comes; Chat's edits are here, the others' in `bad_events`. Nothing is sent
from here.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from hermes_router.sandbox import bad_events
from hermes_router.sandbox.bad_events import spoken, spoken_whole
from hermes_router.sandbox.faults import Behaviour, Delivery, Edit, EditWhole
from hermes_router.sandbox.frames import Hand, encode
from hermes_router.sandbox.values import CONTENT_KINDS, Frame

_HALF = b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","con'
Whole = Callable[[dict[str, Any]], dict[str, Any]]


def _edits(chat: Edit, named: Edit) -> Edit:
    return lambda frames: (chat if spoken(frames) == "chat" else named)(frames)


def _wholes(chat: Whole, named: Whole) -> EditWhole:
    return lambda whole: (chat if spoken_whole(whole) == "chat" else named)(whole)


def _with_choice(frame: Frame, **fields: Any) -> Frame:
    data = dict(frame.data or {})
    data["choices"] = [{**choice, **fields} for choice in data.get("choices", ())]
    return Frame(frame.kind, data)


def _whole_choice(whole: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**whole, "choices": [{**choice, **fields} for choice in whole["choices"]]}


def _kept(frames: Sequence[Frame], after: int) -> list[Frame]:
    """The frames up to and with the nth chunk of content."""
    kept: list[Frame] = []
    seen = 0
    for frame in frames:
        if frame.kind in CONTENT_KINDS and (seen := seen + 1) > after:
            break
        if frame.kind in {"finish", "usage", "done"}:
            break
        kept.append(frame)
    return kept


def finish_reason(reason: str | None) -> Behaviour:
    """Any finish reason: `sensitive`, `network_error`, `model_length`, null; also after tool calls."""

    def edit(frames: list[Frame]) -> list[Frame]:
        return [_with_choice(frame, finish_reason=reason) if frame.kind == "finish" else frame for frame in frames]

    return Behaviour(
        f"finish {reason}", edit=_edits(edit, lambda frames: bad_events.finish(frames, reason)),
        whole=_wholes(lambda whole: _whole_choice(whole, finish_reason=reason),
                      lambda whole: bad_events.finish_whole(whole, reason)),
    )  # fmt: skip


def error_chunk(after: int = 0, form: Literal["finish", "x_groq", "bare", "event"] = "finish") -> Behaviour:
    """An error inside a 200 stream.

    `finish` is OpenRouter's `finish_reason: "error"`, `x_groq` Groq's `x_groq.error`, `bare` empty choices with a
    top-level error, `event` an `event: error` line. In Messages all are `event: error`, `bare` one without a name; in
    Responses `finish` and `x_groq` are `response.failed`, `event` and `bare` error events, nested and flat.
    """
    error = {"message": "Provider disconnected", "code": 502}

    def named(frames: list[Frame]) -> list[Frame]:
        return [*_kept(frames, after), *bad_events.failure(frames, form)]

    def edit(frames: list[Frame]) -> list[Frame]:
        sample = next((dict(frame.data) for frame in frames if frame.data), {})
        sample.pop("x_groq", None)
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        if form == "event":
            bad = Frame("error", raw=b"event: error\ndata: " + json.dumps({"error": error}).encode() + b"\n\n")
        elif form == "finish":
            bad = Frame("error", {**sample, "error": error, "choices": [choice]})
        elif form == "x_groq":
            groq = {"id": "req_sandbox", "error": error["message"]}
            bad = Frame("error", {**sample, "choices": [choice | {"finish_reason": None}], "x_groq": groq})
        else:
            bad = Frame("error", {"id": sample.get("id"), "choices": [], "error": error})
        return [*_kept(frames, after), bad, *(frame for frame in frames if frame.kind == "done")]

    return Behaviour(f"error chunk {form}", edit=_edits(edit, named),
                     whole=_wholes(lambda _whole: {"error": error}, bad_events.failed_whole))  # fmt: skip


def no_finish() -> Behaviour:
    """No finish reason anywhere, yet a proper `[DONE]`."""
    return Behaviour("no finish", edit=lambda frames: [frame for frame in frames if frame.kind != "finish"],
                     whole=_wholes(lambda whole: _whole_choice(whole, finish_reason=None),
                                   lambda whole: bad_events.finish_whole(whole, None)))  # fmt: skip


def no_done() -> Behaviour:
    """A finish reason, and no `[DONE]`."""
    return Behaviour("no done", edit=lambda frames: [frame for frame in frames if frame.kind != "done"])


def broken_frame(after: int = 1) -> Behaviour:
    """A frame whose JSON is cut in the middle; the stream then goes on as if nothing had been."""

    def edit(frames: list[Frame]) -> list[Frame]:
        kept = _kept(frames, after)
        return [*kept, Frame("error", raw=bad_events.cut_text(spoken(frames)) + b"\n\n"), *frames[len(kept) :]]

    return Behaviour("broken frame", edit=edit, whole=lambda _whole: _HALF)


def half_utf8(after: int = 1) -> Behaviour:
    """The stream ends inside a multi-byte character."""

    def edit(frames: list[Frame]) -> list[Frame]:
        return [*_kept(frames, after), Frame("error", raw=bad_events.cut_text(spoken(frames)) + b"\xc3")]

    return Behaviour("half utf-8", edit=edit,
                     whole=lambda _whole: _HALF + b'tent":"caf\xc3',
                     delivery=Delivery(ending="abrupt", ends_after=10**9))  # fmt: skip


def invalid_utf8(after: int = 1) -> Behaviour:
    """A whole frame with a byte that is no UTF-8 in its text."""

    def edit(frames: list[Frame]) -> list[Frame]:
        kept, speech = _kept(frames, after), spoken(frames)
        bad = bad_events.cut_text(speech) + b"\xe9" + bad_events.closed_text(speech)
        return [*kept, Frame("error", raw=bad), *frames[len(kept) :]]

    return Behaviour("invalid utf-8", edit=edit, whole=lambda _whole: _HALF + b'tent":"caf\xe9"}}]}')


def usage_repeated() -> Behaviour:
    """Usage on every chunk, growing (vLLM hosts, NVIDIA)."""

    def edit(frames: list[Frame]) -> list[Frame]:
        out = []
        for number, frame in enumerate(frames):
            if frame.data is not None and not frame.data.get("usage"):
                usage = {"prompt_tokens": 7, "completion_tokens": number, "total_tokens": 7 + number}
                frame = Frame(frame.kind, {**frame.data, "usage": usage})  # noqa: PLW2901
            out.append(frame)
        return out

    return Behaviour("usage repeated", edit=_edits(edit, bad_events.usage_repeated))


def no_usage() -> Behaviour:
    """No usage anywhere."""

    def edit(frames: list[Frame]) -> list[Frame]:
        kept = [frame for frame in frames if frame.kind != "usage"]
        return [Frame(f.kind, {k: v for k, v in f.data.items() if k not in {"usage", "x_groq"}}) if f.data else f
                for f in kept]  # fmt: skip

    return Behaviour(
        "no usage",
        edit=_edits(edit, bad_events.no_usage),
        whole=lambda whole: {k: v for k, v in whole.items() if k != "usage"},
    )


def role_repeated() -> Behaviour:
    """The role in every delta (Chat)."""

    def edit(frames: list[Frame]) -> list[Frame]:
        return [
            _with_choice(frame, delta={"role": "assistant", **frame.data["choices"][0]["delta"]})
            if frame.data and frame.kind in CONTENT_KINDS
            else frame
            for frame in frames
        ]

    return Behaviour("role repeated", edit=_edits(edit, lambda frames: frames))


def odd_lines(newline: bytes = b"\r\n", space: bool = False) -> Behaviour:
    """Other line ends, and no space behind `data:` and `event:`."""

    def edit(frames: list[Frame]) -> list[Frame]:
        lines = [encode(frame, Hand(spaced=True)) for frame in frames]
        if not space:
            lines = [line.replace(b"data: ", b"data:", 1).replace(b"event: ", b"event:", 1) for line in lines]
        return [Frame(frame.kind, raw=line.replace(b"\n", newline))
                for frame, line in zip(frames, lines, strict=True)]  # fmt: skip

    return Behaviour("odd lines", edit=edit)


CallOddity = Literal["no_index", "zero_index", "no_id", "empty_id", "repeated_id", "object_arguments", "finish_stop"]


def odd_calls(oddity: CallOddity) -> Behaviour:
    """Tool-call deltas as careless hosts send them; arguments as an object are those of a call sent whole."""

    def change(delta: dict[str, Any], last: dict[str, str]) -> dict[str, Any]:
        delta = {**delta, "function": dict(delta["function"])}
        last["id"] = delta.get("id") or last.get("id", "")
        match oddity:
            case "no_index":
                delta.pop("index", None)
            case "zero_index":
                delta["index"] = 0
            case "no_id":
                delta.pop("id", None)
            case "empty_id":
                delta["id"] = ""
            case "repeated_id":
                delta["id"] = last["id"]
            case _:
                pass
        return delta

    def edit(frames: list[Frame]) -> list[Frame]:
        last: dict[str, str] = {}
        frames = _merged(frames) if oddity == "object_arguments" else frames
        out: list[Frame] = []
        for frame in frames:
            if frame.kind == "call" and frame.data:
                deltas = [change(delta, last) for delta in frame.data["choices"][0]["delta"]["tool_calls"]]
                out.append(_with_choice(frame, delta={"tool_calls": deltas}))
            elif frame.kind == "finish" and oddity == "finish_stop":
                out.append(_with_choice(frame, finish_reason="stop"))
            else:
                out.append(frame)
        return out

    def whole(answer: dict[str, Any]) -> dict[str, Any]:
        choice = answer["choices"][0]
        message = dict(choice["message"])
        if message.get("tool_calls"):
            message["tool_calls"] = [change(call, {}) for call in message["tool_calls"]]
        if oddity == "object_arguments":
            for call in message.get("tool_calls", ()):
                call["function"]["arguments"] = json.loads(call["function"]["arguments"] or "{}")
        finish = "stop" if oddity == "finish_stop" else choice["finish_reason"]
        return _whole_choice(answer, message=message, finish_reason=finish)

    return Behaviour(
        f"odd calls {oddity}", edit=_edits(edit, lambda frames: bad_events.odd_calls(frames, oddity)),
        whole=_wholes(whole, lambda answer: bad_events.odd_calls_whole(answer, oddity)),
    )  # fmt: skip


def empty_output() -> Behaviour:
    """A Responses stream whose last event lists no items."""
    return Behaviour("empty output", edit=bad_events.empty_output)


def unknown_events() -> Behaviour:
    """Events and fields that nobody knows, between all others (Messages, Responses)."""
    return Behaviour("unknown events", edit=bad_events.unknown_events)


def _merged(frames: list[Frame]) -> list[Frame]:
    """Each call in one delta, its arguments an object."""
    out: list[Frame] = []
    held: list[dict[str, Any]] = []
    for frame in frames:
        if frame.kind == "call" and frame.data:
            delta = frame.data["choices"][0]["delta"]["tool_calls"][0]
            if "id" in delta:
                held.append({**delta, "function": dict(delta["function"])})
                out.append(_with_choice(frame, delta={"tool_calls": [held[-1]]}))
            else:
                held[-1]["function"]["arguments"] += delta["function"]["arguments"]
        else:
            out.append(frame)
    for call in held:
        call["function"]["arguments"] = json.loads(call["function"]["arguments"] or "{}")
    return out
