"""The request to go on: what the next model is told, by prefill where it is known to take one, else by anchor."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import Capability, Claim, Known, Quirk, TargetFacts
from hermes_router.core.content import Choice, Conversation, Text, Tool, ToolCall, ToolResult, Turn
from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.continuation import ANCHOR_BEGINS, ANCHOR_ENDS, go_on, takes_prefill
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.seam import anchor_of

from .messages_bodies import STREAM, facts, row

SHOWN = "Paris is the capital of France.\n\nIt lies on the Seine, whose islands were settled long before "
CORE = SHOWN.rstrip()
HELLO = Turn("user", (Text("Tell me of Paris."),))
SAID = Turn("assistant", (Text("Sure. "),))
ASKED = Conversation(turns=(HELLO,), max_output_tokens=1_000)
TOOL = Tool("f", "does f", {"type": "object", "properties": {}})
YES = {"capabilities": {Capability.PREFILL: Claim(Known.YES)}}


def target(provider: str, model: str = "some-model") -> TargetFacts:
    """A target of our own table, in the dialect that its row names first."""
    where = row(provider, model)
    return replace(where, dialect=next(iter(where.provider.endpoints)))


HAIKU_4, MISTRAL = target("anthropic", "claude-haiku-4-5"), target("mistral", "mistral-small-latest")


def last_texts(conversation: Conversation) -> list[tuple[str, str]]:
    """Role and text of the last two turns."""
    return [(turn.role, "".join(p.text for p in turn.parts if isinstance(p, Text))) for turn in conversation.turns[-2:]]


def anchor_in(order: str) -> str:
    """What stands between the two lines of the order."""
    return order.partition(f"\n{ANCHOR_BEGINS}\n")[2].partition(f"\n{ANCHOR_ENDS}\n")[0]


def body(conversation: Conversation, where: TargetFacts) -> dict[str, Any]:
    """What leaves for this target."""
    out: dict[str, Any] = json.loads(DIALECTS[where.dialect].compose(conversation, where, STREAM, NO_RECALL).body)
    return out


# --- what is said ------------------------------------------------------------------------------------


def test_by_prefill_the_partial_answer_is_the_last_turn() -> None:
    """Without the white space at its end, which some refuse; the seam goes straight on."""
    made = go_on(ASKED, SHOWN, prefill=True)
    assert made.by == "prefill"
    assert last_texts(made.conversation) == [("user", "Tell me of Paris."), ("assistant", CORE)]
    assert made.seam.feed(" the Romans") == "the Romans"


def test_by_prefill_an_echo_is_cut() -> None:
    """Where the row says that the target repeats it."""
    made = go_on(ASKED, SHOWN, prefill=True, echoed=True)
    assert made.seam.feed(f"{CORE} the Romans") == "the Romans"
    assert go_on(ASKED, "I", prefill=True, echoed=True).by == "prefill"


def test_by_anchor_the_partial_answer_is_followed_by_an_order() -> None:
    """To begin with the end of what was shown, which stands between two lines of their own."""
    made = go_on(ASKED, SHOWN, prefill=False)
    assert made.by == "anchor"
    (role, text), (who, order) = last_texts(made.conversation)
    assert (role, text, who) == ("assistant", CORE, "user")
    assert anchor_in(order) == anchor_of(SHOWN).text
    assert made.seam.feed(f"{anchor_in(order)} the Romans") == "the Romans"


def test_a_short_beginning_is_asked_for_by_anchor_all_the_same() -> None:
    """Behind a few letters, a target that goes on could not be told from one that starts anew."""
    made = go_on(ASKED, "Par", prefill=True)
    assert made.by == "anchor"
    assert made.seam.feed("Paris is") == "is is"


def test_the_cap_shrinks_by_what_was_shown() -> None:
    """Four characters a token; a copy of the anchor must fit too, and there is always room for a word."""
    shown = "word " * 400
    by_prefill = go_on(ASKED, shown, prefill=True).conversation.max_output_tokens
    assert by_prefill == 500
    by_anchor = go_on(ASKED, shown, prefill=False).conversation.max_output_tokens
    assert by_anchor is not None
    assert 500 < by_anchor < 640
    assert go_on(ASKED, shown * 9, prefill=True).conversation.max_output_tokens == 1
    assert go_on(ASKED._replace(max_output_tokens=None), shown, prefill=False).conversation.max_output_tokens is None


def test_a_cap_that_went_for_what_was_shown_is_no_end() -> None:
    """A target that starts anew, or copies far more than was asked for, ends at its cap too early (`wasted`)."""
    shown = " ".join(map(str, range(90))) + f"\n{SHOWN}"
    core, anchor = shown.rstrip(), anchor_of(shown).text
    for prefill, reply, wasted in (
        (True, "the Romans", False),
        (True, f"{core} the Romans", True),
        (False, f"Sure:\n{anchor} the Romans", False),
        (False, f"{core} the Romans", True),
    ):
        for pieces in ([reply], reply):
            seam = go_on(ASKED, shown, prefill=prefill).seam
            assert "".join([*map(seam.feed, pieces), seam.finish()]).endswith("the Romans")
            assert seam.wasted is wasted
        free = go_on(ASKED._replace(max_output_tokens=None), shown, prefill=prefill).seam
        free.feed(reply)
        free.finish()
        assert not free.wasted
    echoes = go_on(ASKED, shown, prefill=True, echoed=True).seam
    echoes.feed(f"{core} the Romans")
    assert not echoes.wasted


def test_the_rest_of_the_request_stays() -> None:
    """Tools, system text and the turns before are the caller's own."""
    asked = ASKED._replace(system=(Text("Be kind."),), tools=(TOOL,), parameters={"temperature": 0.5})
    made = go_on(asked, SHOWN, prefill=False).conversation
    assert made.turns[:1] == (HELLO,)
    assert made._replace(turns=asked.turns, max_output_tokens=1_000) == asked


@pytest.mark.parametrize("shown", [SHOWN, "Sure. " + SHOWN])
def test_the_callers_own_prefill_is_part_of_the_turn(shown: str) -> None:
    """It begins the answer, whether or not the first provider repeated it."""
    asked = ASKED._replace(turns=(HELLO, SAID))
    for prefill in (True, False):
        made = go_on(asked, shown, prefill=prefill)
        assert ("assistant", "Sure. " + CORE) in last_texts(made.conversation)
        assert sum(turn.role == "assistant" for turn in made.conversation.turns) == 1


def test_a_turn_that_ends_with_a_call_is_another() -> None:
    """Calls stand behind the text of their turn."""
    turn = Turn("assistant", (Text("Calling."), ToolCall("c", "f", "{}")))
    made = go_on(ASKED._replace(turns=(HELLO, turn)), SHOWN, prefill=True)
    assert made.conversation.turns[1:] == (turn, Turn("assistant", (Text(CORE),)))


def test_where_the_text_was_whole_the_call_is_enough() -> None:
    """A model that goes on with the call and says nothing is believed."""
    for prefill in (True, False):
        seam = go_on(ASKED, SHOWN, prefill=prefill, ended=True).seam
        assert seam.called() == ""
        assert seam.joined


# --- who takes a prefill -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "learned", "taken"),
    [
        (facts(**YES), Known.UNKNOWN, True),
        (facts(**YES), Known.NO, False),
        (facts(), Known.UNKNOWN, False),
        (facts(), Known.YES, False),  # what is written for it depends on the row
        (facts(Quirk.BUDGET_THINKING, **YES), Known.UNKNOWN, True),
        (facts(Quirk.ALWAYS_THINKS, **YES), Known.UNKNOWN, False),
        (HAIKU_4, Known.UNKNOWN, True),
        (row("anthropic", "claude-haiku-5-5"), Known.UNKNOWN, False),
    ],
)
def test_who_takes_a_prefill_in_messages(where: TargetFacts, learned: Known, taken: bool) -> None:
    """What the row declares, unless it was learned to be wrong; never a model that always thinks (12.2)."""
    assert takes_prefill(where, "anthropic_messages", ASKED, learned=learned) is taken


@pytest.mark.parametrize(
    ("where", "learned", "taken"),
    [
        (MISTRAL, Known.UNKNOWN, True),
        (MISTRAL, Known.NO, False),
        (row("kimi", "k3"), Known.UNKNOWN, False),
        (row("local", "some-model"), Known.UNKNOWN, False),
        (row("local", "some-model"), Known.YES, True),
        (row("mistral", "zai-glm-5-3-flash"), Known.UNKNOWN, False),
        (facts(Quirk.LAST_NOT_ASSISTANT, **YES), Known.YES, False),
    ],
)
def test_who_takes_a_prefill_in_chat(where: TargetFacts, learned: Known, taken: bool) -> None:
    """Here what a probe found out is enough, but for a row that closes a last assistant turn."""
    assert takes_prefill(where, "openai_chat", ASKED, learned=learned) is taken


@pytest.mark.parametrize(
    "wishes",
    [{"effort": "high"}, {"thinking_tokens": 4_096}, {"adaptive": True, "effort": "low"}],
)
def test_nobody_takes_a_prefill_and_thinks(wishes: dict[str, Any]) -> None:
    """A thought cannot begin in the middle of an answer; where none is asked for, it need not."""
    for where, dialect in ((HAIKU_4, "anthropic_messages"), (MISTRAL, "openai_chat")):
        assert not takes_prefill(where, dialect, ASKED._replace(**wishes))  # type: ignore[arg-type]
        assert takes_prefill(where, dialect, ASKED._replace(effort="none", thinking_tokens=0))  # type: ignore[arg-type]
    plain = facts(capabilities={Capability.REASONING: Claim(Known.NO)})
    assert takes_prefill(plain, "openai_chat", ASKED._replace(**wishes), learned=Known.YES)


def test_no_prefill_where_a_call_is_forced_nor_in_responses() -> None:
    """Providers force a call by a prefill of their own; an assistant's item of Responses is history."""
    for choice in (Choice("required"), Choice("tool", ("f",))):
        assert not takes_prefill(HAIKU_4, "anthropic_messages", ASKED._replace(tools=(TOOL,), choice=choice))
    assert takes_prefill(HAIKU_4, "anthropic_messages", ASKED._replace(tools=(TOOL,), choice=Choice("auto")))
    assert not takes_prefill(facts(**YES), "openai_responses", ASKED)


# --- what leaves -------------------------------------------------------------------------------------


def test_a_prefill_leaves_as_one() -> None:
    """The last message, marked where the provider wants a mark, and never followed by another."""
    results = (
        Turn("assistant", (ToolCall("abcDEF123", "f", "{}"),)),
        Turn("user", (ToolResult("abcDEF123", (Text("r"),)),)),
    )
    for turns in ((HELLO,), (HELLO, SAID), (HELLO, *results), (HELLO, *results, SAID)):
        made = go_on(ASKED._replace(turns=turns), SHOWN, prefill=True).conversation
        told = "Sure. " + CORE if turns[-1] is SAID else CORE
        assert body(made, HAIKU_4)["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": told}]}
        assert body(made, MISTRAL)["messages"][-1] == {"role": "assistant", "content": told, "prefix": True}


@pytest.mark.parametrize("name", ["anthropic", "mistral", "kimi", "openai", "gemini", "groq", "local"])
def test_an_order_leaves_as_the_last_message_of_every_row(name: str) -> None:
    """The partial answer stands before it, unmarked."""
    where = target(name)
    made = go_on(ASKED, SHOWN, prefill=False).conversation
    sent = body(made, where)
    *_, partial, order = sent.get("messages") or sent["input"]
    assert (partial["role"], order["role"]) == ("assistant", "user")
    assert CORE in json.dumps(partial, ensure_ascii=False).replace("\\n", "\n")
    assert ANCHOR_BEGINS in json.dumps(order)
    assert not {"prefix", "partial"} & partial.keys()
