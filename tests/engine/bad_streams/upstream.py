"""What a provider of each dialect puts on the wire, word by word: the scripts of the cases, played at a fake flight.

The frames are the shapes of facts/providers.md 6 and 12.10, made without our encoders, which would prove our own errors
right. `serves` is a well provider: it answers whole, and goes on with a broken answer as it is told to.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from hermes_router.core.catalog import DialectName
from hermes_router.core.errors import NetworkDown, Truncated, Unreachable, UpstreamError

from ...fakes import JSON, SSE, Flight

ANSWER = (
    "The mill by the river has stood empty for forty years.\n"
    "- Its wheel is stuck,\n- its roof is gone,\n"
    "and in the summer children swim below the weir."
)
"""What every model of these cases has to say, whole."""
HALF = ANSWER[:90]
"""What is out when a model breaks off: in the middle of a word, with enough before it for an anchor."""
THOUGHT = "They ask about the mill."
CALL = ("weather", '{"city":"Ulm","days":[1,2]}')
USAGE = (11, 40)
"""What every provider reports for itself, prompt and completion, where it comes to that."""
_BEFORE = 400  # characters that an anchor has at most
_BEAT_S = 1.0  # in which silence is counted, and comments come


class Writer:
    """The frames of one answer in Chat; `model` says who answers."""

    finishes: ClassVar[dict[str, str]] = {}

    def __init__(self, model: str) -> None:
        self.model = model

    def frame(self, value: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        base = {"id": "up-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": self.model}
        return self.frame(base | {"choices": [choice]})

    def start(self) -> bytes:
        return self.chunk({"role": "assistant", "content": ""})

    def think(self, text: str) -> bytes:
        return self.chunk({"reasoning_content": text})

    def say(self, text: str) -> bytes:
        return self.chunk({"content": text})

    def begin_call(self, number: int, name: str) -> bytes:
        call = {"index": number, "id": f"call_{number}", "type": "function"}
        return self.chunk({"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})

    def argue(self, number: int, piece: str) -> bytes:
        return self.chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})

    def end_call(self, number: int) -> bytes:
        return b""

    def close(self) -> bytes:
        return b""

    def finish(self, reason: str) -> bytes:
        return self.chunk({}, self.finishes.get(reason, reason))

    def done(self) -> bytes:
        prompt, completion = USAGE
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        base = {"id": "up-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": self.model}
        return self.frame(base | {"choices": [], "usage": usage}) + b"data: [DONE]\n\n"

    def whole(self, text: str | None, reason: str = "stop") -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        return {
            "id": "up-1", "object": "chat.completion", "created": 1_790_000_000, "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finishes.get(reason, reason)}],
            "usage": {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": sum(USAGE)},
        }  # fmt: skip


class MessagesWriter(Writer):
    """The same in Messages: blocks open and close by themselves."""

    finishes: ClassVar[dict[str, str]] = {
        "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal",
    }  # fmt: skip

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.blocks = 0
        self.kind = ""

    def frame(self, value: dict[str, Any]) -> bytes:
        return b"event: " + str(value["type"]).encode() + b"\ndata: " + json.dumps(value).encode() + b"\n\n"

    def start(self) -> bytes:
        message = {
            "id": "msg_up", "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": USAGE[0], "output_tokens": 1},
        }  # fmt: skip
        return self.frame({"type": "message_start", "message": message})

    def close(self) -> bytes:
        if not self.kind:
            return b""
        self.kind = ""
        return self.frame({"type": "content_block_stop", "index": self.blocks - 1})

    def open(self, kind: str, block: dict[str, Any]) -> bytes:
        before = self.close()
        self.kind = kind
        self.blocks += 1
        return before + self.frame({"type": "content_block_start", "index": self.blocks - 1, "content_block": block})

    def delta(self, **delta: Any) -> bytes:
        return self.frame({"type": "content_block_delta", "index": self.blocks - 1, "delta": delta})

    def think(self, text: str) -> bytes:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        before = b"" if self.kind == "thinking" else self.open("thinking", block)
        return before + self.delta(type="thinking_delta", thinking=text)

    def say(self, text: str) -> bytes:
        before = b"" if self.kind == "text" else self.open("text", {"type": "text", "text": ""})
        return before + self.delta(type="text_delta", text=text)

    def begin_call(self, number: int, name: str) -> bytes:
        return self.open("call", {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}})

    def argue(self, number: int, piece: str) -> bytes:
        return self.delta(type="input_json_delta", partial_json=piece)

    def end_call(self, number: int) -> bytes:
        return self.close()

    def finish(self, reason: str) -> bytes:
        said = {"stop_reason": self.finishes.get(reason, reason), "stop_sequence": None}
        usage = {"output_tokens": USAGE[1]}
        return self.close() + self.frame({"type": "message_delta", "delta": said, "usage": usage})

    def done(self) -> bytes:
        return self.frame({"type": "message_stop"})

    def whole(self, text: str | None, reason: str = "stop") -> dict[str, Any]:
        return {
            "id": "msg_up", "type": "message", "role": "assistant", "model": self.model,
            "content": [{"type": "text", "text": text}] if text is not None else [],
            "stop_reason": self.finishes.get(reason, reason), "stop_sequence": None,
            "usage": {"input_tokens": USAGE[0], "output_tokens": USAGE[1]},
        }  # fmt: skip


class ResponsesWriter(Writer):
    """The same in Responses: items open and close by themselves, events are numbered."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.number = 0
        self.items: list[dict[str, Any]] = []
        self.kind = ""
        self.text = ""

    def frame(self, value: dict[str, Any]) -> bytes:
        numbered = {"type": value["type"], "sequence_number": self.number, **value}
        self.number += 1
        return b"event: " + str(value["type"]).encode() + b"\ndata: " + json.dumps(numbered).encode() + b"\n\n"

    def response(self, status: str, **more: Any) -> dict[str, Any]:
        return {
            "id": "resp_up", "object": "response", "created_at": 1_790_000_000, "status": status, "model": self.model,
            "output": [], "error": None, "incomplete_details": None, "usage": None, **more,
        }  # fmt: skip

    def start(self) -> bytes:
        kinds = ("response.created", "response.in_progress")
        return b"".join(self.frame({"type": kind, "response": self.response("in_progress")}) for kind in kinds)

    @property
    def place(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    def open(self, kind: str, item: dict[str, Any]) -> bytes:
        before = self.close()
        self.kind, self.text = kind, ""
        self.items.append({"id": f"{kind}_{len(self.items)}", "status": "in_progress", **item})
        added = {"type": "response.output_item.added", "output_index": len(self.items) - 1, "item": self.items[-1]}
        return before + self.frame(added)

    def close(self, status: str = "completed") -> bytes:
        kind, self.kind = self.kind, ""
        if not kind:
            return b""
        out, item = b"", {**self.items[-1], "status": status}
        if kind == "msg":
            part = {"type": "output_text", "text": self.text, "annotations": []}
            where = {**self.place, "content_index": 0}
            out += self.frame({"type": "response.output_text.done", **where, "text": self.text})
            out += self.frame({"type": "response.content_part.done", **where, "part": part})
            item["content"] = [part]
        elif kind == "rs":
            part = {"type": "summary_text", "text": self.text}
            where = {**self.place, "summary_index": 0}
            out += self.frame({"type": "response.reasoning_summary_text.done", **where, "text": self.text})
            out += self.frame({"type": "response.reasoning_summary_part.done", **where, "part": part})
            item["summary"] = [part]
        else:
            out += self.frame({"type": "response.function_call_arguments.done", **self.place, "arguments": self.text})
            item["arguments"] = self.text
        self.items[-1] = item
        done = {"type": "response.output_item.done", "output_index": len(self.items) - 1, "item": item}
        return out + self.frame(done)

    def think(self, text: str) -> bytes:
        out = b""
        if self.kind != "rs":
            out = self.open("rs", {"type": "reasoning", "summary": []})
            part = {"type": "summary_text", "text": ""}
            out += self.frame(
                {"type": "response.reasoning_summary_part.added", **self.place, "summary_index": 0, "part": part}
            )
        self.text += text
        kind = "response.reasoning_summary_text.delta"
        return out + self.frame({"type": kind, **self.place, "summary_index": 0, "delta": text})

    def say(self, text: str) -> bytes:
        out = b""
        if self.kind != "msg":
            out = self.open("msg", {"type": "message", "role": "assistant", "content": []})
            part = {"type": "output_text", "text": "", "annotations": []}
            out += self.frame({"type": "response.content_part.added", **self.place, "content_index": 0, "part": part})
        self.text += text
        kind = "response.output_text.delta"
        return out + self.frame({"type": kind, **self.place, "content_index": 0, "delta": text})

    def begin_call(self, number: int, name: str) -> bytes:
        return self.open("fc", {"type": "function_call", "call_id": f"call_{number}", "name": name, "arguments": ""})

    def argue(self, number: int, piece: str) -> bytes:
        self.text += piece
        return self.frame({"type": "response.function_call_arguments.delta", **self.place, "delta": piece})

    def end_call(self, number: int) -> bytes:
        return self.close()

    def finish(self, reason: str) -> bytes:
        prompt, completion = USAGE
        usage = {"input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion}
        cut = {"length": "max_output_tokens", "stop": "", "tool_calls": ""}.get(reason, reason)
        if cut:
            before = self.close("incomplete")
            more = {"output": self.items, "usage": usage, "incomplete_details": {"reason": cut}}
            return before + self.frame({"type": "response.incomplete", "response": self.response("incomplete", **more)})
        before = self.close()
        ended = self.response("completed", output=self.items, usage=usage)
        return before + self.frame({"type": "response.completed", "response": ended})

    def done(self) -> bytes:
        return b""

    def whole(self, text: str | None, reason: str = "stop") -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"id": "msg_0", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        cut = {"length": "max_output_tokens", "stop": ""}.get(reason, reason)
        usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1], "total_tokens": sum(USAGE)}
        return self.response(
            "incomplete" if cut else "completed",
            output=[item] if text is not None else [],
            usage=usage,
            incomplete_details={"reason": cut} if cut else None,
        )


WRITERS: dict[DialectName, Callable[[str], Writer]] = {
    "openai_chat": Writer,
    "anthropic_messages": MessagesWriter,
    "openai_responses": ResponsesWriter,
}


def _text(turn: dict[str, Any]) -> str:
    """The text of a turn in any dialect."""
    content = turn.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in content)


def told(body: dict[str, Any]) -> tuple[str, str]:
    """How a request asks to go on with an answer: ("prefill", text), ("anchor", anchor), or ("", "")."""
    turns = [turn for turn in body.get("messages") or body["input"] if "role" in turn]
    last = turns[-1]
    if last["role"] == "assistant":
        return "prefill", _text(last)
    if len(turns) > 1 and turns[-2]["role"] == "assistant":
        said, order = _text(turns[-2]).rstrip(), _text(last)
        for length in range(min(len(said), _BEFORE), 7, -1):  # the anchor stands in the order, word for word
            if said[-length:] in order:
                return "anchor", said[-length:]
    return "", ""


Pass = Callable[[float], Awaitable[None]]
"""Lets so many seconds go by."""


class Answered:
    """A flight that is being answered: an aborted one is silent, and it knows whether its head is out."""

    def __init__(self, flight: Flight, bite: int) -> None:
        self._bite = bite
        self.request = flight.request
        self.headed = False
        self.over = False
        self._flight = flight

    @property
    def aborted(self) -> bool:
        return self._flight.aborted

    def head(self, status: int = 200, headers: Mapping[str, str] = SSE) -> "Answered":
        if not self.headed:
            self.headed = True
            self._flight.head(status, headers)
        return self

    def data(self, *chunks: bytes) -> "Answered":
        for chunk in chunks:
            bite = self._bite or max(1, len(chunk))
            self._flight.data(*(chunk[at : at + bite] for at in range(0, len(chunk), bite)))
        return self

    def end(self) -> None:
        self.over = True
        self._flight.end()

    def fail(self, error: UpstreamError) -> None:
        self.over = True
        self._flight.fail(error)

    def answer(self, status: int, body: Any, headers: Mapping[str, str] = JSON) -> None:
        self.head(status, headers).data(body if isinstance(body, bytes) else json.dumps(body).encode()).end()


class Actor:
    """One provider's target, and the scripts that it plays, one for each time that it is asked; the last for ever.

    A script is a list of words, each of which is written at once: a frame a read, or with `bite` so many bytes.
    """

    def __init__(self, dialect: DialectName, model: str, scripts: list[list[str]], *, bite: int = 0) -> None:
        self.bite = bite
        self.dialect = dialect
        self.model = model
        self.scripts = scripts
        self.asked = 0
        self.answers: list[Answered] = []
        self.orders: list[str] = []  # how it was asked each time: anew "", "prefill", "anchor"

    async def play(self, request: Flight, elapse: Pass) -> None:
        """Answer one request."""
        flight = Answered(request, self.bite)
        self.answers.append(flight)
        script = self.scripts[min(self.asked, len(self.scripts) - 1)]
        self.asked += 1
        body = json.loads(flight.request.body)
        by, shown = told(body)
        self.orders.append(by)
        writer = WRITERS[self.dialect](self.model)
        for line in script:
            for said in line.split(" & "):  # these come in one read
                word, _, rest = said.partition(" ")
                if word == "wait":
                    left_s = float(rest)
                    while left_s > 0 and not flight.aborted:
                        await elapse(min(left_s, _BEAT_S))
                        left_s -= _BEAT_S
                elif word == "for-ever":
                    flight.head()
                    while not flight.aborted:
                        flight.data(*_written(rest, "", writer, by, shown))
                        await elapse(_BEAT_S)
                elif word == "serves":
                    _serve(writer, flight, by, shown, stream=bool(body.get("stream")))
                elif not flight.aborted and not _end(word, rest, writer, flight):
                    flight.head().data(*_written(word, rest, writer, by, shown))
            await elapse(0.0)


def _end(word: str, rest: str, writer: Writer, flight: "Answered") -> bool:
    """What ends an answer, or is all of it; whether it was such a word."""
    match word:
        case "status":
            status, _, said = rest.partition(" ")
            flight.answer(int(status), said.encode())
        case "whole":
            flight.answer(200, rest.encode() if rest.startswith("{") else writer.whole(*_given(rest)))
        case "part":  # of a whole answer
            flight.head(200, JSON).data(rest.encode())
        case "page":
            flight.answer(200, b"<html><body>Welcome</body></html>", {"content-type": "text/html"})
        case "refused":
            flight.fail(Unreachable("connection refused"))
        case "unheard":
            error = Unreachable("the connection ended before the answer began")
            error.sent = True
            flight.fail(error)
        case "offline":
            flight.fail(NetworkDown("no route to host"))
        case "end":
            flight.head().end()
        case "cut":
            flight.fail(Truncated("the connection ended within the body", status=200))
        case _:
            return False
    return True


def _serve(writer: Writer, flight: "Answered", by: str, shown: str, *, stream: bool) -> None:
    """A whole and good answer; the rest of one that broke off, as it was told."""
    if not stream:
        flight.answer(200, writer.whole(ANSWER))
        return
    text = obeying(by, shown)
    flight.head().data(writer.start(), writer.say(text[:30]), writer.say(text[30:]) if text[30:] else b"")
    flight.data(writer.finish("stop"), writer.done()).end()


def obeying(by: str, shown: str) -> str:
    """What a model says that does as it was told: the whole answer, or the rest of it behind what was shown."""
    if not by:
        return ANSWER
    assert shown in ANSWER, shown
    at = ANSWER.index(shown)
    return ANSWER[at:] if by == "anchor" else ANSWER[at + len(shown) :]


def _given(rest: str) -> tuple[str | None, str]:
    """The text and the finish reason of a whole answer: `whole`, `whole TEXT`, `whole TEXT|REASON`."""
    text, _, reason = rest.partition("|")
    named = {"": ANSWER, "nothing": None, "blank": " \n"}
    return named.get(text, text), reason or "stop"


def _written(word: str, rest: str, writer: Writer, by: str, shown: str) -> list[bytes]:  # noqa: PLR0912 - a word, a branch
    """The frames that a word stands for. Raises ValueError for one that is none."""
    match word:
        case "head":
            return []
        case "start":
            return [writer.start()]
        case "think":
            return [writer.think(rest or THOUGHT)]
        case "say":
            return [writer.say(rest.replace("\\n", "\n"))]
        case "half":
            return [writer.say(HALF[:20]), writer.say(HALF[20:])]
        case "answer":
            return [writer.say(ANSWER)]
        case "up-to":  # so many characters of it
            return [writer.say(ANSWER[: int(rest)])]
        case "obeys":  # the rest of the answer, behind what is given here
            return [writer.say(rest.replace("\\n", "\n") + obeying(by, shown))]
        case "repeats":  # so many characters of what it was told to begin with
            return [writer.say(obeying(by, shown)[: int(rest)])]
        case "adds":  # so many new characters
            return [writer.say(obeying(by, shown)[: (len(shown) if by == "anchor" else 0) + int(rest)])]
        case "echoes":
            return [writer.say(shown + obeying(by, shown))]
        case "call":
            number = int(rest or "0")
            name, arguments = CALL
            begun = writer.begin_call(number, name)
            pieces = [writer.argue(number, arguments[:10]), writer.argue(number, arguments[10:])]
            return [begun, *pieces, writer.end_call(number)]
        case "half-call":
            number = int(rest or "0")
            return [writer.begin_call(number, CALL[0]), writer.argue(number, CALL[1][:14])]
        case "rest":
            return [writer.say(ANSWER[len(HALF) :])]
        case "close":
            return [writer.close()]
        case "finish":
            return [writer.finish(rest or "stop")]
        case "done":
            return [writer.done()]
        case "frame":
            return [writer.frame(json.loads(rest))]
        case "data":
            return [b"data: " + rest.encode() + b"\n\n"]
        case "event":
            name, _, data = rest.partition(" ")
            return [b"event: %b\ndata: %b\n\n" % (name.encode(), data.encode())]
        case "raw":
            return [rest.encode("latin-1").decode("unicode_escape").encode("latin-1")]
        case "comment":
            return [b": keep-alive\n\n"]
        case "ping":
            return [b'event: ping\ndata: {"type":"ping"}\n\n']
    raise ValueError(word)
