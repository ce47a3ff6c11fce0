"""Connections that say nothing, or not enough."""

import contextlib
import time

from tests.hostile import ASSOCIATE_RQ, ECHO_RSP, HANGING, HOSTS, HostileTestCase, Peer
from tests.senders import data_set_with, send
from tests.servers import INCOMING, LOOPBACK, Server, wait_until

OF_A_KIND = 50
UNASSOCIATED = 64  # the default of --max-unassociated
ROUNDS = 10
REJECTED = bytes.fromhex("03 00 00000004 00 01 01 02")  # for good, by the service user: application context name
AMID = len(ASSOCIATE_RQ) // 2


class Dribbler:
    """Sends a valid A-ASSOCIATE-RQ, one byte each time it is asked to, but for the last one."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._left = list(ASSOCIATE_RQ[:-1])

    def dribble(self) -> None:
        with contextlib.suppress(ConnectionError):  # it may have been evicted
            self._peer.send(bytes([self._left.pop(0)]))


class SilentTests(HostileTestCase):
    def silent(self, server: Server, count: int, received: bytes = b"") -> list[Peer]:
        """Connections from eight hosts that have sent so much and then say nothing."""
        peers = [self.peer(server, HOSTS[number % len(HOSTS)]) for number in range(count)]
        for peer in peers:
            peer.send(received)
        return peers

    def test_nobody_is_kept_out(self) -> None:
        """200 silent ones: echoes and stores go on in good time, of those without an association 64 stay."""
        server = self.serve(LOOPBACK)
        associated = [peer.associate() for peer in self.silent(server, OF_A_KIND)]
        mute, amid, slow = (self.silent(server, OF_A_KIND, sent) for sent in (b"", ASSOCIATE_RQ[:AMID], b""))
        unassociated = mute + amid + slow
        wait_until(lambda: sum(peer.left_alone for peer in unassociated) == UNASSOCIATED, "the eviction of the others")
        dribblers = [Dribbler(peer) for peer in slow]
        for number in range(ROUNDS):
            for dribbler in dribblers:
                dribbler.dribble()
            self.assert_echoes(server, HOSTS[number % len(HOSTS)])  # one of those that have silent ones
            self.assert_echoes(server, "127.0.0.9")  # and one that has none
            send(server.address, data_set_with(f"1.2.{number}"), f"1.2.{number}")
        self.assertLessEqual(sum(peer.left_alone for peer in unassociated), UNASSOCIATED)
        self.assertEqual([True] * OF_A_KIND, [peer.left_alone for peer in associated])
        self.assertEqual({b""}, {peer.rest() for peer in unassociated if not peer.left_alone})
        self.assertEqual(sorted([*INCOMING, *(f"CT.1.2.{number}" for number in range(ROUNDS))]), self.left)

    def test_oldest_first(self) -> None:
        """The one that goes is the oldest of the host that has most: one host's crowd leaves another's alone."""
        server = self.serve(LOOPBACK, "--max-unassociated", "4")
        other = self.peer(server, HOSTS[1])
        crowd = [self.peer(server) for _ in range(8)]
        wait_until(lambda: sum(peer.left_alone for peer in crowd) == 3, "the eviction of the others")
        self.assertEqual([False] * 5 + [True] * 3, [peer.left_alone for peer in crowd])
        self.assertTrue(other.left_alone)
        self.assertEqual(ECHO_RSP, other.associate().echo())

    def test_rejected(self) -> None:
        """Who was rejected and does not close counts as one without an association, too."""
        server = self.serve(LOOPBACK, "--max-unassociated", "4")
        peers = []
        for _ in range(8):
            peers.append(self.peer(server))
            peers[-1].send(ASSOCIATE_RQ.replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.9"))
            self.assertEqual(REJECTED, peers[-1].receive())
        wait_until(lambda: sum(peer.left_alone for peer in peers) == 4, "the eviction of the others")
        self.assertEqual([False] * 4 + [True] * 4, [peer.left_alone for peer in peers])
        self.assert_echoes(server)

    def test_deadline(self) -> None:
        """-ta ends all of them, those that dribble too: it is a deadline, not a pause."""
        server = self.serve(LOOPBACK, "-ta", "1")
        began = time.monotonic()
        mute, amid, slow = (self.silent(server, 4, sent) for sent in (b"", ASSOCIATE_RQ[:AMID], b""))
        dribblers = [Dribbler(peer) for peer in slow]
        while any(peer.left_alone for peer in slow):
            self.assertLess(time.monotonic() - began, HANGING)
            for dribbler in dribblers:
                dribbler.dribble()
            time.sleep(0.02)
        self.assertEqual([b""] * 12, [peer.rest() for peer in mute + amid + slow])
        self.assertGreaterEqual(time.monotonic() - began, 1)
        told = "ended without an association: no A-ASSOCIATE-RQ within 1 s (-ta)\n"
        self.assertEqual(12, server.stderr.count(told))
        self.assert_echoes(server)
