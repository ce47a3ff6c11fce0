"""TLS: what is known of a peer by its certificate, and keys that cannot be used."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import TLS_PROFILES, Config
from storescp.errors import CannotStart
from storescp.interfaces import Certificate
from storescp.program.service import service_for
from storescp.server import tls
from storescp.server.tls import TLS, _warn_of_dates, certificate_of
from tests.program import make_directory
from tests.recorders import RecordingStorage
from tests.server.test_access import CT1, make_certificate

ERRORS: tuple[Exception, ...] = (  # what cryptography has been seen to raise
    x509.InvalidVersion("5 is not a valid X509 version", 5),
    x509.DuplicateExtension("Duplicate extension", x509.SubjectAlternativeName.oid),
    ValueError("error parsing asn1 value"),
    TypeError("not a string"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    NotImplementedError("a type"),
    KeyError(7),
)


class Unreadable:
    """A stand-in for a certificate of which OpenSSL knows the digest, and cryptography what `read` lets it know."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.to_cryptography = read

    def digest(self, name: str) -> bytes:
        return {"sha256": b":".join([b"AB"] * 32)}[name]


def failing(error: Exception) -> Any:
    """A property that cannot be had."""

    def fail(_: object) -> Any:
        raise error

    return property(fail)


def known(read: Callable[[], Any]) -> Certificate:
    certificate: Any = Unreadable(read)
    return certificate_of(certificate)


class CertificateTests(SynchronousTestCase):
    def test_readable(self) -> None:
        """Its subject, digest and names."""
        certificate = certificate_of(CT1)
        digest = str(CT1.digest("sha256"), "ascii").replace(":", "").lower()
        names = ("dns:ct1.example.org", "ip:10.1.2.3", "ip:2001:db8::1", "uri:urn:ct:1", "email:CT@example.org")
        self.assertEqual(("CN=ct1", digest, names), (certificate.subject, certificate.sha256, certificate.names))

    def test_unreadable(self) -> None:
        """Of one that cannot be read at all only the digest is known."""
        for error in ERRORS:
            read = mock.Mock(side_effect=error)
            self.assertEqual(Certificate(subject="(unreadable)", sha256="ab" * 32, names=()), known(read), error)

    def test_subject(self) -> None:
        """A subject that cannot be read keeps nobody from the names, which are what counts."""
        extensions = make_certificate(x509.DNSName("ct1.example.org")).to_cryptography().extensions
        for error in ERRORS:
            odd: Any = type("Odd", (), {"subject": failing(error), "extensions": extensions})
            certificate = known(odd)
            self.assertEqual(("(unreadable)", ("dns:ct1.example.org",)), (certificate.subject, certificate.names))

    def test_names(self) -> None:
        """With an extension that cannot be read it has no names, and with a subject it has that."""
        subject = make_certificate().to_cryptography().subject
        for error in ERRORS:
            odd: Any = type("Odd", (), {"subject": subject, "extensions": failing(error)})
            certificate = known(odd)
            self.assertEqual(("CN=ct1", ()), (certificate.subject, certificate.names))

    def test_name_of_the_subject(self) -> None:
        """Nor is a subject read of which it turns out only then that it has no text."""
        odd = SimpleNamespace(rfc4514_string=mock.Mock(side_effect=TypeError("bytes")))
        certificate = known(lambda: SimpleNamespace(subject=odd, extensions=x509.Extensions([])))
        self.assertEqual(("(unreadable)", ()), (certificate.subject, certificate.names))

    def test_refused(self) -> None:
        """One that is refused and cannot be read is refused in one line all the same."""
        for error in ERRORS:
            protocol = SimpleNamespace(refused="")
            connection: Any = SimpleNamespace(get_app_data=lambda protocol=protocol: protocol)
            certificate: Any = Unreadable(mock.Mock(side_effect=error))
            self.assertIs(True, tls._verified(connection, certificate, 0, 0, 1))
            self.assertEqual("", protocol.refused)
            self.assertIs(False, tls._verified(connection, certificate, 10, 0, 0))
            self.assertEqual("TLS failed: the certificate of (unreadable): it has expired", protocol.refused)


class ProfileTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Each that can be asked for is there, and no other."""
        self.assertEqual(TLS_PROFILES, tuple(tls.PROFILES))


class KeyTests(SynchronousTestCase):
    """A key of a kind that no certificate of a server can have."""

    def setUp(self) -> None:
        directory = Path(make_directory(self))
        self.key, self.certificate = directory / "key.pem", directory / "cert.pem"
        leaf = trustme.CA().issue_cert("localhost")
        self.certificate.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        self.good = leaf.private_key_pem.bytes()

    def write(self, key: Any) -> None:
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def test_start(self) -> None:
        """It is told in one line, at the start."""
        for key in (x25519.X25519PrivateKey.generate(), x448.X448PrivateKey.generate()):
            self.write(key)
            error = self.assertRaises(CannotStart, TLS, str(self.key), str(self.certificate))
            self.assertEqual(f"{self.key}: Unsupported key type", str(error))

    def test_out_of_its_time(self) -> None:
        """A certificate that is not valid now, or not for long, is taken and told in a line: no peer will trust it."""
        years = [datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2019, 2020, 2098, 2099)]
        soon, later = (datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=days) for days in (29, 31))
        for begins, ends, fault in (
            (years[0], years[1], "has expired on 2020-01-01 00:00:00+00:00"),
            (years[2], years[3], "is not valid before 2098-01-01 00:00:00+00:00"),
            (years[0], soon, f"expires on {soon}"),
            (years[0], later, ""),
        ):
            leaf = trustme.CA().issue_cert("localhost", not_before=begins, not_after=ends)
            self.key.write_bytes(leaf.private_key_pem.bytes())
            self.certificate.write_bytes(leaf.cert_chain_pems[0].bytes())
            subject = x509.load_pem_x509_certificate(self.certificate.read_bytes()).subject.rfc4514_string()
            line = f"{self.certificate}: {subject} {fault}"
            self.assertEqual([("warn", line)] if fault else [], self.told())
            authorities = self.certificate.with_name("authorities.pem")
            authorities.write_bytes(self.certificate.read_bytes())
            again = f"{authorities}: {subject} {fault}"
            expected = [("warn", line), ("warn", again)] if fault else []
            self.assertEqual(expected, self.told(str(authorities)))

    def test_unreadable_name(self) -> None:
        """One whose name the library cannot read is told of all the same."""
        expired = datetime(2020, 1, 1, tzinfo=timezone.utc)
        certificate = mock.Mock(not_valid_before_utc=expired, not_valid_after_utc=expired)
        type(certificate.subject).rfc4514_string = mock.Mock(side_effect=ValueError("error parsing asn1 value"))
        with capturedLogs() as logged:
            _warn_of_dates("authorities.pem", [certificate])
        line = f"authorities.pem: (unreadable) has expired on {expired}"
        self.assertEqual([line], [formatEvent(event) for event in logged])

    def told(self, *authorities: str) -> list[tuple[str, str]]:
        with capturedLogs() as logged:
            TLS(str(self.key), str(self.certificate), *authorities)
        return [(event["log_level"].name, formatEvent(event)) for event in logged]

    def test_other_key(self) -> None:
        """So is that of another certificate."""
        self.write(ec.generate_private_key(ec.SECP256R1()))
        error = self.assertRaises(CannotStart, TLS, str(self.key), str(self.certificate))
        self.assertEqual(f"{self.certificate}, {self.key}: key values mismatch", str(error))

    def test_reload(self) -> None:
        """And at a reload, after which all is as it was; the other files are read all the same."""
        self.key.write_bytes(self.good)
        allow = self.key.with_name("allow")
        allow.write_bytes(b"CT1\n")
        config = Config(
            port=2762, tls_key=str(self.key), tls_cert=str(self.certificate), allow_file=str(allow), ignore=True
        )
        service = service_for(config, storage=RecordingStorage(), reactor=MemoryReactorClock())
        self.write(x25519.X25519PrivateKey.generate())
        with capturedLogs() as logged:
            service.reload()
        self.assertEqual(
            [f"{self.key}: Unsupported key type: what was read before stays"], [formatEvent(event) for event in logged]
        )

    def test_stays(self) -> None:
        """Connections are made with what there was before."""
        self.key.write_bytes(self.good)
        subject = TLS(str(self.key), str(self.certificate))
        protocol: Any = SimpleNamespace()
        before = subject.serverConnectionForTLS(protocol).get_context()
        self.write(x25519.X25519PrivateKey.generate())
        self.assertRaises(CannotStart, subject.reload)
        self.assertIs(before, subject.serverConnectionForTLS(protocol).get_context())
        self.key.write_bytes(self.good)
        subject.reload()
        self.assertIsNot(before, subject.serverConnectionForTLS(protocol).get_context())
