"""Only those who belong get in: programs in processes of their own, and peers that do belong or do not."""

import hashlib
import json
import re
import ssl
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509

from tests.hostile import ECHO_RSP, HANGING, HOSTS, HostileTestCase, Peer
from tests.servers import INCOMING, SCRIPT, Server, files_in, wait_until, without_addresses

Event = dict[str, Any]

OVER_TLS = ("--listen=tls:tcp:0:interface=127.0.0.1", "--tls-cert=server.pem", "--tls-ca=ca.pem")

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Alert(IntEnum):
    """Of TLS, RFC 8446 B.2; what OpenSSL's names of them end in."""

    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_EXPIRED = 45
    UNKNOWN_CA = 48
    PROTOCOL_VERSION = 70
    CERTIFICATE_REQUIRED = 116


NO_TLS = "it does not speak TLS, and this port does"
NO_CERTIFICATE = "TLS failed: peer did not return a certificate"


def distrusted(fault: str, subject: str = "CN=CT1,OU=Radiology,O=Clinic") -> str:
    """Why a connection is refused whose certificate is a bad one; where nothing else is said, that of CT1."""
    return f"TLS failed: the certificate of {subject}: {fault}"


STRANGER = distrusted("its authority is not one of those in --tls-ca")

ANYTHING = "ALL:COMPLEMENTOFDEFAULT:@SECLEVEL=0"  # so that whatever is refused is refused by the server


def alert(error: ssl.SSLError) -> Alert:
    """The alert that has ended a handshake. `error` again where none has."""
    said = re.search("ALERT_(.*)", error.reason or "")
    if said is None:
        raise error
    return Alert[said[1]]


def client_context(
    identity: Path | None = None, version: ssl.TLSVersion | None = None, suites: str = ANYTHING
) -> ssl.SSLContext:
    """A client's, with a key and certificate or without, that does not ask who the server is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(suites)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if identity is not None:
        context.load_cert_chain(identity)
    return context


class TLSPeer(Peer):
    """One that has shaken hands, which under TLS 1.3 it believes before the server has looked at its certificate."""

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext | None = None,
        host: str = HOSTS[0],
        *,
        before: bytes = b"",
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__(address, host)
        try:
            self.send(before)  # the hello
            self._socket = self.tls = (context or client_context()).wrap_socket(self._socket, session=session)
        except BaseException:
            self.close()
            raise


class AccessTestCase(HostileTestCase):
    """Has an authority, with ``ca.pem``, ``server.pem`` and ``client.pem``; the latter two with their keys."""

    def setUp(self) -> None:
        super().setUp()
        self.storage = self.directory / "stored"
        self.storage.mkdir()
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(self.directory / "ca.pem")
        self.write("server.pem", self.authority.issue_cert("localhost", "127.0.0.1"))
        self.client = self.issue("client.pem")

    def write(self, name: str, leaf: trustme.LeafCert) -> Path:
        path = self.directory / name
        leaf.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def issue(self, name: str, authority: trustme.CA | None = None, **options: Any) -> Path:
        """The file of a client by the name of CT1."""
        who = {"common_name": "CT1", "organization_unit_name": "Radiology", "organization_name": "Clinic"}
        return self.write(name, (authority or self.authority).issue_cert("ct1.example.org", **{**who, **options}))

    def serve(self, *arguments: str, command: Sequence[str] = SCRIPT, listening: int = 1) -> Server:
        return super().serve("-od=stored", "--audit-log=audit", *arguments, command=command, listening=listening)

    def tls_peer(
        self, server: Server, context: ssl.SSLContext | None = None, host: str = HOSTS[0], **options: Any
    ) -> TLSPeer:
        """One that is gone with the test; with the certificate of the client where nothing else is said."""
        peer = TLSPeer(("127.0.0.1", server.ports[0]), context or client_context(self.client), host, **options)
        self.addCleanup(peer.close)
        return peer

    def assert_serves(self, peer: Peer) -> None:
        """An association with one echo goes as it should."""
        peer.associate()
        self.assertEqual(ECHO_RSP, peer.echo())
        peer.release()

    def refused(self, server: Server, context: ssl.SSLContext) -> Alert:
        """The alert with which a handshake ends."""
        with self.assertRaises(ssl.SSLError) as raised:
            self.tls_peer(server, context).receive_bytes(1)
        return alert(raised.exception)

    @property
    def events(self) -> list[Event]:
        """All of the audit so far, with a PEER for each address, but no times."""
        told = []
        for line in (self.directory / "audit").read_text("ascii").splitlines():
            event = json.loads(line)
            self.assertRegex(event.pop("time"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            event.pop("seconds", None)
            if event["event"] != "refusal":
                self.assertRegex(event.pop("association"), r"^[0-9a-f]{6}-[0-9]+$")
            told.append({**event, "peer": without_addresses(event["peer"])})
        return told

    def assert_audited(self, *events: Event) -> None:
        """This, and nothing else, comes into the audit."""
        audit = self.directory / "audit"
        wait_until(lambda: audit.read_bytes().count(b"\n") >= len(events), f"{len(events)} events", HANGING)
        self.assertEqual(list(events), self.events)

    def assert_told(self, server: Server, lines: Sequence[str], *events: Event, stored: Sequence[str] = ()) -> None:
        """The server ends in order, and has told and stored nothing else; of addresses each is a PEER."""
        self.assert_audited(*events)
        ended = server.stop()
        self.assertEqual((0, list(lines)), (ended.code, without_addresses(ended.stderr).splitlines()))
        self.assertEqual(list(events), self.events)
        self.assertEqual(sorted([*INCOMING, *stored]), files_in(self.storage))


def certificate(identity: Path) -> Event:
    """What the audit has of the first certificate of a file."""
    pem = re.findall("-----BEGIN CERT.*?END CERTIFICATE-----\n", identity.read_text("ascii"), re.DOTALL)[0]
    return {
        "subject": x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string(),
        "sha256": hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest(),
    }


def refusal(cause: str, peer: str = "PEER") -> Event:
    """What the audit says of a connection that was refused."""
    return {"event": "refusal", "peer": peer, "cause": cause}


def refusal_line(cause: str, peer: str = "PEER") -> str:
    return f"W: Connection from {peer} ended without an association: {cause}"


def rejection(answer: Sequence[int] | None, cause: str, **fields: Any) -> Event:
    """What the audit says of an association that was rejected, or of one that was given up before it was answered."""
    return {"event": "rejection", **_who(fields), "answer": None if answer is None else list(answer), "cause": cause}


def rejection_line(cause: str, title: str = "TESTSCU", peer: str = "PEER") -> str:
    return f"W: An association of {title} at {peer} is rejected: {cause}"


def association(**fields: Any) -> Event:
    """What the audit says of one that was accepted, and was released where nothing else is said."""
    who = _who(fields)
    come_to = {"instances": 0, "bytes": 0, "failed": 0, "ended": "released", "cause": ""}
    return {"event": "association", **who, **come_to, **fields}


def _who(fields: Event) -> Event:
    """Takes out of `fields` who it was."""
    who = {"peer": "PEER", "calling_ae_title": "TESTSCU", "called_ae_title": "STORESCP"}
    return {key: fields.pop(key, default) for key, default in {**who, "certificate": None, "user": None}.items()}
