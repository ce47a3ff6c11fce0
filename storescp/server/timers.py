"""The one place that calls `callLater`."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timer:
    """Calls `expired` once, `seconds` after the last `start`, unless stopped; never where `seconds` is None.

    `start` again and again is cheap: the delayed call stays where it is and finds out by itself, when it
    comes, how long there is still to wait.
    """

    def __init__(self, clock: IReactorTime, seconds: float | None, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._expired = expired
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self, since: float | None = None) -> None:
        """From now on, or from an earlier moment that is not before that of the last start."""
        if self._seconds is None:
            return
        now = self._clock.seconds()
        self._due = (now if since is None else since) + self._seconds
        if self._call is None:
            self._call = self._clock.callLater(max(self._due - now, 0), self._check)

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _check(self) -> None:
        self._call = None
        remaining = self._due - self._clock.seconds()
        if remaining > 0:
            self._call = self._clock.callLater(remaining, self._check)
        else:
            self._expired()
