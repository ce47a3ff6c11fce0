"""Who does the blocking work of a storage: threads of our own, or the caller at once."""

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_P = ParamSpec("_P")
_T = TypeVar("_T")

THREADS = 4  # saturate a disk; more only queue inside the kernel


class Workers(Protocol):
    """Runs a function that may block."""

    def start(self) -> None:
        """Called before the first `run`, and again after `stop` for another round."""

    def stop(self) -> None:
        """Called when nothing is running."""

    def run(self, work: "Callable[_P, _T]", *args: "_P.args", **kwargs: "_P.kwargs") -> "Deferred[_T]":
        """Fires on the reactor's thread with what `work` returns, or fails with what it raises."""


class Threads:
    """Workers that are threads: the reactor never waits for a disk."""

    def __init__(self, reactor: IReactorFromThreads, count: int = THREADS) -> None:
        self._reactor = reactor
        self._count = count
        self._pool: ThreadPool | None = None

    def start(self) -> None:
        self._pool = ThreadPool(0, self._count, name="storage")
        # A thread that a disk never lets go must not keep the process at its end.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self._pool.start()

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool = None

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        reactor: Any = self._reactor
        return deferToThreadPool(reactor, self._pool, work, *args, **kwargs)  # type: ignore[arg-type]


class AtOnce:
    """Workers that are the caller: for tests, which then need no threads."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        return execute(work, *args, **kwargs)
