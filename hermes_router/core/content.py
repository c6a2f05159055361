"""What is said in a request: system text, turns, tools and wishes, in words that no dialect owns.

Owns the neutral content that every dialect is read into and composed from (docs/adr/0008): what a dialect has and
another lacks is kept in `extras` under the dialect's name, or said in `warnings`. It must never know a target, a wire
format, or how a model is called.

JSON values here (schemas, extras, parameters) are decoded ones: dict, list, str, int, float, bool, None.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from hermes_router.core.chat import Warning as Notice

NO_EXTRAS: Final[Mapping[str, Any]] = MappingProxyType({})

Role = Literal["system", "developer", "user", "assistant"]
Extras = Mapping[str, Any]
"""By dialect name (`anthropic_messages`), what only that dialect has for this place: e.g. {"cache_control": {...}}."""


class Seal(NamedTuple):
    """What only the maker of a thought can read: it goes back to the maker, unaltered, or not at all.

    Attributes:
        dialect: in which dialect it was made (`anthropic_messages`, `openai_responses`, `openai_chat`).
        kind: `signature` (beside a readable thought), `redacted` (instead of one), `encrypted` (a reasoning item),
            `none` (nothing secret: the mark only says who made the thought).
        data: the bytes as the provider spelled them.
        origin: `provider/model` that made it; "" = the caller brought it without a mark of ours.
        item_id: the id of the item that it belongs to, where the dialect has one.
    """

    dialect: str
    kind: Literal["signature", "redacted", "encrypted", "none"]
    data: str
    origin: str = ""
    item_id: str = ""


class Text(NamedTuple):
    """Text. A refusal of the assistant's is text, too."""

    text: str
    extras: Extras = NO_EXTRAS


class Image(NamedTuple):
    """An image: `url` is http(s), or a `data:` URL with its base64; `detail` the Chat word, "" = not said."""

    url: str
    detail: str = ""
    extras: Extras = NO_EXTRAS


class Document(NamedTuple):
    """A file to read: a `data:` or http(s) `url`, or the `text` itself; `name` and `title` may be empty."""

    url: str = ""
    text: str = ""
    name: str = ""
    title: str = ""
    extras: Extras = NO_EXTRAS


class Audio(NamedTuple):
    """Sound: base64 `data` in `format` (wav, mp3)."""

    data: str
    format: str


class Reasoning(NamedTuple):
    """A thought of the assistant's, readable as far as it was shown."""

    text: str
    seal: Seal | None = None
    extras: Extras = NO_EXTRAS


class ToolCall(NamedTuple):
    """A call: `arguments` is the JSON text of an object as it was said; of a `custom` tool the raw input."""

    call_id: str
    name: str
    arguments: str
    custom: bool = False
    extras: Extras = NO_EXTRAS


class ToolResult(NamedTuple):
    """What a call gave back."""

    call_id: str
    parts: tuple["Part", ...]
    is_error: bool = False
    extras: Extras = NO_EXTRAS


class Foreign(NamedTuple):
    """A part that only `dialect` has (a server tool's block, an item of a hosted tool), as decoded JSON.

    `text` is what of it can be said to others; "" = nothing.
    """

    dialect: str
    kind: str
    value: Any
    text: str = ""


Part = Text | Image | Document | Audio | Reasoning | ToolCall | ToolResult | Foreign


class Turn(NamedTuple):
    """One turn. Results stand in a user turn, before its other parts; calls in an assistant turn, after its texts.

    A `system` or `developer` turn is an instruction in the middle of the conversation.
    """

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    extras: Extras = NO_EXTRAS


class Tool(NamedTuple):
    """A tool that the caller runs. `schema` is the JSON schema of its arguments, None = none given.

    `strict` None = the caller did not say. A `custom` tool takes free text; its grammar is in `extras`. `namespace` is
    the Responses word for the group of a tool; `name` is unique within the request and is what models are told.
    """

    name: str
    description: str = ""
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    namespace: str = ""
    plain_name: str = ""
    extras: Extras = NO_EXTRAS


class Choice(NamedTuple):
    """Which tools may be called: `tool` = the one of `names`; with other modes, `names` (if any) are all allowed."""

    mode: Literal["auto", "required", "none", "tool"]
    names: tuple[str, ...] = ()


class Format(NamedTuple):
    """The shape that the answer must have."""

    kind: Literal["json_object", "json_schema"]
    schema: Mapping[str, Any] | None = None
    name: str = ""
    strict: bool | None = None
    description: str = ""


class Conversation(NamedTuple):
    """A whole request but for the model's name.

    Attributes:
        system: the leading system text, one part a block.
        turns: the rest, in order; roles need not alternate.
        hosted: tools that a provider would run, as decoded JSON by dialect: ("openai_responses", {...}).
        effort: none, minimal, low, medium, high, xhigh or max; None = not said.
        thinking_tokens: an explicit budget for thinking; 0 = thinking is switched off; None = not said.
        adaptive: the caller left the amount of thinking to the model (Messages `thinking.type: adaptive`).
        parameters: what else tunes the answer, in the Chat dialect's names (`temperature`, `top_p`, `top_k`, `stop` as
            a list, `seed`, `user`, `prompt_cache_key`, `service_tier`, `verbosity`, `logprobs`, `n` …).
        extras: by dialect, whole top-level fields that only it has.
        warnings: what could not even be kept.
        origin: the dialect of its caller, "" = not said.
    """

    system: tuple[Text, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    hosted: tuple[tuple[str, Any], ...] = ()
    choice: Choice | None = None
    parallel: bool | None = None
    max_output_tokens: int | None = None
    effort: str | None = None
    thinking_tokens: int | None = None
    adaptive: bool = False
    format: Format | None = None
    parameters: Mapping[str, Any] = NO_EXTRAS
    extras: Extras = NO_EXTRAS
    warnings: tuple[Notice, ...] = ()
    origin: str = ""
