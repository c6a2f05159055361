"""Neutral content as a Messages body: the order and the words that the dialect demands, and what is said to be lost."""

import base64
import json
from typing import Any

import pytest

from hermes_router.core.catalog import Capability, Claim, Known, Quirk
from hermes_router.core.content import (
    Audio,
    Choice,
    Conversation,
    Document,
    Foreign,
    Format,
    Image,
    Reasoning,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.chat.outgoing import NO_RECALL, Options, Rendered
from hermes_router.wire.messages.compose import compose
from hermes_router.wire.messages.parts import FILE_ID
from hermes_router.wire.messages.turns import FIRST_TURN, SYSTEM_NOTE
from hermes_router.wire.quirks.calls import CONTINUE
from hermes_router.wire.quirks.history import NO_NAME, NO_RESULT

from ..messages_bodies import MARK, PNG, STREAM, Remembers, facts, row, text

OURS = "anthropic_messages"
YES, NO = Claim(Known.YES), Claim(Known.NO)
HELLO = Turn("user", (Text("hi"),))
HAIKU_4, HAIKU_5 = row("anthropic", "claude-haiku-4-5"), row("anthropic", "claude-haiku-5-5")
SONNET_5 = row("anthropic", "claude-sonnet-5-5")
TOOL = Tool("f", "does f", {"type": "object", "properties": {}})


def sent(
    *turns: Turn, where: Any = None, options: Options = STREAM, recall: Any = NO_RECALL, **fields: Any
) -> tuple[dict[str, Any], Rendered]:
    """The body that goes out, decoded, and the rendering."""
    conversation = Conversation(turns=turns or (HELLO,), **fields)
    rendered = compose(conversation, where or facts(), options, recall)
    return json.loads(rendered.body), rendered


def messages(*turns: Turn, **fields: Any) -> list[dict[str, Any]]:
    body: list[dict[str, Any]] = sent(*turns, **fields)[0]["messages"]
    return body


def warned(rendered: Rendered) -> set[str]:
    return {str(note) for note in rendered.warnings}


# --- turns ------------------------------------------------------------------------------------------


def test_turns_of_one_role_are_one_and_the_first_is_the_users() -> None:
    """M merges them itself; a conversation that begins with the assistant gets a word before it (12.2)."""
    out = messages(Turn("assistant", (Text("a"),)), Turn("assistant", (Text("b"),)), HELLO, HELLO)
    assert [(each["role"], [block["text"] for block in each["content"]]) for each in out] == [
        ("user", [FIRST_TURN]), ("assistant", ["a", "b"]), ("user", ["hi", "hi"]),
    ]  # fmt: skip


def test_empty_texts_and_empty_turns_are_left_out() -> None:
    """White space alone is refused (12.2)."""
    out = messages(HELLO, Turn("assistant", (Text(""), Text(" \n"))), Turn("user", (Text("x"), Text(""))))
    assert out == [{"role": "user", "content": [text("hi"), text("x")]}]


def test_leading_system_text_and_instructions_in_the_middle() -> None:
    """In the middle they stay where the model takes them, else they are marked as such in the user's turn (12.2)."""
    turns = (HELLO, Turn("developer", (Text("now French"),)), Turn("assistant", (Text("oui"),)), HELLO)
    body, rendered = sent(*turns, system=(Text("be good"), Text("")))
    assert body["system"] == [text("be good")]
    assert body["messages"][0]["content"][1]["text"] == f"{SYSTEM_NOTE}\nnow French"
    assert "approx:messages.system" in warned(rendered)
    body, rendered = sent(*turns, where=facts(Quirk.SYSTEM_TURNS))
    assert body["messages"][1] == {"role": "system", "content": [text("now French")]}
    assert warned(rendered) == set()
    body, _ = sent(Turn("system", (Text("first"),)), HELLO, system=(Text("zeroth"),))
    assert body["system"] == [text("zeroth"), text("first")]


def test_results_stand_right_behind_their_calls_all_in_one_turn() -> None:
    """Parallel calls, answered in another order, with words of the user and an instruction between (12.2, 12.4)."""
    out = messages(
        HELLO,
        Turn("assistant", (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", ""))),
        Turn("system", (Text("mind"),)),
        Turn("user", (ToolResult("b", (Text("two"),)), Text("well?"))),
        Turn("user", (ToolResult("a", ()),)),
        where=facts(Quirk.SYSTEM_TURNS),
    )
    assert [each["role"] for each in out] == ["user", "assistant", "user", "system", "user"]
    assert out[1]["content"] == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
    ]
    assert out[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "b", "content": "two"}, {"type": "tool_result", "tool_use_id": "a"},
    ]  # fmt: skip
    assert out[4]["content"] == [text("well?")]


def test_missing_results_are_made_up_and_lost_ones_become_text() -> None:
    """Each call has one result, each result a call (contract.md, Errors)."""
    body, rendered = sent(
        HELLO, Turn("user", (ToolResult("zz", (Text("18"),)),)), Turn("assistant", (ToolCall("a", "f", "{}"),)), HELLO
    )
    out = body["messages"]
    assert out[0]["content"][1]["text"].endswith("18")
    assert out[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": NO_RESULT, "is_error": True}, text("hi"),
    ]  # fmt: skip
    assert {"repaired:missing_results", "repaired:orphan_results"} <= warned(rendered)


def test_a_result_before_its_call_and_a_second_one_are_lost_ones() -> None:
    """Only what comes behind a call can answer it, and only once."""
    out = messages(
        Turn("user", (ToolResult("a", (Text("early"),)),)),
        Turn("assistant", (ToolCall("a", "f", "{}"),)),
        Turn("user", (ToolResult("a", (Text("right"),)), ToolResult("a", (Text("again"),)))),
    )
    assert out[2]["content"][0] == {"type": "tool_result", "tool_use_id": "a", "content": "right"}
    assert "again" in out[2]["content"][1]["text"]
    assert "early" in out[0]["content"][0]["text"]


def test_of_two_calls_with_one_id_the_nearer_takes_the_result() -> None:
    """The first was never answered: what comes behind the second is the second's."""
    out = messages(
        HELLO,
        Turn("assistant", (ToolCall("a", "f", '{"n":1}'),)),
        HELLO,
        Turn("assistant", (ToolCall("a", "f", '{"n":2}'),)),
        Turn("user", (ToolResult("a", (Text("two"),)),)),
    )
    assert out[2]["content"][0]["content"] == NO_RESULT
    assert (out[4]["content"][0]["content"], out[4]["content"][0]["tool_use_id"]) == ("two", out[3]["content"][0]["id"])


def test_ids_are_of_the_shape_that_the_dialect_takes_and_unique() -> None:
    """Odd ones by a hash, the same each turn; repeated and missing ones by a number (12.4)."""
    odd = "functions.f:0"
    turns = (
        HELLO,
        Turn("assistant", (ToolCall(odd, "f", "{}"),)),
        Turn("user", (ToolResult(odd, (Text("1"),)),)),
        Turn("assistant", (ToolCall(odd, "f", "{}"), ToolCall("", "", "{}"))),
        Turn("user", (ToolResult(odd, (Text("2"),)),)),
    )
    body, rendered = sent(*turns)
    first, second, nameless = body["messages"][1]["content"] + body["messages"][3]["content"]
    assert first["id"] == body["messages"][2]["content"][0]["tool_use_id"]
    assert second["id"] == body["messages"][4]["content"][0]["tool_use_id"] != first["id"]
    assert [block["content"] for block in body["messages"][4]["content"]] == ["2", NO_RESULT]
    assert nameless["name"] == NO_NAME
    ids = [first["id"], second["id"], nameless["id"]]
    assert all(len(each) <= 64 and each.replace("_", "").replace("-", "").isalnum() for each in ids)
    assert messages(*turns[:3])[1]["content"][0]["id"] == first["id"]
    assert {"repaired:duplicate_call_ids", "repaired:call_ids", "repaired:tool_names"} <= warned(rendered)


@pytest.mark.parametrize(
    ("arguments", "goes_out"),
    [("", {}), ("{}", {}), ('{"b":1,"a":2}', {"b": 1, "a": 2}), ('{"cut', {"input": '{"cut'}), ("[1]", {"input": [1]})],
)
def test_arguments_are_an_object(arguments: str, goes_out: dict[str, Any]) -> None:
    """Nothing is an empty one; what is none is wrapped, and said (12.4, vector 2)."""
    body, rendered = sent(HELLO, Turn("assistant", (ToolCall("a", "f", arguments),)))
    assert body["messages"][1]["content"][0]["input"] == goes_out
    assert ("repaired:tool_arguments" in warned(rendered)) == ("input" in goes_out)


def test_images_of_a_failed_result_stand_behind_all_results() -> None:
    """M refuses them inside (12.4, vector 3)."""
    image = Image(f"data:image/png;base64,{PNG}")
    body, rendered = sent(
        HELLO,
        Turn("assistant", (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))),
        Turn("user", (ToolResult("a", (Text("bad"), image), is_error=True), ToolResult("b", (image,)), Text("so?"))),
    )
    content = body["messages"][2]["content"]
    assert [block["type"] for block in content] == ["tool_result", "tool_result", "image", "text"]
    assert content[0] == {"type": "tool_result", "tool_use_id": "a", "content": "bad", "is_error": True}
    assert content[1]["content"][0]["type"] == "image"
    assert "approx:tool_result.images" in warned(rendered)


def test_a_last_turn_of_the_assistant_stays_only_where_it_is_gone_on_with() -> None:
    """Prefill is refused by newer models, and white space at its end by older ones (12.2)."""
    turns = (HELLO, Turn("assistant", (Text("Once upon "),)))
    out = messages(*turns, where=facts(capabilities={Capability.PREFILL: YES}))
    assert out[-1] == {"role": "assistant", "content": [text("Once upon")]}
    assert messages(*turns, where=HAIKU_4)[-1]["role"] == "assistant"
    assert messages(*turns, where=HAIKU_4, effort="high")[-1]["role"] == "user"  # no thoughts can begin in its middle
    for known in ({}, {Capability.PREFILL: NO}):
        body, rendered = sent(*turns, where=facts(capabilities=known))
        assert body["messages"][-1] == {"role": "user", "content": [text(CONTINUE)]}
        assert "approx:messages.last" in warned(rendered)


def test_an_empty_conversation_still_has_a_turn() -> None:
    """Only system text, or nothing at all."""
    body = json.loads(compose(Conversation(system=(Text("x"),)), facts(), STREAM, NO_RECALL).body)
    assert body["messages"] == [{"role": "user", "content": [text(FIRST_TURN)]}]


# --- media ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\xff\xd8\xff\xe0" + b"0" * 30, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 30, "image/png"),
        (b"GIF89a" + b"0" * 30, "image/gif"),
        (b"RIFF0000WEBPVP8 " + b"0" * 30, "image/webp"),
    ],
)
def test_the_media_type_is_that_of_the_first_bytes(head: bytes, media_type: str) -> None:
    """Whatever the caller said: a wrong one is a 400 in M (12.3)."""
    data = base64.b64encode(head).decode()
    out = messages(Turn("user", (Image(f"data:image/jpg;base64,{data}"),)))
    assert out[0]["content"][0]["source"] == {"type": "base64", "media_type": media_type, "data": data}


SVG = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()


@pytest.mark.parametrize(
    "part",
    [
        Image(f"data:image/svg+xml;base64,{SVG}"),
        Image("data:image/png,raw"),
        Image("file:///etc/passwd"),
        Image(""),
        Audio("AAAA", "wav"),
        Document("data:application/zip;base64,UEsDBA=="),
        Document("data:text/plain;base64,/w=="),
        Foreign("openai_chat", "video_url", {"type": "video_url"}),
        Foreign("openai_responses", FILE_ID, {"file_id": "f"}),
        Foreign(OURS, FILE_ID, {"type": "image"}),
    ],
)
def test_media_that_the_dialect_cannot_hold_are_refused(part: Any) -> None:
    """Sound, video, other images, other files, files kept elsewhere: leaving them out would change the question (12.13)."""
    with pytest.raises(Inexpressible) as caught:
        sent(Turn("user", (part,)))
    assert caught.value.param == "messages"


def test_links_pdf_and_texts() -> None:
    """As sources of their kind; a text is a text block where documents are not known to be taken."""
    parts = (
        Image("https://x/y.png", "high"), Document("https://x/y.pdf"), Document("data:application/pdf;base64,JVBERi0=",
        name="a.pdf"), Document(text="words", title="T"), Document("data:text/markdown;base64,IyBo", name="r.md"),
    )  # fmt: skip
    content = messages(Turn("user", parts), where=facts(capabilities={Capability.FILES: YES}))[0]["content"]
    assert [block["source"] for block in content] == [
        {"type": "url", "url": "https://x/y.png"},
        {"type": "url", "url": "https://x/y.pdf"},
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        {"type": "text", "media_type": "text/plain", "data": "words"},
        {"type": "text", "media_type": "text/plain", "data": "# h"},
    ]
    assert [block.get("title") for block in content] == [None, None, "a.pdf", "T", "r.md"]
    assert messages(Turn("user", parts[3:4]))[0]["content"] == [text("T\n\nwords")]


def test_blocks_of_others_are_text_or_said_to_be_dropped() -> None:
    """Results of foreign tools keep their words (12.3)."""
    body, rendered = sent(
        Turn("user", (Foreign("openai_responses", "web_search_call", {}, "found"), Foreign("x", "y", {}), Text("hi")))
    )
    assert body["messages"][0]["content"] == [text("found"), text("hi")]
    assert {"approx:messages.web_search_call", "dropped:messages.y"} <= warned(rendered)


# --- thoughts ---------------------------------------------------------------------------------------


def _thoughts(*thoughts: Reasoning, where: Any = HAIKU_4, **fields: Any) -> list[dict[str, Any]]:
    turns = (HELLO, Turn("assistant", (*thoughts, ToolCall("a", "f", "{}"))), Turn("user", (ToolResult("a", ()),)))
    content = messages(*turns, where=where, **fields)[1]["content"]
    return [block for block in content if block["type"] != "tool_use"]


def test_a_thought_goes_to_its_maker_only() -> None:
    """Ours by its mark, and unmarked ones that nobody knows to be another's; all others stay away (12.9)."""
    mine, other = HAIKU_4.target.name, "kimi/k3"
    signed = {"type": "thinking", "thinking": "t", "signature": "S"}
    assert _thoughts(Reasoning("t", Seal(OURS, "signature", "S", mine))) == [signed]
    assert _thoughts(Reasoning("t", Seal(OURS, "signature", "S"))) == [signed]
    assert _thoughts(Reasoning("", Seal(OURS, "redacted", "R", mine))) == [{"type": "redacted_thinking", "data": "R"}]
    for seal in (
        None, Seal(OURS, "signature", "S", other), Seal("openai_responses", "encrypted", "E", mine),
        Seal(OURS, "none", "", mine), Seal("", "none", "", mine),
    ):  # fmt: skip
        assert _thoughts(Reasoning("t", seal)) == []
    foreign = Remembers(foreign=frozenset({"S"}))
    assert _thoughts(Reasoning("t", Seal(OURS, "signature", "S")), recall=foreign) == []
    strip = Options(stream=True, strip_thoughts=True)
    assert _thoughts(Reasoning("t", Seal(OURS, "signature", "S", mine)), options=strip) == []


def test_a_maker_without_signatures_gets_its_thoughts_back() -> None:
    """Kimi and Z.ai think without signing: what the mark says they made is theirs."""
    where = row("kimi", "k3")
    seal = Seal("", "none", "", where.target.name)
    assert _thoughts(Reasoning("t", seal), where=where) == [{"type": "thinking", "thinking": "t", "signature": ""}]


def test_what_is_remembered_stands_before_the_calls_once() -> None:
    """A Chat caller's history holds no thoughts: the memory does (12.9)."""
    thought = Reasoning("t", Seal(OURS, "signature", "S", HAIKU_4.target.name))
    recall = Remembers({"a": (thought,), "b": (thought,)})
    turns = (
        HELLO, Turn("assistant", (Text("so"), ToolCall("b", "f", "{}"), ToolCall("a", "f", "{}"))),
        Turn("user", (ToolResult("a", ()), ToolResult("b", ()))),
    )  # fmt: skip
    content = messages(*turns, where=HAIKU_4, recall=recall)[1]["content"]
    assert [block["type"] for block in content] == ["thinking", "text", "tool_use", "tool_use"]
    own = _thoughts(Reasoning("u", Seal(OURS, "signature", "U", HAIKU_4.target.name)), recall=recall)
    assert [block["signature"] for block in own] == ["U"]


def test_a_turn_of_thoughts_alone_is_left_out() -> None:
    """Nothing was said in it, and M refuses it."""
    thought = Reasoning("t", Seal(OURS, "signature", "S"))
    out = messages(HELLO, Turn("assistant", (thought,)), HELLO)
    assert out == [{"role": "user", "content": [text("hi"), text("hi")]}]


# --- tools ------------------------------------------------------------------------------------------


def test_definitions() -> None:
    """Schema with an object at its root, strict where said, free text as one string with its grammar (12.4)."""
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}}
    body, rendered = sent(
        tools=(
            TOOL,
            Tool("bare"),
            Tool("loose", schema={"properties": {"a": {}}}, strict=True),
            Tool("either", schema={"anyOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {}}}]}),
            Tool("patch", "patches", custom=True, extras={"openai_responses": {"format": grammar}}),
            Tool("f", "again"),
        )
    )
    plain, bare, loose, either, patch = body["tools"]
    assert plain == {"name": "f", "description": "does f", "input_schema": {"type": "object", "properties": {}}}
    assert bare == {"name": "bare", "input_schema": {"type": "object", "properties": {}}}
    assert loose["input_schema"] == {"properties": {"a": {}}, "type": "object"}
    assert loose["strict"] is True
    assert either["input_schema"] == {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}}
    assert patch["input_schema"]["required"] == ["input"]
    assert "start: X" in patch["input_schema"]["properties"]["input"]["description"]
    assert warned(rendered) == {"approx:tools.input_schema", "approx:tools.custom", "dropped:tools.f"}


def test_a_free_text_call_is_a_call_with_one_string() -> None:
    """Raw input, as the tool of one string has it."""
    out = messages(HELLO, Turn("assistant", (ToolCall("a", "patch", "*** Begin", custom=True),)))
    assert out[1]["content"][0]["input"] == {"input": "*** Begin"}


def test_tools_that_others_run() -> None:
    """Those of this dialect go to whoever runs them; all others are dropped, and 400 only if one is demanded."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    hosted = (("openai_responses", {"type": "web_search"}), (OURS, search))
    body, rendered = sent(where=HAIKU_5, tools=(TOOL,), hosted=hosted)
    assert [tool["name"] for tool in body["tools"]] == ["f", "web_search"]
    assert "dropped:tools.web_search" in warned(rendered)
    body, rendered = sent(hosted=hosted)
    assert "tools" not in body
    for choice in (Choice("tool", ("web_search",)), Choice("required")):
        with pytest.raises(Inexpressible) as caught:
            sent(hosted=hosted, choice=choice)
        assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("choice", "parallel", "goes_out"),
    [
        (Choice("auto"), None, {"type": "auto"}),
        (Choice("required"), None, {"type": "any"}),
        (Choice("none"), False, {"type": "none"}),
        (Choice("tool", ("f",)), False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
        (None, None, None),
    ],
)
def test_the_choice(choice: Choice | None, parallel: bool | None, goes_out: Any) -> None:
    """The words of 12.5; one call at a time is said inside."""
    body, _ = sent(tools=(TOOL,), choice=choice, parallel=parallel)
    assert body.get("tool_choice") == goes_out


def test_a_subset_of_the_tools_is_said_by_sending_no_others() -> None:
    """M has no word for it (12.5)."""
    body, rendered = sent(tools=(TOOL, Tool("g")), choice=Choice("required", ("g",)))
    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any"}
    assert "approx:tool_choice" in warned(rendered)


def test_a_choice_without_tools_is_left_out() -> None:
    """It is a 400 in all dialects (12.5)."""
    body, rendered = sent(choice=Choice("required"))
    assert "tool_choice" not in body
    assert warned(rendered) == {"dropped:tool_choice"}


def test_providers_that_take_no_choice() -> None:
    """Z.ai: `auto` only, and none by no tools."""
    where = facts(Quirk.TOOL_CHOICE_AUTO_ONLY)
    body, rendered = sent(where=where, tools=(TOOL,), choice=Choice("tool", ("f",)))
    assert body["tool_choice"] == {"type": "auto"}
    assert "approx:tool_choice" in warned(rendered)
    assert "tools" not in sent(where=where, tools=(TOOL,), choice=Choice("none"))[0]


# --- thinking and the cap ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 1_024), ("low", 1_024), ("medium", 8_192), ("high", 24_576), ("xhigh", 32_768)],
)
def test_effort_is_a_budget_on_top_of_the_cap(effort: str, budget: int) -> None:
    """The scale of 12.8; what the caller wanted for the answer stays for the answer."""
    body, rendered = sent(where=HAIKU_4, effort=effort, max_output_tokens=2_000)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert body["max_tokens"] == rendered.sent_max_tokens == 2_000 + budget


def test_a_budget_fits_below_the_cap() -> None:
    """At least 1,024 and less than max_tokens: the cap is raised, else the budget lowered, else nothing is thought."""
    body, _ = sent(where=HAIKU_4, thinking_tokens=500, max_output_tokens=800)
    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (1_024, 1_824)
    body, _ = sent(where=HAIKU_4, thinking_tokens=5_000, max_output_tokens=9_000)
    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (5_000, 9_000)
    body, rendered = sent(where=facts(Quirk.BUDGET_THINKING, output_cap=8_192), effort="high", max_output_tokens=4_000)
    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (4_096, 8_192)
    assert "approx:thinking.budget_tokens" in warned(rendered)
    body, rendered = sent(where=facts(Quirk.BUDGET_THINKING, output_cap=1_500), effort="high", max_output_tokens=1_000)
    assert (body["thinking"], body["max_tokens"]) == ({"type": "disabled"}, 1_500)
    assert "dropped:thinking" in warned(rendered)


@pytest.mark.parametrize(
    ("wish", "goes_out", "said_of_it"),
    [
        ({"effort": "high"}, ("adaptive", "high"), set()),
        ({"effort": "minimal"}, ("adaptive", "low"), {"approx:reasoning_effort"}),
        ({"effort": "max"}, ("adaptive", "max"), set()),
        ({"thinking_tokens": 8_000}, ("adaptive", "medium"), {"approx:thinking.budget_tokens"}),
        ({"adaptive": True}, ("adaptive", None), set()),
        ({"effort": "none"}, ("disabled", None), set()),
        ({"thinking_tokens": 0, "effort": "none"}, ("disabled", None), set()),
        ({}, (None, None), set()),
    ],
)
def test_models_that_think_by_effort(wish: dict[str, Any], goes_out: Any, said_of_it: set[str]) -> None:
    """Adaptive, with a word of effort; a budget would be refused (3.15)."""
    body, rendered = sent(where=HAIKU_5, **wish)
    config = body.get("output_config", {})
    assert (body.get("thinking", {}).get("type"), config.get("effort")) == goes_out
    assert warned(rendered) == said_of_it


def test_models_that_always_think_and_those_that_never_do() -> None:
    """It cannot be switched off there (3.15), and not asked for here."""
    body, rendered = sent(where=SONNET_5, effort="none")
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})
    assert "approx:thinking" in warned(rendered)
    body, rendered = sent(where=facts(capabilities={Capability.REASONING: NO}), effort="high")
    assert "thinking" not in body
    assert warned(rendered) == {"dropped:reasoning_effort"}


def test_a_forced_tool_and_thinking_do_not_go_together() -> None:
    """The thought falls, or, where it cannot, the force (12.5)."""
    wish: dict[str, Any] = {"tools": (TOOL,), "choice": Choice("tool", ("f",)), "effort": "high"}
    body, rendered = sent(where=HAIKU_4, **wish)
    assert (body["thinking"], body["tool_choice"]) == ({"type": "disabled"}, {"type": "tool", "name": "f"})
    assert "dropped:thinking" in warned(rendered)
    body, rendered = sent(where=SONNET_5, **wish)
    assert (body["thinking"], body["tool_choice"]) == ({"type": "adaptive"}, {"type": "auto"})
    assert "approx:tool_choice" in warned(rendered)


def test_a_tool_loop_whose_thought_is_lost_goes_on_without() -> None:
    """The older form answers 400 otherwise (12.9); the newer one tolerates it."""
    turns = (HELLO, Turn("assistant", (ToolCall("a", "f", "{}"),)), Turn("user", (ToolResult("a", ()),)))
    body, rendered = sent(*turns, where=HAIKU_4, effort="high", tools=(TOOL,))
    assert body["thinking"] == {"type": "disabled"}
    assert "dropped:thinking" in warned(rendered)
    assert sent(*turns, where=HAIKU_5, effort="high", tools=(TOOL,))[0]["thinking"] == {"type": "adaptive"}
    seal = Seal(OURS, "signature", "S", HAIKU_4.target.name)
    kept = (HELLO, Turn("assistant", (Reasoning("t", seal), ToolCall("a", "f", "{}"))), turns[2])
    assert sent(*kept, where=HAIKU_4, effort="high")[0]["thinking"]["type"] == "enabled"


@pytest.mark.parametrize(
    ("model", "options", "cap"),
    [
        ({}, STREAM, 8_192),
        ({"max_output": 64_000}, STREAM, 32_000),
        ({"max_output": 4_096}, STREAM, 4_096),
        ({"max_output": 64_000}, Options(stream=True, default_output_tokens=500), 500),
        ({"context": 10_000}, Options(stream=True, input_tokens=9_000), 1_000),
    ],
)
def test_a_cap_is_always_sent(model: dict[str, Any], options: Options, cap: int) -> None:
    """The dialect demands one (12.8)."""
    body, rendered = sent(where=facts(**model), options=options)
    assert body["max_tokens"] == rendered.sent_max_tokens == cap


def test_the_callers_cap_is_clamped_and_hidden_thoughts_get_room() -> None:
    """Clients send 65,536 and 128,000 (clients.md 7.4)."""
    body, rendered = sent(where=facts(output_cap=8_000), max_output_tokens=65_536)
    assert body["max_tokens"] == 8_000
    assert "approx:max_tokens" in warned(rendered)
    reserve = Options(stream=True, reserve_tokens=4_000, reasoning=True)
    assert sent(options=reserve, max_output_tokens=100)[0]["max_tokens"] == 4_100
    assert sent(where=HAIKU_4, options=reserve, max_output_tokens=100)[0]["max_tokens"] == 100
    assert sent(where=SONNET_5, options=reserve, max_output_tokens=100)[0]["max_tokens"] == 4_100
    assert sent(options=reserve, max_output_tokens=100, effort="none")[0]["max_tokens"] == 100


# --- sampling, format, the rest ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "fields", "goes_out", "said_of_it"),
    [
        (facts(), {"temperature": 1.7}, {"temperature": 1}, {"approx:temperature"}),
        (facts(), {"temperature": 0.2, "top_p": 0.5, "top_k": 3}, {"temperature": 0.2, "top_p": 0.5, "top_k": 3}, set()),
        (HAIKU_4, {"temperature": 0.2, "top_p": 0.5}, {"temperature": 0.2}, {"dropped:top_p"}),
        (HAIKU_5, {"temperature": 0.2}, {}, {"dropped:temperature"}),
        (HAIKU_5, {"temperature": 1}, {}, set()),
        (facts(), {"stop": ["a", " \n"]}, {"stop_sequences": ["a"]}, {"approx:stop"}),
        (facts(), {"seed": 1, "presence_penalty": 0.5, "logit_bias": {"1": 2}}, {},
         {"dropped:seed", "dropped:presence_penalty", "dropped:logit_bias"}),
        (facts(), {"n": 1, "presence_penalty": 0, "logprobs": False, "store": True, "service_tier": "flex"}, {}, set()),
        (facts(), {"verbosity": "low"}, {}, {"dropped:verbosity"}),
    ],
)  # fmt: skip
def test_sampling(where: Any, fields: Any, goes_out: Any, said_of_it: set[str]) -> None:
    """Clamped, left out where refused, and said, but for what changes nothing (12.8)."""
    body, rendered = sent(where=where, parameters=fields)
    known = {"temperature", "top_p", "top_k", "stop_sequences"}
    assert {key: body[key] for key in body if key in known} == goes_out
    assert warned(rendered) == said_of_it
    assert set(body) <= known | {"model", "max_tokens", "stream", "messages"}


def test_sampling_with_thoughts() -> None:
    """Temperature is 1 or absent, no top_k, top_p at least .95 (12.8)."""
    fields = {"temperature": 0.3, "top_k": 5, "top_p": 0.5}
    body, rendered = sent(where=HAIKU_4, parameters=fields, effort="low")
    assert not {"temperature", "top_k", "top_p"} & set(body)
    assert {"dropped:temperature", "dropped:top_k", "dropped:top_p"} <= warned(rendered)
    assert sent(where=HAIKU_4, parameters={"top_p": 0.97}, effort="low")[0]["top_p"] == 0.97


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"parameters": {"n": 2}}, "n"),
        ({"parameters": {"logprobs": True}}, "logprobs"),
        ({"extras": {"openai_chat": {"modalities": ["text", "audio"]}}}, "modalities"),
    ],
)
def test_what_would_change_the_answer_is_refused(fields: Any, param: str) -> None:
    """Several answers, probabilities, sound (12.13)."""
    with pytest.raises(Inexpressible) as caught:
        sent(**fields)
    assert caught.value.param == param


def test_a_schema_for_the_answer() -> None:
    """By the dialect's own field where the model holds to it, its objects closed; else by an instruction (12.8)."""
    schema = {
        "type": "object",
        "properties": {
            "properties": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}}
        },
    }
    closed = json.loads(json.dumps(schema))
    inner = closed["properties"]["properties"]
    closed["additionalProperties"] = inner["additionalProperties"] = False
    inner["properties"]["a"]["items"]["additionalProperties"] = False
    wanted = Format("json_schema", schema, "out", strict=True)
    body, rendered = sent(where=HAIKU_4, format=wanted)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": closed}}
    assert warned(rendered) == set()
    body, rendered = sent(format=wanted)
    assert json.dumps(schema, separators=(",", ":")) in body["system"][0]["text"]
    assert "approx:response_format" in warned(rendered)
    open_ended = Format("json_schema", {"type": "object", "additionalProperties": {"type": "string"}})
    assert "output_config" not in sent(where=HAIKU_4, format=open_ended)[0]
    assert "JSON" in sent(where=HAIKU_4, format=Format("json_object"))[0]["system"][0]["text"]


def test_schemas_that_recurse_end_somewhere() -> None:
    """A schema that refers to itself goes out as it is; one too deep to look through is an instruction (issue 5)."""
    recursive = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    body, _ = sent(where=HAIKU_4, format=Format("json_schema", recursive), tools=(Tool("f", schema=recursive),))
    assert body["output_config"]["format"]["schema"]["properties"] == recursive["properties"]
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(150):
        deep = {"type": "object", "properties": {"a": deep}}
    assert "output_config" not in sent(where=HAIKU_4, format=Format("json_schema", deep))[0]
    for _ in range(3_000):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(BadRequest):
        sent(where=HAIKU_4, tools=(Tool("f", schema=deep),))


def test_the_user_is_named_without_being_told() -> None:
    """The provider needs the same name each time, and no address of anybody (12.8)."""
    body, _ = sent(parameters={"user": "ann@example.org"})
    assert "ann" not in json.dumps(body)
    assert body["metadata"] == sent(parameters={"user": "ann@example.org"})[0]["metadata"]


def test_what_was_refused_before_is_left_out() -> None:
    """By this dialect's names, dotted ones, and Chat's (contract.md, Errors)."""
    wish: dict[str, Any] = {"effort": "high", "parameters": {"top_k": 3, "stop": ["x"]}, "where": HAIKU_5}
    body, rendered = sent(
        **wish, options=Options(stream=True, without=frozenset({"output_config.effort", "top_k", "stop"}))
    )
    assert not {"output_config", "top_k", "stop_sequences"} & set(body)
    assert {"dropped:output_config.effort", "dropped:top_k", "dropped:stop"} <= warned(rendered)
    body, _ = sent(options=Options(stream=False, without=frozenset({"messages", "max_tokens"})))
    assert (body["messages"], body["stream"]) != ([], True)


def test_headers() -> None:
    """The version to those whose row does not say it; betas only to whoever knows them (12.12)."""
    betas = Options(stream=True, betas=("a-1", "b-2"))
    assert sent(options=betas)[1].headers == (("anthropic-version", "2023-06-01"),)
    assert sent(where=HAIKU_4, options=betas)[1].headers == (("anthropic-beta", "a-1,b-2"),)


def test_a_translated_request_counts_as_altered() -> None:
    """So that another provider is asked where one refuses it (contract.md, Errors)."""
    assert sent()[1].altered


# --- cache marks ------------------------------------------------------------------------------------


def _marks(body: Any) -> int:
    return json.dumps(body).count("cache_control")


def test_marks_are_set_where_the_callers_dialect_has_none() -> None:
    """Behind tools, system text and the last two turns of the user: four, the most that are taken (clients.md 2.3)."""
    turns = (
        HELLO, Turn("assistant", (ToolCall("a", "f", "{}"),)), Turn("user", (ToolResult("a", (Text("r"),)),)),
        Turn("assistant", (Text("so"),)), Turn("user", (Text("go on"), Text("now"))),
    )  # fmt: skip
    body, _ = sent(*turns, where=HAIKU_5, system=(Text("s1"), Text("s2")), tools=(TOOL, Tool("g")))
    assert [each.get("cache_control") for each in body["system"]] == [None, MARK]
    assert [each.get("cache_control") for each in body["tools"]] == [None, MARK]
    assert body["messages"][2]["content"][-1]["cache_control"] == MARK
    assert body["messages"][4]["content"] == [text("go on"), text("now", cache_control=MARK)]
    assert _marks(body) == 4


def test_marks_that_nobody_wants_are_not_set() -> None:
    """Not where the caller has its own, not where a prompt is cached anyway, not for a single question."""
    agent: dict[str, Any] = {"tools": (TOOL,), "system": (Text("s"),)}
    assert _marks(sent(where=HAIKU_5, **agent)[0]) == 3
    assert _marks(sent(**agent)[0]) == 0
    assert _marks(sent(where=HAIKU_5, system=(Text("s"),))[0]) == 0
    own = Turn("user", (Text("hi", {OURS: {"cache_control": MARK}}),))
    assert _marks(sent(own, where=HAIKU_5, **agent)[0]) == 1
    result = ToolResult("a", (Text("r", {OURS: {"cache_control": MARK}}),))
    turns = (HELLO, Turn("assistant", (ToolCall("a", "f", "{}"),)), Turn("user", (result,)))
    assert _marks(sent(*turns, where=HAIKU_5, **agent)[0]) == 1


def test_the_prefix_is_the_same_in_the_next_turn() -> None:
    """What was written to the cache is found again: only marks and what follows them differ (clients.md 7.18)."""
    turns = (HELLO, Turn("assistant", (ToolCall("odd id", "f", '{"a":1}'),)), Turn("user", (ToolResult("odd id", ()),)))
    more = (*turns, Turn("assistant", (Text("done"),)), HELLO)
    first, second = (
        json.loads(json.dumps(sent(*each, where=HAIKU_5, tools=(TOOL,), system=(Text("s"),))[0]["messages"]).replace(
            ', "cache_control": {"type": "ephemeral"}', "")) for each in (turns, more)
    )  # fmt: skip
    assert second[: len(first)] == first
