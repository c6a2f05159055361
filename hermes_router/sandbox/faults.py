"""Everything that can go wrong with an answer, each as a named behaviour with parameters.

A behaviour replaces the whole answer (`early`), or changes the model's reply, the frames or the delivery.
Owns the type, the whole answers and the faults of delivery; those inside a stream are in `bad_frames`. It
sends nothing itself. Two handles are on every behaviour: `reached` is set once it took effect (a stall is
being stalled), `gate` releases what waits.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hermes_router.sandbox.refusals import ANTHROPIC, Sayings
from hermes_router.sandbox.values import CONTENT_KINDS, FakeModel, Frame, Hit, Refusal, Reply, WindowName

Ending = Literal["abrupt", "clean", "reset"]
Early = Callable[[Sayings, FakeModel, float], Refusal]
Edit = Callable[[list[Frame]], list[Frame]]
EditWhole = Callable[[dict[str, Any]], dict[str, Any] | bytes]
_NEVER = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the bytes of an answer travel.

    Attributes:
        ends_after: stop after so many chunks of content (0: after the head), `ending` says how: `abrupt` closes
            the connection inside the body, `reset` with a RST, `clean` ends the body as its framing allows.
        stalls_after: wait for the gate after so many chunks of content.
        mute: `head` never sends a byte until the gate opens; `reset` closes at once with a RST; `garbage`
            answers with something that is no HTTP.
        first_delay_s: sleep between the head and the first chunk of content.
        pace_s: sleep before each further one.
        gzip: the body is compressed whether or not the caller can take it.
        length_lie: added to the true Content-Length; the connection closes when the true body is out.
        unary: a whole JSON completion though a stream was asked for.
        repeat: once the frames are out, sends this forever, one for each opening of the gate.
    """

    ends_after: int | None = None
    ending: Ending = "clean"
    stalls_after: int | None = None
    mute: Literal["", "head", "reset", "garbage"] = ""
    first_delay_s: float = 0.0
    gated_first: bool = False
    pace_s: float = 0.0
    gzip: bool = False
    length_lie: int = 0
    unary: bool = False
    repeat: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Behaviour:
    """One way to answer. Made by the functions below; compares by identity.

    Attributes:
        early: the whole answer, before any rule is looked at.
        reply: changes what the model says.
        edit: changes the frames of a stream.
        whole: changes the unary completion; bytes go out as they are.
    """

    name: str
    early: Early | None = None
    reply: Callable[[Reply], Reply] | None = None
    edit: Edit | None = None
    whole: EditWhole | None = None
    delivery: Delivery = Delivery()
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)


def _whole(name: str, refusal: Refusal) -> Behaviour:
    return Behaviour(name, early=lambda _sayings, _model, _now: refusal)


# --- whole answers ------------------------------------------------------------------------------------


def ok() -> Behaviour:
    """The good answer; useful in a queue between faults."""
    return Behaviour("ok")


def status(code: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Any status; without a body, a plain error in the dialect's envelope."""
    if body is not None:
        return _whole(f"status {code}", Refusal(code, body, headers or {}))

    def early(sayings: Sayings, _model: FakeModel, _now: float) -> Refusal:
        said = sayings.other(code, f"sandbox says {code}")
        return dataclasses.replace(said, headers={**said.headers, **(headers or {})})

    return Behaviour(f"status {code}", early=early)


def rate_limited(window: WindowName = "rpm", limit: int = 30, wait_s: float = 20.0) -> Behaviour:
    """A 429 in the provider's own shape, whatever the counters say."""
    return Behaviour(
        f"rate limited {window}",
        early=lambda sayings, model, now: sayings.limited(Hit(window, limit, limit, 1, wait_s, now, model.id)),
    )


def too_large(limit: int = 8_000, requested: int = 9_321) -> Behaviour:
    """A request that the token window can never admit (Groq: 413)."""
    hit_wait = float("inf")
    return Behaviour(
        "too large",
        early=lambda sayings, model, now: sayings.limited(Hit("tpm", limit, 0, requested, hit_wait, now, model.id)),
    )


def overloaded() -> Behaviour:
    """No capacity, in the provider's own shape (a 429, a 503, NVIDIA's 400)."""
    return Behaviour("overloaded", early=lambda sayings, model, _now: sayings.overloaded(model.id))


def no_credit() -> Behaviour:
    """The account has no money, in the provider's own shape."""
    return Behaviour("no credit", early=lambda sayings, _model, _now: sayings.no_credit)


def bad_key() -> Behaviour:
    """A key that was good is refused."""
    return Behaviour("bad key", early=lambda sayings, _model, _now: sayings.bad_key)


def model_gone() -> Behaviour:
    """The model is retired: 404, 410, or Groq's 400."""
    return Behaviour("model gone", early=lambda sayings, model, _now: sayings.gone(model.id))


def context_overflow(asked: int = 200_000) -> Behaviour:
    """The prompt is too long, in the provider's own words."""
    return Behaviour("context overflow", early=lambda sayings, model, _now: sayings.too_long(model.context, asked))


def html_200() -> Behaviour:
    """A gateway's login page with status 200."""
    page = b"<!doctype html><html><head><title>One moment</title></head><body>Checking your browser</body></html>"
    return _whole("html 200", Refusal(200, page, content_type="text/html; charset=utf-8"))


def json_200_error(message: str = "Internal error", code: int | str = 500) -> Behaviour:
    """An error object in a JSON answer with status 200, stream or not."""

    def early(sayings: Sayings, _model: FakeModel, _now: float) -> Refusal:
        return sayings.other(200, message) if sayings is ANTHROPIC else Refusal(
            200, {"error": {"message": message, "code": code}})  # fmt: skip

    return Behaviour("json 200 error", early=early)


def redirect(location: str) -> Behaviour:
    """A 302 that must not be followed with a key in hand."""
    return _whole("redirect", Refusal(302, b"", {"location": location}, "text/plain"))


def reset() -> Behaviour:
    """The connection is reset before any byte."""
    return Behaviour("reset", delivery=Delivery(mute="reset"))


def silent() -> Behaviour:
    """Accepted, and never a header, until the gate opens."""
    return Behaviour("silent", delivery=Delivery(mute="head"))


def garbage() -> Behaviour:
    """Bytes that are no HTTP."""
    return Behaviour("garbage", delivery=Delivery(mute="garbage"))


# --- delivery -------------------------------------------------------------------------------------------


def cut(after: int, ending: Ending = "abrupt") -> Behaviour:
    """The answer ends after so many chunks of content, with neither finish reason nor terminator."""
    return Behaviour(f"cut after {after} {ending}", delivery=Delivery(ends_after=after, ending=ending))


def cut_halfway(ending: Ending = "abrupt") -> Behaviour:
    """The answer ends halfway through what comes last in it: in mid-call where it calls tools, else in mid-sentence."""

    def edit(frames: list[Frame]) -> list[Frame]:
        at = [number for number, frame in enumerate(frames) if frame.kind in CONTENT_KINDS]
        last = [number for number in at if frames[number].kind == frames[at[-1]].kind]
        return frames[: last[halfway(len(last)) - 1] + 1] if at else frames

    return Behaviour("cut halfway", edit=edit, delivery=Delivery(ends_after=_NEVER, ending=ending))


def halfway(pieces: int) -> int:
    """How many of so many pieces `cut_halfway` sends: one at least."""
    return max(1, pieces // 2)


def stall(after: int) -> Behaviour:
    """Silence after so many chunks of content until the gate opens; then the rest comes."""
    return Behaviour(f"stall after {after}", delivery=Delivery(stalls_after=after))


def slow_first_token(delay_s: float | None = None) -> Behaviour:
    """Head at once, the first chunk after a delay, or without one when the gate opens."""
    return Behaviour("slow first token", delivery=Delivery(first_delay_s=delay_s or 0.0, gated_first=delay_s is None))


def paced(delay_s: float) -> Behaviour:
    """A chunk of content every so many seconds."""
    return Behaviour("paced", delivery=Delivery(pace_s=delay_s))


def gzip_body() -> Behaviour:
    """Compressed, asked for or not."""
    return Behaviour("gzip", delivery=Delivery(gzip=True))


def wrong_content_length(extra: int = 100) -> Behaviour:
    """The head promises more bytes than come."""
    return Behaviour("wrong content length", delivery=Delivery(length_lie=extra))


def unary_though_stream() -> Behaviour:
    """One JSON completion where a stream was asked for."""
    return Behaviour("unary", delivery=Delivery(unary=True))


def comments_only(comment: bytes = b": keep-alive\n\n") -> Behaviour:
    """Comments and nothing else, one each time the gate is set (it is cleared again)."""
    return Behaviour("comments only", edit=lambda _frames: [Frame("comment", raw=comment)],
                     delivery=Delivery(repeat=comment))  # fmt: skip


# --- replies ----------------------------------------------------------------------------------------------


def empty_answer(finish: Literal["stop", "length"] = "stop") -> Behaviour:
    """No text at all: `stop` with nothing, `length` with only reasoning."""
    reasoning = "" if finish == "stop" else "I was still thinking when the budget ended."
    return Behaviour(f"empty {finish}", reply=lambda reply: dataclasses.replace(
        reply, text="", calls=(), reasoning=reasoning, finish=finish))  # fmt: skip


def think_tags(thought: str = "let me see", opening: bool = True) -> Behaviour:
    """Reasoning inside the content, in `<think>` tags; some templates leave out the opening one."""
    tagged = f"{'<think>' if opening else ''}{thought}</think>"
    return Behaviour("think tags", reply=lambda reply: dataclasses.replace(reply, text=tagged + reply.text))


def refused(words: str = "I cannot help with that.") -> Behaviour:
    """The model refuses: in each dialect's way, or as a filter does in Chat."""
    return Behaviour("refused", reply=lambda reply: dataclasses.replace(
        reply, text=words, calls=(), reasoning="", finish="refusal"))  # fmt: skip


def redacted(thought: str = "what must not be seen") -> Behaviour:
    """Reasoning that nobody but the provider reads (Messages)."""
    return Behaviour("redacted", reply=lambda reply: dataclasses.replace(reply, reasoning=thought, secret=True))


def reasoning(thought: str = "let me think about that") -> Behaviour:
    """Reasoning in the provider's own field."""
    return Behaviour("reasoning", reply=lambda reply: dataclasses.replace(reply, reasoning=thought))
