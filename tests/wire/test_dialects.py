"""The table of dialects is whole: every name that a row may use is there, and each row satisfies the Protocols."""

from typing import get_args

import pytest

from hermes_router.core.catalog import DialectName
from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import BadRequest, DeadlinePassed, HermesError, NoTarget, Truncated
from hermes_router.core.events import Usage
from hermes_router.wire.dialect import Dialect
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.inbound import Inbound

EACH = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())


def test_every_dialect_has_its_row() -> None:
    """In the order in which a provider that offers several is asked by a caller of yet another."""
    assert tuple(DIALECTS) == get_args(DialectName)
    assert all(name == row.name for name, row in DIALECTS.items())


@EACH
@pytest.mark.parametrize(
    "error",
    [
        BadRequest("x", param="y"),
        NoTarget(limited=True, retry_at=5.0),
        NoTarget(limited=False, retry_at=None),
        DeadlinePassed(),
        Truncated("x"),
        HermesError("internal"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_is_told_in_every_dialect(dialect: Dialect, error: HermesError) -> None:
    """As an answer with a status, as an event, and in a stream that has begun; never as a good end."""
    rendered = dialect.render_error(error, now=1.0, request_id="req_1")
    assert rendered.status >= 400
    assert rendered.body.startswith(b"{")
    assert b"data: " in dialect.error_event(error, now=1.0)
    inbound = Inbound(ChatRequest("m", stream=True), {}, dialect=dialect.name)
    encoder = dialect.encoder(inbound, prompt_tokens=1, new_id=lambda prefix: f"{prefix}1", now=1)
    encoder.identify(f"{encoder.id_prefix}1", "m", 1)
    out = encoder.keep_alive() + encoder.fail(error, now=1.0)
    assert b"error" in out
    for good in (b"[DONE]", b"message_stop", b"response.completed"):
        assert good not in out


@EACH
def test_an_empty_but_good_stream_is_valid(dialect: Dialect) -> None:
    """`end` closes what was never opened, without raising."""
    inbound = Inbound(ChatRequest("m", stream=True), {}, dialect=dialect.name)
    encoder = dialect.encoder(inbound, prompt_tokens=1, new_id=lambda prefix: f"{prefix}1", now=1)
    encoder.identify("x", "m", 1)
    assert encoder.end(Usage(1, 1)).endswith(b"\n\n")
