"""Marks on thoughts: what is written into a slot for signatures says who made the thought, and nothing else passes."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.content import Seal
from hermes_router.wire.seals import MARK, sealed_in, unwrap, wrap

SEALS = st.builds(
    Seal,
    st.sampled_from(["anthropic_messages", "openai_responses", ""]),
    st.sampled_from(["signature", "redacted", "encrypted", "none"]),
    st.text(),
    st.text(min_size=1),
    st.text(),
)


@given(SEALS)
def test_a_mark_gives_back_its_seal(seal: Seal) -> None:
    """Whatever is in it; it is printable ASCII, as a signature is."""
    mark = wrap(seal, origin="other/one")
    assert mark.isascii()
    assert mark.isprintable()
    assert unwrap(mark) == seal


def test_a_thought_without_a_seal_says_who_made_it() -> None:
    """A Messages caller needs a signature on every thought (providers.md 12.9)."""
    assert unwrap(wrap(None, origin="groq/gpt-oss")) == Seal("", "none", "", "groq/gpt-oss")


def test_a_seal_of_no_known_maker_gets_the_one_who_answers() -> None:
    """A decoder may leave the origin to the stream that shows the thought."""
    found = unwrap(wrap(Seal("anthropic_messages", "signature", "s"), origin="anthropic/claude"))
    assert found == Seal("anthropic_messages", "signature", "s", "anthropic/claude")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EqQBCkYIBxgCKkA",
        MARK,
        MARK + "!!!!",
        MARK + base64.urlsafe_b64encode(b'["a"]').decode(),
        MARK + base64.urlsafe_b64encode(b'["a","other kind","o","d","i"]').decode(),
        MARK + base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        wrap(Seal("a", "signature", "s", "o"), origin="")[:-5],
    ],
)
def test_what_is_no_whole_mark_of_ours_is_none(text: str) -> None:
    """A provider's own signature, a cut one, one from a later version."""
    assert unwrap(text) is None


@given(st.text())
def test_garbage_is_none(text: str) -> None:
    """Whatever a caller sends as a signature raises nothing."""
    assert unwrap(MARK + text) is None or isinstance(unwrap(MARK + text), Seal)


@pytest.mark.parametrize(
    ("body", "seals"),
    [
        (
            (
                b'{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":['
                b'{"type":"thinking","thinking":"x","signature":"a"},{"type":"redacted_thinking","data":"b"},'
                b'{"type":"text","text":"signature","signature":"c"},{"type":"thinking","signature":""}]}]}'
            ),
            ["a", "b"],
        ),
        (
            (
                b'{"input":[{"type":"reasoning","encrypted_content":"a"},{"role":"user","content":"hi"},'
                b'{"type":"compaction","encrypted_content":"b"},{"type":"reasoning","encrypted_content":null}]}'
            ),
            ["a"],
        ),
        (b'{"input":"hi"}', []),
        (b'{"messages":5}', []),
        (b'{"messages":[{"content":[5,{"type":["thinking"],"signature":"a"}]}]}', []),
        (b"no JSON", []),
    ],
)
def test_seals_are_found_where_thoughts_stand(body: bytes, seals: list[str]) -> None:
    """In both dialects that have them; what stands for a whole conversation is no thought."""
    assert sealed_in(body) == seals
