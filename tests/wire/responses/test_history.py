"""Turns as Responses items: thoughts for their makers alone, results as a target can take them, ids never made up."""

import json

import pytest

from hermes_router.core.content import (
    Audio,
    Conversation,
    Document,
    Foreign,
    Image,
    Reasoning,
    Seal,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.core.errors import Inexpressible
from hermes_router.wire.chat.outgoing import Options

from ..responses_bodies import NATIVE, ORIGIN, Memory, composed, facts, warnings

R = "openai_responses"
PNG = Image("data:image/png;base64,AA", "low")
SHOWN = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}


def items(*turns, where=None, **more):
    return composed(Conversation(turns=turns), where, **more)[1]["input"]


def assistant(*parts):
    return Turn("assistant", parts)


def answered(*parts, call_id="a", where=None, is_error=False):
    """The result item of a call that gave back these parts, and what follows it."""
    call = ToolCall(call_id, "f", "{}")
    return items(assistant(call), Turn("user", (ToolResult(call_id, parts, is_error),)), where=where)[1:]


def sealed(data="d", origin=ORIGIN, dialect=R, item_id="rs_1"):
    return Reasoning("hm", Seal(dialect, "encrypted", data, origin, item_id))


# --- thoughts ---------------------------------------------------------------------------------------


def test_a_thought_goes_back_to_its_maker_before_what_it_led_to() -> None:
    """With its id where it has one, and none made up where it has none."""
    found = items(assistant(sealed(), Text("a"), sealed("e", item_id=""), ToolCall("c", "f", "{}")))
    assert found[:4] == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "d",
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "e"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]


@pytest.mark.parametrize(
    "thought",
    [
        Reasoning("no seal"), sealed(origin="other/model"), sealed(dialect="anthropic_messages"), sealed(data=""),
        sealed("not ours", origin=""),
    ],
)  # fmt: skip
def test_a_thought_of_another_is_left_out_without_a_word(thought) -> None:
    """Signatures and sealed thoughts are bound to the model that made them (12.9)."""
    rendered, body = composed(
        Conversation(turns=(assistant(thought, Text("a")),)), recall=Memory(made={"not ours": False})
    )
    assert [item["type"] for item in body["input"]] == ["message"]
    assert warnings(rendered) == []


def test_a_thought_without_a_mark_goes_where_nobody_remembers_otherwise() -> None:
    """The caller brought it from elsewhere: perhaps from this very provider."""
    for made in ({}, {"d": True}):
        assert items(assistant(sealed(origin=""), Text("a")), recall=Memory(made=made))[0]["type"] == "reasoning"


def test_a_target_that_refused_a_seal_gets_none() -> None:
    """Neither the caller's nor what is remembered."""
    recall = Memory({"c": (sealed(),)})
    found = items(
        assistant(sealed(), ToolCall("c", "f", "{}")), options=Options(stream=True, strip_thoughts=True), recall=recall
    )
    assert [item["type"] for item in found] == ["function_call", "function_call_output"]


def test_a_thought_without_what_it_led_to_is_left_out() -> None:
    """It is refused: `reasoning` must be followed by its item."""
    assert items(Turn("user", (Text("hi"),)), assistant(sealed()))[1:] == []


def test_remembered_thoughts_are_put_before_the_calls_they_led_to() -> None:
    """A Chat caller cannot hold them; once per turn, and only where the caller brought none."""
    recall = Memory({"c": (sealed(),), "d": (sealed("e"),)})
    turn = assistant(Reasoning("plain"), Text("a"), ToolCall("c", "f", "{}"), ToolCall("d", "f", "{}"))
    found = items(turn, recall=recall)
    assert [(item["type"], item.get("encrypted_content")) for item in found[:4]] == [
        ("reasoning", "d"), ("message", None), ("function_call", None), ("function_call", None),
    ]  # fmt: skip
    own = items(assistant(sealed("own"), ToolCall("c", "f", "{}")), recall=recall)
    assert [item.get("encrypted_content") for item in own if item["type"] == "reasoning"] == ["own"]
    foreign = Memory({"c": (sealed(origin="other/model"),)})
    assert items(assistant(ToolCall("c", "f", "{}")), recall=foreign)[0]["type"] == "function_call"


# --- what was said ----------------------------------------------------------------------------------


def test_texts_of_one_message_stay_together() -> None:
    """Unless they were of different phases; a refusal is one again."""
    found = items(
        assistant(
            Text("a", {R: {"phase": "commentary"}}), Text("b", {R: {"phase": "commentary"}}),
            Text("c", {R: {"phase": "final_answer"}}), Text("no", {R: {"refusal": True, "phase": "final_answer"}}), Text(""),
        )
    )  # fmt: skip
    assert [(item["phase"], [part["type"] for part in item["content"]]) for item in found] == [
        ("commentary", ["output_text", "output_text"]), ("final_answer", ["output_text", "refusal"]),
    ]  # fmt: skip


def test_servers_that_copied_the_dialect_get_one_string() -> None:
    """They want ids of messages that were not made there, and ids are not made up."""
    turn = assistant(Text("a"), Text("no", {R: {"refusal": True}}), ToolCall("c", "f", "{}"))
    assert items(turn, where=facts())[0] == {"type": "message", "role": "assistant", "content": "a\n\nno"}


def test_what_an_assistant_cannot_have_said_here_is_dropped_and_said() -> None:
    """Its images, and blocks of other dialects without text."""
    block = Foreign("anthropic_messages", "server_tool_use", {"type": "server_tool_use"})
    told = Foreign("anthropic_messages", "web_search_tool_result", {}, "found it")
    rendered, body = composed(Conversation(turns=(assistant(PNG, block, told),)))
    assert body["input"][0]["content"][0]["text"] == "found it"
    assert warnings(rendered) == ["dropped:assistant_media", "dropped:server_tool_use"]


def test_an_empty_assistant_turn_is_no_item() -> None:
    """And an empty user message is one."""
    assert items(assistant(), Turn("user", ())) == [{"type": "message", "role": "user", "content": ""}]


# --- results ----------------------------------------------------------------------------------------


def test_an_error_says_so_in_its_text() -> None:
    """Vector 3: there is no field for it; an image stays, and nothing is said twice."""
    assert answered(Text("boom"), PNG, is_error=True)[0]["output"] == [
        {"type": "input_text", "text": "Error: boom"},
        SHOWN,
    ]
    assert answered(Text("Error: boom"), is_error=True)[0]["output"] == "Error: boom"
    assert answered(PNG, is_error=True)[0]["output"] == [{"type": "input_text", "text": "Error:"}, SHOWN]
    assert answered(is_error=True)[0]["output"] == "Error: "


def test_a_result_may_show_images_and_files() -> None:
    """Where the target takes them; elsewhere they follow in a message of the user's (12.4)."""
    parts = (Text("a"), PNG, Document("data:application/pdf;base64,AA", name="a.pdf"))
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}
    assert answered(*parts)[0]["output"] == [{"type": "input_text", "text": "a"}, SHOWN, file]
    result, message = answered(*parts, where=facts())
    assert result["output"] == "a\n[the images of this result follow]"
    assert message == {"type": "message", "role": "user", "content": [SHOWN, file]}


def test_an_empty_result_is_an_empty_string() -> None:
    """And no arguments are none (vector 2)."""
    assert answered()[0]["output"] == ""
    assert items(assistant(ToolCall("a", "f", "")))[0]["arguments"] == "{}"


def test_orphans_are_repaired_and_said() -> None:
    """As for Chat: a call gets a result, a result becomes what the user says."""
    rendered, body = composed(
        Conversation(turns=(Turn("user", (ToolResult("z", (Text("42"),)),)), assistant(ToolCall("a", "f", "{}"))))
    )
    assert [item["type"] for item in body["input"]] == ["message", "function_call", "function_call_output"]
    assert sorted(warnings(rendered)) == ["repaired:missing_results", "repaired:orphan_results"]


def test_long_ids_are_the_same_on_both_sides() -> None:
    """At most 64 characters; short ones stay."""
    long, short = answered(call_id="x" * 65)[0]["call_id"], answered(call_id="x" * 64)[0]["call_id"]
    assert (len(long), short) == (37, "x" * 64)
    assert items(assistant(ToolCall("x" * 65, "f", "{}")))[0]["call_id"] == long


def test_a_custom_call_and_its_result_are_custom() -> None:
    """With the text as it was; where only functions are known, wrapped."""
    turns = (assistant(ToolCall("a", "p", "*** Begin", custom=True)), Turn("user", (ToolResult("a", (Text("ok"),)),)))
    assert items(*turns) == [
        {"type": "custom_tool_call", "call_id": "a", "name": "p", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"},
    ]
    plain = items(*turns, where=facts())
    assert (plain[0]["type"], json.loads(plain[0]["arguments"]), plain[1]["type"]) == (
        "function_call", {"input": "*** Begin"}, "function_call_output",
    )  # fmt: skip


def test_what_only_responses_says_of_calls_goes_where_it_is_known() -> None:
    """Who called a tool, say; servers that know functions alone are not told."""
    own = {R: {"caller": {"type": "direct"}}}
    turns = (
        assistant(ToolCall("a", "f", "{}", extras=own)),
        Turn("user", (ToolResult("a", (Text("x"),), extras=own),)),
    )
    assert [item.get("caller") for item in items(*turns)] == [{"type": "direct"}] * 2
    assert [item.get("caller") for item in items(*turns, where=facts())] == [None] * 2


# --- the user's parts -------------------------------------------------------------------------------


def test_documents_in_every_form() -> None:
    """Text with its title, data with a name, an address."""
    parts = (
        Document(text="body", title="T"),
        Document("data:text/plain;base64,AA"),
        Document("https://e.org/a", name="a"),
    )
    assert items(Turn("user", parts))[0]["content"] == [
        {"type": "input_text", "text": "T\n\nbody"},
        {"type": "input_file", "filename": "file.pdf", "file_data": "data:text/plain;base64,AA"},
        {"type": "input_file", "file_url": "https://e.org/a", "filename": "a"},
    ]


def test_sound_cannot_be_sent() -> None:
    """Responses takes none: another target may."""
    with pytest.raises(Inexpressible) as caught:
        items(Turn("user", (Audio("AA", "wav"),)))
    assert caught.value.param == "input_audio"


def test_foreign_parts_are_told_or_said_to_be_dropped() -> None:
    """Own ones go as they are, where they are known."""
    own = Foreign(R, "input_smell", {"type": "input_smell"})
    other = Foreign("anthropic_messages", "search_result", {}, "title: x")
    turn = Turn("user", (own, other))
    assert items(turn)[0]["content"] == [{"type": "input_smell"}, {"type": "input_text", "text": "title: x"}]
    rendered, body = composed(Conversation(turns=(turn,)), facts())
    assert body["input"][0]["content"] == [{"type": "input_text", "text": "title: x"}]
    assert warnings(rendered) == ["dropped:input_smell"]


def test_items_of_hosted_tools_stay_where_they_were() -> None:
    """Before and behind what else is said, for who knows them."""
    call, ran = {"type": "web_search_call", "id": "ws"}, {"type": "local_shell_call_output", "id": "l", "output": "42"}
    turns = (
        assistant(Foreign(R, "web_search_call", call), Text("a")),
        Turn("user", (Text("x"), Foreign(R, "local_shell_call_output", ran, "42"))),
    )
    assert [item["type"] for item in items(*turns, where=facts(NATIVE))] == [
        "web_search_call",
        "message",
        "message",
        "local_shell_call_output",
    ]
    assert items(*turns, where=facts())[1]["content"] == [
        {"type": "input_text", "text": "x"},
        {"type": "input_text", "text": "42"},
    ]


def test_what_a_text_result_cannot_hold_is_said_or_refused() -> None:
    """Where results are text: what has none is named as dropped, a file that its provider keeps and video are refused."""
    call = assistant(ToolCall("a", "f", "{}"))

    def result(*parts):
        return Conversation(turns=(call, Turn("user", (ToolResult("a", parts),))))

    rendered, body = composed(result(Text("x"), Foreign("anthropic_messages", "tool_reference", {})), facts())
    assert body["input"][-1]["output"] == "x"
    assert warnings(rendered) == ["dropped:tool_reference"]
    for kind in ("file_id", "video_url"):
        with pytest.raises(Inexpressible):
            composed(result(Foreign("openai_chat", kind, {})), facts())
