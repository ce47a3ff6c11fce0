"""What descriptions of Twisted's endpoints say, as far as the programs must know."""

import ipaddress
import re
from typing import Any

_ANY_PORT = re.compile(r"(tls:|haproxy:)*((tcp6?|ssl):(port=)?)?0(:|$)")
_COLON = re.compile(r"(?<!\\):")
_BELOW_TCP = ("tcp", "tcp6", "ssl")
_HAPROXY = "haproxy:"


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


def is_local(address: Any) -> bool:
    """Whether only this machine can reach an address that is listened on."""
    host = getattr(address, "host", None)
    try:
        return host is None or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
