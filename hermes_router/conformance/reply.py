"""One reply to one check: an answer that can be judged, or a refusal that says plainly what it is about.

Owns what counts as a refusal in good form. It must never know a single check.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hermes_router.conformance.answer import Answer, Ended, Skipped, Unsure, Wrong
from hermes_router.conformance.endpoint import Asker, Heard
from hermes_router.conformance.frames import frames
from hermes_router.conformance.shapes import shown
from hermes_router.conformance.tongue import Body, Tongue, words

_REFUSED: Final = frozenset({400, 404, 405, 409, 413, 415, 422, 501})
_SHORT: Final = 4
_TOLD: Final = 200  # characters of an endpoint's own words


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with the request that it answers."""

    asked: Body
    heard: Heard
    answer: Answer


class Refused(Exception):
    """The endpoint refuses the request; whether it does so in good form is judged by whoever asked."""

    def __init__(self, heard: Heard, message: str, faults: list[str]) -> None:
        super().__init__(message)
        self.heard = heard
        self.message = message
        self.faults = faults

    def names(self, terms: Iterable[str]) -> bool:
        """Whether the refusal says one of these words."""
        said = self.heard.text.lower()
        return any(re.search(_word(term), said) for term in terms)

    def verdict(self, terms: Iterable[str]) -> Ended:
        """What it means for a check of something that has these names."""
        told = f"HTTP {self.heard.status}: {shown(self.message, _TOLD)}"
        if self.faults:
            return Wrong(f"refused in a shape of its own ({'; '.join(self.faults[:2])}); {told}")
        if self.heard.status == 501 or self.names(terms):
            return Skipped(told)
        return Wrong(f"refused without a word about what is wrong with it; {told}")


def _word(term: str) -> str:
    """A pattern for a term: at the beginning of a word, and a whole one where it is short (`n`)."""
    return rf"(?<![a-z0-9]){re.escape(term.lower())}" + (r"(?![a-z0-9])" if len(term) < _SHORT else "")


async def ask(asker: Asker, tongue: Tongue, body: Body) -> Reply:
    """Ask in a dialect. Raises Refused, and Wrong or Unsure where nothing can be judged."""
    heard = await asker.post(tongue.path, body, tongue.headers(asker.key))
    return Reply(body, heard, read(tongue, heard, streamed=body.get("stream") is True))


def read(tongue: Tongue, heard: Heard, *, streamed: bool) -> Answer:
    """The answer in what was heard. Raises as `ask`."""
    if heard.status != 200:
        raise refusal(tongue, heard)
    if streamed and not heard.is_stream:
        raise Wrong(f"a stream was asked for, and the content-type is {shown(heard.headers.get('content-type', ''))}")
    if not streamed and heard.is_stream:
        raise Wrong("no stream was asked for, and one came")
    return tongue.stream(frames(heard.raw)) if heard.is_stream else tongue.whole(heard.json)


def refusal(tongue: Tongue, heard: Heard) -> Exception:
    """What a status other than 200 is to be raised as."""
    try:
        body = heard.json
    except Wrong:
        faults, message = ["the body is not JSON"], heard.text
    else:
        faults, message = tongue.error(body), message_of(body) or heard.text
    if heard.status in _REFUSED:
        return Refused(heard, message, faults)
    told = f"HTTP {heard.status}: {shown(message, _TOLD)}"
    if heard.status in {401, 402, 403, 408, 429}:
        return Unsure(told)
    return Wrong(told)


def message_of(body: Any) -> str:
    """An error's words, whichever of the usual places they stand in; empty where there are none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(error, Mapping):
        return words(error.get("message"))
    return words(error)
