"""The request to go on with an answer that broke off, in words that no dialect owns.

Owns what the next model is told: the partial answer as a turn of its own, by *prefill*, or with the order to begin with
its end, by *anchor* (design.md 2.14). It must never know a wire format, nor how the order was followed: that is the
seam's.
"""

from typing import Final, Literal, NamedTuple

from hermes_router.core.catalog import Capability, DialectName, Known, Quirk, TargetFacts
from hermes_router.core.content import Conversation, Text, Turn
from hermes_router.core.events import CHARS_PER_TOKEN
from hermes_router.wire.messages.rules import Notes, rules_of
from hermes_router.wire.messages.thinking import fit_thinking
from hermes_router.wire.seam import Anchor, Seam, anchor_of

__all__ = ["ANCHOR_BEGINS", "ANCHOR_ENDS", "Continuation", "go_on", "takes_prefill"]

ANCHOR_BEGINS: Final = "<<<<<<<<"
ANCHOR_ENDS: Final = ">>>>>>>>"
"""The lines between which the anchor stands in the order."""
_ORDER: Final = (
    "Your last message was cut off by a technical fault. Its reader has seen all of it, up to its last character, and "
    "is waiting for the rest of it. Write the rest now.\n\n"
    "Begin with an exact copy of the end of your message, which stands between these two lines:\n\n"
    f"{ANCHOR_BEGINS}\n%s\n{ANCHOR_ENDS}\n\n"
    "Go on right behind it, in mid-sentence or mid-word if that is where it stops, as if there had been no break. Do "
    "not write the two lines, do not begin anew, and add no greeting, no comment, no quotes and no code fence around "
    "it.\n\n"
    "If your message was complete, write the copy and nothing else. If only a tool call was missing, write the copy "
    "and then make that call."
)
_COPY_TOKENS: Final = 16
"""What a copy of the anchor may need beyond an estimate of its length."""
_BY_HEART: Final = 24  # characters: a prefill of fewer could not be told from the beginning of an answer


class Continuation(NamedTuple):
    """A request to go on, where its answer joins, and how it was asked for."""

    conversation: Conversation
    seam: Seam
    by: Literal["prefill", "anchor"]


def takes_prefill(
    facts: TargetFacts, dialect: DialectName, conversation: Conversation, *, learned: Known = Known.UNKNOWN
) -> bool:
    """Whether this target is known to go on where a last assistant turn breaks off, in this request.

    `learned` is what probes and live answers have told, and goes before the row.
    """
    declared = facts.model.capability(Capability.PREFILL).value
    if declared is Known.UNKNOWN:
        declared = facts.provider.capabilities.get(Capability.PREFILL, facts.model.capability(Capability.PREFILL)).value
    known = declared if learned is Known.UNKNOWN else learned
    if known is not Known.YES:
        return False
    choice = conversation.choice
    if choice is not None and choice.mode in ("required", "tool"):
        return False  # a call is forced by the provider's own prefill: it refuses ours (providers.md 3.7)
    match dialect:
        case "openai_responses":
            return False  # an assistant's item is history there
        case "anthropic_messages":
            return declared is Known.YES and not _thinks_in_messages(facts, conversation)
        case "openai_chat":
            closes = Quirk.LAST_NOT_ASSISTANT in facts.quirks and Quirk.PREFILL_PREFIX not in facts.quirks
            return not closes and not _thinks_in_chat(facts, conversation)


def _thinks_in_messages(facts: TargetFacts, conversation: Conversation) -> bool:
    """With thinking on, an assistant turn must begin with a thought (providers.md 12.9)."""
    rules = rules_of(facts)
    thinking = fit_thinking(
        conversation.effort,
        conversation.thinking_tokens,
        rules,
        Notes(),
        adaptive=conversation.adaptive,
        forced=False,
    )
    return rules.always or thinking.on


def _thinks_in_chat(facts: TargetFacts, conversation: Conversation) -> bool:
    """Whether thoughts are asked for: servers refuse a prefill then, or let it begin within the thought."""
    if facts.model.capability(Capability.REASONING).value is Known.NO:
        return False
    wished = bool(conversation.thinking_tokens) or conversation.adaptive
    return wished or conversation.effort not in (None, "none")


def go_on(
    conversation: Conversation, shown: str, *, prefill: bool, echoed: bool = False, ended: bool = False
) -> Continuation:
    """The conversation, asked to go on behind the text `shown`.

    Args:
        conversation: the caller's own.
        shown: the text that the caller has seen of the answer; more than white space.
        prefill: the target takes a prefill. Of a very short beginning the anchor is asked for all the same: it may
            well be how the answer would begin anew.
        echoed: the target repeats a prefill before it goes on.
        ended: the text is known to be whole.
    """
    turns, said = conversation.turns, ""
    if turns and turns[-1].role == "assistant" and turns[-1].parts and isinstance(turns[-1].parts[-1], Text):
        said = turns[-1].parts[-1].text  # the caller's own prefill, which some providers echo
    whole = shown if said and shown.startswith(said) else said + shown
    core = whole.rstrip()
    cap = conversation.max_output_tokens
    if cap is not None:
        cap = max(1, cap - len(shown) // CHARS_PER_TOKEN)
    if prefill and (echoed or len(core) >= _BY_HEART):
        spare = None if cap is None or echoed else 0  # an echo is no output (Mistral's guide to prefixes)
        seam = Seam(whole, anchor=None, echoed=echoed, ended=ended, spare=spare)
        return Continuation(_asked(conversation, core, said=said, cap=cap, anchor=None), seam, "prefill")
    anchor = anchor_of(whole)
    copy = len(anchor.text) // CHARS_PER_TOKEN + _COPY_TOKENS
    seam = Seam(whole, anchor=anchor, ended=ended, spare=None if cap is None else copy * CHARS_PER_TOKEN)
    cap = None if cap is None else cap + copy
    return Continuation(_asked(conversation, core, said=said, cap=cap, anchor=anchor), seam, "anchor")


def _asked(conversation: Conversation, core: str, *, said: str, cap: int | None, anchor: Anchor | None) -> Conversation:
    """The turns with the partial answer, and a cap for what is left of it."""
    turns = list(conversation.turns)
    if said:
        last = turns[-1]
        turns[-1] = last._replace(parts=(*last.parts[:-1], Text(core)))
    else:
        turns.append(Turn("assistant", (Text(core),)))
    if anchor is not None:
        turns.append(Turn("user", (Text(_ORDER % anchor.text),)))
    return conversation._replace(turns=tuple(turns), max_output_tokens=cap)
