"""What a process and its children have used, from Linux's /proc.

Memory: of a process, the pages it has resident (VmRSS), and at its highest VmHWM, which is set back when the load
starts. A server that forks shares most pages with its children, so there each page counts by its share (Pss), the
processes are added up, and the highest of 20 samples a second is taken, which may miss a short peak.
"""

import contextlib
import os
import re
import threading
from pathlib import Path

import attrs

_TICKS = os.sysconf("SC_CLK_TCK")
_PERIOD = 0.05  # seconds
KIB = 1024


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        with contextlib.suppress(OSError):  # ended meanwhile
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of all of them, and of the children that have been waited for."""
    return sum(map(_cpu_of, tree(pid)))


def _cpu_of(pid: int) -> float:
    """A process's own time is counted in ticks, too coarse for a child that handles eight images; that of its threads
    in nanoseconds, but only while they live: the larger is the truth."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own, waited_for = (sum(map(int, fields[at : at + 2])) / _TICKS for at in (11, 13))  # proc(5) 14 to 17
        return max(own, _threads_cpu(pid)) + waited_for
    return 0.0


def _threads_cpu(pid: int) -> float:
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError, IndexError):  # ended meanwhile; or a kernel that does not count
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def _kib(path: str, name: str) -> int:
    """The value of a line as ``VmRSS:  1234 kB``; 0 where the process has ended."""
    with contextlib.suppress(OSError):
        line = re.search(rf"^{name}:\s+(\d+) kB", Path(path).read_text(), re.MULTILINE)
        return int(line[1]) if line else 0
    return 0


@attrs.define
class Memory:
    """Of the process `pid`, in bytes."""

    pid: int
    forks: bool
    _highest: int = attrs.field(default=0, init=False)
    _ended: threading.Event = attrs.field(factory=threading.Event, init=False)
    _sampler: threading.Thread | None = attrs.field(default=None, init=False)

    def now(self) -> int:
        if not self.forks:
            return KIB * _kib(f"/proc/{self.pid}/status", "VmRSS")
        return KIB * sum(_kib(f"/proc/{each}/smaps_rollup", "Pss") for each in tree(self.pid))

    def watch(self) -> None:
        """Let the peak count from now."""
        if self.forks:
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
            return
        with contextlib.suppress(OSError):  # where it may not be set back, the peak of the start counts too
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """The highest since `watch`, which ends with this."""
        if self._sampler is None:
            return KIB * _kib(f"/proc/{self.pid}/status", "VmHWM")
        self.end()
        self._sampler.join()
        return self._highest

    def end(self) -> None:
        """Take no more samples."""
        self._ended.set()

    def _sample(self) -> None:
        while True:
            self._highest = max(self._highest, self.now())
            if self._ended.wait(_PERIOD):
                return
