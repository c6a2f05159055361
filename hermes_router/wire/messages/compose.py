"""Neutral content as the body of a Messages request, for one target.

Owns `compose` (facts: providers.md 12.2-12.9): which fields are sent and with which values; turns, tools and thinking
have modules of their own. It must never know a provider: rows and their quirks say what they take.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.content import Conversation, Format, Text
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.chat.outgoing import Options, Recall, Rendered
from hermes_router.wire.messages.content import BILLING_KEY
from hermes_router.wire.messages.marks import holds_marks, set_marks
from hermes_router.wire.messages.media import own_keys
from hermes_router.wire.messages.parts import DIALECT
from hermes_router.wire.messages.rules import Notes, Rules, rules_of, without
from hermes_router.wire.messages.thinking import Thinking, fit_cap, fit_thinking
from hermes_router.wire.messages.tools import choice_of, definitions
from hermes_router.wire.messages.turns import MessageWriter, text_block
from hermes_router.wire.quirks.parameters import NEUTRAL, SILENT

__all__ = ["compose", "encoded", "json_instruction", "sampling", "system_blocks", "thinking_fields"]

_ENCODE: Final = msgspec.json.Encoder().encode
_SAID_ELSEWHERE: Final = frozenset({"temperature", "top_p", "top_k", "stop", "user", "n", "logprobs"})
_MAPPED: Final = frozenset({BILLING_KEY, "thinking", "output_config", "metadata"})
_QUIET: Final = frozenset({"include", "truncation", "reasoning", "include_reasoning", "modalities"})
"""Fields of other dialects that ask for nothing that could be missed here (clients.md 7.2)."""
_NEUTRAL_TEMPERATURE: Final = 1
_LEAST_TOP_P: Final = 0.95
"""With thinking on, less is refused (12.8)."""
_DEEP: Final = 100
_MAPS: Final = frozenset({"properties", "$defs", "definitions"})
_LISTS: Final = frozenset({"items", "anyOf", "oneOf", "allOf", "prefixItems"})
"""Keywords whose values are schemas, by name or in a list."""


def compose(conversation: Conversation, facts: TargetFacts, options: Options, recall: Recall) -> Rendered:
    """The body for one target. Raises Inexpressible, and BadRequest where values cannot be sent at all."""
    rules, notes = rules_of(facts), Notes()
    notes.said.update(dict.fromkeys(conversation.warnings))
    _refuse(conversation)
    try:
        body = _body(conversation, rules, options, recall, notes)
        return encoded(body, facts, options, notes)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, TypeError) as error:
        raise BadRequest("the request holds values that cannot be sent on") from error


def encoded(body: dict[str, Any], facts: TargetFacts, options: Options, notes: Notes) -> Rendered:
    """The body as bytes. A translated request counts as altered: another provider may take it (contract.md, Errors)."""
    rules = rules_of(facts)
    without(body, rules.refused | options.without, notes)
    return Rendered(
        _ENCODE(body), tuple(notes.said), True, body["max_tokens"], rules.headers(options.betas, options.session)
    )


def _refuse(conversation: Conversation) -> None:
    """What no target of this dialect can do, and what would change the answer if it were left out (12.13)."""
    parameters = conversation.parameters
    several = parameters.get("n")
    if isinstance(several, int) and several > 1:
        raise Inexpressible("one answer a request", param="n")
    if parameters.get("logprobs"):
        raise Inexpressible("no log probabilities", param="logprobs")
    for dialect, own in conversation.extras.items():
        modalities = own.get("modalities") if dialect != DIALECT and isinstance(own, dict) else None
        if isinstance(modalities, list) and "audio" in modalities:
            raise Inexpressible("no sound in answers", param="modalities")


def _body(conversation: Conversation, rules: Rules, options: Options, recall: Recall, notes: Notes) -> dict[str, Any]:
    own = own_keys(conversation.extras)
    tools = definitions(conversation, rules, notes)
    choice = choice_of(conversation.choice, conversation.parallel, rules, notes, tools=bool(tools))
    forced = choice is not None and choice["type"] in ("any", "tool")
    thinking = fit_thinking(
        conversation.effort, conversation.thinking_tokens, rules, notes, adaptive=conversation.adaptive, forced=forced
    )
    if forced and choice is not None and thinking.on:  # a model that always thinks cannot be forced (12.5)
        choice = {**choice, "type": "auto"}
        choice.pop("name", None)
        notes.warn("approx", "tool_choice")
    writer = MessageWriter(rules, recall, notes, strip_thoughts=options.strip_thoughts, thinks=thinking.on)
    messages = writer.write(conversation.turns)
    if thinking.mode == "budget" and rules.claude and _lost_its_thought(messages):
        notes.warn("dropped", "thinking")  # "Expected `thinking`…" (12.9)
        thinking = Thinking("off")
    cap = fit_cap(conversation.max_output_tokens, thinking, rules, options, notes, tools=bool(tools))
    thinking = cap.thinking
    config, instruction = _format(conversation.format, rules, notes)
    system = system_blocks((*conversation.system, *writer.leading), own.get(BILLING_KEY, ""), instruction, rules)
    # Once is no conversation: to write a cache costs more than it brings.
    agent = bool(tools) or any(turn.role == "assistant" for turn in conversation.turns)
    if rules.marks and agent and not holds_marks(conversation):
        set_marks(system, tools, messages)
    body: dict[str, Any] = {"model": rules.model, "max_tokens": cap.tokens, "stream": options.stream}
    if system:
        body["system"] = system
    body["messages"] = messages
    if tools:
        body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice
    body.update(thinking_fields(thinking, own, config, rules))
    body.update(sampling(conversation.parameters, thinking, rules, notes))
    body.update(_rest(conversation, own, rules, notes))
    return body


def system_blocks(system: tuple[Text, ...], billing: str, instruction: str, rules: Rules) -> list[dict[str, Any]]:
    """The leading system text; the billing line goes to the maker of the dialect only (12.2)."""
    blocks = [text_block(billing)] if billing and rules.betas else []
    blocks += ({**text_block(part.text), **own_keys(part.extras)} for part in system if part.text.strip())
    return [*blocks, text_block(instruction)] if instruction else blocks


def _lost_its_thought(messages: list[dict[str, Any]]) -> bool:
    """Whether the tool loop that is under way began without a thought that can be shown."""
    if len(messages) < 2 or messages[-1]["content"][0]["type"] != "tool_result":
        return False
    return messages[-2]["content"][0]["type"] not in ("thinking", "redacted_thinking")


# --- wishes -----------------------------------------------------------------------------------------


def thinking_fields(thinking: Thinking, own: Mapping[str, Any], config: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """`thinking` and `output_config`, with what the caller said beside in this dialect."""
    said = own.get("thinking")
    beside = {key: value for key, value in said.items() if key not in ("type", "budget_tokens")} if said else {}
    beside = beside if rules.betas else {}
    out: dict[str, Any] = {}
    match thinking.mode:
        case "off":
            out["thinking"] = {"type": "disabled"}
        case "adaptive":
            kind = said.get("type", "adaptive") if said and rules.betas else "adaptive"
            out["thinking"] = {"type": "adaptive" if kind == "enabled" else kind, **beside}
        case "budget":
            out["thinking"] = {"type": "enabled", "budget_tokens": thinking.budget, **beside}
        case "unsaid":
            pass
    config = {**(own.get("output_config") or {} if rules.betas else {}), **config}
    if thinking.effort is not None:
        config["effort"] = thinking.effort
    if config:
        out["output_config"] = config
    return out


def sampling(parameters: Mapping[str, Any], thinking: Thinking, rules: Rules, notes: Notes) -> dict[str, Any]:
    """Temperature and its kin within what this dialect and this model take (12.8)."""
    out = {key: parameters[key] for key in ("temperature", "top_p", "top_k") if parameters.get(key) is not None}
    stop = _stops(parameters.get("stop"), rules, notes)
    temperature, top_p = out.get("temperature"), out.get("top_p")
    if temperature is not None and temperature > _NEUTRAL_TEMPERATURE:
        out["temperature"] = _NEUTRAL_TEMPERATURE
        notes.warn("approx", "temperature")
    gone: list[str] = []
    if Quirk.FIXED_SAMPLING in rules.quirks:
        gone = ["temperature", "top_p"]
    elif thinking.on:
        gone = ["temperature", "top_k"]
        if top_p is not None and (top_p < _LEAST_TOP_P or top_p > 1):
            gone.append("top_p")
    elif temperature is not None and top_p is not None and rules.claude:
        gone = ["top_p"]  # newer ones refuse both together
    for key in gone:
        if key in out and out.pop(key) not in NEUTRAL.get(key, ()):
            notes.warn("dropped", key)
    if out.get("temperature") == 0 and Quirk.NO_ZERO_TEMPERATURE in rules.quirks:
        out["temperature"] = 0.01
        notes.warn("approx", "temperature")
    return {**out, "stop_sequences": stop} if stop else out


def _stops(said: Any, rules: Rules, notes: Notes) -> list[str]:
    stops = [stop for stop in said if isinstance(stop, str)] if isinstance(said, list) else []
    kept = [stop for stop in stops if stop.strip()]  # white space alone is refused
    if Quirk.ONE_STOP in rules.quirks:
        kept = kept[:1]
    if len(kept) != len(stops):
        notes.warn("approx", "stop")
    return kept


def _format(wanted: Format | None, rules: Rules, notes: Notes) -> tuple[dict[str, Any], str]:
    """The part of `output_config`, or the instruction that stands for it."""
    if wanted is None:
        return {}, ""
    schema = wanted.schema
    if wanted.kind == "json_schema" and schema is not None and rules.schemas:
        closed = _closed(schema, 0)
        if closed is not None:
            return {"format": {"type": "json_schema", "schema": closed}}, ""
    notes.warn("approx", "response_format")
    return {}, json_instruction(schema)


def json_instruction(schema: Mapping[str, Any] | None) -> str:
    """What is said to a model that cannot be held to a format."""
    text = "Answer with one JSON object and nothing else."
    if schema is not None:
        text += f" It must match this JSON schema: {_ENCODE(schema).decode()}"
    return text


def _closed(node: Any, depth: int) -> Any:
    """The schema with all its objects closed, which is all that the dialect holds a model to; None if one is open."""
    if not isinstance(node, dict):
        return node
    if depth > _DEEP or node.get("additionalProperties") not in (None, False):
        return None
    out = dict(node)
    for key in _MAPS & node.keys():
        if isinstance(node[key], dict):
            out[key] = {name: _closed(each, depth + 1) for name, each in node[key].items()}
            if None in out[key].values():
                return None
    for key in _LISTS & node.keys():
        listed = isinstance(node[key], list)
        inner = [_closed(each, depth + 1) for each in (node[key] if listed else [node[key]])]
        if None in inner:
            return None
        out[key] = inner if listed else inner[0]
    if node.get("type") == "object" or "properties" in node:
        out["additionalProperties"] = False
    return out


def _rest(conversation: Conversation, own: Mapping[str, Any], rules: Rules, notes: Notes) -> dict[str, Any]:
    """Metadata and fields that only this dialect has; what is left of other dialects is said to be dropped."""
    out: dict[str, Any] = {}
    metadata, user = own.get("metadata"), conversation.parameters.get("user")
    if metadata is None and isinstance(user, str) and user:
        # Often a name or an address: the provider needs one that is the same each time, no more.
        metadata = {"user_id": hashlib.blake2b(user.encode(errors="replace"), digest_size=16).hexdigest()}
    if metadata and rules.takes("metadata"):
        out["metadata"] = metadata
    for key, value in own.items():
        if key in _MAPPED:
            continue
        if rules.takes(key):
            out[key] = value
        elif key not in SILENT:
            notes.warn("dropped", key)
    for parameters in (conversation.parameters, *_foreign(conversation)):
        for key, value in parameters.items():
            if key not in _SAID_ELSEWHERE and not _is_silent(key, value):
                notes.warn("dropped", key)
    return out


def _foreign(conversation: Conversation) -> list[Mapping[str, Any]]:
    return [own for dialect, own in conversation.extras.items() if dialect != DIALECT and isinstance(own, dict)]


def _is_silent(key: str, value: Any) -> bool:
    """Whether nothing is lost with this field."""
    return key in SILENT or key in _QUIET or value is None or value in NEUTRAL.get(key, ())
