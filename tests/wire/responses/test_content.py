"""Responses requests as neutral content: turns, tools and wishes, whoever sent them."""

import pytest

from hermes_router.core.chat import Warning as Notice
from hermes_router.core.content import (
    Audio,
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
    Turn,
)
from hermes_router.core.errors import BadRequest
from hermes_router.wire.seals import wrap

from ..responses_bodies import CALLERS, reading

R = "openai_responses"


def turns(*items):
    return reading(input=list(items)).turns


def parts(*content, role="user"):
    return turns({"role": role, "content": list(content)})[0].parts


# --- turns ------------------------------------------------------------------------------------------


def test_instructions_come_before_leading_developer_text() -> None:
    """Both are system text; a later one is a turn of its own."""
    found = reading(
        instructions="first",
        input=[
            {"role": "developer", "content": [{"type": "input_text", "text": "second"}]},
            {"role": "system", "content": "third"},
            {"role": "user", "content": "hi"},
            {"role": "developer", "content": "in the middle"},
        ],
    )
    assert [part.text for part in found.system] == ["first", "second", "third"]
    assert found.turns == (Turn("user", (Text("hi"),)), Turn("developer", (Text("in the middle"),)))


def test_hermes_parallel_calls_are_one_turn_and_so_are_their_results() -> None:
    """Items without type and without ids (clients.md 2.3)."""
    found = reading(CALLERS["hermes"])
    assert [part.text for part in found.system] == ["You are Hermes."]
    assert found.turns == (
        Turn("user", (Text("weather in Rome and Oslo?"),)),
        Turn("assistant", (ToolCall("call_1", "terminal", '{"cmd": "rome"}'), ToolCall("call_2", "terminal", '{"cmd": "oslo"}'))),
        Turn("user", (ToolResult("call_1", (Text("sunny"),)), ToolResult("call_2", (Text("snow"),)))),
        Turn("assistant", (Text("Sunny and snow."),)),
        Turn("user", (Text("thanks"),)),
    )  # fmt: skip
    assert (found.effort, found.parallel, found.choice) == ("medium", True, Choice("auto"))
    assert found.parameters == {"prompt_cache_key": "pck_7f0e", "store": False}


def test_codex_history_is_read_whole() -> None:
    """A sealed thought, the call that it led to, the answer with its phase; ids of items are nobody else's."""
    found = reading(CALLERS["codex_unknown_model"])
    thought = Reasoning("**Listing files**", Seal(R, "encrypted", "gAAAAABo-first-thought", item_id="rs_0a1b2c"))
    assert found.turns[2:5] == (
        Turn("assistant", (thought, ToolCall("call_AbCdEf0123456789", "exec_command", '{"cmd":"ls"}'))),
        Turn("user", (ToolResult("call_AbCdEf0123456789", (Text("a.py\nb.py\n"),)),)),
        Turn(
            "assistant",
            (
                Text("Two files.", {R: {"phase": "final_answer"}}),
                ToolCall("call_Spawn0000000001", "multi_agent_v1__spawn_agent", '{"cmd":"look"}'),
            ),
        ),
    )
    shown = found.turns[5].parts[0]
    assert shown == ToolResult("call_Spawn0000000001", (Text("started"), Image("data:image/png;base64,iVBORw0KGgo=")))
    assert found.extras[R]["reasoning"] == {"summary": "auto"}
    assert found.effort is None


def test_custom_tools_of_codex_are_called_with_free_text() -> None:
    """`apply_patch`, and `exec` within the plain namespace; the grammar is kept for who knows it."""
    found = reading(CALLERS["codex_known_model"])
    (patch,) = (tool for tool in found.tools if tool.custom)
    assert patch.name == "apply_patch"
    assert patch.extras[R]["format"]["syntax"] == "lark"
    assert (
        ToolCall("call_Patch0000000001", "apply_patch", "*** Begin Patch\n*** End Patch", custom=True)
        in found.turns[2].parts
    )
    assert [kind["type"] for _, kind in found.hosted] == ["tool_search", "web_search"]
    lite = reading(CALLERS["codex_lite"])
    assert lite.turns[2].parts[1] == ToolCall("call_Exec00000000001", "exec", "await ls()", custom=True)
    assert lite.turns[3].parts[0].parts == (Text("Script completed"), Text("a.py"))
    assert lite.format == Format("json_schema", lite.format.schema, "codex_output_schema", strict=True)
    assert lite.parameters["verbosity"] == "low"
    assert lite.extras[R]["reasoning"] == {"summary": "auto", "context": "all_turns"}


def test_what_a_namespace_is_for_is_said_once() -> None:
    """Others have no namespaces: its description goes with the first of its tools, and can be taken back."""
    tools = [tool for tool in reading(CALLERS["codex_unknown_model"]).tools if tool.namespace]
    assert tools[0].description == "Agents that work for you.\n\ndoes it"
    assert tools[0].extras[R] == {"note": "Agents that work for you.", "description": "does it"}
    assert {tool.description for tool in tools[1:]} == {"does it"}
    assert (tools[3].name, tools[3].namespace, tools[3].plain_name) == (
        "multi_agent_v1__spawn_agent",
        "multi_agent_v1",
        "spawn_agent",
    )


def test_calls_come_last_and_thoughts_stay_with_what_they_led_to() -> None:
    """A text between two calls is said before them."""
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    found = turns(
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "1"}]},
        call,
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "2"}]},
        {"role": "assistant", "content": "text"},
        {**call, "call_id": "b"},
    )
    assert found[0].parts == (
        Reasoning("2"), Text("text"), Reasoning("1"), ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"),
    )  # fmt: skip


def test_thoughts_are_read_with_their_seals() -> None:
    """A summary or the thought itself; a mark of ours gives the seal back that it holds; no seal, just the text."""
    seal = Seal("anthropic_messages", "signature", "sig", "anthropic/claude")
    found = turns(
        {"type": "reasoning", "summary": [{"text": "a"}, {"text": "b"}], "encrypted_content": wrap(seal, origin="x")},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "raw"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "c"}]},
        {"role": "assistant", "content": "ok"},
    )
    assert found[0].parts[:3] == (
        Reasoning("a\n\nb", seal), Reasoning("", Seal(R, "encrypted", "raw", item_id="rs_1")), Reasoning("c"),
    )  # fmt: skip


def test_items_of_hosted_tools_are_kept_for_who_knows_them() -> None:
    """With what others can be told of them; results of the caller's are the user's."""
    search = {"type": "web_search_call", "id": "ws_1", "action": {"query": "x"}}
    ran = {"type": "local_shell_call_output", "id": "l", "output": "42"}
    found = turns(search, {"role": "assistant", "content": "ok"}, ran)
    assert found[0].parts == (Foreign(R, "web_search_call", search), Text("ok"))
    assert found[1] == Turn("user", (Foreign(R, "local_shell_call_output", ran, "42"),))


def test_an_empty_answer_is_no_turn() -> None:
    """An empty user message is one: the caller said it."""
    assert turns({"role": "assistant", "content": ""}, {"role": "user", "content": ""}) == (Turn("user", ()),)


# --- parts ------------------------------------------------------------------------------------------


def test_parts_of_every_kind() -> None:
    """Texts of all spellings, media, and what nobody knows."""
    smell = {"type": "input_smell", "text": "roses"}
    assert parts(
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
        {"type": "input_image", "image_url": "https://e.org/i.png", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "JVBERi0="},
        {"type": "input_file", "file_url": "https://e.org/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        smell,
    ) == (
        Text("a", {R: {"prompt_cache_breakpoint": {"mode": "explicit"}}}),
        Text("b", {"anthropic_messages": {"cache_control": {"type": "ephemeral"}}}),
        Image("https://e.org/i.png", "low"),
        Document("data:application/pdf;base64,JVBERi0=", name="a.pdf"),
        Document("https://e.org/a.pdf"),
        Audio("AA", "wav"),
        Foreign(R, "input_smell", smell, "roses"),
    )


def test_a_refusal_is_text() -> None:
    """And it is known that it was one."""
    assert parts({"type": "refusal", "refusal": "no"}, role="assistant") == (Text("no", {R: {"refusal": True}}),)


@pytest.mark.parametrize("part", [{"type": "input_image", "file_id": "f"}, {"type": "input_file", "file_id": "f"}])
def test_files_that_a_provider_keeps_are_refused(part) -> None:
    """An id means nothing to anybody else (12.3)."""
    with pytest.raises(BadRequest) as caught:
        parts(part)
    assert caught.value.param == "input[0].content[0].file_id"


# --- wishes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("auto", Choice("auto")), ("required", Choice("required")), ("none", Choice("none")), ("odd", None),
        ({"type": "function", "name": "f"}, Choice("tool", ("f",))),
        ({"type": "custom", "name": "spawn"}, Choice("tool", ("g__spawn",))),
        ({"type": "web_search"}, Choice("tool", ("web_search",))),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]},
         Choice("required", ("f", "web_search"))),
    ],
)  # fmt: skip
def test_the_choice_of_tools(said, choice) -> None:
    """By flat names; a hosted tool by its type, which nobody else offers."""
    tools = [
        {"type": "function", "name": "f"},
        {"type": "namespace", "name": "g", "tools": [{"type": "custom", "name": "spawn"}]},
        {"type": "web_search"},
    ]
    found = reading(tools=tools, tool_choice=said)
    assert found.choice == choice
    assert ("tool_choice" in found.extras.get(R, {})) is (said == {"type": "web_search"})


def test_wishes_find_their_neutral_names() -> None:
    """What others know by Chat's names, what only Responses has, and what nobody can keep (12.8)."""
    found = reading(
        temperature=0.5, top_p=0.9, user="u", service_tier="flex", metadata={"a": "b"}, safety_identifier="s",
        text={"verbosity": "low", "format": {"type": "json_object"}}, include=["x"], truncation="auto",
        client_metadata={"c": "d"}, max_tool_calls=3, top_logprobs=2, frobnicate=1, reasoning={"effort": "none"},
        max_output_tokens=99, stream_options={"include_obfuscation": False}, background=False,
    )  # fmt: skip
    assert found.parameters == {
        "temperature": 0.5, "top_p": 0.9, "user": "u", "service_tier": "flex", "metadata": {"a": "b"},
        "safety_identifier": "s", "verbosity": "low",
    }  # fmt: skip
    assert found.format == Format("json_object")
    assert found.extras[R] == {
        "include": ["x"], "truncation": "auto", "client_metadata": {"c": "d"}, "max_tool_calls": 3, "top_logprobs": 2,
        "frobnicate": 1,
    }  # fmt: skip
    assert (found.effort, found.thinking_tokens, found.max_output_tokens) == ("none", 0, 99)
    assert found.warnings == (Notice("dropped", "top_logprobs"),)
