"""What a program, and never a library, does to its process: its clock, its signals, its descriptors."""

import atexit
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from storescp.config import Config

_log = Logger()

OWN_DESCRIPTORS = 64  # of the reactor, the log, the directories, the libraries, with some to spare


def take_over(reactor: Any) -> None:
    """Put `reactor` on the monotonic clock, and let SIGINT and SIGTERM end it in order; a second one ends it at once.

    Call it before anything is scheduled. Twisted's own timers follow the wall clock, and its own signal
    handlers make twistd end by the signal instead of with an exit code.
    """
    reactor.seconds = time.monotonic
    reactor.callWhenRunning(_handle_signals, reactor)


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


def _stop_once(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # it stops already, for another reason
        reactor.stop()


def allow_descriptors(config: Config) -> None:
    """Let the process have the descriptors that `config` may need, as far as its user may allow that; else say so."""
    # An association has a socket and, while an instance comes, a file.
    wanted = 2 * config.max_associations + config.max_unassociated + OWN_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        except (OSError, ValueError):  # a system may have a bound of its own
            allowed = soft
    if allowed < wanted:
        _log.warn(
            "{allowed} file descriptors are allowed (ulimit -n), {wanted} may be needed: allow more, "
            "or fewer associations (--max-associations)",
            allowed=allowed,
            wanted=wanted,
        )


def fail_at_exit() -> None:
    """Let the process end with exit code 1, whatever its main program says: twistd's knows only 0."""
    atexit.register(_fail)


def _fail() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
