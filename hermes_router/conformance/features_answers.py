"""Features of what a caller is told: text, thoughts, calls, ends, usage, errors.

Owns the requests that bring them about, where a request can; what befalls a caller has none (facts: providers.md 12.6,
12.7, 12.10, 12.11). It must never know who answers.
"""

from typing import Any, Final

from hermes_router.conformance.feature import CHAT, DIALECTS, MESSAGES, RESPONSES, Feature
from hermes_router.conformance.features_tools import CHOICE, TOOLS
from hermes_router.conformance.features_wishes import LENGTH, THINKING

__all__ = ["ANSWERS", "ERRORS"]

_ANY: Final[dict[str, Any]] = {dialect: {} for dialect in DIALECTS}
_ASKED: Final = {feature.id: feature.asks for feature in (*TOOLS, *CHOICE, *LENGTH, *THINKING)}

_TWO_PLEASE: Final = "What is the weather in Oslo and in Bergen? Call the tool for both at once."

ANSWERS: Final = (
    Feature("answers.text", "Answers", "text", _ANY),
    Feature("answers.texts", "Answers", "several texts in one answer", {}),
    Feature("answers.thought", "Answers", "a thought before the text", _ASKED["thinking.low"]),
    Feature("answers.sealed", "Answers", "a thought that its maker has signed or encrypted", {}),
    Feature("answers.redacted", "Answers", "a thought that only its maker can read", {}),
    Feature("answers.thought_only", "Answers", "a thought, and the cap", {}),
    Feature("answers.call", "Answers", "a call", _ASKED["choice.required"]),
    Feature("answers.text_call", "Answers", "text, and a call", {}),
    Feature(
        "answers.calls",
        "Answers",
        "two calls at once",
        {
            CHAT: {**_ASKED["tools.function"][CHAT], "messages": [{"role": "user", "content": _TWO_PLEASE}]},
            MESSAGES: {**_ASKED["tools.function"][MESSAGES], "messages": [{"role": "user", "content": _TWO_PLEASE}]},
            RESPONSES: {**_ASKED["tools.function"][RESPONSES], "input": _TWO_PLEASE},
        },
    ),
    Feature("answers.call_bare", "Answers", "a call without arguments", {}),
    Feature("answers.custom", "Answers", "a call of a tool that takes free text", _ASKED["tools.custom"]),
    Feature("answers.custom_function", "Answers", "such a call, of an upstream that knows the tool as a function", {}),
    Feature("answers.cut_call", "Answers", "a call that the cap has cut", {}),
    Feature("answers.length", "Answers", "the cap was reached", _ASKED["length.cap_small"]),
    Feature("answers.stop_word", "Answers", "a word that ends the answer was met", _ASKED["length.stop"]),
    Feature("answers.refusal", "Answers", "the model refuses", {}),
    Feature("answers.filter", "Answers", "a filter has cut the answer", {}),
    Feature("answers.pause", "Answers", "the provider pauses a long turn", {}),
    Feature("answers.window", "Answers", "the model's window is full", {}),
    Feature("answers.cited", "Answers", "citations of addresses", {}),
    Feature("answers.hosted", "Answers", "a search that the provider ran", {}),
    Feature("answers.logprobs", "Answers", "how likely each token was", {}),
    Feature("answers.identity", "Answers", "the model's own name, and an id", _ANY),
    Feature("usage.plain", "Usage", "tokens in and out", _ANY),
    Feature("usage.cached", "Usage", "tokens read from and written to a cache", {}),
    Feature("usage.thinking", "Usage", "tokens of thoughts", {}),
    Feature("usage.unsaid", "Usage", "usage that nobody has counted", {}),
)

ERRORS: Final = (
    Feature(
        "errors.missing",
        "Errors",
        "a request without messages",
        {CHAT: {"messages": None}, MESSAGES: {"messages": None}, RESPONSES: {"input": None}},
    ),
    Feature(
        "errors.wrong_type",
        "Errors",
        "a field of a wrong type",
        {CHAT: {"temperature": "hot"}, MESSAGES: {"temperature": "hot"}, RESPONSES: {"temperature": "hot"}},
    ),
    Feature(
        "errors.wrong_role",
        "Errors",
        "a role that does not exist",
        {
            CHAT: {"messages": [{"role": "wizard", "content": "Hi."}]},
            MESSAGES: {"messages": [{"role": "wizard", "content": "Hi."}]},
            RESPONSES: {"input": [{"role": "wizard", "content": "Hi."}]},
        },
    ),
    Feature("errors.overflow", "Errors", "a prompt beyond the model's window", {}),
    Feature("errors.limited", "Errors", "every key is limited", {}),
    Feature("errors.overloaded", "Errors", "nobody can answer", {}),
    Feature("errors.key", "Errors", "an upstream refuses our key", {}),
    Feature("errors.late", "Errors", "an upstream fails in mid-stream", {}),
    Feature("errors.cut", "Errors", "an upstream's stream is cut", {}),
)
