"""The shapes of `/embeddings`: what is refused by its path, what goes out, and which vectors are taken for ones."""

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from openai.types import CreateEmbeddingResponse

from hermes_router.core.errors import BadRequest, Malformed, ServerFailed
from hermes_router.wire.embeddings import compose, parse_request, read_answer, recoded, render


def ask(**fields: Any) -> bytes:
    return json.dumps({"model": "hermes-router", **fields}).encode()


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def answer(*vectors: Any, **more: Any) -> bytes:
    data = [{"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(vectors)]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return json.dumps({"object": "list", "data": data, "model": "m", "usage": usage, **more}).encode()


def read(body: bytes, number: int) -> Any:
    return read_answer(body, number, lambda error: ServerFailed(str(error)))


def vectors(body: bytes, number: int, *, base64: bool = False) -> list[Any]:
    found = recoded(read(body, number).vectors, base64=base64)
    return [(json.loads(bytes(row)), size) for row, size in found]


# --- the request ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "count", "tokens", "single"),
    [
        ("a", 1, False, True),
        (["a", "b"], 2, False, False),
        ([1, 2, 3], 1, True, True),
        ([[1, 2], [3]], 2, True, False),
        (["x"] * 2_048, 2_048, False, False),
        ([1] * 5_000, 1, True, True),
    ],
)
def test_the_four_forms_of_an_input(given, count, tokens, single) -> None:
    """A text, texts, tokens, lists of tokens: each is told from the others."""
    asked = parse_request(ask(input=given))
    assert (len(asked.inputs), asked.tokens, asked.single) == (count, tokens, single)
    assert len(asked.sizes) == count
    assert all(size > 0 for size in asked.sizes)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": True}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": [1, "a"]}, "input[1]"),
        ({"input": [None]}, "input[0]"),
        ({"input": [{"a": 1}]}, "input[0]"),
        ({"input": ["a", [1]]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": [[1], ["a"]]}, "input[1]"),
        ({"input": [1.5]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [[1], [2**80]]}, "input[1]"),
        ({"input": ["x"] * 2_049}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": -3}, "dimensions"),
        ({"input": "a", "dimensions": "3"}, "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions"),
        ({"input": "a", "dimensions": 2.5}, "dimensions"),
        ({"input": "a", "encoding_format": "md5"}, "encoding_format"),
        ({"input": "a", "encoding_format": 1}, "encoding_format"),
        ({"input": "a", "model": 1}, "model"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(fields, param) -> None:
    """Whatever it is, it is a BadRequest that names the field."""
    with pytest.raises(BadRequest) as caught:
        parse_request(ask(**fields))
    assert caught.value.param == param


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_no_input_breaks_the_parser(value) -> None:
    """Whatever JSON holds is parsed or refused, and what is parsed is not empty."""
    try:
        asked = parse_request(ask(input=value))
    except BadRequest:
        return
    assert asked.inputs


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"input": "\xff"}', b'{"input":"a\\ud800b"}'])
def test_no_body_breaks_the_parser(body) -> None:
    """What is no JSON object of ours is the caller's mistake; a lone surrogate is JSON all the same."""
    try:
        parse_request(body)
    except BadRequest:
        return
    assert b"ud800" in body


def test_escapes_count_as_the_characters_that_they_are() -> None:
    """A text that was escaped by its sender is about as long as one that was not."""
    text = "häuser am see " * 40
    plain = parse_request(json.dumps({"input": text}, ensure_ascii=False).encode()).sizes[0]
    assert parse_request(json.dumps({"input": text}).encode()).sizes[0] == pytest.approx(plain, rel=0.1)


def test_a_body_for_some_of_the_inputs() -> None:
    """The model is the target's own, the inputs are those of the call as they came; what is unknown passes on."""
    asked = parse_request(
        ask(input=["a", "b", "c"], dimensions=8, user="u", input_type="query", encoding_format="base64")
    )
    body, dropped = compose(asked, slice(1, 3), model="vec", own_size=False)
    assert json.loads(body) == {
        "model": "vec", "input": ["b", "c"], "dimensions": 8, "user": "u", "input_type": "query",
        "encoding_format": "base64",
    }  # fmt: skip
    assert dropped == []


def test_null_says_nothing_and_goes_to_no_provider() -> None:
    """Strict ones refuse it, and SDKs send it for what was not set."""
    asked = parse_request(ask(input="a", dimensions=None, user=None, encoding_format=None))
    sent, dropped = compose(asked, slice(0, 1), model="m", own_size=False)
    assert (json.loads(sent), dropped) == ({"model": "m", "input": "a"}, [])


def test_what_a_model_refuses_is_left_out_but_for_what_makes_the_vector() -> None:
    """`user` is dropped and named; `dimensions` never is, unless it is the model's own length by another word."""
    asked = parse_request(ask(input="a", dimensions=8, user="u"))
    body, dropped = compose(asked, slice(0, 1), model="vec", own_size=False, without=frozenset({"user", "dimensions"}))
    assert (json.loads(body), dropped) == ({"model": "vec", "input": "a", "dimensions": 8}, ["user"])
    body, dropped = compose(asked, slice(0, 1), model="vec", own_size=True)
    assert (json.loads(body), dropped) == ({"model": "vec", "input": "a", "user": "u"}, [])


@pytest.mark.parametrize("given", ["a", ["a"], [1, 2], [[1, 2]]])
def test_the_form_of_an_input_stays(given) -> None:
    """A list of one is a list, and one list of tokens is one input."""
    body, _ = compose(parse_request(ask(input=given)), slice(0, 1), model="vec", own_size=False)
    assert json.loads(body)["input"] == given


# --- the answer -----------------------------------------------------------------------------------------------


def test_both_encodings_both_ways() -> None:
    """The numbers are the same, to the last bit of float32, whatever was asked for and whatever came."""
    numbers = [0.5, -0.25, struct.unpack("<f", struct.pack("<f", 0.1))[0]]
    for given_ in (numbers, packed(*numbers)):
        assert vectors(answer(given_), 1) == [(numbers, 3)]
        assert vectors(answer(given_), 1, base64=True) == [(packed(*numbers), 3)]


def test_floats_stay_as_they_came() -> None:
    """What needs no other encoding is not written anew: not a digit is lost."""
    body = b'{"data":[{"embedding":[1.00, -2e-3,0.12345678901234567890]}]}'
    [(row, size)] = list(recoded(read(body, 1).vectors, base64=False))
    assert (bytes(row), size) == (b"[1.00, -2e-3,0.12345678901234567890]", 3)


def test_vectors_come_in_the_order_of_their_inputs() -> None:
    """`index` decides, where there is one."""
    body = json.dumps({"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]}).encode()
    assert vectors(body, 2) == [([1], 1), ([2], 1)]
    body = json.dumps({"data": [{"embedding": [2]}, {"embedding": [1]}]}).encode()
    assert vectors(body, 2) == [([2], 1), ([1], 1)]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"data":null}', b'{"data":{}}', b"\xff",
        answer([1.0]), answer([1.0], [1.0], [1.0]), answer([], [1.0]), answer("", [1.0]), answer(None, [1.0]),
        answer("a", [1.0]), answer("AAAAA===", [1.0]), answer([None], [1.0]), answer(["1"], [1.0]), answer([[1.0]], [1.0]),
        answer({"a": 1}, [1.0]), answer(packed(math.nan), [1.0]), answer(packed(1.0, math.inf), [1.0]),
        answer(packed(math.inf, -math.inf), [1.0]), answer(7, [1.0]), answer(True, [1.0]),
        b'{"data":[{"embedding":[NaN]},{"embedding":[1]}]}', b'{"data":[{"embedding":[1e999]},{"embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}',
        b'{"data":[{"index":1,"embedding":[1]},{"index":2,"embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":[1]},{"embedding":[1]}]}',
        b'{"data":[{"embedding":[1,]},{"embedding":[1]}]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_what_is_no_answer_to_two_inputs(body, encoding) -> None:
    """Malformed, and of the model alone: chat at the same provider may be in order."""
    with pytest.raises(Malformed) as caught:
        vectors(body, 2, base64=encoding == "base64")
    assert caught.value.scope == "model"


def test_a_number_beyond_float32_is_none() -> None:
    """It would be infinite in base64."""
    with pytest.raises(Malformed):
        vectors(answer([1e300]), 1, base64=True)


def test_an_error_object_in_a_200_is_that_error() -> None:
    """The row's family says which."""
    with pytest.raises(ServerFailed):
        read(b'{"error":{"message":"boom"}}', 1)


@given(st.binary(max_size=200))
def test_garbage_is_malformed_and_nothing_else(body) -> None:
    """Whatever comes, it is a failure of the provider's."""
    with pytest.raises((Malformed, ServerFailed)):
        vectors(body, 1)


def test_usage_as_far_as_it_is_told() -> None:
    """Each number for itself; what is absent, negative or null is not told."""
    assert read(answer([1.0]), 1)[1:] == ("m", 3, 3)
    assert read(answer([1.0], usage=None, model=None), 1)[1:] == (None, None, None)
    assert read(answer([1.0], usage={"total_tokens": 4}), 1)[2:] == (4, 4)
    assert read(answer([1.0], usage={"prompt_tokens": -4}), 1)[2:] == (None, None)


def test_the_answer_is_the_sdks() -> None:
    """The official SDK's own type; base64 it decodes before it looks."""
    body = render([Raw(b"[0.5]"), Raw(b"[1,2]")], model="m", prompt_tokens=3, total_tokens=4)
    parsed = CreateEmbeddingResponse.model_validate_json(body)
    assert [row.index for row in parsed.data] == [0, 1]
    assert parsed.data[0].embedding == [0.5]
    assert (parsed.model, parsed.object, parsed.usage.prompt_tokens, parsed.usage.total_tokens) == ("m", "list", 3, 4)
