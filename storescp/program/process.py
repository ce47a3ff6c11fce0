"""What a program, and never a library, does to its process: its clock and its signals."""

import signal
import time
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning


def take_over(reactor: Any) -> None:
    """Put `reactor` on the monotonic clock, and let SIGINT and SIGTERM end it in order.

    Call it before anything is scheduled. Twisted's own timers follow the wall clock, and its own signal
    handlers make twistd end by the signal instead of with an exit code.
    """
    reactor.seconds = time.monotonic
    reactor.callWhenRunning(_handle_signals, reactor)


def _handle_signals(reactor: Any) -> None:
    def stop(_number: int, _frame: object) -> None:
        reactor.callFromThread(_stop_once, reactor)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _stop_once(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # a second signal, while it stops
        reactor.stop()
