"""hermes_router/core/kept.py: a value that is never printed."""

from hermes_router.core.kept import KeptResponse


def test_a_kept_answer_shows_its_size_alone() -> None:
    """Neither repr nor str holds a word of it, nor whose it is."""
    kept = KeptResponse(b"name", b"parent", b"root", "holder", "digest", b"secret", b"secrets", b"my secret", 1.0)
    for shown in (repr(kept), str(kept), f"{[kept]}"):
        assert "secret" not in shown
        assert "holder" not in shown
    assert repr(kept) == "<KeptResponse 6 + 7 + 9 bytes>"
