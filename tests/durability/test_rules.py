"""--durability, --on-duplicate and --min-free, and data sets that are not what the command says."""

from tests.senders import DATA_SET, Sender, data_set_of, data_set_with
from tests.servers import INCOMING, LOOPBACK, ServerTestCase

SUCCESS = 0x0000
DUPLICATE = 0x0111
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900

FIRST = data_set_with("1.2.3", b"first!")
SECOND = data_set_with("1.2.3", b"second")
LEVELS = {"1.1": "full", "1.2": "file", "1.3": "none"}


class RulesTests(ServerTestCase):
    def statuses(self, *arguments: str, instances: list[tuple[bytes, str]]) -> list[int]:
        """What a server with these arguments answers to data sets and UIDs, in one association."""
        server = self.serve(LOOPBACK, *arguments)
        sender = Sender(server.address)
        statuses = [sender.store(data_set, uid) for data_set, uid in instances]
        sender.release()
        self.assertEqual(0, server.stop().code)
        return statuses

    def assert_stored(self, expected: dict[str, bytes]) -> None:
        self.assertEqual(sorted([*INCOMING, *expected]), self.left)
        self.assertEqual(expected, {name: data_set_of(self.directory / name) for name in expected})

    def test_durability(self) -> None:
        """Each level stores; which one it was cannot be seen as long as the power stays on."""
        for uid, level in LEVELS.items():
            self.assertEqual([SUCCESS], self.statuses("--durability", level, instances=[(data_set_with(uid), uid)]))
        self.assert_stored({f"CT.{uid}": data_set_with(uid) for uid in LEVELS})

    def test_keep(self) -> None:
        """Another content under a UID that is here is kept beside it; the same one is here already."""
        instances = [(FIRST, "1.2.3"), (SECOND, "1.2.3"), (FIRST, "1.2.3"), (SECOND, "1.2.3")]
        self.assertEqual([SUCCESS] * 4, self.statuses(instances=instances))
        (beside,) = (name for name in self.left if ".dup-" in name)
        self.assert_stored({"CT.1.2.3": FIRST, beside: SECOND})

    def test_reject(self) -> None:
        """With --on-duplicate reject another content is refused with 0111, the same one is not."""
        instances = [(FIRST, "1.2.3"), (SECOND, "1.2.3"), (FIRST, "1.2.3")]
        expected = [SUCCESS, DUPLICATE, SUCCESS]
        self.assertEqual(expected, self.statuses("--on-duplicate", "reject", instances=instances))
        self.assert_stored({"CT.1.2.3": FIRST})

    def test_overwrite(self) -> None:
        """With --on-duplicate overwrite the last content stays."""
        instances = [(FIRST, "1.2.3"), (SECOND, "1.2.3")]
        self.assertEqual([SUCCESS] * 2, self.statuses("--on-duplicate=overwrite", instances=instances))
        self.assert_stored({"CT.1.2.3": SECOND})

    def test_min_free(self) -> None:
        """With less room than --min-free wants nothing is stored."""
        instances = [(FIRST, "1.2.3"), (DATA_SET, "1.2.3.4.5.6")]
        self.assertEqual([OUT_OF_RESOURCES] * 2, self.statuses("--min-free", str(2**62), instances=instances))
        self.assert_stored({})

    def test_identity(self) -> None:
        """A data set that says it is another instance than the command does is refused with A900."""
        instances = [(FIRST, "1.2.4"), (FIRST, "1.2.3")]
        self.assertEqual([DOES_NOT_MATCH, SUCCESS], self.statuses(instances=instances))
        self.assert_stored({"CT.1.2.3": FIRST})
