"""A long body taken apart in one pass: whatever comes out is what reading it the long way gives."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench import bodies
from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat import body_split
from hermes_router.wire.chat import request as openai_chat
from hermes_router.wire.chat.body_split import split_body
from hermes_router.wire.chat.request import parse_request
from hermes_router.wire.chat.seen_tools import see_tools
from hermes_router.wire.chat.traits import decode_messages

USER = {"role": "user", "content": "hi"}
TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": {"anyOf": [{"a": 1}], "role": {"type": "string"}}}}
]
PARTS = {"content": [{"type": "text", "text": "a"}], "role": "user", "name": "n"}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"tools":[{}],"messages":[]}'}}
HISTORY = [
    {"role": "system", "content": 'x "messages": [{}], "model": "y"'},
    {"role": "assistant", "tool_calls": [CALL], "content": None},
    {"role": "tool", "tool_call_id": "a", "content": '}],"tools":[{}]}'},
]
LONG = {"role": "user", "content": "x" * 10_000}


@pytest.fixture(autouse=True, scope="module")
def any_length() -> Iterator[None]:
    """Short bodies are split too, and the tools of these tests are known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_split, "_LONG", 0)
        for made in (json.dumps(TOOLS), json.dumps(TOOLS, separators=(",", ":"))):
            see_tools(msgspec.Raw(made.encode()), 1)
        yield


def long_way(body: bytes) -> dict[str, bytes]:
    return {key: bytes(raw) for key, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}


def check(body: bytes) -> bool:
    """Compare both ways; tell whether the short one was taken."""
    fields = split_body(body)
    if fields is None:
        return False
    expected = long_way(body)
    assert list(fields) == list(expected)
    assert {key: bytes(raw) for key, raw in fields.items()} == expected
    assert fields.messages == decode_messages(msgspec.Raw(expected["messages"]))
    return True


@pytest.mark.parametrize("style", [{}, {"separators": (",", ":")}, {"indent": 2}, {"sort_keys": True}], ids=str)
@pytest.mark.parametrize("messages", [[USER], [PARTS], HISTORY, [*HISTORY, PARTS], [{**USER, "refusal": None}]])
@pytest.mark.parametrize("order", ["mt", "tm", "m", "mtx", "xtm", "xmt", "tmx", "xm", "mx"])
def test_bodies_as_clients_write_them_take_the_short_way(
    order: str, messages: list[Any], style: dict[str, Any]
) -> None:
    """Messages first, last or between, with tools or without, in every spelling of JSON's white space."""
    fields: dict[str, Any] = {}
    known: dict[str, dict[str, Any]] = {
        "m": {"messages": messages},
        "t": {"tools": TOOLS},
        "x": {"model": "m", "x_y": {"a": [1]}, "stop": ["a"]},
    }
    for kind in order:
        fields |= known[kind]
    assert check(json.dumps(fields, **style).encode())


def test_the_measured_body_takes_the_short_way() -> None:
    """The agent's body of the bench, whose tools are known from the second time on."""
    body = bodies.agent()
    parse_request(body, {})
    assert check(body)


def test_short_bodies_take_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The searches cost more than a second pass over a little."""
    monkeypatch.setattr(body_split, "_LONG", 8_192)
    assert not check(json.dumps({"messages": [USER]}).encode())
    assert check(json.dumps({"messages": [USER, LONG]}).encode())


WRONG = [
    b'{"messages":[{"role":"user","content":"x"}],"messages":[{"role":"user","content":"y"}]}',
    b'{"messages":[{"role":"user","content":"x"}],"\\u006dessages":[]}',
    b'{"messages":[{"role":"user","content":"x"}],"messages":"\x7fmessages"}',
    b'{"a":{"messages":[{"role":"user","content":"x"}]}}',
    b'{"a":{"messages":[{"role":"user","content":"x"}]},"messages":"\x7fmessages"}',
    b'{"a":"\\"messages":[{"role":"user","content":"x"}],"messages":"\x7fmessages"}',
    b'{"messages":[{"role":"user","content":"x"}]} x',
    b'{"messages":[{"role":"user","content":"x"}],"x":[1,]}',
    b'{"messages":[{"role":"user","content":"x",}],"x":1}',
    b'{"messages":[{"role":"user","content":"\x01"}],"x":1}',
    b'{"messages":[{"role":"user","content":"x"}],"x":{"role":"user","a":[{}],"b":1}}',
    b'{"messages":[{"role":"user","content":"x"},5]}',
    b'{"messages":["x"],"role":"user","y":[{}],"z":1}',
    b'{"messages":[], "messages":{"role":"user","y":[{}]}}',
    b'{"messages":[{"role":"user","content":"x"}]',
    b'["messages":[{"role":"user","content":"x"}]]',
    b'{"messages" [{"role":"user"}]}',
    b'{"messages":',
    b'{"messages": "x", "role":"user"}',
    b"",
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG)
def test_whatever_is_not_proven_takes_the_long_way(body: bytes) -> None:
    """Equal keys, the same words elsewhere, our own stand-ins in a body, bad JSON at any place."""
    assert split_body(body) is None


@pytest.mark.parametrize(
    "tail", [b"", b',"tools":[]', b',"x":{"tools":%b}', b',"tools":%b,"tools":[]', b',"tools":%b]']
)
def test_tools_are_cut_out_only_where_they_are_the_field(tail: bytes) -> None:
    """Known tools in another place than the one field of that name: decoded the long way, or refused."""
    known = json.dumps(TOOLS).encode()
    body = b'{"messages":[{"role":"user","content":"x"}]' + tail.replace(b"%b", known) + b"}"
    try:
        expected = long_way(body)
    except msgspec.DecodeError:
        assert split_body(body) is None
    else:
        fields = split_body(body)
        assert fields is None or {key: bytes(raw) for key, raw in fields.items()} == expected


_text = st.sampled_from(
    ["", "x", '"', "\\", '}],"', '"messages":[{', '"role":"user"', "[{}]", "\x7f", "\x7fmessages", "}]}", "ü\u2028"]
)
_any = st.recursive(
    st.none() | st.integers(0, 9) | _text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "messages", "tools", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "king"]), "content": _text | _any},
    optional={"name": _text, "tool_calls": st.just([CALL]), "tool_call_id": _text, "x": _any, "audio": _any},
)
_key = st.sampled_from(["messages", "tools", "model", "x", "metadata", "reasoning", "audio", '"messages'])
_field = st.tuples(_key, _any) | st.tuples(st.just("messages"), st.lists(_message, min_size=1, max_size=3))
_fields = st.lists(_field | st.just(("tools", TOOLS)), max_size=5)


@given(fields=_fields, compact=st.booleans(), cut=st.integers(0, 400), junk=st.sampled_from([b"", b"]", b"\x7f", b'"']))
@example(fields=[("x", '"messages'), ("messages", [USER])], compact=True, cut=0, junk=b"")
def test_both_ways_give_the_same_request_or_the_same_refusal(
    fields: list[tuple[str, Any]], compact: bool, cut: int, junk: bytes
) -> None:
    """Any order, equal keys, the words of the guess in any text, and bytes gone or added anywhere."""
    dumped = (json.dumps(value, separators=(",", ":") if compact else None) for _, value in fields)
    joined = (",{}:{}" if compact else ", {}: {}") * len(fields)
    pairs = [part for (key, _), value in zip(fields, dumped, strict=True) for part in (json.dumps(key), value)]
    body = ("{" + joined.format(*pairs).lstrip(", ") + "}").encode()
    if junk:
        body = body[: cut % (len(body) + 1)] + junk + body[cut % (len(body) + 1) + 1 :]

    def parsed() -> object:
        try:
            inbound = parse_request(body, {})
        except BadRequest as error:
            return error.message, error.param
        return inbound.request, {key: bytes(raw) for key, raw in inbound.fields.items()}, inbound.traits

    with pytest.MonkeyPatch.context() as patch:
        short = parsed()
        patch.setattr(openai_chat, "split_body", lambda _: None)
        assert short == parsed()
