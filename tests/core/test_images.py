"""Images as values: what one is by its first bytes, and that none is ever printed."""

import pytest

from hermes_router.core.images import LOOK, Fault, Picture, Unfit, media_type_of


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\r", "image/png"),
        (b"\xff\xd8\xff\xdb", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"\x89PNG", None),
        (b"<svg", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell(head: bytes, kind: str | None) -> None:
    """So many of them are enough, whatever follows."""
    assert media_type_of(head) == kind
    assert media_type_of((head + bytes(LOOK))[:LOOK]) == kind


def test_no_image_and_no_address_is_printed() -> None:
    """Both are what a caller said to a model; a URL may hold a key of the caller's."""
    assert repr(Picture("image/png", "AAAA")) == "<Picture image/png, 4 characters>"
    assert "secret" not in repr(Unfit("https://x.test/?sig=secret", Fault.REFUSED, "status 403"))
    assert Picture("image/png", "AAAA").url == "data:image/png;base64,AAAA"
