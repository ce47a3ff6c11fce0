"""One SOP Instance UID from several senders at once."""

import re
from collections import Counter

from tests.senders import Sender, c_store, data_set_of, data_set_with
from tests.servers import INCOMING, LOOPBACK, ServerTestCase

ROUNDS = 10
SENDERS = 8
PIXELS = 700_000  # bytes: some of it is in a file before the last of it comes


class SameUIDTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(LOOPBACK)

    def store_at_once(self, senders: list[Sender], uid: str, data_sets: list[bytes]) -> None:
        """One instance of each sender, all of them complete at the same moment, and acknowledged."""
        pdus = [c_store(each, uid) for each in data_sets]
        for sender, (*before, _last) in zip(senders, pdus, strict=True):
            sender.send(*before)
        for sender, (*_before, last) in zip(senders, pdus, strict=True):
            sender.send(last)
        self.assertEqual([0x0000] * len(senders), [sender.status() for sender in senders])

    def stored(self, uid: str) -> dict[str, bytes]:
        return {path.name: data_set_of(path) for path in self.directory.glob(f"CT.{uid}*")}

    def test_at_once(self) -> None:
        """Eight contents from eight associations, and two of them once more: each is there exactly once."""
        senders = [Sender(self.server.address) for _ in range(SENDERS + 2)]
        for number in range(ROUNDS):
            uid = f"1.{number}.3"  # none begins with another one
            contents = [data_set_with(uid, bytes([each]) * PIXELS) for each in range(SENDERS)]
            self.store_at_once(senders, uid, [*contents, contents[0], contents[-1]])
            stored = self.stored(uid)
            self.assertEqual(Counter(contents), Counter(stored.values()))
            kept = [name for name in stored if re.fullmatch(rf"CT\.{re.escape(uid)}\.dup-[0-9a-f]{{8}}", name)]
            self.assertEqual((SENDERS - 1, True), (len(kept), f"CT.{uid}" in stored))
        self.assertEqual(INCOMING, [name for name in self.left if name.startswith(".incoming")])
        warnings = [line for line in self.server.stderr.splitlines() if "is here already: kept as" in line]
        self.assertLessEqual(ROUNDS * (SENDERS - 1), len(warnings))  # the second sender of one may be told of it too
        for sender in senders:
            sender.release()

    def test_same_content(self) -> None:
        """The same content from eight associations is stored once, and nobody hears of it."""
        senders = [Sender(self.server.address) for _ in range(SENDERS)]
        data_set = data_set_with("1.2.3", b"ab" * (PIXELS // 2))
        self.store_at_once(senders, "1.2.3", [data_set] * SENDERS)
        self.assertEqual(({"CT.1.2.3": data_set}, ""), (self.stored("1.2.3"), self.server.stderr))
        self.assertEqual(sorted([*INCOMING, "CT.1.2.3"]), self.left)
        for sender in senders:
            sender.release()
