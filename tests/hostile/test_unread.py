"""Peers that do not read, or do not close."""

import sys
import time

from tests.hostile import ECHO_RQ, ECHO_RSP, HANGING, MIB, HostileTestCase, Peer, descriptors, kinds, memory
from tests.senders import RELEASE_RP, RELEASE_RQ
from tests.servers import LOOPBACK, Server, wait_until

UNREAD = 1  # seconds, in the place of 30
IMPATIENT = f"""
from storescp.program.main import run
from storescp.server import protocol
protocol.UNREAD = {UNREAD}
raise SystemExit(run())
"""

SMALL = 4096  # bytes of a socket's buffer
STUCK = 1.0  # seconds in which not even a thousand requests are taken
REQUESTS = 1_000_000  # at most; their answers are more than all buffers on the way take
MOST = 4 * MIB  # of memory for what is not read


class UnreadTests(HostileTestCase):
    def deaf(self, server: Server, until: type[OSError] = TimeoutError) -> Peer:
        """One that asks for echoes until nobody takes more of them, and has read no answer."""
        peer = self.peer(server, seconds=STUCK, receive_buffer=SMALL).associate()
        with self.assertRaises(until):
            peer.send(*[ECHO_RQ * 1000] * (REQUESTS // 1000))
        return peer

    def test_memory(self) -> None:
        """What is not read is bounded, others do not notice, and who reads again gets it."""
        server = self.serve(LOOPBACK)
        self.assert_echoes(server)
        before = memory(server, "VmHWM")
        deaf = self.deaf(server)
        self.assert_echoes(server)
        self.assertLess(memory(server, "VmHWM") - before, MOST)
        self.assertEqual(ECHO_RSP, deaf.receive())

    def test_cut_off(self) -> None:
        """Who reads nothing for some time is cut off."""
        server = self.serve(LOOPBACK, command=(sys.executable, "-c", IMPATIENT))
        base_line = descriptors(server)
        self.deaf(server, until=OSError)  # nobody takes more of them, or the connection has ended already
        wait_until(lambda: descriptors(server) == base_line, "the end of the connection", HANGING)
        log = {f"E: Association Aborted: the peer has not read what was sent to it for {UNREAD} s (TESTSCU at PEER)"}
        wait_until(lambda: kinds(server.stderr) == log, "the line of its end", HANGING)
        self.assert_echoes(server)

    def test_end(self) -> None:
        """A peer that reads nothing, not even the end, does not keep the program from ending."""
        server = self.serve(LOOPBACK)
        port = server.port
        self.deaf(server)
        ended = server.stop(seconds=HANGING)
        self.assertEqual((0, f"storescp: listening on port {port}\n"), (ended.code, ended.stdout))
        self.assertEqual({"E: Association Aborted: this server stops (TESTSCU at PEER)"}, kinds(ended.stderr))


class UnclosedTests(HostileTestCase):
    def test_after_release(self) -> None:
        """Who does not close after an A-RELEASE-RP is closed by us, after -ta."""
        server = self.serve(LOOPBACK, "-ta", "1")
        base_line = descriptors(server)
        peer = self.peer(server).associate()
        began = time.monotonic()
        peer.send(RELEASE_RQ)
        self.assertEqual(RELEASE_RP, peer.receive())
        self.assertEqual(b"", peer.rest())
        self.assertGreaterEqual(time.monotonic() - began, 1)
        wait_until(lambda: descriptors(server) == base_line, "the end of the connection", HANGING)
        self.assertEqual("", server.stderr)
