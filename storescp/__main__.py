"""``python -m storescp`` is ``storescp``."""

import sys

from storescp.program.main import run

if __name__ == "__main__":
    sys.exit(run())
