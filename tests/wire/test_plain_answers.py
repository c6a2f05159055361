"""Answers that are read in one step: what it says of them is what the dialect's own decoder says."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from hermes_router.core.catalog import DialectName
from hermes_router.core.errors import UpstreamError
from hermes_router.core.events import Finish, Usage, fold
from hermes_router.wire.chat.unary import read_answer
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.plain_answers import Plain

from .streams import NOW, decoder

CHAT = {
    "id": "c", "object": "chat.completion", "created": NOW, "model": "up",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hëllo"}, "finish_reason": "stop",
         "native_finish_reason": "STOP"},
    ],
    "usage": {
        "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
    "x_groq": {"id": "r"},
}  # fmt: skip
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "up",
    "content": [{"type": "text", "text": "Hë"}, {"type": "text", "text": "llo", "citations": None}],
    "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {
        "input_tokens": 4, "output_tokens": 4, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2,
        "service_tier": "standard",
    },
}  # fmt: skip
RESPONSE = {
    "id": "r", "object": "response", "created_at": NOW, "status": "completed", "error": None,
    "incomplete_details": None, "model": "up",
    "output": [
        {"type": "message", "id": "msg", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "Hëllo", "annotations": []}]},
    ],
    "usage": {
        "input_tokens": 9, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 13,
    },
}  # fmt: skip
BODIES: dict[DialectName, dict[str, Any]] = {
    "openai_chat": CHAT, "anthropic_messages": MESSAGE, "openai_responses": RESPONSE,
}  # fmt: skip
ODD = [
    None, 0, -1, 3.5, 1e300, 2**70, True, "", " ", "x", [], [None], {}, {"a": 1}, "error", "length", "max_tokens",
    "incomplete", "refusal", "tool_use", "tool_calls", "network_error", [{"type": "text", "text": "y"}],
    [{"type": "output_text", "text": "y"}], [{"type": "refusal", "refusal": "no"}], {"error": "x"}, {"message": "x"},
]  # fmt: skip


def taken_apart(dialect: DialectName, body: bytes) -> tuple[Plain | None, bool]:
    """What the decoder makes of it, and whether it would be passed on as it came; None = it is a failure."""
    if dialect == "openai_chat":
        estimate = Usage(9, 1, estimated=True)
        try:
            whole = read_answer(body, decoder(), estimate=estimate, cap_chars=None, choices=1, plain=True)
        except UpstreamError:
            return None, False
        assert whole.answer is not None
        return Plain(whole.answer.text(), whole.usage, whole.model), whole.body == body
    made = DIALECTS[dialect].decoder(UpstreamError, new_id=lambda p: f"{p}new", now=NOW, model="row", origin="p/m")  # type: ignore[arg-type]
    try:
        answer = fold(made.whole(body))
    except UpstreamError:
        return None, False
    good = answer.finish in {Finish.STOP, Finish.LENGTH} and all(block.seal is None for block in answer.blocks)
    return Plain(answer.text(), made.usage or Usage(), answer.model), good


def changed(body: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The body with one or two members removed, added or of another shape, at any depth."""
    found = copy.deepcopy(body)
    for _ in range(rng.randint(1, 2)):
        places = list(containers(found))
        place = rng.choice(places)
        key = rng.choice([*place] if isinstance(place, dict) else range(len(place))) if place else None
        if key is None or rng.random() < 0.2:
            if isinstance(place, dict):
                word = rng.choice(
                    ["error", "refusal", "tool_calls", "reasoning", "detail", "cached_tokens", "function_call"]
                )
                place[word] = copy.deepcopy(rng.choice(ODD))
            else:
                place.append(copy.deepcopy(rng.choice(ODD)))
        elif rng.random() < 0.3:
            del place[key]
        else:
            place[key] = copy.deepcopy(rng.choice(ODD))
    return found


def containers(value: Any) -> Iterator[Any]:
    """All objects and lists in it."""
    if isinstance(value, dict | list):
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from containers(each)


@pytest.mark.parametrize("dialect", BODIES)
def test_what_is_usual_is_plain(dialect: DialectName) -> None:
    """With its usage in full: else each answer would be taken apart."""
    body = json.dumps(BODIES[dialect], ensure_ascii=False).encode()
    found = DIALECTS[dialect].plain(body)
    assert found == Plain("Hëllo", Usage(9, 4, 3, 0 if dialect == "anthropic_messages" else 1, written_tokens=2), "up")
    assert taken_apart(dialect, body) == (found, True)


@pytest.mark.parametrize("dialect", BODIES)
def test_what_is_odd_is_left_to_the_decoder_or_read_as_it_reads_it(dialect: DialectName) -> None:
    """Of thousands of answers with something wrong in them, none is taken for a better one than it is."""
    rng = random.Random(dialect)
    plain = 0
    for _ in range(4_000):
        body = json.dumps(changed(BODIES[dialect], rng)).encode()
        found = DIALECTS[dialect].plain(body)
        if found is not None:
            plain += 1
            assert (found, True) == taken_apart(dialect, body), body
    assert 100 < plain < 2_500


@pytest.mark.parametrize("dialect", BODIES)
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'{"a":' * 3_000, b"\xff"])
def test_what_cannot_be_read_is_not_plain(dialect: DialectName, body: bytes) -> None:
    """Nor does it raise."""
    assert DIALECTS[dialect].plain(body) is None
    good = json.dumps(BODIES[dialect], ensure_ascii=False).encode()
    assert DIALECTS[dialect].plain(good.replace("ë".encode(), b"\xeb")) is None
    assert DIALECTS[dialect].plain(good[:-1] + b',"more":"\xeb"}') is None
