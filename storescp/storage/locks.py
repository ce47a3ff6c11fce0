"""One at a time, in the order of coming. Who waits keeps no thread, and no Deferred."""

from collections import deque
from collections.abc import Callable


class Lock:
    """Belongs to one at a time."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self.taken = False
        self._handing_on = False  # to those that wait: in a loop, as many of them may be done at once

    def take(self, begin: Callable[[], None]) -> None:
        """Call `begin` when the lock belongs to the caller: at once, or when all that came before have released it."""
        if self.taken or self._handing_on:
            self._waiting.append(begin)
        else:
            self.taken = True
            begin()

    def leave(self, begin: Callable[[], None]) -> None:
        """Do not call `begin`, which waits."""
        self._waiting.remove(begin)

    @property
    def idle(self) -> bool:
        """Whether nobody has it, or waits for it."""
        return not (self.taken or self._waiting or self._handing_on)

    def release(self) -> None:
        self.taken = False
        if self._handing_on:
            return
        self._handing_on = True
        try:
            while self._waiting and not self.taken:
                self.taken = True
                self._waiting.popleft()()
        finally:
            self._handing_on = False


class NameLocks:
    """A lock for each name that is in use: until a name is known to be durable, nobody else may rely on it."""

    def __init__(self) -> None:
        self._locks: dict[str, Lock] = {}

    def take(self, name: str, begin: Callable[[], None]) -> None:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = Lock()
        lock.take(begin)

    def leave(self, name: str, begin: Callable[[], None]) -> None:
        self._locks[name].leave(begin)

    def release(self, name: str) -> None:
        lock = self._locks[name]
        lock.release()
        if lock.idle and self._locks.get(name) is lock:  # not forgotten yet by whom this has begun
            del self._locks[name]
