# mypy: allow-untyped-calls
"""Limits: what a peer gets that reaches one, that it is told and counted, and that nobody else is harmed."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress

from storescp.errors import Excess, StoreFailure
from storescp.ul.machine import PAbort, Sta
from storescp.ul.pdu import AAbort, AAssociateRJ
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    COMMAND,
    DATA,
    DATA_SET,
    ECHO,
    ECHO_RQ,
    ECHOED,
    FIXED,
    LAST_COMMAND,
    LAST_DATA,
    NAME,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    STORE_RQ,
    STORED,
    Peer,
    ServerTestCase,
    abort,
    p_data,
    pdv,
    store_rsp,
)
from tests.ul import wire

LOCAL_LIMIT = wire("03 00 00000004", "00 02 03 02")  # A-ASSOCIATE-RJ: transient, presentation, local limit exceeded
CONGESTION = wire("03 00 00000004", "00 02 03 01")
TOO_LARGE = p_data(pdv(3, LAST_COMMAND, store_rsp("00A7")))
HALF = STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET[:9]))
UNKNOWN_PDU = wire("08 00 00000000")


class LimitTestCase(ServerTestCase):
    """One server, and peers of several hosts; each connection has a port of its own."""

    def start(self, **options: Any) -> None:
        self.scp = self.factory(**options)
        self.ports: Counter[str] = Counter()

    def connect(self, host: str = "a", data: bytes = b"") -> Peer:
        """A peer of this host, of which 104 is the first port, that has said this."""
        peer = self.connect_from(IPv4Address("TCP", host, 104 + self.ports[host]))
        self.ports[host] += 1
        if data:
            peer.write(data)
            peer.heard()
        return peer

    def connect_from(self, address: IAddress) -> Peer:
        peer = Peer(self.scp, address)
        self.addCleanup(peer.disconnect)
        return peer

    def answer(self, host: str = "a", request: bytes = ASSOCIATE_RQ) -> bytes:
        """What a newcomer is answered; it leaves then."""
        peer = self.connect(host)
        answer = peer.write(request)
        peer.disconnect()
        return answer

    def check_counts(self, **expected: int) -> None:
        """How often each limit was reached."""
        self.assertEqual(expected, dict(self.scp.limits_reached))

    def check_told(self, *expected: Any) -> None:
        """These are the latest events, and these of their causes are limits."""
        events = self.observer.events[-len(expected) :]
        self.assertEqual(list(expected), [tuple(map(plain, event)) for event in events])


def plain(argument: Any) -> Any:
    """An `Excess` as it can be compared: its limit and its words."""
    if isinstance(argument, StoreFailure):
        return argument.status, plain(argument.cause)
    return (argument.limit, str(argument)) if isinstance(argument, Excess) else argument


def says(data: bytes) -> Callable[[Peer], object]:
    """What a peer does that sends this."""
    return lambda peer: peer.write(data)


class AssociationTests(LimitTestCase):
    """As many associations as there may be, and no more."""

    def check_rejected(self, peer: Peer, limit: str, cause: str) -> None:
        """The peer's request gets the rejection of PS3.8 Table 9-21, and observers are told why."""
        self.assertEqual(LOCAL_LIMIT, peer.write(ASSOCIATE_RQ))
        self.assertEqual((Sta.Sta13, False), (peer.protocol.state, peer.transport.disconnecting))
        self.assertEqual("association_requested", self.observer.names[-2])
        self.check_told(("association_rejected", AAssociateRJ(2, 3, 2), (limit, cause)))

    def test_in_all(self) -> None:
        """One more than there may be is rejected, of whatever host it is; those there are go on."""
        self.start(max_associations=2)
        peers = [self.connect(host, ASSOCIATE_RQ) for host in "ab"]
        self.check_counts()
        for host in "ca":
            self.check_rejected(self.connect(host), "max_associations", "2 associations are open")
        self.check_counts(max_associations=2)
        self.assertEqual([ECHOED, ECHOED], [peer.write(ECHO) for peer in peers])

    def test_of_one_host(self) -> None:
        """So is one more of a host than it may have, whatever ports it comes from; another host's is not."""
        self.start(max_associations_per_peer=2)
        for _ in range(2):
            self.connect("a", ASSOCIATE_RQ)
        self.assertEqual(ASSOCIATE_AC, self.answer("b"))
        self.check_counts()
        cause = "2 associations with this host are open"
        self.check_rejected(self.connect("a"), "max_associations_per_peer", cause)
        self.check_counts(max_associations_per_peer=1)

    def test_defaults(self) -> None:
        """By default there may be 64 of a host and 256 in all."""
        self.start()
        for host in "abcd":
            for _ in range(64):
                self.assertEqual(ASSOCIATE_AC, self.connect(host).write(ASSOCIATE_RQ))
            if host == "a":
                self.assertEqual(LOCAL_LIMIT, self.answer("a"))
        self.assertEqual(LOCAL_LIMIT, self.answer("e"))
        self.check_counts(max_associations_per_peer=1, max_associations=1)

    def test_addresses(self) -> None:
        """A host is known by its address without the port; all sockets of the file system are one host."""
        addresses: list[tuple[IAddress, IAddress]] = [
            (IPv4Address("TCP", "10.0.0.1", 1), IPv4Address("TCP", "10.0.0.1", 2)),
            (IPv6Address("TCP", "::1", 1), IPv6Address("TCP", "::1", 2)),
            (UNIXAddress(b"/x"), UNIXAddress(None)),
        ]
        self.start(max_associations_per_peer=1)
        for first, second in addresses:
            self.assertEqual(ASSOCIATE_AC, self.connect_from(first).write(ASSOCIATE_RQ))
            self.assertEqual(LOCAL_LIMIT, self.connect_from(second).write(ASSOCIATE_RQ))

    def test_mapped(self) -> None:
        """A host that uses IPv4 is the same one on a socket for IPv6, which calls it otherwise; others are not."""
        self.start(max_associations_per_peer=2)
        addresses = ("10.1.2.3", "::ffff:10.1.2.3", "::ffff:10.1.2.4", "::1", "::ffff:a01:203", "2001:db8::a01:203")
        hosts = []
        for address in addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            hosts.append(self.connect_from(kind("TCP", address, 104)).protocol.host)
        expected = ["10.1.2.3", "10.1.2.3", "10.1.2.4", "::1", "::ffff:a01:203", "2001:db8::a01:203"]
        self.assertEqual(expected, hosts)
        for address in addresses[:2]:
            kind = IPv6Address if ":" in address else IPv4Address
            self.connect_from(kind("TCP", address, 204)).write(ASSOCIATE_RQ)
        third = self.connect_from(IPv6Address("TCP", "::ffff:10.1.2.3", 304))
        self.check_rejected(third, "max_associations_per_peer", "2 associations with this host are open")
        self.assertEqual(
            ASSOCIATE_AC, self.connect_from(IPv6Address("TCP", "::ffff:10.1.2.4", 304)).write(ASSOCIATE_RQ)
        )

    def test_permanent_first(self) -> None:
        """What would be refused at any time is refused as that: to try again would be in vain."""
        self.start(max_associations=1, require_called_aet=True)
        self.connect("a", ASSOCIATE_RQ)
        requests = {
            wire("00 01 02 02"): ASSOCIATE_RQ[:6] + b"\0\2" + ASSOCIATE_RQ[8:],
            wire("00 01 01 02"): ASSOCIATE_RQ.replace(NAME, NAME[:-1] + b"2"),
            wire("00 01 01 07"): ASSOCIATE_RQ.replace(b"STORESCP", b"STORESCU"),
        }
        for reason, request in requests.items():
            self.assertEqual(wire("03 00 00000004", reason), self.answer("b", request))
            self.assertEqual(("association_rejected", ""), (self.observer.events[-1][0], self.observer.events[-1][2]))
        self.check_counts()

    def test_storage_not_ready(self) -> None:
        """A storage that does not work is another cause, and no limit; where there is no seat it is not asked."""
        self.start(max_associations=1)
        self.storage.is_ready = False
        self.assertEqual(CONGESTION, self.answer())
        self.check_told(("association_rejected", AAssociateRJ(2, 3, 1), "the storage does not work"))
        self.storage.is_ready = True
        self.connect("a", ASSOCIATE_RQ)
        self.storage.is_ready = False
        self.assertEqual(LOCAL_LIMIT, self.answer())
        self.check_counts(max_associations=1)

    def test_rejected_takes_no_seat(self) -> None:
        """An association that was rejected, for whatever reason, has never had a seat."""
        self.start(max_associations=1, require_called_aet=True)
        self.connect("a", ASSOCIATE_RQ.replace(b"STORESCP", b"STORESCU"))
        self.storage.is_ready = False
        self.connect("a", ASSOCIATE_RQ)
        self.storage.is_ready = True
        self.assertEqual(ASSOCIATE_AC, self.connect().write(ASSOCIATE_RQ))
        self.connect("a", ASSOCIATE_RQ)
        self.assertEqual(LOCAL_LIMIT, self.answer())


class SeatTests(LimitTestCase):
    """When another association may have the place of one that has ended."""

    def setUp(self) -> None:
        super().setUp()
        self.finished: Deferred[None] = Deferred()
        self.dropped: Deferred[None] = Deferred()
        self.sink = RecordingSink()
        self.storage = RecordingStorage(self.sink)

    def start(self, **options: Any) -> None:
        super().start(max_associations=1, **options)

    def free(self) -> bool:
        """Whether a newcomer would get the seat."""
        return self.answer("z") == ASSOCIATE_AC

    def check_free_after(self, *ends: Callable[[Peer], object], **options: Any) -> None:
        """The only seat there is, is taken until all of these have happened, and is free then."""
        self.start(**options)
        peer = self.connect("a", ASSOCIATE_RQ)
        for end in ends:
            self.assertFalse(self.free())
            end(peer)
        self.assertTrue(self.free())
        peer.disconnect()
        self.assertTrue(self.free())

    def passes(self, seconds: float) -> Callable[[Peer], object]:
        return lambda _: self.clock.advance(seconds)

    def test_ends(self) -> None:
        """It is free when the connection is gone, however the association has ended before that."""
        ends: list[tuple[dict[str, Any], Callable[[Peer], object]]] = [
            ({}, says(RELEASE_RQ)),
            ({}, says(ABORT)),
            ({}, says(UNKNOWN_PDU)),
            ({}, says(ECHOED)),
            ({"timeout": 10}, self.passes(10)),
        ]
        for options, end in ends:
            self.check_free_after(end, Peer.disconnect, **options)
        self.check_free_after(Peer.disconnect)

    def test_fragment_timeout(self) -> None:
        """So after a -td, which drops an instance too."""
        self.check_free_after(says(HALF), self.passes(10), Peer.disconnect, dimse_timeout=10)

    def test_not_twice(self) -> None:
        """Each end frees one seat, also where several things must be over for it."""
        self.sink.dropped = self.dropped
        LimitTestCase.start(self, max_associations=2)
        peers = [self.connect("a", ASSOCIATE_RQ) for _ in range(2)]
        peers[0].write(HALF + ABORT)
        peers[0].disconnect()
        self.dropped.callback(None)
        self.connect("a", ASSOCIATE_RQ)
        self.assertFalse(self.free())

    def test_finishing(self) -> None:
        """An instance that the storage has not finished keeps the seat, though the connection is gone."""
        for fire in (
            lambda _: self.finished.callback(None),
            lambda _: self.finished.errback(StoreFailure("no")),
            self.passes(60),
        ):
            for end in (says(ABORT), says(RELEASE_RQ), Peer.disconnect):
                self.setUp()
                self.sink.finished = self.finished
                self.check_free_after(says(STORE), end, Peer.disconnect, fire)

    def test_dropping(self) -> None:
        """An instance that the storage has not forgotten yet keeps the seat, though the connection is gone."""
        too_large = HALF + p_data(pdv(3, LAST_DATA, DATA_SET))
        for data, size in ((HALF, None), (HALF, 8), (too_large, 8)):
            for end in (says(ABORT), says(RELEASE_RQ), Peer.disconnect):
                self.setUp()
                self.sink.dropped = self.dropped
                self.check_free_after(
                    says(data),
                    end,
                    Peer.disconnect,
                    lambda _: self.dropped.callback(None),
                    max_instance_size=size,
                )

    def test_dropping_never_ends(self) -> None:
        """A storage that never forgets it is given up at the storage timeout, as one that never answers is."""
        self.sink.dropped = self.dropped
        self.check_free_after(says(HALF), Peer.disconnect, self.passes(60))
        self.assertEqual((True, []), (self.dropped.called, self.flushLoggedErrors()))

    def test_dropping_fails(self) -> None:
        """A sink that fails to forget it, at once or later, has done with it: logged once, and the seat is free."""
        self.sink.dropped = self.dropped
        self.check_free_after(says(HALF), Peer.disconnect, lambda _: self.dropped.errback(ZeroDivisionError()))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.setUp()
        self.sink.abort_error = ZeroDivisionError()
        self.check_free_after(says(HALF), Peer.disconnect)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_done_before(self) -> None:
        """What the storage has done while the connection is there frees nothing."""
        self.sink.finished = self.finished
        self.check_free_after(
            says(STORE),
            lambda _: self.finished.callback(None),
            says(RELEASE_RQ),
            Peer.disconnect,
        )
        self.setUp()
        self.sink.dropped = self.dropped
        self.check_free_after(says(HALF + ABORT), lambda _: self.dropped.callback(None), Peer.disconnect)


class UnassociatedTests(LimitTestCase):
    """Connections without an association: they never keep out one that is to have one."""

    def gone(self, *peers: Peer) -> list[bool]:
        """Which of them were cut off."""
        return [peer.transport.disconnected for peer in peers]

    def check_evicted(self, peer: Peer) -> None:
        """It was cut off without a word, and nothing it sends is looked at any more."""
        self.assertEqual(([True], b""), (self.gone(peer), peer.heard()))
        events = len(self.observer.events)
        self.assertEqual(b"", peer.write(ASSOCIATE_RQ + RELEASE_RQ))
        peer.disconnect()
        self.assertEqual([], self.observer.events[events:])

    def test_one_more(self) -> None:
        """The 65th connection of a host costs it the oldest; that is told once, and no other is touched."""
        self.start()
        peers = [self.connect() for _ in range(64)]
        self.assertEqual(([False] * 64, []), (self.gone(*peers), self.observer.events))
        newcomer = self.connect()
        self.assertEqual([True] + [False] * 64, self.gone(*peers, newcomer))
        self.check_told(
            ("connection_refused", "a:104", ("max_unassociated", "more than 64 connections are without an association"))
        )
        self.check_evicted(peers[0])
        self.check_counts(max_unassociated=1)
        self.assertEqual(ASSOCIATE_AC, newcomer.write(ASSOCIATE_RQ))

    def test_crowd(self) -> None:
        """A host that opens many does not drive out another's: a peer that takes its time gets its association."""
        self.start(max_unassociated=3)
        friend = self.connect("b", ASSOCIATE_RQ[:50])
        crowd = [self.connect("a") for _ in range(10)]
        self.assertEqual([False, *[True] * 8, False, False], self.gone(friend, *crowd))
        self.assertEqual(ASSOCIATE_AC, friend.write(ASSOCIATE_RQ[50:]))
        self.check_counts(max_unassociated=8)

    def test_half_a_request(self) -> None:
        """A request that is not complete is no association."""
        self.start(max_unassociated=1)
        peer = self.connect("a", ASSOCIATE_RQ[:-1])
        self.connect("b")
        self.check_evicted(peer)

    def test_associations(self) -> None:
        """Associations do not count, and are never cut off."""
        self.start(max_unassociated=1)
        peers = [self.connect("a", ASSOCIATE_RQ) for _ in range(3)]
        idle = self.connect("a")
        self.assertEqual([False], self.gone(idle))
        self.connect("b")
        self.assertEqual([True], self.gone(idle))
        self.assertEqual([ECHOED] * 3, [peer.write(ECHO) for peer in peers])

    def test_ended(self) -> None:
        """Associations that have ended do not count either, in whatever way: they have their seat still."""
        for end in (RELEASE_RQ, ABORT, UNKNOWN_PDU, ECHOED):
            self.start(max_unassociated=1)
            peers = [self.connect("a", ASSOCIATE_RQ + end) for _ in range(2)]
            idle = self.connect("a")
            self.assertEqual([False] * 3, self.gone(*peers, idle))
            self.check_counts()

    def test_refused(self) -> None:
        """Connections that wait for the close with no association before it count, and go without another word."""
        ends = {
            ASSOCIATE_RQ.replace(b"STORESCP", b"STORESCU"): wire("03 00 00000004", "00 01 01 07"),
            UNKNOWN_PDU: abort(0, 0),
        }
        for data, answer in ends.items():
            self.start(max_unassociated=1, require_called_aet=True)
            peer = self.connect()
            self.assertEqual(answer, peer.write(data))
            self.observer.events.clear()
            self.connect("b").disconnect()
            self.check_evicted(peer)
            self.assertEqual([], self.observer.events)
            self.check_counts(max_unassociated=1)

    def test_closing(self) -> None:
        """One that was told to end, and does not, counts until it is gone."""
        self.start(max_unassociated=1)
        peer = self.connect()
        self.clock.advance(30)
        self.assertEqual(["connection_refused"], self.observer.names)
        self.connect("b").disconnect()
        self.check_evicted(peer)
        self.assertEqual(["connection_refused"], self.observer.names)
        self.check_counts(max_unassociated=1)

    def test_lost(self) -> None:
        """What is lost makes room: before an association, within one, or after it."""
        for data in (b"", ASSOCIATE_RQ[:20], ASSOCIATE_RQ, ASSOCIATE_RQ + RELEASE_RQ, UNKNOWN_PDU):
            self.start(max_unassociated=2)
            idle = self.connect("b")
            self.connect("a", data).disconnect()
            last = self.connect("a")
            self.assertEqual([False, False], self.gone(idle, last), data)
            self.check_counts()
            idle.disconnect()
            last.disconnect()

    def test_loss_of_an_association(self) -> None:
        """An association that is lost needs no place any more: nobody goes for it."""
        self.start(max_unassociated=1)
        peer = self.connect("a", ASSOCIATE_RQ)
        idle = self.connect("a")
        peer.disconnect()
        self.assertEqual([False], self.gone(idle))
        self.check_counts()

    def test_shutdown(self) -> None:
        """At the end of the server nobody goes for another: each A-ABORT is sent, and the close is in order."""
        self.start(max_unassociated=1)
        peers = [self.connect("a", ASSOCIATE_RQ) for _ in range(3)]
        self.scp.shutdown()
        self.assertEqual([ABORT] * 3, [peer.heard() for peer in peers])
        self.assertEqual([False] * 3, self.gone(*peers))
        self.check_counts()


class InstanceSizeTests(LimitTestCase):
    """--max-instance-size: bytes of a data set."""

    TOLD = (0xA700, ("max_instance_size", "it has more than 23 bytes"))

    def start_associated(self, **options: Any) -> Peer:
        self.start(**options)
        return self.connect("a", ASSOCIATE_RQ)

    def check_refused(self, peer: Peer, *pdus: bytes, kept: bytes) -> None:
        """The answer comes after the last PDU; the sink was aborted after `kept`; the next instance is welcome."""
        heard = [peer.write(pdu) for pdu in pdus]
        self.assertEqual([b""] * (len(pdus) - 1) + [TOO_LARGE], heard)
        sink = self.storage.sinks[-1]
        self.assertEqual((kept, ["abort"]), (sink.data, sink.ends))
        self.assertEqual("instance_refused", self.observer.names[-2])
        self.assertEqual(self.TOLD, plain(self.observer.events[-2][2]))
        self.assertEqual(STORED, peer.write(STORE))
        self.assertEqual((DATA_SET, ["finish"]), (self.storage.sinks[-1].data, self.storage.sinks[-1].ends))

    def test_just_fits(self) -> None:
        """An instance of just as many bytes as may be is stored, in one fragment or in many, one after the other."""
        self.assertEqual(23, len(DATA_SET))
        peer = self.start_associated(max_instance_size=23)
        many = b"".join(p_data(pdv(3, DATA, bytes([byte]))) for byte in DATA_SET) + p_data(pdv(3, LAST_DATA, b""))
        self.assertEqual(STORED * 3, peer.write(STORE + STORE_COMMAND + many + STORE))
        self.assertEqual([(DATA_SET, ["finish"])] * 3, [(sink.data, sink.ends) for sink in self.storage.sinks])
        self.check_counts()

    def test_one_more(self) -> None:
        """One byte more is refused with A700, in one PDU with its command or in several of many fragments."""
        peer = self.start_associated(max_instance_size=23)
        cases: list[tuple[list[bytes], bytes]] = [
            ([p_data(pdv(3, LAST_COMMAND, STORE_RQ), pdv(3, LAST_DATA, bytes(24)))], b""),
            ([p_data(pdv(3, LAST_COMMAND, STORE_RQ), pdv(3, DATA, DATA_SET), pdv(3, LAST_DATA, b"!"))], DATA_SET),
            ([STORE_COMMAND, p_data(pdv(3, DATA, DATA_SET)), p_data(pdv(3, LAST_DATA, b"!"))], DATA_SET),
            (
                [STORE_COMMAND, *(p_data(pdv(3, DATA, b"!")) for _ in range(24)), p_data(pdv(3, LAST_DATA, b""))],
                b"!" * 23,
            ),
        ]
        for number, (pdus, kept) in enumerate(cases, 1):
            self.check_refused(peer, *pdus, kept=kept)
            self.check_counts(max_instance_size=number)

    def test_drained(self) -> None:
        """What is too large is forgotten at once; of the rest, however long, nothing is kept, and it counts once."""
        peer = self.start_associated(max_instance_size=23)
        peer.write(STORE_COMMAND + p_data(pdv(3, DATA, bytes(24))))
        (sink,) = self.storage.sinks
        self.assertEqual((b"", ["abort"]), (sink.data, sink.ends))
        more = [p_data(pdv(3, DATA, bytes(10000)))] * 20
        self.check_refused(peer, *more, p_data(pdv(3, LAST_DATA, bytes(10000))), kept=b"")
        self.check_counts(max_instance_size=1)

    def slow_to_forget(self) -> "tuple[Peer, Deferred[Any]]":
        """A peer that may send 23 bytes, and what fires when the storage has forgotten more than that."""
        sink = RecordingSink()
        sink.dropped = Deferred()
        self.storage = RecordingStorage(sink)
        return self.start_associated(max_instance_size=23), sink.dropped

    def test_answer_waits(self) -> None:
        """The answer waits until the storage has forgotten it: nobody sends faster than that, and then all goes on."""
        peer, dropped = self.slow_to_forget()
        self.assertEqual(b"", peer.write(STORE_COMMAND + p_data(pdv(3, LAST_DATA, bytes(24))) + STORE))
        self.assertEqual(1, len(self.storage.sinks))
        dropped.callback(None)
        self.assertEqual(TOO_LARGE + STORED, peer.heard())

    def test_answer_waits_from_the_first(self) -> None:
        """The time of the storage begins when it is to forget it, not when its last fragment has come."""
        peer, _ = self.slow_to_forget()
        peer.write(STORE_COMMAND + p_data(pdv(3, DATA, bytes(24))))
        self.clock.advance(59)
        peer.write(p_data(pdv(3, LAST_DATA, b"")))
        self.clock.advance(1)
        self.assertEqual(ABORT, peer.heard())

    def test_answer_never_comes(self) -> None:
        """Where the storage takes longer than it may, the association is aborted as for any other answer."""
        peer, _ = self.slow_to_forget()
        peer.write(STORE_COMMAND + p_data(pdv(3, LAST_DATA, bytes(24))))
        self.clock.advance(60)
        self.assertEqual(ABORT, peer.heard())
        self.check_told(
            ("association_aborted", AAbort(0, 0), "the storage has not answered for 60 s (--storage-timeout)")
        )
        self.check_counts(max_instance_size=1)

    def test_no_end(self) -> None:
        """It is told and counted when it happens: one that never ends is not told once more when all is over."""
        ends = {
            ABORT: "association_aborted",
            RELEASE_RQ: "association_released",
            UNKNOWN_PDU: "association_aborted",
            b"": "association_aborted",
        }
        for end, told in ends.items():
            peer = self.start_associated(max_instance_size=23)
            self.observer.events.clear()
            peer.write(STORE_COMMAND + p_data(pdv(3, DATA, bytes(24))))
            self.assertEqual(["message_received", "instance_opened", "instance_refused"], self.observer.names)
            self.check_counts(max_instance_size=1)
            peer.write(end)
            peer.disconnect()
            self.assertEqual([told, "association_ended"], self.observer.names[3:])
            self.check_counts(max_instance_size=1)

    def test_no_limit(self) -> None:
        """None is no limit."""
        peer = self.start_associated(max_instance_size=None)
        for _ in range(10):
            peer.write(STORE_COMMAND + p_data(pdv(3, DATA, bytes(16000))) * 10)
            self.assertEqual(STORED, peer.write(p_data(pdv(3, LAST_DATA, b""))))
        self.assertEqual([160000] * 10, [len(sink.data) for sink in self.storage.sinks])

    def test_not_answered_twice(self) -> None:
        """A storage that refuses the instance itself is not asked about its size."""
        peer = self.start_associated(max_instance_size=23)
        self.storage.open_error = StoreFailure("no", 0xC123)
        peer.write(STORE_COMMAND)
        self.assertEqual(
            p_data(pdv(3, LAST_COMMAND, store_rsp("23C1"))), peer.write(p_data(pdv(3, LAST_DATA, bytes(24))))
        )
        self.check_counts()


def context(number: str, *syntaxes: bytes) -> bytes:
    """A Presentation Context Item of Verification; each of the transfer syntaxes has 17 characters."""
    body = wire(number, "00 00 00", "30 00 0011", b"1.2.840.10008.1.1", *(b"\x40\0\0\x11" + each for each in syntaxes))
    return b"\x20\0" + len(body).to_bytes(2, "big") + body


def associate_rq(*contexts: bytes, user: bytes = b"") -> bytes:
    """An A-ASSOCIATE-RQ of these contexts, and of these sub-items."""
    body = FIXED + NAME + b"".join(contexts) + b"\x50\0" + len(user).to_bytes(2, "big") + user
    return b"\1\0" + len(body).to_bytes(4, "big") + body


IMPLICIT_LE = b"1.2.840.10008.1.2"
CONTEXT = context("01", IMPLICIT_LE)
ROLE = wire("54 00 0015", "0011", b"1.2.840.10008.1.1", "01 00")


def associate_rq_of(count: int) -> bytes:
    """One of so many contexts, of which there are no more than 128 with an id of their own."""
    return associate_rq(*(context(f"{number % 128 * 2 + 1:02X}", IMPLICIT_LE) for number in range(count)))


def command_of(length: int) -> bytes:
    """A C-ECHO-RQ of so many bytes, most of them an element that nobody knows."""
    head = ECHO_RQ[12:-10]
    filler = length - len(head) - 18
    whole = head + wire("0000 0002", filler.to_bytes(4, "little"), bytes(filler), "0000 0008 02000000", "0101")
    starts = range(0, length, 16000)
    return b"".join(
        p_data(pdv(1, LAST_COMMAND if start == starts[-1] else COMMAND, whole[start : start + 16000]))
        for start in starts
    )


@attrs.frozen
class Case:
    """A limit, and what reaches it."""

    limit: str
    default: int
    other: int  # a value of its option
    make: Callable[[int], bytes]  # what is so much
    cause: str  # of what is one too many, and of the limit
    answer: bytes = abort(0, 0)
    told: tuple[Any, ...] = ("connection_refused", "a:104")


CASES = [
    Case(
        "max_associate_rq",
        262144,
        4096,
        lambda length: wire("01 00", length.to_bytes(4, "big")),
        "PDU of type 01H claims {} bytes, more than {}",
    ),
    Case("max_contexts", 128, 2, associate_rq_of, "more than {1} presentation contexts in an A-ASSOCIATE"),
    Case(
        "max_transfer_syntaxes",
        64,
        1,
        lambda count: associate_rq(CONTEXT, context("03", *[IMPLICIT_LE] * count)),
        "more than {1} transfer syntaxes in a presentation context",
    ),
    Case(
        "max_user_items",
        512,
        3,
        lambda count: associate_rq(CONTEXT, user=ROLE * count),
        "more than {1} items in User Information",
    ),
    Case(
        "max_pdu",
        16384,
        4096,
        lambda length: wire("04 00", length.to_bytes(4, "big")),
        "PDU of type 04H claims {} bytes, more than {}",
        abort(2, 6),
        ("association_aborted", PAbort(6)),
    ),
    Case(
        "max_command_set",
        65536,
        4096,
        command_of,
        "a command set of more than {1} bytes",
        abort(0, 0),
        ("association_aborted", AAbort(0, 0)),
    ),
]
VALUES: list[tuple[Case, int, dict[str, int]]] = [
    value for case in CASES for value in ((case, case.default, {}), (case, case.other, {case.limit: case.other}))
]


class WireTests(LimitTestCase):
    """What of PDUs, their parameters and command sets is accepted: by default, and by each option."""

    def peer_for(self, case: Case, options: dict[str, int]) -> Peer:
        """A peer that has come as far as what `case` is about."""
        self.start(**options)
        peer = self.connect("a", ASSOCIATE_RQ if case.told[0] == "association_aborted" else b"")
        self.observer.events.clear()
        return peer

    def test_enough(self) -> None:
        """Just as much as is allowed is nothing to abort for, nor to count."""
        for case, most, options in VALUES:
            peer = self.peer_for(case, options)
            self.assertNotEqual(case.answer[:1], peer.write(case.make(most))[:1], case.limit)
            self.assertNotIn(case.told[0], self.observer.names)
            self.check_counts()
            peer.disconnect()

    def test_one_more(self) -> None:
        """One more is answered with the A-ABORT of its state, and nothing after it; it is told and counted once."""
        for case, most, options in VALUES:
            peer = self.peer_for(case, options)
            self.assertEqual(case.answer, peer.write(case.make(most + 1)), case.limit)
            self.assertEqual(b"", peer.write(case.make(most + 1)))
            self.check_told((*case.told, (case.limit, case.cause.format(most + 1, most))))
            peer.disconnect()
            self.assertEqual(1, self.observer.names.count(case.told[0]))
            self.check_counts(**{case.limit: 1})

    def test_second_request(self) -> None:
        """An A-ASSOCIATE-RQ within an association is judged by the same limits; its A-ABORT is that of AA-8."""
        limits = {"max_associate_rq": 4096, "max_contexts": 3, "max_transfer_syntaxes": 2, "max_user_items": 1}
        for case in CASES[:4]:
            most = limits[case.limit]
            self.start(**{case.limit: most})
            peer = self.connect("a", ASSOCIATE_RQ)
            self.assertEqual(abort(2, 6), peer.write(case.make(most + 1)))
            self.check_told(("association_aborted", PAbort(6), (case.limit, case.cause.format(most + 1, most))))
            self.check_counts(**{case.limit: 1})
            peer.disconnect()

    def test_data_before_an_association(self) -> None:
        """A P-DATA-TF that claims too much is as well refused where none is expected."""
        self.start(max_pdu=4096)
        self.assertEqual(abort(0, 0), self.connect().write(wire("04 00 00001001")))
        self.check_told(
            ("connection_refused", "a:104", ("max_pdu", "PDU of type 04H claims 4097 bytes, more than 4096"))
        )
        self.check_counts(max_pdu=1)

    def test_counted_for_ever(self) -> None:
        """The counts are those of the whole server, and go on; what is no limit is not counted."""
        self.start()
        for data in (wire("01 00 00040001"), UNKNOWN_PDU, wire("01 00 FFFFFFFF"), wire("05 00 00000005"), b"GET / "):
            self.connect("a", data).disconnect()
        self.check_counts(max_associate_rq=2)
