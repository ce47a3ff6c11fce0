"""A Storage SCP for a test: who its user is, its checker never finds out. A second is enough to see it."""

import sys
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner
from zope.interface import implementer

from storescp import Access, AuditObserver, Config, DiscardStorage, IUsername, Realm, StorageSCPFactory
from storescp.program.lines import TextObserver
from storescp.program.logs import AssociationLog
from storescp.server import identity
from storescp.watch.audit import JSONLines

VERIFYING = 1.0  # seconds


@implementer(ICredentialsChecker)
class HangingChecker:
    """Knows ``at-once``, and every other user too late, or never."""

    credentialInterfaces = (IUsername,)

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def requestAvatarId(self, credentials: Any) -> Any:
        if credentials.username == b"at-once":
            return credentials.username
        if credentials.username == b"at-last":  # when nobody waits any longer
            return Deferred(lambda asked: asked.callback(credentials.username))
        asked: Deferred[bytes] = Deferred()
        if credentials.username == b"late":
            self._reactor.callLater(1.2 * VERIFYING, asked.callback, credentials.username)
        return asked


def run() -> None:
    from twisted.internet import reactor  # noqa: PLC0415

    any_reactor: Any = reactor
    globalLogBeginner.beginLoggingTo([TextObserver(sys.stderr, "normal")], redirectStandardIO=False, discardBuffer=True)
    identity.VERIFYING = VERIFYING
    config = Config(port=0)
    access = Access(config, portal=Portal(Realm(), [HangingChecker(any_reactor)]))
    observers = [AssociationLog("normal"), AuditObserver(JSONLines("audit").write)]
    factory = StorageSCPFactory(config, DiscardStorage(), any_reactor, observers, access=access)
    port = any_reactor.listenTCP(0, factory, interface="127.0.0.1")
    print("storescp: listening on port", port.getHost().port, flush=True)
    any_reactor.addSystemEventTrigger("before", "shutdown", factory.shutdown)
    any_reactor.run()


if __name__ == "__main__":
    run()
