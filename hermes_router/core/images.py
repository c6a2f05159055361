"""Images: what one is by its first bytes, and what becomes of one that stands in a request by its address.

Owns the values alone. They are content of a caller's, so they are never printed. It must never know who fetches.
"""

from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["LOOK", "MOST_BYTES", "MOST_IMAGES", "Fault", "Picture", "Unfit", "media_type_of"]

MOST_BYTES: Final = 8_000_000  # contract.md, Errors
MOST_IMAGES: Final = 100  # different ones in one request: nobody takes more, and each is a request to a stranger


_MAGIC: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)
LOOK: Final = 12  # bytes that tell any of them


def media_type_of(head: bytes) -> str | None:
    """What an image is by its first bytes, whatever it is called; None where it is none that providers take."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for magic, media_type in _MAGIC if head.startswith(magic)), None)


class Picture(NamedTuple):
    """An image: its media type, as its first bytes tell it, and its bytes in base64."""

    media_type: str
    data: str

    def __repr__(self) -> str:
        return f"<Picture {self.media_type}, {len(self.data)} characters>"

    @property
    def url(self) -> str:
        """The same as a `data:` URL."""
        return f"data:{self.media_type};base64,{self.data}"


class Fault(StrEnum):
    """Why there is no image, as a caller may read it.

    Not a public address, no such name, nobody there and no answer in time are one and the same to a caller: told apart,
    they would let it look around in the router's own network.
    """

    UNREACHABLE = "it cannot be reached at a public address"
    ADDRESS = "its address is no http or https URL without a password"
    REFUSED = "its server does not give it out"
    TOO_LARGE = f"it is larger than {MOST_BYTES // 1_000_000} MB"
    NO_IMAGE = "it is no PNG, JPEG, GIF or WebP"
    TOO_MANY = f"there are more than {MOST_IMAGES} images by address"
    TOGETHER = "the images are larger than a request may be (MAX_REQUEST_BYTES)"
    LATE = "it did not come in time"


class Unfit(NamedTuple):
    """The image at `url` cannot be had. `said` is what happened, for the owner's log: no address of anybody in it."""

    url: str
    fault: Fault
    said: str = ""

    def __repr__(self) -> str:
        return f"<Unfit {self.fault.name}: {self.said}>"
