"""StorageSCPFactory: one Acceptor a connection, and an end to all of them."""

from collections import Counter
from collections.abc import Iterable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from storescp.config import Config
from storescp.errors import CannotStart
from storescp.interfaces import IAssociationObserver, IStorage
from storescp.server.acceptor import Acceptor, Service
from storescp.server.access import Access
from storescp.server.census import Census
from storescp.server.observers import Observers
from storescp.server.protocol import Limits, ULProtocol
from storescp.server.timers import Timer
from storescp.server.turns import Turns
from storescp.ul.negotiation import Policy

_log = Logger()

STORAGE_STOP = 5.0  # seconds that a storage gets to stop, once nobody waits for it any more


class StorageSCPFactory(Factory):
    """Makes the protocol of each connection to a Storage SCP; works on any stream endpoint.

    Starts `storage` with the first port and stops it after the last port and the last connection are gone.
    `limits_reached` counts how often a limit was reached, by the attribute of `Config` that sets it.
    """

    noisy = False  # its comings and goings are the log's, not Twisted's, to tell

    def __init__(
        self,
        config: Config,
        storage: IStorage,
        reactor: IReactorTime,
        observers: Iterable[IAssociationObserver] = (),
        *,
        access: Access | None = None,
    ) -> None:
        self.limits_reached: Counter[str] = Counter()
        self._service = Service(
            config=config,
            policy=Policy.from_config(config),
            access=access or Access(config),
            storage=storage,
            observers=Observers(observers),
            clock=reactor,
            census=Census.from_config(config),
            limits_reached=self.limits_reached,
        )
        self._limits = Limits.from_config(config)
        self._turns = Turns(reactor)
        self._grace = Timer(reactor, config.grace, self._grace_expired)
        self._deadline = Timer(reactor, STORAGE_STOP, self._deadline_expired)
        self._acceptors: set[Acceptor] = set()
        self._listening = False
        self._started = False  # the storage, that is
        self._stopping = False
        self._in_order = True  # nothing was cut off by the shutdown
        self._shutdown: list[Deferred[bool]] = []

    @property
    def ready(self) -> bool:
        """Whether the storage is worth trying; where it is not, new associations are rejected."""
        return self._started and self._service.storage.ready()

    def startFactory(self) -> None:
        if self._stopping or self._shutdown:
            raise CannotStart("it is still stopping")
        if not self._started:
            self._service.storage.start()
            self._started = self._in_order = True
        self._listening = True

    def stopFactory(self) -> None:
        self._listening = False
        self._stop_if_done()

    def buildProtocol(self, addr: IAddress | None) -> ULProtocol:
        # None stands for an address that is not yet known: whoever finds it out asks `Access` then.
        acceptor = Acceptor(self._service, self._ended, announced=addr is not None)
        self._acceptors.add(acceptor)
        protocol = ULProtocol(acceptor, self._service.clock, self._limits, self._turns)
        protocol.factory = self
        return protocol

    def shutdown(self) -> "Deferred[bool]":
        """End all associations; call it when no port listens any more.

        Those with nothing under way are aborted at once, the others when their messages are answered or the
        grace is over. Fires when all connections are closed and the storage has stopped, or will not stop:
        whether nothing was cut off.
        """
        done: Deferred[bool] = Deferred()
        self._shutdown.append(done)
        self._listening = False  # a port that could not be closed does not say so
        for acceptor in list(self._acceptors):
            acceptor.stop()
        busy = sum(acceptor.busy for acceptor in self._acceptors)
        if busy:
            _log.info("Waiting for {count} association(s) to finish what is under way", count=busy)
            self._grace.start()
        self._stop_if_done()
        return done

    def _grace_expired(self) -> None:
        for acceptor in list(self._acceptors):
            acceptor.cut_off()

    def _ended(self, acceptor: Acceptor) -> None:
        self._acceptors.discard(acceptor)
        if acceptor.cut:
            self._in_order = False
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._listening or self._acceptors:
            return
        self._grace.stop()
        if self._started:
            self._started, self._stopping = False, True
            maybeDeferred(self._service.storage.stop).addErrback(self._failed).addCallback(self._stopped)
        elif not self._stopping:
            self._tell()
        if self._stopping and self._shutdown:
            self._deadline.start()

    def _failed(self, failure: Failure) -> None:
        _log.failure("The storage failed to stop", failure=failure)

    def _stopped(self, _result: None) -> None:
        self._stopping = False
        self._deadline.stop()
        self._tell()

    def _deadline_expired(self) -> None:
        _log.error("The storage has not stopped within {seconds:g} s: it is left to itself", seconds=STORAGE_STOP)
        self._in_order = False
        self._tell()

    def _tell(self) -> None:
        waiting, self._shutdown = self._shutdown, []
        for each in waiting:
            each.callback(self._in_order)
