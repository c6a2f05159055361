"""The pool that `hr demo cut` runs: whoever begins an answer dies in the middle of it.

Owns its cast, what it is asked, and what it would say if it lived. The sandbox proper knows nothing of it.
"""

from collections.abc import Mapping
from typing import Any

from hermes_router.sandbox import faults
from hermes_router.sandbox.model import answer, pieces
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.values import Asked, FakeModel, Reply

PACE_S = 0.03
_NAMES = ("groq", "cerebras", "mistral", "sambanova", "nvidia")
STORY = "Tell the story of the night when the lamp of a lighthouse went out."
ERRAND = "First say what you are about to do. Then look up with ferry_times when a boat leaves for Ouessant."
TOOL: Mapping[str, Any] = {
    "name": "ferry_times",
    "description": "Departures of a day.",
    "parameters": {
        "type": "object",
        "properties": {
            "harbour": {"type": "string", "enum": ["Brest", "Le Conquet"]},
            "island": {"type": "string", "enum": ["Ouessant", "Molène"]},
            "days": {"type": "array", "items": {"type": "string", "enum": ["Saturday", "Sunday"]}},
            "passengers": {"type": "integer"},
        },
        "required": ["harbour", "island", "days", "passengers"],
    },
}


def tale(asked: str) -> str:
    """The text of a cut demo's answer: to the errand a sentence or two, else a story with lines that come twice."""
    if asked == ERRAND:
        return (
            "I will look up the boats of Saturday from Brest, for one passenger. The sea is rough at this time of the "
            "year, so let me see whether one leaves at all."
        )
    return (
        "At ten past two the lamp went out. Yann counted the seconds between two waves, as his father had taught him, "
        "and went down for oil.\n\n"
        "    One wave, and the rock held.\n"
        "    One wave, and the rock held.\n\n"
        "Out there a trawler was coming home without a light to steer by. He carried the oil up, two hundred and six "
        "steps, and spilled none of it.\n\n"
        "    One wave, and the rock held.\n\n"
        "When the lamp burned again, the trawler blew its horn three times: thank you, thank you, thank you."
    )


def cut_cast() -> list[FakeProvider]:
    """Five that die in the middle of whatever they begin, and end well what another has begun."""
    return [
        FakeProvider(name, keys={f"demo-{name}"}, compose=tale, pace_s=PACE_S, fresh=faults.cut_halfway())
        for name in _NAMES
    ]


def uncut(asked: str) -> Reply:
    """What one of them would answer if it lived."""
    tools = [{"type": "function", "function": dict(TOOL)}] if asked == ERRAND else []
    body = {"messages": [{"role": "user", "content": asked}], "tools": tools}
    return answer(Asked(body, {}, FakeModel(""), 0, {}), lambda name: name, tale)


def cut_at(reply: Reply) -> int:
    """How many characters of its text have been sent when it dies."""
    words = pieces(reply.text)
    return len(reply.text if reply.calls else "".join(words[: faults.halfway(len(words))]))
