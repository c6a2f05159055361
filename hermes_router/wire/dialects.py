"""The table of dialects: the one place that names them all.

A dialect is added by its modules and its line here (design.md 2.8). It must never know a target.
"""

from collections.abc import Mapping
from typing import Final

from hermes_router.core.catalog import DialectName
from hermes_router.wire.chat.dialect import CHAT
from hermes_router.wire.dialect import Dialect
from hermes_router.wire.messages import errors as messages_errors
from hermes_router.wire.messages.compose import compose as compose_messages
from hermes_router.wire.messages.content import read as read_messages
from hermes_router.wire.messages.decoder import make_decoder as messages_decoder
from hermes_router.wire.messages.encoder import make_encoder as messages_encoder
from hermes_router.wire.messages.encoder import render_answer as messages_answer
from hermes_router.wire.messages.passing import pass_on as pass_messages
from hermes_router.wire.plain_answers import plain_message, plain_response
from hermes_router.wire.responses import errors as responses_errors
from hermes_router.wire.responses.compose import compose as compose_responses
from hermes_router.wire.responses.content import read as read_responses
from hermes_router.wire.responses.decoder import make_decoder as responses_decoder
from hermes_router.wire.responses.encoder import make_encoder as responses_encoder
from hermes_router.wire.responses.encoder import render_answer as responses_answer
from hermes_router.wire.responses.passing import pass_on as pass_responses

__all__ = ["DIALECTS"]

_MESSAGES: Final = Dialect(
    name="anthropic_messages",
    path="/messages",
    read=read_messages,
    encoder=messages_encoder,
    render_answer=messages_answer,
    compose=compose_messages,
    pass_on=pass_messages,
    decoder=messages_decoder,
    plain=plain_message,
    render_error=messages_errors.render_error,
    error_event=messages_errors.error_event,
)
_RESPONSES: Final = Dialect(
    name="openai_responses",
    path="/responses",
    read=read_responses,
    encoder=responses_encoder,
    render_answer=responses_answer,
    compose=compose_responses,
    pass_on=pass_responses,
    decoder=responses_decoder,
    plain=plain_response,
    render_error=responses_errors.render_error,
    error_event=responses_errors.error_event,
)
DIALECTS: Final[Mapping[DialectName, Dialect]] = {one.name: one for one in (CHAT, _MESSAGES, _RESPONSES)}
"""In the order in which a provider that offers several is asked by a caller of yet another."""
