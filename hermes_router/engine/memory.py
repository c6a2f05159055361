"""What providers left behind for the next turn: thought signatures, reasoning text and reasoning details.

Owns the memory that makes a second turn work although callers drop unknown fields (facts: providers.md 3.1, 3.13, 7,
12.9): who made which artefact, and to whom it may go back. A signature or a blob goes back to the very model that made
it, reasoning text to the same provider, nothing further. It must never log or show what it holds, and never touch a
disk: after a restart the fall-backs of `wire/quirks_replay` serve.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.content import Reasoning, Seal
from hermes_router.core.events import Answer, BlockKind
from hermes_router.core.ids import ModelId, ProviderName
from hermes_router.core.ports import Clock

ENTRIES_MAX = 10_000
BYTES_MAX = 16 * 1024 * 1024
TTL_S = 24 * 3600.0
_OVERHEAD_BYTES = 400  # an entry's own objects and its places in the three indexes, roughly

MAKERS_MAX = 20_000  # seals whose maker is remembered: 3 MB
REFUSED_MAX = 20_000  # seals that somebody has refused: 2 MB
_THOUGHTS = msgspec.json.Decoder(list[tuple[str, Seal]])
_Key = tuple[str, str, str, str, bytes]  # scope, provider, model, call id, content
_Index = dict[tuple[str, ...], list[_Key]]


@dataclass(slots=True, repr=False)
class _Entry:
    """One tool call and what came with it, as UTF-8. Without repr: contents are never shown."""

    at: float
    size: int
    signature: bytes | None
    reasoning: bytes | None
    details: bytes | None
    thoughts: bytes | None


class Memory:
    """Artefacts by tool call, bounded by number, bytes and age (seconds since last use).

    A call is found by its id, and where clients rewrite ids by its name and canonical arguments. Some providers number
    their ids anew in each conversation (`functions.bash:0`), so an id alone counts only while it is unambiguous.
    `scope` separates callers: pass a router key or conversation id, and nothing crosses it.
    """

    def __init__(
        self, clock: Clock, *, entries_max: int = ENTRIES_MAX, bytes_max: int = BYTES_MAX, ttl_s: float = TTL_S
    ) -> None:
        self._clock = clock
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._ttl_s = ttl_s
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()  # least recently used first
        self._by_id: _Index = {}
        self._by_content: _Index = {}
        self._held: Counter[tuple[str, str]] = Counter()  # entries by scope and provider
        self._bytes = 0
        self._makers: OrderedDict[bytes, tuple[str, str]] = OrderedDict()  # digest of a seal: provider, model
        self._refused: OrderedDict[bytes, None] = OrderedDict()  # digests of a seal and of who refused it

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Memory {len(self._entries)} entries, {self._bytes} bytes>"

    @property
    def size_bytes(self) -> int:
        """Bytes held, overhead estimated."""
        return self._bytes

    def keep(
        self,
        *,
        provider: ProviderName,
        model: ModelId,
        call_id: str,
        name: str,
        arguments: str,
        signature: str | None = None,
        reasoning: str | None = None,
        details: object | None = None,
        thoughts: Sequence[Reasoning] = (),
        scope: str = "",
    ) -> None:
        """Remember what came with a tool call; `call_id` as the caller was shown it, `arguments` whole."""
        if not signature and not reasoning and details is None and not thoughts:
            return
        key = (scope, provider, model, call_id, _content(name, arguments))
        if key in self._entries:
            self._drop(key)
        sealed = _sealed(thoughts)
        entry = _Entry(self._clock.now(), 0, _bytes(signature), _bytes(reasoning), _json(details), sealed)
        entry.size = _OVERHEAD_BYTES + len(call_id) * 2
        entry.size += sum(map(len, filter(None, (entry.signature, entry.reasoning, entry.details, sealed))))
        if entry.size > self._bytes_max:
            return
        self._entries[key] = entry
        self._bytes += entry.size
        self._held[scope, provider] += 1
        for index, place in self._places(key):
            index.setdefault(place, []).append(key)
        self._evict(entry.at)

    def forget(self, call_id: str) -> None:
        """Drop all that is held for a call id, of any provider (a 400 said that it is wrong)."""
        for key in [key for key in self._entries if key[3] == call_id]:
            self._drop(key)

    def recall_for(self, facts: TargetFacts, scope: str = "") -> "Remembered":
        """What may be replayed to this target, as `wire/outgoing.Recall`."""
        return Remembered(self, facts.provider.name, facts.maker_model, scope)

    def keep_answer(self, facts: TargetFacts, answer: Answer, scope: str = "") -> None:
        """Remember what a folded answer of this target carries for its tool calls, if it made any."""
        thoughts = [Reasoning(b.text, b.seal) for b in answer.blocks if b.seal is not None]
        self.keep_seals(facts, [thought.seal for thought in thoughts if thought.seal is not None])
        calls = [block for block in answer.blocks if block.kind is BlockKind.TOOL_CALL]
        if not calls:
            return
        reasoning = answer.text(BlockKind.REASONING) or None
        fragments = [block.extras.get("reasoning_details") for block in answer.blocks]
        details = _whole_details([each for part in fragments if isinstance(part, list) for each in part])
        for call in calls:
            self.keep(
                provider=facts.provider.name,
                model=ModelId(facts.maker_model),
                call_id=call.call_id,
                name=call.name,
                arguments=call.text,
                signature=_signature(call.extras.get("extra_content")),
                reasoning=reasoning,
                details=details,
                thoughts=thoughts,
                scope=scope,
            )

    def keep_seals(self, facts: TargetFacts, seals: Sequence[Seal]) -> None:
        """Note whose seals these are: another maker would refuse them."""
        for seal in seals:
            if not seal.data:
                continue
            self._refused.pop(_refusal_digest(facts.provider.name, facts.maker_model, seal.data), None)
            key = _seal_digest(seal.data)
            self._makers[key] = (facts.provider.name, facts.maker_model)
            self._makers.move_to_end(key)
            if len(self._makers) > MAKERS_MAX:
                self._makers.popitem(last=False)

    def refuse(self, facts: TargetFacts, seals: Sequence[str]) -> None:
        """Note that this target's model has refused a request for these seals, and took it without them.

        Which of them it was is not said: those that it is known to have made itself are believed to the last.
        """
        maker = (facts.provider.name, facts.maker_model)
        strangers: Iterable[str] = [seal for seal in seals if self.made_by(seal) != maker]
        for seal in strangers or seals:
            key = _refusal_digest(*maker, seal)
            self._refused[key] = None
            self._refused.move_to_end(key)
            if len(self._refused) > REFUSED_MAX:
                self._refused.popitem(last=False)

    def has_refused(self, provider: str, model: str, data: str) -> bool:
        """Whether a model has refused a thought sealed so."""
        return bool(self._refused) and _refusal_digest(provider, model, data) in self._refused

    def made_by(self, data: str) -> tuple[str, str] | None:
        """The provider and the model that sealed a thought so, None where that is not remembered."""
        return self._makers.get(_seal_digest(data))

    def holds(self, scope: str, provider: str) -> bool:
        """Whether anything at all is remembered for a provider."""
        return (scope, provider) in self._held

    def find(self, scope: str, provider: str, model: str | None, call: tuple[str, str, str]) -> "_Entry | None":
        """The entry of a call (id, name, arguments), the latest if several fit; a find is a use.

        `model` None = of any model of the provider.
        """
        if not self.holds(scope, provider):
            return None
        call_id, name, arguments = call
        content = _content(name, arguments)
        named = [key for key in self._by_id.get((scope, provider, call_id), ()) if model in (None, key[2])]
        exact = [key for key in named if key[4] == content]
        if not exact and len(named) == 1 and named[0][4][:4] == content[:4]:
            exact = named  # same id, same tool: the caller has reshaped the arguments
        if not exact:
            same = self._by_content.get((scope, provider, content.hex()), ())
            exact = [key for key in same if model in (None, key[2])]
        if not exact:
            return None
        key = exact[-1]
        entry, now = self._entries[key], self._clock.now()
        if now - entry.at > self._ttl_s:
            self._drop(key)
            return None
        entry.at = now
        self._entries.move_to_end(key)
        return entry

    def _places(self, key: _Key) -> tuple[tuple[_Index, tuple[str, ...]], ...]:
        scope, provider, _, call_id, content = key
        return (self._by_id, (scope, provider, call_id)), (self._by_content, (scope, provider, content.hex()))

    def _evict(self, now: float) -> None:
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            full = len(self._entries) > self._entries_max or self._bytes > self._bytes_max
            if not full and now - entry.at <= self._ttl_s:
                return
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        self._bytes -= self._entries.pop(key).size
        held = key[0], key[1]
        self._held[held] -= 1
        if not self._held[held]:
            del self._held[held]
        for index, place in self._places(key):
            keys = index[place]
            keys.remove(key)
            if not keys:
                del index[place]


class Remembered:
    """The memory as one target may see it; satisfies `wire/outgoing.Recall`.

    `left_out` = it was asked about a thought that this target has refused before.
    """

    __slots__ = ("_memory", "_model", "_provider", "_scope", "left_out")

    def __init__(self, memory: Memory, provider: str, model: str, scope: str) -> None:
        self._memory = memory
        self._provider = provider
        self._model = model
        self._scope = scope
        self.left_out = False

    @property
    def holds(self) -> bool:
        """Whether there is anything to look up."""
        return self._memory.holds(self._scope, self._provider)

    def signature(self, call_id: str, name: str, arguments: str) -> str | None:
        """The thought signature that this model gave with the call."""
        entry = self._memory.find(self._scope, self._provider, self._model, (call_id, name, arguments))
        return entry.signature.decode() if entry is not None and entry.signature is not None else None

    def reasoning(self, call_id: str, name: str, arguments: str) -> str | None:
        """The reasoning text that came before the call, of any model of this provider."""
        entry = self._memory.find(self._scope, self._provider, None, (call_id, name, arguments))
        return entry.reasoning.decode() if entry is not None and entry.reasoning is not None else None

    def details(self, call_id: str, name: str, arguments: str) -> object | None:
        """The `reasoning_details` that this model gave, as raw JSON: they go back as they came."""
        entry = self._memory.find(self._scope, self._provider, self._model, (call_id, name, arguments))
        return msgspec.Raw(entry.details) if entry is not None and entry.details is not None else None

    def thoughts(self, call_id: str, name: str, arguments: str) -> tuple[Reasoning, ...]:
        """The sealed thoughts that came before the call, made by this very model."""
        entry = self._memory.find(self._scope, self._provider, self._model, (call_id, name, arguments))
        if entry is None or entry.thoughts is None:
            return ()
        return tuple(Reasoning(text, seal) for text, seal in _THOUGHTS.decode(entry.thoughts))

    def made_here(self, data: str) -> bool | None:
        """Whether this model made the signature or encrypted thought, and takes it; None = nobody remembers."""
        if self._memory.has_refused(self._provider, self._model, data):
            self.left_out = True
            return False
        maker = self._memory.made_by(data)
        return None if maker is None else maker == (self._provider, self._model)


def _content(name: str, arguments: str) -> bytes:
    """A digest of name and arguments, the latter in canonical form; its first 4 bytes are the name's alone."""
    with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):  # no JSON: then it counts as it is
        arguments = msgspec.json.encode(msgspec.json.decode(arguments or "{}"), order="sorted").decode()
    name_bytes = name.encode(errors="surrogatepass")
    text = name_bytes + b"\0" + arguments.encode(errors="surrogatepass")
    return hashlib.blake2b(name_bytes, digest_size=4).digest() + hashlib.blake2b(text, digest_size=16).digest()


def _sealed(thoughts: Sequence[Reasoning]) -> bytes | None:
    return msgspec.json.encode([(one.text, one.seal) for one in thoughts if one.seal is not None]) if thoughts else None


def _seal_digest(data: str) -> bytes:
    return hashlib.blake2b(data.encode(errors="surrogatepass"), digest_size=16).digest()


def _refusal_digest(provider: str, model: str, data: str) -> bytes:
    return _seal_digest(f"{provider}\0{model}\0{data}")


def _signature(extra: object) -> str | None:
    """Gemini's thought signature in a call's `extra_content` (providers.md 3.1)."""
    google = extra.get("google") if isinstance(extra, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) else None


def _whole_details(fragments: list[Any]) -> list[Any] | None:
    """Streamed `reasoning_details` put together again: fragments of one index and type are one entry."""
    whole: list[Any] = []
    for fragment in fragments:
        last = whole[-1] if whole else None
        if not isinstance(fragment, dict):
            whole.append(fragment)
            continue
        if not isinstance(last, dict) or fragment.get("index") is None or _part(last) != _part(fragment):
            whole.append(dict(fragment))
            continue
        for key, value in fragment.items():
            if key in ("text", "summary", "data") and isinstance(value, str) and isinstance(last.get(key), str):
                last[key] += value
            elif value is not None:
                last[key] = value
    return whole or None


def _part(fragment: dict[str, Any]) -> tuple[Any, Any]:
    return fragment.get("index"), fragment.get("type")


def _bytes(text: str | None) -> bytes | None:
    return text.encode(errors="replace") if text else None


def _json(details: object | None) -> bytes | None:
    if details is None:
        return None
    return bytes(details) if isinstance(details, msgspec.Raw) else msgspec.json.encode(details)
