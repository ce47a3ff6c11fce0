"""With pynetdicom as the client."""

import socket
from collections.abc import Iterable, Sequence
from typing import Any

from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.presentation import PresentationContext

from tests.interop import (
    CT_SMALL,
    InteropTestCase,
    Shipped,
    data_set_bytes,
    not_among,
    odd_on_purpose,
    shipped_files,
)
from tests.servers import wait_until

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
PRIVATE = "1.2.840.113619.4.27"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_2000 = "1.2.840.10008.1.2.4.90"

NO_UIDS = "its data set has no SOP Class and Instance UID"

# What pynetdicom cannot send when it is to encode the data set itself.
NOT_ENCODED = {
    "chrSQEncoding.dcm": NO_UIDS,
    "chrSQEncoding1.dcm": NO_UIDS,
    "no_meta_group_length.dcm": NO_UIDS,
    "priv_SQ.dcm": NO_UIDS,
}

# Their File Meta Information, which pynetdicom takes the request from when it sends them as they are, is of another
# instance than their data set.
MISNAMED = {
    "badVR.dcm",
    "chrJapMulti.dcm",
    "chrJapMultiExplicitIR6.dcm",
    "rtdose.dcm",
    "rtdose_1frame.dcm",
    "rtdose_expb.dcm",
    "rtdose_expb_1frame.dcm",
    "rtplan.dcm",
    "rtplan_truncated.dcm",
}


def send_at_once(event: evt.Event) -> None:
    """Nagle's algorithm would wait 40 ms before each data set."""
    connection = event.assoc.dul.socket
    assert connection is not None and connection.socket is not None
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def contexts_of(files: Iterable[Shipped]) -> list[PresentationContext]:
    """One for each SOP Class and transfer syntax, so that every file is sent in its own."""
    pairs = dict.fromkeys((each.sop_class, each.transfer_syntax) for each in files)
    return [build_context(sop_class, syntax) for sop_class, syntax in pairs]


class PynetdicomTestCase(InteropTestCase):
    def associate(self, port: int, contexts: Sequence[PresentationContext], **options: Any) -> Association:
        ae = AE(ae_title="PYNETDICOM")
        ae.requested_contexts = list(contexts)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
        handlers: list[Any] = [(evt.EVT_CONN_OPEN, send_at_once)]
        association = ae.associate("127.0.0.1", port, evt_handlers=handlers, **options)
        self.addCleanup(association.abort)
        self.assertTrue(association.is_established)
        return association

    @odd_on_purpose()
    def send(self, port: int, files: Sequence[Shipped], *, unchanged: bool, max_pdu: int = 16382) -> list[str]:
        """Send `files` in one association, as they are or encoded again; the names of those that cannot be sent."""
        self.patch(_config, "STORE_SEND_CHUNKED_DATASET", unchanged)
        association = self.associate(port, contexts_of(files), max_pdu=max_pdu)
        refused = []
        for each in files:
            try:
                response = association.send_c_store(each.path if unchanged else dcmread(each.path))
            except AttributeError:
                refused.append(each.path.name)
            else:
                status = 0xA900 if unchanged and each.path.name in MISNAMED else 0x0000
                self.assertEqual(status, response.Status, each.path.name)
        association.release()
        return refused

    def assert_same_bytes(self, files: Iterable[Shipped]) -> None:
        """The data sets of `files` are on the disk bit for bit, each under its transfer syntax, and no others."""
        sent = {(each.transfer_syntax, data_set_bytes(each.path)) for each in files}
        with odd_on_purpose():
            syntaxes = [dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID for path in self.stored]
        stored = [(syntax, data_set_bytes(path)) for syntax, path in zip(syntaxes, self.stored, strict=True)]
        self.assertEqual((sent, len(sent)), (set(stored), len(stored)))


class FileTests(PynetdicomTestCase):
    def test_unchanged(self) -> None:
        """Every uncompressed file that pydicom ships is stored bit for bit, in the syntax in which it was sent.

        Those sent under the name of another instance are refused, in the midst of the others.
        """
        files = shipped_files(compressed=False)
        self.assertGreater(len(files), 100)
        server = self.serve()
        self.assertEqual([], self.send(server.port, files, unchanged=True))
        self.assertEqual(0, server.stop().code)
        self.assert_same_bytes(each for each in files if each.path.name not in MISNAMED)

    def test_encoded_again(self) -> None:
        """So is what pydicom decodes and encodes again, in the smallest PDUs both ways: it says what it said."""
        files = shipped_files(compressed=False)
        server = self.serve("-pdu", "4096")
        self.assertEqual(sorted(NOT_ENCODED), sorted(self.send(server.port, files, unchanged=False, max_pdu=4096)))
        self.assertEqual(0, server.stop().code)
        self.assert_arrived(files, unless=NOT_ENCODED)

    def test_compressed_by_default(self) -> None:
        """Every compressed transfer syntax is rejected at negotiation."""
        contexts = contexts_of(shipped_files(compressed=True))
        self.assertGreater(len(contexts), 10)
        server = self.serve()
        ae = AE()
        ae.requested_contexts = contexts
        association = ae.associate("127.0.0.1", server.port)
        wait_until(lambda: association.is_aborted, "the end of an association without contexts")
        self.assertEqual([4] * len(contexts), [context.result for context in association.rejected_contexts])
        self.assertEqual([], self.stored)

    def test_compressed(self) -> None:
        """With --accept-all-syntaxes every compressed file is stored bit for bit, in the largest PDUs too."""
        files = shipped_files(compressed=True)
        server = self.serve("--accept-all-syntaxes", "-pdu", "131072")
        self.assertEqual([], self.send(server.port, files, unchanged=True, max_pdu=0))
        self.assertEqual(0, server.stop().code)
        self.assert_same_bytes(files)

    def test_file_meta_information(self) -> None:
        """The file says who sent it, in which syntax, and who stored it."""
        server = self.serve()
        self.send(server.port, [Shipped(CT_SMALL, UID(CT), UID(EXPLICIT_LE))], unchanged=True)
        self.assertEqual(0, server.stop().code)
        (path,) = self.stored
        self.assertEqual(
            {
                "FileMetaInformationVersion": b"\x00\x01",
                "MediaStorageSOPClassUID": CT,
                "MediaStorageSOPInstanceUID": "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
                "TransferSyntaxUID": EXPLICIT_LE,
                "ImplementationClassUID": "2.25.167549487932267690351940239577372006664",
                "SourceApplicationEntityTitle": "PYNETDICOM",
            },
            {
                element.keyword: element.value
                for element in dcmread(path).file_meta
                if element.keyword not in ("FileMetaInformationGroupLength", "ImplementationVersionName")
            },
        )


class NegotiationTests(PynetdicomTestCase):
    PROPOSED = (
        build_context(CT, [IMPLICIT_LE, DEFLATED, EXPLICIT_BE, EXPLICIT_LE]),
        build_context(MR, [JPEG_2000]),
        build_context(PRIVATE, [IMPLICIT_LE]),
        build_context(VERIFICATION, [IMPLICIT_LE, EXPLICIT_LE]),
    )

    def answer(self, *options: str) -> list[Any]:
        """What became of each context: its transfer syntax, or the result of its rejection."""
        server = self.serve(*options)
        association = self.associate(server.port, self.PROPOSED)
        accepted = {context.abstract_syntax: context.transfer_syntax[0] for context in association.accepted_contexts}
        rejected = {context.abstract_syntax: context.result for context in association.rejected_contexts}
        association.release()
        self.assertEqual(0, server.stop().code)
        found = {**accepted, **rejected}
        return [found[context.abstract_syntax] for context in self.PROPOSED]

    def test_options(self) -> None:
        """The options decide what is accepted: the acceptor's order counts, not the requestor's."""
        answers = {
            (): [EXPLICIT_LE, 4, 3, EXPLICIT_LE],
            ("-x=",): [EXPLICIT_LE, 4, 3, EXPLICIT_LE],
            ("-xe",): [EXPLICIT_LE, 4, 3, EXPLICIT_LE],
            ("-xb",): [EXPLICIT_BE, 4, 3, EXPLICIT_LE],
            ("-xi",): [IMPLICIT_LE, 4, 3, IMPLICIT_LE],
            ("--accept-all-syntaxes",): [EXPLICIT_LE, JPEG_2000, 3, EXPLICIT_LE],
            ("--accept-unknown-sop-classes",): [EXPLICIT_LE, 4, IMPLICIT_LE, EXPLICIT_LE],
        }
        self.assertEqual(answers, {options: self.answer(*options) for options in answers})

    def test_maximum_length(self) -> None:
        """-pdu is what the client is told."""
        server = self.serve("-pdu", "65536")
        association = self.associate(server.port, self.PROPOSED)
        self.assertEqual(65536, association.acceptor.maximum_length)
        association.release()

    def test_user_identity(self) -> None:
        """A user's name and passcode are taken, and the passcode is not shown even by -d."""
        server = self.serve("-d")
        identity = UserIdentityNegotiation()
        identity.user_identity_type = 2
        identity.primary_field = b"alice"
        identity.secondary_field = b"s3cr3t!"
        self.associate(server.port, self.PROPOSED, ext_neg=[identity]).release()
        ended = server.stop()
        self.assertIn("Username and Passcode: alice, passcode of 7 bytes", ended.stderr)
        self.assertNotIn("s3cr3t", ended.stdout + ended.stderr)


class ServiceTests(PynetdicomTestCase):
    def test_echo(self) -> None:
        """An echo is answered, as often as one likes."""
        server = self.serve("-v")
        association = self.associate(server.port, [build_context(VERIFICATION)])
        self.assertEqual([0, 0], [association.send_c_echo(number).Status for number in (1, 65535)])
        association.release()
        self.assert_log(
            server,
            "I: Association Received",
            "I: Association Accepted",
            "I: Received Echo Request (MsgID 1)",
            "I: Received Echo Request (MsgID 65535)",
            "I: Association Released",
        )

    def test_move_originator(self) -> None:
        """Who moved an instance here is shown by -d."""
        server = self.serve("-d")
        association = self.associate(server.port, [build_context(CT, EXPLICIT_LE)])
        association.send_c_store(dcmread(CT_SMALL), originator_aet="MOVER", originator_id=5)
        association.release()
        self.assertIn("D: Move Originator               : MOVER\n", server.stop().stderr)

    def test_other_instance_of_the_same_uid(self) -> None:
        """Another content under the same UID is kept beside the first, and the log says so."""
        data_set = dcmread(CT_SMALL)
        server = self.serve()
        association = self.associate(server.port, [build_context(CT, EXPLICIT_LE)])
        for name in ("Doe^Jane", "Doe^John"):
            data_set.PatientName = name
            self.assertEqual(0, association.send_c_store(data_set).Status)
        association.release()
        ended = server.stop()
        self.assertRegex(
            ended.stderr, r"^W: Another CT\.[0-9.]+ is here already: kept as CT\.[0-9.]+\.dup-[0-9a-f]{8}\n$"
        )
        self.assertNotIn("Doe", ended.stderr)
        self.assertEqual(["Doe^Jane", "Doe^John"], [str(dcmread(path).PatientName) for path in self.stored])

    def test_abort(self) -> None:
        """A client that aborts is an error of our log, and harms nobody after it."""
        server = self.serve()
        association = self.associate(server.port, [build_context(CT, EXPLICIT_LE)])
        association.abort()
        self.send(server.port, [Shipped(CT_SMALL, UID(CT), UID(EXPLICIT_LE))], unchanged=True)
        self.assert_log(server, "E: Association Aborted: by the peer (PYNETDICOM at PEER)")
        self.assertEqual([], not_among([CT_SMALL], self.stored))

    def test_associations_side_by_side(self) -> None:
        """Several associations at once do not mix."""
        paths = [each for each in shipped_files(compressed=False) if each.sop_class == CT][:4]
        server = self.serve()
        contexts = [build_context(CT, [each.transfer_syntax for each in paths])]
        associations = [self.associate(server.port, contexts) for _ in paths]
        for association, each in zip(associations, paths, strict=True):
            self.assertEqual(0, association.send_c_store(dcmread(each.path)).Status)
        for association in associations:
            association.release()
        self.assert_log(server)
        self.assert_arrived(paths)
