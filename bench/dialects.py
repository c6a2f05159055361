"""What the other dialects cost beside Chat: the router alone, one pair of dialects after another in one process.

Owns the pairs and their order. Each is pinned to a provider that speaks what the pair needs, Chat too, so that all do the
same work but for the dialect; small requests are asked in turns, and compared burst by burst (as in `paired.py`). A pair
whose route is not there, or answers wrongly, is left out with a word.
"""

import asyncio
import json
import statistics
import sys
from dataclasses import dataclass

from bench import gateways, load
from bench.load import Wire

# Three providers without a quirk, of one dialect each: ours that have several are asked in the first at an address that is
# not theirs.
_ROW = """
[{name}]
endpoints = {{ {dialect} = "{upstream}" }}
keyless = true

[[{name}.models]]
id = "mock-model"
context = 128000
max_output = 32000
"""
STREAMS = 100
RATE = 40.0
BURSTS = 10
_RAMP_S = 0.4


@dataclass(frozen=True)
class Pair:
    """A caller's dialect, and a model of a provider that speaks but one: `key` names its figures.

    `beside` is the pair that its small requests are compared with. `kept` = the router is to remember the answer.
    """

    key: str
    wire: Wire
    model: str
    beside: str = ""
    kept: bool = False


CHAT, MESSAGES, RESPONSES = load.CHAT, load.MESSAGES, load.RESPONSES
ROWS = {"chats": "openai_chat", "writes": "anthropic_messages", "responds": "openai_responses"}
PAIRS = (
    Pair("chat", CHAT, "chats/mock-model"),
    Pair("messages", MESSAGES, "writes/mock-model", "chat"),
    Pair("responses", RESPONSES, "responds/mock-model", "chat"),
    Pair("responses_kept", RESPONSES, "responds/mock-model", "responses", kept=True),
    Pair("messages_chat", MESSAGES, "chats/mock-model", "messages"),
    Pair("responses_chat", RESPONSES, "chats/mock-model", "responses"),
)


def body(pair: Pair, text: str, *, stream: bool) -> bytes:
    """One question in the caller's dialect."""
    asked = [{"role": "user", "content": text}]
    fields: dict[str, object] = {"model": pair.model, "stream": stream}
    if pair.wire is RESPONSES:
        fields |= {"input": asked, "store": pair.kept}
    else:
        fields |= {"max_tokens": 1000, "messages": asked}
    return json.dumps(fields).encode()


async def measure(site: gateways.Site, requests: int, chunks: int) -> dict[str, float]:
    """CPU µs of a small request and of a streamed chunk for every pair that the router serves."""
    figures: dict[str, float] = {}
    upstream = site.upstream(tls=False)
    rows = "".join(_ROW.format(name=name, dialect=dialect, upstream=upstream) for name, dialect in ROWS.items())
    gateway = await gateways.start("hermes", site, rows=rows)
    try:
        served = [pair for pair in PAIRS if await _serves(gateway, pair)]
        figures |= await _in_turns(gateway, served, requests)
        for pair in (each for each in served if not each.kept):
            figures[f"chunk_{pair.key}_us"] = await _chunk(gateway, pair, chunks)
    finally:
        gateway.stop()
    return figures


async def _serves(gateway: gateways.Gateway, pair: Pair) -> bool:
    """Whether the pair is served at all; if so it is warm afterwards."""
    small = [body(pair, "Say hello in one short line.", stream=False)]
    try:
        _check(await load.unary(gateway.port, small, 1, wire=pair.wire, limit_s=5))
        _check(await load.unary(gateway.port, small, 100, wire=pair.wire))
        streams = load.Streams(gateway.port, body(pair, "Stream. [chunks=30 rate=100]", stream=True), pair.wire)
        await streams.open(STREAMS, 0.1)
        _check(await streams.finish())
    except (RuntimeError, TimeoutError, OSError) as error:
        print(f"no figures for {pair.key}: {error}", file=sys.stderr, flush=True)
        return False
    return True


async def _in_turns(gateway: gateways.Gateway, served: list[Pair], requests: int) -> dict[str, float]:
    """The median µs of a small request of each pair, and of its ratio to the one beside it."""
    spent: dict[str, list[float]] = {pair.key: [] for pair in served}
    for number in range(BURSTS):
        first = number % max(len(served), 1)
        for pair in (*served[first:], *served[:first]):
            spent[pair.key].append(await _small(gateway, pair, max(requests // BURSTS, 1)))
    found = {f"small_{key}_us": statistics.median(each) for key, each in spent.items()}
    for pair in served:
        if beside := spent.get(pair.beside):
            times = [mine / its for mine, its in zip(spent[pair.key], beside, strict=True)]
            found[f"small_{pair.key}_us_ratio"] = statistics.median(times)
    return found


async def _small(gateway: gateways.Gateway, pair: Pair, requests: int) -> float:
    small = [body(pair, "Say hello in one short line.", stream=False)]
    before = gateway.cpu_s()
    _check(await load.unary(gateway.port, small, requests, wire=pair.wire))
    return (gateway.cpu_s() - before) / requests * 1e6


async def _chunk(gateway: gateways.Gateway, pair: Pair, chunks: int) -> float:
    length = int((_RAMP_S + 0.5) * RATE + chunks / STREAMS)
    text = f"Stream, please. [chunks={length} rate={RATE:g}]"
    streams = load.Streams(gateway.port, body(pair, text, stream=True), pair.wire)
    await streams.open(STREAMS, _RAMP_S)
    await asyncio.sleep(0.2)
    before, seen = gateway.cpu_s(), streams.tally.chunks
    await streams.reach(chunks, limit_s=10)
    spent = (gateway.cpu_s() - before) / max(1, streams.tally.chunks - seen)
    _check(await streams.finish())
    return spent * 1e6


def _check(tally: load.Tally) -> None:
    if tally.bad:
        raise RuntimeError(tally.trouble.strip().splitlines()[0] if tally.trouble.strip() else "no answer")
