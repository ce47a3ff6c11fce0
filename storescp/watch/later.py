"""Later: tells observers what has happened when there is time for it, as if it was told at once."""

import time
from collections.abc import Callable
from functools import partial

from storescp.interfaces import AssociationObserver, IAssociationObserver
from storescp.server.observers import Observers, listens

MOST = 4096  # events that are kept


class Later(AssociationObserver):
    """Keeps events, which takes a tenth of what observers make of them, until `tell`.

    What looks a little at each event takes long where it is done between two instances, as neither code nor data are in
    the caches of the processor then; done for hundreds of them in a row it does not. To those who are told, `seconds`
    and `now` are the time of the event: the first a clock that nobody sets, the second the time of day.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._now = now
        self._kept: list[tuple[float, str, tuple[object, ...]]] = []
        self._of_event: float | None = None  # the time of the one that is being told
        self._observers = Observers(())

    def listen(self, *observers: IAssociationObserver) -> None:
        """Tell these. Called once, before anything happens."""
        self._observers = Observers(observers)
        for event in IAssociationObserver:
            if any(listens(each, event) for each in observers):
                setattr(self, event, partial(self._keep, event))

    def _keep(self, event: str, *arguments: object) -> None:
        self._kept.append((self._seconds(), event, arguments))
        if len(self._kept) >= MOST:
            self.tell()

    def tell(self) -> None:
        """Tell what has happened so far."""
        kept, self._kept = self._kept, []
        for self._of_event, event, arguments in kept:
            self._observers.tell(event, *arguments)
        self._of_event = None

    def seconds(self) -> float:
        return self._seconds() if self._of_event is None else self._of_event

    def now(self) -> float:
        return self._now() - (self._seconds() - self.seconds())
