"""What the transport's tests ask, and of whom."""

import asyncio
import contextlib
import ssl

from hermes_router.core.ports import Outbound
from hermes_router.upstream.fetch import fetch
from hermes_router.upstream.http import HttpTransport

CLOSE, RESET, HANG = "close", "reset", "hang"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"


def post(url, body=b"{}", connect_timeout_s=5.0, **headers):
    return Outbound("POST", url, {"authorization": "Bearer s3cret", **headers}, body, connect_timeout_s)


@contextlib.asynccontextmanager
async def both(server, **options):
    """A transport and a started server, both closed afterwards."""
    transport = HttpTransport(asyncio.get_running_loop(), **options)
    try:
        yield transport
    finally:
        await transport.close()
        await server.stop()


async def ask(transport, url, **kwargs):
    return await fetch(transport, post(url, **kwargs), timeout_s=5)


def contexts(certificate):
    """Ours, which trusts the server's certificate, and the server's."""
    ours = ssl.create_default_context(cafile=certificate[0])
    ours.set_alpn_protocols(["http/1.1"])
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(*certificate)
    theirs.set_alpn_protocols(["h2", "http/1.1"])
    return ours, theirs
