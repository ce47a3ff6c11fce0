"""TLS, and what else may come to a port that wants it."""

import contextlib
import re
import ssl
import time
from importlib.util import find_spec
from pathlib import Path

import trustme
from twisted.trial.unittest import SkipTest

from tests.access import NO_TLS, TLSPeer, client_context
from tests.hostile import ASSOCIATE_RQ, ECHO_RSP, HANGING, HostileTestCase, descriptors
from tests.servers import Server, wait_until

ABORTED = bytes.fromhex("07 00 00000004 0000 00 00")  # source and reason 0, as it is in Sta2


def hello() -> bytes:
    """What a client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client_context().wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("it is not answered, and wants no answer")


class TLSTests(HostileTestCase):
    def setUp(self) -> None:
        super().setUp()
        if find_spec("OpenSSL") is None:
            raise SkipTest("needs twisted[tls]")
        identity = self.directory / "identity.pem"
        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(identity)
        self.tls = self.listen_with_tls(identity)

    def listen_with_tls(self, identity: Path) -> tuple[str, ...]:
        """The options for it, with this key and certificate."""
        return (f"--tls-cert={identity}", "--listen=tls:tcp:0:interface=127.0.0.1")

    def serve_tls(self, *arguments: str) -> Server:
        """Its first port is for TLS, its second one is not."""
        return self.serve(*self.tls, "--listen=tcp:0:interface=127.0.0.1", *arguments, listening=2)

    def tls_peer(self, server: Server) -> TLSPeer:
        peer = TLSPeer(("127.0.0.1", server.ports[0]))
        self.addCleanup(peer.close)
        return peer

    def assert_echoes_in_tls(self, server: Server) -> None:
        peer = self.tls_peer(server).associate()
        self.assertEqual(ECHO_RSP, peer.echo())
        peer.release()

    def test_deadline(self) -> None:
        """-ta holds from the connection on, whatever is said before the A-ASSOCIATE-RQ; the end waits for nobody."""
        server = self.serve_tls("-ta", "1")
        base_line = descriptors(server)
        began = time.monotonic()
        mute, slow = (self.peer(server, port=server.ports[0]) for _ in range(2))
        shaken = self.tls_peer(server)
        for byte in hello():
            if not slow.left_alone:
                break
            with contextlib.suppress(ConnectionError):  # it may just have ended
                slow.send(bytes([byte]))
            time.sleep(0.02)
        self.assertFalse(slow.left_alone)
        wait_until(lambda: descriptors(server) == base_line, "the end of the connections", HANGING)
        self.assertGreaterEqual(time.monotonic() - began, 1)
        told = re.findall("^W: .* ended without an association: (.*)\n", server.stderr, re.MULTILINE)
        self.assertEqual(["no A-ASSOCIATE-RQ within 1 s (-ta)"] * 3, told)
        self.assertEqual([b""] * 2, [peer.rest() for peer in (mute, slow)])
        self.assertEqual(b"", shaken.rest())
        self.assert_echoes_in_tls(server)

    def assert_told(self, server: Server, cause: str) -> None:
        """It has told of one connection, and of nothing else."""
        line = rf"W: Connection from 127\.0\.0\.1:\d+ ended without an association: {cause}\n"
        wait_until(lambda: bool(server.stderr), "a line in the log", HANGING)
        self.assertRegex(server.stderr, f"^{line}$")

    def test_plain_where_tls_is_spoken(self) -> None:
        """A peer without TLS gets no answer of DICOM; one line says what was wrong, and the next peer is served."""
        server = self.serve_tls()
        peer = self.peer(server, port=server.ports[0])
        peer.send(ASSOCIATE_RQ)
        self.assertNotIn(peer.rest()[:1], (b"\x02", b"\x03"))
        self.assert_echoes_in_tls(server)
        self.assert_told(server, NO_TLS)

    def test_tls_where_it_is_not_spoken(self) -> None:
        """A hello of TLS is no PDU, which one line says; and the next peer is served."""
        server = self.serve_tls()
        peer = self.peer(server, port=server.ports[1])
        peer.send(hello())
        self.assertEqual(ABORTED, peer.receive())
        self.assert_echoes(server, port=server.ports[1])
        self.assert_told(server, "PDU type 16H is unknown; it may be TLS")


class EndpointTests(TLSTests):
    """The same where TLS is Twisted's, by an endpoint of its own."""

    def listen_with_tls(self, identity: Path) -> tuple[str, ...]:
        return (f"--listen=ssl:0:interface=127.0.0.1:privateKey={identity}:certKey={identity}",)
