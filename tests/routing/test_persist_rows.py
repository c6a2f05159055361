"""A ledger written down row by row and read back is the same ledger; whatever rows are read do no harm."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_router.core import errors as err
from hermes_router.core.catalog import QuotaRule
from hermes_router.core.ids import CredentialId
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.core.records import LedgerRow
from hermes_router.routing.persist_rows import KEPT_S, TALK_KEPT_S
from hermes_router.routing.quota import GRACE_S
from hermes_router.routing.roster import Roster

from .conftest import START, World, ask, label, target
from .test_persist import DAY, JSON, POOL, STEPS, Life, choices, outlook, places

R = QuotaRule
Table = dict[tuple[str, str], LedgerRow]


def write(w: World, table: Table, most: int = 7) -> Table:
    """What the disk does with what has changed."""
    while w.state.changes:
        for row in w.state.take_changes(w.now, most):
            if row.value is None:
                table.pop((row.kind, row.key), None)
            else:
                value = json.loads(json.dumps(row.value, allow_nan=False))
                table[row.kind, row.key] = row._replace(value=value)
    return table


def read(rows: Iterable[LedgerRow], *pool: Any, now: float) -> World:
    other = World(*pool)
    other.now = now
    other.state.restore(list(rows), other.roster, now)
    return other


def again(w: World, *, later: float = 0.0) -> World:
    """Another life of the same pool, `later` seconds after."""
    return read(write(w, {}).values(), *w.roster.facts, now=w.now + later)


def dumped(w: World) -> dict[str, Any]:
    """All of it; of conversations that were used at one instant, either may be the later one."""
    found = w.state.dump(w.now)
    targets = found["targets"]
    named = [[key, place if place is None else targets[place], *more] for key, place, *more in found["bindings"]]
    return {**found, "bindings": sorted(named, key=str)}


@settings(max_examples=80)
@given(STEPS, st.sets(st.integers(0, 39)), st.sampled_from([0.0, 1.0, 70.0, 4_000.0, 100_000.0]))
def test_a_ledger_written_as_it_changes_is_the_same_ledger(steps, written: set[int], later: float) -> None:
    """Whenever it was written in between: status, every plan's partition, the next choices, and the whole dump."""
    life, table = Life(), Table()
    for number, step in enumerate(steps):
        life.step(*step)
        if number in written:
            write(life.world, table)
    w = life.world
    for candidate in life.open:
        w.settle(candidate)
    write(w, table)
    other = read(table.values(), *POOL, now=w.now + later)
    w.later(later)
    assert [other.status(f) for f in POOL] == [w.status(f) for f in POOL]
    assert dumped(other) == dumped(w)
    assert outlook(other) == outlook(w)
    assert choices(other) == choices(w)


@settings(max_examples=40)
@given(STEPS)
def test_marking_all_writes_all(steps) -> None:
    """A file that holds nothing gets the whole ledger, which is what the changes add up to."""
    life = Life()
    for step in steps:
        life.step(*step)
    table = write(life.world, {})
    life.world.state.mark_all()
    whole = write(life.world, {})
    assert {key: row.value for key, row in table.items()} == {key: row.value for key, row in whole.items()}


@pytest.fixture(scope="module")
def eventful() -> list[LedgerRow]:
    """Rows of every kind."""
    life = Life()
    for n in range(14):
        for kind in ("hold", "serve", "learn", "count", "told", "blame"):
            life.step(kind, n, n)
    rows = list(write(life.world, {}).values())
    assert {row.kind for row in rows} == {"meter", "cell", "model", "turn", "rotor", "talk"}
    return rows


@settings(max_examples=150)
@given(st.data())
def test_altered_values_do_no_harm(eventful: list[LedgerRow], data) -> None:
    """Any parts of any rows replaced by anything: nothing is raised, nothing is stuck, and it can be written again."""
    rows = [row._replace(value=json.loads(json.dumps(row.value))) for row in eventful]
    for _ in range(data.draw(st.integers(1, 6))):
        row = data.draw(st.sampled_from(rows))
        wrong = data.draw(JSON | st.sampled_from([-1, 0, 1e300, float("nan"), START + 1e9, START - 1e9, "", [], {}]))
        *path, last = data.draw(st.sampled_from(places(row.value)))
        spot = row.value
        for key in path:
            spot = spot[key]
        spot[last] = wrong
    instants = st.sampled_from([0.0, -1e300, 1e300, float("inf"), float("nan"), START - DAY, START + DAY, START + 1e9])
    for number in data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=4)):
        rows[number] = rows[number]._replace(at=data.draw(instants), until=data.draw(instants))
    check_harmless(rows)


@settings(max_examples=100)
@given(st.data())
def test_values_with_altered_bytes_do_no_harm(eventful: list[LedgerRow], data) -> None:
    """A byte of what was written is another, or all from there on is gone: whatever still reads as JSON is harmless."""
    rows = []
    for row in eventful:
        text = json.dumps(row.value).encode()
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(text) - 1))
            text = text[:at] + data.draw(st.sampled_from([b"", b"\x00", b"9", b'"', b"]", b"-", b"e"])) + text[at + 1 :]
            text = text[: data.draw(st.sampled_from([at, len(text)]))]
        try:
            rows.append(row._replace(value=json.loads(text)))
        except ValueError:
            continue
    check_harmless(rows)


@settings(max_examples=60)
@given(st.sampled_from(["meter", "cell", "model", "turn", "rotor", "talk", "other"]), JSON)
def test_what_is_no_row_does_no_harm(kind: str, anything) -> None:
    """Any JSON under any kind."""
    check_harmless([LedgerRow(kind, "k", anything, START, START + DAY)])


def check_harmless(rows: list[LedgerRow]) -> None:
    w = read(rows, *POOL, now=START + 60)
    for facts in POOL:
        w.status(facts)
    outlook(w)
    choices(w)
    write(w, {})
    for _ in range(40):
        w.later(1.1 * DAY)
        w.who()  # also the canaries
    assert w.later(400 * DAY).who() is not None


# --- clocks that jump ---------------------------------------------------------------------------------------------


HOUR = [R(Unit.REQUESTS, 1, Window.HOUR, origin="owner")]


@pytest.mark.parametrize("jump", [-1.0, -600.0, -3.5 * 3_600, -40 * DAY, -20_000 * DAY])
def test_a_clock_set_back_holds_nobody_longer_than_it_was_to_last(jump: float) -> None:
    """An hour's window, a told cooldown and an open breaker end within their own length, or twice that where told."""
    a, b, c = target("a/m"), target("b/m", quotas=HOUR), target("c/m")
    w = World(a, b, c)
    w.blame(a, err.RateLimited(retry_at=w.now + 900, told=True))
    assert {w.who(), w.who()} == {"b/m#k1", "c/m#k1"}
    for _ in range(3):
        w.blame(c, err.ServerFailed())
    other = read(write(w, {}).values(), a, b, c, now=START + jump)
    assert other.status(b).until == pytest.approx(other.now + 3_600)
    assert other.now < other.status(a).until <= other.now + 1_800
    assert other.now < other.status(c).until <= other.now + 30
    other.later(3_601)
    assert [other.status(f).state for f in (a, b)] == ["ready", "ready"]


def test_a_told_instant_stays_where_it_is_when_a_clock_is_set_back_a_little() -> None:
    """Twenty minutes less on the clock are no reason to come back twenty minutes early (LL-4)."""
    a = target("a/m")
    w = World(a)
    w.blame(a, err.RateLimited(retry_at=START + 18_000, told=True))
    other = read(write(w, {}).values(), a, now=START - 1_200)
    assert other.status(a).until == START + 18_000


def test_a_window_on_the_clock_stays_on_it() -> None:
    """A day of UTC ends at midnight, whichever way the clock was put; what was used of it stands."""
    a = target("a/m", quotas=[R(Unit.REQUESTS, 1, Window.DAY, origin="owner", resets="utc")])
    w = World(a)
    assert w.who() is not None
    midnight = (START // DAY + 1) * DAY
    rows = list(write(w, {}).values())
    for jump in (-3_600.0, 3_600.0):
        assert read(rows, a, now=START + jump).status(a).until == midnight
    before = read(rows, a, now=START - 3 * DAY)
    assert before.status(a).until == midnight - 3 * DAY
    assert read(rows, a, now=midnight + 1).status(a).state == "ready"


@pytest.mark.parametrize("jump", [3 * 3_600.0, DAY, 400 * DAY, 28_000 * DAY])
def test_a_clock_set_forward_lets_go_of_what_has_ended(jump: float) -> None:
    """Nothing is held by an instant that is past, however far."""
    a, b = target("a/m"), target("b/m", quotas=HOUR)
    w = World(a, b)
    w.blame(a, err.RateLimited(retry_at=w.now + 900, told=True))
    assert w.who() == "b/m#k1"
    other = read(write(w, {}).values(), a, b, now=START + jump)
    assert [other.status(f).state for f in (a, b)] == ["ready", "ready"]


def test_rows_of_different_clocks_are_read_each_on_its_own() -> None:
    """One row was written before the clock was put right, another after."""
    a, b = target("a/m", quotas=HOUR), target("b/m", quotas=HOUR)
    ahead = World(a, b).later(30 * DAY)
    assert ahead.who() == "a/m#k1"
    right = World(a, b)
    right.state.restore(list(write(ahead, {}).values()), right.roster, right.now)
    assert right.who() == "b/m#k1"
    other = read([*write(ahead, {}).values(), *write(right, {}).values()], a, b, now=START + 60)
    assert other.status(b).until == START + 3_600 + GRACE_S
    other = read(_mixed(ahead, right), a, b, now=START + 60)
    assert [other.status(f).until for f in (a, b)] == [START + 60 + 3_600 + GRACE_S, START + 3_600 + GRACE_S]


def _mixed(ahead: World, right: World) -> list[LedgerRow]:
    for w in (ahead, right):
        w.state.mark_all()
    rows = {**write(ahead, {})}
    rows.update({key: row for key, row in write(right, {}).items() if row.key.startswith("b")})
    return list(rows.values())


# --- an end to everything -----------------------------------------------------------------------------------------


def test_every_row_ends() -> None:
    """A window with itself, what was told a month later, a conversation after a week, all else after three months."""
    a = target("a/m", quotas=HOUR)
    w = World(a)
    w.who(ask(session="s", assistant_turns=1))
    w.state.seen(a.target, [QuotaSeen("account", Unit.TOKENS, Window.DAY, 100, 50, START + 600)], START)
    w.blame(a, err.CredentialRejected())
    until = {(row.kind, row.key.split("\t")[-2]) if row.kind == "meter" else row.kind: row.until - START
             for row in write(w, {}).values()}  # fmt: skip
    assert until == {
        ("meter", "requests"): 3_600 + GRACE_S,
        ("meter", "tokens"): 600 + 31 * DAY,
        "cell": KEPT_S,
        "model": KEPT_S,
        "turn": KEPT_S,
        "rotor": KEPT_S,
        "talk": TALK_KEPT_S,
    }
    rows = list(write(again(w), {}).values()) or list(write(w, {}).values())
    other = read(rows, a, now=START + 400 * DAY)
    other.state.mark_all()
    assert not write(other, {})


def test_a_conversation_that_is_forgotten_has_no_row_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations are bounded in memory, and so they are on the disk."""
    a = target("a/m")
    w = World(a)
    monkeypatch.setattr(w.state.bindings, "_most", 3)
    table: Table = {}
    for number in range(8):
        w.who(ask(session=f"s{number}", assistant_turns=1))
        write(w, table)
    assert sorted(key for kind, key in table if kind == "talk") == ["rk\x1fss5", "rk\x1fss6", "rk\x1fss7"]


# --- a credential that was removed --------------------------------------------------------------------------------


def removed(w: World) -> World:
    """The credential k1-a leaves the snapshot, as `hr auth remove` has it, and is forgotten."""
    w.roster = Roster([f for f in w.roster.facts if f.credential.id != "k1-a"])
    w.state.adopt(w.roster)
    w.state.forget(CredentialId("k1-a"))
    return w


@pytest.fixture
def busy() -> World:
    a, same, b = target("a/m", quotas=HOUR), target("a/m", key="k2", quotas=HOUR), target("b/m", quotas=HOUR)
    w = World(a, same, b)
    for facts in (a, same, b):
        w.state.adopt(w.roster)
        w.state.succeeded(facts.target, w.now, ttft_s=1.0, demand=ask(session=label(facts), assistant_turns=1))
        w.blame(facts, err.CredentialRejected())
    w.state.seen(a.target, [QuotaSeen("credential", Unit.TOKENS, Window.DAY, 100_000, 90_000, START + 600)], START)
    assert {w.later(601).who(), w.who(), w.who()} == {"a/m#k1", "a/m#k2", "b/m#k1"}
    return w


def test_nothing_that_names_a_removed_credential_stays(busy: World) -> None:
    """Neither a row, nor anything of it in a dump; all others stand as they stood."""
    table = write(busy, {})
    assert "k1-a" in str(table)
    others = {key: row for key, row in table.items() if "k1-a" not in str(row)}
    before = [busy.status(f) for f in busy.roster.facts[1:]]
    write(removed(busy), table)
    assert "k1-a" not in str(table)
    assert "k1-a" not in str(busy.state.dump(busy.now))
    assert {key: table.get(key) for key in others} == others
    assert [busy.status(f) for f in busy.roster.facts] == before


def test_a_conversation_of_a_removed_credential_keeps_its_difficulty(busy: World) -> None:
    """It goes where it likes, and no lower than before."""
    key = "rk\x1fsa/m#k1"
    busy.state.bindings.get(key).floor = 4
    removed(busy)
    binding = busy.state.bindings.get(key)
    assert (binding.target, binding.settled, binding.floor) == (None, False, 4)


def test_what_no_snapshot_has_brought_yet_is_forgotten_too(busy: World) -> None:
    """Rows were read, the credential's targets were never there: they go all the same."""
    busy.state.mark_all()
    table = write(busy, {})
    other = read(table.values(), now=busy.now)
    other.state.forget(CredentialId("k1-a"))
    write(other, table)
    assert "k1-a" not in str(table)
    assert "k2-a" in str(table)


def test_attempts_under_way_end_before_their_credential_is_forgotten() -> None:
    """They settle as they would have; then nothing of it is left."""
    a, b = target("a/m", quotas=HOUR), target("b/m")
    w = World(a, b)
    held = w.take()
    assert label(held.facts) == "a/m#k1"
    table = write(removed(w), {})
    w.settle(held)
    write(w, table)
    assert "k1-a" not in str(table)
    assert w.state.slot(a.target) is None


def test_a_credential_that_stands_elsewhere_too_is_kept() -> None:
    """It is still in the snapshot, so it is not gone."""
    a = target("a/m", quotas=HOUR)
    w = World(a)
    assert w.who() is not None
    w.state.forget(a.credential.id)
    assert w.status(a).state == "cooling"


def test_a_removed_credential_that_comes_back_begins_anew() -> None:
    """Also where an attempt with it was still under way."""
    a, b = target("a/m", quotas=HOUR), target("b/m")
    w = World(a, b)
    held = w.take()
    removed(w)
    w.roster = Roster([a, b])
    w.state.adopt(w.roster)
    w.settle(held)
    table = write(w, {})
    assert "k1-a" in str(table)
    assert w.state.slot(a.target) is not None
