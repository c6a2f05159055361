"""hermes_router/upstream/model_lists.py: what each family of lists says, and what is no list."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hermes_router.control.places import user_places
from hermes_router.core.catalog import Capability, Known, Price
from hermes_router.core.errors import Malformed, UpstreamError
from hermes_router.core.ids import Secret
from hermes_router.core.live_lists import Listed
from hermes_router.daemon.config import load
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Sandbox
from hermes_router.upstream.auth import key_headers, list_headers
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.model_lists import FAMILIES, list_address, read_list, read_models

YES, NO = Known.YES, Known.NO
KEY = "key-0123456789abcdef"


def _one(family: str, entry: dict[str, Any], **wrap: Any) -> Listed:
    [found] = read_models(json.dumps(wrap or {"data": [entry]}).encode(), family)
    return found


def test_openrouter() -> None:
    """Prices are dollars a token as text, the smaller window counts, `supported_parameters` says yes and no."""
    found = _one(
        "openrouter",
        {
            "id": "a/b:free", "context_length": 262144, "pricing": {"prompt": "0", "completion": "0", "request": "0"},
            "top_provider": {"context_length": 131072, "max_completion_tokens": 32768},
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "supported_parameters": ["tools", "structured_outputs", "response_format"],
        },
    )  # fmt: skip
    assert (found.id, found.context, found.max_output, found.price) == ("a/b:free", 131_072, 32_768, Price())
    assert found.capabilities == {
        Capability.TOOLS: YES, Capability.REASONING: NO, Capability.JSON_SCHEMA: YES, Capability.JSON_OBJECT: YES,
        Capability.IMAGES: YES, Capability.AUDIO: NO, Capability.FILES: NO,
    }  # fmt: skip


def test_money_is_never_taken_for_nothing() -> None:
    """A price by the request, a tiny one, a negative one (it depends) or none: only a plain zero is free."""
    entry = {"id": "m", "pricing": {"prompt": "0.00000015", "completion": "0.0000006"}}
    assert _one("openrouter", entry).price == Price(150_000, 600_000)
    for pricing in (
        {"prompt": "0", "completion": "0", "request": "0.01"},
        {"prompt": "1e-20", "completion": "0"},
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "nan", "completion": "0"},
        {"prompt": "0"},
        "free!",
    ):
        assert _one("openrouter", {"id": "m", "pricing": pricing}).price != Price()


def test_what_makes_pictures_is_no_chat_model() -> None:
    """A model that writes no text is not offered for chats."""
    entry = {"id": "m", "architecture": {"output_modalities": ["image"]}}
    assert not _one("openrouter", entry).chats


def test_gemini_natively() -> None:
    """Names carry a prefix, windows have names of their own; what only embeds is no chat model."""
    rows = [
        {"name": "models/gemini-x", "inputTokenLimit": 1048576, "outputTokenLimit": 65536, "thinking": True,
         "supportedGenerationMethods": ["generateContent", "countTokens"]},
        {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]},
    ]  # fmt: skip
    one, other = read_models(json.dumps({"models": rows}).encode(), "gemini", "models/")
    assert (one.id, one.context, one.max_output, one.chats) == ("gemini-x", 1_048_576, 65_536, True)
    assert one.capabilities == {Capability.REASONING: YES}
    assert (other.id, other.chats) == ("embed", False)


def test_mistral() -> None:
    """Capabilities are named, and a model has aliases."""
    found = _one(
        "mistral",
        {
            "id": "mistral-small-2603", "max_context_length": 262144, "aliases": ["mistral-small-latest"],
            "capabilities": {"completion_chat": True, "function_calling": True, "vision": False},
        },
    )  # fmt: skip
    assert (found.context, found.aliases) == (262_144, ("mistral-small-latest",))
    assert found.capabilities == {Capability.TOOLS: YES, Capability.IMAGES: NO}
    assert not _one("mistral", {"id": "ocr", "capabilities": {"completion_chat": False}}).chats


def test_cohere_natively() -> None:
    """Endpoints tell chat models, features what they can; what is not named is unknown."""
    entry = {"name": "command", "endpoints": ["chat"], "context_length": 256000, "features": ["tools", "json_schema"]}
    found = _one("cohere", entry, models=[entry])
    assert (found.id, found.context) == ("command", 256_000)
    assert found.capabilities == {Capability.TOOLS: YES, Capability.JSON_SCHEMA: YES}
    assert not _one("cohere", {"name": "embed", "endpoints": ["embed"]}).chats


def test_huggingface() -> None:
    """The smallest window of the partners that are live and take tools, the dearest price; no partner, no model."""
    partners = [
        {"provider": "a", "status": "live", "context_length": 131072, "supports_tools": True,
         "pricing": {"input": 0.1, "output": 0.5}},
        {"provider": "b", "status": "live", "context_length": 65536, "supports_tools": True,
         "supports_structured_output": True, "pricing": {"input": 0.2, "output": 0.4}},
        {"provider": "c", "status": "live", "context_length": 4096, "supports_tools": False},
        {"provider": "d", "status": "error", "context_length": 1024},
    ]  # fmt: skip
    found = _one("huggingface", {"id": "o/m", "providers": partners})
    assert (found.context, found.price) == (65_536, Price(200_000, 500_000))
    assert found.capabilities == {Capability.JSON_SCHEMA: YES}  # on tools they differ
    gone = {"id": "o/m", "providers": [{"provider": "d", "status": "error"}]}
    assert read_models(json.dumps({"data": [gone]}).encode(), "huggingface") == ()


@pytest.mark.parametrize(
    ("family", "entry", "context", "output"),
    [
        (
            "generic",
            {"id": "m", "context_window": 131072, "max_completion_tokens": 65536, "active": True},
            131072,
            65536,
        ),
        ("generic", {"id": "m", "max_model_len": 8192}, 8192, None),
        ("anthropic", {"id": "m", "max_input_tokens": 200000, "max_tokens": 64000}, 200_000, 64_000),
        ("kimi", {"id": "m", "context_length": "262144", "supports_reasoning": True}, 262_144, None),
        ("of the future", {"id": "m", "context_length": 5}, 5, None),
    ],
)
def test_windows(family: str, entry: dict[str, Any], context: int, output: int | None) -> None:
    """Each family has its own names for the two windows; an unknown family is read as the generic one."""
    found = _one(family, entry)
    assert (found.context, found.max_output) == (context, output)


def test_an_inactive_model_is_not_there() -> None:
    """Groq lists what it has switched off."""
    assert read_models(b'{"data": [{"id": "m", "active": false}]}', "generic") == ()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>not here</html>", b"{}", b'{"data": {}}', b"[" * 5_000, b'"models"', b"\xff", b'{"data": "x"}'],
)
def test_what_is_no_list_is_malformed(body: bytes) -> None:
    """Never half a list."""
    with pytest.raises(Malformed):
        read_models(body, "generic")


def test_a_list_beyond_all_bounds_is_none() -> None:
    """A catalogue of a hundred thousand models is no provider's."""
    with pytest.raises(Malformed):
        read_models(json.dumps([{"id": str(n)} for n in range(5_001)]).encode(), "generic")


def test_odd_entries_are_left_out() -> None:
    """Names that cannot be shown or sent, and windows that are none, do no harm to the others."""
    rows = [{"id": "a\x1b[31m"}, {"id": "a b"}, {"id": ""}, {"id": 7}, "x", {"id": "y" * 201}, {"id": "ok,no"},
            {"id": "good", "context_length": -5, "max_output_tokens": True}]  # fmt: skip
    [found] = read_models(json.dumps(rows).encode(), "generic")
    assert found == Listed(found.id)
    assert found.id == "good"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["id", "name", "pricing", "providers", "capabilities", "architecture", "aliases", "features", "endpoints",
         "context_length", "prompt", "completion", "status", "supported_parameters", "input_modalities"]
    ), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@given(_json, st.sampled_from(sorted(FAMILIES)))
def test_garbage_is_read_or_malformed(entry: Any, family: str) -> None:
    """Whatever stands in a list, nothing else is raised."""
    body = json.dumps({"data": [entry, {"id": "m", **entry}] if isinstance(entry, dict) else [entry]}).encode()
    try:
        found = read_models(body, family)
    except Malformed:
        return
    assert all(one.id for one in found)


# --- the question ---------------------------------------------------------------------------------------


@pytest.fixture
def rows() -> Any:
    return load(user_places({"HOME": "/nonexistent"}), {}).catalog


def test_where_a_list_lies(rows: Any) -> None:
    """A whole URL is the row's own; at an address of the owner's, whatever answers there has its list at /models."""
    native = list_address(rows["gemini"], "https://g.test/v1beta/openai", own_address=False)
    assert native == ("https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000", "gemini")
    assert list_address(rows["gemini"], "https://own.test/v1", own_address=True) == (
        "https://own.test/v1/models", "generic",
    )  # fmt: skip
    path = list_address(rows["openrouter"], "https://own.test/v1", own_address=True)
    assert path == ("https://own.test/v1/models", "openrouter")


def test_a_key_travels_to_another_api_as_that_one_wants_it(rows: Any) -> None:
    """Gemini's native list wants x-goog-api-key; what the owner put in its place gets the key as always."""
    native = list_headers(rows["gemini"], Secret(KEY), own_address=False)
    assert native["x-goog-api-key"] == KEY
    assert "authorization" not in native
    assert list_headers(rows["gemini"], Secret(KEY), own_address=True)["authorization"] == f"Bearer {KEY}"
    bearer = list_headers(replace(rows["anthropic"], list_auth="bearer"), Secret(KEY), own_address=False)
    assert bearer["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in bearer


def test_every_row_names_a_family_that_there_is(rows: Any) -> None:
    """A misspelt family would be read as the generic one, in silence."""
    assert {spec.list_family for spec in rows.values()} <= set(FAMILIES)


@pytest.mark.parametrize("name", ["groq", "openrouter", "mistral", "gemini", "nvidia", "huggingface", "kimi"])
async def test_a_list_over_http(rows: Any, name: str) -> None:
    """The fakes' lists are read whole, ids as requests carry them."""
    transport = HttpTransport(asyncio.get_running_loop())
    fake = FakeProvider(name, keys={KEY})
    async with Sandbox([fake]) as sandbox:
        headers = key_headers(rows[name], Secret(KEY))
        base = sandbox.base_url(name)
        found = await read_list(transport, rows[name], base, headers, own_address=True, now=7.0)
    await transport.close()
    assert {str(model.id) for model in found.models} >= {model.id for model in fake.models}
    assert (found.read_at, found.base_url) == (7.0, base)


async def test_trouble_is_an_upstream_error(rows: Any) -> None:
    """A refusal, HTML, silence or an address that is none: said, and nothing of it believed."""
    transport = HttpTransport(asyncio.get_running_loop())
    async with Sandbox([FakeProvider("groq", keys={KEY})]) as sandbox:
        headers = key_headers(rows["groq"], Secret(KEY))
        for fault in (faults.status(500), faults.reset()):
            sandbox.behave("groq", fault, None, route="models")
            with pytest.raises(UpstreamError):
                await read_list(transport, rows["groq"], sandbox.base_url("groq"), headers, own_address=True, now=0)
            sandbox.providers["groq"].script.clear()
        with pytest.raises(UpstreamError, match="401"):
            await read_list(transport, rows["groq"], sandbox.base_url("groq"), {}, own_address=True, now=0)
    with pytest.raises(UpstreamError, match="address"):
        await read_list(transport, rows["groq"], "nonsense", {}, own_address=True, now=0)
    await transport.close()


def test_codex() -> None:
    """codex.md 7: slugs under `models`; hidden ones left out; the shape and the efforts a model wants, `ultra` aside."""
    levels = [{"effort": word} for word in ("low", "high", "max", "ultra")]
    entry = {
        "slug": "gpt-9", "name": "GPT", "visibility": "list", "use_responses_lite": True, "context_window": 272_000,
        "supported_reasoning_levels": levels, "input_modalities": ["text", "image"], "model_messages": {"x": "y"},
    }  # fmt: skip
    hidden = {**entry, "slug": "auto-review", "visibility": "hide"}
    bare = {"slug": "gpt-8", "use_responses_lite": "yes"}
    one, two = read_models(json.dumps({"models": [entry, hidden, bare]}).encode(), "codex")
    assert (one.id, one.context, one.lite, one.efforts) == ("gpt-9", 272_000, True, ("low", "high", "max"))
    assert one.capabilities == {Capability.REASONING: YES, Capability.IMAGES: YES}
    assert (two.id, two.context, two.lite, two.efforts, two.capabilities) == ("gpt-8", None, None, (), {})
