"""The composition root: reads the world, wires the edges to the ports, runs."""

import sys

# structlog, which several modules here import, imports rich where that is installed: 60 ms at start and 4 MB, for
# tracebacks that print local variables. Never ours.
if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]
