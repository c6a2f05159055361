"""Images by their addresses, found and replaced in requests of each dialect."""

import json
from typing import Any

import pytest

from hermes_router.core.images import Picture
from hermes_router.wire.chat.request import parse_request as chat
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.inlining import Link, inlined, links, own_bytes
from hermes_router.wire.messages.request import parse_request as messages
from hermes_router.wire.responses.request import parse_fields as responses_behind
from hermes_router.wire.responses.request import parse_request as responses
from hermes_router.wire.responses.turn import Past

A, B, INLINE = "https://x.test/a.png", "http://x.test/b", "data:image/gif;base64,R0lG"
PICTURES = {A: Picture("image/png", "AAAA"), B: Picture("image/webp", "BBBB")}
A_DATA, B_DATA = "data:image/png;base64,AAAA", "data:image/webp;base64,BBBB"


def of_chat(*talk: Any) -> Inbound:
    return chat(json.dumps({"model": "m", "messages": list(talk)}).encode(), {})


def of_messages(*talk: Any) -> Inbound:
    return messages(json.dumps({"model": "m", "max_tokens": 9, "messages": list(talk)}).encode(), {})


def of_responses(*items: Any) -> Inbound:
    return responses(json.dumps({"model": "m", "input": list(items)}).encode(), {})


def value(inbound: Inbound, key: str) -> Any:
    return json.loads(bytes(inbound.fields[key]))


def test_chat() -> None:
    """Also in the result of a tool and in the short form; `detail` and keys that we do not know stay."""
    part = {"type": "image_url", "image_url": {"url": A, "detail": "low"}, "cache_control": {"type": "ephemeral"}}
    short = {"type": "image_url", "image_url": B}
    own = {"type": "image_url", "image_url": {"url": INLINE}}
    text = {"type": "text", "text": "an image_url"}
    inbound = of_chat(
        {"role": "user", "content": "image_url"},
        {"role": "user", "content": [text, own, part]},
        {"role": "tool", "tool_call_id": "c", "content": [short]},
    )
    assert links(inbound) == [
        Link(A, "messages[1].content[2].image_url.url"),
        Link(B, "messages[2].content[0].image_url.url"),
    ]
    assert value(inlined(inbound, PICTURES), "messages") == [
        {"role": "user", "content": "image_url"},
        {"role": "user", "content": [text, own, {**part, "image_url": {"url": A_DATA, "detail": "low"}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "image_url", "image_url": {"url": B_DATA}}]},
    ]


def test_messages() -> None:
    """Also in the result of a tool and in a document; marks stay."""

    def image(url: str) -> dict[str, Any]:
        return {"type": "image", "source": {"type": "url", "url": url}, "cache_control": {"type": "ephemeral"}}

    def own(kind: str, data: str) -> dict[str, Any]:
        return {**image(""), "source": {"type": "base64", "media_type": kind, "data": data}}

    def talk(one: Any, other: Any) -> list[Any]:
        use = {"type": "tool_use", "id": "t", "name": "n", "input": {"image": A}}
        result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": A}, one]}
        document = {"type": "document", "source": {"type": "content", "content": [other]}}
        return [
            {"role": "user", "content": [one, own("image/gif", "R0lG")]},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result, document, {"type": "document", "source": {"type": "url", "url": B}}]},
        ]

    inbound = of_messages(*talk(image(A), image(B)))
    assert links(inbound) == [
        Link(A, "messages[0].content[0].source.url"),
        Link(A, "messages[2].content[0].content[1].source.url"),
        Link(B, "messages[2].content[1].source.content[0].source.url"),
    ]
    wanted = talk(own("image/png", "AAAA"), own("image/webp", "BBBB"))
    assert value(inlined(inbound, PICTURES), "messages") == wanted


def test_responses() -> None:
    """Also in the output of a call; an input that is a text holds no image."""

    def items(one: str, other: str) -> list[Any]:
        call = {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}
        parts = [{"type": "input_text", "text": A}, {"type": "input_image", "image_url": one, "detail": "high"}]
        output = {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_image", "image_url": other}],
        }
        return [{"role": "user", "content": parts}, call, output]

    inbound = of_responses(*items(A, B))
    assert links(inbound) == [Link(A, "input[0].content[1].image_url"), Link(B, "input[2].output[0].image_url")]
    assert value(inlined(inbound, PICTURES), "input") == items(A_DATA, B_DATA)
    assert links(responses(json.dumps({"model": "m", "input": f"image {A}"}).encode(), {})) == []


def test_what_was_sent_earlier_is_not_counted() -> None:
    """Behind a response that is remembered, the caller's own items begin at 0."""

    def item(url: str) -> dict[str, Any]:
        return {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": url}]}

    past = Past("resp_1", [json.dumps(item(A)).encode(), b'{"role":"assistant","content":"ok"}'], "digest")
    fields = responses(json.dumps({"model": "m", "input": [item(B)]}).encode(), {}).fields
    inbound = responses_behind({**fields, "previous_response_id": fields["model"]}, {}, past)
    assert links(inbound) == [Link(A, "previous_response_id"), Link(B, "input[0].content[0].image_url")]
    found = value(inlined(inbound, PICTURES), "input")
    assert (found[0], found[2]) == (item(A_DATA), item(B_DATA))


def test_earlier_turns_take_no_room_of_what_is_sent_now() -> None:
    """However long they are; the caller's own fields count whole."""
    link = b'{"role":"user","content":[{"type":"input_image","image_url":"%b"}]}' % A.encode()
    alone = responses(b'{"model":"m","input":[%b]}' % link, {})
    assert own_bytes(alone) == sum(map(len, alone.fields.values())) == 3 + 2 + len(link)
    past = Past("resp_1", [b'{"role":"user","content":"%b"}' % (b"x" * 100_000)] * 3, "digest")
    behind = responses_behind({**alone.fields, "previous_response_id": alone.fields["model"]}, {}, past)
    assert len(behind.fields["input"]) > 300_000
    assert own_bytes(alone) <= own_bytes(behind) <= own_bytes(alone) + 3  # the commas


def test_whatever_holds_no_image_stays_as_it_came() -> None:
    """Byte for byte, spaces and odd numbers and all, and the other fields with it; the request as it came is untouched."""
    first = b'{ "role":"user",  "content":"1.50 \\u00fc",  "n": 1e2 }'
    second = b'{"role":"user","content":[{"type":"image_url","image_url":{"url":"%s"}}]}' % A.encode()
    inbound = chat(b'{"model":"m", "x": 1.0, "messages":[' + first + b", " + second + b"]}", {})
    before = dict(inbound.fields)
    found = inlined(inbound, PICTURES)
    assert bytes(found.fields["messages"]) == b"[" + first + b"," + second.replace(A.encode(), A_DATA.encode()) + b"]"
    assert bytes(found.fields["x"]) == b"1.0"
    assert dict(inbound.fields) == before
    assert (inbound.request.image_urls, found.request.image_urls) == (1, 0)


@pytest.mark.parametrize("spelled", ["im\\u0061ge_url", "image\\u005furl"])
def test_a_name_spelled_with_an_escape_is_found(spelled: str) -> None:
    """JSON lets a caller do that."""
    part = f'{{"type":"{spelled}","{spelled}":{{"url":"{A}"}}}}'
    inbound = chat(f'{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}'.encode(), {})
    assert [link.url for link in links(inbound)] == [A]
