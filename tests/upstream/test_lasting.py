"""hermes_router/upstream/lasting.py: what is made of headers goes with them, and says what they say."""

from msgspec.structs import replace

from hermes_router.upstream.fetch import fetch
from hermes_router.upstream.lasting import LastingHeaders

from .asks import OK, ask, both, post


def test_what_is_made_is_known_by_method_and_url_and_bounded() -> None:
    """A target is asked at one address or two; whatever asks at more costs no memory without an end."""
    headers = LastingHeaders({"authorization": "Bearer s3cret"})
    headers.keep("POST", "http://a/1", "one")
    assert headers == {"authorization": "Bearer s3cret"}
    assert headers.made("POST", "http://a/1") == "one"
    assert headers.made("POST", "http://a/2") is None
    assert headers.made("GET", "http://a/1") is None
    for number in range(100):
        headers.keep("POST", f"http://a/{number}", number)
    assert headers.made("POST", "http://a/99") == 99
    assert len(headers._made) <= 8


def test_a_kept_head_is_the_one_that_is_written_anew(run, upstream) -> None:
    """To each address with each body: the same bytes as without, and no secret in what is kept as it is shown."""

    async def scenario() -> None:
        server = await upstream(*[OK] * 9).start()
        lasting = LastingHeaders(post("").headers)
        asked = [("/a", b"{}"), ("/a", b'{"n":1}'), ("/b", b""), ("/a", b"x" * 70_000)]
        async with both(server) as transport:
            for path, body in asked:
                await ask(transport, server.url(path), body=body)
            for path, body in asked:
                await _send(transport, replace(post(server.url(path), body=body), headers=lasting))
            made = lasting.made("POST", server.url("/a"))
            assert made.transport is transport
            assert "s3cret" not in repr(made)
            assert b"s3cret" in made.head
            async with both(await upstream(OK).start()) as other:  # its pools are its own
                await _send(other, replace(post(server.url("/a")), headers=lasting))
                assert lasting.made("POST", server.url("/a")).transport is other
        assert server.requests[4:8] == server.requests[:4]
        assert server.requests[8].endswith(b"content-length: 2\r\n\r\n{}")

    run(scenario)


async def _send(transport, request) -> None:
    assert (await fetch(transport, request, timeout_s=5)).body == b"ok"
