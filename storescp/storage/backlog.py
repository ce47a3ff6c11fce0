"""High-water marks: who hands over more than the disk takes, waits."""

from twisted.internet.defer import Deferred


class Backlog:
    """Bytes of memory that wait for the disk; from `high` on nobody should add to them, until `low` is reached."""

    def __init__(self, high: int, low: int) -> None:
        self._high = high
        self._low = low
        self._bytes = 0
        self._waiting: list[Deferred[None]] = []

    def add(self, cost: int) -> None:
        self._bytes += cost

    def remove(self, cost: int) -> None:
        self._bytes -= cost
        if self._bytes <= self._low and self._waiting:
            waiting, self._waiting = self._waiting, []
            for room in waiting:
                room.callback(None)

    def room(self) -> "Deferred[None] | None":
        """None while there is room, else what fires when there is some again."""
        if self._bytes <= self._high:
            return None
        room: Deferred[None] = Deferred()
        self._waiting.append(room)
        return room
