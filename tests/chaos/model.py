"""A fake provider's model: honest about its answer, and of one temper about going on where another broke off.

Owns what is said to a request that was heard, and whether the request itself was right: a partial answer that is not
the beginning of the answer, or tools that are gone, are the router's mistakes, and `Reply.wrong` says so.
"""

import random
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .answers import Answer, Call, answer_to
from .hearing import Request

Prefill = Literal["none", "takes", "echoes", "refuses", "anew"]
Anchor = Literal["exact", "newline", "preamble", "overlap", "anew", "summary"]
CHARS_PER_TOKEN = 4
_RESTART_CHARS = 64  # a shorter repetition of the beginning proves nothing to anybody
_BEGINNING_CHARS = 17  # but as much of it, and then other words, is no continuation
_PREAMBLES = ("Sure, continuing:\n\n", "Of course! Here is the rest, from where it broke off.\n", "Continuing… ")


@dataclass(frozen=True)
class Temper:
    """How a model takes being told to go on.

    Attributes:
        prefill: `none` = its row says so, and a partial turn at the end is refused; `takes` goes on; `echoes` says it
            again and goes on; `refuses` with a 400 although the row says yes; `anew` ignores it (a row that is wrong).
        flag: the key that marks a partial turn as one, "" = none is needed.
        anchor: `exact` obeys; `newline` and `preamble` say something first; `overlap` begins earlier in its text;
            `anew` and `summary` do not obey.
    """

    prefill: Prefill = "none"
    anchor: Anchor = "exact"
    flag: str = ""

    @property
    def steady(self) -> bool:
        """Whether it can be relied upon to go on."""
        return self.anchor == "exact" and self.prefill != "anew"


class Reply(NamedTuple):
    """What is said, or `refused` (the text of a 400). `finish` is length where the cap cut it."""

    reasoning: str = ""
    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: Literal["stop", "length"] = "stop"
    refused: str = ""
    wrong: str = ""
    disobeyed: bool = False


def reply(temper: Temper, request: Request, rng: random.Random, *, reasons: bool) -> Reply:
    """The answer to a request; `reasons` = this model thinks aloud."""
    answer = answer_to(request.number)
    if not reasons:
        answer = answer._replace(reasoning="")
    wrong = "" if {call.name for call in answer.calls} <= request.tools else "the tools are gone"
    if request.partial is None:
        return _capped(_said(answer, answer.text), request)._replace(wrong=wrong)
    wrong = wrong or _wrong(answer, request)
    if wrong:
        return _said(answer, answer.text)._replace(wrong=wrong)
    if request.anchor is None:
        return _prefilled(temper, answer, request, rng)
    return _anchored(temper, answer, request, rng)


def _said(answer: Answer, text: str, *, disobeyed: bool = False) -> Reply:
    return Reply(answer.reasoning, text, answer.calls, disobeyed=disobeyed)


def _wrong(answer: Answer, request: Request) -> str:
    partial, anchor = request.partial or "", request.anchor
    if not answer.text.startswith(partial.rstrip()):
        at = next(i for i, (a, b) in enumerate(zip(partial + "\0", answer.text + "\1", strict=False)) if a != b)
        return f"the partial answer departs from the answer at {at}: {partial[max(0, at - 20) : at + 20]!r}"
    if anchor is not None and not (anchor.strip() and partial.rstrip().endswith(anchor)):
        return f"the anchor is not the end of the partial answer: {anchor!r} {partial[-60:]!r}"
    return ""


def _prefilled(temper: Temper, answer: Answer, request: Request, rng: random.Random) -> Reply:
    partial = request.partial or ""
    rest = answer.text[len(partial.rstrip()) :]
    if temper.prefill in {"none", "refuses"}:
        return Reply(refused="This model does not support assistant message prefill.")
    if temper.flag and temper.flag not in request.flags:
        return Reply(refused="The last message must be of the user.", wrong="a partial turn that is not marked as one")
    if temper.prefill == "echoes":  # which costs nothing
        fresh = _capped(_said(answer, rest), request)
        return fresh._replace(text=partial.rstrip() + fresh.text)
    told = request.cap_tokens is None or request.cap_tokens * CHARS_PER_TOKEN > _RESTART_CHARS
    if temper.prefill == "anew" and told and len(partial.rstrip()) > _RESTART_CHARS:
        if _once(answer.text, _BEGINNING_CHARS) and rng.random() < 0.4:  # in other words
            begun = answer.text.lstrip()[: rng.randint(_BEGINNING_CHARS, _RESTART_CHARS - 1)]
            return _capped(_said(answer, f"{begun} … well, let me put that in another way.", disobeyed=True), request)
        if _once(answer.text, _RESTART_CHARS):
            return _capped(_said(answer, answer.text, disobeyed=True), request)
    return _capped(_said(answer, rest), request)


def _once(text: str, chars: int) -> bool:
    """Whether a text says its beginning once: of one that comes back to it, nobody could tell that it was begun anew."""
    head = text.lstrip()[:chars]
    return text.find(head) == text.rfind(head) and head[: chars // 2] not in head[1:]


def _anchored(temper: Temper, answer: Answer, request: Request, rng: random.Random) -> Reply:
    core, anchor = (request.partial or "").rstrip(), request.anchor or ""
    rest = answer.text[len(core) :]
    match temper.anchor:
        case "exact":
            said = _said(answer, anchor + rest)
        case "newline":
            said = _said(answer, "\n" + anchor + rest)
        case "preamble":
            said = _said(answer, rng.choice(_PREAMBLES) + anchor + rest)
        case "overlap":
            more = rng.randint(0, 150)
            said = _said(answer, core[max(0, len(core) - len(anchor) - more) :] + rest)
        case "anew":
            said = _said(answer, answer.text, disobeyed=True)
        case "summary":
            said = _said(answer, "In short, what was said above holds, and there is no more to it.", disobeyed=True)
    return _capped(said, request)


def _capped(said: Reply, request: Request) -> Reply:
    """What fits into the cap: a text that is cut calls no tool."""
    if request.cap_tokens is None or len(said.text) <= request.cap_tokens * CHARS_PER_TOKEN:
        return said
    return said._replace(text=said.text[: request.cap_tokens * CHARS_PER_TOKEN], calls=(), finish="length")
