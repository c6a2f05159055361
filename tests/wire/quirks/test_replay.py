"""What an earlier answer left behind goes back, and nothing is invented."""

import json

from msgspec import Raw
from msgspec.json import encode

from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.quirks import replay as quirks_replay
from hermes_router.wire.quirks.draft import Draft, open_messages
from hermes_router.wire.quirks.replay import NO_REASONING, SKIP_SIGNATURE


class Knows:
    """Remembers one call by its id, and notes what it was asked."""

    holds = True

    def __init__(self, call_id="a"):
        self.call_id = call_id
        self.asked = []

    def _find(self, call_id, name, arguments):
        self.asked.append((call_id, name, arguments))
        return "known" if call_id == self.call_id else None

    signature = reasoning = details = _find


def calls(*ids, **more):
    made = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": "x", "tool_calls": made, **more}


def after(step, *messages, recall=NO_RECALL):
    draft = Draft({}, recall, frozenset(), messages=open_messages(Raw(json.dumps(messages).encode())))
    step(draft)
    return json.loads(encode(draft.messages)), draft


def signed(signature):
    return {"google": {"thought_signature": signature}}


def test_memory_is_asked_by_the_ids_the_caller_was_shown():
    """Id, name and arguments of the call, as they stand in the caller's history."""
    recall = Knows()
    after(quirks_replay.replay_signature, calls("a", "b"), recall=recall)
    assert recall.asked == [("a", "f", "{}")]


def test_a_callers_own_signature_is_kept_on_a_miss():
    """Few clients keep `extra_content`, but those that do are believed (12.9); the memory is believed before them."""
    sent = calls("a")
    sent["tool_calls"][0]["extra_content"] = signed("own")
    out, draft = after(quirks_replay.replay_signature, sent)
    assert out[0]["tool_calls"][0]["extra_content"] == signed("own")
    assert not draft.messages_changed
    out, _ = after(quirks_replay.replay_signature, sent, recall=Knows())
    assert out[0]["tool_calls"][0]["extra_content"] == signed("known")


def test_an_odd_extra_content_counts_as_none():
    """Whatever else stands there is replaced by the skip marker."""
    for odd in (1, {}, {"google": 1}, signed(5), signed("")):
        sent = calls("a")
        sent["tool_calls"][0]["extra_content"] = odd
        assert after(quirks_replay.replay_signature, sent)[0][0]["tool_calls"][0]["extra_content"] == signed(
            SKIP_SIGNATURE
        )


def test_reasoning_comes_from_memory_then_from_the_caller_then_as_a_note():
    """Any call of the turn may lead to it; both spellings of the caller's are read."""
    step = quirks_replay.replay_reasoning
    assert after(step, calls("z", "a"), recall=Knows())[0][0]["reasoning_content"] == "known"
    assert after(step, calls("z", reasoning_content="mine"))[0][0]["reasoning_content"] == "mine"
    assert after(step, calls("z", reasoning="mine"))[0][0]["reasoning_content"] == "mine"
    assert after(step, calls("z", reasoning_content=" "))[0][0]["reasoning_content"] == NO_REASONING
    assert not after(step, calls("z", reasoning_content="mine"))[1].messages_changed


def test_turns_without_calls_are_left_alone():
    """Replay is for turns with calls (7)."""
    plain = {"role": "assistant", "content": "x"}
    for step in (quirks_replay.replay_reasoning, quirks_replay.replay_signature, quirks_replay.replay_details):
        assert after(step, plain, recall=Knows())[0] == [plain]


def test_cr1_reasoning_if_known_adds_nothing_on_a_miss():
    """DeepSeek wants it back where it was given; elsewhere there is nothing to send (CR-1)."""
    step = quirks_replay.replay_reasoning_if_known
    assert after(step, calls("z"))[0] == [calls("z")]
    assert after(step, calls("a"), recall=Knows())[0][0]["reasoning_content"] == "known"


def test_details_of_this_target_replace_the_callers():
    """What we know to be this target's goes back as it came; on a miss the caller's own stays (3.2)."""
    step = quirks_replay.replay_details
    assert after(step, calls("a", reasoning_details=[1]), recall=Knows())[0][0]["reasoning_details"] == "known"
    assert after(step, calls("z", reasoning_details=[1]), recall=Knows())[0][0]["reasoning_details"] == [1]
