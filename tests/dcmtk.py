"""The clients of DCMTK."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest


def run_client(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end, a minute at most. SkipTest where it is not installed."""
    # pynetdicom installs programs of the same names beside our Python.
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join(each for each in os.get_exec_path() if each != beside)
    program = shutil.which(name, path=path)
    if program is None:
        raise SkipTest(f"DCMTK's {name} is not installed")
    return subprocess.run(
        [program, *map(str, arguments)],
        env={**os.environ, "TCP_NODELAY": "1"},  # Debian's waits 40 ms before each data set else
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
