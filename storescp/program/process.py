"""What a program, and never a library, does to its process: its clock, its signals, its descriptors."""

import atexit
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from storescp.config import Config
from storescp.server.acceptor import AHEAD
from storescp.server.protocol import READ

_log = Logger()

OWN_DESCRIPTORS = 32  # of the reactor, the ports, the log, the directories, the libraries, with some to spare
HTTP_DESCRIPTORS = 65  # of the port where the server can be looked at, and of the connections it takes at most


def take_over(reactor: Any) -> None:
    """Put `reactor` on the monotonic clock, and let SIGINT and SIGTERM end it in order; a second one ends it at once.

    Call it before anything is scheduled. Twisted's own timers follow the wall clock, and its own signal
    handlers make twistd end by the signal instead of with an exit code.
    """
    reactor.seconds = time.monotonic
    reactor.callWhenRunning(_handle_signals, reactor)
    _reuse_buffers()


def _reuse_buffers() -> None:
    # The allocator of the C library maps a large buffer anew each time, which is a page fault for each 4 KiB that are
    # read into it, until one of that size was freed. So one is, and was never touched.
    bytes(4 * READ)


def _handle_signals(reactor: Any) -> None:
    signalled = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal signalled
        if signalled:
            os._exit(1)  # whatever the reactor does, or waits for
        signalled = True
        reactor.callFromThread(_stop_once, reactor)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def reload_on_hangup(reactor: Any, reload: Callable[[], None]) -> None:
    """Let SIGHUP call `reload`. Without it, the signal ends the process, as the end of a terminal should."""
    reactor.callWhenRunning(signal.signal, signal.SIGHUP, lambda _number, _frame: reactor.callFromThread(reload))


def rotate_on_user_signal(reactor: Any, rotate: Callable[[], None]) -> None:
    """Let SIGUSR1 call `rotate`, as twistd does for its own file. Without it, the signal ends the process."""
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda _number, _frame: reactor.callFromThread(rotate))


def _stop_once(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # it stops already, for another reason
        reactor.stop()


def allow_descriptors(config: Config) -> Config:
    """Let the process have the descriptors that `config` may need. `config`, with less where that is not allowed."""
    # An association has a socket and, while an instance comes, a file; some receive ahead of what is not yet stored.
    own = OWN_DESCRIPTORS + (0 if config.http is None else HTTP_DESCRIPTORS)
    wanted = 2 * config.max_associations + config.max_unassociated + AHEAD + own
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        except (OSError, ValueError):  # a system may have a bound of its own
            allowed = soft
    return config if allowed >= wanted else _with_descriptors(config, allowed, wanted, own)


def _with_descriptors(config: Config, allowed: int, wanted: int, own: int) -> Config:
    # Or idle connections would use them up before the first of them is closed. Who receives ahead may find none: A700H.
    left = max(allowed - own, 4)
    unassociated = min(config.max_unassociated, left // 4)
    associations = min(config.max_associations, (left - unassociated) // 2)
    _log.warn(
        "{allowed} file descriptors are allowed (ulimit -n), {wanted} may be needed: there will be no more than "
        "{associations} associations (--max-associations) and {unassociated} other connections (--max-unassociated)",
        allowed=allowed,
        wanted=wanted,
        associations=associations,
        unassociated=unassociated,
    )
    return attrs.evolve(config, max_associations=associations, max_unassociated=unassociated)


def fail_at_exit() -> None:
    """Let the process end with exit code 1, whatever its main program says: twistd's knows only 0."""
    atexit.register(_fail)


def _fail() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
