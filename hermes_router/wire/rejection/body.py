"""What a provider said when it refused, whatever shape it came in: one flat view of an error body.

Owns the shapes (JSON arrays, flat bodies, lists of validation errors, JSON inside strings, HTML, nothing) and the
scrubbing of excerpts. It must never judge: what the words mean is in the modules beside it. It never raises.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import msgspec

MAX_DEPTH: Final = 6
MAX_ITEMS: Final = 16
MAX_TEXT: Final = 4000
MAX_BODY: Final = 4_194_304

_SECRETS: Final = re.compile(
    r"(?i:\bbearer\s+)[^\s\"',;]+"
    r"|\b(?:sk|gsk|csk|hf|nvapi|xai|pplx|fw|r8|gh[pousr]|github_pat|key)[-_][\w\-*.]{6,}"
    r"|\bAIza[\w\-*]{8,}|\bAQ\.[\w\-]{16,}"
    r"|\beyJ[\w\-]{8,}(?:\.[\w\-]*){0,2}"
    r"|\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"  # SambaNova's keys are bare UUIDs
    r"|\b(?=[a-zA-Z]{0,64}\d)(?=\d{0,64}[a-zA-Z])[a-zA-Z0-9]{32,}(?:\.[\w\-]{6,})?"  # Mistral, Cohere, Z.ai
)
_ASSIGNED: Final = re.compile(
    r"(?i)\b((?:api[-_ ]?key|key|access_token|refresh_token|token|secret|password|authorization)"
    r"(?:\"|')?\s?(?:=|:)\s?(?:\"|')?)(?!bearer\b)[^\s\"'&,;}]{6,}"
)
_TAGS: Final = re.compile(r"<[^<>]{0,400}>")
_TITLE: Final = re.compile(r"<title[^>]{0,80}>([^<]{1,300})", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")

# Members that hold words for people, or lead to them; in the order in which they are worth quoting.
_WORDS: Final = (
    "error", "errors", "message", "detail", "title", "error_description", "error_message", "msg", "raw", "response",
)  # fmt: skip
_NAMES: Final = ("code", "type", "status", "reason")


class Complaint(NamedTuple):
    """One entry of a validation list: its type and the path of the field that it is about."""

    kind: str
    loc: tuple[str, ...]


class Said(msgspec.Struct, frozen=True):
    """One refusal as all judges read it.

    `status` is 0 where there was none. `names` holds every code, type, status word and reason, lower case.
    `text` is all human words, lower case, newline-separated, at most 4,000 characters; `words` the same as
    written. `fields` are the scalar members met on the way as text, by lower-case name, the outermost first.
    `details` are Google's; `body_headers` OpenRouter's. `sent` names the request fields that we sent.
    """

    family: str
    status: int
    headers: Mapping[str, str]
    now: float
    excerpt: str
    words: str = ""
    text: str = ""
    names: frozenset[str] = frozenset()
    fields: Mapping[str, str] = msgspec.field(default_factory=dict)
    param: str | None = None
    complaints: tuple[Complaint, ...] = ()
    details: tuple[Mapping[object, object], ...] = ()
    body_headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    html: bool = False
    empty: bool = False
    sent: frozenset[str] = frozenset()

    def word(self, name: str) -> str:
        """The scalar member of that name as text, empty where there is none."""
        return self.fields.get(name, "")


class _Gathering:
    """The walk over a body: bounded in depth and breadth, since what comes is foreign."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.names: set[str] = set()
        self.fields: dict[str, str] = {}
        self.complaints: list[Complaint] = []
        self.details: list[Mapping[object, object]] = []
        self.body_headers: dict[str, str] = {}
        self.param: str | None = None

    def take(self, value: object, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            return
        if isinstance(value, str):
            self._take_text(value, depth)
        elif isinstance(value, list):
            for item in value[:MAX_ITEMS]:
                self.take(item, depth + 1)
        elif isinstance(value, dict):
            self._take_object(value, depth)

    def _take_text(self, value: str, depth: int) -> None:
        inner = parsed(value.encode("utf-8", "replace")) if value.lstrip()[:1] in ("{", "[") else None
        if isinstance(inner, dict | list):
            self.take(inner, depth + 1)
        elif value.strip():
            self.words.append(value.strip()[:MAX_TEXT])

    def _take_object(self, value: dict[object, object], depth: int) -> None:
        self._take_scalars(value)
        where = value.get("loc")
        if isinstance(where, list):
            loc = tuple(step for item in where[:MAX_ITEMS] if (step := scalar(item)) is not None)
            self.complaints.append(Complaint((scalar(value.get("type")) or "").lower(), loc))
        for key in _WORDS:
            if key in value:
                self.take(value[key], depth + 1)
        self._take_details(value.get("details"), depth)
        metadata = value.get("metadata")
        if isinstance(metadata, dict):
            headers = metadata.get("headers")
            if isinstance(headers, dict):
                for name, said in headers.items():
                    self.body_headers[str(scalar(name)).lower()] = scalar(said) or ""
            self.take(metadata, depth + 1)

    def _take_details(self, details: object, depth: int) -> None:
        if not isinstance(details, list):
            self.take(details, depth + 1)
            return
        for item in details[:MAX_ITEMS]:
            if isinstance(item, dict):
                self._take_scalars(item)
                self.details.append(item)

    def _take_scalars(self, value: dict[object, object]) -> None:
        for key, item in value.items():
            plain = scalar(item)
            if isinstance(key, str) and plain is not None:
                self.fields.setdefault(key.lower(), plain)
                if key in _NAMES:
                    self.names.add(plain.lower())
        param = value.get("param")
        if self.param is None and isinstance(param, str) and param:
            self.param = param[:120]


def scalar(value: object) -> str | None:
    """A string or number as at most 500 characters of text, None for everything else (also absurd numbers)."""
    if isinstance(value, str):
        return value[:500]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, int) and value.bit_length() > 256 else str(value)


def parsed(body: bytes) -> object:
    """The JSON value of a body, None where it is none; also that of the first `data:` line of an SSE body."""
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    if body[:5] == b"data:":
        body = body[5:].split(b"\n", 1)[0]
    if len(body) > MAX_BODY:
        return None
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return value


def scrubbed(text: str) -> str:
    """At most 300 characters on one line without anything that looks like a secret (cases LL-13)."""
    text = text[:MAX_TEXT]
    if not text.isprintable():  # lone surrogates would even stop a log line from being written
        text = "".join(character if character.isprintable() else " " for character in text)
    line = _CONTROL.sub(" ", text).strip()
    return _ASSIGNED.sub(r"\1***", _SECRETS.sub("***", line))[:300]


def _plain_text(body: bytes) -> tuple[str, bool]:
    """The words of a body that is no JSON, and whether it is HTML."""
    text = body[:65536].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        return text[:MAX_TEXT].strip(), False
    title = _TITLE.search(text)
    visible = _CONTROL.sub(" ", _TAGS.sub(" ", text[:MAX_TEXT])).strip()
    return (f"{title.group(1).strip()}\n{visible}" if title else visible), True


def read(
    family: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes | object,
    *,
    now: float,
    sent_fields: Collection[str] = (),
) -> Said:
    """The flat view of a refusal; `body` is raw bytes, or a JSON value that was found inside an answer."""
    gathering = _Gathering()
    html = False
    value = parsed(body) if isinstance(body, bytes) else body
    if isinstance(body, bytes) and not isinstance(value, dict | list | str):
        plain, html = _plain_text(body)
        if plain:
            gathering.words.append(plain)
    else:
        gathering.take(value)
    words = "\n".join(dict.fromkeys(gathering.words))[:MAX_TEXT]
    return Said(
        family=family,
        status=status,
        headers=headers,
        now=now,
        excerpt=scrubbed(words or " ".join(sorted(gathering.names))),
        words=words,
        text=words.lower(),
        names=frozenset(gathering.names),
        fields=gathering.fields,
        param=gathering.param,
        complaints=tuple(gathering.complaints),
        details=tuple(gathering.details),
        body_headers=gathering.body_headers,
        html=html,
        empty=not words and not gathering.names,
        sent=frozenset(sent_fields),
    )
