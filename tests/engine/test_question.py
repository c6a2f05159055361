"""hermes_router/engine/question.py: a parsed request becomes what an exchange is asked."""

import json
from typing import Any

import pytest

from hermes_router.core.errors import UnknownModel
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller
from hermes_router.engine.question import make_question
from hermes_router.wire.chat.request import parse_request

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


@pytest.mark.parametrize(("sent", "seconds"), [("0", 0.0), ("90", 90.0), (" 2.5 ", 2.5)])
def test_how_long_the_caller_lets_it_wait(sent: str, seconds: float) -> None:
    """`X-Hermes-Max-Wait`, in seconds; absent is None, so that the key's patience or the setting counts."""
    assert question("hermes-router", {"x-hermes-max-wait": sent}).max_wait_s == seconds
    assert question("hermes-router").max_wait_s is None


@pytest.mark.parametrize("sent", ["", "soon", "-1", "nan", "inf", "1e9", "0x10", "1_000", "9" * 10_000])
def test_nonsense_about_waiting_is_ignored_and_said(sent: str) -> None:
    """A typing error in a header costs an unattended agent no request."""
    asked = question("hermes-router", {"x-hermes-max-wait": sent})
    assert asked.max_wait_s is None
    assert [str(notice) for notice in asked.notices] == ["ignored:x-hermes-max-wait"]
