"""notify: what a service manager is told about this process, by the protocol of sd_notify(3)."""

import os
import socket

from twisted.logger import Logger

_log = Logger()

_deaf: set[str] = set()  # sockets that could not be told something, which was logged


def is_managed() -> bool:
    """Whether a manager has started this process, and no terminal will end it."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Send `state`, such as ``READY=1``, to the manager that has started this process, if one wants to know.

    It never raises and never waits: what cannot be sent is lost, and that is logged once.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    name = os.fsencode(path)
    if name.startswith(b"@"):  # how a socket that is not in the file system is written
        name = b"\0" + name[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)
            manager.sendto(state.encode(), name)
    except OSError as error:
        if path not in _deaf:
            _deaf.add(path)
            _log.warn("{path} (NOTIFY_SOCKET) is not told {state}: {error}", path=path, state=state, error=error)
