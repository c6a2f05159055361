"""A Messages request for a Messages upstream: the caller's own fields, fitted to one target.

Owns `pass_on`: the caller's raw slices go out where nothing has to change, so that marks, signatures and what we do not
know survive (facts: providers.md 12.8, 12.9, 12.12). Where messages cannot go as they are, they are read and written
anew as for any other caller. It must never know a provider: rows and their quirks say what they take.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.content import Conversation, Text
from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.outgoing import Options, Recall, Rendered
from hermes_router.wire.fields import decode
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.blocks import decode_blocks, is_null, messages_of
from hermes_router.wire.messages.compose import sampling, system_blocks
from hermes_router.wire.messages.content import read_choice, read_system, read_thinking, read_tools, read_turns
from hermes_router.wire.messages.marks import spare_marks
from hermes_router.wire.messages.request import BILLING_LINE
from hermes_router.wire.messages.rules import NEED_BETAS_IN_TOOLS, Notes, Rules, refused_fields, rules_of, without
from hermes_router.wire.messages.scan import can_go_as_they_are
from hermes_router.wire.messages.thinking import Thinking, fit_cap, fit_thinking, nearest_effort
from hermes_router.wire.messages.tools import choice_of, definitions
from hermes_router.wire.messages.turns import MessageWriter
from hermes_router.wire.quirks.parameters import SILENT

__all__ = ["pass_on"]

_ENCODE: Final = msgspec.json.Encoder().encode
_OURS: Final = frozenset({"model", "stream", "max_tokens", "output_format"})
_BILLING: Final = BILLING_LINE.encode()
_CLEANED: Final = frozenset({Quirk.CLEAN_SCHEMA_KIMI, Quirk.CLEAN_SCHEMA_BASIC})


def pass_on(inbound: Inbound, facts: TargetFacts, options: Options, recall: Recall) -> Rendered:
    """The body for one target. Raises Inexpressible where a tool is demanded that it cannot run, and BadRequest."""
    rules, notes = rules_of(facts), Notes()
    try:
        body = _body(inbound, rules, options, recall, notes)
        refused = rules.refused | options.without
        if refused:
            for key in refused_fields(refused) & body.keys():
                body[key] = _opened(body[key], key)
            without(body, refused, notes)
        encoded = _ENCODE(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, TypeError) as error:
        raise BadRequest("the request holds values that cannot be sent on") from error
    headers = rules.headers(options.betas or inbound.betas, options.session)
    return Rendered(encoded, tuple(notes.said), notes.altered, body["max_tokens"], headers)


def _opened(value: Any, key: str) -> Any:
    return decode(value, key) if isinstance(value, Raw) else value


def _body(inbound: Inbound, rules: Rules, options: Options, recall: Recall, notes: Notes) -> dict[str, Any]:
    fields = inbound.fields
    body: dict[str, Any] = {"model": rules.model, "max_tokens": 0, "stream": options.stream}
    for key, raw in fields.items():
        if key in _OURS or is_null(raw):
            continue
        if rules.takes(key):
            body[key] = raw
        elif key not in SILENT:
            notes.warn("dropped", key)
    if not is_null(fields.get("output_format")):  # its name while it was a beta
        config = _opened(body.get("output_config", {}), "output_config")
        body["output_config"] = {"format": fields["output_format"], **config}
    _fit_messages(body, fields, rules, notes, recall, strip=options.strip_thoughts)
    _fit_tools(body, fields, rules, notes)
    _fit_thinking(body, inbound, rules, options, notes)
    if Quirk.FIXED_SAMPLING in rules.quirks:
        _fit_sampling(body, rules, notes)
    if rules.marks and spare_marks(body):
        notes.warn("approx", "cache_control", altered=False)
    return body


def _fit_messages(
    body: dict[str, Any], fields: Mapping[str, Raw], rules: Rules, notes: Notes, recall: Recall, *, strip: bool
) -> None:
    """Messages and system text, as they came or written anew."""
    messages = messages_of(fields)
    system = fields.get("system")
    billed = not rules.betas and system is not None and _BILLING in bytes(system)
    leading: tuple[Text, ...] = ()
    if not can_go_as_they_are(messages, fields["messages"], rules, recall, strip_thoughts=strip):
        writer = MessageWriter(rules, recall, notes, strip_thoughts=strip)
        body["messages"] = writer.write(read_turns(messages))
        leading = tuple(writer.leading)
        notes.altered = True
    if leading or billed:
        said, billing = read_system(fields)
        body.pop("system", None)
        if blocks := system_blocks((*said, *leading), billing, "", rules):
            body["system"] = blocks


def _fit_tools(body: dict[str, Any], fields: Mapping[str, Raw], rules: Rules, notes: Notes) -> None:
    """Tools that only the maker runs, and keys that only it knows, stay away from others."""
    raw = body.get("tools")
    said = _opened(body["tool_choice"], "tool_choice") if "tool_choice" in body else {}
    choice, parallel = read_choice(said)
    if raw is not None and _must_open(raw, rules):
        tools, hosted = read_tools(fields)
        body["tools"] = definitions(Conversation(tools=tools, hosted=hosted, choice=choice), rules, notes)
        if not body["tools"]:
            del body["tools"]
    if choice is not None and (Quirk.TOOL_CHOICE_AUTO_ONLY in rules.quirks or "tools" not in body):
        fitted = choice_of(choice, parallel, rules, notes, tools="tools" in body)
        if fitted != said:
            body.pop("tool_choice", None)
        if fitted is not None:
            body["tool_choice"] = fitted


def _must_open(raw: Raw, rules: Rules) -> bool:
    if _CLEANED & rules.quirks or (Quirk.DROP_STRICT in rules.quirks and b'"strict"' in bytes(raw)):
        return True
    if rules.hosted and rules.betas:
        return False
    return any(
        not NEED_BETAS_IN_TOOLS.isdisjoint(tool) or bytes(tool.get("type", b'"custom"')) not in (b'"custom"', b"null")
        for tool in decode_blocks(raw, "tools")
    )


def _fit_thinking(body: dict[str, Any], inbound: Inbound, rules: Rules, options: Options, notes: Notes) -> None:
    """How much it thinks, in the way that this model takes, and the cap that holds it."""
    said = _opened(body.get("thinking", {}), "thinking")
    config = _opened(body.get("output_config", {}), "output_config")
    effort, asked = config.get("effort"), inbound.request.max_output_tokens
    tokens, adaptive = read_thinking(said, {})
    was = Thinking("off" if tokens == 0 else "budget" if tokens else "adaptive" if adaptive else "unsaid", tokens or 0)
    thinking = was
    if _misfits(was, effort, rules):
        if was.mode == "unsaid":  # effort alone asks for no thoughts
            thinking = _effort_alone(was, effort, rules, notes)
        else:
            forced = inbound.request.tool_forced
            thinking = fit_thinking(effort, tokens, rules, notes, adaptive=adaptive, forced=forced)
        config = {key: value for key, value in config.items() if key != "effort"}
        if thinking.effort is not None:
            config["effort"] = thinking.effort
        body["output_config"] = config
        if not config:
            del body["output_config"]
    # A caller of this dialect has counted its thoughts into its cap.
    counted = thinking.mode != "unsaid"
    cap = fit_cap(asked, thinking._replace(said=counted), rules, options, notes, tools="tools" in body)
    body["max_tokens"] = cap.tokens
    thinking = cap.thinking
    if (thinking.mode, thinking.budget) != (was.mode, was.budget):
        said = {key: value for key, value in said.items() if key not in ("type", "budget_tokens")}
        match thinking.mode:
            case "adaptive":
                said = {"type": "adaptive", **said}
            case "budget":
                said = {"type": "enabled", "budget_tokens": thinking.budget, **said}
            case "off":
                said = {"type": "disabled"}
            case "unsaid":
                said = {}
        body["thinking"] = said
    if not rules.betas and "display" in said:
        said = body["thinking"] = {key: value for key, value in said.items() if key != "display"}
    if not said:
        body.pop("thinking", None)


def _misfits(was: Thinking, effort: str | None, rules: Rules) -> bool:
    """Whether a model that is known to differ would refuse what was said."""
    if rules.reasons is False:
        return was.on or effort is not None
    if rules.adaptive:
        return (
            was.mode == "budget"
            or (was.mode == "off" and rules.always)
            or (effort is not None and bool(rules.levels) and effort not in rules.levels)
        )
    return rules.budget and (was.mode == "adaptive" or effort is not None)


def _effort_alone(was: Thinking, effort: str | None, rules: Rules, notes: Notes) -> Thinking:
    if effort is not None and rules.adaptive:
        return was._replace(effort=nearest_effort(effort, rules, notes))
    notes.warn("dropped", "output_config.effort")
    return was


def _fit_sampling(body: dict[str, Any], rules: Rules, notes: Notes) -> None:
    keys = ("temperature", "top_p")
    given = {key: _opened(body.pop(key), key) for key in keys if key in body}
    body.update(sampling(given, Thinking(), rules, notes))
