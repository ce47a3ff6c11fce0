# mypy: allow-untyped-calls
"""Identity: whom a portal takes a peer for, that each is asked about once, in time, and logged out at the end."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.cred.checkers import (
    ANONYMOUS,
    AllowAnonymousAccess,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import Anonymous, IAnonymous, IUsernamePassword
from twisted.cred.error import LoginDenied, UnauthorizedLogin, UnhandledCredentials
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer

from storescp.config import Config
from storescp.interfaces import Association, IUser
from storescp.server.access import Access
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import (
    IJSONWebToken,
    IUsername,
    JSONWebToken,
    Login,
    NotVerified,
    Passcode,
    Realm,
    User,
    Username,
    user_name,
)
from storescp.server.tokens import TokenChecker
from storescp.storage.locks import NameLocks
from storescp.ul.machine import PAbort
from storescp.ul.negotiation import Rejection
from storescp.ul.pdu import AAbort, AAssociateRJ
from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    DATA_SET,
    ECHO,
    RELEASE_RP,
    RELEASE_RQ,
    STORE,
    STORED,
    Peer,
    abort,
)
from tests.server.test_access import SecurePeer, ServerTestCase, grown, rejected, with_identity
from tests.ul import wire

NAME = wire("58 00 000B", "01 00", "0005", b"alice", "0000")
PASSCODE = wire("58 00 0012", "02 00", "0005", b"alice", "0007", b"opensea")
WRONG = wire("58 00 0012", "02 00", "0005", b"alice", "0007", b"OPENSEA")
TOKEN = wire("58 00 000B", "05 00", "0005", b"a.b.c", "0000")
SECRETS = ("opensea", "OPENSEA", "a.b.c")

UNKNOWN_TITLE = rejected("00 01 01 03")  # permanent, by the service user, calling AE title not recognized
REFUSED = rejected("00 01 02 01")  # A-ASSOCIATE-RJ: permanent, by ACSE, no reason given


def asking(item: bytes) -> bytes:
    """The User Identity of a peer that asks for a positive response."""
    return item[:5] + b"\1" + item[6:]


def answering(item: bytes) -> bytes:
    """The A-ASSOCIATE-AC with this sub-item at the end."""
    return grown(ASSOCIATE_AC, 188, item)


def line_of(function: Callable[..., Any], line: int) -> str:
    """Where it fails: so many lines below its first."""
    return f"test_identity.py:{function.__code__.co_firstlineno + line}"


def fail_at_once(*_: object) -> Any:
    raise ZeroDivisionError("opensea")


def failed(words: str) -> "Deferred[Any]":
    """A Deferred that failed here."""
    try:
        raise ZeroDivisionError(words)
    except ZeroDivisionError:
        return fail()


@implementer(ICredentialsChecker)
class RecordingChecker:
    """Writes down what it is asked about. A test sets what it answers: an avatar id, an error or a Deferred."""

    credentialInterfaces: Any = (IUsername, IUsernamePassword, IJSONWebToken, IAnonymous)

    def __init__(self, answer: Any = b"alice") -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@implementer(IRealm)
class RecordingRealm:
    """Takes in everybody, and writes down who comes and goes."""

    def __init__(self) -> None:
        self.avatar: Any = None  # instead of a plain User
        self.requests: list[tuple[Any, ...]] = []
        self.associations: list[Any] = []
        self.logouts: list[Any] = []
        self.logout_result: Any = None

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: type[Interface]) -> Any:
        self.requests.append((avatarId, *interfaces))
        self.associations.append(mind)
        return IUser, self.avatar or User(user_name(avatarId)), lambda: self._logout(avatarId)

    def _logout(self, avatar_id: Any) -> Any:
        self.logouts.append(avatar_id)
        if isinstance(self.logout_result, Exception):
            raise self.logout_result
        return self.logout_result


class IdentityTestCase(ServerTestCase):
    """A server with a portal, of a checker and a realm that write down what they are told."""

    def setUp(self) -> None:
        super().setUp()
        self.checker = RecordingChecker()
        self.realm = RecordingRealm()

    def guard(self, *lines: str, checkers: list[Any] | None = None, **options: Any) -> None:
        portal = Portal(self.realm, [self.checker] if checkers is None else checkers)
        self.serve(*lines, portal=portal, **options)

    def visit(self, item: bytes = b"", secure: bool = True, host: str = "10.1.0.1") -> tuple[bytes, str | None]:
        """What a peer with this User Identity is answered, and whom it is taken for."""
        peer = self.connect_over_tls(host) if secure else self.connect(host)
        answer = peer.write(with_identity(item))
        return answer, self.observer.associations[-1].user

    def check_refused(self, item: bytes, cause: str, **options: Any) -> None:
        """A peer with this User Identity is not let in, and observers are told why."""
        self.assertEqual((REFUSED, None), self.visit(item, **options))
        self.check_told(("association_rejected", AAssociateRJ(1, 2, 1), cause))
        for secret in SECRETS:
            self.assertNotIn(secret, repr(self.observer.events))
        self.assertEqual([], self.storage.requests)


class CredentialsTests(IdentityTestCase):
    """What the portal is asked about."""

    def test_types(self) -> None:
        """A name, a name and a passcode, a token, or nothing; who is known by it is let in, and that is his name."""
        self.guard()
        for item in (NAME, PASSCODE, TOKEN, b""):
            self.assertEqual((ASSOCIATE_AC, "alice"), self.visit(item))
        *asked, anonymous = self.checker.asked
        self.assertEqual([Username(b"alice"), Passcode(b"alice", b"opensea"), JSONWebToken(b"a.b.c")], asked)
        self.assertIs(Anonymous, type(anonymous))
        self.assertEqual([(b"alice", IUser)] * 4, self.realm.requests)

    def test_mind(self) -> None:
        """The mind is the association: the realm sees who it is, also by address and certificate."""
        self.guard()
        self.visit(PASSCODE)
        (association,) = self.realm.associations
        self.assertIs(self.observer.associations[0], association)
        self.assertEqual(("10.1.0.1:104", "MODALITY"), (association.peer, association.calling_ae_title))

    def test_other_types(self) -> None:
        """Of other types nobody is known: Kerberos, SAML, and what may still come; no checker is asked."""
        self.guard()
        for number in (0, 3, 4, 6, 255):
            item = NAME[:4] + bytes([number]) + NAME[5:]
            self.check_refused(item, f"a user identity of type {number} cannot be verified")
        self.assertEqual([], self.checker.asked)

    def test_bytes(self) -> None:
        """Fields may have any bytes, and may be empty: a checker gets them as they are."""
        self.guard()
        self.visit(wire("58 00 000B", "02 00", "0003", b"\xff\0:", "0002", b"\xfe\0"))
        self.visit(wire("58 00 0006", "02 00", "0000", "0000"))
        self.assertEqual([Passcode(b"\xff\0:", b"\xfe\0"), Passcode(b"", b"")], self.checker.asked)

    def test_open_line(self) -> None:
        """A secret that came without TLS is refused, whoever sent it: others may have it by now."""
        self.guard()
        self.check_refused(PASSCODE, "a passcode came without TLS (--insecure-identity)", secure=False)
        self.check_refused(TOKEN, "a token came without TLS (--insecure-identity)", secure=False)
        self.assertEqual([], self.checker.asked)

    def test_open_line_without_secrets(self) -> None:
        """A name alone, and no name, are none."""
        self.guard()
        self.assertEqual([(ASSOCIATE_AC, "alice")] * 2, [self.visit(item, secure=False) for item in (NAME, b"")])

    def test_insecure(self) -> None:
        """--insecure-identity takes it."""
        self.guard(insecure_identity=True)
        self.assertEqual([(ASSOCIATE_AC, "alice")] * 2, [self.visit(item, secure=False) for item in (PASSCODE, TOKEN)])

    def test_secret(self) -> None:
        """No secret is shown with what it belongs to."""
        shown = [repr(each) for each in (Username(b"alice"), Passcode(b"alice", b"opensea"), JSONWebToken(b"a.b.c"))]
        self.assertEqual(["Username(username=b'alice')", "Passcode(username=b'alice')", "JSONWebToken()"], shown)

    def test_passcode(self) -> None:
        """A passcode is compared in a time that does not tell how much of it is right."""
        passcode = Passcode(b"alice", b"opensea")
        compared = [passcode.checkPassword(other) for other in (b"opensea", b"OPENSEA", b"opense", b"")]
        self.assertEqual([True, False, False, False], compared)
        with mock.patch("hmac.compare_digest", return_value="compared") as compare_digest:
            self.assertEqual("compared", passcode.checkPassword(b"other"))
        self.assertEqual([mock.call(b"opensea", b"other")], compare_digest.mock_calls)


class VerifiedTests(IdentityTestCase):
    """Whom Twisted's own checkers know."""

    def setUp(self) -> None:
        super().setUp()
        self.passcodes = InMemoryUsernamePasswordDatabaseDontUse()
        self.passcodes.addUser(b"alice", b"opensea")

    def test_passcode(self) -> None:
        """Right or wrong; of a user that is not known no more is told."""
        self.guard(checkers=[self.passcodes])
        self.assertEqual((ASSOCIATE_AC, "alice"), self.visit(PASSCODE))
        self.check_refused(WRONG, "the user 'alice' is not accepted")
        bob = wire("58 00 0010", "02 00", "0003", b"bob", "0007", b"opensea")
        self.check_refused(bob, "the user 'bob' is not accepted")

    def test_not_asked_for(self) -> None:
        """What no checker verifies is refused: a name, a token, and who says nothing."""
        self.guard(checkers=[self.passcodes])
        self.check_refused(NAME, "the user 'alice' is not accepted")
        self.check_refused(TOKEN, "its token is not accepted")
        self.check_refused(b"", "there is no user identity")

    def test_anonymous(self) -> None:
        """Where anonymous access is allowed who says nothing is let in without a name; who says something is asked."""
        self.guard(checkers=[self.passcodes, AllowAnonymousAccess()])
        self.assertEqual((ASSOCIATE_AC, None), self.visit())
        self.assertEqual([(ANONYMOUS, IUser)], self.realm.requests)
        self.check_refused(WRONG, "the user 'alice' is not accepted")
        self.check_refused(NAME, "the user 'alice' is not accepted")

    def test_words(self) -> None:
        """Of a checker of ours the words are told, of another's they are not: they may hold a secret."""
        self.guard()
        for error, said in (
            (NotVerified("unknown"), ": unknown"),
            (UnauthorizedLogin("OPENSEA is not opensea"), ""),
            (LoginDenied("opensea"), ""),
            (UnhandledCredentials("a.b.c"), ""),
        ):
            for self.checker.answer in (error, fail(error)):
                self.check_refused(WRONG, f"the user 'alice' is not accepted{said}")
            self.checker.answer = error
            self.check_refused(TOKEN, f"its token is not accepted{said}")
            self.check_refused(b"", "there is no user identity")

    def test_unexpected(self) -> None:
        """A checker that fails otherwise lets nobody in: it is told where, and nothing of its words, to nobody."""
        self.guard()
        answers: list[tuple[Callable[[], Any], str]] = [
            (lambda: ZeroDivisionError("opensea"), line_of(RecordingChecker.requestAvatarId, 3)),
            (lambda: failed("opensea"), line_of(failed, 3)),
            (lambda: fail(ZeroDivisionError("opensea")), "?:0"),
        ]
        with capturedLogs() as logged:
            for answer, where in answers:
                for item in (PASSCODE, NAME, TOKEN, b""):
                    self.checker.answer = answer()
                    self.check_refused(item, f"its user could not be verified: ZeroDivisionError at {where}")
        for event in logged:
            self.assertNotIn("opensea", f"{event!r} {formatEvent(event)}")
        self.assertEqual([], self.flushLoggedErrors())

    def test_realm(self) -> None:
        """A realm that refuses, or fails, is as good as a checker that does."""
        self.guard()
        with mock.patch.object(self.realm, "requestAvatar", side_effect=UnauthorizedLogin()):
            self.check_refused(PASSCODE, "the user 'alice' is not accepted")
        with mock.patch.object(self.realm, "requestAvatar", fail_at_once):
            where = line_of(fail_at_once, 1)
            self.check_refused(PASSCODE, f"its user could not be verified: ZeroDivisionError at {where}")
        self.assertEqual([], self.flushLoggedErrors())

    def test_own_avatar(self) -> None:
        """An embedder's avatar is called what it likes; one without a name has none."""

        class Doctor:
            name = "Dr. \u00c4rztin"

        self.guard('MODALITY "user=Dr. \u00c4rztin"')
        self.realm.avatar = Doctor()
        self.assertEqual((ASSOCIATE_AC, "Dr. \u00c4rztin"), self.visit(PASSCODE))
        self.guard()
        self.realm.avatar = User("")
        self.assertEqual((ASSOCIATE_AC, None), self.visit(PASSCODE))

    def test_no_user(self) -> None:
        """An avatar that is no IUser is an embedder's mistake: logged, and nobody is let in; he is logged out."""
        self.guard()
        self.realm.avatar = object()
        peer = self.connect_over_tls()
        self.assertEqual(REFUSED, peer.write(with_identity(PASSCODE)))
        self.assertEqual(1, len(self.flushLoggedErrors(AttributeError)))
        self.check_told(("association_rejected", AAssociateRJ(1, 2, 1), "this server failed"))
        peer.disconnect()
        self.assertEqual([b"alice"], self.realm.logouts)
        self.realm.avatar = None
        self.assertEqual((ASSOCIATE_AC, "alice"), self.visit(PASSCODE))

    def test_token(self) -> None:
        """A token that is not for the curve of the key is refused as any other, with nothing logged."""
        path = self.mktemp()
        key = ec.generate_private_key(ec.SECP256R1())
        with open(path, "wb") as file:
            file.write(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.guard(checkers=[TokenChecker(path)])
        claims = {"sub": "alice", "exp": int(time.time()) + 60}
        others = jwt.encode(claims, ec.generate_private_key(ec.SECP521R1()), "ES512").encode()
        for token in (others, others[:-9], others.rpartition(b".")[0] + b".AAAA"):
            item = b"\x05\0" + len(token).to_bytes(2, "big") + token + b"\0\0"
            with capturedLogs() as logged:
                answer = self.visit(b"\x58\0" + len(item).to_bytes(2, "big") + item)
            self.assertEqual((REFUSED, None, []), (*answer, logged))
            cause = self.observer.events[-1][2]
            self.assertTrue(cause.startswith("its token is not accepted: "), cause)
        good = jwt.encode(claims, key, "ES256").encode()
        item = b"\x05\0" + len(good).to_bytes(2, "big") + good + b"\0\0"
        self.assertEqual((ASSOCIATE_AC, "alice"), self.visit(b"\x58\0" + len(item).to_bytes(2, "big") + item))

    def test_told_in_time(self) -> None:
        """Who it is, is known before observers hear that it is let in."""
        users: list[str | None] = []

        def accepted(association: Association, *_: Any) -> None:
            users.append(association.user)

        self.guard()
        with mock.patch.object(self.observer, "association_accepted", accepted):
            self.visit(PASSCODE)
            later: Deferred[bytes] = Deferred()
            self.checker.answer = later
            self.visit(PASSCODE)
            later.callback(b"bob")
        self.assertEqual(["alice", "bob"], users)

    def test_no_portal(self) -> None:
        """Options that ask for users are a mistake without a portal: everybody would be let in."""
        options: dict[str, Any] = {"users": "users", "auth": ["anonymous"], "jwt_key": "key.pem"}
        message = "users, auth and jwt_key ask for users: give a portal that knows them"
        for field, value in options.items():
            config = Config(**{field: value})
            self.assertEqual(message, str(self.assertRaises(ValueError, Access, config)))
            self.assertEqual(
                message,
                str(self.assertRaises(ValueError, StorageSCPFactory, config, self.storage, self.clock)),
            )
            portal = Portal(self.realm, [self.checker])
            self.assertIs(portal, Access(config, portal=portal).portal)

    def test_not_asked(self) -> None:
        """Without a portal nobody is asked, and whatever a peer says of itself is not believed."""
        self.serve()
        for item in (NAME, asking(NAME), PASSCODE, WRONG, TOKEN, NAME[:4] + b"\3" + NAME[5:]):
            self.assertEqual((ASSOCIATE_AC, None), self.visit(item, secure=False))


class ResponseTests(IdentityTestCase):
    """The positive response, PS3.7 Table D.3-15."""

    def test_asked_for(self) -> None:
        """Who asks for it gets one without content, whatever was verified."""
        self.guard()
        for item in (NAME, PASSCODE, TOKEN):
            self.assertEqual((answering(wire("59 00 0002 0000")), "alice"), self.visit(asking(item)))

    def test_not_asked_for(self) -> None:
        """Who does not ask gets none, nor who says nothing."""
        self.guard()
        for item in (NAME, PASSCODE, TOKEN, b""):
            self.assertEqual((ASSOCIATE_AC, "alice"), self.visit(item))

    def test_refused(self) -> None:
        """Who is refused is rejected, whether or not he asks."""
        self.guard()
        self.checker.answer = UnauthorizedLogin()
        self.check_refused(asking(PASSCODE), "the user 'alice' is not accepted")


class EntryTests(IdentityTestCase):
    """Entries that name users."""

    def test_wrong_user(self) -> None:
        """A user that no entry names is not let in, though he is known; he is logged out when he is gone."""
        self.guard("MODALITY user=bob,carol")
        peer = self.connect_over_tls()
        self.assertEqual(REFUSED, peer.write(with_identity(PASSCODE)))
        self.check_told(
            ("association_rejected", AAssociateRJ(1, 2, 1), "'MODALITY' is not allowed as the user 'alice'")
        )
        peer.disconnect()
        self.assertEqual([b"alice"], self.realm.logouts)
        self.checker.answer = b"carol"
        self.assertEqual((ASSOCIATE_AC, "carol"), self.visit(PASSCODE))

    def test_anonymous(self) -> None:
        """An anonymous one is none of them."""
        self.guard("MODALITY user=alice")
        self.checker.answer = ANONYMOUS
        self.check_refused(b"", "'MODALITY' is not allowed without a user identity")

    def test_whose(self) -> None:
        """An entry for any title does not hide whose association it was."""
        self.guard("* user=bob")
        self.visit(PASSCODE)
        self.check_told(
            ("association_rejected", AAssociateRJ(1, 2, 1), "'MODALITY' is not allowed as the user 'alice'")
        )

    def test_next(self) -> None:
        """Where another entry holds of him it is that one's limits that he gets."""
        self.guard("MODALITY user=bob", "MODALITY user=alice max-instance-size=22")
        peer = self.connect_over_tls()
        peer.write(with_identity(PASSCODE))
        self.assertNotEqual(STORED, peer.write(STORE))
        self.checker.answer = b"bob"
        peer = self.connect_over_tls()
        peer.write(with_identity(PASSCODE))
        self.assertEqual(STORED, peer.write(STORE))
        self.assertEqual([b"", DATA_SET], [sink.data for sink in self.storage.sinks])

    def test_reload(self) -> None:
        """Who is being verified is let in by the list that there is by then: his entry, or his name, may be gone."""
        network = "'MODALITY' is not allowed from this network"
        for line, answer, cause in (
            ("MODALITY user=bob", REFUSED, "'MODALITY' is not allowed as the user 'alice'"),
            ("MODALITY user=bob,alice", ASSOCIATE_AC, None),
            ("* user=alice", ASSOCIATE_AC, None),
            ("OTHER user=alice", UNKNOWN_TITLE, "the calling AE title 'MODALITY' is not allowed"),
            ("MODALITY network=10.2.0.0/16 user=alice", UNKNOWN_TITLE, network),
        ):
            self.guard("MODALITY user=alice")
            later: Deferred[bytes] = Deferred()
            self.checker.answer = later
            peer = self.connect_over_tls()
            self.assertEqual(b"", peer.write(with_identity(PASSCODE)))
            self.rewrite(line)
            self.list.reload()
            later.callback(b"alice")
            self.assertEqual(answer, peer.heard(), line)
            if cause is not None:
                self.assertEqual(("association_rejected", cause), self.observer.events[-1][::2], line)
            peer.disconnect()
            self.assertEqual([b"alice"], self.realm.logouts)
            self.realm.logouts.clear()

    def test_limits_of_a_reload(self) -> None:
        """So are the limits that he gets."""
        self.guard("MODALITY user=alice")
        later: Deferred[bytes] = Deferred()
        self.checker.answer = later
        peer = self.connect_over_tls()
        peer.write(with_identity(PASSCODE))
        self.rewrite("MODALITY user=alice max-instance-size=22")
        self.list.reload()
        later.callback(b"alice")
        self.assertEqual(ASSOCIATE_AC, peer.heard())
        self.assertNotEqual(STORED, peer.write(STORE))


PDUS = {1: "A-ASSOCIATE-RQ", 4: "P-DATA-TF", 5: "A-RELEASE-RQ"}


def _receive(data: bytes, peer: Peer) -> None:
    peer.protocol.dataReceived(data)


def _instead(answer: "Deferred[Any]", _failure: object) -> "Deferred[Any]":
    return answer


def fail_to_cancel(_later: object) -> None:
    raise ZeroDivisionError("opensea")


class WaitingTestCase(IdentityTestCase):
    """A checker that takes its time."""

    def setUp(self) -> None:
        super().setUp()
        self.cancelled: list[Any] = []
        self.later: Deferred[bytes] = Deferred(self.cancelled.append)
        self.checker.answer = self.later
        self.request = with_identity(PASSCODE)

    def wait(self, **options: Any) -> Peer:
        """A peer whose user the checker is asked about; of the association nothing is told yet."""
        self.guard(**options)
        peer = self.connect_over_tls()
        self.assertEqual(b"", peer.write(self.request))
        self.assertEqual([Passcode(b"alice", b"opensea")], self.checker.asked)
        self.assertEqual(["association_requested"], self.observer.names)
        self.observer.events.clear()
        return peer

    def check_over(self, peer: Peer) -> None:
        """Nobody was let in or is any more; nothing is sent, told, or left to come."""
        self.assertEqual(b"", peer.heard())
        events = list(self.observer.events)
        self.clock.advance(30)
        self.assertEqual((b"", events), (peer.heard(), self.observer.events))
        peer.disconnect()
        self.assertEqual((events, []), (self.observer.events, self.clock.getDelayedCalls()))
        self.assertEqual((None, []), (self.observer.associations[-1].user, self.storage.requests))
        self.check_free()

    def check_free(self, host: str = "10.1.0.1") -> None:
        """The place that it might have taken is free, also among the logins of its host."""
        self.checker.answer = b"bob"
        self.assertEqual((ASSOCIATE_AC, "bob"), self.visit(PASSCODE, host=host))


TIMED_OUT = ("association_rejected", AAssociateRJ(1, 2, 1), "its user was not verified within 10 s")


class WaitingTests(WaitingTestCase):
    """As long as it is under way."""

    def test_success(self) -> None:
        """When it succeeds, be it at the last moment, the peer is let in; the deadline is none any more."""
        peer = self.wait()
        self.clock.advance(9.99)
        self.assertEqual(b"", peer.heard())
        self.later.callback(b"alice")
        self.assertEqual(ASSOCIATE_AC, peer.heard())
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(30)
        self.assertEqual(STORED, peer.write(STORE))
        self.assertEqual(([], []), (self.cancelled, self.realm.logouts))

    def test_failure(self) -> None:
        """When it fails he is not."""
        peer = self.wait()
        self.later.errback(UnauthorizedLogin())
        self.assertEqual(REFUSED, peer.heard())
        self.check_told(("association_rejected", AAssociateRJ(1, 2, 1), "the user 'alice' is not accepted"))
        self.check_over(peer)
        self.assertEqual([], self.cancelled)

    def test_full(self) -> None:
        """The limits are those of the moment when he is known."""
        peer = self.wait(max_associations=1)
        self.checker.answer = b"bob"
        self.assertEqual((ASSOCIATE_AC, "bob"), self.visit(PASSCODE, host="10.1.0.2"))
        self.later.callback(b"alice")
        self.assertEqual(rejected("00 02 03 02"), peer.heard())
        self.check_counts(max_associations=1)

    def test_no_seat(self) -> None:
        """Who is not yet known keeps no place of others."""
        self.wait(max_associations=1)
        self.check_free(host="10.1.0.2")

    def test_silence(self) -> None:
        """A peer that waits for it need not say anything; -ta is over."""
        peer = self.wait(acse_timeout=5)
        self.clock.advance(9)
        self.later.callback(b"alice")
        self.assertEqual(ASSOCIATE_AC, peer.heard())

    def test_avatar_later(self) -> None:
        """A realm, too, may take its time, and is cancelled as a checker is."""
        self.guard()
        self.checker.answer = b"alice"
        with mock.patch.object(self.realm, "requestAvatar", return_value=self.later):
            peer = self.connect_over_tls()
            self.assertEqual(b"", peer.write(self.request))
        self.clock.advance(10)
        self.assertEqual((REFUSED, [self.later]), (peer.heard(), self.cancelled))


class LateTests(WaitingTestCase):
    """A checker that has not answered in time."""

    def time_out(self) -> Peer:
        """A peer that was refused for it."""
        peer = self.wait()
        self.clock.advance(9.99)
        self.assertEqual((b"", []), (peer.heard(), self.cancelled))
        self.clock.advance(0.01)
        self.assertEqual(REFUSED, peer.heard())
        self.check_told(TIMED_OUT)
        return peer

    def test_never(self) -> None:
        """After ten seconds the peer is refused and the checker is cancelled, once; that is no mistake to log."""
        peer = self.time_out()
        self.assertEqual([self.later], self.cancelled)
        self.check_over(peer)
        self.assertEqual([self.later], self.cancelled)

    def test_not_cancellable(self) -> None:
        """One that knows nothing of being cancelled may answer later: nobody hears it."""
        for answer in (b"alice", UnauthorizedLogin()):
            self.setUp()
            self.checker.answer = self.later = Deferred()
            peer = self.time_out()
            if isinstance(answer, bytes):
                self.later.callback(answer)
            else:
                self.later.errback(answer)
            self.check_over(peer)
            self.assertEqual([(b"bob", IUser)], self.realm.requests)

    def test_success_when_cancelled(self) -> None:
        """One that succeeds when it is cancelled has succeeded in vain: who was logged in is logged out."""
        self.checker.answer = self.later = Deferred(lambda later: later.callback(b"alice"))
        peer = self.time_out()
        self.assertEqual([b"alice"], self.realm.logouts)
        self.check_over(peer)
        self.assertEqual([b"alice"], self.realm.logouts)

    def test_success_after_all(self) -> None:
        """So has one that makes of its being cancelled something that succeeds later."""
        after_all: Deferred[bytes] = Deferred()
        self.later.addErrback(lambda _: after_all)
        peer = self.time_out()
        self.assertEqual([], self.realm.logouts)
        after_all.callback(b"alice")
        self.assertEqual(([(b"alice", IUser)], [b"alice"]), (self.realm.requests, self.realm.logouts))
        self.check_over(peer)
        self.assertEqual([b"alice"], self.realm.logouts)

    def test_failure_after_all(self) -> None:
        """One that fails in its own way when it is cancelled is not heard any more."""
        self.checker.answer = self.later = Deferred(lambda later: later.errback(ZeroDivisionError()))
        self.check_over(self.time_out())

    def test_bad_canceller(self) -> None:
        """One that fails to be cancelled is logged; the peer is refused all the same."""
        self.checker.answer = self.later = Deferred(fail_to_cancel)
        peer = self.time_out()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.check_over(peer)


class EndTests(WaitingTestCase):
    """The association ends while a checker is asked: it is cancelled at once, and nobody is let in."""

    def check_end(
        self, end: Callable[[Peer], object], heard: bytes, *told: tuple[Any, ...], late: bool = False, **options: Any
    ) -> None:
        """This is heard and told of that end."""
        self.setUp()
        if late:
            self.checker.answer = self.later = Deferred()
        peer = self.wait(**options)
        end(peer)
        self.assertEqual((heard, list(told)), (peer.heard(), self.observer.events))
        if late:
            self.later.callback(b"alice")
            self.assertEqual([], self.realm.requests)
        else:
            self.assertEqual([self.later], self.cancelled)
        self.check_over(peer)

    def test_aborted(self) -> None:
        """The peer aborts."""
        for late in (False, True):
            self.check_end(
                partial(_receive, ABORT),
                b"",
                ("association_aborted", AAbort(0, 0), "by the peer"),
                late=late,
            )

    def test_lost(self) -> None:
        """It is gone."""
        for late in (False, True):
            told = ("association_aborted", PAbort(0), "the connection was lost")
            self.check_end(Peer.disconnect, b"", told, late=late)

    def test_stopped(self) -> None:
        """The server stops: it does not wait for a checker."""
        for late in (False, True):
            self.setUp()
            if late:
                self.checker.answer = self.later = Deferred()
            peer = self.wait()
            stopped = self.scp.shutdown()
            self.assertEqual(abort(0, 0), peer.heard())
            self.assertEqual([("association_aborted", AAbort(0, 0), "this server stops")], self.observer.events)
            self.assertEqual([] if late else [self.later], self.cancelled)
            peer.disconnect()
            self.assertTrue(self.successResultOf(stopped))
            self.assertEqual([], self.clock.getDelayedCalls())
            if late:
                self.later.callback(b"alice")
            self.assertEqual((b"", [], []), (peer.heard(), self.realm.requests, self.storage.requests))

    def test_out_of_turn(self) -> None:
        """The peer sends what it must not send before it has an answer."""
        for data in (self.request, ECHO, RELEASE_RQ):
            told = ("association_aborted", PAbort(2), f"unexpected {PDUS[data[0]]} PDU")
            self.check_end(partial(_receive, data), abort(2, 2), told)

    def test_silence(self) -> None:
        """It says nothing for as long as -to."""
        self.check_end(
            lambda _: self.clock.advance(5),
            abort(0, 0),
            ("association_aborted", AAbort(0, 0), "nothing from the peer for 5 s (-to)"),
            timeout=5,
        )

    def test_evicted(self) -> None:
        """Another needs its place among the connections without an association."""
        peer = self.wait(max_unassociated=1)
        self.connect("10.9.0.1")
        self.assertEqual(([self.later], True), (self.cancelled, peer.transport.disconnected))
        self.check_told(
            (
                "association_aborted",
                AAbort(0, 0),
                ("max_unassociated", "more than 1 connections are without an association"),
            )
        )

    def test_evicted_count(self) -> None:
        """The limit was reached once."""
        self.wait(max_unassociated=1)
        self.connect("10.9.0.1")
        self.check_counts(max_unassociated=1)

    def test_bad_canceller(self) -> None:
        """A checker that fails to be cancelled keeps nothing from its end: not the events, and not the shutdown."""
        self.checker.answer = self.later = Deferred(fail_to_cancel)
        peer = self.wait()
        peer.disconnect()
        self.assertEqual(["association_aborted"], self.observer.names)
        self.assertTrue(self.successResultOf(self.scp.shutdown()))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


TOO_LATE = "its user was not verified within 10 s"


@implementer(ICredentialsChecker)
class PatientChecker:
    """Writes down what it is asked about, and answers when a test does it."""

    credentialInterfaces = (IUsername,)

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.later: dict[str, Deferred[bytes]] = {}  # may be given before
        self.at_once: set[str] = set()

    def requestAvatarId(self, credentials: Any) -> Any:
        name = user_name(credentials.username)
        self.asked.append(name)
        return credentials.username if name in self.at_once else self.later.setdefault(name, Deferred())


class QueueTests(SynchronousTestCase):
    """Logins of one host: one is under way, and the others wait for it. Their names begin with that of their host."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.locks = NameLocks()
        self.checker = PatientChecker()
        self.realm = RecordingRealm()
        self.told: list[tuple[str, str]] = []
        self.logins: dict[str, Login] = {}
        self.meanwhile: list[str] = []  # who come while the next one is told

    def begin(self, *names: str) -> None:
        portal = Portal(self.realm, [self.checker])
        for name in names:
            login = Login(portal, self.locks, self.clock, partial(self._verified, name), partial(self._refused, name))
            self.logins[name] = login
            association = Association(peer="10.1.2.3:104", calling_ae_title="A", called_ae_title="B")
            login.begin(name[0], Username(name.encode()), association)

    def _verified(self, name: str, user: str) -> None:
        self.assertEqual(name, user)
        self.told.append((name, ""))
        meanwhile, self.meanwhile = self.meanwhile, []
        self.begin(*meanwhile)

    def _refused(self, name: str, rejection: Rejection) -> None:
        self.told.append((name, rejection.cause))

    def answer(self, name: str) -> None:
        self.checker.later[name].callback(name.encode())

    def check(self, asked: str, *told: tuple[str, str]) -> None:
        """Asked about so far, in this order, and told since the last time."""
        self.assertEqual((asked.split(), list(told)), (self.checker.asked, self.told))
        self.told.clear()

    def check_forgotten(self) -> None:
        """All is over: no host is remembered, and nothing is to come."""
        self.assertEqual(({}, []), (self.locks._locks, self.clock.getDelayedCalls()))

    def test_in_order(self) -> None:
        """The next one is asked about when the one before is told, be it that he is refused."""
        self.begin("a1", "a2", "a3", "a4")
        self.check("a1")
        self.answer("a1")
        self.check("a1 a2", ("a1", ""))
        self.checker.later["a2"].errback(NotVerified("unknown"))
        self.check("a1 a2 a3", ("a2", "the user 'a2' is not accepted: unknown"))
        self.begin("a5")
        self.answer("a3")
        self.answer("a4")
        self.check("a1 a2 a3 a4 a5", ("a3", ""), ("a4", ""))
        self.answer("a5")
        self.check("a1 a2 a3 a4 a5", ("a5", ""))
        self.check_forgotten()

    def test_other_hosts(self) -> None:
        """Other hosts wait for none of them."""
        self.begin("a1", "a2", "b1", "c1", "b2")
        self.check("a1 b1 c1")
        self.answer("b1")
        self.check("a1 b1 c1 b2", ("b1", ""))
        for name in ("c1", "b2", "a1", "a2"):
            self.answer(name)
        self.check("a1 b1 c1 b2 a2", ("c1", ""), ("b2", ""), ("a1", ""), ("a2", ""))
        self.check_forgotten()

    def test_at_once(self) -> None:
        """Those who wait may be known at once: each is told, once, and nothing fails."""
        self.checker.at_once = {"a2", "a3"}
        self.begin("a1", "a2", "a3")
        self.answer("a1")
        self.assertEqual([("a1", ""), ("a2", ""), ("a3", "")], sorted(self.told))
        self.check_forgotten()

    def test_many_at_once(self) -> None:
        """However many wait."""
        names = [f"a{number}" for number in range(1000)]
        self.checker.at_once = set(names[1:])
        self.begin(*names)
        self.answer("a0")
        self.assertEqual(sorted((name, "") for name in names), sorted(self.told))
        self.check_forgotten()

    def test_another_meanwhile(self) -> None:
        """Who comes while they are told waits for his turn as well."""
        self.checker.at_once = {"a2"}
        self.begin("a1", "a2")
        self.meanwhile = ["a3", "a4"]
        self.answer("a1")
        self.assertEqual(["a1", "a2", "a3"], self.checker.asked)
        self.answer("a3")
        self.answer("a4")
        self.check_forgotten()

    def test_deadline(self) -> None:
        """The ten seconds are those since he came: who waits nine has one."""
        self.begin("a1", "b1")
        self.clock.advance(1)
        self.begin("a2")
        self.clock.advance(8.99)
        self.check("a1 b1")
        self.clock.advance(0.01)
        self.check("a1 b1 a2", ("a1", TOO_LATE), ("b1", TOO_LATE))
        self.clock.advance(0.99)
        self.check("a1 b1 a2")
        self.clock.advance(0.01)
        self.check("a1 b1 a2", ("a2", TOO_LATE))
        self.check_forgotten()

    def test_all_late(self) -> None:
        """They come at the same time, and are refused at the same time."""
        names = [f"a{number}" for number in range(9)]
        self.begin(*names)
        self.clock.advance(10)
        self.assertEqual([(name, TOO_LATE) for name in names], self.told)
        self.check_forgotten()

    def test_given_up(self) -> None:
        """Who gives up while he waits is never asked about, and nobody waits for him."""
        self.begin("a1", "a2", "a3", "a4")
        for name in ("a2", "a4"):
            self.logins[name].end()
        self.check("a1")
        self.answer("a1")
        self.answer("a3")
        self.check("a1 a3", ("a1", ""), ("a3", ""))
        self.clock.advance(30)
        self.check("a1 a3")
        self.check_forgotten()

    def test_all_given_up(self) -> None:
        """So it is if all do, in whatever order."""
        for order in ("a1 a2 a3", "a3 a2 a1", "a2 a1 a3", "a2 a3 a1"):
            self.setUp()
            self.begin("a1", "a2", "a3")
            for name in order.split():
                self.logins[name].end()
            self.assertEqual([], self.told)
            self.check_forgotten()

    def test_ended_twice(self) -> None:
        """A turn is given back once, however often he is ended."""
        self.begin("a1", "a2", "a3")
        for _ in range(3):
            self.logins["a1"].end()
        self.check("a1 a2")
        self.answer("a2")
        self.logins["a2"].end()
        self.check("a1 a2 a3", ("a2", ""))
        self.logins["a3"].end()
        self.check_forgotten()

    def end_first(self, late: bool) -> None:
        """Of a1, which is under way for a second: by itself, or by its deadline."""
        if late:
            self.clock.advance(9)
        else:
            self.logins["a1"].end()

    def test_never(self) -> None:
        """A checker that never answers, whatever is done to it, keeps nobody from his turn."""
        for late in (False, True):
            self.setUp()
            never: Deferred[Any] = Deferred()
            asked: Deferred[Any] = Deferred()
            self.checker.later["a1"] = asked
            asked.addErrback(partial(_instead, never))
            self.begin("a1")
            self.clock.advance(1)
            self.begin("a2")
            self.end_first(late)
            self.assertEqual(["a1", "a2"], self.checker.asked)
            self.answer("a2")
            self.assertEqual(("a2", ""), self.told[-1])
            self.check_forgotten()
            self.begin("a3")
            never.callback(b"a1")  # too late, and not his turn
            self.begin("a4")
            self.assertEqual(["a1", "a2", "a3"], self.checker.asked)
            self.answer("a3")
            self.answer("a4")
            self.check_forgotten()

    def test_bad_canceller(self) -> None:
        """Nor does one that fails to be cancelled."""
        for late in (False, True):
            self.setUp()
            self.checker.later["a1"] = Deferred(fail_to_cancel)
            self.begin("a1")
            self.clock.advance(1)
            self.begin("a2")
            self.end_first(late)
            self.assertEqual(["a1", "a2"], self.checker.asked)
            self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
            self.answer("a2")
            self.assertEqual(("a2", ""), self.told[-1])
            self.check_forgotten()

    def test_failing(self) -> None:
        """Nor one that fails."""
        self.begin("a1", "a2")
        self.checker.later["a1"].errback(ZeroDivisionError())
        self.check("a1 a2", ("a1", "its user could not be verified: ZeroDivisionError at ?:0"))
        self.answer("a2")
        self.check_forgotten()


class HostTests(WaitingTestCase):
    """Whose logins wait for each other."""

    def test_same_host(self) -> None:
        """Those of one host do, whatever they say; who is gone by then is never asked about."""
        self.wait()
        second, third = (self.connect_over_tls() for _ in range(2))
        self.checker.answer = b"bob"
        self.assertEqual((b"", b""), (second.write(self.request), third.write(with_identity(NAME))))
        self.assertEqual(1, len(self.checker.asked))
        second.disconnect()
        self.assertEqual((ASSOCIATE_AC, "bob"), self.visit(PASSCODE, host="10.1.0.2"))
        self.later.callback(b"alice")
        self.assertEqual(ASSOCIATE_AC, third.heard())
        passcode = Passcode(b"alice", b"opensea")
        self.assertEqual([passcode, passcode, Username(b"alice")], self.checker.asked)

    def test_served(self) -> None:
        """Who waited is served, and so is who was waited for."""
        first = self.wait()
        second = self.connect_over_tls()
        second.write(with_identity(NAME))
        self.checker.answer = b"bob"
        self.later.callback(b"alice")
        self.assertEqual([ASSOCIATE_AC] * 2, [peer.heard() for peer in (first, second)])
        self.assertEqual([STORED] * 2, [peer.write(STORE) for peer in (first, second)])
        self.assertEqual([], self.flushLoggedErrors())

    def test_mapped(self) -> None:
        """By IPv4 on a socket for IPv6 a host is the same one."""
        self.wait()
        peer = SecurePeer(self.scp, IPv6Address("TCP", "::ffff:10.1.0.1", 204), None)
        self.addCleanup(peer.disconnect)
        peer.write(self.request)
        self.assertEqual(1, len(self.checker.asked))
        self.checker.answer = b"bob"
        self.later.callback(b"alice")
        self.assertEqual((ASSOCIATE_AC, 2), (peer.heard(), len(self.checker.asked)))

    def test_stopped(self) -> None:
        """When the server stops, those who wait are aborted as well, and nobody is let in."""
        peers = [self.wait(), *(self.connect_over_tls() for _ in range(2))]
        for peer in peers[1:]:
            peer.write(self.request)
        with mock.patch.object(self.checker, "requestAvatarId", lambda _: Deferred()):
            stopped = self.scp.shutdown()
        self.assertEqual([abort(0, 0)] * 3, [peer.heard() for peer in peers])
        for peer in peers:
            peer.disconnect()
        self.assertTrue(self.successResultOf(stopped))
        self.assertEqual(([], []), (self.realm.requests, self.clock.getDelayedCalls()))


class LogoutTests(IdentityTestCase):
    """Who was let in is logged out, once, when his association is at its end."""

    def setUp(self) -> None:
        super().setUp()
        self.guard()

    def accepted(self) -> Peer:
        peer = self.connect_over_tls()
        self.assertEqual(ASSOCIATE_AC, peer.write(with_identity(PASSCODE)))
        self.assertEqual(STORED, peer.write(STORE))
        self.assertEqual([], self.realm.logouts)
        return peer

    def check_out(self, peer: Peer) -> None:
        peer.disconnect()
        self.assertEqual([b"alice"], self.realm.logouts)
        self.clock.advance(60)
        self.assertEqual([b"alice"], self.realm.logouts)
        self.realm.logouts.clear()

    def test_released(self) -> None:
        """By a release, whoever closes then."""
        peer = self.accepted()
        self.assertEqual(RELEASE_RP, peer.write(RELEASE_RQ))
        self.check_out(peer)

    def test_aborted(self) -> None:
        """By an abort."""
        peer = self.accepted()
        self.assertEqual(b"", peer.write(ABORT))
        self.check_out(peer)

    def test_lost(self) -> None:
        """By the loss of the connection."""
        self.check_out(self.accepted())

    def test_stopped(self) -> None:
        """By our end."""
        peer = self.accepted()
        stopped = self.scp.shutdown()
        self.check_out(peer)
        self.assertTrue(self.successResultOf(stopped))

    def test_each(self) -> None:
        """Each association by itself."""
        peers = [self.accepted() for _ in range(2)]
        for peer in peers:
            self.check_out(peer)

    def test_failing(self) -> None:
        """A realm that fails at it, at once or later, is logged; the association ends as any."""
        for self.realm.logout_result in (ZeroDivisionError(), fail(ZeroDivisionError())):
            self.observer.events.clear()
            peer = self.accepted()
            peer.write(RELEASE_RQ)
            self.check_out(peer)
            self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
            self.assertEqual(["association_released", "association_ended"], self.observer.names[-2:])
        stopped = self.scp.shutdown()
        self.assertTrue(self.successResultOf(stopped))

    def test_not_waited_for(self) -> None:
        """One that takes its time at it is not waited for."""
        self.realm.logout_result = Deferred()
        peer = self.accepted()
        self.check_out(peer)
        self.assertEqual("association_ended", self.observer.names[-1])


class RealmTests(SynchronousTestCase):
    """The realm of the programs."""

    def test_names(self) -> None:
        """A user is called as his checker calls him, in text; what is no text is still something that can be shown."""
        names: list[tuple[Any, str]] = [
            (b"alice", "alice"),
            ("alice", "alice"),
            ("Dr. \u00c4".encode(), "Dr. \u00c4"),
            (b"\xff", "\ufffd"),
            (7, "7"),
            (ANONYMOUS, ""),
        ]
        for avatar_id, name in names:
            interface, user, logout = Realm().requestAvatar(avatar_id, None, IUser)
            self.assertEqual((IUser, name), (interface, user.name))
            self.assertTrue(IUser.providedBy(user))
            logout()

    def test_other_avatars(self) -> None:
        """It has no other avatars."""
        self.assertRaises(NotImplementedError, Realm().requestAvatar, b"alice", None, IRealm)
