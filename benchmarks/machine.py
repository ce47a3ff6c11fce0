"""What the figures were measured on."""

import os
import platform
import re
from pathlib import Path


def description(tmpfs: Path, disk: Path) -> str:
    return "\n".join(
        [
            f"{os.cpu_count()} cores, {_processor()}, {_memory()} GiB, Linux {platform.release()}, "
            f"Python {platform.python_version()}",
            f"tmpfs: {tmpfs} ({filesystem(tmpfs)}); disk: {disk} ({filesystem(disk)})",
        ]
    )


def _processor() -> str:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


def filesystem(directory: Path) -> str:
    """The type of the file system that it is on."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    of = {point: kind for point, kind in mounts}  # noqa: C416  # the last mount on a point hides the others
    path = directory.resolve()
    return next((of[str(each)] for each in (path, *path.parents) if str(each) in of), "unknown")
