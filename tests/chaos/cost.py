"""What survival costs while nothing goes wrong: the first token, and the CPU of a healthy chunk, beside an earlier commit.

Owns the two measurements, in a process of its own for each tree: `python cost.py TREE` prints one JSON object. It uses
nothing but `tests/fakes.py` of the tree that is measured, and runs with earlier ones, too.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

BEFORE = "5c2d5d2"  # the last commit that did not continue
ROUNDS = 7
_BATCHES, _CHUNKS, _STREAMS = 40, 500, 300  # the best batch is the one that nobody disturbed
_TIME_OUT_S = 120.0
_MOST_TURNS = 50


class Cost(NamedTuple):
    """Microseconds: from the first text of the upstream to the caller's, and of CPU a chunk by its lane."""

    first_token_us: float
    chunk_us: Mapping[str, float]


def compare(root: Path) -> list[str]:
    """The lines to print; one line that says so where there is nothing to compare with."""
    with tempfile.TemporaryDirectory() as place:
        packed = subprocess.run(["git", "archive", BEFORE], cwd=root, capture_output=True, check=False)
        if packed.returncode:
            return [f"cost: not measured, {BEFORE} is not in this clone"]
        subprocess.run(["tar", "-x", "-C", place], input=packed.stdout, check=True)
        pairs = [(_probe(Path(place)), _probe(root)) for _ in range(ROUNDS)]
    before = [pair[0] for pair in pairs]
    after = [pair[1] for pair in pairs]
    first = [min(one.first_token_us for one in side) for side in (before, after)]
    lines = [f"cost of health beside {BEFORE}, best of {ROUNDS} rounds:"]
    lines.append(
        f"  first token  {first[0]:.1f} us before, {first[1]:.1f} us now: {(first[1] - first[0]) / 1_000:+.3f} ms"
    )
    for lane in after[0].chunk_us:
        old, new = (min(one.chunk_us[lane] for one in side) for side in (before, after))
        lines.append(f"  CPU a chunk, {lane:<22} {old:.2f} us before, {new:.2f} us now: {new / old:.2f} times")
    return lines


def _probe(tree: Path) -> Cost:
    ran = subprocess.run(
        [sys.executable, "-P", __file__, str(tree)], capture_output=True, check=True, cwd=tree, timeout=_TIME_OUT_S
    )
    return Cost(*json.loads(ran.stdout))


# --- in a process of its own ------------------------------------------------------------------------------


def _chat(text: str) -> bytes:
    head = (
        '{"id":"c1","object":"chat.completion.chunk","created":1790000000,"model":"up","choices":[{"index":0,"delta":'
    )
    return f'data: {head}{text},"finish_reason":null}}]}}\n\n'.encode()


def _event(kind: str, members: str) -> bytes:
    return f'event: {kind}\ndata: {{"type":"{kind}",{members}}}\n\n'.encode()


_MESSAGE = (
    '"message":{"id":"msg_1","type":"message","role":"assistant","model":"up","content":[],"stop_reason":null,'
    '"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}'
)
_CHAT = ([_chat('{"role":"assistant","content":""}')], _chat('{"content":" word"}'))
_MESSAGES = (
    [
        _event("message_start", _MESSAGE),
        _event("content_block_start", '"index":0,"content_block":{"type":"text","text":""}'),
    ],
    _event("content_block_delta", '"index":0,"delta":{"type":"text_delta","text":" word"}'),
)
_ITEM = '"id":"msg_1","type":"message","role":"assistant","status":"in_progress","content":[]'
_AT = '"item_id":"msg_1","output_index":0,"content_index":0'
_RESPONSES = (
    [
        _event(
            "response.created",
            '"sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":1,"model":"up",'
            '"status":"in_progress","output":[]}',
        ),
        _event("response.output_item.added", f'"sequence_number":1,"output_index":0,"item":{{{_ITEM}}}'),
        _event(
            "response.content_part.added",
            f'"sequence_number":2,{_AT},"part":{{"type":"output_text","text":"","annotations":[]}}',
        ),
    ],
    _event("response.output_text.delta", f'"sequence_number":3,{_AT},"delta":" word","logprobs":[]'),
)
_UPSTREAMS = {"openai_chat": _CHAT, "anthropic_messages": _MESSAGES, "openai_responses": _RESPONSES}


async def _measure() -> tuple[float, dict[str, float]]:
    from msgspec.structs import replace  # noqa: PLC0415 - the tree's own modules come after its path is set

    from hermes_router.core.ids import RouterKeyId  # noqa: PLC0415
    from hermes_router.engine.admission import Caller  # noqa: PLC0415
    from hermes_router.engine.exchange import Exchange  # noqa: PLC0415
    from hermes_router.engine.question import make_question  # noqa: PLC0415
    from hermes_router.wire.chat import request as openai_chat  # noqa: PLC0415
    from hermes_router.wire.messages import request as messages_request  # noqa: PLC0415
    from hermes_router.wire.responses import request as responses_request  # noqa: PLC0415
    from tests.fakes import Reply, World, target, turns  # noqa: PLC0415

    parsers = {
        "openai_chat": openai_chat.parse_request,
        "anthropic_messages": messages_request.parse_request,
        "openai_responses": responses_request.parse_request,
    }

    class Deaf(Reply):  # keeps the size only: what a caller keeps is not what is measured
        heard = 0

        def write(self, data: bytes) -> None:
            self.heard += len(data)

    async def opened(caller: str, upstream: str) -> tuple[object, Deaf, "asyncio.Task[object]"]:
        facts = replace(target("a/m"), dialect=upstream, endpoints={upstream: "http://a.invalid/v1"})
        world = World(facts)
        key = "input" if caller == "openai_responses" else "messages"
        body = {"model": "x", "stream": True, "max_tokens": 99, key: [{"role": "user", "content": "hi"}]}
        question = make_question(
            world.engine, parsers[caller](json.dumps(body).encode(), {}), Caller(RouterKeyId("rk")), {}, "r"
        )
        reply = Deaf()
        task = asyncio.ensure_future(Exchange(world.engine, question, reply).run())
        await turns()
        return world.transport.last.head(), reply, task

    async def close(task: "asyncio.Task[object]") -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    firsts = []
    for _ in range(_STREAMS):
        head, text = _CHAT
        flight, reply, task = await opened("openai_chat", "openai_chat")
        flight.data(*head)
        await turns()
        began = time.perf_counter()
        flight.data(text)
        for _ in range(_MOST_TURNS):
            if reply.heard:
                break
            await asyncio.sleep(0)
        firsts.append(time.perf_counter() - began)
        await close(task)
    chunks = {}
    pairs = [(one, one) for one in _UPSTREAMS] + [
        ("openai_chat", "anthropic_messages"),
        ("anthropic_messages", "openai_chat"),
    ]
    for caller, upstream in pairs:
        head, text = _UPSTREAMS[upstream]
        flight, _, task = await opened(caller, upstream)
        flight.data(*head, text)
        await turns()
        feed = flight.sink.data
        batches = []
        for _ in range(_BATCHES):
            began = time.process_time()
            for _ in range(_CHUNKS):
                feed(text)
            batches.append(time.process_time() - began)
        chunks[f"{upstream.partition('_')[2]} to {caller.partition('_')[2]}"] = min(batches) / _CHUNKS * 1e6
        await close(task)
    return statistics.median(firsts) * 1e6, chunks


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    print(json.dumps(asyncio.run(_measure())))
