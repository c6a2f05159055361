"""hermes_router/cli/demo/stage.py: what ends a demonstration. That nothing of it remains is in test_command.py."""

import subprocess
import sys


def test_a_signal_while_a_process_is_made_waits_until_it_is_known() -> None:
    """Between a fork and the name of its process nothing interrupts; afterwards the signal counts, once."""
    program = (
        "import os, signal\n"
        "from hermes_router.cli.demo.stage import Later\n"
        "try:\n"
        "    with Later():\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        print('known')\n"
        "    print('lost')\n"
        "except KeyboardInterrupt:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('obeyed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["known", "obeyed"]
