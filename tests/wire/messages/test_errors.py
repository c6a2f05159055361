"""Our errors in the envelope of the Messages dialect, and none of the words that make agents do harm."""

import json
import math
from typing import Any

import anthropic
import pytest

from hermes_router.core import errors
from hermes_router.core.errors import (
    AttemptReport,
    BadRequest,
    CallerLimited,
    ContextTooLarge,
    DeadlinePassed,
    Forbidden,
    HermesError,
    Invalid,
    MethodNotAllowed,
    NoCapableTarget,
    NoTarget,
    NotFound,
    Stalled,
    TooLarge,
    Truncated,
    Unauthorized,
    UnknownModel,
)
from hermes_router.wire.messages.errors import error_event, render_error
from hermes_router.wire.openai_errors import Rendered

from ..messages_streams import client
from ..test_openai_errors import FORBIDDEN, NOW, OURS, REPORTS, upstream_errors


def body_of(rendered: Rendered) -> dict[str, Any]:
    value = json.loads(rendered.body)
    assert value["type"] == "error"
    return dict(value["error"])


TABLE: list[tuple[HermesError, int, str]] = [
    (BadRequest("must be a string", param="model"), 400, "invalid_request_error"),
    (ContextTooLarge(advertised=200_000, needed=250_000), 400, "invalid_request_error"),
    (NoCapableTarget("no target takes images"), 400, "invalid_request_error"),
    (Unauthorized("no key"), 401, "authentication_error"),
    (Forbidden("not this host"), 403, "permission_error"),
    (NotFound("no such path"), 404, "not_found_error"),
    (UnknownModel("no such profile"), 404, "not_found_error"),
    (MethodNotAllowed("use POST"), 405, "invalid_request_error"),
    (Stalled(), 408, "timeout_error"),
    (TooLarge("too many bytes"), 413, "request_too_large"),
    (CallerLimited("used up", retry_after_s=30), 429, "rate_limit_error"),
    (Invalid("tools.0: bad", param="tools.0"), 400, "invalid_request_error"),
    (NoTarget(limited=True, retry_at=NOW + 5, attempts=REPORTS), 429, "rate_limit_error"),
    (NoTarget(limited=False, retry_at=NOW + 5, attempts=REPORTS), 529, "overloaded_error"),
    (DeadlinePassed(REPORTS), 504, "api_error"),
    (Truncated("secret"), 529, "overloaded_error"),
    (HermesError("internal"), 529, "overloaded_error"),
]


@pytest.mark.parametrize(("error", "status", "kind"), TABLE, ids=lambda value: type(value).__name__)
def test_each_error_has_its_status_and_type(error: HermesError, status: int, kind: str) -> None:
    """The Messages column of contract.md, Errors; the SDK raises the class that it has for the status."""
    rendered = render_error(error, now=NOW, request_id="req_1")
    assert (rendered.status, body_of(rendered)["type"]) == (status, kind)
    assert json.loads(rendered.body)["request_id"] == "req_1"
    sdk = client(rendered.body, status=status, kind="application/json", **rendered.headers)
    with sdk, pytest.raises(anthropic.APIStatusError) as caught:
        sdk.messages.create(model="m", max_tokens=9, messages=[])
    assert caught.value.status_code == status
    assert caught.value.type == kind


@pytest.mark.parametrize("error", OURS, ids=lambda e: type(e).__name__)
def test_no_429_or_5xx_holds_a_word_that_agents_act_on(error: HermesError) -> None:
    """Body, head and stream event of everything that is not the caller's fault (clients.md 7.15, contract)."""
    rendered = render_error(error, now=NOW)
    assert rendered.status in {429, 504, 529}
    said = rendered.body + error_event(error, now=NOW) + json.dumps(rendered.headers).encode()
    for word in FORBIDDEN:
        assert word.encode() not in said.lower()
    assert b"secret" not in said


def test_too_long_is_said_in_the_words_that_counts_are_read_from() -> None:
    """`prompt is too long: N tokens > M maximum`, M being the advertised window (clients.md 4, 7.14)."""
    rendered = render_error(ContextTooLarge(advertised=200_000, needed=250_000), now=NOW)
    assert body_of(rendered)["message"] == "prompt is too long: 250000 tokens > 200000 maximum"


def test_the_path_of_a_field_stands_in_the_text() -> None:
    """This dialect has no place for it; where the text names it already, once is enough."""
    path = "messages[3].content[0].source"
    assert body_of(render_error(BadRequest("must be an object", param=path), now=NOW))["message"] == (
        f"{path}: must be an object"
    )
    said = f"{path} must be an object"
    assert body_of(render_error(BadRequest(said, param=path), now=NOW))["message"] == said


def test_attempts_and_waits_are_told() -> None:
    """The list of contract.md in our own 429 and 529; `Retry-After` is true, and a long one is not slept through."""
    for limited in (True, False):
        rendered = render_error(NoTarget(limited=limited, retry_at=NOW + 90, attempts=REPORTS), now=NOW)
        attempts = body_of(rendered)["attempts"]
        assert [set(each) for each in attempts] == [{"target", "class", "retry_at"}] * len(REPORTS)
        assert rendered.headers["retry-after"] == "90"
        assert rendered.headers["x-should-retry"] == "false"
        assert rendered.headers["x-hermes-retry-at"] == str(math.ceil(NOW + 90))
    assert "attempts" not in body_of(render_error(BadRequest("no"), now=NOW))
    assert json.loads(render_error(BadRequest("no"), now=NOW).body)["request_id"] is None


@pytest.mark.parametrize("error", upstream_errors(), ids=lambda e: type(e).__name__)
def test_a_late_failure_is_an_error_event(error: errors.UpstreamError) -> None:
    """One frame under its name, which says that the answer was cut; what the provider refused it may say itself."""
    name, data, *rest = error_event(error, now=NOW).split(b"\n")
    assert name == b"event: error"
    assert rest == [b"", b""]
    body = json.loads(data.removeprefix(b"data: "))
    refused = isinstance(error, errors.RequestRejected)
    assert body["error"]["type"] == ("invalid_request_error" if refused else "api_error")


def test_a_late_failure_names_the_request() -> None:
    """`request_id` in the event, as in the body of an error that comes before the head: the one to look for in the log."""
    for error in (Truncated("secret"), NoTarget(limited=False, retry_at=NOW + 5, attempts=[])):
        said = error_event(error, now=NOW, request_id="req_1")
        assert json.loads(said.split(b"data: ")[1])["request_id"] == "req_1"


def test_a_late_end_of_the_pool_keeps_its_type() -> None:
    """Nothing was cut: there was nobody to answer."""
    report = AttemptReport("groq/m", "limited", None)
    said = error_event(NoTarget(limited=False, retry_at=NOW + 5, attempts=[report]), now=NOW)
    assert json.loads(said.split(b"data: ")[1])["error"]["type"] == "overloaded_error"
