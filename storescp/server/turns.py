"""Turns: those who have much to do wait for each other, so that nobody waits for them."""

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from storescp.server.timers import Timer

# Seconds of work for one peer: one read can bring a thousand requests.
GLANCE = 0.001  # when something has come, whatever comes from others in the same moment
TURN = 0.005  # when it is its turn; in sum for all whose turn it is


class Turns:
    """Calls back those who wait, in order, and in sum for no more than a turn until the reactor looks at all others."""

    def __init__(self, clock: IReactorTime) -> None:
        self.seconds = clock.seconds
        self._waiting: deque[Callable[[], None]] = deque()
        self._next = Timer(clock, 0, self._call)

    def wait(self, work: Callable[[], None]) -> None:
        """Call `work` when it is its turn."""
        self._waiting.append(work)
        self._next.start()

    def leave(self, work: Callable[[], None]) -> None:
        """Do not call `work` any more, if it waits."""
        if work in self._waiting:
            self._waiting.remove(work)
            if not self._waiting:
                self._next.stop()

    def _call(self) -> None:
        ends = self.seconds() + TURN
        try:
            while self._waiting:
                self._waiting.popleft()()
                if self.seconds() > ends:
                    break
        finally:
            if self._waiting:
                self._next.start()
