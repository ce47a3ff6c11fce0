# mypy: allow-untyped-calls
"""Audit: what is told of who came, what came of it, and that it is in the file whatever happens to that."""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.errors import CannotStart, StoreFailure
from storescp.interfaces import Association, Certificate
from storescp.program.service import service_for
from storescp.server.access import Access
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import Realm
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAssociateRJ
from storescp.watch.audit import AuditObserver, JSONLines
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    DATA,
    DATA_SET,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    STORED,
    Peer,
    p_data,
    pdv,
)
from tests.server.test_access import CT2, SecurePeer, called_by, with_identity
from tests.ul import wire

LOST = "the connection was lost"

NOW = 1795811282.3295  # seconds
TIME = "2026-11-27T20:28:02.329Z"
ADDRESS = IPv4Address("TCP", "10.1.2.3", 104)

PASSCODE = wire("58 00 0012", "02 00", "0005", b"alice", "0007", b"opensea")
WRONG = wire("58 00 0012", "02 00", "0005", b"alice", "0007", b"OPENSEA")

ID = r"^[0-9a-f]{6}-[0-9]+$"
WHO: dict[str, Any] = {
    "peer": "10.1.2.3:104",
    "calling_ae_title": "MODALITY",
    "called_ae_title": "STORESCP",
    "certificate": None,
    "user": None,
}


class AuditTestCase(SynchronousTestCase):
    """A server in memory whose associations are audited at a time that stands still, on a clock that a test moves."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[dict[str, Any]] = []
        self.observer = AuditObserver(self.told.append, lambda: NOW, self.clock.seconds)

    def serve(self, *sinks: RecordingSink, portal: Portal | None = None, **options: Any) -> None:
        config = Config(**options)
        access = Access(config, portal=portal)
        self.storage = RecordingStorage(*sinks)
        self.scp = StorageSCPFactory(config, self.storage, self.clock, [self.observer], access=access)
        self.scp.doStart()
        self.addCleanup(self.scp.doStop)

    def connect(self, address: IAddress = ADDRESS) -> Peer:
        peer = Peer(self.scp, address)
        self.addCleanup(peer.disconnect)
        return peer

    def associated(self, *sinks: RecordingSink, **options: Any) -> Peer:
        self.serve(*sinks, **options)
        peer = self.connect()
        self.assertEqual(ASSOCIATE_AC, peer.write(ASSOCIATE_RQ))
        return peer

    def check(self, *expected: dict[str, Any]) -> None:
        """These were told, in this order, each at its time, and with the id of its association if it is of one."""
        told = [dict(event) for event in self.told]
        for event in told:
            if event["event"] != "refusal":
                self.assertRegex(event.pop("association"), ID)
        self.assertEqual([{"time": TIME, **event} for event in expected], told)


class AssociationTests(AuditTestCase):
    """What an association has come to."""

    def check_ended(self, **expected: Any) -> None:
        """That was told of the only one, and nothing else."""
        nothing: dict[str, Any] = {"seconds": 0.0, "instances": 0, "bytes": 0, "failed": 0, "cause": ""}
        self.check({"event": "association", **WHO, **nothing, **expected})

    def test_released(self) -> None:
        """It is told when it has ended, not before; how long it took, and what was stored of how many bytes."""
        peer = self.associated()
        self.assertEqual([STORED] * 3, [peer.write(STORE) for _ in range(3)])
        self.clock.advance(1.23449)
        peer.write(RELEASE_RQ)
        self.check()
        peer.disconnect()
        self.check_ended(ended="released", seconds=1.234, instances=3, bytes=3 * len(DATA_SET))

    def test_order(self) -> None:
        """Fields stand in an order that can be read."""
        self.associated().disconnect()
        self.assertEqual(
            "time event association peer calling_ae_title called_ae_title certificate user seconds instances bytes"
            " failed ended cause",
            " ".join(self.told[0]),
        )

    def test_aborted(self) -> None:
        """By whom it was aborted is told."""
        ends: list[tuple[Callable[[Peer], object], str]] = [
            (lambda peer: peer.write(ABORT), "by the peer"),
            (lambda peer: peer.write(wire("08 00 00000000")), "PDU type 08H is unknown"),
            (lambda peer: self.clock.advance(30), "nothing from the peer for 30 s (-to)"),
            (Peer.disconnect, "the connection was lost"),
            (lambda _: self.scp.shutdown(), "this server stops"),
        ]
        for end, cause in ends:
            self.setUp()
            peer = self.associated(timeout=30)
            end(peer)
            peer.disconnect()
            seconds = 30.0 if "30" in cause else 0.0
            self.check_ended(ended="aborted", cause=cause, seconds=seconds)

    def test_half(self) -> None:
        """An instance of which not all came has failed."""
        peer = self.associated()
        peer.write(STORE + STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET[:9])) + ABORT)
        peer.disconnect()
        self.check_ended(ended="aborted", cause="by the peer", instances=1, bytes=len(DATA_SET), failed=1)

    def test_refused(self) -> None:
        """So has one that the storage refused, or that was too large; the next may be stored."""
        refusing = RecordingSink()
        refusing.finish_error = StoreFailure("no")
        peer = self.associated(refusing, max_instance_size=len(DATA_SET))
        peer.write(STORE)
        peer.write(STORE_COMMAND + p_data(pdv(3, 2, DATA_SET + b"x")))
        peer.write(STORE)
        peer.write(RELEASE_RQ)
        peer.disconnect()
        self.check_ended(ended="released", instances=1, bytes=len(DATA_SET), failed=2)

    def test_stored_after_the_abort(self) -> None:
        """What the storage has finished when the peer was gone is counted: the event waits for it."""
        later = RecordingSink()
        later.finished = Deferred()
        peer = self.associated(later)
        peer.write(STORE)
        peer.disconnect()
        self.check()
        self.clock.advance(2)
        later.finished.callback(None)
        self.check_ended(ended="aborted", cause=LOST, instances=1, bytes=len(DATA_SET), seconds=2.0)

    def test_failed_after_the_abort(self) -> None:
        """What it could not finish, or was given up, is counted too."""
        ends: list[tuple[Callable[[RecordingSink], object], float]] = [
            (lambda sink: sink.finished.errback(StoreFailure("no")), 0.0),
            (lambda _: self.clock.advance(60), 60.0),
        ]
        for end, seconds in ends:
            self.setUp()
            later = RecordingSink()
            later.finished = Deferred()
            peer = self.associated(later, storage_timeout=60)
            peer.write(STORE)
            peer.disconnect()
            self.check()
            end(later)
            self.check_ended(ended="aborted", cause=LOST, failed=1, seconds=seconds)

    def test_each(self) -> None:
        """Several at a time are told each by itself."""
        self.serve()
        peers = {title: self.connect(IPv4Address("TCP", title, 1)) for title in ("a", "b")}
        for title, peer in peers.items():
            peer.write(called_by(title.encode(), ASSOCIATE_RQ))
        peers["a"].write(STORE)
        for peer in reversed(peers.values()):
            peer.write(RELEASE_RQ)
            peer.disconnect()
        told = [(event["peer"], event["calling_ae_title"], event["instances"]) for event in self.told]
        self.assertEqual([("b:1", "b", 0), ("a:1", "a", 1)], told)

    def test_forgotten(self) -> None:
        """Of one that has ended nothing is kept."""
        peer = self.associated()
        peer.disconnect()
        self.assertEqual({}, self.observer.accounts)

    def test_certificate_and_user(self) -> None:
        """Who it was is told by certificate and user, too."""
        checker = InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(b"alice", b"opensea")
        self.serve(portal=Portal(Realm(), [checker]))
        peer = SecurePeer(self.scp, ADDRESS, CT2)
        self.assertEqual(ASSOCIATE_AC, peer.write(with_identity(PASSCODE)))
        peer.write(RELEASE_RQ)
        peer.disconnect()
        fingerprint = str(CT2.digest("sha256"), "ascii").replace(":", "").lower()
        certificate = {"subject": "CN=ct2", "sha256": fingerprint}
        self.check_ended(ended="released", certificate=certificate, user="alice")

    def test_shortened(self) -> None:
        """Text of more than 2000 characters loses its middle, whoever chose it."""
        association = Association(
            peer="10.1.2.3:104",
            calling_ae_title="MODALITY",
            called_ae_title="STORESCP",
            certificate=Certificate(subject="CN=" + "c" * 60000, sha256="00" * 32),
        )
        self.observer.association_accepted(association, mock.Mock(), mock.Mock())
        self.observer.association_aborted(association, PAbort(0), "a" * 1500 + "b" * 7 + "c" * 500)
        self.observer.association_ended(association)
        self.check_ended(
            ended="aborted",
            cause="a" * 1500 + "[7 more characters]" + "c" * 500,
            certificate={
                "subject": "CN=" + "c" * 1497 + "[58003 more characters]" + "c" * 500,
                "sha256": "00" * 32,
            },
        )

    def test_shortened_user(self) -> None:
        """So does the name of a user: that of a token may have 60 KiB."""
        association = Association(peer="10.1.2.3:104", calling_ae_title="MODALITY", called_ae_title="STORESCP")
        association.user = "u" * 2007
        self.observer.association_rejected(association, AAssociateRJ(1, 2, 1), "no")
        self.assertEqual("u" * 1500 + "[7 more characters]" + "u" * 500, self.told[0]["user"])


class RefusedTests(AuditTestCase):
    """Who did not get an association."""

    def test_rejection(self) -> None:
        """The answer to the request is told as its result, source and reason, and why in words."""
        self.serve(require_called_aet=True, allow=("CT1",))
        cases = [
            (ASSOCIATE_RQ[:6] + b"\0\2" + ASSOCIATE_RQ[8:], [1, 2, 2], "", {}),
            (ASSOCIATE_RQ.replace(b"STORESCP", b"STORESCU"), [1, 1, 7], "", {"called_ae_title": "STORESCU"}),
            (ASSOCIATE_RQ, [1, 1, 3], "the calling AE title 'MODALITY' is not allowed", {}),
        ]
        for request, answer, cause, who in cases:
            self.told.clear()
            peer = self.connect()
            peer.write(request)
            event = {"event": "rejection", **WHO, **who, "answer": answer, "cause": cause}
            self.check(event)
            peer.disconnect()
            self.check(event)

    def test_limit(self) -> None:
        """A limit is a cause as any, in plain words."""
        self.serve(max_associations=1)
        self.connect().write(ASSOCIATE_RQ)
        self.connect().write(ASSOCIATE_RQ)
        self.check({"event": "rejection", **WHO, "answer": [2, 3, 2], "cause": "1 associations are open"})

    def test_user(self) -> None:
        """Of a user that was not verified there is no name but in the cause; of one that was there is."""
        checker = InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(b"alice", b"opensea")
        portal = Portal(Realm(), [checker])
        self.serve(portal=portal, insecure_identity=True)
        self.connect().write(with_identity(WRONG))
        cause = "the user 'alice' is not accepted"
        first = {"event": "rejection", **WHO, "answer": [1, 2, 1], "cause": cause}
        self.check(first)
        self.storage.is_ready = False
        self.connect().write(with_identity(PASSCODE))
        cause = "the storage does not work"
        self.check(first, {"event": "rejection", **WHO, "user": "alice", "answer": [2, 3, 1], "cause": cause})

    def test_ended_before_it_was_known(self) -> None:
        """One that ends while its user is still asked about got no answer; that is told once."""
        portal = Portal(Realm())
        portal.login = lambda *_: Deferred()  # type: ignore[method-assign]
        ends: list[tuple[Callable[[Peer], object], str]] = [
            (lambda peer: peer.write(ABORT), "by the peer"),
            (Peer.disconnect, "the connection was lost"),
            (lambda _: self.scp.shutdown(), "this server stops"),
        ]
        for end, cause in ends:
            self.setUp()
            self.serve(portal=portal)
            peer = self.connect()
            self.assertEqual(b"", peer.write(ASSOCIATE_RQ))
            end(peer)
            peer.disconnect()
            self.check({"event": "rejection", **WHO, "answer": None, "cause": cause})

    def test_late(self) -> None:
        """One whose user was not verified in time has an answer."""
        portal = Portal(Realm())
        portal.login = lambda *_: Deferred()  # type: ignore[method-assign]
        self.serve(portal=portal)
        peer = self.connect()
        peer.write(ASSOCIATE_RQ)
        self.clock.advance(10)
        peer.disconnect()
        cause = "its user was not verified within 10 s"
        self.check({"event": "rejection", **WHO, "answer": [1, 2, 1], "cause": cause})

    def test_connection(self) -> None:
        """A connection that ends before a request is told with its address alone."""
        self.serve(allow=("*@10.1.0.0/16", "*@2001:db8::/32"))
        network = "this network is not allowed (--allow, --allow-file)"
        addresses: dict[str, IAddress] = {
            "11.1.2.3:104": IPv4Address("TCP", "11.1.2.3", 104),
            "[2001:db9::1]:104": IPv6Address("TCP", "2001:db9::1", 104),
            "local": UNIXAddress(None),
        }
        for address in addresses.values():
            self.connect(address).disconnect()
        self.check(*({"event": "refusal", "peer": peer, "cause": network} for peer in addresses))
        self.told.clear()
        self.connect().write(b"GET / HTTP/1.0\r\n\r\n")
        self.check({"event": "refusal", "peer": "10.1.2.3:104", "cause": "PDU type 47H is unknown; it may be HTTP"})

    def test_nothing_happened(self) -> None:
        """Of a connection that only looks whether somebody listens there is nothing to tell."""
        self.serve()
        self.connect().disconnect()
        self.check()

    def test_shortened(self) -> None:
        """A cause may quote what a peer sent; it is as it came, and not more than enough of it."""
        self.observer.connection_refused("a:1", "\x1b[2J\n" + "x" * 1495 + "y" * 9 + "z" * 500)
        self.check(
            {
                "event": "refusal",
                "peer": "a:1",
                "cause": "\x1b[2J\n" + "x" * 1495 + "[9 more characters]" + "z" * 500,
            }
        )


class FloodTests(AuditTestCase):
    """Nobody fills the disk with refusals."""

    def refuse(self, host: str, count: int) -> list[int]:
        """How many were left out, for each event that this many refusals of that host made."""
        self.told.clear()
        for port in range(count):
            self.observer.connection_refused(f"{host}:{port}", "no")
        return [event.get("left_out", 0) for event in self.told]

    def test_a_minute(self) -> None:
        """There are 600 a minute of each host; the first of the next minute says how many are missing."""
        self.assertEqual([0] * 600, self.refuse("10.1.2.3", 700))
        self.clock.advance(59.9)
        self.assertEqual([], self.refuse("10.1.2.3", 7))
        self.assertEqual([0], self.refuse("10.1.2.4", 1))
        self.clock.advance(0.1)
        self.assertEqual([107, 0], self.refuse("10.1.2.3", 2))
        self.check(
            {"event": "refusal", "peer": "10.1.2.3:0", "cause": "no", "left_out": 107},
            {"event": "refusal", "peer": "10.1.2.3:1", "cause": "no"},
        )

    def test_both_kinds(self) -> None:
        """Refusals and rejections are counted together."""
        self.refuse("10.1.2.3", 600)
        self.told.clear()
        association = Association(peer="10.1.2.3:999", calling_ae_title="A", called_ae_title="B")
        self.observer.association_rejected(association, AAssociateRJ(1, 1, 3), "no")
        self.observer.association_aborted(association, PAbort(0), "no")
        self.check()
        self.clock.advance(60)
        self.observer.association_rejected(association, AAssociateRJ(1, 1, 3), "no")
        who = {**WHO, "peer": "10.1.2.3:999", "calling_ae_title": "A", "called_ae_title": "B"}
        self.check({"event": "rejection", **who, "answer": [1, 1, 3], "cause": "no", "left_out": 2})

    def test_associations(self) -> None:
        """Those that were accepted are told all, whatever else their host does."""
        self.refuse("10.1.2.3", 700)
        self.told.clear()
        self.serve()
        for _ in range(700):
            peer = self.connect()
            peer.write(ASSOCIATE_RQ)
            peer.disconnect()
        self.assertEqual(["association"] * 700, [event["event"] for event in self.told])


class TimeTests(AuditTestCase):
    def test_format(self) -> None:
        """Times are those of UTC, to the millisecond, whatever is the zone of the machine."""
        times = {
            NOW: TIME,
            0: "1970-01-01T00:00:00.000Z",
            1795811282: "2026-11-27T20:28:02.000Z",
            1795811282.0625: "2026-11-27T20:28:02.062Z",
            1795811282.9999: "2026-11-27T20:28:02.999Z",
            4102444799.5: "2099-12-31T23:59:59.500Z",
        }
        for now, expected in times.items():
            self.observer = AuditObserver(self.told.append, partial(float, now))
            self.observer.connection_refused("a:1", "no")
            self.assertEqual(expected, self.told[-1]["time"])


def open_descriptors() -> list[str]:
    """Those of this process, where the system tells."""
    return os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []


class JSONLinesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())

    def open(self) -> JSONLines:
        lines = JSONLines(self.path)
        self.addCleanup(lines.close)
        return lines

    def content(self, path: str = "") -> bytes:
        with open(path or self.path, "rb") as file:
            return file.read()


class JSONLinesTests(JSONLinesTestCase):
    """The file."""

    def test_lines(self) -> None:
        """Each event is one line, which is there at once."""
        lines = self.open()
        self.assertEqual(b"", self.content())
        lines.write({"a": 1, "b": [1, 2], "c": None, "d": {"e": 1.5}})
        self.assertEqual(b'{"a":1,"b":[1,2],"c":null,"d":{"e":1.5}}\n', self.content())
        lines.write({"z": True, "a": ""})
        self.assertEqual(b'{"a":1,"b":[1,2],"c":null,"d":{"e":1.5}}\n{"z":true,"a":""}\n', self.content())

    def test_escaped(self) -> None:
        """Nothing that a peer says ends a line, or does anything to a terminal; it can be read as it was."""
        text = '\0\a\b\t\n\r\x1b[2J"\\\x7f\x80\x9b\u00c4\u2028\u202e\ufeff\ud800\U0001f600'
        lines = self.open()
        lines.write({"a": text})
        self.assertEqual(
            b'{"a":"\\u0000\\u0007\\b\\t\\n\\r\\u001b[2J\\"\\\\\\u007f\\u0080\\u009b\\u00c4\\u2028\\u202e\\ufeff'
            b'\\ud800\\ud83d\\ude00"}\n',
            self.content(),
        )
        self.assertEqual({"a": text}, json.loads(self.content()))

    def test_mode(self) -> None:
        """It is for its owner alone; one that is there keeps its mode."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.open()
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.path).st_mode))
        os.chmod(self.path, 0o640)
        self.open()
        self.assertEqual(0o640, stat.S_IMODE(os.stat(self.path).st_mode))

    def test_appends(self) -> None:
        """What is there stays, also where another writes to it meanwhile."""
        with open(self.path, "wb") as file:
            file.write(b"before\n")
        first, second = self.open(), self.open()
        first.write({"a": 1})
        second.write({"a": 2})
        first.write({"a": 3})
        self.assertEqual(b'before\n{"a":1}\n{"a":2}\n{"a":3}\n', self.content())

    def test_one_call(self) -> None:
        """A line is written by one call of the system, so that those of several processes do not mix."""
        lines = self.open()
        with mock.patch("os.write", wraps=os.write) as write:
            lines.write({"a": "x" * 5000})
        self.assertEqual(1, write.call_count)

    def test_cannot_be_opened(self) -> None:
        """Where it cannot be opened the server cannot start."""
        self.path = self.mktemp()
        os.mkdir(self.path)
        for path, expected in ((self.path, "Is a directory"), ("/nowhere/audit", "No such file or directory")):
            error = self.assertRaises(CannotStart, JSONLines, path)
            self.assertEqual(f"{path}: {expected}", str(error))

    def test_reload(self) -> None:
        """Who has renamed it gets a new one by a reload, with no line lost; the old one is closed."""
        lines = self.open()
        lines.write({"a": 1})
        old = f"{self.path}.1"
        os.rename(self.path, old)
        lines.write({"a": 2})
        descriptors = len(open_descriptors())
        lines.reload()
        self.assertEqual(descriptors, len(open_descriptors()))
        lines.write({"a": 3})
        self.assertEqual((b'{"a":1}\n{"a":2}\n', b'{"a":3}\n'), (self.content(old), self.content()))

    def test_bad_reload(self) -> None:
        """Where a new one cannot be opened the old one is written on."""
        lines = self.open()
        old = f"{self.path}.1"
        os.rename(self.path, old)
        os.mkdir(self.path)
        error = self.assertRaises(CannotStart, lines.reload)
        self.assertEqual(f"{self.path}: Is a directory", str(error))
        lines.write({"a": 1})
        self.assertEqual(b'{"a":1}\n', self.content(old))

    def test_close(self) -> None:
        """Once closed nothing of it is open; what is written then is in the file of that name by then."""
        before = open_descriptors()
        lines = self.open()
        lines.write({"a": 1})
        for _ in range(2):
            lines.close()
        self.assertEqual(before, open_descriptors())
        old = f"{self.path}.1"
        os.rename(self.path, old)
        lines.write({"a": 2})
        lines.write({"a": 3})
        self.assertEqual((b'{"a":1}\n', b'{"a":2}\n{"a":3}\n'), (self.content(old), self.content()))
        lines.close()
        self.assertEqual(before, open_descriptors())

    def test_reload_when_closed(self) -> None:
        """A reload opens it as well."""
        lines = self.open()
        lines.close()
        lines.reload()
        lines.write({"a": 1})
        self.assertEqual(b'{"a":1}\n', self.content())

    def test_not_opened_again(self) -> None:
        """Where it cannot be opened again, events are lost as they are where it cannot be written, and told of."""
        lines = self.open()
        lines.close()
        os.remove(self.path)
        os.mkdir(self.path)
        with capturedLogs() as captured:
            for number in range(3):
                lines.write({"a": number})
            os.rmdir(self.path)
            lines.write({"a": 3})
        self.assertEqual(
            [
                f"{self.path}: Is a directory: what happens is not audited",
                f"{self.path} can be written again; 3 events are lost",
            ],
            [formatEvent(event) for event in captured],
        )
        self.assertEqual(b'{"a":3}\n', self.content())

    def test_service(self) -> None:
        """A service that has stopped has closed it, and one that is started again writes to it."""
        before = open_descriptors()
        config = Config(port=11112, audit_log=self.path)
        service = service_for(config, storage=RecordingStorage(), reactor=MemoryReactorClock())
        for times in (1, 2):
            service.startService()
            factory = service._factory
            peer = Peer(factory, ADDRESS)
            peer.write(b"GET / HTTP/1.0\r\n\r\n")
            peer.disconnect()
            self.successResultOf(service.stopService())
            self.assertEqual((before, times), (open_descriptors(), self.content().count(b"\n")))


class PipeTests(JSONLinesTestCase):
    """The file is a pipe: who reads it may be slow, or gone, and is not waited for."""

    def setUp(self) -> None:
        super().setUp()
        os.mkfifo(self.path)

    def read(self) -> int:
        """The descriptor of who reads it."""
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(self.leave, reader)
        return reader

    def leave(self, reader: int) -> None:
        with contextlib.suppress(OSError):  # left before
            os.close(reader)

    def test_no_reader(self) -> None:
        """Without a reader a server cannot start, which it says at once."""
        error = self.assertRaises(CannotStart, JSONLines, self.path)
        self.assertEqual(f"{self.path}: No such device or address", str(error))

    def test_reader(self) -> None:
        """With one it is a file like any other."""
        reader = self.read()
        lines = self.open()
        lines.write({"a": 1})
        lines.write({"a": 2})
        self.assertEqual(b'{"a":1}\n{"a":2}\n', os.read(reader, 100))

    def test_full(self) -> None:
        """What does not fit in is lost, and counted, until there is room again."""
        reader = self.read()
        lines = self.open()
        with capturedLogs() as captured:
            written = 0
            while not captured:
                lines.write({"a": "x" * 4000})
                written += 1
            for _ in range(9):
                lines.write({"a": "x" * 4000})
            while True:
                try:
                    os.read(reader, 1 << 20)
                except BlockingIOError:
                    break
            lines.write({"a": 1})
        self.assertGreater(written, 1)
        self.assertEqual(
            [
                f"{self.path}: Resource temporarily unavailable: what happens is not audited",
                f"{self.path} can be written again; 10 events are lost",
            ],
            [formatEvent(event) for event in captured],
        )
        self.assertEqual(b'{"a":1}', os.read(reader, 100).strip())

    def test_reader_gone(self) -> None:
        """Of a reader that is gone no more is written, and no signal ends the process; the next one is served."""
        reader = self.read()
        lines = self.open()
        self.leave(reader)
        with capturedLogs() as captured:
            for number in range(3):
                lines.write({"a": number})
            reader = self.read()
            lines.write({"a": 3})
        self.assertEqual(b'{"a":3}\n', os.read(reader, 100))
        self.assertEqual(
            [
                f"{self.path}: Broken pipe: what happens is not audited",
                f"{self.path} can be written again; 3 events are lost",
            ],
            [formatEvent(event) for event in captured],
        )


class FullDisk:
    """An `os.write` that writes no more than `room` bytes, and fails when there is no room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


class FullDiskTests(JSONLinesTestCase):
    """The file cannot be written."""

    def setUp(self) -> None:
        super().setUp()
        self.lines = self.open()
        self.disk = FullDisk(10**9)
        patcher = mock.patch("os.write", self.disk)
        patcher.start()
        self.addCleanup(patcher.stop)

    def write(self, *numbers: int) -> list[tuple[str, str]]:
        """What is logged when these are written: level and text."""
        with capturedLogs() as captured:
            for number in numbers:
                self.lines.write({"a": number})
        return [(event["log_level"].name, formatEvent(event).replace(self.path, "FILE")) for event in captured]

    def test_full(self) -> None:
        """That is said once; when it can be written again it is said how many events are lost."""
        self.disk.room = 0
        error = ("error", "FILE: No space left on device: what happens is not audited")
        self.assertEqual([error], self.write(1, 2, 3))
        self.disk.room = 10**9
        self.assertEqual([("warn", "FILE can be written again; 3 events are lost")], self.write(4, 5))
        self.assertEqual(b'{"a":4}\n{"a":5}\n', self.content())
        self.disk.room = 0
        self.assertEqual([error], self.write(6))
        self.disk.room = 10**9
        self.assertEqual([("warn", "FILE can be written again; 1 events are lost")], self.write(7))

    def test_torn(self) -> None:
        """A line of which a part was written does not spoil the next one."""
        for room in range(1, 8):
            os.truncate(self.path, 0)
            self.disk.room = room
            self.assertEqual(["error"], [level for level, _ in self.write(1)])
            self.assertEqual(b'{"a":1}\n'[:room], self.content())
            self.disk.room = 10**9
            self.write(2)
            self.assertEqual(b'{"a":1}\n'[:room] + b'\n{"a":2}\n', self.content())

    def test_torn_again(self) -> None:
        """Nor do several of them."""
        self.disk.room = 3
        self.write(1, 2)
        self.disk.room = 4
        self.write(3, 4)
        self.disk.room = 10**9
        self.assertEqual([("warn", "FILE can be written again; 4 events are lost")], self.write(5))
        self.assertEqual(b'{"a\n{"a\n{"a":5}\n', self.content())

    def test_in_pieces(self) -> None:
        """A line that the system takes in pieces is whole."""
        with mock.patch("os.write", lambda descriptor, data: self.disk(descriptor, data[:3])):
            self.assertEqual([], self.write(1, 2))
        self.assertEqual(b'{"a":1}\n{"a":2}\n', self.content())
