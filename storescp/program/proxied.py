"""proxied: connections that come with a PROXY header, or should."""

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer


def proxied(endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
    """`endpoint`, whose connections say in a PROXY header whose they are; one that does not is refused, in one line."""
    wrapped: IStreamServerEndpoint = proxyEndpoint(_Guarded(endpoint))
    return wrapped


class NoProxyHeader(Exception):
    """A connection began with something else."""


class _Guard(ProtocolWrapper):
    """Around Twisted's parser, which raises for some headers, and closes without a word for others."""

    _refused = False

    @property
    def _parser(self) -> Any:
        return self.wrappedProtocol

    def dataReceived(self, data: bytes) -> None:
        try:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
        except Exception:  # ours does not raise: this is the parser
            self._refuse()
        else:
            if self._parser.disconnecting and not self._parser.wrappedProtocol.heard:
                self._refuse()

    def _refuse(self) -> None:
        self._refused = True
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        refused = Failure(NoProxyHeader("it does not begin with a valid PROXY header"))
        super().connectionLost(refused if self._refused else reason)  # type: ignore[no-untyped-call]


class _GuardFactory(WrappingFactory):
    noisy = False
    protocol = _Guard

    def logPrefix(self) -> str:
        wrapped: Any = self.wrappedFactory
        prefix: str = wrapped.logPrefix()
        return prefix


@implementer(IStreamServerEndpoint)
@attrs.frozen
class _Guarded:
    _endpoint: IStreamServerEndpoint

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        return self._endpoint.listen(_GuardFactory(protocolFactory))  # type: ignore[no-untyped-call]
