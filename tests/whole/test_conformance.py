"""`hr conformance` against ourselves: nothing fails, whichever dialect the provider behind us speaks; and what README says of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio

from hermes_router.sandbox.providers import FakeProvider

from .home import KEY, Home
from .test_dialects import KEYS, UPSTREAMS

pytestmark = pytest.mark.asyncio(loop_scope="module")

README = Path(__file__).parents[2] / "README.md"
DIALECTS = ("chat", "messages", "responses")
OUTCOMES = ("pass", "fail", "skip", "unsure")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here() -> AsyncIterator[Home]:
    """A router with one provider of each dialect, each a strict fake."""
    with TemporaryDirectory(prefix="hr") as folder:
        fakes = [FakeProvider(name) for name in ("groq", "anthropic", "openai")]
        async with Home(Path(folder), fakes, KEYS) as opened:
            address = opened.environ.pop("OPENAI_BASE_URL")
            rows = Path(folder) / ".config/hermes-router/providers.toml"
            rows.parent.mkdir(parents=True)
            rows.write_text(f'[openai]\nendpoints = {{ openai_chat = "{address}", openai_responses = "{address}" }}\n')
            await opened.hr("start", code=0)
            yield opened


async def conform(home: Home, *options: str) -> Any:
    """What `--json` says of our own port; its exit code is 0, so nothing failed."""
    ran = await home.hr("conformance", f"http://localhost:{home.port}", "--key", KEY, "--json", *options)
    failed = [one for one in ran.json["checks"] if one["outcome"] == "fail"]
    assert (failed, ran.code) == ([], 0)
    return ran.json


async def test_nothing_fails_where_the_router_picks(here: Home) -> None:
    """The model that is listed first is `hermes-router`, all three dialects are spoken, and the run keeps to its bound."""
    found = await conform(here)
    assert found["model"] == "hermes-router"
    assert [name for name in DIALECTS if found["dialects"][name]["spoken"]] == list(DIALECTS)
    assert found["requests"] <= 250
    assert KEY not in str(found)


async def test_the_readme_tells_our_row(here: Home) -> None:
    """Against a provider of each dialect: the numbers that README gives are those that a run finds."""
    rows = []
    for upstream, model in UPSTREAMS.items():
        found = await conform(here, "--model", model)
        sums = [found["dialects"][name] for name in DIALECTS]
        told = (", ".join(f"{one[word]} {word}" for word in OUTCOMES) for one in sums)
        rows.append(f"| {upstream} | {' | '.join(told)} |")
    written = [line for line in README.read_text().splitlines() if line in rows]
    assert written == rows, "the table in README.md should hold these lines:\n" + "\n".join(rows)
