"""One thread at a time for each name: until a name is known to be durable, nobody else may rely on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class NameLocks:
    """A lock for each name that is in use."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Wait until nobody else holds `name`, and hold it inside the block."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._held)
            self._held.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(name)
                self._changed.notify_all()
