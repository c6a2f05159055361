"""hermes_router/core/ports.py: what stands in the values that cross the ports."""

from hermes_router.core.ports import Outbound


def test_a_request_as_it_leaves_tells_neither_headers_nor_body() -> None:
    """A secret in a header or a body is in no repr, so in no log that shows one."""
    outbound = Outbound("POST", "https://api.example/v1/chat/completions", {"authorization": "Bearer gsk_1"}, b"gsk_2")
    assert repr(outbound) == str(outbound) == "Outbound(POST https://api.example/v1/chat/completions)"
