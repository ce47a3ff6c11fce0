"""proxied: connections that come with a PROXY header, or should."""

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from storescp.errors import Cause


def proxied(endpoint: IStreamServerEndpoint, refusal: Callable[[str], str]) -> IStreamServerEndpoint:
    """`endpoint`, whose connections say in a PROXY header whose they are; one that does not is refused, in one line.

    So is one of a host that `refusal` has something against.
    """
    inside: IStreamServerEndpoint = proxyEndpoint(_Wrapped(endpoint, _GuardFactory))
    return _Wrapped(inside, partial(_AnnouncedFactory, refusal))


_NO_HEADER = Cause("proxy_header", "it does not begin with a valid PROXY header")


class _Refusing(ProtocolWrapper):
    """A connection that can be closed at once; the protocol finds the reason in `refused` of its transport."""

    def _refuse(self, cause: str) -> None:
        self.refused = cause
        transport: Any = self.transport
        transport.abortConnection()


class _Guard(_Refusing):
    """Around Twisted's parser, which raises for some headers, and closes without a word for others."""

    def dataReceived(self, data: bytes) -> None:
        parser: Any = self.wrappedProtocol
        try:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
        except Exception:  # ours does not raise: this is the parser
            self._refuse(_NO_HEADER)
        else:
            if parser.disconnecting and not parser.wrappedProtocol.heard:
                self._refuse(_NO_HEADER)


class _Announced(_Refusing):
    """Inside of the parser: what comes first comes when the header has been read, and the host is known."""

    heard = False

    def dataReceived(self, data: bytes) -> None:
        if hasattr(self, "refused"):  # nothing comes after that, unless a transport goes on
            return
        if not self.heard:
            self.heard = True
            factory: Any = self.factory
            transport: Any = self.transport
            cause = factory.refusal(getattr(transport.getPeer(), "host", ""))
            if cause:
                self._refuse(cause)
                return
        super().dataReceived(data)  # type: ignore[no-untyped-call]


class _PlainFactory(WrappingFactory):
    noisy = False

    def logPrefix(self) -> str:
        wrapped: Any = self.wrappedFactory
        prefix: str = wrapped.logPrefix()
        return prefix


class _GuardFactory(_PlainFactory):
    protocol = _Guard


class _AnnouncedFactory(_PlainFactory):
    protocol = _Announced

    def __init__(self, refusal: Callable[[str], str], wrapped: IProtocolFactory) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.refusal = refusal

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return super().buildProtocol(None)  # the address of the proxy says nothing


@implementer(IStreamServerEndpoint)
@attrs.frozen
class _Wrapped:
    _endpoint: IStreamServerEndpoint
    _wrap: Callable[[IProtocolFactory], IProtocolFactory]

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        return self._endpoint.listen(self._wrap(protocolFactory))
