"""Our errors in the envelope of the OpenAI dialects, and none of the words that make agents do harm."""

import json
import math
from typing import Any, get_args

import openai
import pytest

from hermes_router.core import errors
from hermes_router.core.errors import (
    AttemptClass,
    AttemptReport,
    BadRequest,
    CallerError,
    CallerLimited,
    ContextTooLarge,
    DeadlinePassed,
    HermesError,
    Invalid,
    MethodNotAllowed,
    NoCapableTarget,
    NoTarget,
    NotFound,
    TooLarge,
    Truncated,
    Unauthorized,
    UnknownModel,
    UpstreamError,
)
from hermes_router.wire.messages.errors import render_error as render_messages
from hermes_router.wire.openai_errors import error_event, render_error

NOW = 1_790_000_000.25
REPORTS = [AttemptReport(f"groq/m{i}", cls, NOW + i) for i, cls in enumerate(get_args(AttemptClass))]

# clients.md 7.15: agents compress, rotate or give up on these.
FORBIDDEN = (
    "context length", "token limit", "max_tokens", "exceeds the limit", "quota", "unknown parameter",
    "invalid_request_error", "model not found",
)  # fmt: skip


def body_of(error: HermesError) -> dict[str, Any]:
    return dict(json.loads(render_error(error, now=NOW).body)["error"])


def upstream_errors() -> list[UpstreamError]:
    """One of each class, with a text that must not be seen."""
    found: list[type[UpstreamError]] = []
    todo: list[type[UpstreamError]] = [UpstreamError]
    while todo:
        one = todo.pop()
        found.append(one)
        todo.extend(one.__subclasses__())
    return [cls("stall") if cls is errors.TimedOut else cls("quota max_tokens secret") for cls in found]


def test_what_holds_paid_models_back_is_said_behind_the_wait() -> None:
    """A budget of the pool is no secret from callers: what to do stands in the message, of a 429 and of a 503."""
    advice = "Paid models wait for the day's budget: raise BUDGET_USD_DAY."
    for limited in (True, False):
        said = body_of(NoTarget(limited=limited, retry_at=NOW + 5, advice=advice))["message"]
        assert said == f"All providers are temporarily unavailable. The next one is expected back in 5 s. {advice}"
    said = body_of(NoTarget(limited=False, retry_at=NOW + 5, advice=advice, said="A cannot serve."))["message"]
    assert said == f"A cannot serve. It is expected back in 5 s. {advice}"


OURS: list[HermesError] = [
    NoTarget(limited=True, retry_at=NOW + 5, attempts=REPORTS),
    NoTarget(limited=False, retry_at=NOW + 5, attempts=REPORTS),
    NoTarget(limited=True, retry_at=NOW + 90_000, attempts=REPORTS),
    NoTarget(limited=False, retry_at=None),
    DeadlinePassed(REPORTS),
    CallerLimited("This router key has used up its requests per minute.", retry_after_s=30),
    HermesError("internal"),
    *(error for error in upstream_errors() if not isinstance(error, errors.RequestRejected)),
]


@pytest.mark.parametrize("error", OURS, ids=lambda e: type(e).__name__)
def test_no_429_or_5xx_holds_a_word_that_agents_act_on(error: HermesError) -> None:
    """Body, head and stream event of everything that is not the caller's fault (clients.md 7.15, contract)."""
    rendered = render_error(error, now=NOW)
    assert rendered.status in {429, 503, 504}
    for text in (rendered.body, error_event(error, now=NOW), json.dumps(rendered.headers).encode()):
        for word in FORBIDDEN:
            assert word.encode() not in text.lower()
        assert b"secret" not in text
    assert set(json.loads(rendered.body)["error"]) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (BadRequest("m", param="messages[0]"), 400, "invalid_request_error", None),
        (Unauthorized("m", code="invalid_api_key"), 401, "authentication_error", "invalid_api_key"),
        (errors.Forbidden("m"), 403, "permission_error", None),
        (NotFound("m"), 404, "invalid_request_error", None),
        (UnknownModel("m", code="model_not_found"), 404, "invalid_request_error", "model_not_found"),
        (MethodNotAllowed("m"), 405, "invalid_request_error", None),
        (TooLarge("m"), 413, "invalid_request_error", None),
        (CallerLimited("m", retry_after_s=3), 429, "rate_limit_error", None),
        (NoCapableTarget("m"), 400, "invalid_request_error", "no_capable_target"),
        (NoTarget(limited=True, retry_at=NOW), 429, "rate_limit_error", "rate_limit_exceeded"),
        (NoTarget(limited=False, retry_at=NOW), 503, "server_error", "unavailable"),
        (DeadlinePassed(), 504, "timeout", "deadline"),
        (Invalid("bad role", param="messages[1].role"), 400, "invalid_request_error", None),
    ],
)
def test_the_table_of_errors(error: HermesError, status: int, kind: str, code: str | None) -> None:
    """Status, type and code of contract.md's table (providers.md 12.11)."""
    rendered = render_error(error, now=NOW)
    body = body_of(error)
    assert (rendered.status, body["type"], body["code"]) == (status, kind, code)
    if isinstance(error, CallerError | Invalid):
        assert body["param"] == error.param
    retry = rendered.headers.get("x-should-retry")
    assert retry == ("false" if status < 429 else None)


def test_ha6_too_long_has_the_one_text_that_makes_agents_compress() -> None:
    """Status 400, code and sentence of clients.md 7.14, with the advertised window."""
    error = ContextTooLarge(advertised=128_000, needed=200_000)
    assert render_error(error, now=NOW).status == 400
    body = body_of(error)
    assert body["code"] == "context_length_exceeded"
    assert body["message"] == (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 200000 tokens. "
        "Please reduce the length of the messages."
    )


@pytest.mark.parametrize(
    ("retry_at", "wait"),
    [(NOW + 5, 5), (NOW + 5.1, 6), (NOW - 3, 1), (NOW + 0.1, 1), (NOW + 60, 60), (None, 10), (math.inf, 86_400)],
)
def test_ll6_retry_after_is_true_and_whole_seconds(retry_at: float | None, wait: int) -> None:
    """Never 0, never early; a time that is not known is soon (LL-6, contract)."""
    headers = render_error(NoTarget(limited=True, retry_at=retry_at), now=NOW).headers
    assert headers["retry-after"] == str(wait)
    assert ("x-should-retry" in headers) == (wait > 60)


def test_a_long_wait_is_told_without_freezing_the_caller() -> None:
    """Above a minute: no retry by the SDK, and the instant in a header of ours (providers.md 12.11)."""
    for error in (NoTarget(limited=True, retry_at=NOW + 7_200), CallerLimited("m", retry_after_s=7_200)):
        headers = render_error(error, now=NOW).headers
        assert headers["retry-after"] == "7200"
        assert headers["x-should-retry"] == "false"
        assert headers["x-hermes-retry-at"] == str(math.ceil(NOW + 7_200))


def test_should_retry_follows_what_the_error_says() -> None:
    """A caller's error is not retried, unless it says that it may."""
    assert render_error(BadRequest("m", should_retry=True), now=NOW).headers["x-should-retry"] == "true"


def test_the_body_lists_the_attempts() -> None:
    """`{"target","class","retry_at"}`, no text of an upstream (contract)."""
    attempts = body_of(NoTarget(limited=True, retry_at=NOW, attempts=REPORTS))["attempts"]
    assert attempts[0] == {"target": "groq/m0", "class": "limited", "retry_at": NOW}
    assert len(attempts) == len(REPORTS)


@pytest.mark.parametrize(
    ("error", "told"),
    [(NoTarget(limited=True, retry_at=NOW), True), (NoTarget(limited=False, retry_at=NOW), True),
     (DeadlinePassed(), True), (CallerLimited("too many"), True), (UpstreamError(), True), (BadRequest("no"), False)],
)  # fmt: skip
def test_where_nobody_was_asked_the_list_is_empty_and_there(error, told) -> None:
    """A 429 or a 5xx of our own always has its attempts; a mistake of the caller's never has."""
    assert body_of(error).get("attempts") == ([] if told else None)
    said = json.loads(render_messages(error, now=NOW).body)["error"]
    assert said.get("attempts") == ([] if told else None)


def test_bytes_that_are_no_utf8_do_no_harm() -> None:
    """Paths and headers may hold them; they come out as question marks."""
    assert body_of(NotFound("no such path: /\udcff"))["message"] == "no such path: /?"


def test_pk1_an_error_event_makes_the_sdk_raise() -> None:
    """A frame with `error`, and no `[DONE]` behind it: this is no good end (12.10, PK-1)."""
    event = error_event(Truncated("secret"), now=NOW)
    assert event.startswith(b'data: {"error":{')
    assert event.endswith(b"}}\n\n")
    assert b"[DONE]" not in event
    assert json.loads(event[6:])["error"]["code"] == "cut"
    assert json.loads(error_event(DeadlinePassed(), now=NOW)[6:])["error"]["code"] == "deadline"
    assert json.loads(error_event(Invalid("bad role"), now=NOW)[6:])["error"]["message"] == "bad role"


def test_the_sdk_reads_the_envelope() -> None:
    """message, type, param and code arrive where openai-python puts them."""
    error = openai.APIError("m", request=None, body=body_of(BadRequest("m", param="n", code="c")))  # type: ignore[arg-type]
    assert (error.param, error.code, error.type) == ("n", "c", "invalid_request_error")


@pytest.mark.parametrize("inner", ["gone", "refused"])
def test_attempt_classes_are_those_of_the_contract(inner) -> None:
    """What our log tells apart, a caller reads as `broken`: the list of classes is closed."""
    report = AttemptReport("p/m", inner, None)
    body = json.loads(render_error(NoTarget(limited=False, retry_at=None, attempts=[report]), now=0.0).body)
    assert body["error"]["attempts"] == [{"target": "p/m", "class": "broken", "retry_at": None}]
