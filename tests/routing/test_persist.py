"""A ledger that was written down and read back is the same ledger; whatever else is read does no harm."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hermes_router.core import errors as err
from hermes_router.core.catalog import Capability, Known, PriceClass, QuotaRule
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.routing import persist
from hermes_router.routing.demand import Constraint
from hermes_router.routing.names import Pin
from hermes_router.routing.roster import Roster
from hermes_router.routing.scheduler import Choice, plan
from hermes_router.routing.state import RoutingState

from .conftest import START, World, ask, label, target

DAY = 86_400.0
R = QuotaRule

POOL = (
    target(
        "a/x", key="k1", account="ours", quotas=[R(Unit.REQUESTS, 4, Window.MINUTE), R(Unit.TOKENS, 9_000, Window.DAY)]
    ),
    target(
        "a/x", key="k2", account="ours", quotas=[R(Unit.REQUESTS, 4, Window.MINUTE), R(Unit.TOKENS, 9_000, Window.DAY)]
    ),
    target(
        "a/y", key="k1", account="ours", quotas=[R(Unit.CONCURRENCY, 2, Window.NONE, "account_model", origin="owner")]
    ),
    target("b/m", tier=5, quotas=[R(Unit.REQUESTS, 5, Window.DAY, resets="utc", origin="owner")]),
    target("c/m", tier=2, context=8_192),
    target("d/p", price=PriceClass.PAID, usd=1_000_000, quotas=[R(Unit.MICROUSD, 900, Window.DAY, origin="owner")]),
)
ERRORS = (
    lambda now: err.RateLimited(),
    lambda now: err.RateLimited(scope="account"),
    lambda now: err.RateLimited(retry_at=now + 20, told=True),
    lambda now: err.RateLimited(retry_at=now + 5_000, told=True, scope="ip"),
    lambda now: err.QuotaExhausted(window=Window.DAY),
    lambda now: err.QuotaExhausted(window=Window.MONTH),
    lambda now: err.CredentialRejected(),
    lambda now: err.NoCredit(),
    lambda now: err.Overloaded(),
    lambda now: err.ServerFailed(),
    lambda now: err.Unreachable(),
    lambda now: err.Truncated(),
    lambda now: err.TimedOut("first_token"),
    lambda now: err.ModelGone(),
)  # fmt: skip
QUOTAS = (
    QuotaSeen("account", Unit.REQUESTS, Window.MINUTE, 30, 3, START + 40),
    QuotaSeen("account_model", Unit.TOKENS, Window.DAY, 50_000, 200, START + 7_000),
    QuotaSeen("credential", Unit.REQUESTS, Window.DAY, None, 2, START + 900),
    QuotaSeen("account", Unit.REQUESTS, Window.HOUR, 100, None),
    QuotaSeen("account", Unit.CONCURRENCY, Window.NONE, 3, 1),
)
DEMANDS = (
    ask(),
    ask("write a parser; " * 60, tools=2, session="s1", assistant_turns=3),
    ask(text_bytes=20_000, session="s2", assistant_turns=1),
    ask("x" * 4_000, text_bytes=60_000, effort="max"),
)
PINS = (None, Pin("a", "x"), Pin("e", "elsewhere"))


class Life:
    """A history of one ledger, told by small numbers."""

    def __init__(self) -> None:
        self.world = World(*POOL)
        self.open: list[Any] = []
        self.world.plan()  # so that the time is known

    def step(self, kind: str, number: int, other: int) -> None:
        w, facts = self.world, POOL[number % len(POOL)]
        demand = DEMANDS[other % len(DEMANDS)]
        state, name = w.state, (facts.target.provider, facts.target.model)
        match kind:
            case "hold":
                candidate = w.take(demand, pin=PINS[number % 2])
                if candidate is not None:
                    self.open.append(candidate)
            case "serve":
                w.who(demand, pin=PINS[number % 2])
            case "fail":
                w.fail(ERRORS[number % len(ERRORS)](w.now), demand)
            case "blame":
                w.blame(facts, ERRORS[other % len(ERRORS)](w.now), demand)
            case "told":
                state.seen(facts.target, [QUOTAS[other % len(QUOTAS)]], w.now)
            case "learn":
                state.learn_context(*name, 4_000 * (1 + other))
                state.learn_refused(*name, f"p{other % 3}")
                state.learn_capability(*name, Capability.TOOLS, list(Known)[other % 3])
            case "count":
                state.calibrate(*name, 1_000, 700 + 100 * other)
            case "close" if self.open:
                w.settle(self.open.pop(number % len(self.open)), sent=bool(other % 3))
            case "later":
                w.later((0.5, 7.0, 40.0, 700.0, 4_000.0, DAY)[number % 6])

    def quiesce(self) -> None:
        """Probes belong to the process that sent them: end those, nothing else."""
        for candidate in self.open:
            if candidate.reservation.probes:
                self.world.settle(candidate)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["hold", "hold", "serve", "serve", "serve", "fail", "blame", "told", "learn", "count", "close", "later"]
        ),
        st.integers(0, 13),
        st.integers(0, 13),
    ),
    max_size=40,
)


def lived(steps) -> World:
    life = Life()
    for step in steps:
        life.step(*step)
    life.quiesce()
    return life.world


def reread(w: World, *, beside: bool = True, later: float = 0.0) -> World:
    """Another process that read what the first wrote."""
    dumped = json.loads(json.dumps(w.state.dump(w.now), allow_nan=False))
    other = World(*POOL)
    other.now = w.now + later
    other.state.load(dumped, other.roster, other.now, beside=beside)
    for name, slot in w.state._book.slots.items():
        mine = other.state.slot(name)
        if mine is not None:
            mine.inflight = slot.inflight  # what a caller is told of a claim's return depends on who is under way
    return other


def outlook(w: World) -> list[Any]:
    """All that plans say of all targets."""
    told = []
    for demand in DEMANDS:
        for one in w.plan(demand).explain():
            why = (one.why,) if isinstance(one, Choice) else (one.reason, one.until)
            told.append((label(one.facts), *why))
    return told


def choices(w: World) -> list[str | None]:
    return [w.later(1.0).who(DEMANDS[n % len(DEMANDS)]) for n in range(12)]


@settings(max_examples=60)
@given(STEPS, st.sampled_from([0.0, 1.0, 70.0, 4_000.0, 100_000.0]))
@example([*[("hold", 0, 0)] * 6, ("told", 0, 2), *[("hold", 0, 0)] * 7], 4_000.0)  # blocked longer than its limit held
def test_a_ledger_read_back_is_the_same_ledger(steps, later: float) -> None:
    """Status of all targets, every plan's partition with its reasons, the next choices, and the dump itself."""
    w = lived(steps)
    other = reread(w, later=later)
    w.later(later)
    assert [other.status(f) for f in POOL] == [w.status(f) for f in POOL]
    assert other.state.dump(other.now) == w.state.dump(w.now)
    assert outlook(other) == outlook(w)
    assert choices(other) == choices(w)


@settings(max_examples=40)
@given(STEPS)
def test_a_dump_of_a_dump_is_the_dump(steps) -> None:
    """Nothing is lost or added by going through a file, targets included that no snapshot has brought yet."""
    w = lived(steps)
    dumped = w.state.dump(w.now)
    empty = RoutingState()
    empty.load(json.loads(json.dumps(dumped)), Roster(()), w.now, beside=True)
    assert empty.dump(w.now) == dumped
    empty.adopt(w.roster)  # its targets come later, as a local server's do
    late = World(*POOL)
    late.state, late.now = empty, w.now
    assert [late.status(f) for f in POOL] == [w.status(f) for f in POOL]
    assert choices(late) == choices(w)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(2**60, 2**4_000) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, each in inner for p in ((*path, key), *places(each, (*path, key)))]


@pytest.fixture(scope="module")
def eventful() -> str:
    """A dump that has a row of everything."""
    life = Life()
    for n in range(14):
        for kind in ("hold", "serve", "learn", "count", "told", "blame"):
            life.step(kind, n, n)
    for _ in range(3):
        life.step("blame", 4, 9)
    life.step("hold", 1, 1)
    dumped = life.world.state.dump(life.world.now)
    assert all(dumped[part] for part in ("targets", "turns", "rotors", "meters", "cells", "models", "bindings"))
    return json.dumps(dumped)


@settings(max_examples=120)
@given(st.data())
def test_a_damaged_dump_does_no_harm(eventful: str, data) -> None:
    """Any parts of it replaced by anything: nothing is raised, nothing is stuck, and it can be written again."""
    dumped = json.loads(eventful)
    for _ in range(data.draw(st.integers(1, 6))):
        *path, last = data.draw(st.sampled_from(places(dumped)))
        spot = dumped
        for key in path:
            spot = spot[key]
        spot[last] = data.draw(
            JSON | st.sampled_from([-1, 0, 1e300, float("nan"), START + 1e9, START - 1e9, "", [], {}])
        )
    check_harmless(dumped)


@settings(max_examples=100)
@given(JSON)
def test_what_is_no_dump_does_no_harm(anything) -> None:
    """Neither any JSON nor the parts of a dump filled with any JSON."""
    check_harmless(anything)
    names = ("targets", "turns", "rotors", "meters", "cells", "models", "bindings", "turn", "at")
    check_harmless({"version": persist.VERSION, **dict.fromkeys(names, anything)})


def check_harmless(dumped: Any) -> None:
    w = World(*POOL)
    w.state.load(dumped, w.roster, w.now)
    for facts in POOL:
        w.status(facts)
    outlook(w)
    choices(w)
    json.dumps(w.state.dump(w.now), allow_nan=False)
    for _ in range(40):
        w.later(1.1 * DAY)
        w.who()  # also the canaries
    assert {label(f) for f in POOL if w.status(f).state == "ready"} | {None} != {None}
    w.later(400 * DAY)
    assert w.who() is not None


def test_another_version_is_as_good_as_none(world, make) -> None:
    """A dump of a later format is not guessed at."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.CredentialRejected())
    dumped = w.state.dump(w.now)
    for version in (persist.VERSION + 1, "1", None):
        other = World(a)
        other.state.load({**dumped, "version": version}, other.roster, w.now)
        assert other.status(a).state == "ready"


def test_unknown_parts_are_passed_over(world, make) -> None:
    """A field or a part that this version does not know leaves the rest as it is."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.CredentialRejected())
    dumped = w.state.dump(w.now)
    dumped["cells"][0]["novelty"] = {"x": 1}
    other = World(a)
    other.state.load({**dumped, "novelties": [1]}, other.roster, w.now)
    assert other.status(a).state == "paused"


def test_what_has_expired_meanwhile_is_gone(world, make) -> None:
    """A told minute, a breaker's failures and a window that ended while nobody ran hold nothing back."""
    a = make("a/m", quotas=[R(Unit.REQUESTS, 1, Window.MINUTE, origin="owner")])
    w = world(a)
    w.who()
    w.blame(a, err.RateLimited(retry_at=w.now + 60, told=True))
    assert w.status(a).state == "cooling"
    dumped = w.state.dump(w.now)
    other = World(a).later(61)
    other.state.load(dumped, other.roster, other.now)
    assert other.status(a).state == "ready"
    assert other.who() == "a/m#k1"


def test_a_clock_that_was_set_back_lengthens_nothing(world, make) -> None:
    """A cooldown of an hour, written by a clock a year ahead, is a cooldown of an hour."""
    a, b = make("a/m"), make("b/m", quotas=[R(Unit.REQUESTS, 1, Window.HOUR, origin="owner")])
    w = world(a, b).later(365 * DAY)
    w.blame(a, err.RateLimited(retry_at=w.now + 3_600, told=True))
    assert w.who() == "b/m#k1"
    other = World(a, b)
    other.state.load(w.state.dump(w.now), other.roster, other.now)
    assert other.status(a).until == pytest.approx(START + 3_600)
    assert other.status(b).until == pytest.approx(START + 3_600)
    assert other.later(3_601).who() is not None


def test_a_key_paused_in_another_life_is_still_tried(world, make) -> None:
    """A pause has no end of its own: its next try comes over, and a success ends it."""
    a = make("a/m")
    w = world(a)
    w.blame(a, err.CredentialRejected())
    other = World(a).later(300)
    other.state.load(w.state.dump(w.now), other.roster, other.now)
    assert other.status(a).until == START + 600
    assert other.who() is None
    assert other.later(301).who() == "a/m#k1"
    assert other.status(a).state == "ready"


def test_a_half_open_breaker_is_not_stuck_on_a_probe_of_another_process(world, make) -> None:
    """The probe under way is not ours: one of our own may go."""
    a = make("a/m")
    w = world(a)
    for _ in range(3):
        w.blame(a, err.ServerFailed())
    assert w.later(31).take() is not None  # the probe
    other = World(a)
    other.now = w.now
    other.state.load(w.state.dump(w.now), other.roster, other.now, beside=True)
    assert other.status(a).state == "open"
    assert other.who() == "a/m#k1"


def test_the_owners_word_of_today_stands_above_the_dump(world, make) -> None:
    """What was used comes over, the limit is the snapshot's."""
    before, after = (
        make("a/m", quotas=[R(Unit.REQUESTS, 9, Window.DAY, origin="owner")]),
        make("a/m", quotas=[R(Unit.REQUESTS, 3, Window.DAY, origin="owner")]),
    )
    w = world(before)
    assert [w.who(), w.who()] == ["a/m#k1"] * 2
    other = World(after)
    other.state.load(w.state.dump(w.now), other.roster, w.now)
    assert [(q.limit, q.remaining, q.origin) for q in other.status(after).quota] == [(3, 1, "owner")]


def test_the_dump_is_bounded(world, make) -> None:
    """However many conversations there were, the latest few thousand are written, in some 2 MB at most."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    for number in range(15_000):
        w.state.bindings.served(f"rk\x1fc{number:032d}", a.target, w.now, binds=True, difficulty=2)
    dumped = w.state.dump(w.now)
    assert len(dumped["bindings"]) == persist.MOST_BINDINGS
    assert dumped["bindings"][-1][0].endswith("14999")
    assert len(json.dumps(dumped)) < 2_000_000
    dumped["bindings"] *= 3
    other = World(a)
    other.state.load(dumped, other.roster, w.now)
    assert len(other.state.bindings) == persist.MOST_BINDINGS


# --- two processes ------------------------------------------------------------------------------------------------


RULES = [
    R(Unit.REQUESTS, 100, Window.MINUTE, origin="owner"),
    R(Unit.TOKENS, 100_000, Window.DAY, origin="owner"),
    R(Unit.CONCURRENCY, 3, Window.NONE, origin="owner"),
]


def left(w: World, facts) -> list[int | None]:
    return [q.remaining for q in w.status(facts).quota]


@pytest.fixture
def pair(make):
    """Two requests under way in one process, and a second one that took over."""
    a = make("a/m", quotas=RULES)
    old, new = World(a), World(a)
    held = [old.take(ask(max_output_tokens=500)) for _ in range(2)]
    new.state.load(json.loads(json.dumps(old.state.dump(old.now))), new.roster, new.now, beside=True)
    old.state.report_settlements(lambda told: new.state.adjust(json.loads(json.dumps(told)), new.now))
    assert left(new, a) == left(old, a)
    return a, old, new, held


def test_what_a_predecessor_settles_is_settled_here(pair) -> None:
    """Reported, not reported, or never sent: after each settlement both ledgers say the same, the level included."""
    a, old, new, held = pair
    old.state.settle(held[0].reservation, old.now, input_tokens=10, output_tokens=7_000, sent=True)
    assert left(new, a) == left(old, a)
    old.state.settle(held[1].reservation, old.now, input_tokens=None, output_tokens=None, sent=True)
    assert left(new, a) == left(old, a)
    assert left(new, a)[-1] == 3


def test_a_request_that_a_predecessor_never_sent_comes_back(pair) -> None:
    """All of its claim is free again."""
    a, old, new, held = pair
    for one in held:
        old.settle(one, sent=False)
    assert left(new, a) == [100_000, 100, 3]


def test_what_a_predecessor_began_after_the_dump_is_counted_whole(pair) -> None:
    """A failover of its own: the successor has not seen the claim, so it is charged what was used, and no level."""
    a, old, new, _held = pair
    before = left(new, a)
    late = old.take(ask())
    old.state.settle(late.reservation, old.now, input_tokens=300, output_tokens=50, sent=True)
    after = left(new, a)
    assert [x - y for x, y in zip(before, after, strict=True)] == [350, 1, 0]


def test_a_correction_of_a_window_that_is_over_changes_nothing(pair) -> None:
    """The successor's minute is another one by now, and so it is where the provider has told its own count since."""
    a, old, new, held = pair
    new.later(61)
    new.who()
    new.state.seen(a.target, [QuotaSeen("account", Unit.TOKENS, Window.DAY, 100_000, 5, new.now + 9)], new.now)
    before = left(new, a)
    old.state.settle(held[0].reservation, old.now, input_tokens=1, output_tokens=1, sent=True)
    assert left(new, a) == [*before[:2], before[2] + 1]


def test_a_predecessor_that_dies_leaves_nothing_in_flight(pair) -> None:
    """Its level is free again, what it claimed of windows stands, and corrections that come too late are none."""
    a, old, new, held = pair
    own = new.take()
    assert left(new, a)[-1] == 0
    new.state.alone(new.now)
    assert left(new, a)[-1] == 2
    old.settle(held[0])
    assert left(new, a)[-1] == 2
    new.settle(own)
    assert left(new, a)[-1] == 3


def test_without_a_predecessor_nothing_is_in_flight(make) -> None:
    """What is read from a disk has nobody who would end it: levels begin at nothing, windows as they were."""
    a = make("a/m", quotas=RULES)
    w = World(a)
    w.take()
    other = World(a)
    other.state.load(w.state.dump(w.now), other.roster, w.now)
    assert left(other, a)[1:] == [99, 3]


@settings(max_examples=100)
@given(JSON)
def test_a_correction_that_makes_no_sense_changes_nothing(anything) -> None:
    """Whatever comes over the pair, the ledger stands."""
    w = World(*POOL)
    w.who()
    before = w.state.dump(w.now)
    w.state.adjust(anything, w.now)
    w.state.adjust([anything, [anything] * 5], w.now)
    assert w.state.dump(w.now) == before


def test_a_pinned_model_outside_the_pool_takes_its_trouble_along(world, make) -> None:
    """Its slot exists only once a caller pins it: what stood against it is found again then."""
    a = make("a/m", open_catalogue=True)
    pin = Constraint(pin=Pin("a", "other"))
    w = world(a)
    w.fail(err.ModelGone(), constraint=pin)
    assert w.take(constraint=pin) is None
    other = World(a)
    other.state.load(w.state.dump(w.now), other.roster, w.now)
    assert plan(ask(), pin, other.roster, other.state, "round-robin", w.now, None).take() is None
    assert other.who() == "a/m#k1"


def test_sizes_are_those_that_plans_went_by(make) -> None:
    """A factor that has moved by less than 2 % has not moved the sizes yet, and does not in another process."""
    a = make("a/m", context=10_000)
    w = World(a)
    w.state.adopt(w.roster)
    w.state.calibrate("a", "m", 1_000, 1_050)
    other = World(a)
    other.state.load(w.state.dump(w.now), other.roster, w.now)
    groups = [x.state.slot(a.target).group for x in (w, other)]
    assert groups[0].hard_max == groups[1].hard_max == 10_000 - 1_024
    assert [group.memory.factor for group in groups] == [pytest.approx(1 + 0.05 / 3)] * 2


def test_a_full_share_of_a_plan_outlasts_a_restart(world, make) -> None:
    """What a plan's week was told to hold is known to the next process, until its reset."""
    a = make("a/m")
    w = world(a)
    w.state.adopt(w.roster)
    w.state.seen(a.target, [QuotaSeen("account", Unit.PERCENT, Window.WEEK, 100, 0, w.now + 400_000)], w.now)
    other = World(a)
    other.state.load(w.state.dump(w.now), other.roster, w.now)
    assert (other.status(a).state, other.status(a).until) == ("cooling", w.now + 400_000)
    other.now = w.now + 400_001
    assert other.status(a).state == "ready"
