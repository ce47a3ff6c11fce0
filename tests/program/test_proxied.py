# mypy: allow-untyped-calls
"""Connections that come with a PROXY header, or should: what is told of them, and who they are."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp.program.proxied import proxied
from tests.server import ASSOCIATE_AC, ASSOCIATE_RQ, ECHO, ECHOED, ServerTestCase
from tests.ul import wire

PROXY = IPv4Address("TCP", "10.0.0.1", 443)
V1 = b"PROXY TCP4 1.2.3.4 5.6.7.8 104 11112\r\n"
V2 = wire(b"\r\n\r\n\0\r\nQUIT\n", "21 11 000C", "01020304 05060708 0068 2B68")
NOT_VALID = "it does not begin with a valid PROXY header"


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Keeps the factory that listens."""

    factory: Any

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        self.factory = protocolFactory
        return succeed(None)


class AbortedTransport(StringTransport):
    """Loses the connection as soon as it is aborted."""

    def abortConnection(self) -> None:
        super().abortConnection()
        self.protocol.connectionLost(Failure(ValueError("aborted")))

    protocol: Protocol


class ProxiedTests(ServerTestCase):
    def start(self, **options: Any) -> None:
        """Listen."""
        self.endpoint = Endpoint()
        self.successResultOf(proxied(self.endpoint).listen(self.factory(**options)))

    def connect(self, *chunks: bytes) -> AbortedTransport:
        """A connection from the proxy, on which this comes."""
        transport = AbortedTransport(peerAddress=PROXY)
        transport.protocol = self.endpoint.factory.buildProtocol(PROXY)
        transport.protocol.makeConnection(transport)
        for chunk in chunks:
            if not transport.disconnected:
                transport.protocol.dataReceived(chunk)
        self.addCleanup(self.end, transport)
        return transport

    def end(self, transport: AbortedTransport) -> None:
        if not transport.disconnected:
            transport.disconnected = True
            transport.protocol.connectionLost()

    def test_served(self) -> None:
        """Who has a header is served and known by the address in it, whatever came in one piece."""
        self.start()
        for chunks in ((V1 + ASSOCIATE_RQ + ECHO,), (V1, ASSOCIATE_RQ, ECHO), (V2, ASSOCIATE_RQ + ECHO)):
            transport = self.connect(*chunks)
            self.assertEqual(ASSOCIATE_AC + ECHOED, transport.value())
            self.assertEqual({"1.2.3.4:104"}, {each.peer for each in self.observer.associations})

    def test_refused(self) -> None:
        """Who has none, or a bad one, is refused at once and told once, and nothing is logged of Twisted's."""
        self.start()
        for chunk in (
            ASSOCIATE_RQ,
            b"PROXY TCP4 1.2.3.4 5.6.7.8 x y\r\n",
            b"PROXY TCP4 \xff\xff\xff\xff 5.6.7.8 1 2\r\n",
            b"PROXY nonsense\r\n",
            b"PROXY " + b"A" * 5000,
            V2.replace(b"\x21\x11", b"\x21\x99"),
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            self.observer.events.clear()
            transport = self.connect(chunk)
            self.assertEqual((b"", True), (transport.value(), transport.disconnected), chunk)
            self.assertEqual([("connection_refused", "10.0.0.1:443", NOT_VALID)], self.observer.events, chunk)
            self.assertEqual([], self.flushLoggedErrors())

    def test_nothing(self) -> None:
        """Who says nothing, or nothing but a header, is no event: so a proxy looks whether somebody is there."""
        self.start()
        for chunks in ((), (V1,), (V2,)):
            self.end(self.connect(*chunks))
        self.assertEqual([], self.observer.events)

    def test_hosts(self) -> None:
        """Those that come over a proxy are told apart when one of them has to make room."""
        self.start(max_unassociated=4)
        hosts = (b"9.9.9.9", b"6.6.6.6", b"6.6.6.6", b"7.7.7.7", b"8.8.8.8")
        transports = [self.connect(b"PROXY TCP4 " + host + b" 5.6.7.8 104 11112\r\n") for host in hosts]
        self.assertEqual([False, True, False, False, False], [bool(each.disconnected) for each in transports])
