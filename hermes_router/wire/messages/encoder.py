"""Messages streams, outward: neutral events to the frames that Anthropic's SDKs accumulate without harm.

Owns the frames that we write ourselves (providers.md 12.4, 12.6, 12.7, 12.10): `message_start` first and once, blocks
one after another under indexes without gaps, nothing behind the JSON of a call, the marks on thoughts, and an end that
waits for the usage. It must never know who answered, beyond the model and the origin that it is told.
"""

from typing import Any, assert_never

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from hermes_router.core.content import Seal
from hermes_router.core.errors import HermesError
from hermes_router.core.events import (
    Answer,
    Block,
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Failed,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
)
from hermes_router.wire.dialect import NewId
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.arguments import ObjectScan, is_object
from hermes_router.wire.messages.errors import error_event
from hermes_router.wire.messages.follow import BlockFollower
from hermes_router.wire.messages.object import PREFIX, ending, goes_on, message_id, stand_in, usage_object
from hermes_router.wire.seals import wrap

__all__ = ["PING", "MessagesEncoder", "make_encoder", "render_answer"]

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_BLOCK_END = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_TAIL = b"}}\n\n"

_JSON = msgspec.json.Encoder()
_TEXT = _JSON.encode
_SLOTS = {
    BlockKind.TEXT: (b"text_delta", b"text"),
    BlockKind.REASONING: (b"thinking_delta", b"thinking"),
    BlockKind.TOOL_CALL: (b"input_json_delta", b"partial_json"),
}
_PLAIN_SLOTS = frozenset({b"text", b"thinking"})


class MessagesEncoder:
    """The caller's stream. `prompt_tokens` is our estimate, told where nobody has counted yet; `now` epoch seconds."""

    def __init__(self, *, prompt_tokens: int, new_id: NewId, now: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._new_id = new_id
        self._now = now
        self._started = False
        self._joined = False  # what the caller sees was written by the provider
        self._follower = BlockFollower()
        self._resumed = False
        self._owed = b""  # the ends of blocks that a provider left open
        self._index = -1  # of the open block
        self._next_index = 0
        self._calls = 0
        self._opened: Opened | None = None
        self._maker = ""  # the origin of the open block
        self._signed = False  # the provider has signed the open thought
        self._shown = False  # the open block has a content_block_start
        self._head = b""  # what a delta of the open block is before its text
        self._more = False  # the open block is text or a thought that has been shown: deltas follow as they come
        self._lingers = False  # an unsealed thought is over, unless the next one goes on with it
        self._held = ""  # white space that no block holds yet; raw text of arguments that are no object
        self._scan = ObjectScan()
        self._finished: Finished | None = None
        self.id = ""
        self.model = ""
        self.created = 0
        self.origin = ""
        self.id_prefix = PREFIX

    def identify(self, new_id: str, model: str, created: int) -> None:
        """Fix what `message_start` says. The first id and time stand; the model may change until then."""
        self.id = self.id or (message_id(new_id) if new_id else self._new_id(PREFIX))
        self.created = self.created or created
        self.model = model

    def keep_alive(self) -> bytes:
        """A `ping`: legal at any place, `message_start` not excepted (all SDKs skip it)."""
        return PING

    def encode(self, events: list[ChatEvent]) -> bytes:
        """Render events. Finished renders nothing: the stop reason goes out with the usage (see `end`)."""
        if self._more and len(events) == 1:
            event = events[0]
            if type(event) is Delta:
                return self._head + _TEXT(event.text) + _TAIL
        out: list[bytes] = self._settle()
        for event in events:
            match event:
                case Delta(text=text):
                    self._delta(text, out)
                case Started(id=new_id, model=model, created=created):
                    self.identify(new_id, model, created)
                    self._start(_first_usage(events), out)
                case Opened():
                    self._open(event, out)
                case Closed(seal=seal):
                    if seal is None and self._more and self._is_thought:
                        self._lingers, self._more = True, False
                    else:
                        self._close(seal, out)
                case Finished():
                    self._finished = event
                case UsageSeen() | Failed():
                    pass  # usage goes out at the ends; the exchange decides whether a failure is shown
                case _:
                    assert_never(event)
        return b"".join(out)

    def _start(self, usage: Usage | None, out: list[bytes]) -> None:
        if self._started:
            return
        self._started = True
        seen = usage if usage is not None and usage.input_tokens else Usage(input_tokens=self._prompt_tokens)
        counts = usage_object(seen)
        counts.pop("output_tokens_details", None)
        message: dict[str, Any] = {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**counts, "output_tokens": 0},
        }
        out.append(_event("message_start", {"type": "message_start", "message": message}))

    @property
    def _is_thought(self) -> bool:
        return self._opened is not None and self._opened.kind is BlockKind.REASONING

    def _open(self, event: Opened, out: list[bytes]) -> None:
        if self._lingers and goes_on(event.kind, event.extras):
            self._lingers, self._more = False, True
            return
        self._close(None, out)
        self._opened, self._maker = event, self.origin
        self._held = ""
        self._scan = ObjectScan()
        if event.kind is BlockKind.TOOL_CALL:
            self._begin(out)

    def _delta(self, text: str, out: list[bytes]) -> None:
        opened = self._opened
        if opened is None:
            return
        if opened.kind is BlockKind.TOOL_CALL:
            if opened.custom:
                self._held += text
                return
            text = self._scan.feed(text)
            if not self._scan.began:
                self._held += text
                return
            if text:
                out.append(self._head + _TEXT(text) + _TAIL)
            return
        if not self._shown:
            text = self._held + text
            if opened.kind is BlockKind.TEXT and not text.strip():
                self._held = text  # a block of white space would be refused in the next turn (providers.md 12.2)
                return
            self._begin(out)
        out.append(self._head + _TEXT(text) + _TAIL)

    def _begin(self, out: list[bytes]) -> None:
        """The content_block_start of the open block."""
        opened = self._opened
        if opened is None or self._shown:
            return
        match opened.kind:
            case BlockKind.TEXT:
                self._show({"type": "text", "text": ""}, *_SLOTS[opened.kind], out)
            case BlockKind.REASONING:
                block = {"type": "thinking", "thinking": "", "signature": ""}
                self._show(block, *_SLOTS[opened.kind], out)
            case BlockKind.TOOL_CALL:
                self._calls += 1
                call = {"type": "tool_use", "id": opened.call_id, "name": opened.name, "input": {}}
                self._show(call, *_SLOTS[opened.kind], out)
            case _:
                assert_never(opened.kind)

    def _show(self, block: dict[str, Any], delta: bytes, slot: bytes, out: list[bytes]) -> None:
        index = self._next_index
        self._next_index += 1
        out.append(
            _event("content_block_start", {"type": "content_block_start", "index": index, "content_block": block})
        )
        self._carry_on(index, delta, slot)

    def _carry_on(self, index: int, delta: bytes, slot: bytes) -> None:
        """The block of that number is open, and shown."""
        self._index = index
        self._shown = True
        self._head = (
            b"event: content_block_delta\ndata: "
            b'{"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":' % (index, delta, slot)
        )
        self._more = slot in _PLAIN_SLOTS

    def _close(self, seal: Seal | None, out: list[bytes]) -> None:
        opened = self._opened
        if opened is None:
            return
        if opened.kind is BlockKind.REASONING:
            self._sign(seal, out)
        elif opened.kind is BlockKind.TOOL_CALL and not self._scan.began:
            out.append(self._head + _TEXT(stand_in(self._held, custom=opened.custom)) + _TAIL)
        if self._shown:
            out.append(_BLOCK_END % self._index)
        self._opened = None
        self._shown = self._more = self._lingers = self._signed = False

    def _sign(self, seal: Seal | None, out: list[bytes]) -> None:
        """The mark of a thought: the last delta of its block, or all of a thought that nobody may read.

        It names who began the thought: another may have ended it.
        """
        if self._signed:
            return
        if not self._shown:
            if seal is None:
                return  # nothing was said
            if seal.kind == "redacted":
                block = {"type": "redacted_thinking", "data": wrap(seal, origin=self._maker)}
                self._show(block, b"", b"", out)
                return
            self._begin(out)
        delta = {"type": "signature_delta", "signature": wrap(seal, origin=self._maker)}
        frame = {"type": "content_block_delta", "index": self._index, "delta": delta}
        out.append(_event("content_block_delta", frame))

    def join(self, frame: bytes) -> None:  # noqa: ARG002 - events have no numbers here
        """All but `message_stop` comes from the provider."""
        self._joined = not self._resumed

    def follow(self, frame: bytes) -> None:
        """Know which block the provider's own frames have opened, and who made it."""
        self._follower.feed(frame)
        self._maker = self.origin

    def resume(self, text: str) -> None:  # noqa: ARG002 - no event repeats what was said
        """Go on in the block that is open; where none is, in one of text that begins with its first word."""
        self._resumed = self._started = True
        self._joined = False
        follower = self._follower
        block, left = follower.leave()
        self._owed = b"".join(_BLOCK_END % index for index in left)
        self._next_index, self._calls = follower.next_index, follower.calls
        if block is None or block.kind is None:
            self._opened = Opened(BlockKind.TEXT)
            return
        self._opened, self._signed = Opened(block.kind), block.signed
        self._carry_on(block.index, *_SLOTS[block.kind])
        self._more = not self._owed

    def _settle(self) -> list[bytes]:
        """What must be said before anything else is."""
        if not self._owed:
            return []
        owed, self._owed = self._owed, b""
        return [owed]

    def end(self, usage: Usage) -> bytes:
        """The stop reason with the usage, and `message_stop`."""
        if self._joined:
            return _STOP
        out = self._settle()
        if not self._started:
            self.identify("", self.model, self._now)
            self._start(usage, out)
        self._close(None, out)
        finished = self._finished or Finished(Finish.STOP)
        delta = ending(finished.reason, finished.raw, finished.stop_sequence, calls=self._calls)
        frame = {"type": "message_delta", "delta": delta, "usage": usage_object(usage)}
        return b"".join((*out, _event("message_delta", frame), _STOP))

    def fail(self, error: HermesError, *, now: float, request_id: str = "") -> bytes:
        """`event: error`: the SDKs raise on it. Nothing comes behind it."""
        return error_event(error, now=now, request_id=request_id)


def make_encoder(inbound: Inbound, *, prompt_tokens: int, new_id: NewId, now: int) -> MessagesEncoder:  # noqa: ARG001 - one signature for all dialects
    """The encoder of one exchange (dialect.MakeEncoder)."""
    return MessagesEncoder(prompt_tokens=prompt_tokens, new_id=new_id, now=now)


def render_answer(answer: Answer, usage: Usage, inbound: Inbound, *, origin: str, new_id: NewId, now: int) -> bytes:  # noqa: ARG001 - one signature for all dialects
    """A whole answer as a `message` object (dialect.RenderAnswer)."""
    blocks = _joined(answer.blocks)
    content = [block for block in (_block(one, origin) for one in blocks) if block is not None]
    calls = sum(1 for one in blocks if one.kind is BlockKind.TOOL_CALL)
    return _JSON.encode(
        {
            "id": message_id(answer.id) if answer.id else new_id(PREFIX),
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": content,
            **ending(answer.finish or Finish.STOP, answer.raw_finish, answer.stop_sequence, calls=calls),
            "usage": usage_object(usage),
        }
    )


def _joined(blocks: list[Block]) -> list[Block]:
    """Thoughts that go on with one before them, in one."""
    out: list[Block] = []
    for block in blocks:
        last = out[-1] if out else None
        lingers = last is not None and last.kind is BlockKind.REASONING and last.seal is None and bool(last.text)
        if last is not None and lingers and goes_on(block.kind, block.extras):
            out[-1] = replace(last, text=last.text + block.text, seal=block.seal)
        else:
            out.append(block)
    return out


def _block(block: Block, origin: str) -> dict[str, Any] | None:
    """A block of a whole answer, None where it says nothing."""
    match block.kind:
        case BlockKind.TEXT:
            return {"type": "text", "text": block.text} if block.text.strip() else None
        case BlockKind.REASONING:
            if not block.text:
                if block.seal is None:
                    return None
                if block.seal.kind == "redacted":
                    return {"type": "redacted_thinking", "data": wrap(block.seal, origin=origin)}
            return {"type": "thinking", "thinking": block.text, "signature": wrap(block.seal, origin=origin)}
        case BlockKind.TOOL_CALL:
            return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": _input(block)}
    assert_never(block.kind)


def _input(block: Block) -> Raw:
    """The arguments as they were said, if they are an object; else one that holds them."""
    if not block.custom and is_object(block.text):
        return Raw(block.text.strip().encode())
    return Raw(stand_in(block.text, custom=block.custom).encode())


def _first_usage(events: list[ChatEvent]) -> Usage | None:
    """What is already known of the usage where a held beginning is let go."""
    return next((event.usage for event in events if isinstance(event, UsageSeen)), None)


def _event(name: str, payload: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _JSON.encode(payload))
