"""The caller's side of a streamed exchange: held back, opened, kept alive, slowed down, ended.

Owns what has been written to the caller and when: the head (at the commit point, at most 15 s late), keep-alives, the
pressure of a slow caller, the late comment. It must never know who answers, beyond what the headers say.
"""

from hermes_router.core.errors import HermesError
from hermes_router.core.events import Usage
from hermes_router.core.ports import Clock, Ids, ReplyStream
from hermes_router.engine.resumption import may_go_on
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.splice import Splice

KEEP_ALIVE_S = 10.0
HEAD_S = 15.0
PRESSURE_BYTES = 262_144
RELIEF_BYTES = 65_536


class Delivery:
    """One caller's stream. `splice` decides what is seen; everything here is about when."""

    def __init__(
        self,
        inbound: Inbound,
        prompt_tokens: int,
        reply: ReplyStream,
        clock: Clock,
        ids: Ids,
        *,
        live_calls: bool = False,
    ) -> None:
        self._inbound = inbound
        self._prompt_tokens = prompt_tokens
        self._reply = reply
        self._clock = clock
        self._ids = ids
        self._live_calls = live_calls
        self._arrived_mono = self._wrote_mono = clock.mono()
        self._pending: list[bytes] = []
        self._head: dict[str, str] = {}  # what the head told of the answer
        self._head_due = False
        self.live = False  # the head is out
        self.closed = False  # the last byte is written
        self._new_stream()

    def _new_stream(self) -> None:
        make = DIALECTS[self._inbound.dialect].encoder
        now = int(self._clock.now())
        self._encoder = make(self._inbound, prompt_tokens=self._prompt_tokens, new_id=self._ids.new, now=now)
        self.splice = Splice(self._encoder, live_calls=self._live_calls, continues=may_go_on(self._inbound))

    @property
    def committed(self) -> bool:
        """Whether the caller sees, or is about to see, something of the answer."""
        return self.splice.committed

    def answered_by(self, origin: str) -> None:
        """Whose answer the next attempt would show (`provider/model`)."""
        self._encoder.origin = origin

    def start_over(self) -> None:
        """An attempt failed: what has not left was never shown."""
        if not self.live:
            self._pending.clear()
            self._new_stream()

    # -- pushed ----------------------------------------------------------------------------------------

    def push(self, data: bytes) -> bool:
        """Bytes for the caller; True where it is slow and the upstream should pause."""
        if not self.live:
            self._pending.append(data)
            return False
        self._write(data)
        return self._reply.waiting_bytes() > PRESSURE_BYTES

    @property
    def relieved(self) -> bool:
        """Whether a slow caller has taken enough for the upstream to go on."""
        return self._reply.waiting_bytes() <= RELIEF_BYTES

    def _write(self, data: bytes) -> None:
        self._reply.write(data)
        self._wrote_mono = self._clock.mono()

    # -- the head, and silence -------------------------------------------------------------------------

    @property
    def opens(self) -> bool:
        """Whether the head should go out now."""
        return not self.live and (bool(self._pending) or self._head_due)

    def tick(self, mono: float) -> bool:
        """Look at the clock; True where the head has become due. Keep-alives are written here."""
        if self.closed:
            return False
        if self.live:
            if mono - self._wrote_mono >= KEEP_ALIVE_S:
                self._keep_alive()
            return False
        if self._head_due or mono - self._arrived_mono < HEAD_S:
            return False
        self._head_due = True
        return True

    def _keep_alive(self) -> None:
        new_id, now = self._ids.new(self._encoder.id_prefix), int(self._clock.now())
        self._write(self.splice.keep_alive(new_id, self._inbound.request.model, now))

    async def open(self, headers: dict[str, str]) -> None:
        """Send the head; `headers` describe the answer, and go out only if there is one."""
        if self.live:
            return
        known = self.committed
        self._head = headers if known else {}
        await self._reply.start(self._head)
        self.live = True
        if self._pending:
            self._write(b"".join(self._pending))
            self._pending.clear()
        elif not known:
            self._keep_alive()  # the caller has heard nothing for 15 s

    # -- the end ---------------------------------------------------------------------------------------

    async def finish(self, headers: dict[str, str], usage: Usage) -> None:
        """End well: what the head did not tell, or told wrong, then usage and the end."""
        tail = self.splice.tail
        self._write(self._late(headers) + (self._encoder.end(usage) if tail is None else tail))
        self.closed = True
        await self._reply.end()

    def _late(self, headers: dict[str, str]) -> bytes:
        """What was not known when the head went out, or is no longer true (contract.md, Answers)."""
        if self._head == headers:
            return b""
        named = (("x-hermes-target", "target"), ("x-hermes-attempts", "attempts"), ("x-hermes-warnings", "warnings"))
        told = " ".join(f"{name}={headers[header]}" for header, name in named if header in headers)
        return f": hermes {told}\n\n".encode("ascii", "replace")

    async def fail(self, error: HermesError, request_id: str = "") -> None:
        """End with the dialect's error event, never with a clean stop."""
        self._write(self.splice.fail(error, now=self._clock.now(), request_id=request_id))
        self.closed = True
        await self._reply.end()
