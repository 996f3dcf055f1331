from __future__ import annotations

import pkgutil
import subprocess
import sys

import optitrace.rules

ROOM = sorted(module.name for module in pkgutil.walk_packages(optitrace.rules.__path__, "optitrace.rules."))


def test_the_room_of_rules_imports_no_torch() -> None:
    program = f"import sys, {', '.join(ROOM)}\nprint('torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (finished.stdout, finished.stderr) == ("False\n", "")
