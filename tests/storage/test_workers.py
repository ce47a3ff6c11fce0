# mypy: allow-untyped-calls
"""Who does the blocking work. No thread runs here: threads and the reactor are doubles."""

import weakref
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from storescp.storage import workers
from storescp.storage.workers import AtOnce, Threads


class Thread:
    """Runs, up to where it has nothing more to do, when the test says so."""

    made: list["Thread"]

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool) -> None:
        self.name, self.daemon = name, daemon
        self.started = False
        self._target, self._args = target, args
        self.made.append(self)

    def start(self) -> None:
        self.started = True

    def run(self) -> None:
        self._target(*self._args)


class Reactor:
    """What threads hand back waits until the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], Any]] = []

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        self.waiting.append(lambda: function(*args))


class Forgetful(list[Callable[[], Any]]):
    """Tells nobody."""

    def append(self, told: Callable[[], Any]) -> None: ...


class ThreadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        Thread.made = []
        self.patch(workers, "Thread", Thread)
        self.reactor = Reactor()
        self.threads = Threads(self.reactor, count=2)  # type: ignore[arg-type]

    def test_threads(self) -> None:
        """There are as many as wanted; one that a disk never lets go does not keep the process at its end."""
        self.threads.start()
        self.assertEqual(
            [("storage-0", True, True), ("storage-1", True, True)],
            [(thread.name, thread.daemon, thread.started) for thread in Thread.made],
        )

    def test_run(self) -> None:
        """Work runs on a thread, with all its arguments, and what it returns comes back on the reactor's."""
        self.threads.start()
        results: list[Deferred[Any]] = [self.threads.run(divmod, 7, 2), self.threads.run(int, "ff", base=16)]
        self.threads.stop()
        self.assertEqual([], self.reactor.waiting)
        Thread.made[0].run()
        for result, told in zip(results, self.reactor.waiting, strict=True):
            self.assertNoResult(result)
            told()
        self.assertEqual([(3, 1), 255], [self.successResultOf(result) for result in results])

    def test_forgotten(self) -> None:
        """A thread that waits for the next work keeps nothing of the one before."""
        kept = weakref.ref(work := partial(len, "abc"))
        seen: list[bool] = []

        class Looking(SimpleQueue[Any]):
            def get(self, block: bool = True, timeout: float | None = None) -> Any:
                seen.append(kept() is not None)
                return super().get(block, timeout)

        self.patch(workers, "SimpleQueue", Looking)
        self.threads.start()
        self.threads.run(work)
        self.threads.stop()
        self.reactor.waiting = Forgetful()
        del work
        Thread.made[0].run()
        self.assertEqual([True, False], seen)

    def test_failure(self) -> None:
        """What work raises, whatever it is, fails its Deferred; the thread goes on."""

        def leave() -> None:
            raise SystemExit

        self.threads.start()
        results: list[Deferred[Any]] = [self.threads.run(divmod, 1, 0), self.threads.run(leave)]
        works = self.threads.run(len, "a")
        self.threads.stop()
        Thread.made[0].run()
        for told in self.reactor.waiting:
            told()
        failures = [self.failureResultOf(result) for result in results]
        self.assertEqual([ZeroDivisionError, SystemExit], [failure.type for failure in failures])
        self.assertEqual(1, self.successResultOf(works))

    def test_stop(self) -> None:
        """Every thread ends, once what was wanted before is done; a stop without a start is nothing."""
        self.threads.stop()
        self.threads.start()
        result = self.threads.run(len, "abc")
        self.threads.stop()
        for thread in Thread.made:
            thread.run()
        self.reactor.waiting[0]()
        self.assertEqual(3, self.successResultOf(result))

    def test_rounds(self) -> None:
        """A thread that hung in an earlier round takes no work of a later one."""
        self.threads.start()
        self.threads.stop()
        self.threads.start()
        self.threads.run(len, "abc")
        for thread in Thread.made[:2]:
            thread.run()
        self.assertEqual([], self.reactor.waiting)
        self.threads.stop()
        Thread.made[2].run()
        self.assertEqual(1, len(self.reactor.waiting))


class AtOnceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.workers = AtOnce()
        self.workers.start()
        self.addCleanup(self.workers.stop)

    def test_result(self) -> None:
        """Work is done, with all its arguments, when `run` returns."""
        self.assertEqual(255, self.successResultOf(self.workers.run(int, "ff", base=16)))

    def test_failure(self) -> None:
        """What work raises fails its Deferred, not the caller."""
        self.failureResultOf(self.workers.run(divmod, 1, 0), ZeroDivisionError)
