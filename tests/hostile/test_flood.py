"""Peers that send as fast as they are read."""

import sys

from tests.hostile import HostileTestCase
from tests.hostile.flooder import FLOODS
from tests.servers import ROOT, Program, wait_until


class FloodTests(HostileTestCase):
    def test_echo(self) -> None:
        """One host has all the associations that it may have, and floods: another one has its echo within a second."""
        for kind in FLOODS:
            server = self.serve("0", "--ignore")
            command = (sys.executable, "-m", "tests.hostile.flooder", str(server.port))
            flooder = Program(kind, directory=str(ROOT), command=command)
            self.addCleanup(flooder.kill)
            wait_until(lambda flooder=flooder: "flooding" in flooder.stdout, kind)  # type: ignore[misc]
            for _ in range(5):
                self.assert_echoes(server)
            self.assertTrue(flooder.running, flooder.stderr)
            flooder.kill()
