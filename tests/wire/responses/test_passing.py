"""Responses to Responses: the caller's own bytes, but for what this target must not or cannot take."""

import json

import msgspec
import pytest

from hermes_router.core.catalog import Quirk
from hermes_router.core.content import Seal
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.chat.outgoing import NO_RECALL, Options
from hermes_router.wire.responses.passing import pass_on
from hermes_router.wire.responses.request import parse_request
from hermes_router.wire.seals import wrap

from ..responses_bodies import CALLERS, NATIVE, ORIGIN, Memory, facts, parse, passed, warnings

R = "openai_responses"
OURS = frozenset({"model", "stream", "store", "include"})


def thought(data="d", item_id="rs_1", **more):
    return {"type": "reasoning", "id": item_id, "summary": [], "encrypted_content": data, **more}


def mark(data="d", origin=ORIGIN, dialect=R, kind="encrypted", item_id="rs_own"):
    return wrap(Seal(dialect, kind, data, origin, item_id), origin=origin)


CALL = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "id": "fco_1", "call_id": "a", "output": "x"}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "t", "annotations": []}],
}
USER = {"role": "user", "content": "hi"}


def sent(*items, **more):
    return passed(parse(input=list(items)), **more)[1]["input"]


# --- what is refused everywhere ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "repair"),
    [
        ([RESULT, USER], "orphan_results"),
        ([USER, CALL, USER], "missing_results"),
        ([USER, CALL, CALL, RESULT, RESULT], "duplicate_call_ids"),
        ([USER, {**CALL, "name": ""}, RESULT], "tool_names"),
    ],
)
def test_histories_that_are_refused_everywhere_are_repaired(items, repair) -> None:
    """Or the conversation would be wedged for good; what only this dialect has survives (contract.md, Errors)."""
    rendered, out = passed(parse(input=[SAID | {"phase": "commentary"}, *items], truncation="auto"))
    calls = [item for item in out["input"] if item["type"] == "function_call"]
    outputs = [item for item in out["input"] if item["type"] == "function_call_output"]
    assert [item["call_id"] for item in calls] == [item["call_id"] for item in outputs]
    assert len({item["call_id"] for item in calls}) == len(calls)
    assert all(item["name"] for item in calls)
    assert (out["input"][0]["phase"], out["truncation"]) == ("commentary", "auto")
    assert f"repaired:{repair}" in warnings(rendered)
    assert rendered.altered


def test_an_output_behind_other_words_is_in_its_place() -> None:
    """The provider takes it there: the caller's own bytes go out."""
    assert sent(USER, CALL, USER, RESULT) == [USER, CALL, USER, RESULT]


# --- what is left alone -----------------------------------------------------------------------------


@pytest.mark.parametrize("caller", CALLERS)
def test_what_real_callers_send_goes_out_as_it_came(caller: str) -> None:
    """All but the model's name, and that nothing is kept; thoughts may come back sealed."""
    body = CALLERS[caller]
    rendered, out = passed(parse(body))
    assert {k: v for k, v in out.items() if k not in OURS} == {k: v for k, v in body.items() if k not in OURS}
    assert (out["model"], out["stream"], out["store"]) == ("m-1", True, False)
    assert set(out.get("include", [])) >= set(body.get("include", []))
    assert (rendered.warnings, rendered.altered) == ((), False)


def test_what_needs_no_change_is_the_callers_own_bytes() -> None:
    """Spaces, order, escapes and fields that nobody knows; a body of 5 MB is not taken apart."""
    raw = b'[ {"role" : "user","content":"\\u00e9  ' + b"x" * 5_000_000 + b'", "zz":1.50} ]'
    tools = b'[{"type":"function", "name":"f","parameters":{"b":1e2,"a":null}}]'
    inbound = parse_request(b'{"frob":{"x" : 1},"input":' + raw + b',"tools": ' + tools + b"}", {})
    body = pass_on(inbound, facts(NATIVE), Options(stream=True), NO_RECALL).body
    for part in (raw, tools, b'"frob":{"x" : 1}'):
        assert part in body
    assert msgspec.json.decode(body)["tools"][0]["name"] == "f"


def test_a_string_stays_a_string() -> None:
    """`input` is what the caller made it."""
    assert passed(parse(input="hi"))[1]["input"] == "hi"


# --- what is kept by the provider -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "allow", "out"),
    [(None, None, False), (False, None, False), (True, None, True), (True, ["store"], True), (True, ["model"], False)],
)
def test_nothing_is_kept_unless_the_caller_says_so(store, allow, out) -> None:
    """And the row takes the word; the provider's own default would be to keep it."""
    fields = {} if store is None else {"store": store}
    rendered, body = passed(parse(**fields), facts(NATIVE, allow=allow))
    assert body["store"] is out
    assert ("dropped:store" in warnings(rendered)) is (store is True and not out)


def test_who_relied_on_the_providers_memory_gets_sealed_thoughts() -> None:
    """It is not kept, so the caller must be able to bring it back; a model without thoughts is asked for none."""
    sealed = "reasoning.encrypted_content"
    assert passed(parse())[1]["include"] == [sealed]
    assert passed(parse(include=["x"]))[1]["include"] == ["x", sealed]
    assert "include" not in passed(parse(store=False))[1]
    dull = facts(NATIVE, reasons=False, refuse=frozenset({"reasoning_effort"}))
    assert "include" not in passed(parse(), dull)[1]
    _, out = passed(parse(include=[sealed], store=False, reasoning={"summary": "auto"}), dull)
    assert not {"include", "reasoning"} & set(out)


# --- thoughts ---------------------------------------------------------------------------------------


def test_a_targets_own_thought_goes_back_unaltered() -> None:
    """One without a mark as the caller's bytes, one with ours as it was made."""
    assert sent(USER, thought("raw"), CALL, RESULT)[1] == thought("raw")
    assert sent(USER, thought(mark("sealed")), CALL, RESULT)[1:3] == [thought("sealed", "rs_own"), CALL]
    assert "id" not in sent(USER, thought(mark("sealed", item_id="")), CALL, RESULT)[1]


@pytest.mark.parametrize(
    ("item", "more"),
    [
        (thought(mark(origin="other/model")), {}),
        (thought(mark(dialect="anthropic_messages", kind="signature")), {}),
        (thought(mark("", kind="none")), {}),
        (thought("theirs"), {"recall": Memory(made={"theirs": False})}),
        (thought("raw"), {"options": Options(stream=True, strip_thoughts=True)}),
        ({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}, {}),
        (thought(None), {}),
    ],
)
def test_a_thought_that_cannot_be_the_targets_is_taken_out_with_its_ids(item, more) -> None:
    """The ids of what it led to belong with it (12.9; codex.md 6.2); everything else stays, without a word."""
    rendered, body = passed(parse(input=[USER, item, SAID, CALL, RESULT, thought("own"), SAID, USER]), **more)
    without = [{k: v for k, v in each.items() if k != "id"} for each in (SAID, CALL)]
    assert body["input"][:4] == [USER, *without, RESULT]
    if "options" not in more:
        assert body["input"][4:] == [thought("own"), SAID, USER]
    assert (rendered.warnings, rendered.altered) == ((), False)


def test_a_thought_in_plain_text_is_its_own_content() -> None:
    """Local servers send it so: it refers to nobody's memory."""
    plain = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    assert sent(USER, plain, SAID, USER)[1] == plain


def test_ids_are_not_looked_for_where_answers_are_kept() -> None:
    """They may have been made up here, when another provider answered; elsewhere nobody looks for them."""
    inbound = parse(input=[USER, SAID, CALL, RESULT], store=True)
    assert [item.get("id") for item in passed(inbound)[1]["input"]] == [None, None, None, "fco_1"]
    assert [item.get("id") for item in sent(USER, SAID, CALL, RESULT)] == [None, "msg_1", "fc_1", "fco_1"]


# --- parameters -------------------------------------------------------------------------------------


def test_parameters_are_fitted_to_the_target() -> None:
    """Caps, effort, sampling, verbosity: what the row knows, in the caller's own spelling."""
    where = facts(
        NATIVE, Quirk.FIXED_SAMPLING, output_cap=1_000, levels=("low", "high"), refuse=frozenset({"verbosity"})
    )
    rendered, out = passed(
        parse(
            temperature=0.2, top_p=1, max_output_tokens=9_000, reasoning={"effort": "medium", "summary": "auto"},
            text={"verbosity": "low", "format": {"type": "text"}}, frob=1,
        ), where,
    )  # fmt: skip
    assert (out["max_output_tokens"], rendered.sent_max_tokens) == (1_000, 1_000)
    assert out["reasoning"] == {"effort": "low", "summary": "auto"}
    assert out["text"] == {"format": {"type": "text"}}
    assert not {"temperature", "top_p"} & set(out)
    assert out["frob"] == 1
    assert sorted(warnings(rendered)) == [
        "approx:max_tokens",
        "approx:reasoning_effort",
        "dropped:temperature",
        "dropped:verbosity",
    ]


def test_what_a_target_refused_before_is_not_sent_again() -> None:
    """Learned from its own words; what tunes nothing falls in silence."""
    options = Options(stream=True, without=frozenset({"truncation", "client_metadata", "include", "tools"}))
    rendered, out = passed(parse(truncation="auto", client_metadata={"a": "b"}, include=["x"]), options=options)
    assert set(out) == {"model", "stream", "input", "store"}
    assert sorted(warnings(rendered)) == ["dropped:include", "dropped:truncation"]


def test_a_schema_that_a_row_does_not_take_is_told_in_words() -> None:
    """Added to the caller's own instructions."""
    wanted = {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}
    rendered, out = passed(parse(text=wanted, instructions="be good"), facts(NATIVE, Quirk.JSON_OBJECT_ONLY))
    assert out["text"] == {"format": {"type": "json_object"}}
    assert out["instructions"].startswith("be good\n\nAnswer with one JSON object")
    assert warnings(rendered) == ["approx:response_format"]


def test_a_choice_without_tools_is_left_out() -> None:
    """It is a 400; tools within the input are tools."""
    rendered, out = passed(parse(tool_choice="required", parallel_tool_calls=True, tools=[]))
    assert not {"tool_choice", "parallel_tool_calls"} & set(out)
    assert warnings(rendered) == ["dropped:tool_choice"]
    assert passed(parse(CALLERS["codex_lite"]))[1]["tool_choice"] == "auto"
    assert passed(parse(tools=[{"type": "web_search"}], tool_choice="auto"))[1]["tool_choice"] == "auto"


def test_options_of_a_stream_go_with_a_stream() -> None:
    """They are refused without one."""
    inbound = parse(stream=True, stream_options={"include_obfuscation": False})
    assert "stream_options" in passed(inbound)[1]
    assert "stream_options" not in passed(inbound, options=Options(stream=False))[1]


# --- servers that know functions alone --------------------------------------------------------------


def test_a_request_of_functions_and_text_is_passed_on_anywhere() -> None:
    """With fields that nobody knows."""
    body = {**CALLERS["hermes"], "frob": [1]}
    assert passed(parse(body), facts())[1]["frob"] == [1]


@pytest.mark.parametrize("caller", ["codex_unknown_model", "codex_known_model", "codex_lite", "cline"])
def test_what_needs_more_is_written_anew(caller: str) -> None:
    """Namespaces, custom and hosted tools: flat functions, as for any other dialect."""
    _, out = passed(parse(CALLERS[caller]), facts())
    assert {tool["type"] for tool in out["tools"]} == {"function"}
    assert {item["type"] for item in out["input"]} <= {"message", "reasoning", "function_call", "function_call_output"}
    assert all(isinstance(item["output"], str) for item in out["input"] if "output" in item)


def test_results_that_show_images_are_written_anew() -> None:
    """Where results are text alone."""
    shown = {**RESULT, "output": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]}
    assert sent(CALL, shown, where=facts())[1]["output"] == "[the images of this result follow]"
    assert sent(CALL, shown)[1] == shown


def test_a_demand_that_nobody_here_can_meet_is_said() -> None:
    """So that another target is asked."""
    with pytest.raises(Inexpressible):
        passed(parse(tools=[{"type": "web_search"}], tool_choice={"type": "web_search"}), facts())


def test_values_that_cannot_be_sent_on_are_a_bad_request() -> None:
    """Never a 500."""
    inbound = parse(metadata={"a": "b"})
    broken = inbound._replace(fields={**inbound.fields, "metadata": msgspec.Raw(b"{")})
    with pytest.raises(BadRequest):
        passed(broken)
    assert json.loads(passed(inbound)[0].body)["metadata"] == {"a": "b"}
