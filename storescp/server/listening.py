"""harden: what a listening socket hands down to the connections that it accepts."""

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IListeningPort

# Seconds: an idle peer is asked after IDLE and then each INTERVAL, and is gone when it has acknowledged nothing,
# neither that nor what was sent to it, for GONE. A cable that is put into another socket takes less.
IDLE = 30
INTERVAL = 10
GONE = 60

# Bytes of responses that the system keeps for a peer that does not read them. They are short, and the default is
# megabytes, which nobody would miss until they are full.
UNREAD = 64 * 1024


def harden(port: IListeningPort) -> None:
    """Let the system find out which peers of a TCP port are gone or do not read. Other ports are left alone."""
    listening: Any = getattr(port, "socket", None)
    if listening is None or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)
    for name, value in (("TCP_KEEPIDLE", IDLE), ("TCP_KEEPINTVL", INTERVAL), ("TCP_USER_TIMEOUT", GONE * 1000)):
        with suppress(AttributeError, OSError):  # a system without such an option keeps its own times
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
