"""The tiny questions that find out what a model can do, and what their answers prove.

Owns one request and one judgement for each capability; whatever is not sure is None. A question is put in the words of
the Chat dialect and fitted to its target like any caller's. It must never know a provider, or when a question is asked.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from hermes_router.core.catalog import Capability, Known
from hermes_router.core.errors import RequestRejected
from hermes_router.core.events import Answer, BlockKind, Finish
from hermes_router.wire.chat.request import parse_request
from hermes_router.wire.inbound import Inbound

__all__ = ["PROBES", "Probe", "has_object"]

Judge = Callable[[Answer], Known | None]

MOST_TOKENS: Final = 256  # a reasoning model thinks before it calls; others stop after twenty
_SILENT_TOKENS: Final = 24  # for one word: more were spent on something that was not shown
_SKY: Final = (  # a picture of 64 x 64: the upper half yellow, the lower half blue
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAVElEQVR42u3PMQ0AQAgEsJOG/+k35PAaGEma1EAzndMiICAg"
    "ICAgICAgICAgICAgICAgICAgILAOpN5tAgICAgICAgICAgICAgICAgICAgICAgJbH9EBMVoiafYuAAAAAElFTkSuQmCC"
)


class Probe(NamedTuple):
    """One question. `field` is what must be in the body that goes out, else it would prove nothing.

    `refused` are the fields by whose refusal the model says no; None = any refusal of the request does. `firm` = a no
    counts only where the tool choice went out as a demand: some targets take `auto` alone.
    """

    capability: Capability
    body: Mapping[str, Any]
    judge: Judge
    field: str = ""
    refused: frozenset[str] | None = frozenset()
    firm: bool = False

    @property
    def inbound(self) -> Inbound:
        """The question as a caller's request, parsed."""
        return _parsed(self.capability)

    def refusal(self, error: RequestRejected) -> Known | None:
        """What a refusal proves: NO where it names what was asked for, else nothing."""
        if self.refused is None:
            return Known.NO
        named = (error.param or "").partition(".")[0]
        return Known.NO if named in self.refused else None


@cache
def _parsed(what: Capability) -> Inbound:
    return parse_request(msgspec.json.encode(PROBES[what].body), {})


def _body(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": MOST_TOKENS, **fields}


def _tool(name: str, word: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": [word]}},
        "required": ["word"],
    }
    return {"type": "function", "function": {"name": name, "description": f"Reports a {name}.", "parameters": schema}}


_TOOLS: Final = (_tool("colour", "violet"), _tool("shape", "circle"))
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": ["violet"]}, "count": {"type": "integer"}},
    "required": ["word", "count"],
    "additionalProperties": False,
}
_FORMAT: Final = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": _SCHEMA}}


# --- judgements ---------------------------------------------------------------------------------------


def _calls(answer: Answer) -> list[str]:
    """The names of the tools that were truly called: ours, with the argument that they want."""
    named = {tool["function"]["name"] for tool in _TOOLS}
    return [
        block.name
        for block in answer.blocks
        if block.kind is BlockKind.TOOL_CALL and block.name in named and has_object(block.text, ("word",))
    ]


def _takes_tools(answer: Answer) -> Known | None:
    if _calls(answer):
        return Known.YES
    # An answer in words, though a call was demanded: the tools were passed over without a word.
    return Known.NO if answer.finish is Finish.STOP and answer.text().strip() else None


def _calls_twice(answer: Answer) -> Known | None:
    called = _calls(answer)
    return None if not called else Known.YES if len(set(called)) > 1 else Known.NO


def _keeps_to_schema(answer: Answer) -> Known | None:
    if has_object(answer.text(), ("word", "count")):
        return Known.YES
    return Known.NO if answer.finish is Finish.STOP and answer.text().strip() else None


def _sees(answer: Answer) -> Known | None:
    """Both colours in their order; a wrong answer may also be that of a model that sees badly."""
    said = answer.text().lower()
    return Known.YES if 0 <= said.find("yellow") < said.find("blue") else None


def _reasons(answer: Answer) -> Known | None:
    if answer.text(BlockKind.REASONING).strip():
        return Known.YES
    usage = answer.usage
    if usage is None or not usage.output_tokens:
        return None
    if usage.reasoning_tokens or usage.output_tokens > max(_SILENT_TOKENS, len(answer.text())):
        return Known.YES
    return Known.NO if answer.finish is Finish.STOP else None


def _goes_on(answer: Answer) -> Known | None:
    letters = answer.text().upper().replace(",", " ").split()
    if letters[:2] == ["E", "F"]:
        return Known.YES
    return Known.NO if letters[:1] == ["A"] else None


def has_object(text: str, keys: tuple[str, ...]) -> bool:
    """Whether a text is one JSON object that holds these keys."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return isinstance(found, dict) and all(key in found for key in keys)


PROBES: Final[Mapping[Capability, Probe]] = {
    probe.capability: probe
    for probe in (
        Probe(
            Capability.TOOLS,
            _body("Call the tool colour now.", tools=[_TOOLS[0]], tool_choice="required"),
            _takes_tools,
            "tools",
            frozenset({"tools", "functions"}),
            firm=True,
        ),
        Probe(
            Capability.IMAGES,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "Which two colours has this picture? Name the upper one first."},
                            {"type": "image_url", "image_url": {"url": _SKY}},
                        ],
                    }
                ],
                "max_tokens": MOST_TOKENS,
            },
            _sees,
            "messages",
            frozenset({"images", "image_url"}),
        ),
        Probe(
            Capability.JSON_SCHEMA,
            _body("Name a colour and a number.", response_format=_FORMAT),
            _keeps_to_schema,
            "response_format",
            frozenset({"response_format", "json_schema"}),
        ),
        Probe(Capability.REASONING, _body("Reply with the word ready and nothing else."), _reasons, "messages"),
        Probe(
            Capability.PARALLEL_TOOLS,
            _body("Call all tools now, both in one answer: colour and shape.", tools=list(_TOOLS)),
            _calls_twice,
            "tools",
            frozenset({"parallel_tool_calls"}),
        ),
        Probe(
            Capability.PREFILL,
            {
                "messages": [
                    {"role": "user", "content": "Write the letters A to H with a space between, and nothing else."},
                    {"role": "assistant", "content": "A B C D"},
                ],
                "max_tokens": MOST_TOKENS,
            },
            _goes_on,
            "messages",
            None,
        ),
    )
}
"""The questions, the most useful first."""
