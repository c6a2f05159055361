"""An answer that another model has begun: how a fake one goes on with it, by prefill or by order.

Owns what the fake reads as begun, and what it says then. An order is read as a model would read it, by what it means:
the user's last turn quotes, in lines of their own between others, the end of the assistant's turn before it. Where the
beginning is not one of its own answer, the fake has nothing to add to it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hermes_router.sandbox.model import NewCallId, answer, capped, text_of
from hermes_router.sandbox.values import Asked, Obedience, Prefill, Reply

_UNCAPPED = ("max_tokens", "max_completion_tokens", "stop")
_PREAMBLE = "Sure, continuing from there:\n\n"
_SUMMARY = "In short, it is as I said before."
_FURTHER_BACK = 30  # characters


@dataclass(frozen=True, slots=True)
class Manner:
    """How a provider goes on.

    Attributes:
        prefill: what a last turn of the assistant's is to it.
        flag: the key that such a turn must bear, if there is one; without it, it is nothing to it.
        order: how it follows an order to go on.
    """

    prefill: Prefill = "anew"
    flag: str = ""
    order: Obedience = "exact"


@dataclass(frozen=True, slots=True)
class Begun:
    """What there is of an answer.

    Attributes:
        shown: its text.
        anchor: the end of it that the reply is to begin with; None = it is a prefill.
        asked: the request as it was before.
        flagged: a prefill bears the key that it needs.
    """

    shown: str
    anchor: str | None
    asked: Asked
    flagged: bool = True


def begun(asked: Asked, flag: str = "") -> Begun | None:
    """What the request has of an answer, None where the answer is to begin."""
    *before, last = asked.messages or [{}]
    if shown := _unended(last):
        return Begun(shown, None, _asked(asked, before), not flag or bool(last.get(flag)))
    if last.get("role") != "user" or not before or not (shown := _unended(before[-1])):
        return None
    anchor = _quoted(shown.rstrip(), text_of(last.get("content")))
    return Begun(shown, anchor, _asked(asked, before[:-1])) if anchor else None


def _unended(message: Mapping[str, Any]) -> str:
    """The text of an assistant's turn that may go on, empty if it is none."""
    if message.get("role") != "assistant" or message.get("tool_calls"):
        return ""
    return text_of(message.get("content"))


def refuses(asked: Asked, manner: Manner) -> bool:
    """Whether the request ends with a turn that the provider does not take."""
    found = begun(asked)
    return manner.prefill == "refuses" and found is not None and found.anchor is None


def reply(asked: Asked, manner: Manner, new_call_id: NewCallId, compose: Callable[[str], str] | None = None) -> Reply:
    """The answer, or what comes behind its beginning."""
    found = begun(asked, manner.flag)
    if found is None:
        return answer(asked, new_call_id, compose)
    whole = answer(_unbound(found.asked), new_call_id, compose)
    text = _said(found, manner, whole.text)
    if whole.calls:
        return dataclasses.replace(whole, text=text)
    return capped(asked, text, whole)


def _asked(asked: Asked, messages: list[dict[str, Any]]) -> Asked:
    return dataclasses.replace(asked, body={**asked.body, "messages": messages})


def _unbound(asked: Asked) -> Asked:
    """Without caps and stops: they are for what is new."""
    body = {key: value for key, value in asked.body.items() if key not in _UNCAPPED}
    return dataclasses.replace(asked, body=body)


def _quoted(core: str, order: str) -> str:
    """The longest run of lines, between others, that the text ends with; empty if there is none."""
    lines = order.split("\n")
    for length in range(len(lines) - 2, 0, -1):
        for start in range(1, len(lines) - length):
            run = "\n".join(lines[start : start + length])
            if run.strip() and core.endswith(run):
                return run
    return ""


def _said(found: Begun, manner: Manner, whole: str) -> str:
    shown, core = found.shown, found.shown.rstrip()
    rest = whole.removeprefix(shown if whole.startswith(shown) else core) if whole.startswith(core) else ""
    if found.anchor is None:
        if not found.flagged or manner.prefill in {"anew", "refuses"}:
            return whole
        return shown + rest if manner.prefill == "echoes" else rest
    match manner.order:
        case "anew":
            return whole
        case "summary":
            return _SUMMARY
        case "more":
            return core[-len(found.anchor) - _FURTHER_BACK :] + _behind(core, whole)
        case "chatty":
            return _PREAMBLE + found.anchor + _behind(core, whole)
        case _:
            return found.anchor + _behind(core, whole)


def _behind(core: str, whole: str) -> str:
    return whole[len(core) :] if whole.startswith(core) else ""
