"""A caller's request, parsed: what routing needs of it, and the caller's own fields, undecoded.

Owns the value that all dialects parse into. It must never know a target.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Raw

from hermes_router.core.catalog import DialectName
from hermes_router.core.chat import ChatRequest
from hermes_router.wire.chat.traits import EVERYTHING
from hermes_router.wire.responses.turn import Turn

__all__ = ["Inbound"]


class Inbound(NamedTuple):
    """A parsed request. `fields` are the top-level fields of the body as they came, in the caller's own dialect.

    `traits` is what Chat messages are like (`traits.traits_of`); other dialects say EVERYTHING. `betas` are the values
    of `anthropic-beta`, in order. `operation` is what is asked for; `turn` what is remembered around it, where the
    dialect knows such a thing.
    """

    request: ChatRequest
    fields: Mapping[str, Raw]
    traits: int = EVERYTHING
    dialect: DialectName = "openai_chat"
    betas: tuple[str, ...] = ()
    operation: Literal["chat", "compact"] = "chat"
    turn: Turn | None = None
