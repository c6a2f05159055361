"""The flat view of an error body, and excerpts without secrets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.wire.rejection.body import MAX_TEXT, Complaint, parsed, read, scalar, scrubbed

NOW = 1795262400.0
SECRETS = [
    "sk-proj-abcdefghijklmnop1234", "sk-kimi-abcdef123456", "sk-or-v1-0123456789abcdef", "sk-ant-api03-AbCdEf_gh-12",
    "gsk_abcdefghijKLMN0123456789", "hf_abcdefghijklmnopqrstuv", "nvapi-abcDEF_0123-456789", "csk-abcdefghij0123",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv", "2fb1ff1c-ad4f-4c3c-8a36-1b1b3ad5ed7c", "ghp_abcdefghij0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "abcDEF0123456789abcDEF0123456789",
    "0123456789abcdef0123456789abcdef.AbCdEfGh01234567",
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "words", "names"),
    [
        ([{"error": {"message": "Hi", "status": "UNAVAILABLE"}}], "Hi", {"unavailable"}),
        ({"message": "Hi", "code": "X", "type": "y"}, "Hi", {"x", "y"}),
        ({"error": "Hi"}, "Hi", set()),
        ({"detail": "Hi"}, "Hi", set()),
        ({"status": 429, "title": "Too Many"}, "Too Many", {"429"}),
        ({"error": {"message": '{"error":{"message":"Hi","code":"z"}}'}}, "Hi", {"z"}),
        ({"error": {"metadata": {"raw": '{"detail":"Hi"}'}}}, "Hi", set()),
        ({"errors": [{"message": "Hi"}, {"message": "Ho"}]}, "Hi\nHo", set()),
        ("Hi", "Hi", set()),
    ],
)
def test_every_shape_is_flattened(body, words, names):
    """Rule 3 of facts/providers.md 1.2: arrays, flat, nested and string-encoded bodies read alike."""
    said = read("generic", 400, {}, json.dumps(body).encode(), now=NOW)
    assert (said.words, said.names) == (words, names)


def test_validation_lists_keep_type_and_path():
    """FastAPI's and Mistral's lists give the kind and the path of each complaint."""
    body = {"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "x", 1], "msg": "no"}]}}
    said = read("mistral", 422, {}, json.dumps(body).encode(), now=NOW)
    assert said.complaints == (Complaint("extra_forbidden", ("body", "x", "1")),)
    assert said.words == "no"


def test_html_and_plain_text_are_words():
    """A gateway's page gives its title first; plain text is itself; nothing is empty."""
    page = read("generic", 502, {}, b"<html><title>502 Bad</title><b>nginx</b></html>", now=NOW)
    assert page.html
    assert page.words.startswith("502 Bad\n")
    plain = read("generic", 404, {}, b"404 page not found\n", now=NOW)
    assert (plain.words, plain.html, plain.empty) == ("404 page not found", False, False)
    assert read("generic", 400, {}, b"", now=NOW).empty
    assert read("generic", 400, {}, b"{}", now=NOW).empty


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (1, "1"), (1.5, "1.5"), (True, None), (None, None), ([], None), (10**400, None)]
)
def test_scalars(value, text):
    """Strings and sane numbers are text; truth values, containers and absurd numbers are not."""
    assert scalar(value) == text


def test_bodies_beyond_four_megabytes_are_not_parsed():
    """Parsing is bounded; what is beyond is read as text."""
    assert parsed(b'"' + b"x" * 5_000_000 + b'"') is None


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "frame", ["{}", "Incorrect key: {}.", "url?key={}&x=1", '{{"k":"{}"}}', "Bearer {}", "x\n{}\ty"]
)
def test_ll13_no_secret_in_an_excerpt(secret, frame):
    """LL-13: keys of every provider's form, JWTs and bearer values are blotted out, in every surrounding."""
    text = scrubbed(frame.format(secret))
    assert secret not in text
    assert secret[-8:] not in text
    assert "***" in text


@pytest.mark.parametrize(
    "frame", ["api_key={}", "key: {}", '"token":"{}"', "Authorization: Bearer {}", "password = {}"]
)
def test_ll13_assigned_values_are_hidden_whatever_their_form(frame):
    """LL-13: what stands after key=, token: and their kin is hidden even when it looks like no known key."""
    assert "plainword" not in scrubbed(frame.format("plainword-x"))


def test_ordinary_words_survive():
    """Excerpts stay readable: counts, model names and sentences are not blotted out."""
    text = "Rate limit reached for model `openai/gpt-oss-120b` on tokens per day (TPD): Limit 200000, Used 199336"
    assert scrubbed(text) == text


@given(st.text(max_size=2 * 300), st.integers(0, MAX_TEXT + 400))
def test_an_excerpt_is_one_short_line_and_never_half_a_secret(text, padding):
    """At most 300 printable characters, and no tail or head of a secret wherever the cuts fall."""
    line = scrubbed("." * padding + " sk-proj-abcdefghijklmnop1234 " + text)
    assert len(line) <= 300
    assert "\n" not in line
    assert "abcdefgh" not in line or "abcdefgh" in text
