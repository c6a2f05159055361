"""Tools and the choice among them, as rows take them."""

import json

import pytest
from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.quirks import tools as quirks_tools
from hermes_router.wire.quirks.draft import Draft
from hermes_router.wire.quirks.tools import ToolPress, chosen_tools


def tool(name="f", **function):
    return {"type": "function", "function": {"name": name, **function}}


def pressed(*tools, steps=(), strict=True):
    return ToolPress(tuple(steps), strict_row=strict).press(Raw(json.dumps(tools).encode()))


def tools_of(outcome):
    return json.loads(bytes(outcome.raw))


def said(outcome):
    return {str(note) for note in outcome.notes}


WEB = {"type": "web_search", "web_search": {}}
CUSTOM = {"type": "custom", "custom": {"name": "patch"}}


def test_9r8_hosted_and_custom_tools_are_dropped_for_strict_rows_only():
    """A provider that knows functions only gets functions only; one that takes more gets them all (9R-8)."""
    outcome = pressed(tool(), WEB, CUSTOM)
    assert tools_of(outcome) == [tool()]
    assert said(outcome) == {"dropped:tools.web_search", "dropped:tools.custom"}
    assert tools_of(pressed(tool(), WEB, CUSTOM, strict=False)) == [tool(), WEB, CUSTOM]


def test_9r8_nameless_tools_and_null_descriptions_suit_nobody():
    """An empty name is dropped and said, a null description silently left out (9R-8)."""
    outcome = pressed(tool(""), tool("g", description=None), strict=False)
    assert tools_of(outcome) == [tool("g")]
    assert said(outcome) == {"dropped:tools[0]"}


def test_strict_rows_get_the_four_keys_that_all_know():
    """Cache marks and deferral of other dialects go from tools too (clients.md 7.4)."""
    sent = tool("f", description="d", parameters={}, strict=True) | {"cache_control": {}}
    sent["function"]["eager_input_streaming"] = True
    assert tools_of(pressed(sent)) == [tool("f", description="d", parameters={}, strict=True)]


def test_no_tool_left_is_no_tools():
    """All dropped: the key goes, since an empty list is a 422 at Mistral."""
    assert pressed(WEB).raw is None


def test_unchanged_tools_go_out_as_they_came():
    """Nothing to do: the caller's own bytes."""
    raw = Raw(b'[ {"function":{"name":"f"},"type":"function"} ]')
    assert ToolPress((), strict_row=True).press(raw).raw is raw


def test_strict_false_is_dropped_without_a_word():
    """Only a strictness that was asked for is a loss."""
    assert said(pressed(tool(strict=False), steps=[quirks_tools.drop_strict])) == set()
    assert said(pressed(tool(strict=True), steps=[quirks_tools.drop_strict])) == {"dropped:tools.strict"}


def test_uniform_strict_leaves_agreement_alone():
    """All strict, or none: as sent (3.5)."""
    both = [tool(strict=True), tool("g", strict=True)]
    assert tools_of(pressed(*both, steps=[quirks_tools.uniform_strict])) == both
    mixed = pressed(tool(strict=True), tool("g", strict=False), steps=[quirks_tools.uniform_strict])
    assert tools_of(mixed) == [tool(), tool("g")]


def test_parameters_without_properties_are_omitted_for_gemini():
    """A tool without arguments has no `parameters` there."""
    empty = tool(parameters={"type": "object", "properties": {}})
    assert tools_of(pressed(empty, steps=[quirks_tools.clean_schema_gemini])) == [tool()]
    assert tools_of(pressed(tool(), steps=[quirks_tools.clean_schema_gemini])) == [tool()]


@pytest.mark.parametrize("raw", [b"{}", b"[1]", b'[{"function":1}]', b'["\xff"]'])
def test_tools_of_a_wrong_type_are_a_bad_request(raw):
    """Wrong types are 400 and name the field."""
    with pytest.raises(BadRequest) as caught:
        ToolPress((), strict_row=True).press(Raw(raw))
    assert caught.value.param.startswith("tools")


def choose(choice, *tools, strict=True):
    draft = Draft({"tool_choice": choice}, NO_RECALL, frozenset())
    raw = chosen_tools(draft, pressed(*tools, strict=strict), only_allowed=strict)
    return draft, json.loads(bytes(raw))


def test_demanding_a_tool_that_cannot_be_offered_is_a_bad_request():
    """Hosted tools are dropped, unless the choice insists on one (contract.md)."""
    with pytest.raises(BadRequest) as caught:
        choose({"type": "web_search"}, tool(), WEB)
    assert caught.value.param == "tool_choice"
    choose({"type": "function", "function": {"name": "f"}}, tool(), WEB)


def test_a_subset_is_said_by_sending_only_these():
    """`allowed_tools` is known to one provider (12.5)."""
    allowed = {"mode": "required", "tools": [tool("g")]}
    draft, out = choose({"type": "allowed_tools", "allowed_tools": allowed}, tool(), tool("g"))
    assert out == [tool("g")]
    assert draft.params["tool_choice"] == "required"
    draft, out = choose({"type": "allowed_tools", "allowed_tools": allowed}, tool(), tool("g"), strict=False)
    assert len(out) == 2
    draft, out = choose({"type": "allowed_tools"}, tool())
    assert (draft.params["tool_choice"], len(out)) == ("auto", 1)


def test_none_is_honoured_by_sending_no_tools():
    """Where only auto is taken, the one way to forbid calls is to offer none."""
    draft = Draft({"tool_choice": "none", "tools": Raw(b"[]")}, NO_RECALL, frozenset(), has_tools=True)
    quirks_tools.tool_choice_auto_only(draft)
    assert draft.params == {}
    assert not draft.has_tools


def test_legacy_functions_do_not_override_tools():
    """Both given: the newer form counts."""
    draft = Draft(
        {"functions": Raw(b'[{"name":"f"}]'), "tools": Raw(b"[]"), "function_call": Raw(b'"auto"')},
        NO_RECALL,
        frozenset(),
    )
    quirks_tools.legacy_tools(draft)
    assert bytes(draft.params["tools"]) == b"[]"
    assert draft.params["tool_choice"] == "auto"
    with pytest.raises(BadRequest):
        quirks_tools.legacy_tools(Draft({"functions": Raw(b"{}")}, NO_RECALL, frozenset()))
