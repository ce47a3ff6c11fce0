"""TLS, and what comes before it: with Python's and OpenSSL's clients, and bytes typed by hand."""

import contextlib
import datetime
import hashlib
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from trustme import KeyType
from twisted.trial.unittest import SkipTest

from tests.access import (
    NO_CERTIFICATE,
    NO_TLS,
    OVER_TLS,
    STRANGER,
    TLS_1_2,
    TLS_1_3,
    AccessTestCase,
    Alert,
    alert,
    association,
    certificate,
    client_context,
    distrusted,
    refusal,
    refusal_line,
    rejection,
    rejection_line,
)
from tests.hostile import ASSOCIATE_RQ, ECHO_RSP, HANGING, HOSTS, Peer
from tests.senders import ABORT_BY_USER, DATA_SET, UID, NotAccepted
from tests.servers import INCOMING, Ended, Server, files_in, wait_until, without_addresses

CLIENT_AUTH, SERVER_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH

NO_SUITE = "TLS failed: no shared cipher"
NO_VERSION = "TLS failed: unsupported protocol"
NO_NETWORK = "this network is not allowed (--allow, --allow-file)"
NO_HEADER = "it does not begin with a valid PROXY header"


def client_hello(version: int) -> bytes:
    """A hello of TLS 1.0 (0301H), 1.1 (0302H), or 1.2 (0303H), with suites that each of them has."""
    body = (
        version.to_bytes(2, "big")
        + bytes(range(32))
        + bytes.fromhex("00  0006 c013 c014 002f  0100")  # no session; three suites; no compression
        + bytes.fromhex("000e  000a 0004 0002 0017  000b 0002 0100")  # P-256, uncompressed
    )
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return bytes.fromhex("16 0301") + len(message).to_bytes(2, "big") + message


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def certified(key: Key, authority: trustme.CA | None, purpose: x509.ObjectIdentifier) -> bytes:
    """`key` and a certificate for it such as trustme issues none; without an authority, by itself."""
    name = issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CT1")])
    signer: Any = key
    if authority is not None:
        issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
        signer = load_pem_private_key(authority.private_key_pem.bytes(), None)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=1),
        not_valid_after=now + datetime.timedelta(days=1),
    ).add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def of_version_6(identity: bytes, signer: ec.EllipticCurvePrivateKey) -> bytes:
    """A key and certificate whose certificate says that it is of a version that there is not; `signer` signs that."""
    at = identity.index(b"-----BEGIN CERT")
    der = ssl.PEM_cert_to_DER_cert(identity[at:].decode("ascii"))
    signed = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    signed = signed.replace(bytes.fromhex("a003 0201 02"), bytes.fromhex("a003 0201 05"), 1)
    algorithm = bytes.fromhex("300a 0608 2a8648ce3d040302")  # ecdsa-with-SHA256
    signature = b"\x00" + signer.sign(signed, ec.ECDSA(hashes.SHA256()))
    body = signed + algorithm + b"\x03" + bytes([len(signature)]) + signature
    changed = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    return identity[:at] + ssl.DER_cert_to_PEM_cert(changed).encode("ascii")


def openssl(directory: Path, *arguments: str | Path, said: bytes = b"") -> bytes:
    """What OpenSSL's program prints, its complaints after all else."""
    program = shutil.which("openssl")
    if program is None:
        raise SkipTest("the program openssl is not installed")
    ended = subprocess.run(
        [program, *arguments], input=said, cwd=directory, capture_output=True, timeout=HANGING, check=False
    )
    return ended.stdout + ended.stderr


def s_client(server: Server, *arguments: str | Path, said: bytes = b"") -> str:
    """What OpenSSL's client prints, who says something in the connection and waits until the server closes it."""
    address = f"127.0.0.1:{server.ports[0]}"
    return openssl(Path(), "s_client", "-connect", address, "-ign_eof", *arguments, said=said).decode("latin-1")


# What is said before an answer comes. After a release the server would wait for the end of the connection.
SHORT_ASSOCIATION = ASSOCIATE_RQ + ABORT_BY_USER


def alerts(printed: str) -> list[int]:
    """What of alerts OpenSSL's client has printed."""
    return [int(number) for number in re.findall(r"SSL alert number (\d+)", printed)]


# The suites of TLS 1.2, by the kind of key of the server.
GCM = {
    KeyType.ECDSA: ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    KeyType.RSA: ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"],
}
MODIFIED = {
    KeyType.ECDSA: ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-CCM", "ECDHE-ECDSA-AES128-CCM"],
    KeyType.RSA: ["ECDHE-RSA-CHACHA20-POLY1305"],
}
NOT_SPOKEN = {
    KeyType.ECDSA: ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-CCM8"],
    KeyType.RSA: ["AES128-GCM-SHA256", "AES256-SHA", "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"],
}


class NegotiationTests(AccessTestCase):
    def spoken(self, server: Server, suites: Iterable[str]) -> dict[str, str | int]:
        """Of each suite of TLS 1.2 its name, if it is what an association was over, or the alert."""
        found: dict[str, str | int] = {}
        for suite in suites:
            try:
                peer = self.tls_peer(server, client_context(self.client, TLS_1_2, suite))
            except ssl.SSLError as error:
                found[suite] = alert(error)
            else:
                found[suite] = (peer.tls.cipher() or ("none",))[0]
                self.assert_serves(peer)
        return found

    def assert_spoken(self, kind: KeyType, profile: str, suites: Sequence[str], others: Sequence[str]) -> None:
        self.write("server.pem", self.authority.issue_cert("localhost", key_type=kind))
        server = self.serve(*OVER_TLS, *([profile] if profile else []))
        expected = {**dict.fromkeys(others, Alert.HANDSHAKE_FAILURE), **{suite: suite for suite in suites}}
        self.assertEqual(expected, self.spoken(server, expected))
        self.assert_told(
            server,
            [refusal_line(NO_SUITE)] * len(others),
            *[refusal(NO_SUITE)] * len(others),
            *[association(certificate=certificate(self.client))] * len(suites),
        )

    def test_suites_with_ecdsa(self) -> None:
        """bcp195: of the suites of TLS 1.2 those with GCM are spoken, and each other one ends in an alert."""
        others = [*MODIFIED[KeyType.ECDSA], *NOT_SPOKEN[KeyType.ECDSA], *GCM[KeyType.RSA]]
        self.assert_spoken(KeyType.ECDSA, "", GCM[KeyType.ECDSA], others)

    def test_suites_with_rsa(self) -> None:
        """And with a key of RSA; none of them is without forward secrecy."""
        others = [*MODIFIED[KeyType.RSA], *NOT_SPOKEN[KeyType.RSA], *GCM[KeyType.ECDSA]]
        self.assert_spoken(KeyType.RSA, "--tls-profile=bcp195", GCM[KeyType.RSA], others)

    def test_modified_suites_with_ecdsa(self) -> None:
        """bcp195-modified: ChaCha20 and CCM are spoken, too."""
        suites = [*GCM[KeyType.ECDSA], *MODIFIED[KeyType.ECDSA]]
        self.assert_spoken(KeyType.ECDSA, "--tls-profile=bcp195-modified", suites, NOT_SPOKEN[KeyType.ECDSA])

    def test_modified_suites_with_rsa(self) -> None:
        suites = [*GCM[KeyType.RSA], *MODIFIED[KeyType.RSA]]
        self.assert_spoken(KeyType.RSA, "--tls-profile=bcp195-modified", suites, NOT_SPOKEN[KeyType.RSA])

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, the latter where there is the choice; the server's order of suites counts."""
        server = self.serve(*OVER_TLS)
        found = []
        for version in (TLS_1_2, TLS_1_3, None):
            peer = self.tls_peer(server, client_context(self.client, version))
            found.append((peer.tls.version(), (peer.tls.cipher() or ("none",))[0]))
            self.assert_serves(peer)
        self.assertEqual(
            [
                ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
                ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
                ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
            ],
            found,
        )
        self.assert_told(server, [], *[association(certificate=certificate(self.client))] * 3)

    def test_old_versions(self) -> None:
        """A hello of SSL 3.0, TLS 1.0 or 1.1 ends in the alert protocol_version, and one line each."""
        server = self.serve(*OVER_TLS)
        answers = []
        for version in (0x0300, 0x0301, 0x0302):
            peer = self.peer(server)
            peer.send(client_hello(version))
            answers.append(peer.rest().hex(" "))
        self.assertEqual(["15 03 00 00 02 02 46", "15 03 01 00 02 02 46", "15 03 02 00 02 02 46"], answers)
        self.assert_serves(self.tls_peer(server))
        causes = ["TLS failed: version too low", NO_VERSION, NO_VERSION]
        self.assert_told(
            server,
            [*map(refusal_line, causes)],
            *map(refusal, causes),
            association(certificate=certificate(self.client)),
        )

    def test_old_openssl_client(self) -> None:
        """And so it does with OpenSSL's client."""
        server = self.serve(*OVER_TLS)
        printed = [s_client(server, version, "-cipher", "DEFAULT@SECLEVEL=0") for version in ("-tls1", "-tls1_1")]
        self.assertEqual([[Alert.PROTOCOL_VERSION], [Alert.PROTOCOL_VERSION]], [alerts(each) for each in printed])
        self.assert_told(server, [refusal_line(NO_VERSION)] * 2, *[refusal(NO_VERSION)] * 2)

    def spoken_under_tls_1_3(self, suites: Iterable[str], *profile: str) -> dict[str, list[str] | list[int]]:
        """Of each suite its name, as OpenSSL's client has it, or the alert."""
        server = self.serve(*OVER_TLS, *profile)
        found: dict[str, list[str] | list[int]] = {}
        for suite in suites:
            options = ("-tls1_3", "-ciphersuites", suite, "-cert", self.client)
            printed = s_client(server, *options, said=SHORT_ASSOCIATION)
            spoken = re.findall(r"^New, TLSv1\.3, Cipher is (\S+)$", printed, re.MULTILINE)
            found[suite] = alerts(printed) or spoken
        self.assertEqual(0, server.stop().code)
        return found

    def test_suites_of_tls_1_3(self) -> None:
        """Of TLS 1.3 the suite with CCM is spoken in bcp195-modified alone."""
        suites = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
        ccm = "TLS_AES_128_CCM_SHA256"
        spoken = {suite: [suite] for suite in (*suites, ccm)}
        self.assertEqual({**spoken, ccm: [Alert.HANDSHAKE_FAILURE]}, self.spoken_under_tls_1_3(spoken))
        self.assertEqual(spoken, self.spoken_under_tls_1_3(spoken, "--tls-profile=bcp195-modified"))

    def test_without_authority(self) -> None:
        """Without --tls-ca nobody is asked for a certificate, and one that is there is not looked at."""
        server = self.serve(*OVER_TLS[:2])
        self.assert_serves(self.tls_peer(server, client_context()))
        self.assert_serves(self.tls_peer(server))
        self.assert_told(server, [], association(), association())

    def test_store(self) -> None:
        """An instance arrives over TLS as it does without, and the audit says from whom."""
        server = self.serve(*OVER_TLS)
        peer = self.tls_peer(server).associate()
        self.assertEqual(0x0000, peer.store())
        peer.release()
        stored = association(certificate=certificate(self.client), instances=1, bytes=len(DATA_SET))
        self.assert_told(server, [], stored, stored=[f"CT.{UID}"])


class CertificateTests(AccessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(*OVER_TLS)

    def assert_refused(self, identity: Path | None, alert: int, cause: str, alert_of_1_2: int | None = None) -> None:
        """In both versions, and even if the peer says at once what it wants; the next one is served each time."""
        under_1_2 = self.refused(self.server, client_context(identity, TLS_1_2))
        self.assert_serves(self.tls_peer(self.server))
        under_1_3 = self.refused(self.server, client_context(identity, TLS_1_3))
        self.assert_serves(self.tls_peer(self.server))
        self.assertEqual((alert_of_1_2 or alert, alert), (under_1_2, under_1_3))
        peer = self.tls_peer(self.server, client_context(identity, TLS_1_3))
        with self.assertRaises((ssl.SSLError, ConnectionError, NotAccepted)) as raised:
            peer.associate()
        self.assertEqual(b"", getattr(raised.exception, "answer", b""))
        self.assert_serves(self.tls_peer(self.server))
        served = association(certificate=certificate(self.client))
        self.assert_told(self.server, [refusal_line(cause)] * 3, *[refusal(cause), served] * 3)

    def assert_distrusted(self, key: Key, authority: trustme.CA | None, purpose: Any, alert: int, fault: str) -> None:
        identity = self.directory / "other.pem"
        identity.write_bytes(certified(key, authority, purpose))
        self.assert_refused(identity, alert, distrusted(fault, "CN=CT1"))

    def test_none(self) -> None:
        """Who has no certificate is refused."""
        self.assert_refused(None, Alert.CERTIFICATE_REQUIRED, NO_CERTIFICATE, alert_of_1_2=Alert.HANDSHAKE_FAILURE)

    def test_other_authority(self) -> None:
        """A certificate from another authority is worth nothing, whatever name it is for."""
        self.assert_refused(self.issue("other.pem", trustme.CA()), Alert.UNKNOWN_CA, STRANGER)

    def test_authority_of_the_same_name(self) -> None:
        """It is the authority's key that counts, not its name."""
        name = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes()).subject
        (unit,) = name.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        forger = trustme.CA(organization_unit_name=str(unit.value))
        self.assertEqual(name, x509.load_pem_x509_certificate(forger.cert_pem.bytes()).subject)
        self.assert_refused(self.issue("other.pem", forger), Alert.UNKNOWN_CA, STRANGER)

    def test_expired(self) -> None:
        """So is one whose time is over."""
        identity = self.issue("other.pem", not_after=datetime.datetime(2001, 1, 1))
        self.assert_refused(identity, Alert.CERTIFICATE_EXPIRED, distrusted("it has expired"))

    def test_not_yet_valid(self) -> None:
        """And one whose time has not come."""
        identity = self.issue("other.pem", not_before=datetime.datetime(2999, 1, 1))
        self.assert_refused(identity, Alert.BAD_CERTIFICATE, distrusted("it is not yet valid"))

    def test_self_signed(self) -> None:
        """Nobody is an authority by saying so."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.assert_distrusted(
            key, None, CLIENT_AUTH, Alert.UNKNOWN_CA, "its authority is not one of those in --tls-ca"
        )

    def test_weak_key(self) -> None:
        """A key that can be broken proves nothing, even with the right authority's signature."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        self.assert_distrusted(key, self.authority, CLIENT_AUTH, Alert.BAD_CERTIFICATE, "its key is too weak")

    def test_weak_signature(self) -> None:
        """So does a signature of the right authority over a digest that can be forged."""
        ours = self.directory / "authority.pem"
        ours.write_bytes(self.authority.private_key_pem.bytes() + self.authority.cert_pem.bytes())
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "other.pem"]
        openssl(self.directory, "req", *key, "-subj", "/CN=CT1", "-out", "request.pem")
        signed = ["-req", "-in", "request.pem", "-CA", "authority.pem", "-set_serial", "1", "-sha1"]
        certificate = openssl(self.directory, "x509", *signed)
        identity = self.directory / "other.pem"
        identity.write_bytes(identity.read_bytes() + certificate)
        self.assert_refused(identity, Alert.BAD_CERTIFICATE, distrusted("it is signed too weakly", "CN=CT1"))

    def test_for_servers_only(self) -> None:
        """The certificate of a server, which has it for that alone, lets nobody in as a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.assert_distrusted(key, self.authority, SERVER_AUTH, Alert.UNSUPPORTED_CERTIFICATE, "it is not for clients")

    def test_unreadable(self) -> None:
        """A certificate that our library cannot read is refused as another is: in one line, without a traceback."""
        key = ec.generate_private_key(ec.SECP256R1())
        identity = self.directory / "other.pem"
        identity.write_bytes(of_version_6(certified(key, None, CLIENT_AUTH), key))
        cause = distrusted("its authority is not one of those in --tls-ca", "(unreadable)")
        self.assert_refused(identity, Alert.UNKNOWN_CA, cause)

    def test_unreadable_of_the_authority(self) -> None:
        """One that the right authority has signed is let in without a name that could be shown."""
        key = ec.generate_private_key(ec.SECP256R1())
        identity = self.directory / "other.pem"
        authority: Any = load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        identity.write_bytes(of_version_6(certified(key, self.authority, CLIENT_AUTH), authority))
        self.assert_serves(self.tls_peer(self.server, client_context(identity)))
        pem = identity.read_text("ascii")
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERT") :])).hexdigest()
        who = {"subject": "(unreadable)", "sha256": digest}
        self.assert_told(self.server, [], association(certificate=who))

    def test_intermediate_authority(self) -> None:
        """The certificates that lead to the authority may come with the peer's; without them it is a stranger's."""
        whole = self.issue("other.pem", self.authority.create_child_ca())
        own, _, _ = whole.read_text("ascii").partition("-----END CERTIFICATE-----\n")
        alone = self.directory / "alone.pem"
        alone.write_text(f"{own}-----END CERTIFICATE-----\n", "ascii")
        self.assert_serves(self.tls_peer(self.server, client_context(whole)))
        self.assertEqual(Alert.UNKNOWN_CA, self.refused(self.server, client_context(alone)))
        served = association(certificate=certificate(whole))
        self.assert_told(self.server, [refusal_line(STRANGER)], served, refusal(STRANGER))


class TrustTests(AccessTestCase):
    """What a certificate in the file of authorities vouches for: for what it has signed, and for itself."""

    def assert_only(self, trusted: bytes, stranger: Path) -> None:
        """With only this certificate in the file the client is served, and the stranger is not."""
        (self.directory / "ca.pem").write_bytes(trusted)
        server = self.serve(*OVER_TLS)
        self.assertEqual(Alert.UNKNOWN_CA, self.refused(server, client_context(stranger)))
        self.assert_serves(self.tls_peer(server))
        served = association(certificate=certificate(self.client))
        self.assert_told(server, [refusal_line(STRANGER)], refusal(STRANGER), served)

    def test_department(self) -> None:
        """An authority below another one is one by itself: it does not bring in what the other has signed."""
        department = self.authority.create_child_ca()
        self.client = self.issue("client.pem", department)
        self.assert_only(department.cert_pem.bytes(), self.issue("other.pem"))

    def test_device(self) -> None:
        """The certificate of a device, whoever has signed it, is for that device alone."""
        leaf = self.authority.issue_cert("ct1.example.org", common_name="CT1")
        self.client = self.write("client.pem", leaf)
        self.assert_only(leaf.cert_chain_pems[0].bytes(), self.issue("other.pem"))


class ConfusedTests(AccessTestCase):
    """One who speaks TLS where it is not spoken, or does not where it is."""

    def assert_told_of_one(self, server: Server, cause: str) -> None:
        served = association(certificate=certificate(self.client))
        self.assert_told(server, [refusal_line(cause)], refusal(cause), served)

    def test_plain_to_tls(self) -> None:
        """A peer without TLS gets not a byte; one line says so, and the next peer is served."""
        server = self.serve(*OVER_TLS)
        peer = self.peer(server)
        peer.send(ASSOCIATE_RQ)
        self.assertEqual(b"", peer.rest())
        self.assert_serves(self.tls_peer(server))
        self.assert_told_of_one(server, NO_TLS)

    def test_http_to_tls(self) -> None:
        """The same of who takes it for a web server."""
        server = self.serve(*OVER_TLS)
        peer = self.peer(server)
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(b"", peer.rest())
        self.assert_serves(self.tls_peer(server))
        self.assert_told_of_one(server, NO_TLS)

    def test_tls_to_plain(self) -> None:
        """A hello of TLS is no PDU, which one line says; and the next peer is served."""
        server = self.serve("--listen=tcp:0:interface=127.0.0.1")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.tls_peer(server)
        self.assert_serves(self.peer(server))
        cause = "PDU type 16H is unknown; it may be TLS"
        self.assert_told(server, [refusal_line(cause)], refusal(cause), association())


class NetworkTests(AccessTestCase):
    """Where only 127.0.0.1 is allowed, 127.0.0.2 need not even begin."""

    ALLOWED = "--allow=*@127.0.0.1/32"

    def heard(self, server: Server, said: bytes) -> bytes:
        """By a stranger that says this; its connection may end before it knows that it has one."""
        with contextlib.suppress(ConnectionError):
            peer = self.peer(server, HOSTS[1])
            with contextlib.suppress(ConnectionError):
                peer.send(said)
            return peer.rest()
        return b""

    def test_plain(self) -> None:
        """A stranger's connection ends without a byte, whether it says something or not."""
        server = self.serve("--listen=tcp:0:interface=127.0.0.1", self.ALLOWED)
        self.assertEqual([b"", b""], [self.heard(server, said) for said in (b"", ASSOCIATE_RQ)])
        self.assert_serves(self.peer(server))
        self.assert_told(server, [refusal_line(NO_NETWORK)] * 2, *[refusal(NO_NETWORK)] * 2, association())

    def test_over_tls(self) -> None:
        """No hello of a stranger is answered; what would be wrong with its TLS, nobody looks at."""
        server = self.serve(*OVER_TLS, self.ALLOWED)
        for said in (client_hello(0x0303), client_hello(0x0301), ASSOCIATE_RQ):
            self.assertEqual(b"", self.heard(server, said))
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.tls_peer(server, host=HOSTS[1])
        self.assert_serves(self.tls_peer(server))
        served = association(certificate=certificate(self.client))
        self.assert_told(server, [refusal_line(NO_NETWORK)] * 4, *[refusal(NO_NETWORK)] * 4, served)

    def test_network_of_a_title(self) -> None:
        """A network of one title lets in no other one from there; who it was is in the audit."""
        server = self.serve("--listen=tcp:0:interface=127.0.0.1", "--allow=TESTSCU@127.0.0.2", "--allow=CT1@127.0.0.1")
        self.assert_serves(self.peer(server, HOSTS[1]))
        with self.assertRaises(NotAccepted) as raised:
            self.peer(server).associate()
        self.assertEqual(bytes.fromhex("03 00 00000004 00 01 01 03"), raised.exception.answer)
        cause = "'TESTSCU' is not allowed from this network"
        self.assert_told(server, [rejection_line(cause)], association(), rejection((1, 1, 3), cause))


def proxy_header(host: str) -> bytes:
    return f"PROXY TCP4 {host} 192.0.2.1 40000 104\r\n".encode()


class ProxyTests(AccessTestCase):
    """Where a proxy says who comes, it is that address that counts."""

    ALLOWED = "--allow=*@10.1.2.0/24"
    INSIDE, OUTSIDE = "10.1.2.3", "10.1.3.1"

    def assert_address_counts(self, server: Server, connect: "Callable[[bytes], Peer]", **served: Any) -> None:
        self.assert_serves(connect(proxy_header(self.INSIDE)))
        unknown = b"PROXY UNKNOWN 10.1.2.3 192.0.2.1 40000 104\r\n"  # whatever it says: it is the proxy itself
        for header in (proxy_header(self.OUTSIDE), unknown, b""):
            with self.assertRaises((ssl.SSLError, ConnectionError, NotAccepted)) as raised:
                connect(header).associate()
            self.assertEqual(b"", getattr(raised.exception, "answer", b""))
        self.assert_serves(connect(proxy_header(self.INSIDE)))
        inside, outside = (f"{host}:40000" for host in (self.INSIDE, self.OUTSIDE))
        self.assert_told(
            server,
            [
                refusal_line(NO_NETWORK, outside),
                refusal_line(NO_NETWORK),
                refusal_line(NO_HEADER),
            ],
            association(peer=inside, **served),
            refusal(NO_NETWORK, outside),
            refusal(NO_NETWORK),
            refusal(NO_HEADER),
            association(peer=inside, **served),
        )

    def test_plain(self) -> None:
        """The address of the proxy itself, which is not allowed, neither hinders nor helps."""
        server = self.serve("--listen=haproxy:tcp:0:interface=127.0.0.1", self.ALLOWED)

        def connect(header: bytes) -> Peer:
            peer = self.peer(server)
            peer.send(header)
            return peer

        self.assert_address_counts(server, connect)

    def test_header_before_tls(self) -> None:
        """With tls:haproxy: the header comes before the hello."""
        server = self.serve("--listen=tls:haproxy:tcp:0:interface=127.0.0.1", *OVER_TLS[1:], self.ALLOWED)
        self.assert_address_counts(
            server, lambda header: self.tls_peer(server, before=header), certificate=certificate(self.client)
        )

    def test_no_handshake(self) -> None:
        """A stranger's hello that follows such a header is not answered."""
        server = self.serve("--listen=tls:haproxy:tcp:0:interface=127.0.0.1", *OVER_TLS[1:], self.ALLOWED)
        peer = self.peer(server)
        peer.send(proxy_header(self.OUTSIDE) + client_hello(0x0303))
        self.assertEqual(b"", peer.rest())
        outside = f"{self.OUTSIDE}:40000"
        self.assert_told(server, [refusal_line(NO_NETWORK, outside)], refusal(NO_NETWORK, outside))

    def test_header_in_tls(self) -> None:
        """A header that would come in TLS is a mistake, which is said at once."""
        endpoint = "haproxy:tls:tcp:0:interface=127.0.0.1"
        ended = self.run_program(*OVER_TLS, f"--listen={endpoint}").ended()
        cause = f"argument --listen: {endpoint}: it is tls:haproxy:ENDPOINT, in this order and each once"
        self.assertEqual(Ended(2, "", f"storescp: error: {cause}\n"), ended)


class ReloadTests(AccessTestCase):
    """SIGHUP, while an association is open."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(*OVER_TLS, "-v")
        self.addCleanup(self.server.kill)
        self.open = self.tls_peer(self.server).associate()

    def reload(self, line: str) -> None:
        """Let it read all again, until it has said this of it."""
        said = self.server.stderr.count(line)
        self.server.signal(signal.SIGHUP)
        wait_until(lambda: self.server.stderr.count(line) > said, line, HANGING)

    def shown(self) -> bytes:
        """The certificate that a new connection sees."""
        peer = self.tls_peer(self.server)
        seen = peer.tls.getpeercert(binary_form=True) or b""
        self.assert_serves(peer)
        return seen

    def on_disk(self) -> bytes:
        pem = (self.directory / "server.pem").read_text("ascii")
        return ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERT") :])

    def assert_goes_on(self) -> None:
        """What was open is: an instance is stored in it."""
        self.assertEqual(ECHO_RSP, self.open.echo())
        self.assertEqual(0x0000, self.open.store())
        self.open.release()
        wait_until(lambda: files_in(self.storage) == sorted([*INCOMING, f"CT.{UID}"]), "an instance", HANGING)

    def log(self) -> list[str]:
        """What the server has said of other things than associations that go as they should."""
        ended = self.server.stop()
        self.assertEqual(0, ended.code)
        every = without_addresses(ended.stderr).splitlines()
        return [line for line in every if line[:2] != "I:" or "read" in line]

    def test_key_and_certificate(self) -> None:
        """A new key and certificate are for new connections; the open association goes on under the old one."""
        before = self.on_disk()
        self.assertEqual(before, self.shown())
        self.write("server.pem", self.authority.issue_cert("localhost", key_type=KeyType.RSA))
        self.assertEqual(before, self.shown())
        self.reload("All files were read again")
        self.assertNotEqual(before, self.on_disk())
        self.assertEqual(self.on_disk(), self.shown())
        self.assert_goes_on()
        self.assertEqual(["I: All files were read again"], self.log())

    def test_broken_file(self) -> None:
        """A file that cannot be used is one E line, and what was read before stays; until it can be used."""
        before = self.on_disk()
        path = self.directory / "server.pem"
        good = path.read_bytes()
        chain = good[good.index(b"-----BEGIN CERT") :]
        other = self.authority.issue_cert("localhost").private_key_pem.bytes()
        no_certificate = "server.pem: there is no certificate in PEM format"
        faults = {
            b"": no_certificate,
            good[: len(good) // 2]: no_certificate,
            chain: "server.pem: there is no private key (--tls-key) in PEM format without a passphrase",
            other + chain: "server.pem, server.pem: key values mismatch",
        }
        lines = []
        for content, fault in faults.items():
            path.write_bytes(content)
            lines.append(f"E: {fault}: what was read before stays")
            self.reload(lines[-1])
            self.assertEqual(before, self.shown())
        path.unlink()
        lines.append("E: server.pem: No such file or directory: what was read before stays")
        self.reload(lines[-1])
        self.assertEqual(before, self.shown())
        path.write_bytes(good)
        self.reload("All files were read again")
        self.assert_goes_on()
        self.assertEqual([*lines, "I: All files were read again"], self.log())

    def test_authority(self) -> None:
        """Clients of an authority that is no more are refused, although they have been here; the new one's are not."""
        new = trustme.CA()
        theirs = self.issue("new.pem", new)
        self.assertEqual(Alert.UNKNOWN_CA, self.refused(self.server, client_context(theirs)))
        new.cert_pem.write_to_path(self.directory / "ca.pem")
        self.reload("All files were read again")
        self.assertEqual(Alert.UNKNOWN_CA, self.refused(self.server, client_context(self.client)))
        self.assert_serves(self.tls_peer(self.server, client_context(theirs)))
        self.assert_goes_on()
        line = refusal_line(STRANGER)
        self.assertEqual([line, "I: All files were read again", line], self.log())

    def test_broken_authority(self) -> None:
        """Who was allowed stays so while the file of authorities cannot be used; nobody else is."""
        (self.directory / "ca.pem").write_bytes(b"")
        line = "E: ca.pem: there is no certificate in PEM format: what was read before stays"
        self.reload(line)
        self.assert_serves(self.tls_peer(self.server))
        self.assertEqual(
            Alert.UNKNOWN_CA, self.refused(self.server, client_context(self.issue("other.pem", trustme.CA())))
        )
        self.assert_goes_on()
        self.assertEqual([line, refusal_line(STRANGER)], self.log())

    def test_saved_session(self) -> None:
        """No session of TLS is resumed: it would let in whoever was let in once."""
        saved = []
        for version in (TLS_1_2, TLS_1_3):
            context = client_context(self.client, version)
            first = self.tls_peer(self.server, context)
            first.associate()
            session = first.tls.session
            self.assertEqual(ECHO_RSP, first.echo())
            again = self.tls_peer(self.server, context, session=session)
            self.assertEqual((version, False), (version, again.tls.session_reused))
            self.assert_serves(again)
            first.release()
            saved.append((context, session))
        trustme.CA().cert_pem.write_to_path(self.directory / "ca.pem")
        self.reload("All files were read again")
        for context, session in saved:
            with self.assertRaises(ssl.SSLError) as raised:
                self.tls_peer(self.server, context, session=session).receive_bytes(1)
            self.assertEqual(Alert.UNKNOWN_CA, alert(raised.exception))
        self.assert_goes_on()
        self.assertEqual(["I: All files were read again", *[refusal_line(STRANGER)] * 2], self.log())

    def test_saved_session_of_openssl(self) -> None:
        """Nor does OpenSSL's client, with what it has saved, get in without its certificate being looked at again."""
        options = ("-tls1_3", "-cert", self.client)
        saved = self.directory / "session"
        self.assertEqual([], alerts(s_client(self.server, *options, "-sess_out", saved, said=SHORT_ASSOCIATION)))
        again = s_client(self.server, *options, "-sess_in", saved, said=SHORT_ASSOCIATION)
        self.assertEqual(([], ["New"]), (alerts(again), re.findall("^(New|Reused), TLSv1.3", again, re.MULTILINE)))
        trustme.CA().cert_pem.write_to_path(self.directory / "ca.pem")
        self.reload("All files were read again")
        printed = s_client(self.server, *options, "-sess_in", saved, said=SHORT_ASSOCIATION)
        self.assertEqual([Alert.UNKNOWN_CA], alerts(printed))
        self.assert_goes_on()
        aborted = ["E: Association Aborted: by the peer (TESTSCU at PEER)"] * 2
        self.assertEqual([*aborted, "I: All files were read again", refusal_line(STRANGER)], self.log())
