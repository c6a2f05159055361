"""hermes_router/server/responses.py: what each path of `/v1/responses` does with what is remembered."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

PATH = "/v1/responses"


async def post(router: Any, path: str = PATH, headers: Any = None, **fields: Any) -> Any:
    body = {"model": "hermes-router", "input": "hi", **fields}
    return await router.ask("POST", path, json.dumps(body).encode(), headers)


async def test_an_answer_is_kept_unless_its_request_says_otherwise(serve: Any, speak: Any) -> None:
    """The next request goes on behind it; the provider is told all of it, and no id."""
    router = await serve(speak.whole("four"))
    first = (await post(router)).json
    assert (first["store"], first["previous_response_id"]) == (True, None)
    second = (await post(router, input="and now", previous_response_id=first["id"], store=False)).json
    assert (second["store"], second["previous_response_id"]) == (False, first["id"])
    sent = json.loads(router.providers.requests[-1].body)
    assert [one["content"] for one in sent["messages"]] == ["hi", "four", "and now"]
    assert "previous_response_id" not in sent
    assert (await post(router, previous_response_id=second["id"])).status == 400
    assert "x-hermes-warnings" not in (await post(router, store=True)).headers


async def test_a_stream_is_kept(serve: Any, speak: Any) -> None:
    """By the id of its events."""
    router = await serve(speak.stream("fo", "ur"), speak.whole("five"))
    streamed = await post(router, stream=True)
    events = [json.loads(line[6:]) for line in streamed.body.decode().splitlines() if line.startswith("data: ")]
    ident = events[0]["response"]["id"]
    assert {(e["response"]["id"], e["response"]["store"]) for e in events if "response" in e} == {(ident, True)}
    assert (await post(router, previous_response_id=ident)).status == 200
    assert [one["content"] for one in json.loads(router.providers.requests[-1].body)["messages"]] == [
        "hi",
        "four",
        "hi",
    ]


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1"])
async def test_an_answer_is_shown_and_erased(serve: Any, speak: Any, prefix: str) -> None:
    """On every spelling of the path; 404 in the envelope once it is gone."""
    router = await serve(speak.whole("four"))
    first = await post(router)
    path = f"{prefix}/responses/{first.json['id']}"
    shown = await router.ask("GET", path)
    assert (shown.status, shown.body) == (200, first.body)
    listed = (await router.ask("GET", f"{path}/input_items?order=asc")).json
    assert [item["content"][0]["text"] for item in listed["data"]] == ["hi"]
    erased = await router.ask("DELETE", path)
    assert erased.json == {"id": first.json["id"], "object": "response", "deleted": True}
    for method in ("GET", "DELETE"):
        gone = await router.ask(method, path)
        assert (gone.status, gone.error["type"]) == (404, "invalid_request_error")
        assert gone.error["message"] == f"Response with id '{first.json['id']}' not found."
    assert (await router.ask("GET", f"{path}/input_items")).status == 404
    assert (await router.ask("PUT", path)).status == 405


async def test_a_key_is_needed(serve: Any, speak: Any) -> None:
    """401 on each of these paths; a stranger does not learn what exists."""
    router = await serve(speak.whole("four"))
    ident = (await post(router)).json["id"]
    for method in ("GET", "DELETE"):
        for key in (None, "sk-wrong"):
            assert (await router.ask(method, f"{PATH}/{ident}", key=key)).status == 401
    assert (await router.ask("GET", f"{PATH}/{ident}")).status == 200


async def test_a_history_beyond_the_largest_request_is_413(serve: Any, speak: Any) -> None:
    """What could not be sent at once cannot be referred to; a small one can."""
    router = await serve(speak.whole("four"), MAX_REQUEST_BYTES="600")
    ident = (await post(router, input="x" * 300)).json["id"]
    ident = (await post(router, input="x" * 300, previous_response_id=ident)).json["id"]
    answer = await post(router, previous_response_id=ident)
    assert answer.status == 413
    assert "MAX_REQUEST_BYTES (600 bytes)" in answer.error["message"]


async def test_what_is_kept_is_forgotten_when_the_setting_says_so(serve: Any, speak: Any) -> None:
    """RESPONSES_STORE=0 takes force at once, and what is turned on again begins with nothing."""
    router = await serve(speak.whole("four"))
    ident = (await post(router)).json["id"]
    loaded = router.daemon.loaded
    router.daemon.swap(replace(loaded, settings=replace(loaded.settings, responses_store=False)))
    refused = await post(router, previous_response_id=ident)
    assert (refused.status, refused.error["code"]) == (400, "unsupported_parameter")
    assert (await router.ask("GET", f"{PATH}/{ident}")).status == 404
    assert (await post(router)).json["store"] is False
    router.daemon.swap(loaded)
    unknown = await post(router, previous_response_id=ident)
    assert (unknown.status, unknown.error["code"]) == (400, "previous_response_not_found")


async def test_pages_may_erase_where_their_origin_is_let_in(serve: Any, speak: Any) -> None:
    """The preflight names DELETE."""
    router = await serve(speak.whole("four"), CORS_ORIGINS="https://page.example")
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "DELETE"}
    answer = await router.ask("OPTIONS", f"{PATH}/resp_1", headers=asked)
    assert "DELETE" in answer.headers["access-control-allow-methods"]
