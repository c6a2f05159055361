"""The two shapes of a request to a ChatGPT plan's backends, and what may be said in them at all."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.content import Choice, Conversation, Format, Image, Text, Tool, ToolCall, ToolResult, Turn
from hermes_router.core.errors import Inexpressible
from hermes_router.wire.chat.outgoing import Options, Rendered

from ..responses_bodies import CALLERS, composed, facts, parse, passed, warnings

OURS = (Quirk.NATIVE_RESPONSES, Quirk.FIXED_SAMPLING, Quirk.CODEX_BODY, Quirk.ACCOUNT_SEALS)
LEVELS = ("low", "medium", "high", "xhigh", "max")
LEGACY = facts(*OURS, levels=LEVELS)
LITE = facts(*OURS, Quirk.RESPONSES_LITE, levels=LEVELS)
PLAN = facts(*OURS, Quirk.RESPONSES_LITE, Quirk.GROUPED_TOOLS, levels=LEVELS)
EVERY = pytest.mark.parametrize("where", [LEGACY, LITE, PLAN], ids=["legacy", "lite", "plan"])
TAKEN = {
    "model", "stream", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store",
    "include", "prompt_cache_key", "text", "service_tier", "client_metadata",
}  # fmt: skip
BASH = Tool("bash", "run", {"type": "object", "properties": {}})
READ = Tool("read", "", None)
HI = Conversation(system=(Text("be brief"),), turns=(Turn("user", (Text("hi"),)),))
HEADER = "x-openai-internal-codex-responses-lite"


def asked(where: TargetFacts, said: Conversation = HI, *, stream: bool = False, **fields: Any) -> tuple[Rendered, dict]:
    return composed(said._replace(**fields), where, Options(stream=stream))


@EVERY
def test_it_is_always_a_stream_that_nobody_keeps(where: TargetFacts) -> None:
    """Also for a caller who wants it whole: `stream` true, `store` false, sealed thoughts asked for."""
    _, body = asked(where)
    assert (body["stream"], body["store"], body["include"]) == (True, False, ["reasoning.encrypted_content"])


@EVERY
def test_nothing_goes_out_that_may_be_refused(where: TargetFacts) -> None:
    """One refused parameter hides the next, so there is a list of what is taken; what is left out is said."""
    parameters = {"temperature": 0.2, "top_p": 0.5, "top_k": 3, "user": "u", "metadata": {}, "service_tier": "flex",
                  "stop": ["x"], "safety_identifier": "s", "frequency_penalty": 1}  # fmt: skip
    extras = {"openai_responses": {"truncation": "auto", "moderation": {"x": 1}, "client_metadata": {"a": 1}}}
    rendered, body = asked(where, parameters=parameters, max_output_tokens=50, extras=extras)
    assert body.keys() <= TAKEN
    assert "service_tier" not in body
    assert "client_metadata" not in body
    said = warnings(rendered)
    for name in ("temperature", "top_p", "stop", "moderation"):
        assert any(name in one for one in said), name
    assert any("max_output_tokens" in one for one in said)
    assert rendered.sent_max_tokens is None


@EVERY
def test_what_may_be_said_is_said(where: TargetFacts) -> None:
    """Verbosity, a schema, the fast tier, the caller's own key of the conversation."""
    wish = Format("json_schema", {"type": "object"}, "answer", True)
    parameters = {"service_tier": "priority", "verbosity": "low", "prompt_cache_key": "k" * 70}
    _, body = asked(where, parameters=parameters, format=wish)
    assert body["service_tier"] == "priority"
    assert body["text"]["verbosity"] == "low"
    assert body["text"]["format"]["schema"] == {"type": "object"}
    assert len(body["prompt_cache_key"]) <= 64


def test_the_legacy_shape_has_instructions_always() -> None:
    """A request without any was refused: a short text stands in."""
    assert asked(LEGACY)[1]["instructions"] == "be brief"
    assert asked(LEGACY, system=())[1]["instructions"]
    assert "tools" not in asked(LEGACY)[1]


def test_the_lite_shape_has_all_of_it_within_the_input() -> None:
    """codex.md 6.3: tools first, in a namespace; then the instructions; then the history, its calls in the namespace."""
    history = (
        Turn("user", (Text("hi"), Image("data:image/png;base64,AA==", detail="high"))),
        Turn("assistant", (ToolCall("call_1", "bash", "{}"),)),
        Turn("user", (ToolResult("call_1", (Text("4"),)),)),
    )
    rendered, body = asked(LITE, turns=history, tools=(BASH,), parallel=True)
    kinds = [item["type"] for item in body["input"]]
    assert kinds == ["additional_tools", "message", "message", "function_call", "function_call_output"]
    carrier, instructions, user, call, _ = body["input"]
    assert carrier["role"] == instructions["role"] == "developer"
    [group] = carrier["tools"]
    assert (group["type"], group["name"], [tool["name"] for tool in group["tools"]]) == (
        "namespace",
        "functions",
        ["bash"],
    )
    assert group["description"]
    assert instructions["content"] == [{"type": "input_text", "text": "be brief"}]
    assert "detail" not in user["content"][1]
    assert call["namespace"] == "functions"
    assert not {"tools", "instructions"} & body.keys()
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("auto", False)
    assert body["reasoning"] == {"context": "all_turns"}
    assert dict(rendered.headers)[HEADER] == "true"
    assert not rendered.straight


def test_only_the_lite_shape_says_that_it_is_one() -> None:
    """The header would be wrong with any other."""
    for where in (LEGACY, PLAN):
        assert HEADER not in dict(asked(where)[0].headers)


def test_the_plan_route_groups_tools_and_keeps_the_rest_plain() -> None:
    """codex.md 10: functions within a namespace at the top level; instructions stay; no word of the backend's."""
    rendered, body = asked(PLAN, tools=(BASH,))
    assert [tool["type"] for tool in body["tools"]] == ["namespace"]
    assert body["instructions"] == "be brief"
    assert [name for name, _ in rendered.headers] == ["accept"]


@pytest.mark.parametrize(
    ("choice", "offered", "order"),
    [
        (Choice("auto"), ["bash", "read"], ""),
        (Choice("none"), [], ""),
        (Choice("required"), ["bash", "read"], "at least one"),
        (Choice("tool", ("read",)), ["bash", "read"], "`read`"),
        (Choice("auto", ("read",)), ["read"], ""),
    ],
)
def test_a_choice_that_the_lite_shape_has_no_word_for(choice: Choice, offered: list[str], order: str) -> None:
    """Who may be called is offered alone; who must be is asked for in words, at the end, where no cache ends."""
    rendered, body = asked(LITE, tools=(BASH, READ), choice=choice)
    carriers = [item for item in body["input"] if item["type"] == "additional_tools"]
    assert [tool["name"] for one in carriers for group in one["tools"] for tool in group["tools"]] == offered
    last = body["input"][-1]
    assert (order in last["content"] and last["role"] == "developer") if order else last["role"] == "user"
    assert body["tool_choice"] == "auto"
    assert any("tool_choice" in one for one in warnings(rendered)) is bool(order or choice.names)


def test_system_turns_become_developers() -> None:
    """Items with the role system are refused."""
    turns = (*HI.turns, Turn("system", (Text("now in French"),)))
    for where in (LEGACY, LITE, PLAN):
        assert {item.get("role") for item in asked(where, turns=turns)[1]["input"]} <= {"developer", "user"}


@pytest.mark.parametrize(
    ("effort", "sent"), [("none", "low"), ("minimal", "low"), ("high", "high"), ("max", "max"), (None, None)]
)
def test_efforts_are_words_that_the_model_takes(effort: str | None, sent: str | None) -> None:
    """The weakest is `low`; by a model that nobody has listed, `none` is not sent at all."""
    assert asked(LEGACY, effort=effort)[1].get("reasoning", {}).get("effort") == sent
    unlisted = facts(*OURS)
    found = asked(unlisted, effort=effort)[1].get("reasoning", {}).get("effort")
    assert found == (None if effort == "none" else sent)


def test_thoughts_are_shown_where_they_are_wished_for() -> None:
    """A caller with a budget for thinking, or an effort, sees a summary; others ask for none, and get none."""
    assert asked(LEGACY, thinking_tokens=4_000)[1]["reasoning"]["summary"] == "auto"
    assert asked(LEGACY, effort="high")[1]["reasoning"]["summary"] == "auto"
    assert "reasoning" not in asked(LEGACY)[1]
    own = passed(parse(input="hi", reasoning={"effort": "high"}), LEGACY)[1]
    assert own["reasoning"] == {"effort": "high"}
    own = passed(parse(input="hi", reasoning={"effort": "high", "summary": "detailed"}), LEGACY)[1]
    assert own["reasoning"] == {"effort": "high", "summary": "detailed"}


def test_a_conversation_keeps_its_key_and_its_headers() -> None:
    """The same beginning gives the same key and thread in every turn, another one does not; nothing can be read in it."""
    more = (*HI.turns, Turn("assistant", (Text("yes"),)), Turn("user", (Text("go on"),)))
    first, second = asked(LEGACY), asked(LEGACY, turns=more)
    other = asked(LEGACY, system=(Text("be long"),))
    assert first[1]["prompt_cache_key"] == second[1]["prompt_cache_key"] != other[1]["prompt_cache_key"]
    assert first[0].headers == second[0].headers != other[0].headers
    headers = dict(first[0].headers)
    assert headers["session-id"] == headers["thread-id"]
    assert "brief" not in str(headers) + first[1]["prompt_cache_key"]


def test_ids_that_are_not_theirs_are_left_out() -> None:
    """An id of more than 64 characters, or of another form than its kind of item has, is a 400."""
    items = [
        {"type": "message", "role": "user", "content": "hi", "id": "x" * 65},
        {"type": "image_generation_call", "id": "y" * 65, "result": ""},
        {"type": "function_call", "id": "item_7", "call_id": "c", "name": "bash", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "4"},
    ]
    _, body = passed(parse(input=items), LEGACY)
    assert all(len(item.get("id", "")) <= 64 for item in body["input"])


def test_a_call_id_of_another_provider_is_cut_to_what_is_taken() -> None:
    """Calls and results keep finding each other."""
    long = "toolu_" + "a" * 80
    turns = (*HI.turns, Turn("assistant", (ToolCall(long, "bash", "{}"),)), Turn("user", (ToolResult(long, ()),)))
    items = asked(LEGACY, turns=turns, tools=(BASH,))[1]["input"]
    assert items[-1]["call_id"] == items[-2]["call_id"]
    assert len(items[-1]["call_id"]) <= 64


def test_tools_of_others_are_dropped_and_a_demand_for_one_is_refused() -> None:
    """Only what the backend runs for other clients than its own is forwarded."""
    tools = [{"type": "web_search"}, {"type": "local_shell"}, {"type": "file_search", "vector_store_ids": ["v"]}]
    rendered, body = passed(parse(input="hi", tools=tools), LEGACY)
    assert body["tools"] == [{"type": "web_search"}]
    assert sum("dropped" in one for one in warnings(rendered)) == 2
    with pytest.raises(Inexpressible):
        passed(parse(input="hi", tools=tools, tool_choice={"type": "file_search"}), LEGACY)


def test_a_name_that_is_too_long_is_another_one_and_told_as_such() -> None:
    """Function names have 64 characters at most; the answer is then written anew, by the caller's own names."""
    tool = {"type": "function", "name": "a" * 90, "parameters": {"type": "object"}}
    rendered, body = passed(parse(input="hi", tools=[tool]), LEGACY)
    assert len(body["tools"][0]["name"]) <= 64
    assert not rendered.straight


def test_a_parameter_that_was_refused_is_not_sent_again() -> None:
    """What was learned of the provider counts for these requests, too; the headers of the conversation stay the same."""
    without = frozenset({"prompt_cache_key", "input", "include"})
    rendered, body = composed(HI, LEGACY, Options(stream=True, without=without))
    assert not {"prompt_cache_key", "include"} & body.keys()
    assert body["input"]  # without it there is no request
    assert rendered.headers == composed(HI, LEGACY, Options(stream=True))[0].headers


@EVERY
@pytest.mark.parametrize("caller", CALLERS)
def test_what_real_callers_say_fits(caller: str, where: TargetFacts) -> None:
    """Every request of the corpus goes out within the rules, and a second time the same."""
    inbound = parse(CALLERS[caller])
    rendered, body = passed(inbound, where)
    assert body.keys() <= TAKEN
    assert {item.get("role", "user") for item in body["input"]} <= {"user", "assistant", "developer"}
    assert passed(inbound, where)[0].body == rendered.body


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["user", "assistant", "system", "developer"]), max_size=6), st.booleans())
def test_any_order_of_turns_fits(roles: list[str], tools: bool) -> None:
    """The carrier of the tools comes first and once, whatever the history is."""
    turns = tuple(Turn(role, (Text(f"t{number}"),)) for number, role in enumerate(roles))  # type: ignore[arg-type]
    _, body = asked(LITE, turns=turns, tools=(BASH,) if tools else ())
    kinds = [item["type"] for item in body["input"]]
    assert kinds.count("additional_tools") == tools
    assert json.dumps(body)
    assert not tools or kinds[0] == "additional_tools"
