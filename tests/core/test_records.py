"""What is kept of an exchange: how a failed attempt is told of."""

from hermes_router.core.ids import CredentialId, ModelId, ProviderName, Target
from hermes_router.core.records import AttemptRecord, ExchangeRecord, failed_attempts


def attempt(outcome: str, **more) -> AttemptRecord:
    return AttemptRecord("groq", "llama", "2f9a77", "wxyz", outcome, **more)


def exchange(*attempts: AttemptRecord) -> ExchangeRecord:
    return ExchangeRecord(
        "req_1", 100.0, "rk", "openai_chat", "hermes-router", "", False, "answered", 1.0, 1, 10, attempts
    )


def test_the_failed_attempts_of_an_exchange_come_latest_first() -> None:
    """Neither the answer nor a caller who left is a failure; each failure has its own time, else the exchange's."""
    record = exchange(
        attempt("limited", said="slow down"), attempt("broken", sent_at=103.0), attempt("ok"), attempt("abandoned")
    )
    found = failed_attempts(record)
    assert [(each.outcome, each.at, each.said) for each in found] == [
        ("broken", 103.0, ""),
        ("limited", 100.0, "slow down"),
    ]
    assert {each.request_id for each in found} == {"req_1"}


def test_an_attempt_names_its_target_as_a_target_prints() -> None:
    """What `hr status` shows of an error is found again in the log and among the targets."""
    assert attempt("ok").target == str(Target(ProviderName("groq"), ModelId("llama"), CredentialId("2f9a77")))
