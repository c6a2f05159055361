"""The table of variables: every field has one, every name is one's own."""

from hermes_router.core.settings import ProviderSettings, Settings
from hermes_router.core.variables import DERIVED, GLOBALS, variable_part


def test_every_field_of_settings_has_its_variable() -> None:
    """No field of Settings is out of the owner's reach, but for those that are worked out."""
    worked_out = {"default_key", "local_is_private", "providers", "sources", "texts"}
    fields = set(Settings.__struct_fields__) - worked_out
    assert {one.field for one in GLOBALS} == fields


def test_every_field_of_a_provider_has_its_variable() -> None:
    """The derived names fill what an owner may say of a provider; limits and per-model words have their own readers."""
    special = {"limits", "model_tools", "model_reasoning"}
    fields = set(ProviderSettings.__struct_fields__) - special
    assert {one.field for one in DERIVED} == fields


def test_names_are_different_and_explained() -> None:
    """No two variables share a name, and each says what it does in a sentence."""
    names = [one.name for one in (*GLOBALS, *DERIVED)]
    assert len(names) == len(set(names))
    assert all(one.doc.endswith(".") for one in (*GLOBALS, *DERIVED))


def test_only_what_opens_or_closes_the_door_is_fatal() -> None:
    """HOST, PORT and the router's keys, nothing else (contract.md)."""
    assert {one.name for one in GLOBALS if one.fatal} == {"HOST", "PORT", "PROXY_API_KEYS"}


def test_a_model_id_inside_a_variable() -> None:
    """Capitals and digits stay, anything else becomes an underscore."""
    assert variable_part("openai/gpt-oss-120b:cheapest") == "OPENAI_GPT_OSS_120B_CHEAPEST"
    assert variable_part("é.5") == "__5"
