"""The codes by which agents know what a failed response means."""

import openai
import pytest
from openai.types.responses import ResponseErrorEvent

from hermes_router.core.errors import (
    BadRequest,
    CallerLimited,
    ContextTooLarge,
    ContextTooLong,
    DeadlinePassed,
    HermesError,
    Invalid,
    NoTarget,
    ServerFailed,
    Truncated,
)
from hermes_router.wire import openai_errors
from hermes_router.wire.responses.errors import error_event, failure, render_error

from ..responses_streams import answered, frames_of
from ..streams import NOW


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Truncated("x"), "server_error"),
        (ServerFailed("x", status=500), "server_error"),
        (DeadlinePassed(), "server_error"),
        (NoTarget(limited=False, retry_at=NOW + 5.0), "server_error"),
        (NoTarget(limited=True, retry_at=NOW + 5.0), "rate_limit_exceeded"),
        (CallerLimited("budget", retry_after_s=7), "rate_limit_exceeded"),
        (ContextTooLarge(advertised=8, needed=9), "context_length_exceeded"),
        (ContextTooLong("too long", status=400), "context_length_exceeded"),
        (BadRequest("input must be a list", param="input"), "invalid_prompt"),
        (Invalid("the schema is none", status=400), "invalid_prompt"),
    ],
)
def test_every_class_has_a_code_that_codex_knows(error: HermesError, code: str) -> None:
    """What waiting helps against is retried, what the caller must change is final (clients.md 3, codex.md 8)."""
    got, message = failure(error, now=NOW)
    assert got == code
    assert message


def test_a_prompt_is_called_input() -> None:
    """The field that the caller can shorten has its name in this dialect; all else is as in Chat."""
    for error in (ContextTooLarge(advertised=8, needed=9), DeadlinePassed(), BadRequest("no", param="tools")):
        ours, chats = render_error(error, now=NOW), openai_errors.render_error(error, now=NOW)
        assert ours.body == chats.body.replace(b'"param":"messages"', b'"param":"input"')
        assert ours[:2] == chats[:2]
    assert b'"param":"input"' in render_error(ContextTooLarge(advertised=8, needed=9), now=NOW).body


def test_a_short_wait_is_told_in_the_words_that_codex_reads() -> None:
    """`try again in N s` is obeyed literally, so a long wait is not told that way (codex.md 8)."""
    assert failure(NoTarget(limited=True, retry_at=NOW + 20.0), now=NOW)[1].endswith(" Please try again in 20s.")
    assert "try again" not in failure(NoTarget(limited=True, retry_at=NOW + 4_000.0), now=NOW)[1]
    assert "try again" not in failure(NoTarget(limited=False, retry_at=NOW + 20.0), now=NOW)[1]


def test_no_word_of_an_upstream_is_shown() -> None:
    """What a provider said in the middle of a stream is for our log."""
    assert "secret" not in failure(ServerFailed("secret"), now=NOW)[1]


def test_an_event_alone_is_an_error_to_everybody() -> None:
    """The SDK raises on it, with its message; it has the members of the dialect's own event (12.10)."""
    sent = error_event(ServerFailed("secret"), now=NOW)
    (frame,) = frames_of(sent)
    assert ResponseErrorEvent.model_validate(frame).code == "server_error"
    assert b"secret" not in sent
    with pytest.raises(openai.APIError, match="cut"):
        list(answered(sent).responses.create(model="m", input="x", stream=True))
