"""A row, proved: what really becomes of it, its mark, and what of the expectation does not hold.

Marks are taken from what happened, never from what was expected. The page and the tests both read them here.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import anthropic.types
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel

from hermes_router.conformance.feature import CHAT, PLAIN, body
from hermes_router.core.errors import BadRequest, HermesError, UpstreamError

from . import stage
from .answers import ANSWERS, core_of, whole_of
from .backward import BackRow, Fails, Sees, back_rows, expected_back, request_of
from .errors import BREAKS, REFUSALS, WRONG, ErrorRow, Told, error_rows
from .expectation import Expected, OutRow, Refused, Says, expected_whole, out_rows
from .outward_tools import TOOLS
from .outward_turns import TURNS
from .outward_wishes import WISHES
from .spelling import one_form
from .streams import read_stream, write_stream

__all__ = ["MARKS", "OUT", "Proof", "Row", "expected_out", "is_news", "missing", "prove", "rows"]

Row = OutRow | BackRow | ErrorRow
OUT: Final = {**TURNS, **TOOLS, **WISHES}
MARKS: Final[Mapping[str, str]] = {
    "kept": "=",
    "mapped": "~",
    "warned": "!",
    "refused": "x",
    "left out": "o",
}


@dataclass(frozen=True)
class Proof:
    """What became of a row: its mark, how to say it, and what does not hold."""

    mark: str
    said: str
    faults: list[str] = field(default_factory=list)


def rows() -> Iterator[Row]:
    """Every row."""
    yield from (row for row in out_rows() if row.feature.area not in _BACK)
    yield from back_rows()
    yield from error_rows()


_BACK: Final = frozenset({"Answers", "Usage", "Errors"})


def prove(row: Row) -> Proof:
    """Play a row."""
    match row:
        case OutRow():
            return _out(row)
        case BackRow():
            return _back(row)
        case ErrorRow():
            return _error(row)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


_LONGEST: Final = 240


def _is_question(value: Any) -> bool:
    """Whether this is a conversation of one turn that is nothing but text."""
    turn = value[0] if isinstance(value, list) and len(value) == 1 else None
    if not isinstance(turn, dict) or turn.get("role") != "user":
        return False
    content = turn["content"]
    return isinstance(content, str) or (len(content) == 1 and content[0].keys() == {"type", "text"})


def _told(fields: Mapping[str, Any], plain: Mapping[str, Any], *, alone: bool = True) -> str:
    """Fields as they stand in a body; those of the plain request are no news, nor is a question, unless `alone`."""
    news = {key: value for key, value in fields.items() if plain.get(key) != value}
    news = {key: value for key, value in news.items() if not _is_question(value)} or (news if alone else {})
    return ", ".join(f"`{key}: {_short(value)}`" for key, value in news.items() if value is not None)


# --- the way out --------------------------------------------------------------------------------------


def expected_out(row: OutRow) -> Expected | None:
    """What is expected of a row of the way out, None where nobody has said it."""
    table = OUT.get(row.feature.id, {})
    for key in row.places():
        if key in table:
            return table[key]
    return Says(row.feature.asks[row.upstream]) if row.upstream in row.feature.asks else None


def _out(row: OutRow) -> Proof:
    expected = expected_out(row)
    asked = row.feature.asks[row.caller]
    heard = stage.ask(row.caller, row.upstream, body(row.feature, row.caller), maker=row.maker)
    if heard.body is None:
        reason = heard.refusal.partition(": ")[2].removeprefix("Inexpressible: ")
        at = f" (`{heard.param}`)" if heard.param and not reason.startswith(heard.param) else ""
        holds = isinstance(expected, Refused) and expected.words in heard.refusal and expected.param == heard.param
        return Proof("refused", f"{reason}{at}", [] if holds else [f"refused: {heard.refusal}, {expected}"])
    if not isinstance(expected, Says):
        return Proof("mapped", "", [f"sent, and {expected} was expected"])
    faults = []
    got = one_form(row.upstream, heard.body)
    want = one_form(row.upstream, expected_whole(row.upstream, expected))
    for key in sorted({key for key in (*got, *want) if got.get(key, _ABSENT) != want.get(key, _ABSENT)}):
        faults.append(f"{key}: {got.get(key, _ABSENT)!r}, not {want.get(key, _ABSENT)!r}")
    if heard.warnings != expected.warns:
        faults.append(f"warnings: {heard.warnings}, not {expected.warns}")
    changed = {key: value for key, value in heard.body.items() if key not in ("model", "store") or key in asked}
    plain = _plain(row)
    told = _told(changed, {**PLAIN[row.upstream], "stream": False} if asked else {}, alone=not heard.warnings)
    if heard.warnings:
        mark, said = "warned", ", ".join(f"`{each}`" for each in heard.warnings)
        said += f"; {told}" if told else ""
    elif all(heard.body.get(key) == value for key, value in (asked or PLAIN[row.caller]).items()):
        mark, said = "kept", "the same words"
    elif expected.left:
        mark, said = "left out", expected.left
    else:
        mark, said = "mapped", f"{expected.note}: {told}" if expected.note and told else expected.note or told
    if expected.left and mark != "left out":
        faults.append(f"{mark}, although something is left out: {expected.left}")
    if mark == "mapped" and got == plain and body(row.feature, row.caller) != PLAIN[row.caller]:
        faults.append("nothing of it is heard, and nothing said")
    return Proof(mark, said or "as the plain request", faults)


_ABSENT: Final = "absent"


def _plain(row: OutRow) -> dict[str, Any]:
    heard = stage.ask(row.caller, row.upstream, PLAIN[row.caller], maker=row.maker)
    assert heard.body is not None
    return one_form(row.upstream, heard.body)


# --- the way back -------------------------------------------------------------------------------------


def _back(row: BackRow) -> Proof:
    expected, request = expected_back(row), request_of(row)
    core = ANSWERS[row.feature.id][row.upstream]
    said = whole_of(row.upstream, core)
    body_, stream = json.dumps(said, separators=(",", ":")).encode(), write_stream(row.upstream, said)
    whole = _seen(lambda: _core(row.caller, stage.tell(row.caller, row.upstream, request, body_)))
    streamed = _seen(lambda: _streamed(row, request, stream))
    if isinstance(whole, str) or isinstance(streamed, str):
        holds = isinstance(expected, Fails) and whole == streamed == expected.error
        return Proof(
            "refused", f"not shown: taken for `{whole}`", [] if holds else [f"{whole}, {streamed}, {expected}"]
        )
    if not isinstance(expected, Sees):
        return Proof("mapped", "", [f"shown, and {expected} was expected"])
    wanted = expected.core if expected.core is not None else ANSWERS[row.feature.id][row.caller]
    want = core_of(row.caller, whole_of(row.caller, wanted))
    late = core_of(row.caller, whole_of(row.caller, expected.stream)) if expected.stream is not None else want
    faults = [] if whole == want else [f"whole: {whole}, not {want}"]
    faults += [] if streamed == late else [f"streamed: {streamed}, not {late}"]
    came = core_of(row.upstream, said)
    if expected.left:
        mark, text = "left out", expected.left
    elif row.caller == row.upstream and came == whole == streamed:
        mark, text = "kept", "as it came"
    else:
        seen = {key: value for key, value in whole.items() if key != "model"}
        if not row.feature.id.startswith("usage."):
            del seen["usage"]
        told = _told(seen, {})
        mark, text = "mapped", f"{expected.note}: {told}" if expected.note else told
    if expected.left and row.caller == row.upstream and came == whole == streamed:
        faults.append("nothing is left out")
    return Proof(mark, text, faults)


def _seen(play: Callable[[], dict[str, Any]]) -> dict[str, Any] | str:
    try:
        return play()
    except UpstreamError as error:
        return type(error).__name__


def _streamed(row: BackRow, request: Mapping[str, Any], stream: bytes) -> dict[str, Any]:
    out = stage.tell_stream(row.caller, row.upstream, request, stream)
    if out.error is not None:
        raise out.error
    return _core(row.caller, read_stream(row.caller, out.raw))


_SDKS: Final[Mapping[str, type[BaseModel]]] = {
    "chat": ChatCompletion,
    "messages": anthropic.types.Message,
    "responses": Response,
}


def _core(caller: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, if the official SDK of its dialect can read it."""
    _SDKS[caller].model_validate(answer)
    assert answer["id"]
    return core_of(caller, answer)


# --- what goes wrong ----------------------------------------------------------------------------------


def _error(row: ErrorRow) -> Proof:
    name = row.feature.id
    if name in WRONG:
        return _wrong(row, WRONG[name][row.caller])
    if name in BREAKS:
        return _broken(row, BREAKS[name])
    refusal = REFUSALS[name]
    found = type(stage.refusal(row.upstream, refusal.status, refusal.errors[row.upstream])).__name__
    faults = [] if found == refusal.taken_for else [f"taken for {found}, not {refusal.taken_for}"]
    told, more = _http(row.caller, refusal.final, refusal.told[row.caller])
    return Proof("mapped", f"taken for `{found}`; where nobody else can serve: {told}", faults + more)


def _wrong(row: ErrorRow, expected: Told) -> Proof:
    try:
        stage.parse(row.caller, body(row.feature, row.caller))
    except BadRequest as error:
        told, faults = _http(row.caller, error, expected)
        return Proof("refused", f"{error.message} {told}", faults)
    return Proof("mapped", "", ["it was let in"])


def _http(caller: str, error: HermesError, expected: Told) -> tuple[str, list[str]]:
    rendered = stage.tell_error(caller, error)
    value = json.loads(rendered.body)
    inner = value["error"]
    faults = []
    if (rendered.status, inner["type"], inner.get("code")) != (expected.status, expected.kind, expected.code):
        faults.append(f"{rendered.status} {inner}, not {expected}")
    if caller == "messages":
        if value["type"] != "error" or (expected.param or "") not in inner["message"]:
            faults.append(f"{value}, not the shape of Messages, or without {expected.param}")
    elif inner["param"] != expected.param:
        faults.append(f"the field {inner['param']}, not {expected.param}")
    code = f", `{expected.code}`" if expected.code else ""
    return f"HTTP {rendered.status}, `{inner['type']}`{code}", faults


_LATE: Final = {
    "chat": b'data: {"error":{"message":"Overloaded.","type":"server_error","code":"overloaded"}}\n\n',
    "messages": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded."}}\n\n',
    "responses": (
        b'event: error\ndata: {"type":"error","code":"server_is_overloaded","message":"Overloaded.","param":null,'
        b'"sequence_number":9}\n\n'
    ),
}
_GOOD_ENDS: Final = (b"[DONE]", b"message_stop", b"response.completed", b'finish_reason":"stop')


def _broken(row: ErrorRow, taken_for: str) -> Proof:
    """A stream that breaks off behind its first words."""
    said = write_stream(row.upstream, whole_of(row.upstream, ANSWERS["answers.text"][row.upstream]))
    first = said[: said.index(b'"lo!"') if b'"lo!"' in said else said.index(b'lo!"')]
    first = first[: first.rindex(b"\n\n") + 2]
    stream = first + (_LATE[row.upstream] if row.feature.id == "errors.late" else b"")
    out = stage.tell_stream(row.caller, row.upstream, PLAIN[row.caller], stream)
    found = type(out.error).__name__
    faults = [] if found == taken_for else [f"taken for {found}, not {taken_for}"]
    faults += [f"looks like a good end: {end!r}" for end in _GOOD_ENDS if end in out.raw]
    last = out.raw.rstrip(b"\n").rpartition(b"\n\n")[2]
    name, _, data = last.rpartition(b"data: ")
    value = json.loads(data)
    if row.caller == CHAT:
        text = f"a frame with `error` of the type `{value['error']['type']}`"
        faults += [] if value["error"]["message"] and not name else [f"no error of Chat: {last!r}"]
    elif row.caller == "messages":
        text = f"the event `error` of the type `{value['error']['type']}`"
        faults += [] if name == b"event: error\n" and value["type"] == "error" else [f"no error of Messages: {last!r}"]
    else:
        text = f"the event `{value['type']}`"
        good = value["type"] in ("response.failed", "error") and name == b"event: %b\n" % value["type"].encode()
        faults += [] if good else [f"no error of Responses: {last!r}"]
    return Proof("mapped", f"taken for `{found}`; where nobody can go on: {text}", faults)


def is_news(row: Row) -> bool:
    """Whether a row says something of its own: not so a maker's of which the same is expected as of everybody."""
    if not isinstance(row, OutRow) or not row.maker:
        return True
    plain = replace(row, maker=False)
    return expected_out(row) != expected_out(plain) or prove(row).mark != prove(plain).mark


def missing() -> Iterator[str]:
    """Rows of which nobody has said what to expect."""
    for row in rows():
        unsaid = isinstance(row, OutRow) and expected_out(row) is None
        if unsaid or (isinstance(row, BackRow) and expected_back(row) is None):
            yield row.id
