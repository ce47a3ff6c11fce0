"""With DCMTK's clients: storescu and echoscu, their certificates, users and tokens."""

import time
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storescp.server.users import users_line
from tests.access import (
    NO_CERTIFICATE,
    NO_TLS,
    OVER_TLS,
    STRANGER,
    AccessTestCase,
    Event,
    association,
    certificate,
    refusal,
    refusal_line,
    rejection,
    rejection_line,
)
from tests.dcmtk import run_client
from tests.interop import CT_SMALL, CT_SMALL_UID, data_set_bytes
from tests.servers import LOOPBACK, Server

NOT_CONNECTED = ["F: Association Request Failed: 0006:0317 Peer aborted Association (or never connected)"]
NOT_THIS_TITLE = [
    "F: Association Rejected:",
    "F: Result: Rejected Permanent, Source: Service User",
    "F: Reason: Calling AE Title Not Recognized",
]
NOT_THAT_TITLE = [*NOT_THIS_TITLE[:2], "F: Reason: Called AE Title Not Recognized"]
NOT_THIS_USER = [
    "F: Association Rejected:",
    "F: Result: Rejected Permanent, Source: Service Provider (ACSE Related)",
    "F: Reason: No Reason",
]
NOT_CONFIRMED = [
    "E: User Identity Negotiation failed: Positive response requested but none received",
    "F: 0006:0108 ASC User Identification Negotiation failed",
]


class DCMTKTestCase(AccessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.certified = self.with_certificate(self.client)
        self.who: Event = {"called_ae_title": "ANY-SCP", "certificate": certificate(self.client)}

    @property
    def sent(self) -> Event:
        """Of an association in which the image was stored; its padding is not sent."""
        size = len(data_set_bytes(self.storage / f"CT.{CT_SMALL_UID}"))
        return association(**self.who, calling_ae_title="CT1", instances=1, bytes=size)

    def with_certificate(self, identity: Path) -> tuple[str | Path, ...]:
        """The options of a client with this key and certificate, which trusts our authority."""
        return ("+tls", identity, identity, "+cf", self.directory / "ca.pem")

    def run_client(self, name: str, server: Server, *options: str | Path) -> list[str]:
        """What it prints; nothing where it has done what it should."""
        sent = [CT_SMALL] if name == "storescu" else []
        ended = run_client(name, *options, "localhost", str(server.port), *sent)
        printed = (ended.stdout + ended.stderr).splitlines()
        self.assertEqual(bool(printed), ended.returncode != 0, ended)
        return printed

    def store(self, server: Server, *options: str | Path, title: str = "CT1") -> list[str]:
        """What storescu prints that comes with a certificate, under this title."""
        return self.run_client("storescu", server, *self.certified, "-aet", title, *options)

    def assert_refused(self, server: Server, causes: list[str], *sent: str, **who: Any) -> None:
        """For these causes, and then that was sent by these users."""
        who = {**self.who, "calling_ae_title": "CT1", **who}
        self.assert_told(
            server,
            [rejection_line(cause, "CT1") for cause in causes],
            *(rejection((1, 2, 1), cause, **who) for cause in causes),
            *({**self.sent, **who, "user": user} for user in sent),
            stored=[f"CT.{CT_SMALL_UID}"] if sent else [],
        )


class CertificateTests(DCMTKTestCase):
    def test_storescu(self) -> None:
        """With the right certificate an instance is stored; without it there is no association."""
        server = self.serve(*OVER_TLS)
        stranger = self.issue("other.pem", trustme.CA())
        refused = [
            self.run_client("storescu", server, *options, "-aet", "CT1")
            for options in (self.with_certificate(stranger), ("+tla", "-ic"), ())
        ]
        self.assertEqual([NOT_CONNECTED] * 3, refused)
        self.assertEqual([], self.store(server))
        causes = [STRANGER, NO_CERTIFICATE, NO_TLS]
        self.assert_told(
            server, [*map(refusal_line, causes)], *map(refusal, causes), self.sent, stored=[f"CT.{CT_SMALL_UID}"]
        )

    def test_echoscu(self) -> None:
        """And an echo is answered, or there is no association."""
        server = self.serve(*OVER_TLS)
        stranger = self.issue("other.pem", trustme.CA())
        refused = [
            self.run_client("echoscu", server, *options)
            for options in (self.with_certificate(stranger), ("+tla", "-ic"), ())
        ]
        self.assertEqual([NOT_CONNECTED] * 3, refused)
        self.assertEqual([], self.run_client("echoscu", server, *self.certified))
        causes = [STRANGER, NO_CERTIFICATE, NO_TLS]
        served = association(**self.who, calling_ae_title="ECHOSCU")
        self.assert_told(server, [*map(refusal_line, causes)], *map(refusal, causes), served)

    def test_certificate_of_another_title(self) -> None:
        """A certificate that is good for one title is not for another."""
        lines = ("CT1 certificate=dns:ct1.example.org", f"CT2 certificate=sha256:{'0' * 64}")
        (self.directory / "allow").write_text("\n".join(lines), "ascii")
        server = self.serve(*OVER_TLS, "--allow-file=allow")
        self.assertEqual([NOT_THIS_TITLE, []], [self.store(server, title=title) for title in ("CT2", "CT1")])
        cause = "'CT2' is not allowed with the certificate of CN=CT1,OU=Radiology,O=Clinic"
        self.assert_told(
            server,
            [rejection_line(cause, "CT2")],
            rejection((1, 1, 3), cause, **self.who, calling_ae_title="CT2"),
            self.sent,
            stored=[f"CT.{CT_SMALL_UID}"],
        )


class TitleTests(DCMTKTestCase):
    def test_calling_title(self) -> None:
        """-aet is allowed or is not, and storescu says why."""
        server = self.serve(LOOPBACK, "--allow=CT1", "--allow=CT 3@127.0.0.0/8", "--allow=CT4@10.0.0.0/8")
        titles = ("CT2", "ct1", "CT4", "CT1", "CT 3")
        printed = [self.run_client("storescu", server, "-aet", title) for title in titles]
        self.assertEqual([NOT_THIS_TITLE] * 3 + [[]] * 2, printed)
        causes = {
            "CT2": "the calling AE title 'CT2' is not allowed",
            "ct1": "the calling AE title 'ct1' is not allowed",
            "CT4": "'CT4' is not allowed from this network",
        }
        plain = {"called_ae_title": "ANY-SCP", "certificate": None}
        self.assert_told(
            server,
            [rejection_line(cause, title) for title, cause in causes.items()],
            *(rejection((1, 1, 3), cause, **plain, calling_ae_title=title) for title, cause in causes.items()),
            *({**self.sent, **plain, "calling_ae_title": title} for title in ("CT1", "CT 3")),
            stored=[f"CT.{CT_SMALL_UID}"],
        )

    def test_called_title(self) -> None:
        """-aec must be ours where that is asked for; it is looked at first."""
        server = self.serve(LOOPBACK, "--allow=CT1", "--require-called-aet", "-aet", "PACS")
        combinations = (("CT1", "OTHER"), ("CT2", "OTHER"), ("CT2", "PACS"), ("CT1", "PACS"))
        printed = [self.run_client("storescu", server, "-aet", ours, "-aec", theirs) for ours, theirs in combinations]
        self.assertEqual([NOT_THAT_TITLE, NOT_THAT_TITLE, NOT_THIS_TITLE, []], printed)
        cause = "the calling AE title 'CT2' is not allowed"
        who: list[Event] = [{"calling_ae_title": ours, "called_ae_title": theirs} for ours, theirs in combinations]
        self.assert_told(
            server,
            [rejection_line(cause, "CT2")],  # of the called title -v speaks
            *(rejection((1, 1, 7), "", **each) for each in who[:2]),
            rejection((1, 1, 3), cause, **who[2]),
            {**self.sent, **who[3], "certificate": None},
            stored=[f"CT.{CT_SMALL_UID}"],
        )


class UserTests(DCMTKTestCase):
    def setUp(self) -> None:
        super().setUp()
        lines = (users_line("alice", "secret"), "# who need not prove it:", "bob:no-passcode")
        (self.directory / "users").write_text("\n".join(lines), "ascii")

    def test_passcodes(self) -> None:
        """-usr and -pwd must be those of a user, with or without -rsp, and what is wrong is not told to the client."""
        server = self.serve(*OVER_TLS, "--users=users")
        options = {
            (): "there is no user identity",
            ("-usr", "alice", "-pwd", "Secret"): "the user 'alice' is not accepted: unknown, or the passcode is wrong",
            ("-usr", "carol", "-pwd", "secret"): "the user 'carol' is not accepted: unknown, or the passcode is wrong",
            ("-usr", "bob", "-pwd", "secret"): "the user 'bob' is not accepted: unknown, or the passcode is wrong",
            ("-usr", "alice", "-epw"): "the user 'alice' is not accepted: unknown, or the passcode is wrong",
            ("-usr", "alice", "-rsp"): "the user 'alice' is not accepted: unknown, or not without a passcode",
            ("-usr", "carol", "-rsp"): "the user 'carol' is not accepted: unknown, or not without a passcode",
        }
        self.assertEqual([NOT_THIS_USER] * len(options), [self.store(server, *each) for each in options])
        alice = ("-usr", "alice", "-pwd", "secret")
        accepted = [self.store(server, *each) for each in (alice, (*alice, "-rsp"), ("-usr", "bob", "-rsp"))]
        self.assertEqual([[]] * 3, accepted)
        self.assertNotIn("ecret", server.stderr + (self.directory / "audit").read_text("ascii"))
        self.assert_refused(server, list(options.values()), "alice", "alice", "bob")

    def test_without_tls(self) -> None:
        """A passcode on an open line is refused, right or wrong; a name alone is no secret."""
        server = self.serve(LOOPBACK, "--users=users")
        passcodes = [
            self.run_client("storescu", server, "-aet", "CT1", "-usr", "alice", "-pwd", each)
            for each in ("secret", "wrong")
        ]
        self.assertEqual([NOT_THIS_USER] * 2, passcodes)
        self.assertEqual([], self.run_client("storescu", server, "-aet", "CT1", "-usr", "bob", "-rsp"))
        cause = "a passcode came without TLS (--insecure-identity)"
        self.assert_refused(server, [cause] * 2, "bob", certificate=None)

    def test_no_positive_response(self) -> None:
        """A client that asks for a positive response goes no further with a server that asks for no user."""
        server = self.serve(*OVER_TLS)
        printed = self.store(server, "-usr", "bob", "-rsp")
        self.assertEqual(NOT_CONFIRMED, printed)
        self.assertEqual([], self.store(server, "-usr", "bob"))
        aborted = {"ended": "aborted", "cause": "the connection was lost"}
        self.assert_told(
            server,
            ["E: Association Aborted: the connection was lost (CT1 at PEER)"],
            association(**self.who, calling_ae_title="CT1", **aborted),
            self.sent,
            stored=[f"CT.{CT_SMALL_UID}"],
        )

    def test_user_of_a_title(self) -> None:
        """A user that is known may still be the wrong one for this title."""
        (self.directory / "allow").write_text("CT1 user=alice\n", "ascii")
        server = self.serve(*OVER_TLS, "--users=users", "--allow-file=allow")
        self.assertEqual(NOT_THIS_USER, self.store(server, "-usr", "bob"))
        self.assertEqual([], self.store(server, "-usr", "alice", "-pwd", "secret"))
        cause = "'CT1' is not allowed as the user 'bob'"
        self.assert_told(
            server,
            [rejection_line(cause, "CT1")],
            rejection((1, 2, 1), cause, **self.who, calling_ae_title="CT1", user="bob"),
            {**self.sent, "user": "alice"},
            stored=[f"CT.{CT_SMALL_UID}"],
        )


class TokenTests(DCMTKTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.directory / "issuer.pem").write_bytes(self.public)

    def token(self, key: Any = None, algorithm: str = "ES256", **claims: Any) -> Path:
        """A file with a token for carol that is good for a minute, where nothing else is said."""
        claims = {"sub": "carol", "exp": int(time.time()) + 60, **claims}
        path = self.directory / f"token-{len(list(self.directory.glob('token-*')))}"
        known = {name: value for name, value in claims.items() if value is not None}
        path.write_text(jwt.encode(known, self.key if key is None else key, algorithm=algorithm), "ascii")
        return path

    def test_tokens(self) -> None:
        """--jwt must be a token that the issuer has signed, for somebody, for now, and for us."""
        server = self.serve(*OVER_TLS, "--jwt-key=issuer.pem", "--jwt-audience=pacs", "--jwt-issuer=https://clinic")
        good = {"aud": "pacs", "iss": "https://clinic"}
        forger = ec.generate_private_key(ec.SECP256R1())
        # Whoever knows the public key could make these, if a token's own word for its algorithm were taken.
        (self.directory / "secret").write_bytes(self.public)
        now = int(time.time())
        tokens = {
            self.token(forger, **good): "Signature verification failed",
            self.token("", "none", **good): "The specified alg value is not allowed",
            self.token(**good, exp=now - 60): "Signature has expired",
            self.token(**good, exp=None): 'Token is missing the "exp" claim',
            self.token(**good, sub=None): 'Token is missing the "sub" claim',
            self.token(**good, sub=""): "it is for nobody",
            self.token(**good, nbf=now + 3600): "The token is not yet valid (nbf)",
            self.token(**{**good, "aud": "other"}): "Audience doesn't match",
            self.token(**{**good, "iss": "https://other"}): "Invalid issuer",
        }
        self.assertEqual([NOT_THIS_USER] * len(tokens), [self.store(server, "--jwt", each) for each in tokens])
        self.assertEqual([NOT_THIS_USER], [self.store(server, "-usr", "alice", "-pwd", "secret")])
        token = self.token(**good)
        self.assertEqual([[], []], [self.store(server, "--jwt", token, *rsp) for rsp in ((), ("-rsp",))])
        self.assertNotIn(token.read_text("ascii")[:20], server.stderr + (self.directory / "audit").read_text("ascii"))
        causes = [f"its token is not accepted: {fault}" for fault in tokens.values()]
        self.assert_refused(server, [*causes, "the user 'alice' is not accepted"], "carol", "carol")

    def test_token_without_tls(self) -> None:
        """Whoever listens on an open line could use a token again: it is refused there."""
        server = self.serve(LOOPBACK, "--jwt-key=issuer.pem")
        printed = self.run_client("storescu", server, "-aet", "CT1", "--jwt", self.token())
        self.assertEqual(NOT_THIS_USER, printed)
        self.assert_refused(server, ["a token came without TLS (--insecure-identity)"], certificate=None)
