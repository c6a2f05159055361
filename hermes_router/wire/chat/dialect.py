"""The Chat Completions dialect as a row of the table of dialects.

Owns the joining of Chat's own modules to the Protocols of `dialect.py`. It must never know a target.
"""

from typing import Final

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.content import Conversation
from hermes_router.wire.chat.content import read
from hermes_router.wire.chat.decoder import ChatDecoder
from hermes_router.wire.chat.encoder import answer_bytes, make_encoder
from hermes_router.wire.chat.fields import write
from hermes_router.wire.chat.outgoing import Options, Recall, Rendered, render
from hermes_router.wire.dialect import Dialect, InBand, NewId
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.openai_errors import error_event, render_error
from hermes_router.wire.plain_answers import plain_completion

__all__ = ["CHAT"]


def _compose(conversation: Conversation, facts: TargetFacts, options: Options, recall: Recall) -> Rendered:
    """Neutral content, fitted to one target as a caller's own Chat body would be."""
    body = write(conversation)
    rendered = render(body.fields, facts, options._replace(traits=body.traits), recall)
    return rendered._replace(warnings=(*body.warnings, *rendered.warnings)) if body.warnings else rendered


def _pass_on(inbound: Inbound, facts: TargetFacts, options: Options, recall: Recall) -> Rendered:
    return render(inbound.fields, facts, options, recall)


def _decoder(in_band: InBand, *, new_id: NewId, now: int, model: str, origin: str) -> ChatDecoder:  # noqa: ARG001
    return ChatDecoder(in_band, new_id=new_id, now=now, model=model)


CHAT: Final = Dialect(
    name="openai_chat",
    path="/chat/completions",
    read=read,
    encoder=make_encoder,
    render_answer=answer_bytes,
    compose=_compose,
    pass_on=_pass_on,
    decoder=_decoder,
    plain=plain_completion,
    render_error=render_error,
    error_event=error_event,
)
