"""A disk that is full, and then is not any more."""

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.senders import REJECTED_FOR_NOW, NotAccepted, Sender, data_set_of, data_set_with, send
from tests.servers import INCOMING, LOOPBACK, SCRIPT, ServerTestCase, files_in, wait_until

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700

KIB = 1024


MOUNT = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'


def on_small_disk(directory: Path) -> tuple[str, ...]:
    """What runs a command for which `directory` is a disk of 1 MiB, seen by nobody else and gone with it."""
    answers = []
    for options in ("--mount",), ("--user", "--map-root-user", "--mount"):
        command = ("unshare", *options, "sh", "-c", MOUNT, str(directory))
        try:
            tried = subprocess.run([*command, "true"], capture_output=True, check=False)
        except FileNotFoundError as error:
            raise SkipTest(f"nothing can be mounted here: {error}") from None
        if not tried.returncode:
            return command
        answers.append(tried.stderr.decode().strip())
    raise SkipTest(f"nothing can be mounted here: {'; '.join(answers)}")


def content(uid: str, size: int) -> bytes:
    """A data set of a little more than `size` bytes."""
    return data_set_with(uid, uid.encode("ascii") * (size // len(uid) // 2 * 2))


class FullDiskTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        received = self.directory / "received"
        received.mkdir()
        self.server = self.serve(LOOPBACK, "-od", str(received), command=(*on_small_disk(received), *SCRIPT))
        self.received = Path(f"/proc/{self.server.pid}/root{received}")  # as the server sees it
        self.expected: dict[str, bytes] = {}

    def store(self, sender: Sender, uid: str, size: int) -> int:
        """The status of an instance of `size` bytes; what is acknowledged is expected to stay."""
        data_set = content(uid, size)
        status = sender.store(data_set, uid)
        if status == SUCCESS:
            self.expected[f"CT.{uid}"] = data_set
        return status

    def store_each(self, sender: Sender, sizes: dict[str, int]) -> list[int]:
        return [self.store(sender, uid, size) for uid, size in sizes.items()]

    def assert_stored(self, *others: str) -> None:
        """What was acknowledged is there, and nothing else but `others`."""
        self.assertEqual(sorted([*INCOMING, *self.expected, *others]), files_in(self.received))
        for name, data_set in self.expected.items():
            self.assertEqual(data_set, data_set_of(self.received / name), name)

    def fill(self) -> Path:
        """A file that leaves no block free."""
        filler = self.received / "filler"
        with filler.open("wb", buffering=0) as file, self.assertRaises(OSError):
            while True:
                file.write(bytes(4 * KIB))
        status = os.statvfs(self.received)
        self.assertEqual(0, status.f_bavail)
        return filler

    def accepted(self) -> bool:
        """Whether one more instance is received, in an association of its own."""
        try:
            send(self.server.address)
        except NotAccepted as error:
            self.assertEqual(REJECTED_FOR_NOW, error.answer)
            return False
        return True

    def test_too_large(self) -> None:
        """What does not fit is refused with A700, what fits after it is stored, all in one association."""
        sender = Sender(self.server.address)
        sizes = {"1.1": 300 * KIB, "1.2": 300 * KIB, "1.3": 300 * KIB, "1.4": 300 * KIB, "1.5": 10 * KIB}
        self.assertEqual([SUCCESS] * 3 + [OUT_OF_RESOURCES, SUCCESS], self.store_each(sender, sizes))
        sizes = {"1.6": 2000 * KIB, "1.7": 200 * KIB, "1.8": 10 * KIB}
        self.assertEqual([OUT_OF_RESOURCES, OUT_OF_RESOURCES, SUCCESS], self.store_each(sender, sizes))
        sender.release()
        self.assert_stored()

    def test_full(self) -> None:
        """While there is no room at all associations are rejected; once there is some, all goes on as before."""
        sender = Sender(self.server.address)
        self.assertEqual(SUCCESS, self.store(sender, "1.1", 300 * KIB))
        filler = self.fill()
        sizes = {"1.2": 10 * KIB, "1.3": 300 * KIB, "1.4": 10 * KIB}
        self.assertEqual([OUT_OF_RESOURCES] * 3, self.store_each(sender, sizes))
        self.assertEqual([False, False, False], [self.accepted() for _ in range(3)])
        self.assertEqual(OUT_OF_RESOURCES, self.store(sender, "1.5", 10 * KIB))
        self.assert_stored("filler")

        filler.unlink()
        wait_until(self.accepted, "an association")
        self.assertEqual([SUCCESS] * 3, self.store_each(sender, sizes))
        sender.release()
        told = [line for line in self.server.stderr.splitlines() if "disk" in line]
        self.assertEqual(
            [
                "E: The disk has failed 3 times in a row: associations are rejected until it works",
                "W: The disk does not work yet: No space left on device",
                "W: The disk works again: associations are accepted",
            ],
            told,
        )
        (self.received / "CT.1.2.3.4.5.6").unlink()  # of the association that was accepted
        self.assert_stored()
        self.assertEqual(0, self.server.stop().code)
