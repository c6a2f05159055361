"""Live lists of models, read into values: one question, and one table of how each family of lists is written.

Owns facts/providers.md 9: where windows, prices and capabilities stand in a list, by family; rows name theirs. A list
may be cut, huge, HTML, or garbage: then it is an UpstreamError, never half a list. It must never judge what a missing
model means.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from hermes_router.core.catalog import Capability, Known, Price, ProviderSpec
from hermes_router.core.errors import Malformed, UpstreamError
from hermes_router.core.ids import ModelId
from hermes_router.core.live_lists import Listed, LiveList
from hermes_router.core.ports import Outbound, Transport
from hermes_router.upstream.fetch import fetch

__all__ = ["FAMILIES", "Family", "list_address", "read_list", "read_models"]

Entry = Mapping[str, Any]
Said = Mapping[Capability, object]

_TIMEOUT_S: Final = 30.0  # NVIDIA's may take more than ten
_MAX_BYTES: Final = 16_000_000
_MAX_MODELS: Final = 5_000
_MAX_ID: Final = 200
_MAX_TOKENS: Final = 1 << 31
_MOST_EFFORTS: Final = 20
_EFFORTS: Final = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_NOTHING: Final[Entry] = {}


# --- the question -------------------------------------------------------------------------------------


def list_address(spec: ProviderSpec, base_url: str, *, own_address: bool) -> tuple[str, str]:
    """The URL of a row's list and the family that it is written in.

    `own_address` = the owner put another address in the row's place: whatever answers there has its list at `/models`.
    """
    if not spec.list_url.startswith("https:"):
        return base_url + spec.list_url, spec.list_family
    return (f"{base_url}/models", "generic") if own_address else (spec.list_url, spec.list_family)


async def read_list(
    transport: Transport,
    spec: ProviderSpec,
    base_url: str,
    headers: Mapping[str, str],
    *,
    own_address: bool,
    now: float,
) -> LiveList:
    """A provider's list as it is now. Raises UpstreamError where there is none, or none that can be read."""
    url, family = list_address(spec, base_url, own_address=own_address)
    try:
        reply = await fetch(transport, Outbound("GET", url, headers), timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    except ValueError as error:
        raise UpstreamError(f"the address cannot be asked: {error}") from None
    if reply.status != 200:
        raise UpstreamError(f"the list of models was refused with HTTP {reply.status}", status=reply.status)
    return LiveList(read_models(reply.body, family, spec.model_prefix), now, base_url)


def read_models(body: bytes, family: str, prefix: str = "") -> tuple[Listed, ...]:
    """The models of a list's body, `prefix` taken off their ids. Raises Malformed where it is no list."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Malformed("the list of models cannot be read") from None
    rows = found
    if isinstance(found, dict):
        rows = next((found[key] for key in ("data", "models") if isinstance(found.get(key), list)), None)
    if not isinstance(rows, list) or len(rows) > _MAX_MODELS:
        raise Malformed("the list of models cannot be read")
    reader = FAMILIES.get(family, FAMILIES["generic"])
    entries = [row for row in rows if isinstance(row, dict)]
    return tuple(model for entry in entries if (model := _listed(entry, reader, prefix)) is not None)


# --- one entry ----------------------------------------------------------------------------------------


def _nothing(_entry: Entry) -> Said:
    return {}


def _no_price(_entry: Entry) -> Price | None:
    return None


def _no_words(_entry: Entry) -> tuple[str, ...]:
    return ()


def _yes(_entry: Entry) -> bool:
    return True


class Family(NamedTuple):
    """How one family writes an entry. Paths are keys joined by dots; the first that holds a number counts.

    `names` are the keys of the id: the first that holds one counts. `least` = of several windows the smallest is the
    true one. `here` False leaves an entry out: it is listed, but gone. `lite` is the key that says which shape is asked
    for, `efforts` reads the words for it.
    """

    context: tuple[str, ...] = ("context_length", "context_window", "max_context_length", "max_model_len")
    output: tuple[str, ...] = ("max_completion_tokens", "max_output_tokens")
    least: bool = False
    said: Callable[[Entry], Said] = _nothing
    price: Callable[[Entry], Price | None] = _no_price
    chats: Callable[[Entry], bool] = _yes
    here: Callable[[Entry], bool] = _yes
    aliases: str = ""
    window: Callable[[Entry], int | None] | None = None
    names: tuple[str, ...] = ("id", "name")
    lite: str = ""
    efforts: Callable[[Entry], tuple[str, ...]] = _no_words


def _listed(entry: Entry, family: Family, prefix: str) -> Listed | None:
    model_id = next(filter(None, (_name(entry.get(key), prefix) for key in family.names)), "")
    if not model_id or not family.here(entry):
        return None
    aliases = entry.get(family.aliases) if family.aliases else None
    lite = entry.get(family.lite) if family.lite else None
    said = {what: is_so for what, is_so in family.said(entry).items() if isinstance(is_so, bool)}
    return Listed(
        id=ModelId(model_id),
        context=family.window(entry) if family.window is not None else _tokens(entry, family.context, family.least),
        max_output=_tokens(entry, family.output, least=False),
        price=family.price(entry),
        capabilities={what: Known.YES if is_so else Known.NO for what, is_so in said.items()},
        chats=family.chats(entry),
        aliases=tuple(filter(None, (_name(one, prefix) for one in _list(aliases)[:20]))),
        lite=lite if isinstance(lite, bool) else None,
        efforts=family.efforts(entry),
    )


def _name(value: object, prefix: str) -> str:
    """An id that can be shown and sent, else nothing."""
    if not isinstance(value, str):
        return ""
    name = value.removeprefix(prefix)
    sound = 0 < len(name) <= _MAX_ID and name.isprintable() and " " not in name and "," not in name
    return name if sound else ""


def _tokens(entry: Entry, paths: tuple[str, ...], least: bool) -> int | None:
    found = [count for path in paths if (count := _count(_at(entry, path))) is not None]
    if not found:
        return None
    return min(found) if least else found[0]


def _at(entry: Entry, path: str) -> object:
    value: object = entry
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _count(value: object) -> int | None:
    """A positive whole number of sensible size; some write it as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 11:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_TOKENS:
        return value
    return None


def _dollars(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < 1e9 else None  # type: ignore[operator, arg-type] # a number


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _table(value: object) -> Entry:
    return value if isinstance(value, dict) else _NOTHING


# --- families -----------------------------------------------------------------------------------------


def _parameters(entry: Entry) -> Said:
    """`supported_parameters` and modalities, as OpenRouter writes them, and others after it; absent = not said."""
    said: dict[Capability, object] = {}
    names = entry.get("supported_parameters")
    if isinstance(names, list):
        said |= {
            Capability.TOOLS: "tools" in names,
            Capability.REASONING: "reasoning" in names or "include_reasoning" in names,
            Capability.JSON_SCHEMA: True if "structured_outputs" in names else None,
            Capability.JSON_OBJECT: True if "response_format" in names else None,
            Capability.LOGPROBS: True if "logprobs" in names else None,
            Capability.PARALLEL_TOOLS: True if "parallel_tool_calls" in names else None,
        }
    inputs = _at(entry, "architecture.input_modalities")
    if isinstance(inputs, list):
        said |= {
            Capability.IMAGES: "image" in inputs,
            Capability.AUDIO: "audio" in inputs,
            Capability.FILES: "file" in inputs,
        }
    return said


def _writes_text(entry: Entry) -> bool:
    outputs = _at(entry, "architecture.output_modalities")
    return "text" in outputs if isinstance(outputs, list) else True


def _per_token(entry: Entry) -> Price | None:
    """`pricing` in dollars a token, as text. A negative price is a router's that charges what it picks: unknown."""
    told = _table(entry.get("pricing"))
    each = [_dollars(told.get(key)) for key in ("prompt", "completion")]
    per_request = _dollars(told.get("request")) or 0.0
    if each[0] is None or each[1] is None:
        return None
    # A price by the request is none by the token, but it is one: it must not look free.
    return Price(*(max(round(one * 1e12), 1 if one or per_request else 0) for one in each if one is not None))


def _of_mistral(entry: Entry) -> Said:
    can = _table(entry.get("capabilities"))
    return {
        Capability.TOOLS: can.get("function_calling"),
        Capability.IMAGES: can.get("vision"),
        Capability.REASONING: can.get("reasoning"),
        Capability.AUDIO: can.get("audio"),
    }


def _of_cohere(entry: Entry) -> Said:
    """`features` names what there is; what it leaves out is not said."""
    names = _list(entry.get("features"))
    return {
        what: True
        for what, name in (
            (Capability.TOOLS, "tools"),
            (Capability.IMAGES, "vision"),
            (Capability.REASONING, "reasoning"),
            (Capability.JSON_OBJECT, "json_mode"),
            (Capability.JSON_SCHEMA, "json_schema"),
        )
        if name in names
    }


def _partners(entry: Entry) -> list[Entry]:
    """The partners of Hugging Face that serve a model now; any of them may be picked."""
    rows = [row for row in _list(entry.get("providers")) if isinstance(row, dict)]
    return [row for row in rows if row.get("status", "live") == "live"]


def _of_partners(entry: Entry) -> Said:
    said: dict[Capability, object] = {}
    for what, key in ((Capability.TOOLS, "supports_tools"), (Capability.JSON_SCHEMA, "supports_structured_output")):
        told = {row[key] for row in _partners(entry) if isinstance(row.get(key), bool)}
        if len(told) == 1:  # where partners differ, nobody knows whom it will be
            said[what] = told.pop()
    return said


def _least_window(entry: Entry) -> int | None:
    """The smallest window of its partners, those without tools aside where others have them."""
    rows = _partners(entry)
    able = [row for row in rows if row.get("supports_tools") is True] or rows
    return min((count for row in able if (count := _count(row.get("context_length"))) is not None), default=None)


def _dearest(entry: Entry) -> Price | None:
    """What the dearest partner takes, in dollars per million tokens."""
    told = [_table(row.get("pricing")) for row in _partners(entry)]
    inputs = [price for one in told if (price := _dollars(one.get("input"))) is not None]
    outputs = [price for one in told if (price := _dollars(one.get("output"))) is not None]
    return Price(round(max(inputs) * 1e6), round(max(outputs) * 1e6)) if inputs and outputs else None


def _of_kimi(entry: Entry) -> Said:
    sees = entry.get("supports_image_in", entry.get("supports_image"))
    return {Capability.REASONING: entry.get("supports_reasoning"), Capability.IMAGES: sees}


def _of_codex(entry: Entry) -> Said:
    inputs = entry.get("input_modalities")
    return {
        Capability.REASONING: True if entry.get("supported_reasoning_levels") else None,
        Capability.IMAGES: "image" in inputs if isinstance(inputs, list) else None,
    }


def _efforts(entry: Entry) -> tuple[str, ...]:
    """The words that a model takes; `ultra` is the maker's own client's, and sent as `max` (codex.md 7)."""
    told = [_table(one).get("effort", one) for one in _list(entry.get("supported_reasoning_levels"))]
    return tuple(word for word in told[:_MOST_EFFORTS] if word in _EFFORTS)


FAMILIES: Final[Mapping[str, Family]] = {
    "generic": Family(said=_parameters, chats=_writes_text, here=lambda e: e.get("active") is not False),
    "gemini": Family(  # the native list; the compatible one has ids only
        context=("inputTokenLimit",),
        output=("outputTokenLimit",),
        said=lambda e: {Capability.REASONING: e.get("thinking")},
        chats=lambda e: "generateContent" in _list(e.get("supportedGenerationMethods", ["generateContent"])),
    ),
    "openrouter": Family(
        context=("context_length", "top_provider.context_length"),
        output=("top_provider.max_completion_tokens",),
        least=True,
        said=_parameters,
        price=_per_token,
        chats=_writes_text,
    ),
    "mistral": Family(
        context=("max_context_length",),
        said=_of_mistral,
        chats=lambda e: _at(e, "capabilities.completion_chat") is not False,
        aliases="aliases",
    ),
    "cohere": Family(
        said=_of_cohere,
        chats=lambda e: "chat" in _list(e.get("endpoints", ["chat"])),
        here=lambda e: e.get("is_deprecated") is not True,
    ),
    "huggingface": Family(
        said=_of_partners,
        price=_dearest,
        window=_least_window,
        here=lambda e: bool(_partners(e)) or "providers" not in e,
    ),
    "codex": Family(  # facts/codex.md 7, 10: hidden ones are for its own client
        names=("slug",),
        context=("context_window",),
        output=(),
        said=_of_codex,
        here=lambda e: e.get("visibility", "list") == "list",
        lite="use_responses_lite",
        efforts=_efforts,
    ),
    "kimi": Family(said=_of_kimi),
    "anthropic": Family(context=("max_input_tokens",), output=("max_tokens",)),
}
"""How lists are written, by the name that rows give as `list_family`. Sources: facts/providers.md 9."""
