"""Whether messages of a caller of the same dialect can go to a target as they are, byte for byte.

Owns the one look at a history that is passed on (facts: providers.md 12.2, 12.4, 12.9): pairs of calls and results,
empty texts, instructions in the middle, thoughts of others, blocks of tools that the target does not run. It changes
nothing, and must never know a provider.
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Raw

from hermes_router.wire.chat.outgoing import Recall
from hermes_router.wire.messages.blocks import Block, Message, decode_blocks, is_null, string
from hermes_router.wire.messages.rules import Rules
from hermes_router.wire.seals import MARK

__all__ = ["can_go_as_they_are"]

_ID: Final = re.compile(rb'"[a-zA-Z0-9_-]{1,64}"')
_NESTED: Final = re.compile(rb'"(?:tool_reference|search_result|browser_state)"')
_MARKED: Final = b'"' + MARK.encode()
_PLAIN: Final = frozenset({
    b'"text"', b'"image"', b'"document"', b'"tool_use"', b'"tool_result"', b'"thinking"', b'"redacted_thinking"',
})  # fmt: skip
_SHORT: Final = 16  # bytes of a text that may be nothing but white space
_EMPTY: Final = b'""'
_BRACKET: Final = ord("[")


def can_go_as_they_are(
    messages: list[Message], raw: Raw, rules: Rules, recall: Recall, *, strip_thoughts: bool
) -> bool:
    """Whether this target takes the messages of `raw`, as far as is known."""
    if not (rules.betas or rules.hosted) and _NESTED.search(raw) is not None:
        return False
    if messages[0].role != "user" or (messages[-1].role == "assistant" and _refuses_prefill(rules)):
        return False
    look = _Look(rules, recall, strip_thoughts=strip_thoughts)
    return all(look.is_sound(message) for message in messages) and not look.waiting


def _refuses_prefill(rules: Rules) -> bool:
    return rules.prefill is False or (rules.adaptive and rules.prefill is not True)


def _fails_in_pictures(block: Block) -> bool:
    """Whether a result that is an error holds more than text, which is refused (12.4)."""
    raw = block.get("content")
    if bytes(block.get("is_error", b"")) != b"true" or raw is None or memoryview(raw)[0] != _BRACKET:
        return False
    return any(bytes(part["type"]) != b'"text"' for part in decode_blocks(raw, "messages"))


class _Look:
    """Goes through the messages in order; `waiting` are calls whose results must come next."""

    def __init__(self, rules: Rules, recall: Recall, *, strip_thoughts: bool) -> None:
        self.waiting: set[bytes] = set()
        self._seen: set[bytes] = set()
        self._rules = rules
        self._recall = recall
        self._strip = strip_thoughts

    def is_sound(self, message: Message) -> bool:
        """Whether nothing is wrong with this message, after those before it."""
        content = message.content
        if message.role == "system" and not self._rules.system_turns:
            return False
        if isinstance(content, str):
            return not self.waiting and bool(content.strip())
        if not content:
            return False
        if message.role == "user":
            return self._are_results(content) and all(self._is_fit(block) for block in content)
        if self.waiting or not all(self._is_fit(block) for block in content):
            return False
        return self._are_calls(content)

    def _are_results(self, content: Iterable[Block]) -> bool:
        """Whether all results that are due come first, each once."""
        behind = False
        for block in content:
            if bytes(block["type"]) != b'"tool_result"':
                behind = True
                continue
            call_id = bytes(block.get("tool_use_id", b""))
            if behind or call_id not in self.waiting or _fails_in_pictures(block):
                return False
            self.waiting.remove(call_id)
        return not self.waiting

    def _are_calls(self, content: Iterable[Block]) -> bool:
        for block in content:
            if bytes(block["type"]) != b'"tool_use"':
                continue
            call_id = bytes(block.get("id", b""))
            if call_id in self._seen or not _ID.fullmatch(call_id) or bytes(block.get("name", _EMPTY)) == _EMPTY:
                return False
            if is_null(block.get("input")):
                return False
            self._seen.add(call_id)
            self.waiting.add(call_id)
        return True

    def _is_fit(self, block: Block) -> bool:
        kind = bytes(block["type"])
        if kind == b'"text"':
            text = block["text"]
            return len(text) > _SHORT or bool(string(block, "text", "messages").strip())
        if kind == b'"thinking"':
            return self._is_own(block, "signature")
        if kind == b'"redacted_thinking"':
            return self._is_own(block, "data")
        return kind in _PLAIN or self._rules.hosted

    def _is_own(self, block: Block, key: str) -> bool:
        """Whether a thought may be this target's, and is spelled as it gave it."""
        raw = block.get(key)
        if self._strip:
            return False
        if raw is None or is_null(raw) or bytes(raw) == _EMPTY:
            return not self._rules.claude
        if bytes(memoryview(raw)[: len(_MARKED)]) == _MARKED:
            return False
        return self._recall.made_here(string(block, key, "messages")) is not False
