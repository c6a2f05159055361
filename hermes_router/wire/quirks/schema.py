"""JSON schemas of tools as providers take them: pure functions from a schema to a new one.

Owns the three cleanings that rows may name (facts: providers.md 3.1, 3.8, 3.13). Keywords are told from names: what
stands inside a `properties` map is a name, whatever it is called. The given schema is never edited. It must never know
a provider.
"""

from typing import Any

Schema = dict[str, Any]

_NODES_MAX = 5_000  # inlined references may multiply; beyond this a node says only that it is an object
_REFS_MAX = 32
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"enum", "const", "default", "examples", "example", "required"})

_GEMINI_DROPS = frozenset({
    "$schema", "$id", "$comment", "$defs", "$ref", "$anchor", "definitions", "additionalProperties",
    "patternProperties", "exclusiveMinimum", "exclusiveMaximum", "if", "then", "else", "propertyNames", "prefixItems",
    "not", "allOf", "oneOf", "const", "examples", "readOnly", "writeOnly", "uniqueItems", "multipleOf", "deprecated",
})  # fmt: skip
_GEMINI_DROPPED_STARTS = ("unevaluated", "dependent", "dependencies", "contains", "minContains", "maxContains",
                          "content", "x-")  # fmt: skip
_UNKNOWN_OBJECT: Schema = {"type": "object"}


# --- small ones -------------------------------------------------------------------------------------


def without_keywords(schema: Any, drops: frozenset[str]) -> Any:
    """The schema without some keywords, at every depth."""

    def edit(node: Schema) -> Schema:
        return {key: value for key, value in node.items() if key not in drops}

    return _mapped(schema, edit)


def basic(schema: Any) -> Any:
    """Without `$schema` and `additionalProperties` (Cohere answers 400 to them)."""
    return without_keywords(schema, frozenset({"$schema", "additionalProperties"}))


def kimi(schema: Any) -> Any:
    """`$ref` stands alone, and each `enum` has a `type`."""

    def edit(node: Schema) -> Schema:
        if "$ref" in node:
            return {"$ref": node["$ref"]}
        if isinstance(node.get("enum"), list) and "type" not in node:
            return {"type": _type_of(node["enum"]), **node}
        return node

    return _mapped(_ref_at_root_inlined(schema), edit)


def _ref_at_root_inlined(schema: Any) -> Any:
    """A root that is a reference beside its definitions has siblings by nature: it becomes what it names."""
    if not isinstance(schema, dict):
        return schema
    node = schema
    for _ in range(_REFS_MAX):
        if "$ref" not in node:
            break
        target = _resolved(schema, node["$ref"])
        if not isinstance(target, dict):
            break
        node = target
    definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    return node if node is schema else {**node, **definitions}


def _type_of(values: list[Any]) -> str:
    for value in values:
        match value:
            case None:
                continue
            case bool():
                return "boolean"
            case int():
                return "integer"
            case float():
                return "number"
            case _:
                return "string"
    return "string"


def _mapped(node: Any, edit: Any) -> Any:
    """A copy of a schema with `edit` applied to every schema in it, outermost first."""
    if isinstance(node, list):
        return [_mapped(child, edit) for child in node]
    if not isinstance(node, dict):
        return node
    out: Schema = {}
    for key, value in edit(node).items():
        if key in _MAPS and isinstance(value, dict):
            out[key] = {name: _mapped(child, edit) for name, child in value.items()}
        else:
            out[key] = value if key in _DATA else _mapped(value, edit)
    return out


# --- Gemini -----------------------------------------------------------------------------------------


def gemini(schema: Any) -> Any:
    """The subset of OpenAPI 3 that Gemini takes; None where no property is left, and `parameters` is omitted."""
    if not isinstance(schema, dict):
        return None
    cleaned = _Gemini(schema).clean(schema, ())
    if cleaned.get("type", "object") == "object" and not cleaned.get("properties"):
        return None
    return cleaned


class _Gemini:
    """Cleans one schema: references are looked up in its root."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.nodes = 0

    def clean(self, node: Any, refs: tuple[str, ...]) -> Schema:
        """One schema of the tree; `refs` are the references under way, which end a recursion."""
        self.nodes += 1
        if not isinstance(node, dict) or self.nodes > _NODES_MAX:
            return dict(_UNKNOWN_OBJECT) if isinstance(node, dict) else {}
        node, refs = self._unfolded(node, refs)
        out: Schema = {}
        for key, value in node.items():
            if key in _GEMINI_DROPS or key.startswith(_GEMINI_DROPPED_STARTS):
                continue
            if key == "properties":
                if isinstance(value, dict):
                    out[key] = {name: self.clean(child, refs) for name, child in value.items()}
            elif key == "items":
                first = value[0] if isinstance(value, list) and value else value
                out[key] = self.clean(first, refs)
            elif key == "anyOf":
                if isinstance(value, list) and value:
                    out[key] = [self.clean(child, refs) for child in value]
            else:
                out[key] = value if key in _DATA else self._of_unknown(value, refs)
        if "const" in node and "enum" not in out:
            out["enum"] = [node["const"]]
        _nullable_type(out)
        _string_enum(out)
        _known_required(out)
        return out

    def _of_unknown(self, value: Any, refs: tuple[str, ...]) -> Any:
        """What a keyword that we do not know holds: schemas in it are cleaned as well."""
        if isinstance(value, list):
            return [self._of_unknown(child, refs) for child in value]
        return self.clean(value, refs) if isinstance(value, dict) else value

    def _unfolded(self, node: Schema, refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The node without `$ref`, `allOf`, `oneOf` and choices of one; what stood beside them wins."""
        for _ in range(_REFS_MAX):
            if isinstance(ref := node.get("$ref"), str):
                rest = {key: value for key, value in node.items() if key != "$ref"}
                target = _resolved(self.root, ref)
                if ref in refs or not isinstance(target, dict):
                    return {**_UNKNOWN_OBJECT, **rest}, refs
                node, refs = {**target, **rest}, (*refs, ref)
            elif isinstance(parts := node.get("allOf"), list):
                merged: Schema = {}
                for part in parts:
                    if isinstance(part, dict):
                        unfolded, refs = self._unfolded(part, refs)
                        _lay_over(merged, unfolded)
                _lay_over(merged, {key: value for key, value in node.items() if key != "allOf"})
                node = merged
            elif isinstance(choices := node.get("anyOf") or node.get("oneOf"), list) and choices:
                node, one = _one_choice(node, choices)
                if not one:
                    break
            else:
                break
        return node, refs


def _resolved(root: Schema, ref: Any) -> Any:
    """What a local reference points at, None where it is not local or points nowhere."""
    if not isinstance(ref, str) or not ref.startswith("#"):
        return None
    node: Any = root
    for step in ref[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _lay_over(merged: Schema, part: Schema) -> None:
    """`allOf` is not known: its object schemas are laid over one another instead of being lost."""
    for key, value in part.items():
        before = merged.get(key)
        if key == "properties" and isinstance(before, dict) and isinstance(value, dict):
            merged[key] = {**before, **value}
        elif key == "required" and isinstance(before, list) and isinstance(value, list):
            merged[key] = [*before, *(name for name in value if name not in before)]
        else:
            merged[key] = value


def _one_choice(node: Schema, choices: list[Any]) -> tuple[Schema, bool]:
    """`oneOf` is spelled `anyOf`, `anyOf: [T, null]` is T, nullable; tells whether one choice only was left."""
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf")}
    real = [choice for choice in choices if not (isinstance(choice, dict) and choice.get("type") == "null")]
    if len(real) < len(choices):
        rest["nullable"] = True
    if len(real) == 1 and isinstance(real[0], dict):
        return {**real[0], **rest}, True
    return ({**rest, "anyOf": real} if real else rest), False


def _nullable_type(node: Schema) -> None:
    kind = node.get("type")
    if kind == "null":
        node["type"], node["nullable"] = "string", True
    if not isinstance(kind, list):
        if not isinstance(kind, str):
            node.pop("type", None)
        return
    real = [each for each in kind if each != "null" and isinstance(each, str)]
    if len(real) < len(kind):
        node["nullable"] = True
    if len(real) > 1 and "anyOf" not in node:
        del node["type"]
        node["anyOf"] = [{"type": each} for each in real]
    else:
        node["type"] = real[0] if real else "string"


def _string_enum(node: Schema) -> None:
    """Enum values must be strings, and belong to strings: for numbers the choice moves to the description."""
    values = node.pop("enum", None)
    if not isinstance(values, list):
        return
    if None in values:
        node["nullable"] = True
    texts = [_as_text(value) for value in values if value is not None and value != ""]
    if not texts:
        return
    if node.get("type", "string") == "string":
        node["type"], node["enum"] = "string", list(dict.fromkeys(texts))
        return
    said = node.get("description")
    hint = f"One of: {', '.join(texts)}."
    node["description"] = f"{said} {hint}" if isinstance(said, str) and said else hint


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _known_required(node: Schema) -> None:
    """`required` may only name properties that are there."""
    if "required" not in node:
        return
    properties = node.get("properties")
    names = node.pop("required")
    if not isinstance(names, list) or not isinstance(properties, dict):
        return
    known = [name for name in names if isinstance(name, str) and name in properties]
    if known:
        node["required"] = known
