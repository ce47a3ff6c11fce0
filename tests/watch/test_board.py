"""Board and Rates: what a page shows, how little of it, and how much came in each second."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.errors import Cause, Excess, StoreFailure
from storescp.interfaces import Association, StoreRequest
from storescp.server.factory import StorageSCPFactory
from storescp.testing import CONTEXTS, SCU, associate_rq
from storescp.ul.items import PresentationContextRQ
from storescp.ul.negotiation import USER_IDENTITY_REFUSED
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ
from storescp.watch.board import Board, Rates
from storescp.watch.escaping import escape
from storescp.watch.progress import Outcome, Progress
from tests.recorders import RecordingStorage
from tests.server import ABORT, ASSOCIATE_RQ, STORE, STORE_COMMAND, Peer, ServerTestCase
from tests.storage import request

NOW = 1_800_000_000.0
REQUEST = associate_rq()
ANSWER: Any = AAssociateAC  # nobody looks at it


class RatesTests(SynchronousTestCase):
    """Instances and bytes of each of 300 seconds; the one that is not over yet is not shown."""

    def setUp(self) -> None:
        self.now = 5000.0
        self.rates = Rates(lambda: self.now)

    def add(self, size: int, at: float, began: float) -> None:
        self.now = at
        self.rates.add(size, began)

    def shown(self, at: float) -> tuple[dict[int, int], dict[int, int]]:
        """Instances and bytes by how many seconds ago, where there were any; 1 is the last whole second."""
        self.now = at
        instances, size = self.rates.series()
        self.assertEqual((300, 300), (len(instances), len(size)))
        return tuple({300 - place: each for place, each in enumerate(all_) if each} for all_ in (instances, size))  # type: ignore[return-value]

    def test_nothing(self) -> None:
        """Where nothing comes there is nothing, however long."""
        for at in (5000.0, 5000.5, 5299.0, 5300.0, 5301.0, 100_000.0):
            self.assertEqual(({}, {}), self.shown(at))

    def test_at_once(self) -> None:
        """What has come within one second is shown when it is over, and moves on until it is 300 seconds old."""
        self.add(1000, 5000.7, 5000.2)
        self.assertEqual(({}, {}), self.shown(5000.99))
        for ago in (1, 2, 299, 300):
            self.assertEqual(({ago: 1}, {ago: 1000}), self.shown(5000.0 + ago))
            self.assertEqual(({ago: 1}, {ago: 1000}), self.shown(5000.9 + ago))
        self.assertEqual(({}, {}), self.shown(5301.0))

    def test_sums(self) -> None:
        """What comes in one second is one sum."""
        for size in (1, 20, 300):
            self.add(size, 5000.5, 5000.1)
        self.assertEqual(({1: 3}, {1: 321}), self.shown(5001.0))

    def test_spread(self) -> None:
        """What took several seconds is spread over them, and counts as an instance in that of its end."""
        self.add(4000, 5003.1, 5000.9)
        self.assertEqual(({1: 1}, {1: 1000, 2: 1000, 3: 1000, 4: 1000}), self.shown(5004.0))
        self.add(20, 5005.0, 5004.0)
        self.assertEqual(({1: 1, 3: 1}, {1: 10, 2: 10, 3: 1000, 4: 1000, 5: 1000, 6: 1000}), self.shown(5006.0))

    def test_no_byte_is_lost(self) -> None:
        """However sizes divide by seconds, the sum over them is right to half a byte a second."""
        for size, seconds in ((1_000_003, 7), (10, 4), (1, 60), (12345, 300)):
            self.setUp()
            self.add(size, 5000.0 + seconds - 1, 5000.0)
            _, shown = self.shown(5000.0 + seconds)
            self.assertLessEqual(abs(sum(shown.values()) - size), seconds / 2)
            self.assertAlmostEqual(size, sum(self.rates._bytes), places=3)

    def test_whole_past(self) -> None:
        """What took just as long as is remembered is in each second of it."""
        self.add(3000, 5299.0, 5000.0)
        self.assertEqual(({1: 1}, dict.fromkeys(range(1, 301), 10)), self.shown(5300.0))

    def test_longer_than_the_past(self) -> None:
        """What took longer has come as fast in each second that is remembered; the rest of it was before."""
        for seconds, began in ((1401, 4000.0), (5401, 0.0), (303, 5098.5)):
            self.setUp()
            self.add(seconds * 1000, 5400.0, began)
            self.assertEqual(({1: 1}, dict.fromkeys(range(1, 301), 1000)), self.shown(5401.0))

    def test_standing_still(self) -> None:
        """Where nothing comes for a while, and then again, what is in between is empty."""
        self.add(5, 5000.0, 5000.0)
        self.add(7, 5100.0, 5100.0)
        self.assertEqual(({1: 1, 101: 1}, {1: 7, 101: 5}), self.shown(5101.0))

    def test_jump(self) -> None:
        """A machine that was asleep for hours shows none of what was before."""
        for hours in (1, 1000, 1_000_000):
            self.setUp()
            self.add(5, 5000.0, 5000.0)
            later = 5000.0 + 3600 * hours
            self.assertEqual(({}, {}), self.shown(later))
            self.add(7, later + 0.5, later)
            self.assertEqual(({1: 1}, {1: 7}), self.shown(later + 1))

    def test_each_second(self) -> None:
        """Nothing is lost or counted twice where it is looked at and added to all the time."""
        for number in range(1000):
            self.add(1, 5000.0 + number / 4, 5000.0 + number / 4)
            self.shown(self.now)
        expected = dict.fromkeys(range(1, 251), 4)
        self.assertEqual((expected, expected), self.shown(5250.0))

    def test_start(self) -> None:
        """A clock may begin anywhere."""
        for start in (0.0, 0.999, 1e9 + 0.5):
            self.now = start
            self.rates = Rates(lambda: self.now)
            self.rates.add(10, start)
            self.assertEqual(({1: 1}, {1: 10}), self.shown(int(start) + 1.0))


class BoardTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now, self.seconds = NOW, 100.0
        self.board = Board(now=lambda: self.now, seconds=lambda: self.seconds)

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self.seconds += seconds

    def associate(self, calling: str = "CT1", peer: str = "10.1.2.3:104") -> Association:
        association = Association(peer=peer, calling_ae_title=calling, called_ae_title="STORESCP", id="a-1")
        self.board.association_accepted(association, REQUEST, ANSWER)
        return association

    def snapshot(self, *parts: str) -> Any:
        """What JSON makes of it, or of a part of it."""
        shown = self.board.snapshot()
        self.assertEqual(["now", "associations", "instances", "rate", "errors"], list(shown))
        shown = json.loads(json.dumps(shown))
        for part in parts:
            shown = shown[part]
        return shown


class BoardTests(BoardTestCase):
    """Told by hand."""

    def test_empty(self) -> None:
        """At the start there is nothing but the time."""
        empty = [0] * 300
        self.assertEqual(
            {
                "now": NOW,
                "associations": [],
                "instances": [],
                "rate": {"instances": empty, "bytes": empty},
                "errors": [],
            },
            self.snapshot(),
        )

    def test_association(self) -> None:
        """Who is there, since when, and what it has come to; no longer than it is there."""
        association = self.associate()
        expected = {
            "id": "a-1",
            "peer": "10.1.2.3:104",
            "calling": "CT1",
            "called": "STORESCP",
            "since": NOW,
            "instances": 0,
            "bytes": 0,
            "failed": 0,
        }
        self.assertEqual([expected], self.snapshot("associations"))
        self.pass_(90)
        for size in (20, 22):
            self.board.instance_stored(association, request(), size)
        self.board.instance_refused(association, request(), StoreFailure("full", 0xA700))
        self.board.instance_dropped(association, request(), "by the peer")
        self.assertEqual([{**expected, "instances": 2, "bytes": 42, "failed": 2}], self.snapshot("associations"))
        self.board.association_ended(association)
        self.assertEqual([], self.snapshot("associations"))

    def test_clock_that_was_set(self) -> None:
        """Since when is told by the clock of now, also where somebody has set it meanwhile."""
        self.associate()
        self.pass_(10)
        self.now -= 3600
        self.assertEqual((NOW - 3590, NOW - 3600), (self.snapshot("now"), self.snapshot("associations")[0]["since"]))

    def test_most_associations(self) -> None:
        """Of more than 50 the first are shown."""
        associations = [self.associate(f"CT{number}") for number in range(60)]
        shown = [each["calling"] for each in self.snapshot("associations")]
        self.assertEqual([f"CT{number}" for number in range(50)], shown)
        self.board.association_ended(associations[0])
        self.assertEqual("CT50", self.snapshot("associations")[-1]["calling"])

    def end(self, outcome: Outcome, sop_class: str = "1.2.840.10008.5.1.4.1.1.2") -> StoreRequest:
        ended = request("1.2.3.777", sop_class=sop_class, calling="CT1")
        self.board.instance(ended.association, ended, outcome)
        return ended

    def test_instance(self) -> None:
        """The last instances, the newest first, with their times and what they were answered."""
        self.end(Outcome(90.0, 0, 22, 99.0, 9.0, 1.0))
        self.pass_(1)
        self.end(Outcome(90.0, 0xA700, 22, 99.0, 9.0), sop_class="1.2.3")
        self.end(Outcome(90.0, 0xB007, 22, 99.0, 9.0))
        self.end(Outcome(90.0))
        stored = {
            "time": NOW,
            "calling": "CT1",
            "sop_class": "CT Image Storage",
            "status": 0,
            "words": "Success",
            "bytes": 22,
            "receive": 9.0,
            "sync": 1.0,
        }
        later = {**stored, "time": NOW + 1, "sync": None}
        self.assertEqual(
            [
                {**later, "status": None, "words": "Cut off", "bytes": 0, "receive": None},
                {**later, "status": 0xB007, "words": ""},
                {**later, "sop_class": "other", "status": 0xA700, "words": "Out of Resources"},
                stored,
            ],
            self.snapshot("instances"),
        )

    def test_rate(self) -> None:
        """What came whole counts, whatever became of it; what was cut off on its way does not."""
        self.end(Outcome(98.0, 0, 30, 100.0, 2.0, 0.0))
        self.end(Outcome(100.0, 0xA700, 5, 100.0, 0.0))
        self.end(Outcome(100.0, None, 7, 100.0, 0.0))
        self.end(Outcome(100.0))
        self.end(Outcome(100.0, 0xC000))
        self.pass_(1)
        rate = self.snapshot("rate")
        self.assertEqual(([0, 0, 3], [10, 10, 22]), (rate["instances"][-3:], rate["bytes"][-3:]))
        self.assertEqual((3, 42), (sum(rate["instances"]), sum(rate["bytes"])))

    def test_errors(self) -> None:
        """What went wrong, the newest first, by kind, with whose it was and why; success is none."""
        association = self.associate()
        told = [
            lambda: self.end(Outcome(90.0, 0, 22, 99.0, 9.0, 1.0)),
            lambda: self.end(Outcome(90.0, 0x0110, 22, 99.0, 9.0)),
            lambda: self.end(Outcome(90.0), sop_class="1.2.3"),
            lambda: self.board.association_rejected(association, AAssociateRJ(1, 1, 3), "the title 'CT1' is not known"),
            lambda: self.board.association_rejected(
                association, AAssociateRJ(2, 3, 1), Excess("max_associations", "256 associations are open")
            ),
            lambda: self.board.association_rejected(association, USER_IDENTITY_REFUSED, "user 'anna' is unknown"),
            lambda: self.board.association_aborted(association, AAbort(0, 0), Cause("peer", "by the peer")),
            lambda: self.board.connection_refused("10.9.9.9:1", Cause("tls", "it does not speak TLS")),
        ]
        for each in told:
            each()
            self.pass_(1)
        kinds = [
            ("refused", "10.9.9.9:1", "", "it does not speak TLS"),
            ("aborted", "10.1.2.3:104", "CT1", "by the peer"),
            ("rejected", "10.1.2.3:104", "CT1", "User Identity Refused"),
            ("rejected", "10.1.2.3:104", "CT1", "Temporary Congestion: 256 associations are open"),
            ("rejected", "10.1.2.3:104", "CT1", "Calling AE Title Not Recognized"),
            ("cut off", "10.0.0.1:104", "CT1", "other"),
            ("failed", "10.0.0.1:104", "CT1", "CT Image Storage: Processing Failure"),
        ]
        expected = [
            {"time": NOW + 7 - ago, "kind": kind, "peer": peer, "calling": calling, "text": text}
            for ago, (kind, peer, calling, text) in enumerate(kinds)
        ]
        self.assertEqual(expected, self.snapshot("errors"))

    def test_most(self) -> None:
        """Of instances and of errors the last 25 are kept."""
        for number in range(200):
            self.end(Outcome(100.0, 0xA700, number, 100.0, 0.0))
            self.pass_(1)
        self.assertEqual(list(range(199, 174, -1)), [each["bytes"] for each in self.snapshot("instances")])
        self.assertEqual(
            [NOW + each for each in range(199, 174, -1)], [each["time"] for each in self.snapshot("errors")]
        )

    def test_long_text(self) -> None:
        """A peer's name, or a cause, that is long loses its middle; so a snapshot has a bound."""
        long = "x" * 100_000
        for _ in range(60):
            association = self.associate(peer=long)
            self.board.association_aborted(association, AAbort(0, 0), long)
            self.board.connection_refused(long, long)
        short = "x" * 1500 + "[98000 more characters]" + "x" * 500
        shown = self.snapshot()
        self.assertEqual({short}, {each["peer"] for each in shown["associations"]})
        self.assertEqual({(short, short)}, {(each["peer"], each["text"]) for each in shown["errors"]})
        self.assertLess(len(json.dumps(shown)), 250_000)


class SessionTests(ServerTestCase):
    """Told by a Storage SCP, to which bytes come."""

    def setUp(self) -> None:
        super().setUp()
        self.storage = RecordingStorage()
        self.board = Board(now=lambda: NOW, seconds=self.clock.seconds)
        progress = Progress(self.board.instance, seconds=self.clock.seconds)
        observers = [self.board, progress]
        self.scp = StorageSCPFactory(Config(accept_unknown_sop_classes=True), self.storage, self.clock, observers)
        self.scp.doStart()
        self.addCleanup(self.scp.doStop)

    def connect(self, data: bytes) -> Peer:
        peer = Peer(self.scp)
        self.addCleanup(peer.disconnect)
        peer.write(data)
        return peer

    def test_hostile_titles(self) -> None:
        """Titles are shown as in the log, and JSON breaks at none."""
        for title in (
            b'"},{"a":1,"<b>',
            b"</script><b>\\u00",
            b"x\0\n\r\t\x1b[2J\x7f\x85\xa0\xad\xff",
            b"%s{0}$(x)`y`;--",
        ):
            padded = title.ljust(16)
            peer = self.connect(ASSOCIATE_RQ.replace(b"MODALITY        ", padded) + STORE + ABORT)
            peer.disconnect()
            text = json.dumps(self.board.snapshot())
            self.assertTrue(text.isascii() and text.isprintable(), text)
            shown = json.loads(text)
            expected = escape(padded.decode("latin-1").strip(" "))
            self.assertEqual((expected, expected), (shown["instances"][0]["calling"], shown["errors"][0]["calling"]))

    def test_nothing_of_an_instance(self) -> None:
        """Neither the UID of an instance, nor what its data set says, nor a made up SOP Class is anywhere in it."""
        secrets = ["1.2.77777.1", "1.2.88888", "DOE^JANE"]
        contexts = [*CONTEXTS, PresentationContextRQ(5, "1.2.88888", ("1.2.840.10008.1.2",))]
        peers: list[Any] = []
        for failure in (None, StoreFailure("1.2.77777.1 is here: DOE^JANE", 0x0111)):
            self.storage.open_error = failure
            scu = SCU(self.scp, self.clock, associate_rq(contexts))
            scu.store("1.2.77777.1", b"DOE^JANE")
            scu.store("1.2.77777.1", b"DOE^JANE", sop_class_uid="1.2.88888", context_id=5)
            peers.append(scu)
        self.storage.open_error = None
        peers.append(self.connect(ASSOCIATE_RQ + STORE_COMMAND))
        text = json.dumps(self.board.snapshot())
        for peer in peers:
            peer.disconnect()
        shown = self.board.snapshot()
        text += json.dumps(shown)
        self.assertEqual([], [secret for secret in secrets if secret in text])
        self.assertEqual([None, 0x0111, 0x0111, 0, 0], [each["status"] for each in shown["instances"]])
        self.assertEqual(([], 6), (shown["associations"], len(shown["errors"])))
