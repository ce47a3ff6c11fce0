# mypy: allow-untyped-calls
"""What is told later is what would have been told at once."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from storescp.interfaces import AssociationObserver
from storescp.watch import later
from storescp.watch.later import Later


class Listener(AssociationObserver):
    """Writes down each event of two kinds, with the time that it is told to be."""

    def __init__(self, told: Later) -> None:
        self.events: list[Any] = []
        self._later = told

    def association_ended(self, association: Any) -> None:
        self.events.append((association, self._later.seconds(), self._later.now()))

    def connection_refused(self, peer: str, cause: str) -> None:
        self.events.append((peer, cause))
        if cause == "raise":
            raise ZeroDivisionError


class LaterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.later = Later(self.clock.seconds, lambda: 1_000_000 + self.clock.seconds())
        self.listener = Listener(self.later)
        self.later.listen(self.listener)

    def test_order(self) -> None:
        """Events are kept until they are wanted, and told in their order, each once."""
        told: Any = self.later
        for number in range(3):
            told.association_ended(number)
            told.connection_refused(f"peer {number}", "why")
        self.assertEqual([], self.listener.events)
        self.later.tell()
        self.later.tell()
        self.assertEqual(
            [event for number in range(3) for event in ((number, 0.0, 1_000_000.0), (f"peer {number}", "why"))],
            self.listener.events,
        )

    def test_times(self) -> None:
        """While one is told, both clocks show its time; before and after they show the time that it is."""
        told: Any = self.later
        for number in range(3):
            self.clock.advance(10)
            told.association_ended(number)
        self.clock.advance(10)
        self.assertEqual((40.0, 1_000_040.0), (self.later.seconds(), self.later.now()))
        self.later.tell()
        self.assertEqual([(0, 10.0, 1_000_010.0), (1, 20.0, 1_000_020.0), (2, 30.0, 1_000_030.0)], self.listener.events)
        self.assertEqual((40.0, 1_000_040.0), (self.later.seconds(), self.later.now()))

    def test_most(self) -> None:
        """No more than so many are kept: with the last of them all are told."""
        self.patch(later, "MOST", 3)
        told: Any = self.later
        for number in range(5):
            told.association_ended(number)
        self.assertEqual([0, 1, 2], [event[0] for event in self.listener.events])

    def test_nobody_listens(self) -> None:
        """What nobody listens to is not kept."""
        self.assertIs(AssociationObserver.message_sent, type(self.later).message_sent)
        self.assertNotIn("message_sent", vars(self.later))
        self.assertIn("association_ended", vars(self.later))

    def test_raises(self) -> None:
        """One that raises is logged once, and all that was kept is told all the same."""
        told: Any = self.later
        told.connection_refused("a", "raise")
        told.connection_refused("b", "raise")
        told.connection_refused("c", "why")
        self.later.tell()
        self.assertEqual(["a", "b", "c"], [event[0] for event in self.listener.events])
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
