"""The requests that are measured: a small one, an agent's of 237 KB, and streams that say their own length."""

import json

AGENT_BYTES = 237_000
_TEXT = (
    "the router reads a file and finds that the second test fails because a header was joined by a comma and "
    "so the parser in the module above sees one value where there were two "
)
_WORDS = _TEXT.split()


def _prose(words: int, start: int) -> str:
    return " ".join(_WORDS[(start + 7 * i) % len(_WORDS)] for i in range(words))


def _code(lines: int, start: int) -> str:
    """What agents read all day: short indented lines with quotes, and now and then a character beyond ASCII."""
    made = []
    for line in range(start, start + lines):
        word = _WORDS[(7 * line) % len(_WORDS)]
        made.append(f'{"    " * (line % 4)}if {word}_{line} == "{word}" and count[{line}] > 0:  # {_prose(3, line)}')
    return "\n".join(made) + ("\n# — ünïcode\n" if start % 4 == 0 else "\n")


def _tool(number: int) -> dict[str, object]:
    properties = {f"field_{i}": {"type": "string", "description": _prose(14, number + i)} for i in range(8)} | {
        "count": {"type": "integer", "minimum": 0},
        "paths": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "type": "function",
        "function": {
            "name": f"tool_{number}",
            "description": _prose(40, number),
            "parameters": {"type": "object", "properties": properties, "required": ["field_0"]},
        },
    }


def _turn(number: int) -> list[dict[str, object]]:
    call = {
        "id": f"call_{number:024d}",
        "type": "function",
        "function": {
            "name": f"tool_{number % 25}",
            "arguments": json.dumps({"field_0": _prose(10, number), "count": number}),
        },
    }
    return [
        {"role": "assistant", "content": _prose(30, number), "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": _code(70, number)},
    ]


def small() -> bytes:
    """A question of one line."""
    return json.dumps(
        {"model": "hermes-router", "messages": [{"role": "user", "content": "Say hello in one short line."}]}
    ).encode()


def agent(conversation: int = 0) -> bytes:
    """What a coding agent sends at its fortieth turn: system text, history with tool results, 25 tools.

    Conversations differ in their first user turn: a router with affinity keeps each on one provider.
    """
    head: list[dict[str, object]] = [
        {"role": "system", "content": _prose(3000, 1)},
        {"role": "user", "content": _prose(200, 2 + 11 * conversation)},
    ]
    body = {"model": "hermes-router", "messages": head, "tools": [_tool(i) for i in range(25)], "tool_choice": "auto"}
    size, number = len(json.dumps(body)), 0
    while size < AGENT_BYTES:
        turn = _turn(number)
        head += turn
        size += len(json.dumps(turn))
        number += 1
    head.append({"role": "user", "content": "go on"})
    return json.dumps(body).encode()


def stream(chunks: int, per_second: float) -> bytes:
    """A streamed question; the mock provider reads from its text how many chunks it shall send, and how fast."""
    text = f"Stream, please. [chunks={chunks} rate={per_second:g}]"
    return json.dumps(
        {"model": "hermes-router", "stream": True, "messages": [{"role": "user", "content": text}]}
    ).encode()
