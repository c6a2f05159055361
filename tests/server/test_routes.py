"""hermes_router/server/routes.py: what each path does."""

import json
from typing import Any

import pytest

CHAT = "/v1/chat/completions"


async def test_chat_answers_whole(serve: Any, speak: Any) -> None:
    """A plain request gets the provider's answer, its target and the attempts; the provider got our key, not the caller's."""
    router = await serve(speak.whole("four"))
    answer = await router.chat()
    assert answer.json["choices"][0]["message"]["content"] == "four"
    assert answer.headers["x-hermes-target"] == "groq/openai/gpt-oss-20b"
    assert answer.headers["x-hermes-attempts"] == "1"
    assert "x-hermes-warnings" not in answer.headers
    sent = router.providers.requests[0]
    assert sent.headers["authorization"] == "Bearer gsk_0123456789abcdef"
    assert speak.key not in str(dict(sent.headers))
    assert sent.url.endswith("/chat/completions")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}, "messages[0]"),
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": "many"}, "max_tokens"),
    ],
)
async def test_wrong_types_are_400_with_the_path_of_the_field(serve: Any, fields: dict[str, Any], param: str) -> None:
    """Malformed requests name their field in `param`; nothing goes upstream."""
    router = await serve()
    answer = await router.chat(**fields)
    assert answer.status == 400
    assert (answer.error["param"] or "").startswith(param)
    assert answer.headers["x-should-retry"] == "false"
    assert not router.providers.requests


async def test_missing_messages_are_400(serve: Any) -> None:
    """A body without messages names them."""
    router = await serve()
    answer = await router.ask("POST", CHAT, b"{}")
    assert (answer.status, answer.error["param"]) == (400, "messages")


async def test_an_unknown_profile_is_404(serve: Any) -> None:
    """`hermes-router:x` is no model."""
    router = await serve()
    answer = await router.chat(model="hermes-router:x")
    assert (answer.status, answer.error["param"]) == (404, "model")


@pytest.mark.parametrize("name", ["gpt-4", "mod\u00e8le", "a\nb", "x" * 5_000, "\u0000", "\ud83d\ude00"])
async def test_a_name_that_is_no_pin_is_ignored_with_a_warning(serve: Any, speak: Any, name: str) -> None:
    """Whatever characters it has, the header is well formed."""
    router = await serve(speak.whole())
    answer = await router.chat(model=name)
    assert (answer.status, answer.headers["x-hermes-warnings"]) == (200, "ignored:model")


async def test_strict_models_make_it_a_404_that_names_near_ones(serve: Any) -> None:
    """STRICT_MODELS=1: a name that is no pin does not exist."""
    router = await serve(STRICT_MODELS="1")
    answer = await router.chat(model="gpt-oss-20b")
    assert answer.status == 404
    assert "gpt-oss-20b" in answer.error["message"].split("Near ones")[1]


async def test_the_fast_profile_can_be_asked_by_a_header(serve: Any, speak: Any) -> None:
    """X-Hermes-Profile: fast is hermes-router:fast for callers who cannot change the name."""
    router = await serve(speak.whole())
    assert (await router.chat({"X-Hermes-Profile": "FAST"})).status == 200


async def test_a_local_question_without_local_is_400(serve: Any) -> None:
    """:local never leaves the machine: without a local target nothing is asked."""
    router = await serve()
    answer = await router.chat(model="hermes-router:local")
    assert (answer.status, answer.error["code"]) == (400, "no_capable_target")
    assert not router.providers.requests


async def test_a_pin_that_is_down_is_not_replaced(serve: Any, speak: Any) -> None:
    """P/M means that model and no other, unless X-Hermes-Fallback: any says so."""
    refused = speak.turn(status=500, chunks=(b"{}",))
    router = await serve(refused, MISTRAL_API_KEY="mistral-0123456789")
    answer = await router.chat(model="groq/openai/gpt-oss-20b")
    assert answer.status == 503
    assert {a["target"] for a in answer.error["attempts"]} == {"groq/openai/gpt-oss-20b"}
    router.providers.turns[:] = [refused, speak.whole()]
    answer = await router.chat({"X-Hermes-Fallback": "any"}, model="groq/openai/gpt-oss-20b")
    assert answer.status == 200
    assert answer.headers["x-hermes-target"].startswith("mistral/")


async def test_models_list_what_can_be_named(serve: Any) -> None:
    """The profiles come first, then every P/M, each with its window and output cap."""
    router = await serve()
    listed = (await router.ask("GET", "/v1/models")).json
    assert listed["object"] == "list"
    ids = [model["id"] for model in listed["data"]]
    assert ids[:3] == ["hermes-router", "hermes-router:fast", "hermes-router:local"]
    assert "groq/openai/gpt-oss-20b" in ids
    pinnable = next(model for model in listed["data"] if model["id"] == "groq/openai/gpt-oss-20b")
    assert pinnable["context_length"] > 64_000
    assert pinnable["max_output_tokens"] > 0
    assert {"object", "created", "owned_by"} <= set(pinnable)


@pytest.mark.parametrize(
    "name", ["hermes-router", "hermes-router:fast", "groq/openai/gpt-oss-20b", "groq%2Fopenai%2Fgpt-oss-20b"]
)
async def test_one_model_is_found_by_its_id(serve: Any, name: str) -> None:
    """Ids hold slashes and colons, escaped or not."""
    router = await serve()
    answer = await router.ask("GET", f"/v1/models/{name}")
    assert (answer.status, answer.json["id"]) == (200, name.replace("%2F", "/"))


async def test_an_unknown_model_is_404_in_the_sdks_shape(serve: Any) -> None:
    """GET /v1/models/{id} of nothing is 404 with the model's code."""
    router = await serve()
    answer = await router.ask("GET", "/v1/models/no/such%20model")
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize("name", ["hermes-router", "claude-hermes-router", "groq/openai/gpt-oss-20b"])
async def test_every_id_of_the_anthropic_list_is_found_by_it(serve: Any, name: str) -> None:
    """The alias for Claude Code's discovery, too, under the name that was asked for (clients.md 7.10, 7.21)."""
    router, version = await serve(), {"anthropic-version": "2026-10-21"}
    listed = (await router.ask("GET", "/v1/models", headers=version)).json
    assert name in [model["id"] for model in listed["data"]]
    answer = await router.ask("GET", f"/v1/models/{name}", headers=version)
    assert (answer.status, answer.json["type"], answer.json["id"]) == (200, "model", name)


async def test_where_a_path_has_no_dialect_errors_are_in_that_of_the_sdk(serve: Any, speak: Any) -> None:
    """Anthropic's SDKs name their version with everything: a missing model, a wrong key, an unknown path."""
    router, version = await serve(), {"anthropic-version": "2023-06-01"}
    for path, key, status, kind in (
        ("/v1/models/nothing", speak.key, 404, "not_found_error"),
        ("/v1/models", "wrong", 401, "authentication_error"),
        ("/v1/messages/batches", speak.key, 404, "not_found_error"),
    ):
        answer = await router.ask("GET", path, headers=version, key=key)
        assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (status, "error", kind)
        assert answer.json["request_id"] == answer.headers["request-id"]


async def test_status_shows_every_target_and_no_secret(serve: Any) -> None:
    """Each target has its state, why and until when; of the key, the last four characters."""
    router = await serve()
    report = (await router.ask("GET", "/v1/status")).json
    assert {"version", "uptime_s", "ready", "mode", "targets", "counters"} <= set(report)
    target = report["targets"][0]
    assert {
        "target", "provider", "model", "credential", "account", "state", "reason", "until", "capabilities", "quota",
    } <= set(target)  # fmt: skip
    assert (target["provider"], target["model"], target["credential"], target["state"]) == (
        "groq", "openai/gpt-oss-20b", "cdef", "ready",
    )  # fmt: skip
    assert "gsk_" not in json.dumps(report)


async def test_a_failure_shows_in_status(serve: Any, speak: Any) -> None:
    """A revoked key is paused, with a reason and a time, and readiness is gone with the only target."""
    router = await serve(
        speak.turn(status=401, chunks=(b'{"error":{"message":"Invalid API Key","code":"invalid_api_key"}}',))
    )
    assert (await router.chat()).status == 503
    report = (await router.ask("GET", "/v1/status")).json
    target = report["targets"][0]
    assert (target["state"], report["ready"]) == ("paused", False)
    assert target["reason"]
    assert target["until"] > 1_700_000_000
    assert report["counters"]["failed"] == 1
    assert (await router.ask("GET", "/ready", key=None)).status == 503


async def test_health_and_ready_need_no_key(serve: Any) -> None:
    """Alive, and able to serve, are open questions."""
    router = await serve()
    health, ready = await router.ask("GET", "/health", key=None), await router.ask("GET", "/ready", key=None)
    assert (health.status, health.json) == (200, {"status": "ok"})
    assert (ready.status, ready.json) == (200, {"ready": True})
    assert (await router.ask("GET", "/", key=None)).json["name"] == "hermes-router"


async def test_a_router_without_a_key_says_so(serve: Any) -> None:
    """Zero keys: alive, not ready, an empty list of targets, and 503 on chat with a time."""
    router = await serve(GROQ_API_KEY="", GROQ_MODEL="")
    assert (await router.ask("GET", "/health", key=None)).status == 200
    assert (await router.ask("GET", "/ready", key=None)).status == 503
    report = (await router.ask("GET", "/v1/status")).json
    assert (report["targets"], report["ready"]) == ([], False)
    for streaming in (False, True):
        answer = await router.chat(stream=streaming)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
    assert [m["id"] for m in (await router.ask("GET", "/v1/models")).json["data"]][:1] == ["hermes-router"]


@pytest.mark.parametrize("agent", ["claude-cli/2", "agent\xe9", "x" * 500])
async def test_a_callers_agent_is_passed_on_where_the_row_says_so(serve: Any, speak: Any, agent: str) -> None:
    """Kimi looks at who calls: it gets the caller's agent as far as that can be sent, other providers ours."""
    router = await serve(speak.whole(), GROQ_API_KEY="", GROQ_MODEL="", KIMI_API_KEY="sk-kimi-0123456789")
    answer = await router.chat({"User-Agent": agent})
    assert answer.status == 200
    sent = router.providers.requests[0].headers["user-agent"]
    assert sent == agent.replace("\xe9", "")[:200]
    plain = await serve(speak.whole())
    await plain.chat({"User-Agent": agent})
    assert plain.providers.requests[0].headers["user-agent"].startswith("hermes-router/")


@pytest.mark.parametrize("status", [400, 422])
async def test_a_providers_own_key_in_a_refusal_is_not_passed_on(serve: Any, speak: Any, status: int) -> None:
    """ll13: a 400 of a provider goes back to the caller, and the key that it quotes does not; neither does the log get it."""
    text = "x" * 270 + " key gsk_0123456789abcdef is not for this model"
    refusal = json.dumps({"error": {"message": text, "type": "invalid_request_error"}}).encode()
    router = await serve(speak.turn(status=status, chunks=(refusal,)))
    answer = await router.chat()
    seen = answer.body.decode() + str(router.notes.events)
    assert answer.status == 400
    assert "gsk_0123" not in seen
    assert "xxx" in seen


async def test_a_key_inside_a_stream_error_is_not_passed_on(serve: Any, speak: Any) -> None:
    """ll13: an error object within a stream is cleaned like an error body."""
    bad = b'data: {"error":{"message":"key gsk_0123456789abcdef is bad","code":400,"type":"invalid_request_error"}}\n\n'
    router = await serve(speak.turn(headers={"content-type": "text/event-stream"}, chunks=(bad,)))
    answer = await router.chat(stream=True)
    assert "gsk_0123" not in answer.body.decode() + str(router.notes.events)
    assert router.notes.named("attempt.failed")
