"""TLS: what a port speaks that has a certificate, by the profiles of PS3.15 Annex B. Needs ``storescp[tls]``."""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, trustRootFromCertificates
from twisted.internet.ssl import Certificate as TrustedCertificate
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from storescp.errors import CannotStart
from storescp.interfaces import Certificate
from storescp.server.files import content

_log = Logger()


@attrs.frozen
class Profile:
    """What may be negotiated; nothing below TLS 1.2. The names are OpenSSL's, the strongest first."""

    tls_1_2: tuple[str, ...]
    tls_1_3: tuple[str, ...]


_GCM = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
_TLS_1_3 = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")

PROFILES = {
    # PS3.15 B.12, BCP 195 with RFC 8996 and 9325: the suites that RFC 9325 4.2 recommends.
    "bcp195": Profile(_GCM, _TLS_1_3),
    # PS3.15 B.13, modified. Its suites of Camellia with GCM are not in OpenSSL, which counts those of CCM with a short
    # tag, CCM_8, as too weak.
    "bcp195-modified": Profile(
        (
            *_GCM[:2],
            "ECDHE-ECDSA-AES256-CCM",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-CHACHA20-POLY1305",
            *_GCM[2:],
            "ECDHE-ECDSA-AES128-CCM",
        ),
        (*_TLS_1_3, "TLS_AES_128_CCM_SHA256"),
    ),
}

# X.509 keys and signatures of 112 bits of security at least, as B.13 and RFC 9325 ask for: RSA of 2048 bits, no SHA-1.
_SECURITY_LEVEL = "@SECLEVEL=2"

# What is wrong with a certificate, in our words; the numbers are those of OpenSSL's x509_vfy.h.
_FAULTS = {
    2: "its authority is not one of those in --tls-ca",
    9: "it is not yet valid",
    10: "it has expired",
    18: "its authority is not one of those in --tls-ca",
    19: "its authority is not one of those in --tls-ca",
    20: "its authority is not one of those in --tls-ca",
    21: "its authority is not one of those in --tls-ca",
    24: "its authority may not sign certificates",
    26: "it is not for clients",
    66: "its key is too weak",
    67: "the key of its authority is too weak",
    68: "it is signed too weakly",
    79: "its authority may not sign certificates",
}


_SOON = timedelta(days=30)
_UNREADABLE = "(unreadable)"


class TLSProtocol(TLSMemoryBIOProtocol):
    """TLS on one connection. Where it does not trust the peer, the protocol finds the reason in `refused`."""

    refused: str


class _TLSFactory(TLSMemoryBIOFactory):
    protocol = TLSProtocol


@implementer(IOpenSSLServerConnectionCreator)
class TLS:
    """The key and certificate of a server, and the authorities that its peers' certificates must be from.

    Files are PEM; that of the certificate may have those that lead from it to its authority after it. Without `ca`
    no certificate is asked for. Raises `CannotStart` for what is wrong with a file.
    """

    def __init__(self, key: str, certificate: str, ca: str | None = None, profile: str = "bcp195") -> None:
        self._key = key
        self._certificate = certificate
        self._ca = ca
        self._profile = PROFILES[profile]
        self._context = self._load()

    def reload(self) -> None:
        """Read the files again, for the connections to come. Raises `CannotStart`; then all stays as it was."""
        self._context = self._load()

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        return connection

    def _load(self) -> SSL.Context:
        certificate, *chain = _certificates(self._certificate)
        _warn_of_dates(self._certificate, [certificate, *chain])
        options: Any = {}
        if self._ca is not None:
            authorities = _certificates(self._ca)
            _warn_of_dates(self._ca, authorities)
            options["trustRoot"] = _trust(authorities)
        # The objects of cryptography, as pyOpenSSL wants them by now; Twisted hands them on.
        options |= {"privateKey": _private_key(self._key), "certificate": certificate, "extraCertChain": chain}
        acceptable = AcceptableCiphers.fromOpenSSLCipherString(":".join(self._profile.tls_1_2))
        try:
            context = CertificateOptions(acceptableCiphers=acceptable, **options).getContext()
            context.set_cipher_list(":".join((*self._profile.tls_1_2, _SECURITY_LEVEL)).encode())
            context.set_tls13_ciphersuites(":".join(self._profile.tls_1_3).encode())
        except SSL.Error as error:
            raise CannotStart(f"{self._certificate}, {self._key}: {_words(error)}") from None
        except TypeError as error:  # a kind of key that pyOpenSSL does not know
            raise CannotStart(f"{self._key}: {error}") from None
        # Each certificate of the file is trusted by itself, also one that another has signed.
        store = context.get_cert_store()
        if store is not None:
            store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        context.set_verify(context.get_verify_mode(), _verified)
        return context

    def over(self, endpoint: IStreamServerEndpoint, clock: IReactorTime) -> IStreamServerEndpoint:
        """`endpoint`, on whose connections TLS is spoken."""
        return _Endpoint(self, endpoint, clock)


@implementer(IStreamServerEndpoint)
@attrs.frozen
class _Endpoint:
    _tls: TLS
    _endpoint: IStreamServerEndpoint
    _clock: IReactorTime

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        return self._endpoint.listen(_TLSFactory(self._tls, False, protocolFactory, self._clock))


def _warn_of_dates(path: str, certificates: Iterable[x509.Certificate]) -> None:
    """Say of which of a file's certificates nobody will trust, now or soon."""
    now = datetime.now(timezone.utc)
    for each in certificates:
        begins, ends = each.not_valid_before_utc, each.not_valid_after_utc
        if now < begins:
            fault = f"is not valid before {begins}"
        elif now > ends:
            fault = f"has expired on {ends}"
        elif ends - now < _SOON:
            fault = f"expires on {ends}"
        else:
            continue
        _log.warn("{path}: {subject} {fault}", path=path, subject=_name(each), fault=fault)


def certificate_of(certificate: crypto.X509) -> Certificate:
    """What is to be known of a peer by its certificate; OpenSSL takes some whose names cannot be read."""
    return Certificate(
        subject=_subject(certificate),
        sha256=str(certificate.digest("sha256"), "ascii").replace(":", "").lower(),
        names=_alternative_names(certificate),
    )


def _subject(certificate: crypto.X509) -> str:
    try:
        return _name(certificate.to_cryptography())
    except Exception:  # whatever the library makes of it: several errors without a common class
        return _UNREADABLE


def _name(certificate: x509.Certificate) -> str:
    try:
        return certificate.subject.rfc4514_string()
    except Exception:  # as above
        return _UNREADABLE


def _alternative_names(certificate: crypto.X509) -> tuple[str, ...]:
    try:
        extensions = certificate.to_cryptography().extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # there are none, or one of the extensions is unreadable
        return ()
    return (
        *(f"dns:{name.lower()}" for name in names.get_values_for_type(x509.DNSName)),
        *(f"ip:{address}" for address in names.get_values_for_type(x509.IPAddress)),
        *(f"uri:{uri}" for uri in names.get_values_for_type(x509.UniformResourceIdentifier)),
        *(f"email:{address}" for address in names.get_values_for_type(x509.RFC822Name)),
    )


def _verified(connection: SSL.Connection, certificate: crypto.X509, error: int, _depth: int, trusted: int) -> bool:
    """OpenSSL's opinion of a certificate of the peer's chain, which is kept for the log where it is a bad one."""
    if not trusted:
        fault = _FAULTS.get(error, f"it is not trusted (X.509 error {error})")
        connection.get_app_data().refused = f"TLS failed: the certificate of {_subject(certificate)}: {fault}"
    return bool(trusted)


def _certificates(path: str) -> list[x509.Certificate]:
    pem = content(path)
    try:
        return x509.load_pem_x509_certificates(pem)
    except Exception:  # whatever the library makes of it: several errors without a common class
        raise CannotStart(f"{path}: there is no certificate in PEM format") from None


def _private_key(path: str) -> Any:
    pem = content(path)
    try:
        return load_pem_private_key(pem, password=None)
    except Exception:  # there is none; it has a passphrase; it is of an odd kind
        raise CannotStart(f"{path}: there is no private key (--tls-key) in PEM format without a passphrase") from None


def _trust(certificates: list[x509.Certificate]) -> Any:
    return trustRootFromCertificates([TrustedCertificate(crypto.X509.from_cryptography(each)) for each in certificates])


def _words(error: SSL.Error) -> str:
    reasons = error.args[0] if error.args else ()
    return ", ".join(str(reason[-1]) for reason in reasons) or "it cannot be used"
