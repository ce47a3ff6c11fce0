"""Tests of own_storage.py: ``python3 -m twisted.trial test_own_storage``."""

import sqlite3
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from own_storage import TABLE, Database, Row
from storescp import Config, StorageSCPFactory, StoreRequest
from storescp.testing import CT_IMAGE_STORAGE, SCU, AAbort, PresentationContextRQ, associate_rq

UID = "1.2.3.4"
DATA_SET = bytes.fromhex("1000 2000 4C4F 0200") + b"42"  # Patient ID in Explicit VR Little Endian


class KeepingDatabase(Database):
    """Keeps the rows it opens, too."""

    def open(self, request: StoreRequest) -> Row:
        self.row = super().open(request)
        return self.row


class StorageTests(SynchronousTestCase):
    """The storage with an SCU in memory, a clock that the test sets, and a test as the database."""

    def setUp(self) -> None:
        self.inserts: list[tuple[str, bytes]] = []
        self.cancelled: list[Deferred[None]] = []
        self.inserted: Deferred[None] = Deferred(self.cancelled.append)  # what the database answers
        self.clock = Clock()
        self.database = KeepingDatabase(self.run_statement)
        self.factory = StorageSCPFactory(Config(storage_timeout=60), self.database, self.clock)
        self.factory.doStart()
        self.addCleanup(self.leave_nothing)

    def run_statement(self, statement: str, row: tuple[str, bytearray]) -> "Deferred[None]":
        uid, file = row
        self.inserts.append((uid, bytes(file)))
        return self.inserted

    def leave_nothing(self) -> None:
        self.factory.doStop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def associate(self, *contexts: PresentationContextRQ) -> SCU:
        scu = SCU(self.factory, self.clock, associate_rq(contexts) if contexts else None)
        self.addCleanup(scu.disconnect)  # called before `leave_nothing`, which was added before it
        self.assertTrue(scu.accepted)
        return scu

    def test_held_back(self) -> None:
        """There is no response until the row is inserted; then it is Success."""
        scu = self.associate()
        scu.store(UID, DATA_SET)
        self.assertEqual(([UID], []), ([uid for uid, _ in self.inserts], scu.statuses))
        self.inserted.callback(None)
        scu.pump()
        self.assertEqual([0x0000], scu.statuses)

    def test_file(self) -> None:
        """What is inserted is a DICOM file, in the transfer syntax of the context it came on."""
        self.inserted.callback(None)
        scu = self.associate(
            PresentationContextRQ(1, CT_IMAGE_STORAGE, (ExplicitVRLittleEndian,)),
            PresentationContextRQ(3, CT_IMAGE_STORAGE, (ImplicitVRLittleEndian,)),
        )
        scu.store(UID, DATA_SET, context_id=1)
        scu.store("1.2.3.5", bytes.fromhex("1000 2000 0200 0000") + b"43", context_id=3)
        files = [dcmread(BytesIO(file)) for _, file in self.inserts]
        self.assertEqual(
            [(ExplicitVRLittleEndian, "42"), (ImplicitVRLittleEndian, "43")],
            [(file.file_meta.TransferSyntaxUID, file.PatientID) for file in files],
        )

    def test_fragments(self) -> None:
        """A data set that comes in two fragments is inserted as one, when the last one has come."""
        self.inserted.callback(None)
        scu = self.associate()
        scu.begin_store(UID)
        scu.send_fragment(DATA_SET[:5])
        self.assertEqual([], self.inserts)
        scu.send_fragment(DATA_SET[5:], last=True)
        self.assertEqual([True], [file.endswith(DATA_SET) for _, file in self.inserts])

    def test_failure(self) -> None:
        """Where the database fails, the sender hears A700H; the next instance is stored."""
        scu = self.associate()
        scu.store(UID, DATA_SET)
        failed, self.inserted = self.inserted, Deferred()
        failed.errback(sqlite3.OperationalError("database or disk is full"))
        scu.pump()
        scu.store(UID, DATA_SET)
        self.inserted.callback(None)
        scu.pump()
        self.assertEqual([0xA700, 0x0000], scu.statuses)

    def test_disconnected(self) -> None:
        """Where the sender is gone half way, nothing is inserted, and the memory is given back."""
        scu = self.associate()
        scu.begin_store(UID)
        scu.send_fragment(DATA_SET[:5])
        scu.disconnect()
        self.assertEqual(([], b""), (self.inserts, self.database.row.file))

    def test_timeout(self) -> None:
        """Where the database takes longer than the storage timeout, the association is aborted."""
        scu = self.associate()
        scu.store(UID, DATA_SET)
        self.clock.advance(59)
        scu.pump()
        self.assertIsNone(scu.ended)
        self.clock.advance(1)
        scu.pump()
        self.assertEqual((AAbort(0, 0), []), (scu.ended, scu.statuses))
        self.assertEqual([self.inserted], self.cancelled)

    def test_wire(self) -> None:
        """The same without the SCU: what goes to and fro is bytes."""
        transport = StringTransport()
        protocol = self.factory.buildProtocol(transport.getPeer())
        protocol.makeConnection(transport)

        def answer(data: bytes) -> bytes:
            transport.clear()
            protocol.dataReceived(data)
            return bytes(transport.value())

        request = associate_rq().encode()
        accepted = answer(request)
        self.assertEqual(b"\x02", accepted[:1])  # A-ASSOCIATE-AC
        self.assertEqual(request[10:42], accepted[10:42])  # both AE titles
        release_rq = bytes.fromhex("05 00 00000004 00000000")
        release_rp = bytes.fromhex("06 00 00000004 00000000")
        self.assertEqual(release_rp, answer(release_rq))
        protocol.connectionLost()


class DatabaseTests(TestCase):
    """The storage with a real database, its threads and the reactor; the SCU is the same."""

    async def test_stored(self) -> None:
        """What was answered with Success is in the database."""
        pool = ConnectionPool("sqlite3", self.mktemp(), check_same_thread=False, cp_max=1)
        self.addCleanup(pool.close)
        await pool.runOperation(TABLE)
        clock: Any = reactor
        factory = StorageSCPFactory(Config(), Database(pool.runOperation), clock)
        factory.doStart()
        self.addCleanup(factory.doStop)
        scu = SCU(factory, clock)
        self.addCleanup(scu.disconnect)
        scu.store(UID, DATA_SET)
        # The pool has one thread, so this query comes after the insert.
        rows = await pool.runQuery("select uid from instance")
        scu.pump()
        self.assertEqual(([(UID,)], [0x0000]), (rows, scu.statuses))
