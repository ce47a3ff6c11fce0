"""More associations than there is room for."""

import re
import signal
import sys
from collections.abc import Callable

from tests.hostile import HOSTS, HostileTestCase, Peer
from tests.senders import RELEASE_RP, RELEASE_RQ, NotAccepted, Sender
from tests.servers import LOOPBACK, Program, wait_until

LIMIT_EXCEEDED = bytes.fromhex("03 00 00000004 00 02 03 02")  # transient, by the presentation: local limit exceeded

A, B, C = HOSTS[:3]
CLIENT = """
import sys
from tests.senders import Sender
sender = Sender(("127.0.0.1", int(sys.argv[1])))
print("associated", flush=True)
sender.receive()
"""

ENDS: tuple[Callable[[Sender], None], ...] = (Sender.release, Sender.abort, Sender.reset, Sender.close)


class AssociationsTests(HostileTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(LOOPBACK, "--max-associations", "5", "--max-associations-per-peer", "3", "-ta", "1")

    def associated(self, host: str) -> Peer:
        return self.peer(self.server, host).associate()

    def refused(self, host: str) -> bytes:
        """What one association too many is answered with."""
        peer = self.peer(self.server, host)
        with self.assertRaises(NotAccepted) as raised:
            peer.associate()
        peer.close()
        return raised.exception.answer

    def is_room(self, host: str, peers: list[Peer]) -> bool:
        """Whether there is one more association now; it is added to `peers`."""
        try:
            peers.append(self.associated(host))
        except NotAccepted as error:
            self.assertEqual(LIMIT_EXCEEDED, error.answer)
            return False
        return True

    def test_of_one_host(self) -> None:
        """The fourth one of a host is rejected for now, another host's is not, and those that are open go on."""
        peers = [self.associated(A) for _ in range(3)]
        self.assertEqual(LIMIT_EXCEEDED, self.refused(A))
        self.assert_echoes(self.server, B)
        self.assertEqual([0x0000] * 3, [peer.store() for peer in peers])

    def test_of_all(self) -> None:
        """The sixth one is rejected for now, whoever asks."""
        peers = [self.associated(host) for host in (A, A, A, B, B)]
        self.assertEqual([LIMIT_EXCEEDED] * 3, [self.refused(host) for host in (A, B, C)])
        self.assertEqual([0x0000] * 5, [peer.store() for peer in peers])

    def test_room_again(self) -> None:
        """However one of them ends, there is room for exactly one more."""
        peers = [self.associated(A) for _ in range(3)]
        for end in ENDS:
            end(peers.pop(0))
            wait_until(lambda: self.is_room(A, peers), f"room after {end.__name__}")
            self.assertEqual((3, LIMIT_EXCEEDED), (len(peers), self.refused(A)))
        self.assertEqual([0x0000] * 3, [peer.store() for peer in peers])

    def test_unclosed(self) -> None:
        """Who releases the association and does not close the connection has the place for no longer than -ta."""
        peers = [self.associated(A) for _ in range(3)]
        unclosed = peers.pop(0)
        unclosed.send(RELEASE_RQ)
        self.assertEqual(RELEASE_RP, unclosed.receive())
        wait_until(lambda: self.is_room(A, peers), "room")
        self.assertEqual((3, LIMIT_EXCEEDED), (len(peers), self.refused(A)))

    def test_killed(self) -> None:
        """There is room again when the process at the other end is killed."""
        client = self.run_program(str(self.server.port), command=(sys.executable, "-c", CLIENT))
        self.wait_until_associated(client)
        peers = [self.associated(A) for _ in range(2)]
        self.assertEqual(LIMIT_EXCEEDED, self.refused(A))
        client.signal(signal.SIGKILL)
        wait_until(lambda: self.is_room(A, peers), "room after a kill")
        self.assertEqual(LIMIT_EXCEEDED, self.refused(A))

    def wait_until_associated(self, client: Program) -> None:
        wait_until(lambda: client.stdout == "associated\n" or not client.running, "an association")
        self.assertTrue(client.running, client.stderr)

    def test_told_once(self) -> None:
        """However often it happens, the log says so once for each limit and host, and the end is one in order."""
        peers = [self.associated(A) for _ in range(3)]
        of_one_host = [self.refused(A) for _ in range(20)]
        peers += [self.associated(B) for _ in range(2)]
        of_all = [self.refused(host) for _ in range(10) for host in (B, C)]
        self.assertEqual({LIMIT_EXCEEDED}, {*of_one_host, *of_all})
        for peer in peers:
            peer.release()
        ended = self.server.stop()
        told = [
            f"W: An association of TESTSCU at {host}:PORT is rejected: {cause}"
            for host, cause in (
                (A, "3 associations with this host are open (--max-associations-per-peer)"),
                (B, "5 associations are open (--max-associations)"),
                (C, "5 associations are open (--max-associations)"),
            )
        ]
        self.assertEqual((0, told), (ended.code, re.sub(r"(?<=\d:)\d+", "PORT", ended.stderr).splitlines()))
