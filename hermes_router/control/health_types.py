# ruff: noqa: RUF012 - msgspec copies such defaults; ruff does not see that these are its structs
"""The control API's types for `hr doctor`: what a daemon, or a mere reading of its files, knows beside its status.

Owns shapes and names, as `types.py`, where everything else is found. No type has a field for a secret.
"""

from hermes_router.control.account_types import Type

__all__ = ["EndpointRow", "FaultRow", "HealthReport", "PoolRow", "RetiredRow", "ShadowedRow", "StoredRow"]


class FaultRow(Type, frozen=True):
    """What is wrong in a file of the owner's. `fatal` = the daemon does not start; `hint` = a word of advice."""

    said: str
    where: str = ""
    fatal: bool = False
    hint: bool = False


class ShadowedRow(Type, frozen=True):
    """A setting that stands at `weaker`, and counts as it stands at `stronger`."""

    name: str
    stronger: str
    weaker: str


class StoredRow(Type, frozen=True):
    """A stored key. `store`: `keyring`, `file` or `command`; `reason` = why its secret cannot be had, or empty."""

    provider: str
    tail: str
    store: str
    reason: str = ""


class EndpointRow(Type, frozen=True):
    """Where requests go. `url` is the base address; `proxy` is `host:port` of the proxy on the way, empty = none.

    `keyless` = a server of the owner's own.
    """

    provider: str
    url: str
    proxy: str = ""
    keyless: bool = False


class PoolRow(Type, frozen=True):
    """A model that takes part. `context` in tokens, None = unknown; `tools`, `images`: `yes`, `no` or `unknown`."""

    provider: str
    model: str
    context: int | None = None
    tools: str = "unknown"
    images: str = "unknown"


class RetiredRow(Type, frozen=True):
    """A provider with a key, or a model that the owner chose, which gets no traffic any more, and why."""

    provider: str
    said: str


class HealthReport(Type, frozen=True):
    """`GET /v1/health-report`. Times in epoch seconds, sizes in bytes.

    `addresses` empty = both loopback addresses. `proxies` is by variable, as `host:port`. `keyring` says what is wrong
    with it, empty = nothing, or it is not used. `router_keys` are the stored ones; `admits_nobody`: none is good.
    `descriptors` is the process's own limit, 0 = it is no daemon.
    """

    at: float
    config_dir: str
    data_dir: str
    state_dir: str
    env_file: str
    log_file: str = ""
    port: int = 8319
    addresses: list[str] = []
    is_open: bool = False
    default_key: bool = True
    router_keys: int = 0
    admits_nobody: bool = False
    faults: list[FaultRow] = []
    changed: list[str] = []
    """Settings and keys that the files have otherwise by now than the daemon has them in force."""
    shadowed: list[ShadowedRow] = []
    stored: list[StoredRow] = []
    keys: dict[str, int] = {}
    store: str = ""
    keyring: str = ""
    keyring_cure: str = ""
    endpoints: list[EndpointRow] = []
    pool: list[PoolRow] = []
    retired: list[RetiredRow] = []
    proxies: dict[str, str] = {}
    no_proxy: list[str] = []
    descriptors: int = 0
    descriptors_open: int = 0
    memory_bytes: int = 0
