"""build: pages as Sphinx makes them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.servers import ROOT

DIRECTIVES = f"import sys\n\nsys.path.append({str(ROOT / 'docs')!r})\n"  # for a conf.py


def build(builder: str, source: Path, out: Path) -> None:
    """AssertionError where it prints anything, as a warning would be; SkipTest where there is no Sphinx."""
    if importlib.util.find_spec("sphinx") is None:
        raise SkipTest("needs Sphinx")
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-W", "-q", "-d", f"{out}.trees", str(source), str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if (ended.returncode, ended.stdout, ended.stderr) != (0, "", ""):
        raise AssertionError(f"exit {ended.returncode}: {ended.stdout}{ended.stderr}")
