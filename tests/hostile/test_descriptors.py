"""A process that may have no more descriptors."""

import resource
import time

from tests.hostile import ECHO_RSP, HOSTS, HostileTestCase, Peer, kinds, processor_seconds
from tests.senders import NotAccepted
from tests.servers import LOOPBACK, SCRIPT, wait_until

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700

MOST = 48
# Of one second in which nobody does anything: one that asks again and again for a descriptor takes all of it.
IDLE = 0.25

WHILE_FEW = ("sh", "-c", f'ulimit -n {MOST} && exec "$@"', "sh")
TOLD = {
    "E: Storing 1.2.3.4.5.6 from TESTSCU at PEER failed: Too many open files; answered 0xA700 (Out of Resources)",
    "E: The disk has failed 3 times in a row: associations are rejected until it works",
}


class DescriptorsTests(HostileTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(LOOPBACK, "--max-unassociated", "200")

    def allow(self, descriptors: int) -> None:
        """Let the process have so many from now on, whatever it was allowed at its start."""
        _, hard = resource.prlimit(self.server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.server.pid, resource.RLIMIT_NOFILE, (descriptors, hard))

    def exhaust(self) -> list[Peer]:
        """Connections that say nothing, more than there are descriptors for."""
        peers = [self.peer(self.server, HOSTS[number % len(HOSTS)]) for number in range(MOST + 10)]
        wait_until(lambda: not all(peer.left_alone for peer in peers), "the last descriptor")
        return peers

    def test_exhaustion(self) -> None:
        """Without descriptors it is idle and serves those that it has; when there are some again, it is as before."""
        associated = [self.peer(self.server, host).associate() for host in HOSTS[:3]]
        self.assertEqual([SUCCESS] * 3, self.store(associated))
        self.allow(MOST)
        idle = self.exhaust()
        before = processor_seconds(self.server)
        time.sleep(1)
        self.assertLess(processor_seconds(self.server) - before, IDLE)
        self.assertEqual([ECHO_RSP] * 3, [peer.echo() for peer in associated])
        for _ in range(3):
            statuses = self.store(associated)
            self.assertLessEqual(set(statuses), {SUCCESS, OUT_OF_RESOURCES})
        for peer in idle:
            peer.close()
        wait_until(self.is_served, "an association that is served")
        self.assertEqual([SUCCESS] * 3, self.store(associated))
        for peer in associated:
            peer.release()
        self.assertEqual(0, self.server.stop().code)
        self.assertEqual(TOLD, {line for line in kinds(self.server.stderr) if line.startswith("E: ")})

    def store(self, peers: list[Peer]) -> list[int]:
        return [peer.store() for peer in peers]

    def is_served(self) -> bool:
        """Whether there is a new association, whose instance then must be stored."""
        try:
            peer = self.peer(self.server).associate()
        except NotAccepted:
            return False
        self.assertEqual(SUCCESS, peer.store())
        peer.release()
        return True


class FewDescriptorsTests(HostileTestCase):
    def test_idle_connections(self) -> None:
        """Where few are allowed from the start, it says so, and idle connections keep nobody out all the same."""
        server = self.serve(LOOPBACK, command=(*WHILE_FEW, *SCRIPT))
        idle = [self.peer(server, HOSTS[number % len(HOSTS)]) for number in range(MOST + 10)]
        wait_until(lambda: sum(peer.left_alone for peer in idle) <= 4, "all evictions")
        for host in HOSTS:
            self.assert_echoes(server, host)
        self.assertEqual(SUCCESS, self.peer(server).associate().store())
        self.assertEqual(
            "W: 48 file descriptors are allowed (ulimit -n), 672 may be needed: there will be no more than 6 "
            "associations (--max-associations) and 4 other connections (--max-unassociated)",
            server.stderr.splitlines()[0],
        )
