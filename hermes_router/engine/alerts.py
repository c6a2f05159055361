"""What the owner is told, and when: a fault that holds, once; its end, once; at most one message of a kind an hour.

Owns the kinds, what was told, and the letters that each way has yet to deliver. Pure: faults and the time are
arguments. It must never know how a fault is found (`faults.py`), nor send anything.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec

from hermes_router.core.records import LedgerRow
from hermes_router.core.spans import span

__all__ = ["KINDS", "Alerts", "Fault", "Kind", "Letter", "Message", "State", "Way"]

EVERY_S: Final = 3_600.0
ROUND_S: Final = (300.0, 900.0, 3_600.0)  # after a round of tries that all failed
KEPT_S: Final = 86_400.0  # a letter that nobody takes for a day is given up
LATE_S: Final = 300.0  # from here on a message says of when it is
MOST_SUBJECTS: Final = 25  # of one kind: what is kept of it fits into one row
MOST_LINES: Final = 8
MOST_TEXT: Final = 300
MOST_LABEL: Final = 80
ROW_KIND: Final = "alert"

State = Literal["alarm", "over"]
Way = Literal["url", "command"]
_STATES: Final[tuple[State, ...]] = ("alarm", "over")
_WAYS: Final[tuple[Way, ...]] = ("url", "command")


class Kind(NamedTuple):
    """A kind of fault. `hold_s`: how long it must have been so before it is told, and others of its kind are gathered.

    `calm_s`: how long it must be over before that is told. `title` and `over` are what stands above a message, `again`
    is the sentence of one that is over, with its label; `priority` is 1 to 5, as ntfy counts. `within` = whoever is
    told of this was told of that kind, too, so that the end of that one is the end of both.
    """

    name: str
    title: str
    over: str
    again: str
    hold_s: float
    calm_s: float
    priority: int
    tag: str
    within: str = ""


# A kind stands before the one that it lies within.
KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            "pool_down",
            "nothing can answer",
            "requests are answered again",
            "{} has a target that is ready again.",
            hold_s=30.0,
            calm_s=15.0,
            priority=5,
            tag="rotating_light",
        ),
        Kind(
            "key_revoked",
            "a key is revoked",
            "a key is in use again",
            "{} is in use again, or was taken out.",
            hold_s=60.0,
            calm_s=60.0,
            priority=4,
            tag="key",
        ),
        Kind(
            "login_needed",
            "a login is needed",
            "a login was renewed",
            "{} has a login again, or was taken out.",
            hold_s=60.0,
            calm_s=30.0,
            priority=4,
            tag="bust_in_silhouette",
        ),
        Kind(
            "budget_spent",
            "a budget is spent",
            "",
            "",
            hold_s=10.0,
            calm_s=120.0,
            priority=4,
            tag="money_with_wings",
            within="budget",
        ),
        Kind(
            "budget",
            "a budget is nearly spent",
            "there is budget again",
            "{} is below 80 % again: a new day has begun, or it was raised.",
            hold_s=10.0,
            calm_s=120.0,
            priority=3,
            tag="moneybag",
        ),
        Kind(
            "disk_full",
            "the disk takes nothing",
            "the disk takes what is written again",
            "{} is written again.",
            hold_s=20.0,
            calm_s=30.0,
            priority=4,
            tag="floppy_disk",
        ),
    )
}


class Fault(NamedTuple):
    """One thing that is wrong now. `subject` tells it from others of its kind, `label` is what people call it.

    `text` is a sentence that says what is so and what to do. `sure` False = nobody knows whether it is still so: it
    goes on where it had begun, and does not begin. `hold_s` takes the place of the kind's where it is set.
    """

    kind: str
    subject: str
    label: str
    text: str
    sure: bool = True
    hold_s: float | None = None


class Message(NamedTuple):
    """What goes out; `text` may have several lines. `at` is when it was so, in epoch seconds."""

    kind: str
    state: Literal["alarm", "over", "test"]
    title: str
    text: str
    at: float
    priority: int
    tag: str


class Letter(msgspec.Struct):
    """A message that one way has yet to deliver: by subject, a sentence of each.

    `at` is when it was decided, `due_at` when it may be tried next, `rounds` how often that was in vain.
    """

    kind: str
    state: State
    parts: dict[str, str]
    at: float
    due_at: float
    rounds: int = 0

    def message(self, now: float) -> Message:
        """The letter as it is told at `now`."""
        kind = KINDS[self.kind]
        lines = list(self.parts.values())
        if len(lines) > MOST_LINES:
            lines = [*lines[: MOST_LINES - 1], f"And {len(lines) - MOST_LINES + 1} more: `hr status` shows all."]
        if now - self.at >= LATE_S:
            lines.append(f"This was so {span(now - self.at)} ago, and could not be told before.")
        alarm = self.state == "alarm"
        return Message(
            self.kind,
            self.state,
            kind.title if alarm else kind.over,
            "\n".join(lines),
            self.at,
            kind.priority if alarm else 3,
            kind.tag if alarm else "white_check_mark",
        )


class _Course(msgspec.Struct):
    """How one kind stands: what is wrong and not told yet, what was told, and what of that is over; since when each."""

    since: dict[str, float] = msgspec.field(default_factory=dict)
    told: dict[str, str] = msgspec.field(default_factory=dict)
    calm: dict[str, float] = msgspec.field(default_factory=dict)
    last: dict[State, float] = msgspec.field(default_factory=dict)
    letters: dict[Way, dict[State, Letter]] = msgspec.field(default_factory=dict)

    def free(self, state: State, now: float) -> bool:
        """Whether the hour is over; an instant that is yet to come was written by a clock that was set back."""
        last = self.last.get(state)
        return last is None or not 0.0 <= now - last < EVERY_S


class Alerts:
    """What is told, of one daemon. `on_change` is called with the first change since `rows` was asked for."""

    def __init__(self) -> None:
        self._courses = {name: _Course() for name in KINDS}
        self._changed: set[str] = set()
        self.on_change: Callable[[], None] = _nobody

    # -- deciding --------------------------------------------------------------------------------------

    def look(self, faults: Iterable[Fault], ways: Collection[Way], now: float) -> None:
        """Take in all that is wrong at `now`, and write the letters that are due, one for each of the `ways`.

        Letters for other ways are thrown away: they are set no longer.
        """
        of_kind: dict[str, dict[str, Fault]] = {name: {} for name in KINDS}
        for fault in faults:
            of_kind[fault.kind][fault.subject] = fault
        for name, kind in KINDS.items():
            course = self._courses[name]
            for way in course.letters.keys() - set(ways):
                del course.letters[way]
                self._mark(name)
            here = _bounded(of_kind[name], course.told)
            if _take_in(course, here, now):
                self._mark(name)
            if course.since:
                self._raise(kind, course, here, ways, now)
            if course.calm:
                self._clear(kind, course, ways, now)

    def _raise(self, kind: Kind, course: _Course, here: Mapping[str, Fault], ways: Collection[Way], now: float) -> None:
        """Tell what holds, and with it what has only just come."""
        news = {subject: here[subject] for subject in course.since}
        held = any(
            now - course.since[subject] >= (kind.hold_s if fault.hold_s is None else fault.hold_s)
            for subject, fault in news.items()
        )
        if not held or not course.free("alarm", now):
            return
        labels = {subject: fault.label[:MOST_LABEL] for subject, fault in news.items()}
        course.told.update(labels)
        course.since.clear()
        if kind.within:
            outer = self._courses[kind.within]
            for subject in news:
                outer.since.pop(subject, None)
            outer.told.update(labels)
            self._mark(kind.within)
        self._write(kind, "alarm", {subject: fault.text for subject, fault in news.items()}, ways, now)

    def _clear(self, kind: Kind, course: _Course, ways: Collection[Way], now: float) -> None:
        """Tell what is over and stays so."""
        if not any(now - since >= kind.calm_s for since in course.calm.values()):
            return
        if not kind.within and not course.free("over", now):
            return
        over = {subject: course.told.pop(subject) for subject in list(course.calm)}
        course.calm.clear()
        if kind.within:
            self._mark(kind.name)
            return
        self._write(kind, "over", {subject: kind.again.format(label) for subject, label in over.items()}, ways, now)

    def _write(self, kind: Kind, state: State, parts: dict[str, str], ways: Collection[Way], now: float) -> None:
        course = self._courses[kind.name]
        course.last[state] = now
        cut = {subject: text[:MOST_TEXT] for subject, text in parts.items()}
        for way in ways:
            letters = course.letters.setdefault(way, {})
            unsent = letters.get(state)
            if unsent is None:
                letters[state] = Letter(kind.name, state, cut, now, now)
            else:  # nobody took the last one: one letter tells both, as far as it is still so, behind all others
                alarm = state == "alarm"
                still = {subject: text for subject, text in unsent.parts.items() if (subject in course.told) is alarm}
                unsent.parts = dict(list((still | cut).items())[-MOST_SUBJECTS:])
                unsent.at = now
        self._mark(kind.name)

    # -- delivering ------------------------------------------------------------------------------------

    def due(self, way: Way, now: float) -> Letter | None:
        """The next letter that this way may try now, in the order in which they were written; None = none yet."""
        first = self._first(way)
        return first if first is not None and first.due_at <= now else None

    def next_at(self, way: Way) -> float | None:
        """When a letter of this way may be tried, epoch seconds; None where there is none."""
        first = self._first(way)
        return first.due_at if first is not None else None

    def delivered(self, way: Way, letter: Letter, parts: Mapping[str, str], now: float) -> None:
        """These `parts` of it have arrived; what was added meanwhile is still to be told.

        The hour until the next of its kind counts from here: nobody hears two in a row.
        """
        course = self._courses[letter.kind]
        course.last[letter.state] = max(now, course.last.get(letter.state, now))
        if letter.parts is parts:
            self._drop(way, letter)
        else:
            letter.parts = {subject: text for subject, text in letter.parts.items() if parts.get(subject) != text}
            self._mark(letter.kind)

    def failed(self, way: Way, letter: Letter, now: float) -> bool:
        """It was tried, and tried again, in vain: later. False where it was given up, after a day."""
        if now - letter.at >= KEPT_S:
            self._drop(way, letter)
            return False
        letter.due_at = now + ROUND_S[min(letter.rounds, len(ROUND_S) - 1)]
        letter.rounds += 1
        self._mark(letter.kind)
        return True

    def hurry(self, now: float) -> None:
        """Something may have been mended: what waits for another round is tried at once."""
        for course in self._courses.values():
            for letters in course.letters.values():
                for letter in letters.values():
                    letter.due_at = min(letter.due_at, now)

    def unsent(self, way: Way) -> int:
        """How many letters wait."""
        return len(self._letters(way))

    def _first(self, way: Way) -> Letter | None:
        return min(self._letters(way), key=lambda letter: letter.at, default=None)

    def _letters(self, way: Way) -> list[Letter]:
        return [letter for course in self._courses.values() for letter in course.letters.get(way, {}).values()]

    def _drop(self, way: Way, letter: Letter) -> None:
        letters = self._courses[letter.kind].letters.get(way, {})
        if letters.get(letter.state) is letter:
            del letters[letter.state]
        self._mark(letter.kind)

    # -- showing ---------------------------------------------------------------------------------------

    def told(self) -> Iterator[tuple[str, str]]:
        """Kind and label of all that was told and is not over; what lies within another kind is not told twice."""
        for name, course in self._courses.items():
            inner = {s for one in KINDS.values() if one.within == name for s in self._courses[one.name].told}
            for subject, label in course.told.items():
                if subject not in inner:
                    yield name, label

    def last_at(self, name: str) -> tuple[float | None, float | None]:
        """When this kind was last told, and its end; epoch seconds, None = never."""
        last = self._courses[name].last
        return last.get("alarm"), last.get("over")

    # -- two processes, and the disk -------------------------------------------------------------------

    def rows(self, now: float, *, whole: bool = False) -> list[LedgerRow]:
        """What has changed since this was asked for, `whole` = all, for the disk."""
        names = [name for name in KINDS if name in self._changed or (whole and _plain(self._courses[name]))]
        self._changed.clear()
        return [LedgerRow(ROW_KIND, name, _plain(self._courses[name]) or None, now, math.inf) for name in names]

    def restore(self, rows: Iterable[LedgerRow]) -> None:
        """Take over what an earlier run wrote down; rows of other kinds, and what makes no sense, are passed over."""
        self.load({row.key: row.value for row in rows if row.kind == ROW_KIND})

    def dump(self) -> dict[str, Any]:
        """What a successor must know, JSON-able."""
        return {name: _plain(course) for name, course in self._courses.items()}

    def load(self, dumped: object) -> None:
        """Take over what a predecessor knew. Never raises: what makes no sense is left out."""
        given = dumped if isinstance(dumped, Mapping) else {}
        for name in KINDS:
            if name in given:
                self._courses[name] = _course(name, given[name])

    def _mark(self, name: str) -> None:
        if not self._changed:
            self.on_change()
        self._changed.add(name)


def _nobody() -> None:
    pass


def _bounded(faults: dict[str, Fault], told: Collection[str]) -> dict[str, Fault]:
    """No more than can be kept; what was told stays."""
    if len(faults) <= MOST_SUBJECTS:
        return faults
    ranked = sorted(faults, key=lambda subject: (subject not in told, subject))
    return {subject: faults[subject] for subject in ranked[:MOST_SUBJECTS]}


def _take_in(course: _Course, here: Mapping[str, Fault], now: float) -> bool:
    """What has begun, and what has ended; whether anything has."""
    before = (list(course.since), list(course.calm))
    for subject in [subject for subject in course.since if subject not in here]:
        del course.since[subject]
    for subject, fault in here.items():
        if subject in course.told:
            course.calm.pop(subject, None)
        elif fault.sure or subject in course.since:
            course.since[subject] = min(now, course.since.get(subject, now))
    for subject in course.told:
        if subject not in here:
            course.calm[subject] = min(now, course.calm.get(subject, now))
    return before != (list(course.since), list(course.calm))


# --- as JSON carries it -------------------------------------------------------------------------------


def _plain(course: _Course) -> dict[str, Any]:
    letters = {
        way: {
            state: {"parts": one.parts, "at": one.at, "due_at": one.due_at, "rounds": one.rounds}
            for state, one in by_state.items()
        }
        for way, by_state in course.letters.items()
        if by_state
    }
    known: dict[str, Any] = {
        "since": dict(course.since),
        "told": dict(course.told),
        "calm": dict(course.calm),
        "last": dict(course.last),
        "letters": letters,
    }
    return {name: part for name, part in known.items() if part}


def _course(name: str, value: object) -> _Course:
    given = _fields(value)
    told = {subject: label for subject, label in _fields(given.get("told")).items() if isinstance(label, str)}
    course = _Course(
        since={subject: at for subject, at in _times(given.get("since")).items() if subject not in told},
        told=told,
        calm={subject: at for subject, at in _times(given.get("calm")).items() if subject in told},
        last=cast("dict[State, float]", {s: at for s, at in _times(given.get("last")).items() if s in _STATES}),
    )
    for way in _WAYS:
        by_state = _fields(_fields(given.get("letters")).get(way))
        for state in _STATES:
            letter = _letter(name, state, by_state.get(state))
            if letter is not None:
                course.letters.setdefault(way, {})[state] = letter
    return course


def _letter(name: str, state: State, value: object) -> Letter | None:
    given = _fields(value)
    parts = {subject: text for subject, text in _fields(given.get("parts")).items() if isinstance(text, str)}
    times = _times(given)
    if not parts or "at" not in times:
        return None
    rounds = given.get("rounds")
    return Letter(
        name, state, parts, times["at"], times.get("due_at", times["at"]), rounds if type(rounds) is int else 0
    )


def _fields(value: object) -> dict[str, Any]:
    return {key: item for key, item in value.items() if isinstance(key, str)} if isinstance(value, Mapping) else {}


def _times(value: object) -> dict[str, float]:
    return {key: float(at) for key, at in _fields(value).items() if type(at) in (int, float)}
