"""Citations of pages, as the dialects of OpenAI and Messages spell them.

Owns the way from their spellings to `Citation`. Only what has an address is one: what points into a document of the
request means nothing outside of Messages (facts: providers.md 12.13). It must never know who answers.
"""

from collections.abc import Iterable
from typing import Any, Final

from hermes_router.core.events import Citation

__all__ = ["annotations", "citations", "cited"]

WHOLE: Final = 2**31
"""The end of a block whose length is not known yet."""


def citations(raw: Any, begins: int) -> list[Citation]:
    """Those in `annotations` of Chat or Responses, for a block that begins with character `begins` of their text."""
    found = []
    for one in raw if isinstance(raw, list) else ():
        if not isinstance(one, dict) or one.get("type") != "url_citation":
            continue
        said = one.get("url_citation")  # nested in Chat, flat in Responses
        said = said if isinstance(said, dict) else one
        url = said.get("url")
        if isinstance(url, str) and url:
            start, end = _count(said.get("start_index")), _count(said.get("end_index"))
            found.append(Citation(url, _title(said), start - begins, end - begins))
    return found


def cited(raw: Any) -> list[Citation]:
    """Those in a list of Messages; each is of its whole block."""
    found = []
    for one in raw if isinstance(raw, list) else ():
        url = one.get("url", one.get("source")) if isinstance(one, dict) else None
        if isinstance(url, str) and "://" in url:
            found.append(Citation(url, _title(one), 0, WHOLE))
    return found


def annotations(found: Iterable[Citation], chars: int) -> list[dict[str, Any]]:
    """As Responses spells them, each once, their places within a text of so many characters."""
    return [
        {"type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": max(start, end)}
        for url, title, start, end in dict.fromkeys(
            one._replace(start=_within(one.start, chars), end=_within(one.end, chars)) for one in found
        )
    ]


def _within(place: int, chars: int) -> int:
    return max(0, min(place, chars))


def _title(said: dict[str, Any]) -> str:
    title = said.get("title")
    return title if isinstance(title, str) else ""


def _count(value: Any) -> int:
    return value if type(value) is int else 0
