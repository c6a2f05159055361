"""What the configuration and the store say of their own soundness, for `hr doctor`: one value from one reading.

Owns the gathering, for a daemon that runs and for a mere reading of its files alike. It must never change a file, and
no secret is in what it makes: an address loses its user and password here.
"""

import os
import resource
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from hermes_router.control import health_types as h
from hermes_router.control.places import Places
from hermes_router.core.catalog import Capability, ProviderSpec, TargetFacts
from hermes_router.core.errors import ConfigError
from hermes_router.core.settings import Settings
from hermes_router.core.settings_parse import is_ours
from hermes_router.daemon import dotenv
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.desks.config import differences
from hermes_router.daemon.desks.edit import toml_variables
from hermes_router.upstream.proxy import Proxy, is_direct, is_loopback, parse_proxy

__all__ = ["Process", "health_report", "process", "shadowed_in"]

_STATM: Final = Path("/proc/self/statm")
_DESCRIPTORS: Final = Path("/proc/self/fd")
_PORTS: Final = {"https": 443, "http": 80}


class Process(NamedTuple):
    """What the system allows this process, and what it takes: descriptors, bytes of memory. 0 = unknown."""

    descriptors: int = 0
    descriptors_open: int = 0
    memory_bytes: int = 0


def process() -> Process:
    """Of the process that calls; it reads from /proc, where there is one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = memory = 0
    with suppress(OSError, ValueError, IndexError):
        opened = sum(1 for _ in _DESCRIPTORS.iterdir())
        memory = int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Process(max(0, limit), opened, memory)


def health_report(
    loaded: Loaded,
    facts: Sequence[TargetFacts],
    places: Places,
    *,
    at: float,
    shadowed: Sequence[h.ShadowedRow],
    stored: Sequence[h.StoredRow],
    router_keys: int,
    store: str,
    keyring: tuple[str, str] = ("", ""),
    log_file: str = "",
    gone: Mapping[str, Iterable[str]] | None = None,
    own: Process | None = None,
    fresh: Loaded | None = None,
) -> h.HealthReport:
    """The report. `facts` are the targets; `router_keys` is how many are stored.

    `gone` are models that a provider's list has no longer, by provider. `fresh` is what the files say by now, where a
    daemon has `loaded` in force.
    """
    settings = loaded.settings
    host = settings.host
    own = own or Process()
    return h.HealthReport(
        at=at,
        config_dir=str(places.config_dir),
        data_dir=str(places.data_dir),
        state_dir=str(places.state_dir),
        env_file=str(places.env_file),
        log_file=log_file or settings.log_file or "",
        port=settings.port,
        addresses=[] if host is None else [host],
        is_open=host is not None and not is_loopback(host),
        default_key=settings.default_key,
        router_keys=router_keys,
        admits_nobody=not settings.proxy_api_keys and not router_keys,
        faults=[_fault(each) for each in (fresh or loaded).problems],
        changed=differences(loaded, fresh) if fresh is not None else [],
        shadowed=list(shadowed),
        stored=list(stored),
        keys=_keys(loaded),
        store=store,
        keyring=keyring[0],
        keyring_cure=keyring[1],
        endpoints=_endpoints(facts, settings),
        pool=_pool(facts),
        retired=_retired(loaded, facts, gone or {}),
        proxies={
            name: address
            for name, url in (("HTTPS_PROXY", settings.https_proxy), ("HTTP_PROXY", settings.http_proxy))
            if (address := _address(_proxy(url)))
        },
        no_proxy=list(settings.no_proxy),
        descriptors=own.descriptors,
        descriptors_open=own.descriptors_open,
        memory_bytes=own.memory_bytes,
    )


def shadowed_in(loaded: Loaded, places: Places) -> list[h.ShadowedRow]:
    """Settings and keys of the owner's files that do not count, since a stronger place has them; reads both files."""
    sources, ours = loaded.settings.sources, is_ours(loaded.catalog)
    rows: list[h.ShadowedRow] = []
    for path, names in ((places.config_file, _toml_names), (places.env_file, _env_names)):
        with suppress(OSError, ValueError):
            for name, where in names(path).items():
                stronger = sources.get(name, where)
                if ours(name) and stronger not in {where, "default"}:
                    rows.append(h.ShadowedRow(name=name, stronger=stronger, weaker=where))
    return rows


def _toml_names(path: Path) -> dict[str, str]:
    return dict.fromkeys(toml_variables(path.read_text("utf-8-sig")), str(path))


def _env_names(path: Path) -> dict[str, str]:
    return {name: where for name, (_, where) in dotenv.parse(path.read_bytes(), where=str(path))[0].items()}


def _fault(problem: ConfigError) -> h.FaultRow:
    return h.FaultRow(said=problem.message, where=problem.where or "", fatal=problem.fatal, hint=problem.hint)


def _keys(loaded: Loaded) -> dict[str, int]:
    found: dict[str, int] = {}
    for credential in loaded.credentials:
        if credential.kind != "none":
            found[credential.provider] = found.get(credential.provider, 0) + 1
    return found


# --- where requests go --------------------------------------------------------------------------------


def _endpoints(facts: Sequence[TargetFacts], settings: Settings) -> list[h.EndpointRow]:
    found: dict[tuple[str, str], h.EndpointRow] = {}
    for one in facts:
        if one.disabled is None:
            url = _plain(one.base_url)
            row = h.EndpointRow(
                provider=one.provider.name, url=url, proxy=_on_the_way(url, settings), keyless=one.provider.keyless
            )
            found.setdefault((row.provider, row.url), row)
    return list(found.values())


def _plain(url: str) -> str:
    """The address without a user and a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _on_the_way(url: str, settings: Settings) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 443)
    except ValueError:
        return ""
    proxy = _proxy(settings.https_proxy if parts.scheme == "https" else settings.http_proxy)
    if proxy is None or is_direct(parts.hostname or "", port, settings.no_proxy):
        return ""
    return _address(proxy)


def _proxy(url: str | None) -> Proxy | None:
    try:
        return parse_proxy(url) if url else None
    except ConfigError:
        return None


def _address(proxy: Proxy | None) -> str:
    if proxy is None:
        return ""
    return f"[{proxy.host}]:{proxy.port}" if ":" in proxy.host else f"{proxy.host}:{proxy.port}"


# --- the pool -----------------------------------------------------------------------------------------


def _pool(facts: Sequence[TargetFacts]) -> list[h.PoolRow]:
    rows: dict[tuple[str, str], h.PoolRow] = {}
    for one in facts:
        if one.disabled is None:
            rows.setdefault(
                (one.provider.name, one.model.id),
                h.PoolRow(
                    provider=one.provider.name,
                    model=one.model.id,
                    context=one.model.context,
                    tools=one.model.capability(Capability.TOOLS).value.value,
                    images=one.model.capability(Capability.IMAGES).value.value,
                ),
            )
    return list(rows.values())


def _retired(loaded: Loaded, facts: Sequence[TargetFacts], gone: Mapping[str, Iterable[str]]) -> list[h.RetiredRow]:
    held = {credential.provider for credential in loaded.credentials if credential.kind != "none"}
    rows = [
        h.RetiredRow(provider=spec.name, said=spec.retired)
        for spec in loaded.catalog.values()
        if spec.name in held and spec.retired is not None and _has_no_other_address(loaded, spec)
    ]
    vanished = {(f.provider.name, f.model.id) for f in facts if f.model.id in gone.get(f.provider.name, ())}
    rows += [
        h.RetiredRow(provider=name, said=f"{model} is in the provider's list no longer")
        for name, model in sorted(vanished)
    ]
    return rows


def _has_no_other_address(loaded: Loaded, spec: ProviderSpec) -> bool:
    return not loaded.settings.provider(spec.name).base_url
