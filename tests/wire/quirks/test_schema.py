"""Schemas as Gemini, Cohere and Kimi take them; names inside `properties` are names, whatever they are called."""

import copy
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes_router.sandbox.rules import schema_nodes
from hermes_router.sandbox.strictness import _GEMINI_SCHEMA
from hermes_router.wire.quirks.schema import basic, gemini, kimi


def of(**properties):
    return {"type": "object", "properties": properties}


def cleaned(node):
    """One property through Gemini's cleaning."""
    return gemini(of(p=node))["properties"]["p"]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"type": "string", "$comment": "x", "x-order": 1, "examples": ["a"], "contentEncoding": "base64"}, {"type": "string"}),
        ({"type": "integer", "exclusiveMinimum": 0, "multipleOf": 2, "minimum": 1}, {"type": "integer", "minimum": 1}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"type": "null"}, {"type": "string", "nullable": True}),
        ({"const": "x"}, {"type": "string", "enum": ["x"]}),
        ({"enum": ["a", 1, True, None, ""]}, {"type": "string", "enum": ["a", "1", "true"], "nullable": True}),
        ({"type": "integer", "enum": [1, 2], "description": "d."}, {"type": "integer", "description": "d. One of: 1, 2."}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "integer", "nullable": True}),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ({"allOf": [of(a={"type": "string"}), of(b={"type": "string"})], "description": "d"},
         of(a={"type": "string"}, b={"type": "string"}) | {"description": "d"}),
        ({"type": "array", "items": [{"type": "string", "readOnly": True}]}, {"type": "array", "items": {"type": "string"}}),
        ({"type": "array", "prefixItems": [{}], "uniqueItems": True, "minItems": 1}, {"type": "array", "minItems": 1}),
        ({"if": {}, "then": {}, "else": {}, "not": {}, "dependentRequired": {}, "unevaluatedItems": False, "type": "string"},
         {"type": "string"}),
        (of(a={"type": "string"}) | {"required": ["a", "gone"]}, of(a={"type": "string"}) | {"required": ["a"]}),
        (True, {}),
    ],
)  # fmt: skip
def test_gemini_takes_a_subset_of_openapi(node, expected):
    """Each keyword of the card (providers.md 3.1) is dropped or turned into what Gemini knows."""
    assert cleaned(node) == expected


def test_a_property_may_be_called_like_a_keyword():
    """`default`, `const` or `$ref` as a property's name is no keyword."""
    names = {
        name: {"type": "string"}
        for name in ("default", "const", "not", "x-a", "$schema", "additionalProperties", "enum")
    }
    assert gemini(of(**names)) == of(**names)
    assert basic(of(**names)) == of(**names)
    assert kimi(of(**names)) == of(**names)


def test_local_references_are_inlined():
    """`$ref` into `$defs` or `definitions` becomes what it names; what stands beside it wins."""
    schema = of(
        a={"$ref": "#/$defs/A", "description": "mine"}, b={"$ref": "#/definitions/x~1y"}, c={"$ref": "http://far"}
    )
    schema |= {
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"type": "string", "description": "its"}},
        "definitions": {"x/y": {"type": "integer"}},
    }
    assert gemini(schema) == of(
        a={"type": "string", "description": "mine"}, b={"type": "integer"}, c={"type": "object"}
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda r: r,
        lambda r: {"allOf": [r]},
        lambda r: {"anyOf": [r, {"type": "null"}]},
        lambda r: {"type": "array", "items": r},
    ],
)
def test_recursion_ends(wrap):
    """A tree that contains itself ends in a plain object."""
    ref = {"$ref": "#/$defs/Node"}
    node = of(value={"type": "string"}, next=wrap(ref))
    text = json.dumps(gemini(of(root=ref) | {"$defs": {"Node": node}}))
    assert "$ref" not in text
    assert len(text) < 2_000


def test_references_that_multiply_are_bounded():
    """Twenty levels of two references each are a million nodes: the tree is cut before that."""
    levels = {f"L{n}": of(a={"$ref": f"#/$defs/L{n + 1}"}, b={"$ref": f"#/$defs/L{n + 1}"}) for n in range(20)}
    assert len(json.dumps(gemini(of(root={"$ref": "#/$defs/L0"}) | {"$defs": levels}))) < 2_000_000


def test_an_object_without_properties_is_left_out():
    """Gemini refuses an empty object as parameters; none at all is fine."""
    assert gemini({"type": "object", "properties": {}}) is None
    assert gemini({}) is None
    assert gemini("odd") is None


def test_cohere_loses_two_keywords_only():
    """`$schema` and `additionalProperties` go at every depth, and nothing else."""
    node = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"a": {"items": [{"additionalProperties": {}, "not": {}}]}},
        "$schema": "x",
    }
    assert basic(node) == {"type": "object", "properties": {"a": {"items": [{"not": {}}]}}}
    assert basic({"enum": [{"$schema": "data"}]}) == {"enum": [{"$schema": "data"}]}


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["a"], "string"), ([1], "integer"), ([1.5], "number"), ([None, True], "boolean"), ([], "string")],
)
def test_kimi_wants_a_type_beside_each_enum(values, kind):
    """The type is that of the values."""
    assert kimi(of(a={"enum": values}))["properties"]["a"] == {"type": kind, "enum": values}


def test_kimi_wants_references_alone():
    """Siblings of `$ref` go; a root that is a reference becomes what it names."""
    definitions = {"A": {"type": "object", "properties": {"x": {"$ref": "#/$defs/A", "description": "d"}}}}
    schema = kimi({"$ref": "#/$defs/A", "$defs": definitions})
    assert schema["properties"]["x"] == {"$ref": "#/$defs/A"}
    assert schema["$defs"]["A"]["properties"]["x"] == {"$ref": "#/$defs/A"}
    assert "$ref" not in schema


KEYWORDS = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "enum",
        "const",
        "required",
        "$defs",
        "not",
        "x-a",
        "description",
        "default",
        "additionalProperties",
    ]
)
SCHEMAS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["string", "null", "object", "#", "#/$defs/a", "#/properties/a"])
    | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(KEYWORDS | st.just("a"), children, max_size=4),
    max_leaves=20,
)


@given(SCHEMAS)
@example({"properties": {"type": None}, "required": [[]]})
def test_any_schema_is_cleaned_and_none_is_edited(schema):
    """Whatever a caller calls a schema: no crash, no keyword that Gemini refuses, and the original stays as it was."""
    before = copy.deepcopy(schema)
    out = gemini(schema)
    basic(schema)
    kimi(schema)
    assert schema == before
    for node in schema_nodes(out):
        assert not _GEMINI_SCHEMA & set(node)
        assert not isinstance(node.get("type"), list)
        assert all(isinstance(value, str) for value in node.get("enum", ()))
