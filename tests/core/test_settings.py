"""Settings as a value."""

from hermes_router.core.settings import NOTHING_SAID, ProviderSettings, Settings


def test_a_provider_of_which_nothing_was_said() -> None:
    """Asking for any provider gives an answer, an empty one where nothing was said."""
    said = ProviderSettings(tools=True)
    settings = Settings(providers={"groq": said})
    assert settings.provider("groq") is said
    assert settings.provider("gemini") is NOTHING_SAID
