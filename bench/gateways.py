"""The gateways that are compared, and what the system says of their processes.

Owns how each is started, pinned and stopped. It must never know what is measured with them.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import bodies, load

ROOT = Path(__file__).resolve().parent.parent
# Every provider with a key, and `local`, which needs none. Codex has a key and nowhere to go: it logs in by OAuth.
KEYED = (
    "gemini", "openrouter", "sambanova", "github_models", "cerebras", "groq", "mistral", "cohere", "zai", "naga", "nvidia",
    "huggingface", "kimi", "openai", "anthropic",
)  # fmt: skip
_NGINX = """\
daemon off; master_process off; worker_processes 1; pid {at}/nginx.pid; error_log {at}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 10000000; client_max_body_size 32m; client_body_buffer_size 512k;
  client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4;
  scgi_temp_path {at}/t5;
  upstream provider {{ server 127.0.0.1:{mock}; keepalive 1024; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass {scheme}://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_ssl_session_reuse on; proxy_read_timeout 600s;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Cores:
    """Where things run: the gateway alone on the last core, mock provider and load on the others."""

    gateway: frozenset[int]
    rest: frozenset[int]
    apart: bool


def cores() -> Cores:
    """Split what this process may use; one core alone is shared."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        return Cores(frozenset(mine), frozenset(mine), apart=False)
    return Cores(frozenset(mine[-1:]), frozenset(mine[:-1]), apart=True)


@dataclass(frozen=True)
class Site:
    """Where one run happens: scratch directory, cores, and the mock provider's two ports with its certificate."""

    scratch: Path
    cores: Cores
    plain: int
    tls: int
    certificate: Path

    def upstream(self, *, tls: bool) -> str:
        return f"https://127.0.0.1:{self.tls}/v1" if tls else f"http://127.0.0.1:{self.plain}/v1"


@dataclass
class Gateway:
    """One gateway process under way; `started_s` is from its start to its first good answer."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    started_s: float = 0.0
    home: Path | None = field(default=None)

    def cpu_s(self) -> float:
        """CPU time of the whole process, all threads, the ended ones too; in ns where the kernel has a clock for it."""
        try:
            return time.clock_gettime((~self.process.pid << 3) | 2)  # CPUCLOCK_SCHED of another process
        except OSError:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Resident memory now, in MB (10^6 bytes)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0

    def stop(self) -> None:
        """End it; kill it after five seconds."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """The end of what it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((load.HOST, 0))
        return int(probe.getsockname()[1])


def available() -> list[str]:
    """Names of the gateways that can be started here."""
    names = ["minimal"]
    if shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        names.insert(0, "nginx")
    if importlib.util.find_spec("hermes_router.daemon.__main__"):
        names.append("hermes")
    return names


def _spawn(argv: Sequence[str], env: Mapping[str, str], log: Path, where: frozenset[int]) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        process = subprocess.Popen(argv, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=ROOT)
    os.sched_setaffinity(process.pid, where)
    return process


def _environment(site: Site, home: Path, *, port: int, tls: bool) -> dict[str, str]:
    """Nothing of the person who measures gets in: no key, no home, no proxy."""
    env = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "HOME": str(home)}
    env |= {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    if tls:
        env["SSL_CERT_FILE"] = str(site.certificate)
    upstream = site.upstream(tls=tls)
    env |= {"PORT": str(port), "PROXY_API_KEYS": "bench-key", "LOCAL_BASE_URL": upstream}
    env["RUNAWAY_GUARD"] = "off"  # a load test is what it looks for; what it costs is in docs/budgets.md
    for name in KEYED:
        env[f"{name.upper()}_API_KEY"] = f"bench-{name}-0123456789abcdef"
        env[f"{name.upper()}_BASE_URL"] = upstream
    return env | {"CODEX_API_KEY": "bench-key-0123456789", "CODEX_BASE_URL": "http://127.0.0.1:9"}


async def start(name: str, site: Site, *, tls: bool = False, rows: str = "") -> Gateway:
    """Start a gateway and wait for its first good answer; raises RuntimeError with its last words.

    `rows` are rows of the owner's own for the router.
    """
    port = free_port()
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=site.scratch))
    log = home / "stderr.log"
    if name == "minimal":
        argv = [sys.executable, "-m", "bench.minimal_proxy", str(port), site.upstream(tls=tls)]
    elif name == "nginx":
        scheme, mock = ("https", site.tls) if tls else ("http", site.plain)
        config = home / "nginx.conf"
        config.write_text(_NGINX.format(at=home, port=port, mock=mock, scheme=scheme))
        argv = [
            shutil.which("nginx") or "/usr/sbin/nginx",
            "-c",
            str(config),
            "-e",
            str(home / "error.log"),
            "-p",
            str(home),
        ]
    else:
        argv = [sys.executable, "-m", "hermes_router.daemon"]
        if rows:
            own = home / "config" / "hermes-router" / "providers.toml"
            own.parent.mkdir(parents=True)
            own.write_text(rows)
    env = _environment(site, home, port=port, tls=tls)
    began = time.perf_counter()
    gateway = Gateway(name, port, _spawn(argv, env, log, site.cores.gateway), log, home=home)
    try:
        await _first_answer(gateway)
    except BaseException:
        gateway.stop()
        raise
    gateway.started_s = time.perf_counter() - began
    return gateway


async def _first_answer(gateway: Gateway, limit_s: float = 20.0) -> None:
    loop = asyncio.get_running_loop()
    end, trouble, body = loop.time() + limit_s, "it never listened", bodies.small()
    while loop.time() < end:
        if gateway.process.poll() is not None:
            raise RuntimeError(f"{gateway.name} ended with {gateway.process.returncode}:\n{gateway.last_words()}")
        try:
            tally = await load.unary(gateway.port, [body], 1, limit_s=5)
        except OSError:
            await asyncio.sleep(0.005)
            continue
        if not tally.bad:
            return
        trouble = tally.trouble
        await asyncio.sleep(0.02)
    raise RuntimeError(f"{gateway.name} gave no good answer in {limit_s:g} s: {trouble}\n{gateway.last_words()}")


def make_certificate(scratch: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, that also is its own authority."""
    certificate, key = scratch / "cert.pem", scratch / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


async def start_mock(site: Site, key: Path | None) -> list[subprocess.Popen[bytes]]:
    """Start the mock provider, plain and, with a key, over TLS."""
    argv = [sys.executable, "-m", "bench.mock"]
    wanted = [[*argv, str(site.plain)]]
    if key:
        wanted.append([*argv, str(site.tls), str(site.certificate), str(key)])
    found = [_spawn(a, os.environ, site.scratch / "mock.log", site.cores.rest) for a in wanted]
    for port in (site.plain, site.tls)[: len(found)]:
        for _ in range(1000):
            try:
                _, writer = await asyncio.open_connection(load.HOST, port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
        else:
            raise RuntimeError(f"the mock provider did not start: {(site.scratch / 'mock.log').read_text()}")
    return found
