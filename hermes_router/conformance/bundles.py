"""Which features are asked for together, so that a run takes few requests, and how their requests become one.

Owns the bundles. A bundle only ever proves what goes well: what fails in company is asked for alone. Every feature that
a dialect has words for stands in exactly one. It must never know what is done with an answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hermes_router.conformance.feature import PLAIN, RESPONSES, Feature, body
from hermes_router.conformance.features import FEATURES
from hermes_router.conformance.tongue import Body

_LONG: Final = "Count from one to fifty, in words."
_APPLES: Final = "Repeat these words and nothing else: apples pears STOP plums END grapes."

TEXTS: Final[Mapping[str, str]] = {
    "length.cap_small": _LONG,
    "answers.length": _LONG,
    "length.stop": _APPLES,
    "length.stop_one": _APPLES,
    "answers.stop_word": _APPLES,
    "sampling.n": "Say hello.",
}
"""What is asked instead of the plain question, where that would prove nothing."""

BUNDLES: Final[tuple[tuple[str, ...], ...]] = (
    ("turns.user", "length.cap", "answers.text", "answers.identity", "usage.plain"),
    (
        "turns.assistant_first", "turns.parts", "turns.history", "turns.same_role", "turns.empty", "turns.name",
        "turns.refusal", "turns.phase", "thoughts.text", "thoughts.details",
    ),
    ("turns.prefill", "thinking.max"),
    (
        "system.text", "system.several", "system.developer", "system.later", "system.billing", "cache.system",
        "cache.mark", "cache.whole", "cache.key", "thinking.high",
    ),
    ("images.inline",),
    ("images.url", "images.detail"),
    ("images.format",),
    ("images.file_id",),
    ("files.pdf",),
    ("files.url",),
    ("files.text", "files.context", "files.search_result"),
    ("files.file_id",),
    ("audio.in",),
    ("audio.out",),
    ("video.url",),
    ("thoughts.sealed", "thoughts.redacted", "thinking.encrypted", "thinking.medium"),
    ("tools.function", "tools.parallel_off"),
    ("tools.several", "choice.auto", "answers.calls"),
    ("tools.no_schema",),
    ("tools.strict", "choice.required", "answers.call"),
    ("tools.strict_unsaid",),
    ("tools.custom", "answers.custom"),
    ("tools.grammar",),
    ("tools.namespace",),
    ("tools.legacy",),
    ("tools.examples", "choice.named"),
    ("tools.hosted",),
    ("tools.vendor",),
    ("tools.mcp",),
    ("choice.none",),
    ("choice.allowed",),
    ("choice.hosted",),
    ("choice.unknown",),
    (
        "calls.result", "calls.parallel", "calls.with_text", "calls.no_arguments", "calls.broken_arguments",
        "calls.odd_id", "calls.no_result", "calls.no_call", "calls.custom", "calls.legacy", "results.parts",
        "results.empty", "results.error",
    ),
    ("calls.hosted", "calls.cited"),
    ("results.image", "results.error_image"),
    ("results.file",),
    (
        "sampling.temperature", "sampling.top_p", "sampling.top_k", "sampling.seed", "sampling.frequency",
        "sampling.presence", "sampling.logit_bias", "choice.no_tools", "shape.verbosity", "thinking.minimal",
    ),
    ("sampling.n",),
    ("sampling.logprobs",),
    ("sampling.prediction",),
    ("length.cap_small", "answers.length"),
    ("length.no_cap", "books.store"),
    ("length.stop", "answers.stop_word"),
    ("length.stop_one",),
    ("shape.text", "thinking.off"),
    ("shape.json",),
    ("shape.schema",),
    ("shape.schema_loose",),
    ("thinking.low", "answers.thought"),
    ("thinking.budget",),
    ("thinking.adaptive",),
    ("thinking.hidden",),
    ("thinking.summary",),
    ("thinking.forced_tool",),
    (
        "sampling.temperature_high", "length.cap_newer", "books.user", "books.safety", "books.metadata",
        "books.store_off", "books.tier", "state.truncation", "state.tool_calls", "state.unknown", "thinking.xhigh",
    ),
    ("state.previous",),
    ("state.conversation",),
    ("state.prompt",),
    ("state.background",),
    ("state.container",),
    ("state.context",),
    ("streams.plain",),
    ("streams.usage", "streams.no_obfuscation"),
    ("errors.missing",),
    ("errors.wrong_type",),
    ("errors.wrong_role",),
)  # fmt: skip

_TURNS: Final = frozenset({"messages", "input"})
_IDS: Final = frozenset({"id", "call_id", "tool_call_id", "tool_use_id"})


def bundles(dialect: str, wanted: Iterable[str]) -> list[tuple[Feature, ...]]:
    """The bundles of a dialect, with the wanted features that it has words for."""
    chosen = frozenset(wanted)
    found = (
        tuple(FEATURES[name] for name in bundle if name in chosen and dialect in FEATURES[name].asks)
        for bundle in BUNDLES
    )
    return [bundle for bundle in found if bundle]


def request(dialect: str, features: Sequence[Feature]) -> Body:
    """One request that asks for all of these. Raises ValueError where two of them contradict each other."""
    if len(features) == 1 and features[0].id not in TEXTS:
        return body(features[0], dialect)
    turns_at = "input" if dialect == RESPONSES else "messages"
    whole: dict[str, Any] = {}
    turns: list[Any] = []
    histories: list[Any] = []
    for place, feature in enumerate(features):
        for name, value in _asks(feature, dialect).items():
            if name not in _TURNS:
                whole[name] = _merged(name, whole[name], value) if name in whole else value
            elif value and value not in histories:
                histories.append(value)
                turns = [*turns, *([_glue(dialect)] if turns else []), *_turns(_renamed(value, place))]
    if len(histories) == 1:
        turns = histories[0]
    plain = {name: value for name, value in PLAIN[dialect].items() if name != turns_at}
    merged = {**plain, **whole, turns_at: turns or PLAIN[dialect][turns_at]}
    return {name: value for name, value in merged.items() if value is not None}


def _turns(value: Any) -> list[Any]:
    return [{"role": "user", "content": value}] if isinstance(value, str) else list(value)


def _asks(feature: Feature, dialect: str) -> Mapping[str, Any]:
    asks = feature.asks[dialect]
    if feature.id not in TEXTS:
        return asks
    said = TEXTS[feature.id]
    if dialect == RESPONSES:
        return {**asks, "input": said}
    return {**asks, "messages": [{"role": "user", "content": said}]}


def _glue(dialect: str) -> dict[str, Any]:
    """An assistant's turn between two histories."""
    said = "Hello!"
    if dialect == RESPONSES:
        return {"role": "assistant", "content": [{"type": "output_text", "text": said, "annotations": []}]}
    return {"role": "assistant", "content": said}


def _renamed(value: Any, place: int) -> Any:
    """The same with ids of its own: those of two histories may be equal."""
    if isinstance(value, list):
        return [_renamed(one, place) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name: f"{inner}_{place}" if name in _IDS and isinstance(inner, str) else _renamed(inner, place)
        for name, inner in value.items()
    }


def _merged(name: str, one: Any, other: Any) -> Any:
    """Two values of one field. Tools of one name become one tool, objects and system texts are joined."""
    if one == other:
        return one
    if name == "tools":
        return _tools(one, other)
    if name == "system":
        return [*_blocks(one), *_blocks(other)]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {key: _merged(key, one[key], other[key]) if key in one and key in other else {**one, **other}[key]
                for key in {**one, **other}}  # fmt: skip
    raise ValueError(f"{name} cannot be {one!r} and {other!r} in one request")


def _blocks(system: Any) -> list[Any]:
    return [{"type": "text", "text": system}] if isinstance(system, str) else list(system)


def _tools(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    named = {_name(tool): tool for tool in one}
    for tool in other:
        name = _name(tool)
        named[name] = _joined(named[name], tool) if name in named else tool
    return list(named.values())


def _name(tool: Mapping[str, Any]) -> str:
    inner = tool.get("function") or tool.get("custom") or tool
    return str(inner.get("name") or tool.get("type"))


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both; where both have one, the later wins, objects within alike."""
    joined = {**one, **other}
    for key in ("function", "custom"):
        if isinstance(one.get(key), Mapping) and isinstance(other.get(key), Mapping):
            joined[key] = {**one[key], **other[key]}
    return joined
