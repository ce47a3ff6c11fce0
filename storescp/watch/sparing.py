"""Sparing: of what happens again and again, some lines a minute."""

from collections.abc import Callable, Hashable

import attrs

MINUTE = 60.0  # seconds
LINES = 600  # a minute about the mistakes of one host
KINDS = 1024  # remembered at a time: who has many addresses must not cost memory for each of them


def host_of(peer: str) -> str:
    """Of an address as the log shows it, what all connections of a peer have in common."""
    return peer.rpartition(":")[0] or peer


@attrs.define
class _Minute:
    began: float
    lines: int = 0
    left_out: int = 0


class Sparing:
    """Says what is worth a line: `lines` of each kind a minute. `seconds` is a clock that nobody sets."""

    def __init__(self, seconds: Callable[[], float], lines: int) -> None:
        self._seconds = seconds
        self._lines = lines
        self._minutes: dict[Hashable, _Minute] = {}  # by kind, the oldest first

    def left_out(self, kind: Hashable) -> int | None:
        """How many of this kind were left out since the last one; None where this one is to be left out, too."""
        now = self._seconds()
        if kind not in self._minutes and not self._has_room(now):
            kind = None  # one for all who are too many
        minute = self._minutes.get(kind)
        left_out = minute.left_out if minute else 0
        if minute is None or now - minute.began >= MINUTE:
            self._minutes.pop(kind, None)  # it is the youngest now
            minute = self._minutes[kind] = _Minute(now)
        elif minute.lines == self._lines:
            minute.left_out += 1
            return None
        minute.lines += 1
        minute.left_out = 0
        return left_out

    def _has_room(self, now: float) -> bool:
        if len(self._minutes) < KINDS:
            return True
        oldest = next(iter(self._minutes))
        if now - self._minutes[oldest].began < MINUTE:
            return False
        del self._minutes[oldest]
        return True
