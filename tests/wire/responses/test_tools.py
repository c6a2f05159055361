"""The tools of a Responses request: one flat list of unique names, and the way back."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import BadRequest
from hermes_router.wire.responses.tools import CallShape, Restore, flatten, restorer, toolset

from ..responses_bodies import CALLERS, parse


def function(name, **more):
    return {"type": "function", "name": name, "parameters": {"type": "object"}, **more}


def group(name, *tools, description="d"):
    return {"type": "namespace", "name": name, "description": description, "tools": list(tools)}


def flat(*tools):
    return flatten([("tools", list(tools))])


def test_tools_of_a_namespace_get_names_of_their_own_and_find_back() -> None:
    """Codex with an unknown model name: the group's tools are called by flat names, and come back with it."""
    inbound = parse(CALLERS["codex_unknown_model"])
    tools = toolset(inbound.fields)
    assert "multi_agent_v1__spawn_agent" in [tool.flat for tool in tools.declared]
    assert [tool["type"] for tool in tools.hosted] == ["web_search"]
    back = restorer(inbound)
    assert back.call("multi_agent_v1__spawn_agent") == CallShape("spawn_agent", "multi_agent_v1")
    assert back.call("exec_command") == CallShape("exec_command")


def test_tools_within_the_input_are_tools() -> None:
    """Codex lite: no `tools` at all; the plain namespace keeps its names, and two tools of one name stay apart."""
    inbound = parse(CALLERS["codex_lite"])
    assert [tool.flat for tool in toolset(inbound.fields).declared] == [
        "exec", "wait", "clock__now", "collaboration__spawn_agent", "collaboration__wait",
    ]  # fmt: skip
    back = restorer(inbound)
    assert back.call("exec") == CallShape("exec", "functions", custom=True)
    assert back.call("wait") == CallShape("wait", "functions")
    assert back.call("collaboration__wait") == CallShape("wait", "collaboration")


def test_a_model_may_spell_a_namespaced_tool_its_own_way() -> None:
    """With a dot, or by its name alone where no other tool is meant; an unknown name stays as it is."""
    back = Restore(flat(function("wait"), group("agents", function("wait"), function("spawn"))))
    assert back.call("agents.spawn") == back.call("spawn") == CallShape("spawn", "agents")
    assert back.call("wait") == CallShape("wait")
    assert back.call("no such") == CallShape("no such")


def test_what_needs_no_new_name_keeps_its_own() -> None:
    """A plain tool is called what the caller called it, even if a group's tool before it would like the name."""
    tools = flat(group("a", function("b")), function("a__b"))
    names = [tool.flat for tool in tools.declared]
    assert names[1] == "a__b"
    assert names[0] != "a__b"
    assert Restore(tools).call("a__b") == CallShape("a__b")
    assert Restore(tools).call(names[0]) == CallShape("b", "a")


def test_a_tool_that_is_declared_again_replaces_the_earlier_one() -> None:
    """`additional_tools` may come with every turn."""
    tools = flatten(
        [("tools", [function("a", description="old")]), ("input[0].tools", [function("a", description="new")])]
    )
    assert [tool.definition["description"] for tool in tools.declared] == ["new"]


def test_names_that_are_known_from_history_alone_are_the_same_that_they_would_be() -> None:
    """A call of a tool that is not offered any more; and one whose namespace the caller left out."""
    names = flat(group("agents", function("spawn"))).flat_names()
    assert names.of("agents", "spawn") == names.of("", "spawn") == "agents__spawn"
    assert names.of("gone", "tool") == "gone__tool"
    assert names.of("", "tool") == "tool"


_names = st.text(max_size=80).filter(bool) | st.sampled_from(["a", "b", "a__b", "a_b", "x" * 64, "x" * 65, "x" * 66])


@given(
    st.lists(_names | st.tuples(_names, st.lists(_names, max_size=4)), max_size=8),
)
def test_names_are_unique_valid_the_same_each_time_and_find_back(listed) -> None:
    """Whatever callers call their tools."""
    tools = [function(each) if isinstance(each, str) else group(each[0], *map(function, each[1])) for each in listed]
    found = flat(*json.loads(json.dumps(tools)))
    names = [tool.flat for tool in found.declared]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    assert [tool.flat for tool in flat(*tools).declared] == names
    back, there = Restore(found), found.flat_names()
    for tool in found.declared:
        assert back.call(tool.flat) == CallShape(tool.name, tool.namespace)
        assert there.of(tool.namespace, tool.name) == tool.flat


@pytest.mark.parametrize(
    ("tools", "path"),
    [
        ({}, "tools"),
        (["x"], "tools[0]"),
        ([{}], "tools[0].type"),
        ([function("")], "tools[0].name"),
        ([function("a", description=1)], "tools[0].description"),
        ([function("a", strict="yes")], "tools[0].strict"),
        ([{"type": "function", "name": "a", "parameters": []}], "tools[0].parameters"),
        ([{"type": "custom", "name": "a", "format": "lark"}], "tools[0].format"),
        ([{"type": "namespace", "name": "a", "tools": 3}], "tools[0].tools"),
        ([group("a", group("b"))], "tools[0].tools[0]"),
        ([group("a", {"type": "function"})], "tools[0].tools[0].name"),
    ],
)
def test_what_is_no_tool_is_named(tools, path) -> None:
    """Every shape that is relied on."""
    with pytest.raises(BadRequest) as caught:
        flatten([("tools", tools)])
    assert caught.value.param == path


def test_a_hosted_tool_of_any_kind_is_nobodys_here() -> None:
    """Also one that nobody has heard of, and one within a namespace."""
    found = flat({"type": "quantum_search", "x": 1}, group("g", {"type": "web_search"}), function("a"))
    assert [tool["type"] for tool in found.hosted] == ["quantum_search", "web_search"]
    assert [tool.flat for tool in found.declared] == ["a"]
