"""StorageSCPFactory: one Acceptor a connection, and an end to all of them."""

from collections.abc import Iterable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from storescp.config import Config
from storescp.errors import CannotStart
from storescp.interfaces import IAssociationObserver, IStorage
from storescp.server.acceptor import Acceptor
from storescp.server.observers import Observers
from storescp.server.protocol import Limits, ULProtocol
from storescp.ul.negotiation import Policy

_log = Logger()


class StorageSCPFactory(Factory):
    """Makes the protocol of each connection to a Storage SCP; works on any stream endpoint.

    Starts `storage` with the first port and stops it after the last port and the last connection are gone.
    """

    noisy = False  # its comings and goings are the log's, not Twisted's, to tell

    def __init__(
        self,
        config: Config,
        storage: IStorage,
        reactor: IReactorTime,
        observers: Iterable[IAssociationObserver] = (),
    ) -> None:
        self._policy = Policy.from_config(config)
        self._limits = Limits.from_config(config)
        self._storage = storage
        self._clock = reactor
        self._observers = Observers(observers)
        self._acceptors: set[Acceptor] = set()
        self._listening = False
        self._started = False  # the storage, that is
        self._stopping = False
        self._shutdown: list[Deferred[None]] = []

    def startFactory(self) -> None:
        if self._stopping:
            raise CannotStart("the storage is still stopping")
        if not self._started:
            self._storage.start()
            self._started = True
        self._listening = True

    def stopFactory(self) -> None:
        self._listening = False
        self._stop_if_done()

    def buildProtocol(self, addr: IAddress | None) -> ULProtocol:
        acceptor = Acceptor(self._policy, self._storage, self._observers, self._ended)
        self._acceptors.add(acceptor)
        protocol = ULProtocol(acceptor, self._clock, self._limits)
        protocol.factory = self
        return protocol

    def shutdown(self) -> "Deferred[int]":
        """Abort all associations. Call it when no port listens any more.

        Fires, when all connections are closed and the storage has stopped, with the number of instances
        that were cut off.
        """
        cut = sum([acceptor.shut_down() for acceptor in list(self._acceptors)])
        done: Deferred[None] = Deferred()
        self._shutdown.append(done)
        self._stop_if_done()
        return done.addCallback(lambda _: cut)

    def _ended(self, acceptor: Acceptor) -> None:
        self._acceptors.discard(acceptor)
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._listening or self._acceptors:
            return
        if self._started:
            self._started, self._stopping = False, True
            maybeDeferred(self._storage.stop).addErrback(self._failed).addCallback(self._stopped)
        elif not self._stopping:
            self._stopped(None)

    def _failed(self, failure: Failure) -> None:
        _log.failure("The storage failed to stop", failure=failure)

    def _stopped(self, _result: None) -> None:
        self._stopping = False
        waiting, self._shutdown = self._shutdown, []
        for each in waiting:
            each.callback(None)
