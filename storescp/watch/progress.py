"""Progress: of each instance, how long it took to come and to become safe, and what became of it."""

import time
from collections.abc import Callable

import attrs

from storescp.errors import Status, StoreFailure
from storescp.interfaces import Association, AssociationObserver, StoreRequest


@attrs.define
class Outcome:
    """How an instance has ended. Times are seconds, and None where it did not come so far."""

    began: float
    status: int | None = None  # that it was answered with; None of one that was cut off
    size: int = 0  # bytes of its data set, where all of it came
    received: float | None = None  # when that was
    receive: float | None = None  # until all of it had come
    sync: float | None = None  # from then until it was safe


Listener = Callable[[Association, StoreRequest, Outcome], None]


class Progress(AssociationObserver):
    """Tells `listeners` the outcome of each instance. `seconds` is a clock that nobody sets."""

    def __init__(self, *listeners: Listener, seconds: Callable[[], float] = time.monotonic) -> None:
        self.waiting = 0  # instances that have come and are not yet answered
        self._listeners = listeners
        self._seconds = seconds
        # By identity, which is quick, and cannot be taken by another meanwhile: whoever serves the request keeps it.
        self._under_way: dict[int, Outcome] = {}

    def instance_opened(self, association: Association, request: StoreRequest, name: str | None) -> None:
        self._under_way[id(request)] = Outcome(self._seconds())

    def instance_received(self, association: Association, request: StoreRequest, size: int) -> None:
        outcome = self._under_way[id(request)]
        outcome.size = size
        outcome.received = self._seconds()
        outcome.receive = outcome.received - outcome.began
        self.waiting += 1

    def instance_stored(self, association: Association, request: StoreRequest, size: int) -> None:
        self._ended(association, request, Status.SUCCESS)

    def instance_refused(self, association: Association, request: StoreRequest, failure: StoreFailure) -> None:
        self._ended(association, request, failure.status)

    def instance_dropped(self, association: Association, request: StoreRequest, cause: str) -> None:
        self._ended(association, request, None)

    def _ended(self, association: Association, request: StoreRequest, status: int | None) -> None:
        outcome = self._under_way.pop(id(request), None) or Outcome(self._seconds())  # of one that nobody would open
        outcome.status = status
        if outcome.received is not None:
            self.waiting -= 1
            if status == Status.SUCCESS:
                outcome.sync = self._seconds() - outcome.received
        for listener in self._listeners:
            listener(association, request, outcome)
