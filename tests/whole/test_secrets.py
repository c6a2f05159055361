"""Canary keys: nothing that is written, printed, or shown by `ps` holds one, but the one file that may."""

import asyncio
from contextlib import suppress
from pathlib import Path

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

GROQ, BAD, ENV = "gsk_canary_groq_0123456789", "gsk_canary_bad_0123456789", "canary-mistral-0123456789"
CANARIES = (GROQ.encode(), BAD.encode(), ENV.encode(), b"sk-canary-router-0123456789")


def command_lines() -> bytes:
    found = b""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                found += (entry / "cmdline").read_bytes()
    return found


async def test_no_secret_in_ps_logs_or_any_other_file(home) -> None:
    """Adding, using, being refused, echoed by a provider's error, listed, explained, restarted: only the vault has it."""
    provider = FakeProvider("groq", keys={GROQ})
    here = await home(
        provider,
        FakeProvider("mistral", keys=set()),
        MISTRAL_API_KEY=ENV,
        PROXY_API_KEYS="sk-test-router-key,sk-canary-router-0123456789",
        LOG_LEVEL="debug",
    )
    said: list[str] = []
    seen = b""

    async def hr(*args: str, stdin: str = "") -> None:
        nonlocal seen
        process = await here.spawn(*args)
        seen += command_lines()
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        said.extend([out.decode(), err.decode()])

    await hr("start")
    await hr("auth", "add", "groq", stdin=f"{GROQ}\n{BAD}\n'{GROQ}'\n{GROQ} {GROQ}\n")
    await hr("auth", "add", "groq", "--force", stdin=f"{BAD}\n")
    provider.behave(faults.status(500, {"error": {"message": f"invalid Authorization: Bearer {GROQ}"}}), 2)
    for stream in (False, True, False):
        await here.ask(stream=stream)
    for command in (
        ("auth", "list", "--json"), ("auth", "test"), ("status", "--json"), ("config", "list"), ("usage", "--json"),
        ("explain",), ("ask", "hi"), ("key", "list"), ("reload",), ("restart",), ("status",),
    ):  # fmt: skip
        await hr(*command)
    everything = "".join(said).encode() + seen
    for canary in CANARIES:
        assert canary not in everything
    holding = [p for p in here.files() if any(c in p.read_bytes() for c in CANARIES)]
    assert [p.name for p in holding] == ["secrets.json"]
    assert all(p.stat().st_mode & 0o077 == 0 for p in here.files())
    await hr("auth", "remove", "groq", "--yes")
    assert not [p for p in here.files() if any(c in p.read_bytes() for c in CANARIES)]
    print(
        f"{len(here.files())} files, {len(everything)} bytes of output and command lines, {len(CANARIES)} canaries: clean"
    )
