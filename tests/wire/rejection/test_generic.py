"""The judge behind every family: statuses, windows, waits, credit."""

import json

import pytest

from hermes_router.core.errors import (
    CredentialRejected,
    Invalid,
    Malformed,
    ModelGone,
    NoCredit,
    Overloaded,
    RateLimited,
    ServerFailed,
    TooLargeHere,
)  # fmt: skip
from hermes_router.core.observations import Window
from hermes_router.wire.rejection.body import read
from hermes_router.wire.rejection.generic import generic, told_at, window_of

NOW = 1795262400.0


def judged(status, body=b"", headers=None):
    """The generic judgement of a body, given as bytes or as a JSON value."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return generic(read("generic", status, headers or {}, raw, now=NOW))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, Malformed), (400, Invalid), (401, CredentialRejected), (402, NoCredit), (403, CredentialRejected),
        (404, ModelGone), (405, Malformed), (408, Overloaded), (409, ServerFailed), (410, ModelGone),
        (413, TooLargeHere), (414, TooLargeHere), (418, Invalid), (422, Invalid), (424, ServerFailed),
        (429, RateLimited), (451, ServerFailed), (498, Overloaded), (499, ServerFailed), (500, ServerFailed),
        (501, ServerFailed), (502, Overloaded), (503, Overloaded), (504, Overloaded), (520, ServerFailed),
        (524, Overloaded), (529, Overloaded), (0, ServerFailed), (999, ServerFailed),
    ],
)  # fmt: skip
def test_a_status_alone_is_enough(status, kind):
    """Without a body the status decides, by the table of facts/providers.md 4.4."""
    assert type(judged(status)) is kind


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("on tokens per day (tpd): limit", Window.DAY),
        ("(rpm)", Window.MINUTE),
        ("20 api calls / minute", Window.MINUTE),
        ("1000 api calls / month", Window.MONTH),
        ("50 per 86400s exceeded", Window.DAY),
        ("userbymodelbyday", Window.DAY),
        ("requests per second", Window.SECOND),
        ("tokens per hour", Window.HOUR),
        ("too many concurrent requests", Window.NONE),
        ("per minute; see the daily plans", Window.MINUTE),
        ("(tpm), 200 per day", Window.MINUTE),
        ("upgrade today", None),
        ("slow down", None),
    ],
)
def test_windows_in_words(text, window):
    """The abbreviation decides, else the first window that is named; advertisement is none."""
    assert window_of(text) is window


@pytest.mark.parametrize(
    ("member", "wait_s"),
    [
        ({"resets_in_seconds": 12}, 12), ({"resets_at": 1795262500}, 100), ({"retry_after": "7s"}, 7),
        ({"retry_after_ms": 2500}, 2.5), ({"retryDelay": "36.4s"}, 36.4), ({"resetTime": "2026-11-21T12:00:30Z"}, 30),
    ],
)  # fmt: skip
def test_ha11_members_that_name_a_time(member, wait_s):
    """HA-11: resets_in_seconds and its kin are read from the error object and from its metadata."""
    for body in ({"error": member}, {"error": {"metadata": member}}):
        said = read("generic", 429, {}, json.dumps(body).encode(), now=NOW)
        assert told_at(said) == pytest.approx(NOW + wait_s)


def test_a_spent_window_in_the_headers_is_evidence():
    """A 429 without words, but with a window at zero in its headers, names that window and its reset."""
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-limit-tokens": "9", "x-ratelimit-reset-tokens": "9s"}
    error = judged(429, headers=headers)
    assert (error.window, error.retry_at, error.told) == (Window.MINUTE, NOW + 9, True)


def test_advice_to_buy_is_no_empty_account():
    """A limit with a window stays a limit, though the message recommends adding credits."""
    error = judged(429, {"error": {"message": "10 requests per minute exceeded. Add credits or a payment method."}})
    assert isinstance(error, RateLimited)
    assert isinstance(judged(429, {"error": {"message": "Insufficient balance"}}), NoCredit)


def test_gl1_ip_limit_blames_no_key():
    """GL-1: a 429 for our address has scope ip, so that not every key is benched one after another."""
    for message in ("Too many requests from your IP", "rate limit per IP exceeded", "blocked ip address"):
        assert judged(429, {"error": {"message": message}}).scope == "ip"


@pytest.mark.parametrize("message", ["api.example.com", "shipping limit", "descriptive equip limit"])
def test_words_that_hold_ip_are_not_an_address(message):
    """`ip` inside of a word is not evidence."""
    assert judged(429, {"error": {"message": message}}).scope == "account_model"


def test_codes_speak_before_a_5xx():
    """A 5xx whose code names money, model or length blames that, not the server (new-api, Ollama)."""
    assert isinstance(judged(503, {"error": {"code": "model_not_found"}}), ModelGone)
    assert isinstance(judged(500, {"error": {"code": "insufficient_quota"}}), NoCredit)
    assert type(judged(500, {"error": {"message": "the prompt is too long"}})).__name__ == "ContextTooLong"


def test_a_challenge_page_says_nothing_of_the_key():
    """HTML with 403 comes from a gateway: Malformed, so that no key is paused for it."""
    assert type(judged(403, b"<html><title>Just a moment...</title></html>")) is Malformed


def test_a_json_complaint_is_not_a_bad_key():
    """An "invalid token" in a 400 about JSON is the request's fault; a bad API key is the key's."""
    assert type(judged(400, {"error": {"message": "Invalid token at line 1 of the body"}})) is Invalid
    assert type(judged(400, {"error": {"message": "Incorrect API key provided"}})) is CredentialRejected
