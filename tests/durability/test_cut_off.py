"""Senders that are gone in the middle of what they say."""

from collections.abc import Callable

from tests.senders import Sender, c_store, data_set_of, data_set_with, send
from tests.servers import INCOMING, LOOPBACK, ServerTestCase, wait_until

FRAGMENT = 131_066  # bytes: with the PDV's head just a PDU of the largest maximum length
PIXELS = bytes(range(256)) * 3400  # seven such PDUs, and one for the command
IN_A_FILE = 7  # PDUs of it, the last one in part, after which some of it is in a file

ENDS: tuple[Callable[[Sender], None], ...] = (Sender.close, Sender.reset, Sender.abort)


class CutOffTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(LOOPBACK, "-pdu", "131072")
        self.ended = 0

    @property
    def incoming(self) -> list[str]:
        return [name for name in self.left if name.startswith(".incoming")]

    @property
    def stored(self) -> list[str]:
        return [name for name in self.left if not name.startswith(".incoming")]

    def begin(self, pdus: list[bytes]) -> Sender:
        """Send so much, and see to it that a file has been begun where there is something to be in it."""
        sender = Sender(self.server.address)
        sender.send(*pdus)
        if len(pdus) >= IN_A_FILE:
            wait_until(lambda: self.incoming != INCOMING or bool(self.stored), "a file")
        return sender

    def wait_until_noticed(self) -> None:
        """Until the server has told of one more association that was aborted."""
        self.ended += 1
        wait_until(lambda: self.server.stderr.count("E: Association Aborted: ") == self.ended, "an association's end")

    def assert_served(self, uid: str) -> None:
        """A sender gets what it wants, and then nothing but its instance is here."""
        send(self.server.address, data_set_with(uid), uid)
        self.assertEqual((INCOMING, [f"CT.{uid}"]), (self.incoming, self.stored))
        (self.directory / f"CT.{uid}").unlink()

    def test_in_part(self) -> None:
        """Wherever a sender is cut off, and however: nothing of its instance is left, and the next one is served."""
        pdus = c_store(data_set_with("1.2.3", PIXELS), "1.2.3", FRAGMENT)
        self.assertEqual(8, len(pdus))
        for end in ENDS:
            for count in range(len(pdus)):
                for rest in ([], [pdus[count][: len(pdus[count]) // 2]]):
                    sender = self.begin([*pdus[:count], *rest])
                    end(sender)
                    self.wait_until_noticed()
                    wait_until(lambda: self.incoming == INCOMING, "the end of the temporary file")
                    self.assert_served("1.2.4")

    def test_whole(self) -> None:
        """An instance that was sent to its end is stored whole or not at all, whether its sender waits or not."""
        data_set = data_set_with("1.2.3", PIXELS)
        for end in ENDS:
            sender = Sender(self.server.address)
            sender.send(*c_store(data_set, "1.2.3", FRAGMENT))
            end(sender)
            self.wait_until_noticed()
            wait_until(lambda: self.incoming == INCOMING, "the end of the temporary file")
            for name in self.stored:
                self.assertEqual(("CT.1.2.3", data_set), (name, data_set_of(self.directory / name)))
                (self.directory / name).unlink()
            self.assert_served("1.2.4")
