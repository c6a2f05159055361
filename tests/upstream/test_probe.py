"""hermes_router/upstream/probe.py: what a provider says of a key, asked at no cost."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from hermes_router.control.places import user_places
from hermes_router.core.ids import Secret
from hermes_router.daemon.config import load
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Sandbox
from hermes_router.upstream.auth import begins_with, key_headers
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.probe import Checked, check_key, list_models
from hermes_router.wire.rejection import judge

GOOD = "key-0123456789abcdef"


@pytest.fixture
async def ask(tmp_path: Any) -> Any:
    """Ask a fake provider of this row about a key."""
    rows = load(user_places({"HOME": str(tmp_path)}), {}).catalog
    transport = HttpTransport(asyncio.get_running_loop())
    opened: list[Sandbox] = []

    async def asked(name: str, key: str = GOOD, *, fault: Any = None, route: str = "models", **row: Any) -> Checked:
        sandbox = Sandbox([FakeProvider(name, keys={GOOD})])
        opened.append(sandbox)
        await sandbox.start()
        if fault is not None:
            sandbox.providers[name].behave(fault, None, route=route)
        spec = replace(rows[name], **row)
        asked.sandbox = sandbox
        return await check_key(
            transport,
            spec,
            sandbox.base_url(name),
            key_headers(spec, Secret(key)),
            lambda status, headers, body: judge.classify(spec.rejection, status, headers, body, 1.0),
            own_address=True,
        )

    yield asked
    await transport.close()
    for sandbox in opened:
        await sandbox.stop()


@pytest.mark.parametrize(
    "name", ["groq", "gemini", "mistral", "cerebras", "cohere", "openrouter", "nvidia", "naga", "kimi"]
)
async def test_a_good_key_and_its_models(ask, name: str) -> None:
    """By the list of models, by OpenRouter's `/key`, or by one token where the list is public: good, with models."""
    found = await ask(name)
    assert (found.verdict, bool(found.models)) == ("ok", True)


@pytest.mark.parametrize("name", ["groq", "gemini", "mistral", "cerebras", "cohere", "openrouter", "nvidia", "naga"])
async def test_a_bad_key_is_rejected(ask, name: str) -> None:
    """Also where the list of models is public and says nothing of the key."""
    found = await ask(name, "key-of-nobody-0123")
    assert found.verdict == "rejected"
    assert "HTTP" in found.said
    assert "key-of-nobody-0123" not in found.said


async def test_trouble_proves_nothing(ask) -> None:
    """A 500, HTML, a limit: the key may be good."""
    for fault in (faults.status(500), faults.rate_limited(), faults.reset()):
        assert (await ask("groq", fault=fault)).verdict == "inconclusive"


async def test_a_check_at_the_rows_own_host_is_not_asked_of_another(ask) -> None:
    """Hugging Face's who-am-I lies elsewhere: with an address of the owner's the list of models is asked."""
    found = await ask("huggingface")
    assert found.verdict in {"ok", "rejected"}
    assert {r.path.rpartition("/")[2] for r in ask.sandbox.requests} == {"models"}


async def test_no_paid_request_is_made_for_a_test(ask) -> None:
    """Where only a paid completion could tell, it is not sent."""
    found = await ask("openai", key_check="")
    assert found.verdict == "inconclusive"
    assert "paid" in found.said


async def test_nobody_there() -> None:
    """A provider that cannot be reached, or an address that is none, is inconclusive with the reason."""
    transport = HttpTransport(asyncio.get_running_loop())
    rows = load(user_places({"HOME": "/nonexistent"}), {}).catalog
    for address in ("http://127.0.0.1:1/v1", "nonsense"):
        found = await check_key(transport, rows["groq"], address, {}, lambda *_: judge.classify("", 500, {}, b"", 0))
        assert found.verdict == "inconclusive"
        assert found.said
    with pytest.raises(Exception, match="address"):
        await list_models(transport, "nonsense", {})
    await transport.close()


def test_a_prefix_is_looked_at_without_showing_the_key() -> None:
    """`begins_with` says yes or no."""
    assert begins_with(Secret("gsk_x"), ("sk-", "gsk_"))
    assert not begins_with(Secret("x"), ("sk-",))
