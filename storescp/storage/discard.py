"""DiscardStorage: takes everything and keeps nothing, for ``--ignore``."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from storescp.interfaces import IInstanceSink, IStorage, StoreRequest


@implementer(IInstanceSink)
class _DiscardSink:
    name = None

    def write(self, fragment: memoryview) -> "Deferred[Any] | None":
        return None

    def finish(self) -> "Deferred[Any]":
        return succeed(None)

    def abort(self) -> None:
        pass


@implementer(IStorage)
class DiscardStorage:
    """Success for every instance, nothing on the disk."""

    def start(self) -> None:
        pass

    def stop(self) -> "Deferred[None]":
        return succeed(None)

    def ready(self) -> bool:
        return True

    def open(self, request: StoreRequest) -> IInstanceSink:
        return _SINK


_SINK = _DiscardSink()
