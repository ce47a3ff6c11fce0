# mypy: allow-untyped-calls
"""TokenChecker: which JSON Web Tokens are believed, and that no others are."""

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.exceptions import InvalidSubjectError
from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import CannotStart
from storescp.server.identity import IJSONWebToken, JSONWebToken, NotVerified
from storescp.server.tokens import TokenChecker

RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()))
ED25519 = ed25519.Ed25519PrivateKey.generate()
SIGNED: list[tuple[Any, list[str]]] = [  # keys, and what is signed with them
    (RSA, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
    (P256, ["ES256"]),
    (P384, ["ES384"]),
    (P521, ["ES512"]),
    (ED25519, ["EdDSA"]),
]


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signed_part(header: Any, payload: Any) -> bytes:
    """What of a token is signed. Bytes stand for themselves."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload))
    return b".".join(map(base64url, parts))


def by_hand(header: Any, payload: Any) -> bytes:
    """A token with a signature that is right, whatever it says."""
    signed = signed_part(header, payload)
    return signed + b"." + base64url(ED25519.sign(signed))


def token(key: Any = ED25519, algorithm: str = "EdDSA", **claims: Any) -> bytes:
    """One for alice that expires in a minute, unless the claims say otherwise; None leaves one out."""
    payload = {name: each for name, each in (default_claims() | claims).items() if each is not None}
    return jwt.encode(payload, key, algorithm).encode()


def default_claims() -> dict[str, Any]:
    return {"sub": "alice", "exp": now() + 60}


def now() -> int:
    return int(time.time())


class TokenTestCase(SynchronousTestCase):
    def write(self, content: bytes) -> str:
        """The path of a new file."""
        self.path = self.mktemp()
        self.rewrite(content)
        return self.path

    def rewrite(self, content: bytes) -> None:
        with open(self.path, "wb") as file:
            file.write(content)

    def checker(self, key: Any = ED25519, **options: Any) -> TokenChecker:
        return TokenChecker(self.write(public_pem(key)), **options)

    def user(self, checker: TokenChecker, sent: bytes) -> Any:
        return checker.requestAvatarId(JSONWebToken(sent))

    def check_refused(self, checker: TokenChecker, sent: bytes, *expected: type[Exception]) -> None:
        """The token is not believed for one of these reasons, which is told in one line and without the token."""
        error = self.assertRaises(NotVerified, checker.requestAvatarId, JSONWebToken(sent))
        self.assertIn(type(error.__context__), expected, sent)
        words = str(error)
        self.assertTrue(words)
        self.assertTrue(words.isprintable(), words)
        for part in sent.split(b"."):
            if len(part) > 8:
                self.assertNotIn(str(part, "latin-1"), words)


class GoodTests(TokenTestCase):
    def test_signed(self) -> None:
        """What the key has signed, with each algorithm that is for its kind, is believed: it is for its subject."""
        for key, algorithms in SIGNED:
            checker = self.checker(key)
            for algorithm in algorithms:
                self.assertEqual("alice", self.user(checker, token(key, algorithm)), algorithm)

    def test_name(self) -> None:
        """A subject may have any text."""
        self.assertEqual("Dr. \u00c4 <b>", self.user(self.checker(), token(sub="Dr. \u00c4 <b>")))

    def test_clock(self) -> None:
        """Clocks may differ by half a minute, either way."""
        checker = self.checker()
        for sent in (token(exp=now() - 20), token(nbf=now() + 20), token(iat=now() + 20)):
            self.assertEqual("alice", self.user(checker, sent))

    def test_audience(self) -> None:
        """A token that must be for an audience may be for several."""
        checker = self.checker(audience="storescp")
        for audience in ("storescp", ["other", "storescp"]):
            self.assertEqual("alice", self.user(checker, token(aud=audience)))

    def test_issuer(self) -> None:
        """Where it must be from an issuer one from there is believed; where it need not any is."""
        self.assertEqual("alice", self.user(self.checker(issuer="https://idp/"), token(iss="https://idp/")))
        self.assertEqual("alice", self.user(self.checker(), token(iss="https://idp/")))

    def test_interface(self) -> None:
        """A portal asks about tokens, and nothing else."""
        self.assertEqual((IJSONWebToken,), self.checker().credentialInterfaces)


class BadTests(TokenTestCase):
    def test_expired(self) -> None:
        """One that has expired, or is not yet valid, is not believed."""
        checker = self.checker()
        self.check_refused(checker, token(exp=now() - 40), jwt.ExpiredSignatureError)
        self.check_refused(checker, token(exp=0), jwt.ExpiredSignatureError)
        self.check_refused(checker, token(nbf=now() + 50), jwt.ImmatureSignatureError)

    def test_never_expires(self) -> None:
        """Nor one that never expires: nobody could take it back."""
        self.check_refused(self.checker(), token(exp=None), jwt.MissingRequiredClaimError)
        self.check_refused(
            self.checker(), by_hand({"alg": "EdDSA"}, {"sub": "alice", "exp": None}), jwt.MissingRequiredClaimError
        )

    def test_nobody(self) -> None:
        """Nor one for nobody, or for what is no name."""
        checker = self.checker()
        self.check_refused(checker, token(sub=None), jwt.MissingRequiredClaimError)
        error = self.assertRaises(NotVerified, self.user, checker, token(sub=""))
        self.assertEqual("it is for nobody", str(error))
        for subject in (7, ["alice"], {"alice": 1}, True):
            sent = by_hand({"alg": "EdDSA"}, default_claims() | {"sub": subject})
            self.check_refused(checker, sent, InvalidSubjectError)

    def test_audience(self) -> None:
        """Nor one for another audience, or for none where there must be one."""
        checker = self.checker(audience="storescp")
        for audience in ("other", "STORESCP", "storescp2", ["other"], ["storescp", 7]):
            self.check_refused(checker, token(aud=audience), jwt.InvalidAudienceError)
        nothing: list[Any] = [None, "", []]
        for none in nothing:
            self.check_refused(checker, token(aud=none), jwt.MissingRequiredClaimError)

    def test_audience_of_another(self) -> None:
        """Nor, where we have no name, one that is for somebody: that is not us."""
        self.check_refused(self.checker(), token(aud="storescp"), jwt.InvalidAudienceError)

    def test_issuer(self) -> None:
        """Nor one from another issuer, or from none where there must be one."""
        checker = self.checker(issuer="https://idp/")
        self.check_refused(checker, token(), jwt.MissingRequiredClaimError)
        for issuer in ("https://idp", "https://idp/2", "idp", "", "https://other/"):
            self.check_refused(checker, token(iss=issuer), jwt.InvalidIssuerError)

    def test_forged(self) -> None:
        """Nor one that another key has signed, or that was changed."""
        others = [
            rsa.generate_private_key(65537, 2048),
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP384R1()),
            ec.generate_private_key(ec.SECP521R1()),
            ed25519.Ed25519PrivateKey.generate(),
        ]
        for (key, algorithms), other in zip(SIGNED, others, strict=True):
            for algorithm in algorithms:
                self.check_refused(self.checker(key), token(other, algorithm), jwt.InvalidSignatureError)
        head, _, signature = token().split(b".")
        bob = base64url(json.dumps(default_claims() | {"sub": "bob"}).encode())
        for changed in (b".".join((head, bob, signature)), b".".join((head, bob, b""))):
            self.check_refused(self.checker(), changed, jwt.InvalidSignatureError)

    def test_not_signed(self) -> None:
        """Nor one that says that it need not be signed."""
        for key, _ in SIGNED:
            for algorithm in ("none", "None", "NONE", "", None):
                for signature in (b"", base64url(b"x" * 64)):
                    sent = signed_part({"alg": algorithm, "typ": "JWT"}, default_claims()) + b"." + signature
                    self.check_refused(self.checker(key), sent, jwt.InvalidAlgorithmError)
        sent = signed_part({"typ": "JWT"}, default_claims()) + b"."
        self.check_refused(self.checker(), sent, jwt.InvalidAlgorithmError)

    def test_shared_secret(self) -> None:
        """Nor one that was signed with our public key as if it were a secret: everybody may have that."""
        digests = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
        for key, _ in SIGNED:
            for secret in (public_pem(key), public_pem(key).strip()):
                for algorithm, digest in digests.items():
                    signed = signed_part({"alg": algorithm, "typ": "JWT"}, default_claims())
                    sent = signed + b"." + base64url(hmac.digest(secret, signed, digest))
                    self.check_refused(self.checker(key), sent, jwt.InvalidAlgorithmError)

    def test_another_curve(self) -> None:
        """Nor one that was signed with, or says that it was, what is for another curve: not a mistake to be logged."""
        curves = {"ES256": P256, "ES384": P384, "ES512": P521}
        for name, key in curves.items():
            for other_name, other in curves.items():
                if other is not key:
                    signed = signed_part({"alg": other_name, "typ": "JWT"}, default_claims())
                    garbage = [signed + b"." + base64url(bytes([7]) * length) for length in (0, 1, 64, 96, 132)]
                    for sent in (token(other, other_name), *garbage):
                        self.check_refused(self.checker(key), sent, jwt.InvalidKeyError, jwt.InvalidSignatureError)
            self.assertEqual("alice", self.user(self.checker(key), token(key, name)))

    def test_another_kind(self) -> None:
        """Nor one that was signed with what is for keys of another kind."""
        for key, algorithms in SIGNED:
            for other, others in SIGNED:
                if type(other) is not type(key):
                    for algorithm in others:
                        self.check_refused(self.checker(key), token(other, algorithm), jwt.InvalidAlgorithmError)
            self.assertTrue(algorithms)

    def test_own_key(self) -> None:
        """Nor one that brings the key that it is signed with."""
        other = ed25519.Ed25519PrivateKey.generate()
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": str(base64url(other.public_key().public_bytes_raw()), "ascii")}
        signed = signed_part({"alg": "EdDSA", "jwk": jwk}, default_claims())
        self.check_refused(self.checker(), signed + b"." + base64url(other.sign(signed)), jwt.InvalidSignatureError)

    def test_garbage(self) -> None:
        """Nor anything else: nothing that a peer may send is unexpected."""
        checker = self.checker()
        good = token()
        head = by_hand({"alg": "EdDSA"}, default_claims()).split(b".")[0]
        garbage = [b"", b".", b"..", b"...", b"a.b.c", b"\xff\xfe", b"\0" * 65535, b"\xff.\xff.\xff", b"{}", b"alice"]
        garbage += [good[:length] for length in range(0, len(good), 7)]
        garbage += [good + b".", good + b"." + good, b"." + good, head + b".." + b"a" * 86]
        deep = [b"[" * 40000, b'{"a":' * 9000]
        headers = [b"5", b"[]", b"null", b"\xff", b'{"alg":[]}', b'{"alg":{}}', b'{"alg":5}', *deep]
        garbage += [signed_part(header, b"{}") + b"." + b"a" * 86 for header in headers]
        for sent in garbage:
            self.check_refused(checker, sent, jwt.DecodeError, jwt.InvalidAlgorithmError, jwt.InvalidSignatureError)

    def test_signed_garbage(self) -> None:
        """Nor something that is no set of claims, whoever has signed it."""
        checker = self.checker()
        for payload in (b"", b"5", b"[]", b"null", b"\xff", b"[" * 40000):
            self.check_refused(checker, by_hand({"alg": "EdDSA"}, payload), jwt.DecodeError)
        no_times: list[Any] = ["soon", [], {}, float("inf"), float("nan")]
        for expiry in no_times:
            sent = by_hand({"alg": "EdDSA"}, default_claims() | {"exp": expiry})
            self.check_refused(checker, sent, jwt.DecodeError)


class KeyTests(TokenTestCase):
    """The file of the key."""

    def fault(self, content: bytes) -> str:
        """Why a server of this file cannot start, where FILE stands for its path."""
        error = self.assertRaises(CannotStart, TokenChecker, self.write(content))
        return str(error).replace(self.path, "FILE")

    def test_faults(self) -> None:
        """It must be a public key: with a private one whoever reads it could make tokens."""
        pem = public_pem(ED25519)
        no_key = [b"", b"key", pem[:-40], pem.replace(b"PUBLIC", b"PRIVATE"), *(private_pem(key) for key, _ in SIGNED)]
        no_key.append(ED25519.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        for content in no_key:
            self.assertEqual("FILE: this is no public key in PEM format", self.fault(content), content)

    def test_other_kinds(self) -> None:
        """It must be one of those that tokens are signed with."""
        for key in (ed448.Ed448PrivateKey.generate(), x25519.X25519PrivateKey.generate()):
            self.assertEqual(
                "FILE: the key is not one of RSA, an elliptic curve or Ed25519", self.fault(public_pem(key))
            )

    def test_no_file(self) -> None:
        """It must be there."""
        for path, expected in (("/nowhere/key.pem", "No such file or directory"), (os.curdir, "Is a directory")):
            error = self.assertRaises(CannotStart, TokenChecker, path)
            self.assertEqual(f"{path}: {expected}", str(error))

    def test_reload(self) -> None:
        """What was read again counts, also where it is a key of another kind."""
        checker = self.checker(ED25519)
        for key, algorithm in ((RSA, "RS256"), (P256, "ES256"), (ED25519, "EdDSA")):
            self.rewrite(public_pem(key))
            self.assertRaises(NotVerified, self.user, checker, token(key, algorithm))
            checker.reload()
            self.assertEqual("alice", self.user(checker, token(key, algorithm)))
            self.rewrite(b"")
            self.assertRaises(CannotStart, checker.reload)

    def test_bad_reload(self) -> None:
        """What cannot be used leaves all as it was."""
        checker = self.checker(ED25519)
        for content in (b"", private_pem(RSA), public_pem(ed448.Ed448PrivateKey.generate())):
            self.rewrite(content)
            self.assertRaises(CannotStart, checker.reload)
            self.assertEqual("alice", self.user(checker, token()))
        os.remove(self.path)
        self.assertRaises(CannotStart, checker.reload)
        self.assertEqual("alice", self.user(checker, token()))
