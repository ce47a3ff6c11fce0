"""Endpoints by their descriptions, which are Twisted's: what they say, and what is wrong with them."""

import ipaddress
import re
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from storescp.config import ConfigError
from storescp.errors import CannotStart

_ANY_PORT = re.compile(r"(tls:|haproxy:)*((tcp6?|ssl):(port=)?)?0(:|$)")
_COLON = re.compile(r"(?<!\\):")
_BELOW_TCP = ("tcp", "tcp6", "ssl")
_HAPROXY = "haproxy:"
TLS_PREFIX = "tls:"  # which is ours: Twisted has ssl:


def has_any_port(description: str) -> bool:
    """Whether it leaves its port to the system."""
    return _ANY_PORT.match(description) is not None


def nearby(description: str) -> str:
    """A description of the same endpoint, or of the port alone, on this machine's own interface if it names none."""
    if description.isdecimal():
        description = f"tcp:{description}"
    kind, *parts = _COLON.split(description.removeprefix(_HAPROXY))
    if kind not in _BELOW_TCP or any(part.startswith("interface=") for part in parts):
        return description
    own = r"\:\:1" if kind == "tcp6" else "127.0.0.1"
    if kind != "tcp" or len(parts) < 2 or "=" in parts[1]:
        return f"{description}:interface={own}"
    if parts[1]:  # one by its place
        return description
    prefix = _HAPROXY if description.startswith(_HAPROXY) else ""
    return prefix + ":".join([kind, parts[0], own, *parts[2:]])


def parts_of(description: str) -> tuple[bool, bool, str]:
    """Whether TLS is spoken, whether a PROXY header comes before it, and the endpoint of Twisted's below."""
    below_tls = description.removeprefix(TLS_PREFIX)
    inner = below_tls.removeprefix(_HAPROXY)
    if inner.startswith((TLS_PREFIX, _HAPROXY)):  # within TLS, the certificate would be the proxy's
        raise ConfigError("listen", f"{description}: it is {TLS_PREFIX}{_HAPROXY}ENDPOINT, in this order and each once")
    return below_tls != description, inner != below_tls, inner


def server_endpoint(field: str, description: str, inner: str, reactor: Any) -> IStreamServerEndpoint:
    """That of `inner`, which Twisted can read; the attribute `field` of `Config` has it as `description`.

    Raises ConfigError where it cannot be understood, `CannotStart` for what stands in the way elsewhere.
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, inner)
    except (ValueError, TypeError) as error:
        raise ConfigError(field, f"{description}: {error}") from None
    except (IndexError, KeyError):
        raise CannotStart(f"{description}: no such socket was handed over with its name, as systemd does") from None
    except ImportError as error:
        raise CannotStart(f"{description}: {without_tls(error)}") from None
    except Exception as error:  # a key or certificate: OSError, or what the TLS library makes of its content
        raise CannotStart(f"{description}: {error}") from None
    return endpoint


def without_tls(error: ImportError) -> CannotStart:
    return CannotStart(f"{error}; pip install 'storescp[tls]'")


def is_local(address: Any) -> bool:
    """Whether only this machine can reach an address that is listened on."""
    host = getattr(address, "host", None)
    try:
        return host is None or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
