"""Shows that a router key's vectors come from one model, with the real `hr`, the real daemon and the official SDK.

`python -m tests.embeddings.show`: two router keys embed the same notes, one bound to each of two providers; then one of
these is killed. It ends with 1 where one of the promises does not hold.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai

from hermes_router.sandbox.embeddings import vector
from hermes_router.sandbox.providers import FakeProvider

from ..whole.home import KEY, Home

NOTES = ("the cat sat on the mat", "vectors of two models do not compare", "agents never sleep")
GEMINI = [f"sk-gemini-0123456789-{number}" for number in (1, 2)]
MISTRAL = [f"sk-mistral-0123456789-{number}" for number in (1, 2)]
GROQ = "sk-groq-0123456789-1"


class Show:
    """An installation, and the talk about it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.first: dict[str, list[list[float]]] = {}

    def tell(self, text: str = "") -> None:
        """A line of the show."""
        print(text, flush=True)

    async def hr(self, *words: str) -> str:
        """Run `hr`, and show it."""
        self.tell(f"\n$ hr {' '.join(words)}")
        ran = await self.home.hr(*words, code=0)
        self.tell((ran.out + ran.err).rstrip())
        return ran.out

    async def embed(self, who: str, key: str, **more: Any) -> Any:
        """Embed the notes, show whose vectors they are, and compare them with the first that this caller got."""
        url = f"http://localhost:{self.home.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
            try:
                raw = await client.embeddings.with_raw_response.create(model="hermes-router", input=list(NOTES), **more)
            except openai.APIStatusError as error:
                self.tell(
                    f"  {who}: {error.status_code} {error.body['message'] if isinstance(error.body, dict) else ''}"
                )
                return error
        answer, target = raw.parse(), raw.headers["x-hermes-target"]
        found = [row.embedding for row in answer.data]
        same = found == self.first.setdefault(who, found)
        before = "" if found is self.first[who] else ", the same as before" if same else ", OTHER VECTORS"
        self.tell(f"  {who}: {len(found)} vectors of {len(found[0]):,} numbers, {_begin(found[0])}, {target}{before}")
        model = target.partition("/")[2]
        assert found == [vector(model, text, len(found[0])) for text in NOTES], "vectors of somebody else"
        return target, found

    async def chat(self, who: str, key: str) -> str:
        """One chat, and who answered."""
        url = f"http://localhost:{self.home.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
            raw = await client.chat.completions.with_raw_response.create(
                model="hermes-router", messages=[{"role": "user", "content": "say 3 words"}]
            )
        target = raw.headers["x-hermes-target"]
        self.tell(f"  {who} chats: {raw.parse().choices[0].message.content} ({target})")
        return target


def _begin(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{number:.3f}' for number in numbers[:3])}, …]"


async def play(show: Show) -> None:
    """The whole story. Raises AssertionError where a promise does not hold."""
    sandbox = show.home.sandbox
    await show.hr("start")
    wiki = (await show.home.hr("key", "add", "wiki", "--providers", "mistral,groq", code=0)).out.strip()
    show.tell("\nA second router key, `wiki`, which only Mistral and Groq may serve. Both callers embed three notes:")
    notes_target, _ = await show.embed("notes", KEY)
    wiki_target, _ = await show.embed("wiki", wiki)
    assert (notes_target, wiki_target) == ("gemini/gemini-embedding-001", "mistral/mistral-embed")
    await show.hr("embed", "show")

    show.tell("\nThe same as floats instead of base64, and one of Mistral's two keys is revoked meanwhile:")
    sandbox.revoke("mistral", MISTRAL[0])
    for _ in range(2):
        for who, key in (("notes", KEY), ("wiki", wiki)):
            _, found = await show.embed(who, key, encoding_format="float")
            assert found == show.first[who]

    show.tell("\nGemini is killed. Whoever is bound to it gets no vectors rather than others; all else goes on:")
    await sandbox.kill("gemini")
    before = len(_embedded(sandbox, "mistral"))
    refused = await show.embed("notes", KEY)
    assert isinstance(refused, openai.APIStatusError)
    assert refused.status_code == 503
    assert len(_embedded(sandbox, "mistral")) == before, "another model was asked"
    assert not (await show.chat("notes", KEY)).startswith("gemini/")
    _, found = await show.embed("wiki", wiki)
    assert found == show.first["wiki"]

    show.tell("\nThe daemon is killed with -9 and starts again, and Gemini comes back:")
    await _kill_9(show.home)
    await show.hr("start")
    await sandbox.revive("gemini")
    for who, key in (("notes", KEY), ("wiki", wiki)):
        _, found = await show.embed(who, key)
        assert found == show.first[who]

    show.tell("\nGemini is killed for good, and its owner decides to embed all notes again, with whoever is there:")
    await sandbox.kill("gemini")
    await show.hr("embed", "unbind", "PROXY_API_KEYS 1", "--yes")
    del show.first["notes"]
    target, _ = await show.embed("notes", KEY)
    assert target == "mistral/mistral-embed"
    await show.hr("embed", "show")


def _embedded(sandbox: Any, provider: str) -> list[Any]:
    return [each for each in sandbox.requests if each.provider == provider and each.path.endswith("/embeddings")]


async def _kill_9(home: Home) -> None:
    for pid in home.daemons():
        os.kill(pid, signal.SIGKILL)
    while home.daemons():  # noqa: ASYNC110 - another process is awaited
        await asyncio.sleep(0.01)


async def main() -> None:
    """Once, in a home of its own."""
    providers = [
        FakeProvider("gemini", keys=set(GEMINI)),
        FakeProvider("mistral", keys=set(MISTRAL)),
        FakeProvider("groq", keys={GROQ}),
    ]
    env = {"GEMINI_API_KEYS": ",".join(GEMINI), "MISTRAL_API_KEYS": ",".join(MISTRAL), "GROQ_API_KEY": GROQ,
           "PATIENCE_SECONDS": "0", "SECRET_STORE": "file", "COLUMNS": "110", "TERM": "dumb"}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="hr-embed-") as folder:
        async with Home(Path(folder), providers, env) as home:
            show = Show(home)
            await play(show)
            show.tell("\nEvery promise held.")


if __name__ == "__main__":
    asyncio.run(main())
