"""What a Messages body asks for: the outline that routing needs, and every wrong value by its path."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import BadRequest
from hermes_router.wire.messages.content import read
from hermes_router.wire.messages.request import parse_count, parse_request

from ..messages_bodies import CALLERS, MARK, PNG, TOOL, USER, asked, call, caller, history, parse, result, said, text

# --- the outline ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLERS)
def test_the_outline_of_real_callers(name: str) -> None:
    """Tools, session and the last words of the user, of bodies as the clients send them (clients.md 2-6)."""
    body, meta = caller(name)
    inbound = parse_request(json.dumps(body).encode(), meta.get("headers", {}))
    request = inbound.request
    assert inbound.dialect == "anthropic_messages"
    assert (request.model, request.stream, request.max_output_tokens) == (
        body["model"], body["stream"], body["max_tokens"],
    )  # fmt: skip
    assert (request.tools, request.last_user, request.session) == (
        meta["tools"], meta["last_user"], meta.get("session"),
    )  # fmt: skip
    assert request.messages == len(body["messages"])
    assert request.include_usage


def test_the_outline_of_an_agents_turn() -> None:
    """Every other field that routing reads: effort, forced choice, counts, images in results, files, the schema."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    link = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    inbound = history(
        asked(text("first"), image),
        said(call("a"), call("b")),
        asked(result("a", [text("seen"), link]), result("b", is_error=True), pdf),
        tools=[TOOL],
        tool_choice={"type": "any"},
        output_config={"effort": "xhigh", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    )
    request = inbound.request
    assert (request.images, request.image_urls, request.files, request.audio) == (2, 1, True, False)
    assert (request.assistant_turns, request.tool_results, request.tools, request.tool_forced) == (1, 2, 1, True)
    assert (request.effort, request.json_format) == ("xhigh", "json_schema")
    assert request.last_user == "first"  # a result is no word of the user's


def test_payloads_and_signatures_are_not_counted_as_text() -> None:
    """Base64, whatever holds it, costs no tokens as text; what is said does."""
    plain = history(asked(text("x" * 1_000))).request.text_bytes
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG * 1_000}}
    thought = {"type": "thinking", "thinking": "", "signature": "S" * 50_000}
    full = history(asked(text("x" * 1_000), image), said(thought, text("y")), USER).request.text_bytes
    assert plain > 1_000
    assert full < 2_000
    assert parse(system="s" * 500).request.text_bytes > parse().request.text_bytes + 490


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "enabled", "budget_tokens": 1_024}, "low"),
        ({"type": "enabled", "budget_tokens": 8_192}, "medium"),
        ({"type": "enabled", "budget_tokens": 24_576}, "high"),
        ({"type": "enabled", "budget_tokens": 60_000}, "xhigh"),
        ({"type": "disabled"}, "none"),
        ({"type": "adaptive"}, None),
        ({"type": "between_tools"}, None),
        (None, None),
    ],
)
def test_a_budget_is_an_effort(thinking: Any, effort: str | None) -> None:
    """The scale of providers.md 12.8; what is left to the model is no effort."""
    assert parse(thinking=thinking).request.effort == effort


def test_text_documents_are_no_files() -> None:
    """A document that is text can be said to any model; a kept file is a file (12.3)."""
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}
    kept = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    assert not history(asked(plain)).request.files
    assert history(asked(kept)).request.files


def test_the_conversation_is_the_same_whatever_changes_with_each_request() -> None:
    """Neither the billing line of Claude Code nor a cache mark that wanders makes another conversation (12.2)."""
    first, second = (caller(f"claude_code_{turn}_turn")[0] for turn in ("first", "second"))
    second["messages"][0]["content"][1]["cache_control"] = MARK
    digests = {parse_request(json.dumps(body).encode(), {}).request.conversation for body in (first, second)}
    assert len(digests) == 1
    second["messages"][0]["content"][1]["text"] = "something else"
    assert parse_request(json.dumps(second).encode(), {}).request.conversation not in digests


@pytest.mark.parametrize(
    ("user", "session"),
    [
        ('{"device_id": "d", "session_id": "s1"}', "s1"),
        ("user_ab_account__session_s2", "s2"),
        ("plain", "plain"),
        ('{"device_id": "d"}', None),
        ("{broken", "{broken"),
        (None, None),
    ],
)
def test_the_session_in_the_metadata(user: Any, session: str | None) -> None:
    """A JSON string with a session, the older form with one behind a word, or a plain id (clients.md 4, 7.18)."""
    assert parse(metadata={"user_id": user}).request.session == session


def test_a_header_names_the_session_before_the_metadata_does() -> None:
    """`X-Claude-Code-Session-Id` and `x-session-affinity` are said for this very purpose."""
    said_too = {"user_id": "u"}
    assert parse({"x-claude-code-session-id": "c"}, metadata=said_too).request.session == "c"
    assert parse({"x-session-affinity": "a", "x-session-id": "b"}).request.session == "a"


def test_betas_are_kept_in_their_order() -> None:
    """The comma list of `anthropic-beta`, blanks and empty ones left out; unknown ones are as good as others."""
    assert parse({"anthropic-beta": "a-2025, b-2026,,zz "}).betas == ("a-2025", "b-2026", "zz")


def test_what_nobody_knows_is_accepted() -> None:
    """Fields, keys of messages, block types and tool types that are newer than this program (clients.md 4)."""
    inbound = history(
        {"role": "user", "content": [{"type": "holograph", "x": 1}, text("hi", y=2)], "id": "m1"},
        {"role": "system", "content": [text("note")]},
        context_management={"edits": []},
        tools=[{"type": "web_search_20990101", "name": "web_search"}, {**TOOL, "defer_loading": True}],
        newest={"a": 1},
    )
    assert inbound.request.tools == 2
    assert bytes(inbound.fields["newest"]) == b'{"a": 1}'


def test_max_tokens_may_be_missing_and_is_not_needed_to_count() -> None:
    """The mistake costs nothing: a cap is found for each target."""
    body = json.dumps({"model": "m", "messages": [USER]}).encode()
    assert parse_request(body, {}).request.max_output_tokens is None
    assert parse_count(body, {}).request == parse_request(body, {}).request


# --- what is wrong ----------------------------------------------------------------------------------

IMAGE: dict[str, Any] = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
WRONG = [
    ({"messages": None}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": [1]}, "messages[0]"),
    ({"messages": [USER, {"role": "robot", "content": "x"}]}, "messages[1].role"),
    ({"messages": [{"role": 1, "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [asked(text("a")), {"role": "user", "content": [text("b"), 7]}]}, "messages[1].content[1]"),
    ({"messages": [asked({"text": "a"})]}, "messages[0].content[0].type"),
    ({"messages": [asked({"type": 3})]}, "messages[0].content[0].type"),
    ({"messages": [asked({"type": "text"})]}, "messages[0].content[0].text"),
    ({"messages": [asked({"type": "text", "text": None})]}, "messages[0].content[0].text"),
    ({"messages": [asked({"type": "image"})]}, "messages[0].content[0].source"),
    ({"messages": [asked({"type": "image", "source": "x"})]}, "messages[0].content[0].source"),
    ({"messages": [asked({"type": "image", "source": {"type": "text", "data": "x"}})]},
     "messages[0].content[0].source.type"),
    ({"messages": [asked({**IMAGE, "source": {**IMAGE["source"], "data": 1}})]}, "messages[0].content[0].source.data"),
    ({"messages": [asked({"type": "document", "source": {"type": "content", "content": [3]}})]},
     "messages[0].content[0].source.content[0]"),
    ({"messages": [asked(call("a"))]}, "messages[0].content[0]"),
    ({"messages": [USER, said(result("a"))]}, "messages[1].content[0]"),
    ({"messages": [USER, said({**call("a"), "input": "{}"})]}, "messages[1].content[0].input"),
    ({"messages": [USER, said({**call("a"), "id": 4})]}, "messages[1].content[0].id"),
    ({"messages": [USER, said({**call("a"), "name": []})]}, "messages[1].content[0].name"),
    ({"messages": [USER, said({"type": "thinking", "thinking": 1})]}, "messages[1].content[0].thinking"),
    ({"messages": [USER, said({"type": "redacted_thinking"})]}, "messages[1].content[0].data"),
    ({"messages": [asked(result(3))]}, "messages[0].content[0].tool_use_id"),  # type: ignore[arg-type]
    ({"messages": [asked(result("a", 3))]}, "messages[0].content[0].content"),
    ({"messages": [asked(result("a", [text("x"), {"type": "image"}]))]}, "messages[0].content[0].content[1].source"),
    ({"messages": [asked(result("a", is_error="no"))]}, "messages[0].content[0].is_error"),
    ({"system": 5}, "system"),
    ({"system": [{"type": "image"}]}, "system[0].type"),
    ({"system": [{"type": "text", "text": 1}]}, "system[0].text"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"stream": "yes"}, "stream"),
    ({"model": 1}, "model"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": True}, "top_p"),
    ({"stop_sequences": "x"}, "stop_sequences"),
    ({"stop_sequences": ["a", 1]}, "stop_sequences[1]"),
    ({"tools": {}}, "tools"),
    ({"tools": [TOOL, 1]}, "tools[1]"),
    ({"tools": [{"description": "nameless"}]}, "tools[0].name"),
    ({"tools": [{**TOOL, "input_schema": "x"}]}, "tools[0].input_schema"),
    ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
    ({"tools": [TOOL, {"type": "custom", "name": "f", "input_schema": None}]}, "tools[1].input_schema"),
    ({"tools": [{**TOOL, "type": 1}]}, "tools[0].type"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tool_choice": {"type": "required"}}, "tool_choice.type"),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}}, "tool_choice.disable_parallel_tool_use"),
    ({"thinking": "on"}, "thinking"),
    ({"thinking": {"budget_tokens": 5}}, "thinking.type"),
    ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ({"output_config": []}, "output_config"),
    ({"output_config": {"effort": 3}}, "output_config.effort"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
    ({"metadata": {"user_id": 3}}, "metadata.user_id"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path"), WRONG, ids=[path for _, path in WRONG])
def test_a_wrong_value_is_named_by_its_path(fields: dict[str, Any], path: str) -> None:
    """At every depth that somebody reads, the caller is told where."""
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    assert caught.value.param == path
    assert re.split(r"[.\[]", path, maxsplit=1)[0] in caught.value.message


@pytest.mark.parametrize("body", [b"", b"  ", b"[]", b"nul", b'{"messages": [', b"\xff{}", b'"x"'])
def test_a_body_that_is_none_is_the_callers_fault(body: bytes) -> None:
    """Empty, cut, not UTF-8, not an object."""
    with pytest.raises(BadRequest):
        parse_request(body, {})


@pytest.mark.parametrize("place", ["messages", "system", "tools", "newest", "results"])
def test_nothing_is_too_deep_to_be_told(place: str) -> None:
    """Deep nesting is refused with a name, never a crash (issue 5, bad input)."""
    deep = "[" * 100_000 + "]" * 100_000
    within = '{"type":"search_result","content":[' * 20_000 + "]}" * 20_000
    one = '"messages":[{"role":"user","content":"x"}]'
    body = {
        "messages": '{"messages":DEEP}',
        "system": "{ONE," + '"system":DEEP}',
        "tools": "{ONE," + '"tools":[{"name":"f","input_schema":{"a":DEEP}}]}',
        "newest": "{ONE," + '"newest":DEEP}',
        "results": '{"messages":[{"role":"user","content":[WITHIN]}]}',
    }[place]
    body = body.replace("DEEP", deep).replace("WITHIN", within).replace("ONE", one)
    with pytest.raises(BadRequest):
        read(parse_request(body.encode(), {}))


def test_results_within_results_end_somewhere() -> None:
    """A nesting that JSON still allows, and that our own recursion would not survive, is refused, too."""
    nested: dict[str, Any] = text("x")
    for _ in range(240):
        nested = {"type": "search_result", "title": "t", "content": [nested]}
    with suppress(BadRequest):
        read(history(asked(nested)))


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.just([]), st.just({}), st.just([{}])
)


def _paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    return [at, *(path for key in keys for path in _paths(node[key], (*at, key)))]


@given(st.sampled_from(CALLERS), st.data())
def test_garbage_at_any_place_is_a_bad_request_or_nothing(name: str, data: st.DataObject) -> None:
    """Any value of a real body replaced by any other: it parses and is read, or a BadRequest says why."""
    body, meta = caller(name)
    path = data.draw(st.sampled_from(_paths(body)[1:]))
    node = body
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = data.draw(_LEAVES)
    with suppress(BadRequest):
        read(parse_request(json.dumps(body).encode(), meta.get("headers", {})))


@given(st.binary(max_size=200))
def test_bytes_that_are_anything_are_a_bad_request(body: bytes) -> None:
    """Whatever arrives, it parses or is a BadRequest."""
    with suppress(BadRequest):
        parse_request(body, {})
