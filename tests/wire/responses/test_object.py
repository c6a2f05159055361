"""The `response` object: the caller's values as they came, and the SDK's required members."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.responses import Response

from hermes_router.core.events import Finish, Usage
from hermes_router.wire.responses.object import INCOMPLETE, ResponseObject, usage_object, wants_encrypted

from ..responses_streams import inbound


def rendered(status: str = "completed", **fields: Any) -> dict[str, Any]:
    one = ResponseObject(inbound(**fields)).render(new_id="resp_1", created=5, model="m", status=status)
    value: dict[str, Any] = json.loads(one)
    return value


def test_every_required_member_is_there() -> None:
    """id, object, created_at, model, output and all that facts 12.10 lists, nulls where nothing holds."""
    response = rendered()
    Response.model_validate(response, strict=False)
    required = """id object created_at model output parallel_tool_calls tool_choice tools status error
        incomplete_details instructions metadata temperature top_p text reasoning usage truncation
        previous_response_id store"""
    assert set(required.split()) <= set(response)


def test_usage_is_spelled_with_its_details() -> None:
    """1,000 tokens of prompt with 800 read and 50 written are 1,000 here; the total is computed (12.7, 12.14)."""
    assert usage_object(Usage(1_000, 30, 800, 20, written_tokens=50)) == {
        "input_tokens": 1_000,
        "input_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 50},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 1_030,
    }


def test_only_what_was_cut_is_incomplete() -> None:
    """Stops and calls complete a response (12.6)."""
    assert {finish: INCOMPLETE.get(finish) for finish in Finish} == {
        Finish.STOP: None,
        Finish.TOOL_CALLS: None,
        Finish.LENGTH: "max_output_tokens",
        Finish.CONTENT_FILTER: "content_filter",
    }


@pytest.mark.parametrize(
    ("include", "wanted"),
    [
        (["a", "reasoning.encrypted_content"], True),
        ([], False),
        (None, False),
        ("reasoning.encrypted_content", False),
        ([["reasoning.encrypted_content"]], False),
    ],
)
def test_encrypted_thoughts_are_given_to_those_who_asked(include: Any, wanted: bool) -> None:
    """`include` is a list of names; anything else asks for nothing."""
    assert wants_encrypted(inbound(include=include)) is wanted


def test_a_body_that_nobody_could_read_asks_for_nothing() -> None:
    """Whoever checks requests has refused it before; here it does no harm."""
    one = inbound()
    broken = one._replace(fields={"include": Raw(b"[" * 100_000)})
    assert not wants_encrypted(broken)
    assert not wants_encrypted(one._replace(fields={}))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(metadata=_JSON, tools=st.lists(_JSON, max_size=3), indent=st.sampled_from([None, 2]))
def test_what_is_echoed_is_never_more_than_one_line(metadata: Any, tools: Any, indent: int | None) -> None:
    """However the caller laid out its JSON: one line, the same values."""
    one = inbound()
    fields = {
        **one.fields,
        "metadata": Raw(json.dumps(metadata, indent=indent).encode()),
        "tools": Raw(json.dumps(tools, indent=indent).replace("\n", "\r\n").encode()),
    }
    body = ResponseObject(one._replace(fields=fields)).render(new_id="r", created=1, model="m", status="in_progress")
    assert b"\n" not in body
    assert b"\r" not in body
    value = json.loads(body)
    assert value["metadata"] == (metadata if metadata is not None else {})
    assert value["tools"] == tools
