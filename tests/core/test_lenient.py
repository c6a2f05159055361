"""hermes_router/core/lenient.py: what others wrote is read, or is empty, and nothing is raised."""

import pytest

from hermes_router.core.lenient import base64url, json_object, jwt_parts, jwt_table


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b"null", b"5", b'{"a"', b"\xff\xfe", b"[" * 9_000])
def test_what_is_no_object_is_empty(data: bytes) -> None:
    """Garbage, another kind of value, and nesting without end."""
    assert json_object(data) == {}
    assert json_object(b'{"a": 1}') == {"a": 1}


def test_base64url_needs_no_padding() -> None:
    """The alphabet of URLs, with and without what fills it up; anything else is empty."""
    assert base64url("-_8") == b"\xfb\xff"
    assert base64url("") == base64url("é") == base64url("a") == base64url("a!bc") == b""


def test_a_token_is_three_parts() -> None:
    """As they stand, whatever they hold; fewer, more, or 64 KB and over are no token."""
    assert jwt_parts("a..c") == ("a", "", "c")
    assert jwt_parts("a.b") is jwt_parts("a.b.c.d") is jwt_parts(f"a.{'b' * 70_000}.c") is None


def test_a_part_says_what_it_holds() -> None:
    """An object in base64url; anything else says nothing."""
    assert jwt_table("eyJhIjoxfQ") == {"a": 1}
    assert jwt_table("bnVsbA") == jwt_table("!") == {}
