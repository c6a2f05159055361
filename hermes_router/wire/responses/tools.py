"""The tools of a Responses request: namespaces, custom and hosted tools, and the one flat list that others are told.

Owns the names: every tool that the caller runs gets one that is unique within the request and that each dialect takes
(facts: providers.md 12.4, codex.md 6.3, clients.md 3), and the way back to the caller's own. The same tools give the
same names in every turn. It must never know a target.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.wire.fields import decode
from hermes_router.wire.inbound import Inbound

__all__ = [
    "CallShape",
    "Declared",
    "Fields",
    "FlatNames",
    "Restore",
    "Toolset",
    "flat_name",
    "flatten",
    "restorer",
    "toolset",
]

PLAIN_NAMESPACE: Final = "functions"
"""The namespace that callers wrap their plain tools into (codex.md 6.3): its tools keep their own names."""

_NAME_MAX: Final = 64
_ODD: Final = re.compile(r"[^a-zA-Z0-9_-]")
_CARRIER: Final = re.compile(rb'"(?:additional_tools|tool_search_output)"')
_LOADED: Final = frozenset({"additional_tools", "tool_search_output"})


class CallShape(NamedTuple):
    """How the caller knows a tool: `namespace` is empty where it has none, a `custom` one takes free text."""

    name: str
    namespace: str = ""
    custom: bool = False


class Declared(NamedTuple):
    """A tool that the caller runs. `flat` is what models are told; `definition` as the caller spelled it.

    `note` is the description of the namespace, given with the first of its tools alone.
    """

    flat: str
    name: str
    namespace: str
    custom: bool
    definition: Mapping[str, Any]
    note: str = ""


class Toolset(NamedTuple):
    """All tools of a request: those that the caller runs, and those that a provider would."""

    declared: tuple[Declared, ...] = ()
    hosted: tuple[Mapping[str, Any], ...] = ()

    def flat_names(self) -> "FlatNames":
        """The flat name of whatever the caller names."""
        return FlatNames(self)


_NO_TOOLS: Final = Toolset()


class FlatNames:
    """The way from the caller's own names to flat ones."""

    __slots__ = ("_any", "_known")

    def __init__(self, tools: Toolset) -> None:
        self._known = {(tool.namespace, tool.name): tool.flat for tool in tools.declared}
        self._any: dict[str, str] = {}
        for tool in tools.declared:  # by the name alone: the first of it
            self._any.setdefault(tool.name, tool.flat)

    def of(self, namespace: str, name: str) -> str:
        """The flat name; of a tool that is not declared (any more) the one that it would have."""
        known = self._known.get((namespace, name))
        if known is None and not namespace:
            known = self._any.get(name)
        return known or flat_name(namespace, name)


class Restore:
    """The way back from flat names to the caller's own."""

    __slots__ = ("_shapes",)

    def __init__(self, tools: Toolset) -> None:
        self._shapes: dict[str, CallShape] = {}
        for tool in tools.declared:
            shape = CallShape(tool.name, tool.namespace, tool.custom)
            # Models spell a tool of a namespace in their own ways too, where it leaves no doubt which one is meant.
            spellings = (tool.flat, f"{tool.namespace}.{tool.name}", f"{tool.namespace}__{tool.name}", tool.name)
            for spelling in spellings if tool.namespace else (tool.flat, tool.name):
                self._shapes.setdefault(spelling, shape)
        for tool in tools.declared:  # what models are told comes first, whoever else could be meant by it
            self._shapes[tool.flat] = CallShape(tool.name, tool.namespace, tool.custom)

    def call(self, name: str) -> CallShape:
        """What the caller's own tool is, given the name that a model called; an unknown name stays as it is."""
        return self._shapes.get(name) or CallShape(name)


class Fields(dict[str, Raw]):
    """The top-level fields of a request as they came, and its `tools`, taken apart once."""

    __slots__ = ("tools",)

    tools: Toolset


def restorer(inbound: Inbound) -> Restore:
    """The way back for one request. Raises BadRequest where its tools are no tools."""
    return Restore(toolset(inbound.fields))


def toolset(fields: Mapping[str, Raw]) -> Toolset:
    """The tools of a request's fields: `tools`, and those that come within `input`. Raises BadRequest with the path."""
    if isinstance(fields, Fields):
        return fields.tools
    listed: list[tuple[str, Any]] = []
    if (raw := fields.get("tools")) is not None:
        listed.append(("tools", decode(raw, "tools")))
    if (raw := fields.get("input")) is not None and _CARRIER.search(raw):
        listed += carried(decode(raw, "input"))
    return flatten(listed)


def carried(items: Any) -> Iterator[tuple[str, Any]]:
    """The lists of tools that input items carry (`additional_tools`), with their paths."""
    if isinstance(items, list):
        for index, item in enumerate(items):
            if isinstance(item, dict) and item.get("type") in _LOADED:
                yield f"input[{index}].tools", item.get("tools")


def flatten(listed: Sequence[tuple[str, Any]]) -> Toolset:
    """Lists of tools, each with its path, as one. Raises BadRequest with the path of what is no tool.

    A tool that is declared again replaces the earlier one of its name.
    """
    if not listed:
        return _NO_TOOLS
    found: dict[tuple[str, str], Declared] = {}
    hosted: list[Mapping[str, Any]] = []
    for path, tools in listed:
        for at, tool in _objects(tools, path):
            if _word(tool, "type", at) == "namespace":
                _namespace(tool, at, found, hosted)
            elif not _declare(tool, at, "", "", found):
                hosted.append(tool)
    return Toolset(_named(found), tuple(hosted))


def _namespace(
    group: Mapping[str, Any],
    at: str,
    found: dict[tuple[str, str], Declared],
    hosted: list[Mapping[str, Any]],
) -> None:
    name, note = _word(group, "name", at), _text(group, "description", at)
    for where, tool in _objects(group.get("tools"), f"{at}.tools"):
        if _word(tool, "type", where) == "namespace":
            raise BadRequest(f"{where} must not be a namespace within a namespace", param=where)
        if _declare(tool, where, name, note, found):
            note = ""
        else:
            hosted.append(tool)


def _declare(
    tool: Mapping[str, Any], at: str, namespace: str, note: str, found: dict[tuple[str, str], Declared]
) -> bool:
    """Add a tool that the caller runs; tell whether it is one."""
    kind = tool["type"]
    if kind not in ("function", "custom"):
        return False
    name = _word(tool, "name", at)
    _text(tool, "description", at)
    key = "format" if kind == "custom" else "parameters"
    if not isinstance(tool.get(key), dict | None):
        raise BadRequest(f"{at}.{key} must be an object", param=f"{at}.{key}")
    if not isinstance(tool.get("strict"), bool | None):
        raise BadRequest(f"{at}.strict must be true or false", param=f"{at}.strict")
    earlier = found.get((namespace, name))
    found[namespace, name] = Declared("", name, namespace, kind == "custom", tool, earlier.note if earlier else note)
    return True


def _named(found: Mapping[tuple[str, str], Declared]) -> tuple[Declared, ...]:
    """All with their flat names. What needs no new name keeps its own, whatever comes before it."""
    wanted = {key: flat_name(*key) for key in found}
    names: dict[tuple[str, str], str] = {}
    used: set[str] = set()
    for untouched in (True, False):
        for key, name in wanted.items():
            if (not key[0] and name == key[1]) is untouched:
                names[key] = name if name not in used else _fresh(key, name, used)
                used.add(names[key])
    return tuple(tool._replace(flat=names[key]) for key, tool in found.items())


def flat_name(namespace: str, name: str) -> str:
    """What a tool of a namespace is called where there are none, as long as no other is called so."""
    full = f"{namespace}__{name}" if namespace and namespace != PLAIN_NAMESPACE else name
    flat = _ODD.sub("_", full)
    return flat if len(flat) <= _NAME_MAX else _suffixed((namespace, name), flat, 0)


def _fresh(key: tuple[str, str], name: str, used: set[str]) -> str:
    number = 0
    while (new := _suffixed(key, name, number)) in used:
        number += 1
    return new


def _suffixed(key: tuple[str, str], name: str, number: int) -> str:
    """The name with eight digits that the caller's own names give: the same in every turn."""
    seed = f"{key[0]}\0{key[1]}\0{number}".encode(errors="surrogatepass")
    return f"{name[: _NAME_MAX - 9]}_{hashlib.blake2b(seed, digest_size=4).hexdigest()}"


# --- shapes -----------------------------------------------------------------------------------------


def _objects(tools: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise BadRequest(f"{path} must be a list", param=path)
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise BadRequest(f"{path}[{index}] must be an object", param=f"{path}[{index}]")
        yield f"{path}[{index}]", tool


def _word(holder: Mapping[str, Any], key: str, at: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{at}.{key} must be a string, and not an empty one", param=f"{at}.{key}")
    return value


def _text(holder: Mapping[str, Any], key: str, at: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str | None):
        raise BadRequest(f"{at}.{key} must be a string", param=f"{at}.{key}")
    return value or ""
