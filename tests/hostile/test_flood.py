"""Peers that send as fast as they are read."""

import sys

from tests.hostile import ECHO_RQ, ECHO_RSP, HOSTS, HostileTestCase
from tests.hostile.flooder import FLOODS
from tests.servers import LOOPBACK, ROOT, Program, wait_until


class FloodTests(HostileTestCase):
    def test_burst(self) -> None:
        """Nearly all associations that there may be ask for many echoes in the same moment: another one has its own."""
        server = self.serve(LOOPBACK, "--ignore")
        peers = [self.peer(server, host).associate() for host in HOSTS[:4] for _ in range(62)]
        for peer in peers:
            peer.send(ECHO_RQ * 200)
        for _ in range(3):
            self.assert_echoes(server, HOSTS[5])
        self.assertEqual([ECHO_RSP * 200] * len(peers), [peer.receive_bytes(len(ECHO_RSP) * 200) for peer in peers])

    def test_echo(self) -> None:
        """One host has all the associations that it may have, and floods: another one has its echo within a second."""
        for kind in FLOODS:
            server = self.serve(LOOPBACK, "--ignore")
            command = (sys.executable, "-m", "tests.hostile.flooder", str(server.port))
            flooder = Program(kind, directory=str(ROOT), command=command)
            self.addCleanup(flooder.kill)
            wait_until(lambda flooder=flooder: "flooding" in flooder.stdout, kind)  # type: ignore[misc]
            for _ in range(5):
                self.assert_echoes(server)
            self.assertTrue(flooder.running, flooder.stderr)
            flooder.kill()
