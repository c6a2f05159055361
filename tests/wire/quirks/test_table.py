"""The table of quirks is whole, and every member changes a request that has its oddity and leaves any other alone."""

import json

import msgspec
import pytest

from hermes_router.core.catalog import ModelSpec, ProviderSpec, Quirk, TargetFacts
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.wire.chat.outgoing import NO_RECALL, Options, render
from hermes_router.wire.quirks.calls import BRIDGE, CONTINUE
from hermes_router.wire.quirks.replay import NO_REASONING, SKIP_SIGNATURE
from hermes_router.wire.quirks.table import ELSEWHERE, QUIRKS

USER = {"role": "user", "content": "hi"}
ARGS = '{"a":1}'


def call(id_="abcDEF123", **more):
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": ARGS}, **more}


def calls(*ids, content="", **more):
    return {"role": "assistant", "content": content, "tool_calls": [call(each) for each in ids], **more}


def result(id_="abcDEF123", **more):
    return {"role": "tool", "tool_call_id": id_, "content": "1", **more}


def tool(parameters=None, name="f", **more):
    return {
        "type": "function",
        "function": {
            "name": name,
            "parameters": parameters or {"type": "object", "properties": {"a": {"type": "string"}}},
            **more,
        },
    }


class Knows:
    """A memory that knows every call."""

    holds = True

    def signature(self, *_):
        return "sig"

    def reasoning(self, *_):
        return "thought"

    def details(self, *_):
        return msgspec.Raw(b'[{"type":"reasoning.encrypted","data":"x"}]')


def rendered(quirk, body, recall=NO_RECALL, session=""):
    quirks = quirk if isinstance(quirk, frozenset) else frozenset({quirk} if quirk else ())
    model = ModelSpec(ModelId("m"))
    provider = ProviderSpec(ProviderName("p"), "P", {"openai_chat": "http://p"}, "bearer", (model,))
    credential = Credential(CredentialId("abcd"), provider.name, AccountId("a"), "api_key", "r", "tail", "env")
    facts = TargetFacts(
        Target(provider.name, model.id, credential.id), provider, model, credential, "http://p",
        quirks=quirks,
    )  # fmt: skip
    fields = msgspec.json.decode(json.dumps({"messages": [USER], **body}).encode(), type=dict[str, msgspec.Raw])
    return render(fields, facts, Options(stream=True, session=session), recall)


SYSTEM, DEVELOPER = {"role": "system", "content": "a"}, {"role": "developer", "content": "b"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "additionalProperties": False}}, "$schema": "x"}
ANSWER = {"role": "assistant", "content": "x"}
MARK = {"cache_control": {"type": "ephemeral"}}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}

# quirk, before, after (the keys that count), with what is remembered
PAIRS = [
    (Quirk.MERGE_SYSTEM, {"messages": [SYSTEM, SYSTEM, USER]}, {"messages": [{"role": "system", "content": "a\n\na"}, USER]}),
    (Quirk.SYSTEM_TO_USER, {"messages": [SYSTEM, USER]}, {"messages": [{"role": "user", "content": "a\n\nhi"}]}),
    (Quirk.DEVELOPER_TO_SYSTEM, {"messages": [DEVELOPER, USER]}, {"messages": [{"role": "system", "content": "b"}, USER]}),
    (Quirk.FLATTEN_TEXT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]}]}, {"messages": [{"role": "user", "content": "x\n\ny"}]}),
    (Quirk.CONTENT_NEVER_NULL, {"messages": [USER, calls("abcDEF123", content=None), result()]}, {"messages": [USER, calls("abcDEF123"), result()]}),
    (Quirk.DROP_MESSAGE_NAMES, {"messages": [USER | {"name": "me"}]}, {"messages": [USER]}),
    (Quirk.STRICT_MESSAGE_KEYS, {"messages": [USER, {"role": "assistant", "content": "x", "refusal": None, "reasoning_content": "r"}]}, {"messages": [USER, {"role": "assistant", "content": "x"}]}),
    (Quirk.USER_AFTER_TOOL_BRIDGE, {"messages": [USER, calls("abcDEF123"), result(), USER]}, {"messages": [USER, calls("abcDEF123"), result(), {"role": "assistant", "content": BRIDGE}, USER]}),
    (Quirk.LAST_NOT_ASSISTANT, {"messages": [USER, {"role": "assistant", "content": "x"}]}, {"messages": [USER, {"role": "assistant", "content": "x"}, {"role": "user", "content": CONTINUE}]}),
    (Quirk.PREFILL_PREFIX, {"messages": [USER, {"role": "assistant", "content": "x"}]}, {"messages": [USER, {"role": "assistant", "content": "x", "prefix": True}]}),
    (Quirk.PREFILL_PARTIAL, {"messages": [USER, {"role": "assistant", "content": "x"}]}, {"messages": [USER, {"role": "assistant", "content": "x", "partial": True}]}),
    (Quirk.SINGLE_CALLS, {"messages": [USER, calls("a", "b"), result("a"), result("b")], "tools": [tool()]}, {"messages": [USER, calls("a"), result("a"), calls("b"), result("b")], "parallel_tool_calls": False}),
    (Quirk.CLEAN_SCHEMA_GEMINI, {"tools": [tool({"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "$schema": "x"})]}, {"tools": [tool({"type": "object", "properties": {"a": {"type": "string", "nullable": True}}})]}),
    (Quirk.CLEAN_SCHEMA_BASIC, {"tools": [tool(SCHEMA)]}, {"tools": [tool({"type": "object", "properties": {"a": {"type": "string"}}})]}),
    (Quirk.CLEAN_SCHEMA_KIMI, {"tools": [tool({"type": "object", "properties": {"a": {"enum": ["x"]}}})]}, {"tools": [tool({"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}})]}),
    (Quirk.DROP_STRICT, {"tools": [tool(strict=True)]}, {"tools": [tool()]}),
    (Quirk.UNIFORM_STRICT, {"tools": [tool(strict=True), tool(name="g")]}, {"tools": [tool(), tool(name="g")]}),
    (Quirk.TOOL_CHOICE_AUTO_ONLY, {"tools": [tool()], "tool_choice": "required"}, {"tools": [tool()], "tool_choice": "auto"}),
    (Quirk.ALLOWED_AS_TOOLS, {"tools": [tool(), tool(name="g")], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool(name="g")]}}}, {"tools": [tool(name="g")], "tool_choice": "auto"}),
    (Quirk.TOOL_CHOICE_ANY, {"tools": [tool()], "tool_choice": "required"}, {"tool_choice": "any"}),
    (Quirk.ONE_STOP, {"stop": ["a", "b"]}, {"stop": ["a"]}),
    (Quirk.FIXED_SAMPLING, {"temperature": 0.3, "top_p": 0.5}, {"temperature": None, "top_p": None}),
    (Quirk.NO_ZERO_TEMPERATURE, {"temperature": 0}, {"temperature": 0.01}),
    (Quirk.EFFORT_NONE_HIGH, {"reasoning_effort": "medium"}, {"reasoning_effort": "high"}),
    (Quirk.EFFORT_LOW_HIGH_MAX, {"reasoning_effort": "xhigh"}, {"reasoning_effort": "max"}),
    (Quirk.EFFORT_LOW_MEDIUM_HIGH, {"reasoning_effort": "none"}, {"reasoning_effort": "low"}),
    (Quirk.EFFORT_NONE_DEFAULT, {"reasoning_effort": "low"}, {"reasoning_effort": "default"}),
    (Quirk.CACHE_MARKS, {"messages": [USER, ANSWER, USER]}, {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", **MARK}]}, ANSWER, {"role": "user", "content": [{"type": "text", "text": "hi", **MARK}]}]}),
    (Quirk.MODEST_OUTPUT, {}, {"max_completion_tokens": 4_096}),
    (Quirk.REPLAY_DETAILS, {"messages": [USER, calls("abcDEF123"), result()]}, {"messages": [USER, calls("abcDEF123", reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}]), result()]}),
    (Quirk.REPLAY_REASONING, {"messages": [USER, calls("abcDEF123"), result()]}, {"messages": [USER, calls("abcDEF123", reasoning_content="thought"), result()]}),
    (Quirk.REPLAY_REASONING_IF_KNOWN, {"messages": [USER, calls("abcDEF123"), result()]}, {"messages": [USER, calls("abcDEF123", reasoning_content="thought"), result()]}),
]  # fmt: skip
# Members whose after is not a plain value; proved in the tests below and in the modules' own test files.
BY_HAND = {Quirk.REPLAY_SIGNATURE, Quirk.CALL_IDS_9, Quirk.JSON_OBJECT_ONLY, Quirk.SESSION_ID}
ALWAYS = {Quirk.MODEST_OUTPUT, Quirk.CACHE_MARKS}  # they have something to do in any conversation


def test_every_member_has_its_place():
    """Each quirk is a function of the request, or belongs to the transport or the answer; none is forgotten."""
    assert set(QUIRKS) | ELSEWHERE == set(Quirk)
    assert not set(QUIRKS) & ELSEWHERE
    assert {pair[0] for pair in PAIRS} | BY_HAND == set(QUIRKS)


@pytest.mark.parametrize(("quirk", "before", "after"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_before_and_after(quirk, before, after):
    """With the quirk the request is what its provider takes; without it, what the caller sent."""
    out = json.loads(rendered(quirk, before, Knows()).body)
    assert {key: out.get(key) for key in after} == after
    same = json.loads(rendered(None, before, Knows()).body)
    assert {key: same.get(key) for key in before} == before


@pytest.mark.parametrize("quirk", [quirk for quirk in QUIRKS if quirk not in ALWAYS])
def test_a_plain_request_is_no_ones_business(quirk):
    """A body with none of the triggers goes out as the caller's own bytes, whatever the row."""
    messages = [USER, {"role": "assistant", "content": "x"}, {"role": "user", "content": 'say "tool_calls", "name": 1'}]
    body = {"messages": messages, "temperature": 1, "top_p": 1}
    out = rendered(quirk, body)
    assert json.dumps(messages).encode() in out.body
    assert not out.altered
    assert out.warnings == ()


def test_bf6_a_call_without_a_known_signature_gets_the_skip_marker():
    """Only the first call of a step carries a signature: the remembered one, else Google's documented marker (BF-6)."""
    body = {"messages": [USER, calls("a", "b"), result("a"), result("b")]}
    for recall, signature in ((Knows(), "sig"), (NO_RECALL, SKIP_SIGNATURE)):
        first, second = json.loads(rendered(Quirk.REPLAY_SIGNATURE, body, recall).body)["messages"][1]["tool_calls"]
        assert first["extra_content"] == {"google": {"thought_signature": signature}}
        assert "extra_content" not in second


def test_kimi_gets_a_note_where_the_reasoning_is_unknown():
    """A miss is said in brackets: no reasoning is invented (providers.md 3.13)."""
    body = {"messages": [USER, calls("a"), result("a")]}
    assert json.loads(rendered(Quirk.REPLAY_REASONING, body).body)["messages"][1]["reasoning_content"] == NO_REASONING


def test_json_schema_goes_into_the_prompt_where_it_is_not_taken():
    """Z.ai knows json_object only (3.9): the schema becomes an instruction, and the caller is told."""
    out = rendered(Quirk.JSON_OBJECT_ONLY, {"response_format": JSON_SCHEMA, "messages": [SYSTEM, USER]})
    body = json.loads(out.body)
    assert body["response_format"] == {"type": "json_object"}
    assert '{"type":"object"}' in body["messages"][0]["content"]
    assert [str(notice) for notice in out.warnings] == ["approx:response_format"]


MARKS = frozenset({Quirk.PREFILL_PREFIX, Quirk.LAST_NOT_ASSISTANT, Quirk.STRICT_MESSAGE_KEYS})


@pytest.mark.parametrize("said", [{}, {"prefix": True}, {"prefix": False}, {"prefix": None}])
def test_a_prefill_leaves_marked_through_all_rules_of_a_strict_row(said):
    """Mistral takes a last assistant turn only with its mark (providers.md 3.7), whether or not the caller set it."""
    last = {"role": "assistant", "content": "x", **said}
    out = rendered(MARKS, {"messages": [USER, last]})
    assert json.loads(out.body)["messages"] == [USER, {"role": "assistant", "content": "x", "prefix": True}]
    assert out.warnings == ()


def test_a_prefill_is_none_where_a_call_is_forced():
    """A forced call is the provider's own prefill, and it refuses ours: the turn is asked to go on, and that is said."""
    for choice in ("required", {"type": "function", "function": {"name": "f"}}):
        last = {"role": "assistant", "content": "x", "prefix": True}
        out = rendered(
            MARKS | {Quirk.TOOL_CHOICE_ANY}, {"messages": [USER, last], "tools": [tool()], "tool_choice": choice}
        )
        assert json.loads(out.body)["messages"][1:] == [
            {"role": "assistant", "content": "x"},
            {"role": "user", "content": CONTINUE},
        ]
        assert [str(notice) for notice in out.warnings] == ["approx:messages.last"]


def test_the_mark_of_a_prefill_is_for_its_row_alone():
    """Other strict rows drop it like any key that they do not know, and say so."""
    out = rendered(
        Quirk.STRICT_MESSAGE_KEYS, {"messages": [USER, {"role": "assistant", "content": "x", "prefix": True}]}
    )
    assert json.loads(out.body)["messages"][1] == {"role": "assistant", "content": "x"}
    assert [str(notice) for notice in out.warnings] == ["dropped:messages.prefix"]


@pytest.mark.parametrize("own", [{"session_id": "mine"}, {"prompt_cache_key": "mine"}])
def test_or1_a_conversation_has_a_word_of_its_own_where_the_caller_has_none(own):
    """A broker keeps what has one `session_id` with one host, whose cache it finds; the caller's word wins (OR-1)."""
    out = json.loads(rendered(Quirk.SESSION_ID, {}, session="ours").body)
    assert out["session_id"] == "ours"
    out = json.loads(rendered(Quirk.SESSION_ID, own, session="ours").body)
    assert {key: out.get(key) for key in ("session_id", "prompt_cache_key")} == {
        "session_id": None, "prompt_cache_key": None, **own,
    }  # fmt: skip
    assert "session_id" not in json.loads(rendered(Quirk.SESSION_ID, {}).body)
    assert "session_id" not in json.loads(rendered(None, {}, session="ours").body)


def test_images_survive_every_quirk():
    """No quirk touches an image part."""
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, IMAGE]}]}
    for quirk in QUIRKS:
        assert json.loads(rendered(quirk, body).body)["messages"] == body["messages"]
