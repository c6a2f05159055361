"""Which connection serves next, and when an idle one goes."""

from hermes_router.upstream.pool import Origin, Pool, Sweep


class Loop:
    """A clock with timers that fire when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = []

    def time(self) -> float:
        return self.now

    def call_at(self, at, call):
        self.timers.append((at, call))
        return self

    def call_later(self, delay, call):
        return self.call_at(self.now + delay, call)

    def cancel(self) -> None:
        self.timers.clear()

    def advance(self, now) -> None:
        self.now = now
        while self.timers and self.timers[0][0] <= now:
            self.timers.pop(0)[1]()


class Line:
    """A connection."""

    def __init__(self) -> None:
        self.up = True
        self.idle_at = 0.0

    def usable(self) -> bool:
        return self.up

    def cut(self) -> None:
        self.up = False


def pool(limit=3):
    loop = Loop()
    sweep = Sweep(loop, 40.0)
    made = Pool(Origin(False, "x.test", 80, None), sweep, lambda _pool, _flight: None, limit)
    sweep.pools.append(made)
    return loop, sweep, made


def test_the_connection_used_last_serves_next() -> None:
    """LIFO, past those that closed meanwhile."""
    _, _, here = pool()
    a, b, c = Line(), Line(), Line()
    for line in (a, b, c):
        here.release(line)
    c.up = False
    assert [here.take(), here.take(), here.take()] == [b, a, None]


def test_idle_connections_are_bounded() -> None:
    """Above the limit a connection is closed instead of kept."""
    _, _, here = pool(limit=1)
    a, b = Line(), Line()
    here.release(a)
    here.release(b)
    assert (a.up, b.up, here.idle) == (True, False, [a])


def test_a_connection_closed_by_the_server_leaves_the_pool() -> None:
    """Lost while idle: forgotten."""
    _, _, here = pool()
    a = Line()
    here.gained(a)
    here.release(a)
    here.lost(a)
    assert (here.idle, here.open) == ([], set())


def test_old_connections_go_and_the_timer_with_them() -> None:
    """Each is closed after its keep-alive time, by one timer, of which none is left when nothing idles."""
    loop, sweep, here = pool()
    assert not sweep.armed
    a, b = Line(), Line()
    here.release(a)
    loop.now = 10.0
    here.release(b)
    assert len(loop.timers) == 1
    loop.advance(40.0)
    assert (a.up, b.up, len(loop.timers)) == (False, True, 1)
    loop.advance(50.0)
    assert (b.up, loop.timers, sweep.armed) == (False, [], False)


def test_the_timer_is_coarse() -> None:
    """However many expiries follow each other, it fires at most eight times a keep-alive time."""
    loop, _, here = pool()
    for at in (0.0, 1.0, 2.0):
        loop.now = at
        here.release(Line())
    loop.advance(40.0)
    assert len(here.idle) == 2
    assert [at for at, _ in loop.timers] == [45.0]
    loop.advance(45.0)
    assert here.idle == []


def test_an_authority_brackets_ipv6() -> None:
    """`host:port` as CONNECT and Host need it."""
    assert Origin(True, "::1", 443, None).authority == "[::1]:443"
