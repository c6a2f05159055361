"""Checks of the network: proxies, the ways to the providers in use, servers of one's own, the clock.

Owns their judgement; the walking is `reach.py`'s.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from hermes_router.cli import words
from hermes_router.cli.doctor.finding import Finding, advice, fault, ok, skipped, warning
from hermes_router.cli.doctor.reach import Reach, reaches
from hermes_router.cli.doctor.scene import Scene

__all__ = ["clock", "judge_clock", "judge_reach", "local_servers", "network", "no_proxy", "proxy"]

_SKEW_S: Final = 30.0
_PROXY_S: Final = 4.0
_SLOW_MS: Final = 3_000
_DOWN: Final = frozenset({502, 503, 504, *range(520, 528)})  # of a gateway that finds nobody behind it
_WANTS_PASSWORD: Final = -1
_EXPIRED: Final = (9, 10)
_ALL: Final = ("ALL_PROXY", "all_proxy")


def network(scene: Scene) -> Finding | Sequence[Finding]:
    """Name, connection, certificate and answer of every provider in use."""
    if scene.report is None:
        return skipped(scene.unread)
    found = [one for one in reaches(scene) if not one.endpoint.keyless]
    if not found:
        return skipped("no provider beyond this machine is in use")
    judged = [judge_reach(one) for one in found]
    if len(judged) > 1 and all(one.state == "fault" for one in judged):
        first = judged[0]
        return [
            fault("no provider can be reached: this machine is offline, or something is in between", first.cure),
            *judged,
        ]
    if any(one.state != "fault" for one in judged):  # the others serve meanwhile
        return [replace(one, state="warning") if one.state == "fault" else one for one in judged]
    return judged


def judge_reach(one: Reach) -> Finding:
    """One way."""
    name = one.endpoint.provider
    times = ", ".join(f"{stage} {ms} ms" for stage, ms in one.took_ms.items())
    if one.untrusted == _WANTS_PASSWORD:
        return skipped(f"{name}: {one.said}", subject=name)
    if one.failed:
        return fault(f"{name}: {one.failed} fails, {one.said}", _cure(one), subject=name)
    if one.status in _DOWN:
        said = f"{name} is reached, and answers {one.status} at its door: {times}"
        return warning(said, f"{name} may be down: see its status page; the others serve meanwhile", subject=name)
    if sum(one.took_ms.values()) > _SLOW_MS:
        return warning(f"{name} is reached, slowly: {times}", "see what the network is busy with", subject=name)
    return ok(f"{name}: {times}", subject=name)


def _cure(one: Reach) -> str:
    name = one.endpoint.provider
    match one.failed:
        case "DNS":
            return "see that this machine is online and its resolver answers (`getent hosts` with that name)"
        case "TCP":
            return f"a firewall, or {name} is down: see its status page; behind a proxy, set HTTPS_PROXY"
        case "proxy":
            return "see the proxy's address and rules: `hr config get HTTPS_PROXY`, NO_PROXY"
        case "TLS" if one.untrusted in _EXPIRED:
            return "see this machine's clock first (below); if it is right, the other side must renew its certificate"
        case "TLS" if one.untrusted:
            return (
                "does a company's proxy or a virus scanner read along? Then add its authority to the system's store "
                "(or SSL_CERT_FILE for the daemon); else update ca-certificates"
            )
        case _:
            return f"{name} may be down: see its status page; the others serve meanwhile"


def local_servers(scene: Scene) -> Finding | Sequence[Finding]:
    """Servers of models on this machine or near it: up, and with which windows?"""
    if scene.report is None:
        return skipped(scene.unread)
    found = [one for one in reaches(scene) if one.endpoint.keyless]
    if not found:
        return skipped("none is configured; LOCAL_BASE_URL names one")
    return [_judge_local(one, scene) for one in found]


def _judge_local(one: Reach, scene: Scene) -> Finding:
    name, url = one.endpoint.provider, one.endpoint.url
    if one.failed:
        return fault(
            f"{name} at {url} does not answer: {one.said}", f"start it, or set {name.upper()}_BASE_URL", subject=name
        )
    if one.models is None:
        return warning(
            f"what answers at {url} gives no list of models ({one.status})",
            f"see the address: `hr config get {name.upper()}_BASE_URL`",
            subject=name,
        )
    windows = {row.model: row.context for row in scene.report.pool if row.provider == name} if scene.report else {}
    if scene.status is not None:
        windows |= {row.model: row.context for row in scene.status.targets if row.provider == name}
    said = [f"{model} {words.count(size) if size else 'window unknown'}" for model, size in windows.items()]
    if not one.models:
        return warning(f"{name} is up and has no model", "pull or load one there", subject=name)
    return ok(
        f"{name}: {words.some(one.models, 'model')}{', in use: ' + words.listing(said) if said else ''}", subject=name
    )


# --- the clock -----------------------------------------------------------------------------------------


def clock(scene: Scene) -> Finding:
    """Is this machine's clock right? Providers' answers say what time it is."""
    if scene.report is None:
        return skipped(scene.unread)
    return judge_clock(
        [one.date - one.at for one in reaches(scene) if one.date is not None and not one.endpoint.keyless]
    )


def judge_clock(offsets: Sequence[float]) -> Finding:
    """How far the others' clocks are ahead of ours, in seconds."""
    if not offsets:
        return skipped("no provider's answer told the time")
    off = median(offsets)
    if abs(off) <= _SKEW_S:
        return ok(f"within {max(1, round(abs(off)))} s of {words.some(len(offsets), 'provider')}")
    way = "behind" if off > 0 else "ahead"
    return warning(
        f"this machine's clock is {words.span(abs(off))} {way}",
        "set it: `timedatectl set-ntp true`; limits and tokens are kept by it, and certificates are checked by it",
    )


# --- proxies -------------------------------------------------------------------------------------------


def proxy(scene: Scene) -> Finding | Sequence[Finding]:
    """Are the proxies that are set there, and does the daemon know of those that the shell has?"""
    if scene.report is None:
        return skipped(scene.unread)
    found = [_judge_proxy(name, address) for name, address in scene.report.proxies.items()]
    if scene.daemon == "runs":
        found += [_unknown_proxy(name) for name in ("HTTPS_PROXY", "HTTP_PROXY") if _is_the_shells(name, scene)]
    return found or ok("none is set")


def _is_the_shells(name: str, scene: Scene) -> bool:
    known = scene.report.proxies if scene.report is not None else {}
    return name not in known and bool(scene.environ.get(name) or scene.environ.get(name.lower()))


def _unknown_proxy(name: str) -> Finding:
    return advice(
        f"{name} is set in this shell, and not for the daemon",
        f"if it needs the proxy: `hr config set {name} -`, then `hr restart`",
        subject=name,
    )


def _judge_proxy(name: str, address: str) -> Finding:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PROXY_S):
            return ok(f"{name}: {address} answers", subject=name)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no answer"
        return fault(
            f"{name}: nothing answers at {address} ({why})",
            f"start the proxy, or take {name} out (`hr config unset {name}`, or the environment of the daemon)",
            subject=name,
        )


def no_proxy(scene: Scene) -> Finding:
    """Would callers in this shell ask a proxy for the router?"""
    return judge_no_proxy(scene.environ)


def judge_no_proxy(environ: Mapping[str, str]) -> Finding:
    """Of a shell's variables: the router's address is plain HTTP, so that HTTP_PROXY and ALL_PROXY are what counts."""
    names = [name for name in ("HTTP_PROXY", "http_proxy", *_ALL) if environ.get(name)]
    if not names:
        return ok("no caller in this shell would ask a proxy for the router")
    kept = {one.strip().lower() for one in (environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(",")}
    if kept & {"*", "localhost", ".localhost"} and kept & {"*", "127.0.0.1", "127.0.0.0/8"}:
        return ok("NO_PROXY keeps this machine off the proxy")
    return advice(
        f"{names[0]} is set in this shell, and NO_PROXY lacks localhost: callers may ask the proxy for the router",
        "`export NO_PROXY=localhost,127.0.0.1,::1` where agents run",
    )
