"""An answer that is kept so that a later request may refer to it.

Owns the value alone. It holds what a caller said and was told, so it is never printed.
"""

from typing import NamedTuple

__all__ = ["KeptResponse"]


class KeptResponse(NamedTuple):
    """One turn of a conversation, as it is remembered.

    `name` is a digest of the router key and the id that its caller saw; `parent` the name of the turn before it, b"" =
    it is the first; `root` that of the first. `holder` is the router key, `conversation` the digest by which the first
    turn was known. `input` are the caller's own items of this turn and `output` those of the answer, as JSON without
    the brackets; `response` is the object that the caller was given, b"" where only its turn is wanted. `until`: it may
    be referred to till then, in epoch seconds.
    """

    name: bytes
    parent: bytes
    root: bytes
    holder: str
    conversation: str
    input: bytes
    output: bytes
    response: bytes
    until: float

    def __repr__(self) -> str:
        return f"<KeptResponse {len(self.input)} + {len(self.output)} + {len(self.response)} bytes>"
