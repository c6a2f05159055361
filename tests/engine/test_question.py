"""hermes_router/engine/question.py: a parsed request becomes what an exchange is asked."""

import json
from typing import Any

import pytest

from hermes_router.core.errors import UnknownModel
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller
from hermes_router.engine.question import make_question
from hermes_router.wire.openai_chat import parse_request

from ..fakes import World

CALLER = Caller(RouterKeyId("k"), providers=frozenset({"groq"}), min_tier=2)


def question(model: str, headers: dict[str, str] | None = None) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return make_question(
        World("groq/a", "local/b").engine, parse_request(json.dumps(body).encode(), {}), CALLER, headers or {}, "req_1"
    )


def test_the_callers_key_limits_what_may_serve() -> None:
    """Scope and tier of the router key are constraints; `:local` never leaves the machine."""
    asked = question("hermes-router:local")
    assert asked.constraint.providers == {"groq"}
    assert asked.constraint.min_tier == 2
    assert asked.constraint.local_only


def test_headers_about_routing() -> None:
    """A profile and a fallback may come by header; a User-Agent is sent on as printable ASCII."""
    headers = {"x-hermes-profile": "Fast", "x-hermes-fallback": "ANY", "user-agent": "kimi\u00e9-cli/1\n"}
    asked = question("hermes-router", headers)
    assert (asked.demand.profile, asked.fallback_any, asked.caller_agent) == ("fast", True, "kimi-cli/1")


def test_a_profile_that_does_not_exist() -> None:
    """404, before anything is planned."""
    with pytest.raises(UnknownModel):
        question("hermes-router:nonsense")
