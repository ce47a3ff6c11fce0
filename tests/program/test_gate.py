# mypy: allow-untyped-calls
"""What the options make of the gate: checkers of users, TLS, and whether there is any."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import trustme
from twisted.cred import strcred
from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import ISSHPrivateKey
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.program.endpoints import is_local
from storescp.program.gate import checkers_for, is_guarded, tls_for
from storescp.server.tokens import TokenChecker
from storescp.server.users import UsersFile
from tests.program import make_directory

# RFC 8410 10.1
PUBLIC_KEY = """\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


def trusted_identity(case: SynchronousTestCase) -> Path:
    """The file of a certificate without its key."""
    path = Path(make_directory(case)) / "cert.pem"
    path.write_bytes(trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes())
    return path


def not_installed(library: str, used_by: str) -> AbstractContextManager[Any]:
    """No `library` within, and the module that imports it not yet imported."""
    without = {name: module for name, module in sys.modules.items() if name != used_by}
    return mock.patch.dict(sys.modules, {**without, library: None}, clear=True)


class GateTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(make_directory(self))
        self.users, self.key = str(directory / "users"), str(directory / "key.pem")
        Path(self.users).write_text("anna:no-passcode\n", encoding="ascii")
        Path(self.key).write_text(PUBLIC_KEY, encoding="ascii")

    def checkers(self, **options: Any) -> list[Any]:
        return checkers_for(Config(**options), MemoryReactorClock())


class CheckersTests(GateTestCase):
    def test_none(self) -> None:
        """Without an option for users there is no checker."""
        self.assertEqual([], self.checkers(allow=["CT1"], tls_cert="cert.pem"))

    def test_each(self) -> None:
        """Each option adds one, in this order, and they go together where they verify different things."""
        expected = {
            "users": (self.users, UsersFile),
            "jwt_key": (self.key, TokenChecker),
            "auth": (["anonymous"], AllowAnonymousAccess),
        }
        for field, (value, kind) in expected.items():
            self.assertEqual([kind], [type(each) for each in self.checkers(**{field: value})], field)
        every = self.checkers(**{field: value for field, (value, _) in expected.items()})
        self.assertEqual([UsersFile, TokenChecker, AllowAnonymousAccess], [type(each) for each in every])

    def test_plugins(self) -> None:
        """There may be several plugins; one that verifies more than a user identity can be is one checker still."""
        checkers = self.checkers(auth=["memory:anna:secret", "anonymous"])
        self.assertEqual(
            [InMemoryUsernamePasswordDatabaseDontUse, AllowAnonymousAccess], [type(each) for each in checkers]
        )

    def refused(self, **options: Any) -> str:
        """What is wrong with these options by the error, which names --auth."""
        error = self.assertRaises(ConfigError, self.checkers, **options)
        self.assertEqual("auth", error.field)
        return str(error)

    def test_same_credentials(self) -> None:
        """Two that verify the same are refused: which of them is to be asked is not said."""
        message = "auth: two of --users, --jwt-key and --auth verify the same kind of user identity"
        self.assertEqual(message, self.refused(users=self.users, auth=["memory:anna:secret"]))
        self.assertEqual(message, self.refused(auth=["memory:anna:secret", "memory:bert:secret"]))
        self.assertEqual(message, self.refused(auth=["anonymous", "anonymous"]))

    def test_unknown_plugin(self) -> None:
        """A plugin that is not there is refused by what was typed, and where to look for others."""
        self.assertEqual(
            "auth: carrier-pigeon:1: there is no such plugin (twistd ftp --help-auth)",
            self.refused(auth=["carrier-pigeon:1"]),
        )
        self.assertEqual("auth: : there is no such plugin (twistd ftp --help-auth)", self.refused(auth=[""]))

    def test_bad_arguments(self) -> None:
        """What a plugin has against its arguments is told with them."""
        self.assertEqual("auth: file: 'file' requires a filename", self.refused(auth=["file"]))
        self.assertEqual("auth: memory:anna: argstring must be in format U:P:...", self.refused(auth=["memory:anna"]))

    def test_useless_plugin(self) -> None:
        """A plugin that verifies what no user identity has is refused, and so is none that fails to be made."""
        factory = mock.Mock(authType="keys")
        factory.generateChecker.return_value.credentialInterfaces = (ISSHPrivateKey,)
        with mock.patch.object(strcred, "findCheckerFactories", return_value=[factory]):
            self.assertEqual(
                "auth: keys:x: it verifies nothing that a user identity can have", self.refused(auth=["keys:x"])
            )
            factory.generateChecker.side_effect = PermissionError(13, "Permission denied")
            error = self.assertRaises(CannotStart, self.checkers, auth=["keys:x"])
            self.assertEqual("keys:x: [Errno 13] Permission denied", str(error))

    def test_not_installed(self) -> None:
        """An option whose library is not there says how to get it; another option does without it."""
        for library, used_by, field, value in (
            ("argon2", "storescp.server.users", "users", self.users),
            ("jwt", "storescp.server.tokens", "jwt_key", self.key),
        ):
            with not_installed(library, used_by):
                error = self.assertRaises(CannotStart, self.checkers, **{field: value})
                self.assertEqual(
                    f"import of {library} halted; None in sys.modules; pip install 'storescp[users]'", str(error)
                )
                self.assertEqual(1, len(self.checkers(auth=["anonymous"])))

    def test_files(self) -> None:
        """What is wrong with a file is told by its name."""
        for field in ("users", "jwt_key"):
            error = self.assertRaises(CannotStart, self.checkers, **{field: "/missing/file"})
            self.assertEqual("/missing/file: No such file or directory", str(error))


class TLSTests(GateTestCase):
    def test_none(self) -> None:
        """Without a certificate there is no TLS, nor are its libraries asked for."""
        with not_installed("OpenSSL", "storescp.server.tls"):
            self.assertIsNone(tls_for(Config()))

    def test_not_installed(self) -> None:
        """Where they are not there, a certificate says how to get them."""
        with not_installed("OpenSSL", "storescp.server.tls"):
            error = self.assertRaises(CannotStart, tls_for, Config(tls_cert="cert.pem"))
        self.assertEqual("import of OpenSSL halted; None in sys.modules; pip install 'storescp[tls]'", str(error))

    def test_files(self) -> None:
        """What is wrong with a file is told by its name; without one of its own the key is where the certificate is."""
        certificate = str(trusted_identity(self))
        private_key = "there is no private key (--tls-key) in PEM format without a passphrase"
        for config, message in (
            (Config(tls_cert="/missing/file"), "/missing/file: No such file or directory"),
            (Config(tls_cert=self.key), f"{self.key}: there is no certificate in PEM format"),
            (Config(tls_cert=certificate), f"{certificate}: {private_key}"),
            (Config(tls_cert=certificate, tls_key="/missing/key"), "/missing/key: No such file or directory"),
            (Config(tls_cert=certificate, tls_ca="/missing/ca"), "/missing/ca: No such file or directory"),
        ):
            self.assertEqual(message, str(self.assertRaises(CannotStart, tls_for, config)))


class GuardedTests(SynchronousTestCase):
    def test_each(self) -> None:
        """Each option that asks something of who comes, whoever uses it, is a gate, with TLS and without."""
        options: dict[str, Any] = {
            "require_called_aet": True,
            "allow": ["CT1"],
            "allow_file": "allow",
        }
        for field, value in options.items():
            for encrypted in (False, True):
                self.assertTrue(is_guarded(Config(**{field: value}), encrypted), field)

    def test_certificates(self) -> None:
        """Authorities are one where TLS asks for a certificate from them; TLS alone is none."""
        config = Config(tls_cert="cert.pem", tls_ca="ca.pem")
        self.assertEqual((True, False), (is_guarded(config, True), is_guarded(config, False)))
        config = Config(tls_cert="cert.pem")
        self.assertEqual((False, False), (is_guarded(config, True), is_guarded(config, False)))

    def test_others(self) -> None:
        """None is not, nor is any option beside them."""
        others: dict[str, Any] = {
            "ae_title": "X",
            "insecure_identity": True,
            "audit_log": "audit",
            "max_associations": 1,
        }
        for config in (Config(), Config(**others)):
            for encrypted in (False, True):
                self.assertFalse(is_guarded(config, encrypted))

    def test_local(self) -> None:
        """Only what this machine alone can reach is local: its own addresses, and sockets of the file system."""
        local = [IPv4Address("TCP", "127.0.0.1", 1), IPv4Address("TCP", "127.9.9.9", 1), IPv6Address("TCP", "::1", 1)]
        elsewhere = [
            *(IPv4Address("TCP", host, 1) for host in ("0.0.0.0", "10.1.2.3", "128.0.0.1")),
            *(IPv6Address("TCP", host, 1) for host in ("::", "2001:db8::1", "fe80::1%eth0")),
            IPv4Address("TCP", "localhost", 1),  # a name says nothing
        ]
        self.assertEqual([True] * 4, [is_local(each) for each in [*local, UNIXAddress("socket")]])
        self.assertEqual([False] * 7, [is_local(each) for each in elsewhere])
