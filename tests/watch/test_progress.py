"""Progress: of each instance how long it took, by a clock that the test sets, and what became of it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.errors import StoreFailure
from storescp.interfaces import Association, StoreRequest
from storescp.server.factory import StorageSCPFactory
from storescp.watch.progress import Outcome, Progress
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_RQ,
    DATA,
    DATA_SET,
    LAST_DATA,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    Peer,
    ServerTestCase,
    p_data,
    pdv,
)
from tests.storage import request

SIZE = len(DATA_SET)


class EventTests(SynchronousTestCase):
    """Told by hand."""

    def setUp(self) -> None:
        self.now = 100.0
        self.ended: list[tuple[Association, StoreRequest, Outcome]] = []
        self.progress = Progress(lambda *ended: self.ended.append(ended), seconds=lambda: self.now)
        self.request = request()
        self.association = self.request.association

    def tell(self, event: str, *arguments: Any, after: float = 0.0) -> None:
        self.now += after
        getattr(self.progress, f"instance_{event}")(self.association, self.request, *arguments)

    def outcome(self) -> Outcome:
        """Of the one that has ended; it was told with whose it was."""
        ((association, request, outcome),) = self.ended
        self.assertEqual((self.association, self.request, 0), (association, request, self.progress.waiting))
        return outcome

    def test_stored(self) -> None:
        """Of one that was stored: when it began, how long it came, and how long it took from then to be safe."""
        self.tell("opened", "CT.1")
        self.tell("received", 22, after=1.5)
        self.assertEqual((1, []), (self.progress.waiting, self.ended))
        self.tell("stored", 22, after=0.25)
        self.assertEqual(Outcome(100.0, 0x0000, 22, 101.5, 1.5, 0.25), self.outcome())

    def test_refused_at_the_end(self) -> None:
        """One that came whole and was refused took no time to be safe: it never was."""
        self.tell("opened", "CT.1")
        self.tell("received", 22, after=1.5)
        self.tell("refused", StoreFailure("full", 0xA700), after=9)
        self.assertEqual(Outcome(100.0, 0xA700, 22, 101.5, 1.5, None), self.outcome())

    def test_refused_before(self) -> None:
        """One that nobody would open is told, too, with nothing to say but the status."""
        self.tell("refused", StoreFailure("no", 0xC000))
        self.assertEqual(Outcome(100.0, 0xC000), self.outcome())

    def test_refused_on_the_way(self) -> None:
        """One that was opened and then refused, as it is too large, did not come whole."""
        self.tell("opened", "CT.1")
        self.tell("refused", StoreFailure("too large", 0xA700), after=2)
        self.assertEqual(Outcome(100.0, 0xA700), self.outcome())

    def test_dropped(self) -> None:
        """One that was cut off has no status; where all of it had come it waits no more."""
        self.tell("opened", "CT.1")
        self.tell("dropped", "by the peer", after=1)
        self.assertEqual(Outcome(100.0), self.outcome())
        self.ended.clear()
        self.tell("opened", "CT.1")
        self.tell("received", 22, after=1)
        self.tell("dropped", "the connection was lost", after=1)
        self.assertEqual(Outcome(101.0, None, 22, 102.0, 1.0, None), self.outcome())

    def test_several(self) -> None:
        """Several at a time, of one name even, are each by itself, in whatever order they end."""
        requests = [request() for _ in range(3)]
        for each in requests:
            self.request = each
            self.tell("opened", "CT.1", after=1)
        for size, each in enumerate(requests):
            self.request = each
            self.tell("received", size, after=1)
        self.assertEqual(3, self.progress.waiting)
        for each in reversed(requests):
            self.request = each
            self.tell("stored", 0, after=1)
        self.assertEqual(
            [
                (requests[2], Outcome(103.0, 0, 2, 106.0, 3.0, 1.0)),
                (requests[1], Outcome(102.0, 0, 1, 105.0, 3.0, 3.0)),
                (requests[0], Outcome(101.0, 0, 0, 104.0, 3.0, 5.0)),
            ],
            [(ended, outcome) for _, ended, outcome in self.ended],
        )
        self.assertEqual(0, self.progress.waiting)

    def test_listeners(self) -> None:
        """All who listen are told, in their order; nobody has to."""
        told: list[int] = []
        progress = Progress(lambda *_: told.append(1), lambda *_: told.append(2))
        for each in (progress, Progress()):
            each.instance_refused(self.association, self.request, StoreFailure("no"))
        self.assertEqual([1, 2], told)


class SessionTests(ServerTestCase):
    """Told by a Storage SCP, to which bytes come."""

    def setUp(self) -> None:
        super().setUp()
        self.ended: list[Outcome] = []
        self.progress = Progress(lambda *ended: self.ended.append(ended[2]), seconds=self.clock.seconds)
        self.sink = RecordingSink()
        self.sink.finished = Deferred()
        self.storage = RecordingStorage(self.sink)

    def peer(self, **options: Any) -> Peer:
        scp = StorageSCPFactory(Config(**options), self.storage, self.clock, [self.progress])
        scp.doStart()
        self.addCleanup(scp.doStop)
        peer = Peer(scp)
        self.addCleanup(peer.disconnect)
        peer.write(ASSOCIATE_RQ)
        return peer

    def check(self, *outcomes: Outcome) -> None:
        """These are all that there were, and nothing waits or is kept."""
        self.assertEqual((list(outcomes), 0, {}), (self.ended, self.progress.waiting, self.progress._under_way))

    def test_stored(self) -> None:
        """The times are those from the request to the last byte, and from then to the answer."""
        peer = self.peer()
        self.clock.advance(10)
        peer.write(STORE_COMMAND)
        self.clock.advance(2)
        peer.write(p_data(pdv(3, DATA, DATA_SET)))
        self.clock.advance(1)
        peer.write(p_data(pdv(3, LAST_DATA, b"")))
        self.assertEqual(1, self.progress.waiting)
        self.clock.advance(0.5)
        self.sink.finished.callback(None)
        self.check(Outcome(10.0, 0, SIZE, 13.0, 3.0, 0.5))

    def test_failed(self) -> None:
        """A storage that refuses at the end, and one that will not begin."""
        peer = self.peer()
        peer.write(STORE)
        self.sink.finished.errback(StoreFailure("full", 0xA700))
        self.storage.open_error = StoreFailure("no", 0xC000)
        peer.write(STORE)
        self.check(Outcome(0.0, 0xA700, SIZE, 0.0, 0.0), Outcome(0.0, 0xC000))

    def test_too_large(self) -> None:
        """One that is larger than it may be."""
        self.peer(max_instance_size=10).write(STORE)
        self.check(Outcome(0.0, 0xA700))

    def test_cut_off(self) -> None:
        """One whose peer aborts, or goes away, before all of it or before the answer."""
        for data, end in ((STORE_COMMAND, ABORT), (STORE_COMMAND, b""), (STORE, ABORT), (STORE, b"")):
            self.setUp()
            peer = self.peer()
            peer.write(data)
            if end:
                peer.write(end)
            peer.disconnect()
            if not self.sink.finished.called:
                self.sink.finished.callback(None)  # too late for anybody
            self.assertEqual(1, len(self.ended), (data, end))
            self.assertEqual((0, {}), (self.progress.waiting, self.progress._under_way), (data, end))

    def test_storage_hangs(self) -> None:
        """One that the storage does not make safe in time."""
        peer = self.peer(storage_timeout=60)
        peer.write(STORE)
        self.clock.advance(60)
        self.check(Outcome(0.0, None, SIZE, 0.0, 0.0))
        peer.disconnect()

    def test_released_amid(self) -> None:
        """One in whose place the peer releases."""
        peer = self.peer()
        peer.write(STORE_COMMAND + RELEASE_RQ)
        peer.disconnect()
        self.check(Outcome(0.0))
