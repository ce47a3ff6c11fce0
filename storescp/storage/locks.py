"""One instance at a time for each name: until a name is known to be durable, nobody else may rely on it."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredLock

_P = ParamSpec("_P")
_T = TypeVar("_T")


class NameLocks:
    """A queue for each name that is in use. Who waits in one keeps no thread."""

    def __init__(self) -> None:
        self._locks: dict[str, DeferredLock] = {}

    def run(
        self, name: str, work: "Callable[_P, Deferred[_T]]", *args: "_P.args", **kwargs: "_P.kwargs"
    ) -> "Deferred[_T]":
        """Call `work` when all that came before it for `name` has fired; fires with what that fires."""
        lock = self._locks.setdefault(name, DeferredLock())
        return lock.run(work, *args, **kwargs).addBoth(self._forget, name, lock)

    def _forget(self, result: _T, name: str, lock: DeferredLock) -> _T:
        if not lock.locked and self._locks.get(name) is lock:
            del self._locks[name]
        return result
