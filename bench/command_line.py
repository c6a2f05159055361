"""What `hr` takes at the command line: each run a fresh process, the median of several.

Owns the measurement: wall time, since that is what a person waits for, and CPU time, which neighbours on the machine
change less. The daemon that `hr status` asks has all keyed providers, none of which is there.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.gateways import KEYED, free_port

HR = Path(sys.executable).with_name("hr")
RUNS = 15
NOBODY = "http://127.0.0.1:9/v1"


def _environ(home: Path) -> dict[str, str]:
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "PORT": str(free_port()), "LANG": "C.UTF-8"}
    for name in KEYED:
        environ |= {f"{name.upper()}_API_KEY": f"{name}-0123456789", f"{name.upper()}_BASE_URL": NOBODY}
    return environ


def _run(words: Sequence[str], environ: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run. Raises RuntimeError where it failed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*words], env=environ, capture_output=True, text=True, timeout=60, check=False)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words[1:]))} ended with {done.returncode}: {done.stderr.strip()[:200]}")
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(runs: int = RUNS) -> dict[str, float]:
    """Medians in ms: `hr --help`, `hr status`, and the bare interpreter that both begin with."""
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "hr_help": [str(HR), "--help"],
        "hr_status": [str(HR), "status"],
    }
    with tempfile.TemporaryDirectory(prefix="hr-") as home:
        environ = _environ(Path(home))
        _run([str(HR), "start"], environ)
        try:
            for words in commands.values():
                _run(words, environ)  # the first one may compile what it imports
            taken = {name: [_run(words, environ) for _ in range(runs)] for name, words in commands.items()}
        finally:
            _run([str(HR), "stop", "--now"], environ)
    figures: dict[str, float] = {}
    for name, each in taken.items():
        walls, cpus = zip(*each, strict=True)
        figures |= {f"{name}_ms": statistics.median(walls) * 1e3, f"{name}_cpu_ms": statistics.median(cpus) * 1e3}
    return figures


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:18}{value:8.0f}")
