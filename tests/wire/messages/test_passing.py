"""A Messages request passed on to a Messages upstream: what must change for a target, and that nothing else does."""

import json
from typing import Any

import pytest

from hermes_router.core.catalog import Capability, Claim, Known, Quirk
from hermes_router.core.content import Seal
from hermes_router.core.errors import Inexpressible
from hermes_router.wire.chat.outgoing import NO_RECALL, Options, Rendered
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.passing import pass_on
from hermes_router.wire.messages.request import parse_request
from hermes_router.wire.messages.turns import SYSTEM_NOTE
from hermes_router.wire.seals import wrap

from ..messages_bodies import (
    MARK,
    PNG,
    STREAM,
    TOOL,
    USER,
    Remembers,
    asked,
    call,
    caller,
    facts,
    history,
    parse,
    result,
    row,
    said,
    text,
)

OURS = "anthropic_messages"
NO = Claim(Known.NO)
HAIKU_4, HAIKU_5 = row("anthropic", "claude-haiku-4-5"), row("anthropic", "claude-haiku-5-5")
SONNET_5, KIMI = row("anthropic", "claude-sonnet-5-5"), row("kimi", "k3")


def passed(
    inbound: Inbound, where: Any = KIMI, options: Options = STREAM, recall: Any = NO_RECALL
) -> tuple[dict[str, Any], Rendered]:
    """The body that goes out, decoded, and the rendering."""
    rendered = pass_on(inbound, where, options, recall)
    return json.loads(rendered.body), rendered


def warned(rendered: Rendered) -> set[str]:
    return {str(note) for note in rendered.warnings}


def test_claude_codes_request_reaches_its_maker_as_it_came() -> None:
    """Every slice, the billing line, betas, fields that need them (clients.md 4)."""
    body, meta = caller("claude_code_second_turn")
    raw = json.dumps(body, separators=(",", ":")).encode()
    inbound = parse_request(raw, meta["headers"])
    out, rendered = passed(inbound, SONNET_5)
    assert {**out, "model": body["model"]} == body
    for key in ("system", "messages", "tools", "context_management", "thinking"):
        assert bytes(inbound.fields[key]) in rendered.body
    assert rendered.headers == (("anthropic-beta", ",".join(inbound.betas)),)
    assert len(inbound.betas) == 7
    assert (rendered.altered, rendered.warnings, rendered.sent_max_tokens) == (False, (), 128_000)


def test_claude_codes_request_reaches_others_without_what_only_its_maker_takes() -> None:
    """No billing line, no fields or keys that need a beta, instructions in the middle as notes (12.2, 12.12)."""
    body, meta = caller("claude_code_first_turn")
    out, rendered = passed(parse_request(json.dumps(body).encode(), meta["headers"]))
    assert [block["text"] for block in out["system"]] == ["You are Claude Code.", "Work in /srv/project."]
    assert out["system"][0]["cache_control"] == MARK
    assert "context_management" not in out
    assert out["thinking"] == {"type": "adaptive"}
    assert "defer_loading" not in out["tools"][3]
    assert out["messages"][0]["content"][-1]["text"].startswith(SYSTEM_NOTE)
    assert out["max_tokens"] == KIMI.model.max_output or out["max_tokens"] == 128_000
    assert rendered.headers == (("anthropic-version", "2023-06-01"),)
    assert {"dropped:context_management", "approx:messages.system"} <= warned(rendered)
    assert rendered.altered


def test_odd_bytes_of_the_caller_survive() -> None:
    """Spaces, escapes, number forms and keys that nobody knows go out as they came."""
    messages = rb'[ {"role" : "user","content":[{"type":"text","text":"caf\u00e9","z":1e2}], "id":"\/m"} ]'
    inbound = parse_request(rb'{"newest":{"a" : 1.0},"max_tokens":10,"messages":' + messages + b"}", {})
    rendered = pass_on(inbound, facts(), STREAM, NO_RECALL)
    assert messages in rendered.body
    assert b'{"a" : 1.0}' in rendered.body


# --- the cap and thinking ---------------------------------------------------------------------------


def test_a_result_that_failed_in_pictures_is_put_in_the_order_that_is_taken() -> None:
    """Images and documents of an error stand behind the results (12.4): the turn would be refused for good."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    paper = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    turn = asked(result("a", [text("no"), picture, paper], is_error=True), result("b", [picture]), text("go"))
    out, rendered = passed(history(USER, said(call("a"), call("b")), turn), HAIKU_5)
    assert out["messages"][-1]["content"] == [
        result("a", "no", is_error=True), result("b", [picture]), picture, paper, text("go"),
    ]  # fmt: skip
    assert warned(rendered) == {"approx:tool_result.images"}


def test_more_marks_than_are_taken_lose_the_earliest() -> None:
    """Some callers mark every block (clients.md 5); five are a 400 for good. Four, and elsewhere any, stay."""
    marked = {"cache_control": MARK}
    tools, system = [TOOL | marked, {**TOOL, "name": "g", **marked}], [text("s", **marked), text("t", **marked)]
    turns = [asked(text("1", **marked)), said(call("a") | marked), asked(result("a", [text("r", **marked)], **marked))]
    inbound = history(*turns, tools=tools, system=system)
    out, rendered = passed(inbound, HAIKU_5)
    assert warned(rendered) == {"approx:cache_control"}
    assert not rendered.altered
    assert out["tools"] == [TOOL, tools[1]]
    assert out["system"] == [text("s"), system[1]]
    assert out["messages"] == [asked(text("1")), said(call("a")), asked(result("a", [text("r", **marked)], **marked))]
    assert passed(inbound, KIMI)[0]["messages"] == turns
    odd = {"type": "new_block", "content": [1, "x", [], {"cache_control": 1}]}
    five = history(asked(*(text(str(number), **marked) for number in range(5)), odd), said(text("a"), odd), USER)
    out = passed(five, HAIKU_5)[0]
    assert out["messages"][0]["content"] == [text("0"), *(text(str(n), **marked) for n in range(1, 5)), odd]
    four = history(*turns[:2], asked(result("a")), tools=tools)
    out, rendered = passed(four, HAIKU_5)
    assert (out["tools"], out["messages"][:2], warned(rendered)) == (tools, turns[:2], set())
    out, rendered = passed(history(asked(text('"cache_control" ' * 9, **marked)), cache_control=MARK), HAIKU_5)
    assert (out["messages"][0]["content"][0]["cache_control"], warned(rendered)) == (MARK, set())


def test_the_cap_is_clamped_to_the_target_and_filled_in() -> None:
    """Clients send 65,536 and 128,000 (clients.md 7.4); the dialect demands one (12.8)."""
    out, rendered = passed(parse(max_tokens=128_000), facts(output_cap=8_000))
    assert (out["max_tokens"], warned(rendered), rendered.altered) == (8_000, {"approx:max_tokens"}, False)
    assert passed(parse(max_tokens=None), HAIKU_5)[0]["max_tokens"] == 32_000
    assert passed(parse(max_tokens=None), facts())[0]["max_tokens"] == 8_192


def test_a_budget_that_a_clamped_cap_cannot_hold_is_lowered() -> None:
    """Less than max_tokens, always (12.8)."""
    thinking = {"type": "enabled", "budget_tokens": 20_000}
    out, rendered = passed(parse(max_tokens=30_000, thinking=thinking), facts(output_cap=8_192))
    assert (out["max_tokens"], out["thinking"]["budget_tokens"]) == (8_192, 4_096)
    assert "approx:thinking.budget_tokens" in warned(rendered)
    same, rendered = passed(parse(max_tokens=30_000, thinking=thinking), facts())
    assert (same["max_tokens"], same["thinking"]) == (30_000, thinking)
    assert not rendered.altered


@pytest.mark.parametrize(
    ("where", "fields", "thinking", "config", "said_of_it"),
    [
        (HAIKU_4, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
         {"type": "enabled", "budget_tokens": 1_024}, None, set()),
        (HAIKU_4, {"thinking": {"type": "adaptive", "display": "omitted"}},
         {"type": "enabled", "budget_tokens": 8_192, "display": "omitted"}, None, {"approx:thinking.adaptive"}),
        (HAIKU_4, {"output_config": {"effort": "low", "x": 1}}, None, {"x": 1}, {"dropped:output_config.effort"}),
        (HAIKU_5, {"thinking": {"type": "enabled", "budget_tokens": 8_192}}, {"type": "adaptive"},
         {"effort": "medium"}, {"approx:thinking.budget_tokens"}),
        (HAIKU_5, {"thinking": {"type": "disabled"}}, {"type": "disabled"}, None, set()),
        (HAIKU_5, {"output_config": {"effort": "low"}}, None, {"effort": "low"}, set()),
        (SONNET_5, {"thinking": {"type": "disabled"}}, {"type": "adaptive"}, {"effort": "low"}, {"approx:thinking"}),
        (KIMI, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
         {"type": "adaptive"}, {"effort": "high"}, set()),
    ],
)  # fmt: skip
def test_thinking_in_the_way_that_the_target_takes(
    where: Any, fields: Any, thinking: Any, config: Any, said_of_it: set[str]
) -> None:
    """Budget for those that know no effort, effort for those that refuse budgets (3.15); unknown ones get it as it is."""
    out, rendered = passed(parse(max_tokens=20_000, **fields), where)
    assert (out.get("thinking"), out.get("output_config"), out["max_tokens"]) == (thinking, config, 20_000)
    assert warned(rendered) == said_of_it


def test_hidden_thoughts_get_room_unless_the_caller_has_counted_them() -> None:
    """The reserve of models that reason unasked within the cap."""
    reserve = Options(stream=True, reserve_tokens=4_000, reasoning=True)
    assert passed(parse(), facts(), reserve)[0]["max_tokens"] == 4_100
    assert passed(parse(), HAIKU_4, reserve)[0]["max_tokens"] == 100
    assert passed(parse(thinking={"type": "adaptive"}), facts(), reserve)[0]["max_tokens"] == 100


def test_models_that_refuse_sampling_get_none() -> None:
    """Temperature and top_p (3.15)."""
    out, rendered = passed(parse(temperature=0.4, top_p=1, top_k=3), HAIKU_5)
    assert (out.get("temperature"), out.get("top_p"), out["top_k"]) == (None, None, 3)
    assert warned(rendered) == {"dropped:temperature"}


# --- thoughts ---------------------------------------------------------------------------------------


def _history(*thoughts: dict[str, Any]) -> Inbound:
    return history(USER, said(*thoughts, text("ok"), call("a")), asked(result("a")))


def _kept(inbound: Inbound, where: Any = HAIKU_5, **more: Any) -> list[dict[str, Any]]:
    content = passed(inbound, where, **more)[0]["messages"][1]["content"]
    return [block for block in content if "thinking" in block["type"]]


def test_thoughts_that_cannot_be_the_targets_are_taken_out() -> None:
    """Marks of ours of another maker or dialect, those that somebody else is known to have made (12.9)."""
    name = HAIKU_5.target.name
    raw = {"type": "thinking", "thinking": "t", "signature": "S"}
    redacted = {"type": "redacted_thinking", "data": "R"}
    inbound = _history(raw, redacted)
    assert _kept(inbound) == [raw, redacted]
    assert bytes(inbound.fields["messages"]) in pass_on(inbound, HAIKU_5, STREAM, NO_RECALL).body
    assert _kept(inbound, recall=Remembers(foreign=frozenset({"S"}))) == [redacted]
    assert _kept(inbound, options=Options(stream=True, strip_thoughts=True)) == []
    mine = {**raw, "signature": wrap(Seal(OURS, "signature", "S"), origin=name)}
    assert _kept(_history(mine)) == [raw]
    others = {**raw, "signature": wrap(Seal(OURS, "signature", "S"), origin="kimi/k3")}
    assert _kept(_history(others, redacted)) == [redacted]
    strange = {**raw, "signature": wrap(Seal("openai_responses", "encrypted", "E"), origin=name)}
    assert _kept(_history(strange)) == []
    unsigned = {"type": "thinking", "thinking": "t"}
    assert _kept(_history(unsigned)) == []
    assert _kept(_history(unsigned), KIMI) == [unsigned]


# --- messages that cannot go as they are ------------------------------------------------------------

BROKEN = [
    [USER, said(call("a"))],
    [USER, said(call("a")), USER],
    [USER, asked(result("a"))],
    [USER, said(call("a")), asked(text("x"), result("a"))],
    [USER, said(call("a"), call("b")), asked(result("a")), asked(result("b"))],
    [USER, said(call("a")), asked(result("a")), said(call("a")), asked(result("a"))],
    [USER, said(call("functions.f:0")), asked(result("functions.f:0"))],
    [USER, said(call("a", "")), asked(result("a"))],
    [USER, said({"type": "tool_use", "id": "a", "name": "f"}), asked(result("a"))],
    [said(text("hello")), USER],
    [asked(text("")), said(text("a")), USER],
    [asked(text(" \n")), said(text("a")), USER],
    [{"role": "user", "content": ""}, said(text("a")), USER],
    [USER, said(), USER],
]


@pytest.mark.parametrize("messages", BROKEN, ids=[str(number) for number in range(len(BROKEN))])
def test_histories_that_are_refused_everywhere_are_repaired(messages: list[dict[str, Any]]) -> None:
    """The dialect's own callers have broken histories, too (contract.md, Errors)."""
    inbound = history(*messages)
    out, rendered = passed(inbound, HAIKU_5)
    assert bytes(inbound.fields["messages"]) not in rendered.body
    assert rendered.altered
    assert out["messages"][0]["role"] == "user"


def test_sound_histories_are_left_alone() -> None:
    """Two user turns in a row are merged by the API itself, and parallel results may come in any order."""
    inbound = history(USER, USER, said(call("a"), call("b")), asked(result("b"), result("a"), text("go")))
    assert bytes(inbound.fields["messages"]) in pass_on(inbound, HAIKU_5, STREAM, NO_RECALL).body


def test_instructions_in_the_middle() -> None:
    """They stay where the model takes them (3.15)."""
    inbound = history(USER, {"role": "system", "content": "mind"})
    assert passed(inbound, HAIKU_5)[0]["messages"][1]["role"] == "system"
    out, rendered = passed(inbound, HAIKU_4)
    assert [message["role"] for message in out["messages"]] == ["user"]
    assert "approx:messages.system" in warned(rendered)
    first = history({"role": "system", "content": "first"}, USER, system="zeroth")
    assert [block["text"] for block in passed(first, HAIKU_4)[0]["system"]] == ["zeroth", "first"]


def test_a_last_turn_of_the_assistant() -> None:
    """Passed on to whoever may take it, asked to go on where it is known to be refused (12.2)."""
    inbound = history(USER, said(text("Once")))
    assert passed(inbound, HAIKU_4)[0]["messages"][-1]["role"] == "assistant"
    assert passed(inbound, KIMI)[0]["messages"][-1]["role"] == "assistant"
    for where in (HAIKU_5, facts(capabilities={Capability.PREFILL: NO})):
        out, rendered = passed(inbound, where)
        assert out["messages"][-1]["role"] == "user"
        assert "approx:messages.last" in warned(rendered)


def test_blocks_of_the_makers_own_tools() -> None:
    """History of hosted tools goes back to the maker, and to others as text (12.3)."""
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": "T", "url": "https://x"}]}
    searched = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
    inbound = history(USER, said(searched, found, text("so")), USER)
    assert passed(inbound, HAIKU_5)[0]["messages"][1]["content"][:2] == [searched, found]
    out, rendered = passed(inbound)
    assert out["messages"][1]["content"] == [text("T\nhttps://x"), text("so")]
    assert {"dropped:messages.server_tool_use", "approx:messages.web_search_tool_result"} == warned(rendered)
    reference = asked(result("a", [{"type": "tool_reference", "tool_name": "g"}]))
    inbound = history(USER, said(call("a")), reference)
    assert passed(inbound, HAIKU_5)[0]["messages"][2] == reference
    assert passed(inbound)[0]["messages"][2]["content"][0]["content"] == "g"


# --- tools ------------------------------------------------------------------------------------------

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}


def test_tools_that_only_the_maker_runs() -> None:
    """Dropped and said elsewhere; refused only where the choice demands one (contract.md, Errors)."""
    inbound = parse(tools=[TOOL, SEARCH], tool_choice={"type": "auto"})
    assert bytes(inbound.fields["tools"]) in pass_on(inbound, HAIKU_5, STREAM, NO_RECALL).body
    out, rendered = passed(inbound)
    assert out["tools"] == [TOOL]
    assert warned(rendered) == {"dropped:tools.web_search_20250305"}
    out, _ = passed(parse(tools=[SEARCH], tool_choice={"type": "auto"}))
    assert not {"tools", "tool_choice"} & set(out)
    with pytest.raises(Inexpressible) as caught:
        passed(parse(tools=[TOOL, SEARCH], tool_choice={"type": "tool", "name": "web_search"}))
    assert caught.value.param == "tool_choice"


def test_keys_of_tools_that_need_a_beta() -> None:
    """Only for the maker; marks and the rest stay (12.12)."""
    tool = {**TOOL, "defer_loading": True, "eager_input_streaming": True, "cache_control": MARK}
    plain = facts()
    assert passed(parse(tools=[tool]), plain)[0]["tools"] == [{**TOOL, "cache_control": MARK}]
    assert passed(parse(tools=[tool]), HAIKU_5)[0]["tools"] == [tool]
    untouched = parse(tools=[{**TOOL, "cache_control": MARK, "new": 1}])
    assert bytes(untouched.fields["tools"]) in pass_on(untouched, plain, STREAM, NO_RECALL).body


def test_a_row_that_takes_no_choice() -> None:
    """`auto` only (Z.ai, Kimi)."""
    where = facts(Quirk.TOOL_CHOICE_AUTO_ONLY)
    out, rendered = passed(parse(tools=[TOOL], tool_choice={"type": "any"}), where)
    assert out["tool_choice"] == {"type": "auto"}
    assert warned(rendered) == {"approx:tool_choice"}


# --- top-level fields -------------------------------------------------------------------------------


def test_fields_that_only_the_maker_takes() -> None:
    """Dropped and said; what a row lists goes, and what it does not list stays away (12.8)."""
    body = {"mcp_servers": [], "container": "c", "service_tier": "auto", "newest": 1, "system": None}
    out, rendered = passed(parse(**body), facts())
    assert {"newest"} == set(out) - {"model", "max_tokens", "stream", "messages"}
    assert warned(rendered) == {"dropped:mcp_servers", "dropped:container"}
    out, rendered = passed(parse(**body), HAIKU_5)
    assert {"mcp_servers", "container", "service_tier", "newest"} <= set(out)
    assert not warned(rendered)


def test_a_list_of_fields_counts_only_in_the_words_of_this_dialect() -> None:
    """A row that speaks Chat first lists Chat's fields (kimi)."""
    both = {"openai_chat": "http://p", OURS: "http://p"}
    out, rendered = passed(parse(system="s", top_k=1), facts(endpoints=both, allow=frozenset({"model", "messages"})))
    assert (out["system"], out["top_k"], warned(rendered)) == ("s", 1, set())


def test_the_older_name_of_the_format() -> None:
    """`output_format` became a part of `output_config`."""
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    out, rendered = passed(parse(output_format=wanted, output_config={"x": 1}), HAIKU_5)
    assert (out["output_config"], "output_format" in out) == ({"format": wanted, "x": 1}, False)
    assert warned(rendered) == set()


def test_what_was_refused_before_is_left_out() -> None:
    """Also from within a field that goes out raw otherwise."""
    options = Options(stream=False, without=frozenset({"output_config.effort", "metadata", "messages"}))
    inbound = parse(output_config={"effort": "high", "x": 1}, metadata={"user_id": "u"})
    out, rendered = passed(inbound, facts(), options)
    assert (out["output_config"], out["stream"], "metadata" in out) == ({"x": 1}, False, False)
    assert warned(rendered) == {"dropped:metadata", "dropped:output_config.effort"}
    assert out["messages"] == [USER]


def test_the_same_request_can_be_rendered_for_one_target_after_another() -> None:
    """Nothing of the caller's is edited in place (design.md 2.4)."""
    body, meta = caller("claude_code_second_turn")
    inbound = parse_request(json.dumps(body).encode(), meta["headers"])
    before = {key: bytes(raw) for key, raw in inbound.fields.items()}
    for where in (KIMI, HAIKU_4, SONNET_5, facts()):
        first = pass_on(inbound, where, STREAM, NO_RECALL)
        assert pass_on(inbound, where, STREAM, NO_RECALL) == first
    assert {key: bytes(raw) for key, raw in inbound.fields.items()} == before
