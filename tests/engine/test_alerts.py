"""hermes_router/engine/alerts.py: what is told and when, by table and as a property of any sequence of truths."""

import json
import math
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.records import LedgerRow
from hermes_router.engine.alerts import EVERY_S, KEPT_S, KINDS, MOST_SUBJECTS, Alerts, Fault, Letter

WAYS = ("url", "command")
STEP_S = 5.0
PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "notifications.md"


def fault(kind: str = "pool_down", subject: str = "s", **more) -> Fault:
    return Fault(kind, subject, f"The {subject}", f"{subject} is wrong.", **more)


class Owner:
    """Looks every five seconds, and takes each letter at once, unless `deaf`."""

    def __init__(self, ways=("url",)) -> None:
        self.alerts = Alerts()
        self.ways = ways
        self.now = 1_000_000.0
        self.deaf = False
        self.heard: list[tuple[float, str, str, str]] = []  # seconds since the start, kind, state, text

    def pass_by(self, seconds: float, *wrong: Fault, step_s: float = STEP_S) -> "Owner":
        for _ in range(round(seconds / step_s)):
            self.look(*wrong)
            self.now += step_s
        return self

    def look(self, *wrong: Fault) -> None:
        self.alerts.look(wrong, self.ways, self.now)
        if not self.deaf:
            self.take()

    def take(self, way="url") -> None:
        while (letter := self.alerts.due(way, self.now)) is not None:
            message = letter.message(self.now)
            self.heard.append((self.now - 1_000_000.0, message.kind, message.state, message.text))
            self.alerts.delivered(way, letter, letter.parts, self.now)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(kind, state) for _, kind, state, _ in self.heard]


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.within])
def test_what_holds_is_told_once_and_its_end_once(kind: str) -> None:
    """Not before it has held, not again while it goes on, and the all-clear only once it is over for a while."""
    owner = Owner()
    hold_s, calm_s = KINDS[kind].hold_s, KINDS[kind].calm_s
    owner.pass_by(hold_s - STEP_S, fault(kind))
    assert not owner.heard
    owner.pass_by(7_200, fault(kind))
    assert owner.said == [(kind, "alarm")]
    assert list(owner.alerts.told()) == [(kind, "The s")]
    owner.pass_by(calm_s - STEP_S)
    assert owner.said == [(kind, "alarm")]
    owner.pass_by(60)
    assert owner.said == [(kind, "alarm"), (kind, "over")]
    assert "The s" in owner.heard[-1][3]
    assert not list(owner.alerts.told())


def test_what_passes_by_is_not_told() -> None:
    """A pool that is limited for 25 seconds of every 30, all night, wakes nobody."""
    owner = Owner()
    for _ in range(1_000):
        owner.pass_by(25, fault())
        owner.pass_by(5)
    assert not owner.heard


def test_a_longer_hold_of_one_fault_counts() -> None:
    """A fault that will pass by itself may say how long to wait with it."""
    owner = Owner().pass_by(140, fault(hold_s=150.0))
    assert not owner.heard
    assert owner.pass_by(20, fault(hold_s=150.0)).said == [("pool_down", "alarm")]


def test_doubt_neither_begins_nor_ends_a_fault() -> None:
    """Whether it is so is not known: nothing is told of that alone, what had begun goes on, and no all-clear comes."""
    unsure = fault(sure=False)
    owner = Owner().pass_by(7_200, unsure)
    assert not owner.heard
    owner.pass_by(10, fault()).pass_by(30, unsure)
    assert owner.said == [("pool_down", "alarm")]
    assert owner.pass_by(7_200, unsure).said == [("pool_down", "alarm")]
    assert owner.pass_by(60).said == [("pool_down", "alarm"), ("pool_down", "over")]


def test_ten_keys_in_a_minute_are_one_message() -> None:
    """They are gathered; one that is revoked half an hour later is told when the hour is over, and not lost."""
    owner = Owner()
    keys = [fault("key_revoked", f"k{number}") for number in range(10)]
    for number in range(1, 11):
        owner.pass_by(5, *keys[:number])
    owner.pass_by(30, *keys)
    [(at, _, _, text)] = owner.heard
    assert at <= 65
    assert "k0 is wrong.\nk1 is wrong." in text
    assert text.endswith("And 3 more: `hr status` shows all.")
    late = fault("key_revoked", "k10")
    owner.pass_by(1_800 - owner.now + 1_000_000.0, *keys)
    owner.pass_by(7_200, *keys, late)
    assert [(round(at), text) for at, _, _, text in owner.heard[1:]] == [(round(at + EVERY_S), "k10 is wrong.")]


def test_at_a_hundred_percent_it_is_said_so_and_the_end_is_one() -> None:
    """80 % is told, 100 % within the same hour, too; the new day has one all-clear."""
    nearly, spent = fault("budget", "all"), fault("budget_spent", "all")
    owner = Owner().pass_by(600, nearly).pass_by(600, spent, nearly)
    assert owner.said == [("budget", "alarm"), ("budget_spent", "alarm")]
    assert list(owner.alerts.told()) == [("budget_spent", "The all")]
    owner.pass_by(600)
    assert owner.said[2:] == [("budget", "over")]
    assert not list(owner.alerts.told())


def test_a_budget_that_is_spent_at_once_is_one_message() -> None:
    """Who was told that it is spent is not told that it is nearly so, and is told when there is some again."""
    owner = Owner().pass_by(600, fault("budget_spent", "all"), fault("budget", "all"))
    owner.pass_by(600, fault("budget", "all")).pass_by(600)
    assert owner.said == [("budget_spent", "alarm"), ("budget", "over")]


def test_a_way_that_was_set_later_is_told_what_goes_on() -> None:
    """Nothing is told while there is no way; the first way that is set hears it after the usual while."""
    owner = Owner(())
    owner.alerts.look([], (), owner.now)
    owner.ways = ("url",)
    assert owner.pass_by(40, fault()).said == [("pool_down", "alarm")]


def test_a_letter_that_cannot_be_sent_waits_and_says_that_it_is_late() -> None:
    """It is tried ever more rarely, and given up after a day; the other way is not held up."""
    owner = Owner(WAYS)
    owner.pass_by(40, fault())
    letter = owner.alerts.due("command", owner.now)
    assert letter is not None
    waits = []
    while owner.alerts.failed("command", letter, owner.now):
        due_at = owner.alerts.next_at("command")
        assert due_at is not None
        assert owner.alerts.due("command", due_at - 1) is None
        waits.append(due_at - owner.now)
        owner.now = due_at
        assert "could not be told before" in letter.message(owner.now).text
    assert waits[:4] == [300.0, 900.0, 3_600.0, 3_600.0]
    assert owner.now - letter.at >= KEPT_S
    assert not owner.alerts.unsent("command")
    assert owner.said == [("pool_down", "alarm")]


def test_letters_keep_their_order_and_one_kind_waits_once() -> None:
    """A day without network: of each kind one alarm and one all-clear wait at most, the latest state comes last."""
    owner = Owner()
    owner.deaf = True
    for _ in range(10):
        owner.pass_by(3_600, fault(), fault("disk_full", "f"))
        owner.pass_by(3_600)
    owner.pass_by(3_600, fault(subject="other"))
    assert owner.alerts.unsent("url") == 4
    owner.deaf = False
    owner.take()
    assert owner.said[-1] == ("pool_down", "alarm")
    assert sorted(owner.said) == sorted((k, s) for k in ("pool_down", "disk_full") for s in ("alarm", "over"))
    assert "other is wrong." in owner.heard[-1][3]


def test_a_letter_that_waited_holds_nothing_that_is_over() -> None:
    """`a` failed and recovered while nobody could be told: the alarm about `b` does not name it."""
    owner = Owner()
    owner.deaf = True
    owner.pass_by(4_000, fault("disk_full", "a")).pass_by(60).pass_by(60, fault("disk_full", "b"))
    owner.deaf = False
    owner.take()
    assert [text for *_, text in owner.heard] == ["The a is written again.", "b is wrong."]


def test_what_is_added_while_a_letter_is_on_its_way_is_told_by_the_next() -> None:
    """Only what had been sent counts as delivered."""
    owner = Owner()
    owner.deaf = True
    owner.pass_by(70, fault("key_revoked", "a"))
    letter = owner.alerts.due("url", owner.now)
    assert isinstance(letter, Letter)
    sent = letter.parts
    owner.pass_by(3_700, fault("key_revoked", "a"), fault("key_revoked", "b"))
    owner.alerts.delivered("url", letter, sent, owner.now)
    owner.deaf = False
    owner.take()
    assert [text for *_, text in owner.heard] == ["b is wrong."]


def test_a_way_that_is_set_no_longer_has_no_letters() -> None:
    """They are thrown away; another address set next year is not told of last year."""
    owner = Owner(WAYS)
    owner.pass_by(40, fault())
    assert owner.alerts.unsent("command") == 1
    owner.ways = ("url",)
    owner.look(fault())
    assert not owner.alerts.unsent("command")


def test_more_than_can_be_kept_is_cut() -> None:
    """A thousand keys with long names: what is kept fits into one row of 64 KB, and what was told is still known."""
    owner = Owner(WAYS)
    owner.deaf = True
    keys = [Fault("key_revoked", f"{n:016d}", "Ä" * 500, "€" * 5_000) for n in range(1_000)]
    owner.pass_by(200, *keys).pass_by(200)
    [row] = [row for row in owner.alerts.rows(owner.now) if row.key == "key_revoked"]
    assert len(json.dumps(row.value, ensure_ascii=False).encode()) < 64 * 1024
    assert len(row.value["letters"]["url"]["alarm"]["parts"]) == MOST_SUBJECTS


@pytest.mark.parametrize("by", ["rows", "dump"])
def test_over_a_restart_nothing_is_told_twice_and_nothing_is_forgotten(by: str) -> None:
    """What was told, what had begun, what waits to be sent, and the hours, by the disk as by a handover."""
    owner = Owner()
    owner.pass_by(40, fault())
    owner.deaf = True
    owner.pass_by(40, fault(), fault("disk_full", "f"))
    owner.pass_by(40, fault(), fault("disk_full", "f"), fault("key_revoked", "k"))
    before = owner.alerts
    owner.alerts = Alerts()
    if by == "rows":
        rows = [*before.rows(owner.now, whole=True), LedgerRow("meter", "x", {"told": {}}, 0.0, math.inf)]
        owner.alerts.restore(json.loads(json.dumps(rows), object_hook=dict) and [LedgerRow(*row) for row in rows])
    else:
        owner.alerts.load(json.loads(json.dumps(before.dump())))
    owner.deaf = False
    owner.pass_by(30, fault(), fault("disk_full", "f"), fault("key_revoked", "k"))
    assert owner.said == [("pool_down", "alarm"), ("disk_full", "alarm"), ("key_revoked", "alarm")]
    owner.pass_by(100)
    assert sorted(owner.said[3:]) == [("disk_full", "over"), ("key_revoked", "over"), ("pool_down", "over")]


@pytest.mark.parametrize(
    "rubbish",
    [None, [], {"pool_down": 3}, {"pool_down": {"told": [1], "since": {"s": "x"}, "last": {"x": 1}, "letters": {"url": 1}}},
     {"pool_down": {"letters": {"url": {"alarm": {"parts": {"s": 1}, "at": 1}, "over": {"parts": {"s": "t"}}}}}},
     {"nonsense": {"told": {"s": "t"}}}],
)  # fmt: skip
def test_rubbish_is_left_out(rubbish: object) -> None:
    """What another version or a damaged file brings is no reason not to tell."""
    owner = Owner()
    owner.alerts.load(rubbish)
    assert owner.pass_by(40, fault()).said == [("pool_down", "alarm")]


def test_only_what_has_changed_is_written() -> None:
    """`on_change` is called once, and an hour in which nothing happens writes nothing."""
    owner = Owner()
    calls: list[int] = []
    owner.alerts.on_change = lambda: calls.append(1)
    owner.pass_by(40, fault())
    assert calls == [1]
    assert [row.key for row in owner.alerts.rows(owner.now)] == ["pool_down"]
    owner.pass_by(3_000, fault())
    assert not owner.alerts.rows(owner.now)
    [whole] = owner.alerts.rows(owner.now, whole=True)
    assert whole.value["told"] == {"s": "The s"}
    owner.pass_by(5, fault(), fault("disk_full"))
    owner.pass_by(5, fault())
    assert [(row.key, row.value) for row in owner.alerts.rows(owner.now)] == [("disk_full", None)]


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    """A day back: the next fault is told after its usual while."""
    owner = Owner().pass_by(40, fault()).pass_by(100)
    owner.now -= 86_400
    assert owner.pass_by(60, fault()).said == [("pool_down", "alarm"), ("pool_down", "over"), ("pool_down", "alarm")]


SUBJECTS = ("a", "b", "c")
TRUTHS = st.lists(
    st.tuples(
        st.sampled_from([20, 40, 60, 400, 1_500, 4_000]),
        st.sets(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(SUBJECTS), st.booleans()), max_size=6),
        st.sampled_from(["hears", "hears", "deaf", "restart"]),
    ),
    max_size=25,
)


def world(picked: set[tuple[str, str, bool]]) -> list[Fault]:
    """One fault of a kind and subject at most; what is spent is nearly spent, too."""
    found = {(kind, subject): fault(kind, subject, sure=sure) for kind, subject, sure in sorted(picked)}
    for kind, subject in list(found):
        if KINDS[kind].within:
            found[KINDS[kind].within, subject] = fault(KINDS[kind].within, subject, sure=found[kind, subject].sure)
    return list(found.values())


@given(TRUTHS)
def test_any_night_is_told_once_an_hour_at_most_and_to_its_end(truths) -> None:
    """Whatever happens: no kind twice within an hour, and what was told gets its all-clear once it is over."""
    owner = Owner()
    open_now: dict[str, set[str]] = defaultdict(set)
    for seconds, picked, mood in truths:
        owner.deaf = mood == "deaf"
        if mood == "restart":
            dumped = json.loads(json.dumps(owner.alerts.dump()))
            owner.alerts = Alerts()
            owner.alerts.load(dumped)
        owner.pass_by(seconds, *world(picked), step_s=20.0)
    owner.deaf = False
    owner.pass_by(12_000, step_s=60.0)  # all is well for three hours
    last: dict[tuple[str, str], float] = {}
    for at, kind, state, text in owner.heard:
        assert at - last.get((kind, state), -math.inf) >= EVERY_S
        last[kind, state] = at
        group = KINDS[kind].within or kind
        for subject in SUBJECTS:
            if state == "alarm" and f"{subject} is wrong." in text:
                open_now[group].add(subject)
            if state == "over" and f"The {subject}" in text:
                open_now[group].discard(subject)
    assert not any(open_now.values()), (open_now, owner.heard)
    assert not list(owner.alerts.told())
    assert not owner.alerts.unsent("url")


def test_each_kind_is_on_the_page() -> None:
    """docs/notifications.md explains every kind by its name."""
    text = PAGE.read_text()
    assert [name for name in KINDS if f"`{name}`" not in text] == []
