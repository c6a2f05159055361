"""Messages requests as neutral content: nothing of a body is lost, and each word has its neutral place."""

import json
from typing import Any

import pytest
from msgspec import Raw

from hermes_router.core.content import (
    Choice,
    Document,
    Foreign,
    Format,
    Image,
    Reasoning,
    Seal,
    Text,
    ToolCall,
    ToolResult,
)
from hermes_router.core.errors import BadRequest
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.content import BILLING_KEY, read
from hermes_router.wire.messages.parts import FILE_ID
from hermes_router.wire.messages.request import parse_request
from hermes_router.wire.seals import wrap

from ..messages_bodies import MARK, PNG, TOOL, USER, asked, call, caller, history, parse, result, said, text

OURS = "anthropic_messages"
MARKED = {OURS: {"cache_control": MARK}}


def parts(*blocks: dict[str, Any]) -> tuple[Any, ...]:
    """The parts of one user turn."""
    return read(history(asked(*blocks))).turns[0].parts


def test_claude_codes_request_is_read_whole() -> None:
    """System blocks with their marks, the billing line apart, instructions in the middle, deferred tools (clients.md 4)."""
    body, meta = caller("claude_code_second_turn")
    conversation = read(parse(meta["headers"], **body))
    assert [(part.text, part.extras) for part in conversation.system] == [
        ("You are Claude Code.", MARKED),
        ("Work in /srv/project.", {OURS: {"cache_control": {"type": "ephemeral", "ttl": "1h"}}}),
    ]
    own = conversation.extras[OURS]
    assert own[BILLING_KEY].endswith("ffff0")
    assert own["context_management"] == body["context_management"]
    assert own["thinking"] == {"type": "adaptive", "display": "omitted"}
    assert [turn.role for turn in conversation.turns] == ["user", "system", "assistant", "user"]
    thought, words, first, _ = conversation.turns[2].parts
    assert thought == Reasoning("", Seal(OURS, "signature", "EqQBCkYIBxgCKkD"))
    assert words == Text("I read it.")
    assert (first.call_id, first.name, json.loads(first.arguments)) == ("toolu_01A", "Read", {"path": "notes.txt"})
    assert [part.call_id for part in conversation.turns[3].parts] == ["toolu_01A", "toolu_01B"]
    assert conversation.turns[3].parts[1].extras == MARKED
    assert conversation.tools[3].extras == {OURS: {"defer_loading": True}}
    assert (conversation.adaptive, conversation.effort, conversation.max_output_tokens) == (True, "high", 128_000)
    assert conversation.parameters["prompt_cache_key"] == "0f3c"
    assert len(conversation.parameters["user"]) == 24  # the same for each request; account and device stay here
    assert conversation.parameters["user"] not in body["metadata"]["user_id"]
    assert conversation.warnings == ()


def test_a_string_is_one_part_and_an_empty_one_none() -> None:
    """Contents, system text and results, in either form (12.2)."""
    conversation = read(history(USER, said(call("a")), asked(result("a", "")), system="be good"))
    assert conversation.system == (Text("be good"),)
    assert conversation.turns[0].parts == (Text("hi"),)
    assert conversation.turns[2].parts == (ToolResult("a", ()),)
    assert read(parse(system="")).system == ()
    assert read(parse(system=None)).system == ()


def test_results_come_first_and_calls_last() -> None:
    """The order of core/content.py, whatever the caller's was."""
    conversation = read(
        history(USER, said(call("a"), text("calling")), asked(text("here"), result("a", [text("r")], is_error=True)))
    )
    assert [type(part) for part in conversation.turns[1].parts] == [Text, ToolCall]
    assert conversation.turns[2].parts == (ToolResult("a", (Text("r"),), is_error=True), Text("here"))


def test_the_arguments_are_compact_json_in_the_callers_order() -> None:
    """The object as text, its keys as they came; numbers and escapes are not spelled anew (12.4)."""
    body = (
        '{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"a",'
        '"name":"f","input":{ "z": 1e2,\n "a": [1, 2], "t": "caf\\u00e9, ok: \\" {" }}]}]}'
    )
    arguments = read(parse_request(body.encode(), {})).turns[1].parts[0].arguments
    assert arguments == '{"z":1e2,"a":[1,2],"t":"caf\\u00e9, ok: \\" {"}'


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
         Image(f"data:image/png;base64,{PNG}")),
        ({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}, "cache_control": MARK},
         Image("https://x/y.png", extras=MARKED)),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
          "title": "t", "context": "c"},
         Document("data:application/pdf;base64,JVBERi0=", title="t", extras={OURS: {"context": "c"}})),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
         Document(text="words")),
        ({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}, Document("https://x/y.pdf")),
    ],
)  # fmt: skip
def test_media_of_every_source(block: dict[str, Any], part: Any) -> None:
    """Base64 becomes a data URL, a link stays one, a text is a text (12.3)."""
    assert parts(block) == (part,)


def test_a_document_of_blocks_is_its_text_and_keeps_its_source() -> None:
    """`source.content` is said as text to others, and goes back as it was to this dialect."""
    source = {"type": "content", "content": [text("one"), text("two")]}
    (part,) = parts({"type": "document", "source": source})
    assert part.text == "one\ntwo"
    assert part.extras == {OURS: {"source": source}}


def test_a_kept_file_is_nobody_elses() -> None:
    """An id means nothing to another provider: a part that others must refuse (12.3)."""
    block = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    assert parts(block) == (Foreign(OURS, FILE_ID, block),)


@pytest.mark.parametrize(
    ("block", "what"),
    [
        ({"type": "search_result", "source": "https://x", "title": "T", "content": [text("found")]}, "https://x\nT\nfound"),
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}, ""),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": [
            {"type": "web_search_result", "title": "T", "url": "https://x", "encrypted_content": "E"}]}, "T\nhttps://x"),
        ({"type": "code_execution_tool_result", "tool_use_id": "s", "content": {
            "type": "code_execution_result", "stdout": "4", "stderr": "", "return_code": 0}}, "4"),
        ({"type": "holograph", "text": "boo"}, "boo"),
    ],
)  # fmt: skip
def test_blocks_of_a_providers_own_tools_have_a_text_for_others(block: dict[str, Any], what: str) -> None:
    """Titles, links and outputs; nothing of a call, and nothing encrypted (12.3)."""
    (part,) = parts(block)
    assert part == Foreign(OURS, block["type"], block, what)


def test_thoughts_have_their_seals() -> None:
    """A signature, redacted data, a thought without either, and marks of ours with their maker (12.9)."""
    seal = Seal("openai_responses", "encrypted", "gAAA", "", "rs_1")
    (turn,) = read(
        history(
            USER,
            said(
                {"type": "thinking", "thinking": "a", "signature": "S"},
                {"type": "redacted_thinking", "data": "R"},
                {"type": "thinking", "thinking": "b"},
                {"type": "thinking", "thinking": "c", "signature": wrap(seal, origin="openai/gpt")},
                {"type": "redacted_thinking", "data": wrap(Seal(OURS, "redacted", "D"), origin="p/m")},
            ),
        )
    ).turns[1:]
    assert turn.parts == (
        Reasoning("a", Seal(OURS, "signature", "S")),
        Reasoning("", Seal(OURS, "redacted", "R")),
        Reasoning("b"),
        Reasoning("c", Seal("openai_responses", "encrypted", "gAAA", "openai/gpt", "rs_1")),
        Reasoning("", Seal(OURS, "redacted", "D", "p/m")),
    )


def test_tools_and_those_that_somebody_else_runs() -> None:
    """Definitions with what only this dialect has of them; a type that is not `custom` is the provider's tool (12.4)."""
    hosted = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    conversation = read(parse(tools=[{**TOOL, "type": "custom", "strict": True, "cache_control": MARK}, hosted]))
    (tool,) = conversation.tools
    assert (tool.name, tool.description, tool.schema, tool.strict) == ("f", "does f", TOOL["input_schema"], True)
    assert (tool.custom, tool.extras) == (False, MARKED)
    assert conversation.hosted == ((OURS, hosted),)


@pytest.mark.parametrize(
    ("choice", "read_as", "parallel"),
    [
        ({"type": "auto"}, Choice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, Choice("required"), False),
        ({"type": "none"}, Choice("none"), None),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, Choice("tool", ("f",)), True),
        (None, None, None),
    ],
)
def test_the_choice(choice: Any, read_as: Choice | None, parallel: bool | None) -> None:
    """The words of 12.5, and one call at a time inside them."""
    conversation = read(parse(tools=[TOOL], tool_choice=choice))
    assert (conversation.choice, conversation.parallel) == (read_as, parallel)


@pytest.mark.parametrize(
    ("thinking", "tokens", "adaptive"),
    [
        ({"type": "enabled", "budget_tokens": 5_000}, 5_000, False),
        ({"type": "disabled"}, 0, False),
        ({"type": "adaptive"}, None, True),
        ({"type": "between_tools"}, None, True),
        (None, None, False),
    ],
)
def test_thinking_in_every_spelling(thinking: Any, tokens: int | None, adaptive: bool) -> None:
    """Budget, off, adaptive, and between tools, which is adaptive to all others (12.8)."""
    conversation = read(parse(thinking=thinking))
    assert (conversation.thinking_tokens, conversation.adaptive) == (tokens, adaptive)


def test_wishes_have_their_neutral_names() -> None:
    """Sampling, stop strings, the format, the user; the rest of a field stays under this dialect's name."""
    conversation = read(
        parse(
            temperature=0.5, top_p=0.9, top_k=4, stop_sequences=["a"], metadata={"user_id": "u", "x": 1},
            output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}, "y": 2},
            service_tier="auto",
        )
    )  # fmt: skip
    user = conversation.parameters["user"]
    assert conversation.parameters == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop": ["a"], "user": user, "prompt_cache_key": user,
    }  # fmt: skip
    long = read(parse(metadata={"user_id": "u" * 65})).parameters
    assert (len(user), len(long["user"]), len(long["prompt_cache_key"])) == (24, 24, 24)
    assert conversation.format == Format("json_schema", {"type": "object"})
    assert conversation.extras == {
        OURS: {"metadata": {"user_id": "u", "x": 1}, "output_config": {"y": 2}, "service_tier": "auto"}
    }
    assert read(parse(output_format={"type": "json_schema", "schema": {}})).format == Format("json_schema", {})


def test_unknown_keys_of_messages_are_kept() -> None:
    """What only this dialect has for a turn stays with it."""
    assert read(history({**USER, "id": "m"})).turns[0].extras == {OURS: {"id": "m"}}


def test_what_was_not_checked_before_is_named_too() -> None:
    """`read` does not trust that its request was parsed by us."""
    inbound = parse()
    broken = Inbound(inbound.request, {"messages": Raw(b'[{"role":"user","content":[{"type":"text"}]}]')}, dialect=OURS)
    with pytest.raises(BadRequest) as caught:
        read(broken)
    assert caught.value.param == "messages[0].content[0].text"
