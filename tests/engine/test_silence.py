"""hermes_router/engine/silence.py: how long an attempt may say nothing."""

import msgspec
from msgspec.structs import replace

from hermes_router.engine.silence import before_the_first_token, between_tokens
from hermes_router.wire.chat.request import parse_request

from ..fakes import target

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def wish(**fields: object):
    body = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_request(msgspec.json.encode(body), {}).request


def test_a_whole_answer_may_take_the_time_of_writing_it() -> None:
    """Twenty tokens a second on top of a stream's limit: of the caller's cap, the target's, or 2,048."""
    free, capped = target("a/m"), replace(target("a/m"), output_cap=100)
    assert before_the_first_token(45.0, free, wish(max_tokens=400), whole=False) == 45.0
    assert before_the_first_token(45.0, free, wish(max_tokens=400), whole=True) == 45.0 + 20.0
    assert before_the_first_token(45.0, free, wish(), whole=True) == 45.0 + 102.4
    assert before_the_first_token(45.0, capped, wish(max_tokens=400), whole=True) == 45.0 + 5.0


def test_a_row_that_sends_calls_whole_may_write_one_in_silence() -> None:
    """Only where tools are offered; the longer of the two limits."""
    plain, whole = target("a/m"), target("a/m", whole_calls=True)
    assert between_tokens(30.0, plain, wish(tools=[TOOL]), first_token_limit_s=45.0) == 30.0
    assert between_tokens(30.0, whole, wish(), first_token_limit_s=45.0) == 30.0
    assert between_tokens(30.0, whole, wish(tools=[TOOL]), first_token_limit_s=45.0) == 45.0
    assert between_tokens(60.0, whole, wish(tools=[TOOL]), first_token_limit_s=45.0) == 60.0
