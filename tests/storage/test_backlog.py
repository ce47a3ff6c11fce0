"""High-water marks."""

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from storescp.storage.backlog import Backlog


class BacklogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backlog = Backlog(high=10, low=5)

    def test_marks(self) -> None:
        """Up to the high mark there is room; above it there is none before the low mark is reached."""
        self.backlog.add(10)
        self.assertIsNone(self.backlog.room())
        self.backlog.add(1)
        room = self.backlog.room()
        assert room is not None
        self.backlog.remove(5)
        self.assertNoResult(room)
        self.backlog.remove(1)
        self.assertIsNone(self.successResultOf(room))

    def test_all_who_wait(self) -> None:
        """Everybody who waits is let go on at once, each once."""
        self.backlog.add(11)
        rooms = [self.backlog.room() for _ in range(3)]
        self.backlog.remove(11)
        self.assertEqual([None] * 3, [room and self.successResultOf(room) for room in rooms])
        self.backlog.add(11)
        self.backlog.remove(11)

    def test_again(self) -> None:
        """Who comes above the high mark again waits again."""
        for _ in range(2):
            self.backlog.add(11)
            room = self.backlog.room()
            assert room is not None
            self.assertNoResult(room)
            self.backlog.remove(11)
            self.successResultOf(room)

    def test_cancelled(self) -> None:
        """Who has stopped waiting is nobody's trouble: the others are let go on, and later ones."""
        self.backlog.add(11)
        gone, room = self.backlog.room(), self.backlog.room()
        assert gone is not None
        assert room is not None
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.backlog.remove(11)
        self.assertIsNone(self.successResultOf(room))
