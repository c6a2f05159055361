"""Proof that an id token is the authorisation server's, and was made for the sign-in at hand (facts/codex.md 10).

Owns RS256 and the five claims that count: issuer, audience, expiry, nonce and subject. Only what is public takes part,
so plain integers are safe. It must never fetch a key, nor say more of a token than what is wrong with it.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from hermes_router.core.ids import Secret
from hermes_router.core.lenient import base64url, json_object, jwt_parts, jwt_table

__all__ = ["Faulty", "PublicKey", "check_id_token", "read_keys"]

_PREFIX: Final = bytes.fromhex("3031300d060960864801650304020105000420")  # of a SHA-256 digest (RFC 8017, 9.2)
_LEAST_BITS: Final = 2048
_MOST_BITS: Final = 8192
_LEEWAY_S: Final = 300.0
_HOUR_S: Final = 3600.0


class Faulty(ValueError):
    """What is wrong with an id token, in one sentence. `clock_off_s` is how far our clock is from the issuer's."""

    def __init__(self, message: str, *, clock_off_s: float | None = None) -> None:
        super().__init__(message)
        self.clock_off_s = clock_off_s


class PublicKey(NamedTuple):
    """One RSA key of the issuer's."""

    ident: str
    modulus: int
    exponent: int


def read_keys(body: bytes) -> tuple[PublicKey, ...]:
    """The RSA keys of a JWKS document that may sign; whatever else stands in it is passed over. Never raises."""
    listed = json_object(body).get("keys")
    keys = []
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.get("kty") != "RSA" or one.get("use", "sig") != "sig":
            continue
        modulus, exponent = _integer(one.get("n")), _integer(one.get("e"))
        if _LEAST_BITS <= modulus.bit_length() <= _MOST_BITS and 2 < exponent < 1 << 32:
            keys.append(PublicKey(str(one.get("kid", "")), modulus, exponent))
    return tuple(keys)


def check_id_token(
    token: Secret, keys: Sequence[PublicKey], *, issuer: str, audience: str, nonce: str, now: float
) -> str:
    """The subject of a good token. Raises Faulty.

    `now` in epoch seconds; five minutes of difference between the clocks are forgiven.
    """
    parts = jwt_parts(token.reveal())
    if parts is None:
        raise Faulty("it is no signed token")
    header, claims = jwt_table(parts[0]), jwt_table(parts[1])
    signature = base64url(parts[2])
    if header.get("alg") != "RS256":
        raise Faulty("it is not signed with RS256")
    ident = header.get("kid")
    fitting = [key for key in keys if ident is None or key.ident == ident]
    if not fitting:
        raise Faulty("it is signed with a key that the issuer does not publish")
    signed = f"{parts[0]}.{parts[1]}".encode("ascii", "replace")
    if not any(_is_signed(signed, signature, key) for key in fitting):
        raise Faulty("its signature is wrong")
    return _checked(claims, issuer, audience, nonce, now)


def _checked(claims: Mapping[str, Any], issuer: str, audience: str, nonce: str, now: float) -> str:
    if str(claims.get("iss", "")).rstrip("/") != issuer.rstrip("/"):
        raise Faulty("somebody else issued it")
    named = claims.get("aud")
    named = named if isinstance(named, list) else [named]
    if audience not in named:
        raise Faulty("it was made for another program")
    if len(named) > 1 and claims.get("azp", audience) != audience:
        raise Faulty("it was made for another program")
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode("utf-8", "replace"), nonce.encode()):
        raise Faulty("it was made for another sign-in")
    _check_times(claims, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Faulty("it names nobody")
    return subject


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    """It was made this moment, so one that has expired, or is not valid yet, tells of a clock that is wrong."""
    expires_at, issued_at = claims.get("exp"), claims.get("iat")
    if isinstance(expires_at, bool) or not isinstance(expires_at, (int, float)):
        raise Faulty("it does not say how long it lasts")
    known = isinstance(issued_at, (int, float)) and not isinstance(issued_at, bool)
    off_s = now - issued_at if known and isinstance(issued_at, (int, float)) else None
    if now > expires_at + _LEEWAY_S or (off_s is not None and off_s < -_HOUR_S):
        raise Faulty("it has expired, or is of a time to come", clock_off_s=off_s)


def _is_signed(signed: bytes, signature: bytes, key: PublicKey) -> bool:
    """RSASSA-PKCS1-v1_5 over SHA-256: the whole block is made anew and compared (RFC 8017, 8.2.2)."""
    size = (key.modulus.bit_length() + 7) // 8
    number = int.from_bytes(signature)
    if len(signature) != size or number >= key.modulus:
        return False
    digest = _PREFIX + hashlib.sha256(signed).digest()
    wanted = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    return hmac.compare_digest(pow(number, key.exponent, key.modulus).to_bytes(size), wanted)


def _integer(value: object) -> int:
    return int.from_bytes(base64url(value)) if isinstance(value, str) and len(value) < 3000 else 0
