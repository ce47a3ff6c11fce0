"""Tally: what has happened, counted by kind, and by none that a peer could make up."""

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.dimse.commands import CStoreRQ
from storescp.errors import Cause, Excess, StoreFailure
from storescp.server.factory import StorageSCPFactory
from storescp.testing import SCU, associate_rq
from storescp.uids import STORAGE_SOP_CLASSES
from storescp.ul.items import MaximumLength, PresentationContextRQ
from storescp.ul.machine import PAbort
from storescp.ul.negotiation import USER_IDENTITY_REFUSED
from storescp.ul.pdu import AAbort, AAssociateRJ
from storescp.watch.progress import Outcome, Progress
from storescp.watch.tally import SECONDS, Durations, Tally, sop_class_label, status_label
from tests.recorders import RecordingSink
from tests.server import ABORT, ASSOCIATE_RQ, ECHO, RELEASE_RQ, STORE, STORE_COMMAND, Peer, ServerTestCase, p_data, pdv
from tests.storage import CT, request

MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_LE = "1.2.840.10008.1.2.1"


class DurationsTests(SynchronousTestCase):
    """A histogram."""

    def test_none(self) -> None:
        """What has not come so far does not count."""
        durations = Durations()
        durations.add(None)
        self.assertEqual(([0] * 16, 0.0), (durations.counts, durations.sum))

    def test_bounds(self) -> None:
        """A bound belongs to what it bounds, as Prometheus has it; what is above all is counted, too."""
        for place, seconds in enumerate(SECONDS):
            for given, bucket in ((seconds, place), (seconds * 1.001, place + 1), (seconds * 0.999, place)):
                durations = Durations()
                durations.add(given)
                expected = [0] * 16
                expected[bucket] = 1
                self.assertEqual((expected, given), (durations.counts, durations.sum))

    def test_sum(self) -> None:
        """Nothing of many is lost."""
        durations = Durations()
        for seconds in (0.0, 0.5, 0.25, 3600.0, 86400.0):
            durations.add(seconds)
        self.assertEqual((5, 90000.75), (sum(durations.counts), durations.sum))
        self.assertEqual([1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 2], durations.counts)


class KeyTests(SynchronousTestCase):
    """By what things are counted."""

    def setUp(self) -> None:
        self.tally = Tally()
        self.request = request()
        self.association = self.request.association

    def test_rejected(self) -> None:
        """A rejection by the kind of its cause, or else by what the standard calls the reason."""
        for source, reason, cause, key in (
            (3, 1, Excess("max_associations", "256 associations are open"), "max_associations"),
            (1, 7, "", "called_ae_title_not_recognized"),
            (1, 3, "the calling AE title 'CT9' is not allowed", "calling_ae_title_not_recognized"),
            (1, 2, "", "application_context_name_not_supported"),
            (2, 2, "", "protocol_version_not_supported"),
            (3, 1, "", "temporary_congestion"),
        ):
            tally = Tally()
            tally.association_rejected(self.association, AAssociateRJ(1, source, reason), cause)
            self.assertEqual({key: 1}, dict(tally.rejected))
        tally = Tally()
        tally.association_rejected(self.association, USER_IDENTITY_REFUSED, "user 'anna' is unknown")
        self.assertEqual({"user_identity_refused": 1}, dict(tally.rejected))

    def test_ends(self) -> None:
        """An abort and a refusal by the kind of the cause; what the standard does not allow is one kind."""
        for cause, key in (
            (Cause("peer", "by the peer"), "peer"),
            (Excess("max_contexts", "more than 128 contexts"), "max_contexts"),
            ("PDU 4711 of 12 bytes", "protocol"),
        ):
            self.tally.association_aborted(self.association, AAbort(2, 0), cause)
            self.tally.association_aborted(self.association, PAbort(0), cause)
            self.tally.connection_refused("10.0.0.1:104", cause)
            self.assertEqual((2, 1), (self.tally.aborted[key], self.tally.refused[key]))
        self.assertEqual((6, 3), (self.tally.aborted.total(), self.tally.refused.total()))

    def test_instances(self) -> None:
        """An instance by status and SOP Class, its bytes by the same; its times, as far as it has any."""
        for outcome in (
            Outcome(0.0, 0x0000, 100, 1.0, 1.0, 0.002),
            Outcome(0.0, 0x0000, 20, 1.0, 0.02, 0.002),
            Outcome(0.0, 0xA700, 3, 1.0, 70.0, None),
            Outcome(0.0, 0x0110),
            Outcome(0.0, None),
        ):
            self.tally.instance(self.association, self.request, outcome)
        self.tally.instance(self.association, request(sop_class=MR), Outcome(0.0, 0, 4, 1.0, 0.001, 0.001))
        counts = {(0, CT): 2, (0xA700, CT): 1, (0x0110, CT): 1, (None, CT): 1, (0, MR): 1}
        self.assertEqual(counts, dict(self.tally.instances))
        sizes = {(0, CT): 120, (0xA700, CT): 3, (0x0110, CT): 0, (None, CT): 0, (0, MR): 4}
        self.assertEqual(sizes, dict(self.tally.bytes))
        self.assertEqual(([1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1], 71.021), self.times(self.tally.receive))
        self.assertEqual(([1, 2, *[0] * 14], 0.005), self.times(self.tally.sync))

    def times(self, durations: Durations) -> tuple[list[int], float]:
        return durations.counts, round(durations.sum, 9)

    def test_labels(self) -> None:
        """A status is shown as the standard writes it, a SOP Class by its name."""
        labels = [status_label(each) for each in (0, 0x0110, 0xA700, None)]
        self.assertEqual(["0000", "0110", "A700", "cut off"], labels)
        names = [sop_class_label(each) for each in (CT, MR, "1.2.840.10008.1.1", "1.2.3", "")]
        self.assertEqual(["CT Image Storage", "MR Image Storage", "other", "other", "other"], names)
        self.assertNotIn("other", map(sop_class_label, STORAGE_SOP_CLASSES))

    def test_made_up(self) -> None:
        """SOP Classes that a peer has made up, or that are no storage, are all one."""
        for uid in (
            *(f"1.2.3.{number}" for number in range(5000)),
            "1.2.840.10008.1.1",
            "",
            "\xff",
            CT + "\0",
            f"{CT} ",
        ):
            self.tally.instance(self.association, request(sop_class=uid), Outcome(0.0, 0))
        self.assertEqual({(0, "other"): 5005}, dict(self.tally.instances))


class SessionTests(ServerTestCase):
    """Told by a Storage SCP, to which bytes come."""

    def setUp(self) -> None:
        super().setUp()
        self.tally = Tally()
        self.progress = Progress(self.tally.instance, seconds=self.clock.seconds)

    def serve(self, **options: Any) -> StorageSCPFactory:
        scp = StorageSCPFactory(Config(**options), self.storage, self.clock, [self.tally, self.progress])
        scp.doStart()
        self.addCleanup(scp.doStop)
        return scp

    def labels(self) -> list[int]:
        """How many values each label has."""
        tally = self.tally
        counters: list[Any] = [tally.rejected, tally.aborted, tally.refused, tally.instances, tally.bytes]
        return [len(counter) for counter in counters]

    def test_open(self) -> None:
        """As many are open as were accepted and have not ended; that comes back to none, however they end."""
        scp = self.serve()
        ends = [RELEASE_RQ, ABORT, p_data(pdv(9, 3, b"")), b"", STORE_COMMAND + RELEASE_RQ, STORE_COMMAND]
        peers = [Peer(scp) for _ in ends]
        for number, peer in enumerate(peers):
            self.assertEqual(number, self.tally.open)
            peer.write(ASSOCIATE_RQ)
        for peer, end in zip(peers, ends, strict=True):
            if end:
                peer.write(end)
        for number, peer in enumerate(peers):
            self.assertEqual(len(peers) - number, self.tally.open)
            peer.disconnect()
        tally = self.tally
        self.assertEqual((0, 6, 2), (tally.open, tally.accepted, tally.released))
        self.assertEqual({"peer": 1, "protocol": 1, "connection": 2}, dict(tally.aborted))

    def test_open_while_it_is_forgotten(self) -> None:
        """One whose connection is gone counts as open until the storage has let go of it."""
        sink = RecordingSink()
        sink.dropped = Deferred()
        self.storage._prepared = [sink]
        peer = Peer(self.serve())
        peer.write(ASSOCIATE_RQ + STORE_COMMAND)
        peer.disconnect()
        self.assertEqual(1, self.tally.open)
        sink.dropped.callback(None)
        self.assertEqual(0, self.tally.open)

    def test_not_accepted(self) -> None:
        """What never was an association is none that was open."""
        scp = self.serve(max_associations=1, ae_title="STORESCP", require_called_aet=True)
        held = Peer(scp)
        held.write(ASSOCIATE_RQ)
        other = ASSOCIATE_RQ.replace(b"STORESCP ", b"ANOTHER  ")
        for data in (ASSOCIATE_RQ, other, b"", b"GET / HTTP/1.1\r\n\r\n", ABORT, ASSOCIATE_RQ[:50]):
            peer = Peer(scp)
            peer.write(data)
            peer.disconnect()
        held.disconnect()
        tally = self.tally
        self.assertEqual((0, 1, 0), (tally.open, tally.accepted, tally.released))
        self.assertEqual({"max_associations": 1, "called_ae_title_not_recognized": 1}, dict(tally.rejected))
        self.assertEqual({"connection": 1}, dict(tally.aborted))
        self.assertEqual({"protocol": 1, "connection": 2, "peer": 1}, dict(tally.refused))

    def test_one_peer_with_many_faces(self) -> None:
        """AE titles, SOP Classes and mistakes without number make no new label."""
        scp = self.serve(accept_unknown_sop_classes=True, max_associations=5, allow=["T*", "1"], max_instance_size=20)
        seen: list[list[int]] = []
        for round_ in range(4):
            for number in range(round_ * 50, round_ * 50 + 50):
                self.be_odd(scp, number)
            seen.append(self.labels())
        self.assertEqual([seen[0]] * 4, seen)
        self.assertEqual(
            [{"calling_ae_title_not_recognized"}, {"protocol", "peer"}],
            [set(self.tally.rejected), set(self.tally.aborted)],
        )
        self.assertEqual({(0, "other"), (0xA700, "other")}, set(self.tally.instances))
        self.assertEqual(0, self.tally.open)

    def be_odd(self, scp: StorageSCPFactory, number: int) -> None:
        stranger = SCU(scp, self.clock, associate_rq(calling=f"X{number}"))
        stranger.disconnect()
        private = f"1.2.3.{number}"
        contexts = (PresentationContextRQ(1, private, (EXPLICIT_LE,)),)
        scu = SCU(scp, self.clock, associate_rq(contexts, (MaximumLength(16384 + number),), calling="1"))
        for data in (b"x", b"x" * 30):
            command = CStoreRQ(affected_sop_class_uid=private, message_id=1, affected_sop_instance_uid=f"1.2.{number}")
            scu.send(1, command, data)
        scu.abort()
        scu.disconnect()
        odd = [bytes([number % 256, 0, 0, 0, 0, 4, 0, 0, 0, number % 7]), p_data(pdv(number % 256, 3, b"\0" * number))]
        for data in odd:
            peer = Peer(scp)
            peer.write(data)
            peer.disconnect()
            peer = Peer(scp)
            peer.write(ASSOCIATE_RQ.replace(b"MODALITY", b"1       ") + data)
            peer.disconnect()

    def test_statuses(self) -> None:
        """What an instance is answered with is a label, and nothing of its cause."""
        scp = self.serve()
        for number in range(30):
            sink = RecordingSink()
            sink.finished = fail(StoreFailure(f"cause {number}", 0xA700 if number % 2 else 0x0110))
            self.storage._prepared.append(sink)
        peer = Peer(scp)
        peer.write(ASSOCIATE_RQ)
        for _ in range(30):
            peer.write(STORE)
        peer.write(STORE + ECHO + RELEASE_RQ)
        peer.disconnect()
        self.assertEqual({(0, CT): 1, (0x0110, CT): 15, (0xA700, CT): 15}, dict(self.tally.instances))
        self.assertEqual(31, sum(self.tally.receive.counts))
        self.assertEqual(1, sum(self.tally.sync.counts))
