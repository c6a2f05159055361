"""Quirks of tool calls and of the order of turns: ids of a fixed shape, one call a turn, who may follow whom.

Owns rewriting that spans several messages, for histories that are sound already (`quirks_history` ran before).
Rewritten ids are derived from the caller's, so that a call and its result, and the same call in the next request,
agree. It must never know a provider.
"""

import hashlib
import re
from functools import lru_cache

from hermes_router.wire.quirks.draft import Draft, Message, calls_of, text_of

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NINE = re.compile(r"[a-zA-Z0-9]{9}")
BRIDGE = "Understood."
CONTINUE = "Continue."


def call_ids_9(draft: Draft) -> None:
    """Tool call ids are exactly 9 of [a-zA-Z0-9] (Mistral, providers.md 3.7). Ids of that shape stay."""
    ids: dict[str, str] = {}
    for message in draft.messages:
        for call in calls_of(message):
            ids[call.get("id") or ""] = ""
        if message["role"] == "tool":
            ids[message.get("tool_call_id") or ""] = ""
    used = {old for old in ids if _NINE.fullmatch(old)}
    for old in ids:
        ids[old] = old if old in used else _nine(old, used)
    for message in draft.messages:
        for call in calls_of(message):
            old = call.get("id") or ""
            if ids[old] != old:
                call["id"] = ids[old]
                draft.edited()
        if message["role"] == "tool":
            old = message.get("tool_call_id") or ""
            if ids[old] != old:
                message["tool_call_id"] = ids[old]
                draft.edited()


def _nine(old: str, used: set[str]) -> str:
    """Nine characters from a hash of the id; a collision within the request takes the next hash."""
    salt = 0
    while (new := _hashed(f"{old}\0{salt}" if salt else old)) in used:
        salt += 1
    used.add(new)
    return new


@lru_cache(maxsize=4_096)  # a history brings the same ids with every turn
def _hashed(seed: str) -> str:
    number = int.from_bytes(hashlib.sha256(seed.encode(errors="surrogatepass")).digest()[:8], "big")
    new = ""
    for _ in range(9):
        number, digit = divmod(number, len(_ALPHABET))
        new += _ALPHABET[digit]
    return new


def single_calls(draft: Draft) -> None:
    """A turn with several calls becomes as many turns, each with its result (some models of NVIDIA, 3.11)."""
    if all(len(calls_of(message)) <= 1 for message in draft.messages):
        return
    out: list[Message] = []
    results: dict[str, Message] = {}
    for message in draft.messages:
        if message["role"] == "tool":
            results[message.get("tool_call_id") or ""] = message
    split: set[str] = set()
    for message in draft.messages:
        calls = calls_of(message)
        if len(calls) > 1:
            for number, call in enumerate(calls):
                turn = {**message, "tool_calls": [call]}
                if number:
                    turn["content"] = ""
                out.append(turn)
                if (answer := results.get(call.get("id") or "")) is not None:
                    out.append(answer)
                    split.add(call.get("id") or "")
        elif message["role"] != "tool" or (message.get("tool_call_id") or "") not in split:
            out.append(message)
    draft.messages = out
    draft.edited()


def single_calls_parameter(draft: Draft) -> None:
    """The same models want `parallel_tool_calls: false` with tools."""
    if draft.has_tools and draft.takes("parallel_tool_calls"):
        draft.params["parallel_tool_calls"] = False


def user_after_tool_bridge(draft: Draft) -> None:
    """A short assistant turn between a tool result and a user turn ("Unexpected role 'user' after role 'tool'")."""
    out: list[Message] = []
    for message in draft.messages:
        if message["role"] == "user" and out and out[-1]["role"] == "tool":
            out.append({"role": "assistant", "content": BRIDGE})
            draft.edited()
        out.append(message)
    draft.messages = out


def prefill_prefix(draft: Draft) -> None:
    """A last assistant turn is gone on with where it says `"prefix": true` (Mistral, providers.md 3.7).

    Not beside a call that is forced: "Cannot set an assistant prefix with function calling".
    """
    choice = draft.value("tool_choice")
    _mark_last(draft, "prefix", unless=isinstance(choice, dict) or choice in ("any", "required"))


def prefill_partial(draft: Draft) -> None:
    """A last assistant turn is gone on with where it says `"partial": true` (Kimi), in no demanded format."""
    _mark_last(draft, "partial", unless=draft.value("response_format") is not None)


def _mark_last(draft: Draft, mark: str, *, unless: bool) -> None:
    """Mark a last turn of text as one to go on with; others, which the caller may have marked, are not."""
    for message in draft.messages[:-1]:
        if message.pop(mark, None) is not None:
            draft.edited()
    last = draft.messages[-1] if draft.messages else None
    if last is None:
        return
    text = text_of(last, len(draft.messages) - 1) if last["role"] == "assistant" and not calls_of(last) else None
    if text is not None and text.strip() and not unless:
        last[mark] = True
        draft.edited()
    elif last.pop(mark, None) is not None:
        draft.edited()


def last_not_assistant(draft: Draft) -> None:
    """The last message is a user's or a tool's: a trailing assistant turn is asked to go on, unless it is a prefill."""
    if draft.messages and draft.messages[-1]["role"] not in ("user", "tool") and not draft.messages[-1].get("prefix"):
        draft.messages.append({"role": "user", "content": CONTINUE})
        draft.edited()
        draft.warn("approx", "messages.last")
