"""Identities: who is who, and the one string form of each.

Owns the names under which everything is scheduled, remembered and logged. It must never know a
secret's use: `Secret` only carries one without showing it.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, NewType

ProviderName = NewType("ProviderName", str)
ModelId = NewType("ModelId", str)
CredentialId = NewType("CredentialId", str)
AccountId = NewType("AccountId", str)
RouterKeyId = NewType("RouterKeyId", str)

CredentialKind = Literal["none", "api_key", "oauth"]


class Secret:
    """Confidential bytes that no repr, format, pickle or JSON shows; `reveal()` is the only way out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself; called in `upstream/auth.py`, `store/` and admission only."""
        return self._value

    def digest(self, key: bytes, context: str) -> str:
        """16 hex characters of HMAC-SHA256 over `context` and the secret: an identity that tells nothing."""
        message = f"{context}\0{self._value}".encode("utf-8", "surrogatepass")
        return hmac.new(key, message, hashlib.sha256).hexdigest()[:16]

    @property
    def tail(self) -> str:
        """The last four characters, the only part ever shown; `****` where that would be most of it."""
        return self._value[-4:] if len(self._value) >= 12 else "****"

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def scrubber(secrets: Iterable[Secret]) -> Callable[[str], str]:
    """A function that replaces every one of these secrets in a text by `***`; short ones are left, being words."""
    values = sorted({secret._value for secret in secrets if len(secret._value) >= 8}, key=len)  # noqa: SLF001
    sized = [(len(value), value) for value in values]

    def scrub(text: str) -> str:
        size = len(text)
        for least, value in sized:  # a look for each is 20 times as fast as one regular expression of them all
            if least > size:  # most texts are shorter than any key
                return text
            if value in text:
                break
        else:
            return text
        for value in reversed(values):  # one may hold another
            text = text.replace(value, "***")
        return text

    return scrub


class Credential(NamedTuple):
    """An API key or OAuth account as it is scheduled; it never holds the secret.

    `id` is a keyed digest of the secret, so adding the same key twice is one credential. `account` says
    whose quota it spends: a label of the owner's, else the id itself. `tail` is the secret's last four
    characters, the only part ever shown. `source` says where the secret rests (environment, .env …). `route` names the
    way of the provider's row that it goes (`ProviderSpec.routes`), empty = the row's own address.
    """

    id: CredentialId
    provider: ProviderName
    account: AccountId
    kind: CredentialKind
    secret_ref: str
    tail: str
    source: str
    route: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Provider + model + credential: the only thing that is scheduled."""

    provider: ProviderName
    model: ModelId
    credential: CredentialId
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_text", f"{self.provider}/{self.model}#{self.credential[:4]}")

    def __str__(self) -> str:
        return self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @property
    def name(self) -> str:
        """`provider/model`: what `x-hermes-target` shows and a pin says."""
        return f"{self.provider}/{self.model}"
