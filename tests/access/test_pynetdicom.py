"""With pynetdicom: every answer to the byte, of every kind of user identity."""

import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydicom import dcmread
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from storescp.server.users import users_line
from tests.access import (
    NO_CERTIFICATE,
    NO_TLS,
    OVER_TLS,
    STRANGER,
    TLS_1_2,
    TLS_1_3,
    AccessTestCase,
    Event,
    association,
    certificate,
    client_context,
    refusal,
    refusal_line,
    rejection,
    rejection_line,
)
from tests.access.hanging_checker import VERIFYING
from tests.interop import CT_SMALL, CT_SMALL_UID, data_set_bytes
from tests.senders import ASSOCIATE_RQ, item
from tests.servers import LOOPBACK, Server, ServerTestCase, without_addresses

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"

# What comes of a request: the result, source and reason of A-ASSOCIATE-RJ; an empty answer is none at all.
Answer = tuple[int, ...]

ACCEPTED: Answer = (0,)
CALLING_TITLE: Answer = (1, 1, 3)
USER: Answer = (1, 2, 1)
LIMIT: Answer = (2, 3, 2)


def identity(kind: int, primary: bytes, secondary: bytes = b"", *, confirmed: bool = True) -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type = kind
    item.primary_field = primary
    item.secondary_field = secondary
    item.positive_response_requested = confirmed
    return item


ALICE = identity(2, b"alice", b"secret")
WRONG = identity(2, b"alice", b"Secret")
BOB = identity(1, b"bob")
KERBEROS = identity(3, b"a ticket")
SAML = identity(4, b"<Assertion/>")


class PynetdicomTestCase(AccessTestCase):
    def setUp(self) -> None:
        super().setUp()
        (self.directory / "users").write_text(f"{users_line('alice', 'secret')}\nbob:no-passcode\n", "ascii")
        self.key = Ed25519PrivateKey.generate()
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.directory / "issuer.pem").write_bytes(public)
        self.who: Event = {"certificate": certificate(self.client)}

    def token(self, key: Ed25519PrivateKey) -> UserIdentityNegotiation:
        return identity(5, jwt.encode({"sub": "carol", "exp": int(time.time()) + 60}, key, "EdDSA").encode())

    def associate(
        self,
        server: Server,
        user: UserIdentityNegotiation | None = None,
        *,
        title: str = "TESTSCU",
        context: ssl.SSLContext | None = None,
    ) -> Association:
        ae = AE(ae_title=title)
        ae.requested_contexts = [build_context(VERIFICATION), build_context(CT, EXPLICIT_LE)]
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 15
        self.received: list[Any] = []  # PDUs; `acceptor.primitive` is not set where a rejection comes too fast
        return ae.associate(
            "127.0.0.1",
            server.port,
            ae_title="STORESCP",
            ext_neg=[] if user is None else [user],
            tls_args=None if context is None else (context, "localhost"),
            evt_handlers=[(evt.EVT_PDU_RECV, lambda event: self.received.append(event.pdu))],
        )

    def answer(self, server: Server, *user: UserIdentityNegotiation, **options: Any) -> Answer:
        """What comes of a request, and of an echo after it; and that a user is confirmed where that was asked for."""
        peer = self.associate(server, *user, **options)
        if peer.is_established:
            self.assertEqual(0x0000, peer.send_c_echo().Status)
            confirmation = peer.acceptor.user_identity
            self.assertEqual(
                [b""] if user and user[0].positive_response_requested else [],
                [] if confirmation is None else [confirmation.server_response],
            )
            peer.release()
        return answer_of(self.received[0]) if self.received else ()

    def answer_over_tls(self, server: Server, *user: UserIdentityNegotiation, **options: Any) -> Answer:
        return self.answer(server, *user, context=client_context(self.client), **options)


def answer_of(pdu: Any) -> Answer:
    if isinstance(pdu, A_ASSOCIATE_RJ):
        return pdu.result or 0, pdu.source or 0, pdu.reason_diagnostic or 0
    return ACCEPTED if isinstance(pdu, A_ASSOCIATE_AC) else (-1,)


class CertificateTests(PynetdicomTestCase):
    def test_store(self) -> None:
        """An image is stored by a client with a certificate, in either version of TLS."""
        server = self.serve(*OVER_TLS)
        for version in (TLS_1_2, TLS_1_3):
            peer = self.associate(server, context=client_context(self.client, version))
            self.assertEqual(0x0000, peer.send_c_store(dcmread(CT_SMALL)).Status)
            peer.release()
        size = len(data_set_bytes(self.storage / f"CT.{CT_SMALL_UID}"))
        sent = association(**self.who, instances=1, bytes=size)
        self.assert_told(server, [], sent, sent, stored=[f"CT.{CT_SMALL_UID}"])

    def test_refused(self) -> None:
        """Without the right certificate there is no association, and no answer that would say why."""
        server = self.serve(*OVER_TLS)
        stranger = self.issue("other.pem", trustme.CA())
        contexts = [client_context(path, version) for path in (None, stranger) for version in (TLS_1_2, TLS_1_3)]
        self.assertEqual([()] * 5, [self.answer(server, context=each) for each in (*contexts, None)])
        self.assertEqual(ACCEPTED, self.answer_over_tls(server))
        causes = [NO_CERTIFICATE, NO_CERTIFICATE, STRANGER, STRANGER, NO_TLS]
        self.assert_told(server, [*map(refusal_line, causes)], *map(refusal, causes), association(**self.who))


class UserTests(PynetdicomTestCase):
    NOBODY = "there is no user identity"
    NOT_ALICE = "the user 'alice' is not accepted: unknown, or the passcode is wrong"
    KINDS = ("a user identity of type 3 cannot be verified", "a user identity of type 4 cannot be verified")

    def assert_refused(self, server: Server, causes: list[str], *users: str | None, **who: Any) -> None:
        """That were the causes of rejections, and then these users were accepted."""
        who = {**self.who, **who}
        self.assert_told(
            server,
            [rejection_line(cause) for cause in causes],
            *(rejection((1, 2, 1), cause, **who) for cause in causes),
            *(association(**who, user=user) for user in users),
        )

    def test_accepted(self) -> None:
        """Types 1, 2 and 5 are verified, and confirmed to who asks for it and to nobody else."""
        server = self.serve(*OVER_TLS, "--users=users", "--jwt-key=issuer.pem")
        users = [BOB, ALICE, self.token(self.key)]
        self.assertEqual([ACCEPTED] * 3, [self.answer_over_tls(server, each) for each in users])
        for each in users:
            each.positive_response_requested = False
            self.addCleanup(setattr, each, "positive_response_requested", True)
        self.assertEqual([ACCEPTED] * 3, [self.answer_over_tls(server, each) for each in users])
        self.assert_refused(server, [], *("bob", "alice", "carol") * 2)

    def test_rejected(self) -> None:
        """All others are rejected in one way, and so are types that cannot be verified and who sends none."""
        server = self.serve(*OVER_TLS, "--users=users", "--jwt-key=issuer.pem")
        users = [
            identity(1, b"alice"),
            identity(1, b"mallory"),
            WRONG,
            KERBEROS,
            SAML,
            self.token(Ed25519PrivateKey.generate()),
        ]
        answers = [self.answer_over_tls(server), *(self.answer_over_tls(server, each) for each in users)]
        self.assertEqual([USER] * 7, answers)
        self.assertEqual(ACCEPTED, self.answer_over_tls(server, ALICE))
        causes = [
            self.NOBODY,
            "the user 'alice' is not accepted: unknown, or not without a passcode",
            "the user 'mallory' is not accepted: unknown, or not without a passcode",
            self.NOT_ALICE,
            *self.KINDS,
            "its token is not accepted: Signature verification failed",
        ]
        self.assert_refused(server, causes, "alice")

    def test_without_tls(self) -> None:
        """A passcode and a token without TLS are refused; a name is not a secret."""
        server = self.serve(LOOPBACK, "--users=users", "--jwt-key=issuer.pem")
        users = (ALICE, self.token(self.key), BOB)
        self.assertEqual([USER, USER, ACCEPTED], [self.answer(server, each) for each in users])
        causes = [f"{what} came without TLS (--insecure-identity)" for what in ("a passcode", "a token")]
        self.assert_refused(server, causes, "bob", certificate=None)

    def test_insecure_identity(self) -> None:
        """With --insecure-identity they are verified as they are over TLS."""
        server = self.serve(LOOPBACK, "--users=users", "--jwt-key=issuer.pem", "--insecure-identity")
        users = (WRONG, ALICE, self.token(self.key))
        self.assertEqual([USER, ACCEPTED, ACCEPTED], [self.answer(server, each) for each in users])
        self.assert_refused(server, [self.NOT_ALICE], "alice", "carol", certificate=None)

    def test_nobody_asks(self) -> None:
        """Where no option asks for users they are neither verified, confirmed, nor in the audit."""
        server = self.serve(*OVER_TLS)
        users = (identity(2, b"alice", b"wrong", confirmed=False), identity(3, b"a ticket", confirmed=False))
        self.assertEqual([ACCEPTED] * 2, [self.answer_over_tls(server, each) for each in users])
        self.assert_refused(server, [], None, None)

    def assert_plugin_is_asked(self, plugin: str) -> None:
        server = self.serve(*OVER_TLS, f"--auth={plugin}")
        users = (WRONG, identity(2, b"carol", b"secret"), BOB, KERBEROS)
        answers = [self.answer_over_tls(server), *(self.answer_over_tls(server, each) for each in users)]
        self.assertEqual([USER] * 5, answers)
        self.assertEqual(ACCEPTED, self.answer_over_tls(server, ALICE))
        refused = [f"the user '{name}' is not accepted" for name in ("alice", "carol", "bob")]
        self.assert_refused(server, [self.NOBODY, *refused, self.KINDS[0]], "alice")

    def test_file(self) -> None:
        """A checker of twisted.cred is asked, too; what it has against a user is not told."""
        (self.directory / "passwords").write_text("alice:secret\n", "ascii")
        self.assert_plugin_is_asked("file:passwords")

    def test_memory(self) -> None:
        """So is the one of which Twisted says that nobody should use it."""
        self.assert_plugin_is_asked("memory:alice:secret")

    def test_anonymous(self) -> None:
        """--auth=anonymous lets in who sends no identity; who sends one must still be right."""
        server = self.serve(*OVER_TLS, "--auth=anonymous", "--users=users")
        self.assertEqual([USER, USER], [self.answer_over_tls(server, each) for each in (WRONG, KERBEROS)])
        self.assertEqual([ACCEPTED, ACCEPTED], [self.answer_over_tls(server), self.answer_over_tls(server, ALICE)])
        self.assert_refused(server, [self.NOT_ALICE, self.KINDS[0]], None, "alice")

    def test_user_of_an_entry(self) -> None:
        """An entry may name users: others, who are known as well, are rejected under its title."""
        (self.directory / "allow").write_text("TESTSCU user=alice\nBOB user=bob,alice\n", "ascii")
        server = self.serve(*OVER_TLS, "--users=users", "--allow-file=allow")
        cases = (("TESTSCU", BOB), ("OTHER", ALICE), ("TESTSCU", ALICE), ("BOB", BOB))
        answers = [self.answer_over_tls(server, user, title=title) for title, user in cases]
        self.assertEqual([USER, CALLING_TITLE, ACCEPTED, ACCEPTED], answers)
        not_bob, not_other = "'TESTSCU' is not allowed as the user 'bob'", "the calling AE title 'OTHER' is not allowed"
        self.assert_told(
            server,
            [rejection_line(not_bob), rejection_line(not_other, "OTHER")],
            rejection((1, 2, 1), not_bob, **self.who, user="bob"),
            rejection((1, 1, 3), not_other, **self.who, calling_ae_title="OTHER"),
            association(**self.who, user="alice"),
            association(**self.who, user="bob", calling_ae_title="BOB"),
        )


class LimitTests(PynetdicomTestCase):
    """What an entry gives to its peers."""

    def test_associations(self) -> None:
        """Beyond max-associations of an entry there is no association for now, from wherever; others are served."""
        lines = ("TESTSCU max-associations=1", "*")
        (self.directory / "allow").write_text("\n".join(lines), "ascii")
        server = self.serve(*OVER_TLS, "--allow-file=allow")
        first = self.associate(server, context=client_context(self.client))
        self.assertEqual([LIMIT, LIMIT], [self.answer_over_tls(server) for _ in range(2)])
        self.assertEqual(ACCEPTED, self.answer_over_tls(server, title="OTHER"))
        first.release()
        self.assertEqual(ACCEPTED, self.answer_over_tls(server))
        cause = "1 associations of its entry are open"
        self.assert_told(
            server,
            [rejection_line(f"{cause} (--allow-file)")],  # once a minute
            *[rejection((2, 3, 2), cause, **self.who)] * 2,
            association(**self.who, calling_ae_title="OTHER"),
            *[association(**self.who)] * 2,
        )

    def test_instances(self) -> None:
        """An instance of more than max-instance-size bytes is refused, and the association goes on."""
        (self.directory / "allow").write_text("TESTSCU max-instance-size=20000\n* network=127.0.0.0/8\n", "ascii")
        server = self.serve(*OVER_TLS, "--allow-file=allow")
        statuses = []
        for title in ("TESTSCU", "OTHER"):
            peer = self.associate(server, title=title, context=client_context(self.client))
            statuses += [peer.send_c_store(dcmread(CT_SMALL)).Status, peer.send_c_echo().Status]
            peer.release()
        self.assertEqual([0xA700, 0x0000, 0x0000, 0x0000], statuses)
        size = len(data_set_bytes(self.storage / f"CT.{CT_SMALL_UID}"))
        cause = "it has more than 20000 bytes (--allow-file); answered 0xA700 (Out of Resources)"
        self.assert_told(
            server,
            [f"E: Storing {CT_SMALL_UID} from TESTSCU at PEER failed: {cause}"],
            association(**self.who, failed=1),
            association(**self.who, calling_ae_title="OTHER", instances=1, bytes=size),
            stored=[f"CT.{CT_SMALL_UID}"],
        )


def request_of(user: bytes) -> bytes:
    """The request of `tests.senders` with a user identity of type 1."""
    maximum_length = item(0x51, bytes.fromhex("00004000"))
    name = item(0x58, b"\x01\x00" + struct.pack(">H", len(user)) + user + b"\0\0")
    body = ASSOCIATE_RQ[6:].removesuffix(item(0x50, maximum_length)) + item(0x50, maximum_length + name)
    return struct.pack(">BxI", 0x01, len(body)) + body


class HangingTests(PynetdicomTestCase):
    """A checker that does not answer."""

    NOT_IN_TIME = f"its user was not verified within {VERIFYING:g} s"

    def hang(self) -> Server:
        program = str(Path(__file__).with_name("hanging_checker.py"))
        return ServerTestCase.serve(self, command=(sys.executable, program))

    def test_rejected(self) -> None:
        """A user that is not known in time is rejected, also if it is known later or at the last moment."""
        server = self.hang()
        names = (b"never", b"late", b"at-last")
        for name in names:
            began = time.monotonic()
            self.assertEqual(USER, self.answer(server, identity(1, name)))
            self.assertGreaterEqual(time.monotonic() - began, VERIFYING)
            self.assertLess(time.monotonic() - began, VERIFYING + 5)
        self.assertEqual(ACCEPTED, self.answer(server, identity(1, b"at-once")))
        refused, served = [rejection((1, 2, 1), self.NOT_IN_TIME)] * len(names), association(user="at-once")
        self.assert_audited(*refused, served)
        ended = server.stop()
        lines = without_addresses(ended.stderr).splitlines()
        self.assertEqual((0, [rejection_line(self.NOT_IN_TIME)] * len(names)), (ended.code, lines))

    def test_given_up(self) -> None:
        """Who does not wait for it is one event; and who does, does not keep the server from ending."""
        server = self.hang()
        peers = [self.peer(server) for _ in range(2)]
        for peer in peers:
            peer.send(request_of(b"never"))
        peers[0].abort()
        self.assert_audited(rejection(None, "by the peer"))
        self.assertEqual(0, server.stop().code)
        self.assert_audited(rejection(None, "by the peer"), rejection(None, "this server stops"))
