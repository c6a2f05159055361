"""A run: which dialects are spoken, which model is asked, every check once, and what came of it in the table's order.

Owns the order of things and the way from a bundle to its features. It must never know what a check looks for.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from hermes_router.conformance.answer import Ended, Outcome, Unsure, Wrong
from hermes_router.conformance.bundles import bundles, request
from hermes_router.conformance.chat import Chat
from hermes_router.conformance.checks_answers import judge
from hermes_router.conformance.checks_kept import KEPT
from hermes_router.conformance.checks_lists import LISTS
from hermes_router.conformance.checks_refused import rightly, taken
from hermes_router.conformance.checks_wire import WIRE
from hermes_router.conformance.embeddings import VECTORS, Embeddings
from hermes_router.conformance.endpoint import Asker, Endpoint, Heard, Sent, Unreachable
from hermes_router.conformance.extra import EMBEDDINGS, Extra, Visit
from hermes_router.conformance.feature import Feature
from hermes_router.conformance.features import FEATURES
from hermes_router.conformance.messages import Messages
from hermes_router.conformance.reply import Refused, Reply, message_of
from hermes_router.conformance.responses import Responses
from hermes_router.conformance.shapes import shown
from hermes_router.conformance.terms import terms
from hermes_router.conformance.tongue import Tongue, objects, words

TONGUES: Final[dict[str, Tongue]] = {one.name: one for one in (Chat(), Messages(), Responses(), Embeddings())}
EXTRAS: Final[tuple[Extra, ...]] = (*WIRE, *KEPT, *LISTS, *VECTORS)
CONCURRENCY: Final = 2

_NOT_THERE: Final = frozenset({404, 405, 501})
_REFUSED: Final = frozenset({401, 403})
_NO_CHAT: Final = ("embed", "rerank", "moderation", "whisper", "tts")  # in the names of models that do not talk


class KeyRefused(Exception):
    """The endpoint wants a key, or another one."""


class NoModel(Exception):
    """The endpoint lists no model that could be asked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check in one dialect. `sent` is the last request of it, where one went out."""

    id: str
    area: str
    title: str
    dialect: str
    outcome: Outcome
    why: str = ""
    sent: Sent | None = None


@dataclass(slots=True)
class Report:
    """What came of a run. `unspoken` says of a dialect why it was not asked any further."""

    base: str
    model: str
    findings: list[Finding] = field(default_factory=list)
    unspoken: dict[str, str] = field(default_factory=dict)
    requests: int = 0

    def of(self, dialect: str) -> dict[Outcome, int]:
        """How often each outcome came in a dialect."""
        found = [one.outcome for one in self.findings if one.dialect == dialect]
        return {outcome: found.count(outcome) for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to run: these dialects, the checks that fit a pattern (`tools.*`, or a part of an id), this model."""

    dialects: Sequence[str] = tuple(TONGUES)
    only: str = ""
    model: str = ""
    embedding_model: str = ""

    def wants(self, name: str) -> bool:
        """Whether a check is to be run."""
        return not self.only or self.only in name or fnmatchcase(name, self.only)


Told = Callable[[int, int], None]
"""How many of how many checks are done."""


async def run(endpoint: Endpoint, wishes: Wishes, told: Told = lambda _done, _all: None) -> Report:
    """All checks. Raises Unreachable, KeyRefused, and NoModel where none was given and none is listed."""
    listed = await _models(endpoint)
    model = wishes.model or next((name for name in listed if _talks(name)), "")
    report = Report(endpoint.base, model)
    spoken = await _dialects(endpoint, [name for name in TONGUES if name in wishes.dialects], report)
    if not model and set(spoken) - {EMBEDDINGS}:
        raise NoModel("the endpoint lists no model that could be asked")
    embedding = wishes.embedding_model or next((name for name in listed if "embed" in name.lower()), model)
    work = _Work(endpoint, report, told)
    for name in spoken:
        work.plan(name, embedding if name == EMBEDDINGS else model, wishes)
    await work.done()
    report.requests = endpoint.asked
    return report


def _talks(name: str) -> bool:
    return not any(word in name.lower() for word in _NO_CHAT)


async def _models(endpoint: Endpoint) -> list[str]:
    """The ids that the endpoint lists, the key shown in the one header or the other; none where it lists nothing."""
    for tongue in (TONGUES["chat"], TONGUES["messages"]):
        try:
            heard = await Asker(endpoint).get("/models", tongue.headers(endpoint.key))
            if heard.status in _REFUSED:
                continue
            body = heard.json if heard.status == 200 else {}
        except Ended:
            return []
        return [words(one.get("id")) for one in objects(body.get("data"))] if isinstance(body, dict) else []
    return []


async def _dialects(endpoint: Endpoint, names: Sequence[str], report: Report) -> list[str]:
    """Those of the dialects that something answers in. What goes wrong with one says nothing of another.

    Raises Unreachable where nobody answers at all, KeyRefused where the key is refused wherever one was heard.
    """
    spoken: list[str] = []
    silent: list[Unreachable] = []
    refused: list[KeyRefused] = []
    for name in names:
        try:
            if await _spoken(endpoint, name, report):
                spoken.append(name)
        except Unreachable as error:
            silent.append(error)
            report.unspoken[name] = f"the connection failed: {error}"
        except KeyRefused as error:
            refused.append(error)
            report.unspoken[name] = f"the key is refused: {error}"
    if not spoken and refused:
        raise refused[0]
    if silent and len(silent) == len(names):
        raise silent[0]
    return spoken


async def _spoken(endpoint: Endpoint, name: str, report: Report) -> bool:
    """Whether something answers on a dialect's path; an empty object costs no model's time."""
    tongue = TONGUES[name]
    try:
        heard = await Asker(endpoint).post(tongue.path, {}, tongue.headers(endpoint.key))
    except Ended as error:
        report.unspoken[name] = error.why
        return False
    if heard.status in _REFUSED:
        raise KeyRefused(_said(heard))
    if heard.status in _NOT_THERE:
        report.unspoken[name] = f"HTTP {heard.status} on {tongue.path}: {_said(heard)}"
        return False
    return True


def _said(heard: Heard) -> str:
    """An error's own words, or its body."""
    try:
        return shown(message_of(heard.json) or heard.text)
    except Wrong:
        return shown(heard.text)


class _Work:
    """The checks of a run, a few at a time."""

    def __init__(self, endpoint: Endpoint, report: Report, told: Told) -> None:
        self._endpoint = endpoint
        self._report = report
        self._told = told
        self._room = asyncio.Semaphore(CONCURRENCY)
        self._work: list[Coroutine[Any, Any, None]] = []
        self._ended: dict[tuple[str, str], Finding] = {}
        self._order: list[tuple[str, str]] = []

    def plan(self, dialect: str, model: str, wishes: Wishes) -> None:
        """Take on a dialect's checks."""
        self._order += [
            (name, dialect) for name, feature in FEATURES.items() if wishes.wants(name) and dialect in feature.asks
        ]
        for bundle in bundles(dialect, filter(wishes.wants, FEATURES)):
            self._work.append(self._in_turn(self._bundle(dialect, model, bundle)))
        for extra in EXTRAS:
            if dialect in extra.dialects and wishes.wants(extra.id):
                self._order.append((extra.id, dialect))
                self._work.append(self._in_turn(self._extra(dialect, model, extra)))

    async def done(self) -> None:
        """Do all of it, and put the findings in order."""
        await asyncio.gather(*self._work)
        self._report.findings = [self._ended[place] for place in self._order]

    async def _in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._room:
            await work

    def _note(self, one: Feature | Extra, dialect: str, ended: Ended | None, sent: Sent | None) -> None:
        outcome, why = (Outcome.PASS, "") if ended is None else (ended.outcome, ended.why)
        self._ended[one.id, dialect] = Finding(one.id, one.area, one.title, dialect, outcome, why, sent)
        self._told(len(self._ended), len(self._order))

    async def _bundle(self, dialect: str, model: str, bundle: Sequence[Feature]) -> None:
        """Ask for all of it at once; what goes wrong in company is asked for alone, and that counts."""
        asker = Asker(self._endpoint)
        visit = Visit(asker, TONGUES[dialect], model)
        alone = len(bundle) == 1
        again: list[Sequence[Feature]] = []
        try:
            reply = await visit.ask(request(dialect, bundle))
        except Refused as refused:
            for feature in bundle if alone else ():
                self._note(feature, dialect, _refused(feature, dialect, refused), asker.last)
            again = [] if alone else _apart(dialect, bundle, refused)
        except (Ended, Unreachable) as error:
            if alone or isinstance(error, Unsure):  # a limit, or a time that is over: alone it would be no other
                for feature in bundle:
                    self._note(feature, dialect, _as_ended(error), asker.last)
            else:
                again = _halves(bundle)
        else:
            for feature in bundle:
                ended = _judged(feature, reply)
                if alone or not isinstance(ended, Wrong):
                    self._note(feature, dialect, ended, asker.last)
                else:
                    again.append([feature])
        for part in again:
            await self._bundle(dialect, model, part)

    async def _extra(self, dialect: str, model: str, extra: Extra) -> None:
        asker = Asker(self._endpoint)
        ended: Ended | None = None
        try:
            await extra.run(Visit(asker, TONGUES[dialect], model))
        except Refused as refused:
            ended = refused.verdict(extra.terms)
        except (Ended, Unreachable) as error:
            ended = _as_ended(error)
        self._note(extra, dialect, ended, asker.last)


def _as_ended(error: Ended | Unreachable) -> Ended:
    return error if isinstance(error, Ended) else Wrong(f"the connection failed: {error}")


def _judged(feature: Feature, reply: Reply) -> Ended | None:
    try:
        taken(feature.id)
        judge(feature, reply)
    except Ended as error:
        return error
    return None


def _refused(feature: Feature, dialect: str, refused: Refused) -> Ended | None:
    try:
        if rightly(feature, refused):
            return None
    except Ended as error:
        return error
    return refused.verdict(terms(feature, dialect))


def _apart(dialect: str, bundle: Sequence[Feature], refused: Refused) -> list[Sequence[Feature]]:
    """What to ask next of a bundle that was refused: those that the refusal names alone, and the others together."""
    named = [feature for feature in bundle if refused.names(terms(feature, dialect))]
    others = [feature for feature in bundle if feature not in named]
    return [[feature] for feature in named] + [others] if named and others else _halves(bundle)


def _halves(bundle: Sequence[Feature]) -> list[Sequence[Feature]]:
    middle = len(bundle) // 2
    return [bundle[:middle], bundle[middle:]]


def known(patterns: Iterable[str]) -> bool:
    """Whether every pattern fits some check."""
    names = [*FEATURES, *(extra.id for extra in EXTRAS)]
    return all(any(Wishes(only=pattern).wants(name) for name in names) for pattern in patterns)
