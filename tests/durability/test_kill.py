"""A server that is killed, again and again, while it receives."""

import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.senders import NotAccepted, Sender, data_set_of, data_set_with
from tests.servers import INCOMING, LOOPBACK, Server, ServerTestCase, wait_until

SEED = 20
ROUNDS = 20
SENDERS = 8
LONGEST_ROUND = 0.3  # seconds from the first acknowledgement to the kill
LARGEST = 1_200_000  # bytes of pixels: more than what is gathered before it is written


def data_set(uid: str) -> bytes:
    """Each instance has a content of its own, of any size: many are in the making for a while."""
    generator = random.Random(uid)
    return data_set_with(uid, generator.randbytes(2 * int(LARGEST * generator.random() ** 2 / 2)))


class Modality:
    """Sends one instance after the other; one that was not acknowledged is sent again, as modalities do."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.acknowledged: list[str] = []

    @property
    def _next(self) -> str:
        return f"1.2.{self._number}.{len(self.acknowledged)}"

    def send(self, server: Server, acknowledged: threading.Event) -> None:
        """Go on until the server is gone."""
        try:
            sender = Sender(server.address)
        except (OSError, NotAccepted):  # it was killed before it answered
            return
        try:
            while True:
                uid = self._next
                status = sender.store(data_set(uid), uid)
                assert status == 0x0000, f"{uid}: {status:04X}H"
                self.acknowledged.append(uid)
                acknowledged.set()
        except OSError:
            sender.close()


class KillTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(shutil.rmtree, self.directory)  # it is large
        self.modalities = [Modality(number) for number in range(SENDERS)]
        self.moments = random.Random(SEED)

    @property
    def stored(self) -> dict[str, bytes]:
        return {path.name: data_set_of(path) for path in self.directory.glob("[!.]*")}

    @property
    def temporaries(self) -> list[Path]:
        return list((self.directory / ".incoming").glob("*.part"))

    def started(self) -> Server:
        """A server that has removed, and told in one line, what the one before it has left."""
        left = len(self.temporaries)
        server = self.serve(LOOPBACK)
        told = f"W: Removed {left} temporary file(s) of an earlier run from {self.directory}/.incoming\n"
        self.assertEqual((told if left else "", []), (server.stderr, self.temporaries))
        return server

    def kill_while_receiving(self) -> int:
        """One round: how many instances were on their way."""
        server, acknowledged = self.started(), threading.Event()
        with ThreadPoolExecutor(SENDERS) as pool:
            sending = [pool.submit(each.send, server, acknowledged) for each in self.modalities]
            wait_until(lambda: acknowledged.is_set() or any(each.done() for each in sending), "an acknowledgement")
            time.sleep(self.moments.uniform(0, LONGEST_ROUND))
            self.assertTrue(server.running, server.stderr)
            server.signal(signal.SIGKILL)
            for each in sending:
                each.result()
        server.ended()
        return len(self.temporaries)

    def test_acknowledged_is_stored(self) -> None:
        """Whenever it is killed: all that was acknowledged is there byte for byte, and no other file is in part."""
        on_their_way = [self.kill_while_receiving() for _ in range(ROUNDS)]
        self.assertEqual((0, True), (self.started().stop().code, (self.directory / ".incoming" / "lock").exists()))
        acknowledged = {f"CT.{uid}" for each in self.modalities for uid in each.acknowledged}
        stored = self.stored
        self.assertEqual(set(), acknowledged - stored.keys())
        wrong = [name for name, content in stored.items() if content != data_set(name.removeprefix("CT."))]
        self.assertEqual([], wrong)
        self.assertEqual(sorted([*INCOMING, *stored]), self.left)
        # It was no idle server that was killed.
        self.assertGreater(len(acknowledged), 3 * ROUNDS)
        self.assertGreater(sum(on_their_way), ROUNDS // 4)
