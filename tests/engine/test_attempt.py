"""One try at a target: every order in which a transport may push, and the one verdict that comes of it."""

from typing import Any

import pytest

from hermes_router.core.errors import (
    CredentialRejected,
    EmptyReply,
    Malformed,
    RateLimited,
    TimedOut,
    Truncated,
    Unreachable,
    UpstreamError,
)
from hermes_router.core.ports import Outbound
from hermes_router.engine.attempt import Attempt, Border
from hermes_router.engine.sweep import Sweeper
from hermes_router.wire import ratelimit
from hermes_router.wire.chat.decoder import ChatDecoder
from hermes_router.wire.chat.encoder import ChatEncoder
from hermes_router.wire.chat.passthrough import StreamLane
from hermes_router.wire.rejection import judge
from hermes_router.wire.splice import Splice

from ..fakes import COMMENT, DONE, JSON, ROLE, SSE, STOP, Clock, Flight, Transport, chunk, completion, muse, say, target

REQUEST = Outbound("POST", "http://a.invalid/v1/chat/completions", {}, b"{}")


class Owner:
    """Writes down what the attempt tells its exchange."""

    def __init__(self) -> None:
        self.out = b""
        self.woken = 0
        self.quotas: list[Any] = []
        self.is_alone = False
        self.let_in = 0

    def emit(self, data: bytes) -> None:
        self.out += data

    def wake(self) -> None:
        self.woken += 1

    def seen(self, quotas: Any) -> None:
        self.quotas.extend(quotas)

    def admitted(self) -> None:
        self.let_in += 1

    def alone(self) -> bool:
        return self.is_alone


class Try:
    """An attempt with its surroundings; `flight` has the levers."""

    def __init__(self, *, stream: bool = True, family: str = "generic") -> None:
        self.clock = Clock()
        self.owner = Owner()
        self.transport = Transport()
        self.sweeper = Sweeper(self.clock, lambda *_given: None)
        splice = Splice(ChatEncoder(include_usage=False))
        splice.begin(None)
        decoder = ChatDecoder(lambda e: judge.in_band(family, e, 0.0), new_id=lambda p: f"{p}1", now=1)
        self.attempt = Attempt(
            target("a/m", ratelimit="groq", rejection=family),
            self.owner,
            StreamLane(splice, decoder) if stream else None,
            clock=self.clock,
            border=Border(ratelimit.seen, judge.classify),
            sweeper=self.sweeper,
            first_token_limit_s=45.0,
            stall_s=30.0,
        )

    def send(self) -> Flight:
        self.attempt.send(self.transport, REQUEST)
        return self.transport.last

    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.attempt.tick(self.clock.mono())


def test_a_good_stream_is_answered_once_and_says_when_it_began() -> None:
    """The verdict falls at [DONE]; the time to the first token is that of the first content, not of the head."""
    one = Try()
    flight = one.send().head()
    one.clock.advance(1.0)
    flight.data(ROLE)
    one.clock.advance(1.0)
    flight.data(say("x"), STOP)
    assert not one.attempt.over
    flight.data(DONE)
    assert one.attempt.answered
    assert one.attempt.error is None
    assert one.attempt.ttft_s == 2.0
    assert one.owner.woken == 1
    flight.data(say("more")).end()
    assert one.owner.woken == 1


def test_reasoning_is_a_first_token() -> None:
    """Visible thinking is life: TTFT counts from it."""
    one = Try()
    flight = one.send().head()
    one.clock.advance(3.0)
    flight.data(ROLE, muse("hm"))
    assert one.attempt.ttft_s == 3.0


def test_a_whole_answer_is_collected_and_has_no_ttft() -> None:
    """Its time is that of writing it all, which says nothing of the first token."""
    one = Try(stream=False)
    flight = one.send().head(200, JSON).data(b"ab", b"cd")
    one.clock.advance(20.0)
    flight.end()
    assert one.attempt.answered
    assert one.attempt.body == b"abcd"
    assert one.attempt.ttft_s is None


def test_json_to_a_stream_request_is_collected_whole() -> None:
    """A host that ignores `stream` is not a broken stream."""
    one = Try()
    one.send().answer(200, completion())
    assert one.attempt.answered
    assert b"chat.completion" in one.attempt.body
    assert one.owner.out == b""


@pytest.mark.parametrize(("pushed", "kind"), [
    (lambda f: f.end(), Truncated),
    (lambda f: f.data(ROLE).end(), Truncated),
    (lambda f: f.data(ROLE, DONE), Truncated),
    (lambda f: f.data(ROLE, STOP, DONE), EmptyReply),
    (lambda f: f.data(b"data: {oops\n\n"), Malformed),
    (lambda f: f.data(ROLE).fail(Truncated("cut")), Truncated),
    (lambda f: f.data(ROLE).fail(Malformed("bad chunk")), Malformed),
    (lambda f: f.data(b'data: {"error":{"message":"x","code":401}}\n\n'), CredentialRejected),
])  # fmt: skip
def test_a_stream_without_a_good_end_is_the_error_that_it_is(pushed, kind) -> None:
    """One verdict, with the target filled in."""
    one = Try()
    pushed(one.send().head())
    assert type(one.attempt.error) is kind
    assert str(one.attempt.error.target) == "a/m#k1-a"
    assert not one.attempt.answered
    assert one.owner.woken == 1


def test_a_failure_in_the_middle_closes_the_connection() -> None:
    """Whatever comes behind a broken frame is not read: the flight is aborted, and hears no more."""
    one = Try()
    flight = one.send().head().data(b"data: {oops\n\n")
    assert flight.aborted
    one.attempt.end()
    assert one.owner.woken == 1


def test_html_fails_with_its_head() -> None:
    """A login page is no answer, whatever its status."""
    one = Try()
    flight = one.send().head(200, {"content-type": "text/html; charset=utf-8"})
    assert isinstance(one.attempt.error, Malformed)
    assert flight.aborted


def test_a_refusal_is_classified_when_its_body_is_whole() -> None:
    """Status, headers and body together say whom to blame."""
    one = Try()
    flight = one.send().head(429, {**JSON, "retry-after": "7"}).data(b'{"error":{"message":"slow down"}}')
    assert not one.attempt.over
    flight.end()
    assert isinstance(one.attempt.error, RateLimited)
    assert one.attempt.error.retry_at == one.clock.now() + 7


@pytest.mark.parametrize("ending", [
    lambda one, flight: flight.fail(Truncated("cut", status=429)),
    lambda one, flight: one.tick(45.5),
], ids=["cut", "silent"])  # fmt: skip
def test_a_refusal_whose_body_does_not_come_whole_is_still_that_refusal(ending) -> None:
    """The head has said 429 and when to come back: a body that breaks or never ends does not make it a cut answer."""
    one = Try()
    flight = one.send().head(429, {**JSON, "retry-after": "60"}).data(b'{"error":')
    ending(one, flight)
    assert isinstance(one.attempt.error, RateLimited)
    assert one.attempt.error.retry_at is not None


def test_an_endless_refusal_is_not_kept() -> None:
    """Of an error body the first 64 KB count; the rest is read and dropped."""
    one = Try()
    flight = one.send().head(500, JSON)
    for _ in range(64):
        flight.data(b"x" * 65_536)
    assert sum(map(len, one.attempt._buffer)) <= 2 * 65_536
    flight.end()
    assert one.attempt.error.status == 500


def test_failed_before_the_head() -> None:
    """No connection: the transport's own error is the verdict."""
    one = Try()
    one.send().fail(Unreachable("refused"))
    assert isinstance(one.attempt.error, Unreachable)


def test_a_request_that_cannot_be_sent_is_a_verdict() -> None:
    """ValueError of the transport (an address, a header) fails this attempt only."""
    one = Try()
    one.transport.refuse = ValueError("no host")
    one.attempt.send(one.transport, REQUEST)
    assert isinstance(one.attempt.error, Unreachable)


def test_a_verdict_within_send_closes_what_send_returns() -> None:
    """A transport that speaks at once leaves nothing open."""
    one = Try()

    class Hasty(Transport):
        def send(self, request, sink):
            flight = super().send(request, sink)
            sink.head(200, {"content-type": "text/html"})
            return flight

    hasty = Hasty()
    one.attempt.send(hasty, REQUEST)
    assert isinstance(one.attempt.error, Malformed)
    assert hasty.last.aborted


@pytest.mark.parametrize("pushed", [(), (ROLE,), (COMMENT, COMMENT)])
def test_first_token_limit(pushed) -> None:
    """Beyond the limit without content: slow, and closed. Head, role and comments are no content."""
    one = Try()
    flight = one.send().head().data(*pushed)
    one.tick(45.0)
    assert not one.attempt.over
    one.tick(0.25)
    assert isinstance(one.attempt.error, TimedOut)
    assert one.attempt.error.phase == "first_token"
    assert flight.aborted


def test_without_a_rival_the_limit_is_looked_at_again_every_5_s() -> None:
    """While nobody else could serve, silence is borne; the question is not asked with each tick."""
    one = Try()
    one.send().head()
    one.owner.is_alone = True
    one.tick(46.0)
    assert not one.attempt.over
    one.owner.is_alone = False
    one.tick(4.0)
    assert not one.attempt.over
    one.tick(1.5)
    assert one.attempt.over


def test_stall_limit_counts_any_byte() -> None:
    """After the first token 30 s without a byte are a stall; a comment is a byte."""
    one = Try()
    flight = one.send().head().data(ROLE, say("x"))
    one.tick(29.0)
    flight.data(COMMENT)
    one.tick(29.0)
    assert not one.attempt.over
    one.tick(1.5)
    assert isinstance(one.attempt.error, TimedOut)
    assert one.attempt.error.phase == "stall"
    assert flight.aborted


def test_a_stall_behind_the_finish_reason_is_a_good_end() -> None:
    """All was said; only the end of the body is missing."""
    one = Try()
    flight = one.send().head().data(ROLE, say("x"), STOP)
    one.tick(31.0)
    assert one.attempt.answered
    assert flight.aborted


def test_while_it_is_paused_there_is_no_stall() -> None:
    """We do not read, so nothing can come; the limit starts anew when we do."""
    one = Try()
    flight = one.send().head().data(ROLE, say("x"))
    one.attempt.pause()
    assert flight.paused
    one.tick(100.0)
    assert not one.attempt.over
    one.attempt.resume()
    assert not flight.paused
    one.tick(29.0)
    assert not one.attempt.over
    one.tick(1.5)
    assert one.attempt.over


def test_quotas_in_a_head_are_told_at_once_whatever_the_status() -> None:
    """Also a refusal's head tells what is left."""
    one = Try()
    one.send().head(500, {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "4"})
    assert [(q.limit, q.remaining) for q in one.owner.quotas] == [(10, 4)]


def test_abort_is_final_and_repeatable() -> None:
    """The caller left: closed, no verdict, and nothing that comes late makes one."""
    one = Try()
    flight = one.send().head()
    one.attempt.abort()
    one.attempt.abort()
    assert flight.aborted
    assert not one.attempt.over
    one.attempt.pause()
    one.attempt.resume()
    assert not flight.paused


def test_overrule_turns_an_answer_into_a_failure() -> None:
    """A 200 that turns out to be none when it is read."""
    one = Try(stream=False)
    one.send().answer(200, {})
    error: UpstreamError = EmptyReply("nothing")
    one.attempt.overrule(error)
    assert one.attempt.error is error
    assert not one.attempt.answered
    assert error.target is not None


def test_sse_headers_are_no_verdict() -> None:
    """A head alone decides nothing."""
    one = Try()
    one.send().head(200, SSE)
    assert not one.attempt.over


@pytest.mark.parametrize(("status", "times"), [(200, 1), (429, 0), (500, 0)])
def test_a_good_head_is_told_once(status: int, times: int) -> None:
    """Whoever waits behind this request may follow as soon as the provider has let it in, not when it has ended."""
    one = Try()
    one.send().head(status, SSE)
    assert one.owner.let_in == times


def test_an_answer_beyond_every_bound_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call says is held until the end: one that never ends must not fill the memory."""
    monkeypatch.setattr("hermes_router.engine.attempt._MAX_SAID", 1_000)
    one = Try()
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "x" * 600}}
    flight = one.send().head().data(ROLE, chunk({"tool_calls": [call]}))
    one.tick(1.0)
    assert not one.attempt.over
    flight.data(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 600}}]}))
    one.tick(1.0)
    assert isinstance(one.attempt.error, Malformed)
    assert flight.aborted
