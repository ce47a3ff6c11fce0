"""Doubles for what an embedder gives to a Storage SCP; each writes down what it is told."""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from storescp.interfaces import (
    Association,
    AssociationObserver,
    IAssociationObserver,
    IInstanceSink,
    IStorage,
    StoreRequest,
)

Event = tuple[Any, ...]


class RecordingObserver(AssociationObserver):
    """Keeps each event with its arguments; associations apart from them, as they are compared by identity."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.associations: list[Association] = []
        for name in IAssociationObserver:
            setattr(self, name, partial(self._record, name))

    def _record(self, name: str, *arguments: Any) -> None:
        self.associations += [each for each in arguments if isinstance(each, Association)]
        self.events.append((name, *(each for each in arguments if not isinstance(each, Association))))

    @property
    def names(self) -> list[str]:
        return [event[0] for event in self.events]


@implementer(IInstanceSink)
class RecordingSink:
    """Keeps the bytes it is given, and how it ended. A test sets what `write`, `finish` and `abort` do."""

    name = "recorded"

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[str] = []
        self.room: Deferred[Any] | None = None  # what the next write returns
        self.write_error: Exception | None = None
        self.finish_error: Exception | None = None
        self.abort_error: Exception | None = None
        self.finished: Deferred[Any] = succeed(None)
        self.dropped: Deferred[Any] | None = None  # what abort returns

    def write(self, fragment: memoryview) -> "Deferred[Any] | None":
        if self.write_error:
            raise self.write_error
        self.data += fragment
        room, self.room = self.room, None
        return room

    def finish(self) -> "Deferred[Any]":
        self.ends.append("finish")
        if self.finish_error:
            raise self.finish_error
        return self.finished

    def abort(self) -> "Deferred[Any] | None":
        self.ends.append("abort")
        if self.abort_error:
            raise self.abort_error
        return self.dropped


@implementer(IStorage)
class RecordingStorage:
    """Hands out the sinks in `prepared`, and plain ones after them."""

    def __init__(self, *prepared: RecordingSink) -> None:
        self.calls: list[str] = []
        self.requests: list[StoreRequest] = []
        self.sinks: list[RecordingSink] = []
        self.is_ready = True
        self.start_error: Exception | None = None
        self.open_error: Exception | None = None
        self.stopped: Deferred[None] = succeed(None)
        self._prepared = list(prepared)

    def start(self) -> None:
        self.calls.append("start")
        if self.start_error:
            raise self.start_error

    def stop(self) -> "Deferred[None]":
        self.calls.append("stop")
        return self.stopped

    def ready(self) -> bool:
        return self.is_ready

    def open(self, request: StoreRequest) -> IInstanceSink:
        self.requests.append(request)
        if self.open_error:
            raise self.open_error
        self.sinks.append(self._prepared.pop(0) if self._prepared else RecordingSink())
        return self.sinks[-1]
