"""Turns: who has much to do waits, and in sum those who wait do not take more than a turn at a time."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from storescp.server.turns import TURN, Turns
from tests.clocks import BusyClock
from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    DATA,
    DATA_SET,
    ECHO,
    ECHO_RQ,
    ECHOED,
    LAST_COMMAND,
    LAST_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    STORE_COMMAND,
    STORED,
    Peer,
    ServerTestCase,
    p_data,
    pdv,
)


class WorkingClock(BusyClock):
    """One that goes on as a reactor does."""

    def next_round(self) -> None:
        """What a reactor does: the calls that are due, but not those that they schedule."""
        for call in [each for each in self.calls if each.getTime() <= self.rightNow]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = WorkingClock()
        self.turns = Turns(self.clock)
        self.done: list[str] = []

    def work(self, name: str, seconds: float) -> Callable[[], None]:
        def work() -> None:
            self.done.append(name)
            self.clock.rightNow += seconds

        return work

    def next_round(self) -> list[str]:
        """What is done until the reactor looks at others again."""
        self.done.clear()
        self.clock.next_round()
        return self.done.copy()

    def test_order(self) -> None:
        """Who waits is called once, in order, and not before the reactor has looked at all others."""
        for name in ("a", "b", "c"):
            self.turns.wait(self.work(name, 0))
        self.assertEqual([], self.done)
        self.assertEqual((["a", "b", "c"], []), (self.next_round(), self.clock.getDelayedCalls()))

    def test_sum(self) -> None:
        """They share one turn: those for whom there is no time left come first in the next."""
        for name in ("a", "b", "c", "d", "e"):
            self.turns.wait(self.work(name, TURN * 0.6))
        self.assertEqual([["a", "b"], ["c", "d"], ["e"]], [self.next_round() for _ in range(3)])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_again(self) -> None:
        """Who waits again meanwhile waits behind the others."""
        self.turns.wait(lambda: self.turns.wait(self.work("again", 0)))
        self.turns.wait(self.work("other", TURN * 2))
        self.assertEqual([["other"], ["again"], []], [self.next_round() for _ in range(3)])

    def test_leave(self) -> None:
        """Who leaves is not called, whether others wait or not; to leave without waiting is no mistake."""
        work, other = self.work("a", 0), self.work("b", 0)
        self.turns.leave(work)
        self.turns.wait(work)
        self.turns.leave(work)
        self.assertEqual([], self.clock.getDelayedCalls())
        for each in (work, other):
            self.turns.wait(each)
        self.turns.leave(work)
        self.assertEqual(["b"], self.next_round())


class PeerTests(ServerTestCase):
    """A peer that sends more at once than there is time for."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = self.working = WorkingClock()

    def busy(self) -> Peer:
        """An association with a server for which two things are a turn."""
        peer = self.associated()
        self.working.step = 0.6 * TURN
        self.addCleanup(setattr, self.working, "step", 0.0)
        return peer

    def rounds(self, peer: Peer) -> list[bytes]:
        """What is heard between two looks of the reactor at others, until nothing waits any more."""
        heard = []
        while peer.transport.producerState == "paused":
            self.working.next_round()
            heard.append(peer.heard())
        return heard

    def test_pdus(self) -> None:
        """What there is time for is answered; meanwhile nothing more is read, and then it goes on by itself."""
        peer = self.busy()
        self.assertEqual((ECHOED, "paused"), (peer.write(ECHO * 5), peer.transport.producerState))
        self.assertEqual([ECHOED * 2, ECHOED * 2], self.rounds(peer))

    def test_in_one_pdu(self) -> None:
        """So it is with messages that come in one PDU."""
        peer = self.busy()
        echoes = p_data(*[pdv(1, LAST_COMMAND, ECHO_RQ)] * 3)
        self.assertEqual((ECHOED, "paused"), (peer.write(echoes + RELEASE_RQ), peer.transport.producerState))
        self.assertEqual(ECHOED * 2 + RELEASE_RP, b"".join(self.rounds(peer)))

    def test_data_set(self) -> None:
        """An instance that takes many turns is whole."""
        peer = self.busy()
        fragments = [pdv(3, DATA, DATA_SET)] * 5
        heard = peer.write(STORE_COMMAND + p_data(*fragments) + p_data(*fragments, pdv(3, LAST_DATA, DATA_SET)))
        self.assertEqual(STORED, heard + b"".join(self.rounds(peer)))
        self.assertEqual([DATA_SET * 11], [sink.data for sink in self.storage.sinks])

    def test_request(self) -> None:
        """Nobody is rejected for want of time."""
        peer = self.peer()
        self.working.step = 0.6 * TURN
        heard = peer.write(ASSOCIATE_RQ + ECHO + RELEASE_RQ)
        self.assertEqual(ASSOCIATE_AC + ECHOED + RELEASE_RP, heard + b"".join(self.rounds(peer)))
        self.working.step = 0.0

    def test_lost(self) -> None:
        """Of a connection that is lost while it waits nothing is left."""
        peer = self.busy()
        peer.write(ECHO * 3)
        peer.disconnect()
        self.assertEqual(([], b""), (self.clock.getDelayedCalls(), peer.heard()))

    def test_aborted(self) -> None:
        """What has come before an association ended, and was not yet looked at, is not looked at any more."""
        peer = self.busy()
        peer.write(p_data(*[pdv(1, LAST_COMMAND, ECHO_RQ)] * 3))
        peer.protocol.abort("for a test")
        self.assertEqual(ABORT, peer.heard() + b"".join(self.rounds(peer)))
        self.assertEqual(1, self.observer.names.count("message_received"))

    def test_timers(self) -> None:
        """The time in which a peer waits for its turn does not count as its silence."""
        peer = self.peer(dimse_timeout=10, timeout=10)
        peer.write(ASSOCIATE_RQ)
        self.working.step = 0.6 * TURN
        peer.write(STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET)))
        self.working.step = 0.0
        self.assertEqual("paused", peer.transport.producerState)
        self.clock.rightNow += 100  # the reactor is busy elsewhere
        self.clock.advance(0)
        self.assertEqual("producing", peer.transport.producerState)
        self.assertEqual(STORED, peer.write(p_data(pdv(3, LAST_DATA, DATA_SET)))[-len(STORED) :])
