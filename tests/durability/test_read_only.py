"""A directory that must not be written to for a while."""

from pathlib import Path

from tests.senders import REJECTED_FOR_NOW, NotAccepted, Sender, data_set_of, data_set_with
from tests.servers import INCOMING, LOOPBACK, ServerTestCase, wait_until, without

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110


def store(sender: Sender, *uids: str) -> list[int]:
    return [sender.store(data_set_with(uid), uid) for uid in uids]


class ReadOnlyTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(LOOPBACK, command=without("dac_override"))
        self.incoming = self.directory / ".incoming"
        self.addCleanup(self.allow, self.directory, self.incoming)

    def forbid(self, *directories: Path) -> None:
        for each in directories:
            each.chmod(0o555)

    def allow(self, *directories: Path) -> None:
        for each in directories:
            each.chmod(0o755)

    def assert_stored(self, *uids: str) -> None:
        self.assertEqual(sorted([*INCOMING, *(f"CT.{uid}" for uid in uids)]), self.left)
        for uid in uids:
            self.assertEqual(data_set_with(uid), data_set_of(self.directory / f"CT.{uid}"))

    def test_one_association(self) -> None:
        """Whichever directory it is: its instances are refused with 0110, and stored when it is writable again."""
        sender = Sender(self.server.address)
        expected: list[str] = []
        directories = (self.directory,), (self.incoming,), (self.directory, self.incoming)
        for count, locked in enumerate(directories):
            self.forbid(*locked)
            self.assertEqual([PROCESSING_FAILURE] * 2, store(sender, "1.1", "1.2"))
            self.assert_stored(*expected)
            self.allow(*locked)
            expected.append(f"1.3.{count}")
            self.assertEqual([SUCCESS], store(sender, expected[-1]))
            self.assert_stored(*expected)
        sender.release()

    def test_new_associations(self) -> None:
        """After three failures associations are rejected for now; some time after its recovery they are not."""
        sender = Sender(self.server.address)
        self.forbid(self.directory, self.incoming)
        self.assertEqual([PROCESSING_FAILURE] * 3, store(sender, "1.1", "1.2", "1.3"))
        with self.assertRaises(NotAccepted) as raised:
            Sender(self.server.address)
        self.assertEqual(REJECTED_FOR_NOW, raised.exception.answer)
        self.allow(self.directory, self.incoming)
        senders: list[Sender] = []
        wait_until(lambda: self.associated(senders), "an association")
        self.assertEqual([SUCCESS, SUCCESS], store(sender, "1.1") + store(senders[0], "1.2"))
        self.assert_stored("1.1", "1.2")
        self.assertEqual(0, self.server.stop().code)
        sender.close()
        senders[0].close()

    def associated(self, senders: list[Sender]) -> bool:
        """Whether there is one more sender."""
        try:
            senders.append(Sender(self.server.address))
        except NotAccepted as error:
            self.assertEqual(REJECTED_FOR_NOW, error.answer)
            return False
        return True
