"""Tool calls that an answer was cut in: what is no whole JSON is no call.

Owns the rule for an answer that ended at its length limit (cases.md 9R-6): the caller gets what is whole, and the true
finish. It must never know a dialect.
"""

from hermes_router.core.events import Answer, BlockKind, ChatEvent, Closed, Delta, Finish, Opened
from hermes_router.wire.messages.arguments import is_object

__all__ = ["drop_broken_calls", "without_broken_calls"]


def without_broken_calls(events: list[ChatEvent]) -> tuple[list[ChatEvent], bool]:
    """The same events without the calls whose arguments are no JSON object, and whether one was left out.

    The input of a custom tool is free text, of which nobody can tell whether it is whole: the last one is left out.
    """
    out: list[ChatEvent] = []
    call: list[ChatEvent] = []
    cut = False
    last = max((n for n, event in enumerate(events) if isinstance(event, Opened)), default=-1)
    opened: Opened | None = None
    is_last = False
    for number, event in enumerate(events):
        if isinstance(event, Opened) and event.kind is BlockKind.TOOL_CALL:
            opened, call, is_last = event, [event], number == last
        elif opened is None:
            out.append(event)
        else:
            call.append(event)
            if isinstance(event, Closed):
                if _is_whole(opened, call, is_last=is_last):
                    out += call
                else:
                    cut = True
                opened = None
    return out, cut or opened is not None


def drop_broken_calls(answer: Answer) -> bool:
    """The same for a whole answer: whether a call was left out of it. Where it did not end at its length, none is."""
    if answer.finish is not Finish.LENGTH:
        return False
    blocks, last = answer.blocks, answer.blocks[-1] if answer.blocks else None
    answer.blocks = [
        block
        for block in blocks
        if block.kind is not BlockKind.TOOL_CALL or (block is not last if block.custom else is_object(block.text))
    ]
    return len(answer.blocks) < len(blocks)


def _is_whole(opened: Opened, call: list[ChatEvent], *, is_last: bool) -> bool:
    if opened.custom:
        return not is_last
    return is_object("".join(each.text for each in call if isinstance(each, Delta)))
