# mypy: allow-untyped-calls
"""Ledger: what an association has come to, and that it is settled once, when nothing of it is under way any more."""

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from storescp.config import Config
from storescp.errors import StoreFailure, kind_of
from storescp.interfaces import Association
from storescp.server.factory import StorageSCPFactory
from storescp.watch.ledger import Account, Ledger
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    DATA,
    DATA_SET,
    ECHO,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    Peer,
    ServerTestCase,
    p_data,
    pdv,
)

HALF = STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET))  # an instance that is not complete
LOST = "the connection was lost"


class Settled(Ledger):
    """Keeps what was settled, as it was then: the account, and the seconds."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.settled: list[tuple[Association, Account, float]] = []

    def settle(self, association: Association, account: Account, seconds: float) -> None:
        self.settled.append((association, attrs.evolve(account), seconds))


class LedgerTestCase(ServerTestCase):
    """A server whose associations are in a ledger."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(1000)
        self.ledger = Settled(self.clock.seconds)

    def factory(self, **options: Any) -> StorageSCPFactory:
        factory = StorageSCPFactory(Config(**options), self.storage, self.clock, [self.ledger])
        factory.doStart()
        self.addCleanup(factory.doStop)
        return factory

    def connect(self, *sinks: RecordingSink, **options: Any) -> Peer:
        """A peer that has an association, with a storage that has these sinks."""
        self.storage = RecordingStorage(*sinks)
        peer = self.peer(**options)
        self.assertEqual(ASSOCIATE_AC, peer.write(ASSOCIATE_RQ))
        return peer

    def check(self, *expected: Account) -> None:
        """These were settled since it was asked last, in this order, and no account is left of them."""
        self.assertEqual(list(expected), [account for _, account, _ in self.ledger.settled])
        self.assertEqual([], [association for association, *_ in self.ledger.settled if self.is_open(association)])
        self.ledger.settled.clear()

    def is_open(self, association: Association) -> bool:
        return association in self.ledger.accounts

    def account(self) -> Account:
        """The only one there is."""
        (account,) = self.ledger.accounts.values()
        return account


class EndTests(LedgerTestCase):
    """How it has ended, and when that is settled."""

    def test_released(self) -> None:
        """It is settled when the connection is gone, and not before, with the seconds since it was accepted."""
        peer = self.peer()
        self.clock.advance(3)
        peer.write(ASSOCIATE_RQ)
        self.clock.advance(1.5)
        peer.write(STORE + ECHO + RELEASE_RQ)
        self.check()
        self.assertEqual(Account(1003.0, instances=1, size=23, ended="released"), self.account())
        self.clock.advance(0.25)
        peer.disconnect()
        self.assertEqual([1.75], [seconds for *_, seconds in self.ledger.settled])
        self.check(Account(1003.0, instances=1, size=23, ended="released"))
        self.assertEqual({}, self.ledger.accounts)

    def test_whose(self) -> None:
        """It is told whose account it is."""
        peer = self.connect()
        (association,) = self.ledger.accounts
        peer.disconnect()
        self.assertEqual([association], [each for each, *_ in self.ledger.settled])
        self.assertEqual("MODALITY", association.calling_ae_title)

    def test_aborted(self) -> None:
        """Why it was aborted is in the account, as it was told: with its kind."""
        self.connect(timeout=5)
        self.clock.advance(5)
        self.assertEqual(("timeout", "aborted"), (kind_of(self.account().cause), self.account().ended))
        for data, cause in ((ABORT, "by the peer"), (b"", LOST)):
            self.setUp()
            peer = self.connect()
            if data:
                peer.write(data)
            peer.disconnect()
            self.check(Account(1000.0, ended="aborted", cause=cause))

    def test_never_accepted(self) -> None:
        """What never was an association has no account: rejected, aborted before its answer, or refused."""
        for data, options in (
            (ASSOCIATE_RQ, {"require_called_aet": True, "ae_title": "X"}),
            (RELEASE_RQ, {}),
            (b"GET / ", {}),
            (b"", {}),
        ):
            peer = self.peer(**options)
            if data:
                peer.write(data)
            peer.disconnect()
            self.assertEqual({}, self.ledger.accounts)
            self.check()

    def test_aborted_before_the_answer(self) -> None:
        """Nor has one that ends while it waits for its answer."""
        association = Association(peer="a", calling_ae_title="b", called_ae_title="c")
        self.ledger.association_aborted(association, None, "why")  # type: ignore[arg-type]
        self.assertEqual(({}, []), (self.ledger.accounts, self.ledger.settled))

    def test_each(self) -> None:
        """Each association has its own account, be they of one peer, and each is settled once, as it ends."""
        factory = self.factory()
        peers = [Peer(factory) for _ in range(3)]
        for number, peer in enumerate(peers):
            peer.write(ASSOCIATE_RQ + STORE * number)
        self.assertEqual(3, len(self.ledger.accounts))
        for number, peer in reversed(list(enumerate(peers))):
            peer.disconnect()
            self.check(Account(1000.0, instances=number, size=23 * number, ended="aborted", cause=LOST))
        self.assertEqual({}, self.ledger.accounts)

    def test_nobody(self) -> None:
        """A ledger by itself does nothing with an account that is settled, and forgets it."""
        ledger = Ledger(self.clock.seconds)
        self.patch(self, "ledger", ledger)
        peer = self.connect()
        self.assertEqual(1, len(ledger.accounts))
        peer.disconnect()
        self.assertEqual({}, ledger.accounts)

    def test_clock(self) -> None:
        """Where no clock is given it is one that nobody sets."""
        self.ledger = Settled()
        self.connect().disconnect()
        ((_, account, seconds),) = self.ledger.settled
        self.assertTrue(account.began > 0, account)
        self.assertTrue(0 <= seconds < 60, seconds)


class CountTests(LedgerTestCase):
    """What was stored, and what was not."""

    def test_stored(self) -> None:
        """Instances that were stored count, with the bytes of their data sets; nothing else does."""
        peer = self.connect()
        peer.write(ECHO + STORE + STORE + STORE)
        self.assertEqual(Account(1000.0, instances=3, size=69), self.account())

    def test_refused(self) -> None:
        """What is refused counts by itself, at once, in the end, or as too large; no byte of it does."""
        for how in ("at once", "in the end", "too large"):
            sink = RecordingSink()
            sink.finish_error = StoreFailure("no") if how == "in the end" else None
            peer = self.connect(sink, max_instance_size=22 if how == "too large" else None)
            self.storage.open_error = StoreFailure("no") if how == "at once" else None
            peer.write(STORE)
            self.assertEqual(Account(1000.0, refused=1), self.account(), how)
            peer.disconnect()

    def test_cut_off(self) -> None:
        """What is cut off counts by itself: amid its data set, or when the storage does not answer."""
        self.connect().write(HALF + ABORT)
        self.assertEqual(Account(1000.0, cut_off=1, ended="aborted", cause="by the peer"), self.account())
        self.setUp()
        sink = RecordingSink()
        sink.finished = Deferred()
        self.connect(sink, storage_timeout=5).write(STORE)
        self.clock.advance(5)
        cause = "the storage has not answered for 5 s (--storage-timeout)"
        self.assertEqual(Account(1000.0, cut_off=1, ended="aborted", cause=cause), self.account())

    def test_failed(self) -> None:
        """Together they are what has failed."""
        self.assertEqual(
            [0, 3, 4, 7], [Account(0.0, refused=r, cut_off=c).failed for r, c in ((0, 0), (3, 0), (0, 4), (3, 4))]
        )
        self.assertEqual(0, Account(0.0, instances=5).failed)

    def test_after_the_connection(self) -> None:
        """What was still being stored when the connection was lost counts, as what becomes of it, and is waited for."""
        outcomes: list[tuple[Any, dict[str, int]]] = [
            (None, {"instances": 1, "size": 23}),
            (Failure(StoreFailure("no")), {"refused": 1}),
        ]
        for outcome, counts in outcomes:
            self.setUp()
            sink = RecordingSink()
            sink.finished = finished = Deferred[Any]()
            peer = self.connect(sink)
            peer.write(STORE)
            peer.disconnect()
            self.check()
            self.assertEqual(Account(1000.0, ended="aborted", cause=LOST), self.account())
            self.clock.advance(7)
            finished.callback(outcome)
            self.assertEqual([7.0], [seconds for *_, seconds in self.ledger.settled])
            self.check(Account(1000.0, ended="aborted", cause=LOST, **counts))

    def test_given_up(self) -> None:
        """Where nothing becomes of it, it is cut off, and that is its end."""
        sink = RecordingSink()
        sink.finished = Deferred()
        peer = self.connect(sink)
        peer.write(STORE)
        peer.disconnect()
        self.clock.advance(60)
        self.check(Account(1000.0, cut_off=1, ended="aborted", cause=LOST))

    def test_forgetting(self) -> None:
        """While the storage still forgets what was cut off, it is not yet settled."""
        sink = RecordingSink()
        sink.dropped = dropped = Deferred[Any]()
        peer = self.connect(sink)
        peer.write(HALF)
        peer.disconnect()
        self.check()
        dropped.callback(None)
        self.check(Account(1000.0, cut_off=1, ended="aborted", cause=LOST))

    def test_released_amid_an_instance(self) -> None:
        """One that releases amid an instance has ended in order, with one that was cut off."""
        peer = self.connect()
        peer.write(STORE + HALF + RELEASE_RQ)
        peer.disconnect()
        self.check(Account(1000.0, instances=1, size=23, cut_off=1, ended="released"))
