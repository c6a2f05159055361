"""A conversation by `previous_response_id` with the real SDK: over kill -9, over restarts, over providers."""

import pytest

from ..responses import story

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@STREAM
async def test_a_conversation_survives_the_daemon_and_its_providers(stream: bool) -> None:
    """The caller keeps nothing but the last id, and each provider is told all that was said; the file is its owner's."""
    async with story.opened() as talk:
        await story.over_kills(talk, print, stream=stream)
        await story.over_restarts(talk, print, stream=stream)
        await story.over_providers(talk, print, stream=stream)
        modes = {each.stat().st_mode & 0o777 for each in talk.file.parent.glob("responses.db*")}
        assert modes == {0o600}
        log = (talk.home.path / ".local/state/hermes-router/daemon.log").read_text()
        assert not [words for words in talk.said if words in log]
