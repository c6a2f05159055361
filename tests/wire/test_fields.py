"""What is wrong with a body or a field of it is said in plain words, with the path; nothing else is raised."""

from typing import Any

import msgspec
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.wire import fields


class Named(msgspec.Struct):
    """Something that has a name."""

    name: str


DECODE = msgspec.json.Decoder(dict[str, Raw]).decode


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[1]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
        (b'{"a": ', "not valid JSON"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_body_that_is_no_object_is_named(body: bytes, said: str) -> None:
    """400, and never more."""
    with pytest.raises(BadRequest, match=said):
        fields.read_body(body, DECODE)


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        (fields.string, b"1", "x must be a string"),
        (fields.boolean, b"1", "x must be true or false"),
        (fields.number, b"true", "x must be a number"),
        (lambda f, n: fields.integer(f, n, 1, 9), b'"3"', "x must be an integer"),
        (lambda f, n: fields.integer(f, n, 1, 9), b"true", "x must be an integer"),
        (lambda f, n: fields.integer(f, n, 1, 9), b"2.5", "x must be an integer"),
        (lambda f, n: fields.integer(f, n, 1, 9), b"0", "x must be at least 1"),
        (lambda f, n: fields.typed(f, n, dict, "an object"), b"[]", "x must be an object"),
        (fields.given, b"[" * 100_000 + b"]" * 100_000, "x is nested too deeply"),
        (fields.given, b"{", "x cannot be read"),
    ],
)
def test_a_wrong_type_is_named(read: Any, value: bytes, said: str) -> None:
    """With the field as `param`."""
    with pytest.raises(BadRequest, match=said) as raised:
        read({"x": Raw(value)}, "x")
    assert raised.value.param == "x"


def test_what_is_right_is_read() -> None:
    """Null is as good as absent; 3.0 is a whole number; one too large counts as the largest."""
    given = {
        name: Raw(value) for name, value in {"a": b"null", "b": b"3.0", "c": b"12", "d": b"true", "e": b'"t"'}.items()
    }
    assert [fields.given(given, name) for name in ("a", "z", "e")] == [None, None, "t"]
    assert [fields.integer(given, name, 1, 9) for name in ("a", "b", "c")] == [None, 3, 9]
    assert (fields.boolean(given, "d"), fields.string(given, "e"), fields.number(given, "c")) == (True, "t", 12)


@examples(st.text(max_size=300), st.integers(1, 60))
def test_escapes_are_counted_about_right(text: str, times: int) -> None:
    """Exactly in a short text, by samples in a long one."""
    raw = Raw(b'"' + b"".join(b"\\u%04x" % (ord(c) % 0x8000) for c in text) * times + b'"')
    found = fields.escaped_bytes(raw)
    assert 0 <= found <= len(raw) * 7 // 12 + 7
    if len(raw) <= 4_608:
        assert found == len(text) * times * 7 // 2


@pytest.mark.parametrize(
    ("wanted", "text", "path", "what"),
    [
        (list[str], b"5", "x", "a list"),
        (list[str], b'["a", 5]', "x[1]", "a string"),
        (list[dict[str, bool]], b'[{"a": 5}]', "x[0]", "true or false"),
        (list[Named], b'[{"name": "a"}, {}]', "x[1].name", "a string"),
        (list[Named], b'[{"name": 5}]', "x[0].name", "a string"),
        (list[Named | None], b'["a"]', "x[0]", "an object"),
        (list[int], b'["a"]', "x[0]", "of another type"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(wanted: Any, text: bytes, path: str, what: str) -> None:
    """The place within the field, and what belongs there, in our words; keys that msgspec hides end the path."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(text, type=wanted)
    error = fields.misfit(caught.value, "x")
    assert (error.param, error.message) == (path, f"{path} must be {what}")
