"""Signed tokens for tests: one RSA key that opens nothing anywhere, and RS256 in plain integers."""

import base64
import hashlib
import json
from typing import Any

N = int(
    "ba8e5e8f15ea08ae3306735f64a5e1ad60398640940cba91935437f41c6a5e09a43406a58bc0bbecf334428b7745c5b606ac"
    "93fdb1702eb132746af81f107a1076931d0a24f4c3cba066e973866aa25745696008b66548b6bfe52412c5893e9c8d70a64d"
    "816d9f4f7d21450babe16ca5cce862adc9b959a317d82795c2ee9828be228990630174c7a1b656ef780d4d4ebb902f99b6fc"
    "4865aaf8291bd5d5270415bc5a7e6a3d7d53ce4a7036a78c653085b205e4c4d0acecc8ff0e819e3dbc2c5fae2b5057a33c93"
    "3fe339a2ebd7bc489d6096f72b32073d7947c505230b8ddb901b9e32b1b4251ec74cc507e422f67383a574212bfb84e1517d"
    "cd6d6485b391",
    16,
)
E = 65_537
_D = int(
    "20b5952543db9ead82634b67caa31e1452c68b4037e51a722b518d24f7357c2af7182b212c057d3db0afb54a343daeca7955"
    "997615fe1c25b3f9bf06a595b33d3f391092a683a6efc53e3e08e424beb58c054b92037ef3369da33cc5b0ce5d44c034e3e7"
    "bb7d7fbd056cc7a921f81a9f6073cf5776c2d1915bbd29c5a3a1c75a3268eb7deb959f493be2600e92c388d655a48c44f337"
    "9702319c30256ff1ab9290b39a5c4beff6a58dbadeca1affb9a17b162b1bf85e4e5d9eca827f0d32111520478c5fec806fe0"
    "4464ac0be85136683318609df7587e710f7d30fa17c5a4b7af122cb7b874b36a7f91ffd86f5816b593c91c6f733612f0510e"
    "0de1b430d135",
    16,
)
KEY_ID = "test-key"
_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
AUTH_CLAIM = "https://api.openai.com/auth"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwks(**more: Any) -> dict[str, Any]:
    """The document of public keys."""
    key = {
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
        "n": base64url(N.to_bytes(256)), "e": base64url(E.to_bytes(3)), **more,
    }  # fmt: skip
    return {"keys": [{"kty": "EC", "kid": "other", "crv": "P-256"}, key]}


def sign(claims: dict[str, Any], *, alg: str = "RS256", kid: str | None = KEY_ID) -> str:
    """A JWT of these claims."""
    header = {"alg": alg, "typ": "JWT"} | ({"kid": kid} if kid is not None else {})
    signed = ".".join(base64url(json.dumps(one).encode()) for one in (header, claims))
    block = _PREFIX + hashlib.sha256(signed.encode()).digest()
    padded = b"\x00\x01" + b"\xff" * (256 - len(block) - 3) + b"\x00" + block
    return f"{signed}.{base64url(pow(int.from_bytes(padded), _D, N).to_bytes(256))}"
