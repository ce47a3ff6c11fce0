"""A disk that takes 200 ms for every call."""

import sys
import time

from tests.hostile import ECHO_RSP, HOSTS, SECONDS, HostileTestCase
from tests.hostile.slow_disk import PAUSE
from tests.senders import c_store, data_set_of, data_set_with
from tests.servers import INCOMING, wait_until

SLOW = (sys.executable, "-m", "tests.hostile.slow_disk")
STORING = 5  # more than there are threads
SUCCESS = 0x0000


class SlowDiskTests(HostileTestCase):
    def test_echo_while_storing(self) -> None:
        """While five associations wait for the disk, whoever wants no disk is answered in good time."""
        server = self.serve(str(self.directory), command=SLOW)
        other = self.peer(server, seconds=SECONDS).associate()
        uids = [f"1.2.{number}" for number in range(STORING)]
        data_sets = {uid: data_set_with(uid, bytes(300_000)) for uid in uids}
        storing = [self.peer(server, host).associate() for host in HOSTS[:STORING]]
        began = time.monotonic()
        for peer, uid in zip(storing, uids, strict=True):
            peer.send(*c_store(data_sets[uid], uid))
        wait_until(lambda: self.left != INCOMING, "a temporary file")
        while any(peer.left_alone for peer in storing):
            self.assert_echoes(server, "127.0.0.9")
            self.assertEqual(ECHO_RSP, other.echo())
            time.sleep(0.05)
        self.assertEqual([SUCCESS] * STORING, [peer.status() for peer in storing])
        self.assertGreater(time.monotonic() - began, 10 * PAUSE)  # it was slow
        for peer in storing:
            peer.release()
        self.assertEqual(sorted([*INCOMING, *(f"CT.{uid}" for uid in uids)]), self.left)
        self.assertEqual(data_sets, {uid: data_set_of(self.directory / f"CT.{uid}") for uid in uids})
        self.assertEqual((0, ""), (server.stop().code, server.stderr))
