"""hermes_router/engine/remembered.py: who may refer to what, from memory and from the shelf behind it."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from hermes_router.core.errors import BadRequest
from hermes_router.core.kept import KeptResponse
from hermes_router.engine import remembered
from hermes_router.engine.remembered import KEPT_S, Behind, Keeping, RememberedResponses
from hermes_router.wire.responses.turn import Ended, ended

from ..fakes import Clock, Reply


class Shelf:
    """A shelf that remembers everything, and what it was asked."""

    def __init__(self) -> None:
        self.rows: dict[bytes, KeptResponse] = {}
        self.loads: list[tuple[bytes, int]] = []
        self.tidied: list[bool] = []

    def put(self, kept: KeptResponse) -> None:
        self.rows[kept.name] = kept

    async def load(self, name: bytes, *, turns: int) -> Sequence[KeptResponse]:
        self.loads.append((name, turns))
        found: list[KeptResponse] = []
        while name in self.rows and len(found) < turns:
            found.append(self.rows[name]._replace(response=b""))
            name = found[-1].parent
        return found

    async def find(self, name: bytes) -> KeptResponse | None:
        self.loads.append((name, 0))
        return self.rows.get(name)

    async def erase(self, name: bytes) -> None:
        self.rows.pop(name, None)

    def tidy(self, *, everything: bool) -> None:
        self.tidied.append(everything)


class Room:
    """An engine's memory over a shelf."""

    def __init__(self, **given: Any) -> None:
        self.clock = Clock()
        self.shelf = Shelf()
        self.memory = RememberedResponses(self.clock, self.shelf, **given)

    def end(self, ident: str, text: str = "hello") -> Ended:
        response = {"id": ident, "status": "completed", "output": [{"type": "message", "said": text}]}
        found = ended(json.dumps(response).encode())
        assert found is not None
        return found

    async def turn(
        self, ident: str, previous: str = "", *, own: str = "", caller: str = "rk", digest: str = "d"
    ) -> None:
        """A turn that ends well; its own item says `own`, else the id."""
        behind = await self.memory.behind(previous, caller) if previous else None
        item = json.dumps({"own": own or ident}).encode()
        self.memory.keep(caller, item, behind, digest, self.end(ident, f"to {ident}"))

    async def said(self, previous: str, caller: str = "rk") -> list[str]:
        """What a request that names it goes on behind."""
        past = (await self.memory.behind(previous, caller)).past
        items = json.loads(b"[%b]" % b",".join(past.items))
        return [item.get("own") or item["said"] for item in items]

    async def unknown(self, previous: str, caller: str = "rk") -> str:
        with pytest.raises(BadRequest) as caught:
            await self.memory.behind(previous, caller)
        error = caught.value
        assert (error.param, error.code) == ("previous_response_id", "previous_response_not_found")
        return error.message


@pytest.fixture(params=[True, False], ids=["memory", "shelf"])
def room(request: pytest.FixtureRequest) -> Room:
    """With all in memory, and with a memory that holds no more than the latest."""
    return Room() if request.param else Room(bytes_max=1)


async def test_turns_come_back_in_order(room: Room) -> None:
    """Items, then the answer's, the oldest first; branches of one conversation do not mix."""
    await room.turn("a", digest="first")
    await room.turn("b", "a", digest="another")
    await room.turn("c", "b")
    await room.turn("c2", "b")
    assert await room.said("c") == ["a", "to a", "b", "to b", "c", "to c"]
    assert await room.said("c2") == ["a", "to a", "b", "to b", "c2", "to c2"]
    behind = await room.memory.behind("c", "rk")
    assert (behind.past.previous, behind.past.conversation) == ("c", "first")
    assert len(set(behind.names)) == 3


async def test_what_another_key_made_does_not_exist(room: Room) -> None:
    """The same error and the same look-ups as for an id that nobody has; and it can be neither seen nor erased."""
    await room.turn("a", caller="theirs")
    await room.turn("other", caller="theirs")
    asked = len(room.shelf.loads)
    assert (await room.unknown("a")).replace("'a'", "'?'") == (await room.unknown("zzz")).replace("'zzz'", "'?'")
    one, other = room.shelf.loads[asked:]
    assert one[1] == other[1]
    assert await room.memory.find("a", "rk") is None
    assert not await room.memory.forget("a", "rk")
    assert await room.said("a", "theirs") == ["a", "to a"]


async def test_an_erased_turn_takes_what_builds_on_it_along(room: Room) -> None:
    """References to it, and behind it, are unknown from then on; what was before it stays."""
    for ident, previous in (("a", ""), ("b", "a"), ("c", "b")):
        await room.turn(ident, previous)
    assert await room.memory.forget("b", "rk")
    assert not await room.memory.forget("b", "rk")
    for ident in ("b", "c"):
        await room.unknown(ident)
    assert await room.said("a") == ["a", "to a"]


async def test_a_turn_that_only_memory_holds_can_be_erased(room: Room) -> None:
    """Its whole answer is no longer there, and what a later turn needs of it is."""
    await room.turn("a")
    for name in list(room.memory._whole._rows):
        room.memory._whole.drop(name)
    room.memory._shelf = None
    assert await room.memory.forget("a", "rk")
    await room.unknown("a")


async def test_a_day_later_it_is_unknown() -> None:
    """In memory as on the shelf; and where the shelf says that it is kept for longer, that counts."""
    room = Room()
    await room.turn("a")
    room.clock.advance(KEPT_S - 1)
    assert await room.said("a")
    room.clock.advance(1)
    name, kept = next(iter(room.shelf.rows.items()))
    del room.shelf.rows[name]
    await room.unknown("a")
    room.shelf.rows[name] = kept._replace(until=room.clock.now() + 5)
    assert await room.said("a") == ["a", "to a"]


async def test_an_id_that_a_provider_gives_again_breaks_no_conversation(room: Room) -> None:
    """Each answer called `same`: the last one is what the id means, with all that was before it."""
    await room.turn("same", own="one")
    await room.turn("same", "same", own="two")
    await room.turn("same", "same", own="three")
    assert await room.said("same") == ["one", "to same", "two", "to same", "three", "to same"]


async def test_what_is_too_large_is_not_kept(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else is lost by it."""
    await room.turn("a")
    monkeypatch.setattr(remembered, "MOST_BYTES", 1_000)
    await room.turn("b", "a", own="x" * 2_000)
    await room.unknown("b")
    assert await room.said("a")


async def test_memory_is_bounded_and_says_nothing() -> None:
    """The least recently used go first; neither the memory nor a kept answer shows its words."""
    room = Room(bytes_max=20_000)
    for number in range(50):
        await room.turn(f"t{number}", own="secret" * 100)
        await room.said("t0")
    assert room.memory.size_bytes <= 20_000
    loads = len(room.shelf.loads)
    await room.said("t0")
    assert len(room.shelf.loads) == loads
    await room.said("t5")
    assert len(room.shelf.loads) == loads + 1
    assert "secret" not in repr(room.memory) + repr(room.shelf.rows)


async def test_one_look_up_brings_a_whole_conversation(room: Room) -> None:
    """However many turns it has, the shelf is asked once."""
    await room.turn("t0")
    for number in range(1, 30):
        await room.turn(f"t{number}", f"t{number - 1}")
    room.memory._turns.tidy(float("inf"))
    room.shelf.loads.clear()
    assert len(await room.said("t29")) == 60
    assert len(room.shelf.loads) == 1


async def test_a_predecessor_may_be_a_moment_late() -> None:
    """While there is one, what is not on the shelf yet is looked for once more."""
    room = Room()
    await room.turn("a")
    row = room.shelf.rows.copy()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        room.shelf.rows.update(row)

    later = RememberedResponses(room.clock, room.shelf, sleep=sleep)
    room.shelf.rows.clear()
    with pytest.raises(BadRequest):
        await later.behind("a", "rk")
    later.has_predecessor = True
    assert (await later.behind("a", "rk")).past.items
    assert len(slept) == 1


async def test_without_a_shelf_memory_serves_alone() -> None:
    """As long as the process lasts."""
    room = Room()
    room.memory = RememberedResponses(room.clock)
    await room.turn("a")
    await room.turn("b", "a")
    assert await room.said("b") == ["a", "to a", "b", "to b"]
    assert await room.memory.forget("a", "rk")
    await room.unknown("b")


async def test_tidying_forgets_what_is_over_or_everything() -> None:
    """In memory, and the shelf is told."""
    room = Room()
    await room.turn("a")
    room.clock.advance(KEPT_S - 5)
    await room.turn("b")
    room.clock.advance(10)
    room.memory.tidy(everything=False)
    assert list(room.memory._turns._rows) == [(await room.memory.behind("b", "rk")).names[0]]
    room.memory.tidy(everything=True)
    assert (room.memory.size_bytes, room.shelf.tidied) == (0, [False, True])


# --- the end of an answer -----------------------------------------------------------------------------


def written(ident: str, status: str = "completed") -> bytes:
    response = {"id": ident, "status": status, "output": [{"type": "message", "said": "x"}]}
    event = json.dumps({"type": f"response.{status}", "response": response})
    return f"event: response.{status}\ndata: {event}\n\n".encode()


def keeping(room: Room, behind: Behind | None = None) -> Keeping:
    return Keeping(room.memory, "rk", b'{"own":"me"}', behind, "d")


async def test_a_stream_is_kept_before_its_end_is_told() -> None:
    """A caller that goes on at once finds it; what is written goes through as it is."""
    room, known = Room(), []

    class Watching(Reply):
        async def end(self) -> None:
            known.append(await room.said("a"))
            await super().end()

    reply = Watching()
    stream = keeping(room).around(reply)
    await stream.start({"x": "y"})
    stream.write(b"event: response.created\ndata: {}\n\n")
    stream.write(written("a"))
    assert stream.waiting_bytes() == 0
    assert room.memory.size_bytes == 0
    await stream.end()
    assert known == [["me", "x"]]
    assert reply.ended
    assert reply.raw.endswith(written("a"))


async def test_a_stream_that_ends_badly_or_not_at_all_leaves_nothing() -> None:
    """A failure told in the stream; and a caller who left, so that nobody tells the end."""
    room = Room()
    reply = Reply()
    stream = keeping(room).around(reply)
    await stream.start({})
    stream.write(written("a"))
    stream.write(written("a", "failed"))
    await stream.end()
    left = keeping(room).around(Reply())
    await left.start({})
    left.write(written("a"))
    assert room.memory.size_bytes == 0


async def test_a_whole_answer_is_kept_behind_what_it_went_on_from() -> None:
    """As its body says; a body that is no answer leaves nothing."""
    room = Room()
    await room.turn("a")
    one = keeping(room, await room.memory.behind("a", "rk"))
    one.whole(b'{"error":{}}')
    one.whole(b'{"id":"b","status":"completed","output":[{"said":"y"}]}')
    assert await room.said("b") == ["a", "to a", "me", "y"]
