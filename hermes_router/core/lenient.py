"""What others wrote, read without ever raising: JSON objects, base64url, and the parts of a JWT.

Owns the reading alone; whatever cannot be read is empty. It must never judge what it reads, nor check a signature.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["base64url", "json_object", "jwt_parts", "jwt_table"]

_LARGEST: Final = 64 * 1024  # no token is that long


def json_object(data: bytes) -> Mapping[str, Any]:
    """A JSON object; empty for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def base64url(text: str) -> bytes:
    """The bytes of unpadded base64url; empty for anything else."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def jwt_parts(token: str) -> tuple[str, str, str] | None:
    """Header, claims and signature of a JWT as they stand in it; None where it is none, or of no credible length."""
    parts = token.split(".")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and len(token) <= _LARGEST else None


def jwt_table(part: str) -> Mapping[str, Any]:
    """What the header or the claims of a JWT say."""
    return json_object(base64url(part))
