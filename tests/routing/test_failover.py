"""Failover: the table over the error classes."""

import pytest

from hermes_router.core import errors as err
from hermes_router.core.errors import NextStep, UpstreamError
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.routing.demand import Constraint
from hermes_router.routing.failover import after

EMPTY = Constraint()
CLASSES = [
    err.RateLimited, err.QuotaExhausted, err.NoCredit, err.CredentialRejected, err.Overloaded, err.ServerFailed,
    err.Unreachable, err.NetworkDown, err.TimedOut, err.Truncated, err.Malformed, err.EmptyReply, err.ModelGone,
    err.ContextTooLong, err.TooLargeHere, err.Unsupported, err.Inexpressible, err.ForeignThought, err.ContentFiltered,
    err.Invalid,
    err.Unjoined, err.Unfetched,
]  # fmt: skip


def raised(cls: type[UpstreamError]) -> UpstreamError:
    """An error of this class."""
    return cls("stall") if cls is err.TimedOut else cls()


@pytest.mark.parametrize("cls", CLASSES)
def test_the_matrix(make, cls: type[UpstreamError]) -> None:
    """Every class answers with one step, and whoever failed is never first again."""
    facts = make("p/m")
    found = after(raised(cls), facts, EMPTY, altered=True, input_tokens=10)
    assert found.action == "plan"
    assert facts.target in found.constraint.tried | found.constraint.last
    print(f"{cls.__name__:20} {cls.blames.value:10} -> {found.action:5} {found.constraint}")


def test_every_class_is_in_the_matrix() -> None:
    """No error class escapes the table."""

    def below(cls: type[UpstreamError]) -> set[type[UpstreamError]]:
        return {cls} | {x for sub in cls.__subclasses__() for x in below(sub)}

    assert below(UpstreamError) - {UpstreamError, err.RequestRejected} == set(CLASSES)


def test_an_image_that_cannot_be_had_rules_out_all_who_need_it(make) -> None:
    """The target at hand, and by the constraint every other one; whoever fetches images itself is left."""
    facts = make("p/m")
    found = after(err.Unfetched(param="messages[0]"), facts, Constraint(fetches=True)).constraint
    assert (found.fetches, found.tried) == (False, {facts.target})


def test_a_failed_target_may_be_asked_again_once(make) -> None:
    """First it goes behind all others, then out."""
    facts = make("p/m")
    once = after(err.ServerFailed(), facts, EMPTY).constraint
    assert (once.last, once.tried) == ({facts.target}, frozenset())
    twice = after(err.ServerFailed(), facts, once).constraint
    assert (twice.last, twice.tried) == (frozenset(), {facts.target})


def test_a_rejected_key_is_out_at_once(make) -> None:
    """FL-2: the key's siblings are asked; the key itself is not, in this exchange."""
    facts = make("p/m")
    for error in (err.CredentialRejected(), err.NoCredit()):
        assert after(error, facts, EMPTY).constraint.tried == {facts.target}


@pytest.mark.parametrize("error", [err.ModelGone(), err.Overloaded()])
def test_a_failure_that_blames_a_model_prefers_its_siblings(make, error: UpstreamError) -> None:
    """The same provider's other models come next, without the ones that failed."""
    one = after(error, make("p/a"), EMPTY).constraint
    assert one.prefer == ("p", {"a"})
    assert after(error, make("q/c"), one).constraint.prefer == ("q", {"c"})


def test_a_retired_models_siblings_are_asked_one_after_another(make) -> None:
    """A list of retired ids says nothing about the provider's other models."""
    one = after(err.ModelGone(), make("p/a"), EMPTY).constraint
    assert after(err.ModelGone(), make("p/b"), one).constraint.prefer == ("p", {"a", "b"})


def test_two_busy_models_of_a_provider_are_enough(make) -> None:
    """After the second overload the plan goes on to other providers, in its own order."""
    one = after(err.Overloaded(), make("p/a"), EMPTY).constraint
    assert after(err.Overloaded(), make("p/b"), one).constraint.prefer is None


def test_a_providers_failure_prefers_nobody(make) -> None:
    """A 5xx blames the provider, so its siblings are no better."""
    assert after(err.ServerFailed(), make("p/a"), EMPTY).constraint.prefer is None


@pytest.mark.parametrize("error", [err.Invalid(), err.ContentFiltered()])
def test_w7_gl3_a_refusal_of_an_unaltered_body_is_passed_back_after_one_call(make, error: UpstreamError) -> None:
    """The caller's own 400 stops at the first target."""
    assert after(error, make("p/m"), EMPTY, altered=False).action == "stop"


@pytest.mark.parametrize("error", [err.Invalid(), err.ContentFiltered()])
def test_a_refusal_of_an_altered_body_is_asked_elsewhere_once(make, error: UpstreamError) -> None:
    """One target of another provider, then it is the caller's."""
    first = after(error, make("p/m"), EMPTY, altered=True)
    assert (first.action, first.constraint.exclude_providers) == ("plan", {"p"})
    assert after(error, make("q/m"), first.constraint, altered=True).action == "stop"


def test_a_named_parameter_is_dropped_once(make) -> None:
    """The same target again without it; refused again, or unnamed, it is an ordinary refusal."""
    error = err.Unsupported(param="seed")
    found = after(error, make("p/m"), EMPTY)
    assert (found.action, found.drop, found.constraint) == ("same", "seed", Constraint(again=make("p/m").target))
    assert after(err.ServerFailed(), make("p/m"), found.constraint).constraint.again is None
    assert after(error, make("p/m"), EMPTY, dropped={"seed"}).action == "stop"
    assert after(err.Unsupported(), make("p/m"), EMPTY).action == "stop"


def test_too_long_asks_for_a_larger_window(make) -> None:
    """An estimate near the window believes the window; far below it, only the request's size counts."""
    facts = make("p/m", context=100_000)
    near = after(err.ContextTooLong(), facts, EMPTY, input_tokens=90_000).constraint
    assert near.min_input == 100_000 - 1_024
    far = after(err.ContextTooLong(), facts, EMPTY, input_tokens=20_000).constraint
    assert far.min_input == 20_000
    assert after(err.ContextTooLong(), facts, near, input_tokens=20_000).constraint.min_input == near.min_input
    assert (
        after(err.ContextTooLong(), facts, EMPTY, input_tokens=30_000, context=32_000).constraint.min_input
        == 31_000 - 24
    )


def test_too_large_here_believes_what_was_told(make) -> None:
    """Groq's 413 names the window of the account: whoever has more may be asked."""
    told = QuotaSeen("account_model", Unit.TOKENS, Window.MINUTE, limit=8_000)
    facts = make("p/m")
    assert after(err.TooLargeHere(quotas=[told]), facts, EMPTY, input_tokens=9_000).constraint.min_input == 8_000
    assert after(err.TooLargeHere(), facts, EMPTY, input_tokens=9_000).constraint.min_input == 9_000


def test_a_stop_is_a_stop(make) -> None:
    """An error whose step is to stop stops."""

    class Final(UpstreamError):
        next_step = NextStep.STOP

    assert after(Final(), make("p/m"), EMPTY).action == "stop"
