# mypy: allow-untyped-calls
"""Connections that come with a PROXY header, or should: what is told of them, and who they are."""

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp.config import Config
from storescp.program.proxied import proxied
from storescp.server.access import Access
from storescp.server.factory import StorageSCPFactory
from tests.server import ASSOCIATE_AC, ASSOCIATE_RQ, ECHO, ECHOED, ServerTestCase
from tests.ul import wire

PROXY = IPv4Address("TCP", "10.0.0.1", 443)
V1 = b"PROXY TCP4 1.2.3.4 5.6.7.8 104 11112\r\n"
V2 = wire(b"\r\n\r\n\0\r\nQUIT\n", "21 11 000C", "01020304 05060708 0068 2B68")
NOT_VALID = "it does not begin with a valid PROXY header"
NOT_ALLOWED = "this network is not allowed"


def nobody(host: str) -> str:
    """Has nothing against any host."""
    return ""


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Keeps the factory that listens."""

    factory: Any

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        self.factory = protocolFactory
        return succeed(None)


class AbortedTransport(StringTransport):
    """Loses the connection when it is aborted: soon, and not at once, as the transports of a reactor do."""

    protocol: Protocol
    lost = False

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            reason = Failure(ValueError("aborted")) if self.disconnected else connectionDone
            self.protocol.connectionLost(reason)


class ProxiedTests(ServerTestCase):
    def start(self, refusal: Callable[[str], str] = nobody, **options: Any) -> None:
        """Listen."""
        self.endpoint = Endpoint()
        self.successResultOf(proxied(self.endpoint, refusal).listen(self.factory(**options)))

    def connect(self, *chunks: bytes) -> AbortedTransport:
        """A connection from the proxy, on which this comes."""
        transport = AbortedTransport(peerAddress=PROXY)
        transport.protocol = self.endpoint.factory.buildProtocol(PROXY)
        transport.protocol.makeConnection(transport)
        for chunk in chunks:
            if not transport.disconnected:
                transport.protocol.dataReceived(chunk)
        if transport.disconnected:
            transport.lose()
        self.addCleanup(transport.lose)
        return transport

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

    def test_host_refused(self) -> None:
        """A host that is objected to is closed without a byte, and told once with the cause, by its own address."""
        self.start(lambda host: NOT_ALLOWED if host == "1.2.3.4" else "")
        for chunks in ((V1 + ASSOCIATE_RQ,), (V1, ASSOCIATE_RQ, ECHO), (V2 + ASSOCIATE_RQ[:1], ASSOCIATE_RQ[1:])):
            self.observer.events.clear()
            transport = self.connect(*chunks)
            self.assertEqual((b"", True), (transport.value(), bool(transport.disconnected)))
            self.assertEqual([("connection_refused", "1.2.3.4:104", NOT_ALLOWED)], self.observer.events)
            self.assertEqual([], self.flushLoggedErrors())

    def test_nothing_after_refusal(self) -> None:
        """Nothing passes after it, even if a transport goes on as if nothing were: that of TLS may."""
        passed: list[bytes] = []

        class Inside(Protocol):
            def dataReceived(self, data: bytes) -> None:
                passed.append(data)

        class Outside(StringTransport):
            def abortConnection(self) -> None:
                pass

        self.endpoint = Endpoint()
        asked: list[str] = []

        def refusal(host: str) -> str:
            asked.append(host)
            return NOT_ALLOWED

        self.successResultOf(proxied(self.endpoint, refusal).listen(Factory.forProtocol(Inside)))
        protocol = self.endpoint.factory.buildProtocol(PROXY)
        protocol.makeConnection(Outside(peerAddress=PROXY))
        for chunk in (V1, ASSOCIATE_RQ[:9], ASSOCIATE_RQ[9:], ECHO):
            protocol.dataReceived(chunk)
        self.assertEqual(([], ["1.2.3.4"]), (passed, asked))

    def test_other_host(self) -> None:
        """Beside it another host over the same proxy is served."""
        self.start(lambda host: NOT_ALLOWED if host == "1.2.3.4" else "")
        self.assertEqual(b"", self.connect(V1 + ASSOCIATE_RQ).value())
        other = self.connect(V1.replace(b"1.2.3.4", b"1.2.3.5") + ASSOCIATE_RQ + ECHO)
        self.assertEqual(ASSOCIATE_AC + ECHOED, other.value())

    def test_hosts_asked_about(self) -> None:
        """The proxy's own address is never asked about, that in the header once, however its bytes come."""
        asked: list[str] = []

        def refusal(host: str) -> str:
            asked.append(host)
            return NOT_ALLOWED if host == "10.0.0.1" else ""

        self.start(refusal)
        for chunks in ((V1 + ASSOCIATE_RQ + ECHO,), (V1, ASSOCIATE_RQ[:10], ASSOCIATE_RQ[10:], ECHO)):
            self.assertEqual(ASSOCIATE_AC + ECHOED, self.connect(*chunks).value())
        self.assertEqual(["1.2.3.4", "1.2.3.4"], asked)

    def test_access_list(self) -> None:
        """Nor does the list of who may come in, which knows the host and not the proxy, refuse it before."""
        access = Access(Config(allow=["*@1.2.3.4"]))
        factory = StorageSCPFactory(
            Config(allow=["*@1.2.3.4"]), self.storage, self.clock, [self.observer], access=access
        )
        factory.doStart()
        self.addCleanup(factory.doStop)
        self.endpoint = Endpoint()
        self.successResultOf(proxied(self.endpoint, access.refusal).listen(factory))
        self.assertEqual(ASSOCIATE_AC, self.connect(V1 + ASSOCIATE_RQ).value())
        self.assertEqual(b"", self.connect(V1.replace(b"1.2.3.4", b"1.2.3.5") + ASSOCIATE_RQ).value())
        self.assertEqual(
            ("connection_refused", "1.2.3.5:104", "this network is not allowed (--allow, --allow-file)"),
            self.observer.events[-1],
        )

    def test_nothing(self) -> None:
        """Who says nothing, or nothing but a header, is no event: so a proxy looks whether somebody is there."""
        self.start()
        for chunks in ((), (V1,), (V2,)):
            self.connect(*chunks).lose()
        self.assertEqual([], self.observer.events)

    def test_hosts(self) -> None:
        """Those that come over a proxy are told apart when one of them has to make room."""
        self.start(max_unassociated=4)
        hosts = (b"9.9.9.9", b"6.6.6.6", b"6.6.6.6", b"7.7.7.7", b"8.8.8.8")
        transports = [self.connect(b"PROXY TCP4 " + host + b" 5.6.7.8 104 11112\r\n") for host in hosts]
        self.assertEqual([False, True, False, False, False], [bool(each.disconnected) for each in transports])
