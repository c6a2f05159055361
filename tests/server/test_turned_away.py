"""hermes_router/server/turned_away.py: a caller who is refused at the door is told of, and cannot fill the log."""

from hermes_router.core.errors import NotFound, Unauthorized
from hermes_router.server.turned_away import TurnedAway

from ..fakes import SilentLog


def test_a_kind_is_said_at_once_and_then_once_a_minute_with_its_number() -> None:
    """An agent with a wrong key asks again and again: two lines in two minutes say all of it."""
    log = SilentLog()
    away = TurnedAway(log)
    for second in range(61):
        away.note(Unauthorized("no"), method="POST", path="/v1/x", request_id=f"req_{second}", now=1_000.0 + second)
    away.note(NotFound("no"), method="GET", path="/" + "y" * 500, request_id="req_n", now=1_061.0)
    first, second, other = (fields for _, fields in log.lines)
    assert first == {"request_id": "req_0", "status": 401, "error": "Unauthorized", "method": "POST", "path": "/v1/x"}
    assert (second["times"], second["within_s"], second["request_id"]) == (60, 60, "req_60")
    assert (other["status"], len(str(other["path"]))) == (404, 200)
