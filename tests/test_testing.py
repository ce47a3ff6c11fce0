"""The SCU in memory: what it shows of an association to who tests with it."""

from twisted.internet.defer import Deferred

from storescp.testing import SCU, AAbort
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import ServerTestCase

UID = "1.2.3"


class SCUTests(ServerTestCase):
    def with_sink(self, sink: RecordingSink) -> SCU:
        self.storage = RecordingStorage(sink)
        return self.scu()

    def test_accepted(self) -> None:
        """Whether there is an association can be asked, and is not changed by its end."""
        scu = self.scu()
        scu.release()
        self.assertEqual((True, True), (scu.accepted, scu.released))

    def test_not_accepted(self) -> None:
        """A request that is rejected is not accepted."""
        self.assertFalse(self.scu(require_called_aet=True, ae_title="ANOTHER").accepted)

    def test_not_answered(self) -> None:
        """A connection that is closed without an answer has not accepted anything."""
        scu = self.scu(max_contexts=1)
        self.assertEqual((False, None, AAbort(0, 0)), (scu.accepted, scu.answer, scu.ended))

    def test_statuses(self) -> None:
        """They are those of all responses, in their order, as far as they have come."""
        sink = RecordingSink()
        sink.finished = Deferred()
        scu = self.with_sink(sink)
        scu.echo()
        scu.store(UID, b"a data set", sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
        scu.store(UID, b"a data set")
        self.assertEqual([0x0000, 0x0122], scu.statuses)
        sink.finished.callback(None)
        scu.pump()
        self.assertEqual([0x0000, 0x0122, 0x0000], scu.statuses)

    def test_fragments(self) -> None:
        """Each fragment is handed on when it is sent; the last one, which may be empty, completes the data set."""
        sink = RecordingSink()
        scu = self.with_sink(sink)
        scu.begin_store(UID, message_id=7)
        told = []
        for fragment, last in ((b"some", False), (b" more", False), (b"", True)):
            told.append((sink.data, list(sink.ends), scu.statuses))
            scu.send_fragment(fragment, last=last)
        told.append((sink.data, list(sink.ends), scu.statuses))
        self.assertEqual(
            [(b"", [], []), (b"some", [], []), (b"some more", [], []), (b"some more", ["finish"], [0])], told
        )
        (request,) = self.storage.requests
        self.assertEqual((UID, 7, 3), (request.sop_instance_uid, request.message_id, request.context_id))

    def test_disconnected_amid(self) -> None:
        """An instance of which only a part was sent is not complete when the connection is lost."""
        sink = RecordingSink()
        scu = self.with_sink(sink)
        scu.begin_store(UID)
        scu.send_fragment(b"some")
        scu.disconnect()
        self.assertEqual((["abort"], []), (sink.ends, scu.statuses))
