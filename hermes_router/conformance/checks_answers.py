"""What an answer must be, by feature: whether what was asked for can be seen in it.

Owns one judge a feature; a feature without one is proved by an answer that can be read. A judge returns where the
answer is right and raises Wrong, Skipped or Unsure where not. It must never send anything.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from hermes_router.conformance.answer import Answer, Skipped, Unsure, Wrong
from hermes_router.conformance.feature import Feature
from hermes_router.conformance.reply import Reply
from hermes_router.conformance.shapes import count, each, faults, members, number, shown, text
from hermes_router.conformance.terms import fields
from hermes_router.conformance.tongue import objects, words

Judge = Callable[[Reply], None]

_CAPS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_MOST_CHARS: Final = 8  # in a token, of plain English
_LOGPROBS: Final = each(members({"token": text, "logprob": number, "top_logprobs": each(members({"token": text}))}))


def judge(feature: Feature, reply: Reply) -> None:
    """Hold an answer against a feature. Raises Wrong, Skipped (it was left out, and that is said) or Unsure."""
    own = {name for dialect in feature.asks for name in fields(feature, dialect)}
    about = [told.strip() for told in reply.heard.warnings().split(",") if _is_about(told, own)]
    for told in about:
        if told.startswith("dropped:"):
            raise Skipped(f"left out, and said so: {told}")
    if check := JUDGES.get(feature.id):
        try:
            check(reply)
        except Wrong as error:
            if about:
                raise Unsure(f"not quite done, and said so: {', '.join(about)}; {error.why}") from None
            raise


def _is_about(told: str, own: set[str]) -> bool:
    """Whether a warning (`dropped:seed`) names one of these fields, in whichever dialect's words."""
    what = told.strip().partition(":")[2]
    return what in own or what.rpartition(".")[2] in own


# --- text, ends and counts --------------------------------------------------------------------------------


def _identity(reply: Reply) -> None:
    reply.answer.keep("envelope")


def _text(reply: Reply) -> None:
    reply.answer.keep("content")
    if not reply.answer.text:
        raise Unsure("the answer was well formed, and held no text")


def _usage(reply: Reply) -> None:
    reply.answer.keep("usage")
    usage = reply.answer.usage
    if usage is None or not usage.input or (not usage.output and reply.answer.text):
        raise Wrong(f"no usage that could be right: {shown(reply.answer.body.get('usage'))}")


def _cap(reply: Reply) -> None:
    """What was thought may be counted beyond the cap, and what was cut off may be counted where the cut is told."""
    cap = next((reply.asked[name] for name in _CAPS if name in reply.asked), None)
    answer, usage = reply.answer, reply.answer.usage
    if cap is None or usage is None or usage.output - usage.thought <= cap:
        return
    if answer.finish != "length" or len(answer.text) > cap * _MOST_CHARS:
        raise Wrong(f"at most {cap} tokens were asked for, and usage tells of {usage.output}: {shown(answer.text)}")


def _length(reply: Reply) -> None:
    _cap(reply)
    if reply.answer.finish != "length":
        raise Unsure(f"the answer ended by itself, before the cap: {shown(reply.answer.text)}")


def _stop(reply: Reply) -> None:
    said = reply.answer.text
    stops = reply.asked.get("stop") or reply.asked.get("stop_sequences") or []
    stops = [stops] if isinstance(stops, str) else stops
    if met := [stop for stop in stops if stop in said]:
        raise Wrong(f"the answer goes on over {shown(met[0])}, which was to end it: {shown(said)}")
    reason = reply.answer.body.get("stop_reason")
    if reason == "stop_sequence" and reply.answer.body.get("stop_sequence") not in stops:
        raise Wrong(
            f"stop_sequence should be the one that was met, and is {shown(reply.answer.body.get('stop_sequence'))}"
        )
    if "apples" not in said.lower() or "grapes" in said.lower():
        raise Unsure(f"the model did not come to the word that ends the answer: {shown(said)}")


# --- shape ------------------------------------------------------------------------------------------------


def _json(answer: Answer) -> Any:
    if answer.finish == "length":
        raise Unsure("the cap came before the end of the JSON")
    try:
        return json.loads(answer.text)
    except ValueError:
        raise Wrong(f"JSON was asked for, and this came: {shown(answer.text)}") from None


def _object(reply: Reply) -> None:
    if not isinstance(found := _json(reply.answer), dict):
        raise Wrong(f"a JSON object was asked for, and this came: {shown(found)}")


def _schema(reply: Reply) -> None:
    found = _json(reply.answer)
    if not isinstance(found, dict) or set(found) != {"greeting"} or not isinstance(found["greeting"], str):
        raise Wrong(f"the answer does not keep to the schema (one key greeting, a string): {shown(found)}")


def _loose(reply: Reply) -> None:
    try:
        _schema(reply)
    except Wrong as error:
        raise Unsure(error.why) from None  # without `strict` it is a wish


# --- tools ------------------------------------------------------------------------------------------------


def called(answer: Answer) -> None:
    """Raise Wrong where its calls are not as they should be, Unsure where there are none."""
    if answer.finish == "length":
        raise Unsure("the cap came before the end of a call")
    answer.keep("content")
    if not answer.calls:
        raise Unsure(f"the model called no tool: {shown(answer.text)}")
    ids = [call.id for call in answer.calls]
    if len(set(ids)) < len(ids):
        raise Wrong(f"two calls have one id: {shown(ids)}")


def _call(reply: Reply) -> None:
    called(reply.answer)
    if reply.answer.finish not in {"calls", "stop"}:
        raise Wrong(f"there are calls, and the end is told as {shown(reply.answer.finish)}")


def _free_call(reply: Reply) -> None:
    called(reply.answer)
    if reply.answer.finish != "calls":
        raise Wrong(f"there are calls, and the end is told as {shown(reply.answer.finish)}: agents would not run them")


def _calls(reply: Reply) -> None:
    _free_call(reply)
    if len(reply.answer.calls) == 1:
        raise Unsure("the model called one tool where it was asked for two calls")


def _at_most_one(reply: Reply) -> None:
    if len(reply.answer.calls) > 1:
        raise Wrong(f"one call at a time was asked for, and {len(reply.answer.calls)} came")


def _named(reply: Reply) -> None:
    _call(reply)
    if other := [call.name for call in reply.answer.calls if call.name != "weather"]:
        raise Wrong(f"the tool weather was demanded, and {shown(other[0])} was called")


def _strict(reply: Reply) -> None:
    _call(reply)
    for call in reply.answer.calls:
        if call.custom:
            raise Wrong(f"the function {shown(call.name)} was called as if it took free text")
        found = json.loads(call.arguments or "{}")
        if set(found) != {"city"} or not isinstance(found["city"], str):
            raise Wrong(f"strict arguments do not keep to the schema (one key city, a string): {shown(call.arguments)}")


def _none(reply: Reply) -> None:
    if reply.answer.calls:
        raise Wrong(f"no tool was to be called, and {shown(reply.answer.calls[0].name)} was")


def _custom(reply: Reply) -> None:
    called(reply.answer)
    if not reply.answer.calls[0].custom:
        raise Wrong("a tool of free text was called as a function")


def _grammar(reply: Reply) -> None:
    _custom(reply)
    if not re.fullmatch("[a-z]+", reply.answer.calls[0].arguments):
        raise Unsure(f"the input does not keep to the grammar [a-z]+: {shown(reply.answer.calls[0].arguments)}")


def _not(name: str, why: str) -> Judge:
    def check(reply: Reply) -> None:
        if any(call.name == name for call in reply.answer.calls):
            raise Wrong(f"{name} was called, {why}")

    return check


# --- thoughts ---------------------------------------------------------------------------------------------


def _thought(reply: Reply) -> None:
    reply.answer.keep("content")
    if not reply.answer.thoughts:
        raise Unsure("no thought was shown")


def _no_thought(reply: Reply) -> None:
    if reply.answer.thoughts:
        raise Unsure(f"thoughts were shown: {shown(reply.answer.thoughts)}")


def _hidden(reply: Reply) -> None:
    if reply.answer.thoughts:
        raise Wrong(f"thoughts were not to be shown, and were: {shown(reply.answer.thoughts)}")


def _encrypted(reply: Reply) -> None:
    items = [item for item in objects(reply.answer.body.get("output")) if item.get("type") == "reasoning"]
    if not items:
        raise Unsure("no reasoning item came")
    if not any(words(item.get("encrypted_content")) for item in items):
        raise Unsure("the reasoning item holds no encrypted_content")


# --- more than one answer, and streams --------------------------------------------------------------------


def _two(reply: Reply) -> None:
    indexes = [choice.get("index") for choice in objects(reply.answer.body.get("choices"))]
    if indexes != [0, 1]:
        raise Wrong(f"two answers were asked for, and choices have the indexes {shown(indexes)}")


def _logprobs(reply: Reply) -> None:
    told: list[Any] = []
    for choice in objects(reply.answer.body.get("choices")):
        holder = choice.get("logprobs")
        told.append(holder.get("content") if isinstance(holder, Mapping) else None)
    for item in objects(reply.answer.body.get("output")):
        parts = objects(item.get("content"))
        told += [part.get("logprobs") for part in parts if part.get("type") == "output_text"]
    if not any(told):
        raise Wrong("logprobs were asked for, nothing was said against it, and none came")
    for one in told:
        for why in faults(_LOGPROBS, one, "logprobs"):
            raise Wrong(why)


def _stream(reply: Reply) -> None:
    reply.answer.keep("grammar", "content", "envelope", "usage")
    if "choices" in reply.answer.body and reply.answer.usage is not None:
        raise Wrong("usage came in a stream of a caller that did not ask for it")
    if not reply.answer.text:
        raise Unsure("the stream was well formed, and held no text")


def _stream_usage(reply: Reply) -> None:
    reply.answer.keep("grammar", "usage")
    if reply.answer.usage is None or not reply.answer.usage.input:
        raise Wrong("stream_options.include_usage was asked for, and no usage came")


def _unpadded(reply: Reply) -> None:
    reply.answer.keep("grammar")
    if b'"obfuscation"' in reply.heard.raw:
        raise Wrong("padding was not wanted, and events have an obfuscation")


def _spoken(reply: Reply) -> None:
    message = next((choice.get("message") for choice in objects(reply.answer.body.get("choices"))), None)
    sound = message.get("audio") if isinstance(message, Mapping) else None
    if faults(members({"id": text, "data": text, "expires_at": count, "transcript": text}), sound):
        raise Wrong(f"a spoken answer was asked for, nothing was said against it, and audio is {shown(sound)}")


JUDGES: Final[Mapping[str, Judge]] = {
    "answers.text": _text,
    "answers.identity": _identity,
    "usage.plain": _usage,
    "length.cap": _cap,
    "length.cap_newer": _cap,
    "length.cap_small": _cap,
    "answers.length": _length,
    "length.stop": _stop,
    "length.stop_one": _stop,
    "answers.stop_word": _stop,
    "shape.json": _object,
    "shape.schema": _schema,
    "shape.schema_loose": _loose,
    "tools.function": _free_call,
    "tools.parallel_off": _at_most_one,
    "tools.strict": _strict,
    "tools.custom": _custom,
    "tools.grammar": _grammar,
    "choice.none": _none,
    "choice.required": _call,
    "choice.named": _named,
    "choice.allowed": _not("time", "which was not among the allowed"),
    "choice.unknown": _not("tide", "which was never offered"),
    "answers.call": _call,
    "answers.calls": _calls,
    "answers.custom": _custom,
    "thinking.off": _no_thought,
    "thinking.hidden": _hidden,
    "thinking.summary": _thought,
    "thinking.encrypted": _encrypted,
    "answers.thought": _thought,
    "sampling.n": _two,
    "sampling.logprobs": _logprobs,
    "streams.plain": _stream,
    "streams.usage": _stream_usage,
    "streams.no_obfuscation": _unpadded,
    "audio.out": _spoken,
}
"""By feature. What is not here (a history, a wish that no answer shows) is proved by an answer that can be read."""
