"""Codex accounts as providers like any other: all three dialects, both shapes, both routes, against the fake backends."""

from pathlib import Path

import pytest

from .backend import Account, Model
from .house import TOOL, CodexHouse

LITE = "codex/gpt-6.1-sol"
PLAIN = "codex/gpt-5.5"
RESPONSES_TOOL = {"type": "function", "name": "bash", "description": "run", "parameters": {"type": "object"}}
GROUP = {
    "type": "namespace", "name": "mcp__notes", "description": "notes",
    "tools": [{"type": "function", "name": "search", "parameters": {"type": "object", "properties": {}}}],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", [PLAIN, LITE])
async def test_a_chat_caller_is_served(tmp_path: Path, model: str, stream: bool) -> None:
    """The backend takes streams only, and leaves the output out of the last event: text and usage arrive all the same."""
    async with CodexHouse(tmp_path) as house:
        answer = await house.chat("hello there", model=model, stream=stream, temperature=0.3, max_tokens=400, user="u")
        assert answer.status == 200, answer.raw
        assert answer.text == "You said: hello there"
        assert answer.headers.get("x-hermes-target", model) == model
        body, headers = house.last
        assert (body["stream"], body["store"]) == (True, False)
        assert not {"temperature", "max_output_tokens", "user"} & body.keys()
        assert headers["originator"] == "hermes-router"
        assert headers["user-agent"].startswith("hermes-router/")
        assert headers["accept"] == "text/event-stream"
        assert not house.backend.refused


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("model", [PLAIN, LITE])
async def test_callers_of_the_other_dialects_are_served(tmp_path: Path, path: str, model: str) -> None:
    """Messages and Responses callers, with what only their dialect has, streamed and not."""
    async with CodexHouse(tmp_path) as house:
        for stream in (False, True):
            body = {"model": model, "stream": stream}
            if path.endswith("messages"):
                body |= {"max_tokens": 50, "system": "be short", "messages": [{"role": "user", "content": "hey"}]}
                body |= {"thinking": {"type": "enabled", "budget_tokens": 2_000}, "max_tokens": 9_000}
            else:
                body |= {"input": "hey", "instructions": "be short", "truncation": "auto", "metadata": {"a": "b"}}
                body |= {"reasoning": {"effort": "minimal"}, "max_output_tokens": 999, "safety_identifier": "x"}
            answer = await house.ask(path, body)
            assert answer.status == 200, answer.raw
            assert b"You said: hey" in answer.raw.replace(b'"},"', b"") or b"hey" in answer.raw
            assert b"codex.rate_limits" not in answer.raw
        assert not house.backend.refused
        assert house.last[0]["reasoning"].get("summary") == ("auto" if path.endswith("messages") else None)


@pytest.mark.parametrize("model", [PLAIN, LITE])
async def test_a_tool_is_called_and_its_result_understood(tmp_path: Path, model: str) -> None:
    """Tools go where the shape wants them; the call comes back by the caller's name; its thought is sent back with it."""
    async with CodexHouse(tmp_path) as house:
        first = await house.chat("use a tool", model=model, tools=[TOOL])
        message = first.json["choices"][0]["message"]
        [call] = message["tool_calls"]
        assert (call["function"]["name"], call["function"]["arguments"]) == ("bash", '{"a":1}')
        history = [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "use a tool"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "4"},
        ]
        second = await house.chat(model=model, messages=history, tools=[TOOL])
        assert second.text == "You said: a result"
        body, headers = house.last
        kinds = [item["type"] for item in body["input"]]
        tail = ["message", "reasoning", "function_call", "function_call_output"]
        if model == LITE:
            assert kinds == ["additional_tools", "message", *tail]
            assert body["input"][1]["role"] == "developer"
            assert body["input"][-2]["namespace"] == "functions"
            assert headers["x-openai-internal-codex-responses-lite"] == "true"
            assert body["reasoning"]["context"] == "all_turns"
        else:
            assert kinds == tail
            assert body["instructions"] == "be brief"
        assert not house.backend.refused


async def test_the_list_of_models_decides_the_shape(tmp_path: Path) -> None:
    """Which shape a model wants is what the list says now, not what the row said once, nor the model's name."""
    async with CodexHouse(tmp_path) as house:
        house.backend.models = (Model("gpt-6.1-sol", lite=False), Model("gpt-5.5", lite=True, efforts=("high",)))
        await house.probing.refresh()
        for model in (PLAIN, LITE):
            assert (await house.chat(model=model, reasoning_effort="low")).status == 200
        assert not house.backend.refused
        assert house.backend.heard[0][0]["reasoning"]["effort"] == "high"


async def test_the_version_of_the_list_asks_for_a_new_reading(tmp_path: Path) -> None:
    """An answer whose `x-models-etag` has changed makes the list due."""
    async with CodexHouse(tmp_path) as house:
        await house.chat()
        assert "codex" not in house.engine.prober.unknown_models
        house.backend.etag = 'W/"2"'
        await house.chat()
        assert "codex" in house.engine.prober.unknown_models


async def test_the_plan_route_groups_tools_and_names_no_account(tmp_path: Path) -> None:
    """The documented route: the public address, tools in a namespace, no account header, none of the lite shape."""
    async with CodexHouse(tmp_path, Account("a"), routes=("a",)) as house:
        answer = await house.chat("use a tool", model=LITE, tools=[TOOL], temperature=0.1)
        assert answer.json["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "bash"
        body, headers = house.last
        assert [tool["type"] for tool in body["tools"]] == ["namespace"]
        assert not {"chatgpt-account-id", "x-openai-internal-codex-responses-lite", "session-id"} & headers.keys()
        await house.probing.refresh()
        assert (await house.chat(model=LITE)).status == 200
        assert not house.backend.refused


async def test_a_full_window_moves_the_load_to_the_next_account(tmp_path: Path) -> None:
    """Sequential: the second account is untouched until the first one's window is full; no caller sees the change."""
    first, second = Account("a", cost=25.0), Account("b", cost=1.0)
    async with CodexHouse(tmp_path, first, second, ROTATION_MODE="sequential") as house:
        for _ in range(4):
            assert (await house.chat()).status == 200
            assert second.served == 0
        assert (await house.chat()).status == 200
        assert (first.served, second.served) == (4, 1)
        assert not house.backend.refused  # 100 % was told in the head: nobody had to be refused
        rows = [row for row in house.daemon.engine.state.windows(house.clock.now()) if row[1].unit == "percent"]
        told = {(scope.account, window.window): window.remaining for scope, window in rows}
        assert sorted(told.values()) == [0, 90, 99, 100]


async def test_a_refused_window_rests_until_the_instant_given(tmp_path: Path) -> None:
    """`usage_limit_reached` without a word before it: the account rests until `resets_at`, and then serves again."""
    async with CodexHouse(tmp_path, Account("a", used=100.0, resets_at=10**10)) as house:
        account = house.accounts["a"]
        account.resets_at = int(house.clock.now()) + 7_200
        answer = await house.chat()
        assert answer.status == 429
        assert 7_100 <= int(answer.headers["retry-after"]) <= 7_200
        assert len(house.backend.refused) == 1
        house.clock.advance(7_201)
        account.used = 0.0
        assert (await house.chat()).status == 200


@pytest.mark.parametrize("told", ["refused", "in the head"])
async def test_a_window_that_is_emptied_early_is_found_out_without_a_request(tmp_path: Path, told: str) -> None:
    """A wait of hours is looked at every ten minutes by the usage report, however it was learned; requests wait for it."""
    async with CodexHouse(tmp_path, Account("a", used=100.0 if told == "refused" else 99.0, cost=1.0)) as house:
        account = house.accounts["a"]
        account.resets_at = int(house.clock.now()) + 7_200
        house.backend.usage_down = True
        await house.probing.refresh()
        house.backend.usage_down = False
        assert (await house.chat()).status == (429 if told == "refused" else 200)
        target = house.engine.snapshot.roster.by_provider["codex"][0]
        assert house.engine.state.status(target, house.clock.now()).state == "cooling"
        account.used = 0.0
        house.clock.advance(601)
        asked = len(house.backend.refused)
        await house.probing.step("codex")
        assert house.backend.usage_asked == 2
        assert (await house.chat()).status == 200
        assert len(house.backend.refused) == asked


async def test_a_cap_that_cannot_be_sent_is_kept_all_the_same(tmp_path: Path) -> None:
    """`max_output_tokens` is a 400 there: the answer is cut here, and its end says so."""
    async with CodexHouse(tmp_path) as house:
        for stream in (False, True):
            answer = await house.chat("a rather long text, longer than that", max_tokens=4, stream=stream)
            assert len(answer.text) <= 16
            assert "length" in answer.raw.decode()


async def test_windows_are_told_within_the_stream_too(tmp_path: Path) -> None:
    """An answer whose head says nothing of the windows tells them in an event."""
    async with CodexHouse(tmp_path, Account("a", cost=30.0)) as house:
        house.backend.tells_windows = False
        for stream in (False, True):
            assert (await house.chat(stream=stream)).status == 200
            left = [w.remaining for _, w in house.engine.state.windows(house.clock.now()) if w.unit == "percent"]
            assert left == [40 if stream else 70]


async def test_the_usage_report_fills_the_ledger(tmp_path: Path) -> None:
    """Windows are known before the first request."""
    async with CodexHouse(tmp_path, Account("a", used=40.0)) as house:
        house.accounts["a"].resets_at = int(house.clock.now()) + 9_000
        await house.probing.refresh()
        windows = house.engine.state.windows(house.clock.now())
        told = {w.window: w.remaining for _, w in windows if w.unit == "percent"}
        assert told == {"plan": 60, "week": 96}


async def test_a_model_of_which_the_account_has_none_is_left_alone(tmp_path: Path) -> None:
    """An unentitled model rests for this account only, and its other models serve."""
    async with CodexHouse(tmp_path, Account("a", without=frozenset({"gpt-5.5"})), Account("b")) as house:
        for _ in range(4):
            assert (await house.chat()).status == 200
        assert len(house.backend.refused) <= 1
        assert house.accounts["b"].served == 4


async def test_what_is_closed_to_us_is_said_in_words(tmp_path: Path) -> None:
    """No disguise: a model for OpenAI's own clients answers 404, and the reason is told as what it is."""
    async with CodexHouse(tmp_path, CODEX_MODEL="gpt-6-luna") as house:
        answer = await house.chat(model="codex/gpt-6-luna")
        assert answer.status in {429, 503}
        [record] = [fields for event, fields in house.log.lines if event == "attempt.failed"][:1]
        assert "OpenAI's own clients" in str(record)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_thoughts_of_one_account_never_go_to_another(tmp_path: Path, stream: bool) -> None:
    """What one account sealed goes back to it, and is dropped, not sent, when another account goes on with it."""
    a, b = Account("a"), Account("b")
    async with CodexHouse(tmp_path, a, b, ROTATION_MODE="sequential") as house:
        asked = {"model": PLAIN, "tools": [RESPONSES_TOOL], "store": False, "stream": stream}
        asked["include"] = ["reasoning.encrypted_content"]
        first = await house.ask("/v1/responses", {**asked, "input": "use a tool"})
        output = (first.events[-1]["response"] if stream else first.json)["output"]
        assert [item["type"] for item in output] == ["reasoning", "function_call"]
        result = {"type": "function_call_output", "call_id": output[1]["call_id"], "output": "4"}
        asked["input"] = [{"role": "user", "content": "use a tool"}, *output, result]
        assert (await house.ask("/v1/responses", asked)).status == 200
        assert (a.served, house.last[0]["input"][1]["type"]) == (2, "reasoning")
        a.used, a.resets_at = 100.0, int(house.clock.now()) + 100
        second = await house.ask("/v1/responses", asked)
        assert second.status == 200, second.raw
        assert b.served == 1
        assert [item["type"] for item in house.last[0]["input"]] == ["message", "function_call", "function_call_output"]
        assert {refusal.status for refusal in house.backend.refused} == {429}


@pytest.mark.parametrize("model", [PLAIN, LITE])
async def test_a_responses_callers_own_namespaces_survive(tmp_path: Path, model: str) -> None:
    """A call of a tool in a namespace comes back in that namespace, in either shape; plain ones without any."""
    async with CodexHouse(tmp_path) as house:
        for tools, group, name in (([GROUP], "mcp__notes", "search"), ([RESPONSES_TOOL, GROUP], None, "bash")):
            for stream in (False, True):
                asked = {"model": model, "input": "use a tool", "tools": tools, "stream": stream}
                answer = await house.ask("/v1/responses", asked)
                assert answer.status == 200, answer.raw
                whole = answer.events[-1]["response"] if stream else answer.json
                call = next(item for item in whole["output"] if item["type"] == "function_call")
                assert (call.get("namespace") or None, call["name"]) == (group, name)
                assert b"codex." not in answer.raw  # what the backend says to the owner of the account
        assert not house.backend.refused


async def test_hosted_tools_that_it_does_not_run_are_dropped(tmp_path: Path) -> None:
    """Tools of its own client are not forwarded: dropped and said; a demand for one is a 400."""
    async with CodexHouse(tmp_path) as house:
        hosted = [{"type": "image_generation"}, {"type": "web_search"}]
        answer = await house.ask("/v1/responses", {"model": PLAIN, "input": "hi", "tools": hosted})
        assert answer.status == 200
        assert "dropped:image_generation" in answer.headers["x-hermes-warnings"].replace("; ", ":")
        demand = {"model": PLAIN, "input": "hi", "tools": hosted, "tool_choice": {"type": "image_generation"}}
        assert (await house.ask("/v1/responses", demand)).status == 400


CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5.5", "status": "in_progress"}}


def failed(code: str, **more: object) -> dict[str, object]:
    """A failure that comes within a good answer."""
    return {"type": "response.failed", "response": {"status": "failed", "error": {"code": code, **more}}}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "events",
    [
        [CREATED, failed("server_is_overloaded", message="busy")],
        [CREATED, failed("rate_limit_exceeded", message="Rate limit reached. Please try again in 11.05s")],
        [CREATED, failed("usage_limit_reached", type="usage_limit_reached", message="limit", resets_in_seconds=900)],
        [CREATED, {"type": "error", "code": "server_error", "message": "oh", "param": None}],
        [CREATED, {"type": "error", "error": {"type": "usage_not_included", "message": "no"}, "status": 429}],
        [CREATED],
    ],
    ids=["overloaded", "burst", "limit", "flat error", "not in the plan", "cut"],
)
async def test_a_failure_within_a_good_answer_is_nobodys_concern(
    tmp_path: Path, events: list[dict[str, object]], stream: bool
) -> None:
    """codex.md 8: failures right behind the head of a 200, and a stream that just ends: the next account serves unseen."""
    async with CodexHouse(tmp_path, Account("a"), Account("b")) as house:
        bad = [events]
        house.backend.script = lambda _: bad.pop() if bad else None
        answer = await house.chat("hello", stream=stream)
        assert (answer.status, answer.text) == (200, "You said: hello")
        assert len(house.backend.heard) == 2


async def test_a_limit_within_a_stream_cools_the_account_until_its_instant(tmp_path: Path) -> None:
    """The same fact as a 429 would be: this account rests until then, the other one serves."""
    a, b = Account("a"), Account("b")
    async with CodexHouse(tmp_path, a, b, ROTATION_MODE="sequential") as house:
        limit = failed("usage_limit_reached", message="limit", resets_at=int(house.clock.now()) + 900)
        bad = [[CREATED, limit]]
        house.backend.script = lambda _: bad.pop() if bad else None
        for _ in range(3):
            assert (await house.chat()).status == 200
        assert (a.served, b.served) == (1, 3)
        house.clock.advance(901)
        assert (await house.chat()).status == 200
        assert a.served == 2
