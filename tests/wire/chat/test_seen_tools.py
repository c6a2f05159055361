"""Tools that were looked at lately are known again by their bytes."""

import re

from msgspec import Raw

from hermes_router.wire.chat.seen_tools import see_tools, seen_tools, tools_at


def raw(number: int, size: int = 0) -> Raw:
    return Raw(b'[{"seen":%d,"x":"%b"}]' % (number, b"x" * size))


def test_seen_tools_are_known_by_their_bytes() -> None:
    """An equal list is the same one, with its count; another is not known."""
    see_tools(raw(1), 1)
    known = seen_tools(raw(1))
    assert known is not None
    assert known.count == 1
    assert seen_tools(raw(1)) is known
    assert seen_tools(raw(2)) is None


def test_a_pattern_is_searched_once() -> None:
    """What a look has found stays: found or not."""
    see_tools(raw(3), 1)
    known = seen_tools(raw(3))
    assert known is not None
    for _ in range(2):
        assert known.match(re.compile(rb'"seen"'))
        assert not known.match(re.compile(rb'"strict"'))


def test_known_tools_are_found_at_their_place_in_a_body() -> None:
    """From that byte on, and nowhere else."""
    see_tools(raw(4), 1)
    body = b'{"tools":' + bytes(raw(4)) + b"}"
    assert tools_at(body, 9) == raw(4)
    assert tools_at(body, 8) is None


def test_memory_is_bounded() -> None:
    """Sixteen lists, the latest used; what is longer than 256 KB is never kept."""
    see_tools(raw(5), 1)
    for number in range(100, 115):
        see_tools(raw(number), 1)
    assert seen_tools(raw(5)) is not None
    see_tools(raw(115), 1)
    assert seen_tools(raw(5)) is not None
    assert seen_tools(raw(100)) is None
    see_tools(raw(6, 300_000), 1)
    assert seen_tools(raw(6, 300_000)) is None
