"""Access: who may come in, by AE title, network, certificate and user, and how much of the server they get."""

import ipaddress
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from twisted.cred.portal import Portal

from storescp.config import Config, ConfigError, ae_title_fault
from storescp.errors import CannotStart, Cause
from storescp.interfaces import Certificate
from storescp.server.files import each_line
from storescp.ul.negotiation import CALLING_AE_TITLE_NOT_RECOGNIZED, USER_IDENTITY_REFUSED, Rejection

ANY_TITLE = "*"

_MAPPED = 96  # bits before an IPv4 address where a socket for IPv6 has it; it is taken for what it is

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@attrs.frozen(kw_only=True)
class Entry:
    """Somebody who may come in: who it must be, where a condition that is empty holds of anybody, and what it gets.

    Equal are entries for the same peer, whatever they give it.
    """

    ae_title: str
    networks: frozenset[_Network] = frozenset()
    certificates: frozenset[str] = frozenset()  # sha256:…, or an alternative name as of a `Certificate`
    users: frozenset[str] = frozenset()
    max_associations: int | None = attrs.field(default=None, eq=False)  # in place of the limit for a host
    max_instance_size: int | None = attrs.field(default=None, eq=False)  # bytes, in place of the limit for everybody
    origin: str = attrs.field(default="", eq=False)  # where it stands

    def holds_of_address(self, address: _Address | None) -> bool:
        return not self.networks or (address is not None and any(address in network for network in self.networks))

    def holds_of_certificate(self, known_as: frozenset[str]) -> bool:
        return not self.certificates or not self.certificates.isdisjoint(known_as)


class _Networks:
    """The addresses of networks: each connection is looked up in all of them."""

    def __init__(self, networks: Iterable[_Network]) -> None:
        every = list(networks)
        apart: list[_Network] = [
            *ipaddress.collapse_addresses(each for each in every if isinstance(each, ipaddress.IPv4Network)),
            *ipaddress.collapse_addresses(each for each in every if isinstance(each, ipaddress.IPv6Network)),
        ]
        self._first = [(network.version, int(network.network_address)) for network in apart]  # in order
        self._last = [(network.version, int(network.broadcast_address)) for network in apart]

    def __contains__(self, address: _Address) -> bool:
        key = (address.version, int(address))
        found = bisect_right(self._first, key)
        return found > 0 and key <= self._last[found - 1]


class AccessList:
    """Entries, the first one that holds of a peer first."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._anywhere = not all(entry.networks for entry in self.entries)
        self._networks = _Networks(network for entry in self.entries for network in entry.networks)

    def admits(self, host: str) -> bool:
        """Whether anybody may come from there."""
        if self._anywhere:
            return True
        address = _address(host)
        return address is not None and address in self._networks

    def entries_of(self, title: str, host: str, certificate: Certificate | None) -> list[Entry]:
        """Those that hold of this peer, as far as it is known before its user is. Raises `Rejection`."""
        address = _address(host)
        known_as = _names(certificate)
        entries = [entry for entry in self.entries if entry.ae_title in (title, ANY_TITLE)]
        if not entries:
            raise Rejection(CALLING_AE_TITLE_NOT_RECOGNIZED, f"the calling AE title {title!r} is not allowed")
        entries = [entry for entry in entries if entry.holds_of_address(address)]
        if not entries:
            raise Rejection(CALLING_AE_TITLE_NOT_RECOGNIZED, f"{title!r} is not allowed from this network")
        entries = [entry for entry in entries if entry.holds_of_certificate(known_as)]
        if not entries:
            shown = "without a certificate" if certificate is None else f"with the certificate of {certificate.subject}"
            raise Rejection(CALLING_AE_TITLE_NOT_RECOGNIZED, f"{title!r} is not allowed {shown}")
        return entries


def entry_for(entries: Iterable[Entry], title: str, user: str | None) -> Entry:
    """The first of the entries of a peer that holds of its user, too. Raises `Rejection`."""
    for entry in entries:
        if not entry.users or user in entry.users:
            return entry
    shown = "without a user identity" if user is None else f"as the user {user!r}"
    raise Rejection(USER_IDENTITY_REFUSED, f"{title!r} is not allowed {shown}")


_EVERYBODY = AccessList([Entry(ae_title=ANY_TITLE)])


class Access:
    """The list that `Config.allow` and `Config.allow_file` make; everybody where neither is given.

    With a `portal` every association must have a user that it knows: an `IUser` of its realm. Its checkers are given a
    `Username`, a `Passcode`, a `JSONWebToken`, or of who sends no user identity Twisted's `Anonymous`.

    Raises ConfigError for what the one option says, `CannotStart` for the other, and ValueError for options about users
    whom no portal knows. `certificates` tells whether peers are asked for one: an entry that can hold of nobody is a
    mistake.
    """

    def __init__(self, config: Config, *, portal: Portal | None = None, certificates: bool = True) -> None:
        if portal is None and (config.users is not None or config.auth or config.jwt_key is not None):
            raise ValueError("users, auth and jwt_key ask for users: give a portal that knows them")
        self.portal = portal
        self._given = [_entry_given(text) for text in config.allow]
        self._path = config.allow_file
        self._certificates = certificates
        self.list = _EVERYBODY
        if self._given or self._path is not None:
            self.reload()

    def reload(self) -> None:
        """Read the file again. Raises `CannotStart`; then the list stays as it was."""
        entries = [*self._given, *([] if self._path is None else _entries_in(self._path))]
        for entry in entries:
            if entry.certificates and not self._certificates:
                raise CannotStart(f"{entry.origin}: no peer is asked for a certificate without --tls-ca")
            if entry.users and self.portal is None:
                raise CannotStart(f"{entry.origin}: no peer is asked for its user without --users, --auth or --jwt-key")
        self.list = AccessList(entries)

    def refusal(self, host: str) -> str:
        """Why connections from this host are not served; empty where they are."""
        if self.list.admits(host):
            return ""
        return Cause("allow", "this network is not allowed (--allow, --allow-file)")


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a socket of the file system
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _names(certificate: Certificate | None) -> frozenset[str]:
    return frozenset() if certificate is None else frozenset({f"sha256:{certificate.sha256}", *certificate.names})


def _entry_given(text: str) -> Entry:
    title, at, network = text.rpartition("@")
    try:
        return _entry([title, f"network={network}"] if at else [text], "--allow")
    except ValueError as error:
        raise ConfigError("allow", f"{text}: {error}") from None


def _entries_in(path: str) -> list[Entry]:
    entries: dict[Entry, int] = {}

    def take(number: int, line: bytes) -> None:
        words = _words(_text(line))
        if not words:
            return
        entry = _entry(words, f"{path}, line {number}")
        if entry in entries:
            raise ValueError(f"the same peer as in line {entries[entry]}")
        entries[entry] = number

    each_line(path, take)
    if not entries:  # more likely a mistake than somebody's wish
        raise CannotStart(f"{path}: it allows nobody")
    return list(entries)


def _text(line: bytes) -> str:
    try:
        return str(line, "utf-8")
    except UnicodeDecodeError:
        raise ValueError("this is not UTF-8") from None


# A comment begins where a word would. (shlex would end a word at a #, or take a backslash out of it.)
_WORD = re.compile(r"""\s*(?:\#.*|((?:[^\s"]|"[^"]*")+))?""")


def _words(line: str) -> list[str]:
    """The words of a line; what stands between quotation marks may have spaces."""
    words = []
    position = 0
    while position < len(line):
        match = _WORD.match(line, position)
        if match is None or match.end() == position:
            raise ValueError("a quotation mark has no other")
        position = match.end()
        if match[1] is not None:
            words.append(match[1].replace('"', ""))
    return words


def _entry(words: Sequence[str], origin: str) -> Entry:
    """An entry from its title and its conditions. Raises ValueError."""
    title, *conditions = words
    fault = "" if title == ANY_TITLE else ae_title_fault(title)
    if fault:
        raise ValueError(f"an AE title {fault}")
    if _is_network(title.rpartition("@")[2]):
        raise ValueError(f"{title!r} is no AE title: *@NETWORK on the command line, * network=NETWORK in a file")
    values: dict[str, Any] = {}
    for condition in conditions:
        key, _, value = condition.partition("=")
        if key not in _CONDITIONS:
            raise ValueError(f"{condition!r} is none of {', '.join(f'{each}=…' for each in _CONDITIONS)}")
        field, parse = _CONDITIONS[key]
        if field in values:
            raise ValueError(f"{key}= stands twice; values are separated by commas")
        values[field] = parse(value)
    return Entry(ae_title=title.strip(), origin=origin, **values)


def _listed(value: str) -> list[str]:
    values = value.split(",")
    if not all(values):
        raise ValueError("a value is missing: condition=value, or several with commas and no spaces between them")
    return values


def _networks(value: str) -> frozenset[_Network]:
    return frozenset(map(_network, _listed(value)))


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _network(text: str) -> _Network:
    network = ipaddress.ip_network(text, strict=False)
    if ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"{text} is neither the network {network} nor an address")
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= _MAPPED:
        return ipaddress.ip_network((int(mapped), network.prefixlen - _MAPPED))
    return network


def _certificates(value: str) -> frozenset[str]:
    return frozenset(map(_certificate, _listed(value)))


def _certificate(text: str) -> str:
    kind, _, value = text.partition(":")
    if kind == "sha256":
        digits = value.replace(":", "").lower()
        if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            raise ValueError(f"a fingerprint has 64 hexadecimal digits: {text!r}")
        return f"sha256:{digits}"
    if kind == "ip":
        return f"ip:{ipaddress.ip_address(value)}"
    if kind not in ("dns", "uri", "email") or not value:
        raise ValueError(f"{text!r} is none of sha256:…, dns:…, ip:…, uri:…, email:…")
    return f"dns:{value.lower()}" if kind == "dns" else text


def _users(value: str) -> frozenset[str]:
    return frozenset(_listed(value))


def _count(value: str) -> int:
    if not value.isdecimal() or not int(value):
        raise ValueError(f"{value!r} is no number above 0")
    return int(value)


_CONDITIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "network": ("networks", _networks),
    "certificate": ("certificates", _certificates),
    "user": ("users", _users),
    "max-associations": ("max_associations", _count),
    "max-instance-size": ("max_instance_size", _count),
}
