"""Two servers, one directory."""

import signal

from tests.senders import DATA_SET, Sender, c_store, data_set_of, data_set_with
from tests.servers import INCOMING, LOOPBACK, SCRIPT, TWISTD, Ended, ServerTestCase, wait_until


class SecondServerTests(ServerTestCase):
    @property
    def refusal(self) -> str:
        return (
            f"storescp: error: output directory {self.directory}: another storescp stores there: "
            "stop that one, or choose another directory\n"
        )

    def test_refused(self) -> None:
        """The second one ends with a clear line and takes nothing from the first, which goes on with what it has."""
        data_set = data_set_with("1.2.3", bytes(900_000))
        first = self.serve(LOOPBACK)
        sender = Sender(first.address)
        *before, last = c_store(data_set, "1.2.3")
        sender.send(*before)
        wait_until(lambda: self.left != INCOMING, "a temporary file")
        left = self.left

        second, twistd = (self.run_program("--port=0", command=command) for command in (SCRIPT, TWISTD))
        self.assertEqual(Ended(1, "", self.refusal), second.ended())
        ended = twistd.ended()
        self.assertEqual((1, True, ""), (ended.code, ended.stdout.endswith(f" {self.refusal}"), ended.stderr), ended)
        self.assertEqual(left, self.left)

        sender.send(last)
        self.assertEqual(0x0000, sender.status())
        self.assertEqual(0x0000, sender.store())
        sender.release()
        self.assertEqual(0, first.stop().code)
        self.assertEqual([*INCOMING, "CT.1.2.3", "CT.1.2.3.4.5.6"], self.left)
        self.assertEqual(data_set, data_set_of(self.directory / "CT.1.2.3"))
        self.assertEqual(DATA_SET, data_set_of(self.directory / "CT.1.2.3.4.5.6"))

    def test_after_the_first(self) -> None:
        """It starts as soon as the first one is gone, however that was ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            server = self.serve(LOOPBACK)
            server.signal(number)
            server.ended()
        self.assertEqual("", self.serve(LOOPBACK).stderr)
