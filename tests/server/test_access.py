# mypy: allow-untyped-calls
"""Access: who is let in by title, network, certificate and user, in which order that is decided, and what he gets."""

import datetime
import ipaddress
import os
from collections import Counter
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import crypto
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.internet.testing import StringTransport
from zope.interface import classImplements

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.interfaces import Certificate
from storescp.server.access import Access, entry_for
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import Realm
from storescp.ul.negotiation import Rejection
from storescp.ul.pdu import AAssociateRJ
from tests.files import LinesTestCase
from tests.server import (
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    DATA_SET,
    ECHO,
    ECHOED,
    LAST_COMMAND,
    LAST_DATA,
    NAME,
    STORE,
    STORE_COMMAND,
    STORED,
    Peer,
    p_data,
    pdv,
    store_rsp,
)
from tests.server.test_limits import LOCAL_LIMIT, TOO_LARGE, LimitTestCase, plain
from tests.ul import wire

SHA256 = "00112233445566778899aabbccddeeff" * 2
WITH_COLONS = ":".join(["00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"] * 2)
CERTIFICATE = Certificate(
    subject="CN=ct1",
    sha256=SHA256,
    names=("dns:ct1.example.org", "ip:10.1.2.3", "ip:2001:db8::1", "uri:urn:ct:1", "email:CT@example.org"),
)
PORTAL = Portal(Realm())  # it knows nobody


class FileTestCase(LinesTestCase):
    """Lists of who is allowed, in files."""

    def access(self, *lines: str | bytes, **options: Any) -> Access:
        return Access(Config(allow_file=self.write(*lines)), portal=PORTAL, **options)

    def fault(self, *lines: str | bytes, **options: Any) -> str:
        """Why a server of this file cannot start, where FILE stands for its path."""
        error = self.assertRaises(CannotStart, self.access, *lines, **options)
        return str(error).replace(self.path, "FILE")


def held_by(
    access: Access, title: str = "CT1", host: str = "10.1.2.3", certificate: Certificate | None = None
) -> list[int] | str:
    """The numbers of the lines that hold of a peer, or why none does."""
    try:
        entries = access.list.entries_of(title, host, certificate)
    except Rejection as rejection:
        assert rejection.answer == AAssociateRJ(1, 1, 3)
        return rejection.cause
    return [int(entry.origin.rpartition(" ")[2]) for entry in entries]


class TitleTests(FileTestCase):
    def test_exact(self) -> None:
        """A title is the whole of it, and its case counts."""
        access = self.access("CT1")
        self.assertEqual([1], held_by(access, "CT1"))
        for title in ("ct1", "Ct1", "CT", "CT10", "CT 1", "", "*"):
            self.assertEqual(f"the calling AE title {title!r} is not allowed", held_by(access, title))

    def test_any(self) -> None:
        """A star alone is any title, also an empty one; within a title it is a star."""
        access = self.access("*", "CT*", "C?1")
        for title in ("CT1", "ct1", "", "*"):
            self.assertEqual([1], held_by(access, title))
        self.assertEqual([1, 2], held_by(access, "CT*"))
        self.assertEqual("the calling AE title 'CT1' is not allowed", held_by(self.access("CT*", "C?1")))

    def test_spaces(self) -> None:
        """Spaces around a title are no part of it, those within are; a title with one stands in quotes."""
        access = self.access('"  CT1 "', '"CT 2"', " \tCT3\t ")
        self.assertEqual([[1], [2], [3]], [held_by(access, title) for title in ("CT1", "CT 2", "CT3")])
        for title in ("CT2", "CT", "2", " CT1"):
            self.assertEqual(f"the calling AE title {title!r} is not allowed", held_by(access, title))

    def test_longest(self) -> None:
        """A title may have 16 characters, of all that are printable."""
        access = self.access("0123456789abcdef", '"!#$%&()*+,-./:;"')
        self.assertEqual([[1], [2]], [held_by(access, title) for title in ("0123456789abcdef", "!#$%&()*+,-./:;")])

    def test_number_sign(self) -> None:
        """A number sign within a word is a part of it: what follows must not be lost."""
        access = self.access("CT#1 network=10.1.2.0/24")
        self.assertEqual([1], held_by(access, "CT#1"))
        self.assertEqual("the calling AE title 'CT' is not allowed", held_by(access, "CT", "11.1.2.3"))


NETWORKS: list[tuple[str, list[str], list[str]]] = [  # one, who is in it, and who is not
    (
        "10.1.2.0/24",
        ["10.1.2.0", "10.1.2.3", "10.1.2.255", "::ffff:10.1.2.3", "::FFFF:a01:203"],
        ["10.1.1.255", "10.1.3.0", "11.1.2.3", "::a01:203", "::ffff:10.1.3.0", "::1", "ct1", ""],
    ),
    ("10.1.2.3", ["10.1.2.3", "::ffff:10.1.2.3"], ["10.1.2.2", "10.1.2.4"]),
    ("10.1.2.3/32", ["10.1.2.3"], ["10.1.2.2", "10.1.2.4"]),
    ("10.1.2.0/255.255.255.0", ["10.1.2.255"], ["10.1.3.0"]),
    (
        "2001:db8::/32",
        ["2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["2001:db9::", "2001:db7:ffff::", "10.1.2.3"],
    ),
    ("fe80::/10", ["fe80::1%eth0", "fe80::1%2", "fe80::1", "febf::1%eth0"], ["fec0::1%eth0", "::1"]),
    ("fe80::1", ["fe80::1%eth0", "fe80::1%eth1"], ["fe80::2%eth0"]),
    ("10.0.0.0/8,2001:db8::1", ["10.255.255.255", "2001:db8::1"], ["11.0.0.0", "2001:db8::2", "9.255.255.255"]),
    ("10.0.0.0/8,10.1.2.0/24,9.0.0.0/8", ["10.1.1.0", "10.1.3.0", "9.0.0.0"], ["8.255.255.255", "11.0.0.0"]),
    ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::", "::1", ""]),
    ("::/0", ["::", "ffff::"], ["10.1.2.3", "::ffff:10.1.2.3", ""]),
]


class NetworkTests(FileTestCase):
    def test_in(self) -> None:
        """Whoever is in the network is let in by his entry, and served at all."""
        for network, hosts, _ in NETWORKS:
            access = self.access(f"CT1 network={network}")
            for host in hosts:
                self.assertEqual(([1], ""), (held_by(access, "CT1", host), access.refusal(host)), (network, host))

    def test_not_in(self) -> None:
        """Whoever is not is refused as soon as he connects, as long as no other entry has a place for his address."""
        for network, _, hosts in NETWORKS:
            access = self.access(f"CT1 network={network}")
            for host in hosts:
                self.assertEqual("'CT1' is not allowed from this network", held_by(access, "CT1", host))
                self.assertEqual(
                    "this network is not allowed (--allow, --allow-file)", access.refusal(host), (network, host)
                )

    def test_served(self) -> None:
        """Served is who is in the network of any entry, whatever is its title; title and network must be of one."""
        access = self.access("CT1 network=10.1.0.0/16", "* network=10.3.0.0/16 user=a", "CT2 network=10.2.0.0/16")
        served = [access.refusal(host) == "" for host in ("10.1.2.3", "10.2.0.0", "10.3.255.255", "10.4.0.0", "")]
        self.assertEqual([True, True, True, False, False], served)
        self.assertEqual("'CT1' is not allowed from this network", held_by(access, "CT1", "10.2.0.0"))

    def test_one_for_all(self) -> None:
        """As soon as an entry has no network everybody is served: its title or its user may decide."""
        access = self.access("CT1 network=10.1.2.0/24", "CT2 user=alice")
        for host in ("10.1.2.3", "11.1.2.3", "::1", "ct1", ""):
            self.assertEqual("", access.refusal(host))

    def test_nothing_asked(self) -> None:
        """Without a list everybody is let in, from everywhere and by any title."""
        access = Access(Config())
        for host in ("10.1.2.3", "::1", "ct1", ""):
            self.assertEqual("", access.refusal(host))
            self.assertEqual(["*"], [entry.ae_title for entry in access.list.entries_of("CT1", host, None)])

    def test_many(self) -> None:
        """Among many networks, of whatever size, an address is found where it is one of them, and only there."""
        networks = [f"10.{number}.{number}.{number % 4 * 64}/26" for number in range(0, 256, 2)]
        networks += [f"2001:db8:{number:x}::/{48 + number}" for number in range(0, 64, 3)]
        access = self.access(*(f"CT1 network={network}" for network in reversed(networks)))
        for network in map(ipaddress.ip_network, networks):
            first, last = network[0], network[-1]
            self.assertEqual(["", ""], [access.refusal(str(host)) for host in (first, last)])
            for host in (first - 1, last + 1):
                self.assertNotEqual("", access.refusal(str(host)))


CERTIFICATES: dict[str, bool] = {  # a condition, and whether it holds of CERTIFICATE
    f"sha256:{SHA256}": True,
    f"sha256:{SHA256.upper()}": True,
    f"sha256:{WITH_COLONS}": True,
    f"sha256:{WITH_COLONS.lower()}": True,
    f"sha256:{SHA256[:-1]}e": False,
    "dns:ct1.example.org": True,
    "dns:CT1.Example.ORG": True,
    "dns:ct2.example.org": False,
    "dns:example.org": False,
    "dns:*.example.org": False,
    "dns:10.1.2.3": False,
    "ip:10.1.2.3": True,
    "ip:10.1.2.4": False,
    "ip:2001:db8::1": True,
    "ip:2001:DB8:0:0::0:1": True,
    "uri:urn:ct:1": True,
    "uri:URN:ct:1": False,
    "uri:urn:ct": False,
    "email:CT@example.org": True,
    "email:ct@example.org": False,
    "email:example.org": False,
    "dns:ct2.example.org,uri:urn:ct:1": True,
    "dns:ct2.example.org,uri:urn:ct:2": False,
}


class CertificateTests(FileTestCase):
    def test_conditions(self) -> None:
        """A certificate is known by its fingerprint and by each kind of its names; one of several is enough."""
        for condition, holds in CERTIFICATES.items():
            expected = [1] if holds else "'CT1' is not allowed with the certificate of CN=ct1"
            access = self.access(f"CT1 certificate={condition}")
            self.assertEqual(expected, held_by(access, certificate=CERTIFICATE), condition)

    def test_none(self) -> None:
        """Who shows none is not let in where one is asked for, and is where none is."""
        access = self.access("CT1 certificate=dns:ct1.example.org", "CT2")
        self.assertEqual("'CT1' is not allowed without a certificate", held_by(access))
        self.assertEqual([[2], [2]], [held_by(access, "CT2", certificate=each) for each in (None, CERTIFICATE)])

    def test_name_of_another(self) -> None:
        """A subject that looks like a name is none."""
        impostor = Certificate(subject="dns:ct1.example.org", sha256=SHA256[:-1] + "e")
        access = self.access(f"CT1 certificate=dns:ct1.example.org,sha256:{SHA256}")
        self.assertEqual(
            "'CT1' is not allowed with the certificate of dns:ct1.example.org", held_by(access, certificate=impostor)
        )

    def test_network_before(self) -> None:
        """Where neither network nor certificate is right it is the network that is told."""
        access = self.access("CT1 network=10.1.2.0/24 certificate=dns:ct1.example.org")
        self.assertEqual("'CT1' is not allowed from this network", held_by(access, host="11.1.2.3"))


class FirstTests(FileTestCase):
    """Which entry it is where several hold of a peer."""

    def check(self, access: Access, expected: dict[str | None, int]) -> None:
        """Of each user it is this line."""
        entries = access.list.entries_of("CT1", "10.1.2.3", None)
        found = {user: entry_for(entries, "CT1", user).origin for user in expected}
        self.assertEqual({user: f"{self.path}, line {number}" for user, number in expected.items()}, found)

    def test_first(self) -> None:
        """It is the first that stands there, not the one that says the most."""
        access = self.access("CT2", "CT1 network=10.1.0.0/16", "*", "CT1 network=10.1.2.3", "CT1")
        self.assertEqual([2, 3, 4, 5], held_by(access))
        self.check(access, {None: 2, "alice": 2})

    def test_user(self) -> None:
        """Of which users an entry holds counts as the rest does."""
        access = self.access("CT1 user=alice", "* user=bob,Dr.\u00c4", "CT1 user=alice,carol", "CT1")
        self.check(access, {"alice": 1, "bob": 2, "Dr.\u00c4": 2, "carol": 3, "Alice": 4, "": 4, None: 4})

    def test_no_user(self) -> None:
        """Where none of them holds of the user, or who has none, that is the reason."""
        access = self.access("CT1 user=alice", "CT1 user=carol")
        entries = access.list.entries_of("CT1", "10.1.2.3", None)
        for user, shown in (("bob", "as the user 'bob'"), (None, "without a user identity")):
            rejection = self.assertRaises(Rejection, entry_for, entries, "CT1", user)
            self.assertEqual(
                (AAssociateRJ(1, 2, 1), f"'CT1' is not allowed {shown}"), (rejection.answer, rejection.cause)
            )


VALUE_MISSING = "a value is missing: condition=value, or several with commas and no spaces between them"
HEX = "a fingerprint has 64 hexadecimal digits: "
CONDITIONS = "network=…, certificate=…, user=…, max-associations=…, max-instance-size=…"
NAMES = "is none of sha256:…, dns:…, ip:…, uri:…, email:…"
FAULTS: dict[str | bytes, str] = {  # of a line, and what is wrong with it
    "CT1 networks=10.0.0.0/8": f"'networks=10.0.0.0/8' is none of {CONDITIONS}",
    "CT1 Network=10.0.0.0/8": f"'Network=10.0.0.0/8' is none of {CONDITIONS}",
    "CT1 10.0.0.0/8": f"'10.0.0.0/8' is none of {CONDITIONS}",
    "CT1 = ": f"'=' is none of {CONDITIONS}",
    "CT1 network = 10.0.0.0/8": VALUE_MISSING,
    "CT1 network=": VALUE_MISSING,
    "CT1 network": VALUE_MISSING,
    "CT1 network=10.0.0.0/8,": VALUE_MISSING,
    "CT1 network=ct1": "'ct1' does not appear to be an IPv4 or IPv6 network",
    "CT1 network=10.0.0.0/33": "'10.0.0.0/33' does not appear to be an IPv4 or IPv6 network",
    "CT1 network=10.0.0.256": "'10.0.0.256' does not appear to be an IPv4 or IPv6 network",
    "CT1 network=10.0.0.1/8": "10.0.0.1/8 is neither the network 10.0.0.0/8 nor an address",
    "CT1 network=2001:db8::1/32": "2001:db8::1/32 is neither the network 2001:db8::/32 nor an address",
    "CT1 network=10.0.0.0/8 network=11.0.0.0/8": "network= stands twice; values are separated by commas",
    "CT1 user=a user=a": "user= stands twice; values are separated by commas",
    "CT1 user=": VALUE_MISSING,
    "CT1 user=a,,b": VALUE_MISSING,
    "CT1 certificate=": VALUE_MISSING,
    "CT1 certificate=ct1.example.org": f"'ct1.example.org' {NAMES}",
    "CT1 certificate=cn:ct1": f"'cn:ct1' {NAMES}",
    "CT1 certificate=dns:": f"'dns:' {NAMES}",
    "CT1 certificate=uri:": f"'uri:' {NAMES}",
    "CT1 certificate=email:": f"'email:' {NAMES}",
    "CT1 certificate=ip:": "'' does not appear to be an IPv4 or IPv6 address",
    "CT1 certificate=ip:10.1.2.0/24": "'10.1.2.0/24' does not appear to be an IPv4 or IPv6 address",
    "CT1 certificate=sha256:": HEX + "'sha256:'",
    f"CT1 certificate=sha256:{SHA256[:-1]}": f"{HEX}'sha256:{SHA256[:-1]}'",
    f"CT1 certificate=sha256:{SHA256}0": f"{HEX}'sha256:{SHA256}0'",
    f"CT1 certificate=sha256:{SHA256[:-1]}g": f"{HEX}'sha256:{SHA256[:-1]}g'",
    "CT1 max-associations=0": "'0' is no number above 0",
    "CT1 max-associations=-1": "'-1' is no number above 0",
    "CT1 max-associations=2.5": "'2.5' is no number above 0",
    "CT1 max-associations=two": "'two' is no number above 0",
    "CT1 max-associations=": "'' is no number above 0",
    "CT1 max-associations=1 max-associations=1": "max-associations= stands twice; values are separated by commas",
    "CT1 max-instance-size=0": "'0' is no number above 0",
    "CT1 max-instance-size=-1": "'-1' is no number above 0",
    "CT1 max-instance-size=1MB": "'1MB' is no number above 0",
    "CT1 max-instance-size": "'' is no number above 0",
    "0123456789abcdefg": "an AE title must have 1 to 16 characters, not 17",
    '"" network=10.0.0.0/8': "an AE title must have 1 to 16 characters, not 0",
    '" "': "an AE title must be printable ASCII without backslashes, and not blank: ' '",
    "CT\u00c4": "an AE title must be printable ASCII without backslashes, and not blank: 'CT\u00c4'",
    "CT\\1": "an AE title must be printable ASCII without backslashes, and not blank: 'CT\\\\1'",
    '"CT1': "a quotation mark has no other",
    'CT1 user="a b': "a quotation mark has no other",
    'CT1" user=a': "a quotation mark has no other",
    'CT1 "user=a" "': "a quotation mark has no other",
    b"CT1 user=\xff": "this is not UTF-8",
    "10.1.2.0/24": "'10.1.2.0/24' is no AE title: *@NETWORK on the command line, * network=NETWORK in a file",
    "fd00::1": "'fd00::1' is no AE title: *@NETWORK on the command line, * network=NETWORK in a file",
    "CT1@10.1.2.7": "'CT1@10.1.2.7' is no AE title: *@NETWORK on the command line, * network=NETWORK in a file",
}


class FormatTests(FileTestCase):
    """The file: what may stand in it, and what is said of what may not."""

    def test_faults(self) -> None:
        """Each mistake is told in one line, with where it is; a file that has one is not used at all."""
        for line, expected in FAULTS.items():
            self.assertEqual(f"FILE, line 3: {expected}", self.fault("# first", "CT9", line, "CT8"), line)

    def test_plain(self) -> None:
        """Nothing but a space and a quotation mark ends a word or is lost: what it stands in would be another name."""
        access = self.access("CT1 user=HOSPITAL\\alice,o'brien,$a,a#b,a=b certificate=uri:urn:x#y # but this")
        (entry,) = access.list.entries
        self.assertEqual(frozenset({"HOSPITAL\\alice", "o'brien", "$a", "a#b", "a=b"}), entry.users)
        self.assertEqual(frozenset({"uri:urn:x#y"}), entry.certificates)

    def test_twice(self) -> None:
        """The same peer in two lines is a mistake, whatever they give it and however it is written."""
        pairs = [
            ("CT1", "CT1"),
            ("CT1", '" CT1 " max-associations=2'),
            ("* max-instance-size=5", "*"),
            ("CT1 network=10.1.2.3 user=a,b", "CT1 user=b,a network=10.1.2.3/32 max-associations=1"),
            (f"CT1 certificate=sha256:{SHA256}", f"CT1 certificate=sha256:{WITH_COLONS}"),
            ("CT1 certificate=dns:a,ip:::1", "CT1 certificate=ip:0::1,dns:A"),
        ]
        for first, second in pairs:
            self.assertEqual(
                "FILE, line 4: the same peer as in line 2", self.fault("CT9", first, "CT8", second), second
            )

    def test_not_the_same(self) -> None:
        """Entries that differ in who it must be are two peers."""
        lines = ["CT1", "ct1", "*", "CT1 network=10.1.2.3", "CT1 user=a", "CT1 user=A", "CT1 certificate=dns:a"]
        self.assertEqual(7, len(self.access(*lines).list.entries))

    def test_nobody(self) -> None:
        """A file that allows nobody is more likely a mistake."""
        for lines in ([], [""], ["# CT1", "   ", "\t# CT2"]):
            self.assertEqual("FILE: it allows nobody", self.fault(*lines))

    def test_no_file(self) -> None:
        """So is one that is not there, or is none."""
        for path, expected in (("/nowhere/allowed", "No such file or directory"), (os.curdir, "Is a directory")):
            error = self.assertRaises(CannotStart, Access, Config(allow_file=path))
            self.assertEqual(f"{path}: {expected}", str(error))

    def test_around_it(self) -> None:
        """Comments, quotes, empty lines and the ends of lines of other systems do no harm; lines keep their numbers."""
        lines = [
            "# who may store\r",
            "\r",
            "CT1\tnetwork=10.1.2.0/24   # the old one\r",
            "",
            '  "CT1" user="a b",c\'d max-associations=3\r',
            '"#1" user=c # and so on',
        ]
        access = self.access(*lines)
        self.assertEqual([3, 5], held_by(access))
        self.assertEqual([6], held_by(access, "#1"))
        self.assertEqual(
            [(frozenset(), None), (frozenset({"a b", "c'd"}), 3), (frozenset({"c"}), None)],
            [(entry.users, entry.max_associations) for entry in access.list.entries],
        )

    def test_last_line(self) -> None:
        """The last line counts also without its end."""
        self.write("CT1")
        with open(self.path, "ab") as file:
            file.write(b"CT2")
        self.assertEqual([2], held_by(Access(Config(allow_file=self.path)), "CT2"))

    def test_limits(self) -> None:
        """An entry's limits are its own; None is none of its own."""
        access = self.access("CT1 max-instance-size=1000000000000 max-associations=1", "CT2")
        self.assertEqual(
            [(1, 10**12), (None, None)],
            [(entry.max_associations, entry.max_instance_size) for entry in access.list.entries],
        )


class GivenTests(FileTestCase):
    """What --allow says."""

    def test_given(self) -> None:
        """A title alone, or with the networks it must come from; a title may have an @."""
        access = Access(Config(allow=("CT1", "CT2@10.1.2.0/24,2001:db8::/32", "*@10.3.0.1", "C@T@10.1.2.3")))
        peers = {
            ("CT1", "11.1.1.1"): ["CT1"],
            ("CT2", "10.1.2.255"): ["CT2"],
            ("CT2", "2001:db8::1"): ["CT2"],
            ("CT3", "10.3.0.1"): ["*"],
            ("C@T", "10.1.2.3"): ["C@T"],
        }
        found = {peer: [entry.ae_title for entry in access.list.entries_of(*peer, None)] for peer in peers}
        self.assertEqual(peers, found)
        rejection = self.assertRaises(Rejection, access.list.entries_of, "CT2", "10.1.3.0", None)
        self.assertEqual("'CT2' is not allowed from this network", rejection.cause)

    def test_faults(self) -> None:
        """What is wrong with one is a mistake of the configuration, and that of `allow`."""
        faults = {
            "": "must have 1 to 16 characters, not 0",
            "0123456789abcdefg": "must have 1 to 16 characters, not 17",
            "@10.0.0.0/8": "must have 1 to 16 characters, not 0",
            "CT\\1": "must be printable ASCII without backslashes, and not blank: 'CT\\\\1'",
            "CT1@": VALUE_MISSING,
            "10.1.2.0/24": "'10.1.2.0/24' is no AE title: *@NETWORK on the command line, * network=NETWORK in a file",
            "CT1@10.0.0.0/8,": VALUE_MISSING,
            "CT1@ct1": "'ct1' does not appear to be an IPv4 or IPv6 network",
            "CT1@10.0.0.1/8": "10.0.0.1/8 is neither the network 10.0.0.0/8 nor an address",
        }
        for text, fault in faults.items():
            error = self.assertRaises(ConfigError, Access, Config(allow=("CT9", text)))
            title = "an AE title " if fault.startswith("must") else ""
            self.assertEqual(("allow", f"allow: {text}: {title}{fault}"), (error.field, str(error)))

    def test_no_file_format(self) -> None:
        """It is no line of a file: spaces and quotes are those of a title."""
        access = Access(Config(allow=("CT 1", "'CT2'")))
        self.assertEqual(["CT 1", "'CT2'"], [entry.ae_title for entry in access.list.entries])

    def test_with_a_file(self) -> None:
        """What is given stands before what a file has, and stays when that is read again."""
        path = self.write("CT1 max-associations=2", "CT2")
        access = Access(Config(allow=("CT1",), allow_file=path))
        titles = [(entry.ae_title, entry.max_associations) for entry in access.list.entries]
        self.assertEqual([("CT1", None), ("CT1", 2), ("CT2", None)], titles)
        self.rewrite("CT3")
        access.reload()
        self.assertEqual(["CT1", "CT3"], [entry.ae_title for entry in access.list.entries])


class ReloadTests(FileTestCase):
    def test_good(self) -> None:
        """What was read again counts instead of what was read before."""
        access = self.access("CT1", "CT2 network=10.1.2.0/24")
        self.rewrite("CT2 network=10.1.3.0/24")
        self.assertEqual([1], held_by(access))
        access.reload()
        self.assertEqual("the calling AE title 'CT1' is not allowed", held_by(access))
        self.assertEqual([True, False], [access.refusal(host) == "" for host in ("10.1.3.0", "10.1.2.0")])

    def test_bad(self) -> None:
        """What cannot be used, for whatever reason, leaves all as it was."""
        access = self.access("CT1 network=10.1.2.0/24")
        for lines in (["CT2", "CT3 network=x"], ["CT2", "CT2"], ["CT2 user="], [], [b"CT2 \xff"]):
            self.rewrite(*lines)
            self.assertRaises(CannotStart, access.reload)
            self.assertEqual(([1], ""), (held_by(access), access.refusal("10.1.2.3")))
        os.remove(self.path)
        self.assertRaises(CannotStart, access.reload)
        self.assertEqual([1], held_by(access))

    def test_nobody_asked(self) -> None:
        """So does an entry of what nobody is asked for."""
        self.write("CT1")
        access = Access(Config(allow_file=self.path), certificates=False)
        for line in ("CT2 certificate=dns:a", "CT2 user=a"):
            self.rewrite("CT2", line)
            self.assertRaises(CannotStart, access.reload)
            self.assertEqual([1], held_by(access))


class NobodyAskedTests(FileTestCase):
    """An entry that can hold of nobody is a mistake."""

    def test_certificate(self) -> None:
        """It names a certificate, and no peer is asked for one."""
        self.assertEqual(
            "FILE, line 2: no peer is asked for a certificate without --tls-ca",
            self.fault("CT1", "CT2 certificate=dns:a", certificates=False),
        )

    def test_user(self) -> None:
        """It names a user, and there is no portal that could know him."""
        path = self.write("CT1", "CT2 user=a")
        error = self.assertRaises(CannotStart, Access, Config(allow_file=path))
        self.assertEqual(
            f"{path}, line 2: no peer is asked for its user without --users, --auth or --jwt-key", str(error)
        )

    def test_asked(self) -> None:
        """Where they are asked for there is nothing to say, nor where none is named."""
        self.assertEqual(1, len(self.access("CT2 user=a certificate=dns:a").list.entries))
        path = self.write("CT1 network=10.0.0.0/8")
        self.assertEqual(1, len(Access(Config(allow_file=path), certificates=False).list.entries))


# A whole server.


class SecureTransport(StringTransport):
    """TLS has shaken hands on it, and the peer has shown this certificate, or none."""

    def __init__(self, address: IAddress | None, certificate: crypto.X509 | None) -> None:
        super().__init__(peerAddress=address)
        self._certificate = certificate

    def getPeerCertificate(self) -> crypto.X509 | None:
        return self._certificate

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is sent."""


classImplements(SecureTransport, ISSLTransport)  # type: ignore[misc]  # what is not called is not there


class SecurePeer(Peer):
    """A peer that speaks over TLS."""

    def __init__(
        self, factory: StorageSCPFactory, address: IAddress | None, certificate: crypto.X509 | None = None
    ) -> None:
        self.transport = SecureTransport(address, certificate)
        self.protocol = factory.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)
        self._connected = True


def make_certificate(*names: x509.GeneralName, subject: str = "ct1") -> crypto.X509:
    """One with these alternative names; it is its own authority, which here nobody asks about."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    begins = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), begins, begins + datetime.timedelta(days=365)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return crypto.X509.from_cryptography(builder.sign(key, None))


CT1 = make_certificate(
    x509.DNSName("CT1.Example.org"),
    x509.IPAddress(ipaddress.ip_address("10.1.2.3")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    x509.UniformResourceIdentifier("urn:ct:1"),
    x509.RFC822Name("CT@example.org"),
)
CT2 = make_certificate(x509.DNSName("ct2.example.org"), subject="ct2")

MODALITY = b"MODALITY        "


def called_by(title: bytes, pdu: bytes) -> bytes:
    """An A-ASSOCIATE PDU with this calling AE title."""
    assert pdu.count(MODALITY) == 1
    return pdu.replace(MODALITY, title.ljust(16))


def grown(pdu: bytes, user_information: int, item: bytes) -> bytes:
    """The A-ASSOCIATE PDU with one sub-item more; its User Information, which is the last item, begins there."""

    def longer(field: bytes) -> bytes:
        return (int.from_bytes(field, "big") + len(item)).to_bytes(len(field), "big")

    at = user_information
    assert pdu[at : at + 2] == b"\x50\0"
    return pdu[:2] + longer(pdu[2:6]) + pdu[6 : at + 2] + longer(pdu[at + 2 : at + 4]) + pdu[at + 4 :] + item


def with_identity(item: bytes) -> bytes:
    """The A-ASSOCIATE-RQ of a peer with this User Identity."""
    return grown(ASSOCIATE_RQ, 268, item)


def rejected(result: str) -> bytes:
    """An A-ASSOCIATE-RJ: the four bytes of its body."""
    return wire("03 00 00000004", result)


class ServerTestCase(FileTestCase, LimitTestCase):
    """A server that lets in who is in a list, and perhaps knows his user."""

    def serve(self, *lines: str, portal: Portal | None = None, **options: Any) -> None:
        config = Config(allow_file=self.write(*lines) if lines else None, **options)
        self.list = Access(config, portal=portal)
        self.scp = StorageSCPFactory(config, self.storage, self.clock, [self.observer], access=self.list)
        self.scp.doStart()
        self.addCleanup(self.scp.doStop)
        self.ports = Counter()

    def connect_over_tls(self, host: str = "10.1.0.1", certificate: crypto.X509 | None = None) -> Peer:
        peer = SecurePeer(self.scp, IPv4Address("TCP", host, 104 + self.ports[host]), certificate)
        self.ports[host] += 1
        self.addCleanup(peer.disconnect)
        return peer


class PeerTests(ServerTestCase):
    """What of a peer its entry is found by."""

    def test_title(self) -> None:
        """It is the title without spaces around it, as the peer has sent it."""
        self.serve("MODALITY network=10.0.0.0/8", '"CT 1"')
        for title in (b"MODALITY", b"  MODALITY", b"MODALITY\0\0\0\0\0\0\0\0", b" CT 1"):
            self.assertEqual(called_by(title, ASSOCIATE_AC), self.answer("10.1.2.3", called_by(title, ASSOCIATE_RQ)))
        for title in (b"modality", b"MODALITY1", b"CT1", b"", b"*"):
            self.assertEqual(
                rejected("00 01 01 03"), self.answer("10.1.2.3", called_by(title, ASSOCIATE_RQ)), repr(title)
            )

    def test_addresses(self) -> None:
        """It is the address that the connection comes from, of whatever family; a socket of this machine has none."""
        self.serve("* network=10.1.2.0/24,fe80::/10")
        served: list[IAddress] = [
            IPv4Address("TCP", "10.1.2.3", 104),
            IPv6Address("TCP", "::ffff:10.1.2.3", 104),
            IPv6Address("TCP", "fe80::1%eth0", 104, 0, 2),
        ]
        for address in served:
            self.assertEqual(ASSOCIATE_AC, self.connect_from(address).write(ASSOCIATE_RQ))
        others: list[IAddress] = [IPv6Address("TCP", "::1", 104), UNIXAddress(b"/socket"), UNIXAddress(None)]
        for address in others:
            self.assertEqual(b"", self.connect_from(address).write(ASSOCIATE_RQ))

    def test_socket(self) -> None:
        """A socket of this machine is let in where an entry has no network."""
        self.serve("CT1 network=10.1.2.0/24", "MODALITY")
        peer = self.connect_from(UNIXAddress(None))
        self.assertEqual(rejected("00 01 01 03"), peer.write(called_by(b"CT1", ASSOCIATE_RQ)))
        self.assertEqual(ASSOCIATE_AC, self.connect_from(UNIXAddress(None)).write(ASSOCIATE_RQ))

    def test_certificate(self) -> None:
        """It is the certificate that TLS has verified: by its fingerprint, and each kind of its names."""
        fingerprint = str(CT1.digest("sha256"), "ascii")
        conditions = [f"sha256:{fingerprint}", f"sha256:{fingerprint.replace(':', '').lower()}"]
        conditions += ["dns:ct1.example.org", "ip:10.1.2.3", "ip:2001:db8::1", "uri:urn:ct:1", "email:CT@example.org"]
        for condition in conditions:
            self.serve(f"MODALITY certificate={condition}")
            self.assertEqual(ASSOCIATE_AC, self.connect_over_tls(certificate=CT1).write(ASSOCIATE_RQ), condition)
            for certificate in (CT2, make_certificate(), None):
                self.assertEqual(
                    rejected("00 01 01 03"), self.connect_over_tls(certificate=certificate).write(ASSOCIATE_RQ)
                )
            self.assertEqual(rejected("00 01 01 03"), self.answer())

    def test_told(self) -> None:
        """Observers know the certificate from the beginning; of who has none, or no TLS, they know that."""
        self.serve("*")
        fingerprint = str(CT2.digest("sha256"), "ascii").replace(":", "").lower()
        expected = Certificate(subject="CN=ct2", sha256=fingerprint, names=("dns:ct2.example.org",))
        for peer, certificate in (
            (self.connect_over_tls(certificate=CT2), expected),
            (self.connect_over_tls(), None),
            (self.connect(), None),
        ):
            peer.write(ASSOCIATE_RQ)
            self.assertEqual(certificate, self.observer.associations[-1].certificate)

    def test_reload(self) -> None:
        """A list that is read again counts for who comes then; who is there stays."""
        self.serve("MODALITY network=10.1.0.0/16")
        before = self.connect("10.1.0.1", ASSOCIATE_RQ)
        waiting = self.connect("10.1.0.2")
        self.rewrite("CT1 network=10.2.0.0/16")
        self.list.reload()
        self.assertEqual(ECHOED, before.write(ECHO))
        self.assertEqual(rejected("00 01 01 03"), waiting.write(ASSOCIATE_RQ))
        self.assertEqual(b"", self.answer("10.1.0.1"))
        self.assertEqual(called_by(b"CT1", ASSOCIATE_AC), self.answer("10.2.0.1", called_by(b"CT1", ASSOCIATE_RQ)))


class NetworkRefusedTests(ServerTestCase):
    """A connection from where nobody is allowed."""

    def test_told(self) -> None:
        """It ends at once and without a word, and that is told once; it was never a connection that waits."""
        self.serve("MODALITY network=10.1.0.0/16", max_unassociated=1)
        waiting = self.connect("10.1.0.1")
        peer = self.connect("10.2.0.1")
        self.assertEqual((b"", True), (peer.heard(), peer.transport.disconnected))
        self.assertEqual(b"", peer.write(ASSOCIATE_RQ + STORE))
        peer.disconnect()
        cause = "this network is not allowed (--allow, --allow-file)"
        self.assertEqual([("connection_refused", "10.2.0.1:104", cause)], self.observer.events)
        self.assertEqual(ASSOCIATE_AC, waiting.write(ASSOCIATE_RQ))
        self.check_counts()

    def test_later_known(self) -> None:
        """Whose address is not known at first is judged when it is asked for: by his entry."""
        self.serve("MODALITY network=10.1.0.0/16")
        protocol = self.scp.buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "10.2.0.1", 104))
        protocol.makeConnection(transport)
        self.addCleanup(protocol.connectionLost)
        self.assertEqual((False, []), (transport.disconnecting, self.observer.events))
        protocol.dataReceived(ASSOCIATE_RQ)
        self.assertEqual(rejected("00 01 01 03"), transport.value())


ALICE = wire("58 00 0012", "02 00", "0005", b"alice", "0007", b"opensea")
WRONG_PASSCODE = wire("58 00 0012", "02 00", "0005", b"alice", "0007", b"OPENSEA")


@attrs.frozen
class Visit:
    """A peer as it must be to be let in."""

    host: str = "10.1.0.1"
    certificate: crypto.X509 | None = CT1
    version: bytes = b"\0\1"
    application_context: bytes = NAME
    called: bytes = b"STORESCP        "
    calling: bytes = MODALITY
    identity: bytes = ALICE
    full: bool = False

    @property
    def request(self) -> bytes:
        pdu = with_identity(self.identity).replace(NAME, self.application_context)
        return called_by(self.calling, pdu[:6] + self.version + pdu[8:].replace(b"STORESCP        ", self.called))


@attrs.frozen
class Wrong:
    """One thing that is wrong with a visit, and what comes of it."""

    change: dict[str, Any]
    answer: bytes
    told: tuple[Any, ...]
    counted: dict[str, int] = attrs.field(factory=dict)


WRONG = [  # in the order in which they are found out
    Wrong(
        {"host": "11.0.0.1"},
        b"",
        ("connection_refused", "11.0.0.1:104", "this network is not allowed (--allow, --allow-file)"),
    ),
    Wrong({"version": b"\0\2"}, rejected("00 01 02 02"), ("association_rejected", AAssociateRJ(1, 2, 2), "")),
    Wrong(
        {"application_context": wire("10 00 0015", b"1.2.840.10008.3.1.1.2")},
        rejected("00 01 01 02"),
        ("association_rejected", AAssociateRJ(1, 1, 2), ""),
    ),
    Wrong(
        {"called": b"storescp        "},
        rejected("00 01 01 07"),
        ("association_rejected", AAssociateRJ(1, 1, 7), ""),
    ),
    Wrong(
        {"calling": b"modality        "},
        rejected("00 01 01 03"),
        ("association_rejected", AAssociateRJ(1, 1, 3), "the calling AE title 'modality' is not allowed"),
    ),
    Wrong(
        {"host": "10.2.0.1"},
        rejected("00 01 01 03"),
        ("association_rejected", AAssociateRJ(1, 1, 3), "'MODALITY' is not allowed from this network"),
    ),
    Wrong(
        {"certificate": CT2},
        rejected("00 01 01 03"),
        ("association_rejected", AAssociateRJ(1, 1, 3), "'MODALITY' is not allowed with the certificate of CN=ct2"),
    ),
    Wrong(
        {"identity": WRONG_PASSCODE},
        rejected("00 01 02 01"),
        ("association_rejected", AAssociateRJ(1, 2, 1), "the user 'alice' is not accepted"),
    ),
    Wrong(
        {"full": True},
        LOCAL_LIMIT,
        ("association_rejected", AAssociateRJ(2, 3, 2), ("max_associations", "1 associations are open")),
        {"max_associations": 1},
    ),
]


class OrderTests(ServerTestCase):
    """In which order it is decided. The first thing that is wrong is what is answered, whatever comes after it."""

    def guard(self) -> None:
        """Ask for all that can be asked for."""
        checker = InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(b"alice", b"opensea")
        self.serve(
            "MODALITY network=10.1.0.0/16 certificate=dns:ct1.example.org user=alice",
            "CT1 network=10.0.0.0/8",
            portal=Portal(Realm(), [checker]),
            require_called_aet=True,
            max_associations=1,
        )

    def check(self, visit: Visit, expected: Wrong) -> None:
        """That is what comes of this visit."""
        self.guard()
        first = self.connect_over_tls("10.1.0.9", CT1)
        if visit.full:
            self.assertEqual(ASSOCIATE_AC, first.write(Visit().request))
        self.observer.events.clear()
        peer = self.connect_over_tls(visit.host, visit.certificate)
        self.assertEqual(expected.answer, peer.write(visit.request + STORE))
        self.assertEqual(expected.answer == b"", peer.transport.disconnected)
        peer.disconnect()
        self.check_told(expected.told)
        before = [] if expected.answer == b"" else ["association_requested"]
        self.assertEqual([*before, expected.told[0]], self.observer.names)
        self.assertEqual(([], []), (self.storage.sinks, self.storage.requests))
        self.check_counts(**expected.counted)
        first.disconnect()

    def test_nothing(self) -> None:
        """With nothing wrong the peer is let in, and stores."""
        self.guard()
        peer = self.connect_over_tls(Visit().host, CT1)
        self.assertEqual(ASSOCIATE_AC, peer.write(Visit().request))
        self.assertEqual(STORED, peer.write(STORE))
        self.assertEqual([DATA_SET], [sink.data for sink in self.storage.sinks])

    def test_one(self) -> None:
        """One thing that is wrong is enough."""
        for wrong in WRONG:
            self.check(attrs.evolve(Visit(), **wrong.change), wrong)

    def test_two(self) -> None:
        """Of any two the first decides."""
        for number, first in enumerate(WRONG):
            for second in WRONG[number + 1 :]:
                self.check(attrs.evolve(Visit(), **(second.change | first.change)), first)

    def test_all(self) -> None:
        """Of all of them the first does; when that is right the second, and so on."""
        for number, first in enumerate(WRONG):
            change: dict[str, Any] = {}
            for wrong in reversed(WRONG[number:]):
                change |= wrong.change
            self.check(attrs.evolve(Visit(), **change), first)

    def test_storage_last(self) -> None:
        """A storage that does not work is the very last reason: all others stay as they were until somebody acts."""
        self.storage.is_ready = False
        for wrong in WRONG:
            if wrong.change != {"full": True}:
                self.check(attrs.evolve(Visit(), **wrong.change), wrong)


CT_RQ = {title: called_by(title, ASSOCIATE_RQ) for title in (b"CT1", b"CT2", b"CT3")}
CT_AC = {title: called_by(title, ASSOCIATE_AC) for title in (b"CT1", b"CT2", b"CT3")}


class AssociationLimitTests(ServerTestCase):
    """max-associations of an entry."""

    def check(self, *expected: tuple[str, bytes, bool]) -> None:
        """Who comes from there by this title gets an association, and keeps it, or reaches the limit."""
        for host, title, accepted in expected:
            answer = self.connect(host).write(CT_RQ[title])
            self.assertEqual(CT_AC[title] if accepted else LOCAL_LIMIT, answer, (host, title))

    def test_over_hosts(self) -> None:
        """They are counted by the entry, from whatever hosts they come; another's are not."""
        self.serve("CT1 max-associations=2 network=10.0.0.0/8", "CT2 max-associations=1", "CT3")
        self.check(("10.0.0.1", b"CT1", True), ("10.0.0.2", b"CT1", True))
        self.check_counts()
        self.check(("10.0.0.3", b"CT1", False), ("10.0.0.1", b"CT1", False))
        cause = ("allow_file", "2 associations of its entry are open")
        self.check_told(("association_rejected", AAssociateRJ(2, 3, 2), cause))
        self.check_counts(allow_file=2)
        self.check(("10.0.0.1", b"CT2", True), ("10.0.0.1", b"CT3", True), ("10.0.0.3", b"CT2", False))
        self.assertEqual([], self.storage.requests)

    def test_of_any_title(self) -> None:
        """Those of all titles that have one entry are counted together."""
        self.serve("CT2", "* max-associations=2")
        self.check(("a", b"CT1", True), ("b", b"CT3", True), ("c", b"CT3", False), ("c", b"CT2", True))

    def test_in_place_of_the_host(self) -> None:
        """It stands in place of the limit of a host, more or less; the others of that host have theirs as before."""
        self.serve("CT1 max-associations=3", "CT2 max-associations=1", "*", max_associations_per_peer=2)
        self.check(*[("a", b"CT1", True)] * 3, ("a", b"CT1", False), ("a", b"CT2", True), ("a", b"CT2", False))
        self.check(("a", b"CT3", True), ("a", b"CT3", True), ("a", b"CT3", False), ("b", b"CT3", True))
        self.check_counts(allow_file=2, max_associations_per_peer=1)

    def test_in_all(self) -> None:
        """No entry gets more than there may be in all."""
        self.serve("CT1 max-associations=3", "CT2", max_associations=2)
        self.check(("a", b"CT1", True), ("a", b"CT2", True), ("a", b"CT1", False))
        self.check_told(
            ("association_rejected", AAssociateRJ(2, 3, 2), ("max_associations", "2 associations are open"))
        )

    def test_given_back(self) -> None:
        """When one has ended there is room for another."""
        self.serve("CT1 max-associations=1")
        peer = self.connect("a")
        self.assertEqual(CT_AC[b"CT1"], peer.write(CT_RQ[b"CT1"]))
        self.check(("a", b"CT1", False))
        peer.disconnect()
        self.check(("b", b"CT1", True), ("a", b"CT1", False))

    def test_reload(self) -> None:
        """Those there are when the file is read again count on, also where it stands in another line."""
        self.serve("CT1 network=10.0.0.0/8 max-associations=2")
        self.check(*[("10.0.0.1", b"CT1", True)] * 2, ("10.0.0.1", b"CT1", False))
        self.list.reload()
        self.check(("10.0.0.1", b"CT1", False))
        self.rewrite("# more", "CT2", "CT1 max-associations=3 max-instance-size=5 network=10.0.0.0/8")
        self.list.reload()
        self.check(("10.0.0.1", b"CT1", True), ("10.0.0.2", b"CT1", False))
        self.rewrite("CT1 network=10.0.0.0/8 max-associations=1")
        self.list.reload()
        self.check(("10.0.0.2", b"CT1", False))
        self.check_told(
            ("association_rejected", AAssociateRJ(2, 3, 2), ("allow_file", "3 associations of its entry are open"))
        )

    def test_reload_and_end(self) -> None:
        """One that ends after that gives back the place it had."""
        self.serve("CT1 max-associations=1")
        peer = self.connect("a", CT_RQ[b"CT1"])
        self.rewrite("CT1 max-associations=2")
        self.list.reload()
        self.check(("b", b"CT1", True), ("c", b"CT1", False))
        peer.disconnect()
        self.check(("d", b"CT1", True), ("e", b"CT1", False))


class InstanceLimitTests(ServerTestCase):
    """max-instance-size of an entry."""

    def store(self, title: bytes, size: int) -> bytes:
        """What is answered to an instance of so many bytes."""
        peer = self.connect("a", CT_RQ[title])
        answer = peer.write(STORE_COMMAND + p_data(pdv(3, LAST_DATA, bytes(size))))
        peer.disconnect()
        return answer

    def test_in_place_of_the_common(self) -> None:
        """It stands in place of the common limit, more or less; who has none has the common one."""
        self.serve("CT1 max-instance-size=10", "CT2 max-instance-size=30", "CT3", max_instance_size=20)
        for title, most in ((b"CT1", 10), (b"CT2", 30), (b"CT3", 20)):
            self.assertEqual((STORED, TOO_LARGE), (self.store(title, most), self.store(title, most + 1)))
        self.check_counts(allow_file=2, max_instance_size=1)

    def test_without_a_common(self) -> None:
        """It holds also where there is no common one."""
        self.serve("CT1 max-instance-size=10", "CT2")
        self.assertEqual((TOO_LARGE, STORED), (self.store(b"CT1", 11), self.store(b"CT2", 11)))

    def test_told(self) -> None:
        """It is told whose limit it is; the association goes on."""
        self.serve("CT1 max-instance-size=23", max_instance_size=5)
        peer = self.connect("a", CT_RQ[b"CT1"])
        self.observer.events.clear()
        self.assertEqual(STORED, peer.write(STORE))  # it has 23 bytes
        self.observer.events.clear()
        answer = peer.write(STORE_COMMAND + p_data(pdv(3, LAST_DATA, bytes(24))))
        self.assertEqual(p_data(pdv(3, LAST_COMMAND, store_rsp("00A7"))), answer)
        (refused,) = [event for event in self.observer.events if event[0] == "instance_refused"]
        self.assertEqual((0xA700, ("allow_file", "it has more than 23 bytes")), plain(refused[-1]))
        self.assertEqual([["finish"], ["abort"]], [sink.ends for sink in self.storage.sinks])
        self.assertEqual(STORED, peer.write(STORE))

    def test_reload(self) -> None:
        """An association keeps the limit it began with."""
        self.serve("CT1 max-instance-size=22")
        peer = self.connect("a", CT_RQ[b"CT1"])
        self.rewrite("CT1 max-instance-size=23")
        self.list.reload()
        self.assertEqual(TOO_LARGE, peer.write(STORE))
        self.assertEqual(STORED, self.store(b"CT1", 23))
