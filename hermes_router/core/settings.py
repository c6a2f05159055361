"""Every setting as a typed value that remembers where it came from.

Owns names, defaults, types and validation of settings. It must never read a file or the environment: the daemon
hands it layers of raw strings.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from hermes_router.core.catalog import QuotaRule
from hermes_router.core.ids import Secret
from hermes_router.core.notify_ways import NotifyAddress, NotifyCommand

Mode = Literal["round-robin", "sequential"]

DEFAULT_KEY = "sk-router-1"


class ProviderSettings(msgspec.Struct, frozen=True):
    """What the owner said of one provider (`<P>_…`); None = not said.

    `models` is the comma list of `<P>_MODEL`. `tools` and `reasoning` override for all models, `model_tools` and
    `model_reasoning` for one (`<P>_<MODEL>_SUPPORTS_TOOLS`, keys as spelled by `variable_part`). `enabled` False = it
    takes no part though it has keys. `limits` replace all priors; an empty tuple is `_LIMITS=off`. `is_private`
    (keyless rows only): the server counts as this machine though its address is not a loopback one. `auth_url` and
    `usage_url` (rows of accounts only) stand for the row's. `embed_model` is the model for embeddings, empty = none.
    """

    base_url: str | None = None
    models: tuple[str, ...] | None = None
    limits: tuple[QuotaRule, ...] | None = None
    tools: bool | None = None
    reasoning: bool | None = None
    model_tools: Mapping[str, bool] = msgspec.field(default_factory=dict)
    model_reasoning: Mapping[str, bool] = msgspec.field(default_factory=dict)
    max_output_tokens: int | None = None
    skip_tokens_over: int | None = None
    is_private: bool = False
    auth_url: str | None = None
    usage_url: str | None = None
    enabled: bool = True
    embed_model: str | None = None


NOTHING_SAID = ProviderSettings()


class Settings(msgspec.Struct, frozen=True):
    """All settings in force. Times in seconds, sizes in bytes or tokens as named, money in micro-US-dollars.

    `proxy_api_keys` empty = no key is good but the stored ones; `default_key`: the one that everybody knows is good.
    `sources` maps a variable's name to where its value was found (`environment`, `/path/.env:12`, `default`); `texts`
    to what stands there, where anything does and it is not confidential.
    """

    port: int = 8319
    host: str | None = None
    proxy_api_keys: tuple[Secret, ...] = (Secret(DEFAULT_KEY),)
    default_key: bool = True
    allowed_hosts: frozenset[str] = frozenset()
    cors_origins: frozenset[str] = frozenset()
    mode: Mode = "round-robin"
    reasoning_token_reserve: int = 4096
    log_level: str = "info"
    log_format: Literal["auto", "logfmt", "json", "console"] = "auto"
    log_file: str | None = None
    max_request_bytes: int = 33_554_432
    min_tier: int = 1
    privacy: Literal["any", "no-training"] = "any"
    strict_models: bool = False
    advertised_context: int | None = None
    request_deadline_s: float = 600.0
    patience_s: float = 60.0
    first_token_s: float = 45.0
    stall_s: float = 30.0
    stream_tool_args: Literal["whole", "live"] = "whole"
    drain_s: float = 60.0
    local_is_private: bool = False
    fetch_images: bool = False
    https_proxy: str | None = None
    http_proxy: str | None = None
    no_proxy: tuple[str, ...] = ()
    secret_store: Literal["auto", "keyring", "file"] = "auto"  # noqa: S105 - the name of a place
    quota_pacing: Literal["off", "even"] = "off"
    budget_microusd_day: int | None = None
    runaway_guard: bool = True
    responses_store: bool = True
    notify_url: NotifyAddress | None = None
    notify_command: NotifyCommand | None = None
    providers: Mapping[str, ProviderSettings] = msgspec.field(default_factory=dict)
    sources: Mapping[str, str] = msgspec.field(default_factory=dict)
    texts: Mapping[str, str] = msgspec.field(default_factory=dict)

    def provider(self, name: str) -> ProviderSettings:
        """What the owner said of this provider."""
        return self.providers.get(name, NOTHING_SAID)
