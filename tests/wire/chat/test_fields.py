"""Neutral content as a Chat body: nothing lost in silence, and in a form that Chat's own quirks work on."""

from typing import Any

import msgspec
import pytest

from hermes_router.core.chat import Warning as Notice
from hermes_router.core.content import (
    Audio,
    Choice,
    Conversation,
    Document,
    Foreign,
    Format,
    Image,
    Part,
    Reasoning,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.chat.content import read
from hermes_router.wire.chat.fields import effort_of_budget, write
from hermes_router.wire.chat.request import parse_request
from hermes_router.wire.chat.traits import Trait

HI = Turn("user", (Text("hi"),))
LOOK = Tool("look", "d", {"type": "object", "properties": {"at": {"type": "string"}}})


def fields(conversation: Conversation) -> dict[str, Any]:
    return {key: msgspec.json.decode(raw) for key, raw in write(conversation).fields.items()}


def said(*parts: Part, role: Any = "user") -> list[Any]:
    return fields(Conversation(turns=(Turn(role, parts),)))["messages"]


def test_results_come_first_and_their_images_behind_all_of_them() -> None:
    """Chat takes text in a tool message alone (providers.md 12.4)."""
    found = said(
        ToolResult("a", (Text("one"), Image("data:image/png;base64,AA=="))),
        ToolResult("b", (Text("broke"),), is_error=True),
        ToolResult("c", ()),
        Text("go on"),
    )
    assert found == [
        {"role": "tool", "tool_call_id": "a", "content": "one\n[the images of this result follow]"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: broke"},
        {"role": "tool", "tool_call_id": "c", "content": ""},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "text", "text": "go on"},
            ],
        },
    ]


def test_a_thought_goes_out_only_where_it_is_nobodys_secret() -> None:
    """A signed one is its maker's; an open one helps those who want it back (providers.md 7, 12.9)."""
    [message] = said(
        Reasoning("signed", Seal("anthropic_messages", "signature", "s")),
        Reasoning("open", Seal("", "none", "", "kimi/k3")),
        Reasoning("bare"),
        Text("hello"),
        role="assistant",
    )
    assert message == {"role": "assistant", "content": "hello", "reasoning_content": "open\n\nbare"}


def test_a_turn_of_nothing_but_a_secret_is_no_turn() -> None:
    """An assistant message without content and calls is refused by most."""
    secret = Turn("assistant", (Reasoning("x", Seal("openai_responses", "encrypted", "e")),))
    assert fields(Conversation(turns=(HI, secret)))["messages"] == [{"role": "user", "content": "hi"}]


def test_calls_of_free_text_tools_are_functions_with_one_field() -> None:
    """Chat providers know no custom tools but OpenAI's own (providers.md 12.4)."""
    conversation = Conversation(
        turns=(Turn("assistant", (ToolCall("c", "patch", "*** Begin", custom=True), ToolCall("d", "look", ""))),),
        tools=(Tool("patch", "d", custom=True, extras={"openai_responses": {"format": {"type": "grammar"}}}), LOOK),
    )
    body = write(conversation)
    found = fields(conversation)
    assert [call["function"] for call in found["messages"][0]["tool_calls"]] == [
        {"name": "patch", "arguments": '{"input":"*** Begin"}'},
        {"name": "look", "arguments": "{}"},
    ]
    assert found["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert found["tools"][1]["function"] == {"name": "look", "description": "d", "parameters": LOOK.schema}
    assert body.warnings == (Notice("approx", "tools.format"),)
    assert body.traits & Trait.CALLS


def test_documents_are_text_or_files() -> None:
    """What is text is said as text under its title; a PDF is a file part; an address cannot be told."""
    assert said(Document(text="body", title="T")) == [{"role": "user", "content": "T\n\nbody"}]
    [message] = said(Document("data:application/pdf;base64,AA==", name="a.pdf"))
    assert message["content"] == [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}}
    ]
    for elsewhere in (Document("https://x.test/a.pdf"), Foreign("anthropic_messages", "file_id", {})):
        with pytest.raises(Inexpressible):
            said(elsewhere)


def test_what_another_dialect_alone_has_is_said_as_text_or_warned_of() -> None:
    """Nothing is dropped in silence."""
    conversation = Conversation(
        turns=(
            Turn(
                "user",
                (Foreign("anthropic_messages", "search_result", {}, "found it"), Foreign("x", "container", {})),
            ),
            Turn("user", (Audio("AA==", "wav"),)),
        ),
        hosted=(("openai_responses", {"type": "web_search"}),),
        warnings=(Notice("dropped", "earlier"),),
    )
    assert fields(conversation)["messages"] == [
        {"role": "user", "content": "found it"},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]},
    ]
    assert [str(notice) for notice in write(conversation).warnings] == [
        "dropped:earlier",
        "dropped:container",
        "dropped:web_search",
    ]


def test_system_text_is_one_message_and_later_instructions_stay_where_they_are() -> None:
    """Blocks are joined by a blank line; empty ones say nothing (providers.md 12.2)."""
    conversation = Conversation(
        system=(Text("a"), Text("  "), Text("b")),
        turns=(Turn("user", (Text("x"),), "ann"), Turn("developer", (Text("hurry"),)), Turn("system", ())),
    )
    assert fields(conversation)["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "x", "name": "ann"},
        {"role": "system", "content": "hurry"},
    ]


def test_wishes_are_spelled_as_chat_does() -> None:
    """Cap, effort, choice, format, and the parameters that mean the same."""
    found = fields(
        Conversation(
            turns=(Turn("user", (Text("x"),)),),
            tools=(LOOK, Tool("b")),
            choice=Choice("tool", ("look",)),
            parallel=False,
            max_output_tokens=9,
            thinking_tokens=2_000,
            format=Format("json_schema", {"type": "object"}, "n", strict=True),
            parameters={"temperature": 0.5, "stop": ["END"], "store": True, "prompt_cache_key": "k"},
            extras={"openai_chat": {"vendor": 1}, "anthropic_messages": {"speed": "fast"}},
        )
    )
    assert found.pop("messages")
    assert [tool["function"]["name"] for tool in found.pop("tools")] == ["look", "b"]
    assert found == {
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "max_tokens": 9,
        "reasoning_effort": "medium",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "temperature": 0.5,
        "stop": ["END"],
        "vendor": 1,
    }


def test_a_subset_of_tools_is_all_that_is_sent() -> None:
    """Few providers know `allowed_tools` (providers.md 12.5)."""
    conversation = Conversation(
        turns=(Turn("user", (Text("x"),)),), tools=(LOOK, Tool("b")), choice=Choice("required", ("b",))
    )
    found = fields(conversation)
    assert ([tool["function"]["name"] for tool in found["tools"]], found["tool_choice"]) == (["b"], "required")
    assert Notice("approx", "tool_choice") in write(conversation).warnings


def test_a_demanded_tool_of_a_provider_cannot_be_told() -> None:
    """Leaving it out would change what was asked for (contract.md, Errors)."""
    with pytest.raises(Inexpressible) as raised:
        write(
            Conversation(
                turns=(Turn("user", (Text("x"),)),),
                hosted=(("openai_responses", {"type": "web_search"}),),
                choice=Choice("tool", ("web_search",)),
            )
        )
    assert raised.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("tokens", "effort"),
    [(0, "none"), (512, "minimal"), (1_024, "low"), (8_192, "medium"), (24_576, "high"), (60_000, "xhigh")],
)
def test_a_budget_stands_for_an_effort(tokens: int, effort: str) -> None:
    """The scale of providers.md 12.8."""
    assert effort_of_budget(tokens) == effort


def test_fields_of_another_dialect_are_refused_said_or_without_meaning() -> None:
    """Servers of the provider's own are the answer; what edits a context is said; the rest is swallowed (12.8)."""
    own = {
        "context_management": {"edits": []}, "a_new_field": 1, "nothing": None, "thinking": {"display": "omitted"},
        "metadata": {"user_id": "u"}, "\0billing_line": "x", "mcp_servers": [],
    }  # fmt: skip
    made = write(Conversation(extras={"anthropic_messages": own}))
    assert {str(note) for note in made.warnings} == {
        "dropped:context_management", "dropped:a_new_field",
    }  # fmt: skip
    codex = {"include": ["x"], "truncation": "auto", "client_metadata": {}, "reasoning": {"summary": "auto"}}
    assert write(Conversation(extras={"openai_responses": codex})).warnings == ()
    for key, value in (("mcp_servers", [{"type": "url"}]), ("container", "c")):
        with pytest.raises(Inexpressible, match=key):
            write(Conversation(extras={"anthropic_messages": {key: value}}))


def test_a_chat_callers_own_fields_come_through_a_request_that_is_written_anew() -> None:
    """What an answer that is gone on with may cost, and who may keep it, is as the caller said of its beginning."""
    own = {
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "metadata": {"run": "7"},
        "store": False,
        "safety_identifier": "s",
        "provider": {"data_collection": "deny"},
    }
    asked = {"messages": [{"role": "user", "content": "hi"}], **own}
    written = fields(read(parse_request(msgspec.json.encode(asked), {})))
    assert {key: written.get(key) for key in own} == own
    foreign = fields(Conversation(turns=(HI,), parameters={"service_tier": "flex", "temperature": 0.5}))
    assert (foreign.get("service_tier"), foreign.get("temperature")) == (None, 0.5)


def test_who_says_nothing_asks_something() -> None:
    """Without a message at all the request would be refused (12.2: placeholders)."""
    for turns in ((), (Turn("user", (Text(""),)),), (Turn("assistant", ()), Turn("user", ()))):
        assert fields(Conversation(turns=turns))["messages"] == [{"role": "user", "content": "."}]


def test_what_a_provider_ran_itself_is_said_to_be_lost() -> None:
    """Its results are told as text; a call that says nothing to others is named."""
    parts = (Foreign("openai_responses", "web_search_call", {}), Foreign("x", "found", {}, "a page"), Text("so"))
    made = write(Conversation(turns=(Turn("assistant", parts),)))
    assert [str(note) for note in made.warnings] == ["dropped:web_search_call"]
    assert msgspec.json.decode(made.fields["messages"]) == [{"role": "assistant", "content": "a page\n\nso"}]


def test_a_demanded_tool_that_nobody_has_is_the_callers_mistake() -> None:
    """It is told so, instead of that no target could."""
    with pytest.raises(BadRequest, match="none of the tools") as raised:
        write(Conversation(turns=(Turn("user", (Text("x"),)),), tools=(LOOK,), choice=Choice("tool", ("lok",))))
    assert raised.value.param == "tool_choice"
