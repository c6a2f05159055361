"""The `compact` operation: what is asked, what goes out, what comes back, and whom it is sent back to."""

import json
from typing import Any

import pytest
from openai.types.responses import CompactedResponse

from hermes_router.core.catalog import Quirk
from hermes_router.core.errors import BadRequest, ForeignThought, Inexpressible, ServerFailed
from hermes_router.core.events import Usage
from hermes_router.wire.chat.outgoing import Options
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.responses.compact import compacted, compactions_in, not_compacted, not_its_own, parse_compact
from hermes_router.wire.responses.compose import compose
from hermes_router.wire.responses.content import read
from hermes_router.wire.responses.request import open_request

from ..responses_bodies import NATIVE, Memory, facts, parse, passed
from ..streams import NOW, new_ids

USER = {"role": "user", "content": "hi"}
ITEM = {"type": "compaction", "id": "cmp_1", "encrypted_content": "secret"}
TRIGGER = {"type": "compaction_trigger"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
EVERYTHING: dict[str, Any] = {
    "model": "auto", "input": [USER], "instructions": "x", "tools": [TOOL], "tool_choice": "auto", "store": True,
    "parallel_tool_calls": True, "reasoning": {"effort": "low"}, "service_tier": "priority", "prompt_cache_key": "k",
    "text": {"verbosity": "low"}, "metadata": {"a": "b"}, "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 99, "temperature": 1.0, "image": {"context_compression": "auto"}, "unheard_of": 1,
}  # fmt: skip
UNARY = Options(stream=False)


def compacting(**fields: Any) -> Inbound:
    """A request to compact."""
    return parse_compact(open_request(json.dumps(EVERYTHING | fields).encode()), {})


def test_it_is_its_own_operation_and_needs_who_has_it() -> None:
    """Sized and checked as any request, never a stream."""
    inbound = compacting()
    assert (inbound.operation, inbound.request.compaction, inbound.request.stream) == ("compact", True, False)
    assert inbound.request.text_bytes > 0
    with pytest.raises(BadRequest) as refused:
        compacting(stream=True)
    assert refused.value.param == "stream"


@pytest.mark.parametrize(
    ("quirks", "more"),
    [
        ((NATIVE,), {"image"}),
        ((NATIVE, Quirk.CODEX_BODY), {"tools", "parallel_tool_calls", "reasoning", "text"}),
    ],
    ids=["public", "plan"],
)
def test_what_it_takes_goes_out_and_nothing_else(quirks: tuple[Quirk, ...], more: set[str]) -> None:
    """Each address has its own fields (codex.md 6.5); the caller's values are unchanged, and nothing is a stream."""
    rendered, body = passed(compacting(), facts(*quirks), UNARY)
    both = {"model", "input", "instructions", "prompt_cache_key", "service_tier"}
    assert body.keys() == both | more
    assert body["model"] == "m-1"
    assert (rendered.path, rendered.straight, rendered.sent_max_tokens) == ("/compact", True, None)
    assert "accept" not in dict(rendered.headers)
    for key in ("instructions", "service_tier", "prompt_cache_key"):
        assert body[key] == EVERYTHING[key]


def test_a_bare_output_becomes_the_object_of_the_sdk() -> None:
    """A plan's backend tells the output alone; what is whole stays as it came, byte for byte."""
    usage = Usage(10, 5, 4, 2, written_tokens=1)
    told = json.loads(compacted(json.dumps({"output": [ITEM]}).encode(), usage, new_id=new_ids(), now=NOW))
    CompactedResponse.model_validate(told, strict=True)
    assert told["usage"]["total_tokens"] == 15
    assert told["output"] == [ITEM]
    whole = json.dumps({**told, "more": 1}, indent=1).encode()
    assert compacted(whole, usage, new_id=new_ids(), now=NOW) == whole


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_missing_address_says_nothing_of_the_model(status: int) -> None:
    """It becomes a refusal of this request; every other failure is what it was."""
    assert isinstance(not_compacted(ServerFailed("x", status=status)), Inexpressible)
    other = ServerFailed("x", status=500)
    assert not_compacted(other) is other


# --- what was compacted ----------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [(NATIVE,), (NATIVE, Quirk.CODEX_BODY)], ids=["passed", "composed"])
def test_it_goes_back_to_its_maker_as_it_was_made(quirks: tuple[Quirk, ...]) -> None:
    """Also where nobody remembers who that was; never to another, nor to an unknown one that refuses seals."""
    inbound = parse(input=[ITEM, USER, TRIGGER])
    assert inbound.request.compaction
    assert inbound.request.assistant_turns == 1
    for made in ({}, {"secret": True}):
        rendered, body = passed(inbound, facts(*quirks), recall=Memory(made=made))
        assert body["input"][0] == ITEM
        assert body["input"][-1] == TRIGGER
        assert rendered.straight
    with pytest.raises(Inexpressible):
        passed(inbound, facts(*quirks), recall=Memory(made={"secret": False}))
    stripped = Options(stream=True, strip_thoughts=True)
    assert passed(inbound, facts(*quirks), stripped, Memory(made={"secret": True}))[1]["input"][0] == ITEM
    with pytest.raises(Inexpressible):
        passed(inbound, facts(*quirks), stripped)


@pytest.mark.parametrize("item", [ITEM, TRIGGER], ids=["item", "order"])
def test_who_only_copied_the_dialect_is_not_sent_it(item: dict[str, Any]) -> None:
    """All that is left of a conversation is not dropped with a warning."""
    with pytest.raises(Inexpressible):
        compose(read(parse(input=[USER, item])), facts(), UNARY, Memory())


@pytest.mark.parametrize("wrong", [{"encrypted_content": None}, {"encrypted_content": 3}, {"id": 3}])
def test_a_wrong_item_is_named(wrong: dict[str, Any]) -> None:
    """Its path is in the refusal."""
    with pytest.raises(BadRequest) as refused:
        parse(input=[USER, ITEM | wrong])
    assert refused.value.param == f"input[1].{next(iter(wrong))}"


def test_a_refused_seal_is_another_ones_history() -> None:
    """It cannot be left out as a thought can; what else went wrong is what it was."""
    assert isinstance(not_its_own(ForeignThought("x", status=400)), Inexpressible)
    other = ServerFailed("x", status=500)
    assert not_its_own(other) is other
    assert [seal.data for seal in compactions_in(parse(input=[ITEM, USER, TRIGGER]).fields)] == ["secret"]
    assert compactions_in(parse(input="x").fields) == []
    assert compactions_in({}) == []
