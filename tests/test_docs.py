"""Generated pages are what their generator writes now."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_generated_pages_are_up_to_date(tmp_path: Path) -> None:
    """They follow rows, variables, cases and tests; `make docs` writes them anew."""
    script = [sys.executable, ROOT / "docs" / "generate.py", "--check"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
